//! One root kind, one program: `harness/programs/root_KIND.c` keeps the only pointers to N blocks in one kind of place. With all
//! kinds on, none of them is lost; with that kind off, exactly they are. Three blocks that nothing holds are lost either way, so an
//! audit that looked at nothing cannot pass.

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;

use support::compile;
use support::process::{Outcome, Program};
use support::report::{self, Finding};

/// `HELD_SIZE`, `LOST_SIZE` and `LOST_COUNT` of roots.h.
const HELD_SIZE: u64 = 1237;
const LOST_SIZE: u64 = 2741;
const LOST_COUNT: u64 = 3;

/// The number of lost blocks of a requested size. A size class wastes a quarter at most.
fn lost(outcome: &Outcome, bytes: u64) -> u64 {
    let fits = |size: u64| (bytes..=bytes + bytes / 4).contains(&size);
    let blocks = |f: &&Finding| f.verdict == "leaked-block";
    let heads = report::findings(&outcome.records);
    let size = |f: &Finding| report::size_in(&f.type_name).unwrap_or(0);
    heads.iter().filter(blocks).filter(|f| fits(size(f))).map(|f| f.objects).sum()
}

/// The same for the held blocks, also where they hang from a lost block of another size: a finding's bytes are those of its heads and of all that
/// they hold. What the places themselves take beside the blocks is less than one more block. Not without globals: the dynamic linker's own
/// blocks hang from each other then.
fn lost_held(outcome: &Outcome, kind_off: Option<&str>) -> u64 {
    let others = report::findings(&outcome.records);
    let hanging = others.iter().filter(|f| f.verdict == "leaked-block" && kind_off != Some("globals")).map(|f| {
        let size = report::size_in(&f.type_name).unwrap_or(0);
        f.bytes.saturating_sub(f.objects * size) / HELD_SIZE
    });
    lost(outcome, HELD_SIZE) + hanging.sum::<u64>()
}

struct Root {
    /// Its name in `GCSHIM_ROOTS`.
    kind: &'static str,
    program: PathBuf,
    library: Option<PathBuf>,
}

fn root(kind: &'static str, needs_library: bool) -> Root {
    let program = compile::program(&format!("root_{kind}"), &["-pthread"]);
    let library = needs_library.then(|| compile::library(&format!("root_{kind}_library"), &[]));
    Root { kind, program, library }
}

impl Root {
    fn run(&self, case: &str, n: u64, off: bool) -> Outcome {
        let mut program = Program::new(&self.program).arg(case).arg(n.to_string());
        if let Some(library) = &self.library {
            program = program.arg(library);
        }
        if off {
            program = program.env("GCSHIM_ROOTS", format!("-{}", self.kind));
        }
        program.with_shim().run()
    }

    /// Every case, with 1, 7 and the most blocks that it can hold; fails with everything that is wrong.
    fn prove(&self, cases: &[(&str, u64)]) {
        let mut failures = Vec::new();
        for &(case, most) in cases {
            for n in [1, 7, most] {
                for off in [false, true] {
                    let outcome = self.run(case, n, off);
                    let mut problems = Vec::new();
                    if !outcome.succeeded() {
                        problems.push(format!("ended with {}", outcome.status));
                    }
                    let audits = report::of_kind(&outcome.records, "audit");
                    if !matches!(&audits[..], [one] if one["trigger"] == "call") {
                        problems.push(format!("audit records: {audits:?}"));
                    }
                    let expected = if off { n } else { 0 };
                    let (held, lost) = (lost_held(&outcome, off.then_some(self.kind)), lost(&outcome, LOST_SIZE));
                    for (what, found, expected) in [("held", held, expected), ("lost", lost, LOST_COUNT)] {
                        if found != expected {
                            problems.push(format!("{found} of the {what} blocks are reported, not {expected}"));
                        }
                    }
                    // Nothing else is lost: the C library and the dynamic linker hold all that they allocated.
                    if !off && report::findings(&outcome.records).len() != 1 {
                        problems.push("there are findings beside the lost blocks".into());
                    }
                    let degraded = report::of_kind(&outcome.records, "degraded");
                    if !degraded.is_empty() {
                        problems.push(format!("degraded: {degraded:?}"));
                    }
                    if !problems.is_empty() {
                        let switch = if off { "off" } else { "on" };
                        let what = format!("{} {switch}, {case}, {n} blocks", self.kind);
                        failures.push(format!("{what}:\n    {}\n{}", problems.join("\n    "), outcome.describe()));
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{} runs are wrong\n\n{}", failures.len(), failures.join("\n"));
    }
}

#[test]
fn stacks() {
    let mut cases = vec![("own_frame", 20), ("thread_frame", 20), ("alternate_stack", 20)];
    if cfg!(target_arch = "x86_64") {
        cases.push(("red_zone", 14));
    }
    root("stacks", false).prove(&cases);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn registers() {
    root("registers", false).prove(&[("general", 8), ("vector", 16)]);
}

#[test]
fn static_thread_local_storage() {
    root("tls", false).prove(&[("main_thread", 20), ("other_thread", 20)]);
}

#[test]
fn thread_specific_data() {
    root("tsd", false).prove(&[("main_low", 20), ("main_high", 20), ("thread_low", 20), ("thread_high", 20)]);
}

#[test]
fn dynamic_thread_local_storage() {
    root("dyntls", true).prove(&[("main_thread", 20), ("other_thread", 20)]);
}

#[test]
fn globals() {
    let cases = [("program_zeroed", 20), ("program_initialised", 20), ("library_zeroed", 20), ("library_initialised", 20)];
    root("globals", true).prove(&cases);
}

#[test]
fn mappings() {
    let cases = [
        ("anonymous", 20),
        ("reserved", 20),
        ("private_file", 20),
        ("guarded", 20),
        ("unforked", 20),
        ("code", 20),
        ("program_break", 20),
    ];
    root("mappings", false).prove(&cases);
}

#[test]
fn what_the_program_added() {
    root("added", false).prove(&[("shared", 20), ("file", 20), ("hole", 20), ("block", 20)]);
}

#[test]
fn kinds_do_not_overlap() {
    // Switching one kind off must not hide what another holds.
    let holder = root("globals", true);
    let mut wrong = Vec::new();
    for kind in ["stacks", "registers", "tls", "tsd", "dyntls", "mappings", "added"] {
        let run = Program::new(&holder.program).arg("program_zeroed").arg("7").env("GCSHIM_ROOTS", format!("-{kind}"));
        let outcome = run.with_shim().run();
        if (lost_held(&outcome, Some(kind)), lost(&outcome, LOST_SIZE)) != (0, LOST_COUNT) {
            wrong.push(format!("without {kind}:\n{}", outcome.describe()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
