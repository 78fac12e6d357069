//! The corpora's quick part (`harness/corpora`): nothing false is reported by what everybody imports and what CPython tests, and released bugs of
//! the standard library are found. The scripts do the work and say why they fail; `ci/` runs them whole, packages among them.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use support::{interpreters, shim};

/// Runs a corpus's script with the shim under test; on failure its whole output is the message.
fn corpus(script: &str, arguments: &[&str]) {
    // Without an interpreter nothing would be tested: this fails then.
    let python = &interpreters::all().last().expect("an interpreter").path;
    let output = Command::new(python)
        .arg(shim::package().join("harness/corpora").join(script))
        .args(arguments)
        .env("GCSHIM_LIB", shim::library())
        .output()
        .expect("the interpreter runs");
    assert!(
        output.status.success(),
        "{script} {}: {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn importing_the_standard_library_shows_nothing_unexplained() {
    corpus("stdlib_imports.py", &[]);
}

/// Two interpreters, twelve modules: every outcome as without the shim, no unexplained finding in any process.
#[test]
fn cpythons_own_tests_end_the_same_and_show_nothing_unexplained() {
    corpus("cpython_tests.py", &["--quick", "-j", "1"]);
}

/// Those in CPython itself, which need nothing installed: one of each kind of bug that has one.
#[test]
fn released_bugs_of_the_standard_library_are_found() {
    corpus(
        "real_bugs.py",
        &["-j", "1", "sqlite3-connection-init", "itertools-pairwise", "elementtree-element-init", "bz2-decompressor-init"],
    );
}

/// Those that are installed; the whole table, every mode and larger amounts of work are `ci/programs.sh`'s.
#[test]
fn real_programs_end_the_same() {
    corpus("real_programs.py", &["--mode", "audit", "git", "gcc", "tmux", "gdb", "jq", "php", "nginx", "node"]);
}
