//! Types that a library made by hand in raw memory: copies of a static one, made ready, without the collector's head (numpy's DTypes). They are
//! objects, with a count and owners, and no slab of objects has them.

use super::count::Count;
use super::layout;
use super::objects::Model;
use super::types::{OB_SIZE, OB_TYPE, TYPE_BYTES_MIN, read};
use crate::mark::blocks::OBJECT;
use crate::mark::{Blocks, Statics};
use crate::meta::Array;

/// So many, and no more.
const MOST: usize = 4096;

impl Model {
    /// Enters a type that lies in a raw block, if one does, among the types. A type that is the type of something in a block is entered without that.
    ///
    /// `base` and `bytes` are a live block's. (Behind a header there is no telling where raw memory begins.)
    pub(super) fn meet_type(&mut self, blocks: &Blocks, statics: &Statics, base: usize, bytes: usize) {
        if bytes < TYPE_BYTES_MIN || blocks.header_bytes != 0 {
            return;
        }
        // SAFETY: inside the block.
        let (metatype, order) = unsafe { (read(base + OB_TYPE), read(base + layout::TP_MRO)) };
        // Memory that was a type's before may still look like it; but the tuple went with the type.
        if order != 0 && self.is_tuple_that_begins_with(blocks, order, base) && self.types.at(blocks, statics, metatype).is_some()
        {
            self.types.at(blocks, statics, base);
        }
    }

    /// Whether a tuple lies at an address in a block, and its first item is `item`: as the type itself is of its own method resolution order.
    fn is_tuple_that_begins_with(&self, blocks: &Blocks, address: usize, item: usize) -> bool {
        let Some(tuple_type) = self.runtime.symbols.tuple_type else { return false };
        let Some(hit) = blocks.resolve(address) else { return false };
        let (base, bytes) = blocks.extent_in(hit.span, hit.index);
        if address & 7 != 0 || address + layout::TUPLE_ITEMS + 8 > base + bytes {
            return false;
        }
        // SAFETY: inside the block.
        let (kind, items, first) =
            unsafe { (read(address + OB_TYPE), read(address + OB_SIZE), read(address + layout::TUPLE_ITEMS)) };
        kind == tuple_type.get() && items != 0 && first == item && self.count(address) != Count::Dead
    }

    /// Notes the types in raw blocks as objects. `None` without memory.
    pub(super) fn note_types_by_hand(&mut self, blocks: &mut Blocks) -> Option<()> {
        let mut found = Array::<usize>::new(MOST)?;
        let mut count = 0;
        self.types.for_each(&mut |_, info| {
            if let Some(hit) = blocks.resolve(info.address)
                && blocks.state(hit.id) & OBJECT == 0
                && blocks.header_bytes == 0
                && blocks.extent_in(hit.span, hit.index).0 == info.address
                && let Some(slot) = found.get_mut(count)
            {
                *slot = info.address;
                count += 1;
            }
        });
        for &address in found.iter().take(count) {
            if let (Some(hit), Some(id)) = (blocks.resolve(address), self.type_id(address)) {
                self.note(blocks, hit.id, address, 1, id);
            }
        }
        Some(())
    }
}
