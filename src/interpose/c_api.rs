//! What a program calls: `include/gcshim.h`.

use crate::audit::{Trigger, entry};
use crate::collect::cycle;
use crate::python::runtime::Runtime;

/// Audits the process now. Answers the number of failing findings, or a negative number: -1 the shim is off, -2 an audit is taking its snapshot
/// on another thread, -3 the system refused, -4 the audit was given up.
///
/// In a Python program it takes the GIL where the calling thread can have it (it is a thread that Python knows); otherwise the report says
/// that the numbers may not belong together.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_audit() -> i32 {
    with_the_gil(|| entry::audit_here(Trigger::Call))
}

/// Collects now, in the modes `collect` and `quarantine`, and waits for it. Answers how many bytes became reusable, or a negative number: -1 in another mode,
/// -3 in a process that does not collect (made by vfork), -4 the collection was given up.
///
/// In mode `collect` also what was never freed is taken, if nothing reaches it; of Python objects, where the calling thread can have the GIL, the references
/// that nobody holds are dropped: destructors and callbacks of weak references run before this returns.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_collect() -> i64 {
    with_the_gil(|| match cycle::collect_all() {
        Ok(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
        Err(failure) => i64::from(failure as i32),
    })
}

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
