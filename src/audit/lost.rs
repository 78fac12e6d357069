//! What no root reaches: leaks, garbage, and how to tell them apart.
//!
//! In this order, each step taking what the one before left:
//! 1. objects whose count exceeds the words that name them are heads of leaks; what they lead to goes under them;
//! 2. native blocks that nothing unreachable points into are leaked blocks; what they lead to goes under them;
//! 3. what is left of objects holds itself in cycles. The cycle collector's own arithmetic (count less references visited from inside) says
//!    which it would collect; the others are uncollectable, and the type to blame is the one that holds a reference it does not visit;
//! 4. what is left of native blocks points at itself in circles.

use super::census::Census;
use super::findings::{Key, example};
use super::known;
use crate::finalizers::refcount_validator::{Numbers, Verdict};
use crate::mark::blocks::{DEAD, HELD, LIVE, MARKED, OBJECT, SETTLED, WANTED};
use crate::mark::scan::Frontier;
use crate::mark::{BlockId, Opaque, Shapes};
use crate::meta::Array;
use crate::python::types::{OB_TYPE, read};

/// Bits of an object in a cycle, beside the number of references that tracked members visited: the collector takes it for alive; and it
/// does so because somebody holds it without visiting it.
const ALIVE: u8 = 1;
const UNSEEN: u8 = 2;

/// During the classification: the head of a finding whose kin is still to be settled. Examples are marked later.
const HEAD: u8 = WANTED;

