//! Who can do something about a gate that is not open. What must not live here: what they type, which is the command line's.

use serde::Serialize;

use super::{Gate, Reason};

/// Who can do something about a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Whoever builds and keeps what is released, its pipeline file and its evidence.
    Application,
    /// Whoever keeps the policy: windows, tiers, what may be done where.
    Platform,
    /// Somebody whose signature the rules count.
    Approver,
    /// Whoever runs promo there, its machine, the ledger or the registry.
    Operator,
}

impl Owner {
    /// The same in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Platform => "platform",
            Self::Approver => "approver",
            Self::Operator => "operator",
        }
    }
}

impl Gate {
    /// Who can do something about it; nobody where it is open.
    #[must_use]
    pub const fn owner(&self) -> Option<Owner> {
        if self.outcome.is_open() { None } else { self.reason.owner() }
    }
}

impl Reason {
    /// Who can do something about a gate that this closes; nobody where it closes none.
    #[must_use]
    pub const fn owner(&self) -> Option<Owner> {
        Some(match self {
            Self::ArtifactsAsRecorded
            | Self::Ahead
            | Self::DeployedAgain
            | Self::Verified { .. }
            | Self::NotQuarantined
            | Self::NotFrozen
            | Self::EvidenceMet(_)
            | Self::SoakMet { .. }
            | Self::NoSoakDisturbed
            | Self::NoApprovalNeeded
            | Self::WindowOpen
            | Self::DrillsAllowed
            | Self::Idle => return None,
            Self::TagMoved { .. }
            | Self::ImageMovable { .. }
            | Self::ImageUnlike { .. }
            | Self::OtherPlace { .. }
            | Self::OtherProvider { .. }
            | Self::FileNotInRelease { .. }
            | Self::ConfigurationTried
            | Self::CheckFailed { .. }
            | Self::Quarantined { automatic: true, .. }
            | Self::EvidenceMissing(_)
            | Self::EvidenceExpired(_)
            | Self::EvidenceUnreadable(_)
            | Self::EvidenceBad(_) => Owner::Application,
            Self::WindowDenies { .. } | Self::OutsideWindows { .. } | Self::DrillsRefused { .. } => Owner::Platform,
            Self::Approvals { .. }
            | Self::ApprovalRejected { .. }
            | Self::Quarantined { automatic: false, .. }
            | Self::Frozen { .. }
            | Self::Paused { .. } => Owner::Approver,
            Self::ArtifactUnavailable { .. }
            | Self::DestinationTaken { .. }
            | Self::TargetTaken { .. }
            | Self::CheckNotRunnable { .. }
            | Self::Older { .. }
            | Self::UpToDate
            | Self::TriedBefore
            | Self::NotThereYet { .. }
            | Self::ChecksMissing { .. }
            | Self::StillWatched { .. }
            | Self::CheckFlaky { .. }
            | Self::CheckWithdrawn { .. }
            | Self::AfterThisPlan { .. }
            | Self::Members { .. }
            | Self::EvidenceNotLooked { .. }
            | Self::Soaking { .. }
            | Self::SoakStopped { .. }
            | Self::HoldsForSoak { .. }
            | Self::ClockSkew { .. }
            | Self::ClockWentBack { .. }
            | Self::Drifted
            | Self::Busy { .. }
            | Self::Held { .. } => Owner::Operator,
        })
    }
}
