//! What somebody else writes between a look and the record that rests on it, put there on purpose: each of these would
//! need luck to happen between real processes, which `process_races.rs` lets try.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::Event;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_engine::clock::SystemClock;
use promo_engine::{EngineError, Fate, Progress, Sign, exit};
use promo_sdk::Clock;
use promo_tests::interleaved::Place;
use promo_tests::world::Setup;
use tokio::runtime::Handle;

/// Steps on the way back that were begun.
fn rollback_intents(place: &Place) -> usize {
    let records = place.ledger.records(0, usize::MAX).unwrap();
    let back = |step: &Option<String>| step.as_ref().is_some_and(|s| s.contains("/rollback/"));
    records.iter().filter(|r| r.kind == "step.intent" && back(&r.step)).count()
}

fn dev() -> EnvironmentName {
    "dev".parse().unwrap()
}

/// S10.1: until the first intent of the way back, a rejection bars it. Put at two moments: after the way back was announced,
/// and between the last look and the record itself.
#[tokio::test(flavor = "multi_thread")]
async fn s10_1_a_rejection_just_before_the_first_intent_of_the_way_back_holds_the_environment() {
    for at_the_record in [false, true] {
        let (place, first, second, plan) = Place::with_first().await;
        assert_eq!(plan.body.moves[0].rollback.as_ref().map(|r| &r.to.id), Some(&first));
        place.faults.fail_check(format!("dev/smoke/{second}"));
        let (other, before) = (Arc::new(place.other("riley")), place.before.clone());
        let report = place
            .apply(&plan, move |progress| {
                if !matches!(progress, Progress::RollingBack { .. }) {
                    return;
                }
                let (other, first) = (other.clone(), first.clone());
                let reject = move || other.reject(&first, None, "it loses orders").unwrap();
                if at_the_record { before.next("append_if_head", reject) } else { reject() }
            })
            .await
            .unwrap();
        let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = &report.environments[0].2 else {
            panic!("{report:?}")
        };
        assert!(why.contains("smoke failed") && why.contains("quarantined everywhere by riley"), "{why}");
        assert_eq!((rollback_intents(&place), report.exit_code()), (0, exit::HELD));
        assert_eq!(place.world.deployed("dev", "service"), "2.0.0\n", "nothing was touched");
        assert_eq!(place.world.current("dev"), Some(second));
    }
}

/// What has begun is gone to its end, and whoever rejects the release then sees it there.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_after_the_first_intent_of_the_way_back_comes_too_late() {
    let (place, first, second, plan) = Place::with_first().await;
    place.faults.fail_check(format!("dev/smoke/{second}"));
    let (other, rejected) = (place.other("riley"), first.clone());
    let report = place
        .apply(&plan, move |progress| {
            if matches!(progress, Progress::StepDone { step, .. } if step.contains("/rollback/")) {
                other.reject(&rejected, None, "it loses orders").unwrap();
            }
        })
        .await
        .unwrap();
    assert_eq!((report.outcome, rollback_intents(&place)), (Some(RunOutcome::RolledBack), 1));
    assert_eq!(place.world.current("dev"), Some(first));
}

/// S5.4, S6.6: what holds a promotion up is looked for in the very ledger that its first record is appended to.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_just_before_the_first_record_of_a_promotion_holds_it_up() {
    let (place, first, _, plan) = Place::with_first().await;
    let (other, before) = (Arc::new(place.other("riley")), place.before.clone());
    let report = place
        .apply(&plan, move |progress| {
            if matches!(progress, Progress::RunStarted { .. }) {
                let other = other.clone();
                before.next("append_if_head", move || other.freeze([dev()].into(), "the fair is on").unwrap());
            }
        })
        .await
        .unwrap();
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Waiting), exit::WAITING));
    let Fate::NotStarted { why, .. } = &report.environments[0].2 else { panic!("{report:?}") };
    assert!(why.contains("riley"), "{why}");
    let kinds = place.kinds();
    let frozen = kinds.iter().position(|kind| kind == "environment.frozen").unwrap_or_else(|| panic!("{kinds:?}"));
    assert!(!kinds[frozen..].iter().any(|kind| kind == "promotion.started"), "{kinds:?}");
    assert_eq!(place.world.current("dev"), Some(first));
}

