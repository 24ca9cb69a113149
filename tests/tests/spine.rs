//! From dev to production on the embedded default: real OCI layouts, real directories, a real ledger, real signatures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use promo_core::Digest;
use promo_core::approval::Decision;
use promo_core::gate::{GateKind, Outcome};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::plan::Document;
use promo_engine::clock::SystemClock;
use promo_engine::{ApplyOptions, EngineError, Fate, Progress, Session, exit};
use promo_ledger::MemoryStore;
use promo_sdk::Clock as _;
use promo_tests::watched_store::WatchedStore;
use promo_tests::world::{Setup, World};

fn name(text: &str) -> EnvironmentName {
    text.parse().unwrap()
}

/// Takes a release to staging by automatic promotion.
async fn to_staging(world: &World) {
    let reports = world.session.advance(world.options()).await.unwrap().reports;
    assert!(reports.iter().all(|r| r.outcome == Some(RunOutcome::Done)), "{reports:?}");
}

/// Asks for production, has it approved, and applies it.
async fn to_production(world: &World) -> promo_engine::RunReport {
    let plan = world.plan("production").await;
    let digest = plan.digest().unwrap();
    world.ask(&plan).await;
    world.session.record_approval(&plan, &digest, &world.sign(&plan, Decision::Approve), &[], None).unwrap();
    world.session.apply(&plan, digest, world.options()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_from_dev_to_production_and_a_bad_one_comes_back() {
    let world = World::of("quickstart");
    let first = world.release("1.0.0").await;
    to_staging(&world).await;
    for environment in ["dev", "qa", "perf", "staging"] {
        assert_eq!(world.current(environment), Some(first.clone()), "{environment}");
        assert!(world.deployed(environment, "templates/service.toml").contains("1.0.0"));
    }
    // R21: nothing enters production by itself.
    assert_eq!(world.current("production"), None);
    let report = to_production(&world).await;
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    assert_eq!(world.current("production"), Some(first.clone()));
    // R1: production takes the image from its own registry, under the same digest.
    let rendered = world.deployed("production", "templates/service.toml");
    assert!(rendered.contains("registry-production/shop"), "{rendered}");
    // S8.5: planning again shows no change.
    assert!(world.plan("production").await.body.moves.is_empty());

    std::fs::write(world.path("config/common.env"), "NEEDS_WORKERS=6\n").unwrap();
    let second = world.release("1.1.0").await;
    to_staging(&world).await;
    assert_eq!(world.current("staging"), Some(second.clone()));
    let before = rendered;
    let report = to_production(&world).await;
    assert_eq!(report.exit_code(), exit::ROLLED_BACK, "{report:?}");
    assert_eq!(world.current("production"), Some(first.clone()));
    assert_eq!(world.deployed("production", "templates/service.toml"), before);
    // S2.4: the shared configuration of the first release is back as well.
    assert_eq!(
        world.deployed("production", "config/common.env"),
        std::fs::read_to_string(promo_tests::world::pipelines().join("quickstart/config/common.env")).unwrap()
    );
    let Fate::Ended { outcome: PromotionOutcome::RolledBack, why: Some(why) } = &report.environments[0].2 else {
        panic!("{report:?}")
    };
    assert!(why.contains("smoke failed") && why.contains("production has 4 workers"), "{why}");
    // S10.4: quarantined for production, and automatic promotion is paused.
    let gates =
        world.session.gates(&name("production"), &second, (promo_core::windows::Invoker::Automation, false)).unwrap();
    let refused: Vec<_> = gates.iter().filter(|g| !g.outcome.is_open()).map(|g| (g.kind, g.outcome)).collect();
    assert!(refused.contains(&(GateKind::Quarantine, Outcome::Refused)), "{gates:?}");
    assert!(refused.contains(&(GateKind::Freeze, Outcome::Waiting)), "{gates:?}");
    let report = promo_ledger::verify(world.session.store().as_ref()).unwrap();
    assert!(report.records > 20, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_verified_is_known_and_no_record_of_it_is_read_again() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    let before = move |call| {
        counted.fetch_add(usize::from(call == "raw"), Ordering::Relaxed);
    };
    let inner = Arc::new(MemoryStore::new("a ledger of a test", Arc::new(|| SystemClock.now())));
    let store = WatchedStore { inner, before: Box::new(before), read: None };
    let world = World::with("quickstart", Setup { store: Some(Arc::new(store)), ..Setup::default() });
    world.release("1.0.0").await;
    to_staging(&world).await;
    let session = world.session_as("alex");
    reads.store(0, Ordering::Relaxed);
    let report = session.verify().unwrap();
    let verified = reads.load(Ordering::Relaxed);
    assert!(verified > 0 && report.records > 10, "{report:?}");
    assert_eq!(session.view().unwrap(), world.session.view().unwrap(), "what folding gives");
    assert_eq!(reads.load(Ordering::Relaxed), verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn production_needs_an_approval_of_this_plan_by_somebody_else() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    to_staging(&world).await;
    let plan = world.plan("production").await;
    let digest = plan.digest().unwrap();
    let waiting = world.session.apply(&plan, digest, world.options()).await.unwrap_err();
    assert_eq!((waiting.code(), waiting.exit_code()), ("waiting", exit::WAITING), "{waiting}");
    // The initiator is excluded, also when they hold the key: riley asks, and riley signs.
    let own = world.session_as("riley");
    let plan = own.plan(world.request("production"), promo_engine::PLAN_LIFETIME).await.unwrap();
    world.ask(&plan).await;
    let mut options = world.options();
    options.approvals = vec![world.sign(&plan, Decision::Approve)];
    let waiting = own.apply(&plan, plan.digest().unwrap(), options).await.unwrap_err();
    assert_eq!(waiting.code(), "waiting");
    // A rejection blocks this digest.
    let plan = world.plan("production").await;
    let digest = plan.digest().unwrap();
    world.ask(&plan).await;
    world.session.record_approval(&plan, &digest, &world.sign(&plan, Decision::Reject), &[], None).unwrap();
    // Nobody records what would count nowhere, whoever calls (S6.6).
    let size = world.session.store().head().unwrap().size;
    let late = world.session.record_approval(&plan, &digest, &world.sign(&plan, Decision::Approve), &[], None);
    assert_eq!(late.map(|_| ()).unwrap_err().code(), "approval-refused");
    assert_eq!(world.session.store().head().unwrap().size, size, "a refusal writes nothing");
    let denied = world.session.apply(&plan, digest, world.options()).await.unwrap_err();
    assert_eq!((denied.code(), denied.exit_code()), ("denied", exit::DENIED), "{denied}");
    assert_eq!(world.current("production"), None);
}

/// A release in staging, and a plan for production that was requested and approved.
async fn approved() -> (World, Document, Digest) {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    to_staging(&world).await;
    let plan = world.plan("production").await;
    let digest = plan.digest().unwrap();
    world.ask(&plan).await;
    world.session.record_approval(&plan, &digest, &world.sign(&plan, Decision::Approve), &[], None).unwrap();
    (world, plan, digest)
}

/// A requested plan is told as what apply would make of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_requested_plan_is_told_as_stale_once_its_pipeline_is_another_s8_2() {
    let (world, plan, digest) = approved().await;
    let moved = |session: &Session| session.pending(&session.view().unwrap()).unwrap()[0].moved.clone();
    assert_eq!(moved(&world.session), []);
    let (file, (before, after)) = (world.path("promo.toml"), ("[\"initiator\"]", "[\"initiator\", \"author\"]"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(before));
    std::fs::write(&file, text.replace(before, after)).unwrap();
    let later = world.session_as("dana");
    let stale = later.apply(&plan, digest, world.options()).await.unwrap_err();
    assert_eq!(stale.code(), "plan-stale", "{stale}");
    let production: EnvironmentName = "production".parse().unwrap();
    assert_eq!(moved(&later), [production]);
}

/// What keeps an approved plan out is told with the approvals that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_takes_no_approval_away_s5_4() {
    let (world, plan, digest) = approved().await;
    world.session.freeze(["production".parse().unwrap()].into(), "the fair is on").unwrap();
    let frozen = world.session.apply(&plan, digest, world.options()).await.unwrap_err();
    let EngineError::Waiting { gates, .. } = &frozen else { panic!("{frozen:?}") };
    let closed: Vec<_> = gates.iter().filter(|gate| !gate.outcome.is_open()).map(|gate| gate.reason.code()).collect();
    assert_eq!(closed, ["frozen"], "{gates:?}");
}

/// S6.6: what a run has not begun yet can be stopped as long as it has not ended.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_can_be_taken_back_while_the_run_of_its_plan_is_on_its_way_s6_6() {
    let (world, plan, digest) = approved().await;
    let (yes, taken_back) = (world.sign(&plan, Decision::Approve), world.sign(&plan, Decision::Revoke));
    let (mut options, said) = (world.options(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let (judges, heard, document) = (world.session_as("riley"), said.clone(), plan.clone());
    options.progress = std::sync::Arc::new(move |progress| {
        if matches!(progress, Progress::RunStarted { .. }) {
            let weighed =
                |envelope| judges.weigh(&judges.view().unwrap(), &document, &digest, envelope, &[]).map(|_| ());
            heard.lock().unwrap().extend([weighed(&taken_back), weighed(&yes)]);
        }
    });
    let report = world.session.apply(&plan, digest, options).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    let said = said.lock().unwrap();
    assert!(said[0].is_ok(), "{:?}", said[0]);
    assert_eq!(said[1].as_ref().unwrap_err().code(), "plan-spent", "a yes comes too late");
    let late = world.session.record_approval(&plan, &digest, &world.sign(&plan, Decision::Revoke), &[], None);
    assert_eq!(late.map(|_| ()).unwrap_err().code(), "plan-spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_used_once_and_an_old_one_is_stale() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    let digest = plan.digest().unwrap();
    let twin = world.plan("dev").await;
    assert!(world.session.apply(&plan, digest, world.options()).await.unwrap().outcome == Some(RunOutcome::Done));
    let spent = world.session.apply(&plan, digest, world.options()).await.unwrap_err();
    assert_eq!((spent.code(), spent.exit_code()), ("plan-spent", exit::STALE));
    // S8.2: the other plan for dev finds that dev has moved, and says who moved it.
    let stale = world.session.apply(&twin, twin.digest().unwrap(), world.options()).await.unwrap_err();
    let EngineError::Stale { moved, by } = &stale else { panic!("{stale:?}") };
    assert!(moved.iter().any(|m| m.input == "what runs in dev"), "{moved:?}");
    assert!(by.as_ref().is_some_and(|by| by.starts_with("dana moved dev to")), "{by:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_plan_is_refused_even_when_it_is_digested_anew() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    let mut plan = world.plan("dev").await;
    let step = plan.body.moves[0].steps.last_mut().unwrap();
    step.inputs.target.0.insert("directory".into(), "environments/production".into());
    let digest = plan.digest().unwrap();
    let edited = world.session.apply(&plan, digest, world.options()).await.unwrap_err();
    let EngineError::Edited { findings, .. } = &edited else { panic!("{edited:?}") };
    let found = "moves[dev].steps[dev/deploy/default].inputs.target.directory: `environments/production` in the file, \
                 `environments/dev` as promo wrote it";
    assert_eq!(findings, &[found]);
    assert!(!world.path("environments").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moved_since_it_was_recorded_is_refused_with_both_digests() {
    let world = World::of("quickstart");
    let first = world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    // Somebody pushes other bytes under the same tag.
    let index = world.path("registry/shop/index.json");
    world.release("9.9.9").await;
    let text = std::fs::read_to_string(&index).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let manifests = json["manifests"].as_array_mut().unwrap();
    let tag = "org.opencontainers.image.ref.name";
    manifests.retain(|m| m["annotations"][tag] != "1.0.0");
    manifests[0]["annotations"][tag] = "1.0.0".into();
    std::fs::write(&index, json.to_string()).unwrap();
    let refused = world.session.apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap_err();
    let EngineError::Denied { gates, .. } = &refused else { panic!("{refused:?}") };
    let view = world.session.view().unwrap();
    let recorded = view.release(&first).unwrap().release.content.components.values().next().unwrap().to_string();
    let gate = gates.iter().find(|g| g.kind == GateKind::Artifact).unwrap().reason.to_string();
    assert!(gate.contains(&recorded) && gate.matches("sha256:").count() == 2, "{gate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_is_resumed_by_another_session_and_only_once() {
    let world = World::of("quickstart");
    let first = world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    let mut options = world.options();
    let stop = options.stop.clone();
    // The first Ctrl-C, as soon as the first step begins: it is finished, and nothing new begins.
    options.progress = std::sync::Arc::new(move |p| {
        if matches!(p, promo_engine::Progress::StepStarted { .. }) {
            stop.cancel();
        }
    });
    let report = world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!((report.outcome, report.exit_code()), (None, exit::TRANSIENT), "{report:?}");
    let other = world.session_as("riley");
    let resumed = other.resume(&report.run, world.options()).await.unwrap();
    assert_eq!(resumed.outcome, Some(RunOutcome::Done), "{resumed:?}");
    assert_eq!(world.current("dev"), Some(first));
    let size = world.session.store().head().unwrap().size;
    let again = other.resume(&report.run, world.options()).await.unwrap();
    assert_eq!(again.outcome, Some(RunOutcome::Done));
    assert_eq!(world.session.store().head().unwrap().size, size, "a second resume changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environments_own_file_is_a_reconfiguration_without_join() {
    let world = World::of("quickstart");
    let first = world.release("1.0.0").await;
    to_staging(&world).await;
    std::fs::write(world.path("config/qa.env"), "WORKERS=9\n").unwrap();
    let plan = world.plan("qa").await;
    let moved = &plan.body.moves[0];
    assert_eq!(moved.movement, promo_core::ledger::event::Movement::Reconfiguration);
    assert_eq!(moved.to.id, first);
    let report = world.session.apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert_eq!(world.deployed("qa", "config/qa.env"), "WORKERS=9\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_made_change_is_seen_as_drift_and_not_overwritten_by_an_older_plan() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    to_staging(&world).await;
    world.release("1.0.1").await;
    let plan = world.plan("dev").await;
    let live = world.path("environments/dev/current/config/dev.env");
    std::fs::write(&live, "WORKERS=99\n").unwrap();
    let stale = world.session.apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap_err();
    assert_eq!(stale.code(), "plan-stale");
    assert_eq!(std::fs::read_to_string(&live).unwrap(), "WORKERS=99\n");
    let staging = world.plan("staging").await;
    assert!(staging.body.stays.iter().all(|s| s.drift.is_empty()));
}

#[tokio::test]
async fn an_advance_that_fails_later_gives_the_reports_of_what_it_did() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    // After the first pass, a file is gone that the second one plans with.
    let load = world.path("checks/load.sh");
    let options = ApplyOptions {
        progress: Arc::new(move |said| {
            if matches!(said, Progress::PromotionFinished { .. }) {
                std::fs::remove_file(&load).unwrap();
            }
        }),
        ..world.options()
    };
    let unfinished = world.session.advance(options).await.unwrap_err();
    assert_eq!(unfinished.error.code(), "file-unreadable", "{}", unfinished.error);
    let moved: Vec<_> = unfinished.reports.iter().flat_map(|r| &r.environments).map(|(e, ..)| e.as_str()).collect();
    assert_eq!(moved, ["dev"]);
    assert_eq!(unfinished.reports[0].exit_code(), exit::DONE);
}
