//! One collection after the other, as the program sees them: begun by a thread that frees or allocates, finished by one that does so later.
//!
//! A *sweep* makes retained blocks reusable that no word leads to. A *full collection* (mode `collect` alone) looks for what was never freed: native blocks
//! that nothing reaches are retained as if the program had freed them, and a sweep follows; lost Python objects wait for the GIL.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::*};

use super::exchange::{self, Exchange};
use super::pace::{self, Level, Pace};
use super::pauses::PAUSES;
use super::records::Totals;
use super::{attached, condemned, lost_objects, request, sweep};
use crate::audit::settings::Settings;
use crate::audit::{frozen, snapshot, suspects};
use crate::heap::{self, cache, modes, pool, retained, wiping};
use crate::python::runtime::Runtime;
use crate::sys::lock::{Ranked, rank};
use crate::sys::process::{self, Ended};
use crate::sys::{clock, registers, text};

/// Sweeps that may fail one after the other before blocks are freed at once again.
const FAILURES_MAX: u32 = 3;
/// How long the thread that collects waits at most when it frees too fast.
const WAIT_NS: u64 = 2_000_000_000;
/// How long the others do, which may hold locks that it needs: so many turns.
const TURNS_MAX: u32 = 500;
/// One turn of waiting.
const TURN_NS: u32 = 200_000;
/// How soon to look again whether a collection under way has ended, in bytes of new spans.
const POLL_BYTES: usize = 1 << 20;

/// With so many bytes retained, threads that free wait.
static HARD_LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// The collector itself is retaining blocks.
static CONDEMNING: AtomicBool = AtomicBool::new(false);
/// The interpreter has been asked for a call in which a full collection can begin.
static ASKED: AtomicBool = AtomicBool::new(false);
/// A snapshot has been taken for a full collection that has not come to its end.
pub(super) static FULL_UNDER_WAY: AtomicBool = AtomicBool::new(false);
/// The process that collects: one made by vfork shares its memory and is not it.
static COLLECTS_IN: AtomicI32 = AtomicI32::new(0);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sweep,
    Full,
}

struct Running {
    kind: Kind,
    child: i32,
    exchange: Exchange,
    started_ns: u64,
}

pub(super) struct Collector {
    pace: Pace,
    running: Option<Running>,
    /// A full collection whose lost objects wait for the GIL. Until then nothing is made reusable, or another object could come to stand in their place.
    waiting: Option<Exchange>,
    /// Of the sweep before, if that was in place.
    spare: Option<Exchange>,
    /// A child that has said all and may not have ended yet; 0 for none.
    ended: i32,
    failures: u32,
    /// Retained bytes at which the next sweep is due, and at which threads wait for it.
    due: (usize, usize),
    /// When the last sweep ended, monotonic ns.
    last_ns: u64,
    /// What is in use.
    level: Level,
    /// Bytes in use at which the next full collection is due, and by how many of them they are to grow.
    full_due: usize,
    full_step: usize,
    pub(super) totals: Totals,
}

const NEW: Collector = Collector {
    pace: pace::QUARANTINE,
    running: None,
    waiting: None,
    spare: None,
    ended: 0,
    failures: 0,
    due: (0, 0),
    last_ns: 0,
    level: Level::NONE,
    full_due: usize::MAX,
    full_step: pace::FULL_BYTES_MIN,
    totals: Totals::NONE,
};
pub(super) static COLLECTOR: Ranked<{ rank::COLLECTOR }, Collector> = Ranked::new(NEW);

/// Retains what is freed from here on, and collects at this pace.
pub fn start(pace: Pace) {
    let mut collector = COLLECTOR.lock();
    collector.pace = pace;
    collector.last_ns = clock::monotonic_ns();
    collector.set_due(pace.due(0));
    if pace.full {
        collector.full_due = collector.full_step;
        retained::watch_growth(on_growth, POLL_BYTES);
    }
    drop(collector);
    COLLECTS_IN.store(process::id(), Release);
    // What stood in a block that is reused would else be found in its new life, as far as that is not written to, and keep what was freed.
    wiping::from_now_on();
    if pace.full {
        modes::switch_on(modes::ROOM);
        cache::hide_direct();
    }
    retained::start(on_due, request::sweep_now);
}

