//! `sem_init` and `sem_destroy`, by which semaphores are dated in a Python process (`audit::semaphores`). Otherwise they are the C library's.

use core::ffi::{c_int, c_uint};

use super::next::{Next, fail};
use crate::audit::semaphores;
use crate::python::runtime::Runtime;

static INIT: Next = Next::new(c"sem_init");
static DESTROY: Next = Next::new(c"sem_destroy");

/// POSIX's `sem_init`.
///
/// # Safety
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sem_init(semaphore: *mut libc::sem_t, shared: c_int, value: c_uint) -> c_int {
    let next = INIT.get();
    if next == 0 {
        return fail(libc::ENOSYS);
    }
    // SAFETY: the C library's function has this type.
    let next: unsafe extern "C" fn(*mut libc::sem_t, c_int, c_uint) -> c_int = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's.
    let status = unsafe { next(semaphore, shared, value) };
    if status == 0 && Runtime::get().is_some() {
        // SAFETY: the caller's: a semaphore that is just beginning.
        unsafe { semaphores::initialised(semaphore as usize) };
    }
    status
}

/// POSIX's `sem_destroy`.
///
/// # Safety
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sem_destroy(semaphore: *mut libc::sem_t) -> c_int {
    let next = DESTROY.get();
    if next == 0 {
        return fail(libc::ENOSYS);
    }
    // SAFETY: the C library's function has this type.
    let next: unsafe extern "C" fn(*mut libc::sem_t) -> c_int = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's.
    let status = unsafe { next(semaphore) };
    if status == 0 && Runtime::get().is_some() {
        // SAFETY: the caller's: nobody uses it any more.
        unsafe { semaphores::destroyed(semaphore as usize) };
    }
    status
}
