//! Retained blocks: freed by the program, and not reused before somebody has made sure that no word leads to them.
//!
//! A byte per block, in memory of the shim's own: the block itself is not touched, so whoever still reads it reads what was there. A span with a retained block
//! is in use, so its record stays what it is. Setting the byte is one store by whichever thread frees, without the lock prefix, which would wait for all
//! that the program has written before: with bits, which need it, `free` took 35 ns of a program that replaces small blocks at random, with bytes 8. Clearing
//! it is the one act that makes a block reusable, and then it goes the way of every freed block. Two threads that free a block twice at the same instant are not
//! told of it; the block is retained once all the same.
//!
//! Shared between threads: the bytes, the span's mark that there are some, and once per [`FLUSH_BYTES`] of a thread the total.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::*};

use super::cache;
use super::condemned;
use super::misuse;
use super::modes;
use super::pool;
use super::remote;
use super::slab;
use super::span::{Span, TABLE, kind};
use super::stamps;
use super::vacating;
use crate::meta;
use crate::sys::{bits, memory};

/// In a block's byte, in its lowest bit: it is retained.
pub(super) const RETAINED: u8 = 1;
/// In a block's byte, with the other: what stood in it is gone.
const EMPTIED: u8 = 2;
/// In the byte of a span of one block, with the others: its pages have gone back to the system (see `vacating`).
const VACATED: u8 = 4;
/// In a block's byte, with the first alone: the program has not freed it (see `condemned`).
pub(super) const CONDEMNED: u8 = 8;

/// A thread tells the others of what it retained once it is this much.
const FLUSH_BYTES: usize = 64 << 10;

/// Bytes retained, less what threads have not told yet.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// From this total on, as [`pressing_bytes`] has it, [`ON_DUE`] is called.
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

