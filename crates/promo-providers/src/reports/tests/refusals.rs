//! What is refused, and with which of the three outcomes.

use super::super::{LIMIT, Place, ReportError, Wanted, numbers, numbers_there, read};

fn outcome(text: &str) -> ReportError {
    match read(text.as_bytes()) {
        Err(error) => error,
        Ok(report) => panic!("{text}: {report:?}"),
    }
}

fn at(error: &ReportError) -> &str {
    match error {
        ReportError::Broken { at: Place::Pointer(pointer), .. } => pointer,
        other => panic!("{other}"),
    }
}

#[test]
fn documents_that_nobody_knows_are_told_from_broken_ones() {
    for text in [
        "",
        "  \n",
        "hello",
        "{}",
        "[]",
        r#"{"results": []}"#,
        r#"{"payloadType": "text/plain", "payload": "e30=", "signatures": [{"sig": "AA=="}]}"#,
        "<report/>",
        "<coverage generated='1' clover='4'/>",
        "SPDXVersion: SPDX-2.3",
    ] {
        assert!(matches!(outcome(text), ReportError::NotKnown(_)), "{text}: {}", outcome(text));
    }
    assert!(matches!(read(b"\xff\xfe<\0"), Err(ReportError::NotKnown(_))));
    for text in [
        r#"{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}"#,
        "{",
        "{\"a\": }",
        "<testsuites>",
        "TN:\nDA:1,1\n",
        "SF:a.c\nDA:1,1\n",
        "SF:a.c\nDA:1,-1\nend_of_record\n",
    ] {
        assert!(matches!(outcome(text), ReportError::Broken { .. }), "{text}: {}", outcome(text));
    }
}

#[test]
fn versions_that_nobody_knows_are_named() {
    for (text, found) in [
        (r#"{"SchemaVersion": 3, "Results": []}"#, "`3`"),
        (r#"{"version": "2.2.0", "runs": []}"#, "`2.2.0`"),
        (r#"{"bomFormat": "CycloneDX", "specVersion": "1.8"}"#, "`1.8`"),
        (r#"{"bomFormat": "CycloneDX", "specVersion": "1.2"}"#, "`1.2`"),
        (r#"{"spdxVersion": "SPDX-2.1"}"#, "`2.1`"),
        (r#"{"@context": "https://openvex.dev/ns/v0.9.0", "statements": []}"#, "`0.9.0`"),
        (r#"{"_type": "https://in-toto.io/Statement/v2", "predicateType": "x", "subject": []}"#, "`v2`"),
        (
            r#"{"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicate": {},
                "predicateType": "https://in-toto.io/attestation/vulns/v0.3"}"#,
            "`v0.3`",
        ),
        (
            r#"{"@context": "https://spdx.org/rdf/3.1.0/spdx-context.jsonld",
                "@graph": [{"type": "CreationInfo", "specVersion": "3.1.0"}]}"#,
            "`3.1.0`",
        ),
        (r#"{"version": "a SECRET", "runs": []}"#, "something that is no version"),
    ] {
        let ReportError::UnknownVersion { found: version, .. } = outcome(text) else { panic!("{}", outcome(text)) };
        assert_eq!(version, found, "{text}");
    }
}

#[test]
fn a_vector_that_is_cut_off_is_refused_where_it_stands() {
    let trivy = r#"{"SchemaVersion": 2, "Results": [{"Class": "os-pkgs", "Vulnerabilities": [{"VulnerabilityID": "CVE-1",
        "Severity": "LOW", "CVSS": {"nvd": {"V3Vector": "CVSS:3.1/AV:N", "V3Score": 0.0}}}]}]}"#;
    assert_eq!(at(&outcome(trivy)), "/Results/0/Vulnerabilities/0/CVSS/nvd/V3Vector");
    let osv = r#"{"results": [{"source": {}, "packages": [{"package": {}, "vulnerabilities": [{"id": "GHSA-1",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L"}]}]}]}]}"#;
    assert_eq!(at(&outcome(osv)), "/results/0/packages/0/vulnerabilities/0/severity/0/score");
    let vdr = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "vulnerabilities": [{"id": "CVE-1",
        "ratings": [{"method": "CVSSv31", "vector": "AV:N/AC:L/PR:N"}]}]}"#;
    assert_eq!(at(&outcome(vdr)), "/vulnerabilities/0/ratings/0/vector");
    let grype = r#"{"descriptor": {"name": "grype"}, "matches": [{"artifact": {}, "vulnerability": {"id": "CVE-1",
        "cvss": [{"version": "3.1", "vector": "CVSS:3.1/AV:N", "metrics": {"baseScore": 9.8}}]}}]}"#;
    assert_eq!(at(&outcome(grype)), "/matches/0/vulnerability/cvss/0/vector");
}

