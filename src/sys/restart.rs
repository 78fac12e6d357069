//! System calls that our signal interrupted go on as if nothing had been.
//!
//! `SA_RESTART` restarts most. It does not restart `poll`, `select`, `epoll_wait`, sleeps, semaphores and a few others: they would fail with
//! `EINTR` only because we looked. If the interrupted thread stands right behind such a call with `EINTR`, it is put back before it, with
//! the time that is left.
//!
//! Nobody else's `EINTR` is taken away: if a signal with a handler of the program's is waiting as well, the call fails with `EINTR` as it would have,
//! also where the kernel has restarted it for our sake. What is left is the moment between that look and the return to the call, less than a
//! microsecond: a signal that comes just then runs its handler before the call is entered again, as one would that came before the call.
//!
//! Known from the instructions before the thread's own: calls made through `syscall(2)` do not show their number there, and fail with `EINTR`
//! (in practice futexes, whose users expect it).

use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::raw::syscall6;
use super::{clock, stop_signal};

/// The program's signals that wait for this thread to leave our handler.
struct Waiting {
    /// One that has a handler.
    handled: bool,
    /// One whose handler does not restart system calls.
    interrupting: bool,
}

/// How often, and how long, a thread lets the main thread take a signal first.
const TURNS: u32 = 20;
const TURN_NS: i64 = 100_000;

/// Looks at what is pending and not blocked by `mask`, the interrupted code's own.
///
/// The kernel gives a signal for the whole process to the main thread, if that does not block it; but while all threads stand in our handler it
/// waits for the first that leaves. So the others let the main thread go first: a program may count on which of its calls is interrupted.
fn waiting(mask: u64, tid: i32) -> Waiting {
    let mut result = pending(mask);
    // SAFETY: takes no arguments.
    if tid != unsafe { libc::getpid() } {
        for _ in 0..TURNS {
            if !result.handled {
                break;
            }
            super::raw::sleep_ns(TURN_NS);
            result = pending(mask);
        }
    }
    result
}

fn pending(mask: u64) -> Waiting {
    let mut pending = 0u64;
    // SAFETY: the kernel's set is 8 bytes.
    unsafe { syscall6(libc::SYS_rt_sigpending, &raw mut pending as usize, 8, 0, 0, 0, 0) };
    let mut left = pending & !mask & !(1 << (stop_signal::STOP_SIGNAL - 1));
    let mut result = Waiting { handled: false, interrupting: false };
    while left != 0 {
        let signal = left.trailing_zeros() as i32 + 1;
        left &= left - 1;
        if let Some(action) = stop_signal::action_of(signal).filter(stop_signal::Action::is_handled) {
            result.handled = true;
            result.interrupting |= !action.restarts();
        }
    }
    result
}

/// When and where a thread was last put back before a call that waits for a time relative to its start.
struct Resumed {
    tid: AtomicI32,
    at_ns: AtomicU64,
    instruction: AtomicUsize,
    stack: AtomicUsize,
    /// A `timespec` for calls that take a pointer to one that is not theirs to change.
    seconds: AtomicI64,
    nanoseconds: AtomicI64,
}

#[allow(clippy::declare_interior_mutable_const)]
const NOT_RESUMED: Resumed = Resumed {
    tid: AtomicI32::new(0),
    at_ns: AtomicU64::new(0),
    instruction: AtomicUsize::new(0),
    stack: AtomicUsize::new(0),
    seconds: AtomicI64::new(0),
    nanoseconds: AtomicI64::new(0),
};

const RESUMED_MAX: usize = 4096;
/// By thread id; two threads that share an entry only lose the time already waited.
static RESUMED: [Resumed; RESUMED_MAX] = [NOT_RESUMED; RESUMED_MAX];

impl Resumed {
    /// How long the call at `instruction` has waited since it was last put back, ns; 0 if this is its first interruption (how long it
    /// had waited before that, nobody knows). Notes that it is put back at `now_ns`.
    fn elapsed_ns(tid: i32, instruction: usize, stack: usize, stopped_ns: u64) -> (&'static Resumed, u64) {
        let entry = &RESUMED[tid as usize % RESUMED_MAX];
        let same = entry.tid.load(Relaxed) == tid && entry.instruction.load(Relaxed) == instruction && entry.stack.load(Relaxed) == stack;
        let elapsed = if same { stopped_ns.saturating_sub(entry.at_ns.load(Relaxed)) } else { 0 };
        entry.tid.store(tid, Relaxed);
        entry.instruction.store(instruction, Relaxed);
        entry.stack.store(stack, Relaxed);
        entry.at_ns.store(clock::monotonic_ns(), Relaxed);
        (entry, elapsed)
    }

