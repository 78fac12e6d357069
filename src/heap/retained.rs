//! Retained blocks: freed by the program, and not reused before somebody has made sure that no word leads to them.
//!
//! A bit per block, beside the bit that says that it is handed out (which stays set), in memory of the shim's own: the block itself is not touched, so
//! whoever still reads it reads what was there. A span with a retained block is in use, so its record stays what it is. Setting the bit
//! is one atomic operation by whichever thread frees; taking it away is the one act that makes a block reusable, and then it goes the way of
//! every freed block.
//!
//! Shared between threads: the bits' word (64 neighbours of a slab), the span's count, and once per [`FLUSH_BYTES`] of a thread the total.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};

use super::cache;
use super::misuse;
use super::modes;
use super::pool;
use super::slab;
use super::span::{LIVE_WORDS, Span, TABLE, kind};
use super::stamps;
use super::view;
use super::watch;
use crate::meta;

/// A thread tells the others of what it retained once it is this much.
const FLUSH_BYTES: usize = 64 << 10;

/// Bytes retained, less what threads have not told yet.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// From this total on, [`ON_DUE`] is called.
static DUE_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

/// What is called, on the freeing thread and outside all locks, when enough is retained. Stored as an address; 0 for none.
static ON_DUE: AtomicUsize = AtomicUsize::new(0);

/// What is called when there is no memory left; it answers whether it made any reusable. Stored as an address; 0 for none.
static ON_EXHAUSTED: AtomicUsize = AtomicUsize::new(0);

/// Retains from here on. `on_due` is called whenever a thread has told of more, and the total is at least what [`set_due`] said; `on_exhausted`
/// when a request cannot be served, and it is tried again if the answer is that something was made reusable.
pub fn start(on_due: fn(), on_exhausted: fn() -> bool) {
    ON_DUE.store(on_due as usize, Release);
    ON_EXHAUSTED.store(on_exhausted as usize, Release);
    modes::switch_on(modes::RETAIN);
}

/// Nobody looks at what is retained any more.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Frees at once from here on. What is retained stays so.
pub fn give_up() {
    GIVEN_UP.store(true, Release);
}

/// Sets the total, in bytes, from which on `on_due` is called.
pub fn set_due(bytes: usize) {
    DUE_BYTES.store(bytes, Relaxed);
}

/// There is no memory left: whether some could be made reusable.
#[cold]
pub fn exhausted() -> bool {
    let hook = ON_EXHAUSTED.load(Acquire);
    // SAFETY: only start stores here, and only functions of this type.
    hook != 0 && unsafe { core::mem::transmute::<usize, fn() -> bool>(hook)() }
}

/// With so many bytes of spans made, [`ON_GROWTH`] is called.
static GROWTH_DUE_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

/// What is called, on the allocating thread and outside all locks, when the heap has grown. Stored as an address; 0 for none.
static ON_GROWTH: AtomicUsize = AtomicUsize::new(0);

/// Has `on_growth` called once [`pool::made_bytes`] is at least `due_bytes`, again and again until it is set anew.
pub fn watch_growth(on_growth: fn(), due_bytes: usize) {
    ON_GROWTH.store(on_growth as usize, Release);
    GROWTH_DUE_BYTES.store(due_bytes, Relaxed);
}

/// After a slow allocation while blocks are retained: whether the heap has grown enough for somebody to look.
#[cold]
pub fn look_at_growth() {
    if pool::made_bytes() >= GROWTH_DUE_BYTES.load(Relaxed) {
        let hook = ON_GROWTH.load(Acquire);
        // SAFETY: only watch_growth stores here, and only functions of this type.
        unsafe { core::mem::transmute::<usize, fn()>(hook)() };
    }
}

/// Retains blocks that the program never freed and nothing reaches, as if it had: those in `mask` of blocks `64 * word` and following of span `id` that are in
/// use. What is left of them when no word leads to them is for a sweep to say.
pub fn condemn(id: u32, word: usize, mask: u64) {
    let Some(span) = view::span(id) else { return };
    let record = TABLE.get(id);
    for bit in (0..64).filter(|bit| mask >> bit & 1 != 0) {
        let at = span.base + (word * 64 + bit) * span.block_bytes;
        // SAFETY: the span is in use, since one of its blocks, which nothing reaches and nobody can free, is.
        unsafe {
            if is_in_use(at) {
                stamps::found_unreachable(at);
                watch::ends(record, at);
                set_aside(record, at);
            }
        }
    }
}

/// Whether `at` is the start of a block that is handed out and not retained.
pub fn is_in_use(at: usize) -> bool {
    let span = super::page_map::span_at(at);
    // SAFETY: page map entries are records, which live for ever.
    unsafe {
        match span.as_ref() {
            None => false,
            Some(record) if record.kind.load(Relaxed) == kind::SLAB => slab::starts_block(span, at) && slab::in_use(span, at),
            Some(record) => record.kind.load(Relaxed) != kind::UNUSED && at == record.base && !is(span, 0),
        }
    }
}

/// Bytes retained now, up to [`FLUSH_BYTES`] per thread less than there are.
pub fn bytes() -> usize {
    BYTES.load(Relaxed)
}

