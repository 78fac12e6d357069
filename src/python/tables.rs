//! Raw blocks that containers keep their references in: which of their words count is known from the container.
//!
//! A list's array has room behind its last item, a dict's table behind its last entry, and what stands there is whatever was there before.
//! Hashes are numbers: that of an int is its value, so the table of a dict or set keyed by addresses (`tp_subclasses`, for one) has words that
//! equal them and hold nothing.

use super::layout;
use super::types::read;
use crate::mark::{BlockId, Blocks, Part};
use crate::meta::Array;

/// What a raw block is to the container that names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Items from the start on, so many bytes; the rest is stale.
    Items(usize),
    /// `PyDictKeysObject`.
    DictKeys,
    /// `setentry`s (key, hash), so many bytes.
    SetEntries(usize),
}

/// Block id plus 1, and a [`Table`]: two bits what, thirty bits how many words.
#[derive(Clone, Copy, Default)]
struct Slot {
    key: u32,
    what: u32,
}

// SAFETY: zeros are an empty slot.
unsafe impl crate::meta::Zeroed for Slot {}

const WORDS_MAX: usize = (1 << 30) - 1;

impl Slot {
    fn new(id: BlockId, table: Table) -> Slot {
        let (what, bytes) = match table {
            Table::Items(bytes) => (0, bytes),
            Table::DictKeys => (1, 0),
            Table::SetEntries(bytes) => (2, bytes),
        };
        Slot { key: id.0 + 1, what: what << 30 | bytes.div_ceil(8).min(WORDS_MAX) as u32 }
    }

    fn table(self) -> Table {
        let words = self.what as usize & WORDS_MAX;
        // What is longer than can be written down ends where its block does.
        let bytes = if words == WORDS_MAX { usize::MAX } else { words * 8 };
        match self.what >> 30 {
            0 => Table::Items(bytes),
            1 => Table::DictKeys,
            _ => Table::SetEntries(bytes),
        }
    }
}

/// The tables found, by block.
pub struct Tables {
    slots: Array<Slot>,
    count: usize,
    mask: usize,
}

impl Tables {
    /// Room for the tables of so many blocks.
    pub fn new(blocks: u32) -> Option<Tables> {
        let slots = (blocks as usize / 2).next_power_of_two().max(1024);
        Some(Tables { slots: Array::new(slots)?, count: 0, mask: slots - 1 })
    }

    /// Notes that a container keeps its references in the block that begins at `address`, if one does.
    pub fn note(&mut self, blocks: &Blocks, address: usize, table: Table) {
        if let Some(hit) = blocks.resolve(address)
            && blocks.extent_in(hit.span, hit.index).0 == address
        {
            self.set(hit.id, table);
        }
    }

    /// Notes what a block is.
    pub fn set(&mut self, id: BlockId, table: Table) {
        // Half full is enough; a table beyond that is scanned to its end, stale words and all.
        if self.count * 2 >= self.mask {
            return;
        }
        let mut at = id.0 as usize & self.mask;
        while self.slots[at].key != 0 && self.slots[at].key != id.0 + 1 {
            at = (at + 1) & self.mask;
        }
        if self.slots[at].key == 0 {
            self.count += 1;
        }
        self.slots[at] = Slot::new(id, table);
    }

    /// What the block is, if it is a table.
    #[inline]
    pub fn get(&self, id: BlockId) -> Option<Table> {
        let mut at = id.0 as usize & self.mask;
        loop {
            let slot = self.slots[at];
            match slot.key {
                0 => return None,
                key if key == id.0 + 1 => return Some(slot.table()),
                _ => at = (at + 1) & self.mask,
            }
        }
    }
}

impl Table {
    /// The part of the block whose words count.
    ///
    /// # Safety
    /// `base` must be a live block of `bytes` bytes that the container really keeps its references in.
    pub unsafe fn part(self, minor: u8, base: usize, bytes: usize) -> Part {
        match self {
            Table::Items(used) => Part::all(base, base + used.min(bytes)),
            Table::SetEntries(used) => Part::table(base, base + used.min(bytes), 2, 1),
            // SAFETY: the caller's.
            Table::DictKeys => unsafe { dict_keys(minor, base, bytes) }.unwrap_or(Part::all(base, base + bytes)),
        }
    }
}

