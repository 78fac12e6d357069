//! The flags of `gcshim run`: one for each option of the table, so that they cannot drift from what the shim reads.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, value_parser};

use super::STATUS_FAILING;
use super::values::{self, Allowed};
use crate::options::{OPTIONS, Opt};

/// The flag of an option: `GCSHIM_FAIL_ON` is `fail-on`.
pub fn name(opt: &Opt) -> String {
    opt.name.trim_start_matches("GCSHIM_").to_ascii_lowercase().replace('_', "-")
}

/// One clap argument for each option.
pub fn arguments() -> impl Iterator<Item = Arg> {
    OPTIONS.iter().map(|opt| {
        Arg::new(opt.name)
            .long(name(opt))
            .value_name(opt.values)
            .help(format!("{} [default: {}]", opt.help.trim_end_matches('.'), default(opt)))
            // A list that starts with a minus (`--roots -stacks`) is a value.
            .allow_hyphen_values(true)
            .value_parser(value_parser!(OsString))
    })
}

/// What holds under `gcshim run` when an option is not set: it renders the findings itself and has a status for them.
fn default(opt: &Opt) -> String {
    match opt.name {
        "GCSHIM_PLAIN" => "0".into(),
        "GCSHIM_EXITCODE" => STATUS_FAILING.to_string(),
        "GCSHIM_REPORT" => "(a temporary file)".into(),
        _ => opt.default.into(),
    }
}

/// The options that are set, by flag or by environment; the flag wins. Paths are absolute, since the program may change its
/// directory before the shim opens them. The error is one line and names the first bad value.
pub fn settings(m: &ArgMatches) -> anyhow::Result<Vec<(&'static str, OsString)>> {
    let mut set = Vec::new();
    for opt in OPTIONS {
        let (source, value) = match m.get_one::<OsString>(opt.name) {
            Some(value) => (format!("--{}", name(opt)), value.clone()),
            None => match std::env::var_os(opt.name) {
                // The shim takes an empty variable for one that is not set.
                Some(value) if !value.is_empty() => (opt.name.to_string(), value),
                _ => continue,
            },
        };
        let is_file = Allowed::of(opt.values) == Allowed::File;
        // A path need not be UTF-8, every other value must be: lossy text then fails its check and shows why.
        if let Err(why) = values::check(opt, &source, &value.to_string_lossy()) {
            bail!(why);
        }
        let value = if is_file { std::path::absolute(&value).context(source)?.into_os_string() } else { value };
        set.push((opt.name, value));
    }
    if let Some((_, file)) = set.iter().find(|(name, _)| *name == "GCSHIM_SUPPRESSIONS") {
        std::fs::File::open(file).with_context(|| format!("suppressions {}", Path::new(file).display()))?;
    }
    Ok(set)
}
