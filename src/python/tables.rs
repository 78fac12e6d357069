//! Raw blocks that containers keep their references in: which of their words count is known from the container.
//!
//! A list's array has room behind its last item, a dict's table behind its last entry, and what stands there is whatever was there before.
//! Hashes are numbers: that of an int is its value, so the table of a dict or set keyed by addresses (`tp_subclasses`, for one) has words that
//! equal them and hold nothing.

use super::layout;
use super::types::read;
use crate::mark::blocks::{DEAD, OBJECT};
use crate::mark::{BlockId, Blocks, Part};

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

const WORDS_MAX: usize = (1 << 30) - 1;

impl Table {
    /// What is noted of the block: two bits what, from 1 on, and thirty bits how many words.
    fn to_note(self) -> u32 {
        let (what, bytes) = match self {
            Table::Items(bytes) => (1, bytes),
            Table::DictKeys => (2, 0),
            Table::SetEntries(bytes) => (3, bytes),
        };
        what << 30 | bytes.div_ceil(8).min(WORDS_MAX) as u32
    }

    fn from_note(note: u32) -> Option<Table> {
        let words = note as usize & WORDS_MAX;
        // What is longer than can be written down ends where its block does.
        let bytes = if words == WORDS_MAX { usize::MAX } else { words * 8 };
        match note >> 30 {
            0 => None,
            1 => Some(Table::Items(bytes)),
            2 => Some(Table::DictKeys),
            _ => Some(Table::SetEntries(bytes)),
        }
    }

    /// Notes that a container keeps its references in the block that begins at `address`, if one does. The answer is that of [`Table::set`].
    pub fn note(self, blocks: &mut Blocks, address: usize) -> u32 {
        match blocks.resolve(address) {
            Some(hit) if blocks.extent_in(hit.span, hit.index).0 == address => self.set(blocks, hit.id),
            _ => 0,
        }
    }

    /// Notes what a block is, and answers how many live objects were taken to be in it: raw memory is as its last owner left it until somebody
    /// writes to it.
    pub fn set(self, blocks: &mut Blocks, id: BlockId) -> u32 {
        let mistaken = blocks.state(id) & OBJECT != 0 && blocks.state(id) & DEAD == 0;
        blocks.set_note(id, self.to_note());
        u32::from(mistaken)
    }

    /// What the block is, if it is a table.
    #[inline]
    pub fn of(blocks: &Blocks, id: BlockId) -> Option<Table> {
        Table::from_note(blocks.note(id))
    }

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
///
/// # Safety
/// `base` must be the `ma_keys` of a live dict.
pub unsafe fn dict_keys(minor: u8, base: usize, bytes: usize) -> Option<Part> {
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
        for table in [
            Table::Items(0),
            Table::Items(24),
            Table::DictKeys,
            Table::SetEntries(128),
            Table::SetEntries(0),
            Table::Items(usize::MAX),
        ] {
            assert_eq!(Table::from_note(table.to_note()), Some(table));
        }
        assert_eq!(Table::from_note(0), None);
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
        std::hint::black_box(&table);
        assert_eq!(part(12), Part::all(base, base + bytes));
    }
}
