//! The targets of an environment in waves (R10, S5.5): their order, how many are under way at once, what a wave that fails
//! keeps from the rest, and what a run that stops between two waves waits for when it goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::eligibility::{CheckStatus, verification};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::model::OnClose;
use promo_core::plan::{Document, Goal};
use promo_core::state::State;
use promo_engine::lifts::Lift;
use promo_engine::{Fate, PLAN_LIFETIME, Progress, RunReport, Session, exit};
use promo_sdk::{
    Context, Description, EnsureAnswer, EnsureRequest, ErrorKind, ObserveRequest, Preview, Provider, ProviderError,
};
use promo_tests::world::{Setup, Time, World};
use tokio::sync::watch;

/// How long a deployment waits for those beside it; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

const PIPELINE: &str = r#"
format = 1
[pipeline]
name = "worldwide"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[checks.smoke]
command = { run = ["smoke.sh"], files = ["smoke.sh"] }
[environments.dev]
tier    = "development"
targets = { eu = { directory = "live/eu" }, us = { directory = "live/us" }, asia = { directory = "live/asia" } }
verify  = ["smoke"]
windows = ["hours"]
WAVES
[environments.dev.deploy.directory]
templates = ["service.j2"]
[windows.hours]
effect   = "allow"
timezone = "UTC"
weekly   = { start = "09:00", end = "16:00" }
"#;

const SMOKE: &str =
    "#!/bin/sh\necho >> \"$PROMO_TARGET_DIRECTORY.looked\"\ntest ! -e \"$PROMO_TARGET_DIRECTORY.broken\"\n";

const POLICY: &str = r#"
format = 1
[policy]
name    = "house"
version = 1
[identities.riley]
roles = ["release-manager"]
keys  = ["KEY"]
[[claims]]
directory = "live"
tier      = "development"
"#;

/// The provider of directories, which tells what is under way.
struct Watched {
    inner: Arc<dyn Provider>,
    now: watch::Sender<usize>,
    /// The targets in the order in which they began, and how many were under way then.
    begun: Mutex<Vec<(String, usize)>>,
    /// How many a deployment of any of these waits for.
    together: Mutex<Vec<(&'static str, usize)>>,
    /// Where nothing can be deployed.
    refuses: Mutex<Option<&'static str>>,
}

#[async_trait]
impl Provider for Watched {
    fn describe(&self) -> Description {
        self.inner.describe()
    }
    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        self.inner.observe(cx, request).await
    }
    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        self.inner.preview(cx, request).await
    }
    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        let name = request.inputs.target.address().rsplit('/').next().unwrap().to_owned();
        self.now.send_modify(|now| *now += 1);
        self.begun.lock().unwrap().push((name.clone(), *self.now.borrow()));
        let together = self.together.lock().unwrap().iter().find(|(target, _)| *target == name).map(|(_, n)| *n);
        if let Some(wanted) = together {
            let mut now = self.now.subscribe();
            let waits = tokio::time::timeout(PATIENCE, now.wait_for(|now| *now >= wanted)).await;
            waits.expect("the others begin in time").unwrap();
            tokio::task::yield_now().await;
        }
        let answer = match *self.refuses.lock().unwrap() {
            Some(refused) if refused == name => Err(ProviderError::new(ErrorKind::Denied, "no room there")),
            _ => Ok(()),
        };
        let answer = match answer {
            Ok(()) => self.inner.ensure(cx, request).await,
            Err(error) => Err(error),
        };
        self.now.send_modify(|now| *now -= 1);
        answer
    }
}

struct Place {
    world: World,
    time: Time,
    watched: Arc<Watched>,
}

