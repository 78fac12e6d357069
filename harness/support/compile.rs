//! C programs and extension modules, built once: they are kept under the target folder, by what they were built from.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::interpreters::Interpreter;
use super::shim;

const FLAGS: [&str; 4] = ["-O2", "-g", "-Wall", "-Wextra"];

/// An extension module from `harness/extensions/<name>.c`, for one interpreter. Returns the folder to put on `sys.path`.
pub fn extension(interpreter: &Interpreter, name: &str) -> PathBuf {
    extension_of(interpreter, "harness/extensions", name)
}

/// As [`extension`], from `harness/example/<name>.c`.
pub fn example_extension(interpreter: &Interpreter, name: &str) -> PathBuf {
    extension_of(interpreter, "harness/example", name)
}

fn extension_of(interpreter: &Interpreter, folder: &str, name: &str) -> PathBuf {
    let include = interpreter.include.as_ref().unwrap_or_else(|| panic!("{} has no headers", interpreter.label()));
    let source = shim::package().join(folder).join(format!("{name}.c"));
    // Every CPython also takes the plain suffix.
    let include = format!("-I{}", include.display());
    build(&[&source], &format!("{name}.so"), &["-shared", "-fPIC", &include], &interpreter.version_text())
}

/// A program from `harness/programs/<name>.c` or `<name>.cc`; `flags` may name libraries.
pub fn program(name: &str, flags: &[&str]) -> PathBuf {
    let folder = shim::package().join("harness/programs");
    let (c, cc) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.cc")));
    let source = if cc.is_file() { cc } else { c };
    build(&[&source], name, flags, "program").join(name)
}

/// A program from `harness/example/<name>.c`, built as its users would: against `include/gcshim.h`.
pub fn example(name: &str) -> PathBuf {
    let source = shim::package().join("harness/example").join(format!("{name}.c"));
    let include = shim::package().join("include");
    build(&[&source], name, &[&format!("-I{}", include.display())], "example").join(name)
}

/// A shared library from `harness/programs/<name>.c`.
pub fn library(name: &str, flags: &[&str]) -> PathBuf {
    let source = shim::package().join("harness/programs").join(format!("{name}.c"));
    let flags = [&["-shared", "-fPIC"], flags].concat();
    build(&[&source], &format!("{name}.so"), &flags, "library").join(format!("{name}.so"))
}

/// Compiles, unless the same was compiled before. Returns the folder the result lies in.
///
/// The folder's name covers the sources, the headers beside them and the public one, the flags and the compiler's version. The result is renamed into
/// place, so two tests that build the same thing at once do not see half of it.
fn build(sources: &[&Path], result: &str, flags: &[&str], label: &str) -> PathBuf {
    let (variable, usual, standard) = if sources[0].extension().is_some_and(|e| e == "cc") {
        ("CXX", "c++", "-std=gnu++17")
    } else {
        ("CC", "cc", "-std=gnu11")
    };
    let cc = std::env::var_os(variable).unwrap_or_else(|| usual.into());
    let mut hash = DefaultHasher::new();
    let public = shim::package().join("include/gcshim.h");
    for path in sources.iter().map(|p| p.to_path_buf()).chain(headers_beside(sources[0])).chain([public]) {
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).hash(&mut hash);
    }
    (flags, FLAGS, standard, &cc, compiler_version(&cc)).hash(&mut hash);
    let folder = shim::profile_folder().join("harness").join(format!("{label}-{:016x}", hash.finish()));
    let target = folder.join(result);
    if target.is_file() {
        return folder;
    }
    std::fs::create_dir_all(&folder).expect("a folder for what is built");
    let unfinished = tempfile::Builder::new().prefix("unfinished").tempdir_in(&folder).expect("a folder");
    let output = Command::new(&cc)
        .arg(standard)
        .args(FLAGS)
        .args(sources)
        .args(flags)
        .arg("-o")
        .arg(unfinished.path().join(result))
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", cc.to_string_lossy()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{sources:?} does not build without a warning:\n{said}");
    std::fs::rename(unfinished.path().join(result), &target).expect("rename into place");
    folder
}

fn headers_beside(source: &Path) -> Vec<PathBuf> {
    let folder = source.parent().expect("a source lies in a folder");
    let mut headers: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the source's folder")
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "h"))
        .collect();
    headers.sort();
    headers
}

fn compiler_version(cc: &std::ffi::OsStr) -> Vec<u8> {
    Command::new(cc).arg("--version").output().map_or_else(|_| Vec::new(), |o| o.stdout)
}
