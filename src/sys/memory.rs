//! Anonymous memory from the kernel. No function here touches `errno`.

use super::raw::syscall6;

/// An OS page, in bytes. Larger page sizes are handled by rounding everything up to [`GRANULE`].
pub const PAGE: usize = 4096;

/// 64 KiB: a multiple of every page size that Linux uses on the supported machines, and the unit of the page map.
pub const GRANULE: usize = 1 << 16;

const READ_WRITE: usize = (libc::PROT_READ | libc::PROT_WRITE) as usize;

/// Rounds `bytes` up to a multiple of `unit`, a power of two; `None` when that overflows.
#[inline]
pub const fn round_up(bytes: usize, unit: usize) -> Option<usize> {
    match bytes.checked_add(unit - 1) {
        Some(sum) => Some(sum & !(unit - 1)),
        None => None,
    }
}

fn mmap(bytes: usize, protection: usize) -> Option<usize> {
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
    let at = unsafe { syscall6(libc::SYS_mmap, 0, bytes, protection, flags, usize::MAX, 0) };
    (at > 0).then_some(at as usize)
}

/// Maps `bytes` (a multiple of [`PAGE`]) of zeroed read-write memory; `None` when the kernel refuses. Not reserved against overcommit.
pub fn map(bytes: usize) -> Option<usize> {
    mmap(bytes, READ_WRITE)
}

/// As [`map`], at a multiple of `align` (a power of two, at least [`PAGE`]).
pub fn map_aligned(bytes: usize, align: usize) -> Option<usize> {
    let at = map(bytes)?;
    if at & (align - 1) == 0 {
        return Some(at);
    }
    // SAFETY: the mapping was made above and nobody knows of it.
    unsafe { unmap(at, bytes) };
    let whole = bytes.checked_add(align)?;
    let at = map(whole)?;
    let start = (at + align - 1) & !(align - 1);
    let (before, after) = (start - at, at + whole - (start + bytes));
    // SAFETY: both ends are parts of the mapping made here and lie outside what is returned.
    unsafe {
        if before > 0 {
            unmap(at, before);
        }
        if after > 0 {
            unmap(start + bytes, after);
        }
    }
    Some(start)
}

/// Maps `bytes` (a multiple of [`PAGE`]) of zeroed memory with an inaccessible page on either side, so that a run over its end
/// faults instead of reaching it. Give it back by [`unmap_guarded`].
pub fn map_guarded(bytes: usize) -> Option<usize> {
    let whole = bytes.checked_add(2 * GUARD)?;
    let at = mmap(whole, libc::PROT_NONE as usize)?;
    // SAFETY: the inner range is part of the mapping just made.
    let refused = unsafe { syscall6(libc::SYS_mprotect, at + GUARD, bytes, READ_WRITE, 0, 0, 0) } != 0;
    if refused {
        // SAFETY: as above; nobody knows of it.
        unsafe { unmap(at, whole) };
        return None;
    }
    Some(at + GUARD)
}

/// Bytes kept inaccessible on either side by [`map_guarded`].
pub const GUARD: usize = GRANULE;

/// Gives back what [`map_guarded`] returned.
///
/// # Safety
/// `at` and `bytes` are those of one [`map_guarded`], and nothing uses the memory any more.
pub unsafe fn unmap_guarded(at: usize, bytes: usize) {
    // SAFETY: the mapping reaches one guard beyond either end.
    unsafe { unmap(at - GUARD, bytes + 2 * GUARD) };
}

/// Unmaps a range of pages.
///
/// # Safety
/// The range is ours and nothing uses it any more.
pub unsafe fn unmap(at: usize, bytes: usize) {
    // SAFETY: the caller's duty. A refusal (the kernel's limit of mappings) leaves the range mapped: lost, not wrong.
    unsafe { syscall6(libc::SYS_munmap, at, bytes, 0, 0, 0, 0) };
}

/// Moves the pages of a mapping over another one of ours, which is replaced, and gives it the new length. `false` when refused.
///
/// # Safety
/// `at` to `at + bytes` is one mapping of ours, and pointers into it are the caller's to mend; the target range is ours and holds nothing.
pub unsafe fn move_over(at: usize, bytes: usize, target: usize, target_bytes: usize) -> bool {
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
    // SAFETY: the caller's duty.
    unsafe { syscall6(libc::SYS_mremap, at, bytes, target_bytes, flags, target, 0) == target as isize }
}

/// Drops the contents of a range of pages: they read as zero from now on and no longer occupy memory. `false` when refused (locked
/// pages); then the contents stay.
///
/// # Safety
/// The range is ours and its contents are needed by nobody.
pub unsafe fn discard(at: usize, bytes: usize) -> bool {
    // SAFETY: the caller's duty.
    unsafe { advise(at, bytes, libc::MADV_DONTNEED) == 0 }
}

/// The system call, with the kernel's answer: 0, or minus an errno.
///
/// # Safety
/// As for madvise(2).
pub unsafe fn advise(at: usize, bytes: usize, advice: i32) -> isize {
    // SAFETY: the caller's duty.
    unsafe { syscall6(libc::SYS_madvise, at, bytes, advice as usize, 0, 0, 0) }
}

/// Whether children get copies of a range of pages from now on. `false` when refused.
///
/// # Safety
/// The children that the program itself makes must be as it wants them.
pub unsafe fn set_inherited(at: usize, bytes: usize, inherited: bool) -> bool {
    // SAFETY: nothing else changes.
    unsafe { advise(at, bytes, if inherited { libc::MADV_DOFORK } else { libc::MADV_DONTFORK }) == 0 }
}

/// From so many bytes on it pays to have the kernel forget pages rather than to write to them.
const WORTH_DISCARDING_BYTES: usize = 4 * PAGE;

/// Makes a range read as zero; its whole pages, if they are a few, no longer occupy memory.
///
/// # Safety
/// The range is ours and its contents are needed by nobody.
pub unsafe fn zero(at: usize, bytes: usize) {
    let fill = |from: usize, to: usize| {
        // SAFETY: a part of the caller's range.
        unsafe { libc::memset(from as *mut libc::c_void, 0, to - from) };
    };
    let (start, end) = (at.next_multiple_of(PAGE), (at + bytes) & !(PAGE - 1));
    // SAFETY: whole pages of the caller's range.
    if bytes >= WORTH_DISCARDING_BYTES && unsafe { discard(start, end - start) } {
        fill(at, start);
        fill(end, at + bytes);
    } else {
        fill(at, at + bytes);
    }
}

/// Asks for huge pages in a range. A refusal costs nothing but speed.
pub fn advise_huge(at: usize, bytes: usize) {
    // SAFETY: advice changes no contents.
    unsafe { advise(at, bytes, libc::MADV_HUGEPAGE) };
}
