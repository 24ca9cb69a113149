//! The planner: a synchronous, pure function over borrowed inputs, in two halves. [`select`] decides which release goes
//! where and why the rest stays; providers then preview the drafted steps; [`assemble`] puts their answers into a plan.

mod artifact;
mod assemble;
mod files;
mod stale;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use assemble::assemble;
pub use files::{files_of, matches, shared_files};
pub use stale::{Moved, inputs, stale};

use artifact::{mirror, split_reference};
use files::{covered, matches_any};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::canonical;
use crate::eligibility::{self, ArtifactFindings, Question, Rules};
use crate::gate::{Gate, GateKind, Outcome, Reason, overall};
use crate::ids::{EnvironmentName, ReleaseId, TargetName};
use crate::inputs::{ArtifactInput, FileChange, Inputs};
use crate::ledger::View;
use crate::ledger::event::Movement;
use crate::ledger::view::Residence;
use crate::model::{Check, Environment, Start, Target};
use crate::plan::{Action, Drift, Goal, Move, Next, PlannedCheck, ReleaseRef, Request, Rollback, Stay, StayReason};
use crate::state::State;
use crate::windows::Invoker;

/// What was observed outside the ledger.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    /// Files of the working tree that any environment uses: path to digest.
    pub files: BTreeMap<String, Digest>,
    /// What is live on each target that was ever deployed to.
    pub live: BTreeMap<(EnvironmentName, TargetName), State>,
    /// What is wrong with artifacts.
    pub artifacts: ArtifactFindings,
    /// What is wrong with the places that artifacts of a release would be copied to for an environment.
    pub destinations: BTreeMap<(EnvironmentName, ReleaseId), Vec<Reason>>,
    /// Deployment settings of earlier residences, by digest: what a rollback restores.
    pub settings: BTreeMap<Digest, DeploymentSettings>,
}

/// How an environment is deployed, apart from release and files; its digest stands in the ledger, so a change of it is a
/// reconfiguration and a rollback restores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentSettings {
    /// The provider; none for a control-only node.
    pub provider: Option<String>,
    /// Its settings.
    pub settings: Value,
    /// Paths and globs of its files.
    pub files: Vec<String>,
    /// The places.
    pub targets: BTreeMap<TargetName, Target>,
    /// Where artifacts are copied to first.
    pub mirror: BTreeMap<String, String>,
}

impl DeploymentSettings {
    /// The settings in force for an environment.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let deploy = environment.deploy.as_ref();
        Self {
            provider: deploy.map(|d| d.provider.clone()),
            settings: deploy.map_or(Value::Null, |d| d.settings.clone()),
            files: deploy.map(|d| d.files.clone()).unwrap_or_default(),
            targets: environment.targets.clone(),
            mirror: environment.mirror.clone(),
        }
    }

    /// Their digest.
    ///
    /// # Panics
    /// When the settings hold a float: the configuration refuses those.
    #[must_use]
    pub fn digest(&self) -> Digest {
        canonical::digest(self).expect("invariant: configuration has no floats")
    }
}

/// How many rollback targets a plan names: the one it would take, and a few that a person could choose.
const TARGETS_NAMED: usize = 4;

/// What moves and what stays, before any provider was asked.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// What moves, predecessors first.
    pub moves: Vec<Draft>,
    /// What stays.
    pub stays: Vec<Stay>,
}

/// A move whose steps have not been previewed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Everything of the move but the steps.
    pub head: Move,
    /// The steps.
    pub steps: Vec<StepDraft>,
    /// The steps of the way back.
    pub rollback_steps: Vec<StepDraft>,
}

/// A step without states.
#[derive(Debug, Clone)]
pub struct StepDraft {
    /// See [`crate::plan::Step::id`].
    pub id: String,
    /// See [`crate::plan::Step::action`].
    pub action: Action,
    /// See [`crate::plan::Step::provider`].
    pub provider: String,
    /// See [`crate::plan::Step::target`].
    pub target: Option<TargetName>,
    /// See [`crate::plan::Step::inputs`].
    pub inputs: Inputs,
}

