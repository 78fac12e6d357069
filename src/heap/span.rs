//! The span record: what is known of a run of granules with one owner. Records lie in the shim's own memory, far from the data.
//!
//! Which blocks of a slab are free is written here, a bit each, and nowhere else: nothing of the heap stands in a block. So `malloc` and `free` do
//! not wait for a block that has left the processor's cache, what a program writes into free blocks steers nothing, and a snapshot sees at each
//! instant, wherever threads stand, exactly what is handed out: a block changes hands by one store.
//!
//! Who may touch what:
//! - `base`, `bytes`, `block_bytes`, `reciprocal`, `capacity`, `class`, `domain`, `id` are written under the pool lock before the page
//!   map names the span, and stay until it is released.
//! - `free`, `cursor`, `witness`, `carved`, `freeable`, `ready`, `next`, `previous` belong to the owner: the thread whose cache word stands in `owner`. While
//!   nobody owns the span, to whoever takes [`DETACHED`] out of `owner`, or to the holder of the abandoned lists' lock if
//!   `listed`. Others may read `free` and `carved`, and make `freeable` 0.
//! - `owner`, `remote_free` and `had_remote` are for everybody.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

use super::Domain;
use super::modes;
use crate::sys::memory::GRANULE;

/// In [`Span::owner`]: no thread's cache; what is no slab, or a slab in the hands of a thread without a cache.
pub const NOBODY: usize = 4;

/// What a record describes now.
pub mod kind {
    /// Nothing: the record waits to be used again.
    pub const UNUSED: u8 = 0;
    /// A span cut into equal blocks.
    pub const SLAB: u8 = 1;
    /// One block in granules of a region.
    pub const LARGE: u8 = 2;
    /// One block in a mapping of its own.
    pub const HUGE: u8 = 3;
}

/// Words of [`Span::free`]: a bit for each of the smallest blocks in a granule.
pub const LIVE_WORDS: usize = GRANULE / 16 / 64;

/// The first blocks of words of bits lie at multiples of this: 64 of the smallest blocks.
pub const WORD_ALIGN: usize = 64 * 16;

/// A bit per block of a slab.
pub type Bits = [AtomicU64; LIVE_WORDS];

/// One span: a bit per block, a cache line with all else that the usual `malloc` and `free` look at, and one with the rest. The first of the two lines changes when the
/// owner does, and when the owner goes on to another word of bits; threads that free what is not theirs read it.
#[repr(C, align(128))]
pub struct Span {
    /// A bit per block: carved, not handed out, and the owner knows.
    pub free: Bits,

    /// Address of the first block.
    pub base: usize,
    /// See `size_class::reciprocal`; 0 for a span of one block, which makes every index 0.
    pub reciprocal: u64,
    /// The cache word (`cache::me`) of the thread that owns the slab, or [`NOBODY`], or [`DETACHED`]; and the bit [`PENDING`].
    pub owner: AtomicUsize,
    /// Where blocks are taken from: the address of the first block of a word of `free`, and in its lowest bits, which are 0 otherwise, the word's number. In one, because a
    /// signal handler may move it at any time.
    pub cursor: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Blocks that could ever be handed out: indices from here on have never been seen by anybody.
    pub carved: AtomicU32,
    /// As `carved`, or 0: the usual `free` leaves the slab's blocks to the slow one (see `modes`).
    pub freeable: AtomicU32,
    /// This record's index in the table.
    pub id: u32,
    /// Size class of a slab.
    pub class: u8,
    /// The domain, as a number.
    pub domain: u8,
    /// One of [`kind`].
    pub kind: AtomicU8,
    /// What is handed out is zero: a span of one block that was made of zero memory, or a slab whose blocks have been wiped from the first.
    pub zeroed: bool,
    /// Bytes of a block that are wiped when it is handed out: all, or none (see `wiping`).
    pub wiped_bytes: AtomicU32,
    /// As `carved`, but set after the blocks' bits are: a snapshot amid carving looks at this.
    pub ready: AtomicU32,

