//! glibc's control block of a thread (`struct pthread`): where in it lie the thread's stack bounds, its specific data and its dynamic thread vector.
//!
//! glibc does not publish the structure, but it exports sizes and offsets for debuggers (`nptl_db/structs.def`). The stack's bounds are not among them:
//! they are found by what they must be, two words that say start and length of an area which ends right behind the control block itself.

use core::ffi::CStr;

use crate::sys::raw;

/// Where glibc keeps things. All zero on a C library that does not say: then nothing is known of stacks, and they are scanned whole.
#[derive(Clone, Copy)]
pub struct ControlBlock {
    /// `sizeof (struct pthread)`, bytes; 0 if not known.
    pub bytes: usize,
    /// `specific_1stblock` (the first 32 keys' data) up to and with `specific` (the second-level pointers): offset and length.
    specific: (usize, usize),
    /// Offset of `tid`, 0 if not known.
    tid: usize,
    /// Bytes of static thread-local storage that every thread has, what is set aside for later libraries included; 0 if not known.
    pub static_tls_bytes: usize,
    /// Stacks are guarded by marking pages (`MADV_GUARD_INSTALL`, from glibc 2.42 on): their mappings run into one another.
    pub guards_are_marked: bool,
}

/// `specific_1stblock`: 32 pairs of words, right before `specific` (nptl/descr.h).
const FIRST_KEYS_BYTES: usize = 512;

/// The control block ends this close to the end of its thread's stack: what alignment of thread-local storage can take away.
const ALIGNMENT_MAX: usize = 1 << 16;

/// A stack as glibc knows it: made by `pthread_create`, or given to it by `pthread_attr_setstack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackBounds {
    /// First byte that may be used; the guard lies below.
    pub low: usize,
    /// First byte of the guard; `low` if there is none.
    pub guard: usize,
    /// One past the last byte.
    pub high: usize,
}

impl ControlBlock {
    /// Looks the constants up. May take the dynamic linker's lock: call it before the world is stopped.
    pub fn look_up() -> ControlBlock {
        let bytes = constant(c"_thread_db_sizeof_pthread", 0).unwrap_or(0);
        ControlBlock {
            bytes,
            specific: match field(c"_thread_db_pthread_specific") {
                Some((length, offset)) if offset >= FIRST_KEYS_BYTES && offset + length <= bytes => {
                    (offset - FIRST_KEYS_BYTES, FIRST_KEYS_BYTES + length)
                }
                _ => (0, 0),
            },
            tid: match field(c"_thread_db_pthread_tid") {
                Some((4, offset)) if offset + 4 <= bytes => offset,
                _ => 0,
            },
            static_tls_bytes: static_tls_bytes().and_then(|all| all.checked_sub(bytes)).unwrap_or(0),
            guards_are_marked: minor_version().is_some_and(|minor| minor >= 42),
        }
    }

    /// Start of the control block of the thread with this thread pointer (ELF TLS: variant II on x86-64, variant I on aarch64).
    pub fn start(&self, thread_pointer: usize) -> usize {
        if cfg!(target_arch = "x86_64") { thread_pointer } else { thread_pointer.wrapping_sub(self.bytes) }
    }

    /// Address of the word that points to the dynamic thread vector: `tcbhead_t.dtv` (glibc sysdeps/*/nptl/tls.h).
    pub fn vector_word(&self, thread_pointer: usize) -> usize {
        if cfg!(target_arch = "x86_64") { thread_pointer + 8 } else { thread_pointer }
    }

    /// Static thread-local storage of a thread, `bytes` of it.
    pub fn static_tls(&self, thread_pointer: usize, bytes: usize) -> (usize, usize) {
        if cfg!(target_arch = "x86_64") {
            (thread_pointer.saturating_sub(bytes), thread_pointer)
        } else {
            // The first two words are the TCB's head.
            (thread_pointer + 16, thread_pointer + 16 + bytes)
        }
    }

    /// Thread-specific data in the control block of a thread; empty if not known.
    pub fn specific_data(&self, thread_pointer: usize) -> (usize, usize) {
        let (at, bytes) = self.specific;
        let start = self.start(thread_pointer) + at;
        (start, start + bytes)
    }

    /// The bounds of the thread's stack, if glibc made it or was given it. `None` for the main thread, whose stack the kernel made.
    ///
    /// # Safety
    /// The control block must be readable.
    pub unsafe fn stack(&self, thread_pointer: usize) -> Option<StackBounds> {
        let end = thread_pointer.checked_add(if cfg!(target_arch = "x86_64") { self.bytes } else { 0 })?;
        let start = self.start(thread_pointer);
        (0..(self.bytes / 8).saturating_sub(2)).find_map(|i| {
            // SAFETY: three words of the control block.
            let [area, length, guard] = unsafe { core::ptr::read_volatile((start + i * 8) as *const [usize; 3]) };
            let high = area.checked_add(length)?;
            let fits = area % 16 == 0 && length % 16 == 0 && area < start && (end..end + ALIGNMENT_MAX).contains(&high);
            (fits && guard % 16 == 0 && guard < length).then_some(StackBounds { low: area + guard, guard: area, high })
        })
    }

