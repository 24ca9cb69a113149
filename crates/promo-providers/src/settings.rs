//! How a provider reads its settings and words the schema that they were checked against.

use promo_core::kinds::{KeySchema, ValueKind};
use promo_sdk::{ErrorKind, Inputs, ProviderError};
use serde::de::DeserializeOwned;

/// The settings of `kind` as a value of its own type.
///
/// The configuration checked them against the schema, but a plan may have been lowered by another version.
pub(crate) fn read<T: DeserializeOwned>(kind: &str, inputs: &Inputs) -> Result<T, ProviderError> {
    serde_json::from_value(inputs.settings.clone())
        .map_err(|e| ProviderError::new(ErrorKind::Invalid, format!("the settings of `{kind}` do not fit: {e}")))
}

/// An optional key.
pub(crate) fn key(name: &str, value: ValueKind, about: &str) -> KeySchema {
    KeySchema { name: name.into(), value, required: false, files: false, about: about.into() }
}

/// A key that must be given.
pub(crate) fn required(name: &str, value: ValueKind, about: &str) -> KeySchema {
    KeySchema { required: true, ..key(name, value, about) }
}

/// A key whose texts are paths or globs of files.
pub(crate) fn files(name: &str, about: &str) -> KeySchema {
    KeySchema { files: true, ..key(name, ValueKind::Texts, about) }
}
