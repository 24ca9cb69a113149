//! The built binary from outside: the table of verb by outcome of S14. Every case runs in a copy of what `promo quickstart`
//! leaves behind, so each of them starts from a ledger with a history.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs `promo` in a directory, without anything of this machine's environment that could change the outcome.
#[expect(clippy::disallowed_methods, reason = "the binary under test is run from outside, as a user runs it")]
fn promo(directory: &Path, words: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_promo"))
        .args(words)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory.join("nobody's-home"))
        .env("PROMO_POLICY", "policy.toml")
        .env("PROMO_ACTOR", "dana")
        .output()
        .expect("the binary runs")
}

/// What the quickstart leaves behind, made once.
fn example() -> &'static Path {
    static EXAMPLE: OnceLock<TempDir> = OnceLock::new();
    let made = EXAMPLE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let output = promo(directory.path(), &["quickstart", "example"]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "quickstart\n{out}\n{err}");
        directory
    });
    made.path()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, target) = entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap();
        let kind = std::fs::symlink_metadata(&entry).unwrap().file_type();
        if kind.is_dir() {
            copy(&entry, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&entry).unwrap(), &target).unwrap();
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// Whether the page of exit codes lists this one for the verb: 0 for every verb, those that every verb can end with, and
/// the numbers of its row.
fn documented(words: &[&str], code: i32) -> bool {
    const PAGE: &str = include_str!("../../../docs/reference/exit-codes.md");
    if matches!(code, 0 | 30 | 64 | 65 | 74) {
        return true;
    }
    let rows = PAGE.split("## By verb").nth(1).and_then(|text| text.split("## Writing verbs").next()).unwrap();
    let row = |verb: &str| {
        let named = format!("`{verb}`");
        let of = |line: &&str| line.split('|').nth(1).is_some_and(|verbs| verbs.contains(&named));
        rows.lines().find(of).unwrap_or_else(|| panic!("no row for {verb}"))
    };
    let lists = |row: &str| {
        let numbers = row.split(|c: char| !c.is_ascii_digit());
        numbers.filter_map(|number| number.parse().ok()).any(|number: i32| number == code)
    };
    let row_of_verb = row(words[0]);
    lists(row_of_verb) || row_of_verb.contains("as `apply`") && lists(row("apply"))
}

#[test]
fn every_verb_has_a_row_in_the_page_of_exit_codes_s14() {
    let help = promo(example(), &["--help"]);
    let (out, _) = texts(&help);
    let verbs = out.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(' ')).map(|(verb, _)| verb);
    let verbs: Vec<&str> = verbs.filter(|v| v.chars().all(|c| c.is_ascii_lowercase()) && !v.is_empty()).collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        // No verb ends with 99; what is asked here is that it has a row.
        let second = if verb == "ledger" { "ledger verify" } else { verb };
        assert!(!documented(&[second], 99));
    }
}

#[test]
fn the_rows_that_no_story_reaches_s14() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    world.run(0, &["show", "p.json"]);
    world.refuses(
        21,
        "approval-refused",
        &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in", "--role", "x"],
    );
    world.run(0, &["freeze", "qa", "--reason", "a test"]);
    world.refuses(65, "request-invalid", &["freeze", "qaa", "--reason", "a test"]);
    world.run(0, &["unfreeze", "qa", "--reason", "a test"]);
    world.refuses(65, "request-invalid", &["unfreeze", "qa", "--reason", "a test"]);
    world.run(0, &["release", "reject", "1.2.0", "--environment", "qa", "--reason", "a test"]);
    world.run(0, &["release", "lift", "1.2.0", "--environment", "qa", "--reason", "a test"]);
    world.refuses(65, "request-invalid", &["release", "lift", "1.2.0", "--reason", "a test"]);
    world.refuses(65, "request-invalid", &["resume", "0123456789abcdef"]);
    world.refuses(65, "request-invalid", &["cancel", "0123456789abcdef"]);
    world.refuses(65, "request-invalid", &["rollback", "prod"]);
    world.run(0, &["check", "--strict"]);
    world.run(0, &["fmt"]);
    world.run(0, &["fmt", "--check"]);
    world.edit("promo.toml", "format = 1", "format   =   1");
    world.run(1, &["fmt", "--check"]);
    // What was deployed is no longer enough: the check fails when it is run again.
    world.write("environments/qa/current/templates/service.toml", "");
    world.run(21, &["verify", "qa"]);
    world.write("promo.toml", "format = ");
    world.refuses(65, "config-invalid", &["graph"]);
    world.refuses(65, "config-invalid", &["fmt"]);
    world.run(1, &["doctor", "--offline"]);
}

