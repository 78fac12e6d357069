//! How a slab changes hands: the word that says who owns it, and the bits by which others free its blocks. Nothing but the atomic operations, so that
//! `loom/` can try every order of them; the reasons stand in [`super::remote`].

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*, fence};

/// In an owner's word, with whatever else stands there: threads that do not own the slab have freed blocks of it.
pub const PENDING: usize = 1;
/// In an owner's word: nobody owns the slab. Who replaces this by himself, by compare-and-swap, has adopted it.
pub const DETACHED: usize = 2;

/// What became of blocks that their slab's owner is to have back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// They wait for the owner.
    ForOwner,
    /// Nobody owns the slab, and it is on a list: they wait for whoever takes it from there.
    Listed,
    /// Nobody owned the slab: the calling thread must try to [`claim`] it.
    ForAnybody,
    /// One had been left before.
    Twice,
}

/// Leaves the blocks of these bits of `word` to the owner, or to the next one. `listed` says whether the slab is on a list; it is taken from there before it is
/// [`claim`]ed.
pub fn leave(owner: &AtomicUsize, had_remote: &AtomicBool, listed: &AtomicBool, word: &AtomicU64, bits: u64) -> Left {
    if !had_remote.load(SeqCst) {
        had_remote.store(true, SeqCst);
    }
    if word.fetch_or(bits, SeqCst) & bits != 0 {
        return Left::Twice;
    }
    after_a_write();
    let mut seen = owner.load(SeqCst);
    if seen & PENDING == 0 {
        seen = owner.fetch_or(PENDING, SeqCst);
    }
    if seen & DETACHED == 0 {
        Left::ForOwner
    } else if listed.load(SeqCst) {
        // If somebody takes it this instant he claims it after the word above was changed, and gathers.
        Left::Listed
    } else {
        Left::ForAnybody
    }
}

/// For the owner: whether there may be blocks to [`gather`]. They must be gathered then: it is not asked again before another is left.
pub fn take_pending(owner: &AtomicUsize, had_remote: &AtomicBool) -> bool {
    if owner.load(Relaxed) & PENDING == 0 {
        return false;
    }
    owner.fetch_and(!PENDING, SeqCst);
    after_a_write();
    had_remote.load(SeqCst)
}

/// For the owner: hands the blocks that others have left in `word` to `put`, then takes them out. In between a snapshot sees them in both places, not in none. Answers what
/// `put` does; `None` if there were no blocks.
pub fn gather<T>(word: &AtomicU64, put: impl FnOnce(u64) -> T) -> Option<T> {
    let bits = word.load(SeqCst);
    if bits == 0 {
        return None;
    }
    let answer = put(bits);
    word.fetch_and(!bits, SeqCst);
    Some(answer)
}

/// Lets go of a slab that is full; `me` owns it. `false`: others have freed blocks meanwhile, and it is still owned.
pub fn detach(owner: &AtomicUsize, me: usize) -> bool {
    owner.compare_exchange(me, DETACHED, SeqCst, Relaxed).is_ok()
}

/// Lets go of a slab for whoever looks for one, with what has been left in it.
pub fn abandon(owner: &AtomicUsize) {
    _ = owner.fetch_update(SeqCst, Relaxed, |seen| Some(seen & PENDING | DETACHED));
}

/// Takes a slab that nobody owns for `me`, who must see what was left in it; `false` if another thread did, or somebody owns it.
pub fn claim(owner: &AtomicUsize, me: usize) -> bool {
    let mut seen = owner.load(Relaxed);
    while seen & DETACHED != 0 {
        match owner.compare_exchange_weak(seen, me | PENDING, SeqCst, Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

/// A thread that writes one word and then reads another: all threads see the writes and reads of this kind in one order. Loom knows this of fences alone,
/// and takes the accesses themselves for weaker than they are.
#[inline(always)]
fn after_a_write() {
    #[cfg(loom)]
    fence(SeqCst);
}
