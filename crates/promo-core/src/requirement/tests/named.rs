//! Each document that a gate judged is named with what it is, where it comes from, of when it is and what it says, whether the gate is open or
//! not.

use super::parts::{bill, component, licence, numbers, tests_of, totals};
use super::signed::provenance;
use super::*;
use crate::gate::{EvidenceDocument, Evidenced};
use crate::ids::ArtifactName;

/// What a gate tells of a release with these documents: how it stands, and the documents that it names.
fn told(requirement: Requirement, subject: Subject, pieces: Vec<Piece>) -> (Standing, Vec<EvidenceDocument>) {
    let app: ArtifactName = "app".parse().unwrap();
    let gate = EvidenceGate {
        artifacts: BTreeSet::new(),
        kinds: BTreeSet::new(),
        requirement,
        by: Signers::new(),
        exceptions: vec![],
    };
    let named = NamedGate { name: "gate".parse().unwrap(), policy: false, gate };
    let known = ReleaseEvidence { subjects: [(app.clone(), subject)].into(), pieces, ..Default::default() };
    let came_to = named.gate.judge(&app, &known, Before::First, now()).unwrap();
    let pieces: Vec<&Piece> = known.pieces.iter().collect();
    let about = Some((&app, Some("registry.internal/shop/app")));
    (came_to.standing(), Evidenced::new(&named, about, &came_to, &pieces).documents)
}

#[test]
fn s1_2_every_gate_names_the_documents_that_it_judged_also_where_it_is_closed() {
    let of_scan = || Requirement::Scan(ScanRequirement { scope: Scope::Any, ..ScanRequirement::default() });
    let licences = || {
        Requirement::Licences(LicenceRequirement {
            allow: BTreeSet::new(),
            deny: ["GPL-3.0-only".to_string()].into(),
            unknown: Unknown::Take,
            scope: Scope::Any,
        })
    };
    let with = |id: &str| vec![component("npm/a", Stated::Expression(licence(id)))];
    let least = || Requirement::Sbom(BillRequirement { least: 2, scope: Scope::Any });
    let tests = || Requirement::Tests(TestRequirement::default());
    let p95 = || {
        Requirement::Number(NumberRequirement {
            name: "p95".into(),
            suites: BTreeSet::new(),
            least: None,
            most: Finite::new(250.0).ok(),
            baseline: None,
        })
    };
    let built = |builder: &str| {
        Requirement::Provenance(ProvenanceRequirement {
            by: signers(&["ci"]),
            builders: [builder.to_string()].into(),
            sources: BTreeSet::new(),
            scope: None,
        })
    };
    let bills = |id: &str| bill("image", with(id));
    let (clean, bad) = (scan("a", "image", "trivy", vec![]), scan("a", "image", "trivy", vec![critical("CVE-1")]));
    let passed = |failures: u64| tests_of(Some("unit"), totals(10, failures, 0));
    let two = vec![component("npm/a", Stated::Nothing), component("npm/b", Stated::Nothing)];
    let met = [
        (of_scan(), clean, "trivy", "no findings"),
        (licences(), bills("MIT"), "cyclonedx", "1 component"),
        (least(), bill("image", two), "cyclonedx", "2 components"),
        (tests(), passed(0), "junit", "10 of 10"),
        (p95(), numbers("a", 200.0, true), "k6", "200"),
        (built("https://ci.example/*"), provenance("a", "image", &["ci"]), "provenance", "https://ci.example"),
    ];
    let closed = [
        (of_scan(), bad, "trivy", "1 critical"),
        (licences(), bills("GPL-3.0-only"), "cyclonedx", "1 component"),
        (least(), bills("MIT"), "cyclonedx", "1 component"),
        (tests(), passed(3), "junit", "7 of 10"),
        (p95(), numbers("a", 300.0, true), "k6", "300"),
        (built("https://other.example/*"), provenance("a", "image", &["ci"]), "provenance", "https://ci.example"),
    ];
    for (all, open) in [(met, true), (closed, false)] {
        for (requirement, piece, format, says) in all {
            let (standing, documents) = told(requirement, single(), vec![piece.clone()]);
            assert_eq!(standing == Standing::Met, open, "{format}: {standing:?}");
            let [one] = documents.as_slice() else { panic!("{format}: {documents:?}") };
            assert_eq!((one.document, one.format.as_str()), (piece.document, format));
            assert!(one.says.contains(says), "{format}: {}", one.says);
            assert_eq!((one.repository.as_deref(), one.by.as_deref()), (Some("registry.internal/shop/app"), None));
            assert_eq!((one.at, one.made), (Some(ago(3600)), piece.report().unwrap().about.made));
        }
    }
    // Of who brought it that is told, and of a scan the age of what its tool knew.
    let origin = Origin::Ledger { by: "dana".into(), at: ago(60) };
    let (_, documents) = told(of_scan(), single(), vec![Piece { origin, ..scan("a", "image", "trivy", vec![]) }]);
    assert_eq!((documents[0].repository.as_deref(), documents[0].by.as_deref()), (None, Some("dana")));
    assert_eq!((documents[0].at, documents[0].database), (Some(ago(60)), Some(ago(7200))));
    // What cannot be read is one all the same.
    let content = Content::Unreadable { kind: Kind::Trivy, why: "cut off".into() };
    let bound = [digest("image")].into();
    let (standing, documents) =
        told(of_scan(), single(), vec![Piece { content, bound, ..scan("a", "image", "trivy", vec![]) }]);
    assert_eq!((standing, documents[0].format.as_str()), (Standing::Unreadable, "trivy"));
}
