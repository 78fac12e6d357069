//! The blocks of a snapshot, numbered without gaps, and what is known of each.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::heap::view::{self, SpanView};
use crate::meta::{Array, Zeroed};
use crate::sys::memory::GRANULE;

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
    /// The block's start.
    pub base: usize,
    /// Its state when it was looked up.
    pub state: u8,
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
/// Until all is marked: a live object with nothing in it to scan.
pub const QUIET: u8 = 1 << 7;
/// When all is marked: an example of a finding: its holders are looked for.
pub const WANTED: u8 = 1 << 7;

/// Bytes from the block's start (behind [`Blocks::header_bytes`]) to the object, by code. CPython 3.8-3.15: `PyGC_Head` is 16 bytes, the pre-header of 3.11+ another 16.
pub const OBJECT_OFFSETS: [usize; 4] = [usize::MAX, 0, 16, 32];

/// All blocks.
pub struct Blocks {
    /// For each granule from `low` on, the place in `spans` of the span that covers it. Place 0 is of no span: it has no blocks.
    granules: Array<u32>,
    low: usize,
    range_bytes: usize,
    pub(super) spans: Array<Extent>,
    /// By place in `spans`: the blocks are of the object domain.
    objects: Array<u8>,
    pub(super) state: Array<u8>,
    counts: Array<Counts>,
    tagged: Array<u32>,
    /// For each run of [`RUN`] blocks the span of the first: from there it is a step or two to any block's span.
    run_span: Array<u32>,
    pub(super) span_places: u32,
    total: u32,
    live: u32,
    /// Bytes that the program's own layer over the heap puts before what it hands out.
    pub header_bytes: usize,
}

/// A span: all that it takes to get from an address to a block's number and back, half a cache line.
#[derive(Clone, Copy, Default)]
pub(super) struct Extent {
    pub(super) base: usize,
    /// See [`SpanView::reciprocal`].
    reciprocal: u64,
    pub(super) block_bytes: usize,
    /// Number of its first block.
    pub(super) first: u32,
    carved: u32,
}

const _: () = assert!(size_of::<Extent>() == 32);

// SAFETY: zeros are a span without blocks.
unsafe impl Zeroed for Extent {}

/// What is counted of a block.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Words that equal the object's address.
    words: u32,
    /// Owners of the object; of a block without an object, what [`Blocks::set_note`] noted.
    owned: u32,
}

// SAFETY: zeros are numbers.
unsafe impl Zeroed for Counts {}

/// See [`Blocks`]: a small power of two, so that a slab's blocks are many runs.
const RUN: u32 = 64;

