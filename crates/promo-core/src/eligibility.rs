//! The one function that decides what may go where (S1.1). `plan` forecasts with it, `apply` enforces with it, `why` and
//! `status` show it; nothing else decides eligibility.

mod evidence;
mod soak;
mod standing;
mod verification;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;

pub use soak::{SoakStatus, soak};
pub use standing::{
    Hold, coming_back, failed_half_way, failed_there, half_way, holds, left_half_way, lost_evidence, went_wrong,
};
pub use verification::{CheckStatus, Verification, verification};

use verification::was_good;

use crate::Digest;
use crate::clock::Present;
use crate::gate::{Gate, GateKind, Outcome, Reason, overall};
use crate::graph::Graph;
use crate::ids::{EnvironmentName, ReleaseId};
use crate::ledger::View;
use crate::ledger::event::{Movement, PromotionOutcome};
use crate::ledger::view::Promotion;
use crate::model::{After, ApprovalRule, Arrival, Environment, Pipeline, Tier};
use crate::requirement::{NamedGate, ReleaseEvidence};
use crate::windows::{self, Action, Invoker, Level, Query};

/// The rules in force: the pipeline under its policy.
#[derive(Debug, Clone)]
pub struct Rules<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Its graph.
    pub graph: &'a Graph,
    /// Approval rules by environment: the pipeline's and the policy's, all of which must hold.
    pub approval: &'a BTreeMap<EnvironmentName, Vec<ApprovalRule>>,
    /// Windows by environment and level.
    pub windows: &'a BTreeMap<EnvironmentName, Vec<Level>>,
    /// Gates over evidence by environment: the pipeline's and the policy's, each of which must be open.
    pub gates: &'a BTreeMap<EnvironmentName, Vec<NamedGate>>,
    /// Environments in which policy lets nobody try a way back; production is none for that anyway.
    pub no_drills: &'a BTreeSet<EnvironmentName>,
}

/// What was observed of the artifacts of a release: nothing means that all is as recorded.
pub type ArtifactFindings = BTreeMap<ReleaseId, Vec<Reason>>;

/// What is known of the evidence for releases; of one that is absent nobody has looked.
pub type Evidence = BTreeMap<ReleaseId, ReleaseEvidence>;

/// What was observed of releases outside the ledger's fold.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// What is wrong with the artifacts of what enters, by the tags that it was recorded with.
    pub artifacts: &'a ArtifactFindings,
    /// What is wrong with the artifacts of what comes back, by their digests alone: a tag that moved bars no way back (S10.1).
    pub restored: &'a ArtifactFindings,
    /// What is known of the evidence.
    pub evidence: &'a Evidence,
}

impl Observed<'static> {
    /// Nobody has looked: artifacts are as recorded, and nothing is known of evidence.
    pub const NOTHING: Self =
        Self { artifacts: &BTreeMap::new(), restored: &BTreeMap::new(), evidence: &BTreeMap::new() };
}

/// How the approval rules of an environment stand for one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalStatus {
    /// By rule, in the order of the rules: the identities that fill its slots.
    pub filled: Vec<Vec<String>>,
    /// Who rejected the plan, if somebody eligible did.
    pub rejected_by: Option<String>,
}

/// A promotion to be judged.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Where.
    pub environment: &'a EnvironmentName,
    /// Which release.
    pub release: &'a ReleaseId,
    /// What kind of move.
    pub movement: Movement,
    /// Of a drill: the release that it goes back to before `release`, which is what runs, comes back.
    pub drill: Option<&'a ReleaseId>,
    /// Whether this release was asked for by name: then it may repeat a promotion that was tried before (S3.3).
    pub named: bool,
    /// Whether a target there is not as the ledger says: then what runs may be deployed again by name.
    pub drifted: bool,
    /// Whether this configuration of what runs there was begun before and did not end well ([`configuration_failed`]).
    pub tried: bool,
    /// Who asks.
    pub invoker: Invoker,
    /// Environments that the same plan moves to this release first.
    pub moved_before: &'a BTreeSet<EnvironmentName>,
    /// How its approvals stand; none before there is a plan to approve.
    pub approvals: Option<&'a ApprovalStatus>,
    /// The run that asks, which may act where it is itself under way.
    pub run: Option<&'a crate::ids::RunId>,
}

