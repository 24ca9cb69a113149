//! Adding a finding to a document never makes a gate over scans more open, whatever the format: documents are written, read and judged.

use std::collections::BTreeSet;
use std::sync::Arc;

use promo_core::Digest;
use promo_core::evidence::Level;
use promo_core::requirement::{
    Content, Origin, Piece, ScanRequirement, Scope, Signed, Standing, Subject, Suppressions,
};

use super::super::read;

/// One document of some format, with these findings in it.
struct Written {
    name: &'static str,
    /// Findings that the format has, each as it is written there.
    findings: &'static [&'static str],
    around: fn(&str) -> String,
}

const TRIVY: &[&str] = &[
    r#"{"VulnerabilityID": "CVE-1", "PkgName": "a", "Severity": "LOW"}"#,
    r#"{"VulnerabilityID": "CVE-2", "PkgName": "a", "Severity": "CRITICAL"}"#,
    r#"{"VulnerabilityID": "CVE-3", "PkgName": "a"}"#,
];

const CYCLONEDX: &[&str] = &[
    r#"{"id": "CVE-1", "ratings": [{"severity": "low"}], "affects": [{"ref": "pkg:npm/a@1"}]}"#,
    r#"{"id": "CVE-2", "ratings": [{"severity": "critical"}]}"#,
    r#"{"id": "CVE-3", "analysis": {"state": "not_affected", "justification": "code_not_present"}}"#,
    r#"{"id": "CVE-4", "ratings": [{"severity": "low"}], "analysis": {"state": "resolved"}}"#,
];

fn trivy(class: &str, findings: &str) -> String {
    format!(
        r#"{{"SchemaVersion": 2, "CreatedAt": "2026-11-22T11:00:00Z", "Trivy": {{"Version": "0.58.1"}},
            "Results": [{{"Target": "a", "Class": "{class}", "Vulnerabilities": [{findings}]}}]}}"#
    )
}

fn cyclonedx(beside: &str, findings: &str) -> String {
    format!(
        r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {{"timestamp": "2026-11-22T11:00:00Z",
            "tools": [{{"name": "trivy"}}]}}, {beside} "vulnerabilities": [{findings}]}}"#
    )
}

const ALL: &[Written] = &[
    Written { name: "Trivy, packages", findings: TRIVY, around: |findings| trivy("lang-pkgs", findings) },
    Written { name: "Trivy, secrets", findings: TRIVY, around: |findings| trivy("secret", findings) },
    Written {
        name: "CycloneDX, a bill",
        findings: CYCLONEDX,
        around: |findings| cyclonedx(r#""components": [{"type": "library", "name": "a"}],"#, findings),
    },
    Written { name: "CycloneDX, none", findings: CYCLONEDX, around: |findings| cyclonedx("", findings) },
    Written {
        name: "CycloneDX in cosign's record",
        findings: CYCLONEDX,
        around: |findings| {
            format!(
                r#"{{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1",
                    "subject": [{{"name": "a", "digest": {{"sha256": "{}"}}}}], "predicate": {{"scanner": {{"uri": "trivy", "result": {}}},
                    "metadata": {{"scanFinishedOn": "2026-11-22T11:00:00Z"}}}}}}"#,
                image().hex(),
                cyclonedx(r#""components": [],"#, findings)
            )
        },
    },
    Written {
        name: "Grype",
        findings: &[
            r#"{"vulnerability": {"id": "CVE-1", "severity": "Low"}, "artifact": {"name": "a"}}"#,
            r#"{"vulnerability": {"id": "CVE-2", "severity": "Unknown"}, "artifact": {"name": "a"}}"#,
            r#"{"vulnerability": {"id": "CVE-3", "severity": "Negligible"}, "artifact": {"name": "a"}}"#,
        ],
        around: |findings| {
            format!(
                r#"{{"matches": [{findings}], "descriptor": {{"name": "grype", "timestamp": "2026-11-22T11:00:00Z"}}}}"#
            )
        },
    },
    Written {
        name: "SARIF",
        findings: &[
            r#"{"ruleId": "CVE-1", "level": "note"}"#,
            r#"{"ruleId": "CVE-2", "level": "error", "suppressions": [{"kind": "external"}]}"#,
            r#"{"ruleId": "CVE-3", "kind": "pass"}"#,
        ],
        around: |findings| {
            format!(
                r#"{{"version": "2.1.0", "runs": [{{"tool": {{"driver": {{"name": "trivy"}}}}, "results": [{findings}]}}]}}"#
            )
        },
    },
    Written {
        name: "OSV-Scanner",
        findings: &[r#"{"id": "GHSA-1", "database_specific": {"severity": "LOW"}}"#, r#"{"id": "GHSA-2"}"#],
        around: |findings| {
            format!(
                r#"{{"results": [{{"source": {{"path": "a", "type": "lockfile"}}, "packages": [{{"package": {{"name": "a", "version": "1",
                    "ecosystem": "npm"}}, "vulnerabilities": [{findings}]}}]}}], "experimental_config": {{}}}}"#
            )
        },
    },
    Written {
        name: "in-toto",
        findings: &[
            r#"{"id": "CVE-1", "severity": [{"method": "nvd", "score": "low"}]}"#,
            r#"{"id": "CVE-2", "severity": [{"method": "epss", "score": 0.97}]}"#,
        ],
        around: |findings| {
            format!(
                r#"{{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://in-toto.io/attestation/vulns/v0.2",
                    "subject": [{{"name": "a", "digest": {{"sha256": "{}"}}}}], "predicate": {{"scanner": {{"uri": "trivy",
                    "result": [{findings}]}}, "metadata": {{"scanFinishedOn": "2026-11-22T11:00:00Z"}}}}}}"#,
                image().hex()
            )
        },
    },
];

