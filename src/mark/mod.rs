//! Marking: which blocks of the snapshot a word leads to, and how many words point at each.
//!
//! One pass does both. [`scan::Marker::reach`] starts from the roots and scans every block it reaches once; [`scan::Marker::count_the_rest`] then scans
//! what was not reached, so that in the end every live block has been read exactly once and [`Blocks::words`] counts every word.
//!
//! Nothing here knows CPython. What of a block counts is asked of a [`Shapes`].

pub mod blocks;
pub mod scan;
pub mod statics;

pub use blocks::{BlockId, Blocks, Hit};
pub use statics::Statics;

/// Which words of a block count: implemented by the object model.
pub trait Shapes {
    /// Calls `part` with each part of the block whose words own what they point to.
    fn strong_parts(&self, blocks: &Blocks, id: BlockId, base: usize, bytes: usize, part: &mut impl FnMut(usize, usize));

    /// Where the one part of a destroyed object starts that it still owns on its free list, if there is one.
    fn kept_by_dead(&self, blocks: &Blocks, id: BlockId, base: usize) -> Option<usize>;

    /// Whether a word that leads to `hit` points without owning, although it stands in a strong part.
    fn is_weak(&self, blocks: &Blocks, hit: Hit) -> bool;
}

/// Everything is a strong word: for programs without an object model.
pub struct Opaque;

impl Shapes for Opaque {
    fn strong_parts(&self, _blocks: &Blocks, _id: BlockId, base: usize, bytes: usize, part: &mut impl FnMut(usize, usize)) {
        part(base, base + bytes);
    }

    fn kept_by_dead(&self, _blocks: &Blocks, _id: BlockId, _base: usize) -> Option<usize> {
        None
    }

    fn is_weak(&self, _blocks: &Blocks, _hit: Hit) -> bool {
        false
    }
}
