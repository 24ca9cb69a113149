//! Several processes at once on one ledger: exactly one of them gets what only one may have.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promo_core::gate::{GateKind, Reason};
use promo_core::ledger::Event;
use promo_core::ledger::event::{Movement, RunOutcome};
use promo_engine::lifts::Lift;
use promo_engine::{EngineError, RunReport, exit};
use promo_tests::world::World;
use tokio::task::JoinSet;

/// Whether this is what the loser of two plans is told: what it is of was moved by the winner, or the winner has the lock.
fn is_lost(error: &EngineError, winner: &RunReport) -> bool {
    let names = |text: &str| text.contains(winner.run.as_str());
    match error {
        EngineError::Stale { by: Some(by), .. } => names(by),
        EngineError::Lease(lock) => names(&lock.to_string()),
        _ => false,
    }
}

async fn apply_by(world: &World, name: &str, plan: &promo_core::plan::Document) -> Result<RunReport, EngineError> {
    let session = world.session_as(name);
    session.apply(plan, plan.digest().unwrap(), world.options()).await
}

fn split(results: Vec<Result<RunReport, EngineError>>) -> (Vec<RunReport>, Vec<EngineError>) {
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(report) => won.push(report),
            Err(error) => lost.push(error),
        }
    }
    (won, lost)
}

fn count(world: &World, kind: &str) -> usize {
    world.session.store().records(0, usize::MAX).unwrap().iter().filter(|r| r.kind == kind).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_processes_that_apply_one_plan_exactly_one_does() {
    for round in 0..3 {
        let world = World::of("quickstart");
        world.release("1.0.0").await;
        let plan = world.plan("dev").await;
        let digest = plan.digest().unwrap();
        let mut racers = JoinSet::new();
        for racer in 0..16 {
            let (session, plan, options) = (world.session_as(&format!("racer-{racer}")), plan.clone(), world.options());
            racers.spawn(async move { session.apply(&plan, digest, options).await });
        }
        let (won, lost) = split(racers.join_all().await);
        assert_eq!(won.len(), 1, "round {round}: {won:?} {lost:?}");
        assert_eq!(won[0].outcome, Some(RunOutcome::Done));
        for error in lost {
            let EngineError::Spent { run: Some(winner), .. } = &error else { panic!("{}: {error:?}", error.code()) };
            assert_eq!((winner, error.exit_code()), (&won[0].run, exit::STALE), "{error:?}");
        }
        assert_eq!((count(&world, "run.started"), count(&world, "promotion.started")), (1, 1));
        assert_eq!(count(&world, "step.intent"), 1);
        promo_ledger::verify(world.session.store().as_ref()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_plans_for_one_environment_the_second_is_locked_out_or_stale() {
    let world = World::of("quickstart");
    let first = world.release("1.0.0").await;
    let one = world.plan("dev").await;
    let second = world.release("1.1.0").await;
    let two = world.plan("dev").await;
    assert_ne!(one.body.moves[0].to, two.body.moves[0].to);
    let (a, b) = tokio::join!(apply_by(&world, "dana", &one), apply_by(&world, "riley", &two));
    let (won, lost) = split(vec![a, b]);
    assert_eq!((won.len(), lost.len()), (1, 1), "{won:?} {lost:?}");
    assert!(is_lost(&lost[0], &won[0]), "{:?}", lost[0]);
    let current = world.current("dev").unwrap();
    assert_eq!(current, won[0].environments[0].1);
    assert!([first, second].contains(&current));
    assert_eq!(count(&world, "environment.deployed"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reconfiguration_and_a_promotion_do_not_both_win() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    world.session.advance(world.options()).await.unwrap();
    std::fs::write(world.path("config/dev.env"), "WORKERS=9\n").unwrap();
    let reconfiguration = world.plan("dev").await;
    assert_eq!(reconfiguration.body.moves[0].movement, Movement::Reconfiguration);
    world.release("1.1.0").await;
    let promotion = world.plan("dev").await;
    assert_eq!(promotion.body.moves[0].movement, Movement::Promotion);
    let before = count(&world, "environment.deployed");
    let (a, b) = tokio::join!(apply_by(&world, "dana", &reconfiguration), apply_by(&world, "riley", &promotion));
    let (won, lost) = split(vec![a, b]);
    assert_eq!((won.len(), lost.len()), (1, 1), "{won:?} {lost:?}");
    assert!(is_lost(&lost[0], &won[0]), "{:?}", lost[0]);
    assert_eq!(count(&world, "environment.deployed"), before + 1);
    assert_eq!(world.deployed("dev", "config/dev.env"), "WORKERS=9\n", "both carry the new file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_between_plan_and_apply_refuses_and_its_end_lets_the_plan_through() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    let dev: std::collections::BTreeSet<_> = ["dev".parse().unwrap()].into();
    world.session_as("riley").freeze(dev.clone(), "the fair is on").unwrap();
    let refused = apply_by(&world, "dana", &plan).await.unwrap_err();
    assert_eq!((refused.code(), refused.exit_code()), ("waiting", exit::WAITING), "{refused:?}");
    let EngineError::Waiting { gates, .. } = &refused else { panic!("{refused:?}") };
    let frozen = gates.iter().find(|g| g.kind == GateKind::Freeze).unwrap();
    assert!(matches!(&frozen.reason, Reason::Frozen { by, .. } if by == "riley"), "{frozen:?}");
    assert_eq!(count(&world, "run.started"), 0);
    world.lift(&world.session_as("riley"), Lift::Freeze { environments: dev }).unwrap();
    let report = apply_by(&world, "dana", &plan).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_releases_added_at_once_all_enter_and_leave_no_gap_in_the_lineage() {
    let world = World::of("quickstart");
    let versions: Vec<String> = (0..8).map(|n| format!("1.{n}.0")).collect();
    for version in &versions {
        world.build(version).await;
    }
    let mut adders = JoinSet::new();
    for version in &versions {
        let (session, new) = (world.session_as(version), world.new_release(version));
        adders.spawn(async move { session.add_release(new).await.map(|(entry, added)| (entry.lineage, added)) });
    }
    let mut lineages: Vec<u64> = Vec::new();
    for added in adders.join_all().await {
        let (lineage, new) = added.unwrap();
        assert!(new);
        lineages.push(lineage);
    }
    lineages.sort_unstable();
    assert_eq!(lineages, (1..=8).collect::<Vec<_>>());
    // The same release added by everybody at once enters once.
    let mut adders = JoinSet::new();
    world.build("2.0.0").await;
    for _ in 0..8 {
        let (session, new) = (world.session_as("dana"), world.new_release("2.0.0"));
        adders.spawn(async move { session.add_release(new).await.map(|(entry, added)| (entry.lineage, added)) });
    }
    let results: Vec<(u64, bool)> = adders.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(results.iter().all(|(lineage, _)| *lineage == 9), "{results:?}");
    assert_eq!(results.iter().filter(|(_, added)| *added).count(), 1);
    let records = world.session.store().records(0, usize::MAX).unwrap();
    let added =
        records.iter().filter(|r| matches!(Event::from_parts(&r.kind, &r.body), Ok(Event::ReleaseAdded { .. })));
    assert_eq!(added.count(), 9);
    promo_ledger::verify(world.session.store().as_ref()).unwrap();
}
