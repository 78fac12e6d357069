//! What a program calls: `include/gcshim.h`, which says what each function promises.

use core::ffi::{c_int, c_long, c_void};

use crate::audit::settings::{Mode, Settings};
use crate::audit::{Failure, Trigger, entry};
use crate::collect::{attached, request};
use crate::finalizers::{self, run, table};
use crate::python::runtime::Runtime;
use crate::roots::added;
use crate::weakref_hooks::links;

/// Audits the process now. Answers the number of failing findings, or a negative number: -1 the shim is off, -2 an audit is taking its snapshot
/// on another thread, -3 the system refused, -4 the audit was given up.
///
/// In a Python program it takes the GIL where the calling thread can have it (it is a thread that Python knows); otherwise the report says
/// that the numbers may not belong together.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_audit() -> c_int {
    with_the_gil(|| entry::audit_here(Trigger::Call))
}

/// Collects now, in the modes `collect` and `quarantine`, and waits for it. Answers how many bytes became reusable, or a negative number: -1 in another mode,
/// -3 in a process that does not collect (made by vfork), -4 the collection was given up.
///
/// In mode `collect` also what was never freed is taken, if nothing reaches it; of Python objects, where the calling thread can have the GIL, the references
/// that nobody holds are dropped: destructors and callbacks of weak references run before this returns, and so do the finalizers of lost blocks.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_collect() -> c_long {
    with_the_gil(|| match request::collect_all() {
        Ok(bytes) => c_long::try_from(bytes).unwrap_or(c_long::MAX),
        Err(failure) => c_long::from(failure as i32),
    })
}

/// Sets a block's finalizer; null removes it. 1 if it had one, 0 if not; -1 no mode in which finalizers run, -2 no block, -3 no memory.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_finalizer_set(block: *mut c_void, finalizer: Option<table::Function>, argument: *mut c_void) -> c_int {
    if Settings::get().mode != Mode::Collect {
        return Failure::Off as c_int;
    }
    finalizers::watch_blocks();
    match table::set(block as usize, finalizer, argument as usize) {
        table::Set::New => 0,
        table::Set::Instead => 1,
        table::Set::NoBlock => NOTHING_THERE,
        table::Set::NoMemory => Failure::Refused as c_int,
    }
}

/// Runs the finalizers that wait, and answers how many.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_finalizers_run() -> c_long {
    c_long::try_from(with_the_gil(run::run_waiting)).unwrap_or(c_long::MAX)
}

/// How many blocks were found reached after their finalizer had run.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_resurrected() -> c_long {
    c_long::try_from(table::totals().1).unwrap_or(c_long::MAX)
}

/// Makes a word weak for what it holds. 0, or -1 the shim is off, -2 no word of private memory or no block, -3 no memory.
///
/// # Safety
/// `link` is a word that can be read and written for as long as it is registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gcshim_weak_register(link: *mut *mut c_void) -> c_int {
    if !Settings::get().on() {
        return Failure::Off as c_int;
    }
    finalizers::watch_blocks();
    // SAFETY: the caller's duty.
    match unsafe { links::register(link as usize) } {
        Ok(()) => 0,
        Err(links::Refused::Nothing) => NOTHING_THERE,
        Err(links::Refused::NoMemory) => Failure::Refused as c_int,
    }
}

/// Makes a weak word a word like any other. 1 if it was weak, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_weak_unregister(link: *mut *mut c_void) -> c_int {
    c_int::from(links::unregister(link as usize))
}

/// What a weak word holds, to be kept by the caller; null if its referent is gone.
///
/// # Safety
/// `link` is a readable word.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gcshim_weak_get(link: *mut *mut c_void) -> *mut c_void {
    if attached::who_asks_waits() {
        request::finish_under_way();
    }
    // SAFETY: the caller's duty.
    unsafe { links::get(link as usize) as *mut c_void }
}

/// Makes a range of memory shared with other processes a root. 0, or -1 the shim is off, -2 no range, -3 too many.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_roots_add(start: *const c_void, bytes: usize) -> c_int {
    match (start as usize).checked_add(bytes) {
        _ if !Settings::get().on() => Failure::Off as c_int,
        Some(end) if !start.is_null() && bytes > 0 => {
            if added::add(start as usize, end) {
                0
            } else {
                Failure::Refused as c_int
            }
        }
        _ => NOTHING_THERE,
    }
}

/// The end of one `gcshim_roots_add` with the same arguments. 1 if there was one, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_roots_remove(start: *const c_void, bytes: usize) -> c_int {
    c_int::from(added::remove(start as usize, (start as usize).wrapping_add(bytes)))
}

/// There is no block where one is wanted, or no word.
const NOTHING_THERE: c_int = -2;

/// Calls with the GIL, if the calling thread is one that Python knows.
fn with_the_gil<T>(work: impl FnOnce() -> T) -> T {
    let known = Runtime::get().filter(|r| r.initialized() && !r.holds_gil()).and_then(|r| {
        let s = &r.symbols;
        // SAFETY: answers null for a thread that Python does not know.
        let state = unsafe { (s.gil_this_thread?)() };
        (!state.is_null()).then_some((s.gil_ensure?, s.gil_release?))
    });
    match known {
        // ctypes releases the GIL around the call: take it back for the time of the snapshot.
        Some((ensure, release)) => {
            // SAFETY: the thread has a state; the interpreter is initialized.
            let before = unsafe { ensure() };
            let result = work();
            // SAFETY: pairs with the call above.
            unsafe { release(before) };
            result
        }
        None => work(),
    }
}