    /// The address of a `timespec` of what is left of the one at `wanted`.
    ///
    /// # Safety
    /// `wanted` is readable.
    unsafe fn left_of(&self, wanted: usize, elapsed_ns: u64) -> usize {
        // SAFETY: the caller's.
        let wanted = unsafe { core::ptr::read_volatile(wanted as *const libc::timespec) };
        let all = i128::from(wanted.tv_sec) * 1_000_000_000 + i128::from(wanted.tv_nsec);
        let left = (all - i128::from(elapsed_ns)).max(0);
        self.seconds.store((left / 1_000_000_000) as i64, Relaxed);
        self.nanoseconds.store((left % 1_000_000_000) as i64, Relaxed);
        (&raw const self.seconds) as usize
    }
}
// The two words of a timespec stand side by side.
const _: () = assert!(core::mem::offset_of!(Resumed, nanoseconds) == core::mem::offset_of!(Resumed, seconds) + 8);

/// Called by the stop handler as the last thing. `stopped_ns`: when the thread was stopped.
#[cfg(target_arch = "x86_64")]
pub fn resume_call(context: *mut libc::c_void, tid: i32, stopped_ns: u64) {
    // SAFETY: the kernel passes the frame's ucontext_t; the handler may change it.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: the kernel's mask is the first 8 bytes of the C library's.
    let mask = unsafe { (&raw const context.uc_sigmask).cast::<u64>().read() };
    let r = &mut context.uc_mcontext.gregs;
    const RAX: usize = libc::REG_RAX as usize;
    const RIP: usize = libc::REG_RIP as usize;
    let rip = r[RIP] as usize;
    let interrupted = r[RAX] == -i64::from(libc::EINTR);
    // The kernel puts a call that it restarts back by the two bytes of the instruction, with its number in RAX.
    if !interrupted && !(0..1024).contains(&r[RAX]) {
        return;
    }
    let behind = if interrupted { rip } else { rip + 2 };
    let Some(code) = code_before(behind, rip) else { return };
    let [0xb8, n0, n1, n2, n3, 0x0f, 0x05] = code else { return };
    let number = i64::from(i32::from_le_bytes([n0, n1, n2, n3]));
    if !interrupted {
        // The kernel has put it back already. If a signal is waiting that would not have let it, it fails after all.
        if r[RAX] == number && waiting(mask, tid).interrupting {
            r[RAX] = -i64::from(libc::EINTR);
            r[RIP] = behind as i64;
        }
        return;
    }
    if waiting(mask, tid).handled || !prepare(r, number, tid, stopped_ns) {
        return;
    }
    r[RAX] = number;
    r[RIP] = rip as i64 - 2;
}

/// The 7 bytes before an address: `mov eax, number; syscall`, if the thread is making a system call as the C library does. The thread may be anywhere,
/// so no page is read but that of its next instruction, unless by asking the kernel.
#[cfg(target_arch = "x86_64")]
fn code_before(end: usize, instruction: usize) -> Option<[u8; 7]> {
    let start = end.checked_sub(7)?;
    if start >> 12 == instruction >> 12 && (end - 1) >> 12 == instruction >> 12 {
        // SAFETY: all in the page that the thread executes.
        return Some(unsafe { core::ptr::read_volatile(start as *const [u8; 7]) });
    }
    let mut code = [0u8; 7];
    let to = libc::iovec { iov_base: code.as_mut_ptr().cast(), iov_len: 7 };
    let from = libc::iovec { iov_base: start as *mut libc::c_void, iov_len: 7 };
    // SAFETY: the kernel reads as far as there is memory and writes at most the 7 bytes.
    let read = unsafe {
        let (to, from) = (&raw const to as usize, &raw const from as usize);
        syscall6(libc::SYS_process_vm_readv, libc::getpid() as usize, to, 1, from, 1, 0)
    };
    (read == 7).then_some(code)
}

