//! Which retained blocks no word leads to: found in the snapshot's child, or in the program while it stands still.
//!
//! A retained block is *held* if a word leads into it that stands in the roots or in a block in use (whether or not anything reaches that: to be kept a retained block
//! needs no path). What is held is kept, and so is what words in kept blocks lead to, the nearest first. Any word into a block counts, tagged and interior ones too.
//! Nothing here knows CPython.
//!
//! What stands in kept blocks stays as it is as long as there is [`room`](Sweep::room): a part of the heap. Beyond it kept blocks are *emptied*: they stay, and are all zero. Else
//! freed nodes of lists and trees would keep each other in long chains, for one stale pointer into them, and would be read by every sweep: a compiler's lists
//! took 57 times the memory.

use core::sync::atomic::Ordering::Relaxed;

use super::exchange::{self, Exchange, Some64};
use super::hits::{Ahead, Hits};
use super::pace;
use crate::audit::child;
use crate::audit::frozen::Moment;
use crate::finalizers::table;
use crate::heap::{retained, vacating, view};
use crate::meta::{Array, Vector};
use crate::roots::Kinds;
use crate::roots::resident::Resident;
use crate::roots::set::{RootSet, Sources};
use crate::roots::threads::Thread;
use crate::sys::memory::GRANULE;
use crate::sys::{bits, clock};

/// The work of one sweep.
pub struct Sweep<'a> {
    exchange: &'a Exchange,
    in_place: bool,
    hits: Hits,
    /// Per span, where its words of bits begin, plus one; 0 for spans without retained blocks.
    first: Array<u32>,
    /// Retained blocks that no word is known to lead to yet.
    unreached: Array<u64>,
    /// Kept blocks to be read, those from `read` on yet.
    kept: Vector<(u32, u32)>,
    read: usize,
    /// Bytes of blocks that are kept, as far as they count towards the next sweep.
    kept_bytes: usize,
    /// Bytes of kept blocks that may yet stay as they are.
    room: usize,
    resident: Resident,
}

/// Blocks above this are asked for the pages that were ever touched.
const WORTH_ASKING_BYTES: usize = 1 << 20;

/// A sweep takes a quarter of this, and calls nobody but the kernel.
const STACK_BYTES: usize = 64 << 10;

/// In a snapshot's child: finds the retained blocks that no word leads to, writes them down and says so.
pub fn in_child(moment: &Moment<'_>, kinds: Kinds, exchange: &Exchange) {
    // SAFETY: this is the child.
    unsafe { child::set_apart() };
    child::on_a_stack_of(STACK_BYTES, &mut || exchange.finish(sweep(moment, kinds, exchange, false)));
}

/// The same in the program itself, whose other threads stand still.
pub fn in_place(moment: &Moment<'_>, kinds: Kinds, exchange: &Exchange) {
    child::on_a_stack_of(STACK_BYTES, &mut || exchange.finish(sweep(moment, kinds, exchange, true)));
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
    let stopping_ns = clock::monotonic_ns().saturating_sub(moment.started_ns);
    let mut sweep = Sweep::new(exchange, in_place)?;
    let reading_from_ns = clock::monotonic_ns();
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
        unsafe { sweep.hits.scan(root.start, root.end) };
    });
    sweep.scan_blocks_in_use();
    exchange.header.reading_ns.store(stopping_ns + clock::monotonic_ns() - reading_from_ns, Relaxed);
    sweep.keep_what_is_held();
    sweep.read_the_kept();
    sweep.write_down();
    Some(())
}

