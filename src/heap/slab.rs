//! The slow half of slabs: refilling a bin, frees from other threads, slabs without an owner.
//!
//! A slab is owned by one thread, which alone takes blocks from it, or by nobody. An owner that finds it full lets it go ([`detach`]):
//! full slabs need no owner. The first thread that frees a block of a slab without an owner adopts it, by taking [`DETACHED`] out of
//! `remote`; from then on its frees there need no atomic operation. So blocks that one thread makes and another frees cost the second
//! one such operation per slab, not per block. A slab that still has free blocks when its thread ends also goes on the list of
//! abandoned slabs, where threads in need of a slab look first.
//!
//! States, by `owner` and `remote`: owned (an address, no bit), changing hands (0, no bit: one thread is between the two stores),
//! detached (0, bit). Frees by others push onto the list in `remote` in the first two, and adopt in the third.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::*, compiler_fence};

use super::Domain;
use super::cache::{self, Cache, NO_SLAB};
use super::free_list::{self, END};
use super::misuse;
use super::pool;
use super::retained;
use super::size_class::CLASSES;
use super::span::{DETACHED, Span, TABLE, kind};
use crate::sys::lock::{Ranked, rank};

/// Bytes of blocks put on the free list at a time: about a page, so that no memory is touched long before it is wanted.
const CARVE_BYTES: usize = 4096;

/// Slabs without an owner but with free blocks, per domain and class, linked by `next` and `previous`, ended by null.
pub(crate) struct Abandoned {
    heads: [[*mut Span; CLASSES]; 2],
}

// SAFETY: the lists change only under the lock.
unsafe impl Send for Abandoned {}

pub(crate) static ABANDONED: Ranked<{ rank::ABANDONED }, Abandoned> =
    Ranked::new(Abandoned { heads: [[null_mut(); CLASSES]; 2] });

