//! Where a screen ends, the next command gets on: it never leads back to where it came from, and what is refused names what was
//! at fault. What must not live here: what decides.

use std::path::Path;

use serde_json::Value;

use crate::fixture::{World, command, end, promo, row, texts};

/// Standard output and standard error of a call.
fn said(world: &World, words: &[&str]) -> String {
    let (out, err) = texts(&promo(&world.at, words));
    out + &err
}

/// The next command of an answer, without the flags of this call: of several, the best.
fn next(value: &Value) -> String {
    let next = if value["next"].is_array() { &value["next"][0]["command"] } else { &value["next"] };
    next.as_str().unwrap_or_default().replace(" --policy policy.toml", "")
}

/// The words of a next command.
pub(crate) fn words(next: &str) -> Vec<&str> {
    next.split(' ').skip(1).collect()
}

#[test]
fn a_relative_path_of_a_variable_is_from_the_working_directory_as_that_of_a_flag_is_and_it_is_said() {
    let world = World::new();
    std::fs::create_dir(world.at.join(".git")).unwrap();
    let below = world.at.join("checks");
    let call = |words: &[&str], variable: Option<&str>| {
        let mut command = command(&below, words);
        command.env_remove("PROMO_POLICY");
        command.envs(variable.map(|path| ("PROMO_POLICY", path)));
        let output = end(command, words);
        (output.status.code(), texts(&output).1)
    };
    let everywhere = world.at.join("policy.toml").display().to_string();
    for (named, (code, err)) in [
        ("PROMO_POLICY", call(&["status"], Some("policy.toml"))),
        ("--policy", call(&["status", "--policy", "policy.toml"], None)),
    ] {
        assert_eq!(code, Some(65), "{err}");
        let here = format!("{named} names it from the working directory, which is {}", below.display());
        assert!(err.contains(&here), "{err}");
        assert!(err.contains("such a file lies beside the pipeline") && err.contains(&everywhere), "{err}");
    }
    for (words, variable) in [
        (&["status"][..], Some("../policy.toml")),
        (&["status"], Some(everywhere.as_str())),
        (&["status", "--policy", "../policy.toml"], None),
    ] {
        assert_eq!(call(words, variable).0, Some(0), "{words:?} {variable:?}");
    }
    // What is to be pasted where none is named holds in every directory.
    let (_, err) = call(&["status"], None);
    assert!(err.contains(&format!("`export PROMO_POLICY={everywhere}`")), "{err}");
}

/// A request with its approval, and then another configuration: the plan is stale, and somebody goes by what is said next.
#[test]
fn from_an_approved_request_that_became_stale_a_new_plan_leads_on_to_its_own_request_s6_7() {
    for file in ["p.json", "another.json"] {
        let world = World::new();
        world.release("1.2.0", 3);
        world.plan("p.json");
        world.approve("p.json");
        world.write("config/production.env", "WORKERS=9\n");
        let stale = world.refuses(22, "plan-stale", &["apply", "p.json"]);
        assert_eq!(next(&stale), "promo plan production --out p.json");
        let planned = world.run(0, &["plan", "production", "--out", file]);
        assert_eq!(next(&planned), format!("promo request {file} --key KEY"), "{planned}");
        world.ask(file);
        assert!(next(&world.run(0, &["status"])).starts_with("promo approve "));
    }
    // The same where the ledger itself tells that it is stale, and where somebody said no.
    for reject in [false, true] {
        let world = World::new();
        world.release("1.2.0", 3);
        world.plan("p.json");
        world.ask("p.json");
        let decision = if reject { "reject" } else { "approve" };
        let approve = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in", "--decision", decision];
        world.run(0, &approve);
        world.edit("policy.toml", "version = 1", "version = 2");
        world.edit("policy.toml", "count = 1", "count = 2");
        let again = next(&world.run(0, &["status"]));
        assert_eq!(again, "promo plan production --out quickstart.plan.json");
        let planned = world.run(0, &words(&again));
        assert_eq!(next(&planned), "promo request quickstart.plan.json --key KEY", "{planned}");
        let unsaved = world.run(0, &["plan", "production"]);
        assert_eq!(next(&unsaved), again, "{unsaved}");
    }
}

