//! Eligibility by the rules, case by case: S3's table row by row, S4's soaks, the readings of S16. What must not be here:
//! sweeps over generated histories; those are in `eligibility_sweep.rs`.

mod support;

use std::collections::BTreeSet;

use promo_core::eligibility::{
    CheckStatus, Observed, Question, SoakStatus, assess, candidate, eligible, lost_evidence, rollback_targets, soak,
    verification,
};
use promo_core::gate::{Gate, GateKind, Outcome, Reason, overall};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::Movement;
use promo_core::windows::{Invoker, Level, Window};
use support::history::{World, at, name};
use support::reference::Reference;

/// What may enter an environment, by alias; the reference has to say the same.
fn may_enter(world: &World, environment: &str) -> Vec<String> {
    let here: EnvironmentName = name(environment);
    let ids = eligible(&world.rules(), &world.view(), &here, world.now());
    let reference = Reference::new(&world.pipeline, &world.records, world.now());
    assert_eq!(ids, reference.eligible(&here), "the reference disagrees");
    world.aliases(&ids).into_iter().map(str::to_owned).collect()
}

fn next(world: &World, environment: &str) -> Option<String> {
    let found = candidate(&world.rules(), &world.view(), &name(environment), world.now());
    found.map(|id| world.aliases(&[id])[0].to_owned())
}

fn back(world: &World, environment: &str, below: &str) -> Vec<String> {
    let (rules, view, name) = (world.rules(), world.view(), name(environment));
    let found: Vec<_> = rollback_targets(&rules, &view, &name, &world.id(below)).cloned().collect();
    world.aliases(&found).into_iter().map(str::to_owned).collect()
}

fn gates(world: &World, environment: &str, release: &str, invoker: Invoker, named: bool) -> Vec<Gate> {
    let (environment, release, nothing) = (name(environment), world.id(release), BTreeSet::new());
    let question = Question {
        environment: &environment,
        release: &release,
        movement: Movement::Promotion,
        drill: None,
        named,
        drifted: false,
        tried: false,
        invoker,
        moved_before: &nothing,
        approvals: None,
        run: None,
    };
    assess(&world.rules(), &world.view(), Observed::NOTHING, &question, world.now())
}

fn gate(world: &World, environment: &str, release: &str, kind: GateKind) -> Gate {
    let gates = gates(world, environment, release, Invoker::Automation, false);
    gates.into_iter().find(|g| g.kind == kind).unwrap_or_else(|| panic!("no {kind:?} gate"))
}

fn code(world: &World, environment: &str, release: &str, kind: GateKind) -> &'static str {
    gate(world, environment, release, kind).reason.code()
}

/// How the soak of a release for `staging` in `qa` stands, in seconds since the beginning.
fn stands(world: &World, release: &str) -> Stands {
    let (here, id) = (name("qa"), world.id(release));
    let required = world.pipeline.environments["staging"].soak["qa"];
    let verified = verification(&world.view(), &here, &world.pipeline.environments["qa"], &id);
    let status = soak(&world.view(), &here, &id, &verified, required, world.now());
    let reference = Reference::new(&world.pipeline, &world.records, world.now());
    assert_eq!(status, reference.soak(&here, &id, required), "the reference disagrees");
    let seconds = |time: jiff::Timestamp| time.as_second() - at(0).as_second();
    match status {
        SoakStatus::Met { at } => Stands::Met(seconds(at)),
        SoakStatus::Running { eligible_at } => Stands::Runs(seconds(eligible_at)),
        SoakStatus::Stopped => Stands::Stopped,
    }
}

#[derive(Debug, PartialEq)]
enum Stands {
    Met(i64),
    Runs(i64),
    Stopped,
}

fn status(world: &World, release: &str) -> CheckStatus {
    let environment = &world.pipeline.environments["qa"];
    verification(&world.view(), &name("qa"), environment, &world.id(release)).checks["e2e"]
}

const DIAMOND: &str = "dev verify unit
    qa after dev verify e2e
    perf after dev verify load
    staging after qa perf";

/// The table of S3, played row by row on one history.
fn table(rows: usize) -> World {
    let mut world = World::new(DIAMOND);
    let play = [
        "add B1; deploy qa B1; deploy perf B1; @1 pass qa e2e B1; pass perf load B1",
        "@2 start staging B1; deploy staging B1; finish staging B1 verified
         add B2; deploy qa B2; deploy perf B2; @3 pass qa e2e B2",
        "@4 fail perf load B2; add B3; deploy qa B3; deploy perf B3; @5 pass qa e2e B3; pass perf load B3",
        "@6 start staging B3; deploy staging B3; finish staging B3 verified
         add B4; deploy qa B4; deploy perf B4; @7 fail qa e2e B4; pass perf load B4",
        "@8 deploy perf B2; pass perf load B2",
        "@9 withdraw qa e2e B3",
    ];
    for row in &play[..rows] {
        world.play(row);
    }
    world
}

