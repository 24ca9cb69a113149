//! Which policy, trust file and ledger a verb works with (S0.1, S7.1).

use promo_engine::clock::SystemClock;
use promo_sdk::Clock as _;

use crate::fixture::{World, command, end, texts};

pub(crate) fn row_of_accept_clock() {
    let world = World::new();
    let accept = ["ledger", "accept-clock", "--reason", "the machine had no time server"];
    let signed = [&accept[..], &["--key", "keys/riley", "--signer", "built-in"]].concat();
    world.refuses(65, "request-invalid", &signed);
    world.write_next_year();
    let report = world.run(0, &["ledger", "verify"]);
    world.run(0, &["unfreeze", "--reason", "a test", "--key", "keys/riley", "--signer", "built-in"]);
    let waits = |world: &World| world.run(0, &["why", "production", "1.0.0"]).to_string().contains("clock-went-back");
    assert!(waits(&world), "{report}");
    world.refuses(21, "lift-refused", &accept);
    world.refuses(21, "lift-refused", &[&signed[..], &["--actor-kind", "automation"]].concat());
    assert!(waits(&world));
    // By that record the policy is over, so nothing but this works.
    let tomorrow = SystemClock.now() + jiff::SignedDuration::from_hours(24);
    let last = format!("version = 1\nexpires = \"{}\"", tomorrow.strftime("%Y-%m-%d"));
    world.edit("policy.toml", "version = 1", &last.replace("version = 1", "version = 2"));
    world.refuses(65, "policy-expired", &["freeze", "--reason", "a test"]);
    world.run(0, &signed);
    world.run(0, &["status"]);
    assert!(!waits(&world));
    world.refuses(65, "request-invalid", &signed);
    world.run(0, &["ledger", "verify"]);
}

#[test]
fn nobody_picks_their_own_judge_s0_1() {
    let world = World::new();
    let trust = "format = 1\nledger = \"ledger.db\"\n\n[policy]\npath = \"policy.toml\"\n";
    world.write("trust.toml", trust);
    world.refuses(65, "trust-in-repository", &["status", "--trust", "trust.toml"]);
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("trust.toml");
    std::fs::write(&path, trust).unwrap();
    std::fs::copy(world.at.join("policy.toml"), outside.path().join("policy.toml")).unwrap();
    let path = path.to_str().unwrap();
    let text = std::fs::read_to_string(world.at.join("policy.toml")).unwrap();
    world.write("policy.toml", &format!("{text}\n# weaker\n"));
    world.refuses(65, "trust-differs", &["status", "--trust", path]);
    let named = outside.path().join("policy.toml");
    world.run(0, &["status", "--trust", path, "--policy", named.to_str().unwrap()]);
    let error = world.refuses(65, "trust-differs", &["status", "--trust", path, "--ledger", ".promo/ledger.db"]);
    assert!(error["message"].as_str().unwrap().starts_with("PROMO_POLICY names another policy"), "{error}");
    let policy = ["--policy", named.to_str().unwrap()];
    let ledger = [&["status", "--trust", path, "--ledger", ".promo/ledger.db"], &policy[..]].concat();
    let error = world.refuses(65, "trust-differs", &ledger);
    assert!(error["message"].as_str().unwrap().starts_with("--ledger names another ledger"), "{error}");
    assert!(error["found"].as_str().unwrap().ends_with("(--ledger)"), "{error}");
}

/// Variables that were exported before there was a trust file mostly name the very same files.
#[test]
fn the_same_file_spelt_in_another_way_is_no_difference_s0_1() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("trust.toml");
    let at = world.at.display();
    let trust = format!("format = 1\nledger = \"{at}/.promo/ledger.db\"\n\n[policy]\npath = \"{at}/policy.toml\"\n");
    std::fs::write(&path, trust).unwrap();
    let path = path.to_str().unwrap();
    std::os::unix::fs::symlink(world.at.join("policy.toml"), world.at.join("link.toml")).unwrap();
    world.write("copy.toml", &std::fs::read_to_string(world.at.join("policy.toml")).unwrap());
    let (absolute, ledger) = (format!("{at}/policy.toml"), format!("{at}/./.promo/../.promo/ledger.db"));
    for policy in ["policy.toml", "./policy.toml", "link.toml", "copy.toml", absolute.as_str()] {
        world.run(0, &["status", "--trust", path, "--policy", policy, "--ledger", ".promo/ledger.db"]);
    }
    world.run(0, &["status", "--trust", path, "--ledger", &ledger]);
    world.edit(
        "promo.toml",
        "name = \"quickstart\"",
        "name = \"quickstart\"\nledger = \".promo/ledger.db\"\npolicy = \"./policy.toml\"",
    );
    world.run(0, &["status", "--trust", path]);
    world.edit("promo.toml", "\".promo/ledger.db\"", "\"mine.db\"");
    world.refuses(65, "config-invalid", &["status", "--trust", path]);
}

