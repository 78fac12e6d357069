//! The program's memory: size classes, slabs, large blocks, page map, thread caches, remote frees.
//!
//! One malloc: the size chooses a bin of the thread's [`cache`], its first [`slab`]'s bits give the block. One free: the [`page_map`]
//! names the slab, the block's bit is looked at and set. Neither takes a lock, makes a system call or touches `errno`.
//! What is rarer goes through [`slab::refill`] and [`remote`], and once per slab through the [`pool`] to the [`region`]s.
//!
//! Signals: a handler may interrupt anything here, and may allocate and free on the interrupted thread unless that holds a lock here (it
//! would wait for itself): a block is taken and given by one instruction, which fails if a handler came before it.

pub mod abandoned;
pub mod cache;
pub mod condemned;
pub mod idle;
mod handover;
pub mod misuse;
pub mod modes;
pub mod page_map;
pub mod pool;
pub mod region;
pub mod remote;
pub mod retained;
pub mod single;
pub mod size_class;
pub mod slab;
pub mod span;
pub mod stacks;
pub mod stamps;
pub mod vacating;
pub mod view;
pub mod watch;
pub mod wiping;

#[cfg(test)]
mod model_test;

use core::ptr::null_mut;
use core::sync::atomic::Ordering::*;

use crate::meta;
use crate::sys::memory::GRANULE;
pub use misuse::foreign_frees;
use size_class::{MAX_DIRECT_SIZE, MAX_SLAB_SIZE};
use span::{Span, kind};

/// Which blocks can be Python objects. Blocks of the two domains never share a slab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Domain {
    /// Everything that comes through the C names.
    Raw = 0,
    /// What CPython's object allocator asked for.
    Object = 1,
}

/// The largest request: beyond it, the difference of two addresses in a block would not fit its type.
const MAX_SIZE: usize = isize::MAX as usize;

/// A block of at least `size` bytes, at a multiple of 16; each call's is unique, also for size 0. Null when out of memory. `errno` stays as it is.
#[inline(always)]
pub fn allocate(size: usize, domain: Domain) -> *mut u8 {
    let block = allocate_fast(size, domain);
    if block.is_null() { allocate_slow(size, domain) } else { block }
}

/// The fast half of [`allocate`]: null when it needs the other, [`allocate_slow`]. Apart, so that a caller can make that its last act.
#[inline(always)]
pub fn allocate_fast(size: usize, domain: Domain) -> *mut u8 {
    if size > MAX_DIRECT_SIZE {
        return null_mut();
    }
    // SAFETY: the index is in range; every entry is a slab of this thread, or the empty one.
    unsafe { slab::take(cache::direct(cache::mine(), domain, size)) }
}

/// The slow half of [`allocate`]: all sizes.
#[inline(never)]
pub fn allocate_slow(size: usize, domain: Domain) -> *mut u8 {
    let size = modes::with_room(size, domain);
    if modes::on(modes::BIRTHS) {
        return allocate_noted(size, domain);
    }
    // What the table would have found.
    // SAFETY: as in allocate_class; the empty slab has no block.
    let first = || unsafe { slab::take(cache::bin(cache::mine(), domain, size_class::class_of(size))) };
    let block = if modes::hides_direct(domain) && size <= MAX_SLAB_SIZE { first() } else { null_mut() };
    if block.is_null() { allocate_patiently(size, domain) } else { block }
}

/// A block; if memory is short, once more when what is retained has been looked through.
fn allocate_patiently(size: usize, domain: Domain) -> *mut u8 {
    let block = allocate_any(size, domain);
    if modes::on(modes::RETAIN) {
        if block.is_null() && size <= MAX_SIZE && retained::exhausted() {
            return allocate_any(size, domain);
        }
        retained::look_at_growth();
    }
    block
}

