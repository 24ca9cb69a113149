//! The copies of one promotion are taken together: what that is worth, and what becomes of the others when one fails or the
//! run is to stop (S9).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use promo_core::ledger::event::RunOutcome;
use promo_core::plan::Document;
use promo_core::state::State;
use promo_engine::{Fate, Progress, RunReport, exit};
use promo_sdk::{
    Context, Description, EnsureAnswer, EnsureRequest, ErrorKind, ObserveRequest, Preview, Provider, ProviderError,
    ResolveRequest, Resolved,
};
use promo_tests::world::{Setup, World};
use tokio::sync::watch;

/// More than are taken at once.
const IMAGES: usize = 10;
/// How many are taken at once.
const AT_ONCE: usize = 8;
/// How long a copy waits for what must come; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The provider of images, whose copies wait for a gate once they have begun.
struct Gated {
    inner: Arc<dyn Provider>,
    /// How many have begun, ever.
    begun: watch::Sender<usize>,
    /// Whether those that have begun may act.
    open: watch::Sender<bool>,
    /// The image whose copy fails, once so many are under way as can be.
    fails: Mutex<Option<String>>,
    /// How it was asked for previews.
    looks: Mutex<Looks>,
}

#[derive(Debug, Default, PartialEq)]
struct Looks {
    asked: usize,
    now: usize,
    most: usize,
}

#[async_trait]
impl Provider for Gated {
    fn describe(&self) -> Description {
        self.inner.describe()
    }
    async fn resolve(&self, cx: &Context, request: &ResolveRequest) -> Result<Resolved, ProviderError> {
        self.inner.resolve(cx, request).await
    }
    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        self.inner.observe(cx, request).await
    }
    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        {
            let mut looks = self.looks.lock().unwrap();
            looks.asked += 1;
            looks.now += 1;
            looks.most = looks.most.max(looks.now);
        }
        tokio::task::yield_now().await;
        let preview = self.inner.preview(cx, request).await;
        self.looks.lock().unwrap().now -= 1;
        preview
    }
    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        self.begun.send_modify(|begun| *begun += 1);
        let fails = self.fails.lock().unwrap().clone();
        if request.inputs.artifacts.keys().any(|name| Some(name.as_str()) == fails.as_deref()) {
            let mut begun = self.begun.subscribe();
            let all = tokio::time::timeout(PATIENCE, begun.wait_for(|begun| *begun >= AT_ONCE)).await;
            all.expect("the others begin in time").unwrap();
            return Err(ProviderError::new(ErrorKind::Denied, "the registry takes nothing more of it"));
        }
        let mut open = self.open.subscribe();
        tokio::time::timeout(PATIENCE, open.wait_for(|open| *open)).await.expect("the gate opens in time").unwrap();
        self.inner.ensure(cx, request).await
    }
}

struct Place {
    world: World,
    gated: Arc<Gated>,
    plan: Document,
}

impl Place {
    async fn new() -> Self {
        let mut pipeline = String::from("format = 1\n[pipeline]\nname = \"many\"\n");
        for image in (0..IMAGES).map(name) {
            write!(pipeline, "[artifacts.{image}]\nimage = \"oci-layout:build/{image}\"\ntags = \"[0-9]*\"\n").unwrap();
        }
        pipeline.push_str("[environments.dev]\ntier = \"development\"\nstart = \"auto\"\ndeploy = \"none\"\n");
        pipeline.push_str("mirror = { \"oci-layout:build\" = \"oci-layout:dev\" }\n");
        let mut gated = None;
        let providers = promo_providers::builtin().into_iter().map(|inner| -> Arc<dyn Provider> {
            if inner.describe().name != "oci" {
                return inner;
            }
            let (begun, open) = (watch::Sender::new(0), watch::Sender::new(false));
            let provider = Arc::new(Gated { inner, begun, open, fails: Mutex::default(), looks: Mutex::default() });
            gated = Some(provider.clone());
            provider
        });
        let setup = Setup { providers: providers.collect(), ..Setup::default() };
        let world = World::of_files(&[("promo.toml", &pipeline)], setup);
        world.release("1.0.0").await;
        let plan = world.plan("dev").await;
        assert_eq!(plan.body.moves[0].steps.len(), IMAGES);
        Self { world, gated: gated.unwrap(), plan }
    }

