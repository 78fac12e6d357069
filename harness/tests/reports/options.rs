//! Each option, and what is said of one that is wrong.

use std::path::Path;

use crate::support::process::Program;
use crate::support::report;
use crate::{LEAK, in_shell, lines, newest, says_leak, script};

#[test]
fn plain_lines_can_be_switched_off() {
    let outcome = script(LEAK).env("GCSHIM_PLAIN", "0").run();
    assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
    assert_eq!(report::failing(&outcome.records).len(), 1, "{}", outcome.describe());
}

#[test]
fn the_report_file_is_named_by_the_process_and_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = [LEAK, "import os; print(os.getpid())"].concat();
    let outcome = script(&text).env("GCSHIM_REPORT", folder.path().join("r-%p-%p.ndjson")).run();
    let pid = outcome.stdout.trim();
    let records = report::read(&folder.path().join(format!("r-{pid}-{pid}.ndjson")));
    assert_eq!(report::failing(&records).len(), 1, "{}", outcome.describe());
    assert_eq!(report::of_kind(&records, "process")[0]["pid"].to_string(), pid);
    let same = folder.path().join("same.ndjson");
    for runs in 1..=2 {
        script(LEAK).env("GCSHIM_REPORT", &same).run();
        assert_eq!(report::of_kind(&report::read(&same), "summary").len(), runs);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_one_line_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing/report.ndjson");
    let cannot = |path: &Path| format!("gcshim: the report file {} (GCSHIM_REPORT) cannot be opened for writing", path.display());
    for (path, line) in [
        (missing.as_path(), cannot(&missing)),
        (folder.path(), cannot(folder.path())),
        (Path::new("/dev/full"), "gcshim: the report file could not be written in full (GCSHIM_REPORT)".to_owned()),
    ] {
        let outcome = script("raise SystemExit(4)").env("GCSHIM_REPORT", path).run();
        assert_eq!((outcome.status.code(), lines(&outcome)), (Some(4), vec![line.as_str()]), "{}", outcome.describe());
        // The findings are still told.
        assert!(says_leak(&script(LEAK).env("GCSHIM_REPORT", path).run()), "{}", path.display());
    }
}

#[test]
fn the_exit_code_is_set_only_by_a_failing_finding() {
    let end = "
import atexit, sys
atexit.register(print, 'in a handler')
sys.stdout.write('buffered ')
";
    let outcome = script(&[LEAK, end].concat()).env("GCSHIM_EXITCODE", "41").run();
    assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(41), "buffered in a handler\n"), "{}", outcome.describe());
    let outcome = script(&[LEAK, "raise SystemExit(3)"].concat()).env("GCSHIM_EXITCODE", "41").run();
    assert_eq!(outcome.status.code(), Some(41), "{}", outcome.describe());
    for (text, code) in [("print(1)", 0), ("raise SystemExit(3)", 3)] {
        let outcome = script(text).env("GCSHIM_EXITCODE", "41").run();
        assert!(outcome.status.code() == Some(code) && outcome.stderr.is_empty(), "{}", outcome.describe());
    }
}

#[test]
fn what_the_c_library_buffers_is_still_written_when_the_exit_code_is_set() {
    let text = "
import ctypes
libc = ctypes.CDLL(None)
libc.printf(b'buffered by C')
# A handler of the C library's, registered after ours: it runs before.
@ctypes.CFUNCTYPE(None)
def handler():
    pass
";
    let outcome = script(&[LEAK, text].concat()).env("GCSHIM_EXITCODE", "41").run();
    assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(41), "buffered by C"), "{}", outcome.describe());
}

#[test]
fn the_user_says_which_verdicts_fail() {
    let outcome = script(LEAK).env("GCSHIM_FAIL_ON", "leaked-block,over-released").env("GCSHIM_EXITCODE", "41").run();
    assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
    let found = report::findings(&outcome.records);
    assert!(found.iter().any(|f| f.verdict == "leaked-object" && f.objects == 10 && !f.failing), "{}", outcome.describe());
    let outcome = script(LEAK).env("GCSHIM_FAIL_ON", "none").env("GCSHIM_EXITCODE", "41").run();
    assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
    let garbage = "import gc; gc.disable()\nfor _ in range(5):\n    loop = []\n    loop.append(loop)\ndel loop";
    let outcome = script(garbage).env("GCSHIM_FAIL_ON", "cyclic-garbage").env("GCSHIM_EXITCODE", "41").run();
    assert_eq!(outcome.status.code(), Some(41), "{}", outcome.describe());
}

#[test]
fn suppressions_leave_findings_out_and_say_what_they_do_not_understand() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("known");
    let with = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        script(LEAK).env("GCSHIM_SUPPRESSIONS", &file).env("GCSHIM_EXITCODE", "41").run()
    };
    for text in [
        "leaked-object:list",
        "# why\n\n  leaked-object: li*\r\n",
        "*:list",
        "leaked-*:*",
        "leaked-object:nothing\nleaked-object:list",
    ] {
        let outcome = with(text);
        assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{text:?}: {}", outcome.describe());
        let left_out = report::of_kind(&outcome.records, "suppressed");
        assert!(
            left_out.len() == 1 && left_out[0]["type"] == "list" && left_out[0]["objects"] == 10,
            "{text:?}: {}",
            outcome.describe()
        );
        assert!(report::failing(&outcome.records).is_empty(), "{text:?}: {}", outcome.describe());
    }
    for text in ["leaked-object:lists", "leaked-reference:list", "#leaked-object:list", ""] {
        let outcome = with(text);
        assert!(outcome.status.code() == Some(41) && says_leak(&outcome), "{text:?}: {}", outcome.describe());
    }
    let outcome = with("nonsense\nleakd-object:list\nleaked-object:list");
    let name = file.display();
    let wanted = [
        format!("gcshim: {name}:1: not understood; a line is VERDICT:TYPE-PATTERN"),
        format!("gcshim: {name}:2: there is no verdict leakd-object"),
    ];
    assert_eq!(lines(&outcome), wanted, "{}", outcome.describe());
    std::fs::remove_file(&file).expect("it was there");
    let outcome = script(LEAK).env("GCSHIM_SUPPRESSIONS", &file).run();
    let line = format!("gcshim: the suppressions file {name} cannot be read; nothing is suppressed");
    assert!(lines(&outcome)[0] == line && says_leak(&outcome), "{}", outcome.describe());
}

