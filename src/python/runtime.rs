//! The interpreter in this process: its version and the names it exports.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicU8, Ordering};

use super::layout;

/// Interpreters looked at, at most.
const INTERPRETERS_MAX: u64 = 1 << 16;

/// A `PyObject *`.
pub type Object = *mut c_void;

/// One list of everything looked up: the structure's fields, and the symbols behind them.
macro_rules! symbols {
    ($($(#[$doc:meta])* $field:ident = $symbol:literal : $type:ty,)*) => {
        /// What the interpreter exports; a name missing in this version is `None`.
        #[derive(Clone, Copy)]
        #[allow(missing_docs)]
        pub struct Symbols { $($(#[$doc])* pub $field: Option<$type>,)* }

        impl Symbols {
            const NONE: Symbols = Symbols { $($field: None,)* };

            /// Looks every name up in the global scope.
            fn look_up() -> Symbols {
                Symbols { $($field: {
                    // SAFETY: a C string; the symbol, where there is one, has the type that CPython's headers declare for it.
                    let p = unsafe { libc::dlsym(libc::RTLD_DEFAULT, concat!($symbol, "\0").as_ptr().cast()) };
                    // SAFETY: as above; a null pointer becomes None.
                    unsafe { core::mem::transmute_copy::<*mut c_void, Option<$type>>(&p) }
                },)* }
            }
        }
    };
}

/// The address of an exported variable: never null.
pub type Variable = core::num::NonZeroUsize;

symbols! {
    /// `const char *Py_GetVersion(void)`
    get_version = "Py_GetVersion": unsafe extern "C" fn() -> *const c_char,
    /// `int Py_IsInitialized(void)`
    is_initialized = "Py_IsInitialized": unsafe extern "C" fn() -> c_int,
    /// `void PyMem_SetAllocator(PyMemAllocatorDomain, PyMemAllocatorEx *)`
    set_allocator = "PyMem_SetAllocator": unsafe extern "C" fn(c_int, *mut c_void),
    /// `void PyMem_GetAllocator(PyMemAllocatorDomain, PyMemAllocatorEx *)`
    get_allocator = "PyMem_GetAllocator": unsafe extern "C" fn(c_int, *mut c_void),
    /// `void PyMem_SetupDebugHooks(void)`
    debug_hooks = "PyMem_SetupDebugHooks": unsafe extern "C" fn(),
    /// `void PyObject_GetArenaAllocator(PyObjectArenaAllocator *)`
    get_arena_allocator = "PyObject_GetArenaAllocator": unsafe extern "C" fn(*mut c_void),
    /// `void PyObject_SetArenaAllocator(PyObjectArenaAllocator *)`
    set_arena_allocator = "PyObject_SetArenaAllocator": unsafe extern "C" fn(*mut c_void),
    /// `int Py_AddPendingCall(int (*)(void *), void *)`
    add_pending_call = "Py_AddPendingCall": unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void) -> c_int, *mut c_void) -> c_int,
    /// `int PyGILState_Check(void)`
    gil_check = "PyGILState_Check": unsafe extern "C" fn() -> c_int,
    /// `PyThreadState *PyGILState_GetThisThreadState(void)`
    gil_this_thread = "PyGILState_GetThisThreadState": unsafe extern "C" fn() -> *mut c_void,
    /// `PyGILState_STATE PyGILState_Ensure(void)`
    gil_ensure = "PyGILState_Ensure": unsafe extern "C" fn() -> c_int,
    /// `void PyGILState_Release(PyGILState_STATE)`
    gil_release = "PyGILState_Release": unsafe extern "C" fn(c_int),
    /// `PyThreadState *_PyThreadState_UncheckedGet(void)` (until 3.12)
    current_thread_old = "_PyThreadState_UncheckedGet": unsafe extern "C" fn() -> *mut c_void,
    /// `PyThreadState *PyThreadState_GetUnchecked(void)` (from 3.13)
    current_thread_new = "PyThreadState_GetUnchecked": unsafe extern "C" fn() -> *mut c_void,
    /// `PyObject *PyImport_ImportModule(const char *)`
    import_module = "PyImport_ImportModule": unsafe extern "C" fn(*const c_char) -> Object,
    /// `PyObject *PyImport_AddModule(const char *)`: the module of that name, borrowed; an empty one is made if there is none
    add_module = "PyImport_AddModule": unsafe extern "C" fn(*const c_char) -> Object,
    /// `Py_ssize_t PyObject_Size(PyObject *)`
    size = "PyObject_Size": unsafe extern "C" fn(Object) -> isize,
    /// `PyObject *PyObject_GetAttrString(PyObject *, const char *)`
    get_attribute = "PyObject_GetAttrString": unsafe extern "C" fn(Object, *const c_char) -> Object,
    /// `PyObject *PyObject_CallObject(PyObject *, PyObject *)`
    call_object = "PyObject_CallObject": unsafe extern "C" fn(Object, Object) -> Object,
    /// `PyObject *PyCFunction_NewEx(PyMethodDef *, PyObject *, PyObject *)`
    function_new = "PyCFunction_NewEx": unsafe extern "C" fn(*mut c_void, Object, Object) -> Object,
    /// `PyObject *PyCapsule_New(void *, const char *, void (*)(PyObject *))`
    capsule_new = "PyCapsule_New": unsafe extern "C" fn(*mut c_void, *const c_char, Option<unsafe extern "C" fn(Object)>) -> Object,
    /// `PyObject *PyTuple_New(Py_ssize_t)`
    tuple_new = "PyTuple_New": unsafe extern "C" fn(isize) -> Object,
    /// `PyObject *PyList_New(Py_ssize_t)`
    list_new = "PyList_New": unsafe extern "C" fn(isize) -> Object,
    /// `PyObject *PyDict_New(void)`
    dict_new = "PyDict_New": unsafe extern "C" fn() -> Object,
    /// `int PyDict_SetItem(PyObject *, PyObject *, PyObject *)`
    dict_set = "PyDict_SetItem": unsafe extern "C" fn(Object, Object, Object) -> c_int,
    /// `int PyTuple_SetItem(PyObject *, Py_ssize_t, PyObject *)`, which takes the reference over
    tuple_set = "PyTuple_SetItem": unsafe extern "C" fn(Object, isize, Object) -> c_int,
    /// `void PyErr_Clear(void)`
    error_clear = "PyErr_Clear": unsafe extern "C" fn(),
    /// `void PyErr_Fetch(PyObject **, PyObject **, PyObject **)`
    error_fetch = "PyErr_Fetch": unsafe extern "C" fn(*mut Object, *mut Object, *mut Object),
    /// `void PyErr_Restore(PyObject *, PyObject *, PyObject *)`
    error_restore = "PyErr_Restore": unsafe extern "C" fn(Object, Object, Object),
    /// `void Py_DecRef(PyObject *)`
    decref = "Py_DecRef": unsafe extern "C" fn(Object),
    /// `void Py_IncRef(PyObject *)`
    incref = "Py_IncRef": unsafe extern "C" fn(Object),
    /// `unsigned int PyType_ClearCache(void)`
    clear_type_cache = "PyType_ClearCache": unsafe extern "C" fn() -> u32,
    /// `PyObject *PyObject_Repr(PyObject *)`
    repr = "PyObject_Repr": unsafe extern "C" fn(Object) -> Object,
    /// `const char *PyUnicode_AsUTF8AndSize(PyObject *, Py_ssize_t *)`
    utf8 = "PyUnicode_AsUTF8AndSize": unsafe extern "C" fn(Object, *mut isize) -> *const c_char,
    /// `PyObject *PyUnicode_FromString(const char *)`
    string_new = "PyUnicode_FromString": unsafe extern "C" fn(*const c_char) -> Object,
    /// `PyObject *PyUnicode_Substring(PyObject *, Py_ssize_t, Py_ssize_t)`
    substring = "PyUnicode_Substring": unsafe extern "C" fn(Object, isize, isize) -> Object,
    /// `PyInterpreterState *PyInterpreterState_Head(void)`
    interpreter_head = "PyInterpreterState_Head": unsafe extern "C" fn() -> *mut c_void,
    /// `PyInterpreterState *PyInterpreterState_Next(PyInterpreterState *)`
    interpreter_next = "PyInterpreterState_Next": unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    /// `PyThreadState *PyInterpreterState_ThreadHead(PyInterpreterState *)`
    thread_head = "PyInterpreterState_ThreadHead": unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    /// `PyObject *_PyEval_EvalFrameDefault(...)`, by address: what evaluates Python code
    evaluate = "_PyEval_EvalFrameDefault": Variable,
    /// `int PyCode_Addr2Line(PyCodeObject *, int)`
    line_of = "PyCode_Addr2Line": unsafe extern "C" fn(Object, c_int) -> c_int,
    /// `PyThreadState *PyThreadState_Next(PyThreadState *)`
    thread_next = "PyThreadState_Next": unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    /// Types and singletons, by address.
    type_type = "PyType_Type": Variable,
    none = "_Py_NoneStruct": Variable,
    ellipsis = "_Py_EllipsisObject": Variable,
    not_implemented = "_Py_NotImplementedStruct": Variable,
    true_ = "_Py_TrueStruct": Variable,
    false_ = "_Py_FalseStruct": Variable,
    weakref_type = "_PyWeakref_RefType": Variable,
    weakref_proxy = "_PyWeakref_ProxyType": Variable,
    weakref_callable_proxy = "_PyWeakref_CallableProxyType": Variable,
    str_type = "PyUnicode_Type": Variable,
    bytes_type = "PyBytes_Type": Variable,
    int_type = "PyLong_Type": Variable,
    float_type = "PyFloat_Type": Variable,
    bool_type = "PyBool_Type": Variable,
    list_type = "PyList_Type": Variable,
    tuple_type = "PyTuple_Type": Variable,
    dict_type = "PyDict_Type": Variable,
    set_type = "PySet_Type": Variable,
    frozenset_type = "PyFrozenSet_Type": Variable,
    frame_type = "PyFrame_Type": Variable,
    code_type = "PyCode_Type": Variable,
    function_type = "PyFunction_Type": Variable,
    builtin_type = "PyCFunction_Type": Variable,
    method_type = "PyMethod_Type": Variable,
    module_type = "PyModule_Type": Variable,
    /// The state of all interpreters.
    runtime_state = "_PyRuntime": Variable,
    /// Only in builds with `Py_TRACE_REFS`, whose objects have two more words.
    trace_refs = "_Py_AddToAllObjects": Variable,
    /// Only in PyPy: its entry point (rpython/translator/c/genc.py). Its C API has names of its own, `PyPy_GetVersion` and so on.
    pypy = "pypy_main_startup": Variable,
}

/// The interpreter.
#[derive(Clone, Copy)]
pub struct Runtime {
    /// The minor version of 3.x.
    pub minor: u8,
    /// Its exported names.
    pub symbols: Symbols,
    /// The text `Py_GetVersion` gave, up to the first space.
    pub version: [u8; 24],
}

/// Why an interpreter is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsupported {
    /// No interpreter in this process (yet).
    NoPython,
    /// Not one of the versions whose layouts are known.
    Version,
    /// Free-threaded: objects live in heaps of its own.
    FreeThreaded,
    /// `Py_TRACE_REFS`.
    TraceRefs,
    /// PyPy.
    PyPy,
}

/// First and last minor version whose layouts are known and tested.
pub const MINOR_MIN: u8 = 8;
/// See [`MINOR_MIN`].
pub const MINOR_MAX: u8 = 13;

/// 0 not looked, 1 being looked for, 2 found, 3 there is none or it is not supported.
static STATE: AtomicU8 = AtomicU8::new(0);
static mut RUNTIME: Runtime = Runtime { minor: 0, symbols: Symbols::NONE, version: [0; 24] };

impl Runtime {
    /// The supported interpreter found by [`Runtime::find`], if any.
    pub fn get() -> Option<&'static Runtime> {
        if STATE.load(Ordering::Acquire) != 2 {
            return None;
        }
        // SAFETY: written once before the state became 2, never after.
        Some(unsafe { &*(&raw const RUNTIME) })
    }

    /// Looks for an interpreter, once per process. A failing `dlsym` allocates, so the heap must work.
    pub fn find() -> Result<&'static Runtime, Unsupported> {
        if STATE.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return Self::get().ok_or(Unsupported::NoPython);
        }
        let found = Self::look_up();
        if let Ok(runtime) = found {
            // SAFETY: state 1 admits one writer, and no reader before state 2.
            unsafe { (&raw mut RUNTIME).write(runtime) };
            STATE.store(2, Ordering::Release);
        } else {
            STATE.store(3, Ordering::Release);
        }
        found.map(|_| {
            // SAFETY: written above.
            unsafe { &*(&raw const RUNTIME) }
        })
    }

    fn look_up() -> Result<Runtime, Unsupported> {
        // One cheap look first: most processes are no Python.
        // SAFETY: a C string.
        let has = |name: &CStr| !unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null();
        if !has(c"Py_GetVersion") {
            return Err(if has(c"pypy_main_startup") { Unsupported::PyPy } else { Unsupported::NoPython });
        }
        let symbols = Symbols::look_up();
        if symbols.pypy.is_some() {
            return Err(Unsupported::PyPy);
        }
        // SAFETY: Py_GetVersion may be called before initialization (C API documentation).
        let text = unsafe { CStr::from_ptr(symbols.get_version.ok_or(Unsupported::NoPython)?()) }.to_bytes();
        let mut version = [0; 24];
        for (to, &from) in version.iter_mut().take(23).zip(text.iter().take_while(|&&b| b != b' ')) {
            *to = from;
        }
        let minor = text.strip_prefix(b"3.").map(|rest| {
            rest.iter().take_while(|b| b.is_ascii_digit()).fold(0u32, |n, b| (n * 10 + u32::from(b - b'0')).min(200))
        });
        if text.windows(14).any(|w| w == b"free-threading") {
            return Err(Unsupported::FreeThreaded);
        }
        match minor {
            Some(n) if (u32::from(MINOR_MIN)..=u32::from(MINOR_MAX)).contains(&n) && symbols.set_allocator.is_some() => {
                if symbols.trace_refs.is_some() {
                    return Err(Unsupported::TraceRefs);
                }
                Ok(Runtime { minor: n as u8, symbols, version })
            }
            _ => Err(Unsupported::Version),
        }
    }

    /// The version's text, such as `3.11.7`.
    pub fn version_text(&self) -> &str {
        let n = self.version.iter().position(|&b| b == 0).unwrap_or(0);
        core::str::from_utf8(self.version.get(..n).unwrap_or(b"")).unwrap_or("?")
    }

    /// Whether the interpreter is initialized.
    pub fn initialized(&self) -> bool {
        // SAFETY: may be called at any time (C API documentation).
        self.symbols.is_initialized.is_some_and(|f| unsafe { f() } != 0)
    }

    /// The thread state that is current in the process: in 3.8-3.11 of whichever thread holds the GIL, from 3.12 of the calling thread.
    pub fn current_thread(&self) -> usize {
        let get = self.symbols.current_thread_new.or(self.symbols.current_thread_old);
        // SAFETY: reads one word (an atomic or a thread-local).
        get.map_or(0, |f| unsafe { f() } as usize)
    }

    /// Whether the calling thread holds the GIL.
    pub fn holds_gil(&self) -> bool {
        // PyGILState_Check answers 1 throughout when sub-interpreters exist; then the thread's own state is compared too.
        // SAFETY: both may be called without the GIL once the interpreter is initialized.
        self.initialized() && self.current_thread() != 0 && self.symbols.gil_check.is_some_and(|f| unsafe { f() } != 0)
    }

    /// Whether no thread of any interpreter runs under its GIL, which is said of threads that stand still.
    pub fn nobody_holds_gil(&self) -> bool {
        if self.minor <= 11 {
            return self.current_thread() == 0;
        }
        let Some(gil) = layout::interpreter_gil(self.minor) else { return false };
        // SAFETY: nobody starts or ends an interpreter without holding a GIL, which is seen as held: those in the list before it are whole. An
        // interpreter whose lock has not been made names none.
        unsafe {
            self.all_interpreters(&mut |interpreter| {
                let lock = ((interpreter + gil) as *const usize).read();
                lock == 0 || ((lock + layout::GIL_LOCKED) as *const i32).read_volatile() <= 0
            })
        }
    }

    /// Asks `holds` of one interpreter's state after the other, until it says no; whether it holds for all. `false` too if they cannot be listed, or are too many.
    ///
    /// # Safety
    /// The list of interpreters stands still.
    pub unsafe fn all_interpreters(&self, holds: &mut dyn FnMut(usize) -> bool) -> bool {
        let (Some(first), Some(next)) = (self.symbols.interpreter_head, self.symbols.interpreter_next) else { return false };
        // SAFETY: the functions read one word each.
        unsafe {
            let mut interpreter = first();
            for _ in 0..INTERPRETERS_MAX {
                if interpreter.is_null() {
                    return true;
                }
                if !holds(interpreter as usize) {
                    return false;
                }
                interpreter = next(interpreter);
            }
        }
        false
    }
}
