//! How counters are found: one for each bucket of each histogram.

use super::buckets;
use crate::heap::size_class;

/// What a histogram counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// From birth to `free`, or to the collection that found the block unreachable.
    Lifetime = 0,
    /// From birth to the moment of looking, of a block that lives.
    Age = 1,
    /// From the end of a block's life until its memory can be used again.
    Float = 2,
}

/// In what it counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Nanoseconds.
    Ns = 0,
    /// Bytes allocated meanwhile.
    Bytes = 1,
}

/// One bucket of one histogram: its number, size class, label, unit and what is counted, in this order from the lowest bit, and a bit that is always set. So sorted
/// numbers have a histogram's buckets side by side, in rising order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(u64);

const CLASS_SHIFT: u32 = 13;
const LABEL_SHIFT: u32 = 22;
const UNIT_SHIFT: u32 = 38;
const WHAT_SHIFT: u32 = 39;
const PRESENT: u64 = 1 << 41;

const _: () = assert!(buckets::BUCKETS <= 1 << CLASS_SHIFT);
const _: () = assert!(size_class::class_of((1 << 47) - 1) < 1 << (LABEL_SHIFT - CLASS_SHIFT));

impl Key {
    /// The bucket of a value.
    pub fn new(what: What, unit: Unit, label: u16, class: usize, value: u64) -> Key {
        Key(PRESENT
            | (what as u64) << WHAT_SHIFT
            | (unit as u64) << UNIT_SHIFT
            | u64::from(label) << LABEL_SHIFT
            | (class as u64) << CLASS_SHIFT
            | buckets::bucket_of(value) as u64)
    }

    /// From a number that [`super::drain`] gave.
    pub fn from_number(number: u64) -> Key {
        Key(number)
    }

    /// Its number, which is not 0.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The same histogram, as a number.
    pub fn histogram(self) -> u64 {
        self.0 >> CLASS_SHIFT
    }

    /// What is counted.
    pub fn what(self) -> What {
        match self.0 >> WHAT_SHIFT & 3 {
            0 => What::Lifetime,
            1 => What::Age,
            _ => What::Float,
        }
    }

    /// In what.
    pub fn unit(self) -> Unit {
        if self.0 >> UNIT_SHIFT & 1 == 0 { Unit::Ns } else { Unit::Bytes }
    }

    /// What the blocks held.
    pub fn label(self) -> u16 {
        (self.0 >> LABEL_SHIFT) as u16
    }

    /// The largest block of the size class, bytes. (Blocks that are larger than any slab's have classes of the same steps, for this alone.)
    pub fn block_bytes(self) -> usize {
        size_class::block_bytes((self.0 >> CLASS_SHIFT) as usize & ((1 << (LABEL_SHIFT - CLASS_SHIFT)) - 1))
    }

    /// The lowest value that the bucket counts.
    pub fn lowest_value(self) -> u64 {
        buckets::lowest_in(self.0 as usize & ((1 << CLASS_SHIFT) - 1))
    }
}
