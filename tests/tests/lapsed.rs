//! What takes a plan's right away after it was judged and before the record that rests on it: a newer request, its own age,
//! a rejection, evidence that grows too old, and another plan for the same environment (S1.3, S8.2, S8.4, S6.6). Put there
//! on purpose, at every moment at which it can come.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promo_core::approval::Decision;
use promo_core::evidence::Report;
use promo_core::gate::Gate;
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::ledger::{Draft, Event};
use promo_core::plan::{Document, Request};
use promo_core::requirement::{Signed, Signer};
use promo_engine::evidence::{Documents, NewEvidence, Unread};
use promo_engine::{EngineError, Fate, PLAN_LIFETIME, Progress, RunReport, Session, exit};
use promo_ledger::Expect;
use promo_providers::reports;
use promo_sdk::Digest;
use promo_tests::interleaved::Place;
use promo_tests::small;
use promo_tests::world::Time;
use tokio::runtime::Handle;

/// `dev`, then `qa`.
const TWO: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
[environments.qa]
tier   = "testing"
after  = ["dev"]
target = { directory = "environments/qa" }
"#;

const APPROVED: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
[[environments.dev.approval]]
count = 1
from  = ["release-manager"]
"#;

/// The moments between the last look of the precheck and the run's first record.
const BEFORE_THE_RUN: [&str; 2] = ["acquire", "append_if_head"];

fn name(text: &str) -> EnvironmentName {
    text.parse().unwrap()
}

/// Something asynchronous in the middle of a call of the ledger.
fn within<T>(handle: &Handle, work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| handle.block_on(work))
}

fn request(session: &Session, handle: &Handle, plan: &Document) {
    within(handle, session.request(plan, plan.digest().unwrap(), None)).unwrap();
}

fn assert_spent(error: &EngineError, word: &str) {
    let EngineError::Spent { why, run: None } = error else { panic!("{error:?}") };
    assert_eq!((error.code(), error.exit_code()), ("plan-spent", exit::STALE));
    assert!(why.contains(word), "{why}");
}

/// Why an environment of a run was not started; the run ended as one of which nothing more may come.
fn not_started<'a>(report: &'a RunReport, environment: &str) -> &'a str {
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Cancelled), exit::STALE), "{report:?}");
    let fate = report.environments.iter().find(|(n, ..)| *n == name(environment)).map(|(.., fate)| fate);
    let Some(Fate::NotStarted { why, .. }) = fate else { panic!("{report:?}") };
    why
}

/// The first release in dev, a plan for the second one in both environments.
async fn chain(time: &Time) -> (Place, ReleaseId, ReleaseId, Document) {
    let place = Place::of(&small::pipeline("two", TWO), Arc::new(time.clone()));
    let (place, first, second, _) = place.first().await;
    let everywhere = Request { environments: [].into(), until: Some(name("qa")), ..place.world.request("dev") };
    let plan = place.world.session.plan(everywhere, PLAN_LIFETIME).await.unwrap();
    assert_eq!(plan.body.moves.len(), 2);
    (place, first, second, plan)
}

/// What may begin only by day.
const BY_DAY: &str = r#"
[windows.day]
effect   = "allow"
timezone = "UTC"
weekly   = { start = "08:00", end = "17:00" }
"#;

