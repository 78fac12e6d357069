//! Every way to start, embed and end an interpreter: the same ten lost lists are found at exit, nothing else is, and the program behaves as it
//! does without the shim. Interpreters that cannot be audited run as ever and say so in one line.
//!
//! Each test goes over every CPython of this machine and says everything that is wrong at once.

#[path = "../support/mod.rs"]
mod support;

#[path = "interpreters/hooks.rs"]
mod hooks;
#[path = "interpreters/start.rs"]
mod start;

use std::path::{Path, PathBuf};

use support::interpreters::{self, Interpreter};
use support::process::{Outcome, Program};
use support::{compile, report, shim};

/// Loses ten lists.
const LEAK: &str = "
import ctypes
def leak():
    for i in range(10):
        lost = [i]
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))
leak()
";

/// Uses much of the interpreter and loses nothing.
const CLEAN: &str = "
import collections, json, re, weakref
class Node:
    pass
kept = [json.loads('{\"a\": [1, 2.5, \"x\", null]}') for _ in range(500)]
cycle = Node(); cycle.itself = cycle; watched = weakref.ref(cycle)
names = collections.Counter(re.findall('[a-z]+', 'some words and some more words'))
";

/// What a run must be.
struct Wanted {
    /// How often the leak was committed, ten lists each.
    leaks: u64,
    /// How many of the lists may be named by a stale word somewhere, and taken to be held: where nothing can be done about what other code leaves.
    hidden_max: u64,
    /// How many audits there were.
    audits: usize,
}

const ONE_LEAK: Wanted = Wanted { leaks: 1, hidden_max: 0, audits: 1 };
const NO_LEAK: Wanted = Wanted { leaks: 0, hidden_max: 0, audits: 1 };

/// Runs the same program without the shim and with it.
fn both(program: &dyn Fn() -> Program) -> (Outcome, Outcome) {
    (program().run(), program().with_shim().run())
}

/// What the program itself wrote to standard error.
fn own_stderr(outcome: &Outcome) -> String {
    outcome.stderr.lines().filter(|l| !l.starts_with("gcshim: ")).map(|l| format!("{l}\n")).collect()
}

/// The same program in every respect that it or its caller can see.
fn differences((plain, shimmed): &(Outcome, Outcome), wrong: &mut Vec<String>) {
    if plain.status != shimmed.status || plain.timed_out || shimmed.timed_out {
        wrong.push(format!("ends with {} and without the shim with {}", shimmed.status, plain.status));
    }
    if plain.stdout != shimmed.stdout {
        wrong.push(format!("prints {:?} and without the shim {:?}", shimmed.stdout, plain.stdout));
    }
    if own_stderr(plain) != own_stderr(shimmed) {
        wrong.push(format!("says {:?} and without the shim {:?}", own_stderr(shimmed), own_stderr(plain)));
    }
}

fn wrong_with(pair: &(Outcome, Outcome), wanted: &Wanted) -> Vec<String> {
    let mut wrong = Vec::new();
    differences(pair, &mut wrong);
    let records = &pair.1.records;
    let audits = report::of_kind(records, "audit").len();
    if audits != wanted.audits {
        wrong.push(format!("{audits} audits, not {}", wanted.audits));
    }
    let failing = report::failing(records);
    let lost: u64 = failing.iter().filter(|f| f.verdict == "leaked-object" && f.type_name == "list").map(|f| f.objects).sum();
    if !(wanted.leaks * 10 - wanted.hidden_max..=wanted.leaks * 10).contains(&lost) {
        wrong.push(format!("{lost} lists lost, not {}", wanted.leaks * 10));
    }
    let others = failing.iter().filter(|f| f.verdict != "leaked-object" || f.type_name != "list");
    wrong.extend(others.map(|f| format!("{} of {}, which nobody committed", f.verdict, f.type_name)));
    if wanted.leaks == 0 && pair.1.stderr.contains("gcshim: ") {
        wrong.push("lines on standard error for nothing".to_owned());
    }
    wrong
}

