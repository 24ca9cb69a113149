//! Releases, freezes, and checks that are run again.

use promo_core::Digest;
use promo_core::ledger::Event;
use promo_core::release::{Release, ReleaseContent};

use crate::fixture::{Server, World, next, promo, texts};

/// How Riley signs.
const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];

pub(crate) fn row() {
    let world = World::new();
    let stranger = promo_engine::signature::SigningKey::generate("stranger").unwrap();
    world.write("keys/stranger", secrecy::ExposeSecret::expose_secret(&stranger.to_openssh().unwrap()));
    world.release("1.2.0", 3);
    world.run(0, &["freeze", "qa", "--reason", "a test"]);
    world.refuses(65, "request-invalid", &["freeze", "qaa", "--reason", "a test"]);
    // Stopping is everybody's; going on takes a person whom policy knows, and their signature.
    let unfreeze = ["unfreeze", "qa", "--reason", "a test"];
    let error = world.refuses(21, "lift-refused", &unfreeze);
    assert!(error["next"].as_str().unwrap().ends_with("unfreeze qa --reason 'a test' --key KEY"), "{error}");
    world.cannot_sign(&unfreeze);
    world.run(0, &[&unfreeze[..], &RILEY].concat());
    world.refuses(65, "request-invalid", &[&unfreeze[..], &RILEY].concat());
    let rejected = world.run(0, &["release", "reject", "1.2.0", "--environment", "qa", "--reason", "a test"]);
    assert_eq!(rejected["quarantined"], serde_json::json!(["qa"]), "{rejected}");
    let lift = ["release", "lift", "1.2.0", "--environment", "qa", "--reason", "a test"];
    world.refuses(21, "lift-refused", &lift);
    world.cannot_sign(&lift);
    let lifted = world.run(0, &[&lift[..], &RILEY].concat());
    assert_eq!(lifted["quarantined"], serde_json::json!([]), "{lifted}");
    world.refuses(65, "request-invalid", &["release", "lift", "1.2.0", "--reason", "a test"]);
    let nobodys = Digest::of(b"what no release has in it").to_string();
    let recalled = world.run(0, &["release", "recall", &nobodys, "--reason", "a test"]);
    assert_eq!(recalled["releases"], serde_json::json!([]), "{recalled}");
    // What the build reported is not what the registry serves.
    let shown = world.run(0, &["release", "show", "1.1.0"]);
    let digest = shown["artifacts"]["shop"].as_str().unwrap().split('@').nth(1).unwrap();
    let error =
        world.refuses(22, "tag-moved", &["release", "add", &format!("shop=1.0.0@{digest}"), "--alias", "1.3.0"]);
    let next = format!("promo --policy policy.toml release add shop={digest} --alias 1.3.0");
    assert_eq!(error["next"], next, "{error}");
    let authors = ["release", "authors", "1.1.0", "--author", "dana"];
    world.refuses(
        21,
        "approval-refused",
        &[&authors[..], &["--key", "keys/stranger", "--signer", "built-in"]].concat(),
    );
    let named = world.run(0, &[&authors[..], &RILEY].concat());
    assert_eq!(named["authors"], serde_json::json!(["dana", "riley"]), "{named}");
    let server = Server::new(|_| 403);
    world.edit("promo.toml", "image = \"oci-layout:registry/shop\"", &format!("image = \"{}/shop\"", server.address));
    world.refuses(1, "provider-denied", &["release", "add", "shop=1.1.0", "--alias", "1.3.0"]);
    let source = format!("{}/shop:9.9.9", server.address);
    world.write_record(|record, _| (record.kind, record.body) = elsewhere(&source, "9.9.9").to_parts());
    let authors = ["release", "authors", "9.9.9", "--author", "dana"];
    world.refuses(1, "provider-denied", &[&authors[..], &RILEY].concat());
}

