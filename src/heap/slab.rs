//! A slab as its owner sees it: which block an address is in, which are free, taking and giving one, and where more come from.
//!
//! A slab is owned by one thread, which alone takes blocks from it, or by nobody: how it changes hands is in [`super::remote`] and
//! [`super::abandoned`].
//!
//! Blocks are taken from one word of the bits, the lowest first, until it has none; then the next word that has some becomes the cursor. So
//! blocks used one after the other lie side by side, and what is freed near the cursor is reused while it is in the processor's cache.

use core::sync::atomic::{AtomicU64, Ordering::*, compiler_fence};

use super::Domain;
use super::abandoned;
use super::cache::{self, Cache, NO_SLAB};
use super::pool;
use super::remote;
use super::retained;
use super::span::Span;
use crate::sys::local;

/// Bytes of blocks carved at a time, but never more than the rest of a word of bits.
const CARVE_BYTES: u32 = 16 << 10;

/// Larger blocks are wiped by the C library.
const MAX_WIPED_INLINE_BYTES: usize = 256;

/// Takes a block off a slab; null if there is none at the cursor, or a signal handler has just taken one.
///
/// # Safety
/// `span` is a slab that the calling thread owns, or `cache::NO_SLAB`.
#[inline(always)]
pub unsafe fn take(span: *mut Span) -> *mut u8 {
    // SAFETY: the owner alone changes the bits, and the cursor is below their number. The empty slab has no bit set, so it is not written.
    unsafe {
        let cursor = (*span).cursor as usize;
        let seen = (*span).free.get_unchecked(cursor).load(Relaxed);
        if seen == 0 {
            return core::ptr::null_mut();
        }
        let mut block = (*span).base + (cursor * 64 + seen.trailing_zeros() as usize) * (*span).block_bytes;
        // The block's address is known before it is handed out: wherever a snapshot stops the thread, a register names it.
        if !local::exchange(words(span), cursor, seen, seen & seen.wrapping_sub(1), &mut block) {
            return core::ptr::null_mut();
        }
        core::hint::assert_unchecked(block != 0);
        block as *mut u8
    }
}

/// Gives a block back. `false`, and nothing has changed: it is free already.
///
/// # Safety
/// The calling thread owns the slab, `index` is that of the carved block at `block`, and no other thread has freed it.
#[inline(always)]
pub unsafe fn give(span: *mut Span, index: usize, block: usize) -> bool {
    // SAFETY: the caller's duty; the bits are as many as blocks can be.
    unsafe {
        // The look comes first: once it is free, a signal handler may take the block.
        if (*span).free.get_unchecked(index / 64).load(Relaxed) >> (index % 64) & 1 != 0 {
            return false;
        }
        let bytes = (*span).wiped_bytes.load(Relaxed);
        if bytes > MAX_WIPED_INLINE_BYTES {
            give_wiped(span, index, block);
        } else {
            wipe_inline(block, bytes);
            make_free(span, index);
        }
        true
    }
}

/// Makes a block free, which is not.
///
/// # Safety
/// As for [`give`].
#[inline(always)]
unsafe fn make_free(span: *mut Span, index: usize) {
    // SAFETY: the caller's duty.
    unsafe {
        let (at, bit) = (index / 64, 1 << (index % 64));
        let now = (*span).free.get_unchecked(at).load(Relaxed) | bit;
        local::flip(words(span), at, bit);
        // If all blocks of the word are free it is all ones, or ones up to where it is carved. Other words may look like that too.
        if now & now.wrapping_add(1) == 0 {
            retire(span);
        }
    }
}

/// Wipes a block and makes it free.
///
/// # Safety
/// As for [`give`].
#[inline(never)]
unsafe fn give_wiped(span: *mut Span, index: usize, block: usize) {
    // SAFETY: the caller's duty.
    unsafe {
        wipe(span, block);
        make_free(span, index);
    }
}

/// Forgets what stands in a block that is about to be free, if blocks of the slab are to be wiped (see [`pool::wipe_from_now_on`]).
///
/// # Safety
/// `block` is one of the slab that nobody uses.
pub unsafe fn wipe(span: *mut Span, block: usize) {
    // SAFETY: the caller's duty.
    unsafe { wipe_behind(span, block, 0) };
}

/// Forgets what stands in a block behind its first `size` bytes, which are all that is asked of it from now on; as [`wipe`].
///
/// # Safety
/// The block is the caller's and has as many bytes.
pub unsafe fn wipe_behind(span: *mut Span, block: usize, size: usize) {
    // SAFETY: the caller's duty; a span that is no slab has no bytes to wipe.
    unsafe {
        let bytes = (*span).wiped_bytes.load(Relaxed);
        if size < bytes {
            libc::memset((block + size) as *mut libc::c_void, 0, bytes - size);
        }
    }
}

/// Zeroes a few bytes, a multiple of 16.
///
/// # Safety
/// Nobody uses the bytes.
#[inline(always)]
unsafe fn wipe_inline(block: usize, bytes: usize) {
    let mut at = block;
    while at < block + bytes {
        // Volatile: the compiler would make a call of memset of it, which costs more than these few stores.
        // SAFETY: the caller's duty.
        unsafe { (at as *mut Line).write_volatile(core::mem::zeroed()) };
        at += size_of::<Line>();
    }
}