/// How many slabs are on the lists, per domain and class: so that a look at an empty list needs no lock.
static ABANDONED_COUNT: [[AtomicUsize; CLASSES]; 2] = [const { [const { AtomicUsize::new(0) }; CLASSES] }; 2];

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
            if collect(span) || carve(span) {
                return span;
            }
            cache::unlink(cache, span);
            if let Err(()) = detach(span, cache as usize) {
                cache::link(cache, span, true);
            }
        }
        let mut span = adopt_abandoned(cache, domain, class);
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
unsafe fn carve(span: *mut Span) -> bool {
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

/// Moves what others freed to the front of the free list. `false` if there was nothing.
///
/// # Safety
/// The calling thread owns the slab.
unsafe fn collect(span: *mut Span) -> bool {
    // SAFETY: the list taken out of remote belongs to the calling thread, as the slab does.
    unsafe {
        if (*span).remote.load(Relaxed) == 0 {
            return false;
        }
        let list = (*span).remote.swap(0, Acquire);
        let (mut at, mut count) = (list, 0u32);
        loop {
            count += 1;
            free_list::mark(at, false);
            // A block that its owner has freed too, or that comes twice, is no longer live; so the walk ends.
            if !take_live(span, index_at(span, at).0) {
                misuse::double_free(at, (*span).block_bytes);
            }
            match free_list::next(at) {
                Some(next) if free_list::is_end(next) => break,
                Some(next) if starts_block(span, next) => at = next,
                _ => misuse::corrupted_free_list(at, (*span).block_bytes),
            }
        }
        // In this order a process forked in between loses blocks at most.
        free_list::set_next(at, (*span).free);
        compiler_fence(Release);
        (*span).free = list;
        compiler_fence(Release);
        (*span).used -= count;
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

/// Lets go of a slab that is full. `Err`: others have freed blocks meanwhile, and it is still owned.
///
/// # Safety
/// The calling thread, whose cache is at `owner`, owns the slab; its free list is empty, all is carved, and it is in no bin.
unsafe fn detach(span: *mut Span, owner: usize) -> Result<(), ()> {
    // SAFETY: the record lives for ever.
    unsafe {
        // Before the bit: once it is set another thread may make itself the owner at any time.
        (*span).owner.store(0, Relaxed);
        if (*span).remote.compare_exchange(0, DETACHED, Release, Relaxed).is_ok() {
            return Ok(());
        }
        (*span).owner.store(owner, Relaxed);
        Err(())
    }
}

/// Lets go of a slab at the end of its thread: back to the pool if it is empty, else to be adopted.
///
/// # Safety
/// The calling thread owns the slab, and it is in no bin.
pub unsafe fn abandon(span: *mut Span) {
    // SAFETY: the slab belongs to the calling thread until the bit is set.
    unsafe {
        collect(span);
        if (*span).used == 0 {
            pool::release(span);
            return;
        }
        (*span).owner.store(0, Relaxed);
        list(span, &mut ABANDONED.lock());
    }
}

/// Puts a slab on the list of abandoned ones and sets the bit.
///
/// # Safety
/// The slab belongs to the caller and is on no list.
unsafe fn list(span: *mut Span, abandoned: &mut Abandoned) {
    // SAFETY: the lists belong to the holder of the lock, the slab to the caller until the last line.
    unsafe {
        let (domain, class) = ((*span).domain as usize, (*span).class as usize);
        let Some(head) = abandoned.heads.get_mut(domain).and_then(|h| h.get_mut(class)) else {
            return;
        };
        (*span).next = *head;
        (*span).previous = null_mut();
        if let Some(first) = head.as_mut() {
            first.previous = span;
        }
        *head = span;
        count_of(domain, class, 1);
        (*span).listed.store(true, Relaxed);
        (*span).remote.fetch_or(DETACHED, Release);
    }
}

/// Takes a slab off the list of abandoned ones.
///
/// # Safety
/// The slab is listed, and `abandoned` is what the lock guards.
unsafe fn unlist(span: *mut Span, abandoned: &mut Abandoned) {
    // SAFETY: listed slabs' links belong to the holder of the lock.
    unsafe {
        let (domain, class) = ((*span).domain as usize, (*span).class as usize);
        let (next, previous) = ((*span).next, (*span).previous);
        if !next.is_null() {
            (*next).previous = previous;
        }
        if previous.is_null() {
            if let Some(head) = abandoned.heads.get_mut(domain).and_then(|h| h.get_mut(class)) {
                *head = next;
            }
        } else {
            (*previous).next = next;
        }
        count_of(domain, class, usize::MAX);
        (*span).listed.store(false, Relaxed);
    }
}

fn count_of(domain: usize, class: usize, add: usize) -> usize {
    ABANDONED_COUNT.get(domain).and_then(|c| c.get(class)).map_or(0, |c| c.fetch_add(add, Relaxed))
}

/// Takes [`DETACHED`] out of a slab; `false` if another thread did, or nobody had set it.
///
/// # Safety
/// `span` is a record of the table.
unsafe fn claim(span: *mut Span) -> bool {
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

/// Adopts an abandoned slab that has a free block; null if there is none.
///
/// # Safety
/// `cache` is the calling thread's and not the empty one.
unsafe fn adopt_abandoned(cache: *mut Cache, domain: Domain, class: usize) -> *mut Span {
    // SAFETY: a claimed slab belongs to the calling thread.
    unsafe {
        while count_of(domain as usize, class, 0) > 0 {
            let mut abandoned = ABANDONED.lock();
            let head = abandoned.heads.get(domain as usize).and_then(|h| h.get(class)).copied().unwrap_or(null_mut());
            if head.is_null() {
                break;
            }
            unlist(head, &mut abandoned);
            // Still under the lock: else another thread could adopt, abandon and list it again meanwhile, and it would be owned and listed. If the claim
            // fails, a thread that frees a block was faster; it waits for the lock, finds the slab unlisted and is content with that.
            let claimed = claim(head);
            drop(abandoned);
            if !claimed {
                continue;
            }
            (*head).owner.store(cache as usize, Relaxed);
            mend(head);
            if !free_list::is_end((*head).free) || collect(head) || carve(head) {
                return head;
            }
            if let Err(()) = detach(head, cache as usize) {
                collect(head);
                return head;
            }
        }
        null_mut()
    }
}

/// Puts right a slab whose owner was lost in a fork, perhaps amid an operation: what is on the list is free, all else is in use. A block
/// lost on its way to or from the list stays in use for ever; none is ever handed out twice.
///
/// # Safety
/// The calling thread has claimed the slab.
unsafe fn mend(span: *mut Span) {
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
        }
    }
}

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
        is_live(span, index) && !free_list::has_canary(at) && !retained::is(span, index)
    }
}

/// Frees a block of a slab that the calling thread has just claimed, and keeps the slab.
///
/// # Safety
/// As said; the block has been checked.
unsafe fn adopt_and_free(span: *mut Span, at: usize) {
    // SAFETY: the slab belongs to the calling thread from the claim on.
    unsafe {
        if (*span).listed.load(Relaxed) {
            let mut abandoned = ABANDONED.lock();
            if (*span).listed.load(Relaxed) {
                unlist(span, &mut abandoned);
            }
        }
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
            list(span, &mut ABANDONED.lock());
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

/// In a child made by fork: every slab whose owner was another thread becomes abandoned. The span table is walked, not the dead
/// threads' lists, which may be half changed. A slab that was changing hands has no owner and no bit; it is treated the same.
///
/// # Safety
/// No other thread exists, and the calling one holds no lock of the heap.
pub unsafe fn orphan_all_but(mine: usize) {
    let mut abandoned = ABANDONED.lock();
    for id in 0..TABLE.count() {
        let span = TABLE.get(id);
        // SAFETY: the record lives for ever, and no other thread exists that could change it.
        unsafe {
            let owner = (*span).owner.load(Relaxed);
            if (*span).kind.load(Relaxed) != kind::SLAB || owner == mine || (*span).remote.load(Relaxed) & DETACHED != 0 {
                continue;
            }
            (*span).owner.store(0, Relaxed);
            (*span).torn.store(true, Relaxed);
            if (*span).listed.load(Relaxed) {
                (*span).remote.fetch_or(DETACHED, Relaxed);
            } else {
                list(span, &mut abandoned);
            }
        }
    }
}
