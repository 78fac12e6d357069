//! Where spans come from and go to: regions for most, a mapping of their own for the largest.
//!
//! One lock guards regions, records and page map writes. A thread takes it once per slab (64 KiB or more of allocations) and once per
//! large block, so it is touched thousands of times less often than a thread's own cache.

use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::Domain;
use super::idle;
use super::page_map;
use super::region::Region;
use super::retained;
use super::size_class;
use super::span::{NOBODY, Span, TABLE, kind};
use super::wiping;
use crate::meta;
use crate::sys::lock::{Held, Ranked, rank};
use crate::sys::memory::{self, GRANULE};

const REGIONS: usize = 4096;
const REGION_BYTES_MIN: usize = 64 << 20;
const REGION_BYTES_MAX: usize = 1 << 30;
/// Regions start at multiples of this, so that a huge page can back them from the start.
const REGION_ALIGN: usize = 2 << 20;

/// From this size on, in granules, the heap asks for huge pages: faults, and the copying of page tables for a snapshot, then cost a five-hundredth.
/// Smaller programs would only grow by them. The second is for sparse regions, which grow most: it bounds that copying, 0.1 µs for each of 4 KiB, to 3 ms.
const HUGE_PAGES_FROM: [usize; 2] = [(32 << 20) / GRANULE, (128 << 20) / GRANULE];

/// Slabs of larger blocks lie in sparse regions: each thread has some for each class that it uses, with few blocks in use, and of a block that is larger than a page it may
/// touch only a part. Side by side with slabs of small blocks they would be made resident as a whole by huge pages.
const MAX_DENSE_BYTES: usize = 4096;

pub(crate) struct Pool {
    pub regions: [Region; REGIONS],
    pub count: usize,
    /// No region before this one has a free granule.
    first_with_room: usize,
    /// Records that describe nothing, linked by `next`.
    unused: *mut Span,
    pub dirty_granules: usize,
    pub used_granules: usize,
    /// Of those, the ones in sparse regions.
    sparse_granules: usize,
    reserved_bytes: usize,
    /// Whether huge pages were asked for, in sparse regions as well.
    huge_pages: [bool; 2],
    /// The least there was of `dirty_granules` since the epoch began.
    pub dirty_low: usize,
    pub epoch_start_ns: u64,
    /// Granules freed since the time was asked for.
    pub freed_since_look: usize,
}

// SAFETY: the pointers are to records and bitmaps that only the holder of the lock changes.
unsafe impl Send for Pool {}

pub(crate) static POOL: Ranked<{ rank::POOL }, Pool> = Ranked::new(Pool {
    regions: [Region::NONE; REGIONS],
    count: 0,
    first_with_room: 0,
    unused: core::ptr::null_mut(),
    dirty_granules: 0,
    used_granules: 0,
    sparse_granules: 0,
    reserved_bytes: 0,
    huge_pages: [false; 2],
    dirty_low: 0,
    epoch_start_ns: 0,
    freed_since_look: 0,
});

/// Bytes in mappings of their own.
pub(crate) static HUGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes of all spans ever made: what grows when the heap does.
static MADE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes of all spans ever made.
pub fn made_bytes() -> usize {
    MADE_BYTES.load(Relaxed)
}

/// The pool, locked.
pub(crate) type Guard<'a> = Held<'a, { rank::POOL }, Pool>;

/// A fresh slab of `class` with all of its blocks uncarved, owned by `owner`. Null when out of memory.
pub fn new_slab(class: usize, domain: Domain, owner: usize) -> *mut Span {
    let bytes = size_class::slab_bytes(class);
    let block = size_class::block_bytes(class);
    let mut pool = POOL.lock();
    let Some((base, zeroed)) = take_granules(&mut pool, bytes / GRANULE, bytes, block > MAX_DENSE_BYTES) else {
        return core::ptr::null_mut();
    };
    let fill = |span: &mut Span| {
        span.block_bytes = block;
        span.reciprocal = size_class::reciprocal(block);
        span.capacity = (bytes / block) as u16;
        span.class = class as u8;
        span.domain = domain as u8;
        span.owner.store(owner, Relaxed);
        let wiping = wiping::wanted();
        span.zeroed = wiping;
        span.wiped_bytes.store(if wiping { block as u32 } else { 0 }, Relaxed);
        span.untouched.store(if wiping && zeroed { 0 } else { u16::MAX }, Relaxed);
        retained::forget_short_row(span);
    };
    let span = publish(&mut pool, base, bytes, kind::SLAB, fill);
    if span.is_null() {
        give_granules(&mut pool, base, bytes / GRANULE);
    }
    span
}

