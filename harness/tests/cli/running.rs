//! What `gcshim run` gives to the program, and which status it takes from it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{end, fixtures, gcshim, harmless_library, options, run, run_script};

/// The part of a shell script that does what the shim does with a report: `%p` is the process's own id.
fn replay(fixture: &str) -> String {
    format!("report=$(echo \"$GCSHIM_REPORT\" | sed \"s/%p/$$/\"); cat {fixture}.ndjson >> \"$report\"; ")
}

const NO_REPORT: &str = "gcshim: no report: no Python process of this command came as far as an audit\n";

#[test]
fn the_programs_status_is_gcshims() {
    assert_eq!(run(["run", "--", "true"]), (Some(0), "".into(), NO_REPORT.into()));
    assert_eq!(run_script(&[], "exit 3").0, Some(3));
    assert_eq!(run_script(&[], "kill -9 $$").0, Some(137));
    assert_eq!(run_script(&[], "kill -TERM $$").0, Some(143));
}

#[test]
fn a_command_that_cannot_start_has_the_shells_status_and_one_line() {
    let missing = run(["run", "--", "/nowhere/command"]);
    assert_eq!(missing, (Some(127), "".into(), "gcshim: /nowhere/command: No such file or directory (os error 2)\n".into()));
    let folder = run(["run", "--", "/"]);
    assert_eq!(folder, (Some(126), "".into(), "gcshim: /: Permission denied (os error 13)\n".into()));
}

#[test]
fn a_failing_verdict_is_status_23_and_the_report_is_on_stderr() {
    let (status, stdout, stderr) = run_script(&[], &(replay("leaks") + "echo output; exit 3"));
    assert_eq!((status, stdout.as_str()), (Some(23), "output\n"));
    assert_eq!(stderr, include_str!("../../fixtures/leaks.txt"));
}

#[test]
fn a_clean_report_leaves_the_programs_status() {
    let (status, _, stderr) = run_script(&[], &(replay("clean") + "exit 3"));
    assert_eq!((status, stderr.as_str()), (Some(3), include_str!("../../fixtures/clean.txt")));
}

#[test]
fn the_failing_status_can_be_chosen() {
    assert_eq!(run_script(&["--exitcode", "9"], &replay("leaks")).0, Some(9));
    let mut command = gcshim(["run", "--", "sh", "-c", &replay("leaks")]);
    assert_eq!(command.env("GCSHIM_EXITCODE", "10").output().expect("gcshim starts").status.code(), Some(10));
}

#[test]
fn another_format_goes_to_its_file_and_the_text_to_stderr() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("out.xml");
    let flags = ["--format", "junit", "-o", file.to_str().expect("a UTF-8 path")];
    let (status, _, stderr) = run_script(&flags, &replay("leaks"));
    assert_eq!((status, stderr.as_str()), (Some(23), include_str!("../../fixtures/leaks.txt")));
    assert_eq!(std::fs::read_to_string(file).expect("written"), include_str!("../../fixtures/leaks.junit.xml"));
}

#[test]
fn every_option_has_a_flag_that_reaches_the_program() {
    // What is set for each option; a new option without a line here fails the test below.
    let suppressions = fixtures().join("clean.ndjson");
    let values = [
        ("GCSHIM_MODE", "off"),
        ("GCSHIM_AUDIT", "signal"),
        ("GCSHIM_SIGNAL", "10"),
        ("GCSHIM_REPORT", "/dev/null"),
        ("GCSHIM_PLAIN", "1"),
        ("GCSHIM_EXITCODE", "7"),
        ("GCSHIM_FAIL_ON", "leaked-object"),
        ("GCSHIM_SUPPRESSIONS", suppressions.to_str().expect("a UTF-8 path")),
        ("GCSHIM_CENSUS", "/dev/null"),
        ("GCSHIM_ROOTS", "-stacks,-tls"),
        ("GCSHIM_STACKS", "native"),
        ("GCSHIM_HISTOGRAM", "/dev/null"),
        ("GCSHIM_HISTOGRAM_RATE", "0"),
        ("GCSHIM_DEADLINE", "5"),
        ("GCSHIM_FOLLOW_FORK", "1"),
    ];
    let names: Vec<&str> = options::OPTIONS.iter().map(|o| o.name).collect();
    assert_eq!(names, values.map(|(name, _)| name));
    let flags: Vec<String> = values
        .iter()
        .flat_map(|(name, value)| [format!("--{}", name["GCSHIM_".len()..].to_lowercase().replace('_', "-")), value.to_string()])
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (status, stdout, _) = run_script(&flags, "env");
    assert_eq!(status, Some(0));
    for (name, value) in values {
        assert!(stdout.lines().any(|l| l == format!("{name}={value}")), "{name}={value} is missing in {stdout}");
    }
}

#[test]
fn an_existing_preload_is_kept_behind_the_shim() {
    let library = harmless_library();
    let mut command = gcshim(["run", "--", "sh", "-c", "echo $LD_PRELOAD; echo $GCSHIM_PLAIN"]);
    let (_, stdout, _) = end(&command.env("LD_PRELOAD", &library).output().expect("gcshim starts"));
    let library = std::fs::canonicalize(library).expect("it exists");
    let mut lines = stdout.lines();
    let (ours, theirs) = lines.next().and_then(|l| l.split_once(':')).expect("two libraries");
    assert_eq!((Path::new(ours), std::fs::canonicalize(theirs).expect("it exists")), (library.as_path(), library.clone()));
    assert_eq!(lines.next(), Some("0"));
}

