//! How long the program stood still for collections: counted in buckets, so that their median can be told at the end of the process.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::heap::stamps::buckets;

/// Pauses above this, an hour in microseconds, are counted as this long.
const LONGEST_US: u64 = 3_600_000_000;

/// Shared between threads; one of them writes at a time, once per collection.
pub struct Pauses {
    counts: [AtomicU32; buckets::bucket_of(LONGEST_US) + 1],
    total_us: AtomicU64,
    longest_us: AtomicU64,
}

/// Those of this process.
pub static PAUSES: Pauses = Pauses::new();

impl Pauses {
    /// None yet.
    const fn new() -> Pauses {
        Pauses { counts: [const { AtomicU32::new(0) }; _], total_us: AtomicU64::new(0), longest_us: AtomicU64::new(0) }
    }

    /// One more, in ns.
    pub fn note(&self, pause_ns: u64) {
        let us = pause_ns / 1000;
        if let Some(count) = self.counts.get(buckets::bucket_of(us.min(LONGEST_US))) {
            count.fetch_add(1, Relaxed);
        }
        self.total_us.fetch_add(us, Relaxed);
        self.longest_us.fetch_max(us, Relaxed);
    }

    /// In a child made by fork: those until now were its parent's.
    pub fn forget(&self) {
        // Pages that nobody wrote to stay shared with the parent.
        self.counts.iter().filter(|count| count.load(Relaxed) != 0).for_each(|count| count.store(0, Relaxed));
        self.total_us.store(0, Relaxed);
        self.longest_us.store(0, Relaxed);
    }

    /// All together, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.total_us.load(Relaxed)
    }

    /// The longest, in microseconds.
    pub fn longest_us(&self) -> u64 {
        self.longest_us.load(Relaxed)
    }

    /// The median, in microseconds: the lowest value of its bucket, so at most 0.8 % too low. 0 if there was none.
    pub fn median_us(&self) -> u64 {
        let counts = || self.counts.iter().map(|count| u64::from(count.load(Relaxed)));
        let half = counts().sum::<u64>().div_ceil(2);
        let mut so_far = 0;
        let bucket = counts().position(|count| {
            so_far += count;
            count > 0 && so_far >= half
        });
        bucket.map_or(0, buckets::lowest_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_ones_bucket() {
        let pauses = Pauses::new();
        assert_eq!((pauses.median_us(), pauses.longest_us()), (0, 0));
        for us in [5_000, 100, 7, 200, 90_000_000_000] {
            pauses.note(us * 1000);
        }
        assert_eq!((pauses.median_us(), pauses.longest_us(), pauses.total_us()), (200, 90_000_000_000, 90_000_005_307));
        pauses.note(6_000_000);
        pauses.note(7_000_000);
        assert_eq!(pauses.median_us(), buckets::lowest_in(buckets::bucket_of(5_000)));
        pauses.forget();
        assert_eq!((pauses.median_us(), pauses.longest_us(), pauses.total_us()), (0, 0, 0));
    }
}
