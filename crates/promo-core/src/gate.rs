//! Gates and why they stand as they do. Every reason is a variant with its data, has a stable code, and is worded here
//! once for every screen.

mod evidenced;
mod owner;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::ids::{ArtifactName, CheckName, EnvironmentName, GateName, ReleaseId, RoleName, RunId};
use crate::model::{Party, Tier};

pub use evidenced::{EvidenceDocument, EvidenceFault, Evidenced};
pub use owner::Owner;

/// One condition on a promotion and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Which condition.
    pub kind: GateKind,
    /// How it stands.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// When it lifts by itself, where that is known. A forecast: it is shown, but no part of a plan (S8.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Gate {
    /// Whether it waits for a window that does not open any more.
    #[must_use]
    pub const fn never_opens(&self) -> bool {
        matches!((&self.reason, self.outcome), (Reason::OutsideWindows { .. }, Outcome::Refused))
    }
}

impl fmt::Display for Gate {
    /// Why it stands as it does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.never_opens() { ", which does not open any more" } else { "" };
        write!(f, "{}{over}", self.reason)
    }
}

/// Gates in the order in which they are shown (S1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// The artifacts are what was recorded.
    Artifact,
    /// Its build said of it what has to be said.
    Metadata,
    /// The release is ahead of what runs.
    Order,
    /// The way back may be tried here, from what is good and as recorded.
    Drill,
    /// A predecessor verified it.
    Predecessor,
    /// Enough predecessors did.
    Join,
    /// It is not quarantined.
    Quarantine,
    /// The environment is not frozen.
    Freeze,
    /// What scanners, tests and others say of it is good enough.
    Evidence,
    /// It lived long enough in a predecessor.
    Soak,
    /// It does not disturb one that soaks here.
    Arrival,
    /// People agreed.
    Approval,
    /// The time is allowed.
    Window,
    /// Nothing else is under way here.
    Lock,
}

/// How a gate stands (S1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Open.
    Satisfied,
    /// Opened by a named exception.
    Overridden,
    /// Known only after an earlier promotion of the same plan.
    Deferred,
    /// Not open yet.
    Waiting,
    /// Was open once, and no longer is.
    Expired,
    /// Will not open for this release.
    Refused,
}

impl Outcome {
    /// Whether the promotion may pass.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Satisfied | Self::Overridden)
    }
}

/// The outcome of all gates together: the worst of them; satisfied when there are none.
#[must_use]
pub fn overall(gates: &[Gate]) -> Outcome {
    gates.iter().map(|g| g.outcome).max().unwrap_or(Outcome::Satisfied)
}

/// When the last of the closed gates lifts, where that is known of every one of them.
#[must_use]
pub fn opens_at(gates: &[Gate]) -> Option<Timestamp> {
    gates.iter().filter(|g| !g.outcome.is_open()).map(|g| g.until).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// The closed ones in their order, each reason once: what several of them wait for, such as a clock in doubt, is told once.
#[must_use]
pub fn closed(gates: &[Gate]) -> Vec<&Gate> {
    let mut out: Vec<&Gate> = Vec::new();
    for gate in gates.iter().filter(|gate| !gate.outcome.is_open()) {
        if !out.iter().any(|told| told.reason == gate.reason) {
            out.push(gate);
        }
    }
    out
}

/// The run that is moving this very release there, by the gates of its promotion.
#[must_use]
pub fn moved_by<'g>(gates: &'g [Gate], release: &ReleaseId) -> Option<&'g RunId> {
    gates.iter().find_map(|gate| match &gate.reason {
        Reason::Busy { run, release: moved } if moved == release => Some(run),
        _ => None,
    })
}

/// The gates of a release as they are told. While a run is moving it there, that it was tried before is what that very run has
/// begun, and no reason beside it; nor is it that another plan would need approval, since the run has used up the one that it began
/// with, and goes on with that (S6.6). Eligibility goes by all of them (S16).
#[must_use]
pub fn told(mut gates: Vec<Gate>, release: &ReleaseId) -> Vec<Gate> {
    if moved_by(&gates, release).is_some() {
        gates.retain(|gate| gate.reason != Reason::TriedBefore && gate.kind != GateKind::Approval);
    }
    gates
}

