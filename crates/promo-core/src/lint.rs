//! What must hold of every finished plan, whatever it plans. The planner never makes one that breaks a rule, and apply
//! never begins one that does: an edited plan, or a bug, is told here by name.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::gate::{Gate, GateKind, Outcome, Reason};
use crate::ids::EnvironmentName;
use crate::ledger::event::Movement;
use crate::model::Tier;
use crate::plan::{Action, Goal, Move, Plan, Step};
use crate::planner::told_twice;
use crate::state::State;

/// Which rules a plan breaks, in words; none for every plan that the planner makes.
#[must_use]
pub fn plan(plan: &Plan) -> Vec<String> {
    let mut out = Vec::new();
    let mut ids = BTreeSet::new();
    let mut seen: BTreeSet<&EnvironmentName> = BTreeSet::new();
    for entry in &plan.moves {
        let name = &entry.environment;
        for before in entry.after.iter().filter(|before| !seen.contains(before)) {
            out.push(format!("{name} comes after {before}, which the plan does not move before it"));
        }
        if !seen.insert(name) {
            out.push(format!("{name} is moved twice"));
        }
        let back = entry.rollback.as_ref().map_or(&[][..], |r| r.steps.as_slice());
        for step in entry.steps.iter().chain(back).chain(&entry.attest) {
            if !ids.insert(step.id.as_str()) {
                out.push(format!("the step {} is there twice", step.id));
            }
            step_rules(entry, step, &mut out);
        }
        move_rules(entry, &mut out);
    }
    request_rules(plan, &mut out);
    let next =
        plan.stays.iter().flat_map(|stay| [&stay.next, &stay.newer].map(|next| (&stay.environment, next.as_ref())));
    for (name, next) in next.chain(plan.moves.iter().map(|entry| (&entry.environment, entry.newer.as_ref()))) {
        let Some(next) = next else { continue };
        artifact_rules(name, &next.gates, &mut out);
        if next.gates.iter().all(|gate| gate.kind != GateKind::Artifact) {
            out.push(format!("{name} was not judged by the gate `artifact`"));
        }
    }
    for stay in plan.stays.iter().filter(|stay| seen.contains(&stay.environment)) {
        out.push(format!("{} moves and stays", stay.environment));
    }
    out
}

/// What the plan says twice must be the same both times, and nothing moves that was not asked for.
fn request_rules(plan: &Plan, out: &mut Vec<String>) {
    let request = &plan.request;
    let mut told = told_twice(request, &plan.moves);
    told.extend(plan.policy.iter().map(|policy| ("policy".into(), policy.digest.to_string())));
    for (input, said) in &told {
        match plan.inputs.get(input) {
            Some(found) if found == said => {}
            found => {
                let found = found.map_or("nothing", String::as_str);
                out.push(format!("the input `{input}` is {found}, and elsewhere in the plan it is {said}"));
            }
        }
    }
    let asked = |name: &EnvironmentName| {
        request.until.is_some() || request.environments.is_empty() || request.environments.contains(name)
    };
    let shown = plan.moves.iter().map(|m| &m.environment).chain(plan.stays.iter().map(|s| &s.environment));
    out.extend(shown.filter(|name| !asked(name)).map(|name| format!("{name} was not asked for")));
    for entry in &plan.moves {
        let name = &entry.environment;
        let gets = entry.drilled().unwrap_or(&entry.to.id);
        if request.release.as_ref().is_some_and(|asked| asked != gets) {
            out.push(format!("{name} gets another release than was asked for"));
        }
        let back = entry.movement == Movement::Rollback || entry.drill;
        if (request.goal == Goal::Rollback) != back || request.drill != entry.drill {
            out.push(format!("{name} moves in another way than was asked for"));
        }
    }
}

/// What was found of the artifacts decides how their gate stands, and only the present knows it: it is not planned again.
fn artifact_rules(name: &EnvironmentName, gates: &[Gate], out: &mut Vec<String>) {
    let of_artifacts = || gates.iter().filter(|gate| gate.kind == GateKind::Artifact);
    let good = |gate: &&Gate| gate.reason == Reason::ArtifactsAsRecorded;
    if of_artifacts().any(|gate| good(&gate) != (gate.outcome == Outcome::Satisfied)) {
        out.push(format!("{name} carries a gate of artifacts that does not stand as its reason says"));
    }
    if of_artifacts().filter(good).count() > 1 {
        out.push(format!("{name} carries a gate of artifacts twice"));
    }
}