/// A plan for dev and then qa, made by day: the second release in a pipeline whose dev has the first.
async fn by_day(time: &Time) -> (Place, ReleaseId, ReleaseId, Document) {
    let environments = TWO.replace("tier ", "windows = [\"day\"]\ntier ") + BY_DAY;
    let place = Place::of(&small::pipeline("two", &environments), Arc::new(time.clone()));
    let (place, first, second, _) = place.first().await;
    let everywhere = Request { environments: [].into(), until: Some(name("qa")), ..place.world.request("dev") };
    let plan = place.world.session.plan(everywhere, PLAN_LIFETIME).await.unwrap();
    (place, first, second, plan)
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_5_a_plan_made_inside_a_window_has_no_right_outside_it() {
    let time = time();
    let (place, first, second, plan) = by_day(&time).await;
    time.pass(Duration::from_hours(8));
    let error = place.apply(&plan, |_| {}).await.unwrap_err();
    let EngineError::Waiting { gates, .. } = &error else { panic!("{error:?}") };
    let shut = gates.iter().filter(|g| !g.outcome.is_open());
    assert_eq!(shut.map(|g| g.reason.code()).collect::<Vec<_>>(), ["outside-windows"]);
    assert_eq!(place.kinds().iter().filter(|kind| *kind == "run.started").count(), 1, "the first release's alone");
    assert_eq!(place.world.current("dev"), Some(first));
    // The same plan, once it is day again.
    time.pass(Duration::from_mins(15 * 60 + 30));
    place.apply(&plan, |_| {}).await.unwrap();
    assert_eq!(place.world.current("qa"), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_5_a_window_that_closes_between_two_environments_of_a_run_holds_up_the_second() {
    let time = time();
    let (place, _, second, plan) = by_day(&time).await;
    let evening = time.clone();
    let report = place.apply(&plan, move |progress| {
        if matches!(progress, Progress::PromotionFinished { environment, .. } if *environment == name("dev")) {
            evening.pass(Duration::from_hours(8));
        }
    });
    let report = report.await.unwrap();
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Waiting), exit::WAITING), "{report:?}");
    assert!(matches!(&report.environments[0].2, Fate::Ended { outcome: PromotionOutcome::Verified, .. }));
    let Fate::NotStarted { gates, .. } = &report.environments[1].2 else { panic!("{report:?}") };
    assert_eq!(gates.iter().map(|g| g.reason.code()).collect::<Vec<_>>(), ["outside-windows"]);
    assert_eq!((place.world.current("dev"), place.world.current("qa")), (Some(second), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_5_a_window_that_closes_while_an_environment_is_at_work_lets_it_end_with_its_checks() {
    let time = time();
    let (place, _, second, plan) = by_day(&time).await;
    let evening = time.clone();
    let report = place.apply(&plan, move |progress| {
        if matches!(progress, Progress::StepStarted { environment, .. } if *environment == name("dev")) {
            evening.pass(Duration::from_hours(8));
        }
    });
    let report = report.await.unwrap();
    assert!(matches!(&report.environments[0].2, Fate::Ended { outcome: PromotionOutcome::Verified, .. }), "{report:?}");
    assert!(matches!(&report.environments[1].2, Fate::NotStarted { .. }), "{report:?}");
    assert_eq!((place.world.current("dev"), place.world.current("qa")), (Some(second), None));
}

/// Reads documents as commands do.
struct Formats;

impl Documents for Formats {
    fn read(&self, bytes: &[u8], _numbers: Option<&[&str]>) -> Result<Report, Unread> {
        reports::read(bytes).map_err(|error| Unread { kind: None, broken: true, why: error.to_string() })
    }

    fn signed(&self, _bytes: &[u8], _signers: &BTreeSet<Signer>) -> Signed {
        Signed::default()
    }

    fn stated(&self, bytes: &[u8]) -> Digest {
        Digest::of(bytes)
    }
}

/// A plan for dev and then qa, which takes no scan that is older than two hours, and whoever has brought one of an hour ago.
async fn scanned(time: &Time) -> (Place, Session, ReleaseId, Document) {
    let gate = "[gates]\nscan = { scan = { deny = [\"critical\"], max_age = \"2h\", scope = \"any\" } }\n";
    let environments = TWO.replace("after ", "gates  = [\"scan\"]\nafter ") + gate;
    let (place, _, second, _) = Place::of(&small::pipeline("two", &environments), Arc::new(time.clone())).first().await;
    let session = place.other("dana").with_documents(Arc::new(Formats));
    scan(&session, &second);
    time.pass(Duration::from_hours(1));
    let everywhere = Request { environments: [].into(), until: Some(name("qa")), ..place.world.request("dev") };
    let plan = session.plan(everywhere, PLAN_LIFETIME).await.unwrap();
    assert_eq!(plan.body.moves.len(), 2);
    (place, session, second, plan)
}

/// Brings a scan of now.
fn scan(session: &Session, release: &ReleaseId) {
    let (view, made) = (session.view().unwrap(), session.now().unwrap());
    let digest = view.release(release).unwrap().release.content.components.values().next().unwrap();
    let text = format!(
        r#"{{"SchemaVersion":2,"CreatedAt":"{made}","ArtifactName":"shop","ArtifactType":"container_image","Metadata":{{"RepoDigests":["shop@{digest}"]}},
            "Results":[{{"Target":"shop","Class":"os-pkgs","Type":"debian","Vulnerabilities":[{{"VulnerabilityID":"CVE-2026-1","PkgName":"zlib","InstalledVersion":"1","Severity":"LOW"}}]}}]}}"#
    );
    let new =
        NewEvidence { bytes: text.into_bytes(), name: None, subjects: [*digest].into(), numbers: false, again: false };
    session.add_evidence(new).unwrap();
}

fn shut(gates: &[Gate]) -> Vec<&'static str> {
    gates.iter().filter(|gate| !gate.outcome.is_open()).map(|gate| gate.reason.code()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_3_evidence_that_grows_too_old_in_a_run_keeps_out_what_has_not_begun_and_takes_nothing_back() {
    let time = time();
    let (place, session, second, plan) = scanned(&time).await;
    let (later, mut options) = (time.clone(), place.world.options());
    options.progress = Arc::new(move |progress| {
        if matches!(&progress, Progress::PromotionFinished { environment, .. } if *environment == name("dev")) {
            later.pass(Duration::from_hours(2));
        }
    });
    let report = session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Waiting), exit::WAITING), "{report:?}");
    assert!(matches!(&report.environments[0].2, Fate::Ended { outcome: PromotionOutcome::Verified, .. }));
    let Fate::NotStarted { gates, .. } = &report.environments[1].2 else { panic!("{report:?}") };
    assert_eq!(shut(gates), ["evidence-expired"]);
    assert_eq!((place.world.current("dev"), place.world.current("qa")), (Some(second.clone()), None));
    // A scan of now leads on, with a plan of its own.
    scan(&session, &second);
    let plan = session.plan(place.world.request("qa"), PLAN_LIFETIME).await.unwrap();
    session.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap();
    assert_eq!(place.world.current("qa"), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_3_evidence_that_grows_too_old_while_an_environment_is_at_work_lets_it_end() {
    let time = time();
    let (place, session, second, plan) = scanned(&time).await;
    let (later, mut options) = (time.clone(), place.world.options());
    options.progress = Arc::new(move |progress| {
        if matches!(&progress, Progress::StepStarted { environment, .. } if *environment == name("qa")) {
            later.pass(Duration::from_hours(2));
        }
    });
    let report = session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    assert_eq!(place.world.current("qa"), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_3_evidence_that_grows_too_old_between_the_plan_and_its_apply_is_told_and_nothing_begins() {
    let time = time();
    let (place, session, second, _) = scanned(&time).await;
    let done = session.plan(place.world.request("dev"), PLAN_LIFETIME).await.unwrap();
    session.apply(&done, done.digest().unwrap(), place.world.options()).await.unwrap();
    let plan = session.plan(place.world.request("qa"), PLAN_LIFETIME).await.unwrap();
    let before = place.kinds();
    time.pass(Duration::from_hours(2));
    let error = session.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap_err();
    let EngineError::Denied { gates, .. } = &error else { panic!("{error:?}") };
    assert_eq!((shut(gates), error.exit_code()), (vec!["evidence-expired"], exit::DENIED));
    assert_eq!((place.kinds(), place.world.current("qa")), (before, None));
    // The same plan, once there is a scan of now: evidence that is as good makes no plan stale.
    scan(&session, &second);
    session.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap();
    assert_eq!(place.world.current("qa"), Some(second));
}

fn time() -> Time {
    Time::at("2026-03-02T09:00:00Z")
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_4_a_newer_request_just_before_the_first_record_of_a_run_takes_the_plan_s_place() {
    for (moment, requested) in BEFORE_THE_RUN.into_iter().flat_map(|m| [(m, false), (m, true)]) {
        let (place, first, _, plan) = Place::with_first().await;
        place.world.release("3.0.0").await;
        let newer = place.world.plan("dev").await;
        let (other, handle) = (place.other("riley"), Handle::current());
        if requested {
            request(&other, &handle, &plan);
        }
        place.before.next(moment, move || request(&other, &handle, &newer));
        assert_spent(&place.apply(&plan, |_| {}).await.unwrap_err(), "was superseded by the request for ");
        let kinds = place.kinds();
        assert_eq!(kinds.iter().filter(|kind| *kind == "run.started").count(), 1, "the first release's alone");
        assert_eq!((place.world.current("dev"), place.ledger.leases().unwrap()), (Some(first), Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_4_a_plan_whose_time_is_up_while_it_waits_for_the_lock_begins_no_run() {
    for requested in [false, true] {
        let time = time();
        let place = Place::of(&small::pipeline("one", small::ONE), Arc::new(time.clone()));
        let (place, first, _, plan) = place.first().await;
        if requested {
            request(&place.other("riley"), &Handle::current(), &plan);
        }
        let lives = Duration::from_hours(if requested { 7 * 24 } else { 24 });
        place.before.next("acquire", move || time.pass(lives));
        assert_spent(&place.apply(&plan, |_| {}).await.unwrap_err(), "expired at ");
        assert_eq!(place.world.current("dev"), Some(first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s6_6_a_rejection_just_before_the_first_record_of_a_run_leaves_the_plan_unused() {
    for moment in BEFORE_THE_RUN {
        let place = Place::of(&small::pipeline("one", APPROVED), Arc::new(time()));
        place.world.release("1.0.0").await;
        let plan = place.world.plan("dev").await;
        let (other, digest) = (place.other("riley"), plan.digest().unwrap());
        request(&other, &Handle::current(), &plan);
        other.record_approval(&plan, &digest, &place.world.sign(&plan, Decision::Approve), &[], None).unwrap();
        let (no, rejected) = (place.world.sign(&plan, Decision::Reject), plan.clone());
        place.before.next(moment, move || {
            other.record_approval(&rejected, &digest, &no, &[], None).unwrap();
        });
        let error = place.apply(&plan, |_| {}).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("denied", exit::DENIED), "{error:?}");
        assert!(!place.kinds().iter().any(|kind| kind == "run.started"), "{moment}");
        assert_eq!(place.world.current("dev"), None);
    }
}

/// One definition of what takes whose place, for whoever reads and whoever applies: a plan stands where it was first asked
/// for (S6.7).
#[tokio::test(flavor = "multi_thread")]
async fn s6_7_a_plan_that_is_asked_for_again_behind_a_newer_one_takes_no_place_back() {
    let (place, _, _, older) = Place::with_first().await;
    place.world.release("3.0.0").await;
    let newer = place.world.plan("dev").await;
    let (first, second) = (older.digest().unwrap(), newer.digest().unwrap());
    let (other, handle, session) = (place.other("riley"), Handle::current(), &place.world.session);
    request(&other, &handle, &older);
    // Between the look and the record, the newer plan is asked for.
    let (asked, somebody) = (newer.clone(), other.clone());
    place.before.next("append_if_head", move || request(&somebody, &handle, &asked));
    assert_spent(&session.request(&older, first, None).await.map(|_| ()).unwrap_err(), "was superseded by");
    // Somebody who does not ask the engine writes it all the same.
    let environments = [name("dev")].into();
    let expires = session.now().unwrap() + Duration::from_hours(1);
    let event = Event::PlanRequested { environments, expires, initiator: "dana".into(), by: None, signed: None };
    let draft = Draft { plan: Some(first), ..session.draft(event) };
    session.append(&Expect::default(), &[draft]).unwrap();
    let view = session.view().unwrap();
    let taken = |plan| view.superseding(plan, 0, &view.requests[plan].environments).copied();
    assert_eq!((taken(&first), taken(&second)), (Some(second), None));
    let pending: Vec<_> = session.pending(&view).unwrap().iter().map(|pending| pending.plan).collect();
    assert_eq!(pending, [second]);
    assert_spent(
        &place.apply(&older, |_| {}).await.unwrap_err(),
        &format!("was superseded by the request for {second}"),
    );
    assert_eq!(place.apply(&newer, |_| {}).await.unwrap().outcome, Some(RunOutcome::Done));
}

/// What is done between the end of dev's promotion and the first record of qa's.
async fn between(place: &Place, plan: &Document, act: impl FnOnce() + Send + 'static) -> RunReport {
    let (before, act) = (place.before.clone(), Mutex::new(Some(act)));
    let report = place.apply(plan, move |progress| {
        let ended = matches!(progress, Progress::PromotionFinished { environment, .. } if *environment == name("dev"));
        if let Some(act) = ended.then(|| act.lock().unwrap().take()).flatten() {
            before.next("append_if_head", act);
        }
    });
    report.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_4_a_newer_request_just_before_an_environment_begins_takes_its_place_there() {
    let (place, _, second, plan) = chain(&time()).await;
    // The first release, which dev has verified, for qa alone.
    let newer = place.world.plan("qa").await;
    let (other, handle) = (place.other("riley"), Handle::current());
    let report = between(&place, &plan, move || request(&other, &handle, &newer)).await;
    let why = not_started(&report, "qa");
    assert!(why.contains("was superseded by the request for "), "{why}");
    assert!(matches!(&report.environments[0].2, Fate::Ended { outcome: PromotionOutcome::Verified, .. }));
    assert_eq!((place.world.current("dev"), place.world.current("qa")), (Some(second), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_8_a_newer_request_for_what_a_run_has_done_already_holds_up_nothing_of_it() {
    let (place, _, second, plan) = chain(&time()).await;
    place.world.release("3.0.0").await;
    let (other, handle, dev) = (place.other("riley"), Handle::current(), place.world.request("dev"));
    let report = between(&place, &plan, move || {
        let newer = within(&handle, other.plan(dev, PLAN_LIFETIME)).unwrap();
        request(&other, &handle, &newer);
    });
    assert_eq!(report.await.outcome, Some(RunOutcome::Done));
    assert_eq!(place.world.current("qa"), Some(second));
    assert!(place.kinds().iter().any(|kind| kind == "plan.requested"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_4_a_plan_whose_time_is_up_begins_no_further_environment_not_even_when_it_is_resumed() {
    for resumed in [false, true] {
        let time = time();
        let (place, _, second, plan) = chain(&time).await;
        let report = if resumed {
            let (mut options, stop) = (place.world.options(), place.world.options().stop);
            options.stop = stop.clone();
            options.progress = Arc::new(move |said| {
                if matches!(said, Progress::CheckStarted { .. }) {
                    stop.cancel();
                }
            });
            let stopped = place.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
            assert_eq!(stopped.outcome, None, "{stopped:?}");
            time.pass(Duration::from_hours(24));
            place.other("riley").resume(&stopped.run, place.world.options()).await.unwrap()
        } else {
            let passes = time.clone();
            let (before, done) = (place.before.clone(), Mutex::new(false));
            let report = place.apply(&plan, move |progress| {
                let dev = |e: &EnvironmentName| *e == name("dev");
                if matches!(progress, Progress::PromotionFinished { environment, .. } if dev(environment)) {
                    let mut done = done.lock().unwrap();
                    let passes = passes.clone();
                    // While it looks whether qa may begin.
                    if !std::mem::replace(&mut *done, true) {
                        before.next("now", move || passes.pass(Duration::from_hours(24)));
                    }
                }
            });
            report.await.unwrap()
        };
        let why = not_started(&report, "qa");
        assert!(why.contains("expired at "), "{why}");
        assert_eq!((place.world.current("dev"), place.world.current("qa")), (Some(second), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_2_what_another_run_has_moved_while_a_run_lay_interrupted_is_stale_and_names_that_run() {
    let (place, first, _, plan) = chain(&time()).await;
    let (mut options, stop) = (place.world.options(), place.world.options().stop);
    options.stop = stop.clone();
    options.progress = Arc::new(move |said| {
        if matches!(said, Progress::CheckStarted { .. }) {
            stop.cancel();
        }
    });
    let other = place.world.plan("qa").await;
    let stopped = place.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(stopped.outcome, None, "{stopped:?}");
    let won = place.apply(&other, |_| {}).await.unwrap();
    let report = place.other("riley").resume(&stopped.run, place.world.options()).await.unwrap();
    let why = not_started(&report, "qa");
    assert!(why.contains("what runs in qa") && why.contains(won.run.as_str()), "{why}");
    assert_eq!(place.world.current("qa"), Some(first));
}

/// Of two plans for one environment one wins. Whoever loses is told so by what the ledger says of the winner: by its lock, as
/// long as the winner has moved nothing and may still leave the plan as it is; after that the plan is stale.
fn assert_lost(error: &EngineError, winner: &RunReport) {
    match (error, error.exit_code()) {
        (EngineError::Stale { by: Some(by), .. }, exit::STALE) => assert!(by.contains(winner.run.as_str()), "{by}"),
        (EngineError::Lease(lock), exit::WAITING) => {
            assert!(lock.to_string().contains(winner.run.as_str()), "{lock}");
        }
        _ => panic!("{}: {error:?}", error.code()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_2_of_two_plans_for_one_environment_the_loser_is_stale_or_locked_and_names_the_winner_whenever_it_comes() {
    let (mut lost, mut won) = (0, 0);
    // Every third moment: there are some hundred, and each takes a world.
    for calls in (0..).step_by(3) {
        let (place, .., mine) = Place::with_first().await;
        place.world.release("3.0.0").await;
        let theirs = place.world.plan("dev").await;
        let (other, handle, options) = (place.other("riley"), Handle::current(), place.world.options());
        let came = Arc::new(Mutex::new(None));
        let comes = came.clone();
        place.before.after(calls, move || {
            let result = within(&handle, other.apply(&theirs, theirs.digest().unwrap(), options));
            *comes.lock().unwrap() = Some(result);
        });
        let result = place.apply(&mine, |_| {}).await;
        let Some(came) = came.lock().unwrap().take() else { break };
        match (result, came) {
            (Err(error), Ok(winner)) => {
                assert_lost(&error, &winner);
                lost += 1;
            }
            (Ok(winner), Err(error)) => {
                assert_lost(&error, &winner);
                won += 1;
            }
            both => panic!("after {calls} calls: {both:?}"),
        }
    }
    assert!(lost > 5 && won > 5, "{lost} {won}");
}
