//! What a full collection takes of the blocks that were never freed: found in the snapshot's child, after the audit has told apart what is lost.

use core::sync::atomic::Ordering::*;

use super::exchange::{self, Exchange, Reusable};
use crate::audit::census::Census;
use crate::audit::frozen::Moment;
use crate::audit::settings::Settings;
use crate::audit::{Trigger, child};
use crate::heap::view;
use crate::mark::blocks::{HELD, LIVE, MARKED, OBJECT};
use crate::mark::scan::Frontier;
use crate::mark::walk::Stop;
use crate::mark::{BlockId, Blocks, Walk};

/// In a snapshot's child: audits what is lost, reports it, and writes down what can be reclaimed.
///
/// Lost objects of an interpreter are never torn out of it: only the heads of leaks are written down, whose references that nobody holds the program
/// then drops. What hangs on them, native memory too, their destructors free. So native blocks are condemned only if no lost object leads to them.
pub fn in_child(moment: &Moment<'_>, settings: &'static Settings, exchange: &Exchange) {
    child::main(moment, Trigger::Collection, &exchange.handoff, settings, &mut |census| {
        let state = match write_down(census, exchange) {
            Some(()) => exchange::FOUND,
            None => exchange::REFUSED,
        };
        exchange.finish(state);
    });
}

fn write_down(census: &mut Census, exchange: &Exchange) -> Option<()> {
    for &head in census.heads.all() {
        exchange.add_head(head);
    }
    spare_what_objects_hold(census)?;
    count_bytes(census, exchange);
    let mut open: Option<Reusable> = None;
    let mut spared_by_nobody = Walk::over(LIVE | MARKED | OBJECT | HELD, LIVE);
    while let Some(Stop { base, .. }) = spared_by_nobody.next(&census.blocks) {
        let Some((span, index)) = view::resolve(base) else { continue };
        let (word, bit) = (index / 64, 1u64 << (index % 64));
        match &mut open {
            Some(entry) if entry.span == span && entry.word == word => entry.bits |= bit,
            _ => {
                if let Some(entry) = open.replace(Reusable { span, word, bits: bit }) {
                    exchange.add(entry);
                }
            }
        }
    }
    if let Some(entry) = open {
        exchange.add(entry);
    }
    Some(())
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

fn is_lost_native(blocks: &Blocks, id: BlockId) -> bool {
    blocks.state(id) & (LIVE | MARKED) == LIVE && blocks.state(id) & OBJECT == 0
}

/// Marks [`HELD`] exactly those lost native blocks that a lost object leads to: it will free them, or is waiting for the cycle collector to have it do so.
fn spare_what_objects_hold(census: &mut Census) -> Option<()> {
    let mut frontier = Frontier::new(&census.blocks)?;
    let mut held = Walk::over(HELD, HELD);
    while let Some(Stop { id, .. }) = held.next(&census.blocks) {
        census.blocks.clear(id, HELD);
    }
    let mut lost = Walk::over(LIVE | MARKED, LIVE);
    while let Some(Stop { id, span, index, .. }) = lost.next(&census.blocks) {
        if census.blocks.state(id) & OBJECT == 0 {
            continue;
        }
        frontier.push(span, index);
        while let Some((span, index)) = frontier.pop() {
            let (base, bytes) = census.blocks.extent_in(span, index);
            let Some(from) = census.blocks.resolve(base) else { continue };
            census.for_each_target(from.id, base, bytes, &mut |census, id, span, index| {
                if is_lost_native(&census.blocks, id) && census.blocks.state(id) & HELD == 0 {
                    census.blocks.set(id, HELD);
                    frontier.push(span, index);
                }
            });
        }
    }
    Some(())
}
