//! Places that cannot be looked at, or from which what was deployed is gone: each is named with its reason, and nothing that has
//! nothing to do with it is kept back.

use std::os::unix::fs::symlink;

use crate::fixture::{World, promo, row, said, texts};
use crate::ways_on::words;

/// Where an environment was deployed leads round in a circle, which nobody can follow.
fn hide(world: &World, environment: &str) {
    let (place, aside) = (world.at.join("environments").join(environment), world.at.with_file_name(environment));
    std::fs::rename(&place, &aside).unwrap();
    symlink(environment, place).unwrap();
}

fn show(world: &World, environment: &str) {
    let (place, aside) = (world.at.join("environments").join(environment), world.at.with_file_name(environment));
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(aside, place).unwrap();
}

/// What the provider says of such a place.
const REASON: &str = "Too many levels of symbolic links";

#[test]
fn s1_3_advance_goes_on_with_what_does_not_depend_on_an_environment_that_cannot_be_looked_at() {
    let world = World::new();
    let there = |environment: &str| row(&world, environment)["release"]["alias"].clone();
    let before = ["qa", "staging"].map(there);
    hide(&world, "qa");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    let output = promo(&world.at, &["advance"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(err.contains("error[provider-failed]: the preview of qa/deploy/default failed"), "{err}");
    assert!(err.contains(REASON) && !out.contains("Next: "), "one next command: {out}\n{err}");
    assert_eq!((there("dev"), there("perf")), ("1.2.0".into(), "1.2.0".into()));
    assert_eq!(["qa", "staging"].map(there), before, "what comes behind it waits");
    // With a second one out of sight both are named, and nothing is left to do.
    hide(&world, "perf");
    let error = world.run(1, &["advance"]);
    assert_eq!(error["message"], "looking at perf failed", "{error}");
    assert!(error["details"].to_string().contains("qa could not be looked at: cannot follow "), "{error}");
    show(&world, "perf");
    // What a run did comes first, with what could not be looked at beside it.
    world.write("config/common.env", "NEEDS_WORKERS=9\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    let output = promo(&world.at, &["advance"]);
    let (out, err) = texts(&output);
    let code = output.status.code().unwrap();
    assert!([40, 41].contains(&code), "{code}: {out}\n{err}");
    assert!(out.contains("qa could not be looked at: ") && out.contains(REASON), "{out}\n{err}");
    show(&world, "qa");
}

#[test]
fn s1_3_a_plan_and_advance_say_why_a_place_could_not_be_looked_at_where_nothing_would_move() {
    let world = World::new();
    hide(&world, "qa");
    let plan = world.run(0, &["plan", "qa"]);
    let drift = &plan["environments"][0]["drift"][0];
    assert!(drift["why"].as_str().unwrap().contains(REASON), "{plan}");
    let text = said(&world, &["plan", "qa"]);
    let told = text.lines().find(|line| line.contains("! not known on default: ")).unwrap();
    assert!(told.contains(REASON) && told.contains("`promo drift qa` says more"), "{text}");
    // Whatever else is as it should be: nobody knows that of this one.
    let error = world.refuses(1, "provider-failed", &["advance"]);
    assert!(error["message"] == "looking at qa failed" && error["details"].to_string().contains(REASON), "{error}");
    show(&world, "qa");
    world.run(0, &["advance"]);
    assert_eq!(world.run(0, &["plan", "qa"])["environments"][0]["drift"], serde_json::json!([]));
}

#[test]
fn s9_2_advance_names_what_was_removed_and_the_command_that_plans_to_put_it_back() {
    let world = World::new();
    std::fs::remove_file(world.at.join("environments/qa/current")).unwrap();
    let output = promo(&world.at, &["advance"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(20), "{out}\n{err}");
    assert!(out.contains("qa") && out.contains("missing on default") && out.contains("it was removed"), "{out}");
    let repair = out.lines().last().unwrap().strip_prefix("Next: ").unwrap().replace(" --policy policy.toml", "");
    assert!(repair.starts_with("promo plan qa --release r-"), "{out}");
    world.run(0, &words(&repair));
    world.run(0, &["apply", "qa.plan.json"]);
    world.run(0, &["advance"]);
}
