//! The shim's own memory: page map leaves, span records, thread caches, the audit's tables. It never lies beside the program's data,
//! every mapping has an inaccessible strip on either side, and each is listed, so that root scanning can leave it out.

mod array;
pub mod map;
mod vector;

pub use array::{Array, Zeroed};
pub use map::Map;
pub use vector::Vector;

use crate::sys::lock::{Held, Ranked, rank};
use crate::sys::memory::{self, PAGE};

/// Mappings that can exist at one time.
const MAPPINGS: usize = 2048;

/// Bytes mapped at a time for permanent records.
const CHUNK: usize = 1 << 18;

/// Mappings given back that wait for another use: a sweep makes some twenty, and making and unmapping them took a quarter of its fixed cost.
const IDLE: usize = 32;
/// Larger ones are unmapped.
const IDLE_BYTES_MAX: usize = 8 << 20;
/// Up to so many bytes that were written are wiped, and keep their pages: the kernel takes ten times as long to take them and give new ones.
const WIPED_BYTES_MAX: usize = 64 * PAGE;

pub(crate) struct Meta {
    ranges: [(usize, usize); MAPPINGS],
    count: usize,
    /// All zero, and in no range.
    idle: [(usize, usize); IDLE],
    idle_count: usize,
    bump: usize,
    bump_end: usize,
}

pub(crate) static META: Ranked<{ rank::META }, Meta> =
    Ranked::new(Meta { ranges: [(0, 0); MAPPINGS], count: 0, idle: [(0, 0); IDLE], idle_count: 0, bump: 0, bump_end: 0 });

impl Meta {
    fn map(&mut self, bytes: usize) -> Option<usize> {
        let bytes = memory::round_up(bytes, PAGE)?;
        let slot = self.ranges.get_mut(self.count)?;
        let fits = |r: &(usize, usize)| (bytes..=2 * bytes).contains(&(r.1 - r.0));
        let idle = self.idle.iter().take(self.idle_count).enumerate();
        let found = idle.filter(|(_, r)| fits(r)).min_by_key(|(_, r)| r.1 - r.0).map(|(at, _)| at);
        *slot = match found {
            Some(found) => {
                self.idle_count -= 1;
                self.idle.swap(found, self.idle_count);
                *self.idle.get(self.idle_count)?
            }
            None => {
                let at = memory::map_guarded(bytes)?;
                (at, at + bytes)
            }
        };
        self.count += 1;
        Some(slot.0)
    }

    fn unmap(&mut self, at: usize, written: usize) {
        let Some(found) = self.ranges.iter().take(self.count).position(|r| r.0 == at) else {
            return;
        };
        let last = self.count - 1;
        let end = self.ranges.get(found).map_or(at, |r| r.1);
        let written = written.min(end - at);
        self.ranges.swap(found, last);
        self.count = last;
        // SAFETY: the range is a mapping of ours, listed until now; the caller gave up its use.
        unsafe {
            if !self.keep(at, end - at, written) {
                memory::unmap_guarded(at, end - at);
            }
        }
    }

    /// Makes a mapping idle, if there is room for it.
    ///
    /// # Safety
    /// It is ours, nothing uses it, and all behind the first `written` bytes is zero.
    unsafe fn keep(&mut self, at: usize, bytes: usize, written: usize) -> bool {
        let Some(slot) = self.idle.get_mut(self.idle_count).filter(|_| bytes <= IDLE_BYTES_MAX) else { return false };
        // SAFETY: the caller's.
        unsafe {
            if written <= WIPED_BYTES_MAX {
                core::ptr::write_bytes(at as *mut u8, 0, written);
            } else if !memory::discard(at, bytes) {
                return false;
            }
        }
        *slot = (at, at + bytes);
        self.idle_count += 1;
        true
    }

