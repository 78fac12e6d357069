//! CPython's three allocator domains, routed to the heap before `main`, so that every object is a block of its own.
//!
//! `PyMem_SetAllocator` takes hold from a constructor in 3.8 to 3.13, shared and static, also with `-I` and `-E`. Objects go into slabs of
//! their own (`Domain::Object`), so that raw memory is never mistaken for an object. What undoes it later, and what is done about that, is in
//! [`super::undone_routing`].

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::{exit, late_python, undone_routing};
use crate::audit::settings::{self, Settings};
use crate::audit::snapshot;
use crate::heap::{self, Domain, wiping};
use crate::python::imports;
use crate::python::runtime::{MINOR_MAX, MINOR_MIN, Runtime, Unsupported};
use crate::sys::text::stderr_line;

/// `PyMemAllocatorEx` (CPython Include/cpython/pymem.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Allocator {
    pub context: *mut c_void,
    pub malloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    pub calloc: extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    pub realloc: extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    pub free: extern "C" fn(*mut c_void, *mut c_void),
}

// SAFETY: the context is the interpreter's, and only handed back to it.
unsafe impl Sync for Allocator {}

/// `PyMemAllocatorDomain`.
pub const DOMAIN_RAW: c_int = 0;
const DOMAIN_MEM: c_int = 1;
/// Objects.
pub const DOMAIN_OBJ: c_int = 2;

/// Where the watch for the interpreter's start stands: [`WAITING`] and so on.
static WATCH: AtomicU8 = AtomicU8::new(WAITING);
/// The interpreter is not initialized yet.
const WAITING: u8 = 0;
/// It has been asked for a call between two bytecodes.
const ASKED: u8 = 1;
/// It runs, and its exit audit is registered.
const RUNS: u8 = 2;
/// It is being finalized; it may be initialized again.
const ENDS: u8 = 3;

/// Objects since the last look at the interpreter; where threads count at the same time some are lost.
static UNSEEN: AtomicU32 = AtomicU32::new(LOOK_EVERY);
/// It is looked at on each so many objects, the first included: on each, it took a hundredth of an interpreter's start. Hundreds are made between its being initialized and the program's first line.
const LOOK_EVERY: u32 = 32;

