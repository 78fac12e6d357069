//! The scan: words in, blocks out.

use super::blocks::{DEAD, HELD, LIVE, MARKED, OBJECT};
use super::{BlockId, Blocks, Hit, Parts, Shapes, Statics};
use crate::heap::view;
use crate::meta::Array;

/// Blocks that are marked and not yet scanned. Each block enters at most once, so there is room for all.
pub struct Frontier {
    entries: Array<(u32, u32)>,
    count: usize,
}

impl Frontier {
    /// Room for every block of the snapshot.
    pub fn new(blocks: &Blocks) -> Option<Frontier> {
        Some(Frontier { entries: Array::new(blocks.total() as usize + 1)?, count: 0 })
    }

    /// Adds a block by span and index.
    #[inline]
    pub fn push(&mut self, span: u32, index: u32) {
        if let Some(slot) = self.entries.get_mut(self.count) {
            *slot = (span, index);
            self.count += 1;
        }
    }

    /// Takes the block that came last.
    #[inline]
    pub fn pop(&mut self) -> Option<(u32, u32)> {
        self.count = self.count.checked_sub(1)?;
        self.entries.get(self.count).copied()
    }
}

/// The marking of one snapshot.
pub struct Marker<'a, S: Shapes> {
    /// The blocks.
    pub blocks: &'a mut Blocks,
    /// The counters of objects in modules' data.
    pub statics: &'a mut Statics,
    /// The object model.
    pub shapes: &'a S,
    frontier: Frontier,
    /// Words read.
    pub words_read: u64,
}

impl<'a, S: Shapes> Marker<'a, S> {
    /// Ready to mark; `None` without memory for the frontier.
    pub fn new(blocks: &'a mut Blocks, statics: &'a mut Statics, shapes: &'a S) -> Option<Self> {
        let frontier = Frontier::new(blocks)?;
        Some(Marker { blocks, statics, shapes, frontier, words_read: 0 })
    }

    /// Scans one part of a root: counts its words and marks what they lead to.
    ///
    /// # Safety
    /// `start..end` must be readable and word-aligned.
    pub unsafe fn root(&mut self, start: usize, end: usize) {
        // SAFETY: the caller's.
        unsafe { self.scan(start, end, false, true, None) };
    }

    /// Scans every block that has been reached, until none is left.
    pub fn reach(&mut self) {
        while let Some((span, index)) = self.frontier.pop() {
            let (base, bytes) = self.blocks.extent_in(span, index);
            let Some(hit) = self.blocks.resolve(base) else { continue };
            self.block(hit.id, base, bytes, true);
        }
    }

    /// Scans every live block that was not reached: counts its words, and notes which unreached blocks they hold.
    pub fn count_the_rest(&mut self) {
        for id in (0..self.blocks.total()).map(BlockId) {
            if self.blocks.state(id) & (LIVE | MARKED) == LIVE {
                let (base, bytes) = self.blocks.extent(id);
                self.block(id, base, bytes, false);
            }
        }
    }

    fn block(&mut self, id: BlockId, base: usize, bytes: usize, reaching: bool) {
        let dead = self.blocks.state(id) & DEAD != 0;
        let kept = if dead { self.shapes.kept_by_dead(self.blocks, id, base) } else { None };
        Parts::of(self.shapes, self.blocks, id, base, bytes).for_each_stretch(&mut |start, end| {
            let dead = dead && kept != Some(start);
            // SAFETY: parts of a live block of the snapshot.
            unsafe { self.scan(start, end, dead, reaching, Some(id)) };
        });
    }

    #[inline]
    unsafe fn scan(&mut self, start: usize, end: usize, dead: bool, reaching: bool, from: Option<BlockId>) {
        if start >= end {
            return;
        }
        self.words_read += (end - start) as u64 / 8;
        let (low, high) = view::bounds();
        let mut at = start;
        while at < end {
            // SAFETY: the caller vouches for the range. Volatile: the memory belongs to the program and is typed differently there.
            let word = unsafe { core::ptr::read_volatile(at as *const usize) };
            // The heap's bounds may enclose modules: only what resolves is a block.
            if word.wrapping_sub(low) < high - low
                && let Some(hit) = self.blocks.resolve(word)
            {
                self.found(hit, dead, reaching, from);
            } else if word >= 4096 && !dead {
                self.statics.count_word(word);
            }
            at += 8;
        }
    }

    #[inline]
    fn found(&mut self, hit: Hit, dead: bool, reaching: bool, from: Option<BlockId>) {
        let state = self.blocks.state(hit.id);
        if state & OBJECT != 0 {
            // A destroyed object owns no object any more; raw memory it keeps for its next life stays reachable.
            if dead && state & DEAD == 0 || self.shapes.is_weak(self.blocks, hit) {
                return;
            }
            let base = self.blocks.extent_in(hit.span, hit.index).0;
            if !dead && let Some(object) = self.blocks.object(hit.id, base) {
                self.blocks.count_word(hit, object);
            }
        }
        if reaching {
            if state & MARKED == 0 {
                self.blocks.set(hit.id, MARKED);
                self.frontier.push(hit.span, hit.index);
            }
        } else if state & (MARKED | HELD) == 0 && from != Some(hit.id) {
            self.blocks.set(hit.id, HELD);
        }
    }
}
