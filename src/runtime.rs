//! What a `no_std` library must bring itself: the panic handler and the personality stub.

use crate::sys::text;

/// A panic is a defect of the shim. It says where, without allocating, and aborts: unwinding out of `malloc` has no meaning.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if let Some(at) = info.location() {
        text::stderr_line(format_args!("gcshim: internal error at {}:{}: {}", at.file(), at.line(), info.message()));
    } else {
        text::stderr_line(format_args!("gcshim: internal error"));
    }
    // SAFETY: abort takes no arguments and does not return.
    unsafe { libc::abort() }
}

// Unoptimised builds leave references to the unwinder's personality in core's tables. Nothing here unwinds, so a hidden stub
// that is never called is enough, and the library stays free of libgcc_s.
core::arch::global_asm!(
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality:",
    "ret",
    ".globl _Unwind_Resume",
    ".hidden _Unwind_Resume",
    "_Unwind_Resume:",
    "ret",
);
