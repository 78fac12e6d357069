//! A list of bounded length in a mapping of its own. What was never pushed was never written, so to give the mapping back costs what was used of it, not what there was room for.

use super::{Array, Zeroed};

/// At most so many values as it has room for. Untouched pages cost nothing.
pub struct Vector<T: Zeroed> {
    room: Array<T>,
    len: usize,
}

impl<T: Zeroed> Vector<T> {
    /// An empty list with room for `most` values; `None` when the system has no room for it.
    pub fn new(most: usize) -> Option<Vector<T>> {
        Some(Vector { room: Array::new(most)?, len: 0 })
    }

    /// Adds a value. `false` if there is no room for it.
    #[inline]
    pub fn push(&mut self, value: T) -> bool {
        let Some(slot) = self.room.get_mut(self.len) else { return false };
        *slot = value;
        self.len += 1;
        true
    }
}

impl<T: Zeroed> core::ops::Deref for Vector<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        self.room.get(..self.len).unwrap_or_default()
    }
}

impl<T: Zeroed> core::ops::DerefMut for Vector<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.room.get_mut(..self.len).unwrap_or_default()
    }
}

impl<T: Zeroed> Drop for Vector<T> {
    fn drop(&mut self) {
        self.room.only_written_up_to(self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_stands_there_as_far_as_there_is_room() {
        let mut list = Vector::<u32>::new(3).unwrap();
        assert!(list.is_empty());
        assert_eq!([7, 8, 9, 10].map(|value| list.push(value)), [true, true, true, false]);
        list[1] = 5;
        assert_eq!(list[..], [7, 5, 9]);
    }

    #[test]
    fn what_is_used_again_is_zero_behind_what_was_pushed_too() {
        for _ in 0..100 {
            let mut list = Vector::<u64>::new(100_000).unwrap();
            assert!(list.room.iter().all(|&value| value == 0));
            (0..70_000).step_by(7).for_each(|value| assert!(list.push(value)));
        }
    }
}
