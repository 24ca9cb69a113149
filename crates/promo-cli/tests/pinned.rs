//! A ledger of which the trust file pins a checkpoint, and the built binary: nobody gets another one by removing, replacing
//! or rolling back the file (S0.1).

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the binary, which fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// Verbs that open no ledger: they make or read files, or look at one ledger file without deciding anything from it.
const WITHOUT_LEDGER: &[&str] =
    &["check", "completions", "doctor", "explain", "fmt", "help", "init", "quickstart", "schema"];

/// A command of every other verb, complete enough to get as far as the ledger.
const WITH_LEDGER: &[&[&str]] = &[
    &["status"],
    &["why", "production"],
    &["history"],
    &["runs"],
    &["graph"],
    &["drift"],
    &["diff", "qa", "staging"],
    &["adopt", "staging"],
    &["ledger", "verify"],
    &["ledger", "checkpoint"],
    &["ledger", "accept-clock", "--reason", "a test"],
    &["show", "0123456789abcdef0123456789abcdef"],
    &["plan"],
    &["plan", "--if-merged"],
    &["rollback", "staging"],
    &["request", "p.json"],
    &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"],
    &["apply", "p.json"],
    &["advance"],
    &["release", "add", "shop=1.0.0", "--alias", "9.9.9"],
    &["evidence", "add", "promo.toml"],
    &["evidence", "collect"],
    &["release", "list"],
    &["release", "show", "1.0.0"],
    &["release", "reject", "1.0.0", "--reason", "a test"],
    &["release", "lift", "1.0.0", "--reason", "a test"],
    &["verify", "staging"],
    &["verdict", "pass", "staging", "smoke", "--key", "keys/riley", "--signer", "built-in"],
    &["freeze", "--reason", "a test"],
    &["unfreeze", "--reason", "a test"],
    &["resume", "0123456789abcdef0123456789abcdef"],
    &["cancel", "0123456789abcdef0123456789abcdef"],
];

/// What the quickstart left behind in `shop`, with ledger, policy and trust file of a runner in `runner`.
struct World {
    keep: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { keep: tempfile::tempdir().unwrap() };
        copy(&example().join("shop"), &world.at("shop"));
        std::fs::create_dir(world.at("runner")).unwrap();
        std::fs::rename(world.at("shop/.promo/ledger.db"), world.ledger()).unwrap();
        std::fs::copy(world.at("shop/policy.toml"), world.at("runner/policy.toml")).unwrap();
        world.trust("");
        // For the verbs that take one; whether it still holds is not what is asked here.
        std::fs::copy(world.at("shop/production.plan.json"), world.at("shop/p.json")).unwrap();
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.keep.path().join(path)
    }

    fn ledger(&self) -> PathBuf {
        self.at("runner/ledger.db")
    }

    /// The trust file, with these lines at its end.
    fn trust(&self, more: &str) {
        let text = format!("format = 1\nledger = \"ledger.db\"\n\n[policy]\npath = \"policy.toml\"\n\n{more}");
        std::fs::write(self.at("runner/trust.toml"), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Output {
        self.run_under("runner/trust.toml", words)
    }

    fn run_under(&self, trust: &str, words: &[&str]) -> Output {
        promo(&self.at("shop"), &[&["--trust", self.at(trust).to_str().unwrap()], words].concat())
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Freezes an environment: one more record.
    fn freeze(&self, environment: &str) {
        self.done(&["freeze", environment, "--reason", "a test"]);
    }

    /// Removes the ledger and the word that it left beside it.
    fn remove_ledger(&self) {
        std::fs::remove_file(self.ledger()).unwrap();
        std::fs::remove_file(self.ledger().with_extension("db.origin")).unwrap();
    }

    /// What the ledger prints of itself, put into the trust file as the documentation says.
    fn pin(&self) -> Value {
        self.trust(&self.done(&["ledger", "checkpoint"]));
        serde_json::from_str(&self.done(&["ledger", "checkpoint", "--format", "json"])).unwrap()
    }

    /// Refused as the wrong ledger, and no file of the runner is made or changed. Answers the error.
    fn refused(&self, words: &[&str]) -> Value {
        let before = self.files();
        let output = self.run(&[words, &["--format", "json"][..]].concat());
        assert_eq!(output.status.code(), Some(30), "{words:?}: {}", text(&output));
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["code"], "ledger-other", "{words:?}: {error}");
        assert!(error["next"].as_str().unwrap().ends_with("explain ledger-other"), "{error}");
        assert_eq!(error["where"]["file"], self.ledger().to_str().unwrap(), "{words:?}");
        assert!(self.files() == before, "{words:?} changed something in {:?}", self.at("runner"));
        error
    }

    /// Every verb refuses the ledger, and the doctor says so too. Answers the error.
    fn refused_by_every_verb(&self) -> Value {
        let refused: Vec<Value> = WITH_LEDGER.iter().map(|words| self.refused(words)).collect();
        let before = self.files();
        let doctor = self.run(&["doctor", "--offline", "--format", "json"]);
        assert_eq!(doctor.status.code(), Some(1), "{}", text(&doctor));
        let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let of_ledger = |f: &&Value| f["what"] == "ledger";
        let found = doctor["findings"].as_array().unwrap().iter().find(of_ledger).unwrap();
        assert_eq!(found["state"], "bad", "{found}");
        assert!(found["detail"].as_str().unwrap().contains("the trust file pins"), "{found}");
        assert!(self.files() == before, "doctor changed something");
        assert!(refused.iter().all(|error| error == &refused[0]), "the same error, whatever the verb: {refused:#?}");
        refused[0].clone()
    }

    /// The files of the runner, and their contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.at("runner")).unwrap().map(|entry| entry.unwrap().path());
        // The log of SQLite comes and goes with whoever has the ledger open.
        let kept = entries.filter(|path| !path.to_str().unwrap().contains(".db-"));
        let mut files: Vec<_> = kept.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        files.sort();
        files
    }
}

