//! HDR interval logs, which HdrHistogram's own tools read and plot: an interval for each time that a process wrote, a histogram for each tag.

use std::time::Duration;

use anyhow::anyhow;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::merged::{self, By};
use super::reading::{Files, Unit, What, Writing};

/// The log's text.
pub fn render(files: &Files, by: By) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!("[Histogram log format version 1.3]\nwritten by gcshim {}", env!("CARGO_PKG_VERSION")))
        .begin_log_with(&mut out, &mut serializer)?;
    let mut writings: Vec<&Writing> = files.writings.iter().collect();
    writings.sort_by_key(|w| start_ms(w));
    for writing in writings {
        let start = Duration::from_millis(start_ms(writing));
        let length = Duration::from_nanos(writing.head.to_ns.saturating_sub(writing.head.from_ns));
        for ((what, unit, name), sum) in merged::of_writing(writing, by) {
            let text = tag(what, unit, &name);
            let tag = Tag::new(&text).ok_or_else(|| anyhow!("{text} is no tag"))?;
            log.write_histogram(&sum.histogram(), start, length, Some(tag)).map_err(|e| anyhow!("{e}"))?;
        }
    }
    Ok(out)
}

fn start_ms(writing: &Writing) -> u64 {
    let head = &writing.head;
    head.unix_ms.saturating_sub(head.to_ns.saturating_sub(head.from_ns) / 1_000_000)
}

/// `lifetime.ns.list`. What would end a tag, or its line, becomes an underscore.
fn tag(what: What, unit: Unit, name: &str) -> String {
    let what = match what {
        What::Lifetime => "lifetime",
        What::Age => "age",
        What::Float => "float",
    };
    let unit = match unit {
        Unit::Ns => "ns",
        Unit::Bytes => "bytes",
    };
    let name: String =
        name.chars().map(|c| if c.is_whitespace() || c.is_control() || ",=".contains(c) { '_' } else { c }).collect();
    format!("{what}.{unit}.{name}")
}
