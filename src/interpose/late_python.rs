//! An interpreter that came after the program had started: a plugin host loads libpython when it needs it.
//!
//! By then our constructor has run. To route the allocators of a library that is only half relocated, from whichever `malloc` happens to be
//! called next, would be a gamble; so nothing is done but to say so, once, at exit.

use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};

/// There was no interpreter when we were loaded.
static NONE_AT_START: AtomicBool = AtomicBool::new(false);

/// Notes that the constructor found no interpreter.
pub fn none_at_start() {
    NONE_AT_START.store(true, Ordering::Release);
}

/// Whether an interpreter has been loaded since, with global names or by a library called libpython.
pub fn came() -> bool {
    if !NONE_AT_START.load(Ordering::Acquire) {
        return false;
    }
    // SAFETY: a C string; the callback takes no data.
    unsafe {
        !libc::dlsym(libc::RTLD_DEFAULT, c"Py_GetVersion".as_ptr()).is_null()
            || libc::dl_iterate_phdr(Some(is_libpython), core::ptr::null_mut()) != 0
    }
}

/// Answers 1, which ends the iteration, for a library of this name.
unsafe extern "C" fn is_libpython(info: *mut libc::dl_phdr_info, _bytes: usize, _data: *mut c_void) -> c_int {
    // SAFETY: the dynamic linker's structure; a module's name, if it has one, is a C string.
    let path = unsafe {
        match (*info).dlpi_name {
            name if name.is_null() => return 0,
            name => CStr::from_ptr(name).to_bytes(),
        }
    };
    let file = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    // libpython3.so only names the stable ABI, and is the same interpreter's.
    c_int::from(file.starts_with(b"libpython") || file.starts_with(b"libpypy"))
}