/// What is wiped by one store.
#[cfg(target_arch = "x86_64")]
type Line = core::arch::x86_64::__m128i;
/// What is wiped by one store, or two.
#[cfg(not(target_arch = "x86_64"))]
type Line = u128;

/// The bits of a slab, as [`local`] wants them.
fn words(span: *mut Span) -> *const AtomicU64 {
    // SAFETY: only an address is made.
    unsafe { (&raw const (*span).free).cast() }
}

/// Makes the first slab of a bin one with a free block at its cursor, and returns it; null when out of memory.
///
/// # Safety
/// `cache` is the calling thread's and not the empty one; `class` is a class.
#[cold]
#[inline(never)]
pub unsafe fn refill(cache: *mut Cache, domain: Domain, class: usize) -> *mut Span {
    // SAFETY: the slabs in the bin belong to the calling thread.
    unsafe {
        loop {
            let span = cache::bin(cache, domain, class);
            if span == NO_SLAB {
                break;
            }
            if more(span) {
                (*span).found_full = false;
                return span;
            }
            cache::unlink(cache, span);
            // Found full for the first time, it waits behind the others: frees come to most slabs, and while it is owned they are cheap.
            let wait = !(*span).had_remote.load(Relaxed) && !(*span).found_full && cache::bin(cache, domain, class) != NO_SLAB;
            (*span).found_full = wait;
            if wait || !remote::detach(span) {
                cache::link(cache, span, false);
            }
        }
        let mut span = abandoned::adopt(cache, domain, class);
        if span.is_null() {
            span = pool::new_slab(class, domain, cache::me());
            if span.is_null() {
                return span;
            }
            carve(span);
        }
        cache::link(cache, span, true);
        span
    }
}

/// Moves the cursor to a word with a free block, wherever there may be one. `false`: the slab is full.
///
/// # Safety
/// The calling thread owns the slab.
#[inline]
pub unsafe fn more(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe { advance(span) || remote::collect(span) && advance(span) || carve(span) }
}

/// Moves the cursor on to a word with a free block. `false` if no block is free for the owner.
///
/// # Safety
/// The calling thread owns the slab.
pub unsafe fn advance(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let words = (*span).carved.load(Relaxed).div_ceil(64) as usize;
        let mut at = (*span).cursor as usize;
        for _ in 0..words {
            if (*span).free.get_unchecked(at).load(Relaxed) != 0 {
                (*span).cursor = at as u32;
                return true;
            }
            at = if at + 1 < words { at + 1 } else { 0 };
        }
        false
    }
}

/// Makes the next blocks that nobody has seen yet free ones, and moves the cursor there. `false` if there are none.
///
/// # Safety
/// The calling thread owns the slab.
pub unsafe fn carve(span: *mut Span) -> bool {
    // SAFETY: indices below capacity are blocks of the slab, and those from carved on belong to nobody.
    unsafe {
        let first = (*span).carved.load(Relaxed);
        let wanted = (CARVE_BYTES / (*span).block_bytes as u32).max(1);
        let count = wanted.min(64 - first % 64).min((*span).capacity - first);
        if count == 0 {
            return false;
        }
        if (*span).wiped_bytes.load(Relaxed) != 0 && !(*span).zeroed {
            // Large blocks that lay here were not wiped.
            let bytes = (*span).block_bytes;
            libc::memset(((*span).base + first as usize * bytes) as *mut libc::c_void, 0, count as usize * bytes);
        }
        // In this order a process forked in between loses some blocks at most, and a snapshot sees none of them in use.
        (*span).carved.store(first + count, Relaxed);
        compiler_fence(Release);
        let at = first as usize / 64;
        put(span, at, (u64::MAX >> (64 - count)) << (first % 64));
        compiler_fence(Release);
        (*span).ready.store(first + count, Relaxed);
        (*span).cursor = at as u32;
        true
    }
}

/// Makes blocks free for the owner: those in `bits` of blocks `64 * at` and following. Answers those of them that were so already.
///
/// # Safety
/// The calling thread owns the slab, and nobody uses the blocks; `at` is below the number of words.
pub unsafe fn put(span: *mut Span, at: usize, bits: u64) -> u64 {
    // SAFETY: the caller's duty.
    unsafe {
        let twice = (*span).free.get_unchecked(at).load(Relaxed) & bits;
        local::flip(words(span), at, bits & !twice);
        twice
    }
}

/// The index of the block of `span` that contains `at`, and whether it starts there. For an address outside, some index that is beyond the last.
///
/// # Safety
/// `span` is a slab.
#[inline(always)]
pub unsafe fn index_at(span: *mut Span, at: usize) -> (usize, bool) {
    // SAFETY: the caller's duty.
    unsafe {
        let product = at.wrapping_sub((*span).base) as u128 * (*span).reciprocal as u128;
        ((product >> 64) as usize, (product as u64) < (*span).reciprocal)
    }
}

