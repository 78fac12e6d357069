//! Which blocks hold objects, and which of their words own something.

use core::ffi::c_char;

use super::count::{self, Count};
use super::layout;
use super::runtime::Runtime;
use super::types::{self, OB_SIZE, OB_TYPE, Species, TypeId, TypeInfo, Types, read};
use crate::mark::blocks::{DEAD, OBJECT, OBJECT_OFFSETS, OBJECT_SHIFT};
use crate::mark::{BlockId, Blocks, Hit, Shapes, Statics};
use crate::meta::Array;
use crate::weakref_hooks;

/// `PyListObject` (cpython/listobject.h): `ob_item` after the header, then `allocated`.
const LIST_ITEMS: usize = 24;

/// The object model of one snapshot.
pub struct Model {
    /// The interpreter.
    pub runtime: &'static Runtime,
    /// Its types.
    pub types: Types,
    /// Item arrays of lists: block id plus 1 -> bytes in use; what lies behind is stale.
    used: Array<(u32, u32)>,
    used_count: usize,
    used_mask: usize,
    /// Live objects found in blocks.
    pub objects: u32,
}

impl Model {
    /// Looks at every block that can hold an object, and notes in its state where the object begins and whether it is dead.
    ///
    /// `everywhere`: the interpreter's objects do not have slabs of their own (its allocator was not ours to route), so all blocks are looked at.
    pub fn take(runtime: &'static Runtime, blocks: &mut Blocks, statics: &Statics, everywhere: bool) -> Option<Model> {
        let slots = (blocks.total() as usize / 2).next_power_of_two().max(1024);
        let mut model = Model {
            runtime,
            types: Types::new(runtime)?,
            used: Array::new(slots)?,
            used_count: 0,
            used_mask: slots - 1,
            objects: 0,
        };
        blocks.for_each_live(&mut |blocks, id, base, bytes, in_object_span| {
            if (in_object_span || everywhere)
                && let Some(code) = model.identify(blocks, statics, base, bytes)
            {
                model.note(blocks, id, base, code);
            }
        });
        // Types that a library made by hand in raw memory are objects too. (Behind a header there is no telling where raw memory begins.)
        let mut by_hand = Array::<usize>::new(4096)?;
        let mut count = 0;
        model.types.for_each(&mut |_, info| {
            if let Some(hit) = blocks.resolve(info.address)
                && blocks.state(hit.id) & OBJECT == 0
                && blocks.header_bytes == 0
                && blocks.extent_in(hit.span, hit.index).0 == info.address
                && let Some(slot) = by_hand.get_mut(count)
            {
                *slot = info.address;
                count += 1;
            }
        });
        for &address in by_hand.iter().take(count) {
            if let Some(hit) = blocks.resolve(address) {
                model.note(blocks, hit.id, address, 1);
            }
        }
        Some(model)
    }

    /// Where the object begins (a code for [`OBJECT_OFFSETS`]), if one does: its type must be a type, and agree with the place.
    fn identify(&mut self, blocks: &Blocks, statics: &Statics, base: usize, bytes: usize) -> Option<u8> {
        for code in [1u8, 2, 3] {
            let object = base + blocks.header_bytes + OBJECT_OFFSETS[code as usize];
            if object + 16 > base + bytes {
                return None;
            }
            // SAFETY: inside a live block.
            let type_address = unsafe { read(object + OB_TYPE) };
            if let Some(id) = self.types.at(blocks, statics, type_address) {
                let info = self.types.info(id);
                let prefix = usize::from(info.prefix_bytes);
                // A compact str is shorter than its type's basic size, and so is a time of day without a zone (_datetimemodule.c, time_alloc).
                let least = match info.basic_bytes as usize {
                    _ if info.species == Species::Str => layout::STRING_BYTES_MIN,
                    layout::TIME_BYTES if self.is_instance_of(object, b"datetime.time") => layout::NAIVE_TIME_BYTES,
                    basic => basic,
                };
                let fits = prefix == OBJECT_OFFSETS[code as usize] && object - base + least <= bytes;
                // SAFETY: inside a live block, 16 bytes or more into it for a GC object.
                if fits && unsafe { is_plausible(blocks, statics, object, info.gc) } {
                    return Some(code);
                }
            }
        }
        None
    }

