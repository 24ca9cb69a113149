//! What screens say where an environment is held, a release comes back or was rejected, and nobody looked: the words follow
//! the cause. What must not live here: what decides.

use serde_json::Value;

use crate::fixture::{Server, World, next, promo, row, said, texts};

/// A world in which staging holds what fails there, and one release failed its check there.
fn held() -> World {
    let world = World::new();
    world.edit("promo.toml", "tier   = \"staging\"", "tier   = \"staging\"\non_failure = \"hold\"");
    let broken =
        "if [ $PROMO_ENVIRONMENT = staging ] && [ -e '{root}/broken' ]; then echo 'it is broken'; exit 1; fi\n";
    let broken = broken.replace("{root}", &world.at.display().to_string());
    world.edit("checks/smoke.sh", "set -eu\n", &format!("set -eu\n{broken}"));
    world.write("broken", "");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(41, &["advance"]);
    world
}

#[test]
fn an_environment_that_is_held_says_so_first_and_what_ends_it() {
    let world = held();
    let why = said(&world, &["why", "staging"]);
    let first = why.lines().next().unwrap();
    assert!(first.starts_with("staging ✗ held since ") && first.contains(" failed with r-"), "{why}");
    assert!(why.contains("(ended by applying what `promo rollback staging` plans)"), "{why}");
    let why = world.run(0, &["why", "staging"]);
    assert_eq!(next(&why), "promo rollback staging --out back.plan.json");
    assert_eq!(why["holds"][0]["cause"], "check", "{why}");
    assert!(why["also"][0]["command"].as_str().unwrap().ends_with("verify staging"), "{why}");

    // A plan has nothing to do there, and does not call it up to date.
    let plan = said(&world, &["plan", "staging"]);
    assert!(plan.contains("held: nothing is planned by itself") && !plan.contains("up to date"), "{plan}");
    assert!(plan.contains("Nothing would move. ") && plan.contains("Held for a person: staging."), "{plan}");
    assert!(plan.lines().last().unwrap().ends_with("why staging"), "{plan}");

    // A check that fails leads on, and the hold is told beside what the checks say.
    let failed = promo(&world.at, &["verify", "staging"]);
    assert_eq!(failed.status.code(), Some(21));
    let text = texts(&failed).0;
    assert!(text.contains("staging stays as it was: ✗ held since "), "{text}");
    assert!(text.lines().last().unwrap().ends_with("why staging"), "{text}");
    // It passes once, and has to pass once more (S3.1); then the hold is what is left.
    std::fs::remove_file(world.at.join("broken")).unwrap();
    let flaky = world.run(0, &["verify", "staging"]);
    assert_eq!(flaky["checks"][0][1], "passed after a failure and must pass once more", "{flaky}");
    assert_eq!(next(&flaky), "promo verify staging");
    let passed = world.run(0, &["verify", "staging"]);
    assert_eq!((&passed["checks"][0][1], &passed["holds"][0]["cause"]), (&"passed".into(), &"over".into()), "{passed}");
    let ends = next(&passed);
    assert!(ends.starts_with("promo plan staging --release r-"), "{ends}");
    assert_eq!(passed["holds"][0]["ends"], ends, "what verify says ends it");
    let words: Vec<&str> = ends.split(' ').skip(1).collect();
    world.run(0, &words);
    world.run(0, &["apply", "staging.plan.json"]);
    assert_eq!(row(&world, "staging")["holds"], Value::Null);
}

