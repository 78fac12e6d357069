//! Where words lead among spans with retained blocks: a bit for every 16 bytes.
//!
//! Most of a sweep is asking of each word of memory whether it leads into the heap, and noting where. Noting it as a bit at the place, and only afterwards asking which blocks
//! have such a bit, spares the look at the span's record, the division by the block's length and the branches: a few instructions a word.

use super::near::{self, Near};
use crate::heap::view;
use crate::meta::Array;
use crate::sys::bits;
use crate::sys::memory::GRANULE;
use crate::sys::prefetch;

/// Bytes that share a bit: blocks begin and end at multiples of it.
const STEP: usize = 16;
/// Words of bits for a granule.
const ROW: usize = GRANULE / STEP / 64;

/// The bits.
pub struct Hits {
    low: usize,
    range_bytes: usize,
    near: Near,
    /// For each granule from `low` on the row of its bits. Row 0 is for all granules whose bits nobody asks for.
    rows: Array<u32>,
    bits: Array<u64>,
}

impl Hits {
    /// No bit is set. `None` without memory.
    pub fn new() -> Option<Hits> {
        let (low, high) = view::bounds();
        let range_bytes = high.saturating_sub(low);
        let mut rows = Array::<u32>::new(range_bytes / GRANULE + 1)?;
        let mut next = 1;
        view::for_each_retaining_span(&mut |id, _| {
            let Some(span) = view::span(id) else { return };
            let from = (span.base - low) / GRANULE;
            let granules = rows.get_mut(from..from + span.bytes / GRANULE).unwrap_or_default();
            if span.reciprocal == 0 {
                // Of one block it is all the same where.
                granules.fill(next);
                next += 1;
            } else {
                for row in granules {
                    *row = next;
                    next += 1;
                }
            }
        });
        Some(Hits { low, range_bytes, near: Near::new(low, range_bytes), rows, bits: Array::new(next as usize * ROW)? })
    }

    /// Reads the words from `start` to `end`.
    ///
    /// # Safety
    /// The range is readable and word-aligned.
    #[inline]
    pub unsafe fn scan(&mut self, start: usize, end: usize) {
        let (low, range_bytes, near) = (self.low, self.range_bytes, self.near);
        let (rows, hits) = (self.rows.as_ptr(), self.bits.as_mut_ptr());
        let mut at = start;
        while at < end {
            let stop = end.min(at + 8 * near::WORDS);
            (at..stop).step_by(64).for_each(|line| prefetch::to_read(line + AHEAD_BYTES));
            // SAFETY: the caller's duty. Volatile: the memory belongs to the program and is typed differently there. There is a row number for each granule of the range,
            // and a row for each number.
            unsafe {
                for word in bits::set_in(near.among(at, stop)) {
                    let offset = core::ptr::read_volatile((at + 8 * word as usize) as *const usize).wrapping_sub(low);
                    if offset < range_bytes {
                        let row = *rows.add(offset / GRANULE) as usize;
                        let place = offset % GRANULE / STEP;
                        *hits.add(row * ROW + place / 64) |= 1 << (place % 64);
                    }
                }
            }
            at = stop;
        }
    }

    /// The bits of a span of so many bytes that begins at `base`.
    pub fn of_span(&self, base: usize, bytes: usize) -> OfSpan<'_> {
        let row = self.rows.get(base.wrapping_sub(self.low) / GRANULE).map_or(0, |&row| row as usize);
        OfSpan { bits: self.bits.get(row * ROW..(row + bytes / GRANULE) * ROW).unwrap_or_default() }
    }
}

/// Runs of blocks that are to be read, a few of them ahead of the reading: their first lines are on their way from memory meanwhile. Blocks in use lie scattered among those
/// that are not, and half of the time would be spent waiting for them.
pub struct Ahead {
    runs: [(usize, usize); Ahead::RUNS],
    next: usize,
}

/// So much of a run is fetched when it comes.
const FETCHED_BYTES: usize = 512;
/// How far ahead within a run.
const AHEAD_BYTES: usize = 2048;

impl Ahead {
    /// Runs that wait.
    pub const RUNS: usize = 8;

    /// No run.
    pub const NONE: Ahead = Ahead { runs: [(0, 0); Ahead::RUNS], next: 0 };

    /// Takes a run and answers the one whose turn it is to be read; perhaps an empty one.
    #[inline]
    pub fn swap(&mut self, start: usize, end: usize) -> (usize, usize) {
        for line in (start..end.min(start + FETCHED_BYTES)).step_by(64) {
            prefetch::to_read(line);
        }
        self.next = (self.next + 1) % Ahead::RUNS;
        self.runs.get_mut(self.next).map_or((0, 0), |slot| core::mem::replace(slot, (start, end)))
    }
}

/// The bits of one span.
pub struct OfSpan<'a> {
    bits: &'a [u64],
}

impl OfSpan<'_> {
    /// Whether a word leads into the span.
    pub fn any(&self) -> bool {
        self.bits.iter().any(|&bits| bits != 0)
    }

    /// Which of the blocks `wanted`, of blocks `64 * word` and following, words lead into.
    #[inline]
    pub fn among(&self, word: usize, wanted: u64, block_bytes: usize) -> u64 {
        let steps = block_bytes / STEP;
        if steps == 1 {
            return self.word(word) & wanted;
        }
        bits::set_in(wanted).fold(0, |hit, bit| {
            let first = (word * 64 + bit as usize) * steps;
            hit | u64::from(self.any_between(first, first + steps)) << bit
        })
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.bits.get(at).copied().unwrap_or(0)
    }

    #[inline]
    fn any_between(&self, from: usize, to: usize) -> bool {
        let (first, last) = (from / 64, (to - 1) / 64);
        let (head, tail) = (u64::MAX << (from % 64), u64::MAX >> (63 - (to - 1) % 64));
        if first == last {
            return self.word(first) & head & tail != 0;
        }
        self.word(first) & head != 0 || self.word(last) & tail != 0 || (first + 1..last).any(|at| self.word(at) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_hit_by_a_bit_anywhere_in_it_and_by_none_beside_it() {
        for block_bytes in [16, 48, 208, 1024, 4096] {
            let steps = block_bytes / STEP;
            for index in [0usize, 1, 5, 63, 64, 70].into_iter().filter(|index| (index + 2) * steps <= 4096) {
                for place in [index * steps, index * steps + steps / 2, (index + 1) * steps - 1] {
                    let mut bits = vec![0u64; 64];
                    bits[place / 64] |= 1 << (place % 64);
                    let span = OfSpan { bits: &bits };
                    let hit: Vec<usize> = (0..2)
                        .flat_map(|word| {
                            let hit = span.among(word, u64::MAX, block_bytes);
                            (0..64).filter(move |bit| hit >> bit & 1 != 0).map(move |bit| word * 64 + bit)
                        })
                        .collect();
                    assert_eq!(hit, [index], "{block_bytes}");
                    assert_eq!(span.among(index / 64, !(1 << (index % 64)), block_bytes), 0);
                    assert!(span.any());
                }
            }
        }
    }
}