impl<'a> Sweep<'a> {
    fn new(exchange: &'a Exchange, in_place: bool) -> Option<Sweep<'a>> {
        if in_place {
            for id in 0..view::span_count() {
                retained::unmark_if_none(id);
            }
        }
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
        Some(Sweep {
            exchange,
            in_place,
            hits: Hits::new()?,
            first,
            unreached,
            // What is emptied may be read before and after.
            kept: Vector::new(2 * blocks)?,
            read: 0,
            kept_bytes: 0,
            room: pace::room_for_what_is_kept(),
            resident: Resident::of_this_process(),
        })
    }

    fn scan_blocks_in_use(&mut self) {
        let Sweep { hits, resident, .. } = self;
        let (mut ahead, mut bytes) = (Ahead::NONE, 0);
        for id in 0..view::span_count() {
            view::for_each_run_in_use(id, &mut |start, end| {
                bytes += end - start;
                // SAFETY: blocks of the heap, readable, at multiples of 16; `ahead` answers what it was given.
                unsafe {
                    if end - start < WORTH_ASKING_BYTES {
                        let (start, end) = ahead.swap(start, end);
                        hits.scan(start, end);
                    } else {
                        // What was never filled is not read page by page.
                        resident.for_each_part(start, end, &mut |start, end| hits.scan(start, end));
                    }
                }
            });
        }
        for _ in 0..Ahead::RUNS {
            let (start, end) = ahead.swap(0, 0);
            // SAFETY: as above.
            unsafe { hits.scan(start, end) };
        }
        self.exchange.header.in_use_bytes.store(bytes as u64, Relaxed);
    }

    fn keep_what_is_held(&mut self) {
        view::for_each_retaining_span(&mut |id, count| {
            let Some(span) = view::span(id) else { return };
            // Of one block there is one row of bits, however long it is.
            let (single, bytes) = (span.reciprocal == 0, span.bytes);
            if !self.hits.of_span(span.base, if single { GRANULE } else { bytes }).any() {
                return;
            }
            let first = self.first.get(id as usize).map_or(0, |&f| f as usize);
            for word in 0..count {
                let place = (first + word).wrapping_sub(1);
                let Some(&unreached) = self.unreached.get(place).filter(|bits| **bits != 0) else { continue };
                let held = if single { 1 } else { self.hits.of_span(span.base, bytes).among(word, unreached, span.block_bytes) };
                for bit in bits::set_in(held) {
                    self.keep(id, word as u32 * 64 + bit, place, true);
                }
            }
        });
    }

    /// Keeps a block that was unreached so far, whose word of bits stands at `place`. If there is no room for what stands in it, it is emptied, if it is `held`, or else not
    /// kept: `false`. What the program has not freed is kept as it is.
    fn keep(&mut self, span: u32, index: u32, place: usize, held: bool) -> bool {
        let bytes = view::span(span).map_or(0, |span| span.block_bytes);
        let is_empty = view::is_emptied(span, index);
        if view::is_condemned(span, index) {
            if held {
                self.exchange.reprieved.add(one(span, index));
            }
            self.push(span, index);
        } else if bytes > self.room && !is_empty {
            if !held {
                return false;
            }
            self.empty(span, index);
        } else if !is_empty {
            self.room -= bytes;
            self.push(span, index);
        }
        self.kept_bytes += if view::is_vacated(span) { vacating::weight(bytes) } else { bytes };
        if let Some(bits) = self.unreached.get_mut(place) {
            *bits &= !(1 << (index % 64));
        }
        true
    }

    fn push(&mut self, span: u32, index: u32) {
        self.kept.push((span, index));
    }

    /// Words in a block that is kept keep others, or the block is emptied; not one that the program has not freed.
    fn read_the_kept(&mut self) {
        self.read_on();
        if !self.in_place && !self.exchange.emptied.is_empty() {
            // Until the program has emptied them a thread may come by what stands in them, so it stays this time, with all it leads to.
            let (kept_bytes, exchange) = (self.kept_bytes, self.exchange);
            self.room = usize::MAX;
            exchange.emptied.for_each(&mut |one| self.push(one.span, one.word * 64 + one.bits.trailing_zeros()));
            self.read_on();
            self.kept_bytes = kept_bytes;
        }
    }

    fn read_on(&mut self) {
        while let Some(&(span, index)) = self.kept.get(self.read) {
            self.read += 1;
            let Some(view) = view::span(span) else { continue };
            let base = view.base + index as usize * view.block_bytes;
            let (mut fits, resident) = (true, core::mem::replace(&mut self.resident, Resident::unknown()));
            let by_use = view::is_condemned(span, index);
            // SAFETY: a retained block is readable.
            let mut read = |start: usize, end: usize| fits = fits && unsafe { self.read_words(start, end, by_use) };
            if view.block_bytes < WORTH_ASKING_BYTES {
                read(base, base + view.block_bytes);
            } else {
                resident.for_each_part(base, base + view.block_bytes, &mut read);
            }
            self.resident = resident;
            if !fits {
                self.empty(span, index);
            }
        }
    }

    /// Keeps what words of a kept block lead to, which may be `held` as by a block in use. `false`: there is no room for one.
    ///
    /// # Safety
    /// The range is readable and word-aligned.
    unsafe fn read_words(&mut self, start: usize, end: usize, held: bool) -> bool {
        let (low, high) = view::bounds();
        (start..end).step_by(8).all(|at| {
            // SAFETY: the caller's duty. Volatile: the memory belonged to the program and is typed differently there.
            let word = unsafe { core::ptr::read_volatile(at as *const usize) };
            word.wrapping_sub(low) >= high - low || self.reach(word, held)
        })
    }

    fn reach(&mut self, word: usize, held: bool) -> bool {
        let Some((span, index)) = view::resolve_retaining(word) else { return true };
        let Some(&first) = self.first.get(span as usize) else { return true };
        let place = (first as usize + index as usize / 64).wrapping_sub(1);
        let unreached = self.unreached.get(place).is_some_and(|bits| bits >> (index % 64) & 1 != 0);
        !unreached || self.keep(span, index, place, held)
    }

    /// Empties a block that is kept, or has the program do so.
    fn empty(&mut self, span: u32, index: u32) {
        let one = one(span, index);
        if self.in_place {
            // SAFETY: the program gave the block up, and its threads stand still.
            unsafe { retained::empty(one.span, one.word as usize, one.bits) };
        } else if !self.exchange.emptied.add(one) {
            // It is read after all, and all is kept this time.
            self.room = usize::MAX;
            self.push(span, index);
        }
    }

    fn write_down(&self) {
        view::for_each_retaining_span(&mut |span, count| {
            let first = self.first.get(span as usize).map_or(0, |&f| f as usize);
            for word in 0..count {
                let bits = self.unreached.get((first + word).wrapping_sub(1)).copied().unwrap_or(0);
                if bits != 0 {
                    self.exchange.blocks.add(Some64 { span, word: word as u32, bits });
                }
            }
        });
        self.exchange.header.kept_bytes.store(self.kept_bytes as u64, Relaxed);
    }
}

fn one(span: u32, index: u32) -> Some64 {
    Some64 { span, word: index / 64, bits: 1 << (index % 64) }
}
