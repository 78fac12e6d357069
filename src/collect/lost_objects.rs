//! Dropping the references to lost objects that nobody holds, in the program, with the GIL.
//!
//! An object is never freed by us: its count is lowered through `Py_DecRef` by what the collection found too much, and where that is all of it the interpreter
//! destroys it as it always does: destructor, weak references with their callbacks, children, the collector's list.

use super::exchange::Full;
use crate::audit::census::Head;
use crate::heap::{retained, stamps};
use crate::python::runtime::{Object, Runtime};
use crate::python::types::read;
use crate::weakref_hooks::links;

/// What came of it.
#[derive(Clone, Copy, Default)]
pub struct Dropped {
    /// Objects.
    pub objects: u64,
    /// References.
    pub references: u64,
}

/// Drops what nobody holds of every lost object of a finished collection.
///
/// # Safety
/// The calling thread holds the GIL, and stands where Python code may run.
pub unsafe fn drop_references(runtime: &Runtime, full: &Full) -> Dropped {
    let mut dropped = Dropped::default();
    let Some(decref) = runtime.symbols.decref else { return dropped };
    full.heads.for_each(&mut |head| {
        if is_as_it_was(&head) {
            dropped.objects += 1;
            // SAFETY: nothing leads to it but what the interpreter does from here on.
            unsafe { stamps::found_unreachable(head.block) };
            for _ in 0..head.surplus {
                // SAFETY: the caller's; the object has at least so many references.
                unsafe { decref(head.object as Object) };
                dropped.references += 1;
            }
        }
    });
    dropped
}

/// Whether an object is what it was in the snapshot. If its count has changed, somebody came by it after all (through a weak reference, or the cycle
/// collector's `get_objects`): the next collection will see.
fn is_as_it_was(head: &Head) -> bool {
    // SAFETY: the block is in use, so its words can be read.
    retained::is_in_use(head.block)
        && !links::was_asked_for(head.block)
        && unsafe { [read(head.object), read(head.object + 8)] } == head.header
}
