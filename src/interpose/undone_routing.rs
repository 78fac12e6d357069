//! What undoes `PyMem_SetAllocator` later, and how the interpreter's objects stay in our heap all the same.
//!
//! `PYTHONMALLOC`, `-X dev` and an embedding program's `PyPreConfig.allocator` make the interpreter set its allocators up again, before it makes its
//! first object. Two things are done about it, neither of which the program can see:
//!
//! - Whoever returns to pymalloc needs an arena for the first block, and gets it from a function that can be set as well. Ours answers that
//!   there is none. pymalloc then passes the request on to the raw domain, whose next answer is made to come from the object slabs; and from
//!   there on the domains are ours again, under the debug hooks if those were asked for. No arena is ever made, so nothing is left to tell apart.
//! - `PYTHONMALLOC=malloc` makes objects in our heap anyway, but among everything else. Its value is blanked where it stands until the first object
//!   is made: the interpreter reads it long before, and copies the environment for `os.environ` long after.
//!
//! What is left is said at exit in one line: mimalloc, and an embedding program that sets allocators of its own.

use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::python_allocators::{self, Allocator, DOMAIN_OBJ, DOMAIN_RAW};
use crate::audit::snapshot;
use crate::heap::{self, Domain};
use crate::python::runtime::Runtime;

/// `PyObjectArenaAllocator` (CPython Include/cpython/objimpl.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Arenas {
    context: *mut c_void,
    alloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    free: extern "C" fn(*mut c_void, *mut c_void, usize),
}

/// What the debug hooks put before a block: its size and a mark, two words (obmalloc.c, `_PyMem_DebugRawAlloc`, 3.8-3.13).
const DEBUG_HEADER_BYTES: u32 = 16;
/// Place of the inner allocator's `malloc` in the debug hooks' context (`debug_alloc_api_t`: a letter, then a `PyMemAllocatorEx`).
const DEBUG_CONTEXT_MALLOC: usize = 16;

/// The interpreter's own `malloc` for objects: pymalloc's.
static PYMALLOC: AtomicUsize = AtomicUsize::new(0);
static mut ARENAS: Option<Arenas> = None;
/// The raw domain's functions while [`ONCE`] stands in for them.
static mut RAW_BEFORE: Option<Allocator> = None;

const ONCE: Allocator = Allocator {
    context: core::ptr::null_mut(),
    malloc: once_malloc,
    calloc: once_calloc,
    realloc: once_realloc,
    free: once_free,
};

/// Called before the domains are routed.
pub fn prepare(runtime: &Runtime) {
    blank_variable();
    let s = &runtime.symbols;
    let (Some(get), Some(set)) = (s.get_arena_allocator, s.set_arena_allocator) else { return };
    PYMALLOC.store(python_allocators::get(runtime, DOMAIN_OBJ).malloc as usize, Ordering::Release);
    // SAFETY: the structures have CPython's layout; nothing has been allocated yet, so no thread is there to see the static half written.
    unsafe {
        let mut arenas = core::mem::MaybeUninit::<Arenas>::uninit();
        get(arenas.as_mut_ptr().cast());
        ARENAS = Some(arenas.assume_init());
        let mut ours = Arenas { context: core::ptr::null_mut(), alloc: arena_alloc, free: arena_free };
        set((&raw mut ours).cast());
    }
}

/// Whether the interpreter would ask pymalloc for an object now, with or without debug hooks around it.
pub fn pymalloc_is_back(runtime: &Runtime) -> bool {
    innermost_malloc(&python_allocators::get(runtime, DOMAIN_OBJ), PYMALLOC.load(Ordering::Acquire))
}

/// Whether an allocator is the one with this `malloc`, or the debug hooks around it.
fn innermost_malloc(now: &Allocator, malloc: usize) -> bool {
    now.malloc as usize == malloc
        // SAFETY: a context is the debug hooks' structure, or tracemalloc's, which is longer than this and has another function there.
        || !now.context.is_null() && unsafe { *now.context.cast::<u8>().add(DEBUG_CONTEXT_MALLOC).cast::<usize>() } == malloc
}

/// Whether the interpreter's objects come from us now, with or without debug hooks around it.
pub fn still_routed(runtime: &Runtime) -> bool {
    let now = python_allocators::get(runtime, DOMAIN_OBJ);
    python_allocators::object_mallocs().into_iter().any(|m| innermost_malloc(&now, m))
}

