//! The tree checks itself: layers, reasons for unsafe code, lengths, dead files, names, and paths of somebody's machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines beyond which a file is more than one idea.
const LINES_MAX: usize = 450;

/// Files that are longer, and how long they may get. None is to be added.
const LONGER: [(&str, usize); 1] = [("harness/extensions/seeded.c", 550)];

/// How many lines above unsafe code its reason may stand.
const REASON_WITHIN: usize = 4;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The package's own files, as paths from its root: those that git tracks, or all but what is built where there is no git.
fn files() -> Vec<String> {
    let listed = Command::new("git").arg("-C").arg(package()).args(["ls-files", "-z"]).output();
    let mut found: Vec<String> = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect()
        }
        _ => walk(package()).iter().map(|p| relative(p)).collect(),
    };
    // A file that is deleted and not yet committed is listed all the same.
    found.retain(|path| package().join(path).is_file());
    found.sort();
    assert!(found.len() > 100, "only {} files", found.len());
    found
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_file() {
            found.push(path);
        } else if !name.starts_with("target") && !["__pycache__", ".git", ".work"].contains(&&*name) {
            found.extend(walk(&path));
        }
    }
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(package()).expect("inside the package").to_string_lossy().into_owned()
}

fn text(path: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(package().join(path)).expect(path)).into_owned()
}

fn rust_files(under: &str) -> Vec<String> {
    files().into_iter().filter(|p| p.starts_with(under) && p.ends_with(".rs")).collect()
}

/// A source without its line comments; lines keep their numbers.
fn code(text: &str) -> String {
    text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at]).to_owned() + "\n").collect()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn fail_with(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

// ---- layers ----

/// The layers from bottom to top, as the map in `src/lib.rs` lists them.
fn layers() -> Vec<String> {
    let map = text("src/lib.rs");
    let listed: Vec<String> =
        map.lines().filter_map(|line| Some(line.strip_prefix("//! - [`")?.split_once('`')?.0.to_owned())).collect();
    let declared: Vec<String> =
        map.lines().filter_map(|line| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned())).collect();
    assert!(listed.len() > 5);
    assert_eq!(listed, declared, "the map of src/lib.rs and its `mod` lines are not in the same order");
    listed
}

