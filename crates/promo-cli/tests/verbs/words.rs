//! What screens say: one wording for one thing on every one of them, nothing twice, and a next command that leads on.

use serde_json::Value;

use crate::fixture::{World, promo, said, texts};
use crate::held::with_tool;

/// The answer of a verb as a person reads it.
fn screen(world: &World, expected: i32, words: &[&str]) -> String {
    let output = promo(&world.at, words);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(expected), "promo {}\n{out}\n{err}", words.join(" "));
    out + &err
}

fn last(screen: &str) -> &str {
    screen.lines().rev().find_map(|line| line.strip_prefix("Next: ")).unwrap_or_default()
}

#[test]
fn s9_1_a_program_that_is_missing_is_told_alike_by_every_verb_with_the_same_way_on() {
    let (world, tool) = with_tool();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "d.json"]);
    world.run(0, &["apply", "d.json"]);
    world.run(0, &["plan", "perf", "--out", "p.json"]);
    std::fs::remove_file(&tool).unwrap();
    let page = "promo explain check-not-runnable";
    let says = format!("the check load cannot be run here: program `{tool}` was not found");
    for (expected, words) in [
        (20, &["advance"][..]),
        (0, &["plan", "perf"]),
        (0, &["why", "perf"]),
        (0, &["check"]),
        (1, &["doctor", "--offline"]),
        (21, &["apply", "p.json"]),
    ] {
        let text = screen(&world, expected, words);
        assert!(text.contains(&says) && last(&text) == page, "{words:?}: {text}");
    }
    let why = world.run(0, &["why", "perf"]);
    assert!(why["outcome"] == "refused" && why["codes"][0] == "check-not-runnable", "{why}");
    // It may be elsewhere: the files are no worse for it.
    world.run(0, &["check", "--strict"]);
}

#[test]
fn a_file_that_is_missing_is_an_error_of_check_as_of_plan_and_leads_to_its_page() {
    let world = World::new();
    world.edit("promo.toml", "files = [\"checks/load.sh\"]", "files = [\"checks/nowhere.sh\"]");
    for words in [&["plan"][..], &["advance"]] {
        assert_eq!(world.refuses(65, "file-unreadable", words)["next"], "promo --policy policy.toml check");
    }
    assert_eq!(world.refuses(65, "file-unreadable", &["check"])["next"], "promo explain file-unreadable");
}

#[test]
fn s9_6_a_way_back_that_failed_is_told_as_what_happened_and_what_is_there_now() {
    let world = World::new();
    world.hold_check("nowhere");
    world.release("1.2.0", 3);
    let before = world.run(0, &["status"])["environments"][0]["release"]["id"].as_str().unwrap().to_owned();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.write("broken", "");
    let applied = screen(&world, 41, &["apply", "p.json"]);
    assert!(applied.contains("failed, as did going back, and is held for a person"), "{applied}");
    let run = world.newest_run();
    for words in [&["status"][..], &["why", "dev"], &["plan", "dev"], &["advance"]] {
        // What is held waits for a person, and a timer says so.
        let text = screen(&world, if words == ["advance"] { 20 } else { 0 }, words);
        let whole = text.contains("which was deployed and failed a check; going back failed too, and");
        assert!(whole || text.contains(", as did going back (`promo why dev`)"), "{words:?}: {text}");
        assert_eq!(whole, words[0] == "why", "{words:?}: {text}");
        assert!(!text.contains("could not be deployed"), "{words:?}: {text}");
    }
    for words in [&["history", "dev"][..], &["show", &run], &["status"], &["graph"]] {
        let text = screen(&world, 0, words);
        let told = text.contains("failed, as did going back, and is held for a person");
        assert!(told || words == ["status"], "{words:?}: {text}");
    }
    let why = world.run(0, &["why", "dev"]);
    let hold = &why["holds"][0];
    assert_eq!((&hold["cause"], &hold["went_back"]["there"]["id"]), (&"check".into(), &before.clone().into()), "{why}");
    // What is said to end it does.
    assert_eq!(hold["ends"], format!("promo plan dev --release {before} --out dev.plan.json"));
    std::fs::remove_file(world.at.join("broken")).unwrap();
    world.run(0, &["plan", "dev", "--release", &before, "--out", "again.json"]);
    world.run(0, &["apply", "again.json"]);
    assert_eq!(world.run(0, &["why", "dev"])["holds"], Value::Null);
}

