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
use super::modes;
use super::pool;
use super::remote;
use super::retained;
use super::span::Span;
use super::wiping;
use crate::sys::bits;
use crate::sys::local;
use crate::sys::prefetch;

/// Bytes of blocks carved at a time, but never more than the rest of a word of bits.
const CARVE_BYTES: u32 = 16 << 10;

/// Takes a block off a slab; null if there is none at the cursor, or a signal handler has just taken one.
///
/// # Safety
/// `span` is a slab that the calling thread owns, or `cache::NO_SLAB`.
#[inline(always)]
pub unsafe fn take(span: *mut Span) -> *mut u8 {
    // SAFETY: the owner alone changes the bits, and the cursor is below their number. The empty slab has no bit set, so it is not written.
    unsafe {
        let cursor = (*span).cursor;
        let word = Span::word_of(cursor);
        let seen = (*span).free.get_unchecked(word).load(Relaxed);
        if seen == 0 {
            return core::ptr::null_mut();
        }
        let block = (cursor - word) + seen.trailing_zeros() as usize * (*span).block_bytes;
        // The block's address is known before it is handed out: wherever a snapshot stops the thread, a register names it.
        if !local::exchange(words(span), word, seen, seen & seen.wrapping_sub(1), block) {
            return core::ptr::null_mut();
        }
        core::hint::assert_unchecked(block != 0);
        wiping::wiped(span, block)
    }
}

/// Gives a block back. `false`, and nothing has changed: it is free already.
///
/// # Safety
/// The calling thread owns the slab, `index` is that of a carved block, and no other thread has freed it.
#[inline(always)]
pub unsafe fn give(span: *mut Span, index: usize) -> bool {
    // SAFETY: the caller's duty; the bits are as many as blocks can be.
    unsafe {
        let (at, bit) = (index / 64, 1 << (index % 64));
        // The look comes first: once it is free, a signal handler may take the block.
        let seen = (*span).free.get_unchecked(at).load(Relaxed);
        if seen & bit != 0 {
            return false;
        }
        local::flip(words(span), at, bit);
        // If all blocks of the word are free it is all ones, or ones up to where it is carved. Other words may look like that too. (If a handler has freed the others
        // since the look, the slab is seen to be empty another time.)
        let now = seen | bit;
        if now & now.wrapping_add(1) == 0 {
            retire(span);
        }
        true
    }
}

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
        let mut at = Span::word_of((*span).cursor);
        for _ in 0..words {
            if (*span).free.get_unchecked(at).load(Relaxed) != 0 {
                (*span).set_cursor(at);
                if (*span).had_remote.load(Relaxed) {
                    fetch(span, at);
                }
                return true;
            }
            at = if at + 1 < words { at + 1 } else { 0 };
        }
        false
    }
}

/// Has the first lines of the free blocks among `64 * at` and following fetched. They are handed out next, and where other threads free, another processor has them.
///
/// # Safety
/// `span` is a slab, and `at` is below the number of words.
unsafe fn fetch(span: *mut Span, at: usize) {
    // SAFETY: the caller's duty.
    unsafe {
        let bytes = (*span).block_bytes;
        let base = (*span).base + 64 * at * bytes;
        for block in bits::set_in((*span).free.get_unchecked(at).load(Relaxed)) {
            prefetch::to_write(base + block as usize * bytes);
        }
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
        let count = wanted.min(64 - first % 64).min(u32::from((*span).capacity) - first);
        if count == 0 {
            return false;
        }
        // In this order a process forked in between loses some blocks at most, and a snapshot sees none of them in use.
        (*span).carved.store(first + count, Relaxed);
        compiler_fence(Release);
        let at = first as usize / 64;
        put(span, at, (u64::MAX >> (64 - count)) << (first % 64));
        compiler_fence(Release);
        (*span).ready.store(first + count, Relaxed);
        modes::set_freeable(&*span);
        (*span).set_cursor(at);
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
    // SAFETY: the caller's duty.
    unsafe {
        let index = index_at(span, at).0;
        !is_free(span, index) && !retained::is(span, index)
    }
}

/// Whether a block can be handed out, as far as the calling thread can know.
///
/// # Safety
/// `index` is that of a carved block of the slab.
#[inline]
pub unsafe fn is_free(span: *mut Span, index: usize) -> bool {
    // SAFETY: an index of a block is below the number of bits.
    unsafe {
        let free = (*span).free.get_unchecked(index / 64).load(Relaxed) | remote::free_of(&*span, index / 64);
        free >> (index % 64) & 1 != 0
    }
}

/// Whether all carved blocks among blocks `64 * at` and following are free for the owner, or among those in `left` for it.
pub fn is_word_free(span: &Span, at: usize, left: u64) -> bool {
    let blocks = (span.carved.load(Relaxed) as usize).saturating_sub(at * 64).min(64) as u32;
    let free = span.free.get(at).map_or(0, |word| word.load(Relaxed));
    free | left == u64::MAX.checked_shr(64 - blocks).unwrap_or(0)
}

/// Whether no block is in use. What others have freed counts as used until it is gathered.
///
/// # Safety
/// The calling thread owns the slab, or has claimed it.
pub unsafe fn is_empty(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let carved = (*span).carved.load(Relaxed) as usize;
        let all_free = |at: usize| is_word_free(&*span, at, 0);
        if !all_free((*span).witness as usize) {
            return false;
        }
        match (0..carved.div_ceil(64)).find(|&at| !all_free(at)) {
            Some(at) => {
                (*span).witness = at as u8;
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
