//! What promo writes beside an artifact once its promotion was verified: which statements (in-toto), and what they say, all but the moment.
//! What must not live here: signatures, and where a statement is kept.
//!
//! A statement is known when a plan is made, since it is made only where everything went as planned. So it is a step like any other:
//! its state is the digest of what it says, and one that says the same is not made again.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Digest;
use crate::canonical;
use crate::gate::Reason;
use crate::ids::{ArtifactName, PipelineName};
use crate::inputs::{ArtifactInput, FileChange, Inputs};
use crate::ledger::event::Movement;
use crate::model::Attest;
use crate::plan::{Action, Move, PolicyRef, Step};
use crate::state::State;

/// The provider that keeps them.
pub const PROVIDER: &str = "attest";
/// What a statement is (in-toto attestation framework, Statement v1).
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// From where to where an artifact was copied (in-toto, "Container Image Promotion Record").
pub const PROMOTION: &str = "https://in-toto.io/attestation/promotion-record/v0.1";
/// That an artifact was found to be as policy wants it (SLSA v1, "Verification Summary Attestation").
pub const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// Which checks have passed (in-toto, "Test Result").
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// A statement on an artifact that is to be signed: the settings of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The name of the secret with which it is signed.
    pub key: String,
    /// Its predicate type.
    pub predicate_type: String,
    /// Its predicate, but for the moment.
    pub predicate: Value,
    /// The field of the predicate that has the moment.
    pub moment: String,
}

impl Attestation {
    /// The digest of all that it says of a subject, but for the moment.
    ///
    /// # Panics
    /// When the predicate has a number with a fraction: none of promo's has.
    #[must_use]
    pub fn says(&self, subject: &Digest) -> Digest {
        let Self { predicate_type, predicate, .. } = self;
        let all = json!({ "predicate": predicate, "predicateType": predicate_type, "subject": subject.to_string() });
        canonical::digest(&all).expect("invariant: predicates have no fractions")
    }

    /// The statement, made at a moment (RFC 3339) of a subject in a repository.
    #[must_use]
    pub fn statement(&self, artifact: &ArtifactInput, moment: &str) -> Value {
        let mut predicate = self.predicate.clone();
        predicate[&self.moment] = moment.into();
        json!({
            "_type": STATEMENT, "predicate": predicate, "predicateType": self.predicate_type,
            "subject": [{ "digest": { "sha256": artifact.digest.hex() }, "name": artifact.repository }],
        })
    }

    /// Whether a statement says this of a subject, at whatever moment.
    #[must_use]
    pub fn is_said_by(&self, statement: &Value, subject: &Digest) -> bool {
        let mut predicate = statement["predicate"].clone();
        let moment = predicate.as_object_mut().and_then(|fields| fields.remove(&self.moment));
        let subjects = statement["subject"].as_array().map(Vec::as_slice).unwrap_or_default();
        moment.is_some_and(|moment| moment.is_string())
            && predicate == self.predicate
            && statement["_type"] == STATEMENT
            && statement["predicateType"] == *self.predicate_type
            && matches!(subjects, [one] if one["digest"]["sha256"] == subject.hex())
    }
}

/// By which rules a release was let in: a policy, or the pipeline itself where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedBy {
    /// A name for it that no other one has.
    pub uri: String,
    /// Its digest.
    pub digest: Digest,
}

impl JudgedBy {
    /// By a policy, else by a pipeline of this digest.
    #[must_use]
    pub fn of(policy: Option<&PolicyRef>, pipeline: (&PipelineName, Digest)) -> Self {
        match policy {
            Some(policy) => {
                Self { uri: format!("promo:policy/{}/{}", policy.name, policy.version), digest: policy.digest }
            }
            None => Self { uri: format!("promo:pipeline/{}", pipeline.0), digest: pipeline.1 },
        }
    }
}

/// What is attached once a move has come to its good end, in that order: of every artifact that it copies a record of that, a summary
/// of what was verified, and which checks have passed. Nothing where something is tried, configured anew or taken back.
#[must_use]
pub fn steps(entry: &Move, attest: &Attest, pipeline: &PipelineName, by: &JudgedBy) -> Vec<Step> {
    if entry.drill || entry.movement != Movement::Promotion {
        return Vec::new();
    }
    let mut out = Vec::new();
    for copy in entry.steps.iter().filter(|step| step.action == Action::Copy) {
        for (name, artifact) in &copy.inputs.artifacts {
            let Some(source) = &artifact.source else { continue };
            let said = [
                ("promotion", Some(promotion(attest, artifact, source))),
                ("summary", Some(summary(entry, attest, name, artifact, by))),
                ("tests", test_result(entry, attest, pipeline)),
            ];
            let said = said.into_iter().filter_map(|(what, said)| Some((what, said?)));
            out.extend(said.map(|(what, said)| step(entry, &copy.inputs, (name, artifact), what, said)));
        }
    }
    out
}

