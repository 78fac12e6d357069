//! What a collection's child tells the program.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use crate::audit::census::Head;
use crate::audit::snapshot::Handoff;
use crate::heap::span::LIVE_WORDS;
use crate::heap::view;
use crate::sys::shared::{Shared, SharedArray};

/// Retained blocks that may be reused: those in `bits` of blocks `64 * word` and following of span `span`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Reusable {
    /// The span's id.
    pub span: u32,
    /// The word of its bits.
    pub word: u32,
    /// The blocks.
    pub bits: u64,
}

/// The shared page. All zero at first.
#[derive(Default)]
pub struct Header {
    /// Entries written.
    reusable: AtomicU32,
    /// Lost objects written.
    heads: AtomicU32,
    /// Written by the child last of all: [`FOUND`], or [`REFUSED`].
    state: AtomicU32,
    /// Bytes of retained blocks that words lead to.
    pub kept_bytes: AtomicU64,
    /// Of a full collection: bytes that are reached.
    pub reached_bytes: AtomicU64,
    /// And bytes that are not.
    pub lost_bytes: AtomicU64,
}

/// The child is at work.
pub const WORKING: u32 = 0;
/// The child has written down what may be reused.
pub const FOUND: u32 = 1;
/// The child could not know it: memory it could not read, a thread it could not see, no memory of its own.
pub const REFUSED: u32 = 2;

/// The shared memory of one collection.
pub struct Exchange {
    /// The page.
    pub header: Shared<Header>,
    entries: SharedArray<Reusable>,
    /// Lost objects of the interpreter; without room in a sweep.
    heads: SharedArray<Head>,
    /// What an audit's child tells; see there.
    pub handoff: Shared<Handoff>,
}

impl Exchange {
    /// Room for all that is retained now, and for so many lost objects. `None` if the system refuses.
    pub fn new(heads_max: usize) -> Option<Exchange> {
        let most = view::span_count() as usize * LIVE_WORDS;
        // SAFETY: zeros are values of all four.
        unsafe {
            Some(Exchange {
                header: Shared::new()?,
                entries: SharedArray::new(most)?,
                heads: SharedArray::new(heads_max)?,
                handoff: Shared::new()?,
            })
        }
    }

    /// In the child: notes blocks that may be reused. What there is no room for stays retained.
    pub fn add(&self, entry: Reusable) {
        let at = self.header.reusable.load(Relaxed);
        if self.entries.set(at as usize, entry) {
            self.header.reusable.store(at + 1, Relaxed);
        }
    }

    /// In the child: notes a lost object.
    pub fn add_head(&self, head: Head) {
        let at = self.header.heads.load(Relaxed);
        if self.heads.set(at as usize, head) {
            self.header.heads.store(at + 1, Relaxed);
        }
    }

    /// Calls `each` with every lost object. Only once the state is [`FOUND`].
    pub fn for_each_head(&self, each: &mut dyn FnMut(Head)) {
        for at in 0..self.header.heads.load(Acquire) as usize {
            if let Some(head) = self.heads.get(at) {
                each(head);
            }
        }
    }

    /// Whether there are any.
    pub fn has_heads(&self) -> bool {
        self.header.heads.load(Acquire) != 0
    }

    /// In the child: says that it is done, and how.
    pub fn finish(&self, state: u32) {
        self.header.state.store(state, Release);
    }

    /// How the child stands.
    pub fn state(&self) -> u32 {
        self.header.state.load(Acquire)
    }

    /// Calls `each` with every entry. Only once the state is [`FOUND`].
    pub fn for_each(&self, each: &mut dyn FnMut(Reusable)) {
        for at in 0..self.header.reusable.load(Acquire) as usize {
            if let Some(entry) = self.entries.get(at) {
                each(entry);
            }
        }
    }
}
