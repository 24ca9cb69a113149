//! What people sign: requests, approvals, verdicts.

use crate::fixture::{Scripted, World, promo, texts};

const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];
const DANA: [&str; 4] = ["--key", "keys/dana", "--signer", "built-in"];

pub(crate) fn row() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    let (request, approve) = (&["request", "p.json"][..], &["approve", "p.json"][..]);
    world.refuses(21, "request-unsigned", request);
    world.run(0, &[request, &DANA].concat());
    world.refuses(21, "approval-refused", &[approve, &RILEY, &["--role", "x"]].concat());
    let signed = world.run(0, &[approve, &RILEY, &["--out", "beside.json"]].concat());
    assert_eq!(signed["file"], "beside.json", "{signed}");
    world.run(0, &[approve, &RILEY].concat());
    // Another plan for the same place takes its turn.
    world.run(0, &["plan", "production", "--expires", "1h", "--out", "newer.json"]);
    world.run(0, &["request", "newer.json", "--key", "keys/dana", "--signer", "built-in"]);
    world.refuses(22, "plan-spent", &[request, &DANA].concat());
    world.refuses(22, "plan-spent", &[approve, &RILEY].concat());
    // A registry that refuses is no gate.
    let scripted = Scripted::new();
    scripted.then(0, 403);
    scripted.world.refuses(1, "provider-denied", request);

    let world = World::new();
    let uat = "[checks.uat]\nmanual = { from = [\"release-manager\"] }\n\n[environments.dev]";
    world.edit("promo.toml", "[environments.dev]", uat);
    world.edit("promo.toml", "after  = [\"dev\"]\nstart  = \"auto\"\ntarget = { directory = \"environments/qa\" }\nverify = [\"smoke\"]",
        "after  = [\"dev\"]\nstart  = \"auto\"\ntarget = { directory = \"environments/qa\" }\nverify = [\"smoke\", \"uat\"]");
    let verdict = &["verdict", "pass", "qa", "uat"][..];
    world.refuses(21, "approval-refused", &[verdict, &DANA].concat());
    let said = world.run(0, &[verdict, &RILEY].concat());
    assert_eq!((&said["identity"], &said["decision"]), (&"riley".into(), &"pass".into()), "{said}");
    world.refuses(65, "request-invalid", &[&["verdict", "pass", "qa", "smoke"], &RILEY[..]].concat());
}

#[test]
fn an_approval_beside_the_plan_counts_s0_5() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.plan.json");
    let signer = ["--key", "keys/riley", "--signer", "built-in"];
    world.ask("p.plan.json");
    let words = ["approve", "p.plan.json", "--out", "p.plan.riley.approval.json"];
    world.run(0, &[&words[..], &signer[..]].concat());
    world.run(0, &["apply", "p.plan.json"]);
}

/// An approval of a plan without a way back says that there is none, so it must be seen before it is signed.
#[test]
fn who_approves_is_told_first_that_there_is_nothing_to_go_back_to_s0_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let says = "if it fails there is nothing to go back to: approving it says so too (S0.3)";
    let approve = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"];
    let rejected = [&approve[..], &["--decision", "reject", "--out", "no.json"]].concat();
    let told = |words: &[&str]| texts(&promo(&world.at, words)).1;
    let plan: serde_json::Value = serde_json::from_slice(&std::fs::read(world.at.join("p.json")).unwrap()).unwrap();
    assert!(!plan["body"]["moves"][0]["rollback"].is_null());
    assert!(!told(&approve).contains(says));
    // The release that it would go back to is rejected.
    let back = plan["body"]["moves"][0]["rollback"]["to"]["alias"].as_str().unwrap().to_owned();
    world.run(0, &["release", "reject", &back, "--reason", "a test"]);
    world.plan("p.json");
    world.ask("p.json");
    assert!(!told(&rejected).contains(says), "whoever says no grants nothing");
    let err = told(&approve);
    assert!(err.contains(says), "{err}");
}

#[test]
fn whose_request_it_is_only_a_signature_says_s6_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    let (out, _) = texts(&promo(&world.at, &["plan", "production", "--out", "p.json"]));
    assert!(out.contains("request p.json --key KEY"), "{out}");
    let approve = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"];
    for words in [&["request", "p.json"][..], &approve, &[&approve[..], &["--out", "yes.json"]].concat()] {
        let error = world.refuses(21, "request-unsigned", words);
        assert!(error["next"].as_str().unwrap().ends_with("request p.json --key KEY"), "{error}");
    }
    assert!(!world.at.join("yes.json").exists());
    // Riley asks under dana's name, and approves.
    let asked = world.run(0, &["request", "p.json", "--key", "keys/riley", "--signer", "built-in", "--as", "dana"]);
    assert_eq!(asked["identity"], "riley", "{asked}");
    let error = world.refuses(21, "approval-refused", &approve);
    assert!(error["details"].to_string().contains("riley may not approve this, being its initiator"), "{error}");
    world.refuses(20, "waiting", &["apply", "p.json", "--as", "dana"]);
}

/// Production asks for two release managers, and Sam is known, with these roles.
fn two_of(world: &World, roles: &str) {
    let key = promo_engine::signature::SigningKey::generate("sam").unwrap();
    world.write("keys/sam", secrecy::ExposeSecret::expose_secret(&key.to_openssh().unwrap()));
    world.edit("promo.toml", "count   = 1", "count   = 2");
    world.edit("policy.toml", "count = 1", "count = 2");
    let sam = format!("[identities.sam]\nroles = [{roles}]\nkeys = [\"{}\"]\n\n[tiers.production]", key.public_key());
    world.edit("policy.toml", "[tiers.production]", &sam);
    world.edit("policy.toml", "version = 1", "version = 2");
}

