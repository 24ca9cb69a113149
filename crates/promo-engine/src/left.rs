//! What a promotion that did not end well has left on each target, as far as its records tell. What must not live here: what is
//! there now, which only a look at the place tells, and what is done about it.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::eligibility::{self, Hold};
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId, RunId, TargetName};
use promo_core::ledger::View;
use promo_core::ledger::event::RunOutcome;
use promo_core::ledger::view::{Promotion, Run};
use promo_core::model::Check;
use promo_core::plan::{Action, Document, Move, Step};
use promo_core::state::State;

use crate::session::Session;

/// What was left on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// This release.
    Release(ReleaseId),
    /// Nothing.
    Nothing,
    /// It is not known: a step was broken off, or failed, or left what no release of here is.
    Unknown,
}

/// What the last promotion of an environment has left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// By which run.
    pub run: Option<RunId>,
    /// On each target, with the state that it was seen in last; none where that is what the ledger has as deployed.
    pub targets: BTreeMap<TargetName, (Left, State)>,
    /// Whether what was gone back to has come, and not every check that promo runs has spoken of it since.
    pub unasked: bool,
}

impl Session {
    /// What a promotion that holds an environment has left there (S9.6).
    #[must_use]
    pub fn left_behind(&self, view: &View, name: &EnvironmentName) -> LeftBehind {
        let held = eligibility::holds(view, name).into_iter().find_map(|hold| match hold {
            Hold::Failed(promotion) => Some(promotion),
            _ => None,
        });
        let Some((promotion, run)) = held.and_then(|held| Some((held, view.runs.get(&held.run)?))) else {
            return LeftBehind::default();
        };
        let mut targets = match self.entry_of(run, name) {
            Some(entry) => left(view, &entry, run, promotion),
            // Of a plan that cannot be read nobody can tell which step leads to which release.
            None => deployed(view, name).map(|target| (target.clone(), (Left::Unknown, State::Unknown))).collect(),
        };
        let current = view.current(name).map(|current| &current.release);
        let as_recorded = |left: &Left| match left {
            Left::Release(there) => Some(there) == current,
            Left::Nothing => current.is_none(),
            Left::Unknown => false,
        };
        if targets.values().all(|(left, _)| as_recorded(left)) {
            targets.clear();
        }
        let back = current.is_some_and(|current| *current != promotion.to) && promotion.drill.is_none();
        let unasked = back && targets.is_empty() && promotion.deployed && self.unasked(view, name, promotion);
        LeftBehind { run: Some(promotion.run.clone()), targets, unasked }
    }

    /// What the plan of a run has for an environment.
    pub(crate) fn entry_of(&self, run: &Run, name: &EnvironmentName) -> Option<Move> {
        let bytes = self.kept(&run.plan, "the plan of a run").ok()?;
        let (document, _) = Document::from_bytes(&bytes).ok()?;
        document.body.moves.into_iter().find(|entry| entry.environment == *name)
    }

    /// Whether a check that promo runs has not spoken of what runs since a promotion began that went back to it.
    fn unasked(&self, view: &View, name: &EnvironmentName, promotion: &Promotion) -> bool {
        let pipeline = &self.governance().pipeline;
        let (Some(environment), Some(known)) = (pipeline.environments.get(name), view.environment(name)) else {
            return false;
        };
        let verdicts = view.current(name).and_then(|current| known.verdicts.get(&current.release));
        let by_itself = |check: &&CheckName| matches!(pipeline.checks.get(*check), Some(Check::Automatic { .. }));
        environment.verify.iter().filter(by_itself).any(|check| {
            let latest = verdicts.and_then(|verdicts| verdicts.get(check)?.last());
            latest.is_none_or(|verdict| verdict.at < promotion.started)
        })
    }
}

fn deployed<'v>(view: &'v View, name: &EnvironmentName) -> impl Iterator<Item = &'v TargetName> {
    view.current(name).into_iter().flat_map(|current| current.targets.keys())
}

fn left(view: &View, entry: &Move, run: &Run, promotion: &Promotion) -> BTreeMap<TargetName, (Left, State)> {
    // The ways of the run in the order in which it takes them, each with the release that it leads to.
    let there = (&entry.to.id, entry.steps.as_slice());
    let mut ways: Vec<(&ReleaseId, &[Step])> = entry.rollback.iter().map(|back| (&back.to.id, &*back.steps)).collect();
    ways.insert(if promotion.drill.is_some() { ways.len() } else { 0 }, there);
    let deploys = |step: &&Step| step.action == Action::Deploy;
    let targets: BTreeSet<&TargetName> = ways
        .iter()
        .flat_map(|(_, steps)| steps.iter().filter(deploys).filter_map(|step| step.target.as_ref()))
        .chain(deployed(view, &entry.environment))
        .collect();
    let known = view.environment(&entry.environment);
    let was_there = |target: &TargetName, state: &State| {
        let mut residences = known.into_iter().flat_map(|known| known.residences.iter().rev());
        residences.find(|r| r.targets.get(target) == Some(state)).map(|r| r.release.clone())
    };
    let current = view.current(&entry.environment);
    // Of a way that was begun behind another one every step is tried; one that has no record refused what it found there, or
    // could not look. A person who cancels the run leaves steps whose turn had not come.
    let cancelled = matches!(run.finished, Some((_, RunOutcome::Cancelled)));
    let turned = promotion.drill.as_ref().is_some_and(|drill| drill.turned.is_some());
    let last = ways.last().filter(|_| ways.len() > 1 && !cancelled).map(|(_, steps)| *steps);
    let last = last.filter(|steps| turned || steps.iter().any(|step| run.steps.contains_key(&step.id)));
    let refused = |target: &TargetName| {
        let mut mine = last.into_iter().flatten().filter(deploys).filter(|step| step.target.as_ref() == Some(target));
        mine.any(|step| !run.steps.contains_key(&step.id))
    };
    let of = |target: &TargetName| -> (Left, State) {
        let steps = || {
            let step = |(to, steps): &(&ReleaseId, &[Step])| {
                let mine = steps.iter().filter(deploys).find(|step| step.target.as_ref() == Some(target));
                mine.map(|step| ((*to).clone(), step.clone()))
            };
            ways.iter().rev().filter_map(step).collect::<Vec<_>>()
        };
        let taken = steps().into_iter().find_map(|(to, step)| Some((to, step.desired, run.steps.get(&step.id)?)));
        let state = match taken {
            _ if refused(target) => State::Unknown,
            Some((to, desired, taken)) if taken.observed == Some(desired) => return (Left::Release(to), desired),
            Some((_, _, taken)) => taken.observed.unwrap_or(State::Unknown),
            // What it has not touched is as it was found.
            None => match steps().last() {
                Some((_, first)) => first.expected,
                None => current.and_then(|current| current.targets.get(target)).copied().unwrap_or(State::Absent),
            },
        };
        let left = match state {
            State::Absent => Left::Nothing,
            State::Unknown => Left::Unknown,
            state => {
                let meant = steps().into_iter().find(|(_, step)| step.desired == state).map(|(to, _)| to);
                meant.or_else(|| was_there(target, &state)).map_or(Left::Unknown, Left::Release)
            }
        };
        (left, state)
    };
    targets.into_iter().map(|target| (target.clone(), of(target))).collect()
}
