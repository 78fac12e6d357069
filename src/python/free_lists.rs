//! Free lists, filled up in the snapshot child.
//!
//! CPython keeps destroyed lists, dicts and tables in arrays whose entries beyond the current count are stale: they name whatever object was
//! taken from there last, and a leaked list is as likely as not to be one of them. Where the arrays lie changes with every version; but
//! making and dropping as many objects as they hold overwrites every entry with a dead one.

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
}
