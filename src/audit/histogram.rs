//! The liveness histograms' file (`GCSHIM_HISTOGRAM`): docs/histograms.md describes it.
//!
//! Written in the program itself, whenever there is an audit, and at the end of the process or of its image. Each time, what has been counted since the last time
//! goes out, so that the sum of all is what happened. No allocation, and no lock but the file's own: the room to sort the counters in is had at the start.

use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::*};

use super::settings::Settings;
use super::{json, records};
use crate::heap::stamps::{self, Key, Unit, What, buckets, labels, tally};
use crate::meta;
use crate::python::block_labels;
use crate::python::runtime::Runtime;
use crate::sys::text::{self, Writer};
use crate::sys::{clock, process};

/// When it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The interpreter is about to exit: before anything is torn down.
    InterpreterExit,
    /// An audit was asked for by the signal or by a call.
    Audit,
    /// The process ends.
    Exit,
    /// The process is about to become another program.
    Exec,
}

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Moment::InterpreterExit => "interpreter-exit",
            Moment::Audit => "audit",
            Moment::Exit => "exit",
            Moment::Exec => "exec",
        }
    }
}

/// A counter: the number of its key, and how often.
type Counted = (u64, u64);

/// Address of room for all counters; 0 while there are no histograms.
static ROOM: AtomicUsize = AtomicUsize::new(0);
/// The process that the counters belong to. A child made by `vfork` has its parent's memory and another number.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Somebody writes.
static WRITING: AtomicBool = AtomicBool::new(false);
/// The process was made by fork, and has not written anything.
static FORKED: AtomicBool = AtomicBool::new(false);
/// Where the last time ended, monotonic ns.
static SINCE_NS: AtomicU64 = AtomicU64::new(0);
/// The ages of what the interpreter holds have been taken: what is left of it later is no measure.
static AGES_TAKEN: AtomicBool = AtomicBool::new(false);

/// Starts counting, if it is asked for.
pub fn start(settings: &Settings) {
    if settings.histogram[0] == 0 {
        return;
    }
    let room = meta::reserve(tally::COUNTERS_MAX * size_of::<Counted>());
    if room.is_null() {
        return text::stderr_line(format_args!("gcshim: no memory for histograms; there will be none (GCSHIM_HISTOGRAM)"));
    }
    ROOM.store(room as usize, Release);
    OWNER.store(process::id(), Release);
    stamps::set_label_of(block_labels::label_of);
    stamps::start(settings.histogram_rate);
    SINCE_NS.store(stamps::started_ns(), Release);
}

/// Whether there are histograms.
pub fn on() -> bool {
    ROOM.load(Acquire) != 0
}

/// In a child made by fork: the counters are its own from here on, and start anew.
pub fn after_fork_in_child() {
    if on() {
        OWNER.store(process::id(), Release);
        WRITING.store(false, Release);
        FORKED.store(true, Release);
        AGES_TAKEN.store(false, Release);
        SINCE_NS.store(stamps::started_ns(), Release);
    }
}