/// A copy of the example.
struct World {
    _keep: TempDir,
    at: PathBuf,
}

impl World {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let at = keep.path().join("example");
        copy(&example().join("example"), &at);
        Self { _keep: keep, at }
    }

    /// Runs a verb, and holds what is true of every verb: the exit code, and for a failure the code, the page and the next
    /// command of S14. Returns the answer as JSON where it is one document.
    fn run(&self, expected: i32, words: &[&str]) -> Value {
        let json: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
        let output = promo(&self.at, &json);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(expected), "promo {}\n{out}\n{err}", words.join(" "));
        assert!(
            documented(words, expected),
            "docs/reference/exit-codes.md lists {expected} for promo {}",
            words.join(" ")
        );
        let value = serde_json::from_str(&out).unwrap_or(Value::Null);
        if value["kind"] == "promo.error" {
            assert_eq!(value["exit"], expected, "the same exit code in JSON: {out}");
            let code = value["code"].as_str().unwrap();
            assert_eq!(promo(&self.at, &["explain", code]).status.code(), Some(0), "{code} has a page");
        }
        value
    }

    /// As [`World::run`], and the error has this code and ends its text with a command.
    fn refuses(&self, expected: i32, code: &str, words: &[&str]) -> Value {
        let output = promo(&self.at, words);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(expected), "promo {}\n{out}\n{err}", words.join(" "));
        assert!(err.contains(&format!("error[{code}]")), "promo {}: {err}", words.join(" "));
        assert!(err.lines().last().unwrap().starts_with("Next: promo"), "{err}");
        let value = self.run(expected, words);
        assert_eq!(value["code"], code);
        value
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.at.join(path), text).unwrap();
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.at.join(path)).unwrap();
        assert!(text.contains(from), "{path} contains {from}: {text}");
        self.write(path, &text.replace(from, to));
    }

    /// A release that needs so many workers, taken as far as staging.
    fn release(&self, alias: &str, workers: u32) {
        self.write("config/common.env", &format!("NEEDS_WORKERS={workers}\n# {alias}\n"));
        self.run(0, &["release", "add", "shop=1.0.0", "--alias", alias]);
        self.run(0, &["advance"]);
    }

    fn plan(&self, file: &str) {
        self.run(0, &["plan", "production", "--out", file]);
    }

    /// Dana asks for the approval of a plan, with her key.
    fn ask(&self, file: &str) {
        let asked = self.run(0, &["request", file, "--key", "keys/dana", "--signer", "built-in"]);
        assert_eq!(asked["identity"], "dana", "{asked}");
    }

    fn approve(&self, file: &str) {
        self.ask(file);
        self.run(0, &["approve", file, "--key", "keys/riley", "--signer", "built-in"]);
    }
}

#[test]
fn what_only_reads_ends_with_0_and_writes_nothing_s0_6() {
    let world = World::new();
    let ledger = std::fs::read(world.at.join(".promo/ledger.db")).unwrap();
    for words in [
        &["status"][..],
        &["history"],
        &["runs"],
        &["why", "production"],
        &["why", "production", "1.0.0"],
        &["plan"],
        &["graph"],
        &["check"],
        &["release", "list"],
        &["release", "show", "1.1.0"],
        &["rollback", "staging"],
        &["ledger", "verify"],
        &["explain", "waiting"],
        &["explain", "--list"],
        &["schema", "pipeline"],
        &["schema", "policy"],
        &["schema", "trust"],
        &["schema", "plan"],
        &["doctor", "--offline"],
    ] {
        let value = world.run(0, words);
        assert!(value.is_object() || value.is_array(), "promo {} answers with one JSON document", words.join(" "));
        let (out, err) = texts(&promo(&world.at, words));
        assert!(!out.is_empty(), "promo {}", words.join(" "));
        assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "no colour into a pipe: {out}{err}");
        assert_eq!(std::fs::read(world.at.join(".promo/ledger.db")).unwrap(), ledger, "promo {}", words.join(" "));
    }
}

