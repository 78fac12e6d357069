//! `missing-traverse`: GC types whose instances own references that their `tp_traverse` never visits.
//!
//! A word in an instance that names a GC object and is not visited may be borrowed. It is surely owned if that object's count equals the
//! number of all words that name it: then each of them owns a reference. One such proof per place in the type is enough; stale or borrowed
//! words only ever break the equality.

use super::census::Census;
use super::findings::{Key, example};
use super::known;
use super::owners::HEADLESS;
use crate::finalizers::refcount_validator::Verdict;
use crate::mark::blocks::{DEAD, LIVE};
use crate::mark::walk::Stop;
use crate::mark::{BlockId, Parts, Walk};
use crate::python::count::Count;
use crate::python::types::{OB_SIZE, OB_TYPE, Species, TypeInfo, read};

/// References that CPython's own types leave unvisited on purpose, because they cannot take part in a cycle: type name, byte offset in the
/// object, why. Checked against CPython 3.8-3.13.
const DELIBERATE: [(Species, usize, &str); 1] = [
    // type_traverse (Objects/typeobject.c): "tp_subclasses ... can't be part of cycles": a dict of weak references.
    (Species::Type, 360, "tp_subclasses"),
];

/// How deep tuples are looked into.
const NESTED_MAX: u32 = 4;

impl Census {
    /// Looks at every tracked object.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub unsafe fn find_untraversed(&mut self) {
        let mut walk = Walk::over(LIVE | DEAD, LIVE);
        while let Some(Stop { id, base, bytes, .. }) = walk.next(&self.blocks) {
            if self.blocks.object_code(id) <= HEADLESS {
                continue;
            }
            let Some(object) = self.blocks.object(id, base) else { continue };
            let Some(info) = self.checked_type(object) else { continue };
            let end = (object + info.basic_bytes as usize).min(base + bytes);
            let parts = self.parts(id, base, bytes);
            if !self.has_candidate(&info, object, end, &parts) {
                continue;
            }
            // SAFETY: the caller's.
            if unsafe { self.traverse(object, &mut |_, _| ()) } && self.visited().complete() {
                self.compare_with_visited(&info, id, object, end, bytes, &parts);
            }
        }
    }

    fn checked_type(&self, object: usize) -> Option<TypeInfo> {
        let model = self.model.as_ref()?;
        let info = model.info(object)?;
        let plain = matches!(info.species, Species::Tuple | Species::List | Species::Dict | Species::Code | Species::Module);
        (info.gc && !plain && model.is_tracked(object)).then_some(*info)
    }

    /// The word at `at`, if it may be an owned reference to a GC object: not the list of weak references, not a weak reference's links.
    fn owned_target(&self, info: &TypeInfo, object: usize, at: usize) -> Option<usize> {
        let offset = at - object;
        if info.weaklist_offset > 0 && offset == info.weaklist_offset as usize
            || info.species == Species::WeakReference && offset < 56 && offset != 24
            || DELIBERATE.iter().any(|(species, o, _)| *species == info.species && *o == offset)
        {
            return None;
        }
        // SAFETY: inside the object.
        let target = unsafe { read(at) };
        let hit = self.blocks.resolve(target)?;
        let base = self.blocks.extent_in(hit.span, hit.index).0;
        let model = self.model.as_ref()?;
        let is_object = self.blocks.object(hit.id, base) == Some(target) && self.blocks.state(hit.id) & DEAD == 0;
        // Only a tracked object can be part of a cycle that matters.
        (is_object && target != object && model.is_tracked(target) && !self.is_atomic(target, NESTED_MAX)).then_some(target)
    }

    /// A tuple of things that are not of the collector (a class's `__slots__`), or of such tuples (a coroutine's `cr_origin`): the collector will stop
    /// tracking it, from the inside out, in its next turns.
    fn is_atomic(&self, object: usize, nested_max: u32) -> bool {
        let Some(model) = &self.model else { return false };
        let Some(info) = model.info(object) else { return false };
        if !info.gc || info.species != Species::Tuple || nested_max == 0 {
            return !info.gc;
        }
        // SAFETY: a tuple; its items stand behind the size.
        let items = unsafe { read(object + OB_SIZE) };
        (0..items).all(|i| {
            // SAFETY: i < items.
            let item = unsafe { read(object + OB_SIZE + 8 + 8 * i) };
            item == 0 || self.is_atomic(item, nested_max - 1)
        })
    }

    fn has_candidate(&self, info: &TypeInfo, object: usize, end: usize, parts: &Parts) -> bool {
        let mut any = false;
        parts.for_each_stretch(&mut |from, to| {
            any |= (from.max(object + 16)..to.min(end)).step_by(8).any(|at| self.owned_target(info, object, at).is_some());
        });
        any
    }

    fn compare_with_visited(&mut self, info: &TypeInfo, id: BlockId, object: usize, end: usize, bytes: usize, parts: &Parts) {
        parts.for_each_stretch(&mut |from, to| {
            for at in (from.max(object + 16)..to.min(end)).step_by(8) {
                let Some(target) = self.owned_target(info, object, at) else { continue };
                if self.visited().kept().contains(&target) || !self.every_word_owns(target) {
                    continue;
                }
                let Some(numbers) = self.numbers(id, object) else { continue };
                let known = self.model.as_ref().map_or(0, |m| known::find(m, Verdict::MissingTraverse, object, 1, at - object));
                let key = Key { type_address: info.address, what: at - object, known, ..Key::default() };
                self.findings.add(Verdict::MissingTraverse, key, false, 1, bytes as u64, example(object, id, numbers));
            }
        });
        debug_assert!(self.model.as_ref().is_some_and(|m| m.count(object) != Count::Dead));
        // SAFETY: an object.
        debug_assert_eq!(unsafe { read(object + OB_TYPE) }, info.address);
    }

    fn every_word_owns(&self, target: usize) -> bool {
        let Some(hit) = self.blocks.resolve(target) else { return false };
        self.numbers(hit.id, target).is_some_and(|n| n.every_word_owns())
    }
}
