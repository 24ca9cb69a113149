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

#[test]
fn a_file_that_is_no_key_or_no_approval_is_the_wrong_file_s14() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    for more in [&["--key", "README.md"][..], &["--key", "README.md", "--signer", "built-in"], &["--key", "nokey"]] {
        let error = world.refuses(65, "file-unreadable", &[&["request", "p.json"], more].concat());
        assert_eq!(error["where"]["file"], more[1], "{error}");
    }
    world.ask("p.json");
    for file in ["README.md", "nofile.json"] {
        world.refuses(65, "file-unreadable", &["apply", "p.json", "--approval", file]);
    }
}

#[test]
fn a_quickstart_that_fails_says_why_and_leads_into_the_example() {
    let directory = tempfile::tempdir().unwrap();
    let (at, tools) = (directory.path(), directory.path().join("tools"));
    std::fs::create_dir(&tools).unwrap();
    for tool in ["sh", "cat", "head", "sed", "cut", "tr"] {
        let places = std::env::var_os("PATH").unwrap();
        let there = std::env::split_paths(&places).map(|path| path.join(tool)).find(|path| path.exists());
        if let Some(found) = there {
            std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
        }
    }
    for (name, next) in
        [("a3", "promo -C a3 --policy policy.toml doctor"), ("n\nl", r"promo -C $'n\nl' --policy policy.toml doctor")]
    {
        let words = ["quickstart", name];
        let mut command = command(at, &words);
        command.env("PATH", &tools).env_remove("PROMO_POLICY");
        let output = crate::fixture::end(command, &words);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("grep") && err.contains("dev: smoke failed"), "{err}");
        assert!(err.ends_with(&format!("Next: {next}\n")), "{err}");
    }
}

#[test]
fn json_has_the_next_command_that_text_has() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# next\n");
    let added = world.run(0, &["release", "add", "shop=1.0.0", "--alias", "next"]);
    assert_eq!(next(&added), "promo advance", "{added}");
    let rejected = world.run(0, &["release", "reject", "next", "--reason", "a bug"]);
    assert_eq!(next(&rejected), "promo status", "{rejected}");
    // What is rejected already is not told as news.
    let again = said(&world, &["release", "reject", "next", "--reason", "the same bug"]);
    assert!(again.contains("as it was since") && again.contains("by dana"), "{again}");
    let lifted = world.run(0, &[&["release", "lift", "next", "--reason", "no bug"][..], &RILEY].concat());
    assert!(next(&lifted).starts_with("promo plan --release r-"), "{lifted}");
    assert!(world.run(0, &["release", "show", "next"]).get("next").is_none());
}

#[test]
fn a_closed_window_says_what_it_is_for_and_who_answers_for_it() {
    let world = World::new();
    world.release("1.2.0", 3);
    let stop = "[windows.stop]\neffect = \"deny\"\nseverity = \"hard\"\ntimezone = \"UTC\"\nweekly = {}\n\
                reason = \"the fair is on\"\nowner = \"the fair team\"\n\n[windows.every-day]";
    world.edit("promo.toml", "[windows.every-day]", stop);
    world.edit("promo.toml", "windows = [\"every-day\"]", "windows = [\"every-day\", \"stop\"]");
    let words = "“the fair is on (the fair team)”";
    let why = said(&world, &["why", "production"]);
    assert!(why.contains(words), "{why}");
    assert!(world.run(0, &["why", "production"])["remarks"].to_string().contains("the fair is on (the fair team)"));
}

#[test]
fn a_long_reason_is_not_repeated_whole_on_every_screen() {
    let world = World::new();
    let long = "x".repeat(5000);
    world.run(0, &["freeze", "qa", "--reason", &long]);
    let status = said(&world, &["status"]);
    assert!(status.contains("x … (5000 characters)") && !status.contains(&long), "{status}");
    assert!(world.run(0, &["status"]).to_string().contains(&long), "JSON has it whole");
}

#[test]
fn a_ledger_that_was_named_and_is_not_there_is_not_told_as_an_empty_one_without_a_word() {
    let world = World::new();
    let told = said(&world, &["status", "--ledger", ".promo/ledgre.db"]);
    assert!(told.contains("There is no ledger at .promo/ledgre.db yet"), "{told}");
    assert!(!said(&world, &["status"]).contains("There is no ledger"));
}

#[test]
fn an_approval_that_is_named_after_the_whole_name_of_its_plan_is_found() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    world.run(0, &[&["approve", "p.json", "--out", "p.json.riley.approval.json"][..], &RILEY].concat());
    world.run(0, &["apply", "p.json"]);
}

#[test]
fn a_time_to_wait_without_a_unit_and_one_below_nothing_are_told_as_what_they_are() {
    let world = World::new();
    world.plan("p.json");
    for (wait, words) in [("5", "expected a time with its unit, such as `5m`"), ("-1s", "expected no time or more")] {
        let error = world.refuses(64, "usage", &["apply", "p.json", "--wait", wait]);
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
}

#[test]
fn a_misspelt_key_is_told_before_what_follows_from_it_and_once() {
    let world = World::new();
    world.edit("promo.toml", "verify = [", "verfy = [");
    let error = world.refuses(65, "config-invalid", &["check"]);
    let told: Vec<&str> =
        error["diagnostics"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(told, ["config-unknown-key"; 5], "{error}");
    assert!(!error.to_string().contains("known keys"), "{error}");
    let world = World::new();
    world.edit("policy.toml", "version = 1", "versoin = 1");
    let error = world.refuses(65, "config-invalid", &["check"]);
    assert_eq!(error["who"], "whoever keeps the policy", "{error}");
    assert_eq!(error["diagnostics"].as_array().unwrap().len(), 1, "{error}");
    assert!(!error.to_string().contains("PROMO_POLICY"), "{error}");
    world.write("promo.toml", "format = \n");
    world.edit("policy.toml", "versoin = 1", "version = 1");
    let error = world.refuses(65, "config-invalid", &["check"]);
    assert!(error["diagnostics"][0]["message"].as_str().unwrap().contains("expected a value"), "{error}");
}