impl Place {
    /// At noon, with release 1.0.0 everywhere.
    async fn new(waves: &str) -> Self {
        let time = Time::at("2026-11-18T12:00:00Z");
        let mut watched = None;
        let providers = promo_providers::builtin().into_iter().map(|inner| -> Arc<dyn Provider> {
            if inner.describe().name != "directory" {
                return inner;
            }
            let now = watch::Sender::new(0);
            let (begun, together, refuses) = (Mutex::default(), Mutex::default(), Mutex::default());
            let provider = Arc::new(Watched { inner, now, begun, together, refuses });
            watched = Some(provider.clone());
            provider
        });
        let setup = Setup { providers: providers.collect(), ..time.setup() };
        let pipeline = PIPELINE.replace("WAVES", waves);
        let files = [("promo.toml", &*pipeline), ("service.j2", "{{ artifacts.shop.tag }}\n"), ("smoke.sh", SMOKE)];
        let place = Self { world: World::of_files(&files, setup), time, watched: watched.unwrap() };
        place.world.release("1.0.0").await;
        let (mut first, waits) = place.until_the_pause(None).await;
        if let Some(seconds) = waits {
            place.time.pass(Duration::from_secs(seconds));
            first = place.until_the_pause(Some(&first)).await.0;
        }
        assert_eq!(first.outcome, Some(RunOutcome::Done));
        place.time.until("2026-11-19T12:00:00Z".parse().unwrap());
        place.watched.begun.lock().unwrap().clear();
        for target in ["eu", "us", "asia"] {
            let _ = std::fs::remove_file(place.world.path(&format!("live/{target}.looked")));
        }
        place
    }

    /// The same, and release 2.0.0 is there.
    async fn ready(waves: &str) -> Self {
        let place = Self::new(waves).await;
        place.world.release("2.0.0").await;
        place
    }

    async fn plan(&self) -> Document {
        self.world.plan("dev").await
    }

    async fn apply(&self) -> RunReport {
        self.apply_at(|_| {}).await
    }

    /// Applies, and does something as it is told.
    async fn apply_at(&self, at: impl Fn(&Progress) + Send + Sync + 'static) -> RunReport {
        let plan = self.plan().await;
        let mut options = self.world.options();
        let kept = options.progress.clone();
        options.progress = Arc::new(move |progress| {
            at(&progress);
            kept(progress);
        });
        self.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap()
    }

    /// Applies or resumes, and stops in the first pause. Gives the report and how many seconds it would have waited.
    async fn until_the_pause(&self, run: Option<&RunReport>) -> (RunReport, Option<u64>) {
        self.until_the_pause_of(&self.world.session, run).await
    }

    async fn until_the_pause_of(&self, session: &Session, run: Option<&RunReport>) -> (RunReport, Option<u64>) {
        let options = self.world.options();
        let (stop, waits) = (options.stop.clone(), Arc::new(Mutex::new(None)));
        let told = waits.clone();
        let options = promo_engine::ApplyOptions {
            progress: Arc::new(move |progress| {
                if let Progress::Pausing { seconds, wave: 2, .. } = progress {
                    *told.lock().unwrap() = Some(seconds);
                    stop.cancel();
                }
            }),
            ..options
        };
        let report = match run {
            Some(report) => session.resume(&report.run, options).await.unwrap(),
            None => {
                let plan = self.plan().await;
                session.apply(&plan, plan.digest().unwrap(), options).await.unwrap()
            }
        };
        let waits = *waits.lock().unwrap();
        (report, waits)
    }

    /// What the targets hold, in the order of their names.
    fn live(&self) -> [String; 3] {
        ["asia", "eu", "us"].map(|target| {
            std::fs::read_to_string(self.world.path(&format!("live/{target}/current/service"))).unwrap().trim().into()
        })
    }

    fn looked(&self) -> [usize; 3] {
        ["asia", "eu", "us"].map(|target| {
            std::fs::read_to_string(self.world.path(&format!("live/{target}.looked"))).map_or(0, |text| text.len())
        })
    }

    fn breaks(&self, target: &str) {
        std::fs::write(self.world.path(&format!("live/{target}.broken")), "").unwrap();
    }

    /// The kinds of the records of a run, steps by their ids.
    fn records(&self, report: &RunReport) -> Vec<String> {
        let records = self.world.session.store().records(0, usize::MAX).unwrap();
        let ours = records.iter().filter(|record| record.run.as_ref() == Some(&report.run));
        ours.map(|record| match &record.step {
            Some(step) => format!("{} {step}", record.kind),
            None => record.kind.clone(),
        })
        .collect()
    }