/// Takes back a span whose blocks are all free. `false` if the record describes nothing any more: somebody else was faster.
///
/// # Safety
/// `span` is a record of the table; nobody uses its memory, and it is on no list.
pub unsafe fn release(span: *mut Span) -> bool {
    let mut pool = POOL.lock();
    // SAFETY: records live for ever, and kind and extent change only under the pool lock.
    let (base, bytes, what) = unsafe { ((*span).base, (*span).bytes, (*span).kind.load(Relaxed)) };
    if what == kind::UNUSED {
        return false;
    }
    page_map::set(base, bytes, core::ptr::null_mut(), &mut |_| None);
    // SAFETY: as above; without a page map entry nobody finds the record.
    unsafe {
        (*span).kind.store(kind::UNUSED, Release);
        (*span).owner.store(NOBODY, Relaxed);
        (*span).next = pool.unused;
    }
    pool.unused = span;
    if what == kind::HUGE {
        drop(pool);
        // SAFETY: one mapping of ours, used by nobody.
        unsafe { memory::unmap(base, bytes) };
        HUGE_BYTES.fetch_sub(bytes, Relaxed);
        return true;
    }
    give_granules(&mut pool, base, bytes / GRANULE);
    idle::age(&mut pool, bytes / GRANULE);
    true
}

/// What the heap holds.
pub struct Totals {
    /// Bytes of address space in regions.
    pub region_bytes: usize,
    /// Bytes of regions that belong to spans.
    pub span_bytes: usize,
    /// Bytes kept for reuse.
    pub dirty_bytes: usize,
    /// Bytes in mappings of their own.
    pub huge_bytes: usize,
}

/// Sums up what the heap holds.
pub fn totals() -> Totals {
    let pool = POOL.lock();
    Totals {
        region_bytes: pool.reserved_bytes,
        span_bytes: pool.used_granules * GRANULE,
        dirty_bytes: pool.dirty_granules * GRANULE,
        huge_bytes: HUGE_BYTES.load(Relaxed),
    }
}

/// Calls `f` with start and end of each region.
pub fn for_each_region(f: &mut dyn FnMut(usize, usize)) {
    let pool = POOL.lock();
    for region in pool.regions.iter().take(pool.count) {
        f(region.base, region.base + region.bytes());
    }
}

/// Whether an address lies in a region: memory that is ours even if no span covers it now.
pub fn in_region(address: usize) -> bool {
    let mut found = false;
    for_each_region(&mut |start, end| found |= (start..end).contains(&address));
    found
}

/// Takes a record, describes the span in it and makes the page map name it. Null when the shim's own memory cannot be had.
pub(crate) fn publish(pool: &mut Guard<'_>, base: usize, bytes: usize, what: u8, fill: impl FnOnce(&mut Span)) -> *mut Span {
    let mut span = pool.unused;
    if span.is_null() {
        span = TABLE.grow(|bytes| meta::reserve_within(pool, bytes));
        if span.is_null() {
            return span;
        }
    } else {
        // SAFETY: unused records are linked by the pool.
        pool.unused = unsafe { (*span).next };
    }
    // SAFETY: the record is unused and ours; nobody finds it before the page map names it.
    unsafe {
        (*span).describe(base, bytes);
        fill(&mut *span);
        (*span).kind.store(what, Release);
    }
    if !page_map::set(base, bytes, span, &mut |size| meta::reserve_within(pool, size)) {
        // SAFETY: as above.
        unsafe {
            (*span).kind.store(kind::UNUSED, Release);
            (*span).next = pool.unused;
        }
        pool.unused = span;
        return core::ptr::null_mut();
    }
    MADE_BYTES.fetch_add(bytes, Relaxed);
    span
}