/// Why a gate stands as it does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Reason {
    /// Every artifact is what the ledger says.
    ArtifactsAsRecorded,
    /// A tag points elsewhere than when it was recorded (R2).
    TagMoved {
        /// Which component.
        artifact: ArtifactName,
        /// The reference that was recorded.
        reference: String,
        /// The digest that was recorded.
        recorded: Digest,
        /// The digest that it names now.
        found: Digest,
    },
    /// An artifact cannot be had.
    ArtifactUnavailable {
        /// Which component.
        artifact: ArtifactName,
        /// Why.
        why: String,
    },
    /// The place that an artifact would be copied to holds something else (S2.3).
    DestinationTaken {
        /// Which component.
        artifact: ArtifactName,
        /// Where.
        reference: String,
        /// The digest that would be written.
        wanted: Digest,
        /// The digest that is there.
        found: Digest,
    },
    /// The place that it would be deployed to holds what promo has not made, and would not replace (S9.2).
    TargetTaken {
        /// Where, and what is there.
        why: String,
    },
    /// A container would run an image whose tag can move, which policy does not let it (R2).
    ImageMovable {
        /// As it is named.
        image: String,
    },
    /// A container would run another build of an artifact than the release's (R1).
    ImageUnlike {
        /// Which component.
        artifact: ArtifactName,
        /// As it is named.
        image: String,
        /// The digest of the release.
        wanted: Digest,
    },
    /// What is asked afterwards cannot be asked here: it would count as failed, after everything was changed (S9.1).
    CheckNotRunnable {
        /// Which check.
        check: CheckName,
        /// Why.
        why: String,
    },
    /// It was deployed elsewhere then: policy was not asked about that place, or the present one would keep what is left.
    OtherPlace {
        /// Where the environment is now.
        present: String,
        /// Where it was.
        recorded: String,
    },
    /// It was deployed with another provider, which policy was not asked about.
    OtherProvider {
        /// The present one.
        present: String,
        /// The one of then.
        recorded: String,
    },
    /// The release does not carry a file that the pipeline now shares between environments.
    FileNotInRelease {
        /// Its path.
        path: String,
    },
    /// It is ahead of what runs.
    Ahead,
    /// It is older than what runs: going back is a rollback.
    Older {
        /// What runs.
        current: ReleaseId,
    },
    /// It runs there already, with the same files and settings.
    UpToDate,
    /// It runs there, something went wrong, and it was asked for by name (S3.3).
    DeployedAgain,
    /// Its promotion was tried before, and is not repeated by itself (S3.3).
    TriedBefore,
    /// This configuration of what runs there was tried before and did not end well (S3.3).
    ConfigurationTried,
    /// Every check there passed.
    Verified {
        /// Where.
        environment: EnvironmentName,
        /// Since when.
        since: Timestamp,
    },
    /// It has not been there.
    NotThereYet {
        /// Where.
        environment: EnvironmentName,
    },
    /// Some checks have not spoken.
    ChecksMissing {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        checks: Vec<CheckName>,
    },
    /// Its checks have passed, and are to be asked again for a time: no promotion of it there has come to the end of that.
    StillWatched {
        /// Where.
        environment: EnvironmentName,
    },
    /// A check failed.
    CheckFailed {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        check: CheckName,
    },
    /// A check passed after it had failed on the same deployment, and must pass once more.
    CheckFlaky {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        check: CheckName,
    },
    /// The verdict of a check was withdrawn.
    CheckWithdrawn {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        check: CheckName,
    },
    /// An earlier promotion of the same plan has to end first.
    AfterThisPlan {
        /// Where.
        environment: EnvironmentName,
    },
    /// How many of the predecessors are met.
    Members {
        /// Which are.
        met: BTreeSet<EnvironmentName>,
        /// How many are needed.
        needed: u32,
        /// Which of them must be, and are not.
        missing: BTreeSet<EnvironmentName>,
    },
    /// Nothing bars it.
    NotQuarantined,
    /// It was rejected.
    Quarantined {
        /// For this environment and downstream; none means everywhere.
        scope: Option<EnvironmentName>,
        /// Whether a rollback did it.
        automatic: bool,
        /// Who.
        by: String,
    },
    /// Nothing is frozen.
    NotFrozen,
    /// A person stopped promotions.
    Frozen {
        /// Who.
        by: String,
        /// Since when.
        since: Timestamp,
    },
    /// Automatic promotion is paused after a rollback (S10.4).
    Paused {
        /// Since when.
        since: Timestamp,
    },
    /// Evidence is there, and good.
    EvidenceMet(Evidenced),
    /// Evidence that is required is not there.
    EvidenceMissing(Evidenced),
    /// Evidence was good, and is too old by now.
    EvidenceExpired(Evidenced),
    /// Evidence is there and cannot be read, or does not say what has to be known.
    EvidenceUnreadable(Evidenced),
    /// What the evidence says is bad.
    EvidenceBad(Evidenced),
    /// Nobody has looked for evidence here.
    EvidenceNotLooked {
        /// Which gate asks.
        gate: GateName,
        /// Of which artifact; none of the release as a whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact: Option<ArtifactName>,
    },
    /// It lived there long enough.
    SoakMet {
        /// Where.
        environment: EnvironmentName,
        /// Since when.
        since: Timestamp,
    },
    /// It has to live there longer.
    Soaking {
        /// Where.
        environment: EnvironmentName,
        /// How long it must, in seconds.
        seconds: u64,
    },
    /// It was replaced, or is unhealthy, before it had lived there long enough.
    SoakStopped {
        /// Where.
        environment: EnvironmentName,
        /// How long it must, in seconds.
        seconds: u64,
    },
    /// Another release is soaking here for a successor (S4.3).
    HoldsForSoak {
        /// Which.
        release: ReleaseId,
        /// For whom.
        successor: EnvironmentName,
    },
    /// Nobody has to wait.
    NoSoakDisturbed,
    /// No approval is asked for.
    NoApprovalNeeded,
    /// How many have approved, of how many.
    Approvals {
        /// Which rule, from 1.
        rule: u32,
        /// Who has, as identities.
        by: Vec<String>,
        /// How many are needed.
        needed: u32,
        /// Of whom.
        from: BTreeSet<RoleName>,
        /// Who may not be among them.
        exclude: BTreeSet<Party>,
    },
    /// Somebody eligible said no.
    ApprovalRejected {
        /// Who.
        by: String,
    },
    /// It may be done at this time.
    WindowOpen,
    /// A freeze or deny window covers this time.
    WindowDenies {
        /// Which.
        windows: Vec<String>,
        /// Whether only two people together can override it.
        hard: bool,
    },
    /// No allow window covers this time.
    OutsideWindows {
        /// Which would.
        windows: Vec<String>,
    },
    /// This machine and the ledger do not agree on the time (S12.6).
    ClockSkew {
        /// What the ledger's clock reads.
        ledger: Timestamp,
        /// What this machine's reads.
        machine: Timestamp,
    },
    /// The ledger's clock went back (S12.6).
    ClockWentBack {
        /// What it reads.
        ledger: Timestamp,
        /// What it has read before.
        before: Timestamp,
    },
    /// A way back may be tried here.
    DrillsAllowed,
    /// A way back may not be tried here.
    DrillsRefused {
        /// The tier of the environment.
        tier: Tier,
        /// Whether policy says so; else it is production, which nobody tries anything in.
        policy: bool,
    },
    /// What is live is not what was deployed: a way back that is tried would take away what somebody changed by hand.
    Drifted,
    /// Nothing else is under way.
    Idle,
    /// A run is moving something here.
    Busy {
        /// Which.
        run: RunId,
        /// What it moves.
        release: ReleaseId,
    },
    /// A failed promotion was held, and waits for a person.
    Held {
        /// The run.
        run: RunId,
        /// What it moved.
        release: ReleaseId,
    },
}

