//! Gates over evidence: one for each gate and artifact that it is about. What must not live here: what a requirement is met by
//! ([`crate::requirement`]), and where evidence comes from.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Evidence, Question, Rules, doubtful, gate};
use crate::clock::Present;
use crate::gate::{Evidenced, Gate, GateKind, Outcome, Reason};
use crate::ids::{ArtifactName, ReleaseId};
use crate::ledger::View;
use crate::model::{ArtifactKind, Pipeline};
use crate::requirement::{Assessment, Before, NamedGate, Piece, ReleaseEvidence, Requirement, Subject};

/// Adds how every gate of the environment stands.
pub(super) fn gates(
    rules: &Rules<'_>,
    view: &View,
    evidence: &Evidence,
    question: &Question<'_>,
    now: Present,
    gates: &mut Vec<Gate>,
) {
    let known = evidence.get(question.release);
    for named in rules.gates.get(question.environment).into_iter().flatten() {
        for artifact in about(named, rules.pipeline, known) {
            // What a build said is known also where nobody has looked into what it made.
            if let Requirement::Metadata(metadata) = &named.gate.requirement {
                let came_to = known.map(|known| metadata.assess(known.said(artifact), known.contradicted(artifact)));
                gates.push(judged(GateKind::Metadata, named, artifact, came_to.as_ref(), [known, None]));
                continue;
            }
            let before = before(view, evidence, question, artifact);
            let came_to = known.and_then(|known| named.gate.judge(artifact, known, before, now.at));
            let before = match before {
                Before::Known(before) => Some(before),
                Before::First | Before::Unknown => None,
            };
            let judged = judged(GateKind::Evidence, named, artifact, came_to.as_ref(), [known, before]);
            // Ages are compared with the time: where that cannot be relied on, nothing is known to be young enough (S12.6).
            gates.push(match (judged.outcome, doubtful(GateKind::Evidence, now)) {
                (Outcome::Satisfied | Outcome::Expired, Some(waits)) => waits,
                _ => judged,
            });
        }
    }
}

/// What an artifact is compared with: what runs there. The first of it that comes to an environment has nothing to be compared with, and no
/// evidence could change that: to wait for some would bar it for ever.
fn before<'a>(view: &View, evidence: &'a Evidence, question: &Question<'_>, artifact: &ArtifactName) -> Before<'a> {
    let has = |release: &ReleaseId| {
        view.release(release).is_some_and(|entry| entry.release.content.components.contains_key(artifact))
    };
    let residences = view.environment(question.environment).map(|here| here.residences.as_slice()).unwrap_or_default();
    match residences.last() {
        Some(here) if residences.iter().any(|one| has(&one.release)) => {
            evidence.get(&here.release).map_or(Before::Unknown, Before::Known)
        }
        _ => Before::First,
    }
}

fn judged(
    kind: GateKind,
    named: &NamedGate,
    artifact: &ArtifactName,
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
            Evidenced::new(named, Some(artifact), came_to, &pieces).outcome(came_to.standing())
        }
        None => {
            let (gate, artifact) = (named.name.clone(), Some(artifact.clone()));
            (Outcome::Waiting, Reason::EvidenceNotLooked { gate, artifact })
        }
    };
    gate(kind, outcome, reason)
}

/// The artifacts that a gate is about: those that it names, else every image, and where there is none everything. What a pipeline declares
/// as an image counts as one, and so does what its registry shows to be one, whatever the pipeline calls it: else whoever writes the
/// pipeline would choose of what policy asks. What nobody has looked into may be one.
fn about<'a>(
    named: &'a NamedGate,
    pipeline: &'a Pipeline,
    known: Option<&ReleaseEvidence>,
) -> BTreeSet<&'a ArtifactName> {
    let all = || pipeline.artifacts.iter();
    let is_one = |name: &ArtifactName| known.and_then(|known| known.subjects.get(name)).is_none_or(Subject::is_image);
    let images =
        || all().filter(|(name, declared)| declared.kind == ArtifactKind::Image || is_one(name)).map(|(name, _)| name);
    match named.gate.artifacts.is_empty() {
        // One that this pipeline does not have: nothing of it can be judged, and nothing of it is passed over.
        false => named.gate.artifacts.iter().collect(),
        true if images().next().is_some() => images().collect(),
        true => all().map(|(name, _)| name).collect(),
    }
}
