//! What screens say to somebody who looks for the first time: what is whole on one of them is short on the others, what a command is
//! about is what it speaks of, and what is told next names the place. What must not live here: what decides.

use serde_json::json;

use crate::fixture::{World, next, promo, row, said, texts};
use crate::waves;

const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];

/// What a check says at length, in two clauses.
const LONG: &str = "the queue of orders is not empty after a minute: 4711 are left; what is left is older than a day, and \
                    nobody has looked at it since the last release that went well";

/// A check of staging that fails at length, where a failure is held; `staging` has failed with release 1.2.0.
fn held() -> World {
    let world = World::new();
    world.edit("promo.toml", "tier   = \"staging\"", "tier   = \"staging\"\non_failure = \"hold\"");
    let broken =
        format!("if [ $PROMO_ENVIRONMENT = staging ] && [ -e '{}/broken' ]; then echo '{LONG}'; exit 1; fi\n", {
            world.at.display()
        });
    world.edit("checks/smoke.sh", "set -eu\n", &format!("set -eu\n{broken}"));
    world.write("broken", "");
    release(&world, "1.2.0");
    let output = promo(&world.at, &["advance"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(41), "{out}{err}");
    // Whole where it happens, and where the run ends.
    assert!(out.contains(LONG), "{out}");
    world
}

fn release(world: &World, alias: &str) {
    world.write("config/common.env", &format!("NEEDS_WORKERS=3\n# {alias}\n"));
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", alias]);
}

/// The line that has a text, of which there is one at least.
fn line<'t>(text: &'t str, part: &str) -> &'t str {
    text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {text}"))
}

#[test]
fn why_something_failed_is_whole_where_a_run_is_shown_and_short_in_tables_with_the_command_that_shows_the_rest() {
    let world = held();
    let run = world.newest_run();
    assert!(said(&world, &["show", &run]).contains(LONG), "{}", said(&world, &["show", &run]));
    assert!(world.run(0, &["history"])["promotions"][0]["why"].as_str().unwrap().contains(LONG), "JSON has it whole");
    for words in [&["history", "staging"][..], &["status"], &["plan"], &["advance"]] {
        let text = said(&world, words);
        assert!(!text.contains("nobody has looked"), "{words:?}: {text}");
    }
    let history = said(&world, &["history", "staging"]);
    let failed = line(&history, " failed and is held for a person");
    let short = format!("after a minute: 4711 are left … (`promo show {run}`)”");
    assert!(failed.contains("smoke failed: ") && failed.ends_with(&short), "{history}");
    // What holds it is told whole where somebody asks for it, and a few words elsewhere.
    let why = said(&world, &["why", "staging"]);
    assert!(line(&why, "✗ held since ").contains(&format!(": run {run} by dana failed with r-")), "{why}");
    for words in [&["status"][..], &["plan"], &["plan", "staging"], &["advance"], &["verify", "staging"]] {
        let text = said(&world, words);
        let hold = line(&text, "✗ held since ");
        let hold = hold[hold.find("✗ held").unwrap()..].trim_end();
        assert!(hold.contains(": failed with r-") && hold.ends_with(" (`promo why staging`)"), "{words:?}: {text}");
        assert!(hold.chars().count() < 90, "{words:?}: {hold}");
    }
}

#[test]
fn whoever_would_lift_a_hold_is_told_what_it_is_and_what_ends_it_s9_6() {
    let world = held();
    let run = world.newest_run();
    let release = row(&world, "staging")["release"]["id"].as_str().unwrap().to_owned();
    for (words, not) in [
        (&["unfreeze", "staging", "--reason", "try again"][..], "staging is neither frozen nor paused".to_owned()),
        (
            &["release", "lift", &release, "--environment", "staging", "--reason", "it is good"],
            format!("{release} is not quarantined for staging"),
        ),
    ] {
        let error = world.refuses(65, "request-invalid", &[words, &RILEY].concat());
        let message = error["message"].as_str().unwrap();
        let held = message.strip_prefix(&format!("{not}: it is held since ")).unwrap_or_else(|| panic!("{message}"));
        assert!(held.contains(&format!(": run {run} by dana failed with {release}")), "{message}");
        assert!(held.ends_with(", and ended by applying what `promo rollback staging` plans"), "{message}");
        assert_eq!(next(&error), "promo rollback staging --out back.plan.json", "{error}");
    }
    // Where nothing holds it there is nothing more to say.
    let error = world.refuses(65, "request-invalid", &[&["unfreeze", "qa", "--reason", "x"][..], &RILEY].concat());
    assert_eq!(error["message"], "qa is neither frozen nor paused");
}

