//! How a run ended: the same table on a terminal and in CI.

use std::borrow::Cow;

use promo_core::gate::Gate;
use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::event::PromotionOutcome;
use promo_engine::{Fate, RunReport, Session};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::Format;
use crate::error::command_line;
use crate::escape;
use crate::output::endings;
use crate::output::labels::{Label, label};
use crate::output::table::fold;
use crate::ui::Ui;
use crate::view::run::{RunRow, RunView as RunDetails};
use crate::view::standing::leads_on;

/// The frozen view of a run's end, format 1.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunView<'a> {
    /// What the document is.
    kind: &'static str,
    /// Its format.
    format: u32,
    /// The run.
    run: &'a RunId,
    /// How it ended; null when it can be resumed.
    outcome: Option<promo_core::ledger::event::RunOutcome>,
    /// The exit code.
    exit: u8,
    /// What became of each environment.
    environments: Vec<RowView<'a>>,
    /// The next command.
    next: String,
}

/// What became of an environment.
#[derive(Debug, Serialize, JsonSchema)]
struct RowView<'a> {
    /// Which.
    environment: &'a str,
    /// What was to enter.
    release: &'a str,
    /// How it ended, in words.
    fate: Cow<'static, str>,
    /// Why, where it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Cow<'a, str>>,
    /// How the gates stand, where it did not start.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    gates: &'a [Gate],
}

/// An environment whose next wave may not begin now.
const WAVE_WAITS: &str = "waits before its next wave, and can be resumed";

/// A drill whose way back failed, and that brought back what ran.
const DRILL_FAILED: (&str, Label) = endings::drill(PromotionOutcome::Verified, None, Some(false));

/// Prints it, as an event where the verb `streams`. The last line is the next command.
pub(crate) fn print(ui: &Ui, session: &Session, report: &RunReport, streams: bool) {
    draw(ui, session, report, streams);
    if ui.format() != Format::Json {
        ui.data(&ui.next(&next(session, report)));
    }
}

