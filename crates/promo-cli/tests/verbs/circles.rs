//! Whoever types what stands behind `Next:` comes to an end: to nothing more to do, or to what only they can fill in. What must not
//! live here: what one screen alone says.

use serde_json::Value;

use crate::approving::two_of;
use crate::fixture::{World, command, end, next, promo, row, said, texts};

/// The quickstart's example at the end of its own README: 1.2.0 is verified everywhere, and nothing is paused.
pub(crate) fn good() -> World {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    world.run(0, &["apply", "p.json"]);
    world.run(0, &["unfreeze", "production", "--reason", "x", "--key", "keys/riley", "--signer", "built-in"]);
    assert_eq!(status(&world), "");
    world
}

/// A pipeline with the files of the example, before its first release.
fn fresh() -> World {
    let world = World::new();
    std::fs::remove_dir_all(world.at.join(".promo")).unwrap();
    std::fs::remove_dir_all(world.at.join("environments")).unwrap();
    for entry in std::fs::read_dir(&world.at).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    world
}

/// The next command of `promo status`.
fn status(world: &World) -> String {
    next(&world.run(0, &["status"]))
}

/// The next command of a document: of several, the best.
fn best(value: &Value) -> String {
    let next = if value["next"].is_array() { &value["next"][0]["command"] } else { &value["next"] };
    next.as_str().unwrap_or_default().replace(" --policy policy.toml", "")
}

/// Types what `promo status` says is next, and what that says, and so on, until nothing is left or somebody has to fill in a name, a
/// tag, a reason or a key. Gives what was typed, the last one first of all that it led to. A command that comes again while the
/// ledger is as it was is a circle.
fn walk(world: &World) -> Vec<String> {
    walk_from(world, status(world))
}

/// The same from another command.
pub(crate) fn walk_from(world: &World, first: String) -> Vec<String> {
    walk_by("human", world, first)
}

/// The same by whoever promo takes for that, where a command does not say it.
fn walk_by(kind: &str, world: &World, first: String) -> Vec<String> {
    let size = || world.run(0, &["status"])["ledger"]["size"].as_u64().unwrap();
    let (mut typed, mut seen): (Vec<String>, Vec<(u64, String)>) = (Vec::new(), Vec::new());
    let mut next = first;
    loop {
        typed.push(next.clone());
        if next.is_empty() || ["KEY", "TAG", "NAME", "…"].iter().any(|open| next.contains(open)) {
            return typed;
        }
        let step = (size(), next.clone());
        assert!(!seen.contains(&step), "a circle: {typed:#?}");
        seen.push(step);
        assert!(seen.len() < 20, "no end: {typed:#?}");
        let words: Vec<&str> = next.split(' ').skip(1).chain(["--format", "json"]).collect();
        let mut command = command(&world.at, &words);
        command.env("PROMO_ACTOR_KIND", kind);
        let output = end(command, &words);
        let (out, err) = texts(&output);
        let documents = serde_json::Deserializer::from_str(&out).into_iter::<Value>();
        let last = documents.map_while(Result::ok).last();
        let last = last.unwrap_or_else(|| panic!("{next}: {out}{err}"));
        let after = best(&last);
        // What was applied ends here; how it stands then is told by status.
        next = if after.is_empty() && size() != seen[seen.len() - 1].0 { status(world) } else { after };
    }
}

