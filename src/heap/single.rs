//! Spans of one block: in granules of a region, or, the largest, in a mapping of their own.

use core::sync::atomic::Ordering::*;

use super::Domain;
use super::misuse;
use super::page_map;
use super::pool::{self, HUGE_BYTES, POOL, give_granules, note_taken, publish, region_of, take_granules};
use super::span::{Span, kind};
use crate::meta;
use crate::sys::memory::{self, GRANULE, PAGE};

/// Blocks larger than this get a mapping of their own, which goes back to the system as a whole.
pub const MAX_LARGE_BYTES: usize = 16 << 20;

/// Spans of which more than this part is left over lie in sparse regions: a block of a size class is as much larger than asked for at most.
const SPARSE_PART: usize = 8;

/// A span for one block of at least `size` bytes at a multiple of `align`, a power of two. Null when out of memory.
pub fn new_single(size: usize, align: usize, domain: Domain) -> *mut Span {
    let align = align.max(GRANULE);
    let (Some(block), Some(bytes)) = (memory::round_up(size.max(1), PAGE), memory::round_up(size.max(1), GRANULE)) else {
        return core::ptr::null_mut();
    };
    let fill = |zeroed: bool| {
        move |span: &mut Span| {
            span.block_bytes = block;
            span.capacity = 1;
            span.set_carved(1);
            span.domain = domain as u8;
            span.zeroed = zeroed;
        }
    };
    if bytes <= MAX_LARGE_BYTES && align <= MAX_LARGE_BYTES {
        // What is left of the last granule, nobody touches: side by side with slabs of small blocks huge pages would make it resident.
        let sparse = bytes - block > bytes / SPARSE_PART;
        let mut pool = POOL.lock();
        if let Some((base, zeroed)) = take_granules(&mut pool, bytes / GRANULE, align, sparse) {
            let span = publish(&mut pool, base, bytes, kind::LARGE, fill(zeroed));
            if span.is_null() {
                give_granules(&mut pool, base, bytes / GRANULE);
            }
            return span;
        }
    }
    // Mapped outside the lock: the kernel may take its time.
    let Some(base) = memory::map_aligned(bytes, align) else {
        return core::ptr::null_mut();
    };
    let mut pool = POOL.lock();
    let span = publish(&mut pool, base, bytes, kind::HUGE, fill(true));
    drop(pool);
    if span.is_null() {
        // SAFETY: mapped above and known to nobody.
        unsafe { memory::unmap(base, bytes) };
    } else {
        HUGE_BYTES.fetch_add(bytes, Relaxed);
    }
    span
}

/// Changes the one block of `span` to hold at least `size` bytes, without moving it. `false`: not possible here.
///
/// # Safety
/// `span` is a large or huge span whose block the caller holds.
pub unsafe fn resize_in_place(span: *mut Span, size: usize) -> bool {
    let (Some(block), Some(bytes)) = (memory::round_up(size.max(1), PAGE), memory::round_up(size.max(1), GRANULE)) else {
        return false;
    };
    // SAFETY: the caller holds the block, so nobody else changes the record.
    let (base, old, what) = unsafe { ((*span).base, (*span).bytes, (*span).kind.load(Relaxed)) };
    if what != kind::LARGE || bytes > MAX_LARGE_BYTES {
        if bytes == old {
            // SAFETY: as above.
            unsafe { (*span).block_bytes = block };
        }
        return bytes == old;
    }
    let mut pool = POOL.lock();
    if bytes < old {
        page_map::set(base + bytes, old - bytes, core::ptr::null_mut(), &mut |_| None);
        give_granules(&mut pool, base + bytes, (old - bytes) / GRANULE);
    } else if bytes > old {
        let more = (bytes - old) / GRANULE;
        let Some(region) = region_of(&mut pool, base) else {
            return false;
        };
        let Some(dirty) = region.take_at((base + old - region.base) / GRANULE, more) else {
            return false;
        };
        let sparse = region.sparse;
        note_taken(&mut pool, more, dirty, sparse);
        if !page_map::set(base + old, bytes - old, span, &mut |size| meta::reserve_within(&pool, size)) {
            give_granules(&mut pool, base + old, more);
            return false;
        }
    }
    // SAFETY: as above.
    unsafe {
        (*span).bytes = bytes;
        (*span).block_bytes = block;
    }
    true
}

/// Moves the pages of a huge span so that its block holds at least `size` bytes. Returns the block's new address; null: not possible, and
/// nothing has changed.
///
/// # Safety
/// `span` is a huge span whose block the caller holds.
pub unsafe fn remap_huge(span: *mut Span, size: usize) -> *mut u8 {
    let (Some(block), Some(bytes)) = (memory::round_up(size, PAGE), memory::round_up(size, GRANULE)) else {
        return core::ptr::null_mut();
    };
    // The target is reserved first, at a granule; the kernel then moves the pages over it.
    let Some(target) = memory::map_aligned(bytes, GRANULE) else {
        return core::ptr::null_mut();
    };
    let pool = POOL.lock();
    // SAFETY: the caller holds the block, so nobody else changes the record.
    let (base, old) = unsafe { ((*span).base, (*span).bytes) };
    let mapped = page_map::set(target, bytes, span, &mut |size| meta::reserve_within(&pool, size));
    // SAFETY: both ranges are mappings of ours: the old one the caller's block, the target known to nobody.
    if !mapped || unsafe { !memory::move_over(base, old, target, bytes) } {
        page_map::set(target, bytes, core::ptr::null_mut(), &mut |_| None);
        drop(pool);
        // SAFETY: the target holds nothing. Should the kernel have unmapped it already, the range is free and unmapping it is harmless.
        unsafe { memory::unmap(target, bytes) };
        return core::ptr::null_mut();
    }
    page_map::set(base, old, core::ptr::null_mut(), &mut |_| None);
    // SAFETY: as above.
    unsafe {
        (*span).base = target;
        (*span).bytes = bytes;
        (*span).block_bytes = block;
    }
    drop(pool);
    HUGE_BYTES.fetch_add(bytes, Relaxed);
    HUGE_BYTES.fetch_sub(old, Relaxed);
    target as *mut u8
}

/// Frees the block of a span of one block.
///
/// # Safety
/// `span` is such a span and came from the page map for `at`.
pub unsafe fn free(span: *mut Span, at: usize) {
    // SAFETY: the caller's duty; nobody uses the block once its program has freed it.
    unsafe {
        if at != (*span).base {
            misuse::free_of_no_block(span, at);
        }
        if !pool::release(span) {
            misuse::double_free(at, (*span).block_bytes);
        }
    }
}
