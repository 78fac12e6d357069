//! What makes `malloc` and `free` do more than usual: one byte. `free` looks at it, so that the usual case costs one test; `malloc` only on its slow
//! path, which is its only one while there is something to do (see `cache::hide_direct`), so that the usual case costs nothing.

use core::sync::atomic::{AtomicU8, Ordering::*};

/// `free` only remembers (see `retained`).
pub const RETAIN: u8 = 1;

/// `malloc` counts, and blocks get stamps (see `stamps`).
pub const STAMP: u8 = 2;

/// Somebody wants to know when certain blocks end (see `watch`).
pub const WATCH: u8 = 4;

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
    MODES.fetch_or(modes, Release);
}

/// Switches some off.
pub fn switch_off(modes: u8) {
    MODES.fetch_and(!modes, Release);
}
