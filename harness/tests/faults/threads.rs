//! Threads, modules and the process itself come and go while audits run.

use std::path::Path;

use crate::support::compile;
use crate::support::process::{Outcome, Program};

fn run(arguments: &[&str], library: Option<&Path>) -> Outcome {
    let program = Program::new(compile::program("faults_threads", &["-pthread", "-fno-builtin"])).with_shim();
    let program = arguments.iter().fold(program, Program::arg);
    match library {
        Some(library) => program.arg(library).run(),
        None => program.run(),
    }
}

/// Status 5, and not a word.
fn is_fine(outcome: &Outcome) {
    let quiet = outcome.stdout.is_empty() && outcome.stderr.is_empty();
    assert!(outcome.status.code() == Some(5) && !outcome.timed_out && quiet, "{}", outcome.describe());
}

#[test]
fn threads_die_during_snapshots_in_every_way_there_is() {
    is_fine(&run(&["dying", "60"], None));
}

#[test]
fn signals_rain_on_the_heap_during_audits() {
    is_fine(&run(&["signals", "40"], None));
}

#[test]
fn modules_come_and_go_during_audits() {
    let library = compile::library("faults_library", &["-fno-builtin"]);
    is_fine(&run(&["modules", "60"], Some(&library)));
}

#[test]
fn the_main_thread_may_be_gone() {
    is_fine(&run(&["main-gone", "20"], None));
}

#[test]
fn the_process_may_end_amid_an_audit() {
    for delay in ["0", "3", "10", "30", "100"] {
        is_fine(&run(&["exit", delay], None));
    }
}

#[test]
fn the_process_may_become_another_amid_an_audit() {
    // A stop signal on its way would end the new program: once in about fifty times, without the gate.
    for function in ["execl", "execlp", "execle", "execv", "execvp", "execve", "execvpe", "fexecve", "execveat"] {
        for delay in 0..12 {
            is_fine(&run(&["exec", &delay.to_string(), function], None));
        }
    }
}

#[test]
fn sixteen_threads_fork_at_once_while_audits_run() {
    let program = Program::new(compile::program("snapshot_fork", &["-pthread"])).with_shim().arg("20").arg("16");
    let outcome = program.env("GCSHIM_PLAIN", "0").run();
    assert!(outcome.succeeded() && outcome.stdout.is_empty() && outcome.stderr.is_empty(), "{}", outcome.describe());
}
