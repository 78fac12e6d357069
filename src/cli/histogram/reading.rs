//! Histogram files (`GCSHIM_HISTOGRAM`, docs/histograms.md): several processes may have written to one, each more than once.

use serde::Deserialize;

/// The record format that this program knows.
const SCHEMA: &str = "gcshim/1";

/// A line of a file.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Record {
    Histograms(Head),
    Histogram(Counted),
    HistogramsEnd {
        histograms: usize,
    },
    #[serde(other)]
    Other,
}

/// What stands before the histograms that a process writes at one time.
#[derive(Deserialize, Clone)]
pub struct Head {
    pub schema: String,
    pub pid: i64,
    /// One allocated byte in so many was looked for.
    pub rate: u64,
    /// Blocks larger than this, in bytes, were all looked at.
    pub always_above: u64,
    /// When counting began, ns of the machine's monotonic clock.
    pub start_ns: u64,
    pub from_ns: u64,
    pub to_ns: u64,
    /// `to_ns` by the calendar, ms since the epoch.
    pub unix_ms: u64,
    /// Since counting began.
    pub allocated_bytes: u64,
    /// The ages of what lived were taken.
    pub ages: bool,
    /// Blocks that could not be counted.
    pub lost: u64,
}

/// One histogram.
#[derive(Deserialize)]
pub struct Counted {
    pub what: What,
    pub unit: Unit,
    pub holds: Holds,
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// Of the size class, bytes.
    pub size: u64,
    /// The lowest value of each bucket, and how many blocks were counted in it.
    pub buckets: Vec<(u64, u64)>,
}

/// What is counted.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Lifetime,
    Age,
    Float,
}

/// In what.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Ns,
    Bytes,
}

/// What the blocks held.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    Object,
    Raw,
    NoObject,
    Unknown,
}

/// What a process wrote at one time.
pub struct Writing {
    pub head: Head,
    pub histograms: Vec<Counted>,
}

/// Everything that was read, in its order.
#[derive(Default)]
pub struct Files {
    pub writings: Vec<Writing>,
    /// What could not be read, a line each.
    pub notes: Vec<String>,
}

impl Files {
    /// Reads one file's bytes; `name` is how notes call it. What cannot be read is a note, never an error.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let mut open = false;
        let mut unreadable = 0;
        for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Record::Histograms(head)) => {
                    self.end(name, open);
                    open = true;
                    if head.schema != SCHEMA {
                        self.notes.push(format!("{name}: written as {}, read as {SCHEMA}", head.schema));
                    }
                    self.writings.push(Writing { head, histograms: Vec::new() });
                }
                Ok(Record::Histogram(counted)) if open => {
                    if let Some(writing) = self.writings.last_mut() {
                        writing.histograms.push(counted);
                    }
                }
                Ok(Record::HistogramsEnd { histograms }) => {
                    let found = self.writings.last().map_or(0, |w| w.histograms.len());
                    self.end(name, open && found != histograms);
                    open = false;
                }
                Ok(Record::Histogram(_)) | Err(_) => unreadable += 1,
                Ok(Record::Other) => {}
            }
        }
        self.end(name, open);
        if unreadable > 0 {
            self.notes.push(format!("{name}: {unreadable} lines are no records of histograms"));
        }
    }

    fn end(&mut self, name: &str, torn: bool) {
        if torn && let Some(writing) = self.writings.last() {
            self.notes.push(format!("{name}: what process {} wrote is not whole", writing.head.pid));
        }
    }
}
