//! Stopping the world: every other thread stands still in a signal handler until it is let go.
//!
//! The handshake: the stopper installs the handler, sends the signal with this stop's number to each thread it finds in `/proc/self/task`, and
//! looks again until a pass finds nobody new. The handler notes where its registers lie (in the signal frame on its own stack, which
//! stays put while it stands) and waits on a futex. A signal of an earlier stop that comes late has another number and is let by.
//!
//! Threads that cannot answer (they block even this signal, wait in the kernel uninterruptibly, or are held by a debugger) are left alone
//! and counted. The kernel tells what it holds for them, and the caller treats their stacks as plain memory.

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::exec_gate::GATE;
#[cfg(target_arch = "x86_64")]
use super::restart;
use super::stop_signal::{self, Action};
use super::thread_status::status_of;
use super::{clock, files, process};

/// Threads that can be held at once; more are left running and counted.
pub const THREADS_MAX: usize = 8192;

/// How long to wait for a thread that is able to answer and does not, since the last answer from anybody.
const DEADLINE_NS: u64 = 2_000_000_000;
/// After this long without an answer from anybody, those that cannot answer are looked for.
const QUIET_NS: u64 = 10_000_000;

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

/// A thread that did not stop.
#[derive(Clone, Copy)]
pub struct Unstopped {
    /// Start and end of the words that the kernel holds for it: arguments of the system call it is in, if any.
    pub words: (usize, usize),
}

struct Slot {
    tid: AtomicI32,
    context: AtomicUsize,
    thread_pointer: AtomicUsize,
}

#[allow(clippy::declare_interior_mutable_const)]
const EMPTY: Slot = Slot { tid: AtomicI32::new(0), context: AtomicUsize::new(0), thread_pointer: AtomicUsize::new(0) };

/// Slots claimed by handlers in the order of their arrival.
static SLOTS: [Slot; THREADS_MAX] = [EMPTY; THREADS_MAX];
/// The stop's number in the upper half, claimed slots in the lower.
static CLAIMED: AtomicU64 = AtomicU64::new(0);
/// Handlers that have filled their slot.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
/// With this many arrivals the stopper is to be woken.
static WANTED: AtomicU32 = AtomicU32::new(0);
/// The number of the stop that is to last; 0 for none.
static HOLD: AtomicU32 = AtomicU32::new(0);
/// The last stop's number.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Unstopped threads whose system calls are looked at; of more only the number is known.
const UNSTOPPED_MAX: usize = 64;
/// Arguments of a system call.
const ARGUMENTS: usize = 6;
#[allow(clippy::declare_interior_mutable_const)]
const NO_ARGUMENTS: [AtomicUsize; ARGUMENTS] = [const { AtomicUsize::new(0) }; ARGUMENTS];
static HELD: [[AtomicUsize; ARGUMENTS]; UNSTOPPED_MAX] = [NO_ARGUMENTS; UNSTOPPED_MAX];

/// The stopped world. Made only by [`stop_world`]; dropping it lets the threads go (in the parent).
pub struct StoppedWorld {
    before: Action,
    restore: bool,
    /// Threads that could not be stopped.
    pub not_stopped: u32,
    /// `false` if `/proc/self/task` could not be read: then only the calling thread is known.
    pub listed: bool,
}

impl StoppedWorld {
    /// The threads that stand still, without the calling one.
    pub fn threads(&self) -> impl Iterator<Item = Stopped> {
        let n = ARRIVED.load(Ordering::Acquire) as usize;
        SLOTS.iter().take(n).map(|s| Stopped {
            tid: s.tid.load(Ordering::Relaxed),
            context: s.context.load(Ordering::Relaxed),
            thread_pointer: s.thread_pointer.load(Ordering::Relaxed),
        })
    }

