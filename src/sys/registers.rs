//! Calling with the caller's registers on its stack, where a scan finds them.

/// What is called: the argument, and the stack pointer from which on everything is the caller's.
pub type Function = extern "C" fn(usize, usize) -> i32;

unsafe extern "C" {
    fn gcshim_with_registers(function: Function, argument: usize) -> i32;
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl gcshim_with_registers",
    ".hidden gcshim_with_registers",
    "gcshim_with_registers:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rsp",
    "sub rsp, 8",
    "call rax",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl gcshim_with_registers",
    ".hidden gcshim_with_registers",
    "gcshim_with_registers:",
    "stp x29, x30, [sp, #-96]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "mov x9, x0",
    "mov x0, x1",
    "mov x1, sp",
    "blr x9",
    "ldp x29, x30, [sp], #96",
    "ret",
);

/// Calls `function` with the registers that a call keeps pushed on the stack; the others hold nothing of the caller's by the rules of a call.
#[inline(never)]
pub fn call(function: Function, argument: usize) -> i32 {
    // SAFETY: the assembly keeps the C calling convention.
    unsafe { gcshim_with_registers(function, argument) }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn inner(argument: usize, stack_pointer: usize) -> i32 {
        let here = 0u8;
        assert!(stack_pointer > &raw const here as usize && stack_pointer.is_multiple_of(8));
        argument as i32 + 1
    }

    #[test]
    fn the_argument_and_the_answer_pass() {
        assert_eq!(call(inner, 41), 42);
    }
}
