//! What a screen says to do ends what it says is wrong: what was broken by hand, what could not be looked at, what no file keeps, and
//! what had failed before somebody stopped it. What must not live here: the ways out of a hold.

use crate::circles::{good, walk_from};
use crate::fixture::{World, copy, next, promo, row, said, texts};

/// Changes a file of what an environment has now.
fn change(world: &World, environment: &str, path: &str, from: &str, to: &str) {
    let live = world.at.join("environments").join(environment).join("current").canonicalize().unwrap().join(path);
    let text = std::fs::read_to_string(&live).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(live, text.replace(from, to)).unwrap();
}

#[test]
fn s3_3_what_was_broken_by_hand_after_a_newer_release_went_back_is_deployed_again() {
    // The second release of the example went back from production.
    let world = World::new();
    let id = row(&world, "production")["release"]["id"].as_str().unwrap().to_owned();
    change(&world, "production", "config/production.env", "WORKERS=4", "WORKERS=1");
    let again = format!("promo plan production --release {id} --out production.plan.json");
    assert_eq!(next(&world.run(21, &["verify", "production"])), again);
    // That is no verdict on the release, so that the ledger knows of nothing: only who looks is led there.
    assert_eq!(next(&world.run(0, &["drift", "production"])), again);
    // Automation is paused there, and told how a person does it.
    let paused = world.run(0, &["plan", "production", "--release", &id, "--actor-kind", "automation"]);
    assert_eq!(paused["next"][0]["command"], "promo explain paused", "{paused}");
    let plan = world.run(0, &["plan", "production"]);
    let first = plan["next"][0]["command"].as_str().unwrap().replace(" --policy policy.toml", "");
    assert_eq!(first, again, "{plan}");
    let typed = walk_from(&world, "promo drift production".into());
    assert_eq!(typed[..2], ["promo drift production".to_owned(), again], "{typed:#?}");
    assert!(typed.last().unwrap().starts_with("promo request production.plan.json"), "{typed:#?}");
    // About the newer one is told what always was.
    assert!(said(&world, &["why", "production", "1.1.0"]).contains("failed in production and was rolled back there"));
}

#[test]
fn s1_3_a_check_that_passes_where_nobody_can_tell_what_is_there_is_no_verdict() {
    let world = good();
    // A directory stands where promo switches a link: no release of promo's is there.
    let place = world.at.join("environments/qa/current");
    let live = place.canonicalize().unwrap();
    std::fs::remove_file(&place).unwrap();
    copy(&live, &place);
    let size = || world.run(0, &["status"])["ledger"]["size"].as_u64();
    let before = size();
    let verified = world.run(21, &["verify", "qa"]);
    let verdict = &verified["verdicts"][0];
    assert_eq!((&verdict["passed"], &verdict["unrecorded"]), (&true.into(), &true.into()), "{verified}");
    assert_eq!((size(), next(&verified)), (before, "promo drift qa".to_owned()), "{verified}");
    assert!(said(&world, &["verify", "qa"]).contains("(not recorded)"));
}

#[test]
fn what_no_file_keeps_is_said_beside_what_was_written_and_no_way_back_is_promised_that_keeps_it() {
    let world = good();
    change(&world, "dev", "config/dev.env", "WORKERS=8", "WORKERS=9");
    change(&world, "dev", "templates/service.toml", "version", "# by hand\nversion");
    let rest = "templates/service.toml stands in no file as a value: what makes it is changed by hand, or the next deployment takes it \
                back.";
    let told = world.run(0, &["adopt", "dev"]);
    let says = told["says"].as_str().unwrap();
    assert!(says.contains(rest) && says.ends_with("These files would say so of the rest:"), "{says}");
    assert!(told["also"].to_string().contains("take it back"), "{told}");
    let written = world.run(0, &["adopt", "dev", "--write"]);
    let says = written["says"].as_str().unwrap();
    assert!(says.contains(rest) && says.contains("The files say so of the rest now;"), "{says}");
    assert!(!written["also"].to_string().contains("take it back"), "{written}");
    // Where all of it stands in files, nothing is said of a rest.
    let world = good();
    change(&world, "dev", "config/dev.env", "WORKERS=8", "WORKERS=9");
    let written = world.run(0, &["adopt", "dev", "--write"]);
    assert!(written["says"].as_str().unwrap().contains("The files say so now;"), "{written}");
}

#[test]
fn s9_5_whoever_stops_a_run_on_its_way_back_is_told_what_had_failed() {
    let world = World::new();
    world.edit("promo.toml", "tier   = \"staging\"", "tier   = \"staging\"\non_failure = \"rollback\"");
    // A release fails in staging, and its way back is held in the same check, which came with what it goes back to.
    let root = world.at.display();
    world.write(
        "checks/smoke.sh",
        &format!(
            "#!/bin/sh\nset -eu\nif [ -e '{root}/armed' ] && [ $PROMO_ENVIRONMENT = staging ]; then\n\
             if mkdir '{root}/failed' 2>/dev/null; then echo too few; exit 1; fi\n\
             if mkdir '{root}/reached' 2>/dev/null; then while [ ! -e '{root}/go' ]; do sleep 0.02; done; fi\nfi\n"
        ),
    );
    world.release("1.2.0", 3);
    world.write("armed", "");
    world.write("config/common.env", "NEEDS_WORKERS=3\n# 1.3.0\n");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.3.0"]);
    let held = world.start(&["advance"]);
    let (out, _) = held.interrupted(75);
    let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(out.contains("was interrupted"), "{out}");
    assert!(out.contains("before it was stopped, smoke failed: ") && out.contains("too few"), "{out}");
    let run = world.newest_run();
    world.run(40, &["resume", &run]);
    let (out, _) = texts(&promo(&world.at, &["status"]));
    assert!(out.contains("was rolled back"), "{out}");
}
