//! From any word to the span that contains it, in two steps: the upper 15 of 47 address bits choose a leaf, the next 16 the granule.
//!
//! The top table is static and mostly untouched; a leaf covers 4 GiB with 512 KiB, of which only the pages in use take memory. Absent
//! leaves are one shared empty leaf, so a look-up tests only its result. Written under the pool lock; read by every `free` without
//! a lock: an entry for a block that the caller holds was written before the block was handed out.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};

use super::span::Span;
use crate::sys::memory::GRANULE;

const LEAF_BITS: usize = 16;
const GRANULE_BITS: usize = GRANULE.trailing_zeros() as usize;
const LEAF: usize = 1 << LEAF_BITS;
const TOP: usize = 1 << (47 - LEAF_BITS - GRANULE_BITS);

/// No address at or above this is ever the program's.
const ADDRESS_END: usize = 1 << 47;

type Leaf = [AtomicPtr<Span>; LEAF];

struct Map {
    /// The leaf of what has none.
    empty: Leaf,
    /// Per 4 GiB, the leaf's address less that of the map, which is that of the empty leaf: so the first state, zero, is the empty leaf.
    top: [AtomicUsize; TOP],
}

/// Both tables, so that a look-up needs one address.
static MAP: Map =
    Map { empty: [const { AtomicPtr::new(core::ptr::null_mut()) }; LEAF], top: [const { AtomicUsize::new(0) }; TOP] };

const _: () = assert!(core::mem::offset_of!(Map, empty) == 0);

static LOWEST: AtomicUsize = AtomicUsize::new(usize::MAX);
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

#[inline(always)]
fn leaf_of(address: usize) -> &'static Leaf {
    // SAFETY: masked to the table's length.
    let offset = unsafe { MAP.top.get_unchecked(address >> (LEAF_BITS + GRANULE_BITS) & (TOP - 1)) }.load(Relaxed);
    // SAFETY: the sum is the address of a leaf, which lives for ever: the empty one, or one stored by set.
    unsafe { &*((&raw const MAP as usize).wrapping_add(offset) as *const Leaf) }
}

/// The span that covers `address`; null if none does. Of the address, only the lower 47 bits count.
#[inline(always)]
pub fn span_at(address: usize) -> *mut Span {
    // SAFETY: masked to the leaf's length.
    unsafe { leaf_of(address).get_unchecked(address >> GRANULE_BITS & (LEAF - 1)) }.load(Relaxed)
}

/// Makes every granule of a range name `span` (null: none). Only under the pool lock. `new_leaf` maps memory of the size asked for. `false`
/// when it could not; then nothing has changed.
pub fn set(base: usize, bytes: usize, span: *mut Span, new_leaf: &mut dyn FnMut(usize) -> Option<usize>) -> bool {
    let leaf_span = GRANULE << LEAF_BITS;
    if base.checked_add(bytes).is_none_or(|end| end > ADDRESS_END) {
        return false;
    }
    let (first, last) = (base / leaf_span, (base + bytes - 1) / leaf_span);
    for slot in MAP.top.iter().take(last + 1).skip(first) {
        if slot.load(Relaxed) == 0 && !span.is_null() {
            match new_leaf(size_of::<Leaf>()) {
                Some(at) => slot.store(at.wrapping_sub(&raw const MAP as usize), Release),
                None => return false,
            }
        }
    }
    for at in (base..base + bytes).step_by(GRANULE) {
        if let Some(entry) = leaf_of(at).get(at >> GRANULE_BITS & (LEAF - 1)) {
            entry.store(span, Release);
        }
    }
    if !span.is_null() {
        LOWEST.fetch_min(base, Relaxed);
        HIGHEST.fetch_max(base + bytes, Relaxed);
    }
    true
}

/// The lowest and the highest address that a span ever had (the second is one beyond).
#[inline(always)]
pub fn bounds() -> (usize, usize) {
    (LOWEST.load(Relaxed), HIGHEST.load(Relaxed))
}
