//! The findings as plain lines on standard error, for a run without the command-line program.

use core::fmt::Write;

use super::census::Census;
use super::findings::Finding;
use super::labels::Labels;
use super::records::Head;
use super::sites;
use crate::finalizers::refcount_validator::Verdict;
use crate::sys::text::Writer;

/// Findings shown; the rest is counted, and all are in the report file.
const SHOWN: usize = 20;

/// Writes the failing findings. A clean program gets nothing, unless hardly anything could be looked at.
pub fn write(w: &mut Writer, census: &mut Census, labels: &Labels, head: &Head<'_>) {
    let failing =
        (0..census.findings.all().len()).filter(|&at| !labels.suppressed(at) && census.fails(&census.findings.all()[at]));
    let (mut shown, mut total) = (0, 0);
    let mut list = [0usize; SHOWN];
    for at in failing {
        if let Some(slot) = list.get_mut(shown) {
            *slot = at;
            shown += 1;
        }
        total += 1;
    }
    if total == 0 && census.roots.complete() {
        return;
    }
    for &at in list.iter().take(shown) {
        let one = census.findings.all()[at];
        let _ = write!(w, "gcshim: {}: ", one.verdict().name());
        sentence(w, &one, labels.get(at).as_bytes());
        w.bytes(b"\n");
        sites::plain(w, head.modules, &one);
        details(w, census, &one);
    }
    if total > shown {
        let _ = writeln!(w, "gcshim: and {} more findings; set GCSHIM_REPORT=FILE to have them all", total - shown);
    }
    for d in census.degraded_copy().iter().filter(|d| d.count > 0) {
        let text = census.degraded_text(d);
        w.bytes(b"gcshim: not done: ");
        w.bytes(text.as_bytes());
        let _ = writeln!(w, " ({})", d.count);
    }
    let objects = census.model.as_ref().map_or(0, |m| m.objects);
    let _ = writeln!(
        w,
        "gcshim: {total} finding{} among {objects} objects in {} blocks ({} ms, at {}{})",
        if total == 1 { "" } else { "s" },
        census.blocks.live(),
        head.total_ms,
        head.trigger,
        if head.torn { ", without the GIL: numbers may not belong together" } else { "" }
    );
    w.flush();
}

fn sentence(w: &mut Writer, one: &Finding, label: &[u8]) {
    let (objects, references) = (one.objects, one.references);
    match one.verdict() {
        Verdict::LeakedObject => {
            count(w, objects, label);
            let _ = write!(w, " lost: {references} reference{} that nobody holds, {} bytes", s(references), one.bytes);
        }
        Verdict::LeakedReference => {
            w.bytes(label);
            let _ = write!(w, ": {references} reference{} more than pointers to it", s(references));
            if objects > 1 {
                let _ = write!(w, ", on {objects} objects");
            }
        }
        Verdict::OverReleased => {
            w.bytes(label);
            let _ = write!(w, ": {references} reference{} fewer than owners; it will be freed while in use", s(references));
            if objects > 1 {
                let _ = write!(w, " ({objects} objects)");
            }
        }
        Verdict::UncollectableCycle => {
            count(w, objects, label);
            let _ = write!(w, " in unreachable cycles that gc cannot see, {} bytes", one.bytes);
        }
        Verdict::MissingTraverse => {
            w.bytes(label);
            let _ = write!(w, ": tp_traverse does not visit the reference at offset {} ({objects} instances)", one.key.what);
        }
        Verdict::LeakedBlock => {
            // The label is "block of N bytes".
            let _ = write!(w, "{objects} block{}", s(objects));
            w.bytes(label.strip_prefix(b"block").unwrap_or(label));
            let _ = write!(w, " allocated, never freed, and nothing points to {}", if objects == 1 { "it" } else { "them" });
            if one.bytes > one.key.what as u64 * objects {
                let _ = write!(w, " ({} bytes with what they hold)", one.bytes);
            }
        }
        Verdict::FreedWhileReferenced => {
            let _ = write!(w, "{objects} block{}", s(objects));
            w.bytes(label.strip_prefix(b"block").unwrap_or(label));
            let _ =
                write!(w, " freed, and {references} pointer{} into {}", s(references), if objects == 1 { "it" } else { "them" });
        }
        _ => count(w, objects, label),
    }
}

fn count(w: &mut Writer, objects: u64, label: &[u8]) {
    let _ = write!(w, "{objects} ");
    w.bytes(label);
    w.bytes(if objects == 1 { b" object" } else { b" objects" });
}

fn s(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn details(w: &mut Writer, census: &mut Census, one: &Finding) {
    for example in one.examples().iter().take(2) {
        let n = example.numbers;
        let _ = write!(w, "gcshim:     {:#x}", example.address);
        let preview = census.preview(one, example.address);
        if !preview.is_empty() {
            w.bytes(b" ");
            w.bytes(preview.as_bytes());
        }
        if one.key.type_address != 0 {
            let _ = write!(w, " refcount {}, owned {}, words {}", n.refcount, n.owned, n.words);
        }
        w.bytes(b"\n");
    }
    let mut list = |w: &mut Writer, title: &[u8], entries: &mut dyn FnMut(&mut Writer, &mut Census, usize) -> bool| {
        for i in 0..super::findings::KINDS_LISTED {
            if i == 0 {
                w.bytes(title);
            }
            if !entries(w, census, i) {
                break;
            }
        }
        w.bytes(b"\n");
    };
    if one.through[0].1 > 0 {
        list(w, b"gcshim:     keeps", &mut |w, census, i| {
            let (type_address, n) = one.through[i];
            if n > 0 {
                let name = census.type_label(type_address);
                let _ = write!(w, "{} {n} ", if i > 0 { "," } else { "" });
                w.bytes(name.as_bytes());
            }
            n > 0
        });
    }
    if one.holders[0].1 > 0 {
        list(w, b"gcshim:     held by", &mut |w, census, i| {
            let (holder, n) = one.holders[i];
            if n > 0 {
                let name = census.holder_label(holder);
                w.bytes(if i > 0 { b", " } else { b" " });
                w.bytes(name.as_bytes());
                let _ = write!(w, " ({n} word{})", s(u64::from(n)));
            }
            n > 0
        });
    }
}