/// Judges promotions by the same facts, at the same instant. Those are bound to it: what a gate over evidence came to for one
/// environment is what it comes to for all that it is asked about, and is judged once.
#[derive(Debug)]
pub struct Assessor<'a> {
    rules: &'a Rules<'a>,
    view: &'a View,
    observed: Observed<'a>,
    now: Present,
    judged: evidence::Judged<'a>,
}

/// Judges one promotion: every gate, in the order in which they are shown (S1.2).
#[must_use]
pub fn assess(
    rules: &Rules<'_>,
    view: &View,
    observed: Observed<'_>,
    question: &Question<'_>,
    now: impl Into<Present>,
) -> Vec<Gate> {
    Assessor::new(rules, view, observed, now).assess(question)
}

impl<'a> Assessor<'a> {
    /// Whoever judges by these facts.
    pub fn new(rules: &'a Rules<'a>, view: &'a View, observed: Observed<'a>, now: impl Into<Present>) -> Self {
        Self { rules, view, observed, now: now.into(), judged: evidence::Judged::default() }
    }

    /// Judges one promotion, as [`assess`] does.
    #[must_use]
    pub fn assess(&self, question: &Question<'_>) -> Vec<Gate> {
        let &Self { rules, view, observed, now, ref judged } = self;
        let Some(environment) = rules.pipeline.environments.get(question.environment) else { return Vec::new() };
        let mut gates = Vec::new();
        // What runs there already is not barred from coming back (S10.1).
        let comes_back = question.movement == Movement::Rollback || question.drill.is_some();
        let findings = if comes_back { observed.restored } else { observed.artifacts };
        artifact_gates(findings, question, &mut gates);
        if !comes_back {
            evidence::gates(rules, view, (observed.evidence, judged), question, now, &mut gates);
        }
        if let Some(back) = question.drill {
            drill_gates(rules, view, environment, question, &mut gates);
            // What is wrong with where it goes in between stands beside what is found of what runs.
            gates.extend(artifact_findings(findings, back).iter().map(artifact_gate));
            gates.extend(
                quarantined(rules, view, question.environment, back)
                    .map(|reason| gate(GateKind::Quarantine, Outcome::Refused, reason)),
            );
            gates.push(arrival_gate(rules, view, environment, question, now));
        }
        if question.movement == Movement::Promotion {
            gates.push(order_gate(rules, view, question));
            predecessor_gates(rules, view, environment, question, now, &mut gates);
            gates.push(arrival_gate(rules, view, environment, question, now));
        }
        // What failed is not repeated by itself, neither a release nor a configuration of it (S3.3).
        if question.movement == Movement::Reconfiguration && question.tried && !question.named {
            gates.push(gate(GateKind::Order, Outcome::Refused, Reason::ConfigurationTried));
        }
        gates.push(quarantine_gate(rules, view, question));
        if question.movement != Movement::Rollback {
            gates.push(freeze_gate(view, question));
        }
        approval_gates(rules, question, now, &mut gates);
        gates.push(window_gate(rules, question, now));
        gates.push(lock_gate(view, question));
        gates.sort_by_key(|gate| gate.kind);
        gates
    }
}

/// Whether the next wave of an environment that is on its way may begin, where it stops at a closed window (S5.5): freezes
/// and windows. Nothing else is asked of what has begun (S16).
#[must_use]
pub fn between_waves(rules: &Rules<'_>, view: &View, question: &Question<'_>, now: impl Into<Present>) -> Vec<Gate> {
    alloc::vec![freeze_gate(view, question), window_gate(rules, question, now.into())]
}

/// The releases that have entered the ledger, are verified in every required predecessor of an environment with their
/// soak met, and are not quarantined for it: Eligible(E) of S3.1, in lineage order.
#[must_use]
pub fn eligible(rules: &Rules<'_>, view: &View, name: &EnvironmentName, now: impl Into<Present>) -> Vec<ReleaseId> {
    let now = now.into();
    let ids = view.releases.iter().map(|entry| &entry.release.id);
    ids.filter(|id| is_eligible(rules, view, name, id, now)).cloned().collect()
}

