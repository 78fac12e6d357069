//! What makes `malloc` and `free` do more than usual: one byte that both look at, so that the usual case costs one test.

use core::sync::atomic::{AtomicU8, Ordering::*};

/// `free` only remembers (see `retained`).
pub const RETAIN: u8 = 1;

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
