//! Stamps: when and where a block was born, for blocks chosen by the [`sampler`]; and the histograms of what became of them.
//!
//! While stamping is on, `malloc` takes its slow path (see `modes`), counts bytes, and now and then stamps a block: its birth goes into a table
//! ([`births`]), and a bit beside its slab says so. `free` looks at the bit. At a stamped block's end its age, in ns and in bytes allocated meanwhile, is counted
//! ([`tally`]) by size class and by what it held ([`labels`]). Nothing is kept per thread but the sampler, so a thread's end loses nothing; nothing here waits for
//! another thread. (Memory for tables comes from where the heap has its own, under the same short locks as a new slab, once per table and slab.)
//!
//! Bytes are those of blocks, as handed out: a request rounded up to its size class.

pub mod births;
pub mod buckets;
pub mod key;
pub mod labels;
pub mod sampler;
pub mod tally;

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

use super::cache;
use super::modes;
use super::page_map;
use super::pool;
use super::size_class;
use super::slab;
use super::span::{LIVE_WORDS, Span, TABLE, kind};
use super::{Domain, size_class::MAX_SLAB_SIZE};
use crate::meta;
use crate::sys::clock;
use births::{Births, Name, Stamp};
pub use key::{Key, Unit, What};
use sampler::Sampler;
use tally::Tally;

/// One thread's part. All zero at first.
pub struct Local {
    sampler: Sampler,
    /// A stamp is being made, or counted: what the program's own clock function allocates meanwhile has none.
    busy: bool,
}

impl Local {
    /// A thread's first state.
    pub const NEW: Local = Local { sampler: Sampler::NEW, busy: false };
}

static BIRTHS: Births = Births::new();
static TALLY: Tally = Tally::new();

/// Blocks that were to be stamped or counted and could not be, for want of memory.
static LOST: AtomicU64 = AtomicU64::new(0);

/// When stamping began, monotonic ns.
static STARTED_NS: AtomicU64 = AtomicU64::new(0);

/// Says what a block of the object domain holds: [`LabelOf`], as an address; 0 for none.
static LABEL_OF: AtomicUsize = AtomicUsize::new(0);

/// Answers the label of what lies in a block, given its address and its bytes. Called on any thread, outside all locks; must not use the heap. The block may
/// hold anything, and while [`note_ages`] looks other threads may change it.
pub type LabelOf = fn(usize, usize) -> u16;

/// Stamps from here on. One byte in `rate` marks its block; 0 and 1 stamp every block.
pub fn start(rate: u32) {
    sampler::set_rate(rate);
    STARTED_NS.store(clock::monotonic_ns(), Relaxed);
    modes::switch_on(modes::STAMP);
    cache::hide_direct();
}

/// Whether stamping is on.
pub fn on() -> bool {
    modes::on(modes::STAMP)
}

/// Sets who says what a block holds.
pub fn set_label_of(f: LabelOf) {
    LABEL_OF.store(f as usize, Release);
}

/// When stamping began, monotonic ns.
pub fn started_ns() -> u64 {
    STARTED_NS.load(Relaxed)
}

/// Bytes allocated since stamping began, as far as the calling thread knows.
pub fn allocated_bytes() -> u64 {
    now_bytes()
}

/// How many blocks could not be stamped or counted, for want of memory.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Blocks larger than this are always stamped.
pub const ALWAYS_ABOVE_BYTES: usize = MAX_SLAB_SIZE;

/// Counts a new block, and stamps it if it is its turn.
///
/// # Safety
/// `block` is null, or has just been allocated and is known to nobody.
pub unsafe fn born(block: *mut u8) {
    if block.is_null() || cache::mine_or_new().is_null() {
        return;
    }
    // SAFETY: a block has a span, which stays while it is in use; the thread has a cache.
    unsafe {
        let span = page_map::span_at(block as usize);
        if (*span).kind.load(Relaxed) == kind::SLAB {
            return born_in_slab(span, block);
        }
        sampler::count_large((*span).block_bytes as u64);
        stamp(span, block as usize);
    }
}

/// As [`born`], for a block of a slab.
///
/// # Safety
/// As there; the slab has the block, and the calling thread has a cache.
#[inline(always)]
pub unsafe fn born_in_slab(span: *mut Span, block: *mut u8) {
    // SAFETY: the caller's duty.
    unsafe {
        if (*cache::mine()).stamps.sampler.count((*span).block_bytes) {
            stamp(span, block as usize);
        }
    }
}