/// Runs `promo` in a directory, without anything of this machine's environment that could change the outcome.
fn promo(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_promo"))
        .args(words)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory.join("nobody's-home"))
        .env("PROMO_ACTOR", "dana")
        .output()
        .unwrap()
}

/// What the quickstart leaves behind, made once.
fn example() -> &'static Path {
    static EXAMPLE: OnceLock<TempDir> = OnceLock::new();
    let made = EXAMPLE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let output = promo(directory.path(), &["quickstart", "shop"]);
        assert!(output.status.success(), "{}", text(&output));
        directory
    });
    made.path()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, target) = entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap();
        match std::fs::symlink_metadata(&entry).unwrap().file_type() {
            kind if kind.is_dir() => copy(&entry, &target),
            kind if kind.is_symlink() => {
                std::os::unix::fs::symlink(std::fs::read_link(&entry).unwrap(), &target).unwrap();
            }
            _ => drop(std::fs::copy(&entry, &target).unwrap()),
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

#[test]
fn every_verb_is_tried_here_or_opens_no_ledger() {
    let world = World::new();
    let help = text(&world.run(&["--help"]));
    let verbs = help.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(' ')).map(|(verb, _)| verb);
    let verbs: Vec<&str> = verbs.filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_lowercase())).collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        let tried = WITH_LEDGER.iter().any(|words| words[0] == verb);
        assert!(tried != WITHOUT_LEDGER.contains(&verb), "{verb}");
    }
}

#[test]
fn a_ledger_at_the_pinned_checkpoint_and_one_that_has_grown_since_are_taken_s0_1() {
    let world = World::new();
    let pinned = world.pin();
    let doctor = world.done(&["doctor", "--offline"]);
    assert!(doctor.contains(&format!("extend the {} that the trust file pins", pinned["size"])), "{doctor}");
    world.freeze("staging");
    world.freeze("qa");
    for words in [&["status"][..], &["plan"], &["ledger", "verify"], &["history"]] {
        world.done(words);
    }
    let now: Value = serde_json::from_str(&world.done(&["ledger", "checkpoint", "--format", "json"])).unwrap();
    assert_eq!(now["origin"], pinned["origin"]);
    assert_eq!(now["size"].as_u64().unwrap(), pinned["size"].as_u64().unwrap() + 2);
    assert_ne!(now["root"], pinned["root"]);
    // Pinned anew, it holds from there on.
    assert_eq!(world.pin(), now);
    world.done(&["status"]);
}

#[test]
fn the_lines_to_paste_say_where_they_belong_and_a_second_table_is_a_mistake() {
    let world = World::new();
    let first = world.run(&["ledger", "checkpoint"]);
    assert!(String::from_utf8_lossy(&first.stderr).contains("end of the trust file"), "{}", text(&first));
    let lines = String::from_utf8(first.stdout).unwrap();
    world.trust(&lines);
    let again = text(&world.run(&["ledger", "checkpoint"]));
    assert!(again.contains("In place of the checkpoint"), "{again}");
    world.trust(&format!("{lines}{lines}"));
    let output = world.run(&["status"]);
    assert_eq!(output.status.code(), Some(65), "{}", text(&output));
    // Of a ledger without a record nothing could be pinned.
    world.trust("");
    world.remove_ledger();
    let output = world.run(&["ledger", "checkpoint"]);
    assert_eq!(output.status.code(), Some(65), "{}", text(&output));
    assert!(text(&output).contains("nothing to pin"), "{}", text(&output));
}

