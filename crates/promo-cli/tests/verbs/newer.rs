//! What a newer version of promo left behind: refused by its format and never written to, as
//! `docs/reference/compatibility.md` says.

use promo_ledger::{SqliteStore, Store as _};
use rusqlite::Connection;
use serde_json::json;

use crate::fixture::{World, command, end, promo, texts};

fn ledger(world: &World) -> std::path::PathBuf {
    world.at.join(".promo/ledger.db")
}

#[test]
fn no_verb_judges_by_a_record_of_a_newer_format_nor_writes_after_it_s12_1() {
    let world = World::new();
    world.plan("p.json");
    world.write_record(|record, _| record.format = 2);
    let report = promo_ledger::verify(&SqliteStore::open_read_only(ledger(&world)).unwrap()).unwrap();
    assert_eq!(report.newer, 1, "chain and tree hold without understanding it");
    let before = SqliteStore::open_read_only(ledger(&world)).unwrap().head().unwrap();
    for line in [
        "status",
        "why production",
        "history",
        "plan production",
        "apply p.json",
        "advance",
        "freeze qa --reason no",
        "release add shop=1.0.0",
        "ledger verify",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let error = world.refuses(74, "ledger-newer", &words);
        assert!(
            error["causes"].to_string().contains("format 2, this version of promo writes only format 1"),
            "{error}"
        );
    }
    assert_eq!(SqliteStore::open_read_only(ledger(&world)).unwrap().head().unwrap(), before);
}

#[test]
fn a_ledger_file_of_a_newer_format_whose_records_are_understood_is_read_and_never_written_s12_1() {
    let world = World::new();
    world.plan("p.json");
    let before = SqliteStore::open_read_only(ledger(&world)).unwrap().head().unwrap();
    Connection::open(ledger(&world)).unwrap().pragma_update(None, "user_version", 2).unwrap();
    for words in [&["status"][..], &["history"], &["plan", "production"], &["show", "p.json"], &["ledger", "verify"]] {
        world.run(0, words);
    }
    for words in [&["freeze", "qa", "--reason", "no"][..], &["release", "add", "shop=1.0.0"]] {
        world.refuses(74, "ledger-newer", words);
    }
    assert_eq!(SqliteStore::open_read_only(ledger(&world)).unwrap().head().unwrap(), before);
}

#[test]
fn a_plan_and_a_statement_of_a_newer_format_are_refused_by_it_s8_1() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("good.json");
    world.ask("good.json");
    world.run(0, &["approve", "good.json", "--key", "keys/riley", "--signer", "built-in", "--out", "riley.json"]);
    let edited = |from: &str, to: &str, edit: &dyn Fn(&mut serde_json::Value)| {
        let mut value: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(world.at.join(from)).unwrap()).unwrap();
        edit(&mut value);
        world.write(to, &value.to_string());
    };
    edited("good.json", "p.json", &|plan| {
        plan["format"] = json!(2);
        plan["body"] = json!({"means": "something else"});
    });
    for verb in ["show", "request", "apply"] {
        let error = world.refuses(65, "format-newer", &[verb, "p.json"]);
        assert_eq!((&error["expected"], &error["found"]), (&json!("format 1"), &json!("format 2")), "{verb}");
        assert_eq!(error["message"], "the plan has format 2, and this version of promo knows format 1");
    }
    edited("riley.json", "file.json", &|envelope| envelope["format"] = json!(2));
    let statement = "the statement of approval";
    edited("riley.json", "inside.json", &|envelope| {
        let signed = envelope["statement"].as_str().unwrap().replace("promo/approval/v1", "promo/approval/v2");
        envelope["statement"] = json!(signed);
    });
    for (file, what) in [("file.json", "the approval file"), ("inside.json", statement)] {
        let error = world.refuses(65, "format-newer", &["apply", "good.json", "--approval", file]);
        let message = format!("{what} has format 2, and this version of promo knows format 1");
        assert_eq!(error["message"], message, "{file}");
    }
}

#[test]
fn a_file_of_settings_of_another_format_is_refused_by_it_and_by_nothing_else() {
    let world = World::new();
    let runner = tempfile::tempdir().unwrap();
    let trust = runner.path().join("trust.toml");
    std::fs::write(&trust, "format = 2\nledger = 7\n").unwrap();
    let output = promo(&world.at, &["--trust", trust.to_str().unwrap(), "status", "--format", "json"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(65), "{out}{err}");
    let error: serde_json::Value = serde_json::from_str(&out).unwrap();
    let codes: Vec<&str> =
        error["diagnostics"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["config-format"], "{error}");
    for file in ["promo.toml", "policy.toml"] {
        let text = std::fs::read_to_string(world.at.join(file)).unwrap();
        world.write(file, &format!("{}\n[rings.of]\nsaturn = 1\n", text.replacen("format = 1", "format = 2", 1)));
        let error = world.refuses(65, "config-invalid", &["check"]);
        let all = error["diagnostics"].as_array().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0]["code"], "config-format");
        assert_eq!(all[0]["message"], "the file has format 2, and this version of promo reads format 1 only");
        world.write(file, &text);
    }
}

/// What such a lift, verdict or request says is not guessed at: it counts for nothing, and `why` says so.
#[test]
fn a_signed_record_with_a_statement_of_a_newer_format_counts_for_nothing_and_is_told_s12_3() {
    let world = World::new();
    world.run(0, &["freeze", "--reason", "a test"]);
    let signed = json!({"statement": "{\"kind\":\"promo/lift/v2\",\"all\":true}", "signature": "none"});
    world.write_record(|record, _| {
        record.kind = "environment.unfrozen".into();
        record.body = json!({"environments": [], "by": "riley", "signed": signed});
    });
    let told = world.run(0, &["why", "production"]);
    assert!(told["uncounted"].to_string().contains("has format 2, and this version of promo knows format 1"), "{told}");
    let gates = told.to_string();
    assert!(gates.contains("\"frozen\""), "{told}");
}

#[test]
fn a_file_of_registries_of_a_newer_format_is_refused_by_it_where_a_registry_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let pipeline = "format = 1\n[pipeline]\nname = \"shop\"\n[artifacts.shop]\nimage = \"127.0.0.1:9/shop\"\n\
                    [environments.dev]\ntier = \"development\"\ndeploy = \"none\"\n";
    file("promo.toml", pipeline);
    file("registries.toml", "format = 2\n[mirrors]\nall = true\n");
    let words = ["release", "add", "shop=1.0.0", "--format", "json"];
    let mut command = command(directory.path(), &words);
    command.env("PROMO_REGISTRIES", directory.path().join("registries.toml")).env_remove("PROMO_POLICY");
    let output = end(command, &words);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(65), "{out}{err}");
    let error: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&error["code"], &error["expected"], &error["found"]),
        (&json!("config-format"), &json!("format 1"), &json!("format 2"))
    );
}
