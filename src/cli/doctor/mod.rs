//! `gcshim doctor`: what on this machine would stop an audit, one line for each check.

mod elf;
mod limited;
mod machine;
mod pythons;
mod shim;
mod trial;

use std::io::Write;
use std::path::PathBuf;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing in the way.
    Ok,
    /// Works, or may work, but not as expected.
    Warn,
    /// No audit.
    Fail,
}

/// The lines that were said, and the worst of them.
pub struct Checks {
    failed: bool,
}

impl Checks {
    /// Says one line. A closed stdout does not change the verdict, so it is not looked at.
    pub fn say(&mut self, level: Level, text: &str) {
        let word = match level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        self.failed |= level == Level::Fail;
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{word}  {text}");
        let _ = out.flush();
    }
}

/// Checks the shim, the machine and the interpreters: those named, or else all that are found. The value is the exit status: 1 if
/// a check failed.
pub fn doctor(named: &[PathBuf]) -> anyhow::Result<u8> {
    let mut checks = Checks { failed: false };
    let shim = shim::check(&mut checks);
    machine::check(&mut checks);
    pythons::check(&mut checks, named, shim.as_deref());
    Ok(u8::from(checks.failed))
}
