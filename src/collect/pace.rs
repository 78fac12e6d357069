//! When to collect: after so many bytes, in proportion to what lives.

use crate::heap::{pool, retained};

/// How much may be retained before it is looked at.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Bytes, however small the heap: below this a snapshot costs more than the memory is worth.
    pub least_bytes: usize,
    /// One part of so many of what lives.
    pub part_of_live: usize,
    /// Whether what was never freed is looked for too.
    pub full: bool,
}

/// Quarantine: memory is what it costs, so it looks early.
pub const QUARANTINE: Pace = Pace { least_bytes: 16 << 20, part_of_live: 8, full: false };
/// Collect.
pub const COLLECT: Pace = Pace { least_bytes: 16 << 20, part_of_live: 4, full: true };

/// With at most so much in use the program stands still for a collection: about 10 ms.
const IN_PLACE_BYTES_MAX: usize = 32 << 20;

/// Growth below this is not worth a full collection.
pub const FULL_BYTES_MIN: usize = 32 << 20;
/// How much less often at most.
const FULL_STEPS_MAX: usize = 16;

/// Bytes of the heap that are not retained.
pub fn bytes_in_use() -> usize {
    let totals = pool::totals();
    (totals.span_bytes + totals.huge_bytes).saturating_sub(retained::bytes())
}

impl Pace {
    /// The total of retained bytes at which the next collection is due, if `kept_bytes` were left by the last.
    pub fn due(&self, kept_bytes: usize) -> usize {
        let totals = pool::totals();
        let live = (totals.span_bytes + totals.huge_bytes).saturating_sub(kept_bytes);
        kept_bytes + self.step(live)
    }

    /// The total at which whoever frees waits for the collection under way: else a program that frees faster than it can be looked at would grow without
    /// bounds.
    pub fn hard_limit(&self, due: usize) -> usize {
        due + due.max(2 * self.least_bytes)
    }

    /// After how many bytes of new spans what was never freed is looked for again, if the last time `reached_bytes` were in use and `lost_bytes` lost, and
    /// `step_bytes` had been waited for. Where little is found, it is looked for less often: spans are also made anew where memory is merely reused.
    pub fn full_step(&self, step_bytes: usize, reached_bytes: usize, lost_bytes: usize) -> usize {
        let least = (reached_bytes / 2).max(FULL_BYTES_MIN);
        if lost_bytes >= step_bytes / 8 { least } else { (2 * step_bytes).clamp(least, FULL_STEPS_MAX * least) }
    }

    /// Whether to look while the program stands still. A snapshot costs a fault for every page that the program writes to afterwards, and a copy while the
    /// child lives: for small heaps far more than reading them.
    pub fn in_place(&self) -> bool {
        bytes_in_use() <= IN_PLACE_BYTES_MAX
    }

    fn step(&self, live: usize) -> usize {
        (live / self.part_of_live).max(self.least_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_heaps_wait_for_the_least_and_large_ones_for_their_part() {
        assert_eq!(QUARANTINE.step(1 << 20), 16 << 20);
        assert_eq!(QUARANTINE.step(1 << 30), 128 << 20);
        assert_eq!(COLLECT.full_step(32 << 20, 10 << 20, 30 << 20), 32 << 20);
        assert_eq!(COLLECT.full_step(32 << 20, 10 << 20, 0), 64 << 20);
        assert_eq!(COLLECT.full_step(1 << 30, 10 << 20, 0), 512 << 20);
        assert_eq!(COLLECT.full_step(1 << 30, 1 << 30, 1 << 30), 512 << 20);
        assert!(COLLECT.step(1 << 30) > QUARANTINE.step(1 << 30));
        assert!(QUARANTINE.due(0) >= 16 << 20 && QUARANTINE.hard_limit(16 << 20) > 32 << 20);
    }
}
