//! What every verb can end with, whatever it does: a wrong line, a wrong file, a ledger that is damaged, busy or none.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::{World, command, promo, texts};
use crate::outcomes::{self, Mark};

/// A line of every verb that would get as far as the ledger, if the verb has one.
fn lines(run: &str) -> Vec<Vec<String>> {
    let text = format!("
        quickstart made | init --image registry.example/shop/app | fmt --check | check | graph | doctor --offline
        plan | show {run} | request p.json | approve p.json --key keys/riley --signer built-in | apply p.json | advance
        rollback staging | release add shop=1.0.0 | release list | release show 1.0.0 | release reject 1.1.0 --reason no
        release recall sha256:3f9c2b1ac0de3f9c2b1ac0de3f9c2b1ac0de3f9c2b1ac0de3f9c2b1ac0de3f9c --reason no
        release authors 1.1.0 --author dana --key keys/riley --signer built-in
        evidence add junit.xml --release 1.1.0 | evidence collect | evidence withdraw 3f9c2b1 --reason no
        release lift 1.1.0 --reason no | verify qa | verdict pass qa uat --key keys/riley --signer built-in
        freeze qa --reason no | unfreeze qa --reason no | runs | resume {run} | cancel {run} | status | why production | history | drift | diff qa staging | adopt qa
        ledger verify | ledger checkpoint | ledger accept-clock --reason no
        explain waiting | schema pipeline | completions bash
    ");
    let line = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = text.split(['|', '\n']).map(line).filter(|line| !line.is_empty()).collect();
    let verbs = lines.iter().map(|line| outcomes::verb(&words(line)).expect("a verb"));
    assert_eq!(verbs.collect::<BTreeSet<_>>(), outcomes::table().keys().cloned().collect(), "a line of every verb");
    lines
}

fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

/// Runs a line with more flags. It ends with the code, as text and as JSON, where the page documents that for its verb, and
/// otherwise with another one that is documented.
fn ends(world: &World, code: i32, line: &[String], more: &[&str]) {
    let line = [&words(line)[..], more].concat();
    let documented = outcomes::table()[&outcomes::verb(&line).unwrap()].get(&code) == Some(&Mark::Promo);
    for format in ["text", "json"] {
        let line = [&line[..], &["--format", format]].concat();
        let output = promo(&world.at, &line);
        let reached = output.status.code() == Some(code);
        assert_eq!(reached, documented, "{code} of {line:?}: {:?}", texts(&output));
    }
}

#[test]
fn every_verb_ends_as_documented_when_line_file_or_ledger_are_not_right_s14() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.write("junit.xml", include_str!("../../../promo-providers/src/reports/samples/junit/pytest-green.xml"));
    let lines = lines(&world.newest_run());
    for line in &lines {
        ends(&world, 64, line, &["--no-such-flag"]);
        ends(&world, 65, line, &["-C", "nowhere"]);
        ends(&world, 74, line, &["--ledger", "promo.toml"]);
    }
    // A ledger that somebody keeps to themselves. All wait for it at once: each gives up after the same time.
    let ledger = rusqlite::Connection::open(world.at.join(".promo/ledger.db")).unwrap();
    ledger.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;").unwrap();
    let has = |line: &&Vec<String>| outcomes::table()[&outcomes::verb(&words(line)).unwrap()].contains_key(&75);
    let start = |line: &Vec<String>| {
        let child = command(&world.at, &words(line)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (line.clone(), child)
    };
    let waiting: Vec<_> = lines.iter().filter(has).map(start).collect();
    for (line, child) in waiting {
        let output = child.wait_with_output().unwrap();
        outcomes::judge(&words(&line), &output);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(75), "{line:?}: {out}{err}");
        assert!(err.contains("error[ledger-busy]"), "{line:?}: {err}");
    }
    drop(ledger);
    world.damage_ledger();
    for line in &lines {
        ends(&world, 30, line, &[]);
    }
    outcomes::reached_everywhere();
}

