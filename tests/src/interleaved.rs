//! A world whose ledger somebody else writes in mid-call: between a look and the record that rests on it. What must not live
//! here: what is written, and what must be true afterwards.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use promo_core::ids::ReleaseId;
use promo_core::ledger::event::RunOutcome;
use promo_core::plan::Document;
use promo_engine::clock::SystemClock;
use promo_engine::{EngineError, Progress, RunReport, Session};
use promo_ledger::{MemoryStore, Store};
use promo_sdk::Clock;

use crate::faults::Faults;
use crate::small;
use crate::watched_store::WatchedStore;
use crate::world::{Setup, World};

type Act = Box<dyn FnOnce() + Send>;

/// When something is done.
enum When {
    /// Before the next call of that name.
    Next(&'static str),
    /// After so many calls of any name.
    After(usize),
}

/// What is done before a call of the ledger, once.
#[derive(Clone, Default)]
pub struct Before(Arc<Mutex<Option<(When, Act)>>>);

impl Before {
    /// Does this before the next call of that name.
    pub fn next(&self, call: &'static str, act: impl FnOnce() + Send + 'static) {
        *self.waiting() = Some((When::Next(call), Box::new(act)));
    }

    /// Does this after so many calls, before the one that follows.
    pub fn after(&self, calls: usize, act: impl FnOnce() + Send + 'static) {
        *self.waiting() = Some((When::After(calls), Box::new(act)));
    }

    fn waiting(&self) -> MutexGuard<'_, Option<(When, Act)>> {
        self.0.lock().expect("no panic while it was held")
    }

    fn pass(&self, call: &'static str) {
        let due = self.waiting().take_if(|(when, _)| match when {
            When::Next(awaited) => *awaited == call,
            When::After(0) => true,
            When::After(calls) => {
                *calls -= 1;
                false
            }
        });
        if let Some((_, act)) = due {
            act();
        }
    }
}

/// A world whose ledger can be written by others in mid-call.
pub struct Place {
    /// The world; its session meets what stands in front of the ledger.
    pub world: World,
    /// Faults of providers.
    pub faults: Faults,
    /// The ledger itself.
    pub ledger: Arc<dyn Store>,
    /// What stands in front of it.
    pub before: Before,
}

impl Place {
    /// An empty one of that pipeline, in which everything goes by that clock.
    #[must_use]
    pub fn of(pipeline: &str, clock: Arc<dyn Clock>) -> Self {
        let time = clock.clone();
        let ledger: Arc<dyn Store> = Arc::new(MemoryStore::new("a ledger of a test", Arc::new(move || time.now())));
        let (faults, before) = (Faults::default(), Before::default());
        let hooks = before.clone();
        let watched =
            WatchedStore { inner: ledger.clone(), before: Box::new(move |call| hooks.pass(call)), read: None };
        let setup = Setup {
            store: Some(Arc::new(watched)),
            providers: faults.providers(promo_providers::builtin()),
            clock,
            // Time may pass in a jump, and a run does not lose its lock by that.
            lease: Some(Duration::from_hours(240)),
            ..Setup::default()
        };
        let files = [("promo.toml", pipeline), ("service.j2", "{{ artifacts.shop.tag }}\n")];
        Self { world: World::of_files(&files, setup), faults, ledger, before }
    }

    /// The first release in dev, the second one in the ledger with a plan for it.
    ///
    /// # Panics
    /// When the first does not get there.
    pub async fn with_first() -> (Self, ReleaseId, ReleaseId, Document) {
        Self::of(&small::pipeline("one", small::ONE), Arc::new(SystemClock)).first().await
    }

    /// The same of any pipeline whose dev takes a release without being asked twice.
    ///
    /// # Panics
    /// When the first does not get there.
    pub async fn first(self) -> (Self, ReleaseId, ReleaseId, Document) {
        let place = self;
        let first = place.world.release("1.0.0").await;
        let plan = place.world.plan("dev").await;
        assert_eq!(place.apply(&plan, |_| {}).await.expect("it works in a test").outcome, Some(RunOutcome::Done));
        let second = place.world.release("2.0.0").await;
        let plan = place.world.plan("dev").await;
        (place, first, second, plan)
    }

    /// Another process, past whatever stands in front of the ledger of the first.
    #[must_use]
    pub fn other(&self, name: &str) -> Session {
        self.world.session_with(name, &Setup { store: Some(self.ledger.clone()), ..self.world.setup().clone() })
    }

    /// Applies; `at` hears everything that is said.
    ///
    /// # Errors
    /// As the session has them.
    ///
    /// # Panics
    /// When the plan has no digest.
    pub async fn apply(
        &self,
        plan: &Document,
        at: impl Fn(&Progress) + Send + Sync + 'static,
    ) -> Result<RunReport, EngineError> {
        let mut options = self.world.options();
        options.progress = Arc::new(move |p| at(&p));
        self.world.session.apply(plan, plan.digest().expect("it works in a test"), options).await
    }

    /// The kind of every record.
    ///
    /// # Panics
    /// When the ledger cannot be read.
    #[must_use]
    pub fn kinds(&self) -> Vec<String> {
        self.ledger.records(0, usize::MAX).expect("it works in a test").into_iter().map(|r| r.kind).collect()
    }
}