/// The same for one of several, of which only the last one leads on.
pub(crate) fn draw(ui: &Ui, session: &Session, report: &RunReport, streams: bool) {
    let next = ui.to_paste(&next(session, report));
    // How it ended is known without the ledger: where that cannot be read now, no way back is told.
    let view = session.view().ok();
    let ended = |name: &EnvironmentName, release: &ReleaseId, outcome: PromotionOutcome| {
        let run = view.as_ref().and_then(|view| view.runs.get(&report.run));
        let mine =
            view.as_ref().and_then(|view| view.environment(name)?.history.iter().rev().find(|p| p.run == report.run));
        if let Some(drill) = mine.and_then(|promotion| promotion.drill.as_ref()) {
            let passed = drill.turned.as_ref().map(|turned| turned.passed);
            return endings::brought(endings::drill(outcome, report.outcome, passed), None);
        }
        let open = view.as_ref().is_some_and(|view| !session.unspoken(view, name, release).is_empty());
        let configuration =
            view.as_ref().zip(mine).and_then(|(view, mine)| promo_engine::other_configuration(view, name, mine));
        let went_back = run.is_some_and(|run| endings::went_back(run, name));
        endings::brought(endings::promotion(outcome, report.outcome, went_back, open), configuration.as_deref())
    };
    // Whoever stops a run is told of what had failed by then.
    let known = view.as_ref().and_then(|view| Some((view, view.runs.get(&report.run)?)));
    let known = known.map(|(view, run)| RunDetails::new(view, &report.run, run));
    let known = known.and_then(|known| known.seen(|seq| session.detail_seen(seq)).ok());
    let broken = |name: &EnvironmentName| {
        let row = known.as_ref()?.environments.iter().find(|row| row.environment == *name)?;
        failed_before(row)
    };
    {
        let environments = report
            .environments
            .iter()
            .map(|(name, release, fate)| {
                let (fate, why, gates): (_, _, &[Gate]) = match fate {
                    Fate::Ended { outcome, why } => {
                        (ended(name, release, *outcome).0, why.as_deref().map(Cow::Borrowed), &[])
                    }
                    Fate::DrillFailed { why } => (DRILL_FAILED.0.into(), why.as_deref().map(Cow::Borrowed), &[]),
                    Fate::NotStarted { why, gates } => ("was not started".into(), Some(why.into()), gates),
                    Fate::Interrupted => {
                        (endings::open(Some("interrupted")).0.into(), broken(name).map(Cow::Owned), &[])
                    }
                    Fate::Closed { why, gates } => (WAVE_WAITS.into(), Some(why.into()), gates),
                };
                RowView { environment: name.as_str(), release: release.as_str(), fate, why, gates }
            })
            .collect();
        let (run, outcome, exit) = (&report.run, report.outcome, report.exit_code());
        let next = next.clone();
        let view = RunView { kind: "promo.run", format: 1, run, outcome, exit, environments, next };
        ui.view_event("run-finished", &view, streams);
    }
    if ui.format() == Format::Json {
        return;
    }
    let width = report.environments.iter().map(|(name, ..)| name.as_str().len()).max().unwrap_or(0);
    let mut out = format!("\nrun {}\n", report.run);
    for (name, release, fate) in &report.environments {
        let (words, style, why) = match fate {
            Fate::Ended { outcome, why } => {
                let (words, style) = ended(name, release, *outcome);
                (words, style, why.as_deref().map(Cow::Borrowed))
            }
            Fate::DrillFailed { why } => (DRILL_FAILED.0.into(), DRILL_FAILED.1, why.as_deref().map(Cow::Borrowed)),
            Fate::NotStarted { why, .. } => ("was not started".into(), Label::Waiting, Some(why.into())),
            Fate::Closed { why, .. } => (WAVE_WAITS.into(), Label::Waiting, Some(why.into())),
            Fate::Interrupted => {
                let (words, style) = endings::open(Some("interrupted"));
                (words.into(), style, broken(name).map(Cow::Owned))
            }
        };
        out.push_str(&format!("  {name:<width$}  {release} {}\n", label(style, &words)));
        if let Some(why) = why {
            out.push_str(&format!("  {:width$}  {}\n", "", escape::line(&why)));
        }
        if outlived(fate) {
            let resume = command_line(["promo", "resume", report.run.as_str()]);
            let ways =
                format!("either put back what changed, and {resume}; or end the run, which holds {name} for a person");
            out.push_str(&format!("  {:width$}  {ways}\n", ""));
        }
    }
    ui.data(&fold(&out, ui.width()));
}

/// What of an environment's way had failed when the run was interrupted, in words.
fn failed_before(row: &RunRow) -> Option<String> {
    let why = |why: Option<&String>| why.map(|why| format!(": {why}")).unwrap_or_default();
    let steps = row.steps.iter().filter(|step| step.done() == Some(false));
    let steps = steps.map(|step| format!("{} failed{}", step.id, why(step.why.as_ref())));
    let checks = row.checks.iter().filter(|check| !check.passed);
    let checks = checks.map(|check| format!("{} failed{}", check.check, why(check.detail.as_ref())));
    let failed: Vec<String> = steps.chain(checks).collect();
    (!failed.is_empty()).then(|| format!("before it was stopped, {}", failed.join("; ")))
}

/// Whether no time opens the next wave, since the rules are no longer those of the plan.
fn outlived(fate: &Fate) -> bool {
    matches!(fate, Fate::Closed { gates, .. } if gates.is_empty())
}

/// The command that leads on from how a run ended.
pub(crate) fn next(session: &Session, report: &RunReport) -> String {
    if report.outcome.is_none() {
        return match session.view() {
            Ok(view) => leads_on(session, &view, &report.run, report.environments.iter().map(|(name, ..)| name)),
            Err(_) => command_line(["promo", "resume", report.run.as_str()]),
        };
    }
    let bad = report
        .environments
        .iter()
        .find(|(_, _, fate)| !matches!(fate, Fate::Ended { outcome: PromotionOutcome::Verified, .. }));
    match bad {
        Some((name, release, _)) => command_line(["promo", "why", name.as_str(), release.as_str()]),
        None => "promo status".to_owned(),
    }
}