    fn permanent(&mut self, bytes: usize, align: usize) -> Option<usize> {
        if bytes > CHUNK / 2 {
            return self.map(bytes);
        }
        let mut at = memory::round_up(self.bump, align)?;
        if self.bump == 0 || at + bytes > self.bump_end {
            at = self.map(CHUNK)?;
            self.bump_end = at + CHUNK;
        }
        self.bump = at + bytes;
        Some(at)
    }
}

/// Maps `bytes` of zeroed memory at a page boundary, with guards on both sides; null when the system refuses. Pages take memory only
/// once they are written.
pub fn reserve(bytes: usize) -> *mut u8 {
    META.lock().map(bytes).map_or(core::ptr::null_mut(), |at| at as *mut u8)
}

/// Gives back a mapping made by [`reserve`].
///
/// # Safety
/// `at` came from [`reserve`] and nothing uses the memory any more.
pub unsafe fn release(at: *mut u8) {
    // SAFETY: the caller's duty.
    unsafe { release_written(at, usize::MAX) };
}

/// As [`release`], of a mapping of which only the first `written` bytes were ever written.
///
/// # Safety
/// As said, and as for [`release`].
pub unsafe fn release_written(at: *mut u8, written: usize) {
    META.lock().unmap(at as usize, written);
}

/// As [`reserve`], while a lock of lower rank is held.
pub(crate) fn reserve_within<const R: u8, T>(outer: &Held<'_, R, T>, bytes: usize) -> Option<usize> {
    META.lock_within(outer).map(bytes)
}

/// Zeroed memory for a record that lives as long as the process. `align` is a power of two, at most a page.
pub(crate) fn permanent_within<const R: u8, T>(outer: &Held<'_, R, T>, bytes: usize, align: usize) -> Option<usize> {
    META.lock_within(outer).permanent(bytes, align)
}

/// Calls `f` with start and end of every mapping of the shim's own memory. `f` must not map or unmap any.
pub fn for_each_range(f: &mut dyn FnMut(usize, usize)) {
    let meta = META.lock();
    for &(start, end) in meta.ranges.iter().take(meta.count) {
        f(start, end);
    }
}

/// A moment: see [`mark`].
#[derive(Clone, Copy)]
pub struct Mark(usize);

/// Tells the mappings that exist now from those that come later, as long as none of them is given back.
pub fn mark() -> Mark {
    Mark(META.lock().count)
}

/// As [`for_each_range`], for the mappings that are younger than `mark`.
pub fn for_each_range_since(mark: Mark, mut f: impl FnMut(usize, usize)) {
    let meta = META.lock();
    for &(start, end) in meta.ranges.iter().take(meta.count).skip(mark.0) {
        f(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_zeroed_listed_and_unlisted() {
        let listed = |at: usize| {
            let mut found = false;
            // Longer, if a longer one waited.
            for_each_range(&mut |start, end| found |= start == at && end >= at + 3 * PAGE);
            found
        };
        let at = reserve(2 * PAGE + 1);
        assert!(!at.is_null() && listed(at as usize));
        // SAFETY: three pages were mapped.
        let bytes = unsafe { core::slice::from_raw_parts_mut(at, 3 * PAGE) };
        assert!(bytes.iter().all(|&b| b == 0));
        bytes.fill(1);
        // SAFETY: made above, not used below.
        unsafe { release(at) };
        assert!(!listed(at as usize));
    }

    #[test]
    fn what_is_reserved_again_is_zeroed_again() {
        for bytes in [PAGE, WIPED_BYTES_MAX, WIPED_BYTES_MAX + PAGE, 64 * PAGE, IDLE_BYTES_MAX + PAGE] {
            for _ in 0..2 * IDLE {
                let at = reserve(bytes);
                // SAFETY: so many bytes were mapped; given back below, and not used after.
                unsafe {
                    let all = core::slice::from_raw_parts_mut(at, bytes);
                    assert!(all.iter().all(|&b| b == 0));
                    all.fill(1);
                    release(at);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_had_is_null() {
        assert!(reserve(usize::MAX).is_null());
        assert!(reserve(1 << 60).is_null());
    }
}
