//! Pipelines that are wrong, one small file each. The first lines say what must be told, in the order of the text and
//! nothing besides: `# CODE LINE:COLUMN`, with `-> TEXT` where a misspelt word must be put right.
#![allow(clippy::unwrap_used, reason = "tests")]

mod config_support;

use std::collections::BTreeSet;
use std::path::Path;

use config_support::kinds;
use promo_core::config;
use promo_core::diagnostic::{Diagnostic, Source};

fn expectations(text: &str) -> Vec<String> {
    text.lines().map_while(|line| line.strip_prefix("# ")).map(str::to_string).collect()
}

fn found(source: &Source<'_>, diagnostic: &Diagnostic) -> String {
    let place = source.place(diagnostic).unwrap();
    let suggestion = diagnostic.suggestion.as_ref().map(|s| format!(" -> {s}")).unwrap_or_default();
    format!("{} {}:{}{suggestion}", diagnostic.code, place.line, place.column)
}

#[test]
fn each_wrong_pipeline_is_told_at_its_place_with_what_was_meant() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/negatives");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 120, "{} files", paths.len());
    let mut wrong = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let source = Source { name, text: &text };
        let (pipeline, diagnostics) = config::pipeline(&text, &kinds());
        assert_eq!(pipeline.is_none(), diagnostics.iter().any(Diagnostic::is_error), "{name}");
        for diagnostic in &diagnostics {
            assert!(!diagnostic.message.is_empty() && !diagnostic.message.ends_with('.'), "{name}: {diagnostic:?}");
            for label in &diagnostic.labels {
                assert!(text.get(label.span.clone()).is_some(), "{name}: {diagnostic:?}");
            }
        }
        let expected = expectations(&text);
        assert!(!expected.is_empty(), "{name} expects nothing");
        let found: Vec<_> = diagnostics.iter().map(|d| found(&source, d)).collect();
        if found != expected {
            let messages: Vec<_> = diagnostics.iter().map(|d| &d.message).collect();
            wrong.push(format!("{name}\n  expected {expected:?}\n  found    {found:?}\n  {messages:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_code_of_a_pipeline_file_has_a_file_here() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/negatives");
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        seen.extend(expectations(&text).iter().map(|line| line.split(' ').next().unwrap().to_string()));
    }
    // These need another file, bytes, or a text too large to keep; they are tested beside what they belong to.
    let elsewhere = ["trust-", "policy-", "floor-", "toml-encoding", "limit-file-size", "limit-environments"];
    for (code, _) in promo_core::diagnostic::CODES {
        let other = elsewhere.iter().any(|prefix| code.starts_with(prefix));
        assert!(other != seen.contains(*code), "{code}");
    }
}

#[test]
fn a_trusted_root_may_be_as_long_as_those_that_there_are() {
    let root = include_str!("../../promo-providers/src/signatures/sigstore/trusted-root.json");
    let pipeline = |root: &str| {
        format!(
            "format = 1\n[pipeline]\nname = \"shop\"\n[artifacts.api]\nimage = \"r.test/api\"\n[environments.dev]\ntier = \"development\"\n\
             gates = [\"signed\"]\n[gates]\nsigned = {{ signature = {{ by = [\"ci\"] }} }}\n[signers.ci]\nidentity = \"a@b.test\"\n\
             issuer = \"https://b.test\"\ntrusted_root = \"sigstore\"\n[trusted_roots.sigstore]\njson = '''\n{root}'''\n"
        )
    };
    let told = |root: &str| {
        let loaded = promo_core::config::load(&pipeline(root), &[], &promo_core::config::Limits::default());
        loaded.diagnostics.iter().filter(|told| told.is_error()).map(|told| told.code).collect::<Vec<_>>()
    };
    assert!(root.len() > 4096);
    assert_eq!(told(root), Vec::<&str>::new());
    assert_eq!(told(&" ".repeat(200 * 1024)), ["limit-text", "trusted-root"]);
}
