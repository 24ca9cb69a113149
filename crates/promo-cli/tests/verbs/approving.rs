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
    world.run(0, &approve);
    let error = world.refuses(20, "waiting", &["apply", "p.json", "--as", "dana"]);
    assert!(error["details"].to_string().contains("riley may not approve this, being its initiator"), "{error}");
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
