//! Frees by threads that do not own the slab, and slabs that change hands.
//!
//! An owner that finds its slab full lets it go ([`detach`]): full slabs need no owner. The first thread that frees a block of a slab without an
//! owner adopts it, by taking [`DETACHED`] out of `remote`; from then on its frees there need no atomic operation. So blocks that one
//! thread makes and another frees cost the second one such operation per slab, not per block.
//!
//! States, by `owner` and `remote`: owned (an address, no bit), changing hands (0, no bit: one thread is between the two stores),
//! detached (0, bit). Frees by others push onto the list in `remote` in the first two, and adopt in the third.

use core::sync::atomic::{Ordering::*, compiler_fence};

use super::abandoned;
use super::cache;
use super::free_list::{self, END};
use super::misuse;
use super::pool;
use super::slab::{self, in_use, index_at, push, starts_block, take_live};
use super::span::{DETACHED, Span, kind};

/// Frees a block that `free` cannot: of a slab that the calling thread does not own, a large block, or one that is not in use.
///
/// # Safety
/// `span` came from the page map for `at`.
#[cold]
#[inline(never)]
pub unsafe fn free_slow(span: *mut Span, at: usize) {
    // SAFETY: the record lives for ever; a slab's fixed fields stay while one of its blocks, this one, is in use.
    unsafe {
        if (*span).kind.load(Relaxed) != kind::SLAB {
            if at != (*span).base {
                misuse::free_of_no_block(span, at);
            }
            if !pool::release(span) {
                misuse::double_free(at, (*span).block_bytes);
            }
            return;
        }
        if !starts_block(span, at) {
            misuse::free_of_no_block(span, at);
        }
        if !in_use(span, at) {
            misuse::double_free(at, (*span).block_bytes);
        }
        if (*span).owner.load(Relaxed) == cache::mine() as usize {
            // Our own after all: only the remote list was in the way.
            collect(span);
            take_live(span, index_at(span, at).0);
            return push(span, at);
        }
        loop {
            let seen = (*span).remote.load(Relaxed);
            if seen & DETACHED != 0 {
                if claim(span) {
                    return adopt_and_free(span, at);
                }
                continue;
            }
            free_list::set_next(at, if seen == 0 { (*span).base | END } else { seen });
            free_list::mark(at, true);
            if (*span).remote.compare_exchange_weak(seen, at, Release, Relaxed).is_ok() {
                return;
            }
            free_list::mark(at, false);
        }
    }
}

/// Moves what others freed to the front of the free list. `false` if there was nothing.
///
/// A snapshot takes for free what is on a list or not live. So the list is taken when all of its blocks have been struck off: else those that the loop had not
/// come to would be lost blocks to it, and a collection would have them condemned when they are the program's again.
///
/// # Safety
/// The calling thread owns the slab.
pub unsafe fn collect(span: *mut Span) -> bool {
    // SAFETY: what is on the list stays there until the calling thread, which owns the slab, takes it; others only put blocks before it.
    unsafe {
        let (mut struck_off, mut last, mut count) = (0, 0, 0u32);
        loop {
            let list = (*span).remote.load(Acquire);
            if list == 0 {
                return false;
            }
            let mut at = list;
            while at != struck_off {
                count += 1;
                // A block that its owner has freed too, or that comes twice, is no longer live; so the walk ends.
                if !take_live(span, index_at(span, at).0) {
                    misuse::double_free(at, (*span).block_bytes);
                }
                free_list::mark(at, false);
                match free_list::next(at) {
                    Some(next) if free_list::is_end(next) => {
                        last = at;
                        break;
                    }
                    Some(next) if starts_block(span, next) => at = next,
                    _ => misuse::corrupted_free_list(at, (*span).block_bytes),
                }
            }
            struck_off = list;
            if (*span).remote.compare_exchange(list, 0, Acquire, Relaxed).is_ok() {
                break;
            }
        }
        // In this order a process forked in between loses blocks at most.
        free_list::set_next(last, (*span).free);
        compiler_fence(Release);
        (*span).free = struck_off;
        compiler_fence(Release);
        (*span).used -= count;
        true
    }
}

/// Lets go of a slab that is full. `false`: others have freed blocks meanwhile, and it is still owned.
///
/// # Safety
/// The calling thread, whose cache is at `owner`, owns the slab; its free list is empty, all is carved, and it is in no bin.
pub unsafe fn detach(span: *mut Span, owner: usize) -> bool {
    // SAFETY: the record lives for ever.
    unsafe {
        // Before the bit: once it is set another thread may make itself the owner at any time.
        (*span).owner.store(0, Relaxed);
        if (*span).remote.compare_exchange(0, DETACHED, Release, Relaxed).is_ok() {
            return true;
        }
        (*span).owner.store(owner, Relaxed);
        false
    }
}

/// Takes [`DETACHED`] out of a slab; `false` if another thread did, or nobody had set it.
///
/// # Safety
/// `span` is a record of the table.
pub unsafe fn claim(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let mut seen = (*span).remote.load(Relaxed);
        while seen & DETACHED != 0 {
            match (*span).remote.compare_exchange_weak(seen, seen & !DETACHED, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }
}

/// Frees a block of a slab that the calling thread has just claimed, and keeps the slab.
///
/// # Safety
/// As said; the block has been checked.
unsafe fn adopt_and_free(span: *mut Span, at: usize) {
    // SAFETY: the slab belongs to the calling thread from the claim on.
    unsafe {
        abandoned::forget(span);
        mend(span);
        let cache = cache::mine();
        let owned = cache::have_one();
        if owned {
            (*span).owner.store(cache as usize, Relaxed);
        }
        take_live(span, index_at(span, at).0);
        free_list::set_next(at, (*span).free);
        (*span).free = at;
        (*span).used -= 1;
        if (*span).used == 0 {
            pool::release(span);
        } else if owned {
            cache::link(cache, span, false);
        } else {
            // A thread at its end, or one that has never allocated.
            abandoned::add(span);
        }
    }
}

/// Puts right a slab whose owner was lost in a fork, perhaps amid an operation: what is on the list is free, all else is in use. A block
/// lost on its way to or from the list stays in use for ever; none is ever handed out twice.
///
/// # Safety
/// The calling thread has claimed the slab.
pub unsafe fn mend(span: *mut Span) {
    // SAFETY: as the caller's duty says.
    unsafe {
        if (*span).torn.load(Relaxed) {
            (*span).torn.store(false, Relaxed);
            let carved = (*span).carved.load(Relaxed);
            let (mut at, mut count) = ((*span).free, 0);
            while !free_list::is_end(at) {
                count += 1;
                // The first one's bit may say otherwise: its owner was about to take it.
                take_live(span, index_at(span, at).0);
                match free_list::next(at) {
                    Some(next) if count <= carved => at = next,
                    _ => misuse::corrupted_free_list(at, (*span).block_bytes),
                }
            }
            (*span).used = carved - count;
            // Its owner may have struck off some of what others freed, and not taken it.
            let (mut at, mut count) = ((*span).remote.load(Acquire), 0);
            while at != 0 && !free_list::is_end(at) {
                count += 1;
                slab::set_live(span, index_at(span, at).0);
                match free_list::next(at) {
                    Some(next) if count <= carved => at = next,
                    _ => misuse::corrupted_free_list(at, (*span).block_bytes),
                }
            }
        }
    }
}