impl Census {
    /// Classifies everything unreachable.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub unsafe fn classify_lost(&mut self) -> Option<()> {
        let mut frontier = Frontier::new(&self.blocks)?;
        self.leaked_objects(&mut frontier);
        self.leaked_blocks(&mut frontier, false);
        // SAFETY: the caller's.
        unsafe { self.cycles(&mut frontier)? };
        self.leaked_blocks(&mut frontier, true);
        Some(())
    }

    fn lost(&self) -> impl Iterator<Item = BlockId> + use<> {
        (0..self.blocks.total()).map(BlockId)
    }

    fn is_lost(&self, id: BlockId) -> bool {
        self.blocks.state(id) & (LIVE | MARKED | SETTLED) == LIVE
    }

    fn is_lost_object(&self, id: BlockId) -> bool {
        let state = self.blocks.state(id);
        state & (LIVE | MARKED | SETTLED) == LIVE && state & OBJECT != 0 && state & DEAD == 0
    }

    fn leaked_objects(&mut self, frontier: &mut Frontier) {
        // All heads first, so that a head held by another head stays a head.
        for id in self.lost() {
            if self.blocks.state(id) & (LIVE | DEAD) != LIVE || self.blocks.state(id) & OBJECT == 0 {
                continue;
            }
            let (base, bytes) = self.blocks.extent(id);
            let Some(object) = self.blocks.object(id, base) else { continue };
            let Some(numbers) = self.numbers(id, object) else { continue };
            if self.is_lost_object(id) && numbers.surplus() > 0 || numbers.is_lost() {
                // Reached, if at all, by a word into its middle: nobody has its address.
                self.blocks.clear(id, MARKED);
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                let known = self.model.as_ref().map_or(0, |m| known::find(m, Verdict::LeakedObject, object, numbers.surplus(), 0));
                let key = Key { type_address, what: 0, known };
                self.findings.add(Verdict::LeakedObject, key, false, numbers.surplus(), bytes as u64, example(object, id, numbers));
                self.blocks.set(id, SETTLED | HEAD);
            }
        }
        for id in self.lost() {
            if self.blocks.state(id) & HEAD != 0 && self.blocks.state(id) & (LIVE | MARKED) == LIVE {
                let Some(object) = self.blocks.object_of(id) else { continue };
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                let at = self.findings.all().iter().position(|f| f.verdict() == Verdict::LeakedObject && f.key.type_address == type_address && f.key.known == 0);
                self.blocks.clear(id, HEAD);
                self.settle_from(id, frontier, at);
            }
        }
    }

    /// Settles everything unreachable that a block leads to, and counts it under a finding.
    fn settle_from(&mut self, id: BlockId, frontier: &mut Frontier, finding: Option<usize>) {
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
    fn for_each_target(&mut self, id: BlockId, base: usize, bytes: usize, target: &mut dyn FnMut(&mut Census, BlockId, u32, u32)) {
        let mut parts = [(0, 0); 8];
        let mut count = 0;
        let mut note = |start: usize, end: usize| {
            if let Some(slot) = parts.get_mut(count) {
                *slot = (start, end);
                count += 1;
            }
        };
        match &self.model {
            Some(model) => model.strong_parts(&self.blocks, id, base, bytes, &mut note),
            None => Opaque.strong_parts(&self.blocks, id, base, bytes, &mut note),
        }
        for &(start, end) in parts.iter().take(count) {
            let mut at = start;
            while at < end.min(base + bytes) {
                // SAFETY: inside a live block.
                let word = unsafe { read(at) };
                if let Some(hit) = self.blocks.resolve(word) {
                    let weak = self.model.as_ref().is_some_and(|m| m.is_weak(&self.blocks, hit));
                    if !weak && hit.id != id {
                        target(self, hit.id, hit.span, hit.index);
                    }
                }
                at += 8;
            }
        }
    }

    fn leaked_blocks(&mut self, frontier: &mut Frontier, held_too: bool) {
        for id in self.lost() {
            let state = self.blocks.state(id);
            if !self.is_lost(id) || state & OBJECT != 0 || (state & HELD != 0 && !held_too) {
                continue;
            }
            let (base, bytes) = self.blocks.extent(id);
            let key = Key { type_address: 0, what: bytes, known: 0 };
            let at = self.findings.add(Verdict::LeakedBlock, key, false, 1, bytes as u64, example(base, id, Numbers::default()));
            self.settle_from(id, frontier, at);
        }
    }

    unsafe fn cycles(&mut self, frontier: &mut Frontier) -> Option<()> {
        let mut inner = Array::<(u32, u8)>::new(self.blocks.total() as usize + 1)?;
        let mut any = false;
        for id in self.lost() {
            if !self.is_lost_object(id) {
                continue;
            }
            any = true;
            let Some(object) = self.blocks.object_of(id) else { continue };
            if self.tracked(object) {
                let slots = &mut inner;
                // SAFETY: the caller's.
                unsafe {
                    self.traverse(object, &mut |census, target| {
                        if let Some(at) = census.lost_object_at(target)
                            && let Some(slot) = slots.get_mut(at.0 as usize)
                        {
                            slot.0 += 1;
                        }
                    });
                }
            }
        }
        if !any {
            return Some(());
        }
        // Members that something other than a visited reference holds are alive to the collector, and so is all they lead to.
        for id in self.lost() {
            if !self.is_lost_object(id) {
                continue;
            }
            let Some(object) = self.blocks.object_of(id) else { continue };
            let Some(numbers) = self.numbers(id, object) else { continue };
            let visited = inner[id.0 as usize].0;
            if self.tracked(object) && numbers.refcount > u64::from(visited) && inner[id.0 as usize].1 & ALIVE == 0 {
                inner[id.0 as usize].1 |= ALIVE | UNSEEN;
                // SAFETY: the caller's.
                unsafe { self.keep_alive(id, &mut inner, frontier) };
            } else if self.tracked(object) && numbers.refcount > u64::from(visited) {
                inner[id.0 as usize].1 |= UNSEEN;
            }
        }
        // SAFETY: the caller's.
        unsafe { self.blame(&inner) };
        self.settle_cycles(&inner, frontier);
        Some(())
    }

    unsafe fn keep_alive(&mut self, id: BlockId, inner: &mut Array<(u32, u8)>, frontier: &mut Frontier) {
        let (span, index) = self.blocks.place(id);
        frontier.push(span, index);
        while let Some((span, index)) = frontier.pop() {
            let base = self.blocks.extent_in(span, index).0;
            let Some(hit) = self.blocks.resolve(base) else { continue };
            let Some(object) = self.blocks.object(hit.id, base) else { continue };
            // SAFETY: the caller's.
            unsafe {
                self.traverse(object, &mut |census, target| {
                    if let Some(at) = census.lost_object_at(target)
                        && let Some(slot) = inner.get_mut(at.0 as usize)
                        && slot.1 & ALIVE == 0
                    {
                        slot.1 |= ALIVE;
                        let (span, index) = census.blocks.place(at);
                        frontier.push(span, index);
                    }
                });
            }
        }
    }

    /// Finds who holds, without visiting it, what the collector therefore takes for alive.
    unsafe fn blame(&mut self, inner: &Array<(u32, u8)>) {
        for id in self.lost() {
            if !self.is_lost_object(id) {
                continue;
            }
            let (base, bytes) = self.blocks.extent(id);
            let Some(object) = self.blocks.object(id, base) else { continue };
            // SAFETY: the caller's.
            let asked = self.tracked(object) && unsafe { self.traverse(object, &mut |_, _| ()) };
            let mut holds_unseen = false;
            self.for_each_target(id, base, bytes, &mut |census, target, _, _| {
                let unseen = inner.get(target.0 as usize).is_some_and(|s| s.1 & UNSEEN != 0);
                if unseen && let Some(to) = census.blocks.object_of(target) {
                    holds_unseen |= !asked || (census.visited().complete() && !census.visited().kept().contains(&to));
                }
            });
            // One that the collector would free takes with it what it alone holds, seen or not.
            let alive = inner.get(id.0 as usize).is_some_and(|s| s.1 & ALIVE != 0);
            if alive
                && holds_unseen
                && let Some(numbers) = self.numbers(id, object) {
                // SAFETY: an object.
                let key = Key { type_address: unsafe { read(object + OB_TYPE) }, what: 0, known: 0 };
                self.findings.add(Verdict::UncollectableCycle, key, false, numbers.refcount, bytes as u64, example(object, id, numbers));
                self.blocks.set(id, HEAD);
            }
        }
    }

    /// Puts every member of a cycle under a finding: the uncollectable ones under those to blame, the rest as garbage.
    fn settle_cycles(&mut self, inner: &Array<(u32, u8)>, frontier: &mut Frontier) {
        for id in self.lost() {
            if self.is_lost_object(id) && self.blocks.state(id) & HEAD != 0 {
                let Some(object) = self.blocks.object_of(id) else { continue };
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                let at =
                    self.findings.all().iter().position(|f| f.verdict() == Verdict::UncollectableCycle && f.key.type_address == type_address);
                self.blocks.clear(id, HEAD);
                self.settle_from(id, frontier, at);
            }
        }
        // First what the collector would take, then what only hangs from it; what is left after that are cycles of objects it never sees.
        for wanted in [true, false] {
            for id in self.lost() {
                if !self.is_lost_object(id) {
                    continue;
                }
                let (base, bytes) = self.blocks.extent(id);
                let Some(object) = self.blocks.object(id, base) else { continue };
                let collectable = self.tracked(object) && inner[id.0 as usize].1 & ALIVE == 0;
                if collectable != wanted {
                    continue;
                }
                let verdict = if collectable { Verdict::CyclicGarbage } else { Verdict::UncollectableCycle };
                // Immortal: what an ended sub-interpreter leaves of its interned strings (3.12 and later), for one.
                let Some(numbers) = self.numbers(id, object) else {
                    self.settle_from(id, frontier, None);
                    continue;
                };
                // SAFETY: an object.
                let key = Key { type_address: unsafe { read(object + OB_TYPE) }, what: 0, known: 0 };
                let at = self.findings.add(verdict, key, false, numbers.refcount, bytes as u64, example(object, id, numbers));
                self.settle_from(id, frontier, at);
            }
        }
    }

    fn tracked(&self, object: usize) -> bool {
        self.model.as_ref().is_some_and(|m| m.is_tracked(object))
    }

    fn lost_object_at(&self, target: usize) -> Option<BlockId> {
        let hit = self.blocks.resolve(target)?;
        let base = self.blocks.extent_in(hit.span, hit.index).0;
        (self.blocks.object(hit.id, base) == Some(target) && self.is_lost_object(hit.id)).then_some(hit.id)
    }
}