/// What a provider said about a drafted step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previewed {
    /// What is there.
    pub current: State,
    /// What would be there.
    pub desired: State,
    /// The difference.
    pub changes: Vec<FileChange>,
}

/// What the planner is given.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    /// The rules in force.
    pub rules: Rules<'a>,
    /// What the ledger says.
    pub view: &'a View,
    /// What was observed.
    pub observations: &'a Observations,
    /// What is asked for.
    pub request: &'a Request,
    /// The releases that an earlier planning of the same request chose: planning again at apply must not choose newer
    /// ones (S8.2).
    pub pinned: Option<&'a BTreeMap<EnvironmentName, ReleaseId>>,
    /// The present instant.
    pub now: Timestamp,
}

/// Decides which release goes where and why the rest stays.
#[must_use]
pub fn select(input: &PlanInput<'_>) -> Selection {
    let planner = Planner::new(input);
    match (input.request.goal, &input.request.until) {
        (Goal::Rollback, _) => planner.rollbacks(),
        (Goal::Promote, Some(until)) => planner.chain(until),
        (Goal::Promote, None) => planner.hops(),
    }
}

/// The automatic checks of an environment, as they would run on a release now.
#[must_use]
pub fn checks_of(
    rules: &Rules<'_>,
    view: &View,
    observations: &Observations,
    name: &EnvironmentName,
    release: &ReleaseId,
) -> Vec<PlannedCheck> {
    let Some(environment) = rules.pipeline.environments.get(name) else { return Vec::new() };
    let request = Request {
        goal: Goal::Promote,
        environments: BTreeSet::new(),
        release: None,
        until: None,
        invoker: Invoker::Human,
    };
    let (rules, request) = (rules.clone(), &request);
    let input = PlanInput { rules, view, observations, request, pinned: None, now: Timestamp::UNIX_EPOCH };
    Planner::new(&input).checks(name, environment, release, &DeploymentSettings::of(environment))
}

struct Planner<'a> {
    input: &'a PlanInput<'a>,
    /// Files of the working tree that more than one environment uses.
    shared: BTreeSet<&'a str>,
}

impl<'a> Planner<'a> {
    fn new(input: &'a PlanInput<'a>) -> Self {
        Self { input, shared: shared_files(&input.rules, &input.observations.files) }
    }

    fn wanted(&self, name: &EnvironmentName) -> bool {
        let asked = &self.input.request.environments;
        asked.is_empty() || asked.contains(name)
    }

    /// Every environment on its own, by what is verified now.
    fn hops(&self) -> Selection {
        let mut out = Selection::default();
        let nothing = BTreeSet::new();
        for name in self.input.rules.graph.topological().iter().filter(|n| self.wanted(n)) {
            match self.next_for(name) {
                Some((release, movement)) => self.place(name, &release, movement, &nothing, &mut out),
                None => out.stays.push(self.nothing_for(name)),
            }
        }
        out
    }

    /// One release through every environment on the way to `until`; gates behind an earlier move are deferred.
    fn chain(&self, until: &EnvironmentName) -> Selection {
        let mut out = Selection::default();
        let graph = self.input.rules.graph;
        let mut way = graph.ancestors(until);
        way.insert(until.clone());
        let release = self.input.request.release.clone().or_else(|| self.chain_release(&way));
        let mut moved = BTreeSet::new();
        for name in graph.topological().iter().filter(|n| way.contains(*n)) {
            let Some(release) = self.pinned(name).or_else(|| release.clone()) else {
                out.stays.push(self.nothing_for(name));
                continue;
            };
            let current = self.input.view.current(name).map(|r| &r.release);
            if current == Some(&release) && self.reconfiguration(name).is_none() {
                out.stays.push(self.nothing_for(name));
                continue;
            }
            let movement = if current == Some(&release) { Movement::Reconfiguration } else { Movement::Promotion };
            let before = out.moves.len();
            self.place(name, &release, movement, &moved, &mut out);
            if out.moves.len() > before {
                moved.insert(name.clone());
            }
        }
        out
    }