#[test]
fn where_an_environment_is_held_and_frozen_what_unblocks_it_comes_first() {
    let world = World::new();
    world.edit("promo.toml", "tier   = \"staging\"", "tier   = \"staging\"\non_failure = \"hold\"");
    let broken =
        format!("if [ $PROMO_ENVIRONMENT = staging ] && [ -e '{}/broken' ]; then exit 1; fi\n", world.at.display());
    world.edit("checks/smoke.sh", "set -eu\n", &format!("set -eu\n{broken}"));
    world.write("broken", "");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(41, &["advance"]);
    world.run(0, &["freeze", "staging", "--reason", "the fair"]);
    // To go back is no promotion, which is what a freeze stops (S5.4).
    assert_eq!(next(&world.run(0, &["why", "staging"])), "promo rollback staging --out back.plan.json");
    std::fs::remove_file(world.at.join("broken")).unwrap();
    world.run(0, &["verify", "staging"]);
    let verified = next(&world.run(0, &["verify", "staging"]));
    let thaw = "promo unfreeze staging --reason '…' --key KEY";
    assert_eq!(verified, thaw);
    let why = world.run(0, &["why", "staging"]);
    assert_eq!(next(&why), thaw, "{why}");
    assert!(why["also"][0]["command"].as_str().unwrap().contains(" plan staging --release r-"), "{why}");
    let plan = world.run(0, &["plan", "staging", "--release", "1.2.0"]);
    assert!(next(&plan).starts_with("promo why staging"), "{plan}");
    world.run(0, &["unfreeze", "staging", "--reason", "over", "--key", "keys/riley", "--signer", "built-in"]);
    let again = next(&world.run(0, &["why", "staging"]));
    world.run(0, &words(&again));
    world.run(0, &["apply", "staging.plan.json"]);
    assert_eq!(world.run(0, &["why", "staging"])["holds"], Value::Null);
}

#[test]
fn a_deployment_that_was_removed_is_told_as_missing_with_the_command_that_puts_it_back_s3_3() {
    let world = World::new();
    std::fs::remove_dir_all(world.at.join("environments/dev")).unwrap();
    let text = said(&world, &["plan", "dev"]);
    assert!(!text.contains("up to date"), "{text}");
    let plan = world.run(0, &["plan", "dev"]);
    let repair = plan["environments"][0]["drift"][0]["repair"].as_str().unwrap().to_owned();
    assert!(repair.starts_with("promo plan dev --release r-"), "{plan}");
    assert_eq!(next(&plan), repair);
    for format in ["text", "markdown", "html"] {
        let shown = said(&world, &["plan", "dev", "--format", format]);
        // In Markdown what is no letter is escaped.
        let words = shown.replace('\\', "");
        assert!(words.contains("missing on default: the ledger says sha256:"), "{format}: {shown}");
        assert!(
            words.contains(&format!("and it was removed (put back by `{}`)", repair.split(" --out").next().unwrap())),
            "{format}: {shown}"
        );
    }
    // Frozen, it leads to what unblocks it, not back to itself.
    world.run(0, &["freeze", "dev", "--reason", "the fair"]);
    assert!(next(&world.run(0, &words(&repair))).starts_with("promo why dev"));
    world.run(0, &["unfreeze", "dev", "--reason", "over", "--key", "keys/riley", "--signer", "built-in"]);
    assert_eq!(next(&world.run(0, &words(&repair))), "promo apply dev.plan.json");
    world.run(0, &["apply", "dev.plan.json"]);
    assert!(world.at.join("environments/dev").exists());
    assert_eq!(world.run(0, &["plan", "dev"])["environments"][0]["drift"], serde_json::json!([]));
}

#[test]
fn what_promo_has_not_made_in_the_place_of_a_deployment_is_refused_by_the_plan_s9_2() {
    let world = World::new();
    let current = world.at.join("environments/dev/current");
    std::fs::remove_file(&current).unwrap();
    std::fs::create_dir(&current).unwrap();
    // Everything else can be planned.
    let plan = world.run(0, &["plan"]);
    let repair = plan["environments"][0]["drift"][0]["repair"].as_str().unwrap().to_owned();
    assert_eq!(next(&plan), repair);
    let plan = world.run(0, &words(&repair));
    let dev = &plan["environments"][0];
    assert!(dev["state"] == "refused" && dev.to_string().contains("\"target-taken\""), "{plan}");
    let text = said(&world, &words(&repair));
    assert!(text.contains("environments/dev: `current` is not the symbolic link that promo makes"), "{text}");
    std::fs::remove_dir(&current).unwrap();
    assert_eq!(next(&world.run(0, &words(&repair))), "promo apply dev.plan.json");
    world.run(0, &["apply", "dev.plan.json"]);
    assert!(current.is_symlink());
}

