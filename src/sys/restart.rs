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
//! How long a call had waited before it was interrupted for the first time, nobody knows; so a wait for a time takes up to that much longer.
//!
//! Which call it is, the code around says ([`call_number`]): calls made through `syscall(2)` do not show their number there, and fail with `EINTR`
//! (in practice futexes, whose users expect it).

use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering::Relaxed};

use super::call_number;
use super::raw::syscall6;
use super::{bits, clock, stop_signal};

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
    let mut result = Waiting { handled: false, interrupting: false };
    for bit in bits::set_in(pending & !mask & !(1 << (stop_signal::STOP_SIGNAL - 1))) {
        let signal = bit as i32 + 1;
        if let Some(action) = stop_signal::action_of(signal).filter(stop_signal::Action::is_handled) {
            result.handled = true;
            result.interrupting |= !action.restarts();
        }
    }
    result
}

/// What is left of a call that waits for a time from its start. The call itself carries the sign that it is one that was put back: a pointer to
/// the entry's time, or a mark in the half of a register that the kernel does not look at. So a new call at the same place is not taken for it.
struct Resumed {
    tid: AtomicI32,
    /// When it was put back: the last time where `seconds` is what is left, else the first time.
    at_ns: AtomicU64,
    /// A `timespec` for calls that take a pointer to one that is not theirs to change.
    seconds: AtomicI64,
    nanoseconds: AtomicI64,
}

#[allow(clippy::declare_interior_mutable_const)]
const NOT_RESUMED: Resumed =
    Resumed { tid: AtomicI32::new(0), at_ns: AtomicU64::new(0), seconds: AtomicI64::new(0), nanoseconds: AtomicI64::new(0) };

const RESUMED_MAX: usize = 8192;
/// A hash table by thread id.
static RESUMED: [Resumed; RESUMED_MAX] = [NOT_RESUMED; RESUMED_MAX];
/// How many places of the table a thread may have.
const PROBES: usize = 32;

/// In the upper half of a register whose lower half is an `int`.
const MARK: i64 = 0x6763_7368 << 32;

fn is_marked(register: i64) -> bool {
    register >> 32 == MARK >> 32
}

fn marked(value: i64) -> i64 {
    MARK | i64::from(value as u32)
}

impl Resumed {
    /// The thread's entry. `None` if its places are taken by living threads: then its calls begin anew.
    fn of(tid: i32) -> Option<&'static Resumed> {
        let places = (0..PROBES).map(|i| &RESUMED[(tid as usize + i) % RESUMED_MAX]);
        let own = places.clone().find(|e| e.tid.load(Relaxed) == tid);
        own.or_else(|| {
            places.clone().find(|e| {
                let there = e.tid.load(Relaxed);
                // SAFETY: signal 0 only asks whether the thread is there.
                let free =
                    there == 0 || unsafe { syscall6(libc::SYS_tgkill, libc::getpid() as usize, there as usize, 0, 0, 0, 0) } != 0;
                free && e.tid.compare_exchange(there, tid, Relaxed, Relaxed).is_ok()
            })
        })
    }

    /// Puts into the entry what is left of the time at `wanted`, and answers the address to pass instead.
    ///
    /// # Safety
    /// `wanted` is readable.
    unsafe fn time_left(tid: i32, wanted: i64, stopped_ns: u64) -> Option<i64> {
        let entry = Resumed::of(tid)?;
        let own = (&raw const entry.seconds) as i64;
        let elapsed = if wanted == own { stopped_ns.saturating_sub(entry.at_ns.load(Relaxed)) } else { 0 };
        // SAFETY: the caller's.
        let wanted = unsafe { core::ptr::read_volatile(wanted as *const libc::timespec) };
        let all = i128::from(wanted.tv_sec) * 1_000_000_000 + i128::from(wanted.tv_nsec);
        let left = (all - i128::from(elapsed)).max(0);
        entry.seconds.store((left / 1_000_000_000) as i64, Relaxed);
        entry.nanoseconds.store((left % 1_000_000_000) as i64, Relaxed);
        entry.at_ns.store(clock::monotonic_ns(), Relaxed);
        Some(own)
    }

    /// The same for milliseconds in a register; below 1 they are no time to wait for.
    fn milliseconds_left(tid: i32, wanted: i64, stopped_ns: u64) -> Option<i64> {
        if wanted as i32 <= 0 {
            return Some(wanted);
        }
        let entry = Resumed::of(tid)?;
        let elapsed = if is_marked(wanted) { stopped_ns.saturating_sub(entry.at_ns.load(Relaxed)) } else { 0 };
        // What was waited counts in whole milliseconds, so that no call ends early.
        let left = (i64::from(wanted as i32) - (elapsed / 1_000_000) as i64).max(0);
        entry.at_ns.store(stopped_ns - elapsed % 1_000_000, Relaxed);
        Some(marked(left))
    }

    /// For a socket with a time limit of its own, which begins anew with each call: the descriptor to pass; `None` when the time is over.
    fn socket_left(tid: i32, descriptor: i64, option: i32, stopped_ns: u64) -> Option<i64> {
        let Some(entry) = Resumed::of(tid) else { return Some(descriptor) };
        if !is_marked(descriptor) {
            entry.at_ns.store(stopped_ns, Relaxed);
            return Some(marked(descriptor));
        }
        let mut limit = [0i64; 2];
        let mut bytes = size_of_val(&limit) as u32;
        // SAFETY: the kernel writes at most `bytes` of the timeval.
        let refused = unsafe {
            let (limit, bytes) = (&raw mut limit as usize, &raw mut bytes as usize);
            syscall6(
                libc::SYS_getsockopt,
                descriptor as u32 as usize,
                libc::SOL_SOCKET as usize,
                option as usize,
                limit,
                bytes,
                0,
            )
        };
        let limit_ns = limit[0] as u64 * 1_000_000_000 + limit[1] as u64 * 1000;
        let waited = stopped_ns.saturating_sub(entry.at_ns.load(Relaxed));
        (refused != 0 || limit_ns == 0 || waited < limit_ns).then_some(descriptor)
    }
}
// The two words of a timespec stand side by side.
const _: () = assert!(core::mem::offset_of!(Resumed, nanoseconds) == core::mem::offset_of!(Resumed, seconds) + 8);

