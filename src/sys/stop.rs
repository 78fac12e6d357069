//! Stopping the world: every other thread stands still in a signal handler until it is let go.
//!
//! The handshake: the stopper installs a handler for the stop signal, sends it to each thread it finds in `/proc/self/task`, and
//! looks again until a pass finds nobody new. The handler notes where its registers lie (in the signal frame on its own stack, which
//! stays put while it stands) and waits on a futex. Threads that block the signal, or do not answer in time, are left running and
//! counted; the caller reports them and treats their stacks as plain memory.
//!
//! The old handler is put back afterwards, so outside an audit the program's signals are as it left them.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{clock, files, process};

/// The signal used: the second highest real-time signal, which neither glibc (32, 33) nor the usual runtimes take.
pub const STOP_SIGNAL: i32 = 62;

/// Threads that can be held at once; more are left running and counted.
pub const THREADS_MAX: usize = 4096;

/// How long to wait for a thread that neither answers nor dies.
const DEADLINE_NS: u64 = 2_000_000_000;

/// Where one stopped thread's state lies.
#[derive(Clone, Copy)]
pub struct Stopped {
    /// Kernel thread id.
    pub tid: i32,
    /// The `ucontext_t` of the signal frame.
    pub context: usize,
    /// The thread pointer (`fs` base on x86-64).
    pub thread_pointer: usize,
}

struct Slot {
    tid: AtomicU32,
    context: AtomicUsize,
    thread_pointer: AtomicUsize,
}

#[allow(clippy::declare_interior_mutable_const)]
const EMPTY: Slot = Slot { tid: AtomicU32::new(0), context: AtomicUsize::new(0), thread_pointer: AtomicUsize::new(0) };

/// Slots claimed by handlers in the order of their arrival.
static SLOTS: [Slot; THREADS_MAX] = [EMPTY; THREADS_MAX];
static CLAIMED: AtomicU32 = AtomicU32::new(0);
/// Handlers that have filled their slot.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
/// Handlers that have left.
static LEFT: AtomicU32 = AtomicU32::new(0);
/// 1 while the world is to stand still.
static HOLD: AtomicU32 = AtomicU32::new(0);

/// The stopped world. Made only by [`stop_world`]; dropping it lets the threads go (in the parent).
pub struct StoppedWorld {
    old: libc::sigaction,
    restore: bool,
    /// Threads that could not be stopped: they block the signal or gave no answer.
    pub not_stopped: u32,
    /// `false` if `/proc/self/task` could not be read: then only the calling thread is known.
    pub listed: bool,
}

impl StoppedWorld {
    /// The threads that stand still, without the calling one.
    pub fn threads(&self) -> impl Iterator<Item = Stopped> {
        let n = ARRIVED.load(Ordering::Acquire).min(THREADS_MAX as u32) as usize;
        SLOTS.iter().take(n).map(|s| Stopped {
            tid: s.tid.load(Ordering::Relaxed) as i32,
            context: s.context.load(Ordering::Relaxed),
            thread_pointer: s.thread_pointer.load(Ordering::Relaxed),
        })
    }
}

/// The calling thread's thread pointer.
pub fn thread_pointer() -> usize {
    let value: usize;
    // SAFETY: on x86-64 Linux the first word of the thread control block is its own address (System V ABI, TLS variant II); on
    // aarch64 the system register holds it.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("mov {}, fs:[0]", out(reg) value, options(nostack, preserves_flags, readonly));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("mrs {}, tpidr_el0", out(reg) value, options(nostack, preserves_flags));
    }
    value
}

