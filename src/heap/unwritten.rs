//! What stands in a raw block where its owner has not written: whatever its last owner left. Such words count as pointers, in memory that is in use, and hide
//! what is lost.
//!
//! A string of 21 bytes in a block of 32 hid 8 of the 336 tuples that numpy's import leaks, by a word behind its end; readline's line buffer of 256 bytes,
//! of which one is written, hid 10 of 10 blocks that importing readline anew loses on CPython 3.11. So in a Python process small raw blocks are zero
//! when they are handed out, and what `realloc` adds is. Blocks of more than [`MAX_DIRECT_SIZE`] bytes are left alone: clearing a buffer would cost a good
//! part of what is done with it. Objects need none of it: the object model knows where each ends.
//!
//! Elsewhere `malloc` does not do it: the stores fetch cache lines that a program may never look at (native.sh with the last word alone: larson 1.28 of
//! its time, compiler 1.25).

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::size_class::{self, MAX_DIRECT_SIZE};

static WANTED: AtomicBool = AtomicBool::new(false);

/// Up to here a loop is faster than the C library's `memset`.
const FEW: usize = 128;

/// From here on `malloc` hands out clean blocks.
pub fn want_clean() {
    WANTED.store(true, Relaxed);
}

/// Whether it does.
#[inline(always)]
pub fn wanted() -> bool {
    WANTED.load(Relaxed)
}

/// How far a block of a request of `size` bytes is cleared: to its end, or if it is large as far as was asked for.
#[inline(always)]
pub const fn cleared_to(size: usize) -> usize {
    if size <= MAX_DIRECT_SIZE { size_class::block_bytes(size_class::class_of(size)) } else { size }
}

/// Clears a block just taken from the class of `size`, from byte `from` on rounded up to a word. Large blocks are left as they are.
///
/// # Safety
/// `block` is one of that class, or larger, and what stands there is nobody's yet.
#[inline(always)]
pub unsafe fn clear(block: *mut u8, from: usize, size: usize) {
    if size <= MAX_DIRECT_SIZE {
        // SAFETY: the caller's.
        unsafe { clear_to(block, from, cleared_to(size)) };
    }
}

/// Clears what a raw block of `bytes` at `block` loses when it stays where it is while what is asked of it becomes `size` bytes.
///
/// # Safety
/// There is such a block, and the caller owns it.
#[inline]
pub unsafe fn clear_cut_off(block: usize, size: usize, bytes: usize) {
    if bytes <= MAX_DIRECT_SIZE {
        // SAFETY: the caller's.
        unsafe { clear_to(block as *mut u8, size, bytes) };
    }
}

/// # Safety
/// `block` has `end` bytes, which are a multiple of 16.
#[inline(always)]
unsafe fn clear_to(block: *mut u8, from: usize, end: usize) {
    let from = (from + 7) & !7;
    if end > from + FEW {
        // SAFETY: the caller's.
        unsafe { libc::memset(block.add(from).cast(), 0, end - from) };
        return;
    }
    for at in (from..end).step_by(8) {
        // SAFETY: at + 8 <= end: both are multiples of 8.
        unsafe { block.add(at).cast::<usize>().write(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{Domain, allocate_clean, free, reallocate, usable_size};

    fn word(block: *mut u8, at: usize) -> usize {
        // SAFETY: inside a block of the test's.
        unsafe { block.add(at).cast::<usize>().read() }
    }

    fn fill(block: *mut u8, bytes: usize) {
        // SAFETY: inside a block of the test's.
        unsafe { block.write_bytes(0xa5, bytes) };
    }

    #[test]
    fn a_raw_block_that_is_used_again_has_nothing_old_in_it() {
        for size in 1..=MAX_DIRECT_SIZE {
            // One that was full goes back on its list first, so that it is the next to be taken.
            let old = allocate_clean(size);
            let bytes = usable_size(old);
            fill(old, bytes);
            free(old);
            let new = allocate_clean(size);
            for at in (0..bytes).step_by(8) {
                assert_eq!(word(new, at), 0, "{size} bytes of {bytes}, at {at}");
            }
            free(new);
        }
    }

    #[test]
    fn what_realloc_adds_has_nothing_old_in_it_and_the_rest_stays() {
        for (less, size) in [(16, 40), (100, 300), (24, 1000)] {
            let old = allocate_clean(size);
            fill(old, usable_size(old));
            free(old);
            let block = allocate_clean(less);
            fill(block, less);
            let new = reallocate(block, size, Domain::Raw);
            for at in (0..usable_size(new)).step_by(8) {
                assert_eq!(word(new, at) != 0, at < less, "{less} to {size}, at {at}");
            }
            free(new);
        }
    }

    #[test]
    fn what_a_block_loses_where_it_stands_is_cleared_and_the_rest_stays() {
        for (size, less) in [(64, 20), (256, 129), (1024, 700)] {
            let block = allocate_clean(size);
            fill(block, size);
            let same = reallocate(block, less, Domain::Raw);
            assert_eq!(same, block);
            for at in (0..size).step_by(8) {
                let kept = at < less;
                assert_eq!(word(same, at) != 0, kept, "{size} to {less}, at {at}");
            }
            free(same);
        }
    }
}
