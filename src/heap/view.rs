//! The heap as a snapshot sees it: which blocks there are, which of them are free, which one a word points into. For a child that has only
//! the calling thread, or a process whose other threads are stopped and whose heap locks are held.

use core::sync::atomic::Ordering::*;

use super::Domain;
use super::page_map;
use super::pool;
use super::remote;
use super::retained;
use super::span::{Span, TABLE, kind};
use crate::meta;
use crate::sys::bits;

/// A span in use.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanView {
    /// Address of the first block.
    pub base: usize,
    /// Bytes of the span, a multiple of a granule.
    pub bytes: usize,
    /// Bytes of each block.
    pub block_bytes: usize,
    /// Blocks 0 to below this have been handed out at some time, or are free.
    pub carved: u32,
    /// The blocks are of the object domain.
    pub objects: bool,
    /// The high half of the product of an offset in a slab and this is the block's index (see `size_class::reciprocal`). 0 for a span of one block.
    pub reciprocal: u64,
}

// SAFETY: zeros are numbers and `false`.
unsafe impl meta::Zeroed for SpanView {}

/// Span ids run from 0 to below this. Ids are dense, and those of released spans are used again.
pub fn span_count() -> u32 {
    TABLE.count()
}

/// The span `id`; `None` if there is none now.
#[inline]
pub fn span(id: u32) -> Option<SpanView> {
    let span = TABLE.get(id);
    // SAFETY: records that exist live for ever.
    let span = unsafe { span.as_ref()? };
    if span.kind.load(Acquire) == kind::UNUSED {
        return None;
    }
    Some(SpanView {
        base: span.base,
        bytes: span.bytes,
        block_bytes: span.block_bytes,
        carved: span.ready.load(Relaxed),
        objects: span.domain() == Domain::Object,
        reciprocal: span.reciprocal,
    })
}

/// The block that contains the address `word`: span id and index. A word into the unused end of a span of one block counts as in the block.
#[inline(always)]
pub fn resolve(word: usize) -> Option<(u32, u32)> {
    let (low, high) = page_map::bounds();
    if word.wrapping_sub(low) >= high.wrapping_sub(low) {
        return None;
    }
    let span = page_map::span_at(word);
    if span.is_null() {
        return None;
    }
    // SAFETY: page map entries are records, which live for ever.
    let span: &Span = unsafe { &*span };
    let index = (((word - span.base) as u128 * span.reciprocal as u128) >> 64) as u32;
    (index < span.ready.load(Relaxed)).then_some((span.id, index))
}

/// Start and end of the carved block that contains an address.
pub fn block_around(address: usize) -> Option<(usize, usize)> {
    let (id, index) = resolve(address)?;
    let view = span(id)?;
    let start = view.base + index as usize * view.block_bytes;
    Some((start, start + view.block_bytes))
}

/// The lowest address that a span ever had, and one beyond the highest. The first is larger while there has been none.
pub fn bounds() -> (usize, usize) {
    page_map::bounds()
}

/// The blocks among blocks `64 * word` and following of a slab that are not in use, as bits: those free for the owner, those that others have
/// freed, and those that are retained.
fn not_in_use(span: &Span, word: usize) -> u64 {
    let own = span.free.get(word).map_or(0, |bits| bits.load(Relaxed));
    own | remote::free_of(span, word) | retained::bits_of(span, word)
}

/// Calls `f` with the span id and index of every block that is not in use: free for the slab's owner, freed by another thread and not gathered yet, or
/// retained. Exact wherever a thread was stopped in `malloc` or `free`: a block is handed out, or becomes free, by one store.
///
/// # Safety
/// Nothing else uses the heap meanwhile.
pub unsafe fn for_each_free_block(f: &mut dyn FnMut(u32, u32)) {
    for id in 0..TABLE.count() {
        // SAFETY: records live for ever; nobody changes it meanwhile.
        let span = unsafe { &*TABLE.get(id) };
        if span.kind.load(Acquire) != kind::SLAB {
            if span.kind.load(Acquire) != kind::UNUSED && retained::bits_of(span, 0) != 0 {
                f(id, 0);
            }
            continue;
        }
        let carved = span.ready.load(Relaxed);
        for first in (0..carved).step_by(64) {
            let indices = bits::set_in(not_in_use(span, first as usize / 64)).map(|bit| first + bit);
            indices.take_while(|&index| index < carved).for_each(|index| f(id, index));
        }
    }
}