/// Stamps a new block.
#[cold]
#[inline(never)]
unsafe fn stamp(span: *mut Span, at: usize) {
    // SAFETY: the caller's: as in born.
    unsafe {
        let local = &raw mut (*cache::mine()).stamps;
        if !(*local).busy {
            (*local).busy = true;
            if !stamp_at(span, at, (*local).sampler.clock()) {
                LOST.fetch_add(1, Relaxed);
            }
            (*local).busy = false;
        }
    }
}

unsafe fn stamp_at(span: *mut Span, at: usize, bytes: u64) -> bool {
    // SAFETY: the caller's: as in born.
    unsafe {
        let name = if (*span).kind.load(Relaxed) == kind::SLAB {
            let Some(bits) = bits(span) else { return false };
            let index = slab::index_at(span, at).0;
            let Some(word) = bits.get(index / 64) else { return false };
            let name = Name::of_address(at);
            if word.fetch_or(1 << (index % 64), Relaxed) >> (index % 64) & 1 != 0 {
                forget(name);
            }
            name
        } else {
            let name = Name::of_span((*span).id);
            forget(name);
            name
        };
        BIRTHS.insert(name, Stamp { ns: clock::monotonic_ns(), bytes })
    }
}

/// Takes away a stamp whose block's end was not seen.
fn forget(name: Name) {
    if let Some(place) = BIRTHS.find(name) {
        place.clear();
    }
}

/// A slab's bits for blocks with a stamp.
unsafe fn bits<'a>(span: *mut Span) -> Option<&'a [AtomicU64; LIVE_WORDS]> {
    // SAFETY: the caller has a record; bits once given live for ever, and permanent memory is zero.
    unsafe {
        if (*span).stamped.load(Acquire).is_null() {
            let pool = pool::POOL.lock();
            if (*span).stamped.load(Relaxed).is_null() {
                let at = meta::permanent_within(&pool, size_of::<[AtomicU64; LIVE_WORDS]>(), 64)?;
                (*span).stamped.store(at as *mut _, Release);
            }
        }
        (*span).stamped.load(Acquire).as_ref()
    }
}

/// The stamp's name and the bit of a block, if it has a stamp (or may have: a span of one block has no bit).
unsafe fn name_and_bit<'a>(span: *mut Span, at: usize) -> Option<(Name, Option<(&'a AtomicU64, u64)>)> {
    // SAFETY: the caller has a record that the page map named for the address.
    unsafe {
        if (*span).kind.load(Relaxed) != kind::SLAB {
            return (at == (*span).base).then(|| (Name::of_span((*span).id), None));
        }
        let bits = (*span).stamped.load(Acquire).as_ref()?;
        let (index, starts) = slab::index_at(span, at);
        let word = bits.get(index / 64).filter(|_| starts)?;
        let bit = 1 << (index % 64);
        (word.load(Relaxed) & bit != 0).then(|| (Name::of_address(at), Some((word, bit))))
    }
}

/// `free` was called for a block: notes the end of its life if it has a stamp. To be called before the block is freed or set aside.
///
/// # Safety
/// `span` came from the page map for `at`.
#[inline]
pub unsafe fn died(span: *mut Span, at: usize) {
    // SAFETY: the caller's duty.
    unsafe {
        if let Some((name, bit)) = name_and_bit(span, at) {
            ended(span, at, name, bit, modes::on(modes::RETAIN));
        }
    }
}

/// A retained block's memory is about to become usable again: notes how long it floated. Block `index` of the span is still set aside.
///
/// # Safety
/// `span` is in use, and nobody uses the block.
pub unsafe fn released(span: *mut Span, index: usize) {
    // SAFETY: the caller's duty.
    unsafe {
        let at = (*span).base + index * (*span).block_bytes;
        if let Some((name, bit)) = name_and_bit(span, at) {
            ended(span, at, name, bit, false);
        }
    }
}

/// A collection has found that nothing leads to a block that was never freed: its life ends here. It floats until it is freed or released.
///
/// # Safety
/// Nobody uses the block.
pub unsafe fn found_unreachable(at: usize) {
    let span = page_map::span_at(at);
    // SAFETY: the page map's record; the caller's duty.
    unsafe {
        if on()
            && !span.is_null()
            && let Some((name, bit)) = name_and_bit(span, at)
        {
            ended(span, at, name, bit, true);
        }
    }
}

