//! The source of a release: a real repository of git, what is seen of its commits and recorded, and what gates make of the record.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{World, next, promo, said, texts};

const REVISION: &str = "org.opencontainers.image.revision";

/// A world whose staging asks for a commit of `main` or of a tag, and the repository that it asks.
struct Asked {
    world: World,
    source: PathBuf,
    workers: std::cell::Cell<u32>,
}

impl Asked {
    fn new() -> Self {
        let world = World::new();
        let source = world.at.join("source-of-shop");
        std::fs::create_dir(&source).unwrap();
        let out = Self { world, source, workers: 3.into() };
        out.git(&["init", "--quiet", "--initial-branch=main"]);
        let gate = format!(
            "\n[gates]\nsource = {{ source = {{ repository = \"{}\", refs = [\"refs/heads/main\", \"refs/tags/v*\"] }} }}\n\n\
             [environments.staging]\ngates = [\"source\"]\n",
            out.source.display()
        );
        out.world.edit("promo.toml", "\n[environments.staging]\n", &gate);
        out
    }

    #[expect(clippy::disallowed_methods, reason = "somebody else's git, who makes the repository")]
    fn git(&self, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(words).current_dir(&self.source);
        for (name, value) in [("NAME", "Ada\u{202e} L"), ("EMAIL", "ada@example")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, subject: &str) -> String {
        self.git(&["commit", "--quiet", "--allow-empty", "--message", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Adds a release of a commit, as far as dev.
    fn release(&self, alias: &str, commit: Option<&str>) -> Value {
        self.release_of("1.1.0", alias, commit)
    }

    fn release_of(&self, tag: &str, alias: &str, commit: Option<&str>) -> Value {
        self.workers.set(self.workers.get() + 1);
        self.world.write("config/common.env", &format!("NEEDS_WORKERS={}\n", self.workers.get()));
        let meta = commit.map(|commit| format!("{REVISION}={commit}"));
        let artifact = format!("shop={tag}");
        let words = ["release", "add", artifact.as_str(), "--alias", alias].into_iter();
        let words: Vec<&str> = words.chain(meta.iter().flat_map(|meta| ["--meta", meta.as_str()])).collect();
        let added = self.world.run(0, &words);
        self.world.run(0, &["advance"]);
        added
    }

    /// The code of its gate, what is told of it, and what leads on.
    fn gate(&self, release: &str) -> (String, String, String) {
        let why = self.world.run(0, &["why", "staging", release]);
        let gate = why["gates"].as_array().unwrap().iter().find(|gate| gate["kind"] == "evidence").unwrap();
        let (code, said) = gate["reason"].as_object().unwrap().iter().next().unwrap();
        (code.clone(), said.to_string(), next(&why))
    }

    fn code(&self, release: &str) -> String {
        self.gate(release).0
    }

    fn collect(&self, release: &str) -> Value {
        let collected = self.world.run(0, &["evidence", "collect", "--release", release]);
        collected["releases"][0].clone()
    }
}

#[test]
fn r3_a_release_is_let_in_once_its_commit_is_reachable_and_stays_so_whatever_becomes_of_the_branch() {
    let asked = Asked::new();
    let first = asked.commit("first");
    asked.git(&["checkout", "--quiet", "-b", "side"]);
    let side = asked.commit("side");
    asked.release("1.2.0", Some(&side));
    let (code, text, leads) = asked.gate("1.2.0");
    assert_eq!(code, "evidence-bad");
    assert!(text.contains("not-reachable") && text.contains("refs/tags/v*"), "{text}");
    assert!(leads.starts_with("promo evidence collect --release r-"), "{leads}");
    // The same once more is no news.
    assert_eq!(asked.collect("1.2.0")["new"].as_array().map(Vec::len), Some(0));

    asked.git(&["checkout", "--quiet", "main"]);
    asked.git(&["merge", "--quiet", "--no-ff", "--message", "merge", "side"]);
    assert_eq!(asked.code("1.2.0"), "evidence-bad", "gates go by the ledger");
    let new = asked.collect("1.2.0");
    assert_eq!((&new["new"][0]["format"], new["new"].as_array().map(Vec::len)), (&json!("source"), Some(1)), "{new}");
    let (code, text, _) = asked.gate("1.2.0");
    assert_eq!(code, "evidence-met");
    assert!(text.contains(&format!("{side} is reachable from refs/heads/main")), "{text}");

    // Somebody rewrites the branch: what was so stays, and only who comes later is judged by how it is now.
    asked.git(&["reset", "--quiet", "--hard", &first]);
    assert_eq!(asked.collect("1.2.0")["new"].as_array().map(Vec::len), Some(0));
    assert_eq!(asked.code("1.2.0"), "evidence-met");
    asked.release_of("1.0.0", "1.3.0", Some(&side));
    assert_eq!(asked.code("1.3.0"), "evidence-bad");
    asked.git(&["tag", "--annotate", "--message", "one", "v1", &side]);
    asked.collect("1.3.0");
    assert_eq!(asked.code("1.3.0"), "evidence-met");

    // The ledger alone says so again, also where there is no repository any more.
    std::fs::remove_dir_all(&asked.source).unwrap();
    assert_eq!((asked.code("1.2.0"), asked.code("1.3.0")), ("evidence-met".into(), "evidence-met".into()));
    asked.world.run(0, &["plan", "staging", "--release", "1.3.0", "--out", "p.json"]);
    asked.world.run(0, &["apply", "p.json"]);
    asked.world.run(0, &["ledger", "verify"]);
}

#[test]
fn r3_no_evidence_unreadable_and_bad_are_three_outcomes_and_each_leads_on() {
    let asked = Asked::new();
    asked.commit("first");
    let cases = [
        ("1.2.0", None, "evidence-missing", "not-said", "promo release add "),
        ("1.3.0", Some("1f2e3d4"), "evidence-unreadable", "not-a-commit", "promo release add "),
        (
            "1.4.0",
            Some("1111111111111111111111111111111111111111"),
            "evidence-bad",
            "no-such-commit",
            "promo evidence collect ",
        ),
    ];
    for (alias, commit, code, fault, leads) in cases {
        asked.release(alias, commit);
        let (found, text, to) = asked.gate(alias);
        assert_eq!(found, code, "{alias}: {text}");
        assert!(text.contains(fault) && to.starts_with(leads), "{alias}: {text}\n{to}");
    }
    let main = asked.git(&["rev-parse", "main"]);
    let elsewhere = asked.source.with_file_name("elsewhere");
    std::fs::rename(&asked.source, &elsewhere).unwrap();
    asked.world.write("config/common.env", "NEEDS_WORKERS=2\n");
    let words = ["release", "add", "shop=1.1.0", "--alias", "1.5.0", "--meta", &format!("{REVISION}={main}")];
    let (out, err) = texts(&promo(&asked.world.at, &words));
    assert!(out.contains("added") && err.contains("nobody knows where its commit is"), "{out}{err}");
    assert!(err.contains("evidence collect --release r-"), "{err}");
    asked.world.run(0, &["advance"]);
    let (code, text, to) = asked.gate("1.5.0");
    assert_eq!(code, "evidence-missing", "{text}");
    assert!(text.contains("source-not-seen") && to.starts_with("promo evidence collect "), "{text} {to}");
    let refused = asked.world.refuses(65, "provider-not-found", &["evidence", "collect", "--release", "1.5.0"]);
    assert!(refused["message"].as_str().unwrap().contains("source-of-shop"), "{refused}");
    std::fs::rename(&elsewhere, &asked.source).unwrap();
    asked.collect("1.5.0");
    assert_eq!(asked.code("1.5.0"), "evidence-met");
}

#[test]
fn r3_nobody_brings_what_only_promo_can_have_seen_and_what_is_withdrawn_is_asked_again() {
    let asked = Asked::new();
    let commit = asked.commit("first");
    asked.git(&["checkout", "--quiet", "--orphan", "side"]);
    let side = asked.commit("side");
    asked.release("1.2.0", Some(&side));
    let seen = json!({
        "at": "2026-11-23T00:00:00Z", "kind": "promo/source/v1",
        "seen": {
            "commit": side, "exists": true, "reached": { "commit": side, "name": "refs/heads/main" },
            "refs": ["refs/heads/main", "refs/tags/v*"], "repository": asked.source.display().to_string(), "tips": {},
        },
    });
    asked.world.write("seen.json", &seen.to_string());
    asked.world.refuses(65, "evidence-invalid", &["evidence", "add", "seen.json", "--release", "1.2.0"]);
    assert_eq!(asked.code("1.2.0"), "evidence-bad");

    asked.release("1.3.0", Some(&commit));
    assert_eq!(asked.code("1.3.0"), "evidence-met");
    let shown = asked.world.run(0, &["release", "show", "1.3.0"]);
    let document = shown["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["says"].as_str().unwrap().contains(&commit))
        .unwrap();
    let digest = document["document"].as_str().unwrap().to_owned();
    let words = ["evidence", "withdraw", &digest, "--reason", "the branch was not ours", "--key", "keys/riley"];
    asked.world.run(0, &[words.as_slice(), &["--signer", "built-in"]].concat());
    let (code, text, _) = asked.gate("1.3.0");
    assert_eq!(code, "evidence-missing");
    assert!(text.contains("withdrawn by riley"), "{text}");
    asked.git(&["update-ref", "refs/heads/main", &side]);
    asked.collect("1.3.0");
    assert_eq!(asked.code("1.3.0"), "evidence-bad");
}

#[test]
fn release_show_tells_the_commits_since_the_release_before_and_who_wrote_them() {
    let asked = Asked::new();
    let first = asked.commit("first");
    asked.release("1.2.0", Some(&first));
    let commits: Vec<String> = (0..12).map(|at| asked.commit(&format!("change {at} \u{1b}[31m"))).collect();
    std::fs::write(asked.source.join(".mailmap"), "Ada Lovelace <ada@example>\n").unwrap();
    asked.git(&["add", "--all"]);
    let last = asked.commit("names");
    asked.release("1.3.0", Some(&last));
    assert_eq!(asked.world.run(0, &["release", "show", "1.2.0"])["since"], Value::Null);
    let shown = asked.world.run(0, &["release", "show", "1.3.0"]);
    let since = &shown["since"];
    assert_eq!((&since["commit"], &since["before_commit"]), (&json!(last), &json!(first)), "{shown}");
    assert_eq!((since["commits"].as_array().map(Vec::len), &since["more"]), (Some(13), &json!(0)), "{since}");
    assert_eq!((&since["commits"][1]["id"], &since["without"]), (&json!(commits[11]), &json!(0)));
    assert_eq!(since["authors"], json!([{ "name": "Ada Lovelace", "commits": 13 }]));
    let text = said(&asked.world, &["release", "show", "1.3.0"]);
    assert!(text.contains("13 commits since ") && text.contains("written by Ada Lovelace (13)\n"), "{text}");
    assert!(text.contains("and 3 more\n") && !text.contains('\u{1b}'), "{text}");

    gone(&asked.source);
    let text = said(&asked.world, &["release", "show", "1.3.0"]);
    assert!(text.contains("what came since ") && text.contains(" is not known: "), "{text}");
}

fn gone(directory: &Path) {
    std::fs::remove_dir_all(directory).unwrap();
}
