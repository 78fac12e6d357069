//! The way in: the caller's registers go onto its stack, where the scan finds them, and the stack counts from there.

use super::{Trigger, snapshot};

unsafe extern "C" {
    fn gcshim_audit_entry(trigger: usize) -> i32;
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl gcshim_audit_entry",
    ".hidden gcshim_audit_entry",
    "gcshim_audit_entry:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rsi, rsp",
    "sub rsp, 8",
    "call {inner}",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    inner = sym audit_from,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl gcshim_audit_entry",
    ".hidden gcshim_audit_entry",
    "gcshim_audit_entry:",
    "stp x29, x30, [sp, #-96]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "mov x1, sp",
    "bl {inner}",
    "ldp x29, x30, [sp], #96",
    "ret",
    inner = sym audit_from,
);

extern "C" fn audit_from(trigger: usize, stack_pointer: usize) -> i32 {
    match snapshot::run(Trigger::from_number(trigger), stack_pointer) {
        Ok(failing) => failing,
        Err(failure) => failure as i32,
    }
}

/// Audits the process as it stands at the caller. Answers the number of failing findings (0 at once for an audit that is not waited for),
/// or a negative [`super::Failure`].
#[inline(never)]
pub fn audit_here(trigger: Trigger) -> i32 {
    // SAFETY: the assembly keeps the C calling convention; any moment outside the heap's own locks will do.
    unsafe { gcshim_audit_entry(trigger as usize) }
}
