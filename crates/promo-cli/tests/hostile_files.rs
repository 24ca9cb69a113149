//! Files that a pull request may bring along, given to the built binary (S13.2).

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the binary, which fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Exit code, and everything that was printed.
fn promo(root: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_promo"))
        .args(["--as", "dana", "--policy", "policy.toml"])
        .args(words)
        .current_dir(root)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// A quickstart that is through, and a secret of the runner beside it.
fn world() -> (TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (root, secret) = (directory.path().join("qs"), directory.path().join("secret"));
    let made = Command::new(env!("CARGO_BIN_EXE_promo")).arg("quickstart").arg(&root).output().unwrap();
    assert!(made.status.success());
    std::fs::write(&secret, "WORKERS=CANARY\n").unwrap();
    (directory, root, secret)
}

#[test]
fn a_link_shows_no_file_of_the_runner_to_anybody() {
    let (_directory, root, secret) = world();
    let file = root.join("config/dev.env");
    for link in ["file", "directory"] {
        if link == "file" {
            std::fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink(&secret, &file).unwrap();
        } else {
            let elsewhere = root.parent().unwrap().join("elsewhere");
            std::fs::remove_file(&file).unwrap();
            std::fs::rename(root.join("config"), &elsewhere).unwrap();
            std::fs::copy(&secret, elsewhere.join("dev.env")).unwrap();
            std::os::unix::fs::symlink(&elsewhere, root.join("config")).unwrap();
        }
        for words in [&["plan", "dev", "--format", "markdown"][..], &["plan", "--if-merged"], &["advance"]] {
            let (code, said) = promo(&root, words);
            assert_eq!(code, Some(65), "{words:?}: {said}");
            assert!(said.contains("error[file-unreadable]") && said.contains("it is a link"), "{said}");
            assert!(!said.contains("CANARY"), "{said}");
        }
    }
}

#[test]
fn of_a_file_without_an_end_no_more_is_read_than_its_limit() {
    let (_directory, root, _) = world();
    // Sparse: it would be 64 GiB in memory.
    let huge = |name: &str| std::fs::File::create(root.join(name)).unwrap().set_len(64 << 30).unwrap();
    let pipeline = std::fs::read(root.join("promo.toml")).unwrap();
    huge("promo.toml");
    let (code, said) = promo(&root, &["check"]);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("limit-file-size"), "{said}");
    std::fs::write(root.join("promo.toml"), pipeline).unwrap();

    huge("huge.plan.json");
    let (code, said) = promo(&root, &["show", "huge.plan.json"]);
    assert_eq!(code, Some(65), "{said}");
    let (code, said) = promo(&root, &["apply", "production.plan.json", "--approval", "huge.plan.json"]);
    assert_eq!(code, Some(65), "{said}");
    huge("config/dev.env");
    let (code, said) = promo(&root, &["plan", "dev"]);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("larger than 1048576 bytes"), "{said}");
}