#[test]
fn a_policy_that_lies_there_and_was_not_named_is_pointed_at() {
    let world = World::new();
    let bare = |words: &[&str]| {
        let mut command = command(&world.at, words);
        command.env_remove("PROMO_POLICY");
        texts(&end(command, words)).1
    };
    let err = bare(&["status"]);
    assert!(err.contains("`export PROMO_POLICY=policy.toml`"), "{err}");
    assert!(err.ends_with("Next: promo --policy policy.toml check\n"), "{err}");
    // Also where nothing in the pipeline needs one, and the ledger remembers it.
    world.edit("promo.toml", "\"production\"", "\"staging\"");
    let err = bare(&["status"]);
    assert!(err.contains("error[policy-not-adopted]") && err.contains("`export PROMO_POLICY=policy.toml`"), "{err}");
    std::fs::remove_file(world.at.join("policy.toml")).unwrap();
    assert!(!bare(&["status"]).contains("export"));
}

#[test]
fn a_doctor_who_finds_another_ledger_leads_to_what_that_means_s0_1() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    let at = world.at.display();
    let trust = |size: &str| {
        let pin = format!("[checkpoint]\norigin = \"another\"\nsize = {size}\nroot = \"sha256:{}\"\n", "0".repeat(64));
        let trust =
            format!("format = 1\nledger = \"{at}/.promo/ledger.db\"\n\n[policy]\npath = \"{at}/policy.toml\"\n\n{pin}");
        std::fs::write(outside.path().join("trust.toml"), trust).unwrap();
    };
    let path = outside.path().join("trust.toml");
    let words = ["doctor", "--offline", "--trust", path.to_str().unwrap()];
    trust("7");
    assert_eq!(world.run(1, &words)["next"], "promo explain ledger-other");
}

#[test]
fn a_policy_of_a_lower_version_is_refused_once_a_verb_wrote_under_a_higher_one_s7_1() {
    let world = World::new();
    world.edit("policy.toml", "version = 1", "version = 2");
    world.run(0, &["status"]);
    world.edit("policy.toml", "version = 2", "version = 1");
    world.run(0, &["status"]);
    world.edit("policy.toml", "version = 1", "version = 2");
    world.run(0, &["freeze", "production", "--reason", "a test"]);
    let text = std::fs::read_to_string(world.at.join("policy.toml")).unwrap();
    world.write("policy.toml", &format!("{text}\n# changed\n"));
    world.refuses(65, "policy-reused", &["status"]);
    world.write("policy.toml", &text);
    world.edit("policy.toml", "version = 2", "version = 1");
    for words in [&["status"][..], &["plan"], &["advance"], &["unfreeze", "production", "--reason", "a test"]] {
        let error = world.refuses(65, "policy-replaced", words);
        assert!(error["expected"].as_str().unwrap().starts_with("v2 sha256:"), "{error}");
        assert!(error["found"].as_str().unwrap().starts_with("v1 sha256:"), "{error}");
    }
}

#[test]
fn a_ledger_keeps_its_policy_also_when_the_tier_is_lowered_or_the_policy_is_renamed_s7_1() {
    let world = World::new();
    world.edit("policy.toml", "name    = \"quickstart\"", "name    = \"another\"");
    for words in [&["status"][..], &["plan"], &["advance"], &["freeze", "production", "--reason", "a test"]] {
        let error = world.refuses(65, "policy-not-adopted", words);
        assert!(error["expected"].as_str().unwrap().starts_with("quickstart v1 sha256:"), "{error}");
        assert!(error["found"].as_str().unwrap().starts_with("another v1 sha256:"), "{error}");
    }
}
