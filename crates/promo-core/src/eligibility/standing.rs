//! How what runs in an environment stands: whether something went wrong there, what holds it, and whether it has lost
//! evidence since.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{CheckStatus, Rules, verification, was_good};
use crate::gate::Reason;
use crate::ids::{CheckName, EnvironmentName, ReleaseId};
use crate::ledger::View;
use crate::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use crate::ledger::view::{Note, Promotion};
use crate::model::{Check, Environment};

/// Whether what runs in an environment is to be deployed again when it is asked for by name (S3.3): the last promotion
/// that touched the environment did not end verified, or the latest verdict of an automatic check on what runs is a
/// failure. A person's verdict is no reason: another deployment of the same says nothing new to them.
#[must_use]
pub fn went_wrong(rules: &Rules<'_>, view: &View, name: &EnvironmentName) -> bool {
    let (Some(environment), Some(known)) = (rules.pipeline.environments.get(name), view.environment(name)) else {
        return false;
    };
    let Some(current) = view.current(name) else { return false };
    let ended = known.last_effective().and_then(|promotion| promotion.finished);
    let checks = verification(view, name, environment, &current.release).checks;
    let failed = checks.iter().any(|(check, status)| {
        *status == CheckStatus::Failed && matches!(rules.pipeline.checks.get(check), Some(Check::Automatic { .. }))
    });
    failed || ended.is_some_and(|(_, outcome)| outcome != PromotionOutcome::Verified)
}

/// What keeps an environment as it is until a person does something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold<'a> {
    /// The last promotion that touched it failed, or was ended half-way, and nothing went back by itself (S9.6).
    Failed(&'a Promotion),
    /// A person stopped promotions into it.
    Frozen {
        /// Who, and in which record.
        note: &'a Note,
        /// Whether into every environment.
        everywhere: bool,
    },
    /// Automatic promotion into it is paused after a rollback (S10.4).
    Paused {
        /// In which record.
        note: &'a Note,
        /// Whether into every environment.
        everywhere: bool,
    },
}

/// Everything that holds an environment, what stops most first. A promotion under way is no hold: what it ends is not yet
/// known.
#[must_use]
pub fn holds<'a>(view: &'a View, name: &EnvironmentName) -> Vec<Hold<'a>> {
    let known = view.environment(name).filter(|environment| environment.active.is_none());
    let failed = known
        .and_then(|environment| environment.last_effective())
        .filter(|promotion| matches!(promotion.finished, Some((_, PromotionOutcome::Held | PromotionOutcome::Stuck))));
    let scopes = || [(Some(name.clone()), false), (None, true)].into_iter();
    let mut out: Vec<Hold<'_>> = failed.map(Hold::Failed).into_iter().collect();
    let frozen = |(scope, everywhere)| Some(Hold::Frozen { note: &view.freezes.get(&scope)?.note, everywhere });
    out.extend(scopes().filter_map(frozen));
    let paused = |(scope, everywhere)| Some(Hold::Paused { note: &view.pauses.get(&scope)?.note, everywhere });
    out.extend(scopes().filter_map(paused));
    out
}

/// Whether what holds an environment has left it half-way to something that never came whole, and what was deployed there before
/// was verified good and is free to stay: then to go back is to put that there again, and nothing lower.
#[must_use]
pub fn left_half_way(rules: &Rules<'_>, view: &View, name: &EnvironmentName) -> bool {
    let Some(current) = view.current(name) else { return false };
    let half = |hold: &Hold<'_>| match hold {
        // One that was on its way back already leads on to where it was going.
        Hold::Failed(promotion) => {
            (promotion.to != current.release || !promotion.deployed)
                && promotion.movement != Movement::Rollback
                && promotion.drill.is_none()
        }
        _ => false,
    };
    holds(view, name).iter().any(half) && good_and_free(rules, view, name)
}

/// The same of a promotion that is under way: it has begun to bring something else, and what was deployed there before is free to come
/// again when the run is over.
#[must_use]
pub fn half_way(rules: &Rules<'_>, view: &View, name: &EnvironmentName) -> bool {
    let active = view.environment(name).and_then(|known| known.active.as_ref());
    let Some((active, current)) = active.zip(view.current(name)) else { return false };
    let forward = active.movement != Movement::Rollback && active.drill.is_none();
    let half = current.until.is_some() && (active.to != current.release || !active.deployed);
    forward && half && good_and_free(rules, view, name)
}

