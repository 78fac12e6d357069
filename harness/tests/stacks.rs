//! `GCSHIM_STACKS`: where what is lost was allocated, and who freed what is still pointed to.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use serde_json::Value;
use support::compile;
use support::interpreters::{self, Interpreter};
use support::process::{Outcome, Program};
use support::report;

/// The report as `gcshim report` has it, with file and line.
fn rendered(outcome: &Outcome) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.ndjson");
    let lines: Vec<String> = outcome.records.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_gcshim")).arg("report").arg(&file).output().expect("gcshim starts");
    String::from_utf8(output.stdout).expect("text")
}

/// The paragraphs of a rendered report that begin with a verdict.
fn paragraphs<'a>(text: &'a str, verdict: &str) -> Vec<&'a str> {
    text.split("\n\n").filter(|p| p.trim_start().starts_with(&format!("{verdict}:"))).collect()
}

fn commits(interpreter: &Interpreter, script: &str) -> Outcome {
    let script = format!("import sys\nsys.path.insert(0, sys.argv[1])\nimport seeded\n{script}\n");
    let program = interpreter.program().arg("-c").arg(script).arg(compile::extension(interpreter, "seeded"));
    let outcome = program.with_shim().env("GCSHIM_STACKS", "native").run();
    assert!(outcome.succeeded(), "{}", outcome.describe());
    outcome
}

/// The line of `seeded.c` in which a text stands.
fn line_of(text: &str) -> usize {
    let source = include_str!("../extensions/seeded.c");
    1 + source.lines().position(|line| line.contains(text)).expect("the text is in seeded.c")
}

#[test]
fn a_leak_shows_the_function_of_the_extension_that_made_it_and_two_are_told_apart() {
    let lines = [("leaked_bytes", "seeded bytes number", 100), ("leaked_twice", "taken three times", 30)];
    for interpreter in interpreters::with_headers() {
        let outcome = commits(interpreter, "seeded.bug('leaked_bytes', 100)\nseeded.bug('leaked_twice', 30)");
        let text = rendered(&outcome);
        let found = paragraphs(&text, "leaked-object");
        assert_eq!(found.len(), lines.len(), "{}: {text}\n{}", interpreter.label(), outcome.describe());
        for (paragraph, (function, marked, objects)) in found.iter().zip(lines) {
            assert!(paragraph.contains(&format!("{objects} bytes objects")), "{}: {text}", interpreter.label());
            let called = paragraph.lines().find(|line| line.contains(&format!("called by {function} ("))).unwrap_or_default();
            assert!(called.contains(&format!("seeded.c:{})", line_of(marked))), "{}: {paragraph}", interpreter.label());
        }
        // By itself the shim names module and offset.
        assert!(
            outcome.stderr.contains("gcshim:     made in ") && outcome.stderr.contains("called by "),
            "{}",
            outcome.describe()
        );
    }
}

#[test]
fn a_lost_block_shows_who_allocated_it() {
    for interpreter in interpreters::with_headers() {
        let outcome = commits(interpreter, "seeded.bug('lost_malloc', 7)");
        let text = rendered(&outcome);
        let [one] = paragraphs(&text, "leaked-block")[..] else { panic!("{}: {text}", interpreter.label()) };
        let place = format!("seeded.c:{})", line_of("char *block = malloc(LOST_BLOCK_SIZE)"));
        let made = one.lines().nth(1).unwrap_or_default();
        assert!(made.contains("made in lost_malloc (") && made.contains(&place), "{}: {one}", interpreter.label());
    }
}

#[test]
fn without_stacks_there_is_no_site_and_one_finding() {
    for interpreter in interpreters::with_headers() {
        let script = "import sys\nsys.path.insert(0, sys.argv[1])\nimport seeded\nseeded.bug('leaked_bytes', 5)\nseeded.bug('leaked_twice', 5)";
        let outcome =
            interpreter.program().arg("-c").arg(script).arg(compile::extension(interpreter, "seeded")).with_shim().run();
        let found = report::of_kind(&outcome.records, "finding");
        let failing: Vec<_> = found.iter().filter(|f| f["failing"] == true).collect();
        assert_eq!(failing.len(), 1, "{}", outcome.describe());
        assert!(found.iter().all(|f| f.get("site").is_none()), "{}", outcome.describe());
    }
}

#[test]
fn what_is_freed_and_pointed_to_says_who_freed_it_and_who_made_it() {
    for mode in ["quarantine", "collect"] {
        let program = Program::new(compile::program("freed_by", &["-fno-builtin", "-Wno-use-after-free"])).with_shim();
        let outcome = program.env("GCSHIM_MODE", mode).env("GCSHIM_STACKS", "native").run();
        let text = rendered(&outcome);
        let found = paragraphs(&text, "freed-while-referenced (information)");
        assert_eq!(found.len(), 2, "{mode}: {text}");
        for (function, blocks) in [("freed_by_the_first", 1), ("freed_by_the_second", 2)] {
            let one = found.iter().find(|p| p.contains(&format!("freed in {function} ("))).unwrap_or(&"");
            assert!(one.contains(&format!("{blocks} block")) && one.contains("freed_by.c:"), "{mode}: {text}");
            assert!(one.contains("made in made_here ("), "{mode}: {text}");
        }
    }
}

/// One function leaks in a generator, another in a list comprehension, a third under a name that is not ASCII, deep in recursion.
const SITES: &str = "
def generator(n):
    seeded.bug('leaked_bytes', n)
    yield n
