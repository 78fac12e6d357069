//! The audit at interpreter exit, the audit on a signal, and the process's exit status.

use core::ffi::{c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::{late_python, python_allocators, undone_routing};
use crate::audit::histogram::{self, Moment};
use crate::audit::settings::Settings;
use crate::audit::{Trigger, entry, snapshot};
use crate::collect::records;
use crate::python::runtime::{Object, Runtime};
use crate::sys::process;
use crate::sys::text::stderr_line;

/// `PyMethodDef` (CPython Include/methodobject.h).
#[repr(C)]
struct MethodDef {
    name: *const c_char,
    function: unsafe extern "C" fn(Object, Object) -> Object,
    flags: c_int,
    doc: *const c_char,
}

/// `METH_NOARGS`.
const METH_NOARGS: c_int = 4;

static mut EXIT_AUDIT: MethodDef =
    MethodDef { name: c"gcshim_exit_audit".as_ptr(), function: exit_audit, flags: METH_NOARGS, doc: core::ptr::null() };

/// The process in which the interpreter started: children made by fork are others.
static STARTED_IN: AtomicI32 = AtomicI32::new(0);

/// The exit audit's turn has come: what becomes of its function from then on is nobody's concern.
static EXIT_AUDITED: AtomicBool = AtomicBool::new(false);

/// What the constructor does: reads the options, sees to the exit status and the signal.
pub fn install() {
    Settings::read_environment();
    let settings = Settings::get();
    unsafe extern "C" {
        /// glibc: like atexit, and the function gets the exit status.
        fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }
    if settings.on() || settings.histogram[0] != 0 {
        // Registered before the program's own handlers, and before the dynamic linker's: so it runs after all of them.
        // SAFETY: the function lives as long as the process.
        unsafe { on_exit(at_process_exit, core::ptr::null_mut()) };
    }
}

/// Called once, with the GIL, when the interpreter has started.
pub fn interpreter_started(runtime: &'static Runtime) {
    let settings = Settings::get();
    // SAFETY: takes no arguments.
    if STARTED_IN.swap(unsafe { libc::getpid() }, Ordering::AcqRel) != 0 {
        if settings.at_exit {
            say_not_the_first();
        }
        return;
    }
    // SAFETY: the GIL is held, between two bytecodes.
    if (settings.at_exit || histogram::on()) && unsafe { register_exit_audit(runtime) }.is_none() {
        stderr_line(format_args!("gcshim: the exit audit could not be registered with atexit; there will be none"));
    }
    if settings.signal > 0 {
        install_signal(settings.signal);
    }
}

/// `atexit.register(gcshim_exit_audit)`: registered before anything of the program, it runs last of all, with the GIL, before anything is
/// torn down.
unsafe fn register_exit_audit(runtime: &Runtime) -> Option<()> {
    let s = &runtime.symbols;
    let (decref, clear) = (s.decref?, s.error_clear?);
    // SAFETY: the caller's; each call has the signature of CPython's headers; every new reference is dropped.
    unsafe {
        let null = core::ptr::null_mut();
        // Dies with the function, and tells us.
        let life = (s.capsule_new?)((&raw mut EXIT_AUDIT).cast(), core::ptr::null(), Some(exit_audit_forgotten));
        let function = if life.is_null() { null } else { (s.function_new?)((&raw mut EXIT_AUDIT).cast(), life, null) };
        let module = (s.import_module?)(c"atexit".as_ptr());
        let register = if module.is_null() { null } else { (s.get_attribute?)(module, c"register".as_ptr()) };
        let arguments = (s.tuple_new?)(1);
        let mut result = null;
        if !function.is_null() && !register.is_null() && !arguments.is_null() {
            (s.incref?)(function);
            (s.tuple_set?)(arguments, 0, function);
            result = (s.call_object?)(register, arguments);
        }
        for object in [result, arguments, register, module, function, life] {
            if !object.is_null() {
                decref(object);
            }
        }
        clear();
        (!result.is_null()).then_some(())
    }
}

/// Whoever empties the list of exit functions (`atexit._clear()`, which multiprocessing calls in its children from 3.13 on) does not mean
/// ours: it is registered again as soon as Python code runs.
unsafe extern "C" fn exit_audit_forgotten(_life: Object) {
    if !EXIT_AUDITED.load(Ordering::Acquire)
        && let Some(add) = Runtime::get().and_then(|r| r.symbols.add_pending_call)
    {
        // SAFETY: may be called from anywhere; the function has the queue's signature.
        unsafe { add(register_once_more, core::ptr::null_mut()) };
    }
}

unsafe extern "C" fn register_once_more(_argument: *mut c_void) -> c_int {
    if let Some(runtime) = Runtime::get() {
        // SAFETY: a pending call has the GIL, between two bytecodes.
        unsafe { register_exit_audit(runtime) };
    }
    0
}

unsafe extern "C" fn exit_audit(_life: Object, _arguments: Object) -> Object {
    EXIT_AUDITED.store(true, Ordering::Release);
    let settings = Settings::get();
    // SAFETY: takes no arguments.
    let here = unsafe { libc::getpid() };
    histogram::write(Moment::InterpreterExit);
    if settings.at_exit && (settings.follow_fork || here == STARTED_IN.load(Ordering::Acquire)) {
        entry::audit_here(Trigger::Exit);
    }
    let Some(runtime) = Runtime::get() else { return core::ptr::null_mut() };
    python_allocators::interpreter_ends(runtime);
    let none = runtime.symbols.none.map_or(core::ptr::null_mut(), |n| n.get() as Object);
    if let Some(incref) = runtime.symbols.incref {
        // SAFETY: None, with the GIL.
        unsafe { incref(none) };
    }
    none
}

fn install_signal(signal: c_int) {
    // SAFETY: a zeroed sigaction with the fields set; the mask is filled by sigemptyset.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_signal as *const () as usize;
        // Not on an alternate stack: those are made for handlers that do less than an audit.
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(signal, &action, core::ptr::null_mut()) != 0 {
            stderr_line(format_args!("gcshim: signal {signal} (GCSHIM_SIGNAL) cannot be handled; there will be no audits on it"));
        }
    }
}