    /// A bit per block: freed by a thread that does not own the slab, and not gathered yet. Stays with the record.
    pub remote_free: *const Bits,
    /// Blocks from this index on are zero: they have never been handed out. Kept while blocks are wiped.
    pub untouched: AtomicU16,
    /// Blocks that fit.
    pub capacity: u16,
    /// How many things somebody keeps about the span's blocks (see `watch`).
    pub watched: AtomicU32,
    /// Neighbours in the list of a bin, or of the abandoned slabs.
    pub next: *mut Span,
    /// See `next`.
    pub previous: *mut Span,
    /// Bytes of the whole span.
    pub bytes: usize,
    /// A byte per block, 1 if it is retained (see `retained`), once there has been one; stays with the record while there are enough.
    pub retained: AtomicPtr<AtomicU8>,
    /// Bits of the blocks that have a stamp (see `stamps`), once there has been one; stays with the record.
    pub stamped: AtomicPtr<Bits>,
    /// A word of `free` whose blocks were not all free when [`slab::retire`](super::slab::retire) last looked.
    pub witness: u8,
    /// There are `1 << retained_shift` bytes at `retained`, if there are any.
    pub retained_shift: u8,
    /// On the abandoned list. Changes only under that list's lock.
    pub listed: AtomicBool,
    /// The owner died in another process image (fork), perhaps amid carving.
    pub torn: AtomicBool,
    /// A bit in `remote_free` may be set.
    pub had_remote: AtomicBool,
    /// [`slab::refill`](super::slab::refill) found the slab full when it last looked.
    pub found_full: bool,
    /// A byte at `retained` may be set.
    pub retaining: AtomicBool,
}

const _: () = assert!(size_of::<Span>() == 128 + 8 * LIVE_WORDS);
const _: () = assert!(core::mem::offset_of!(Span, base) % 64 == 0 && core::mem::offset_of!(Span, remote_free) % 64 == 0);
// Words of bits begin at multiples of this, so their numbers fit under their addresses.
const _: () = assert!(
    LIVE_WORDS <= 256 && LIVE_WORDS <= WORD_ALIGN && GRANULE.is_multiple_of(WORD_ALIGN) && 64 * LIVE_WORDS < u16::MAX as usize
);

// SAFETY: who may touch which field is written above.
unsafe impl Sync for Span {}

impl Span {
    /// A record that describes nothing and has no free block.
    pub const fn unused() -> Span {
        Span {
            free: [const { AtomicU64::new(0) }; LIVE_WORDS],
            base: 0,
            reciprocal: 0,
            owner: AtomicUsize::new(NOBODY),
            cursor: 0,
            block_bytes: 0,
            carved: AtomicU32::new(0),
            freeable: AtomicU32::new(0),
            id: 0,
            class: 0,
            domain: 0,
            kind: AtomicU8::new(kind::UNUSED),
            zeroed: false,
            wiped_bytes: AtomicU32::new(0),
            ready: AtomicU32::new(0),
            remote_free: core::ptr::null(),
            untouched: AtomicU16::new(0),
            capacity: 0,
            witness: 0,
            watched: AtomicU32::new(0),
            next: core::ptr::null_mut(),
            previous: core::ptr::null_mut(),
            bytes: 0,
            retained: AtomicPtr::new(core::ptr::null_mut()),
            retained_shift: 0,
            stamped: AtomicPtr::new(core::ptr::null_mut()),
            listed: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            had_remote: AtomicBool::new(false),
            found_full: false,
            retaining: AtomicBool::new(false),
        }
    }

