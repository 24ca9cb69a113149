//! What runs somewhere and must not, what was recalled, and what cannot be had as it was recorded: every screen names it, why, and the
//! command that leads out. What must not live here: what a quarantine bars.

use crate::circles::{good, walk_from};
use crate::fixture::{World, next, promo, row, said, texts};

/// The digest of the image of a release.
fn image(world: &World, release: &str) -> String {
    let shown = world.run(0, &["release", "show", release]);
    shown["artifacts"]["shop"].as_str().unwrap().split('@').nth(1).unwrap().to_owned()
}

/// A release of this image that differs from the others.
fn add(world: &World, tag: &str, alias: &str) -> String {
    world.write("config/common.env", &format!("NEEDS_WORKERS=3\n# {alias}\n"));
    let added = world.run(0, &["release", "add", &format!("shop={tag}"), "--alias", alias]);
    added["id"].as_str().unwrap().to_owned()
}

/// The last line of a screen, without the flags of this call.
fn last(text: &str) -> String {
    text.lines().last().unwrap_or_default().replace(" --policy policy.toml", "")
}

#[test]
fn r9_what_runs_and_was_recalled_is_named_by_every_screen_with_the_way_out() {
    let world = good();
    let recall = ["release", "recall", &image(&world, "1.2.0"), "--reason", "CVE-2026-1"];
    world.run(0, &recall);
    for (words, code) in [(&["advance"][..], 20), (&["status"], 0), (&["plan"], 0), (&["why", "dev"], 0)] {
        let output = promo(&world.at, words);
        let text = texts(&output).0;
        assert_eq!(output.status.code(), Some(code), "{text}");
        for part in ["quarantined everywhere by dana", "was recalled: CVE-2026-1”", "(`promo rollback dev`)"] {
            assert!(text.contains(part), "{words:?}, {part}: {text}");
        }
    }
    assert_eq!(said(&world, &["graph"]).matches("✗ quarantined").count(), 5, "{}", said(&world, &["graph"]));
    assert_eq!(last(&said(&world, &["advance"])), "Next: promo rollback dev --out back.plan.json");
    let plan = said(&world, &["plan"]);
    assert!(plan.contains("Runs what is quarantined: dev, perf, qa, staging, production."), "{plan}");
    assert!(!plan.contains("up to date"), "{plan}");
    assert_eq!(next(&world.run(0, &["status"])), "promo why dev");
    // There is nothing to go back to in production, and nothing newer: that is said, and nothing leads around.
    let back = said(&world, &["rollback", "production"]);
    assert_eq!(last(&back), "Next: promo release add shop=TAG");
    assert!(said(&world, &["advance"]).contains("production ✗ "), "told also where it starts by request");
    // What can enter is named, and leads to its end.
    let id = add(&world, "1.1.0", "1.3.0");
    let on_its_way = format!("promo why production {id}");
    assert_eq!(next(&world.run(0, &["why", "production"])), on_its_way);
    world.run(0, &["advance"]);
    let enter = format!("promo plan production --release {id} --out production.plan.json");
    assert_eq!(last(&said(&world, &["rollback", "production"])), format!("Next: {enter}"));
    assert_eq!(last(&said(&world, &["why", "production"])), format!("Next: {enter}"));
    let text = said(&world, &["advance"]);
    assert!(text.contains(&format!("(`promo plan production --release {id}`)")), "{text}");
    let typed = walk_from(&world, "promo rollback production".into());
    assert!(typed.last().unwrap().starts_with("promo request production.plan.json"), "{typed:#?}");
    assert_eq!(row(&world, "dev")["rejected"], serde_json::Value::Null, "it left");
}

#[test]
fn r9_a_digest_that_is_recalled_again_says_since_when_by_whom_and_why_it_was() {
    let world = World::new();
    let digest = image(&world, "1.0.0");
    let first = said(&world, &["release", "recall", &digest, "--reason", "CVE-2026-1"]);
    assert!(!first.contains("as it was since"), "{first}");
    let again = said(&world, &["release", "recall", &digest, "--reason", "CVE-2026-2"]);
    assert!(again.contains("  as it was since ") && again.contains(", by dana: “CVE-2026-1”: your reason"), "{again}");
}

#[test]
fn what_keeps_a_requested_plan_out_for_good_has_the_mark_of_a_refusal() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    world.run(0, &["release", "reject", "1.2.0", "--reason", "a test"]);
    let text = said(&world, &["status"]);
    assert!(text.contains("✗ quarantined everywhere by dana"), "{text}");
    assert!(!text.contains("… quarantined"), "{text}");
}

