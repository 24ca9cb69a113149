//! That the reading verbs tell the whole truth: what holds an environment and why, what waits for whom, which run is dead,
//! and a next command that leads on instead of around.

use serde_json::Value;

use crate::fixture::{World, command, end, next, promo, row, said, texts};

/// A world with a release in staging that could enter production.
fn ready() -> World {
    let world = World::new();
    world.release("1.2.0", 3);
    world
}

/// A world in which a promotion into dev was killed in its check: the run, and how to kill it.
fn killed() -> (World, String) {
    let world = World::new();
    world.hold_check("dev");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let apply = world.start(&["apply", "p.json", "--lease", "2s"]);
    let run = world.newest_run();
    apply.kill();
    (world, run)
}

#[test]
fn what_was_cancelled_half_way_is_told_first_with_what_ends_it() {
    let world = World::new();
    world.hold_check("dev");
    // Two releases whose check can be held, so that the way back to the first one can be.
    world.write("go", "");
    world.release("1.2.0", 3);
    world.release("1.3.0", 3);
    world.hold_again();
    world.run(0, &["rollback", "dev", "--out", "back.json"]);
    let apply = world.start(&["apply", "back.json", "--lease", "1s"]);
    let run = world.newest_run();
    apply.kill();
    while promo(&world.at, &["cancel", &run]).status.code() == Some(20) {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let dev = row(&world, "dev");
    let hold = &dev["holds"][0];
    assert_eq!((&hold["kind"], &hold["run"], &hold["backward"]), (&"cancelled".into(), &run.into(), &true.into()));
    let ends = hold["ends"].as_str().unwrap();
    assert!(ends.starts_with("promo plan dev --release r-"), "the same release runs, and is deployed again: {ends}");
    let status = said(&world, &["status"]);
    let first = status.lines().find(|line| line.trim_start().starts_with("dev ")).unwrap();
    assert!(first.contains("✗ held since") && first.contains(": was cancelled on its way back to"), "{status}");
    assert!(first.ends_with("(`promo why dev`)"), "{status}");
    assert!(said(&world, &["history", "dev"]).contains("was cancelled half-way and is held for a person"));
    let newest = world.run(0, &["why", "dev"]);
    let again = newest["also"].as_array().unwrap().iter().find(|also| also["why"] == "asks for it by name").unwrap();
    assert!(again["command"].as_str().unwrap().contains("--release r-"), "what was tried is planned by name: {again}");
    assert_eq!(next(&world.run(0, &["status"])), "promo why dev");
    let why = said(&world, &["why", "dev"]);
    assert!(why.contains("✗ held since") && why.contains(" was cancelled on its way back to"), "{why}");
    assert!(why.contains("(ended by applying what `promo plan dev --release r-"), "{why}");
    assert!(why.lines().last().unwrap().contains("plan dev --release r-"), "{why}");
    // And that ends it.
    world.write("go", "");
    let words: Vec<&str> = ends.split(' ').skip(1).collect();
    world.run(0, &words);
    world.run(0, &["apply", "dev.plan.json"]);
    assert_eq!(row(&world, "dev")["holds"], Value::Null);
}

#[test]
fn a_requested_plan_is_counted_and_led_on_to() {
    let world = ready();
    world.plan("p.json");
    world.ask("p.json");
    let status = world.run(0, &["status"]);
    let pending = &status["pending"][0];
    assert_eq!((&pending["by"], &pending["file"]), (&serde_json::json!(["dana"]), &"p.json".into()));
    let rule = &pending["environments"][0]["approvals"][0];
    assert_eq!((&rule["needed"], &rule["by"]), (&1.into(), &serde_json::json!([])));
    for words in [&["status"][..], &["why", "production"], &["plan", "production"], &["show", "p.json"]] {
        let text = said(&world, words);
        assert!(text.contains("requested by dana") && text.contains("(p.json)"), "{words:?}: {text}");
        assert!(
            text.contains("0 of 1 approval; 1 more from release-manager, not dana (initiator)"),
            "{words:?}: {text}"
        );
        assert!(text.lines().last().unwrap().ends_with("approve p.json --key KEY"), "{words:?}: {text}");
    }
    let again = said(&world, &["plan", "production", "--out", "q.json"]);
    assert!(again.contains("instead of the requested plan"), "a request would take its place: {again}");
    // Whoever has no copy of the plan gets one from the ledger.
    std::fs::rename(world.at.join("p.json"), world.at.join("p.kept")).unwrap();
    let why = world.run(0, &["why", "production"]);
    let digest = why["pending"][0]["plan"].as_str().unwrap();
    assert!(next(&why).ends_with(&format!("show {digest} --out quickstart.plan.json")), "{}", next(&why));
    world.run(0, &["show", digest, "--out", "again.json"]);
    assert_eq!(std::fs::read(world.at.join("again.json")).unwrap(), std::fs::read(world.at.join("p.kept")).unwrap());
    world.refuses(65, "nothing-selected", &["show", &format!("sha256:{}", "0".repeat(64))]);
    world.refuses(64, "usage", &["show", "again.json", "--out", "other.json"]);

    world.run(0, &["approve", "again.json", "--key", "keys/riley", "--signer", "built-in"]);
    for words in [&["status"][..], &["why", "production"], &["show", "again.json"]] {
        let text = said(&world, words);
        assert!(
            text.contains("✓ 1 of 1 approval (riley)") && text.contains("✓ nothing that is recorded keeps it from"),
            "{words:?}: {text}"
        );
        assert!(!text.contains("approval 0 of 1"), "no contradiction: {words:?}: {text}");
        assert!(text.lines().last().unwrap().ends_with("apply again.json"), "{words:?}: {text}");
    }
    let why = world.run(0, &["why", "production"]);
    assert_eq!(why["outcome"], "satisfied", "{why}");
    world.run(0, &["apply", "again.json"]);
    assert_eq!(world.run(0, &["status"])["pending"], Value::Null);
    let shown = world.run(0, &["show", "again.json"]);
    assert_eq!(shown["fate"]["state"], "used", "{shown}");
    assert!(shown["next"][0]["command"].as_str().unwrap().contains("show "), "{shown}");
}

#[test]
fn a_rejected_plan_is_told_with_who_said_no_and_leads_to_a_new_one() {
    let world = ready();
    world.plan("p.json");
    world.ask("p.json");
    let reject = ["approve", "p.json", "--decision", "reject", "--key", "keys/riley", "--signer", "built-in"];
    // What stands in suggested commands for a reason is none, and a file has no place for one: it is not signed.
    world.refuses(64, "usage", &[&reject[..], &["--reason", "…"]].concat());
    world.refuses(64, "usage", &[&reject[..], &["--reason", "no room", "--out", "no.json"]].concat());
    world.run(0, &[&reject[..], &["--reason", "corrupts invoices"]].concat());
    for words in [&["status"][..], &["why", "production"], &["show", "p.json"]] {
        let text = said(&world, words);
        assert!(text.contains("✗ rejected by riley: “corrupts invoices”"), "{words:?}: {text}");
        assert!(
            text.lines().last().unwrap().contains("plan production --out quickstart.plan.json"),
            "{words:?}: {text}"
        );
    }
}

#[test]
fn reasons_are_shown_wherever_what_they_were_given_for_is_told() {
    let world = ready();
    world.run(0, &["freeze", "production", "--reason", "billing migration"]);
    for words in [&["status"][..], &["why", "production"], &["plan", "production"], &["history"]] {
        let text = said(&world, words);
        assert!(text.contains("“billing migration”"), "{words:?}: {text}");
        assert!(text.contains("by dana"), "{words:?}: {text}");
    }
    let status = world.run(0, &["status"]);
    assert_eq!(next(&status), "promo why production");
    let why = world.run(0, &["why", "production"]);
    assert_eq!(why["holds"][0]["reason"], "billing migration", "{why}");
    assert!(why["remarks"].as_array().unwrap().contains(&"billing migration".into()), "{why}");
    assert_eq!(next(&why), "promo unfreeze production --reason '…' --key KEY", "no loop from status to why to status");
    let plan = world.run(0, &["plan", "production"]);
    let gates = plan["environments"][0]["gates"].as_array().unwrap();
    assert!(gates.iter().any(|gate| gate["remark"] == "billing migration"), "{plan}");

    world.run(0, &["unfreeze", "production", "--reason", "it is over", "--key", "keys/riley", "--signer", "built-in"]);
    world.run(0, &["release", "reject", "1.2.0", "--reason", "corrupts invoices"]);
    let why = said(&world, &["why", "production"]);
    assert!(why.contains("“corrupts invoices”"), "{why}");
    let history = world.run(0, &["history", "production"]);
    let told: Vec<(&str, &str)> = history["stops"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|stop| Some((stop["act"].as_str()?, stop["reason"].as_str()?)))
        .collect();
    let expected = [("rejected", "corrupts invoices"), ("unfrozen", "it is over"), ("frozen", "billing migration")];
    assert_eq!(told, expected);
    // Who signed counts, whatever name the record goes by.
    let who = |stop: &Value| (stop["by"].clone(), stop["signed"].clone());
    assert_eq!(who(&history["stops"][1]), ("riley".into(), true.into()), "{history}");
    assert_eq!(history["stops"][2]["signed"], false, "anybody may freeze: {history}");
}

#[test]
fn a_dead_run_is_told_from_a_live_one_and_leads_to_resume() {
    let world = World::new();
    world.hold_check("dev");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let apply = world.start(&["apply", "p.json"]);
    let run = world.newest_run();
    let status = world.run(0, &["status"]);
    assert_eq!((&status["runs"][0]["run"], &status["runs"][0]["state"]), (&run.clone().into(), &"alive".into()));
    let text = said(&world, &["status"]);
    assert!(text.contains("moves dev, alive in process") && text.contains("(renewed "), "{text}");
    for words in [&["status"][..], &["plan", "dev"], &["why", "dev"], &["runs"], &["show", &run]] {
        assert!(!said(&world, words).contains("resume"), "{words:?} does not call a live run dead");
    }
    assert_eq!(next(&world.run(0, &["show", &run])), "", "there is nothing to do but to wait");
    apply.kill();
    for words in [&["status"][..], &["plan", "dev"], &["why", "dev"], &["runs"], &["show", &run], &["history"]] {
        let text = said(&world, words);
        assert!(
            text.contains("has stopped without ending") || text.contains("stopped without ending"),
            "{words:?}: {text}"
        );
        assert!(text.lines().last().unwrap().ends_with(&format!("resume {run}")), "{words:?}: {text}");
    }
    assert_eq!(world.run(0, &["status"])["runs"][0]["state"], "gone");
    world.run(0, &["resume", &run]);
    assert_eq!(world.run(0, &["status"])["runs"], Value::Null);
}

#[test]
fn a_run_whose_lock_has_lapsed_is_told_as_silent() {
    let (world, run) = killed();
    let state = || world.run(0, &["status"])["runs"][0]["state"].as_str().unwrap().to_owned();
    while state() == "gone" {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(state(), "silent");
    let text = said(&world, &["status"]);
    assert!(text.contains("nobody holds its lock any more") && text.contains(&format!("resume {run}")), "{text}");
}

#[test]
fn after_a_rollback_the_way_on_is_a_newer_release_and_the_lift_comes_second() {
    let world = World::new();
    let text = said(&world, &["why", "production"]);
    let answer = text.lines().next().unwrap();
    assert!(answer.contains("failed in production and was rolled back there; the way on is a newer release"), "{text}");
    assert!(text.lines().last().unwrap().ends_with("release add shop=TAG"), "{text}");
    let why = world.run(0, &["why", "production"]);
    assert_eq!(why["failed"], "rolled-back");
    assert!(why["also"][0]["command"].as_str().unwrap().contains("release lift"), "{why}");
    world.release("1.2.0", 3);
    let old = world.run(0, &["why", "production", "1.1.0"]);
    assert!(next(&old).contains("why production r-"), "the newer release is there: {old}");
    assert!(next(&world.run(0, &["why", "production"])).contains("plan production --out"), "and it is planned");
}

#[test]
fn where_everything_is_as_it_should_be_nothing_leads_around() {
    let world = ready();
    world.plan("p.json");
    world.approve("p.json");
    world.run(0, &["apply", "p.json"]);
    world.run(0, &["unfreeze", "production", "--reason", "better", "--key", "keys/riley", "--signer", "built-in"]);
    let status = world.run(0, &["status"]);
    assert_eq!(next(&status), "", "{status}");
    assert!(status["says"].as_str().unwrap().contains("Everything is where it should be"), "{status}");
    let plan = world.run(0, &["plan"]);
    assert_eq!(plan["next"], serde_json::json!([]), "{plan}");
    for words in [&["status"][..], &["plan"], &["why", "production"]] {
        let text = said(&world, words);
        assert!(!text.contains("Next:"), "{words:?}: {text}");
    }
    assert!(said(&world, &["plan"]).contains("Nothing to do: everything is where it should be."));
}

#[test]
fn a_rollback_says_from_what_to_what_and_whether_the_configuration_goes_too() {
    let world = World::new();
    let text = said(&world, &["rollback", "staging", "--out", "back.json"]);
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}: {text}"));
    assert!(place("goes BACK") < place("… → sha256:") && place("… → sha256:") < place("config/common.env   changed"));
    assert!(place("config/common.env   changed") < place("if it fails"), "it stands in the head: {text}");
    assert!(text.contains("the plan: to be applied until "), "{text}");
    let view = world.run(0, &["show", "back.json"]);
    let row = &view["environments"][0];
    assert_eq!(row["configuration"], true);
    assert!(row["artifacts"][0]["from"].as_str().unwrap().starts_with("sha256:"), "{row}");
    let page = said(&world, &["show", "back.json", "--format", "markdown"]);
    assert!(page.contains("and its configuration changes"), "{page}");
}

#[test]
fn each_deadline_has_its_name_and_all_fit_one_screen() {
    let world = ready();
    world.plan("p.json");
    let text = said(&world, &["show", "p.json"]);
    for named in ["the plan: to be applied until ", "the request: keeps it open for 7 days"] {
        let line = text.lines().find(|line| line.contains(named)).unwrap();
        assert!(line.chars().count() <= 80, "{line}");
    }
    world.ask("p.json");
    let text = said(&world, &["show", "p.json"]);
    let line = text.lines().find(|line| line.contains("the request, and with it the plan: open until ")).unwrap();
    assert!(line.chars().count() <= 80, "{line}");
}

#[test]
fn a_window_that_is_open_says_when_it_closes() {
    let world = ready();
    let window = "[windows.whole-day]\neffect = \"allow\"\ntimezone = \"UTC\"\nweekly = { start = \"00:00\", end = \"24:00\" }\n";
    world.edit(
        "promo.toml",
        "[environments.dev]",
        &format!("{window}except = [\"2999-01-01\"]\n\n[environments.dev]\nwindows = [\"whole-day\"]"),
    );
    // Whatever the day and the zone of the machine: it is closed on the day after tomorrow.
    let now: jiff::Timestamp = world.run(0, &["status"])["at"].as_str().unwrap().parse().unwrap();
    let closed = now.to_zoned(jiff::tz::TimeZone::UTC).date() + jiff::Span::new().days(2);
    world.edit("promo.toml", "2999-01-01", &closed.to_string());
    world.run(0, &["rollback", "dev", "--out", "back.json"]);
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    let text = said(&world, &["plan", "dev", "--out", "p.json"]);
    let closes = format!("closes {closed} 00:00 UTC");
    let line = text.lines().find(|line| line.contains("the window of dev: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.ends_with(&closes) && line.chars().count() <= 80, "{line}");
    assert!(text.contains("✓ window is open, closes "), "{text}");
    assert!(!said(&world, &["show", "back.json"]).contains("the window of dev"), "it binds no rollback");
    let page = said(&world, &["show", "p.json", "--format", "html"]);
    assert!(page.contains("the window of dev: closes"), "{page}");
}

#[test]
fn a_plan_that_moves_nothing_says_so_and_not_until_when() {
    let world = World::new();
    let output = promo(&world.at, &["plan", "production", "--out", "p.json"]);
    let (text, _) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "`plan` ends with 0 whatever it finds (S14)");
    let reason = text.find("✗ quarantined after a rollback").unwrap();
    assert!(reason < text.find("Nothing would move: 1 refused (production).").unwrap(), "{text}");
    assert!(text.contains("it moves nothing, so there is nothing to apply"), "{text}");
    assert!(!text.contains("to be applied until"), "{text}");
    let page = said(&world, &["show", "p.json", "--format", "markdown"]);
    assert!(page.contains("it moves nothing") && !page.contains("to be applied until"), "{page}");
}

#[test]
fn what_stands_otherwise_for_the_other_kind_of_actor_says_so() {
    let world = ready();
    // Production is paused for automation, and a person only needs the approval: both wait. Dev is another matter.
    world.run(0, &["freeze", "dev", "--reason", "x"]);
    let text = said(&world, &["why", "production", "1.0.0"]);
    assert!(!text.contains("judged for"), "nothing differs: {text}");
    // What failed and was lifted is repeated by name, by whoever names it (S3.3).
    let id = ["release", "lift", "1.1.0", "--environment", "production", "--reason", "no fault"];
    world.run(0, &[&id[..], &["--key", "keys/riley", "--signer", "built-in"]].concat());
    let text = said(&world, &["why", "production", "1.1.0"]);
    assert!(!text.contains("judged for"), "nothing differs: {text}");
    // Going back pauses what is automatic, and nothing else.
    world.run(0, &["rollback", "qa", "--out", "back.json"]);
    world.run(0, &["apply", "back.json"]);
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    world.run(0, &["unfreeze", "dev", "--reason", "over", "--key", "keys/riley", "--signer", "built-in"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
    let text = said(&world, &["why", "qa", "1.3.0"]);
    assert!(text.contains("judged for a person; for automation (--actor-kind automation) it waits"), "{text}");
    assert_eq!(world.run(0, &["why", "qa", "1.3.0"])["judged_for"], "human");
}

#[test]
fn whoever_is_not_named_is_the_one_whom_the_system_names() {
    let world = World::new();
    let words = ["freeze", "dev", "--reason", "x"];
    let mut nameless = command(&world.at, &words);
    nameless.env_remove("PROMO_ACTOR").env("LOGNAME", "zoe");
    assert_eq!(end(nameless, &words).status.code(), Some(0));
    assert_eq!(row(&world, "dev")["holds"][0]["by"], "zoe");
}

/// S10.1: an older release that failed here is no way back, also once its quarantine was lifted.
#[test]
fn the_way_back_that_is_led_to_is_one_that_there_is() {
    let world = ready();
    world.plan("p.json");
    world.ask("p.json");
    world.approve("p.json");
    world.run(0, &["apply", "p.json"]);
    let lift = ["release", "lift", "1.1.0", "--environment", "production", "--reason", "a test"];
    world.run(0, &[&lift[..], &["--key", "keys/riley", "--signer", "built-in"]].concat());
    let why = world.run(0, &["why", "production", "1.1.0"]);
    assert_eq!(next(&why), "promo rollback production --out back.plan.json", "{why}");
    let named = said(&world, &["rollback", "production", "--to", "1.1.0"]);
    assert!(named.contains("the release that was named is no lower one that was verified good here"), "{named}");
    let why = world.run(0, &["why", "production", "1.0.0"]);
    let back = next(&why);
    assert!(back.starts_with("promo rollback production --to r-") && back.ends_with(" --out back.plan.json"), "{why}");
    let words: Vec<&str> = back.split(' ').skip(1).collect();
    let plan = world.run(0, &words);
    assert_eq!(plan["environments"][0]["state"], "waiting", "{plan}");
}

/// Above a directory that no repository holds, a pipeline may be anybody's: it is not looked for, and that is said.
#[test]
fn where_a_pipeline_was_looked_for_is_said() {
    let world = World::new();
    let below = world.at.join("checks");
    let looked = || texts(&promo(&below, &["check"])).1;
    assert!(looked().contains("above it nothing is looked at, as this is no git repository"), "{}", looked());
    std::fs::create_dir(below.join(".git")).unwrap();
    assert!(looked().contains("/checks, the top of the git repository"), "{}", looked());
    std::fs::create_dir(below.join("lower")).unwrap();
    let looked = texts(&promo(&below.join("lower"), &["check"])).1;
    assert!(looked.contains("/checks/lower or above it, up to the top of the git repository"), "{looked}");
}

#[test]
fn why_a_deployment_failed_is_on_record_and_told_by_every_screen_that_tells_that_it_did() {
    let world = World::new();
    // Nobody can open it as the lock of a place, not even root.
    let lock = world.at.join("environments/dev/.promo.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    world.write("config/common.env", "NEEDS_WORKERS=1\n# failing\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "failing"]);
    world.run(40, &["advance"]);
    std::fs::remove_dir(&lock).unwrap();
    let said = "cannot open";
    let run = world.newest_run();
    let why = world.run(0, &["why", "dev", "failing"]);
    assert!(why["failed_because"].as_str().is_some_and(|why| why.contains(said)), "{why}");
    let history = world.run(0, &["history", "dev"]);
    assert!(history["promotions"][0]["why"].as_str().is_some_and(|why| why.contains(said)), "{history}");
    let shown = world.run(0, &["show", &run]);
    let row = &shown["environments"][0];
    assert!(row["why"].as_str().is_some_and(|why| why.contains(said)), "{shown}");
    for words in [&["why", "dev", "failing"][..], &["history", "dev"], &["show", &run]] {
        let (out, err) = texts(&promo(&world.at, words));
        assert_eq!(out.matches(said).count(), 1, "promo {}: {out}{err}", words.join(" "));
    }
    // It stands beside the records, which commit to it.
    world.run(0, &["ledger", "verify"]);
}
