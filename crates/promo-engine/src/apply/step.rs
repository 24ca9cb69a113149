//! One step: precheck, intent, act, observe, effect (S9.2). The only place that calls a provider's `ensure`.

use std::sync::Arc;
use std::time::Duration;

use promo_core::canonical;
use promo_core::gate::Gate;
use promo_core::ledger::record::{DETAIL, RUNNING};
use promo_core::ledger::view::StepView;
use promo_core::ledger::{Event, View};
use promo_core::plan::{Action, Move, Step};
use promo_core::state::State;
use promo_sdk::{EffectClass, EnsureRequest, ErrorKind, ObserveRequest, Provider, ProviderError, Settled};

use super::{RunContext, running};
use crate::contract::cut;
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
    /// The ledger did not let it begin.
    Barred(Barred),
    /// It was cancelled before it acted, or is to be observed by `promo resume`.
    Interrupted,
}

/// What a run that was interrupted says of what had failed, where no record tells it.
pub(crate) const FAILED_BEFORE: &str = "it failed before this run was interrupted";

/// Why a step is not begun.
pub(crate) enum Barred {
    /// It never may: that counts as a failure.
    Never(String),
    /// It may not now, and the run goes on later.
    Closed {
        /// Why.
        why: String,
        /// The closed gates; none where the rules are not those of the plan.
        gates: Vec<Gate>,
    },
}

/// What keeps a step from being begun, as the ledger says at the moment of its intent.
pub(crate) type Bar<'a> = &'a (dyn Fn(&View) -> Result<Option<Barred>, EngineError> + Sync);

/// Takes one step, or finds that it was taken. It acts only on a place that is in one of the states of `starts`: never past
/// a failed expectation (invariant 5), and never on what cannot be told, since an unknown state is no expectation.
pub(crate) async fn take(
    context: &RunContext,
    entry: &Move,
    step: &Step,
    starts: &[State],
    bar: Option<Bar<'_>>,
) -> Result<StepEnd, EngineError> {
    let earlier = context.session.with_view(|view| view.runs.get(&context.run)?.steps.get(&step.id).cloned())?;
    if let Some(StepView { observed: Some(observed), told, .. }) = earlier {
        if observed == step.desired {
            return Ok(StepEnd::Done(observed));
        }
        let why = told.map(|seq| context.session.detail_seen(seq)).transpose()?.flatten();
        return Ok(StepEnd::Failed { why: why.unwrap_or_else(|| FAILED_BEFORE.to_owned()) });
    }
    context.say(Progress::StepStarted { environment: entry.environment.clone(), step: step.id.clone() });
    let now = Now { context, entry, step, bar, begun: context.session.context.clock.now() };
    let provider = context.session.providers.get(&step.provider)?;
    let observed = match now.observe(provider).await {
        Ok(observed) => observed,
        Err(error) if comes_back(&error) => return Ok(now.interrupt(&error)),
        Err(error) => return Ok(now.fail(error.to_string())),
    };
    // After any doubt the next act is observe, never a repeat: an intent without effect of an earlier process is settled
    // by what is there now.
    let acted_before = earlier.is_some();
    let opaque = provider.describe().effects == EffectClass::Opaque;
    match observed {
        there if there == step.desired => match now.intend(there)? {
            None => now.settled(provider, there, false, "nothing to change".to_string()).await,
            Some(barred) => Ok(now.barred(barred)),
        },
        // An opaque effect that may have happened is not tried again (S9.3).
        _ if acted_before && opaque => {
            let why = format!("{} may or may not have acted before this run was interrupted", step.provider);
            Ok(StepEnd::Stuck { why })
        }
        there if there != State::Unknown && begins(starts, there, step.desired) => {
            now.act(provider, there, opaque).await
        }
        there => {
            let (place, called) = (place(step), |state| called(entry, step, state));
            let (expected, desired) = (called(step.expected), called(step.desired));
            let wanted = format!("expected {expected}, or {desired} as the step would leave it");
            Ok(now.fail(format!("{place} holds {}: {wanted}", called(there))))
        }
    }
}

