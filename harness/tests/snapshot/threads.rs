//! Threads that come and go, that cannot be stopped, and that stand on stacks of their own.

use crate::support::compile;
use crate::support::process::{Outcome, Program};
use crate::support::report;

/// `HELD_SIZE`, `LOST_SIZE` and `LOST_COUNT` of roots.h.
const HELD_SIZE: u64 = 1237;
const LOST_SIZE: u64 = 2741;
const LOST_COUNT: u64 = 3;

fn run(program: &str, arguments: &[&str]) -> Outcome {
    let program = Program::new(compile::program(program, &["-pthread"])).with_shim();
    arguments.iter().fold(program, |p, a| p.arg(a)).run()
}

/// The number of lost blocks of either size; a size class wastes a quarter at most.
fn lost(outcome: &Outcome, bytes: u64) -> u64 {
    let fits = |label: &str| report::size_in(label).is_some_and(|size| (bytes..=bytes + bytes / 4).contains(&size));
    report::findings(&outcome.records).iter().filter(|f| fits(&f.type_name)).map(|f| f.objects).sum()
}

/// Exactly the lost blocks are reported, and so many of the held ones.
fn reports(program: &str, case: &str, n: u64, expected: u64) -> Outcome {
    let outcome = run(program, &[case, &n.to_string()]);
    let findings = report::findings(&outcome.records).len() as u64;
    let found = (lost(&outcome, HELD_SIZE), lost(&outcome, LOST_SIZE), findings);
    assert!(outcome.succeeded(), "{case}: {}", outcome.describe());
    assert_eq!(found, (expected, LOST_COUNT, 1 + u64::from(expected > 0)), "{case}: {}", outcome.describe());
    outcome
}

fn degraded(outcome: &Outcome) -> Vec<String> {
    report::of_kind(&outcome.records, "degraded").iter().map(|d| d["what"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn threads_come_and_go_during_audits() {
    let outcome = run("snapshot_churn", &["100"]);
    assert!(outcome.succeeded() && outcome.stdout.is_empty(), "{}", outcome.describe());
}

#[test]
fn a_thread_that_blocks_what_it_can_block_is_stopped() {
    let outcome = reports("snapshot_unstopped", "filled", 7, 0);
    assert_eq!(degraded(&outcome), [""; 0], "{}", outcome.describe());
}

#[test]
fn a_thread_that_cannot_be_stopped_is_said_and_loses_nothing() {
    let mut cases = vec!["raw", "frozen"];
    if cfg!(target_arch = "x86_64") {
        cases.push("argument");
    }
    for case in cases {
        let outcome = reports("snapshot_unstopped", case, 1, 0);
        let said = degraded(&outcome);
        assert!(matches!(&said[..], [one] if one.contains("could not be stopped")), "{case}: {}", outcome.describe());
    }
}

#[test]
fn the_system_calls_argument_is_what_held_it() {
    // Without the words that the kernel holds the block is lost: so the case above proves them.
    if cfg!(target_arch = "x86_64") {
        let program = Program::new(compile::program("snapshot_unstopped", &["-pthread"])).arg("argument").arg("1");
        let outcome = program.env("GCSHIM_ROOTS", "-registers").with_shim().run();
        assert_eq!((lost(&outcome, HELD_SIZE), lost(&outcome, LOST_SIZE)), (1, LOST_COUNT), "{}", outcome.describe());
    }
}

#[test]
fn a_stack_of_the_programs_own_holds_what_it_holds() {
    for case in ["set_malloc", "set_mmap", "coroutine_malloc", "coroutine_mmap", "suspended_malloc", "suspended_mmap", "pool"] {
        for n in [1, 20] {
            reports("snapshot_stacks", case, n, 0);
        }
    }
}

#[test]
fn the_dead_part_of_a_stack_holds_nothing() {
    for case in ["set_malloc_dead", "set_mmap_dead", "ended_dead"] {
        for n in [1, 20] {
            reports("snapshot_stacks", case, n, n);
        }
    }
}

#[test]
fn an_audit_needs_little_stack() {
    reports("snapshot_stacks", "small", 7, 0);
}