    /// If `low..high`, above a guard, is the stack of a thread that has ended (glibc keeps some for later threads, and those of threads
    /// that nobody joined yet), its thread pointer.
    ///
    /// # Safety
    /// `low..high` must be readable.
    pub unsafe fn dead_thread(&self, low: usize, high: usize) -> Option<usize> {
        if self.bytes == 0 || self.tid == 0 || !cfg!(target_arch = "x86_64") || high - low < ALIGNMENT_MAX / 4 {
            return None;
        }
        // glibc aligns down by at least 64 (allocate_stack); more for a program whose thread-local storage wants it.
        let mut before = 0;
        let places = [64usize, 128, 256, 4096].into_iter().map(|a| (high - self.bytes) & !(a - 1));
        let thread_pointer = places.filter(|&tp| core::mem::replace(&mut before, tp) != tp).find(|&tp| {
            // SAFETY: inside the range, of which at least 16 KiB are there. tcbhead_t: the word at 0 is the block's own address, and so is `self` at 16.
            tp > low && raw::is_readable(tp) && unsafe { *(tp as *const usize) == tp && *((tp + 16) as *const usize) == tp }
        })?;
        // SAFETY: the control block lies inside the range. The kernel clears `tid` when the thread is gone.
        let gone = unsafe { *((thread_pointer + self.tid) as *const i32) } <= 0;
        // SAFETY: as above.
        let bounds = unsafe { self.stack(thread_pointer)? };
        (gone && bounds.guard < low && (bounds.low, bounds.high) == (low, high)).then_some(thread_pointer)
    }
}

/// The dynamic thread vector of a thread: entry -1 has the number of entries, each 16 bytes (`dtv_t`, glibc sysdeps/generic/dl-dtv.h).
///
/// # Safety
/// The control block of the thread must be readable.
pub unsafe fn dynamic_vector(control: &ControlBlock, thread_pointer: usize) -> Option<(usize, usize)> {
    // SAFETY: the caller's.
    let vector = unsafe { *(control.vector_word(thread_pointer) as *const usize) };
    if vector < 4096 || vector % 8 != 0 {
        return None;
    }
    // SAFETY: glibc keeps the entry count right before the vector.
    let entries = unsafe { *((vector - 16) as *const usize) };
    (entries < 1 << 20).then_some((vector - 16, vector + 16 * (entries + 1)))
}

/// Of glibc 2.x, the x.
fn minor_version() -> Option<u32> {
    let function = symbol(c"gnu_get_libc_version")?;
    // SAFETY: glibc's function takes nothing and answers a constant string (gnu/libc-version.h).
    let text =
        unsafe { CStr::from_ptr(core::mem::transmute::<*mut libc::c_void, extern "C" fn() -> *const libc::c_char>(function)()) };
    let digits = text.to_bytes().strip_prefix(b"2.")?.iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, &digit| n * 10 + u32::from(digit - b'0')))
}

fn symbol(name: &CStr) -> Option<*mut libc::c_void> {
    // SAFETY: name is a C string.
    let p = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!p.is_null()).then_some(p)
}

fn constant(name: &CStr, at: usize) -> Option<usize> {
    // SAFETY: glibc's symbol is a uint32_t, or an array of three of them.
    symbol(name).map(|p| unsafe { p.cast::<u32>().add(at).read() } as usize)
}

/// Length and offset in bytes of a field: its descriptor is bits per element, elements, offset.
fn field(name: &CStr) -> Option<(usize, usize)> {
    Some((constant(name, 0)? * constant(name, 1)? / 8, constant(name, 2)?))
}

/// What `_dl_get_tls_static_info` of the dynamic linker says: static thread-local storage and control block together.
fn static_tls_bytes() -> Option<usize> {
    type Info = unsafe extern "C" fn(*mut usize, *mut usize);
    let function = symbol(c"_dl_get_tls_static_info")?;
    let (mut bytes, mut align) = (0, 0);
    // SAFETY: glibc's function has had this signature since 2.1 (elf/dl-tls.c); it only writes the two words.
    unsafe { core::mem::transmute::<*mut libc::c_void, Info>(function)(&mut bytes, &mut align) };
    (cfg!(target_arch = "x86_64") && bytes < 1 << 24).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::stop;

    /// Not on another C library: there nothing is known, which is an answer too.
    fn known() -> Option<ControlBlock> {
        Some(ControlBlock::look_up()).filter(|c| c.bytes > 0)
    }

    #[test]
    fn a_threads_stack_is_found_and_the_main_threads_is_not_guessed() {
        let Some(control) = known() else { return };
        std::thread::spawn(move || {
            let here = 0u8;
            let at = &raw const here as usize;
            // SAFETY: the calling thread's own control block.
            let bounds = unsafe { control.stack(stop::thread_pointer()) }.unwrap();
            assert!(bounds.low <= at && at < bounds.high && bounds.guard < bounds.low, "{bounds:x?} {at:x}");
            let mut attributes = std::mem::MaybeUninit::uninit();
            let (mut area, mut length) = (std::ptr::null_mut(), 0);
            // SAFETY: glibc fills the attributes of the calling thread.
            unsafe {
                libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr());
                libc::pthread_attr_getstack(attributes.as_ptr(), &mut area, &mut length);
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
            }
            assert_eq!((bounds.low, bounds.high), (area as usize, area as usize + length));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_live_thread_is_not_taken_for_dead() {
        let Some(control) = known() else { return };
        std::thread::spawn(move || {
            let tp = stop::thread_pointer();
            // SAFETY: the calling thread's own control block and stack.
            let (bounds, dead) = unsafe {
                let b = control.stack(tp).unwrap();
                (b, control.dead_thread(b.low, b.high))
            };
            assert_eq!(dead, None, "{bounds:x?}");
        })
        .join()
        .unwrap();
    }
}