#[test]
fn why_of_a_release_speaks_of_that_release_and_why_of_an_environment_of_everything_there() {
    let world = held();
    release(&world, "1.3.0");
    world.run(20, &["advance"]);
    world.run(0, &["plan", "staging", "--release", "1.2.0", "--out", "again.json"]);
    world.run(0, &["request", "again.json"]);
    let (all, of_it) = (said(&world, &["why", "staging"]), said(&world, &["why", "staging", "1.3.0"]));
    assert!(all.starts_with("staging ✗ held since ") && all.contains("requested by "), "{all}");
    // Another one is held there, and another one is asked for: the one in a few words, the other not at all.
    assert!(of_it.starts_with("r-") && !of_it.contains("requested by "), "{of_it}");
    assert!(line(&of_it, "✗ held since ").ends_with(" (`promo why staging`)"), "{of_it}");
    let value = world.run(0, &["why", "staging", "1.3.0"]);
    assert_eq!(next(&value), "promo plan staging --out staging.plan.json", "{value}");
    // What is there has all to do with what holds it.
    assert!(said(&world, &["why", "staging", "1.2.0"]).starts_with("staging ✗ held since "));
}

#[test]
fn what_was_verified_before_a_run_moves_it_is_not_called_verified_now() {
    let world = waves::world("9m");
    world.run(0, &["plan", "dev", "--out", "plan.json"]);
    let (mut child, _lines) = waves::until_it_pauses(&world, "plan.json");
    let dev = || {
        let status = said(&world, &["status"]);
        let lines = status.lines().skip_while(|line| !line.starts_with("  dev "));
        let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("  perf ")).collect();
        lines.join("\n")
    };
    let moved = dev();
    assert!(moved.contains(" moves dev, alive"), "{moved}");
    assert!(moved.contains("… was verified before that run began: ") && !moved.contains('✓'), "{moved}");
    child.kill().unwrap();
    child.wait().unwrap();
    let left = dev();
    assert!(left.contains(" was deployed last, ") && !left.contains("there for"), "{left}");
    assert!(left.contains("… was verified before that run began") && !left.contains('✓'), "{left}");
}

#[test]
fn targets_of_which_the_same_would_become_are_drawn_once_in_every_form() {
    let world = World::new();
    let two = "targets = { eu = { directory = \"environments/eu\" }, us = { directory = \"environments/us\" } }";
    world.edit("promo.toml", "target = { directory = \"environments/dev\" }", two);
    release(&world, "1.2.0");
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let text = said(&world, &["show", "p.json"]);
    let title =
        "dev · directory · what would change in directory=environments/eu, and the same in directory=environments/us";
    assert!(text.contains(title), "{text}");
    assert_eq!(text.matches("what would change in ").count(), 1, "{text}");
    let markdown = said(&world, &["show", "p.json", "--format", "markdown"]);
    assert!(
        markdown.contains("`directory=environments/eu`, and the same in `directory=environments/us`"),
        "{markdown}"
    );
    let html = said(&world, &["show", "p.json", "--format", "html"]);
    assert_eq!(
        html.matches("What would change in").count(),
        html.matches(", and the same in <code>").count(),
        "{html}"
    );
    // Where one of them is behind, each is drawn for itself.
    world.run(0, &["apply", "p.json"]);
    std::fs::remove_file(world.at.join("environments/us/current")).unwrap();
    release(&world, "1.3.0");
    let text = said(&world, &["plan", "dev"]);
    assert_eq!(text.matches("what would change in ").count(), 2, "{text}");
}

