//! The scan: words in, blocks out.

use super::blocks::{DEAD, HELD, MARKED, QUIET};
use super::exchange::Exchange;
use super::{BlockId, Blocks, Hit, Parts, Shapes, Statics, Walk};
use crate::meta::Array;
use crate::sys::prefetch;

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

    /// How many there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes the block that came last.
    #[inline]
    pub fn pop(&mut self) -> Option<(u32, u32)> {
        self.count = self.count.checked_sub(1)?;
        self.entries.get(self.count).copied()
    }
}

/// Blocks between being taken from the frontier and being scanned: meanwhile their memory comes.
const RING: usize = 16;

/// Bytes scanned before looking whether somebody else has nothing to do.
const PIECE_BYTES: usize = 32 << 10;

/// The marking of one snapshot, or one thread's part of it.
pub struct Marker<'a, S: Shapes> {
    blocks: &'a Blocks,
    statics: &'a mut Statics,
    shapes: &'a S,
    frontier: Frontier,
    parts: Parts,
    /// What is shared with another thread, if there is one.
    exchange: Option<&'a Exchange>,
    /// Words of blocks' objects, if another thread counts them in the blocks.
    pub(super) apart: Option<Array<u32>>,
    /// Words read.
    pub words_read: u64,
}

/// What a scan does with what it finds.
#[derive(Clone, Copy)]
struct Scan {
    /// The words are a destroyed object's, which owns no object any more.
    dead: bool,
    /// Found blocks are reached; otherwise held.
    reaching: bool,
    /// The block that is scanned.
    from: Option<BlockId>,
}

impl<'a, S: Shapes> Marker<'a, S> {
    /// Ready to mark; `None` without memory for the frontier. Nobody else may use the blocks meanwhile but markers that share the exchange.
    pub fn new(
        blocks: &'a Blocks,
        statics: &'a mut Statics,
        shapes: &'a S,
        exchange: Option<&'a Exchange>,
        apart: Option<Array<u32>>,
    ) -> Option<Self> {
        let frontier = Frontier::new(blocks)?;
        Some(Marker { blocks, statics, shapes, frontier, parts: Parts::default(), exchange, apart, words_read: 0 })
    }

    /// Scans one part of a root: counts its words and marks what they lead to.
    ///
    /// # Safety
    /// `start..end` must be readable and word-aligned.
    pub unsafe fn root(&mut self, start: usize, end: usize) {
        // SAFETY: the caller's.
        unsafe { self.scan(start, end, Scan { dead: false, reaching: true, from: None }) };
    }

    /// Scans every block that has been reached, until none is left; with others, until none of them has any left.
    pub fn reach(&mut self) {
        loop {
            self.reach_own();
            match self.exchange {
                Some(exchange) if exchange.take(&mut self.frontier) => {}
                _ => return,
            }
        }
    }

    fn reach_own(&mut self) {
        let mut ring = [(0u32, 0u32); RING];
        let (mut oldest, mut count) = (0, 0);
        loop {
            while count < RING
                && let Some((span, index)) = self.frontier.pop()
            {
                fetch(self.blocks.extent_in(span, index).0);
                ring[(oldest + count) % RING] = (span, index);
                count += 1;
            }
            if count == 0 {
                return;
            }
            let (span, index) = ring[oldest];
            oldest = (oldest + 1) % RING;
            count -= 1;
            let (base, bytes) = self.blocks.extent_in(span, index);
            self.block(self.blocks.id_in(span, index), base, bytes, true);
        }
    }

    /// Scans every live block of a walk that was not reached: counts its words, and notes which unreached blocks they hold. When all that can be is
    /// reached.
    pub fn count_the_rest(&mut self, mut walk: Walk) {
        while let Some(at) = walk.next(self.blocks) {
            self.block(at.id, at.base, at.bytes, false);
        }
    }

    fn block(&mut self, id: BlockId, base: usize, bytes: usize, reaching: bool) {
        let dead = self.blocks.state(id) & DEAD != 0;
        let kept = if dead { self.shapes.kept_by_dead(self.blocks, id, base) } else { None };
        self.parts.fill(self.shapes, self.blocks, id, base, bytes);
        let mut at = 0;
        while let Some(part) = self.parts.get(at) {
            part.for_each_stretch(&mut |start, end| {
                let dead = dead && kept != Some(start);
                // SAFETY: parts of a live block of the snapshot.
                unsafe { self.scan(start, end, Scan { dead, reaching, from: Some(id) }) };
            });
            at += 1;
        }
    }

    #[inline]
    unsafe fn scan(&mut self, start: usize, end: usize, how: Scan) {
        if start >= end {
            return;
        }
        self.words_read += (end - start) as u64 / 8;
        let mut at = start;
        while at < end {
            let piece_end = end.min(at + PIECE_BYTES);
            while at < piece_end {
                // SAFETY: the caller vouches for the range. Volatile: the memory belongs to the program and is typed differently there.
                let word = unsafe { core::ptr::read_volatile(at as *const usize) };
                // The heap's bounds may enclose modules: only what resolves is a block.
                if let Some(hit) = self.blocks.resolve(word) {
                    self.found(hit, how);
                } else if word >= 4096 && !how.dead {
                    self.statics.count_word(word);
                }
                at += 8;
            }
            if let Some(exchange) = self.exchange {
                exchange.offer(&mut self.frontier);
            }
        }
    }

    #[inline]
    fn found(&mut self, hit: Hit, how: Scan) {
        let state = hit.state;
        if let Some(object) = self.blocks.object_in_state(state, hit.base) {
            // A destroyed object owns no object any more; raw memory it keeps for its next life stays reachable.
            if how.dead && state & DEAD == 0 || self.shapes.is_weak_word(hit, object) {
                return;
            }
            if !how.dead {
                self.count(hit, object);
            }
        } else if how.dead && self.blocks.note(hit.id) != 0 {
            // A live object's: what the destroyed one names is something that stood there before.
            return;
        }
        let alone = self.exchange.is_none();
        if how.reaching {
            let first = state & MARKED == 0 && self.blocks.set_shared(hit.id, MARKED, alone) & MARKED == 0;
            if first && state & QUIET == 0 {
                self.frontier.push(hit.span, hit.index);
            }
        } else if state & (MARKED | HELD) == 0 && how.from != Some(hit.id) {
            self.blocks.set_shared(hit.id, HELD, alone);
        }
    }

    /// Counts a word that leads into a block, if it names the block's object.
    #[inline]
    fn count(&mut self, hit: Hit, object: usize) {
        if hit.word == object {
            match &mut self.apart {
                None => self.blocks.count_word(hit.id),
                Some(words) => {
                    if let Some(n) = words.get_mut(hit.id.0 as usize) {
                        *n += 1;
                    }
                }
            }
        } else if hit.word & !7 == object {
            self.blocks.count_tagged(hit.id);
        }
    }
}

/// Asks for the cache lines where a block begins, without waiting for them.
#[inline]
fn fetch(address: usize) {
    prefetch::to_read(address);
    prefetch::to_read(address.wrapping_add(64));
}
