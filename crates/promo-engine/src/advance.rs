//! Automatic promotion: what a timer starts. What must not live here: what may start by itself.

use std::collections::BTreeSet;

use promo_core::ids::EnvironmentName;
use promo_core::model::Start;
use promo_core::plan::{Document, Goal, Move, Request};
use promo_core::state::State;
use promo_core::windows::Invoker;

use crate::apply::{ApplyOptions, RunReport};
use crate::around::LeftOut;
use crate::error::EngineError;
use crate::planning::PLAN_LIFETIME;
use crate::session::Session;

/// How often somebody else may be faster before that is told.
const OVERTAKEN: usize = 3;

/// What may start by itself in these environments, or in all.
fn automatic(environments: BTreeSet<EnvironmentName>) -> Request {
    Request {
        goal: Goal::Promote,
        environments,
        release: None,
        until: None,
        drill: false,
        invoker: Invoker::Automation,
    }
}

/// What [`Session::advance`] did.
#[derive(Debug)]
pub struct Advanced {
    /// Its runs, in their order.
    pub reports: Vec<RunReport>,
    /// The plan after which nothing moved.
    pub document: Document,
    /// The environments whose places could not be looked at, each with the reason: everything else went on.
    pub left: LeftOut,
}

/// An error that ended [`Session::advance`], and what had been done by then.
#[derive(Debug)]
pub struct Unfinished {
    /// The runs that ended before, in their order.
    pub reports: Vec<RunReport>,
    /// As [`Advanced::left`].
    pub left: LeftOut,
    /// What stopped the next one.
    pub error: EngineError,
}

impl Session {
    /// Automatic promotion: plans and applies what may start by itself, again and again until nothing moves. Each pass
    /// moves what is possible now, so a release travels as far as its gates allow. An environment that cannot be looked at
    /// keeps nothing back but what comes behind it. What is there and is no release of promo's is taken over by no plan that nobody
    /// has seen: that waits for a person.
    ///
    /// # Errors
    /// As [`Session::plan`] and [`Session::apply`], with what was done before.
    pub async fn advance(&self, options: ApplyOptions) -> Result<Advanced, Box<Unfinished>> {
        let (mut reports, mut left) = (Vec::new(), LeftOut::new());
        match self.passes(options, &mut reports, &mut left).await {
            Ok(document) => {
                self.unseen_in(&document, &mut left);
                Ok(Advanced { reports, document, left })
            }
            Err(error) => Err(Box::new(Unfinished { reports, left, error })),
        }
    }

    /// Adds the environments that are entered by themselves, where nothing would move and nobody knows what is there.
    fn unseen_in(&self, document: &Document, left: &mut LeftOut) {
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
        left: &mut LeftOut,
    ) -> Result<Document, EngineError> {
        let mut overtaken = 0;
        loop {
            let mut document = self.around(automatic(BTreeSet::new()), PLAN_LIFETIME, left).await?;
            let view = self.view()?;
            let waits = |entry: &&Move| !entry.outcome().is_open() || self.takes_over(&view, entry);
            let waits: Vec<_> = document.body.moves.iter().filter(waits).map(|m| m.environment.clone()).collect();
            if document.body.moves.len() == waits.len() || options.stop.is_cancelled() {
                return Ok(document);
            }
            if !waits.is_empty() {
                // What waits for a window or a person is not part of what runs now.
                let ready =
                    document.body.moves.iter().map(|m| m.environment.clone()).filter(|n| !waits.contains(n)).collect();
                document = self.around(automatic(ready), PLAN_LIFETIME, left).await?;
            }
            let bytes = document.to_bytes().map_err(promo_core::plan::PlanFileError::from)?;
            let report = match self.apply(&document, promo_core::Digest::of(&bytes), options.clone()).await {
                Ok(report) => report,
                // Nobody has seen this plan: where somebody else was faster, as another `advance` is, the next one knows it.
                Err(error) if error.code() == "plan-stale" && overtaken < OVERTAKEN => {
                    tracing::debug!(%error, "planned anew");
                    overtaken += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let went_on = report.exit_code() == crate::exit::DONE;
            reports.push(report);
            if !went_on {
                return Ok(document);
            }
        }
    }
}
