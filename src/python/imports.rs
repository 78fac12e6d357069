//! Whether something can be imported between two bytecodes.

use super::runtime::{Object, Runtime};

/// The last minor version whose importlib does not allow for it (mended by gh-106176 in 3.12).
const LAST_THAT_CANNOT: u8 = 11;

/// Whether no thread is taking the lock of a module. Until 3.11 importlib notes so in a dictionary, by the thread's number, and removes that afterwards: an import amid
/// it would remove it first, and what was interrupted ends with a `KeyError` (Lib/importlib/_bootstrap.py, `_ModuleLock.acquire`).
///
/// # Safety
/// The GIL is held, between two bytecodes.
pub unsafe fn can_begin(runtime: &Runtime) -> bool {
    // SAFETY: the caller's duty.
    runtime.minor > LAST_THAT_CANNOT || unsafe { blocking(runtime) }.is_none_or(|count| count == 0)
}

/// How many threads are at it. `None` if importlib does not say so.
///
/// # Safety
/// As for [`can_begin`].
unsafe fn blocking(runtime: &Runtime) -> Option<isize> {
    let s = &runtime.symbols;
    let (clear, decref) = (s.error_clear?, s.decref?);
    // SAFETY: the caller's duty; each call has the signature of CPython's headers. The module was there before the first one was imported, and is borrowed; the attribute is a new reference.
    unsafe {
        let importlib: Object = (s.add_module?)(c"_frozen_importlib".as_ptr());
        let threads = if importlib.is_null() { importlib } else { (s.get_attribute?)(importlib, c"_blocking_on".as_ptr()) };
        let count = if threads.is_null() { -1 } else { (s.size?)(threads) };
        if !threads.is_null() {
            decref(threads);
        }
        if count < 0 {
            clear();
        }
        (count >= 0).then_some(count)
    }
}
