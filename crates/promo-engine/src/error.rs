//! What can stop the engine, with the stable code and the exit class of each (S14). The command line words the help.

use promo_core::Digest;
use promo_core::approval::Decision;
use promo_core::clock::Doubt;
use promo_core::format::Newer;
use promo_core::gate::{Gate, GateKind, Reason};
use promo_core::ids::{EnvironmentName, IdentityName, ReleaseId, RunId};
use promo_core::ledger::view::{IllegalRecord, Note};
use promo_core::plan::{PlanFileError, PolicyRef};
use promo_core::planner::Moved;
use promo_ledger::{AppendError, Checkpoint, LeaseError, StoreError};
use promo_sdk::{ErrorKind, ProviderError};

use crate::apply::Holder;
use crate::signature::SignatureError;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger cannot be read or written.
    #[error("the ledger cannot be used")]
    Ledger(#[from] StoreError),
    /// A record of the ledger cannot follow the ones before it.
    #[error("the ledger is damaged")]
    Illegal(#[from] IllegalRecord),
    /// The ledger refused an append.
    #[error("the ledger refused a record")]
    Append(#[source] Box<AppendError>),
    /// Somebody else is at work there.
    #[error("{}", locked(.0))]
    Lease(Box<LeaseError>),
    /// A run is in the way of what was asked for.
    #[error("{0}")]
    Moving(String),
    /// A provider failed where nothing was changed.
    #[error("{doing} failed")]
    Provider {
        /// What was being done.
        doing: Box<str>,
        /// The environment alone that this is about, where it is about one: others can be planned without it.
        environment: Option<Box<EnvironmentName>>,
        /// What the provider said.
        source: ProviderError,
    },
    /// No provider has that name.
    #[error("no provider is called `{0}`")]
    NoProvider(String),
    /// A file of the pipeline cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The plan file is not one.
    #[error(transparent)]
    PlanFile(#[from] PlanFileError),
    /// The plan has another digest than was demanded.
    #[error("the plan has the digest {found}, and {expected} was demanded")]
    OtherDigest {
        /// What was demanded.
        expected: Digest,
        /// What the file has.
        found: Digest,
    },
    /// The plan is for another pipeline, policy, ledger or mode.
    #[error("the plan was made for {what} {planned}, and this is {current}")]
    Elsewhere {
        /// What differs.
        what: &'static str,
        /// What the plan says.
        planned: String,
        /// What is here.
        current: String,
    },
    /// The ledger does not extend the checkpoint that the trust file pins: another one, or an older state of it (S0.1).
    #[error("the ledger is not the one that the trust file pins: {}", other(expected, found.as_deref()))]
    OtherLedger {
        /// The one that is pinned.
        expected: Box<Checkpoint>,
        /// What is there: its head; where that is long enough, its state of the pinned size; none where there is no ledger.
        found: Option<Box<Checkpoint>>,
    },
    /// The ledger does not extend the checkpoint that the plan carries.
    #[error(
        "the ledger is no extension of the one that the plan was made from: it had {size} records with root {root}"
    )]
    NotAnExtension {
        /// Size of the plan's checkpoint.
        size: u64,
        /// Its root.
        root: Digest,
    },
    /// Somebody edited the plan and digested it anew (S8.3).
    #[error("the plan is not as promo wrote it: somebody edited it")]
    Edited {
        /// Where, a line each.
        findings: Vec<String>,
        /// The plan that was edited, where the ledger keeps it.
        original: Option<Digest>,
    },
    /// Inputs of the plan have moved.
    #[error("the plan is stale: {} moved since it was made", moved_text(moved))]
    Stale {
        /// Which, and how.
        moved: Vec<Moved>,
        /// The last record that changed something there, in words.
        by: Option<String>,
    },
    /// The ledger works under a policy, and the session brings none, or one of another name that no trust file pins (S7.1).
    #[error("this ledger works under the policy {} v{}, and {}", expected.name, expected.version,
        found.as_ref().map_or_else(|| "none was given".into(), |found| format!("{} v{} was given", found.name, found.version)))]
    PolicyNotAdopted {
        /// The one on record.
        expected: Box<PolicyRef>,
        /// The one that was brought.
        found: Option<Box<PolicyRef>>,
    },
    /// The ledger has seen a higher version of the policy in use (S7.1).
    #[error("the policy {} v{} was replaced: this ledger has seen v{}", found.name, found.version, expected.version)]
    PolicyReplaced {
        /// The one on record.
        expected: Box<PolicyRef>,
        /// The one that was brought.
        found: Box<PolicyRef>,
    },
    /// The ledger has seen other bytes under the same version of the policy (S7.1).
    #[error("the policy {} v{} is not the one that this ledger has seen under that version", found.name, found.version)]
    PolicyReused {
        /// The one on record.
        expected: Box<PolicyRef>,
        /// The one that was brought.
        found: Box<PolicyRef>,
    },
    /// The plan was used, superseded or is too old.
    #[error("the plan {why}")]
    Spent {
        /// Why it can no longer be applied.
        why: String,
        /// The run that used it, if one did.
        run: Option<RunId>,
    },
    /// Whether the plan is too old cannot be told: the clocks disagree about it (S8.4, S12.6).
    #[error("whether the plan has expired cannot be told: {}", Reason::from(*doubt))]
    Undated {
        /// What the clocks read.
        doubt: Doubt,
    },
    /// A gate refuses a promotion.
    #[error("{environment} refuses {}", subject(release, gates))]
    Denied {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseId,
        /// Every gate.
        gates: Vec<Gate>,
        /// What people gave as reasons, and why statements that were found do not count.
        notes: Vec<String>,
    },
    /// A gate is not open yet.
    #[error("{environment} cannot take {} yet", subject(release, gates))]
    Waiting {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseId,
        /// Every gate.
        gates: Vec<Gate>,
        /// What people gave as reasons, and why statements that were found do not count.
        notes: Vec<String>,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A signed statement cannot be made or taken.
    #[error("the statement cannot be taken: {0}")]
    Approval(String),
    /// A statement could not be signed on this machine: nothing is wrong with what it says.
    #[error("the statement cannot be signed here")]
    Signing(#[source] SignatureError),
    /// A yes or a no that no rule would count (S6.4, S6.6).
    #[error("the {} of {who} would not count", decision_word(*decision))]
    Uncounted {
        /// Who signed.
        who: IdentityName,
        /// What they said.
        decision: Decision,
        /// Whether somebody rejected the plan, or took back an approval that nobody else could give: it is over.
        over: bool,
        /// Why, and who could, a line each.
        why: Vec<String>,
    },
    /// A newer version of promo made it, and what it says is not guessed at.
    #[error(transparent)]
    Newer(#[from] Newer),
    /// A rule excludes the initiator, and nobody signed a request that would say who that is (S6.3).
    #[error("nobody can approve {environment} yet: its rule excludes the initiator, and nobody signed the request")]
    RequestUnsigned {
        /// Where the rule stands.
        environment: EnvironmentName,
    },
    /// A rule excludes the applier, and nobody signed that it is them (S6.4).
    #[error(
        "nothing begins in {environment} yet: its rule excludes the applier, and nobody signed that they apply this"
    )]
    ApplyUnsigned {
        /// Where the rule stands.
        environment: EnvironmentName,
        /// The run that is to go on; none for one that has not begun.
        run: Option<RunId>,
    },
    /// A document that is no evidence for what it was brought for.
    #[error("{0}")]
    Evidence(String),
    /// The registry shows something else of an artifact than the ledger has of it.
    #[error("the registry shows {artifact} otherwise than the ledger has it: {differs}{}", recorded(note.as_ref().as_ref()))]
    Described {
        /// Which.
        artifact: Digest,
        /// What differs.
        differs: String,
        /// Who recorded it last, where that is known.
        note: Box<Option<Note>>,
    },
    /// Tags that named something else when a release was added with them.
    #[error("{0}")]
    Moved(Box<crate::moved::Moved>),
    /// Whoever asks may not lift this (S10.4).
    #[error("this is not lifted: {0}")]
    Lift(String),
    /// The reply to the first record of a run was lost: it may have been written.
    #[error("the ledger did not answer when run {run} began: it {}", if *.recorded { "has begun" } else { "may have begun" })]
    Began {
        /// Which.
        run: RunId,
        /// Whether the ledger has the record, as far as it could be read afterwards.
        recorded: bool,
        /// What the ledger said.
        source: StoreError,
    },
    /// A part of promo panicked while a run was at work; the run can be resumed.
    #[error("run {run} was interrupted by a failure of promo itself")]
    Unexpected {
        /// Which.
        run: RunId,
        /// What is known of it.
        source: tokio::task::JoinError,
    },
    /// It was stopped before it had begun.
    #[error("stopped before anything was changed")]
    Stopped,
}

