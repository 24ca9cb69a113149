//! What stands between two waves of an environment's targets: the checks of what was just deployed, the record that it is
//! done, the pause, and the window. What must not live here: how a target is deployed, and what follows from a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use promo_core::eligibility::{self, Question};
use promo_core::gate::Instant;
use promo_core::ids::{CheckName, TargetName};
use promo_core::ledger::{Event, View};
use promo_core::model::OnClose;
use promo_core::plan::{Move, PlannedCheck, Step};

use super::RunContext;
use super::promotion::{Asking, End, verify};
use super::step::Barred;
use crate::error::EngineError;
use crate::progress::Progress;

/// How long it is slept at most before the clock is read again: a machine that is suspended sleeps longer than it knows.
const LOOK: Duration = Duration::from_secs(10);

/// The waves of a move, counted from 0.
pub(super) struct Waves<'a> {
    context: &'a RunContext,
    entry: &'a Move,
    by_target: BTreeMap<&'a TargetName, usize>,
    /// Of each wave, those of the checks that look at its targets, at these alone.
    checks: Vec<Vec<PlannedCheck>>,
}

impl<'a> Waves<'a> {
    pub(super) fn of(context: &'a RunContext, entry: &'a Move) -> Result<Self, EngineError> {
        let by_target = entry.wave_by_target();
        let places: BTreeMap<_, usize> = entry
            .steps
            .iter()
            .filter_map(|step| Some((&step.inputs.target, *by_target.get(step.target.as_ref()?)?)))
            .collect();
        let mut checks = vec![Vec::new(); entry.waves.len()];
        for check in &entry.checks {
            let Some(wave) = places.get(&check.inputs.target) else { continue };
            let provider = context.session.providers.get(&check.provider)?;
            // What looks while a deployment is under way does so until the last wave runs.
            if provider.looks_at_targets() && !provider.looks_during() {
                checks[*wave].push(check.clone());
            }
        }
        Ok(Self { context, entry, by_target, checks })
    }

    /// The wave of a step's target; none for a copy, and where there are no waves.
    pub(super) fn wave_of(&self, step: &Step) -> Option<usize> {
        self.by_target.get(step.target.as_ref()?).copied()
    }

    /// Leads from a wave whose targets are deployed to the next one, which is these steps. Where that has begun, before this
    /// process took over the run, nothing is asked any more: what has begun is finished.
    pub(super) async fn between(&self, wave: usize, next: &[Step]) -> Result<End, EngineError> {
        let (context, entry) = (self.context, self.entry);
        if context.session.with_view(|view| self.begun(next, view))? {
            return Ok(End::Good);
        }
        let mut asked = false;
        if self.done(wave)?.is_none() {
            match verify(context, entry, &self.checks[wave], &entry.to.id, Asking::Wave).await? {
                End::Good => {}
                other => return Ok(other),
            }
            self.record(wave)?;
            asked = true;
        }
        let done = self.done(wave)?;
        if let (Some(done), Some(seconds)) = (done, entry.waves[wave].pause) {
            let until = done.saturating_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
            if !self.pause(wave, until).await? {
                return Ok(End::Interrupted);
            }
            asked = false;
        }
        // A pause is there to see whether it stays well, and a run that was resumed does not know how long nobody looked.
        if !asked {
            match verify(context, entry, &self.checks[wave], &entry.to.id, Asking::WaveAgain).await? {
                End::Good => {}
                other => return Ok(other),
            }
        }
        let shut = context.session.view().and_then(|view| self.shut(wave + 1, next, &view))?;
        Ok(match shut {
            Some(Barred::Closed { why, gates }) => End::Closed { why, gates },
            Some(Barred::Never(why)) => End::Failed(why),
            None => End::Good,
        })
    }

    /// Whether one of these steps has its intent.
    fn begun(&self, steps: &[Step], view: &View) -> bool {
        let run = view.runs.get(&self.context.run);
        run.is_some_and(|run| steps.iter().any(|step| run.steps.contains_key(&step.id)))
    }

    /// When the record was written that says that a wave is done.
    fn done(&self, wave: usize) -> Result<Option<Timestamp>, EngineError> {
        self.context.session.with_view(|view| {
            let active = view.environment(&self.entry.environment)?.active.as_ref();
            active.filter(|promotion| promotion.run == self.context.run)?.waves.get(wave).copied()
        })
    }

    fn record(&self, wave: usize) -> Result<(), EngineError> {
        let (environment, release) = (self.entry.environment.clone(), self.entry.to.id.clone());
        let targets = self.entry.waves[wave].targets.iter().cloned().collect();
        let checks: BTreeSet<CheckName> = self.checks[wave].iter().map(|check| check.name.clone()).collect();
        let event = Event::WaveFinished { environment, release, wave: wave + 1, targets, checks };
        self.context.append(&self.entry.environment, None, vec![event])
    }

    /// Waits for what is left of a pause; whether it is over, and nobody stopped the run in it.
    async fn pause(&self, wave: usize, until: Timestamp) -> Result<bool, EngineError> {
        let (context, mut told) = (self.context, false);
        loop {
            let left = context.left_until(until)?;
            if left.is_zero() {
                return Ok(true);
            }
            if !told {
                let (environment, seconds) = (self.entry.environment.clone(), left.as_secs_f64().ceil() as u64);
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

    /// What keeps a wave from beginning where the environment stops at a closed window (S5.5). It is judged by the rules of
    /// the plan, or not at all: whoever resumes a run with others in hand would choose the window that it goes by.
    pub(super) fn shut(&self, wave: usize, steps: &[Step], view: &View) -> Result<Option<Barred>, EngineError> {
        let (context, entry) = (self.context, self.entry);
        if entry.on_close == OnClose::Finish || self.begun(steps, view) {
            return Ok(None);
        }
        let place = format!("wave {} of {}", wave + 1, entry.waves.len());
        let session = &context.session;
        let replaced = session.adoption(view).err().map(|replaced| replaced.to_string());
        if let Some(other) = context.outlived.clone().or(replaced) {
            return Ok(Some(Barred::Closed { why: format!("{place} does not begin: {other}"), gates: Vec::new() }));
        }
        let (now, body) = (session.present()?, &context.document.body);
        let question = Question {
            environment: &entry.environment,
            release: &entry.to.id,
            movement: entry.movement,
            drill: None,
            named: false,
            drifted: false,
            tried: false,
            invoker: session.counts_as(body, &context.plan, view, &context.options.approvals),
            moved_before: &BTreeSet::new(),
            approvals: None,
            run: Some(&context.run),
        };
        let gates = eligibility::between_waves(&session.governance.rules(), view, &question, now);
        let gates: Vec<_> = gates.into_iter().filter(|gate| !gate.outcome.is_open()).collect();
        if gates.is_empty() {
            return Ok(None);
        }
        let told = gates.iter().map(|gate| match gate.until {
            Some(until) => format!("{}, opens {}", gate.reason, Instant(until)),
            None => gate.reason.to_string(),
        });
        let told = told.collect::<Vec<_>>().join("; ");
        Ok(Some(Barred::Closed { why: format!("{place} waits: {told}"), gates }))
    }
}