/// Runs `program` on each of `all`, and fails with everything that is wrong.
fn on<'a>(all: impl IntoIterator<Item = &'a Interpreter>, wanted: &Wanted, program: impl Fn(&Interpreter) -> Program) {
    let mut failures = Vec::new();
    for interpreter in all {
        let pair = both(&|| program(interpreter));
        let wrong = wrong_with(&pair, wanted);
        if !wrong.is_empty() {
            failures.push(format!("{}:\n    {}\n{}", interpreter.label(), wrong.join("\n    "), pair.1.describe()));
        }
    }
    assert!(failures.is_empty(), "{} runs are wrong\n\n{}", failures.len(), failures.join("\n"));
}

fn on_all(wanted: &Wanted, program: impl Fn(&Interpreter) -> Program) {
    on(interpreters::all(), wanted, program);
}

/// A script on the command line, after `LEAK`.
fn after_leak(wanted: &Wanted, script: &str) {
    on_all(wanted, |i| i.program().arg("-c").arg([LEAK, script].concat()));
}

fn file_with(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a script");
    path
}

#[test]
fn a_leak_is_found_whatever_the_switches() {
    for switches in [&[][..], &["-I"], &["-E"], &["-S"], &["-B", "-O"], &["-OO", "-u", "-s", "-q", "-X", "faulthandler"]] {
        on_all(&ONE_LEAK, |i| switches.iter().fold(i.program(), |p, s| p.arg(s)).arg("-c").arg(LEAK));
    }
}

#[test]
fn a_clean_program_says_nothing_whatever_the_switches() {
    for switches in [&[][..], &["-I", "-S"], &["-O", "-X", "tracemalloc"]] {
        on_all(&NO_LEAK, |i| switches.iter().fold(i.program(), |p, s| p.arg(s)).arg("-c").arg(CLEAN));
    }
    for interpreter in interpreters::all() {
        // Its own lines hold times, which differ from run to run.
        let outcome = interpreter.program().arg("-X").arg("importtime").arg("-c").arg(CLEAN).with_shim().run();
        let good =
            outcome.succeeded() && !outcome.stderr.contains("gcshim: ") && report::of_kind(&outcome.records, "audit").len() == 1;
        assert!(good, "{}", outcome.describe());
    }
}

#[test]
fn a_leak_is_found_in_a_script_a_module_and_standard_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = file_with(folder.path(), "leaky.py", LEAK);
    on_all(&ONE_LEAK, |i| i.program().arg("-B").arg(&script));
    on_all(&ONE_LEAK, |i| i.program().arg("-B").arg("-m").arg("leaky").folder(folder.path()));
    on_all(&ONE_LEAK, |i| Program::new("/bin/sh").arg("-c").arg("exec \"$0\" - < \"$1\"").arg(&i.path).arg(&script));
}

#[test]
fn a_leak_is_found_through_a_link_and_in_a_virtual_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut made = Vec::new();
    for (at, i) in interpreters::all().iter().enumerate() {
        let link = folder.path().join(format!("link-{at}"));
        std::os::unix::fs::symlink(&i.path, &link).expect("a link");
        let environment = folder.path().join(format!("venv-{at}"));
        let outcome = i.program().arg("-m").arg("venv").arg("--without-pip").arg(&environment).run();
        assert!(outcome.succeeded(), "{}", outcome.describe());
        made.push((i.path.clone(), link, environment.join("bin/python")));
    }
    let of = |i: &Interpreter| made.iter().find(|(path, ..)| *path == i.path).expect("made above");
    on_all(&ONE_LEAK, |i| Program::new(&of(i).1).arg("-c").arg(LEAK));
    on_all(&ONE_LEAK, |i| Program::new(&of(i).2).arg("-c").arg(LEAK));
}

#[test]
fn the_exit_status_is_kept_however_the_program_ends() {
    after_leak(&ONE_LEAK, "raise SystemExit(3)");
    after_leak(&ONE_LEAK, "raise SystemExit('a message')");
    after_leak(&ONE_LEAK, "raise ValueError('not caught')");
    after_leak(
        &ONE_LEAK,
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); signal.raise_signal(signal.SIGINT)",
    );
    after_leak(&ONE_LEAK, "import atexit, os; atexit.register(print, 'in a handler')");
}