    /// The newest release that is not barred from any environment on the way.
    fn chain_release(&self, way: &BTreeSet<EnvironmentName>) -> Option<ReleaseId> {
        let (view, graph) = (self.input.view, self.input.rules.graph);
        let free = |id: &ReleaseId| way.iter().all(|name| view.quarantine(id, name, graph).is_none());
        view.releases.iter().rev().map(|entry| &entry.release.id).find(|id| free(id)).cloned()
    }

    fn rollbacks(&self) -> Selection {
        let mut out = Selection::default();
        let nothing = BTreeSet::new();
        for name in self.input.rules.graph.topological().iter().filter(|n| self.wanted(n)) {
            let current = self.input.view.current(name).map(|r| r.release.clone());
            let target = current.and_then(|current| {
                let mut targets = eligibility::rollback_targets(&self.input.rules, self.input.view, name, &current)
                    .filter(|id| self.recorded(name, id).is_some());
                let asked = self.pinned(name).or_else(|| self.input.request.release.clone());
                match asked {
                    Some(asked) => targets.find(|id| **id == asked).cloned(),
                    None => targets.next().cloned(),
                }
            });
            match target {
                Some(release) => self.place(name, &release, Movement::Rollback, &nothing, &mut out),
                None => out.stays.push(self.stay(name, StayReason::NoRollbackTarget, None)),
            }
        }
        out
    }

    fn pinned(&self, name: &EnvironmentName) -> Option<ReleaseId> {
        self.input.pinned.and_then(|pinned| pinned.get(name)).cloned()
    }

    /// What would enter an environment next, and as what.
    fn next_for(&self, name: &EnvironmentName) -> Option<(ReleaseId, Movement)> {
        let (rules, view) = (&self.input.rules, self.input.view);
        let current = view.current(name).map(|r| &r.release);
        let asked = self.pinned(name).or_else(|| self.input.request.release.clone());
        if let Some(asked) = asked {
            if current == Some(&asked) {
                return self.reconfiguration(name);
            }
            return Some((asked, Movement::Promotion));
        }
        eligibility::candidate(rules, view, name, self.input.now)
            .map(|release| (release, Movement::Promotion))
            .or_else(|| self.reconfiguration(name))
            .or_else(|| self.arriving(name).map(|release| (release, Movement::Promotion)))
    }

    /// The newest release that stands in a predecessor, or in the ledger for a root, and is ahead of what runs.
    fn arriving(&self, name: &EnvironmentName) -> Option<ReleaseId> {
        let view = self.input.view;
        let current = view.current(name).map_or(0, |r| view.lineage(&r.release));
        let before = self.input.rules.graph.predecessors(name);
        view.releases
            .iter()
            .rev()
            .take_while(|entry| entry.lineage > current)
            .map(|entry| &entry.release.id)
            .find(|id| {
                before.is_empty()
                    || before
                        .iter()
                        .any(|b| view.environment(b).is_some_and(|e| e.residences.iter().any(|r| r.release == **id)))
            })
            .cloned()
    }

    /// The present release with other files or settings of the environment's own.
    fn reconfiguration(&self, name: &EnvironmentName) -> Option<(ReleaseId, Movement)> {
        let current = self.input.view.current(name)?;
        let environment = self.input.rules.pipeline.environments.get(name)?;
        let (files, missing) = self.deployment_files(name, environment, &current.release);
        let same = files == current.files && DeploymentSettings::of(environment).digest() == current.settings;
        (!same && missing.is_empty()).then(|| (current.release.clone(), Movement::Reconfiguration))
    }

