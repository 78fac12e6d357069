//! System calls made directly: they neither touch `errno` nor depend on a libc that is up. `free` must keep `errno`, and the first
//! `malloc` comes from the dynamic loader, before libc has been initialised.

/// Issues system call `number`; the kernel's answer comes back as it is: a value, or minus an errno.
///
/// # Safety
/// As for the system call named.
#[cfg(target_arch = "x86_64")]
#[inline]
pub unsafe fn syscall6(number: libc::c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let result: isize;
    // SAFETY: the x86-64 convention; rcx and r11 are declared clobbered; what the call does is the caller's duty.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Issues system call `number`; the kernel's answer comes back as it is: a value, or minus an errno.
///
/// # Safety
/// As for the system call named.
#[cfg(target_arch = "aarch64")]
#[inline]
pub unsafe fn syscall6(number: libc::c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let result: isize;
    // SAFETY: the aarch64 convention; what the call does is the caller's duty.
    unsafe {
        core::arch::asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c,
            in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// A moment of waiting for another processor.
pub fn spin_loop() {
    core::hint::spin_loop();
}

/// Lets another runnable thread go first.
pub fn yield_now() {
    // SAFETY: sched_yield takes nothing and changes no memory.
    unsafe { syscall6(libc::SYS_sched_yield, 0, 0, 0, 0, 0, 0) };
}

/// Sleeps about `nanoseconds` (below one second); a signal ends the sleep early.
pub fn sleep_ns(nanoseconds: i64) {
    let time = [0i64, nanoseconds];
    // SAFETY: time is a timespec that outlives the call; the second argument may be null.
    unsafe { syscall6(libc::SYS_nanosleep, time.as_ptr() as usize, 0, 0, 0, 0, 0) };
}

/// Whether the kernel can read the word at `address`: it cannot where nothing is mapped, and on a guard page (`MADV_GUARD_INSTALL`, Linux 6.13), which
/// `/proc/self/maps` does not tell from its surroundings. `None` if it would not say (a sandbox). Changes nothing. (The way of Abseil's `AddressIsReadable`.)
pub fn readable(address: usize) -> Option<bool> {
    // Not one of the three things to do with a mask: the kernel fetches the new mask first, and then refuses.
    const NO_SUCH_THING: usize = 0xff;
    // SAFETY: nothing is written.
    let answer = unsafe { syscall6(libc::SYS_rt_sigprocmask, NO_SUCH_THING, address, 0, 8, 0, 0) };
    match -answer as i32 {
        libc::EINVAL => Some(true),
        libc::EFAULT => Some(false),
        _ => None,
    }
}

/// The same, for who must not miss what stands there: `true` if the kernel would not say.
pub fn is_readable(address: usize) -> bool {
    readable(address) != Some(false)
}

/// Copies the words from `from` on, which are of one page, as far as they can be read. By the kernel, which does not mind if they cannot (a mapping whose file was cut short); where it is forbidden to (a
/// sandbox), here.
pub fn copy_if_readable(from: usize, to: &mut [usize]) {
    let bytes = size_of_val(to);
    let (local, remote) = ([to.as_mut_ptr() as usize, bytes], [from, bytes]);
    // SAFETY: getpid takes nothing; the other writes to `to` alone, and both arrays are an iovec that outlives the call.
    let answer = unsafe {
        let own = syscall6(libc::SYS_getpid, 0, 0, 0, 0, 0, 0) as usize;
        syscall6(libc::SYS_process_vm_readv, own, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0)
    };
    if answer < 0 && answer != -(libc::EFAULT as isize) && is_readable(from) {
        for (i, word) in to.iter_mut().enumerate() {
            // SAFETY: the caller asks for words of one page, which can be read.
            *word = unsafe { core::ptr::read_volatile((from + 8 * i) as *const usize) };
        }
    }
}

/// Fills `out` with random bytes as far as the kernel gives them without waiting; `false` if it gave fewer.
pub fn random_bytes(out: &mut [u8]) -> bool {
    const GRND_NONBLOCK: usize = 1;
    // SAFETY: the range is out's own.
    let n = unsafe { syscall6(libc::SYS_getrandom, out.as_mut_ptr() as usize, out.len(), GRND_NONBLOCK, 0, 0, 0) };
    n == out.len() as isize
}

/// Monotonic time in nanoseconds, to the resolution of the kernel's tick (1 to 10 ms): for pacing, not for measuring.
pub fn coarse_now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is ours and of the layout asked for. The system call, not the C library's function: a program may replace that by one that allocates.
    unsafe { syscall6(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC_COARSE as usize, &raw mut time as usize, 0, 0, 0, 0) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
