//! What `promo drift` tells of places that somebody changed by hand, here directories; clusters are in tests/tests/drift.rs of
//! the workspace.

use std::path::PathBuf;

use promo_ledger::{SqliteStore, Store as _};
use serde_json::Value;

use crate::circles;
use crate::fixture::{World, next, promo, said, texts};

/// The tree that an environment has now.
fn live(world: &World, environment: &str) -> PathBuf {
    world.at.join("environments").join(environment).join("current").canonicalize().unwrap()
}

/// Changes, adds and takes away by hand.
fn by_hand(world: &World, environment: &str) {
    let tree = live(world, environment);
    let file = tree.join("config/common.env");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}# by hand\n")).unwrap();
    std::fs::write(tree.join("left-behind"), "x").unwrap();
}

fn one<'v>(answer: &'v Value, environment: &str) -> &'v Value {
    let all = answer["environments"].as_array().unwrap();
    all.iter().find(|one| one["environment"] == environment).unwrap_or_else(|| panic!("{environment} in {answer}"))
}

pub(crate) fn row() {
    let world = World::new();
    world.run(0, &["drift", "--detailed-exitcode"]);
    world.run(0, &["diff", "qa", "staging"]);
    world.run(0, &["diff", "qa", "staging", "--undeclared", "--detailed-exitcode"]);
    world.run(0, &["diff", "qa", "qa", "--detailed-exitcode"]);
    by_hand(&world, "production");
    world.run(2, &["diff", "staging", "production", "--undeclared", "--detailed-exitcode"]);
    world.run(0, &["adopt", "production"]);
    world.refuses(65, "request-invalid", &["adopt", "prod"]);
    world.run(0, &["drift"]);
    world.run(2, &["drift", "--detailed-exitcode"]);
    world.run(0, &["drift", "staging", "--detailed-exitcode"]);
    world.refuses(65, "request-invalid", &["drift", "prod"]);
    // Where the environment should be lies a file: what cannot be looked at is no pass.
    std::fs::remove_dir_all(world.at.join("environments/staging")).unwrap();
    world.write("environments/staging", "");
    for more in [&[][..], &["--detailed-exitcode"]] {
        let answer = world.run(1, &[&["drift"][..], more].concat());
        let (staging, production) = (one(&answer, "staging"), one(&answer, "production"));
        assert_eq!((&staging["state"], &production["state"]), (&"not-looked-at".into(), &"differs".into()), "{answer}");
        assert_eq!(staging["places"][0]["code"], "provider-failed", "{answer}");
        assert_eq!((&answer["whole"], &answer["differs"]), (&false.into(), &true.into()));
        world.run(1, &[&["diff", "staging", "production"][..], more].concat());
    }
    world.run(1, &["adopt", "staging"]);
}

#[test]
fn s3_1_what_passes_where_something_was_changed_by_hand_is_no_verdict_on_the_release() {
    let world = World::new();
    let verdicts = |world: &World| {
        let store = SqliteStore::open(world.at.join(".promo/ledger.db")).unwrap();
        store.raw(0, 10_000).unwrap().iter().filter(|raw| raw.parse().unwrap().kind == "verdict.recorded").count()
    };
    let before = verdicts(&world);
    world.run(0, &["verify", "staging"]);
    assert!(verdicts(&world) > before, "what was deployed is judged");
    by_hand(&world, "staging");
    let before = verdicts(&world);
    let answer = world.run(21, &["verify", "staging"]);
    assert_eq!((&answer["verdicts"][0]["passed"], &answer["verdicts"][0]["unrecorded"]), (&true.into(), &true.into()));
    assert_eq!(next(&answer), "promo drift staging");
    let text = texts(&promo(&world.at, &["verify", "staging"])).0;
    assert!(text.contains("(not recorded)") && text.contains("! what is there is not what was deployed"), "{text}");
    assert_eq!(verdicts(&world), before);
    // Another environment's change is none of this one.
    world.run(0, &["verify", "qa"]);
}

#[test]
fn s9_6_a_check_that_fails_where_something_else_is_by_then_is_no_verdict_on_the_release() {
    let world = World::new();
    let root = world.at.display().to_string();
    let does = format!("set -eu\nif [ -e '{root}/does' ]; then . '{root}/does'; fi\n");
    world.edit("checks/smoke.sh", "set -eu\n", &does);
    world.release("1.2.0", 3);
    let failed = || {
        let store = SqliteStore::open(world.at.join(".promo/ledger.db")).unwrap();
        let failed = |raw: &promo_ledger::RawRecord| raw.parse().unwrap().body["passed"] == false;
        store.raw(0, 10_000).unwrap().iter().filter(|raw| failed(raw)).count()
    };
    let before = failed();
    by_hand(&world, "staging");
    // Of what was there before it was asked, and of what is there by the time it has failed.
    world.write("does", "exit 1\n");
    let answer = world.run(21, &["verify", "staging"]);
    let verdict = &answer["verdicts"][0];
    assert_eq!((&verdict["passed"], &verdict["unrecorded"]), (&false.into(), &true.into()), "{answer}");
    let change = "echo '# by hand' >> \"$PROMO_TARGET_DIRECTORY/current/templates/service.toml\"\nexit 1\n";
    world.write("does", change);
    world.run(21, &["verify", "qa"]);
    assert_eq!(failed(), before, "nothing was recorded");
    // Nor by a run, which fails all the same and says so.
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    let output = promo(&world.at, &["advance"]);
    let (out, err) = texts(&output);
    assert!(matches!(output.status.code(), Some(40 | 41 | 50)), "{out}\n{err}");
    assert!(format!("{out}{err}").contains("so that this is no verdict on r-"), "{out}\n{err}");
    assert_eq!(failed(), before, "{out}\n{err}");
    // What is there as it was deployed is judged as ever.
    world.write("does", "exit 1\n");
    world.run(21, &["verify", "perf"]);
    assert_eq!(failed(), before + 1);
}