#[test]
fn what_puts_back_two_places_works_as_it_is_shown_and_what_is_refused_beside_them_is_led_on_from_s3_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    // What perf goes back from is quarantined there.
    world.run(0, &["rollback", "perf", "--out", "back.json"]);
    world.run(0, &["apply", "back.json"]);
    for name in ["dev", "qa"] {
        std::fs::remove_dir_all(world.at.join("environments").join(name)).unwrap();
    }
    let plan = world.run(0, &["plan"]);
    let commands: Vec<&str> =
        plan["next"].as_array().unwrap().iter().map(|next| next["command"].as_str().unwrap()).collect();
    assert_eq!(commands.len(), 3, "{plan}");
    for (name, command) in ["dev", "qa"].iter().zip(&commands) {
        assert!(command.ends_with(&format!(" --out {name}.plan.json")), "{command}");
    }
    assert!(commands[2].ends_with(" why perf"), "{plan}");
    // Typed one after the other, and only then applied.
    for command in &commands {
        world.run(0, &words(command));
    }
    for name in ["dev", "qa"] {
        world.run(0, &["apply", &format!("{name}.plan.json")]);
        assert!(world.at.join("environments").join(name).exists());
    }
    assert_eq!(world.run(0, &["plan"])["summary"]["drift"], serde_json::json!([]));
}

#[test]
fn a_new_ledger_is_announced_and_a_lost_or_emptied_one_is_missed_s0_1() {
    let world = World::new();
    let ledger = world.at.join(".promo/ledger.db");
    let origin = std::fs::read_to_string(world.at.join(".promo/ledger.db.origin")).unwrap();
    let freeze = ["freeze", "dev", "--reason", "a test"];
    let lost = |what: &str| {
        for verb in [&["status"][..], &["plan"], &["ledger", "verify"], &freeze] {
            let error = world.refuses(30, "ledger-lost", verb);
            assert_eq!(error["found"], what, "{error}");
            assert!(error["expected"].as_str().unwrap().ends_with(origin.trim()), "{error}");
            assert!(error["details"].to_string().contains("ledger.db.origin"), "{error}");
        }
        let doctor = world.run(1, &["doctor", "--offline"]);
        assert!(doctor["findings"].to_string().contains("the ledger is lost"), "{doctor}");
    };
    let kept = std::fs::read(&ledger).unwrap();
    std::fs::remove_file(&ledger).unwrap();
    lost("no file");
    assert!(!ledger.exists(), "nothing is made in its place");
    std::fs::write(&ledger, "").unwrap();
    lost("an empty file");
    assert_eq!(std::fs::metadata(&ledger).unwrap().len(), 0);
    // Also without word of what it was.
    std::fs::remove_file(world.at.join(".promo/ledger.db.origin")).unwrap();
    assert_eq!(world.refuses(30, "ledger-lost", &freeze)["expected"], "a ledger");
    std::fs::write(&ledger, kept).unwrap();
    world.run(0, &["ledger", "verify"]);

    // Whoever removes all of it begins anew, and is told so, once.
    std::fs::remove_dir_all(world.at.join(".promo")).unwrap();
    world.run(0, &["status"]);
    assert!(!Path::new(&ledger).exists());
    let announced = "There was no ledger at .promo/ledger.db: a new, empty one was made there, promo.local/ledger/";
    assert!(said(&world, &freeze).contains(announced));
    assert!(!said(&world, &freeze).contains("a new, empty one"));
}

#[test]
fn nobody_takes_back_what_they_never_gave_s6_6() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    let sign = ["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"];
    let revoke = [&sign[..], &["--decision", "revoke"]].concat();
    let records = || world.run(0, &["status"])["ledger"]["size"].clone();
    let before = records();
    let error = world.refuses(21, "approval-refused", &revoke);
    assert!(
        error["details"].to_string().contains("riley gave no approval of this plan that could be taken back"),
        "{error}"
    );
    assert_eq!(next(&error), "promo show p.json", "{error}");
    assert_eq!(records(), before, "nothing was recorded");
    // One that is in a file beside the plan is taken back, though the ledger has never seen it.
    world.run(0, &[&sign[..], &["--out", "p.riley.approval.json"]].concat());
    let beside = world.run(0, &revoke);
    assert_eq!(beside["identity"], "riley", "{beside}");
    world.refuses(21, "approval-refused", &sign);
}

