//! Every type seen in a snapshot.
//!
//! `PyTypeObject`'s layout (CPython Include/cpython/object.h): the fields used here stand at the same offsets in 3.8 to 3.15 on 64-bit
//! machines. `harness/tests/layouts.rs` compiles them against the headers of every installed CPython.

use super::runtime::Runtime;
pub use super::species::{Container, Species};
use crate::mark::{Blocks, Statics};
use crate::meta::Array;
use crate::weakref_hooks::interpreter::GC_HEAD_BYTES;

/// `ob_type` in any object.
pub const OB_TYPE: usize = 8;
/// `ob_size` in variable-size objects.
pub const OB_SIZE: usize = 16;
/// `tp_name`.
pub const TP_NAME: usize = 24;
pub(super) const TP_BASICSIZE: usize = 32;
pub(super) const TP_ITEMSIZE: usize = 40;
pub(super) const TP_FLAGS: usize = 168;
/// `tp_doc`.
pub const TP_DOC: usize = 176;
const TP_TRAVERSE: usize = 184;
const TP_WEAKLISTOFFSET: usize = 208;
/// `tp_base`.
pub const TP_BASE: usize = 256;
/// The smallest `sizeof(PyTypeObject)` of any version.
pub const TYPE_BYTES_MIN: usize = 400;

/// 3.13: values stand behind the object (object.h, `Py_TPFLAGS_INLINE_VALUES`); before that the bit meant nothing.
const INLINE_VALUES: u64 = 1 << 2;
const MANAGED_WEAKREF: u64 = 1 << 3;
const MANAGED_DICT: u64 = 1 << 4;
const HEAPTYPE: u64 = 1 << 9;
pub(super) const READY: u64 = 1 << 12;
const READYING: u64 = 1 << 13;
const HAVE_GC: u64 = 1 << 14;
const LIST_SUBCLASS: u64 = 1 << 25;
const DICT_SUBCLASS: u64 = 1 << 29;
pub(super) const TYPE_SUBCLASS: u64 = 1 << 31;

/// One type.
#[derive(Clone, Copy)]
pub struct TypeInfo {
    /// The type object's address; 0 for an empty slot.
    pub address: usize,
    /// `tp_traverse`, 0 if it has none.
    pub traverse: usize,
    /// `tp_basicsize`, bytes.
    pub basic_bytes: u32,
    /// `tp_itemsize`, bytes.
    pub item_bytes: u32,
    /// Where the list of weak references starts; 0 for nowhere, negative before the object.
    pub weaklist_offset: i32,
    /// Bytes before the object: GC head and pre-header.
    pub prefix_bytes: u8,
    /// Every instance is `basic_bytes` long: neither items nor values stand behind it.
    pub fixed: bool,
    /// Instances have a managed dict: values, and a dict once it is asked for.
    pub managed_dict: bool,
    /// The values stand behind the instance (from 3.13).
    pub inline_values: bool,
    /// A heap type: instances own a reference to it.
    pub heap: bool,
    /// `Py_TPFLAGS_HAVE_GC`.
    pub gc: bool,
    /// What instances are.
    pub species: Species,
    /// What instances keep in a raw block.
    pub container: Container,
    /// Its `tp_traverse` crashed: not called again.
    pub crashed: bool,
}

// SAFETY: zeros are valid in every field, and read only where something was stored.
unsafe impl crate::meta::Zeroed for TypeInfo {}

/// An index into [`Types`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeId(pub u32);

/// So many types, and no more.
const TYPES_MAX: usize = 1 << 17;
/// Room in the index at first: that of a program of usual size stays in the processor's nearest caches.
const SLOTS_MIN: usize = 1 << 12;

/// The types, by address.
pub struct Types {
    infos: Array<TypeInfo>,
    count: u32,
    /// An address and its place in `infos`, at its hash or behind it. Never more than half full, so that probing stays short.
    index: Array<(usize, u32)>,
    index_bits: u32,
    runtime: &'static Runtime,
    /// Types for which there was no room.
    pub left_out: u32,
}