/// A block while something is noted of each.
#[inline(never)]
fn allocate_noted(size: usize, domain: Domain) -> *mut u8 {
    if size <= MAX_SLAB_SIZE && !modes::on(modes::STACKS) {
        // SAFETY: as in allocate_class; the empty slab has no block.
        unsafe {
            let span = cache::bin(cache::mine(), domain, size_class::class_of(size));
            let block = slab::take(span);
            if !block.is_null() {
                stamps::born_in_slab(span, block);
                return block;
            }
        }
    }
    let block = allocate_patiently(size, domain);
    // SAFETY: allocated above, known to nobody.
    unsafe { born(block) };
    block
}

/// Notes what is to be noted of a new block.
///
/// # Safety
/// `block` is null, or has just been allocated and is known to nobody.
unsafe fn born(block: *mut u8) {
    // SAFETY: the caller's duty.
    unsafe {
        if modes::on(modes::STAMP) {
            stamps::born(block);
        }
        if modes::on(modes::STACKS) {
            stacks::born(block);
        }
    }
}

fn allocate_any(size: usize, domain: Domain) -> *mut u8 {
    if size <= MAX_DIRECT_SIZE {
        // Once in a word of blocks: the slab's next word.
        // SAFETY: as in allocate_fast.
        unsafe {
            let span = cache::direct(cache::mine(), domain, size);
            if span != cache::NO_SLAB && slab::more(span) {
                let block = slab::take(span);
                if !block.is_null() {
                    return block;
                }
            }
        }
    }
    if size <= MAX_SLAB_SIZE {
        let block = allocate_class(size_class::class_of(size), domain);
        // Where there is no room for a slab, there may be room for one block that takes most of a granule.
        return if block.is_null() && size > GRANULE / 2 { allocate_single(size, GRANULE, domain) } else { block };
    }
    if size > MAX_SIZE {
        return null_mut();
    }
    allocate_single(size, GRANULE, domain)
}

/// A block of a size class.
fn allocate_class(class: usize, domain: Domain) -> *mut u8 {
    // SAFETY: the class is one; the bin has a slab of this thread, or the empty one.
    let block = unsafe { slab::take(cache::bin(cache::mine(), domain, class)) };
    if !block.is_null() {
        return block;
    }
    let cache = cache::mine_or_new();
    if cache.is_null() {
        return null_mut();
    }
    loop {
        // SAFETY: the cache is the calling thread's; refill returns a slab of it with a free block, which only a signal handler can take before us.
        unsafe {
            let span = slab::refill(cache, domain, class);
            if span.is_null() {
                return null_mut();
            }
            let block = slab::take(span);
            if !block.is_null() {
                return block;
            }
        }
    }
}

fn allocate_single(size: usize, align: usize, domain: Domain) -> *mut u8 {
    let span = single::new_single(size, align, domain);
    if span.is_null() {
        return null_mut();
    }
    // SAFETY: the span was made for this call.
    unsafe { (*span).base as *mut u8 }
}

/// As [`allocate`], with all of the first `size` bytes zero.
#[inline]
pub fn allocate_zeroed(size: usize, domain: Domain) -> *mut u8 {
    let block = allocate(size, domain);
    if block.is_null() {
        return block;
    }
    // SAFETY: the block has at least size bytes; a block of ours is in the page map.
    unsafe {
        if (*page_map::span_at(block as usize)).zeroed {
            return block;
        }
        libc::memset(block.cast(), 0, size);
    }
    block
}

/// As [`allocate`], at a multiple of `align`, which must be a power of two.
pub fn allocate_aligned(size: usize, align: usize, domain: Domain) -> *mut u8 {
    if align <= 16 {
        return allocate(size, domain);
    }
    let size = modes::with_room(size, domain);
    if size > MAX_SIZE {
        return null_mut();
    }
    let block = match size_class::aligned_class(size, align) {
        Some(class) => allocate_class(class, domain),
        None => allocate_single(size, align, domain),
    };
    if modes::on(modes::BIRTHS) {
        // SAFETY: allocated above, known to nobody.
        unsafe { born(block) };
    }
    block
}