/// Writes what has been counted since the last time. Does nothing without `GCSHIM_HISTOGRAM`. Keeps `errno`.
pub fn write(moment: Moment) {
    if !on() || OWNER.load(Acquire) != process::id() {
        return;
    }
    // SAFETY: __errno_location is valid for the calling thread.
    let errno = unsafe { *libc::__errno_location() };
    if take_turn(moment) {
        write_alone(moment, Settings::get());
        WRITING.store(false, Release);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// One writer at a time. At the end of the process the other one is waited for, a while: its thread may have been interrupted by this one.
fn take_turn(moment: Moment) -> bool {
    for _ in 0..2000 {
        if !WRITING.swap(true, AcqRel) {
            return true;
        }
        if moment == Moment::Audit {
            return false;
        }
        clock::sleep_ns(1_000_000);
    }
    false
}

fn write_alone(moment: Moment, settings: &Settings) {
    let ages = match moment {
        Moment::InterpreterExit | Moment::Audit => true,
        Moment::Exit | Moment::Exec => !AGES_TAKEN.load(Acquire),
    };
    if moment == Moment::InterpreterExit {
        AGES_TAKEN.store(true, Release);
    }
    if ages {
        // Without the GIL the interpreter's objects may change, and their types go.
        let steady = Runtime::get().is_none_or(|r| !r.initialized() || r.holds_gil());
        stamps::note_ages(steady);
    }
    let counted = gather();
    if counted.is_empty() && FORKED.load(Acquire) {
        return;
    }
    FORKED.store(false, Release);
    let Some(file) = records::open_report(&settings.histogram, process::id()) else {
        static SAID: AtomicBool = AtomicBool::new(false);
        if !SAID.swap(true, AcqRel) {
            text::stderr_line(format_args!("gcshim: the histograms' file (GCSHIM_HISTOGRAM) cannot be opened for writing"));
        }
        return;
    };
    // Processes may share the file: what one writes stands together.
    // SAFETY: a descriptor of ours.
    unsafe { libc::flock(file.fd(), libc::LOCK_EX) };
    let mut w = Writer::new(file.fd());
    head(&mut w, moment, ages);
    let mut histograms = 0;
    for buckets in counted.chunk_by(|a, b| Key::from_number(a.0).histogram() == Key::from_number(b.0).histogram()) {
        histogram(&mut w, buckets);
        histograms += 1;
    }
    let _ = writeln!(w, "{{\"kind\":\"histograms-end\",\"pid\":{},\"histograms\":{histograms}}}", process::id());
    w.flush();
    if w.failed() {
        text::stderr_line(format_args!("gcshim: the histograms' file could not be written in full (GCSHIM_HISTOGRAM)"));
    }
}

/// All counters that are not zero, sorted. They are zero from here on.
fn gather() -> &'static mut [Counted] {
    let room: *mut Counted = ROOM.load(Acquire) as *mut Counted;
    let mut count = 0;
    stamps::drain(&mut |key, times| {
        if count < tally::COUNTERS_MAX {
            // SAFETY: inside the room, which whoever has the turn has alone.
            unsafe { room.add(count).write((key, times)) };
            count += 1;
        }
    });
    // SAFETY: so many were written.
    let counted = unsafe { core::slice::from_raw_parts_mut(room, count) };
    counted.sort_unstable();
    counted
}

fn head(w: &mut Writer, moment: Moment, ages: bool) {
    let now_ns = clock::monotonic_ns();
    let from_ns = SINCE_NS.swap(now_ns, AcqRel);
    let settings = Settings::get();
    let _ = write!(w, "{{\"schema\":\"gcshim/1\",\"kind\":\"histograms\",\"pid\":{},\"argv\":[", process::id());
    records::command_line(w);
    w.bytes(b"],\"python\":");
    match Runtime::get() {
        Some(runtime) => json::string(w, runtime.version_text().as_bytes()),
        None => w.bytes(b"null"),
    }
    let _ = writeln!(
        w,
        ",\"moment\":\"{}\",\"rate\":{},\"always_above\":{},\"digits\":{},\"start_ns\":{},\"from_ns\":{from_ns},\"to_ns\":{now_ns},\
         \"unix_ms\":{},\"allocated_bytes\":{},\"ages\":{ages},\"lost\":{}}}",
        moment.name(),
        settings.histogram_rate.max(1),
        stamps::ALWAYS_ABOVE_BYTES,
        buckets::DIGITS,
        stamps::started_ns(),
        clock::unix_ms(),
        stamps::allocated_bytes(),
        stamps::lost(),
    );
}

/// One histogram: its buckets side by side, lowest first.
fn histogram(w: &mut Writer, counted: &[Counted]) {
    let Some(&(first, _)) = counted.first() else { return };
    let key = Key::from_number(first);
    let what = match key.what() {
        What::Lifetime => "lifetime",
        What::Age => "age",
        What::Float => "float",
    };
    let unit = match key.unit() {
        Unit::Ns => "ns",
        Unit::Bytes => "bytes",
    };
    let _ = write!(w, "{{\"kind\":\"histogram\",\"what\":\"{what}\",\"unit\":\"{unit}\",\"holds\":\"");
    let mut name = [0; labels::NAME_BYTES];
    match labels::name_of(key.label(), &mut name) {
        Some(name) => {
            w.bytes(b"object\",\"type\":");
            json::string(w, name);
        }
        None => w.bytes(match key.label() {
            labels::RAW => b"raw\"",
            labels::NO_OBJECT => b"no-object\"",
            _ => b"unknown\"",
        }),
    }
    let _ = write!(w, ",\"size\":{},\"buckets\":[", key.block_bytes());
    for (i, &(number, times)) in counted.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(w, "{comma}[{},{times}]", Key::from_number(number).lowest_value());
    }
    w.bytes(b"]}\n");
}
