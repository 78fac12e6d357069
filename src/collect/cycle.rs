//! One collection after the other, as the program sees them: begun by a thread that frees, finished by one that frees later.

use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::*};

use super::exchange::{self, Exchange};
use super::pace::Pace;
use super::sweep;
use crate::audit::frozen;
use crate::audit::settings::Settings;
use crate::heap::retained;
use crate::sys::lock::{Ranked, rank};
use crate::sys::process::{self, Ended};
use crate::sys::{clock, registers, text};

/// Collections that may fail one after the other before blocks are freed at once again.
const FAILURES_MAX: u32 = 3;
/// How long the thread that collects waits at most when it frees too fast.
const WAIT_NS: u64 = 2_000_000_000;
/// How long the others do, which may hold locks that it needs: so many turns.
const TURNS_MAX: u32 = 500;
/// One turn of waiting.
const TURN_NS: u32 = 200_000;

/// With so many bytes retained, threads that free wait.
static HARD_LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// What collections have come to in this process.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    /// Collections that were finished.
    pub collections: u64,
    /// Bytes made reusable.
    pub reused_bytes: u64,
    /// Pauses together, ns.
    pub pause_ns: u64,
    /// The longest pause, ns.
    pub pause_ns_max: u64,
    /// Bytes that the last one kept, since words lead to them.
    pub kept_bytes: u64,
}

struct Running {
    child: i32,
    exchange: Exchange,
    started_ns: u64,
}

struct Collector {
    pace: Pace,
    running: Option<Running>,
    /// A child that has said all and may not have ended yet; 0 for none.
    ended: i32,
    failures: u32,
    due: usize,
    totals: Totals,
}

const NEW: Collector = Collector {
    pace: super::pace::QUARANTINE,
    running: None,
    ended: 0,
    failures: 0,
    due: 0,
    totals: Totals { collections: 0, reused_bytes: 0, pause_ns: 0, pause_ns_max: 0, kept_bytes: 0 },
};
static COLLECTOR: Ranked<{ rank::COLLECTOR }, Collector> = Ranked::new(NEW);

/// The process that collects: one made by vfork shares its memory and is not it.
static COLLECTS_IN: AtomicI32 = AtomicI32::new(0);

/// Retains what is freed from here on, and collects at this pace.
pub fn start(pace: Pace) {
    let mut collector = COLLECTOR.lock();
    collector.pace = pace;
    let due = pace.due(0);
    collector.set_due(due);
    drop(collector);
    COLLECTS_IN.store(pid(), Release);
    retained::start(on_due, collect_now);
}

/// What collections have come to.
pub fn totals() -> Totals {
    COLLECTOR.lock().totals
}

/// In a child made by fork: the collection under way is the parent's.
///
/// # Safety
/// No other thread exists.
pub unsafe fn after_fork_in_child() {
    if COLLECTS_IN.load(Acquire) == 0 {
        return;
    }
    let kept = COLLECTOR.try_lock_and_keep();
    // SAFETY: held by the line above, or by a thread that is not here.
    unsafe { COLLECTOR.release_kept() };
    let mut collector = COLLECTOR.lock();
    let (pace, due) = (collector.pace, collector.due);
    let before = core::mem::replace(&mut *collector, Collector { pace, due, ..NEW });
    if !kept {
        // It may be half changed.
        core::mem::forget(before);
    }
    COLLECTS_IN.store(pid(), Release);
}

/// Called when enough is retained: begins a collection, or finishes the one under way. Where another thread is at it and too much is retained, waits a
/// little: else threads that free faster than one of them can collect would grow the heap without bounds.
fn on_due() {
    if COLLECTS_IN.load(Relaxed) != pid() {
        return;
    }
    for _ in 0..TURNS_MAX {
        if registers::call(step, 0) != 0 || retained::bytes() < HARD_LIMIT.load(Relaxed) {
            return;
        }
        clock::sleep_ns(TURN_NS);
    }
}

/// Collects, and waits for the result: whether anything was made reusable.
pub fn collect_now() -> bool {
    COLLECTS_IN.load(Relaxed) == pid() && registers::call(whole, 0) != 0
}

