//! What a plan can bear that the first version of its format did not know. A plan that bears some of it names it in `requires`, so
//! that an older promo refuses it by name. What must not live here: what any of it means.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{LostTarget, Move, Next, Plan, Step};
use crate::gate::{Gate, GateKind, Reason};

/// Fields of later versions: the digests below an artifact's, and images that the release does not name.
const TREES: &str = "artifact-trees";
const OTHER_IMAGES: &str = "other-images";
/// A time of watching after a deployment.
const WATCH: &str = "watch";
/// The order of an environment's targets, and what a window does between them.
const WAVES: &str = "waves";
/// A way back that is tried.
const DRILL: &str = "drill";
/// What failed half-way, and is quarantined by the way back.
const FAILED: &str = "failed";
/// What is written beside artifacts once a promotion was verified.
const ATTEST: &str = "attest";
/// Gates over evidence and metadata, whatever they say.
const EVIDENCE: &str = "evidence";
/// Documents that a gate passes over for want of a signature.
const NOT_COUNTED: &str = "evidence-signers";
/// Of a document that a gate judged its format, where it comes from and since when it is known.
const ORIGIN: &str = "evidence-origin";

/// The codes of reasons of later versions; each is a feature.
const REASONS: [&str; 12] = [
    "drifted",
    "drills-allowed",
    "drills-refused",
    "evidence-bad",
    "evidence-expired",
    "evidence-met",
    "evidence-missing",
    "evidence-not-looked",
    "evidence-unreadable",
    "image-movable",
    "image-unlike",
    "still-watched",
];

/// Whether this version knows what a plan requires.
pub(super) fn known(feature: &str) -> bool {
    [TREES, OTHER_IMAGES, WATCH, WAVES, DRILL, FAILED, EVIDENCE, NOT_COUNTED, ORIGIN, ATTEST].contains(&feature)
        || REASONS.contains(&feature)
}

/// What a plan requires, in the order of the words.
pub(super) fn of(plan: &Plan) -> Vec<String> {
    let mut found: BTreeSet<&'static str> = BTreeSet::new();
    found.extend(plan.request.drill.then_some(DRILL));
    for entry in &plan.moves {
        found.extend(entry.drill.then_some(DRILL));
        found.extend(entry.failed.as_ref().map(|_| FAILED));
        found.extend(entry.watch.map(|_| WATCH));
        found.extend((!entry.attest.is_empty()).then_some(ATTEST));
        found.extend((!entry.waves.is_empty() || !entry.on_close.is_finish()).then_some(WAVES));
        for step in entry.steps.iter().chain(entry.rollback.iter().flat_map(|back| &back.steps)) {
            let Step { inputs, other_images, .. } = step;
            let trees = inputs.artifacts.values().any(|artifact| !artifact.tree.is_empty());
            found.extend(trees.then_some(TREES));
            found.extend((!other_images.is_empty()).then_some(OTHER_IMAGES));
        }
    }
    let of_evidence = |gate: &Gate| matches!(gate.kind, GateKind::Evidence | GateKind::Metadata);
    found.extend(every_gate(plan).any(of_evidence).then_some(EVIDENCE));
    let passed_over = |reason: &Reason| reason.evidenced().is_some_and(|told| !told.not_counted.is_empty());
    found.extend(reasons(plan).any(passed_over).then_some(NOT_COUNTED));
    let from = |reason: &Reason| {
        let mut documents =
            reason.evidenced().into_iter().flat_map(|told| told.documents.iter().chain(&told.not_counted));
        documents
            .any(|one| !one.format.is_empty() || one.database.is_some() || one.at.is_some() || one.repository.is_some())
    };
    found.extend(reasons(plan).any(from).then_some(ORIGIN));
    found.extend(reasons(plan).map(Reason::code).filter(|code| REASONS.contains(code)));
    found.iter().map(ToString::to_string).collect()
}

/// Every gate that a plan tells.
fn every_gate(plan: &Plan) -> impl Iterator<Item = &Gate> {
    let of_moves = plan.moves.iter().flat_map(|entry: &Move| entry.gates.iter().chain(gates(entry.newer.as_ref())));
    let of_stays = plan.stays.iter().flat_map(|stay| gates(stay.next.as_ref()).chain(gates(stay.newer.as_ref())));
    of_moves.chain(of_stays)
}

/// Every reason that a plan gives.
fn reasons(plan: &Plan) -> impl Iterator<Item = &Reason> {
    let lost = plan.moves.iter().filter_map(|entry| entry.lost_target.as_ref()).map(|LostTarget { reason, .. }| reason);
    every_gate(plan).map(|gate| &gate.reason).chain(lost).chain(plan.lost_evidence.values().flatten())
}

fn gates(next: Option<&Next>) -> impl Iterator<Item = &Gate> {
    next.into_iter().flat_map(|next| &next.gates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::plan::{Document, PlanFileError};
    use alloc::vec;

    #[test]
    fn what_is_new_in_a_plan_is_named_and_only_that() {
        let plan = include_bytes!("../../../../tests/compat/v1/plans/promote.json");
        let (old, _) = Document::from_bytes(plan).unwrap();
        assert_eq!(old.requires, [""; 0]);
        let mut body = old.body;
        body.moves[0].gates[0].reason = Reason::ImageMovable { image: "mesh:1".into() };
        body.moves[0].steps[0].other_images = vec!["mesh:1".into()];
        body.moves[0].steps[0].inputs.artifacts.values_mut().next().unwrap().tree = vec![Digest::of(b"arm64")];
        body.moves[0].on_close = crate::model::OnClose::StopAtWave;
        body.moves[0].failed = Some(body.moves[0].to.clone());
        body.moves[0].attest = vec![body.moves[0].steps[0].clone()];
        let new = Document::new(body);
        assert_eq!(new.requires, ["artifact-trees", "attest", "failed", "image-movable", "other-images", "waves"]);
        assert!(Document::from_bytes(&new.to_bytes().unwrap()).is_ok());
        let mut body = new.body.clone();
        body.moves[0].gates[0].kind = GateKind::Evidence;
        assert!(
            Document::new(body).requires.contains(&"evidence".to_string()),
            "a gate of a new kind, whatever its reason"
        );
        let silent = Document { requires: vec![], ..new };
        let error = Document::from_bytes(&silent.to_bytes().unwrap()).unwrap_err();
        assert!(matches!(error, PlanFileError::Unnamed(_)), "{error}");
    }
}
