//! Condemned blocks: the program has not freed them, and a full collection thinks that nothing reaches them.
//!
//! They are retained like freed ones, and reused when a sweep has found no word that leads to them either. Until then they stay as they are: what a program had in
//! disguise while the collection looked, it may have found since. So a condemned block is taken back when a sweep finds a word that leads to it, and
//! when the program frees it, moves it or asks for its size.

use core::sync::atomic::Ordering::*;

use super::retained;
use super::slab;
use super::span::{Span, TABLE, kind};
use super::stamps;
use super::view;
use super::watch;
use crate::sys::bits;

/// Retains blocks that the program never freed and nothing reaches: those in `mask` of blocks `64 * word` and following of span `id` that are in use. They stay as
/// they are: whether a word leads to them after all is for a sweep to say.
pub fn condemn(id: u32, word: usize, mask: u64) {
    let Some(span) = view::span(id) else { return };
    let record = TABLE.get(id);
    for bit in bits::set_in(mask) {
        let index = word * 64 + bit as usize;
        let at = span.base + index * span.block_bytes;
        // SAFETY: the span is in use, since one of its blocks, which nothing reaches and nobody can free, is. There is a byte for every index.
        unsafe {
            if retained::is_in_use(at)
                && !retained::given_up()
                && retained::have_row(record)
                && retained::byte(record, index)
                    .compare_exchange(0, retained::RETAINED | retained::CONDEMNED, Relaxed, Relaxed)
                    .is_ok()
            {
                (*record).retaining.store(true, Relaxed);
                stamps::found_unreachable(at);
                watch::ends(record, at);
                retained::tell(span.block_bytes);
            }
        }
    }
}

/// Takes condemned blocks back, which are in use again: those in `mask` of blocks `64 * word` and following of span `id`.
pub fn reprieve(id: u32, word: usize, mask: u64) {
    let Some(span) = view::span(id) else { return };
    for bit in bits::set_in(mask) {
        // SAFETY: blocks of the span, which stays what it is while one of them is retained.
        unsafe { reprieve_at(TABLE.get(id), span.base + (word * 64 + bit as usize) * span.block_bytes) };
    }
}

/// Whether the block at `at` was condemned. It is not any more.
///
/// # Safety
/// `span` came from the page map for `at`, which is the start of a block.
#[cold]
pub unsafe fn reprieve_at(span: *mut Span, at: usize) -> bool {
    // SAFETY: the caller's duty; there is a byte for every index.
    unsafe {
        let index = if (*span).kind.load(Relaxed) == kind::SLAB { slab::index_at(span, at).0 } else { 0 };
        let was = retained::is(span, index)
            && retained::byte(span, index)
                .compare_exchange(retained::RETAINED | retained::CONDEMNED, 0, Relaxed, Relaxed)
                .is_ok();
        if was {
            retained::forget((*span).block_bytes);
        }
        was
    }
}