    /// Makes an unused record describe a span, but for what only slabs have and for `kind`, which the caller stores last. `owner` may get the bit [`PENDING`] meanwhile from a
    /// thread that freed a block of the slab that the record described before.
    pub fn describe(&mut self, base: usize, bytes: usize) {
        let words = (*self.carved.get_mut() as usize).div_ceil(64);
        self.free.iter().take(words).for_each(|word| word.store(0, Relaxed));
        self.owner.store(NOBODY, Relaxed);
        (self.base, self.bytes) = (base, bytes);
        (self.reciprocal, self.block_bytes, self.capacity) = (0, 0, 0);
        (self.class, self.domain, self.zeroed) = (0, 0, false);
        (self.cursor, self.witness, self.found_full) = (base, 0, false);
        self.set_carved(0);
        (self.next, self.previous) = (core::ptr::null_mut(), core::ptr::null_mut());
        self.wiped_bytes.store(0, Relaxed);
        self.retaining.store(false, Relaxed);
        self.watched.store(0, Relaxed);
        self.listed.store(false, Relaxed);
        self.torn.store(false, Relaxed);
        self.had_remote.store(false, Relaxed);
    }

    /// Sets `carved` and `ready`.
    pub fn set_carved(&self, count: u32) {
        self.carved.store(count, Relaxed);
        self.ready.store(count, Relaxed);
        modes::set_freeable(self);
    }

    /// The number of the word of `free` that a cursor names.
    #[inline(always)]
    pub fn word_of(cursor: usize) -> usize {
        usize::from(cursor as u8)
    }

    /// Has blocks taken from word `at` of `free`.
    pub fn set_cursor(&mut self, at: usize) {
        self.cursor = self.base + at * 64 * self.block_bytes + at;
    }

    /// Words of the bits that blocks of this slab have.
    pub fn words(&self) -> usize {
        (self.capacity as usize).div_ceil(64)
    }

    /// The domain that the span's blocks belong to.
    pub fn domain(&self) -> Domain {
        if self.domain == Domain::Object as u8 { Domain::Object } else { Domain::Raw }
    }
}

/// Records per chunk of the table.
const CHUNK: usize = 4096;
/// Chunks: 64 Mi spans, which is 4 TiB of the smallest.
const CHUNKS: usize = 16384;

/// All records, by id. Chunks never move and are never given back, so a record may be looked at at any time.
pub struct Table {
    chunks: [AtomicPtr<Span>; CHUNKS],
    count: AtomicU32,
}

/// The table of all span records.
pub static TABLE: Table = Table { chunks: [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS], count: AtomicU32::new(0) };

impl Table {
    /// Ids run from 0 to below this.
    pub fn count(&self) -> u32 {
        self.count.load(Acquire)
    }

    /// The record `id`; null if there is none yet.
    #[inline]
    pub fn get(&self, id: u32) -> *mut Span {
        let id = id as usize;
        match self.chunks.get(id / CHUNK) {
            Some(chunk) if id < self.count.load(Acquire) as usize => {
                // SAFETY: chunks below count are mapped and hold CHUNK records.
                unsafe { chunk.load(Acquire).add(id % CHUNK) }
            }
            _ => core::ptr::null_mut(),
        }
    }

    /// Adds one record; `chunk_memory` maps memory for [`CHUNK`] more of them. Only under the pool lock. Null when out of memory.
    pub fn grow(&self, chunk_memory: impl FnOnce(usize) -> Option<usize>) -> *mut Span {
        let id = self.count.load(Relaxed) as usize;
        let Some(chunk) = self.chunks.get(id / CHUNK) else {
            return core::ptr::null_mut();
        };
        if chunk.load(Relaxed).is_null() {
            match chunk_memory(CHUNK * (size_of::<Span>() + size_of::<Bits>())) {
                Some(at) => chunk.store(at as *mut Span, Release),
                None => return core::ptr::null_mut(),
            }
        }
        // SAFETY: the chunk has CHUNK records; this one has not been handed out.
        let span = unsafe { chunk.load(Relaxed).add(id % CHUNK) };
        // SAFETY: as above; behind the records there are as many bits for remote frees; the memory is zero, and nobody else has the record.
        unsafe {
            span.write(Span::unused());
            (*span).id = id as u32;
            (*span).remote_free = chunk.load(Relaxed).add(CHUNK).cast::<Bits>().add(id % CHUNK);
        }
        self.count.store(id as u32 + 1, Release);
        span
    }
}
