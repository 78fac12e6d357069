//! `spin::mutex` as far as the shim uses it, with the orderings of spin 0.12, so that loom sees each access to the lock and to what it guards.

pub mod mutex {
    //! See [`SpinMutex`].

    use std::ops::{Deref, DerefMut};
    use std::sync::OnceLock;

    use loom::cell::{ConstPtr, MutPtr, UnsafeCell};
    use loom::sync::atomic::{AtomicBool, Ordering::*};

    struct Lock<T> {
        taken: AtomicBool,
        value: UnsafeCell<T>,
    }

    /// A lock of one word around a value.
    pub struct SpinMutex<T> {
        first: std::sync::Mutex<Option<T>>,
        /// Made at the first use: loom's parts know the run they belong to, and the shim's locks are constants.
        lock: OnceLock<Lock<T>>,
    }

    // SAFETY: the value is only reached by who holds the lock, which loom checks.
    unsafe impl<T: Send> Sync for SpinMutex<T> {}

    /// Holds a [`SpinMutex`].
    pub struct SpinMutexGuard<'a, T> {
        lock: &'a Lock<T>,
    }

    impl<T> SpinMutex<T> {
        /// A lock that nobody holds.
        pub const fn new(value: T) -> Self {
            SpinMutex { first: std::sync::Mutex::new(Some(value)), lock: OnceLock::new() }
        }

        fn lock(&self) -> &Lock<T> {
            self.lock.get_or_init(|| {
                let value = self.first.lock().expect("no panic inside").take().expect("once");
                Lock { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
            })
        }

        /// Takes the lock unless somebody holds it.
        pub fn try_lock(&self) -> Option<SpinMutexGuard<'_, T>> {
            let lock = self.lock();
            lock.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok().then(|| SpinMutexGuard { lock })
        }

        /// Whether somebody holds the lock, by a look that orders nothing.
        pub fn is_locked(&self) -> bool {
            self.lock().taken.load(Relaxed)
        }

        /// Releases a lock whose guard is lost.
        ///
        /// # Safety
        /// Somebody holds it, and will do nothing more with it.
        pub unsafe fn force_unlock(&self) {
            self.lock().taken.store(false, Release);
        }
    }

    impl<T> SpinMutexGuard<'_, T> {
        fn read(&self) -> ConstPtr<T> {
            self.lock.value.get()
        }

        fn write(&mut self) -> MutPtr<T> {
            self.lock.value.get_mut()
        }
    }

    impl<T> Deref for SpinMutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            // SAFETY: the lock is held; loom fails the run if somebody writes meanwhile.
            unsafe { &*std::ptr::from_ref(self.read().deref()) }
        }
    }

    impl<T> DerefMut for SpinMutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as above; nobody else reads or writes.
            unsafe { &mut *std::ptr::from_mut(self.write().deref()) }
        }
    }

    impl<T> Drop for SpinMutexGuard<'_, T> {
        fn drop(&mut self) {
            self.lock.taken.store(false, Release);
        }
    }
}