#[test]
fn s3_3_plan_and_why_agree_about_what_was_tried_once_nothing_holds_it_any_more() {
    let world = World::new();
    let signed: &[&str] = &["--reason", "a test", "--key", "keys/riley", "--signer", "built-in"];
    world.run(0, &[&["unfreeze", "production"], signed].concat());
    world.run(0, &[&["release", "lift", "1.1.0", "--environment", "production"], signed].concat());
    let closed = |gates: &Value, code: &dyn Fn(usize) -> Value| -> Vec<Value> {
        let shut = gates.as_array().unwrap().iter().enumerate().filter(|(_, gate)| gate["outcome"] != "satisfied");
        shut.map(|(place, _)| code(place)).collect()
    };
    let (plan, why) = (world.run(0, &["plan", "production"]), world.run(0, &["why", "production"]));
    let of_plan = &plan["environments"][0]["gates"];
    let of_plan = closed(of_plan, &|place| of_plan[place]["code"].clone());
    assert_eq!(of_plan, closed(&why["gates"], &|place| why["codes"][place].clone()), "{plan}\n{why}");
    assert_eq!(of_plan, ["tried-before", "approvals"]);
    for words in [&["plan", "production"][..], &["why", "production"]] {
        let text = screen(&world, 0, words);
        assert!(text.contains("✗ was tried before and is not repeated by itself"), "{words:?}: {text}");
        assert!(!text.contains("--actor-kind"), "for automation it is the same: {words:?}: {text}");
    }
    let next = why["next"].as_str().unwrap();
    assert!(next.contains("plan production --release r-"), "{why}");
    // `status` does not lead to a plan that is refused.
    let status = world.run(0, &["status"]);
    assert_eq!(status["next"], "promo --policy policy.toml why production", "{status}");
    // By name both let it in, but for the approval.
    for words in [&["plan", "production", "--release", "1.1.0"][..], &["why", "production", "1.1.0"]] {
        let text = screen(&world, 0, words);
        assert!(!text.contains("tried before") && text.contains("approval 0 of 1"), "{words:?}: {text}");
        // Whoever asks: automation repeats by name too.
        let words = [words, &["--actor-kind", "automation"]].concat();
        let text = screen(&world, 0, &words);
        assert!(!text.contains("tried before") && text.contains("approval 0 of 1"), "{words:?}: {text}");
    }
}

#[test]
fn a_run_that_died_and_one_that_was_cancelled_are_told_in_the_same_words_on_every_screen() {
    let world = World::new();
    world.hold_check("dev");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let apply = world.start(&["apply", "p.json", "--lease", "1h"]);
    let run = world.newest_run();
    let screens: [&[&str]; 6] =
        [&["status"], &["history", "dev"], &["graph"], &["show", &run], &["runs"], &["show", "p.json"]];
    for words in &screens[1..] {
        assert!(screen(&world, 0, words).contains("is under way"), "{words:?}");
    }
    apply.kill();
    for words in screens {
        let text = screen(&world, 0, words);
        assert!(text.contains("has stopped without ending"), "{words:?}: {text}");
        let others = ["under way", "has begun and", "unfinished", "interrupted"];
        assert!(others.iter().all(|other| !text.contains(other)), "{words:?}: {text}");
    }
    // What is in the way is named, with what goes on with it.
    let error = world.refuses(20, "locked", &["verify", "dev"]);
    assert_eq!(error["next"], format!("promo --policy policy.toml resume {run}"), "{error}");
    world.run(0, &["cancel", &run]);
    for words in screens {
        let text = screen(&world, 0, words);
        assert!(text.contains("was cancelled") && !text.contains("failed and is held"), "{words:?}: {text}");
    }
    for words in [&["history", "dev"][..], &["graph"], &["show", &run], &["show", "p.json"]] {
        let text = screen(&world, 0, words);
        assert!(text.contains("was cancelled half-way and is held for a person"), "{words:?}: {text}");
    }
}

#[test]
fn a_list_of_releases_says_where_each_runs_and_beside_it_where_it_is_quarantined() {
    let world = World::new();
    let text = screen(&world, 0, &["release", "list"]);
    let line = text.lines().next().unwrap();
    let (runs, barred) = line.split_once("quarantined for production and downstream").unwrap();
    assert!(runs.trim_end().ends_with("runs in dev, perf, qa, staging") && barred.is_empty(), "{text}");
    world.run(0, &["release", "reject", "1.1.0", "--reason", "a test"]);
    assert!(screen(&world, 0, &["release", "list"]).contains("quarantined everywhere"));
    let shown = screen(&world, 0, &["release", "show", "1.1.0"]);
    assert!(
        shown.contains("✗ quarantined everywhere by dana") && shown.contains("✗ quarantined for production and"),
        "{shown}"
    );
}

#[test]
fn no_unfinished_run_is_said_in_a_line() {
    let world = World::new();
    let text = screen(&world, 0, &["runs", "--unfinished"]);
    assert!(text.starts_with("No run is unfinished") && last(&text).ends_with(" status"), "{text}");
}

