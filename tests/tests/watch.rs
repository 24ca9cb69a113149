//! Environments that are watched after their checks have passed (S3.1, S9.5, S9.6): what fails in that time goes back, what waits
//! for the release waits until it is over, and a run that was interrupted waits for what is left.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use promo_core::config;
use promo_core::gate::{Outcome, Reason};
use promo_core::ids::ReleaseId;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::plan::{Document, PlanFileError, Request};
use promo_core::windows::Invoker;
use promo_engine::{Fate, PLAN_LIFETIME, Progress, RunReport};
use promo_tests::world::{Setup, Time, World};

const WATCHED: &str = r#"
format = 1
[pipeline]
name = "watched"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[defaults]
deploy.directory = { templates = ["service.j2"] }
verify = ["smoke"]
[checks.smoke]
command = { run = ["smoke.sh"], files = ["smoke.sh"] }
[checks.uat]
manual = { from = ["qa-lead"] }
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
watch  = { for = "30m", every = "1s" }
[environments.qa]
tier   = "testing"
after  = ["dev"]
target = { directory = "environments/qa" }
"#;

/// Fails where `broken` lies beside the place that it looks at.
const SMOKE: &str =
    "#!/bin/sh\necho >> \"$PROMO_TARGET_DIRECTORY.looked\"\ntest ! -e \"$PROMO_TARGET_DIRECTORY.broken\"\n";

fn world(time: &Time) -> World {
    let files = [("promo.toml", WATCHED), ("service.j2", "{{ artifacts.shop.tag }}\n"), ("smoke.sh", SMOKE)];
    // The lock outlives the leaps of the tests.
    World::of_files(&files, Setup { lease: Some(Duration::from_hours(24)), ..time.setup() })
}

fn time() -> Time {
    Time::at("2026-03-02T10:00:00Z")
}

/// Applies a plan for dev, or goes on with a run; calls `seen` with the seconds that are left whenever they are told.
async fn apply(world: &World, resume: Option<&RunReport>, seen: impl Fn(u64) + Send + Sync + 'static) -> RunReport {
    let mut options = world.options();
    options.progress = Arc::new(move |said| {
        if let Progress::Watching { seconds, .. } = said {
            seen(seconds);
        }
    });
    match resume {
        Some(report) => world.session.resume(&report.run, options).await.unwrap(),
        None => {
            let plan = world.plan("dev").await;
            world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap()
        }
    }
}

/// Applies a plan for dev, and is stopped as soon as it watches.
async fn stopped_in_the_watch(world: &World) -> RunReport {
    let plan = world.plan("dev").await;
    let (mut options, stop) = (world.options(), world.options().stop);
    options.stop = stop.clone();
    options.progress = Arc::new(move |said| {
        if matches!(said, Progress::Watching { .. }) {
            stop.cancel();
        }
    });
    world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap()
}

fn looked(world: &World) -> usize {
    std::fs::read_to_string(world.path("environments/dev.looked")).map_or(0, |text| text.len())
}

fn verdicts(world: &World) -> usize {
    let records = world.session.store().records(0, usize::MAX).unwrap();
    records.iter().filter(|record| record.kind == "verdict.recorded").count()
}

