//! Which policy, trust file and ledger a verb works with (S0.1, S7.1).

use promo_engine::clock::SystemClock;
use promo_sdk::Clock as _;

use crate::fixture::{World, command, copy, end, promo, texts};

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
    world.cannot_sign(&accept);
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
fn what_a_pipeline_says_of_ledger_and_policy_is_never_passed_over_without_a_trust_file_s0_1() {
    let world = World::new();
    let says = |keys: &str| {
        world.edit("promo.toml", "name = \"quickstart\"", &format!("name = \"quickstart\"\n{keys}"));
        let words = ["status"];
        let (_, err) = texts(&promo(&world.at, &words));
        world.edit("promo.toml", &format!("\n{keys}"), "");
        err
    };
    let same = says("ledger = \"./.promo/ledger.db\"\npolicy = \"policy.toml\"");
    assert!(!same.contains("error"), "{same}");
    for (keys, other) in
        [("ledger = \"mine.db\"", "--ledger mine.db"), ("policy = \"weak.toml\"", "--policy weak.toml")]
    {
        let err = says(keys);
        assert!(err.contains("trust-differs") && err.contains(other), "{err}");
    }
    // Nor is it silently without a policy where the pipeline names one.
    world.edit("promo.toml", "name = \"quickstart\"", "name = \"quickstart\"\npolicy = \"policy.toml\"");
    let mut bare = command(&world.at, &["check"]);
    bare.env_remove("PROMO_POLICY");
    let err = texts(&end(bare, &["check"])).1;
    assert!(err.contains("trust-differs") && err.contains("none counts"), "{err}");
}

#[test]
fn no_link_and_no_spelling_takes_a_copy_into_a_claimed_layout_s0_2() {
    let world = World::new();
    let policy = std::fs::read_to_string(world.at.join("policy.toml")).unwrap();
    let claim = |place: &str| format!("{policy}\n[[claims]]\n{place}\ntier = \"production\"\n");
    std::fs::create_dir(world.at.join("live-copies")).unwrap();
    std::os::unix::fs::symlink("live-copies", world.at.join("elsewhere")).unwrap();
    let dev = "[environments.dev]\n";
    let absolute = format!("{}/live-copies", world.at.display());
    let claims = ["registry = \"oci-layout:live-copies\"", &format!("directory = \"{absolute}\"")].map(claim);
    for (at, place) in ["elsewhere/x", "./live-copies", &absolute].into_iter().enumerate() {
        world.write("policy.toml", &claims[at % 2]);
        let mirror = format!("{dev}mirror = {{ \"oci-layout:registry\" = \"oci-layout:{place}\" }}\n");
        world.edit("promo.toml", dev, &mirror);
        let (_, err) = texts(&promo(&world.at, &["check"]));
        assert!(err.contains("policy-tier-too-low"), "{place}: {err}");
        world.edit("promo.toml", &mirror, dev);
    }
}

#[test]
fn a_window_of_policy_that_never_opens_again_is_warned_of_s5_3() {
    let world = World::new();
    world.edit("policy.toml", "version = 1", "version = 2");
    let policy = std::fs::read_to_string(world.at.join("policy.toml")).unwrap();
    let over = "[windows.old]\neffect = \"allow\"\ntimezone = \"UTC\"\nonce = { start = \"2020-01-01T00:00\", end = \"2020-02-01T00:00\" }\n";
    world.write("policy.toml", &format!("{policy}\n[tiers.staging]\nwindows = [\"old\"]\n{over}"));
    let told = world.run(65, &["check", "--strict"]);
    let warned = told["windows"].to_string();
    assert!(warned.contains("policy: `old` does not open any more"), "{warned}");
    // Text, JSON and exit code say the same about why it ended like that.
    let warning = &told["warnings"][0];
    assert_eq!((&warning["code"], &warning["file"]), (&"window-forecast".into(), &"policy.toml".into()), "{told}");
    assert!(warning["message"].as_str().unwrap().starts_with("`old` does not open any more"), "{told}");
    assert_eq!(told["next"], "promo explain window-forecast");
    let (out, _) = texts(&promo(&world.at, &["check", "--strict"]));
    assert!(out.contains("has warnings, and --strict takes none") && !out.contains("well formed"), "{out}");
    assert!(out.ends_with("1 warning\nNext: promo explain window-forecast\n"), "{out}");
    let (out, _) = texts(&promo(&world.at, &["check"]));
    assert!(out.contains("is well formed") && out.ends_with("Next: promo --policy policy.toml graph\n"), "{out}");
}