#[test]
fn a_bad_value_is_one_line_and_nothing_runs() {
    let cases = [
        (vec!["--mode", "fast"], "gcshim: --mode=fast: 'fast' is none of audit, collect, quarantine, off\n"),
        (vec!["--signal", "65"], "gcshim: --signal=65: is not a number from 1 to 64\n"),
        (vec!["--signal", "9"], "gcshim: --signal=9: is a signal that cannot be caught\n"),
        (vec!["--suppressions", "/nowhere"], "gcshim: suppressions /nowhere: No such file or directory (os error 2)\n"),
    ];
    for (flags, line) in cases {
        assert_eq!(run_script(&flags, "echo ran"), (Some(125), "".into(), line.into()));
    }
    let mut command = gcshim(["run", "--", "echo", "ran"]);
    let output = command.env("GCSHIM_ROOTS", "sofas").output().expect("gcshim starts");
    let (status, stdout, stderr) = end(&output);
    assert_eq!((status, stdout.as_str()), (Some(125), ""));
    assert!(
        stderr.starts_with("gcshim: GCSHIM_ROOTS=sofas: 'sofas' is none of stacks") && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn a_shim_that_is_missing_is_gcshims_own_failure() {
    let mut command = gcshim(["run", "--", "echo", "ran"]);
    let output = command.env("GCSHIM_LIBRARY", "/nowhere/libgcshim.so").output().expect("gcshim starts");
    let line = "gcshim: GCSHIM_LIBRARY=/nowhere/libgcshim.so: No such file or directory (os error 2)\n";
    assert_eq!(end(&output), (Some(125), "".into(), line.into()));
}

#[test]
fn a_users_report_stays_and_what_was_in_it_does_not_count() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("report.ndjson");
    std::fs::copy(fixtures().join("leaks.ndjson"), &file).expect("copied");
    let (status, _, stderr) = run_script(&["--report", file.to_str().expect("a UTF-8 path")], &replay("clean"));
    assert_eq!((status, stderr.as_str()), (Some(0), include_str!("../../fixtures/clean.txt")));
    let read = |name: &str| std::fs::read_to_string(fixtures().join(name)).expect("the fixture");
    assert_eq!(std::fs::read_to_string(&file).expect("it stays"), read("leaks.ndjson") + &read("clean.ndjson"));
}

#[test]
fn a_relative_report_is_where_gcshim_was_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = std::fs::canonicalize(folder.path()).expect("it exists");
    let mut command = gcshim(["run", "--report", "r-%p.ndjson", "--", "sh", "-c", "cd /; echo $GCSHIM_REPORT"]);
    let (_, stdout, _) = end(&command.current_dir(&root).output().expect("gcshim starts"));
    assert_eq!(stdout.trim_end(), root.join("r-%p.ndjson").to_str().expect("a UTF-8 path"));
}

#[test]
fn the_reports_of_child_processes_are_collected_after_the_commands_own() {
    let process = |pid: &str| {
        format!("echo '{{\"kind\":\"process\",\"pid\":'{pid}',\"argv\":[\"{pid}\"]}}' >> \"$report\"; ").replace('\\', "")
    };
    let body = "printf '%s\\n' '{\"kind\":\"audit\"}' '{\"kind\":\"summary\",\"findings\":0,\"failing\":0}' >> \"$report\"; ";
    // The child's id is made smaller than any real one, so that the order is not the ids'.
    let child = format!("report=$(echo \"$GCSHIM_REPORT\" | sed s/%p/1/); {}{body}", process("1"));
    let own = format!("report=$(echo \"$GCSHIM_REPORT\" | sed s/%p/$$/); {}{body}", process("$$"));
    let (status, _, stderr) = run_script(&[], &(child + &own));
    assert_eq!(status, Some(0));
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].starts_with("gcshim: $$ (pid ") && lines[1] == "gcshim: 1 (pid 1): nothing found", "{stderr}");
}

#[test]
fn the_private_report_folder_is_gone_afterwards() {
    let (_, stdout, _) = run_script(&[], "dirname \"$GCSHIM_REPORT\"; stat -c %a \"$(dirname \"$GCSHIM_REPORT\")\"");
    let mut lines = stdout.lines();
    let folder = Path::new(lines.next().expect("a folder"));
    assert_eq!(lines.next(), Some("700"));
    assert!(folder.is_absolute() && !folder.exists());
}

#[test]
fn signals_are_passed_on() {
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut command = gcshim(["run", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("gcshim starts");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("a line");
    assert_eq!(ready, "ready\n");
    // SAFETY: the child has not been waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), stderr.as_str()), (Some(7), NO_REPORT));
}

#[test]
fn the_program_inherits_which_signals_are_ignored_and_blocked() {
    let status = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let plain = Command::new("sh").args(["-c", &format!("trap '' INT; {status}")]).output().expect("sh starts");
    let script = format!("trap '' INT; exec \"$0\" run -- {status}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_gcshim")]).env("GCSHIM_LIBRARY", harmless_library());
    let under = command.output().expect("sh starts");
    assert_eq!(end(&under).1, end(&plain).1);
}
