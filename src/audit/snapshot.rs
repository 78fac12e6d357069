//! An audit as the program sees it: one at a time, its child waited for or left to itself, its failures told.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::records;
use super::settings::Settings;
use super::{Failure, Trigger, child, frozen, suspects};
use crate::python::block_labels;
use crate::sys::process::{self, Ended};
use crate::sys::shared::{self, Shared};
use crate::sys::text::Writer;
use crate::sys::{clock, text};

/// What parent and child tell each other through a shared page. All zero at first.
#[derive(Default)]
pub struct Handoff {
    /// Written by the parent when its threads run again: how long they stood still, ns.
    pub pause_ns: AtomicU64,
    /// Written by the child: failing findings.
    pub failing: AtomicU32,
    /// Written by the child last of all.
    pub done: AtomicU32,
    /// Written by the child: the type whose `tp_traverse` is being called, 0 for none.
    pub traversing: AtomicUsize,
}

/// The child's exit statuses: none that a function of the program would end it with.
pub mod status {
    /// Nothing failing.
    pub const CLEAN: i32 = 200;
    /// A failing verdict was found.
    pub const FAILING: i32 = 201;
    /// Without memory for the census.
    pub const NO_MEMORY: i32 = 202;
}

static BUSY: AtomicBool = AtomicBool::new(false);
/// A failing verdict has been found in this process.
static FAILED: AtomicBool = AtomicBool::new(false);
/// This process, or one that it comes from, was forked while there were other threads.
static THREADS_ARE_GONE: AtomicBool = AtomicBool::new(false);
/// A child that nobody waited for yet, 0 for none.
static RUNNING: AtomicI32 = AtomicI32::new(0);
/// Whether the interpreter's object allocator has been ours from the start.
static ROUTED: AtomicBool = AtomicBool::new(false);
/// Bytes that the interpreter's debug hooks put before each of its blocks; 0 without them.
static HEADER_BYTES: AtomicU32 = AtomicU32::new(0);

/// Whether a failing verdict has been found in this process.
pub fn failed() -> bool {
    FAILED.load(Ordering::Acquire)
}

/// Notes that the interpreter's objects come from the object domain, each behind `header_bytes` of the interpreter's own.
pub fn set_routed(header_bytes: u32) {
    HEADER_BYTES.store(header_bytes, Ordering::Release);
    block_labels::set_header_bytes(header_bytes as usize);
    ROUTED.store(true, Ordering::Release);
}

/// Bytes between a block's start and what the interpreter takes for its start.
pub fn header_bytes() -> usize {
    HEADER_BYTES.load(Ordering::Acquire) as usize
}

/// Whether they do.
pub fn routed() -> bool {
    ROUTED.load(Ordering::Acquire)
}

/// Takes a snapshot and has it audited. At exit and when called, waits for the result: the number of failing findings. On a signal the
/// program goes on at once, and the child reports by itself.
pub fn run(trigger: Trigger, stack_pointer: usize) -> Result<i32, Failure> {
    let settings = Settings::get();
    if !settings.on() {
        return Err(Failure::Off);
    }
    if !take_turn(trigger, settings) {
        return Err(Failure::Busy);
    }
    let result = loop {
        match audit(trigger, stack_pointer, settings) {
            Err(Attempt::Again) => {}
            Err(Attempt::Failed(failure)) => break Err(failure),
            Ok(failing) => break Ok(failing),
        }
    };
    BUSY.store(false, Ordering::Release);
    result
}

/// One audit at a time. The one at exit is the last chance, so it waits for another to end; a call is told to come again, and a signal that
/// comes in the middle of an audit is answered by it.
fn take_turn(trigger: Trigger, settings: &Settings) -> bool {
    let deadline = clock::monotonic_ns() + u64::from(settings.deadline_s) * 1_000_000_000;
    while BUSY.swap(true, Ordering::AcqRel) {
        if trigger != Trigger::Exit {
            return false;
        }
        if clock::monotonic_ns() > deadline {
            given_up(trigger, settings, format_args!("another one is still under way"));
            return false;
        }
        clock::sleep_ns(1_000_000);
    }
    true
}

/// How an attempt came to nothing.
enum Attempt {
    /// There is no audit.
    Failed(Failure),
    /// A function of the program's ended the child; without it the next attempt may come to its end.
    Again,
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Attempt {
        Attempt::Failed(failure)
    }
}