/// Whether `at` is the start of a block that was carved.
///
/// # Safety
/// `span` is a slab and came from the page map for `at`.
#[inline(always)]
pub unsafe fn starts_block(span: *mut Span, at: usize) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let (index, starts) = index_at(span, at);
        starts && index < (*span).carved.load(Relaxed) as usize
    }
}

/// Whether a block is in use, as far as the calling thread can know: for the owner it is exact.
///
/// # Safety
/// `at` is the start of a carved block of the slab.
pub unsafe fn in_use(span: *mut Span, at: usize) -> bool {
    // SAFETY: the caller's duty; an index of a block is below the number of bits.
    unsafe {
        let index = index_at(span, at).0;
        let free = (*span).free.get_unchecked(index / 64).load(Relaxed) | remote::free_of(&*span, index / 64);
        free >> (index % 64) & 1 == 0 && !retained::is(span, index)
    }
}

/// Whether no block is in use. What others have freed counts as used until it is gathered.
///
/// # Safety
/// The calling thread owns the slab, or has claimed it.
pub unsafe fn is_empty(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let carved = (*span).carved.load(Relaxed) as usize;
        let all_free = |at: usize| {
            let blocks = carved.saturating_sub(at * 64).min(64) as u32;
            let mask = u64::MAX.checked_shr(64 - blocks).unwrap_or(0);
            (*span).free.get_unchecked(at).load(Relaxed) == mask
        };
        if !all_free((*span).witness as usize) {
            return false;
        }
        match (0..carved.div_ceil(64)).find(|&at| !all_free(at)) {
            Some(at) => {
                (*span).witness = at as u32;
                false
            }
            None => true,
        }
    }
}

/// A block of the calling thread's own slab was freed, and perhaps none is in use any more. The last slab of a bin is kept, so that a program
/// that allocates and frees one block in turn does not make and release a slab each time.
///
/// # Safety
/// The calling thread owns the slab, and it is in its bin.
#[cold]
#[inline(never)]
pub unsafe fn retire(span: *mut Span) {
    // SAFETY: the caller's duty.
    unsafe {
        if cache::is_only(span) {
            return;
        }
        remote::collect(span);
        if !is_empty(span) {
            return;
        }
        cache::unlink(cache::mine(), span);
        pool::release(span);
    }
}

#[cfg(test)]
mod tests {
    use crate::heap::{Domain, allocate, free, pool, reallocate, usable_size};

    fn words<'a>(block: *mut u8) -> &'a mut [usize] {
        // SAFETY: a block of the test's.
        unsafe { core::slice::from_raw_parts_mut(block.cast(), usable_size(block) / 8) }
    }

    /// How many of these blocks lie in the ranges, all of which must be wiped. (Other tests freed blocks before wiping began.)
    fn wiped_in(blocks: &[*mut u8], ranges: &[(usize, usize)]) -> usize {
        let inside = blocks.iter().filter(|&&block| ranges.iter().any(|&(low, high)| (low..high).contains(&(block as usize))));
        inside.inspect(|&&block| assert!(words(block).iter().all(|&word| word == 0))).count()
    }

    fn filled<const N: usize>(size: usize) -> [*mut u8; N] {
        [(); N].map(|()| {
            let block = allocate(size, Domain::Object);
            words(block).fill(7);
            block
        })
    }

    #[test]
    fn nothing_old_is_found_in_a_block_once_freed_blocks_are_wiped() {
        let early: [_; 3] = filled(40);
        pool::wipe_from_now_on();
        early.into_iter().for_each(free);
        for size in [1usize, 16, 40, 200, 256, 257, 1000, 5000, 60_000] {
            let before: [_; 300] = filled(size);
            let ranges = before.map(|block| (block as usize, block as usize + 1));
            std::thread::spawn(move || ranges.iter().step_by(2).for_each(|&(at, _)| free(at as *mut u8))).join().unwrap();
            before.into_iter().skip(1).step_by(2).for_each(free);
            let after = [(); 3000].map(|()| allocate(size, Domain::Object));
            assert!(wiped_in(&after, &ranges) > 100, "{size}");
            after.into_iter().for_each(free);
        }
    }

    #[test]
    fn a_slab_where_a_large_block_was_is_wiped() {
        pool::wipe_from_now_on();
        let large = allocate(600_000, Domain::Raw);
        words(large).fill(7);
        free(large);
        let range = (large as usize, large as usize + 600_000);
        // What is free elsewhere is taken first.
        let blocks = [(); 20_000].map(|()| allocate(3000, Domain::Object));
        assert!(wiped_in(&blocks, &[range]) > 0);
        blocks.into_iter().for_each(free);
    }

    #[test]
    fn what_a_block_loses_where_it_stands_is_wiped_and_the_rest_stays() {
        pool::wipe_from_now_on();
        for (size, less) in [(64, 24), (256, 136), (1024, 704)] {
            let block = allocate(size, Domain::Raw);
            words(block).fill(7);
            let same = reallocate(block, less, Domain::Raw);
            assert_eq!(same, block);
            for (at, &word) in words(same).iter().enumerate() {
                assert_eq!(word != 0, at * 8 < less, "{size} to {less}, at {at}");
            }
            free(same);
        }
    }
}
