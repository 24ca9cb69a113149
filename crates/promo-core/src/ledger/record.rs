//! One line of the ledger (S12.1): format 1, frozen.

use alloc::collections::BTreeMap;
use alloc::string::String;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::ids::{EnvironmentName, PipelineName, RunId};
use crate::ledger::Event;
use crate::windows::Invoker;

/// The format number that this version writes.
pub const FORMAT: u32 = 1;

/// The text beside a record: why a person did this.
pub const REASON: &str = "reason";
/// The text beside a verdict: what was seen, in one line. Beside the effect of a step and the end of a promotion: why it failed.
pub const DETAIL: &str = "detail";
/// The text beside a verdict: what else was seen, an object of texts as canonical JSON.
pub const EVIDENCE: &str = "evidence";
/// The private text that has what ran once a step had settled, as the list of its images in JSON.
pub const RUNNING: &str = "running";
/// How the name of a text beside a release begins that says one thing of how it was built, `metadata.commit`.
pub const METADATA: &str = "metadata.";
/// The same of one artifact of several, `artifact-metadata.web.commit`: what it says itself, or what was given for all of them.
pub const ARTIFACT_METADATA: &str = "artifact-metadata.";
/// The same that says where an artifact says something that promo knows, `metadata-place.web.org.opencontainers.image.revision`.
pub const SAID_WHERE: &str = "metadata-place.";
/// How the name of a text beside a release begins that says in what an artifact contradicts itself, `metadata-conflict.web.commit`.
pub const CONTRADICTED: &str = "metadata-conflict.";

/// A record as it is hashed: the canonical JSON of this value is a leaf of the ledger's Merkle tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format of this record.
    pub format: u32,
    /// Position, from 0, without gaps.
    pub seq: u64,
    /// Digest of the canonical bytes of the record before; of the ledger's origin text for the first.
    pub prev: Digest,
    /// Chosen by the writer before its first attempt, so that a commit whose reply was lost is recognised.
    pub rid: String,
    /// The kind of event, `release.added`; unknown kinds are kept verbatim.
    pub kind: String,
    /// The pipeline it belongs to.
    pub pipeline: PipelineName,
    /// The environment it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The run it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The step it belongs to, `staging/deploy/default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The lease epoch under which it was written, for what a run writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The plan it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// The policy in force, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// Who wrote it.
    pub actor: Actor,
    /// When the writer says that it happened.
    pub claimed_at: Timestamp,
    /// When the store took it, by the store's own clock.
    pub recorded_at: Timestamp,
    /// Version of promo that wrote it.
    pub tool: String,
    /// What happened.
    pub body: Value,
    /// Commitments to texts that are kept beside the leaf, by field: SHA-256 over salt and text (S12.5).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commitments: BTreeMap<String, Digest>,
}

/// Who wrote a record. A name is a claim, never authority: that comes from signatures inside records (S12.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The claimed identity, as policy names it where it does.
    pub name: String,
    /// Whether a person or a machine asked.
    pub kind: ActorKind,
}

/// Whether a person or a machine asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A person at a terminal.
    Human,
    /// A CI job or a timer.
    Automation,
}

impl From<ActorKind> for Invoker {
    fn from(kind: ActorKind) -> Self {
        match kind {
            ActorKind::Human => Self::Human,
            ActorKind::Automation => Self::Automation,
        }
    }
}

/// What a writer hands to `append_if_head`: everything but position, predecessor and the store's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// See [`Record::rid`].
    pub rid: String,
    /// See [`Record::pipeline`].
    pub pipeline: PipelineName,
    /// See [`Record::environment`].
    pub environment: Option<EnvironmentName>,
    /// See [`Record::run`].
    pub run: Option<RunId>,
    /// See [`Record::step`].
    pub step: Option<String>,
    /// See [`Record::epoch`].
    pub epoch: Option<u64>,
    /// See [`Record::plan`].
    pub plan: Option<Digest>,
    /// See [`Record::policy`].
    pub policy: Option<Digest>,
    /// See [`Record::actor`].
    pub actor: Actor,
    /// See [`Record::claimed_at`].
    pub claimed_at: Timestamp,
    /// See [`Record::tool`].
    pub tool: String,
    /// What happened; gives `kind` and `body`.
    pub event: Event,
    /// Free text and personal data that belongs to the event but stays out of the leaf (S12.5), by field: [`REASON`],
    /// [`DETAIL`], [`EVIDENCE`], [`RUNNING`], [`METADATA`] and a key, [`ARTIFACT_METADATA`] with an artifact and a key.
    pub private: BTreeMap<String, String>,
}

impl Draft {
    /// The record that this becomes at a place in a ledger.
    #[must_use]
    pub fn record(
        &self,
        seq: u64,
        prev: Digest,
        recorded_at: Timestamp,
        commitments: BTreeMap<String, Digest>,
    ) -> Record {
        let (kind, body) = self.event.to_parts();
        Record {
            format: FORMAT,
            seq,
            prev,
            rid: self.rid.clone(),
            kind,
            pipeline: self.pipeline.clone(),
            environment: self.environment.clone(),
            run: self.run.clone(),
            step: self.step.clone(),
            epoch: self.epoch,
            plan: self.plan,
            policy: self.policy,
            actor: self.actor.clone(),
            claimed_at: self.claimed_at,
            recorded_at,
            tool: self.tool.clone(),
            body,
            commitments,
        }
    }
}
