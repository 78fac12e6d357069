//! Marking: which blocks of the snapshot a word leads to, and how many words point at each.
//!
//! One pass does both. [`scan::Marker::reach`] starts from the roots and scans every block it reaches once; [`scan::Marker::count_the_rest`] then scans
//! what was not reached, so that in the end every live block has been read exactly once and [`Blocks::words`] counts every word.
//!
//! Nothing here knows CPython. What of a block counts is asked of a [`Shapes`].

pub mod blocks;
pub mod exchange;
pub mod scan;
pub mod statics;
pub mod together;
pub mod walk;

pub use blocks::{BlockId, Blocks, Hit};
pub use statics::Statics;
pub use walk::Walk;

/// A stretch of a block whose words count: all of them, or all but one of each entry of a table.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Words to an entry; 0 if every word counts.
    pub period: usize,
    /// The word of each entry that is a number (a hash), whatever it equals.
    pub number: usize,
}

impl Part {
    /// Every word counts.
    pub const fn all(start: usize, end: usize) -> Part {
        Part { start, end, period: 0, number: 0 }
    }

    /// A table of entries of `period` words, of which the one at `number` does not count.
    pub const fn table(start: usize, end: usize, period: usize, number: usize) -> Part {
        Part { start, end, period, number }
    }

    /// Calls `stretch` with each stretch without a number in it.
    #[inline]
    pub fn for_each_stretch(&self, stretch: &mut impl FnMut(usize, usize)) {
        if self.period == 0 {
            return stretch(self.start, self.end);
        }
        let mut entry = self.start;
        while entry < self.end {
            let number = entry + 8 * self.number;
            let next = entry + 8 * self.period;
            if entry < number {
                stretch(entry, number.min(self.end));
            }
            if number + 8 < next {
                stretch((number + 8).min(self.end), next.min(self.end));
            }
            entry = next;
        }
    }
}

/// The parts of one block: few, so that collecting them first keeps borrows short.
#[derive(Clone, Copy, Default)]
pub struct Parts {
    list: [Part; 8],
    count: usize,
}

impl Parts {
    /// What the object model says of a block, cut to the block.
    pub fn of(shapes: &impl Shapes, blocks: &Blocks, id: BlockId, base: usize, bytes: usize) -> Parts {
        let mut parts = Parts::default();
        parts.fill(shapes, blocks, id, base, bytes);
        parts
    }

    /// As [`Parts::of`], in place.
    #[inline]
    pub fn fill(&mut self, shapes: &impl Shapes, blocks: &Blocks, id: BlockId, base: usize, bytes: usize) {
        self.count = 0;
        shapes.strong_parts(blocks, id, base, bytes, &mut |part| {
            if let Some(slot) = self.list.get_mut(self.count) {
                *slot = Part { end: part.end.min(base + bytes), ..part };
                self.count += 1;
            }
        });
    }

    /// The part at a place, if there are so many.
    #[inline]
    pub fn get(&self, at: usize) -> Option<Part> {
        if at < self.count { self.list.get(at).copied() } else { None }
    }

    /// Calls `stretch` with each stretch of words that count.
    #[inline]
    pub fn for_each_stretch(&self, stretch: &mut impl FnMut(usize, usize)) {
        for part in self.list.iter().take(self.count) {
            part.for_each_stretch(stretch);
        }
    }
}

/// Which words of a block count: implemented by the object model.
pub trait Shapes {
    /// Calls `part` with each part of the block whose words own what they point to; at most eight.
    fn strong_parts(&self, blocks: &Blocks, id: BlockId, base: usize, bytes: usize, part: &mut impl FnMut(Part));

    /// Where the one part of a destroyed object starts that it still owns on its free list, if there is one.
    fn kept_by_dead(&self, blocks: &Blocks, id: BlockId, base: usize) -> Option<usize>;

    /// Whether a word that leads to `hit`, the block of this object, points without owning, although it stands in a strong part.
    fn is_weak_word(&self, hit: Hit, object: usize) -> bool;

    /// The same of any block.
    #[inline]
    fn is_weak(&self, blocks: &Blocks, hit: Hit) -> bool {
        blocks.object_in_state(hit.state, hit.base).is_some_and(|object| self.is_weak_word(hit, object))
    }
}

/// Everything is a strong word: for programs without an object model.
pub struct Opaque;

impl Shapes for Opaque {
    fn strong_parts(&self, _blocks: &Blocks, _id: BlockId, base: usize, bytes: usize, part: &mut impl FnMut(Part)) {
        part(Part::all(base, base + bytes));
    }

    fn kept_by_dead(&self, _blocks: &Blocks, _id: BlockId, _base: usize) -> Option<usize> {
        None
    }

    fn is_weak_word(&self, _hit: Hit, _object: usize) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(part: Part) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        part.for_each_stretch(&mut |start, end| {
            if start < end {
                found.push((start, end));
            }
        });
        found
    }

    #[test]
    fn a_table_is_all_its_words_but_the_numbers() {
        assert_eq!(stretches(Part::all(80, 160)), [(80, 160)]);
        // Hash, key, value.
        assert_eq!(stretches(Part::table(0, 48, 3, 0)), [(8, 24), (32, 48)]);
        // Key, hash.
        assert_eq!(stretches(Part::table(0, 32, 2, 1)), [(0, 8), (16, 24)]);
        // Cut within an entry.
        assert_eq!(stretches(Part::table(0, 32, 3, 0)), [(8, 24)]);
        assert_eq!(stretches(Part::table(0, 40, 3, 1)), [(0, 8), (16, 24), (24, 32)]);
    }
}
