//! What no root reaches: leaks, garbage, and how to tell them apart.
//!
//! In this order, each step taking what the one before left:
//! 1. objects whose count exceeds the words that name them are heads of leaks; what they lead to goes under them;
//! 2. native blocks that nothing unreachable points into are leaked blocks; what they lead to goes under them;
//! 3. what is left of objects holds itself in cycles (`cycles`);
//! 4. what is left of native blocks points at itself in circles.

use super::census::{Census, Head};
use super::findings::{Key, example};
use super::known;
use crate::finalizers::refcount_validator::{Numbers, Verdict};
use crate::heap::stacks;
use crate::mark::blocks::{DEAD, HELD, LIVE, MARKED, OBJECT, SETTLED, WANTED};
use crate::mark::scan::Frontier;
use crate::mark::walk::Stop;
use crate::mark::{BlockId, Opaque, Parts, Shapes, Walk};
use crate::python::objects::Model;
use crate::python::types::{OB_TYPE, read};

/// During the classification: the head of a finding whose kin is still to be settled. Examples are marked later.
pub(super) const HEAD: u8 = WANTED;

impl Census {
    /// Classifies everything unreachable.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub unsafe fn classify_lost(&mut self) -> Option<()> {
        let mut frontier = Frontier::new(&self.blocks)?;
        self.leaked_objects(&mut frontier);
        let mut left = None;
        self.leaked_blocks(&mut frontier, &mut left, false);
        // SAFETY: the caller's.
        unsafe { self.cycles(&mut frontier)? };
        self.leaked_blocks(&mut frontier, &mut left, true);
        Some(())
    }

    /// A walk over what is unreachable and under no finding yet, when it comes to it.
    pub(super) fn lost(&self) -> Walk {
        Walk::over(LIVE | MARKED | SETTLED, LIVE)
    }

    pub(super) fn is_lost(&self, id: BlockId) -> bool {
        self.blocks.state(id) & (LIVE | MARKED | SETTLED) == LIVE
    }

    pub(super) fn is_lost_object(&self, id: BlockId) -> bool {
        let state = self.blocks.state(id);
        state & (LIVE | MARKED | SETTLED) == LIVE && state & OBJECT != 0 && state & DEAD == 0
    }

    fn leaked_objects(&mut self, frontier: &mut Frontier) {
        // All heads first, so that a head held by another head stays a head.
        let mut next = 0;
        while let Some(id) = self.with_surplus.get(next) {
            next += 1;
            let (base, bytes) = self.blocks.extent(id);
            let Some(object) = self.blocks.object(id, base) else { continue };
            let Some(numbers) = self.numbers(id, object) else { continue };
            if self.is_lost_object(id) && numbers.surplus() > 0 || numbers.is_lost() {
                let unreached = self.blocks.state(id) & MARKED == 0;
                // Reached, if at all, by a word into its middle: nobody has its address.
                self.blocks.clear(id, MARKED);
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                let known =
                    self.model.as_ref().map_or(0, |m| known::find(m, Verdict::LeakedObject, object, numbers.surplus(), 0));
                if unreached && known == 0 {
                    // SAFETY: an object.
                    let header = unsafe { [read(object), type_address] };
                    self.heads.add(Head { object, block: base, header, surplus: numbers.surplus() });
                }
                let key = Key { type_address, known, made: stacks::of(base).0, ..Key::default() };
                self.findings.add(
                    Verdict::LeakedObject,
                    key,
                    false,
                    numbers.surplus(),
                    bytes as u64,
                    example(object, id, numbers),
                );
                self.blocks.set(id, SETTLED | HEAD);
            }
        }
        next = 0;
        while let Some(id) = self.with_surplus.get(next) {
            next += 1;
            if self.blocks.state(id) & HEAD != 0 && self.blocks.state(id) & (LIVE | MARKED) == LIVE {
                let Some(object) = self.blocks.object_of(id) else { continue };
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                let made = self.blocks.extent(id).0;
                let key = Key { type_address, made: stacks::of(made).0, ..Key::default() };
                let at = self.findings.all().iter().position(|f| f.verdict() == Verdict::LeakedObject && f.key == key);
                self.blocks.clear(id, HEAD);
                self.settle_from(id, frontier, at);
            }
        }
    }

    /// Settles everything unreachable that a block leads to, and counts it under a finding.
    pub(super) fn settle_from(&mut self, id: BlockId, frontier: &mut Frontier, finding: Option<usize>) {
        let (span, index) = self.blocks.place(id);
        self.blocks.set(id, SETTLED);
        frontier.push(span, index);
        while let Some((span, index)) = frontier.pop() {
            let (base, bytes) = self.blocks.extent_in(span, index);
            let Some(from) = self.blocks.resolve(base) else { continue };
            self.for_each_target(from.id, base, bytes, &mut |census, id, span, index| {
                if census.is_lost(id) {
                    census.blocks.set(id, SETTLED);
                    frontier.push(span, index);
                    census.count_through(id, finding);
                }
            });
        }
    }

    fn count_through(&mut self, id: BlockId, finding: Option<usize>) {
        let (base, bytes) = self.blocks.extent(id);
        let dead = self.blocks.state(id) & DEAD != 0;
        let object = self.blocks.object(id, base).filter(|_| !dead);
        // SAFETY: an object.
        let type_address = object.map(|o| unsafe { read(o + OB_TYPE) });
        if let Some(finding) = finding.and_then(|at| self.findings.all_mut().get_mut(at)) {
            finding.bytes += bytes as u64;
            if let Some(type_address) = type_address {
                finding.add_through(type_address);
            }
        }
    }

    /// Calls `target` for each live block that the strong words of a block lead to.
    pub fn for_each_target(
        &mut self,
        id: BlockId,
        base: usize,
        bytes: usize,
        target: &mut dyn FnMut(&mut Census, BlockId, u32, u32),
    ) {
        self.parts(id, base, bytes).for_each_stretch(&mut |start, end| {
            for at in (start..end).step_by(8) {
                // SAFETY: inside a live block.
                let word = unsafe { read(at) };
                if let Some(hit) = self.blocks.resolve(word) {
                    let weak = self.model.as_ref().is_some_and(|m| m.is_weak(&self.blocks, hit));
                    if !weak && hit.id != id {
                        target(self, hit.id, hit.span, hit.index);
                    }
                }
            }
        });
    }

    /// Which words of a block count.
    pub fn parts(&self, id: BlockId, base: usize, bytes: usize) -> Parts {
        match &self.model {
            Some(model) => Parts::of(model, &self.blocks, id, base, bytes),
            None => Parts::of(&Opaque, &self.blocks, id, base, bytes),
        }
    }

    /// `left` has the instances that a known defect can be about, as soon as one may be.
    fn leaked_blocks(&mut self, frontier: &mut Frontier, left: &mut Option<u64>, held_too: bool) {
        let mut lost = self.lost();
        while let Some(Stop { id, base, bytes, .. }) = lost.next(&self.blocks) {
            let state = self.blocks.state(id);
            if state & OBJECT != 0 || (state & HELD != 0 && !held_too) {
                continue;
            }
            let known = self.model.as_ref().map_or(0, |model| {
                known::find_block(model, base, bytes, &mut |name| {
                    let left = left.get_or_insert_with(|| self.instances_of(model, name));
                    core::mem::replace(left, left.saturating_sub(1)) > 0
                })
            });
            let key = Key { what: bytes, known, made: stacks::of(base).0, ..Key::default() };
            let at = self.findings.add(Verdict::LeakedBlock, key, false, 1, bytes as u64, example(base, id, Numbers::default()));
            self.settle_from(id, frontier, at);
        }
    }

    /// How many objects of a type of this `tp_name` are in use.
    fn instances_of(&self, model: &Model, type_name: &[u8]) -> u64 {
        let (mut objects, mut count) = (Walk::over(LIVE | MARKED | DEAD, LIVE | MARKED), 0);
        while let Some(Stop { id, base, .. }) = objects.next(&self.blocks) {
            let object = self.blocks.object(id, base);
            count += u64::from(object.is_some_and(|object| model.is_instance_of(object, type_name)));
        }
        count
    }
}
