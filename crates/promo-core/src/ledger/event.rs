//! What can happen. One variant per record kind; the record's `kind` and `body` are this enum's tag and content.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::ids::{ArtifactName, CheckName, EnvironmentName, IdentityName, ReleaseId, TargetName};
use crate::plan::PolicyRef;
use crate::release::Release;
use crate::requirement::Nature;
use crate::state::State;

/// Something that happened, as the ledger tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", content = "body", deny_unknown_fields)]
pub enum Event {
    /// A release entered the ledger; its lineage number is the count of these so far, from 1.
    #[serde(rename = "release.added")]
    ReleaseAdded {
        /// The release.
        release: Release,
    },
    /// A release was quarantined: everywhere, or for environments and what lies downstream of them (S10.4).
    #[serde(rename = "release.rejected")]
    ReleaseRejected {
        /// Which.
        release: ReleaseId,
        /// For one environment and downstream; none means everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<EnvironmentName>,
        /// Whether an automatic rollback did it rather than a person.
        automatic: bool,
    },
    /// A digest was recalled (R9): what has it in it is rejected, with a record of its own for each release that is there, and with one
    /// beside each that comes later.
    #[serde(rename = "artifact.recalled")]
    ArtifactRecalled {
        /// An artifact, the manifest of one of its platforms, or a configuration.
        artifact: Digest,
    },
    /// The newest tags of the artifacts were others than before when somebody looked: from then on it is counted for how long nothing
    /// newer comes, until they are one release (R1).
    #[serde(rename = "artifacts.found")]
    ArtifactsFound {
        /// Each, `repository:tag@digest`, by component.
        sources: BTreeMap<ArtifactName, String>,
    },
    /// The recall of a digest ended: what comes with it from here on enters like anything else. What was rejected because of it stays
    /// so: each of that is lifted by itself.
    #[serde(rename = "recall.lifted")]
    RecallLifted {
        /// The digest.
        artifact: Digest,
        /// Who, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// The signed statement: under a policy a lift without one counts for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// A quarantine of exactly this scope was lifted.
    #[serde(rename = "release.lifted")]
    ReleaseLifted {
        /// Which.
        release: ReleaseId,
        /// The scope that was rejected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<EnvironmentName>,
        /// Who, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// The signed statement: under a policy a lift without one counts for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// Somebody said afterwards who wrote a release that came without authors (S6.4).
    #[serde(rename = "release.authors")]
    AuthorsNamed {
        /// Which.
        release: ReleaseId,
        /// Who wrote it, as policy knows them.
        authors: BTreeSet<IdentityName>,
        /// Who says so, as policy knows them: they count among the authors.
        by: IdentityName,
        /// The signed statement: a record without one counts for nothing.
        signed: Value,
    },
    /// What of an artifact runs somewhere, as a registry showed it when a release with it was added: evidence speaks of one of these
    /// (S1.3). Nobody proves it: of several records everything counts that any of them names, until one corrects them.
    #[serde(rename = "artifact.described")]
    ArtifactDescribed {
        /// The digest by which releases name it.
        artifact: Digest,
        /// For each platform its manifest, with the digest of the configuration that the manifest names.
        platforms: BTreeMap<Digest, Option<Digest>>,
        /// What it is, by what its manifests say that they have in them. What is not said counts as an image, of which the most is asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nature: Option<Nature>,
        /// Whether it holds instead of what was recorded of the artifact before.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        corrects: bool,
    },
    /// Somebody brought a document that speaks of artifacts: a scan, a bill of materials, a report of tests. The ledger keeps it by its
    /// digest.
    #[serde(rename = "evidence.added")]
    EvidenceAdded {
        /// The document.
        document: Digest,
        /// Its format, as promo told it.
        format: String,
        /// Under which name it was brought, such as that of a suite of tests.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The digests for which it was brought; never empty.
        subjects: BTreeSet<Digest>,
        /// Where it was attached to one of them, by the digest of the manifest that has it; none where somebody brought it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attached: Option<String>,
    },
    /// A document that was brought counts no more, whatever it said: a person took it back. What is brought of it later is brought anew.
    #[serde(rename = "evidence.withdrawn")]
    EvidenceWithdrawn {
        /// The document.
        document: Digest,
        /// Who, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// The signed statement: under a policy a withdrawal without one counts for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// A check spoke about a release in an environment.
    #[serde(rename = "verdict.recorded")]
    VerdictRecorded {
        /// Where.
        environment: EnvironmentName,
        /// About which release.
        release: ReleaseId,
        /// Which check.
        check: CheckName,
        /// Whether it passed.
        passed: bool,
        /// Whether the check itself could not be run: nothing was seen of what it looks at. What was seen otherwise stands
        /// beside the record ([`crate::ledger::record::DETAIL`]).
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        unanswered: bool,
        /// For a person's verdict: who, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// For a person's verdict: the signed statement.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// The latest valid verdict of a check on a release was withdrawn: it is as if it had not been.
    #[serde(rename = "verdict.withdrawn")]
    VerdictWithdrawn {
        /// Where.
        environment: EnvironmentName,
        /// About which release.
        release: ReleaseId,
        /// Which check.
        check: CheckName,
        /// Who, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// The signed statement: without one a withdrawal counts for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// What runs in an environment was seen to be healthy or not.
    #[serde(rename = "health.observed")]
    HealthObserved {
        /// Where.
        environment: EnvironmentName,
        /// Whether it is healthy now.
        healthy: bool,
    },
    /// Automatic and manual promotion into environments is stopped, with a reason kept beside the leaf.
    #[serde(rename = "environment.frozen")]
    Frozen {
        /// Which; empty means all.
        environments: BTreeSet<EnvironmentName>,
        /// Whether an automatic rollback did it: then only automatic promotion is paused (S10.4).
        automatic: bool,
    },
    /// A freeze or pause of these environments was lifted.
    #[serde(rename = "environment.unfrozen")]
    Unfrozen {
        /// Which; empty means all.
        environments: BTreeSet<EnvironmentName>,
        /// Who, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// The signed statement: under a policy a lift without one counts for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// A policy was used for the first time by a verb that writes: from here on no lower version of it counts, and no other
    /// bytes under this version (S7.1). It binds every pipeline of the ledger.
    #[serde(rename = "policy.adopted")]
    PolicyAdopted {
        /// Which policy.
        policy: PolicyRef,
    },
    /// A person found that an earlier record was written while the clock was ahead, and that it is right now. It holds for
    /// every pipeline of the ledger: only later records say from here on whether the clock went back (S12.6).
    #[serde(rename = "clock.accepted")]
    ClockAccepted {
        /// The latest time that a record bore until then.
        ahead: Timestamp,
        /// Who, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// The signed statement: under a policy the record counts for nothing without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// A plan was put up for approval; older pending ones for the same environments are superseded (S6.7).
    #[serde(rename = "plan.requested")]
    PlanRequested {
        /// The environments it moves.
        environments: BTreeSet<EnvironmentName>,
        /// Until when it can be approved and applied.
        expires: Timestamp,
        /// The name that whoever asked went by: a claim.
        initiator: String,
        /// Who signed it, as policy knows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IdentityName>,
        /// The signed statement: without one nobody can approve where a rule excludes the initiator (S6.4).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Value>,
    },
    /// A signed statement about a plan arrived. The engine verified it; an auditor verifies it again.
    #[serde(rename = "approval.recorded")]
    ApprovalRecorded {
        /// The envelope: statement and signature.
        envelope: Value,
    },
    /// Whoever is about to apply a plan signed that it is them: before the run begins, and whenever a run that is resumed is
    /// to begin another environment whose rule excludes the applier (S6.4). It speaks for what is begun under the epoch of
    /// its record. A plan that no such rule is about is applied without one.
    #[serde(rename = "run.signed")]
    RunSigned {
        /// The environments that the plan moves.
        environments: BTreeSet<EnvironmentName>,
        /// Who signed it, as policy knows them.
        by: IdentityName,
        /// The signed statement.
        signed: Value,
    },
    /// A run began. With the first intent this consumes the plan and the approvals it names.
    #[serde(rename = "run.started")]
    RunStarted {
        /// What it moves: environment to release.
        environments: BTreeMap<EnvironmentName, ReleaseId>,
        /// Digests of the approval envelopes that opened it.
        approvals: Vec<Digest>,
        /// The name that whoever applies goes by: a claim.
        applier: String,
    },
    /// A release is about to enter an environment: its first intent, which fires the join (S3.3).
    #[serde(rename = "promotion.started")]
    PromotionStarted {
        /// Where.
        environment: EnvironmentName,
        /// Which release was there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<ReleaseId>,
        /// Which release enters.
        to: ReleaseId,
        /// What kind of move it is.
        movement: Movement,
    },
    /// A step is about to act (S9.2).
    #[serde(rename = "step.intent")]
    StepIntent {
        /// What the step found and expects to change.
        expected: State,
        /// What it wants to be there afterwards.
        desired: State,
    },
    /// What was observed after a step acted.
    #[serde(rename = "step.effect")]
    StepEffect {
        /// What is there now.
        observed: State,
    },
    /// The targets of a wave run what the run brings, and the checks that look at targets pass there. The next wave's
    /// pause is counted from here. The last wave has no such record: [`Event::Deployed`] follows it.
    #[serde(rename = "wave.finished")]
    WaveFinished {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseId,
        /// Which wave, from 1.
        wave: usize,
        /// Its targets.
        targets: BTreeSet<TargetName>,
        /// The checks that passed there.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        checks: BTreeSet<CheckName>,
    },
    /// Every target of an environment now runs a release with these files.
    #[serde(rename = "environment.deployed")]
    Deployed {
        /// Where.
        environment: EnvironmentName,
        /// What runs.
        release: ReleaseId,
        /// Every file the deployment used: path to digest, shared and own.
        files: BTreeMap<String, Digest>,
        /// Digest of the provider settings in force, so that a change of them is a reconfiguration.
        settings: Digest,
        /// What was observed on each target.
        targets: BTreeMap<TargetName, State>,
    },
    /// The promotion that has just begun brings what runs there another configuration (S0.4). What it brings is named before it is
    /// there, so that one that fails is not tried again by itself, wherever it fails (S3.3).
    #[serde(rename = "configuration.started")]
    ConfigurationStarted {
        /// Where.
        environment: EnvironmentName,
        /// The release, which stays.
        release: ReleaseId,
        /// Every file that the deployment uses: path to digest, shared and own.
        files: BTreeMap<String, Digest>,
        /// Digest of the provider settings.
        settings: Digest,
    },
    /// The promotion that has just begun is a drill: it goes back to another release, and brings back what runs (S10).
    #[serde(rename = "drill.started")]
    DrillStarted {
        /// Where.
        environment: EnvironmentName,
        /// What runs, and comes back.
        release: ReleaseId,
        /// The release that it goes back to.
        back: ReleaseId,
    },
    /// The way back of a drill has ended, and what ran before comes back from here on. Where it failed, why stands beside
    /// the record ([`crate::ledger::record::DETAIL`]).
    #[serde(rename = "drill.turned")]
    DrillTurned {
        /// Where.
        environment: EnvironmentName,
        /// The release that it went back to.
        back: ReleaseId,
        /// Whether that runs there, and every check passed.
        passed: bool,
    },
    /// A promotion ended.
    #[serde(rename = "promotion.finished")]
    PromotionFinished {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseId,
        /// How.
        outcome: PromotionOutcome,
    },
    /// A run stopped and can be resumed.
    #[serde(rename = "run.interrupted")]
    RunInterrupted {},
    /// A run ended.
    #[serde(rename = "run.finished")]
    RunFinished {
        /// How.
        outcome: RunOutcome,
    },
    /// A record of a kind that this version does not know; its kind and body stand verbatim in the record.
    #[serde(skip)]
    Unknown,
}

/// What kind of move a promotion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Movement {
    /// Another release, further along.
    Promotion,
    /// The same release with other environment-own files or settings (S0.4).
    Reconfiguration,
    /// A release that was good here before.
    Rollback,
}

/// How a promotion ended (S9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PromotionOutcome {
    /// Deployed, and every automatic check passed.
    Verified,
    /// A step or check failed; the release named by the plan is back and verified.
    RolledBack,
    /// A step or check failed; the environment stays as it is and waits for a person.
    Held,
    /// It is not known what is there; a person has to look.
    Stuck,
    /// Cancelled before anything was changed.
    Cancelled,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything it moved is verified.
    Done,
    /// Some promotions waited for a gate that did not open.
    Waiting,
    /// Something failed and was rolled back.
    RolledBack,
    /// Something failed and is held.
    Held,
    /// Something is stuck.
    Stuck,
    /// Cancelled by a person.
    Cancelled,
}

impl Event {
    /// The record kind and body of this event.
    ///
    /// # Panics
    /// Never: every variant but `Unknown` serializes to a tag and a content, and `Unknown` is never written.
    #[must_use]
    pub fn to_parts(&self) -> (String, Value) {
        let value = serde_json::to_value(self).expect("invariant: events serialize");
        let kind = value.get("kind").and_then(Value::as_str).expect("invariant: events are tagged").to_string();
        (kind, value.get("body").cloned().unwrap_or_default())
    }

    /// The event of a record's kind and body: [`Event::Unknown`] for a kind that this version does not know.
    ///
    /// # Errors
    /// When the kind is known and the body does not fit it.
    pub fn from_parts(kind: &str, body: &Value) -> Result<Self, serde_json::Error> {
        if !KINDS.contains(&kind) {
            return Ok(Self::Unknown);
        }
        serde_json::from_value(serde_json::json!({"kind": kind, "body": body}))
    }
}

/// The kind of [`Event::PolicyAdopted`], which is read from records of every pipeline.
pub const POLICY_ADOPTED: &str = "policy.adopted";

/// The kind of [`Event::ClockAccepted`], which counts for every pipeline.
pub const CLOCK_ACCEPTED: &str = "clock.accepted";

/// Every record kind that this version knows.
pub const KINDS: [&str; 32] = [
    "release.added",
    "release.rejected",
    "release.lifted",
    "artifact.recalled",
    "recall.lifted",
    "artifacts.found",
    "release.authors",
    "artifact.described",
    "evidence.added",
    "evidence.withdrawn",
    "verdict.recorded",
    "verdict.withdrawn",
    "health.observed",
    "environment.frozen",
    "environment.unfrozen",
    POLICY_ADOPTED,
    CLOCK_ACCEPTED,
    "plan.requested",
    "approval.recorded",
    "run.signed",
    "run.started",
    "promotion.started",
    "step.intent",
    "step.effect",
    "wave.finished",
    "environment.deployed",
    "configuration.started",
    "drill.started",
    "drill.turned",
    "promotion.finished",
    "run.interrupted",
    "run.finished",
];
