//! `gcshim histogram`: what the shim counted (`GCSHIM_HISTOGRAM`), merged, as percentiles, HDR interval logs and plots.

mod log;
mod merged;
mod plot;
mod reading;
mod text;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command, value_parser};

use super::{many, print, read_named};
use merged::By;

/// Its grammar.
pub fn command() -> Command {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").help(help).value_parser(value_parser!(PathBuf))
    };
    Command::new("histogram")
        .about("Shows how long blocks lived, from what the shim counted (GCSHIM_HISTOGRAM); files of many processes are summed")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .help("A file of histograms; - is standard input")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("by")
                .long("by")
                .value_name("WHAT")
                .default_value("type")
                .help("A row for each")
                .value_parser(value_parser!(By)),
        )
        .arg(
            Arg::new("top")
                .long("top")
                .value_name("N")
                .default_value("20")
                .help("Rows shown of each table, those of the most bytes first")
                .value_parser(value_parser!(usize)),
        )
        .arg(file("log", "Write an HDR interval log to FILE, for HdrHistogram's tools"))
        .arg(file("svg", "Draw the percentiles to FILE"))
        .arg(file("html", "Write tables and drawings to FILE, as a page"))
}

/// Does what the arguments ask.
pub fn run(m: &ArgMatches) -> anyhow::Result<u8> {
    let mut files = reading::Files::default();
    for file in many(m, "file") {
        let (name, bytes) = read_named(&file)?;
        files.add(&name, &bytes);
    }
    if files.writings.is_empty() {
        bail!("there are no histograms in it{}", files.notes.first().map(|n| format!(" ({n})")).unwrap_or_default());
    }
    let by = *m.get_one::<By>("by").context("it has a default")?;
    let top = *m.get_one::<usize>("top").context("it has a default")?;
    let sums = merged::of_files(&files, by);
    let groups = merged::groups(&sums);
    let write = |name: &str, contents: &dyn Fn() -> anyhow::Result<Vec<u8>>| match m.get_one::<PathBuf>(name) {
        Some(file) => std::fs::write(file, contents()?).with_context(|| file.display().to_string()),
        None => Ok(()),
    };
    write("log", &|| log::render(&files, by))?;
    write("svg", &|| plot::svg(&groups).map(String::into_bytes))?;
    write("html", &|| plot::html(&files, &groups, top).map(String::into_bytes))?;
    print(&text::render(&files, &groups, top))?;
    Ok(0)
}