/// Whether the call may be made again, and its arguments changed to what is left of its time.
#[cfg(target_arch = "x86_64")]
fn prepare(r: &mut [i64; 23], number: i64, tid: i32, stopped_ns: u64) -> bool {
    const RDI: usize = libc::REG_RDI as usize;
    const RSI: usize = libc::REG_RSI as usize;
    const RDX: usize = libc::REG_RDX as usize;
    const R10: usize = libc::REG_R10 as usize;
    let place = || Resumed::elapsed_ns(tid, r[libc::REG_RIP as usize] as usize, r[libc::REG_RSP as usize] as usize, stopped_ns);
    match number {
        // The kernel has written what is left where the program asked for it.
        libc::SYS_nanosleep if r[RSI] != 0 => r[RDI] = r[RSI],
        libc::SYS_clock_nanosleep if r[RSI] & 1 == 0 && r[R10] != 0 => r[RDX] = r[R10],
        libc::SYS_nanosleep => {
            let (entry, elapsed) = place();
            // SAFETY: the kernel has read it before.
            r[RDI] = unsafe { entry.left_of(r[RDI] as usize, elapsed) } as i64;
        }
        libc::SYS_clock_nanosleep if r[RSI] & 1 == 0 => {
            let (entry, elapsed) = place();
            // SAFETY: the kernel has read it before.
            r[RDX] = unsafe { entry.left_of(r[RDX] as usize, elapsed) } as i64;
        }
        libc::SYS_poll if r[RDX] as i32 > 0 => r[RDX] = milliseconds_left(r[RDX], place().1),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait if r[R10] as i32 > 0 => r[R10] = milliseconds_left(r[R10], place().1),
        libc::SYS_rt_sigtimedwait if r[RDX] != 0 => {
            let (entry, elapsed) = place();
            // SAFETY: the kernel has read it before.
            r[RDX] = unsafe { entry.left_of(r[RDX] as usize, elapsed) } as i64;
        }
        libc::SYS_epoll_pwait2 | libc::SYS_semtimedop if r[R10] != 0 => {
            let (entry, elapsed) = place();
            // SAFETY: the kernel has read it before.
            r[R10] = unsafe { entry.left_of(r[R10] as usize, elapsed) } as i64;
        }
        // FUTEX_WAIT takes a time from now, FUTEX_WAIT_BITSET a moment.
        libc::SYS_futex if r[RSI] & 0x7f == 0 && r[R10] != 0 => {
            let (entry, elapsed) = place();
            // SAFETY: the kernel has read it before.
            r[R10] = unsafe { entry.left_of(r[R10] as usize, elapsed) } as i64;
        }
        // Without a time, with an absolute one, or with one that the kernel itself counts down where the program can see it.
        libc::SYS_clock_nanosleep
        | libc::SYS_poll
        | libc::SYS_epoll_wait
        | libc::SYS_epoll_pwait
        | libc::SYS_epoll_pwait2
        | libc::SYS_rt_sigtimedwait
        | libc::SYS_ppoll
        | libc::SYS_select
        | libc::SYS_pselect6
        | libc::SYS_futex
        | libc::SYS_pause
        | libc::SYS_rt_sigsuspend
        | libc::SYS_semop
        | libc::SYS_semtimedop
        | libc::SYS_msgrcv
        | libc::SYS_msgsnd => {}
        // Sockets with a time limit of their own (SO_RCVTIMEO): it begins anew.
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg
        | libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_accept
        | libc::SYS_accept4 => {}
        _ => return false,
    }
    true
}

#[cfg(target_arch = "x86_64")]
fn milliseconds_left(wanted: i64, elapsed_ns: u64) -> i64 {
    // Rounded up, so that no call ends early.
    (i64::from(wanted as i32) - (elapsed_ns / 1_000_000) as i64).max(0)
}

/// On aarch64 the first argument is gone once the call has failed, so only what `SA_RESTART` restarts is restarted.
#[cfg(not(target_arch = "x86_64"))]
pub fn resume_call(_context: *mut libc::c_void, _tid: i32, _stopped_ns: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_call_of_the_same_thread_has_waited_already() {
        let tid = 4242;
        let before = clock::monotonic_ns();
        let (first, waited) = Resumed::elapsed_ns(tid, 0x1000, 0x2000, before);
        assert_eq!(waited, 0);
        let put_back = first.at_ns.load(Relaxed);
        assert!(before <= put_back && put_back <= clock::monotonic_ns());
        let later = put_back + 5_000_000_000;
        let (entry, waited) = Resumed::elapsed_ns(tid, 0x1000, 0x2000, later);
        assert_eq!(waited, 5_000_000_000);
        let wanted = libc::timespec { tv_sec: 7, tv_nsec: 250 };
        // SAFETY: a timespec.
        unsafe {
            let left = entry.left_of(&raw const wanted as usize, 5_000_000_000) as *const libc::timespec;
            assert_eq!(((*left).tv_sec, (*left).tv_nsec), (2, 250));
            let left = entry.left_of(&raw const wanted as usize, 8_000_000_000) as *const libc::timespec;
            assert_eq!(((*left).tv_sec, (*left).tv_nsec), (0, 0));
        }
        assert_eq!(Resumed::elapsed_ns(tid, 0x1000, 0x2008, later).1, 0);
        assert_eq!(Resumed::elapsed_ns(tid + RESUMED_MAX as i32, 0x1000, 0x2008, later).1, 0);
    }
}
