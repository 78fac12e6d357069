//! Walks over the blocks of a snapshot in their order, which is that of memory but for the order of the spans.

use super::{BlockId, Blocks};
use crate::meta::Array;

/// A walk over the blocks in order, of which it takes those whose state is right. It borrows nothing: what it has not come to may change.
#[derive(Clone, Copy)]
pub struct Walk {
    next: u32,
    end: u32,
    span: u32,
    mask: u8,
    wanted: u8,
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The block.
    pub id: BlockId,
    /// Its span.
    pub span: u32,
    /// Its index there.
    pub index: u32,
    /// Its start.
    pub base: usize,
    /// Its length.
    pub bytes: usize,
}

impl Walk {
    /// Over the blocks whose state has in the bits of `mask` what `wanted` has.
    pub fn over(mask: u8, wanted: u8) -> Walk {
        Walk { next: 0, end: u32::MAX, span: 1, mask, wanted }
    }

    /// From this number on.
    pub fn starting_at(self, next: u32) -> Walk {
        Walk { next, ..self }
    }

    /// Up to this number, and without it.
    pub fn ending_before(self, end: u32) -> Walk {
        Walk { end, ..self }
    }

    /// Leaves out the rest of the span in which it stands.
    pub fn skip_span(&mut self, blocks: &Blocks) {
        self.next = self.next.max(blocks.past(self.span));
    }

    /// The next block.
    #[inline]
    pub fn next(&mut self, blocks: &Blocks) -> Option<Stop> {
        let id = self.find(&blocks.state).filter(|&id| id < self.end)?;
        self.next = id + 1;
        while self.span + 1 < blocks.span_places && blocks.past(self.span) <= id {
            self.span += 1;
        }
        let extent = blocks.spans.get(self.span as usize)?;
        let index = id - extent.first;
        let base = extent.base + index as usize * extent.block_bytes;
        Some(Stop { id: BlockId(id), span: self.span, index, base, bytes: extent.block_bytes })
    }

    /// The next number whose state is right, looking at eight at a time.
    #[inline]
    fn find(&self, states: &[u8]) -> Option<u32> {
        let mut at = self.next as usize;
        while at < states.len() {
            if at.is_multiple_of(8)
                && let Some(eight) = states.get(at..at + 8)
            {
                let eight = u64::from_le_bytes(eight.try_into().unwrap_or_default());
                let wrong = (eight & (EACH * u64::from(self.mask))) ^ (EACH * u64::from(self.wanted));
                // A byte of zero is a state that is right: the lowest bit set is that of the first one.
                let right = wrong.wrapping_sub(EACH) & !wrong & (EACH << 7);
                if right != 0 {
                    return Some(at as u32 + right.trailing_zeros() / 8);
                }
                at += 8;
            } else if states.get(at).is_some_and(|s| s & self.mask == self.wanted) {
                return Some(at as u32);
            } else {
                at += 1;
            }
        }
        None
    }
}

/// A list of blocks, with room for all of a snapshot's.
pub struct Ids {
    ids: Array<u32>,
    count: usize,
}

impl Ids {
    /// An empty list with room for so many.
    pub fn new(room: u32) -> Option<Ids> {
        Some(Ids { ids: Array::new(room as usize)?, count: 0 })
    }

    /// Adds a block.
    pub fn push(&mut self, id: BlockId) {
        if let Some(slot) = self.ids.get_mut(self.count) {
            *slot = id.0;
            self.count += 1;
        }
    }

    /// The block at a place, while there are so many.
    pub fn get(&self, at: usize) -> Option<BlockId> {
        if at < self.count { self.ids.get(at).map(|&id| BlockId(id)) } else { None }
    }
}

/// One in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_every_state_that_is_right_and_no_other() {
        let mut states = [0u8; 61];
        let mut seed = 7u32;
        for round in 0..200 {
            for state in &mut states {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *state = if round % 3 == 0 { 1 } else { (seed >> 24) as u8 & 0x43 };
            }
            for (mask, wanted) in [(1, 1), (0x43, 1), (0x40, 0), (0xff, 0x42)] {
                let mut walk = Walk::over(mask, wanted);
                let mut found = Vec::new();
                while let Some(at) = walk.find(&states) {
                    found.push(at);
                    walk.next = at + 1;
                }
                let expected: Vec<u32> = (0..61).filter(|&i| states[i as usize] & mask == wanted).collect();
                assert_eq!(found, expected, "round {round}");
            }
        }
    }
}
