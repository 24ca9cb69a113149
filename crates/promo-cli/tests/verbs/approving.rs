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
    world.cannot_sign(approve);
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

    let world = asked_for_uat();
    let verdict = &["verdict", "pass", "qa", "uat"][..];
    world.refuses(21, "approval-refused", &[verdict, &DANA].concat());
    world.cannot_sign(verdict);
    let said = world.run(0, &[verdict, &RILEY].concat());
    assert_eq!((&said["identity"], &said["decision"]), (&"riley".into(), &"pass".into()), "{said}");
    world.refuses(65, "request-invalid", &[&["verdict", "pass", "qa", "smoke"], &RILEY[..]].concat());
}

/// A pipeline in which a release manager says whether qa is content.
fn asked_for_uat() -> World {
    let world = World::new();
    let uat = "[checks.uat]\nmanual = { from = [\"release-manager\"] }\n\n[environments.dev]";
    world.edit("promo.toml", "[environments.dev]", uat);
    world.edit("promo.toml", "after  = [\"dev\"]\nstart  = \"auto\"\ntarget = { directory = \"environments/qa\" }\nverify = [\"smoke\"]",
        "after  = [\"dev\"]\nstart  = \"auto\"\ntarget = { directory = \"environments/qa\" }\nverify = [\"smoke\", \"uat\"]");
    world
}

#[test]
fn a_verdict_is_told_as_what_was_said_and_of_which_release_and_leads_on_s6_10() {
    let world = asked_for_uat();
    let id = world.run(0, &["release", "show", "1.1.0"])["id"].as_str().unwrap().to_owned();
    let says = |words: &[&str]| texts(&promo(&world.at, &[&["verdict"], words, &RILEY[..]].concat())).0;
    let release = format!("in qa: {id} (#2)");
    for (words, said, next) in [
        (&["pass", "qa", "uat"][..], "riley says that uat passed", "advance"),
        (&["fail", "qa", "uat"], "riley says that uat failed", "status"),
        (&["withdraw", "qa", "uat", "--reason", "the wrong page"], "riley withdrew the verdict of uat", "status"),
    ] {
        assert_eq!(says(words), format!("{said} {release}\nNext: promo --policy policy.toml {next}\n"));
    }
}

#[test]
fn who_may_not_give_a_verdict_is_told_who_may_s6_10() {
    let world = asked_for_uat();
    let error = world.refuses(21, "approval-refused", &[&["verdict", "fail", "qa", "uat"], &DANA[..]].concat());
    assert_eq!(error["who"], "riley (release-manager), with their key", "{error}");
    assert_eq!(error["next"], "promo --policy policy.toml verdict fail qa uat --key KEY", "{error}");
    // What they say is what was meant: about that release, and why.
    let words = ["verdict", "pass", "qa", "uat", "--release", "1.1.0", "--reason", "looked at it"];
    let error = world.refuses(21, "approval-refused", &[&words[..], &DANA].concat());
    let expected = "verdict pass qa uat --release 1.1.0 --reason 'looked at it' --key KEY";
    assert_eq!(error["next"], format!("promo --policy policy.toml {expected}"), "{error}");
    // Policy names no role that withdraws what a program found.
    let withdraw = ["verdict", "withdraw", "qa", "smoke", "--reason", "a test"];
    let error = world.refuses(21, "approval-refused", &[&withdraw[..], &DANA].concat());
    assert_eq!(error["who"], "whoever keeps the policy", "{error}");
    let error = world.refuses(65, "request-invalid", &[&["verdict", "pass", "nope", "uat"], &RILEY[..]].concat());
    assert!(error["message"].as_str().unwrap().starts_with("there is no environment `nope`"), "{error}");
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
    // A newer plan under the name of the older one: whoever answered has not seen it.
    std::fs::rename(world.at.join("p.plan.json"), world.at.join("kept.json")).unwrap();
    world.run(0, &["plan", "production", "--expires", "1h", "--out", "p.plan.json"]);
    let error = world.refuses(21, "approval-refused", &["apply", "p.plan.json"]);
    assert!(error["message"].as_str().unwrap().contains("p.plan.riley.approval.json is about another plan"), "{error}");
    // Beside a plan whose name begins as that one's does, it is no answer to it.
    std::fs::copy(world.at.join("p.plan.json"), world.at.join("p.json")).unwrap();
    world.refuses(20, "waiting", &["apply", "p.json"]);
    std::fs::rename(world.at.join("kept.json"), world.at.join("p.plan.json")).unwrap();
    world.run(0, &["apply", "p.plan.json"]);
}

