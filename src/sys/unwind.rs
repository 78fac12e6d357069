//! The calling thread's native stack, as return addresses, by the unwinder that C++ exceptions use (libgcc's).
//!
//! `malloc` asks for it, so it must neither allocate nor wait for a lock that the caller may hold. libgcc finds a function's unwind table by asking the
//! dynamic linker: from glibc 2.35 and GCC 12 on through `_dl_find_object`, which takes no lock; before, through `dl_iterate_phdr`, whose lock a thread that is
//! forked away from, or stopped, may hold. So without the former there is no unwinding. What libgcc sets up at its first call is set up in [`prepare`].
//!
//! What a signal interrupted ends the walk. Between two calls, compilers' tables may be wrong (LLVM's are where it moves the end of a function about), and libgcc
//! reads what stands at the address where it believes the caller to be.
//!
//! Frame pointers would be faster, and end in the interpreter: CPython and the C library are built without.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::*};

/// `struct dl_find_object` (glibc dlfcn.h): flags, the mapping's start and end, then what is of no use here.
#[repr(C)]
struct FoundObject {
    flags: u64,
    map_start: usize,
    map_end: usize,
    rest: [usize; 9],
}

/// `int _dl_find_object(void *, struct dl_find_object *)`: 0 if an object has the address. Takes no lock, and may be called from signal handlers.
type FindObject = unsafe extern "C" fn(usize, *mut FoundObject) -> c_int;

/// `_Unwind_Trace_Fn` (unwind.h): is called with each frame, innermost first; anything but 0 ends the walk.
type Trace = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;

/// libgcc's functions and our own mapping, as addresses; 0 while there are none.
static FIND_OBJECT: AtomicUsize = AtomicUsize::new(0);
static BACKTRACE: AtomicUsize = AtomicUsize::new(0);
static GET_IP: AtomicUsize = AtomicUsize::new(0);
static OWN_START: AtomicUsize = AtomicUsize::new(0);
static OWN_END: AtomicUsize = AtomicUsize::new(0);

/// The function at whose frames walks end, and the module that it is in: addresses of the first byte and one past the last; 0 for none.
static LAST: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

unsafe extern "C" {
    /// glibc dlfcn.h; the third argument gets what the flags ask for.
    fn dladdr1(address: *const c_void, info: *mut libc::Dl_info, extra: *mut *mut c_void, flags: c_int) -> c_int;
}

/// Has walks end at the frames of a function: an interpreter's that evaluates a program of its own. How it comes to its callee (directly, or by
/// functions of the same module) depends on what it has learnt of the program meanwhile, so these frames are left out as well.
pub fn end_at(function: usize) {
    const RTLD_DL_SYMENT: c_int = 1;
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let mut symbol: *mut c_void = core::ptr::null_mut();
    // SAFETY: both are written by the call, the second with the symbol's entry, or null.
    let size = unsafe {
        match dladdr1(function as *const c_void, info.as_mut_ptr(), &mut symbol, RTLD_DL_SYMENT) {
            0 => 0,
            _ => symbol.cast::<libc::Elf64_Sym>().as_ref().map_or(0, |symbol| symbol.st_size as usize),
        }
    };
    if let Some(module) = object_at(function) {
        for (word, value) in LAST.iter().zip([function, function + size, module.map_start, module.map_end]) {
            word.store(value, Release);
        }
    }
}

/// Why there are no native stacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// The C library has no `_dl_find_object`.
    Linker,
    /// There is no `libgcc_s.so.1`, or it lacks a function.
    Unwinder,
    /// It asks the linker in a way that may wait for a lock.
    OldUnwinder,
}

impl Missing {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Missing::Linker => "the C library is older than glibc 2.35",
            Missing::Unwinder => "there is no libgcc_s.so.1",
            Missing::OldUnwinder => "libgcc_s.so.1 is older than GCC 12, and would take the dynamic linker's lock",
        }
    }
}

/// Makes [`walk`] ready. Allocates, and asks the dynamic linker: to be called before the program's own threads.
pub fn prepare() -> Result<(), Missing> {
    // SAFETY: strings that end with a zero byte.
    let find = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) } as usize;
    if find == 0 {
        return Err(Missing::Linker);
    }
    // SAFETY: as above. It is never closed.
    let library = unsafe { libc::dlopen(c"libgcc_s.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return Err(Missing::Unwinder);
    }
    let function = |name: &CStr| {
        // SAFETY: the handle is open.
        unsafe { libc::dlsym(library, name.as_ptr()) as usize }
    };
    let (backtrace, get_ip) = (function(c"_Unwind_Backtrace"), function(c"_Unwind_GetIPInfo"));
    if backtrace == 0 || get_ip == 0 {
        return Err(Missing::Unwinder);
    }
    FIND_OBJECT.store(find, Release);
    // The strings of its dynamic section name what it asks for.
    if !names(backtrace, b"_dl_find_object") {
        return Err(Missing::OldUnwinder);
    }
    if let Some(own) = object_at(prepare as *const () as usize) {
        OWN_START.store(own.map_start, Release);
        OWN_END.store(own.map_end, Release);
    }
    GET_IP.store(get_ip, Release);
    BACKTRACE.store(backtrace, Release);
    let mut frames = [0; 8];
    walk(&mut frames);
    Ok(())
}

