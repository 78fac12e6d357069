//! `tp_traverse` functions that misbehave: the program never notices, the report names the type, and everything else in it is right.

use crate::support::interpreters::{self, Interpreter};
use crate::support::{compile, report, shim};

const LOST: u64 = 7;

/// What the report must say of the type.
const ENDED_BY_FAULT: &str = "crashed or did not return";
const CHANGED: &str = "changed memory";
const ENDED_THE_PROCESS: &str = "ended the process";

fn problem(interpreter: &Interpreter, kind: &str, says: &str) -> Option<String> {
    let script = shim::package().join("harness/programs/snapshot_traverse.py");
    let program = interpreter.program().arg(script).arg(compile::extension(interpreter, "traverse_bad"));
    let outcome = program.arg(kind).arg(LOST.to_string()).env("GCSHIM_PLAIN", "0").with_shim().run();
    let mut wrong = Vec::new();
    if outcome.status.code() != Some(5) || outcome.stdout != "50 100 100\n" || !outcome.stderr.is_empty() {
        wrong.push("the program noticed".to_owned());
    }
    let degraded = report::of_kind(&outcome.records, "degraded");
    let what: Vec<&str> = degraded.iter().filter_map(|d| d["what"].as_str()).collect();
    if !matches!(&what[..], [one] if one.contains(says) && one.contains(&format!("traverse_bad.{kind}"))) {
        wrong.push(format!("degraded: {what:?}"));
    }
    let mut found: Vec<_> =
        report::failing(&outcome.records).into_iter().map(|f| (f.verdict, f.type_name, f.objects, f.references)).collect();
    // What an interpreter leaks by itself while it starts is known, and no concern of this.
    found.retain(|f| f.1.starts_with("__main__.") || f.1.starts_with("traverse_bad."));
    let expected = [("leaked-object", "__main__.Lost", LOST, LOST), ("leaked-reference", "__main__.Used", 1, 1)];
    let same =
        found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| (f.0.as_str(), f.1.as_str(), f.2, f.3) == e);
    if !same {
        wrong.push(format!("findings: {found:?}"));
    }
    (!wrong.is_empty()).then(|| format!("{} {kind}: {}\n{}", interpreter.label(), wrong.join("; "), outcome.describe()))
}

fn prove(kinds: &[&str], says: &str) {
    let problems: Vec<String> = interpreters::with_headers()
        .into_iter()
        .flat_map(|i| kinds.iter().filter_map(move |kind| problem(i, kind, says)))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn one_that_crashes_aborts_or_never_ends_its_recursion() {
    prove(&["Crash", "Abort", "Recurse"], ENDED_BY_FAULT);
}

#[test]
fn one_that_hangs() {
    prove(&["Hang", "Sleep"], ENDED_BY_FAULT);
}

#[test]
fn one_that_allocates() {
    prove(&["Allocate", "Make"], CHANGED);
}

#[test]
fn one_that_changes_what_others_are_judged_by() {
    prove(&["Take", "Destroy", "Garbage"], CHANGED);
}

#[test]
fn one_that_ends_the_process() {
    prove(&["Leave"], ENDED_THE_PROCESS);
}