/// A release that came from a registry.
pub(crate) fn elsewhere(source: &str, alias: &str) -> Event {
    let digest = Digest::of(alias.as_bytes());
    let components = [("shop".parse().unwrap(), digest)].into();
    let content = ReleaseContent { components, files: [].into() };
    let sources = [("shop".parse().unwrap(), format!("{source}@{digest}"))].into();
    let release = Release { id: content.id(), content, sources, alias: Some(alias.into()) };
    Event::ReleaseAdded { release }
}

pub(crate) fn row_of_verify() {
    let world = World::new();
    world.run(0, &["verify", "qa"]);
    // What was deployed is no longer enough: the check fails when it is run again.
    world.write("environments/qa/current/templates/service.toml", "");
    world.run(21, &["verify", "qa"]);
    let (out, err) = texts(&promo(&world.at, &["verify", "qa"]));
    assert!(out.contains("another image is deployed") && err.is_empty(), "{out}{err}");
    // Something else arrives while the check looks.
    let world = World::new();
    world.hold_check("dev");
    world.write("go", "");
    world.release("1.2.0", 3);
    world.write("config/common.env", "NEEDS_WORKERS=2\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.hold_again();
    let held = world.start(&["verify", "dev"]);
    world.run(0, &["apply", "p.json"]);
    let (run, (_, err)) = (world.newest_run(), held.gone_on(22));
    assert!(err.contains(&format!("run {run} moved dev while its checks were asked")), "{err}");
    assert!(err.contains(&format!("show {run}\n")), "{err}");
    // While a run moves it nobody can say what a check would speak of.
    let world = World::new();
    world.hold_check("dev");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let held = world.start(&["apply", "p.json"]);
    let error = world.run(20, &["verify", "dev"]);
    let run = world.newest_run();
    assert_eq!((error["code"].as_str(), next(&error)), (Some("locked"), format!("promo show {run}")), "{error}");
    held.go_on(0);
}

#[test]
fn policy_can_demand_the_digest_that_the_build_reported_s0_5() {
    let world = World::new();
    let digest = world.run(0, &["release", "show", "1.1.0"])["artifacts"]["shop"].as_str().unwrap().to_owned();
    let digest = digest.split('@').nth(1).unwrap();
    world.write("config/common.env", "NEEDS_WORKERS=2\n");
    let policy = std::fs::read_to_string(world.at.join("policy.toml")).unwrap();
    world.write("policy.toml", &(policy + "\n[releases]\nfirst_observation = false\n"));
    world.edit("policy.toml", "version = 1", "version = 2");
    for observed in ["shop=1.1.0", "shop=oci-layout:registry/shop:1.1.0"] {
        let error = world.refuses(65, "request-invalid", &["release", "add", observed]);
        assert!(error["message"].as_str().unwrap().contains("only with the digest that its build reported"), "{error}");
    }
    for (reported, alias) in [(format!("shop=1.1.0@{digest}"), "1.3.0"), (format!("shop={digest}"), "1.4.0")] {
        world.write("config/common.env", &format!("NEEDS_WORKERS=2\n# {alias}\n"));
        world.run(0, &["release", "add", &reported, "--alias", alias]);
    }
}

#[test]
fn an_alias_that_would_be_lost_is_refused() {
    let world = World::new();
    let error = world.refuses(65, "request-invalid", &["release", "add", "shop=1.1.0", "--alias", "winter"]);
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("in the ledger already, as `1.1.0`") && said.contains("--alias winter"), "{error}");
    for again in [&["release", "add", "shop=1.1.0"][..], &["release", "add", "shop=1.1.0", "--alias", "1.1.0"]] {
        assert_eq!(world.run(0, again)["alias"], "1.1.0");
    }
}

#[test]
fn an_alias_that_could_be_taken_for_an_id_or_a_number_is_refused() {
    let world = World::new();
    let id = world.run(0, &["release", "show", "1.1.0"])["id"].as_str().unwrap().to_owned();
    for alias in [id.as_str(), "r-0546", "7", "#7", "", " a", "a\nb", "\u{1b}[2J"] {
        let alias = format!("--alias={alias}");
        let error = world.refuses(64, "usage", &["release", "add", "shop=1.0.0", &alias]);
        assert!(!error["message"].as_str().unwrap().contains('\u{1b}'), "{error}");
    }
    assert_eq!(world.run(0, &["release", "list"])["releases"].as_array().unwrap().len(), 2);
}

