//! What the view is made of: one type for each thing that records tell. What must not be here: how records are folded.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::Digest;
use crate::ids::{ArtifactName, CheckName, EnvironmentName, IdentityName, ReleaseId, RunId, TargetName};
use crate::ledger::Actor;
use crate::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use crate::release::Release;
use crate::state::State;

/// A release and when it entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseEntry {
    /// Its place in the order of entry, from 1.
    pub lineage: u64,
    /// Position of the record.
    pub seq: u64,
    /// The release.
    pub release: Release,
    /// When it entered, by the store's clock.
    pub added: Timestamp,
    /// Who added it.
    pub by: Actor,
    /// Of what its build spoke when it entered, `commit`: what it said stands beside the record, until it is erased (S12.5).
    pub said: BTreeSet<String>,
    /// Who wrote it, as somebody said afterwards, and whoever said so.
    pub authors: BTreeSet<IdentityName>,
}

/// The newest tags of the artifacts, as somebody saw them first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Each, `repository:tag@digest`, by component.
    pub sources: BTreeMap<ArtifactName, String>,
    /// When, and by whom.
    pub note: Note,
}

/// A document that somebody brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceEntry {
    /// Position of the record.
    pub seq: u64,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// The document, which the ledger keeps by its digest.
    pub document: Digest,
    /// Its format, as promo told it.
    pub format: String,
    /// Under which name it was brought.
    pub name: Option<String>,
    /// The digests for which it was brought.
    pub subjects: BTreeSet<Digest>,
    /// Where it was attached to one of them; none where somebody brought it.
    pub attached: Option<String>,
    /// Who took it back since: it counts no more.
    pub withdrawn: Option<Withdrawn>,
}

/// That a document counts no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// The record.
    pub note: Note,
    /// Who signed it, as policy knows them; none before there was a policy.
    pub signer: Option<IdentityName>,
}

impl Withdrawn {
    /// Who: as signed, else as claimed.
    #[must_use]
    pub fn by(&self) -> &str {
        self.signer.as_ref().map_or(&self.note.by.name, IdentityName::as_str)
    }
}

/// Which record said something, when and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Position of the record.
    pub seq: u64,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// Whether promo did it by itself after a failure.
    pub automatic: bool,
}

/// A freeze or pause in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Which record, when and by whom.
    pub note: Note,
}

/// Something that stopped promotion, or lifted what stopped it, in force or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Which record, when and by whom.
    pub note: Note,
    /// What was done.
    pub act: StopAct,
    /// Who signed the lift, where a policy asked for a signature.
    pub signer: Option<IdentityName>,
}

/// What was stopped or lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopAct {
    /// Environments were frozen or paused.
    Frozen {
        /// Which; none means all.
        scopes: Vec<Option<EnvironmentName>>,
    },
    /// A freeze or pause of them was lifted.
    Unfrozen {
        /// Which; none means all.
        scopes: Vec<Option<EnvironmentName>>,
    },
    /// A release was quarantined.
    Rejected {
        /// Which.
        release: ReleaseId,
        /// For which environment and downstream; none means everywhere.
        scope: Option<EnvironmentName>,
    },
    /// A digest was recalled.
    Recalled {
        /// Which.
        artifact: Digest,
    },
    /// The recall of a digest ended.
    RecallLifted {
        /// Which.
        artifact: Digest,
    },
    /// A document of evidence was withdrawn.
    Withdrawn {
        /// Which.
        document: Digest,
    },
    /// A quarantine was lifted.
    Lifted {
        /// Of which release.
        release: ReleaseId,
        /// The scope that was rejected.
        scope: Option<EnvironmentName>,
    },
}

/// What is known of one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentView {
    /// Counts the records that changed it; a plan binds it (S8.2).
    pub generation: u64,
    /// What was deployed here, oldest first; the last one is the present one.
    pub residences: Vec<Residence>,
    /// Health as it was recorded: when, and whether healthy.
    pub health: Vec<(Timestamp, bool)>,
    /// Verdicts by release and check, in ledger order.
    pub verdicts: BTreeMap<ReleaseId, BTreeMap<CheckName, Vec<VerdictEntry>>>,
    /// Releases whose promotion into here has begun once (S3.3).
    pub fired: BTreeSet<ReleaseId>,
    /// The promotion that is under way.
    pub active: Option<Promotion>,
    /// Promotions that ended, oldest first.
    pub history: Vec<Promotion>,
}

