//! Drills (S10): a way back that is tried and what ran before brought back, what keeps one from beginning, what becomes of one
//! that does not work, and what the ledger says of it afterwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use promo_core::eligibility::verification;
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::ledger::view::Promotion;
use promo_core::plan::{Document, Goal, Move, Request, Stay, StayReason};
use promo_engine::lifts::Lift;
use promo_engine::{EngineError, Fate, PLAN_LIFETIME, Progress, RunReport, exit};
use promo_ledger::Store;
use promo_sdk::ErrorKind;
use promo_tests::faults::{Faults, Mode, Point};
use promo_tests::small;
use promo_tests::world::{Setup, Time, World};

struct Place {
    world: World,
    faults: Faults,
    time: Time,
    first: ReleaseId,
    second: ReleaseId,
}

impl Place {
    /// Release 1.0.0 was good in dev, and 2.0.0 is.
    async fn new() -> Self {
        Self::of(&small::pipeline("one", small::ONE)).await
    }

    async fn of(pipeline: &str) -> Self {
        let (time, faults) = (Time::at("2026-03-02T09:00:00Z"), Faults::default());
        let store: Arc<dyn Store> = Arc::new(time.ledger());
        let setup = Setup {
            store: Some(faults.store(store)),
            providers: faults.providers(promo_providers::builtin()),
            clock: Arc::new(time.clone()),
            ..Setup::default()
        };
        let files = [("promo.toml", pipeline), ("service.j2", "{{ artifacts.shop.tag }}\n")];
        let world = World::of_files(&files, setup);
        let (mut place, first) = (Self { world, faults, time, first: any(), second: any() }, "1.0.0");
        place.first = place.promoted(first).await;
        place.second = place.promoted("2.0.0").await;
        place
    }

    async fn promoted(&self, tag: &str) -> ReleaseId {
        let release = self.world.release(tag).await;
        let plan = self.world.plan("dev").await;
        assert_eq!(self.apply(&plan).await.outcome, Some(RunOutcome::Done));
        release
    }

    fn request(&self) -> Request {
        Request { goal: Goal::Rollback, drill: true, ..self.world.request("dev") }
    }

    async fn plan(&self) -> Document {
        self.world.session.plan(self.request(), PLAN_LIFETIME).await.unwrap()
    }

    async fn apply(&self, plan: &Document) -> RunReport {
        let said = self.world.said.clone();
        self.apply_at(plan, move |progress| said.lock().unwrap().push(progress.clone())).await
    }

    /// Applies; `at` hears everything that is said.
    async fn apply_at(&self, plan: &Document, at: impl Fn(&Progress) + Send + Sync + 'static) -> RunReport {
        let mut options = self.world.options();
        options.progress = Arc::new(move |progress| at(&progress));
        self.world.session.apply(plan, plan.digest().unwrap(), options).await.unwrap()
    }

    /// Applies, and is stopped by a person at the first such word.
    async fn stopped_at(&self, plan: &Document, at: fn(&Progress) -> bool) -> RunReport {
        let mut options = self.world.options();
        let stop = options.stop.clone();
        options.progress = Arc::new(move |progress| {
            if at(&progress) {
                stop.cancel();
            }
        });
        self.world.session.apply(plan, plan.digest().unwrap(), options).await.unwrap()
    }

    async fn drill(&self) -> RunReport {
        let plan = self.plan().await;
        self.apply(&plan).await
    }

    /// The drill as the ledger has it.
    fn known(&self) -> Promotion {
        let view = self.world.session.view().unwrap();
        view.environment(&dev()).unwrap().last_drill(&self.second).unwrap().clone()
    }

    /// What runs, as the place and the ledger have it, and since when it counts as verified.
    fn stands(&self) -> (String, ReleaseId, Option<jiff::Timestamp>) {
        let (view, current) = (self.world.session.view().unwrap(), self.world.current("dev").unwrap());
        let environment = &self.world.session.governance().pipeline.environments[&dev()];
        let since = verification(&view, &dev(), environment, &current).holds_since;
        (self.world.deployed("dev", "service"), current, since)
    }

