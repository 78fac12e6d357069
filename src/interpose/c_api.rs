//! What a program calls: `include/gcshim.h`.

use crate::audit::{Trigger, entry};
use crate::python::runtime::Runtime;

/// Audits the process now. Answers the number of failing findings, or a negative number: -1 the shim is off, -2 an audit is taking its snapshot
/// on another thread, -3 the system refused, -4 the audit was given up.
///
/// In a Python program it takes the GIL where the calling thread can have it (it is a thread that Python knows); otherwise the report says
/// that the numbers may not belong together.
#[unsafe(no_mangle)]
pub extern "C" fn gcshim_audit() -> i32 {
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
            let result = entry::audit_here(Trigger::Call);
            // SAFETY: pairs with the call above.
            unsafe { release(before) };
            result
        }
        None => entry::audit_here(Trigger::Call),
    }
}
