//! Values made from a published schema: one for each of its alternatives, with everything that may be there and with nothing that
//! need not. What must not live here: what they are compared with.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::growth::{labelled, resolve};

/// How deep optional parts are filled.
const DEPTH: usize = 6;

/// Values of a schema by what is particular about them: `full` and `bare`, and for each field with alternatives one value for each of
/// those, `outcome-waiting`.
pub(crate) fn variants(root: &Value, schema: &Value) -> BTreeMap<String, Value> {
    let (schema, _) = resolve(root, schema);
    let (full, bare) = (value(root, &schema, true, 0), value(root, &schema, false, 0));
    let mut out = BTreeMap::from([("full".to_owned(), full.clone())]);
    if bare != full {
        out.insert("bare".to_owned(), bare);
    }
    for (field, of) in schema["properties"].as_object().into_iter().flatten() {
        let all = alternatives(root, of);
        for (label, one) in all.iter().filter(|_| all.len() > 1) {
            let mut varied = full.clone();
            varied[field] = value(root, one, true, 1);
            out.insert(format!("{field}-{label}"), varied);
        }
    }
    out
}

/// What a field can be, by name. That it can be null is no alternative.
pub(crate) fn alternatives(root: &Value, schema: &Value) -> BTreeMap<String, Value> {
    let (schema, _) = resolve(root, schema);
    let mut out = BTreeMap::new();
    for word in ["oneOf", "anyOf"] {
        for (label, one) in labelled(root, &schema[word]).into_iter().filter(|(_, one)| one["type"] != "null") {
            let inner = if one.get("oneOf").is_some() { alternatives(root, &one) } else { BTreeMap::new() };
            if inner.is_empty() {
                out.insert(label, one);
            }
            out.extend(inner);
        }
    }
    for one in schema["enum"].as_array().into_iter().flatten() {
        out.insert(one.as_str().unwrap_or_default().to_owned(), json!({"const": one}));
    }
    out
}

/// A value that the schema allows.
fn value(root: &Value, schema: &Value, full: bool, depth: usize) -> Value {
    let (schema, _) = resolve(root, schema);
    let full = full && depth < DEPTH;
    if let Some(word) = schema.get("const") {
        return word.clone();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(all) = schema[word].as_array() {
            let null = all.iter().find(|one| one["type"] == "null").filter(|_| !full);
            let some = || all.iter().find(|one| one["type"] != "null").expect("an alternative");
            return value(root, null.unwrap_or_else(some), full, depth + 1);
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    if !full && types.contains(&"null") {
        return Value::Null;
    }
    match types.iter().find(|word| **word != "null") {
        Some(&"string") => text(&schema).into(),
        Some(&"integer") => schema["minimum"].as_u64().unwrap_or(0).max(3).into(),
        Some(&"boolean") => full.into(),
        Some(&"array") => array(root, &schema, full, depth),
        Some(&"object") => object(root, &schema, full, depth),
        None if schema["properties"].is_object() => object(root, &schema, full, depth),
        // Anything: in records that is a signed statement with its signature.
        None => json!({"statement": "a statement", "signature": "a signature"}),
        Some(other) => panic!("values of the type {other} are not made"),
    }
}

fn array(root: &Value, schema: &Value, full: bool, depth: usize) -> Value {
    if let Some(all) = schema["prefixItems"].as_array() {
        return all.iter().map(|one| value(root, one, full, depth + 1)).collect();
    }
    let some = full || schema["minItems"].as_u64().is_some_and(|least| least > 0);
    let items = some.then(|| value(root, &schema["items"], full, depth + 1));
    items.into_iter().collect()
}

fn object(root: &Value, schema: &Value, full: bool, depth: usize) -> Value {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut out = Map::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if full || required.contains(&name.as_str()) {
            let field = value(root, field, full, depth + 1);
            // What may be absent is left out, and not null.
            if required.contains(&name.as_str()) || !field.is_null() {
                out.insert(name.clone(), field);
            }
        }
    }
    let patterns = schema["patternProperties"].as_object().and_then(|all| all.iter().next());
    let free = Some(&schema["additionalProperties"]).filter(|free| free.is_object());
    if let Some((pattern, of)) = patterns.filter(|_| full) {
        out.insert(text(&json!({"pattern": pattern})), value(root, of, full, depth + 1));
    } else if let Some(of) = free.filter(|_| full) {
        out.insert(text(&schema["propertyNames"]), value(root, of, full, depth + 1));
    }
    out.into()
}

fn text(schema: &Value) -> String {
    match (schema["pattern"].as_str(), schema["format"].as_str()) {
        (Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), _) => "staging".into(),
        (Some("^sha256:[0-9a-f]{64}$"), _) => format!("sha256:{}", "0123456789abcdef".repeat(4)),
        (Some("^r-[0-9a-f]{12}$"), _) => "r-0123456789ab".into(),
        (Some("^[0-9a-f]{32}$"), _) => "0123456789abcdef".repeat(2),
        (Some("^SHA256:[A-Za-z0-9+/]{43}$"), _) => format!("SHA256:{}", "A".repeat(43)),
        (Some(other), _) => panic!("texts like {other} are not made"),
        (None, Some("date-time")) => "2026-11-20T13:02:10Z".into(),
        (None, Some(other)) => panic!("texts of the format {other} are not made"),
        (None, None) => "words".into(),
    }
}
