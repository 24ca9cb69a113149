//! The steps of one environment, and the record that says what runs there then. What must not be here: how one step is
//! taken, and what becomes of a promotion whose steps failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, stream};
use promo_core::Digest;
use promo_core::ids::{ReleaseId, TargetName};
use promo_core::ledger::event::Movement;
use promo_core::ledger::{Event, View};
use promo_core::plan::{Action, Move, Rollback, Step};
use promo_core::state::State;

use super::promotion::{End, barred_now};
use super::step::{Bar, StepEnd, take};
use super::{RunContext, waves};
use crate::error::EngineError;

/// How many steps that do not depend on each other are taken at once, where no wave says how many.
const STEPS_AT_ONCE: usize = 8;

/// Takes the steps and records what runs. On the way back each step may start from whatever the failure left, and the first
/// one only as long as nobody has rejected where it leads.
pub(super) async fn deploy(
    context: &RunContext,
    entry: &Move,
    steps: &[Step],
    release: &ReleaseId,
    files: &BTreeMap<String, Digest>,
    settings: &Digest,
    back: Option<&Rollback>,
) -> Result<End, EngineError> {
    let mut targets = BTreeMap::new();
    let bar = back.map(|rollback| move |view: &View| barred_now(context, entry, rollback, view));
    let bar = bar.as_ref().map(|bar| bar as Bar<'_>);
    // Whoever goes back does not want to wait, and what was verified here before is not tried out.
    let careful = back.is_none() && entry.movement != Movement::Rollback;
    for group in groups(entry, steps) {
        let wave = group.first().and_then(|step| entry.wave_of(step));
        if let Some(before) = wave.filter(|_| careful).and_then(|wave| wave.checked_sub(1)) {
            match waves::between(context, entry, before).await? {
                End::Good => {}
                other => return Ok(other),
            }
        }
        match together(context, entry, group, bar, back.is_some()).await? {
            Ok(states) => targets.extend(states),
            Err(end) => return Ok(end),
        }
    }
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
        let found =
            context.append_unless(&entry.environment, None, &event, |view| Ok(bar.and_then(|bar| bar(view))))?;
        if let Some(why) = found {
            return Ok(End::Failed(why));
        }
    }
    Ok(End::Good)
}

/// Steps that do not depend on each other: copies that stand together, as long as each leads to a place of its own, and the
/// targets of a wave.
fn groups<'a>(entry: &Move, steps: &'a [Step]) -> Vec<&'a [Step]> {
    let (mut groups, mut start, mut places) = (Vec::new(), 0, BTreeSet::new());
    for (at, step) in steps.iter().enumerate() {
        let place: BTreeSet<_> = step.inputs.artifacts.values().map(|a| (&a.repository, &a.tag)).collect();
        let copies = step.action == Action::Copy && steps[start].action == Action::Copy;
        let wave = entry.wave_of(step);
        let same = wave.is_some() && wave == entry.wave_of(&steps[start]);
        if at > start && !same && !(copies && places.is_disjoint(&place)) {
            groups.push(&steps[start..at]);
            (start, places) = (at, BTreeSet::new());
        }
        places.extend(place);
    }
    groups.push(&steps[start..]);
    groups
}

/// Takes steps that do not depend on each other. After a failure, or when the run is to stop, no more of them begin; those
/// that have begun come to their end first, because a step that is broken off leaves doubt. Gives what targets hold.
async fn together(
    context: &RunContext,
    entry: &Move,
    steps: &[Step],
    bar: Option<Bar<'_>>,
    back: bool,
) -> Result<Result<BTreeMap<TargetName, State>, End>, EngineError> {
    let failed = AtomicBool::new(false);
    let wave = steps.first().and_then(|step| entry.wave_of(step)).map(|wave| entry.waves[wave].at_once as usize);
    // Collected first: a stream over borrowed steps would keep the run from being spawned.
    let mut all = Vec::with_capacity(steps.len());
    for step in steps {
        let failed = &failed;
        all.push(Box::pin(async move {
            if failed.load(Ordering::Relaxed) || (context.options.stop.is_cancelled() && !back) {
                return Ok((step, None));
            }
            let mut starts = vec![step.expected];
            if back {
                starts.extend(left_behind(entry, step));
            }
            let end = take(context, entry, step, &starts, bar).await;
            failed.fetch_or(!matches!(end, Ok(StepEnd::Done(_))), Ordering::Relaxed);
            Ok((step, Some(end?)))
        }));
    }
    let ends: Vec<Result<_, EngineError>> =
        stream::iter(all).buffer_unordered(wave.unwrap_or(STEPS_AT_ONCE)).collect().await;
    let (mut states, mut failures, mut stuck) = (BTreeMap::new(), Vec::new(), Vec::new());
    let (mut interrupted, mut left) = (false, false);
    for end in ends {
        match end? {
            (step, Some(StepEnd::Done(state))) => states.extend(step.target.clone().map(|target| (target, state))),
            // What bars one of them bars the others as well.
            (_, Some(StepEnd::Failed { why })) if failures.contains(&why) => {}
            (_, Some(StepEnd::Failed { why })) => failures.push(why),
            (_, Some(StepEnd::Stuck { why })) => stuck.push(why),
            (_, Some(StepEnd::Interrupted)) => interrupted = true,
            (_, None) => left = true,
        }
    }
    // A resume settles what was broken off before anything is concluded from the others.
    Ok(match (interrupted, stuck.is_empty(), failures.is_empty(), left) {
        (true, ..) => Err(End::Interrupted),
        (_, false, ..) => Err(End::Stuck(stuck.join("; "))),
        (_, _, false, _) => Err(End::Failed(failures.join("; "))),
        (.., true) => Err(End::Interrupted),
        _ => Ok(states),
    })
}

/// What a failed step may have left, as the start of its way back: what the promotion found, what it wanted, or something on
/// the way from one to the other. Any other
/// state only somebody else can have made, or it cannot be told: then nothing is touched (invariant 5).
fn left_behind(entry: &Move, step: &Step) -> impl Iterator<Item = State> {
    // Copies have no target, and each a place of its own.
    let same = |s: &&Step| match step.action {
        Action::Copy => s.inputs.artifacts.keys().eq(step.inputs.artifacts.keys()),
        Action::Deploy => s.target == step.target,
    };
    let there = entry.steps.iter().filter(|s| s.action == step.action).find(same);
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
        let entry = &plan.body.moves[0];
        let steps = [copy.clone(), other.clone(), copy.clone(), deploy.clone(), deploy, other, copy];
        assert_eq!(groups(entry, &steps).iter().map(|group| group.len()).collect::<Vec<_>>(), [2, 1, 1, 1, 2]);
        assert_eq!(groups(entry, &[]).concat(), []);
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
        assert_eq!(groups(&entry, &steps).iter().map(|group| group.len()).collect::<Vec<_>>(), [1, 1, 2]);
    }
}
