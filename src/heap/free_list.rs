//! The links between free blocks, and the mark of a free block.
//!
//! A free block's first word holds the way to the next one: `next ^ this`, less than the largest slab, its bytes reversed, and then xored
//! with a secret of the process and with the block's own address. So the first five bytes, which an overflow of the block before
//! reaches first, must be zero once decoded, and the others must lead to an address in the slab. Whoever takes a block off the list then
//! checks that it starts where blocks do and is not in use (`Span::live`). A corrupted link can therefore lead to nothing but another free block
//! of the same slab.
//!
//! A list's head is the address of its first block. An address with bit 3 set ends the list: blocks are multiples of 16, so no
//! block has it, and "empty" is one test of the head.
//!
//! While a block is on the list of those freed by other threads, its second word holds a canary, a second secret xored with the address: a
//! thread that frees it once more sees that. The owner clears it when it collects the list. (Blocks freed by the owner are told by
//! their bit in `Span::live`, without a look at the block.)

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::size_class::MAX_SLAB_BYTES;
use crate::sys::raw;

/// In an address: the end of a list, no block.
pub const END: usize = 8;

/// Bits that a step from one block of a slab to another, or to the end, can have.
const STEP_BITS: usize = (MAX_SLAB_BYTES - 1) & !7;

static LINK_SECRET: AtomicUsize = AtomicUsize::new(0);
static CANARY_SECRET: AtomicUsize = AtomicUsize::new(0);

/// Draws the secrets. Before the first block is handed out, and only then.
pub fn draw_secrets() {
    let mut bytes = [0u8; 16];
    if !raw::random_bytes(&mut bytes) {
        // Early at boot, or a sandbox: address space randomisation and the clock are left.
        let seed = (raw::coarse_now_ns() ^ (&raw const bytes as u64) << 20 ^ (draw_secrets as *const () as u64)) as u128;
        bytes = (seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_ne_bytes();
    }
    let both = u128::from_ne_bytes(bytes);
    LINK_SECRET.store(both as usize, Relaxed);
    CANARY_SECRET.store((both >> 64) as usize | 1, Relaxed);
}

/// The word that stands in free block `at` whose successor is `next` (a block of the same slab, or an end).
#[inline(always)]
pub fn encode(at: usize, next: usize) -> usize {
    let step = at ^ next;
    debug_assert!(step & !STEP_BITS == 0);
    step.swap_bytes() ^ LINK_SECRET.load(Relaxed) ^ at
}

/// The successor of free block `at`, read from its first word: an address in the slab, if `at` is. `None` if the word leads elsewhere.
#[inline(always)]
pub fn decode(at: usize, word: usize) -> Option<usize> {
    let step = (word ^ LINK_SECRET.load(Relaxed) ^ at).swap_bytes();
    if step & !STEP_BITS != 0 {
        return None;
    }
    Some(at ^ step)
}

/// The second word of block `at` while it is on a remote list.
#[inline(always)]
pub fn canary(at: usize) -> usize {
    CANARY_SECRET.load(Relaxed) ^ at
}

/// Whether block `at` carries the mark of a block freed by another thread and not yet collected.
///
/// # Safety
/// `at` is a readable block.
#[inline(always)]
pub unsafe fn has_canary(at: usize) -> bool {
    // SAFETY: a block has two words.
    unsafe { (at as *const usize).add(1).read() == canary(at) }
}

/// Puts the mark on block `at`, or takes it off.
///
/// # Safety
/// `at` is a block of ours that nobody uses.
#[inline(always)]
pub unsafe fn mark(at: usize, on: bool) {
    // SAFETY: a block has two words.
    unsafe { (at as *mut usize).add(1).write(if on { canary(at) } else { 0 }) };
}

/// Whether `head` names no block.
#[inline(always)]
pub fn is_end(head: usize) -> bool {
    head & END != 0
}

/// Writes into free block `at` that `next` follows.
///
/// # Safety
/// `at` is a block of ours that nobody uses, and `next` is as for [`encode`].
#[inline(always)]
pub unsafe fn set_next(at: usize, next: usize) {
    // SAFETY: a block has at least 16 bytes and belongs to the caller.
    unsafe {
        (at as *mut usize).write(encode(at, next));
    }
}

/// The successor of free block `at`; `None` if its link is corrupted.
///
/// # Safety
/// `at` is a readable block.
#[inline(always)]
pub unsafe fn next(at: usize) -> Option<usize> {
    // SAFETY: the caller's duty.
    decode(at, unsafe { (at as *const usize).read() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_comes_back_and_a_changed_one_cannot_leave_the_slab() {
        crate::heap::cache::mine_or_new();
        let slab = 0x7f12_3458_0000usize;
        for (at, to) in [(slab, slab + 48), (slab + 0x7fff0, slab), (slab + 96, slab | END), (slab + 16, (slab + 16) | END)] {
            let word = encode(at, to);
            assert_eq!(decode(at, word), Some(to));
            for bits in 1..=255usize {
                for byte in 0..5 {
                    assert_eq!(decode(at, word ^ bits << (8 * byte)), None, "byte {byte} ^ {bits}");
                }
                for byte in 5..8 {
                    let lands = decode(at, word ^ bits << (8 * byte));
                    assert!(lands.is_none_or(|a| a >> 19 == at >> 19 && a % 8 == 0), "byte {byte} ^ {bits}");
                }
            }
            assert_eq!(decode(at ^ 16, word), None);
        }
    }

    #[test]
    fn plain_values_are_no_links() {
        crate::heap::cache::mine_or_new();
        let at = 0x7f12_3458_0040usize;
        for word in [0, 1, usize::MAX, at, at + 48, 0x4141_4141_4141_4141] {
            assert_eq!(decode(at, word), None);
        }
    }
}