#[test]
fn advance_waits_for_a_person_where_something_is_held_also_with_nothing_behind_it() {
    let world = held();
    let output = promo(&world.at, &["advance"]);
    let text = texts(&output).0;
    assert_eq!(output.status.code(), Some(20), "{text}");
    assert!(
        text.contains("staging    ✗ held since ") && text.lines().last().unwrap().ends_with("why staging"),
        "{text}"
    );
    world.write("config/common.env", "NEEDS_WORKERS=2\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    let output = promo(&world.at, &["advance"]);
    let text = texts(&output).0;
    assert_eq!(output.status.code(), Some(20), "{text}");
    let out = text.lines().find(|line| line.starts_with("staging ") && line.contains(" stays out")).unwrap();
    assert!(out.contains(" is held for a person"), "it says why: {text}");
}

#[test]
fn what_was_rejected_is_marked_where_it_runs() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.run(0, &["release", "reject", "1.2.0", "--reason", "corrupts invoices"]);
    for environment in ["dev", "staging"] {
        let rejected = row(&world, environment)["rejected"].clone();
        assert_eq!((&rejected["by"], &rejected["reason"]), (&"dana".into(), &"corrupts invoices".into()), "{rejected}");
    }
    assert_eq!(row(&world, "production")["rejected"], Value::Null, "something else runs there");
    for words in [&["status"][..], &["why", "staging", "1.2.0"]] {
        let text = said(&world, words);
        assert!(text.contains("✗ what runs here was quarantined everywhere by dana, since "), "{words:?}: {text}");
        assert!(text.contains(": “corrupts invoices”"), "{words:?}: {text}");
    }
}

#[test]
fn a_plan_that_was_rejected_waits_for_nobody() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    world.run(0, &["approve", "p.json", "--decision", "reject", "--key", "keys/riley", "--signer", "built-in"]);
    for words in [&["status"][..], &["why", "production"], &["show", "p.json"], &["plan", "production"]] {
        let text = said(&world, words);
        assert!(text.contains("✗ 0 of 1 approval\n"), "{words:?}: {text}");
        assert!(!text.contains("… 0 of 1 approval"), "{words:?}: {text}");
    }
}

/// S16: a release that comes back keeps its verdict until a newer one. Whoever goes by it is told.
#[test]
fn s16_a_verdict_of_an_earlier_deployment_is_called_that_while_the_release_is_deployed_again() {
    let world = World::new();
    world.hold_check("staging");
    world.write("go", "");
    world.release("1.2.0", 3);
    world.hold_again();
    world.write("config/staging.env", "WORKERS=5\n");
    world.run(0, &["plan", "staging", "--out", "again.json"]);
    let apply = world.start(&["apply", "again.json"]);
    let run = world.newest_run();
    let staging = row(&world, "staging");
    assert_eq!((&staging["verified"], &staging["redeploying"]), (&true.into(), &run.clone().into()), "{staging}");
    let status = said(&world, &["status"]);
    assert!(status.contains(&format!("… verified by its earlier deployment; run {run} deploys it again")), "{status}");
    let words =
        format!("the verdict of staging is that of the earlier deployment: run {run} is deploying it there again now");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for verb in [&["why", "staging"][..], &["why", "production"], &["plan", "production"]] {
        let text = said(&world, verb).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&words), "{verb:?}: {text}");
    }
    assert_eq!(world.run(0, &["why", "production"])["earlier_verdicts"], serde_json::json!([words]));
    // The graph has room for less, in every form, and takes nothing for verified that is to be judged anew.
    let graph = world.run(0, &["graph"]);
    let node =
        |name: &str| graph["environments"].as_array().unwrap().iter().find(|n| n["name"] == name).unwrap().clone();
    assert_eq!((&node("staging")["redeploying"], &node("qa")["redeploying"]), (&run.clone().into(), &Value::Null));
    for (syntax, words) in [
        ("levels", "… verified by its earlier deployment"),
        ("svg", "… verified by its earlier deployment"),
        ("mermaid", "<br/>verified by its earlier deployment\"]"),
        ("dot", "\\nverified by its earlier deployment\"];"),
    ] {
        let drawn = said(&world, &["graph", "--syntax", syntax]);
        let lines: Vec<&str> =
            drawn.lines().filter(|l| l.contains(words) && !l.contains("title>") && !l.starts_with("<desc")).collect();
        assert!(lines.len() == 1 && (syntax == "svg" || lines[0].contains("staging")), "{syntax}: {drawn}");
        let plainly = drawn
            .lines()
            .filter(|l| l.contains("✓ verified") && !l.contains("title>") && !l.starts_with("<desc"))
            .count();
        assert_eq!(plainly, if matches!(syntax, "levels" | "svg") { 4 } else { 0 }, "{syntax}: {drawn}");
    }
    apply.kill();
    let why = world.run(0, &["why", "production"]);
    assert!(
        why["earlier_verdicts"][0].as_str().unwrap().contains(" stopped while it was deploying it there again"),
        "{why}"
    );
    // Of staging itself the same: nothing moves there, and nothing says that something does.
    let text = said(&world, &["why", "staging", "1.0.0"]);
    assert!(text.contains(" stopped while it was moving r-") && !text.contains("is moving r-"), "{text}");
    world.run(0, &["resume", &run]);
    assert_eq!(row(&world, "staging")["redeploying"], Value::Null);
    assert_eq!(world.run(0, &["why", "production"])["earlier_verdicts"], Value::Null);
}