#[test]
fn a_program_that_skips_its_handlers_skips_the_audit() {
    let wanted = Wanted { leaks: 0, hidden_max: 0, audits: 0 };
    after_leak(&wanted, "import os; os._exit(5)");
    after_leak(&wanted, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)");
}

#[test]
fn threads_may_live_on() {
    after_leak(
        &Wanted { hidden_max: 5, ..ONE_LEAK },
        "
import threading, time
def busy():
    while True:
        made = [[n] for n in range(100)]
def idle():
    time.sleep(1000)
for work in (busy, busy, idle):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
",
    );
    // What a thread loses after the main one has ended is lost as well.
    on_all(&Wanted { leaks: 2, hidden_max: 2, audits: 1 }, |i| {
        i.program().arg("-c").arg(
            [
                LEAK,
                "
import threading
def late():
    threading.main_thread().join()
    leak()
threading.Thread(target=late).start()
",
            ]
            .concat(),
        )
    });
}

#[test]
fn what_an_exit_handler_loses_is_found() {
    after_leak(&Wanted { leaks: 2, hidden_max: 0, audits: 1 }, "import atexit; atexit.register(leak)");
}

#[test]
fn the_interpreters_own_allocator_settings_do_not_keep_the_audit_out() {
    // The variable is the program's and its children's as it was.
    let seen = "import os, sys; print(os.environ['PYTHONMALLOC'], flush=True); os.system('echo $PYTHONMALLOC')";
    for value in ["malloc", "pymalloc", "debug", "malloc_debug", "default"] {
        on_all(&ONE_LEAK, |i| i.program().env("PYTHONMALLOC", value).arg("-c").arg([LEAK, seen].concat()));
    }
    on_all(&ONE_LEAK, |i| i.program().env("PYTHONMALLOC", "malloc_debug").arg("-I").arg("-c").arg(LEAK));
    on_all(&ONE_LEAK, |i| i.program().arg("-X").arg("dev").arg("-c").arg(LEAK));
    on_all(&ONE_LEAK, |i| i.program().env("PYTHONDEVMODE", "1").env("PYTHONMALLOC", "malloc").arg("-c").arg(LEAK));
    on_all(&NO_LEAK, |i| i.program().env("PYTHONMALLOC", "pymalloc").arg("-c").arg(CLEAN));
    on_all(&NO_LEAK, |i| i.program().arg("-X").arg("dev").arg("-c").arg(CLEAN));
}

#[test]
fn the_debug_hooks_still_do_their_work() {
    // One byte behind a block of the object domain is overwritten: the hooks notice when it is freed, with the shim as without.
    let script = "
import ctypes
api = ctypes.pythonapi
api.PyObject_Malloc.restype = ctypes.c_void_p
block = api.PyObject_Malloc(ctypes.c_size_t(40))
ctypes.memset(block + 40, 1, 1)
api.PyObject_Free(ctypes.c_void_p(block))
";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().arg("-X").arg("dev").arg("-c").arg(script).with_shim().run();
        let said = outcome.stderr.contains("Debug memory block at address");
        assert!(!outcome.status.success() && said, "{}: {}", interpreter.label(), outcome.describe());
    }
}

/// An interpreter's shared library and its home, if it has one.
fn library_of(interpreter: &Interpreter) -> Option<(PathBuf, PathBuf)> {
    let script = "import sys, sysconfig as s; v = s.get_config_var; print(v('LIBDIR'), v('MULTIARCH') or '', v('INSTSONAME'), sys.base_prefix, sep='\\n')";
    let outcome = interpreter.program().arg("-c").arg(script).run();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let [folder, multiarch, name, home] = lines[..] else { panic!("{}", outcome.describe()) };
    let folder = Path::new(folder);
    [folder.join(name), folder.join(multiarch).join(name)]
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e != "a") && p.is_file())
        .map(|p| (p, PathBuf::from(home)))
}