    fn touched(&self, report: &RunReport) -> Vec<String> {
        let records = self.records(report).into_iter();
        records.filter_map(|record| record.strip_prefix("step.intent dev/").map(str::to_owned)).collect()
    }

    fn begun(&self) -> Vec<(String, usize)> {
        self.watched.begun.lock().unwrap().clone()
    }
}

fn why(report: &RunReport) -> String {
    match &report.environments[0].2 {
        Fate::Ended { why: Some(why), .. } | Fate::Closed { why, .. } => why.clone(),
        other => panic!("{other:?}"),
    }
}

const CANARY: &str = "waves = [{ targets = [\"us\"] }, { targets = [\"eu\", \"asia\"], at_once = 2 }]";

#[tokio::test(flavor = "multi_thread")]
async fn r10_waves_are_deployed_in_their_order_and_so_many_at_once_as_they_say() {
    let place = Place::ready(CANARY).await;
    *place.watched.together.lock().unwrap() = vec![("eu", 2), ("asia", 2)];
    let report = place.apply().await;
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    let begun = place.begun();
    assert_eq!(begun[0], ("us".into(), 1), "the first wave, by itself: {begun:?}");
    assert_eq!(begun[1..].iter().map(|(_, now)| *now).collect::<Vec<_>>(), [1, 2], "and both of the second at once");
    assert_eq!(place.live(), ["2.0.0", "2.0.0", "2.0.0"]);
    // The canary was looked at before the rest, and all of them in the end.
    assert_eq!(place.looked(), [1, 1, 2]);
    let records = place.records(&report);
    let at = |kind: &str| records.iter().position(|record| record.starts_with(kind)).unwrap();
    assert!(at("step.effect dev/deploy/us") < at("wave.finished"), "{records:?}");
    assert!(
        at("wave.finished") < at("step.intent dev/deploy/eu").min(at("step.intent dev/deploy/asia")),
        "{records:?}"
    );
    let count = |kind: &str| records.iter().filter(|record| *record == kind).count();
    assert_eq!((count("wave.finished"), count("verdict.recorded")), (1, 1), "a part of the targets is no verdict");
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_one_after_the_other_is_what_a_wave_does_that_says_nothing() {
    let place = Place::ready("waves = [{ targets = [\"us\", \"eu\", \"asia\"] }]").await;
    let plan = place.plan().await;
    let targets: Vec<_> = plan.body.moves[0].steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(targets, ["dev/deploy/us", "dev/deploy/eu", "dev/deploy/asia"]);
    assert_eq!(place.apply().await.outcome, Some(RunOutcome::Done));
    let one = |name: &str| (name.to_owned(), 1);
    assert_eq!(place.begun(), [one("us"), one("eu"), one("asia")]);
    assert_eq!(place.looked(), [1, 1, 1], "after the last wave all are looked at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_a_bad_canary_does_not_reach_the_rest_and_goes_back() {
    let place = Place::ready(CANARY).await;
    place.breaks("us");
    let broken = place.world.path("live/us.broken");
    // It is what is deployed that is bad there.
    let report = place
        .apply_at(move |progress| {
            if matches!(progress, Progress::RollingBack { .. }) {
                std::fs::remove_file(&broken).unwrap();
            }
        })
        .await;
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::RolledBack), exit::ROLLED_BACK), "{report:?}");
    assert!(why(&report).starts_with("smoke failed"), "{report:?}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "1.0.0"]);
    let touched = place.touched(&report);
    assert_eq!(touched[0], "deploy/us", "{touched:?}");
    assert!(!touched.iter().any(|step| step == "deploy/eu" || step == "deploy/asia"), "{touched:?}");
    let changed: Vec<_> = place.begun().into_iter().map(|(name, _)| name).collect();
    assert_eq!(changed, ["us", "us"], "there and back; what was not touched is left as it is");
    let name: EnvironmentName = "dev".parse().unwrap();
    let view = place.world.session.view().unwrap();
    assert_eq!(view.current(&name).unwrap().targets.len(), 3, "and recorded so");
    assert_eq!(place.plan().await.body.stays.len(), 1, "nothing drifted");
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_when_a_target_fails_those_under_way_come_to_their_end_and_all_that_were_touched_go_back() {
    let place = Place::ready("waves = [{ targets = [\"us\"] }, { targets = [\"eu\", \"asia\"], at_once = 2 }]").await;
    *place.watched.together.lock().unwrap() = vec![("eu", 2), ("asia", 2)];
    *place.watched.refuses.lock().unwrap() = Some("eu");
    let watched = place.watched.clone();
    let report = place
        .apply_at(move |progress| {
            if matches!(progress, Progress::RollingBack { .. }) {
                *watched.refuses.lock().unwrap() = None;
                watched.together.lock().unwrap().clear();
            }
        })
        .await;
    assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "{report:?}");
    assert!(why(&report).contains("no room there"), "{report:?}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "1.0.0"]);
    let done = place.records(&report);
    assert!(done.iter().any(|record| record == "step.effect dev/deploy/asia"), "it came to its end: {done:?}");
    assert!(done.iter().any(|record| record == "step.effect dev/rollback/deploy/asia"), "{done:?}");
    assert_eq!(done.iter().filter(|record| *record == "wave.finished").count(), 1, "{done:?}");
}

const PAUSED: &str = "waves = [{ targets = [\"us\"], pause = \"1h\" }, { targets = [\"eu\", \"asia\"] }]";

#[tokio::test(flavor = "multi_thread")]
async fn r10_a_pause_is_counted_from_the_record_and_a_resume_waits_for_what_is_left_of_it() {
    let place = Place::ready(PAUSED).await;
    let (report, waits) = place.until_the_pause(None).await;
    assert_eq!((report.outcome, report.exit_code(), waits), (None, exit::TRANSIENT, Some(3600)), "{report:?}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "2.0.0"], "the second wave has not begun");
    assert_eq!(place.looked(), [0, 0, 1]);
    place.time.pass(Duration::from_secs(59 * 60));
    let (report, waits) = place.until_the_pause(Some(&report)).await;
    assert_eq!((report.outcome, waits), (None, Some(60)));
    assert_eq!(place.looked(), [0, 0, 1], "what has been said of the wave is on record");
    place.time.pass(Duration::from_secs(60));
    let (report, waits) = place.until_the_pause(Some(&report)).await;
    assert_eq!((report.outcome, waits), (Some(RunOutcome::Done), None));
    assert_eq!(place.live(), ["2.0.0", "2.0.0", "2.0.0"]);
    assert_eq!(place.looked(), [1, 1, 3], "once more after the pause, and in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_what_went_bad_in_the_pause_does_not_reach_the_rest() {
    let place = Place::ready(PAUSED).await;
    let (report, _) = place.until_the_pause(None).await;
    place.breaks("us");
    place.time.pass(Duration::from_secs(3600));
    let (report, _) = place.until_the_pause(Some(&report)).await;
    // It is bad there with every release.
    assert_eq!(report.outcome, Some(RunOutcome::Held), "{report:?}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "1.0.0"], "it has gone back all the same");
    assert!(!place.touched(&report).iter().any(|step| step == "deploy/eu"), "{:?}", place.touched(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_5_outside_a_window_no_further_wave_begins_where_the_environment_stops_at_one() {
    let place = Place::ready(&format!("{PAUSED}\non_close = \"stop-at-wave\"")).await;
    place.time.until("2026-11-19T15:30:00Z".parse().unwrap());
    let (report, _) = place.until_the_pause(None).await;
    place.time.pass(Duration::from_secs(3600));
    let (report, _) = place.until_the_pause(Some(&report)).await;
    assert_eq!((report.outcome, report.exit_code()), (None, exit::WAITING), "{report:?}");
    let told = why(&report);
    assert!(told.starts_with("wave 2 of 2 waits: ") && told.contains("opens 2026-11-20 09:00:00 UTC"), "{told}");
    let opens: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
    let Fate::Closed { gates, .. } = &report.environments[0].2 else { panic!("{report:?}") };
    assert_eq!(gates.iter().map(|gate| gate.until).collect::<Vec<_>>(), [Some(opens)]);
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "2.0.0"]);
    assert!(place.world.session.store().leases().unwrap().is_empty(), "who waits for a window holds nothing");
    let (report, _) = place.until_the_pause(Some(&report)).await;
    assert_eq!(report.exit_code(), exit::WAITING, "a resume is no way around it");
    place.time.until(opens);
    let (report, _) = place.until_the_pause(Some(&report)).await;
    assert_eq!(report.outcome, Some(RunOutcome::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_5_an_environment_is_finished_outside_its_window_unless_it_says_otherwise() {
    let place = Place::ready(PAUSED).await;
    place.time.until("2026-11-19T15:30:00Z".parse().unwrap());
    let (report, _) = place.until_the_pause(None).await;
    place.time.pass(Duration::from_secs(3600));
    let (report, _) = place.until_the_pause(Some(&report)).await;
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
}

/// Freezes dev as it is told; a second time nothing happens.
fn freezes(
    place: &Place,
    when: impl Fn(&Progress) -> bool + Send + Sync + 'static,
) -> impl Fn(&Progress) + Send + Sync + 'static {
    let other = place.world.session_as("riley");
    let done = AtomicBool::new(false);
    move |progress| {
        if when(progress) && !done.swap(true, Ordering::SeqCst) {
            other.freeze(["dev".parse().unwrap()].into(), "look at us").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_5_a_freeze_stops_an_environment_at_its_wave_too_and_not_within_one() {
    let place = Place::ready(&format!("{PAUSED}\non_close = \"stop-at-wave\"")).await;
    let (report, _) = place.until_the_pause(None).await;
    let name: EnvironmentName = "dev".parse().unwrap();
    place.world.session.freeze([name].into(), "look at us").unwrap();
    place.time.pass(Duration::from_secs(3600));
    let (report, _) = place.until_the_pause(Some(&report)).await;
    assert_eq!(report.exit_code(), exit::WAITING);
    assert!(why(&report).contains("frozen by dana"), "{}", why(&report));
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "2.0.0"]);
    // Once the wave has begun it is finished: asia comes after eu.
    let place =
        Place::ready("waves = [{ targets = [\"us\"] }, { targets = [\"eu\", \"asia\"] }]\non_close = \"stop-at-wave\"")
            .await;
    let frozen = freezes(&place, |said| matches!(said, Progress::StepDone { step, .. } if step == "dev/deploy/eu"));
    let report = place.apply_at(frozen).await;
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    let records = place.records(&report);
    let at = |kind: &str| records.iter().position(|record| record == kind).unwrap();
    assert!(at("step.effect dev/deploy/eu") < at("step.intent dev/deploy/asia"), "{records:?}");
    assert!(place.world.session.view().unwrap().freeze(&"dev".parse().unwrap()).is_some());
    assert_eq!(place.live(), ["2.0.0", "2.0.0", "2.0.0"]);
}

/// What is judged is the ledger that the first intent of the wave is appended to.
#[tokio::test(flavor = "multi_thread")]
async fn s5_5_a_freeze_between_the_judgement_and_the_first_intent_of_a_wave_stops_it() {
    let place = Place::ready(&format!("{CANARY}\non_close = \"stop-at-wave\"")).await;
    let begins = |said: &Progress| matches!(said, Progress::StepStarted { step, .. } if step.starts_with("dev/deploy/") && step != "dev/deploy/us");
    let report = place.apply_at(freezes(&place, begins)).await;
    assert_eq!((report.outcome, report.exit_code()), (None, exit::WAITING), "{report:?}");
    assert!(why(&report).starts_with("wave 2 of 2 waits: frozen by riley"), "{}", why(&report));
    assert_eq!(
        (place.touched(&report), place.live()),
        (vec!["deploy/us".to_owned()], ["1.0.0", "1.0.0", "2.0.0"].map(str::to_owned))
    );
    let freed = place.world.lift(&place.world.session, Lift::Freeze { environments: ["dev".parse().unwrap()].into() });
    freed.unwrap();
    assert_eq!(place.until_the_pause(Some(&report)).await.0.outcome, Some(RunOutcome::Done));
}

/// S1.3: between two processes nobody looked, and that can be long.
#[tokio::test(flavor = "multi_thread")]
async fn s5_5_whoever_resumes_a_run_looks_at_the_wave_before_once_more() {
    let place = Place::ready(&format!("{CANARY}\non_close = \"stop-at-wave\"")).await;
    let stopped = place.apply_at(freezes(&place, |said| matches!(said, Progress::StepDone { .. }))).await;
    assert_eq!((stopped.exit_code(), place.looked()), (exit::WAITING, [0, 0, 1]), "{stopped:?}");
    place.breaks("us");
    let lift = Lift::Freeze { environments: ["dev".parse().unwrap()].into() };
    place.world.lift(&place.world.session, lift).unwrap();
    let (report, _) = place.until_the_pause(Some(&stopped)).await;
    assert_eq!(report.outcome, Some(RunOutcome::Held), "it is bad there with every release: {report:?}");
    assert!(why(&report).starts_with("smoke failed"), "{report:?}");
    let mut touched = place.touched(&report);
    // Those of the second wave go back at once.
    touched[2..].sort();
    assert_eq!(touched, ["deploy/us", "rollback/deploy/us", "rollback/deploy/asia", "rollback/deploy/eu"]);
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "1.0.0"], "what went bad did not reach the rest");
}

/// S8.2, S7.1: a run is resumed with the rules that its plan was made under, or goes no further.
#[tokio::test(flavor = "multi_thread")]
async fn s5_5_other_rules_in_the_working_tree_open_no_wave() {
    let place = Place::ready(&format!("{CANARY}\non_close = \"stop-at-wave\"")).await;
    place.time.until("2026-11-19T15:59:45Z".parse().unwrap());
    let time = place.time.clone();
    let closes = move |said: &Progress| {
        if matches!(said, Progress::StepDone { .. }) {
            time.pass(Duration::from_secs(30));
        }
    };
    let stopped = place.apply_at(closes).await;
    assert_eq!(stopped.exit_code(), exit::WAITING, "{stopped:?}");
    let file = place.world.path("promo.toml");
    let planned = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, planned.replace("16:00", "23:00")).unwrap();
    let other = place.world.session_as("riley").resume(&stopped.run, place.world.options()).await.unwrap();
    assert_eq!((other.outcome, other.exit_code()), (None, exit::STALE), "no time opens it: {other:?}");
    let told = why(&other);
    assert!(
        told.starts_with("wave 2 of 2 does not begin: the plan is stale: since it was made, this changed: "),
        "{told}"
    );
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "2.0.0"]);
    std::fs::write(&file, planned).unwrap();
    place.time.until("2026-11-20T09:00:00Z".parse().unwrap());
    let ended = place.world.session_as("riley").resume(&stopped.run, place.world.options()).await.unwrap();
    assert_eq!(ended.outcome, Some(RunOutcome::Done), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_1_no_wave_begins_under_a_policy_that_another_has_replaced() {
    let place = Place::ready(&format!("{CANARY}\non_close = \"stop-at-wave\"")).await;
    place.world.build("3.0.0").await;
    let key = place.world.key.public_key().to_string();
    let policy = POLICY.replace("KEY", &key);
    std::fs::write(place.world.path("policy.toml"), policy).unwrap();
    let other = Arc::new(place.world.session_as("riley"));
    std::fs::remove_file(place.world.path("policy.toml")).unwrap();
    let release = place.world.new_release("3.0.0");
    let adopts = move |said: &Progress| {
        if matches!(said, Progress::StepDone { .. }) {
            let (other, release) = (other.clone(), release.clone());
            let adopted = async move { other.add_release(release).await.unwrap() };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(adopted));
        }
    };
    let report = place.apply_at(adopts).await;
    assert_eq!((report.outcome, report.exit_code()), (None, exit::STALE), "{report:?}");
    assert!(
        why(&report).starts_with("wave 2 of 2 does not begin: ") && why(&report).contains("house"),
        "{}",
        why(&report)
    );
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "2.0.0"]);
}

/// S9.6: a place that does not come back is told, and keeps no other one on the bad release.
#[tokio::test(flavor = "multi_thread")]
async fn s9_6_the_way_back_goes_on_past_a_place_that_does_not_come_back() {
    let place = Place::ready("waves = [{ targets = [\"us\", \"eu\"] }, { targets = [\"asia\"] }]").await;
    place.breaks("asia");
    let (watched, broken) = (place.watched.clone(), place.world.path("live/asia.broken"));
    let report = place
        .apply_at(move |progress| {
            if matches!(progress, Progress::RollingBack { .. }) {
                *watched.refuses.lock().unwrap() = Some("us");
                std::fs::remove_file(&broken).unwrap();
            }
        })
        .await;
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Held), exit::HELD), "{report:?}");
    let told = why(&report);
    assert!(
        told.contains("the rollback failed: us was not brought back: ") && told.contains("no room there"),
        "{told}"
    );
    assert!(!told.contains("eu was not"), "{told}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "2.0.0"], "the next of its wave and the next wave came back");
}

