//! `dlopen` without `RTLD_DEEPBIND`.
//!
//! With that flag a library's names resolve to its own dependencies first, the C library's `free` among them: it would be given our blocks, and crash
//! (PHP loads all its extensions so). A process has one malloc; the flag cannot be had together with another one, whichever that is.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::*};

/// The C library's `dlopen`. 0 until it is asked for: libraries that are initialised before us may ask.
static NEXT: AtomicUsize = AtomicUsize::new(0);

const NOT_DEEP: c_int = !libc::RTLD_DEEPBIND;

extern "C" fn look_up() {
    // SAFETY: the name ends with a zero byte.
    NEXT.store(unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) } as usize, Release);
}

/// POSIX's `dlopen`. Goes on by a jump, because the C library looks at the return address: the caller's own search path counts.
///
/// # Safety
/// As in POSIX.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        "and esi, {not_deep}",
        "mov rax, qword ptr [rip + {next}]",
        "test rax, rax",
        "jnz 2f",
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {look_up}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "mov rax, qword ptr [rip + {next}]",
        "test rax, rax",
        "jz 3f",
        "2: jmp rax",
        "3: ret", // null: there is none
        not_deep = const NOT_DEEP,
        next = sym NEXT,
        look_up = sym look_up,
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        "and w1, w1, #{not_deep}",
        "adrp x9, {next}",
        "add x9, x9, :lo12:{next}",
        "ldar x10, [x9]",
        "cbnz x10, 2f",
        "stp x29, x30, [sp, #-32]!",
        "stp x0, x1, [sp, #16]",
        "bl {look_up}",
        "ldp x0, x1, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        "adrp x9, {next}",
        "add x9, x9, :lo12:{next}",
        "ldar x10, [x9]",
        "cbz x10, 3f",
        "2: br x10",
        "3: mov x0, #0",
        "ret",
        not_deep = const NOT_DEEP,
        next = sym NEXT,
        look_up = sym look_up,
    );
}
