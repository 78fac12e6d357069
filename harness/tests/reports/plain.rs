//! The plain lines.

use crate::support::compile;
use crate::support::interpreters;
use crate::{LEAK, lines, newest, script};

/// Hexadecimal addresses and decimal numbers are masked: `@` and `#`.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(digits) = rest.strip_prefix("0x") {
            rest = digits.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            out.push('@');
        } else if c.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            out.push('#');
        } else {
            rest = &rest[c.len_utf8()..];
            out.push(c);
        }
    }
    out
}

#[test]
fn a_lost_object_is_told_with_its_numbers_and_two_examples() {
    let outcome = script(LEAK).run();
    assert!(outcome.succeeded(), "{}", outcome.describe());
    let said = masked(&outcome.stderr);
    let wanted = "gcshim: leaked-object: # list objects lost: # references that nobody holds, # bytes
gcshim:     @ # item: # refcount #, owned #, words #
gcshim:     @ # item: # refcount #, owned #, words #
gcshim: # finding among # objects in # blocks (# ms, at exit)
";
    assert_eq!(said, wanted, "{}", outcome.describe());
    assert!(outcome.stderr.contains("10 list objects lost: 10 references"), "{}", outcome.describe());
    assert!(outcome.stderr.contains(" refcount 1, owned 0, words 0\n"), "{}", outcome.describe());
}

#[test]
fn a_surplus_reference_is_told_with_its_holders() {
    let outcome = script("import ctypes\nkept = ['x']\nctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))").run();
    let wanted = "gcshim: leaked-reference: list: # reference more than pointers to it
gcshim:     @ # item: 'x' refcount #, owned #, words #
gcshim:     held by dict (# word)
gcshim: # finding among # objects in # blocks (# ms, at exit)
";
    assert_eq!(masked(&outcome.stderr), wanted, "{}", outcome.describe());
}

#[test]
fn what_hangs_from_a_lost_object_is_told_under_it() {
    let text = "import ctypes\nlost = [{1: bytearray(9)} for _ in range(3)]\nctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))\ndel lost";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().with_shim().arg("-c").arg(text).run();
        let said: Vec<&str> = lines(&outcome);
        assert!(
            said[0].starts_with("gcshim: leaked-object: 1 list object lost: 1 reference that nobody holds"),
            "{}",
            outcome.describe()
        );
        let keeps = said.iter().find_map(|l| l.strip_prefix("gcshim:     keeps "));
        assert!(keeps.is_some_and(|k| k.contains("3 dict") && k.contains("3 bytearray")), "{}", outcome.describe());
    }
}

#[test]
fn a_lost_native_block_is_told() {
    let Some(interpreter) = interpreters::with_headers().pop() else { return };
    let folder = compile::extension(interpreter, "seeded");
    let text = "import sys; sys.path.insert(0, sys.argv[1]); import seeded; seeded.bug('lost_malloc', 7, None)";
    let outcome = interpreter.program().with_shim().arg("-c").arg(text).arg(folder).run();
    let head = outcome.stderr.lines().next().map(masked);
    assert_eq!(
        head.as_deref(),
        Some("gcshim: leaked-block: # blocks of # bytes allocated, never freed, and nothing points to them"),
        "{}",
        outcome.describe()
    );
    assert!(outcome.stderr.starts_with("gcshim: leaked-block: 7 blocks of "), "{}", outcome.describe());
}

#[test]
fn a_clean_program_prints_nothing_at_all() {
    let outcome = script("import json, threading, collections; print(json.dumps([1]))").run();
    assert!(outcome.succeeded() && outcome.stderr.is_empty() && outcome.stdout == "[1]\n", "{}", outcome.describe());
    assert_eq!(outcome.records.last().map(|r| r["kind"].clone()), Some("summary".into()), "{}", outcome.describe());
}

#[test]
fn a_warning_leaves_nothing_to_report_on_any_version() {
    // Until 3.10 CPython keeps a reference too many for itself there.
    for interpreter in interpreters::all() {
        let text = "import os, warnings\nos.dup2(os.open(os.devnull, os.O_WRONLY), 9)\ndef f(): warnings.warn('seen', stacklevel=2)\nf()";
        let outcome = interpreter.program().with_shim().arg("-c").arg(text).run();
        assert!(outcome.succeeded() && lines(&outcome).is_empty(), "{}", outcome.describe());
    }
}

#[test]
fn only_the_first_findings_are_printed_and_the_rest_counted() {
    let text = "
import ctypes
made = [type('T%d' % n, (), {})() for n in range(50)]
for one in made:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))
";
    let outcome = script(text).run();
    let heads = lines(&outcome).iter().filter(|l| l.starts_with("gcshim: leaked-reference: ")).count();
    assert_eq!(heads, 20, "{}", outcome.describe());
    let in_report = outcome.records.iter().filter(|r| r["kind"] == "finding" && r["failing"] == true).count();
    // One may be named by a stale word on the stack.
    assert!((48..=50).contains(&in_report), "{}: {}", newest().label(), outcome.describe());
    let line = format!("gcshim: and {} more findings; set GCSHIM_REPORT=FILE to have them all", in_report - 20);
    assert!(lines(&outcome).contains(&line.as_str()), "{}", outcome.describe());
}
