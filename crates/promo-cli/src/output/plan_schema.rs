//! The JSON schema of the plan file, format 1. The types of a plan live in a crate without schemars, so the schema is
//! written down here, closed against unknown fields as the reader is, and held against real plans by a test.

use serde_json::{Map, Value, json};

use crate::codes::CODES;

/// The schema of a saved plan.
pub(crate) fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "promo plan",
        "description": "What moves where and why. Its digest is the SHA-256 of its canonical form (RFC 8785).",
        "type": "object",
        "additionalProperties": false,
        "required": ["body", "format", "kind", "requires"],
        "properties": {
            "kind": {"const": promo_core::plan::KIND},
            "format": {"const": promo_core::plan::FORMAT},
            "requires": list(text()),
            "body": plan(),
        },
        "definitions": {
            "gate": closed(fields([
                ("kind", words(&["artifact", "order", "predecessor", "join", "quarantine", "freeze", "soak", "arrival", "approval",
                    "window", "lock"])),
                ("outcome", words(&["satisfied", "overridden", "deferred", "waiting", "expired", "refused"])),
                ("reason", reason()),
                ("until", instant()),
            ]), &["until"]),
            "step": closed(fields([
                ("id", text()),
                ("action", words(&["copy", "deploy"])),
                ("provider", text()),
                ("target", name()),
                ("inputs", defined("inputs")),
                ("expected", state()),
                ("desired", state()),
                ("changes", list(closed(
                    fields([("path", text()), ("before", text()), ("after", text())]),
                    &["before", "after"],
                ))),
            ]), &["target"]),
            "inputs": closed(fields([
                ("environment", name()),
                ("release", release()),
                ("target", map(text())),
                ("settings", json!({})),
                ("artifacts", map(closed(
                    fields([("repository", text()), ("digest", digest()), ("tag", text()), ("source", text())]),
                    &["tag", "source"],
                ))),
                ("files", map(digest())),
            ]), &[]),
            "next": closed(fields([("release", defined("release")), ("gates", list(defined("gate")))]), &[]),
            "check": closed(fields([("name", name()), ("provider", text()), ("inputs", defined("inputs"))]), &[]),
            "release": closed(
                fields([("id", release()), ("lineage", count()), ("alias", text())]),
                &["alias"],
            ),
        },
    })
}

fn plan() -> Value {
    let policy = closed(fields([("name", text()), ("version", count()), ("digest", digest())]), &[]);
    let ledger = closed(fields([("origin", text()), ("size", count()), ("root", digest())]), &[]);
    let request = closed(
        fields([
            ("goal", words(&["promote", "rollback"])),
            ("environments", list(name())),
            ("release", release()),
            ("until", name()),
            ("invoker", words(&["human", "automation"])),
        ]),
        &["environments", "release", "until"],
    );
    let fields = fields([
        ("pipeline", name()),
        ("policy", or_null(policy)),
        ("local", json!({"type": "boolean"})),
        ("ledger", ledger),
        ("request", request),
        ("planned_at", instant()),
        ("expires", instant()),
        ("initiator", text()),
        ("tool", text()),
        ("inputs", map(text())),
        ("moves", list(moved())),
        ("stays", list(stay())),
        ("lost_evidence", map(list(reason()))),
    ]);
    closed(fields, &["lost_evidence"])
}

fn tier() -> Value {
    words(&["development", "testing", "staging", "production"])
}

fn moved() -> Value {
    let back = closed(
        fields([
            ("to", defined("release")),
            ("files", map(digest())),
            ("settings", digest()),
            ("steps", list(defined("step"))),
            ("checks", list(defined("check"))),
        ]),
        &[],
    );
    closed(
        fields([
            ("environment", name()),
            ("tier", tier()),
            ("movement", words(&["promotion", "reconfiguration", "rollback"])),
            ("from", or_null(defined("release"))),
            ("to", defined("release")),
            ("after", list(name())),
            ("gates", list(defined("gate"))),
            ("steps", list(defined("step"))),
            ("checks", list(defined("check"))),
            ("verdicts", map(list(name()))),
            ("files", map(digest())),
            ("settings", digest()),
            ("on_failure", words(&["rollback", "hold"])),
            ("rollback", or_null(back)),
            ("further_targets", list(defined("release"))),
            ("lost_target", closed(fields([("release", defined("release")), ("reason", reason())]), &[])),
            ("newer", defined("next")),
        ]),
        &["after", "verdicts", "further_targets", "lost_target", "newer"],
    )
}

fn stay() -> Value {
    let why = [
        "up-to-date",
        "no-releases",
        "nothing-arrived",
        "held-back",
        "refused",
        "starts-by-request",
        "approval-behind-deferred",
        "no-rollback-target",
    ];
    let drift = closed(fields([("recorded", state()), ("live", state())]), &[]);
    closed(
        fields([
            ("environment", name()),
            ("tier", tier()),
            ("current", or_null(defined("release"))),
            ("next", defined("next")),
            ("why", words(&why)),
            ("drift", map(drift)),
        ]),
        &["next", "drift"],
    )
}

/// A reason is its code, or an object of its code and its data, which the page of the code tells.
fn reason() -> Value {
    let codes: Vec<&str> = CODES.iter().map(|code| code.name).collect();
    json!({"oneOf": [
        {"enum": codes},
        {"type": "object", "propertyNames": {"enum": codes}, "minProperties": 1, "maxProperties": 1,
         "additionalProperties": {"type": "object"}},
    ]})
}

fn state() -> Value {
    let present = closed(fields([("present", digest())]), &[]);
    json!({"oneOf": [{"enum": ["absent", "unknown"]}, present]})
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An object of these fields and no others; all of them are there but the `optional` ones.
fn closed(fields: Map<String, Value>, optional: &[&str]) -> Value {
    let required: Vec<&String> = fields.keys().filter(|name| !optional.contains(&name.as_str())).collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": fields})
}

fn defined(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn map(values: Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

fn or_null(value: Value) -> Value {
    json!({"oneOf": [value, {"type": "null"}]})
}

fn words(words: &[&str]) -> Value {
    json!({"enum": words})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn instant() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn name() -> Value {
    json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"})
}

fn digest() -> Value {
    json!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"})
}

fn release() -> Value {
    json!({"type": "string", "pattern": "^r-[0-9a-f]{12}$"})
}