/// pymalloc asks for an arena; from 3.11 on the interpreter also takes its data stacks from here.
extern "C" fn arena_alloc(_context: *mut c_void, size: usize) -> *mut c_void {
    if let Some(runtime) = Runtime::get()
        && pymalloc_is_back(runtime)
    {
        route_again(runtime);
        return core::ptr::null_mut();
    }
    // SAFETY: written before this function was made known.
    match unsafe { ARENAS } {
        Some(arenas) => (arenas.alloc)(arenas.context, size),
        None => core::ptr::null_mut(),
    }
}

extern "C" fn arena_free(_context: *mut c_void, arena: *mut c_void, size: usize) {
    // SAFETY: as above.
    if let Some(arenas) = unsafe { ARENAS } {
        (arenas.free)(arenas.context, arena, size);
    }
}

/// The first block is being asked of pymalloc, which will ask the raw domain next.
fn route_again(runtime: &Runtime) {
    first_object();
    let debug = python_allocators::get(runtime, DOMAIN_OBJ).malloc as usize != PYMALLOC.load(Ordering::Acquire);
    // SAFETY: the interpreter is not initialized yet, so this is its only thread.
    unsafe { RAW_BEFORE = Some(python_allocators::get(runtime, DOMAIN_RAW)) };
    python_allocators::route_objects(runtime);
    if debug && let Some(hooks) = runtime.symbols.debug_hooks {
        // SAFETY: puts the hooks around what was just set; the raw domain has its own already.
        unsafe { hooks() };
    }
    python_allocators::set(runtime, DOMAIN_RAW, &ONCE);
    snapshot::set_routed(if debug { DEBUG_HEADER_BYTES } else { 0 });
}

fn once_is_over() {
    // SAFETY: as in route_again.
    if let (Some(runtime), Some(before)) = (Runtime::get(), unsafe { RAW_BEFORE }) {
        python_allocators::set(runtime, DOMAIN_RAW, &before);
    }
}

extern "C" fn once_malloc(_context: *mut c_void, size: usize) -> *mut c_void {
    once_is_over();
    heap::allocate(size, Domain::Object).cast()
}

extern "C" fn once_calloc(_context: *mut c_void, count: usize, size: usize) -> *mut c_void {
    once_is_over();
    match count.checked_mul(size) {
        Some(bytes) => heap::allocate_zeroed(bytes, Domain::Object).cast(),
        None => core::ptr::null_mut(),
    }
}

extern "C" fn once_realloc(_context: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
    once_is_over();
    heap::reallocate(block.cast(), size, Domain::Object).cast()
}

extern "C" fn once_free(_context: *mut c_void, block: *mut c_void) {
    heap::free(block.cast());
}

/// The first bytes of the value of `PYTHONMALLOC`, where they stand, while they are blanked.
static BLANKED: AtomicBool = AtomicBool::new(false);
static mut VALUE: (*mut u8, [u8; 12]) = (core::ptr::null_mut(), [0; 12]);

/// `malloc` becomes empty, which is as if it were not set; `malloc_debug` becomes `debug`, which is seen to by [`arena_alloc`].
fn blank_variable() {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: the C library's environment, before the program's threads exist; the strings are the program's own writable memory.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let stand_in: Option<&[u8]> = match CStr::from_ptr(*at).to_bytes() {
                b"PYTHONMALLOC=malloc" => Some(b"\0alloc"),
                b"PYTHONMALLOC=malloc_debug" => Some(b"debug\0_debug"),
                _ => None,
            };
            if let Some(stand_in) = stand_in {
                let value = (*at).cast::<u8>().add(b"PYTHONMALLOC=".len());
                let mut kept = [0; 12];
                core::ptr::copy_nonoverlapping(value, kept.as_mut_ptr(), stand_in.len());
                VALUE = (value, kept);
                core::ptr::copy_nonoverlapping(stand_in.as_ptr(), value, stand_in.len());
                BLANKED.store(true, Ordering::Release);
                return;
            }
            at = at.add(1);
        }
    }
}

/// The interpreter makes its first object: its configuration has been read, the program's own code has not run.
pub fn first_object() {
    // Asked at each object of the interpreter's start: a swap alone would cost a two-hundredth of it.
    if BLANKED.load(Ordering::Acquire) && BLANKED.swap(false, Ordering::AcqRel) {
        // SAFETY: written before BLANKED was set. The bytes after a shorter value's end were left as they were.
        unsafe {
            let (value, kept) = VALUE;
            let length = kept.iter().position(|&b| b == 0).unwrap_or(kept.len());
            core::ptr::copy_nonoverlapping(kept.as_ptr(), value, length);
        }
    }
}
