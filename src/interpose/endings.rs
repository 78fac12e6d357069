//! The ends of a process that run no exit handlers. What the histograms have counted is written before; `exec`, after which the process is another program, is in
//! [`super::exec`]. The end by a signal is nobody's to see.

use core::ffi::c_int;

use crate::audit::histogram::{self, Moment};
use crate::sys::process;

/// POSIX's `_exit`. A child made by `vfork`, which works on its parent's memory, is passed through.
#[unsafe(no_mangle)]
pub extern "C" fn _exit(status: c_int) -> ! {
    histogram::write(Moment::Exit);
    process::exit(status)
}

/// C's `_Exit`, the same.
#[unsafe(no_mangle)]
pub extern "C" fn _Exit(status: c_int) -> ! {
    histogram::write(Moment::Exit);
    process::exit(status)
}