/// How many entries of a dict's table are in use: as many values can a dict have that shares it with others.
///
/// # Safety
/// `base` must be the `ma_keys` of a live dict.
pub unsafe fn entries_in_use(minor: u8, base: usize) -> usize {
    // SAFETY: the caller's.
    unsafe { read(base + if minor <= 10 { 32 } else { 24 }) }
}

/// The entries of a dict's table that are in use. `None` if the header does not look like one.
unsafe fn dict_keys(minor: u8, base: usize, bytes: usize) -> Option<Part> {
    let header = layout::dict_keys_header(minor);
    if bytes < header {
        return None;
    }
    // SAFETY: the caller's; the header lies in the block.
    let head = |at: usize| unsafe { read(base + at) };
    let (size, indices, hashed, entries) = if minor <= 10 {
        let size = head(8);
        (size, size.checked_mul(index_bytes(size))?, true, head(32))
    } else {
        let [log2_size, log2_indices, kind, ..] = head(8).to_le_bytes();
        (1usize.checked_shl(log2_size.into())?, 1usize.checked_shl(log2_indices.into())?, kind == 0, head(24))
    };
    let entry = if hashed { 24 } else { 16 };
    let start = header.checked_add(indices)?;
    let end = start.checked_add(entries.checked_mul(entry)?)?;
    if !size.is_power_of_two() || entries > size || end > bytes {
        return None;
    }
    let (start, end) = (base + start, base + end);
    // PyDictKeyEntry: me_hash, me_key, me_value. PyDictUnicodeEntry: me_key, me_value.
    Some(if hashed { Part::table(start, end, 3, 0) } else { Part::all(start, end) })
}

/// Bytes of one index of a table of `size` slots (Objects/dictobject.c until 3.10, `DK_IXSIZE`).
const fn index_bytes(size: usize) -> usize {
    if size <= 0xff {
        1
    } else if size <= 0xffff {
        2
    } else if size <= 0xffff_ffff {
        4
    } else {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_found_again() {
        let mut tables = Tables::new(16).unwrap();
        tables.set(BlockId(3), Table::Items(24));
        tables.set(BlockId(3 + 1024), Table::DictKeys);
        tables.set(BlockId(4), Table::SetEntries(128));
        tables.set(BlockId(4), Table::SetEntries(256));
        tables.set(BlockId(5), Table::Items(usize::MAX));
        assert_eq!(tables.get(BlockId(3)), Some(Table::Items(24)));
        assert_eq!(tables.get(BlockId(3 + 1024)), Some(Table::DictKeys));
        assert_eq!(tables.get(BlockId(4)), Some(Table::SetEntries(256)));
        assert_eq!(tables.get(BlockId(5)), Some(Table::Items(usize::MAX)));
        assert_eq!(tables.get(BlockId(6)), None);
    }

    #[test]
    fn a_dicts_table_is_its_entries_in_use_without_their_hashes() {
        // 3.10: refcnt, size 8, lookup, usable, nentries 2; 8 indices of a byte.
        let mut table = [1usize, 8, 0x1000, 3, 2, 0, 0x2000, 1, 2, 0x2008, 3, 4, 0x2010, 5, 6, 0];
        let (base, bytes) = (table.as_ptr() as usize, size_of_val(&table));
        // SAFETY: an array of our own.
        let part = |minor| unsafe { Table::DictKeys.part(minor, base, bytes) };
        assert_eq!(part(10), Part::table(base + 48, base + 96, 3, 0));
        // 3.12: refcnt, log2 size 3, log2 of the indices' bytes 3, kind 0 (any key), usable, nentries 2; indices.
        table[1] = 0x0003_03;
        table[3] = 2;
        assert_eq!(part(12), Part::table(base + 40, base + 88, 3, 0));
        // Kind 1: str keys alone, no hashes.
        table[1] = 0x0103_03;
        assert_eq!(part(12), Part::all(base + 40, base + 72));
        // Nothing like a table: all of it counts.
        table[3] = 1 << 40;
        assert_eq!(part(12), Part::all(base, base + bytes));
    }
}
