//! Running finalizers: where the program asks for it, outside all locks, one after the other.

use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::table;
use crate::sys::stop;

/// The thread that runs them, by its thread pointer; 0 for none.
static RUNNER: AtomicUsize = AtomicUsize::new(0);

/// Runs what waits, in its order; so the next begins when the one before has returned, on whatever thread. Answers how many: none if this is asked for by a
/// finalizer, or while another thread is at it, which will run them.
pub fn run_waiting() -> u64 {
    if RUNNER.compare_exchange(0, stop::thread_pointer(), AcqRel, Relaxed).is_err() {
        return 0;
    }
    let mut count = 0;
    while let Some(turn) = table::take_next() {
        // SAFETY: the program gave the function for this block, which is in use: whoever frees it takes it from the table.
        unsafe { (turn.function)(turn.block as *mut c_void, turn.argument as *mut c_void) };
        count += 1;
    }
    RUNNER.store(0, Release);
    count
}

/// In a child made by fork: a thread that was running them is not here, unless it is the one that forked.
pub fn after_fork_in_child() {
    if RUNNER.load(Acquire) != stop::thread_pointer() {
        RUNNER.store(0, Release);
    }
}