macro_rules! hooks {
    ($malloc:ident, $calloc:ident, $realloc:ident, $domain:expr, $before:expr) => {
        extern "C" fn $malloc(_context: *mut c_void, size: usize) -> *mut c_void {
            $before();
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
hooks!(raw_malloc, raw_calloc, raw_realloc, Domain::Raw, || ());
hooks!(object_malloc, object_calloc, object_realloc, Domain::Object, || ());
hooks!(watching_malloc, watching_calloc, watching_realloc, Domain::Object, watch);

const RAW: Allocator =
    Allocator { context: core::ptr::null_mut(), malloc: raw_malloc, calloc: raw_calloc, realloc: raw_realloc, free };
const WATCHING: Allocator = Allocator { malloc: watching_malloc, calloc: watching_calloc, realloc: watching_realloc, ..RAW };
const OBJECT: Allocator = Allocator { malloc: object_malloc, calloc: object_calloc, realloc: object_realloc, ..RAW };

extern "C" fn free(_context: *mut c_void, block: *mut c_void) {
    heap::free(block.cast());
}

/// Looks for an interpreter and routes it. Called by the constructor.
pub fn install() {
    if !Settings::get().on() {
        return;
    }
    let runtime = match Runtime::find() {
        Ok(runtime) => runtime,
        Err(why) => return say_unsupported(why),
    };
    settings::report_mistakes();
    undone_routing::prepare(runtime);
    route(runtime);
    snapshot::set_routed(0);
}

/// Gives the interpreter our functions for all three domains.
pub fn route(runtime: &Runtime) {
    wiping::from_now_on();
    set(runtime, DOMAIN_RAW, &RAW);
    route_objects(runtime);
}

/// For what is allocated with the interpreter's lock held.
pub fn route_objects(runtime: &Runtime) {
    set(runtime, DOMAIN_MEM, &RAW);
    set(runtime, DOMAIN_OBJ, &WATCHING);
}

/// `PyMem_SetAllocator`.
pub fn set(runtime: &Runtime, domain: c_int, allocator: &Allocator) {
    if let Some(set) = runtime.symbols.set_allocator {
        // SAFETY: the structure has CPython's layout and is copied. Where it replaces another while other threads read it: any mixture of the
        // functions that this module exchanges is right, as they use the same heap.
        unsafe { set(domain, core::ptr::from_ref(allocator).cast_mut().cast()) };
    }
}

/// Our `malloc` functions for objects, as addresses.
pub fn object_mallocs() -> [usize; 2] {
    [OBJECT, WATCHING].map(|a| a.malloc as usize)
}

/// `PyMem_GetAllocator`.
pub fn get(runtime: &Runtime, domain: c_int) -> Allocator {
    let mut now = RAW;
    if let Some(get) = runtime.symbols.get_allocator {
        // SAFETY: the structure has CPython's layout and is filled by the call.
        unsafe { get(domain, (&raw mut now).cast()) };
    }
    now
}

fn say_unsupported(why: Unsupported) {
    match why {
        Unsupported::NoPython => late_python::none_at_start(),
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

/// On objects allocated until the interpreter is initialized: then asks it for a call between two bytecodes, where the exit audit
/// can be registered with the `atexit` module.
#[inline]
fn watch() {
    let at = WATCH.load(Ordering::Relaxed);
    if at == WAITING || at == ENDS {
        let unseen = UNSEEN.load(Ordering::Relaxed) + 1;
        if unseen < LOOK_EVERY {
            return UNSEEN.store(unseen, Ordering::Relaxed);
        }
        UNSEEN.store(0, Ordering::Relaxed);
        watch_closely(at);
    }
}

#[cold]
#[inline(never)]
fn watch_closely(at: u8) {
    undone_routing::first_object();
    let Some(runtime) = Runtime::get() else { return };
    let initialized = runtime.initialized();
    if at == ENDS && !initialized {
        _ = WATCH.compare_exchange(ENDS, WAITING, Ordering::AcqRel, Ordering::Relaxed);
    }
    if at != WAITING || !initialized || WATCH.compare_exchange(WAITING, ASKED, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return;
    }
    let Some(add) = runtime.symbols.add_pending_call else { return };
    // SAFETY: the interpreter is initialized; the function may be called from any thread, with or without the GIL.
    if unsafe { add(started, core::ptr::null_mut()) } != 0 {
        // The queue is full: try again at the next object.
        WATCH.store(WAITING, Ordering::Release);
    }
}

/// The pending call: the interpreter runs, the GIL is held.
unsafe extern "C" fn started(_argument: *mut c_void) -> c_int {
    let Some(runtime) = Runtime::get() else { return 0 };
    // SAFETY: as said.
    if !unsafe { imports::can_begin(runtime) } {
        // `atexit` cannot be imported now.
        WATCH.store(WAITING, Ordering::Release);
        return 0;
    }
    WATCH.store(RUNS, Ordering::Release);
    exchange(runtime, &WATCHING, &OBJECT);
    exit::interpreter_started(runtime);
    0
}

/// The interpreter is about to be finalized. An embedding program may initialize it again: that start is watched for too.
pub fn interpreter_ends(runtime: &Runtime) {
    WATCH.store(ENDS, Ordering::Release);
    exchange(runtime, &OBJECT, &WATCHING);
}

/// Exchanges our functions for objects, unless somebody (`tracemalloc`, the debug hooks) has put theirs over them: to take those away is not ours.
fn exchange(runtime: &Runtime, from: &Allocator, to: &Allocator) {
    if get(runtime, DOMAIN_OBJ).malloc as usize == from.malloc as usize {
        set(runtime, DOMAIN_OBJ, to);
    }
}

/// Whether an interpreter whose exit audit was registered has been finalized, or is about to be.
pub fn ended() -> bool {
    !matches!(WATCH.load(Ordering::Acquire), RUNS | ASKED)
}
