//! What keeps a failed promotion from going back, what is no failure at all, and what is finished once it has begun.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use promo_core::Digest;
use promo_core::gate::Outcome;
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::plan::{Document, Goal, Request};
use promo_core::windows::Invoker;
use promo_engine::{EngineError, Fate, PLAN_LIFETIME, Progress, RunReport, Session, exit};
use promo_ledger::Store;
use promo_sdk::{
    Context, Description, EnsureAnswer, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Preview, Provider,
    ProviderError, ResolveRequest, Resolved, State,
};
use promo_tests::faults::{Faults, Mode};
use promo_tests::small;
use promo_tests::watched_store::WatchedStore;
use promo_tests::world::{Setup, Time, World};

/// A node that deploys nothing, behind a window.
const NODE: &str = r#"
format = 1
[pipeline]
name = "node"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[checks.smoke]
command = { run = ["true"] }
[windows.morning]
effect   = "allow"
timezone = "UTC"
weekly   = { start = "08:00", end = "10:00" }
[environments.dev]
tier    = "development"
start   = "auto"
verify  = ["smoke"]
windows = ["morning"]
"#;

struct Place {
    world: World,
    faults: Faults,
    time: Time,
}

impl Place {
    fn new(pipeline: &str, providers: Vec<Arc<dyn Provider>>) -> Self {
        let (time, faults) = (Time::at("2026-03-02T09:00:00Z"), Faults::default());
        let store: Arc<dyn Store> = Arc::new(time.ledger());
        let setup = Setup {
            store: Some(faults.store(store)),
            providers: faults.providers(providers),
            clock: Arc::new(time.clone()),
            ..Setup::default()
        };
        let files = [("promo.toml", pipeline), ("service.j2", "{{ artifacts.shop.tag }}\n")];
        Self { world: World::of_files(&files, setup), faults, time }
    }

    /// The first release in dev, the second one in the ledger.
    async fn with_first(providers: Vec<Arc<dyn Provider>>) -> (Self, ReleaseId, ReleaseId) {
        let place = Self::new(&small::pipeline("one", small::ONE), providers);
        let first = place.world.release("1.0.0").await;
        assert_eq!(place.promote().await.outcome, Some(RunOutcome::Done));
        let second = place.world.release("2.0.0").await;
        (place, first, second)
    }

    async fn promote(&self) -> RunReport {
        let plan = self.world.plan("dev").await;
        self.apply(&plan, |_| {}).await
    }

    /// Applies; `at` hears everything that is said.
    async fn apply(&self, plan: &Document, at: impl Fn(&Progress) + Send + Sync + 'static) -> RunReport {
        let mut options = self.world.options();
        options.progress = Arc::new(move |p| at(&p));
        self.world.session.apply(plan, plan.digest().unwrap(), options).await.unwrap()
    }

    async fn resume(&self, report: &RunReport) -> RunReport {
        self.world.session_as("riley").resume(&report.run, self.world.options()).await.unwrap()
    }

    fn verdicts(&self) -> usize {
        let records = self.world.session.store().records(0, usize::MAX).unwrap();
        records.iter().filter(|r| r.kind == "verdict.recorded").count()
    }

    fn live(&self) -> String {
        self.world.deployed("dev", "service")
    }
}

fn dev() -> EnvironmentName {
    "dev".parse().unwrap()
}