#[test]
fn what_was_rejected_everywhere_is_not_where_it_should_be() {
    let world = good();
    world.run(0, &["release", "reject", "1.2.0", "--reason", "bad bug"]);
    assert!(!said(&world, &["status"]).contains("Everything is where it should be"));
    assert_eq!(status(&world), "promo why dev");
    let plan = said(&world, &["plan"]);
    assert!(!plan.contains("everything is where it should be"), "{plan}");
    assert!(plan.contains("what runs here was quarantined everywhere by "), "{plan}");
    let back = "promo rollback dev --out back.plan.json";
    for words in [&["why", "dev"][..], &["plan", "dev"]] {
        assert_eq!(best(&world.run(0, words)), back, "{words:?}");
    }
    let also = world.run(0, &["why", "dev"])["also"].to_string();
    assert!(also.contains("release lift"), "{also}");
    let typed = walk(&world);
    assert!(typed.contains(&"promo apply back.plan.json".to_owned()), "{typed:#?}");
    // Where there is nothing to go back to, a release is added.
    let world = fresh();
    world.write("config/common.env", "NEEDS_WORKERS=1\n");
    world.run(0, &["release", "add", "shop=1.0.0"]);
    world.run(0, &["advance"]);
    let id = row(&world, "dev")["release"]["id"].as_str().unwrap().to_owned();
    world.run(0, &["release", "reject", &id, "--reason", "bad bug"]);
    assert_eq!(next(&world.run(0, &["why", "dev"])), "promo release add shop=TAG");
}

#[test]
fn a_request_that_is_stale_says_so_everywhere_and_ends_where_nothing_is_left_of_it_s8_2() {
    for approved in [true, false] {
        let world = good();
        let before = std::fs::read_to_string(world.at.join("config/production.env")).unwrap();
        world.write("config/production.env", "WORKERS=6\n");
        world.plan("p3.json");
        if approved {
            world.approve("p3.json");
        } else {
            world.ask("p3.json");
        }
        // Another configuration: to be planned anew.
        world.write("config/production.env", "WORKERS=8\n");
        let why = "since it was planned, this changed: file config/production.env in production";
        for words in [&["status"][..], &["why", "production"]] {
            let text = said(&world, words);
            assert!(text.contains(&format!("stale: {why}")), "{text}");
            assert!(!text.contains("keeps it from being applied"), "{text}");
        }
        for format in ["text", "markdown", "html"] {
            let (out, _) = texts(&promo(&world.at, &["show", "p3.json", "--format", format]));
            let out = out.replace('\\', "").replace("<!-- -->", "").replace("&#x2F;", "/");
            assert!(out.contains("Nobody can approve or apply this plan any more") && out.contains(why), "{out}");
            assert!(!out.contains("can start now") && !out.contains("keeps it from being applied"), "{out}");
        }
        let shown = world.run(0, &["show", "p3.json"]);
        assert_eq!((&shown["fate"]["state"], &shown["fate"]["stale"]), (&"stale".into(), &why.into()), "{shown}");
        assert_eq!(best(&shown), "promo plan production --out quickstart.plan.json", "{shown}");
        let stale = world.refuses(22, "plan-stale", &["apply", "p3.json"]);
        assert_eq!(stale["details"].as_array().unwrap().len(), 1, "{stale}");
        let typed = walk(&world);
        assert!(typed.last().unwrap().starts_with("promo request quickstart.plan.json"), "{typed:#?}");

        // As it was before: nothing is left of it, and nothing leads on.
        world.write("config/production.env", &before);
        let stale = world.refuses(22, "plan-stale", &["apply", "p3.json"]);
        assert_eq!(stale["details"].as_array().unwrap().len(), 1, "{stale}");
        assert!(stale["details"][0].as_str().unwrap().starts_with("file config/production.env in production: "));
        assert_eq!(next(&stale), "promo status", "{stale}");
        assert_eq!(walk(&world), [""]);
        let status = said(&world, &["status"]);
        assert!(status.contains("nothing is left to do of it; the request ends by itself"), "{status}");
        assert_eq!(best(&world.run(0, &["show", "p3.json"])), "");
        assert_eq!(next(&world.run(0, &["why", "production"])), "");
    }
}

#[test]
fn what_was_cancelled_and_then_rejected_is_gone_back_from_s9_6() {
    let world = good();
    world.hold_check("dev");
    world.run(0, &["release", "add", "shop=1.1.0", "--alias", "hr"]);
    world.run(0, &["plan", "dev", "--out", "d.json"]);
    world.start(&["apply", "d.json"]).kill();
    let run = world.newest_run();
    world.run(0, &["cancel", &run]);
    world.run(0, &["release", "reject", "hr", "--reason", "bad bug"]);
    assert_eq!(next(&world.run(0, &["why", "dev"])), "promo rollback dev --out back.plan.json");
    let text = said(&world, &["why", "dev"]);
    assert!(text.contains("(ended by applying what `promo rollback dev` plans)"), "{text}");
    let typed = walk(&world);
    assert!(typed.contains(&"promo apply back.plan.json".to_owned()), "{typed:#?}");
    assert!(!said(&world, &["status"]).contains("held since"));
}

