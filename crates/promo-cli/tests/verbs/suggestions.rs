//! What promo suggests: next commands that work as they stand, and words for a shell.

use std::path::Path;

use crate::fixture::{World, command, end, promo, texts};

#[test]
fn a_suggested_command_can_be_pasted_without_anything_exported_s14() {
    let world = World::new();
    world.release("1.2.0", 3);
    let above = world.at.parent().unwrap();
    let bare = |words: &[&str]| {
        // A person plans: without a name it would be a job, and production starts by hand.
        let mut command = command(above, words);
        command.env_remove("PROMO_POLICY");
        end(command, words)
    };
    for words in [
        &["plan", "production"][..],
        &["plan", "production", "--out", "p.json"],
        &["request", "p.json"],
        &["request", "p.json", "--key", "keys/dana", "--signer", "built-in"],
        &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"],
        &["apply", "p.json"],
        &["release", "add", "shop=1.1.0", "--alias", "1.3.0"],
        &["advance"],
        &["status"],
        &["why", "production"],
        &["check"],
        &["doctor"],
        &["plan", "nowhere"],
    ] {
        let all: Vec<&str> = ["-C", "example", "--policy", "policy.toml"].iter().chain(words).copied().collect();
        let (out, err) = texts(&bare(&all));
        let Some(next) =
            out.lines().chain(err.lines()).filter_map(|line| line.strip_prefix("Next: promo ")).next_back()
        else {
            assert_eq!(words, ["advance"], "{out}{err}");
            continue;
        };
        assert!(next.starts_with("-C example --policy policy.toml "), "promo {}: {next}", words.join(" "));
        let who = if next.contains(" approve ") { "riley" } else { "dana" };
        let next =
            next.replace(" --signer built-in", "").replace("--key KEY", &format!("--key keys/{who} --signer built-in"));
        let pasted = bare(&next.split(' ').collect::<Vec<_>>());
        assert!(!matches!(pasted.status.code(), Some(64 | 65)), "{next}: {:?}", texts(&pasted));
    }
}

#[test]
fn every_shell_has_a_script_by_which_it_asks() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (out, _) = texts(&promo(&world.at, &["completions", shell]));
        assert!(out.contains("PROMO_COMPLETE") && out.contains("promo"), "{shell}: {out}");
    }
}

/// What bash is offered for the last of these words.
#[expect(clippy::disallowed_methods, reason = "the binary under test is run from outside, as a shell runs it")]
fn offered(directory: &Path, words: &[&str]) -> Vec<String> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_promo"));
    command.arg("--").arg("promo").args(words).current_dir(directory).env_clear();
    command.env("PROMO_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    command.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "false");
    command.env("PROMO_POLICY", "policy.toml").env("HOME", directory.join("nobody's-home"));
    let output = command.output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_is_offered_what_the_project_and_the_ledger_know_and_nothing_is_written() {
    let world = World::new();
    let ledger = std::fs::read(world.at.join(".promo/ledger.db")).unwrap();
    assert!(offered(&world.at, &["roll"]).contains(&"rollback".to_owned()));
    assert_eq!(offered(&world.at, &["plan", "p"]), ["perf", "production"]);
    assert_eq!(offered(&world.at, &["plan", "--release", "1"]), ["1.1.0", "1.0.0"]);
    assert_eq!(offered(&world.at, &["release", "show", "1.1"]), ["1.1.0"]);
    assert_eq!(offered(&world.at, &["verdict", "pass", "qa", ""])[..2], ["load", "smoke"]);
    assert_eq!(offered(&world.at, &["resume", "0"]), [""; 0], "no run is unfinished");
    assert_eq!(std::fs::read(world.at.join(".promo/ledger.db")).unwrap(), ledger);
    // Where nothing can be read nothing is said.
    world.write("promo.toml", "format = ");
    assert_eq!(offered(&world.at, &["plan", "p"]), [""; 0]);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(offered(empty.path(), &["plan", "--release", "1"]), [""; 0]);
}