    /// Judges a release for an environment and files it under moves or stays.
    fn place(
        &self,
        name: &EnvironmentName,
        release: &ReleaseId,
        movement: Movement,
        moved: &BTreeSet<EnvironmentName>,
        out: &mut Selection,
    ) {
        let input = self.input;
        let environment = &input.rules.pipeline.environments[name];
        let request = input.request;
        let named = request.release.is_some() || request.environments.contains(name);
        let question = Question {
            environment: name,
            release,
            movement,
            named,
            invoker: request.invoker,
            moved_before: moved,
            approvals: None,
            run: None,
        };
        let mut gates =
            eligibility::assess(&input.rules, input.view, &input.observations.artifacts, &question, input.now);
        let (_, missing) = self.deployment_files(name, environment, release);
        let taken = input.observations.destinations.get(&(name.clone(), release.clone()));
        let refusals = missing.into_iter().map(|path| Reason::FileNotInRelease { path });
        gates.extend(refusals.chain(taken.into_iter().flatten().cloned()).map(|reason| Gate {
            kind: GateKind::Artifact,
            outcome: Outcome::Refused,
            reason,
            until: None,
        }));
        gates.sort_by_key(|gate| gate.kind);
        let outcome = overall(&gates);
        let approval = gates.iter().any(|g| g.kind == GateKind::Approval && !g.outcome.is_open());
        let deferred = gates.iter().any(|g| g.outcome == Outcome::Deferred);
        // What may be in a plan: every gate open, known on the way, or waiting for what a reviewed plan waits for.
        let can_wait = gates.iter().all(|g| {
            g.outcome < Outcome::Waiting
                || (g.outcome == Outcome::Waiting && matches!(g.kind, GateKind::Approval | GateKind::Window))
        });
        let next = |gates: Vec<Gate>| Next { release: self.reference(release), gates: without_forecasts(gates) };
        if outcome >= Outcome::Expired {
            out.stays.push(self.stay(name, StayReason::Refused, Some(next(gates))));
        } else if approval && deferred {
            out.stays.push(self.stay(name, StayReason::ApprovalBehindDeferred, Some(next(gates))));
        } else if !can_wait {
            out.stays.push(self.stay(name, StayReason::HeldBack, Some(next(gates))));
        } else if request.invoker == Invoker::Automation && environment.start == Start::Manual && !named {
            out.stays.push(self.stay(name, StayReason::StartsByRequest, Some(next(gates))));
        } else {
            out.moves.push(self.draft(name, environment, release, movement, moved, without_forecasts(gates)));
        }
    }

    fn draft(
        &self,
        name: &EnvironmentName,
        environment: &Environment,
        release: &ReleaseId,
        movement: Movement,
        moved: &BTreeSet<EnvironmentName>,
        gates: Vec<Gate>,
    ) -> Draft {
        let view = self.input.view;
        let present = view.current(name);
        let restored = (movement == Movement::Rollback).then(|| self.recorded(name, release)).flatten();
        let (settings, files) = restored.unwrap_or_else(|| {
            (DeploymentSettings::of(environment), self.deployment_files(name, environment, release).0)
        });
        let steps = self.steps(name, release, &settings, &files, "");
        let targets = match movement {
            Movement::Promotion | Movement::Rollback => {
                let targets = eligibility::rollback_targets(&self.input.rules, view, name, release);
                let there = |id: &&ReleaseId| !self.unavailable(id) && self.recorded(name, id).is_some();
                targets.filter(there).take(TARGETS_NAMED).cloned().collect()
            }
            // The way back from a reconfiguration is the same release as it was.
            Movement::Reconfiguration => alloc::vec![release.clone()],
        };
        let back = targets.first().and_then(|id| {
            let (settings, files) = self.recorded(name, id)?;
            let steps = self.steps(name, id, &settings, &files, "rollback/");
            let checks = self.checks(name, environment, id, &settings);
            let to = self.reference(id);
            Some((Rollback { to, files, settings: settings.digest(), steps: Vec::new(), checks }, steps))
        });
        let (rollback, rollback_steps) = back.unzip();
        let head = Move {
            environment: name.clone(),
            tier: environment.tier,
            movement,
            from: present.map(|r| self.reference(&r.release)),
            to: self.reference(release),
            after: self.input.rules.graph.predecessors(name).intersection(moved).cloned().collect(),
            gates,
            steps: Vec::new(),
            checks: self.checks(name, environment, release, &settings),
            verdicts: environment
                .verify
                .iter()
                .filter_map(|check| match self.input.rules.pipeline.checks.get(check)? {
                    Check::Manual { from } => Some((check.clone(), from.clone())),
                    Check::Automatic { .. } => None,
                })
                .collect(),
            files,
            settings: settings.digest(),
            on_failure: environment.on_failure,
            rollback,
            further_targets: targets.iter().skip(1).map(|id| self.reference(id)).collect(),
        };
        Draft { head, steps, rollback_steps: rollback_steps.unwrap_or_default() }
    }

