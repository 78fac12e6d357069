//! Which interpreters there are, and which of them can be audited.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Checks, Level, elf, limited, trial};

/// Minor versions of CPython 3 whose object model the shim knows.
const SUPPORTED: std::ops::RangeInclusive<u32> = 8..=13;
/// An interpreter that has not said its version by then is not asked further.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says what an interpreter is, one value a line. Runs on every Python from 2.7 on.
const INTRODUCTION: &str = "\
import sys, platform, sysconfig
print(platform.python_implementation())
print('%d.%d.%d' % sys.version_info[:3])
print(sys.executable)
print(bool(sysconfig.get_config_var('Py_GIL_DISABLED')))
print(hasattr(sys, 'getobjects'))
";

/// Checks the named interpreters, or those that are found. A shim of `None` could not be loaded: nothing is tried then.
pub fn check(checks: &mut Checks, named: &[PathBuf], shim: Option<&Path>) {
    let candidates = if named.is_empty() { found() } else { named.to_vec() };
    // An interpreter that was asked for must work; of those found, one is enough.
    let unusable = if named.is_empty() { Level::Warn } else { Level::Fail };
    let mut seen = BTreeSet::new();
    let mut usable = 0;
    for candidate in &candidates {
        let name = candidate.display();
        let python = match introduce(candidate) {
            Ok(python) => python,
            Err(why) => {
                checks.say(unusable, &format!("{name}: {why}"));
                continue;
            }
        };
        let real = std::fs::canonicalize(&python.executable).unwrap_or_else(|_| python.executable.clone());
        let is_script = is_script(candidate);
        if !seen.insert(real.clone()) {
            if is_script {
                checks.say(Level::Ok, &format!("{name}: a script that starts {}", python.executable.display()));
            }
            continue;
        }
        if is_script {
            checks.say(Level::Ok, &format!("{name}: a script that starts {}", python.executable.display()));
        }
        let name = if is_script { python.executable.display() } else { name };
        if let Some(why) = python.unsupported() {
            checks.say(unusable, &format!("{name}: {python}: {why}"));
        } else if let Some(why) = elf::cannot_preload(&real).or_else(|| elf::ignores_preload(&real).map(Into::into)) {
            checks.say(Level::Fail, &format!("{name}: {python}: {why}"));
        } else if let Some(shim) = shim {
            usable += 1;
            let (level, text) = trial::audit(&python.executable, &python.version, shim);
            checks.say(level, &format!("{name}: {python}: {text}"));
        } else {
            usable += 1;
            checks.say(Level::Warn, &format!("{name}: {python}: not tried, there is no shim to try it with"));
        }
    }
    if usable == 0 && named.is_empty() {
        let (low, high) = (SUPPORTED.start(), SUPPORTED.end());
        checks.say(
            Level::Fail,
            &format!("no CPython 3.{low} to 3.{high} was found; GCSHIM_PYTHONS can name some, with ':' between"),
        );
    }
}

/// What an interpreter said of itself.
struct Python {
    implementation: String,
    version: String,
    executable: PathBuf,
    free_threaded: bool,
    trace_refs: bool,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.implementation, self.version)
    }
}

impl Python {
    /// Why the shim cannot audit it.
    fn unsupported(&self) -> Option<String> {
        if self.implementation != "CPython" {
            return Some("only CPython is audited".into());
        }
        if self.free_threaded {
            return Some("free-threaded builds keep objects in heaps of their own, which are not audited yet".into());
        }
        if self.trace_refs {
            return Some(
                "a Py_TRACE_REFS build has two more words in front of every object, which is not known to the shim".into(),
            );
        }
        let mut numbers = self.version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        let known = numbers.next() == Some(3) && numbers.next().is_some_and(|minor| SUPPORTED.contains(&minor));
        (!known).then(|| format!("only 3.{} to 3.{} are audited", SUPPORTED.start(), SUPPORTED.end()))
    }
}

