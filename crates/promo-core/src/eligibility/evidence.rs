//! Gates over evidence: one for each gate and artifact that it is about. What must not live here: what a requirement is met by
//! ([`crate::requirement`]), and where evidence comes from.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::{Evidence, Question, Rules, doubtful, gate};
use crate::clock::Present;
use crate::gate::{Evidenced, Gate, GateKind, Outcome, Reason};
use crate::ids::{ArtifactName, ReleaseId};
use crate::ledger::View;
use crate::model::{ArtifactKind, Pipeline};
use crate::requirement::need::CREATED;
use crate::requirement::{Assessment, Before, NamedGate, Nature, Piece, ReleaseEvidence, Requirement};

/// How gates stood for the artifacts of releases, by the same facts at the same instant: both have to stay the same while it lives.
#[derive(Debug, Default)]
pub(super) struct Judged<'a>(RefCell<BTreeMap<About<'a>, Vec<(&'a NamedGate, Gate)>>>);

/// Of what a gate was judged: a release, an artifact of it, and what it is compared with.
type About<'a> = (ReleaseId, &'a ArtifactName, Baseline<'a>);

/// With what an artifact is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Baseline<'a> {
    /// The gate compares nothing.
    None,
    /// Nothing of it ever ran there.
    First,
    /// What runs there.
    Release(&'a ReleaseId),
}

impl<'a> Judged<'a> {
    /// How a gate stands for this, judged where it was not yet. Environments may state different gates by one name: only an equal one
    /// stands alike.
    fn of(&self, named: &'a NamedGate, about: About<'a>, judge: impl FnOnce() -> Gate) -> Gate {
        let known = self.0.borrow().get(&about).and_then(|all| all.iter().find(|(gate, _)| *gate == named).cloned());
        if let Some((_, gate)) = known {
            return gate;
        }
        let gate = judge();
        self.0.borrow_mut().entry(about).or_default().push((named, gate.clone()));
        gate
    }
}

/// Adds how every gate of the environment stands.
pub(super) fn gates<'a>(
    rules: &'a Rules<'a>,
    view: &'a View,
    (evidence, judged): (&'a Evidence, &Judged<'a>),
    question: &Question<'_>,
    now: Present,
    gates: &mut Vec<Gate>,
) {
    let known = evidence.get(question.release);
    for named in rules.gates.get(question.environment).into_iter().flatten() {
        for artifact in about(named, rules.pipeline, known) {
            let baseline = baseline(named, view, question, artifact);
            let repository =
                view.release(question.release).and_then(|entry| entry.release.sources.get(artifact)?.split('@').next());
            let judge = || stands(named, (artifact, repository), known, (baseline, evidence), now);
            gates.push(judged.of(named, (question.release.clone(), artifact, baseline), judge));
        }
    }
}