#[test]
fn what_was_changed_by_hand_is_told_file_by_file_and_nothing_is_written_s0_6() {
    let world = World::new();
    by_hand(&world, "production");
    let ledger = std::fs::read(world.at.join(".promo/ledger.db")).unwrap();
    let text = said(&world, &["drift"]);
    assert!(text.contains("production: 2 objects differ from r-"), "{text}");
    assert!(text.contains("+# by hand") && text.contains("left-behind added"), "{text}");
    assert!(text.contains("staging: as r-"), "{text}");
    // The answer comes first.
    assert!(text.find("production: ").unwrap() < text.find("dev: ").unwrap(), "{text}");
    let (markdown, _) = texts(&promo(&world.at, &["drift", "production", "--format", "markdown"]));
    assert!(markdown.contains("- **production**: 2 objects differ from"), "{markdown}");
    let answer = world.run(0, &["drift", "production"]);
    let objects = one(&answer, "production")["places"][0]["objects"].as_array().unwrap().clone();
    let classes: Vec<&str> = objects.iter().map(|object| object["class"].as_str().unwrap()).collect();
    assert!(classes.contains(&"changed") && classes.contains(&"added"), "{answer}");
    let changed = objects.iter().find(|object| object["class"] == "changed").unwrap();
    let field = &changed["fields"][0];
    assert!(field["live"].as_str().unwrap().ends_with("# by hand\n") && field["at"].is_string(), "{answer}");
    assert_eq!(std::fs::read(world.at.join(".promo/ledger.db")).unwrap(), ledger, "drift wrote");
}

#[test]
fn what_leads_on_from_drift_takes_it_back_and_ends() {
    let world = World::new();
    for environment in ["dev", "staging"] {
        by_hand(&world, environment);
    }
    let answer = world.run(0, &["drift"]);
    assert_eq!(answer["also"].as_array().unwrap().len(), 3, "{answer}");
    let typed = circles::walk_from(&world, next(&answer));
    assert!(typed[0].starts_with("promo plan dev --release r-"), "{typed:#?}");
    assert!(typed.contains(&"promo apply dev.plan.json".to_owned()), "{typed:#?}");
    let answer = world.run(0, &["drift"]);
    assert_eq!((&one(&answer, "dev")["state"], &one(&answer, "staging")["state"]), (&"same".into(), &"differs".into()));
}

#[test]
fn what_was_removed_or_replaced_as_a_whole_is_told_as_what_it_is() {
    let world = World::new();
    std::fs::remove_dir_all(world.at.join("environments/dev")).unwrap();
    let text = said(&world, &["drift", "dev"]);
    assert!(text.contains("what is there is not r-") && text.contains("what was deployed there was removed"), "{text}");
    let tree = live(&world, "qa");
    std::fs::remove_file(world.at.join("environments/qa/current")).unwrap();
    std::os::unix::fs::symlink(tree, world.at.join("environments/qa/current")).unwrap();
    let text = said(&world, &["drift", "qa"]);
    assert!(text.contains("outside `releases/`"), "{text}");
    // Before anything was deployed nothing can differ.
    std::fs::remove_dir_all(world.at.join(".promo")).unwrap();
    let answer = world.run(0, &["drift", "--detailed-exitcode"]);
    assert!(
        answer["environments"].as_array().unwrap().iter().all(|one| one["state"] == "nothing-deployed"),
        "{answer}"
    );
    assert_eq!(answer["next"], Value::Null);
}

#[test]
fn what_is_kept_is_written_into_the_file_that_was_deployed_and_nowhere_else() {
    let world = World::new();
    by_hand(&world, "dev");
    let deployed = std::fs::read_to_string(world.at.join("config/common.env")).unwrap();
    // The example's next release is in the working tree already: a file that is another one by now is left alone.
    let answer = world.run(0, &["adopt", "dev", "--write"]);
    let file = &answer["files"][0];
    assert_eq!((&file["path"], &file["shared"]), (&"config/common.env".into(), &true.into()), "{answer}");
    assert_eq!(file["lines"], "+# by hand\n");
    let now = std::fs::read_to_string(world.at.join("config/common.env")).unwrap();
    match file["state"].as_str().unwrap() {
        "written" => assert_eq!(now, format!("{deployed}# by hand\n")),
        state => assert_eq!((state, now), ("changed-since", deployed)),
    }
    // Where there is nothing to keep, nothing leads on.
    let answer = world.run(0, &["adopt", "staging"]);
    assert_eq!((&answer["next"], &answer["files"]), (&Value::Null, &serde_json::json!([])), "{answer}");
    let environment = world.refuses(65, "request-invalid", &["adopt", "nowhere"]);
    assert!(environment["message"].as_str().unwrap().contains("expected one of"), "{environment}");
}

#[test]
fn what_was_never_deployed_and_takes_nothing_over_says_who_could() {
    let world = World::new();
    std::fs::remove_dir_all(world.at.join(".promo")).unwrap();
    let error = world.refuses(65, "request-invalid", &["adopt", "dev"]);
    assert!(error["message"].as_str().unwrap().contains("`directory`, which takes nothing over"), "{error}");
}
