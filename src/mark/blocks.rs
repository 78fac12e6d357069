//! The blocks of a snapshot, numbered without gaps, and what is known of each.

use crate::heap::view::{self, SpanView};
use crate::meta::Array;

/// A block's number: its span's first number plus its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// Where a word leads.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// The word itself.
    pub word: usize,
    /// The live block that contains the address.
    pub id: BlockId,
    /// The block's span.
    pub span: u32,
    /// The block's index in its span.
    pub index: u32,
}

/// Handed out and not freed.
pub const LIVE: u8 = 1;
/// Reached from the roots.
pub const MARKED: u8 = 2;
/// Two bits: where in the block its object begins; 0 means there is none.
pub const OBJECT_SHIFT: u8 = 2;
/// The two bits.
pub const OBJECT: u8 = 0b11 << OBJECT_SHIFT;
/// An object that was destroyed and is kept on a free list: nothing it holds is owned.
pub const DEAD: u8 = 1 << 4;
/// Some unreached block other than itself points into it.
pub const HELD: u8 = 1 << 5;
/// Attributed to a finding already.
pub const SETTLED: u8 = 1 << 6;
/// An example of a finding: its holders are looked for.
pub const WANTED: u8 = 1 << 7;

/// Bytes from the block's start (behind [`Blocks::header_bytes`]) to the object, by code. CPython 3.8-3.15: `PyGC_Head` is 16 bytes, the pre-header of 3.11+ another 16.
pub const OBJECT_OFFSETS: [usize; 4] = [usize::MAX, 0, 16, 32];

/// All blocks.
pub struct Blocks {
    first: Array<u32>,
    spans: Array<SpanView>,
    state: Array<u8>,
    words: Array<u32>,
    tagged: Array<u32>,
    owned: Array<u32>,
    /// For each run of [`RUN`] blocks the span of the first: from there it is a step or two to any block's span.
    run_span: Array<u32>,
    span_count: u32,
    total: u32,
    live: u32,
    /// Bytes that the program's own layer over the heap puts before what it hands out.
    pub header_bytes: usize,
}

/// See [`Blocks`]: a small power of two, so that a slab's blocks are many runs.
const RUN: u32 = 64;

impl Blocks {
    /// Numbers all blocks ever handed out and strikes off those on free lists. Objects begin `header_bytes` later than in a block of their own.
    ///
    /// # Safety
    /// Only in a snapshot: nobody else may change the heap.
    pub unsafe fn take(header_bytes: usize) -> Option<Blocks> {
        let span_count = view::span_count();
        let mut first = Array::<u32>::new(span_count as usize + 1)?;
        let mut spans = Array::<SpanView>::new(span_count as usize)?;
        let mut total = 0u32;
        for id in 0..span_count {
            first[id as usize] = total;
            let span = view::span(id).unwrap_or_default();
            spans[id as usize] = span;
            total = total.checked_add(span.carved)?;
        }
        first[span_count as usize] = total;
        let mut run_span = Array::<u32>::new((total / RUN) as usize + 1)?;
        let mut span = 0u32;
        for run in 0..=total / RUN {
            while span < span_count && first[span as usize + 1] <= run * RUN {
                span += 1;
            }
            run_span[run as usize] = span;
        }
        let mut blocks = Blocks {
            first,
            spans,
            run_span,
            state: Array::new(total as usize)?,
            words: Array::new(total as usize)?,
            tagged: Array::new(total as usize)?,
            owned: Array::new(total as usize)?,
            span_count,
            total,
            live: total,
            header_bytes,
        };
        blocks.state.fill(LIVE);
        // SAFETY: the caller vouches for the snapshot.
        unsafe {
            view::for_each_free_block(&mut |span, index| {
                if let (Some(&at), Some(view)) = (blocks.first.get(span as usize), blocks.spans.get(span as usize))
                    && index < view.carved
                    && let Some(state) = blocks.state.get_mut((at + index) as usize)
                    && *state & LIVE != 0
                {
                    *state = 0;
                    blocks.live -= 1;
                }
            });
        }
        Some(blocks)
    }

