//! What makes `malloc` and `free` do more than usual: one byte. Both look at it only on their slow paths, which are their only ones while there is something to do (see
//! `cache::hide_direct`, and `Span::freeable`), so that the usual case costs nothing.

use core::sync::atomic::{AtomicU8, Ordering::*, fence};

use super::Domain;
use super::size_class;
use super::span::{Span, TABLE};

/// `free` only remembers (see `retained`).
pub const RETAIN: u8 = 1;

/// `malloc` counts, and blocks get stamps (see `stamps`).
pub const STAMP: u8 = 2;

/// Somebody wants to know when certain blocks end (see `watch`).
pub const WATCH: u8 = 4;

/// `malloc` notes the stack that it is called on, and so does `free` where blocks are retained (see `stacks`).
pub const STACKS: u8 = 8;

/// Blocks of raw memory have room for a byte more than is asked for: a pointer to what is one behind the last byte, which C allows and may be all that a program keeps (PHP
/// does), then lies in the block.
pub const ROOM: u8 = 16;

/// `malloc` has something to do for each block: its fast path finds no slab.
pub const BIRTHS: u8 = STAMP | STACKS;

static MODES: AtomicU8 = AtomicU8::new(0);

/// Whether there is anything unusual to do.
#[inline(always)]
pub fn any() -> bool {
    MODES.load(Relaxed) != 0
}

/// Whether one of these is on.
#[inline(always)]
pub fn on(modes: u8) -> bool {
    MODES.load(Relaxed) & modes != 0
}

/// Switches some on. Blocks handed out before are treated the same from here on.
pub fn switch_on(modes: u8) {
    MODES.fetch_or(modes, SeqCst);
    // Either a thread that carves blocks meanwhile sees the mode, or this sees what it carved.
    fence(SeqCst);
    for id in 0..TABLE.count() {
        // SAFETY: records live for ever.
        unsafe { (*TABLE.get(id)).freeable.store(0, Relaxed) };
    }
}

/// Lets the usual `free` have a slab's blocks that have been carved, unless it has more to do.
pub fn set_freeable(span: &Span) {
    span.freeable.store(span.carved.load(Relaxed), Relaxed);
    fence(SeqCst);
    if any() {
        span.freeable.store(0, Relaxed);
    }
}

/// Whether requests of this domain never come by the table that is indexed by sizes: there is something to note of each block, or its size is not what was asked for.
pub fn hides_direct(domain: Domain) -> bool {
    on(BIRTHS) || on(ROOM) && domain == Domain::Raw
}

/// Bytes that are looked for when so many are asked for (see [`ROOM`]).
pub fn with_room(size: usize, domain: Domain) -> usize {
    if on(ROOM) && domain == Domain::Raw { size.saturating_add(1) } else { size }
}

/// Bytes of the block that a request for `size` bytes of raw memory gets, which with its room is at most [`size_class::MAX_SLAB_SIZE`].
pub fn raw_block_bytes(size: usize) -> usize {
    size_class::block_bytes(size_class::class_of(with_room(size, Domain::Raw)))
}

/// Switches some off.
pub fn switch_off(modes: u8) {
    MODES.fetch_and(!modes, Release);
}
