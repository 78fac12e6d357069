//! What containers own: every one is asked, and every owner counted.

use core::sync::atomic::{AtomicU32, Ordering};

use super::census::Census;
use super::suspects;
use crate::mark::blocks::{DEAD, LIVE};
use crate::mark::{BlockId, Blocks, Statics, Walk};
use crate::python::objects::Model;
use crate::python::traverse;
use crate::python::types::TypeId;
use crate::sys::guard::{self, Outcome};

/// Objects at the start of their blocks are not the collector's: they have no head.
pub(super) const HEADLESS: u8 = 1;

impl Census {
    /// Asks every container what it owns. One guard is around many calls: after a crash it goes on behind the object that was being asked.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub(super) unsafe fn count_owners(&mut self) {
        self.leave_out_suspects();
        let asked = AtomicU32::new(0);
        let mut walk_from = 0;
        loop {
            // SAFETY: the caller's; what is abandoned in a crash is the count of one object's owners, and the walk, which begins anew.
            let outcome = unsafe { guard::call(|| self.ask_from(walk_from, &asked)) };
            self.traversing.store(0, Ordering::Relaxed);
            if outcome == Outcome::Returned {
                return;
            }
            let id = BlockId(asked.load(Ordering::Relaxed));
            walk_from = id.0 + 1;
            let type_id = self.blocks.object_of(id).and_then(|object| self.model.as_ref()?.type_id(object));
            match type_id {
                Some(type_id) => self.note_crash(type_id),
                None => return self.degrade("counting owners crashed: what containers own is not known", 0, 1),
            }
        }
    }

    /// Asks all from a block on, in a guarded call. `asked` has whose turn it is.
    unsafe fn ask_from(&mut self, from: u32, asked: &AtomicU32) {
        let mut walk = Walk::over(LIVE | DEAD, LIVE).starting_at(from);
        while let Some(at) = walk.next(&self.blocks) {
            if self.blocks.object_code(at.id) <= HEADLESS {
                continue;
            }
            let (Some(model), Some(object)) = (&self.model, self.blocks.object(at.id, at.base)) else { continue };
            asked.store(at.id.0, Ordering::Relaxed);
            let Some(id) = model.is_traversable(object) else { continue };
            let info = *model.types.info(id);
            self.traversing.store(info.address, Ordering::Relaxed);
            let Census { blocks, statics, .. } = self;
            let mut each = |target| add_owner(blocks, statics, target);
            // SAFETY: a traversable object of the type, in a guarded call.
            unsafe {
                if !Model::items(info.species, object, &mut each) {
                    traverse::ask(info.traverse, object, &mut each);
                }
            }
            if guard::next() {
                self.note_write(info.address);
            }
        }
    }

    /// Types that ended the process of an earlier attempt are not asked.
    fn leave_out_suspects(&mut self) {
        let Some(model) = &mut self.model else { return };
        let mut found = [TypeId(0); suspects::MOST];
        let mut count = 0;
        model.types.for_each(&mut |id, info| {
            if suspects::has(info.address)
                && let Some(slot) = found.get_mut(count)
            {
                *slot = id;
                count += 1;
            }
        });
        for &id in found.iter().take(count) {
            model.types.set_crashed(id);
        }
        for &id in found.iter().take(count) {
            let address = self.model.as_ref().map_or(0, |m| m.types.info(id).address);
            self.degrade("tp_traverse of %T ended the process of an audit: this one was made without it", address, 1);
        }
    }

    /// A type's `tp_traverse` crashed: it is not called again.
    pub(super) fn note_crash(&mut self, id: TypeId) {
        let Some(model) = &mut self.model else { return };
        model.types.set_crashed(id);
        let address = model.types.info(id).address;
        self.degrade("tp_traverse crashed or did not return; what instances of %T own is not known", address, 1);
    }

    /// A type's `tp_traverse` wrote.
    pub(super) fn note_write(&mut self, type_address: usize) {
        self.degrade("tp_traverse of %T changed memory; in the snapshot the changes were undone", type_address, 1);
    }
}

#[inline]
fn add_owner(blocks: &mut Blocks, statics: &mut Statics, target: usize) {
    match blocks.resolve(target) {
        Some(hit) => {
            let base = blocks.extent_in(hit.span, hit.index).0;
            if blocks.object(hit.id, base) == Some(target) {
                blocks.add_owner(hit.id);
            }
        }
        None => statics.add_owner(target),
    }
}
