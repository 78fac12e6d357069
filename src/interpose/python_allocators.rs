//! CPython's three allocator domains, routed to the heap before `main`, so that every object is a block of its own.
//!
//! `PyMem_SetAllocator` takes hold from a constructor in 3.8 to 3.13, shared and static, also with `-I` and `-E`. Objects go into slabs of
//! their own (`Domain::Object`), so that raw memory is never mistaken for an object.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU8, Ordering};

use super::exit;
use crate::audit::settings::{self, Settings};
use crate::audit::snapshot;
use crate::heap::{self, Domain};
use crate::python::runtime::{MINOR_MAX, MINOR_MIN, Runtime, Unsupported};
use crate::sys::text::stderr_line;

/// `PyMemAllocatorEx` (CPython Include/cpython/pymem.h).
#[repr(C)]
struct Allocator {
    context: *mut c_void,
    malloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    calloc: extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    realloc: extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    free: extern "C" fn(*mut c_void, *mut c_void),
}

/// `PyMemAllocatorDomain`.
const DOMAIN_RAW: c_int = 0;
const DOMAIN_MEM: c_int = 1;
const DOMAIN_OBJ: c_int = 2;

/// Where the watch for the interpreter's start stands: 0 waiting for it to be initialized, 1 asked for a pending call, 2 done.
static WATCH: AtomicU8 = AtomicU8::new(0);

macro_rules! hooks {
    ($malloc:ident, $calloc:ident, $realloc:ident, $domain:expr, $before:expr) => {
        extern "C" fn $malloc(_context: *mut c_void, size: usize) -> *mut c_void {
            $before;
            heap::allocate(size, $domain).cast()
        }
        extern "C" fn $calloc(_context: *mut c_void, count: usize, size: usize) -> *mut c_void {
            match count.checked_mul(size) {
                Some(bytes) => heap::allocate_zeroed(bytes, $domain).cast(),
                None => core::ptr::null_mut(),
            }
        }
        extern "C" fn $realloc(_context: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
            heap::reallocate(block.cast(), size, $domain).cast()
        }
    };
}
hooks!(raw_malloc, raw_calloc, raw_realloc, Domain::Raw, ());
hooks!(object_malloc, object_calloc, object_realloc, Domain::Object, ());
hooks!(watching_malloc, watching_calloc, watching_realloc, Domain::Object, watch());

extern "C" fn free(_context: *mut c_void, block: *mut c_void) {
    heap::free(block.cast());
}

/// Looks for an interpreter and routes it. Called by the constructor.
pub fn install() {
    if !Settings::get().on {
        return;
    }
    let runtime = match Runtime::find() {
        Ok(runtime) => runtime,
        Err(why) => return say_unsupported(why),
    };
    settings::report_mistakes();
    let Some(set) = runtime.symbols.set_allocator else { return };
    let raw = Allocator { context: core::ptr::null_mut(), malloc: raw_malloc, calloc: raw_calloc, realloc: raw_realloc, free };
    let watching = Allocator { malloc: watching_malloc, calloc: watching_calloc, realloc: watching_realloc, ..raw };
    // SAFETY: the structures have CPython's layout and are copied; it is early enough: nothing has been allocated yet.
    unsafe {
        set(DOMAIN_RAW, (&raw const raw).cast_mut().cast());
        set(DOMAIN_MEM, (&raw const raw).cast_mut().cast());
        set(DOMAIN_OBJ, (&raw const watching).cast_mut().cast());
    }
    snapshot::set_routed();
}

fn say_unsupported(why: Unsupported) {
    match why {
        Unsupported::NoPython => {}
        Unsupported::Version => stderr_line(format_args!(
            "gcshim: this Python is not supported (CPython 3.{MINOR_MIN} to 3.{MINOR_MAX} are); it runs without audits"
        )),
        Unsupported::FreeThreaded => stderr_line(format_args!(
            "gcshim: a free-threaded Python keeps its objects in heaps of its own and is not supported yet; it runs without audits"
        )),
        Unsupported::TraceRefs => {
            stderr_line(format_args!("gcshim: a Python built with Py_TRACE_REFS is not supported; it runs without audits"));
        }
        Unsupported::PyPy => stderr_line(format_args!("gcshim: PyPy has no reference counts to check; it runs without audits")),
    }
}

/// On each object allocated until the interpreter is initialized: then asks it for a call between two bytecodes, where the exit audit
/// can be registered with the `atexit` module.
#[cold]
#[inline(never)]
fn watch() {
    if WATCH.load(Ordering::Relaxed) != 0 {
        return;
    }
    let Some(runtime) = Runtime::get() else { return };
    if !runtime.initialized() || WATCH.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return;
    }
    let Some(add) = runtime.symbols.add_pending_call else { return };
    // SAFETY: the interpreter is initialized; the function may be called from any thread, with or without the GIL.
    if unsafe { add(started, core::ptr::null_mut()) } != 0 {
        // The queue is full: try again at the next object.
        WATCH.store(0, Ordering::Release);
    }
}

/// The pending call: the interpreter runs, the GIL is held.
unsafe extern "C" fn started(_argument: *mut c_void) -> c_int {
    WATCH.store(2, Ordering::Release);
    let Some(runtime) = Runtime::get() else { return 0 };
    if let Some(set) = runtime.symbols.set_allocator {
        let plain = Allocator {
            context: core::ptr::null_mut(),
            malloc: object_malloc,
            calloc: object_calloc,
            realloc: object_realloc,
            free,
        };
        // SAFETY: copied word by word while other threads may read it; any mixture of the old and the new functions is right, as both
        // use the same heap and domain.
        unsafe { set(DOMAIN_OBJ, (&raw const plain).cast_mut().cast()) };
    }
    exit::interpreter_started(runtime);
    0
}

/// Whether the interpreter uses our functions for objects now.
pub fn still_routed(runtime: &Runtime) -> bool {
    let mut now = Allocator { context: core::ptr::null_mut(), malloc: raw_malloc, calloc: raw_calloc, realloc: raw_realloc, free };
    if let Some(get) = runtime.symbols.get_allocator {
        // SAFETY: the structure has CPython's layout and is filled by the call.
        unsafe { get(DOMAIN_OBJ, (&raw mut now).cast()) };
    }
    now.malloc as usize == object_malloc as *const () as usize || now.malloc as usize == watching_malloc as *const () as usize
}

/// Whether the exit audit could be registered.
pub fn started_seen() -> bool {
    WATCH.load(Ordering::Acquire) == 2
}
