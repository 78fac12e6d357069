//! Sandboxes, a missing `/proc`, full disks, little address space.

use std::path::Path;

use super::{LEAK, admits};
use crate::support::interpreters::{self, Interpreter};
use crate::support::process::{Outcome, Program};
use crate::support::{compile, report};

/// Status of `confined` where this user may not make such a place.
const CANNOT: i32 = 77;

fn confined(how: &[&str], interpreter: &Interpreter, script: &str) -> Program {
    let program = Program::new(compile::program("confined", &[])).with_shim();
    how.iter().fold(program, Program::arg).arg(&interpreter.path).arg("-c").arg([LEAK, script].concat())
}

/// Whether it ran at all; says so if not.
fn ran(outcome: &Outcome) -> bool {
    let ran = outcome.status.code() != Some(CANNOT);
    if !ran {
        println!("not tested: this user may not: {}", outcome.command);
    }
    ran
}

fn found_the_leak(outcome: &Outcome) -> bool {
    matches!(&report::failing(&outcome.records)[..], [one] if one.type_name == "list" && one.objects == 10)
}

#[test]
fn what_tracers_need_is_not_needed() {
    for interpreter in interpreters::all() {
        let outcome = confined(&["sandbox"], interpreter, "print('out')\nraise SystemExit(5)").run();
        if ran(&outcome) {
            let own = outcome.status.code() == Some(5) && outcome.stdout == "out\n";
            assert!(own && found_the_leak(&outcome) && !admits(&outcome), "{}: {}", interpreter.label(), outcome.describe());
        }
    }
}

#[test]
fn without_proc_the_program_runs_and_the_report_says_what_is_missing() {
    for interpreter in interpreters::all() {
        let outcome = confined(&["no-proc"], interpreter, "print('out')\nraise SystemExit(5)").run();
        if ran(&outcome) {
            let about = format!("{}: {}", interpreter.label(), outcome.describe());
            assert!(outcome.status.code() == Some(5) && outcome.stdout == "out\n", "{about}");
            for text in ["/proc/self/maps could not be read", "/proc/self/task could not be read"] {
                let degraded = report::of_kind(&outcome.records, "degraded");
                assert!(degraded.iter().any(|d| d["what"].as_str().is_some_and(|w| w.contains(text))), "{text}: {about}");
            }
            assert!(report::failing(&outcome.records).is_empty(), "{about}");
        }
    }
}

#[test]
fn a_disk_that_fills_up_is_said_and_the_program_goes_on() {
    let interpreter = interpreters::all().last().expect("there is one");
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("a path of text");
    // The census is larger than the disk; then there is no room for the report either.
    let program = confined(&["small-disk", place], interpreter, "print('out')\nraise SystemExit(5)");
    let files = [("GCSHIM_CENSUS", "census.ndjson"), ("GCSHIM_REPORT", "report.ndjson")];
    let outcome = files.iter().fold(program, |p, (name, file)| p.env(name, folder.path().join(file))).run();
    if ran(&outcome) {
        let about = outcome.describe();
        assert!(outcome.status.code() == Some(5) && outcome.stdout == "out\n", "{about}");
        let said = |text: &str| outcome.stderr.lines().any(|l| l.starts_with("gcshim: ") && l.contains(text));
        assert!(said("the census file (GCSHIM_CENSUS) could not be written in full"), "{about}");
        assert!(said("the report file could not be written in full"), "{about}");
        assert!(said("leaked-object: 10 list objects lost"), "{about}");
    }
}

/// Address space in KiB, from too little for the interpreter itself to plenty.
#[test]
fn under_a_limit_of_address_space_python_starts_wherever_it_does_without_us() {
    let interpreter = interpreters::all().last().expect("there is one");
    let run = |shim: bool, kib: u64| {
        let program = Program::new("/bin/sh").arg("-c").arg(format!("ulimit -v {kib}; exec \"$0\" -c \"$1\""));
        let program = program.arg(&interpreter.path).arg([LEAK, "print('out')\nraise SystemExit(5)"].concat());
        if shim { program.with_shim().run() } else { program.run() }
    };
    let own = |outcome: &Outcome| outcome.status.code() == Some(5) && outcome.stdout == "out\n";
    let mut started = 0;
    for mib in [40, 60, 80, 120, 200, 400, 800] {
        if own(&run(false, mib << 10)) {
            // Our page map, stack of the audit and tables take address space as well: four times as much is always enough.
            let outcome = run(true, mib << 12);
            assert!(own(&outcome), "{mib} MiB: {}", outcome.describe());
            assert!(found_the_leak(&outcome) || admits(&outcome), "{mib} MiB: {}", outcome.describe());
            started += 1;
        }
        let outcome = run(true, mib << 10);
        // It may not get far, but then it is Python, the loader or the shell that says so; never a crash of ours.
        assert!(!outcome.stderr.contains("gcshim: internal error"), "{mib} MiB: {}", outcome.describe());
    }
    assert!(started > 3, "Python starts nowhere");
}

#[test]
fn a_full_device_is_said_once() {
    let program = Program::new(compile::program("call_audit", &["-pthread", "-fno-builtin-malloc"])).with_shim().arg("lost");
    assert!(Path::new("/dev/full").exists());
    let outcome = program.env("GCSHIM_REPORT", "/dev/full").run();
    let said = outcome.stderr.matches("the report file could not be written in full").count();
    assert!(outcome.succeeded() && outcome.stdout == "1\n" && said == 1, "{}", outcome.describe());
}