fn step(
    entry: &Move,
    copy: &Inputs,
    (name, artifact): (&ArtifactName, &ArtifactInput),
    what: &str,
    said: Attestation,
) -> Step {
    let desired = State::Present(said.says(&artifact.digest));
    let shown = serde_json::to_string_pretty(&said.predicate).expect("invariant: a tree of JSON is JSON");
    let path = format!("{}@{} ({})", artifact.repository, artifact.digest, said.predicate_type);
    let settings = serde_json::to_value(said).expect("invariant: texts and a tree of JSON are JSON");
    Step {
        id: format!("{}/attest/{name}/{what}", entry.environment),
        action: Action::Attest,
        provider: PROVIDER.to_string(),
        target: None,
        inputs: Inputs { settings, ..copy.clone() },
        // One that says the same is the desired one; there is no other.
        expected: State::Absent,
        desired,
        changes: vec![FileChange { path, before: None, after: Some(shown + "\n") }],
        other_images: Vec::new(),
    }
}

fn promotion(attest: &Attest, artifact: &ArtifactInput, source: &str) -> Attestation {
    let digest = artifact.digest;
    let predicate = json!({
        "builderId": attest.by, "digest": digest.to_string(),
        "dstRef": format!("{}@{digest}", artifact.repository), "srcRef": format!("{source}@{digest}"),
    });
    said(attest, PROMOTION, predicate, "timestamp")
}

fn summary(entry: &Move, attest: &Attest, name: &ArtifactName, artifact: &ArtifactInput, by: &JudgedBy) -> Attestation {
    let judged = entry.gates.iter().filter_map(|gate| match &gate.reason {
        Reason::EvidenceMet(said) if said.artifact.as_ref().is_none_or(|of| of == name) => Some(&said.documents),
        _ => None,
    });
    let judged: BTreeSet<Digest> = judged.flatten().map(|document| document.document).collect();
    let judged: Vec<Value> = judged.iter().map(|document| json!({ "digest": { "sha256": document.hex() } })).collect();
    let place = entry.environment.as_str().to_uppercase().replace('-', "_");
    let predicate = json!({
        "inputAttestations": judged,
        "policy": { "digest": { "sha256": by.digest.hex() }, "uri": by.uri },
        "resourceUri": resource(artifact),
        "verificationResult": "PASSED",
        // promo checks no level of SLSA, and has a name of its own for what it checks.
        "verifiedLevels": [format!("PROMO_{place}")],
        "verifier": { "id": attest.by },
    });
    said(attest, SUMMARY, predicate, "timeVerified")
}

/// Nothing where nothing was checked.
fn test_result(entry: &Move, attest: &Attest, pipeline: &PipelineName) -> Option<Attestation> {
    let passed: Vec<&str> = entry.checks.chunk_by(|a, b| a.name == b.name).map(|all| all[0].name.as_str()).collect();
    let configuration =
        json!({ "digest": { "sha256": entry.settings.hex() }, "name": format!("{pipeline}/{}", entry.environment) });
    let predicate = json!({ "configuration": [configuration], "passedTests": passed, "result": "PASSED" });
    (!passed.is_empty()).then(|| said(attest, TEST_RESULT, predicate, "finishedOn"))
}

fn said(attest: &Attest, predicate_type: &str, predicate: Value, moment: &str) -> Attestation {
    let (key, predicate_type, moment) = (attest.key.clone(), predicate_type.to_string(), moment.to_string());
    Attestation { key, predicate_type, predicate, moment }
}

