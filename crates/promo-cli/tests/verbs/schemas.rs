//! The published schemas (`docs/reference/schemas`), held to everything that promo really writes. What must not live here: how
//! they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Value, json};

pub(crate) fn published(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/reference/schemas/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Readers leave out fields that they do not know; here each field that is written has to be published.
fn close(schema: &mut Value) {
    if let Value::Object(all) = schema {
        if all.contains_key("properties") && !all.contains_key("oneOf") && !all.contains_key("additionalProperties") {
            all.insert("additionalProperties".into(), json!(false));
        }
        for (key, value) in all.iter_mut() {
            // The alternatives of a record say something of its body only.
            if !(key == "oneOf" && value[0]["properties"].get("body").is_some()) {
                close(value);
            }
        }
    } else if let Value::Array(all) = schema {
        all.iter_mut().for_each(close);
    }
}

/// Whether a value is what a schema says; `what` is its name in the report. Of a schema with one alternative for each kind that of
/// the value's kind is taken, so that the report says what is wrong with it.
pub(crate) fn check(schema: &str, what: &str, value: &Value) {
    static MADE: OnceLock<Mutex<BTreeMap<String, Validator>>> = OnceLock::new();
    let tag = match schema {
        "output" => "kind",
        "events" => "event",
        _ => "",
    };
    let kind = value.get(tag).and_then(Value::as_str).unwrap_or_default();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = made.entry(format!("{schema} {kind}")).or_insert_with(|| {
        let mut wanted = published(schema);
        if !tag.is_empty() {
            let all = wanted["oneOf"].as_array().unwrap();
            let mut one = all.iter().find(|one| one["properties"][tag]["const"] == kind).cloned();
            let one = one.as_mut().unwrap_or_else(|| panic!("{what}: no schema tells of {value}"));
            one["$defs"] = wanted["$defs"].take();
            wanted = one.take();
        }
        close(&mut wanted);
        jsonschema::validator_for(&wanted).unwrap()
    });
    let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{what} is not as schemas/{schema}.json says: {errors:#?}\n{value:#}");
}

/// One document, or one event, of standard output.
pub(crate) fn check_answer(what: &str, value: &Value) {
    check(if value.get("event").is_some() { "events" } else { "output" }, what, value);
}

/// The files of all published schemas.
pub(crate) fn names() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/schemas");
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every kind of document that is published.
pub(crate) fn kinds() -> BTreeSet<String> {
    let documents = published("output");
    let kind = |document: &Value| document["properties"]["kind"]["const"].as_str().unwrap().to_owned();
    documents["oneOf"].as_array().unwrap().iter().map(kind).collect()
}
