//! The percentiles as a table.

use std::fmt::Write;

use super::merged::{Group, process};
use super::reading::Files;
use crate::cli::numbers::{count, grouped, printable, size};

/// The columns: the share of blocks that is at or below the value.
pub const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];

/// Characters of a name.
const NAME_WIDTH: usize = 34;

/// One line of what was read.
pub fn summary(files: &Files) -> String {
    let mut processes: Vec<_> = files.writings.iter().map(process).collect();
    processes.sort_unstable();
    processes.dedup();
    let mut bytes = 0;
    for id in &processes {
        bytes += files.writings.iter().filter(|w| process(w) == *id).map(|w| w.head.allocated_bytes).max().unwrap_or(0);
    }
    let mut rates: Vec<u64> = files.writings.iter().map(|w| w.head.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let looked = match rates.as_slice() {
        [] | [1] => "every block looked at".to_string(),
        [rate] => format!("the block of one byte in {} looked at", grouped(*rate)),
        _ => "looked at with different rates".to_string(),
    };
    let lost: u64 = files.writings.iter().map(|w| w.head.lost).sum();
    let lost = if lost > 0 { format!("; {} could not be counted", count(lost, "block")) } else { String::new() };
    let noun = if processes.len() == 1 { "process" } else { "processes" };
    format!("{} {noun}, {} allocated, {looked}{lost}", grouped(processes.len() as u64), size(bytes))
}

/// All groups, each with its `top` first rows.
pub fn render(files: &Files, groups: &[Group], top: usize) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", summary(files));
    for group in groups {
        let _ = write!(out, "\n{}\n{:NAME_WIDTH$}{:>14}{:>10}", group.title(), "", "blocks", "bytes");
        for (_, title) in QUANTILES {
            let _ = write!(out, "{title:>10}");
        }
        let _ = writeln!(out, "{:>10}", "max");
        for (name, sum) in group.rows.iter().take(top) {
            let histogram = sum.histogram();
            let mut name = printable(name);
            if name.chars().count() >= NAME_WIDTH {
                name = name.chars().take(NAME_WIDTH - 2).chain(['…']).collect();
            }
            let _ = write!(out, "{name:NAME_WIDTH$}{:>14}{:>10}", grouped(histogram.len()), size(sum.bytes as u64));
            for (quantile, _) in QUANTILES {
                let _ = write!(out, "{:>10}", group.value(histogram.value_at_quantile(quantile)));
            }
            let _ = writeln!(out, "{:>10}", group.value(histogram.max()));
        }
        if group.rows.len() > top {
            let _ = writeln!(out, "and {} more (--top)", group.rows.len() - top);
        }
    }
    for note in &files.notes {
        let _ = writeln!(out, "\ngcshim: {}", printable(note));
    }
    out
}
