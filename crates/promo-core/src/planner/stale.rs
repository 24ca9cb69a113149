//! What a plan was made from, and whether it still is so (S8.2).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;
use serde_json::Value;

use super::{PlanInput, Planner};
use crate::canonical;
use crate::clock::Doubt;
use crate::eligibility::Rules;
use crate::gate::{GateKind, Reason};
use crate::ids::{EnvironmentName, ReleaseId};
use crate::ledger::View;
use crate::ledger::event::Movement;
use crate::plan::{Action, Move, Next, Plan, ReleaseRef, Request, Stay};
use crate::state::State;

/// What a plan's steps depend on, by name: apply makes this map again and compares (S8.2). Generations are bound only
/// for the environments that move.
#[must_use]
pub fn inputs(input: &PlanInput<'_>, moves: &[Move]) -> BTreeMap<String, String> {
    let mut out = rules(&input.rules, moves);
    out.extend(told_twice(input.request, moves));
    for entry in moves {
        let generation = input.view.environment(&entry.environment).map_or(0, |e| e.generation);
        out.insert(generation_of(&entry.environment), generation.to_string());
        for release in entry.rollback.iter().map(|back| &back.to.id).chain([&entry.to.id]) {
            let place = (entry.environment.clone(), release.clone());
            if let Some(plan) = input.observations.unread.get(&place) {
                out.insert(judges_of(&place.0, release), format!("as they are here: plan {plan} cannot be read"));
            }
        }
    }
    out
}

/// How every name of [`judges_of`] begins.
const JUDGES: &str = "check files of ";

/// The name of the input that says with which files a release that comes back is judged, where those that judged it before cannot
/// be told (S2.4). Elsewhere there is none.
#[must_use]
pub fn judges_of(environment: &EnvironmentName, release: &ReleaseId) -> String {
    format!("{JUDGES}{release} in {environment}")
}

/// What a plan says of that: whoever has not read the plans of before takes its word.
pub fn told_of_judges(plan: &Plan) -> impl Iterator<Item = (String, String)> {
    let inputs = plan.inputs.iter().filter(|(name, _)| name.starts_with(JUDGES));
    inputs.map(|(name, said)| (name.clone(), said.clone()))
}

/// What the moves of a saved plan would depend on now: its rules, its files, its generations. Of what only a provider can
/// see, the live state of each step, the plan's own word is taken, so nothing outside is asked for.
#[must_use]
pub fn inputs_here(input: &PlanInput<'_>, moves: &[Move]) -> BTreeMap<String, String> {
    let planner = Planner::new(input);
    let environments = &input.rules.pipeline.environments;
    let again = moves.iter().filter_map(|entry| {
        let name = &entry.environment;
        let what = (&entry.to.id, entry.drilled());
        let drafted = planner.draft(name, environments.get(name)?, what, entry.movement, &entry.after, Vec::new());
        // Of a drill the way back comes first, and what that finds is what is live.
        let rollback = if entry.drill { entry.rollback.clone() } else { drafted.head.rollback };
        // What judges a release that comes back is on record, and was not read here.
        let recorded = entry.drill || entry.movement == Movement::Rollback;
        let checks = if recorded { entry.checks.clone() } else { drafted.head.checks };
        Some(Move { steps: entry.steps.clone(), rollback, checks, ..drafted.head })
    });
    inputs(input, &again.collect::<Vec<_>>())
}

fn generation_of(name: &EnvironmentName) -> String {
    format!("generation of {name}")
}

/// Those of them that the plan says elsewhere too.
pub(crate) fn told_twice(request: &Request, moves: &[Move]) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = [("invoker".into(), request.invoker.as_str().into())].into();
    for entry in moves {
        let name = &entry.environment;
        let checks = entry.checks.iter().flat_map(|c| &c.inputs.files);
        for (path, digest) in entry.files.iter().chain(checks) {
            out.insert(format!("file {path} in {name}"), digest.to_string());
        }
        for step in entry.first_steps() {
            out.insert(format!("live state of {}", step.id), step.expected.to_string());
        }
    }
    out
}

/// Those of them that are rules: nothing that a plan has not begun may begin under others, also when its run is resumed.
#[must_use]
pub fn rules(rules: &Rules<'_>, moves: &[Move]) -> BTreeMap<String, String> {
    let pipeline = canonical::digest(rules.pipeline).expect("invariant: configuration has no floats");
    let zones = crate::windows::tzdb_version().to_string();
    let mut out: BTreeMap<String, String> =
        [("pipeline".into(), pipeline.to_string()), ("time zones".into(), zones)].into();
    for entry in moves {
        let approval = rules.approval.get(&entry.environment);
        let approval = canonical::digest(&approval).expect("invariant: rules have no floats");
        out.insert(format!("approval rules of {}", entry.environment), approval.to_string());
    }
    out
}

/// One input that moved between planning and applying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Which.
    pub input: String,
    /// What the plan was made with; none when it was not there.
    pub planned: Option<String>,
    /// What it is now.
    pub current: Option<String>,
}

