//! The only check that proves anything: an interpreter is given one leak, and the audit must find it and nothing else.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Level, limited};
use crate::cli::library;
use crate::cli::numbers::printable;
use crate::cli::reading::Report;
use crate::cli::verdicts;
use crate::options::OPTIONS;

/// A list that nobody holds, with one reference left over.
const LEAK: &str = "import ctypes; o = [1]; ctypes.pythonapi.Py_IncRef(ctypes.py_object(o)); del o";
/// What counts as another finding: the verdicts that a wrong object model would give. Not `missing-traverse`: CPython's own ctypes has that bug
/// (before 3.13, StgDict does not visit its members).
const FAIL_ON: &str = "leaked-object,leaked-reference,over-released,uncollectable-cycle,leaked-block";
/// What CPython 3.8 itself leaks while it starts (pylifecycle.c never releases the new references to sys, builtins and _warnings).
const SUPPRESSIONS_3_8: &str = "leaked-object:module\nleaked-reference:module\n";
/// Interpreters built without libffi have no ctypes.
const HAS_CTYPES: &str = "import ctypes";
/// An audit of so small a program takes milliseconds; this is for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Audits the interpreter of this version (`3.11.7`) and says how that went.
pub fn audit(python: &Path, version: &str, shim: &Path) -> (Level, String) {
    match try_audit(python, version, shim) {
        Ok(done) => done,
        Err(error) => (Level::Fail, format!("could not be tried: {error}")),
    }
}

fn try_audit(python: &Path, version: &str, shim: &Path) -> std::io::Result<(Level, String)> {
    if !limited::run(Command::new(python).args(["-c", HAS_CTYPES]), PATIENCE)?.succeeded() {
        return Ok((Level::Warn, "has no ctypes module, so it cannot be tried here".into()));
    }
    let folder = tempfile::Builder::new().prefix("gcshim-").tempdir()?;
    let file = folder.path().join("report.ndjson");
    let mut command = Command::new(python);
    command.args(["-c", LEAK]);
    // What the user has set must not decide what this finds; PYTHON* variables stay, they are part of what is checked.
    for opt in OPTIONS {
        command.env_remove(opt.name);
    }
    command.env("LD_PRELOAD", library::preload(shim, std::env::var_os("LD_PRELOAD")));
    command.env("GCSHIM_REPORT", &file).env("GCSHIM_PLAIN", "0").env("GCSHIM_FAIL_ON", FAIL_ON);
    if version.starts_with("3.8.") {
        let known = folder.path().join("suppressions");
        std::fs::write(&known, SUPPRESSIONS_3_8)?;
        command.env("GCSHIM_SUPPRESSIONS", known);
    }
    let outcome = limited::run(&mut command, PATIENCE)?;
    if !outcome.succeeded() {
        return Ok((Level::Fail, format!("breaks under the shim: {}", outcome.describe())));
    }
    let mut report = Report::default();
    match std::fs::read(&file) {
        Ok(bytes) => report.add("its report", &bytes),
        Err(_) => {
            let why = outcome.stderr.lines().last().map(|l| format!(": {}", printable(l))).unwrap_or_default();
            return Ok((Level::Fail, format!("is not audited{why}")));
        }
    }
    Ok(judge(&report))
}

/// The seeded leak must be there, whole, and alone among the failing findings.
fn judge(report: &Report) -> (Level, String) {
    if let Some(note) = report.notes.first() {
        return (Level::Fail, note.clone());
    }
    let Some((_, audit)) = report.audits().next() else {
        return (Level::Fail, "is not audited: the report has no audit".into());
    };
    if audit.summary.is_none() {
        return (Level::Fail, "the audit was cut off".into());
    }
    let seeded = |f: &crate::cli::record::Finding| f.verdict == "leaked-object" && f.type_name.as_deref() == Some("list");
    if !audit.findings.iter().any(seeded) {
        return (Level::Fail, "is audited, but a leaked list was not found".into());
    }
    let others: Vec<String> = audit
        .findings
        .iter()
        .filter(|f| f.failing && !seeded(f))
        .map(|f| format!("{}: {}", printable(&f.verdict), verdicts::sentence(f)))
        .collect();
    match others.as_slice() {
        [] => (Level::Ok, "a leaked list was found, and nothing else".into()),
        [other, ..] => (Level::Warn, format!("a leaked list was found, and also {other}")),
    }
}
