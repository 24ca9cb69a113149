//! What people read, from outside: the words of the built binary.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the binary, which fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Exit code, and everything that was printed.
fn promo(root: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_promo"))
        .args(words)
        .current_dir(root)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PROMO_POLICY", "policy.toml")
        .env("PROMO_ACTOR", "dana")
        .env("PROMO_ACTOR_KIND", "human")
        .env("PROMO_TIMEZONE", "Europe/Berlin")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// A quickstart that is through.
fn world() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = promo(directory.path(), &["quickstart", "qs"]);
    assert_eq!(code, Some(0), "{said}");
    let root = directory.path().join("qs");
    (directory, root)
}

const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];

#[test]
fn an_approver_reads_until_when_in_the_zone_of_the_call() {
    let (_directory, root) = world();
    std::fs::write(root.join("config/common.env"), "NEEDS_WORKERS=3\n").unwrap();
    for words in [
        &["release", "add", "shop=1.0.0", "--alias", "1.2.0"][..],
        &["advance"],
        &["plan", "production", "--out", "p.json"],
        &["request", "p.json", "--key", "keys/dana", "--signer", "built-in"],
    ] {
        let (code, said) = promo(&root, words);
        assert_eq!(code, Some(0), "{words:?}: {said}");
    }
    let (code, said) = promo(&root, &[&["approve", "p.json"], &RILEY[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    let until = said.lines().find(|line| line.starts_with("  as release-manager, until ")).unwrap();
    assert!(until.ends_with(" CET") || until.ends_with(" CEST"), "{until}");
}

#[test]
fn approving_a_plan_that_moves_nothing_says_so() {
    let (_directory, root) = world();
    let (code, said) = promo(&root, &["plan", "qa", "--out", "nothing.json"]);
    assert_eq!(code, Some(0), "{said}");
    for decision in ["approve", "reject"] {
        let (code, said) = promo(&root, &[&["approve", "nothing.json", "--decision", decision], &RILEY[..]].concat());
        assert_eq!(code, Some(65), "{said}");
        assert!(
            said.starts_with("error[request-invalid]: the plan moves nothing: there is nothing to approve"),
            "{said}"
        );
        assert!(said.trim_end().lines().last().unwrap().starts_with("Next: promo "), "{said}");
    }
}

#[test]
fn whoever_gives_a_verdict_chooses_the_signer_as_whoever_approves() {
    let (_directory, root) = world();
    let (code, said) =
        promo(&root, &[&["verdict", "withdraw", "qa", "smoke", "--reason", "a test"], &RILEY[..]].concat());
    // Signed and judged: the example's policy lets nobody do it.
    assert_eq!(code, Some(21), "{said}");
    assert!(said.contains("policy lets nobody withdraw this"), "{said}");
    let (code, _) = promo(&root, &["verdict", "withdraw", "qa", "smoke", "--key", "keys/riley", "--built-in-signer"]);
    assert_eq!(code, Some(64));
}

#[test]
fn what_environments_say_while_they_move_is_in_line_however_long_their_names_are() {
    let (_directory, root) = world();
    let pipeline = std::fs::read_to_string(root.join("promo.toml")).unwrap();
    for name in ["perf", "performance-at-the-peak-of-the-year"] {
        let text = pipeline.replace("[environments.perf]", &format!("[environments.{name}]"));
        std::fs::write(root.join("promo.toml"), text.replace("\"perf\"", &format!("\"{name}\""))).unwrap();
        std::fs::copy(root.join("config/perf.env"), root.join(format!("config/{name}.env"))).unwrap_or_default();
        std::fs::write(root.join("config/common.env"), format!("NEEDS_WORKERS=3\n# {name}\n")).unwrap();
        promo(&root, &["release", "add", "shop=1.0.0", "--alias", name]);
        let (_, said) = promo(&root, &["advance"]);
        let names = ["dev", "qa", name, "staging", "production"];
        let width = names.map(str::len).into_iter().max().unwrap();
        let lines: Vec<_> =
            said.lines().filter(|line| names.iter().any(|n| line.starts_with(&format!("{n} ")))).collect();
        assert!(lines.len() > 8, "{said}");
        for line in lines {
            let (name, text) = line.split_at(width + 1);
            assert!(name.ends_with(' ') && !text.starts_with(' '), "{line}");
        }
    }
}