/// S14: what waits for its window beside it does not hide what needs a person now.
#[tokio::test(flavor = "multi_thread")]
async fn s14_the_worst_end_decides_also_beside_a_wave_that_waits() {
    let lab = "[environments.lab]\ntier = \"development\"\ntarget = { directory = \"live/lab\" }\nverify = [\"smoke\"]\n\
               deploy.directory = { templates = [\"service.j2\"] }";
    let place = Place::ready(&format!("{CANARY}\non_close = \"stop-at-wave\"\n{lab}")).await;
    std::fs::create_dir_all(place.world.path("live")).unwrap();
    place.breaks("lab");
    let environments = ["dev", "lab"].map(|name| name.parse().unwrap()).into();
    let request = promo_core::plan::Request { environments, ..place.world.request("dev") };
    let plan = place.world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    let (frozen, mut options) = (
        freezes(&place, |said| matches!(said, Progress::StepDone { step, .. } if step == "dev/deploy/us")),
        place.world.options(),
    );
    options.progress = Arc::new(move |said| frozen(&said));
    let report = place.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    let fates: Vec<_> = report.environments.iter().map(|(_, _, fate)| fate).collect();
    assert!(
        matches!(fates[..], [Fate::Closed { .. }, Fate::Ended { outcome: PromotionOutcome::Held, .. }]),
        "{report:?}"
    );
    assert_eq!((report.outcome, report.exit_code()), (None, exit::HELD));
}

