//! Why an approval does not count, each reason with a code. What must not live here: how a reason is found.

use alloc::string::String;

use jiff::Timestamp;

use super::key::Fingerprint;
use crate::Digest;
use crate::gate::Instant;
use crate::ids::{EnvironmentName, IdentityName, PipelineName, ReleaseId, RoleName};
use crate::model::Party;

/// A reason for which an approval does not count, or a rule cannot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ApprovalProblem {
    /// The statement names another key than the one that signed it.
    #[error("the statement names the key {named}, but {signed} signed it")]
    OtherKey {
        /// The key in the statement.
        named: Fingerprint,
        /// The key that signed.
        signed: Fingerprint,
    },
    /// The key belongs to nobody that policy knows.
    #[error("the key {0} belongs to nobody whom policy knows")]
    UnknownKey(Fingerprint),
    /// It is over.
    #[error("the approval of {identity} expired at {}", Instant(*.at))]
    Expired {
        /// Whose it is.
        identity: IdentityName,
        /// Since when.
        at: Timestamp,
    },
    /// It has not begun.
    #[error("the approval of {identity} does not count before {}", Instant(*.at))]
    NotYetValid {
        /// Whose it is.
        identity: IdentityName,
        /// From when on it counts.
        at: Timestamp,
    },
    /// It is about another plan.
    #[error("the statement of {identity} is about the plan {plan}")]
    OtherPlan {
        /// Whose it is.
        identity: IdentityName,
        /// The plan.
        plan: Digest,
    },
    /// It is about another pipeline.
    #[error("the approval of {identity} is for the pipeline `{pipeline}`")]
    OtherPipeline {
        /// Whose it is.
        identity: IdentityName,
        /// The pipeline.
        pipeline: PipelineName,
    },
    /// It belongs to another ledger.
    #[error("the approval of {identity} belongs to the ledger `{origin}`")]
    OtherLedger {
        /// Whose it is.
        identity: IdentityName,
        /// The ledger.
        origin: String,
    },
    /// It was given under another policy, or another version of it (S6.6).
    #[error("the approval of {identity} was given under another policy")]
    OtherPolicy {
        /// Whose it is.
        identity: IdentityName,
    },
    /// It does not name this environment.
    #[error("the approval of {identity} does not name the environment `{environment}`")]
    OtherEnvironment {
        /// Whose it is.
        identity: IdentityName,
        /// The environment that it would have to name.
        environment: EnvironmentName,
    },
    /// It names this environment with other releases.
    #[error("the approval of {identity} is for another change of `{environment}`")]
    OtherRelease {
        /// Whose it is.
        identity: IdentityName,
        /// The environment.
        environment: EnvironmentName,
    },
    /// The signer does not hold the role in which they speak.
    #[error("{identity} does not hold the role `{role}`")]
    RoleNotHeld {
        /// Who.
        identity: IdentityName,
        /// The role.
        role: RoleName,
    },
    /// The signer is not a person.
    #[error("{identity} is not a person")]
    Bot {
        /// Who.
        identity: IdentityName,
    },
    /// The signer took it back.
    #[error("{identity} revoked the approval")]
    Revoked {
        /// Who.
        identity: IdentityName,
    },
    /// The role in which the signer speaks is not one that a rule asks for.
    #[error("{identity} speaks as `{role}`, which is not asked here")]
    RoleNotAsked {
        /// Who.
        identity: IdentityName,
        /// The role.
        role: RoleName,
    },
    /// The rule excludes the signer for their part in the promotion.
    #[error("{identity} may not approve this, being its {}", party_word(*.party))]
    Excluded {
        /// Who.
        identity: IdentityName,
        /// Which part they took.
        party: Party,
    },
    /// The signer fills another slot: one person is one person.
    #[error("{identity} already counts towards another slot")]
    Counted {
        /// Who.
        identity: IdentityName,
    },
    /// The rule excludes a party of whom it is not known who they are.
    #[error("nobody can approve this while it is not known who its {} `{name}` is", party_word(*.party))]
    UnmappedParty {
        /// Which part they took.
        party: Party,
        /// The name or address they were found under.
        name: String,
    },
    /// The rule excludes a party whom nobody named, of a release that comes along.
    #[error("nobody can approve this while nobody is named as the {} of {release}", party_word(*.party))]
    UnnamedParty {
        /// Which part they took.
        party: Party,
        /// The release that says nothing of them.
        release: ReleaseId,
    },
    /// The rule excludes the initiator, and who that is only a signature can say (S6.3).
    #[error("nobody can approve this before its request is signed: `promo request FILE --key KEY`")]
    RequestUnsigned,
    /// The rule excludes the applier, and who that is only a signature can say (S6.3).
    #[error(
        "nobody can approve this while it is applied by somebody who has not signed that: `promo apply FILE --key KEY`"
    )]
    ApplyUnsigned,
}

impl ApprovalProblem {
    /// A stable code for machines and for `promo explain`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherKey { .. } => "approval-other-key",
            Self::UnknownKey(_) => "approval-unknown-key",
            Self::Expired { .. } => "approval-expired",
            Self::NotYetValid { .. } => "approval-not-yet-valid",
            Self::OtherPlan { .. } => "approval-other-plan",
            Self::OtherPipeline { .. } => "approval-other-pipeline",
            Self::OtherLedger { .. } => "approval-other-ledger",
            Self::OtherPolicy { .. } => "approval-other-policy",
            Self::OtherEnvironment { .. } => "approval-other-environment",
            Self::OtherRelease { .. } => "approval-other-release",
            Self::RoleNotHeld { .. } => "approval-role-not-held",
            Self::Bot { .. } => "approval-bot",
            Self::Revoked { .. } => "approval-revoked",
            Self::RoleNotAsked { .. } => "approval-role-not-asked",
            Self::Excluded { .. } => "approval-excluded",
            Self::Counted { .. } => "approval-counted-elsewhere",
            Self::UnmappedParty { .. } => "approval-unmapped-party",
            Self::UnnamedParty { .. } => "approval-unnamed-party",
            Self::RequestUnsigned => "request-unsigned",
            Self::ApplyUnsigned => "apply-unsigned",
        }
    }
}

const fn party_word(party: Party) -> &'static str {
    match party {
        Party::Initiator => "initiator",
        Party::Author => "author",
        Party::Builder => "builder",
        Party::Applier => "applier",
    }
}