/// The release that would enter an environment next (S3.2): the highest eligible one above the present one.
#[must_use]
pub fn candidate(rules: &Rules<'_>, view: &View, name: &EnvironmentName, now: impl Into<Present>) -> Option<ReleaseId> {
    let now = now.into();
    let current = view.current(name).map_or(0, |residence| view.lineage(&residence.release));
    let above = view.releases.iter().rev().take_while(|entry| entry.lineage > current);
    above.map(|entry| &entry.release.id).find(|id| is_eligible(rules, view, name, id, now)).cloned()
}

fn is_eligible(rules: &Rules<'_>, view: &View, name: &EnvironmentName, release: &ReleaseId, now: Present) -> bool {
    rules.pipeline.environments.contains_key(name)
        && view.quarantine(release, name, rules.graph).is_none()
        && overall(&entry_gates(rules, view, name, release, now)).is_open()
}

/// How the predecessors of an environment stand to a release: join and soak, and nothing else.
fn entry_gates(rules: &Rules<'_>, view: &View, name: &EnvironmentName, release: &ReleaseId, now: Present) -> Vec<Gate> {
    let Some(environment) = rules.pipeline.environments.get(name) else { return Vec::new() };
    let question = Question {
        environment: name,
        release,
        movement: Movement::Promotion,
        drill: None,
        named: false,
        drifted: false,
        tried: false,
        invoker: Invoker::Automation,
        moved_before: &BTreeSet::new(),
        approvals: None,
        run: None,
    };
    let mut gates = Vec::new();
    predecessor_gates(rules, view, environment, &question, now, &mut gates);
    gates
}

/// Whether a release was given a configuration in an environment where it ran already, and the last time that was begun did not end
/// verified.
#[must_use]
pub fn configuration_failed(
    view: &View,
    name: &EnvironmentName,
    release: &ReleaseId,
    (files, settings): (&BTreeMap<String, Digest>, &Digest),
) -> bool {
    let history = view.environment(name).into_iter().flat_map(|known| known.history.iter().rev());
    let brought =
        |p: &&Promotion| p.configuration.as_ref().is_some_and(|c| c.files == *files && c.settings == *settings);
    let last = history.filter(|p| p.to == *release).find(brought).and_then(|promotion| promotion.finished);
    last.is_some_and(|(_, outcome)| outcome != PromotionOutcome::Verified)
}

/// The releases that a rollback of an environment could go to, best first (S10.1): lower than the present one, deployed
/// and verified good there by the checks that were asked of it, not quarantined.
pub fn rollback_targets<'a>(
    rules: &'a Rules<'_>,
    view: &'a View,
    name: &'a EnvironmentName,
    below: &ReleaseId,
) -> impl Iterator<Item = &'a ReleaseId> {
    verified_below(rules, view, name, below).filter(move |id| quarantined(rules, view, name, id).is_none())
}

/// The releases below one that were deployed to an environment and verified good there, best first, quarantined or not.
pub(crate) fn verified_below<'a>(
    rules: &'a Rules<'_>,
    view: &'a View,
    name: &'a EnvironmentName,
    below: &ReleaseId,
) -> impl Iterator<Item = &'a ReleaseId> {
    let limit = view.lineage(below);
    let lower = view.releases.iter().rev().skip_while(move |entry| entry.lineage >= limit);
    lower.map(|entry| &entry.release.id).filter(move |id| {
        let environment = rules.pipeline.environments.get(name);
        environment.is_some_and(|environment| was_good(view, name, environment, id))
    })
}

/// The quarantine that bars a release from an environment.
pub(crate) fn quarantined(
    rules: &Rules<'_>,
    view: &View,
    name: &EnvironmentName,
    release: &ReleaseId,
) -> Option<Reason> {
    let (scope, note) = view.quarantine(release, name, rules.graph)?;
    Some(Reason::Quarantined { scope: scope.clone(), automatic: note.automatic, by: note.by.name.clone() })
}

fn gate(kind: GateKind, outcome: Outcome, reason: Reason) -> Gate {
    Gate { kind, outcome, reason, until: None }
}

