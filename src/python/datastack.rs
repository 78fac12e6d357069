//! The data stacks of 3.11 and later: frames live in chunks of plain memory, and what lies above a thread's top is stale.

use super::layout;
use super::objects::Model;
use super::types::read;
use crate::mark::Blocks;
use crate::sys::guard;

impl Model {
    /// The unused part of each thread's current chunk, `(start, end)`; answers how many there are. Threads beyond the room of `ranges` have
    /// their chunks scanned whole.
    pub fn stale_ranges(&self, blocks: &Blocks, ranges: &mut [(usize, usize)]) -> usize {
        let Some(offset) = layout::datastack_top(self.runtime.minor) else { return 0 };
        let s = &self.runtime.symbols;
        let (Some(interpreter), Some(first), Some(next)) = (s.interpreter_head, s.thread_head, s.thread_next) else { return 0 };
        let mut count = 0;
        // SAFETY: the three functions only read the interpreter's lists, which stand still in the snapshot; guarded in case they are torn.
        unsafe {
            guard::call(|| {
                let mut thread = first(interpreter());
                while !thread.is_null() && count < ranges.len() {
                    let at = thread as usize + offset;
                    let (top, limit) = (read(at), read(at + 8));
                    // A chunk is at most a few megabytes, and never one of our blocks' neighbours.
                    if top != 0 && top < limit && limit - top < 64 << 20 && blocks.resolve(top).is_none() {
                        ranges[count] = (top, limit);
                        count += 1;
                    }
                    thread = next(thread);
                }
            });
        }
        count
    }
}
