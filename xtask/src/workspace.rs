//! Where the project is and under which conditions a task runs. No task's own logic belongs here.

use std::path::{Path, PathBuf};

/// The root of the workspace: the parent of this package's directory.
///
/// Cargo names the directory at run time; the one from compile time serves when the binary is started by hand.
pub(crate) fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// Where components are installed. Below `target`, so it is never committed and `cargo clean` removes it.
pub(crate) fn components_dir() -> PathBuf {
    root().join("target").join("components")
}

/// Whether this is a CI run: `CI` is set to anything but the empty string, `0` or `false`.
pub(crate) fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| means_yes(&value))
}

fn means_yes(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

#[cfg(test)]
mod tests {
    use super::{means_yes, root};

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn ci_is_off_only_for_the_values_that_say_so() {
        assert!(means_yes("true") && means_yes("1"));
        assert!(!means_yes("") && !means_yes("0") && !means_yes("false"));
    }
}
