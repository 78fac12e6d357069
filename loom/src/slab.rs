//! A slab of a few blocks as the heap has it, reduced to what changes hands.

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};

use crate::handover::{self, Left, PENDING};

/// What the owner alone may touch; loom sees to it that nobody else does.
#[derive(Default)]
pub struct Own {
    /// A bit for each free block.
    pub free: u64,
    /// Blocks that were freed twice.
    pub twice: u64,
}

/// See [`crate::slab`].
pub struct Slab {
    pub owner: AtomicUsize,
    had_remote: AtomicBool,
    pub word: AtomicU64,
    own: UnsafeCell<Own>,
    /// The lock of the list of abandoned slabs.
    list: Mutex<()>,
    /// On that list. Changes under its lock.
    listed: AtomicBool,
}

// SAFETY: `own` is the owner's; loom checks it.
unsafe impl Sync for Slab {}
// SAFETY: as above.
unsafe impl Send for Slab {}

impl Slab {
    /// A slab without a free block, that `owner` owns.
    pub fn full(owner: usize) -> Slab {
        Slab {
            owner: AtomicUsize::new(owner),
            had_remote: AtomicBool::new(false),
            word: AtomicU64::new(0),
            own: UnsafeCell::new(Own::default()),
            list: Mutex::new(()),
            listed: AtomicBool::new(false),
        }
    }

    /// For the owner.
    pub fn own<T>(&self, f: impl FnOnce(&mut Own) -> T) -> T {
        // SAFETY: the calling thread owns the slab; else loom fails the run.
        self.own.with_mut(|own| f(unsafe { &mut *own }))
    }

    fn put(&self, bits: u64) {
        self.own(|own| {
            own.twice |= own.free & bits;
            own.free |= bits;
        });
    }

    /// `remote::collect`.
    pub fn collect(&self) -> bool {
        handover::take_pending(&self.owner, &self.had_remote) && handover::gather(&self.word, |bits| self.put(bits)).is_some()
    }

    /// `remote::free_slow` of a thread that does not own the slab, or may not. `true`: the block has been freed before.
    pub fn free(&self, me: usize, bit: u64) -> bool {
        self.free_with(me, bit, false)
    }

    /// The same where the thread has enough slabs.
    pub fn free_with_enough(&self, me: usize, bit: u64) -> bool {
        self.free_with(me, bit, true)
    }

    fn free_with(&self, me: usize, bit: u64, enough: bool) -> bool {
        loop {
            let owner = self.owner.load(Relaxed);
            if owner & handover::DETACHED == 0 || enough && self.listed.load(Relaxed) {
                return self.leave(me, bit, enough);
            }
            if handover::claim(&self.owner, me) {
                self.adopt(me, bit, enough);
                return false;
            }
        }
    }

    fn leave(&self, me: usize, bit: u64, enough: bool) -> bool {
        match handover::leave(&self.owner, &self.had_remote, &self.listed, &self.word, bit) {
            Left::ForOwner | Left::Listed => false,
            Left::ForAnybody => {
                if handover::claim(&self.owner, me) {
                    self.adopt(me, 0, enough);
                }
                false
            }
            Left::Twice => true,
        }
    }

    /// `remote::adopt`: `me` has claimed the slab, and keeps it unless it is full, or lists it if it has enough.
    fn adopt(&self, me: usize, bit: u64, enough: bool) {
        self.forget();
        self.collect();
        if bit != 0 {
            self.put(bit);
        }
        while self.own(|own| own.free == 0) {
            if handover::detach(&self.owner, me) {
                return;
            }
            self.collect();
        }
        if enough {
            self.add();
        }
    }

    /// `abandoned::forget`.
    fn forget(&self) {
        if self.listed.load(Relaxed) {
            let _list = self.list.lock().unwrap();
            self.listed.store(false, Relaxed);
        }
    }

    /// `abandoned::add`.
    fn add(&self) {
        let _list = self.list.lock().unwrap();
        self.listed.store(true, Relaxed);
        handover::abandon(&self.owner);
    }

    /// `slab::refill` of an owner that has used up the slab: it has more blocks afterwards, or no owner.
    pub fn refill_or_detach(&self, me: usize) {
        while !self.collect() {
            if handover::detach(&self.owner, me) {
                return;
            }
        }
    }

    /// `abandoned::abandon`: the owner's thread ends.
    pub fn end_of_owner(&self) {
        self.collect();
        self.add();
    }

    /// `abandoned::adopt`: a thread without blocks looks for a slab that has some.
    pub fn adopt_listed(&self, me: usize) {
        let list = self.list.lock().unwrap();
        if !self.listed.load(Relaxed) {
            return;
        }
        self.listed.store(false, Relaxed);
        let claimed = handover::claim(&self.owner, me);
        drop(list);
        if claimed {
            self.collect();
            if self.own(|own| own.free == 0) && !handover::detach(&self.owner, me) {
                self.collect();
            }
        }
    }

    /// When all threads are done: every block that was freed is free, or somebody will look for it; and what was seen of blocks that were freed twice.
    pub fn check(&self, freed: u64) -> u64 {
        let left = self.word.load(SeqCst);
        let owner = self.owner.load(SeqCst);
        let found_later = owner & PENDING != 0 && owner & handover::DETACHED == 0 || self.listed.load(SeqCst);
        assert!(left == 0 || found_later, "blocks {left:#b} are forgotten: owner {owner}");
        let twice = self.own(|own| {
            assert_eq!(own.free | left, freed, "free {:#b}, left {left:#b}", own.free);
            own.twice | own.free & left
        });
        assert!(
            owner & handover::DETACHED == 0 || self.listed.load(SeqCst) || self.own(|own| own.free) == 0,
            "free blocks, and no owner"
        );
        twice
    }
}
