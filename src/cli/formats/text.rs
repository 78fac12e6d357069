//! The report for people: one sentence for each finding, then where it was made, who holds it, and examples.

use std::fmt::Write;

use super::title;
use crate::cli::numbers::{count, grouped, printable, time_us};
use crate::cli::reading::{AuditReport, Report};
use crate::cli::record::{Example, Finding, Holder, NativeFrame, Process, PythonFrame};
use crate::cli::verdicts;

/// Frames shown of each kind; `json` has them all.
const FRAMES: usize = 16;
/// Examples shown of each finding.
const EXAMPLES: usize = 3;

/// Plain text, no colours.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    for process in &report.processes {
        match process.audits.as_slice() {
            [] => line(&mut out, 0, &format!("gcshim: {}: never audited", title(&process.process))),
            audits => audits.iter().for_each(|a| {
                // What several lines were said of is set apart from what follows.
                if out.lines().next_back().is_some_and(|l| l.starts_with(' ')) {
                    out.push('\n');
                }
                audit(&mut out, &process.process, a);
            }),
        }
    }
    for note in &report.notes {
        line(&mut out, 0, &format!("gcshim: {note}"));
    }
    if report.processes.is_empty() && report.notes.is_empty() {
        line(&mut out, 0, "gcshim: the report is empty");
    }
    out
}

/// A clean audit is one line.
fn audit(out: &mut String, process: &Process, audit: &AuditReport) {
    let complete = audit.summary.is_some();
    // What CPython itself does wrong is for the machine formats: nobody who runs a program can act on it.
    let shown: Vec<_> = audit.findings.iter().filter(|f| f.known.is_none()).collect();
    if shown.is_empty() && complete && audit.failing() == 0 {
        let suppressed = suppressed(audit).map(|s| format!(", {s}")).unwrap_or_default();
        line(out, 0, &format!("gcshim: {}: nothing found{suppressed}{}", title(process), cost(audit)));
        degraded(out, audit);
        return;
    }
    line(out, 0, &format!("gcshim: {}{}", title(process), cost(audit)));
    for f in &shown {
        out.push('\n');
        finding(out, f);
    }
    out.push('\n');
    degraded(out, audit);
    if !complete {
        line(out, 1, "this audit was cut off: there may be more");
    }
    let mut total = count(shown.len() as u64, "finding");
    let _ = write!(total, ", {} failing", grouped(audit.failing()));
    if let Some(suppressed) = suppressed(audit) {
        let _ = write!(total, ", {suppressed}");
    }
    line(out, 1, &total);
}

/// When it was audited and what that took.
fn cost(audit: &AuditReport) -> String {
    let a = &audit.audit;
    let mut parts = Vec::new();
    if let Some(trigger) = &a.trigger {
        parts.push(format!("audit at {}", printable(trigger)));
    }
    if let Some(objects) = a.objects {
        parts.push(count(objects, "object"));
    }
    if let Some(us) = a.pause_us {
        parts.push(format!("paused {}", time_us(us)));
    }
    if let Some(ms) = a.total_ms {
        parts.push(format!("took {}", time_us(ms.saturating_mul(1000))));
    }
    if a.torn {
        parts.push("taken without the GIL: counts and words may not belong together".into());
    }
    if parts.is_empty() { String::new() } else { format!("; {}", parts.join(", ")) }
}

fn suppressed(audit: &AuditReport) -> Option<String> {
    (!audit.suppressed.is_empty()).then(|| format!("{} suppressed", grouped(audit.suppressed.len() as u64)))
}

fn degraded(out: &mut String, audit: &AuditReport) {
    for d in &audit.degraded {
        let times = d.count.filter(|n| *n > 1).map(|n| format!(" ({})", grouped(n))).unwrap_or_default();
        line(out, 1, &format!("incomplete: {}{times}", printable(&d.what)));
    }
}

