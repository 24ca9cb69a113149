//! A clock that cannot be relied on stops what goes by time, and nothing else (S12.6).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use promo_core::approval::Decision;
use promo_core::gate::{GateKind, Outcome};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::Event;
use promo_core::plan::Document;
use promo_core::windows::Invoker;
use promo_engine::lifts::Lift;
use promo_engine::{ApplyOptions, EngineError, exit};
use promo_ledger::Expect;
use promo_sdk::Clock as _;
use promo_tests::world::{Setup, Time, World};

const START: &str = "2026-03-02T10:00:00Z";

/// The quickstart with a soak before staging; the machine has a clock of its own beside the ledger's.
fn world() -> (World, Time, Time) {
    let (ledger, machine) = (Time::at(START), Time::at(START));
    let after = r#"after  = ["qa", "perf"] "#;
    let setup = Setup {
        clock: Arc::new(machine.clone()),
        replace: vec![(after.into(), format!("soak = {{ qa = \"1m\" }}\n{after}"))],
        ..ledger.setup()
    };
    (World::with("quickstart", setup), ledger, machine)
}

async fn apply(world: &World, document: &Document) -> Result<u8, EngineError> {
    let options = ApplyOptions {
        approvals: document.body.moves.iter().map(|_| world.sign(document, Decision::Approve)).collect(),
        ..world.options()
    };
    let report = world.session.apply(document, document.digest().unwrap(), options).await?;
    Ok(report.exit_code())
}

/// Codes of the closed gates of a release that stays out of an environment, by kind.
fn held_back(document: &Document, environment: &str) -> Vec<(GateKind, &'static str)> {
    let stay = document.body.stays.iter().find(|s| s.environment.as_str() == environment).unwrap();
    let gates = stay.next.iter().flat_map(|next| &next.gates);
    gates.filter(|g| !g.outcome.is_open()).map(|g| (g.kind, g.reason.code())).collect()
}

async fn up_to_staging(world: &World) {
    world.release("1.0.0").await;
    for environment in ["dev", "qa", "perf"] {
        assert_eq!(apply(world, &world.plan(environment).await).await.unwrap(), exit::DONE, "{environment}");
    }
}

#[tokio::test]
async fn a_soak_is_not_met_by_a_clock_that_is_ahead_of_this_machine_s12_6() {
    let (world, ledger, machine) = world();
    up_to_staging(&world).await;
    // The soak seems to be over, because the ledger's clock jumped by an hour.
    ledger.pass(Duration::from_secs(3_600));
    let plan = world.plan("staging").await;
    assert!(plan.body.moves.is_empty());
    assert_eq!(held_back(&plan, "staging"), [(GateKind::Soak, "clock-skew")]);
    let why = serde_json::to_string(&plan.body.stays).unwrap();
    assert!(why.contains("2026-03-02T10:00:00Z") && why.contains("2026-03-02T11:00:00Z"), "both readings: {why}");
    // `why` and `status` ask the same.
    let (staging, release): (EnvironmentName, _) = ("staging".parse().unwrap(), world.current("qa").unwrap());
    let gates = world.session.gates(&staging, &release, (Invoker::Human, false)).unwrap();
    assert!(gates.iter().any(|g| g.reason.code() == "clock-skew" && g.outcome == Outcome::Waiting), "{gates:#?}");
    // Nothing that goes by no time waits.
    world.release("1.1.0").await;
    assert_eq!(apply(&world, &world.plan("dev").await).await.unwrap(), exit::DONE);
    // With both clocks right again the soak is what it was.
    machine.pass(Duration::from_secs(3_600));
    assert_eq!(apply(&world, &world.plan("staging").await).await.unwrap(), exit::DONE);
}

#[tokio::test]
async fn a_plan_that_was_ready_waits_at_apply_when_the_clock_went_back_meanwhile_s12_6() {
    let (world, ledger, machine) = world();
    up_to_staging(&world).await;
    for time in [&ledger, &machine] {
        time.pass(Duration::from_secs(60));
    }
    let plan = world.plan("staging").await;
    assert!(plan.body.moves[0].outcome().is_open());
    for time in [&ledger, &machine] {
        time.step_back(Duration::from_secs(3));
    }
    let before = world.session.view().unwrap().size;
    let error = apply(&world, &plan).await.unwrap_err();
    assert_eq!(error.exit_code(), exit::WAITING, "{error}");
    let EngineError::Waiting { gates, .. } = &error else { panic!("{error:?}") };
    let shut: Vec<_> = gates.iter().filter(|g| !g.outcome.is_open()).map(|g| (g.kind, g.reason.code())).collect();
    assert_eq!(shut, [(GateKind::Soak, "clock-went-back")]);
    assert_eq!(world.session.view().unwrap().size, before, "nothing was begun");
    // A second or two is what clocks do: a smaller step stops nothing.
    for time in [&ledger, &machine] {
        time.pass(Duration::from_secs(3));
    }
    assert_eq!(apply(&world, &plan).await.unwrap(), exit::DONE);
}

