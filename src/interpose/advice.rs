//! `madvise`, to learn whether the program keeps memory from its children (see `roots::lent`).

use core::ffi::{c_int, c_void};

use libc::size_t;

use super::next;
use crate::roots::lent;
use crate::sys::memory;

/// The system's `madvise`.
///
/// # Safety
/// As the system's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn madvise(at: *mut c_void, bytes: size_t, advice: c_int) -> c_int {
    if advice == libc::MADV_DONTFORK {
        lent::note();
    }
    // SAFETY: the caller's duty.
    match unsafe { memory::advise(at as usize, bytes, advice) } {
        0 => 0,
        refused => next::fail(-refused as c_int),
    }
}