fn embeddable() -> Vec<(&'static Interpreter, PathBuf, PathBuf)> {
    let all: Vec<_> =
        interpreters::all().iter().filter_map(|i| library_of(i).map(|(library, home)| (i, library, home))).collect();
    assert!(!all.is_empty(), "no CPython on this machine has a shared library (--enable-shared)");
    all
}

/// `harness/programs/embed.c`, linked against the interpreter's library.
fn embedding(library: &Path, home: &Path) -> Program {
    let folder = library.parent().expect("a folder").display();
    let program =
        compile::program("embed", &["-Wl,--no-as-needed", &library.display().to_string(), &format!("-Wl,-rpath,{folder}")]);
    Program::new(program).env("PYTHONHOME", home)
}

fn embedded(what: &str, script: &str, wanted: &Wanted) {
    let all = embeddable();
    on(all.iter().map(|(i, ..)| *i), wanted, |i| {
        let (_, library, home) = all.iter().find(|(other, ..)| other.path == i.path).expect("one of them");
        embedding(library, home).arg(what).arg(script)
    });
}

#[test]
fn an_embedded_interpreter_is_audited() {
    embedded("once", LEAK, &ONE_LEAK);
    embedded("once", "leak", &ONE_LEAK);
    embedded("once", CLEAN, &NO_LEAK);
}

#[test]
fn a_sub_interpreters_leak_is_found_when_the_main_one_ends() {
    for (interpreter, library, home) in embeddable() {
        let pair = both(&|| embedding(&library, &home).arg("sub").arg("leak"));
        let mut wrong = Vec::new();
        differences(&pair, &mut wrong);
        let failing = report::failing(&pair.1.records);
        // On purpose, CPython gives what survives a sub-interpreter one reference more (gc_fini_untrack, gh-92036): the lists' count may be 2.
        let lists = |f: &report::Finding| f.verdict == "leaked-object" && f.type_name == "list" && (8..=10).contains(&f.objects);
        // And it loses some memory of its own with it: a lock or two, a name. No object of the program's.
        let own = |f: &report::Finding| {
            f.verdict == "leaked-block" && report::size_in(&f.type_name) <= Some(64)
                || interpreter.version.1 == 8 && f.verdict == "leaked-reference" && f.type_name == "str" && f.objects == 1
        };
        let good = wrong.is_empty() && failing.iter().any(lists) && failing.iter().all(|f| lists(f) || own(f));
        assert!(good, "{} {wrong:?}: {}", interpreter.label(), pair.1.describe());
    }
}

/// The lines of the shim, which must be as many as wanted.
fn lines_of(outcome: &Outcome) -> Vec<&str> {
    outcome.stderr.lines().filter(|l| l.starts_with("gcshim: ")).collect()
}

#[test]
fn an_interpreter_started_again_says_that_only_the_first_was_audited() {
    for (interpreter, library, home) in embeddable() {
        for (script, leaks) in [("leak", 1), (CLEAN, 0)] {
            let pair = both(&|| embedding(&library, &home).arg("twice").arg(script));
            let mut wrong = Vec::new();
            differences(&pair, &mut wrong);
            let failing = report::failing(&pair.1.records);
            let lines = lines_of(&pair.1);
            let said = lines.iter().filter(|l| l.contains("this interpreter is not the first in its process")).count();
            let audits = report::of_kind(&pair.1.records, "audit").len();
            let good = wrong.is_empty() && audits == 1 && failing.len() == leaks && said == 1;
            assert!(good && (leaks > 0 || lines.len() == 1), "{} {wrong:?}: {}", interpreter.label(), pair.1.describe());
        }
    }
}

#[test]
fn a_program_with_allocators_of_its_own_says_that_there_was_no_audit() {
    for (interpreter, library, home) in embeddable() {
        let pair = both(&|| embedding(&library, &home).arg("own-malloc").arg("leak"));
        let mut wrong = Vec::new();
        differences(&pair, &mut wrong);
        let lines = lines_of(&pair.1);
        let said =
            matches!(lines[..], [one] if one.starts_with("gcshim: no audit: this Python was given an allocator of its own"));
        assert!(wrong.is_empty() && said, "{} {wrong:?}: {}", interpreter.label(), pair.1.describe());
    }
}

