//! The program's modules: their writable segments and where their thread-local storage lies.

use core::ffi::{c_char, c_int, c_void};

use crate::meta::Vector;
use crate::sys::lock::{Ranked, rank};

/// A loaded module.
#[derive(Clone, Copy)]
pub struct Module {
    /// Load address.
    pub base: usize,
    /// One past the highest address of its segments.
    pub end: usize,
    /// What is to be added to an address in its file.
    pub bias: usize,
    /// Its path, zero-terminated, owned by the dynamic linker; empty for the program itself.
    pub name: *const c_char,
}

// SAFETY: zeros are valid in every field, and read only where something was stored.
unsafe impl crate::meta::Zeroed for Module {}

/// A writable segment.
#[derive(Clone, Copy)]
pub struct Segment {
    /// First byte.
    pub start: usize,
    /// One past the last byte (with `.bss`).
    pub end: usize,
    /// Index of its module.
    pub module: u32,
}

// SAFETY: zeros are valid in every field, and read only where something was stored.
unsafe impl crate::meta::Zeroed for Segment {}

/// All modules, as the dynamic linker lists them.
pub struct Modules {
    modules: Vector<Module>,
    segments: Vector<Segment>,
    /// Modules or segments for which there was no room.
    pub left_out: u32,
    /// How far below the thread pointer static thread-local storage reaches, in bytes; the same in every thread.
    pub static_tls_bytes: usize,
    thread_pointer: usize,
}

const MODULES_MAX: usize = 16384;
const SEGMENTS_MAX: usize = 32768;
/// A module's block counts as static if it lies this close below the thread pointer. glibc's surplus is a few KiB; programs with more
/// static thread-local storage than this have the rest scanned as part of the stack's mapping.
const STATIC_TLS_MAX: usize = 1 << 20;

/// Held while the dynamic linker is asked, and by a thread that forks: the linker's own lock, which nobody opens in a child, is not held by us in the child.
static LINKER: Ranked<{ rank::LINKER }, ()> = Ranked::new(());

/// Waits until no thread asks the dynamic linker, and lets none ask before [`allow_questions`]. For a thread that is about to fork.
pub fn end_questions() {
    LINKER.lock_and_keep();
}

/// The end of [`end_questions`].
///
/// # Safety
/// The calling thread, or the one that it is the copy of, called that.
pub unsafe fn allow_questions() {
    // SAFETY: the caller's duty.
    unsafe { LINKER.release_kept() };
}

impl Modules {
    /// Asks the dynamic linker. Not async-signal-safe: call it before the world is stopped, and with signals blocked (a handler might fork).
    pub fn gather(thread_pointer: usize) -> Option<Modules> {
        let mut modules = Modules {
            modules: Vector::new(MODULES_MAX)?,
            segments: Vector::new(SEGMENTS_MAX)?,
            left_out: 0,
            static_tls_bytes: 0,
            thread_pointer,
        };
        let asking = LINKER.lock();
        // SAFETY: the callback gets the pointer to `modules`, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(note_module), (&raw mut modules).cast()) };
        drop(asking);
        modules.segments.sort_unstable_by_key(|s| s.start);
        Some(modules)
    }

    /// The writable segments, by address.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// All modules.
    pub fn all(&self) -> &[Module] {
        &self.modules
    }

    /// The module that has this address.
    pub fn find(&self, address: usize) -> Option<&Module> {
        self.all().iter().find(|m| m.base <= address && address < m.end)
    }

    fn note(&mut self, info: &libc::dl_phdr_info) {
        let module = self.modules.len() as u32;
        let base = info.dlpi_addr as usize;
        let mut low = usize::MAX;
        let mut high = 0;
        // SAFETY: the linker passes that many program headers.
        let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        for header in headers {
            let start = base.wrapping_add(header.p_vaddr as usize);
            let end = start.wrapping_add(header.p_memsz as usize);
            if header.p_type == libc::PT_LOAD {
                low = low.min(start);
                high = high.max(end);
                let segment = Segment { start: start & !7, end: end.next_multiple_of(8), module };
                if header.p_flags & libc::PF_W != 0 && !self.segments.push(segment) {
                    self.left_out += 1;
                }
            } else if header.p_type == libc::PT_TLS {
                let block = info.dlpi_tls_data as usize;
                let depth = self.thread_pointer.wrapping_sub(block);
                if block != 0 && depth <= STATIC_TLS_MAX {
                    self.static_tls_bytes = self.static_tls_bytes.max(depth);
                }
            }
        }
        if !self.modules.push(Module { base: low.min(high), end: high, bias: base, name: info.dlpi_name }) {
            self.left_out += 1;
        }
    }
}

unsafe extern "C" fn note_module(info: *mut libc::dl_phdr_info, _size: usize, modules: *mut c_void) -> c_int {
    // SAFETY: `modules` is the pointer given to dl_iterate_phdr; `info` is valid during the callback.
    let (modules, info) = unsafe { (&mut *modules.cast::<Modules>(), &*info) };
    modules.note(info);
    0
}