/// Calls `f(id, words)` for each span with retained blocks: their bits stand in words 0 to below `words` (see `retained`).
pub fn for_each_retaining_span(f: &mut dyn FnMut(u32, usize)) {
    for id in 0..TABLE.count() {
        // SAFETY: records live for ever.
        let span = unsafe { &*TABLE.get(id) };
        if span.kind.load(Acquire) != kind::UNUSED && span.retaining.load(Relaxed) {
            f(id, (span.ready.load(Relaxed) as usize).div_ceil(64));
        }
    }
}

/// The retained blocks among blocks `64 * word` and following of span `id`, as bits.
pub fn retained_bits(id: u32, word: usize) -> u64 {
    // SAFETY: records live for ever.
    unsafe { TABLE.get(id).as_ref() }.map_or(0, |span| retained::bits_of(span, word))
}

/// Whether block `index` of span `id` is retained and has been emptied.
#[inline]
pub fn is_emptied(id: u32, index: u32) -> bool {
    // SAFETY: records live for ever.
    unsafe { TABLE.get(id).as_ref() }.is_some_and(|span| retained::is_emptied(span, index as usize))
}

/// Whether block `index` of span `id` is retained and has not been freed by the program.
#[inline]
pub fn is_condemned(id: u32, index: u32) -> bool {
    // SAFETY: records live for ever.
    unsafe { TABLE.get(id).as_ref() }.is_some_and(|span| retained::is_condemned(span, index as usize))
}

/// Whether span `id` is that of one retained block, which has no pages any more.
pub fn is_vacated(id: u32) -> bool {
    // SAFETY: records live for ever.
    unsafe { TABLE.get(id).as_ref() }.is_some_and(|span| span.reciprocal == 0 && retained::is_vacated(span))
}

/// As [`resolve`], for words into spans that have retained blocks; `None` for all others.
#[inline(always)]
pub fn resolve_retaining(word: usize) -> Option<(u32, u32)> {
    let span = page_map::span_at(word);
    // SAFETY: page map entries are records, which live for ever.
    let span: &Span = unsafe { span.as_ref()? };
    if !span.retaining.load(Relaxed) || word >> 47 != 0 {
        return None;
    }
    let index = (((word - span.base) as u128 * span.reciprocal as u128) >> 64) as u32;
    (index < span.ready.load(Relaxed)).then_some((span.id, index))
}

/// Calls `f` with start and end of each run of neighbouring blocks of span `id` that are in use.
pub fn for_each_run_in_use(id: u32, f: &mut dyn FnMut(usize, usize)) {
    // SAFETY: records live for ever.
    let Some(span) = (unsafe { TABLE.get(id).as_ref() }) else { return };
    let what = span.kind.load(Acquire);
    if what == kind::UNUSED {
        return;
    }
    if what != kind::SLAB {
        if retained::bits_of(span, 0) == 0 {
            f(span.base, span.base + span.block_bytes);
        }
        return;
    }
    let carved = span.ready.load(Relaxed) as usize;
    let at = |index: usize| span.base + index * span.block_bytes;
    let mut run: Option<usize> = None;
    for word in 0..carved.div_ceil(64) {
        let beyond = u64::MAX.checked_shl((carved - word * 64) as u32).unwrap_or(0);
        let bits = !(not_in_use(span, word) | beyond);
        if bits == u64::MAX {
            run.get_or_insert(word * 64);
            continue;
        }
        // From one change to the next.
        let mut bit = 0;
        while bit < 64 {
            let here = bits >> bit;
            if here & 1 != 0 {
                run.get_or_insert(word * 64 + bit);
                bit += here.trailing_ones() as usize;
            } else {
                if let Some(first) = run.take() {
                    f(at(first), at(word * 64 + bit));
                }
                bit += here.trailing_zeros() as usize;
            }
        }
    }
    if let Some(first) = run {
        f(at(first), at(carved));
    }
}

