//! Ranges that the program named itself (`gcshim_roots_add`): memory shared with other processes, which is no root otherwise.
//!
//! A snapshot does not freeze what is shared: the program goes on and may move a pointer from there to memory whose old contents the snapshot's child reads. So it is copied while the
//! threads stand still, and the copy is the root. What other processes do there meanwhile is theirs to know.

use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::maps;
use crate::heap::view;
use crate::meta::Array;
use crate::sys::raw;

/// So many ranges at a time.
const MOST: usize = 1024;

/// A range; `end` is 0 in a place that is free, and [`TAKEN`] in one that is being filled. Without a lock: a thread may be stopped, or be missing in a forked child, at any point.
struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
}

const TAKEN: usize = 1;

static RANGES: [Range; MOST] = [const { Range { start: AtomicUsize::new(0), end: AtomicUsize::new(0) } }; MOST];

/// Adds a range. `false` if there is no room.
pub fn add(start: usize, end: usize) -> bool {
    for range in &RANGES {
        if range.end.compare_exchange(0, TAKEN, AcqRel, Relaxed).is_ok() {
            range.start.store(start, Release);
            range.end.store(end, Release);
            return true;
        }
    }
    false
}

/// Removes a range that was added so. Whether there was one.
pub fn remove(start: usize, end: usize) -> bool {
    let mut places = RANGES.iter().filter(|r| r.end.load(Acquire) == end && r.start.load(Acquire) == start);
    end > TAKEN && places.any(|r| r.end.compare_exchange(end, 0, AcqRel, Relaxed).is_ok())
}

fn for_each(each: &mut dyn FnMut(usize, usize)) {
    for range in &RANGES {
        let end = range.end.load(Acquire);
        if end > TAKEN {
            each(range.start.load(Acquire).next_multiple_of(8), end & !7);
        }
    }
}

/// Calls `each` with the start of every range that lies in the heap: its block is reached.
pub fn for_each_in_heap(each: &mut dyn FnMut(usize)) {
    for_each(&mut |start, _| {
        if view::block_around(start).is_some() {
            each(start);
        }
    });
}

/// Copies of what is shared.
pub struct Copies {
    memory: Option<Array<usize>>,
    used: usize,
    /// Ranges that could not be copied.
    pub left_out: u32,
}

impl Copies {
    /// Room for what is added now, before the threads are stopped.
    pub fn prepare() -> Copies {
        let mut words = 0;
        for_each(&mut |start, end| words += end.saturating_sub(start) / 8);
        let memory = if words > 0 { Array::new(words) } else { None };
        Copies { memory, used: 0, left_out: 0 }
    }

    /// Copies, while the threads stand still.
    pub fn fill(&mut self) {
        let mut any = false;
        for_each(&mut |start, end| any |= start < end);
        if any
            && !maps::for_each(&mut |m| {
                // The rest is a root by itself, or the heap.
                if m.read && (!m.private || m.device) {
                    for_each(&mut |start, end| self.copy(start.max(m.start), end.min(m.end)));
                }
            })
        {
            self.left_out += 1;
        }
    }

    fn copy(&mut self, start: usize, end: usize) {
        if start >= end {
            return;
        }
        let words = (end - start) / 8;
        let Some(to) = self.memory.as_mut().and_then(|m| m.get_mut(self.used..self.used + words)) else {
            // Added by another thread since there was room made.
            self.left_out += 1;
            return;
        };
        self.used += words;
        let mut from = start;
        while from < end {
            let page_end = ((from & !(PAGE - 1)) + PAGE).min(end);
            if let Some(to) = to.get_mut((from - start) / 8..(page_end - start) / 8) {
                raw::copy_if_readable(from, to);
            }
            from = page_end;
        }
    }

    /// Start and end of the copies.
    pub fn range(&self) -> (usize, usize) {
        let start = self.memory.as_ref().map_or(0, |m| m.as_ptr() as usize);
        (start, start + 8 * self.used)
    }
}

const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_copied_and_what_is_not_there_is_zero() {
        let (access, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANONYMOUS);
        // SAFETY: fresh mappings of this test's own; the words are inside.
        let (shared, private) = unsafe {
            let shared = libc::mmap(core::ptr::null_mut(), 4 * PAGE, access, libc::MAP_SHARED | anonymous, -1, 0) as usize;
            let private = libc::mmap(core::ptr::null_mut(), PAGE, access, libc::MAP_PRIVATE | anonymous, -1, 0) as usize;
            libc::munmap((shared + 2 * PAGE) as *mut _, PAGE);
            for (at, value) in [(shared + 8, 1), (shared + 2 * PAGE - 8, 2), (shared + 3 * PAGE, 3), (private, 4)] {
                *(at as *mut usize) = value;
            }
            (shared, private)
        };
        // The first word is not in it.
        assert!(add(shared + 1, shared + 4 * PAGE) && add(private, private + PAGE));
        let mut copies = Copies::prepare();
        copies.fill();
        let (start, end) = copies.range();
        // SAFETY: the copies.
        let words = unsafe { core::slice::from_raw_parts(start as *const usize, (end - start) / 8) };
        let found: Vec<usize> = words.iter().copied().filter(|&w| w != 0).collect();
        assert_eq!((found, words.len(), copies.left_out), (vec![1, 2, 3], 3 * PAGE / 8 - 1, 0));
        assert!(
            remove(shared + 1, shared + 4 * PAGE) && !remove(shared + 1, shared + 4 * PAGE) && remove(private, private + PAGE)
        );
        assert!(!remove(0, 0) && !remove(0, TAKEN));
        // SAFETY: made above.
        unsafe {
            libc::munmap(shared as *mut _, 4 * PAGE);
            libc::munmap(private as *mut _, PAGE);
        }
    }
}
