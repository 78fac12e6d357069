//! Owners that keep another word than the address of what they own (`harness/extensions/hidden_owners.c`): nothing that they hold is called
//! leaked, and what is leaked beside it is found and counted.

#[path = "../support/mod.rs"]
mod support;

use support::compile;
use support::interpreters;
use support::report;

/// Runs the script on every CPython; the failing findings must be `expected` on each: verdict, type, references.
fn prove(script: &str, expected: &[(&str, &str, u64)]) {
    let mut wrong = Vec::new();
    for interpreter in interpreters::with_headers() {
        let script = format!("import sys\nsys.path.insert(0, sys.argv[1])\nfrom hidden_owners import own, watch\n{script}");
        let folder = compile::extension(interpreter, "hidden_owners");
        let outcome = interpreter.program().arg("-c").arg(script).arg(folder).with_shim().run();
        let failing = report::failing(&outcome.records);
        let found: Vec<(&str, &str, u64)> =
            failing.iter().map(|f| (f.verdict.as_str(), f.type_name.as_str(), f.references)).collect();
        if !outcome.succeeded() || report::of_kind(&outcome.records, "audit").len() != 1 || found != expected {
            wrong.push(format!("{}: {found:?}\n{}", interpreter.label(), outcome.describe()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_loop_links_through_a_member_is_held() {
    prove("for i in range(100): watch(0)", &[]);
}

#[test]
fn what_a_loop_links_through_a_member_leaks_what_nobody_holds() {
    prove("for i in range(100): watch(2)", &[("leaked-reference", "hidden_owners.Watcher", 200)]);
}

#[test]
fn what_owners_visit_without_its_address_is_held() {
    prove("host = [1, 2]\nowners = [own(host, 0) for i in range(100)]", &[]);
}

#[test]
fn what_owners_visit_without_its_address_leaks_what_nobody_holds() {
    // Which words are owners' is not known: the module's counts twice, as a word and as an owner.
    let script = "host = [1, 2]\nowners = [own(host, 0) for i in range(99)]\nowners.append(own(host, 50))\n";
    prove(script, &[("leaked-reference", "list", 49)]);
}