/// Calls `f` with start and end of every address range that is ours: regions, blocks with mappings of their own, and the shim's own memory.
/// Ranges do not overlap. `f` must not use the heap or the shim's own memory.
pub fn for_each_own_range(f: &mut dyn FnMut(usize, usize)) {
    pool::for_each_region(f);
    for id in 0..TABLE.count() {
        let record = TABLE.get(id);
        // SAFETY: records live for ever.
        let span = unsafe { &*record };
        if span.kind.load(Acquire) == kind::HUGE {
            f(span.base, span.base + span.bytes);
        }
    }
    meta::for_each_range(f);
}

/// Start and end of the shim's own writable data: page map, tables, locks. What it holds are the shim's own pointers, so roots leave it out.
pub fn shim_static_range() -> (usize, usize) {
    unsafe extern "C" {
        /// Defined by the linker: our own ELF header.
        #[link_name = "__ehdr_start"]
        static ELF_HEADER: libc::Elf64_Ehdr;
    }
    let start = &raw const ELF_HEADER as usize;
    let (mut low, mut high) = (usize::MAX, 0);
    // SAFETY: the header and the program headers after it are mapped with our first segment.
    unsafe {
        for i in 0..ELF_HEADER.e_phnum as usize {
            let header = &*((start + ELF_HEADER.e_phoff as usize + i * size_of::<libc::Elf64_Phdr>()) as *const libc::Elf64_Phdr);
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0 {
                low = low.min(start + header.p_vaddr as usize);
                high = high.max(start + (header.p_vaddr + header.p_memsz) as usize);
            }
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap;

    #[test]
    fn every_word_into_a_block_resolves_to_it_and_none_beside_it() {
        for size in [1usize, 16, 48, 200, 1000, 5000, 60_000] {
            let block = heap::allocate(size, Domain::Object) as usize;
            let bytes = heap::usable_size(block as *mut u8);
            let first = resolve(block).unwrap();
            for at in block..block + bytes {
                assert_eq!(resolve(at), Some(first));
            }
            assert_ne!(resolve(block.wrapping_sub(1)), Some(first));
            assert_ne!(resolve(block + bytes), Some(first));
            let view = span(first.0).unwrap();
            assert_eq!(view.base + first.1 as usize * view.block_bytes, block);
            assert!(view.objects && view.block_bytes == bytes && first.1 < view.carved);
            heap::free(block as *mut u8);
        }
        for word in [0, 1, 8, usize::MAX, 1 << 47, (1 << 47) - 1, &raw const TABLE as usize] {
            assert_eq!(resolve(word), None);
        }
    }

    #[test]
    fn a_large_block_resolves_as_one() {
        for size in [100_000usize, 3 << 20, 40 << 20] {
            let block = heap::allocate(size, Domain::Raw) as usize;
            let (id, index) = resolve(block + size - 1).unwrap();
            assert_eq!((index, resolve(block), span(id).unwrap().base), (0, Some((id, 0)), block));
            heap::free(block as *mut u8);
            assert_eq!(resolve(block + size / 2), None);
        }
    }

    #[test]
    fn own_ranges_cover_blocks_and_not_the_program() {
        let blocks = [heap::allocate(10, Domain::Raw), heap::allocate(20 << 20, Domain::Raw)];
        for block in blocks {
            let mut inside = 0;
            for_each_own_range(&mut |start, end| inside += usize::from((start..end).contains(&(block as usize))));
            assert_eq!(inside, 1);
        }
        let on_the_stack = 0u8;
        for_each_own_range(&mut |start, end| assert!(!(start..end).contains(&(&raw const on_the_stack as usize))));
        blocks.into_iter().for_each(heap::free);
        let (low, high) = shim_static_range();
        assert!((low..high).contains(&(&raw const TABLE as usize)));
    }
}