    /// What is known of those that did not.
    pub fn unstopped(&self) -> impl Iterator<Item = Unstopped> {
        HELD.iter().take(self.not_stopped as usize).map(|words| {
            let start = words.as_ptr() as usize;
            Unstopped { words: (start, start + size_of_val(words)) }
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

extern "C" fn on_stop(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: what the kernel gave us.
    let Some(number) = (unsafe { stop_signal::number(info) }) else {
        return stop_signal::pass_on(signal, info, context);
    };
    // SAFETY: __errno_location is valid for the calling thread; the interrupted code must find its errno again.
    let errno = unsafe { *libc::__errno_location() };
    #[cfg(target_arch = "x86_64")]
    let stopped_ns = clock::monotonic_ns();
    let tid = process::thread_id();
    if let Some(slot) = claim(number).and_then(|at| SLOTS.get(at)) {
        slot.context.store(context as usize, Ordering::Relaxed);
        slot.thread_pointer.store(thread_pointer(), Ordering::Relaxed);
        slot.tid.store(tid, Ordering::Relaxed);
        if ARRIVED.fetch_add(1, Ordering::AcqRel) + 1 == WANTED.load(Ordering::Acquire) {
            process::futex_wake_all(&ARRIVED);
        }
        while HOLD.load(Ordering::Acquire) == number {
            process::futex_wait(&HOLD, number, None);
        }
    }
    // On aarch64 the first argument is gone once a call has failed, so only what SA_RESTART restarts is restarted.
    #[cfg(target_arch = "x86_64")]
    restart::resume_call(context, tid, stopped_ns);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// A slot's index, if the stop `number` is still on and there is room.
fn claim(number: u32) -> Option<usize> {
    let mut claimed = CLAIMED.load(Ordering::Acquire);
    loop {
        let at = claimed as u32;
        if (claimed >> 32) as u32 != number || at as usize >= THREADS_MAX || HOLD.load(Ordering::Acquire) != number {
            return None;
        }
        match CLAIMED.compare_exchange_weak(claimed, claimed + 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(at as usize),
            Err(now) => claimed = now,
        }
    }
}

/// Stops every other thread of the process. `None` if the handler could not be installed, or a thread is becoming another program for long.
///
/// The caller holds the heap's locks, so that no thread stands still inside one, and the audit's own lock, so that there is one stopper.
pub fn stop_world() -> Option<StoppedWorld> {
    if !GATE.close() {
        return None;
    }
    let Some(before) = stop_signal::install(on_stop) else {
        GATE.open();
        return None;
    };
    let number = NUMBER.fetch_add(1, Ordering::AcqRel).wrapping_add(1).max(1);
    ARRIVED.store(0, Ordering::Relaxed);
    WANTED.store(u32::MAX, Ordering::Relaxed);
    CLAIMED.store(u64::from(number) << 32, Ordering::Relaxed);
    HOLD.store(number, Ordering::Release);
    let mut world = StoppedWorld { before, restore: true, not_stopped: 0, listed: true };
    let mut asked = Asked::new();
    loop {
        let seen = asked.count;
        world.listed = for_each_other_thread(&mut |tid| asked.ask(tid, number));
        if asked.count == seen || !world.listed {
            break;
        }
        wait_for_answers(&asked);
    }
    close(number);
    if asked.refused > 0 || (ARRIVED.load(Ordering::Acquire) as usize) < asked.count {
        note_unstopped(&mut world, &asked);
    }
    Some(world)
}

/// Ends the arrivals, so that what is known now stays true: who has a slot is waited for, and nobody gets another.
fn close(number: u32) {
    let claimed = CLAIMED.swap(u64::from(number.wrapping_add(1)) << 32 | THREADS_MAX as u64, Ordering::AcqRel) as u32;
    while ARRIVED.load(Ordering::Acquire) < claimed {
        clock::sleep_ns(50_000);
    }
}

/// Waits until everybody who was asked has arrived, or cannot.
fn wait_for_answers(asked: &Asked) {
    let mut able = asked.count as u32;
    let mut last = (ARRIVED.load(Ordering::Acquire), clock::monotonic_ns());
    loop {
        WANTED.store(able, Ordering::Release);
        let arrived = ARRIVED.load(Ordering::Acquire);
        let now = clock::monotonic_ns();
        if arrived >= able || now - last.1 > DEADLINE_NS {
            return;
        }
        if arrived != last.0 {
            last = (arrived, now);
        } else if now - last.1 > QUIET_NS {
            let quiet_ns = now - last.1;
            let mut waiting = 0;
            for_each_other_thread(&mut |tid| {
                if asked.has(tid) && !has_arrived(tid) && status_of(tid).is_some_and(|s| s.may_answer(quiet_ns)) {
                    waiting += 1;
                }
            });
            // Somebody may have arrived during the look: then he was counted, or is among the arrived, or both, which only makes us look again.
            able = arrived + waiting;
            if waiting == 0 {
                return;
            }
        }
        process::futex_wait(&ARRIVED, arrived, Some(QUIET_NS));
    }
}

/// Counts the threads that exist and did not stop, and keeps what the kernel holds for them.
fn note_unstopped(world: &mut StoppedWorld, asked: &Asked) {
    let mut outstanding = 0;
    for_each_other_thread(&mut |tid| {
        if has_arrived(tid) || status_of(tid).is_some_and(|s| s.is_gone()) {
            return;
        }
        if let Some(words) = HELD.get(world.not_stopped as usize) {
            hold_arguments(tid, words);
        }
        world.not_stopped += 1;
        outstanding += usize::from(asked.has(tid));
    });
    // A late one still takes the signal: our handler must stay, or glibc's would not give it its system call back.
    world.restore = outstanding == 0;
}

impl StoppedWorld {
    /// Lets the threads go, and calls `released` with the moment, monotonic ns. Before the wake-up, because waking many threads takes the processor
    /// away from their waker.
    pub fn release(self, released: impl FnOnce(u64)) {
        HOLD.store(0, Ordering::Release);
        released(clock::monotonic_ns());
    }
}

impl Drop for StoppedWorld {
    fn drop(&mut self) {
        HOLD.store(0, Ordering::Release);
        process::futex_wake_all(&HOLD);
        if self.restore {
            // Those who stand in the handler run nothing else until they leave it, and its code stays mapped: nobody is waited for.
            stop_signal::restore(&self.before);
        }
        GATE.open();
    }
}

/// The threads that were sent a signal: a hash set by thread id. A static, because the stopper's stack may be small; there is one stopper.
static ASKED: [AtomicI32; ASKED_MAX] = [const { AtomicI32::new(0) }; ASKED_MAX];
const ASKED_MAX: usize = 2 * THREADS_MAX;

struct Asked {
    count: usize,
    /// Threads for which there was no room, or to which the signal could not be sent.
    refused: u32,
    pid: i32,
}

impl Asked {
    fn new() -> Asked {
        ASKED.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
        // SAFETY: takes no arguments.
        Asked { count: 0, refused: 0, pid: unsafe { libc::getpid() } }
    }

    /// Its slot, or the free slot where it belongs.
    fn slot(tid: i32) -> &'static AtomicI32 {
        let mut at = tid as usize % ASKED_MAX;
        loop {
            let slot = &ASKED[at];
            let there = slot.load(Ordering::Relaxed);
            if there == tid || there == 0 {
                return slot;
            }
            at = (at + 1) % ASKED_MAX;
        }
    }

    fn has(&self, tid: i32) -> bool {
        Self::slot(tid).load(Ordering::Relaxed) == tid
    }

    fn ask(&mut self, tid: i32, number: u32) {
        let slot = Self::slot(tid);
        if slot.load(Ordering::Relaxed) == tid {
            return;
        }
        if self.count == THREADS_MAX || !stop_signal::send(self.pid, tid, number) {
            // Gone meanwhile, or the queue of signals is full.
            self.refused += 1;
            return;
        }
        slot.store(tid, Ordering::Relaxed);
        self.count += 1;
    }
}

/// Calls `thread` with each thread's id but the calling one's; `false` if they cannot be listed, or told from the calling one.
fn for_each_other_thread(thread: &mut dyn FnMut(i32)) -> bool {
    let own = process::thread_id();
    if own <= 0 {
        // A sandbox that forbids even this. The calling thread must not be among those that stand still.
        return false;
    }
    files::for_each_entry(c"/proc/self/task", &mut |name| {
        if let Some(tid) = files::parse_decimal(name).map(|n| n as i32).filter(|&tid| tid != own) {
            thread(tid);
        }
    })
}

fn has_arrived(tid: i32) -> bool {
    let n = ARRIVED.load(Ordering::Acquire) as usize;
    SLOTS.iter().take(n).any(|s| s.tid.load(Ordering::Acquire) == tid)
}

/// `/proc/self/task/TID/syscall`: `number 0x.. 0x.. 0x.. 0x.. 0x.. 0x.. sp pc`, or `running`, or `-1 sp pc` in no system call (proc(5)).
fn hold_arguments(tid: i32, words: &[AtomicUsize; ARGUMENTS]) {
    words.iter().for_each(|w| w.store(0, Ordering::Relaxed));
    let Some(file) = files::open_of_thread(tid, b"syscall") else { return };
    file.for_each_line_up_to::<512>(&mut |line| {
        let mut fields = line.split(|&b| b == b' ');
        if fields.next().and_then(files::parse_decimal).is_some() {
            for (word, field) in words.iter().zip(fields.filter_map(|f| f.strip_prefix(b"0x"))) {
                word.store(files::take_hex(field).0, Ordering::Relaxed);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Mutex};

    /// There is one stopper at a time.
    static STOPPER: Mutex<()> = Mutex::new(());

    #[test]
    fn threads_stand_still_and_go_on_and_a_poll_is_not_cut_short() {
        let _one = STOPPER.lock().unwrap();
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
        while counter.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        for _ in 0..5 {
            let world = stop_world().unwrap();
            assert!(world.listed);
            let before = counter.load(Ordering::Relaxed);
            clock::sleep_ns(20_000_000);
            assert_eq!(counter.load(Ordering::Relaxed), before);
            drop(world);
            while counter.load(Ordering::Relaxed) == before {
                std::thread::yield_now();
            }
        }
        end.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        let (r, error) = sleeper.join().unwrap();
        assert_eq!(r, 0, "poll was interrupted: {error:?}");
    }

    #[test]
    fn the_signals_old_action_comes_back() {
        let _one = STOPPER.lock().unwrap();
        // The first thread makes glibc install its handler.
        std::thread::spawn(|| ()).join().unwrap();
        let before = stop_signal::action_of(stop_signal::STOP_SIGNAL).unwrap();
        let world = stop_world().unwrap();
        let during = stop_signal::action_of(stop_signal::STOP_SIGNAL).unwrap();
        assert_ne!(format!("{before:?}"), format!("{during:?}"));
        let all_stopped = world.not_stopped == 0;
        drop(world);
        let after = stop_signal::action_of(stop_signal::STOP_SIGNAL).unwrap();
        assert_eq!(all_stopped, format!("{after:?}") == format!("{before:?}"));
    }
}