#[test]
fn where_the_first_deployment_is_held_the_release_that_was_added_since_ends_it_s9_6() {
    let world = fresh();
    world.write("config/common.env", "NEEDS_WORKERS=99\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "one"]);
    world.run(41, &["advance"]);
    let text = said(&world, &["why", "dev"]);
    assert!(text.contains("(ended by applying a newer release: `promo release add shop=TAG`)"), "{text}");
    world.write("config/common.env", "NEEDS_WORKERS=1\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "two"]);
    let text = said(&world, &["why", "dev"]);
    assert!(text.contains("(ended by applying what `promo plan dev --release r-"), "{text}");
    let typed = walk(&world);
    assert!(typed.contains(&"promo apply dev.plan.json".to_owned()), "{typed:#?}");
    assert_eq!(row(&world, "dev")["release"]["alias"], "two");
    assert_eq!(row(&world, "dev")["holds"], Value::Null);
}

#[test]
fn what_is_stale_under_a_freeze_leads_to_its_end_s5_4() {
    let world = World::new();
    world.release("1.2.0", 2);
    world.plan("p3.json");
    world.ask("p3.json");
    let text = std::fs::read_to_string(world.at.join("promo.toml")).unwrap();
    world.write("promo.toml", &text.replacen("reason   = \"", "reason   = \"still: ", 1));
    assert_ne!(text, std::fs::read_to_string(world.at.join("promo.toml")).unwrap());
    world.run(0, &["freeze", "--reason", "incident"]);
    let thaw = "promo unfreeze --reason '…' --key KEY";
    assert_eq!(status(&world), thaw);
    assert_eq!(next(&world.run(0, &["why", "production"])), thaw);
}

/// Riley, the only one who could approve, asks: somebody else has to.
#[test]
fn where_nobody_can_approve_what_was_asked_for_no_screen_leads_to_approve_s6_4() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p3.json");
    // Before it was asked for, that is what is missing, and not the approvers.
    let error = world.refuses(20, "waiting", &["apply", "p3.json"]);
    assert_eq!(next(&error), "promo request p3.json --key KEY", "{error}");
    assert!(!error.to_string().contains("nobody whom policy knows"), "{error}");
    let asked = world.run(0, &["request", "p3.json", "--key", "keys/riley", "--signer", "built-in"]);
    let again = "promo plan production --out p3.json";
    assert_eq!(next(&asked), again, "{asked}");
    assert_eq!(next(&world.refuses(20, "waiting", &["apply", "p3.json"])), again);
    let sign = ["approve", "p3.json", "--key", "keys/riley", "--signer", "built-in"];
    assert_eq!(next(&world.refuses(21, "approval-refused", &sign)), again);
    for words in [&["status"][..], &["why", "production"]] {
        assert_eq!(best(&world.run(0, words)), again, "{words:?}");
        let text = said(&world, words);
        assert!(
            text.contains("nobody can approve this: too few are left without dana (initiator) and riley (initiator)"),
            "{text}"
        );
    }
    // Dana plans and asks, and riley approves.
    world.run(0, &["plan", "production", "--out", "p3.json"]);
    world.ask("p3.json");
    assert_eq!(status(&world), "promo approve p3.json --key KEY");
    // Going back is asked for in the same way.
    world.approve("p3.json");
    world.run(0, &["apply", "p3.json"]);
    world.run(0, &["rollback", "production", "--out", "back.json"]);
    let error = world.refuses(20, "waiting", &["apply", "back.json"]);
    assert_eq!(next(&error), "promo request back.json --key KEY", "{error}");
}

#[test]
fn where_nobody_is_named_as_the_author_every_screen_asks_for_one_s6_4() {
    let world = World::new();
    world.edit("promo.toml", "exclude = [\"initiator\"]", "exclude = [\"initiator\", \"author\"]");
    world.release("1.2.0", 3);
    world.plan("p3.json");
    world.ask("p3.json");
    let sign = ["approve", "p3.json", "--key", "keys/riley", "--signer", "built-in"];
    // Of the two rules policy's is satisfied.
    let signed = next(&world.run(0, &sign));
    for told in [signed, status(&world), next(&world.refuses(20, "waiting", &["apply", "p3.json"]))] {
        assert!(told.starts_with("promo release authors r-") && told.ends_with(" --author NAME --key KEY"), "{told}");
    }
}

/// Two have to approve, and one of the two who can takes theirs back.
#[test]
fn what_lost_its_approvals_for_good_is_planned_anew_and_counted_alike_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    two_of(&world, "\"release-manager\"");
    world.plan("p3.json");
    world.ask("p3.json");
    let say = |who: &str, decision: &str| {
        let key = format!("keys/{who}");
        let words = ["approve", "p3.json", "--key", &key, "--signer", "built-in", "--decision", decision];
        said(&world, &words)
    };
    say("riley", "approve");
    let revoked = say("riley", "revoke");
    assert!(revoked.contains("as release-manager, for good: ") && !revoked.contains("until "), "{revoked}");
    say("sam", "approve");
    let again = "promo plan production --out p3.json";
    let error = world.refuses(20, "waiting", &["apply", "p3.json"]);
    assert_eq!((next(&error).as_str(), &error["who"]), (again, &"whoever plans it anew".into()), "{error}");
    assert!(!error["details"].to_string().contains("still needs"), "{error}");
    let why = said(&world, &["why", "production"]);
    assert!(why.contains("… a new plan begins without any: approval 0 of 2"), "{why}");
    assert!(why.contains("✗ 1 of 2 approvals (sam)") && !why.contains("1 more from"), "{why}");
    assert_eq!(next(&world.run(0, &["why", "production"])), status(&world));
    // Once somebody said no, nobody is waited for.
    let rejected = say("sam", "reject");
    assert!(!rejected.contains("until "), "{rejected}");
    let error = world.refuses(21, "denied", &["apply", "p3.json"]);
    assert!(!error["details"].to_string().contains("still needs"), "{error}");
}

