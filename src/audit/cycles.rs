//! Unreachable objects that hold themselves: garbage that waits for the cycle collector, and cycles that it will never free.
//!
//! The collector's own arithmetic (count less references visited from inside) says which objects it would free; with them goes what they alone
//! hold. Of the rest, what nobody of the rest holds goes too, and so on; that may open cycles to the collector's next turn. What is left when
//! a turn frees nothing more are the cycles that stay for ever, with what hangs from them. The type to blame is the one that holds a
//! reference in such a cycle without visiting it.

use super::census::Census;
use super::findings::{Key, example};
use super::lost::HEAD;
use crate::finalizers::refcount_validator::Verdict;
use crate::heap::stacks;
use crate::mark::blocks::{DEAD, OBJECT};
use crate::mark::scan::Frontier;
use crate::mark::walk::Stop;
use crate::mark::{BlockId, Shapes};
use crate::meta::Array;
use crate::python::types::{OB_TYPE, Species, read};

/// Turns of the collector, and passes over what seems to stay for ever, looking for what only hangs from it. What is left unlooked at is
/// settled all the same.
const PASSES_MAX: u32 = 32;

/// What is known of an unreachable block. All zero at first.
#[derive(Clone, Copy)]
struct Node {
    /// References that tracked members visited.
    visited: u32,
    /// Words of blocks that stay which lead here.
    held: u32,
    /// References that members own which the collector frees.
    freed: u32,
    /// The collector takes it for alive, or never sees it.
    alive: bool,
    /// It does so because somebody holds it without visiting it.
    unseen: bool,
    /// A member of a cycle that stays for ever.
    stuck: bool,
    /// Went with garbage in an earlier turn of the collector.
    gone: bool,
}

// SAFETY: zeros are a node of which nothing is known.
unsafe impl crate::meta::Zeroed for Node {}

/// By block number.
type Nodes = Array<Node>;

