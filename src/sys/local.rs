//! Words that one thread changes, and so do the signal handlers that run on it: a change is one instruction without the lock prefix, so that a
//! handler runs before it or after it. Other threads may read.

use core::sync::atomic::AtomicU64;

/// Flips the bits of `mask` in word `index` of `words`.
///
/// # Safety
/// `words` has a word `index`, and only the calling thread and its signal handlers change it.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub unsafe fn flip(words: *const AtomicU64, index: usize, mask: u64) {
    // SAFETY: the instruction reads and writes the word, and nothing else.
    unsafe {
        core::arch::asm!("xor qword ptr [{words} + 8 * {index}], {mask}", words = in(reg) words, index = in(reg) index, mask = in(reg) mask,
            options(nostack));
    }
}

/// Flips the bits of `mask` in word `index` of `words`.
///
/// # Safety
/// `words` has a word `index`.
#[inline(always)]
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn flip(words: *const AtomicU64, index: usize, mask: u64) {
    // SAFETY: the caller's duty.
    unsafe { (*words.add(index)).fetch_xor(mask, core::sync::atomic::Ordering::Relaxed) };
}

/// Puts `new` into word `index` of `words` if `seen` is there; answers whether it was. `kept` stands in a register meanwhile.
///
/// # Safety
/// As for [`flip`].
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub unsafe fn exchange(words: *const AtomicU64, index: usize, seen: u64, new: u64, kept: usize) -> bool {
    // SAFETY: the instructions read and write the word, and nothing else.
    unsafe {
        core::arch::asm!("cmpxchg qword ptr [{words} + 8 * {index}], {new}", "jne {changed}", "/* {kept} */", words = in(reg) words,
            index = in(reg) index, new = in(reg) new, inout("rax") seen => _, kept = in(reg) kept, changed = label { return false }, options(nostack));
    }
    true
}

/// Puts `new` into word `index` of `words` if `seen` is there; answers whether it was. `kept` stands in a register or on the stack meanwhile.
///
/// # Safety
/// As for [`flip`].
#[inline(always)]
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn exchange(words: *const AtomicU64, index: usize, seen: u64, new: u64, kept: usize) -> bool {
    use core::sync::atomic::Ordering::Relaxed;
    // SAFETY: the caller's duty.
    let done = unsafe { (*words.add(index)).compare_exchange(seen, new, Relaxed, Relaxed).is_ok() };
    core::hint::black_box(kept);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering::Relaxed;

    #[test]
    fn bits_are_flipped_in_the_word_that_is_meant() {
        let words = [5, 5, 5].map(AtomicU64::new);
        // SAFETY: the index is in range.
        unsafe { flip(words.as_ptr(), 1, 6) };
        assert_eq!(words.map(|w| w.load(Relaxed)), [5, 3, 5]);
    }
}
