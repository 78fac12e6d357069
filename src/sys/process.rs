//! The snapshot's process: made by a raw clone, seen by nobody but us.

use core::sync::atomic::AtomicU32;

use super::raw;

/// What a clone answers.
pub enum Side {
    /// In the parent: the child's process id.
    Parent(i32),
    /// In the child.
    Child,
}

/// Copies the process as `fork` does, but runs no atfork handlers and sends no signal when the child ends, so that the program's
/// `wait` never sees it (only `__WCLONE` does). Only the calling thread exists in the child.
///
/// # Safety
/// The child must not return into the program: it ends by [`exit`]. Whatever locks other threads held stay held there for ever.
pub unsafe fn clone_snapshot() -> Option<Side> {
    // SAFETY: no flags and no stack: a copy of this thread on a copy of this stack, exit signal 0.
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0usize, 0usize, 0usize, 0usize, 0usize) };
    match pid {
        0 => Some(Side::Child),
        n if n > 0 => Some(Side::Parent(n as i32)),
        _ => None,
    }
}

/// How a snapshot child stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Not yet.
    Running,
    /// By `exit` with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// No such child (reaped by somebody who waits with `__WALL`).
    Lost,
}

/// Looks whether a snapshot child has ended, and reaps it if so. Does not wait.
pub fn poll_snapshot(pid: i32) -> Ended {
    let mut status = 0;
    // SAFETY: status is a valid int for the call to fill.
    let got = unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG | libc::__WCLONE) };
    if got == 0 {
        Ended::Running
    } else if got != pid {
        // SAFETY: __errno_location is valid for the calling thread.
        if unsafe { *libc::__errno_location() } == libc::EINTR { Ended::Running } else { Ended::Lost }
    } else if libc::WIFEXITED(status) {
        Ended::Exited(libc::WEXITSTATUS(status))
    } else {
        Ended::Signalled(libc::WTERMSIG(status))
    }
}

/// Waits for a snapshot child that is about to end.
pub fn reap_snapshot(pid: i32) {
    let mut status = 0;
    // SAFETY: status is a valid int for the call to fill; __errno_location is valid for the calling thread.
    unsafe { while libc::waitpid(pid, &mut status, libc::__WCLONE) < 0 && *libc::__errno_location() == libc::EINTR {} }
}

/// Kills a snapshot child that has outlived its deadline, and reaps it.
pub fn kill_snapshot(pid: i32) {
    let mut status = 0;
    // SAFETY: the pid is a child of ours that has not been reaped, so it cannot have been reused.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, &mut status, libc::__WCLONE);
    }
}

/// Ends the snapshot child without handlers and without flushing what is the parent's to flush.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: does not return and runs nothing. Not the C library's function: that name may be ours.
        unsafe { raw::syscall6(libc::SYS_exit_group, status as usize, 0, 0, 0, 0, 0) };
    }
}

/// The process's id: not kept anywhere, since a child made by fork or vfork is another.
pub fn id() -> i32 {
    // SAFETY: takes no arguments.
    unsafe { libc::getpid() }
}

/// The calling thread's kernel id.
pub fn thread_id() -> i32 {
    // SAFETY: takes no arguments.
    (unsafe { libc::syscall(libc::SYS_gettid) }) as i32
}

/// Waits until `word` is no longer `value`, or a spurious wake, or `timeout_ns`.
pub fn futex_wait(word: &AtomicU32, value: u32, timeout_ns: Option<u64>) {
    let ts = timeout_ns.map(|ns| libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 });
    let ts_ptr = ts.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: word outlives the call; the timeout is null or a valid timespec.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, value, ts_ptr) };
}

/// Wakes all waiters.
pub fn futex_wake_all(word: &AtomicU32) {
    // SAFETY: word is valid; the wake count is an int.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX) };
}