fn audit(trigger: Trigger, stack_pointer: usize, settings: &'static Settings) -> Result<i32, Attempt> {
    finish_running(settings);
    // SAFETY: zeros are a Handoff.
    let handoff = unsafe { Shared::<Handoff>::new() };
    let taken = match &handoff {
        Some(handoff) => frozen::take(stack_pointer, true, &handoff.pause_ns, &|moment| {
            child::main(moment, trigger, handoff, settings, &mut |_| {})
        }),
        None => Err("memory"),
    };
    let (Some(handoff), Ok(child)) = (&handoff, taken) else {
        given_up(trigger, settings, format_args!("the system refused {}", taken.err().unwrap_or("memory")));
        return Err(Failure::Refused.into());
    };
    if trigger == Trigger::Signal {
        RUNNING.store(child, Ordering::Release);
        return Ok(0);
    }
    let ended = wait(child, settings.deadline_s, Some(&handoff.done));
    let by_itself = handoff.done.load(Ordering::Acquire) != 0 || !matches!(ended, Ended::Exited(_) | Ended::Signalled(_));
    if !by_itself && suspects::add(handoff.traversing.load(Ordering::Acquire)) {
        return Err(Attempt::Again);
    }
    conclude(ended, trigger, settings)?;
    Ok(handoff.failing.load(Ordering::Acquire) as i32)
}

/// Waits for an audit that a signal asked for, and notes what it found.
pub fn finish_running(settings: &'static Settings) {
    let child = RUNNING.swap(0, Ordering::AcqRel);
    if child > 0 {
        let _ = conclude(wait(child, settings.deadline_s, None), Trigger::Signal, settings);
    }
}

/// In a child made by fork: forgets the parent's snapshot, and notes whether the parent's other threads are gone.
pub fn after_fork_in_child(threads_are_gone: bool) {
    THREADS_ARE_GONE.fetch_or(threads_are_gone, Ordering::Release);
    RUNNING.store(0, Ordering::Release);
    FAILED.store(false, Ordering::Release);
    BUSY.store(false, Ordering::Release);
}

/// Whether threads that held things were left behind by a fork.
pub fn threads_are_gone() -> bool {
    THREADS_ARE_GONE.load(Ordering::Acquire)
}

/// A collection found something failing.
pub fn note_failing() {
    FAILED.store(true, Ordering::Release);
}

/// Waits for a child's end. `done`: what it sets when it has only to end.
fn wait(child: i32, deadline_s: u32, done: Option<&AtomicU32>) -> Ended {
    let deadline = clock::monotonic_ns() + u64::from(deadline_s) * 1_000_000_000;
    let mut pause_ns = 100_000;
    loop {
        match process::poll_snapshot(child) {
            Ended::Running if clock::monotonic_ns() > deadline => {
                process::kill_snapshot(child);
                return Ended::Running;
            }
            Ended::Running => {
                match done {
                    Some(done) if done.load(Ordering::Acquire) != 0 => clock::sleep_ns(100_000),
                    Some(done) => shared::wait_while_zero(done, pause_ns),
                    None => clock::sleep_ns(pause_ns),
                }
                pause_ns = (pause_ns + pause_ns / 4).min(5_000_000);
            }
            ended => return ended,
        }
    }
}

fn conclude(ended: Ended, trigger: Trigger, settings: &Settings) -> Result<(), Failure> {
    match ended {
        Ended::Exited(status::CLEAN) => return Ok(()),
        Ended::Exited(status::FAILING) => {
            FAILED.store(true, Ordering::Release);
            return Ok(());
        }
        Ended::Exited(status::NO_MEMORY) => given_up(trigger, settings, format_args!("no memory for the census")),
        Ended::Exited(n) => given_up(trigger, settings, format_args!("its process ended with status {n}")),
        Ended::Signalled(n) => given_up(trigger, settings, format_args!("its process ended with signal {n}")),
        Ended::Running => {
            given_up(trigger, settings, format_args!("it took longer than {} s (GCSHIM_DEADLINE)", settings.deadline_s));
        }
        Ended::Lost => given_up(trigger, settings, format_args!("its process was waited for by somebody else")),
    }
    Err(Failure::GivenUp)
}

/// An audit that did not come to its end is a line on stderr and a record.
fn given_up(trigger: Trigger, settings: &Settings, why: core::fmt::Arguments<'_>) {
    text::stderr_line(format_args!("gcshim: the audit at {} was given up: {why}; the program is not affected", trigger.name()));
    if let Some(file) = settings.report_file(process::id()) {
        let mut w = Writer::new(file.fd());
        let _ = core::fmt::Write::write_fmt(
            &mut w,
            format_args!(
                "{{\"kind\":\"degraded\",\"what\":\"the audit at {} was given up: {why}\",\"count\":1}}\n",
                trigger.name()
            ),
        );
        w.flush();
    }
}

impl Settings {
    /// Opens the report file, if one is asked for; one that cannot be opened is a line on stderr.
    pub fn report_file(&self, pid: i32) -> Option<crate::sys::files::File> {
        if self.report[0] == 0 {
            return None;
        }
        let file = records::open_report(&self.report, pid);
        if file.is_none() {
            let end = self.report.iter().position(|&b| b == 0).unwrap_or(0);
            let shown = core::str::from_utf8(&self.report[..end]).unwrap_or("?");
            text::stderr_line(format_args!("gcshim: the report file {shown} (GCSHIM_REPORT) cannot be opened for writing"));
        }
        file
    }
}
