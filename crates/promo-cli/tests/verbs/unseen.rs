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
    assert!(out.contains("was not looked at beside what is in the way (`promo why production`)"), "{out}");
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
fn s1_3_a_plan_of_everything_is_one_of_what_can_be_looked_at_and_names_the_rest_with_its_reason() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "dev.json"]);
    world.run(0, &["apply", "dev.json"]);
    hide(&world, "qa");
    // Both qa and perf would move now, and one of them cannot be looked at.
    for more in [&[][..], &["--automatic"], &["--release", "1.2.0"]] {
        let words = [&["plan", "--out", "rest.json"], more].concat();
        let output = promo(&world.at, &words);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
        let told = out.lines().find(|line| line.starts_with("✗ qa could not be looked at, and is left out: ")).unwrap();
        assert!(told.contains(REASON), "{out}");
        assert!(out.contains("1 promotion can start (perf)") && out.contains("Saved rest.json"), "{out}");
        assert!(out.contains("Also: promo --policy policy.toml apply rest.json"), "{out}");
        assert!(err.contains("error[provider-failed]: the preview of qa/deploy/default failed"), "{err}");
        assert_eq!((out + &err).matches("Next: ").count(), 1, "{err}");
    }
    let plan = world.run(0, &["show", "rest.json"]);
    let rows: Vec<&str> =
        plan["environments"].as_array().unwrap().iter().map(|row| row["environment"].as_str().unwrap()).collect();
    assert!(rows.contains(&"perf") && !rows.contains(&"qa"), "{rows:?}");
    let output = promo(&world.at, &["plan", "--format", "json"]);
    let view =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>().next().unwrap().unwrap();
    assert_eq!(
        (&view["left_out"][0]["environment"], &view["left_out"][0]["code"]),
        (&"qa".into(), &"provider-failed".into()),
        "{view}"
    );
    // Whoever names it has asked for nothing else.
    let error = world.run(1, &["plan", "qa"]);
    assert_eq!(error["code"], "provider-failed", "{error}");
    world.run(0, &["apply", "rest.json"]);
    assert_eq!(row(&world, "perf")["release"]["alias"], "1.2.0");
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

#[test]
fn s9_1_what_is_approved_and_cannot_be_applied_now_says_what_has_to_be_mended_and_that_the_plan_stays() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    let status = said(&world, &["status"]);
    assert!(!status.contains("can be applied now"), "nobody has looked: {status}");
    assert!(status.contains("nothing that is recorded keeps it from being applied"), "{status}");
    hide(&world, "production");
    let output = promo(&world.at, &["apply", "p.json"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    let text = err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(REASON), "{text}");
    assert!(
        text.contains("nothing was changed, and the plan stays as it is: once that is mended, `promo apply p.json`"),
        "{text}"
    );
    show(&world, "production");
    world.run(0, &["apply", "p.json"]);
}

#[test]
fn doctor_leads_from_a_registry_that_does_not_answer_to_what_that_means_and_not_to_files_that_are_right() {
    let world = World::new();
    // Nobody listens there any more.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirror = format!("tier   = \"staging\"\nmirror = {{ \"oci-layout:registry\" = \"{address}/m\" }}");
    world.edit("promo.toml", "tier   = \"staging\"", &mirror);
    let doctor = world.run(1, &["doctor"]);
    let bad: Vec<&serde_json::Value> =
        doctor["findings"].as_array().unwrap().iter().filter(|finding| finding["state"] == "bad").collect();
    assert_eq!((bad.len(), &bad[0]["what"]), (1, &"registry".into()), "{doctor}");
    assert_eq!(crate::fixture::next(&doctor), "promo explain provider-transient");
}
