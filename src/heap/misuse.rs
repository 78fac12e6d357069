//! What `free` and `malloc` say, before they abort, when the program has misused the heap; and foreign pointers, which are no misuse.

use core::sync::atomic::{AtomicU64, Ordering::*};

use super::page_map;
use super::pool;
use super::span::Span;
use crate::sys::text::die;

static FOREIGN_FREES: AtomicU64 = AtomicU64::new(0);

/// How many pointers given to `free` were not ours, and left alone: blocks from before the shim, or of a library with its own malloc.
pub fn foreign_frees() -> u64 {
    FOREIGN_FREES.load(Relaxed)
}

/// `free` of an address that no span covers. Null is fine; what lies in our regions was ours once and is not any more; the rest is foreign.
#[cold]
pub fn free_of_unmapped(address: usize) {
    if address == 0 {
        return;
    }
    if pool::in_region(address) {
        die(format_args!("gcshim: free of {address:#x}, which is not allocated (its memory was given back already)"));
    }
    FOREIGN_FREES.fetch_add(1, Relaxed);
}

/// `free` of an address in `span` that is not the start of a block that was ever handed out.
///
/// # Safety
/// `span` is a record of the table.
#[cold]
pub unsafe fn free_of_no_block(span: *mut Span, address: usize) -> ! {
    // SAFETY: the caller's duty; the fields are fixed while the span exists.
    let (base, bytes, capacity, carved) =
        unsafe { ((*span).base, (*span).block_bytes, (*span).capacity as usize, (*span).carved.load(Relaxed) as usize) };
    // Beyond the last block, and where no block has been handed out yet, there is no block to name.
    let index = address.wrapping_sub(base) / bytes.max(1);
    if capacity > 1 && index >= carved {
        die(format_args!("gcshim: free of {address:#x}, which was never allocated"));
    }
    let block = if capacity > 1 { base + index * bytes } else { base };
    die(format_args!("gcshim: free of an interior pointer {address:#x} (block {block:#x}, {bytes} bytes)"));
}

/// `free` of a block that is free.
#[cold]
pub fn double_free(address: usize, bytes: usize) -> ! {
    die(format_args!("gcshim: double free of {address:#x} ({bytes} bytes)"));
}

/// `realloc` or `malloc_usable_size` of a block of ours that is free.
#[cold]
pub fn use_of_free(what: &str, address: usize, bytes: usize) -> ! {
    die(format_args!("gcshim: {what} of the free block {address:#x} ({bytes} bytes)"));
}

/// Whether an address belongs to no span of ours.
pub fn is_foreign(address: usize) -> bool {
    page_map::span_at(address).is_null()
}