/// `free` while blocks are retained.
///
/// # Safety
/// `span` came from the page map for `at`.
pub unsafe fn set_aside(span: *mut Span, at: usize) {
    // SAFETY: records live for ever; a block's span stays what it is while the block is in use.
    unsafe {
        let block_bytes = (*span).block_bytes;
        let mut index = 0;
        if (*span).kind.load(Relaxed) == kind::SLAB {
            if !slab::starts_block(span, at) {
                misuse::free_of_no_block(span, at);
            }
            if !slab::in_use(span, at) {
                misuse::double_free(at, block_bytes);
            }
            index = slab::index_at(span, at).0;
        } else if at != (*span).base {
            misuse::free_of_no_block(span, at);
        } else if is(span, 0) {
            misuse::double_free(at, block_bytes);
        }
        if GIVEN_UP.load(Relaxed) {
            if modes::on(modes::STAMP) {
                stamps::released(span, index);
            }
            return super::free_at_once(span, at);
        }
        let mut bits = (*span).retained_bits.load(Acquire);
        if bits.is_null() {
            if !have_bits(span) {
                // Without memory to remember it, the block stays handed out.
                return;
            }
            bits = (*span).retained_bits.load(Acquire);
        }
        let bit = 1 << (index % 64);
        if (*bits).get_unchecked(index / 64).fetch_or(bit, AcqRel) & bit != 0 {
            misuse::double_free(at, block_bytes);
        }
        (*span).retained.fetch_add(1, Relaxed);
        tell(block_bytes);
    }
}

/// Gives a span its bits for retained blocks, if it has none yet. `false` when out of memory.
///
/// # Safety
/// `span` is a record of the table.
unsafe fn have_bits(span: *mut Span) -> bool {
    let pool = pool::POOL.lock();
    // SAFETY: records live for ever; the bits are set once, under the lock; permanent memory is zero.
    unsafe {
        if (*span).retained_bits.load(Relaxed).is_null() {
            let Some(at) = meta::permanent_within(&pool, size_of::<[AtomicU64; LIVE_WORDS]>(), 64) else { return false };
            (*span).retained_bits.store(at as *mut _, Release);
        }
    }
    true
}

/// Counts bytes for the calling thread, and now and then for all.
#[inline]
fn tell(bytes: usize) {
    let mut told = bytes;
    if cache::have_one() {
        // SAFETY: the calling thread's own cache.
        let untold = unsafe { &mut (*cache::mine()).untold_retained_bytes };
        *untold += bytes;
        if *untold < FLUSH_BYTES {
            return;
        }
        told = core::mem::take(untold);
    }
    let total = BYTES.fetch_add(told, Relaxed) + told;
    if total >= DUE_BYTES.load(Relaxed) {
        let hook = ON_DUE.load(Acquire);
        if hook != 0 {
            // SAFETY: only start stores here, and only functions of this type.
            unsafe { core::mem::transmute::<usize, fn()>(hook)() };
        }
    }
}

/// Whether block `index` of a span is retained.
///
/// # Safety
/// `span` is a record, and `index` that of an address in it.
#[inline]
pub unsafe fn is(span: *mut Span, index: usize) -> bool {
    // SAFETY: the caller's duty; there is a bit for every index.
    unsafe {
        let bits = (*span).retained_bits.load(Acquire);
        !bits.is_null() && (*bits).get_unchecked(index / 64).load(Relaxed) >> (index % 64) & 1 != 0
    }
}

/// The retained blocks among blocks `64 * word` and following of a span, as bits.
pub fn bits_of(span: &Span, word: usize) -> u64 {
    let bits = span.retained_bits.load(Acquire);
    if bits.is_null() || span.retained.load(Relaxed) == 0 {
        return 0;
    }
    // SAFETY: bits once given live for ever.
    unsafe { (*bits).get(word).map_or(0, |w| w.load(Relaxed)) }
}

/// Frees retained blocks: those in `mask` of blocks `64 * word` and following of span `id`. Those that are not retained are left alone. Answers how many
/// bytes became reusable.
///
/// # Safety
/// Nobody uses the blocks: no word leads to them.
pub unsafe fn release(id: u32, word: usize, mask: u64) -> usize {
    let span = TABLE.get(id);
    // SAFETY: records live for ever; whoever takes a bit away is alone with the block.
    unsafe {
        let Some(record) = span.as_ref() else { return 0 };
        let bits = record.retained_bits.load(Acquire);
        if bits.is_null() || word >= LIVE_WORDS {
            return 0;
        }
        let held: &AtomicU64 = (*bits).get_unchecked(word);
        let mut mine = held.fetch_and(!mask, AcqRel) & mask;
        let count = mine.count_ones();
        if count == 0 {
            return 0;
        }
        record.retained.fetch_sub(count, Relaxed);
        let (base, block_bytes) = (record.base, record.block_bytes);
        while mine != 0 {
            let index = word * 64 + mine.trailing_zeros() as usize;
            mine &= mine - 1;
            if modes::on(modes::STAMP) {
                stamps::released(span, index);
            }
            super::free_at_once(span, base + index * block_bytes);
        }
        let bytes = count as usize * block_bytes;
        _ = BYTES.fetch_update(Relaxed, Relaxed, |b| Some(b.saturating_sub(bytes)));
        bytes
    }
}
