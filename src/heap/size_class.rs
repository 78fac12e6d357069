//! Size classes: 16-byte steps up to 128, then eight steps per doubling, so that a block is at most 12.5 % larger than asked for.

use crate::sys::memory::GRANULE;

/// Requests up to this size come from slabs; larger ones get a span of their own.
pub const MAX_SLAB_SIZE: usize = 64 << 10;

/// Requests up to this size find their slab by one table look-up.
pub const MAX_DIRECT_SIZE: usize = 1024;

/// Number of size classes.
pub const CLASSES: usize = class_of(MAX_SLAB_SIZE) + 1;

/// Length of the table that is indexed by [`direct_index`].
pub const DIRECT: usize = direct_index(MAX_DIRECT_SIZE) + 1;

/// The largest slab, in bytes. Slabs are aligned to their size.
pub const MAX_SLAB_BYTES: usize = 8 * GRANULE;

/// The size class of a request of `size` bytes, at most [`MAX_SLAB_SIZE`].
#[inline(always)]
pub const fn class_of(size: usize) -> usize {
    let last = size.saturating_sub(1);
    if last < 128 {
        last >> 4
    } else {
        let top = usize::BITS as usize - 1 - last.leading_zeros() as usize;
        8 + (top - 7) * 8 + ((last >> (top - 3)) & 7)
    }
}

/// The index of a request of `size` bytes, at most [`MAX_DIRECT_SIZE`], in a table of 16-byte steps.
#[inline(always)]
pub const fn direct_index(size: usize) -> usize {
    (size + 15) >> 4
}

/// Bytes of the blocks of a class.
#[inline]
pub const fn block_bytes(class: usize) -> usize {
    if class < 8 {
        (class + 1) << 4
    } else {
        let top = 7 + (class - 8) / 8;
        (1 << top) + (((class - 8) % 8 + 1) << (top - 3))
    }
}

/// Bytes of the slabs of a class: the least power of two, from a granule up, that holds eight blocks.
#[inline]
pub const fn slab_bytes(class: usize) -> usize {
    let least = (8 * block_bytes(class)).next_power_of_two();
    if least < GRANULE { GRANULE } else { least }
}

/// The class for blocks of at least `size` bytes that all start at multiples of `align` (a power of two, at most a granule); `None`
/// when no slab serves it. Slabs are aligned to a granule, so blocks whose size is a multiple of `align` are aligned too.
pub fn aligned_class(size: usize, align: usize) -> Option<usize> {
    if size > MAX_SLAB_SIZE || align > GRANULE {
        return None;
    }
    // The powers of two are classes, so this looks at no more than eight per doubling up to the alignment.
    (class_of(size)..CLASSES).find(|&class| block_bytes(class) & (align - 1) == 0)
}

/// The factor for exact division by `bytes`: for any 32-bit `n`, the high half of the 128-bit product of `n` and the reciprocal is
/// `n / bytes`, and the low half is less than the reciprocal if and only if `n` is a multiple (Lemire, Kaser, Kurz 2019).
pub const fn reciprocal(bytes: usize) -> u64 {
    u64::MAX / bytes as u64 + 1
}

const _: () = assert!(CLASSES == 80 && DIRECT == 65);
const _: () = assert!(block_bytes(CLASSES - 1) == MAX_SLAB_SIZE && MAX_SLAB_BYTES / MAX_SLAB_SIZE == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_fits_its_class_and_not_the_one_below() {
        for size in 0..=MAX_SLAB_SIZE {
            let class = class_of(size);
            assert!(block_bytes(class) >= size, "{size}");
            assert!(class == 0 || block_bytes(class - 1) < size, "{size}");
            assert!(size < 128 || (block_bytes(class) - size) * 8 <= size + 7, "waste at {size}");
        }
    }

    #[test]
    fn blocks_are_multiples_of_sixteen() {
        assert!((0..CLASSES).all(|c| block_bytes(c) % 16 == 0));
    }

    #[test]
    fn division_by_reciprocal_is_exact_for_every_offset_in_a_slab() {
        for class in 0..CLASSES {
            let (block, c) = (block_bytes(class), reciprocal(block_bytes(class)));
            let step = if block > 4096 { 13 } else { 1 };
            for n in (0..slab_bytes(class)).step_by(step) {
                let product = n as u128 * c as u128;
                assert_eq!((product >> 64) as usize, n / block);
                assert_eq!((product as u64) < c, n % block == 0);
            }
        }
    }

    #[test]
    fn an_aligned_class_is_aligned_and_large_enough() {
        for shift in 4..=16 {
            let align = 1usize << shift;
            for size in [0, 1, 17, 100, 1000, 5000, 40_000, 65_536] {
                let class = aligned_class(size, align).unwrap();
                assert!(block_bytes(class) >= size && block_bytes(class) % align == 0);
            }
        }
        assert!(aligned_class(1, 1 << 17).is_none() && aligned_class(65_537, 16).is_none());
    }
}
