//! How what runs in an environment stands: whether something went wrong there, and whether it has lost evidence since.

use alloc::vec::Vec;

use super::{CheckStatus, Rules, verification};
use crate::gate::Reason;
use crate::ids::EnvironmentName;
use crate::ledger::View;
use crate::ledger::event::PromotionOutcome;
use crate::model::Check;

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

/// The evidence that what runs in an environment has lost: checks upstream, anywhere on the way (S16), that once held for
/// it and hold no longer, because a verdict was withdrawn or a newer one is a failure. Lower environments first; nothing
/// moves because of it, it is shown.
#[must_use]
pub fn lost_evidence(rules: &Rules<'_>, view: &View, name: &EnvironmentName) -> Vec<Reason> {
    let Some(current) = view.current(name) else { return Vec::new() };
    let upstream = rules.graph.ancestors(name);
    let mut out = Vec::new();
    for before in rules.graph.topological().iter().filter(|before| upstream.contains(*before)) {
        let Some(environment) = rules.pipeline.environments.get(before) else { continue };
        let verified = verification(view, before, environment, &current.release);
        for check in &verified.lost {
            let (environment, check) = (before.clone(), check.clone());
            out.push(match verified.checks[&check] {
                CheckStatus::Withdrawn => Reason::CheckWithdrawn { environment, check },
                CheckStatus::Flaky => Reason::CheckFlaky { environment, check },
                _ => Reason::CheckFailed { environment, check },
            });
        }
    }
    out
}