/// Called by the stop handler as the last thing. `stopped_ns`: when the thread was stopped.
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
    // SAFETY: the thread has made a system call there, with this stack.
    let Some(number) = (unsafe { call_number::of(behind, rip, r[libc::REG_RSP as usize] as usize) }) else { return };
    if !interrupted {
        // The kernel has put it back already. If a signal is waiting that would not have let it, it fails after all.
        if r[RAX] == number && waiting(mask, tid).interrupting {
            r[RAX] = -i64::from(libc::EINTR);
            r[RIP] = behind as i64;
        }
        return;
    }
    if waiting(mask, tid).handled {
        return;
    }
    match prepare(r, number, tid, stopped_ns) {
        Some(After::Again) => {
            r[RAX] = number;
            r[RIP] = rip as i64 - 2;
        }
        Some(After::Over(error)) => r[RAX] = -i64::from(error),
        None => {}
    }
}

/// What becomes of an interrupted call.
enum After {
    /// It is made again.
    Again,
    /// It fails, with what it would have failed with by now.
    Over(i32),
}

/// Sees to it that the call can be made again with what is left of its time. `None` if it may not be.
fn prepare(r: &mut [i64; 23], number: i64, tid: i32, stopped_ns: u64) -> Option<After> {
    const RDI: usize = libc::REG_RDI as usize;
    const RSI: usize = libc::REG_RSI as usize;
    const RDX: usize = libc::REG_RDX as usize;
    const R10: usize = libc::REG_R10 as usize;
    // SAFETY: each pointer given to it is one that the kernel has read from in the call.
    let time_left = |wanted: i64| unsafe { Resumed::time_left(tid, wanted, stopped_ns) }.unwrap_or(wanted);
    let milliseconds_left = |wanted: i64| Resumed::milliseconds_left(tid, wanted, stopped_ns).unwrap_or(wanted);
    match number {
        // The kernel has written what is left where the program asked for it.
        libc::SYS_nanosleep if r[RSI] != 0 => r[RDI] = r[RSI],
        libc::SYS_clock_nanosleep if r[RSI] & 1 == 0 && r[R10] != 0 => r[RDX] = r[R10],
        libc::SYS_nanosleep => r[RDI] = time_left(r[RDI]),
        libc::SYS_clock_nanosleep if r[RSI] & 1 == 0 => r[RDX] = time_left(r[RDX]),
        libc::SYS_rt_sigtimedwait if r[RDX] != 0 => r[RDX] = time_left(r[RDX]),
        libc::SYS_epoll_pwait2 | libc::SYS_semtimedop if r[R10] != 0 => r[R10] = time_left(r[R10]),
        // FUTEX_WAIT takes a time from now, FUTEX_WAIT_BITSET a moment.
        libc::SYS_futex if r[RSI] & 0x7f == 0 && r[R10] != 0 => r[R10] = time_left(r[R10]),
        libc::SYS_poll => r[RDX] = milliseconds_left(r[RDX]),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => r[R10] = milliseconds_left(r[R10]),
        // Without a time, with an absolute one, or with one that the kernel itself counts down where the program can see it.
        libc::SYS_clock_nanosleep
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
        // Otherwise restarted by the kernel, so these are sockets with a time limit.
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg
        | libc::SYS_accept
        | libc::SYS_accept4 => match Resumed::socket_left(tid, r[RDI], libc::SO_RCVTIMEO, stopped_ns) {
            Some(descriptor) => r[RDI] = descriptor,
            None => return Some(After::Over(libc::EAGAIN)),
        },
        libc::SYS_write | libc::SYS_writev | libc::SYS_sendto | libc::SYS_sendmsg => {
            match Resumed::socket_left(tid, r[RDI], libc::SO_SNDTIMEO, stopped_ns) {
                Some(descriptor) => r[RDI] = descriptor,
                None => return Some(After::Over(libc::EAGAIN)),
            }
        }
        _ => return None,
    }
    Some(After::Again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_was_put_back_has_waited_already() {
        const SECOND: u64 = 1_000_000_000;
        let tid = crate::sys::process::thread_id();
        let wanted = libc::timespec { tv_sec: 7, tv_nsec: 250 };
        let left = |at: i64| {
            // SAFETY: a timespec in the table.
            let left = unsafe { *(at as *const libc::timespec) };
            (left.tv_sec, left.tv_nsec)
        };
        // SAFETY: each is a timespec.
        unsafe {
            let first = Resumed::time_left(tid, &raw const wanted as i64, 0).unwrap();
            assert_eq!(left(first), (7, 250));
            let put_back = Resumed::of(tid).unwrap().at_ns.load(Relaxed);
            let again = Resumed::time_left(tid, first, put_back + 5 * SECOND).unwrap();
            assert_eq!((again, left(again)), (first, (2, 250)));
            // Another call at the same place.
            assert_eq!(left(Resumed::time_left(tid, &raw const wanted as i64, put_back + 6 * SECOND).unwrap()), (7, 250));
            let put_back = Resumed::of(tid).unwrap().at_ns.load(Relaxed);
            assert_eq!(left(Resumed::time_left(tid, first, put_back + 9 * SECOND).unwrap()), (0, 0));
        }
        let first = Resumed::milliseconds_left(tid, 300, 10 * SECOND).unwrap();
        assert_eq!((first as i32, is_marked(first)), (300, true));
        // A millisecond begun is not counted, and not forgotten.
        let second = Resumed::milliseconds_left(tid, first, 10 * SECOND + 1_900_000).unwrap();
        assert_eq!(second as i32, 299);
        assert_eq!(Resumed::milliseconds_left(tid, second, 10 * SECOND + 2_100_000).unwrap() as i32, 298);
        assert_eq!(Resumed::milliseconds_left(tid, second, 20 * SECOND).unwrap() as i32, 0);
        assert_eq!(Resumed::milliseconds_left(tid, 300, 21 * SECOND).unwrap() as i32, 300);
        for forever in [-1i64, u32::MAX.into(), 0] {
            assert_eq!(Resumed::milliseconds_left(tid, forever, 21 * SECOND), Some(forever));
        }
    }

    #[test]
    fn threads_that_are_gone_leave_their_place() {
        // No thread has such a number: the kernel's limit is 2^22.
        let gone = i32::MAX - 3;
        RESUMED[gone as usize % RESUMED_MAX].tid.store(gone, Relaxed);
        let heir = gone - RESUMED_MAX as i32;
        let entry = Resumed::of(heir).unwrap();
        assert!(core::ptr::eq(entry, &RESUMED[gone as usize % RESUMED_MAX]) && core::ptr::eq(Resumed::of(heir).unwrap(), entry));
        entry.tid.store(0, Relaxed);
    }
}
