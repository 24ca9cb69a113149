//! What screens say where another configuration of what runs in an environment failed, and not the release (S0.4). What must not
//! live here: what decides.

use serde_json::json;

use crate::fixture::{World, next, promo, row, said, texts};

/// What failed.
const WHAT: &str = "failed with another configuration (config/staging.env)";

/// Staging is configured with too few workers for what runs there; `on_failure` says what becomes of that. Also what was said.
fn failed(on_failure: &str) -> (World, String) {
    let world = World::new();
    world.release("1.2.0", 3);
    world.edit("promo.toml", "tier   = \"staging\"", &format!("tier   = \"staging\"\non_failure = \"{on_failure}\""));
    world.write("config/staging.env", "WORKERS=1\n");
    let output = promo(&world.at, &["advance"]);
    let (out, err) = texts(&output);
    let code = if on_failure == "hold" { 41 } else { 40 };
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (world, err + &out)
}

/// Riley lifts the pause after a way back.
fn unfreeze(world: &World, name: &str, reason: &str) {
    let with = ["--reason", reason, "--key", "keys/riley", "--signer", "built-in"];
    world.run(0, &[&["unfreeze", name], &with[..]].concat());
}

/// The line that has a text, of which there is one at least.
fn line<'t>(text: &'t str, part: &str) -> &'t str {
    text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {text}"))
}

#[test]
fn s0_4_a_configuration_that_failed_and_was_taken_back_is_called_that_on_every_screen() {
    let (world, told) = failed("rollback");
    let enters = line(&told, " enters ");
    assert!(enters.ends_with(" enters with another configuration (config/staging.env)"), "{told}");
    assert!(line(&told, " going back to r-").contains(" as it was configured before: "), "{told}");
    let ended = format!(" {WHAT} and was rolled back");
    // As it happens, and in the report.
    assert_eq!(told.lines().filter(|line| line.ends_with(&ended)).count(), 2, "{told}");
    let run = world.newest_run();
    let status = said(&world, &["status"]);
    assert!(line(&status, "last: r-").ends_with(&ended), "{status}");
    let why = said(&world, &["why", "staging"]);
    assert!(line(&why, &run).contains(&ended), "{why}");
    for (words, whole) in [(&["history", "staging"][..], " → r-"), (&["show", &run], "  staging  r-")] {
        let text = said(&world, words);
        let line = line(&text, " failed and was rolled back");
        let line = if line.contains(whole) { line } else { self::line(&text, "other configuration") };
        assert!(line.contains(" with another configuration (config/staging.env) "), "{words:?}: {text}");
    }
    let files = json!(["config/staging.env"]);
    assert_eq!(world.run(0, &["history", "staging"])["promotions"][0]["configuration"], files);
    assert_eq!(world.run(0, &["show", &run])["environments"][0]["configuration"], files);
    // A release that failed is one that failed.
    let history = world.run(0, &["history"]);
    let others = history["promotions"].as_array().unwrap().iter().filter(|one| one["movement"] != "reconfiguration");
    let configured: Vec<_> = others.map(|one| &one["configuration"]).collect();
    assert!(configured.len() > 10 && configured.iter().all(|none| none.is_null()), "{history}");
}

#[test]
fn s0_4_why_leads_to_the_run_that_failed_and_not_to_a_good_one_after_it() {
    let (world, _) = failed("hold");
    let run = world.newest_run();
    world.write("config/staging.env", "WORKERS=8\n");
    world.run(0, &["plan", "staging", "--release", "1.2.0", "--out", "staging.plan.json"]);
    world.run(0, &["apply", "staging.plan.json"]);
    assert_ne!(world.newest_run(), run);
    // What failed stands in the file again.
    world.write("config/staging.env", "WORKERS=1\n");
    let why = world.run(0, &["why", "staging", "1.2.0"]);
    assert_eq!(why["configuration_failed"], json!(true), "{why}");
    let leads = format!("{} {}", next(&why), why["also"]);
    assert!(leads.contains(&format!("show {run}")) && !leads.contains(&world.newest_run()), "{leads}");
}

