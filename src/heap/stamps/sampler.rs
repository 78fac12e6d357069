//! Which blocks get a stamp, and the clock of allocated bytes.
//!
//! Think of a mark at each byte that is allocated, with probability 1/rate, by chance: a block is stamped if it holds a mark. The distance to the next mark is
//! drawn from the geometric distribution, which has no memory: so a thread's first distance needs no care, and short threads are not left out. A block of
//! `size` bytes is stamped with probability `1 - exp(-size / rate)`; who counts it as the inverse of that has an unbiased estimate of all blocks.

use core::sync::atomic::{AtomicU64, Ordering::*};

use crate::sys::{clock, raw};

/// A thread tells the others of what it allocated once it is this many bytes.
const TELL_BYTES: u64 = 16 << 10;

/// Bytes allocated by all threads since stamping began, less what they have not told yet.
static TOLD_BYTES: AtomicU64 = AtomicU64::new(0);

/// One byte in so many carries a mark. 0 and 1: every block is stamped.
static RATE: AtomicU64 = AtomicU64::new(1);

/// One thread's part. All zero at first.
pub struct Sampler {
    /// Bytes until [`Sampler::due`] must look; negative while it does.
    left: i64,
    /// What `left` was when it was last set.
    granted: i64,
    /// Bytes from the end of what was granted to the next mark.
    beyond: i64,
    /// State of the generator of random numbers; 0 before the first.
    random: u64,
}

/// Sets the rate, in bytes.
pub fn set_rate(rate: u32) {
    RATE.store(u64::from(rate.max(1)), Release);
}

/// The rate, in bytes.
pub fn rate() -> u64 {
    RATE.load(Relaxed)
}

/// Counts a block that is not the thread's to sample: a large one.
pub fn count_large(bytes: u64) {
    TOLD_BYTES.fetch_add(bytes, Relaxed);
}

impl Sampler {
    /// A thread's first state.
    pub const NEW: Sampler = Sampler { left: 0, granted: 0, beyond: 0, random: 0 };

    /// Counts a block of `bytes`; whether it is to be stamped.
    #[inline(always)]
    pub fn count(&mut self, bytes: usize) -> bool {
        self.left -= bytes as i64;
        self.left <= 0 && self.due(bytes)
    }

    #[cold]
    #[inline(never)]
    fn due(&mut self, bytes: usize) -> bool {
        if self.random == 0 {
            let mut seed = [0u8; 8];
            raw::random_bytes(&mut seed);
            self.random = (u64::from_ne_bytes(seed) ^ clock::monotonic_ns() ^ &raw const *self as u64) | 1;
            self.beyond = self.distance();
            self.granted = 0;
            self.left = -(bytes as i64);
        }
        TOLD_BYTES.fetch_add((self.granted - self.left) as u64, Relaxed);
        let distance = self.beyond + self.left;
        let marked = distance <= 0;
        let distance = if marked { self.distance() } else { distance };
        self.granted = distance.min(TELL_BYTES as i64);
        self.left = self.granted;
        self.beyond = distance - self.granted;
        marked
    }

    /// Tells what has not been told: at the end of the thread.
    pub fn tell(&mut self) {
        TOLD_BYTES.fetch_add((self.granted - self.left) as u64, Relaxed);
        self.granted = self.left;
    }

    /// Bytes allocated by the process since stamping began, as far as this thread can know: others may each have allocated [`TELL_BYTES`] more.
    pub fn clock(&self) -> u64 {
        TOLD_BYTES.load(Relaxed) + (self.granted - self.left) as u64
    }

    /// Bytes to the next mark: at least 1, `rate` on average.
    fn distance(&mut self) -> i64 {
        let rate = rate();
        if rate <= 1 {
            return 1;
        }
        // The exponential distribution's inverse: -ln(u) for u in (0, 1], in units of 2^-32.
        let minus_log2 = (64 << 32) - log2(self.next() | 1);
        const LN_2: u128 = 0xb172_17f7_d1cf_79ab;
        let scaled = u128::from(minus_log2) * u128::from(rate) * (LN_2 >> 32);
        (scaled >> 64) as i64 + 1
    }

    /// xorshift64* (Marsaglia, Vigna).
    fn next(&mut self) -> u64 {
        let mut x = self.random;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// log2 of `value`, which is not 0, in units of 2^-32, to 2^-24: the integer part is a bit's place, and each squaring of the rest gives one bit more.
fn log2(value: u64) -> u64 {
    let place = 63 - value.leading_zeros();
    let mut rest = value << (63 - place);
    let mut log = u64::from(place) << 32;
    for bit in (8..32).rev() {
        let square = u128::from(rest) * u128::from(rest);
        if square >> 127 != 0 {
            log |= 1 << bit;
            rest = (square >> 64) as u64;
        } else {
            rest = (square >> 63) as u64;
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for value in [1u64, 2, 3, 7, 1000, 12_345_678_901, u64::MAX / 3, u64::MAX] {
            let exact = (value as f64).log2();
            assert!((log2(value) as f64 / 4_294_967_296.0 - exact).abs() < 1e-6, "{value}");
        }
    }

    /// Mean and variance of a geometric distribution; a sample this large is within 2 % but once in a great many lives of the universe.
    #[test]
    fn distances_are_exponential() {
        set_rate(1000);
        let mut sampler = Sampler { random: 88_172_645_463_325_252, ..Sampler::NEW };
        let n = 400_000;
        let drawn: Vec<f64> = (0..n).map(|_| sampler.distance() as f64).collect();
        let mean = drawn.iter().sum::<f64>() / n as f64;
        let variance = drawn.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / n as f64;
        assert!((mean / 1000.0 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() / 1000.0 - 1.0).abs() < 0.02, "{variance}");
        let beyond_the_mean = drawn.iter().filter(|&&d| d > 1000.0).count() as f64 / n as f64;
        assert!((beyond_the_mean - (-1f64).exp()).abs() < 0.005, "{beyond_the_mean}");

        // Blocks of every size are found as often as the formula says, and the clock counts all bytes.
        for size in [16usize, 1000, 5000, 60_000] {
            let before = sampler.clock();
            let blocks = 200_000;
            let found = (0..blocks).filter(|_| sampler.count(size)).count() as f64;
            let expected = blocks as f64 * (1.0 - (-(size as f64) / 1000.0).exp());
            assert!((found / expected - 1.0).abs() < 0.07, "{size}: {found} of {expected}");
            assert_eq!(sampler.clock() - before, (blocks * size) as u64);
        }
        set_rate(1);
        let mut every = Sampler::NEW;
        assert!((0..100).all(|_| every.count(16)));
    }
}