/// Whether a step may begin at what is there: one of its starts, or what an earlier process left on the way from one of them.
fn begins(starts: &[State], there: State, desired: State) -> bool {
    starts.iter().any(|start| *start == there || State::between(start, &desired) == there)
}

/// A step that is being taken.
struct Now<'a> {
    context: &'a RunContext,
    entry: &'a Move,
    step: &'a Step,
    bar: Option<Bar<'a>>,
    begun: jiff::Timestamp,
}

impl Now<'_> {
    async fn observe(&self, provider: &Arc<dyn Provider>) -> Result<State, ProviderError> {
        let request = ObserveRequest { inputs: self.step.inputs.clone() };
        provider.observe(&self.context.session.context, &request).await
    }

    /// Writes the intent. Where something bars the step, it gives that instead, and nothing is written.
    fn intend(&self, expected: State) -> Result<Option<Barred>, EngineError> {
        let intent = Event::StepIntent { expected, desired: self.step.desired };
        let (environment, id) = (&self.entry.environment, Some(self.step.id.as_str()));
        match self.bar {
            None => self.context.append(environment, id, vec![intent]).map(|()| None),
            Some(bar) => self.context.append_unless(environment, id, &[intent], bar),
        }
    }

    /// Writes what is there now; after a failure with why, and with what runs, which is what a provider says and stands beside
    /// the leaf (S12.5).
    fn record(&self, observed: State, failed: Option<&str>, settled: &Settled) -> Result<(), EngineError> {
        let mut draft = self.context.session.draft(Event::StepEffect { observed });
        draft.private.extend(failed.map(|why| (DETAIL.to_owned(), cut(why.to_owned()))));
        if !settled.images.is_empty() {
            let text = canonical::to_vec(&settled.images).expect("invariant: texts have a canonical form");
            draft.private.insert(RUNNING.to_owned(), String::from_utf8_lossy(&text).into_owned());
        }
        self.context.append_drafts(&self.entry.environment, Some(&self.step.id), vec![draft])
    }

    /// Intent, act, observe, effect. Success is what observe says, not what the tool said (S9.2).
    async fn act(&self, provider: &Arc<dyn Provider>, there: State, opaque: bool) -> Result<StepEnd, EngineError> {
        let step = self.step;
        if let Some(barred) = self.intend(there)? {
            return Ok(self.barred(barred));
        }
        let request = EnsureRequest {
            inputs: step.inputs.clone(),
            expected: there,
            desired: step.desired,
            changes: step.changes.clone(),
            token: format!("{}/{}", self.context.run, step.id),
            epoch: self.context.fence.epoch,
            ledger: self.context.session.store.origin(),
        };
        let said = provider.ensure(&self.context.session.context, &request).await;
        let seen = self.observe(provider).await;
        // What an opaque provider lets see tells nothing once it broke its contract: it may have acted all the same.
        let in_doubt = |p: &ProviderError| seen == Ok(State::Unknown) || p.kind == ErrorKind::Broken;
        match (&seen, said) {
            (Ok(state), Ok(answer)) if *state == step.desired => {
                self.settled(provider, *state, answer.changed, answer.detail).await
            }
            // It may have acted before it failed: what is observed decides.
            (Ok(state), Err(error)) if *state == step.desired => {
                self.settled(provider, *state, true, format!("done, although {error}")).await
            }
            (Err(error), _) if comes_back(error) => Ok(self.interrupt(error)),
            (Err(error), _) if opaque => {
                Ok(StepEnd::Stuck { why: format!("after acting it could not be observed: {error}") })
            }
            (Ok(_), Err(problem)) if opaque && in_doubt(&problem) => {
                Ok(StepEnd::Stuck { why: format!("whether {} acted cannot be told: {problem}", step.provider) })
            }
            // What may work later is no failure of the release: the run stops, and `promo resume` observes first.
            (_, Err(problem)) if problem.kind == ErrorKind::Cancelled => Ok(StepEnd::Interrupted),
            (_, Err(problem)) if comes_back(&problem) => Ok(self.interrupt(&problem)),
            (seen, said) => {
                let state = *seen.as_ref().unwrap_or(&State::Unknown);
                let called = |state| called(self.entry, step, state);
                let (there, wanted) = (called(state), called(step.desired));
                let unlike = || format!("{} holds {there} after the step: expected {wanted}", place(step));
                let problem = said.err().or_else(|| seen.as_ref().err().cloned());
                let why = problem.map_or_else(unlike, |problem| problem.to_string());
                self.record(state, Some(&why), &Settled::default())?;
                Ok(self.fail(why))
            }
        }
    }

    /// What was wanted is there. It counts as done once it runs as well.
    async fn settled(
        &self,
        provider: &Arc<dyn Provider>,
        state: State,
        changed: bool,
        detail: String,
    ) -> Result<StepEnd, EngineError> {
        let request = ObserveRequest { inputs: self.step.inputs.clone() };
        match provider.settle(&self.context.session.context, &request).await {
            Ok(settled) => match running::judge(&self.step.inputs, &settled) {
                Ok(told) => {
                    let detail = told.map_or_else(|| detail.clone(), |told| format!("{detail}; {told}"));
                    self.done(state, changed, detail, &settled)
                }
                Err(why) => {
                    self.record(State::Unknown, Some(&why), &settled)?;
                    Ok(self.fail(why))
                }
            },
            Err(error) if comes_back(&error) => Ok(self.interrupt(&error)),
            Err(error) => {
                let why = error.to_string();
                // That it is there is no effect as wanted, and whoever resumes must not take it for one.
                self.record(State::Unknown, Some(&why), &Settled::default())?;
                Ok(self.fail(why))
            }
        }
    }

    fn done(&self, state: State, changed: bool, detail: String, settled: &Settled) -> Result<StepEnd, EngineError> {
        self.record(state, None, settled)?;
        let milliseconds = elapsed(self.context, self.begun);
        let (environment, step) = (self.entry.environment.clone(), self.step.id.clone());
        self.context.say(Progress::StepDone { environment, step, changed, detail, milliseconds });
        Ok(StepEnd::Done(state))
    }

    fn interrupt(&self, error: &ProviderError) -> StepEnd {
        self.say_failed(format!("{error}; promo resume goes on from here"));
        StepEnd::Interrupted
    }

    fn barred(&self, barred: Barred) -> StepEnd {
        if let Barred::Never(why) = &barred {
            self.say_failed(why.clone());
        }
        StepEnd::Barred(barred)
    }

    fn fail(&self, why: String) -> StepEnd {
        self.say_failed(why.clone());
        StepEnd::Failed { why }
    }

    fn say_failed(&self, why: String) {
        let (environment, step) = (self.entry.environment.clone(), self.step.id.clone());
        self.context.say(Progress::StepFailed { environment, step, why });
    }
}

/// Whether looking once more, later, may succeed: then nothing is decided now, and `promo resume` looks (S13.6).
fn comes_back(error: &ProviderError) -> bool {
    matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Transient)
}

/// A state as a person knows it: by the release that leaves it there, where it is one of the plan's.
fn called(entry: &Move, step: &Step, state: State) -> String {
    let leaves = |steps: &[Step]| steps.iter().any(|other| other.target == step.target && other.desired == state);
    let back = entry.rollback.iter().filter(|back| leaves(&back.steps)).map(|back| &back.to);
    let to = leaves(&entry.steps).then_some(&entry.to);
    match to.into_iter().chain(back).next().filter(|_| step.action == Action::Deploy) {
        Some(release) => format!("{release} ({state})"),
        None => state.to_string(),
    }
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