/// Finds granules in a region of the sort wanted, reserving a new one if need be (the second round then finds room in it), or in any if that is refused. Returns their
/// address and whether all of it reads as zero.
pub(crate) fn take_granules(pool: &mut Guard<'_>, count: usize, align: usize, sparse: bool) -> Option<(usize, bool)> {
    let mut refused = false;
    loop {
        let until = pool.count;
        let mut from = pool.first_with_room;
        while from < until && pool.regions.get(from).is_some_and(|r| r.free == 0) {
            from += 1;
        }
        pool.first_with_room = from;
        let mut fit = pool.regions.iter_mut().take(until).skip(from).filter(|r| r.sparse == sparse || refused);
        let found = fit.find_map(|region| region.take(count, align).map(|taken| (taken, region.sparse)));
        if let Some((taken, sparse)) = found {
            note_taken(pool, count, taken.dirty, sparse);
            return Some((taken.base, taken.dirty == 0));
        }
        if refused {
            return None;
        }
        refused = add_region(pool, count * GRANULE, align, sparse).is_none();
    }
}

/// Counts granules that a region has handed out, and asks for huge pages once there are many.
pub(crate) fn note_taken(pool: &mut Guard<'_>, count: usize, dirty: usize, sparse: bool) {
    pool.dirty_granules -= dirty;
    pool.dirty_low = pool.dirty_low.min(pool.dirty_granules);
    pool.used_granules += count;
    pool.sparse_granules += if sparse { count } else { 0 };
    let used = if sparse { pool.sparse_granules } else { pool.used_granules - pool.sparse_granules };
    if used >= HUGE_PAGES_FROM[usize::from(sparse)] && !pool.huge_pages[usize::from(sparse)] {
        pool.huge_pages[usize::from(sparse)] = true;
        for region in pool.regions.iter().take(pool.count).filter(|r| r.sparse == sparse) {
            memory::advise_huge(region.base, region.bytes());
        }
    }
}

/// Takes granules back; their memory counts as dirty.
pub(crate) fn give_granules(pool: &mut Guard<'_>, base: usize, count: usize) {
    let until = pool.count;
    let found = pool.regions.iter_mut().take(until).position(|r| base >= r.base && base < r.base + r.bytes());
    let Some(index) = found else { return };
    if let Some(region) = pool.regions.get_mut(index) {
        region.give((base - region.base) / GRANULE, count);
        pool.sparse_granules -= if region.sparse { count } else { 0 };
    }
    pool.first_with_room = pool.first_with_room.min(index);
    pool.used_granules -= count;
    pool.dirty_granules += count;
}

/// The region that an address lies in.
pub(crate) fn region_of<'a>(pool: &'a mut Guard<'_>, address: usize) -> Option<&'a mut Region> {
    let until = pool.count;
    pool.regions.iter_mut().take(until).find(|r| address >= r.base && address < r.base + r.bytes())
}

/// Reserves a region that has room for at least `bytes` at a multiple of `align`: as large as the heap is already, within bounds; less if the system refuses.
fn add_region(pool: &mut Guard<'_>, bytes: usize, align: usize, sparse: bool) -> Option<()> {
    let mut want = pool.reserved_bytes.next_power_of_two().clamp(REGION_BYTES_MIN, REGION_BYTES_MAX).max(bytes);
    let base = loop {
        // Aligned as the request is, so that a region of just its size serves it.
        if let Some(base) = memory::map_aligned(want, if want == bytes { align } else { align.max(REGION_ALIGN) }) {
            break base;
        }
        if want == bytes {
            return None;
        }
        want = (want / 2).max(bytes) & !(GRANULE - 1);
    };
    let granules = want / GRANULE;
    let index = pool.count;
    let bitmaps = if index < REGIONS { meta::permanent_within(pool, Region::bitmap_bytes(granules), 8) } else { None };
    let Some(bitmaps) = bitmaps else {
        // SAFETY: mapped above and known to nobody.
        unsafe { memory::unmap(base, want) };
        return None;
    };
    if let Some(slot) = pool.regions.get_mut(index) {
        // SAFETY: the range was mapped above; permanent memory is zero and lives for ever.
        *slot = unsafe { Region::new(base, granules, sparse, bitmaps) };
    }
    if pool.huge_pages[usize::from(sparse)] {
        memory::advise_huge(base, want);
    }
    pool.count += 1;
    pool.reserved_bytes += want;
    Some(())
}
