//! Drills as people see them: what a plan says, what is told afterwards, and what keeps one out (S10).

use serde_json::{Value, json};

use crate::fixture::{World, command, next, said};

/// The command that leads on from a plan.
fn first(view: &Value) -> String {
    view["next"][0]["command"].as_str().unwrap().to_owned()
}

#[test]
fn s10_a_drill_is_planned_applied_and_told_by_every_verb_that_looks() {
    let world = World::new();
    let plan = said(&world, &["rollback", "dev", "--drill", "--out", "drill.json"]);
    assert!(plan.contains("(#2 1.1.0) goes BACK to") && plan.contains("(#1 1.0.0) and comes again"), "{plan}");
    assert!(plan.contains("a drill: what runs comes back") && plan.contains("Plan: 1 drill can start (dev)"), "{plan}");
    let markdown = said(&world, &["show", "drill.json", "--format", "markdown"]);
    assert!(markdown.contains("and again the same"), "{markdown}");
    let view = world.run(0, &["show", "drill.json"]);
    let row = view["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap();
    assert_eq!(
        (&row["movement"], &row["backward"], &row["on_failure"]),
        (&json!("drill"), &json!(false), &json!(null))
    );
    assert_eq!((&row["drill"]["alias"], &row["from"]), (&json!("1.0.0"), &row["to"]));
    assert_eq!((&view["request"]["goal"], &view["request"]["drill"]), (&json!("rollback"), &json!(true)));
    let steps: Vec<_> = row["steps"].as_array().unwrap().iter().map(|step| step["id"].as_str().unwrap()).collect();
    assert_eq!(steps, ["dev/rollback/deploy/default", "dev/deploy/default"], "in the order in which they are done");

    let applied = said(&world, &["apply", "drill.json"]);
    assert!(applied.contains("went back, came again and is verified"), "{applied}");
    for words in [&["status"][..], &["why", "dev", "1.1.0"]] {
        let text = said(&world, words);
        assert!(text.contains("✓ a rollback to") && text.contains("(#1 1.0.0) was drilled"), "{text}");
    }
    let run = world.newest_run();
    let told = said(&world, &["show", &run]);
    assert!(told.contains("✓ went back to") && told.contains("smoke, of what it went back to"), "{told}");
    let history = said(&world, &["history", "dev"]);
    assert!(history.contains("went back, came again and is verified; back in"), "{history}");
    let status = world.run(0, &["status"]);
    let drills = [
        &status["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap()["drill"],
        &world.run(0, &["why", "dev", "1.1.0"])["drill"],
        &world.run(0, &["history", "dev"])["promotions"][0]["drill"],
        &world.run(0, &["show", &run])["environments"][0]["drill"],
    ]
    .map(Clone::clone);
    assert!(drills[0]["milliseconds"].is_u64() && drills[0]["state"] == "passed", "{drills:?}");
    assert!(drills.iter().all(|drill| *drill == drills[0]), "{drills:?}");
    // It leaves nothing to do, and says what it did to whoever looks at its plan again.
    assert_eq!(world.run(0, &["plan", "dev"])["summary"]["can_start"], json!([]));
    assert!(said(&world, &["show", "drill.json"]).contains("has used this plan"));
}

/// What it is about runs there already: whoever is not told that it is a drill takes it for nonsense.
#[test]
fn s10_a_requested_drill_is_called_one_where_it_waits_and_what_it_brought_back_stays_verified() {
    let world = World::new();
    world.run(0, &["rollback", "dev", "--drill", "--out", "drill.json"]);
    world.ask("drill.json");
    let words = |screen: String| screen.split_whitespace().collect::<Vec<_>>().join(" ");
    for verb in [&["status"][..], &["why", "dev"]] {
        let told = words(said(&world, verb));
        assert!(
            told.contains("a drill of the way back from r-") && told.contains("(#1 1.0.0) is requested by"),
            "{told}"
        );
    }
    let pending = world.run(0, &["status"])["pending"][0]["environments"][0].clone();
    assert_eq!(pending["drill"]["alias"], "1.0.0", "{pending}");
    world.run(0, &["freeze", "dev", "--reason", "the fair is on"]);
    let error = world.run(20, &["apply", "drill.json"]);
    assert!(
        error["message"].as_str().unwrap().starts_with("dev cannot take a drill of the way back from r-"),
        "{error}"
    );
    world.run(0, &["unfreeze", "dev", "--reason", "over", "--key", "keys/riley", "--signer", "built-in"]);
    world.run(0, &["apply", "drill.json"]);
    let told = words(said(&world, &["status"]));
    assert_eq!(told.matches("✓ verified since ").count(), 1, "{told}");
    assert!(told.contains(", there again after a drill for "), "{told}");
}

#[test]
fn s0_3_where_a_drill_cannot_be_had_the_exit_code_and_the_next_command_say_so() {
    let world = World::new();
    world.edit("policy.toml", "[tiers.production]", "[tiers.development]\ndrills = false\n\n[tiers.production]");
    world.edit("policy.toml", "version = 1", "version = 2");
    let view = world.run(21, &["rollback", "dev", "--drill"]);
    let row = &view["environments"][0];
    let shut: Vec<_> = row["gates"].as_array().unwrap().iter().filter(|gate| gate["outcome"] == "refused").collect();
    assert_eq!((shut.len(), &shut[0]["code"]), (1, &json!("drills-refused")), "{row}");
    assert!(first(&view).ends_with("explain drills-refused"), "{}", first(&view));
    // Nothing was ever good there before what runs.
    let view = world.run(21, &["rollback", "production", "--drill"]);
    assert_eq!(view["environments"][0]["says"], "there is no release that it could go back to");
    assert!(first(&view).ends_with("why production"), "{}", first(&view));
    // It is no emergency, and a rollback is.
    world.run(0, &["freeze", "qa", "--reason", "the fair is on"]);
    world.run(20, &["rollback", "qa", "--drill"]);
    world.run(0, &["rollback", "qa"]);
}

#[test]
fn s10_a_drill_that_was_killed_on_its_way_back_is_told_as_one_with_what_it_went_to() {
    let world = World::new();
    let view = world.run(0, &["rollback", "dev", "--drill"]);
    let row = view["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap();
    let back = row["drill"]["id"].as_str().unwrap().to_owned();
    let at = world.at.display();
    let smoke =
        format!("run = [\"sh\", \"-c\", \"mkdir -p '{at}/reached'; while ! test -e '{at}/go'; do sleep 0.02; done\"]");
    world.edit("promo.toml", "run = [\"checks/smoke.sh\"], files = [\"checks/smoke.sh\"]", &smoke);
    world.run(0, &["rollback", "dev", "--drill", "--out", "drill.json"]);
    world.start(&["apply", "drill.json"]).kill();
    let run = world.newest_run();
    let words = |screen: String| screen.split_whitespace().collect::<Vec<_>>().join(" ");
    let tells = format!("; a drill: dev goes back to {back} (#1 1.0.0), and then what ran comes again");
    for verb in [&["status"][..], &["why", "dev"], &["show", &run], &["plan", "dev"]] {
        let told = words(said(&world, verb));
        assert!(told.contains(&tells) && told.contains(&format!("run {run} by dana")), "{verb:?}: {told}");
    }
    let ended = command(&world.at, &["resume", &run]).status().unwrap().code();
    assert!(matches!(ended, Some(0 | 40)), "{ended:?}");
    assert!(!words(said(&world, &["status"])).contains("a drill: dev"), "it is over");
}

#[test]
fn s10_a_drill_that_failed_is_told_as_one_and_not_as_something_that_was_taken_back() {
    let world = World::new();
    let view = world.run(0, &["rollback", "dev", "--drill"]);
    let row = view["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap();
    let first = row["drill"]["id"].as_str().unwrap();
    let smoke = format!("run = [\"sh\", \"-c\", \"test $PROMO_RELEASE != {first}\"]");
    world.edit("promo.toml", "run = [\"checks/smoke.sh\"], files = [\"checks/smoke.sh\"]", &smoke);
    world.run(0, &["rollback", "dev", "--drill", "--out", "drill.json"]);
    world.run(40, &["apply", "drill.json"]);
    let run = world.newest_run();
    let runs = said(&world, &["runs"]);
    let line = runs.lines().skip_while(|line| !line.contains(&run)).take(3).collect::<Vec<_>>().join(" ");
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("failed as a drill, and what ran is there again"), "{runs}");
    let told = said(&world, &["show", &run]);
    assert!(told.contains("failed as a drill") && !told.contains("rolled back"), "{told}");
    // Whoever looks at what runs is told.
    let why = world.run(0, &["why", "dev"]);
    assert_eq!(next(&why), format!("promo show {run}"), "{why}");
    let again = why["also"][0]["command"].as_str().unwrap().replace(" --policy policy.toml", "");
    assert_eq!(again, "promo rollback dev --drill --out drill.plan.json");
}

#[test]
fn s10_whoever_is_about_to_go_a_way_back_whose_drill_failed_is_told_that() {
    let world = World::new();
    let view = world.run(0, &["rollback", "perf", "--drill"]);
    let row = view["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "perf").unwrap();
    let back = &row["drill"];
    let load = format!("run = [\"sh\", \"-c\", \"test $PROMO_RELEASE != {}\"]", back["id"].as_str().unwrap());
    world.edit("promo.toml", "run = [\"checks/load.sh\"], files = [\"checks/load.sh\"]", &load);
    let rollback = |words: &[&str]| {
        let text = said(&world, &[&["rollback", "perf"], words].concat());
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(!rollback(&[]).contains("was tried in run"));
    world.run(0, &["rollback", "perf", "--drill", "--out", "drill.json"]);
    world.run(40, &["apply", "drill.json"]);
    // As long as the check that it failed is asked for, it is no way back at all.
    world.run(21, &["rollback", "perf"]);
    world.edit("promo.toml", "verify = [\"smoke\", \"load\"]", "verify = [\"smoke\"]");
    let (id, alias) = (back["id"].as_str().unwrap(), back["alias"].as_str().unwrap());
    let release = format!("{id} (#{} {alias})", back["lineage"]);
    let tried = format!("going back to {release} was tried in run {}, and failed: load failed", world.newest_run());
    assert!(rollback(&[]).contains(&tried), "{}", rollback(&[]));
    assert!(
        rollback(&["--format", "markdown"]).contains("was tried in run"),
        "{}",
        rollback(&["--format", "markdown"])
    );
    // Where the same way is only tried once more, that is what it is for.
    assert!(!rollback(&["--drill"]).contains("was tried in run"));
}
