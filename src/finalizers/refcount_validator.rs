//! The invariant `owned <= refcount <= words`, and what its violation is called.

use crate::options::VERDICTS as VERDICT_NAMES;

/// What is wrong. The names are public and stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// Unreachable, and its count exceeds the references that other unreachable objects hold to it.
    LeakedObject,
    /// Unreachable, held only by a leaked object.
    LeakedThrough,
    /// Reachable, and its count exceeds the words that name it.
    LeakedReference,
    /// Its count is below the references that containers own.
    OverReleased,
    /// An unreachable cycle that the cycle collector cannot see.
    UncollectableCycle,
    /// An unreachable cycle that the cycle collector would collect; information.
    CyclicGarbage,
    /// A GC type whose `tp_traverse` never visits a reference its instances own.
    MissingTraverse,
    /// A native block, no object, unreachable and never freed.
    LeakedBlock,
    /// Freed while words still point into it (collect and quarantine modes).
    FreedWhileReferenced,
}

/// All verdicts, in the order of the option table's names.
pub const VERDICTS: [Verdict; VERDICT_NAMES.len()] = [
    Verdict::LeakedObject,
    Verdict::LeakedThrough,
    Verdict::LeakedReference,
    Verdict::OverReleased,
    Verdict::UncollectableCycle,
    Verdict::CyclicGarbage,
    Verdict::MissingTraverse,
    Verdict::LeakedBlock,
    Verdict::FreedWhileReferenced,
];

impl Verdict {
    /// The public name.
    pub fn name(self) -> &'static str {
        VERDICT_NAMES.get(self as usize).copied().unwrap_or("?")
    }

    /// The verdict of a name.
    pub fn from_name(name: &[u8]) -> Option<Verdict> {
        VERDICTS.into_iter().find(|v| v.name().as_bytes() == name)
    }
}

/// The three numbers of an object, and the words that name it but for a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Numbers {
    /// What the object claims.
    pub refcount: u64,
    /// References that containers own: a lower bound.
    pub owned: u64,
    /// Words that equal its address: an upper bound.
    pub words: u64,
    /// Words that equal it but for the low three bits.
    pub tagged: u64,
}

impl Numbers {
    /// References that nobody holds: the count less every word, tagged ones given the benefit of the doubt. 0 if there are none.
    pub fn surplus(&self) -> u64 {
        self.refcount.saturating_sub(self.words + self.tagged + self.owned_without_word())
    }

    /// Owners that name the object by other means than its address, if some do: an instance may keep its module's state, and visit the module
    /// that it owns through it (multidict 7). More owners than words prove it. Which words are theirs is not known, so none is.
    pub fn owned_without_word(&self) -> u64 {
        if self.owned > self.words { self.owned } else { 0 }
    }

    /// Whether nobody has its address although it claims references.
    pub fn is_lost(&self) -> bool {
        self.refcount > 0 && self.words + self.tagged == 0
    }

    /// Owners for which there is no reference. 0 if there are none.
    pub fn missing(&self) -> u64 {
        self.owned.saturating_sub(self.refcount)
    }

    /// The same without the two references of the interned table (key and value), which an interned string does not count. Of a table whose
    /// keys are strings, `dict_traverse` visits the values alone.
    pub fn without_interned_table(self) -> Numbers {
        Numbers { owned: self.owned.saturating_sub(1), words: self.words.saturating_sub(2), ..self }
    }

    /// Whether every word that names the object is known to own a reference.
    pub fn every_word_owns(&self) -> bool {
        self.refcount == self.words && self.tagged == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invariant_is_broken_on_either_side() {
        let right = Numbers { refcount: 3, owned: 2, words: 4, tagged: 0 };
        assert_eq!((right.surplus(), right.missing()), (0, 0));
        let leaked = Numbers { refcount: 7, owned: 2, words: 4, tagged: 1 };
        assert_eq!((leaked.surplus(), leaked.missing()), (2, 0));
        let over = Numbers { refcount: 1, owned: 2, words: 4, tagged: 0 };
        assert_eq!((over.surplus(), over.missing()), (0, 1));
    }

    #[test]
    fn owners_that_name_the_object_by_other_means_hold_it() {
        let by_state = Numbers { refcount: 103, owned: 101, words: 3, tagged: 0 };
        assert_eq!((by_state.surplus(), by_state.missing()), (0, 0));
        let leaked = Numbers { refcount: 110, ..by_state };
        assert_eq!(leaked.surplus(), 6);
    }

    #[test]
    fn an_interned_string_does_not_count_its_table() {
        let string = Numbers { refcount: 1, owned: 2, words: 3, tagged: 0 }.without_interned_table();
        assert_eq!((string.surplus(), string.missing()), (0, 0));
    }

    #[test]
    fn names_go_both_ways() {
        for (at, verdict) in VERDICTS.into_iter().enumerate() {
            assert_eq!(verdict as usize, at);
            assert_eq!(Verdict::from_name(verdict.name().as_bytes()), Some(verdict));
        }
        assert_eq!(Verdict::MissingTraverse.name(), "missing-traverse");
    }
}
