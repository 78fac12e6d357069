//! Thread caches: per thread, domain and size class, the slabs that the thread owns and that may have free blocks.
//!
//! The first state of a thread is the constant [`EMPTY`] cache, whose every slab is the constant empty one: the fast path finds no block
//! there and goes the slow way, which makes a real cache. So the fast path tests nothing.
//!
//! Cache records live for ever and are reused: 100,000 short threads need as many as ever run at one time.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

use super::Domain;
use super::abandoned;
use super::modes;
use super::size_class::{self, CLASSES, DIRECT, MAX_DIRECT_SIZE};
use super::span::Span;
use super::stacks;
use super::stamps;
use crate::meta;
use crate::sys::lock::{Ranked, rank};
use crate::sys::tls;

/// The slab without blocks. Never written.
static EMPTY_SPAN: Span = Span::unused();

/// [`EMPTY_SPAN`], as the lists hold it. Only its first word of free blocks is read, and there are none.
pub const NO_SLAB: *mut Span = &raw const EMPTY_SPAN as *mut Span;

/// See [`link`].
const MAX_WAITING_LAST_BYTES: usize = 1024;

/// With so many slabs of a class a thread has enough: of small blocks, where a slab that it adopts makes many frees cheap, and of larger ones.
const ENOUGH: [usize; 2] = [8, 2];

/// One thread's slabs.
#[repr(C, align(128))]
pub struct Cache {
    /// Per domain and 16-byte step, the slab to try first.
    pub direct: [[*mut Span; DIRECT]; 2],
    /// Per domain and class, the first of the slabs, the same as in `direct`; [`NO_SLAB`] if there are none. A list by `next`, ended by null, and by
    /// `previous`, where the first has the last.
    pub bins: [[*mut Span; CLASSES]; 2],
    /// Bytes that the thread has retained and not told of yet (see `retained`).
    pub untold_retained_bytes: usize,
    /// What decides which blocks get a stamp.
    pub stamps: stamps::Local,
    /// Whether it walks its stack.
    pub stacks: stacks::Local,
    next_unused: *mut Cache,
    next_of_all: *mut Cache,
    in_use: AtomicBool,
}

// SAFETY: a cache is used by its thread alone; the EMPTY one is never written.
unsafe impl Sync for Cache {}

const fn empty() -> Cache {
    Cache {
        direct: [[NO_SLAB; DIRECT]; 2],
        bins: [[NO_SLAB; CLASSES]; 2],
        untold_retained_bytes: 0,
        stamps: stamps::Local::NEW,
        stacks: stacks::Local::NEW,
        next_unused: null_mut(),
        next_of_all: null_mut(),
        in_use: AtomicBool::new(false),
    }
}

/// What a thread without a cache has.
static EMPTY: Cache = empty();

pub(crate) struct Caches {
    unused: *mut Cache,
    all: *mut Cache,
}

// SAFETY: the lists change only under the lock.
unsafe impl Send for Caches {}

pub(crate) static CACHES: Ranked<{ rank::CACHES }, Caches> = Ranked::new(Caches { unused: null_mut(), all: null_mut() });

/// Called each time a thread gets a cache, so that its end can be noticed. Stored as an address; 0 for none.
static ON_NEW_CACHE: AtomicUsize = AtomicUsize::new(0);

/// Sets what is called, on the thread itself, each time a thread gets a cache.
pub fn set_on_new_cache(hook: fn()) {
    ON_NEW_CACHE.store(hook as usize, Release);
}

/// The calling thread's cache; the empty one if it has none. The thread-local word is the distance from the empty one, so that its
/// first state, zero, is right.
#[inline(always)]
pub fn mine() -> *mut Cache {
    (&raw const EMPTY as usize).wrapping_add(tls::cache_word()) as *mut Cache
}

/// What stands in the spans that the calling thread owns: its thread-local word. 0, which no span has, if it has no cache.
#[inline(always)]
pub fn me() -> usize {
    tls::cache_word()
}

/// Whether the calling thread has a cache.
#[inline]
pub fn have_one() -> bool {
    tls::cache_word() != 0
}

