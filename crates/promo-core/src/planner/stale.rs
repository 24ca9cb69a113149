//! What a plan was made from, and whether it still is so (S8.2).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use super::PlanInput;
use crate::canonical;
use crate::ids::EnvironmentName;
use crate::plan::{Move, Plan};

/// What a plan's steps depend on, by name: apply makes this map again and compares (S8.2). Generations are bound only
/// for the environments that move.
#[must_use]
pub fn inputs(input: &PlanInput<'_>, moves: &[Move]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let pipeline = canonical::digest(input.rules.pipeline).expect("invariant: configuration has no floats");
    out.insert("pipeline".into(), pipeline.to_string());
    out.insert("time zones".into(), crate::windows::tzdb_version().to_string());
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
        let rules = input.rules.approval.get(name);
        let rules = canonical::digest(&rules).expect("invariant: rules have no floats");
        out.insert(format!("approval rules of {name}"), rules.to_string());
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

/// Everything of a move, and which gates it has, but not how they stood: those may have opened since, and apply judges them
/// again by itself. What could not enter beside it is no more bound than what stays elsewhere.
fn fingerprint(entry: &Move) -> String {
    let mut entry = Move { newer: None, ..entry.clone() };
    let gates: Vec<_> = core::mem::take(&mut entry.gates).into_iter().map(|gate| gate.kind).collect();
    canonical::digest(&(entry, gates)).map_or_else(|e| e.to_string(), |d| d.to_string())
}