/// Frees a block. Null is fine, a pointer that is not ours is counted and left alone, misuse ends the process with a line.
#[inline(always)]
pub fn free(ptr: *mut u8) {
    let at = ptr as usize;
    let span = page_map::span_at(at);
    if span.is_null() {
        return misuse::free_of_unmapped(at);
    }
    // SAFETY: page map entries are records, which live for ever. A slab whose owner is this thread stays so during the call.
    unsafe {
        if (*span).owner.load(Relaxed) == cache::me() {
            let (index, starts) = slab::index_at(span, at);
            // What was never carved has no bit. If others have freed blocks, `owner` says so, and is not the same.
            if starts && index < (*span).freeable.load(Relaxed) as usize && slab::give(span, index) {
                return;
            }
        }
        free_other(at, span);
    }
}

/// [`free`] where the usual way does not go.
///
/// # Safety
/// `span` came from the page map for `at`.
#[cold]
#[inline(never)]
unsafe fn free_other(at: usize, span: *mut Span) {
    // SAFETY: the caller's duty.
    unsafe {
        if modes::any() {
            return free_watched(span, at);
        }
        if (*span).owner.load(Relaxed) == cache::me() && cache::have_one() {
            // What made blocks of the slab go this way may be over.
            modes::set_freeable(&*span);
        }
        remote::free_slow(span, at);
    }
}

/// The end of a block, whatever the modes are.
///
/// # Safety
/// `span` came from the page map for `at`.
#[inline(always)]
unsafe fn free_at_once(span: *mut Span, at: usize) {
    // SAFETY: page map entries are records, which live for ever. A slab whose owner is this thread stays so during the call.
    unsafe {
        if (*span).owner.load(Relaxed) == cache::me() {
            let (index, starts) = slab::index_at(span, at);
            // What was never carved has no bit. If others have freed blocks, `owner` says so, and is not the same.
            if starts && index < (*span).carved.load(Relaxed) as usize && slab::give(span, index) {
                return;
            }
        }
        remote::free_slow(span, at);
    }
}

/// [`free`] in a mode that does more.
#[cold]
#[inline(never)]
fn free_watched(span: *mut Span, at: usize) {
    // SAFETY: as in free.
    unsafe {
        if modes::on(modes::STAMP) {
            stamps::died(span, at);
        }
        watch::ends(span, at);
        if modes::on(modes::RETAIN) {
            if modes::on(modes::STACKS) {
                stacks::freed(span, at);
            }
            return retained::set_aside(span, at);
        }
        free_at_once(span, at);
    }
}

/// Bytes that may be used in the block that starts at `ptr`; 0 if it is no block of ours.
pub fn usable_size(ptr: *mut u8) -> usize {
    usable_for(ptr, "malloc_usable_size")
}

/// As [`usable_size`]; `caller` is named if the block is free.
fn usable_for(ptr: *mut u8, caller: &str) -> usize {
    let at = ptr as usize;
    let span = page_map::span_at(at);
    if span.is_null() {
        return 0;
    }
    // SAFETY: page map entries are records; a slab's block is readable.
    unsafe {
        let slab = (*span).kind.load(Relaxed) == kind::SLAB;
        if !(if slab { slab::starts_block(span, at) } else { at == (*span).base }) {
            misuse::free_of_no_block(span, at);
        }
        let in_use = if slab { slab::in_use(span, at) } else { !retained::is(span, 0) };
        if !in_use && !condemned::reprieve_at(span, at) {
            misuse::use_of_free(caller, at, (*span).block_bytes);
        }
        (*span).block_bytes
    }
}

