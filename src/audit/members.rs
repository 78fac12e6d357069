//! Instances that native memory holds by the address of a member.
//!
//! An event loop links the watchers that it was given through a member of theirs, and finds the object back with `offsetof` (libev's in
//! gevent: `GGET_OBJECT` in corecext). Such a word leads into the object and names it as well as its own address would. Whoever hands out
//! pointers into its text (`str`, `bytes`), its items or its slots is not meant: only instances of types that extensions or programs define.

use super::census::Census;
use crate::mark::BlockId;
use crate::mark::blocks::{MARKED, OBJECT, WANTED};
use crate::python::types::Species;

impl Census {
    /// Whether an object is one that native memory may hold so.
    pub(super) fn may_be_a_member_of_a_list(&self, id: BlockId, object: usize) -> bool {
        self.blocks.state(id) & MARKED != 0
            && self.model.as_ref().and_then(|m| m.info(object)).is_some_and(|t| t.species == Species::Other)
    }

    /// Counts the words of native blocks that lead into a wanted object; with those that are tagged, since the doubt is the same.
    pub(super) fn count_member_words(&mut self) {
        self.each_strong_word(&mut |census, from, _, _, word| {
            let Some(hit) = census.blocks.resolve(word) else { return };
            if census.blocks.state(hit.id) & WANTED == 0 || census.blocks.state(from) & OBJECT != 0 {
                return;
            }
            let base = census.blocks.extent_in(hit.span, hit.index).0;
            if let Some(object) = census.blocks.object(hit.id, base)
                && word & !7 > object
            {
                census.blocks.add_member_word(hit.id);
            }
        });
    }
}