impl Reason {
    /// The stable code, as in JSON and in `promo explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ArtifactsAsRecorded => "artifacts-as-recorded",
            Self::TagMoved { .. } => "tag-moved",
            Self::ArtifactUnavailable { .. } => "artifact-unavailable",
            Self::DestinationTaken { .. } => "destination-taken",
            Self::TargetTaken { .. } => "target-taken",
            Self::ImageMovable { .. } => "image-movable",
            Self::ImageUnlike { .. } => "image-unlike",
            Self::CheckNotRunnable { .. } => "check-not-runnable",
            Self::OtherPlace { .. } => "other-place",
            Self::OtherProvider { .. } => "other-provider",
            Self::FileNotInRelease { .. } => "file-not-in-release",
            Self::Ahead => "ahead",
            Self::Older { .. } => "older",
            Self::UpToDate => "up-to-date",
            Self::DeployedAgain => "deployed-again",
            Self::TriedBefore => "tried-before",
            Self::ConfigurationTried => "configuration-tried",
            Self::Verified { .. } => "verified",
            Self::NotThereYet { .. } => "not-there-yet",
            Self::ChecksMissing { .. } => "checks-missing",
            Self::StillWatched { .. } => "still-watched",
            Self::CheckFailed { .. } => "check-failed",
            Self::CheckFlaky { .. } => "check-flaky",
            Self::CheckWithdrawn { .. } => "check-withdrawn",
            Self::AfterThisPlan { .. } => "after-this-plan",
            Self::Members { .. } => "members",
            Self::NotQuarantined => "not-quarantined",
            Self::Quarantined { .. } => "quarantined",
            Self::NotFrozen => "not-frozen",
            Self::Frozen { .. } => "frozen",
            Self::Paused { .. } => "paused",
            Self::EvidenceMet(_) => "evidence-met",
            Self::EvidenceMissing(_) => "evidence-missing",
            Self::EvidenceExpired(_) => "evidence-expired",
            Self::EvidenceUnreadable(_) => "evidence-unreadable",
            Self::EvidenceBad(_) => "evidence-bad",
            Self::EvidenceNotLooked { .. } => "evidence-not-looked",
            Self::SoakMet { .. } => "soak-met",
            Self::Soaking { .. } => "soaking",
            Self::SoakStopped { .. } => "soak-stopped",
            Self::HoldsForSoak { .. } => "holds-for-soak",
            Self::NoSoakDisturbed => "no-soak-disturbed",
            Self::NoApprovalNeeded => "no-approval-needed",
            Self::Approvals { .. } => "approvals",
            Self::ApprovalRejected { .. } => "approval-rejected",
            Self::WindowOpen => "window-open",
            Self::WindowDenies { .. } => "window-denies",
            Self::OutsideWindows { .. } => "outside-windows",
            Self::ClockSkew { .. } => "clock-skew",
            Self::ClockWentBack { .. } => "clock-went-back",
            Self::DrillsAllowed => "drills-allowed",
            Self::DrillsRefused { .. } => "drills-refused",
            Self::Drifted => "drifted",
            Self::Idle => "idle",
            Self::Busy { .. } => "busy",
            Self::Held { .. } => "held",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArtifactsAsRecorded => f.write_str("artifacts are as recorded"),
            Self::TagMoved { artifact, reference, recorded, found } => {
                write!(f, "{artifact}: {reference} was recorded as {recorded} and is now {found}")
            }
            Self::ArtifactUnavailable { artifact, why } => write!(f, "{artifact}: {why}"),
            Self::DestinationTaken { artifact, reference, wanted, found } => {
                write!(f, "{artifact}: {reference} holds {found}, and {wanted} would be written there")
            }
            Self::TargetTaken { why } => f.write_str(why),
            Self::ImageMovable { image } => write!(f, "the image {image} can move: it is named by no digest"),
            Self::ImageUnlike { artifact, image, wanted } => {
                write!(f, "the image {image} is not the {artifact} of this release, which is {wanted}")
            }
            Self::CheckNotRunnable { check, why } => write!(f, "the check {check} cannot be run here: {why}"),
            Self::OtherPlace { present, recorded } => {
                write!(f, "it stood at {recorded}, and the environment is at {present} now")
            }
            Self::OtherProvider { present, recorded } => {
                write!(f, "it was deployed by {recorded}, and the environment is deployed by {present} now")
            }
            Self::FileNotInRelease { path } => {
                write!(f, "the release does not carry the shared file {path}: add a new release")
            }
            Self::Ahead => f.write_str("ahead of what runs"),
            Self::Older { current } => write!(f, "older than {current}, which runs there: going back is a rollback"),
            Self::UpToDate => f.write_str("up to date"),
            Self::DeployedAgain => f.write_str("runs there, and is deployed again because it was asked for by name"),
            Self::TriedBefore => f.write_str("was tried before and is not repeated by itself"),
            Self::ConfigurationTried => {
                f.write_str("this configuration of it was tried before, failed, and is not repeated by itself")
            }
            Self::Verified { environment, .. } => write!(f, "verified in {environment}"),
            Self::NotThereYet { environment } => write!(f, "has not been in {environment}"),
            Self::ChecksMissing { environment, checks } => {
                write!(f, "{environment} waits for {}", Words(checks))
            }
            Self::StillWatched { environment } => write!(f, "has not been watched to its end in {environment}"),
            Self::CheckFailed { environment, check } => write!(f, "{check} failed in {environment}"),
            Self::CheckFlaky { environment, check } => {
                write!(f, "{check} in {environment} passed after a failure and must pass once more")
            }
            Self::CheckWithdrawn { environment, check } => {
                write!(f, "the verdict of {check} in {environment} was withdrawn")
            }
            Self::AfterThisPlan { environment } => write!(f, "known after this plan has moved {environment}"),
            Self::Members { met, needed, missing } => {
                write!(f, "{} of {needed} predecessors", met.len())?;
                if !missing.is_empty() {
                    write!(f, ", without {}", Words(missing))?;
                }
                Ok(())
            }
            Self::NotQuarantined => f.write_str("not quarantined"),
            Self::Quarantined { scope, automatic, by } => {
                f.write_str(if *automatic { "quarantined after a rollback" } else { "quarantined" })?;
                match scope {
                    Some(scope) => write!(f, " for {scope} and downstream by {by}"),
                    None => write!(f, " everywhere by {by}"),
                }
            }
            Self::NotFrozen => f.write_str("not frozen"),
            Self::Frozen { by, .. } => write!(f, "frozen by {by}"),
            Self::Paused { .. } => f.write_str("automatic promotion is paused after a rollback"),
            Self::EvidenceMet(said)
            | Self::EvidenceMissing(said)
            | Self::EvidenceExpired(said)
            | Self::EvidenceUnreadable(said)
            | Self::EvidenceBad(said) => said.fmt(f),
            Self::EvidenceNotLooked { gate, artifact: Some(artifact) } => {
                write!(f, "{gate}: nobody has looked into {artifact} yet")
            }
            Self::EvidenceNotLooked { gate, artifact: None } => write!(f, "{gate}: nobody has looked yet"),
            Self::SoakMet { environment, .. } => write!(f, "soak in {environment} is met"),
            Self::Soaking { environment, seconds } => {
                write!(f, "soaks in {environment} for {}", Seconds(*seconds))
            }
            Self::SoakStopped { environment, seconds } => {
                write!(f, "did not live in {environment} for {}, verified and healthy", Seconds(*seconds))
            }
            Self::HoldsForSoak { release, successor } => write!(f, "{release} is soaking here for {successor}"),
            Self::NoSoakDisturbed => f.write_str("disturbs no soak"),
            Self::NoApprovalNeeded => f.write_str("no approval needed"),
            Self::Approvals { by, needed, from, exclude, .. } => {
                write!(f, "approval {} of {needed}", by.len())?;
                if by.len() < *needed as usize {
                    write!(f, ": {}", Alternatives(from))?;
                    if !exclude.is_empty() {
                        write!(f, ", not the ")?;
                        for (i, party) in exclude.iter().enumerate() {
                            write!(f, "{}{}", if i > 0 { " or " } else { "" }, party.as_str())?;
                        }
                    }
                } else {
                    write!(f, " by {}", Words(by))?;
                }
                Ok(())
            }
            Self::ApprovalRejected { by } => write!(f, "rejected by {by}"),
            Self::WindowOpen => f.write_str("window is open"),
            Self::WindowDenies { windows, hard } => {
                write!(f, "{} freeze {}", if *hard { "hard" } else { "soft" }, Words(windows))
            }
            Self::OutsideWindows { windows } => write!(f, "outside window {}", Words(windows)),
            Self::ClockSkew { ledger, machine } => {
                let (ledger, machine) = (Instant(*ledger), Instant(*machine));
                write!(f, "the clocks disagree: the ledger's reads {ledger}, this machine's {machine}")
            }
            Self::ClockWentBack { ledger, before } => {
                let (ledger, before) = (Instant(*ledger), Instant(*before));
                write!(f, "the ledger's clock went back: it reads {ledger}, and has read {before}")
            }
            Self::DrillsAllowed => f.write_str("a way back may be tried here"),
            Self::DrillsRefused { tier, policy: false } => write!(f, "{} is no tier for drills", tier.as_str()),
            Self::DrillsRefused { tier, policy: true } => {
                write!(f, "policy allows no drills in the tier {}", tier.as_str())
            }
            Self::Drifted => f.write_str(
                "what is live was changed by hand since it was deployed, and a drill would not bring that back",
            ),
            Self::Idle => f.write_str("nothing else is under way"),
            Self::Busy { run, release } => write!(f, "run {run} is moving {release} here"),
            Self::Held { run, release } => write!(f, "run {run} failed with {release} and is held for a person"),
        }
    }
}

