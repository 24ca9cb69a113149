//! What a move is made of: files, artifacts, steps, checks and the way back. What must not be here: whether it may be made.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::artifact::{mirror, split_reference};
use super::files::{covered, matches_any};
use super::{DeploymentSettings, Draft, Planner, StepDraft};
use crate::Digest;
use crate::eligibility;
use crate::gate::Gate;
use crate::ids::{ArtifactName, EnvironmentName, ReleaseId};
use crate::inputs::{ArtifactInput, Inputs};
use crate::ledger::event::Movement;
use crate::ledger::view::Residence;
use crate::model::{Check, Environment, OnClose, Target, Wave};
use crate::plan::{Action, Move, PlannedCheck, Rollback};

/// How many rollback targets a plan names: the one it would take, and a few that a person could choose.
const TARGETS_NAMED: usize = 4;

impl Planner<'_> {
    pub(super) fn draft(
        &self,
        name: &EnvironmentName,
        environment: &Environment,
        (release, drill): (&ReleaseId, Option<&ReleaseId>),
        movement: Movement,
        moved: &BTreeSet<EnvironmentName>,
        gates: Vec<Gate>,
    ) -> Draft {
        let view = self.input.view;
        let present = view.current(name);
        // What a drill brings back is what runs, as it was deployed.
        let recorded = movement == Movement::Rollback || drill.is_some();
        let restored = recorded.then(|| self.recorded(name, release)).flatten();
        let (settings, files) = restored
            .unwrap_or_else(|| (DeploymentSettings::of(environment), self.deployment_files(environment, release).0));
        let steps = self.steps(name, release, &settings, &files, "");
        let targets = match movement {
            _ if drill.is_some() => drill.cloned().into_iter().collect(),
            Movement::Promotion | Movement::Rollback => {
                let targets = eligibility::rollback_targets(&self.input.rules, view, name, release);
                let there = |id: &&ReleaseId| self.recorded(name, id).is_some() && self.barred(name, id).is_none();
                targets.filter(there).take(TARGETS_NAMED).cloned().collect()
            }
            // The way back from a reconfiguration is the same release as it was.
            Movement::Reconfiguration => {
                let barred = self.no_way_back(name, release, movement);
                if barred.is_none() { alloc::vec![release.clone()] } else { Vec::new() }
            }
        };
        let back = targets.first().and_then(|id| {
            let (settings, files) = self.recorded(name, id)?;
            let steps = self.steps(name, id, &settings, &files, "rollback/");
            let checks = self.checks(name, environment, id, &settings, true);
            let to = self.reference(id);
            Some((Rollback { to, files, settings: settings.digest(), steps: Vec::new(), checks }, steps))
        });
        let (rollback, rollback_steps) = back.unzip();
        let lost_target = if rollback.is_none() { self.lost_target(name, release, movement) } else { None };
        let failed = (movement == Movement::Rollback).then(|| eligibility::failed_half_way(view, name)).flatten();
        let head = Move {
            environment: name.clone(),
            tier: environment.tier,
            movement,
            drill: drill.is_some(),
            from: present.map(|r| self.reference(&r.release)),
            to: self.reference(release),
            failed: failed.map(|id| self.reference(id)),
            after: self.input.rules.graph.predecessors(name).intersection(moved).cloned().collect(),
            gates,
            steps: Vec::new(),
            checks: self.checks(name, environment, release, &settings, recorded),
            // Known once the steps are.
            attest: Vec::new(),
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
            // A way back is not watched: where it leads was, when it came there. Nor is a way back that is tried.
            watch: environment.watch.filter(|_| !recorded),
            on_failure: environment.on_failure,
            waves: waves(environment, recorded),
            on_close: if environment.waves.is_empty() || drill.is_some() {
                OnClose::Finish
            } else {
                environment.on_close
            },
            rollback,
            further_targets: targets.iter().skip(1).map(|id| self.reference(id)).collect(),
            lost_target,
            newer: None,
        };
        Draft { head, steps, rollback_steps: rollback_steps.unwrap_or_default() }
    }

    /// Settings and files of the newest residence of a release in an environment: what a rollback restores (S10.2). None
    /// when it was never there or its settings are not to be had: something else must not be put in their place.
    pub(super) fn recorded(
        &self,
        name: &EnvironmentName,
        release: &ReleaseId,
    ) -> Option<(DeploymentSettings, BTreeMap<String, Digest>)> {
        let environment = self.input.view.environment(name)?;
        let residence: &Residence = environment.residences.iter().rev().find(|r| r.release == *release)?;
        let settings = self.input.observations.settings.get(&residence.settings)?;
        Some((settings.clone(), residence.files.clone()))
    }

    /// What was done for what is there now, of its deployment alone.
    pub(super) fn deployed(&self, name: &EnvironmentName) -> Vec<StepDraft> {
        let Some(current) = self.input.view.current(name) else { return Vec::new() };
        let Some(settings) = self.input.observations.settings.get(&current.settings) else { return Vec::new() };
        let steps = self.steps(name, &current.release, settings, &current.files, "");
        let there = |step: &StepDraft| step.target.as_ref().is_some_and(|target| current.targets.contains_key(target));
        steps.into_iter().filter(there).collect()
    }

    /// The files of a deployment: shared ones from the release, the environment's own from the working tree; and the
    /// shared ones that the release does not carry.
    pub(super) fn deployment_files(
        &self,
        environment: &Environment,
        release: &ReleaseId,
    ) -> (BTreeMap<String, Digest>, BTreeSet<String>) {
        let patterns = environment.deploy.as_ref().map_or(&[][..], |d| d.files.as_slice());
        self.files(patterns, release)
    }

    fn files(&self, patterns: &[String], release: &ReleaseId) -> (BTreeMap<String, Digest>, BTreeSet<String>) {
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
        let mut artifacts = self.artifacts(release, settings);
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
        for artifact in artifacts.values_mut() {
            artifact.tree = self.input.observations.trees.get(&artifact.digest).cloned().unwrap_or_default();
        }
        if let Some(provider) = &settings.provider {
            // In the order of the waves, and by name where there are none.
            let environment = self.input.rules.pipeline.environments.get(name);
            let waves = environment.map_or(&[][..], |environment| environment.waves.as_slice());
            let mut targets: Vec<_> = settings.targets.iter().collect();
            let order: BTreeMap<_, _> = waves
                .iter()
                .flat_map(|wave| &wave.targets)
                .enumerate()
                .map(|(place, target)| (target, place))
                .collect();
            targets.sort_by_key(|(target, _)| order.get(target));
            for (target, place) in targets {
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
    fn artifacts(&self, release: &ReleaseId, settings: &DeploymentSettings) -> BTreeMap<ArtifactName, ArtifactInput> {
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
                let tree = Vec::new();
                let input =
                    ArtifactInput { repository: mirrored.unwrap_or(repository), digest: *digest, tag, source, tree };
                (component.clone(), input)
            })
            .collect()
    }

    /// Every automatic check, once for each target: what is broken in one of them is not verified (S3.1). Those of one
    /// check stand together, in the order of the targets. Where what was there before comes back, `again`, it is judged with the
    /// files of then: which checks there are, and how they are asked, is a rule of now.
    pub(super) fn checks(
        &self,
        name: &EnvironmentName,
        environment: &Environment,
        release: &ReleaseId,
        deployment: &DeploymentSettings,
        again: bool,
    ) -> Vec<PlannedCheck> {
        let before = self.input.observations.judged.get(&(name.clone(), release.clone())).filter(|_| again);
        let nowhere = Target(BTreeMap::new());
        let mut places: Vec<&Target> = deployment.targets.values().collect();
        if places.is_empty() {
            places.push(&nowhere);
        }
        let mut out = Vec::new();
        for check in &environment.verify {
            let declared = self.input.rules.pipeline.checks.get(check).map(|check| check.for_environment(name));
            let Some(Check::Automatic { provider, settings, files }) = declared else { continue };
            let mut files = self.files(&files, release).0;
            if let Some(before) = before.into_iter().flatten().find(|before| before.name == *check) {
                if before.provider == provider && before.inputs.settings == settings {
                    files.clone_from(&before.inputs.files);
                } else {
                    let then = |path: &String| before.inputs.files.get(path);
                    files.iter_mut().for_each(|(path, digest)| *digest = *then(path).unwrap_or(digest));
                }
            }
            out.extend(places.iter().map(|place| PlannedCheck {
                name: check.clone(),
                provider: provider.clone(),
                inputs: Inputs {
                    environment: name.clone(),
                    release: release.clone(),
                    target: (*place).clone(),
                    settings: settings.clone(),
                    artifacts: self.artifacts(release, deployment),
                    files: files.clone(),
                },
            }));
        }
        out
    }
}

/// The waves of a move. Whoever goes back does not want to wait, and what was verified here before is not tried out.
fn waves(environment: &Environment, recorded: bool) -> Vec<Wave> {
    let mut waves = environment.waves.clone();
    if recorded {
        waves.iter_mut().for_each(|wave| wave.pause = None);
    }
    waves
}
