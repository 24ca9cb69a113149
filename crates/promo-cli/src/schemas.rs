//! The JSON schemas that promo publishes: of the files that people write, of the documents that are signed or kept, and of what
//! programs are told. Those of documents come from the types that write them. `docs/reference/schemas/` holds them all, and a
//! test holds that folder to them. What must not live here: what may change in a format, which is told in
//! `docs/reference/compatibility.md`.

use promo_core::approval::{Envelope, Statement};
use promo_core::config;
use promo_core::kinds::KindSchema;
use promo_core::ledger::{Event, Record};
use promo_core::plan::{self, Document};
use promo_engine::Progress;
use promo_engine::appliers::ApplyStatement;
use promo_engine::authors::AuthorsStatement;
use promo_engine::lifts::{LiftStatement, RecallLiftStatement, WithdrawalStatement};
use promo_engine::requests::RequestStatement;
use promo_engine::verdicts::VerdictStatement;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::commands::{check, doctor, graph};
use crate::error::Problem;
use crate::output::{events, run_report};
use crate::view::{self, Answer, answers};

/// A schema by the name that `promo schema` takes.
pub(crate) struct Published {
    /// Its name.
    pub(crate) name: &'static str,
    /// Of what.
    pub(crate) about: &'static str,
    make: fn(&[KindSchema]) -> Value,
}