/// Whether what was never freed is looked for in this process.
pub(super) fn looks_for_what_was_never_freed() -> bool {
    COLLECTOR.lock().pace.full
}

/// What collections have come to.
pub fn totals() -> Totals {
    COLLECTOR.lock().totals
}

/// In a child made by fork: the collection under way is the parent's. If the parent's other threads are gone, nothing that was not freed is looked for any more: what they
/// held is lost like a leak, but CPython never ends such objects in the child, and their destructors would close, remove and wait for what is the parent's.
///
/// # Safety
/// No other thread exists.
pub unsafe fn after_fork_in_child(threads_are_gone: bool) {
    if COLLECTS_IN.load(Acquire) == 0 {
        return;
    }
    let kept = COLLECTOR.try_lock_and_keep();
    // SAFETY: held by the line above, or by a thread that is not here.
    unsafe { COLLECTOR.release_kept() };
    let mut collector = COLLECTOR.lock();
    let Collector { pace, due, last_ns, level, full_due, full_step, .. } = *collector;
    let before = core::mem::replace(&mut *collector, Collector { pace, due, last_ns, level, full_due, full_step, ..NEW });
    if !kept {
        // It may be half changed.
        core::mem::forget(before);
    }
    if threads_are_gone {
        collector.pace.full = false;
        collector.full_due = usize::MAX;
    }
    for flag in [&ASKED, &CONDEMNING, &FULL_UNDER_WAY] {
        flag.store(false, Release);
    }
    PAUSES.forget();
    COLLECTS_IN.store(process::id(), Release);
}

/// Called when enough is retained: begins a sweep, or finishes what is under way. Where another thread is at it and too much is retained, waits a
/// little: else threads that free faster than one of them can collect would grow the heap without bounds.
fn on_due() {
    if !collects_here() || CONDEMNING.load(Relaxed) {
        return;
    }
    for _ in 0..TURNS_MAX {
        if registers::call(step, 0) != 0 || retained::pressing_bytes() < HARD_LIMIT.load(Relaxed) {
            return;
        }
        clock::sleep_ns(TURN_NS);
    }
}

/// One step; 0 if another thread is at it.
extern "C" fn step(_: usize, stack_pointer: usize) -> i32 {
    let Some(mut collector) = COLLECTOR.try_lock() else { return 0 };
    match &collector.running {
        None => collector.sweep(stack_pointer),
        Some(_) => collector.go_on(false, stack_pointer),
    }
    1
}

/// Called when the heap has grown: begins a full collection if what is in use has grown, or finishes what is under way.
fn on_growth() {
    if collects_here() {
        registers::call(growth, 0);
    }
}

extern "C" fn growth(_: usize, stack_pointer: usize) -> i32 {
    let Some(mut collector) = COLLECTOR.try_lock() else { return 0 };
    let (live, full_due) = (collector.level.now(), collector.full_due);
    if collector.running.is_some() {
        // Whoever allocates faster than can be looked at waits.
        let too_fast = live > full_due.saturating_add(collector.full_step);
        collector.go_on(too_fast, stack_pointer);
    } else if live >= full_due {
        match Runtime::get() {
            Some(runtime) => ask_for_a_call(runtime),
            None => collector.full(stack_pointer),
        }
    }
    retained::watch_growth(on_growth, pool::made_bytes() + POLL_BYTES);
    0
}

/// With an interpreter, a full collection begins between two bytecodes, with the GIL: then counts and words belong together.
fn ask_for_a_call(runtime: &Runtime) {
    if let Some(add) = runtime.symbols.add_pending_call
        && runtime.initialized()
        && !ASKED.swap(true, AcqRel)
    {
        // SAFETY: the interpreter is initialized; the function may be called from any thread, with or without the GIL.
        if unsafe { add(at_a_safe_point, core::ptr::null_mut()) } != 0 {
            ASKED.store(false, Release);
        }
    }
}

/// The interpreter's call: the GIL is held, and Python code may run.
unsafe extern "C" fn at_a_safe_point(_: *mut c_void) -> c_int {
    ASKED.store(false, Release);
    if collects_here() {
        drop_lost_objects();
        registers::call(full_step, 0);
    }
    0
}

extern "C" fn full_step(_: usize, stack_pointer: usize) -> i32 {
    if let Some(mut collector) = COLLECTOR.try_lock()
        && collector.running.is_none()
        && collector.level.now() >= collector.full_due
    {
        collector.full(stack_pointer);
    }
    0
}