/// A gate that compares instants, when the time cannot be relied on: it waits, whatever it would say (S12.6).
fn doubtful(kind: GateKind, now: Present) -> Option<Gate> {
    now.doubt.map(|doubt| gate(kind, Outcome::Waiting, doubt.into()))
}

fn artifact_gates(findings: &ArtifactFindings, question: &Question<'_>, gates: &mut Vec<Gate>) {
    match artifact_findings(findings, question.release) {
        [] => gates.push(gate(GateKind::Artifact, Outcome::Satisfied, Reason::ArtifactsAsRecorded)),
        reasons => gates.extend(reasons.iter().map(artifact_gate)),
    }
}

fn artifact_findings<'f>(findings: &'f ArtifactFindings, release: &ReleaseId) -> &'f [Reason] {
    findings.get(release).map(Vec::as_slice).unwrap_or_default()
}

fn artifact_gate(reason: &Reason) -> Gate {
    // Unknown is never satisfied: what cannot be read waits, what is wrong is refused (S1.3).
    let outcome = match reason {
        Reason::ArtifactUnavailable { .. } => Outcome::Waiting,
        _ => Outcome::Refused,
    };
    gate(GateKind::Artifact, outcome, reason.clone())
}

/// Whether a way back may be tried: not in production, nor where policy says so; only from what is verified there, and only
/// where what is live is what was deployed, since nothing else is brought back.
fn drill_gates(
    rules: &Rules<'_>,
    view: &View,
    environment: &Environment,
    question: &Question<'_>,
    gates: &mut Vec<Gate>,
) {
    let (here, tier) = (question.environment, environment.tier);
    let policy = rules.no_drills.contains(here);
    gates.push(if tier == Tier::Production || policy {
        gate(GateKind::Drill, Outcome::Refused, Reason::DrillsRefused { tier, policy: tier != Tier::Production })
    } else {
        gate(GateKind::Drill, Outcome::Satisfied, Reason::DrillsAllowed)
    });
    let (outcome, reason) = verification(view, here, environment, question.release).gate(here);
    gates.push(gate(GateKind::Drill, outcome, reason));
    if question.drifted {
        gates.push(gate(GateKind::Drill, Outcome::Refused, Reason::Drifted));
    }
}

fn order_gate(rules: &Rules<'_>, view: &View, question: &Question<'_>) -> Gate {
    let known = view.environment(question.environment);
    let current = view.current(question.environment).map(|residence| &residence.release);
    // What the asking run has begun itself is not judged by its own traces.
    let own = known.and_then(|e| e.active.as_ref()).is_some_and(|active| Some(&active.run) == question.run);
    let fired = known.is_some_and(|e| e.fired.contains(question.release));
    let (outcome, reason) = match current {
        Some(current) if view.lineage(current) > view.lineage(question.release) => {
            (Outcome::Refused, Reason::Older { current: current.clone() })
        }
        _ if own => (Outcome::Satisfied, Reason::Ahead),
        // Above the present one, and not the present one (S3.2): another configuration of it is no promotion. By name, what
        // went wrong there is done once more (S3.3).
        Some(current) if current == question.release => {
            let wrong = question.drifted || went_wrong(rules, view, question.environment);
            if question.named && wrong {
                (Outcome::Satisfied, Reason::DeployedAgain)
            } else {
                (Outcome::Refused, Reason::UpToDate)
            }
        }
        _ if fired && !question.named => (Outcome::Refused, Reason::TriedBefore),
        _ => (Outcome::Satisfied, Reason::Ahead),
    };
    gate(GateKind::Order, outcome, reason)
}