/// The end of a block's life, or of its floating. `floats`: its memory is not usable yet.
#[cold]
#[inline(never)]
unsafe fn ended(span: *mut Span, at: usize, name: Name, bit: Option<(&AtomicU64, u64)>, floats: bool) {
    // SAFETY: the caller is alone with the block; the calling thread's own cache, if it has one.
    unsafe {
        let local = if cache::have_one() { &raw mut (*cache::mine()).stamps } else { core::ptr::null_mut() };
        let busy = !local.is_null() && (*local).busy;
        if !local.is_null() {
            (*local).busy = true;
        }
        let bytes = (*span).block_bytes;
        if busy {
            forget(name);
            LOST.fetch_add(1, Relaxed);
        } else if let Some(place) = BIRTHS.find(name) {
            let now = Stamp { ns: clock::monotonic_ns(), bytes: now_bytes() };
            match place.floats() {
                Some(_) if floats => {}
                Some(label) => {
                    count(What::Float, label, bytes, place.stamp(), now);
                    place.clear();
                }
                None => {
                    let label = label_of(at, bytes, (*span).domain());
                    count(What::Lifetime, label, bytes, place.stamp(), now);
                    if floats { place.set_afloat(label, now) } else { place.clear() }
                }
            }
        }
        if let Some((word, bit)) = bit
            && (!floats || busy)
        {
            word.fetch_and(!bit, Relaxed);
        }
        if !local.is_null() {
            (*local).busy = busy;
        }
    }
}

fn now_bytes() -> u64 {
    // SAFETY: the calling thread's cache; the empty one's counts are zero.
    unsafe { (*cache::mine()).stamps.sampler.clock() }
}

fn label_of(at: usize, bytes: usize, domain: Domain) -> u16 {
    if domain == Domain::Raw {
        return labels::RAW;
    }
    match LABEL_OF.load(Acquire) {
        0 => labels::OTHER,
        // SAFETY: only set_label_of stores here, and only functions of this type.
        hook => unsafe { core::mem::transmute::<usize, LabelOf>(hook)(at, bytes) },
    }
}

fn count(what: What, label: u16, block_bytes: usize, from: Stamp, to: Stamp) {
    let class = size_class::class_of(block_bytes);
    let ns = Key::new(what, Unit::Ns, label, class, to.ns.saturating_sub(from.ns));
    let bytes = Key::new(what, Unit::Bytes, label, class, to.bytes.saturating_sub(from.bytes));
    if !(TALLY.count(ns.number()) && TALLY.count(bytes.number())) {
        LOST.fetch_add(1, Relaxed);
    }
}

/// Counts the ages of all blocks with a stamp that live now. `by_label`: objects do not change meanwhile, and may be looked at.
pub fn note_ages(by_label: bool) {
    let now = Stamp { ns: clock::monotonic_ns(), bytes: now_bytes() };
    BIRTHS.for_each(&mut |name, stamp| {
        let (span, at) = match name.span() {
            Some(id) => (TABLE.get(id), 0),
            None => (page_map::span_at(name.address()), name.address()),
        };
        // SAFETY: records live for ever.
        let Some(span) = (unsafe { span.as_ref() }) else { return };
        if span.kind.load(Acquire) == kind::UNUSED {
            return;
        }
        let at = if at == 0 { span.base } else { at };
        let domain = span.domain();
        let label = if by_label || domain == Domain::Raw { label_of(at, span.block_bytes, domain) } else { labels::OTHER };
        count(What::Age, label, span.block_bytes, stamp, now);
    });
}

/// Calls `f` with the number of each [`Key`] that has been counted since the last time, and how often. What is counted meanwhile comes now or the next time.
pub fn drain(f: &mut dyn FnMut(u64, u64)) {
    TALLY.drain(f);
}

/// The calling thread ends, and its cache with it.
///
/// # Safety
/// `cache` was the calling thread's until now.
pub unsafe fn thread_ends(cache: *mut cache::Cache) {
    // SAFETY: the caller's duty.
    unsafe {
        (*cache).stamps.sampler.tell();
        (*cache).stamps.busy = false;
    }
}

/// A block grew where it is.
pub fn grew(bytes: usize) {
    if on() {
        sampler::count_large(bytes as u64);
    }
}

/// In a child made by fork: it counts what is born in it.
///
/// # Safety
/// No other thread exists.
pub unsafe fn after_fork_in_child() {
    if !on() {
        return;
    }
    // SAFETY: the caller's duty.
    unsafe {
        BIRTHS.clear();
        TALLY.clear();
    }
    LOST.store(0, Relaxed);
    STARTED_NS.store(clock::monotonic_ns(), Relaxed);
}