/// The return addresses of the calling thread, innermost first, without the shim's own; answers how many. A frame outside of all modules (code that was made at
/// run time) ends the walk: nothing is known of how to go on. So does what a signal interrupted. 0 before [`prepare`].
pub fn walk(frames: &mut [usize]) -> usize {
    let (backtrace, get_ip) = (BACKTRACE.load(Acquire), GET_IP.load(Relaxed));
    if backtrace == 0 {
        return 0;
    }
    let own = (OWN_START.load(Relaxed), OWN_END.load(Relaxed));
    let [start, end, module_start, module_end] = LAST.each_ref().map(|word| word.load(Acquire));
    let last = (start, end);
    let mut walk =
        Walk { frames: frames.as_mut_ptr(), room: frames.len(), count: 0, get_ip, own, module: (0, 0), last, found_last: false };
    // SAFETY: `_Unwind_Reason_Code _Unwind_Backtrace(_Unwind_Trace_Fn, void *)` (unwind.h); the walk outlives the call.
    unsafe {
        core::mem::transmute::<usize, unsafe extern "C" fn(Trace, *mut c_void) -> c_int>(backtrace)(note, (&raw mut walk).cast());
    }
    let between = |at: usize| walk.found_last && module_start <= at && at < module_end;
    let found = frames.get(..walk.count).unwrap_or(&[]);
    // Where all is the interpreter's, it is what the program asked of it.
    found.iter().rposition(|&at| !between(at)).map_or(walk.count, |at| at + 1)
}

struct Walk {
    frames: *mut usize,
    room: usize,
    count: usize,
    get_ip: usize,
    own: (usize, usize),
    /// Where the frame before lies: neighbours are often of one module.
    module: (usize, usize),
    /// See [`end_at`].
    last: (usize, usize),
    found_last: bool,
}

unsafe extern "C" fn note(context: *mut c_void, walk: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const END: c_int = 5;
    let mut interrupted = 0;
    // SAFETY: the pointer that walk gave, and a context for libgcc's function: `_Unwind_Ptr _Unwind_GetIPInfo(struct _Unwind_Context *, int *)`.
    let (walk, address) = unsafe {
        let walk = &mut *walk.cast::<Walk>();
        let get_ip = core::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void, *mut c_int) -> usize>(walk.get_ip);
        (walk, get_ip(context, &mut interrupted))
    };
    let inside = |(start, end): (usize, usize)| start <= address && address < end;
    if walk.count == 0 && inside(walk.own) {
        return GO_ON;
    }
    // Beyond code without tables libgcc knows no way; what it made of it is nothing to show.
    if !inside(walk.module) {
        match object_at(address) {
            Some(object) => walk.module = (object.map_start, object.map_end),
            None => return END,
        }
    }
    if inside(walk.last) {
        walk.found_last = true;
        return END;
    }
    if walk.count == walk.room {
        return END;
    }
    // SAFETY: below the room.
    unsafe { walk.frames.add(walk.count).write(address) };
    walk.count += 1;
    if walk.count == walk.room || interrupted != 0 { END } else { GO_ON }
}

fn object_at(address: usize) -> Option<FoundObject> {
    let find = FIND_OBJECT.load(Acquire);
    let mut found = FoundObject { flags: 0, map_start: 0, map_end: 0, rest: [0; 9] };
    // SAFETY: only prepare stores here, and only glibc's function of this type; the structure is larger than glibc's.
    let known = find != 0 && unsafe { core::mem::transmute::<usize, FindObject>(find)(address, &mut found) } == 0;
    known.then_some(found)
}

/// Whether the module of an address has a name among its dynamic strings.
fn names(address: usize, name: &[u8]) -> bool {
    const STRINGS: usize = 5;
    const STRINGS_BYTES: usize = 10;
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let mut map: *mut c_void = core::ptr::null_mut();
    const RTLD_DL_LINKMAP: c_int = 2;
    // SAFETY: both are written by the call. `struct link_map` (link.h) has l_addr, l_name, l_ld; the dynamic section is pairs of words that end with a zero tag; glibc
    // keeps the strings' address there relocated.
    unsafe {
        if dladdr1(address as *const c_void, info.as_mut_ptr(), &mut map, RTLD_DL_LINKMAP) == 0 || map.is_null() {
            return false;
        }
        let mut entry = *map.cast::<*const [usize; 2]>().add(2);
        let (mut start, mut bytes) = (0, 0);
        while (*entry)[0] != 0 {
            match *entry {
                [STRINGS, at] => start = at,
                [STRINGS_BYTES, length] => bytes = length,
                _ => {}
            }
            entry = entry.add(1);
        }
        if start == 0 {
            return false;
        }
        core::slice::from_raw_parts(start as *const c_char as *const u8, bytes).split(|&byte| byte == 0).any(|word| word == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn innermost(frames: &mut [usize]) -> usize {
        std::hint::black_box(walk(frames))
    }

    /// In the tests the shim's own code is the program's, so only what calls it is seen: the test runner's thread.
    #[test]
    fn a_stack_begins_outside_of_us_and_is_cut_where_there_is_no_more_room() {
        assert_eq!(prepare(), Ok(()));
        let mut frames = [0; 64];
        let all = innermost(&mut frames);
        assert!(all > 0 && frames.iter().take(all).all(|&at| object_at(at).is_some()));
        let own = (OWN_START.load(Relaxed), OWN_END.load(Relaxed));
        assert!(!(own.0..own.1).contains(&frames[0]));
        let mut one = [0; 1];
        assert_eq!(innermost(&mut one), 1);
    }
}
