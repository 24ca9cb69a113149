//! The frozen views of what verbs did, format 1: one kind of JSON document each. Larger views have files of their own.
//! What must not live here: what to say of them to people.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::gate::{Gate, Outcome, Owner};
use promo_core::ids::{
    ArtifactName, CheckName, EnvironmentName, IdentityName, PipelineName, ReleaseId, RoleName, RunId,
};
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::plan::ReleaseRef;
use promo_engine::verdicts::VerdictDecision;
use schemars::JsonSchema;
use serde::Serialize;

use super::standing::{HoldView, OpenRunView, PendingView};
use super::summary::NextCommand;
use super::{AuthorityView, DrillView, FailedWithView};
use crate::commands::status;
use crate::tags::TagView;

/// A JSON document that a verb answers with.
pub(crate) trait Answer: Serialize + JsonSchema {
    /// What stands in its `kind`.
    const KIND: &'static str;
}

macro_rules! answers {
    ($($(#[$about:meta])* $kind:literal $name:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$about])*
        #[derive(Debug, Serialize, JsonSchema)]
        pub(crate) struct $name {
            $($(#[$field_about])* pub(crate) $field: $type,)+
        }

        impl Answer for $name {
            const KIND: &'static str = $kind;
        }
    )+};
}

answers! {
    /// What `promo init` wrote.
    "promo.init" Initialized {
        /// The files.
        files: Vec<String>,
        /// The next command.
        next: String,
    }
    /// What `promo fmt` wrote.
    "promo.fmt" Formatted {
        /// The files that it changed.
        formatted: Vec<String>,
    }
    /// A script for a shell.
    "promo.completions" Completions {
        /// The script.
        script: String,
    }
    /// Where `promo quickstart` made its example.
    "promo.quickstart" Example {
        /// The folder.
        directory: String,
        /// The next command.
        next: String,
    }
    /// Every code that promo can give.
    "promo.codes" Codes {
        /// The codes, by name.
        codes: Vec<CodeLine>,
    }
    /// A code, and its page.
    "promo.code" Explained {
        /// The code.
        code: String,
        /// One line about it.
        about: String,
        /// The page, in Markdown.
        page: String,
    }
    /// A request for approval was recorded.
    "promo.request" Requested {
        /// The plan.
        plan: Digest,
        /// Until when it is open.
        expires: Timestamp,
        /// Who signed it; null where nobody did.
        identity: Option<IdentityName>,
        /// Requested plans whose place it took.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        superseded: Vec<SupersededPlan>,
        /// The next command.
        next: String,
    }
    /// A statement about a plan was signed into a file.
    "promo.approval.signed" ApprovalSigned {
        /// The plan.
        plan: Digest,
        /// Who signed.
        identity: IdentityName,
        /// The file.
        file: String,
        /// How every rule of every environment stands with it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        environments: Vec<ApprovalStanding>,
        /// The next command.
        next: String,
    }
    /// A statement about a plan was recorded.
    "promo.approval.recorded" ApprovalRecorded {
        /// The plan.
        plan: Digest,
        /// Who signed.
        identity: IdentityName,
        /// How every rule of every environment stands with it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        environments: Vec<ApprovalStanding>,
        /// The next command.
        next: String,
    }
    /// A person's verdict was recorded.
    "promo.verdict.recorded" VerdictRecorded {
        /// Who spoke.
        identity: IdentityName,
        /// Where.
        environment: EnvironmentName,
        /// About which release.
        release: ReleaseId,
        /// About which check.
        check: CheckName,
        /// What they said.
        decision: VerdictDecision,
        /// Whether it failed there before and must pass once more to count.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        again: bool,
        /// The next command.
        #[serde(skip_serializing_if = "String::is_empty")]
        next: String,
    }
    /// What `promo verify` found.
    "promo.verdicts" Verdicts {
        /// A line of each check.
        verdicts: Vec<VerdictLine>,
        /// How each check of the environment stands now, as in `promo.status`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        checks: Vec<(String, &'static str)>,
        /// What holds the environment, whatever the checks said.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        holds: Vec<HoldView>,
        /// The next command.
        #[serde(skip_serializing_if = "String::is_empty")]
        next: String,
    }
    /// Environments were frozen.
    "promo.frozen" Frozen {
        /// Which; empty means all.
        environments: Vec<EnvironmentName>,
        /// The next command.
        #[serde(skip_serializing_if = "String::is_empty")]
        next: String,
    }
    /// A freeze was lifted.
    "promo.unfrozen" Unfrozen {
        /// Of which; empty means all.
        environments: Vec<EnvironmentName>,
        /// The next command.
        #[serde(skip_serializing_if = "String::is_empty")]
        next: String,
    }
    /// A release, as it stands.
    "promo.release" ListedRelease {
        /// Its id.
        id: ReleaseId,
        /// Its lineage number.
        lineage: u64,
        /// Its name for people.
        alias: Option<String>,
        /// When it was added.
        added: Timestamp,
        /// Who added it.
        by: String,
        /// Where each artifact is.
        artifacts: BTreeMap<ArtifactName, String>,
        /// How many files it carries.
        files: usize,
        /// What its build said of itself.
        metadata: BTreeMap<String, String>,
        /// Who wrote it, as somebody signed afterwards, and who that was.
        #[serde(skip_serializing_if = "BTreeSet::is_empty")]
        authors: BTreeSet<String>,
        /// Where it runs.
        environments: Vec<String>,
        /// Where it is quarantined.
        quarantined: Vec<String>,
        /// Every environment of the pipeline, in the order of the graph, and how far it has come there; told of one release only.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        passages: Vec<super::passage::PassageView>,
        /// Its quarantines that stand, with who, when, why and what lifts each; told of one release only.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        quarantines: Vec<super::passage::QuarantineView>,
        /// The recalled digests that it has in it, with who, when, why and what ends each; told of one release only.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        recalls: Vec<super::passage::RecallView>,
        /// Its tags at destinations, and what keeps them where they are; told of one release only.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tags: Vec<TagView>,
        /// What was brought of evidence for it, in ledger order; told of one release only.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<super::evidence::DocumentView>,
        /// What came since the release before it, where a gate says in which repository its source is; told of one release only.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<super::source::SinceView>,
        /// What was found beside its artifacts when it was added, where gates are stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        collected: Option<super::evidence::CollectedView>,
        /// The next command, after a verb that changed how it stands.
        #[serde(skip_serializing_if = "String::is_empty")]
        next: String,
    }
    /// The newest tags are no release yet.
    "promo.release.forming" ReleaseForming {
        /// What is to be one once nothing newer has come for a while.
        forming: super::forming::Forming,
        /// The next command.
        next: String,
    }
    /// Every release, the newest first.
    "promo.releases" Releases {
        /// The releases.
        releases: Vec<ListedRelease>,
    }
    /// What is where.
    "promo.status" Status {
        /// The pipeline.
        pipeline: PipelineName,
        /// As of when.
        at: Timestamp,
        /// Whether there is no trust file (S0.1).
        local: bool,
        /// The ledger.
        ledger: LedgerSize,
        /// Every environment, in the order of the graph.
        environments: Vec<status::Row>,
        /// What is to be a release once nothing newer has come for a while.
        #[serde(skip_serializing_if = "Option::is_none")]
        forming: Option<super::forming::Forming>,
        /// Runs without an end, oldest first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        runs: Vec<OpenRunView>,
        /// Requested plans that wait, the oldest request first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pending: Vec<PendingView>,
        /// What there is to do, where it is told in words: that everything is where it should be, or that nothing was released.
        #[serde(skip_serializing_if = "String::is_empty")]
        says: String,
        /// The next command; empty where nothing is to be done.
        next: String,
    }
    /// Why a release is not further in an environment.
    "promo.why" Why {
        /// The environment.
        environment: EnvironmentName,
        /// The release.
        release: ReleaseRef,
        /// Whether it runs there.
        deployed: bool,
        /// How its gates stand together.
        outcome: Outcome,
        /// When they open by themselves, where that is known.
        opens: Option<Timestamp>,
        /// Every gate.
        gates: Vec<Gate>,
        /// Checks upstream that held for it and hold no longer.
        lost_evidence: Vec<String>,
        /// Records that count for nothing, and why.
        uncounted: Vec<String>,
        /// The code of each gate's reason, in their order.
        codes: Vec<&'static str>,
        /// The reason that somebody gave for what each gate rests on, in their order; null where there is none.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        remarks: Vec<Option<String>>,
        /// Who can do something about each gate, in their order; null where it is open.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        who: Vec<Option<Owner>>,
        /// The command that leads on from each gate, in their order; null where it is open. `next` knows the ledger, and goes before them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ways: Vec<Option<String>>,
        /// For whom the gates were judged: `human` or `automation`.
        #[serde(skip_serializing_if = "Option::is_none")]
        judged_for: Option<&'static str>,
        /// Whether they stand otherwise for the other one.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        differs: bool,
        /// What holds the environment, what stops most first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        holds: Vec<HoldView>,
        /// Runs without an end that move it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        runs: Vec<OpenRunView>,
        /// Requested plans that move it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pending: Vec<PendingView>,
        /// Who asked for the plans by which the release was moved there, and who let them in.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        authorities: Vec<AuthorityView>,
        /// What runs there, where it was rejected since.
        #[serde(skip_serializing_if = "Option::is_none")]
        rejected: Option<status::Rejected>,
        /// Whether it runs there, and its configuration in the working tree is another than the one that was deployed.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        reconfigured: bool,
        /// Whether that configuration failed there before, so that it is planned by name only (S3.3).
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        configuration_failed: bool,
        /// Where it would come with a configuration that failed there with another release.
        #[serde(skip_serializing_if = "Option::is_none")]
        failed_with: Option<FailedWithView>,
        /// Where the release counts as verified by an earlier deployment while a run deploys it there again, in words (S16).
        #[serde(skip_serializing_if = "Vec::is_empty")]
        earlier_verdicts: Vec<String>,
        /// Codes of gates that stand open as the ledger has it, without a look at registries and places: `promo plan` looks.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        not_looked_at: Vec<&'static str>,
        /// Where it runs there: the last drill of the way back from it that ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        drill: Option<DrillView>,
        /// How the release failed there, unless it went well since.
        #[serde(skip_serializing_if = "Option::is_none")]
        failed: Option<PromotionOutcome>,
        /// Why it failed there, in the words of the provider or the check.
        #[serde(skip_serializing_if = "Option::is_none")]
        failed_because: Option<String>,
        /// Other commands that lead on, and what for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        also: Vec<NextCommand>,
        /// The next command; empty where nothing is to be done but to wait.
        next: String,
    }
    /// Past promotions, the newest first.
    "promo.history" History {
        /// The promotions.
        promotions: Vec<PastPromotion>,
        /// What was stopped and lifted, the newest first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        stops: Vec<PastStop>,
        /// Who asked for which plan and who said what about it, used or not, the newest first. A promotion names its plan.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        authorities: Vec<AuthorityView>,
    }
    /// Runs, the newest first.
    "promo.runs" Runs {
        /// The runs.
        runs: Vec<RunLine>,
    }
    /// A document was brought.
    "promo.evidence.added" EvidenceAdded {
        /// The document.
        evidence: super::evidence::DocumentView,
        /// Whether it was not there before, for the same and by the same name.
        new: bool,
        /// The other documents of the file, where it has one on each line.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        more: Vec<super::evidence::AddedView>,
        /// The next command.
        next: String,
    }
    /// A digest is recalled.
    "promo.artifact.recalled" ArtifactRecalled {
        /// The digest.
        artifact: Digest,
        /// The releases that have it in them, which are quarantined everywhere.
        releases: Vec<ReleaseRef>,
        /// The next command.
        next: String,
    }
    /// A digest is recalled no more.
    "promo.recall.lifted" RecallLifted {
        /// The digest.
        artifact: Digest,
        /// The releases that have it in them and stay quarantined everywhere: each is lifted by itself.
        releases: Vec<ReleaseRef>,
        /// The next command.
        next: String,
    }
    /// A document counts no more.
    "promo.evidence.withdrawn" EvidenceWithdrawn {
        /// The document.
        document: Digest,
        /// The releases of which it spoke.
        releases: Vec<ReleaseRef>,
        /// The next command.
        next: String,
    }
    /// What lies beside artifacts was taken into the ledger.
    "promo.evidence.collected" EvidenceCollected {
        /// By release, the newest first.
        releases: Vec<super::evidence::CollectedView>,
        /// The next command.
        next: String,
    }
    /// A person took the clock as it is.
    "promo.clock.accepted" ClockAccepted {
        /// The latest time that a record bears.
        ahead: Timestamp,
    }
    /// What pins a ledger in a trust file, once it was verified.
    "promo.ledger.checkpoint" LedgerCheckpoint {
        /// Which ledger.
        origin: String,
        /// How many records it has.
        size: u64,
        /// Its tree hash.
        root: Digest,
    }
    /// A ledger that was verified.
    "promo.ledger.verified" LedgerVerified {
        /// How many records it has.
        records: u64,
        /// Its tree hash.
        root: Digest,
        /// Which ledger.
        origin: String,
        /// The next command.
        #[serde(skip_serializing_if = "String::is_empty")]
        next: String,
    }
}

/// A code in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CodeLine {
    /// The code.
    pub(crate) code: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
}

/// A requested plan whose place a newer request took.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SupersededPlan {
    /// The plan.
    pub(crate) plan: Digest,
    /// The environments that it would have moved.
    pub(crate) environments: BTreeSet<EnvironmentName>,
    /// Who had approved it: that is worth nothing now.
    pub(crate) approved_by: BTreeSet<IdentityName>,
}

/// How an approval rule of an environment stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ApprovalStanding {
    /// Where.
    pub(crate) environment: EnvironmentName,
    /// Who approved, and counts.
    pub(crate) approved: Vec<IdentityName>,
    /// How many it asks for.
    pub(crate) needed: u32,
    /// Of which roles.
    pub(crate) from: Vec<RoleName>,
    /// Who rejected the plan, which blocks it.
    pub(crate) rejected: Vec<IdentityName>,
}

