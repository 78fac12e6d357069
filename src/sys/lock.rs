//! Locks with ranks. The order is written once, in [`rank`]; a lock may be taken only while those held have lower ranks.
//!
//! Taking one lock inside another goes through [`Ranked::lock_within`], which compares the two ranks when compiling. Taking a first
//! lock goes through [`Ranked::lock`], which in debug builds looks up in a thread-local set that nothing higher is held.

use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::{raw, tls};

/// The lock order, lowest first.
pub mod rank {
    /// The collector's state: held for a whole step of a collection.
    pub const COLLECTOR: u8 = 0;
    /// A question to the dynamic linker, which answers it with a lock of its own held.
    pub const LINKER: u8 = 1;
    /// The finalizers that the program set.
    pub const FINALIZERS: u8 = 2;
    /// The weak words that the program registered.
    pub const LINKS: u8 = 3;
    /// The list of thread caches.
    pub const CACHES: u8 = 4;
    /// The lists of slabs without an owner.
    pub const ABANDONED: u8 = 5;
    /// Regions, span records, page map updates.
    pub const POOL: u8 = 6;
    /// The shim's own memory.
    pub const META: u8 = 7;
}

/// A spin lock of one rank around a value. The lock is one word of plain memory: a child made by fork or clone inherits its state.
pub struct Ranked<const RANK: u8, T> {
    inner: SpinMutex<T>,
}

/// Holds a [`Ranked`] lock.
pub struct Held<'a, const RANK: u8, T> {
    guard: SpinMutexGuard<'a, T>,
}

impl<const RANK: u8, T> Ranked<RANK, T> {
    /// A lock around `value`, not held.
    pub const fn new(value: T) -> Self {
        Ranked { inner: SpinMutex::new(value) }
    }

    /// Takes the lock, as the first one of the calling thread or with only lower ranks held.
    #[inline]
    pub fn lock(&self) -> Held<'_, RANK, T> {
        note_taken(RANK);
        if let Some(guard) = self.inner.try_lock() {
            return Held { guard };
        }
        Held { guard: self.wait() }
    }

    /// Takes the lock while `outer` is held; that the ranks are in order is checked when compiling.
    #[inline]
    pub fn lock_within<const OUTER: u8, U>(&self, _outer: &Held<'_, OUTER, U>) -> Held<'_, RANK, T> {
        const { assert!(OUTER < RANK, "locks are taken in the order of their ranks") };
        self.lock()
    }

    /// As [`Ranked::lock`], without waiting: `None` if somebody holds it.
    pub fn try_lock(&self) -> Option<Held<'_, RANK, T>> {
        let guard = self.inner.try_lock()?;
        note_taken(RANK);
        Some(Held { guard })
    }

    /// Takes the lock and keeps it beyond the scope, until [`Ranked::release_kept`].
    pub fn lock_and_keep(&self) {
        core::mem::forget(self.lock());
    }

    /// The same without waiting; `false` if somebody (the calling thread perhaps, in a signal handler) holds it.
    pub fn try_lock_and_keep(&self) -> bool {
        let Some(guard) = self.inner.try_lock() else { return false };
        note_taken(RANK);
        core::mem::forget(guard);
        true
    }

    /// Releases what [`Ranked::lock_and_keep`] took.
    ///
    /// # Safety
    /// The lock is held by `lock_and_keep`, by the calling thread or by the thread of which the calling one is the copy in a child.
    pub unsafe fn release_kept(&self) {
        note_released(RANK);
        // SAFETY: the caller's duty.
        unsafe { self.inner.force_unlock() };
    }

    /// Waits for the lock: a short spin, then yields, then short sleeps, so that a holder of lower priority gets to run.
    #[cold]
    fn wait(&self) -> SpinMutexGuard<'_, T> {
        let mut round = 0u32;
        loop {
            match round {
                0..64 => raw::spin_loop(),
                64..512 => raw::yield_now(),
                _ => raw::sleep_ns(50_000),
            }
            round = round.saturating_add(1);
            if !self.inner.is_locked()
                && let Some(guard) = self.inner.try_lock()
            {
                return guard;
            }
        }
    }
}

impl<const RANK: u8, T> core::ops::Deref for Held<'_, RANK, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<const RANK: u8, T> core::ops::DerefMut for Held<'_, RANK, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<const RANK: u8, T> Drop for Held<'_, RANK, T> {
    #[inline]
    fn drop(&mut self) {
        note_released(RANK);
    }
}

#[inline]
fn note_taken(rank: u8) {
    if cfg!(debug_assertions) {
        let held = tls::rank_word();
        assert!(held >> rank == 0, "a lock of rank {rank} is wanted while ranks {held:#b} are held");
        tls::set_rank_word(held | 1 << rank);
    }
}

#[inline]
fn note_released(rank: u8) {
    if cfg!(debug_assertions) {
        tls::set_rank_word(tls::rank_word() & !(1 << rank));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_other_threads() {
        static COUNT: Ranked<1, u64> = Ranked::new(0);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..20_000 {
                        *COUNT.lock() += 1;
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*COUNT.lock(), 80_000);
    }

    #[test]
    fn a_kept_lock_stays_taken_until_released() {
        static LOCK: Ranked<2, ()> = Ranked::new(());
        LOCK.lock_and_keep();
        assert!(LOCK.inner.try_lock().is_none());
        // SAFETY: kept by the line above.
        unsafe { LOCK.release_kept() };
        assert!(LOCK.inner.try_lock().is_some());
    }

    #[test]
    #[should_panic(expected = "is wanted while ranks")]
    #[cfg(debug_assertions)]
    fn ranks_out_of_order_are_noticed() {
        static LOW: Ranked<1, ()> = Ranked::new(());
        static HIGH: Ranked<2, ()> = Ranked::new(());
        let _high = HIGH.lock();
        let _low = LOW.lock();
    }
}