/// Aliases were not always held to a form: what an older promo wrote is read as it is, and takes nobody's place.
#[test]
fn the_id_and_the_number_of_a_release_win_over_the_alias_of_another_one() {
    let world = World::new();
    let id = world.run(0, &["release", "show", "1.1.0"])["id"].as_str().unwrap().to_owned();
    for alias in [id.as_str(), &id[..8], "#2", "2"] {
        world.write_record(|record, _| {
            (record.kind, record.body) = elsewhere("r.example/shop:9.9.9", alias).to_parts();
            record.rid = format!("written by hand as {alias}");
        });
    }
    for typed in [id.as_str(), &id[..8], "#2"] {
        assert_eq!(world.run(0, &["release", "show", typed])["lineage"], 2, "{typed}");
    }
    let rejected = world.run(0, &["release", "reject", &id, "--reason", "a test"]);
    assert_eq!((&rejected["lineage"], &rejected["alias"]), (&2.into(), &"1.1.0".into()), "{rejected}");
    let error = world.refuses(65, "request-invalid", &["release", "show", "2"]);
    let told = error["details"].to_string();
    assert!(told.contains(&format!("the number of {id} (#2, 1.1.0)")) && told.contains("(#6, 2)"), "{error}");
    world.refuses(65, "nothing-selected", &["release", "show", "#99"]);
    assert_eq!(world.run(0, &["release", "show", "3"])["lineage"], 3, "a number alone means what it meant");
}

#[test]
fn one_artifact_or_label_that_is_given_twice_is_refused_and_not_half_heard() {
    let world = World::new();
    for twice in [["1.1.0", "1.0.0"], ["shop=1.1.0", "shop=1.0.0"]] {
        let error = world.refuses(64, "usage", &["release", "add", twice[0], twice[1]]);
        let said = error["message"].as_str().unwrap();
        assert!(said.contains("`1.1.0` and `1.0.0`"), "{error}");
    }
    let twice = ["release", "add", "1.0.0", "--meta", "authors=dana", "--meta", "authors=riley"];
    let error = world.refuses(64, "usage", &twice);
    assert!(error["message"].as_str().unwrap().contains("`authors` was given twice: `dana` and `riley`"), "{error}");
}

#[test]
fn a_tag_that_moves_and_a_text_that_is_no_reference_are_wrong_input_with_a_page_of_their_own_r2() {
    let world = World::new();
    for (given, code) in [("shop=1.7", "artifact-moving-tag"), ("shop=sha256:0000", "artifact-reference")] {
        let error = world.refuses(65, code, &["release", "add", given]);
        assert_eq!(error["next"], "promo release add --help", "{error}");
    }
}

#[test]
fn a_reason_that_stands_in_a_suggestion_is_none() {
    let world = World::new();
    for reason in ["…", "...", "'…'", " - ", "REASON"] {
        world.refuses(64, "usage", &["freeze", "--reason", reason]);
        world.refuses(64, "usage", &["release", "reject", "1.1.0", "--reason", reason]);
    }
    assert_eq!(world.run(0, &["freeze", "--reason", "変更"])["next"], "promo --policy policy.toml status");
}