/// S10.4: the effects of going back by hand are part of what is agreed on.
#[test]
fn s10_4_a_plan_that_goes_back_says_that_it_quarantines_and_pauses() {
    let world = World::new();
    let left = row(&world, "staging")["release"]["id"].as_str().unwrap().to_owned();
    for words in [&["rollback", "staging", "--out", "back.json"][..], &["show", "back.json"]] {
        let text = said(&world, words).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains(&format!(
                "is quarantined for staging and downstream, until `promo release lift {left} --environment staging --reason '…'`,"
            )),
            "{words:?}: {text}"
        );
        assert!(
            text.contains("automatic promotion into staging is paused, until `promo unfreeze staging --reason '…'`"),
            "{words:?}: {text}"
        );
    }
    for format in ["markdown", "html"] {
        let text = said(&world, &["show", "back.json", "--format", format]);
        assert!(text.contains("is quarantined for staging and downstream"), "{format}: {text}");
    }
    // And it does what it says.
    world.run(0, &["apply", "back.json"]);
    assert_eq!(row(&world, "staging")["holds"][0]["kind"], "paused");
    let history = world.run(0, &["history", "staging"]);
    assert!(history["stops"].as_array().unwrap().iter().any(|stop| stop["act"] == "quarantined"), "{history}");
}

/// S2.4: without the files of a deployment nothing can be gone back to.
#[test]
fn s2_4_kept_files_that_were_deleted_are_found_and_named() {
    let world = World::new();
    world.run(0, &["ledger", "verify"]);
    let file = world.opened_ledger();
    assert!(file.execute("DELETE FROM blobs", []).unwrap() > 10);
    drop(file);
    let error = world.refuses(30, "ledger-damaged", &["ledger", "verify"]);
    let details = error["details"].to_string();
    for gone in ["a plan, sha256:", "config/common.env of r-", "the settings of r-", "found nothing"] {
        assert!(details.contains(gone), "{gone}: {error}");
    }
}

/// S12.5: a reason stands beside its record, which the chain does not cover. Another text than was given is never told.
#[test]
fn s12_5_a_reason_that_was_edited_is_damage_and_never_told() {
    let world = World::new();
    world.run(0, &["freeze", "dev", "--reason", "billing migration"]);
    let file = world.opened_ledger();
    let edited = file.execute("UPDATE sides SET text = 'all is well' WHERE text = 'billing migration'", []).unwrap();
    assert_eq!(edited, 1);
    for words in [&["status"][..], &["why", "dev"], &["plan", "dev"], &["history", "dev"]] {
        let output = promo(&world.at, words);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(30), "{words:?}: {out}{err}");
        assert!(err.contains("the reason beside record ") && !(out + &err).contains("all is well"), "{words:?}: {err}");
    }
    world.run(30, &["ledger", "verify"]);
    // One that was erased is not damage, and is told as erased.
    file.execute("DELETE FROM sides WHERE text = 'all is well'", []).unwrap();
    assert_eq!(row(&world, "dev")["holds"][0]["reason"], "(erased)");
}

