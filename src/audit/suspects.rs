//! Types whose `tp_traverse` has ended a snapshot's process, in a way that its guard could not stop: they are not called again.

use core::sync::atomic::{AtomicUsize, Ordering};

/// So many, and no more.
pub const MOST: usize = 16;

/// Addresses of types, 0 for free places. Filled in the program, inherited by its snapshots.
static SUSPECTS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];

/// Adds a type. `false` if there is none to add, it is known already, or there is no room: then another attempt would end as this one did.
pub fn add(type_address: usize) -> bool {
    type_address != 0
        && !has(type_address)
        && SUSPECTS.iter().any(|s| s.compare_exchange(0, type_address, Ordering::AcqRel, Ordering::Acquire).is_ok())
}

/// Whether a type is one.
pub fn has(type_address: usize) -> bool {
    SUSPECTS.iter().any(|s| s.load(Ordering::Acquire) == type_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_added_once_and_no_type_never() {
        assert!(!add(0));
        assert!(!has(0x1000) && add(0x1000) && has(0x1000) && !add(0x1000));
        let added = (2..100).filter(|n| add(n * 0x1000)).count();
        assert_eq!(added, MOST - 1);
    }
}