/// With the GIL: drops what nobody holds of the objects that a full collection found lost. Outside the collector's lock, since destructors run.
pub(super) fn drop_lost_objects() {
    let Some(exchange) = COLLECTOR.lock().waiting.take() else { return };
    if let Some(runtime) = Runtime::get().filter(|r| r.initialized() && r.holds_gil()) {
        // SAFETY: the GIL is held, in a pending call or in a call of the program's.
        let dropped = exchange.full.map_or(0, |full| unsafe { lost_objects::drop_references(runtime, &full) }.objects);
        let mut collector = COLLECTOR.lock();
        collector.totals.dropped_objects += dropped;
    }
}

impl Collector {
    /// Begins a sweep.
    pub(super) fn sweep(&mut self, stack_pointer: usize) {
        if self.waiting.is_some() {
            if retained::pressing_bytes() < HARD_LIMIT.load(Relaxed) {
                return;
            }
            // The interpreter does not come to a safe point. The next full collection finds the objects again.
            self.waiting = None;
        }
        self.reap();
        let in_place = self.pace.in_place();
        let spare = self.spare.take().filter(|_| in_place).and_then(Exchange::again);
        let Some(exchange) = spare.or_else(Exchange::for_sweep) else { return self.sweep_failed("memory") };
        let kinds = Settings::get().kinds;
        let pause_ns = &exchange.handoff.pause_ns;
        let started_ns = clock::monotonic_ns();
        if in_place {
            match frozen::hold(stack_pointer, false, pause_ns, &|moment| sweep::in_place(moment, kinds, &exchange)) {
                Ok(()) => {
                    self.swept(&exchange, started_ns);
                    self.spare = Some(exchange);
                }
                Err(what) => self.sweep_failed(what),
            }
        } else {
            match frozen::take(stack_pointer, false, pause_ns, &|moment| sweep::in_child(moment, kinds, &exchange)) {
                Ok(child) => self.run(Kind::Sweep, child, exchange),
                Err(what) => self.sweep_failed(what),
            }
        }
    }

    /// Begins a full collection.
    pub(super) fn full(&mut self, stack_pointer: usize) {
        self.reap();
        // Anew: what has been found before may have changed since.
        self.waiting = None;
        let Some(exchange) = Exchange::for_full() else { return self.full_failed() };
        attached::begin();
        let settings = Settings::get();
        let work = |moment: &frozen::Moment<'_>| condemned::in_child(moment, settings, &exchange);
        match frozen::take(stack_pointer, false, &exchange.handoff.pause_ns, &work) {
            Ok(child) => self.run(Kind::Full, child, exchange),
            Err(_) => self.full_failed(),
        }
    }

    fn run(&mut self, kind: Kind, child: i32, exchange: Exchange) {
        FULL_UNDER_WAY.store(kind == Kind::Full, Release);
        self.running = Some(Running { kind, child, exchange, started_ns: clock::monotonic_ns() });
    }

    fn reap(&mut self) {
        if self.ended != 0 {
            process::reap_snapshot(core::mem::take(&mut self.ended));
        }
    }

    pub(super) fn finish_whatever(&mut self, stack_pointer: usize) {
        while self.running.is_some() {
            self.go_on(true, stack_pointer);
        }
    }

    /// Looks whether the child is done; waits for it if it is asked to, or if the program retains faster than children can look.
    fn go_on(&mut self, wait: bool, stack_pointer: usize) {
        let until = clock::monotonic_ns() + WAIT_NS;
        while let Some(running) = &self.running {
            let working = running.exchange.state() == exchange::WORKING;
            let runs = working && process::poll_snapshot(running.child) == Ended::Running;
            if runs {
                let deadline = u64::from(Settings::get().deadline_s) * 1_000_000_000;
                let now = clock::monotonic_ns();
                if now - running.started_ns > deadline {
                    process::kill_snapshot(running.child);
                } else if !wait && (retained::pressing_bytes() < HARD_LIMIT.load(Relaxed) || now > until) {
                    return;
                } else {
                    clock::sleep_ns(TURN_NS);
                    continue;
                }
            }
            let Some(running) = self.running.take() else { return };
            self.ended = if working { 0 } else { running.child };
            match running.kind {
                Kind::Sweep => self.swept(&running.exchange, running.started_ns),
                Kind::Full => self.collected(running.exchange, stack_pointer),
            }
            FULL_UNDER_WAY.store(false, Release);
            return;
        }
    }