#[test]
fn a_list_of_the_values_of_a_report_is_no_report() {
    assert_eq!(at(&outcome(r#"{"SchemaVersion": 2, "Results": [["os-pkgs", []]]}"#)), "/Results/0");
    assert_eq!(at(&outcome(r#"{"SchemaVersion": 2, "Results": {}}"#)), "/Results");
    assert!(matches!(outcome(r#"{"descriptor": ["grype"], "matches": []}"#), ReportError::NotKnown(_)));
    let statement = r#"{"_type": "https://in-toto.io/Statement/v1", "subject": [["app", {}]], "predicate": {},
        "predicateType": "https://in-toto.io/attestation/vulns/v0.2"}"#;
    assert_eq!(at(&outcome(statement)), "/subject/0");
}

#[test]
fn no_error_quotes_what_a_report_says() {
    for text in [
        r#"{"SchemaVersion": "SECRET SECRET", "Results": []}"#,
        r#"{"SchemaVersion": 2, "Results": "SECRET"}"#,
        r#"{"SchemaVersion": 2, "CreatedAt": "SECRET", "Results": []}"#,
        r#"{"SchemaVersion": 2, "Metadata": {"ImageID": "sha256:SECRET"}, "Results": []}"#,
        r#"{"@context": "https://openvex.dev/ns/SECRET SECRET", "statements": []}"#,
        r#"{"spdxVersion": "SECRET\u0007SECRET SECRET"}"#,
        "<testsuite tests='SECRET'/>",
        "<coverage line-rate='SECRET'/>",
        "SF:a\nDA:SECRET\nend_of_record",
        "SF:a\nSECRET\nend_of_record",
        "<SECRET SECRET=SECRET",
    ] {
        let error = outcome(text);
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}

#[test]
fn a_not_affected_without_a_reason_is_no_statement() {
    let text = r#"{"@context": "https://openvex.dev/ns/v0.2.0",
        "statements": [{"vulnerability": {"name": "CVE-1"}, "products": [], "status": "not_affected"}]}"#;
    assert_eq!(at(&outcome(text)), "/statements/0");
}

#[test]
fn a_statement_in_a_statement_is_not_bound_to_the_outer_subject() {
    let text = r#"{"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "x", "predicate":
        {"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "x", "predicate": {}}}"#;
    assert!(matches!(outcome(text), ReportError::NotKnown(_)));
}

#[test]
fn a_document_that_is_too_long_is_refused_before_it_is_read() {
    let long = vec![b' '; LIMIT + 1];
    assert!(matches!(read(&long), Err(ReportError::TooLarge(_))));
}

#[test]
fn a_document_is_read_in_time_that_grows_with_its_length() {
    let of = |count: usize| {
        let one = r#"{"VulnerabilityID": "CVE-1", "Severity": "LOW"}"#;
        let list = vec![one; count].join(",");
        let text =
            format!(r#"{{"SchemaVersion": 2, "Results": [{{"Class": "os-pkgs", "Vulnerabilities": [{list}]}}]}}"#);
        let began = std::time::Instant::now();
        let report = read(text.as_bytes()).expect("a report");
        assert_eq!(report.findings.map(|found| found.list.len()), Some(count));
        began.elapsed()
    };
    of(1000);
    let (short, long) = (of(5_000), of(40_000));
    // Eight times as long; square work would take 64 times as long.
    assert!(long < short * 40, "{short:?} and {long:?}");
}

/// What stands once and is repeated in every finding: a short document must not fill the memory.
#[test]
fn a_document_that_would_fill_the_memory_with_repetitions_is_refused() {
    let long = "n".repeat(1 << 20);
    let results = vec![r#"{"message": {}}"#; 2_000].join(",");
    let sarif = format!(
        r#"{{"version": "2.1.0", "runs": [{{"tool": {{"driver": {{"name": "{long}"}}}}, "results": [{results}]}}]}}"#
    );
    let affects = vec![r#"{"ref": "a"}"#; 2_000].join(",");
    let vdr = format!(
        r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "vulnerabilities": [{{"id": "{long}", "affects": [{affects}]}}]}}"#
    );
    let records = vec![r#"{"id": "a"}"#; 2_000].join(",");
    let osv = format!(
        r#"{{"results": [{{"source": {{}}, "packages": [{{"package": {{"name": "{long}"}}, "vulnerabilities": [{records}]}}]}}]}}"#
    );
    let values: Vec<String> = (0..2_000).map(|at| format!("\"{at}\": 1")).collect();
    let k6 = format!(r#"{{"root_group": {{}}, "metrics": {{"{long}": {{{}}}}}}}"#, values.join(","));
    for text in [sarif, vdr, osv, k6] {
        assert!(matches!(outcome(&text), ReportError::TooLarge(_)), "{}", outcome(&text));
    }
    let licences = vec![r#"{"license": {"id": "MIT"}}, {"license": {"name": "own"}}"#; 20_000].join(",");
    let bill = format!(
        r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{{"name": "a", "licenses": [{licences}]}}]}}"#
    );
    let began = std::time::Instant::now();
    read(bill.as_bytes()).expect("a bill");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn numbers_are_taken_by_pointer_and_a_missing_one_is_not_zero() {
    let wanted =
        |pointer: &str| Wanted { name: "n".to_owned(), pointer: pointer.to_owned(), unit: Some("ms".to_owned()) };
    let document = br#"{"a": [{"b/c": 1.5}], "d": "7", "e": null}"#;
    let report = numbers(document, &[wanted("/a/0/b~1c")]).expect("a number");
    let found = report.numbers.expect("numbers");
    assert_eq!(found.get("n").map(|number| (number.value.get(), number.unit.as_deref())), Some((1.5, Some("ms"))));
    for pointer in ["/a/1/b~1c", "/d", "/e", "/a", "a", "/a/00/b~1c", "/x"] {
        let error = numbers(document, &[wanted(pointer)]).expect_err(pointer);
        assert!(matches!(&error, ReportError::Broken { at: Place::Pointer(at), .. } if at == pointer), "{error}");
    }
    assert!(numbers(b"<a/>", &[]).is_err());
}

#[test]
fn what_is_read_of_an_envelope_is_what_its_signature_is_over() {
    let envelope = include_str!("../samples/envelope/cosign-sign.json");
    let genuine = read(envelope.as_bytes()).expect("an envelope");
    let evil = "cd".repeat(32);
    for around in [
        r#""_type": "https://in-toto.io/Statement/v1", "predicateType": "https://sigstore.dev/cosign/sign/v1", "subject": [{"digest": {"sha256": "EVIL"}}],"#,
        r#""_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1", "subject": [{"digest": {"sha256": "EVIL"}}],
           "predicate": {"buildDefinition": {"buildType": "x"}, "runDetails": {"builder": {"id": "x"}}},"#,
        r#""@context": "https://openvex.dev/ns/v0.2.0", "statements": [],"#,
        r#""SchemaVersion": 2, "Results": [], "Metadata": {"ImageID": "sha256:EVIL"},"#,
        r#""bomFormat": "CycloneDX", "specVersion": "1.6", "components": [],"#,
    ] {
        let mixed = envelope.replacen('{', &format!("{{{}", around.replace("EVIL", &evil)), 1);
        assert_eq!(read(mixed.as_bytes()), Ok(genuine.clone()), "{mixed}");
    }
}

/// An in-toto statement of this type on an image, and an envelope around it.
fn attested(kind: &str, predicate: &serde_json::Value) -> (String, String) {
    use base64::Engine as _;
    let statement = serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": kind, "predicate": predicate,
        "subject": [{ "digest": { "sha256": "ab".repeat(32) } }],
    });
    let payload = base64::engine::general_purpose::STANDARD.encode(statement.to_string());
    let envelope = serde_json::json!({
        "payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": [{ "sig": "AA==" }],
    });
    (statement.to_string(), envelope.to_string())
}

const CUSTOM: &str = "https://cosign.sigstore.dev/attestation/v1";

#[test]
fn what_cosign_attests_of_a_document_of_any_format_is_that_document_bound_to_what_was_attested() {
    let junit = r#"<testsuite name="unit" tests="2"><testcase name="a"/><testcase name="b"/></testsuite>"#;
    let k6 = r#"{"root_group": {}, "metrics": {"http_reqs": {"count": 7}}}"#;
    for (text, tests, numbers) in
        [(junit, Some(2), false), ("SF:a.rs\nDA:1,1\nend_of_record\n", None, false), (k6, None, true)]
    {
        let predicate = serde_json::json!({ "Data": text, "Timestamp": "2026-11-22T12:00:00Z" });
        for text in <[String; 2]>::from(attested(CUSTOM, &predicate)) {
            let report = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(report.tests.as_ref().map(|run| run.counted.tests), tests);
            assert_eq!(report.numbers.is_some(), numbers);
            assert_eq!(report.about.bound[0].digest.hex(), "ab".repeat(32));
            let at = "2026-11-22T12:00:00Z".parse().ok();
            assert_eq!(report.about.made, at, "what says no other date is of the day on which it was attested");
            let suites: Vec<&str> = report.about.suites.iter().map(String::as_str).collect();
            assert_eq!(suites, tests.map(|_| vec!["unit"]).unwrap_or_default());
        }
    }
    for (own, expected) in
        [("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"), ("2026-11-30T00:00:00Z", "2026-11-22T12:00:00Z")]
    {
        let text = format!(r#"<testsuite name="unit" timestamp="{own}" tests="1"><testcase name="a"/></testsuite>"#);
        let (text, _) = attested(CUSTOM, &serde_json::json!({ "Data": text, "Timestamp": "2026-11-22T12:00:00Z" }));
        let made = read(text.as_bytes()).expect("a report").about.made;
        assert_eq!(made, expected.parse().ok(), "to attest it later makes it no younger");
    }
    let (text, _) = attested(CUSTOM, &serde_json::json!({ "Data": junit, "Timestamp": "yesterday" }));
    assert!(matches!(outcome(&text), ReportError::Broken { .. }), "{:?}", outcome(&text));
    // One statement in another would be bound to the outer subject, and say another.
    let (statement, envelope) = attested("x", &serde_json::json!({}));
    for inner in [statement, envelope, "<html/>".to_owned(), String::new()] {
        let (text, _) = attested(CUSTOM, &serde_json::json!({ "Data": inner }));
        assert!(matches!(outcome(&text), ReportError::NotKnown(_)), "{text}: {:?}", outcome(&text));
    }
    assert!(matches!(outcome(&attested(CUSTOM, &serde_json::json!({ "Data": 7 })).0), ReportError::Broken { .. }));
}

#[test]
fn numbers_are_taken_out_of_what_was_signed_and_of_nothing_beside_it() {
    let own = serde_json::json!({ "latency": { "p95": 7 } });
    for (kind, predicate) in
        [("https://acme.test/bench", own.clone()), (CUSTOM, serde_json::json!({ "Data": own.to_string() }))]
    {
        let (_, envelope) = attested(kind, &predicate);
        let beside = envelope.replacen('{', r#"{"latency": {"p95": 1},"#, 1);
        for text in [envelope, beside] {
            let report = numbers_there(text.as_bytes(), &["/latency/p95"]).expect("numbers");
            let found = report.numbers.expect("numbers");
            assert_eq!(found.get("/latency/p95").map(|number| number.value.get()), Some(7.0), "{text}");
            assert_eq!(report.about.bound[0].digest.hex(), "ab".repeat(32));
            let suites = report.about.suites.iter().map(String::as_str);
            assert_eq!(suites.collect::<Vec<_>>(), if kind == CUSTOM { vec![] } else { vec!["bench"] });
        }
    }
    let plain = numbers_there(own.to_string().as_bytes(), &["/latency/p95"]).expect("numbers");
    assert!(plain.about.bound.is_empty() && plain.numbers.is_some_and(|all| all.list.len() == 1));
    let other =
        r#"{"payloadType": "text/plain", "payload": "e30=", "signatures": [{"sig": "AA=="}], "latency": {"p95": 1}}"#;
    assert!(matches!(numbers_there(other.as_bytes(), &["/latency/p95"]), Err(ReportError::NotKnown(_))));
}

#[test]
fn an_envelope_of_very_many_signatures_is_broken() {
    let one = r#"{"sig": "AA=="}"#;
    let of = |count: usize| {
        let all = vec![one; count].join(", ");
        format!(r#"{{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": [{all}]}}"#)
    };
    assert!(outcome(&of(33)).to_string().contains("at most 32"), "{}", outcome(&of(33)));
    assert!(!outcome(&of(32)).to_string().contains("at most 32"));
}
