//! Is the shim there, whole, and does the dynamic linker load it?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Checks, Level, elf, limited};
use crate::cli::library;

/// The malloc family. One function that is left to the C library splits the heap.
const FAMILY: &[&str] = &[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "malloc_usable_size",
    "free_sized",
    "free_aligned_sized",
    "cfree",
    "malloc_trim",
    "mallinfo2",
];

/// Checks the shim. The value is its path, if it can be used at all.
pub fn check(checks: &mut Checks) -> Option<PathBuf> {
    let shim = match library::find().and_then(|shim| library::preloadable(&shim).map(|()| shim)) {
        Ok(shim) => shim,
        Err(error) => {
            checks.say(Level::Fail, &format!("shim: {error:#}"));
            return None;
        }
    };
    let name = shim.display();
    if let Err(why) = elf::interposition(&shim, FAMILY) {
        checks.say(Level::Fail, &format!("shim: {name} {why}"));
        return None;
    }
    match loads(&shim) {
        Ok(()) => {
            checks.say(Level::Ok, &format!("shim: {name} loads"));
            Some(shim)
        }
        Err(why) => {
            checks.say(Level::Fail, &format!("shim: {name} {why}"));
            None
        }
    }
}

/// Whether a program that is started with the shim has it mapped.
fn loads(shim: &Path) -> Result<(), String> {
    let mut command = Command::new("/bin/cat");
    command.arg("/proc/self/maps").env("LD_PRELOAD", shim);
    let outcome = limited::run(&mut command, Duration::from_secs(10)).map_err(|e| format!("could not be tried: {e}"))?;
    let mapped = outcome.stdout.lines().any(|line| line.ends_with(&*shim.to_string_lossy()));
    match () {
        () if !outcome.succeeded() => Err(format!("breaks programs: {}", outcome.describe())),
        () if mapped => Ok(()),
        () if outcome.stderr.trim().is_empty() => Err("is not loaded, and the dynamic linker does not say why".into()),
        () => Err(format!("is not loaded: {}", outcome.stderr.trim())),
    }
}
