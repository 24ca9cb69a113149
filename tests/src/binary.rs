//! Programs that a test starts: the promo of this build, and scripts of the repository. What must not live here: faults,
//! which have a binary of their own.

use std::path::{Path, PathBuf};

/// The repository.
///
/// # Panics
/// Never: the crate lies in it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

/// A program with the environment of the test.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test starts the programs that it is about")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    std::process::Command::new(program)
}

/// The promo of this build; made when the test run did not.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn promo() -> PathBuf {
    built("promo-cli", "promo")
}

/// A program of a package of this build; made when the test run did not.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn built(package: &str, program: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a test is a program");
    let path = here.parent().and_then(Path::parent).expect("it lies in `deps`").join(program);
    if !path.exists() {
        let built =
            command(env!("CARGO")).args(["build", "--package", package, "--bin", program]).current_dir(root()).status();
        assert!(built.expect("cargo starts").success());
    }
    path
}
