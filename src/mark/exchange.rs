//! Where markers give each other work: one box, filled by who has plenty when another has nothing.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

use super::scan::Frontier;
use crate::meta::Array;
use crate::sys::raw;

/// Blocks that the box has room for.
const BOX: usize = 4096;
/// Who has fewer keeps them: they are done before they are handed over.
const PLENTY: usize = 64;
/// Looks at the box before the processor is left to others.
const LOOKS: u32 = 200;

/// The box, and how many markers have nothing to do.
pub struct Exchange {
    entries: Array<(u32, u32)>,
    /// Blocks in the box. Changes only under the lock.
    count: AtomicU32,
    locked: AtomicBool,
    idle: AtomicU32,
    markers: u32,
}

impl Exchange {
    /// An empty box for so many markers.
    pub fn new(markers: u32) -> Option<Exchange> {
        Some(Exchange {
            entries: Array::new(BOX)?,
            count: AtomicU32::new(0),
            locked: AtomicBool::new(false),
            idle: AtomicU32::new(0),
            markers,
        })
    }

    fn lock(&self) {
        let mut looks = 0;
        while self.locked.swap(true, Acquire) {
            pause(&mut looks);
        }
    }

    /// Puts up to half of a frontier into the box, if somebody waits for it and there is plenty.
    #[inline]
    pub fn offer(&self, frontier: &mut Frontier) {
        if self.idle.load(Relaxed) > 0 && frontier.count() >= PLENTY && self.count.load(Relaxed) == 0 {
            self.give(frontier);
        }
    }

    #[cold]
    fn give(&self, frontier: &mut Frontier) {
        self.lock();
        if self.count.load(Relaxed) == 0 {
            let wanted = (frontier.count() / 2).min(BOX);
            let mut count = 0;
            while count < wanted
                && let Some(block) = frontier.pop()
            {
                // SAFETY: count < BOX; only who holds the lock writes or reads here.
                unsafe { self.entries.cell(count).write(block) };
                count += 1;
            }
            self.count.store(count as u32, Relaxed);
        }
        self.locked.store(false, Release);
    }

    /// For a marker with nothing to do: waits for the box to be filled, and empties it into the frontier. `false` when no marker has anything to do
    /// any more; all of them are told so before any goes on.
    pub fn take(&self, frontier: &mut Frontier) -> bool {
        self.idle.fetch_add(1, AcqRel);
        let mut looks = 0;
        loop {
            if self.count.load(Relaxed) > 0 || self.idle.load(Relaxed) == self.markers {
                self.lock();
                let count = self.count.load(Relaxed);
                // Under the lock both are true at once: an idle marker fills no box.
                let done = count == 0 && self.idle.load(Acquire) == self.markers;
                if count > 0 {
                    self.idle.fetch_sub(1, AcqRel);
                    for at in 0..count as usize {
                        // SAFETY: written under the lock by who filled the box.
                        let (span, index) = unsafe { self.entries.cell(at).read() };
                        frontier.push(span, index);
                    }
                    self.count.store(0, Relaxed);
                }
                self.locked.store(false, Release);
                if count > 0 || done {
                    return count > 0;
                }
            }
            pause(&mut looks);
        }
    }
}

fn pause(looks: &mut u32) {
    *looks += 1;
    if looks.is_multiple_of(LOOKS) { raw::yield_now() } else { core::hint::spin_loop() }
}
