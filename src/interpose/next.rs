//! The C library's own function behind one of ours.

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering::*};

/// A function by its name, looked up once.
pub struct Next {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Next {
    /// The one of this name, not looked up yet.
    pub const fn new(name: &'static CStr) -> Next {
        Next { name, address: AtomicUsize::new(0) }
    }

    /// Looks it up now, for callers that may not.
    pub fn look_up(&self) {
        // SAFETY: the name ends with a zero byte.
        self.address.store(unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) } as usize, Release);
    }

    /// Its address; 0 if there is none.
    pub fn get(&self) -> usize {
        // Libraries that are initialised before us may ask before we have looked.
        if self.address.load(Acquire) == 0 {
            self.look_up();
        }
        self.address.load(Acquire)
    }
}

/// Sets `errno` and answers -1.
pub fn fail(errno: core::ffi::c_int) -> core::ffi::c_int {
    // SAFETY: __errno_location is valid for the calling thread.
    unsafe { *libc::__errno_location() = errno };
    -1
}