#[test]
fn the_wait_that_status_suggests_reaches_the_window() {
    let world = World::new();
    world.release("1.2.0", 3);
    // Two days on, the whole day: at least a day from now.
    let at = |answer: &Value| -> jiff::Timestamp { answer["at"].as_str().unwrap().parse().unwrap() };
    let now = at(&world.run(0, &["status"]));
    let day = |days: u64| (now + std::time::Duration::from_secs(86_400 * days)).strftime("%Y-%m-%d").to_string();
    let once = format!("once     = {{ start = \"{}T00:00\", end = \"{}T00:00\" }}\n", day(2), day(3));
    let weekly = "weekly   = { days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"] }\n";
    world.edit("promo.toml", weekly, &once);
    world.edit("promo.toml", "timezone = \"Europe/Berlin\"", "timezone = \"UTC\"");
    world.plan("p.json");
    world.approve("p.json");
    let status = world.run(0, &["status"]);
    let opens: jiff::Timestamp =
        status["pending"][0]["environments"][0]["closed"][0]["until"].as_str().unwrap().parse().unwrap();
    let (_, wait) = status["next"].as_str().unwrap().split_once("apply p.json --wait ").unwrap();
    let hours: i64 = wait.strip_suffix('h').unwrap().parse().unwrap();
    let left = opens.duration_since(at(&status)).as_secs();
    assert!(left > 86_000 && hours * 3_600 >= left && hours * 3_600 < left + 7_200, "{left}: {status}");
}

#[test]
fn s12_6_a_clock_in_doubt_is_told_once_and_in_no_machine_s_notation() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.write_next_year();
    for words in [&["why", "production"][..], &["plan", "production"], &["plan", "production", "--format", "markdown"]]
    {
        let text = screen(&world, 0, words).replace('\\', "");
        assert_eq!(text.matches("the ledger's clock went back").count(), 1, "{words:?}: {text}");
        let machine = text.match_indices('T').any(|(at, _)| {
            let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
            at > 0 && digit(at - 1) && digit(at + 1)
        });
        assert!(!machine, "{words:?}: {text}");
    }
}

#[test]
fn s7_1_reading_goes_on_under_a_policy_whose_version_was_used_before_and_deciding_does_not() {
    let world = World::new();
    let text = std::fs::read_to_string(world.at.join("policy.toml")).unwrap();
    world.write("policy.toml", &format!("{text}\n# changed\n"));
    let run = world.newest_run();
    for words in [
        &["status"][..],
        &["why", "production"],
        &["history"],
        &["runs"],
        &["graph"],
        &["release", "list"],
        &["release", "show", "1.1.0"],
        &["show", &run],
    ] {
        let (out, err) = texts(&promo(&world.at, words));
        world.run(0, words);
        assert!(
            !out.is_empty() && err.contains("warning: the policy quickstart v1 is not the one"),
            "{words:?}: {err}"
        );
    }
    for words in [
        &["plan"][..],
        &["rollback", "dev"],
        &["advance"],
        &["verify", "dev"],
        &["freeze", "dev", "--reason", "a test"],
        &["apply", "production.plan.json"],
    ] {
        world.refuses(65, "policy-reused", words);
    }
}

#[test]
fn no_error_of_the_ledger_leads_back_to_the_verb_that_found_it() {
    let world = World::new();
    let whole = std::fs::read(world.at.join(".promo/ledger.db")).unwrap();
    world.write(".promo/ledger.db", "no ledger at all\n");
    for words in [&["ledger", "verify"][..], &["ledger", "checkpoint"], &["status"]] {
        assert_eq!(world.refuses(74, "ledger-unusable", words)["next"], "promo explain ledger-unusable", "{words:?}");
    }
    std::fs::write(world.at.join(".promo/ledger.db"), whole).unwrap();
    world.damage_ledger();
    assert_eq!(world.refuses(30, "ledger-damaged", &["ledger", "verify"])["next"], "promo explain ledger-damaged");
    let next = world.refuses(30, "ledger-damaged", &["status"])["next"].clone();
    assert_eq!(next, "promo --policy policy.toml ledger verify");
}

#[test]
fn history_tells_what_went_back_and_what_only_came_once_more() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.write("config/staging.env", "WORKERS=5\n");
    world.run(0, &["plan", "staging", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
    let told = |what: &str| {
        let history = said(&world, &["history", "staging"]);
        let count = history.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count, 1, "{what}: {history}");
    };
    told(" with another configuration (config/staging.env) ");
    std::fs::write(world.at.join("environments/staging/by-hand"), "").unwrap();
    std::fs::remove_file(world.at.join("environments/staging/current")).unwrap();
    world.run(0, &["plan", "staging", "--release", "1.2.0", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
    told(" (deployed again)");
    world.run(0, &["rollback", "staging", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
    told(" (back)");
}

#[test]
fn a_tag_that_is_not_there_leads_to_the_names_that_were_typed_and_not_to_this_machine() {
    let world = World::new();
    let error = world.refuses(65, "provider-not-found", &["release", "add", "shop=9.9.9"]);
    assert!(error["next"].as_str().unwrap().ends_with("release add --help"), "{error}");
    assert!(error["details"].to_string().contains("the tags that there are"), "{error}");
    assert!(error["details"].to_string().contains("9.9.9"), "it names what was asked for: {error}");
}
