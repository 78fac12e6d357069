//! The stacks on which blocks were allocated, and, where blocks are retained, freed.
//!
//! While stacks are kept, `malloc` takes its slow path (see `modes`), as it does for `stamps`: it walks the calling thread's stack, has the [`depot`] keep it,
//! and notes its number for the block in a [`table`]. Every block gets one; a sample would leave out most leaks. Nothing here waits for another thread, and
//! nothing is kept per thread but whether it is at it: what the walk itself makes the C library allocate, and what a signal handler allocates meanwhile, has no stack.

pub mod depot;
pub mod table;

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};

use super::cache;
use super::modes;
use super::page_map;
use super::retained;
use super::slab;
use super::span::Span;
use crate::sys::unwind;
use depot::Depot;
use table::Table;

/// Native frames kept of a stack, the innermost ones.
pub const NATIVE_FRAMES: usize = 24;

/// Python frames kept of a stack, the innermost ones; they stand behind the native ones.
pub const PYTHON_FRAMES: usize = 16;

/// In a word of a stack: it is the number of a Python frame (see `python::frames`), not an address.
pub const PYTHON_FRAME: u64 = 1 << 63;

/// One thread's part. All zero at first.
pub struct Local {
    /// A stack is being walked.
    busy: bool,
}

impl Local {
    /// A thread's first state.
    pub const NEW: Local = Local { busy: false };
}

static DEPOT: Depot = Depot::new();
static ALLOCATED: Table = Table::new();
static FREED: Table = Table::new();

/// Stacks that were to be kept and could not be, for want of room.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Native frames are kept.
static NATIVE: AtomicBool = AtomicBool::new(false);

/// Fills words with Python frames and answers how many: [`PythonWalk`], as an address; 0 for none.
static PYTHON: AtomicUsize = AtomicUsize::new(0);

/// Called in `malloc` and `free`, outside all locks; must not use the heap.
pub type PythonWalk = fn(&mut [u64]) -> usize;

/// What was noted is still true.
static TRUE: AtomicBool = AtomicBool::new(false);

/// Keeps stacks from here on: native frames, and Python frames if there is a way to find them. `false`: there is no memory for them.
pub fn start(native: bool, python: Option<PythonWalk>) -> bool {
    NATIVE.store(native, Relaxed);
    PYTHON.store(python.map_or(0, |walk| walk as usize), Relaxed);
    if !DEPOT.open() {
        return false;
    }
    TRUE.store(true, Release);
    modes::switch_on(modes::STACKS);
    cache::hide_direct();
    true
}

/// Keeps none from here on; what is known stays known.
pub fn pause() {
    modes::switch_off(modes::STACKS);
}

/// Keeps none from here on, and forgets what is known.
pub fn stop() {
    pause();
    TRUE.store(false, Release);
}

/// Whether stacks are known.
pub fn known() -> bool {
    TRUE.load(Acquire)
}

/// How many could not be kept.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Notes the stack of a new block.
///
/// # Safety
/// `block` is null, or has just been allocated and is known to nobody.
#[inline(never)]
pub unsafe fn born(block: *mut u8) {
    if block.is_null() {
        return;
    }
    // SAFETY: a block has a span, which stays while it is in use.
    unsafe {
        let span = page_map::span_at(block as usize);
        let (id, index) = ((*span).id, slab::index_at(span, block as usize).0);
        let number = number_of_mine();
        if !ALLOCATED.set(id, index, number) {
            LOST.fetch_add(1, Relaxed);
        }
        FREED.set(id, index, 0);
    }
}

/// Notes the stack on which a block is freed that stays as it is. To be called before it is set aside.
///
/// # Safety
/// `span` came from the page map for `at`.
#[cold]
#[inline(never)]
pub unsafe fn freed(span: *mut Span, at: usize) {
    // SAFETY: the caller's duty. What is no block in use is misuse, which is for others to say.
    unsafe {
        if retained::is_in_use(at) && !FREED.set((*span).id, slab::index_at(span, at).0, number_of_mine()) {
            LOST.fetch_add(1, Relaxed);
        }
    }
}

