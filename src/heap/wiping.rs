//! Blocks are wiped when they are handed out, in programs with objects and where blocks are retained: what stood there would be found again, and keep alive what nobody
//! holds.
//!
//! A block is in use before it is wiped, so a snapshot that stops its thread in between finds the old words there. That is one block per thread,
//! and never that of a thread that waits for the interpreter's lock.

use core::sync::atomic::{AtomicBool, Ordering::*};

use super::pool;
use super::slab;
use super::span::{Span, TABLE, kind};

/// Larger blocks are wiped by the C library.
const MAX_WIPED_INLINE_BYTES: usize = 256;

/// Whether blocks of new slabs are wiped. Changes under the pool lock.
static WANTED: AtomicBool = AtomicBool::new(false);

/// Whether blocks of a slab that is made now are wiped. Ask under the pool lock.
pub fn wanted() -> bool {
    WANTED.load(Relaxed)
}

/// Has what a slab's block held forgotten when it is handed out again, from here on. It would else be found in the new block as far as that is not written to, and
/// keep alive, for an audit, what nobody holds. Arrays of objects, for one, are often larger than what is in them.
///
/// A freed block keeps what stands in it until then: programs that still look at what they freed (CPython until 3.13 at a thread's state when daemon threads outlive
/// the interpreter, gh-124878) find it as they do with other allocators.
pub fn from_now_on() {
    let _pool = pool::POOL.lock();
    WANTED.store(true, Relaxed);
    for id in 0..TABLE.count() {
        // SAFETY: records live for ever, and describe something else only under the lock.
        let span = unsafe { &*TABLE.get(id) };
        if span.kind.load(Relaxed) == kind::SLAB {
            span.wiped_bytes.store(span.block_bytes as u32, Relaxed);
        }
    }
}

/// A block that has just been taken, with what stood in it forgotten if blocks of the slab are to be wiped.
///
/// # Safety
/// The calling thread owns the slab, and nobody else has the block.
#[inline(always)]
pub unsafe fn wiped(span: *mut Span, block: usize) -> *mut u8 {
    // SAFETY: the caller's duty.
    unsafe {
        let bytes = (*span).wiped_bytes.load(Relaxed) as usize;
        if bytes == 0 {
            return block as *mut u8;
        }
        if bytes > MAX_WIPED_INLINE_BYTES {
            let same = wipe_large(span, block);
            core::hint::assert_unchecked(!same.is_null());
            return same;
        }
        wipe_inline(block, bytes);
        block as *mut u8
    }
}

/// Forgets what stood in a larger block that has just been taken, and returns it. One that nobody has had yet is zero and stays untouched:
/// not all of a large one need ever be written to.
///
/// # Safety
/// The calling thread owns the slab, and nobody else has the block.
#[inline(never)]
unsafe fn wipe_large(span: *mut Span, block: usize) -> *mut u8 {
    // SAFETY: the caller's duty.
    unsafe {
        let index = slab::index_at(span, block).0 as u16;
        if index < (*span).untouched.load(Relaxed) {
            libc::memset(block as *mut libc::c_void, 0, (*span).block_bytes);
        } else {
            // Blocks are carved in order, and the lowest of a word is taken first: those that nobody has had are the last. A signal
            // handler may have taken a later one since.
            (*span).untouched.fetch_max(index + 1, Relaxed);
        }
    }
    block as *mut u8
}

/// Forgets what stands in a block behind its first `size` bytes, which are all that is asked of it from now on, if blocks of the slab are
/// to be wiped (see [`from_now_on`]).
///
/// # Safety
/// The block is the caller's and has as many bytes.
pub unsafe fn wipe_behind(span: *mut Span, block: usize, size: usize) {
    // SAFETY: the caller's duty; a span that is no slab has no bytes to wipe.
    unsafe {
        let bytes = (*span).wiped_bytes.load(Relaxed) as usize;
        if size < bytes {
            libc::memset((block + size) as *mut libc::c_void, 0, bytes - size);
        }
    }
}

/// Zeroes a few bytes, none or a multiple of 16. Stores that overlap cost less than a loop whose length changes from call to call.
///
/// # Safety
/// Nobody uses the bytes.
#[inline(always)]
unsafe fn wipe_inline(block: usize, bytes: usize) {
    // SAFETY: the caller's duty; volatile, because the compiler would make a call of memset of it.
    let zero = |at: usize| unsafe { ((block + at) as *mut Line).write_volatile(core::mem::zeroed()) };
    if bytes == 0 {
        return;
    }
    // The last of them starts here.
    let last = bytes - LINE;
    if bytes <= 4 * LINE {
        zero(0);
        zero((last | last >> 1) & LINE);
        zero(last & (2 * LINE));
        zero(last);
    } else if bytes <= 8 * LINE {
        (0..4).for_each(|line| zero(line * LINE));
        (0..4).for_each(|line| zero(last - line * LINE));
    } else {
        let mut at = 0;
        while at < bytes {
            zero(at);
            at += LINE;
        }
    }
}

/// Bytes of a [`Line`].
const LINE: usize = size_of::<Line>();

