//! Frees by threads that do not own the slab, and slabs that change hands.
//!
//! Such a free sets the block's bit in `remote_free`, by one atomic operation on a word that 64 blocks share, and sets [`PENDING`] in
//! `owner`, if it is not set already. The owner gathers the bits when it runs out of blocks.
//!
//! An owner that finds its slab full lets it go ([`detach`]): full slabs need no owner. The first thread that frees a block of a slab without an
//! owner adopts it, by taking [`DETACHED`] out of `owner`; from then on its frees there need no atomic operation. So blocks that one
//! thread makes and another frees cost the second one such operation per slab, not per block. But a thread that has [enough](cache::has_enough) slabs of the
//! class puts it on the list of [`abandoned`] ones, for whoever needs blocks, and leaves what else it frees there: else the threads that run would make slabs while free blocks lie in those of
//! threads that do not.
//!
//! No free is forgotten when an owner lets go, or gathers, at the same time. A thread that frees sets the block's bit and then looks at `owner`; an owner lets go only
//! if [`PENDING`] is not set, and takes that away before it looks at the bits. All of it in one order that all threads see. So whoever finds [`PENDING`] set may leave:
//! the bits will be looked at later; else he sets it, and if nobody owned the slab he takes it.
//!
//! After its bit is set a thread has no block in the slab any more, which may be gathered, released and made into something else before the thread has looked at
//! `owner`. What it may do then is harmless to whatever the record describes: set [`PENDING`] in vain, or adopt a slab that nobody owns.

use core::sync::atomic::Ordering::*;

use super::abandoned;
use super::cache;
use super::handover::{self, DETACHED, Left, PENDING};
use super::misuse;
use super::pool;
use super::single;
use super::slab;
use super::span::{LIVE_WORDS, NOBODY, Span, kind};

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
            return single::free(span, at);
        }
        if !slab::starts_block(span, at) {
            misuse::free_of_no_block(span, at);
        }
        let index = slab::index_at(span, at).0;
        loop {
            if !slab::in_use(span, at) {
                misuse::double_free(at, (*span).block_bytes);
            }
            let owner = (*span).owner.load(Relaxed);
            if owner & !PENDING == cache::me() {
                // Our own after all: only what others have freed was in the way. The neighbours among it are gathered, so that a slab is seen to be empty.
                if (*span).words() == 1 {
                    collect(span);
                } else {
                    gather(span, index / 64);
                }
                if slab::give(span, index) {
                    return;
                }
            } else if owner & DETACHED == 0 || (*span).listed.load(Relaxed) && cache::has_enough(span) {
                return leave(span, index / 64, 1 << (index % 64));
            } else if claim(span) {
                return adopt(span, Some(index));
            }
        }
    }
}

/// Frees blocks of a slab: those in `bits` of blocks `64 * at` and following. One of the calling thread's that they leave empty is kept for now.
///
/// # Safety
/// The blocks are in use, and nobody uses them.
pub unsafe fn free_many(span: *mut Span, at: usize, bits: u64) {
    // SAFETY: the record lives for ever; a slab's fixed fields stay while one of its blocks is in use.
    unsafe {
        let owner = (*span).owner.load(Relaxed);
        if owner & !PENDING == cache::me() && cache::have_one() {
            return put(span, at, bits);
        }
        let listed = (*span).listed.load(Relaxed) && cache::has_enough(span);
        if owner & DETACHED == 0 || listed || !claim(span) {
            return leave(span, at, bits);
        }
        settle(span);
        put(span, at, bits);
        if !cache::has_enough(span) {
            cache::link(cache::mine(), span, false);
        } else if slab::is_empty(span) {
            pool::release(span);
        } else {
            abandoned::add(span);
        }
    }
}

/// Makes blocks free for the owner.
///
/// # Safety
/// As for [`slab::put`].
unsafe fn put(span: *mut Span, at: usize, bits: u64) {
    // SAFETY: the caller's duty.
    unsafe {
        let twice = slab::put(span, at, bits);
        if twice != 0 {
            let index = at * 64 + twice.trailing_zeros() as usize;
            misuse::double_free((*span).base + index * (*span).block_bytes, (*span).block_bytes);
        }
    }
}

/// Leaves blocks to the slab's owner: those in `bits` of blocks `64 * at` and following.
///
/// # Safety
/// The blocks were in use by the calling thread's program.
unsafe fn leave(span: *mut Span, at: usize, bits: u64) {
    // SAFETY: records and their bits live for ever.
    unsafe {
        let (base, bytes) = ((*span).base, (*span).block_bytes);
        let word = (*(*span).remote_free).get_unchecked(at);
        match handover::leave(&(*span).owner, &(*span).had_remote, &(*span).listed, word, bits) {
            Left::ForOwner => {}
            Left::Listed => {
                if is_left_empty(span, at) && claim(span) {
                    adopt(span, None);
                }
            }
            Left::ForAnybody => {
                if claim(span) {
                    adopt(span, None);
                }
            }
            Left::Twice => misuse::double_free(base + (at * 64 + bits.trailing_zeros() as usize) * bytes, bytes),
        }
    }
}

