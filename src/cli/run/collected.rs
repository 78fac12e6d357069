//! The reports of one run: of the command itself, and of every process under it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::reading::Report;

/// What stands for the process id in a report's file name.
const PID: &[u8] = b"%p";

/// Where the shim writes, and what was there before.
pub struct Reports {
    pattern: OsString,
    /// Lengths of the files that the pattern already matched: reports are appended to, and older ones are not this run's.
    before: HashMap<PathBuf, usize>,
    /// Removed with all that is in it when the run is over.
    _private: Option<TempDir>,
}

impl Reports {
    /// Reports in a folder of their own, which nobody else may read and which is removed afterwards.
    pub fn private() -> std::io::Result<Reports> {
        // Previews show the program's data: nobody else may read them, whatever the umask.
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("gcshim-").permissions(private).tempdir()?;
        let pattern = folder.path().join("%p.ndjson").into_os_string();
        Ok(Reports { pattern, before: HashMap::new(), _private: Some(folder) })
    }

    /// Reports where the user wants them; they stay.
    pub fn named(pattern: &OsStr) -> Reports {
        let before = matching(pattern)
            .into_iter()
            .filter_map(|file| {
                let length = usize::try_from(std::fs::metadata(&file).ok()?.len()).ok()?;
                Some((file, length))
            })
            .collect();
        Reports { pattern: pattern.to_owned(), before, _private: None }
    }

    /// The value of `GCSHIM_REPORT`.
    pub fn pattern(&self) -> &OsStr {
        &self.pattern
    }

    /// Reads what the run wrote into `into`: the command's own process first, the others in the order of their ids.
    pub fn read(&self, pid: u32, into: &mut Report) {
        for file in matching(&self.pattern) {
            let name = file.display().to_string();
            match std::fs::read(&file) {
                Ok(bytes) => {
                    let old = self.before.get(&file).copied().unwrap_or(0);
                    // A file that is shorter than it was has been replaced.
                    into.add(&name, bytes.get(old..).unwrap_or(&bytes));
                }
                Err(error) => into.notes.push(format!("{name}: {error}")),
            }
        }
        into.processes.sort_by_key(|p| (p.process.pid != Some(u64::from(pid)), p.process.pid));
    }
}

/// The files that a pattern stands for, sorted. `%p` is a number; only the file's name is searched for it, a folder's is looked
/// for as it is written.
fn matching(pattern: &OsStr) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let parts = split(name.as_bytes(), PID);
    if parts.len() == 1 {
        return if path.exists() { vec![path.to_owned()] } else { Vec::new() };
    }
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| fits(name.as_bytes(), &parts))
        .map(|name| folder.join(OsString::from_vec(name.into_vec())))
        .collect();
    files.sort();
    files
}

/// `haystack` cut at each `needle`.
fn split<'a>(haystack: &'a [u8], needle: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = haystack;
    while let Some(at) = rest.windows(needle.len()).position(|w| w == needle) {
        parts.push(&rest[..at]);
        rest = &rest[at + needle.len()..];
    }
    parts.push(rest);
    parts
}

/// Whether `name` is the parts with the same number between each two.
fn fits(name: &[u8], parts: &[&[u8]]) -> bool {
    let [first, ..] = parts else { return false };
    let Some(rest) = name.strip_prefix(*first) else { return false };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    // The text behind the number may start with a digit, so every length is tried.
    (1..=digits).any(|n| parts.join(&rest[..n]) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_number_fits_every_place() {
        let parts = split(b"r-%p.ndjson", PID);
        assert!(fits(b"r-12.ndjson", &parts));
        for other in [&b"r-.ndjson"[..], b"r-x.ndjson", b"r-12.ndjson.gz", b"q-12.ndjson", b"r-1 2.ndjson"] {
            assert!(!fits(other, &parts));
        }
        assert!(fits(b"1207", &split(b"%p07", PID)));
        assert!(fits(b"5-5", &split(b"%p-%p", PID)));
        assert!(!fits(b"5-6", &split(b"%p-%p", PID)));
    }

    #[test]
    fn what_was_there_before_is_not_this_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("all.ndjson");
        std::fs::write(&file, "{\"kind\":\"process\",\"pid\":1}\n").expect("written");
        let reports = Reports::named(file.as_os_str());
        std::fs::write(&file, "{\"kind\":\"process\",\"pid\":1}\n{\"kind\":\"process\",\"pid\":2}\n").expect("written");
        let mut report = Report::default();
        reports.read(2, &mut report);
        let pids: Vec<_> = report.processes.iter().map(|p| p.process.pid).collect();
        assert_eq!(pids, [Some(2)]);
    }
}
