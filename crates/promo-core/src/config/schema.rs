//! JSON Schema (draft 7, which is what editors of TOML read) of promo's files, made from the tables of keys that the
//! reader itself goes by.

use alloc::format;
use alloc::string::String;

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Shape};
use crate::kinds::{KindSchema, Place, ValueKind};

const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of `promo.toml`, with the kinds of the given providers.
#[must_use]
pub fn schema(kinds: &[KindSchema]) -> Value {
    file("promo pipeline", keys::PIPELINE_FILE, kinds)
}

/// The schema of `policy.toml`.
#[must_use]
pub fn policy_schema() -> Value {
    file("promo policy", keys::POLICY_FILE, &[])
}

/// The schema of `trust.toml`.
#[must_use]
pub fn trust_schema() -> Value {
    file("promo trust file", keys::TRUST_FILE, &[])
}

fn file(title: &str, keys: &[Key], kinds: &[KindSchema]) -> Value {
    let mut out = table(keys, kinds);
    out["$schema"] = DIALECT.into();
    out["title"] = title.into();
    out
}

fn table(keys: &[Key], kinds: &[KindSchema]) -> Value {
    let mut properties = Map::new();
    for key in keys.iter().filter(|k| !matches!(k.shape, Shape::Later)) {
        let mut value = shape(key.shape, kinds);
        value["description"] = key.about.into();
        properties.insert(key.name.into(), value);
    }
    let required: Value = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn name() -> Value {
    json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"})
}

fn named(value: Value) -> Value {
    json!({"type": "object", "propertyNames": name(), "additionalProperties": value})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items, "minItems": 1})
}

fn distinct(items: Value) -> Value {
    json!({"type": "array", "items": items, "minItems": 1, "uniqueItems": true})
}

fn text_table() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string", "minLength": 1}, "minProperties": 1})
}

fn duration() -> Value {
    json!({"type": "string", "pattern": "^\\s*([0-9]+w\\s*)?([0-9]+d\\s*)?([0-9]+h\\s*)?([0-9]+m\\s*)?([0-9]+s\\s*)?$"})
}

fn decimal() -> Value {
    json!({"type": "string", "pattern": "^-?[0-9]{1,30}(\\.[0-9]{1,30})?$"})
}

fn shape(shape_of: Shape, kinds: &[KindSchema]) -> Value {
    match shape_of {
        Shape::Format => json!({"const": 1}),
        Shape::Text => json!({"type": "string", "minLength": 1}),
        Shape::Name => name(),
        Shape::Number(low, i64::MAX) => json!({"type": "integer", "minimum": low}),
        Shape::Number(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Duration => duration(),
        Shape::OneOf(allowed) => json!({"enum": allowed}),
        Shape::Names => distinct(name()),
        Shape::Words(allowed) => distinct(json!({"enum": allowed})),
        Shape::Texts => list(json!({"type": "string", "minLength": 1})),
        Shape::Civil => json!({"type": "string"}),
        Shape::Civils => json!({"type": "array", "items": {"type": "string"}}),
        Shape::Nth => json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 5}, {"const": "last"}]}),
        Shape::Table(keys) => table(keys, kinds),
        Shape::Named(keys) => named(table(keys, kinds)),
        Shape::Tables(keys) => list(table(keys, kinds)),
        Shape::TextTable => text_table(),
        Shape::NamedTextTables => named(text_table()),
        Shape::Kinds(place) => json!({"anyOf": [{"const": "none"}, kinds_at(place, kinds, false)]}),
        Shape::NamedKinds(place) => named(kinds_at(place, kinds, true)),
        Shape::After => json!({"anyOf": [distinct(name()), table(keys::AFTER, kinds)]}),
        Shape::Soaks => named(json!({"anyOf": [duration(), table(keys::SOAK, kinds)]})),
        Shape::Watch => json!({"anyOf": [duration(), table(keys::WATCH, kinds)]}),
        Shape::NamesOrAlways => json!({"anyOf": [{"const": "always"}, distinct(name())]}),
        Shape::Decimal => decimal(),
        Shape::RequiredOr(keys) => json!({"anyOf": [{"const": "required"}, table(keys, kinds)]}),
        Shape::TextsOr(keys) => json!({"anyOf": [shape(Shape::Texts, kinds), table(keys, kinds)]}),
        Shape::Later => Value::Bool(false),
    }
}

fn kinds_at(place: Place, kinds: &[KindSchema], exactly_one: bool) -> Value {
    let mut properties = Map::new();
    if place == Place::Check {
        let mut manual = table(keys::MANUAL, kinds);
        manual["description"] = "a person says whether it passed".into();
        properties.insert("manual".into(), manual);
    }
    for kind in kinds.iter().filter(|k| k.place == place) {
        let settings: Map<String, Value> = kind
            .keys
            .iter()
            .map(|key| {
                let mut value = match key.value {
                    ValueKind::Text => shape(Shape::Text, kinds),
                    ValueKind::Number => shape(Shape::Number(0, i64::MAX), kinds),
                    ValueKind::Flag => shape(Shape::Flag, kinds),
                    ValueKind::Duration => shape(Shape::Duration, kinds),
                    ValueKind::Texts => shape(Shape::Texts, kinds),
                    ValueKind::TextTable => shape(Shape::TextTable, kinds),
                    ValueKind::Table => json!({"type": "object"}),
                    ValueKind::ArtifactOrPath => shape(Shape::Text, kinds),
                    ValueKind::Decimal => decimal(),
                    ValueKind::Source => shape(Shape::Name, kinds),
                };
                value["description"] = format!("{}{}", key.about, if key.required { " (required)" } else { "" }).into();
                (key.name.clone(), value)
            })
            .collect();
        // What is required may come from the defaults, which a schema cannot see.
        let mut value = json!({"type": "object", "properties": settings, "additionalProperties": false});
        value["description"] = kind.about.as_str().into();
        properties.insert(kind.kind.clone(), value);
    }
    let mut out = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if exactly_one {
        out["minProperties"] = 1.into();
        out["maxProperties"] = 1.into();
    }
    out
}
