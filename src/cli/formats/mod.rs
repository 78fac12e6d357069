//! The formats that a report is rendered in: one file each, all pure functions from the report to text.

mod json;
mod junit;
mod sarif;
mod text;

use super::reading::Report;

/// Characters of a command line that a title shows.
const TITLE: usize = 100;

/// One output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One document with everything, native frames with file and line.
    Json,
    /// For code scanning.
    Sarif,
    /// For continuous integration.
    Junit,
}

impl clap::ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Format] {
        &[Format::Text, Format::Json, Format::Sarif, Format::Junit]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Sarif => "sarif",
            Format::Junit => "junit",
        }))
    }
}

impl Format {
    /// The report in this format, with a newline at the end.
    pub fn render(self, report: &Report) -> String {
        match self {
            Format::Text => text::render(report),
            Format::Json => json::render(report),
            Format::Sarif => sarif::render(report),
            Format::Junit => junit::render(report),
        }
    }
}

/// Which process, in one line: its command line, its id, its interpreter.
fn title(process: &super::record::Process) -> String {
    let argv: Vec<String> = process.argv.iter().map(|a| super::numbers::printable(a)).collect();
    let mut command = if argv.is_empty() { "a process".into() } else { argv.join(" ") };
    // `python3 -c` may be followed by a whole program.
    if let Some((at, _)) = command.char_indices().nth(TITLE) {
        command.truncate(at);
        command.push('…');
    }
    let pid = process.pid.map(|pid| format!("pid {pid}"));
    let python = process.python.as_ref().map(|v| format!("CPython {}", super::numbers::printable(v)));
    let about: Vec<String> = [pid, python].into_iter().flatten().collect();
    if about.is_empty() { command } else { format!("{command} ({})", about.join(", ")) }
}
