//! The slow census: `harness/oracle/census.py` counts the memory of a snapshot again and compares every object's numbers with the shim's.
//!
//! What it prints is the table of how many of each agree; it fails by itself if one does not.

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::interpreters::{self, Interpreter};
use support::process::{Outcome, Program};
use support::{compile, report, shim};

/// The newest interpreter runs the oracle, each in turn is looked at.
fn oracle(interpreter: &Interpreter, more: &[&str]) -> Outcome {
    let newest = interpreters::all().last().expect("an interpreter");
    let mut program = newest
        .program()
        .arg("-B")
        .arg(shim::package().join("harness/oracle/census.py"))
        .arg("--shim")
        .arg(shim::library())
        .arg("--python")
        .arg(&interpreter.path)
        .arg("--extension")
        .arg(compile::extension(interpreter, "edges"));
    for argument in more {
        program = program.arg(argument);
    }
    // Millions of words in pure Python.
    Program::timeout(program, Duration::from_secs(900)).run()
}

#[test]
fn the_slow_census_agrees_on_every_object() {
    for interpreter in interpreters::with_headers() {
        let outcome = oracle(interpreter, &[]);
        assert!(outcome.succeeded(), "{}:\n{}{}", interpreter.label(), outcome.stdout, outcome.stderr);
        // Not one of the comparisons was empty.
        for what in ["refcount", "words", "tagged", "owned", "reachable", "alive", "in the collector's lists"] {
            let line = outcome
                .stdout
                .lines()
                .find(|l| l.contains(" equal, ") && l.split("  ").any(|column| column == what))
                .unwrap_or_else(|| panic!("{what} is not in the table:\n{}", outcome.stdout));
            let equal: u64 = line.split_whitespace().find_map(|word| word.parse().ok()).expect("a number of comparisons");
            assert!(equal > 10_000, "{line}");
        }
    }
}

/// The oracle is no rubber stamp: as soon as it counts words that the shim leaves out, it disagrees about words and about nothing else.
#[test]
fn the_slow_census_disagrees_where_it_counts_otherwise() {
    let interpreter = interpreters::with_headers()[0];
    let outcome = oracle(interpreter, &["--count", "weakref"]);
    assert_eq!(outcome.status.code(), Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("different: words: "), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("different: refcount: "), "{}", outcome.stdout);
}

/// Two threads find what one finds: the same numbers of every object, word for word.
#[test]
fn marking_by_two_threads_counts_what_marking_by_one_counts() {
    for interpreter in interpreters::with_headers() {
        let folder = tempfile::tempdir().expect("a folder");
        let census = folder.path().join("census");
        let program = interpreter.program().arg(shim::package().join("harness/programs/census_markers.py"));
        let program = program.env("GCSHIM_CENSUS", &census).env("GCSHIM_AUDIT", "never");
        let outcome = Program::timeout(program, Duration::from_secs(300)).with_shim().run();
        assert!(outcome.succeeded(), "{}", outcome.describe());
        if outcome.stdout.trim() == "1" {
            eprintln!("one processor: nothing to compare");
            return;
        }
        let text = std::fs::read_to_string(&census).expect("a census");
        let mut runs: Vec<Vec<&str>> = Vec::new();
        for line in text.lines() {
            match runs.last_mut() {
                Some(run) if !line.contains("\"kind\":\"census\"") => run.push(line),
                _ => runs.push(Vec::new()),
            }
        }
        let [one, two] = &runs[..] else { panic!("{} censuses", runs.len()) };
        assert!(one.len() > 100_000, "{} lines: too few for a second thread", one.len());
        let different: Vec<_> = one.iter().zip(two).filter(|(a, b)| a != b).take(5).collect();
        assert!(one.len() == two.len() && different.is_empty(), "{}: {different:#?}", interpreter.label());
        let words = |at: usize| &report::of_kind(&outcome.records, "audit")[at]["words"];
        assert_eq!(words(0), words(1), "{}", interpreter.label());
    }
}