    /// Applies, and says what happens to `at`, too.
    fn apply(
        &self,
        at: impl Fn(&Progress) + Send + Sync + 'static,
    ) -> impl Future<Output = RunReport> + Send + 'static {
        let mut options = self.world.options();
        options.progress = Arc::new(move |progress| at(&progress));
        let (session, plan) = (self.world.session.clone(), self.plan.clone());
        async move { session.apply(&plan, plan.digest().unwrap(), options).await.unwrap() }
    }

    async fn until_begun(&self, count: usize) {
        let mut begun = self.gated.begun.subscribe();
        let waits = begun.wait_for(|begun| *begun >= count);
        let waits = tokio::time::timeout(PATIENCE, waits);
        assert!(waits.await.is_ok(), "{} of {count} have begun", *self.gated.begun.borrow());
    }

    /// Steps of the run with a record of this kind, by the image.
    fn steps(&self, kind: &str) -> BTreeSet<String> {
        let records = self.world.session.store().records(0, usize::MAX).unwrap();
        let steps = records.iter().filter(|r| r.kind == kind).filter_map(|r| r.step.as_deref());
        let image = |step: &str| step.rsplit('/').next().unwrap().to_owned();
        steps.map(image).collect()
    }
}

fn name(image: usize) -> String {
    format!("i{image}")
}

fn images(range: std::ops::Range<usize>) -> BTreeSet<String> {
    range.map(name).collect()
}

#[tokio::test]
async fn a_plan_asks_for_each_preview_once_and_for_no_more_at_a_time_than_it_may() {
    let place = Place::new().await;
    assert_eq!(*place.gated.looks.lock().unwrap(), Looks { asked: IMAGES, now: 0, most: AT_ONCE });
}

#[tokio::test(flavor = "multi_thread")]
async fn several_copies_of_one_promotion_are_under_way_at_once() {
    let place = Place::new().await;
    let run = tokio::spawn(place.apply(|_| {}));
    place.until_begun(AT_ONCE).await;
    assert_eq!(place.steps("step.intent").len(), AT_ONCE, "no more than so many at once, and each with its intent");
    place.gated.open.send_replace(true);
    let report = run.await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    assert_eq!((place.steps("step.intent"), place.steps("step.effect")), (images(0..IMAGES), images(0..IMAGES)));
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_6_when_one_copy_fails_those_under_way_come_to_their_end_and_no_other_begins() {
    let place = Place::new().await;
    *place.gated.fails.lock().unwrap() = Some(name(0));
    let gated = place.gated.clone();
    let run = tokio::spawn(place.apply(move |progress| {
        if matches!(progress, Progress::StepFailed { .. }) {
            gated.open.send_replace(true);
        }
    }));
    let report = run.await.unwrap();
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Held), exit::HELD), "{report:?}");
    let Fate::Ended { why: Some(why), .. } = &report.environments[0].2 else { panic!("{report:?}") };
    assert!(why.contains("takes nothing more"), "{why}");
    assert_eq!((place.steps("step.intent"), place.steps("step.effect")), (images(0..AT_ONCE), images(0..AT_ONCE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_5_a_run_that_is_to_stop_ends_the_copies_under_way_and_a_resume_takes_the_others() {
    let place = Place::new().await;
    let options = place.world.options();
    let stop = options.stop.clone();
    let (session, plan) = (place.world.session.clone(), place.plan.clone());
    let run = tokio::spawn(async move { session.apply(&plan, plan.digest().unwrap(), options).await.unwrap() });
    place.until_begun(AT_ONCE).await;
    stop.cancel();
    place.gated.open.send_replace(true);
    let report = run.await.unwrap();
    assert_eq!(report.outcome, None, "{report:?}");
    assert_eq!((place.steps("step.intent"), place.steps("step.effect")), (images(0..AT_ONCE), images(0..AT_ONCE)));
    let report = place.world.session.resume(&report.run, place.world.options()).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    assert_eq!(place.steps("step.effect"), images(0..IMAGES));
    assert_eq!(*place.gated.begun.borrow(), IMAGES, "each was taken once");
}
