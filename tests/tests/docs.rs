//! The documentation against the code: pages name every code, key, exit code, event and reason that exists, and the
//! examples of error pages really give the error that they explain.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use promo_core::config::{self, Limits};
use promo_core::diagnostic::{CODES, Diagnostic};
use promo_core::kinds::KindSchema;
use promo_core::policy::{TrustMode, govern, policy};
use promo_core::trust::trust;
use serde_json::Value;

/// Codes whose example is a description, with the reason.
const WITHOUT_EXAMPLE: &[(&str, &str)] = &[
    ("toml-encoding", "Markdown is UTF-8"),
    ("limit-file-size", "the page would be a megabyte"),
    ("limit-depth", "the page would be unreadable"),
    ("limit-text", "the page would be unreadable"),
    ("limit-environments", "the page would be unreadable"),
    ("floor-verification", "no file gets past environment-no-verify"),
    ("floor-start", "no file gets past environment-auto-production"),
];

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeo";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn kinds() -> Vec<KindSchema> {
    vec![promo_providers::directory::schema(), promo_providers::command::schema(), promo_providers::http::schema()]
}

/// The fenced blocks of a page with exactly this word after the fence.
fn blocks(page: &str, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) if info == word => open = Some(String::new()),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(text), None) => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    found
}

/// An example with the tables around it that every file of its kind has. They come after it: the places are its own.
fn whole(example: &str, around: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (table, default) in around {
        let has = example.lines().any(|line| {
            let line = line.trim_start_matches('[');
            line.strip_prefix(table).is_some_and(|rest| rest.starts_with([']', '.', ' ']))
        });
        if !has {
            text.push_str(default);
        }
    }
    // Keys of the root stand before the first table.
    let (keys, tables): (String, String) = if example.trim_start().starts_with('[') {
        (String::new(), example.to_owned())
    } else {
        (example.to_owned(), String::new())
    };
    let (roots, rest) = match text.strip_prefix("format = 1\n") {
        Some(rest) => ("format = 1\n", rest),
        None => ("", text.as_str()),
    };
    format!("{keys}{roots}{rest}{tables}")
}

fn pipeline_text(example: &str) -> String {
    whole(
        example,
        &[
            ("format", "format = 1\n"),
            ("pipeline", "[pipeline]\nname = \"shop\"\n"),
            ("artifacts", "[artifacts.api]\nimage = \"registry.internal/shop/api\"\n"),
            ("checks", "[checks.smoke]\ncommand = { run = [\"true\"] }\n"),
            ("environments", "[environments.dev]\ntier = \"development\"\n"),
        ],
    )
}

fn policy_text(example: &str) -> String {
    let people = format!("[identities.maria]\nroles = [\"release-manager\"]\nkeys = [\"{KEY}\"]\n");
    whole(
        example,
        &[
            ("format", "format = 1\n"),
            ("policy", "[policy]\nname = \"platform\"\nversion = 1\n"),
            ("identities", &people),
        ],
    )
}