#[test]
fn plans_are_drawn_as_one_page_and_graphs_as_one_picture_r30() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    for words in [&["show", "p.json"][..], &["plan", "production"], &["rollback", "staging"]] {
        let words: Vec<&str> = words.iter().copied().chain(["--format", "html"]).collect();
        let output = promo(&world.at, &words);
        let (page, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{page}{err}");
        assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{page}");
    }
    let (picture, _) = texts(&promo(&world.at, &["graph", "--syntax", "svg"]));
    assert!(picture.starts_with("<svg ") && picture.contains("✓ verified") && picture.contains("1.2.0)"), "{picture}");
    let output = promo(&world.at, &["status", "--format", "html"]);
    assert_eq!(output.status.code(), Some(64), "{:?}", texts(&output));
}

#[test]
fn real_plans_are_what_the_schema_of_plans_says() {
    let world = World::new();
    let validator = jsonschema::validator_for(&world.run(0, &["schema", "plan"])).unwrap();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.run(0, &["plan", "--out", "all.json"]);
    world.run(0, &["rollback", "staging", "--out", "back.json"]);
    for file in ["p.json", "all.json", "back.json"] {
        let text = std::fs::read_to_string(world.at.join(file)).unwrap();
        let plan: Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&plan).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
        for (place, name) in [("/body", "more"), ("/body/request", "more"), ("", "more")] {
            let mut other = plan.clone();
            other.pointer_mut(place).unwrap()[name] = 1.into();
            assert!(!validator.is_valid(&other), "{file}: an unknown field of {place:?}");
        }
    }
}

#[test]
fn a_run_is_shown_again_from_the_ledger() {
    let world = World::new();
    let runs = world.run(0, &["runs"]);
    let run = runs["runs"].as_array().unwrap().iter().find(|r| r["outcome"] == "rolled-back").unwrap();
    let id = run["run"].as_str().unwrap();
    let view = world.run(0, &["show", id]);
    let row = &view["environments"][0];
    assert_eq!(
        (&view["kind"], &view["outcome"], &row["outcome"]),
        (&"promo.run.view".into(), &"rolled-back".into(), &"rolled-back".into())
    );
    assert_eq!(row["steps"].as_array().unwrap().len(), 4, "the steps of the way back are among them: {row}");
    let said: Vec<bool> = row["checks"].as_array().unwrap().iter().map(|c| c["passed"].as_bool().unwrap()).collect();
    assert_eq!(said, [false, true], "what entered failed, what it went back to passed");
    let (text, _) = texts(&promo(&world.at, &["show", id]));
    assert!(text.contains("failed and was rolled back") && text.contains("the release needs 6"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("Next: promo --policy policy.toml why production"), "{text}");
    let (page, _) = texts(&promo(&world.at, &["show", id, "--format", "markdown"]));
    assert!(page.contains("| `production` |"), "{page}");
    world.refuses(65, "nothing-selected", &["show", &"0".repeat(32)]);
}

#[test]
fn a_file_that_never_was_a_plan_is_65_and_a_damaged_plan_is_30() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    for (name, text) in
        [("a.json", "{\n  \"name\": \"x\"\n}\n"), ("a.toml", "a = 1\n"), ("a.bin", "\u{0}\u{1}"), ("empty", "")]
    {
        world.write(name, text);
        for verb in ["show", "request", "apply"] {
            world.refuses(65, "plan-unreadable", &[verb, name]);
        }
    }
    let whole = std::fs::read_to_string(world.at.join("p.json")).unwrap();
    world.write("cut.json", &whole[..whole.len() / 2]);
    world.refuses(30, "plan-unreadable", &["show", "cut.json"]);
    let pretty: Value = serde_json::from_str(&whole).unwrap();
    world.write("pretty.json", &serde_json::to_string_pretty(&pretty).unwrap());
    world.refuses(30, "plan-unreadable", &["show", "pretty.json"]);
}