#[test]
fn what_is_lifted_is_called_what_it_was_s10_4() {
    let world = World::new();
    let unfreeze = [&["unfreeze", "production", "--reason", "more workers"], &RILEY[..]].concat();
    // A freeze beside the pause hides it from nobody, and lifting the one leaves the other.
    world.run(0, &["freeze", "production", "--reason", "a fair"]);
    let (status, _) = texts(&promo(&world.at, &["status"]));
    assert!(status.contains("a fair") && status.contains("paused"), "{status}");
    let (out, _) = texts(&promo(&world.at, &unfreeze));
    assert!(out.starts_with("no longer frozen, and paused as before after a rollback"), "{out}");
    let (out, _) = texts(&promo(&world.at, &unfreeze));
    assert_eq!(out, "no longer paused: production\nNext: promo --policy policy.toml plan production\n");
    let error = world.refuses(65, "request-invalid", &unfreeze);
    assert_eq!(error["message"], "production is neither frozen nor paused", "{error}");
    world.run(0, &["freeze", "production", "--reason", "a test"]);
    let (out, _) = texts(&promo(&world.at, &unfreeze));
    assert!(out.starts_with("no longer frozen: production\n"), "{out}");
}

/// `KEY` stands in every suggestion that has to be signed, and it is pasted as it is.
#[test]
fn a_pasted_placeholder_says_what_it_stands_for_and_leads_to_the_same_verb() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    for (verb, words) in [
        ("request", &["request", "p.json"][..]),
        ("unfreeze", &["unfreeze", "production", "--reason", "a test"]),
        ("release lift", &["release", "lift", "1.1.0", "--environment", "production", "--reason", "a test"]),
    ] {
        for signer in ["built-in", "ssh-keygen"] {
            let error = world.refuses(65, "file-unreadable", &[words, &["--key", "KEY", "--signer", signer]].concat());
            assert!(error["message"].as_str().unwrap().contains("stands for the path of your own key"), "{error}");
            assert_eq!(error["next"], format!("promo {verb} --help"), "{error}");
        }
    }
}

/// The digest of the image of a release, and of the manifest and the configuration of its platform.
fn parts(world: &World, release: &str) -> [String; 3] {
    let shown = world.run(0, &["release", "show", release]);
    let artifact = shown["artifacts"]["shop"].as_str().unwrap().split('@').nth(1).unwrap().to_owned();
    let records = promo_ledger::SqliteStore::open(world.at.join(".promo/ledger.db")).unwrap();
    let records = promo_ledger::Store::raw(&records, 0, 10_000).unwrap();
    let described = records
        .iter()
        .map(|raw| raw.parse().unwrap())
        .find(|record| record.kind == "artifact.described" && record.body["artifact"] == artifact.as_str());
    let body = described.unwrap().body;
    let (manifest, config) = body["platforms"].as_object().unwrap().iter().next().unwrap();
    [artifact, manifest.clone(), config.as_str().unwrap().to_owned()]
}

