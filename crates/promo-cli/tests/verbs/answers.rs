//! That an answer says what is so: no verdict before everybody has spoken, no "there is none" where a ledger lost it, no cause that
//! is another, and a next command for what was refused.

use crate::fixture::{World, command, next, promo, said, texts};

/// Riley signs.
const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];

/// A world in which people answer the check `uat` of perf, which staging waits for.
fn asked_in_perf() -> World {
    let world = World::new();
    let uat = "[checks.uat]\nmanual = { from = [\"release-manager\"] }\n\n[environments.dev]";
    world.edit("promo.toml", "[environments.dev]", uat);
    world.edit("promo.toml", "verify = [\"smoke\", \"load\"]", "verify = [\"smoke\", \"load\", \"uat\"]");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# asked\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "asked"]);
    world
}

#[test]
fn nothing_is_called_verified_while_people_have_not_answered_s6_10() {
    let world = asked_in_perf();
    let advanced = said(&world, &["advance"]);
    let open = "passed the checks that promo runs, and not those of people";
    let of_perf: Vec<&str> = advanced.lines().filter(|line| line.trim_start().starts_with("perf ")).collect();
    assert!(of_perf.iter().any(|line| line.contains(open)), "{advanced}");
    assert!(!of_perf.iter().any(|line| line.contains("is verified")), "{advanced}");
    assert!(advanced.lines().any(|line| line.starts_with("qa ") && line.contains("is verified")), "{advanced}");
    let run = world.newest_run();
    for words in [&["history", "perf"][..], &["why", "perf"], &["show", &run]] {
        let told = said(&world, words);
        let first = told.lines().find(|line| line.contains("asked") && line.contains("perf")).unwrap_or(&told);
        assert!(told.contains(open) && !first.contains("is verified"), "promo {}: {told}", words.join(" "));
    }
    // A failure is not led away from by its opposite, and a pass after it says that it does not count yet.
    world.run(0, &[&["verdict", "fail", "perf", "uat"][..], &RILEY].concat());
    assert!(!next(&world.run(0, &["why", "perf"])).contains("verdict pass"));
    let pass = [&["verdict", "pass", "perf", "uat"][..], &RILEY].concat();
    let once = world.run(0, &pass);
    assert_eq!(
        (&once["again"], next(&once).as_str()),
        (&true.into(), "promo verdict pass perf uat --key KEY"),
        "{once}"
    );
    let twice = world.run(0, &pass);
    assert_eq!((&twice["again"], next(&twice).as_str()), (&serde_json::Value::Null, "promo advance"), "{twice}");
    assert!(said(&world, &["history", "perf"]).contains("is verified"));
}

#[test]
fn a_ledger_whose_kept_files_are_gone_is_damaged_and_nothing_is_concluded_from_that_s12_2() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let used = world.run(0, &["history", "dev"])["promotions"][0]["plan"].as_str().unwrap().to_owned();
    world.opened_ledger().execute("DELETE FROM blobs", ()).unwrap();
    for words in [
        &["rollback", "production"][..],
        &["rollback", "production", "--to", "1.0.0"],
        &["plan"],
        &["show", &used],
        &["status"],
    ] {
        let error = world.refuses(30, "ledger-damaged", words);
        assert!(next(&error).ends_with("ledger verify"), "{error}");
    }
    world.run(30, &["ledger", "verify"]);
}

#[test]
fn what_is_frozen_with_everything_is_not_called_free() {
    let world = World::new();
    world.run(0, &["freeze", "--reason", "all"]);
    let error =
        world.refuses(65, "request-invalid", &[&["unfreeze", "qa", "--reason", "qa works"][..], &RILEY].concat());
    assert!(error["message"].as_str().unwrap().starts_with("qa is frozen with everything else"), "{error}");
    assert_eq!(next(&error), "promo unfreeze --reason 'qa works' --key KEY");
    world.run(0, &[&["unfreeze", "--reason", "all works"][..], &RILEY].concat());
    let error =
        world.refuses(65, "request-invalid", &[&["unfreeze", "qa", "--reason", "qa works"][..], &RILEY].concat());
    assert_eq!(error["message"], "qa is neither frozen nor paused");
}

#[test]
fn an_error_that_cannot_be_written_is_told_and_is_not_called_done() {
    let world = World::new();
    for (words, exit, code) in [
        (&["why", "nix", "--format", "json"][..], 65, "request-invalid"),
        (&["plan", "--format", "json", "--ledger", "README.md"], 74, "ledger-unusable"),
        (&["status", "--format", "json", "--policy", "nix.toml"], 65, "file-unreadable"),
    ] {
        let mut command = command(&world.at, words);
        command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        // Not judged as others are: the error that it judges by cannot be written.
        let output = command.output().unwrap();
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(exit), "promo {}: {err}", words.join(" "));
        assert!(err.contains(&format!("error[{code}]")), "promo {}: {err}", words.join(" "));
        assert!(err.contains("standard output cannot be written") && !err.contains("was done"), "{err}");
    }
}

#[test]
fn a_template_that_cannot_be_rendered_enters_no_release_and_leads_to_what_finds_it() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# new\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "good"]);
    let template = "templates/service.toml.j2";
    let text = std::fs::read_to_string(world.at.join(template)).unwrap();
    world.write(template, &(text + "{{ nope }}\n"));
    let error = world.refuses(65, "template-invalid", &["release", "add", "shop=1.0.0", "--alias", "bad"]);
    assert!(error["details"].to_string().contains("nope"), "{error}");
    assert_eq!(world.run(0, &["release", "list"])["releases"].as_array().unwrap()[0]["alias"], "good");
    // One that was added by an older promo: whoever plans it is led to what names file and line.
    let (_, err) = texts(&promo(&world.at, &["check"]));
    assert!(err.contains(template), "{err}");
}
