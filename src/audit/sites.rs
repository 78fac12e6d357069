//! Where something was allocated, or freed, as the report has it: `GCSHIM_STACKS`.

use core::ffi::CStr;
use core::fmt::Write;

use super::findings::Finding;
use super::json;
use crate::finalizers::refcount_validator::Verdict;
use crate::heap::stacks;
use crate::python::frames;
use crate::roots::modules::{Module, Modules};
use crate::sys::text::Writer;

/// Frames in a finding's plain lines.
const SHOWN: usize = 6;

/// What a finding's keys say of stacks: where its objects were made, and where they were freed. 0 where that is not known.
pub fn of(one: &Finding) -> (u32, u32) {
    // Where they are not told apart by it, one stands for all.
    let of_one = || one.examples().first().map_or(0, |example| stacks::of(example.address).0);
    (if one.key.made != 0 { one.key.made } else { of_one() }, one.key.freed)
}

/// Writes the fields `site` and `freed` of a finding's record, if stacks are kept.
pub fn write(w: &mut Writer, modules: &Modules, one: &Finding) {
    if !stacks::known() {
        return;
    }
    let (made, freed) = of(one);
    w.bytes(b",\"site\":");
    stack(w, modules, made);
    if one.verdict() == Verdict::FreedWhileReferenced {
        w.bytes(b",\"freed\":");
        stack(w, modules, freed);
    }
}

fn stack(w: &mut Writer, modules: &Modules, number: u32) {
    let (native, python) = stacks::frames(number);
    w.bytes(b"{\"python\":[");
    for (i, (file, line, function)) in python.iter().filter_map(|&word| frames::described(word)).enumerate() {
        w.bytes(if i > 0 { b",{\"file\":" } else { b"{\"file\":" });
        json::string(w, file);
        let _ = write!(w, ",\"line\":{line},\"function\":");
        json::string(w, function);
        w.bytes(b"}");
    }
    w.bytes(b"],\"native\":[");
    for (i, &address) in native.iter().enumerate() {
        w.bytes(if i > 0 { b",{\"module\":" } else { b"{\"module\":" });
        let address = address as usize;
        match modules.find(address) {
            Some(module) => {
                with_path(module, |path| json::string(w, path));
                let _ = write!(w, ",\"offset\":\"{:#x}\"}}", address.wrapping_sub(module.bias));
            }
            // Of a library that was unloaded since.
            None => _ = write!(w, "null,\"offset\":\"{address:#x}\"}}"),
        }
    }
    w.bytes(b"]}");
}

/// Writes the plain lines.
pub fn plain(w: &mut Writer, modules: &Modules, one: &Finding) {
    let (made, freed) = of(one);
    for (what, number) in [("made", made), ("freed", freed)] {
        let (native, python) = stacks::frames(number);
        for (i, (file, line, function)) in python.iter().take(SHOWN).filter_map(|&word| frames::described(word)).enumerate() {
            begin(w, i, what, "at");
            w.bytes(function);
            w.bytes(b" (");
            w.bytes(file);
            let _ = writeln!(w, ":{line})");
        }
        for (i, &address) in native.iter().take(SHOWN).enumerate() {
            begin(w, i, what, "in");
            let address = address as usize;
            match modules.find(address) {
                Some(module) => {
                    with_path(module, |path| w.bytes(path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)));
                    let _ = writeln!(w, "+{:#x}", address.wrapping_sub(module.bias));
                }
                None => _ = writeln!(w, "{address:#x}"),
            }
        }
    }
}

fn begin(w: &mut Writer, i: usize, what: &str, preposition: &str) {
    let _ = if i == 0 { write!(w, "gcshim:     {what} {preposition} ") } else { write!(w, "gcshim:     called by ") };
}

/// The linker has no name for the program itself.
fn with_path(module: &Module, f: impl FnOnce(&[u8])) {
    let mut own = [0u8; 1024];
    // SAFETY: names are the linker's, and zero-terminated; readlink writes at most as many bytes as it is given.
    let path = unsafe {
        let name = CStr::from_ptr(module.name).to_bytes();
        if name.is_empty() {
            let length = libc::readlink(c"/proc/self/exe".as_ptr(), own.as_mut_ptr().cast(), own.len());
            own.get(..usize::try_from(length).unwrap_or(0)).unwrap_or(b"")
        } else {
            name
        }
    };
    f(path);
}
