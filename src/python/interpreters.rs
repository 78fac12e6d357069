//! Sub-interpreters that are gone, and what they left.

use super::layout;
use super::objects::Model;
use super::tables;
use super::types::{self, OB_SIZE, Species, read};
use crate::mark::Part;
use crate::sys::guard;

impl Model {
    /// Whether a sub-interpreter that ended has left this object behind: no longer tracked by any collector, although objects like it always are.
    ///
    /// `_PyGC_Fini` of 3.9 to 3.11 (gcmodule.c, `gc_fini_untrack`) does that to whatever is still alive then, the content of static types among
    /// it, and takes a reference of its own to each, so that nobody deallocates it (gh-92036).
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub unsafe fn was_left_by_interpreter(&self, object: usize) -> bool {
        let Some(info) = self.info(object) else { return false };
        types::is_collectors(info, object)
            && !self.is_tracked(object)
            && match info.species {
                // While it runs.
                Species::Frame => false,
                // What holds nothing of the collector is not tracked in the first place.
                Species::Tuple => {
                    // SAFETY: a tuple; its items stand behind the size.
                    let items = unsafe { read(object + OB_SIZE) };
                    let first = object + OB_SIZE + 8;
                    self.names_collectors(Part::all(first, first + 8 * items))
                }
                Species::Dict => {
                    // SAFETY: a dict has its table.
                    let table = unsafe { tables::dict_keys(self.runtime.minor, read(object + layout::DICT_KEYS), usize::MAX >> 1) };
                    table.is_some_and(|part| self.names_collectors(part))
                }
                _ => true,
            }
            // SAFETY: the caller's.
            && unsafe { self.interpreters_ended() }
    }

    fn names_collectors(&self, part: Part) -> bool {
        let mut any = false;
        part.for_each_stretch(&mut |from, to| {
            // SAFETY: a table of references to objects, or 0.
            any |= (from..to).step_by(8).map(|at| unsafe { read(at) }).any(|o| o != 0 && self.info(o).is_some_and(|t| t.gc));
        });
        any
    }

    /// How many interpreters there have ever been, the main one among them. `None` in versions of which that is not known.
    pub fn interpreters_made(&self) -> Option<u64> {
        let offset = layout::interpreters_made(self.runtime.minor)?;
        // SAFETY: a field of the interpreter's own state.
        self.runtime.symbols.runtime_state.map(|state| unsafe { read(state.get() + offset) } as u64)
    }

    /// Whether there have been more interpreters than there are.
    unsafe fn interpreters_ended(&self) -> bool {
        let Some(made) = self.interpreters_made() else { return false };
        let mut count = 0;
        // SAFETY: the list of interpreters stands still in the snapshot; guarded in case it is torn.
        unsafe {
            guard::call(|| {
                self.runtime.all_interpreters(&mut |_| {
                    count += 1;
                    true
                });
            });
        }
        count > 0 && made > count
    }
}
