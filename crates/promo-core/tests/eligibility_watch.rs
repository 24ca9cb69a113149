//! What is verified where an environment watches (S3.1): only what was watched to the end of a promotion, however the one ended
//! that brought it. And what a check says between two waves: it is about a deployment that is not there yet.

mod support;

use promo_core::eligibility::{CheckStatus, candidate, eligible, rollback_targets, verification};
use promo_core::gate::Outcome;
use promo_core::ids::EnvironmentName;
use support::history::{World, name};

const WATCHED: &str = "qa verify e2e watched\nstaging after qa";
const UNWATCHED: &str = "qa verify e2e\nstaging after qa";

/// B1 was good in qa, and B2 has entered it: its check has passed there.
const B2_PASSES: &str = "add B1 B2; start qa B1 promotion; deploy qa B1; pass qa e2e B1; finish qa B1 verified;
    start qa B2 promotion; deploy qa B2; pass qa e2e B2";

fn played(pipeline: &str, histories: &[&str]) -> World {
    let mut world = World::new(pipeline);
    for history in histories {
        world.play(history);
    }
    world
}

/// How a release that is in qa stands for others, as the code of a reason.
fn stands(world: &World, release: &str) -> (Outcome, &'static str) {
    let here: EnvironmentName = name("qa");
    let verified = verification(&world.view(), &here, &world.pipeline.environments["qa"], &world.id(release));
    let (outcome, reason) = verified.gate(&here);
    (outcome, reason.code())
}

const GOOD: (Outcome, &str) = (Outcome::Satisfied, "verified");
const UNSEEN: (Outcome, &str) = (Outcome::Waiting, "still-watched");

#[test]
fn s3_1_however_a_promotion_ends_that_was_not_watched_to_its_end_its_release_is_not_verified() {
    for (then, expected) in [
        ("", UNSEEN),
        // `promo cancel` within the watch, a failure that is held, and one of which nobody knows.
        ("finish qa B2 held", UNSEEN),
        ("finish qa B2 stuck", UNSEEN),
        ("finish qa B2 verified", GOOD),
        // What is deployed again by name is watched again.
        ("finish qa B2 held; start qa B2 promotion; pass qa e2e B2", UNSEEN),
        ("finish qa B2 held; start qa B2 promotion; pass qa e2e B2; finish qa B2 held", UNSEEN),
        ("finish qa B2 held; start qa B2 promotion; finish qa B2 cancelled", UNSEEN),
        ("finish qa B2 held; start qa B2 promotion; pass qa e2e B2; finish qa B2 verified", GOOD),
        ("finish qa B2 held; start qa B2 reconfiguration; deploy qa B2 2; pass qa e2e B2; finish qa B2 verified", GOOD),
        // `promo verify` asks once; it does not watch.
        ("finish qa B2 held; pass qa e2e B2", UNSEEN),
        // What was watched once stays so: cancelled before it began, configured anew, and seen to be bad elsewhere only.
        ("finish qa B2 verified; start qa B2 promotion; finish qa B2 cancelled", GOOD),
        ("finish qa B2 verified; start qa B2 reconfiguration", GOOD),
        ("finish qa B2 verified; start qa B2 reconfiguration; deploy qa B2 2; finish qa B2 held", GOOD),
        ("finish qa B2 verified; start qa B2 reconfiguration; deploy qa B2 2; finish qa B2 rolled-back", GOOD),
        // A failure is told as what it is.
        ("fail qa e2e B2; finish qa B2 held", (Outcome::Refused, "check-failed")),
        ("fail qa e2e B2; finish qa B2 held; pass qa e2e B2", (Outcome::Waiting, "check-flaky")),
        ("fail qa e2e B2; finish qa B2 held; pass qa e2e B2; pass qa e2e B2", UNSEEN),
        ("withdraw qa e2e B2; finish qa B2 held", (Outcome::Expired, "check-withdrawn")),
    ] {
        let world = played(WATCHED, &[B2_PASSES, then]);
        assert_eq!(stands(&world, "B2"), expected, "{then}");
        let (rules, view, staging) = (world.rules(), world.view(), name("staging"));
        let enters = eligible(&rules, &view, &staging, world.now()).contains(&world.id("B2"));
        assert_eq!(enters, expected == GOOD, "{then}");
        assert_eq!(stands(&world, "B1"), GOOD, "what was watched before has nothing to do with it: {then}");
    }
}

