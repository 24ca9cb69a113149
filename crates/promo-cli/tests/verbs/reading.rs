//! Verbs that only read, and what they show.

use serde_json::json;

use crate::fixture::{World, promo, texts};

pub(crate) fn row() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    let run = world.newest_run();
    for words in [
        &["show", "p.json"][..],
        &["show", &run],
        &["graph"],
        &["release", "list"],
        &["release", "show", "1.1.0"],
        &["runs"],
        &["status"],
        &["why", "production"],
        &["history"],
        &["ledger", "verify"],
        &["ledger", "checkpoint"],
        &["explain", "waiting"],
        &["schema", "pipeline"],
        &["completions", "bash"],
    ] {
        for format in ["text", "markdown", "json"] {
            let words = [words, &["--format", format]].concat();
            let output = promo(&world.at, &words);
            assert_eq!(output.status.code(), Some(0), "{words:?}: {:?}", texts(&output));
        }
    }
}

#[test]
fn what_only_reads_ends_with_0_and_writes_nothing_s0_6() {
    let world = World::new();
    let ledger = std::fs::read(world.at.join(".promo/ledger.db")).unwrap();
    for words in [
        &["status"][..],
        &["history"],
        &["drift"],
        &["diff", "qa", "staging"],
        &["adopt", "qa"],
        &["drift", "production"],
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
        &["ledger", "checkpoint"],
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

#[test]
fn a_filter_that_names_no_environment_is_an_error_and_no_empty_history_s14() {
    let world = World::new();
    let error = world.refuses(65, "request-invalid", &["history", "nope"]);
    let said = error["message"].as_str().unwrap();
    assert!(said.starts_with("there is no environment `nope`: expected one of dev, "), "{error}");
    // One that the pipeline no longer has keeps its history.
    let before = world.run(0, &["history", "perf"])["promotions"].clone();
    let pipeline = std::fs::read_to_string(world.at.join("promo.toml")).unwrap();
    world.write(
        "promo.toml",
        &pipeline.replace("environments.perf", "environments.load").replace("\"perf\"", "\"load\""),
    );
    assert_eq!(world.run(0, &["history", "perf"])["promotions"], before);
    let (out, _) = texts(&promo(&world.at, &["history", "load"]));
    assert!(out.starts_with("Nothing was promoted to load yet."), "{out}");
}
