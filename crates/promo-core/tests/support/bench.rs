//! Planning and applying without providers: a fake world of places, previews of it, and the records that an apply writes.
//! Every plan that is made here is held to what holds for all plans: planning twice, and planning from the same things
//! put together in another order, gives the same bytes (S8.3); applying it and planning again moves nothing (S8.5).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use promo_core::Digest;
use promo_core::canonical;
use promo_core::eligibility::{Rules, lost_evidence};
use promo_core::graph::Graph;
use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::Event;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::plan::{Action, Document, Goal, LedgerRef, Move, Plan, Request, Stay};
use promo_core::planner::{
    DeploymentSettings, Observations, PlanInput, Previewed, StepDraft, assemble, inputs, refused, select, stale,
};
use promo_core::state::State;
use promo_core::windows::Invoker;

use super::history::{World, name};

/// A world with places to deploy to.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) observations: Observations,
    /// What is at each place, by environment and target, or repository and tag.
    pub(crate) places: BTreeMap<String, State>,
    applied: u32,
}

/// What is asked for: everything, by a person.
pub(crate) fn everything() -> Request {
    let (environments, release, until) = (BTreeSet::new(), None, None);
    Request { goal: Goal::Promote, environments, release, until, drill: false, invoker: Invoker::Human }
}

impl Bench {
    pub(crate) fn new(pipeline: &str) -> Self {
        let (world, observations) = (World::new(pipeline), Observations::default());
        Self { world, observations, places: BTreeMap::new(), applied: 0 }
    }

    /// Puts a file into the working tree.
    pub(crate) fn file(&mut self, path: &str, text: &str) -> &mut Self {
        self.observations.files.insert(path.into(), Digest::of(text.as_bytes()));
        self
    }

    /// Plans, and asserts what holds for every plan.
    pub(crate) fn plan(&self, request: &Request) -> Plan {
        let plan = self.once(request, None);
        let bytes = Document::new(plan.clone()).to_bytes().expect("plans are canonical");
        let asked: Vec<_> = plan.moves.iter().filter(|m| m.tier == promo_core::model::Tier::Production).collect();
        if asked.is_empty() {
            assert_eq!(promo_core::lint::plan(&plan), [""; 0], "every plan lints clean");
        }
        let again = |bench: &Self, how: &str| {
            let plan = Document::new(bench.once(request, None));
            assert_eq!(plan.to_bytes().expect("plans are canonical"), bytes, "{how}");
        };
        again(self, "planned twice");
        again(&self.reversed(), "put together in another order");
        let (_, digest) = Document::from_bytes(&bytes).expect("a plan can be read");
        assert_eq!(digest, Document::new(plan.clone()).digest().expect("plans are canonical"));
        // S8.2: planning again with the same releases is not stale.
        let pinned = pins(&plan.moves);
        let pinned = self.once(request, Some(&pinned));
        assert_eq!(stale(&plan, &pinned.inputs, &pinned.moves), [], "stale at once");
        for entry in &plan.moves {
            assert!(entry.gates.is_sorted_by_key(|g| g.kind) && entry.gates.iter().all(|g| g.until.is_none()));
        }
        plan
    }

    /// What `stale` says of a plan now, which is planned again as an apply does it: with the same releases.
    pub(crate) fn stale(&self, plan: &Plan) -> Vec<String> {
        let now = self.once(&plan.request, Some(&pins(&plan.moves)));
        stale(plan, &now.inputs, &now.moves).into_iter().map(|moved| moved.input).collect()
    }

    fn once(&self, request: &Request, pinned: Option<&BTreeMap<EnvironmentName, ReleaseId>>) -> Plan {
        let (rules, view, now) = (self.world.rules(), self.world.view(), self.world.now());
        let mut observations = self.observations.clone();
        let (selection, previews) = loop {
            let rules = rules.clone();
            let input = PlanInput { rules, view: &view, observations: &observations, request, pinned, now: now.into() };
            let selection = select(&input);
            let steps = selection.moves.iter().flat_map(|m| m.steps.iter().chain(&m.rollback_steps));
            let previews = steps.map(|step| (step.id.clone(), self.preview(step))).collect();
            if !refused(&selection, &previews, &BTreeMap::new(), &mut observations) {
                break (selection, previews);
            }
        };
        let lost_evidence = lost_evidence(&rules, &view, self.world.pipeline.environments.keys());
        let input = PlanInput { rules, view: &view, observations: &observations, request, pinned, now: now.into() };
        let (moves, stays) = assemble(selection, &previews).expect("every step was previewed");
        Plan {
            pipeline: self.world.pipeline.name.clone(),
            policy: None,
            local: true,
            ledger: LedgerRef { origin: "test".into(), size: view.size, root: Digest::of(b"root") },
            request: request.clone(),
            planned_at: now,
            expires: now + SignedDuration::from_hours(24),
            initiator: "ada".into(),
            tool: "test".into(),
            inputs: inputs(&input, &moves),
            moves,
            stays,
            lost_evidence,
        }
    }

    fn place(step: &StepDraft) -> String {
        match (step.action, &step.target) {
            (Action::Deploy, Some(target)) => format!("{}/{target}", step.inputs.environment),
            _ => step
                .inputs
                .artifacts
                .values()
                .map(|a| format!("{}:{}", a.repository, a.tag.as_deref().unwrap_or("")))
                .collect(),
        }
    }

    fn preview(&self, step: &StepDraft) -> Previewed {
        let current = self.places.get(&Self::place(step)).copied().unwrap_or(State::Absent);
        let copied = step.inputs.artifacts.values().next().map(|artifact| artifact.digest);
        let inputs = canonical::digest(&step.inputs).expect("inputs are canonical");
        let desired = State::Present(copied.filter(|_| step.action == Action::Copy).unwrap_or(inputs));
        Previewed {
            inputs: step.inputs.clone(),
            current,
            desired,
            changes: Vec::new(),
            images: Vec::new(),
            refused: None,
        }
    }

