//! The whole marking: by one thread, or by two.

use super::blocks::{LIVE, MARKED, QUIET};
use super::exchange::Exchange;
use super::scan::Marker;
use super::{Blocks, Shapes, Statics, Walk};
use crate::meta::Array;
use crate::sys::second;

/// Calls back with start and end of each part of the roots.
pub type Roots<'a> = &'a dyn Fn(&mut dyn FnMut(usize, usize));

/// With fewer blocks a second thread is not worth its making.
const WORTH_SHARING: u32 = 100_000;

/// Marks what the roots reach, and counts the words of everything. Answers how many words were read; `None` without memory. `stack_top`: where
/// a stack for a second thread ends, or 0.
///
/// # Safety
/// In the snapshot child. Every part of the roots is readable and word-aligned.
pub unsafe fn mark<S: Shapes + Sync>(
    blocks: &mut Blocks,
    statics: &mut Statics,
    shapes: &S,
    roots: Roots<'_>,
    stack_top: usize,
) -> Option<u64> {
    let mut words_read = None;
    if stack_top != 0 && blocks.total() >= WORTH_SHARING {
        // SAFETY: the caller's.
        words_read = unsafe { by_two(blocks, statics, shapes, roots, stack_top) };
    }
    if words_read.is_none() {
        // SAFETY: the caller's.
        words_read = unsafe { by_one(blocks, statics, shapes, roots) };
    }
    blocks.clear_all(QUIET);
    words_read
}

unsafe fn by_one<S: Shapes>(blocks: &Blocks, statics: &mut Statics, shapes: &S, roots: Roots<'_>) -> Option<u64> {
    let mut marker = Marker::new(blocks, statics, shapes, None, None)?;
    roots(&mut |start, end| {
        // SAFETY: the caller's.
        unsafe { marker.root(start, end) };
        marker.reach();
    });
    marker.count_the_rest(Walk::over(LIVE | MARKED | QUIET, LIVE));
    Some(marker.words_read)
}

/// `None`, and nothing has been done, if there is no second thread or no memory for it.
unsafe fn by_two<S: Shapes + Sync>(
    blocks: &mut Blocks,
    statics: &mut Statics,
    shapes: &S,
    roots: Roots<'_>,
    stack_top: usize,
) -> Option<u64> {
    let exchange = Exchange::new(2)?;
    let mut twin = statics.twin()?;
    let words = Array::<u32>::new(blocks.total() as usize)?;
    let (whole, half) = (Walk::over(LIVE | MARKED | QUIET, LIVE), blocks.total() / 2);
    let (words_read, words) = {
        let mut first = Marker::new(blocks, statics, shapes, Some(&exchange), None)?;
        let mut second = Marker::new(blocks, &mut twin, shapes, Some(&exchange), Some(words))?;
        // SAFETY: the caller's. Marking uses atomics, its own counters and the kernel's sched_yield.
        let ran = unsafe {
            second::both(
                stack_top,
                || {
                    roots(&mut |start, end| first.root(start, end));
                    first.reach();
                    first.count_the_rest(whole.ending_before(half));
                },
                || {
                    second.reach();
                    second.count_the_rest(whole.starting_at(half));
                },
            )
        };
        if !ran {
            return None;
        }
        (first.words_read + second.words_read, second.apart.take()?)
    };
    blocks.add_words(&words);
    statics.absorb(&twin);
    Some(words_read)
}
