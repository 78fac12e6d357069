//! The tree checks itself: layers, names, paths.

use std::path::{Path, PathBuf};

/// Bottom to top, as in `src/lib.rs`.
const LAYERS: [&str; 11] =
    ["options", "sys", "meta", "heap", "roots", "mark", "weakref_hooks", "python", "finalizers", "audit", "interpose"];

/// Edges that the tree has against the order, each with its reason. None is to be added.
const EXCEPTIONS: [(&str, &str); 0] = [];

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|l| *l == name)
}

#[test]
fn a_layer_uses_only_those_below_it() {
    let mut wrong = Vec::new();
    let mut edges = 0;
    for (own, name) in LAYERS.iter().enumerate() {
        let mut files = Vec::new();
        sources(&package().join("src").join(name), &mut files);
        assert!(!files.is_empty(), "the layer {name} is gone");
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file");
            // A unit test may look anywhere.
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(&text);
            for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
                for used in line.split("crate::").skip(1) {
                    let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let Some(at) = layer(&used) else { continue };
                    edges += 1;
                    let from = file.strip_prefix(package()).unwrap_or(&file).display().to_string();
                    if at > own && !EXCEPTIONS.contains(&(from.as_str(), used.as_str())) {
                        wrong.push(format!("{from} uses {used}: {}", line.trim()));
                    }
                }
            }
        }
    }
    assert!(edges > 50, "the test sees only {edges} edges");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_a_drawer_and_no_text_has_a_path_of_somebodys_machine() {
    let mut files = Vec::new();
    for folder in ["src", "harness/tests", "harness/support"] {
        sources(&package().join(folder), &mut files);
    }
    let homes = ["/ro\u{6f}t/", "/ho\u{6d}e/"];
    for file in files {
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or("");
        assert!(!["util", "utils", "helpers", "common", "misc"].contains(&stem), "{}", file.display());
        let text = std::fs::read_to_string(&file).expect("a source file");
        for (number, line) in text.lines().enumerate() {
            assert!(!homes.iter().any(|h| line.contains(h)), "{}:{}: {line}", file.display(), number + 1);
        }
    }
}
