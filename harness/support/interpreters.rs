//! The CPythons of this machine.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::process::Program;

/// The minor versions of CPython 3 that gcshim audits.
pub const SUPPORTED: std::ops::RangeInclusive<u32> = 8..=13;

/// An interpreter that gcshim audits.
pub struct Interpreter {
    /// The real binary, symbolic links followed.
    pub path: PathBuf,
    /// Major, minor, micro.
    pub version: (u32, u32, u32),
    /// Whether it is linked against a shared libpython.
    pub shared: bool,
    /// The folder of `Python.h`, if it is installed.
    pub include: Option<PathBuf>,
}

impl Interpreter {
    /// `3.11.7`, as the report writes it.
    pub fn version_text(&self) -> String {
        format!("{}.{}.{}", self.version.0, self.version.1, self.version.2)
    }

    /// For messages: version, how it is linked, where it lies.
    pub fn label(&self) -> String {
        let linked = if self.shared { "shared" } else { "static" };
        format!("CPython {} ({linked}, {})", self.version_text(), self.path.display())
    }

    /// A run of it.
    pub fn program(&self) -> Program {
        Program::new(&self.path)
    }
}

/// Every supported interpreter, oldest first; found on PATH, in pyenv's versions, in /usr/bin, and in `GCSHIM_PYTHONS`
/// (separated by `:`). Says once which versions are missing, and fails if there is none at all: then nothing would be tested.
pub fn all() -> &'static [Interpreter] {
    static ALL: OnceLock<Vec<Interpreter>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut found: Vec<Interpreter> = candidates().iter().filter_map(|path| probe(path)).collect();
        found.sort_by(|a, b| (a.version, &a.path).cmp(&(b.version, &b.path)));
        let missing: Vec<String> =
            SUPPORTED.filter(|m| found.iter().all(|i| i.version.1 != *m)).map(|m| format!("3.{m}")).collect();
        if !missing.is_empty() {
            // Not eprintln: the test runner would show it only for a test that fails.
            let _ = writeln!(std::io::stderr(), "not tested, not found on this machine: CPython {}", missing.join(", "));
        }
        assert!(!found.is_empty(), "no CPython 3.8 to 3.13 on this machine; name one in GCSHIM_PYTHONS");
        found
    })
}

/// Those for which an extension module can be built.
pub fn with_headers() -> Vec<&'static Interpreter> {
    static SAID: OnceLock<()> = OnceLock::new();
    let (with, without): (Vec<_>, Vec<_>) = all().iter().partition(|i| i.include.is_some());
    SAID.get_or_init(|| {
        for interpreter in &without {
            let _ = writeln!(std::io::stderr(), "not tested with extension modules, no Python.h: {}", interpreter.label());
        }
    });
    assert!(!with.is_empty(), "no CPython on this machine has its headers (python3-dev)");
    with
}

/// Real binaries only, each once: many a `python3` is a link, and pyenv's are shell scripts.
fn candidates() -> BTreeSet<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    if let Some(list) = std::env::var_os("GCSHIM_PYTHONS") {
        paths.extend(std::env::split_paths(&list));
    }
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").map_or_else(Vec::new, |p| std::env::split_paths(&p).collect());
    folders.push("/usr/bin".into());
    for folder in folders {
        paths.extend(entries(&folder).into_iter().filter(|p| is_python_name(p)));
    }
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    for version in pyenv.map_or_else(Vec::new, |root| entries(&root.join("versions"))) {
        paths.push(version.join("bin/python3"));
    }
    paths.iter().filter_map(|p| p.canonicalize().ok()).filter(|p| is_elf(p)).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).map_or_else(|_| Vec::new(), |d| d.flatten().map(|e| e.path()).collect())
}

/// `python3` or `python3.N`.
fn is_python_name(path: &Path) -> bool {
    let Some(rest) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix("python3")) else {
        return false;
    };
    rest.is_empty() || rest.strip_prefix('.').is_some_and(|minor| minor.parse::<u32>().is_ok())
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

const PROBE: &str = r#"
import json, os, sys, sysconfig
include = sysconfig.get_path("include")
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": sys.version_info[:3],
    "gil": not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "include": include if os.path.isfile(os.path.join(include, "Python.h")) else None,
}))
"#;

/// Asks the interpreter about itself. `None` if it is not one that gcshim audits.
fn probe(path: &Path) -> Option<Interpreter> {
    let outcome = Program::new(path).arg("-I").arg("-c").arg(PROBE).run();
    if !outcome.succeeded() {
        return None;
    }
    let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).ok()?;
    let part = |i: usize| answer["version"][i].as_u64().map(|n| n as u32);
    let version = (part(0)?, part(1)?, part(2)?);
    let audited =
        answer["implementation"] == "cpython" && answer["gil"] == true && version.0 == 3 && SUPPORTED.contains(&version.1);
    audited.then(|| Interpreter {
        path: path.to_path_buf(),
        version,
        shared: links_libpython(path),
        include: answer["include"].as_str().map(PathBuf::from),
    })
}

/// The configuration is no guide: Debian builds a shared libpython and links its python3 statically. The binary says what it
/// needs.
fn links_libpython(path: &Path) -> bool {
    use object::{Object, ObjectSymbol};
    let bytes = std::fs::read(path).unwrap_or_default();
    let Ok(file) = object::File::parse(&*bytes) else {
        return false;
    };
    // A static interpreter defines this symbol itself, a shared one imports it.
    file.dynamic_symbols().any(|s| s.is_undefined() && s.name_bytes() == Ok(&b"Py_BytesMain"[..]))
}
