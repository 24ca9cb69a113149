//! Whether a release counts as verified in an environment, and since when (S3.1, S16).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::gate::{Outcome, Reason};
use crate::ids::{CheckName, EnvironmentName, ReleaseId};
use crate::ledger::View;
use crate::ledger::event::{Movement, PromotionOutcome};
use crate::ledger::view::{EnvironmentView, Promotion, Said, VerdictEntry};
use crate::model::Environment;

/// How a release stands with the checks of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// When it was first deployed there; none when it never was.
    pub deployed: Option<Timestamp>,
    /// Every required check.
    pub checks: BTreeMap<CheckName, CheckStatus>,
    /// Checks that held once and hold no longer.
    pub lost: BTreeSet<CheckName>,
    /// Whether every check holds, and the environment was not watched to the end of a promotion since it entered: until one
    /// has ended well it is not verified.
    pub watched: bool,
    /// Since when every check holds; none when one does not, the release was never there, or it has not been watched.
    pub holds_since: Option<Timestamp>,
}

/// How one check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    /// Its latest verdict is a pass that counts.
    Passed {
        /// The first pass of the unbroken run of passes that count.
        since: Timestamp,
    },
    /// Its latest verdict is a failure.
    Failed,
    /// It passed once after it had failed on the same deployment, and must pass again.
    Flaky,
    /// Its latest verdict was withdrawn.
    Withdrawn,
    /// It has not spoken.
    Missing,
}

/// How a release stands with the checks of an environment.
#[must_use]
pub fn verification(
    view: &View,
    name: &EnvironmentName,
    environment: &Environment,
    release: &ReleaseId,
) -> Verification {
    let known = view.environment(name);
    let deployed = known.and_then(|e| e.residences.iter().find(|r| r.release == *release)).map(|r| r.since);
    let verdicts = known.and_then(|e| e.verdicts.get(release));
    let (mut checks, mut lost) = (BTreeMap::new(), BTreeSet::new());
    for check in &environment.verify {
        let entries = verdicts.and_then(|v| v.get(check)).map_or(&[][..], Vec::as_slice);
        let (status, held) = status(entries);
        if held && !matches!(status, CheckStatus::Passed { .. }) {
            lost.insert(check.clone());
        }
        checks.insert(check.clone(), status);
    }
    let since = checks.values().map(|status| match status {
        CheckStatus::Passed { since } => Some(*since),
        _ => None,
    });
    // A control-only node may have no checks: then having entered is what counts.
    let holds_since =
        deployed.and_then(|deployed| since.chain([Some(deployed)]).collect::<Option<Vec<_>>>()?.into_iter().max());
    let watched = environment.watch.is_some() && holds_since.is_some() && known.is_some_and(|e| unwatched(e, release));
    Verification { deployed, checks, lost, watched, holds_since: holds_since.filter(|_| !watched) }
}

/// Whether a release was verified good in an environment by the checks that were asked of it: every check of now that has spoken of it
/// holds, and of those that came since, which can be asked of nothing but what is deployed, it was verified without (S10.1).
pub(super) fn was_good(view: &View, name: &EnvironmentName, environment: &Environment, release: &ReleaseId) -> bool {
    let verified = verification(view, name, environment, release);
    if verified.holds_since.is_some() {
        return true;
    }
    let Some(known) = view.environment(name) else { return false };
    let ended_well =
        |one: &Promotion| one.to == *release && matches!(one.finished, Some((_, PromotionOutcome::Verified)));
    let speaks = |status: &CheckStatus| matches!(status, CheckStatus::Passed { .. } | CheckStatus::Missing);
    let watched = environment.watch.is_none() || !unwatched(known, release);
    verified.checks.values().all(speaks) && watched && known.history.iter().any(ended_well)
}

/// Whether no promotion of a release has ended well since it entered last, however the one that brought it ended: it is
/// under way, was cancelled or failed within its watch, or nobody knows. What comes back was watched when it came first; what
/// was there before, and is configured anew, stays as it was; and what was cancelled before anything changed is as if it had
/// not been.
fn unwatched(known: &EnvironmentView, release: &ReleaseId) -> bool {
    let all = known.history.iter().chain(&known.active).filter(|promotion| promotion.to == *release);
    all.fold(false, |unwatched, promotion| match promotion.finished {
        Some((_, PromotionOutcome::Verified)) => false,
        Some((_, PromotionOutcome::Cancelled)) => unwatched,
        _ => unwatched || (promotion.movement != Movement::Rollback && promotion.from.as_ref() != Some(release)),
    })
}

/// How a check stands, and whether it ever held.
fn status(entries: &[VerdictEntry]) -> (CheckStatus, bool) {
    let (mut status, mut held) = (CheckStatus::Missing, false);
    // The deployment on which the check failed and has not passed twice in a row since; and the same as it was before the
    // latest verdict, because a withdrawal takes back what that verdict did, and nothing else: whoever withdraws a flaky
    // pass has not withdrawn the failure before it.
    let (mut doubted, mut doubted_before) = (None, None);
    for entry in entries {
        if entry.said == Said::Withdrawn {
            // There is nothing to withdraw until the next verdict (S16).
            if status != CheckStatus::Missing {
                (status, doubted) = (CheckStatus::Withdrawn, doubted_before);
            }
            continue;
        }
        doubted_before = doubted;
        status = match (entry.said, status) {
            (Said::Failed | Said::Withdrawn, _) => {
                doubted = Some(entry.residence);
                CheckStatus::Failed
            }
            (Said::Passed, CheckStatus::Passed { since }) => CheckStatus::Passed { since },
            (Said::Passed, before) if before != CheckStatus::Flaky && doubted == Some(entry.residence) => {
                CheckStatus::Flaky
            }
            (Said::Passed, _) => {
                doubted = None;
                CheckStatus::Passed { since: entry.at }
            }
        };
        held |= matches!(status, CheckStatus::Passed { .. });
    }
    (status, held)
}

impl Verification {
    /// How it stands as a gate of a successor.
    #[must_use]
    pub fn gate(&self, environment: &EnvironmentName) -> (Outcome, Reason) {
        let environment = environment.clone();
        let first = |wanted: CheckStatus| {
            self.checks.iter().find(|(_, status)| **status == wanted).map(|(check, _)| check.clone())
        };
        if let Some(check) = first(CheckStatus::Failed) {
            return (Outcome::Refused, Reason::CheckFailed { environment, check });
        }
        if let Some(since) = self.holds_since {
            return (Outcome::Satisfied, Reason::Verified { environment, since });
        }
        if self.watched {
            return (Outcome::Waiting, Reason::StillWatched { environment });
        }
        if let Some(check) = first(CheckStatus::Withdrawn) {
            return (Outcome::Expired, Reason::CheckWithdrawn { environment, check });
        }
        if self.deployed.is_none() {
            return (Outcome::Waiting, Reason::NotThereYet { environment });
        }
        if let Some(check) = first(CheckStatus::Flaky) {
            return (Outcome::Waiting, Reason::CheckFlaky { environment, check });
        }
        let missing =
            |(check, status): (&CheckName, &CheckStatus)| (*status == CheckStatus::Missing).then(|| check.clone());
        let checks = self.checks.iter().filter_map(missing).collect();
        (Outcome::Waiting, Reason::ChecksMissing { environment, checks })
    }
}
