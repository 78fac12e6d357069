//! Which semaphores are older than the process: CPython's locks are semaphores, each in a block of its own, and a forked child leaves
//! those of its parent where they are.
//!
//! A semaphore is dated where it stands. Of the 32 bytes of a `sem_t` the C libraries use the first 16 at most (glibc `struct new_sem`, musl
//! three of eight `int`s); the rest is nobody's, and what a freed block left there. The date goes when the semaphore is destroyed, so that whoever
//! gets the block next is not taken for it.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::heap::{modes, view};
use crate::python::types::read;

/// How many forks lie between this process and the first one that loaded the shim.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Above it stands the generation. No address is so high.
const DATED: usize = 0x5e3a_f0bc << 32;
/// Bytes of a `sem_t`, and where the two words are that have its date.
const BYTES: usize = 32;
const DATE: [usize; 2] = [16, 24];
const _: () = assert!(size_of::<libc::sem_t>() == BYTES);

fn is_block_of_ours(semaphore: usize) -> bool {
    // One that is shorter than a semaphore is left alone.
    view::block_around(semaphore).is_some_and(|(_, end)| semaphore.is_multiple_of(8) && semaphore + BYTES <= end)
}

fn dates(semaphore: usize) -> [*mut usize; 2] {
    DATE.map(|at| (semaphore + at) as *mut usize)
}

/// Dates a semaphore that has been initialised.
///
/// # Safety
/// `semaphore` must be a `sem_t` that no other thread uses yet.
pub unsafe fn initialised(semaphore: usize) {
    if is_block_of_ours(semaphore) {
        let date = DATED | GENERATION.load(Relaxed) as usize;
        // SAFETY: inside the block, and of the sem_t, which is the caller's.
        dates(semaphore).into_iter().for_each(|word| unsafe { word.write(date) });
    }
}

/// Takes the date away.
///
/// # Safety
/// `semaphore` must be a `sem_t` that no other thread uses any more.
pub unsafe fn destroyed(semaphore: usize) {
    // SAFETY: inside the block, and of the sem_t, which is the caller's.
    if is_block_of_ours(semaphore) && dates(semaphore).iter().all(|word| unsafe { word.read() } >> 32 == DATED >> 32) {
        // SAFETY: as above.
        dates(semaphore).into_iter().for_each(|word| unsafe { word.write(0) });
    }
}

/// The process has been forked, and this is the child.
pub fn after_fork_in_child() {
    GENERATION.fetch_add(1, Relaxed);
}

/// Which process initialised the semaphore that a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// One that this one was forked from.
    Parent,
    /// This one.
    This,
}

/// Whether a block in use, `bytes` long, holds a semaphore alone, and of whom. Behind `header_bytes` and before as many may stand what the interpreter's debug hooks write.
pub fn alone_in(base: usize, bytes: usize, header_bytes: usize) -> Option<Of> {
    let now = DATED | GENERATION.load(Relaxed) as usize;
    let alone = |from: &usize| (modes::raw_block_bytes(BYTES + from)..=modes::raw_block_bytes(BYTES + 2 * from)).contains(&bytes);
    [0, header_bytes].into_iter().filter(alone).find_map(|from| {
        // SAFETY: inside the block.
        let dates = DATE.map(|at| unsafe { read(base + from + at) });
        if dates == [now; 2] {
            Some(Of::This)
        } else {
            dates.iter().all(|date| (DATED..now).contains(date)).then_some(Of::Parent)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_semaphore_of_an_earlier_generation_is_the_parents() {
        let now = GENERATION.load(Relaxed) as usize;
        let date = |generation: usize| DATED | generation;
        let of = |block: &[usize]| alone_in(block.as_ptr() as usize, size_of_val(block), 16);
        let of_parent = |block: &[usize]| of(block) == Some(Of::Parent);
        after_fork_in_child();
        assert_eq!(of(&[1, 0, date(now + 1), date(now + 1)]), Some(Of::This));
        assert!(of_parent(&[1, 0, date(now), date(now)]));
        assert!(of_parent(&[40, 0xfdfd_fdfd, 1, 0, date(now), date(now), 0xfdfd_fdfd, 9]));
        assert!(!of_parent(&[1, 0, date(now + 1), date(now + 1)]));
        assert!(!of_parent(&[1, 0, 0, date(now)]));
        assert!(!of_parent(&[1, 0, 0, 0]));
        // More than a semaphore, and less.
        assert!(!of_parent(&[1, 0, date(now), date(now), 1]));
        assert!(!of_parent(&[1, 0, date(now)]));
    }
}
