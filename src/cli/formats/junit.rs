//! The report as JUnit XML: a suite for each audit, a test case for each finding. A failing finding is a failed test; a clean audit
//! is one test that passed, so that "nothing found" and "nothing ran" differ.

use std::fmt::Write;

use super::title;
use crate::cli::reading::{AuditReport, Report};
use crate::cli::record::{Finding, Process};
use crate::cli::verdicts;

/// XML, UTF-8.
pub fn render(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tests: usize = report.audits().map(|(_, a)| a.findings.len().max(1)).sum();
    let failures = report.audits().map(|(_, a)| a.findings.iter().filter(|f| f.failing).count()).sum::<usize>();
    let errors = report.audits().filter(|(_, a)| cut_off(a)).count();
    let _ =
        writeln!(out, "<testsuites name=\"gcshim\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">", tests + errors);
    for (process, audit) in report.audits() {
        suite(&mut out, process, audit);
    }
    out.push_str("</testsuites>\n");
    out
}

/// An audit without its summary may have lost findings: that is an error of the run, not a pass.
fn cut_off(audit: &AuditReport) -> bool {
    audit.summary.is_none()
}

fn suite(out: &mut String, process: &Process, audit: &AuditReport) {
    let failures = audit.findings.iter().filter(|f| f.failing).count();
    let errors = usize::from(cut_off(audit));
    let tests = audit.findings.len().max(1) + errors;
    let seconds = audit.audit.total_ms.unwrap_or(0) as f64 / 1000.0;
    let name = attribute(&title(process));
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\">"
    );
    if audit.findings.is_empty() {
        let _ = writeln!(out, "    <testcase classname=\"gcshim\" name=\"nothing found\"/>");
    }
    for finding in &audit.findings {
        case(out, finding);
    }
    if errors > 0 {
        let _ = writeln!(
            out,
            "    <testcase classname=\"gcshim\" name=\"audit\"><error message=\"cut off: there may be more\"/></testcase>"
        );
    }
    let _ = writeln!(out, "  </testsuite>");
}

fn case(out: &mut String, f: &Finding) {
    let class = attribute(&format!("gcshim.{}", f.verdict));
    let name = attribute(f.type_name.as_deref().unwrap_or("native block"));
    let sentence = verdicts::sentence(f);
    let file = f.site.python.first().and_then(|frame| Some((frame.file.as_ref()?, frame.line?)));
    let place = file.map(|(file, line)| format!(" file=\"{}\" line=\"{line}\"", attribute(file))).unwrap_or_default();
    let body = text(&format!("{sentence}\n{}", verdicts::of(&f.verdict).advice));
    let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"{place}>");
    if f.failing {
        let _ = write!(out, "<failure type=\"{}\" message=\"{}\">{body}</failure>", attribute(&f.verdict), attribute(&sentence));
    } else {
        let _ = write!(out, "<system-out>{body}</system-out>");
    }
    out.push_str("</testcase>\n");
}

/// Escaped for an attribute in double quotes.
fn attribute(raw: &str) -> String {
    text(raw).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

/// Escaped for text. XML 1.0 has no way to write most control characters.
fn text(raw: &str) -> String {
    raw.chars()
        .map(
            |c| {
                if matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..) { c } else { '\u{fffd}' }
            },
        )
        .collect::<String>()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
