//! The plan: the whole contract between planning and applying. It leaves no choice, every step carries the state it
//! expects to find, and its digest covers everything that a reader was shown, forecasts aside (S8).

mod features;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::canonical::{self, CanonicalError};
use crate::format::{self, Newer};
use crate::gate::{Gate, Outcome, Reason, overall};
use crate::ids::{CheckName, EnvironmentName, PipelineName, ReleaseId, RoleName, TargetName};
use crate::inputs::{FileChange, Inputs};
use crate::ledger::event::Movement;
use crate::model::{OnClose, OnFailure, Tier, Watch, Wave};
use crate::state::State;
use crate::windows::Invoker;

/// What stands in `kind`.
pub const KIND: &str = "promo.plan";
/// The format that this version writes, and the only one it applies (S8.1).
pub const FORMAT: u32 = 1;
/// No plan is larger than this many bytes (S13.2).
pub const MAX_BYTES: usize = 4 << 20;

/// A plan as it is saved: its digest is the SHA-256 of the canonical JSON of exactly this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`KIND`].
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// Features that the applier must understand: all that the body bears beyond the first version of the format.
    pub requires: Vec<String>,
    /// The plan.
    pub body: Plan,
}

/// Why a file is not a plan that this version can apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanFileError {
    /// It is larger than [`MAX_BYTES`].
    #[error("the plan has at least {0} bytes: expected at most {MAX_BYTES}")]
    TooLarge(usize),
    /// It is not canonical JSON, or not a plan: it was edited, or is something else.
    #[error("the file is not a plan as promo wrote it: {0}")]
    NotCanonical(#[from] CanonicalError),
    /// It is of another kind.
    #[error("the file is a `{0}`: expected a `{KIND}`")]
    Kind(String),
    /// It was made by a newer version.
    #[error(transparent)]
    Newer(#[from] Newer),
    /// It bears no format that there ever was.
    #[error("the plan has format {0}: expected {FORMAT}")]
    Format(u64),
    /// It needs something that this version does not know.
    #[error("the plan requires `{0}`, which this version does not know")]
    Requires(String),
    /// What it bears is not what it says that it requires.
    #[error("the plan does not say what it requires: expected [{}]", .0.join(", "))]
    Unnamed(Vec<String>),
}

impl Document {
    /// Wraps a plan.
    #[must_use]
    pub fn new(body: Plan) -> Self {
        Self { kind: KIND.to_string(), format: FORMAT, requires: features::of(&body), body }
    }

    /// The canonical bytes, which are what is saved.
    ///
    /// # Errors
    /// [`CanonicalError::Number`] when provider settings hold a number without canonical form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// The digest that approvals sign and apply consumes.
    ///
    /// # Errors
    /// As [`Document::to_bytes`].
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        self.to_bytes().map(|bytes| Digest::of(&bytes))
    }

    /// Reads a saved plan and its digest. A file that is not canonical is refused (S8.1). A final line break, which
    /// editors add, is no part of the plan.
    ///
    /// # Errors
    /// [`PlanFileError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, Digest), PlanFileError> {
        if bytes.len() > MAX_BYTES {
            return Err(PlanFileError::TooLarge(bytes.len()));
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        format::admit(bytes, "the plan", KIND, FORMAT)?;
        let header: Value = canonical::from_slice(bytes)?;
        if header.get("kind").and_then(Value::as_str) != Some(KIND) {
            let word = |kind: &Value| kind.as_str().map_or_else(|| kind.to_string(), ToString::to_string);
            let kind = header.get("kind").map_or_else(|| "file without kind".into(), word);
            return Err(PlanFileError::Kind(kind));
        }
        let format = header.get("format").and_then(Value::as_u64).unwrap_or(0);
        if format != u64::from(FORMAT) {
            return Err(PlanFileError::Format(format));
        }
        // Before the rest is understood, which may bear the gates and reasons of such a feature.
        let required = header.get("requires").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        if let Some(feature) = required.into_iter().find(|feature| !features::known(feature)) {
            return Err(PlanFileError::Requires(feature.to_string()));
        }
        let document: Self = canonical::from_slice(bytes)?;
        let borne = features::of(&document.body);
        if document.requires != borne {
            return Err(PlanFileError::Unnamed(borne));
        }
        Ok((document, Digest::of(bytes)))
    }
}