#[test]
fn a_change_goes_from_waiting_to_done_and_is_spent_then() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.run(20, &["plan", "production", "--detailed-exitcode"]);
    world.plan("p.json");
    world.refuses(20, "waiting", &["apply", "p.json"]);
    world.ask("p.json");
    world.refuses(20, "waiting", &["apply", "p.json"]);
    world.approve("p.json");
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    world.refuses(30, "plan-other-digest", &["apply", "p.json", "--expect-digest", other]);
    world.run(0, &["apply", "p.json"]);
    world.refuses(22, "plan-spent", &["apply", "p.json"]);
    world.run(0, &["plan", "production", "--detailed-exitcode"]);
    world.run(0, &["verify", "production"]);
}

#[test]
fn something_to_apply_is_2_where_it_was_asked_for() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan"]);
    world.run(2, &["plan", "--detailed-exitcode"]);
    world.run(0, &["advance"]);
}

#[test]
fn a_failure_is_rolled_back_with_40_or_held_with_41_s9_6() {
    let world = World::new();
    world.release("1.2.0", 6);
    world.plan("p.json");
    world.approve("p.json");
    world.run(40, &["apply", "p.json"]);
    let why = world.run(0, &["why", "production", "1.2.0"]);
    assert!(why.to_string().contains("quarantined"), "{why}");

    let world = World::new();
    world.release("1.2.0", 6);
    world.edit("promo.toml", "on_failure = \"rollback\"", "on_failure = \"hold\"");
    world.plan("p.json");
    world.approve("p.json");
    world.run(41, &["apply", "p.json"]);
}

#[test]
fn an_approval_beside_the_plan_counts_s0_5() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.plan.json");
    let signer = ["--key", "keys/riley", "--signer", "built-in"];
    world.ask("p.plan.json");
    let words = ["approve", "p.plan.json", "--out", "p.plan.riley.approval.json"];
    world.run(0, &[&words[..], &signer[..]].concat());
    world.run(0, &["apply", "p.plan.json"]);
}

#[test]
fn whose_request_it_is_only_a_signature_says_s6_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    let (out, _) = texts(&promo(&world.at, &["plan", "production", "--out", "p.json"]));
    assert!(out.contains("request p.json --key KEY"), "{out}");
    let approve = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"];
    for words in [&["request", "p.json"][..], &approve, &[&approve[..], &["--out", "yes.json"]].concat()] {
        let error = world.refuses(21, "request-unsigned", words);
        assert!(error["next"].as_str().unwrap().ends_with("request p.json --key KEY"), "{error}");
    }
    assert!(!world.at.join("yes.json").exists());
    // Riley asks under dana's name, and approves.
    let asked = world.run(0, &["request", "p.json", "--key", "keys/riley", "--signer", "built-in", "--as", "dana"]);
    assert_eq!(asked["identity"], "riley", "{asked}");
    world.run(0, &approve);
    let error = world.refuses(20, "waiting", &["apply", "p.json", "--as", "dana"]);
    assert!(error["details"].to_string().contains("riley may not approve this, being its initiator"), "{error}");
}

