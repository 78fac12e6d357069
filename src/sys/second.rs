//! A second thread of the snapshot child's, for as long as it takes to do something in two halves.
//!
//! Not the C library's: in a copy of a process that was stopped anywhere, its locks may be held by threads that do not exist. The thread has the
//! first one's thread-local storage, so it must not use any, nor call what does; that nothing of ours in the work does is what "no heap, no
//! libc" comes to. It runs no signal handlers but those of its own faults.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

use super::raw::syscall6;

unsafe extern "C" {
    /// `clone` with these flags; the new thread calls `function(argument)` on the stack that ends at `stack_top` and ends. `tid` is for
    /// `CLONE_CHILD_CLEARTID`. Answers as the system call does.
    fn gcshim_clone_thread(
        flags: usize,
        stack_top: usize,
        tid: *const AtomicU32,
        function: extern "C" fn(*mut c_void),
        argument: *mut c_void,
    ) -> isize;
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl gcshim_clone_thread",
    ".hidden gcshim_clone_thread",
    "gcshim_clone_thread:",
    "sub rsi, 16",
    "mov [rsi], rcx",
    "mov [rsi + 8], r8",
    "mov r10, rdx",
    "xor edx, edx",
    "xor r8d, r8d",
    "mov eax, 56",
    "syscall",
    "test rax, rax",
    "jnz 2f",
    "xor ebp, ebp",
    "pop rax",
    "pop rdi",
    "call rax",
    "mov eax, 60",
    "xor edi, edi",
    "syscall",
    "hlt",
    "2:",
    "ret",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl gcshim_clone_thread",
    ".hidden gcshim_clone_thread",
    "gcshim_clone_thread:",
    "stp x3, x4, [x1, #-16]!",
    "mov x4, x2",
    "mov x2, #0",
    "mov x3, #0",
    "mov x8, #220",
    "svc 0",
    "cbnz x0, 2f",
    "ldp x9, x0, [sp], #16",
    "mov x29, #0",
    "blr x9",
    "mov x8, #93",
    "mov x0, #0",
    "svc 0",
    "brk 0",
    "2:",
    "ret",
);

const FLAGS: usize = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_CHILD_CLEARTID) as usize;

/// How many processors this process may run on; 1 if the kernel would not say.
pub fn processors() -> u32 {
    let mut mask = [0u64; 128];
    // SAFETY: the kernel writes at most so many bytes.
    let bytes = unsafe { syscall6(libc::SYS_sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr() as usize, 0, 0, 0) };
    let words = usize::try_from(bytes).unwrap_or(0) / 8;
    mask.iter().take(words).map(|w| w.count_ones()).sum::<u32>().max(1)
}

/// Runs `there` on a second thread, whose stack ends at `stack_top`, while `here` runs on this one; comes back when both are done. `false`, and neither
/// was run, if there is no second thread to be had.
///
/// # Safety
/// In the snapshot child, outside of guarded calls. The stack is large enough and nobody else's. Neither side uses thread-local storage, the heap
/// or the C library.
pub unsafe fn both<A: FnOnce(), B: FnOnce() + Send>(stack_top: usize, here: A, there: B) -> bool {
    extern "C" fn enter<B: FnOnce()>(work: *mut c_void) {
        // SAFETY: the pointer is to the Option below, which outlives the thread.
        if let Some(there) = unsafe { (*work.cast::<Option<B>>()).take() } {
            there();
        }
    }
    let mut work = Some(there);
    // The kernel clears it when the thread has ended, and wakes who waits.
    let running = AtomicU32::new(1);
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are filled before they are used. The thread inherits the mask: no timer's signal is its own.
    let cloned = unsafe {
        let mut alarm = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(alarm.as_mut_ptr());
        libc::sigaddset(alarm.as_mut_ptr(), libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_BLOCK, alarm.as_ptr(), old.as_mut_ptr());
        let cloned = gcshim_clone_thread(FLAGS, stack_top & !15, &running, enter::<B>, (&raw mut work).cast());
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), core::ptr::null_mut());
        cloned
    };
    if cloned < 0 {
        return false;
    }
    here();
    while running.load(Ordering::Acquire) != 0 {
        // Not FUTEX_PRIVATE_FLAG: the kernel's wake at a thread's end is not.
        // SAFETY: the word outlives the call.
        unsafe { syscall6(libc::SYS_futex, running.as_ptr() as usize, libc::FUTEX_WAIT as usize, 1, 0, 0, 0) };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_run_at_the_same_time_and_are_waited_for() {
        let mut stack = vec![0u8; 256 << 10];
        let top = stack.as_mut_ptr_range().end as usize;
        for round in 1..=200u32 {
            let (ping, pong) = (AtomicU32::new(0), AtomicU32::new(0));
            // Each waits for the other's step.
            let here = || {
                ping.store(round, Ordering::Release);
                while pong.load(Ordering::Acquire) != round {
                    crate::sys::raw::yield_now();
                }
            };
            let there = || {
                while ping.load(Ordering::Acquire) != round {
                    crate::sys::raw::yield_now();
                }
                pong.store(round, Ordering::Release);
            };
            // SAFETY: the stack is ours; the halves use nothing but atomics.
            assert!(unsafe { both(top, here, there) });
        }
        assert!(processors() >= 1);
    }
}