/// A stay of one release with one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residence {
    /// What runs.
    pub release: ReleaseId,
    /// The files it was deployed with.
    pub files: BTreeMap<String, Digest>,
    /// Digest of the provider settings it was deployed with.
    pub settings: Digest,
    /// What was observed on each target.
    pub targets: BTreeMap<TargetName, State>,
    /// When, by the store's clock.
    pub since: Timestamp,
    /// When something else came, or a step was begun that brings something else: from then on nobody can say that this alone was
    /// there, whatever became of that step (S4.1). The present one may have this too.
    pub until: Option<Timestamp>,
    /// The run that did it.
    pub run: Option<RunId>,
    /// How many health records stand before it: those from here on are about this stay. Ledger order and not the clock
    /// says so, because two records may bear the same time (S16).
    pub health_from: usize,
    /// How many health records stand before its end; none as long as it lasts.
    pub health_until: Option<usize>,
}

impl Residence {
    /// Ends it, where it has not ended: `health` is how many health records stand before that.
    pub(super) fn end(&mut self, at: Timestamp, health: usize) {
        if self.until.is_none() {
            (self.until, self.health_until) = (Some(at), Some(health));
        }
    }
}

/// With what a release is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Every file: path to digest, shared and own.
    pub files: BTreeMap<String, Digest>,
    /// Digest of the provider settings.
    pub settings: Digest,
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictEntry {
    /// Position of the record.
    pub seq: u64,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// What was said.
    pub said: Said,
    /// Which deployment of the release it is about, so that a flaky pass is known (S3.1): the position of the release's
    /// newest residence then, from 1, also when something else has come since; 0 before it was ever there, and when it is about a
    /// part of the targets, whose promotion has not come to a deployment yet.
    pub residence: usize,
    /// The person, for a manual check.
    pub by: Option<IdentityName>,
    /// Whether the check could not be run. What it saw otherwise stands beside the record (S12.5).
    pub unanswered: bool,
    /// The run whose verification it was part of.
    pub run: Option<RunId>,
}

/// What a verdict record said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// The verdict before no longer stands.
    Withdrawn,
}

/// One release entering one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// The run that did it.
    pub run: RunId,
    /// Which release was there.
    pub from: Option<ReleaseId>,
    /// Which release entered.
    pub to: ReleaseId,
    /// What kind of move it was.
    pub movement: Movement,
    /// When it began.
    pub started: Timestamp,
    /// When each of its waves was done, the last one aside.
    pub waves: Vec<Timestamp>,
    /// Whether it has come so far that all targets ran the same: what it brings, or what it went back to.
    pub deployed: bool,
    /// When and how it ended.
    pub finished: Option<(Timestamp, PromotionOutcome)>,
    /// Position of the record of its end, where a text beside that says why it did not go well (S12.5).
    pub told: Option<u64>,
    /// Who applied it.
    pub by: Actor,
    /// The plan.
    pub plan: Option<Digest>,
    /// Of a drill: how the way back went that it tries. What it moves is there before and after.
    pub drill: Option<Drill>,
    /// What it brings to a release that runs there already; none of any other move, nor where the record of it is older than this.
    pub configuration: Option<Configuration>,
}

/// A way back that was tried, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    /// The release that it goes back to.
    pub back: ReleaseId,
    /// When it began, and under which epoch: the first intent, or the drill itself where nothing has to be done.
    pub began: (Timestamp, Option<u64>),
    /// Whether an intent of it stands in the ledger.
    pub acted: bool,
    /// When the way back ended.
    pub turned: Option<Turned>,
}

/// How the way back of a drill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// When.
    pub at: Timestamp,
    /// Whether the release was there and verified.
    pub passed: bool,
    /// Whether it was interrupted in between: then how long it took says nothing of a rollback.
    pub resumed: bool,
    /// Position of the record, where a text beside it says why it failed (S12.5).
    pub told: Option<u64>,
}

