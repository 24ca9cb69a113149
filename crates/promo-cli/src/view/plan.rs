//! A plan as a whole: where it comes from, what was asked for, and its environments. What must not live here: what is
//! said of one environment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::gate::Gate;
use promo_core::ids::EnvironmentName;
use promo_core::model::Tier;
use promo_core::plan::{Document, Goal};
use promo_engine::SharedChange;
use schemars::JsonSchema;
use serde::Serialize;

use super::row::{Note, Row};
use super::summary::{NextCommand, Summary, next, summary};

/// Gates with their forecasts, by environment: shown, and no part of the plan (S8.2).
pub(crate) type Forecasts = BTreeMap<EnvironmentName, Vec<Gate>>;

/// A plan as it is shown.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PlanView {
    kind: &'static str,
    format: u32,
    /// The pipeline.
    pub(crate) pipeline: String,
    /// Digest of the plan: what is approved and applied.
    pub(crate) digest: Digest,
    /// Where it was saved.
    pub(crate) file: Option<String>,
    /// When it was made.
    pub(crate) planned_at: Timestamp,
    /// Until when it can be applied unless it is requested.
    pub(crate) expires: Timestamp,
    /// Whether there is no trust file (S0.1).
    pub(crate) local: bool,
    /// The policy.
    pub(crate) policy: Option<PolicyView>,
    /// The ledger that it was made from.
    pub(crate) ledger: LedgerView,
    /// What was asked for.
    pub(crate) request: RequestView,
    /// Who asked, as a claim.
    pub(crate) initiator: String,
    /// Which version made it.
    pub(crate) tool: String,
    /// With `plan --if-merged` only: the plan is a forecast, which is neither requested nor applied, and a release made
    /// from the files here would carry these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) if_merged: Option<Vec<SharedChange>>,
    /// Every environment of the plan, lower tiers first.
    pub(crate) environments: Vec<Row>,
    /// The plan in short.
    pub(crate) summary: Summary,
    /// Commands to go on with, the first one best.
    pub(crate) next: Vec<NextCommand>,
}

/// A policy by name and version.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PolicyView {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: u64,
    /// Digest of its bytes.
    pub(crate) digest: Digest,
}

/// A ledger and how long it was.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LedgerView {
    /// Which.
    pub(crate) origin: String,
    /// How many records.
    pub(crate) size: u64,
    /// Its tree hash.
    pub(crate) root: Digest,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RequestView {
    /// `promote` or `rollback`.
    pub(crate) goal: &'static str,
    /// Only these; empty means all.
    pub(crate) environments: Vec<String>,
    /// Only this release.
    pub(crate) release: Option<String>,
    /// As far as this environment.
    pub(crate) until: Option<String>,
    /// `human` or `automation`.
    pub(crate) invoker: &'static str,
}

impl PlanView {
    /// The view of a plan.
    pub(crate) fn new(document: &Document, digest: Digest, file: Option<&str>, forecasts: &Forecasts) -> Self {
        let plan = &document.body;
        let none = Vec::new();
        let forecast = |name: &EnvironmentName| forecasts.get(name).unwrap_or(&none).as_slice();
        let stays = plan.stays.iter().map(|s| (s.tier, Row::of_stay(s, forecast(&s.environment))));
        let moves = plan.moves.iter().map(|m| (m.tier, Row::of_move(m, forecast(&m.environment))));
        let mut rows: Vec<(Tier, Row)> = stays.chain(moves).collect();
        // The plan does not carry the graph. Tiers come close to it, and within one the plan's own order stays.
        rows.sort_by_key(|(tier, _)| *tier);
        let mut environments: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        for (name, lost) in &plan.lost_evidence {
            let row = environments.iter_mut().find(|row| row.environment == name.as_str());
            row.into_iter().for_each(|row| row.notes.extend(lost.iter().map(Note::lost_evidence)));
        }
        let request = RequestView {
            goal: match plan.request.goal {
                Goal::Promote => "promote",
                Goal::Rollback => "rollback",
            },
            environments: plan.request.environments.iter().map(ToString::to_string).collect(),
            release: plan.request.release.as_ref().map(ToString::to_string),
            until: plan.request.until.as_ref().map(ToString::to_string),
            invoker: plan.request.invoker.as_str(),
        };
        let summary = summary(&environments, plan.request.goal);
        let next = next(plan.pipeline.as_str(), &environments, &request, file);
        Self {
            kind: "promo.plan.view",
            format: 1,
            pipeline: plan.pipeline.to_string(),
            digest,
            file: file.map(Into::into),
            planned_at: plan.planned_at,
            expires: plan.expires,
            local: plan.local,
            policy: plan.policy.as_ref().map(|p| PolicyView {
                name: p.name.clone(),
                version: p.version,
                digest: p.digest,
            }),
            ledger: LedgerView { origin: plan.ledger.origin.clone(), size: plan.ledger.size, root: plan.ledger.root },
            request,
            initiator: plan.initiator.clone(),
            tool: plan.tool.clone(),
            if_merged: None,
            environments,
            summary,
            next,
        }
    }

    /// The same as a forecast: nobody can go on with it, so that no command asks for more than to look.
    pub(crate) fn forecast_of_merge(mut self, shared: Vec<SharedChange>) -> Self {
        self.if_merged = Some(shared);
        let why = "what is where now".to_owned();
        self.next = vec![NextCommand { command: "promo status".to_owned(), why }];
        self
    }

    /// What a forecast says of the shared files, a sentence and one line each.
    pub(crate) fn merged_release(&self) -> Option<(&'static str, Vec<String>)> {
        let shared = self.if_merged.as_ref()?;
        if shared.is_empty() {
            return Some((
                "A release made from these files would carry the shared files of the newest one.",
                Vec::new(),
            ));
        }
        let lines = shared.iter().map(|s| format!("{} {}", s.change, s.path)).collect();
        Some(("A release made from these files would differ from the newest one by:", lines))
    }
}