    fn note(&mut self, blocks: &mut Blocks, id: BlockId, base: usize, code: u8) {
        let object = base + blocks.header_bytes + OBJECT_OFFSETS[code as usize];
        blocks.set(id, code << OBJECT_SHIFT);
        if self.count(object) == Count::Dead {
            blocks.set(id, DEAD);
            return;
        }
        self.objects += 1;
        if self.info(object).is_some_and(|t| t.species == Species::List) {
            // SAFETY: a list object.
            let (items, size) = unsafe { (read(object + LIST_ITEMS), read(object + OB_SIZE)) };
            if let Some(hit) = blocks.resolve(items)
                && blocks.extent_in(hit.span, hit.index).0 + blocks.header_bytes == items
            {
                self.set_used(hit.id, (blocks.header_bytes + size.saturating_mul(8)).min(u32::MAX as usize) as u32);
            }
        }
    }

    fn set_used(&mut self, id: BlockId, bytes: u32) {
        // Half full is enough; a list beyond that is scanned to its end, stale words and all.
        if self.used_count * 2 >= self.used_mask {
            return;
        }
        let mut at = id.0 as usize & self.used_mask;
        while self.used[at].0 != 0 && self.used[at].0 != id.0 + 1 {
            at = (at + 1) & self.used_mask;
        }
        if self.used[at].0 == 0 {
            self.used_count += 1;
        }
        self.used[at] = (id.0 + 1, bytes);
    }

    fn used(&self, id: BlockId) -> Option<usize> {
        let mut at = id.0 as usize & self.used_mask;
        loop {
            match self.used[at] {
                (0, _) => return None,
                (key, bytes) if key == id.0 + 1 => return Some(bytes as usize),
                _ => at = (at + 1) & self.used_mask,
            }
        }
    }

    /// The reference count of an object.
    pub fn count(&self, object: usize) -> Count {
        // SAFETY: the caller has an object's address.
        count::decode(self.runtime.minor, unsafe { read(object) } as u64)
    }

    /// The facts of an object's type, if that type has been seen.
    pub fn info(&self, object: usize) -> Option<&TypeInfo> {
        self.type_id(object).map(|id| self.types.info(id))
    }

    /// An object's type.
    pub fn type_id(&self, object: usize) -> Option<TypeId> {
        // SAFETY: the caller has an object's address.
        self.types.known(unsafe { read(object + OB_TYPE) })
    }

    /// Whether a GC object hangs in the collector's list: `_gc_next` is not 0 (pycore_gc.h, `_PyObject_GC_IS_TRACKED`, 3.8-3.13).
    pub fn is_tracked(&self, object: usize) -> bool {
        // SAFETY: the caller has a GC object's address; its head stands before it.
        self.info(object).is_some_and(|t| t.gc) && unsafe { read(object - weakref_hooks::GC_HEAD_BYTES) } != 0
    }

    /// Whether an object is a string in the interned table whose two references are not counted: of `PyASCIIObject.state` the low two bits `interned`, 1 for a mortal one (unicodeobject.h, 3.8-3.13).
    pub fn is_interned(&self, object: usize) -> bool {
        // SAFETY: a str object has its state word.
        self.info(object).is_some_and(|t| t.species == Species::Str) && unsafe { read(object + layout::STRING_STATE) } & 3 == 1
    }

    /// Whether an object is an instance of the type of this `tp_name`, or of a type derived from it (by the chain of first bases).
    pub fn is_instance_of(&self, object: usize, type_name: &[u8]) -> bool {
        // SAFETY: an object.
        let mut at = unsafe { read(object + OB_TYPE) };
        for _ in 0..64 {
            // SAFETY: a ready type, or the base of one; tp_name is a C string.
            let name = unsafe { core::ffi::CStr::from_ptr(read(at + types::TP_NAME) as *const c_char) };
            if name.to_bytes() == type_name {
                return true;
            }
            // SAFETY: as above.
            at = unsafe { read(at + types::TP_BASE) };
            if at == 0 {
                return false;
            }
        }
        false
    }

    /// Whether an object is the module of this name (by its definition), or the plain ASCII string of this text.
    pub fn has_plain_name(&self, object: usize, name: &[u8]) -> bool {
        let Some(info) = self.info(object) else { return false };
        match info.species {
            Species::Module => {
                // SAFETY: a module object; a definition has its name as a C string.
                unsafe {
                    let definition = read(object + layout::MODULE_DEF);
                    definition != 0
                        && core::ffi::CStr::from_ptr(read(definition + layout::MODULE_DEF_NAME) as *const c_char).to_bytes() == name
                }
            }
            Species::Str => {
                // SAFETY: a str object has its state; a compact ASCII one its characters behind the header, as many as it is long.
                unsafe {
                    let state = read(object + layout::STRING_STATE) as u32;
                    let (from, to) = layout::string_pointers(self.runtime.minor, state);
                    let characters = object + to.max(from);
                    state >> 5 & 3 == 3
                        && read(object + OB_SIZE) == name.len()
                        && core::slice::from_raw_parts(characters as *const u8, name.len()) == name
                }
            }
            _ => false,
        }
    }

