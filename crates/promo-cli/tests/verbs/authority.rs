//! Who let this into production, when, with what key, on which plan: each of the verbs that look back answers it by itself, as
//! text, as Markdown and as JSON (R50, R53).

use serde_json::Value;

use crate::fixture::{World, promo, texts};

/// What a verb says in a format, without what Markdown needs to say it safely.
fn said(world: &World, words: &[&str], format: &str) -> String {
    let (out, err) = texts(&promo(&world.at, &[words, &["--format", format]].concat()));
    (out + &err).replace('\\', "").replace("<!-- -->", "")
}

fn key(world: &World, who: &str) -> String {
    let public = std::fs::read_to_string(world.at.join(format!("keys/{who}.pub"))).unwrap();
    promo_engine::signature::fingerprint(public.trim()).unwrap().to_string()
}

fn decide(world: &World, file: &str, decision: &str, reason: &str) {
    let words = ["approve", file, "--decision", decision, "--key", "keys/riley", "--signer", "built-in"];
    world.run(0, &[&words[..], &["--reason", reason]].concat());
}

/// A release in production by an approved plan, and the run that took it there.
fn promoted() -> (World, String) {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    decide(&world, "p.json", "approve", "the fair is over");
    world.run(0, &["apply", "p.json"]);
    let run = world.newest_run();
    (world, run)
}

#[test]
fn one_command_says_who_let_a_release_into_production_with_what_key_and_on_which_plan_r50() {
    let (world, run) = promoted();
    let (dana, riley) = (key(&world, "dana"), key(&world, "riley"));
    let verbs =
        [&["history", "production"][..], &["why", "production"], &["show", &run], &["show", "p.json"], &["history"]];
    let asked = format!("requested by dana, key {dana}");
    let approved = format!("by riley as release-manager, key {riley}: “the fair is over”");
    for words in verbs {
        for format in ["text", "markdown"] {
            // Columns stand apart.
            let text = said(&world, words, format).replace(" | ", " ");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&asked), "{words:?} as {format}: {text}");
            assert!(text.contains(&format!("approved {approved}")), "{words:?} as {format}: {text}");
        }
    }
    let plan = world.run(0, &["show", &run])["plan"].clone();
    let history = world.run(0, &["history", "production"]);
    let told = |value: &Value| {
        assert_eq!((&value["plan"], &value["run"]), (&plan, &run.clone().into()), "{value}");
        let (request, yes) = (&value["requests"][0], &value["statements"][0]);
        assert_eq!((&request["by"], &request["key"]), (&"dana".into(), &dana.clone().into()), "{value}");
        assert_eq!((&yes["by"], &yes["key"], &yes["used"]), (&"riley".into(), &riley.clone().into(), &true.into()));
        assert_eq!((&yes["decision"], &yes["role"]), (&"approve".into(), &"release-manager".into()), "{value}");
    };
    told(&history["authorities"][0]);
    assert_eq!(history["promotions"][0]["plan"], plan, "the promotion names the plan that was let in");
    told(&world.run(0, &["why", "production"])["authorities"][0]);
    told(&world.run(0, &["show", &run])["authority"]);
    told(&world.run(0, &["show", "p.json"])["authority"]);
    // Nobody is asked for dev, and that is said.
    let dev = world.run(0, &["history", "dev"]);
    assert_eq!(dev["authorities"], Value::Null, "{dev}");
    let dev = said(&world, &["show", dev["promotions"][0]["run"].as_str().unwrap()], "text");
    assert!(dev.contains("nobody asked for its approval, and nobody gave one"), "{dev}");
}

#[test]
fn a_plan_that_was_used_shows_the_approvals_that_it_was_used_with_and_waits_for_nothing_s6_6() {
    let (world, run) = promoted();
    for format in ["text", "markdown", "html"] {
        let text = said(&world, &["show", "p.json"], format);
        assert!(text.contains("approval 1 of 1 by riley"), "{text}");
        assert!(!text.contains("approval 0 of 1") && !text.contains("1 promotion waits"), "{text}");
    }
    let shown = world.run(0, &["show", "p.json"]);
    assert_eq!(shown["summary"]["text"], format!("Run {run} has used this plan."), "{shown}");
    let row = &shown["environments"][0];
    assert_eq!((&row["environment"], &row["says"]), (&"production".into(), &"is verified".into()), "{shown}");
}

#[test]
fn the_history_tells_what_was_refused_and_taken_back_and_does_not_call_it_an_approval_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    for (file, decision) in [("no.json", "reject"), ("back.json", "revoke")] {
        world.run(0, &["plan", "production", "--out", file]);
        world.ask(file);
        if decision == "revoke" {
            decide(&world, file, "approve", "looks good");
        }
        decide(&world, file, decision, "corrupts invoices");
    }
    let history = world.run(0, &["history", "production"]);
    let decisions = |of: usize| -> Vec<&str> {
        let all = history["authorities"][of]["statements"].as_array().unwrap();
        all.iter().map(|stated| stated["decision"].as_str().unwrap()).collect()
    };
    assert_eq!((decisions(0), decisions(1)), (vec!["approve", "revoke"], vec!["reject"]), "newest first: {history}");
    let text = said(&world, &["history", "production"], "text");
    for act in ["rejected ", "approval revoked "] {
        let line = text.lines().find(|line| line.contains(act)).unwrap_or_else(|| panic!("{act}: {text}"));
        assert!(line.contains("by riley as release-manager") && line.contains("“corrupts invoices”"), "{line}");
    }
    let superseded = said(&world, &["show", "no.json"], "text");
    assert!(superseded.contains("rejected by riley"), "{superseded}");
}

/// The signature stays what it was when the key leaves the policy, and no name is guessed at.
#[test]
fn an_approval_by_a_key_that_has_left_the_policy_is_told_by_its_key_s12_3() {
    let (world, run) = promoted();
    let (riley, public) = (key(&world, "riley"), std::fs::read_to_string(world.at.join("keys/riley.pub")).unwrap());
    let public: Vec<&str> = public.split_whitespace().take(2).collect();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOuHChF4XZsNQJb4z52kdbxHheoyRgGGRlO5alqZiNVH";
    world.edit("policy.toml", &public.join(" "), other);
    world.edit("policy.toml", "version = 1", "version = 2");
    let text = said(&world, &["show", &run], "text");
    assert!(text.contains(&format!("as release-manager by the key {riley}, which policy knows no longer")), "{text}");
    assert_eq!(world.run(0, &["show", &run])["authority"]["statements"][0]["by"], Value::Null);
}
