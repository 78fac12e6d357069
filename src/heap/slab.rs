//! A slab as its owner sees it: which block an address is in, which are handed out, the list of free ones, and where more come from.
//!
//! A slab is owned by one thread, which alone takes blocks from it, or by nobody: how it changes hands is in [`super::remote`] and
//! [`super::abandoned`].

use core::sync::atomic::{Ordering::*, compiler_fence};

use super::Domain;
use super::abandoned;
use super::cache::{self, Cache, NO_SLAB};
use super::free_list::{self, END};
use super::misuse;
use super::pool;
use super::remote;
use super::retained;
use super::span::Span;

/// Bytes of blocks put on the free list at a time: about a page, so that no memory is touched long before it is wanted.
const CARVE_BYTES: usize = 4096;

/// Makes the first slab of a bin one with a free block, and returns it; null when out of memory.
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
            if !free_list::is_end((*span).free) {
                check_first(span);
                return span;
            }
            if remote::collect(span) || carve(span) {
                return span;
            }
            cache::unlink(cache, span);
            if !remote::detach(span, cache as usize) {
                cache::link(cache, span, true);
            }
        }
        let mut span = abandoned::adopt(cache, domain, class);
        if span.is_null() {
            span = pool::new_slab(class, domain, cache as usize);
            if span.is_null() {
                return span;
            }
            carve(span);
        }
        cache::link(cache, span, true);
        span
    }
}

/// Aborts with a line if the first block on the list is none, is in use, or its link is bad: for `pop` all of these are no block at all.
///
/// # Safety
/// The calling thread owns the slab, and its free list is not empty.
pub unsafe fn check_first(span: *mut Span) {
    // SAFETY: links lead to addresses in the slab only.
    unsafe {
        let at = (*span).free;
        if !starts_block(span, at) || is_live(span, index_at(span, at).0) || free_list::next(at).is_none() {
            misuse::corrupted_free_list(at, (*span).block_bytes);
        }
    }
}

/// Puts the next blocks that nobody has seen yet on the empty free list. `false` if there are none.
///
/// # Safety
/// The calling thread owns the slab, and its free list is empty.
pub unsafe fn carve(span: *mut Span) -> bool {
    // SAFETY: indices below capacity are blocks of the slab, and those from carved on belong to nobody.
    unsafe {
        let (first, block, base) = ((*span).carved.load(Relaxed), (*span).block_bytes, (*span).base);
        let count = ((CARVE_BYTES / block) as u32).max(1).min((*span).capacity - first);
        if count == 0 {
            return false;
        }
        let mut next = base | END;
        for index in (first..first + count).rev() {
            let at = base + index as usize * block;
            free_list::set_next(at, next);
            next = at;
        }
        // First carved, then the list: a process forked in between loses some blocks, and never carves one twice.
        (*span).carved.store(first + count, Release);
        compiler_fence(Release);
        (*span).free = next;
        true
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

/// Whether a block is handed out, as the owner knows it.
///
/// # Safety
/// `index` is that of an address in the slab.
#[inline(always)]
pub unsafe fn is_live(span: *mut Span, index: usize) -> bool {
    // SAFETY: the index is below the slab's bytes divided by those of a block, rounded up, and there are that many bits.
    unsafe { (*span).live.get_unchecked(index / 64).load(Relaxed) >> (index % 64) & 1 != 0 }
}

/// Notes that a block is handed out.
///
/// # Safety
/// The calling thread owns the slab, and `index` is that of an address in the slab.
#[inline(always)]
pub unsafe fn set_live(span: *mut Span, index: usize) {
    // SAFETY: as above. Only the owner writes, so no atomic operation is needed.
    unsafe {
        let word = (*span).live.get_unchecked(index / 64);
        word.store(word.load(Relaxed) | 1 << (index % 64), Relaxed);
    }
}

/// Notes that a block is no longer handed out; `false` if it was not.
///
/// # Safety
/// As for [`set_live`].
#[inline(always)]
pub unsafe fn take_live(span: *mut Span, index: usize) -> bool {
    // SAFETY: as there.
    unsafe {
        let live = is_live(span, index);
        compiler_fence(Release);
        if live {
            let word = (*span).live.get_unchecked(index / 64);
            word.store(word.load(Relaxed) & !(1 << (index % 64)), Relaxed);
        }
        live
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
        is_live(span, index) && !free_list::has_canary(at) && !retained::is(span, index)
    }
}

/// Puts a block, no longer live, on the list of the calling thread's own slab.
///
/// # Safety
/// The calling thread owns the slab, and nobody uses the block.
#[inline(always)]
pub unsafe fn push(span: *mut Span, at: usize) {
    // SAFETY: the caller's duty.
    unsafe {
        free_list::set_next(at, (*span).free);
        // The link before the head, the head before the count: a process forked in between never has a block twice.
        compiler_fence(Release);
        (*span).free = at;
        compiler_fence(Release);
        (*span).used -= 1;
        if (*span).used == 0 {
            retire(span);
        }
    }
}

/// The calling thread's own slab has no block in use any more. The last slab of a bin is kept, so that a program that
/// allocates and frees one block in turn does not make and release a slab each time.
///
/// # Safety
/// The calling thread owns the slab, it is in its bin, and `used` is 0.
#[cold]
#[inline(never)]
pub unsafe fn retire(span: *mut Span) {
    // SAFETY: the caller's duty.
    unsafe {
        if (*span).next.is_null() && (*span).previous.is_null() {
            return;
        }
        cache::unlink(cache::mine(), span);
        pool::release(span);
    }
}
