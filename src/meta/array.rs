//! A fixed-length array in a mapping of its own, for tables whose length is known only at run time.

use core::marker::PhantomData;

/// Types for which memory full of zero bytes is a valid value, and which need no drop.
///
/// # Safety
/// All-zero bytes must be a valid value of the type.
pub unsafe trait Zeroed: Copy {}

macro_rules! zeroed {
    ($($t:ty),*) => { $(
        // SAFETY: zero is a value of every integer type.
        unsafe impl Zeroed for $t {}
    )* };
}
zeroed!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
// SAFETY: a pair, and an array, of values that may be zero may be zero.
unsafe impl<A: Zeroed, B: Zeroed> Zeroed for (A, B) {}
// SAFETY: as above.
unsafe impl<A: Zeroed, const N: usize> Zeroed for [A; N] {}

/// `len` values of `T`, zero at first, in a guarded anonymous mapping. Untouched pages cost nothing. Unmapped on drop.
pub struct Array<T: Zeroed> {
    start: *mut T,
    len: usize,
    /// Values from here on were never written.
    written: usize,
    marker: PhantomData<T>,
}

// SAFETY: an Array owns its memory as a Vec does.
unsafe impl<T: Zeroed + Send> Send for Array<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Zeroed + Sync> Sync for Array<T> {}

impl<T: Zeroed> Array<T> {
    /// An array of `len` zeros; `None` when the system has no room for it.
    pub fn new(len: usize) -> Option<Array<T>> {
        const { assert!(align_of::<T>() <= crate::sys::memory::PAGE) };
        let bytes = len.checked_mul(size_of::<T>())?.max(1);
        let start = super::reserve(bytes);
        (!start.is_null()).then_some(Array { start: start.cast(), len, written: len, marker: PhantomData })
    }

    /// Says that only the first `len` values were ever written, so that not all has to be wiped when the mapping is used again.
    pub(super) fn only_written_up_to(&mut self, len: usize) {
        self.written = len.min(self.len);
    }

    /// Where a value stands, for those who share it by atomic access; null beyond the end.
    #[inline]
    pub fn cell(&self, at: usize) -> *mut T {
        // SAFETY: below len, so inside the mapping.
        if at < self.len { unsafe { self.start.add(at) } } else { core::ptr::null_mut() }
    }

    /// All values.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: start points to len values, zeroed when mapped, which is valid for T, and lives as long as self.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }

    /// All values, to be changed.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above, and self is borrowed for writing.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T: Zeroed> core::ops::Deref for Array<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Zeroed> core::ops::DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T: Zeroed> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: made by reserve in new, and nothing borrows it any more.
        unsafe { super::release_written(self.start.cast(), self.written * size_of::<T>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_starts_as_zeros_and_keeps_what_is_set() {
        let mut a = Array::<u32>::new(100_000).unwrap();
        assert!(a.as_slice().iter().all(|&v| v == 0));
        a[99_999] = 7;
        assert_eq!((a.get(99_999), a.get(99_998), a.get(100_000)), (Some(&7), Some(&0), None));
        assert_eq!(a.len(), 100_000);
    }

    #[test]
    fn an_array_too_large_is_refused() {
        assert!(Array::<u64>::new(usize::MAX / 4).is_none());
        assert!(Array::<u64>::new(1 << 58).is_none());
    }

    #[test]
    fn an_empty_array_is_fine() {
        let a = Array::<u64>::new(0).unwrap();
        assert!(a.is_empty() && a.get(0).is_none());
    }
}