#[test]
fn why_says_what_it_did_not_look_at() {
    let world = World::new();
    world.release("1.2.0", 3);
    let text = said(&world, &["why", "production"]);
    assert!(text.contains("was not looked at now: `promo plan` looks") && !text.contains("✓ artifacts"), "{text}");
    assert_eq!(world.run(0, &["why", "production"])["not_looked_at"], serde_json::json!(["artifacts-as-recorded"]));
}

/// A world whose load check is a program of the machine, and the path of that program.
pub(crate) fn with_tool() -> (World, String) {
    let world = World::new();
    let tool = world.at.join("tool").display().to_string();
    world.write("tool", "#!/bin/sh\nexit 0\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, mode).unwrap();
    world.edit("promo.toml", "run = [\"checks/load.sh\"]", &format!("run = [\"{tool}\"]"));
    world.edit("promo.toml", "[environments.perf]\n", "[environments.perf]\non_failure = \"hold\"\n");
    (world, tool)
}

/// S9.1: a check that cannot be run counts as failed, so it is looked for before anything is changed.
#[test]
fn s9_1_a_check_that_could_not_be_run_is_refused_at_plan_and_at_apply() {
    let (world, tool) = with_tool();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
    world.run(0, &["plan", "perf", "--out", "p.json"]);
    std::fs::rename(&tool, world.at.join("away")).unwrap();
    let error = world.refuses(21, "denied", &["apply", "p.json"]);
    assert!(error.to_string().contains("the check load cannot be run here: program `"), "{error}");
    let plan = world.run(0, &["plan", "perf"]);
    let row = &plan["environments"][0];
    let codes: Vec<&str> = row["gates"].as_array().unwrap().iter().filter_map(|gate| gate["code"].as_str()).collect();
    assert!(row["state"] == "refused" && codes.contains(&"check-not-runnable"), "{plan}");
    assert_eq!(row["release"], Value::Null);
    assert!(said(&world, &["why", "perf"]).contains("✗ the check load cannot be run here: program `"));
    let doctor = world.run(1, &["doctor", "--offline"]);
    let findings = doctor["findings"].as_array().unwrap();
    let check = |name: &str| findings.iter().find(|f| f["what"] == "check" && f["name"] == name).unwrap();
    assert_eq!((&check("load")["state"], &check("smoke")["state"]), (&"bad".into(), &"good".into()), "{doctor}");
    assert!(
        check("load")["detail"].as_str().unwrap().starts_with("perf: the check load cannot be run here: program `"),
        "{doctor}"
    );
    // It is back, and the plan holds as it was.
    std::fs::rename(world.at.join("away"), &tool).unwrap();
    world.run(0, &["doctor", "--offline"]);
    world.run(0, &["apply", "p.json"]);
}

/// S8.2: what could not be run where a plan was made says nothing of where it is applied, of no release that the plan names.
#[test]
fn s8_2_a_plan_holds_where_the_program_of_a_check_that_it_does_not_ask_is_there_again() {
    // Neither the next release nor a reconfiguration of what runs could enter perf, and qa moves.
    let (world, tool) = with_tool();
    let away = world.at.join("away");
    let put = |there: bool| match there {
        true => std::fs::rename(&away, &tool).unwrap(),
        false => std::fs::rename(&tool, &away).unwrap(),
    };
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "d.json"]);
    world.run(0, &["apply", "d.json"]);
    world.edit("config/perf.env", "WORKERS", "# more\nWORKERS");
    put(false);
    let plan = world.run(0, &["plan", "qa", "perf", "--out", "p.json"]);
    assert!(plan.to_string().contains("check-not-runnable"), "{plan}");
    put(true);
    world.run(0, &["apply", "p.json"]);

    // The next release's own script wants a program that is missing, and what runs is reconfigured meanwhile.
    let world = World::new();
    let shell = world.at.join("shell");
    let link = || std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
    link();
    world.edit("checks/smoke.sh", "#!/bin/sh\n", &format!("#!{}\n", shell.display()));
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "d.json"]);
    world.run(0, &["apply", "d.json"]);
    world.edit("config/perf.env", "WORKERS", "# more\nWORKERS");
    std::fs::remove_file(&shell).unwrap();
    let plan = world.run(0, &["plan", "perf", "--out", "p.json"]);
    assert!(plan.to_string().contains("check-not-runnable"), "{plan}");
    link();
    world.run(0, &["apply", "p.json"]);
}

