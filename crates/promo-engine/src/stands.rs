//! Whether what is there is what was deployed: a verdict about a release needs that (S1.3, S9.6). One definition for the checks of a run
//! and for those that are asked again. What must not live here: asking a check.

use promo_core::Digest;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::View;
use promo_core::planner::{self, Observations};
use promo_core::state::State;
use promo_sdk::{EffectClass, ErrorKind};

use crate::error::EngineError;
use crate::observe;
use crate::session::Session;

/// What is there, held against what the ledger has of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    /// What was deployed, or what nobody ever can see.
    Deployed,
    /// Something else, or nothing: whatever a check sees there is about the place.
    Other,
    /// Nobody could see what.
    Unseen,
}

impl There {
    /// Whether what a check said there is a verdict on the release. A pass needs that its release was seen there; a failure is set
    /// aside only where something else was seen, since a release must not stay for want of a look.
    pub(crate) fn counts(self, passed: bool) -> bool {
        match self {
            Self::Deployed => true,
            Self::Unseen => !passed,
            Self::Other => false,
        }
    }
}

impl Session {
    /// Looks at the places of an environment; what was seen is added to the observations.
    ///
    /// # Errors
    /// When promo is stopped, or what is deployed there names no known provider.
    pub(crate) async fn there(
        &self,
        view: &View,
        environment: &EnvironmentName,
        observations: &mut Observations,
    ) -> Result<There, EngineError> {
        let Some(current) = view.current(environment) else { return Ok(There::Deployed) };
        observe::look_at(self, view, environment, observations).await?;
        let drift = planner::drift(view, observations, environment);
        let unseen: Vec<_> = current.targets.keys().filter_map(|target| self.unseen(environment, target)).collect();
        // A namespace that is gone has nothing in it.
        let gone = unseen.iter().any(|why| why.kind == ErrorKind::NotFound);
        let unknown = drift.values().any(|drift| drift.live == State::Unknown);
        Ok(if gone || drift.values().any(|drift| drift.live != State::Unknown) {
            There::Other
        } else if !unseen.is_empty() || unknown && !self.opaque(observations, &current.settings)? {
            There::Unseen
        } else {
            There::Deployed
        })
    }

    /// Whether nobody can see what the provider of a deployment has done: then what is there is never known.
    fn opaque(&self, observations: &Observations, settings: &Digest) -> Result<bool, EngineError> {
        let provider = observations.settings.get(settings).and_then(|settings| settings.provider.as_ref());
        let Some(provider) = provider else { return Ok(false) };
        Ok(self.providers.get(provider)?.describe().effects == EffectClass::Opaque)
    }
}

#[cfg(test)]
mod tests {
    use super::There;

    #[test]
    fn s9_6_what_is_not_what_was_deployed_says_nothing_of_the_release() {
        let counts = |there: There| [there.counts(true), there.counts(false)];
        assert_eq!(counts(There::Deployed), [true, true]);
        assert_eq!(counts(There::Other), [false, false], "neither a pass nor a failure");
        assert_eq!(counts(There::Unseen), [false, true], "what was not looked at is no pass");
    }
}