#[test]
fn an_interpreter_loaded_later_says_that_there_was_no_audit() {
    for (interpreter, library, home) in embeddable() {
        for names in ["-g", "-l"] {
            let program = || {
                let host = Program::new(compile::program("embed", &[])).env("PYTHONHOME", &home);
                host.arg(names).arg(&library).arg("once").arg("leak")
            };
            let pair = both(&program);
            let mut wrong = Vec::new();
            differences(&pair, &mut wrong);
            let lines = lines_of(&pair.1);
            let said = matches!(lines[..], [one] if one.starts_with("gcshim: no audit: libpython was loaded when the program had started"));
            assert!(wrong.is_empty() && said, "{} {wrong:?}: {}", interpreter.label(), pair.1.describe());
            // What the line proposes works.
            let preload = format!("{}:{}", shim::library().display(), library.display());
            let outcome = program().with_shim().env("LD_PRELOAD", preload).run();
            let failing = report::failing(&outcome.records);
            let found = matches!(&failing[..], [one] if one.type_name == "list" && one.objects == 10);
            assert!(outcome.succeeded() && found, "{}: {}", interpreter.label(), outcome.describe());
        }
    }
}

/// Interpreters too old to be audited, in pyenv's folder.
fn too_old() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let Some(Ok(versions)) = root.map(|r| std::fs::read_dir(r.join("versions"))) else { return Vec::new() };
    let old = |name: &str| ["2.7.", "3.5.", "3.6.", "3.7."].iter().any(|v| name.starts_with(v));
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .filter(|e| e.file_name().to_str().is_some_and(old))
        .map(|e| e.path().join("bin/python"))
        .filter(|p| p.is_file())
        .collect();
    found.sort();
    found
}

#[test]
fn an_interpreter_that_is_too_old_runs_and_gets_one_line() {
    let all = too_old();
    if all.is_empty() {
        println!("not tested, not found on this machine: CPython 2.7 and 3.5 to 3.7");
    }
    for path in all {
        let pair = both(&|| Program::new(&path).arg("-c").arg("import json, sys; print(json.dumps([1, {}])); sys.exit(7)"));
        let mut wrong = Vec::new();
        differences(&pair, &mut wrong);
        let one = "gcshim: this Python is not supported (CPython 3.8 to 3.13 are); it runs without audits";
        assert!(wrong.is_empty() && lines_of(&pair.1) == [one], "{wrong:?}: {}", pair.1.describe());
        assert!(pair.1.records.is_empty(), "{}", pair.1.describe());
    }
}

#[test]
fn other_interpreters_run_and_get_one_line() {
    let version = |text: &str| format!("-DVERSION=\"{text}\"");
    for (flags, line) in [
        (
            vec![version("3.13.0 experimental free-threading build (main) [GCC]")],
            "gcshim: a free-threaded Python keeps its objects in heaps of its own and is not supported yet; it runs without audits",
        ),
        (
            vec![version("3.11.2 (main) [GCC]"), "-DTRACE_REFS".to_owned()],
            "gcshim: a Python built with Py_TRACE_REFS is not supported; it runs without audits",
        ),
        (
            vec![version("3.99.0 (main) [GCC]")],
            "gcshim: this Python is not supported (CPython 3.8 to 3.13 are); it runs without audits",
        ),
        (vec!["-DPYPY".to_owned()], "gcshim: PyPy has no reference counts to check; it runs without audits"),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let preload = format!("{}:{}", shim::library().display(), compile::library("fake_python", &flags).display());
        let outcome = Program::new("/bin/true").with_shim().env("LD_PRELOAD", preload).run();
        assert!(outcome.succeeded() && outcome.stderr == format!("{line}\n"), "{}", outcome.describe());
        assert!(outcome.records.is_empty(), "{}", outcome.describe());
    }
}