#[test]
fn s3_table_row_1_b1_passes_both_and_is_promoted() {
    let world = table(1);
    assert_eq!(may_enter(&world, "staging"), ["B1"]);
    assert_eq!(next(&world, "staging").as_deref(), Some("B1"));
}

#[test]
fn s3_table_row_2_b2_waits_for_perf() {
    let world = table(2);
    assert_eq!(may_enter(&world, "staging"), ["B1"]);
    assert_eq!(next(&world, "staging"), None);
    let waits = gates(&world, "staging", "B2", Invoker::Automation, false);
    let closed: Vec<_> = waits.iter().filter(|g| !g.outcome.is_open()).map(|g| &g.reason).collect();
    assert_eq!(closed, [&Reason::ChecksMissing { environment: name("perf"), checks: vec![name("load")] }]);
}

#[test]
fn s3_table_row_3_b3_is_promoted_over_a_failed_b2() {
    let world = table(3);
    assert_eq!(may_enter(&world, "staging"), ["B1", "B3"]);
    assert_eq!(next(&world, "staging").as_deref(), Some("B3"));
}

#[test]
fn s3_table_row_4_b4_is_refused_by_qa() {
    let world = table(4);
    assert_eq!(may_enter(&world, "staging"), ["B1", "B3"]);
    assert_eq!(next(&world, "staging"), None);
    let refused: Vec<_> = gates(&world, "staging", "B4", Invoker::Automation, false)
        .into_iter()
        .filter(|g| g.outcome == Outcome::Refused)
        .map(|g| g.reason)
        .collect();
    assert_eq!(refused, [Reason::CheckFailed { environment: name("qa"), check: name("e2e") }]);
}

#[test]
fn s3_table_row_5_b2_is_older_and_no_rollback_target_of_a_place_it_never_was_in() {
    let world = table(5);
    assert_eq!(may_enter(&world, "staging"), ["B1", "B2", "B3"]);
    assert_eq!(next(&world, "staging"), None);
    assert_eq!(code(&world, "staging", "B2", GateKind::Order), "older");
    // S16: never deployed there, so it is shown as older and is no target.
    assert_eq!(back(&world, "staging", "B3"), ["B1"]);
}

#[test]
fn s3_table_row_6_a_withdrawal_takes_the_release_out_and_moves_nothing() {
    let world = table(6);
    assert_eq!(may_enter(&world, "staging"), ["B1", "B2"]);
    assert_eq!(next(&world, "staging"), None);
    let withdrawn = Reason::CheckWithdrawn { environment: name("qa"), check: name("e2e") };
    assert!(gates(&world, "staging", "B3", Invoker::Automation, false).iter().any(|g| g.reason == withdrawn));
}

#[test]
fn s3_1_never_the_latest_of_each() {
    let mut world = World::new(DIAMOND);
    world.play("add B1 B2; deploy qa B1; deploy perf B2; pass qa e2e B1; pass perf load B2");
    assert_eq!(may_enter(&world, "staging"), [""; 0]);
}

const QA: &str = "qa verify e2e
    staging after qa";

#[test]
fn s3_1_a_pass_after_a_failure_on_the_same_deployment_counts_only_when_it_is_repeated() {
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; @1 fail qa e2e B1; @2 pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Flaky);
    assert_eq!(may_enter(&world, "staging"), [""; 0]);
    assert_eq!(code(&world, "staging", "B1", GateKind::Predecessor), "check-flaky");
    world.play("@3 pass qa e2e B1; @4 pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Passed { since: at(3) });
    assert_eq!(may_enter(&world, "staging"), ["B1"]);
}

#[test]
fn s3_1_a_pass_on_another_deployment_is_not_flaky() {
    let mut world = World::new(QA);
    world.play("add B1 B2; deploy qa B1; fail qa e2e B1; deploy qa B2; deploy qa B1; @9 pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Passed { since: at(9) });
    // Another configuration is another deployment, the same one is not.
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; fail qa e2e B1; deploy qa B1 2; pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Passed { since: at(0) });
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; fail qa e2e B1; deploy qa B1; pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Flaky);
}