fn image() -> Digest {
    Digest::of(b"image")
}

/// What promo has of a document that was brought for the image; nothing of one that it does not take.
fn piece(text: &str) -> Option<Piece> {
    let report = read(text.as_bytes()).ok()?;
    let document = Digest::of(text.as_bytes());
    Some(Piece {
        document,
        stated: document,
        origin: Origin::Ledger { by: "ci".into(), at: "2026-11-22T11:30:00Z".parse().expect("a time") },
        name: None,
        bound: BTreeSet::from([image()]),
        signed: Signed::default(),
        content: Content::Read(Arc::new(report)),
    })
}

fn requirements() -> impl Iterator<Item = ScanRequirement> {
    let scanners: [&[&str]; 5] = [&[], &["trivy"], &["cyclonedx"], &["sarif"], &["trivy", "grype"]];
    let kinds = scanners.into_iter().flat_map(|scanners| {
        [(Suppressions::Count, None), (Suppressions::Accept, None), (Suppressions::Count, Some(86_400))]
            .map(|(suppressions, max_age)| (scanners, suppressions, max_age))
    });
    kinds.map(|(scanners, suppressions, max_age)| ScanRequirement {
        deny: Some(Level::Critical),
        suppressions,
        scanners: scanners.iter().map(|name| (*name).to_owned()).collect(),
        max_age,
        scope: Scope::Any,
        ..ScanRequirement::default()
    })
}

fn stands(requirement: &ScanRequirement, pieces: &[Piece]) -> Standing {
    let now = "2026-11-22T12:00:00Z".parse().expect("a time");
    requirement.judge(&Subject::single(image(), None), pieces, &[], now).verdict.standing()
}

/// What else is there: nothing, a clean scan, and an older document of the same make that found something.
fn beside(written: &Written) -> Vec<Vec<Piece>> {
    let older = |text: String| text.replace("2026-11-22T11", "2026-11-22T09");
    let of = |text: &str| piece(text).into_iter().collect::<Vec<_>>();
    let clean = of(&trivy("os-pkgs", ""));
    let bad = of(&older((written.around)(written.findings[1])));
    vec![vec![], clean.clone(), [clean, bad.clone()].concat(), bad]
}

#[test]
fn s1_5_a_finding_more_in_a_document_never_lets_more_through() {
    let (mut met, mut held) = (0, 0);
    for written in ALL {
        for others in beside(written) {
            for chosen in 0..1_u32 << written.findings.len() {
                let of = |bits: u32| {
                    let list = written.findings.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
                    let text = (written.around)(&list.map(|(_, one)| *one).collect::<Vec<_>>().join(", "));
                    [others.clone(), piece(&text).into_iter().collect()].concat()
                };
                for more in (0..written.findings.len()).map(|at| chosen | 1 << at).filter(|more| *more != chosen) {
                    for requirement in requirements() {
                        let (before, after) = (stands(&requirement, &of(chosen)), stands(&requirement, &of(more)));
                        met += usize::from(before == Standing::Met);
                        held += usize::from(before == Standing::Met && after != Standing::Met);
                        assert!(after >= before, "{}: {before:?} became {after:?}, {requirement:?}", written.name);
                    }
                }
            }
        }
    }
    assert!(met > 200 && held > 50, "{met} {held}");
}

#[test]
fn cyclonedx_bars_by_what_it_lists_and_shows_of_nobody_that_they_looked() {
    let bill = |findings: &str| piece(&cyclonedx("", findings)).expect("it is read");
    let clean = piece(&trivy("os-pkgs", "")).expect("it is read");
    for requirement in requirements().filter(|one| !one.scanners.contains("sarif") && !one.scanners.contains("grype")) {
        for findings in CYCLONEDX {
            assert_ne!(stands(&requirement, &[bill(findings)]), Standing::Met, "{findings}");
        }
        if !requirement.scanners.contains("cyclonedx") {
            assert_eq!(stands(&requirement, &[clean.clone(), bill(CYCLONEDX[0])]), Standing::Met);
        }
        assert_eq!(stands(&requirement, &[clean.clone(), bill(CYCLONEDX[1])]), Standing::Bad);
    }
}

#[test]
fn what_was_looked_at_for_secrets_is_no_look_at_packages_whatever_stands_in_it() {
    let stands = |class: &str| {
        let text = trivy(class, TRIVY[0]);
        stands(&ScanRequirement::default(), &piece(&text).into_iter().collect::<Vec<_>>())
    };
    assert_eq!((stands("secret"), stands("os-pkgs")), (Standing::Bad, Standing::Met));
}