/// An approval of a plan without a way back says that there is none, so it must be seen before it is signed.
#[test]
fn who_approves_is_told_first_that_there_is_nothing_to_go_back_to_s0_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let says = "if it fails there is nothing to go back to: approving it says so too";
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
pub(crate) fn two_of(world: &World, roles: &str) {
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
        // Somebody else has to ask.
        assert_eq!(error["next"], "promo --policy policy.toml plan production --out p.json", "{error}");
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

/// What a request takes the place of is said by the plan before it, and by the request.
#[test]
fn a_newer_request_says_whose_approval_it_takes_the_place_of_s6_7() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    let first = world.run(0, &["show", "p.json"])["digest"].clone();
    let (plan, _) = texts(&promo(&world.at, &["plan", "production", "--expires", "2h", "--out", "q.json"]));
    assert!(plan.contains("instead of the requested plan, which riley approved"), "{plan}");
    let ask = |file: &str| ["request", file, "--key", "keys/dana", "--signer", "built-in"].map(str::to_owned);
    let (asked, _) = texts(&promo(&world.at, &ask("q.json").each_ref().map(String::as_str)));
    assert!(asked.contains("took the place of the requested plan sha256:"), "{asked}");
    assert!(asked.contains("which riley approved: this one needs its own approvals"), "{asked}");
    world.run(0, &["plan", "production", "--expires", "3h", "--out", "r.json"]);
    let asked = world.run(0, &ask("r.json").each_ref().map(String::as_str));
    let second = &asked["superseded"][0];
    assert_eq!(
        (&second["environments"], &second["approved_by"]),
        (&serde_json::json!(["production"]), &serde_json::json!([]))
    );
    assert_ne!(second["plan"], first, "what was superseded before is not told again: {asked}");
    assert_eq!(asked["superseded"].as_array().unwrap().len(), 1, "{asked}");
}

#[test]
fn a_revocation_is_final_and_what_it_leaves_without_approvers_leads_to_a_new_plan_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    two_of(&world, "\"release-manager\"");
    world.plan("p.json");
    world.approve("p.json");
    let revoke = ["approve", "p.json", "--decision", "revoke", "--key", "keys/riley", "--signer", "built-in"];
    let (out, err) = texts(&promo(&world.at, &revoke));
    assert!(err.contains("for good: whoever signs this can never approve this plan again"), "{err}");
    let lost = "riley took their approval back, for good: too few are left who could approve this plan";
    assert!(out.contains(&format!("production: {lost}: plan and request anew")), "{out}");
    assert!(out.ends_with("Next: promo --policy policy.toml plan production --out p.json\n"), "{out}");
    for words in [&["status"][..], &["why", "production"], &["show", "p.json"]] {
        let (text, _) = texts(&promo(&world.at, words));
        assert!(text.contains(&format!("✗ {lost}")), "{words:?}: {text}");
        assert!(text.lines().last().unwrap().contains("plan production --out quickstart.plan.json"), "{text}");
    }
    assert_eq!(world.run(0, &["status"])["pending"][0]["environments"][0]["lost"], serde_json::json!(["riley"]));
    let again =
        world.refuses(21, "approval-refused", &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"]);
    assert!(again["details"].to_string().contains(lost), "{again}");
    assert_eq!(again["next"], "promo --policy policy.toml plan production --out p.json", "{again}");
}

