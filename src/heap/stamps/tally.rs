//! Counters, each found by a key: the buckets of all histograms, of which few are ever used. A table that all threads use without a lock.
//!
//! Keys stay once they are there, so a look goes on until it finds its key or an empty place, and what is counted often is found at once. Levels
//! grow by four: a level that has no room where a key should be passes it on to the next.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::*};

use crate::meta;
use crate::sys::memory;

/// One counter.
struct Counter {
    key: AtomicU64,
    count: AtomicU64,
}

const FIRST: usize = 4096;
const LEVELS: usize = 6;
/// Places looked at in a level.
const WINDOW: usize = 8;

/// Counters that there can be at most.
pub const COUNTERS_MAX: usize = FIRST * ((1 << (2 * LEVELS)) - 1) / 3;

/// A table of counters.
pub struct Tally {
    levels: [AtomicPtr<Counter>; LEVELS],
}

#[expect(clippy::new_without_default, reason = "made once, as a static")]
impl Tally {
    /// An empty table.
    pub const fn new() -> Tally {
        Tally { levels: [const { AtomicPtr::new(null_mut()) }; LEVELS] }
    }

    /// Adds 1 to the counter `key`, which is not 0. `false`: there is no room for another counter.
    pub fn count(&self, key: u64) -> bool {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        for level in 0..LEVELS {
            let Some(counters) = self.level_or_new(level) else { return false };
            for i in 0..WINDOW {
                let Some(counter) = counters.get((hash as usize + i) & (counters.len() - 1)) else { continue };
                let mut found = counter.key.load(Relaxed);
                if found == 0 {
                    found = counter.key.compare_exchange(0, key, Relaxed, Relaxed).err().unwrap_or(key);
                }
                if found == key {
                    counter.count.fetch_add(1, Relaxed);
                    return true;
                }
            }
        }
        false
    }

    /// Calls `f` for each counter that is not 0, and makes it 0. What others count meanwhile is in this turn or the next, never in both.
    pub fn drain(&self, f: &mut dyn FnMut(u64, u64)) {
        for counter in (0..LEVELS).flat_map(|level| self.level(level)) {
            let key = counter.key.load(Relaxed);
            if key != 0 && counter.count.load(Relaxed) != 0 {
                f(key, counter.count.swap(0, Relaxed));
            }
        }
    }

    /// Forgets all of them.
    ///
    /// # Safety
    /// No other thread exists.
    pub unsafe fn clear(&self) {
        for level in 0..LEVELS {
            let counters = self.level(level);
            // SAFETY: the level's own mapping, whose contents nobody needs; it reads as zeros from here on.
            if !counters.is_empty() && !unsafe { memory::discard(counters.as_ptr() as usize, size_of_val(counters)) } {
                counters.iter().for_each(|c| c.count.store(0, Relaxed));
            }
        }
    }

    fn level(&self, level: usize) -> &[Counter] {
        let Some(start) = self.levels.get(level).map(|l| l.load(Acquire)).filter(|l| !l.is_null()) else { return &[] };
        // SAFETY: a level that was made has so many counters, zeroed when mapped, and stays.
        unsafe { core::slice::from_raw_parts(start, FIRST << (2 * level)) }
    }

    #[inline]
    fn level_or_new(&self, level: usize) -> Option<&[Counter]> {
        let counters = self.level(level);
        if counters.is_empty() { self.make(level) } else { Some(counters) }
    }

    #[cold]
    fn make(&self, level: usize) -> Option<&[Counter]> {
        let fresh = meta::reserve((FIRST << (2 * level)) * size_of::<Counter>());
        if fresh.is_null() {
            return None;
        }
        if self.levels.get(level)?.compare_exchange(null_mut(), fresh.cast(), AcqRel, Relaxed).is_err() {
            // SAFETY: reserved above and known to nobody.
            unsafe { meta::release(fresh) };
        }
        Some(self.level(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn contents(tally: &Tally) -> HashMap<u64, u64> {
        let mut found = HashMap::new();
        tally.drain(&mut |key, count| assert!(found.insert(key, count).is_none(), "{key} has two counters"));
        found
    }

    #[test]
    fn counts_are_exact_in_turns() {
        let tally = Tally::new();
        for turn in 1..4 {
            for key in 1..50_000u64 {
                for _ in 0..key % 5 {
                    assert!(tally.count(key << 7));
                }
            }
            let found = contents(&tally);
            assert_eq!(found.len(), (1..50_000).filter(|k| k % 5 != 0).count(), "turn {turn}");
            assert!(found.iter().all(|(key, count)| *count == (key >> 7) % 5));
        }
        assert!(contents(&tally).is_empty());
    }

    #[test]
    fn threads_lose_nothing() {
        static SHARED: Tally = Tally::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..200_000u64).for_each(|n| assert!(SHARED.count(1 + n % 9000))));
            }
        });
        let found = contents(&SHARED);
        assert_eq!((found.len(), found.values().sum::<u64>()), (9000, 800_000));
    }
}
