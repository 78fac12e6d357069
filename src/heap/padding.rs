//! What a raw block has behind the bytes that were asked for: words that the program never writes, so whatever stood there before would stay, and count as
//! a pointer. A string of 21 bytes in a block of 32 so hides a leaked object whose address an array had there (numpy's import: 8 of 336 leaked tuples).
//!
//! They are cleared in what CPython asks for (`PyMem_Malloc`, `PyMem_RawMalloc`) and in what `realloc` answers. Larger blocks are left alone: theirs is a
//! small part of them, and clearing it would cost more than a store or two. Objects need none of it: the object model knows where each ends. Nor is it
//! done for C's `malloc`: the store fetches a cache line that a program may never look at (native.sh: larson 1.28 of its time, compiler 1.25).

use super::size_class::{self, MAX_DIRECT_SIZE};

/// Up to here the classes are 16 bytes apart: one word at most is padding, and it is the last.
const ONE_WORD_MAX: usize = 256;
const _: () = assert!(size_class::block_bytes(size_class::class_of(ONE_WORD_MAX - 15)) == ONE_WORD_MAX);
const _: () = assert!(size_class::block_bytes(size_class::class_of(ONE_WORD_MAX + 1)) > ONE_WORD_MAX + 16);

/// Clears the whole words behind the first `size` bytes of a block just taken from the class of that size; up to there it may change too, by a word.
///
/// # Safety
/// `block` is one of that class, or larger, and its contents are nobody's yet; `size` is at most [`MAX_DIRECT_SIZE`].
#[inline(always)]
pub unsafe fn clear(block: *mut u8, size: usize) {
    // SAFETY: inside the block, at multiples of 8.
    unsafe {
        if size <= ONE_WORD_MAX {
            let end = (size.max(1) + 15) & !15; // of no bytes the first word is left: a link of the free list, in code
            block.add(end - 8).cast::<usize>().write(0);
        } else {
            clear_to(block, size, size_class::block_bytes(size_class::class_of(size)));
        }
    }
}

/// The same for the block of `bytes` at `block`, which stays where it is while what is asked of it becomes `size` bytes. Those stay as they are.
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
/// `block` has `end` bytes.
#[inline(never)]
unsafe fn clear_to(block: *mut u8, size: usize, end: usize) {
    for at in ((size + 7) & !7..end).step_by(8) {
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
    fn a_raw_block_that_is_used_again_has_nothing_old_behind_what_was_asked_for() {
        for size in 1..=MAX_DIRECT_SIZE {
            // One that was full goes back on its list first, so that it is the next to be taken.
            let old = allocate_clean(size);
            let bytes = usable_size(old);
            fill(old, bytes);
            free(old);
            let new = allocate_clean(size);
            for at in (size.next_multiple_of(8)..bytes).step_by(8) {
                assert_eq!(word(new, at), 0, "{size} bytes of {bytes}, at {at}");
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