#[test]
fn a_policy_that_lies_there_and_was_not_named_is_pointed_at() {
    let world = World::new();
    let bare = |words: &[&str]| {
        let mut command = command(&world.at, words);
        command.env_remove("PROMO_POLICY");
        texts(&end(command, words)).1
    };
    let export = format!("`export PROMO_POLICY={}`", world.at.join("policy.toml").display());
    let err = bare(&["status"]);
    assert!(err.contains(&export), "{err}");
    assert!(err.ends_with("Next: promo --policy policy.toml check\n"), "{err}");
    // Also where nothing in the pipeline needs one, and the ledger remembers it.
    world.edit("promo.toml", "\"production\"", "\"staging\"");
    let err = bare(&["status"]);
    assert!(err.contains("error[policy-not-adopted]") && err.contains(&export), "{err}");
    std::fs::remove_file(world.at.join("policy.toml")).unwrap();
    assert!(!bare(&["status"]).contains("export"));
}

#[test]
fn a_path_that_is_to_be_exported_is_quoted_as_commands_are() {
    let world = World::new();
    let spaced = world.at.join("a folder");
    copy(&world.at.join("config"), &spaced.join("config"));
    for file in ["promo.toml", "policy.toml"] {
        std::fs::copy(world.at.join(file), spaced.join(file)).unwrap();
    }
    let export = format!("`export PROMO_POLICY='{}'`", spaced.join("policy.toml").display());
    let told = |directory: &std::path::Path, policy: Option<&str>| {
        let mut command = command(directory, &["status"]);
        command.env_remove("PROMO_POLICY").envs(policy.map(|policy| ("PROMO_POLICY", policy)));
        texts(&end(command, &["status"])).1
    };
    let unnamed = told(&spaced, None);
    assert!(unnamed.contains(&export), "{unnamed}");
    // One that was named from elsewhere.
    std::fs::create_dir(spaced.join(".git")).unwrap();
    let elsewhere = told(&spaced.join("config"), Some("policy.toml"));
    assert!(elsewhere.contains(&export), "{elsewhere}");
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
    for words in [&["plan"][..], &["advance"], &["freeze", "production", "--reason", "a test"]] {
        world.refuses(65, "policy-reused", words);
    }
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
    // With production called staging nothing in the pipeline needs a policy any more: the ledger still does.
    let pipeline = std::fs::read_to_string(world.at.join("promo.toml")).unwrap();
    world.edit("promo.toml", "\"production\"", "\"staging\"");
    for words in [&["status"][..], &["plan"], &["advance"], &["freeze", "production", "--reason", "a test"]] {
        let mut bare = command(&world.at, words);
        bare.env_remove("PROMO_POLICY");
        let (_, err) = texts(&end(bare, words));
        assert!(err.contains("error[policy-not-adopted]"), "{words:?}: {err}");
    }
    world.write("promo.toml", &pipeline);
    world.edit("policy.toml", "name    = \"quickstart\"", "name    = \"another\"");
    for words in [&["status"][..], &["plan"], &["advance"], &["freeze", "production", "--reason", "a test"]] {
        let error = world.refuses(65, "policy-not-adopted", words);
        assert!(error["expected"].as_str().unwrap().starts_with("quickstart v1 sha256:"), "{error}");
        assert!(error["found"].as_str().unwrap().starts_with("another v1 sha256:"), "{error}");
    }
}