#[test]
fn another_configuration_is_told_by_why_too_and_approved_as_what_it_is() {
    let world = good();
    world.write("config/production.env", "WORKERS=7\n");
    assert_eq!(status(&world), "promo plan production");
    let text = said(&world, &["why", "production"]);
    assert!(text.contains("its configuration here is another than the one that was deployed"), "{text}");
    let why = world.run(0, &["why", "production"]);
    assert_eq!(
        (next(&why).as_str(), &why["reconfigured"]),
        ("promo plan production --out production.plan.json", &true.into())
    );
    let text = said(&world, &["advance"]);
    assert!(text.contains(" stays, and another configuration of it starts only when a person asks for it"), "{text}");
    // Frozen, both screens lead to the end of the freeze.
    world.run(0, &["freeze", "production", "--reason", "short"]);
    assert_eq!(status(&world), "promo why production");
    let thaw = "promo unfreeze production --reason '…' --key KEY";
    assert_eq!(next(&world.run(0, &["why", "production"])), thaw);
    world.run(0, &["unfreeze", "production", "--reason", "x", "--key", "keys/riley", "--signer", "built-in"]);
    let sign = |file: &str| {
        world.ask(file);
        said(&world, &["approve", file, "--key", "keys/riley", "--signer", "built-in"])
    };
    world.plan("p.json");
    let signed = sign("p.json");
    assert!(signed.contains("  production keeps r-") && signed.contains(", and its configuration changes"), "{signed}");
    world.run(0, &["apply", "p.json"]);
    world.run(0, &["rollback", "production", "--out", "back.json"]);
    let signed = sign("back.json");
    assert!(signed.contains("  production goes BACK from r-"), "{signed}");
    assert!(signed.contains("is quarantined for production and downstream, and automatic promotion"), "{signed}");
    // Among the promotions it is told as what it was.
    world.run(0, &["apply", "back.json"]);
    let told = said(&world, &["history", "production"]);
    let ended = |words: &str| told.lines().filter(|line| line.contains(words)).count();
    assert_eq!(ended("is back, and verified"), 1, "{told}");
    assert!(ended("is verified") >= 1, "{told}");
}