/// S3.1: a configuration that failed in its first wave says nothing about the one that is back everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn s3_1_a_wave_of_another_configuration_that_failed_leaves_a_release_verified_once_it_went_back() {
    let place = Place::new(CANARY).await;
    std::fs::write(place.world.path("service.j2"), "{{ artifacts.shop.tag }} anew\n").unwrap();
    place.breaks("us");
    let broken = place.world.path("live/us.broken");
    let plan = place.world.session_as("dana");
    let plan = plan.plan(place.world.request("dev"), PLAN_LIFETIME).await.unwrap();
    assert_eq!(plan.body.moves[0].movement, Movement::Reconfiguration, "{plan:?}");
    let mut options = place.world.options();
    options.progress = Arc::new(move |progress| {
        if matches!(progress, Progress::RollingBack { .. }) {
            std::fs::remove_file(&broken).unwrap();
        }
    });
    let report = place.world.session_as("dana").apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "{report:?}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "1.0.0"]);
    let (view, name) = (place.world.session.view().unwrap(), "dev".parse().unwrap());
    let environment = &place.world.session.governance().pipeline.environments[&name];
    let stands = verification(&view, &name, environment, &plan.body.moves[0].to.id);
    assert!(matches!(stands.checks["smoke"], CheckStatus::Passed { .. }), "{stands:?}");
}

