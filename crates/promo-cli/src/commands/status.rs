//! `promo status`: what is where, since when.

use clap::Args;
use jiff::Timestamp;
use promo_core::eligibility::{self, CheckStatus};
use promo_core::ids::{EnvironmentName, RunId};
use promo_core::ledger::View;
use promo_core::model::Tier;
use promo_core::planner;
use promo_engine::Session;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::{table, time};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::ReleaseView;
use crate::view::answers::{LedgerSize, Status};

#[derive(Debug, Args)]
pub(crate) struct Arguments {}

/// The frozen view of an environment's state, format 1.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) environment: EnvironmentName,
    tier: Tier,
    /// What runs there.
    pub(crate) release: Option<ReleaseView>,
    /// Since when.
    pub(crate) since: Option<Timestamp>,
    /// Whether all its checks hold.
    pub(crate) verified: bool,
    /// Each check, and how it stands.
    checks: Vec<(String, &'static str)>,
    /// The run that is moving it.
    pub(crate) moving: Option<RunId>,
    /// Whether promotion into it is stopped, and how.
    pub(crate) frozen: Option<&'static str>,
    /// Checks upstream that held for what runs there and hold no longer, in words (S3, S16).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost_evidence: Vec<String>,
    /// How the last promotion ended, where it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
}

/// How every environment stands, in the order of the graph.
pub(crate) fn rows(session: &Session, view: &View) -> Vec<Row> {
    let governance = session.governance();
    let mut rows = Vec::new();
    for name in governance.graph.topological() {
        let environment = &governance.pipeline.environments[name];
        let known = view.environment(name);
        let current = view.current(name);
        let verified = current.map(|r| eligibility::verification(view, name, environment, &r.release));
        let checks = verified.iter().flat_map(|v| &v.checks).map(|(check, status)| (check.to_string(), word(*status)));
        let last = known.and_then(|e| e.history.last()).and_then(|p| p.finished.map(|(_, o)| (p, o)));
        rows.push(Row {
            environment: name.clone(),
            tier: environment.tier,
            release: current.map(|r| ReleaseView::of(&planner::reference(view, &r.release))),
            since: current.map(|r| r.since),
            verified: verified.as_ref().is_some_and(|v| v.holds_since.is_some()),
            checks: checks.collect(),
            moving: known.and_then(|e| e.active.as_ref()).map(|p| p.run.clone()),
            frozen: view.freeze(name).map(|f| if f.note.automatic { "paused after a rollback" } else { "frozen" }),
            lost_evidence: eligibility::lost_evidence(&governance.rules(), view, name)
                .iter()
                .map(ToString::to_string)
                .collect(),
            last: last
                .filter(|(_, outcome)| *outcome != promo_core::ledger::event::PromotionOutcome::Verified)
                .map(|(p, outcome)| format!("{} {}", p.to, crate::output::progress::outcome_words(outcome).0)),
        });
    }
    rows
}

pub(crate) fn run(ui: &Ui, global: &Global, _arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (session, zone) = (&project.session, ui::zone(global)?);
    let (view, now) = (session.view()?, session.now()?);
    let governance = session.governance();
    let rows = rows(session, &view);
    let bad = rows.iter().find(|r| r.last.is_some() && r.release.is_some());
    let next =
        bad.map_or_else(|| "promo plan".to_owned(), |row| command_line(["promo", "why", row.environment.as_str()]));
    if ui.format() == Format::Json {
        ui.answer(&Status {
            pipeline: governance.pipeline.name.clone(),
            at: now,
            local: governance.local,
            ledger: LedgerSize { size: view.size },
            environments: rows,
            next: ui.to_paste(&next),
        });
        return Ok(DONE);
    }
    let markdown = ui.format() == Format::Markdown;
    let mode = if governance.local { " · local mode" } else { "" };
    let head = format!("{} · {} · ledger at {}{mode}", governance.pipeline.name, time::long(now, &zone), view.size);
    let mut out = if markdown {
        format!("**{head}**\n\n| environment | release | state |\n|---|---|---|\n")
    } else {
        format!("promo status · {head}\n\n")
    };
    let mut lines = Vec::new();
    for row in &rows {
        let release = row.release.as_ref().map_or_else(|| "nothing yet".to_owned(), ReleaseView::text);
        let mut state = Vec::new();
        if let Some(since) = row.since {
            let sign = if row.verified {
                label(Label::Good, "✓ verified")
            } else {
                label(Label::Waiting, "… not verified")
            };
            state.push(format!("{sign}, there for {}", time::ago(since, now)));
        }
        state.extend(row.checks.iter().filter(|(_, s)| *s != "passed").map(|(check, s)| format!("{check} {s}")));
        state.extend(row.moving.iter().map(|run| format!("run {run} is under way")));
        state.extend(row.frozen.map(|f| label(Label::Waiting, f)));
        state.extend(row.last.iter().map(|l| label(Label::Bad, &format!("last: {l}"))));
        state.extend(row.lost_evidence.iter().map(|l| label(Label::Bad, &format!("stands on lost evidence: {l}"))));
        if markdown {
            let state = anstream::adapter::strip_str(&state.join(" · ")).to_string();
            out.push_str(&format!(
                "| {} | {} | {} |\n",
                row.environment,
                escape::markdown(&release),
                escape::markdown(&state)
            ));
        } else {
            // One fact a line: with all of them beside each other the worst one would stand off the screen.
            let mut facts = state.into_iter();
            lines.push(vec![row.environment.to_string(), escape::line(&release), facts.next().unwrap_or_default()]);
            lines.extend(facts.map(|fact| vec![String::new(), String::new(), fact]));
        }
    }
    out.push_str(&table::columns(&lines, "  ", ui.width()));
    out.push_str(&ui.next(&next));
    ui.data(&out);
    Ok(DONE)
}

/// How a check stands, in words.
pub(crate) const fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Passed { .. } => "passed",
        CheckStatus::Failed => "failed",
        CheckStatus::Flaky => "passed after a failure and must pass once more",
        CheckStatus::Withdrawn => "was withdrawn",
        CheckStatus::Missing => "has not spoken",
    }
}