/// What moves where, why, and what holds back the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The policy it was made under; none in local mode without one.
    pub policy: Option<PolicyRef>,
    /// Whether there was no trust file (S0.1).
    pub local: bool,
    /// The ledger and its checkpoint; apply demands a consistent extension of it.
    pub ledger: LedgerRef,
    /// What was asked for.
    pub request: Request,
    /// When it was made.
    pub planned_at: Timestamp,
    /// Until when it may be applied, unless it is requested (S8.4).
    pub expires: Timestamp,
    /// Who asked, as a claim.
    pub initiator: String,
    /// Version of promo that made it.
    pub tool: String,
    /// Everything else that the steps depend on, by name: digests, states, generations, versions. Apply makes this map
    /// again, and a difference is what `stale` names.
    pub inputs: BTreeMap<String, String>,
    /// What moves, predecessors first.
    pub moves: Vec<Move>,
    /// What does not, in graph order.
    pub stays: Vec<Stay>,
    /// Environments whose present release has lost evidence upstream, and which (S3, S16).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost_evidence: BTreeMap<EnvironmentName, Vec<Reason>>,
}

/// A policy by name, version and digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// A ledger and a checkpoint of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LedgerRef {
    /// Which ledger.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// RFC 6962 tree hash over them.
    pub root: Digest,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Forward or back.
    pub goal: Goal,
    /// Only these environments; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub environments: BTreeSet<EnvironmentName>,
    /// Only this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// As far as this environment, with gates that are known only on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<EnvironmentName>,
    /// Of a rollback: whether it is only tried, and what runs comes back at once. Then `release` is where it goes in between.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub drill: bool,
    /// Who asks.
    pub invoker: Invoker,
}

impl Request {
    /// Whether the release was asked for by name, which repeats what was tried before (S3.3). Naming an environment alone
    /// does not.
    #[must_use]
    pub const fn by_name(&self) -> bool {
        self.release.is_some()
    }

    /// Whether it asks for an environment that starts only on request: a person does with whatever they ask for, and
    /// everybody does who names the environment or the release.
    #[must_use]
    pub fn asks_for(&self, environment: &EnvironmentName) -> bool {
        self.invoker == Invoker::Human || self.by_name() || self.environments.contains(environment)
    }
}

/// Forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Promotions and reconfigurations.
    Promote,
    /// A rollback.
    Rollback,
}

/// One release entering one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Where.
    pub environment: EnvironmentName,
    /// Its tier.
    pub tier: Tier,
    /// What kind of move.
    pub movement: Movement,
    /// Whether the way back is tried: `rollback` is done and verified first, and then `steps`, which bring back what runs now.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub drill: bool,
    /// What runs there.
    pub from: Option<ReleaseRef>,
    /// What enters.
    pub to: ReleaseRef,
    /// Of a way back: the release that failed half-way, so that what runs is put there again ([`Self::quarantines`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<ReleaseRef>,
    /// Environments of this plan that must be verified first.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<EnvironmentName>,
    /// How every gate stood, without forecasts.
    pub gates: Vec<Gate>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What is checked afterwards.
    pub checks: Vec<PlannedCheck>,
    /// What is written beside its artifacts once all of that was good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attest: Vec<Step>,
    /// Checks that wait for a person's verdict afterwards.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verdicts: BTreeMap<CheckName, BTreeSet<RoleName>>,
    /// Every file that the deployment uses.
    pub files: BTreeMap<String, Digest>,
    /// Digest of the deployment's settings.
    pub settings: Digest,
    /// For how long the automatic checks are asked again after they have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// What happens on failure.
    pub on_failure: OnFailure,
    /// The order of its targets; empty where they are deployed one after the other. A rollback pauses nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// What a window that closes between two waves does.
    #[serde(default, skip_serializing_if = "OnClose::is_finish")]
    pub on_close: OnClose,
    /// Where it goes back to.
    pub rollback: Option<Rollback>,
    /// Further releases it could go back to, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_targets: Vec<ReleaseRef>,
    /// Without a way back: the best release that there would be, and what bars it. None also when there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_target: Option<LostTarget>,
    /// A newer release that cannot enter now, beside a reconfiguration of what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<Next>,
}