/// The audit's signal. The program may be anywhere: the audit itself waits for the next point between two bytecodes, where the GIL is held;
/// only if nobody holds the GIL (the program is idle in a system call) and the heap is free, it happens here and now.
extern "C" fn on_signal(_signal: c_int) {
    // SAFETY: __errno_location is valid for the calling thread.
    let errno = unsafe { *libc::__errno_location() };
    if let Some(runtime) = Runtime::get() {
        if !runtime.holds_gil() && heap_is_free() && runtime.current_thread() == 0 {
            entry::audit_here(Trigger::Signal);
        } else if let Some(add) = runtime.symbols.add_pending_call {
            // SAFETY: CPython's own signal handler uses the same queue.
            unsafe { add(audit_now, core::ptr::null_mut()) };
        }
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn heap_is_free() -> bool {
    if !crate::finalizers::try_lock_all() {
        return false;
    }
    // SAFETY: taken above.
    unsafe { crate::finalizers::unlock_all() };
    true
}

unsafe extern "C" fn audit_now(_argument: *mut c_void) -> c_int {
    entry::audit_here(Trigger::Signal);
    0
}

/// Once in a process: a program may start many, one after the other.
fn say_not_the_first() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::AcqRel) {
        stderr_line(format_args!(
            "gcshim: no audit at exit: this interpreter is not the first in its process, and what the first left cannot be told from leaks"
        ));
    }
}

/// An interpreter lived here, and its start was not seen: the one line that says there was no audit.
fn say_why_not(started: bool) {
    match Runtime::get() {
        // From 3.12 on a second start puts the interpreter's own allocators back (_PyRuntimeState_Init resets the whole structure).
        Some(runtime) if started => {
            // Other allocators than those are a hook that a test or an extension has set, in the interpreter that was audited.
            if python_allocators::ended() && undone_routing::pymalloc_is_back(runtime) {
                say_not_the_first();
            }
        }
        Some(runtime) if !undone_routing::still_routed(runtime) => stderr_line(format_args!(
            "gcshim: no audit: this Python was given an allocator of its own (PYTHONMALLOC, or the embedding program); run it without"
        )),
        None if late_python::came() => stderr_line(format_args!(
            "gcshim: no audit: libpython was loaded when the program had started; preload it beside the shim to have one"
        )),
        _ => {}
    }
}

/// Runs last of all exit handlers: waits for an audit that is still under way, and sets the exit status if it is to be set.
extern "C" fn at_process_exit(_status: c_int, _argument: *mut c_void) {
    histogram::write(Moment::Exit);
    let settings = Settings::get();
    // SAFETY: takes no arguments.
    let here = unsafe { libc::getpid() };
    let started = STARTED_IN.load(Ordering::Acquire);
    if started != 0 && started != here && !settings.follow_fork {
        return;
    }
    snapshot::finish_running(settings);
    records::write(settings, here);
    if settings.at_exit {
        say_why_not(started != 0);
    }
    if settings.exit_code != 0 && snapshot::failed() {
        // What the C library would flush after us is flushed now.
        // SAFETY: fflush of all streams.
        unsafe {
            libc::fflush(core::ptr::null_mut());
        }
        process::exit(settings.exit_code);
    }
}