/// Compares a saved plan with the same request planned again: first the inputs by name, then the moves themselves, so
/// that a plan whose steps were edited is found even when every input is the same.
#[must_use]
pub fn stale(planned: &Plan, inputs: &BTreeMap<String, String>, moves: &[Move]) -> Vec<Moved> {
    let names: BTreeSet<&String> = planned.inputs.keys().chain(inputs.keys()).collect();
    let mut out: Vec<Moved> = names
        .into_iter()
        .filter(|name| planned.inputs.get(*name) != inputs.get(*name))
        .map(|name| Moved {
            input: name.clone(),
            planned: planned.inputs.get(name).cloned(),
            current: inputs.get(name).cloned(),
        })
        .collect();
    if out.is_empty() {
        out.extend(moved_moves(&planned.moves, moves));
    }
    out
}

fn moved_moves(planned: &[Move], current: &[Move]) -> Vec<Moved> {
    let by_name = |moves: &[Move]| -> BTreeMap<EnvironmentName, String> {
        moves.iter().map(|m| (m.environment.clone(), fingerprint(m))).collect()
    };
    let (planned, current) = (by_name(planned), by_name(current));
    let names: BTreeSet<&EnvironmentName> = planned.keys().chain(current.keys()).collect();
    names
        .into_iter()
        .filter(|name| planned.get(*name) != current.get(*name))
        .map(|name| Moved {
            input: format!("steps of {name}"),
            planned: planned.get(name).cloned(),
            current: current.get(name).cloned(),
        })
        .collect()
}

/// Where a saved plan is not what promo wrote (S8.3), leaf by leaf. `then` is the same request planned for the instant at
/// which the plan says that it was made, from what the ledger said then: a plan of promo's is equal to it in every field,
/// as long as nothing of what is observed has changed.
#[must_use]
pub fn differences(planned: &Plan, then: &Plan) -> Vec<Moved> {
    if planned == then {
        return Vec::new();
    }
    let (mut a, mut b) = (planned.clone(), then.clone());
    // What is the same is left out before the rest becomes a tree of values: a plan can be large.
    let same: Vec<bool> = a.moves.iter().zip(&b.moves).map(|(a, b)| a == b).collect();
    let same_stays: Vec<bool> = a.stays.iter().zip(&b.stays).map(|(a, b)| a == b).collect();
    for plan in [&mut a, &mut b] {
        drop_where(&mut plan.moves, &same);
        drop_where(&mut plan.stays, &same_stays);
    }
    let mut out = Vec::new();
    match (serde_json::to_value(&a), serde_json::to_value(&b)) {
        (Ok(a), Ok(b)) => leaves(String::new(), Some(&a), Some(&b), &mut out),
        _ => out.push(Moved { input: "numbers of the plan".into(), planned: None, current: None }),
    }
    out
}

/// Those of the [`differences`] that only an edit explains: none where an input of the plan is another one, and none in what
/// is observed without being an input.
#[must_use]
pub fn edited(planned: &Plan, then: &Plan) -> Vec<Moved> {
    if planned == then || planned.inputs != then.inputs {
        return Vec::new();
    }
    let (mut a, mut b) = (planned.clone(), then.clone());
    for (a, b) in a.moves.iter_mut().zip(&mut b.moves) {
        for entry in [&mut *a, &mut *b] {
            entry.gates.retain(|gate| gate.kind != GateKind::Artifact);
            // The place is previewed as it is now, and what goes along with a copy is what lies beside it now. In a drill the
            // way back is what is done first.
            for step in entry.rollback.iter_mut().filter(|_| !entry.drill).flat_map(|back| &mut back.steps) {
                (step.expected, step.changes) = (State::Unknown, Vec::new());
            }
            for step in entry.steps.iter_mut().filter(|step| step.action == Action::Copy) {
                step.changes = Vec::new();
            }
        }
        if !same_artifacts(a.newer.as_ref(), b.newer.as_ref()) {
            (a.newer, b.newer) = (None, None);
        }
        // So is what could be gone back to.
        let ways = |entry: &Move| {
            let target = entry.rollback.as_ref().map(|back| back.to.clone());
            (target, entry.lost_target.clone(), entry.further_targets.clone())
        };
        if ways(a) != ways(b) {
            for entry in [a, b] {
                (entry.rollback, entry.lost_target, entry.further_targets) = (None, None, Vec::new());
            }
        }
    }
    let observed = |(a, b): (&Stay, &Stay)| {
        let same = |a: &Option<Next>, b: &Option<Next>| same_artifacts(a.as_ref(), b.as_ref());
        a.drift != b.drift || !same(&a.next, &b.next) || !same(&a.newer, &b.newer)
    };
    let moved: Vec<bool> = a.stays.iter().zip(&b.stays).map(observed).collect();
    for plan in [&mut a, &mut b] {
        drop_where(&mut plan.stays, &moved);
    }
    differences(&a, &b)
}

