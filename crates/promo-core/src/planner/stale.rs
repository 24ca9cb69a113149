//! What a plan was made from, and whether it still is so (S8.2).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use super::PlanInput;
use crate::canonical;
use crate::clock::Doubt;
use crate::eligibility::Rules;
use crate::gate::Reason;
use crate::ids::EnvironmentName;
use crate::plan::{Move, Plan};

/// What a plan's steps depend on, by name: apply makes this map again and compares (S8.2). Generations are bound only
/// for the environments that move.
#[must_use]
pub fn inputs(input: &PlanInput<'_>, moves: &[Move]) -> BTreeMap<String, String> {
    let mut out = rules(&input.rules, moves);
    out.insert("invoker".into(), input.request.invoker.as_str().into());
    for entry in moves {
        let name = &entry.environment;
        let generation = input.view.environment(name).map_or(0, |e| e.generation);
        out.insert(format!("generation of {name}"), generation.to_string());
        let checks = entry.checks.iter().flat_map(|c| &c.inputs.files);
        for (path, digest) in entry.files.iter().chain(checks) {
            out.insert(format!("file {path} in {name}"), digest.to_string());
        }
        for step in &entry.steps {
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

/// What stands in a saved plan and is not what promo wrote (S8.3). `then` is the same request planned for the instant at
/// which the plan says that it was made, from what the ledger said then: a plan of promo's is equal to it in every field.
#[must_use]
pub fn edited(planned: &Plan, then: &Plan) -> Vec<Moved> {
    // Taken apart field by field, so that a new one cannot be forgotten.
    let Plan {
        pipeline,
        policy,
        local,
        // The ledger must extend it; what the plan was made again from.
        ledger: _,
        // What was planned again, and for which instant: another request, or another instant within the limits of
        // precheck, is another plan of promo's.
        request: _,
        planned_at: _,
        expires: _,
        // A claim, shown as one.
        initiator: _,
        tool,
        inputs,
        moves,
        stays,
        lost_evidence,
    } = planned;
    let mut out = Vec::new();
    let mut compare = |input: String, planned: Option<String>, current: Option<String>| {
        if planned != current {
            out.push(Moved { input, planned, current });
        }
    };
    compare("pipeline".into(), Some(pipeline.to_string()), Some(then.pipeline.to_string()));
    compare("policy".into(), Some(print(policy)), Some(print(&then.policy)));
    compare("mode".into(), Some(print(local)), Some(print(&then.local)));
    compare("version of promo".into(), Some(tool.clone()), Some(then.tool.clone()));
    compare("inputs".into(), Some(print(inputs)), Some(print(&then.inputs)));
    compare("lost evidence".into(), Some(print(lost_evidence)), Some(print(&then.lost_evidence)));
    // Place by place: order and number are shown as well.
    for at in 0..moves.len().max(then.moves.len()) {
        let (planned, then) = (moves.get(at), then.moves.get(at));
        let name = planned.or(then).map_or_else(String::new, |m| m.environment.to_string());
        compare(format!("what is shown of {name}"), planned.map(print), then.map(print));
    }
    for at in 0..stays.len().max(then.stays.len()) {
        let (planned, then) = (stays.get(at), then.stays.get(at));
        let name = planned.or(then).map_or_else(String::new, |s| s.environment.to_string());
        compare(format!("what is shown of {name}"), planned.map(print), then.map(print));
    }
    out
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