    /// Number of blocks, live or not: ids are below it.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Number of live blocks at the start.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// The live block that contains an address. Blocks made after the snapshot was numbered are not known.
    #[inline]
    pub fn resolve(&self, word: usize) -> Option<Hit> {
        let (span, index) = view::resolve(word)?;
        if span >= self.span_count {
            return None;
        }
        // SAFETY: span < span_count, and first has span_count + 1 entries.
        let (at, past) = unsafe { (*self.first.get_unchecked(span as usize), *self.first.get_unchecked(span as usize + 1)) };
        let id = at + index;
        // SAFETY: id < past <= total, the length of state.
        if id >= past || unsafe { *self.state.get_unchecked(id as usize) } & LIVE == 0 {
            return None;
        }
        Some(Hit { word, id: BlockId(id), span, index })
    }

    /// The state bits of a block.
    #[inline]
    pub fn state(&self, id: BlockId) -> u8 {
        self.state.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// Sets bits.
    #[inline]
    pub fn set(&mut self, id: BlockId, bits: u8) {
        if let Some(state) = self.state.get_mut(id.0 as usize) {
            *state |= bits;
        }
    }

    /// Clears bits.
    pub fn clear(&mut self, id: BlockId, bits: u8) {
        if let Some(state) = self.state.get_mut(id.0 as usize) {
            *state &= !bits;
        }
    }

    /// Start and length of a block.
    pub fn extent(&self, id: BlockId) -> (usize, usize) {
        let (span, index) = self.place(id);
        self.extent_in(span, index)
    }

    /// Start and length of a block whose span and index are known.
    #[inline]
    pub fn extent_in(&self, span: u32, index: u32) -> (usize, usize) {
        match self.spans.get(span as usize) {
            Some(s) => (s.base + index as usize * s.block_bytes, s.block_bytes),
            _ => (0, 0),
        }
    }

    /// Span and index of a block.
    pub fn place(&self, id: BlockId) -> (u32, u32) {
        let mut span = self.run_span.get((id.0 / RUN) as usize).copied().unwrap_or(0) as usize;
        while self.first.get(span + 1).is_some_and(|&next| next <= id.0) {
            span += 1;
        }
        (span as u32, id.0 - self.first.get(span).copied().unwrap_or(0))
    }

    /// Address of the object in a block, if it has one.
    #[inline]
    pub fn object(&self, id: BlockId, base: usize) -> Option<usize> {
        let code = (self.state(id) & OBJECT) >> OBJECT_SHIFT;
        (code != 0).then(|| base + self.header_bytes + OBJECT_OFFSETS[code as usize])
    }

    /// The object's address from the block's id alone.
    pub fn object_of(&self, id: BlockId) -> Option<usize> {
        self.object(id, self.extent(id).0)
    }

    /// Words found that equal the object's address.
    pub fn words(&self, id: BlockId) -> u32 {
        self.words.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// Words found that equal the object's address but for the low three bits.
    pub fn tagged(&self, id: BlockId) -> u32 {
        self.tagged.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// References that containers own.
    pub fn owned(&self, id: BlockId) -> u32 {
        self.owned.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// Notes one more owner.
    pub fn add_owner(&mut self, id: BlockId) {
        if let Some(n) = self.owned.get_mut(id.0 as usize) {
            *n += 1;
        }
    }

    /// Counts a word that leads into a block, if it names the block's object.
    #[inline]
    pub fn count_word(&mut self, hit: Hit, object: usize) {
        let at = hit.id.0 as usize;
        if hit.word == object {
            if let Some(n) = self.words.get_mut(at) {
                *n += 1;
            }
        } else if hit.word & !7 == object
            && let Some(n) = self.tagged.get_mut(at)
        {
            *n += 1;
        }
    }

    /// Calls `block(blocks, id, base, bytes, in_object_span)` for each live block.
    pub fn for_each_live(&mut self, block: &mut dyn FnMut(&mut Blocks, BlockId, usize, usize, bool)) {
        for span in 0..self.span_count as usize {
            let view = self.spans[span];
            let first = self.first[span];
            for index in 0..view.carved {
                let id = BlockId(first + index);
                if self.state(id) & LIVE != 0 {
                    block(self, id, view.base + index as usize * view.block_bytes, view.block_bytes, view.objects);
                }
            }
        }
    }
}
