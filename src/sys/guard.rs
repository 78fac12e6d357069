//! Calling code that may crash or hang, in the snapshot child only.
//!
//! The child calls the program's own functions (`tp_traverse`) on a private frozen copy. If one of them faults, aborts, or does not come
//! back, a signal handler moves the thread back to the call, which then answers [`Outcome::Crashed`]. What such a function was in the
//! middle of is abandoned: nobody but the child sees it, and once memory is [`sealed`], not even the child.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::sealed;

/// How a guarded call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It returned.
    Returned,
    /// It raised this signal (`SIGALRM` for a call that did not come back).
    Crashed(i32),
}

/// The stack pointer to go back to; 0 when no guarded call is under way.
static RETURN_STACK: AtomicUsize = AtomicUsize::new(0);
static SIGNAL: AtomicU32 = AtomicU32::new(0);
/// Counts guarded calls, so that the timer can tell one long call from many short ones.
static CALLS: AtomicU32 = AtomicU32::new(0);
static CALLS_AT_LAST_TICK: AtomicU32 = AtomicU32::new(0);

/// Seconds between ticks; a call is given up at the second tick that finds it, so after one to two of these.
const TICK_S: i64 = 2;

const ALTERNATE_STACK_BYTES: usize = 64 << 10;
static mut ALTERNATE_STACK: [u8; ALTERNATE_STACK_BYTES] = [0; ALTERNATE_STACK_BYTES];

const FAULTS: [i32; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];

/// Installs the handlers and the timer. A fault outside a guarded call ends the child with that signal.
///
/// # Safety
/// Only in the snapshot child: it replaces the program's handlers.
pub unsafe fn install() {
    // SAFETY: the structures are valid; the alternate stack is a static of the child's only thread.
    unsafe {
        let stack =
            libc::stack_t { ss_sp: (&raw mut ALTERNATE_STACK).cast::<c_void>(), ss_flags: 0, ss_size: ALTERNATE_STACK_BYTES };
        libc::sigaltstack(&stack, core::ptr::null_mut());
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let mut set: libc::sigset_t = MaybeUninit::zeroed().assume_init();
        libc::sigemptyset(&mut set);
        for signal in FAULTS.into_iter().chain([libc::SIGALRM]) {
            libc::sigaction(signal, &action, core::ptr::null_mut());
            libc::sigaddset(&mut set, signal);
        }
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, core::ptr::null_mut());
        let interval = libc::timeval { tv_sec: TICK_S, tv_usec: 0 };
        let timer = libc::itimerval { it_interval: interval, it_value: interval };
        libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &timer, 0usize);
    }
}

/// `si_code` of a fault on memory that is there but may not be used so.
const SEGV_ACCERR: i32 = 2;

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let stack = RETURN_STACK.load(Ordering::Relaxed);
    // SAFETY: what the kernel passes.
    if signal == libc::SIGSEGV
        // SAFETY: the kernel's siginfo of this fault.
        && unsafe { (*info).si_code } == SEGV_ACCERR
        // SAFETY: as above; a SIGSEGV has an address.
        && let at = unsafe { (*info).si_addr() } as usize
        // SAFETY: the kernel's frame of this fault.
        && let from = unsafe { instruction(context) }
        && sealed::on_fault(at, from, stack != 0)
    {
        return;
    }
    if signal == libc::SIGALRM {
        let calls = CALLS.load(Ordering::Relaxed);
        if stack == 0 || CALLS_AT_LAST_TICK.swap(calls, Ordering::Relaxed) != calls {
            return;
        }
    } else if stack == 0 {
        // Our own defect: end with this very signal, so that the parent can say so.
        // SAFETY: plain signal calls.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    SIGNAL.store(signal as u32, Ordering::Relaxed);
    // SAFETY: the frame's context; the return address and stack belong to the guarded call that is under way on this thread.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        #[cfg(target_arch = "x86_64")]
        {
            context.uc_mcontext.gregs[libc::REG_RIP as usize] = gcshim_guard_recover as *const () as i64;
            context.uc_mcontext.gregs[libc::REG_RSP as usize] = stack as i64;
        }
        #[cfg(target_arch = "aarch64")]
        {
            context.uc_mcontext.pc = gcshim_guard_recover as *const () as u64;
            context.uc_mcontext.sp = stack as u64;
        }
    }
}

