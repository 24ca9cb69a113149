//! What stands between two waves of an environment's targets: the checks of what was just deployed, the record that it is
//! done, the pause, and the window. What must not live here: how a target is deployed, and what follows from a failure.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use promo_core::eligibility::{self, Question};
use promo_core::gate::{Gate, Instant};
use promo_core::ids::CheckName;
use promo_core::ledger::Event;
use promo_core::model::{OnClose, Target};
use promo_core::plan::{Move, PlannedCheck, Step};

use super::RunContext;
use super::promotion::{Asking, End, verify};
use crate::error::EngineError;
use crate::progress::Progress;

/// How long it is slept at most before the clock is read again: a machine that is suspended sleeps longer than it knows.
const LOOK: Duration = Duration::from_secs(10);

/// Leads from a wave whose targets are deployed, counted from 0, to the next one. Where that has begun, before this process
/// took over the run, nothing is asked any more: what has begun is finished.
pub(super) async fn between(context: &RunContext, entry: &Move, wave: usize) -> Result<End, EngineError> {
    let next = |step: &&Step| entry.wave_of(step) == Some(wave + 1);
    let begun = context.session.with_view(|view| {
        let run = view.runs.get(&context.run);
        run.is_some_and(|run| entry.steps.iter().filter(next).any(|step| run.steps.contains_key(&step.id)))
    })?;
    if begun {
        return Ok(End::Good);
    }
    let until = match done(context, entry, wave)? {
        Some(at) => pause(entry, wave, at),
        None => {
            let checks = checks(context, entry, wave)?;
            match verify(context, entry, &checks, &entry.to.id, Asking::Wave).await? {
                End::Good => {}
                other => return Ok(other),
            }
            record(context, entry, wave, checks.into_iter().map(|check| check.name).collect())?;
            done(context, entry, wave)?.and_then(|at| pause(entry, wave, at))
        }
    };
    if let Some(until) = until {
        if !wait(context, entry, wave, until).await? {
            return Ok(End::Interrupted);
        }
        // A pause is there to see whether it stays well.
        match verify(context, entry, &checks(context, entry, wave)?, &entry.to.id, Asking::Wave).await? {
            End::Good => {}
            other => return Ok(other),
        }
    }
    let gates = closed(context, entry)?;
    if gates.is_empty() {
        return Ok(End::Good);
    }
    let told = gates.iter().map(|gate| match gate.until {
        Some(until) => format!("{}, opens {}", gate.reason, Instant(until)),
        None => gate.reason.to_string(),
    });
    let told = told.collect::<Vec<_>>().join("; ");
    Ok(End::Closed { why: format!("wave {} of {} waits: {told}", wave + 2, entry.waves.len()), gates })
}

/// When the record was written that says that a wave is done.
fn done(context: &RunContext, entry: &Move, wave: usize) -> Result<Option<Timestamp>, EngineError> {
    context.session.with_view(|view| {
        let active = view.environment(&entry.environment)?.active.as_ref();
        active.filter(|promotion| promotion.run == context.run)?.waves.get(wave).copied()
    })
}

fn pause(entry: &Move, wave: usize, done: Timestamp) -> Option<Timestamp> {
    entry.waves[wave].pause.map(|seconds| done.saturating_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
}

/// Those of the checks that look at the targets of a wave, at these alone.
fn checks(context: &RunContext, entry: &Move, wave: usize) -> Result<Vec<PlannedCheck>, EngineError> {
    let theirs = entry.steps.iter().filter(|step| entry.wave_of(step) == Some(wave));
    let places: BTreeSet<&Target> = theirs.map(|step| &step.inputs.target).collect();
    let mut checks = Vec::new();
    for check in entry.checks.iter().filter(|check| places.contains(&check.inputs.target)) {
        let provider = context.session.providers.get(&check.provider)?;
        // What looks while a deployment is under way does so until the last wave runs.
        if provider.looks_at_targets() && !provider.looks_during() {
            checks.push(check.clone());
        }
    }
    Ok(checks)
}

fn record(context: &RunContext, entry: &Move, wave: usize, checks: BTreeSet<CheckName>) -> Result<(), EngineError> {
    let environment = entry.environment.clone();
    let (release, targets) = (entry.to.id.clone(), entry.waves[wave].targets.iter().cloned().collect());
    let event = Event::WaveFinished { environment, release, wave: wave + 1, targets, checks };
    context.append(&entry.environment, None, vec![event])
}

/// Waits for what is left of a pause; whether it is over, and nobody stopped the run in it.
async fn wait(context: &RunContext, entry: &Move, wave: usize, until: Timestamp) -> Result<bool, EngineError> {
    let mut told = false;
    loop {
        let left = Duration::try_from(until.duration_since(context.session.now()?)).unwrap_or_default();
        if left.is_zero() {
            return Ok(true);
        }
        if !told {
            let (environment, seconds) = (entry.environment.clone(), left.as_secs_f64().ceil() as u64);
            // People count waves from 1.
            context.say(Progress::Pausing { environment, until, seconds, wave: wave + 2 });
            told = true;
        }
        tokio::select! {
            biased;
            () = context.options.stop.cancelled() => return Ok(false),
            () = context.session.context.clock.sleep(left.min(LOOK)) => {}
        }
    }
}

/// The gates that keep the next wave from beginning, where the environment stops at a closed window (S5.5).
fn closed(context: &RunContext, entry: &Move) -> Result<Vec<Gate>, EngineError> {
    if entry.on_close == OnClose::Finish {
        return Ok(Vec::new());
    }
    let session = &context.session;
    let (view, now) = (session.view()?, session.present()?);
    let (document, beside) = (&context.document, &context.options.approvals);
    let invoker = session.counts_as(&document.body, &context.plan, &view, beside);
    let question = Question {
        environment: &entry.environment,
        release: &entry.to.id,
        movement: entry.movement,
        named: false,
        drifted: false,
        invoker,
        moved_before: &BTreeSet::new(),
        approvals: None,
        run: Some(&context.run),
    };
    let gates = eligibility::between_waves(&session.governance.rules(), &view, &question, now);
    Ok(gates.into_iter().filter(|gate| !gate.outcome.is_open()).collect())
}