impl Move {
    /// How its gates stood together.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        overall(&self.gates)
    }

    /// The releases that are quarantined for the environment and downstream once a way back by hand is verified: what failed half-way,
    /// and what was left, which is no better than what failed by itself; what is put there again was not left (S10.4).
    pub fn quarantines(&self) -> impl Iterator<Item = &ReleaseRef> {
        let left = self.failed.iter().chain(&self.from).filter(|left| left.id != self.to.id);
        left.filter(|_| self.movement == Movement::Rollback)
    }

    /// Whether something is there that is no release of promo's: what runs already and is taken over.
    #[must_use]
    pub fn takes_over(&self) -> bool {
        let there = |step: &Step| step.changes.iter().any(|change| change.before.is_some());
        self.from.is_none() && self.steps.iter().any(there)
    }

    /// In which wave each target is, counted from 0; nothing where there are no waves.
    #[must_use]
    pub fn wave_by_target(&self) -> BTreeMap<&TargetName, usize> {
        let all = self.waves.iter().enumerate();
        all.flat_map(|(place, wave)| wave.targets.iter().map(move |target| (target, place))).collect()
    }

    /// The release that a drill goes back to in between; none for every other move.
    #[must_use]
    pub fn drilled(&self) -> Option<&ReleaseId> {
        self.rollback.as_ref().filter(|_| self.drill).map(|back| &back.to.id)
    }

    /// The steps that it begins with: they start from what is there when the plan is made.
    #[must_use]
    pub fn first_steps(&self) -> &[Step] {
        match &self.rollback {
            Some(back) if self.drill => &back.steps,
            _ => &self.steps,
        }
    }

    /// Every step that it may come to, those of the way back among them.
    pub fn every_step(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(self.rollback.iter().flat_map(|back| &back.steps)).chain(&self.attest)
    }

    /// Whether its approval rules ask for anyone.
    #[must_use]
    pub fn needs_approval(&self) -> bool {
        self.gates.iter().any(|g| matches!(g.reason, Reason::Approvals { .. }))
    }
}

/// A release as people see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseRef {
    /// Its id.
    pub id: ReleaseId,
    /// Its lineage number.
    pub lineage: u64,
    /// Its alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl core::fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (#{})", self.id, self.lineage)
    }
}

/// One act of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in the plan: `staging/deploy/default`.
    pub id: String,
    /// What it does.
    pub action: Action,
    /// Which provider does it.
    pub provider: String,
    /// Which target, for a deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// What it is made from.
    pub inputs: Inputs,
    /// What it expects to find.
    pub expected: State,
    /// What it leaves.
    pub desired: State,
    /// What changes, as far as it can be shown.
    pub changes: Vec<FileChange>,
    /// Images that it would run and that the release does not name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_images: Vec<String>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Copies an artifact to where the environment takes it from.
    Copy,
    /// Deploys to a target.
    Deploy,
    /// Writes a statement on an artifact beside it.
    Attest,
}

/// An automatic check on one target. A check of several targets stands there once for each, and passes where all do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlannedCheck {
    /// Its name.
    pub name: CheckName,
    /// Which provider runs it.
    pub provider: String,
    /// What it is given.
    pub inputs: Inputs,
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// To which release.
    pub to: ReleaseRef,
    /// With which files.
    pub files: BTreeMap<String, Digest>,
    /// With which settings, by digest.
    pub settings: Digest,
    /// What is done.
    pub steps: Vec<Step>,
    /// What is checked afterwards.
    pub checks: Vec<PlannedCheck>,
}

/// An environment that the plan does not move, and why (architecture: the report matters as much as the plan).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Stay {
    /// Where.
    pub environment: EnvironmentName,
    /// Its tier.
    pub tier: Tier,
    /// What runs there.
    pub current: Option<ReleaseRef>,
    /// The release that would come next, and every gate of it; none when nothing is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// A newer release that may not enter, where `next` is what runs with another configuration (S0.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<Next>,
    /// Why nothing moves, where no release is on its way.
    pub why: StayReason,
    /// Targets whose live state is not what the ledger says: target to what is there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<TargetName, Drift>,
}

/// A release that is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// Which.
    pub release: ReleaseRef,
    /// How its gates stood, without forecasts.
    pub gates: Vec<Gate>,
}

/// A release that an environment cannot go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LostTarget {
    /// Which.
    pub release: ReleaseRef,
    /// What bars it.
    pub reason: Reason,
}

/// Why an environment stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StayReason {
    /// It runs the newest release that there is for it.
    UpToDate,
    /// Nothing was ever released.
    NoReleases,
    /// No release has come as far as this.
    NothingArrived,
    /// The next release is held back by a gate that will open, or can be opened.
    HeldBack,
    /// The next release is refused.
    Refused,
    /// It starts only when it is asked for, and this was not asked for.
    StartsByRequest,
    /// It needs an approval, and approvals are not asked for behind a gate that is known only on the way (S6.9).
    ApprovalBehindDeferred,
    /// There is no release that it could go back to.
    NoRollbackTarget,
}

/// A difference between the ledger and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// What the ledger says.
    pub recorded: State,
    /// What is there.
    pub live: State,
}