    /// Whether an artifact of a release is known not to be had: then nothing can go back to it (S10.1). A tag that moved
    /// is no matter here, the digest is still there.
    fn unavailable(&self, release: &ReleaseId) -> bool {
        let findings = self.input.observations.artifacts.get(release);
        findings.is_some_and(|f| f.iter().any(|reason| matches!(reason, Reason::ArtifactUnavailable { .. })))
    }

    /// Settings and files of the newest residence of a release in an environment: what a rollback restores (S10.2). None
    /// when it was never there or its settings are not to be had: something else must not be put in their place.
    fn recorded(
        &self,
        name: &EnvironmentName,
        release: &ReleaseId,
    ) -> Option<(DeploymentSettings, BTreeMap<String, Digest>)> {
        let environment = self.input.view.environment(name)?;
        let residence: &Residence = environment.residences.iter().rev().find(|r| r.release == *release)?;
        let settings = self.input.observations.settings.get(&residence.settings)?;
        Some((settings.clone(), residence.files.clone()))
    }

    /// The files of a deployment: shared ones from the release, the environment's own from the working tree; and the
    /// shared ones that the release does not carry.
    fn deployment_files(
        &self,
        name: &EnvironmentName,
        environment: &Environment,
        release: &ReleaseId,
    ) -> (BTreeMap<String, Digest>, BTreeSet<String>) {
        let patterns = environment.deploy.as_ref().map_or(&[][..], |d| d.files.as_slice());
        self.files(name, patterns, release)
    }

    fn files(
        &self,
        _name: &EnvironmentName,
        patterns: &[String],
        release: &ReleaseId,
    ) -> (BTreeMap<String, Digest>, BTreeSet<String>) {
        let tree = &self.input.observations.files;
        let carried = self.input.view.release(release).map(|entry| &entry.release.content.files);
        let (mut files, mut missing) = (BTreeMap::new(), BTreeSet::new());
        for (path, digest) in carried.into_iter().flatten().filter(|(path, _)| matches_any(patterns, path)) {
            files.insert(path.clone(), *digest);
        }
        for (path, digest) in patterns.iter().flat_map(|pattern| covered(tree, pattern)) {
            if files.contains_key(path) {
                continue;
            }
            if self.shared.contains(path.as_str()) {
                missing.insert(path.clone());
            } else {
                files.insert(path.clone(), *digest);
            }
        }
        (files, missing)
    }

    fn steps(
        &self,
        name: &EnvironmentName,
        release: &ReleaseId,
        settings: &DeploymentSettings,
        files: &BTreeMap<String, Digest>,
        prefix: &str,
    ) -> Vec<StepDraft> {
        let artifacts = self.artifacts(release, settings);
        let inputs = |target: Target, settings: Value, artifacts, files| Inputs {
            environment: name.clone(),
            release: release.clone(),
            target,
            settings,
            artifacts,
            files,
        };
        let mut steps = Vec::new();
        for (component, artifact) in &artifacts {
            if artifact.source.is_some() {
                let one = [(component.clone(), artifact.clone())].into();
                steps.push(StepDraft {
                    id: format!("{name}/{prefix}copy/{component}"),
                    action: Action::Copy,
                    provider: "oci".to_string(),
                    target: None,
                    inputs: inputs(Target(BTreeMap::new()), Value::Null, one, BTreeMap::new()),
                });
            }
        }
        if let Some(provider) = &settings.provider {
            for (target, place) in &settings.targets {
                steps.push(StepDraft {
                    id: format!("{name}/{prefix}deploy/{target}"),
                    action: Action::Deploy,
                    provider: provider.clone(),
                    target: Some(target.clone()),
                    inputs: inputs(place.clone(), settings.settings.clone(), artifacts.clone(), files.clone()),
                });
            }
        }
        steps
    }

