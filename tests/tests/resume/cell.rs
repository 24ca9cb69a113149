//! A world with faults in it, and what must be true of its ledger and places at any time.

use super::*;

/// `dev` with a file of its own, then `stage` with one and a copy.
pub(crate) static PAIR: LazyLock<String> = LazyLock::new(|| {
    let pipeline = small::pipeline("pair", PAIRED);
    pipeline.replace("templates = ", "files = [\"config/{environment}.env\"]\ntemplates = ")
});

const PAIRED: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
[environments.stage]
tier   = "staging"
after  = ["dev"]
target = { directory = "environments/stage" }
mirror = { "oci-layout:registry" = "oci-layout:copies" }
"#;

/// `dev`, then `left` and `right` side by side; `far` behind `right` alone, `join` behind both.
pub(crate) static FORK: LazyLock<String> = LazyLock::new(|| small::pipeline("fork", FORKED));

const FORKED: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
[environments.left]
tier   = "testing"
after  = ["dev"]
targets = { one = { directory = "environments/left-one" }, two = { directory = "environments/left-two" } }
[environments.right]
tier   = "testing"
after  = ["dev"]
target = { directory = "environments/right" }
[environments.far]
tier   = "testing"
after  = ["right"]
target = { directory = "environments/far" }
[environments.join]
tier   = "staging"
after  = ["left", "right"]
target = { directory = "environments/join" }
"#;

pub(crate) const TEMPLATE: &str = "{{ environment }} runs {{ artifacts.shop.tag }}\n";

pub(crate) fn name(text: &str) -> EnvironmentName {
    text.parse().unwrap()
}

pub(crate) struct Cell {
    pub(crate) world: World,
    pub(crate) faults: Faults,
    pub(crate) time: Time,
    pub(crate) store: Arc<dyn Store>,
}

impl Cell {
    pub(crate) fn new(pipeline: &str) -> Self {
        let (time, faults) = (Time::at("2026-03-02T09:00:00Z"), Faults::default());
        let store: Arc<dyn Store> = Arc::new(time.ledger());
        let setup = Setup {
            store: Some(faults.store(store.clone())),
            providers: faults.providers(promo_providers::builtin()),
            clock: Arc::new(time.clone()),
            ..Setup::default()
        };
        let files = [
            ("promo.toml", pipeline),
            ("service.j2", TEMPLATE),
            ("config/dev.env", "PLACE=dev\n"),
            ("config/stage.env", "PLACE=stage\n"),
        ];
        Self { world: World::of_files(&files, setup), faults, time, store }
    }

    /// The first release everywhere, the second one in the ledger.
    pub(crate) async fn with_first(pipeline: &str) -> (Self, ReleaseId, ReleaseId) {
        let cell = Self::new(pipeline);
        let first = cell.world.release("1.0.0").await;
        let reports = cell.world.session.advance(cell.world.options()).await.unwrap().reports;
        assert!(reports.iter().all(|r| r.outcome == Some(RunOutcome::Done)), "{reports:?}");
        cell.time.pass(Duration::from_secs(60));
        let second = cell.world.release("2.0.0").await;
        (cell, first, second)
    }

    pub(crate) async fn plan_until(&self, until: &str) -> Document {
        self.plan_with(None, Some(name(until)), Invoker::Human).await
    }

    /// What is possible now, as automation sees it.
    pub(crate) async fn plan_all(&self) -> Document {
        self.plan_with(None, None, Invoker::Automation).await
    }

    pub(crate) async fn plan_with(
        &self,
        release: Option<ReleaseId>,
        until: Option<EnvironmentName>,
        invoker: Invoker,
    ) -> Document {
        let request = Request { goal: Goal::Promote, environments: [].into(), release, until, drill: false, invoker };
        self.world.session.plan(request, PLAN_LIFETIME).await.unwrap()
    }

    /// Applies as a process that can die: what it had begun is dropped with it.
    pub(crate) async fn apply(&self, session: &Session, plan: &Document) -> Option<Result<RunReport, EngineError>> {
        let (session, plan, options) = (session.clone(), plan.clone(), self.world.options());
        self.mortal(async move { session.apply(&plan, plan.digest().unwrap(), options).await }).await
    }

    pub(crate) async fn resume(&self, session: &Session, run: &RunId) -> Option<Result<RunReport, EngineError>> {
        let (session, run, options) = (session.clone(), run.clone(), self.world.options());
        self.mortal(async move { session.resume(&run, options).await }).await
    }

    pub(crate) async fn mortal(
        &self,
        work: impl Future<Output = Result<RunReport, EngineError>> + Send + 'static,
    ) -> Option<Result<RunReport, EngineError>> {
        let mut process = tokio::spawn(work);
        tokio::select! {
            ended = &mut process => ended.ok(),
            () = self.faults.died() => {
                process.abort();
                let _ = process.await;
                None
            }
        }
    }