/// Reads a word of the snapshot.
///
/// # Safety
/// The address must be readable and aligned.
#[inline]
pub unsafe fn read(address: usize) -> usize {
    // SAFETY: the caller's. Volatile: the memory belongs to the program and is typed differently there.
    unsafe { core::ptr::read_volatile(address as *const usize) }
}

/// Whether a type object was made at run time (`Py_TPFLAGS_HEAPTYPE`).
pub fn is_heap_type(object: usize) -> bool {
    // SAFETY: the caller has a type object's address.
    unsafe { read(object + TP_FLAGS) as u64 & HEAPTYPE != 0 }
}

/// Whether an object of this type is of the collector, and has a head: its type is, and of types only those made at run time (`type_is_gc` in
/// typeobject.c). What stands before a type that a library built by hand is none of its own, and until 3.8 visiting it is a fatal error.
#[inline]
pub fn is_collectors(info: &TypeInfo, object: usize) -> bool {
    info.gc && (info.species != Species::Type || is_heap_type(object))
}

/// Whether an object hangs in the collector's list: `_gc_next` is not 0 (pycore_gc.h, `_PyObject_GC_IS_TRACKED`, 3.8-3.13).
///
/// # Safety
/// An object of the collector's.
#[inline]
pub unsafe fn is_tracked(object: usize) -> bool {
    // SAFETY: its head stands before it.
    unsafe { read(object - GC_HEAD_BYTES) != 0 }
}

/// Bytes before an instance of a type with these flags: GC head and pre-header. `_PyType_PreHeaderSize` (pycore_object.h / pycore_gc.h): 3.11 has two words for
/// a managed dict, from 3.12 on for either.
pub fn prefix_bytes(minor: u8, flags: u64) -> u8 {
    let managed = match minor {
        ..=10 => false,
        11 => flags & MANAGED_DICT != 0,
        _ => flags & (MANAGED_DICT | MANAGED_WEAKREF) != 0,
    };
    (if flags & HAVE_GC != 0 { GC_HEAD_BYTES as u8 } else { 0 }) + if managed { 16 } else { 0 }
}

impl Types {
    /// An empty table.
    pub fn new(runtime: &'static Runtime) -> Option<Types> {
        let index_bits = SLOTS_MIN.trailing_zeros();
        Some(Types { infos: Array::new(TYPES_MAX)?, count: 0, index: Array::new(SLOTS_MIN)?, index_bits, runtime, left_out: 0 })
    }

    /// The type's facts.
    #[inline]
    pub fn info(&self, id: TypeId) -> &TypeInfo {
        &self.infos[id.0 as usize % TYPES_MAX]
    }

    /// Notes that its `tp_traverse` crashed.
    pub fn set_crashed(&mut self, id: TypeId) {
        self.infos[id.0 as usize % TYPES_MAX].crashed = true;
    }

    /// A type that has been seen before.
    #[inline(always)]
    pub fn known(&self, address: usize) -> Option<TypeId> {
        let mask = self.index.len() - 1;
        let mut at = self.start(address);
        loop {
            let (there, id) = self.index[at & mask];
            if there == 0 {
                return None;
            }
            if there == address {
                return Some(TypeId(id));
            }
            at += 1;
        }
    }

    /// Whether the type at an address is a heap type; it need not have been seen as the type of anything.
    pub fn is_heap(&self, address: usize) -> bool {
        match self.known(address) {
            Some(id) => self.info(id).heap,
            // SAFETY: the caller has a type's address.
            None => (unsafe { read(address + TP_FLAGS) }) as u64 & HEAPTYPE != 0,
        }
    }

    #[inline(always)]
    fn start(&self, address: usize) -> usize {
        (address >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - self.index_bits)
    }

