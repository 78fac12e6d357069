//! The exported C names. They carry no version node: with one, the dynamic loader would silently pass the library over.
//!
//! Any of them can be called before our constructor, from the dynamic loader. None is called from inside the shim.

use core::ptr::null_mut;

use libc::{c_int, c_void, size_t};

use crate::heap::{self, Domain, idle, misuse, pool};
use crate::sys::text;

fn set_errno(value: c_int) {
    // SAFETY: __errno_location is valid for the calling thread.
    unsafe { *libc::__errno_location() = value };
}

#[cold]
#[inline(never)]
fn out_of_memory() -> *mut c_void {
    set_errno(libc::ENOMEM);
    null_mut()
}

#[inline(always)]
fn or_errno(block: *mut u8) -> *mut c_void {
    if block.is_null() { out_of_memory() } else { block.cast() }
}

/// C's `malloc`: a block of at least `size` bytes, at a multiple of 16; null and `ENOMEM` when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: size_t) -> *mut c_void {
    let block = heap::allocate_fast(size, Domain::Raw);
    if block.is_null() { malloc_slow(size) } else { block.cast() }
}

#[cold]
#[inline(never)]
extern "C" fn malloc_slow(size: size_t) -> *mut c_void {
    or_errno(heap::allocate_slow(size, Domain::Raw))
}

/// C's `free`. Keeps `errno`.
///
/// # Safety
/// As in C. Misuse that is noticed ends the process with a line.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(ptr: *mut c_void) {
    heap::free(ptr.cast());
}

/// C's `calloc`.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: size_t, size: size_t) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) => or_errno(heap::allocate_zeroed(bytes, Domain::Raw)),
        None => out_of_memory(),
    }
}

/// C's `realloc`. As in glibc, size 0 frees a block and returns null.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(ptr: *mut c_void, size: size_t) -> *mut c_void {
    if ptr.is_null() {
        return malloc(size);
    }
    if misuse::is_foreign(ptr as usize) {
        return foreign_realloc(ptr, size);
    }
    if size == 0 {
        heap::free(ptr.cast());
        return null_mut();
    }
    or_errno(heap::reallocate(ptr.cast(), size, Domain::Raw))
}

/// glibc's `reallocarray`: `realloc` with the product checked.
///
/// # Safety
/// As for `realloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(ptr: *mut c_void, count: size_t, size: size_t) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller's duty.
        Some(bytes) => unsafe { realloc(ptr, bytes) },
        None => out_of_memory(),
    }
}

/// A block that is not ours belongs to the C library's own malloc, if to anything that can be asked: a library that was loaded with
/// `RTLD_DEEPBIND` got it there. Its size is known only there, so the request is passed on.
#[cold]
fn foreign_realloc(ptr: *mut c_void, size: size_t) -> *mut c_void {
    let theirs = next_function(c"__libc_realloc");
    if theirs.is_null() {
        text::stderr_line(format_args!("gcshim: realloc of {ptr:p}, which is not from this heap, refused"));
        return out_of_memory();
    }
    // SAFETY: the C library's realloc has this type.
    unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, size_t) -> *mut c_void>(theirs)(ptr, size) }
}

fn next_function(name: &core::ffi::CStr) -> *mut c_void {
    // SAFETY: the name ends with a zero byte.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// POSIX's `posix_memalign`; `errno` stays as it is.
///
/// # Safety
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: size_t, size: size_t) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return libc::EINVAL;
    }
    let block = heap::allocate_aligned(size, align, Domain::Raw);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's duty.
    unsafe { *out = block.cast() };
    0
}

/// C11's `aligned_alloc`; like glibc's up to 2.37, with any power of two, and any size.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: size_t, size: size_t) -> *mut c_void {
    if !align.is_power_of_two() {
        set_errno(libc::EINVAL);
        return null_mut();
    }
    or_errno(heap::allocate_aligned(size, align, Domain::Raw))
}

/// The old `memalign`: as glibc does, an alignment that is no power of two is rounded up to one.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: size_t, size: size_t) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => or_errno(heap::allocate_aligned(size, align, Domain::Raw)),
        None => {
            set_errno(libc::EINVAL);
            null_mut()
        }
    }
}

fn page_size() -> usize {
    // SAFETY: sysconf of this name only reads what the kernel passed at start.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The old `valloc`: a block at a page boundary.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: size_t) -> *mut c_void {
    or_errno(heap::allocate_aligned(size, page_size(), Domain::Raw))
}

/// The old `pvalloc`: whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: size_t) -> *mut c_void {
    let page = page_size();
    match crate::sys::memory::round_up(size.max(1), page) {
        Some(bytes) => or_errno(heap::allocate_aligned(bytes, page, Domain::Raw)),
        None => out_of_memory(),
    }
}

/// Bytes that may be used in a block.
///
/// # Safety
/// `ptr` is null or a block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(ptr: *mut c_void) -> size_t {
    if ptr.is_null() {
        return 0;
    }
    if misuse::is_foreign(ptr as usize) {
        let theirs = next_function(c"malloc_usable_size");
        if theirs.is_null() {
            return 0;
        }
        // SAFETY: the C library's function of this name has this type.
        return unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> size_t>(theirs)(ptr) };
    }
    heap::usable_size(ptr.cast())
}

/// C23's `free_sized`; the size is not needed.
///
/// # Safety
/// As for `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(ptr: *mut c_void, _size: size_t) {
    heap::free(ptr.cast());
}

/// C23's `free_aligned_sized`; neither is needed.
///
/// # Safety
/// As for `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(ptr: *mut c_void, _align: size_t, _size: size_t) {
    heap::free(ptr.cast());
}

/// The old name of `free`, which programs linked against old C libraries still use.
///
/// # Safety
/// As for `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(ptr: *mut c_void) {
    heap::free(ptr.cast());
}

/// Gives memory kept for reuse back to the system. 1 if there was any.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_pad: size_t) -> c_int {
    c_int::from(idle::trim())
}

/// Tuning parameters of glibc's malloc have no meaning here: accepted and ignored.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    1
}

/// What the heap holds, in glibc's terms: `arena` is in regions, `hblkhd` in mappings of their own, `uordblks` in spans in use, `fordblks` kept for reuse.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> libc::mallinfo2 {
    let totals = pool::totals();
    // SAFETY: the structure has only integers.
    let mut info: libc::mallinfo2 = unsafe { core::mem::zeroed() };
    info.arena = totals.span_bytes + totals.dirty_bytes;
    info.hblkhd = totals.huge_bytes;
    info.uordblks = totals.span_bytes + totals.huge_bytes;
    info.fordblks = totals.dirty_bytes;
    info.keepcost = totals.dirty_bytes;
    info
}

/// The older `mallinfo`, whose counters are ints: too large a value stands as the largest.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> libc::mallinfo {
    let wide = mallinfo2();
    let narrow = |value: usize| c_int::try_from(value).unwrap_or(c_int::MAX);
    // SAFETY: the structure has only integers.
    let mut info: libc::mallinfo = unsafe { core::mem::zeroed() };
    info.arena = narrow(wide.arena);
    info.hblkhd = narrow(wide.hblkhd);
    info.uordblks = narrow(wide.uordblks);
    info.fordblks = narrow(wide.fordblks);
    info.keepcost = narrow(wide.keepcost);
    info
}

/// One line on standard error.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    let totals = pool::totals();
    text::stderr_line(format_args!(
        "gcshim: {} bytes in spans, {} in own mappings, {} kept for reuse, {} of address space",
        totals.span_bytes, totals.huge_bytes, totals.dirty_bytes, totals.region_bytes
    ));
}
