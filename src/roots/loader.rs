//! The dynamic linker's table of the libraries loaded at run time, which it keeps in blocks of malloc's.
//!
//! glibc makes it several times as long as needed and does not clear it: the rest is full of words of whoever had the memory before. It leads
//! to what the linker keeps of each library. All of that holds names, addresses of code and the linker's own records.

use crate::heap::view;

/// Words of a `struct dlfo_mappings_segment` before its entries (glibc 2.35 and later, elf/dl-find_object.c): `previous`, `to_free` (the block
/// itself), `size`, `allocated`.
const HEADER_WORDS: usize = 4;

/// A block shorter than this is none.
pub const BYTES_MIN: usize = 8 * (HEADER_WORDS + ENTRY_WORDS);

/// Words of a `struct dl_find_object_internal` (elf/dl-find_object.h): `map_start`, `map_end`, `map`, `eh_frame`.
const ENTRY_WORDS: usize = 4;

/// The table's length is rounded up to this, in bytes.
const ROUNDED_TO: usize = 128;

/// The libraries' `struct link_map`s that the block names, if the block is such a table: every word of it must agree.
///
/// # Safety
/// `base` must be a live block of `bytes` bytes, and stay so as long as the answer is used.
pub unsafe fn table(base: usize, bytes: usize) -> Option<impl Iterator<Item = usize>> {
    if bytes < BYTES_MIN {
        return None;
    }
    // SAFETY: the caller's; every index below is within the block.
    let word = move |i: usize| unsafe { core::ptr::read_volatile((base as *const usize).add(i)) };
    if word(1) != base {
        return None;
    }
    let (previous, size, allocated) = (word(0), word(2), word(3));
    let whole = allocated.checked_mul(8 * ENTRY_WORDS)?.checked_add(8 * HEADER_WORDS)?;
    // A block is at most a quarter longer than what was asked for.
    let fits = whole <= bytes && bytes <= whole.next_multiple_of(ROUNDED_TO) / 4 * 5;
    if !fits || size == 0 || size > allocated || previous != 0 && view::resolve(previous).is_none() {
        return None;
    }
    for entry in 0..size {
        let at = HEADER_WORDS + ENTRY_WORDS * entry;
        let (start, end, map) = (word(at), word(at + 1), word(at + 2));
        // A library that was unloaded leaves an entry of no length.
        if start & 4095 != 0 || start > end || view::resolve(map).is_none() {
            return None;
        }
    }
    Some((0..size).map(move |entry| word(HEADER_WORDS + ENTRY_WORDS * entry + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_table_is_left_alone() {
        let mut block = [0usize; 36];
        let (base, bytes) = (block.as_ptr() as usize, size_of_val(&block));
        // SAFETY: an array of our own.
        let found = || unsafe { table(base, bytes) }.map(Iterator::count);
        assert_eq!(found(), None);
        block[1] = base;
        // Eight entries of which none is used.
        block[3] = 8;
        assert_eq!(found(), None);
        // One whose library is described by no block of the heap.
        block[2] = 1;
        (block[4], block[5], block[6]) = (0x10_0000, 0x10_4000, 0x1234);
        std::hint::black_box(&block);
        assert_eq!(found(), None);
    }

    #[test]
    fn a_table_names_the_libraries() {
        let map = crate::heap::allocate(64, crate::heap::Domain::Raw) as usize;
        let mut block = [0usize; 36];
        let (base, bytes) = (block.as_ptr() as usize, size_of_val(&block));
        block[1] = base;
        (block[2], block[3]) = (2, 8);
        (block[4], block[5], block[6]) = (0x10_0000, 0x10_4000, map);
        (block[8], block[9], block[10]) = (0x20_0000, 0x20_4008, map);
        std::hint::black_box(&block);
        // SAFETY: an array of our own.
        assert_eq!(unsafe { table(base, bytes) }.map(|maps| maps.collect()), Some(vec![map, map]));
        crate::heap::free(map as *mut u8);
    }
}
