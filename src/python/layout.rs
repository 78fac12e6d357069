//! Offsets into the interpreter's private structures, per version. `harness/tests/layouts.rs` compares them with the headers of every
//! installed CPython.

/// `PyThreadState.datastack_top` (pycore: cpython/pystate.h), in bytes, followed by `datastack_limit`. Until 3.10 frames are objects and
/// there is no data stack.
pub const fn datastack_top(minor: u8) -> Option<usize> {
    match minor {
        11 => Some(304),
        12 | 13 => Some(240),
        _ => None,
    }
}
