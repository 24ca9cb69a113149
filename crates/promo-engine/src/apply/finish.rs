//! How a run ends.

use std::collections::BTreeMap;

use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::Event;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::ledger::view::Run;
use promo_core::plan::Move;
use promo_ledger::{Expect, Fence};

use super::{Fate, RunContext, RunReport, precheck};
use crate::error::EngineError;
use crate::session::Session;

/// Writes the end of a run, or that it stopped and can be resumed.
pub(super) fn finish(
    context: &RunContext,
    mut fates: BTreeMap<EnvironmentName, Fate>,
) -> Result<RunReport, EngineError> {
    let environments: Vec<_> = context
        .document
        .body
        .moves
        .iter()
        .map(|m| {
            let fate = fates.remove(&m.environment).unwrap_or(Fate::Interrupted);
            (m.environment.clone(), m.to.id.clone(), fate)
        })
        .collect();
    let stale = gone(context, &environments)?;
    let outcome = match outcome(environments.iter().map(|(_, _, fate)| fate)) {
        Some(RunOutcome::Waiting) if stale => Some(RunOutcome::Cancelled),
        outcome => outcome,
    };
    let event = match outcome {
        Some(outcome) => Event::RunFinished { outcome },
        None => Event::RunInterrupted {},
    };
    append(context, event)?;
    Ok(RunReport { run: context.run.clone(), outcome, environments })
}

/// Whether what could not begin never will, so that waiting would not help: the rules were replaced, or the plan has lapsed
/// there.
fn gone(context: &RunContext, environments: &[(EnvironmentName, ReleaseId, Fate)]) -> Result<bool, EngineError> {
    let (session, plan) = (&context.session, &context.document.body);
    let left = |m: &&Move| {
        environments.iter().any(|(n, _, fate)| *n == m.environment && matches!(fate, Fate::NotStarted { .. }))
    };
    let left: Vec<Move> = plan.moves.iter().filter(left).cloned().collect();
    if left.is_empty() {
        return Ok(false);
    }
    let now = session.present()?;
    session.with_view(|view| {
        let lapsed = precheck::lapsed(plan, &context.plan, &left, view, now, precheck::Use::Apply);
        context.outlived.is_some()
            || session.adoption(view).is_err()
            || lapsed.is_err_and(|error| !matches!(error, EngineError::Undated { .. }))
    })
}

/// Ends an interrupted run: what has not begun never will, what is half-way is held.
pub(super) fn cancel(session: &Session, id: &RunId, run: &Run, fence: &Fence) -> Result<(), EngineError> {
    let view = session.view()?;
    let write = |event: Event, environment: Option<&EnvironmentName>| {
        let mut draft = session.draft(event);
        draft.environment = environment.cloned();
        draft.run = Some(id.clone());
        draft.epoch = Some(fence.epoch);
        draft.plan = Some(run.plan);
        let expect = Expect { fences: vec![fence.clone()], ..Expect::default() };
        session.append(&expect, &[draft]).map(|_| ())
    };
    for name in run.environments.keys() {
        let active = view.environment(name).and_then(|e| e.active.as_ref());
        let Some(promotion) = active.filter(|p| p.run == *id) else { continue };
        let touched = run.steps.keys().any(|step| step.starts_with(&format!("{name}/")));
        let outcome = if touched { PromotionOutcome::Held } else { PromotionOutcome::Cancelled };
        let (environment, release) = (name.clone(), promotion.to.clone());
        write(Event::PromotionFinished { environment, release, outcome }, Some(name))?;
    }
    write(Event::RunFinished { outcome: RunOutcome::Cancelled }, None)
}

fn append(context: &RunContext, event: Event) -> Result<(), EngineError> {
    let mut draft = context.session.draft(event);
    draft.run = Some(context.run.clone());
    draft.epoch = Some(context.fence.epoch);
    draft.plan = Some(context.plan);
    let expect = Expect { fences: vec![context.fence.clone()], ..Expect::default() };
    context.session.append(&expect, &[draft]).map(|_| ())
}

/// How a run ends with these fates, of which the worst decides; none when something was interrupted, or waits for its next wave.
fn outcome<'a>(fates: impl Iterator<Item = &'a Fate> + Clone) -> Option<RunOutcome> {
    let open = fates.clone().any(|fate| matches!(fate, Fate::Interrupted | Fate::Closed { .. }));
    (!open).then(|| worst(fates))
}

/// The worst of those that have come to an end or will not come to one; done where there is none of either.
pub(super) fn worst<'a>(fates: impl Iterator<Item = &'a Fate>) -> RunOutcome {
    let of = |fate: &Fate| match fate {
        Fate::Interrupted | Fate::Closed { .. } => None,
        Fate::NotStarted { .. } => Some(RunOutcome::Waiting),
        Fate::DrillFailed { .. } => Some(RunOutcome::RolledBack),
        Fate::Ended { outcome, .. } => Some(match outcome {
            PromotionOutcome::Verified => RunOutcome::Done,
            PromotionOutcome::RolledBack => RunOutcome::RolledBack,
            PromotionOutcome::Held => RunOutcome::Held,
            PromotionOutcome::Stuck => RunOutcome::Stuck,
            PromotionOutcome::Cancelled => RunOutcome::Cancelled,
        }),
    };
    fates.filter_map(of).fold(RunOutcome::Done, worse)
}

/// The worse of two ends.
pub(super) fn worse(one: RunOutcome, other: RunOutcome) -> RunOutcome {
    let rank = |outcome: RunOutcome| match outcome {
        RunOutcome::Done => 0,
        RunOutcome::Waiting => 1,
        RunOutcome::Cancelled => 2,
        RunOutcome::RolledBack => 3,
        RunOutcome::Held => 4,
        RunOutcome::Stuck => 5,
    };
    if rank(other) > rank(one) { other } else { one }
}