/// S12.6: where the clocks disagree, a pause is over once both say so.
#[tokio::test(flavor = "multi_thread")]
async fn s12_6_a_pause_is_not_over_while_one_of_the_clocks_says_that_it_is_not() {
    let place = Place::ready(PAUSED).await;
    let (report, _) = place.until_the_pause(None).await;
    let machine = Time::at("2026-11-19T12:00:00Z");
    let setup = Setup { clock: Arc::new(machine.clone()), ..place.world.setup().clone() };
    place.time.pass(Duration::from_hours(2));
    let other = place.world.session_with("riley", &setup);
    let (report, waits) = place.until_the_pause_of(&other, Some(&report)).await;
    assert_eq!((report.outcome, waits), (None, Some(3600)), "by this machine it has only begun");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "2.0.0"]);
    machine.pass(Duration::from_hours(2));
    let (report, _) = place.until_the_pause_of(&other, Some(&report)).await;
    assert_eq!(report.outcome, Some(RunOutcome::Done));
}

/// Everything that a promotion would wait for is closed, and bad.
#[tokio::test(flavor = "multi_thread")]
async fn s10_3_a_rollback_by_a_person_goes_by_the_limit_and_waits_for_nothing() {
    let paused = CANARY.replace("[\"us\"]", "[\"us\"], pause = \"1h\"");
    let place = Place::ready(&format!("{paused}\non_close = \"stop-at-wave\"")).await;
    let (report, _) = place.until_the_pause(None).await;
    place.time.pass(Duration::from_secs(3600));
    assert_eq!(place.until_the_pause(Some(&report)).await.0.outcome, Some(RunOutcome::Done));
    place.time.until("2026-11-19T20:00:00Z".parse().unwrap());
    place.world.session.freeze(["dev".parse().unwrap()].into(), "the fair is on").unwrap();
    let request = promo_core::plan::Request { goal: Goal::Rollback, ..place.world.request("dev") };
    let plan = place.world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    let entry = &plan.body.moves[0];
    assert_eq!(entry.on_close, OnClose::StopAtWave);
    assert_eq!(entry.waves.iter().map(|wave| wave.pause).collect::<Vec<_>>(), [None, None], "as the plan says");
    place.watched.begun.lock().unwrap().clear();
    *place.watched.together.lock().unwrap() = vec![("eu", 2), ("asia", 2)];
    let (looked, broken) = (place.looked(), place.world.path("live/us.broken"));
    place.breaks("us");
    let mut options = place.world.options();
    // Bad until all is back: a look between the waves would end it.
    let back = AtomicUsize::new(0);
    options.progress = Arc::new(move |progress| {
        if matches!(progress, Progress::StepDone { .. }) && back.fetch_add(1, Ordering::SeqCst) == 2 {
            std::fs::remove_file(&broken).unwrap();
        }
    });
    let report = place.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    let fate = &report.environments[0].2;
    assert!(matches!(fate, Fate::Ended { outcome: PromotionOutcome::Verified, .. }), "{fate:?}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "1.0.0"]);
    assert_eq!(place.looked(), looked.map(|before| before + 1), "once, in the end");
    let records = place.records(&report);
    assert!(!records.contains(&"wave.finished".to_owned()), "{records:?}");
    let checked = records.iter().position(|record| record == "verdict.recorded").unwrap();
    assert!(records[checked..].iter().all(|record| !record.starts_with("step.")), "{records:?}");
    let begun = place.begun();
    assert_eq!(begun[0], ("us".into(), 1), "the first wave by itself: {begun:?}");
    assert_eq!(begun[1..].iter().map(|(_, now)| *now).collect::<Vec<_>>(), [1, 2], "then two at once: {begun:?}");
}
