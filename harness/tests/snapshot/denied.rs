//! Where the system refuses what an audit needs: the program goes on, nothing is called lost that is not, and what could not be done is said.

use crate::support::compile;
use crate::support::process::{Outcome, Program};
use crate::support::report;

/// Runs a case and expects the program to end well, with each text in a record or a line on standard error. Answers the outcome.
fn says(case: &str, texts: &[&str]) -> Outcome {
    let outcome = Program::new(compile::program("snapshot_denied", &["-pthread"])).arg(case).arg("5").with_shim().run();
    assert!(outcome.succeeded(), "{}", outcome.describe());
    let degraded = report::of_kind(&outcome.records, "degraded");
    let said = |text: &str| {
        degraded.iter().any(|d| d["what"].as_str().is_some_and(|w| w.contains(text))) || outcome.stderr.contains(text)
    };
    for text in texts {
        assert!(said(text), "nothing says {text:?}: {}", outcome.describe());
    }
    outcome
}

fn finds(outcome: &Outcome, findings: usize) {
    assert_eq!(report::findings(&outcome.records).len(), findings, "{}", outcome.describe());
}

#[test]
fn without_the_list_of_mappings_nobody_is_accused() {
    let outcome = says("proc", &["/proc/self/maps could not be read", "/proc/self/task could not be read"]);
    assert_eq!(report::of_kind(&outcome.records, "audit").len(), 1, "{}", outcome.describe());
    finds(&outcome, 0);
}

#[test]
fn without_files_standard_error_says_so() {
    finds(&says("files", &["GCSHIM_REPORT) cannot be opened", "/proc/self/maps could not be read"]), 0);
}

#[test]
fn without_a_clone_there_is_no_audit() {
    finds(&says("clone", &["was given up: the system refused to clone"]), 0);
}

#[test]
fn without_a_handler_there_is_no_audit() {
    finds(&says("handler", &["was given up: the system refused the handler"]), 0);
}

#[test]
fn without_memory_there_is_no_audit() {
    finds(&says("memory", &["was given up: the system refused memory"]), 0);
}

#[test]
fn threads_that_no_signal_reaches_lose_nothing() {
    // The one finding is what is really lost.
    finds(&says("signal", &["threads that could not be stopped"]), 1);
}
