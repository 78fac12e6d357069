//! The command-line program: what it renders, which statuses it gives, what it hands to the program it runs.
//!
//! Most tests replay recorded reports (`harness/fixtures/*.ndjson`): the program under `gcshim run` then is a shell that copies one to where the
//! shim would have written it, and the library that is preloaded is the C library, which is there anyway. `with_shim` uses the real shim.

#[path = "../../src/options/mod.rs"]
#[allow(dead_code)]
mod options;
#[path = "../support/mod.rs"]
mod support;

#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/formats.rs"]
mod formats;
#[path = "cli/running.rs"]
mod running;
#[path = "cli/symbols.rs"]
mod symbols;
#[path = "cli/with_shim.rs"]
mod with_shim;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program that a test can preload without changing anything: the C library itself.
fn harmless_library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let line = maps.lines().find(|l| l.ends_with("libc.so.6")).expect("the test is linked with glibc");
    PathBuf::from(&line[line.find('/').expect("a path")..])
}

/// `gcshim` with nothing set that could change what it does.
fn gcshim<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gcshim"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("GCSHIM_") || n == "LD_PRELOAD") {
            command.env_remove(name);
        }
    }
    command.args(arguments).env("GCSHIM_LIBRARY", harmless_library()).current_dir(fixtures());
    command
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/fixtures")
}

/// What a process ended with: status, stdout, stderr.
fn end(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> (Option<i32>, String, String) {
    end(&gcshim(arguments).output().expect("gcshim starts"))
}

/// `gcshim run` of a shell script, with more flags in front.
fn run_script(flags: &[&str], script: &str) -> (Option<i32>, String, String) {
    run([&["run"], flags, &["--", "sh", "-c", script]].concat())
}
