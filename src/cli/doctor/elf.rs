//! What the dynamic linker will do with a file.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol};

type Elf<'a> = ElfFile64<'a, Endianness>;

/// Whether the kernel's secure-execution mode (AT_SECURE) will drop `LD_PRELOAD` for this file, and why.
pub fn ignores_preload(path: &Path) -> Option<&'static str> {
    let file = std::fs::metadata(path).ok()?;
    // SAFETY: no arguments; always succeeds.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if file.mode() & libc::S_ISUID != 0 && file.uid() != uid {
        return Some("is setuid: the dynamic linker ignores LD_PRELOAD");
    }
    if file.mode() & libc::S_ISGID != 0 && file.mode() & libc::S_IXGRP != 0 && file.gid() != gid {
        return Some("is setgid: the dynamic linker ignores LD_PRELOAD");
    }
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: two NUL-terminated strings; a size of 0 only asks whether the attribute is there.
    let capabilities = unsafe { libc::getxattr(name.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    // Root gains nothing by file capabilities, so the kernel does not make it a secure execution.
    (capabilities > 0 && uid != 0).then_some("has file capabilities: the dynamic linker ignores LD_PRELOAD")
}

/// Why a preloaded glibc library of this machine cannot get into this executable.
pub fn cannot_preload(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let endian = Endianness::Little;
    let file = match Elf::parse(&*bytes) {
        Ok(file) => file,
        Err(_) if bytes.starts_with(b"\x7fELF") => return Some("is not a 64-bit program".into()),
        Err(_) => return None,
    };
    let machine = file.elf_header().e_machine(endian);
    if machine != elf::EM_X86_64 {
        return Some(format!("is for another processor (ELF machine {})", machine.0));
    }
    let interpreter = file.elf_program_headers().iter().find_map(|h| h.interpreter(endian, &*bytes).ok().flatten());
    match interpreter {
        None => Some("is statically linked: there is no dynamic linker to preload anything".into()),
        Some(name) if String::from_utf8_lossy(name).contains("ld-musl") => {
            Some("is linked with musl; the shim is built for glibc".into())
        }
        Some(_) => None,
    }
}

/// What is wrong with a library as an interposed malloc: the functions that it lacks, or exports with a version.
pub fn interposition(path: &Path, wanted: &[&str]) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let file = Elf::parse(&*bytes).map_err(|e| e.to_string())?;
    let endian = file.endian();
    let versions = file.elf_section_table().versions(endian, &*bytes).map_err(|e| e.to_string())?;
    let mut missing: Vec<&str> = wanted.to_vec();
    for symbol in file.dynamic_symbols().filter(|s| s.is_definition()) {
        let Ok(name) = symbol.name() else { continue };
        let Some(at) = missing.iter().position(|w| *w == name) else {
            continue;
        };
        missing.remove(at);
        let versioned = versions.as_ref().is_some_and(|v| {
            let index = v.version_index(endian, symbol.index());
            v.version(index.index()).is_ok_and(|version| version.is_some())
        });
        if versioned {
            return Err(format!("exports {name} with a version: the dynamic linker would not use it"));
        }
        if symbol.elf_symbol().st_visibility() != elf::STV_DEFAULT {
            return Err(format!("exports {name} hidden"));
        }
    }
    if !missing.is_empty() {
        return Err(format!("does not export {}", missing.join(", ")));
    }
    if !needs(&file, endian, &bytes, "libc.so.6") {
        return Err("does not name libc.so.6 among what it needs".into());
    }
    Ok(())
}

/// Whether the library has a DT_NEEDED entry of this name.
fn needs(file: &Elf<'_>, endian: Endianness, bytes: &[u8], name: &str) -> bool {
    let sections = file.elf_section_table();
    let Ok(Some((entries, link))) = sections.dynamic(endian, bytes) else {
        return false;
    };
    let Ok(strings) = sections.strings(endian, bytes, link) else {
        return false;
    };
    entries.iter().any(|entry| {
        use object::read::elf::Dyn;
        entry.is_string(endian) && entry.tag(endian) == elf::DT_NEEDED && entry.string(endian, strings) == Ok(name.as_bytes())
    })
}