    /// A sweep has come to its end.
    fn swept(&mut self, exchange: &Exchange, started_ns: u64) {
        if exchange.state() != exchange::FOUND {
            return self.sweep_failed("they could not see all of the program's memory");
        }
        let (mut reused, mut last) = (0, None);
        exchange.blocks.for_each(&mut |entry| {
            if let Some(before) = last.replace(entry.span).filter(|&before| before != entry.span) {
                retained::released_all_of(before);
            }
            // SAFETY: no word led to these blocks at the snapshot. Since then nobody can have come by one.
            reused += unsafe { retained::release(entry.span, entry.word as usize, entry.bits) } as u64;
        });
        last.into_iter().for_each(retained::released_all_of);
        // SAFETY: blocks that stay retained, since this sweep kept them and no other has run.
        exchange.emptied.for_each(&mut |one| unsafe { retained::empty(one.span, one.word as usize, one.bits) });
        exchange.reprieved.for_each(&mut |one| heap::condemned::reprieve(one.span, one.word as usize, one.bits));
        self.totals.sweeps += 1;
        self.totals.reused_bytes += reused;
        self.totals.kept_bytes = exchange.header.kept_bytes.load(Acquire);
        PAUSES.note(exchange.handoff.pause_ns.load(Acquire));
        self.failures = 0;
        let now = clock::monotonic_ns();
        let (reading, since) = (exchange.header.reading_ns.load(Acquire), started_ns.saturating_sub(self.last_ns));
        self.last_ns = now;
        let live = exchange.header.in_use_bytes.load(Acquire);
        self.level = Level::seen(live as usize);
        let due = self.pace.after(reading, since, live as usize, self.totals.kept_bytes as usize);
        self.set_due(due);
    }

    /// A full collection has come to its end.
    fn collected(&mut self, exchange: Exchange, stack_pointer: usize) {
        if exchange.handoff.failing.load(Acquire) != 0 {
            snapshot::note_failing();
        }
        if exchange.state() != exchange::FOUND {
            suspects::add(exchange.handoff.traversing.load(Acquire));
            return self.full_failed();
        }
        self.totals.full += 1;
        PAUSES.note(exchange.handoff.pause_ns.load(Acquire));
        let Some(full) = &exchange.full else { return self.full_failed() };
        let before = retained::bytes();
        CONDEMNING.store(true, Release);
        attached::settle(&exchange, full);
        CONDEMNING.store(false, Release);
        let condemned = retained::bytes().saturating_sub(before);
        self.totals.condemned_bytes += condemned as u64;
        let (reached, lost) = (exchange.header.reached_bytes.load(Acquire), exchange.header.lost_bytes.load(Acquire));
        self.full_step = self.pace.full_step(self.full_step, reached as usize, lost as usize);
        self.level = Level::seen(reached as usize);
        self.full_due = reached as usize + self.full_step;
        if !full.heads.is_empty()
            && let Some(runtime) = Runtime::get()
        {
            self.waiting = Some(exchange);
            ask_for_a_call(runtime);
            return;
        }
        if condemned > 0 {
            self.sweep(stack_pointer);
        }
    }

    fn set_due(&mut self, (due, hard_limit): (usize, usize)) {
        self.due = (due, hard_limit);
        retained::set_due(due);
        HARD_LIMIT.store(hard_limit, Relaxed);
    }

    /// What is due comes later; what was never freed stays.
    fn full_failed(&mut self) {
        self.full_later();
    }

    fn full_later(&mut self) {
        self.full_due = self.level.now() + self.full_step;
    }

    fn sweep_failed(&mut self, what: &str) {
        self.failures += 1;
        if self.failures < FAILURES_MAX {
            self.set_due(self.pace.due(retained::pressing_bytes()));
            return;
        }
        retained::give_up();
        text::stderr_line(format_args!(
            "gcshim: {FAILURES_MAX} collections failed one after the other ({what}); from here on blocks are reused at once"
        ));
    }
}

pub(super) fn collects_here() -> bool {
    COLLECTS_IN.load(Relaxed) == process::id()
}
