//! Fork: the child has one thread and must find a heap that works.
//!
//! Before the fork all heap locks are taken, so that what they guard is whole in the child. What threads do without a lock may be half
//! done there: the slabs of threads that are gone are abandoned and their counts made anew (see `heap::abandoned`).
//!
//! Handlers to prepare run last-registered first and those for the child first-registered first. Ours are registered when the shim is loaded,
//! before the program's: so its own handlers may allocate, before and after. `_Fork` and raw clones run no handlers; after them, in a
//! program with threads, POSIX allows no `malloc` in the child. `vfork` and `posix_spawn` share memory and stop the parent's
//! thread: the child simply uses its cache.

use super::stacks;
use crate::audit::{frozen, histogram, semaphores, snapshot};
use crate::collect::cycle;
use crate::finalizers::{self, run};
use crate::heap;
use crate::roots::modules;
use crate::sys::exec_gate::GATE;

extern "C" fn prepare() {
    modules::end_questions();
    finalizers::lock_all();
}

extern "C" fn parent() {
    // SAFETY: taken by prepare, on this thread.
    unsafe {
        finalizers::unlock_all();
        modules::allow_questions();
    }
}

extern "C" fn child() {
    // SAFETY: taken by prepare, on the thread that this one is the copy of; no other exists here.
    let threads_are_gone = unsafe {
        finalizers::unlock_all();
        modules::allow_questions();
        heap::after_fork_in_child()
    };
    stacks::after_fork_in_child();
    snapshot::after_fork_in_child(threads_are_gone);
    GATE.begin();
    histogram::after_fork_in_child();
    frozen::forget_taking();
    semaphores::after_fork_in_child();
    run::after_fork_in_child();
    // SAFETY: a child made by fork has one thread.
    unsafe { cycle::after_fork_in_child(threads_are_gone) };
}

/// Registers the handlers. `false` when the C library has no memory for them.
pub fn install() -> bool {
    // SAFETY: the functions live as long as the library, which is never unloaded while its blocks are in use.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) == 0 }
}