/// One of two took theirs back where one is enough: the other one can still say yes, and is named alone.
#[test]
fn a_revocation_takes_nobody_else_s_yes_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    two_of(&world, "\"release-manager\"");
    world.edit("promo.toml", "count   = 2", "count   = 1");
    world.edit("policy.toml", "count = 2", "count = 1");
    world.plan("p.json");
    world.approve("p.json");
    let revoke = ["approve", "p.json", "--decision", "revoke", "--key", "keys/riley", "--signer", "built-in"];
    let (out, _) = texts(&promo(&world.at, &revoke));
    assert!(out.contains("production still needs 1 of release-manager: sam\n"), "{out}");
    assert!(out.ends_with("approve p.json --key KEY --signer built-in\n"), "{out}");
}

/// Production keeps out who wrote it, and a release came without saying who that was.
#[test]
fn who_wrote_a_release_is_asked_early_and_can_be_said_afterwards_s6_4() {
    let world = World::new();
    for file in ["policy.toml", "promo.toml"] {
        world.edit(file, "[\"initiator\"]", "[\"initiator\", \"author\"]");
    }
    world.edit("policy.toml", "version = 1", "version = 2");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    let (_, err) = texts(&promo(&world.at, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]));
    assert!(err.contains("warning") && err.contains("nobody can approve it for production"), "{err}");
    world.run(0, &["advance"]);
    // The next one says it, and brings the other one along.
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    let add = ["release", "add", "shop=1.0.0", "--alias", "1.3.0", "--meta", "authors=dana"];
    let (_, err) = texts(&promo(&world.at, &add));
    assert!(!err.contains("warning"), "{err}");
    world.run(0, &["advance"]);
    let id = world.run(0, &["release", "show", "1.2.0"])["id"].as_str().unwrap().to_owned();
    let way_out = format!("release authors {id} --author NAME --key KEY");
    let plan = ["plan", "production", "--out", "p.json"];
    let ask = ["request", "p.json", "--key", "keys/dana", "--signer", "built-in"];
    for words in [&plan[..], &ask] {
        let (_, err) = texts(&promo(&world.at, words));
        assert!(err.contains(&format!("nobody is named as an author of {id}")) && err.contains(&way_out), "{err}");
    }
    let approve = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"];
    let error = world.refuses(21, "approval-refused", &approve);
    assert!(error["details"].to_string().contains(&format!("as the author of {id}: promo {way_out}")), "{error}");
    // Adding it again does not settle it unsigned.
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    let error = world.refuses(65, "request-invalid", &["release", "add", "shop=1.0.0", "--meta", "authors=dana"]);
    assert!(error["message"].as_str().unwrap().contains(&way_out), "{error}");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    // What was rolled back in between comes along as well.
    for release in ["1.1.0", "1.2.0"] {
        world
            .run(0, &["release", "authors", release, "--author", "dana", "--key", "keys/dana", "--signer", "built-in"]);
    }
    let (shown, _) = texts(&promo(&world.at, &["release", "show", "1.2.0"]));
    assert!(shown.contains("written by dana, as was signed afterwards"), "{shown}");
    world.run(0, &approve);
    let (_, err) = texts(&promo(&world.at, &["apply", "p.json"]));
    assert!(!err.contains("error"), "{err}");
}

/// The only release manager asks for an approval by release managers that the rule keeps from whoever asks.
#[test]
fn a_request_that_leaves_nobody_to_approve_it_is_warned_of_s6_4() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    let ask = |who: &str| {
        let key = format!("keys/{who}");
        texts(&promo(&world.at, &["request", "p.json", "--key", &key, "--signer", "built-in"])).1
    };
    let err = ask("dana");
    assert!(!err.contains("warning"), "{err}");
    let err = ask("riley");
    assert!(err.contains("warning: nobody can approve production: too few are left without "), "{err}");
    assert!(err.contains("riley (initiator); somebody else has to do that part"), "{err}");
}