impl Party {
    /// The word used in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Author => "author",
            Self::Builder => "builder",
            Self::Applier => "applier",
        }
    }
}

/// `a, b and c`.
struct Words<T>(T);

impl<'a, T, I> fmt::Display for Words<&'a T>
where
    &'a T: IntoIterator<Item = I>,
    I: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, self.0, " and ")
    }
}

/// `a, b or c`.
struct Alternatives<T>(T);

impl<'a, T, I> fmt::Display for Alternatives<&'a T>
where
    &'a T: IntoIterator<Item = I>,
    I: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, self.0, " or ")
    }
}

fn join<I: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl IntoIterator<Item = I>, last: &str) -> fmt::Result {
    let mut items = items.into_iter().peekable();
    let mut first = true;
    while let Some(item) = items.next() {
        let separator = match (first, items.peek().is_some()) {
            (true, _) => "",
            (false, true) => ", ",
            (false, false) => last,
        };
        write!(f, "{separator}{item}")?;
        first = false;
    }
    Ok(())
}

/// A number of seconds as people write it: `1 h 30 min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut written = 0;
        for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")] {
            let count = rest / unit;
            if count > 0 && written < 2 {
                write!(f, "{}{count} {name}", if written > 0 { " " } else { "" })?;
                written += 1;
            } else if written > 0 {
                break;
            }
            rest %= unit;
        }
        if written == 0 { f.write_str("0 s") } else { Ok(()) }
    }
}