#[test]
fn s0_4_a_hold_says_that_the_configuration_failed_and_that_the_release_can_stay() {
    let (world, told) = failed("hold");
    assert!(told.contains(&format!(" {WHAT} and is held for a person\n")), "{told}");
    for words in [&["why", "staging"][..], &["why", "staging", "1.2.0"]] {
        let why = said(&world, words);
        let hold = line(&why, "✗ held since ");
        assert!(hold.contains(&format!(" {WHAT} of r-")), "{why}");
        let stays =
            "… the release can stay: once config/staging.env is mended or put back, `promo plan staging` plans that";
        assert!(why.contains(stays), "{why}");
    }
    assert_eq!(row(&world, "staging")["holds"][0]["configuration"], json!(["config/staging.env"]));
    // Automation is told the same of what it may not enter.
    world.write("config/common.env", "NEEDS_WORKERS=1\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    promo(&world.at, &["advance"]);
    let newer = world.run(0, &["why", "staging", "1.3.0", "--actor-kind", "automation"]);
    assert!(newer["codes"].as_array().unwrap().contains(&"held".into()), "{newer}");
    let text = said(&world, &["why", "staging", "1.3.0", "--actor-kind", "automation"]);
    let gate = line(&text, " and is held for a person");
    assert!(gate.contains(&format!(" {WHAT} of r-")), "{text}");
    // Once it is put back that ends the hold, and the release is not left.
    world.write("config/staging.env", "WORKERS=8\n");
    let why = world.run(0, &["why", "staging", "1.2.0"]);
    assert_eq!(next(&why), "promo plan staging --out staging.plan.json", "{why}");
    world.run(0, &["plan", "staging", "--release", "1.2.0", "--out", "staging.plan.json"]);
    world.run(0, &["apply", "staging.plan.json"]);
    assert_eq!(row(&world, "staging")["holds"], json!(null));
}

/// It bars nothing, since the release may have been at fault; whoever plans it again is told.
#[test]
fn s0_4_a_configuration_that_failed_with_another_release_is_not_offered_again_without_a_word() {
    let world = World::new();
    let to_qa = |alias: &str, workers: u32| {
        world.write("config/common.env", &format!("NEEDS_WORKERS={workers}\n# {alias}\n"));
        world.run(0, &["release", "add", "shop=1.0.0", "--alias", alias]);
        world.run(0, &["plan", "--until", "qa", "--out", "qa.json"]);
        world.run(0, &["apply", "qa.json"]);
        world.run(0, &["plan", "--until", "perf", "--out", "perf.json"]);
        world.run(0, &["apply", "perf.json"]);
    };
    to_qa("1.2.0", 3);
    let before = std::fs::read_to_string(world.at.join("config/staging.env")).unwrap();
    world.write("config/staging.env", "WORKERS=2\n");
    let output = promo(&world.at, &["advance"]);
    assert_eq!(output.status.code(), Some(40), "{:?}", texts(&output));
    let run = world.newest_run();
    let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = |words: &[&str]| {
        let text = flat(said(&world, words));
        let failed = "with the configuration (config/staging.env) that failed here with r-";
        let fault = format!("(`promo show {run}`): which of the two was at fault is not known");
        assert_eq!(text.contains(failed), text.contains(&fault), "{words:?}: {text}");
        text.contains(failed) && text.contains("(#3 1.2.0)")
    };
    // It is back already: to leave what it went back to is another matter, and said so first.
    let back = world.run(0, &["rollback", "staging"]);
    let rows = back["environments"].as_array().unwrap().iter();
    let note = &rows.filter(|row| row["environment"] == "staging").map(|row| &row["notes"][0]).next().unwrap();
    let text = note["text"].as_str().unwrap();
    assert!(note["code"] == "back-already" && text.contains(" (#3 1.2.0) failed (`promo show "), "{back}");
    // With what runs there again, and with what comes next: no release was named by anybody.
    let all: [&[&str]; 3] = [&["plan", "staging"], &["status"], &["why", "staging", "1.1.0"]];
    assert_eq!(all.map(told), [true; 3]);
    let plan = world.run(0, &["plan", "staging"]);
    assert_eq!(plan["summary"]["can_start"], json!(["staging"]), "it bars nothing: {plan}");
    to_qa("1.3.0", 1);
    let all: [&[&str]; 3] = [&["plan", "staging"], &["status"], &["why", "staging"]];
    assert_eq!(all.map(told), [true; 3]);
    assert_eq!(row(&world, "staging")["failed_with"]["files"], json!(["config/staging.env"]));
    assert_eq!(world.run(0, &["why", "staging"])["failed_with"]["run"], run.as_str());
    // Put back, it is another one; once it was seen to be good there, nothing is left of that.
    world.write("config/staging.env", &before);
    assert_eq!(all.map(told), [false; 3]);
    world.write("config/staging.env", "WORKERS=2\n");
    world.run(0, &["plan", "staging", "--out", "staging.json"]);
    world.run(0, &["apply", "staging.json"]);
    to_qa("1.4.0", 1);
    assert_eq!(all.map(told), [false; 3]);
}

/// The checks of what was there before say nothing of a configuration that never came.
#[test]
fn s0_4_a_configuration_that_could_not_be_deployed_has_not_passed_its_checks_since() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.edit("promo.toml", "tier   = \"staging\"", "tier   = \"staging\"\non_failure = \"hold\"");
    world.write("config/staging.env", "WORKERS=5\n");
    // What is there can be seen, and not be replaced.
    let lock = world.at.join("environments/staging/.promo.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    world.run(0, &["plan", "staging", "--out", "p.json"]);
    world.run(41, &["apply", "p.json"]);
    assert_eq!(row(&world, "staging")["holds"][0]["cause"], "deployment");
    let why = said(&world, &["why", "staging"]);
    let hold = line(&why, "✗ held since ");
    assert!(hold.contains(&format!(" {WHAT} of r-")) && hold.contains(", which could not be deployed ("), "{why}");
    assert!(!why.contains("passed its checks since"), "{why}");
    // To go back is to put there what was, and not to leave the release.
    std::fs::remove_dir(&lock).unwrap();
    world.run(0, &["rollback", "staging", "--out", "back.plan.json"]);
    world.run(0, &["apply", "back.plan.json"]);
    assert_eq!(row(&world, "staging")["release"]["alias"], "1.2.0");
}

/// What failed is not retried by itself, however it is asked for; what is named is, and so is what was mended (S3.3).
#[test]
fn s3_3_a_configuration_that_failed_is_not_tried_again_by_itself() {
    let (world, _) = failed("rollback");
    unfreeze(&world, "staging", "looked at it");
    let runs = || world.run(0, &["history"])["promotions"].as_array().unwrap().len();
    let before = runs();
    let plan = world.run(0, &["plan", "staging"]);
    assert_eq!(plan["summary"]["can_start"], json!([]), "{plan}");
    let told = said(&world, &["plan", "staging"]);
    assert!(
        told.contains("this configuration of it was tried before, failed, and is not repeated by itself"),
        "{told}"
    );
    let output = promo(&world.at, &["advance"]);
    assert_eq!((output.status.code(), runs()), (Some(0), before), "{:?}", texts(&output));
    let row = row(&world, "staging");
    assert_eq!((&row["reconfigured"], &row["configuration_failed"]), (&json!(true), &json!(true)), "{row}");
    let (why, id) = (world.run(0, &["why", "staging"]), row["release"]["id"].as_str().unwrap().to_owned());
    assert_eq!(next(&why), format!("promo show {}", world.newest_run()), "{why}");
    let by_name = format!("promo plan staging --release {id} --out staging.plan.json");
    assert!(why["also"][0]["command"].as_str().unwrap().ends_with(&by_name["promo ".len()..]), "{why}");
    let told = said(&world, &["why", "staging"]);
    assert!(
        told.contains("than the one that was deployed, and failed before: mend or put back what it changes"),
        "{told}"
    );
    // By name it is tried again, and fails again.
    world.run(0, &["plan", "staging", "--release", &id, "--out", "again.plan.json"]);
    world.run(40, &["apply", "again.plan.json"]);
    assert_eq!(runs(), before + 1);
    unfreeze(&world, "staging", "looked at it again");
    // Another one is another one, and what worked once is not barred by what was tried in between.
    world.write("config/staging.env", "WORKERS=9\n");
    let output = promo(&world.at, &["advance"]);
    assert_eq!((output.status.code(), runs()), (Some(0), before + 2), "{:?}", texts(&output));
    assert_eq!(self::row(&world, "staging")["configuration_failed"], json!(null));
    world.write("config/staging.env", "WORKERS=1\n");
    assert_eq!(self::row(&world, "staging")["configuration_failed"], json!(true), "it is what failed before");
}

/// What never came to be deployed is known by its record.
#[test]
fn s3_3_a_configuration_that_could_not_be_deployed_is_not_tried_again_by_itself() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.edit("promo.toml", "tier   = \"staging\"", "tier   = \"staging\"\non_failure = \"hold\"");
    world.write("config/staging.env", "WORKERS=5\n");
    let lock = world.at.join("environments/staging/.promo.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    world.run(0, &["plan", "staging", "--out", "p.json"]);
    world.run(41, &["apply", "p.json"]);
    std::fs::remove_dir(&lock).unwrap();
    world.run(0, &["rollback", "staging", "--out", "back.plan.json"]);
    world.run(0, &["apply", "back.plan.json"]);
    let plan = world.run(0, &["plan", "staging"]);
    assert_eq!(plan["summary"]["can_start"], json!([]), "{plan}");
    assert_eq!(row(&world, "staging")["configuration_failed"], json!(true));
}

#[test]
fn s3_3_a_configuration_that_failed_and_was_put_back_leaves_nothing_to_do() {
    let world = World::new();
    let (before, file) = (next(&world.run(0, &["status"])), std::fs::read_to_string(world.at.join("config/dev.env")));
    world.write("config/dev.env", "WORKERS=0\n");
    let output = promo(&world.at, &["advance"]);
    assert_eq!(output.status.code(), Some(40), "{:?}", texts(&output));
    world.write("config/dev.env", &file.unwrap());
    unfreeze(&world, "dev", "it is put back");
    assert_ne!(before, "promo why dev");
    assert_eq!(next(&world.run(0, &["status"])), before);
}