#[test]
fn what_stops_an_apply_is_told_once_with_the_reason_that_was_given() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p3.json");
    world.approve("p3.json");
    world.run(0, &["freeze", "production", "--reason", "short"]);
    let error = world.refuses(20, "waiting", &["apply", "p3.json"]);
    let frozen = error["details"].as_array().unwrap().iter().filter(|line| line.to_string().contains("frozen by"));
    assert_eq!(frozen.count(), 1, "{error}");
    let cut = std::fs::read_to_string(world.at.join("p3.json")).unwrap();
    world.write("cut.json", &cut[..cut.len() / 2]);
    let error = world.refuses(30, "plan-unreadable", &["show", "cut.json"]);
    assert_eq!(error["causes"].to_string().matches("EOF while parsing").count(), 1, "{error}");
}

#[test]
fn a_window_that_does_not_open_any_more_is_told_by_the_plan_and_not_waited_for_s5_2() {
    let over = "once = { start = \"2020-11-23T10:00\", end = \"2020-11-24T10:00\" }";
    let weekly = "weekly   = { days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"] }";
    for requested in [false, true] {
        let world = World::new();
        world.release("1.2.0", 3);
        if requested {
            world.plan("p3.json");
            world.approve("p3.json");
        }
        world.edit("promo.toml", weekly, over);
        let plan = world.run(0, &["plan", "production", "--out", "new.json"]);
        assert_eq!(best(&plan), "promo why production", "{plan}");
        let text = said(&world, &["plan", "production"]);
        assert!(text.contains("outside window every-day, which does not open any more"), "{text}");
        assert_eq!(next(&world.run(0, &["why", "production"])), "promo check");
        if requested {
            assert_eq!(status(&world), "promo check");
            let error = world.run(22, &["apply", "p3.json"]);
            assert_eq!(error["code"], "plan-stale", "{error}");
        } else {
            assert!(world.run(65, &["request", "new.json"])["code"].is_string());
        }
        let check = said(&world, &["check"]);
        assert!(check.contains("`every-day` does not open any more"), "{check}");
    }
}

/// What `advance` leads to on CI, typed there: what is held is for a person, and the commands say so instead of leading round.
#[test]
fn s9_6_what_is_held_leads_automation_to_a_person_and_round_no_circle() {
    for first in [false, true] {
        let world = if first { fresh() } else { good() };
        world.edit("promo.toml", "[environments.dev]", "[environments.dev]\non_failure = \"hold\"");
        world.write("config/common.env", "NEEDS_WORKERS=99\n");
        world.run(0, &["release", "add", "shop=1.0.0", "--alias", "bad"]);
        world.run(41, &["advance"]);
        let advance = ["advance", "--actor-kind", "automation"];
        let told = said(&world, &advance);
        let next = told.lines().last().and_then(|line| line.strip_prefix("Next: ")).unwrap_or_else(|| panic!("{told}"));
        let typed = walk_by("automation", &world, next.replace(" --policy policy.toml", ""));
        if first {
            assert_eq!(typed.last().unwrap(), "promo release add shop=TAG", "{typed:#?}");
            continue;
        }
        let by_person = "promo apply back.plan.json --actor-kind human".to_owned();
        assert!(typed.contains(&by_person), "{typed:#?}");
        assert_eq!(row(&world, "dev")["release"]["alias"], "1.2.0", "{typed:#?}");
        // By name it is the same way: the release that it is held with.
        assert!(row(&world, "dev")["holds"].as_array().into_iter().flatten().all(|hold| hold["run"].is_null()));
    }
}