/// An instant as people read it where nobody has said in which zone: `2026-11-20 14:02:07 UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%d %H:%M:%S UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn seconds_read_as_people_write_them() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (3_600, "1 h"), (5_400, "1 h 30 min"), (90_061, "1 d 1 h")] {
            assert_eq!(Seconds(seconds).to_string(), text);
        }
    }

    #[test]
    fn an_instant_reads_as_people_write_it_to_the_second() {
        for (at, text) in [
            ("2026-11-20T14:02:07.386Z", "2026-11-20 14:02:07 UTC"),
            ("9999-12-30T22:00:00.999999999Z", "9999-12-30 22:00:00 UTC"),
            ("0001-02-03T04:05:06Z", "0001-02-03 04:05:06 UTC"),
        ] {
            assert_eq!(Instant(at.parse().unwrap()).to_string(), text);
        }
    }

    #[test]
    fn what_closes_several_gates_is_told_once_s1_2() {
        let went_back = Reason::ClockWentBack { ledger: Timestamp::UNIX_EPOCH, before: Timestamp::MAX };
        let gate = |kind, outcome, reason: &Reason| Gate { kind, outcome, reason: reason.clone(), until: None };
        let gates = [
            gate(GateKind::Soak, Outcome::Waiting, &went_back),
            gate(GateKind::Freeze, Outcome::Satisfied, &Reason::NotFrozen),
            gate(GateKind::Approval, Outcome::Waiting, &Reason::TriedBefore),
            gate(GateKind::Window, Outcome::Waiting, &went_back),
        ];
        let kinds: Vec<GateKind> = closed(&gates).into_iter().map(|gate| gate.kind).collect();
        assert_eq!(kinds, [GateKind::Soak, GateKind::Approval]);
    }

    #[test]
    fn the_worst_gate_decides_and_an_unknown_end_hides_the_others() {
        let gate = |outcome, until| Gate { kind: GateKind::Window, outcome, reason: Reason::WindowOpen, until };
        let later = Timestamp::from_second(60).unwrap();
        let gates = [gate(Outcome::Satisfied, None), gate(Outcome::Waiting, Some(later))];
        assert_eq!(overall(&gates), Outcome::Waiting);
        assert_eq!(opens_at(&gates), Some(later));
        assert_eq!(opens_at(&[gates[1].clone(), gate(Outcome::Refused, None)]), None);
        assert_eq!(overall(&[]), Outcome::Satisfied);
    }
}
