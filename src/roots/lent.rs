//! Memory that the program keeps from its children (`MADV_DONTFORK`; node's heap is such): a snapshot's child would not have it, and take what only that holds for lost. So
//! it is given to this child, as long as the threads stand still, and to no other. Nothing is looked for in programs that never asked for it.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};

use super::maps;
use crate::sys::files::File;
use crate::sys::memory;

/// So many mappings at most.
const MOST: usize = 8192;

/// The program has kept something from its children.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Start and end of what is lent now. Changes only in the thread that takes a snapshot, one at a time.
static RANGES: [[AtomicUsize; 2]; MOST] = [const { [const { AtomicUsize::new(0) }; 2] }; MOST];

/// Mappings that could not be lent.
static LEFT_OUT: AtomicU32 = AtomicU32::new(0);

/// Notes that the program keeps some memory from its children.
pub fn note() {
    ASKED.store(true, Release);
}

/// Mappings that the snapshot's child should have been given and was not.
pub fn left_out() -> u32 {
    LEFT_OUT.load(Relaxed)
}

/// What is lent, until it is dropped.
pub struct Lent {
    count: usize,
}

impl Lent {
    /// Lends what can be lent. To be called while the threads stand still, by one at a time.
    pub fn all() -> Lent {
        let mut lent = Lent { count: 0 };
        if ASKED.load(Acquire) && !lent.find() {
            LEFT_OUT.fetch_add(1, Relaxed);
        }
        for [start, end] in RANGES.iter().take(lent.count) {
            let (at, bytes) = (start.load(Relaxed), end.load(Relaxed) - start.load(Relaxed));
            // SAFETY: a mapping of the program's, from the kernel's list. Children that do not come to be do not see it.
            if !unsafe { memory::set_inherited(at, bytes, true) } {
                LEFT_OUT.fetch_add(1, Relaxed);
            }
        }
        lent
    }

    /// Lists the private mappings that can be read and have the mark (proc(5): `dc`, do not copy on fork). `false` if not all are on the list.
    fn find(&mut self) -> bool {
        let Some(file) = File::open(c"/proc/self/smaps") else { return false };
        let (mut open, mut room) = (None, true);
        let whole = file.for_each_line(&mut |line| {
            if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                if let Some((start, end)) = open.take()
                    && flags.split(|&b| b == b' ').any(|flag| flag == b"dc")
                {
                    room &= self.add(start, end);
                }
            } else if let Some(range) = readable_and_private(line) {
                open = range;
            }
        });
        whole && room
    }

    fn add(&mut self, start: usize, end: usize) -> bool {
        let Some([from, to]) = RANGES.get(self.count) else { return false };
        from.store(start, Relaxed);
        to.store(end, Relaxed);
        self.count += 1;
        true
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        for [start, end] in RANGES.iter().take(self.count) {
            let (at, bytes) = (start.load(Relaxed), end.load(Relaxed) - start.load(Relaxed));
            // SAFETY: as the program had it.
            unsafe { memory::set_inherited(at, bytes, false) };
        }
        LEFT_OUT.store(0, Relaxed);
    }
}

/// `7f00-7f01 rw-p ...`: the range, if it can be read and is private; `None` for a line that is none of a mapping's first.
fn readable_and_private(line: &[u8]) -> Option<Option<(usize, usize)>> {
    let mapping = maps::parse(line)?;
    Some((mapping.read && mapping.private).then_some((mapping.start, mapping.end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mappings_first_line_is_told_from_the_others() {
        assert_eq!(readable_and_private(b"1000-3000 rw-p 00000000 00:00 0"), Some(Some((0x1000, 0x3000))));
        assert_eq!(readable_and_private(b"1000-3000 ---p 00000000 00:00 0"), Some(None));
        assert_eq!(readable_and_private(b"1000-3000 rw-s 00000000 00:00 0"), Some(None));
        assert_eq!(readable_and_private(b"AnonHugePages:         0 kB"), None);
        assert_eq!(readable_and_private(b"Size:                  8 kB"), None);
    }
}