/// What is wiped by one store.
#[cfg(target_arch = "x86_64")]
type Line = core::arch::x86_64::__m128i;
/// What is wiped by one store, or two.
#[cfg(not(target_arch = "x86_64"))]
type Line = u128;

#[cfg(test)]
mod tests {
    use crate::heap::{Domain, allocate, free, reallocate, usable_size};

    fn words<'a>(block: *mut u8) -> &'a mut [usize] {
        // SAFETY: a block of the test's.
        unsafe { core::slice::from_raw_parts_mut(block.cast(), usable_size(block) / 8) }
    }

    /// How many of these blocks lie in the ranges, all of which must be wiped. (Other tests freed blocks before wiping began.)
    fn wiped_in(blocks: &[*mut u8], ranges: &[(usize, usize)]) -> usize {
        let inside = blocks.iter().filter(|&&block| ranges.iter().any(|&(low, high)| (low..high).contains(&(block as usize))));
        inside.inspect(|&&block| assert!(words(block).iter().all(|&word| word == 0))).count()
    }

    fn filled<const N: usize>(size: usize) -> [*mut u8; N] {
        [(); N].map(|()| {
            let block = allocate(size, Domain::Object);
            words(block).fill(7);
            block
        })
    }

    #[test]
    fn nothing_old_is_found_in_a_block_once_freed_blocks_are_wiped() {
        let early: [_; 3] = filled(40);
        super::from_now_on();
        early.into_iter().for_each(free);
        for size in [1usize, 16, 40, 200, 256, 257, 1000, 5000, 60_000] {
            let before: [_; 300] = filled(size);
            let ranges = before.map(|block| (block as usize, block as usize + 1));
            std::thread::spawn(move || ranges.iter().step_by(2).for_each(|&(at, _)| free(at as *mut u8))).join().unwrap();
            before.into_iter().skip(1).step_by(2).for_each(free);
            // What other tests have freed may be taken first.
            let (mut after, mut again) = (Vec::new(), 0);
            while again <= 100 && after.len() * size < 1 << 30 {
                let some = [(); 1000].map(|()| allocate(size, Domain::Object));
                again += wiped_in(&some, &ranges);
                after.extend(some);
            }
            assert!(again > 100, "{size}: {again}");
            after.into_iter().for_each(free);
        }
    }

    #[test]
    fn a_freed_block_keeps_what_stands_in_it_until_it_is_handed_out() {
        super::from_now_on();
        for size in [40usize, 1000, 5000] {
            let blocks: [_; 30] = filled(size);
            // Slabs stay mapped while others of their blocks are in use.
            let kept = |block: *mut u8| {
                // SAFETY: words of a slab, read as a program may that errs.
                assert!((0..size / 8).all(|at| unsafe { block.cast::<usize>().add(at).read_volatile() } == 7), "{size}")
            };
            free(blocks[0]);
            kept(blocks[0]);
            let theirs = blocks[1] as usize;
            std::thread::spawn(move || free(theirs as *mut u8)).join().unwrap();
            kept(blocks[1]);
            blocks.into_iter().skip(2).for_each(free);
        }
    }

    #[test]
    fn what_is_asked_for_as_zero_is_zero_where_blocks_are_wiped() {
        super::from_now_on();
        for size in [24usize, 1000, 5000] {
            filled::<300>(size).into_iter().for_each(free);
            let blocks = [(); 300].map(|()| crate::heap::allocate_zeroed(size, Domain::Raw));
            assert!(blocks.iter().all(|&block| words(block)[..size / 8].iter().all(|&word| word == 0)), "{size}");
            blocks.into_iter().for_each(free);
        }
    }

    #[test]
    fn a_slab_where_a_large_block_was_is_wiped() {
        super::from_now_on();
        let large = allocate(600_000, Domain::Raw);
        words(large).fill(7);
        free(large);
        let range = (large as usize, large as usize + 600_000);
        // What is free elsewhere is taken first.
        let blocks = [(); 20_000].map(|()| allocate(3000, Domain::Object));
        assert!(wiped_in(&blocks, &[range]) > 0);
        blocks.into_iter().for_each(free);
    }

    #[test]
    fn what_a_block_loses_where_it_stands_is_wiped_and_the_rest_stays() {
        super::from_now_on();
        for (size, less) in [(64, 24), (256, 136), (1024, 704)] {
            let block = allocate(size, Domain::Raw);
            words(block).fill(7);
            let same = reallocate(block, less, Domain::Raw);
            assert_eq!(same, block);
            for (at, &word) in words(same).iter().enumerate() {
                assert_eq!(word != 0, at * 8 < less, "{size} to {less}, at {at}");
            }
            free(same);
        }
    }

    #[test]
    fn each_byte_of_a_small_block_is_wiped_and_none_behind_it() {
        for bytes in (0..=super::MAX_WIPED_INLINE_BYTES).step_by(16) {
            let mut room = [1u128; 20];
            // SAFETY: room of the test's.
            unsafe { super::wipe_inline(room.as_mut_ptr() as usize, bytes) };
            assert!(room.iter().enumerate().all(|(at, &line)| (line == 0) == (at * 16 < bytes)), "{bytes}");
        }
    }
}
