//! Which blocks hold objects.

use core::ffi::c_char;

use super::count::{self, Count};
use super::layout;
use super::runtime::Runtime;
use super::tables::{self, Table};
use super::types::{self, Container, OB_SIZE, OB_TYPE, Species, TypeId, TypeInfo, Types, read};
use crate::mark::blocks::{DEAD, LIVE, OBJECT_OFFSETS, QUIET};
use crate::mark::{BlockId, Blocks, Statics, Walk};
use crate::roots::loader;
use crate::weakref_hooks::interpreter;

/// The object model of one snapshot.
pub struct Model {
    /// The interpreter.
    pub runtime: &'static Runtime,
    /// Its types.
    pub types: Types,
    /// Live objects found in blocks.
    pub objects: u32,
    /// The address of `str`, 0 if it is not known.
    string_type: usize,
}

impl Model {
    /// Looks at every block that can hold an object, and notes in its state where the object begins and whether it is dead.
    ///
    /// `everywhere`: the interpreter's objects do not have slabs of their own (its allocator was not ours to route), so all blocks are looked at.
    pub fn take(runtime: &'static Runtime, blocks: &mut Blocks, statics: &Statics, everywhere: bool) -> Option<Model> {
        let string_type = runtime.symbols.str_type.map_or(0, |v| v.get());
        let mut model = Model { runtime, types: Types::new(runtime)?, objects: 0, string_type };
        let mut walk = Walk::over(LIVE, LIVE);
        while let Some(at) = walk.next(blocks) {
            let may_be_object = everywhere || blocks.of_objects(at.span);
            if !may_be_object && at.bytes < loader::BYTES_MIN {
                walk.skip_span(blocks);
            } else if may_be_object
                && Table::of(blocks, at.id).is_none()
                && let Some((code, type_id)) = model.identify(blocks, statics, at.base, at.bytes)
            {
                model.note(blocks, at.id, at.base, code, type_id);
            // SAFETY: a live block.
            } else if let Some(maps) = unsafe { loader::table(at.base, at.bytes) } {
                // What the dynamic linker made holds no object; the rest of its blocks is left from whatever lived there before.
                blocks.set(at.id, DEAD);
                maps.for_each(|map| {
                    if let Some(hit) = blocks.resolve(map) {
                        blocks.set(hit.id, DEAD);
                    }
                });
            } else {
                model.meet_type(blocks, statics, at.base, at.bytes);
            }
        }
        model.note_types_by_hand(blocks)?;
        Some(model)
    }