/// Where the interrupted code stands.
///
/// # Safety
/// `context` is what the kernel gave the handler.
unsafe fn instruction(context: *const c_void) -> usize {
    // SAFETY: the caller's.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    return context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    return context.uc_mcontext.pc as usize;
}

unsafe extern "C" {
    /// Saves the callee-saved registers, stores the stack pointer in `*slot`, calls `function(argument)`; 0 when it returned.
    fn gcshim_guard_call(function: extern "C" fn(*mut c_void), argument: *mut c_void, slot: *const AtomicUsize) -> usize;
    /// Where a crashed call goes on: restores the registers and answers 1 from `gcshim_guard_call`.
    fn gcshim_guard_recover();
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl gcshim_guard_call",
    ".hidden gcshim_guard_call",
    "gcshim_guard_call:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "mov [rdx], rsp",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "xor eax, eax",
    "2:",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".globl gcshim_guard_recover",
    ".hidden gcshim_guard_recover",
    "gcshim_guard_recover:",
    "cld",
    "mov eax, 1",
    "jmp 2b",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl gcshim_guard_call",
    ".hidden gcshim_guard_call",
    "gcshim_guard_call:",
    "stp x29, x30, [sp, #-160]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "stp d8, d9, [sp, #96]",
    "stp d10, d11, [sp, #112]",
    "stp d12, d13, [sp, #128]",
    "stp d14, d15, [sp, #144]",
    "mov x9, sp",
    "str x9, [x2]",
    "mov x9, x0",
    "mov x0, x1",
    "blr x9",
    "mov x0, #0",
    "2:",
    "ldp x19, x20, [sp, #16]",
    "ldp x21, x22, [sp, #32]",
    "ldp x23, x24, [sp, #48]",
    "ldp x25, x26, [sp, #64]",
    "ldp x27, x28, [sp, #80]",
    "ldp d8, d9, [sp, #96]",
    "ldp d10, d11, [sp, #112]",
    "ldp d12, d13, [sp, #128]",
    "ldp d14, d15, [sp, #144]",
    "ldp x29, x30, [sp], #160",
    "ret",
    ".globl gcshim_guard_recover",
    ".hidden gcshim_guard_recover",
    "gcshim_guard_recover:",
    "mov x0, #1",
    "b 2b",
);

/// Within [`call`], between two things that are to be told apart as two calls would: the watch over calls that do not come back starts anew, and what
/// was written to sealed memory is undone. Whether anything was.
#[inline]
pub fn next() -> bool {
    // One thread makes guarded calls: no need for an atomic increment.
    CALLS.store(CALLS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    let wrote = sealed::wrote();
    if wrote {
        sealed::undo();
    }
    wrote
}

/// Calls `function`, surviving its faults and its hanging.
///
/// # Safety
/// Only after [`install`], on the child's thread, not nested. `function` must leave shared state usable when it is abandoned half-way.
pub unsafe fn call<F: FnMut()>(mut function: F) -> Outcome {
    extern "C" fn enter<F: FnMut()>(function: *mut c_void) {
        // SAFETY: the pointer is to the closure below, which outlives the call.
        unsafe { (*function.cast::<F>())() }
    }
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the assembly keeps the C calling convention whether the call returns or is recovered from.
    let crashed = unsafe { gcshim_guard_call(enter::<F>, (&raw mut function).cast(), &RETURN_STACK) };
    RETURN_STACK.store(0, Ordering::Relaxed);
    sealed::undo();
    if crashed == 0 { Outcome::Returned } else { Outcome::Crashed(SIGNAL.load(Ordering::Relaxed) as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a child process of its own: `install` replaces the handlers of the whole process.
    fn in_child(body: fn() -> bool) {
        // SAFETY: the child runs only `body` and _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: a throw-away process, as install asks.
            unsafe { install() };
            let ok = body();
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok)) };
        }
        let mut status = 0;
        // SAFETY: a child of ours.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
    }

    #[test]
    fn a_fault_an_abort_and_a_stack_overflow_come_back() {
        in_child(|| {
            // SAFETY: faults on purpose.
            let fault = unsafe { call(|| core::ptr::write_volatile(core::ptr::dangling_mut::<u64>().wrapping_byte_add(8), 1)) };
            // SAFETY: aborts on purpose.
            let abort = unsafe { call(|| libc::abort()) };
            #[allow(unconditional_recursion)]
            fn deep(n: &mut [u8; 4096]) -> u8 {
                let mut m = [n[0]; 4096];
                core::hint::black_box(&mut m);
                deep(&mut m).wrapping_add(m[1])
            }
            // SAFETY: overflows on purpose.
            let overflow = unsafe { call(|| _ = core::hint::black_box(deep(&mut [1; 4096]))) };
            // SAFETY: harmless.
            let fine = unsafe { call(|| ()) };
            fault == Outcome::Crashed(libc::SIGSEGV)
                && abort == Outcome::Crashed(libc::SIGABRT)
                && matches!(overflow, Outcome::Crashed(_))
                && fine == Outcome::Returned
        });
    }

    #[test]
    fn a_call_that_hangs_is_given_up() {
        in_child(|| {
            // SAFETY: loops on purpose.
            let hang = unsafe {
                call(|| {
                    loop {
                        core::hint::spin_loop();
                    }
                })
            };
            hang == Outcome::Crashed(libc::SIGALRM)
        });
    }

    #[test]
    fn what_a_guarded_call_writes_to_sealed_memory_is_undone() {
        in_child(|| {
            let table = crate::sys::memory::map_guarded(sealed::TABLE_BYTES).unwrap();
            let bytes = 16 * crate::sys::memory::GRANULE;
            let memory = crate::sys::memory::map_guarded(bytes).unwrap();
            // SAFETY: inside the mapping.
            let word = |at: usize| unsafe { &*((memory + at) as *const AtomicUsize) };
            let far = bytes - 8;
            word(8).store(1, Ordering::Relaxed);
            // SAFETY: the table is fresh, and the child has one thread.
            unsafe {
                sealed::prepare(table, (0, 0));
                sealed::seal(memory, memory + bytes, false);
            }
            let mut seen = 0;
            // SAFETY: writes to memory of our own.
            let wrote = unsafe {
                call(|| {
                    word(8).store(2, Ordering::Relaxed);
                    word(far).store(3, Ordering::Relaxed);
                    seen = word(8).load(Ordering::Relaxed) + word(far).load(Ordering::Relaxed);
                })
            };
            let (first, was_undone) =
                (sealed::last_call_wrote(), word(8).load(Ordering::Relaxed) == 1 && word(far).load(Ordering::Relaxed) == 0);
            // SAFETY: as above, and faults on purpose.
            let crashed = unsafe {
                call(|| {
                    word(8).store(4, Ordering::Relaxed);
                    core::ptr::write_volatile(core::ptr::dangling_mut::<u64>().wrapping_byte_add(8), 1);
                })
            };
            let crash_undone = word(8).load(Ordering::Relaxed) == 1;
            // SAFETY: harmless.
            unsafe { call(|| ()) };
            let third = sealed::last_call_wrote();
            // Between the calls a write stays.
            word(16).store(5, Ordering::Relaxed);
            sealed::open();
            word(8).store(6, Ordering::Relaxed);
            wrote == Outcome::Returned
                && seen == 5
                && first
                && was_undone
                && crashed == Outcome::Crashed(libc::SIGSEGV)
                && crash_undone
                && !third
                && word(16).load(Ordering::Relaxed) == 5
        });
    }
}