/// One predecessor: its verification gate and its soak gate, where it has one.
fn member_gates(
    rules: &Rules<'_>,
    view: &View,
    environment: &Environment,
    before: &EnvironmentName,
    question: &Question<'_>,
    now: Present,
) -> Vec<Gate> {
    let required_soak = environment.soak.get(before);
    if question.moved_before.contains(before) {
        let deferred = |kind| gate(kind, Outcome::Deferred, Reason::AfterThisPlan { environment: before.clone() });
        let mut gates = alloc::vec![deferred(GateKind::Predecessor)];
        gates.extend(required_soak.map(|_| deferred(GateKind::Soak)));
        return gates;
    }
    let Some(predecessor) = rules.pipeline.environments.get(before) else { return Vec::new() };
    let verified = verification(view, before, predecessor, question.release);
    let (outcome, reason) = verified.gate(before);
    let mut gates = alloc::vec![gate(GateKind::Predecessor, outcome, reason)];
    if let Some(&required) = required_soak {
        let seconds = required.seconds;
        if let (Some(gate), Some(_)) = (doubtful(GateKind::Soak, now), verified.holds_since) {
            gates.push(gate);
            return gates;
        }
        let status = soak(view, before, question.release, &verified, required, now.at);
        let mut soak = match status {
            SoakStatus::Met { at } => {
                gate(GateKind::Soak, Outcome::Satisfied, Reason::SoakMet { environment: before.clone(), since: at })
            }
            SoakStatus::Running { .. } => {
                gate(GateKind::Soak, Outcome::Waiting, Reason::Soaking { environment: before.clone(), seconds })
            }
            SoakStatus::Stopped => {
                gate(GateKind::Soak, Outcome::Waiting, Reason::SoakStopped { environment: before.clone(), seconds })
            }
        };
        if let SoakStatus::Running { eligible_at } = status {
            soak.until = Some(eligible_at);
        }
        gates.push(soak);
    }
    gates
}

fn predecessor_gates(
    rules: &Rules<'_>,
    view: &View,
    environment: &Environment,
    question: &Question<'_>,
    now: Present,
    gates: &mut Vec<Gate>,
) {
    let members = |of: &BTreeSet<EnvironmentName>| -> Vec<(EnvironmentName, Vec<Gate>)> {
        of.iter().map(|m| (m.clone(), member_gates(rules, view, environment, m, question, now))).collect()
    };
    match &environment.after {
        After::Root => {}
        After::All(of) => gates.extend(members(of).into_iter().flat_map(|(_, gates)| gates)),
        After::AtLeast { at_least, of, always } => {
            let members = members(of);
            let with = |wanted: fn(Outcome) -> bool| -> BTreeSet<EnvironmentName> {
                members.iter().filter(|(_, g)| wanted(overall(g))).map(|(m, _)| m.clone()).collect()
            };
            let met = with(Outcome::is_open);
            let deferred = with(|o| o.is_open() || o == Outcome::Deferred);
            let possible = with(|o| o != Outcome::Refused);
            let enough = |set: &BTreeSet<EnvironmentName>| set.len() >= *at_least as usize && always.is_subset(set);
            let outcome = if enough(&met) {
                Outcome::Satisfied
            } else if enough(&deferred) {
                Outcome::Deferred
            } else if enough(&possible) {
                Outcome::Waiting
            } else {
                Outcome::Refused
            };
            let missing: BTreeSet<_> = always.difference(&met).cloned().collect();
            let until = (outcome == Outcome::Waiting).then(|| join_opens(&members, *at_least, always)).flatten();
            let reason = Reason::Members { met, needed: *at_least, missing };
            gates.push(Gate { kind: GateKind::Join, outcome, reason, until });
            // The members themselves explain a join that is closed; they do not close it.
            if outcome != Outcome::Satisfied {
                gates.extend(
                    members.into_iter().flat_map(|(_, g)| g).filter(|g| g.outcome <= outcome || g.outcome.is_open()),
                );
            }
        }
    }
}

/// When enough members of a join will have met their soak, where the rest of them is verified.
fn join_opens(
    members: &[(EnvironmentName, Vec<Gate>)],
    at_least: u32,
    always: &BTreeSet<EnvironmentName>,
) -> Option<Timestamp> {
    let mut times: Vec<(Timestamp, bool)> = members
        .iter()
        .filter_map(|(name, gates)| {
            if overall(gates).is_open() {
                return Some((Timestamp::MIN, always.contains(name)));
            }
            Some((crate::gate::opens_at(gates)?, always.contains(name)))
        })
        .collect();
    times.sort();
    let by_count = times.get((at_least as usize).checked_sub(1)?)?.0;
    let mandatory = times.iter().filter(|(_, must)| *must);
    if mandatory.clone().count() < always.len() {
        return None;
    }
    mandatory.map(|(at, _)| *at).max().into_iter().chain([by_count]).max()
}

