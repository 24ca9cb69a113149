//! Places to which promo has not deployed an environment yet, also where it was deployed elsewhere before. What must not live here:
//! what is there, which providers look at.

use std::collections::BTreeSet;

use promo_core::ids::{EnvironmentName, TargetName};
use promo_core::ledger::View;
use promo_core::model::Target;
use promo_core::plan::{Action, Move, Step};
use promo_core::planner::DeploymentSettings;
use serde_json::Value;

use crate::error::EngineError;
use crate::observe::recorded_settings;
use crate::session::Session;

/// The setting by which several deployments in one place are told apart.
const NAME: &str = "name";

/// The setting without which a deployment takes nothing over, whatever is there.
const ADOPT: &str = "adopt";

/// One place: with what it is deployed to, where that is, and under which name.
#[derive(PartialEq, Eq)]
struct Place<'a> {
    provider: Option<&'a str>,
    target: &'a Target,
    name: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn all(settings: &'a DeploymentSettings) -> impl Iterator<Item = (&'a TargetName, Self)> {
        let (provider, name) = (settings.provider.as_deref(), settings.settings.get(NAME).and_then(Value::as_str));
        settings.targets.iter().map(move |(to, target)| (to, Self { provider, target, name }))
    }

    fn of(step: &'a Step) -> Self {
        let name = step.inputs.settings.get(NAME).and_then(Value::as_str);
        Self { provider: Some(&step.provider), target: &step.inputs.target, name }
    }

    /// How people know it.
    fn address(&self) -> String {
        let name = self.name.map(|name| format!(" as {name}")).unwrap_or_default();
        format!("{}{name}", self.target.address())
    }
}

/// How the places of a move differ from those where its environment was deployed last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The targets that are other places now.
    pub targets: BTreeSet<TargetName>,
    /// The places that it deploys to no more: what was deployed there keeps running.
    pub left: Vec<String>,
}

fn deploys(entry: &Move) -> impl Iterator<Item = &Step> {
    entry.steps.iter().filter(|step| step.action == Action::Deploy)
}

impl Session {
    /// How the places of a move differ from those of what runs there; nothing where nothing does.
    ///
    /// # Errors
    /// When the ledger cannot be read, or does not have what the deployment was made with.
    pub fn elsewhere(&self, view: &View, entry: &Move) -> Result<Elsewhere, EngineError> {
        let mut out = Elsewhere::default();
        // A drill goes back and forth in the place of what runs.
        let Some(current) = view.current(&entry.environment).filter(|_| !entry.drill) else { return Ok(out) };
        let Some(recorded) = recorded_settings(self, &current.settings)? else { return Ok(out) };
        for (to, before) in Place::all(&recorded) {
            if deploys(entry).any(|step| step.target.as_ref() == Some(to) && Place::of(step) != before) {
                out.targets.insert(to.clone());
            }
            if !deploys(entry).any(|step| Place::of(step) == before) {
                out.left.push(before.address());
            }
        }
        Ok(out)
    }

    /// Whether an environment that was deployed is declared to be deployed to a place to which promo never did, since its target has
    /// become another one.
    ///
    /// # Errors
    /// As [`Session::elsewhere`].
    pub fn declared_elsewhere(&self, view: &View, name: &EnvironmentName) -> Result<bool, EngineError> {
        let Some(environment) = self.governance().pipeline.environments.get(name) else { return Ok(false) };
        let declared = DeploymentSettings::of(environment);
        self.any_new(view, name, Place::all(&declared).map(|(_, place)| place).collect())
    }

    /// Whether a move would take over what others have: something is there, in a place to which promo has not deployed this
    /// environment. What a first deployment of promo's own has left half-way is its own. Where nobody can tell, it is left to
    /// somebody who looks.
    #[must_use]
    pub fn takes_over(&self, view: &View, entry: &Move) -> bool {
        if view.environment(&entry.environment).is_none_or(|known| known.history.is_empty()) {
            return entry.takes_over();
        }
        let adopts = |step: &&Step| step.inputs.settings.get(ADOPT).and_then(Value::as_bool) == Some(true);
        let there = deploys(entry).filter(adopts);
        let there = there.filter(|step| step.changes.iter().any(|change| change.before.is_some()));
        self.any_new(view, &entry.environment, there.map(Place::of).collect()).unwrap_or(true)
    }

    /// Whether one of these is a place to which promo has not deployed an environment that it has deployed.
    fn any_new(&self, view: &View, name: &EnvironmentName, mut places: Vec<Place<'_>>) -> Result<bool, EngineError> {
        let Some(known) = view.environment(name).filter(|known| !known.residences.is_empty()) else { return Ok(false) };
        let mut read = BTreeSet::new();
        // The newest first: mostly that is the place, and no other has to be read.
        for residence in known.residences.iter().rev() {
            if places.is_empty() {
                break;
            }
            if read.insert(residence.settings)
                && let Some(recorded) = recorded_settings(self, &residence.settings)?
            {
                places.retain(|place| Place::all(&recorded).all(|(_, before)| before != *place));
            }
        }
        Ok(!places.is_empty())
    }
}