/// What a check found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VerdictLine {
    /// The check.
    pub(crate) check: CheckName,
    /// Whether it passed.
    pub(crate) passed: bool,
    /// What it saw.
    pub(crate) detail: String,
    /// That it is no verdict on the release, since what is there is not what was deployed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unrecorded: bool,
}

/// How long a ledger is.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LedgerSize {
    /// How many records it has.
    pub(crate) size: u64,
}

/// A promotion that began.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PastPromotion {
    /// Where.
    pub(crate) environment: EnvironmentName,
    /// In which run.
    pub(crate) run: RunId,
    /// What ran there.
    pub(crate) from: Option<ReleaseId>,
    /// What entered.
    pub(crate) to: ReleaseId,
    /// What kind of move it was.
    pub(crate) movement: Movement,
    /// Of another configuration of what ran there: the files in which it differs, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) configuration: Option<Vec<String>>,
    /// Of a drill: what it went back to, and how that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drill: Option<DrillView>,
    /// When it began.
    pub(crate) started: Timestamp,
    /// When it ended; null while it is under way.
    pub(crate) finished: Option<Timestamp>,
    /// How it ended.
    pub(crate) outcome: Option<PromotionOutcome>,
    /// Who applied it: a claim.
    pub(crate) by: String,
    /// Who signed that they applied it there; nobody where no rule asks for that.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) signed_by: BTreeSet<IdentityName>,
    /// By which plan.
    pub(crate) plan: Option<Digest>,
    /// Why it did not go well, in the words of the provider or the check; absent where that is not on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// Something that stopped promotions, or lifted what stopped them.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PastStop {
    /// What was done: `frozen`, `paused`, `unfrozen`, `rejected`, `quarantined`, `lifted`, `withdrawn` of a document, or `recalled` and
    /// `recall-lifted` of a digest.
    pub(crate) act: &'static str,
    /// Where; empty means everywhere.
    pub(crate) environments: Vec<EnvironmentName>,
    /// Which release, of a quarantine.
    pub(crate) release: Option<ReleaseId>,
    /// Which document, of one that was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<Digest>,
    /// Which digest, of a recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact: Option<Digest>,
    /// When.
    pub(crate) at: Timestamp,
    /// By whom: who signed it, else a claim.
    pub(crate) by: String,
    /// Whether that is who signed it.
    pub(crate) signed: bool,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
}

/// A run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunLine {
    /// Its id.
    pub(crate) run: RunId,
    /// Its plan.
    pub(crate) plan: Digest,
    /// What it moves: environment to release.
    pub(crate) environments: BTreeMap<EnvironmentName, ReleaseId>,
    /// Who applied it: a claim.
    pub(crate) applier: String,
    /// Who signed that they applied it; nobody where no rule asks for that.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) signed_by: BTreeSet<IdentityName>,
    /// When it began.
    pub(crate) started: Timestamp,
    /// When it ended; null while it is not.
    pub(crate) finished: Option<Timestamp>,
    /// How it ended.
    pub(crate) outcome: Option<RunOutcome>,
    /// Whether it was interrupted and can be resumed.
    pub(crate) interrupted: bool,
    /// While it has no end: `alive`, `gone`, `silent` or `interrupted`, as in `promo.status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<&'static str>,
}