/// A name for an artifact at its place: a package URL (purl-spec, "oci"), or of what lies in files where that is.
fn resource(artifact: &ArtifactInput) -> String {
    let ArtifactInput { repository, digest, .. } = artifact;
    if repository.starts_with("oci-layout:") {
        return format!("{repository}@{digest}");
    }
    let name = repository.rsplit('/').next().unwrap_or(repository);
    format!("pkg:oci/{name}@sha256%3A{}?repository_url={repository}", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Document;

    fn promoted() -> (Move, Attest, PipelineName, JudgedBy) {
        let plan = include_bytes!("../../../tests/compat/v1/plans/promote.json");
        let (plan, _) = Document::from_bytes(plan).unwrap();
        let mut entry = plan.body.moves.into_iter().find(|entry| entry.movement == Movement::Promotion).unwrap();
        entry.steps.retain(|step| step.action == Action::Deploy);
        let mut copy = entry.steps[0].clone();
        let artifact = copy.inputs.artifacts.values_mut().next().unwrap();
        artifact.repository = "registry.test:5000/prod/shop".into();
        artifact.source = Some("registry.test:5000/team/shop".into());
        (copy.action, copy.target) = (Action::Copy, None);
        entry.steps.insert(0, copy);
        let attest = Attest { by: "https://ci.test/promo".into(), key: "promotion".into() };
        let by = JudgedBy { uri: "promo:policy/acme/3".into(), digest: Digest::of(b"policy") };
        (entry, attest, "shop".parse().unwrap(), by)
    }

    fn attestation(step: &Step) -> Attestation {
        serde_json::from_value(step.inputs.settings.clone()).unwrap()
    }

    #[test]
    fn a_promotion_is_told_by_three_statements_on_what_was_copied() {
        let (entry, attest, pipeline, by) = promoted();
        let all = steps(&entry, &attest, &pipeline, &by);
        let kinds: Vec<String> = all.iter().map(|step| attestation(step).predicate_type).collect();
        assert_eq!(kinds, [PROMOTION, SUMMARY, TEST_RESULT]);
        let digest = all[0].inputs.artifacts.values().next().unwrap().digest;
        let promotion = attestation(&all[0]).predicate;
        assert_eq!(promotion["srcRef"], format!("registry.test:5000/team/shop@{digest}"));
        assert_eq!(promotion["dstRef"], format!("registry.test:5000/prod/shop@{digest}"));
        let resource = format!("pkg:oci/shop@sha256%3A{}?repository_url=registry.test:5000/prod/shop", digest.hex());
        assert_eq!(attestation(&all[1]).predicate["resourceUri"], resource);
        let passed: BTreeSet<&str> = entry.checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(attestation(&all[2]).predicate["passedTests"].as_array().unwrap().len(), passed.len());
        let states: BTreeSet<Digest> = all
            .iter()
            .map(|step| match step.desired {
                State::Present(says) => says,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(states.len(), 3, "each says something of its own");
    }

    #[test]
    fn nothing_is_told_of_what_was_not_copied_not_checked_or_no_promotion() {
        let (entry, attest, pipeline, by) = promoted();
        let kinds = |entry: &Move| steps(entry, &attest, &pipeline, &by).len();
        assert_eq!(kinds(&Move { checks: Vec::new(), ..entry.clone() }), 2);
        for movement in [Movement::Rollback, Movement::Reconfiguration] {
            assert_eq!(kinds(&Move { movement, ..entry.clone() }), 0);
        }
        assert_eq!(kinds(&Move { drill: true, ..entry.clone() }), 0);
        let steps: Vec<Step> = entry.steps.iter().filter(|step| step.action == Action::Deploy).cloned().collect();
        assert_eq!(kinds(&Move { steps, ..entry.clone() }), 0);
    }

    #[test]
    fn the_same_is_said_at_any_moment_and_by_nothing_else() {
        let (entry, attest, pipeline, by) = promoted();
        for step in steps(&entry, &attest, &pipeline, &by) {
            let (said, artifact) = (attestation(&step), step.inputs.artifacts.values().next().unwrap().clone());
            let statement = said.statement(&artifact, "2026-11-23T02:00:00Z");
            assert!(said.is_said_by(&statement, &artifact.digest), "{statement}");
            assert!(said.is_said_by(&said.statement(&artifact, "2027-01-01T00:00:00Z"), &artifact.digest));
            assert!(!said.is_said_by(&statement, &Digest::of(b"another")));
            let mut others = vec![json!({}), json!(null), statement.clone(), statement.clone(), statement.clone()];
            others[2]["predicate"][&said.moment] = Value::Null;
            others[3]["predicate"]["more"] = "x".into();
            others[4]["predicateType"] = "https://example.test/v1".into();
            for other in others {
                assert!(!said.is_said_by(&other, &artifact.digest), "{other}");
            }
        }
    }
}