/// A block of at least `size` bytes that starts with what was in `ptr`, which is freed unless it is the same one. With a null `ptr`, as
/// [`allocate`]. Null when out of memory, and then `ptr` is as before. `ptr` must be ours: ask [`misuse::is_foreign`] first.
pub fn reallocate(ptr: *mut u8, size: usize, domain: Domain) -> *mut u8 {
    if ptr.is_null() {
        return allocate(size, domain);
    }
    let old = usable_for(ptr, "realloc");
    if old == 0 || size > MAX_SIZE {
        return null_mut();
    }
    // In place while it fits and does not waste more than half of the block.
    if modes::with_room(size, domain) <= old && (size >= old / 2 || old <= 64) {
        // SAFETY: the block is the caller's.
        unsafe { wiping::wipe_behind(page_map::span_at(ptr as usize), ptr as usize, size) };
        return ptr;
    }
    let span = page_map::span_at(ptr as usize);
    // SAFETY: the page map named the span.
    let watched = unsafe { watch::is_watched(span) };
    let keeping = watched || modes::on(modes::RETAIN);
    // What is cut off, or left behind by moving pages, would be reused at once; and nobody would be told of it.
    if old > MAX_SLAB_SIZE && size > MAX_SLAB_SIZE && !(keeping && size < old) {
        // SAFETY: the block is the caller's and has a span of its own: slabs' blocks are smaller.
        unsafe {
            if single::resize_in_place(span, modes::with_room(size, domain)) {
                stamps::grew((*span).block_bytes.saturating_sub(old));
                return ptr;
            }
            if !keeping && (*span).kind.load(Relaxed) == kind::HUGE && size > single::MAX_LARGE_BYTES {
                let moved = single::remap_huge(span, modes::with_room(size, domain));
                if !moved.is_null() {
                    stamps::grew((*span).block_bytes.saturating_sub(old));
                    return moved;
                }
            }
        }
    }
    let new = allocate(size, domain);
    if new.is_null() {
        return new;
    }
    // SAFETY: two blocks of at least this many bytes, both the caller's.
    unsafe { libc::memcpy(new.cast(), ptr.cast(), old.min(size)) };
    if watched {
        watch::moves(ptr as usize, new as usize);
    }
    free(ptr);
    new
}

/// Takes every lock of the heap, in the order of their ranks: nothing of it changes on other threads but what needs no lock.
pub fn lock_all() {
    cache::CACHES.lock_and_keep();
    abandoned::ABANDONED.lock_and_keep();
    pool::POOL.lock_and_keep();
    meta::META.lock_and_keep();
}

/// The same without waiting: `false`, and nothing is held, if somebody holds one of them. For signal handlers, which may stand on a thread
/// that does.
pub fn try_lock_all() -> bool {
    if !cache::CACHES.try_lock_and_keep() {
        return false;
    }
    if abandoned::ABANDONED.try_lock_and_keep() {
        if pool::POOL.try_lock_and_keep() {
            if meta::META.try_lock_and_keep() {
                return true;
            }
            // SAFETY: taken above, as in the two below.
            unsafe { pool::POOL.release_kept() };
        }
        // SAFETY: taken above.
        unsafe { abandoned::ABANDONED.release_kept() };
    }
    // SAFETY: taken above.
    unsafe { cache::CACHES.release_kept() };
    false
}

/// Releases what [`lock_all`] took.
///
/// # Safety
/// `lock_all` was called by this thread, or by the thread of which this one is the copy in a child.
pub unsafe fn unlock_all() {
    // SAFETY: the caller's duty.
    unsafe {
        meta::META.release_kept();
        pool::POOL.release_kept();
        abandoned::ABANDONED.release_kept();
        cache::CACHES.release_kept();
    }
}

/// In a child made by fork, after [`unlock_all`]: takes over what belonged to the threads that exist no more. Answers whether there are such.
///
/// # Safety
/// No other thread exists.
pub unsafe fn after_fork_in_child() -> bool {
    let others = cache::others_exist();
    if others {
        cache::forget_all_but_mine();
        // SAFETY: the caller's duty.
        unsafe { abandoned::orphan_all_but(cache::me()) };
    }
    // SAFETY: the caller's duty.
    unsafe { stamps::after_fork_in_child() };
    others
}
