//! `run` and `doctor` with the real shim, on every interpreter of this machine.

use std::ffi::OsStr;

use super::{end, gcshim, support};

#[test]
fn the_doctor_finds_nothing_wrong_with_the_interpreters_of_this_machine() {
    for interpreter in support::interpreters::all() {
        let mut command = gcshim([OsStr::new("doctor"), interpreter.path.as_os_str()]);
        let output = command.env("GCSHIM_LIBRARY", support::shim::library()).output().expect("gcshim starts");
        let (status, stdout, stderr) = end(&output);
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{}: {stdout}", interpreter.label());
        let last = stdout.lines().next_back().unwrap_or_default();
        assert!(last.ends_with("a leaked list was found, and nothing else"), "{}: {stdout}", interpreter.label());
    }
}

#[test]
fn a_leak_is_found_under_run_and_a_clean_program_passes() {
    let leak = "import ctypes; o = [1]; ctypes.pythonapi.Py_IncRef(ctypes.py_object(o)); del o; raise SystemExit(4)";
    for interpreter in support::interpreters::all() {
        let python = interpreter.path.to_str().expect("a UTF-8 path");
        let go = |script: &str| {
            let mut command = gcshim(["run", "--", python, "-c", script]);
            end(&command.env("GCSHIM_LIBRARY", support::shim::library()).output().expect("gcshim starts"))
        };
        let (status, stdout, stderr) = go(leak);
        assert_eq!((status, stdout.as_str()), (Some(23), ""), "{}: {stderr}", interpreter.label());
        assert!(stderr.contains("leaked-object: 1 list object"), "{}: {stderr}", interpreter.label());
        let (status, stdout, stderr) = go("print('hello'); raise SystemExit(4)");
        assert_eq!((status, stdout.as_str()), (Some(4), "hello\n"), "{}: {stderr}", interpreter.label());
        assert!(
            stderr.contains(": nothing found") && stderr.lines().count() == 1
                || stderr.contains(", 0 failing") && stderr.contains("cyclic-garbage"),
            "{}: {stderr}",
            interpreter.label()
        );
    }
}
