//! Blocks with a mapping of their own give their pages back to the system when they are freed and retained: what is left of them is address space, and reads as zero.
//!
//! They would lose them anyway, once they may be reused: the whole mapping goes then. So it costs nothing, such a block need not be waited for, and it hardly counts towards
//! the next sweep (see [`weight`]), which reads all that is in use. Not so for smaller ones, whose pages serve again: to fault a page in again costs more than to
//! sweep (docs/costs.md).

use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::span::{Span, kind};
use crate::sys::memory;

/// What a block without pages counts of its bytes towards the next sweep: its record and its part of the page map, and so that what is retained has a bound. With the
/// 16 MiB that are retained at most where little lives, that is 1 GiB of addresses.
const WEIGHT_PART: usize = 64;

/// Bytes of retained blocks without pages.
static VACATED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes of retained blocks without pages.
pub fn bytes() -> usize {
    VACATED_BYTES.load(Relaxed)
}

/// For how many bytes so many without pages count.
pub fn weight(bytes: usize) -> usize {
    bytes / WEIGHT_PART
}

/// Takes the pages of a span's block, if it is one that would lose them anyway: whether they have gone.
///
/// # Safety
/// The program has just given the block up, and it is not retained yet: nobody makes it reusable meanwhile.
pub unsafe fn begins(span: *mut Span) -> bool {
    // SAFETY: the caller's duty; the block is whole pages.
    unsafe {
        let gone = (*span).kind.load(Relaxed) == kind::HUGE && memory::discard((*span).base, (*span).block_bytes);
        if gone {
            VACATED_BYTES.fetch_add((*span).block_bytes, Relaxed);
        }
        gone
    }
}

/// A block of so many bytes, without pages, is not retained any more.
pub fn ends(bytes: usize) {
    VACATED_BYTES.fetch_sub(bytes, Relaxed);
}