impl From<AppendError> for EngineError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Store(error) => Self::Ledger(error),
            other => Self::Append(Box::new(other)),
        }
    }
}

impl From<LeaseError> for EngineError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Store(error) => Self::Ledger(error),
            other => Self::Lease(Box::new(other)),
        }
    }
}

/// Exit codes of the command line (S14), in one place.
pub mod exit {
    /// Done, or nothing to do.
    pub const DONE: u8 = 0;
    /// Unexpected failure.
    pub const FAILURE: u8 = 1;
    /// Changes present, with `--detailed-exitcode` only.
    pub const CHANGES: u8 = 2;
    /// A gate is not open yet.
    pub const WAITING: u8 = 20;
    /// A gate refuses.
    pub const DENIED: u8 = 21;
    /// The plan is stale or spent.
    pub const STALE: u8 = 22;
    /// Bytes are not what they should be.
    pub const INTEGRITY: u8 = 30;
    /// Failed and rolled back.
    pub const ROLLED_BACK: u8 = 40;
    /// Failed and held.
    pub const HELD: u8 = 41;
    /// Stuck.
    pub const STUCK: u8 = 50;
    /// Wrong usage.
    pub const USAGE: u8 = 64;
    /// Bad input.
    pub const BAD_INPUT: u8 = 65;
    /// The ledger cannot be read or written.
    pub const LEDGER_IO: u8 = 74;
    /// It may work later; resumable.
    pub const TRANSIENT: u8 = 75;
}

