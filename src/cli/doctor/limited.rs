//! A command that is given a time limit, with what it printed.

use std::io::{Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a command ended.
pub struct Outcome {
    /// `None`: it was still running at the limit, and was killed.
    pub status: Option<ExitStatus>,
    /// What it printed, read as UTF-8 as far as it is.
    pub stdout: String,
    /// The same for standard error.
    pub stderr: String,
}

impl Outcome {
    /// Whether it ended by itself with status 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|s| s.success())
    }

    /// How it ended, for people: the status and its last line on stderr.
    pub fn describe(&self) -> String {
        let status = self.status.map_or("did not end in time".to_string(), |s| s.to_string());
        match self.stderr.lines().rev().find(|l| !l.trim().is_empty()) {
            Some(last) => format!("{status}: {}", crate::cli::numbers::printable(last)),
            None => status,
        }
    }
}

/// Runs a command without input, for at most `limit`. Its output goes through files: a full pipe cannot block it.
pub fn run(command: &mut Command, limit: Duration) -> std::io::Result<Outcome> {
    let mut out = tempfile::tempfile()?;
    let mut err = tempfile::tempfile()?;
    let mut child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?).spawn()?;
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |file: &mut std::fs::File| -> std::io::Result<String> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Outcome { status, stdout: text(&mut out)?, stderr: text(&mut err)? })
}