    fn body_end(&self, info: &TypeInfo, object: usize, block_end: usize) -> usize {
        match info.species {
            Species::Leaf => object + 16,
            Species::Code | Species::List | Species::Dict => object + info.basic_bytes as usize,
            // SAFETY: a tuple object.
            Species::Tuple => object + 24 + 8 * unsafe { read(object + OB_SIZE) },
            // The rest of the block is left from whatever lived there before.
            _ if info.fixed => object + (info.basic_bytes as usize).next_multiple_of(8),
            _ => block_end,
        }
    }
}

/// Whether the words around an object's header are an object's. A type's address in the right place is not enough: the table of a dict keyed
/// by addresses has hashes that equal them.
///
/// # Safety
/// `object` must lie in a live block, and 16 bytes into it at least if `gc`.
unsafe fn is_plausible(blocks: &Blocks, statics: &Statics, object: usize, gc: bool) -> bool {
    // SAFETY: the caller's.
    let count = unsafe { read(object) };
    // A count fits 32 bits, or is a free list's link.
    if count >> 32 != 0 && blocks.resolve(count).is_none() {
        return false;
    }
    if !gc {
        return true;
    }
    let head = object - weakref_hooks::GC_HEAD_BYTES;
    // SAFETY: the caller's.
    let next = unsafe { read(head) };
    if next == 0 {
        return true;
    }
    // Tracked: the next node's prev word leads back (its low two bits are flags).
    next & 7 == 0
        && (blocks.resolve(next).is_some() || statics.contains(next))
        // SAFETY: a node in a live block or a writable segment.
        && unsafe { read(next + 8) } & !3 == head
}

impl Shapes for Model {
    fn strong_parts(&self, blocks: &Blocks, id: BlockId, base: usize, bytes: usize, part: &mut impl FnMut(usize, usize)) {
        let block_end = base + bytes;
        let Some(object) = blocks.object(id, base) else {
            let end = self.used(id).map_or(block_end, |used| base + used.min(bytes));
            return part(base, end);
        };
        let Some(info) = self.info(object) else { return part(base, block_end) };
        if info.prefix_bytes == 32 {
            // Pre-header: 3.11 values and dict; from 3.12 on the list of weak references, then dict (or values, tagged).
            let from = if self.runtime.minor == 11 { object - 32 } else { object - 24 };
            part(from, object - 16);
        }
        if info.heap {
            part(object + OB_TYPE, object + OB_TYPE + 8);
        }
        let body = object + 16;
        let end = self.body_end(info, object, block_end).min(block_end);
        if info.species == Species::Str {
            // SAFETY: a str object.
            let (from, to) = unsafe { layout::string_pointers(self.runtime.minor, read(object + layout::STRING_STATE) as u32) };
            part(object + from, object + to);
        } else if info.species == Species::WeakReference {
            let [(a, b), (c, d)] = weakref_hooks::REFERENCE_WEAK_WORDS;
            part(body, object + a);
            part(object + b, object + c);
            part(object + d, end);
        } else if info.weaklist_offset > 0 {
            let slot = object + info.weaklist_offset as usize;
            part(body, slot.min(end));
            part((slot + 8).min(end), end);
        } else {
            part(body, end);
        }
    }

    fn kept_by_dead(&self, blocks: &Blocks, id: BlockId, base: usize) -> Option<usize> {
        // An instance of a heap type gives its type back only when its memory goes (FutureIter_dealloc in _asynciomodule.c, for one).
        let object = blocks.object(id, base)?;
        self.info(object).is_some_and(|t| t.heap).then_some(object + OB_TYPE)
    }

    fn is_weak(&self, blocks: &Blocks, hit: Hit) -> bool {
        let base = blocks.extent_in(hit.span, hit.index).0;
        let Some(object) = blocks.object(hit.id, base) else { return false };
        object > base && weakref_hooks::is_gc_link(hit.word, object)
    }
}