impl EngineError {
    /// That a provider failed where nothing was changed, and which environment alone that is about, where it is about one.
    pub(crate) fn about(
        environment: Option<&EnvironmentName>,
        doing: impl Into<String>,
        source: ProviderError,
    ) -> Self {
        Self::Provider { doing: doing.into().into(), environment: environment.cloned().map(Box::new), source }
    }

    /// The stable code, which has a page in `docs/errors/`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(StoreError::Integrity { .. }) | Self::Illegal(_) => "ledger-damaged",
            Self::Ledger(StoreError::Lost { .. }) => "ledger-lost",
            Self::Ledger(StoreError::NewerFormat { .. }) => "ledger-newer",
            Self::Ledger(StoreError::Busy { .. }) => "ledger-busy",
            Self::Ledger(_) => "ledger-unusable",
            Self::Append(error) => match **error {
                AppendError::GenerationMoved { .. } => "plan-stale",
                AppendError::AlreadyConsumed { .. } => "plan-spent",
                AppendError::EpochLost { .. } => "lock-lost",
                _ => "ledger-refused",
            },
            Self::Lease(_) | Self::Moving(_) => "locked",
            Self::Provider { source, .. } => provider_code(source.kind),
            Self::NoProvider(_) => "provider-unknown",
            Self::File { .. } => "file-unreadable",
            Self::PlanFile(PlanFileError::Newer(_)) | Self::Newer(_) => "format-newer",
            Self::PlanFile(_) => "plan-unreadable",
            Self::OtherDigest { .. } => "plan-other-digest",
            Self::Elsewhere { .. } => "plan-elsewhere",
            Self::OtherLedger { .. } => "ledger-other",
            Self::NotAnExtension { .. } => "ledger-rewritten",
            Self::Edited { .. } => "plan-edited",
            Self::Stale { .. } => "plan-stale",
            Self::PolicyNotAdopted { .. } => "policy-not-adopted",
            Self::PolicyReplaced { .. } => "policy-replaced",
            Self::PolicyReused { .. } => "policy-reused",
            Self::Spent { .. } => "plan-spent",
            Self::Undated { doubt } => Reason::from(*doubt).code(),
            Self::Denied { .. } => "denied",
            Self::Waiting { .. } => "waiting",
            Self::Invalid(_) => "request-invalid",
            Self::Signing(_) => "signing-failed",
            Self::Approval(_) | Self::Uncounted { .. } => "approval-refused",
            Self::RequestUnsigned { .. } => "request-unsigned",
            Self::ApplyUnsigned { .. } => "apply-unsigned",
            Self::Lift(_) => "lift-refused",
            Self::Evidence(_) => "evidence-invalid",
            Self::Described { .. } => "artifact-described",
            Self::Moved(_) => provider_code(ErrorKind::Moved),
            Self::Began { .. } => "run-began",
            Self::Unexpected { .. } => "unexpected",
            Self::Stopped => "stopped",
        }
    }

    /// The exit code (S14).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.code() {
            "ledger-damaged" | "ledger-lost" | "ledger-other" | "ledger-rewritten" | "artifact-damaged"
            | "plan-unreadable" | "plan-edited" | "plan-other-digest" | "artifact-described" => exit::INTEGRITY,
            "ledger-unusable" | "ledger-newer" | "run-began" | "ledger-refused" => exit::LEDGER_IO,
            "plan-stale" | "plan-spent" | "tag-moved" | "provider-conflict" => exit::STALE,
            "ledger-busy" | "lock-lost" | "provider-transient" | "stopped" => exit::TRANSIENT,
            "locked" | "waiting" | "clock-skew" | "clock-went-back" => exit::WAITING,
            "denied" | "approval-refused" | "request-unsigned" | "apply-unsigned" | "lift-refused" => exit::DENIED,
            "plan-elsewhere"
            | "file-unreadable"
            | "request-invalid"
            | "evidence-invalid"
            | "provider-unknown"
            | "provider-not-found"
            | "policy-not-adopted"
            | "policy-replaced"
            | "policy-reused"
            | "format-newer"
            | "config-format"
            | "artifact-reference"
            | "artifact-moving-tag" => exit::BAD_INPUT,
            "offline" => exit::USAGE,
            _ => exit::FAILURE,
        }
    }
}

