//! Function, file and line of native frames.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::{fixtures, run};

/// The address just behind the start of a function's code, as a return address has it.
fn address_in(library: &Path, function: &str) -> u64 {
    use object::{Object, ObjectSymbol};
    let bytes = std::fs::read(library).expect("the library was built");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let symbol = file.symbols().find(|s| s.name() == Ok(function)).expect("the function is in the library");
    symbol.address() + symbol.size() - 1
}

fn tool(program: &str, arguments: &[&OsStr]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn with_native_frame(folder: &Path, library: &Path, offset: u64) -> String {
    let frame = serde_json::json!({ "module": library, "offset": format!("{offset:#x}") });
    let finding = serde_json::json!({ "kind": "finding", "verdict": "leaked-block", "site": { "native": [frame] } });
    let report = folder.join("r.ndjson");
    std::fs::write(&report, format!("{finding}\n")).expect("written");
    run([OsStr::new("report"), report.as_os_str()]).1
}

#[test]
fn native_frames_get_function_file_and_line_also_from_separate_debug_information() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().join("libsite.so");
    let source = fixtures().join("site.c");
    let flags = ["-g", "-O0", "-shared", "-fPIC", "-o"].map(OsStr::new);
    tool("cc", &[&flags[..], &[library.as_os_str(), source.as_os_str()]].concat());
    let at = address_in(&library, "site");
    let place = format!("site ({}:8), libsite.so+{at:#x}", source.display());
    let whole = with_native_frame(folder.path(), &library, at);
    assert!(whole.contains(&place), "{whole}");

    let debug = folder.path().join("libsite.debug");
    tool("objcopy", &["--only-keep-debug".as_ref(), library.as_os_str(), debug.as_os_str()]);
    tool("strip", &["--strip-all".as_ref(), library.as_os_str()]);
    let stripped = with_native_frame(folder.path(), &library, at);
    assert!(!stripped.contains("site.c") && stripped.contains(&format!("site, libsite.so+{at:#x}")), "{stripped}");
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(&debug);
    tool("objcopy", &[&link, library.as_os_str()]);
    let linked = with_native_frame(folder.path(), &library, at);
    assert!(linked.contains(&place), "{linked}");
}

#[test]
fn an_inlined_function_is_a_frame_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().join("libsite.so");
    let source = fixtures().join("site.c");
    let flags = ["-g", "-O2", "-shared", "-fPIC", "-o"].map(OsStr::new);
    tool("cc", &[&flags[..], &[library.as_os_str(), source.as_os_str()]].concat());
    // The first instruction that belongs to the function's work loads `*at`: the inlined part.
    use object::{Object, ObjectSymbol};
    let bytes = std::fs::read(&library).expect("the library was built");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let symbol = file.symbols().find(|s| s.name() == Ok("site")).expect("the function is in the library");
    let shown = (1..symbol.size())
        .map(|n| with_native_frame(folder.path(), &library, symbol.address() + n))
        .find(|t| t.contains("inlined ("));
    let shown = shown.expect("some instruction of site is inlined's");
    assert!(shown.contains(&format!("inlined ({}:3)", source.display())), "{shown}");
    assert!(shown.contains(&format!("called by site ({}:7)", source.display())), "{shown}");
}