impl Census {
    /// Classifies what is unreachable and nobody's leak.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub(super) unsafe fn cycles(&mut self, frontier: &mut Frontier) -> Option<()> {
        let mut lost = self.lost();
        loop {
            match lost.next(&self.blocks) {
                Some(Stop { id, .. }) if self.is_lost_object(id) => break,
                Some(_) => {}
                None => return Some(()),
            }
        }
        let mut nodes = Nodes::new(self.blocks.total() as usize + 1)?;
        for turn in 0..PASSES_MAX {
            // SAFETY: the caller's.
            unsafe {
                self.count_visits(&mut nodes);
                self.find_alive(&mut nodes, frontier, turn > 0);
                self.count_freed(&mut nodes);
            }
            if !self.find_stuck(&mut nodes, frontier) {
                break;
            }
        }
        self.find_hanging(&mut nodes);
        // SAFETY: the caller's.
        unsafe { self.blame(&mut nodes) };
        self.settle_cycles(&nodes, frontier);
        Some(())
    }

    /// An unreachable object that the collector's earlier turns left.
    fn is_left(&self, nodes: &Nodes, id: BlockId) -> bool {
        self.is_lost_object(id) && !nodes[id.0 as usize].gone
    }

    /// Counts anew who visits whom of what is left, and forgets who was alive.
    unsafe fn count_visits(&mut self, nodes: &mut Nodes) {
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if self.is_left(nodes, id) {
                let node = &mut nodes[id.0 as usize];
                (node.visited, node.freed, node.alive, node.unseen) = (0, 0, false, false);
            }
        }
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if !self.is_left(nodes, id) {
                continue;
            }
            let Some(object) = self.blocks.object_of(id) else { continue };
            if !self.tracked(object) {
                nodes[id.0 as usize].alive = true;
                continue;
            }
            // SAFETY: the caller's.
            unsafe {
                self.traverse(object, &mut |census, target| {
                    if let Some(at) = census.lost_object_at(target)
                        && let Some(node) = nodes.get_mut(at.0 as usize)
                    {
                        node.visited += 1;
                    }
                });
            }
        }
    }

    /// Members that something other than a visited reference holds are alive to the collector, and so is all they lead to. `fewer`: after an
    /// earlier turn, whose garbage no longer holds anything.
    unsafe fn find_alive(&mut self, nodes: &mut Nodes, frontier: &mut Frontier, fewer: bool) {
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if !self.is_left(nodes, id) {
                continue;
            }
            let Some(object) = self.blocks.object_of(id) else { continue };
            let Some(numbers) = self.numbers(id, object) else { continue };
            let node = &mut nodes[id.0 as usize];
            let count = if fewer { numbers.refcount.min(u64::from(node.held)) } else { numbers.refcount };
            if !self.tracked(object) || count <= u64::from(node.visited) {
                continue;
            }
            node.unseen = true;
            if !node.alive {
                node.alive = true;
                // SAFETY: the caller's.
                unsafe { self.keep_alive(id, nodes, frontier) };
            }
        }
    }

    unsafe fn keep_alive(&mut self, id: BlockId, nodes: &mut Nodes, frontier: &mut Frontier) {
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
                        && let Some(node) = nodes.get_mut(at.0 as usize)
                        && !node.alive
                    {
                        node.alive = true;
                        let (span, index) = census.blocks.place(at);
                        frontier.push(span, index);
                    }
                });
            }
        }
    }

    /// Counts what the garbage of this turn owns of what the collector does not free itself.
    unsafe fn count_freed(&mut self, nodes: &mut Nodes) {
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if !self.is_left(nodes, id) || nodes[id.0 as usize].alive {
                continue;
            }
            let Some(object) = self.blocks.object_of(id) else { continue };
            // SAFETY: the caller's.
            unsafe {
                self.traverse(object, &mut |census, target| {
                    if let Some(at) = census.lost_object_at(target)
                        && let Some(node) = nodes.get_mut(at.0 as usize)
                    {
                        node.freed += 1;
                    }
                });
            }
        }
    }

    /// Whether every reference to an object goes with the garbage, whoever else may have its address.
    fn is_freed(&self, nodes: &Nodes, id: BlockId) -> bool {
        let freed = u64::from(nodes[id.0 as usize].freed);
        freed > 0 && self.blocks.object_of(id).and_then(|o| self.numbers(id, o)).is_some_and(|n| n.refcount <= freed)
    }

    /// Whether a block is unreachable and would not be freed by the collector itself. Destroyed objects hold nothing, and the pieces of an
    /// object go with it.
    fn stays(&self, nodes: &Nodes, id: BlockId) -> bool {
        let state = self.blocks.state(id);
        let node = &nodes[id.0 as usize];
        let alone = state & OBJECT == 0 || node.alive && !self.is_piece(id);
        self.is_lost(id) && state & DEAD == 0 && !node.gone && alone
    }

    fn is_piece(&self, id: BlockId) -> bool {
        let info = |object: usize| self.model.as_ref().and_then(|m| m.info(object));
        self.blocks.object_of(id).and_then(info).is_some_and(|t| t.species == Species::Piece)
    }

    /// Calls `target` for each word of a block that can be a reference to a block which stays, with that block's number and place.
    ///
    /// Objects that claim more references than words equal to their addresses have been settled as heads of leaks. Of the others those words
    /// account for every reference: a word into an object's middle (that of a `decimal.SignalDict` into its context) is none.
    fn for_each_staying_target(&self, nodes: &mut Nodes, id: BlockId, target: &mut dyn FnMut(&mut Nodes, BlockId, (u32, u32))) {
        let (base, bytes) = self.blocks.extent(id);
        self.parts(id, base, bytes).for_each_stretch(&mut |start, end| {
            for at in (start..end).step_by(8) {
                // SAFETY: inside a live block.
                let word = unsafe { read(at) };
                let Some(hit) = self.blocks.resolve(word) else { continue };
                // An object that names itself holds itself; a native block does not.
                let inside = match self.blocks.object(hit.id, self.blocks.extent_in(hit.span, hit.index).0) {
                    Some(named) => named != word & !7,
                    None => hit.id == id,
                };
                let weak = self.model.as_ref().is_some_and(|m| m.is_weak(&self.blocks, hit));
                if !inside && !weak && self.stays(nodes, hit.id) {
                    target(nodes, hit.id, (hit.span, hit.index));
                }
            }
        });
    }

    /// Finds what one turn of the collector leaves: what holds itself, and what that leads to. Answers whether anything went that had been left
    /// before, and something stays.
    fn find_stuck(&mut self, nodes: &mut Nodes, frontier: &mut Frontier) -> bool {
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            let node = &mut nodes[id.0 as usize];
            (node.held, node.stuck) = (0, false);
        }
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if self.stays(nodes, id) {
                nodes[id.0 as usize].stuck = true;
                self.for_each_staying_target(nodes, id, &mut |nodes, target, _| nodes[target.0 as usize].held += 1);
            }
        }
        // What nobody holds who stays goes with the garbage; then perhaps what it holds. Native memory has no counts: whoever keeps it frees it when
        // he goes, though its structures name each other (an sqlite3.Connection its database, with the functions that were put there).
        let native = |id: BlockId| self.blocks.state(id) & OBJECT == 0;
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if self.is_lost_object(id) && !self.stays(nodes, id) {
                self.for_each_staying_target(nodes, id, &mut |nodes, target, (span, index)| {
                    if native(target) && nodes[target.0 as usize].stuck {
                        nodes[target.0 as usize].stuck = false;
                        frontier.push(span, index);
                    }
                });
            }
            if nodes[id.0 as usize].stuck && (nodes[id.0 as usize].held == 0 || self.is_freed(nodes, id)) {
                nodes[id.0 as usize].stuck = false;
                let (span, index) = self.blocks.place(id);
                frontier.push(span, index);
            }
            while let Some((span, index)) = frontier.pop() {
                let Some(from) = self.blocks.resolve(self.blocks.extent_in(span, index).0) else { continue };
                self.for_each_staying_target(nodes, from.id, &mut |nodes, target, (span, index)| {
                    let node = &mut nodes[target.0 as usize];
                    node.held -= 1;
                    if (node.held == 0 || native(target)) && node.stuck {
                        node.stuck = false;
                        frontier.push(span, index);
                    }
                });
            }
        }
        let (mut went, mut left) = (false, false);
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            let node = &mut nodes[id.0 as usize];
            went |= !node.stuck && !node.gone;
            left |= node.stuck;
            node.gone = !node.stuck;
        }
        went && left
    }

    /// Leaves as stuck only the members of cycles, and what lies between two of them: what holds nothing that stays hangs from a cycle.
    fn find_hanging(&mut self, nodes: &mut Nodes) {
        for _ in 0..PASSES_MAX {
            let mut changed = false;
            let mut lost = self.lost();
            while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
                if nodes[id.0 as usize].stuck {
                    let mut holds = false;
                    self.for_each_staying_target(nodes, id, &mut |nodes, target, _| holds |= nodes[target.0 as usize].stuck);
                    nodes[id.0 as usize].stuck = holds;
                    changed |= !holds;
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Finds who holds, without visiting it, what the collector therefore takes for alive.
    unsafe fn blame(&mut self, nodes: &mut Nodes) {
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if !self.is_lost_object(id) || !nodes[id.0 as usize].stuck {
                continue;
            }
            let (base, bytes) = self.blocks.extent(id);
            let Some(object) = self.blocks.object(id, base) else { continue };
            // SAFETY: the caller's.
            let asked = self.tracked(object) && unsafe { self.traverse(object, &mut |_, _| ()) };
            let mut holds_unseen = false;
            self.for_each_staying_target(nodes, id, &mut |nodes, target, _| {
                let unseen = nodes.get(target.0 as usize).is_some_and(|n| n.unseen && n.stuck);
                if unseen && let Some(to) = self.blocks.object_of(target) {
                    holds_unseen |= !asked || (self.visited().complete() && !self.visited().kept().contains(&to));
                }
            });
            if holds_unseen && let Some(numbers) = self.numbers(id, object) {
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                let key = Key { type_address, made: stacks::of(base).0, ..Key::default() };
                self.findings.add(
                    Verdict::UncollectableCycle,
                    key,
                    false,
                    numbers.refcount,
                    bytes as u64,
                    example(object, id, numbers),
                );
                self.blocks.set(id, HEAD);
            }
        }
    }

    /// Puts every member of a cycle under a finding: the uncollectable ones under those to blame, the rest as garbage.
    fn settle_cycles(&mut self, nodes: &Nodes, frontier: &mut Frontier) {
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if self.is_lost_object(id) && self.blocks.state(id) & HEAD != 0 {
                let Some(object) = self.blocks.object_of(id) else { continue };
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                let key = Key { type_address, made: stacks::of(object).0, ..Key::default() };
                let at = self.findings.all().iter().position(|f| f.verdict() == Verdict::UncollectableCycle && f.key == key);
                self.blocks.clear(id, HEAD);
                self.settle_from(id, frontier, at);
            }
        }
        // Cycles of which nobody in particular is to blame: the collector sees no member at all.
        self.settle_each(Verdict::UncollectableCycle, frontier, &|_, id, _| nodes[id.0 as usize].stuck);
        // Garbage is named after the instances of classes in it, or the classes, rather than after their dicts.
        let rank = |census: &Census, object: usize| match census.model.as_ref().and_then(|m| m.info(object)) {
            Some(info) if info.heap => 0,
            Some(info) if info.species == Species::Type => 1,
            _ => 2,
        };
        for wanted in 0..=2 {
            self.settle_each(Verdict::CyclicGarbage, frontier, &|census, id, object| {
                !nodes[id.0 as usize].alive && rank(census, object) == wanted
            });
        }
    }

    /// Makes each unsettled object for which `wanted` holds a head of the verdict, and settles what it leads to.
    fn settle_each(&mut self, verdict: Verdict, frontier: &mut Frontier, wanted: &dyn Fn(&Census, BlockId, usize) -> bool) {
        // Garbage is no mistake: where it was made is nobody's concern.
        let told_apart = verdict == Verdict::UncollectableCycle;
        let mut lost = self.lost();
        while let Some(Stop { id, .. }) = lost.next(&self.blocks) {
            if !self.is_lost_object(id) {
                continue;
            }
            let (base, bytes) = self.blocks.extent(id);
            let Some(object) = self.blocks.object(id, base) else { continue };
            if !wanted(self, id, object) {
                continue;
            }
            // Immortal, so nobody was ever to free it: the strings of a sub-interpreter that is gone, which CPython from 3.12 on frees with
            // their arenas, if at all.
            let Some(numbers) = self.numbers(id, object) else {
                self.settle_from(id, frontier, None);
                continue;
            };
            // SAFETY: an object.
            let type_address = unsafe { read(object + OB_TYPE) };
            let key = Key { type_address, made: if told_apart { stacks::of(base).0 } else { 0 }, ..Key::default() };
            let at = self.findings.add(verdict, key, false, numbers.refcount, bytes as u64, example(object, id, numbers));
            self.settle_from(id, frontier, at);
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
