//! Plans, their way back, and what applying them ends with.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::fixture::{Scripted, Server, World, mirrored, promo, texts, watch};

pub(crate) fn row_of_plans() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan"]);
    world.run(2, &["plan", "--detailed-exitcode"]);
    world.run(0, &["advance"]);
    world.run(20, &["plan", "production", "--detailed-exitcode"]);
    world.run(0, &["rollback", "staging"]);
    world.refuses(65, "request-invalid", &["rollback", "prod"]);
    // Nothing lower was verified good there, and the run that is under way comes first.
    assert_eq!(world.run(21, &["rollback", "production"])["environments"][0]["state"], "refused");
    let moving = World::new();
    moving.hold_check("dev");
    moving.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    moving.run(0, &["plan", "dev", "--out", "p.json"]);
    let apply = moving.start(&["apply", "p.json"]);
    moving.run(20, &["rollback", "dev"]);
    apply.go_on(0);
    let scripted = Scripted::new();
    scripted.then(0, 403);
    scripted.world.refuses(1, "provider-denied", &["plan", "staging"]);
    // Where the environment should be lies a file.
    std::fs::remove_dir_all(world.at.join("environments/staging")).unwrap();
    world.write("environments/staging", "");
    world.refuses(1, "provider-failed", &["rollback", "staging"]);
}

pub(crate) fn row_of_apply() {
    let world = World::new();
    world.release("1.2.0", 6);
    world.plan("p.json");
    world.refuses(20, "waiting", &["apply", "p.json"]);
    world.approve("p.json");
    world.run(40, &["apply", "p.json"]);
    world.refuses(22, "plan-spent", &["apply", "p.json"]);
    let world = World::new();
    world.release("1.2.0", 6);
    world.edit("promo.toml", "on_failure = \"rollback\"", "on_failure = \"hold\"");
    world.plan("p.json");
    world.approve("p.json");
    world.run(0, &["freeze", "--reason", "a test"]);
    world.refuses(20, "waiting", &["apply", "p.json"]);
    world.run(0, &["unfreeze", "--reason", "a test", "--key", "keys/riley", "--signer", "built-in"]);
    world.run(41, &["apply", "p.json"]);
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.run(0, &["release", "reject", "1.2.0", "--reason", "a test"]);
    world.refuses(21, "denied", &["apply", "p.json"]);
    let scripted = Scripted::new();
    scripted.then(0, 403);
    scripted.world.refuses(1, "provider-denied", &["apply", "p.json"]);
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
}

pub(crate) fn row_of_advance() {
    let world = World::new();
    world.run(0, &["advance"]);
    let scripted = Scripted::new();
    scripted.then(0, 403);
    scripted.world.refuses(1, "provider-denied", &["advance"]);
    for on_failure in ["rollback", "hold"] {
        let Scripted { world, .. } = &Scripted::new();
        world.edit(
            "promo.toml",
            "tier   = \"staging\"",
            &format!("tier   = \"staging\"\non_failure = \"{on_failure}\""),
        );
        world.run(if on_failure == "hold" { 41 } else { 40 }, &["advance"]);
    }
    // What happens between planning and applying, while the mirror is looked at again.
    let freeze: &[&str] = &["freeze", "staging", "--reason", "a test"];
    let reject = &["release", "reject", "1.2.0", "--reason", "a test"];
    for (words, expected, code) in [(freeze, 20, "waiting"), (reject, 21, "denied")] {
        let scripted = Scripted::new();
        let at = scripted.world.at.clone();
        scripted.meanwhile(scripted.looked, move || assert_eq!(promo(&at, words).status.code(), Some(0)));
        let error = scripted.world.run(expected, &["advance"]);
        assert_eq!(error["code"], code, "{error}");
    }
    // The way back needs no mirror.
    let scripted = Scripted::new();
    scripted.world.run(0, &["rollback", "staging", "--out", "back.json"]);
    let at = scripted.world.at.clone();
    let back = move || assert_eq!(promo(&at, &["apply", "back.json"]).status.code(), Some(0));
    scripted.meanwhile(scripted.looked, back);
    // Somebody else was faster: what can move then is planned anew, and nobody is told of a plan that they have not made.
    let ended = scripted.world.run(20, &["advance"]);
    assert_eq!(ended["code"], serde_json::Value::Null, "{ended}");
    // Where that never ends, it is told.
    let tree: Arc<OnceLock<PathBuf>> = Arc::default();
    let edited = tree.clone();
    let server = Server::new(move |request| {
        if let Some(at) = edited.get() {
            std::fs::write(at, format!("WORKERS=5\n# {request}\n")).unwrap();
        }
        404
    });
    let world = mirrored(&server);
    tree.set(world.at.join("config/staging.env")).unwrap();
    let error = world.run(22, &["advance"]);
    assert!(["plan-stale", "provider-conflict"].contains(&error["code"].as_str().unwrap()), "{error}");
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
fn what_moved_since_the_plan_is_named_with_22_s8_2() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    world.write("config/production.env", "WORKERS=5\n");
    let error = world.refuses(22, "plan-stale", &["apply", "p.json"]);
    assert!(error["details"].to_string().contains("config/production.env"), "{error}");
    assert_eq!(error["next"], "promo --policy policy.toml plan production --out p.json", "{error}");
}

