//! Memory that the program's functions may read in the snapshot and not change.
//!
//! The child calls the program's own `tp_traverse` functions on its copy. Most only read. One that writes (it allocates, takes a reference for a
//! moment, or destroys what it was to show) would change the numbers of whatever is looked at after it. So before the first such call all the
//! program's memory is made read-only. A write faults; the page is copied and made writable, and the function goes on; when it has returned, or
//! crashed, the page gets its old contents back. What it changed was never there, and who it was is known.
//!
//! Writes by the dynamic linker, when a function calls another for the first time, stay, and so do those between the guarded calls.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::memory;
use super::raw::syscall6;

/// The unit in which pages are unsealed: a page on x86-64, on others the largest page there is.
pub const UNIT: usize = if cfg!(target_arch = "x86_64") { memory::PAGE } else { memory::GRANULE };

/// Units that one call may change; one that wants more has crashed.
const UNDO_MAX: usize = 256;

/// A sealed mapping.
#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    start: usize,
    end: usize,
    protection: usize,
}

/// Mappings that can be sealed; more stay open.
const RANGES_MAX: usize = 1 << 16;

// Statics, because a signal handler uses them. There is one thread: the snapshot child's.
/// Address of the `Range`s, in the order of addresses; 0 for none.
static RANGES: AtomicUsize = AtomicUsize::new(0);
static RANGE_COUNT: AtomicUsize = AtomicUsize::new(0);
/// Address of `UNDO_MAX` addresses, then of as many units.
static UNDO: AtomicUsize = AtomicUsize::new(0);
static UNDO_COUNT: AtomicUsize = AtomicUsize::new(0);
static LINKER: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
/// The call that was undone last had written.
static WROTE: AtomicBool = AtomicBool::new(false);

fn protect(start: usize, end: usize, protection: usize) -> bool {
    // SAFETY: changes what may be done with memory of this process, whose contents stay.
    unsafe { syscall6(libc::SYS_mprotect, start, end - start, protection, 0, 0, 0) == 0 }
}

/// Bytes that [`prepare`] wants.
pub const TABLE_BYTES: usize = RANGES_MAX * size_of::<Range>() + UNDO_MAX * (size_of::<usize>() + UNIT);

/// Prepares to seal. `table`: [`TABLE_BYTES`] of zeroed memory, which stays open. `linker`: start and end of the dynamic linker's code.
///
/// # Safety
/// In the snapshot child, with one thread, once.
pub unsafe fn prepare(table: usize, linker: (usize, usize)) {
    RANGES.store(table, Relaxed);
    UNDO.store(table + RANGES_MAX * size_of::<Range>(), Relaxed);
    LINKER[0].store(linker.0, Relaxed);
    LINKER[1].store(linker.1, Relaxed);
}

/// Seals a private writable mapping. To be called with rising addresses.
///
/// # Safety
/// After [`prepare`]. Nobody but guarded calls, and code for which a fault on the way is no harm, writes there.
pub unsafe fn seal(start: usize, end: usize, executable: bool) {
    let count = RANGE_COUNT.load(Relaxed);
    let protection = libc::PROT_READ as usize | if executable { libc::PROT_EXEC as usize } else { 0 };
    if start < end && count < RANGES_MAX && protect(start, end, protection) {
        // SAFETY: inside the array.
        unsafe { (RANGES.load(Relaxed) as *mut Range).add(count).write(Range { start, end, protection }) };
        RANGE_COUNT.store(count + 1, Relaxed);
    }
}

fn ranges() -> &'static [Range] {
    let at = RANGES.load(Relaxed);
    if at == 0 {
        return &[];
    }
    // SAFETY: so many were written there, and the mapping stays.
    unsafe { core::slice::from_raw_parts(at as *const Range, RANGE_COUNT.load(Relaxed)) }
}

/// Makes everything writable again, for good.
pub fn open() {
    for range in ranges() {
        protect(range.start, range.end, range.protection | libc::PROT_WRITE as usize);
    }
    RANGE_COUNT.store(0, Relaxed);
}

/// Called by the fault handler. `true` if the fault was a write to sealed memory that may go on. `guarded`: in a guarded call, whose writes
/// are undone.
pub fn on_fault(address: usize, instruction: usize, guarded: bool) -> bool {
    let ranges = ranges();
    let Some(range) = ranges.get(ranges.partition_point(|r| r.end <= address)).filter(|r| r.start <= address) else {
        return false;
    };
    let start = (address & !(UNIT - 1)).max(range.start);
    let end = ((address & !(UNIT - 1)) + UNIT).min(range.end);
    let linker = LINKER[0].load(Relaxed) <= instruction && instruction < LINKER[1].load(Relaxed);
    if guarded && !linker {
        let (count, undo) = (UNDO_COUNT.load(Relaxed), UNDO.load(Relaxed));
        if count >= UNDO_MAX {
            return false;
        }
        // SAFETY: inside the undo area; the unit is readable.
        unsafe {
            (undo as *mut usize).add(count).write(start);
            let copy = (undo + UNDO_MAX * size_of::<usize>() + count * UNIT) as *mut u64;
            copy_words(start as *const u64, copy, (end - start) / 8);
        }
        UNDO_COUNT.store(count + 1, Relaxed);
    }
    protect(start, end, range.protection | libc::PROT_WRITE as usize)
}

/// Whether the guarded call that is under way has written to memory that is not its own.
#[inline]
pub fn wrote() -> bool {
    UNDO_COUNT.load(Relaxed) > 0
}

/// Puts back what the guarded call that has just ended changed.
pub fn undo() {
    let count = UNDO_COUNT.swap(0, Relaxed);
    WROTE.store(count > 0, Relaxed);
    let undo = UNDO.load(Relaxed);
    let ranges = ranges();
    for i in (0..count).rev() {
        // SAFETY: written by on_fault; the unit is writable since.
        unsafe {
            let start = (undo as *const usize).add(i).read();
            let Some(range) = ranges.get(ranges.partition_point(|r| r.end <= start)) else { continue };
            let end = ((start & !(UNIT - 1)) + UNIT).min(range.end);
            let copy = (undo + UNDO_MAX * size_of::<usize>() + i * UNIT) as *const u64;
            copy_words(copy, start as *mut u64, (end - start) / 8);
            protect(start, end, range.protection);
        }
    }
}

/// Whether the last guarded call wrote to memory that was not its own.
pub fn last_call_wrote() -> bool {
    WROTE.load(Relaxed)
}

/// # Safety
/// Both are valid for so many words, and do not overlap.
unsafe fn copy_words(from: *const u64, to: *mut u64, words: usize) {
    for i in 0..words {
        // SAFETY: the caller's. Volatile: the memory belongs to the program and is typed differently there.
        unsafe { core::ptr::write_volatile(to.add(i), core::ptr::read_volatile(from.add(i))) };
    }
}
