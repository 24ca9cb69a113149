//! Gates over evidence: one for each gate and artifact that it is about. What must not live here: what a requirement is met by
//! ([`crate::requirement`]), and where evidence comes from.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Evidence, Question, Rules, doubtful, gate};
use crate::clock::Present;
use crate::gate::{Evidenced, Gate, GateKind, Outcome, Reason};
use crate::ids::ArtifactName;
use crate::ledger::View;
use crate::model::{ArtifactKind, Pipeline};
use crate::requirement::{Assessment, NamedGate, ReleaseEvidence, Requirement, Subject};

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
    let baseline = view.current(question.environment).and_then(|here| evidence.get(&here.release));
    for named in rules.gates.get(question.environment).into_iter().flatten() {
        if let Requirement::Metadata(metadata) = &named.gate.requirement {
            let came_to = known.map(|known| metadata.assess(&known.metadata));
            gates.push(judged(GateKind::Metadata, named, None, came_to.as_ref(), known));
            continue;
        }
        for artifact in about(named, rules.pipeline, known) {
            let came_to = known.and_then(|known| named.gate.judge(artifact, known, baseline, now.at));
            let judged = judged(GateKind::Evidence, named, Some(artifact), came_to.as_ref(), known);
            // Ages are compared with the time: where that cannot be relied on, nothing is known to be young enough (S12.6).
            gates.push(match (judged.outcome, doubtful(GateKind::Evidence, now)) {
                (Outcome::Satisfied | Outcome::Expired, Some(waits)) => waits,
                _ => judged,
            });
        }
    }
}

fn judged(
    kind: GateKind,
    named: &NamedGate,
    artifact: Option<&ArtifactName>,
    came_to: Option<&Assessment>,
    known: Option<&ReleaseEvidence>,
) -> Gate {
    let (outcome, reason) = match came_to {
        Some(came_to) => {
            let pieces = known.map(|known| known.pieces.as_slice()).unwrap_or_default();
            Evidenced::new(named, artifact, came_to, pieces).outcome(came_to.standing())
        }
        None => {
            let (gate, artifact) = (named.name.clone(), artifact.cloned());
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
