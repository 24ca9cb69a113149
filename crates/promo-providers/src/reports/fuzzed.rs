//! What must hold for any document, for the fuzz target and the tests only: what is read says what a plain reading says. What must not
//! live here: anything that the product calls.

use promo_core::evidence::{Kind, Measured, Ratio, Report, TestRun};
use serde_json::Value;

use super::envelope::{self, Envelope};

/// A document of any kind.
///
/// # Panics
/// When facts say something else than a plain reading of the document, or an error says something that may not be shown: the finding.
pub fn report(bytes: &[u8]) {
    match super::read(bytes) {
        Ok(report) => agrees(bytes, &report),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control) && text.len() < 20_000, "{text:?}");
        }
    }
}

/// Compares facts with a plain reading.
///
/// # Panics
/// When they do not agree.
pub fn agrees(bytes: &[u8], report: &Report) {
    match envelope::open(bytes) {
        Ok(Some(Envelope::Dsse { payload, .. } | Envelope::Image { payload, .. })) => stands_in(&payload, report),
        // Of what was signed only the digest is there, in base64.
        Ok(Some(Envelope::Message { digest, .. })) => assert!(report.about.names(&digest)),
        Ok(None) | Err(_) => stands_in(bytes, report),
    }
}

fn stands_in(bytes: &[u8], report: &Report) {
    let text = std::str::from_utf8(bytes).expect("what was read is UTF-8");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let bound = &report.about.bound;
    assert!(bound.windows(2).all(|pair| pair[0] < pair[1]), "in order, and each once");
    // Unless it is written in escapes.
    if !text.contains(['\\', '%']) {
        let text = text.to_ascii_lowercase();
        assert!(bound.iter().all(|binding| text.contains(&binding.digest.hex())), "as it is written");
    }
    if let Some(run) = &report.tests {
        is_whole(run);
    }
    if let Some(coverage) = &report.coverage {
        let Measured { lines, branches, functions } = coverage.counted;
        let within = |ratio: Option<Ratio>| ratio.is_none_or(|ratio| ratio.covered <= ratio.total);
        assert!(within(lines) && within(branches) && within(functions), "{coverage:?}");
        if report.about.kind == Kind::Lcov {
            let lines = text.lines().filter(|line| line.trim().starts_with("DA:")).count();
            assert_eq!(coverage.counted.lines.map_or(0, |lines| lines.total), lines as u64);
        }
    }
    if text.trim_start().starts_with(['{', '[']) {
        let value: Value = serde_json::from_str(text).expect("what was read is JSON");
        let plain = Plain::of(report.about.kind, &value);
        let findings = report.findings.as_ref();
        assert_eq!(findings.map(|found| found.list.len()), plain.findings, "findings");
        let suppressed = |found: &promo_core::evidence::Findings| {
            found.list.iter().filter(|finding| finding.suppressed.is_some()).count()
        };
        if let Some(expected) = plain.suppressed {
            assert_eq!(findings.map(suppressed), Some(expected), "suppressed findings");
        }
        assert_eq!(
            report.bill.as_ref().map(|bill| bill.count),
            plain.components.map(|count| count as u64),
            "components"
        );
        let statements = report.statements.as_ref().map(Vec::len);
        assert_eq!(statements, plain.statements, "statements");
        assert_eq!(report.numbers.as_ref().map(|numbers| numbers.list.len()), plain.numbers, "numbers");
    }
}

fn is_whole(run: &TestRun) {
    let counted = run.counted;
    let others = counted.failures + counted.errors + counted.skipped;
    assert!(others <= counted.tests, "{run:?}");
    let named = (counted.failures + counted.errors).min(TestRun::NAMES as u64);
    assert_eq!(run.failed.len() as u64, named, "{run:?}");
}

/// What a plain reading counts.
#[derive(Default)]
struct Plain {
    findings: Option<usize>,
    suppressed: Option<usize>,
    components: Option<usize>,
    statements: Option<usize>,
    numbers: Option<usize>,
}