/// Asks an interpreter what it is; without the shim, so that it answers whatever the shim does to it.
fn introduce(python: &Path) -> Result<Python, String> {
    let mut command = Command::new(python);
    command.args(["-c", INTRODUCTION]);
    let outcome = limited::run(&mut command, PATIENCE).map_err(|e| e.to_string())?;
    if !outcome.succeeded() {
        return Err(format!("does not start: {}", outcome.describe()));
    }
    let mut lines = outcome.stdout.lines();
    let mut next = || lines.next().map(str::to_string).ok_or("is no Python interpreter".to_string());
    Ok(Python {
        implementation: next()?,
        version: next()?,
        executable: next()?.into(),
        free_threaded: next()? == "True",
        trace_refs: next()? == "True",
    })
}

/// Interpreters by looking: GCSHIM_PYTHONS, PATH, pyenv's folder, /usr/bin.
fn found() -> Vec<PathBuf> {
    let mut pythons = Vec::new();
    let named = std::env::var_os("GCSHIM_PYTHONS").unwrap_or_default();
    pythons.extend(std::env::split_paths(&named).filter(|p| !p.as_os_str().is_empty()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path).filter(|p| p.is_absolute()) {
        pythons.extend(interpreters(&folder));
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    if let Some(root) = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or(home) {
        let mut versions: Vec<PathBuf> =
            std::fs::read_dir(root.join("versions")).into_iter().flatten().flatten().map(|e| e.path()).collect();
        versions.sort();
        pythons.extend(versions.iter().map(|v| v.join("bin/python3")).filter(|p| is_executable(p)));
    }
    pythons.extend(interpreters(Path::new("/usr/bin")));
    let mut seen = BTreeSet::new();
    pythons.retain(|p| seen.insert(p.clone()));
    pythons
}

/// `python`, `python3` and `python3.N` in a folder, each file once.
fn interpreters(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_interpreter_name))
        .map(|entry| entry.path())
        .filter(|path| is_executable(path))
        .collect();
    // A folder of scripts has one for each version; which of them start anything depends on what is chosen there.
    let general = |p: &Path| matches!(p.file_name().and_then(|n| n.to_str()), Some("python" | "python3"));
    found.retain(|p| general(p) || !is_script(p));
    // `python3` before `python3.11`: the name that people type is the one to speak of. Links to one file are one interpreter, but
    // a pyenv script decides by the name it is called by, so only links to binaries are left out.
    found.sort();
    let mut files = BTreeSet::new();
    found.retain(|p| is_script(p) || files.insert(std::fs::canonicalize(p).unwrap_or_else(|_| p.clone())));
    found
}

fn is_interpreter_name(name: &str) -> bool {
    let Some(version) = name.strip_prefix("python") else {
        return false;
    };
    matches!(version, "" | "3")
        || version.strip_prefix("3.").is_some_and(|m| {
            let digits = m.strip_suffix('t').unwrap_or(m);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
        })
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Whether the kernel starts this file through another program.
fn is_script(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 2];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut start)).is_ok() && &start == b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interpreters_are_taken_for_interpreters() {
        for yes in ["python", "python3", "python3.8", "python3.13t"] {
            assert!(is_interpreter_name(yes), "{yes}");
        }
        for no in ["python3-config", "python3.11-config", "python2", "pythonw", "python3.", "ipython3", "python3.x"] {
            assert!(!is_interpreter_name(no), "{no}");
        }
    }

    fn python(implementation: &str, version: &str) -> Python {
        Python {
            implementation: implementation.into(),
            version: version.into(),
            executable: "/x".into(),
            free_threaded: false,
            trace_refs: false,
        }
    }

    #[test]
    fn what_is_not_supported_is_said() {
        assert_eq!(python("CPython", "3.8.18").unsupported(), None);
        assert_eq!(python("CPython", "3.13.0").unsupported(), None);
        for (implementation, version) in [("CPython", "3.7.17"), ("CPython", "3.14.0"), ("CPython", "2.7.18"), ("PyPy", "3.10.1")]
        {
            assert!(python(implementation, version).unsupported().is_some(), "{implementation} {version}");
        }
        assert!(Python { free_threaded: true, ..python("CPython", "3.13.0") }.unsupported().is_some());
    }
}