    /// Where the object begins (a code for [`OBJECT_OFFSETS`]), if one does: its type must be a type, and agree with the place. And that type.
    #[inline]
    fn identify(&mut self, blocks: &Blocks, statics: &Statics, base: usize, bytes: usize) -> Option<(u8, TypeId)> {
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
                    return Some((code, id));
                }
            }
        }
        None
    }

    pub(super) fn note(&mut self, blocks: &mut Blocks, id: BlockId, base: usize, code: u8, type_id: TypeId) {
        let object = base + blocks.header_bytes + OBJECT_OFFSETS[code as usize];
        let info = *self.types.info(type_id);
        if self.count(object) == Count::Dead {
            // Nor is an instance of a class kept: where one seems to be, a stale word stands for the type of raw memory that ends there.
            if info.species.outlives_its_end() && !info.managed_dict {
                blocks.set_object(id, code);
                blocks.set(id, DEAD);
            }
            return;
        }
        blocks.set_object(id, code);
        self.objects += 1;
        if info.species == Species::Leaf && !info.heap && info.prefix_bytes == 0 {
            blocks.set(id, QUIET);
        }
        if info.container != Container::None || info.managed_dict || info.species == Species::Str {
            // SAFETY: a live object.
            unsafe { self.note_tables(blocks, &info, object) };
        }
    }

    /// Notes the raw blocks that an object keeps its references in.
    unsafe fn note_tables(&mut self, blocks: &mut Blocks, info: &TypeInfo, object: usize) {
        let minor = self.runtime.minor;
        // SAFETY: the caller's; each field is one of the object's.
        let field = |at: usize| unsafe { read(object + at) };
        if info.managed_dict
            && let Some(at) = layout::values_pointer(minor)
        {
            // SAFETY: the caller's: the words before an object with a managed dict are its own.
            let word = unsafe { read(object - at) };
            match minor {
                11 => self.note_values(blocks, word),
                _ if word & 1 != 0 => self.note_values(blocks, word + 1),
                _ => {}
            }
        }
        let (address, table) = match info.container {
            Container::None if info.species == Species::Str => return self.note_text(blocks, object),
            Container::None => return,
            Container::List => (field(layout::LIST_ITEMS), Table::Items(field(OB_SIZE).saturating_mul(8))),
            Container::Dict => {
                let (keys, values) = (field(layout::DICT_KEYS), field(layout::DICT_VALUES));
                if values != 0 && minor <= 10 {
                    // SAFETY: a dict has its table.
                    let count = unsafe { tables::entries_in_use(minor, keys) };
                    self.objects -= Table::Items(count.saturating_mul(8)).note(blocks, values);
                } else if values != 0 && minor <= 12 {
                    self.note_values(blocks, values);
                }
                (keys, Table::DictKeys)
            }
            Container::Set => {
                (field(layout::SET_TABLE), Table::SetEntries(field(layout::SET_MASK).saturating_add(1).saturating_mul(16)))
            }
            // A heap type's doc is a copy of its own: text to the end, and behind it.
            Container::Type => (field(types::TP_DOC), Table::Items(0)),
        };
        self.objects -= table.note(blocks, address);
    }

    /// Notes the blocks that a str keeps its characters in, or copies of them.
    fn note_text(&mut self, blocks: &mut Blocks, object: usize) {
        // SAFETY: a str object.
        let (from, to) = unsafe { layout::string_pointers(self.runtime.minor, read(object + layout::STRING_STATE) as u32) };
        for at in (from..to).step_by(8) {
            // SAFETY: inside the object, by its state.
            self.objects -= Table::Items(0).note(blocks, unsafe { read(object + at) });
        }
    }

    /// Notes the block of a `PyDictValues` of 3.11 or 3.12.
    fn note_values(&mut self, blocks: &mut Blocks, values: usize) {
        let Some(hit) = blocks.resolve(values) else { return };
        let base = blocks.extent_in(hit.span, hit.index).0;
        let mut before = [0u8; 40];
        let before = before.get_mut(..values - base).unwrap_or(&mut []);
        for (i, byte) in before.iter_mut().enumerate() {
            // SAFETY: inside a live block: at or behind its start.
            *byte = unsafe { core::ptr::read_volatile((values - 1 - i) as *const u8) };
        }
        if let Some(count) = layout::values_set(before) {
            self.objects -= Table::Items(values + 8 * count - base).set(blocks, hit.id);
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

    /// Whether an object hangs in the collector's list.
    pub fn is_tracked(&self, object: usize) -> bool {
        // SAFETY: of the collector's, as was asked first.
        self.info(object).is_some_and(|t| types::is_collectors(t, object)) && unsafe { types::is_tracked(object) }
    }

    /// Whether words and owners agree with an object's count, without a doubt: they may even if the answer is no.
    #[inline]
    pub fn is_plainly_right(&self, object: usize, words: u32, owned: u32) -> bool {
        let Count::References(count) = self.count(object) else { return true };
        // An interned string does not count two of its words, nor one of its owners.
        // SAFETY: an object.
        let spare = if unsafe { read(object + OB_TYPE) } == self.string_type { 2 } else { 0 };
        u64::from(owned) <= count && count + spare <= u64::from(words)
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

    /// Whether an object is the module of this name (by its definition), the plain ASCII string of this text, or the type of this `tp_name`.
    pub fn has_plain_name(&self, object: usize, name: &[u8]) -> bool {
        let Some(info) = self.info(object) else { return false };
        match info.species {
            Species::Module => {
                // SAFETY: a module object; a definition has its name as a C string.
                unsafe {
                    let definition = read(object + layout::MODULE_DEF);
                    definition != 0
                        && core::ffi::CStr::from_ptr(read(definition + layout::MODULE_DEF_NAME) as *const c_char).to_bytes()
                            == name
                }
            }
            // SAFETY: a ready type has its name as a C string.
            Species::Type => {
                // SAFETY: a ready type has its name as a C string.
                unsafe { core::ffi::CStr::from_ptr(read(object + types::TP_NAME) as *const c_char) }.to_bytes() == name
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

    /// The value of an int of one or two digits that is positive; `None` for any other, and from 3.12 on, whose ints are laid out differently.
    ///
    /// `PyLongObject` until 3.11 (longintrepr.h): `ob_size` digits of 30 bits, 4 bytes each, behind it; a negative size is a negative int.
    pub fn small_value(&self, object: usize) -> Option<u64> {
        if self.runtime.minor > 11 {
            return None;
        }
        // SAFETY: an object whose chain of bases has int has a size and as many digits.
        unsafe {
            let size = read(object + OB_SIZE);
            let digits = read(object + OB_SIZE + 8) as u64;
            match size {
                1 => Some(digits & 0xffff_ffff),
                2 => Some((digits & 0xffff_ffff) | (digits >> 32) << 30),
                _ => None,
            }
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
    let head = object - interpreter::GC_HEAD_BYTES;
    // SAFETY: the caller's.
    let next = unsafe { read(head) };
    if next == 0 {
        return true;
    }
    // Tracked: the next node's prev word leads back (its low two bits are flags). A generation's head may lie at 4 behind a multiple of 8: later
    // releases of 3.13 declare `PyGC_Head` as aligned to 4 (pycore_gc.h).
    next & 3 == 0
        && (blocks.resolve(next).is_some() || statics.contains(next))
        // SAFETY: a node in a live block or a writable segment.
        && unsafe { ((next + 8) as *const usize).read_unaligned() } & !3 == head
}