impl Blocks {
    /// Numbers all blocks ever handed out and strikes off those on free lists. Objects begin `header_bytes` later than in a block of their own.
    ///
    /// # Safety
    /// Only in a snapshot: nobody else may change the heap.
    pub unsafe fn take(header_bytes: usize) -> Option<Blocks> {
        let span_count = view::span_count();
        let (low, high) = view::bounds();
        let range_bytes = high.saturating_sub(low);
        let mut granules = Array::<u32>::new(range_bytes / GRANULE)?;
        let mut spans = Array::<Extent>::new(span_count as usize + 1)?;
        let mut objects = Array::<u8>::new(span_count as usize + 1)?;
        let mut total = 0u32;
        for id in 0..span_count {
            let view = view::span(id).unwrap_or_default();
            let place = id as usize + 1;
            let SpanView { base, reciprocal, block_bytes, carved, .. } = view;
            spans[place] = Extent { base, reciprocal, block_bytes, first: total, carved };
            objects[place] = u8::from(view.objects);
            total = total.checked_add(carved)?;
            if carved > 0 {
                let from = (base - low) / GRANULE;
                granules.get_mut(from..from + view.bytes / GRANULE)?.fill(place as u32);
            }
        }
        let mut blocks = Blocks {
            granules,
            low,
            range_bytes,
            run_span: Array::new((total / RUN) as usize + 1)?,
            spans,
            objects,
            state: Array::new(total as usize)?,
            counts: Array::new(total as usize)?,
            tagged: Array::new(total as usize)?,
            span_places: span_count + 1,
            total,
            live: total,
            header_bytes,
        };
        let mut place = 1;
        for run in 0..=total / RUN {
            while place + 1 < blocks.span_places && blocks.past(place) <= run * RUN {
                place += 1;
            }
            blocks.run_span[run as usize] = place;
        }
        blocks.state.fill(LIVE);
        // SAFETY: the caller vouches for the snapshot.
        unsafe {
            view::for_each_free_block(&mut |span, index| {
                if let Some(extent) = blocks.spans.get(span as usize + 1)
                    && index < extent.carved
                    && let Some(state) = blocks.state.get_mut((extent.first + index) as usize)
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

    /// The number after a span's last block.
    #[inline]
    pub(super) fn past(&self, place: u32) -> u32 {
        self.spans.get(place as usize).map_or(0, |s| s.first + s.carved)
    }

    /// The live block that contains an address. Blocks made after the snapshot was numbered are not known.
    #[inline(always)]
    pub fn resolve(&self, word: usize) -> Option<Hit> {
        let offset = word.wrapping_sub(self.low);
        if offset >= self.range_bytes {
            return None;
        }
        // SAFETY: the offset is within the range that the granules are of, and they name places in the spans.
        let (span, extent) = unsafe {
            let span = *self.granules.get_unchecked(offset / GRANULE);
            (span, self.spans.get_unchecked(span as usize))
        };
        let index = ((word.wrapping_sub(extent.base) as u128 * extent.reciprocal as u128) >> 64) as u32;
        if index >= extent.carved {
            return None;
        }
        let id = extent.first + index;
        let state = self.state(BlockId(id));
        if state & LIVE == 0 {
            return None;
        }
        let base = extent.base + index as usize * extent.block_bytes;
        Some(Hit { word, id: BlockId(id), span, index, base, state })
    }

    /// The state bits of a block.
    #[inline]
    pub fn state(&self, id: BlockId) -> u8 {
        let cell = self.state.cell(id.0 as usize);
        // SAFETY: inside the array.
        if cell.is_null() { 0 } else { unsafe { AtomicU8::from_ptr(cell) }.load(Relaxed) }
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

    /// The number of a block whose span and index are known.
    #[inline]
    pub fn id_in(&self, span: u32, index: u32) -> BlockId {
        BlockId(self.spans.get(span as usize).map_or(0, |s| s.first + index))
    }

    /// Span and index of a block.
    pub fn place(&self, id: BlockId) -> (u32, u32) {
        let mut span = self.run_span.get((id.0 / RUN) as usize).copied().unwrap_or(1);
        while span + 1 < self.span_places && self.past(span) <= id.0 {
            span += 1;
        }
        (span, id.0 - self.spans.get(span as usize).map_or(0, |s| s.first))
    }

    /// Whether a span's blocks are of the object domain.
    pub fn of_objects(&self, span: u32) -> bool {
        self.objects.get(span as usize).is_some_and(|&o| o != 0)
    }

    /// Where the object begins, a code for [`OBJECT_OFFSETS`]; 0 if there is none.
    #[inline]
    pub fn object_code(&self, id: BlockId) -> u8 {
        (self.state(id) & OBJECT) >> OBJECT_SHIFT
    }

    /// How long the blocks are where an address leads to, if there are any; it may be a free one.
    #[inline]
    pub fn bytes_around(&self, address: usize) -> Option<usize> {
        let place = *self.granules.get(address.wrapping_sub(self.low) / GRANULE)?;
        if place == 0 { None } else { self.spans.get(place as usize).map(|s| s.block_bytes) }
    }

    /// Address of the object in a block, if it has one.
    #[inline]
    pub fn object(&self, id: BlockId, base: usize) -> Option<usize> {
        self.object_in_state(self.state(id), base)
    }

    /// Address of the object in a block of this state, if it has one.
    #[inline]
    pub fn object_in_state(&self, state: u8, base: usize) -> Option<usize> {
        let code = (state & OBJECT) >> OBJECT_SHIFT;
        (code != 0).then(|| base + self.header_bytes + OBJECT_OFFSETS[code as usize])
    }

    /// The object's address from the block's id alone.
    pub fn object_of(&self, id: BlockId) -> Option<usize> {
        self.object(id, self.extent(id).0)
    }

    /// Words found that equal the object's address.
    #[inline]
    pub fn words(&self, id: BlockId) -> u32 {
        self.counts.get(id.0 as usize).map_or(0, |c| c.words)
    }

    /// Words found that equal the object's address but for the low three bits.
    pub fn tagged(&self, id: BlockId) -> u32 {
        self.tagged.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// Notes a word that leads to a member of the object and names it so.
    pub fn add_member_word(&mut self, id: BlockId) {
        if let Some(n) = self.tagged.get_mut(id.0 as usize) {
            *n += 1;
        }
    }

    /// References that containers own.
    #[inline]
    pub fn owned(&self, id: BlockId) -> u32 {
        self.counts.get(id.0 as usize).map_or(0, |c| c.owned)
    }

    /// Notes one more owner of an object.
    #[inline]
    pub fn add_owner(&mut self, id: BlockId) {
        if let Some(n) = self.counts.get_mut(id.0 as usize) {
            n.owned += 1;
        }
    }

    /// Notes that a block has an object, and where it begins: a code for [`OBJECT_OFFSETS`].
    pub fn set_object(&mut self, id: BlockId, code: u8) {
        self.set(id, code << OBJECT_SHIFT);
        if let Some(n) = self.counts.get_mut(id.0 as usize) {
            n.owned = 0;
        }
    }

    /// Notes something of the object model's about a block that has no object, whatever may seem to begin there; 0 is nothing. The last note
    /// stands.
    pub fn set_note(&mut self, id: BlockId, note: u32) {
        self.clear(id, OBJECT | DEAD | QUIET);
        if let Some(n) = self.counts.get_mut(id.0 as usize) {
            n.owned = note;
        }
    }

    /// What was noted about a block without an object.
    #[inline]
    pub fn note(&self, id: BlockId) -> u32 {
        if self.state(id) & OBJECT == 0 { self.owned(id) } else { 0 }
    }

    /// Counts a word that equals a block's object's address. One thread at a time.
    #[inline]
    pub fn count_word(&self, id: BlockId) {
        let cell = self.counts.cell(id.0 as usize);
        if !cell.is_null() {
            // SAFETY: inside the array. Others may read what stands beside it meanwhile.
            let words = unsafe { AtomicU32::from_ptr(&raw mut (*cell).words) };
            words.store(words.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Counts a word that equals it but for the low three bits.
    #[inline]
    pub fn count_tagged(&self, id: BlockId) {
        let cell = self.tagged.cell(id.0 as usize);
        if !cell.is_null() {
            // SAFETY: inside the array.
            unsafe { AtomicU32::from_ptr(cell) }.fetch_add(1, Relaxed);
        }
    }

    /// Adds words that were counted elsewhere.
    pub fn add_words(&mut self, words: &[u32]) {
        for (counts, more) in self.counts.iter_mut().zip(words) {
            counts.words += more;
        }
    }

    /// Clears bits of all blocks.
    pub fn clear_all(&mut self, bits: u8) {
        self.state.iter_mut().for_each(|s| *s &= !bits);
    }

    /// Sets bits while others may do the same. With `alone` nobody does; then it costs less.
    #[inline]
    pub fn set_shared(&self, id: BlockId, bits: u8, alone: bool) -> u8 {
        let cell = self.state.cell(id.0 as usize);
        if cell.is_null() {
            return bits;
        }
        // SAFETY: inside the array.
        let state = unsafe { AtomicU8::from_ptr(cell) };
        if !alone {
            return state.fetch_or(bits, Relaxed);
        }
        let old = state.load(Relaxed);
        state.store(old | bits, Relaxed);
        old
    }
}
