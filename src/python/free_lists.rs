//! Free lists, filled up in the snapshot child.
//!
//! CPython keeps destroyed lists, dicts and tables in arrays whose entries beyond the current count are stale: they name whatever object was
//! taken from there last, and a leaked list is as likely as not to be one of them. Where the arrays lie changes with every version; but
//! making and dropping as many objects as they hold overwrites every entry with a dead one.
//!
//! What is made here must not start the program's collector, which would run its finalizers a second time, in the copy. Until 3.11 an object
//! that is made starts it, but not while an exception is raised (Modules/gcmodule.c, `_PyObject_GC_Alloc`); from 3.12 on it waits for the next
//! bytecode (`_Py_ScheduleGC`), and the copy has none.

use super::runtime::{Object, Runtime};
use crate::sys::guard;

/// The longest array in any version: `PyList_MAXFREELIST`, `PyDict_MAXFREELIST` and the tables' are 80.
const FILL: usize = 80;

/// Fills the free lists of lists, dicts and dict tables. Only in the snapshot child, with the GIL, before the census: it changes the copy.
///
/// # Safety
/// In the snapshot child, after `guard::install`, with the GIL held at the moment of the snapshot.
pub unsafe fn fill(runtime: &Runtime) {
    let s = &runtime.symbols;
    let (Some(list), Some(dict), Some(set), Some(string), Some(decref)) =
        (s.list_new, s.dict_new, s.dict_set, s.string_new, s.decref)
    else {
        return;
    };
    let mut made: [Object; FILL] = [core::ptr::null_mut(); FILL];
    let raised = Raised::here(runtime);
    let drop_all = |made: &mut [Object; FILL]| {
        for object in made.iter_mut().filter(|o| !o.is_null()) {
            // SAFETY: made below, one reference each.
            unsafe { decref(*object) };
            *object = core::ptr::null_mut();
        }
    };
    // SAFETY: the caller's; the interpreter's own functions with their headers' signatures.
    unsafe {
        guard::call(|| {
            for slot in &mut made {
                *slot = list(0);
            }
            drop_all(&mut made);
            // A dict with an entry has a table of its own; dropped, it fills both free lists. From 3.11 on only tables of str keys are kept.
            let key = string(c"key".as_ptr());
            for slot in &mut made {
                *slot = dict();
                if !slot.is_null() && !key.is_null() {
                    set(*slot, key, key);
                }
            }
            drop_all(&mut made);
            if !key.is_null() {
                decref(key);
            }
        });
    }
    drop(raised);
}

/// The first version whose collector waits for the next bytecode.
const COLLECTS_LATER: u8 = 12;

/// The current thread has an exception raised; dropped, it has what it had.
struct Raised {
    fetch: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object),
    restore: unsafe extern "C" fn(Object, Object, Object),
    decref: unsafe extern "C" fn(Object),
    before: [Object; 3],
}

impl Raised {
    /// Nothing where it is not needed.
    fn here(runtime: &Runtime) -> Option<Raised> {
        let s = &runtime.symbols;
        if runtime.minor >= COLLECTS_LATER {
            return None;
        }
        // Asked is only whether there is an exception: any object stands for one.
        let (fetch, restore, stand_in) = (s.error_fetch?, s.error_restore?, s.str_type?.get() as Object);
        let (incref, decref) = (s.incref?, s.decref?);
        let mut before = [core::ptr::null_mut(); 3];
        let [kind, value, trace] = &mut before;
        // SAFETY: PyErr_Fetch and PyErr_Restore (pyerrors.h), with the GIL: the caller's.
        unsafe {
            fetch(kind, value, trace);
            incref(stand_in);
            restore(stand_in, core::ptr::null_mut(), core::ptr::null_mut());
        }
        Some(Raised { fetch, restore, decref, before })
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        let [kind, value, trace] = self.before;
        let mut ours: [Object; 3] = [core::ptr::null_mut(); 3];
        let [a, b, c] = &mut ours;
        // SAFETY: as in `here`. What is raised now is the stand-in, or that there was no memory.
        unsafe {
            (self.fetch)(a, b, c);
            for object in ours.into_iter().filter(|o| !o.is_null()) {
                (self.decref)(object);
            }
            (self.restore)(kind, value, trace);
        }
    }
}
