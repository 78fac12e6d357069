//! Running on a stack of our own: the program may have called us on one of a few pages.

use core::ffi::c_void;

unsafe extern "C" {
    /// Calls `function(argument)` with the stack pointer at `top`.
    fn gcshim_call_on_stack(top: usize, function: extern "C" fn(*mut c_void), argument: *mut c_void);
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl gcshim_call_on_stack",
    ".hidden gcshim_call_on_stack",
    "gcshim_call_on_stack:",
    "push rbp",
    "mov rbp, rsp",
    "mov rsp, rdi",
    "mov rdi, rdx",
    "call rsi",
    "mov rsp, rbp",
    "pop rbp",
    "ret",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl gcshim_call_on_stack",
    ".hidden gcshim_call_on_stack",
    "gcshim_call_on_stack:",
    "stp x29, x30, [sp, #-16]!",
    "mov x29, sp",
    "mov sp, x0",
    "mov x0, x2",
    "blr x1",
    "mov sp, x29",
    "ldp x29, x30, [sp], #16",
    "ret",
);

/// Calls `function` on the stack that ends at `top`.
///
/// # Safety
/// `top` is the end of writable memory, large enough for whatever `function` does, and used by nobody else.
pub unsafe fn call<F: FnMut()>(top: usize, mut function: F) {
    extern "C" fn enter<F: FnMut()>(function: *mut c_void) {
        // SAFETY: the pointer is to the closure below, which outlives the call.
        unsafe { (*function.cast::<F>())() }
    }
    // SAFETY: the assembly keeps the C calling convention; the ABIs want 16-byte alignment.
    unsafe { gcshim_call_on_stack(top & !15, enter::<F>, (&raw mut function).cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_runs_there_and_comes_back() {
        let mut area = vec![0u8; 256 << 10];
        let range = area.as_mut_ptr_range();
        let mut seen = 0;
        // SAFETY: the end of our own area.
        unsafe {
            call(range.end as usize, || {
                let here = [1u8; 4096];
                seen = std::hint::black_box(&here).as_ptr() as usize;
            });
        }
        assert!((range.start as usize..range.end as usize).contains(&seen));
    }
}
