//! Gates over evidence in files: what each key means, and what of them is refused.

#![expect(clippy::unwrap_used, reason = "a test, which fails by panicking")]

use promo_core::config;
use promo_core::evidence::{Finite, Level};
use promo_core::model::Pipeline;
use promo_core::policy::policy;
use promo_core::requirement::{Baseline, Fixes, Requirement, Scope, Suppressions, Unknown};

const HEAD: &str = "format = 1\n[pipeline]\nname = \"app\"\n[artifacts.api]\nimage = \"registry.test/api\"\n";

fn read(gates: &str) -> (Option<Pipeline>, Vec<(&'static str, bool, String)>) {
    let (pipeline, told) = config::pipeline(&format!("{HEAD}{gates}"), &[]);
    (pipeline, told.iter().map(|one| (one.code, one.is_error(), one.message.clone())).collect())
}

/// A pipeline with one gate, which an environment names.
fn gate(gate: &str) -> (Option<Requirement>, Vec<(&'static str, bool, String)>) {
    let dev = "[environments.dev]\ntier = \"development\"\ngates = [\"g\"]\n";
    let (pipeline, told) = read(&format!("[gates]\ng = {{ {gate} }}\n{dev}"));
    (pipeline.map(|pipeline| pipeline.gates["g"].requirement.clone()), told)
}

fn number(value: f64) -> Option<Finite> {
    Some(Finite::new(value).unwrap())
}

#[test]
fn every_key_of_a_scan_means_something() {
    let (found, told) = gate(
        "scan = { deny = [\"critical\", \"high\"], at_most = { medium = 5 }, scanners = [\"trivy\", \"grype\"], max_age = \"7d\", \
         database_max_age = \"2d\", unknown_as = \"critical\", severity = \"highest\", fixes = \"available\", suppressed = \"shown\", scope = \"any\" }",
    );
    let Some(Requirement::Scan(scan)) = found else { panic!("{told:?}") };
    assert_eq!((scan.deny, scan.unknown_as, scan.highest), (Some(Level::High), Level::Critical, true));
    assert_eq!(scan.at_most, [(Level::Medium, 5)].into());
    assert_eq!(scan.scanners, ["trivy", "grype"].map(String::from).into());
    assert_eq!((scan.max_age, scan.database_max_age), (Some(604_800), Some(172_800)));
    assert_eq!((scan.fixes, scan.suppressions, scan.scope), (Fixes::Available, Suppressions::Shown, Scope::Any));
    let (found, told) = gate("scan = { deny = [\"negligible\"], unknown_as = \"ignore\" }");
    let Some(Requirement::Scan(scan)) = found else { panic!("{told:?}") };
    assert_eq!((scan.deny, scan.unknown_as), (Some(Level::Negligible), Level::None), "below all that is denied");
    let (found, _) = gate("scan = { deny = [\"critical\"] }");
    let Some(Requirement::Scan(scan)) = found else { panic!() };
    assert_eq!((scan.deny, scan.unknown_as, scan.max_age), (Some(Level::Critical), Level::High, None));
    assert_eq!((scan.fixes, scan.suppressions, scan.scope), (Fixes::Any, Suppressions::Count, Scope::EachPlatform));
}

#[test]
fn a_licence_that_spdx_does_not_have_is_an_error_where_it_is_denied_and_a_warning_where_it_is_allowed() {
    let told = |key: &str, pattern: &str| {
        let other = if key == "deny" { "" } else { ", \"MIT\"" };
        gate(&format!("licences = {{ {key} = [\"{pattern}\"{other}] }}")).1
    };
    for pattern in [
        "MIT",
        "mit",
        "GPL-3.0",
        "GPL-3.0+",
        "GPL-3.0-or-later",
        "AGPL-*",
        "*",
        "*GPL*",
        "LicenseRef-Acme",
        "LicenseRef-*",
        "License*",
        "DocumentRef-a:LicenseRef-b",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "GPL-2.0-only with *",
        "Apache-2.0*LLVM*",
        "Apache-2.0 WITH AdditionRef-a",
    ] {
        assert_eq!((told("allow", pattern), told("deny", pattern)), (vec![], vec![]), "{pattern}");
    }
    for (pattern, meant) in [
        ("AGPL3", None),
        ("GPLv3*", None),
        ("GPL-2.0-only WITH Class-path", None),
        ("GPL-2.0-only WITH Classpath-exception-2", Some("GPL-2.0-only WITH Classpath-exception-2.0")),
        ("Apache 2.0", Some("Apache-2.0")),
        ("BSD-3-Claus", Some("BSD-3-Clause")),
    ] {
        for (key, is_error) in [("allow", false), ("deny", true)] {
            let found = told(key, pattern);
            assert!(
                matches!(&found[..], [("gate-licence", error, _)] if *error == is_error),
                "{key} {pattern}: {found:?}"
            );
        }
        let text = format!("{HEAD}[gates]\ng = {{ licences = {{ deny = [\"{pattern}\"] }} }}\n");
        let told = config::pipeline(&text, &[]).1;
        let one = told.iter().find(|one| one.code == "gate-licence").unwrap();
        assert_eq!(one.suggestion.as_deref(), meant, "{pattern}");
    }
}

#[test]
fn every_other_requirement_reads_its_keys() {
    let read = |text: &str| {
        let (found, told) = gate(text);
        found.unwrap_or_else(|| panic!("{text}: {told:?}"))
    };
    let Requirement::Licences(licences) = read("licences = { deny = [\"AGPL-*\"], unknown = \"take-of-system\" }")
    else {
        panic!()
    };
    assert_eq!((licences.deny, licences.unknown), (["AGPL-*".to_string()].into(), Unknown::TakeOfSystem));
    for (text, least) in [("sbom = \"required\"", 1), ("sbom = {}", 1), ("sbom = { components = 20 }", 20)] {
        let Requirement::Sbom(bill) = read(text) else { panic!() };
        assert_eq!(bill.least, least, "{text}");
    }
    let Requirement::Tests(tests) = read("tests = { suites = [\"unit\"], pass_rate = \"99.5\", skipped = 3 }") else {
        panic!()
    };
    assert_eq!((tests.pass_rate, tests.failed, tests.skipped), (number(99.5), None, Some(3)));
    let Requirement::Coverage(coverage) = read("coverage = { lines = \"80\", branches = \"70\" }") else { panic!() };
    assert_eq!((coverage.lines, coverage.branches, coverage.functions), (number(80.0), number(70.0), None));
    let Requirement::Number(p95) = read("number = { name = \"/p95\", max = \"250\", higher_by = \"10\" }") else {
        panic!()
    };
    assert_eq!(
        (p95.most, p95.least, p95.baseline),
        (number(250.0), None, Some(Baseline::HigherBy(number(10.0).unwrap())))
    );
    let Requirement::Metadata(metadata) = read("metadata = [\"commit\", \"ci.run\"]") else { panic!() };
    assert_eq!((metadata.keys.len(), metadata.signed, metadata.run_ids.len()), (2, false, 0));
    let Requirement::Metadata(metadata) = read("metadata = { keys = [\"commit\"], run_ids = [\"build.number\"] }")
    else {
        panic!()
    };
    let asked: Vec<&str> = metadata.keys.iter().map(String::as_str).collect();
    assert_eq!((asked, metadata.run_ids), (vec!["commit", "run-id"], vec!["build.number".to_string()]));
}

#[test]
fn s1_4_a_gate_that_lets_everything_pass_is_refused_and_so_is_one_of_no_kind_or_two() {
    for (text, code) in [
        ("scan = {}", "gate-empty"),
        ("scan = { max_age = \"7d\" }", "gate-empty"),
        ("licences = { unknown = \"refuse\" }", "gate-empty"),
        ("scan = { at_most = { high = 1000000 } }", "gate-empty"),
        ("scan = { deny = [\"critical\"], max_age = \"730d\" }", "gate-empty"),
        ("scan = { deny = [\"critical\"], database_max_age = \"730d\" }", "gate-empty"),
        ("licences = { allow = [\"*\"], unknown = \"take\" }", "gate-empty"),
        ("sbom = { components = 0 }", "gate-empty"),
        ("metadata = {}", "gate-empty"),
        ("metadata = { signed = false }", "gate-empty"),
        ("metadata = { keys = [\"run-id\"], signed = true }", "gate-signers"),
        ("tests = { pass_rate = \"0\" }", "gate-empty"),
        ("tests = { failed = 9999999 }", "gate-empty"),
        ("tests = { pass_rate = \"0\", skipped = 1000000 }", "gate-empty"),
        ("coverage = { lines = \"0\" }", "gate-empty"),
        ("coverage = { lines = \"0\", branches = \"0\" }", "gate-empty"),
        ("coverage = {}", "gate-empty"),
        ("number = { name = \"/p95\" }", "gate-empty"),
        ("metadata = []", "config-empty"),
        ("signature = {}", "config-missing-key"),
        ("signature = { by = [] }", "config-empty"),
        ("signature = { by = [\"nobody\"] }", "config-unknown-name"),
        ("provenance = { builders = [\"https://ci.example\"] }", "config-missing-key"),
        ("scan = { deny = [\"critical\"], vex = [\"nobody\"] }", "config-unknown-name"),
        ("artifacts = [\"api\"]", "config-one-kind"),
        ("scan = { deny = [\"critical\"] }, sbom = \"required\"", "config-one-kind"),
        ("number = { name = \"/p95\", higher_by = \"1\", lower_by = \"1\" }", "config-duplicate"),
        ("number = { max = \"1\" }", "config-missing-key"),
        ("number = { name = \"/p95\", max = 250 }", "config-wrong-type"),
        ("scan = { deny = [\"terrible\"] }", "config-wrong-value"),
        ("scan = { deny = [] }", "config-empty"),
        ("scn = { deny = [\"critical\"] }", "config-unknown-key"),
        ("sbom = \"optional\"", "config-wrong-value"),
        ("artifacts = [\"web\"], sbom = \"required\"", "config-unknown-name"),
        ("artifacts = [\"api\"], kinds = [\"chart\"], sbom = \"required\"", "config-one-kind"),
        ("kinds = [\"chart\"]", "config-one-kind"),
        ("kinds = [\"file\"], sbom = \"required\"", "config-wrong-value"),
    ] {
        let (found, told) = gate(text);
        assert!(found.is_none(), "{text}");
        assert!(told.iter().any(|(told, error, _)| *told == code && *error), "{text}: {told:?}");
    }
    assert!(gate("tests = {}").0.is_some(), "no test may have failed, which is something");
    for text in [
        "scan = { at_most = { high = 999999 } }",
        "scan = { deny = [\"critical\"], max_age = \"729d\" }",
        "licences = { allow = [\"*\"] }",
        "tests = { pass_rate = \"0\", flaky = 3 }",
        "tests = { pass_rate = \"0.1\" }",
        "coverage = { lines = \"0\", branches = \"1\" }",
    ] {
        let (found, told) = gate(text);
        assert!(found.is_some(), "{text}: {told:?}");
    }
}

#[test]
fn what_nothing_names_binds_nothing_and_is_told_and_what_is_not_there_cannot_be_named() {
    let dev = "[environments.dev]\ntier = \"development\"\n";
    let unused = "[gates]\ng = { sbom = \"required\" }\n";
    let (pipeline, told) = read(&format!("{unused}{dev}"));
    assert!(pipeline.is_some());
    assert_eq!(told.iter().map(|(code, error, _)| (*code, *error)).collect::<Vec<_>>(), [("gate-unused", false)]);
    let (pipeline, told) = read(&format!("{unused}{dev}gates = [\"h\"]\n"));
    assert!(pipeline.is_none() && told.iter().any(|(code, ..)| *code == "config-unknown-name"), "{told:?}");
    let platform = "format = 1\n[policy]\nname = \"platform\"\nversion = 1\n[gates]\ng = { sbom = \"required\" }\n";
    let (found, told) = policy(platform);
    assert!(found.is_some() && told.iter().any(|one| one.code == "gate-unused"), "{told:?}");
    let (found, told) = policy(&format!("{platform}[tiers.testing]\ngates = [\"g\"]\n"));
    assert!(found.is_some() && told.is_empty(), "{told:?}");
}

#[test]
fn an_exception_has_an_owner_a_reason_and_a_last_day_and_is_of_the_scans_of_its_file() {
    let text = "[[exceptions]]\nid = \"CVE-2026-1\"\nowner = \"dana\"\nreason = \"not reachable\"\nexpires = \"2026-12-31\"\n\
                [gates]\nscan = { scan = { deny = [\"critical\"] } }\nbill = { sbom = \"required\" }\n\
                [environments.dev]\ntier = \"development\"\ngates = [\"scan\", \"bill\"]\n";
    let (pipeline, told) = read(text);
    let pipeline = pipeline.unwrap_or_else(|| panic!("{told:?}"));
    let exceptions = &pipeline.gates["scan"].exceptions;
    assert_eq!((exceptions.len(), pipeline.gates["bill"].exceptions.len()), (1, 0));
    assert_eq!(exceptions[0].exception.expires.to_string(), "2027-01-01T00:00:00Z");
    for key in ["owner", "reason", "expires", "id"] {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap();
        let (pipeline, told) = read(&text.replace(&format!("{line}\n"), ""));
        assert!(pipeline.is_none(), "{key}");
        assert!(told.iter().any(|(code, ..)| *code == "config-missing-key"), "{key}: {told:?}");
    }
    let (_, told) = read(&text.replace("2026-12-31", "31.12.2026"));
    assert!(told.iter().any(|(code, ..)| *code == "gate-exception"), "{told:?}");
}

#[test]
fn a_pipeline_without_gates_has_the_digest_that_it_had() {
    let (pipeline, _) = read("[environments.dev]\ntier = \"development\"\n");
    let text = serde_json::to_string(&pipeline.unwrap()).unwrap();
    assert!(!text.contains("gates") && !text.contains("exceptions"), "{text}");
}
