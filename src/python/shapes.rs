//! Which words of a block own something.

use super::count::Count;
use super::layout::{self, FrameTop};
use super::objects::Model;
use super::tables::Table;
use super::types::{OB_SIZE, OB_TYPE, Species, TypeInfo, read};
use crate::mark::{BlockId, Blocks, Hit, Part, Shapes};
use crate::weakref_hooks::interpreter;

impl Shapes for Model {
    fn strong_parts(&self, blocks: &Blocks, id: BlockId, base: usize, bytes: usize, part: &mut impl FnMut(Part)) {
        let block_end = base + bytes;
        let Some(object) = blocks.object(id, base) else {
            return part(match Table::of(blocks, id) {
                // SAFETY: the container that was found names it.
                Some(table) => unsafe { table.part(self.runtime.minor, base, bytes) },
                None => Part::all(base, block_end),
            });
        };
        let Some(info) = self.info(object) else {
            return part(Part::all(base, block_end));
        };
        if info.prefix_bytes == 32 {
            // Pre-header: 3.11 values and dict; from 3.12 on the list of weak references, then dict (or values, tagged).
            let from = if self.runtime.minor == 11 { object - 32 } else { object - 24 };
            part(Part::all(from, object - 16));
        }
        if info.heap {
            part(Part::all(object + OB_TYPE, object + OB_TYPE + 8));
        }
        self.body(info, object, block_end, part);
    }

    fn kept_by_dead(&self, blocks: &Blocks, id: BlockId, base: usize) -> Option<usize> {
        // An instance of a heap type gives its type back only when its memory goes (FutureIter_dealloc in _asynciomodule.c, for one).
        let object = blocks.object(id, base)?;
        self.info(object).is_some_and(|t| t.heap).then_some(object + OB_TYPE)
    }

    #[inline]
    fn is_weak_word(&self, hit: Hit, object: usize) -> bool {
        object > hit.base && interpreter::is_gc_link(hit.word, object)
    }
}

impl Model {
    /// The parts behind an object's header.
    fn body(&self, info: &TypeInfo, object: usize, block_end: usize, part: &mut impl FnMut(Part)) {
        let body = object + 16;
        let end = self.body_end(info, object, block_end).min(block_end);
        match info.species {
            Species::Str => {
                // SAFETY: a str object.
                let (from, to) =
                    unsafe { layout::string_pointers(self.runtime.minor, read(object + layout::STRING_STATE) as u32) };
                part(Part::all(object + from, object + to));
            }
            Species::WeakReference => {
                let [(a, b), (c, d)] = interpreter::REFERENCE_WEAK_WORDS;
                part(Part::all(body, object + a));
                part(Part::all(object + b, object + c));
                part(Part::all(object + d, end));
            }
            Species::Set => {
                let (from, to) = layout::SET_SMALL_TABLE;
                part(Part::all(object + layout::SET_TABLE, object + layout::SET_TABLE + 8));
                // A set that has outgrown its small table leaves it as it was.
                // SAFETY: a set object.
                if unsafe { read(object + layout::SET_TABLE) } == object + from {
                    part(Part::table(object + from, object + to, 2, 1));
                }
                without_weak_list(info, object, object + to, end, part);
            }
            Species::SqliteCache => {
                let (factory, owns) = (layout::SQLITE_CACHE_FACTORY, layout::SQLITE_CACHE_OWNS_FACTORY);
                // SAFETY: a cache object, whose last member this is.
                let owns = unsafe { read(object + owns) } as u32 != 0;
                part(Part::all(body, object + factory));
                part(Part::all(object + factory + if owns { 0 } else { 8 }, end));
            }
            Species::Frame => match layout::frame(self.runtime.minor) {
                Some(frame) => {
                    part(Part::all(body, object + frame.generator));
                    part(Part::all(object + frame.generator + 8, end));
                }
                None => part(Part::all(body, end)),
            },
            _ if info.inline_values => self.with_inline_values(info, object, block_end, part),
            _ => without_weak_list(info, object, body, end, part),
        }
    }

    /// An instance and the values behind it (3.13). Once they have moved to a dict of their own, they are stale copies.
    fn with_inline_values(&self, info: &TypeInfo, object: usize, block_end: usize, part: &mut impl FnMut(Part)) {
        let values = object + (info.basic_bytes as usize).next_multiple_of(8);
        if values + layout::VALUES_HEADER_BYTES > block_end {
            return without_weak_list(info, object, object + 16, block_end, part);
        }
        // SAFETY: inside the object's block.
        let [capacity, _, _, valid, ..] = unsafe { read(values) }.to_le_bytes();
        without_weak_list(info, object, object + 16, values, part);
        if valid != 0 {
            let from = values + layout::VALUES_HEADER_BYTES;
            part(Part::all(from, (from + 8 * usize::from(capacity)).min(block_end)));
        }
    }

    fn body_end(&self, info: &TypeInfo, object: usize, block_end: usize) -> usize {
        match info.species {
            Species::Leaf => object + 16,
            Species::Code | Species::List | Species::Dict => object + info.basic_bytes as usize,
            // SAFETY: a tuple object.
            Species::Tuple => object + 24 + 8 * unsafe { read(object + OB_SIZE) },
            // SAFETY: a frame object.
            Species::Frame => unsafe { self.frame_end(object, block_end) },
            // The rest of the block is left from whatever lived there before. If the object seems destroyed, it may all be something else.
            _ if info.fixed && self.count(object) != Count::Dead => object + (info.basic_bytes as usize).next_multiple_of(8),
            _ => block_end,
        }
    }

    /// Where the stack of a frame ends. What lies above it was popped: stale.
    unsafe fn frame_end(&self, object: usize, block_end: usize) -> usize {
        let Some(frame) = layout::frame(self.runtime.minor) else {
            return block_end;
        };
        // SAFETY: the caller's.
        let (stack, top) = unsafe {
            let stack = read(object + frame.value_stack);
            let top = match frame.top {
                FrameTop::Address(at) => read(object + at),
                FrameTop::Depth(at) => match read(object + at) as u32 as i32 {
                    depth if depth < 0 => 0,
                    depth => stack + 8 * depth as usize,
                },
            };
            (stack, top)
        };
        // A running frame has its top in a register of the evaluation loop.
        if (object..=block_end).contains(&stack) && (stack..=block_end).contains(&top) { top } else { block_end }
    }
}

/// What stands between `from` and `end`, without the list of weak references.
fn without_weak_list(info: &TypeInfo, object: usize, from: usize, end: usize, part: &mut impl FnMut(Part)) {
    if info.weaklist_offset <= 0 {
        return part(Part::all(from, end));
    }
    let slot = object + info.weaklist_offset as usize;
    part(Part::all(from, slot.min(end)));
    part(Part::all((slot + 8).min(end), end));
}