/// The numbers of the stacks on which the block in which an address lies was allocated, and freed; 0 where that is not known.
pub fn of(address: usize) -> (u32, u32) {
    let span = page_map::span_at(address);
    if !known() || span.is_null() {
        return (0, 0);
    }
    // SAFETY: page map entries are records, which live for ever.
    unsafe {
        let (id, index) = ((*span).id, slab::index_at(span, address).0);
        (ALLOCATED.get(id, index), FREED.get(id, index))
    }
}

/// The frames of a stack: return addresses, the innermost first; then Python frames.
pub fn frames(number: u32) -> (&'static [u64], &'static [u64]) {
    let words = DEPOT.sequence(number);
    words.split_at(words.iter().position(|word| word & PYTHON_FRAME != 0).unwrap_or(words.len()))
}

/// The number of a sequence that is kept for as long as the process lives; 0 if there is no room.
pub fn keep(sequence: &[u64]) -> u32 {
    DEPOT.number(sequence)
}

/// The sequence that has a number; empty for 0.
pub fn kept(number: u32) -> &'static [u64] {
    DEPOT.sequence(number)
}

/// As [`keep`], for a text. What does not fit at its end is cut off.
pub fn keep_text(text: &[u8]) -> u32 {
    let mut words = [0u64; depot::WORDS_MAX];
    let text = text.get(..text.len().min((depot::WORDS_MAX - 1) * 8)).unwrap_or(text);
    if let Some((length, rest)) = words.split_first_mut() {
        *length = text.len() as u64;
        for (word, bytes) in rest.iter_mut().zip(text.chunks(8)) {
            let mut eight = [0; 8];
            eight.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
            *word = u64::from_ne_bytes(eight);
        }
    }
    keep(words.get(..1 + text.len().div_ceil(8)).unwrap_or(&[]))
}

/// The text that has a number.
pub fn kept_text(number: u32) -> &'static [u8] {
    let Some((&length, words)) = kept(number).split_first() else { return &[] };
    // SAFETY: the bytes of the words.
    let bytes = unsafe { core::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) };
    bytes.get(..length as usize).unwrap_or(&[])
}

/// The number of the calling thread's stack; 0 if it is not to be had.
fn number_of_mine() -> u32 {
    if !cache::have_one() {
        return 0;
    }
    // SAFETY: the calling thread's own cache.
    let local = unsafe { &raw mut (*cache::mine()).stacks };
    // SAFETY: as above. A cache that ends meanwhile stays a record.
    unsafe {
        if (*local).busy {
            return 0;
        }
        (*local).busy = true;
    }
    let mut words = [0u64; NATIVE_FRAMES + PYTHON_FRAMES];
    let mut count = 0;
    if NATIVE.load(Relaxed) {
        let mut addresses = [0; NATIVE_FRAMES];
        count = unwind::walk(&mut addresses);
        words.iter_mut().zip(&addresses).for_each(|(word, &at)| *word = at as u64);
    }
    let python = PYTHON.load(Relaxed);
    if python != 0
        && let Some(rest) = words.get_mut(count..count + PYTHON_FRAMES)
    {
        // SAFETY: only start stores here, and only functions of this type.
        count += unsafe { core::mem::transmute::<usize, PythonWalk>(python)(rest) };
    }
    let number = words.get(..count).map_or(0, |words| DEPOT.number(words));
    if number == 0 && count > 0 {
        LOST.fetch_add(1, Relaxed);
    }
    // SAFETY: as above.
    unsafe { (*local).busy = false };
    number
}

/// Where a thread's cache goes to another: it walks nothing.
///
/// # Safety
/// `cache` belongs to nobody.
pub unsafe fn thread_ends(cache: *mut cache::Cache) {
    // SAFETY: the caller's duty.
    unsafe { (*cache).stacks.busy = false };
}