#[test]
fn what_runs_elsewhere_now_is_told_by_its_name_s8_2() {
    let world = World::new();
    world.run(0, &["rollback", "qa", "--out", "p.json"]);
    world.release("1.2.0", 3);
    let error = world.refuses(22, "plan-stale", &["apply", "p.json"]);
    let details = error["details"].to_string();
    assert!(details.contains("what runs in qa: ") && details.contains(" 1.2.0) now (was "), "{error}");
    assert!(details.contains(" 1.1.0) when it was planned)"), "{error}");
    assert_eq!(error["next"], "promo --policy policy.toml rollback qa --out p.json", "{error}");
}

/// Between two looks somebody saves a file: that is no damage.
#[test]
fn a_file_that_is_edited_while_it_is_applied_is_named_and_nothing_was_done() {
    let scripted = Scripted::new();
    let at = scripted.world.at.clone();
    scripted.meanwhile(0, move || std::fs::write(at.join("config/staging.env"), "WORKERS=9\n").unwrap());
    let error = scripted.world.run(22, &["apply", "p.json"]);
    // Whoever had read it before reads it once more, and finds the plan stale.
    let details = error["details"].to_string();
    let told = match error["code"].as_str().unwrap() {
        "provider-conflict" => "config/staging.env was edited while promo was at work with it",
        "plan-stale" => "file config/staging.env in staging: ",
        other => panic!("{other}: {error}"),
    };
    assert!(details.contains(told), "{error}");
    assert_eq!(error["next"], "promo --policy policy.toml plan staging --out p.json", "{error}");
}

#[test]
fn a_wait_goes_on_looking_where_something_did_not_answer() {
    let scripted = Scripted::new();
    scripted.then(0, 503);
    let words = ["apply", "p.json", "--wait", "1s"];
    let (_, err) = texts(&promo(&scripted.world.at, &words));
    assert_eq!(err.lines().filter(|line| line.starts_with("waiting, ")).count(), 1, "told, and once: {err}");
    assert!(err.contains("error[provider-transient]"), "the last look is told as it is: {err}");
    // It answers again before the next look.
    scripted.then(0, 503);
    let (at, script) = (scripted.world.at.clone(), &scripted);
    let said = watch(&at, &["apply", "p.json", "--wait", "10m"], |line| {
        if line.starts_with("waiting, ") {
            script.then(0, 404);
        }
    });
    assert!(said.contains("staging going back to "), "it began: {said}");
}

#[test]
fn several_runs_lead_on_once() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    let (out, _) = texts(&promo(&world.at, &["advance"]));
    assert!(out.matches("\nrun ").count() > 2, "{out}");
    assert_eq!(out.matches("Next: ").count(), 1, "{out}");
    let (out, _) = texts(&promo(&world.at, &["advance"]));
    assert!(out.ends_with("Next: promo --policy policy.toml status\n"), "{out}");
}

#[test]
fn a_plan_that_waits_for_people_says_for_whom() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let error = world.refuses(20, "waiting", &["apply", "p.json"]);
    assert_eq!(error["who"], "whoever approves: release-manager", "{error}");
    assert!(error["details"].to_string().contains("production still needs 1 of release-manager: riley"), "{error}");
}
