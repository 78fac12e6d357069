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
const FULL_BYTES_MIN: usize = 32 << 20;

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

    /// With so many bytes in use (see [`bytes_in_use`]) what was never freed is looked for, if `now` are after the last time. `None`: never.
    pub fn full_due(&self, now: usize) -> Option<usize> {
        self.full.then_some(now + (now / 2).max(FULL_BYTES_MIN))
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
        assert!(COLLECT.step(1 << 30) > QUARANTINE.step(1 << 30));
        assert!(QUARANTINE.due(0) >= 16 << 20 && QUARANTINE.hard_limit(16 << 20) > 32 << 20);
    }
}
