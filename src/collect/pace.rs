//! When to collect: after so many bytes, in proportion to what lives.

use crate::heap::{pool, retained};

/// How often retained blocks are looked at: so that it takes a certain share of the program's time, within bounds of memory.
///
/// What a sweep costs depends on how much lives and on what the system takes for it, how often one is due on how fast the program frees. Both are seen from the outside, as the time
/// that the reading took and the time since the sweep before: if it takes more than its share, more is retained until the next, and less if it takes
/// far less. What is done for each retained block does not count: that is as much in a few large sweeps as in many small ones. So a program that frees seldom is looked at early, which saves memory, and one that does nothing but allocate and free is not held up more than this.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Bytes to be retained from one sweep to the next.
    step_bytes: usize,
    /// Whether what was never freed is looked for too.
    pub full: bool,
}

/// Quarantine.
pub const QUARANTINE: Pace = Pace { step_bytes: STEP_BYTES_MIN, full: false };
/// Collect.
pub const COLLECT: Pace = Pace { step_bytes: STEP_BYTES_MIN, full: true };

/// Reading what is in use may take this part of the time.
const SHARE: u64 = 8;
/// If they take so many times less, less is retained.
const FAR_LESS: u64 = 4;

/// However seldom a program frees, and however small it is.
const STEP_BYTES_MIN: usize = 2 << 20;
/// However much it frees.
const STEP_BYTES_MAX: usize = 16 << 20;
/// However much it frees, if nothing lives: a sweep costs next to nothing then, and 16 MiB would be many times what the program takes. And so many times more for each byte that lives.
const STEP_BYTES_MAX_EMPTY: usize = 4 << 20;
const STEP_TIMES_MAX_EMPTY: usize = 4;
/// The same, as a part of what lives: the greater counts.
const STEP_PART_MIN: usize = 32;
const STEP_PART_MAX: usize = 2;

/// With at most so much in use the program stands still for a sweep.
const IN_PLACE_BYTES_MAX: usize = 128 << 20;

/// Growth below this is not worth a full collection.
pub const FULL_BYTES_MIN: usize = 32 << 20;
/// How much less often at most.
const FULL_STEPS_MAX: usize = 16;

/// Bytes of the heap that are not retained.
pub fn bytes_in_use() -> usize {
    let totals = pool::totals();
    (totals.span_bytes + totals.huge_bytes).saturating_sub(retained::bytes())
}

/// How much is in use, as the last collection saw it, and what has come since. What the heap takes tells less: free blocks lie between the others, more of them
/// after each sweep.
#[derive(Clone, Copy)]
pub struct Level {
    live_bytes: usize,
    taken_bytes: usize,
}

impl Level {
    /// Nothing yet.
    pub const NONE: Level = Level { live_bytes: 0, taken_bytes: 0 };

    /// A collection has just seen so much.
    pub fn seen(live_bytes: usize) -> Level {
        Level { live_bytes, taken_bytes: bytes_in_use() }
    }

    /// How much is in use now; less what came to stand where free blocks were.
    pub fn now(&self) -> usize {
        self.live_bytes + bytes_in_use().saturating_sub(self.taken_bytes)
    }
}

/// Kept blocks stay as they are up to this part of the heap.
const AS_IT_IS_PART: usize = 16;
/// And up to so many bytes in any case.
const AS_IT_IS_BYTES_MIN: usize = 4 << 20;

/// How many bytes of kept blocks stay as they are; the others are emptied.
pub fn room_for_what_is_kept() -> usize {
    (bytes_in_use() / AS_IT_IS_PART).max(AS_IT_IS_BYTES_MIN)
}

impl Pace {
    /// A sweep read what is in use for `reading_ns`, `since_ns` after the one before, found `live_bytes` in use and left `kept_bytes`. Answers the total of retained bytes at which the next is due, and the one at which
    /// whoever frees waits for it: else a program that frees faster than it can be looked at would grow without bounds.
    pub fn after(&mut self, reading_ns: u64, since_ns: u64, live_bytes: usize, kept_bytes: usize) -> (usize, usize) {
        self.adjust(reading_ns, since_ns, live_bytes);
        self.due(kept_bytes)
    }

    /// As [`Pace::after`], when no sweep has been finished.
    pub fn due(&self, kept_bytes: usize) -> (usize, usize) {
        let due = kept_bytes + self.step_bytes;
        (due, due + self.step_bytes.max(STEP_BYTES_MAX))
    }

    fn adjust(&mut self, reading_ns: u64, since_ns: u64, live: usize) {
        let least = (live / STEP_PART_MIN).max(STEP_BYTES_MIN);
        let most = (live / STEP_PART_MAX).max(STEP_BYTES_MAX.min(STEP_BYTES_MAX_EMPTY + STEP_TIMES_MAX_EMPTY * live));
        let wanted = if reading_ns > since_ns / SHARE {
            self.step_bytes * 2
        } else if reading_ns < since_ns / (SHARE * FAR_LESS) {
            self.step_bytes / 2
        } else {
            self.step_bytes
        };
        self.step_bytes = wanted.clamp(least, most);
    }

    /// By how many bytes what is in use has to grow before what was never freed is looked for again, if the last time `reached_bytes` were in use and `lost_bytes` lost,
    /// and `step_bytes` had been waited for. Where little is found, it is looked for less often.
    pub fn full_step(&self, step_bytes: usize, reached_bytes: usize, lost_bytes: usize) -> usize {
        let least = (reached_bytes / 2).max(FULL_BYTES_MIN);
        if lost_bytes >= step_bytes / 8 { least } else { (2 * step_bytes).clamp(least, FULL_STEPS_MAX * least) }
    }

    /// Whether to look while the program stands still. A snapshot costs a fault for every page that the program writes to afterwards, and a copy while the
    /// child lives: for small heaps far more than reading them.
    pub fn in_place(&self) -> bool {
        bytes_in_use() <= IN_PLACE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_retained_while_sweeps_take_more_than_their_share_and_less_if_far_less() {
        let mut pace = QUARANTINE;
        let mut step = |took_ns, live| {
            pace.adjust(took_ns, 80_000, live);
            pace.step_bytes >> 20
        };
        assert_eq!([20_000; 3].map(|took| step(took, 0)), [4, 4, 4]);
        assert_eq!([20_000; 3].map(|took| step(took, 1 << 20)), [8, 8, 8]);
        assert_eq!([20_000; 3].map(|took| step(took, 3 << 20)), [16, 16, 16]);
        assert_eq!([9_000, 3_000, 2_000].map(|took| step(took, 3 << 20)), [16, 16, 8]);
        assert_eq!([20_000; 4].map(|took| step(took, 100 << 20)), [16, 32, 50, 50]);
        assert_eq!([0; 5].map(|took| step(took, 128 << 20)), [25, 12, 6, 4, 4]);
        assert_eq!([0; 2].map(|took| step(took, 0)), [2, 2]);
        assert_eq!(pace.due(1 << 20), (3 << 20, 19 << 20));
    }

    #[test]
    fn what_was_never_freed_is_looked_for_less_often_where_little_is_found() {
        assert_eq!(COLLECT.full_step(32 << 20, 10 << 20, 30 << 20), 32 << 20);
        assert_eq!(COLLECT.full_step(32 << 20, 10 << 20, 0), 64 << 20);
        assert_eq!(COLLECT.full_step(1 << 30, 10 << 20, 0), 512 << 20);
        assert_eq!(COLLECT.full_step(1 << 30, 1 << 30, 1 << 30), 512 << 20);
    }
}