/// S9.4: a record of a promotion rests on the locks of its environment and of each place that this one deploys to; whoever
/// has lost one of them writes nothing, and so does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn s9_4_a_step_is_not_begun_once_the_lock_on_its_environment_or_on_its_place_is_somebody_elses() {
    for lock in ["environment one/dev", "target directory=environments/dev"] {
        let (place, first, _, plan) = Place::with_first().await;
        let (ledger, before) = (place.ledger.clone(), place.before.clone());
        let acts = place.faults.journal().len();
        let steal = move || {
            let mut held = ledger.leases().unwrap();
            held.retain(|lease| lease.resources == [lock]);
            assert_eq!(held.len(), 1, "{lock}: {:?}", ledger.leases());
            ledger.release(&held[0]).unwrap();
            ledger.acquire(&held[0].resources, "a thief", Duration::from_secs(60)).unwrap();
        };
        let report = place.apply(&plan, move |progress| {
            if matches!(progress, Progress::StepStarted { .. }) {
                before.next("append_if_head", steal.clone());
            }
        });
        let error = report.await.unwrap_err();
        assert_eq!((error.code(), place.faults.journal().len()), ("lock-lost", acts), "{lock}: {error}");
        assert!(!place.kinds().iter().rev().take(2).any(|kind| kind == "step.intent"), "{:?}", place.kinds());
        assert_eq!(place.world.current("dev"), Some(first));
    }
}

/// A clock whose sleepers do something first.
struct Restless {
    slept: AtomicUsize,
    before: Box<dyn Fn(usize) + Send + Sync>,
}

impl Restless {
    fn new(before: impl Fn(usize) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { slept: AtomicUsize::new(0), before: Box::new(before) })
    }
}

#[async_trait]
impl Clock for Restless {
    fn now(&self) -> jiff::Timestamp {
        SystemClock.now()
    }

    async fn sleep(&self, duration: Duration) {
        // The renewal of a lock sleeps too, and longer.
        if duration < Duration::from_secs(1) {
            (self.before)(self.slept.fetch_add(1, Ordering::SeqCst));
            tokio::task::yield_now().await;
        } else {
            SystemClock.sleep(duration).await;
        }
    }
}

