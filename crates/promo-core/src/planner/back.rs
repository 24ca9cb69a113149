//! Where a way back may lead. What must not be here: which release it is, which is eligibility's.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{DeploymentSettings, Planner};
use crate::eligibility;
use crate::gate::Reason;
use crate::ids::{EnvironmentName, ReleaseId};
use crate::ledger::event::Movement;
use crate::model::Environment;
use crate::plan::LostTarget;

/// Why settings that were recorded are no way back: they lead elsewhere than the environment goes now, or deploy with
/// another provider. What it goes to now was judged by policy under its tier (S0.2, S7.2), what was recorded then was not;
/// and a place that the recorded settings do not name would keep the release that is left.
#[must_use]
pub fn elsewhere(environment: &Environment, recorded: &DeploymentSettings) -> Option<Reason> {
    let present = DeploymentSettings::of(environment);
    if present.targets != recorded.targets {
        return Some(Reason::OtherPlace { present: places(&present), recorded: places(recorded) });
    }
    if let Some(to) = recorded.mirror.values().find(|to| !present.mirror.values().any(|known| known == *to)) {
        let present: Vec<&str> = present.mirror.values().map(String::as_str).collect();
        return Some(Reason::OtherPlace { present: words(&present), recorded: to.clone() });
    }
    let provider = |settings: &DeploymentSettings| settings.provider.clone().unwrap_or_else(|| "none".to_string());
    (present.provider != recorded.provider)
        .then(|| Reason::OtherProvider { present: provider(&present), recorded: provider(recorded) })
}

fn places(settings: &DeploymentSettings) -> String {
    let addresses: Vec<String> = settings.targets.values().map(crate::model::Target::address).collect();
    words(&addresses.iter().map(String::as_str).collect::<Vec<_>>())
}

fn words(places: &[&str]) -> String {
    if places.is_empty() { "no place".to_string() } else { places.join(", ") }
}

impl Planner<'_> {
    /// What would keep an environment from going back to a release by itself: an artifact that cannot be had (S10.1), a
    /// place to copy it to that holds something else (S2.3), another place or provider. A tag that moved is no matter here,
    /// the digest is still there.
    pub(super) fn barred(&self, name: &EnvironmentName, release: &ReleaseId) -> Option<Reason> {
        let observations = self.input.observations;
        let gone = |reason: &&Reason| matches!(reason, Reason::ArtifactUnavailable { .. });
        let gone = observations.restored.get(release).into_iter().flatten().find(gone);
        let taken = observations.destinations.get(&(name.clone(), release.clone()));
        let found = gone.or_else(|| taken.and_then(|reasons| reasons.first()));
        found.cloned().or_else(|| self.no_way_back(name, release, Movement::Promotion))
    }

    /// For a move without a way back: the best release that it could go back to, were it not for this. None when no
    /// earlier one was verified good there.
    pub(super) fn lost_target(
        &self,
        name: &EnvironmentName,
        release: &ReleaseId,
        movement: Movement,
    ) -> Option<LostTarget> {
        let (rules, view) = (&self.input.rules, self.input.view);
        let lost = |id: &ReleaseId, reason| LostTarget { release: self.reference(id), reason };
        if movement == Movement::Reconfiguration {
            return Some(lost(release, self.no_way_back(name, release, movement)?));
        }
        let barred = |id: &ReleaseId| eligibility::quarantined(rules, view, name, id).or_else(|| self.barred(name, id));
        let good = || eligibility::verified_below(rules, view, name, release);
        // What runs is what would be left, and so what is missed first.
        let here = view.current(name).map(|current| &current.release);
        let mut found = good().filter(|id| Some(*id) == here).chain(good());
        found.find_map(|id| Some(lost(id, barred(id)?)))
    }

    /// Why an environment cannot go back to a release whose settings are to be had; `movement` is the one that goes back,
    /// or whose way back it is.
    pub(super) fn no_way_back(
        &self,
        name: &EnvironmentName,
        release: &ReleaseId,
        movement: Movement,
    ) -> Option<Reason> {
        let environment = self.input.rules.pipeline.environments.get(name)?;
        let (recorded, _) = self.recorded(name, release)?;
        elsewhere(environment, &recorded).or_else(|| {
            // A person goes back from what runs, which may stand elsewhere than promo.toml says by now.
            let current = self.input.view.current(name).filter(|_| movement == Movement::Rollback)?;
            let left = self.input.observations.settings.get(&current.settings)?;
            let kept = left.targets.values().any(|place| !recorded.targets.values().any(|to| to == place));
            kept.then(|| Reason::OtherPlace { present: places(left), recorded: places(&recorded) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::elsewhere;
    use crate::config::{Limits, load};
    use crate::model::Environment;
    use crate::planner::DeploymentSettings;
    use alloc::string::ToString;

    fn environment() -> Environment {
        let text = "format = 1\n[pipeline]\nname = \"p\"\n[artifacts.a]\nimage = \"r.example/a\"\n[checks.c]\nmanual = { from = [\"qa\"] }\n\
                    [environments.dev]\ntier = \"development\"\nverify = [\"c\"]\n";
        let loaded = load(text, &[], &Limits::default());
        loaded.pipeline.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)).environments.into_values().next().unwrap()
    }

    #[test]
    fn s0_2_mirrors_and_providers_of_then_that_the_environment_has_left_are_no_way_back() {
        let mut present = environment();
        let to = |place: &str| ("r.example".to_string(), place.to_string());
        present.mirror = [to("dev.example")].into();
        let same = DeploymentSettings::of(&present);
        assert_eq!(elsewhere(&present, &same), None);
        assert_eq!(elsewhere(&present, &DeploymentSettings { mirror: [].into(), ..same.clone() }), None);
        let mirrored = DeploymentSettings { mirror: [to("prod.example")].into(), ..same.clone() };
        let reason = elsewhere(&present, &mirrored).unwrap();
        assert_eq!(reason.to_string(), "it stood at prod.example, and the environment is at dev.example now");
        let deployed = DeploymentSettings { provider: Some("helm".into()), ..same };
        let reason = elsewhere(&present, &deployed).unwrap();
        assert_eq!(reason.code(), "other-provider");
    }
}