/// Every schema.
pub(crate) const SCHEMAS: &[Published] = &[
    Published { name: "pipeline", about: "promo.toml", make: config::schema },
    Published { name: "policy", about: "policy.toml", make: |_| config::policy_schema() },
    Published { name: "trust", about: "trust.toml", make: |_| config::trust_schema() },
    Published {
        name: "registries",
        about: "registries.toml",
        make: |_| of_machine::<promo_providers::oci::Settings>("promo registries"),
    },
    Published {
        name: "clusters",
        about: "clusters.toml",
        make: |_| of_machine::<promo_providers::Clusters>("promo clusters"),
    },
    Published {
        name: "sources",
        about: "sources.toml",
        make: |_| of_machine::<promo_providers::metric::Sources>("promo sources"),
    },
    Published { name: "plan", about: "A saved plan", make: |_| plan() },
    Published { name: "approval", about: "A signed approval, as a file or in the ledger", make: |_| approval() },
    Published {
        name: "approval-statement",
        about: "What an approver signs",
        make: |_| document::<Statement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published {
        name: "request-statement",
        about: "What whoever asks for an approval signs",
        make: |_| document::<RequestStatement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published {
        name: "apply-statement",
        about: "What whoever applies a plan signs, where a rule excludes the applier",
        make: |_| document::<ApplyStatement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published {
        name: "verdict-statement",
        about: "What a person signs about a check",
        make: |_| document::<VerdictStatement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published {
        name: "lift-statement",
        about: "What a person signs who lifts a quarantine or a freeze",
        make: |_| document::<LiftStatement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published {
        name: "withdrawal-statement",
        about: "What a person signs who withdraws a document of evidence",
        make: |_| document::<WithdrawalStatement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published {
        name: "recall-lift-statement",
        about: "What a person signs who ends the recall of a digest",
        make: |_| document::<RecallLiftStatement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published {
        name: "authors-statement",
        about: "What a person signs who names the authors of a release",
        make: |_| document::<AuthorsStatement>("The canonical JSON (RFC 8785) of this is what is signed."),
    },
    Published { name: "record", about: "A record of the ledger", make: |_| record() },
    Published {
        name: "events",
        about: "A line of --events, and of --format json of verbs that apply",
        make: |_| stream(),
    },
    Published { name: "output", about: "Every other document of --format json", make: |_| output() },
];

impl Published {
    /// The schema, with where it is published.
    pub(crate) fn schema(&self, kinds: &[KindSchema]) -> Value {
        let mut schema = (self.make)(kinds);
        schema["$id"] = format!("https://promo.example/schema/{}.v1.json", self.name).into();
        schema
    }
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

/// The schema of one type.
fn document<T: JsonSchema>(about: &str) -> Value {
    let mut schema = generator().into_root_schema_for::<T>().to_value();
    prose(&mut schema);
    let found = schema["description"].as_str().map(|text| format!("{text} {about}"));
    schema["description"] = found.unwrap_or_else(|| about.to_owned()).into();
    schema
}

/// That of a file of the machine, in the draft that editors of TOML read.
fn of_machine<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    prose(&mut schema);
    schema["title"] = title.into();
    schema["properties"]["format"] = json!({"const": 1, "description": "version of this file's format"});
    schema
}

/// That of a saved plan.
pub(crate) fn plan() -> Value {
    let mut schema = document::<Document>("Its digest is the SHA-256 of its canonical form (RFC 8785).");
    schema["title"] = "promo plan".into();
    schema["properties"]["kind"] = json!({"const": plan::KIND});
    schema["properties"]["format"] = json!({"const": plan::FORMAT});
    schema
}

fn approval() -> Value {
    let mut schema =
        document::<Envelope>("The statement is canonical JSON, as the schema `approval-statement` has it.");
    schema["properties"]["kind"] = json!({"const": promo_core::approval::ENVELOPE_KIND});
    schema["properties"]["format"] = json!({"const": 1});
    schema
}

/// A record, of which the kind says what the body is. Unknown kinds are kept as they are.
fn record() -> Value {
    let mut generator = generator();
    let mut schema = Record::json_schema(&mut generator).to_value();
    let known: Vec<Value> = variants(Event::json_schema(&mut generator));
    let kinds: Vec<Value> = known.iter().map(|kind| kind["properties"]["kind"]["const"].clone()).collect();
    let open = |mut kind: Value| {
        kind.as_object_mut().map(|kind| kind.remove("additionalProperties"));
        kind
    };
    let mut any: Vec<Value> = known.into_iter().map(open).collect();
    any.push(json!({
        "description": "A kind that a later version added. It is kept as it is.",
        "properties": {"kind": {"not": {"enum": kinds}}},
    }));
    schema["oneOf"] = any.into();
    schema["properties"]["format"] = json!({"const": promo_core::ledger::record::FORMAT});
    whole(generator, schema, "promo ledger record")
}

/// A line of the stream: fields of every event, and its own.
fn stream() -> Value {
    let mut generator = generator();
    let mut lines = variants(Progress::json_schema(&mut generator));
    for (name, schema) in [
        ("hello", events::Hello::json_schema(&mut generator)),
        ("run-finished", kind("promo.run", run_report::RunView::json_schema(&mut generator))),
        ("error", kind("promo.error", Problem::json_schema(&mut generator))),
        ("summary", events::Summary::json_schema(&mut generator)),
    ] {
        let mut schema = schema.to_value();
        with(&mut schema, "event", json!({"const": name}), true);
        lines.push(schema);
    }
    let run = generator.subschema_for::<Option<promo_core::ids::RunId>>().to_value();
    for line in &mut lines {
        with(
            line,
            "sequence",
            json!({"type": "integer", "minimum": 0, "description": "Its number, from 0, without gaps."}),
            true,
        );
        with(
            line,
            "time",
            json!({"type": "string", "format": "date-time", "description": "When, by the clock of this machine."}),
            true,
        );
        if line["properties"].get("run").is_none() {
            with(line, "run", run.clone(), false);
        }
    }
    whole(generator, json!({"description": "One line.", "oneOf": lines}), "promo events")
}

/// Every document that verbs answer with, told apart by its kind.
fn output() -> Value {
    fn of<A: Answer>(generator: &mut SchemaGenerator) -> Schema {
        kind(A::KIND, A::json_schema(generator))
    }
    let mut generator = generator();
    let g = &mut generator;
    let documents: Vec<Value> = [
        of::<answers::Initialized>(g),
        of::<answers::Formatted>(g),
        of::<answers::Completions>(g),
        of::<answers::Example>(g),
        of::<answers::Codes>(g),
        of::<answers::Requested>(g),
        of::<answers::ApprovalSigned>(g),
        of::<answers::ApprovalRecorded>(g),
        of::<answers::VerdictRecorded>(g),
        of::<answers::Verdicts>(g),
        of::<answers::Frozen>(g),
        of::<answers::Unfrozen>(g),
        of::<answers::Releases>(g),
        of::<answers::Status>(g),
        of::<answers::Why>(g),
        of::<answers::History>(g),
        of::<answers::Runs>(g),
        of::<answers::EvidenceAdded>(g),
        of::<answers::EvidenceWithdrawn>(g),
        of::<answers::ArtifactRecalled>(g),
        of::<answers::RecallLifted>(g),
        of::<answers::ReleaseForming>(g),
        of::<answers::EvidenceCollected>(g),
        of::<answers::ClockAccepted>(g),
        of::<answers::LedgerCheckpoint>(g),
        of::<answers::LedgerVerified>(g),
        of::<answers::ListedRelease>(g),
        of::<answers::Explained>(g),
        of::<view::drift::Drifts>(g),
        of::<view::compare::Compared>(g),
        of::<view::adopt::Adopted>(g),
        kind("promo.check", check::View::json_schema(g)),
        kind("promo.doctor", doctor::View::json_schema(g)),
        kind("promo.graph", graph::View::json_schema(g)),
        kind("promo.plan.view", view::PlanView::json_schema(g)),
        kind("promo.run", run_report::RunView::json_schema(g)),
        kind("promo.run.view", view::RunView::json_schema(g)),
        kind("promo.error", Problem::json_schema(g)),
    ]
    .map(Schema::to_value)
    .into();
    whole(generator, json!({"description": "One document.", "oneOf": documents}), "promo output")
}

/// The alternatives of a tagged enum.
fn variants(schema: Schema) -> Vec<Value> {
    match schema.to_value()["oneOf"].take() {
        Value::Array(variants) => variants,
        other => unreachable!("invariant: a tagged enum is a list of alternatives, and this is {other}"),
    }
}

/// A document with its kind and format.
fn kind(kind: &str, schema: Schema) -> Schema {
    let mut schema = schema.to_value();
    with(&mut schema, "kind", json!({"const": kind}), true);
    with(&mut schema, "format", json!({"const": 1}), true);
    schema.try_into().expect("invariant: an object is a schema")
}

/// Sets a property of an object's schema.
fn with(schema: &mut Value, name: &str, property: Value, required: bool) {
    schema["properties"][name] = property;
    if required {
        if schema["required"].is_null() {
            schema["required"] = json!([]);
        }
        let all = schema["required"].as_array_mut().expect("invariant: a list of names");
        if !all.iter().any(|other| other == name) {
            all.push(name.into());
        }
    }
}

/// A schema as a document of its own, with the definitions that it names.
fn whole(mut generator: SchemaGenerator, mut schema: Value, title: &str) -> Value {
    let definitions: Map<String, Value> = generator.take_definitions(true);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = title.into();
    schema["$defs"] = definitions.into();
    prose(&mut schema);
    schema
}

/// Links between items of the code mean nothing outside of it.
fn prose(schema: &mut Value) {
    match schema {
        Value::Object(all) => {
            if let Some(Value::String(text)) = all.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            all.values_mut().for_each(prose);
        }
        Value::Array(all) => all.iter_mut().for_each(prose),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/schemas");

    fn kinds() -> Vec<KindSchema> {
        crate::Wiring::default().kinds()
    }

    #[test]
    fn the_published_schemas_are_those_of_the_code() {
        let blessed = std::env::var_os("PROMO_BLESS").is_some();
        let mut files: Vec<String> = Vec::new();
        for published in SCHEMAS {
            let made = serde_json::to_string_pretty(&published.schema(&kinds())).unwrap() + "\n";
            let file = format!("{}.json", published.name);
            let path = format!("{FOLDER}/{file}");
            if blessed {
                std::fs::create_dir_all(FOLDER).unwrap();
                std::fs::write(&path, &made).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, made, "{path} differs from the code; PROMO_BLESS=1 writes it anew");
            files.push(file);
        }
        files.sort();
        let mut found: Vec<String> =
            std::fs::read_dir(FOLDER).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, files, "nothing else lies there");
    }

    #[test]
    fn every_schema_is_one_and_tells_what_it_is_and_every_field_what_it_means() {
        fn fields(at: &str, schema: &Value, bare: &mut Vec<String>) {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let words = ["description", "$ref", "const", "anyOf", "allOf", "not", "additionalProperties"];
                // What is told by the name of its one field says so itself.
                let named = schema["description"].is_string() && schema["properties"].as_object().unwrap().len() == 1;
                if !named && words.iter().all(|key| field[*key].is_null()) {
                    bare.push(format!("{at}.{name}"));
                }
            }
            match schema {
                Value::Object(all) => all.iter().for_each(|(key, value)| fields(&format!("{at}/{key}"), value, bare)),
                Value::Array(all) => all.iter().for_each(|value| fields(at, value, bare)),
                _ => {}
            }
        }
        for published in SCHEMAS {
            let schema = published.schema(&kinds());
            jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{}: {error}", published.name));
            assert!(schema["title"].is_string(), "{}", published.name);
            let mut bare = Vec::new();
            fields("", &schema, &mut bare);
            assert_eq!(bare, [""; 0], "{}", published.name);
        }
    }
}