fn quarantine_gate(rules: &Rules<'_>, view: &View, question: &Question<'_>) -> Gate {
    match quarantined(rules, view, question.environment, question.release) {
        None => gate(GateKind::Quarantine, Outcome::Satisfied, Reason::NotQuarantined),
        Some(reason) => gate(GateKind::Quarantine, Outcome::Refused, reason),
    }
}

fn freeze_gate(view: &View, question: &Question<'_>) -> Gate {
    match view.freeze(question.environment) {
        Some(freeze) if !freeze.note.automatic => {
            let reason = Reason::Frozen { by: freeze.note.by.name.clone(), since: freeze.note.at };
            gate(GateKind::Freeze, Outcome::Waiting, reason)
        }
        Some(freeze) if question.invoker == Invoker::Automation => {
            gate(GateKind::Freeze, Outcome::Waiting, Reason::Paused { since: freeze.note.at })
        }
        _ => gate(GateKind::Freeze, Outcome::Satisfied, Reason::NotFrozen),
    }
}

/// Whether the present release is soaking here for a successor that a newer one must not disturb (S4.3).
fn arrival_gate(
    rules: &Rules<'_>,
    view: &View,
    environment: &Environment,
    question: &Question<'_>,
    now: Present,
) -> Gate {
    let here = question.environment;
    let free = gate(GateKind::Arrival, Outcome::Satisfied, Reason::NoSoakDisturbed);
    let Some(current) = view.current(here).map(|r| &r.release) else { return free };
    // A drill is no newer release whose arrival anybody has settled: it waits for every soak that it would begin anew.
    if question.drill.is_none() && (environment.arrival == Arrival::Replace || current == question.release) {
        return free;
    }
    let verified = verification(view, here, environment, current);
    for successor in rules.graph.successors(here) {
        let Some(required) = rules.pipeline.environments[&successor].soak.get(here) else { continue };
        if !may_still_take(rules, view, &successor, current, now) {
            continue;
        }
        if let (Some(gate), Some(_)) = (doubtful(GateKind::Arrival, now), verified.holds_since) {
            return gate;
        }
        if let SoakStatus::Running { eligible_at } = soak(view, here, current, &verified, *required, now.at) {
            let reason = Reason::HoldsForSoak { release: current.clone(), successor };
            return Gate { kind: GateKind::Arrival, outcome: Outcome::Waiting, reason, until: Some(eligible_at) };
        }
    }
    free
}

/// Whether a release that soaks for a successor could still enter it by itself (S4.3): nothing as new runs there, it was
/// not tried there, nothing bars it, and no other predecessor refuses it. What only waits may still open.
fn may_still_take(
    rules: &Rules<'_>,
    view: &View,
    successor: &EnvironmentName,
    release: &ReleaseId,
    now: Present,
) -> bool {
    let has = view.current(successor).is_some_and(|r| view.lineage(&r.release) >= view.lineage(release));
    let tried = view.environment(successor).is_some_and(|e| e.fired.contains(release));
    if has || tried || view.quarantine(release, successor, rules.graph).is_some() {
        return false;
    }
    overall(&entry_gates(rules, view, successor, release, now)) != Outcome::Refused
}

fn approval_gates(rules: &Rules<'_>, question: &Question<'_>, now: Present, gates: &mut Vec<Gate>) {
    let rules = rules.approval.get(question.environment).map_or(&[][..], Vec::as_slice);
    if rules.is_empty() {
        gates.push(gate(GateKind::Approval, Outcome::Satisfied, Reason::NoApprovalNeeded));
        return;
    }
    if let Some(by) = question.approvals.and_then(|a| a.rejected_by.as_ref()) {
        let reason = Reason::ApprovalRejected { by: by.clone() };
        gates.push(gate(GateKind::Approval, Outcome::Refused, reason));
    }
    for (index, rule) in rules.iter().enumerate() {
        let by = question.approvals.and_then(|a| a.filled.get(index)).cloned().unwrap_or_default();
        let outcome = if by.len() >= rule.count as usize { Outcome::Satisfied } else { Outcome::Waiting };
        // Whether a statement is still valid, or already, is a matter of time.
        if let (Some(gate), Outcome::Satisfied) = (doubtful(GateKind::Approval, now), outcome) {
            gates.push(gate);
            continue;
        }
        let reason = Reason::Approvals {
            rule: index as u32 + 1,
            by,
            needed: rule.count,
            from: rule.from.clone(),
            exclude: rule.exclude.clone(),
        };
        gates.push(gate(GateKind::Approval, outcome, reason));
    }
}

