//! `gcshim run`: starts a program under the shim, waits for it, renders what the shim wrote, and says how it went by its status.

mod child;
mod collected;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::ArgMatches;

use super::formats::Format;
use super::reading::Report;
use super::{STATUS_FAILING, flags, library, symbols};
use child::Ending;
use collected::Reports;

/// Exit statuses of a command that could not be started, as shells and `env` have them.
const STATUS_NOT_EXECUTABLE: u8 = 126;
const STATUS_NOT_FOUND: u8 = 127;

/// Runs the command that the arguments name. The value is gcshim's exit status; an error is gcshim's own failure.
pub fn run(m: &ArgMatches) -> anyhow::Result<u8> {
    let settings = flags::settings(m)?;
    let shim = library::find()?;
    library::preloadable(&shim)?;
    let setting = |name: &str| settings.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_os_str());
    let reports = match setting("GCSHIM_REPORT") {
        Some(pattern) => Reports::named(pattern),
        None => Reports::private().context("a folder for the report")?,
    };

    let words: Vec<&OsString> = m.get_many::<OsString>("command").unwrap_or_default().collect();
    let (program, arguments) = words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    command.env("LD_PRELOAD", library::preload(&shim, std::env::var_os("LD_PRELOAD")));
    // The findings are rendered below; the shim would only say them twice.
    command.env("GCSHIM_PLAIN", "0");
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command.env("GCSHIM_REPORT", reports.pattern());
    let ending = match child::run(&mut command) {
        Ok(ending) => ending,
        Err(error) => return Ok(not_started(program, &error)),
    };

    let mut report = Report::default();
    reports.read(ending.pid, &mut report);
    report.finish();
    symbols::resolve(&mut report);
    render(m, &report)?;
    if report.failing() > 0 {
        // The user's own status for this, where one is set; it has been checked to be a number in range.
        let chosen = setting("GCSHIM_EXITCODE").and_then(OsStr::to_str).and_then(|v| v.parse().ok());
        return Ok(chosen.unwrap_or(STATUS_FAILING));
    }
    Ok(ending.status())
}

/// Says why the command could not be started.
fn not_started(program: &OsStr, error: &std::io::Error) -> u8 {
    let _ = writeln!(std::io::stderr(), "gcshim: {}: {error}", Path::new(program).display());
    if error.kind() == std::io::ErrorKind::NotFound { STATUS_NOT_FOUND } else { STATUS_NOT_EXECUTABLE }
}

/// Renders to the file that was asked for, and as text to stderr, unless another format was asked for there.
fn render(m: &ArgMatches, report: &Report) -> anyhow::Result<()> {
    let format = m.get_one::<Format>("format").copied();
    let on_stderr = match m.get_one::<PathBuf>("output") {
        Some(file) => {
            let text = format.unwrap_or(Format::Text).render(report);
            std::fs::write(file, text).with_context(|| file.display().to_string())?;
            Format::Text
        }
        None => format.unwrap_or(Format::Text),
    };
    let nothing = report.processes.is_empty() && report.notes.is_empty();
    let text = if nothing && on_stderr == Format::Text {
        "gcshim: no report: no Python process of this command came as far as an audit\n".to_string()
    } else {
        on_stderr.render(report)
    };
    // A closed stderr must not hide the status.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    Ok(())
}

impl Ending {
    /// The status that a shell would have given.
    fn status(&self) -> u8 {
        use std::os::unix::process::ExitStatusExt;
        let status = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 255,
        };
        u8::try_from(status).unwrap_or(255)
    }
}
