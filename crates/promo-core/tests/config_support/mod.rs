//! Kinds as the built-in providers of the tests describe them.

use promo_core::kinds::{KeySchema, KindSchema, Place, ValueKind};

fn key(name: &str, value: ValueKind, required: bool, files: bool) -> KeySchema {
    KeySchema { name: name.into(), value, required, files, about: format!("the {name}") }
}

fn kind(place: Place, kind: &str, keys: Vec<KeySchema>, targets: &[&str]) -> KindSchema {
    KindSchema {
        place,
        kind: kind.into(),
        about: format!("does {kind}"),
        keys,
        target_keys: targets.iter().map(|t| (*t).to_string()).collect(),
    }
}

/// Two kinds of deployment and two of checks.
pub(crate) fn kinds() -> Vec<KindSchema> {
    vec![
        kind(
            Place::Deploy,
            "directory",
            vec![
                key("templates", ValueKind::Texts, true, true),
                key("values", ValueKind::TextTable, false, false),
                key("keep", ValueKind::Number, false, false),
                key("atomic", ValueKind::Flag, false, false),
            ],
            &["directory"],
        ),
        kind(
            Place::Deploy,
            "helm",
            vec![
                key("name", ValueKind::Text, true, false),
                key("chart", ValueKind::ArtifactOrPath, true, true),
                key("values", ValueKind::Texts, false, true),
                key("inject", ValueKind::TextTable, false, false),
                key("set", ValueKind::Table, false, false),
                key("timeout", ValueKind::Duration, false, false),
            ],
            &["cluster", "namespace"],
        ),
        kind(Place::Deploy, "kubectl", vec![key("kustomize", ValueKind::Text, true, true)], &["cluster", "namespace"]),
        kind(
            Place::Check,
            "http",
            vec![
                key("url", ValueKind::Text, true, false),
                key("expect", ValueKind::Number, false, false),
                key("for", ValueKind::Duration, false, false),
            ],
            &[],
        ),
        kind(
            Place::Check,
            "command",
            vec![
                key("run", ValueKind::Texts, true, false),
                key("files", ValueKind::Texts, false, true),
                key("junit", ValueKind::Text, false, false),
                key("timeout", ValueKind::Duration, false, false),
            ],
            &[],
        ),
    ]
}

/// A public key that nobody has the private half of.
#[allow(dead_code, reason = "not every test file has people")]
pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeoeo";
