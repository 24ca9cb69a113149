//! The frozen copies of the published schemas (`tests/compat/v1/schemas`), and a document for everything that they tell apart: each
//! event, gate, outcome and reason, and each way in which the body of a record can look. What must not live here: what a format
//! may become, which is in `growth`.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::gate::Gate;
use promo_core::ledger::Event;
use serde_json::{Value, json};

use crate::corpus::{Adding, files};
use crate::growth::{Kind, refused};
use crate::samples::{alternatives, variants};
use crate::schemas::{self, published};

/// How each published format may grow, and which parts of it are open: `docs/reference/compatibility.md`.
const FORMATS: [(&str, Kind, &[&str]); 19] = [
    ("pipeline", Kind::Written, &[]),
    ("policy", Kind::Written, &[]),
    ("trust", Kind::Written, &[]),
    ("registries", Kind::Written, &[]),
    ("clusters", Kind::Written, &[]),
    ("sources", Kind::Written, &[]),
    // A plan that bears a new one names it in `requires`.
    ("plan", Kind::Closed, &["GateKind", "Reason"]),
    ("approval", Kind::Closed, &[]),
    ("approval-statement", Kind::Closed, &[]),
    ("request-statement", Kind::Closed, &[]),
    ("apply-statement", Kind::Closed, &[]),
    ("verdict-statement", Kind::Closed, &[]),
    ("lift-statement", Kind::Closed, &[]),
    ("withdrawal-statement", Kind::Closed, &[]),
    ("recall-lift-statement", Kind::Closed, &[]),
    ("authors-statement", Kind::Closed, &[]),
    // Kinds of records, events and answers.
    ("record", Kind::Closed, &[""]),
    ("events", Kind::Told, &["", "GateKind", "Reason"]),
    ("output", Kind::Told, &["", "GateKind", "Reason"]),
];

/// Fields of plans that the first version of their format did not have: a plan that bears one names its feature in `requires`
/// (`promo_core::plan`).
const NEW_IN_PLANS: [&str; 8] = ["tree", "other_images", "watch", "waves", "on_close", "drill", "failed", "attest"];
/// What a step of such a field does, and no other step: a plan in which one does is refused (`promo_core::lint`).
const NEW_ACTION: &str = "steps/items.action: the alternative attest is new";

/// Adds the copies, and documents of what the schemas tell apart.
pub(crate) fn add(adding: &mut Adding) {
    for (name, ..) in FORMATS {
        adding.file(&format!("schemas/{name}.json"), format!("{:#}\n", published(name)).as_bytes());
    }
    for (file, document) in documents() {
        adding.file(&file, format!("{document:#}\n").as_bytes());
    }
}

/// A document for everything that the schemas of today tell apart, by file.
fn documents() -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    let plan = published("plan");
    for (name, gate) in variants(&plan, &json!({"$ref": "#/$defs/Gate"})) {
        out.insert(format!("gates/{name}.json"), gate);
    }
    let record = published("record");
    for kind in record["oneOf"].as_array().unwrap() {
        let Some(name) = kind["properties"]["kind"]["const"].as_str() else { continue };
        for (variant, body) in variants(&record, &kind["properties"]["body"]) {
            out.insert(format!("bodies/{name}.{variant}.json"), json!({"kind": name, "body": body}));
        }
    }
    let events = published("events");
    for event in events["oneOf"].as_array().unwrap() {
        let name = event["properties"]["event"]["const"].as_str().unwrap();
        for (variant, line) in variants(&events, event).into_iter().filter(|(name, _)| name == "full" || name == "bare")
        {
            out.insert(format!("events/{name}.{variant}.json"), line);
        }
    }
    out
}

fn corpus(folder: &str) -> BTreeMap<String, Value> {
    files(folder).into_iter().map(|(name, bytes)| (name, serde_json::from_slice(&bytes).unwrap())).collect()
}

#[test]
fn no_published_schema_became_what_its_format_may_not() {
    let frozen = corpus("schemas");
    let named: BTreeSet<String> = FORMATS.iter().map(|(name, ..)| format!("{name}.json")).collect();
    assert_eq!(frozen.keys().cloned().collect::<BTreeSet<_>>(), named, "PROMO_COMPAT=add adds what is missing");
    assert_eq!(schemas::names(), named, "each published schema has a row here");
    for (name, kind, open) in FORMATS {
        let mut wrong = refused(&frozen[&format!("{name}.json")], &published(name), kind, open);
        let named =
            |wrong: &String| NEW_IN_PLANS.iter().any(|field| wrong.ends_with(&format!(": the field {field} is new")));
        wrong.retain(|wrong| name != "plan" || !(named(wrong) || wrong.ends_with(NEW_ACTION)));
        assert_eq!(wrong, [""; 0], "{name} is frozen: docs/reference/compatibility.md says what may change in it");
    }
}

#[test]
fn the_corpus_has_everything_that_the_schemas_tell_apart() {
    let mut missing = Vec::new();
    for folder in ["gates", "bodies", "events"] {
        let there = corpus(folder);
        let wanted =
            documents().into_keys().filter_map(|file| Some(file.strip_prefix(folder)?.strip_prefix('/')?.to_owned()));
        missing.extend(wanted.filter(|file| !there.contains_key(file)));
    }
    assert_eq!(missing, [""; 0], "PROMO_COMPAT=add adds what is missing");
    // What the documents bear, and not what they are called, is what counts.
    let plan = published("plan");
    let gates = corpus("gates");
    for (field, definition) in [("kind", "GateKind"), ("outcome", "Outcome"), ("reason", "Reason")] {
        let word = |gate: &Value| match &gate[field] {
            Value::Object(reason) => reason.keys().next().unwrap().clone(),
            word => word.as_str().unwrap().to_owned(),
        };
        let borne: BTreeSet<String> = gates.values().map(word).collect();
        let all = alternatives(&plan, &json!({"$ref": format!("#/$defs/{definition}")}));
        assert_eq!(borne, all.into_keys().collect(), "{field}");
    }
}

#[test]
fn every_gate_of_the_corpus_is_read_as_it_was_written_s1_1() {
    let plan = published("plan");
    let mut schema = plan["$defs"]["Gate"].clone();
    schema["$defs"] = plan["$defs"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (file, value) in corpus("gates") {
        validator.validate(&value).unwrap_or_else(|error| panic!("{file}: {error}"));
        let gate: Gate = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(serde_json::to_value(&gate).unwrap(), value, "{file}");
        let reason = gate.reason.code();
        assert!(value["reason"] == reason || value["reason"].get(reason).is_some(), "{file}");
        assert!(!gate.reason.to_string().is_empty(), "{file}");
    }
}

#[test]
fn every_body_of_a_record_in_the_corpus_is_read_as_it_was_written_s12_1() {
    for (file, value) in corpus("bodies") {
        let kind = value["kind"].as_str().unwrap();
        assert!(file.starts_with(&format!("{kind}.")), "{file}");
        let event = Event::from_parts(kind, &value["body"]).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_ne!(event, Event::Unknown, "{file}");
        assert_eq!(event.to_parts(), (kind.to_owned(), value["body"].clone()), "{file}");
    }
}

#[test]
fn every_event_of_the_corpus_is_as_published() {
    for (file, value) in corpus("events") {
        assert!(file.starts_with(&format!("{}.", value["event"].as_str().unwrap())), "{file}");
        schemas::check("events", &file, &value);
    }
}