#[test]
fn s10_4_a_newer_release_comes_before_the_lift_also_where_somebody_rejected_it() {
    let world = good();
    let newest = add(&world, "1.1.0", "1.3.0");
    world.run(0, &["release", "reject", "1.3.0", "--reason", "a test"]);
    let why = world.run(0, &["why", "dev"]);
    assert_eq!((why["release"]["id"].as_str(), next(&why)), (Some(&*newest), "promo release add shop=TAG".into()));
    assert!(why["also"].to_string().contains("release lift"), "{why}");
}

#[test]
fn s3_1_why_speaks_of_the_release_that_a_plan_would_choose_and_names_the_newer_one() {
    let world = good();
    let older = add(&world, "1.1.0", "1.3.0");
    let newest = add(&world, "1.1.0", "1.4.0");
    world.run(0, &["release", "reject", "1.4.0", "--reason", "bad bug"]);
    let plan = world.run(0, &["plan", "dev"]);
    assert_eq!(plan["environments"][0]["to"]["id"], older.as_str(), "{plan}");
    assert_eq!(world.run(0, &["why", "dev"])["release"]["id"], older.as_str());
    let text = said(&world, &["why", "dev"]);
    assert!(text.contains(&format!("! {newest} (#")) && text.contains("is newer, and was quarantined"), "{text}");
    assert!(text.contains("“bad bug”"), "{text}");
}

#[test]
fn r2_a_tag_that_moved_and_one_that_is_gone_wait_for_a_person_alike_and_are_told_apart() {
    let world = good();
    add(&world, "1.1.0", "1.3.0");
    let index = "registry/shop/index.json";
    let before = std::fs::read_to_string(world.at.join(index)).unwrap();
    let name = |tag: &str| format!("\"org.opencontainers.image.ref.name\":\"{tag}\"");
    assert!(before.contains(&name("1.1.0")) && before.contains(&name("1.0.0")), "{before}");
    // It names another one.
    let swapped = before.replace(&name("1.0.0"), &name("x")).replace(&name("1.1.0"), &name("1.0.0"));
    world.write(index, &swapped.replace(&name("x"), &name("1.1.0")));
    let output = promo(&world.at, &["advance"]);
    let text = texts(&output).0;
    assert_eq!((output.status.code(), last(&text).as_str()), (Some(20), "Next: promo explain tag-moved"), "{text}");
    // It names nothing, and what it named is there.
    world.write(index, &before.replace(&name("1.1.0"), &name("1.1.0-old")));
    let output = promo(&world.at, &["advance"]);
    let text = texts(&output).0;
    let page = "Next: promo explain artifact-unavailable";
    assert_eq!((output.status.code(), last(&text).as_str()), (Some(20), page), "{text}");
    let told = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("the registry has no tag `1.1.0` any more, and has what it named: sha256:"), "{text}");
    // Nothing is there any more.
    std::fs::rename(world.at.join("registry"), world.at.join("elsewhere")).unwrap();
    let text = said(&world, &["advance"]);
    assert!(!text.contains("and has what it named"), "{text}");
}

#[test]
fn s8_4_the_plan_of_a_run_that_was_broken_off_leads_to_resume_and_history_tells_a_hold_that_is_over_as_past() {
    let world = good();
    world.hold_check("dev");
    add(&world, "1.1.0", "1.3.0");
    world.run(0, &["plan", "dev", "--out", "d.json"]);
    let held = world.start(&["apply", "d.json"]);
    let run = world.newest_run();
    let alive = world.refuses(22, "plan-spent", &["apply", "d.json"]);
    assert_eq!(next(&alive), format!("promo show {run}"), "somebody is at work on it");
    held.kill();
    let error = world.refuses(22, "plan-spent", &["apply", "d.json"]);
    assert_eq!(next(&error), format!("promo resume {run}"), "{error}");
    world.run(0, &["cancel", &run]);
    assert!(said(&world, &["history", "dev"]).contains("is held for a person"));
    world.run(0, &["rollback", "dev", "--out", "back.json"]);
    world.run(0, &["apply", "back.json"]);
    let text = said(&world, &["history", "dev"]);
    assert!(text.contains("was held for a person") && !text.contains("is held for a person"), "{text}");
}
