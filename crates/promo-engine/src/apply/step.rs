//! One step: precheck, intent, act, observe, effect (S9.2). The only place that calls a provider's `ensure`.

use std::time::Duration;

use promo_core::ledger::Event;
use promo_core::ledger::view::StepView;
use promo_core::plan::{Move, Step};
use promo_core::state::State;
use promo_sdk::{EffectClass, EnsureRequest, ErrorKind, ObserveRequest, ProviderError};

use super::RunContext;
use crate::error::EngineError;
use crate::progress::Progress;

/// How a step ended.
pub(crate) enum StepEnd {
    /// What it wanted was observed.
    Done(State),
    /// It failed.
    Failed {
        /// Why.
        why: String,
    },
    /// Whether it took effect cannot be told (S9.3).
    Stuck {
        /// Why.
        why: String,
    },
    /// It was cancelled before it acted, or is to be observed by `promo resume`.
    Interrupted,
}

/// Takes one step, or finds that it was taken. `expected` replaces the plan's expectation for a way back that starts
/// from a state that only the failure made.
pub(crate) async fn take(
    context: &RunContext,
    entry: &Move,
    step: &Step,
    expected: Option<State>,
) -> Result<StepEnd, EngineError> {
    let earlier = context.session.with_view(|view| view.runs.get(&context.run)?.steps.get(&step.id).cloned())?;
    if let Some(StepView { observed: Some(observed), .. }) = earlier {
        let end = if observed == step.desired {
            StepEnd::Done(observed)
        } else {
            StepEnd::Failed { why: "it failed before this run was interrupted".into() }
        };
        return Ok(end);
    }
    let environment = &entry.environment;
    context.say(Progress::StepStarted { environment: environment.clone(), step: step.id.clone() });
    let begun = context.session.context.clock.now();
    let provider = context.session.providers.get(&step.provider)?.clone();
    let observe = ObserveRequest { inputs: step.inputs.clone() };
    let observed = match provider.observe(&context.session.context, &observe).await {
        Ok(observed) => observed,
        Err(error) if comes_back(&error) => return Ok(interrupt(context, entry, step, &error)),
        Err(error) => return Ok(fail(context, entry, step, error.to_string())),
    };
    let expected = expected.unwrap_or(step.expected);
    // After any doubt the next act is observe, never a repeat: an intent without effect of an earlier process is settled
    // by what is there now.
    let acted_before = earlier.is_some();
    if observed != step.desired && observed != expected && !(acted_before && observed == State::Unknown) {
        let why = format!(
            "{} holds {observed}: expected {expected}, or {} as the step would leave it",
            place(step),
            step.desired
        );
        return Ok(fail(context, entry, step, why));
    }
    // An opaque effect that may have happened is not tried again (S9.3).
    let opaque = provider.describe().effects == EffectClass::Opaque;
    if acted_before && opaque && observed != step.desired {
        let why = format!("{} may or may not have acted before this run was interrupted", step.provider);
        return Ok(StepEnd::Stuck { why });
    }
    let intent = Event::StepIntent { expected: observed, desired: step.desired };
    context.append(environment, Some(&step.id), vec![intent])?;
    let mut detail = "nothing to change".to_string();
    let mut changed = false;
    let mut now_there = observed;
    let mut problem = None;
    if observed != step.desired {
        let request = EnsureRequest {
            inputs: step.inputs.clone(),
            expected: observed,
            desired: step.desired,
            token: format!("{}/{}", context.run, step.id),
            epoch: context.fence.epoch,
        };
        match provider.ensure(&context.session.context, &request).await {
            Ok(answer) => (changed, detail) = (answer.changed, answer.detail),
            // It may have acted before it failed: what is observed next decides (S9.2).
            Err(error) => (changed, detail, problem) = (true, format!("done, although {error}"), Some(error)),
        }
        // Success is what observe says, not what the tool said.
        match provider.observe(&context.session.context, &observe).await {
            Ok(state) => now_there = state,
            Err(error) => {
                if comes_back(&error) {
                    return Ok(interrupt(context, entry, step, &error));
                }
                let why = format!("after acting it could not be observed: {error}");
                problem.get_or_insert(error);
                if opaque {
                    return Ok(StepEnd::Stuck { why });
                }
                now_there = State::Unknown;
            }
        }
        // What an opaque provider lets see tells nothing once it broke its contract: it may have acted all the same.
        let in_doubt = |p: &ProviderError| now_there == State::Unknown || p.kind == ErrorKind::Broken;
        if let Some(problem) = problem.as_ref().filter(|p| opaque && now_there != step.desired && in_doubt(p)) {
            return Ok(StepEnd::Stuck { why: format!("whether {} acted cannot be told: {problem}", step.provider) });
        }
        // What may work later is no failure of the release: the run stops, and `promo resume` observes first.
        let later = |p: &promo_sdk::ProviderError| matches!(p.kind, ErrorKind::Cancelled | ErrorKind::Transient);
        if problem.as_ref().is_some_and(later) && now_there != step.desired {
            return Ok(StepEnd::Interrupted);
        }
    }
    context.append(environment, Some(&step.id), vec![Event::StepEffect { observed: now_there }])?;
    if now_there == step.desired {
        let milliseconds = elapsed(context, begun);
        let (environment, step) = (environment.clone(), step.id.clone());
        context.say(Progress::StepDone { environment, step, changed, detail, milliseconds });
        return Ok(StepEnd::Done(now_there));
    }
    let why = problem.map_or_else(
        || format!("{} holds {now_there} after the step: expected {}", place(step), step.desired),
        |p| p.to_string(),
    );
    Ok(fail(context, entry, step, why))
}

/// Whether looking once more, later, may succeed: then nothing is decided now, and `promo resume` looks (S13.6).
pub(super) fn comes_back(error: &ProviderError) -> bool {
    matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Transient)
}

pub(super) fn interrupt(context: &RunContext, entry: &Move, step: &Step, error: &ProviderError) -> StepEnd {
    let (environment, step) = (entry.environment.clone(), step.id.clone());
    context.say(Progress::StepFailed { environment, step, why: format!("{error}; promo resume goes on from here") });
    StepEnd::Interrupted
}

fn fail(context: &RunContext, entry: &Move, step: &Step, why: String) -> StepEnd {
    let (environment, step) = (entry.environment.clone(), step.id.clone());
    context.say(Progress::StepFailed { environment, step, why: why.clone() });
    StepEnd::Failed { why }
}

fn place(step: &Step) -> String {
    let address = step.inputs.target.address();
    match step.inputs.artifacts.values().next() {
        Some(artifact) if address.is_empty() => artifact.repository.clone(),
        _ => address,
    }
}

/// Milliseconds since `begun`.
pub(crate) fn elapsed(context: &RunContext, begun: jiff::Timestamp) -> u64 {
    let took = context.session.context.clock.now().duration_since(begun);
    u64::try_from(Duration::try_from(took).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