#[test]
fn s3_1_a_late_pass_is_about_the_releases_own_deployment_whatever_runs_there_now() {
    let mut world = World::new(QA);
    world.play("add B1 B2; deploy qa B1; fail qa e2e B1; deploy qa B2; pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Flaky);
    assert_eq!(may_enter(&world, "staging"), [""; 0]);
    world.play("pass qa e2e B1");
    assert_eq!(may_enter(&world, "staging"), ["B1"]);
}

#[test]
fn s16_a_withdrawal_leaves_no_verdict_until_the_next_and_breaks_the_run() {
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; @1 pass qa e2e B1; @2 pass qa e2e B1; @3 withdraw qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Withdrawn);
    assert_eq!(gate(&world, "staging", "B1", GateKind::Predecessor).outcome, Outcome::Expired);
    world.play("@4 pass qa e2e B1; @5 pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Passed { since: at(4) });
}

#[test]
fn s16_a_withdrawn_failure_is_as_if_it_had_not_been() {
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; fail qa e2e B1; withdraw qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Withdrawn);
    world.play("@2 pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Passed { since: at(2) });
}

#[test]
fn s3_1_withdrawing_a_flaky_pass_does_not_withdraw_the_failure_before_it() {
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; fail qa e2e B1; pass qa e2e B1; withdraw qa e2e B1; pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Flaky);
    // Two passes in a row have settled the failure: withdrawing a third one does not bring it back.
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; fail qa e2e B1; pass qa e2e B1; pass qa e2e B1; pass qa e2e B1");
    world.play("withdraw qa e2e B1; @7 pass qa e2e B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Passed { since: at(7) });
    // Nor does it help to withdraw twice: there is nothing to withdraw any more.
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; fail qa e2e B1; pass qa e2e B1; withdraw qa e2e B1; withdraw qa e2e B1");
    assert_eq!(status(&world.play("pass qa e2e B1").clone(), "B1"), CheckStatus::Flaky);
}

#[test]
fn s16_a_verdict_counts_whenever_it_arrives_and_comes_back_with_its_release() {
    let mut world = World::new(QA);
    world.play("add B1 B2; deploy qa B1; deploy qa B2; @5 pass qa e2e B1");
    assert_eq!(may_enter(&world, "staging"), ["B1"]);
    world.play("@6 deploy qa B1; @7 deploy qa B2; @8 deploy qa B1");
    assert_eq!(status(&world, "B1"), CheckStatus::Passed { since: at(5) });
    world.play("@9 fail qa e2e B1");
    assert_eq!(may_enter(&world, "staging"), [""; 0]);
}

#[test]
fn s3_1_a_verdict_without_a_deployment_verifies_nothing() {
    let mut world = World::new(QA);
    world.play("add B1; pass qa e2e B1");
    assert_eq!(may_enter(&world, "staging"), [""; 0]);
    assert_eq!(code(&world, "staging", "B1", GateKind::Predecessor), "not-there-yet");
}

const SOAK: &str = "qa verify e2e
    staging after qa soak qa=60";

#[test]
fn s4_1_time_counts_from_the_later_of_deployed_and_verified_and_is_met_on_the_very_second() {
    let mut world = World::new(SOAK);
    world.play("@0 add B1; deploy qa B1; @30 pass qa e2e B1; @89");
    assert_eq!(stands(&world, "B1"), Stands::Runs(90));
    assert_eq!(may_enter(&world, "staging"), [""; 0]);
    assert_eq!(gate(&world, "staging", "B1", GateKind::Soak).until, Some(at(90)));
    world.play("@90");
    assert_eq!(stands(&world, "B1"), Stands::Met(90));
    assert_eq!(may_enter(&world, "staging"), ["B1"]);
    let mut world = World::new(SOAK);
    world.play("@0 add B1; pass qa e2e B1; @30 deploy qa B1; @40");
    assert_eq!(stands(&world, "B1"), Stands::Runs(90));
}

#[test]
fn s4_1_replacing_resets() {
    let mut world = World::new(SOAK);
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; @59 deploy qa B2; @70");
    assert_eq!(stands(&world, "B1"), Stands::Stopped);
    world.play("@80 deploy qa B1; @100");
    assert_eq!(stands(&world, "B1"), Stands::Runs(140));
}

#[test]
fn s4_1_other_files_or_settings_reset_and_the_same_ones_do_not() {
    let mut world = World::new(SOAK);
    world.play("add B1; deploy qa B1; pass qa e2e B1; @50 deploy qa B1; @55");
    assert_eq!(stands(&world, "B1"), Stands::Runs(60));
    world.play("deploy qa B1 2; @60");
    assert_eq!(stands(&world, "B1"), Stands::Runs(115));
}

#[test]
fn s4_1_accumulated_time_adds_up_over_residences() {
    let mut world = World::new("qa verify e2e\nstaging after qa soak qa=60,accumulate");
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; @40 deploy qa B2; @100 deploy qa B1; @110");
    assert_eq!(stands(&world, "B1"), Stands::Runs(120));
    world.play("@120");
    assert_eq!(stands(&world, "B1"), Stands::Met(120));
}

#[test]
fn s4_1_bad_health_resets_or_pauses() {
    let history = "add B1; deploy qa B1; pass qa e2e B1; @40 health qa bad; @45";
    let mut reset = World::new(SOAK);
    let mut pause = World::new("qa verify e2e\nstaging after qa soak qa=60,pause");
    assert_eq!(stands(reset.play(history), "B1"), Stands::Stopped);
    assert_eq!(stands(pause.play(history), "B1"), Stands::Stopped);
    let history = "@50 health qa good; @55";
    assert_eq!(stands(reset.play(history), "B1"), Stands::Runs(110));
    assert_eq!(stands(pause.play(history), "B1"), Stands::Runs(70));
}

#[test]
fn s16_a_new_deployment_starts_healthy_and_an_outage_before_the_verification_changes_nothing() {
    let mut world = World::new(SOAK);
    world.play("add B1 B2; deploy qa B1; @5 health qa bad; @8 deploy qa B2; pass qa e2e B2; @10");
    assert_eq!(stands(&world, "B2"), Stands::Runs(68));
    let mut world = World::new(SOAK);
    world.play("add B1; deploy qa B1; @5 health qa bad; @9 health qa good; @20 pass qa e2e B1; @30");
    assert_eq!(stands(&world, "B1"), Stands::Runs(80));
    let mut world = World::new(SOAK);
    world.play("add B1; deploy qa B1; @5 health qa bad; @20 pass qa e2e B1; @25 health qa good; @30");
    assert_eq!(stands(&world, "B1"), Stands::Runs(85));
}

#[test]
fn s16_health_and_deployment_in_one_second_are_told_apart_by_ledger_order() {
    let mut world = World::new(SOAK);
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; pass qa e2e B2; @60 health qa bad; deploy qa B2; @70");
    assert_eq!(stands(&world, "B1"), Stands::Stopped);
    assert_eq!(stands(&world, "B2"), Stands::Runs(120));
    let mut world = World::new(SOAK);
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; pass qa e2e B2; @60 deploy qa B2; health qa bad; @70");
    assert_eq!(stands(&world, "B1"), Stands::Met(60));
    assert_eq!(stands(&world, "B2"), Stands::Stopped);
}

#[test]
fn s16_a_met_soak_stays_met_when_the_release_is_replaced() {
    let mut world = World::new(SOAK);
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; @60 deploy qa B2; @70 health qa bad; @500");
    assert_eq!(stands(&world, "B1"), Stands::Met(60));
    world.play("@510 deploy qa B1; @520");
    assert_eq!(stands(&world, "B1"), Stands::Met(60));
}

#[test]
fn s16_a_met_soak_is_lost_when_the_release_is_seen_unhealthy_while_deployed() {
    let mut world = World::new(SOAK);
    world.play("add B1; deploy qa B1; pass qa e2e B1; @100 health qa bad; @110");
    assert_eq!(stands(&world, "B1"), Stands::Stopped);
    assert_eq!(code(&world, "staging", "B1", GateKind::Soak), "soak-stopped");
    world.play("@120 health qa good; @130");
    assert_eq!(stands(&world, "B1"), Stands::Runs(180));
}

#[test]
fn s16_a_met_soak_is_lost_with_its_verification() {
    let mut world = World::new(SOAK);
    world.play("add B1; deploy qa B1; pass qa e2e B1; @100 withdraw qa e2e B1; @110");
    assert_eq!(stands(&world, "B1"), Stands::Stopped);
    world.play("@120 pass qa e2e B1; @130");
    assert_eq!(stands(&world, "B1"), Stands::Runs(180));
}

#[test]
fn s16_accumulated_time_is_wiped_by_bad_health_of_the_release_and_not_of_another() {
    let mut world = World::new("qa verify e2e\nstaging after qa soak qa=60,accumulate");
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; @40 deploy qa B2; @50 health qa bad; @60 deploy qa B1; @70");
    assert_eq!(stands(&world, "B1"), Stands::Runs(80));
    world.play("@75 health qa bad; @76 health qa good; @80");
    assert_eq!(stands(&world, "B1"), Stands::Runs(136));
}

#[test]
fn s4_1_what_began_to_replace_it_ends_its_time_wherever_that_got_to() {
    let begun = "add B1 B2; deploy qa B1; pass qa e2e B1; @30 start qa B2; @40 intent qa; @45";
    let mut world = World::new(SOAK);
    assert_eq!(stands(world.play(begun), "B1"), Stands::Stopped, "another release is on its way there");
    // It failed before it was there as a whole, and the same as before was deployed again.
    world.play("@50 finish qa B2 held; @55");
    assert_eq!(stands(&world, "B1"), Stands::Stopped, "whatever is there");
    assert_eq!(code(&world, "qa", "B2", GateKind::Arrival), "no-soak-disturbed");
    world.play("@60 deploy qa B1; @70");
    assert_eq!(stands(&world, "B1"), Stands::Runs(120));
    assert_eq!(stands(world.play("@90 deploy qa B1; @100"), "B1"), Stands::Runs(120), "nothing came in between again");
    // By the run itself, which went back.
    let mut world = World::new(SOAK);
    world.play(begun).play("@50 intent qa rollback/deploy; run deploy qa B1; @60 finish qa B2 rolled-back; @70");
    assert_eq!(stands(&world, "B1"), Stands::Runs(110));
    // What was met before stays met, and what is added up loses only the time in between.
    let mut world = World::new(SOAK);
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; @60 start qa B2; intent qa; finish qa B2 held; @70");
    assert_eq!(stands(&world, "B1"), Stands::Met(60));
    let mut world = World::new("qa verify e2e\nstaging after qa soak qa=60,accumulate");
    world.play(begun).play("finish qa B2 held; @100 deploy qa B1; @110");
    assert_eq!(stands(&world, "B1"), Stands::Runs(120));
}

#[test]
fn s4_1_a_run_that_brought_nothing_there_disturbs_no_soak() {
    let soaking = "add B1 B2; deploy qa B1; pass qa e2e B1; @30 ";
    for quiet in [
        "start qa B2; finish qa B2 cancelled",
        // An image that was copied is not there yet.
        "start qa B2; intent qa copy; finish qa B2 held",
        "start qa B2; intent qa copy; intent qa rollback/deploy; run deploy qa B1; finish qa B2 rolled-back",
        // What is there is put back.
        "start qa B1; intent qa; run deploy qa B1; finish qa B1 verified",
        "start qa B1; intent qa; run deploy qa B1; intent qa attest; finish qa B1 verified",
    ] {
        let mut world = World::new(SOAK);
        world.play(soaking).play(quiet).play("@40");
        assert_eq!(stands(&world, "B1"), Stands::Runs(60), "{quiet}");
    }
}

#[test]
fn s4_1_another_configuration_that_began_to_come_ends_its_time_and_the_same_one_does_not() {
    for (config, expected) in [("1", Stands::Runs(60)), ("2", Stands::Stopped)] {
        let mut world = World::new(SOAK);
        world.play("add B1; deploy qa B1; pass qa e2e B1; @30 start qa B1 reconfiguration");
        world.play(&format!("run configure qa B1 {config}"));
        assert_eq!(stands(world.play("@35"), "B1"), Stands::Runs(60), "nothing was begun");
        assert_eq!(stands(world.play("intent qa; @40"), "B1"), expected, "{config}");
        assert_eq!(stands(world.play("finish qa B1 held; @45"), "B1"), expected, "{config}");
    }
    // A configuration that came, and was left again.
    let mut world = World::new(SOAK);
    world.play(
        "add B1; deploy qa B1; pass qa e2e B1; @30 start qa B1 reconfiguration; @31 intent qa; run deploy qa B1 2",
    );
    assert_eq!(stands(world.play("@35"), "B1"), Stands::Runs(91));
    assert_eq!(stands(world.play("@40 intent qa rollback/deploy; @45"), "B1"), Stands::Stopped);
    assert_eq!(stands(world.play("finish qa B1 held; @50 deploy qa B1 2; @55"), "B1"), Stands::Runs(110));
}

#[test]
fn s16_health_after_something_else_began_to_come_is_not_that_of_the_release() {
    let mut world = World::new(SOAK);
    let met = "add B1 B2; deploy qa B1; pass qa e2e B1; @60 start qa B2; ";
    world.play(met).play("intent qa; health qa bad; @70 finish qa B2 held; deploy qa B1; @80");
    assert_eq!(stands(&world, "B1"), Stands::Met(60));
    let mut world = World::new(SOAK);
    world.play(met).play("health qa bad; intent qa; @70 finish qa B2 held; deploy qa B1; @80");
    assert_eq!(stands(&world, "B1"), Stands::Runs(130));
}

#[test]
fn s4_3_hold_waits_until_the_soak_is_met_and_not_for_the_approval_after_it() {
    let mut world = World::new("qa verify e2e\nstaging after qa soak qa=60 approve 1");
    world.play("add B1; deploy qa B1; @10 pass qa e2e B1; add B2; @20");
    let held = gate(&world, "qa", "B2", GateKind::Arrival);
    assert_eq!((held.outcome, held.until), (Outcome::Waiting, Some(at(70))));
    assert_eq!(held.reason, Reason::HoldsForSoak { release: world.id("B1"), successor: name("staging") });
    assert_eq!(gate(world.play("@70"), "qa", "B2", GateKind::Arrival).outcome, Outcome::Satisfied);
}

#[test]
fn s4_3_nothing_is_held_for_a_successor_that_has_it_or_may_not_take_it_or_where_newer_replaces() {
    let start = "add B1; deploy qa B1; pass qa e2e B1; add B2; @20";
    for (pipeline, then) in [
        ("qa verify e2e replace\nstaging after qa soak qa=60", ""),
        (SOAK, "deploy staging B1"),
        (SOAK, "reject B1 staging"),
        (SOAK, "health qa bad"),
    ] {
        let mut world = World::new(pipeline);
        assert_eq!(code(world.play(start).play(then), "qa", "B2", GateKind::Arrival), "no-soak-disturbed", "{then}");
    }
}

#[test]
fn s3_3_a_join_fires_once_by_itself_and_again_by_name() {
    let mut world = World::new(QA);
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; deploy qa B2; pass qa e2e B2");
    world.play("start staging B2; finish staging B2 cancelled");
    // S16: the highest has fired, so nothing is promoted by itself, and B1 is not taken instead.
    assert_eq!(next(&world, "staging").as_deref(), Some("B2"));
    assert_eq!(code(&world, "staging", "B2", GateKind::Order), "tried-before");
    let by_name = gates(&world, "staging", "B2", Invoker::Automation, true);
    assert_eq!(overall(&by_name), Outcome::Satisfied);
}

#[test]
fn s16_the_first_intent_fires_while_the_run_is_still_under_way() {
    let mut world = World::new(QA);
    world.play("add B1; start qa B1");
    assert_eq!(code(&world, "qa", "B1", GateKind::Order), "tried-before");
    assert_eq!(code(&world, "qa", "B1", GateKind::Lock), "busy");
}

#[test]
fn s3_2_what_runs_there_is_up_to_date_and_not_ahead_also_by_name() {
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1");
    assert_eq!(code(&world, "qa", "B1", GateKind::Order), "up-to-date");
    assert_eq!(overall(&gates(&world, "qa", "B1", Invoker::Human, true)), Outcome::Refused);
}

#[test]
fn s16_quarantined_releases_are_taken_out_before_the_candidate_is_chosen() {
    let mut world = World::new(QA);
    world.play("add B1 B2; deploy qa B1; pass qa e2e B1; deploy qa B2; pass qa e2e B2; reject B2 staging");
    assert_eq!(next(&world, "staging").as_deref(), Some("B1"));
    assert_eq!(next(world.play("lift B2 staging"), "staging").as_deref(), Some("B2"));
}

#[test]
fn s16_quarantine_downstream_is_everything_reachable_and_marks_nothing_that_is_there() {
    let mut world = World::new("dev\nqa after dev\nperf after dev\nprod after qa\nother");
    world.play("add B1; deploy dev B1; deploy qa B1; reject B1 qa");
    for (environment, barred) in [("dev", false), ("qa", true), ("perf", false), ("prod", true), ("other", false)] {
        let expected = if barred { "quarantined" } else { "not-quarantined" };
        assert_eq!(code(&world, environment, "B1", GateKind::Quarantine), expected, "{environment}");
    }
    assert_eq!(world.view().current(&name("qa")).map(|r| &r.release), Some(&world.id("B1")));
}

#[test]
fn s16_a_lift_lifts_one_scope_and_unfreeze_a_pause_two_things() {
    let mut world = World::new(QA);
    world.play("add B1; deploy qa B1; pass qa e2e B1; reject B1 staging; reject B1; pause staging; lift B1");
    assert_eq!(code(&world, "staging", "B1", GateKind::Quarantine), "quarantined");
    world.play("lift B1 staging");
    assert_eq!(code(&world, "staging", "B1", GateKind::Quarantine), "not-quarantined");
    assert_eq!(code(&world, "staging", "B1", GateKind::Freeze), "paused");
    assert_eq!(code(world.play("unfreeze staging"), "staging", "B1", GateKind::Freeze), "not-frozen");
    assert!(world.clone().play("lift B1").folded().is_err());
    assert!(world.clone().play("unfreeze").folded().is_err());
}

#[test]
fn s10_4_a_pause_stops_automation_and_a_freeze_stops_people_also_where_both_hold() {
    let mut world = World::new(QA);
    let people = |world: &World| overall(&gates(world, "qa", "B1", Invoker::Human, false));
    world.play("add B1; pause qa");
    assert_eq!(people(&world), Outcome::Satisfied);
    assert_eq!(code(&world, "qa", "B1", GateKind::Freeze), "paused");
    // A pause of one environment does not hide a person's freeze of all.
    assert_eq!(people(world.play("freeze")), Outcome::Waiting);
    assert_eq!(people(world.play("unfreeze; freeze qa; pause qa")), Outcome::Waiting);
    // Whichever of the two came first, lifting the freeze leaves the pause, and lifting once more takes it away.
    for history in ["unfreeze qa", "freeze qa; unfreeze qa"] {
        assert_eq!(code(world.play(history), "qa", "B1", GateKind::Freeze), "paused", "{history}");
    }
    assert_eq!(code(world.play("unfreeze qa"), "qa", "B1", GateKind::Freeze), "not-frozen");
    assert!(world.play("unfreeze qa").folded().is_err());
}

#[test]
fn s9_6_what_was_held_waits_for_a_person() {
    let mut world = World::new(QA);
    world.play("add B1 B2; start qa B1; deploy qa B1; finish qa B1 held");
    assert_eq!(code(&world, "qa", "B2", GateKind::Lock), "held");
    assert_eq!(overall(&gates(&world, "qa", "B2", Invoker::Human, false)), Outcome::Satisfied);
}

#[test]
fn s10_1_targets_are_lower_deployed_verified_and_not_quarantined_best_first() {
    let mut world = World::new("qa verify e2e");
    for release in ["B1", "B2", "B3", "B4", "B5", "B6"] {
        world.play(&format!("add {release}; deploy qa {release}; pass qa e2e {release}"));
    }
    world.play("add B7; fail qa e2e B4; reject B5 qa");
    assert_eq!(back(&world, "qa", "B6"), ["B3", "B2", "B1"]);
    assert_eq!(back(&world, "qa", "B1"), [""; 0]);
}

#[test]
fn s10_1_a_rollback_of_a_rollback_goes_further_down_and_never_up() {
    let mut world = World::new("qa verify e2e");
    for release in ["B1", "B2", "B3"] {
        world.play(&format!("add {release}; deploy qa {release}; pass qa e2e {release}"));
    }
    assert_eq!(back(&world, "qa", "B3"), ["B2", "B1"]);
    world.play("deploy qa B2");
    assert_eq!(back(&world, "qa", "B2"), ["B1"]);
    // Going up again is a promotion by name.
    assert_eq!(next(&world, "qa").as_deref(), Some("B3"));
}

const JOIN: &str = "a verify t\nb verify t\nc verify t\njoin atleast 2 of a b c always c soak a=60";

#[test]
fn s3_4_at_least_counts_members_with_their_soak_and_needs_always() {
    let mut world = World::new(JOIN);
    world.play("add B1; deploy a B1; deploy b B1; deploy c B1; pass a t B1; pass b t B1");
    assert_eq!(may_enter(&world, "join"), [""; 0]);
    let closed = gate(&world, "join", "B1", GateKind::Join);
    let missing = BTreeSet::from([name("c")]);
    assert_eq!(closed.reason, Reason::Members { met: BTreeSet::from([name("b")]), needed: 2, missing });
    assert_eq!(may_enter(world.play("pass c t B1"), "join"), ["B1"]);
    // Without b it takes a, which still has to soak, and says until when.
    world.play("@1 fail b t B1");
    let waits = gate(&world, "join", "B1", GateKind::Join);
    assert_eq!((waits.outcome, waits.until), (Outcome::Waiting, Some(at(60))));
    assert_eq!(may_enter(world.play("@60"), "join"), ["B1"]);
    // What cannot be reached any more is refused.
    world.play("fail c t B1");
    assert_eq!(gate(&world, "join", "B1", GateKind::Join).outcome, Outcome::Refused);
}

#[test]
fn s16_roots_take_every_release_and_a_control_only_node_verifies_by_entering() {
    let mut world = World::new("root\njoin after root bare\nend after join");
    world.play("add B1 B2; deploy root B1");
    assert_eq!(may_enter(&world, "root"), ["B1", "B2"]);
    assert_eq!(may_enter(&world, "end"), [""; 0]);
    // S3.5: nothing leaks past a node that changes nothing.
    assert_eq!(may_enter(world.play("deploy join B1"), "end"), ["B1"]);
}

#[test]
fn s3_3_by_name_what_went_wrong_is_deployed_again_and_what_is_good_is_up_to_date() {
    let by_name = |world: &World, named| {
        let gates = gates(world, "qa", "B1", Invoker::Human, named);
        let order = gates.iter().find(|g| g.kind == GateKind::Order).expect("an order gate");
        (order.reason.code(), overall(&gates))
    };
    let again = ("deployed-again", Outcome::Satisfied);
    let not = ("up-to-date", Outcome::Refused);
    for (history, expected) in [
        ("finish qa B1 verified", not),
        ("finish qa B1 held", again),
        ("finish qa B1 stuck", again),
        // Rolled back to: the last that was done here failed.
        ("finish qa B1 verified; add B2; start qa B2; finish qa B2 rolled-back", again),
        // A cancelled one touched nothing, and hides nothing.
        ("finish qa B1 verified; add B2; start qa B2; finish qa B2 cancelled", not),
        ("finish qa B1 held; start qa B1; finish qa B1 cancelled", again),
        ("finish qa B1 verified; fail qa e2e B1", again),
        ("finish qa B1 held; start qa B1; deploy qa B1; pass qa e2e B1; finish qa B1 verified", not),
    ] {
        let mut world = World::new(QA);
        world.play("add B1; start qa B1; deploy qa B1").play(history);
        assert_eq!(by_name(&world, true), expected, "{history}");
        assert_eq!(by_name(&world, false), not, "nothing is repeated by itself: {history}");
    }
    // A person's verdict is not changed by another deployment of the same.
    let mut world = World::new("qa verify uat");
    world.play("add B1; start qa B1; deploy qa B1; finish qa B1 verified; fail qa uat B1");
    assert_eq!(by_name(&world, true), not);
}

#[test]
fn s9_6_a_cancelled_attempt_does_not_hide_what_is_held() {
    let mut world = World::new(QA);
    world.play("add B1 B2; start qa B1; deploy qa B1; finish qa B1 held; start qa B2; finish qa B2 cancelled");
    assert_eq!(code(&world, "qa", "B2", GateKind::Lock), "held");
}

#[test]
fn s4_3_nothing_is_held_for_a_successor_that_tried_it_or_whose_other_predecessor_refuses_it() {
    let pipeline = "qa verify e2e\nperf verify load\nstaging after qa perf soak qa=60";
    let start = "add B1; deploy qa B1; pass qa e2e B1; deploy perf B1; pass perf load B1; add B2; @20";
    for (then, held) in [
        ("", true),
        ("start staging B1; finish staging B1 cancelled", false),
        ("fail perf load B1", false),
        ("reject B1", false),
        ("add B3; deploy staging B3", false),
        // What only waits may still open.
        ("withdraw perf load B1", true),
        ("freeze staging", true),
    ] {
        let mut world = World::new(pipeline);
        world.play(start).play(then);
        let expected = if held { "holds-for-soak" } else { "no-soak-disturbed" };
        assert_eq!(code(&world, "qa", "B2", GateKind::Arrival), expected, "{then}");
        let reference = Reference::new(&world.pipeline, &world.records, world.now());
        assert_eq!(reference.holds(&name("qa"), &world.id("B2")), held, "the reference disagrees: {then}");
    }
    // A join with enough others left does not refuse it.
    let mut world = World::new("qa verify e2e\nperf verify load\nstaging atleast 1 of qa perf soak qa=60");
    world.play(start).play("fail perf load B1");
    assert_eq!(code(&world, "qa", "B2", GateKind::Arrival), "holds-for-soak");
}

#[test]
fn s16_a_quarantine_of_an_optional_member_bars_the_join_and_its_failure_alone_does_not() {
    let mut world = World::new("a verify t\nb verify t\nc verify t\njoin atleast 2 of a b c\nafterwards after join");
    world.play("add B1; deploy a B1; deploy b B1; deploy c B1; pass a t B1; pass b t B1; fail c t B1");
    assert_eq!(may_enter(&world, "join"), ["B1"]);
    // A rollback in c quarantines it there and downstream: everything reachable, the join as well.
    world.play("reject B1 c");
    assert_eq!(may_enter(&world, "join"), [""; 0]);
    assert_eq!(code(&world, "join", "B1", GateKind::Quarantine), "quarantined");
    assert_eq!(gate(&world, "join", "B1", GateKind::Join).outcome, Outcome::Satisfied);
    assert_eq!(code(&world, "afterwards", "B1", GateKind::Quarantine), "quarantined");
    assert_eq!(may_enter(world.play("lift B1 c"), "join"), ["B1"]);
}

#[test]
fn s16_evidence_that_is_lost_anywhere_upstream_is_told_of_what_runs() {
    let lost = |world: &World, environment: &str| -> Vec<String> {
        let here: EnvironmentName = name(environment);
        let reasons = lost_evidence(&world.rules(), &world.view(), [&here]).remove(&here).unwrap_or_default();
        let reference = Reference::new(&world.pipeline, &world.records, world.now()).lost(&here);
        assert_eq!(reasons.len(), reference.len(), "the reference disagrees");
        reasons.iter().map(ToString::to_string).collect()
    };
    // The last row of S3's table.
    assert_eq!(lost(&table(5), "staging"), [""; 0]);
    assert_eq!(lost(&table(6), "staging"), ["the verdict of e2e in qa was withdrawn"]);
    let mut world =
        World::new("dev verify unit\nqa after dev verify e2e\nstaging after qa verify smoke\nprod after staging");
    world.play("add B1 B2; deploy dev B1; pass dev unit B1; deploy qa B1; pass qa e2e B1");
    world.play("deploy staging B1; pass staging smoke B1; deploy prod B1");
    assert_eq!(lost(&world, "prod"), [""; 0]);
    // The whole way, and a newer failure as well as a withdrawal.
    world.play("withdraw dev unit B1; fail qa e2e B1");
    let both = ["the verdict of unit in dev was withdrawn", "e2e failed in qa"];
    assert_eq!(lost(&world, "prod"), both);
    assert_eq!(lost(&world, "staging"), both);
    assert_eq!(lost(&world, "qa"), both[..1]);
    assert_eq!(lost(&world, "dev"), [""; 0], "its own checks are not upstream");
    // Another release does not stand on it, and a verdict that counts again gives it back.
    world.play("pass dev unit B1; pass qa e2e B1; pass qa e2e B1");
    assert_eq!(lost(&world, "prod"), [""; 0]);
    world.play("fail qa e2e B2; deploy prod B2");
    assert_eq!(lost(&world, "prod"), [""; 0], "what never held is not lost");
}

#[test]
fn s16_a_reconfiguration_is_bound_by_the_windows_of_every_artifact() {
    let mut world = World::new("qa verify e2e");
    world.play("add B1; deploy qa B1");
    let window = |artifacts: &str| {
        let text = format!("effect = \"deny\"\ntimezone = \"UTC\"\nweekly = {{}}\nartifacts = [{artifacts}]");
        let windows = vec![Window::new("freeze", toml::from_str(&text).expect("a window")).expect("a legal window")];
        vec![Level { name: "qa".into(), windows }]
    };
    let outcome = |world: &World| {
        let (environment, release, nothing) = (name("qa"), world.id("B1"), BTreeSet::new());
        let question = Question {
            environment: &environment,
            release: &release,
            movement: Movement::Reconfiguration,
            drill: None,
            named: false,
            drifted: false,
            tried: false,
            invoker: Invoker::Human,
            moved_before: &nothing,
            approvals: None,
            run: None,
        };
        overall(&assess(&world.rules(), &world.view(), Observed::NOTHING, &question, world.now()))
    };
    assert_eq!(outcome(&world), Outcome::Satisfied);
    world.windows.insert(name("qa"), window("\"other\""));
    assert_eq!(outcome(&world), Outcome::Satisfied);
    // It deploys all of them again, so one that may not be deployed now is enough.
    world.windows.insert(name("qa"), window("\"app\", \"other\""));
    assert_eq!(outcome(&world), Outcome::Waiting);
}
