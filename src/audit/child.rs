//! The child: a private frozen copy of the program that does all the work and is never seen.

use core::sync::atomic::Ordering;

use super::census::{Census, Scene};
use super::frozen::Moment;
use super::labels::Labels;
use super::records::Head;
use super::settings::Settings;
use super::snapshot::{self, Handoff, status};
use super::{Trigger, census_file, plain, records, suppressions};
use crate::heap::{modes, stacks};
use crate::meta::{self, Array, Mark};
use crate::roots::threads::Thread;
use crate::sys::text::{STDERR, Writer};
use crate::sys::{clock, guard, own_stack, process, sealed, shared};

/// Audits the snapshot and ends the process with one of [`status`].
///
/// `lost` gets the census when what is lost has been told apart, unless not all roots are known or a thread was not seen.
pub fn main(
    moment: &Moment<'_>,
    trigger: Trigger,
    handoff: &Handoff,
    settings: &'static Settings,
    lost: &mut dyn FnMut(&mut Census),
) {
    // SAFETY: this is the child.
    unsafe { set_apart() };
    let mark = meta::mark();
    on_a_stack_of(STACK_BYTES, &mut || {
        // SAFETY: this is the child.
        let status = match unsafe { audit(moment, trigger, handoff, settings, mark, lost) } {
            Some(0) => status::CLEAN,
            Some(failing) => {
                handoff.failing.store(failing, Ordering::Release);
                status::FAILING
            }
            None => status::NO_MEMORY,
        };
        shared::set_and_wake(&handoff.done);
        process::exit(status)
    });
}

/// Heads of leaks that one collection can take; the next takes more.
pub const HEADS_MAX: usize = 1 << 20;

/// Runs on a stack of its own of so many bytes, if there is memory for one.
pub fn on_a_stack_of(bytes: usize, work: &mut dyn FnMut()) {
    if let Some(mut stack) = Array::<u8>::new(bytes) {
        let top = stack.as_mut_ptr_range().end as usize;
        // SAFETY: fresh memory that is nobody else's.
        unsafe { own_stack::call(top, work) };
    } else {
        work();
    }
}

/// The stack that the child works on: the program may have called us on a small one, and its `tp_traverse` functions may go deep.
const STACK_BYTES: usize = 16 << 20;

/// Takes the child out of the program's way: its descriptors are not kept open, it leaves no core file, and faults come back.
///
/// # Safety
/// In the snapshot child.
pub unsafe fn set_apart() {
    // SAFETY: plain system calls on this process alone.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32);
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::prctl(libc::PR_SET_NAME, c"gcshim-audit".as_ptr());
        guard::install();
    }
    // What is allocated here is not the program's.
    stacks::pause();
}

unsafe fn audit(
    moment: &Moment<'_>,
    trigger: Trigger,
    handoff: &Handoff,
    settings: &'static Settings,
    mark: Mark,
    lost: &mut dyn FnMut(&mut Census),
) -> Option<u32> {
    let threads = |each: &mut dyn FnMut(Thread)| moment.for_each_thread(each);
    let scene = Scene {
        modules: moment.modules,
        control: moment.control,
        added: moment.added,
        threads: &threads,
        runtime: moment.runtime,
        routed: snapshot::routed(),
        header_bytes: snapshot::header_bytes(),
        consistent: moment.consistent,
        gil: moment.gil,
        mark,
        heads_max: if trigger == Trigger::Collection { HEADS_MAX } else { 0 },
        // SAFETY: the shared page stays where it is until the child ends.
        traversing: unsafe { &*(&raw const handoff.traversing) },
    };
    // SAFETY: in the child, guarded.
    let mut census = unsafe { Census::take(&scene, settings)? };
    census_file::write(&mut census, settings, moment.pid);
    note_what_was_not_done(&mut census, moment);
    // Whoever does not know all roots accuses nobody of having lost something.
    if census.roots.complete() {
        census.compare_references();
        census.phases.end("references");
        if trigger == Trigger::Collection {
            // What is in use is no business of a collection.
            census.findings.clear();
        }
        // SAFETY: in the child, guarded.
        unsafe { census.classify_lost()? };
        census.phases.end("lost");
        if moment.world.not_stopped == 0 && moment.world.listed && moment.consistent {
            lost(&mut census);
        }
    }
    if trigger != Trigger::Collection {
        // SAFETY: in the child, guarded.
        unsafe { census.find_untraversed() };
    }
    // From here on the interpreter is asked for names, and may write.
    census.phases.end("untraversed");
    sealed::open();
    census.find_holders();
    if trigger == Trigger::Call && modes::on(modes::RETAIN) {
        census.find_freed();
    }
    census.phases.end("holders");
    census.findings.sort(&|v| settings.fails(v));
    let left_out = census.findings.left_out;
    if left_out > 0 {
        census.degrade("objects in findings for which there was no room", 0, left_out);
    }
    let no_stack = stacks::lost();
    if no_stack > 0 {
        census.degrade("stacks for which there was no room: what was allocated or freed there has none", 0, no_stack);
    }
    report(&mut census, moment, trigger, handoff, settings)
}

fn note_what_was_not_done(census: &mut Census, moment: &Moment<'_>) {
    if moment.world.not_stopped > 0 {
        census.degrade(
            "threads that could not be stopped: their registers were not seen",
            0,
            u64::from(moment.world.not_stopped),
        );
    }
    if !moment.world.listed {
        census.degrade("/proc/self/task could not be read: other threads were not stopped", 0, 1);
    }
    if snapshot::threads_are_gone() {
        census.degrade("this process was forked while the program had other threads: what only those held counts as lost", 0, 1);
    }
    if !moment.consistent {
        census.degrade("the GIL was held by another thread: counts and words may not belong together", 0, 1);
    }
}

fn report(census: &mut Census, moment: &Moment<'_>, trigger: Trigger, handoff: &Handoff, settings: &Settings) -> Option<u32> {
    let mut labels = Labels::new(census)?;
    suppressions::apply(census, &mut labels, &settings.suppressions);
    census.phases.end("labels");
    let mut turns = 0;
    while handoff.pause_ns.load(Ordering::Acquire) == 0 && turns < 1000 {
        clock::sleep_ns(100_000);
        turns += 1;
    }
    let head = Head {
        modules: moment.modules,
        trigger: trigger.name(),
        pid: moment.pid,
        pause_us: handoff.pause_ns.load(Ordering::Acquire) / 1000,
        total_ms: (clock::monotonic_ns() - moment.started_ns) / 1_000_000,
        torn: !moment.consistent,
    };
    if let Some(file) = settings.report_file(moment.pid) {
        // Several processes may share the file: a whole audit's records stand together.
        // SAFETY: a descriptor of ours.
        unsafe { libc::flock(file.fd(), libc::LOCK_EX) };
        let mut w = Writer::new(file.fd());
        records::write(&mut w, census, &labels, &head);
        if w.failed() {
            crate::sys::text::stderr_line(format_args!("gcshim: the report file could not be written in full (GCSHIM_REPORT)"));
        }
    }
    // A program that leaves its garbage to the collector does not want to hear of it.
    if settings.plain && (trigger != Trigger::Collection || moment.runtime.is_some()) {
        plain::write(&mut Writer::new(STDERR), census, &labels, &head);
    }
    let failing =
        (0..census.findings.all().len()).filter(|&at| !labels.suppressed(at) && census.fails(&census.findings.all()[at])).count();
    Some(failing as u32)
}