/// The names behind each `crate::` of a source, in a `use` or in a path.
fn names_from_the_root(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(word(rest).to_owned());
            continue;
        };
        // The first word of each part of the group: what stands in inner braces is deeper.
        let mut depth = 0;
        let mut at_start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if at_start && (c.is_alphabetic() || c == '_') => {
                    names.push(word(&group[i..]).to_owned());
                    at_start = false;
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn a_layer_uses_only_layers_below_it() {
    let layers = layers();
    let height = |name: &str| layers.iter().position(|l| l == name);
    let mut upward = Vec::new();
    let mut edges = 0;
    for path in rust_files("src/") {
        let own = path.split('/').nth(1).expect("under src");
        let Some(own) = height(own) else { continue };
        for name in names_from_the_root(&code(&text(&path))) {
            match height(&name) {
                Some(other) if other <= own => edges += 1,
                Some(_) => upward.push(format!("{path} uses {name}")),
                // Macros and names of the root itself.
                None => upward.push(format!("{path} uses {name}, which is no layer")),
            }
        }
    }
    assert!(edges > 100, "only {edges} edges were found");
    fail_with("layers are used from below", &upward);
}

/// `super` leads out of a layer from its root module; there and nowhere else the check above would be blind.
#[test]
fn no_path_leaves_its_layer_by_super() {
    let layers = layers();
    let mut found = Vec::new();
    for path in rust_files("src/").iter().filter(|p| layers.iter().any(|l| p.starts_with(&format!("src/{l}/")))) {
        let code = code(&text(path));
        let before_tests = code.split("#[cfg(test)]").next().unwrap_or(&code);
        if path.ends_with("/mod.rs") && path.matches('/').count() == 2 && before_tests.contains("super::") {
            found.push(format!("{path}: super::"));
        }
        if code.contains("super::super::") {
            found.push(format!("{path}: super::super::"));
        }
    }
    fail_with("paths that leave their layer", &found);
}

#[test]
fn names_are_found_in_uses_and_paths() {
    let names = names_from_the_root(
        "use crate::heap::{self, view};\nuse crate::{sys, audit::{a, b},\n  meta};\nlet x = crate::mark::f();",
    );
    assert_eq!(names, ["heap", "sys", "audit", "meta", "mark"]);
}

// ---- unsafe ----

#[test]
fn unsafe_code_has_its_reason() {
    let mut without = Vec::new();
    let mut blocks = 0;
    for path in rust_files("src/") {
        let text = text(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code(&text).lines().enumerate() {
            if !is_unsafe_block(line) {
                continue;
            }
            blocks += 1;
            let from = number.saturating_sub(REASON_WITHIN);
            if !lines[from..=number].iter().any(|l| l.contains("SAFETY")) {
                without.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(blocks > 100, "only {blocks} unsafe blocks were found");
    fail_with("unsafe code without its reason", &without);
}

/// A block or an implementation. Functions say in their documentation what they ask of callers, and `unsafe extern` declares.
fn is_unsafe_block(line: &str) -> bool {
    line.match_indices("unsafe").any(|(at, found)| {
        let rest = line[at + found.len()..].trim_start();
        let stands_alone = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
        stands_alone && (rest.starts_with('{') || rest.starts_with("impl"))
    })
}

#[test]
fn unsafe_functions_say_what_they_ask() {
    let mut without = Vec::new();
    for path in rust_files("src/") {
        let text = text(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            // What is not public stands beside its callers; what is exported to C has its duties in the header.
            if !line.trim_start().starts_with("pub unsafe fn") {
                continue;
            }
            let above = lines[..number]
                .iter()
                .rev()
                .take_while(|l| l.trim_start().starts_with("///") || l.trim_start().starts_with("#["));
            if !above.into_iter().any(|l| l.contains("# Safety")) {
                without.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    fail_with("public unsafe functions without `# Safety`", &without);
}

// ---- files ----

#[test]
fn files_are_one_idea_long() {
    let mut long = Vec::new();
    for path in files().iter().filter(|p| [".rs", ".c", ".h", ".py", ".sh"].iter().any(|e| p.ends_with(e))) {
        let lines = text(path).lines().count();
        let limit = LONGER.iter().find(|(p, _)| p == path).map_or(LINES_MAX, |(_, n)| *n);
        if lines > limit {
            long.push(format!("{path}: {lines} lines, at most {limit}"));
        }
    }
    for (path, _) in LONGER {
        if !package().join(path).is_file() || text(path).lines().count() <= LINES_MAX {
            long.push(format!("{path} is no longer long: it needs no exception"));
        }
    }
    fail_with("files", &long);
}

/// The files that the `mod` lines of a crate root lead to, itself included.
fn reached_from(root: &str, reached: &mut BTreeSet<String>) {
    if !reached.insert(root.to_owned()) {
        return;
    }
    let path = Path::new(root);
    let folder = path.parent().expect("a folder");
    let stem = path.file_stem().and_then(|s| s.to_str()).expect("a name");
    let is_root = ["src/lib.rs", "src/main.rs", "loom/src/lib.rs"].contains(&root) || folder == Path::new("harness/tests");
    let below = if is_root || stem == "mod" { folder.to_owned() } else { folder.join(stem) };
    let mut given: Option<String> = None;
    for line in code(&text(root)).lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|l| l.split_once('"')) {
            given = Some(path.0.to_owned());
            continue;
        }
        let declared = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ").strip_prefix("mod ");
        if let Some(name) = declared.and_then(|l| l.strip_suffix(';')) {
            // `#[path]` counts from the folder of the file itself.
            let candidates = match given.take() {
                Some(path) => vec![folder.join(path)],
                None => vec![below.join(format!("{name}.rs")), below.join(name).join("mod.rs")],
            };
            let file = candidates.iter().find(|p| package().join(p).is_file());
            reached_from(&normal(file.unwrap_or_else(|| panic!("{root}: no file for mod {name}"))), reached);
        } else if !line.starts_with("#[") && !line.is_empty() {
            given = None;
        }
    }
}

/// A path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().expect("a path of text").split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn every_source_is_compiled() {
    let manifest = text("Cargo.toml");
    let mut reached = BTreeSet::new();
    let tests = manifest.lines().filter_map(|l| l.strip_prefix("path = \"")?.strip_suffix('"'));
    for root in tests.chain(["src/main.rs", "loom/src/lib.rs", "loom/spin/src/lib.rs"]) {
        reached_from(root, &mut reached);
    }
    // The fuzzer's own package; its library is the shim's source.
    for target in text("fuzz/Cargo.toml").lines().filter_map(|l| l.strip_prefix("path = \"fuzz_targets/")?.strip_suffix('"')) {
        reached_from(&format!("fuzz/fuzz_targets/{target}"), &mut reached);
    }
    let dead: Vec<String> = files().into_iter().filter(|p| p.ends_with(".rs") && !reached.contains(p)).collect();
    fail_with("sources that no `mod` line and no target leads to", &dead);
}

#[test]
fn files_are_named_for_what_they_do() {
    let drawers = ["util", "utils", "helper", "helpers", "common", "misc"];
    let mut found = files();
    found.retain(|path| Path::new(path).iter().any(|part| drawers.contains(&word(&part.to_string_lossy()))));
    fail_with("drawers", &found);
}

/// No file knows where on somebody's machine it was written.
#[test]
fn no_file_has_a_path_of_a_machine() {
    let folders = ["root", "work", "home", "Users"].map(|name| format!("/{name}/"));
    let mut found = Vec::new();
    for path in files() {
        for (number, line) in text(&path).lines().enumerate() {
            // `~/work/` and `a/work/b` are no paths from the root.
            let absolute =
                |folder: &String| line.match_indices(folder.as_str()).any(|(at, _)| !line[..at].ends_with(is_of_a_path));
            if folders.iter().any(absolute) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    fail_with("paths of a machine", &found);
}

fn is_of_a_path(c: char) -> bool {
    c.is_alphanumeric() || "~._-})$*".contains(c)
}