#[test]
fn a_request_is_worth_what_its_key_is_worth_now_s12_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let key = std::fs::read_to_string(world.at.join("keys/dana.pub")).unwrap();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOuHChF4XZsNQJb4z52kdbxHheoyRgGGRlO5alqZiNVH";
    world.edit("policy.toml", key.trim(), other);
    world.edit("policy.toml", "version = 1", "version = 2");
    let why = world.run(0, &["why", "production"]);
    assert!(why["uncounted"].to_string().contains("counts as a request that nobody signed: the key SHA256:"), "{why}");
    let (out, _) = texts(&promo(&world.at, &["why", "production"]));
    assert!(out.contains("counts as a request that nobody signed"), "{out}");
    let (_, err) = texts(&promo(&world.at, &["plan", "production", "--out", "q.json"]));
    assert!(err.contains("warning") && err.contains("counts as a request that nobody signed"), "{err}");
    // The key that policy no longer knows signs nothing either.
    world.refuses(21, "approval-refused", &["request", "q.json", "--key", "keys/dana", "--signer", "built-in"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the binary under test is run from outside, as a user runs it")]
fn a_suggested_command_can_be_pasted_without_anything_exported_s14() {
    let world = World::new();
    world.release("1.2.0", 3);
    let above = world.at.parent().unwrap();
    let bare = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_promo"));
        command.args(words).current_dir(above).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", above.join("nobody's-home"));
        // A person plans: without a name it would be a job, and production starts by hand.
        command.env("PROMO_ACTOR", "dana");
        command.output().expect("the binary runs")
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
        let next = next.replace("--key KEY", &format!("--key keys/{who} --signer built-in"));
        let pasted = bare(&next.split(' ').collect::<Vec<_>>());
        assert!(!matches!(pasted.status.code(), Some(64 | 65)), "{next}: {:?}", texts(&pasted));
    }
}

#[test]
fn a_rejection_denies_with_21_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    let reject = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in", "--decision", "reject"];
    world.run(0, &reject);
    world.refuses(21, "denied", &["apply", "p.json"]);
}

#[test]
fn what_moved_since_the_plan_is_named_with_22_s8_2() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    world.write("config/production.env", "WORKERS=5\n");
    let error = world.refuses(22, "plan-stale", &["apply", "p.json"]);
    assert!(error["details"].to_string().contains("config/production.env"), "{error}");
}

#[test]
fn an_edited_plan_and_a_damaged_ledger_are_30() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.edit("p.json", "\"initiator\":\"dana\"", "\"initiator\": \"dana\"");
    for verb in ["show", "request", "apply"] {
        world.refuses(30, "plan-unreadable", &[verb, "p.json"]);
    }
    let path = world.at.join(".promo/ledger.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // Everywhere: the database keeps stale copies in pages that it has split.
    let needle = b"release.added";
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
    assert!(!places.is_empty(), "records of releases");
    for place in places {
        bytes[place] = b'R';
    }
    std::fs::write(&path, bytes).unwrap();
    world.refuses(30, "ledger-damaged", &["ledger", "verify"]);
}

#[test]
fn a_wrong_command_line_is_64_with_a_suggestion() {
    let world = World::new();
    let error = world.refuses(64, "usage", &["plann"]);
    assert!(error["details"].to_string().contains("'plan'"), "{error}");
    world.refuses(64, "usage", &["why"]);
    world.refuses(64, "usage", &["status", "--timezone", "Europe/Berlim"]);
    world.refuses(64, "usage", &["explain", "waitin"]);
    world.refuses(64, "not-interactive", &["apply"]);
}

#[test]
fn wrong_files_and_names_are_65_with_their_place() {
    let world = World::new();
    world.refuses(65, "request-invalid", &["plan", "prod"]);
    world.refuses(65, "nothing-selected", &["release", "show", "9.9.9"]);
    world.refuses(65, "file-unreadable", &["show", "missing.json"]);
    world.refuses(65, "exists-already", &["quickstart", "."]);
    world.edit("promo.toml", "verify = [\"smoke\"]", "verifi = [\"smoke\"]");
    let error = world.refuses(65, "config-invalid", &["check"]);
    let all = error["diagnostics"].as_array().expect("every diagnostic at once");
    let first = all.iter().find(|d| d["code"] == "config-unknown-key").expect("the key that means nothing");
    assert_eq!(first["file"], "promo.toml");
    assert_eq!(first["suggestion"], "verify");
    assert!(first["line"].as_u64().unwrap() > 1 && first["excerpt"].as_str().unwrap().contains("verifi"), "{first}");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(promo(empty.path(), &["status"]).status.code(), Some(65), "no pipeline");
}

