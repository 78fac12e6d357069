//! Where something was allocated, or freed, as the report has it: `GCSHIM_STACKS`.

use core::ffi::CStr;
use core::fmt::Write;

use super::findings::Finding;
use super::json;
use crate::finalizers::refcount_validator::Verdict;
use crate::heap::stacks;
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
    w.bytes(b"{\"python\":[],\"native\":[");
    for (i, &address) in stacks::frames(number).iter().enumerate() {
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
    for (title, number) in [("made in", made), ("freed in", freed)] {
        let frames = stacks::frames(number);
        for (i, &address) in frames.iter().take(SHOWN).enumerate() {
            let _ = write!(w, "gcshim:     {} ", if i == 0 { title } else { "called by" });
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
