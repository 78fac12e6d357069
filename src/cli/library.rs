//! Where `libgcshim.so` is.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The shim's file name.
const NAME: &str = "libgcshim.so";

/// The shim's absolute path: `GCSHIM_LIBRARY`, or beside this program, or where an installation or the other build profile puts
/// it. The error names every place that was looked at.
pub fn find() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("GCSHIM_LIBRARY") {
        let named = PathBuf::from(named);
        return std::fs::canonicalize(&named).with_context(|| format!("GCSHIM_LIBRARY={}", named.display()));
    }
    let program = std::env::current_exe().context("where this program is")?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let places: Vec<PathBuf> =
        ["", "../lib", "../lib/gcshim", "../release", "../debug"].iter().map(|place| folder.join(place).join(NAME)).collect();
    for place in &places {
        if let Ok(found) = std::fs::canonicalize(place) {
            return Ok(found);
        }
    }
    let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
    bail!("{NAME} is in none of {}; build it, or set GCSHIM_LIBRARY", places.join(", "))
}

/// Whether the dynamic linker can be told this path: it splits `LD_PRELOAD` at spaces and colons and knows no escape.
pub fn preloadable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    if path.as_os_str().as_bytes().iter().any(|b| matches!(b, b' ' | b':')) {
        bail!("{}: LD_PRELOAD cannot name a path with a space or a colon; move it, or set GCSHIM_LIBRARY", path.display());
    }
    Ok(())
}

/// The value of `LD_PRELOAD` with the shim first and everything that was there after it: the first malloc is the one that counts.
pub fn preload(path: &Path, existing: Option<std::ffi::OsString>) -> std::ffi::OsString {
    let mut value = path.as_os_str().to_owned();
    if let Some(existing) = existing.filter(|e| !e.is_empty()) {
        value.push(":");
        value.push(existing);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_preload_is_kept_behind_the_shim() {
        assert_eq!(preload(Path::new("/a.so"), None), "/a.so");
        assert_eq!(preload(Path::new("/a.so"), Some("".into())), "/a.so");
        assert_eq!(preload(Path::new("/a.so"), Some("/b.so /c.so".into())), "/a.so:/b.so /c.so");
    }

    #[test]
    fn a_path_that_the_linker_would_split_is_refused() {
        assert!(preloadable(Path::new("/a b/x.so")).is_err());
        assert!(preloadable(Path::new("/a:b/x.so")).is_err());
        assert!(preloadable(Path::new("/ab/x.so")).is_ok());
    }
}
