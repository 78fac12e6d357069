//! Which retained blocks no word leads to: found in the snapshot's child, or in the program while it stands still.
//!
//! Words that count stand in the roots, in all blocks in use (whether or not anything reaches them: to be kept a retained block needs no path), and in retained
//! blocks that are themselves kept. Any word into a block keeps it, tagged and interior ones too. Nothing here knows CPython.

use super::exchange::{self, Exchange, Some64};
use crate::audit::child;
use crate::audit::frozen::Moment;
use crate::finalizers::table;
use crate::heap::view;
use crate::meta::Array;
use crate::roots::Kinds;
use crate::roots::resident::Resident;
use crate::roots::set::{RootSet, Sources};
use crate::roots::threads::Thread;

/// The work of one child.
pub struct Sweep {
    /// Per span, where its words of bits begin, plus one; 0 for spans without retained blocks.
    first: Array<u32>,
    /// Retained blocks that no word is known to lead to yet.
    unreached: Array<u64>,
    /// Reached and not yet read.
    frontier: Array<(u32, u32)>,
    waiting: usize,
    resident: Resident,
}

/// Blocks above this are asked for the pages that were ever touched.
const WORTH_ASKING_BYTES: usize = 1 << 20;

/// In a snapshot's child: finds the retained blocks that no word leads to, writes them down and says so.
pub fn in_child(moment: &Moment<'_>, kinds: Kinds, exchange: &Exchange) {
    // SAFETY: this is the child.
    unsafe { child::set_apart() };
    child::on_a_large_stack(&mut || exchange.finish(sweep(moment, kinds, exchange, false)));
}

/// The same in the program itself, whose other threads stand still.
pub fn in_place(moment: &Moment<'_>, kinds: Kinds, exchange: &Exchange) {
    child::on_a_large_stack(&mut || exchange.finish(sweep(moment, kinds, exchange, true)));
}

fn sweep(moment: &Moment<'_>, kinds: Kinds, exchange: &Exchange, in_place: bool) -> u32 {
    match find_reusable(moment, kinds, exchange, in_place) {
        Some(()) => exchange::FOUND,
        None => exchange::REFUSED,
    }
}

fn find_reusable(moment: &Moment<'_>, kinds: Kinds, exchange: &Exchange, in_place: bool) -> Option<()> {
    // A thread whose registers are not known may hold the only word.
    if moment.world.not_stopped > 0 || !moment.world.listed {
        return None;
    }
    let mut sweep = Sweep::new()?;
    let sources = Sources {
        modules: moment.modules,
        control: moment.control,
        shim_address: in_child as *const () as usize,
        kinds,
        stale: &[],
        added: moment.added,
        told: &|range| table::for_each_root(range),
        in_place,
    };
    let own = |each: &mut dyn FnMut(usize, usize)| view::for_each_own_range(each);
    let threads = |each: &mut dyn FnMut(Thread)| moment.for_each_thread(each);
    let roots = RootSet::build(&sources, &own, &threads)?;
    if roots.maps_unreadable || roots.left_out > 0 {
        return None;
    }
    roots.for_each_part(&mut |root| {
        // SAFETY: a readable mapping of this process, from its own list.
        unsafe { sweep.scan(root.start, root.end) };
    });
    sweep.scan_blocks_in_use();
    sweep.read_the_kept();
    sweep.write_down(exchange);
    Some(())
}

impl Sweep {
    fn new() -> Option<Sweep> {
        let mut words = 0;
        let mut blocks = 0;
        let mut first = Array::<u32>::new(view::span_count() as usize)?;
        view::for_each_retaining_span(&mut |id, count| {
            if let Some(slot) = first.get_mut(id as usize) {
                *slot = words as u32 + 1;
                words += count;
            }
        });
        let mut unreached = Array::<u64>::new(words)?;
        view::for_each_retaining_span(&mut |id, count| {
            let at = first.get(id as usize).map_or(0, |&f| f as usize);
            for word in 0..count {
                let bits = view::retained_bits(id, word);
                blocks += bits.count_ones() as usize;
                if let Some(slot) = unreached.get_mut((at + word).wrapping_sub(1)) {
                    *slot = bits;
                }
            }
        });
        Some(Sweep { first, unreached, frontier: Array::new(blocks)?, waiting: 0, resident: Resident::open() })
    }

    /// Reads the words from `start` to `end`.
    ///
    /// # Safety
    /// The range is readable and word-aligned.
    unsafe fn scan(&mut self, start: usize, end: usize) {
        let (low, high) = view::bounds();
        let mut at = start;
        while at < end {
            // SAFETY: the caller's duty. Volatile: the memory belongs to the program and is typed differently there.
            let word = unsafe { core::ptr::read_volatile(at as *const usize) };
            if word.wrapping_sub(low) < high - low
                && let Some((span, index)) = view::resolve_retaining(word)
            {
                self.reach(span, index);
            }
            at += 8;
        }
    }

    #[inline]
    fn reach(&mut self, span: u32, index: u32) {
        let Some(&first) = self.first.get(span as usize) else { return };
        let Some(bits) = self.unreached.get_mut((first as usize + index as usize / 64).wrapping_sub(1)) else { return };
        let bit = 1 << (index % 64);
        if *bits & bit != 0 {
            *bits &= !bit;
            if let Some(slot) = self.frontier.get_mut(self.waiting) {
                *slot = (span, index);
                self.waiting += 1;
            }
        }
    }

    fn scan_blocks_in_use(&mut self) {
        for id in 0..view::span_count() {
            view::for_each_run_in_use(id, &mut |start, end| {
                // SAFETY: blocks of the heap, readable, at multiples of 16.
                unsafe { self.scan_block(start, end) };
            });
        }
    }

    /// As [`Sweep::scan`]; a large block that was never filled is not read page by page.
    unsafe fn scan_block(&mut self, start: usize, end: usize) {
        if end - start < WORTH_ASKING_BYTES {
            // SAFETY: the caller's.
            return unsafe { self.scan(start, end) };
        }
        let resident = core::mem::replace(&mut self.resident, Resident::unknown());
        // SAFETY: parts of the caller's range.
        resident.for_each_part(start, end, &mut |start, end| unsafe { self.scan(start, end) });
        self.resident = resident;
    }

    /// Words in a block that is kept keep others.
    fn read_the_kept(&mut self) {
        while let Some(at) = self.waiting.checked_sub(1) {
            self.waiting = at;
            let Some(&(span, index)) = self.frontier.get(at) else { return };
            if let Some(view) = view::span(span) {
                let base = view.base + index as usize * view.block_bytes;
                // SAFETY: a retained block is readable.
                unsafe { self.scan_block(base, base + view.block_bytes) };
            }
        }
    }

    fn write_down(&self, exchange: &Exchange) {
        let mut kept_bytes = 0;
        view::for_each_retaining_span(&mut |span, count| {
            let first = self.first.get(span as usize).map_or(0, |&f| f as usize);
            let block_bytes = view::span(span).map_or(0, |v| v.block_bytes);
            for word in 0..count {
                let bits = self.unreached.get((first + word).wrapping_sub(1)).copied().unwrap_or(0);
                let kept = view::retained_bits(span, word) & !bits;
                kept_bytes += kept.count_ones() as usize * block_bytes;
                if bits != 0 {
                    exchange.blocks.add(Some64 { span, word: word as u32, bits });
                }
            }
        });
        exchange.header.kept_bytes.store(kept_bytes as u64, core::sync::atomic::Ordering::Relaxed);
    }
}