fn finding(out: &mut String, f: &Finding) {
    let note = if f.failing { "" } else { " (information)" };
    line(out, 1, &format!("{}{note}: {}", printable(&f.verdict), verdicts::sentence(f)));
    some(out, &f.site.python, "made at", python_frame);
    some(out, &f.site.native, "made in", native_frame);
    if let Some(freed) = &f.freed {
        some(out, &freed.python, "freed at", python_frame);
        some(out, &freed.native, "freed in", native_frame);
    }
    if !f.through.is_empty() {
        let lost: Vec<String> =
            f.through.iter().map(|t| format!("{} {}", grouped(t.objects.unwrap_or(1)), name(&t.type_name))).collect();
        line(out, 3, &format!("lost with it: {}", lost.join(", ")));
    }
    if !f.holders.is_empty() {
        let holders: Vec<String> = f.holders.iter().map(holder).collect();
        line(out, 3, &format!("held by: {}", holders.join(", ")));
    }
    if let Some(detail) = &f.detail {
        line(out, 3, &printable(detail));
    }
    let is_object = f.verdict != "leaked-block";
    f.examples.iter().take(EXAMPLES).for_each(|e| line(out, 3, &example(e, is_object)));
}

/// Up to `FRAMES` frames, innermost first, and how many there are more.
fn some<T>(out: &mut String, frames: &[T], label: &str, show: fn(&T) -> String) {
    for (i, frame) in frames.iter().take(FRAMES).enumerate() {
        let label = if i == 0 { label } else { "called by" };
        line(out, 3, &format!("{label} {}", show(frame)));
    }
    if frames.len() > FRAMES {
        line(out, 3, &format!("and {} more", count((frames.len() - FRAMES) as u64, "frame")));
    }
}

fn python_frame(frame: &PythonFrame) -> String {
    let function = printable(frame.function.as_deref().unwrap_or("?"));
    format!("{function} ({})", place(frame.file.as_deref(), frame.line))
}

fn native_frame(frame: &NativeFrame) -> String {
    let function = frame.function.as_deref().or(frame.symbol.as_deref()).map(printable);
    let module = frame.module.as_deref().map(|m| m.rsplit('/').next().unwrap_or(m)).unwrap_or("?");
    let offset = frame.offset.map(|o| format!("+{o}")).unwrap_or_default();
    let module = format!("{}{offset}", printable(module));
    match (function, &frame.file) {
        (Some(function), Some(file)) => format!("{function} ({}), {module}", place(Some(file), frame.line)),
        (None, Some(file)) => format!("{}, {module}", place(Some(file), frame.line)),
        (Some(function), None) => format!("{function}, {module}"),
        (None, None) => module,
    }
}

fn place(file: Option<&str>, line: Option<u64>) -> String {
    let file = printable(file.unwrap_or("?"));
    line.map_or(file.clone(), |line| format!("{file}:{line}"))
}

fn name(name: &Option<String>) -> String {
    printable(name.as_deref().unwrap_or("?"))
}

fn holder(holder: &Holder) -> String {
    let name = name(&holder.type_name);
    holder.words.map_or(name.clone(), |n| format!("{name} ({})", count(n, "word")))
}

/// One object and the numbers it was judged by; a native block has none.
fn example(e: &Example, is_object: bool) -> String {
    let mut what = match &e.preview {
        Some(preview) => printable(preview),
        None => "one".to_string(),
    };
    if let Some(address) = e.address {
        let _ = write!(what, " at {address}");
    }
    let numbers: Vec<String> = [
        e.refcount.map(|n| format!("refcount {n}")),
        e.words.map(|n| format!("words {n}")),
        e.tagged.filter(|n| *n > 0).map(|n| format!("tagged {n}")),
        e.owned.map(|n| format!("owned {n}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if numbers.is_empty() || !is_object { what } else { format!("{what}: {}", numbers.join(", ")) }
}

/// One line, two columns for each step of depth.
fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:width$}{text}", "", width = depth * 2);
}
