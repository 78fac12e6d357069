//! From counted samples to estimates of all blocks, summed over processes.
//!
//! A block of `size` bytes was looked at with probability `1 - exp(-size / rate)`; each that was stands for the inverse of that many.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::reading::{Counted, Files, Head, Holds, Unit, What, Writing};
use crate::cli::numbers;

/// What histograms are told apart by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The type of the object in the block.
    Type,
    /// The size class.
    Size,
}

impl clap::ValueEnum for By {
    fn value_variants<'a>() -> &'a [By] {
        &[By::Type, By::Size]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            By::Type => "type",
            By::Size => "size",
        }))
    }
}

impl By {
    fn name_of(self, counted: &Counted) -> String {
        match (self, counted.holds) {
            (By::Size, _) => format!("{} bytes", numbers::grouped(counted.size)),
            (By::Type, Holds::Object) => counted.type_name.clone().unwrap_or_else(|| "(no name)".into()),
            (By::Type, Holds::Raw) => "(native memory)".into(),
            (By::Type, Holds::NoObject) => "(no object)".into(),
            (By::Type, Holds::Unknown) => "(unknown type)".into(),
        }
    }
}

/// What is counted, in what, and of what.
pub type Key = (What, Unit, String);

/// The sum of all histograms of a key.
#[derive(Default, Clone)]
pub struct Sum {
    /// How many blocks there were, by estimate, at each bucket's lowest value.
    buckets: BTreeMap<u64, f64>,
    /// Their bytes, by estimate.
    pub bytes: f64,
    /// How many were looked at.
    pub samples: u64,
}

/// How many blocks one that was looked at stands for.
pub fn weight(head: &Head, size: u64) -> f64 {
    if head.rate <= 1 || size > head.always_above { 1.0 } else { -1.0 / (-(size as f64) / head.rate as f64).exp_m1() }
}

impl Sum {
    fn add(&mut self, head: &Head, counted: &Counted) {
        let weight = weight(head, counted.size);
        for &(value, count) in &counted.buckets {
            *self.buckets.entry(value).or_default() += count as f64 * weight;
            self.bytes += count as f64 * weight * counted.size as f64;
            self.samples += count;
        }
    }

    /// As HdrHistogram's own: the buckets are the same, the counts rounded.
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_max(u64::MAX / 2, 2).expect("two digits are possible");
        for (&value, &count) in &self.buckets {
            // Values beyond the range stand in its last bucket.
            histogram.saturating_record_n(value, count.round() as u64);
        }
        histogram
    }
}

/// The sums of one writing.
pub fn of_writing(writing: &Writing, by: By) -> BTreeMap<Key, Sum> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for counted in &writing.histograms {
        sums.entry((counted.what, counted.unit, by.name_of(counted))).or_default().add(&writing.head, counted);
    }
    sums
}

/// The sums of all files. Of the ages of what lived only those that each process wrote last: what lives is seen at each writing anew.
pub fn of_files(files: &Files, by: By) -> BTreeMap<Key, Sum> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for (at, writing) in files.writings.iter().enumerate() {
        let later = files.writings.iter().skip(at + 1).any(|w| w.head.ages && process(w) == process(writing));
        for counted in writing.histograms.iter().filter(|c| c.what != What::Age || !later) {
            sums.entry((counted.what, counted.unit, by.name_of(counted))).or_default().add(&writing.head, counted);
        }
    }
    sums
}

/// What tells processes apart: numbers are used again.
pub fn process(writing: &Writing) -> (i64, u64) {
    (writing.head.pid, writing.head.start_ns)
}

/// One block of the table: what is counted, in what, and the sums, those of the most bytes first.
pub struct Group<'a> {
    pub what: What,
    pub unit: Unit,
    pub rows: Vec<(&'a str, &'a Sum)>,
}

impl Group<'_> {
    /// Its title.
    pub fn title(&self) -> &'static str {
        match (self.what, self.unit) {
            (What::Lifetime, Unit::Ns) => "lifetime",
            (What::Lifetime, Unit::Bytes) => "lifetime, in bytes allocated meanwhile",
            (What::Age, Unit::Ns) => "age of what lives",
            (What::Age, Unit::Bytes) => "age of what lives, in bytes allocated meanwhile",
            (What::Float, Unit::Ns) => "time from the end of life to reuse",
            (What::Float, Unit::Bytes) => "time from the end of life to reuse, in bytes allocated meanwhile",
        }
    }

    /// A value as people read it.
    pub fn value(&self, value: u64) -> String {
        match self.unit {
            Unit::Bytes => numbers::size(value),
            Unit::Ns if value < 1000 => format!("{value} ns"),
            Unit::Ns => numbers::time_us(value / 1000),
        }
    }
}

/// The sums in groups.
pub fn groups(sums: &BTreeMap<Key, Sum>) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for ((what, unit, name), sum) in sums {
        match groups.last_mut() {
            Some(group) if (group.what, group.unit) == (*what, *unit) => group.rows.push((name, sum)),
            _ => groups.push(Group { what: *what, unit: *unit, rows: vec![(name, sum)] }),
        }
    }
    for group in &mut groups {
        group.rows.sort_by(|a, b| b.1.bytes.total_cmp(&a.1.bytes).then(a.0.cmp(b.0)));
    }
    groups
}
