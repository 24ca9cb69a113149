//! What somebody changed by hand, and files that several environments have, on the screens that lead on from them: each says what is
//! so, and what it leads to is not what was refused. What must not live here: what `promo drift` tells of a place.

use std::path::PathBuf;

use crate::circles::{good, walk_from};
use crate::fixture::{World, next, promo, row, said, texts};
use crate::ways_on::words;

/// A file of the tree that an environment has now.
fn live(world: &World, environment: &str, path: &str) -> PathBuf {
    world.at.join("environments").join(environment).join("current").canonicalize().unwrap().join(path)
}

/// Writes a line more into it.
fn append(world: &World, environment: &str, path: &str) {
    let file = live(world, environment, path);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}# by hand\n")).unwrap();
}

/// The commands that a plan leads on with, the best first.
fn ways(plan: &serde_json::Value) -> Vec<String> {
    let all = plan["next"].as_array().unwrap().iter();
    all.map(|way| way["command"].as_str().unwrap().replace(" --policy policy.toml", "")).collect()
}

/// The last line but the saved one of a plan in words: how it stands in short.
fn summary(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split("Plan: ").nth(1).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn what_a_check_upstream_keeps_from_being_put_back_leads_to_that_check_and_not_to_itself() {
    let world = World::new();
    // The load cannot be stood while that file is beside what was deployed.
    let load = std::fs::read_to_string(world.at.join("checks/load.sh")).unwrap();
    world.write("checks/load.sh", &load.replace("total=0", "[ ! -e \"$PROMO_TARGET_DIRECTORY/broken\" ]\ntotal=0"));
    world.release("1.2.0", 3);
    let id = row(&world, "staging")["release"]["id"].as_str().unwrap().to_owned();
    assert_eq!(row(&world, "staging")["release"]["alias"], "1.2.0");
    world.write("environments/perf/broken", "");
    world.run(21, &["verify", "perf"]);
    append(&world, "staging", "config/common.env");
    let repair = next(&world.run(0, &["drift", "staging"]));
    assert_eq!(repair, format!("promo plan staging --release {id} --out staging.plan.json"));
    let plan = world.run(0, &words(&repair));
    assert_eq!(plan["environments"][0]["state"], "refused", "{plan}");
    let text = said(&world, &words(&repair));
    assert!(text.contains("drift on default") && !text.contains("put back by"), "{text}");
    assert_eq!(ways(&plan)[0], format!("promo why perf {id}"), "{plan}");
    // Once that is mended there, what was refused is what leads on, and an end.
    std::fs::remove_file(world.at.join("environments/perf/broken")).unwrap();
    let typed = walk_from(&world, ways(&plan)[0].clone());
    assert!(typed.contains(&"promo verify perf".to_owned()), "{typed:#?}");
    let plan = world.run(0, &words(&repair));
    assert_eq!(plan["environments"][0]["state"], "can-start", "{plan}");
}

#[test]
fn the_last_line_of_a_plan_names_what_was_changed_by_hand_where_it_moves_too() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    append(&world, "dev", "config/common.env");
    append(&world, "staging", "config/common.env");
    let plan = world.run(0, &["plan"]);
    let dev = plan["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap();
    assert_eq!(dev["movement"], "promotion", "{plan}");
    assert_eq!(plan["summary"]["drift"], serde_json::json!(["dev", "staging"]), "{plan}");
    let text = said(&world, &["plan"]);
    assert!(summary(&text).contains("Drift: dev, staging."), "{text}");
}

#[test]
fn what_the_files_here_changed_is_not_told_as_changed_by_hand() {
    let world = good();
    append(&world, "dev", "config/common.env");
    let id = row(&world, "dev")["release"]["id"].as_str().unwrap().to_owned();
    let before = std::fs::read_to_string(world.at.join("config/dev.env")).unwrap();
    let words = ["plan", "dev", "--release", &id];
    let text = said(&world, &words).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("takes back what was changed by hand on default: config/common.env"), "{text}");
    world.write("config/dev.env", &format!("{before}# declared\n"));
    let text = said(&world, &words).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!text.contains("takes back what was changed by hand"), "{text}");
    assert!(text.contains("and its configuration here is another one: the changes below are"), "{text}");
    assert!(text.contains("`promo drift dev` tells what that was"), "{text}");
}