/// How one gate stands for an artifact.
fn stands(
    named: &NamedGate,
    about: (&ArtifactName, Option<&str>),
    known: Option<&ReleaseEvidence>,
    (baseline, evidence): (Baseline<'_>, &Evidence),
    now: Present,
) -> Gate {
    let (artifact, _) = about;
    // What a build said is known also where nobody has looked into what it made.
    if let Requirement::Metadata(metadata) = &named.gate.requirement {
        let came_to = known.and_then(|known| named.gate.judge_said(artifact, known, now.at));
        let judged = judged(GateKind::Metadata, named, about, came_to.as_ref(), [known, None]);
        // That it was made in the future is known by the time alone.
        return match (judged.outcome, doubtful(GateKind::Metadata, now)) {
            (Outcome::Satisfied, Some(waits)) if metadata.keys.contains(CREATED) => waits,
            _ => judged,
        };
    }
    let there = match baseline {
        Baseline::Release(here) => evidence.get(here),
        Baseline::None | Baseline::First => None,
    };
    let before = match (baseline, there) {
        (_, Some(there)) => Before::Known(there),
        (Baseline::Release(_), None) => Before::Unknown,
        (Baseline::None | Baseline::First, None) => Before::First,
    };
    let came_to = known.and_then(|known| named.gate.judge(artifact, known, before, now.at));
    let judged = judged(GateKind::Evidence, named, about, came_to.as_ref(), [known, there]);
    // Ages are compared with the time: where that cannot be relied on, nothing is known to be young enough (S12.6).
    match (judged.outcome, doubtful(GateKind::Evidence, now)) {
        (Outcome::Satisfied | Outcome::Expired, Some(waits)) => waits,
        _ => judged,
    }
}

/// What an artifact is compared with: what runs there. The first of it that comes to an environment has nothing to be compared with, and no
/// evidence could change that: to wait for some would bar it for ever.
fn baseline<'a>(named: &NamedGate, view: &'a View, question: &Question<'_>, artifact: &ArtifactName) -> Baseline<'a> {
    if !named.gate.requirement.compares() {
        return Baseline::None;
    }
    let has = |release: &ReleaseId| {
        view.release(release).is_some_and(|entry| entry.release.content.components.contains_key(artifact))
    };
    let residences = view.environment(question.environment).map(|here| here.residences.as_slice()).unwrap_or_default();
    match residences.last() {
        Some(here) if residences.iter().any(|one| has(&one.release)) => Baseline::Release(&here.release),
        _ => Baseline::First,
    }
}

fn judged(
    kind: GateKind,
    named: &NamedGate,
    about: (&ArtifactName, Option<&str>),
    came_to: Option<&Assessment>,
    known: [Option<&ReleaseEvidence>; 2],
) -> Gate {
    let (outcome, reason) = match came_to {
        Some(came_to) => {
            let known = || known.into_iter().flatten();
            let pieces = known().flat_map(|known| &known.pieces);
            let withdrawn = known().flat_map(|known| &known.withdrawn).map(|(piece, ..)| piece);
            let contested = known().flat_map(|known| &known.contested).map(|(piece, _)| piece);
            let pieces: Vec<&Piece> = pieces.chain(withdrawn).chain(contested).collect();
            Evidenced::new(named, Some(about), came_to, &pieces).outcome(came_to.standing())
        }
        None => {
            let (gate, artifact) = (named.name.clone(), Some(about.0.clone()));
            (Outcome::Waiting, Reason::EvidenceNotLooked { gate, artifact })
        }
    };
    gate(kind, outcome, reason)
}

/// The artifacts that a gate is about: those that it names, or of the kinds that it names, else every image, and where there is none
/// everything. What a pipeline declares as something counts as that, and so does what its registry shows to be one, whatever the pipeline
/// calls it: else whoever writes the pipeline would choose of what policy asks. What nobody has looked into may be anything.
fn about<'a>(
    named: &'a NamedGate,
    pipeline: &'a Pipeline,
    known: Option<&ReleaseEvidence>,
) -> BTreeSet<&'a ArtifactName> {
    let all = || pipeline.artifacts.iter();
    let shown = |name: &ArtifactName| known.and_then(|known| known.subjects.get(name)?.nature);
    let of = |kind: Nature| {
        all().filter(move |(name, declared)| {
            let declared = match declared.kind {
                ArtifactKind::Image => Nature::Image,
                ArtifactKind::Chart => Nature::Chart,
            };
            declared == kind || shown(name).is_none_or(|shown| shown == kind)
        })
    };
    if !named.gate.kinds.is_empty() {
        return named.gate.kinds.iter().flat_map(|kind| of(*kind)).map(|(name, _)| name).collect();
    }
    let images = || of(Nature::Image).map(|(name, _)| name);
    match named.gate.artifacts.is_empty() {
        // One that this pipeline does not have: nothing of it can be judged, and nothing of it is passed over.
        false => named.gate.artifacts.iter().collect(),
        true if images().next().is_some() => images().collect(),
        true => all().map(|(name, _)| name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::requirement::{BillRequirement, EvidenceGate};

    fn named(name: &str, least: u64) -> NamedGate {
        let requirement = Requirement::Sbom(BillRequirement { least, ..BillRequirement::default() });
        let gate = EvidenceGate {
            artifacts: BTreeSet::new(),
            kinds: BTreeSet::new(),
            requirement,
            by: BTreeMap::new(),
            exceptions: Vec::new(),
        };
        NamedGate { name: name.parse().unwrap(), policy: false, gate }
    }

    #[test]
    fn a_gate_is_judged_once_for_what_is_the_same_in_all_that_it_depends_on() {
        let (bill, again, other) = (named("bill", 1), named("bill", 1), named("bill", 2));
        let stricter = NamedGate { policy: true, ..bill.clone() };
        let [app, web] = ["app", "web"].map(|name| name.parse::<ArtifactName>().unwrap());
        let [one, two] = ["r-000000000001", "r-000000000002"].map(|id| id.parse::<ReleaseId>().unwrap());
        let (judged, times) = (Judged::default(), Cell::new(0));
        let asked = |gate, release: &ReleaseId, artifact, baseline| {
            let before = times.get();
            let judge = || {
                times.set(before + 1);
                super::gate(GateKind::Evidence, Outcome::Satisfied, Reason::NotFrozen)
            };
            judged.of(gate, (release.clone(), artifact, baseline), judge);
            times.get() > before
        };
        assert!(asked(&bill, &one, &app, Baseline::None));
        for known in [&bill, &again] {
            assert!(!asked(known, &one, &app, Baseline::None), "an equal gate, stated anywhere");
        }
        assert!(asked(&other, &one, &app, Baseline::None), "another gate of that name");
        assert!(asked(&stricter, &one, &app, Baseline::None), "that of the policy");
        assert!(asked(&bill, &two, &app, Baseline::None), "another release");
        assert!(asked(&bill, &one, &web, Baseline::None), "another artifact");
        assert!(asked(&bill, &one, &app, Baseline::First), "compared with nothing that was there");
        assert!(asked(&bill, &one, &app, Baseline::Release(&one)), "and with what is there");
        assert!(asked(&bill, &one, &app, Baseline::Release(&two)), "or something else");
        assert!(!asked(&again, &one, &app, Baseline::Release(&two)));
    }
}