/// How a release that is in dev stands for qa.
fn for_qa(world: &World, release: &ReleaseId) -> (Outcome, Reason) {
    let gates = world.session.gates(&"qa".parse().unwrap(), release, (Invoker::Human, true)).unwrap();
    let gate = gates.into_iter().find(|gate| gate.kind == promo_core::gate::GateKind::Predecessor).unwrap();
    (gate.outcome, gate.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_1_a_release_is_verified_for_others_once_the_time_is_over_and_its_passes_are_written_once() {
    let time = time();
    let world = Arc::new(world(&time));
    let release = world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    assert_eq!(plan.body.moves[0].watch.map(|watch| (watch.seconds, watch.every)), Some((1800, 1)));
    // An older promo would not watch: it does not apply such a plan, and whoever strikes that out has edited it.
    assert!(plan.requires.iter().any(|feature| feature == "watch"), "{:?}", plan.requires);
    let struck = String::from_utf8(plan.to_bytes().unwrap()).unwrap().replace(",\"watch\"]", "]");
    assert!(matches!(Document::from_bytes(struck.as_bytes()), Err(PlanFileError::Unnamed(_))));
    let (told, stood) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (tell, stand, asks, passes, id) = (told.clone(), stood.clone(), world.clone(), time.clone(), release.clone());
    let report = apply(&world, None, move |seconds| {
        tell.lock().unwrap().push(seconds);
        stand.lock().unwrap().push(for_qa(&asks, &id).1);
        passes.pass(Duration::from_mins(10));
    });
    let report = report.await;
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert_eq!(*told.lock().unwrap(), [1800, 1200, 600]);
    let watched = Reason::StillWatched { environment: "dev".parse().unwrap() };
    assert_eq!(*stood.lock().unwrap(), [watched.clone(), watched.clone(), watched]);
    assert_eq!((looked(&world), verdicts(&world)), (4, 1), "asked once, and three times again");
    assert_eq!(for_qa(&world, &release).0, Outcome::Satisfied);
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_6_what_fails_while_it_is_watched_goes_back_like_any_other_failure() {
    let time = time();
    let world = world(&time);
    let good = world.release("1.0.0").await;
    let passes = time.clone();
    let report = apply(&world, None, move |_| passes.pass(Duration::from_mins(30))).await;
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    let bad = world.release("2.0.0").await;
    let (passes, broken) = (time.clone(), world.path("environments/dev.broken"));
    let plan = world.plan("dev").await;
    let mut options = world.options();
    options.progress = Arc::new(move |said| match said {
        Progress::Watching { asked, .. } => {
            passes.pass(Duration::from_mins(10));
            if asked == 1 {
                std::fs::write(&broken, "").unwrap();
            }
        }
        // What was there before is good.
        Progress::RollingBack { .. } => std::fs::remove_file(&broken).unwrap(),
        _ => {}
    });
    let mut report = world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    let (_, _, fate) = report.environments.remove(0);
    let Fate::Ended { outcome, why: Some(why) } = fate else { panic!("{fate:?}") };
    assert_eq!(outcome, PromotionOutcome::RolledBack);
    assert!(why.contains("smoke failed while it was watched: "), "{why}");
    assert_eq!(world.current("dev"), Some(good));
    assert_eq!(for_qa(&world, &bad).0, Outcome::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_5_a_run_that_is_stopped_while_it_watches_waits_for_what_is_left_when_it_is_resumed() {
    let time = time();
    let world = Arc::new(world(&time));
    let release = world.release("1.0.0").await;
    let stopped = stopped_in_the_watch(&world).await;
    assert_eq!((stopped.outcome, looked(&world)), (None, 1), "{stopped:?}");
    assert!(matches!(for_qa(&world, &release).1, Reason::StillWatched { .. }), "also while nobody is at work");
    time.pass(Duration::from_mins(25));
    let told = Arc::new(Mutex::new(Vec::new()));
    let (tell, passes) = (told.clone(), time.clone());
    let resumed = apply(&world, Some(&stopped), move |seconds| {
        tell.lock().unwrap().push(seconds);
        passes.pass(Duration::from_mins(5));
    });
    assert_eq!(resumed.await.outcome, Some(RunOutcome::Done));
    assert_eq!(*told.lock().unwrap(), [300]);
    assert_eq!((looked(&world), verdicts(&world)), (2, 1), "the checks are not begun anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_3_where_the_time_is_over_before_a_run_is_resumed_it_asks_once_more() {
    let time = time();
    let world = world(&time);
    world.release("1.0.0").await;
    let stopped = stopped_in_the_watch(&world).await;
    time.pass(Duration::from_hours(2));
    std::fs::write(world.path("environments/dev.broken"), "").unwrap();
    let mut report = apply(&world, Some(&stopped), |_| {}).await;
    let (_, _, fate) = report.environments.remove(0);
    assert!(matches!(&fate, Fate::Ended { outcome: PromotionOutcome::Held, .. }), "there is no way back: {fate:?}");
    assert_eq!(looked(&world), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_1_a_run_that_is_cancelled_within_its_watch_leaves_nothing_verified_until_it_was_watched_to_its_end() {
    let time = time();
    let world = Arc::new(world(&time));
    let release = world.release("1.0.0").await;
    let stopped = stopped_in_the_watch(&world).await;
    let cancelled = world.session.cancel(&stopped.run).await.unwrap();
    let Fate::Ended { outcome, .. } = &cancelled.environments[0].2 else { panic!("{cancelled:?}") };
    assert_eq!((*outcome, looked(&world)), (PromotionOutcome::Held, 1), "its checks have passed, and it runs there");
    let (waits, why) = for_qa(&world, &release);
    assert_eq!((waits, why.to_string().as_str()), (Outcome::Waiting, "has not been watched to its end in dev"));
    let onwards = world.plan("qa").await;
    assert!(onwards.body.moves.iter().all(|entry| !entry.outcome().is_open()), "{:?}", onwards.body.moves);
    // Asked for by name it is deployed once more, and watched.
    let request = Request { release: Some(release.clone()), ..world.request("dev") };
    let again = world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    let (passes, stood) = (time.clone(), Arc::new(Mutex::new(Vec::new())));
    let (stand, asks, id) = (stood.clone(), world.clone(), release.clone());
    let mut options = world.options();
    options.progress = Arc::new(move |said| {
        if matches!(said, Progress::Watching { .. }) {
            stand.lock().unwrap().push(for_qa(&asks, &id).0);
            passes.pass(Duration::from_mins(30));
        }
    });
    let report = world.session.apply(&again, again.digest().unwrap(), options).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    assert_eq!(*stood.lock().unwrap(), [Outcome::Waiting]);
    assert_eq!(for_qa(&world, &release).0, Outcome::Satisfied);
}

/// S12.6: where the clocks disagree, the time is over once both say so.
#[tokio::test(flavor = "multi_thread")]
async fn s12_6_a_watch_is_not_over_while_one_of_the_clocks_says_that_it_is_not() {
    let (ledger, machine) = (time(), time());
    let files = [("promo.toml", WATCHED), ("service.j2", "{{ artifacts.shop.tag }}\n"), ("smoke.sh", SMOKE)];
    let lease = Some(Duration::from_hours(24));
    let world = World::of_files(&files, Setup { lease, clock: Arc::new(machine.clone()), ..ledger.setup() });
    world.release("1.0.0").await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let report = apply(&world, None, move |seconds| {
        let mut told = tell.lock().unwrap();
        // The ledger's clock leaps, and the machine's goes on.
        if told.is_empty() {
            ledger.pass(Duration::from_hours(2));
        } else {
            machine.pass(Duration::from_mins(15));
        }
        told.push(seconds);
    });
    assert_eq!(report.await.outcome, Some(RunOutcome::Done));
    assert_eq!(*told.lock().unwrap(), [1800, 1800, 900], "by this machine's");
    assert_eq!(looked(&world), 4);
}

#[test]
fn s1_4_a_watch_that_would_ask_nothing_is_refused_where_it_stands_and_left_out_where_it_is_inherited() {
    let read = |text: &str| config::pipeline(text, &promo_providers::kinds());
    let (pipeline, diagnostics) = read(WATCHED);
    assert!(diagnostics.is_empty() && pipeline.is_some(), "{diagnostics:?}");
    let watch = "watch  = { for = \"30m\", every = \"1s\" }";
    for (to, word) in [
        ("watch = \"30m\"\nverify = [\"uat\"]", "no automatic check"),
        ("watch = { every = \"1m\" }", "`for` is missing"),
    ] {
        let (_, diagnostics) = read(&WATCHED.replace(watch, to));
        assert!(diagnostics.iter().any(|d| d.message.contains(word)), "{to}: {diagnostics:?}");
    }
    let inherited = WATCHED.replace(watch, "").replace("verify = [\"smoke\"]", "verify = [\"smoke\"]\nwatch = \"5m\"");
    let (pipeline, diagnostics) =
        read(&format!("{inherited}[environments.join]\ntier = \"testing\"\ndeploy = \"none\"\n"));
    assert!(diagnostics.iter().all(|d| !d.message.contains("watch")), "{diagnostics:?}");
    let of = |name: &str| pipeline.as_ref().unwrap().environments[name].watch.map(|watch| (watch.seconds, watch.every));
    assert_eq!((of("dev"), of("qa"), of("join")), (Some((300, 60)), Some((300, 60)), None));
}