/// Nobody can apply it under the policy of now, so a yes to it would be worth nothing.
#[test]
fn a_plan_under_a_policy_that_was_replaced_is_not_approved_s8_2() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    world.edit("policy.toml", "version = 1", "version = 2");
    let approve = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"];
    let error = world.refuses(65, "plan-elsewhere", &approve);
    assert!(error["message"].as_str().unwrap().contains("policy"), "{error}");
    assert_eq!(error["next"], "promo --policy policy.toml plan production --out p.json", "{error}");
    // A no needs no rules to hold.
    world.run(0, &[&approve[..], &["--decision", "reject"]].concat());
}

/// Whoever says yes says it to what would be applied: what apply would refuse from here is refused before it is signed.
#[test]
fn a_yes_to_a_plan_of_which_an_input_has_changed_is_refused_as_stale_s8_2() {
    let rules = ("promo.toml", "count   = 1", "count   = 2", "approval rules of production");
    let pipeline = ("promo.toml", "on_failure = \"rollback\"", "on_failure = \"hold\"", "pipeline");
    let file = ("config/production.env", "WORKERS", "MORE_WORKERS", "file config/production.env in production");
    for (requested, (path, from, to, input)) in [(true, rules), (true, pipeline), (true, file), (false, file)] {
        let world = World::new();
        world.release("1.2.0", 3);
        world.plan("p.json");
        if requested {
            world.ask("p.json");
        }
        world.edit(path, from, to);
        let records = || world.run(0, &["ledger", "verify"])["records"].clone();
        let before = records();
        let (request, approve) =
            ([&["request", "p.json"], &DANA[..]].concat(), [&["approve", "p.json"], &RILEY[..]].concat());
        let beside = [&approve[..], &["--out", "yes.json"]].concat();
        for words in [&request, &approve, &beside] {
            let error = world.refuses(22, "plan-stale", words);
            let details = error["details"].to_string();
            assert!(details.contains(&format!("{input}: ")) && details.contains("(was "), "{error}");
            assert_eq!(error["next"], "promo --policy policy.toml plan production --out p.json", "{error}");
        }
        assert!(!world.at.join("yes.json").exists());
        assert_eq!(records(), before, "a refusal writes nothing");
        // It is drawn, and says so; and whoever is against it can say no.
        let (drawn, _) = texts(&promo(&world.at, &["show", "p.json"]));
        assert!(drawn.contains("production"), "{drawn}");
        let stale = "Nobody can approve or apply this plan any more: since it was planned, this changed: ";
        assert!(drawn.contains(stale) && drawn.contains(input), "{drawn}");
        assert_eq!(world.run(0, &["show", "p.json"])["fate"]["state"], "stale");
        world.run(0, &[&approve[..], &["--decision", "reject"]].concat());
        // As it was, it holds.
        world.edit(path, to, from);
        let (drawn, _) = texts(&promo(&world.at, &["show", "p.json"]));
        assert!(!drawn.contains("stale"), "{drawn}");
    }
}

/// Approvers need none of what their plan is about: neither its places nor its registries.
#[test]
fn who_approves_a_requested_plan_needs_nothing_outside_s8_2() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    for place in ["registry", "registry-production", "environments"] {
        std::fs::rename(world.at.join(place), world.at.join(format!("away-{place}"))).unwrap();
    }
    let (_, told) = texts(&promo(&world.at, &["show", "p.json"]));
    assert!(!told.contains("stale") && !told.contains("cannot be told"), "{told}");
    world.run(0, &[&["approve", "p.json"], &RILEY[..]].concat());
}

/// A gate that is shut for now hides from nobody that the plan is over.
#[test]
fn a_stale_plan_is_no_plan_that_waits_s8_2() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.run(0, &["freeze", "production", "--reason", "a test"]);
    let request = [&["request", "p.json"], &DANA[..]].concat();
    world.refuses(20, "waiting", &["apply", "p.json"]);
    world.edit("config/production.env", "WORKERS", "MORE_WORKERS");
    for words in [&request[..], &["apply", "p.json"]] {
        let error = world.refuses(22, "plan-stale", words);
        assert!(error["details"].to_string().contains("file config/production.env in production"), "{error}");
    }
    world.edit("config/production.env", "MORE_WORKERS", "WORKERS");
    world.run(0, &request);
}
