//! Slabs without an owner but with free blocks: their thread has ended, or whoever freed a block of them had enough slabs. Threads in need of a slab look here first,
//! and take the one that has waited longest: most has been freed of it meanwhile.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::Domain;
use super::cache::{self, Cache};
use super::handover::{self, DETACHED, PENDING};
use super::pool;
use super::remote::{claim, collect, detach, settle};
use super::size_class::CLASSES;
use super::slab::{self, advance, carve};
use super::span::{Span, TABLE, kind};
use crate::sys::lock::{Ranked, rank};

/// The lists, per domain and class, linked by `next`, ended by null, and by `previous`, where the first has the last.
pub(crate) struct Abandoned {
    heads: [[*mut Span; CLASSES]; 2],
}

// SAFETY: the lists change only under the lock.
unsafe impl Send for Abandoned {}

pub(crate) static ABANDONED: Ranked<{ rank::ABANDONED }, Abandoned> =
    Ranked::new(Abandoned { heads: [[null_mut(); CLASSES]; 2] });

/// How many slabs are on the lists, per domain and class: so that a look at an empty list needs no lock.
static ABANDONED_COUNT: [[AtomicUsize; CLASSES]; 2] = [const { [const { AtomicUsize::new(0) }; CLASSES] }; 2];

/// Lets go of a slab at the end of its thread: back to the pool if it is empty, else to be adopted.
///
/// # Safety
/// The calling thread owns the slab, and it is in no bin.
pub unsafe fn abandon(span: *mut Span) {
    // SAFETY: the slab belongs to the calling thread until the bit is set.
    unsafe {
        collect(span);
        if slab::is_empty(span) {
            pool::release(span);
            return;
        }
        add(span);
    }
}

/// Puts a slab on the list of abandoned ones and lets it go.
///
/// # Safety
/// The slab belongs to the calling thread and is on no list.
pub unsafe fn add(span: *mut Span) {
    // SAFETY: the caller's duty.
    unsafe { list(span, &mut ABANDONED.lock()) };
}

/// Takes a slab off the list of abandoned ones, if it is there.
///
/// # Safety
/// The calling thread has claimed the slab.
pub unsafe fn forget(span: *mut Span) {
    // SAFETY: the record lives for ever, and only threads with the lock list or unlist.
    unsafe {
        if (*span).listed.load(Relaxed) {
            let mut abandoned = ABANDONED.lock();
            if (*span).listed.load(Relaxed) {
                unlist(span, &mut abandoned);
            }
        }
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
        (*span).next = null_mut();
        if let Some(first) = head.as_mut() {
            (*span).previous = first.previous;
            (*first.previous).next = span;
            first.previous = span;
        } else {
            (*span).previous = span;
            *head = span;
        }
        count_of(domain, class, 1);
        (*span).listed.store(true, Relaxed);
        handover::abandon(&(*span).owner);
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
        let Some(head) = abandoned.heads.get_mut(domain).and_then(|h| h.get_mut(class)) else { return };
        let last = next.is_null();
        if *head == span {
            *head = next;
        } else {
            (*previous).next = next;
        }
        if !last {
            (*next).previous = previous;
        } else if let Some(first) = head.as_mut() {
            first.previous = previous;
        }
        count_of(domain, class, usize::MAX);
        (*span).listed.store(false, Relaxed);
    }
}

fn count_of(domain: usize, class: usize, add: usize) -> usize {
    ABANDONED_COUNT.get(domain).and_then(|c| c.get(class)).map_or(0, |c| c.fetch_add(add, Relaxed))
}

/// Adopts an abandoned slab that has a free block; null if there is none.
///
/// # Safety
/// `cache` is the calling thread's and not the empty one.
pub unsafe fn adopt(cache: *mut Cache, domain: Domain, class: usize) -> *mut Span {
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
            settle(head);
            if advance(head) || carve(head) {
                return head;
            }
            if !detach(head) {
                cache::link(cache, head, false);
            }
        }
        null_mut()
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
            if (*span).kind.load(Relaxed) != kind::SLAB || owner & !PENDING == mine || owner & DETACHED != 0 {
                continue;
            }
            (*span).torn.store(true, Relaxed);
            if (*span).listed.load(Relaxed) {
                (*span).owner.store(DETACHED, Relaxed);
            } else {
                list(span, &mut abandoned);
            }
        }
    }
}
