//! What `gcshim doctor` refuses and names, and `gcshim options`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{end, gcshim, options, run};

/// An executable that answers like an interpreter.
fn impostor(folder: &Path, implementation: &str, version: &str, free_threaded: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join("python3");
    std::fs::write(
        &file,
        format!("#!/bin/sh\nprintf '%s\\n' {implementation} {version} {} {free_threaded} False\n", file.display()),
    )
    .expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    file
}

#[test]
fn the_doctor_refuses_what_cannot_be_audited() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = [
        ("PyPy", "3.10.13", "False", "PyPy 3.10.13: only CPython is audited"),
        ("CPython", "3.7.17", "False", "CPython 3.7.17: only 3.8 to 3.13 are audited"),
        (
            "CPython",
            "3.13.0",
            "True",
            "CPython 3.13.0: free-threaded builds keep objects in heaps of their own, which are not audited yet",
        ),
    ];
    for (implementation, version, free_threaded, why) in cases {
        let python = impostor(folder.path(), implementation, version, free_threaded);
        let (status, stdout, _) = run([OsStr::new("doctor"), python.as_os_str()]);
        assert_eq!(status, Some(1));
        assert!(stdout.contains(&format!("FAIL  {}: {why}\n", python.display())), "{stdout}");
    }
    let (status, stdout, _) = run(["doctor", "/bin/true"]);
    assert_eq!(status, Some(1));
    assert!(stdout.contains("FAIL  /bin/true: is no Python interpreter\n"), "{stdout}");
}

#[test]
fn the_doctor_refuses_a_versioned_or_missing_shim() {
    let (status, stdout, _) = run(["doctor", "/bin/true"]);
    assert_eq!(status, Some(1));
    assert!(stdout.lines().any(|l| l.starts_with("FAIL  shim: ") && l.contains(" with a version: ")), "{stdout}");
    let mut command = gcshim(["doctor", "/bin/true"]);
    let (_, stdout, _) = end(&command.env("GCSHIM_LIBRARY", "/nowhere.so").output().expect("gcshim starts"));
    assert!(stdout.starts_with("FAIL  shim: GCSHIM_LIBRARY=/nowhere.so: No such file"), "{stdout}");
}

#[test]
fn the_doctor_names_what_is_set_in_the_environment() {
    let mut command = gcshim(["doctor", "/bin/true"]);
    let missing = "/nowhere/report.ndjson";
    command.env("PYTHONMALLOC", "mimalloc").env("GCSHIM_MODE", "fast").env("GCSHIM_TYPO", "1").env("GCSHIM_REPORT", missing);
    let (_, stdout, _) = end(&command.output().expect("gcshim starts"));
    for line in [
        "warn  PYTHONMALLOC=mimalloc keeps objects in heaps of its own; unset it for an audit",
        "FAIL  GCSHIM_MODE=fast: 'fast' is none of audit, collect, quarantine, off",
        "warn  GCSHIM_TYPO is no option; gcshim options lists them",
        "FAIL  reports cannot be written to /nowhere: No such file or directory (os error 2)",
    ] {
        assert!(stdout.lines().any(|l| l.starts_with(line)), "{line} is missing in {stdout}");
    }
}

#[test]
fn options_are_listed_in_both_forms() {
    let (status, text, _) = run(["options"]);
    assert_eq!(status, Some(0));
    let (_, table, _) = run(["options", "--markdown"]);
    let mut rows = table.lines().skip(2);
    for option in options::OPTIONS {
        assert!(text.contains(&format!("{}={}", option.name, option.values)) && text.contains(option.help), "{}", option.name);
        let row = rows.next().unwrap_or_else(|| panic!("no row for {}", option.name));
        assert!(row.starts_with(&format!("| `{}` | `--", option.name)) && row.ends_with(" |"), "{row}");
        // Six bars that are not escaped: five cells.
        assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{row}");
    }
    assert_eq!(rows.next(), None);
}