#[test]
fn a_deleted_or_emptied_ledger_is_missed_by_every_verb_and_never_made_anew_s0_1() {
    let world = World::new();
    let pinned = world.pin();
    std::fs::remove_file(world.ledger()).unwrap();
    let error = world.refused_by_every_verb();
    assert_eq!(error["found"], "no ledger", "{error}");
    assert!(error["expected"].as_str().unwrap().contains(pinned["root"].as_str().unwrap()), "{error}");
    for content in ["", "not a database, for once"] {
        std::fs::write(world.ledger(), content).unwrap();
        let error = world.refused(&["status"]);
        assert!(error["message"].as_str().unwrap().ends_with("the file that lies there is no ledger"), "{error}");
        assert_eq!(error["found"], "a file that is no ledger", "{error}");
        world.refused(&["freeze", "--reason", "a test"]);
        assert_eq!(world.run(&["doctor", "--offline"]).status.code(), Some(1));
    }
    // With its directory, which is not made either.
    std::fs::remove_file(world.ledger()).unwrap();
    let trust = std::fs::read_to_string(world.at("runner/trust.toml")).unwrap();
    std::fs::write(world.at("runner/trust.toml"), trust.replace("\"ledger.db\"", "\"gone/ledger.db\"")).unwrap();
    let output = world.run(&["freeze", "--reason", "a test"]);
    assert_eq!(output.status.code(), Some(30), "{}", text(&output));
    assert!(!world.at("runner/gone").exists());
}

#[test]
fn a_ledger_of_another_origin_is_refused_by_every_verb_s0_1() {
    let world = World::new();
    let pinned = world.pin();
    // Whoever removes the trust file's line, and all that is left of the ledger, gets a fresh one there; whoever pinned the old
    // one notices.
    let trust = std::fs::read(world.at("runner/trust.toml")).unwrap();
    world.remove_ledger();
    world.trust("");
    world.done(&["release", "add", "shop=1.0.0", "--alias", "1.0.0"]);
    for _ in 0..pinned["size"].as_u64().unwrap() {
        world.freeze("qa");
    }
    std::fs::write(world.at("runner/trust.toml"), trust).unwrap();
    let error = world.refused_by_every_verb();
    assert!(error["message"].as_str().unwrap().contains("another origin"), "{error}");
    assert!(!error["found"].as_str().unwrap().contains(pinned["origin"].as_str().unwrap()), "{error}");
}

#[test]
fn a_ledger_that_was_rolled_back_behind_the_pin_is_refused_by_every_verb_s0_1() {
    let world = World::new();
    std::fs::copy(world.ledger(), world.at("old.db")).unwrap();
    world.freeze("staging");
    world.pin();
    std::fs::rename(world.at("old.db"), world.ledger()).unwrap();
    let error = world.refused_by_every_verb();
    assert!(error["message"].as_str().unwrap().contains("and the pin says"), "{error}");
    // It grows past the pin with other records: by its own account it is sound, and it is another one.
    let trust = std::fs::read(world.at("runner/trust.toml")).unwrap();
    world.trust("");
    world.freeze("qa");
    world.freeze("production");
    world.done(&["ledger", "verify"]);
    std::fs::write(world.at("runner/trust.toml"), trust).unwrap();
    let error = world.refused_by_every_verb();
    assert!(error["message"].as_str().unwrap().contains("records are others"), "{error}");
}

#[test]
fn a_pin_holds_through_links_and_in_a_directory_that_cannot_be_written_s0_1() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.pin();
    // The place of the ledger is relative to the trust file as it is named, so it is reached by either.
    std::fs::create_dir(world.at("etc")).unwrap();
    for file in ["trust.toml", "policy.toml", "ledger.db"] {
        std::os::unix::fs::symlink(world.at("runner").join(file), world.at("etc").join(file)).unwrap();
    }
    let linked = |words: &[&str]| world.run_under("etc/trust.toml", words);
    assert_eq!(linked(&["status"]).status.code(), Some(0));

    let mode = |mode| std::fs::set_permissions(world.at("runner"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    world.done(&["status"]);
    world.done(&["ledger", "verify"]);
    mode(0o700);
    std::fs::remove_file(world.ledger()).unwrap();
    mode(0o500);
    for run in [world.run(&["status"]), linked(&["status"]), world.run(&["freeze", "--reason", "a test"])] {
        assert_eq!(run.status.code(), Some(30), "{}", text(&run));
        assert!(text(&run).contains("there is none"), "{}", text(&run));
    }
    assert!(!world.ledger().exists());
    mode(0o700);
}