class Größe:
    def tief(self, n):
        return self.tief(n - 1) if n else seeded.bug('leaked_bytes', 30)
for _ in generator(100):
    pass
[seeded.bug('leaked_bytes', 5) for _ in range(2)]
Größe().tief(40)
";

#[test]
fn a_leak_shows_the_lines_of_python_that_led_to_it() {
    for interpreter in interpreters::with_headers() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ä.py");
        std::fs::write(&file, ["import sys\nsys.path.insert(0, sys.argv[1])\nimport seeded", SITES].concat()).expect("written");
        for stacks in ["python", "both"] {
            let program = interpreter.program().arg(&file).arg(compile::extension(interpreter, "seeded")).with_shim();
            let outcome = program.env("GCSHIM_STACKS", stacks).run();
            assert!(outcome.succeeded(), "{}", outcome.describe());
            let about = format!("{} {stacks}: {}", interpreter.label(), outcome.describe());
            let failing: Vec<&Value> =
                report::of_kind(&outcome.records, "finding").into_iter().filter(|f| f["failing"] == true).collect();
            assert_eq!(failing.len(), 3, "{about}");
            let frames = |objects: u64| {
                let one = failing.iter().find(|f| f["objects"] == objects).unwrap_or_else(|| panic!("{about}"));
                assert_eq!(one["site"]["native"].as_array().is_some_and(|n| !n.is_empty()), stacks == "both", "{about}");
                let python = one["site"]["python"].as_array().expect("frames");
                let told = python.iter().map(|f| {
                    assert_eq!(f["file"], file.to_str().expect("UTF-8"), "{about}");
                    (f["function"].as_str().expect("a name").to_owned(), f["line"].as_u64().expect("a line"))
                });
                told.collect::<Vec<_>>()
            };
            // From 3.11 on names are qualified, from 3.12 on a comprehension has no frame of its own.
            let minor = interpreter.version.1;
            assert_eq!(frames(100), [("generator".to_owned(), 5), ("<module>".to_owned(), 10)], "{about}");
            let comprehension = (minor < 12).then(|| ("<listcomp>".to_owned(), 12));
            assert_eq!(frames(10), [comprehension.as_slice(), &[("<module>".to_owned(), 12)]].concat(), "{about}");
            let deep = (if minor < 11 { "tief" } else { "Größe.tief" }.to_owned(), 9);
            assert_eq!(frames(30), vec![deep; 16], "{about}");
        }
    }
}

#[test]
fn what_python_freed_and_c_points_to_says_which_line_freed_it() {
    let script = "
import ctypes
def make():
    return bytes(1237)
def drop(kept):
    kept.clear()
kept = [make()]
pointer = ctypes.c_void_p(id(kept[0]))
drop(kept)
ctypes.PyDLL(None).gcshim_audit()
";
    for interpreter in interpreters::all() {
        let program = interpreter.program().arg("-c").arg(script).with_shim();
        let outcome = program.env("GCSHIM_MODE", "quarantine").env("GCSHIM_STACKS", "both").run();
        assert!(outcome.succeeded(), "{}", outcome.describe());
        let found = report::of_kind(&outcome.records, "finding");
        let function = |f: &Value, field: &str| f[field]["python"][0]["function"].as_str().unwrap_or_default().to_owned();
        let ours = found.iter().filter(|f| f["verdict"] == "freed-while-referenced" && function(f, "site") == "make");
        let freed: Vec<_> = ours.map(|f| (function(f, "freed"), f["freed"]["python"][0]["line"].clone())).collect();
        assert_eq!(freed, [("drop".to_owned(), Value::from(6))], "{}: {}", interpreter.label(), outcome.describe());
    }
}

#[test]
fn the_hardest_places_to_walk_a_stack_in_are_survived() {
    let library = compile::library("faults_library", &["-fno-builtin"]);
    for mode in ["audit", "quarantine", "collect"] {
        let program = Program::new(compile::program("stacks_odd", &["-pthread", "-fno-builtin"])).arg(&library).with_shim();
        let outcome = program.env("GCSHIM_MODE", mode).env("GCSHIM_STACKS", "both").env("GCSHIM_PLAIN", "0").run();
        assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{mode}: {}", outcome.describe());
    }
}

/// Programs that other tests run without stacks: what they check of themselves holds with them.
#[test]
fn threads_forks_and_handlers_do_as_ever() {
    let library = compile::library("faults_library", &["-fno-builtin"]);
    let library = library.to_str().expect("UTF-8");
    let cases: [(&str, &[&str], i32); 8] = [
        ("heap_fork", &["50"], 0),
        ("heap_threads", &["2000"], 0),
        ("heap_signals", &[], 0),
        ("heap_handlers", &[], 0),
        ("snapshot_churn", &["30"], 0),
        ("snapshot_storm", &["20"], 0),
        ("faults_threads", &["dying", "20"], 5),
        ("faults_threads", &["modules", "20", library], 5),
    ];
    for (name, arguments, status) in cases {
        let program = Program::new(compile::program(name, &["-pthread", "-fno-builtin"])).with_shim();
        let program = arguments.iter().fold(program, |p, a| p.arg(a)).env("GCSHIM_STACKS", "both").env("GCSHIM_PLAIN", "0");
        let outcome = program.run();
        assert!(outcome.status.code() == Some(status) && !outcome.timed_out, "{}", outcome.describe());
    }
}