    /// Another machine, after the lease of a dead one has run out.
    pub(crate) fn later(&self) -> Session {
        self.faults.disarm();
        self.time.pass(Duration::from_secs(61));
        self.world.session_as("riley")
    }

    pub(crate) fn current(&self, environment: &str) -> Option<ReleaseId> {
        self.world.current(environment)
    }

    /// What the ledger says is what is there.
    pub(crate) fn assert_settled(&self, at: &str) {
        let view = self.world.session.view().unwrap();
        for (name, environment) in &view.environments {
            let Some(current) = environment.residences.last() else { continue };
            let tag = view.release(&current.release).unwrap().release.alias.clone().unwrap();
            for target in self.world.session.governance().pipeline.environments[name].targets.values() {
                let path = self.world.path(&format!("{}/current/service", target.0["directory"]));
                let live = std::fs::read_to_string(&path).unwrap();
                assert_eq!(live, format!("{name} runs {tag}\n"), "{at}: {}", path.display());
            }
        }
    }

    /// The invariants that hold after any number of deaths; `ended` also what holds once a run has ended.
    pub(crate) fn assert_sound(&self, at: &str, ended: bool) {
        promo_ledger::verify(self.store.as_ref()).unwrap_or_else(|e| panic!("{at}: {e}"));
        let mut transitions: BTreeMap<String, usize> = BTreeMap::new();
        for effect in self.faults.journal() {
            *transitions.entry(effect.token).or_default() += 1;
        }
        // S9.3: a step takes effect at most once.
        assert!(transitions.values().all(|n| *n == 1), "{at}: {transitions:?}");
        let records = self.store.records(0, usize::MAX).unwrap();
        let mut effects: BTreeMap<String, usize> = BTreeMap::new();
        let mut verified = std::collections::BTreeSet::new();
        let graph = &self.world.session.governance().graph;
        for record in &records {
            let event = Event::from_parts(&record.kind, &record.body).unwrap();
            match event {
                Event::StepEffect { .. } => {
                    let token = format!("{}/{}", record.run.as_ref().unwrap(), record.step.as_ref().unwrap());
                    *effects.entry(token).or_default() += 1;
                }
                Event::PromotionFinished { environment, release, outcome: PromotionOutcome::Verified } => {
                    verified.insert((environment, release));
                }
                Event::PromotionStarted { environment, to, .. } => {
                    // No environment is entered before its predecessors have verified the release.
                    for before in graph.predecessors(&environment) {
                        assert!(
                            verified.contains(&(before.clone(), to.clone())),
                            "{at}: {environment} before {before}"
                        );
                    }
                }
                _ => {}
            }
        }
        for token in transitions.keys().filter(|_| ended) {
            assert_eq!(effects.get(token), Some(&1), "{at}: {token} in {effects:?}");
        }
    }

    /// Whether the run had begun a step of the environment that it works at.
    pub(crate) fn touched(&self, plan: &Document) -> bool {
        let view = self.world.session.view().unwrap();
        let run = self.run_of(plan).and_then(|run| view.runs.get(&run).cloned());
        let ended = |environment: &EnvironmentName| {
            let history = view.environment(environment).map(|e| e.history.as_slice()).unwrap_or_default();
            history.iter().find(|p| p.plan == Some(plan.digest().unwrap())).and_then(|p| p.finished)
        };
        let at_work =
            plan.body.moves.iter().find(|m| !matches!(ended(&m.environment), Some((_, PromotionOutcome::Verified))));
        run.zip(at_work).is_some_and(|(run, m)| m.steps.iter().any(|s| run.steps.contains_key(&s.id)))
    }

    /// The run of that plan, if it began.
    pub(crate) fn run_of(&self, plan: &Document) -> Option<RunId> {
        self.world.session.view().unwrap().consumed.get(&plan.digest().unwrap()).cloned()
    }

    /// Takes a plan to its end whatever happened so far, as a person at another machine would.
    pub(crate) async fn finish(&self, plan: &Document, at: &str) -> RunReport {
        let session = self.later();
        let ended = match self.run_of(plan) {
            Some(run) => self.resume(&session, &run).await,
            None => self.apply(&session, plan).await,
        };
        let report = ended.unwrap().unwrap_or_else(|e| panic!("{at}: {e:?}"));
        // S9.5: a second resume changes nothing.
        let size = self.store.head().unwrap().size;
        let again = self.resume(&self.later(), &report.run).await.unwrap().unwrap();
        assert_eq!((again.outcome, again.run), (report.outcome, report.run.clone()), "{at}");
        assert_eq!(self.store.head().unwrap().size, size, "{at}: a second resume wrote something");
        report
    }
}

pub(crate) fn fate<'a>(report: &'a RunReport, environment: &str) -> &'a Fate {
    &report.environments.iter().find(|(name, ..)| name.as_str() == environment).unwrap().2
}

pub(crate) fn ended(report: &RunReport, environment: &str) -> PromotionOutcome {
    match fate(report, environment) {
        Fate::Ended { outcome, .. } => *outcome,
        other => panic!("{environment}: {other:?}"),
    }
}
