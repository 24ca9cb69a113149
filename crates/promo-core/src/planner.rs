//! The planner: a synchronous, pure function over borrowed inputs, in two halves. [`select`] decides which release goes
//! where and why the rest stays; providers then preview the drafted steps; [`assemble`] puts their answers into a plan.

mod artifact;
mod assemble;
mod back;
mod choose;
mod draft;
mod files;
mod images;
mod stale;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

pub use artifact::{mirror, split_reference};
pub use assemble::{assemble, refused};
pub use back::elsewhere;
pub use files::{files_of, matches, shared_files};
pub use images::refused as refused_images;
pub(crate) use stale::told_twice;
pub use stale::{
    Moved, differences, doubt, edited, inputs, inputs_here, judges_of, misquoted, rules, stale, told_of_judges,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::canonical;
use crate::clock::Present;
use crate::eligibility::{ArtifactFindings, Assessor, Evidence, Observed, Rules};
use crate::gate::Reason;
use crate::ids::{EnvironmentName, ReleaseId, TargetName};
use crate::inputs::{FileChange, Inputs};
use crate::ledger::View;
use crate::model::{Environment, Target};
use crate::plan::{Action, Drift, Goal, Move, PlannedCheck, ReleaseRef, Request, Stay};
use crate::state::State;
use crate::windows::Invoker;

/// What was observed outside the ledger.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    /// Files of the working tree that any environment uses: path to digest.
    pub files: BTreeMap<String, Digest>,
    /// What is live on each target that was ever deployed to.
    pub live: BTreeMap<(EnvironmentName, TargetName), State>,
    /// What is wrong with the artifacts of what would enter, by the tags that it was recorded with.
    pub artifacts: ArtifactFindings,
    /// What is wrong with the artifacts of what would come back, by their digests alone. One release may be both: it waits to enter
    /// one environment, and another would go back to it.
    pub restored: ArtifactFindings,
    /// What is known of the evidence for releases that could move.
    pub evidence: Evidence,
    /// The digests of the other manifests below an artifact's, where it has any.
    pub trees: BTreeMap<Digest, Vec<Digest>>,
    /// What is wrong with the places that artifacts of a release would be copied to for an environment.
    pub destinations: BTreeMap<(EnvironmentName, ReleaseId), Vec<Reason>>,
    /// Checks that could not be run after a release was deployed to an environment; an entry, also without any, where it was
    /// looked.
    pub checks: BTreeMap<(EnvironmentName, ReleaseId), Vec<Reason>>,
    /// Deployment settings of earlier residences, by digest: what a rollback restores.
    pub settings: BTreeMap<Digest, DeploymentSettings>,
    /// What was planned to judge a release when it last came to an environment; an entry, also without any, where it was looked.
    /// A rollback restores its files (S2.4): what came with a newer release says nothing of the older one.
    pub judged: BTreeMap<(EnvironmentName, ReleaseId), Vec<PlannedCheck>>,
    /// Plans that were to say that and that cannot be read: then the files of now judge, and the plan says so.
    pub unread: BTreeMap<(EnvironmentName, ReleaseId), Digest>,
}

impl Observations {
    /// What of it is about releases.
    #[must_use]
    pub const fn of_releases(&self) -> Observed<'_> {
        Observed { artifacts: &self.artifacts, restored: &self.restored, evidence: &self.evidence }
    }
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
    /// What it was asked with.
    pub inputs: Inputs,
    /// What is there.
    pub current: State,
    /// What would be there.
    pub desired: State,
    /// The difference.
    pub changes: Vec<FileChange>,
    /// The images that would run.
    pub images: Vec<String>,
    /// Why it must not be done, where that is a finding about this environment and this release.
    pub refused: Option<Reason>,
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
    /// ones (S8.2). Of a drill the one that it goes back to, since what runs is no choice.
    pub pinned: Option<&'a BTreeMap<EnvironmentName, ReleaseId>>,
    /// The present.
    pub now: Present,
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

