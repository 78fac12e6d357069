//! A number for each block, found by its span's id and its index, in memory of the shim's own: no lock, and the block is not touched.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::*};

use crate::heap::span::LIVE_WORDS;
use crate::meta;

/// Numbers of a span: one for each block that there can be. Pages that are not needed take no memory.
const OF_A_SPAN: usize = LIVE_WORDS * 64;
/// Spans per reservation, of 16 MiB.
const SPANS: usize = 1024;
/// Reservations: as many as span ids need.
const CHUNKS: usize = (64 << 20) / SPANS;

/// The numbers of all blocks, 0 at first.
pub struct Table {
    chunks: [AtomicPtr<AtomicU32>; CHUNKS],
}

#[expect(clippy::new_without_default, reason = "made once, as a static")]
impl Table {
    /// All zero.
    pub const fn new() -> Table {
        Table { chunks: [const { AtomicPtr::new(null_mut()) }; CHUNKS] }
    }

    /// The number of block `index` of span `span`; 0 if it never got one.
    pub fn get(&self, span: u32, index: usize) -> u32 {
        self.cell(span, index).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Gives a block a number. `false`: there is no memory for it, and it has none.
    pub fn set(&self, span: u32, index: usize, number: u32) -> bool {
        if let Some(cell) = self.cell(span, index) {
            cell.store(number, Relaxed);
            return true;
        }
        if number == 0 {
            return true;
        }
        self.make(span);
        self.cell(span, index).is_some_and(|cell| {
            cell.store(number, Relaxed);
            true
        })
    }

    #[inline]
    fn cell(&self, span: u32, index: usize) -> Option<&AtomicU32> {
        let chunk = self.chunks.get(span as usize / SPANS)?.load(Acquire);
        if chunk.is_null() || index >= OF_A_SPAN {
            return None;
        }
        // SAFETY: a reservation has so many numbers for each of its spans, zero at first, and stays.
        Some(unsafe { &*chunk.add(span as usize % SPANS * OF_A_SPAN + index) })
    }

    #[cold]
    fn make(&self, span: u32) {
        let Some(slot) = self.chunks.get(span as usize / SPANS) else { return };
        let fresh = meta::reserve(SPANS * OF_A_SPAN * size_of::<AtomicU32>());
        if !fresh.is_null() && slot.compare_exchange(null_mut(), fresh.cast(), AcqRel, Acquire).is_err() {
            // SAFETY: reserved above and known to nobody.
            unsafe { meta::release(fresh) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_has_a_number_of_its_own() {
        static TABLE: Table = Table::new();
        assert_eq!(TABLE.get(3, 7), 0);
        for (span, index, number) in [(0, 0, 1), (0, 4095, 2), (1, 0, 3), (1023, 4095, 4), (1024, 0, 5), (70_000, 9, 6)] {
            assert!(TABLE.set(span, index, number));
        }
        assert_eq!((TABLE.get(0, 0), TABLE.get(0, 4095), TABLE.get(1, 0), TABLE.get(1023, 4095)), (1, 2, 3, 4));
        assert_eq!((TABLE.get(1024, 0), TABLE.get(70_000, 9), TABLE.get(0, 4096), TABLE.get(u32::MAX, 0)), (5, 6, 0, 0));
        assert!(TABLE.set(0, 0, 0) && TABLE.get(0, 0) == 0);
    }
}