/// Where a saved plan says something else of the past than the ledger does, `then` being what that said when the plan was made
/// (S8.3). This needs nothing that is observed, so it holds whatever has changed since.
#[must_use]
pub fn misquoted(plan: &Plan, then: &View) -> Vec<Moved> {
    let mut out = Vec::new();
    let mut compare = |input: String, planned: Option<String>, current: Option<String>| {
        if planned != current {
            out.push(Moved { input, planned, current });
        }
    };
    let shown = |r: &ReleaseRef| r.alias.as_ref().map_or_else(|| r.to_string(), |alias| format!("{r} {alias}"));
    let recorded = |id: &ReleaseId| {
        let entry = then.release(id)?;
        Some(shown(&ReleaseRef { id: id.clone(), lineage: entry.lineage, alias: entry.release.alias.clone() }))
    };
    let running = |name: &EnvironmentName| recorded(&then.current(name)?.release);
    for entry in &plan.moves {
        let name = &entry.environment;
        let generation = then.environment(name).map_or(0, |e| e.generation).to_string();
        let input = generation_of(name);
        compare(input.clone(), plan.inputs.get(&input).cloned(), Some(generation));
        compare(format!("what runs in {name}"), entry.from.as_ref().map(shown), running(name));
        let back = entry.rollback.iter().map(|back| &back.to).chain(&entry.further_targets);
        let others = entry.lost_target.iter().map(|l| &l.release).chain(entry.newer.iter().map(|n| &n.release));
        for release in [&entry.to].into_iter().chain(back).chain(others) {
            compare(format!("a release of {name}"), Some(shown(release)), recorded(&release.id));
        }
    }
    for stay in &plan.stays {
        let name = &stay.environment;
        compare(format!("what runs in {name}"), stay.current.as_ref().map(shown), running(name));
        for (target, drift) in &stay.drift {
            let recorded = then.current(name).and_then(|current| current.targets.get(target));
            let input = format!("what was left on {target} of {name}");
            compare(input, Some(drift.recorded.to_string()), recorded.map(ToString::to_string));
        }
        for next in stay.next.iter().chain(&stay.newer) {
            compare(format!("a release of {name}"), Some(shown(&next.release)), recorded(&next.release.id));
        }
    }
    out
}

/// Whether the artifacts of two releases that are on their way were found in the same state.
fn same_artifacts(a: Option<&Next>, b: Option<&Next>) -> bool {
    let gate = |next: Option<&Next>| {
        next.and_then(|next| next.gates.iter().find(|gate| gate.kind == GateKind::Artifact).cloned())
    };
    gate(a) == gate(b)
}

fn drop_where<T>(items: &mut Vec<T>, dropped: &[bool]) {
    let mut at = 0..;
    items.retain(|_| at.next().is_none_or(|at: usize| !dropped.get(at).copied().unwrap_or(false)));
}

/// Every leaf in which two documents differ. Parts of lists go by what they are called, where they are called something.
fn leaves(path: String, planned: Option<&Value>, then: Option<&Value>, out: &mut Vec<Moved>) {
    let below = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match (planned, then) {
        (a, b) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                leaves(below(key), a.get(key), b.get(key), out);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for at in 0..a.len().max(b.len()) {
                let (a, b) = (a.get(at), b.get(at));
                let name = ["environment", "id", "name", "kind"].iter().find_map(|key| {
                    let name = |part: Option<&Value>| part?.get(key)?.as_str().map(String::from);
                    name(b).or_else(|| name(a))
                });
                let name = name.unwrap_or_else(|| at.to_string());
                leaves(format!("{path}[{name}]"), a, b, out);
            }
        }
        (a, b) => {
            let text = |value: Option<&Value>| match value {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(value) => Some(value.to_string()),
            };
            out.push(Moved { input: path, planned: text(a), current: text(b) });
        }
    }
}

fn print(part: &impl Serialize) -> String {
    canonical::digest(part).map_or_else(|e| e.to_string(), |d| d.to_string())
}

/// Why the time could not be relied on when a plan was made, by the gates that say so.
#[must_use]
pub fn doubt(plan: &Plan) -> Option<Doubt> {
    let next = plan.stays.iter().flat_map(|s| s.next.iter().chain(&s.newer));
    let next = next.chain(plan.moves.iter().filter_map(|m| m.newer.as_ref()));
    let gates = plan.moves.iter().flat_map(|m| &m.gates).chain(next.flat_map(|n| &n.gates));
    gates.into_iter().find_map(|gate| match gate.reason {
        Reason::ClockSkew { ledger, machine } => Some(Doubt::Skew { ledger, machine }),
        Reason::ClockWentBack { ledger, before } => Some(Doubt::WentBack { ledger, before }),
        _ => None,
    })
}

/// Everything of a move, and which gates it has, but not how they stood: those may have opened since, and apply judges them
/// again by itself. What could not enter beside it is no more bound than what stays elsewhere, nor is why there is no way
/// back.
fn fingerprint(entry: &Move) -> String {
    let mut entry = Move { newer: None, lost_target: None, ..entry.clone() };
    let gates: Vec<_> = core::mem::take(&mut entry.gates).into_iter().map(|gate| gate.kind).collect();
    print(&(entry, gates))
}
