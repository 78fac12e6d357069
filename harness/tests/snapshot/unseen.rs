//! What the program can see: interrupted calls, children, signals, its exit status.

use std::os::unix::process::ExitStatusExt;

use crate::support::process::{Outcome, Program};
use crate::support::{compile, interpreters};

fn run(program: &str, argument: &str) -> Outcome {
    Program::new(compile::program(program, &["-pthread"])).arg(argument).with_shim().env("GCSHIM_PLAIN", "0").run()
}

/// Status 0, and not a word: the programs print what goes wrong.
fn is_fine(outcome: &Outcome) {
    assert!(outcome.succeeded() && outcome.stdout.is_empty() && outcome.stderr.is_empty(), "{}", outcome.describe());
}

#[test]
#[cfg(target_arch = "x86_64")]
fn no_wait_is_interrupted_and_no_wake_up_is_lost() {
    is_fine(&run("snapshot_waits", "60"));
}

#[test]
fn the_program_has_no_more_children_than_its_own() {
    is_fine(&run("snapshot_invisible", "children"));
    is_fine(&run("snapshot_invisible", "waiting"));
    is_fine(&run("snapshot_invisible", "ignored"));
}

#[test]
fn signals_descriptors_timers_and_limits_stay_as_they_are() {
    is_fine(&run("snapshot_invisible", "state"));
}

#[test]
fn the_exit_status_is_the_programs_own() {
    assert_eq!(run("snapshot_invisible", "exit").status.code(), Some(3));
    assert_eq!(run("snapshot_invisible", "killed").status.signal(), Some(libc::SIGTERM));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_signal_of_the_programs_own_still_interrupts() {
    is_fine(&run("snapshot_storm", "60"));
}

#[test]
fn threads_fork_while_audits_run() {
    is_fine(&run("snapshot_fork", "40"));
}

/// What the copy makes starts no collection of the program's garbage there: finalizers run once, where the program is.
#[test]
fn the_programs_collector_does_not_run_in_the_copy() {
    let script = r"
import gc, os
class Watched:
    def __del__(self, getpid=os.getpid, write=os.write):
        write(1, b'ended by the program\n' if getpid() == me else b'ended by another process\n')
me = os.getpid()
gc.collect()
gc.set_threshold(60)  # the free lists have 80
garbage = Watched()
garbage.itself = garbage
del garbage
";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().arg("-c").arg(script).with_shim().run();
        assert_eq!(outcome.stdout, "ended by the program\n", "{}: {}", interpreter.label(), outcome.describe());
    }
}