    /// The components as an environment sees them, after mirroring.
    fn artifacts(
        &self,
        release: &ReleaseId,
        settings: &DeploymentSettings,
    ) -> BTreeMap<crate::ids::ArtifactName, ArtifactInput> {
        let Some(entry) = self.input.view.release(release) else { return BTreeMap::new() };
        entry
            .release
            .content
            .components
            .iter()
            .map(|(component, digest)| {
                let reference = entry.release.sources.get(component).map_or("", String::as_str);
                let (repository, tag) = split_reference(reference);
                let mirrored = mirror(&settings.mirror, &repository);
                let source = mirrored.as_ref().map(|_| repository.clone());
                let input = ArtifactInput { repository: mirrored.unwrap_or(repository), digest: *digest, tag, source };
                (component.clone(), input)
            })
            .collect()
    }

    fn checks(
        &self,
        name: &EnvironmentName,
        environment: &Environment,
        release: &ReleaseId,
        deployment: &DeploymentSettings,
    ) -> Vec<PlannedCheck> {
        let target = deployment.targets.values().next().cloned().unwrap_or(Target(BTreeMap::new()));
        environment
            .verify
            .iter()
            .filter_map(|check| {
                let declared = self.input.rules.pipeline.checks.get(check)?.for_environment(name);
                let Check::Automatic { provider, settings, files } = declared else { return None };
                let inputs = Inputs {
                    environment: name.clone(),
                    release: release.clone(),
                    target: target.clone(),
                    settings,
                    artifacts: self.artifacts(release, deployment),
                    files: self.files(name, &files, release).0,
                };
                Some(PlannedCheck { name: check.clone(), provider, inputs })
            })
            .collect()
    }

    fn reference(&self, id: &ReleaseId) -> ReleaseRef {
        reference(self.input.view, id)
    }

    /// Why an environment for which there is nothing stays as it is.
    fn nothing_for(&self, name: &EnvironmentName) -> Stay {
        let view = self.input.view;
        let why = if view.releases.is_empty() {
            StayReason::NoReleases
        } else if view.current(name).is_some() {
            StayReason::UpToDate
        } else {
            StayReason::NothingArrived
        };
        self.stay(name, why, None)
    }

    fn stay(&self, name: &EnvironmentName, why: StayReason, next: Option<Next>) -> Stay {
        Stay {
            environment: name.clone(),
            tier: self.input.rules.pipeline.environments[name].tier,
            current: self.input.view.current(name).map(|r| self.reference(&r.release)),
            next,
            why,
            drift: drift(self.input.view, self.input.observations, name),
        }
    }
}

/// A release as people see it.
#[must_use]
pub fn reference(view: &View, id: &ReleaseId) -> ReleaseRef {
    let entry = view.release(id);
    ReleaseRef {
        id: id.clone(),
        lineage: entry.map_or(0, |e| e.lineage),
        alias: entry.and_then(|e| e.release.alias.clone()),
    }
}

/// Targets whose live state is not what the ledger says.
#[must_use]
pub fn drift(view: &View, observations: &Observations, name: &EnvironmentName) -> BTreeMap<TargetName, Drift> {
    let Some(current) = view.current(name) else { return BTreeMap::new() };
    current
        .targets
        .iter()
        .filter_map(|(target, recorded)| {
            let live = observations.live.get(&(name.clone(), target.clone()))?;
            (live != recorded).then(|| (target.clone(), Drift { recorded: *recorded, live: *live }))
        })
        .collect()
}

fn without_forecasts(mut gates: Vec<Gate>) -> Vec<Gate> {
    for gate in &mut gates {
        gate.until = None;
    }
    gates
}
