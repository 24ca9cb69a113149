//! Which release goes where, as what kind of move, and why the rest stays. What must not be here: gates, which are the
//! eligibility function's, and what a move is made of.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{DeploymentSettings, Draft, Planner, Selection, drift};
use crate::eligibility::{self, Question};
use crate::gate::{Gate, GateKind, Outcome, Reason, overall};
use crate::ids::{EnvironmentName, ReleaseId};
use crate::ledger::event::Movement;
use crate::model::Start;
use crate::plan::{Next, Stay, StayReason};

/// A release that was judged for an environment.
enum Placed {
    Moves(Box<Draft>),
    Stays(Box<Stay>),
}

impl Selection {
    fn add(&mut self, placed: Placed) {
        match placed {
            Placed::Moves(draft) => self.moves.push(*draft),
            Placed::Stays(stay) => self.stays.push(*stay),
        }
    }
}

impl Planner<'_> {
    /// Whether an environment was asked for. Planning again at apply looks only at what the plan moves: what has become
    /// possible elsewhere since is no concern of it.
    fn wanted(&self, name: &EnvironmentName) -> bool {
        let asked = &self.input.request.environments;
        (asked.is_empty() || asked.contains(name)) && self.input.pinned.is_none_or(|pinned| pinned.contains_key(name))
    }

    /// Every environment on its own, by what is verified now.
    pub(super) fn hops(&self) -> Selection {
        let mut out = Selection::default();
        let nothing = BTreeSet::new();
        for name in self.input.rules.graph.topological().iter().filter(|n| self.wanted(n)) {
            let asked = self.pinned(name).or_else(|| self.input.request.release.clone());
            let placed = match asked {
                Some(asked) => self.enter(name, &asked, &nothing),
                None => self.enter_or_reconfigure(name),
            };
            out.add(placed.unwrap_or_else(|| Placed::Stays(Box::new(self.nothing_for(name)))));
        }
        out
    }

    /// One release through every environment on the way to `until`; gates behind an earlier move are deferred.
    pub(super) fn chain(&self, until: &EnvironmentName) -> Selection {
        let mut out = Selection::default();
        let graph = self.input.rules.graph;
        let mut way = graph.ancestors(until);
        way.insert(until.clone());
        let release = self.input.request.release.clone().or_else(|| self.chain_release(&way));
        let mut moved = BTreeSet::new();
        // What was asked for of the way is all of it, unless a part of it cannot be looked at.
        let asked = &self.input.request.environments;
        let wanted = |name: &&EnvironmentName| way.contains(*name) && (asked.is_empty() || asked.contains(*name));
        for name in graph.topological().iter().filter(wanted) {
            let release = self.pinned(name).or_else(|| release.clone());
            let placed = release.and_then(|release| self.enter(name, &release, &moved));
            if let Some(Placed::Moves(_)) = &placed {
                moved.insert(name.clone());
            }
            out.add(placed.unwrap_or_else(|| Placed::Stays(Box::new(self.nothing_for(name)))));
        }
        out
    }

    /// The newest release that is not barred from any environment on the way.
    fn chain_release(&self, way: &BTreeSet<EnvironmentName>) -> Option<ReleaseId> {
        let (view, graph) = (self.input.view, self.input.rules.graph);
        let free = |id: &ReleaseId| way.iter().all(|name| view.quarantine(id, name, graph).is_none());
        view.releases.iter().rev().map(|entry| &entry.release.id).find(|id| free(id)).cloned()
    }

    /// Every environment back to an earlier release; in a drill only for as long as it takes to see that it works.
    pub(super) fn rollbacks(&self) -> Selection {
        let mut out = Selection::default();
        let (nothing, drill) = (BTreeSet::new(), self.input.request.drill);
        for name in self.input.rules.graph.topological().iter().filter(|n| self.wanted(n)) {
            let current = self.input.view.current(name).map(|r| r.release.clone());
            let target = current.as_ref().and_then(|current| self.way_back_of(name, current));
            // What cannot be put back as it was deployed is not left.
            let target =
                target.filter(|_| !drill || current.as_ref().is_some_and(|id| self.recorded(name, id).is_some()));
            match (current, target) {
                (Some(current), Some(back)) if drill => out.add(self.place_drill(name, &current, &back)),
                (_, Some(release)) => out.add(self.place(name, &release, Movement::Rollback, &nothing)),
                (_, None) => out.stays.push(self.stay(name, StayReason::NoRollbackTarget, None)),
            }
        }
        out
    }

    /// Where an environment goes back to from what runs there: what was asked for, or the best that is free.
    fn way_back_of(&self, name: &EnvironmentName, current: &ReleaseId) -> Option<ReleaseId> {
        let (rules, view) = (&self.input.rules, self.input.view);
        // What came half-way is gone back from to what was there before it. Nothing is tried out from there.
        // So is what is under way, once its run has come to an end: until then it is busy.
        let half = !self.input.request.drill
            && (eligibility::left_half_way(rules, view, name) || eligibility::half_way(rules, view, name));
        let before = half.then(|| view.current(name).map(|residence| &residence.release)).flatten();
        let mut targets = before
            .into_iter()
            .chain(eligibility::rollback_targets(rules, view, name, current))
            .filter(|id| self.recorded(name, id).is_some())
            .peekable();
        match self.pinned(name).or_else(|| self.input.request.release.clone()) {
            Some(asked) => targets.find(|id| **id == asked).cloned(),
            None => {
                let best = targets.peek().copied().cloned();
                // Where none is free, the best is shown with what bars it.
                targets.find(|id| self.no_way_back(name, id, Movement::Rollback).is_none()).cloned().or(best)
            }
        }
    }

    /// A drill from what runs to `back` and to what runs again. What it is made from is on record: of the working tree nothing
    /// is asked.
    fn place_drill(&self, name: &EnvironmentName, current: &ReleaseId, back: &ReleaseId) -> Placed {
        let observations = &self.input.observations;
        let found = [current, back].into_iter().flat_map(|release| {
            let place = (name.clone(), release.clone());
            [observations.destinations.get(&place), observations.checks.get(&place)]
        });
        let found = found.flatten().flatten().cloned();
        // There, and back again: what runs may stand elsewhere than it could be deployed to by now.
        let barred = self
            .no_way_back(name, back, Movement::Rollback)
            .or_else(|| self.no_way_back(name, current, Movement::Promotion));
        let refusals: Vec<Reason> = found.chain(barred).collect();
        self.file(name, (current, Some(back)), Movement::Reconfiguration, &BTreeSet::new(), refusals)
    }

    fn pinned(&self, name: &EnvironmentName) -> Option<ReleaseId> {
        self.input.pinned.and_then(|pinned| pinned.get(name)).cloned()
    }

    /// The release that would enter an environment next, or the newest one that is on its way there.
    fn next_for(&self, name: &EnvironmentName) -> Option<ReleaseId> {
        let (rules, view) = (&self.input.rules, self.input.view);
        eligibility::candidate(rules, view, name, self.input.now).or_else(|| self.arriving(name))
    }

    /// The newest release that stands in a predecessor, or in the ledger for a root, and is ahead of what runs.
    fn arriving(&self, name: &EnvironmentName) -> Option<ReleaseId> {
        let view = self.input.view;
        let current = view.current(name).map_or(0, |r| view.lineage(&r.release));
        let before = self.input.rules.graph.predecessors(name);
        view.releases
            .iter()
            .rev()
            .take_while(|entry| entry.lineage > current)
            .map(|entry| &entry.release.id)
            .find(|id| {
                before.is_empty()
                    || before
                        .iter()
                        .any(|b| view.environment(b).is_some_and(|e| e.residences.iter().any(|r| r.release == **id)))
            })
            .cloned()
    }

    /// Judges a release for an environment; nothing where there is nothing to do about it.
    fn enter(&self, name: &EnvironmentName, release: &ReleaseId, moved: &BTreeSet<EnvironmentName>) -> Option<Placed> {
        let current = self.input.view.current(name).map(|r| &r.release);
        let movement = if current != Some(release) {
            Movement::Promotion
        } else if self.reconfigured(name) {
            Movement::Reconfiguration
        } else if self.input.request.by_name() && self.repeatable(name) {
            Movement::Promotion
        } else {
            return None;
        };
        Some(self.place(name, release, movement, moved))
    }

    /// The next release enters; where it cannot be in the plan, what runs gets the environment's own files of now, so that
    /// a newer release that is held back or refused does not hide a change of them (S0.4). It is told beside that.
    fn enter_or_reconfigure(&self, name: &EnvironmentName) -> Option<Placed> {
        let nothing = BTreeSet::new();
        let newer = match self.next_for(name).and_then(|release| self.enter(name, &release, &nothing)) {
            Some(Placed::Stays(stay)) => Some(stay),
            None => None,
            moves => return moves,
        };
        let current = self.input.view.current(name).filter(|_| self.reconfigured(name));
        let own = current.map(|current| self.place(name, &current.release, Movement::Reconfiguration, &nothing));
        match (own, newer) {
            (Some(Placed::Moves(mut draft)), Some(newer)) => {
                draft.head.newer = newer.next;
                Some(Placed::Moves(draft))
            }
            // What is to be had by asking or by waiting is told before what is not to be had at all.
            (Some(Placed::Stays(own)), Some(newer))
                if newer.why == StayReason::Refused && own.why != StayReason::Refused =>
            {
                Some(Placed::Stays(Box::new(Stay { newer: newer.next, ..*own })))
            }
            (_, Some(newer)) => Some(Placed::Stays(newer)),
            (own, None) => own,
        }
    }

    /// Whether the environment's own files or settings are others than those that were deployed.
    pub(super) fn reconfigured(&self, name: &EnvironmentName) -> bool {
        let Some(current) = self.input.view.current(name) else { return false };
        let Some(environment) = self.input.rules.pipeline.environments.get(name) else { return false };
        let (files, missing) = self.deployment_files(environment, &current.release);
        let same = files == current.files && DeploymentSettings::of(environment).digest() == current.settings;
        !same && missing.is_empty()
    }

    /// Whether the environment's files and settings of now failed there with what runs.
    pub(super) fn tried(&self, name: &EnvironmentName, release: &ReleaseId) -> bool {
        let Some(environment) = self.input.rules.pipeline.environments.get(name) else { return false };
        let (files, _) = self.deployment_files(environment, release);
        let settings = DeploymentSettings::of(environment).digest();
        eligibility::configuration_failed(self.input.view, name, release, (&files, &settings))
    }

    /// Whether asking for what runs there by name deploys it again (S3.3).
    fn repeatable(&self, name: &EnvironmentName) -> bool {
        let (rules, view) = (&self.input.rules, self.input.view);
        eligibility::went_wrong(rules, view, name) || !drift(view, self.input.observations, name).is_empty()
    }

    /// Judges a release for an environment and files it under moves or stays.
    fn place(
        &self,
        name: &EnvironmentName,
        release: &ReleaseId,
        movement: Movement,
        moved: &BTreeSet<EnvironmentName>,
    ) -> Placed {
        let observations = self.input.observations;
        let environment = &self.input.rules.pipeline.environments[name];
        let (_, missing) = self.deployment_files(environment, release);
        let place = (name.clone(), release.clone());
        let taken = observations.destinations.get(&place);
        let unasked = observations.checks.get(&place);
        let refusals = missing.into_iter().map(|path| Reason::FileNotInRelease { path });
        let barred = (movement == Movement::Rollback).then(|| self.no_way_back(name, release, movement)).flatten();
        let taken = taken.into_iter().chain(unasked).flatten().cloned().chain(barred);
        self.file(name, (release, None), movement, moved, refusals.chain(taken).collect())
    }

    /// The same with what was found against it; `drill` is where a drill goes back to.
    fn file(
        &self,
        name: &EnvironmentName,
        (release, drill): (&ReleaseId, Option<&ReleaseId>),
        movement: Movement,
        moved: &BTreeSet<EnvironmentName>,
        refusals: Vec<Reason>,
    ) -> Placed {
        let input = self.input;
        let environment = &input.rules.pipeline.environments[name];
        let request = input.request;
        let question = Question {
            environment: name,
            release,
            movement,
            drill,
            named: request.by_name(),
            drifted: !drift(input.view, input.observations, name).is_empty(),
            tried: self.tried(name, release),
            invoker: request.invoker,
            moved_before: moved,
            approvals: None,
            run: None,
        };
        let mut gates = self.assessor.assess(&question);
        gates.extend(refusals.into_iter().map(|reason| Gate {
            kind: GateKind::Artifact,
            outcome: Outcome::Refused,
            reason,
            until: None,
        }));
        gates.sort_by_key(|gate| gate.kind);
        let outcome = overall(&gates);
        let approval = gates.iter().any(|g| g.kind == GateKind::Approval && !g.outcome.is_open());
        let deferred = gates.iter().any(|g| g.outcome == Outcome::Deferred);
        // What may be in a plan: every gate open, known on the way, or waiting for what a reviewed plan waits for.
        let can_wait = gates.iter().all(|g| {
            g.outcome < Outcome::Waiting
                || (g.outcome == Outcome::Waiting && matches!(g.kind, GateKind::Approval | GateKind::Window))
        });
        let gates = without_forecasts(gates);
        let why = if outcome >= Outcome::Expired {
            StayReason::Refused
        } else if approval && deferred {
            StayReason::ApprovalBehindDeferred
        } else if !can_wait {
            StayReason::HeldBack
        } else if environment.start == Start::Manual && !request.asks_for(name) {
            StayReason::StartsByRequest
        } else {
            let draft = self.draft(name, environment, (release, drill), movement, moved, gates);
            return Placed::Moves(Box::new(draft));
        };
        let release = self.reference(drill.unwrap_or(release));
        Placed::Stays(Box::new(self.stay(name, why, Some(Next { release, gates }))))
    }

    /// Why an environment for which there is nothing stays as it is.
    fn nothing_for(&self, name: &EnvironmentName) -> Stay {
        let view = self.input.view;
        let why = if view.releases.is_empty() {
            StayReason::NoReleases
        } else if view.current(name).is_some() {
            StayReason::UpToDate
        } else {
            StayReason::NothingArrived
        };
        self.stay(name, why, None)
    }

    fn stay(&self, name: &EnvironmentName, why: StayReason, next: Option<Next>) -> Stay {
        Stay {
            environment: name.clone(),
            tier: self.input.rules.pipeline.environments[name].tier,
            current: self.input.view.current(name).map(|r| self.reference(&r.release)),
            next,
            newer: None,
            why,
            drift: drift(self.input.view, self.input.observations, name),
        }
    }
}

fn without_forecasts(mut gates: Vec<Gate>) -> Vec<Gate> {
    for gate in &mut gates {
        gate.until = None;
    }
    gates
}