    /// All types seen, in the order in which they were.
    pub fn for_each(&self, each: &mut dyn FnMut(TypeId, &TypeInfo)) {
        for (id, info) in (0..self.count).zip(self.infos.iter()) {
            each(TypeId(id), info);
        }
    }

    /// The type at an address, if a type object lies there: the closure of "its type is `type`, or a type that makes types".
    #[inline]
    pub fn at(&mut self, blocks: &Blocks, statics: &Statics, address: usize) -> Option<TypeId> {
        // What lies in a block too short for one is none. Most words that are asked for are links of the collector's to short blocks.
        if blocks.bytes_around(address).is_some_and(|bytes| bytes < TYPE_BYTES_MIN) {
            return None;
        }
        if address & 7 == 0
            && let Some(id) = self.known(address)
        {
            return Some(id);
        }
        self.at_depth(blocks, statics, address, 4)
    }

    fn at_depth(&mut self, blocks: &Blocks, statics: &Statics, address: usize, depth: u8) -> Option<TypeId> {
        if address & 7 != 0 || address < 4096 {
            return None;
        }
        if let Some(id) = self.known(address) {
            return Some(id);
        }
        if !Self::could_hold_a_type(blocks, statics, address) {
            return None;
        }
        let type_type = self.runtime.symbols.type_type?.get();
        // SAFETY: TYPE_BYTES_MIN bytes from the address on lie in a live block or a writable segment.
        let meta = unsafe { read(address + OB_TYPE) };
        if meta != type_type {
            let meta = self.at_depth(blocks, statics, meta, depth.checked_sub(1)?)?;
            if self.info(meta).species != Species::Type {
                return None;
            }
        }
        // SAFETY: as above.
        let (flags, basic, item) =
            unsafe { (read(address + TP_FLAGS) as u64, read(address + TP_BASICSIZE), read(address + TP_ITEMSIZE)) };
        // SAFETY: as above.
        let name = unsafe { read(address + TP_NAME) };
        if !(16..1 << 24).contains(&basic) || item >= 1 << 24 || name < 4096 {
            return None;
        }
        // A static type whose module never makes it ready has instances all the same (functools._lru_list_elem until 3.9).
        // SAFETY: as above.
        let (count, size) = unsafe { (read(address), read(address + OB_SIZE)) };
        let as_compiled = meta == type_type
            && flags & (HEAPTYPE | READYING) == 0
            && (1..1 << 32).contains(&count)
            && size == 0
            && statics.same_module(address, name);
        if flags & READY == 0 && !as_compiled {
            return None;
        }
        // SAFETY: as above.
        let info = unsafe { self.describe(address, flags, basic, item) };
        self.insert(info)
    }

    /// Heap types are GC objects (16 or 32 bytes into an object's block); some libraries build types by hand at the start of a raw block;
    /// the rest lie in modules' data.
    fn could_hold_a_type(blocks: &Blocks, statics: &Statics, address: usize) -> bool {
        if let Some(hit) = blocks.resolve(address) {
            let (base, bytes) = blocks.extent_in(hit.span, hit.index);
            let offset = address - base;
            let prefixed = offset.checked_sub(blocks.header_bytes).is_some_and(|o| matches!(o, 0 | 16 | 32));
            return (offset == 0 || prefixed) && offset + TYPE_BYTES_MIN <= bytes;
        }
        statics.contains(address) && statics.contains(address + TYPE_BYTES_MIN)
    }