/// The calling thread's cache, made if need be; null when out of memory.
#[cold]
pub fn mine_or_new() -> *mut Cache {
    if have_one() {
        return mine();
    }
    let mut caches = CACHES.lock();
    let mut cache = caches.unused;
    if cache.is_null() {
        match meta::permanent_within(&caches, size_of::<Cache>(), align_of::<Cache>()) {
            // SAFETY: fresh memory of the size and alignment asked for.
            Some(at) => unsafe {
                cache = at as *mut Cache;
                cache.write(empty());
                (*cache).next_of_all = caches.all;
                caches.all = cache;
            },
            None => return null_mut(),
        }
    } else {
        // SAFETY: a record on the list of unused ones; those are empty.
        caches.unused = unsafe { (*cache).next_unused };
    }
    // SAFETY: the record is ours from here on.
    unsafe { (*cache).in_use.store(true, Relaxed) };
    drop(caches);
    tls::set_cache_word((cache as usize).wrapping_sub(&raw const EMPTY as usize));
    let hook = ON_NEW_CACHE.load(Acquire);
    if hook != 0 {
        // SAFETY: only set_on_new_cache stores here, and only functions of this type. It may allocate: the cache is in place.
        unsafe { core::mem::transmute::<usize, fn()>(hook)() };
    }
    cache
}

/// Ends the calling thread's cache: empty slabs go back to the pool, the others wait to be adopted. Later calls of `malloc` on this thread
/// make a new one.
pub fn release_mine() {
    if !have_one() {
        return;
    }
    let cache = mine();
    tls::set_cache_word(0);
    for domain in [Domain::Raw, Domain::Object] {
        for class in 0..CLASSES {
            // SAFETY: the cache is ours and no longer reachable through the thread-local word; its slabs are ours.
            unsafe {
                let mut span = bin(cache, domain, class);
                set_bin(cache, domain, class, NO_SLAB);
                while !span.is_null() && span != NO_SLAB {
                    let next = (*span).next;
                    abandoned::abandon(span);
                    span = next;
                }
            }
        }
    }
    give_back(cache);
}

fn give_back(cache: *mut Cache) {
    // SAFETY: as below.
    unsafe {
        stamps::thread_ends(cache);
        stacks::thread_ends(cache);
    }
    let mut caches = CACHES.lock();
    // SAFETY: the record is empty and belongs to nobody.
    unsafe {
        (*cache).in_use.store(false, Relaxed);
        (*cache).next_unused = caches.unused;
    }
    caches.unused = cache;
}

/// Makes every request take the slow path from here on: the tables that the fast path looks into say that there are no slabs. To be called when
/// `modes` says so too. (A thread that links a slab at this moment shows it until it links another of that class: it misses some counts, no more.)
pub fn hide_direct() {
    let mut cache = CACHES.lock().all;
    while !cache.is_null() {
        // SAFETY: records live for ever; their words are read and written as a whole.
        unsafe {
            (*cache).direct = [[NO_SLAB; DIRECT]; 2];
            cache = (*cache).next_of_all;
        }
    }
}

/// In a child made by fork, which has only the calling thread: empties all other caches. Their slabs are dealt with by
/// [`abandoned::orphan_all_but`]; the lists in the dead threads' caches may be half changed and are not read.
pub fn forget_all_but_mine() {
    let mut cache = CACHES.lock().all;
    let mine = mine();
    while !cache.is_null() {
        // SAFETY: records live for ever; no other thread exists that could use one.
        unsafe {
            if cache != mine && (*cache).in_use.load(Relaxed) {
                (*cache).direct = [[NO_SLAB; DIRECT]; 2];
                (*cache).bins = [[NO_SLAB; CLASSES]; 2];
                give_back(cache);
            }
            cache = (*cache).next_of_all;
        }
    }
}

/// Whether a thread other than the calling one has a cache.
pub fn others_exist() -> bool {
    let mut cache = CACHES.lock().all;
    let mine = mine();
    while !cache.is_null() {
        // SAFETY: records live for ever.
        unsafe {
            if cache != mine && (*cache).in_use.load(Relaxed) {
                return true;
            }
            cache = (*cache).next_of_all;
        }
    }
    false
}

/// The first slab of a bin; [`NO_SLAB`] for none.
///
/// # Safety
/// `cache` is the calling thread's and not the empty one, or only read from; `class` is a class.
#[inline(always)]
pub unsafe fn bin(cache: *mut Cache, domain: Domain, class: usize) -> *mut Span {
    // SAFETY: both indices are in range.
    unsafe { (&raw mut (*cache).bins).cast::<*mut Span>().add(domain as usize * CLASSES + class).read() }
}

