//! Collections that somebody asks for, and waits for.

use core::sync::atomic::Ordering::*;

use super::cycle::{COLLECTOR, FULL_UNDER_WAY, collects_here, drop_lost_objects, looks_for_what_was_never_freed, totals};
use crate::audit::Failure;
use crate::audit::settings::{Mode, Settings};
use crate::finalizers::run;
use crate::sys::registers;

/// Sweeps, and waits for the result: whether anything was made reusable.
pub(super) fn sweep_now() -> bool {
    collects_here() && registers::call(whole_sweep, 0) != 0
}

extern "C" fn whole_sweep(_: usize, stack_pointer: usize) -> i32 {
    let mut collector = COLLECTOR.lock();
    let before = collector.totals.reused_bytes;
    collector.finish_whatever(stack_pointer);
    collector.sweep(stack_pointer);
    collector.finish_whatever(stack_pointer);
    i32::from(collector.totals.reused_bytes > before)
}

/// Collects all that can be, and waits for it. Answers how many bytes became reusable. In a Python program call it with the GIL; without, lost
/// objects wait for the interpreter.
pub fn collect_all() -> Result<u64, Failure> {
    if !matches!(Settings::get().mode, Mode::Collect | Mode::Quarantine) {
        return Err(Failure::Off);
    }
    if !collects_here() {
        return Err(Failure::Refused);
    }
    let before = totals();
    if looks_for_what_was_never_freed() {
        whole_full();
        if run::run_waiting() > 0 {
            // What they let go of, and their blocks.
            whole_full();
        }
    }
    sweep_now();
    let now = totals();
    let done = now.sweeps > before.sweeps;
    if done { Ok(now.reused_bytes - before.reused_bytes) } else { Err(Failure::GivenUp) }
}

fn whole_full() {
    registers::call(begin_and_finish_full, 0);
    drop_lost_objects();
}

extern "C" fn begin_and_finish_full(_: usize, stack_pointer: usize) -> i32 {
    let mut collector = COLLECTOR.lock();
    collector.finish_whatever(stack_pointer);
    collector.full(stack_pointer);
    collector.finish_whatever(stack_pointer);
    0
}

/// Waits for the full collection under way, if there is one.
pub fn finish_under_way() {
    if collects_here() && FULL_UNDER_WAY.load(Acquire) {
        registers::call(finish_step, 0);
    }
}

extern "C" fn finish_step(_: usize, stack_pointer: usize) -> i32 {
    COLLECTOR.lock().finish_whatever(stack_pointer);
    0
}