#[test]
fn nobody_picks_their_own_judge_s0_1() {
    let world = World::new();
    let trust = "format = 1\nledger = \"ledger.db\"\n\n[policy]\npath = \"policy.toml\"\n";
    world.write("trust.toml", trust);
    world.refuses(65, "trust-in-repository", &["status", "--trust", "trust.toml"]);
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("trust.toml");
    std::fs::write(&path, trust).unwrap();
    std::fs::copy(world.at.join("policy.toml"), outside.path().join("policy.toml")).unwrap();
    let path = path.to_str().unwrap();
    world.refuses(65, "trust-differs", &["status", "--trust", path]);
    let named = outside.path().join("policy.toml");
    world.run(0, &["status", "--trust", path, "--policy", named.to_str().unwrap()]);
}

#[test]
fn a_policy_of_a_lower_version_is_refused_once_a_verb_wrote_under_a_higher_one_s7_1() {
    let world = World::new();
    world.edit("policy.toml", "version = 1", "version = 2");
    world.run(0, &["status"]);
    world.edit("policy.toml", "version = 2", "version = 1");
    world.run(0, &["status"]);
    world.edit("policy.toml", "version = 1", "version = 2");
    world.run(0, &["freeze", "production", "--reason", "a test"]);
    let text = std::fs::read_to_string(world.at.join("policy.toml")).unwrap();
    world.write("policy.toml", &format!("{text}\n# changed\n"));
    world.refuses(65, "policy-reused", &["status"]);
    world.write("policy.toml", &text);
    world.edit("policy.toml", "version = 2", "version = 1");
    for words in [&["status"][..], &["plan"], &["advance"], &["unfreeze", "production", "--reason", "a test"]] {
        let error = world.refuses(65, "policy-replaced", words);
        assert!(error["expected"].as_str().unwrap().starts_with("v2 sha256:"), "{error}");
        assert!(error["found"].as_str().unwrap().starts_with("v1 sha256:"), "{error}");
    }
}

#[test]
fn a_ledger_keeps_its_policy_also_when_the_tier_is_lowered_or_the_policy_is_renamed_s7_1() {
    let world = World::new();
    world.edit("policy.toml", "name    = \"quickstart\"", "name    = \"another\"");
    for words in [&["status"][..], &["plan"], &["advance"], &["freeze", "production", "--reason", "a test"]] {
        let error = world.refuses(65, "policy-not-adopted", words);
        assert!(error["expected"].as_str().unwrap().starts_with("quickstart v1 sha256:"), "{error}");
        assert!(error["found"].as_str().unwrap().starts_with("another v1 sha256:"), "{error}");
    }
}

#[test]
fn what_is_no_ledger_is_74_and_a_ledger_that_was_cut_off_is_30() {
    let world = World::new();
    world.refuses(74, "ledger-unusable", &["status", "--ledger", "config"]);
    let error = world.refuses(74, "ledger-unusable", &["status", "--ledger", "promo.toml"]);
    assert!(error["causes"].to_string().contains("promo.toml is not a promo ledger"), "{error}");
    let whole = std::fs::read(world.at.join(".promo/ledger.db")).unwrap();
    for kept in [10, 100, whole.len() / 2] {
        std::fs::write(world.at.join("cut.db"), &whole[..kept]).unwrap();
        world.refuses(30, "ledger-damaged", &["ledger", "verify", "--ledger", "cut.db"]);
    }
}

/// A server that answers every request with the status that `answer` gives for its number, from 0, and wants no pause.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn new(answer: impl Fn(usize) -> u16 + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                let _head = head.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
                let status = answer(seen.fetch_add(1, SeqCst));
                let end = "content-length: 0\r\nretry-after: 0\r\nconnection: close\r\n\r\n";
                let _gone = stream.write_all(format!("HTTP/1.1 {status} it\r\n{end}").as_bytes());
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

/// A release that can enter staging, which has a mirror on the server.
fn mirrored(server: &Server) -> World {
    let world = World::new();
    let mirror = format!("tier   = \"staging\"\nmirror = {{ \"oci-layout:registry\" = \"{}/m\" }}", server.address);
    world.release("1.2.0", 3);
    world.write("config/staging.env", "WORKERS=5\n");
    world.edit("promo.toml", "tier   = \"staging\"", &mirror);
    world
}

