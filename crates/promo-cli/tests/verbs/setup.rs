//! How a project begins.

use crate::fixture::{World, command, copy, end, promo, texts};

pub(crate) fn row() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let output = promo(at, &["quickstart", "example"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    // Its keys need no other program, and whoever pastes a line of it has to sign with them.
    assert!(!out.replace("--key KEY --signer built-in", "").contains("--key KEY"), "{out}");
    assert!(err.contains("example/README.md") && err.contains("docs/guide/first-promotion.md"), "{err}");
    // Without the tools that its checks call, a story does not end as it is told.
    let words = ["quickstart", "another"];
    let mut command = command(at, &words);
    command.env("PATH", at);
    let output = end(command, &words);
    assert_eq!(output.status.code(), Some(1), "{:?}", texts(&output));
    for (words, code) in [(&["init", "--image", "registry.example/shop/api", "--name", "shop"][..], 0), (&["init"], 65)]
    {
        for words in [words, &[words, &["--format", "json"]].concat()] {
            let fresh = tempfile::tempdir().unwrap();
            let at = if code == 0 { fresh.path() } else { &at.join("example") };
            assert_eq!(promo(at, words).status.code(), Some(code), "{words:?}");
        }
    }
    let world = World::new();
    world.run(0, &["check", "--strict"]);
    world.run(0, &["fmt"]);
    world.run(0, &["fmt", "--check"]);
    world.run(0, &["doctor", "--offline"]);
    // Nobody can make a file there, not even root.
    let words = ["doctor", "--offline", "--format", "json"];
    let mut command = crate::fixture::command(&world.at, &words);
    command.env("PROMO_LEDGER", "/proc/promo/ledger.db");
    let said = texts(&end(command, &words)).0;
    assert!(said.contains("nothing can be recorded: /proc cannot be written"), "{said}");
    assert!(said.contains("explain ledger-unusable"), "{said}");
    world.edit("promo.toml", "format = 1", "format   =   1");
    world.refuses(1, "not-formatted", &["fmt", "--check"]);
    assert_eq!(world.run(0, &["fmt"])["formatted"], serde_json::json!(["promo.toml"]));
    world.write("promo.toml", "format = ");
    world.refuses(65, "config-invalid", &["graph"]);
    world.refuses(65, "config-invalid", &["fmt"]);
    world.run(1, &["doctor", "--offline"]);
}

#[test]
fn a_quickstart_goes_by_no_ledger_and_no_rules_but_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let words = ["quickstart", "example"];
    let mut command = command(at, &words);
    command
        .env("PROMO_LEDGER", at.join("mine.db"))
        .env("PROMO_DIRECTORY", at)
        .env("XDG_CONFIG_HOME", at.join("config"));
    std::fs::create_dir_all(at.join("config/promo")).unwrap();
    let trust = "format = 1\nledger = \"mine.db\"\n\n[policy]\npath = \"policy.toml\"\n";
    std::fs::write(at.join("config/promo/trust.toml"), trust).unwrap();
    let output = end(command, &words);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(!at.join("mine.db").exists() && at.join("example/.promo/ledger.db").exists(), "{out}{err}");
    assert!(!out.contains("mine.db"), "{out}");
}

#[test]
fn what_init_writes_is_a_pipeline_that_check_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let image = ["--image", "registry.example/shop/api", "--name", "shop"];
    for environments in ["staging,production", "dev,staging,production", "dev,qa,perf,staging,production"] {
        let at = directory.path().join(environments.replace(',', "-"));
        std::fs::create_dir(&at).unwrap();
        let words: Vec<&str> = ["init", "--environments", environments].into_iter().chain(image).collect();
        for (words, expected) in [(&words[..], 0), (&["check"], 0), (&["fmt", "--check"], 0), (&words[..], 65)] {
            let output = promo(&at, words);
            let (out, err) = texts(&output);
            assert_eq!(output.status.code(), Some(expected), "{environments}: promo {}\n{out}{err}", words.join(" "));
        }
    }
}

#[test]
fn what_init_writes_can_be_approved_by_the_one_person_who_is_there() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    copy(&world.at.join("registry"), &at.join("registry"));
    std::fs::write(at.join(".gitignore"), "target").unwrap();
    let (private, public) = (world.at.join("keys/riley"), world.at.join("keys/riley.pub"));
    let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
    let image = ["--image", "oci-layout:registry/shop", "--name", "shop", "--environments", "staging,production"];
    let init: Vec<&str> = ["init", "--key", public].into_iter().chain(image).collect();
    for words in [
        &init[..],
        &["release", "add", "app=1.0.0"],
        &["advance"],
        &["plan", "production", "--out", "p.json"],
        &["request", "p.json"],
        &["approve", "p.json", "--key", private, "--signer", "built-in"],
    ] {
        let output = promo(at, words);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "promo {}\n{out}{err}", words.join(" "));
    }
    assert_eq!(std::fs::read_to_string(at.join(".gitignore")).unwrap(), "target\n.promo/\n");
    // The window of the example may be closed now; the approval is there.
    let (_, err) = texts(&promo(at, &["apply", "p.json"]));
    assert!(!err.contains("approval 0 of 1"), "{err}");
    // A suggestion says which policy is meant.
    let (out, _) = texts(&promo(at, &["check"]));
    assert!(out.contains("Next: promo --policy policy.toml graph"), "{out}");
}