/// S3.1: `http` has one address for all targets; `command` is given each.
#[test]
fn s3_1_a_check_that_looks_at_no_target_is_asked_once_however_many_there_are() {
    let world = World::new();
    let server = Server::new(|_| 200);
    let health = format!("[checks.health]\nhttp = {{ url = \"http://{}/\" }}\n\n[environments.dev]", server.address);
    world.edit("promo.toml", "[environments.dev]", &health);
    let one = "target = { directory = \"environments/dev\" }\nverify = [\"smoke\"]";
    let two = "targets = { a = { directory = \"environments/dev\" }, b = { directory = \"environments/dev-b\" } }\n\
               verify = [\"smoke\", \"health\"]";
    world.edit("promo.toml", one, two);
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world.run(0, &["apply", "p.json"]);
    assert_eq!(server.requests(), 1);
    world.run(0, &["verify", "dev"]);
    assert_eq!(server.requests(), 2);
}

#[test]
fn where_a_check_could_not_be_run_the_way_on_is_to_run_it_and_not_another_release() {
    let (world, tool) = with_tool();
    let gone = format!("set -eu\nif [ $PROMO_ENVIRONMENT = perf ]; then rm -f '{tool}'; fi\n");
    world.edit("checks/smoke.sh", "set -eu\n", &gone);
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(41, &["advance"]);
    let why = world.run(0, &["why", "perf"]);
    assert_eq!((next(&why).as_str(), &why["holds"][0]["cause"]), ("promo verify perf", &"unjudged".into()), "{why}");
    assert!(why["holds"][0]["ends"].as_str().unwrap().starts_with("promo plan perf --release r-"), "{why}");
    let text = said(&world, &["why", "perf"]);
    assert!(text.contains("which its checks have not judged") && !text.contains("release add"), "{text}");
    // Asked again it still cannot look: that says nothing of what runs there, and is not recorded. The other check has passed.
    let records = || world.run(0, &["ledger", "verify"])["records"].as_u64().unwrap();
    let before = records();
    let error = world.refuses(65, "provider-not-found", &["verify", "perf"]);
    assert!(error["details"].to_string().contains(&format!("program `{tool}` was not found")), "{error}");
    assert_eq!(next(&error), "promo doctor", "{error}");
    let passed = 2;
    assert_eq!(records(), before + passed, "of the check that looked, as text and as JSON");
    assert_eq!(world.run(0, &["why", "perf"])["holds"][0]["cause"], "unjudged");
}

#[test]
fn advance_says_what_waits_for_whom_and_ends_with_20_where_a_person_has_to_act() {
    let world = World::new();
    world.run(0, &["freeze", "dev", "--reason", "billing migration"]);
    let text = said(&world, &["advance"]);
    assert!(text.contains("Nothing can be promoted by itself now.\n"), "{text}");
    assert!(text.contains("… frozen by dana since ") && text.contains("“billing migration”"), "{text}");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    let output = promo(&world.at, &["advance"]);
    assert_eq!(output.status.code(), Some(20), "what starts by itself waits for a person");
    let text = texts(&output).0;
    assert!(text.contains(" stays out") && text.lines().last().unwrap().ends_with("why dev"), "{text}");
    let output = promo(&world.at, &["advance", "--format", "json"]);
    let lines: Vec<Value> = texts(&output).0.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let waits: Vec<&Value> = lines.iter().filter(|line| line["event"] == "waiting").collect();
    assert!(waits.iter().any(|line| line["environment"] == "dev" && line["gates"][0]["kind"] == "freeze"), "{lines:?}");
    world.run(0, &["unfreeze", "dev", "--reason", "over", "--key", "keys/riley", "--signer", "built-in"]);
    // Production starts by request: nothing waits for that.
    world.run(0, &["advance"]);
    let text = said(&world, &["advance"]);
    assert!(text.contains("production … automatic promotion is paused since "), "{text}");
}