#[test]
fn a_name_that_was_only_claimed_is_named_where_it_keeps_somebody_from_approving_s6_3() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.run(0, &["plan", "production", "--out", "p.json", "--as", "riley"]);
    world.ask("p.json");
    let error =
        world.refuses(21, "approval-refused", &["approve", "p.json", "--key", "keys/riley", "--signer", "built-in"]);
    let told = "riley counts as the initiator only because the plan was planned under that name (--as, PROMO_ACTOR or the name of the account)";
    assert!(error["details"].to_string().contains(told), "{error}");
    // Of whoever signed the request it is their key, and no name.
    world.plan("q.json");
    world.run(0, &["request", "q.json", "--key", "keys/riley", "--signer", "built-in"]);
    let error =
        world.refuses(21, "approval-refused", &["approve", "q.json", "--key", "keys/riley", "--signer", "built-in"]);
    assert!(!error["details"].to_string().contains("only because"), "{error}");
}

#[test]
fn a_request_that_came_to_nothing_leads_to_what_it_asked_for() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    world.run(0, &["apply", "p.json"]);
    let rejected = |asked: &[&str]| {
        world.run(0, &[asked, &["--out", "p.json"]].concat());
        world.ask("p.json");
        world.run(0, &["approve", "p.json", "--decision", "reject", "--key", "keys/riley", "--signer", "built-in"]);
        next(&world.run(0, &["status"]))
    };
    // What runs there is newer than what it was to go back to, and it did not go back.
    let back = rejected(&["rollback", "production", "--to", "1.0.0"]);
    assert!(back.starts_with("promo rollback production --to r-"), "{back}");
    assert_eq!(next(&world.run(0, &["why", "production"])), back);
    // The same release with another configuration is there only by its number.
    world.write("config/production.env", "WORKERS=7\n");
    assert_eq!(rejected(&["plan", "production"]), "promo plan production --out quickstart.plan.json");
}

#[test]
fn a_plan_whose_request_is_over_before_its_gate_opens_does_not_lead_to_itself() {
    let world = World::new();
    let day = "weekly   = { days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"] }";
    let now: jiff::Timestamp = world.run(0, &["plan"])["planned_at"].as_str().unwrap().parse().unwrap();
    let opens = (now + std::time::Duration::from_secs(60 * 86_400)).strftime("%Y-%m-%d");
    world.edit("promo.toml", day, &format!("once = {{ start = \"{opens}T00:00\", end = \"{opens}T23:00\" }}"));
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    assert_eq!(next(&world.run(0, &["status"])), "promo show p.json");
    let shown = world.run(0, &["show", "p.json"]);
    let first = &shown["next"][0];
    assert!(first["command"].as_str().unwrap().contains("plan production --out"), "{shown}");
    assert!(first["why"].as_str().unwrap().starts_with("plans again after "), "{shown}");
}

#[test]
fn s9_1_status_tells_a_configuration_that_waits_and_claims_nothing_that_it_did_not_look_at() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.approve("p.json");
    world.run(0, &["apply", "p.json"]);
    world.run(0, &["unfreeze", "production", "--reason", "better", "--key", "keys/riley", "--signer", "built-in"]);
    let says = |status: &Value| status["says"].as_str().unwrap_or_default().to_owned();
    let status = world.run(0, &["status"]);
    assert!(says(&status).ends_with("What is there now was not looked at: `promo plan` looks."), "{status}");
    assert_eq!((next(&status), &row(&world, "qa")["reconfigured"]), (String::new(), &Value::Null));
    world.write("config/qa.env", "WORKERS=7\n");
    let status = world.run(0, &["status"]);
    assert_eq!((says(&status), next(&status)), (String::new(), "promo plan".to_owned()), "{status}");
    assert_eq!(row(&world, "qa")["reconfigured"], true);
    assert!(said(&world, &["status"]).contains("… its configuration here is another than the one that was deployed"));
    world.run(2, &["plan", "--detailed-exitcode"]);
    world.run(0, &["advance"]);
    assert_eq!(row(&world, "qa")["reconfigured"], Value::Null, "it is deployed");
    // What starts only when somebody asks for it is planned by name.
    world.write("config/production.env", "WORKERS=7\n");
    assert_eq!(next(&world.run(0, &["status"])), "promo plan production");
    std::fs::remove_file(world.at.join("config/production.env")).unwrap();
    let status = world.run(0, &["status"]);
    assert!(says(&status).contains("is not known: a file that the pipeline names cannot be read"), "{status}");
    assert_eq!(next(&status), "promo check");
}

