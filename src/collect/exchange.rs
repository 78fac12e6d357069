//! What a collection's child tells the program.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use crate::audit::census::Head;
use crate::audit::child::HEADS_MAX;
use crate::audit::snapshot::Handoff;
use crate::finalizers::table;
use crate::heap::span::LIVE_WORDS;
use crate::heap::view;
use crate::sys::shared::{Shared, SharedArray};
use crate::weakref_hooks::links;

/// Blocks of one span: those in `bits` of blocks `64 * word` and following of span `span`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Some64 {
    /// The span's id.
    pub span: u32,
    /// The word of its bits.
    pub word: u32,
    /// The blocks.
    pub bits: u64,
}

/// Blocks that one sweep can have emptied; the next takes more.
const EMPTIED_MAX: usize = 1 << 20;
/// Blocks that one sweep can have taken back; the others stay as they are.
const REPRIEVED_MAX: usize = 1 << 16;

/// Up to so many entries of a list stay for the next sweep in place.
const KEPT_ENTRIES_MAX: usize = 1 << 16;

/// The shared page. All zero at first.
#[derive(Default)]
pub struct Header {
    /// Written by the child last of all: [`FOUND`], or [`REFUSED`].
    state: AtomicU32,
    /// Bytes of retained blocks that words lead to.
    pub kept_bytes: AtomicU64,
    /// Of a sweep: how long it took to stop the threads and to read roots and blocks in use, ns. The rest of the work grows with what is retained.
    pub reading_ns: AtomicU64,
    /// Of a sweep: bytes of blocks in use.
    pub in_use_bytes: AtomicU64,
    /// Of a full collection: bytes that are reached.
    pub reached_bytes: AtomicU64,
    /// And bytes that are not.
    pub lost_bytes: AtomicU64,
    /// Of the blocks whose finalizer has run: how many are reached.
    pub resurrected: AtomicU64,
}

/// The child is at work.
pub const WORKING: u32 = 0;
/// The child has written down what may be reused.
pub const FOUND: u32 = 1;
/// The child could not know it: memory it could not read, a thread it could not see, no memory of its own.
pub const REFUSED: u32 = 2;

/// A list that the child writes and the program reads.
pub struct List<T: Copy> {
    entries: SharedArray<T>,
    count: Shared<AtomicU32>,
}

impl<T: Copy> List<T> {
    /// Room for so many.
    ///
    /// # Safety
    /// `T` must be valid when all its bytes are zero.
    unsafe fn new(most: usize) -> Option<List<T>> {
        // SAFETY: the caller vouches for T; zero is a count.
        unsafe { Some(List { entries: SharedArray::new(most)?, count: Shared::new()? }) }
    }

    /// In the child: adds an entry. `false` if there is no room for it.
    pub fn add(&self, entry: T) -> bool {
        let at = self.count.load(Relaxed);
        let fits = self.entries.set(at as usize, entry);
        if fits {
            self.count.store(at + 1, Relaxed);
        }
        fits
    }

    /// Calls `each` with every entry. Only once the state is [`FOUND`].
    pub fn for_each(&self, each: &mut dyn FnMut(T)) {
        for at in 0..self.count.load(Acquire) as usize {
            if let Some(entry) = self.entries.get(at) {
                each(entry);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Acquire) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The shared memory of one collection.
pub struct Exchange {
    /// The page.
    pub header: Shared<Header>,
    /// A sweep's: retained blocks that may be reused. A full collection's: blocks in use that are lost. What there is no room for stays.
    pub blocks: List<Some64>,
    /// Kept blocks that the program is to empty, one by one.
    pub emptied: List<Some64>,
    /// Condemned blocks that a word leads to, one by one.
    pub reprieved: List<Some64>,
    /// What only a full collection finds.
    pub full: Option<Full>,
    /// What an audit's child tells; see there.
    pub handoff: Shared<Handoff>,
}

/// What the child of a full collection finds beside lost blocks.
pub struct Full {
    /// Lost objects of the interpreter.
    pub heads: List<Head>,
    /// Links whose referents are lost.
    pub links: List<usize>,
    /// Those referents and what they lead to: lost unless one of the links has been asked for meanwhile.
    pub behind_links: List<Some64>,
    /// Lost blocks with finalizers, in the order in which these are to be run.
    pub finalizers: List<usize>,
}

/// Other threads may attach so many things before they are stopped.
const ATTACHED_MEANWHILE: usize = 1 << 10;

impl Exchange {
    /// For a sweep: room for all that is retained now. `None` if the system refuses.
    pub fn for_sweep() -> Option<Exchange> {
        Exchange::new(None)
    }

    /// For a full collection. `None` if the system refuses.
    pub fn for_full() -> Option<Exchange> {
        // SAFETY: zeros are values of all four.
        let full = unsafe {
            Full {
                heads: List::new(HEADS_MAX)?,
                links: List::new(links::count() + ATTACHED_MEANWHILE)?,
                behind_links: List::new(most_entries())?,
                finalizers: List::new(table::count() + ATTACHED_MEANWHILE)?,
            }
        };
        Exchange::new(Some(full))
    }

    fn new(full: Option<Full>) -> Option<Exchange> {
        // SAFETY: zeros are values of all four.
        unsafe {
            Some(Exchange {
                header: Shared::new()?,
                // Room to grow, so that the next sweep can have it too; untouched pages cost nothing.
                blocks: List::new(most_entries().next_power_of_two())?,
                emptied: List::new(EMPTIED_MAX)?,
                reprieved: List::new(REPRIEVED_MAX)?,
                full,
                handoff: Shared::new()?,
            })
        }
    }

    /// The same exchange for another sweep in place, which no child has seen: to make its mappings anew would take a third of what such a sweep costs at least. `None` if it has
    /// too little room by now, or has taken memory that is better given back.
    pub fn again(mut self) -> Option<Exchange> {
        let small = |count: usize| count <= KEPT_ENTRIES_MAX;
        if self.full.is_some()
            || self.blocks.entries.len() < most_entries()
            || ![self.blocks.len(), self.emptied.len(), self.reprieved.len()].into_iter().all(small)
        {
            return None;
        }
        self.header.wipe();
        self.handoff.wipe();
        for list in [&mut self.blocks, &mut self.emptied, &mut self.reprieved] {
            list.count.wipe();
        }
        Some(self)
    }

    /// In the child: says that it is done, and how.
    pub fn finish(&self, state: u32) {
        self.header.state.store(state, Release);
    }

    /// How the child stands.
    pub fn state(&self) -> u32 {
        self.header.state.load(Acquire)
    }
}

fn most_entries() -> usize {
    view::span_count() as usize * LIVE_WORDS
}
