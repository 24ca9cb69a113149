//! The targets of an environment in waves (R10, S5.5): their order, how many are under way at once, what a wave that fails
//! keeps from the rest, and what a run that stops between two waves waits for when it goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::plan::{Document, Goal};
use promo_core::state::State;
use promo_engine::{Fate, PLAN_LIFETIME, Progress, RunReport, exit};
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
            Some(report) => self.world.session.resume(&report.run, options).await.unwrap(),
            None => {
                let plan = self.plan().await;
                self.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap()
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
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_3_a_rollback_by_a_person_goes_by_the_limit_and_waits_for_nothing() {
    let place = Place::ready(&format!("{PAUSED}\non_close = \"stop-at-wave\"")).await;
    let (report, _) = place.until_the_pause(None).await;
    place.time.pass(Duration::from_secs(3600));
    assert_eq!(place.until_the_pause(Some(&report)).await.0.outcome, Some(RunOutcome::Done));
    let request = promo_core::plan::Request { goal: Goal::Rollback, ..place.world.request("dev") };
    let plan = place.world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    let entry = &plan.body.moves[0];
    assert_eq!(entry.waves.iter().map(|wave| wave.pause).collect::<Vec<_>>(), [None, None], "as the plan says");
    let report = place.world.session.apply(&plan, plan.digest().unwrap(), place.world.options()).await.unwrap();
    let fate = &report.environments[0].2;
    assert!(matches!(fate, Fate::Ended { outcome: PromotionOutcome::Verified, .. }), "{fate:?}");
    assert_eq!(place.live(), ["1.0.0", "1.0.0", "1.0.0"]);
    assert!(!place.records(&report).contains(&"wave.finished".to_owned()), "{:?}", place.records(&report));
}