#[test]
fn an_artifact_that_cannot_be_had_leads_to_its_page_and_not_to_why_which_did_not_look() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    std::fs::rename(world.at.join("registry"), world.at.join("elsewhere")).unwrap();
    let plan = world.run(0, &["plan", "dev"]);
    assert_eq!(next(&plan), "promo explain artifact-unavailable", "{plan}");
    let page = said(&world, &words(&next(&plan)));
    assert!(page.contains("promo release add") && page.contains("promo doctor"), "{page}");
    assert_eq!(plan["environments"][0]["gates"][0]["code"], "artifact-unavailable", "{plan}");
    // What enters by itself and cannot be had waits for somebody, and what was not looked at is not promised.
    let text = said(&world, &["advance"]);
    assert!(text.ends_with("Next: promo explain artifact-unavailable\n"), "{text}");
    world.run(20, &["advance"]);
    assert!(said(&world, &["why", "dev"]).contains("can enter dev now, as far as the ledger tells"));
}

#[test]
fn a_damaged_copy_is_told_from_a_damaged_source_and_neither_leads_around_s2_2() {
    let damage = |world: &World, registry: &str| {
        for entry in std::fs::read_dir(world.at.join(registry).join("shop/blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let bytes = [std::fs::read(&path).unwrap(), b" ".to_vec()].concat();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    };
    let at_destination = "the copy at the destination is damaged, not its source: oci-layout:registry-production/shop";
    for (registry, destination) in [("registry-production", true), ("registry", false)] {
        let world = World::new();
        world.release("1.2.0", 3);
        damage(&world, registry);
        let error = world.refuses(30, "artifact-damaged", &["plan", "production"]);
        assert_eq!(error["details"].to_string().contains(at_destination), destination, "{error}");
        assert_eq!(next(&error), "promo explain artifact-damaged", "{error}");
        let page = said(&world, &words(&next(&error)));
        assert!(page.contains("at the destination is damaged") && page.contains("plan again"), "{page}");
        if destination {
            std::fs::remove_dir_all(world.at.join("registry-production")).unwrap();
            world.plan("p.json");
        }
    }
}

#[test]
fn a_check_that_fails_leads_to_the_plan_that_looks_and_from_there_on() {
    let world = World::new();
    let edited = world.at.join("environments/dev/current/templates/service.toml");
    std::fs::write(&edited, "image = \"another\"\n").unwrap();
    assert_eq!(next(&world.run(21, &["verify", "dev"])), "promo plan dev");
    // What is there is another thing, so that nothing is said of the release.
    assert_eq!(row(&world, "dev")["verified"], true);
    let repair = next(&world.run(0, &["plan", "dev"]));
    assert!(repair.starts_with("promo plan dev --release r-"), "{repair}");
    world.run(0, &words(&repair));
    let applied = said(&world, &["apply", "dev.plan.json"]);
    // No failure of the release is on record, so that one pass counts (S3.1): what apply says, status says too.
    assert!(applied.contains("is verified") && applied.matches("✓ smoke").count() == 1, "{applied}");
    let stands = row(&world, "dev");
    assert_eq!(stands["verified"], true, "{stands}");
    // Where what is there is what was deployed, the plan has looked, and leads to what mends it.
    world.edit("checks/smoke.sh", "set -eu\n", "set -eu\nif [ -e ../broken ] || [ -e broken ]; then exit 1; fi\n");
    let root = world.at.display().to_string();
    world.edit("checks/smoke.sh", "-e broken", &format!("-e '{root}/broken'"));
    world.release("1.2.0", 3);
    world.write("broken", "");
    assert_eq!(next(&world.run(21, &["verify", "dev"])), "promo plan dev");
    let why = world.run(0, &["why", "dev"]);
    assert_eq!(next(&why), "promo plan dev");
    assert!(why["also"][0]["command"].as_str().unwrap().ends_with(" verify dev"), "{why}");
    // What failed once may be the fault of the check; of what fails again there is a way back.
    assert_eq!(next(&world.run(0, &["plan", "dev"])), "promo verify dev");
    assert_eq!(next(&world.run(21, &["verify", "dev"])), "promo plan dev");
    let plan = world.run(0, &["plan", "dev"]);
    assert_eq!(next(&plan), "promo rollback dev --out back.plan.json", "{plan}");
    assert!(plan["next"][1]["command"].as_str().unwrap().ends_with(" verify dev"), "{plan}");
    // Once it passes it must pass once more (S3.1), and every screen says how.
    std::fs::remove_file(world.at.join("broken")).unwrap();
    world.run(0, &["verify", "dev"]);
    for verb in [&["status"][..], &["plan", "dev"], &["why", "dev"]] {
        let told = world.run(0, verb);
        assert_eq!(next(&told), "promo verify dev", "{verb:?}: {told}");
    }
}

#[test]
fn the_headline_of_why_follows_the_gates() {
    let world = World::new();
    let headline = |asked: &[&str]| said(&world, asked).lines().next().unwrap().to_owned();
    assert!(headline(&["why", "production"]).ends_with("the way on is a newer release"));
    let lift = ["release", "lift", "1.1.0", "--environment", "production", "--reason", "it was the check"];
    world.run(0, &[&lift[..], &["--key", "keys/riley", "--signer", "built-in"]].concat());
    // Without a name it is not tried again, and with one it is (S3.3).
    let unnamed = world.run(0, &["why", "production"]);
    assert!(headline(&["why", "production"]).ends_with(" enters production only when it is asked for by name"));
    assert!(next(&unnamed).starts_with("promo plan production --release r-"), "{unnamed}");
    assert!(
        headline(&["why", "production", "1.1.0"]).ends_with(" cannot enter production yet"),
        "an approval is missing"
    );
    assert_eq!(unnamed["failed"], "rolled-back", "what happened is told all the same");
}

#[test]
fn a_rejected_request_is_not_told_as_open_and_what_it_asked_for_may_be_planned_anew() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.ask("p.json");
    for words in [&["status"][..], &["plan", "production"], &["why", "production"], &["show", "p.json"]] {
        assert!(said(&world, words).contains("open until "), "{words:?}");
    }
    world.run(0, &["approve", "p.json", "--decision", "reject", "--key", "keys/riley", "--signer", "built-in"]);
    for words in [&["status"][..], &["plan", "production"], &["why", "production"], &["show", "p.json"]] {
        let text = said(&world, words);
        assert!(text.contains("✗ rejected by riley") && !text.contains("open until "), "{words:?}: {text}");
    }
    let why = said(&world, &["why", "production"]);
    assert!(why.lines().next().unwrap().ends_with("cannot enter production yet"), "{why}");
    let why = world.run(0, &["why", "production"]);
    assert_eq!(
        (next(&why).as_str(), &why["outcome"]),
        ("promo plan production --out quickstart.plan.json", &"waiting".into())
    );
}

/// Who comes too late is told what moved, also where the same release runs there as before.
#[test]
fn a_plan_that_comes_too_late_says_which_run_came_first_and_not_that_something_was_deployed_again() {
    let world = World::new();
    world.edit("checks/smoke.sh", "set -eu\n", "set -eu\nif [ \"$NEEDS\" = 3 ]; then exit 1; fi\n");
    world.edit(
        "checks/smoke.sh",
        "set -eu\n",
        "set -eu\nNEEDS=$(sed -n 's/^NEEDS_WORKERS=//p' \"$PROMO_TARGET_DIRECTORY/current/config/common.env\")\n",
    );
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.2.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "late.json"]);
    world.run(40, &["advance"]);
    let run = world.newest_run();
    let error = world.refuses(22, "plan-stale", &["apply", "late.json"]);
    let details = error["details"].to_string();
    assert!(details.contains(&format!("(#2 1.1.0), after run {run} tried r-")), "{error}");
    assert!(!details.contains("deployed again"), "{error}");
}