/// The items of a list; of what is none, none.
fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Plain {
    fn of(kind: Kind, value: &Value) -> Self {
        match kind {
            Kind::Trivy => {
                let results = items(value, "/Results");
                let shown: usize = results.iter().map(|result| items(result, "/Vulnerabilities").len()).sum();
                let modified = results.iter().flat_map(|result| items(result, "/ExperimentalModifiedFindings"));
                let hidden = modified.filter(|finding| finding["Type"] == "vulnerability").count();
                Self { findings: Some(shown + hidden), suppressed: Some(hidden), ..Self::default() }
            }
            Kind::Grype => {
                let (shown, hidden) = (items(value, "/matches").len(), items(value, "/ignoredMatches").len());
                Self { findings: Some(shown + hidden), suppressed: Some(hidden), ..Self::default() }
            }
            Kind::Sarif => {
                let runs = items(value, "/runs");
                let looked = runs.iter().any(|run| run.get("results").is_some_and(Value::is_array));
                let passes = ["pass", "informational", "notApplicable"];
                let problems = runs
                    .iter()
                    .flat_map(|run| items(run, "/results"))
                    .filter(|result| !result["kind"].as_str().is_some_and(|kind| passes.contains(&kind)))
                    .count();
                Self { findings: looked.then_some(problems), ..Self::default() }
            }
            Kind::OsvScanner => {
                let packages = items(value, "/results").iter().flat_map(|result| items(result, "/packages"));
                let found = packages.map(|package| items(package, "/vulnerabilities").len()).sum();
                Self { findings: Some(found), suppressed: Some(0), ..Self::default() }
            }
            Kind::InToto => Self::of_statement(value),
            Kind::CycloneDx => {
                let vulnerabilities = Some(items(value, "/vulnerabilities")).filter(|list| !list.is_empty());
                let found =
                    vulnerabilities.map(|list| list.iter().map(|one| items(one, "/affects").len().max(1)).sum());
                let is_bill = found.is_none() || value.get("components").is_some_and(Value::is_array);
                let components = is_bill.then(|| nested(value));
                Self { findings: found, components, ..Self::default() }
            }
            Kind::Spdx2 => {
                let described = described(value);
                let is_root = |package: &&Value| described == [package["SPDXID"].as_str().unwrap_or_default()];
                let packages = items(value, "/packages");
                let roots = packages.iter().filter(is_root).count();
                Self { components: Some(packages.len() - roots), ..Self::default() }
            }
            Kind::Syft => Self { components: Some(items(value, "/artifacts").len()), ..Self::default() },
            Kind::Spdx3 => {
                let graph = items(value, "/@graph");
                let kind = |element: &Value| {
                    let kind = Some(&element["type"]).filter(|kind| !kind.is_null()).unwrap_or(&element["@type"]);
                    kind.as_str().unwrap_or_default().to_owned()
                };
                let roots: Vec<&Value> = graph
                    .iter()
                    .filter(|element| ["SpdxDocument", "software_Sbom"].contains(&kind(element).as_str()))
                    .flat_map(|element| items(element, "/rootElement"))
                    .collect();
                let id = |element: &Value| element["spdxId"].as_str().or(element["@id"].as_str()).map(str::to_owned);
                let packages = ["software_Package", "ai_AIPackage", "dataset_DatasetPackage"];
                let packages: Vec<&Value> =
                    graph.iter().filter(|element| packages.contains(&kind(element).as_str())).collect();
                let named =
                    packages.iter().filter(|element| roots.iter().any(|root| root.as_str() == id(element).as_deref()));
                let count = packages.len() - usize::from(named.count() == 1);
                Self { components: Some(count), ..Self::default() }
            }
            Kind::OpenVex => Self { statements: Some(items(value, "/statements").len()), ..Self::default() },
            Kind::K6 => {
                let metrics = value["metrics"].as_object();
                let numbers = metrics.into_iter().flatten().map(|(_, metric)| {
                    let values = if value["state"].is_object() { &metric["values"] } else { metric };
                    values.as_object().map_or(0, |values| values.values().filter(|value| value.is_number()).count())
                });
                Self { numbers: Some(numbers.sum()), ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    fn of_statement(value: &Value) -> Self {
        let predicate = &value["predicate"];
        let kind = value["predicateType"].as_str().unwrap_or_default();
        if kind.starts_with("https://in-toto.io/attestation/vulns") {
            return Self { findings: Some(items(predicate, "/scanner/result").len()), ..Self::default() };
        }
        // How something was built, and that it was copied or verified, is counted by nobody.
        if kind.starts_with("https://slsa.dev/provenance/") || super::told::of(kind).is_some() {
            return Self::default();
        }
        let document = if kind.contains("cosign.sigstore.dev/attestation/vuln/") {
            &predicate["scanner"]["result"]
        } else {
            predicate
        };
        // The same document on its own.
        match super::read(document.to_string().as_bytes()) {
            Ok(report) => Self::of(report.about.kind, document),
            Err(error) => panic!("a document in a statement is read, and on its own is not: {error}"),
        }
    }
}

fn nested(value: &Value) -> usize {
    items(value, "/components").iter().map(|component| 1 + nested(component)).sum()
}

fn described(value: &Value) -> Vec<&str> {
    let mut out: Vec<&str> = items(value, "/documentDescribes").iter().filter_map(Value::as_str).collect();
    for relationship in items(value, "/relationships") {
        let text = |key: &str| relationship[key].as_str().unwrap_or_default();
        let (from, to) = (text("spdxElementId"), text("relatedSpdxElement"));
        match text("relationshipType") {
            "DESCRIBES" if from == "SPDXRef-DOCUMENT" => out.push(to),
            "DESCRIBED_BY" if to == "SPDXRef-DOCUMENT" => out.push(from),
            _ => {}
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}