/// Whether all blocks of a slab that nobody owns have been freed, as far as it can be seen without owning it. Looks further than word `at` only if that is so there.
///
/// # Safety
/// `span` is a record of the table; `at` is below the number of words.
unsafe fn is_left_empty(span: *mut Span, at: usize) -> bool {
    // SAFETY: records live for ever.
    let span = unsafe { &*span };
    let words = (span.carved.load(Relaxed) as usize).div_ceil(64);
    let all_free = |at: usize| slab::is_word_free(span, at, free_of(span, at));
    all_free(at) && (0..words).all(all_free)
}

/// The blocks that others have freed among blocks `64 * at` and following of a slab, as bits.
#[inline]
pub fn free_of(span: &Span, at: usize) -> u64 {
    if !span.had_remote.load(Relaxed) || at >= LIVE_WORDS {
        return 0;
    }
    // SAFETY: records in the table have their bits for remote frees, as many as this; they live for ever. Only those have the mark.
    unsafe { (*span.remote_free).get_unchecked(at).load(Acquire) }
}

/// Makes free what others have freed. `false` if there was nothing.
///
/// # Safety
/// The calling thread owns the slab.
pub unsafe fn collect(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        if !handover::take_pending(&(*span).owner, &(*span).had_remote) {
            return false;
        }
        (0..(*span).words()).fold(false, |any, at| gather(span, at) | any)
    }
}

/// Makes free what others have freed of the blocks that word `at` of the bits stands for.
///
/// # Safety
/// As for [`collect`]; `at` is below the number of words.
unsafe fn gather(span: *mut Span, at: usize) -> bool {
    // SAFETY: the caller's duty.
    unsafe { handover::gather((*(*span).remote_free).get_unchecked(at), |bits| put(span, at, bits)).is_some() }
}

/// Lets go of a slab that is full. `false`: others have freed blocks meanwhile, and it is still owned.
///
/// # Safety
/// The calling thread owns the slab; no block is free for it, all is carved, and it is in no bin.
pub unsafe fn detach(span: *mut Span) -> bool {
    // SAFETY: the record lives for ever.
    unsafe { handover::detach(&(*span).owner, mine()) }
}

/// What stands in slabs in the calling thread's hands.
fn mine() -> usize {
    if cache::have_one() { cache::me() } else { NOBODY }
}

/// Takes a slab that nobody owns for the calling thread, whether it has a cache or not; `false` if another thread did, or somebody owns it.
///
/// # Safety
/// `span` is a record of the table.
pub unsafe fn claim(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe { handover::claim(&(*span).owner, mine()) }
}

/// Makes a slab that the calling thread has just claimed fit for use, and gathers what others have freed.
///
/// # Safety
/// As said.
pub unsafe fn settle(span: *mut Span) {
    // SAFETY: the slab belongs to the calling thread from the claim on.
    unsafe {
        abandoned::forget(span);
        mend(span);
        collect(span);
    }
}

/// Keeps a slab that the calling thread has just claimed; block `index`, if there is one, is freed.
///
/// # Safety
/// As said; the block has been checked.
unsafe fn adopt(span: *mut Span, index: Option<usize>) {
    // SAFETY: the slab belongs to the calling thread from the claim on.
    unsafe {
        settle(span);
        if let Some(index) = index {
            put(span, index / 64, 1 << (index % 64));
        }
        while !slab::advance(span) && !slab::carve(span) {
            // Full, so nobody need own it.
            if detach(span) {
                return;
            }
        }
        if slab::is_empty(span) {
            pool::release(span);
        } else if cache::has_enough(span) {
            // Or a thread at its end, or one that has never allocated.
            abandoned::add(span);
        } else {
            cache::link(cache::mine(), span, false);
        }
    }
}

/// Puts right a slab whose owner was lost in a fork, perhaps amid an operation: what has a bit is free, all else is in use. A block
/// lost on its way stays in use for ever; none is ever handed out twice.
///
/// # Safety
/// The calling thread has claimed the slab.
unsafe fn mend(span: *mut Span) {
    // SAFETY: as the caller's duty says.
    unsafe {
        if (*span).torn.load(Relaxed) {
            (*span).torn.store(false, Relaxed);
            (*span).set_carved((*span).carved.load(Relaxed));
            // What its owner was about to gather has both bits.
            for at in 0..if (*span).had_remote.load(Relaxed) { (*span).words() } else { 0 } {
                (*(*span).remote_free).get_unchecked(at).fetch_and(!(*span).free.get_unchecked(at).load(Relaxed), SeqCst);
            }
        }
    }
}