/// Every code that the examples of a page give, in any of the ways in which promo can be run.
fn codes_of(page: &str) -> BTreeSet<&'static str> {
    let mut told: Vec<Diagnostic> = Vec::new();
    let policies: Vec<_> = blocks(page, "toml policy").iter().map(|text| policy(&policy_text(text))).collect();
    let trusts: Vec<_> = blocks(page, "toml trust").iter().map(|text| trust(text)).collect();
    let (plain, _) = policy(&policy_text(""));
    let mut laid: Vec<_> = policies.iter().filter_map(|(policy, _)| policy.as_ref()).collect();
    laid.extend(plain.as_ref());
    for example in blocks(page, "toml pipeline") {
        let loaded = config::load(&pipeline_text(&example), &kinds(), &Limits::default());
        if let Some(pipeline) = &loaded.pipeline {
            for mode in [TrustMode::Local, TrustMode::Trusted] {
                let rules = laid.iter().map(|policy| Some(*policy)).chain([None]);
                told.extend(rules.flat_map(|rules| govern(pipeline, &loaded.places, rules, mode).1));
            }
        }
        for trusted in trusts.iter().filter_map(|(trust, _)| trust.as_ref()) {
            told.extend(trusted.compare(&loaded.repeated, &loaded.places));
        }
        told.extend(loaded.diagnostics);
    }
    for trusted in trusts.iter().filter_map(|(trust, _)| trust.as_ref()) {
        told.extend(laid.iter().filter_map(|policy| trusted.admit(policy).err()));
    }
    told.extend(policies.into_iter().flat_map(|(_, told)| told));
    told.extend(trusts.into_iter().flat_map(|(_, told)| told));
    told.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn every_code_of_a_file_has_a_page_whose_example_gives_it() {
    let exempt: BTreeSet<&str> = WITHOUT_EXAMPLE.iter().map(|(code, _)| *code).collect();
    let mut wrong = Vec::new();
    for (code, about) in CODES {
        let page = read(&format!("docs/errors/{code}.md"));
        let line = page.lines().nth(2).unwrap_or_default().trim_end_matches('.').to_lowercase();
        if line != about.to_lowercase() {
            wrong.push(format!("{code}: the page says `{line}`, the code says `{about}`"));
        }
        if !exempt.contains(code) && !codes_of(&page).contains(code) {
            wrong.push(format!("{code}: the example gives {:?}", codes_of(&page)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_example_without_the_error_is_noticed() {
    let fine = "```toml pipeline\n[environments.dev]\ntier = \"development\"\n```\n";
    assert!(!codes_of(fine).contains("config-wrong-value"), "{:?}", codes_of(fine));
    assert!(codes_of(&fine.replace("development", "develop")).contains("config-wrong-value"));
}

/// Every property name of a schema, with the names of tables that carry names of the user's own left out.
fn schema_keys(schema: &Value, out: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                out.extend(properties.keys().cloned());
                properties.values().for_each(|value| schema_keys(value, out));
            }
            for key in ["additionalProperties", "items", "anyOf"] {
                map.get(key).into_iter().for_each(|value| schema_keys(value, out));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| schema_keys(item, out)),
        _ => {}
    }
}

fn names_every(page: &str, path: &str, words: impl IntoIterator<Item = String>) {
    let missing: Vec<String> = words.into_iter().filter(|word| !page.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "{path} does not name {missing:?}");
}

#[test]
fn the_reference_of_the_files_names_every_key_of_their_schemas() {
    let path = "docs/reference/pipeline.md";
    let page = read(path);
    for schema in [config::schema(&kinds()), config::policy_schema(), config::trust_schema()] {
        let mut keys = BTreeSet::new();
        schema_keys(&schema, &mut keys);
        assert!(keys.len() > 4, "{keys:?}");
        names_every(&page, path, keys);
    }
}

#[test]
fn the_example_of_the_reference_is_a_pipeline_without_a_fault() {
    let page = read("docs/reference/pipeline.md");
    let examples = blocks(&page, "toml promo.toml");
    assert!(!examples.is_empty());
    for example in examples {
        let loaded = config::load(&example, &kinds(), &Limits::default());
        assert!(loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
    }
    for example in blocks(&page, "toml policy.toml") {
        assert!(policy(&example).1.is_empty(), "{:#?}", policy(&example).1);
    }
    for example in blocks(&page, "toml trust.toml") {
        assert!(trust(&example).1.is_empty(), "{:#?}", trust(&example).1);
    }
}

#[test]
fn the_reference_of_the_ledger_names_every_kind_of_record_and_every_field() {
    let path = "docs/reference/ledger.md";
    let page = read(path);
    names_every(&page, path, promo_core::ledger::event::KINDS.map(String::from));
    let fields = "format seq prev rid kind pipeline environment run step epoch plan policy actor claimed_at recorded_at \
                  tool body commitments";
    names_every(&page, path, fields.split_whitespace().map(String::from));
}

#[test]
fn the_page_of_reasons_names_every_code_that_a_gate_can_carry() {
    let source = read("crates/promo-core/src/gate.rs");
    let arms = source.split("pub fn code(&self)").nth(1).unwrap().split("impl fmt::Display").next().unwrap();
    let codes: Vec<String> =
        arms.lines().filter_map(|line| Some(line.split_once("=> \"")?.1.split('"').next()?.to_owned())).collect();
    assert!(codes.len() > 30, "{codes:?}");
    names_every(&read("docs/reasons.md"), "docs/reasons.md", codes);
}

#[test]
fn the_page_of_exit_codes_names_every_number_that_the_engine_ends_with() {
    let source = read("crates/promo-engine/src/error.rs");
    let module = source.split("pub mod exit").nth(1).unwrap().split("impl EngineError").next().unwrap();
    let numbers: Vec<String> = module
        .lines()
        .filter_map(|line| {
            Some(line.trim().strip_prefix("pub const ")?.split_once("= ")?.1.trim_end_matches(';').to_owned())
        })
        .collect();
    assert!(numbers.len() > 12, "{numbers:?}");
    names_every(&read("docs/reference/exit-codes.md"), "docs/reference/exit-codes.md", numbers);
}

/// The name of a Rust test as it stands in backquotes on a page: several words, no path.
fn looks_like_a_test(word: &str) -> bool {
    word.matches('_').count() >= 4 && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[test]
fn every_fence_that_a_page_names_is_a_test_that_exists() {
    let sources: String = ["crates", "tests", "xtask"]
        .iter()
        .flat_map(|dir| walkdir::WalkDir::new(root().join(dir)))
        .filter_map(|entry| Some(entry.unwrap().into_path()).filter(|p| p.extension().is_some_and(|e| e == "rs")))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut named = 0;
    let mut missing = Vec::new();
    let designs = walkdir::WalkDir::new(root().join("docs/design"));
    let designs = designs.into_iter().map(|e| e.unwrap().into_path()).filter(|p| p.extension().is_some());
    for path in designs.chain([root().join("ARCHITECTURE.md")]) {
        let page = fs::read_to_string(&path).unwrap();
        for word in page.split('`').skip(1).step_by(2).filter(|word| looks_like_a_test(word)) {
            named += 1;
            if !sources.contains(&format!("fn {word}(")) {
                missing.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(named > 20, "{named}");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
