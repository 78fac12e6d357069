//! `libgcshim.so` of the profile under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The package's folder.
pub fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `target/<profile>`: the test executable lies in its `deps`.
pub fn profile_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("the test's own path");
    exe.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_path_buf()
}

/// The shim to preload: `$GCSHIM_TEST_LIBRARY`, or the one in the profile's folder.
///
/// `cargo test` builds no cdylib for the integration tests, so it is built here, once a process: a shim that is missing would
/// fail every test, and one that is out of date would pass or fail for nothing.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("GCSHIM_TEST_LIBRARY") {
            return PathBuf::from(path);
        }
        let folder = profile_folder();
        let profile = match folder.file_name().and_then(|n| n.to_str()) {
            Some("debug") => "dev",
            Some(name) => name,
            None => panic!("no profile in {}", folder.display()),
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--quiet", "--lib", "--profile", profile, "--manifest-path"])
            .arg(package().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(folder.parent().expect("target"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "the shim does not build:\n{}", String::from_utf8_lossy(&output.stderr));
        let path = folder.join("libgcshim.so");
        assert!(path.is_file(), "no {}", path.display());
        path
    })
}
