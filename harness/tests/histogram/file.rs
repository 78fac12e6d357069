//! Histogram files, read straight from their records: each histogram as the buckets that are not empty.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::support::process::{Outcome, Program};
use crate::support::{report, shim};

/// What a histogram counts: what, unit, what the blocks held (a type's name, or `raw` and so on), bytes of the size class.
pub type Key = (String, String, String, u64);

/// One writing of one process.
pub struct Dump {
    /// The record at its head.
    pub head: Value,
    /// Its histograms.
    pub histograms: BTreeMap<Key, Buckets>,
}

/// The buckets of a histogram that are not empty: their lowest values, and how many were counted.
pub type Buckets = Vec<(u64, u64)>;

/// A histogram of these values, as HdrHistogram makes it.
pub fn of(values: impl IntoIterator<Item = u64>) -> Buckets {
    let mut histogram = empty();
    values.into_iter().for_each(|v| histogram.record(v).expect("in range"));
    histogram.iter_recorded().map(|v| (histogram.lowest_equivalent(v.value_iterated_to()), v.count_at_value())).collect()
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_max(u64::MAX / 2, 2).expect("two digits")
}

impl Dump {
    /// The values counted for a key; none if there is no such histogram.
    pub fn get(&self, what: &str, unit: &str, holds: &str, size: u64) -> Buckets {
        self.histograms.get(&(what.into(), unit.into(), holds.into(), size)).cloned().unwrap_or_default()
    }

    /// How many were counted of a type, of any size.
    pub fn count(&self, what: &str, holds: &str) -> u64 {
        self.histograms.iter().filter(|(k, _)| k.0 == what && k.1 == "ns" && k.2 == holds).map(|(_, h)| total(h)).sum()
    }
}

/// How many values were counted.
pub fn total(buckets: &Buckets) -> u64 {
    buckets.iter().map(|b| b.1).sum()
}

/// All that a file holds, in its order. Each writing must be whole.
pub fn read(path: &Path) -> Vec<Dump> {
    let mut dumps: Vec<Dump> = Vec::new();
    let mut ended = true;
    let reference = empty();
    for record in report::read(path) {
        match record["kind"].as_str() {
            Some("histograms") => {
                assert!(ended && record["schema"] == "gcshim/1", "{record}");
                ended = false;
                dumps.push(Dump { head: record, histograms: BTreeMap::new() });
            }
            Some("histogram") => {
                let dump = dumps.last_mut().expect("a head first");
                let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
                let holds = if record["holds"] == "object" { text("type") } else { text("holds") };
                let pairs = record["buckets"].as_array().expect("buckets").iter();
                let number = |v: &Value| v.as_u64().expect("a number");
                let buckets: Buckets = pairs.map(|pair| (number(&pair[0]), number(&pair[1]))).collect();
                // The shim's buckets are HdrHistogram's, in rising order.
                assert!(buckets.iter().all(|&(value, count)| reference.lowest_equivalent(value) == value && count > 0));
                assert!(buckets.is_sorted_by(|a, b| a.0 < b.0), "{record}");
                let key = (text("what"), text("unit"), holds, record["size"].as_u64().expect("a size"));
                assert!(dump.histograms.insert(key, buckets).is_none(), "twice: {record}");
            }
            Some("histograms-end") => {
                let dump = dumps.last().expect("a head first");
                assert_eq!(record["histograms"].as_u64(), Some(dump.histograms.len() as u64));
                ended = true;
            }
            _ => panic!("{record}"),
        }
    }
    assert!(ended, "cut off");
    dumps
}

/// A program run with histograms of every block (or at another rate), and what it and its children wrote: by process id.
pub fn run(program: Program, rate: u32) -> (Outcome, BTreeMap<u64, Vec<Dump>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = program
        .env("LD_PRELOAD", shim::library())
        .env("GCSHIM_HISTOGRAM", folder.path().join("%p"))
        .env("GCSHIM_HISTOGRAM_RATE", rate.to_string())
        .run();
    assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder.path()).expect("the folder").flatten() {
        let path: PathBuf = entry.path();
        let pid = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a process id");
        files.insert(pid, read(&path));
    }
    (outcome, files)
}
