//! The span record: what is known of a run of granules with one owner. Records lie in the shim's own memory, far from the data.
//!
//! Who may touch what:
//! - `base`, `bytes`, `block_bytes`, `reciprocal`, `capacity`, `class`, `domain`, `id` are written under the pool lock before the page
//!   map names the span, and stay until it is released.
//! - `free`, `used`, `next`, `previous` belong to the owner: the thread whose cache address stands in `owner`. While nobody owns
//!   the span, to whoever takes the [`DETACHED`] bit out of `remote`, or to the holder of the abandoned lists' lock if `listed`.
//! - `live` too; others may read it.
//! - `remote` is for everybody.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

use super::Domain;
use crate::sys::memory::GRANULE;

/// The bit in `remote` that says that nobody owns the slab. Taking it out by compare-and-swap is how a slab is adopted.
pub const DETACHED: usize = 1;

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

/// Words of [`Span::live`]: a bit for each of the smallest blocks in a granule.
pub const LIVE_WORDS: usize = GRANULE / 16 / 64;

/// One span. A cache line that the owner uses at each call, one that others write, then a bit per block.
#[repr(C, align(128))]
pub struct Span {
    /// Head of the owner's list of free blocks (see `free_list`).
    pub free: usize,
    /// Address of the first block.
    pub base: usize,
    /// See `size_class::reciprocal`; 0 for a span of one block, which makes every index 0.
    pub reciprocal: u64,
    /// Address of the cache that owns the slab; 0 for none.
    pub owner: AtomicUsize,
    /// Blocks handed out and not yet back on the owner's list; those on the remote list count as handed out.
    pub used: u32,
    /// Blocks ever put on a list: indices from here on have never been seen by anybody.
    pub carved: AtomicU32,
    /// Blocks that fit.
    pub capacity: u32,
    /// This record's index in the table.
    pub id: u32,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Size class of a slab.
    pub class: u8,
    /// The domain, as a number.
    pub domain: u8,
    /// One of [`kind`].
    pub kind: AtomicU8,
    /// The span's memory was zero when it was made (only large spans ask).
    pub zeroed: bool,

    /// Blocks freed by threads that do not own the slab, linked like the free list (0: none), and the bit [`DETACHED`].
    pub remote: AtomicUsize,
    /// Neighbours in the list of a bin, or of the abandoned slabs.
    pub next: *mut Span,
    /// See `next`.
    pub previous: *mut Span,
    /// Bytes of the whole span.
    pub bytes: usize,
    /// On the abandoned list. Changes only under that list's lock.
    pub listed: AtomicBool,
    /// The owner died in another process image (fork): `used` must be counted anew.
    pub torn: AtomicBool,
    /// Bits of the blocks that are retained (see `retained`), once there has been one; stays with the record.
    pub retained_bits: AtomicPtr<[AtomicU64; LIVE_WORDS]>,
    /// How many of the span's blocks are retained.
    pub retained: AtomicU32,
    /// How many things somebody keeps about the span's blocks (see `watch`).
    pub watched: AtomicU32,
    /// Bits of the blocks that have a stamp (see `stamps`), once there has been one; stays with the record.
    pub stamped: AtomicPtr<[AtomicU64; LIVE_WORDS]>,

    /// A bit per block: handed out, and not freed by the owner. Blocks on the remote list still have theirs. Kept here and not in the block: `free` need
    /// not wait for a block that has left the processor's cache, and a snapshot reads what is live without following lists.
    pub live: [AtomicU64; LIVE_WORDS],
}

const _: () = assert!(size_of::<Span>() == 128 + 8 * LIVE_WORDS);
const _: () = assert!(core::mem::offset_of!(Span, remote) == 64 && core::mem::offset_of!(Span, live) == 128);

// SAFETY: who may touch which field is written above.
unsafe impl Sync for Span {}

impl Span {
    /// A record that describes nothing and whose free list is empty.
    pub const fn unused() -> Span {
        Span {
            free: super::free_list::END,
            base: 0,
            reciprocal: 0,
            owner: AtomicUsize::new(0),
            used: 0,
            carved: AtomicU32::new(0),
            capacity: 0,
            id: 0,
            block_bytes: 0,
            class: 0,
            domain: 0,
            kind: AtomicU8::new(kind::UNUSED),
            zeroed: false,
            remote: AtomicUsize::new(0),
            next: core::ptr::null_mut(),
            previous: core::ptr::null_mut(),
            bytes: 0,
            listed: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            retained_bits: AtomicPtr::new(core::ptr::null_mut()),
            retained: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            stamped: AtomicPtr::new(core::ptr::null_mut()),
            live: [const { AtomicU64::new(0) }; LIVE_WORDS],
        }
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
            match chunk_memory(CHUNK * size_of::<Span>()) {
                Some(at) => chunk.store(at as *mut Span, Release),
                None => return core::ptr::null_mut(),
            }
        }
        // SAFETY: the chunk has CHUNK records; this one has not been handed out.
        let span = unsafe { chunk.load(Relaxed).add(id % CHUNK) };
        // SAFETY: as above; the memory is zero, and nobody else has the record.
        unsafe {
            span.write(Span::unused());
            (*span).id = id as u32;
        }
        self.count.store(id as u32 + 1, Release);
        span
    }
}