fn step_rules(entry: &Move, step: &Step, out: &mut Vec<String>) {
    if step.inputs.environment != entry.environment {
        out.push(format!("the step {} acts for {}", step.id, step.inputs.environment));
    }
    if !matches!(step.desired, State::Present(_)) {
        out.push(format!("the step {} does not say what it leaves", step.id));
    }
}

/// A drill leaves what it found, has somewhere to go in between, and was let in as one; never in production.
fn drill_rules(entry: &Move, out: &mut Vec<String>) {
    let name = &entry.environment;
    if entry.tier == Tier::Production {
        out.push(format!("{name} is production, and a drill would try something there"));
    }
    if entry.movement != Movement::Reconfiguration || entry.from.as_ref().is_none_or(|from| from.id != entry.to.id) {
        out.push(format!("{name} would not get back what runs there after a drill"));
    }
    if entry.drilled().is_none_or(|back| *back == entry.to.id) {
        out.push(format!("{name} would go nowhere in a drill"));
    }
    if entry.gates.iter().all(|gate| gate.kind != GateKind::Drill) {
        out.push(format!("{name} was not judged by the gate `drill`"));
    }
}

/// The steps that are taken before anything was verified.
fn back_or_there(entry: &Move) -> impl Iterator<Item = &Step> {
    entry.steps.iter().chain(entry.rollback.iter().flat_map(|back| &back.steps))
}

fn move_rules(entry: &Move, out: &mut Vec<String>) {
    let name = &entry.environment;
    if entry.steps.iter().chain(&entry.attest).any(|step| step.inputs.release != entry.to.id) {
        out.push(format!("{name} would get another release than {}", entry.to));
    }
    if let Some(rollback) = &entry.rollback {
        if rollback.steps.iter().any(|step| step.inputs.release != rollback.to.id) {
            out.push(format!("{name} would go back to another release than {}", rollback.to));
        }
        if rollback.to.id == entry.to.id && entry.movement != Movement::Reconfiguration {
            out.push(format!("{name} would go back to the release that it gets"));
        }
    }
    if entry.drill {
        drill_rules(entry, out);
    }
    if entry.attest.iter().any(|step| step.action != Action::Attest) {
        out.push(format!("{name} would do more than tell once it was verified"));
    }
    if back_or_there(entry).any(|step| step.action == Action::Attest) {
        out.push(format!("{name} would tell of what was not verified"));
    }
    artifact_rules(name, &entry.gates, out);
    for gate in entry.gates.iter().filter(|gate| gate.until.is_some()) {
        out.push(format!("{name} carries a forecast: {}", gate.reason));
    }
    let has = |kind: GateKind, outcome: fn(Outcome) -> bool| {
        entry.gates.iter().any(|gate| gate.kind == kind && outcome(gate.outcome))
    };
    if entry.outcome() >= Outcome::Expired {
        out.push(format!("{name} is refused and cannot be in a plan"));
    }
    // S6.9: an approver sees the evidence.
    let deferred = entry.gates.iter().any(|gate| gate.outcome == Outcome::Deferred);
    if deferred && entry.needs_approval() {
        out.push(format!("{name} needs an approval behind a gate that is known only on the way"));
    }
    for kind in [GateKind::Artifact, GateKind::Quarantine, GateKind::Approval, GateKind::Window, GateKind::Lock] {
        if !has(kind, |_| true) {
            let kind = serde_json::to_string(&kind).unwrap_or_default().replace('"', "");
            out.push(format!("{name} was not judged by the gate `{kind}`"));
        }
    }
    // The floors of S0.3, whatever policy and pipeline said.
    if entry.tier == Tier::Production {
        if !entry.needs_approval() {
            out.push(format!("{name} is production and asks nobody"));
        }
        if entry.checks.is_empty() && entry.verdicts.is_empty() {
            out.push(format!("{name} is production and nothing is checked afterwards"));
        }
    }
}
