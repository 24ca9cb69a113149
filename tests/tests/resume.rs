//! Runs that die or fail at every point they pass, and what `resume` makes of them (S9).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::event::{Event, PromotionOutcome, RunOutcome};
use promo_core::plan::{Document, Goal, Request};
use promo_core::windows::Invoker;
use promo_engine::{ApplyOptions, EngineError, Fate, PLAN_LIFETIME, Progress, RunReport, Session, exit};
use promo_ledger::Store;
use promo_sdk::{
    Context, Description, EffectClass, EnsureAnswer, EnsureRequest, ErrorKind, ObserveRequest, Preview, Provider,
    ProviderError, State,
};
use promo_tests::faults::{Faults, Mode, Point};
use promo_tests::world::{Setup, Time, World};

const PAIR: &str = r#"
format = 1
[pipeline]
name = "pair"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[defaults]
start = "auto"
verify = ["smoke"]
[defaults.deploy.directory]
files     = ["config/{environment}.env"]
templates = ["service.j2"]
[checks.smoke]
command = { run = ["true"] }
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
const FORK: &str = r#"
format = 1
[pipeline]
name = "fork"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[defaults]
start = "auto"
verify = ["smoke"]
[defaults.deploy.directory]
templates = ["service.j2"]
[checks.smoke]
command = { run = ["true"] }
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

const TEMPLATE: &str = "{{ environment }} runs {{ artifacts.shop.tag }}\n";

fn name(text: &str) -> EnvironmentName {
    text.parse().unwrap()
}

struct Cell {
    world: World,
    faults: Faults,
    time: Time,
    store: Arc<dyn Store>,
}