/// The automatic checks of an environment, as they would run now on the release that it has: with the files that judged it before
/// where those were looked up, else with those of now.
#[must_use]
pub fn checks_of(
    rules: &Rules<'_>,
    view: &View,
    observations: &Observations,
    name: &EnvironmentName,
    release: &ReleaseId,
) -> Vec<PlannedCheck> {
    let Some(environment) = rules.pipeline.environments.get(name) else { return Vec::new() };
    let (rules, request) = (rules.clone(), &nothing_named());
    let input = PlanInput { rules, view, observations, request, pinned: None, now: Timestamp::UNIX_EPOCH.into() };
    Planner::new(&input).checks(name, environment, release, &DeploymentSettings::of(environment), true)
}

/// The deployment steps that gave what an environment has now: its release with the files and the settings that it was deployed
/// with, target by target. None where nothing was deployed, or where those settings are not to be had.
#[must_use]
pub fn deployed(rules: &Rules<'_>, view: &View, observations: &Observations, name: &EnvironmentName) -> Vec<StepDraft> {
    let (rules, request) = (rules.clone(), &nothing_named());
    let input = PlanInput { rules, view, observations, request, pinned: None, now: Timestamp::UNIX_EPOCH.into() };
    Planner::new(&input).deployed(name)
}

/// The environments whose own files or settings are others than those that were deployed: what a plan would move as a
/// reconfiguration as far as gates let it. Of what was observed only the files are looked at. Of each, whether these failed there
/// before, and are planned by name only (S3.3).
#[must_use]
pub fn reconfigured(rules: &Rules<'_>, view: &View, observations: &Observations) -> BTreeMap<EnvironmentName, bool> {
    let (rules, request) = (rules.clone(), &nothing_named());
    let input = PlanInput { rules, view, observations, request, pinned: None, now: Timestamp::UNIX_EPOCH.into() };
    let planner = Planner::new(&input);
    let names = input.rules.pipeline.environments.keys();
    let changed = names.filter(|name| planner.reconfigured(name));
    let tried = |name: &EnvironmentName| view.current(name).is_some_and(|here| planner.tried(name, &here.release));
    changed.map(|name| (name.clone(), tried(name))).collect()
}

/// The files and the digest of the settings with which releases would be deployed to environments by the pipeline and the files
/// here, in the order of the questions; none where a file is in no release yet, or the environment is not there.
#[must_use]
pub fn configurations(
    rules: &Rules<'_>,
    view: &View,
    observations: &Observations,
    questions: &[(&EnvironmentName, &ReleaseId)],
) -> Vec<Option<(BTreeMap<String, Digest>, Digest)>> {
    let (rules, request) = (rules.clone(), &nothing_named());
    let input = PlanInput { rules, view, observations, request, pinned: None, now: Timestamp::UNIX_EPOCH.into() };
    let planner = Planner::new(&input);
    let one = |(name, release): &(&EnvironmentName, &ReleaseId)| {
        let environment = input.rules.pipeline.environments.get(*name)?;
        let (files, missing) = planner.deployment_files(environment, release);
        missing.is_empty().then(|| (files, DeploymentSettings::of(environment).digest()))
    };
    questions.iter().map(one).collect()
}

fn nothing_named() -> Request {
    Request {
        goal: Goal::Promote,
        environments: BTreeSet::new(),
        release: None,
        until: None,
        drill: false,
        invoker: Invoker::Human,
    }
}

struct Planner<'a> {
    input: &'a PlanInput<'a>,
    assessor: Assessor<'a>,
    /// Files of the working tree that more than one environment uses.
    shared: BTreeSet<&'a str>,
}

impl<'a> Planner<'a> {
    fn new(input: &'a PlanInput<'a>) -> Self {
        let assessor = Assessor::new(&input.rules, input.view, input.observations.of_releases(), input.now);
        Self { input, assessor, shared: shared_files(&input.rules, &input.observations.files) }
    }

    fn reference(&self, id: &ReleaseId) -> ReleaseRef {
        reference(self.input.view, id)
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
