//! Memory shared between the program and its snapshot child: how results come back. Never a root: the mappings are not private.

use core::sync::atomic::{AtomicU32, Ordering};

use super::raw::syscall6;

/// A page shared between the program and its snapshot child.
pub struct Shared<T: 'static>(*mut T);

// SAFETY: who has it has shared access to a T, as by a reference.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T: Sync> Shared<T> {
    /// Maps zeroed memory for one `T`, of which all-zero must be a valid value; `None` if the system refuses.
    ///
    /// # Safety
    /// `T` must be valid when all its bytes are zero.
    pub unsafe fn new() -> Option<Shared<T>> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let p = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        (p != libc::MAP_FAILED).then_some(Shared(p.cast()))
    }

    /// Makes it zero again, when no child has it any more.
    pub fn wipe(&mut self) {
        // SAFETY: the mapping made in new; zero is valid, as its caller vouched for. Borrowed for writing.
        unsafe { self.0.write_bytes(0, 1) };
    }
}

/// Waits until a word in shared memory is no longer 0, or `timeout_ns` (less than a second), or for no reason.
pub fn wait_while_zero(word: &AtomicU32, timeout_ns: u32) {
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: i64::from(timeout_ns) };
    // SAFETY: both outlive the call. Not a private futex: another process wakes.
    unsafe { syscall6(libc::SYS_futex, word.as_ptr() as usize, libc::FUTEX_WAIT as usize, 0, &raw const timeout as usize, 0, 0) };
}

/// Makes a word in shared memory 1, and wakes who waits for it.
pub fn set_and_wake(word: &AtomicU32) {
    word.store(1, Ordering::Release);
    // SAFETY: the word outlives the call.
    unsafe { syscall6(libc::SYS_futex, word.as_ptr() as usize, libc::FUTEX_WAKE as usize, i32::MAX as usize, 0, 0, 0) };
}

impl<T> core::ops::Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: mapped in new, page-aligned, zeroed (its caller vouched for T), not unmapped before drop.
        unsafe { &*self.0 }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in new, with the same length; no reference outlives self.
        unsafe { libc::munmap(self.0.cast(), size_of::<T>()) };
    }
}

/// As [`Shared`], `len` values of `T` to which the child may write anywhere. Untouched pages cost nothing.
pub struct SharedArray<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: an array owns its memory as a Vec does.
unsafe impl<T: Send> Send for SharedArray<T> {}

impl<T: Copy> SharedArray<T> {
    /// Maps `len` zeroed values, which must be valid for `T`; `None` if the system refuses.
    ///
    /// # Safety
    /// `T` must be valid when all its bytes are zero.
    pub unsafe fn new(len: usize) -> Option<SharedArray<T>> {
        let bytes = len.max(1).checked_mul(size_of::<T>())?;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let p = unsafe { libc::mmap(core::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        (p != libc::MAP_FAILED).then_some(SharedArray { start: p.cast(), len })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `at`; `None` beyond the end.
    pub fn get(&self, at: usize) -> Option<T> {
        // SAFETY: in the mapping. Volatile: another process writes.
        (at < self.len).then(|| unsafe { self.start.add(at).read_volatile() })
    }

    /// Stores a value; `false` beyond the end.
    pub fn set(&self, at: usize, value: T) -> bool {
        if at >= self.len {
            return false;
        }
        // SAFETY: in the mapping.
        unsafe { self.start.add(at).write_volatile(value) };
        true
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in new, with the same length.
        unsafe { libc::munmap(self.start.cast(), self.len.max(1) * size_of::<T>()) };
    }
}