impl Cell {
    fn new(pipeline: &str) -> Self {
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
    async fn with_first(pipeline: &str) -> (Self, ReleaseId, ReleaseId) {
        let cell = Self::new(pipeline);
        let first = cell.world.release("1.0.0").await;
        let (reports, _) = cell.world.session.advance(cell.world.options()).await.unwrap();
        assert!(reports.iter().all(|r| r.outcome == Some(RunOutcome::Done)), "{reports:?}");
        cell.time.pass(Duration::from_secs(60));
        let second = cell.world.release("2.0.0").await;
        (cell, first, second)
    }

    async fn plan_until(&self, until: &str) -> Document {
        self.plan_with(None, Some(name(until)), Invoker::Human).await
    }

    /// What is possible now, as automation sees it.
    async fn plan_all(&self) -> Document {
        self.plan_with(None, None, Invoker::Automation).await
    }

    async fn plan_with(
        &self,
        release: Option<ReleaseId>,
        until: Option<EnvironmentName>,
        invoker: Invoker,
    ) -> Document {
        let request = Request { goal: Goal::Promote, environments: [].into(), release, until, invoker };
        self.world.session.plan(request, PLAN_LIFETIME).await.unwrap()
    }

    /// Applies as a process that can die: what it had begun is dropped with it.
    async fn apply(&self, session: &Session, plan: &Document) -> Option<Result<RunReport, EngineError>> {
        let (session, plan, options) = (session.clone(), plan.clone(), self.world.options());
        self.mortal(async move { session.apply(&plan, plan.digest().unwrap(), options).await }).await
    }

    async fn resume(&self, session: &Session, run: &RunId) -> Option<Result<RunReport, EngineError>> {
        let (session, run, options) = (session.clone(), run.clone(), self.world.options());
        self.mortal(async move { session.resume(&run, options).await }).await
    }

    async fn mortal(
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
    fn later(&self) -> Session {
        self.faults.disarm();
        self.time.pass(Duration::from_secs(61));
        self.world.session_as("riley")
    }

    fn current(&self, environment: &str) -> Option<ReleaseId> {
        self.world.current(environment)
    }

    /// What the ledger says is what is there.
    fn assert_settled(&self, at: &str) {
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
    fn assert_sound(&self, at: &str, ended: bool) {
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
    fn touched(&self, plan: &Document) -> bool {
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
    fn run_of(&self, plan: &Document) -> Option<RunId> {
        self.world.session.view().unwrap().consumed.get(&plan.digest().unwrap()).cloned()
    }

    /// Takes a plan to its end whatever happened so far, as a person at another machine would.
    async fn finish(&self, plan: &Document, at: &str) -> RunReport {
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

/// How a plan over `dev` and `stage` must end after a fault and a resume.
fn expected(point: &Point, mode: Mode, touched: bool) -> RunOutcome {
    match (point.name.as_str(), mode) {
        // What died, or was told to stop, goes on; what is only unreachable for now does too (S13.6).
        (_, Mode::Die | Mode::Fail(ErrorKind::Cancelled)) => RunOutcome::Done,
        ("observe" | "ensure before" | "verify", Mode::Fail(ErrorKind::Transient)) => RunOutcome::Done,
        (name, _) if name.starts_with("append") => RunOutcome::Done,
        // From here on a panic of a provider is an error like the others.
        // No data is never a pass (S1.3): a check that would fail again in the same way has failed.
        ("verify", _) => RunOutcome::RolledBack,
        ("ensure before", _) => RunOutcome::RolledBack,
        // Success is what observe says, not what the tool said (S9.2).
        ("ensure after", _) => RunOutcome::Done,
        // Before anything was touched the plan is given up; afterwards it is a failure.
        ("observe", _) if !touched => RunOutcome::Cancelled,
        ("observe", _) => RunOutcome::RolledBack,
        other => panic!("{other:?}"),
    }
}

/// What is tried at a point. Before the run has its first record every fault is the same; a ledger knows two.
fn modes(point: &Point, began: bool) -> Vec<Mode> {
    match point.name.as_str() {
        name if name.starts_with("append before") => vec![Mode::Fail(ErrorKind::Failed)],
        name if name.starts_with("append after") => vec![Mode::Panic],
        _ if !began => vec![Mode::Fail(ErrorKind::Transient)],
        _ => vec![
            Mode::Die,
            Mode::Panic,
            Mode::Fail(ErrorKind::Cancelled),
            Mode::Fail(ErrorKind::Transient),
            Mode::Fail(ErrorKind::Failed),
        ],
    }
}

/// Every point that `work` passes, and what to try there.
fn cells(points: &[Point]) -> Vec<(usize, Mode)> {
    let mut began = false;
    let mut out = Vec::new();
    for (index, point) in points.iter().enumerate() {
        out.extend(modes(point, began).into_iter().map(|mode| (index + 1, mode)));
        began |= point.name == "append after run.started";
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_at_any_point_a_resume_brings_the_run_to_its_documented_end() {
    promo_tests::faults::hush();
    let (clean, ..) = Cell::with_first(PAIR).await;
    let plan = clean.plan_until("stage").await;
    assert_eq!(plan.body.moves.len(), 2);
    clean.faults.arm(usize::MAX, Mode::Die);
    let report = clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    let points = clean.faults.passed();
    for name in ["observe", "ensure before", "ensure after", "verify", "append before run.started"] {
        assert!(points.iter().any(|p| p.name == name), "{name} is never passed: {points:?}");
    }
    for (nth, mode) in cells(&points) {
        let (cell, first, second) = Cell::with_first(PAIR).await;
        let plan = cell.plan_until("stage").await;
        cell.faults.arm(nth, mode);
        let _ = cell.apply(&cell.world.session, &plan).await;
        let point = cell.faults.fired().unwrap_or_else(|| panic!("nothing happened at {nth}"));
        let at = format!("{mode:?} at {nth}, {} of {}", point.name, point.about);
        cell.assert_sound(&at, false);
        let began = cell.run_of(&plan);
        let touched = cell.touched(&plan);
        let report = cell.finish(&plan, &at).await;
        cell.assert_sound(&at, true);
        cell.assert_settled(&at);
        let outcome = match began {
            // Before the first record nothing has happened, and the same plan can be applied (S9.1).
            None => RunOutcome::Done,
            Some(_) => expected(&point, mode, touched),
        };
        assert_eq!(report.outcome, Some(outcome), "{at}: {report:?}");
        let wanted = if outcome == RunOutcome::Done { &second } else { &first };
        assert_eq!(cell.current("stage").as_ref(), Some(wanted), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_dies_anywhere_is_finished_by_a_resume() {
    promo_tests::faults::hush();
    let failing = async || {
        let (cell, first, second) = Cell::with_first(PAIR).await;
        cell.faults.fail_check(format!("stage/smoke/{second}"));
        let plan = cell.plan_until("stage").await;
        (cell, plan, first, second)
    };
    let (clean, plan, ..) = failing().await;
    clean.faults.arm(usize::MAX, Mode::Die);
    let report = clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.exit_code(), exit::ROLLED_BACK, "{report:?}");
    let points = clean.faults.passed();
    let failed = points.iter().rposition(|p| p.name == "append before verdict.recorded").unwrap();
    let failed = points[..failed].iter().rposition(|p| p.name == "append before verdict.recorded").unwrap();
    for nth in failed + 1..=points.len() {
        let (cell, plan, first, second) = failing().await;
        cell.faults.arm(nth, Mode::Die);
        let _ = cell.apply(&cell.world.session, &plan).await;
        let point = cell.faults.fired().unwrap();
        let at = format!("death at {nth}, {} of {}", point.name, point.about);
        let report = cell.finish(&plan, &at).await;
        assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "{at}: {report:?}");
        cell.assert_sound(&at, true);
        cell.assert_settled(&at);
        assert_eq!((cell.current("dev"), cell.current("stage")), (Some(second.clone()), Some(first)), "{at}");
        // S10.4: in quarantine once, and paused.
        let view = cell.world.session.view().unwrap();
        assert!(view.quarantines.contains_key(&(second, Some(name("stage")))), "{at}");
        assert!(view.freezes.contains_key(&Some(name("stage"))), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_cannot_be_seen_for_a_moment_is_interrupted_and_not_given_up_s13_6() {
    let failing = async || {
        let (cell, first, second) = Cell::with_first(PAIR).await;
        cell.faults.fail_check(format!("stage/smoke/{second}"));
        let plan = cell.plan_until("stage").await;
        (cell, plan, first)
    };
    let (clean, plan, _) = failing().await;
    clean.faults.arm(usize::MAX, Mode::Die);
    clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
    let points = clean.faults.passed();
    let verdicts = points.iter().enumerate().filter(|(_, p)| p.name == "append after verdict.recorded");
    let failed = verdicts.map(|(at, _)| at).nth(1).expect("dev passed, stage failed");
    let looks: Vec<usize> = (failed..points.len()).filter(|at| points[*at].name == "observe").collect();
    assert!(looks.len() >= 2, "{points:?}");
    for at in looks {
        let (cell, plan, first) = failing().await;
        cell.faults.arm(at + 1, Mode::Fail(ErrorKind::Transient));
        let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
        assert_eq!(cell.faults.fired().unwrap().name, "observe");
        // The last look only confirms what was done; the others decide nothing until they succeed.
        if report.outcome.is_none() {
            assert_eq!(report.exit_code(), exit::TRANSIENT);
        }
        assert_ne!(report.outcome, Some(RunOutcome::Held), "look {at}: {report:?}");
        let report = cell.finish(&plan, "a look").await;
        assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "look {at}: {report:?}");
        assert_eq!(cell.current("stage"), Some(first));
        cell.assert_sound("a look", true);
        cell.assert_settled("a look");
    }
}

fn fate<'a>(report: &'a RunReport, environment: &str) -> &'a Fate {
    &report.environments.iter().find(|(name, ..)| name.as_str() == environment).unwrap().2
}

fn ended(report: &RunReport, environment: &str) -> PromotionOutcome {
    match fate(report, environment) {
        Fate::Ended { outcome, .. } => *outcome,
        other => panic!("{environment}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_that_fails_is_held_and_may_be_repeated_by_name() {
    let cell = Cell::new(PAIR);
    let release = cell.world.release("1.0.0").await;
    cell.faults.fail_check("dev/smoke");
    let plan = cell.world.plan("dev").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Held), exit::HELD));
    assert_eq!(cell.current("dev"), Some(release.clone()));
    cell.assert_sound("held", true);
    // Automation leaves it alone; a person asks by name (S3.3).
    assert!(cell.plan_all().await.body.moves.is_empty());
    let resumed = cell.resume(&cell.later(), &report.run).await.unwrap().unwrap();
    assert_eq!(resumed.outcome, Some(RunOutcome::Held), "a resume does not try again");
    // Naming the environment alone repeats nothing; naming the release deploys again what runs there and failed.
    assert!(cell.world.plan("dev").await.body.moves.is_empty());
    cell.faults.pass_check("dev/smoke");
    let plan = cell.plan_with(Some(release.clone()), Some(name("dev")), Invoker::Human).await;
    assert_eq!(plan.body.moves.iter().map(|m| &m.to.id).collect::<Vec<_>>(), [&release]);
    let report = cell.apply(&cell.later(), &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    // What is good is not repeated, also by name (S8.5).
    let plan = cell.plan_with(Some(release), Some(name("dev")), Invoker::Human).await;
    assert!(plan.body.moves.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_fails_is_held_with_both_reasons() {
    let (cell, _, second) = Cell::with_first(PAIR).await;
    cell.faults.fail_check("dev/smoke");
    let plan = cell.plan_until("stage").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Held));
    let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = fate(&report, "dev") else {
        panic!("{report:?}")
    };
    assert!(why.contains("the rollback failed") && why.matches("smoke failed").count() == 2, "{why}");
    assert!(matches!(fate(&report, "stage"), Fate::NotStarted { .. }));
    // Only a rollback that worked quarantines by itself.
    assert!(!cell.world.session.view().unwrap().quarantines.contains_key(&(second, Some(name("dev")))));
    cell.assert_sound("held", true);
    cell.assert_settled("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_failure_hold_leaves_the_failed_release_for_a_person() {
    let pipeline = PAIR.replace("start = \"auto\"\n", "start = \"auto\"\non_failure = \"hold\"\n");
    let (cell, _, second) = Cell::with_first(&pipeline).await;
    cell.faults.fail_check(format!("dev/smoke/{second}"));
    let plan = cell.world.plan("dev").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Held));
    assert_eq!(cell.current("dev"), Some(second));
    cell.assert_sound("held", true);
    cell.assert_settled("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn independent_branches_go_on_and_what_depends_on_the_failed_one_does_not_start() {
    let (cell, first, second) = Cell::with_first(FORK).await;
    cell.faults.fail_check(format!("left/smoke/{second}"));
    let plan = cell.plan_until("join").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "{report:?}");
    assert_eq!(ended(&report, "left"), PromotionOutcome::RolledBack);
    assert_eq!(ended(&report, "right"), PromotionOutcome::Verified);
    let Fate::NotStarted { why, .. } = fate(&report, "join") else { panic!("{report:?}") };
    assert!(why.contains("left"), "{why}");
    assert_eq!((cell.current("left"), cell.current("right")), (Some(first.clone()), Some(second.clone())));
    assert_eq!(cell.current("join"), Some(first));
    cell.assert_sound("forked", true);
    cell.assert_settled("forked");
    // What is behind the good branch alone goes on (S9.7).
    let plan = cell.plan_all().await;
    let moves: Vec<&str> = plan.body.moves.iter().map(|m| m.environment.as_str()).collect();
    assert_eq!(moves, ["far"]);
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert_eq!(cell.current("far"), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_running_steps_end_begins_nothing_new_and_is_resumed() {
    let (cell, _, second) = Cell::with_first(FORK).await;
    let plan = cell.plan_until("join").await;
    let mut options = cell.world.options();
    let (stop, said) = (options.stop.clone(), cell.world.said.clone());
    said.lock().unwrap().clear();
    options.progress = Arc::new(move |p| {
        if matches!(&p, Progress::StepStarted { environment, .. } if environment.as_str() == "left") {
            stop.cancel();
        }
        said.lock().unwrap().push(p);
    });
    let report = cell.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!((report.outcome, report.exit_code()), (None, exit::TRANSIENT), "{report:?}");
    // The step that had begun was finished and recorded; the second target of `left` was not touched.
    let live = |place: &str| std::fs::read_to_string(cell.world.path(&format!("environments/{place}/current/service")));
    assert_eq!(live("left-one").unwrap(), "left runs 2.0.0\n");
    assert_eq!(live("left-two").unwrap(), "left runs 1.0.0\n");
    assert!(matches!(fate(&report, "join"), Fate::Interrupted));
    assert!(cell.world.session.view().unwrap().runs[&report.run].interrupted);
    cell.assert_sound("stopped", false);
    // Nothing waits for a lease: a stopped run gives it back.
    let other = cell.world.session_as("riley");
    let resumed = cell.resume(&other, &report.run).await.unwrap().unwrap();
    assert_eq!(resumed.outcome, Some(RunOutcome::Done), "{resumed:?}");
    assert_eq!(cell.current("join"), Some(second));
    cell.assert_sound("resumed", true);
    cell.assert_settled("resumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_hand_between_two_steps_is_not_overwritten() {
    let (cell, first, second) = Cell::with_first(FORK).await;
    let plan = cell.world.plan("dev").await;
    cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    let plan = cell.world.plan("left").await;
    assert_eq!(plan.body.moves[0].steps.len(), 2);
    let file = cell.world.path("environments/left-two/current/service");
    let mut options = cell.world.options();
    let by_hand = file.clone();
    options.progress = Arc::new(move |p| {
        if matches!(&p, Progress::StepDone { step, .. } if step == "left/deploy/one") {
            std::fs::write(&by_hand, "somebody was here\n").unwrap();
        }
    });
    let report = cell.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    // The first target went back; what somebody else made of the second one is for a person to judge (S9.6).
    let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = fate(&report, "left") else {
        panic!("{report:?}")
    };
    assert!(why.contains("environments/left-two holds sha256:"), "{why}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody was here\n");
    let one = std::fs::read_to_string(cell.world.path("environments/left-one/current/service")).unwrap();
    assert_eq!(one, "left runs 1.0.0\n");
    assert_eq!(cell.current("left"), Some(first));
    assert_ne!(cell.current("dev"), cell.current("left"));
    assert_eq!(cell.current("dev"), Some(second));
    cell.assert_sound("held", true);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_holds_what_was_touched_and_frees_what_was_not() {
    for (point, outcome) in
        [("append after promotion.started", PromotionOutcome::Cancelled), ("ensure after", PromotionOutcome::Held)]
    {
        promo_tests::faults::hush();
        let (clean, ..) = Cell::with_first(PAIR).await;
        let plan = clean.plan_until("stage").await;
        clean.faults.arm(usize::MAX, Mode::Die);
        clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
        let nth = clean.faults.passed().iter().position(|p| p.name == point).unwrap() + 1;

        let (cell, _, second) = Cell::with_first(PAIR).await;
        let plan = cell.plan_until("stage").await;
        // A ledger dies by a panic, a provider without a word.
        cell.faults.arm(nth, if point.starts_with("append") { Mode::Panic } else { Mode::Die });
        let _ = cell.apply(&cell.world.session, &plan).await;
        let run = cell.run_of(&plan).unwrap();
        let report = cell.later().cancel(&run).await.unwrap();
        assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Cancelled), exit::STALE));
        assert_eq!(ended(&report, "dev"), outcome);
        assert!(matches!(fate(&report, "stage"), Fate::NotStarted { .. }));
        cell.assert_sound(point, false);
        // It has ended: it is neither resumed nor cancelled again, and a person can ask for the release once more.
        let size = cell.store.head().unwrap().size;
        let resumed = cell.resume(&cell.later(), &run).await.unwrap().unwrap();
        assert_eq!(resumed.outcome, Some(RunOutcome::Cancelled));
        let again = cell.later().cancel(&run).await.unwrap_err();
        assert_eq!(again.code(), "request-invalid");
        assert_eq!(cell.store.head().unwrap().size, size);
        // S3.3: what was tried is not repeated by itself, and is when it is asked for by name.
        assert!(cell.plan_until("stage").await.body.moves.is_empty());
        let plan = cell.plan_with(Some(second), Some(name("stage")), Invoker::Human).await;
        let report = cell.apply(&cell.later(), &plan).await.unwrap().unwrap();
        assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
        cell.assert_sound(point, false);
        cell.assert_settled(point);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_holds_its_lock_until_the_lease_ends_and_no_longer() {
    let faults = Faults::default();
    let setup = Setup {
        providers: faults.providers(promo_providers::builtin()),
        lease: Some(Duration::from_millis(1500)),
        ..Setup::default()
    };
    let world = World::of_files(
        &[("promo.toml", PAIR), ("service.j2", TEMPLATE), ("config/dev.env", "A=1\n"), ("config/stage.env", "A=2\n")],
        setup,
    );
    let release = world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    faults.arm(usize::MAX, Mode::Die);
    let digest = plan.digest().unwrap();
    // Planning again passes as many points as planning did; the next one is the first of the run itself.
    world.plan("dev").await;
    let planning = faults.passed().len();
    faults.arm(planning + 1, Mode::Die);
    let (session, options) = (world.session.clone(), world.options());
    let mut process = tokio::spawn(async move { session.apply(&plan, digest, options).await });
    tokio::select! {
        ended = &mut process => panic!("{ended:?}"),
        () = faults.died() => process.abort(),
    }
    let _ = process.await;
    faults.disarm();
    let other = world.session_as("riley");
    let run = other.view().unwrap().runs.keys().next().unwrap().clone();
    // What was a process there is a task here, so its death cannot be proven. Waiting for it can be stopped,
    let impatient = world.options();
    let stop = impatient.stop.clone();
    let impatient = ApplyOptions { progress: Arc::new(move |_| stop.cancel()), ..impatient };
    let stopped = other.resume(&run, impatient).await.unwrap_err();
    assert_eq!((stopped.code(), stopped.exit_code()), ("stopped", exit::TRANSIENT), "{stopped}");
    // and says who holds what until when.
    world.said.lock().unwrap().clear();
    let report = other.resume(&run, world.options()).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert_eq!(world.current("dev"), Some(release));
    let said = world.said.lock().unwrap();
    let Progress::WaitingForLock { resource, holder, until } = &said[0] else { panic!("{said:?}") };
    assert_eq!(resource, "environment pair/dev");
    assert!(holder.starts_with(&format!("{run}/")), "{holder}");
    assert!(*until <= other.now().unwrap(), "it was not waited for");
    assert_eq!(said.iter().filter(|p| matches!(p, Progress::WaitingForLock { .. })).count(), 1);
}

/// A run that died after its first record, and the lock that it left, in the name of `holder`.
async fn abandoned(holder: &str) -> (Cell, RunId, promo_ledger::Lease) {
    promo_tests::faults::hush();
    let cell = Cell::new(PAIR);
    cell.world.release("1.0.0").await;
    let plan = cell.world.plan("dev").await;
    cell.faults.arm(usize::MAX, Mode::Die);
    cell.world.plan("dev").await;
    // Planning once more, then the first record.
    let nth = cell.faults.passed().len() + 2;
    cell.faults.arm(nth, Mode::Fail(ErrorKind::Failed));
    let lost = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap_err();
    assert_eq!(cell.faults.fired().unwrap().name, "append after run.started", "{lost:?}");
    let run = cell.run_of(&plan).unwrap();
    // The error names the run, and that it has begun.
    assert_eq!((lost.code(), lost.exit_code()), ("run-began", exit::LEDGER_IO));
    assert_eq!(lost.to_string(), format!("the ledger did not answer when run {run} began: it has begun"));
    let resources = ["environment pair/dev".to_string()];
    let lease = cell.store.acquire(&resources, &format!("{run}/{holder}"), Duration::from_secs(60)).unwrap();
    (cell, run, lease)
}

/// How this process appears in the lock of a run that it works at, in its parts.
async fn own_process() -> Vec<String> {
    let cell = Cell::new(PAIR);
    cell.world.release("1.0.0").await;
    let plan = cell.world.plan("dev").await;
    let (store, holder) = (cell.store.clone(), Arc::new(std::sync::Mutex::new(String::new())));
    let (mut options, kept) = (cell.world.options(), holder.clone());
    options.progress = Arc::new(move |p| {
        if matches!(p, Progress::PromotionStarted { .. }) {
            *kept.lock().unwrap() = store.leases().unwrap()[0].holder.clone();
        }
    });
    cell.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    let holder = holder.lock().unwrap();
    holder.split('@').nth(1).unwrap().split(':').map(String::from).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_process_that_is_gone_from_this_machine_is_taken_at_once() {
    let mut process = own_process().await;
    process[2] = u32::MAX.to_string();
    // The time of this ledger stands still: whoever waited would wait for ever.
    let (cell, run, dead) = abandoned(&format!("uuid@{}", process.join(":"))).await;
    let report = cell.resume(&cell.world.session_as("riley"), &run).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert!(!cell.world.said.lock().unwrap().iter().any(|p| matches!(p, Progress::WaitingForLock { .. })));
    // Whatever the dead one would still write is refused by its epoch.
    let records = cell.store.records(0, usize::MAX).unwrap();
    let epochs = records.iter().filter_map(|r| r.epoch).collect::<Vec<_>>();
    assert!(*epochs.last().unwrap() > dead.epoch, "{epochs:?} against {}", dead.epoch);
    assert!(cell.store.leases().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lives_or_was_elsewhere_keeps_its_lock_while_it_renews_it() {
    let process = own_process().await;
    let elsewhere = [&["00000000-0000-0000-0000-000000000000".to_string()], &process[1..]].concat();
    for holder in [process, elsewhere] {
        let (cell, run, lease) = abandoned(&format!("uuid@{}", holder.join(":"))).await;
        let (store, time, options) = (cell.store.clone(), cell.time.clone(), cell.world.options());
        let renews = ApplyOptions {
            progress: Arc::new(move |_| {
                time.pass(Duration::from_secs(15));
                store.renew(&lease, Duration::from_secs(60)).unwrap();
            }),
            ..options
        };
        let error = cell.world.session_as("riley").resume(&run, renews).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("locked", exit::WAITING), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_record_that_was_refused_leaves_it_open_whether_the_run_began() {
    let cell = Cell::new(PAIR);
    cell.world.release("1.0.0").await;
    let plan = cell.world.plan("dev").await;
    cell.faults.arm(usize::MAX, Mode::Die);
    cell.world.plan("dev").await;
    cell.faults.arm(cell.faults.passed().len() + 1, Mode::Fail(ErrorKind::Failed));
    let lost = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap_err();
    assert_eq!(cell.faults.fired().unwrap().name, "append before run.started", "{lost:?}");
    let EngineError::Began { recorded: false, .. } = lost else { panic!("{lost:?}") };
    assert_eq!(cell.run_of(&plan), None);
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "the same plan can be applied");
}

/// The providers of a user, with effects that nothing tells about.
struct Opaque(Arc<dyn Provider>);

#[async_trait::async_trait]
impl Provider for Opaque {
    fn describe(&self) -> Description {
        Description { effects: EffectClass::Opaque, ..self.0.describe() }
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
async fn an_opaque_provider_that_panics_leaves_the_run_stuck_unless_its_work_is_seen_s9_3() {
    promo_tests::faults::hush();
    for (point, outcome, code) in
        [("ensure before", RunOutcome::Stuck, exit::STUCK), ("ensure after", RunOutcome::Done, exit::DONE)]
    {
        let opaque = || {
            let (time, faults) = (Time::at("2026-03-02T09:00:00Z"), Faults::default());
            let store: Arc<dyn Store> = Arc::new(time.ledger());
            let providers = promo_providers::builtin().into_iter().map(|provider| match provider.describe() {
                directory if directory.name == "directory" => Arc::new(Opaque(provider)) as Arc<dyn Provider>,
                _ => provider,
            });
            let setup = Setup {
                store: Some(faults.store(store.clone())),
                providers: faults.providers(providers.collect()),
                clock: Arc::new(time.clone()),
                ..Setup::default()
            };
            let files =
                [("promo.toml", PAIR), ("service.j2", TEMPLATE), ("config/dev.env", ""), ("config/stage.env", "")];
            Cell { world: World::of_files(&files, setup), faults, time, store }
        };
        let clean = opaque();
        clean.world.release("1.0.0").await;
        let plan = clean.world.plan("dev").await;
        assert_eq!(plan.body.inputs["effects of directory"], "opaque");
        clean.faults.arm(usize::MAX, Mode::Die);
        clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
        let nth = clean.faults.passed().iter().position(|p| p.name == point).unwrap() + 1;

        let cell = opaque();
        cell.world.release("1.0.0").await;
        let plan = cell.world.plan("dev").await;
        cell.faults.arm(nth, Mode::Panic);
        let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
        assert_eq!(cell.faults.fired().unwrap().name, point);
        assert_eq!((report.outcome, report.exit_code()), (Some(outcome), code), "{report:?}");
        if let Fate::Ended { why: Some(why), .. } = fate(&report, "dev") {
            assert!(why.contains("cannot be told") && why.contains("broke its contract in `ensure`"), "{why}");
        }
        let size = cell.store.head().unwrap().size;
        assert_eq!(cell.resume(&cell.later(), &report.run).await.unwrap().unwrap().outcome, Some(outcome));
        assert_eq!(cell.store.head().unwrap().size, size, "a resume guesses nothing");
    }
}