#[test]
fn r9_what_has_a_recalled_digest_in_it_moves_nowhere_and_is_no_way_back() {
    for part in 0..3 {
        let world = World::new();
        assert_eq!(world.run(0, &["rollback", "staging"])["summary"]["can_start"], serde_json::json!(["staging"]));
        let digest = &parts(&world, "1.0.0")[part];
        let before = world.run(0, &["release", "show", "1.1.0"])["quarantined"].clone();
        world.refuses(65, "nothing-selected", &["release", "recall", &digest[..9], "--reason", "CVE-2026-1"]);
        let first = if part == 0 { &digest["sha256:".len()..][..12] } else { digest };
        let recalled = world.run(0, &["release", "recall", first, "--reason", "CVE-2026-1"]);
        assert_eq!(recalled["releases"].as_array().unwrap().len(), 1, "{recalled}");
        assert_eq!(recalled["releases"][0]["alias"], "1.0.0");
        // It binds the way back, and does not touch what does not have it.
        world.run(21, &["rollback", "staging"]);
        let quarantined = |release: &str| world.run(0, &["release", "show", release])["quarantined"].clone();
        let everywhere = serde_json::json!(["everywhere"]);
        assert_eq!((quarantined("1.0.0"), quarantined("1.1.0")), (everywhere.clone(), before));
        let (why, _) = texts(&promo(&world.at, &["why", "production", "1.0.0"]));
        assert!(why.contains(&format!("{digest} was recalled: CVE-2026-1")), "{why}");
        // What comes later with it is kept out as it enters, and says why.
        world.write("config/common.env", "NEEDS_WORKERS=2\n");
        let (out, err) = texts(&promo(&world.at, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]));
        assert!(
            out.contains(&format!("✗ quarantined everywhere: {digest} is in it, which was recalled: CVE-2026-1")),
            "{out}{err}"
        );
        assert!(out.ends_with("Next: promo --policy policy.toml status\n"), "{out}");
        assert_eq!(quarantined("1.2.0"), everywhere);
        assert_eq!(world.run(0, &["plan", "dev", "--release", "1.2.0"])["summary"]["can_start"], serde_json::json!([]));
        // Each is let in again by itself.
        let lift = [&["release", "lift", "1.2.0", "--reason", "does not use it"], &RILEY[..]].concat();
        let (out, err) = texts(&promo(&world.at, &lift));
        assert!(out.contains(&format!("  {digest} in it stays recalled: ")), "{out}{err}");
        assert_eq!((quarantined("1.2.0"), quarantined("1.0.0")), (serde_json::json!([]), everywhere.clone()));
        // The recall ends by itself: what was rejected because of it stays so, and what comes later enters.
        let ends = ["release", "lift", digest, "--reason", "no CVE after all"];
        world.refuses(21, "lift-refused", &ends);
        world.refuses(21, "lift-refused", &[&ends[..], &RILEY, &["--actor-kind", "automation"]].concat());
        world.refuses(64, "usage", &[&ends[..], &["--environment", "qa"]].concat());
        let (out, err) = texts(&promo(&world.at, &[&ends[..], &RILEY].concat()));
        assert!(out.starts_with(&format!("{digest} is no longer recalled: ")), "{out}{err}");
        assert!(out.contains(" stays quarantined everywhere (ended by `promo release lift r-"), "{out}");
        assert_eq!(quarantined("1.0.0"), everywhere);
        world.refuses(65, "request-invalid", &[&ends[..], &RILEY].concat());
        world.write("config/common.env", "NEEDS_WORKERS=2\n# 1.3.0\n");
        world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
        assert_eq!(quarantined("1.3.0"), serde_json::json!([]));
        let (history, _) = texts(&promo(&world.at, &["history"]));
        assert!(history.contains("recalled no more") && history.contains("“no CVE after all”"), "{history}");
    }
}

#[test]
fn r9_a_recall_binds_what_was_requested_and_approved_and_what_a_run_has_not_begun_yet() {
    let recall = |world: &World, release: &str| {
        let [_, manifest, _] = &parts(world, release);
        world.run(0, &["release", "recall", manifest, "--reason", "CVE-2026-1"]);
    };
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    recall(&world, "1.2.0");
    // Whoever approves it, nobody applies it any more.
    world.run(0, &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"]);
    let before = world.run(0, &["release", "list"]);
    let refused = world.refuses(21, "denied", &["apply", "p.json"]);
    assert!(refused["details"].to_string().contains("quarantined everywhere"), "{refused}");
    assert_eq!(world.run(0, &["release", "list"]), before, "nothing was moved");

    // A run that is at work in dev goes no further than there.
    let world = World::new();
    world.hold_check("dev");
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "--until", "staging", "--out", "p.json"]);
    let apply = world.start(&["apply", "p.json"]);
    recall(&world, "1.2.0");
    let (out, err) = apply.gone_on(20);
    assert_eq!(out.matches("quarantined everywhere by dana").count(), 2, "{out}");
    let run = world.newest_run();
    let shown = world.run(0, &["status"]);
    let at = |name: &str| {
        let rows = shown["environments"].as_array().unwrap();
        rows.iter().find(|row| row["environment"] == name).unwrap()["release"]["alias"].clone()
    };
    assert_eq!(at("dev"), "1.2.0", "{shown}");
    for name in ["qa", "perf", "staging"] {
        assert_ne!(at(name), "1.2.0", "{run}: {out}{err}");
    }
}
