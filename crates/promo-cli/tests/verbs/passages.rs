//! How far a release has come, as `release show` tells it. What must not live here: what lets it in.

use serde_json::{Value, json};

use crate::fixture::{World, said};

/// A release in an environment.
fn passage<'a>(shown: &'a Value, environment: &str) -> &'a Value {
    let all = shown["passages"].as_array().unwrap();
    all.iter().find(|one| one["environment"] == environment).unwrap_or_else(|| panic!("{environment}: {shown}"))
}

#[test]
fn a_release_is_shown_in_every_environment_with_its_checks_what_let_it_in_and_what_bars_it() {
    let world = World::new();
    let shown = world.run(0, &["release", "show", "1.1.0"]);
    let names: Vec<&str> =
        shown["passages"].as_array().unwrap().iter().map(|one| one["environment"].as_str().unwrap()).collect();
    let at = |name: &str| names.iter().position(|one| *one == name).unwrap();
    assert!(at("dev") < at("qa") && at("qa") < at("staging") && at("staging") < at("production"), "{names:?}");
    // Where it runs: since when, what each check said and when, and what was judged when it was let in.
    let staging = passage(&shown, "staging");
    assert_eq!((&staging["stands"], &staging["verified"]), (&json!("runs"), &json!(true)), "{staging}");
    let stays = staging["stays"].as_array().unwrap();
    assert!(stays[0]["from"].is_string() && stays.last().unwrap()["until"].is_null(), "{staging}");
    let checks = staging["checks"].as_array().unwrap();
    assert!(!checks.is_empty() && checks.iter().all(|one| one["holds"] == true && one["at"].is_string()), "{staging}");
    let entered = &staging["entered"];
    assert_eq!((&entered["well"], entered["plan"].is_string()), (&json!(true), true), "{entered}");
    let gates = entered["gates"].as_array().unwrap();
    let codes: Vec<&str> = gates.iter().map(|gate| gate["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"verified") && gates.iter().all(|gate| gate["who"].is_null()), "{codes:?}");
    assert_eq!(staging["bars"], json!([]), "{staging}");
    // Where it went back: that it was there, and what bars it now, for whom and with which command.
    let production = passage(&shown, "production");
    assert_eq!((&production["stands"], &production["entered"]["well"]), (&json!("was"), &json!(false)), "{production}");
    let bars = production["bars"].as_array().unwrap();
    let barred = bars.iter().find(|gate| gate["code"] == "quarantined").unwrap();
    assert_eq!(barred["who"], "application", "{barred}");
    assert!(barred["next"].as_str().unwrap().starts_with("promo release lift r-"), "{barred}");
    // Who approved it, where people were asked.
    let asked = production["entered"]["gates"].as_array().unwrap().iter().find(|gate| gate["kind"] == "approval");
    let (told, by) = (asked.unwrap()["text"].as_str().unwrap(), asked.unwrap()["let_in"][0].as_str().unwrap());
    assert_eq!(told, format!("approval 1 of 1 by {by}"), "{production}");
    let quarantine = &shown["quarantines"][0];
    assert_eq!((&quarantine["scope"], &quarantine["automatic"]), (&json!("production"), &json!(true)), "{quarantine}");
    assert!(quarantine["lift"].as_str().unwrap().contains("--environment production"), "{quarantine}");
    // The answer stands first, and each environment below it.
    let text = said(&world, &["release", "show", "1.1.0"]);
    let answer = text.lines().nth(1).unwrap();
    assert!(answer.contains("runs in dev, ") && answer.contains("was in production"), "{text}");
    for words in ["runs there from ", "judged then: ✓ ", " passed ", "lifted by `promo release lift r-", "let in "] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_rejection_and_a_recall_are_shown_with_who_why_and_what_ends_them() {
    let world = World::new();
    let shown = world.run(0, &["release", "show", "1.1.0"]);
    let digest = shown["artifacts"]["shop"].as_str().unwrap().split('@').nth(1).unwrap().to_owned();
    world.run(0, &["release", "recall", &digest, "--reason", "CVE-2026-1"]);
    let shown = world.run(0, &["release", "show", "1.1.0"]);
    let recall = &shown["recalls"][0];
    assert_eq!((&recall["digest"], &recall["reason"]), (&json!(digest), &json!("CVE-2026-1")), "{shown}");
    assert!(recall["lift"].as_str().unwrap().contains(&format!("release lift {digest} --reason")), "{recall}");
    let everywhere = shown["quarantines"].as_array().unwrap().iter().find(|one| one["scope"].is_null()).unwrap();
    assert!(everywhere["by"].is_string() && everywhere["at"].is_string(), "{everywhere}");
    let text = said(&world, &["release", "show", "1.1.0"]);
    for words in
        ["✗ quarantined everywhere by ", "in it was recalled by ", ": “CVE-2026-1”", "(ended by `promo release"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}