    unsafe fn describe(&self, address: usize, flags: u64, basic: usize, item: usize) -> TypeInfo {
        let minor = self.runtime.minor;
        // SAFETY: the caller's: a type object lies here.
        let (traverse, weaklist) = unsafe { (read(address + TP_TRAVERSE), read(address + TP_WEAKLISTOFFSET) as isize) };
        // SAFETY: as above.
        let species = unsafe { self.species(address, flags) };
        TypeInfo {
            address,
            traverse,
            basic_bytes: basic as u32,
            item_bytes: item as u32,
            weaklist_offset: if weaklist.unsigned_abs() < 1 << 24 { weaklist as i32 } else { 0 },
            prefix_bytes: prefix_bytes(minor, flags),
            fixed: item == 0 && (minor < 13 || flags & INLINE_VALUES == 0),
            managed_dict: minor >= 11 && flags & MANAGED_DICT != 0,
            inline_values: minor >= 13 && flags & INLINE_VALUES != 0,
            heap: flags & HEAPTYPE != 0,
            gc: flags & HAVE_GC != 0,
            species,
            container: match flags {
                _ if species == Species::Set => Container::Set,
                _ if species == Species::Type => Container::Type,
                f if f & LIST_SUBCLASS != 0 => Container::List,
                f if f & DICT_SUBCLASS != 0 => Container::Dict,
                _ => Container::None,
            },
            crashed: false,
        }
    }

    unsafe fn species(&self, address: usize, flags: u64) -> Species {
        let s = &self.runtime.symbols;
        let is = |v: Option<super::runtime::Variable>| v.is_some_and(|v| v.get() == address);
        if flags & TYPE_SUBCLASS != 0 {
            return Species::Type;
        }
        let exact = [
            (s.str_type, Species::Str),
            (s.bytes_type, Species::Leaf),
            (s.int_type, Species::Leaf),
            (s.float_type, Species::Leaf),
            (s.bool_type, Species::Leaf),
            (s.list_type, Species::List),
            (s.tuple_type, Species::Tuple),
            (s.dict_type, Species::Dict),
            (s.frame_type, Species::Frame),
            (s.code_type, Species::Code),
            (s.function_type, Species::Function),
            (s.builtin_type, Species::Builtin),
            (s.method_type, Species::Method),
        ];
        if let Some((_, species)) = exact.into_iter().find(|(v, _)| is(*v)) {
            return species;
        }
        // The chain of bases is short, and each base of a ready type is a ready type.
        let mut base = address;
        for _ in 0..64 {
            if [s.weakref_type, s.weakref_proxy, s.weakref_callable_proxy].into_iter().flatten().any(|v| v.get() == base) {
                return Species::WeakReference;
            }
            if [s.set_type, s.frozenset_type].into_iter().flatten().any(|v| v.get() == base) {
                return Species::Set;
            }
            if s.module_type.is_some_and(|v| v.get() == base) {
                return Species::Module;
            }
            // SAFETY: a ready type, as the caller says, or the base of one.
            base = unsafe { read(base + TP_BASE) };
            if base == 0 {
                break;
            }
        }
        // SAFETY: tp_name of a type is a C string.
        let name = unsafe { core::ffi::CStr::from_ptr(read(address + TP_NAME) as *const core::ffi::c_char) };
        if flags & HAVE_GC == 0 && [c"functools._lru_list_elem", c"sqlite3Node"].contains(&name) {
            return Species::Piece;
        }
        if flags & HAVE_GC == 0 && name == c"sqlite3.Cache" {
            return Species::SqliteCache;
        }
        Species::Other
    }

    fn insert(&mut self, info: TypeInfo) -> Option<TypeId> {
        if self.count as usize >= TYPES_MAX || (self.count as usize * 2 >= self.index.len() && !self.grow()) {
            self.left_out += 1;
            return None;
        }
        let id = self.count;
        self.infos[id as usize] = info;
        self.enter(info.address, id);
        self.count += 1;
        Some(TypeId(id))
    }

    fn enter(&mut self, address: usize, id: u32) {
        let mask = self.index.len() - 1;
        let mut at = self.start(address);
        while self.index[at & mask].0 != 0 {
            at += 1;
        }
        self.index[at & mask] = (address, id);
    }

    fn grow(&mut self) -> bool {
        let Some(larger) = Array::new(self.index.len() * 4) else { return false };
        self.index = larger;
        self.index_bits += 2;
        for id in 0..self.count {
            self.enter(self.infos[id as usize].address, id);
        }
        true
    }
}