extern "C" fn on_stop(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: __errno_location is valid for the calling thread; the interrupted code must find its errno again.
    let errno = unsafe { *libc::__errno_location() };
    if HOLD.load(Ordering::Acquire) == 1 {
        let at = CLAIMED.fetch_add(1, Ordering::AcqRel) as usize;
        if let Some(slot) = SLOTS.get(at) {
            slot.context.store(context as usize, Ordering::Relaxed);
            slot.thread_pointer.store(thread_pointer(), Ordering::Relaxed);
            slot.tid.store(process::thread_id() as u32, Ordering::Release);
            ARRIVED.fetch_add(1, Ordering::AcqRel);
            while HOLD.load(Ordering::Acquire) == 1 {
                process::futex_wait(&HOLD, 1, None);
            }
            LEFT.fetch_add(1, Ordering::AcqRel);
        }
        restart_system_call(context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// `SA_RESTART` does not restart `poll`, `select`, `epoll_wait`, sleeps and a few others: they would fail with `EINTR` only because we
/// looked. If the interrupted thread stands right behind such a call with `EINTR`, put it back before it.
///
/// Nobody else's `EINTR` is taken away: a second signal pending at the same time has a lower number than ours, gets its frame first, and
/// ours then stands at the entry of its handler, not behind a system call.
#[cfg(target_arch = "x86_64")]
fn restart_system_call(context: *mut libc::c_void) {
    // SAFETY: the kernel passes the frame's ucontext_t; the handler may change it.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    const RAX: usize = libc::REG_RAX as usize;
    const RIP: usize = libc::REG_RIP as usize;
    const RDI: usize = libc::REG_RDI as usize;
    const RSI: usize = libc::REG_RSI as usize;
    const RDX: usize = libc::REG_RDX as usize;
    const R10: usize = libc::REG_R10 as usize;
    if registers[RAX] != -i64::from(libc::EINTR) {
        return;
    }
    let rip = registers[RIP] as usize;
    // SAFETY: the thread has just executed the instruction before rip; the 7 bytes before it lie in the same function, because every
    // stub loads the call's number first. A stub at the very start of a mapping does not exist: ELF text follows its headers.
    let code = unsafe { core::slice::from_raw_parts((rip - 7) as *const u8, 7) };
    let [0xb8, n0, n1, n2, n3, 0x0f, 0x05] = *code else { return };
    let number = i64::from(i32::from_le_bytes([n0, n1, n2, n3]));
    match number {
        libc::SYS_nanosleep if registers[RSI] != 0 => registers[RDI] = registers[RSI],
        libc::SYS_clock_nanosleep if registers[RSI] & 1 == 0 && registers[R10] != 0 => registers[RDX] = registers[R10],
        libc::SYS_nanosleep
        | libc::SYS_clock_nanosleep
        | libc::SYS_poll
        | libc::SYS_ppoll
        | libc::SYS_select
        | libc::SYS_pselect6
        | libc::SYS_epoll_wait
        | libc::SYS_epoll_pwait
        | libc::SYS_epoll_pwait2
        | libc::SYS_futex
        | libc::SYS_rt_sigtimedwait
        | libc::SYS_pause
        | libc::SYS_semtimedop
        | libc::SYS_semop
        | libc::SYS_msgrcv
        | libc::SYS_msgsnd => {}
        _ => return,
    }
    registers[RAX] = number;
    registers[RIP] = rip as i64 - 2;
}

/// On other machines only what `SA_RESTART` restarts is restarted.
#[cfg(not(target_arch = "x86_64"))]
fn restart_system_call(_context: *mut libc::c_void) {}

/// Stops every other thread of the process. `None` if the handler could not be installed.
///
/// The caller holds the heap's locks, so that no thread stands still inside one, and the audit's own lock, so that there is one stopper.
pub fn stop_world() -> Option<StoppedWorld> {
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_stop as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    let mut old: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: both structures are valid; sigfillset fills the mask in place. While a thread stands in our handler it shall not run
    // the program's handlers.
    unsafe {
        libc::sigfillset(&mut action.sa_mask);
        if libc::sigaction(STOP_SIGNAL, &action, &mut old) != 0 {
            return None;
        }
    }
    CLAIMED.store(0, Ordering::Relaxed);
    ARRIVED.store(0, Ordering::Relaxed);
    LEFT.store(0, Ordering::Relaxed);
    HOLD.store(1, Ordering::Release);
    let mut world = StoppedWorld { old, restore: true, not_stopped: 0, listed: true };
    let own = process::thread_id();
    let mut asked = Asked::new();
    loop {
        let mut new = 0;
        let mut blocked = 0;
        world.listed = files::for_each_entry(c"/proc/self/task", &mut |name| {
            let Some(tid) = files::parse_decimal(name).map(|n| n as i32) else { return };
            if tid == own || asked.contains(tid) {
                return;
            }
            new += 1;
            if !asked.add(tid) || signal_is_blocked(tid) {
                blocked += 1;
                return;
            }
            // SAFETY: no memory is passed. A thread that has gone meanwhile gives ESRCH.
            if unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, STOP_SIGNAL) } == 0 {
                asked.sent += 1;
            }
        });
        world.not_stopped += blocked;
        if new == 0 || !world.listed {
            break;
        }
        wait_for_arrivals(asked.sent, &asked);
    }
    let missing = asked.sent.saturating_sub(ARRIVED.load(Ordering::Acquire));
    if missing > 0 {
        let alive = asked.still_alive().saturating_sub(ARRIVED.load(Ordering::Acquire));
        world.not_stopped += alive;
        // A late thread may still take the signal: the handler must stay, or the signal would end the program.
        world.restore = alive == 0;
    }
    Some(world)
}

fn wait_for_arrivals(sent: u32, asked: &Asked) {
    let start = clock::monotonic_ns();
    let mut turns = 0u32;
    loop {
        if ARRIVED.load(Ordering::Acquire) >= sent {
            return;
        }
        turns += 1;
        if turns < 50 {
            // SAFETY: takes no arguments.
            unsafe { libc::sched_yield() };
            continue;
        }
        clock::sleep_ns(50_000);
        if clock::monotonic_ns() - start > DEADLINE_NS || (turns.is_multiple_of(64) && asked.still_alive() <= ARRIVED.load(Ordering::Acquire)) {
            return;
        }
    }
}

impl Drop for StoppedWorld {
    fn drop(&mut self) {
        HOLD.store(0, Ordering::Release);
        process::futex_wake_all(&HOLD);
        if self.restore {
            // A thread that has arrived runs nothing but our handler until it leaves, so the old action may come back at once: the
            // handler's code stays mapped. Restoring waits for nobody.
            // SAFETY: `old` is what sigaction gave us.
            unsafe { libc::sigaction(STOP_SIGNAL, &self.old, core::ptr::null_mut()) };
        }
        // The slots are reused by the next audit: wait until everyone has left the wait, or a late leaver would wait again.
        let mut turns = 0;
        while LEFT.load(Ordering::Acquire) < ARRIVED.load(Ordering::Acquire) && turns < 20_000 {
            turns += 1;
            if turns < 100 {
                // SAFETY: takes no arguments.
                unsafe { libc::sched_yield() };
            } else {
                clock::sleep_ns(100_000);
            }
        }
    }
}

/// Thread ids that were asked to stop.
struct Asked {
    tids: [i32; THREADS_MAX],
    count: usize,
    sent: u32,
}

impl Asked {
    fn new() -> Asked {
        Asked { tids: [0; THREADS_MAX], count: 0, sent: 0 }
    }

    fn contains(&self, tid: i32) -> bool {
        self.tids.iter().take(self.count).any(|&t| t == tid)
    }

    /// `false` if there is no room.
    fn add(&mut self, tid: i32) -> bool {
        match self.tids.get_mut(self.count) {
            Some(slot) => {
                *slot = tid;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    /// How many of those asked exist still (whether or not they have arrived).
    fn still_alive(&self) -> u32 {
        let mut n = 0;
        files::for_each_entry(c"/proc/self/task", &mut |name| {
            if let Some(tid) = files::parse_decimal(name)
                && self.contains(tid as i32)
                && !signal_is_blocked(tid as i32)
            {
                n += 1;
            }
        });
        n
    }
}

/// Whether a thread blocks the stop signal, from the `SigBlk` line of its status. Not for threads that stand in our handler, which
/// blocks everything. A thread already counted as arrived answers `false`.
fn signal_is_blocked(tid: i32) -> bool {
    let n = ARRIVED.load(Ordering::Acquire).min(THREADS_MAX as u32) as usize;
    if SLOTS.iter().take(n).any(|s| s.tid.load(Ordering::Acquire) == tid as u32) {
        return false;
    }
    let mut path = [0u8; 48];
    let prefix = b"/proc/self/task/";
    let mut at = 0;
    let mut put = |b: u8| {
        if let Some(slot) = path.get_mut(at) {
            *slot = b;
            at += 1;
        }
    };
    prefix.iter().for_each(|&b| put(b));
    let mut digits = [0u8; 12];
    let mut n = tid as u32;
    let mut length = 0;
    while let Some(d) = digits.get_mut(length) {
        *d = b'0' + (n % 10) as u8;
        length += 1;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    digits.iter().take(length).rev().for_each(|&b| put(b));
    b"/status".iter().for_each(|&b| put(b));
    let Ok(path) = core::ffi::CStr::from_bytes_until_nul(&path) else { return false };
    let mut blocked = false;
    if let Some(file) = files::File::open(path) {
        file.for_each_line(&mut |line| {
            if let Some(mask) = line.strip_prefix(b"SigBlk:\t") {
                blocked = files::take_hex(mask).0 >> (STOP_SIGNAL - 1) & 1 == 1;
            }
        });
    }
    blocked
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn threads_stand_still_and_go_on_and_a_sleep_is_not_cut_short() {
        let end = Arc::new(AtomicBool::new(false));
        let counter = Arc::new(AtomicUsize::new(0));
        let worker = {
            let (end, counter) = (end.clone(), counter.clone());
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let sleeper = std::thread::spawn(|| {
            let mut fds = [libc::pollfd { fd: -1, events: 0, revents: 0 }];
            // SAFETY: one valid pollfd.
            let r = unsafe { libc::poll(fds.as_mut_ptr(), 1, 300) };
            (r, std::io::Error::last_os_error().raw_os_error())
        });
        std::thread::sleep(std::time::Duration::from_millis(30));
        let world = stop_world().unwrap();
        assert_eq!(world.not_stopped, 0);
        assert!(world.threads().count() >= 2);
        let before = counter.load(Ordering::Relaxed);
        clock::sleep_ns(20_000_000);
        assert_eq!(counter.load(Ordering::Relaxed), before);
        drop(world);
        clock::sleep_ns(20_000_000);
        assert!(counter.load(Ordering::Relaxed) > before);
        end.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        let (r, error) = sleeper.join().unwrap();
        assert_eq!(r, 0, "poll was interrupted: {error:?}");
    }
}
