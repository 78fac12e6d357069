//! In which order finalizers run: a block's before those of what it leads to, so that a finalizer finds what its block points to as the program left it.
//!
//! That is the order in which a depth-first search leaves the blocks, turned round. Where blocks lead to each other in a cycle, there is no such order: theirs run one
//! after the other, in an order that nobody should rely on.

use crate::mark::blocks::HELD;
use crate::mark::{BlockId, Blocks};
use crate::meta::{Array, Zeroed};
use crate::python::types::read;

/// A block on the way from a candidate, and the next of its words to look at.
#[derive(Clone, Copy, Default)]
struct Step {
    span: u32,
    index: u32,
    word: usize,
}

// SAFETY: zeros are numbers.
unsafe impl Zeroed for Step {}

/// Puts lost blocks in the order in which their finalizers are to be run; answers how many there are, at the beginning of `candidates`. Marks them, and all that they
/// lead to, [`HELD`]: it stays. Those that are held already are left out. `is_lost` says whether a block is one of those the question is about.
///
/// `None` without memory.
pub fn settle(blocks: &mut Blocks, candidates: &mut [usize], is_lost: &dyn Fn(&Blocks, BlockId) -> bool) -> Option<usize> {
    let mut path = Array::<Step>::new(blocks.total() as usize + 1)?;
    let mut left = Array::<usize>::new(candidates.len())?;
    let mut count = 0;
    // The order of addresses where there is no other: the search that begins last is first in the end.
    candidates.sort_unstable_by_key(|&c| core::cmp::Reverse(c));
    for &candidate in candidates.iter() {
        let Some(hit) = blocks.resolve(candidate) else { continue };
        if blocks.state(hit.id) & HELD != 0 || !is_lost(blocks, hit.id) {
            continue;
        }
        let mut depth = 0;
        enter(blocks, &mut path, &mut depth, hit.id, hit.span, hit.index);
        while let Some(step) = depth.checked_sub(1).and_then(|top| path.get_mut(top)) {
            let (base, bytes) = blocks.extent_in(step.span, step.index);
            if step.word >= base + bytes {
                depth -= 1;
                // From here on nothing leads to it that has not been left.
                if candidates.binary_search_by(|&c| base.cmp(&c)).is_ok()
                    && let Some(slot) = left.get_mut(count)
                {
                    *slot = base;
                    count += 1;
                }
                continue;
            }
            // SAFETY: inside a live block.
            let word = unsafe { read(step.word) };
            step.word += 8;
            if let Some(hit) = blocks.resolve(word)
                && blocks.state(hit.id) & HELD == 0
                && is_lost(blocks, hit.id)
            {
                enter(blocks, &mut path, &mut depth, hit.id, hit.span, hit.index);
            }
        }
    }
    candidates.iter_mut().zip(left.iter().take(count).rev()).for_each(|(to, &from)| *to = from);
    Some(count)
}

fn enter(blocks: &mut Blocks, path: &mut [Step], depth: &mut usize, id: BlockId, span: u32, index: u32) {
    blocks.set(id, HELD);
    if let Some(slot) = path.get_mut(*depth) {
        *slot = Step { span, index, word: blocks.extent_in(span, index).0 };
        *depth += 1;
    }
}