#[test]
fn s1_3_a_plan_of_a_whole_way_goes_around_what_cannot_be_looked_at() {
    let world = World::new();
    release(&world, "1.2.0");
    world.run(0, &["plan", "dev", "--out", "dev.json"]);
    world.run(0, &["apply", "dev.json"]);
    std::fs::rename(world.at.join("environments/qa"), world.at.join("environments/qa-aside")).unwrap();
    world.write("environments/qa", "no directory\n");
    let output = promo(&world.at, &["plan", "--until", "staging", "--out", "rest.json"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(out.contains("✗ qa could not be looked at, and is left out: "), "{out}");
    assert!(out.contains("1 promotion can start (perf)") && out.contains("Saved rest.json"), "{out}");
    let plan = world.run(0, &["show", "rest.json"]);
    let rows: Vec<&str> =
        plan["environments"].as_array().unwrap().iter().map(|row| row["environment"].as_str().unwrap()).collect();
    assert_eq!(rows, ["dev", "perf", "staging"], "the way, and nothing beside it");
    world.run(0, &["apply", "rest.json"]);
    assert_eq!(row(&world, "perf")["release"]["alias"], "1.2.0");
    assert_ne!(row(&world, "staging")["release"]["alias"], "1.2.0", "it waits for qa");
    // What is stale is planned again for the whole way.
    let again = world.run(22, &["apply", "rest.json"]);
    assert!(!again["next"].as_str().unwrap().contains("--until staging perf"), "{again}");
}

#[test]
fn a_wrong_registries_file_says_what_it_should_be_and_leads_to_no_release() {
    let world = World::new();
    let mirror = "tier   = \"development\"\nmirror = { \"oci-layout:registry\" = \"127.0.0.1:1/m\" }";
    world.edit("promo.toml", "tier   = \"development\"", mirror);
    world.write("registries.toml", "format = 1\n[registries.\"127.0.0.1:1\"]\nplain_http = true\n");
    release(&world, "1.2.0");
    let words = ["plan", "dev"];
    let mut command = crate::fixture::command(&world.at, &words);
    command.env("PROMO_REGISTRIES", "registries.toml");
    let (out, err) = texts(&crate::fixture::end(command, &words));
    assert!(err.contains("registries.toml: line 2") && err.contains("[registry.\"HOST\"]"), "{out}{err}");
    assert!(!err.contains("release add") && err.trim_end().ends_with("doctor"), "{out}{err}");
}

#[test]
fn doctor_looks_at_the_directories_that_are_deployed_to() {
    let world = World::new();
    let found = |world: &World, code: i32| {
        let doctor = world.run(code, &["doctor"]);
        let all = doctor["findings"].as_array().unwrap().iter().filter(|one| one["what"] == "directory");
        let all: Vec<_> = all.map(|one| (one["name"].clone(), one["state"].clone(), one["detail"].clone())).collect();
        (all, next(&doctor))
    };
    let (all, _) = found(&world, 0);
    assert_eq!(all.len(), 5, "{all:?}");
    assert!(all.iter().all(|one| (&one.1, &one.2) == (&json!("good"), &json!("is there"))), "{all:?}");
    std::fs::remove_dir_all(world.at.join("environments/perf")).unwrap();
    std::fs::remove_dir_all(world.at.join("environments/qa")).unwrap();
    world.write("environments/qa", "no directory\n");
    let (all, next) = found(&world, 1);
    let of = |name: &str| all.iter().find(|one| one.0 == name).unwrap();
    assert_eq!(of("environments/perf").2, "is not there: the first deployment makes it");
    assert!(of("environments/qa").1 == "bad" && of("environments/qa").2.as_str().unwrap().contains("qa"), "{all:?}");
    assert_eq!(next, "promo explain provider-failed");
}
