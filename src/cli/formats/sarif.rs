//! The report as SARIF 2.1.0: verdicts are rules, findings are results, the innermost frame with a file is the location.

use std::path::Path;

use serde_json::{Value, json};

use super::title;
use crate::cli::reading::Report;
use crate::cli::record::{Finding, Process};
use crate::cli::verdicts;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One SARIF document with one run.
pub fn render(report: &Report) -> String {
    let rules: Vec<Value> = verdicts::VERDICTS
        .iter()
        .map(|v| {
            json!({
                "id": v.name,
                "shortDescription": { "text": v.meaning },
                "help": { "text": v.advice },
            })
        })
        .collect();
    let folder = std::env::current_dir().unwrap_or_default();
    let results: Vec<Value> = report.audits().flat_map(|(p, a)| a.findings.iter().map(|f| result(f, p, &folder))).collect();
    let whole = report.notes.is_empty() && report.audits().all(|(_, a)| a.summary.is_some());
    let mut notes: Vec<Value> = report.notes.iter().map(|note| notification(note)).collect();
    for (process, audit) in report.audits() {
        notes.extend(audit.degraded.iter().map(|d| notification(&format!("{}: incomplete: {}", title(process), d.what))));
    }
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "gcshim", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "invocations": [{ "executionSuccessful": whole, "toolExecutionNotifications": notes }],
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn notification(text: &str) -> Value {
    json!({ "level": "warning", "message": { "text": text } })
}

fn result(f: &Finding, process: &Process, folder: &Path) -> Value {
    let level = if f.failing { "error" } else { "note" };
    let places = places(f, folder);
    let mut text = verdicts::sentence(f);
    if let Some(detail) = &f.detail {
        text = format!("{text}. {detail}");
    }
    let mut result = json!({
        "ruleId": f.verdict,
        "level": level,
        "message": { "text": text },
        // The same bug in the next run: counts and sizes may differ, so they are no part of it.
        "partialFingerprints": { "gcshim/1": fingerprint(f) },
        "properties": { "process": title(process), "objects": f.objects, "references": f.references, "bytes": f.bytes },
    });
    if let Some(index) = verdicts::VERDICTS.iter().position(|v| v.name == f.verdict) {
        result["ruleIndex"] = index.into();
    }
    let mut location = json!({});
    if let Some(first) = places.first() {
        location = first.clone();
    }
    if let Some(name) = &f.type_name {
        location["logicalLocations"] = json!([{ "name": name, "kind": "type" }]);
    }
    if location != json!({}) {
        result["locations"] = json!([location]);
    }
    if places.len() > 1 {
        let frames: Vec<Value> = places.into_iter().map(|location| json!({ "location": location })).collect();
        result["stacks"] = json!([{ "frames": frames }]);
    }
    result
}

/// Locations of the frames that have a file: Python's first, they are what a user can change.
fn places(f: &Finding, folder: &Path) -> Vec<Value> {
    let python = f.site.python.iter().map(|p| (p.file.as_deref(), p.line, p.function.as_deref()));
    let native = f.site.native.iter().map(|n| (n.file.as_deref(), n.line, n.function.as_deref().or(n.symbol.as_deref())));
    python
        .chain(native)
        .filter_map(|(file, line, function)| {
            let mut physical = json!({ "artifactLocation": { "uri": uri(file?, folder) } });
            // Lines count from 1; a 0 means that the compiler does not know.
            if let Some(line) = line.filter(|line| *line > 0) {
                physical["region"] = json!({ "startLine": line });
            }
            let mut location = json!({ "physicalLocation": physical });
            if let Some(function) = function {
                location["message"] = json!({ "text": function });
            }
            Some(location)
        })
        .collect()
}

/// Relative below the current folder, as code scanning wants it, else a file URI.
fn uri(file: &str, folder: &Path) -> String {
    let path = Path::new(file);
    match path.strip_prefix(folder) {
        Ok(relative) => percent(&relative.to_string_lossy()),
        Err(_) if path.is_absolute() => format!("file://{}", percent(file)),
        Err(_) => percent(file),
    }
}

fn percent(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, b| {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            _ => out += &format!("%{b:02X}"),
        }
        out
    })
}

/// What makes two findings the same bug: verdict, type and innermost function.
fn fingerprint(f: &Finding) -> String {
    let python = f.site.python.first().and_then(|frame| frame.function.as_deref());
    let native = f.site.native.first().and_then(|frame| frame.symbol.as_deref());
    [Some(f.verdict.as_str()), f.type_name.as_deref(), python, native].map(|part| part.unwrap_or_default()).join("|")
}
