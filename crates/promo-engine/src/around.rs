//! Planning around environments that cannot be looked at: they keep nothing back but what comes behind them. What must not live
//! here: what is planned for the others.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use promo_core::ids::EnvironmentName;
use promo_core::model::Start;
use promo_core::plan::{Document, Request};
use promo_sdk::ErrorKind;

use crate::error::EngineError;
use crate::session::Session;

/// Environments that could not be planned for, each with the reason.
pub type LeftOut = BTreeMap<EnvironmentName, EngineError>;

impl Session {
    /// Makes a plan as [`Session::plan`] does. Where no environment was named it is one of all that can be looked at, of the whole way
    /// or of all that there are, and the others come beside it.
    ///
    /// # Errors
    /// As [`Session::plan`], where nothing is left to plan for or the trouble is not one of a place.
    pub async fn plan_around(
        &self,
        request: Request,
        lifetime: SignedDuration,
    ) -> Result<(Document, LeftOut), EngineError> {
        let mut left = LeftOut::new();
        let named = !request.environments.is_empty();
        let document = match named {
            true => self.plan(request, lifetime).await?,
            false => self.around(request, lifetime, &mut left).await?,
        };
        Ok((document, left))
    }

    /// The same also of those that are named. Each that cannot be looked at is looked at once.
    pub(crate) async fn around(
        &self,
        request: Request,
        lifetime: SignedDuration,
        left: &mut LeftOut,
    ) -> Result<Document, EngineError> {
        loop {
            // To name an environment is to ask for it: as long as all can be looked at, none is named, and never one that
            // somebody has to ask for, and did not.
            let rest = || match request.environments.is_empty() {
                true => {
                    let graph = &self.governance.graph;
                    let way = request.until.as_ref().map(|until| (until, graph.ancestors(until)));
                    let on_the_way = |name: &EnvironmentName| {
                        way.as_ref().is_none_or(|(until, before)| *until == name || before.contains(name))
                    };
                    let all = self.governance.pipeline.environments.iter().filter(|(name, _)| on_the_way(name));
                    let asked = all.filter(|(name, declared)| declared.start == Start::Auto || request.asks_for(name));
                    asked.map(|(name, _)| name.clone()).collect()
                }
                false => request.environments.clone(),
            };
            let environments: BTreeSet<_> = if left.is_empty() {
                request.environments.clone()
            } else {
                rest().into_iter().filter(|name| !left.contains_key(name)).collect()
            };
            let error = match self.plan(Request { environments, ..request.clone() }, lifetime).await {
                Ok(document) => return Ok(document),
                Err(error) => error,
            };
            let EngineError::Provider { environment: Some(name), source, .. } = &error else { return Err(error) };
            let name = EnvironmentName::clone(name);
            // What was stopped, or is not as its digest says, is no trouble of one place.
            let of_all = matches!(source.kind, ErrorKind::Cancelled | ErrorKind::Integrity | ErrorKind::Broken);
            let goes_on = rest().iter().any(|other| *other != name && !left.contains_key(other));
            if of_all || !goes_on || left.contains_key(&name) {
                return Err(error);
            }
            tracing::debug!(environment = %name, %error, "left out");
            left.insert(name, error);
        }
    }
}
