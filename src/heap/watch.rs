//! Blocks about whose end somebody wants to know: what the program attached to them goes with them.
//!
//! Each span counts the things that concern its blocks, so that the end of any other block costs one test, and while there has been no such thing nothing at
//! all: the usual `free` has no test for anything unusual (see `modes`).

use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::page_map;
use super::span::Span;
use crate::heap::modes;

/// What is called when a block ends, with its start and its length; outside all locks of the heap. Stored as an address; 0 for none.
static ON_END: AtomicUsize = AtomicUsize::new(0);

/// What is called when realloc has moved a block, before the old one ends: with the old start and the new one. Stored as an address; 0 for none.
static ON_MOVE: AtomicUsize = AtomicUsize::new(0);

/// From here on `on_end` and `on_move` are called for blocks of spans that are watched.
pub fn start(on_end: fn(usize, usize), on_move: fn(usize, usize)) {
    ON_MOVE.store(on_move as usize, Release);
    ON_END.store(on_end as usize, Release);
    modes::switch_on(modes::WATCH);
}

/// One thing more that concerns the block in which an address lies, if it lies in one. The block is in use.
pub fn add(at: usize) {
    change(at, 1);
}

/// The end of one [`add`], while the block is still what it was.
pub fn remove(at: usize) {
    change(at, 1u32.wrapping_neg());
}

fn change(at: usize, by: u32) {
    // SAFETY: page map entries are records, which live for ever.
    if let Some(span) = unsafe { page_map::span_at(at).as_ref() } {
        span.watched.fetch_add(by, AcqRel);
    }
}

/// Whether anything concerns a block of the span.
///
/// # Safety
/// `span` is null, or came from the page map.
#[inline]
pub unsafe fn is_watched(span: *const Span) -> bool {
    // SAFETY: records live for ever.
    modes::on(modes::WATCH) && unsafe { span.as_ref() }.is_some_and(|span| span.watched.load(Relaxed) != 0)
}

/// The block at `at` ends.
///
/// # Safety
/// `span` came from the page map for `at`.
#[inline]
pub unsafe fn ends(span: *const Span, at: usize) {
    // SAFETY: the caller's duty; only start stores in ON_END, and only functions of this type.
    unsafe {
        if is_watched(span) {
            core::mem::transmute::<usize, fn(usize, usize)>(ON_END.load(Acquire))(at, (*span).block_bytes);
        }
    }
}

/// realloc has copied a block of a span that is watched.
pub fn moves(from: usize, to: usize) {
    // SAFETY: something is watched, so start was called; it alone stores here, and only functions of this type.
    unsafe { core::mem::transmute::<usize, fn(usize, usize)>(ON_MOVE.load(Acquire))(from, to) }
}