/// Whether what was deployed there last is verified good there, and nobody rejected it.
fn good_and_free(rules: &Rules<'_>, view: &View, name: &EnvironmentName) -> bool {
    let (Some(environment), Some(current)) = (rules.pipeline.environments.get(name), view.current(name)) else {
        return false;
    };
    was_good(view, name, environment, &current.release)
        && view.quarantine(&current.release, name, rules.graph).is_none()
}

/// The release that failed half-way into an environment, where another one is there still: whoever goes back leaves it, and it is
/// quarantined (S10.4). None where it was only cancelled, or where nobody knows what is there: that says nothing of the release.
#[must_use]
pub fn failed_half_way<'a>(view: &'a View, name: &EnvironmentName) -> Option<&'a ReleaseId> {
    let (known, current) = (view.environment(name)?, view.current(name)?);
    let last = known.last_effective()?;
    let run = view.runs.get(&last.run).and_then(|run| run.finished);
    let failed = matches!(last.finished, Some((_, PromotionOutcome::Held)))
        && !matches!(run, Some((_, RunOutcome::Cancelled)))
        && last.movement == Movement::Promotion
        && last.drill.is_none();
    (failed && last.to != current.release).then_some(&last.to)
}

/// The promotion under way that brings a release back to an environment where its verification holds already, until the
/// checks of this promotion have spoken: a release that comes back keeps its verdict until a newer one (S16), so that
/// what counts as verified is its earlier deployment.
#[must_use]
pub fn coming_back<'a>(
    rules: &Rules<'_>,
    view: &'a View,
    name: &EnvironmentName,
    release: &ReleaseId,
) -> Option<&'a Promotion> {
    let (environment, known) = (rules.pipeline.environments.get(name)?, view.environment(name)?);
    let active = known.active.as_ref().filter(|active| active.to == *release)?;
    verification(view, name, environment, release).holds_since?;
    let of_before = |check: &CheckName| {
        let latest = known.verdicts.get(release).and_then(|checks| checks.get(check)?.last());
        latest.is_some_and(|verdict| verdict.run.as_ref() != Some(&active.run))
    };
    environment.verify.iter().any(of_before).then_some(active)
}

/// The promotion of a release into an environment that failed, unless a later one of the same release went well.
#[must_use]
pub fn failed_there<'a>(view: &'a View, name: &EnvironmentName, release: &ReleaseId) -> Option<&'a Promotion> {
    let tried = |promotion: &&Promotion| {
        promotion.to == *release && !matches!(promotion.finished, None | Some((_, PromotionOutcome::Cancelled)))
    };
    let last = view.environment(name)?.history.iter().rev().find(tried)?;
    (!matches!(last.finished, Some((_, PromotionOutcome::Verified)))).then_some(last)
}

/// The evidence that what runs in these environments has lost: checks upstream, anywhere on the way (S16), that once held
/// for it and hold no longer, because a verdict was withdrawn or a newer one is a failure. Lower environments first; nothing
/// moves because of it, it is shown. Environments that have lost none are left out.
#[must_use]
pub fn lost_evidence<'n>(
    rules: &Rules<'_>,
    view: &View,
    names: impl IntoIterator<Item = &'n EnvironmentName>,
) -> BTreeMap<EnvironmentName, Vec<Reason>> {
    let mut standing_on: BTreeMap<&ReleaseId, BTreeSet<&EnvironmentName>> = BTreeMap::new();
    for name in names {
        if let Some(current) = view.current(name) {
            standing_on.entry(&current.release).or_default().insert(name);
        }
    }
    let mut out: BTreeMap<EnvironmentName, Vec<Reason>> = BTreeMap::new();
    // What a release has lost is looked for once, however many environments stand on it.
    for (release, standing) in standing_on {
        for before in rules.graph.topological() {
            let Some(environment) = rules.pipeline.environments.get(before) else { continue };
            let lost = lost_by(view, before, environment, release);
            if lost.is_empty() {
                continue;
            }
            for name in rules.graph.descendants(before).iter().filter(|name| standing.contains(name)) {
                out.entry(name.clone()).or_default().extend(lost.iter().cloned());
            }
        }
    }
    out
}

/// The checks of one environment that held for a release and hold no longer.
fn lost_by(view: &View, name: &EnvironmentName, environment: &Environment, release: &ReleaseId) -> Vec<Reason> {
    let verified = verification(view, name, environment, release);
    let reason = |check: &CheckName| {
        let (environment, check) = (name.clone(), check.clone());
        match verified.checks[&check] {
            CheckStatus::Withdrawn => Reason::CheckWithdrawn { environment, check },
            CheckStatus::Flaky => Reason::CheckFlaky { environment, check },
            _ => Reason::CheckFailed { environment, check },
        }
    };
    verified.lost.iter().map(reason).collect()
}