fn held(report: &RunReport) -> &str {
    match &report.environments[0].2 {
        Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_1_a_release_that_was_rejected_during_the_run_is_no_way_back() {
    let (place, first, second) = Place::with_first(promo_providers::builtin()).await;
    place.faults.fail_check(format!("dev/smoke/{second}"));
    let plan = place.world.plan("dev").await;
    assert_eq!(plan.body.moves[0].rollback.as_ref().map(|r| &r.to.id), Some(&first));
    let (other, rejected) = (place.world.session_as("riley"), first.clone());
    let report = place
        .apply(&plan, move |progress| {
            if matches!(progress, Progress::CheckStarted { .. }) {
                other.reject(&rejected, None, "it loses orders").unwrap();
            }
        })
        .await;
    let why = held(&report);
    assert!(why.contains("smoke failed") && why.contains("quarantined everywhere by riley"), "{why}");
    assert_eq!((place.live(), place.world.current("dev")), ("2.0.0\n".to_string(), Some(second)));
    assert_eq!(report.exit_code(), exit::HELD);
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_6_a_check_that_could_not_look_is_asked_again_by_a_resume_and_has_no_verdict() {
    for kind in [ErrorKind::Transient, ErrorKind::Offline] {
        let (place, _, second) = Place::with_first(promo_providers::builtin()).await;
        let before = place.verdicts();
        place.faults.silence_check("dev/smoke", Some(kind));
        let report = place.promote().await;
        assert_eq!((report.outcome, report.exit_code()), (None, exit::TRANSIENT), "{report:?}");
        assert_eq!((place.verdicts(), place.live()), (before, "2.0.0\n".to_string()), "nothing went back");
        assert_eq!(place.resume(&report).await.outcome, None, "it still cannot look");
        place.faults.silence_check("dev/smoke", None);
        assert_eq!(place.resume(&report).await.outcome, Some(RunOutcome::Done));
        assert_eq!((place.verdicts(), place.world.current("dev")), (before + 1, Some(second)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_3_a_check_that_would_fail_again_in_the_same_way_has_failed() {
    for kind in [ErrorKind::Invalid, ErrorKind::Denied, ErrorKind::Failed] {
        let (place, first, _) = Place::with_first(promo_providers::builtin()).await;
        let plan = place.world.plan("dev").await;
        let faults = place.faults.clone();
        place.faults.silence_check("dev/smoke", Some(kind));
        // The way back is verified by a check that can look again.
        let report = place
            .apply(&plan, move |progress| {
                if matches!(progress, Progress::RollingBack { .. }) {
                    faults.silence_check("dev/smoke", None);
                }
            })
            .await;
        assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "{kind:?}");
        assert_eq!(place.world.current("dev"), Some(first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_6_verifying_again_records_nothing_about_a_check_that_could_not_look() {
    let (place, ..) = Place::with_first(promo_providers::builtin()).await;
    let before = place.verdicts();
    place.faults.silence_check("dev/smoke", Some(ErrorKind::Transient));
    let error = place.world.session.verify_again(&dev()).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("provider-transient", exit::TRANSIENT));
    assert_eq!(place.verdicts(), before);
    // What would not be seen at a second look either says as little of what runs there: no right to look, for one.
    for kind in [ErrorKind::Invalid, ErrorKind::Denied, ErrorKind::Failed] {
        place.faults.silence_check("dev/smoke", Some(kind));
        let error = place.world.session.verify_again(&dev()).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("provider-transient", exit::TRANSIENT), "{kind:?}");
        assert_eq!(place.verdicts(), before, "{kind:?}");
    }
    // What a repetition cannot mend keeps its own word: a namespace that is gone, a digest that is another.
    for (kind, code, exit) in [
        (ErrorKind::NotFound, "provider-not-found", exit::BAD_INPUT),
        (ErrorKind::Integrity, "artifact-damaged", exit::INTEGRITY),
    ] {
        place.faults.silence_check("dev/smoke", Some(kind));
        let error = place.world.session.verify_again(&dev()).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (code, exit));
        assert_eq!(place.verdicts(), before);
    }
    place.faults.silence_check("dev/smoke", Some(ErrorKind::Cancelled));
    assert!(matches!(place.world.session.verify_again(&dev()).await, Err(EngineError::Stopped)));
    place.faults.silence_check("dev/smoke", None);
    assert_eq!(place.world.session.verify_again(&dev()).await.unwrap().len(), 1);
    assert_eq!(place.verdicts(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_a_promotion_without_steps_that_has_begun_is_finished_after_its_window() {
    let place = Place::new(NODE, promo_providers::builtin());
    let release = place.world.release("1.0.0").await;
    let plan = place.world.plan("dev").await;
    assert!(plan.body.moves[0].steps.is_empty());
    place.faults.silence_check("dev/smoke", Some(ErrorKind::Transient));
    let report = place.apply(&plan, |_| {}).await;
    assert_eq!(report.outcome, None);
    place.faults.silence_check("dev/smoke", None);
    place.time.pass(std::time::Duration::from_secs(2 * 60 * 60));
    let report = place.resume(&report).await;
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    assert_eq!(place.world.current("dev"), Some(release));
}

/// The directory provider, which at times cannot tell what is there and acts whatever it is told to expect.
struct Dim {
    inner: Arc<dyn Provider>,
    dark: Arc<AtomicBool>,
    expected: Arc<Mutex<Vec<State>>>,
}

#[async_trait::async_trait]
impl Provider for Dim {
    fn describe(&self) -> Description {
        self.inner.describe()
    }
    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        if self.dark.load(Ordering::SeqCst) {
            return Ok(State::Unknown);
        }
        self.inner.observe(cx, request).await
    }
    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        self.inner.preview(cx, request).await
    }
    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        self.expected.lock().unwrap().push(request.expected);
        self.inner.ensure(cx, request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_5_no_step_acts_on_a_state_that_cannot_be_told_neither_when_retried_nor_going_back() {
    promo_tests::faults::hush();
    let (dark, expected) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let dim = |inner: Arc<dyn Provider>| -> Arc<dyn Provider> {
        match inner.describe().name.as_str() {
            "directory" => Arc::new(Dim { inner, dark: dark.clone(), expected: expected.clone() }),
            _ => inner,
        }
    };
    let (place, ..) = Place::with_first(promo_providers::builtin().into_iter().map(dim).collect()).await;
    expected.lock().unwrap().clear();
    let plan = place.world.plan("dev").await;
    // The intent is on record, and the provider cannot be reached.
    let at = {
        let (clean, ..) = Place::with_first(promo_providers::builtin()).await;
        let plan = clean.world.plan("dev").await;
        clean.faults.arm(usize::MAX, Mode::Die);
        clean.apply(&plan, |_| {}).await;
        clean.faults.passed().iter().position(|p| p.name == "ensure before").unwrap() + 1
    };
    place.faults.arm(at, Mode::Fail(ErrorKind::Transient));
    let report = place.apply(&plan, |_| {}).await;
    assert_eq!(report.outcome, None, "{report:?}");
    dark.store(true, Ordering::SeqCst);
    let report = place.resume(&report).await;
    let why = held(&report);
    assert_eq!(why.matches("environments/dev holds unknown").count(), 2, "{why}");
    assert!(expected.lock().unwrap().is_empty(), "{expected:?}");
}

impl Place {
    /// promo.toml says that dev is elsewhere, for whoever opens the folder from now on.
    fn moves_to(&self, place: &str) -> Session {
        let text = small::pipeline("one", small::ONE).replace("environments/dev", place);
        std::fs::write(self.world.path("promo.toml"), text).unwrap();
        self.world.session_as("dana")
    }
}

async fn plan(session: &Session, goal: Goal, release: Option<&ReleaseId>) -> Document {
    let request = Request {
        goal,
        environments: [dev()].into(),
        release: release.cloned(),
        until: None,
        drill: false,
        invoker: Invoker::Human,
    };
    session.plan(request, PLAN_LIFETIME).await.unwrap()
}

async fn apply(place: &Place, session: &Session, plan: &Document) -> RunReport {
    session.apply(plan, plan.digest().unwrap(), place.world.options()).await.unwrap()
}

/// The code with which a rollback is refused, and its words.
fn refusal(plan: &Document) -> (&'static str, String) {
    assert!(plan.body.moves.is_empty(), "{:?}", plan.body.moves);
    let gates = &plan.body.stays[0].next.as_ref().unwrap().gates;
    let closed = gates.iter().find(|g| g.outcome == Outcome::Refused).unwrap();
    (closed.reason.code(), closed.reason.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn s0_2_a_rollback_does_not_enter_a_place_that_the_environment_left() {
    let (place, first, second) = Place::with_first(promo_providers::builtin()).await;
    assert_eq!(place.promote().await.outcome, Some(RunOutcome::Done));
    // What is in the place that promo.toml no longer names is for whoever has it now.
    let session = place.moves_to("environments/dev2");
    let words = "it stood at directory=environments/dev, and the environment is at directory=environments/dev2 now";
    for release in [None, Some(&first)] {
        let refused = refusal(&plan(&session, Goal::Rollback, release).await);
        assert_eq!(refused, ("other-place", words.to_string()));
    }
    assert_eq!((place.live(), place.world.current("dev")), ("2.0.0\n".to_string(), Some(second)));
    // Once what runs has moved there too, putting the old place back would leave it there.
    let moves = plan(&session, Goal::Promote, None).await;
    assert_eq!(moves.body.moves[0].rollback, None, "its way back is elsewhere");
    assert_eq!(apply(&place, &session, &moves).await.outcome, Some(RunOutcome::Done));
    let session = place.moves_to("environments/dev");
    let (code, words) = refusal(&plan(&session, Goal::Rollback, None).await);
    assert_eq!(code, "other-place");
    assert!(words.contains("environments/dev,") && words.contains("environments/dev2 "), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_6_a_failure_after_the_place_has_changed_is_held_with_both_places() {
    let (place, _, second) = Place::with_first(promo_providers::builtin()).await;
    let session = place.moves_to("environments/dev2");
    place.faults.fail_check(format!("dev/smoke/{second}"));
    let moves = plan(&session, Goal::Promote, None).await;
    assert_eq!(moves.body.moves[0].rollback, None);
    let report = apply(&place, &session, &moves).await;
    let why = held(&report);
    for part in ["smoke failed", "there is no release to go back to", "=environments/dev,", "=environments/dev2 "] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert_eq!((place.live(), place.world.current("dev")), ("1.0.0\n".to_string(), Some(second)));
}

#[tokio::test(flavor = "multi_thread")]
async fn s0_2_a_run_that_is_resumed_does_not_go_back_to_a_place_that_the_environment_left() {
    let (place, _, second) = Place::with_first(promo_providers::builtin()).await;
    let moves = place.world.plan("dev").await;
    assert!(moves.body.moves[0].rollback.is_some());
    place.faults.silence_check("dev/smoke", Some(ErrorKind::Transient));
    let report = place.apply(&moves, |_| {}).await;
    assert_eq!(report.outcome, None);
    place.faults.silence_check("dev/smoke", None);
    place.faults.fail_check(format!("dev/smoke/{second}"));
    let session = place.moves_to("environments/dev2");
    let report = session.resume(&report.run, place.world.options()).await.unwrap();
    assert!(held(&report).contains("there is no release to go back to"), "{report:?}");
    assert_eq!(place.live(), "2.0.0\n");
}

/// The artifacts, where what is asked for by digest is answered like this.
struct Shut {
    inner: Arc<dyn Provider>,
    with: Arc<Mutex<Option<ErrorKind>>>,
}

#[async_trait::async_trait]
impl Provider for Shut {
    fn describe(&self) -> Description {
        self.inner.describe()
    }
    async fn resolve(&self, cx: &Context, request: &ResolveRequest) -> Result<Resolved, ProviderError> {
        let with = *self.with.lock().unwrap();
        match with {
            Some(kind) if request.reference.contains('@') => Err(ProviderError::new(kind, "not now")),
            _ => self.inner.resolve(cx, request).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_1_a_way_back_is_given_up_where_it_is_gone_and_not_where_nobody_could_look() {
    promo_tests::faults::hush();
    let with = Arc::new(Mutex::new(None));
    let shut = |inner: Arc<dyn Provider>| -> Arc<dyn Provider> {
        match inner.describe().name.as_str() {
            "oci" => Arc::new(Shut { inner, with: with.clone() }),
            _ => inner,
        }
    };
    let (place, first, second) = Place::with_first(promo_providers::builtin().into_iter().map(shut).collect()).await;
    let session = &place.world.session;
    for (kind, code, exit) in [
        (ErrorKind::Transient, "provider-transient", exit::TRANSIENT),
        (ErrorKind::Integrity, "artifact-damaged", exit::INTEGRITY),
    ] {
        *with.lock().unwrap() = Some(kind);
        let error = session.plan(place.world.request("dev"), PLAN_LIFETIME).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (code, exit), "{error:?}");
        assert!(error.to_string().contains(first.as_str()), "{error}");
    }
    for kind in [ErrorKind::NotFound, ErrorKind::Denied] {
        *with.lock().unwrap() = Some(kind);
        let moves = place.world.plan("dev").await.body.moves;
        assert_eq!((&moves[0].to.id, &moves[0].rollback), (&second, &None), "{kind:?}");
        let lost = moves[0].lost_target.as_ref().unwrap();
        assert_eq!((&lost.release.id, lost.reason.code()), (&first, "artifact-unavailable"), "{kind:?}");
    }
    // What a rollback would enter is no way back among others: it is told why nobody could look.
    *with.lock().unwrap() = None;
    assert_eq!(place.promote().await.outcome, Some(RunOutcome::Done));
    *with.lock().unwrap() = Some(ErrorKind::Denied);
    let request = Request { goal: Goal::Rollback, ..place.world.request("dev") };
    let error = session.plan(request, PLAN_LIFETIME).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("provider-denied", exit::FAILURE), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_1_a_tag_that_moved_is_no_matter_to_a_way_back() {
    let (place, first, _) = Place::with_first(promo_providers::builtin()).await;
    let index = place.world.path("registry/shop/index.json");
    let mut layout: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&index).unwrap()).unwrap();
    let tag = "org.opencontainers.image.ref.name";
    let entries = layout["manifests"].as_array_mut().unwrap();
    let newer = entries.iter().find(|entry| entry["annotations"][tag] == "2.0.0").unwrap().clone();
    let old = entries.iter_mut().find(|entry| entry["annotations"][tag] == "1.0.0").unwrap();
    (old["digest"], old["size"]) = (newer["digest"].clone(), newer["size"].clone());
    std::fs::write(&index, layout.to_string()).unwrap();
    let moves = place.world.plan("dev").await.body.moves;
    assert_eq!(moves[0].rollback.as_ref().map(|r| &r.to.id), Some(&first), "{:?}", moves[0].lost_target);
}

/// The directory provider, for which each release takes a program of its own.
struct Tooled(Arc<dyn Provider>);

#[async_trait::async_trait]
impl Provider for Tooled {
    fn describe(&self) -> Description {
        self.0.describe()
    }
    async fn programs(&self, _: &Context, inputs: &Inputs) -> Result<BTreeMap<String, String>, ProviderError> {
        let tag = inputs.artifacts.values().find_map(|artifact| artifact.tag.clone()).unwrap_or_default();
        Ok([(format!("writer-{tag}"), "1.2.3".to_owned())].into())
    }
    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        self.0.observe(cx, request).await
    }
    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        self.0.preview(cx, request).await
    }
    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        self.0.ensure(cx, request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_2_the_programs_of_the_way_back_stand_in_a_plan_as_those_of_the_way_there() {
    let tooled = |inner: Arc<dyn Provider>| -> Arc<dyn Provider> {
        if inner.describe().name == "directory" { Arc::new(Tooled(inner)) } else { inner }
    };
    let (place, ..) = Place::with_first(promo_providers::builtin().into_iter().map(tooled).collect()).await;
    let plan = place.world.plan("dev").await;
    assert_eq!(plan.body.moves[0].every_step().count(), 2, "there and back");
    let programs = plan.body.inputs.keys().filter(|name| name.starts_with("program ")).collect::<Vec<_>>();
    assert_eq!(programs, ["program writer-1.0.0", "program writer-2.0.0"]);
    assert_eq!(place.apply(&plan, |_| {}).await.outcome, Some(RunOutcome::Done));
}

/// The pipeline of one environment whose check runs a file of its own.
fn with_script() -> String {
    let own = "command = { run = [\"sh\", \"smoke.sh\"], files = [\"smoke.sh\"] }";
    small::pipeline("one", small::ONE).replace("command = { run = [\"true\"] }", own)
}

/// What comes back is asked again with the files that came with it: those of here came with what failed.
#[tokio::test(flavor = "multi_thread")]
async fn s2_4_what_came_back_is_verified_again_with_the_files_of_then() {
    let files =
        [("promo.toml", &*with_script()), ("service.j2", "{{ artifacts.shop.tag }}\n"), ("smoke.sh", "exit 0\n")];
    let world = World::of_files(&files, Setup::default());
    world.release("1.0.0").await;
    let first = world.plan("dev").await;
    let done = world.session.apply(&first, first.digest().unwrap(), world.options()).await.unwrap();
    assert_eq!(done.outcome, Some(RunOutcome::Done));
    world.release("2.0.0").await;
    std::fs::write(world.path("smoke.sh"), "exit 1\n").unwrap();
    // As long as nobody deploys it, what runs is asked as it was, too.
    let asked = world.session.verify_again(&dev()).await.unwrap();
    assert!(asked.iter().all(|said| said.passed) && asked.len() == 1, "{asked:?}");
    let second = world.plan("dev").await;
    let back = world.session.apply(&second, second.digest().unwrap(), world.options()).await.unwrap();
    assert_eq!(back.outcome, Some(RunOutcome::RolledBack), "{back:?}");
    let asked = world.session.verify_again(&dev()).await.unwrap();
    assert!(asked.iter().all(|said| said.passed) && asked.len() == 1, "{asked:?}");
}

/// S10.1: no way back may depend on a plan of a version that nobody has here; S8.3: that today's files judge it is said. One that
/// is gone is damage.
#[tokio::test(flavor = "multi_thread")]
async fn s2_4_whose_files_nobody_can_tell_is_judged_with_those_of_here_and_the_plan_says_so() {
    let (hidden, gone) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
    let (target, lost) = (hidden.clone(), gone.clone());
    let read = move |digest: &Digest, bytes: Vec<u8>| {
        if *target.lock().unwrap() != Some(*digest) {
            return Some(bytes);
        }
        let newer = String::from_utf8(bytes).unwrap().replace("\"requires\":[", "\"requires\":[\"of-tomorrow\",");
        (!lost.load(Ordering::Relaxed)).then(|| newer.replace("tomorrow\",]", "tomorrow\"]").into_bytes())
    };
    let time = Time::at("2026-03-02T09:00:00Z");
    let store = WatchedStore { inner: Arc::new(time.ledger()), before: Box::new(|_| {}), read: Some(Box::new(read)) };
    let setup = Setup { store: Some(Arc::new(store)), clock: Arc::new(time.clone()), ..Setup::default() };
    let files =
        [("promo.toml", &*with_script()), ("service.j2", "{{ artifacts.shop.tag }}\n"), ("smoke.sh", "exit 0\n")];
    let world = World::of_files(&files, setup);
    let release = world.release("1.0.0").await;
    let first = world.plan("dev").await;
    let done = world.session.apply(&first, first.digest().unwrap(), world.options()).await.unwrap();
    assert_eq!(done.outcome, Some(RunOutcome::Done));
    world.release("2.0.0").await;
    std::fs::write(world.path("smoke.sh"), "exit 1\n").unwrap();
    let known = promo_core::planner::judges_of(&dev(), &release);
    assert!(!world.plan("dev").await.body.inputs.contains_key(&known));
    *hidden.lock().unwrap() = Some(first.digest().unwrap());
    let plan = world.plan("dev").await;
    let said = plan.body.inputs.get(&known).unwrap_or_else(|| panic!("{:#?}", plan.body.inputs));
    assert!(said.contains(&first.digest().unwrap().to_string()), "{said}");
    // It is no reason to take the plan for another one, neither at a look nor when it is applied.
    world.session.unchanged(&plan).unwrap();
    gone.store(true, Ordering::Relaxed);
    let damaged = world.session.plan(world.request("dev"), PLAN_LIFETIME).await.unwrap_err();
    assert!(format!("{damaged:?}").contains("Integrity") && format!("{damaged:?}").contains("the plan of run"));
    gone.store(false, Ordering::Relaxed);
    let held_there = world.session.apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap();
    assert!(held(&held_there).contains("the rollback failed"), "{held_there:?}");
}