#[test]
fn s10_1_what_comes_back_was_watched_when_it_came_and_what_was_not_is_no_way_back() {
    let back = "finish qa B2 verified; start qa B1 rollback; deploy qa B1";
    for then in ["", "finish qa B1 held", "finish qa B1 stuck", "pass qa e2e B1; finish qa B1 verified"] {
        assert_eq!(stands(&played(WATCHED, &[B2_PASSES, back, then]), "B1"), GOOD, "{then}");
    }
    // Once it goes up again it is watched again, as a promotion is.
    let up = "finish qa B1 verified; start qa B2 promotion; deploy qa B2; pass qa e2e B2; finish qa B2 held";
    assert_eq!(stands(&played(WATCHED, &[B2_PASSES, back, up]), "B2"), UNSEEN);
    // Nor does a check that came since, and has not spoken of either, make up for the watch that it lacks.
    let slow = "qa verify e2e slow watched\nstaging after qa";
    for (last, expected) in
        [("add B3", &["B1"][..]), ("start qa B2 promotion; finish qa B2 verified; add B3", &["B2", "B1"])]
    {
        let world = played(WATCHED, &[B2_PASSES, back, up, last]).under(support::history::pipeline(slow));
        let targets: Vec<_> =
            rollback_targets(&world.rules(), &world.view(), &name("qa"), &world.id("B3")).cloned().collect();
        assert_eq!(world.aliases(&targets), expected, "{last}");
    }
    let lost = played(WATCHED, &[B2_PASSES, "finish qa B2 held; add B3"]);
    let (rules, view, here) = (lost.rules(), lost.view(), name("qa"));
    let targets: Vec<_> = rollback_targets(&rules, &view, &here, &lost.id("B3")).cloned().collect();
    assert_eq!(lost.aliases(&targets), ["B1"], "B2 was not verified good there");
    assert_eq!(candidate(&rules, &view, &name("staging"), lost.now()), Some(lost.id("B1")));
}

#[test]
fn s3_1_where_nothing_is_watched_a_release_stands_by_its_checks_however_its_promotion_ended() {
    for then in ["", "finish qa B2 held", "finish qa B2 stuck", "finish qa B2 verified", "finish qa B2 cancelled"] {
        assert_eq!(stands(&played(UNWATCHED, &[B2_PASSES, then]), "B2"), GOOD, "{then}");
    }
    // Nor does a watch that came into the pipeline later ask about what ended well before.
    let before = played(UNWATCHED, &[B2_PASSES, "finish qa B2 verified"]);
    assert_eq!(stands(&before.under(support::history::pipeline(WATCHED)), "B2"), GOOD);
}

/// As with `verify`: what counts for others is asked by the rules of now, and not by those under which the promotion was made.
#[test]
fn s3_1_whether_a_watch_counts_is_a_rule_of_now_as_which_checks_do() {
    for then in ["", "finish qa B2 held"] {
        let begun = played(WATCHED, &[B2_PASSES, then]);
        assert_eq!(stands(&begun, "B2"), UNSEEN, "{then}");
        assert_eq!(stands(&begun.under(support::history::pipeline(UNWATCHED)), "B2"), GOOD, "{then}");
        let before = played(UNWATCHED, &[B2_PASSES, then]);
        assert_eq!(stands(&before.under(support::history::pipeline(WATCHED)), "B2"), UNSEEN, "{then}");
    }
}

fn status(world: &World, release: &str) -> CheckStatus {
    let environment = &world.pipeline.environments["qa"];
    verification(&world.view(), &name("qa"), environment, &world.id(release)).checks["e2e"]
}

#[test]
fn s3_1_what_fails_between_two_waves_is_about_a_deployment_that_is_not_there_yet() {
    let before = "add B1; start qa B1 promotion; run deploy qa B1; run pass qa e2e B1; finish qa B1 verified; @10";
    let configured = "start qa B1 reconfiguration";
    for (then, expected) in [
        ("run fail qa e2e B1", "failed"),
        // It never came to the other configuration, and what is there is the deployment that was good.
        ("run fail qa e2e B1; run deploy qa B1 1; run pass qa e2e B1; finish qa B1 rolled-back", "passed"),
        // Deployed after all by somebody, it is another deployment than the one that did not come to be.
        (
            "run fail qa e2e B1; finish qa B1 held; start qa B1 promotion; run deploy qa B1 2; run pass qa e2e B1",
            "passed",
        ),
        // What fails once all targets have it is about that deployment, and a pass on it is not enough.
        ("run deploy qa B1 2; run fail qa e2e B1; finish qa B1 held; pass qa e2e B1", "flaky"),
        (
            "run deploy qa B1 2; run fail qa e2e B1; run deploy qa B1 1; run pass qa e2e B1; finish qa B1 rolled-back",
            "passed",
        ),
        // The same deployment once more is no other one.
        ("run deploy qa B1 1; run fail qa e2e B1; finish qa B1 held; pass qa e2e B1", "flaky"),
        // So it is with what the way back finds, and with what somebody else asks meanwhile about what is there.
        ("run fail qa e2e B1; run deploy qa B1 1; run fail qa e2e B1; finish qa B1 held; pass qa e2e B1", "flaky"),
        ("fail qa e2e B1; finish qa B1 held; pass qa e2e B1", "flaky"),
    ] {
        let found = match status(&played(UNWATCHED, &[before, configured, then]), "B1") {
            CheckStatus::Failed => "failed",
            CheckStatus::Passed { .. } => "passed",
            CheckStatus::Flaky => "flaky",
            other => panic!("{then}: {other:?}"),
        };
        assert_eq!(found, expected, "{then}");
    }
}