/// Whether blocks are freed at once.
pub(super) fn given_up() -> bool {
    GIVEN_UP.load(Relaxed)
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

/// The byte of a block.
///
/// # Safety
/// `span` is a record with a row, and `index` that of an address in it.
pub(super) unsafe fn byte<'a>(span: *mut Span, index: usize) -> &'a AtomicU8 {
    // SAFETY: the caller's duty; rows live for ever.
    unsafe { &*(*span).retained.load(Acquire).add(index) }
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

/// As [`bytes`], as far as they count towards the next sweep: those without pages count little.
pub fn pressing_bytes() -> usize {
    pressing(bytes())
}

fn pressing(all: usize) -> usize {
    let vacated = vacating::bytes();
    all.saturating_sub(vacated) + vacating::weight(vacated)
}

/// `free` while blocks are retained.
///
/// # Safety
/// `span` came from the page map for `at`.
#[inline]
pub unsafe fn set_aside(span: *mut Span, at: usize) {
    // SAFETY: records live for ever; a block's span stays what it is while the block is in use; there is a byte for every index.
    unsafe {
        let block_bytes = (*span).block_bytes;
        if (*span).kind.load(Relaxed) != kind::SLAB {
            return set_aside_single(span, at);
        }
        if !slab::starts_block(span, at) {
            misuse::free_of_no_block(span, at);
        }
        let index = slab::index_at(span, at).0;
        if slab::is_free(span, index) {
            misuse::double_free(at, block_bytes);
        }
        let row = (*span).retained.load(Acquire);
        if row.is_null() || GIVEN_UP.load(Relaxed) {
            return set_aside_slowly(span, at, index);
        }
        if (*row.add(index)).load(Relaxed) != 0 && !condemned::reprieve_at(span, at) {
            misuse::double_free(at, block_bytes);
        }
        (*row.add(index)).store(RETAINED, Relaxed);
        if !(*span).retaining.load(Relaxed) {
            (*span).retaining.store(true, Relaxed);
        }
        tell(block_bytes);
    }
}

/// The same for the block of a span of one.
///
/// # Safety
/// As for [`set_aside`].
#[inline(never)]
unsafe fn set_aside_single(span: *mut Span, at: usize) {
    // SAFETY: the caller's duty; the row has a byte at least.
    unsafe {
        let block_bytes = (*span).block_bytes;
        if at != (*span).base {
            misuse::free_of_no_block(span, at);
        }
        let row = (*span).retained.load(Acquire);
        if row.is_null() || GIVEN_UP.load(Relaxed) {
            return set_aside_slowly(span, at, 0);
        }
        if (*row).load(Relaxed) != 0 && !condemned::reprieve_at(span, at) {
            misuse::double_free(at, block_bytes);
        }
        let what = if vacating::begins(span) { RETAINED | EMPTIED | VACATED } else { RETAINED };
        (*row).store(what, Relaxed);
        (*span).retaining.store(true, Relaxed);
        tell(block_bytes);
    }
}

/// The first block of a span that is retained, and blocks that are not any more.
///
/// # Safety
/// As for [`set_aside`]; `index` is the block's.
#[cold]
#[inline(never)]
unsafe fn set_aside_slowly(span: *mut Span, at: usize, index: usize) {
    // SAFETY: the caller's duty.
    unsafe {
        if is(span, index) && !condemned::reprieve_at(span, at) {
            misuse::double_free(at, (*span).block_bytes);
        }
        if GIVEN_UP.load(Relaxed) {
            if modes::on(modes::STAMP) {
                stamps::released(span, index);
            }
            return super::free_at_once(span, at);
        }
        // Without memory to remember it, the block stays handed out.
        if have_row(span) {
            set_aside(span, at);
        }
    }
}

/// The shortest row: whole words of 64 blocks are read.
const ROW_SHIFT_MIN: u32 = 6;

/// How long the row of a span with so many blocks must be, as a power of two.
fn row_shift(blocks: u32) -> u32 {
    blocks.max(1).next_power_of_two().trailing_zeros().max(ROW_SHIFT_MIN)
}

/// Gives a span its row of bytes, if it has none. `false` when out of memory.
///
/// # Safety
/// `span` is a record of the table.
pub(super) unsafe fn have_row(span: *mut Span) -> bool {
    // SAFETY: records live for ever.
    if !unsafe { (*span).retained.load(Acquire) }.is_null() {
        return true;
    }
    let pool = pool::POOL.lock();
    // SAFETY: records live for ever; the row is set once, under the lock, in a span in use; permanent memory is zero.
    unsafe {
        if (*span).retained.load(Relaxed).is_null() {
            let shift = row_shift((*span).capacity.into());
            let Some(at) = meta::permanent_within(&pool, 1 << shift, 64) else { return false };
            (*span).retained_shift = shift as u8;
            (*span).retained.store(at as *mut _, Release);
        }
    }
    true
}

/// A record describes a slab anew: the row that it has may be too short for it. What is left behind is less than what the record ever needs.
pub fn forget_short_row(span: &mut Span) {
    if u32::from(span.retained_shift) < row_shift(span.capacity.into()) {
        span.retained.store(core::ptr::null_mut(), Relaxed);
    }
}

/// Counts bytes for the calling thread, and now and then for all.
#[inline]
pub(super) fn tell(bytes: usize) {
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
    if pressing(total) >= DUE_BYTES.load(Relaxed) {
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
    // SAFETY: the caller's duty; there is a byte for every index.
    unsafe {
        let row = (*span).retained.load(Acquire);
        !row.is_null() && (*row.add(index)).load(Relaxed) != 0
    }
}

/// Whether block `index` of a span is retained and has been emptied.
pub fn is_emptied(span: &Span, index: usize) -> bool {
    has(span, index, EMPTIED)
}

/// Whether block `index` of a span is retained and has not been freed by the program.
pub fn is_condemned(span: &Span, index: usize) -> bool {
    has(span, index, CONDEMNED)
}

/// Whether the block of a span of one is retained and has no pages any more.
pub fn is_vacated(span: &Span) -> bool {
    has(span, 0, VACATED)
}

#[inline]
fn has(span: &Span, index: usize, bit: u8) -> bool {
    let row = span.retained.load(Acquire);
    // SAFETY: inside the row, which lives for ever.
    !row.is_null() && index < 1 << span.retained_shift && unsafe { (*row.add(index)).load(Relaxed) } & bit != 0
}

/// The words of a row of bytes that blocks `64 * word` and following of a span have; `None` if none of its blocks are retained.
#[inline]
fn eight_words(span: &Span, word: usize) -> Option<&[AtomicU64; 8]> {
    let row = span.retained.load(Acquire);
    if !span.retaining.load(Relaxed) || row.is_null() || (word + 1) * 64 > 1 << span.retained_shift {
        return None;
    }
    // SAFETY: inside the row, which is aligned to 64 and lives for ever. Where a byte is stored meanwhile, it is read as it was or as it is.
    Some(unsafe { &*row.add(word * 64).cast() })
}

/// The retained blocks among blocks `64 * word` and following of a span, as bits.
#[inline]
pub fn bits_of(span: &Span, word: usize) -> u64 {
    let Some(words) = eight_words(span, word) else { return 0 };
    // The product has the lowest bits of a word's eight bytes side by side in its highest byte.
    let lowest = |word: &AtomicU64| word.load(Relaxed) & 0x0101_0101_0101_0101;
    words.iter().rev().fold(0, |bits, word| bits << 8 | lowest(word).wrapping_mul(0x0102_0408_1020_4080) >> 56)
}

/// With all threads but the calling one standing still: takes the mark off a span none of whose blocks are retained any more.
pub fn unmark_if_none(id: u32) {
    // SAFETY: records live for ever.
    let Some(span) = (unsafe { TABLE.get(id).as_ref() }) else { return };
    let words = (span.ready.load(Relaxed) as usize).div_ceil(64);
    if (0..words).all(|word| bits_of(span, word) == 0) {
        span.retaining.store(false, Relaxed);
    }
}

/// Frees retained blocks: those in `mask` of blocks `64 * word` and following of span `id`. Those that are not retained are left alone. Answers how many
/// bytes became reusable. One thread at a time.
///
/// # Safety
/// Nobody uses the blocks: no word leads to them.
pub unsafe fn release(id: u32, word: usize, mask: u64) -> usize {
    let span = TABLE.get(id);
    // SAFETY: records live for ever; whoever clears a byte is alone with the block.
    unsafe {
        let Some(record) = span.as_ref() else { return 0 };
        let mine = bits_of(record, word) & mask;
        if mine == 0 {
            return 0;
        }
        let (base, block_bytes, what) = (record.base, record.block_bytes, record.kind.load(Relaxed));
        let row = record.retained.load(Acquire).add(word * 64);
        if modes::on(modes::STAMP) {
            bits::set_in(mine).for_each(|bit| stamps::released(span, word * 64 + bit as usize));
        }
        if what == kind::SLAB {
            clear(row, mine);
            remote::free_many(span, word, mine);
        } else {
            if (*row).swap(0, Relaxed) & VACATED != 0 {
                vacating::ends(block_bytes);
            }
            super::free_at_once(span, base);
        }
        let bytes = mine.count_ones() as usize * block_bytes;
        forget(bytes);
        bytes
    }
}

/// So many bytes are not retained any more.
pub(super) fn forget(bytes: usize) {
    _ = BYTES.fetch_update(Relaxed, Relaxed, |b| Some(b.saturating_sub(bytes)));
}

/// Clears those bytes of a row's 64 whose bits are set. Eight at a time where none of them is another's, who may be setting it.
///
/// # Safety
/// The row has 64 bytes, and is aligned to them.
unsafe fn clear(row: *const AtomicU8, bits: u64) {
    for eight in 0..8 {
        let some = bits >> (8 * eight) & 0xff;
        // SAFETY: inside the row.
        unsafe {
            let from = row.add(8 * eight);
            if some == 0xff {
                (*from.cast::<AtomicU64>()).store(0, Relaxed);
            } else {
                bits::set_in(some).for_each(|bit| (*from.add(bit as usize)).store(0, Relaxed));
            }
        }
    }
}

/// Empties retained blocks that the program has freed: those in `mask` of blocks `64 * word` and following of span `id`. They stay retained.
///
/// # Safety
/// The blocks are not released meanwhile.
pub unsafe fn empty(id: u32, word: usize, mask: u64) {
    // SAFETY: records live for ever; a span with a retained block stays what it is; there is a byte for every block.
    unsafe {
        let Some(span) = TABLE.get(id).as_ref() else { return };
        for bit in bits::set_in(bits_of(span, word) & mask) {
            let index = word * 64 + bit as usize;
            if !is_condemned(span, index) {
                memory::zero(span.base + index * span.block_bytes, span.block_bytes);
                (*span.retained.load(Acquire).add(index)).fetch_or(EMPTIED, Relaxed);
            }
        }
    }
}

/// All is released of span `id` that is to be for now: a slab none of whose blocks is in use goes back.
pub fn released_all_of(id: u32) {
    let span = TABLE.get(id);
    // SAFETY: records live for ever; only the owner looks further.
    unsafe {
        if !span.is_null()
            && (*span).kind.load(Relaxed) == kind::SLAB
            && cache::have_one()
            && (*span).owner.load(Relaxed) == cache::me()
        {
            slab::retire(span);
        }
    }
}