/// Whether this says that the plan is spent, and by which run of whom.
fn names(error: &EngineError, run: &str, by: &str) -> bool {
    let EngineError::Spent { why, run: Some(winner) } = error else { return false };
    (error.code(), error.exit_code()) == ("plan-spent", exit::STALE)
        && winner.as_str() == run
        && why.contains(run)
        && why.contains(by)
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_4_whoever_meets_the_lock_of_a_run_that_is_just_beginning_waits_until_it_says_that_it_is_one_of_the_same_plan()
 {
    let (place, .., plan) = Place::with_first().await;
    let (begins, begun) = std::sync::mpsc::channel::<()>();
    let (begins, begun) = (Mutex::new(begins), Mutex::new(begun));
    let clock = Restless::new(move |slept| {
        if slept == 0 {
            begins.lock().unwrap().send(()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    });
    let setup = Setup { store: Some(place.ledger.clone()), clock: clock.clone(), ..place.world.setup().clone() };
    let (loser, options) = (place.world.session_with("riley", &setup), place.world.options());
    let (handle, again, digest) = (Handle::current(), plan.clone(), plan.digest().unwrap());
    let lost = Arc::new(Mutex::new(None));
    let (lose, before) = (lost.clone(), place.before.clone());
    // The winner has the lock, and its first record is not written before the loser has met it.
    place.before.next("acquire", move || {
        before.next("append_if_head", move || {
            *lose.lock().unwrap() = Some(handle.spawn(async move { loser.apply(&again, digest, options).await }));
            begun.lock().unwrap().recv_timeout(Duration::from_secs(30)).expect("the loser meets the lock");
        });
    });
    let report = place.apply(&plan, |_| {}).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    let lost = lost.lock().unwrap().take().unwrap();
    let error = lost.await.unwrap().unwrap_err();
    assert!(names(&error, report.run.as_str(), "dana"), "{error:?}");
    assert!(clock.slept.load(Ordering::SeqCst) > 0, "it waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_being_applied_is_spent_and_the_loser_is_told_by_whom_and_where() {
    let (place, .., plan) = Place::with_first().await;
    let (loser, again, handle) = (place.other("riley"), plan.clone(), Handle::current());
    let lost = Arc::new(Mutex::new(None));
    let (lose, options) = (lost.clone(), place.world.options());
    let report = place
        .apply(&plan, move |progress| {
            if matches!(progress, Progress::CheckStarted { .. }) {
                let apply = loser.apply(&again, again.digest().unwrap(), options.clone());
                *lose.lock().unwrap() = Some(tokio::task::block_in_place(|| handle.block_on(apply)).unwrap_err());
            }
        })
        .await
        .unwrap();
    let error = lost.lock().unwrap().take().unwrap();
    assert!(names(&error, report.run.as_str(), "is being applied by"), "{error:?}");
    #[cfg(target_os = "linux")]
    assert!(
        names(&error, report.run.as_str(), &format!("process {} of this machine", std::process::id())),
        "{error:?}"
    );
    // Afterwards it says when it ended, and nothing of a process.
    let error = place.apply(&plan, |_| {}).await.unwrap_err();
    assert!(names(&error, report.run.as_str(), "of dana, which ended at"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_plan_s_run_is_locked_and_nothing_is_waited_for() {
    let (place, .., plan) = Place::with_first().await;
    let third = place.world.release("3.0.0").await;
    let other = place.world.plan("dev").await;
    assert_eq!(other.body.moves[0].to.id, third);
    let clock = Restless::new(|_| {});
    let setup = Setup { store: Some(place.ledger.clone()), clock: clock.clone(), ..place.world.setup().clone() };
    let (loser, handle) = (place.world.session_with("riley", &setup), Handle::current());
    let lost = Arc::new(Mutex::new(None));
    let (lose, options) = (lost.clone(), place.world.options());
    // The run is on record, and has touched nothing yet: no gate knows of it, only the lock.
    let report = place
        .apply(&plan, move |progress| {
            if matches!(progress, Progress::RunStarted { .. }) {
                let apply = loser.apply(&other, other.digest().unwrap(), options.clone());
                *lose.lock().unwrap() = Some(tokio::task::block_in_place(|| handle.block_on(apply)).unwrap_err());
            }
        })
        .await
        .unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    let error = lost.lock().unwrap().take().unwrap();
    assert_eq!((error.code(), error.exit_code()), ("locked", exit::WAITING), "{error:?}");
    assert_eq!(clock.slept.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_lock_and_never_says_for_what_is_not_waited_for_without_end() {
    let (place, first, _, plan) = Place::with_first().await;
    let resources = ["environment one/dev".to_string()];
    let ledger = place.ledger.clone();
    let lease = ledger.acquire(&resources, "0198/uuid", Duration::from_secs(600)).unwrap();
    let clock = Restless::new(|_| {});
    let setup = Setup { store: Some(ledger.clone()), clock, ..place.world.setup().clone() };
    let session = place.world.session_with("riley", &setup);
    let error = session.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("locked", exit::WAITING), "{error:?}");
    assert_eq!(place.world.current("dev"), Some(first));
    // One that gives it back without having begun anything leaves the plan to whoever waits.
    let give_back = Restless::new(move |slept| {
        if slept == 2 {
            ledger.release(&lease).unwrap();
        }
    });
    let setup = Setup { store: Some(place.ledger.clone()), clock: give_back, ..place.world.setup().clone() };
    let session = place.world.session_with("riley", &setup);
    let report = session.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    let started = place.ledger.records(0, usize::MAX).unwrap();
    let runs = started.iter().filter(|r| matches!(Event::from_parts(&r.kind, &r.body), Ok(Event::RunStarted { .. })));
    assert_eq!(runs.count(), 2);
}

/// Between the reading of what is open and that of the locks a run may end: then it is not told as one that was left.
#[tokio::test(flavor = "multi_thread")]
async fn s9_4_a_run_that_ends_between_two_readings_is_not_told_as_left_behind() {
    let (place, _, _, plan) = Place::with_first().await;
    let mut options = place.world.options();
    let stop = options.stop.clone();
    options.progress = Arc::new(move |progress| {
        if matches!(progress, Progress::RunStarted { .. }) {
            stop.cancel();
        }
    });
    let session = &place.world.session;
    let run = session.apply(&plan, plan.digest().unwrap(), options).await.unwrap().run;
    let view = session.view().unwrap();
    let open = session.unfinished(&view).unwrap();
    assert!(matches!(&open[..], [open] if open.id == run && matches!(open.sign, Sign::Interrupted { .. })), "{open:?}");
    // Somebody ends it, right before the locks are read.
    let (other, handle) = (place.other("riley"), Handle::current());
    place.before.next("leases", move || {
        handle.block_on(other.cancel(&run)).unwrap();
    });
    assert!(session.unfinished(&view).unwrap().is_empty(), "it was left behind by nobody");
    assert!(view.runs.values().any(|run| run.finished.is_none()), "though that is what was read");
}