#[test]
fn a_registry_that_is_busy_for_too_long_is_75_and_the_run_can_be_resumed_s13_6() {
    let good = Arc::new(AtomicUsize::new(usize::MAX));
    let limit = good.clone();
    let server = Server::new(move |request| if request < limit.load(SeqCst) { 404 } else { 503 });
    let world = mirrored(&server);
    world.run(0, &["plan", "staging", "--out", "p.json"]);
    // Apply looks as often as the plan did before it begins; from then on the registry is busy.
    let looked = server.requests();
    assert!(looked > 0, "the mirror was looked at");
    good.store(2 * looked, SeqCst);
    let output = promo(&world.at, &["apply", "p.json"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(75), "{out}{err}");
    let next = out.lines().last().unwrap().strip_prefix("Next: promo --policy policy.toml ").expect("what to do");
    let words: Vec<&str> = next.split(' ').collect();
    assert_eq!(words[0], "resume");
    world.run(75, &words);
    world.run(0, &["cancel", words[1]]);
    world.refuses(65, "request-invalid", &["cancel", words[1]]);
    // What is refused before anything began says so with a document of its own.
    world.edit("promo.toml", "image = \"oci-layout:registry/shop\"", &format!("image = \"{}/shop\"", server.address));
    world.refuses(75, "provider-transient", &["release", "add", "shop=1.1.0", "--alias", "1.3.0"]);
}

#[test]
fn offline_reaches_no_server_and_says_what_it_does_not_know() {
    let server = Server::new(|_| 404);
    let world = mirrored(&server);
    world.edit("promo.toml", "image = \"oci-layout:registry/shop\"", &format!("image = \"{}/shop\"", server.address));
    world.write("p.json", "{}");
    let run = "0123456789abcdef0123456789abcdef";
    for words in [
        &["apply", "p.json"][..],
        &["advance"],
        &["resume", run],
        &["verify", "staging"],
        &["release", "add", "shop=1.1.0"],
    ] {
        world.refuses(64, "offline", &[words, &["--offline"]].concat());
    }
    for words in [&["plan"][..], &["plan", "staging"], &["rollback", "staging"], &["status"], &["why", "staging"]] {
        world.run(0, &[words, &["--offline"]].concat());
    }
    world.run(0, &["doctor", "--offline"]);
    assert_eq!(server.requests(), 0, "no server was asked");
}

#[test]
fn what_was_merged_is_a_forecast_that_nobody_can_apply_s0_5() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=4\n");
    let ledger = std::fs::read(world.at.join(".promo/ledger.db")).unwrap();
    let forecast = world.run(0, &["plan", "--if-merged"]);
    assert_eq!(forecast["if_merged"], json!([{"path": "config/common.env", "change": "changed"}]));
    assert_eq!(std::fs::read(world.at.join(".promo/ledger.db")).unwrap(), ledger);
    for format in ["text", "markdown", "html"] {
        let (out, _) = texts(&promo(&world.at, &["plan", "--if-merged", "--format", format]));
        assert!(out.contains("cannot be requested or applied") && out.contains("changed config/common.env"), "{out}");
        assert!(!out.contains("promo apply"), "{out}");
    }
    world.refuses(64, "usage", &["plan", "--if-merged", "--out", "p.json"]);
    world.write("p.json", &forecast.to_string());
    for verb in ["request", "apply"] {
        let error = world.refuses(65, "plan-unreadable", &[verb, "p.json"]);
        assert!(error["causes"].to_string().contains("promo.plan.view"), "{error}");
    }
}

/// The events of a file: numbered from 0, timed, `hello` first and `summary` last.
fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], number, "{text}");
        assert!(event["time"].is_string() && event["event"].is_string(), "{event}");
    }
    assert_eq!((&events[0]["event"], &events[0]["format"]), (&json!("hello"), &json!(1)));
    assert_eq!(events.last().unwrap()["event"], "summary");
    assert_eq!(events.iter().filter(|e| e["event"] == "summary").count(), 1);
    events
}

