//! A program run to its end, with or without the shim.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{report, shim};

/// After this long a program is taken to hang. Generous: it fails a test only if something is stuck.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A program to run. It sees none of the variables that would change it behind the test's back: `GCSHIM_*`, `PYTHON*`, `LD_*`.
pub struct Program {
    command: Command,
    report: Option<tempfile::TempDir>,
    timeout: Duration,
}

/// What came of it.
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// How it ended. On a timeout it was killed, and `timed_out` is set.
    pub status: ExitStatus,
    /// Whether it ran out of time.
    pub timed_out: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The records in its `GCSHIM_REPORT`, in their order. Empty without the shim.
    pub records: Vec<Value>,
}

impl Program {
    /// A program by its path.
    pub fn new(path: impl AsRef<Path>) -> Program {
        let mut command = Command::new(path.as_ref());
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            if [&b"GCSHIM_"[..], b"PYTHON", b"LD_"].iter().any(|p| bytes.starts_with(p)) {
                command.env_remove(&name);
            }
        }
        Program { command, report: None, timeout: TIMEOUT }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Program {
        self.command.arg(arg);
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// The folder to run in.
    pub fn folder(mut self, folder: &Path) -> Program {
        self.command.current_dir(folder);
        self
    }

    /// With the shim preloaded, in the mode of `GCSHIM_TEST_MODE` if there is one, and its records kept.
    pub fn with_shim(mut self) -> Program {
        let folder = tempfile::tempdir().expect("a folder for the report");
        if let Some(mode) = std::env::var_os("GCSHIM_TEST_MODE") {
            self.command.env("GCSHIM_MODE", mode);
        }
        self.command.env("LD_PRELOAD", shim::library()).env("GCSHIM_REPORT", folder.path().join("report.ndjson"));
        self.report = Some(folder);
        self
    }

    /// Another limit than the usual two minutes.
    pub fn timeout(mut self, timeout: Duration) -> Program {
        self.timeout = timeout;
        self
    }

    /// Runs it. Its output goes through files, so that a child that outlives it cannot keep a pipe open.
    pub fn run(mut self) -> Outcome {
        let (mut out, mut err) = (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
        self.command.stdin(Stdio::null());
        self.command.stdout(out.try_clone().expect("a handle")).stderr(err.try_clone().expect("a handle"));
        let command = format!("{:?}", self.command);
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{command}: {e}"));
        let start = Instant::now();
        let mut timed_out = false;
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
            if start.elapsed() > self.timeout {
                timed_out = true;
                child.kill().expect("kill");
                break child.wait().expect("wait");
            }
            std::thread::sleep(Duration::from_millis(3));
        };
        let records = self.report.as_ref().map_or_else(Vec::new, |f| report::read(&f.path().join("report.ndjson")));
        Outcome { command, status, timed_out, stdout: contents(&mut out), stderr: contents(&mut err), records }
    }
}

fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("the program's output");
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Outcome {
    /// Whether it ended by itself with status 0.
    pub fn succeeded(&self) -> bool {
        self.status.success() && !self.timed_out
    }

    /// Everything known of it, for the message of a failed test.
    pub fn describe(&self) -> String {
        let mut text = format!("{}\n  {}{}\n", self.command, self.status, if self.timed_out { ", out of time" } else { "" });
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in stream.lines().take(40) {
                text += &format!("  {name}: {line}\n");
            }
        }
        for record in &self.records {
            text += &format!("  {record}\n");
        }
        text
    }
}