#[tokio::test]
async fn another_process_sees_from_the_records_that_the_clock_went_back_s12_6() {
    let (world, ledger, machine) = world();
    up_to_staging(&world).await;
    for time in [&ledger, &machine] {
        time.step_back(Duration::from_secs(600));
    }
    // A record written meanwhile makes the clock no better.
    world.release("1.1.0").await;
    let other = world.session_as("dana");
    let plan = other.plan(world.request("staging"), promo_engine::PLAN_LIFETIME).await.unwrap();
    assert_eq!(held_back(&plan, "staging"), [(GateKind::Soak, "clock-went-back")]);
}

#[tokio::test]
async fn a_window_and_an_approval_wait_and_the_plan_shows_what_the_clocks_read_s12_6() {
    let (world, ledger, machine) = world();
    up_to_staging(&world).await;
    for time in [&ledger, &machine] {
        time.pass(Duration::from_secs(60));
    }
    assert_eq!(apply(&world, &world.plan("staging").await).await.unwrap(), exit::DONE);
    let ready = world.plan("production").await;
    world.ask(&ready).await;
    machine.pass(Duration::from_secs(31));
    let shown = world.plan("production").await;
    let window = shown.body.moves[0].gates.iter().find(|g| g.kind == GateKind::Window).unwrap();
    assert_eq!((window.outcome, window.reason.code()), (Outcome::Waiting, "clock-skew"));
    // What was planned and approved while the clocks were right waits as well.
    let error = apply(&world, &ready).await.unwrap_err();
    let EngineError::Waiting { gates, .. } = &error else { panic!("{error:?}") };
    let shut: Vec<_> = gates.iter().filter(|g| !g.outcome.is_open()).map(|g| (g.kind, g.reason.code())).collect();
    assert_eq!(shut, [(GateKind::Approval, "clock-skew"), (GateKind::Window, "clock-skew")]);
    ledger.pass(Duration::from_secs(31));
    assert_eq!(apply(&world, &ready).await.unwrap(), exit::DONE);
}

#[tokio::test]
async fn a_plan_is_over_when_both_clocks_say_so_and_waits_where_they_disagree_s8_4() {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let (world, ledger, machine) = world();
    world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    let size = world.session.view().unwrap().size;
    // The clock that jumped may be this one or that one: the plan is not called dead, and not applied either.
    for (jumps, follows) in [(&machine, &ledger), (&ledger, &machine)] {
        jumps.pass(DAY);
        let error = apply(&world, &plan).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("clock-skew", exit::WAITING), "{error}");
        assert!(error.to_string().contains("2026-03-03 10:00:00 UTC"), "{error}");
        jumps.step_back(DAY);
        assert_eq!(follows.now(), jumps.now());
    }
    // This process has seen the ledger's clock a day ahead; whoever did not, and finds both right, goes on.
    let error = apply(&world, &plan).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("clock-went-back", exit::WAITING), "{error}");
    assert_eq!(world.session.view().unwrap().size, size, "nothing was begun");
    for time in [&ledger, &machine] {
        time.pass(DAY);
    }
    let error = world.session_as("dana").apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("plan-spent", exit::STALE), "both say that it is over: {error}");
    for time in [&ledger, &machine] {
        time.step_back(Duration::from_secs(1));
    }
    let report = world.session_as("dana").apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap();
    assert_eq!(report.exit_code(), exit::DONE, "it lives to its last second");
}