#[test]
fn init_without_a_key_lets_nobody_approve_and_check_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let (out, _) = texts(&promo(at, &["init", "--image", "oci-layout:registry/shop", "--name", "shop"]));
    assert!(out.contains("nobody can approve yet"), "{out}");
    // Whoever had the private half of a key that promo brings could approve in every project that was begun so.
    let policy = std::fs::read_to_string(at.join("policy.toml")).unwrap();
    assert!(!policy.contains("AAAA") && policy.contains("\n# keys = ["), "{policy}");
    let output = promo(at, &["check", "--strict"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(65), "{out}{err}");
    assert!(err.contains("policy-no-key") && err.contains("nobody who holds a role"), "{err}");
    assert!(out.ends_with("Next: promo explain policy-no-key\n"), "{out}");
    let (out, _) = texts(&promo(at, &["check"]));
    assert!(out.contains("is well formed") && out.contains("1 warning"), "{out}");
}

#[test]
fn answers_of_which_no_pipeline_can_be_made_are_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let init = ["init", "--name", "shop", "--image"];
    for (more, flag) in [
        (&["foo bar"][..], "--image"),
        (&["shop/api:latest"], "--image"),
        (&["r.example/a", "--environments", "dev,dev"], "--environments"),
    ] {
        let output = promo(directory.path(), &[&init, more].concat());
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(64), "{more:?}: {out}{err}");
        assert!(err.starts_with(&format!("error[usage]: {flag}: ")), "{more:?}: {err}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{more:?}");
    }
}

#[test]
fn init_keeps_a_policy_and_a_template_that_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let (at, init) = (directory.path(), ["init", "--name", "shop", "--image", "r.example/shop/api"]);
    assert_eq!(promo(at, &init).status.code(), Some(0));
    std::fs::remove_file(at.join("promo.toml")).unwrap();
    std::fs::write(at.join("deploy/release.env.j2"), "MINE={{ release }}\n").unwrap();
    let policy = std::fs::read_to_string(at.join("policy.toml")).unwrap() + "# mine\n";
    std::fs::write(at.join("policy.toml"), &policy).unwrap();
    // What leads here without a pipeline leads on.
    let (_, err) = texts(&promo(at, &["status"]));
    assert!(err.ends_with("Next: promo --policy policy.toml init\n"), "{err}");
    let (out, err) = texts(&promo(at, &init));
    assert!(
        out.starts_with("wrote promo.toml\nkept policy.toml, deploy/release.env.j2, which were there"),
        "{out}{err}"
    );
    assert_eq!(std::fs::read_to_string(at.join("policy.toml")).unwrap(), policy);
    assert_eq!(promo(at, &["check"]).status.code(), Some(0));
}

#[test]
fn what_is_no_pipeline_file_leads_to_what_to_do_and_in_no_circle() {
    let world = World::new();
    let at = &world.at;
    std::fs::remove_file(at.join("promo.toml")).unwrap();
    std::fs::create_dir(at.join("promo.toml")).unwrap();
    let (_, err) = texts(&promo(at, &["check"]));
    assert!(err.contains("error[file-unreadable]") && err.ends_with("doctor\n"), "{err}");
    let (out, _) = texts(&promo(at, &["doctor", "--offline"]));
    assert!(out.contains("directory") && out.ends_with("Next: promo explain file-unreadable\n"), "{out}");
    let output = promo(at, &["fmt"]);
    assert_eq!(output.status.code(), Some(65), "{:?}", texts(&output));
}

#[test]
fn fmt_says_what_it_did_not_find_and_names_the_files_that_were_named() {
    let world = World::new();
    std::fs::rename(world.at.join("promo.toml"), world.at.join("f.toml")).unwrap();
    let (_, err) = texts(&promo(&world.at, &["fmt"]));
    assert_eq!(err, "There is no promo.toml here: only policy.toml was looked at\n");
    world.edit("f.toml", "format = 1", "format   =   1");
    let error = world.refuses(1, "not-formatted", &["fmt", "--check", "f.toml", "policy.toml"]);
    assert_eq!(error["next"], "promo --policy policy.toml fmt f.toml");
    assert_eq!(world.run(0, &["fmt", "f.toml"])["formatted"], serde_json::json!(["f.toml"]));
}

#[test]
fn a_variable_that_is_set_to_nothing_is_as_one_that_is_not_set() {
    let world = World::new();
    let words = ["history", "--format", "json"];
    let mut command = command(&world.at, &words);
    for name in ["DIRECTORY", "COLOR", "LOG_FORMAT", "OFFLINE", "EVENTS", "LEDGER", "TRUST", "ACTOR_KIND", "TIMEZONE"] {
        command.env(format!("PROMO_{name}"), "");
    }
    let output = end(command, &words);
    assert_eq!(output.status.code(), Some(0), "{:?}", texts(&output));
    let words = ["verdict", "pass", "qa", "uat"];
    let mut command = crate::fixture::command(&world.at, &words);
    command.env("PROMO_KEY", "").env("PROMO_POLICY", "");
    let (_, err) = texts(&end(command, &words));
    assert!(err.contains("--key <KEY>") && err.contains("not provided"), "{err}");
}

#[test]
fn check_finds_a_template_that_names_an_unknown_value() {
    let world = World::new();
    let template = "templates/service.toml.j2";
    let text = std::fs::read_to_string(world.at.join(template)).unwrap();
    world.write(template, &(text + "colour = \"{{ values.colour }}\"\n"));
    let error = world.refuses(65, "template-invalid", &["check"]);
    let told = error["details"].to_string();
    assert!(told.contains(template) && told.contains("values.colour") && told.contains("(for dev, "), "{error}");
}
