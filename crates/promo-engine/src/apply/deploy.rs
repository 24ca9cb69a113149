//! The steps of one environment, and the record that says what runs there then. What must not be here: how one step is
//! taken, and what becomes of a promotion whose steps failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, stream};
use promo_core::Digest;
use promo_core::gate::Gate;
use promo_core::ids::{ReleaseId, TargetName};
use promo_core::ledger::event::Movement;
use promo_core::ledger::{Event, View};
use promo_core::model::OnClose;
use promo_core::plan::{Action, Move, Rollback, Step};
use promo_core::state::State;

use super::RunContext;
use super::promotion::{End, barred_now};
use super::step::{Bar, Barred, StepEnd, take};
use super::waves::Waves;
use crate::error::EngineError;

/// How many steps that do not depend on each other are taken at once, where no wave says how many.
const STEPS_AT_ONCE: usize = 8;

/// The steps of a move in one direction, and what runs once they are taken.
pub(super) struct Way<'a> {
    steps: &'a [Step],
    release: &'a ReleaseId,
    files: &'a BTreeMap<String, Digest>,
    settings: &'a Digest,
    /// Whether it leads to what was there before: its first step is taken only as long as nobody has rejected that.
    again: bool,
    /// The steps before it, where they may have ended anywhere: each of these may start from whatever those left.
    after: Option<&'a [Step]>,
    /// Whether nothing is tried out between two waves: whoever goes back does not want to wait, and what was verified here
    /// before is known.
    straight: bool,
}

impl<'a> Way<'a> {
    /// What a move is for; what a drill brings back is brought back wherever its way back ended.
    pub(super) fn there(entry: &'a Move) -> Self {
        let Move { steps, to, files, settings, rollback, .. } = entry;
        let after = rollback.as_ref().filter(|_| entry.drill).map(|back| back.steps.as_slice());
        let straight = entry.movement == Movement::Rollback || entry.drill;
        Self { steps, release: &to.id, files, settings, again: entry.drill, after, straight }
    }

    /// Back to where a rollback leads: after a failure, or because a drill begins with it.
    pub(super) fn back(entry: &'a Move, rollback: &'a Rollback) -> Self {
        let Rollback { steps, to, files, settings, .. } = rollback;
        let after = (!entry.drill).then_some(entry.steps.as_slice());
        Self { steps, release: &to.id, files, settings, again: true, after, straight: true }
    }
}

