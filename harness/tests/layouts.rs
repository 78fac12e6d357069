//! The object model's offsets against the headers of every installed CPython.

#[path = "../../src/python/layout.rs"]
#[allow(dead_code)]
mod layout;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use support::interpreters::{self, Interpreter};
use support::{compile, shim};

/// What the interpreter's own headers say.
fn headers(interpreter: &Interpreter) -> BTreeMap<String, u64> {
    let folder = compile::extension(interpreter, "layouts");
    let script = "import sys, json; sys.path.insert(0, sys.argv[1]); import layouts; print(json.dumps(layouts.table))";
    let output = std::process::Command::new(&interpreter.path).args(["-c", script]).arg(folder).output().expect("it starts");
    serde_json::from_slice(&output.stdout).expect("a table")
}

/// `const NAME: usize = 24;` and `const NAME: u64 = 1 << 9;` in a source file.
fn constants(file: &str) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(shim::package().join(file)).expect("the source is there");
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("pub const ").or_else(|| line.strip_prefix("const ")) else { continue };
        let Some((name, value)) = rest.split_once(": usize = ").or_else(|| rest.split_once(": u64 = ")) else { continue };
        let value = value.trim_end_matches(';');
        let number = match value.split_once(" << ") {
            Some((one, shift)) => one.parse::<u64>().ok().zip(shift.parse::<u32>().ok()).map(|(one, shift)| one << shift),
            None => value.parse().ok(),
        };
        if let Some(number) = number {
            found.insert(name.to_owned(), number);
        }
    }
    found
}

#[test]
fn every_constant_is_what_the_headers_say() {
    let ours: BTreeMap<_, _> =
        ["src/python/types.rs", "src/python/layout.rs", "src/python/naming.rs"].into_iter().flat_map(constants).collect();
    let mut compared = 0;
    for interpreter in interpreters::with_headers() {
        for (name, theirs) in headers(interpreter) {
            if let Some(&value) = ours.get(&name) {
                assert_eq!(value, theirs, "{}: {name}", interpreter.label());
                compared += 1;
            }
        }
    }
    assert!(compared >= 18 * interpreters::with_headers().len(), "only {compared} constants were found in the sources");
}

#[test]
fn what_changes_with_the_version_is_what_the_headers_say() {
    for interpreter in interpreters::with_headers() {
        let theirs = headers(interpreter);
        let minor = interpreter.version.1 as u8;
        let label = interpreter.label();
        let ours = layout::datastack_top(minor).map(|at| at as u64);
        assert_eq!(ours, theirs.get("datastack_top").copied(), "{label}");
        assert_eq!(ours.map(|at| at + 8), theirs.get("datastack_limit").copied(), "{label}");
        let (compact, ascii) = (1 << 5, 1 << 6);
        let end = |state: u32| layout::string_pointers(minor, state).1 as u64;
        assert_eq!(end(compact | ascii), theirs["sizeof(PyASCIIObject)"], "{label}");
        assert_eq!(end(compact), theirs["sizeof(PyCompactUnicodeObject)"], "{label}");
        assert_eq!(end(0), theirs["sizeof(PyUnicodeObject)"], "{label}");
        // Written as numbers where they are used: weakref_hooks, objects, naming.
        let facts = [
            ("wr_object", 16),
            ("wr_callback", 24),
            ("wr_prev", 40),
            ("wr_next", 48),
            ("tuple ob_item", 24),
            ("bytes ob_sval", 32),
        ];
        for (name, value) in facts {
            assert_eq!(theirs[name], value, "{label}: {name}");
        }
        assert!(theirs["sizeof(PyTypeObject)"] >= 400, "{label}");
    }
}