/// The stable code of what a provider says.
#[must_use]
pub const fn provider_code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Integrity => "artifact-damaged",
        ErrorKind::Moved => "tag-moved",
        ErrorKind::Transient => "provider-transient",
        ErrorKind::Offline => "offline",
        ErrorKind::NotFound => "provider-not-found",
        ErrorKind::Denied => "provider-denied",
        ErrorKind::Conflict => "provider-conflict",
        ErrorKind::Broken => "provider-broken",
        ErrorKind::Newer => "config-format",
        ErrorKind::Reference => "artifact-reference",
        ErrorKind::MovingTag => "artifact-moving-tag",
        _ => "provider-failed",
    }
}

/// Who recorded something and when, in words.
fn recorded(note: Option<&Note>) -> String {
    note.map(|note| format!("; {} recorded that {} (record {})", note.by.name, note.at, note.seq)).unwrap_or_default()
}

/// Who has a lock, in words.
fn locked(error: &LeaseError) -> String {
    match error {
        LeaseError::Held { resource, holder, expires } => {
            format!("{resource} is locked: {}", Holder::of(holder, *expires))
        }
        LeaseError::Lost { resource, found: Some(lease), .. } => {
            format!("the lock on {resource} was lost: {}", Holder::of(&lease.holder, lease.expires))
        }
        LeaseError::Lost { resource, .. } => format!("the lock on {resource} has lapsed"),
        LeaseError::Store(error) => error.to_string(),
    }
}

/// What is not let in: of a drill, that it is one, since what it is about runs there.
fn subject(release: &ReleaseId, gates: &[Gate]) -> String {
    if gates.iter().any(|gate| gate.kind == GateKind::Drill) {
        return format!("a drill of the way back from {release}");
    }
    release.to_string()
}

const fn decision_word(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approval",
        Decision::Reject => "rejection",
        Decision::Revoke => "revocation",
        Decision::Breakglass => "break-glass statement",
    }
}

/// Why a ledger is not the pinned one.
fn other(expected: &Checkpoint, found: Option<&Checkpoint>) -> String {
    match found {
        None => "there is none".to_owned(),
        Some(found) if found.origin != expected.origin => "it has another origin".to_owned(),
        Some(found) if found.size < expected.size => {
            format!("it has {} records, and the pin says {}", found.size, expected.size)
        }
        Some(_) => format!("its first {} records are others", expected.size),
    }
}

fn moved_text(moved: &[Moved]) -> String {
    let names: Vec<&str> = moved.iter().take(3).map(|m| m.input.as_str()).collect();
    let more = if moved.len() > 3 { format!(" and {} more", moved.len() - 3) } else { String::new() };
    format!("{}{more}", names.join(", "))
}