#[tokio::test]
async fn a_plan_made_while_the_clock_was_back_is_not_taken_for_an_edited_one_s8_4() {
    let (world, ledger, machine) = world();
    world.release("1.0.0").await;
    for time in [&ledger, &machine] {
        time.step_back(Duration::from_secs(600));
    }
    let plan = world.plan("dev").await;
    assert_eq!(apply(&world, &plan).await.unwrap(), exit::DONE, "nothing in it goes by time");
    // And one that was made before the clock went back.
    for time in [&ledger, &machine] {
        time.pass(Duration::from_secs(600));
    }
    let plan = world.plan("qa").await;
    for time in [&ledger, &machine] {
        time.step_back(Duration::from_secs(600));
    }
    assert_eq!(apply(&world, &plan).await.unwrap(), exit::DONE);
}

#[tokio::test]
async fn a_yes_to_a_plan_that_is_over_is_refused_for_that_and_not_for_a_request_that_nobody_signed_s8_4() {
    let (world, ledger, machine) = world();
    up_to_staging(&world).await;
    for time in [&ledger, &machine] {
        time.pass(Duration::from_secs(3_600));
    }
    assert_eq!(apply(&world, &world.plan("staging").await).await.unwrap(), exit::DONE);
    let plan = world.plan("production").await;
    for time in [&ledger, &machine] {
        time.pass(Duration::from_secs(24 * 3_600));
    }
    let (role, key) = ("release-manager".parse().unwrap(), world.key.public_key().fingerprint().clone());
    let statement = world.session.statement(&plan, plan.digest().unwrap(), Decision::Approve, role, key);
    assert_eq!(statement.unwrap_err().code(), "plan-spent");
}

#[tokio::test]
async fn a_plan_that_was_edited_to_live_longer_is_told_as_edited_s8_4() {
    let (world, ..) = world();
    world.release("1.0.0").await;
    let honest = world.plan("dev").await;
    world.release("1.1.0").await;
    let edited = |later: i64, longer: i64| {
        let mut plan = honest.clone();
        plan.body.planned_at += jiff::SignedDuration::from_secs(later);
        plan.body.expires += jiff::SignedDuration::from_secs(later + longer);
        plan
    };
    for (later, longer, said) in [(0, 1, "longer than any plan"), (31, 0, "later than what came after it")] {
        let error = apply(&world, &edited(later, longer)).await.unwrap_err();
        let EngineError::Edited { findings, .. } = &error else { panic!("{error:?}") };
        assert!(findings[0].contains(said), "{findings:?}");
    }
}

#[tokio::test]
async fn a_record_from_a_clock_that_was_ahead_shuts_time_gates_until_a_person_takes_the_clock_as_it_is_s12_6() {
    let (world, ledger, machine) = world();
    up_to_staging(&world).await;
    let refused = world.session.record_ahead().unwrap_err();
    assert_eq!(refused.code(), "request-invalid", "{refused}");
    let year = Duration::from_secs(365 * 86_400);
    for time in [&ledger, &machine] {
        time.pass(year);
    }
    world.session.freeze(["dev".parse().unwrap()].into(), "a record of next year").unwrap();
    for time in [&ledger, &machine] {
        time.step_back(year - Duration::from_secs(3_600));
    }
    let plan = world.plan("staging").await;
    assert_eq!(held_back(&plan, "staging"), [(GateKind::Soak, "clock-went-back")]);

    machine.pass(Duration::from_secs(60));
    ledger.pass(Duration::from_secs(60));
    let ahead = world.session.record_ahead().unwrap();
    assert_eq!(ahead.to_string(), "2027-03-02T10:00:00Z");
    let statement = world.session.lift_statement(Lift::Clock { ahead }).unwrap();
    let unsigned = world.session.lift(&statement, None, "no time server").unwrap_err();
    assert_eq!(unsigned.code(), "lift-refused", "{unsigned}");
    // Whoever writes the record without a signature changes nothing.
    let forged = world.session.draft(Event::ClockAccepted { ahead, by: None, signed: None });
    world.session.store().append_if_head(&Expect::default(), &[forged]).unwrap();
    assert!(world.session.present().unwrap().doubt.is_some());
    world.lift(&world.session, Lift::Clock { ahead }).unwrap();
    // Whoever reads the ledger anew, for any pipeline, sees it too; a clock that goes back after it is in doubt again.
    for session in [world.session.clone(), world.session_as("riley")] {
        assert_eq!(session.present().unwrap().doubt, None);
    }
    assert_eq!(apply(&world, &world.plan("staging").await).await.unwrap(), exit::DONE);
    for time in [&ledger, &machine] {
        time.step_back(Duration::from_secs(3));
    }
    assert!(world.session_as("riley").present().unwrap().doubt.is_some());
}
