//! Whether a release has lived long enough in an environment (S4, S16): computed from recorded facts, never from a
//! process that had to be running.

use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::Verification;
use crate::ids::{EnvironmentName, ReleaseId};
use crate::ledger::View;
use crate::model::{OnUnhealthy, Soak, SoakMode};

/// How a soak stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoakStatus {
    /// It is met.
    Met {
        /// Since when.
        at: Timestamp,
    },
    /// The release is there, verified and healthy.
    Running {
        /// When it will be met if nothing happens.
        eligible_at: Timestamp,
    },
    /// It is not met, and time alone will not change that.
    Stopped,
}

/// A stretch of time in one residence with one state of health.
struct Stretch {
    residence: usize,
    start: Timestamp,
    end: Timestamp,
    healthy: bool,
    /// Whether it still lasts.
    open: bool,
}

/// How the soak of a release in an environment stands at an instant.
#[must_use]
pub fn soak(
    view: &View,
    name: &EnvironmentName,
    release: &ReleaseId,
    verified: &Verification,
    required: Soak,
    now: Timestamp,
) -> SoakStatus {
    let Some(since) = verified.holds_since else { return SoakStatus::Stopped };
    let needed = SignedDuration::from_secs(i64::try_from(required.seconds).unwrap_or(i64::MAX / 2));
    let mut lived = SignedDuration::ZERO;
    let mut met: Option<Timestamp> = None;
    let mut residence = usize::MAX;
    let mut running = None;
    for stretch in stretches(view, name, release, since, now) {
        if stretch.residence != residence {
            residence = stretch.residence;
            if required.mode == SoakMode::Reset {
                lived = SignedDuration::ZERO;
            }
        }
        running = None;
        if !stretch.healthy {
            // "Met" ends when the release is seen unhealthy there while deployed (S16).
            met = None;
            if required.unhealthy == OnUnhealthy::Reset {
                lived = SignedDuration::ZERO;
            }
            continue;
        }
        let missing = (needed - lived).max(SignedDuration::ZERO);
        let at = stretch.start.saturating_add(missing).unwrap_or(Timestamp::MAX);
        if met.is_none() && at <= stretch.end {
            met = Some(at);
        }
        lived += stretch.end.duration_since(stretch.start);
        if stretch.open {
            running = Some(at);
        }
    }
    match (met, running) {
        (Some(at), _) => SoakStatus::Met { at },
        (None, Some(eligible_at)) => SoakStatus::Running { eligible_at },
        (None, None) => SoakStatus::Stopped,
    }
}

/// The time after `since` in which the release was there, cut where its health changed.
fn stretches(
    view: &View,
    name: &EnvironmentName,
    release: &ReleaseId,
    since: Timestamp,
    now: Timestamp,
) -> Vec<Stretch> {
    let Some(environment) = view.environment(name) else { return Vec::new() };
    let mut out = Vec::new();
    let residences = environment.residences.iter().enumerate();
    for (residence, stay) in residences.filter(|(_, r)| r.release == *release) {
        let end = stay.until.unwrap_or(now).min(now);
        if stay.since > end {
            continue;
        }
        // A new deployment starts healthy, whatever was said of the one before.
        let (mut start, mut healthy) = (stay.since, true);
        let health_until = stay.health_until.unwrap_or(environment.health.len());
        let changes = &environment.health[stay.health_from..health_until];
        let mut push = |start: Timestamp, end: Timestamp, healthy: bool, open: bool| {
            if end >= since {
                out.push(Stretch { residence, start: start.max(since), end, healthy, open });
            }
        };
        for &(at, state) in changes.iter().filter(|(at, _)| *at <= end) {
            if state != healthy {
                // A clock that stepped back gives no negative time.
                let at = at.max(start);
                push(start, at, healthy, false);
                (start, healthy) = (at, state);
            }
        }
        push(start, end, healthy, stay.until.is_none());
    }
    out
}
