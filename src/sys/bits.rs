//! The bits of a word, one by one.

/// The places of the bits that are set, the lowest first.
#[inline(always)]
pub fn set_in(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let place = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (place < u64::BITS).then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::set_in;

    #[test]
    fn each_bit_comes_once_and_in_order() {
        assert_eq!(set_in(0).count(), 0);
        assert_eq!(set_in(1 << 63 | 0b1011).collect::<Vec<_>>(), [0, 1, 3, 63]);
        assert_eq!(set_in(u64::MAX).collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
    }
}
