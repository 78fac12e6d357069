//! The command line: what may be typed, and which module does it.
//!
//! - [`run`]     starts a program under the shim, then renders what the shim wrote
//! - [`formats`] one file per output format; they share [`record`]'s types and [`verdicts`]' sentences
//! - [`reading`] records become processes, audits and findings; [`symbols`] adds file and line
//! - [`histogram`] how long things live: merged, as tables, logs and plots
//! - [`doctor`]  checks of this machine
//! - [`flags`], [`values`], [`table`] all come from the one option table

mod doctor;
mod flags;
mod formats;
mod histogram;
mod library;
mod numbers;
mod reading;
mod record;
mod run;
mod symbols;
mod table;
mod values;
mod verdicts;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use formats::Format;

/// Exit status when a failing verdict was found.
pub const STATUS_FAILING: u8 = 23;
/// Exit status of `run` when gcshim itself failed, apart from the command's own statuses; the same as `env` and `timeout` use.
const STATUS_RUN_FAILED: u8 = 125;
/// Exit status of the other commands when gcshim itself failed.
const STATUS_ERROR: u8 = 2;

/// Parses the arguments and does what they ask. The returned value is the process's exit status.
pub fn main() -> ExitCode {
    let is_run = std::env::args_os().nth(1).is_some_and(|a| a == "run");
    let own_failure = if is_run { STATUS_RUN_FAILED } else { STATUS_ERROR };
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // A closed stderr leaves nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { own_failure } else { 0 });
        }
    };
    let done = match matches.subcommand() {
        Some(("run", m)) => run::run(m),
        Some(("report", m)) => report(m),
        Some(("histogram", m)) => histogram::run(m),
        Some(("options", m)) => print(&table::render(m.get_flag("markdown"))).map(|()| 0),
        Some(("doctor", m)) => doctor::doctor(&many(m, "python")),
        _ => unreachable!("clap demands a subcommand"),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        // `gcshim report FILE | head`: the reader has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "gcshim: {error:#}");
            ExitCode::from(own_failure)
        }
    }
}

/// The whole grammar of the command line.
fn command() -> Command {
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .help("How to render the report")
        .value_parser(value_parser!(Format));
    let output = Arg::new("output")
        .long("output")
        .short('o')
        .value_name("FILE")
        .help("Write the rendered report to FILE")
        .value_parser(value_parser!(PathBuf));
    Command::new("gcshim")
        .about("Checks a CPython program's reference counts against its memory")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("run")
                .about(
                    "Runs COMMAND under the shim, renders the report on stderr, and exits with 23 if a failing verdict was found",
                )
                .override_usage("gcshim run [OPTIONS] -- COMMAND...")
                .args(flags::arguments())
                .arg(format.clone())
                .arg(output.clone())
                .arg(
                    Arg::new("command")
                        .value_name("COMMAND")
                        .help("The program and its arguments")
                        .required(true)
                        .num_args(1..)
                        .trailing_var_arg(true)
                        .value_parser(value_parser!(std::ffi::OsString)),
                ),
        )
        .subcommand(
            Command::new("report")
                .about("Renders reports that the shim wrote (GCSHIM_REPORT)")
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .help("A report; - is standard input")
                        .required(true)
                        .num_args(1..)
                        .value_parser(value_parser!(PathBuf)),
                )
                .arg(format.default_value("text"))
                .arg(output)
                .arg(
                    Arg::new("check")
                        .long("check")
                        .action(ArgAction::SetTrue)
                        .help("Exit with 23 if a failing verdict was found"),
                ),
        )
        .subcommand(histogram::command())
        .subcommand(
            Command::new("options").about("Lists every option: its environment variable and its flag").arg(
                Arg::new("markdown").long("markdown").action(ArgAction::SetTrue).help("As a Markdown table, for the README"),
            ),
        )
        .subcommand(
            Command::new("doctor").about("Says what on this machine would stop an audit").arg(
                Arg::new("python")
                    .value_name("PYTHON")
                    .help("Interpreters to check, in place of those that are found")
                    .num_args(0..)
                    .value_parser(value_parser!(PathBuf)),
            ),
        )
}

/// `gcshim report`.
fn report(m: &ArgMatches) -> anyhow::Result<u8> {
    let mut report = reading::Report::default();
    for file in many(m, "file") {
        let (name, bytes) = read_named(&file)?;
        report.add(&name, &bytes);
    }
    report.finish();
    symbols::resolve(&mut report);
    let format = *m.get_one::<Format>("format").expect("it has a default");
    let text = format.render(&report);
    match m.get_one::<PathBuf>("output") {
        Some(file) => std::fs::write(file, text).with_context(|| file.display().to_string())?,
        None => print(&text)?,
    }
    Ok(if m.get_flag("check") && report.failing() > 0 { STATUS_FAILING } else { 0 })
}

/// A file's name for people, and its bytes; `-` is standard input.
fn read_named(file: &std::path::Path) -> anyhow::Result<(String, Vec<u8>)> {
    if file.as_os_str() == "-" {
        return Ok(("standard input".to_string(), read_stdin().context("standard input")?));
    }
    Ok((file.display().to_string(), std::fs::read(file).with_context(|| file.display().to_string())?))
}

/// All of standard input.
fn read_stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)?;
    Ok(bytes)
}

/// Prints to standard output; unlike `print!`, an error is an error and not a panic.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// The paths of an argument that takes several.
fn many(m: &ArgMatches, name: &str) -> Vec<PathBuf> {
    m.get_many::<PathBuf>(name).unwrap_or_default().cloned().collect()
}

/// Whether writing failed because nobody reads any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    /// clap checks the grammar only when it is used; this uses all of it, so a table entry that clashes with a flag is found.
    #[test]
    fn the_grammar_is_sound() {
        super::command().debug_assert();
    }
}