#[test]
fn the_view_and_the_events_can_be_had_at_once() {
    let world = World::new();
    world.release("1.2.0", 6);
    world.plan("p.json");
    let file = world.at.join("events");
    let (out, _) = texts(&promo(&world.at, &["apply", "p.json", "--events", "events"]));
    assert!(!out.contains('{'), "people are answered: {out}");
    let refused = events(&file);
    assert_eq!(refused[1]["event"], "error");
    assert_eq!((&refused[1]["code"], &refused[2]["exit"]), (&json!("waiting"), &json!(20)));

    world.approve("p.json");
    let output = promo(&world.at, &["apply", "p.json", "--events", "events", "--format", "json"]);
    let all = events(&file);
    let (out, err) = texts(&output);
    assert_eq!(out, std::fs::read_to_string(&file).unwrap(), "the same on standard output: {err}");
    let run = all.iter().find(|e| e["event"] == "run-started").unwrap()["run"].clone();
    assert!(all[2..].iter().all(|e| e["event"] == "summary" || e["run"] == run), "{out}");
    for (event, key) in
        [("step-started", "step"), ("step-done", "milliseconds"), ("check-done", "passed"), ("rolling-back", "to")]
    {
        assert!(all.iter().any(|e| e["event"] == event && !e[key].is_null()), "{event}: {out}");
    }
    let finished = all.iter().find(|e| e["event"] == "run-finished").unwrap();
    assert_eq!((&finished["kind"], &finished["exit"]), (&json!("promo.run"), &json!(40)));
    let summary = all.last().unwrap();
    assert_eq!((&summary["exit"], &summary["runs"]), (&json!(40), &json!([run])));

    promo(&world.at, &["status", "--events", "events"]);
    assert_eq!(events(&file).len(), 2, "every verb has them");
    world.refuses(65, "file-unreadable", &["status", "--events", "config"]);
}

#[test]
fn what_init_writes_is_a_pipeline_that_check_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let image = ["--image", "registry.example/shop/api", "--name", "shop"];
    for environments in ["staging,production", "dev,staging,production", "dev,qa,perf,staging,production"] {
        let at = directory.path().join(environments.replace(',', "-"));
        std::fs::create_dir(&at).unwrap();
        let words: Vec<&str> = ["init", "--environments", environments].into_iter().chain(image).collect();
        for (words, expected) in [(&words[..], 0), (&["check"], 0), (&["fmt", "--check"], 0), (&words[..], 65)] {
            let output = promo(&at, words);
            let (out, err) = texts(&output);
            assert_eq!(output.status.code(), Some(expected), "{environments}: promo {}\n{out}{err}", words.join(" "));
        }
    }
}

#[test]
fn what_init_writes_can_be_approved_by_the_one_person_who_is_there() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    copy(&world.at.join("registry"), &at.join("registry"));
    std::fs::write(at.join(".gitignore"), "target").unwrap();
    let (private, public) = (world.at.join("keys/riley"), world.at.join("keys/riley.pub"));
    let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
    let image = ["--image", "oci-layout:registry/shop", "--name", "shop", "--environments", "staging,production"];
    let init: Vec<&str> = ["init", "--key", public].into_iter().chain(image).collect();
    for words in [
        &init[..],
        &["release", "add", "app=1.0.0"],
        &["advance"],
        &["plan", "production", "--out", "p.json"],
        &["request", "p.json"],
        &["approve", "p.json", "--key", private, "--signer", "built-in"],
    ] {
        let output = promo(at, words);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "promo {}\n{out}{err}", words.join(" "));
    }
    assert_eq!(std::fs::read_to_string(at.join(".gitignore")).unwrap(), "target\n.promo/\n");
    // The window of the example may be closed now; the approval is there.
    let (_, err) = texts(&promo(at, &["apply", "p.json"]));
    assert!(!err.contains("approval 0 of 1"), "{err}");
    // A suggestion says which policy is meant.
    let (out, _) = texts(&promo(at, &["check"]));
    assert!(out.contains("Next: promo --policy policy.toml graph"), "{out}");
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
