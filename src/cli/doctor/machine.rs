//! What the machine and the environment could have against an audit.

use std::path::{Path, PathBuf};

use super::{Checks, Level};
use crate::cli::numbers::size;
use crate::cli::values;
use crate::options::{OPTIONS, TOOL_VARIABLES};

/// Parts of library names that bring a malloc of their own.
const ALLOCATORS: &[&str] = &["jemalloc", "tcmalloc", "mimalloc", "snmalloc", "hardened_malloc", "rpmalloc", "memray"];
/// Sanitizers must come first in the link order and own malloc.
const SANITIZERS: &[&str] = &["libasan", "libtsan", "libmsan", "liblsan", "libhwasan", "clang_rt."];

/// Every check that does not depend on an interpreter.
pub fn check(checks: &mut Checks) {
    proc_maps(checks);
    seccomp(checks);
    address_space(checks);
    overcommit(checks);
    preloads(checks);
    environment(checks);
    report_folder(checks);
}

/// The audit reads its memory map from /proc.
fn proc_maps(checks: &mut Checks) {
    match std::fs::read("/proc/self/maps") {
        Ok(maps) if !maps.is_empty() => checks.say(Level::Ok, "/proc is mounted"),
        Ok(_) => checks.say(Level::Fail, "/proc/self/maps is empty: the audit cannot see what is mapped"),
        Err(error) => checks.say(Level::Fail, &format!("/proc/self/maps: {error}: the audit cannot see what is mapped")),
    }
}

fn seccomp(checks: &mut Checks) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
    match mode {
        Some("0") => checks.say(Level::Ok, "no seccomp filter"),
        Some(_) => checks.say(
            Level::Warn,
            "a seccomp filter is active: it must allow clone and tgkill; the interpreters below show whether it does",
        ),
        None => checks.say(Level::Warn, "seccomp: /proc/self/status does not say"),
    }
}

/// The heap reserves addresses that it never uses.
fn address_space(checks: &mut Checks) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0;
    if known && limit.rlim_cur != libc::RLIM_INFINITY {
        let text =
            format!("address space is limited to {} (ulimit -v): the shim reserves more than it uses", size(limit.rlim_cur));
        checks.say(Level::Warn, &text);
    } else {
        checks.say(Level::Ok, "address space is not limited");
    }
}

fn overcommit(checks: &mut Checks) {
    match std::fs::read_to_string("/proc/sys/vm/overcommit_memory").as_deref().map(str::trim) {
        Ok("2") => checks.say(
            Level::Warn,
            "vm.overcommit_memory is 2: reserved addresses and the snapshot count as memory, so an audit may be refused",
        ),
        Ok(mode) => checks.say(Level::Ok, &format!("vm.overcommit_memory is {mode}")),
        Err(error) => checks.say(Level::Warn, &format!("vm.overcommit_memory: {error}")),
    }
}

fn preloads(checks: &mut Checks) {
    let system = std::fs::read_to_string("/etc/ld.so.preload").unwrap_or_default();
    let own = std::env::var("LD_PRELOAD").unwrap_or_default();
    let mut quiet = true;
    for (source, list) in [("LD_PRELOAD", &own), ("/etc/ld.so.preload", &system)] {
        for library in list.split([' ', ':', '\n', '\t']).filter(|l| !l.is_empty()) {
            if let Some((level, why)) = clash(library) {
                checks.say(level, &format!("{source} has {library}: {why}"));
                quiet = false;
            }
        }
    }
    if quiet {
        checks.say(Level::Ok, "no other allocator or sanitizer is preloaded");
    }
}

/// What another preloaded library means for the shim.
fn clash(library: &str) -> Option<(Level, &'static str)> {
    let name = library.rsplit('/').next().unwrap_or(library);
    if SANITIZERS.iter().any(|s| name.contains(s)) {
        return Some((Level::Fail, "a sanitizer wants malloc for itself"));
    }
    let is_allocator = ALLOCATORS.iter().any(|a| name.contains(a));
    is_allocator.then_some((Level::Warn, "gcshim run puts the shim in front of it, so it is not used"))
}

/// Variables that change what is audited.
fn environment(checks: &mut Checks) {
    match std::env::var("PYTHONMALLOC") {
        Err(_) => checks.say(Level::Ok, "PYTHONMALLOC is not set"),
        Ok(value) if value == "mimalloc" => {
            checks.say(Level::Warn, "PYTHONMALLOC=mimalloc keeps objects in heaps of its own; unset it for an audit")
        }
        // The shim sees to it that the objects are its own all the same (see `interpose::undone_routing`).
        Ok(value) => checks.say(Level::Ok, &format!("PYTHONMALLOC={value} is no obstacle")),
    }
    for opt in OPTIONS {
        if let Some(value) = std::env::var_os(opt.name)
            && let Err(why) = values::check(opt, opt.name, &value.to_string_lossy())
        {
            checks.say(Level::Fail, &why);
        }
    }
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|n| n.starts_with("GCSHIM_")) {
        if !OPTIONS.iter().any(|o| o.name == name) && !TOOL_VARIABLES.contains(&name.as_str()) {
            checks.say(Level::Warn, &format!("{name} is no option; gcshim options lists them"));
        }
    }
}

/// Where the report goes.
fn report_folder(checks: &mut Checks) {
    let folder = match std::env::var_os("GCSHIM_REPORT").filter(|f| !f.is_empty()) {
        Some(file) => match Path::new(&file).parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        },
        None => std::env::temp_dir(),
    };
    match tempfile::Builder::new().prefix("gcshim-").tempfile_in(&folder) {
        Ok(_) => checks.say(Level::Ok, &format!("reports can be written to {}", folder.display())),
        Err(error) => checks.say(Level::Fail, &format!("reports cannot be written to {}: {error}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocators_and_sanitizers_are_known_by_their_file_names() {
        assert_eq!(clash("/usr/lib/libjemalloc.so.2").map(|c| c.0), Some(Level::Warn));
        assert_eq!(clash("libtcmalloc_minimal.so.4").map(|c| c.0), Some(Level::Warn));
        assert_eq!(clash("/usr/lib/gcc/x86_64-linux-gnu/12/libasan.so").map(|c| c.0), Some(Level::Fail));
        assert_eq!(clash("/opt/jemalloc/libother.so"), None);
    }
}