/// What a timer runs says so wherever something stopped or failed: production begins by request, and stops like any other.
#[test]
fn s14_advance_ends_with_20_where_a_run_stopped_or_failed_also_where_only_people_begin() {
    let world = World::new();
    world.hold_check("production");
    world.release("1.2.0", 1);
    world.plan("p.json");
    world.approve("p.json");
    let apply = world.start(&["apply", "p.json"]);
    let run = world.newest_run();
    apply.kill();
    let output = promo(&world.at, &["advance"]);
    let text = texts(&output).0;
    assert_eq!(output.status.code(), Some(20), "{text}");
    assert!(text.lines().last().unwrap().ends_with(&format!("resume {run}")), "{text}");
    world.run(0, &["cancel", &run]);
    let output = promo(&world.at, &["advance"]);
    let text = texts(&output).0;
    assert_eq!(output.status.code(), Some(20), "{text}");
    assert!(text.lines().last().unwrap().ends_with("why production"), "{text}");
}

#[test]
fn s3_3_unfreeze_leads_to_why_where_what_would_enter_was_tried_before() {
    let world = World::new();
    let riley = ["--reason", "looked at it", "--key", "keys/riley", "--signer", "built-in"];
    world.run(0, &[&["release", "lift", "1.1.0", "--environment", "production"][..], &riley].concat());
    let lifted = world.run(0, &[&["unfreeze", "production"][..], &riley].concat());
    assert_eq!(next(&lifted), "promo why production", "{lifted}");
    let why = world.run(0, &["why", "production"]);
    assert!(next(&why).starts_with("promo plan production --release r-"), "{why}");
    world.run(0, &["freeze", "dev", "--reason", "a test"]);
    assert_eq!(next(&world.run(0, &[&["unfreeze", "dev"][..], &riley].concat())), "promo plan dev");
}

#[test]
fn advance_goes_by_nobody_where_a_run_is_dead() {
    let world = World::new();
    world.hold_check("dev");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    let apply = world.start(&["apply", "p.json"]);
    let run = world.newest_run();
    apply.kill();
    let output = promo(&world.at, &["advance"]);
    let text = texts(&output).0;
    assert_eq!(output.status.code(), Some(20), "{text}");
    assert!(text.contains(" has stopped without ending: ") && !text.contains("is moving"), "{text}");
    assert!(text.lines().last().unwrap().ends_with(&format!("resume {run}")), "{text}");
    // `verify` does not send anybody to wait for a run that is dead.
    let error = world.refuses(20, "locked", &["verify", "dev"]);
    assert!(error["message"].as_str().unwrap().contains(" stopped while it was moving dev"), "{error}");
}

#[test]
fn s10_4_status_leads_to_what_failed_last_and_is_paused_before_what_was_lifted() {
    let world = World::new();
    // What fails, fails once: the way back is good.
    let broken = "for one in qa production; do\nif [ $PROMO_ENVIRONMENT = $one ] && rm '{root}/broken-'$one 2>/dev/null; then exit 1; fi\ndone\n";
    let broken = broken.replace("{root}", &world.at.display().to_string());
    world.edit("checks/smoke.sh", "set -eu\n", &format!("set -eu\n{broken}"));
    world.release("1.2.0", 3);
    world.plan("first.json");
    world.approve("first.json");
    world.run(0, &["apply", "first.json"]);
    let lift = |name: &str| {
        world.run(0, &["unfreeze", name, "--reason", "seen", "--key", "keys/riley", "--signer", "built-in"])
    };
    if row(&world, "production")["holds"] != Value::Null {
        lift("production");
    }
    world.release("1.3.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    world.write("broken-qa", "");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.4.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.4.0"]);
    world.run(40, &["advance"]);
    lift("qa");
    world.write("broken-production", "");
    world.run(40, &["apply", "p.json"]);
    let production = row(&world, "production");
    assert_eq!(production["holds"][0]["kind"], "paused", "{production}");
    assert_ne!(row(&world, "qa")["last"], Value::Null);
    assert_eq!(next(&world.run(0, &["status"])), "promo why production");
}
