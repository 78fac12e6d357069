//! What a full collection takes of the blocks that were never freed: found in the snapshot's child, after the audit has told apart what is lost.

use core::sync::atomic::Ordering::*;

use super::exchange::{self, Exchange, Full, List, Some64};
use crate::audit::census::Census;
use crate::audit::frozen::Moment;
use crate::audit::settings::Settings;
use crate::audit::{Trigger, child};
use crate::finalizers::{order, table};
use crate::heap::view;
use crate::mark::blocks::{HELD, LIVE, MARKED, OBJECT, SETTLED};
use crate::mark::scan::Frontier;
use crate::mark::walk::Stop;
use crate::mark::{BlockId, Blocks, Walk};
use crate::meta::Array;
use crate::weakref_hooks::links;

/// What a lost block is that a link leads to, or a block that a link leads to: those findings that used the bit have been made.
const BEHIND_LINK: u8 = SETTLED;

/// In a snapshot's child: audits what is lost, reports it, and writes down what can be reclaimed.
///
/// Lost objects of an interpreter are never torn out of it: only the heads of leaks are written down, whose references that nobody holds the program
/// then drops. What hangs on them, native memory too, their destructors free. So native blocks are condemned only if no lost object leads to them.
pub fn in_child(moment: &Moment<'_>, settings: &'static Settings, exchange: &Exchange) {
    child::main(moment, Trigger::Collection, &exchange.handoff, settings, &mut |census| {
        let state = match exchange.full.as_ref().and_then(|full| write_down(census, exchange, full)) {
            Some(()) => exchange::FOUND,
            None => exchange::REFUSED,
        };
        exchange.finish(state);
    });
}

fn write_down(census: &mut Census, exchange: &Exchange, full: &Full) -> Option<()> {
    for &head in census.heads.all() {
        full.heads.add(head);
    }
    spare_what_objects_hold(census)?;
    count_bytes(census, exchange);
    note_what_was_finalized(census, exchange);
    find_lost_referents(census, full)?;
    spare_what_is_to_be_finalized(census, full)?;
    list(census, 0, &exchange.blocks);
    list(census, BEHIND_LINK, &full.behind_links);
    Some(())
}

/// Writes down the lost native blocks that nothing spares, of those that links lead to or of the others.
fn list(census: &Census, behind_link: u8, to: &List<Some64>) {
    let mut open: Option<Some64> = None;
    let mut walk = Walk::over(LIVE | MARKED | OBJECT | HELD | BEHIND_LINK, LIVE | behind_link);
    while let Some(Stop { base, .. }) = walk.next(&census.blocks) {
        let Some((span, index)) = view::resolve(base) else { continue };
        let (word, bit) = (index / 64, 1u64 << (index % 64));
        match &mut open {
            Some(entry) if entry.span == span && entry.word == word => entry.bits |= bit,
            _ => {
                if let Some(entry) = open.replace(Some64 { span, word, bits: bit }) {
                    to.add(entry);
                }
            }
        }
    }
    if let Some(entry) = open {
        to.add(entry);
    }
}

fn count_bytes(census: &Census, exchange: &Exchange) {
    let (mut reached, mut lost) = (0, 0);
    let mut live = Walk::over(LIVE, LIVE);
    while let Some(Stop { id, bytes, .. }) = live.next(&census.blocks) {
        *(if census.blocks.state(id) & MARKED != 0 { &mut reached } else { &mut lost }) += bytes as u64;
    }
    exchange.header.reached_bytes.store(reached, Relaxed);
    exchange.header.lost_bytes.store(lost, Relaxed);
}

fn note_what_was_finalized(census: &Census, exchange: &Exchange) {
    let mut reached = 0;
    table::for_each_finalized(&mut |block| {
        let hit = census.blocks.resolve(block);
        reached += u64::from(hit.is_some_and(|hit| census.blocks.state(hit.id) & MARKED != 0));
    });
    exchange.header.resurrected.store(reached, Relaxed);
}

fn is_lost_native(blocks: &Blocks, id: BlockId) -> bool {
    blocks.state(id) & (LIVE | MARKED | OBJECT) == LIVE
}

/// Marks [`HELD`] exactly those lost native blocks that a lost object leads to: it will free them, or is waiting for the cycle collector to have it do so.
fn spare_what_objects_hold(census: &mut Census) -> Option<()> {
    let mut frontier = Frontier::new(&census.blocks)?;
    for bit in [HELD, BEHIND_LINK] {
        let mut walk = Walk::over(bit, bit);
        while let Some(Stop { id, .. }) = walk.next(&census.blocks) {
            census.blocks.clear(id, bit);
        }
    }
    let mut lost = Walk::over(LIVE | MARKED, LIVE);
    while let Some(Stop { id, span, index, .. }) = lost.next(&census.blocks) {
        if census.blocks.state(id) & OBJECT != 0 {
            frontier.push(span, index);
            spread(census, &mut frontier, HELD);
        }
    }
    Some(())
}

/// Marks all lost native blocks that those of the frontier lead to.
fn spread(census: &mut Census, frontier: &mut Frontier, bit: u8) {
    while let Some((span, index)) = frontier.pop() {
        let (base, bytes) = census.blocks.extent_in(span, index);
        let Some(from) = census.blocks.resolve(base) else { continue };
        census.for_each_target(from.id, base, bytes, &mut |census, id, span, index| {
            if is_lost_native(&census.blocks, id) && census.blocks.state(id) & bit == 0 {
                census.blocks.set(id, bit);
                frontier.push(span, index);
            }
        });
    }
}

/// Writes down the links whose referents are lost, and marks what they lead to. A referent that a lost object leads to ends with that object, and its links then.
/// `None` without memory, or if there is no room for a link.
fn find_lost_referents(census: &mut Census, full: &Full) -> Option<()> {
    let mut frontier = Frontier::new(&census.blocks)?;
    let mut all = true;
    links::for_each(&mut |link, block| {
        let Some(hit) = census.blocks.resolve(block) else { return };
        let state = census.blocks.state(hit.id);
        if !is_lost_native(&census.blocks, hit.id) || state & HELD != 0 {
            return;
        }
        all &= full.links.add(link);
        if state & BEHIND_LINK == 0 {
            census.blocks.set(hit.id, BEHIND_LINK);
            frontier.push(hit.span, hit.index);
        }
    });
    spread(census, &mut frontier, BEHIND_LINK);
    all.then_some(())
}

/// Writes down the lost blocks with finalizers, in their order. They stay, and so does what they lead to.
fn spare_what_is_to_be_finalized(census: &mut Census, full: &Full) -> Option<()> {
    let mut blocks = Array::<usize>::new(table::count())?;
    let mut count = 0;
    table::for_each(&mut |block| {
        if let Some(slot) = blocks.get_mut(count) {
            *slot = block;
            count += 1;
        }
    });
    let candidates = blocks.get_mut(..count)?;
    let ordered = order::settle(&mut census.blocks, candidates, &is_lost_native)?;
    candidates.iter().take(ordered).for_each(|&block| _ = full.finalizers.add(block));
    Some(())
}
