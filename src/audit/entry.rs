//! The way in: the caller's registers go onto its stack, where the scan finds them, and the stack counts from there.

use super::histogram::{self, Moment};
use super::{Trigger, snapshot};
use crate::sys::registers;

extern "C" fn audit_from(trigger: usize, stack_pointer: usize) -> i32 {
    match snapshot::run(Trigger::from_number(trigger), stack_pointer) {
        Ok(failing) => failing,
        Err(failure) => failure as i32,
    }
}

/// Audits the process as it stands at the caller, anywhere outside the heap's own locks. Answers the number of failing findings (0 at once for an
/// audit that is not waited for), or a negative [`super::Failure`].
pub fn audit_here(trigger: Trigger) -> i32 {
    if trigger != Trigger::Exit {
        histogram::write(Moment::Audit);
    }
    registers::call(audit_from, trigger as usize)
}