impl Drill {
    /// How long the way back took, from the first intent to the last verdict, by the ledger's clock; none before it has ended.
    #[must_use]
    pub fn took(&self) -> Option<SignedDuration> {
        let turned = self.turned.as_ref()?;
        Some(turned.at.duration_since(self.began.0).max(SignedDuration::ZERO))
    }
}

impl Promotion {
    /// Of a drill that brought back what ran before: how its way back ended, where that failed.
    #[must_use]
    pub fn disproved(&self) -> Option<&Turned> {
        let well = matches!(self.finished, Some((_, PromotionOutcome::Verified)));
        self.drill.as_ref().and_then(|drill| drill.turned.as_ref()).filter(|turned| well && !turned.passed)
    }
}

/// A plan put up for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Position of the first record that asked for it: its place among all requests, which asking again does not change.
    pub seq: u64,
    /// Positions of all records that asked for it, in their order.
    pub records: Vec<u64>,
    /// The environments it moves.
    pub environments: BTreeSet<EnvironmentName>,
    /// When it was requested.
    pub at: Timestamp,
    /// Until when it is open.
    pub expires: Timestamp,
    /// The names that those who asked for it went by: claims.
    pub initiators: BTreeSet<String>,
    /// Who signed a request for it: evidence (S6.3).
    pub signers: BTreeSet<IdentityName>,
}

/// A signed statement as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalEntry {
    /// Position of the record.
    pub seq: u64,
    /// When it arrived, by the store's clock.
    pub at: Timestamp,
    /// The plan that the record names; what counts is the plan inside the signed statement.
    pub plan: Option<Digest>,
    /// Statement and signature.
    pub envelope: Value,
}

/// Who signed that they apply a plan: evidence (S6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applier {
    /// Position of the record.
    pub seq: u64,
    /// Who.
    pub by: IdentityName,
    /// The environments that they signed for.
    pub environments: BTreeSet<EnvironmentName>,
    /// The epoch of the lock under which they are at work: they speak for nothing that is begun under another one.
    pub epoch: u64,
}

/// One application of one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The plan.
    pub plan: Digest,
    /// What it moves.
    pub environments: BTreeMap<EnvironmentName, ReleaseId>,
    /// The name that whoever began it went by: a claim. Who signed for it stands in [`super::View::appliers`].
    pub applier: String,
    /// When it began.
    pub started: Timestamp,
    /// When it wrote its last record.
    pub seen: Timestamp,
    /// Digests of the approval envelopes that opened it.
    pub approvals: Vec<Digest>,
    /// Steps whose intent is written, with what was observed afterwards where that is known.
    pub steps: BTreeMap<String, StepView>,
    /// Whether it stopped and waits to be resumed.
    pub interrupted: bool,
    /// When and how it ended.
    pub finished: Option<(Timestamp, RunOutcome)>,
}

/// How far a step got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepView {
    /// What it found.
    pub expected: State,
    /// What it wanted.
    pub desired: State,
    /// Position of the record of its last intent.
    pub intended: u64,
    /// The epoch of its last intent.
    pub epoch: u64,
    /// What was observed after it acted.
    pub observed: Option<State>,
    /// Position of the record of that, where a text beside it says why the step failed (S12.5).
    pub told: Option<u64>,
}

impl EnvironmentView {
    /// The last drill of the way back from a release, whether or not it proved that; one that changed nothing was none.
    #[must_use]
    pub fn last_drill(&self, release: &ReleaseId) -> Option<&Promotion> {
        let of = |p: &&Promotion| p.drill.is_some() && p.to == *release;
        let touched = |p: &&Promotion| p.finished.is_none_or(|(_, o)| o != PromotionOutcome::Cancelled);
        self.history.iter().rev().filter(of).find(touched)
    }

    /// The last promotion that ended and touched the environment: one that was cancelled did not.
    #[must_use]
    pub fn last_effective(&self) -> Option<&Promotion> {
        let touched = |p: &&Promotion| p.finished.is_none_or(|(_, o)| o != PromotionOutcome::Cancelled);
        self.history.iter().rev().find(touched)
    }
}