/// The slab to try first for a request of `size` bytes, at most `MAX_DIRECT_SIZE`.
///
/// # Safety
/// `cache` is a cache record.
#[inline(always)]
pub unsafe fn direct(cache: *mut Cache, domain: Domain, size: usize) -> *mut Span {
    // SAFETY: both indices are in range.
    unsafe {
        (&raw mut (*cache).direct).cast::<*mut Span>().add(domain as usize * DIRECT + size_class::direct_index(size)).read()
    }
}

/// Makes `span` the first slab of a bin, also for the direct table.
///
/// # Safety
/// As for [`bin`], and `span` is a slab of the class, or [`NO_SLAB`].
unsafe fn set_bin(cache: *mut Cache, domain: Domain, class: usize, span: *mut Span) {
    // SAFETY: the indices are in range; the cache belongs to the caller.
    unsafe {
        (&raw mut (*cache).bins).cast::<*mut Span>().add(domain as usize * CLASSES + class).write(span);
        let largest = size_class::block_bytes(class);
        if largest <= MAX_DIRECT_SIZE {
            let first = if class == 0 { 0 } else { size_class::direct_index(size_class::block_bytes(class - 1)) + 1 };
            // While something is noted of each block, every request takes the slow path.
            let span = if modes::hides_direct(domain) { NO_SLAB } else { span };
            let row = (&raw mut (*cache).direct).cast::<*mut Span>().add(domain as usize * DIRECT);
            for i in first..=size_class::direct_index(largest) {
                row.add(i).write(span);
            }
        }
    }
}

/// Puts a slab that the calling thread owns into its bin: first, or to wait. Slabs of small blocks wait at the end: until it is their turn, many of their
/// blocks are free, so that turns are rare. Slabs of larger blocks wait behind the first: those with few free blocks are filled again at once, and memory is saved.
///
/// # Safety
/// `cache` is the calling thread's and not the empty one; `span` is in no list.
pub unsafe fn link(cache: *mut Cache, span: *mut Span, first: bool) {
    // SAFETY: the bin's slabs and the new one belong to the calling thread.
    unsafe {
        let (domain, class) = ((*span).domain(), (*span).class as usize);
        let head = bin(cache, domain, class);
        if head == NO_SLAB {
            (*span).next = null_mut();
            (*span).previous = span;
            set_bin(cache, domain, class, span);
            return;
        }
        let last = (*head).previous;
        if first {
            (*span).next = head;
            (*span).previous = last;
            (*head).previous = span;
            set_bin(cache, domain, class, span);
            return;
        }
        let before = if (*span).block_bytes > MAX_WAITING_LAST_BYTES { head } else { last };
        let next = (*before).next;
        (*span).next = next;
        (*span).previous = before;
        (*before).next = span;
        (*if next.is_null() { head } else { next }).previous = span;
    }
}

/// Takes a slab out of the calling thread's bin.
///
/// # Safety
/// `cache` is the calling thread's, and `span` is in its bin.
pub unsafe fn unlink(cache: *mut Cache, span: *mut Span) {
    // SAFETY: as for link.
    unsafe {
        let (domain, class) = ((*span).domain(), (*span).class as usize);
        let (head, next, previous) = (bin(cache, domain, class), (*span).next, (*span).previous);
        if span != head {
            (*previous).next = next;
            (*if next.is_null() { head } else { next }).previous = previous;
        } else if next.is_null() {
            set_bin(cache, domain, class, NO_SLAB);
        } else {
            (*next).previous = previous;
            set_bin(cache, domain, class, next);
        }
    }
}

/// Whether a slab is the only one of its bin.
///
/// # Safety
/// The calling thread owns the slab, and it is in its bin.
pub unsafe fn is_only(span: *mut Span) -> bool {
    // SAFETY: the caller's duty.
    unsafe { (*span).previous == span }
}

/// Whether the calling thread need not adopt another slab like this one: it has enough, or nothing to keep it in.
///
/// # Safety
/// `span` is a slab.
pub unsafe fn has_enough(span: *mut Span) -> bool {
    if !have_one() {
        return true;
    }
    // SAFETY: the calling thread's own cache and its slabs.
    unsafe {
        let enough = ENOUGH[usize::from((*span).block_bytes > MAX_WAITING_LAST_BYTES)];
        let mut slab = bin(mine(), (*span).domain(), (*span).class as usize);
        if slab == NO_SLAB {
            return false;
        }
        for _ in 1..enough {
            slab = (*slab).next;
            if slab.is_null() {
                return false;
            }
        }
        true
    }
}
