//! The frozen moment: stop the threads, clone the process, go on. What the child does with it is its caller's business.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::finalizers;
use crate::python::runtime::Runtime;
use crate::roots::added::Copies;
use crate::roots::control_block::ControlBlock;
use crate::roots::lent::Lent;
use crate::roots::modules::Modules;
use crate::roots::threads::Thread;
use crate::sys::process::{self, Side};
use crate::sys::{clock, stop};

/// Everything the child needs to know of the moment of the clone.
pub struct Moment<'a> {
    /// The modules.
    pub modules: &'a Modules,
    /// glibc's layout.
    pub control: ControlBlock,
    /// What is shared with other processes and was named by the program.
    pub added: &'a Copies,
    /// The stopped threads.
    pub world: &'a stop::StoppedWorld,
    /// Where the auditing thread's registers were pushed.
    pub stack_pointer: usize,
    /// Its thread pointer.
    pub thread_pointer: usize,
    /// The interpreter, if it is running.
    pub runtime: Option<&'static Runtime>,
    /// The auditing thread holds the GIL.
    pub gil: bool,
    /// Nobody else holds it.
    pub consistent: bool,
    /// The program's process id.
    pub pid: i32,
    /// When the stop began, monotonic ns.
    pub started_ns: u64,
}

impl Moment<'_> {
    /// Calls `each` with every thread: the one that took the snapshot, those that stand still, and what is known of the others.
    pub fn for_each_thread(&self, each: &mut dyn FnMut(Thread)) {
        each(Thread::own(self.stack_pointer, self.thread_pointer));
        self.world.threads().for_each(|t| each(Thread::from_stopped(t)));
        self.world.unstopped().for_each(|t| each(Thread::from_unstopped(t)));
    }
}

/// Somebody is stopping the world.
static TAKING: AtomicBool = AtomicBool::new(false);

/// Takes a snapshot. `child` runs in it, and its process ends; the program's threads go on as soon as it is made, and `pause_ns` then has how long they
/// stood still. Answers the child's process id, or what the system refused. If another thread is at it: waits, or (`wait` is off) refuses.
pub fn take(stack_pointer: usize, wait: bool, pause_ns: &AtomicU64, child: &dyn Fn(&Moment<'_>)) -> Result<i32, &'static str> {
    frozen(stack_pointer, wait, pause_ns, &mut |moment| {
        let lent = Lent::all();
        // SAFETY: the child runs `child` and ends by _exit.
        let side = unsafe { process::clone_snapshot() };
        if !matches!(side, Some(Side::Child)) {
            drop(lent);
        }
        match side {
            Some(Side::Child) => {
                // SAFETY: the child's copy of the locks, taken by the thread that this one is the copy of.
                unsafe { finalizers::unlock_all() };
                child(moment);
                process::exit(0)
            }
            Some(Side::Parent(child)) => {
                // The locks first: threads that wake up may want them at once.
                // SAFETY: taken by the caller.
                unsafe { finalizers::unlock_all() };
                Ok(child)
            }
            None => {
                // SAFETY: as above.
                unsafe { finalizers::unlock_all() };
                Err("to clone the process")
            }
        }
    })
}

/// As [`take`], without a copy: `work` runs in the program while all other threads stand still. It must change nothing of theirs, and leave the
/// C library alone: they may hold its locks.
pub fn hold(stack_pointer: usize, wait: bool, pause_ns: &AtomicU64, work: &dyn Fn(&Moment<'_>)) -> Result<(), &'static str> {
    frozen(stack_pointer, wait, pause_ns, &mut |moment| {
        // No thread stands inside the heap, and none moves: the work may use what the locks guard.
        // SAFETY: taken by the caller.
        unsafe { finalizers::unlock_all() };
        work(moment);
        Ok(0)
    })
    .map(drop)
}

/// One at a time.
fn frozen(stack_pointer: usize, wait: bool, pause_ns: &AtomicU64, act: Act<'_>) -> Result<i32, &'static str> {
    while TAKING.swap(true, Ordering::AcqRel) {
        if !wait {
            return Err("a second snapshot at a time");
        }
        clock::sleep_ns(200_000);
    }
    let result = frozen_alone(stack_pointer, pause_ns, act);
    TAKING.store(false, Ordering::Release);
    result
}

/// In a child made by fork: whoever was at it is not here.
pub fn forget_taking() {
    TAKING.store(false, Ordering::Release);
}

/// What is done while the threads stand still. It releases the heap's locks.
type Act<'a> = &'a mut dyn FnMut(&Moment<'_>) -> Result<i32, &'static str>;

fn frozen_alone(stack_pointer: usize, pause_ns: &AtomicU64, act: Act<'_>) -> Result<i32, &'static str> {
    let runtime = Runtime::get().filter(|r| r.initialized());
    let gil = runtime.is_some_and(Runtime::holds_gil);
    let thread_pointer = stop::thread_pointer();
    let blocked = block_signals();
    let Some(modules) = Modules::gather(thread_pointer) else {
        restore_signals(&blocked);
        return Err("memory");
    };
    let control = ControlBlock::look_up();
    let mut added = Copies::prepare();
    let started_ns = clock::monotonic_ns();
    finalizers::lock_all();
    let Some(world) = stop::stop_world() else {
        // SAFETY: taken above.
        unsafe { finalizers::unlock_all() };
        restore_signals(&blocked);
        return Err("the handler of the signal that stops threads");
    };
    // If nobody holds it, now nobody can take it.
    let idle = runtime.is_some_and(Runtime::nobody_holds_gil);
    added.fill();
    let moment = Moment {
        modules: &modules,
        control,
        added: &added,
        world: &world,
        stack_pointer,
        thread_pointer,
        runtime,
        gil,
        consistent: gil || idle || runtime.is_none(),
        pid: process::id(),
        started_ns,
    };
    let result = act(&moment);
    world.release(|now_ns| pause_ns.store((now_ns - started_ns).max(1), Ordering::Release));
    restore_signals(&blocked);
    result
}

/// The child must not run the program's handlers, and the parent must not be interrupted while it holds the heap's locks.
fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut old = MaybeUninit::uninit();
    // SAFETY: sigfillset fills the set; sigprocmask fills the old one.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        old.assume_init()
    }
}

fn restore_signals(old: &libc::sigset_t) {
    // SAFETY: a set that pthread_sigmask gave.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old, core::ptr::null_mut()) };
}
