//! Freed memory goes back to the system: what has been idle for a while, and what is too much.

use super::pool::{Guard, POOL};
use crate::sys::memory::{self, GRANULE};
use crate::sys::raw;

/// Freed memory that has lain idle for a whole epoch goes back to the system at its end. (Epochs end only when spans are released: a
/// program that does nothing gives nothing back.)
const EPOCH_NS: u64 = 250_000_000;
/// Less than this is not worth asking for the time.
const DIRTY_GRANULES_MIN: usize = (4 << 20) / GRANULE;
/// The time is asked for once in so many granules.
const GRANULES_PER_LOOK: usize = (1 << 20) / GRANULE;
/// More than this, and half of what is in use, goes back at once.
const DIRTY_GRANULES_MAX: usize = (64 << 20) / GRANULE;

/// Gives back what has been idle for an epoch, or is too much; `granules` have just been freed.
pub(crate) fn age(pool: &mut Guard<'_>, granules: usize) {
    if pool.dirty_granules < DIRTY_GRANULES_MIN {
        return;
    }
    let most = DIRTY_GRANULES_MAX + pool.used_granules / 2;
    if pool.dirty_granules > most {
        purge(pool, most / 2);
        return;
    }
    pool.freed_since_look += granules;
    if pool.freed_since_look < GRANULES_PER_LOOK {
        return;
    }
    pool.freed_since_look = 0;
    let now = raw::coarse_now_ns();
    if now.wrapping_sub(pool.epoch_start_ns) > EPOCH_NS {
        let idle = pool.dirty_low;
        if idle >= DIRTY_GRANULES_MIN {
            let keep = pool.dirty_granules - idle;
            purge(pool, keep);
        }
        pool.dirty_low = pool.dirty_granules;
        pool.epoch_start_ns = now;
    }
}

/// Gives all memory kept for reuse back to the system. Whether there was any.
pub fn trim() -> bool {
    purge(&mut POOL.lock(), 0) > 0
}

/// Discards the contents of all dirty granules but the `keep` lowest. Returns how many there were.
#[cold]
fn purge(pool: &mut Guard<'_>, mut keep: usize) -> usize {
    let until = pool.count;
    let mut cleaned = 0;
    for region in pool.regions.iter_mut().take(until) {
        // SAFETY: dirty granules belong to no span, so nobody needs their contents.
        cleaned += region.clean_dirty(&mut keep, &mut |at, bytes| unsafe { memory::discard(at, bytes) });
    }
    pool.dirty_granules -= cleaned;
    pool.dirty_low = pool.dirty_low.min(pool.dirty_granules);
    cleaned
}