/// Who knows nothing of rules sees from the answer what is missing: nothing that counts nowhere is taken as if it did.
#[test]
fn a_signature_that_counts_nowhere_is_refused_with_the_rule_and_who_could_s6_4() {
    let world = World::new();
    world.release("1.2.0", 3);
    two_of(&world, "\"release-manager\", \"developer\"");
    world.plan("p.json");
    let records = || world.run(0, &["ledger", "verify"])["records"].as_u64().unwrap();
    // Sam asks, so sam is out. What is left is one person, who cannot be two.
    world.run(0, &["request", "p.json", "--key", "keys/sam", "--signer", "built-in"]);
    let before = records();
    let sam = &["approve", "p.json", "--key", "keys/sam", "--signer", "built-in"][..];
    for words in [sam, &[sam, &["--out", "yes.json"]].concat()] {
        let error = world.refuses(21, "approval-refused", words);
        let details = error["details"].to_string();
        assert!(details.contains("production: sam may not approve this, being its initiator"), "{error}");
        assert!(details.contains("production still needs 2 of release-manager: riley"), "{error}");
        assert_eq!(error["next"], "promo --policy policy.toml approve p.json --key KEY", "{error}");
    }
    // A role that no rule asks for is no better, and neither is a no of somebody in one.
    for decision in ["approve", "reject"] {
        let words = [sam, &["--role", "developer", "--decision", decision]].concat();
        let details = world.refuses(21, "approval-refused", &words)["details"].to_string();
        assert!(details.contains("sam speaks as `developer`, which is not asked here"), "{details}");
    }
    assert!(!world.at.join("yes.json").exists());
    assert_eq!(records(), before, "a refusal writes nothing");
}

#[test]
fn a_yes_that_counts_says_how_many_are_missing_and_what_is_next_s6_4() {
    let world = World::new();
    world.release("1.2.0", 3);
    two_of(&world, "\"release-manager\"");
    world.plan("p.json");
    world.ask("p.json");
    let sign = |who: &str, more: &[&str]| {
        let key = format!("keys/{who}");
        let words = [&["approve", "p.json", "--key", &key, "--signer", "built-in"], more].concat();
        texts(&promo(&world.at, &words)).0
    };
    let first = sign("riley", &[]);
    assert!(first.contains("production: 1 of 2 approved, by riley"), "{first}");
    assert!(first.contains("production still needs 1 of release-manager: sam"), "{first}");
    assert!(
        first.ends_with("Next: promo --policy policy.toml approve p.json --key KEY --signer built-in\n"),
        "{first}"
    );
    // The same person again is still one person.
    let again = world.run(0, &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"]);
    assert_eq!(
        (&again["environments"][0]["approved"], &again["environments"][0]["needed"]),
        (&serde_json::json!(["riley"]), &2.into())
    );
    // What lies beside the plan counts, since apply finds it.
    let beside = sign("sam", &["--out", "p.sam.approval.json"]);
    assert!(beside.contains("production: 2 of 2 approved, by riley and sam"), "{beside}");
    assert!(
        beside.ends_with("Next: promo --policy policy.toml apply p.json --approval p.sam.approval.json\n"),
        "{beside}"
    );
    let both = sign("riley", &[]);
    assert!(both.ends_with("Next: promo --policy policy.toml apply p.json\n"), "{both}");
    world.run(0, &["apply", "p.json"]);
}

#[test]
fn after_a_rejection_nothing_counts_and_the_way_on_is_a_new_plan_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let approve = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"];
    let (out, _) = texts(&promo(&world.at, &[&approve[..], &["--decision", "reject"]].concat()));
    assert!(out.contains("production: riley rejected this plan, for good"), "{out}");
    assert!(out.ends_with("Next: promo --policy policy.toml plan production --out p.json\n"), "{out}");
    let error = world.refuses(21, "approval-refused", &approve);
    assert!(error["details"].to_string().contains("production: riley rejected this plan, for good"), "{error}");
    assert_eq!(error["next"], "promo --policy policy.toml plan production --out p.json", "{error}");
}

#[test]
fn a_request_is_worth_what_its_key_is_worth_now_s12_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let key = std::fs::read_to_string(world.at.join("keys/dana.pub")).unwrap();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOuHChF4XZsNQJb4z52kdbxHheoyRgGGRlO5alqZiNVH";
    world.edit("policy.toml", key.trim(), other);
    world.edit("policy.toml", "version = 1", "version = 2");
    let why = world.run(0, &["why", "production"]);
    assert!(why["uncounted"].to_string().contains("counts as a request that nobody signed: the key SHA256:"), "{why}");
    let (out, _) = texts(&promo(&world.at, &["why", "production"]));
    assert!(out.contains("counts as a request that nobody signed"), "{out}");
    let (_, err) = texts(&promo(&world.at, &["plan", "production", "--out", "q.json"]));
    assert!(err.contains("warning") && err.contains("counts as a request that nobody signed"), "{err}");
    // The key that policy no longer knows signs nothing either.
    world.refuses(21, "approval-refused", &["request", "q.json", "--key", "keys/dana", "--signer", "built-in"]);
}

#[test]
fn a_rejection_denies_with_21_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    let reject = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in", "--decision", "reject"];
    world.run(0, &reject);
    world.refuses(21, "denied", &["apply", "p.json"]);
}