    /// The same things, put together the other way round.
    fn reversed(&self) -> Self {
        let mut other = self.clone();
        let pipeline = &mut other.world.pipeline;
        pipeline.environments = self.world.pipeline.environments.clone().into_iter().rev().collect();
        pipeline.checks = self.world.pipeline.checks.clone().into_iter().rev().collect();
        other.world.graph = Graph::new(pipeline);
        let Observations {
            files,
            live,
            artifacts,
            trees,
            destinations,
            checks,
            settings,
            judged,
            unread,
            evidence,
            restored,
        } = self.observations.clone();
        other.observations = Observations {
            files: files.into_iter().rev().collect(),
            live: live.into_iter().rev().collect(),
            artifacts: artifacts.into_iter().rev().collect(),
            restored: restored.into_iter().rev().collect(),
            trees: trees.into_iter().rev().collect(),
            destinations: destinations.into_iter().rev().collect(),
            checks: checks.into_iter().rev().collect(),
            settings: settings.into_iter().rev().collect(),
            judged: judged.into_iter().rev().collect(),
            unread: unread.into_iter().rev().collect(),
            evidence: evidence.into_iter().rev().collect(),
        };
        other
    }

    /// Writes what an apply writes, with every automatic check passed, and asserts S8.5.
    pub(crate) fn apply(&mut self, plan: &Plan) -> &mut Self {
        self.applied += 1;
        let run: RunId = name(&format!("apply-{}", self.applied));
        let digest = Document::new(plan.clone()).digest().expect("plans are canonical");
        let environments = pins(&plan.moves);
        let event = Event::RunStarted { environments, approvals: Vec::new(), applier: "ada".into() };
        self.world.push_run(&run, event, digest, None);
        for entry in &plan.moves {
            self.enter(entry, &run, digest);
        }
        self.world.push_run(&run, Event::RunFinished { outcome: RunOutcome::Done }, digest, None);
        let again = if plan.request.goal == Goal::Rollback { everything() } else { plan.request.clone() };
        let moved_again: Vec<_> = self.plan(&again).moves.into_iter().map(|m| m.environment).collect();
        for entry in &plan.moves {
            assert!(!moved_again.contains(&entry.environment), "{} would move again (S8.5)", entry.environment);
        }
        self
    }

    fn enter(&mut self, entry: &Move, run: &RunId, plan: Digest) {
        let (environment, release) = (entry.environment.clone(), entry.to.id.clone());
        let from = entry.from.as_ref().map(|r| r.id.clone());
        let to = release.clone();
        let started = Event::PromotionStarted { environment: environment.clone(), from, to, movement: entry.movement };
        self.world.push_run(run, started, plan, None);
        let mut targets = BTreeMap::new();
        for step in &entry.steps {
            let intent = Event::StepIntent { expected: step.expected, desired: step.desired };
            self.world.push_run(run, intent, plan, Some(&step.id));
            self.world.push_run(run, Event::StepEffect { observed: step.desired }, plan, Some(&step.id));
            let StepPlace { place, target } = StepPlace::of(step);
            self.places.insert(place, step.desired);
            if let Some(target) = target {
                self.observations.live.insert((environment.clone(), target.clone()), step.desired);
                targets.insert(target, step.desired);
            }
        }
        let declared = DeploymentSettings::of(&self.world.pipeline.environments[&environment]);
        self.observations.settings.insert(declared.digest(), declared);
        let (files, settings) = (entry.files.clone(), entry.settings);
        let deployed =
            Event::Deployed { environment: environment.clone(), release: release.clone(), files, settings, targets };
        self.world.push_run(run, deployed, plan, None);
        for check in &entry.checks {
            let (environment, release) = (environment.clone(), release.clone());
            let check = check.name.clone();
            let event = Event::VerdictRecorded {
                environment,
                release,
                check,
                passed: true,
                unanswered: false,
                by: None,
                signed: None,
            };
            self.world.push_run(run, event, plan, None);
        }
        let finished = Event::PromotionFinished { environment, release, outcome: PromotionOutcome::Verified };
        self.world.push_run(run, finished, plan, None);
    }

    /// Rules of the world, for what is asked directly.
    pub(crate) fn rules(&self) -> Rules<'_> {
        self.world.rules()
    }
}

struct StepPlace {
    place: String,
    target: Option<promo_core::ids::TargetName>,
}

impl StepPlace {
    fn of(step: &promo_core::plan::Step) -> Self {
        let draft = StepDraft {
            id: step.id.clone(),
            action: step.action,
            provider: step.provider.clone(),
            target: step.target.clone(),
            inputs: step.inputs.clone(),
        };
        Self { place: Bench::place(&draft), target: step.target.clone() }
    }
}

fn pins(moves: &[Move]) -> BTreeMap<EnvironmentName, ReleaseId> {
    moves.iter().map(|m| (m.environment.clone(), m.drilled().unwrap_or(&m.to.id).clone())).collect()
}

/// `environment=release` of what moves, by alias.
pub(crate) fn moves(plan: &Plan) -> Vec<String> {
    plan.moves.iter().map(|m| format!("{}={}", m.environment, m.to.alias.as_deref().unwrap_or("?"))).collect()
}

/// What stays in an environment.
pub(crate) fn stay<'a>(plan: &'a Plan, environment: &str) -> &'a Stay {
    plan.stays.iter().find(|s| s.environment.as_str() == environment).unwrap_or_else(|| panic!("{environment} moves"))
}
