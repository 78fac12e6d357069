//! The end of a full collection: what the program attached to blocks has its due before they are taken.
//!
//! In this order: links to what is lost are emptied; the finalizers of lost blocks wait to be run, and those blocks stay with all they lead to; the rest is condemned.
//! So a finalizer finds its block's links empty: who asks a link gets the block as it was before, or nothing.
//!
//! Both come to nothing if a lost referent was asked for since the snapshot: then it is in use, and so is what it leads to, which nobody here can tell from the rest that hangs
//! on links. What no link leads to is condemned all the same.

use core::sync::atomic::{AtomicU32, Ordering::*};

use super::exchange::{Exchange, Full};
use crate::finalizers::table;
use crate::heap::condemned;
use crate::weakref_hooks::links;

/// Full collections in turn that were told too late what is in use.
static IN_VAIN: AtomicU32 = AtomicU32::new(0);

/// After so many, who asks a link waits for the collection under way. Else a program that asks all the time would never have a link emptied.
const IN_VAIN_MAX: u32 = 2;

/// A full collection begins: before its snapshot.
pub fn begin() {
    links::begin_collection();
    table::begin_collection();
}

/// Ends a full collection, but for lost objects of an interpreter: those end one by one, if nobody asked for them.
pub fn settle(exchange: &Exchange, full: &Full) {
    table::end_collection(exchange.header.resurrected.load(Acquire));
    exchange.blocks.for_each(&mut |some| condemned::condemn(some.span, some.word as usize, some.bits));
    if !links::empty_unless_asked_for(&|lost| full.links.for_each(lost)) {
        IN_VAIN.fetch_add(1, Relaxed);
        return;
    }
    IN_VAIN.store(0, Relaxed);
    table::have_wait(&|lost| full.finalizers.for_each(lost));
    full.behind_links.for_each(&mut |some| condemned::condemn(some.span, some.word as usize, some.bits));
}

/// Whether who asks a link is to wait for the full collection under way first.
pub fn who_asks_waits() -> bool {
    IN_VAIN.load(Relaxed) >= IN_VAIN_MAX
}
