//! Automatic promotion: what a timer starts. What must not live here: what may start by itself.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::ids::EnvironmentName;
use promo_core::model::Start;
use promo_core::plan::{Document, Goal, Request};
use promo_core::state::State;
use promo_core::windows::Invoker;
use promo_sdk::ErrorKind;

use crate::apply::{ApplyOptions, RunReport};
use crate::error::EngineError;
use crate::session::Session;

/// Environments that could not be planned for, each with the reason.
type Left = BTreeMap<EnvironmentName, EngineError>;

/// What [`Session::advance`] did.
#[derive(Debug)]
pub struct Advanced {
    /// Its runs, in their order.
    pub reports: Vec<RunReport>,
    /// The plan after which nothing moved.
    pub document: Document,
    /// The environments whose places could not be looked at, each with the reason: everything else went on.
    pub left: BTreeMap<EnvironmentName, EngineError>,
}

/// An error that ended [`Session::advance`], and what had been done by then.
#[derive(Debug)]
pub struct Unfinished {
    /// The runs that ended before, in their order.
    pub reports: Vec<RunReport>,
    /// As [`Advanced::left`].
    pub left: BTreeMap<EnvironmentName, EngineError>,
    /// What stopped the next one.
    pub error: EngineError,
}

impl Session {
    /// Automatic promotion: plans and applies what may start by itself, again and again until nothing moves. Each pass
    /// moves what is possible now, so a release travels as far as its gates allow. An environment that cannot be looked at
    /// keeps nothing back but what comes behind it.
    ///
    /// # Errors
    /// As [`Session::plan`] and [`Session::apply`], with what was done before.
    pub async fn advance(&self, options: ApplyOptions) -> Result<Advanced, Box<Unfinished>> {
        let (mut reports, mut left) = (Vec::new(), Left::new());
        match self.passes(options, &mut reports, &mut left).await {
            Ok(document) => {
                self.unseen_in(&document, &mut left);
                Ok(Advanced { reports, document, left })
            }
            Err(error) => Err(Box::new(Unfinished { reports, left, error })),
        }
    }

    /// Adds the environments that are entered by themselves, where nothing would move and nobody knows what is there.
    fn unseen_in(&self, document: &Document, left: &mut Left) {
        let auto = |name| self.governance.pipeline.environments.get(name).is_some_and(|e| e.start == Start::Auto);
        for stay in document.body.stays.iter().filter(|stay| auto(&stay.environment)) {
            let name = &stay.environment;
            let unknown = stay.drift.iter().filter(|(_, drift)| drift.live == State::Unknown);
            if let Some(why) = unknown.filter_map(|(target, _)| self.unseen(name, target)).next() {
                let error = || EngineError::about(Some(name), format!("looking at {name}"), why);
                left.entry(name.clone()).or_insert_with(error);
            }
        }
    }

    async fn passes(
        &self,
        options: ApplyOptions,
        reports: &mut Vec<RunReport>,
        left: &mut Left,
    ) -> Result<Document, EngineError> {
        loop {
            let mut document = self.plan_around(BTreeSet::new(), left).await?;
            let waits: Vec<_> =
                document.body.moves.iter().filter(|m| !m.outcome().is_open()).map(|m| m.environment.clone()).collect();
            if document.body.moves.len() == waits.len() || options.stop.is_cancelled() {
                return Ok(document);
            }
            if !waits.is_empty() {
                // What waits for a window or a person is not part of what runs now.
                let ready =
                    document.body.moves.iter().map(|m| m.environment.clone()).filter(|n| !waits.contains(n)).collect();
                document = self.plan_around(ready, left).await?;
            }
            let bytes = document.to_bytes().map_err(promo_core::plan::PlanFileError::from)?;
            let report = self.apply(&document, promo_core::Digest::of(&bytes), options.clone()).await?;
            let went_on = report.exit_code() == crate::exit::DONE;
            reports.push(report);
            if !went_on {
                return Ok(document);
            }
        }
    }

    /// A plan of these environments, or of all, without those that cannot be looked at; each of those is looked at once.
    async fn plan_around(&self, only: BTreeSet<EnvironmentName>, left: &mut Left) -> Result<Document, EngineError> {
        let request = |environments| Request {
            goal: Goal::Promote,
            environments,
            release: None,
            until: None,
            drill: false,
            invoker: Invoker::Automation,
        };
        loop {
            // To name an environment is to ask for it: as long as all can be looked at, none is named, and never one that
            // somebody has to ask for.
            let rest = || match only.is_empty() {
                true => {
                    let all = self.governance.pipeline.environments.iter();
                    all.filter(|(_, declared)| declared.start == Start::Auto).map(|(name, _)| name.clone()).collect()
                }
                false => only.clone(),
            };
            let named: BTreeSet<_> = if left.is_empty() {
                only.clone()
            } else {
                rest().into_iter().filter(|name| !left.contains_key(name)).collect()
            };
            let error = match self.plan(request(named), crate::PLAN_LIFETIME).await {
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