/// One step; 0 if another thread is at it.
extern "C" fn step(_: usize, stack_pointer: usize) -> i32 {
    let Some(mut collector) = COLLECTOR.try_lock() else { return 0 };
    match &collector.running {
        None => collector.begin(stack_pointer),
        Some(_) => collector.continue_running(false),
    }
    1
}

/// A collection from beginning to end; 1 if it made anything reusable.
extern "C" fn whole(_: usize, stack_pointer: usize) -> i32 {
    let mut collector = COLLECTOR.lock();
    let before = collector.totals.reused_bytes;
    if collector.running.is_none() {
        collector.begin(stack_pointer);
    }
    collector.continue_running(true);
    i32::from(collector.totals.reused_bytes > before)
}

impl Collector {
    fn begin(&mut self, stack_pointer: usize) {
        if self.ended != 0 {
            process::reap_snapshot(core::mem::take(&mut self.ended));
        }
        let Some(exchange) = Exchange::new() else { return self.failed("memory") };
        let kinds = Settings::get().kinds;
        let pause_ns = &exchange.header.pause_ns;
        if self.pace.in_place() {
            match frozen::hold(stack_pointer, false, pause_ns, &|moment| sweep::in_place(moment, kinds, &exchange)) {
                Ok(()) => self.finish(exchange),
                Err(what) => self.failed(what),
            }
        } else {
            match frozen::take(stack_pointer, false, pause_ns, &|moment| sweep::in_child(moment, kinds, &exchange)) {
                Ok(child) => self.running = Some(Running { child, exchange, started_ns: clock::monotonic_ns() }),
                Err(what) => self.failed(what),
            }
        }
    }

    /// Looks whether the child is done; waits for it if it is asked to, or if the program retains faster than children can look.
    fn continue_running(&mut self, wait: bool) {
        let until = clock::monotonic_ns() + WAIT_NS;
        while let Some(running) = &self.running {
            let state = running.exchange.state();
            let ended = if state == exchange::WORKING { process::poll_snapshot(running.child) } else { Ended::Lost };
            if state == exchange::WORKING && ended == Ended::Running {
                let deadline = u64::from(Settings::get().deadline_s) * 1_000_000_000;
                let now = clock::monotonic_ns();
                if now - running.started_ns > deadline {
                    process::kill_snapshot(running.child);
                    return self.failed("a collection's process did not come to its end in time");
                }
                if !wait && (retained::bytes() < HARD_LIMIT.load(Relaxed) || now > until) {
                    return;
                }
                clock::sleep_ns(TURN_NS);
                continue;
            }
            if let Some(running) = self.running.take() {
                self.ended = running.child;
                self.finish(running.exchange);
            }
        }
    }

    fn finish(&mut self, exchange: Exchange) {
        if exchange.state() != exchange::FOUND {
            return self.failed("a collection could not see all of the program's memory");
        }
        let mut reused = 0;
        exchange.for_each(&mut |entry| {
            // SAFETY: no word led to these blocks at the snapshot. Since then nobody can have come by one.
            reused += unsafe { retained::release(entry.span, entry.word as usize, entry.bits) } as u64;
        });
        let pause = exchange.header.pause_ns.load(Acquire);
        self.totals.collections += 1;
        self.totals.reused_bytes += reused;
        self.totals.pause_ns += pause;
        self.totals.pause_ns_max = self.totals.pause_ns_max.max(pause);
        self.totals.kept_bytes = exchange.header.kept_bytes.load(Acquire);
        self.failures = 0;
        self.set_due(self.pace.due(self.totals.kept_bytes as usize));
    }

    fn set_due(&mut self, due: usize) {
        self.due = due;
        retained::set_due(due);
        HARD_LIMIT.store(self.pace.hard_limit(due), Relaxed);
    }

    fn failed(&mut self, what: &str) {
        self.running = None;
        self.failures += 1;
        if self.failures < FAILURES_MAX {
            self.set_due(retained::bytes() + self.pace.least_bytes);
            return;
        }
        retained::give_up();
        text::stderr_line(format_args!(
            "gcshim: {FAILURES_MAX} collections failed one after the other ({what}); from here on blocks are reused at once"
        ));
    }
}

fn pid() -> i32 {
    // SAFETY: takes no arguments.
    unsafe { libc::getpid() }
}
