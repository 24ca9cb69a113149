//! What screens say where a run left an environment half-way: on the places, about what was verified, and what leads on.

use serde_json::{Value, json};

use crate::fixture::{World, next, row, said};
use crate::waves::until_it_pauses;

const ONE: &str = "target = { directory = \"environments/dev\" }";
const TWO: &str = "targets = { eu = { directory = \"environments/eu\" }, us = { directory = \"environments/us\" } }";

/// The words of a screen, wherever its lines end.
fn screen(world: &World, words: &[&str]) -> String {
    said(world, words).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same, up to where the next environment is told of.
fn of_dev(world: &World, words: &[&str]) -> String {
    screen(world, words).split(" perf ").next().unwrap().to_owned()
}

/// The example with two places for dev, which both run one release.
fn two_places(waves: &str) -> (World, String) {
    let world = World::new();
    world.edit("promo.toml", ONE, &format!("{TWO}\n{waves}"));
    world.hold_check("nowhere");
    world.release("1.2.0", 3);
    let before = row(&world, "dev")["release"]["id"].as_str().unwrap().to_owned();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    (world, before)
}

/// Nothing can be seen of us any more, nor deployed there.
fn take_us_away(world: &World) {
    std::fs::remove_dir_all(world.at.join("environments/us")).unwrap();
    world.write("environments/us", "no directory\n");
}

fn left(hold: &Value) -> Vec<(&str, &str, &Value)> {
    let all = hold["left"].as_array().unwrap_or_else(|| panic!("{hold}"));
    all.iter().map(|one| (one["target"].as_str().unwrap(), one["what"].as_str().unwrap(), &one["release"])).collect()
}

#[test]
fn s9_6_a_way_back_that_came_half_way_is_told_place_by_place_and_led_on_from() {
    let (world, before) = two_places("");
    let after = world.run(0, &["show", "p.json"]);
    let after = after["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap();
    let after = after["to"]["id"].as_str().unwrap().to_owned();
    // The check of the release fails, and one of the two places is gone by then.
    world.edit(
        "promo.toml",
        "run = [\"checks/smoke.sh\"], files = [\"checks/smoke.sh\"]",
        &format!(
            "run = [\"sh\", \"-c\", \"test $PROMO_RELEASE != {after} || {{ rm -rf '{at}/environments/us'; touch '{at}/environments/us'; exit 1; }}\"]",
            at = world.at.display()
        ),
    );
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.run(41, &["apply", "p.json"]);
    let run = world.newest_run();

    let status = world.run(0, &["status"]);
    let dev = &status["environments"][0];
    let hold = &dev["holds"][0];
    assert_eq!(left(hold).iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(), [("eu", "release"), ("us", "unknown")]);
    assert_eq!((&hold["left"][0]["release"]["id"], &dev["verified"]), (&json!(before), &json!(false)), "{dev}");
    for words in [&["status"][..], &["why", "dev"]] {
        let text = of_dev(&world, words);
        assert!(text.contains("eu is back on ") && text.contains(&before), "{text}");
        let back =
            if words.len() == 1 { ", as did going back (`promo why dev`)" } else { "; going back failed too, and eu" };
        assert!(text.contains(back), "{text}");
        assert!(text.contains("what runs on us is not known"), "{text}");
        assert!(!text.contains(&format!("{after} (#4 1.3.0) is there now")), "{text}");
        assert!(!text.contains("runs in dev") && !text.contains("✓ verified, there for"), "{text}");
    }
    let rest = "what is known of what is there now stands above, and `promo drift dev` looks at the rest";
    assert!(screen(&world, &["why", "dev"]).contains(rest), "{}", said(&world, &["why", "dev"]));
    let why = world.run(0, &["why", "dev"]);
    assert_eq!(next(&why), "promo rollback dev --out back.plan.json");
    // What it left there is no change by hand, and what failed is not deployed once more.
    std::fs::remove_file(world.at.join("environments/us")).unwrap();
    let drift = world.run(0, &["drift", "dev"]);
    assert_eq!(next(&drift), "promo rollback dev --out back.plan.json", "{drift}");
    assert!(
        drift["environments"][0]["says"].as_str().unwrap().contains(&format!("run {run} ended half-way")),
        "{drift}"
    );
    let back = world.run(0, &["rollback", "dev", "--out", "back.plan.json"]);
    let row = back["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap();
    let notes: Vec<&str> = row["notes"].as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
    assert!(notes.iter().all(|note| !note.contains("by hand")), "{notes:?}");
    let already =
        |note: &&&str| note.starts_with("eu runs ") && note.ends_with(&format!("already: run {run} left it so"));
    assert!(notes.iter().find(already).is_some(), "{notes:?}");
    world.run(0, &["apply", "back.plan.json"]);
    let dev = super::fixture::row(&world, "dev");
    assert_eq!((&dev["release"]["id"], &dev["verified"]), (&json!(before), &json!(true)), "{dev}");
    assert_eq!(dev["holds"].as_array().unwrap().iter().filter(|hold| hold["run"] != Value::Null).count(), 0, "{dev}");
}

#[test]
fn s9_6_what_was_gone_back_to_half_way_is_not_called_verified_and_is_what_ends_the_hold() {
    let (world, before) = two_places("waves = [{ targets = [\"eu\"], pause = \"4s\" }, { targets = [\"us\"] }]");
    let (mut child, lines) = until_it_pauses(&world, "p.json");
    take_us_away(&world);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(41), "{rest:#?}");

    let dev = row(&world, "dev");
    assert_eq!((&dev["release"]["id"], &dev["verified"]), (&json!(before), &json!(false)), "{dev}");
    let hold = &dev["holds"][0];
    assert_eq!(left(hold).iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(), [("eu", "release"), ("us", "unknown")]);
    let ends = format!("promo plan dev --release {before} --out dev.plan.json");
    assert_eq!(hold["ends"], ends, "what failed is no way out");
    for words in [&["status"][..], &["why", "dev"], &["why", "dev", &before]] {
        let text = of_dev(&world, words);
        assert!(text.contains("eu is back on ") && text.contains("what runs on us is not known"), "{text}");
        assert!(!text.contains("✓ verified, there for") && !text.contains("✓ smoke passed"), "{words:?}: {text}");
    }
    assert_eq!(next(&world.run(0, &["why", "dev"])), ends);
    std::fs::remove_file(world.at.join("environments/us")).unwrap();
    let words: Vec<&str> = ends.split(' ').skip(1).collect();
    world.run(0, &words);
    world.run(0, &["apply", "dev.plan.json"]);
    let dev = row(&world, "dev");
    assert_eq!((&dev["holds"], &dev["verified"]), (&Value::Null, &json!(true)), "{dev}");
}

#[test]
fn s9_6_what_a_run_is_moving_has_not_drifted_and_is_not_to_be_put_back() {
    let world = super::waves::world("9m");
    world.run(0, &["plan", "dev", "--out", "plan.json"]);
    let (mut child, _lines) = until_it_pauses(&world, "plan.json");
    let run = world.newest_run();
    let to = world.run(0, &["status"])["runs"][0]["environments"]["dev"].as_str().unwrap().to_owned();
    let looks = |word: &str, stands: &str, leads: &str| {
        // Asked for by name or not, of the release itself or not: the run is the only reason.
        for words in [&["plan", "dev"][..], &["plan", "dev", "--release", &to], &["why", "dev"], &["why", "dev", &to]] {
            let text = screen(&world, words);
            assert!(text.contains(&format!("run {run} {word}")), "{words:?}: {text}");
            assert!(text.contains(stands), "{words:?}: {text}");
            for untrue in ["put back", "drift on", "tried before", "may not enter", " refused (", "held back"] {
                assert!(!text.contains(untrue), "{words:?}: {text}");
            }
            assert!(text.contains(&format!("Next: promo --policy policy.toml {leads} {run}")), "{words:?}: {text}");
        }
        let graph = said(&world, &["graph"]);
        let dev = graph.lines().find(|line| line.starts_with("dev ")).unwrap();
        assert!(dev.contains("was verified · ") && dev.contains(" a run ") && !dev.contains("✓ verified"), "{graph}");
        assert!(said(&world, &["graph", "--syntax", "mermaid"]).contains("<br/>a run moves it\"]"));
        let why = world.run(0, &["why", "dev"]);
        assert_eq!(why["outcome"], "waiting", "{why}");
        let plan = world.run(20, &["plan", "dev", "--detailed-exitcode"]);
        let row = &plan["environments"][0];
        assert_eq!((&row["says"], &row["to"]["id"]), (&json!(stands), &json!(to)), "{row}");
        let drift = said(&world, &["drift", "dev"]);
        assert!(drift.contains(&format!("run {run} {word}")), "{drift}");
        let advanced = super::fixture::promo(&world.at, &["advance"]);
        let text = super::fixture::texts(&advanced).0;
        let dev: Vec<&str> = text.lines().filter(|line| line.starts_with("dev ")).collect();
        assert!(dev.len() == 1 && dev[0].contains(&run), "the run, and nothing beside it: {text}");
        let events = super::fixture::texts(&super::fixture::promo(&world.at, &["advance", "--format", "json"])).0;
        let waiting: Vec<&str> = events.lines().filter(|line| line.contains("\"waiting\"")).collect();
        let dev = waiting.iter().find(|line| line.contains("\"environment\":\"dev\"")).unwrap();
        assert!(dev.contains(stands) && !dev.contains("tried-before"), "{dev}");
    };
    looks("is moving", "under way", "show");
    child.kill().unwrap();
    child.wait().unwrap();
    looks("stopped while it was moving", "stopped half-way", "resume");
    world.run(0, &["cancel", &run]);
}

#[test]
fn s10_1_from_what_came_half_way_a_person_goes_back_to_what_was_healthy_there_and_nothing_healthy_is_quarantined() {
    let (world, older) = two_places("");
    world.run(0, &["apply", "p.json"]);
    let healthy = row(&world, "dev")["release"]["id"].as_str().unwrap().to_owned();
    world.edit(
        "promo.toml",
        TWO,
        &format!("{TWO}\nwaves = [{{ targets = [\"eu\"], pause = \"9m\" }}, {{ targets = [\"us\"] }}]"),
    );
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.4.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.4.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let (mut child, _lines) = until_it_pauses(&world, "p.json");
    child.kill().unwrap();
    child.wait().unwrap();
    let run = world.newest_run();
    // Who plans the way back is told what it waits for, and what ends that.
    let waits = world.run(20, &["rollback", "dev"]);
    assert_eq!(waits["environments"][0]["to"]["id"], json!(healthy), "{waits}");
    assert!(waits["environments"][0]["gates"].to_string().contains(&format!("run {run} stopped while ")), "{waits}");
    let text = screen(&world, &["rollback", "dev"]).replace(" --policy policy.toml", "");
    assert!(text.contains(&format!("promo resume {run}")) && text.contains(&format!("promo cancel {run}")), "{text}");
    assert!(!text.contains("there is no release that it could go back to"), "{text}");
    // Who wants neither to go on nor to stay reads how to go back.
    let stopped = world.run(0, &["why", "dev"]);
    assert_eq!(
        stopped["also"][0]["command"].as_str().unwrap().replace(" --policy policy.toml", ""),
        format!("promo cancel {run}")
    );
    world.run(0, &["cancel", &run]);
    let hold = row(&world, "dev")["holds"][0].clone();
    assert_eq!(
        (&hold["kind"], &hold["back"]),
        (&json!("cancelled"), &json!("promo rollback dev --out back.plan.json"))
    );
    let why = world.run(0, &["why", "dev"]);
    assert!(why["also"][0]["command"].as_str().unwrap().contains(" rollback dev "), "{why}");
    assert!(screen(&world, &["why", "dev"]).contains("plans, or what `promo rollback dev` does"));
    assert!(world.run(0, &["drift", "dev"])["also"].to_string().contains("rollback dev"));

    let text = of_dev(&world, &["status"]);
    assert!(text.contains(" was deployed last, ") && !text.contains("there for"), "{text}");
    let back = world.run(0, &["rollback", "dev", "--out", "back.plan.json"]);
    let planned = &back["environments"][0];
    assert_eq!((&planned["to"]["id"], &planned["movement"]), (&json!(healthy), &json!("rollback")), "{planned}");
    let text = screen(&world, &["show", "back.plan.json"]);
    assert!(text.contains(&format!("goes BACK to {healthy}")) && text.contains("as it was deployed"), "{text}");
    assert!(text.contains("nothing is quarantined") && !text.contains("is quarantined for dev"), "{text}");
    // Whoever names another one gets that.
    let named = world.run(0, &["rollback", "dev", "--to", &older]);
    assert_eq!(named["environments"][0]["to"]["id"], json!(older), "{named}");
    world.run(0, &["apply", "back.plan.json"]);
    let dev = row(&world, "dev");
    assert_eq!((&dev["release"]["id"], &dev["verified"]), (&json!(healthy), &json!(true)), "{dev}");
    assert_eq!(dev["rejected"], Value::Null, "{dev}");
    assert!(dev["holds"].as_array().unwrap().iter().all(|hold| hold["kind"] == "paused"), "{dev}");
    let listed = said(&world, &["release", "list"]);
    assert!(!listed.contains("quarantined after a rollback for dev"), "{listed}");
    // Its time there was broken by what came half-way, and began anew (S4.1).
    let shown = world.run(0, &["release", "show", &healthy]);
    let stays = shown["passages"][0]["stays"].as_array().unwrap();
    assert_eq!((stays.len(), stays.iter().filter(|stay| stay["until"].is_null()).count()), (2, 1), "{shown}");
    let text = said(&world, &["release", "show", &healthy]);
    assert_eq!(text.matches(" to now").count(), 1, "{text}");
    // It is whole again: from there a way back leads lower.
    let further = world.run(0, &["rollback", "dev"]);
    assert_eq!(further["environments"][0]["to"]["id"], json!(older), "{further}");
}

#[test]
fn s10_1_a_run_that_stopped_is_told_to_go_back_and_a_check_that_came_since_takes_no_way_back_away() {
    let world = World::new();
    world.hold_check("dev");
    world.write("go", "");
    world.release("1.2.0", 3);
    let older = row(&world, "dev")["release"].clone();
    world.release("1.3.0", 4);
    world.run(0, &["rollback", "dev", "--out", "back.plan.json"]);
    world.hold_again();
    world.start(&["apply", "back.plan.json"]).kill();
    let run = world.newest_run();
    for words in [&["status"][..], &["why", "dev"], &["plan", "dev"]] {
        let text = screen(&world, words);
        let way = format!("; the way back of dev to {} (#", older["id"].as_str().unwrap());
        assert!(text.contains(&way), "{words:?}: {text}");
    }
    assert_eq!(world.run(0, &["status"])["runs"][0]["backs"]["dev"], older);
    world.run(0, &["resume", &run]);
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.4.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.4.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
    world.edit(
        "promo.toml",
        "[environments.dev]",
        "[checks.slow]\ncommand = { run = [\"true\"] }\n\n[environments.dev]",
    );
    let verify = |checks: &str| format!("{ONE}\nverify = [{checks}]");
    world.edit("promo.toml", &verify("\"smoke\""), &verify("\"smoke\", \"slow\""));
    let older = older["id"].as_str().unwrap();
    // It is asked once the environment has gone back: nothing can ask it of what is not there.
    let back = world.run(0, &["rollback", "dev", "--out", "back.plan.json"]);
    let planned = &back["environments"][0];
    assert_eq!((&planned["to"]["id"], &planned["state"]), (&json!(older), &json!("can-start")), "{planned}");
    world.run(0, &["apply", "back.plan.json"]);
    let dev = row(&world, "dev");
    assert_eq!((&dev["release"]["id"], &dev["verified"]), (&json!(older), &json!(true)), "{dev}");
    assert!(dev["checks"].as_array().unwrap().contains(&json!(["slow", "passed"])), "{dev}");
}

#[test]
fn s10_1_a_check_that_fails_after_the_way_back_leaves_the_environment_held_on_what_it_went_back_to() {
    let world = World::new();
    world.release("1.2.0", 3);
    let older = row(&world, "dev")["release"].clone();
    world.release("1.3.0", 4);
    world.edit(
        "promo.toml",
        "[environments.dev]",
        "[checks.slow]\ncommand = { run = [\"false\"] }\n\n[environments.dev]",
    );
    let verify = |checks: &str| format!("{ONE}\nverify = [{checks}]");
    world.edit("promo.toml", &verify("\"smoke\""), &verify("\"smoke\", \"slow\""));
    world.run(0, &["rollback", "dev", "--out", "back.plan.json"]);
    world.run(41, &["apply", "back.plan.json"]);
    let dev = row(&world, "dev");
    assert_eq!((&dev["release"], &dev["verified"]), (&older, &json!(false)), "{dev}");
    assert!(dev["holds"].as_array().unwrap().iter().any(|hold| hold["kind"] == "failed"), "{dev}");
}

#[test]
fn s10_4_what_failed_half_way_is_quarantined_once_a_person_went_back_from_it() {
    let (world, lower) = two_places("on_failure = \"hold\"");
    world.run(0, &["apply", "p.json"]);
    let healthy = row(&world, "dev")["release"]["id"].as_str().unwrap().to_owned();
    let waves = "waves = [{ targets = [\"eu\"], pause = \"2s\" }, { targets = [\"us\"] }]";
    world.edit("promo.toml", TWO, &format!("{TWO}\n{waves}"));
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.4.0\n");
    let added = world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.4.0"]);
    let failing = added["id"].as_str().unwrap_or_else(|| panic!("{added}")).to_owned();
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let (mut child, _lines) = until_it_pauses(&world, "p.json");
    let us = world.at.join("environments/us");
    std::fs::rename(&us, world.at.join("aside")).unwrap();
    std::fs::write(&us, "no directory\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(41));
    std::fs::remove_file(&us).unwrap();
    std::fs::rename(world.at.join("aside"), &us).unwrap();
    let held = row(&world, "dev");
    assert_eq!((&held["release"]["id"], &held["holds"][0]["kind"]), (&json!(healthy), &json!("failed")), "{held}");

    world.run(0, &["rollback", "dev", "--out", "back.plan.json"]);
    let text = screen(&world, &["show", "back.plan.json"]);
    assert!(text.contains(&format!("goes BACK to {healthy}")), "{text}");
    assert!(text.contains(&format!("afterwards {failing} (#5 1.4.0) is quarantined for dev and downstream")), "{text}");
    // Whoever goes lower leaves both.
    world.run(0, &["rollback", "dev", "--to", &lower, "--out", "lower.plan.json"]);
    let text = screen(&world, &["show", "lower.plan.json"]);
    for left in [&failing, &healthy] {
        assert!(text.contains(&format!("promo release lift {left} --environment dev")), "{left}: {text}");
    }
    world.run(0, &["apply", "back.plan.json"]);
    let dev = row(&world, "dev");
    assert_eq!((&dev["release"]["id"], &dev["verified"]), (&json!(healthy), &json!(true)), "{dev}");
    assert_eq!(dev["rejected"], Value::Null, "what is there was not left: {dev}");
    let quarantined = |dev: &str| {
        let why = screen(&world, &["why", dev, &failing]);
        assert!(why.contains("quarantined after a rollback"), "{dev}: {why}");
    };
    quarantined("dev");
    quarantined("production");
}

#[test]
fn s1_3_what_was_gone_back_to_and_not_asked_since_is_not_called_verified_and_is_deployed_again() {
    let world = World::new();
    world.release("1.2.0", 3);
    let before = row(&world, "dev")["release"]["id"].as_str().unwrap().to_owned();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    let added = world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    let after = added["id"].as_str().unwrap_or_else(|| panic!("{added}")).to_owned();
    // The check fails what is new, and of what comes back it gives no answer before somebody lets it.
    let at = world.at.display();
    world.edit(
        "promo.toml",
        "run = [\"checks/smoke.sh\"], files = [\"checks/smoke.sh\"]",
        &format!(
            "run = [\"sh\", \"-c\", \"test $PROMO_RELEASE != {after} || exit 1; mkdir -p '{at}/reached'; while ! test -e '{at}/go'; do sleep 0.02; done\"]"
        ),
    );
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let apply = world.start(&["apply", "p.json"]);
    let run = world.newest_run();
    apply.kill();
    world.run(0, &["cancel", &run]);

    let dev = row(&world, "dev");
    let hold = &dev["holds"][0];
    assert_eq!((&dev["release"]["id"], &hold["left"]), (&json!(before), &Value::Null), "it is back, and whole: {dev}");
    assert_eq!((&hold["unasked"], &dev["verified"]), (&json!(true), &json!(false)), "{dev}");
    for words in [&["status"][..], &["why", "dev"], &["why", "dev", &before]] {
        let text = of_dev(&world, words);
        assert!(text.contains(&before), "{words:?}: {text}");
        let unasked = text.contains("is there now, whose checks were not asked since");
        assert_eq!(unasked, words.len() > 1, "{words:?}: {text}");
        assert!(!text.contains("✓ verified, there for") && !text.contains("✓ smoke passed"), "{words:?}: {text}");
    }
    let ends = format!("promo plan dev --release {before} --out dev.plan.json");
    assert_eq!((hold["ends"].as_str().unwrap(), next(&world.run(0, &["why", "dev"])).as_str()), (&*ends, &*ends));
    let words: Vec<&str> = ends.split(' ').skip(1).collect();
    world.run(0, &words);
    world.run(0, &["apply", "dev.plan.json"]);
    let dev = row(&world, "dev");
    assert_eq!((&dev["holds"], &dev["verified"]), (&Value::Null, &json!(true)), "{dev}");
}
