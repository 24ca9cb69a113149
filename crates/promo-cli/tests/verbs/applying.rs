//! Who applies, where a rule excludes the applier.

use promo_core::Digest;
use promo_core::ledger::{Actor, ActorKind, Draft, Event};
use promo_core::plan::Document;
use promo_ledger::{Expect, SqliteStore, Store as _};
use serde_json::Value;

use crate::fixture::{World, promo, texts};

const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];
const DANA: [&str; 4] = ["--key", "keys/dana", "--signer", "built-in"];

/// The example with a release ready for production, where whoever approves does not apply.
pub(crate) fn apart() -> World {
    let world = World::new();
    for file in ["promo.toml", "policy.toml"] {
        world.edit(file, "[\"initiator\"]", "[\"applier\"]");
    }
    world.edit("policy.toml", "version = 1", "version = 2");
    world.release("1.2.0", 3);
    world
}

/// A plan that riley approved.
pub(crate) fn approved() -> World {
    let world = apart();
    world.plan("p.json");
    world.run(0, &[&["request", "p.json"], &DANA[..]].concat());
    world.run(0, &[&["approve", "p.json"], &RILEY[..]].concat());
    world
}

/// Writes that a run of the plan began, as somebody does who can write the ledger and does not ask promo.
fn begin_past_promo(world: &World) -> String {
    let (document, plan) = Document::from_bytes(&std::fs::read(world.at.join("p.json")).unwrap()).unwrap();
    let store = SqliteStore::open(world.at.join(".promo/ledger.db")).unwrap();
    let moves = document.body.moves.iter();
    let environments = moves.map(|entry| (entry.environment.clone(), entry.to.id.clone())).collect();
    let run = "0123456789abcdef0123456789abcdef";
    let draft = Draft {
        rid: "written by hand".into(),
        pipeline: document.body.pipeline.clone(),
        environment: None,
        run: Some(run.parse().unwrap()),
        step: None,
        epoch: Some(1),
        plan: Some(plan),
        policy: None,
        actor: Actor { name: "dana".into(), kind: ActorKind::Human },
        claimed_at: store.now().unwrap(),
        tool: promo_engine::TOOL.into(),
        event: Event::RunStarted { environments, approvals: Vec::new(), applier: "dana".into() },
        private: [].into(),
    };
    store.append_if_head(&Expect::default(), &[draft]).unwrap();
    run.to_owned()
}

/// What `resume` says of a run that nobody signed for.
pub(crate) fn row_of_resume() {
    let world = approved();
    let run = begin_past_promo(&world);
    let before = world.run(0, &["status"]);
    let error = world.refuses(21, "apply-unsigned", &["resume", &run]);
    assert_eq!(error["next"], format!("promo --policy policy.toml resume {run} --key KEY"), "{error}");
    world.refuses(21, "approval-refused", &[&["resume", run.as_str()], &RILEY[..]].concat());
    let running = |status: &Value| {
        let rows = status["environments"].as_array().unwrap();
        rows.iter().find(|row| row["environment"] == "production").unwrap()["release"].clone()
    };
    assert_eq!(running(&before), running(&world.run(0, &["status"])), "nothing was changed");
    world.run(0, &[&["resume", run.as_str()], &DANA[..]].concat());
}

