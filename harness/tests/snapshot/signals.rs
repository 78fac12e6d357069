//! Audits on a signal while a Python program runs.

use crate::support::interpreters::{self, Interpreter};
use crate::support::process::Outcome;
use crate::support::{report, shim};

const LEAKED: u64 = 20;
/// What a word left in the frame of the call that the program idles in can keep.
const KEPT_BY_CHANCE: u64 = 2;

fn run(interpreter: &Interpreter, case: &str, leaked: u64) -> Outcome {
    let script = shim::package().join("harness/programs/snapshot_signal.py");
    let program = interpreter.program().arg(script).arg(case).arg(leaked.to_string());
    program.env("GCSHIM_AUDIT", "exit,signal").env("GCSHIM_PLAIN", "0").with_shim().run()
}

/// What asked for each audit, whether it is torn, and what it found.
fn audits(outcome: &Outcome) -> Vec<(String, bool, Vec<serde_json::Value>)> {
    let mut audits: Vec<(String, bool, Vec<serde_json::Value>)> = Vec::new();
    for record in &outcome.records {
        if record["kind"] == "audit" {
            let torn = record["torn"] != false;
            audits.push((record["trigger"].as_str().unwrap_or_default().to_owned(), torn, Vec::new()));
        } else if let Some((.., records)) = audits.last_mut() {
            records.push(record.clone());
        }
    }
    audits
}

fn problems(interpreter: &Interpreter, case: &str, expected: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for leaked in [0, LEAKED] {
        let outcome = run(interpreter, case, leaked);
        let mut wrong = Vec::new();
        if !outcome.succeeded() || outcome.stdout.trim() != expected || !outcome.stderr.is_empty() {
            wrong.push("the program noticed".to_owned());
        }
        let audits = audits(&outcome);
        if !audits.iter().any(|(trigger, ..)| trigger == "signal") || audits.last().is_none_or(|(trigger, ..)| trigger != "exit")
        {
            wrong.push(format!("audits: {:?}", audits.iter().map(|(trigger, ..)| trigger).collect::<Vec<_>>()));
        }
        for (trigger, torn, records) in &audits {
            // Nobody holds the GIL while all threads wait.
            if *torn && (trigger == "exit" || case.contains("idle")) {
                wrong.push(format!("the audit at {trigger} is torn"));
            }
            let lost = |f: &&report::Finding| f.verdict == "leaked-object" && f.type_name.ends_with("Lost");
            let findings = report::failing(records);
            let found: u64 = findings.iter().filter(lost).map(|f| f.objects).sum();
            let least = if trigger == "exit" { leaked } else { leaked.saturating_sub(KEPT_BY_CHANCE) };
            if !(least..=leaked).contains(&found) {
                wrong.push(format!("at {trigger} {found} of {leaked} lost objects are found"));
            }
            // What an interpreter leaks by itself is no concern of the snapshot's; that nothing alive is called lost is.
            if let Some(other) = findings.iter().find(|f| f.verdict == "leaked-object" && !lost(f)) {
                wrong.push(format!("at {trigger}: {other:?}"));
            }
        }
        if !wrong.is_empty() {
            problems.push(format!("{} {case} {leaked}: {}\n{}", interpreter.label(), wrong.join("; "), outcome.describe()));
        }
    }
    problems
}

fn prove(cases: &[(&str, &str)]) {
    let problems: Vec<String> = interpreters::all()
        .iter()
        .flat_map(|i| cases.iter().flat_map(move |(case, expected)| problems(i, case, expected)))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn while_the_program_computes() {
    prove(&[("compute", "179550")]);
}

#[test]
fn while_the_program_is_idle() {
    prove(&[("idle_in_select", "(b'', 0)"), ("idle_in_sleep", "0"), ("idle_in_lock", "True")]);
}

#[test]
fn with_many_threads() {
    prove(&[("threads", "44480"), ("threads_idle", "0")]);
}