#[test]
fn an_option_that_is_wrong_is_one_line_in_a_python_process_alone() {
    for (name, value, line) in [
        ("GCSHIM_NONSENSE", "1", "gcshim: unknown option GCSHIM_NONSENSE; `gcshim options` lists them all"),
        (
            "GCSHIM_MODE",
            "zoom",
            "gcshim: GCSHIM_MODE=zoom is not understood and is ignored; allowed: audit|collect|quarantine|off",
        ),
        (
            "GCSHIM_AUDIT",
            "exit,soon",
            "gcshim: GCSHIM_AUDIT=exit,soon is not understood and is ignored; allowed: exit,signal,never",
        ),
        ("GCSHIM_EXITCODE", "256", "gcshim: GCSHIM_EXITCODE=256 is not understood and is ignored; allowed: 1..255"),
        (
            "GCSHIM_FAIL_ON",
            "everything",
            "gcshim: GCSHIM_FAIL_ON=everything is not understood and is ignored; allowed: verdict,...",
        ),
        ("GCSHIM_ROOTS", "sofas", "gcshim: GCSHIM_ROOTS=sofas is not understood and is ignored; allowed: [-]kind,..."),
        ("GCSHIM_DEADLINE", "0", "gcshim: GCSHIM_DEADLINE=0 is not understood and is ignored; allowed: 1..3600"),
        ("GCSHIM_SIGNAL", "9", "gcshim: GCSHIM_SIGNAL=9 is not understood and is ignored; allowed: 1..64"),
        ("GCSHIM_PLAIN", "yes", "gcshim: GCSHIM_PLAIN=yes is not understood and is ignored; allowed: 0|1"),
        ("GCSHIM_FOLLOW_FORK", "-1", "gcshim: GCSHIM_FOLLOW_FORK=-1 is not understood and is ignored; allowed: 0|1"),
    ] {
        let outcome = script("raise SystemExit(4)").env(name, value).run();
        assert_eq!((outcome.status.code(), lines(&outcome)), (Some(4), vec![line]), "{}", outcome.describe());
        // And is ignored: the audit takes place.
        assert!(says_leak(&script(LEAK).env(name, value).run()), "{name}={value}");
        let outcome = Program::new("/bin/true").with_shim().env(name, value).run();
        assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
    }
    // An empty one is as good as none.
    let outcome = script("").env("GCSHIM_MODE", "").env("GCSHIM_EXITCODE", "").run();
    assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
}

#[test]
fn off_and_never_mean_it() {
    for (name, value) in [("GCSHIM_MODE", "off"), ("GCSHIM_AUDIT", "never")] {
        let outcome = script(LEAK).env(name, value).env("GCSHIM_EXITCODE", "41").run();
        assert!(outcome.succeeded() && outcome.stderr.is_empty() && outcome.records.is_empty(), "{}", outcome.describe());
    }
    // With the mode off, the options are not looked at, and nothing can be asked for.
    let ask = "import ctypes; print(ctypes.CDLL(None).gcshim_audit())";
    let outcome = script(ask).env("GCSHIM_MODE", "off").run();
    assert!(outcome.stdout == "-1\n" && outcome.stderr.is_empty() && outcome.records.is_empty(), "{}", outcome.describe());
    let outcome = script(ask).env("GCSHIM_AUDIT", "never").run();
    assert!(outcome.stdout == "0\n" && report::of_kind(&outcome.records, "audit").len() == 1, "{}", outcome.describe());
}

#[test]
fn an_audit_that_outlives_its_deadline_is_given_up_and_the_program_goes_on() {
    // A type whose tp_traverse sleeps: only in the snapshot is it ever called.
    let text = "
import ctypes, gc
gc.disable()
Traverse = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
class Slow:
    pass
libc = ctypes.CDLL(None)
address = ctypes.cast(libc.pause, ctypes.c_void_p).value
# tp_traverse of a PyTypeObject on 64-bit machines: the 24th word.
ctypes.c_void_p.from_address(id(Slow) + 23 * 8).value = address
kept = Slow()
print('goes on', flush=True)
";
    let outcome = script(text).env("GCSHIM_DEADLINE", "1").run();
    let given_up = matches!(&lines(&outcome)[..], [one] if one.starts_with("gcshim: the audit at exit was given up: "));
    let named = outcome.stderr.is_empty()
        && report::of_kind(&outcome.records, "degraded").iter().any(|d| d["what"].as_str().is_some_and(|w| w.contains("Slow")));
    assert!(given_up || named, "{}", outcome.describe());
    assert!(outcome.stdout == "goes on\n" && !outcome.timed_out, "{}", outcome.describe());
}

#[test]
fn the_working_folder_need_not_be_there() {
    let outcome = in_shell("d=$(mktemp -d); cd \"$d\"; rmdir \"$d\"; exec \"$0\" -I -c \"$1\"", LEAK).run();
    assert!(outcome.succeeded() && says_leak(&outcome), "{}: {}", newest().label(), outcome.describe());
}