#[test]
fn a_plan_whose_rule_excludes_the_applier_says_so_and_is_applied_with_a_key_only_s6_4() {
    let world = apart();
    for words in [&["plan", "production", "--out", "p.json"][..], &["show", "p.json"]] {
        let (out, _) = texts(&promo(&world.at, words));
        assert!(out.contains("whoever applies it: signs that they do (--key KEY)"), "{words:?}: {out}");
    }
    let apply = |words: &[&'static str]| [&["apply", "p.json"], words].concat();
    // Whether it was approved or not: who applies it is asked for first.
    world.refuses(21, "apply-unsigned", &apply(&[]));
    world.run(0, &[&["request", "p.json"], &DANA[..]].concat());
    let said = world.run(0, &[&["approve", "p.json"], &RILEY[..]].concat());
    assert_eq!(said["next"], "promo --policy policy.toml apply p.json --key KEY", "{said}");
    for words in [&["status"][..], &["show", "p.json"]] {
        let (out, _) = texts(&promo(&world.at, words));
        assert!(out.lines().last().unwrap().ends_with("apply p.json --key KEY"), "{words:?}: {out}");
    }
    let records = || world.run(0, &["ledger", "verify"])["records"].as_u64().unwrap();
    let before = records();
    for name in ["riley", "dana", "ci"] {
        let error = world.refuses(21, "apply-unsigned", &apply(&["--as", name]));
        assert_eq!(error["next"], "promo --policy policy.toml apply p.json --key KEY", "{error}");
        let error = world.refuses(21, "approval-refused", &[&apply(&["--as", name]), &RILEY[..]].concat());
        assert!(
            error["causes"].to_string().contains("riley") || error["message"].as_str().unwrap().contains("riley"),
            "{error}"
        );
    }
    assert_eq!(records(), before, "nothing was written");
    world.run(0, &[&apply(&["--as", "ci"]), &DANA[..]].concat());
    let run = world.run(0, &["show", &world.newest_run()]);
    assert_eq!((&run["applier"], &run["signed_by"]), (&"ci".into(), &serde_json::json!(["dana"])), "{run}");
    // Every verb that looks back tells who signed from the name that was claimed.
    let promotion = world.run(0, &["history", "production"])["promotions"][0].clone();
    let line = world.run(0, &["runs"])["runs"][0].clone();
    for (told, claimed) in [(promotion, "by"), (line, "applier")] {
        assert_eq!((&told[claimed], &told["signed_by"]), (&"ci".into(), &serde_json::json!(["dana"])), "{told}");
    }
    for words in [&["history", "production"][..], &["runs"], &["why", "production"]] {
        let (out, _) = texts(&promo(&world.at, words));
        assert!(out.contains("by ci (signed by dana)"), "{words:?}: {out}");
    }
}

#[test]
fn status_tells_who_signed_for_a_run_that_failed_from_the_name_that_was_claimed_s6_3() {
    let world = apart();
    world.edit("promo.toml", "on_failure = \"rollback\"", "on_failure = \"hold\"");
    world.hold_check("production");
    world.release("1.3.0", 3);
    world.write("broken", "");
    world.plan("p.json");
    world.run(0, &[&["request", "p.json"], &DANA[..]].concat());
    world.run(0, &[&["approve", "p.json"], &RILEY[..]].concat());
    let run = world.start(&[&["apply", "p.json", "--as", "ci"], &DANA[..]].concat());
    let told = |what: &str| {
        let status = world.run(0, &["status"]);
        let rows = status["environments"].as_array().unwrap();
        let row = rows.iter().find(|row| row["environment"] == "production").unwrap();
        let told = if what == "runs" { &status["runs"][0] } else { &row["holds"][0] };
        assert_eq!(told["signed_by"], serde_json::json!(["dana"]), "{told}");
        // A hold is told whole where somebody asks for it.
        let words: &[&str] = if what == "runs" { &["status"] } else { &["why", "production"] };
        let (out, _) = texts(&promo(&world.at, words));
        assert!(out.contains("by ci (signed by dana)"), "{out}");
    };
    told("runs");
    run.kill();
    // Whoever goes on with it signs anew.
    let dead = world.newest_run();
    for words in [&["status"][..], &["show", &dead], &["why", "production"], &["runs"]] {
        let (out, _) = texts(&promo(&world.at, words));
        assert!(out.lines().last().unwrap().ends_with(&format!("resume {dead} --key KEY")), "{words:?}: {out}");
    }
    world.run(41, &[&["resume", dead.as_str(), "--as", "ci"], &DANA[..]].concat());
    told("holds");
}

#[test]
fn where_no_rule_excludes_the_applier_no_key_is_looked_at() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.run(0, &["plan", "production", "--out", "p.json"]);
    world.approve("p.json");
    let said = world.run(0, &["apply", "p.json", "--key", "keys/nobody", "--signer", "built-in"]);
    assert_eq!(said["kind"], Value::Null, "{said}");
    let run = world.run(0, &["show", &world.newest_run()]);
    assert_eq!((&run["outcome"], &run["signed_by"]), (&"done".into(), &Value::Null), "{run}");
}

#[test]
fn a_record_of_who_applies_that_is_edited_is_named_s12_1() {
    let world = approved();
    world.run(0, &[&["apply", "p.json"], &DANA[..]].concat());
    let store = SqliteStore::open(world.at.join(".promo/ledger.db")).unwrap();
    let raw = store.raw(0, 1_000).unwrap().into_iter().find(|raw| raw.parse().unwrap().kind == "run.signed").unwrap();
    drop(store);
    // Another name beside the same signature, in bytes that are as canonical as before.
    let text = String::from_utf8(raw.bytes).unwrap();
    let edited = text.replace("\"by\":\"dana\"", "\"by\":\"riley\"");
    assert_ne!(text, edited);
    let file = world.opened_ledger();
    let seq = i64::try_from(raw.seq).unwrap();
    assert_eq!(file.execute("UPDATE records SET bytes = ?1 WHERE seq = ?2", (edited.as_bytes(), seq)).unwrap(), 1);
    drop(file);
    assert_ne!(Digest::of(edited.as_bytes()), Digest::of(text.as_bytes()));
    let error = world.refuses(30, "ledger-damaged", &["ledger", "verify"]);
    assert!(error["details"].to_string().contains(&format!("record {}", raw.seq)), "{error}");
    world.refuses(30, "ledger-damaged", &["status"]);
    let doctor = world.run(1, &["doctor", "--offline"]);
    assert!(doctor["findings"].to_string().contains(&format!("record {}", raw.seq)), "{doctor}");
    assert_eq!(doctor["next"], "promo --policy policy.toml ledger verify");
}
