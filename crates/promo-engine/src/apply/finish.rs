//! How a run ends.

use std::collections::BTreeMap;

use promo_core::ids::EnvironmentName;
use promo_core::ledger::Event;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::plan::Document;
use promo_ledger::Expect;

use super::{Fate, RunContext, RunReport};
use crate::error::EngineError;

/// Writes the end of a run, or that it stopped and can be resumed.
pub(super) fn finish(
    context: &RunContext,
    document: &Document,
    mut fates: BTreeMap<EnvironmentName, Fate>,
) -> Result<RunReport, EngineError> {
    let environments: Vec<_> = document
        .body
        .moves
        .iter()
        .map(|m| {
            let fate = fates.remove(&m.environment).unwrap_or(Fate::Interrupted);
            (m.environment.clone(), m.to.id.clone(), fate)
        })
        .collect();
    let outcome = outcome(environments.iter().map(|(_, _, fate)| fate));
    let event = match outcome {
        Some(outcome) => Event::RunFinished { outcome },
        None => Event::RunInterrupted {},
    };
    append(context, event)?;
    Ok(RunReport { run: context.run.clone(), outcome, environments })
}

/// Ends an interrupted run: what has not begun never will, what is half-way is held.
pub(super) fn cancel(context: &RunContext, document: &Document) -> Result<RunReport, EngineError> {
    let view = context.session.view()?;
    let steps = view.runs.get(&context.run).map(|r| r.steps.clone()).unwrap_or_default();
    for entry in &document.body.moves {
        let active = view.environment(&entry.environment).and_then(|e| e.active.as_ref());
        if active.is_some_and(|p| p.run == context.run) {
            let touched = entry.steps.iter().any(|s| steps.contains_key(&s.id));
            let outcome = if touched { PromotionOutcome::Held } else { PromotionOutcome::Cancelled };
            let (environment, release) = (entry.environment.clone(), entry.to.id.clone());
            let event = Event::PromotionFinished { environment, release, outcome };
            context.append(&entry.environment, None, vec![event])?;
        }
    }
    append(context, Event::RunFinished { outcome: RunOutcome::Cancelled })?;
    let view = context.session.view()?;
    Ok(context.session.report_of(&context.run, &view, RunOutcome::Cancelled))
}

fn append(context: &RunContext, event: Event) -> Result<(), EngineError> {
    let mut draft = context.session.draft(event);
    draft.run = Some(context.run.clone());
    draft.epoch = Some(context.fence.epoch);
    draft.plan = Some(context.plan);
    let expect = Expect { fences: vec![context.fence.clone()], ..Expect::default() };
    context.session.append(&expect, &[draft]).map(|_| ())
}

/// The worst fate decides; none when something was interrupted.
fn outcome<'a>(fates: impl Iterator<Item = &'a Fate>) -> Option<RunOutcome> {
    let mut worst = RunOutcome::Done;
    let rank = |outcome: RunOutcome| match outcome {
        RunOutcome::Done => 0,
        RunOutcome::Waiting => 1,
        RunOutcome::Cancelled => 2,
        RunOutcome::RolledBack => 3,
        RunOutcome::Held => 4,
        RunOutcome::Stuck => 5,
    };
    for fate in fates {
        let this = match fate {
            Fate::Interrupted => return None,
            Fate::NotStarted { .. } => RunOutcome::Waiting,
            Fate::Ended { outcome, .. } => match outcome {
                PromotionOutcome::Verified => RunOutcome::Done,
                PromotionOutcome::RolledBack => RunOutcome::RolledBack,
                PromotionOutcome::Held => RunOutcome::Held,
                PromotionOutcome::Stuck => RunOutcome::Stuck,
                PromotionOutcome::Cancelled => RunOutcome::Cancelled,
            },
        };
        if rank(this) > rank(worst) {
            worst = this;
        }
    }
    Some(worst)
}
