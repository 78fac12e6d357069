//! Which words of memory are near a range of addresses, 64 at a time: the first question of a sweep, which it asks of each word that it reads.
//!
//! Near is what has its high half in common with an address in the range, to within the range: nearly all that is not in it is not near it either, and comparing halves takes, with the vectors that
//! every x86-64 has, two instructions a word and no branch that depends on the data, which would be guessed wrong too often.

/// The high halves of a range of addresses.
#[derive(Clone, Copy)]
pub struct Near {
    /// That of the lowest.
    lowest: u32,
    /// How many there are.
    count: u32,
}

/// Words of which [`Near::among`] answers.
pub const WORDS: usize = 64;

impl Near {
    /// Near the addresses from `low` to below `low + bytes`.
    pub fn new(low: usize, bytes: usize) -> Near {
        let lowest = (low >> 32) as u32;
        Near { lowest, count: if bytes == 0 { 0 } else { ((low + (bytes - 1)) >> 32) as u32 - lowest + 1 } }
    }

    /// The words near the range among those from `start` to `end`, at most [`WORDS`], as bits: a few may be that are not in it, and all that are in it are.
    ///
    /// # Safety
    /// The range is readable and word-aligned.
    #[inline(always)]
    pub unsafe fn among(self, start: usize, end: usize) -> u64 {
        let (mut near, mut at) = (0, start);
        #[cfg(target_arch = "x86_64")]
        while at + FOUR_BYTES <= end {
            // SAFETY: the caller's duty.
            near |= unsafe { self.among_four(at) } << ((at - start) / 8);
            at += FOUR_BYTES;
        }
        while at < end {
            // SAFETY: as above. Volatile: the memory belongs to the program and is typed differently there.
            let word = unsafe { core::ptr::read_volatile(at as *const usize) };
            near |= u64::from(((word >> 32) as u32).wrapping_sub(self.lowest) < self.count) << ((at - start) / 8);
            at += 8;
        }
        near
    }

    /// # Safety
    /// Four words are readable.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn among_four(self, at: usize) -> u64 {
        use core::arch::x86_64::*;
        const HIGH_HALVES: i32 = 0b11_01_11_01;
        // There are only signed comparisons: both sides are moved by half of what there is.
        const MOVED: u32 = 1 << 31;
        // SAFETY: the caller's duty. By hand, since these are the program's words and nothing may be assumed of them.
        unsafe {
            let (first, second): (__m128, __m128);
            core::arch::asm!(
                "movups {0}, [{2}]",
                "movups {1}, [{2} + 16]",
                out(xmm_reg) first, out(xmm_reg) second, in(reg) at, options(nostack, readonly, preserves_flags),
            );
            let halves = _mm_castps_si128(_mm_shuffle_ps::<HIGH_HALVES>(first, second));
            let moved = _mm_sub_epi32(halves, _mm_set1_epi32(self.lowest.wrapping_sub(MOVED) as i32));
            let near = _mm_cmpgt_epi32(_mm_set1_epi32(self.count.wrapping_add(MOVED) as i32), moved);
            _mm_movemask_ps(_mm_castsi128_ps(near)) as u64
        }
    }
}

/// What is compared at a time.
#[cfg(target_arch = "x86_64")]
const FOUR_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_in_a_range_are_near_it_and_those_of_other_halves_are_not() {
        const GIB: usize = 1 << 30;
        for (low, bytes) in
            [(0x7f12_0000_0000, GIB), (0x7f12_c000_0000, 2 * GIB), (0x5555_0000_0000, 9 * GIB), (0x1000, 0), (0, 4 * GIB)]
        {
            let near = Near::new(low, bytes);
            let mut seed = 1u64;
            let words: Vec<usize> = (0..10_000)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let roll = (seed >> 20) as usize;
                    match seed >> 61 {
                        0 => 0,
                        1 => seed as usize,
                        2 => low.wrapping_sub(1),
                        3 => low + bytes,
                        4 => low,
                        5 => low + bytes.saturating_sub(1),
                        _ => low.wrapping_add(roll % (16 * GIB)).wrapping_sub(4 * GIB),
                    }
                })
                .collect();
            for length in [0, 1, 3, 4, 5, 17, 63, 64] {
                for some in words.windows(WORDS).step_by(7).map(|some| &some[..length]) {
                    let start = some.as_ptr() as usize;
                    // SAFETY: words of the test's.
                    let bits = unsafe { near.among(start, start + 8 * length) };
                    for (at, &word) in some.iter().enumerate() {
                        let plain = bytes > 0 && (low >> 32..=(low + bytes - 1) >> 32).contains(&(word >> 32));
                        assert_eq!(bits >> at & 1 != 0, plain, "{word:x} and {low:x}, {bytes:x}");
                        assert!(plain || word.wrapping_sub(low) >= bytes);
                    }
                    assert_eq!(bits.checked_shr(length as u32).unwrap_or(0), 0);
                }
            }
        }
    }
}