    /// Nothing of a rollback is left: nobody quarantined anything, and nothing is paused.
    fn leaves_nothing(&self) {
        let view = self.world.session.view().unwrap();
        assert!(view.stops.is_empty() && view.quarantines.is_empty() && view.pauses.is_empty(), "{:?}", view.stops);
        assert!(view.environment(&dev()).unwrap().active.is_none());
    }

    fn kinds(&self, report: &RunReport) -> Vec<String> {
        let records = self.world.session.store().records(0, usize::MAX).unwrap();
        let ours = records.into_iter().filter(|record| record.run.as_ref() == Some(&report.run));
        ours.map(|record| record.step.map_or(record.kind.clone(), |step| format!("{} {step}", record.kind))).collect()
    }
}

fn any() -> ReleaseId {
    "r-000000000000".parse().unwrap()
}

fn dev() -> EnvironmentName {
    "dev".parse().unwrap()
}

fn only_move(plan: &Document) -> &Move {
    assert_eq!(plan.body.moves.len(), 1, "{:?}", plan.body.stays);
    &plan.body.moves[0]
}

fn only_stay(plan: &Document) -> &Stay {
    assert!(plan.body.moves.is_empty(), "{:?}", plan.body.moves);
    &plan.body.stays[0]
}

/// The codes of the gates that keep an environment out.
fn closed(stay: &Stay) -> Vec<&'static str> {
    let gates = stay.next.iter().flat_map(|next| &next.gates).filter(|gate| !gate.outcome.is_open());
    gates.map(|gate| gate.reason.code()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_a_drill_goes_back_comes_again_and_leaves_what_ran_as_verified_as_it_was() {
    let place = Place::new().await;
    let before = place.stands();
    assert_eq!((before.0.as_str(), &before.1), ("2.0.0\n", &place.second));
    place.time.pass(std::time::Duration::from_secs(3600));
    let plan = place.plan().await;
    assert_eq!(
        plan.requires,
        ["artifact-trees", "drill", "drills-allowed"],
        "an older promo would take it for a reconfiguration"
    );
    let entry = only_move(&plan);
    assert!(entry.drill && entry.movement == Movement::Reconfiguration);
    assert_eq!((entry.from.as_ref().map(|r| &r.id), &entry.to.id), (Some(&place.second), &place.second));
    let back = entry.rollback.as_ref().unwrap();
    assert_eq!(back.to.id, place.first);
    let (there, again) = (&back.steps[0], &entry.steps[0]);
    assert_eq!((there.desired, again.desired), (again.expected, there.expected), "it ends where it begins");
    assert!(!there.changes.is_empty(), "a reader sees what going back changes");
    let time = place.time.clone();
    let report = place
        .apply_at(&plan, move |progress| {
            // The way back takes seven seconds.
            if matches!(progress, Progress::CheckStarted { .. }) {
                time.pass(std::time::Duration::from_secs(7));
            }
        })
        .await;
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Done), exit::DONE));
    assert_eq!(place.stands(), before, "since the same instant, for everybody who follows");
    place.leaves_nothing();
    let known = place.known();
    let drill = known.drill.as_ref().unwrap();
    assert_eq!((&drill.back, drill.took().unwrap().as_secs()), (&place.first, 7));
    let turned = drill.turned.as_ref().unwrap();
    assert!(turned.passed && !turned.resumed && known.disproved().is_none());
    assert_eq!(
        place.kinds(&report),
        [
            "run.started",
            "promotion.started",
            "drill.started",
            "step.intent dev/rollback/deploy/default",
            "step.effect dev/rollback/deploy/default",
            "environment.deployed",
            "verdict.recorded",
            "drill.turned",
            "step.intent dev/deploy/default",
            "step.effect dev/deploy/default",
            "environment.deployed",
            "verdict.recorded",
            "promotion.finished",
            "run.finished",
        ]
    );
    // A plan right afterwards has nothing to do (S8.5), and the same drill can be done again.
    assert!(place.world.plan("dev").await.body.moves.is_empty());
    assert_eq!(place.drill().await.outcome, Some(RunOutcome::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_a_way_back_that_fails_its_check_brings_back_what_ran_and_is_told_as_failed() {
    let place = Place::new().await;
    let before = place.stands();
    let plan = place.plan().await;
    place.faults.fail_check(format!("dev/smoke/{}", place.first));
    let report = place.apply(&plan).await;
    let Fate::DrillFailed { why: Some(why) } = &report.environments[0].2 else { panic!("{report:?}") };
    assert!(why.starts_with("smoke failed"), "{why}");
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::RolledBack), exit::ROLLED_BACK));
    assert_eq!(place.stands(), before, "what ran has nothing to do with it");
    place.leaves_nothing();
    let known = place.known();
    assert!(matches!(known.finished, Some((_, PromotionOutcome::Verified))));
    let told = known.disproved().unwrap().told.unwrap();
    assert!(place.world.session.detail_seen(told).unwrap().unwrap().starts_with("smoke failed"));
    // A second resume says the same (S9.5), and what failed is no way back any more.
    let again = place.world.session.resume(&report.run, place.world.options()).await.unwrap();
    assert_eq!((again.outcome, again.exit_code()), (report.outcome, report.exit_code()));
    assert_eq!(only_stay(&place.plan().await).why, StayReason::NoRollbackTarget);
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_a_way_back_that_cannot_be_deployed_brings_back_what_ran() {
    let place = Place::new().await;
    let before = place.stands();
    let plan = place.plan().await;
    place.faults.arm(usize::MAX, Mode::Die);
    assert_eq!(place.apply(&plan).await.outcome, Some(RunOutcome::Done));
    let there = |p: &Point| p.name == "ensure before" && p.about == "dev/rollback/deploy/default";
    let nth = place.faults.passed().iter().position(there).unwrap() + 1;
    place.faults.disarm();
    let plan = place.plan().await;
    place.faults.arm(nth, Mode::Fail(ErrorKind::Failed));
    let report = place.apply(&plan).await;
    assert!(place.faults.fired().as_ref().is_some_and(there), "{:?}", place.faults.fired());
    let Fate::DrillFailed { why: Some(_) } = &report.environments[0].2 else { panic!("{report:?}") };
    assert_eq!((report.exit_code(), place.stands()), (exit::ROLLED_BACK, before));
    place.leaves_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_6_what_does_not_come_back_from_a_drill_is_held_for_a_person() {
    let place = Place::new().await;
    let plan = place.plan().await;
    place.faults.fail_check(format!("dev/smoke/{}", place.second));
    let report = place.apply(&plan).await;
    let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = &report.environments[0].2 else {
        panic!("{report:?}")
    };
    assert!(why.contains("bringing back") && why.contains("smoke failed"), "{why}");
    assert_eq!((report.exit_code(), place.stands().0.as_str()), (exit::HELD, "2.0.0\n"));
    // Nothing is tried where something is held, whoever asks.
    let stays = place.plan().await;
    assert_eq!(closed(only_stay(&stays)), ["check-failed", "held"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_5_a_drill_that_was_interrupted_is_ended_by_a_resume_on_what_ran() {
    let place = Place::new().await;
    let before = place.stands();
    let plan = place.plan().await;
    let report = place.stopped_at(&plan, |progress| matches!(progress, Progress::StepDone { .. })).await;
    assert_eq!((report.outcome, place.stands().0.as_str()), (None, "1.0.0\n"));
    // Meanwhile the environment is taken.
    let other = place.world.session.plan(place.world.request("dev"), PLAN_LIFETIME).await.unwrap();
    assert!(other.body.moves.is_empty(), "{:?}", other.body.moves);
    let report = place.world.session_as("riley").resume(&report.run, place.world.options()).await.unwrap();
    assert_eq!((report.outcome, place.stands()), (Some(RunOutcome::Done), before));
    let known = place.known();
    let turned = known.drill.unwrap().turned.unwrap();
    assert!(turned.passed && turned.resumed, "how long it took says nothing: {turned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_5_a_drill_that_is_stopped_where_it_turns_begins_nothing_more_and_comes_back_when_it_is_resumed() {
    let place = Place::new().await;
    let before = place.stands();
    let plan = place.plan().await;
    let report = place.stopped_at(&plan, |progress| matches!(progress, Progress::DrillTurned { .. })).await;
    assert_eq!((report.outcome, report.exit_code()), (None, exit::TRANSIENT), "{report:?}");
    assert_eq!(place.stands().0, "1.0.0\n", "no step was begun after the stop");
    let report = place.world.session.resume(&report.run, place.world.options()).await.unwrap();
    assert_eq!((report.outcome, place.stands()), (Some(RunOutcome::Done), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_where_no_check_can_look_at_the_older_release_it_is_told_how_to_end_the_drill() {
    let place = Place::new().await;
    place.faults.silence_check(&format!("dev/smoke/{}", place.first), Some(ErrorKind::Transient));
    let report = place.drill().await;
    let unanswered = || {
        let said = place.world.said.lock().unwrap();
        let why = said.iter().rev().find_map(|said| match said {
            Progress::CheckUnanswered { why, .. } => Some(why.clone()),
            _ => None,
        });
        why.unwrap()
    };
    assert_eq!((report.outcome, report.exit_code()), (None, exit::TRANSIENT), "{report:?}");
    let (run, first, second) = (&report.run, &place.first, &place.second);
    let (cancel, plan) = (format!("promo cancel {run}"), format!("promo plan dev --release {second}"));
    let why = unanswered();
    assert!(
        why.contains(&format!("never look at {first}, {cancel} ends the drill and holds dev, and {plan}")),
        "{why}"
    );
    // What is said leads out of it.
    place.world.session.resume(run, place.world.options()).await.unwrap();
    assert_eq!(unanswered(), why);
    place.world.session.cancel(run).await.unwrap();
    assert_eq!(place.stands().1, place.first);
    let request = Request { release: Some(place.second.clone()), ..place.world.request("dev") };
    let plan = place.world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    assert_eq!(place.apply(&plan).await.outcome, Some(RunOutcome::Done));
    assert_eq!(place.stands().1, place.second);
    // Of what is brought back the same is no way out: it is asked again.
    place.faults.silence_check(&format!("dev/smoke/{}", place.first), None);
    place.faults.silence_check(&format!("dev/smoke/{}", place.second), Some(ErrorKind::Transient));
    place.drill().await;
    assert!(unanswered().ends_with("; promo resume asks again"), "{}", unanswered());
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_1_what_was_rejected_before_the_first_step_is_not_gone_back_to_and_nothing_is_changed() {
    let place = Place::new().await;
    let before = place.stands();
    let plan = place.plan().await;
    let (other, rejected) = (place.world.session_as("riley"), place.first.clone());
    let report = place
        .apply_at(&plan, move |progress| {
            if matches!(progress, Progress::DrillStarted { .. }) {
                other.reject(&rejected, None, "it loses orders").unwrap();
            }
        })
        .await;
    let Fate::Ended { outcome: PromotionOutcome::Cancelled, why: Some(why) } = &report.environments[0].2 else {
        panic!("{report:?}")
    };
    assert!(why.contains("quarantined everywhere by riley"), "{why}");
    assert_eq!(place.stands(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_2_what_was_rejected_while_a_drill_was_away_does_not_come_in_again() {
    let place = Place::new().await;
    let plan = place.plan().await;
    let (other, rejected) = (place.world.session_as("riley"), place.second.clone());
    let report = place
        .apply_at(&plan, move |progress| {
            if matches!(progress, Progress::DrillTurned { .. }) {
                other.reject(&rejected, None, "it loses orders").unwrap();
            }
        })
        .await;
    let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = &report.environments[0].2 else {
        panic!("{report:?}")
    };
    assert!(why.contains("may not come in any more: ") && why.contains("quarantined everywhere by riley"), "{why}");
    assert_eq!((report.exit_code(), place.world.current("dev")), (exit::HELD, Some(place.first.clone())));
    assert_eq!(place.world.deployed("dev", "service"), "1.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_come_again_is_not_left_for_a_drill() {
    const TWO: &str = r#"
[environments.dev]
tier    = "development"
targets = { eu = { directory = "environments/eu" }, us = { directory = "environments/us" } }
"#;
    let two = small::pipeline("one", TWO);
    let place = Place::of(&two).await;
    // A third release runs in one of them, and promo.toml names both again.
    let write = |text: &str| std::fs::write(place.world.path("promo.toml"), text).unwrap();
    write(&two.replace(", us = { directory = \"environments/us\" }", ""));
    let alone = place.world.session_with("dana", place.world.setup());
    let third = place.world.release("3.0.0").await;
    let plan = alone.plan(place.world.request("dev"), PLAN_LIFETIME).await.unwrap();
    let report = alone.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap();
    assert_eq!((report.outcome, place.world.current("dev")), (Some(RunOutcome::Done), Some(third)));
    write(&two);
    let both = place.world.session_with("dana", place.world.setup());
    let plan = both.plan(place.request(), PLAN_LIFETIME).await.unwrap();
    let stay = only_stay(&plan);
    assert_eq!((stay.why, closed(stay)), (StayReason::Refused, vec!["other-place"]));
}

/// The pipeline of one environment with that directory behind it.
fn at(directory: &str) -> String {
    small::pipeline("one", &small::ONE.replace("environments/dev", directory))
}

/// S9: whoever has begun to bring back what ran ends there, whatever the pipeline has become.
#[tokio::test(flavor = "multi_thread")]
async fn s9_5_what_a_drill_has_begun_to_bring_back_comes_back_under_another_pipeline_as_well() {
    let place = Place::new().await;
    let before = place.stands();
    let plan = place.plan().await;
    place.faults.arm(usize::MAX, Mode::Die);
    assert_eq!(place.apply(&plan).await.outcome, Some(RunOutcome::Done));
    let there = |p: &Point| p.name == "ensure before" && p.about == "dev/deploy/default";
    let nth = place.faults.passed().iter().position(there).unwrap() + 1;
    place.faults.disarm();
    let plan = place.plan().await;
    place.faults.arm(nth, Mode::Fail(ErrorKind::Transient));
    let report = place.apply(&plan).await;
    assert!(place.faults.fired().as_ref().is_some_and(there), "{:?}", place.faults.fired());
    assert_eq!((report.outcome, place.stands().0.as_str()), (None, "1.0.0\n"), "it is on its way back");
    place.faults.disarm();
    // The environment is to stand elsewhere from now on.
    std::fs::write(place.world.path("promo.toml"), at("environments/other")).unwrap();
    let moved = place.world.session_with("dana", place.world.setup());
    let report = moved.resume(&report.run, place.world.options()).await.unwrap();
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Done), exit::DONE), "{report:?}");
    assert_eq!(place.world.deployed("dev", "service"), "2.0.0\n");
    assert_eq!(place.world.current("dev"), Some(before.1));
}

/// The same before it has begun: nothing is deployed to where the environment is no more, and a person is asked.
#[tokio::test(flavor = "multi_thread")]
async fn s0_2_what_a_drill_left_is_not_brought_back_to_where_the_pipeline_does_not_lead_any_more() {
    let place = Place::new().await;
    let plan = place.plan().await;
    // Its way back is there; its checks have not spoken.
    let report = place.stopped_at(&plan, |progress| matches!(progress, Progress::StepDone { .. })).await;
    assert_eq!((report.outcome, place.stands().0.as_str()), (None, "1.0.0\n"));
    std::fs::write(place.world.path("promo.toml"), at("environments/other")).unwrap();
    let moved = place.world.session_with("dana", place.world.setup());
    let report = moved.resume(&report.run, place.world.options()).await.unwrap();
    let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = &report.environments[0].2 else {
        panic!("{report:?}")
    };
    assert!(why.contains("may not come in any more: "), "{why}");
    assert_eq!(place.world.deployed("dev", "service"), "1.0.0\n");
}

/// S8.3: what a drill does first is what its plan says, and what the plan says is what promo wrote.
#[tokio::test(flavor = "multi_thread")]
async fn s8_3_what_is_edited_in_the_way_back_of_a_drill_is_told_as_an_edit() {
    let place = Place::new().await;
    let plan = place.plan().await;
    let refused = async |edit: &dyn Fn(&mut Move)| {
        let mut edited = plan.clone();
        edit(&mut edited.body.moves[0]);
        assert_ne!(edited, plan);
        place.world.session.apply(&edited, edited.digest().unwrap(), place.world.options()).await.unwrap_err()
    };
    fn step(entry: &mut Move) -> &mut promo_core::plan::Step {
        &mut entry.rollback.as_mut().unwrap().steps[0]
    }
    for (what, error) in [
        ("shown differences", refused(&|entry| step(entry).changes.clear()).await),
        ("what is expected", refused(&|entry| step(entry).expected = promo_core::state::State::Absent).await),
    ] {
        assert_eq!(error.code(), "plan-edited", "{what}: {error}");
    }
    assert_eq!(place.apply(&plan).await.outcome, Some(RunOutcome::Done), "as promo wrote it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_is_made_only_of_what_is_good_as_recorded_and_has_somewhere_to_go() {
    let place = Place::new().await;
    // A freeze and a window hold it up like any promotion: it is no emergency.
    place.world.session.freeze([dev()].into(), "the fair is on").unwrap();
    assert_eq!(closed(only_stay(&place.plan().await)), ["frozen"]);
    place.world.lift(&place.world.session, Lift::Freeze { environments: [dev()].into() }).unwrap();
    // What somebody changed by hand would be lost.
    let service = place.world.path("environments/dev/current/service");
    let kept = std::fs::read_to_string(&service).unwrap();
    std::fs::write(&service, "by hand\n").unwrap();
    let plan = place.plan().await;
    let stay = only_stay(&plan);
    assert_eq!((stay.why, closed(stay)), (StayReason::Refused, vec!["drifted"]));
    std::fs::write(&service, kept).unwrap();
    // What failed its check is nothing to come back to.
    place.faults.fail_check(format!("dev/smoke/{}", place.second));
    place.world.session.verify_again(&dev()).await.unwrap();
    assert_eq!(closed(only_stay(&place.plan().await)), ["check-failed"]);
    // A release that was rejected is none to go back to, and there is no other.
    place.world.session.reject(&place.first, None, "it loses orders").unwrap();
    assert_eq!(only_stay(&place.plan().await).why, StayReason::NoRollbackTarget);
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_2_a_drill_is_planned_again_before_it_begins_and_is_stale_where_something_has_moved() {
    let place = Place::new().await;
    let third = place.promoted("3.0.0").await;
    // To a release of one's choice, which the plan keeps to.
    let request = Request { release: Some(place.first.clone()), ..place.request() };
    let plan = place.world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    assert_eq!(only_move(&plan).rollback.as_ref().map(|back| &back.to.id), Some(&place.first));
    assert_eq!(only_move(&plan).to.id, third);
    let other = place.plan().await;
    assert_eq!(only_move(&other).rollback.as_ref().map(|back| &back.to.id), Some(&place.second));
    assert_eq!(place.apply(&plan).await.outcome, Some(RunOutcome::Done));
    let error = place.world.session.apply(&other, other.digest().unwrap(), place.world.options()).await.unwrap_err();
    assert!(matches!(error, EngineError::Stale { .. }), "{error}");
    // What is live is an input, although the step that finds it is not the last one.
    let plan = place.plan().await;
    std::fs::write(place.world.path("environments/dev/current/service"), "by hand\n").unwrap();
    let error = place.world.session.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap_err();
    assert!(!matches!(error, EngineError::Unexpected { .. }), "{error}");
    assert_eq!(place.world.current("dev"), Some(third));
}