#[test]
fn shared_files_that_no_release_has_are_no_end_of_the_way() {
    let world = good();
    for words in [["plan"], ["status"]] {
        assert!(said(&world, &words).contains("verything is where it should be"), "{words:?}");
    }
    world.write("config/common.env", "NEEDS_WORKERS=3\n# another\n");
    let told =
        "A shared file here is not as in the newest release, and it enters only with a new one: `config/common.env`.";
    for words in [&["plan"][..], &["plan", "dev"], &["status"]] {
        let text = said(&world, words).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(told) && !text.contains("verything is where it should be"), "{text}");
        let last = text.split("Next: ").nth(1).unwrap_or_else(|| panic!("{text}"));
        assert!(last.contains("release add shop=TAG"), "{text}");
    }
    let plan = world.run(0, &["plan", "dev"]);
    let unreleased = serde_json::json!([{ "path": "config/common.env", "change": "changed" }]);
    assert_eq!(
        (&plan["unreleased"], ways(&plan)),
        (&unreleased, vec!["promo release add shop=TAG".to_owned()]),
        "{plan}"
    );
    // With the release that carries it, it is what moves.
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "another"]);
    let plan = world.run(0, &["plan", "dev"]);
    assert_eq!(
        (&plan["unreleased"], &plan["environments"][0]["movement"]),
        (&serde_json::Value::Null, &"promotion".into())
    );
}

#[test]
fn a_shared_file_that_was_changed_to_keep_what_is_there_leads_to_a_release() {
    let world = good();
    append(&world, "dev", "config/common.env");
    // Changed by a person, so that it is neither as it was deployed nor as it is there.
    world.write("config/common.env", "NEEDS_WORKERS=3\n# kept\n");
    let adopt = world.run(0, &["adopt", "dev"]);
    assert_eq!(adopt["files"][0]["state"], "changed-since", "{adopt}");
    assert_eq!(next(&adopt), "promo release add shop=TAG", "{adopt}");
    assert!(adopt["says"].as_str().unwrap().contains("`config/common.env`"), "{adopt}");
    let also = adopt["also"].to_string();
    assert!(also.contains("dev: take it back") && !also.contains("dev: keep it, once these files say so"), "{adopt}");
    // Before anybody changed it, the plan of one environment would not bring it either.
    let plan = world.run(0, &["plan", "dev"]);
    assert!(ways(&plan).contains(&"promo release add shop=TAG".to_owned()), "{plan}");
}

#[test]
fn where_a_place_cannot_be_looked_at_nothing_is_put_back_and_adopt_leads_on_as_drift_does() {
    let world = good();
    let id = row(&world, "qa")["release"]["id"].as_str().unwrap().to_owned();
    let (place, aside) = (world.at.join("environments/qa"), world.at.with_file_name("qa"));
    std::fs::rename(&place, &aside).unwrap();
    std::os::unix::fs::symlink("qa", &place).unwrap();
    for words in [&["plan", "qa"][..], &["plan"]] {
        let plan = world.run(0, words);
        assert_eq!(ways(&plan), ["promo doctor"], "{plan}");
        let text = said(&world, words);
        assert!(!text.contains("everything is where it should be") && !text.contains("put back"), "{text}");
    }
    for verb in ["drift", "adopt"] {
        assert_eq!(next(&world.run(1, &[verb, "qa"])), "promo doctor", "{verb}");
    }
    // What was left out is not said to be where it should be, by what is left.
    world.edit("config/qa.env", "WORKERS", "# another\nWORKERS");
    let output = promo(&world.at, &["plan"]);
    let (out, err) = texts(&output);
    let out = summary(&out);
    assert!(out.starts_with("Nothing would move of what could be looked at."), "{out}");
    assert!(out.contains("Left out: qa.") && !out.contains("everything is where it should be"), "{out}");
    assert!(err.contains("doctor"), "{err}");
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(aside, place).unwrap();
    assert_eq!(row(&world, "qa")["release"]["id"], id.as_str());
}