/// Takes the steps and records what runs.
pub(super) async fn deploy(context: &RunContext, entry: &Move, way: &Way<'_>) -> Result<End, EngineError> {
    let Way { steps, release, files, settings, again, after, straight } = *way;
    let rejected = |view: &View| {
        let why = if again { barred_now(context, entry, release, steps, view) } else { None };
        Ok(why.map(Barred::Never))
    };
    let waves = Waves::of(context, entry)?;
    let mut ends = Ends::default();
    for group in groups(|step| waves.wave_of(step), steps) {
        let wave = group.first().and_then(|step| waves.wave_of(step));
        let later = wave.filter(|wave| !straight && *wave > 0);
        if let Some(wave) = later {
            match waves.between(wave - 1, group).await? {
                End::Good => {}
                other => return Ok(other),
            }
        }
        // A freeze that comes after the wave was judged, and before its first intent, stops it too.
        let shut = |view: &View| later.map_or(Ok(None), |wave| waves.shut(wave, group, view));
        let bar = match later {
            _ if again => Some(&rejected as Bar<'_>),
            Some(_) if entry.on_close == OnClose::StopAtWave => Some(&shut as Bar<'_>),
            _ => None,
        };
        let at_once = wave.map_or(STEPS_AT_ONCE, |wave| entry.waves[wave].at_once as usize);
        together(context, entry, group, (at_once, bar, after), &mut ends).await?;
        // One place that does not come back keeps no other one from it; but what could not be copied cannot be deployed.
        let copies = group.first().is_some_and(|step| step.action == Action::Copy);
        if (after.is_none() || copies)
            && let Some(end) = ends.bad()
        {
            return Ok(end);
        }
    }
    if let Some(end) = ends.bad() {
        return Ok(end);
    }
    let targets = ends.states;
    let recorded = context.session.with_view(|view| {
        view.current(&entry.environment).is_some_and(|r| {
            r.release == *release
                && r.run.as_ref() == Some(&context.run)
                && r.settings == *settings
                && r.files == *files
        })
    })?;
    if !recorded {
        let event = Event::Deployed {
            environment: entry.environment.clone(),
            release: release.clone(),
            files: files.clone(),
            settings: *settings,
            targets,
        };
        match context.append_unless(&entry.environment, None, &[event], rejected)? {
            None => {}
            Some(Barred::Never(why)) => return Ok(End::Failed(why)),
            Some(Barred::Closed { why, gates }) => return Ok(End::Closed { why, gates }),
        }
    }
    Ok(End::Good)
}

/// Steps that do not depend on each other: copies that stand together, as long as each leads to a place of its own, and the
/// targets of a wave.
fn groups(wave_of: impl Fn(&Step) -> Option<usize>, steps: &[Step]) -> Vec<&[Step]> {
    let (mut groups, mut start, mut places) = (Vec::new(), 0, BTreeSet::new());
    for (at, step) in steps.iter().enumerate() {
        let place: BTreeSet<_> = step.inputs.artifacts.values().map(|a| (&a.repository, &a.tag)).collect();
        let copies = step.action == Action::Copy && steps[start].action == Action::Copy;
        let wave = wave_of(step);
        let same = wave.is_some() && wave == wave_of(&steps[start]);
        if at > start && !same && !(copies && places.is_disjoint(&place)) {
            groups.push(&steps[start..at]);
            (start, places) = (at, BTreeSet::new());
        }
        places.extend(place);
    }
    groups.push(&steps[start..]);
    groups
}

/// How steps ended.
#[derive(Default)]
struct Ends {
    /// What targets hold.
    states: BTreeMap<TargetName, State>,
    failures: Vec<String>,
    stuck: Vec<String>,
    closed: Option<(String, Vec<Gate>)>,
    interrupted: bool,
    /// Whether some were not begun.
    left: bool,
}

impl Ends {
    /// Takes down how a step ended: one of a way back is told by its place, and so is one of `several`.
    fn take(&mut self, step: &Step, end: Option<StepEnd>, back: bool, several: bool) {
        let told = |why: String| match &step.target {
            Some(target) if back => format!("{target} was not brought back: {why}"),
            Some(target) if several => format!("{target}: {why}"),
            _ => why,
        };
        match end {
            Some(StepEnd::Done(state)) => self.states.extend(step.target.clone().map(|target| (target, state))),
            // What bars one of them bars the others as well.
            Some(StepEnd::Barred(Barred::Never(why))) if self.failures.contains(&why) => {}
            Some(StepEnd::Barred(Barred::Never(why))) => self.failures.push(why),
            Some(StepEnd::Barred(Barred::Closed { why, gates })) => self.closed = Some((why, gates)),
            Some(StepEnd::Failed { why }) => {
                let why = told(why);
                if !self.failures.contains(&why) {
                    self.failures.push(why);
                }
            }
            Some(StepEnd::Stuck { why }) => self.stuck.push(told(why)),
            Some(StepEnd::Interrupted) => self.interrupted = true,
            // Nothing but a stop keeps a step of a way back from being begun: what failed beside it is not concluded from before
            // all of them were.
            None if back => self.interrupted = true,
            None => self.left = true,
        }
    }

    /// What follows where not all of them are done. A resume settles what was broken off before anything is concluded from
    /// the others.
    fn bad(&mut self) -> Option<End> {
        if self.interrupted {
            Some(End::Interrupted)
        } else if !self.stuck.is_empty() {
            Some(End::Stuck(self.stuck.iter().chain(&self.failures).cloned().collect::<Vec<_>>().join("; ")))
        } else if !self.failures.is_empty() {
            Some(End::Failed(self.failures.join("; ")))
        } else if let Some((why, gates)) = self.closed.take() {
            Some(End::Closed { why, gates })
        } else {
            self.left.then_some(End::Interrupted)
        }
    }
}

/// Takes steps that do not depend on each other, so many at once. When the run is to stop, no more of them begin (S9.5), nor after
/// a failure, unless they lead back; those that have begun come to their end first, because a step that is broken off leaves doubt.
async fn together(
    context: &RunContext,
    entry: &Move,
    steps: &[Step],
    (at_once, bar, after): (usize, Option<Bar<'_>>, Option<&[Step]>),
    ends: &mut Ends,
) -> Result<(), EngineError> {
    let failed = AtomicBool::new(false);
    // Collected first: a stream over borrowed steps would keep the run from being spawned.
    let mut all = Vec::with_capacity(steps.len());
    for step in steps {
        let failed = &failed;
        all.push(Box::pin(async move {
            let stopped = context.options.stop.is_cancelled();
            if stopped || failed.load(Ordering::Relaxed) && after.is_none() {
                return Ok((step, None));
            }
            let mut starts = vec![step.expected];
            starts.extend(after.into_iter().flat_map(|before| left_behind(before, step)));
            let end = take(context, entry, step, &starts, bar).await;
            failed.fetch_or(!matches!(end, Ok(StepEnd::Done(_))), Ordering::Relaxed);
            Ok((step, Some(end?)))
        }));
    }
    let all: Vec<Result<_, EngineError>> = stream::iter(all).buffer_unordered(at_once).collect().await;
    let targets: BTreeSet<_> = entry.steps.iter().filter_map(|step| step.target.as_ref()).collect();
    for end in all {
        let (step, end) = end?;
        ends.take(step, end, after.is_some(), targets.len() > 1);
    }
    Ok(())
}

/// What the steps before may have left, as the start of one that follows whatever they did: what they found, what they wanted, or
/// something on the way from one to the other. Any other
/// state only somebody else can have made, or it cannot be told: then nothing is touched (invariant 5).
fn left_behind(before: &[Step], step: &Step) -> impl Iterator<Item = State> {
    // Copies have no target, and each a place of its own.
    let same = |s: &&Step| match step.action {
        Action::Copy => s.inputs.artifacts.keys().eq(step.inputs.artifacts.keys()),
        Action::Deploy => s.target == step.target,
        // None is taken on a way back.
        Action::Attest => false,
    };
    let there = before.iter().filter(|s| s.action == step.action).find(same);
    there.into_iter().flat_map(|s| [s.expected, s.desired, State::between(&s.expected, &s.desired)])
}

#[cfg(test)]
mod tests {
    use super::groups;
    use promo_core::model::Wave;
    use promo_core::plan::{Action, Document, Step};

    #[test]
    fn s2_3_copies_to_one_place_are_never_under_way_together_and_a_deployment_is_alone() {
        let plan = include_bytes!("../../../../tests/compat/v1/plans/promote.json");
        let (plan, _) = Document::from_bytes(plan).unwrap();
        let steps = plan.body.moves.iter().flat_map(|entry| &entry.steps);
        let copy: Step = steps.clone().find(|step| step.action == Action::Copy).unwrap().clone();
        let deploy: Step = steps.clone().find(|step| step.action == Action::Deploy).unwrap().clone();
        let mut other = copy.clone();
        for artifact in other.inputs.artifacts.values_mut() {
            artifact.repository.push_str("/other");
        }
        let steps = [copy.clone(), other.clone(), copy.clone(), deploy.clone(), deploy, other, copy];
        assert_eq!(groups(|_| None, &steps).iter().map(|group| group.len()).collect::<Vec<_>>(), [2, 1, 1, 1, 2]);
        assert_eq!(groups(|_| None, &[]).concat(), []);
    }

    #[test]
    fn r10_the_targets_of_a_wave_stand_together_and_nothing_else_does() {
        let plan = include_bytes!("../../../../tests/compat/v1/plans/promote.json");
        let (plan, _) = Document::from_bytes(plan).unwrap();
        let mut entry = plan.body.moves[0].clone();
        let deploy = entry.steps.iter().find(|step| step.action == Action::Deploy).unwrap().clone();
        let to = |name: &str| Step { target: Some(name.parse().unwrap()), ..deploy.clone() };
        let wave = |names: &[&str]| Wave {
            targets: names.iter().map(|name| name.parse().unwrap()).collect(),
            at_once: 2,
            pause: None,
        };
        entry.waves = vec![wave(&["eu"]), wave(&["us", "asia"])];
        let copy = Step { action: Action::Copy, target: None, ..deploy.clone() };
        let steps = [copy, to("eu"), to("us"), to("asia")];
        let waves = entry.wave_by_target();
        let wave_of = |step: &Step| waves.get(step.target.as_ref()?).copied();
        assert_eq!(groups(wave_of, &steps).iter().map(|group| group.len()).collect::<Vec<_>>(), [1, 1, 2]);
    }
}
