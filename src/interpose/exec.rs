//! The exec functions, which wait while threads are being stopped (`sys::exec_gate`). Otherwise they are the C library's.
//!
//! Its own calls among them do not pass through exported names, so each is wrapped. A program's raw system call is not seen.

use core::ffi::{c_char, c_int};

use super::next::{Next, fail};
use crate::audit::histogram::{self, Moment};
use crate::heap::{self, Domain};
use crate::sys::exec_gate::GATE;

type Strings = *const *const c_char;

unsafe extern "C" {
    static environ: Strings;
}

static SEARCHING: Next = Next::new(c"execvp");
static SEARCHING_WITH_ENVIRONMENT: Next = Next::new(c"execvpe");
static OF_DESCRIPTOR: Next = Next::new(c"fexecve");

/// Looks the C library's functions up, because a signal handler and a child made by vfork may call ours and may not look up names; and opens the gate.
pub fn install() {
    [&SEARCHING, &SEARCHING_WITH_ENVIRONMENT, &OF_DESCRIPTOR].into_iter().for_each(Next::look_up);
    GATE.begin();
}

/// Passes the gate. What has been counted is written before: if `call` succeeds nothing here exists any more.
fn pass(call: impl FnOnce() -> c_int) -> c_int {
    histogram::write(Moment::Exec);
    GATE.pass(call)
}

unsafe fn exec(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    // SAFETY: the caller's; the kernel checks the addresses.
    pass(|| unsafe { libc::syscall(libc::SYS_execve, path, arguments, environment) } as c_int)
}

unsafe fn exec_searching(file: *const c_char, arguments: Strings) -> c_int {
    let next = SEARCHING.get();
    if next == 0 {
        return fail(libc::ENOSYS);
    }
    // SAFETY: the C library's execvp has this type.
    let next: unsafe extern "C" fn(*const c_char, Strings) -> c_int = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's.
    pass(|| unsafe { next(file, arguments) })
}

/// POSIX's `execve`.
///
/// # Safety
/// As in POSIX; so all of these.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execve(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    // SAFETY: the caller's.
    unsafe { exec(path, arguments, environment) }
}

/// POSIX's `execv`.
///
/// # Safety
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execv(path: *const c_char, arguments: Strings) -> c_int {
    // SAFETY: the caller's; the C library's variable.
    unsafe { exec(path, arguments, environ) }
}

/// POSIX's `execvp`.
///
/// # Safety
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvp(file: *const c_char, arguments: Strings) -> c_int {
    // SAFETY: the caller's.
    unsafe { exec_searching(file, arguments) }
}

/// glibc's `execvpe`.
///
/// # Safety
/// As for `execvp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvpe(file: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    let next = SEARCHING_WITH_ENVIRONMENT.get();
    if next == 0 {
        return fail(libc::ENOSYS);
    }
    // SAFETY: the C library's function has this type.
    let next: unsafe extern "C" fn(*const c_char, Strings, Strings) -> c_int = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's.
    pass(|| unsafe { next(file, arguments, environment) })
}

/// POSIX's `fexecve`.
///
/// # Safety
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fexecve(descriptor: c_int, arguments: Strings, environment: Strings) -> c_int {
    let next = OF_DESCRIPTOR.get();
    if next == 0 {
        return fail(libc::ENOSYS);
    }
    // SAFETY: the C library's function has this type.
    let next: unsafe extern "C" fn(c_int, Strings, Strings) -> c_int = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's.
    pass(|| unsafe { next(descriptor, arguments, environment) })
}

/// Linux's `execveat`.
///
/// # Safety
/// As for `execve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execveat(
    folder: c_int,
    path: *const c_char,
    arguments: Strings,
    environment: Strings,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's; the kernel checks the addresses.
    pass(|| unsafe { libc::syscall(libc::SYS_execveat, folder, path, arguments, environment, flags) } as c_int)
}

/// Arguments after the first that come in registers.
#[cfg(target_arch = "x86_64")]
const IN_REGISTERS: usize = 5;
#[cfg(target_arch = "aarch64")]
const IN_REGISTERS: usize = 7;

/// The variable arguments of a call: words in registers, which the entry has stored, and then on the caller's stack.
#[derive(Clone, Copy)]
struct Variable {
    registers: *const *const c_char,
    stack: *const *const c_char,
}

impl Variable {
    /// # Safety
    /// The call has this argument.
    unsafe fn get(self, index: usize) -> *const c_char {
        // SAFETY: the caller's.
        unsafe { if index < IN_REGISTERS { *self.registers.add(index) } else { *self.stack.add(index - IN_REGISTERS) } }
    }

    /// Calls `with` with the arguments up to the null as an array, and what comes after the null.
    ///
    /// # Safety
    /// There is a null among them; after it `environment` says that there is one more.
    unsafe fn as_array(self, environment: bool, with: &dyn Fn(Strings, Strings) -> c_int) -> c_int {
        let mut few = [core::ptr::null::<c_char>(); 64];
        // SAFETY: the caller's: the null is reached.
        let count = unsafe { (0..).take_while(|&i| !self.get(i).is_null()).count() };
        let many = if count < few.len() { core::ptr::null_mut() } else { heap::allocate((count + 1) * 8, Domain::Raw) };
        let array = if count < few.len() { few.as_mut_ptr() } else { many.cast() };
        if array.is_null() {
            return fail(libc::ENOMEM);
        }
        for index in 0..=count {
            // SAFETY: room for count and the null; up to it there are arguments.
            unsafe { *array.add(index) = self.get(index) };
        }
        // SAFETY: the caller's: one more, or the C library's variable.
        let answer = with(array, unsafe { if environment { self.get(count + 1).cast() } else { environ } });
        heap::free(many);
        answer
    }
}

unsafe extern "C" fn execl_with(path: *const c_char, registers: Strings, stack: Strings) -> c_int {
    // SAFETY: the entry's; POSIX asks for the null.
    unsafe { Variable { registers, stack }.as_array(false, &|arguments, environment| exec(path, arguments, environment)) }
}

unsafe extern "C" fn execle_with(path: *const c_char, registers: Strings, stack: Strings) -> c_int {
    // SAFETY: the entry's; POSIX asks for the null and the environment after it.
    unsafe { Variable { registers, stack }.as_array(true, &|arguments, environment| exec(path, arguments, environment)) }
}

unsafe extern "C" fn execlp_with(file: *const c_char, registers: Strings, stack: Strings) -> c_int {
    // SAFETY: the entry's; POSIX asks for the null.
    unsafe { Variable { registers, stack }.as_array(false, &|arguments, _| exec_searching(file, arguments)) }
}

// Stable Rust cannot define functions with variable arguments, but their entry.
macro_rules! variadic {
    ($name:ident, $with:ident) => {
        #[doc = concat!("POSIX's `", stringify!($name), "`.")]
        ///
        /// # Safety
        /// As in POSIX.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "lea rdx, [rsp + 48]", // beyond the five registers and the return address
                "call {with}",
                "add rsp, 40",
                "ret",
                with = sym $with,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "mov x9, sp",
                "stp x29, x30, [sp, #-80]!",
                "mov x29, sp",
                "stp x1, x2, [sp, #16]",
                "stp x3, x4, [sp, #32]",
                "stp x5, x6, [sp, #48]",
                "str x7, [sp, #64]",
                "add x1, sp, #16",
                "mov x2, x9",
                "bl {with}",
                "ldp x29, x30, [sp], #80",
                "ret",
                with = sym $with,
            );
        }
    };
}

variadic!(execl, execl_with);
variadic!(execle, execle_with);
variadic!(execlp, execlp_with);