fn window_gate(rules: &Rules<'_>, question: &Question<'_>, now: Present) -> Gate {
    let open = gate(GateKind::Window, Outcome::Satisfied, Reason::WindowOpen);
    let Some(levels) = rules.windows.get(question.environment) else { return open };
    let artifacts = window_artifacts(rules);
    let action = window_action(question.movement);
    let query =
        Query { environment: question.environment.as_str(), artifacts: &artifacts, action, invoker: question.invoker };
    if let Some(gate) = doubtful(GateKind::Window, now).filter(|_| windows::bound(levels, &query)) {
        return gate;
    }
    let answer = windows::evaluate(levels, &query, now.at);
    if answer.is_open() {
        return open;
    }
    let reason = if answer.denies.is_empty() {
        let mut windows: Vec<String> = answer.closed.iter().flat_map(|c| c.windows.iter().cloned()).collect();
        windows.sort();
        windows.dedup();
        Reason::OutsideWindows { windows }
    } else {
        Reason::WindowDenies {
            windows: answer.denies.iter().map(|d| d.window.to_string()).collect(),
            hard: answer.denies.iter().any(|d| d.severity == windows::Severity::Hard),
        }
    };
    // What comes back is waited for; what does not open any more is not a matter of time.
    let over = answer.next_change.is_none() && answer.denies.is_empty() && windows::over(levels, &query, now.at);
    let outcome = if over { Outcome::Refused } else { Outcome::Waiting };
    Gate { kind: GateKind::Window, outcome, reason, until: answer.next_change }
}

/// A reconfiguration moves no artifact, but deploys all of them again: a window for one of them is about it too.
fn window_artifacts<'a>(rules: &Rules<'a>) -> Vec<&'a str> {
    rules.pipeline.artifacts.keys().map(crate::ids::ArtifactName::as_str).collect()
}

const fn window_action(movement: Movement) -> Action {
    match movement {
        Movement::Promotion | Movement::Reconfiguration => Action::Promote,
        Movement::Rollback => Action::Rollback,
    }
}

/// When the window of an environment that is open at an instant closes; none where it is closed, and where it stays open.
/// A forecast, as what a gate says of its opening.
#[must_use]
pub fn window_closes(
    rules: &Rules<'_>,
    environment: &EnvironmentName,
    movement: Movement,
    invoker: Invoker,
    at: Timestamp,
) -> Option<Timestamp> {
    let levels = rules.windows.get(environment)?;
    let artifacts = window_artifacts(rules);
    let query =
        Query { environment: environment.as_str(), artifacts: &artifacts, action: window_action(movement), invoker };
    let answer = windows::evaluate(levels, &query, at);
    answer.next_change.filter(|_| answer.is_open())
}

fn lock_gate(view: &View, question: &Question<'_>) -> Gate {
    let idle = gate(GateKind::Lock, Outcome::Satisfied, Reason::Idle);
    let Some(environment) = view.environment(question.environment) else { return idle };
    if let Some(active) = &environment.active {
        if question.run == Some(&active.run) {
            return idle;
        }
        let reason = Reason::Busy { run: active.run.clone(), release: active.to.clone() };
        return gate(GateKind::Lock, Outcome::Waiting, reason);
    }
    // A person has to look at what was held: they promote by name, roll back, or lift it; automation waits (S9.6), and
    // nobody tries anything there meanwhile.
    let held = environment
        .last_effective()
        .filter(|p| matches!(p.finished, Some((_, PromotionOutcome::Held | PromotionOutcome::Stuck))))
        .filter(|_| question.invoker == Invoker::Automation || question.drill.is_some());
    match held {
        Some(promotion) => {
            let reason = Reason::Held { run: promotion.run.clone(), release: promotion.to.clone() };
            gate(GateKind::Lock, Outcome::Waiting, reason)
        }
        None => idle,
    }
}
