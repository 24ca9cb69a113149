//! `promo advance` through the binary: what it says when a later pass fails.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the binary, which fails by panicking")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn promo(root: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promo"));
    command.args(["--as", "dana", "--policy", "policy.toml"]).args(words).current_dir(root);
    command.env_remove("CI").env("PROMO_COLOR", "never").stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_earlier_passes_did_is_told_with_the_error_of_a_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("qs");
    let quickstart = Command::new(env!("CARGO_BIN_EXE_promo")).arg("quickstart").arg(&root).output().unwrap();
    assert!(quickstart.status.success(), "{}", text(&quickstart.stderr));
    // The check of the first pass takes a file away that the second one plans with.
    let (smoke, load) = (root.join("checks/smoke.sh"), root.join("checks/load.sh"));
    let script = std::fs::read_to_string(&smoke).unwrap();
    let script = script.replacen("set -eu\n", &format!("set -eu\nrm -f '{}'\n", load.display()), 1);
    std::fs::write(&smoke, script).unwrap();
    let added = promo(&root, &["release", "add", "shop=1.0.0", "--alias", "1.0.0-last"]);
    assert!(added.status.success(), "{}", text(&added.stderr));

    let output = promo(&root, &["advance"]);
    let (told, error) = (text(&output.stdout), text(&output.stderr));
    assert!(!load.exists(), "the first pass ran: {told}{error}");
    // The error leads on, and nothing else does.
    assert!(told.contains("dev") && !told.contains("Next: ") && error.contains("\nNext: "), "{told}{error}");
    assert!(error.contains("error[file-unreadable]"), "{error}");
    assert_eq!(output.status.code(), Some(65), "{error}");
}