#[test]
fn every_verb_that_reads_the_pipeline_says_what_is_wrong_with_it() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.write("junit.xml", include_str!("../../../promo-providers/src/reports/samples/junit/pytest-green.xml"));
    let lines = lines(&world.newest_run());
    world.write("promo.toml", "format = ");
    for line in &lines {
        if outcomes::table()[&outcomes::verb(&words(line)).unwrap()].contains_key(&30) {
            world.refuses(65, "config-invalid", &words(line));
        }
    }
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
fn errors_of_newcomers_say_what_it_is_and_lead_on() {
    let world = World::new();
    // Of the environment's variables none is part of how a verb is used.
    let error = world.refuses(64, "usage", &["why"]);
    let details = error["details"].to_string();
    assert!(details.contains("Usage: promo why [OPTIONS] <ENV> [RELEASE]"), "{error}");
    assert!(!details.contains("--actor-kind"), "{error}");
    let next = |error: &Value| error["next"].as_str().unwrap().replace("--policy policy.toml ", "");
    let error = world.refuses(65, "nothing-selected", &["show", "deadbeef"]);
    assert_eq!(next(&error), "promo runs", "{error}");
    let error = world.refuses(65, "file-unreadable", &["apply", "."]);
    assert_eq!(next(&error), "promo plan --out plan.json", "{error}");
    world.write("empty.json", "");
    let error = world.refuses(65, "plan-unreadable", &["show", "empty.json"]);
    assert_eq!(error["message"], "empty.json is no plan: the file is empty");
    world.write("events.json", r#"{"format":1,"kind":"promo.events"}"#);
    let error = world.refuses(65, "plan-unreadable", &["show", "events.json"]);
    assert_eq!(error["causes"][0], "the file is a `promo.events`: expected a `promo.plan`");
    // What stopped it is quoted where it is refused.
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    world.run(0, &["freeze", "production", "--reason", "the billing moves"]);
    let error = world.run(20, &["apply", "p.json"]);
    assert!(error["details"].to_string().contains("“the billing moves”"), "{error}");
    // A table that is there twice is one mistake.
    let pipeline = std::fs::read_to_string(world.at.join("promo.toml")).unwrap();
    world.write(
        "promo.toml",
        &format!(
            "{pipeline}\n[checks.smoke]\na = 1\nb = 1\n[environments.dev]\ntier = \"testing\"\nstart = \"auto\"\n"
        ),
    );
    let error = world.refuses(65, "config-invalid", &["check"]);
    let twice = error["diagnostics"].as_array().unwrap().iter().filter(|d| d["message"] == "duplicate key").count();
    assert_eq!(twice, 2, "{error}");
    let nowhere = tempfile::tempdir().unwrap();
    let output = promo(nowhere.path(), &["doctor"]);
    let (out, _) = texts(&output);
    assert!(out.contains("promo quickstart") && out.ends_with("Next: promo --policy policy.toml init\n"), "{out}");
}

#[test]
fn an_edited_plan_that_was_digested_anew_is_told_before_anything_else_s8_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    let honest = std::fs::read_to_string(world.at.join("p.json")).unwrap();
    let key = ["--key", "keys/riley", "--signer", "built-in"];
    let every: [&[&str]; 4] = [&["show"], &["request"], &["approve"], &["apply"]];
    let refused = |edit: (&str, &str)| {
        assert!(honest.contains(edit.0), "{honest}");
        world.write("e.json", &honest.replace(edit.0, edit.1));
        let signed = |verb: &[&'static str]| if verb == ["approve"] { key.to_vec() } else { Vec::new() };
        let error = |verb: &&[&'static str]| {
            let words: Vec<&str> = verb.iter().copied().chain(["e.json"]).chain(signed(verb)).collect();
            world.refuses(30, "plan-edited", &words)
        };
        every.iter().map(error).collect::<Vec<_>>()
    };
    // A name, what would be done, and the difference that a reader is shown.
    let alias = ("\"alias\":\"1.2.0\"", "\"alias\":\"9.9.9\"");
    let edits = [alias, ("environments/production", "environments/elsewhere"), ("NEEDS_WORKERS=3", "NEEDS_WORKERS=1")];
    for edit in edits {
        for error in refused(edit) {
            assert!(!error["details"].as_array().unwrap().is_empty(), "{error}");
            assert_eq!(error["next"], "promo --policy policy.toml plan production --out e.json", "{error}");
        }
    }
    // The honest one is asked for: the edited one is superseded, and still edited, and the ledger has what it was made of.
    world.ask("p.json");
    for error in refused(alias) {
        let line = "moves[production].to.alias: `9.9.9` in the file, `1.2.0` as promo wrote it";
        assert!(error["details"].as_array().unwrap().contains(&line.into()), "{error}");
        let next = error["next"].as_str().unwrap();
        assert!(
            next.starts_with("promo --policy policy.toml show sha256:") && next.ends_with("--out e.json"),
            "{next}"
        );
        let words: Vec<&str> = next.split(' ').skip(1).collect();
        world.run(0, &words);
        assert_eq!(std::fs::read_to_string(world.at.join("e.json")).unwrap(), honest);
        world.write("e.json", &honest.replace(alias.0, alias.1));
    }
    // Used, and something else runs there now.
    world.run(0, &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"]);
    world.run(0, &["apply", "p.json"]);
    refused(alias);
    refused(edits[1]);
    world.run(0, &["show", "p.json"]);
    // Away from its ledger what the plan says twice is all there is to go by.
    world.write("e.json", &honest.replacen("\"invoker\":\"human\"", "\"invoker\":\"automation\"", 1));
    let away = tempfile::tempdir().unwrap();
    let path = world.at.join("e.json").to_string_lossy().into_owned();
    assert_eq!(promo(away.path(), &["show", &path]).status.code(), Some(30));
    let (_, said) = texts(&promo(away.path(), &["show", &world.at.join("p.json").to_string_lossy()]));
    assert!(said.contains("Whether somebody edited the plan"), "{said}");
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
    let damaged = world.run(0, &["release", "list"])["releases"].as_array().unwrap().len();
    world.damage_ledger();
    let error = world.refuses(30, "ledger-damaged", &["status"]);
    assert_eq!(error["next"], "promo --policy policy.toml ledger verify", "{error}");
    let error = world.refuses(30, "ledger-damaged", &["ledger", "verify"]);
    let found = error["details"].as_array().unwrap().len();
    assert!(found >= damaged, "each of the {damaged} damaged records is named: {error}");
    assert_eq!(error["next"], "promo explain ledger-damaged", "whoever looked is not told to look: {error}");
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
