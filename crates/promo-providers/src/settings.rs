//! How a provider reads its settings and words the schema that they were checked against, and finds the files in which the
//! machine that runs promo says what a pipeline may not.

use std::path::{Path, PathBuf};

use promo_core::kinds::{KeySchema, ValueKind};
use promo_sdk::{ErrorKind, Inputs, ProviderError, Secrets};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;

use crate::escape;

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

/// A file of the machine: the one that `variable` names, there or not, else `promo/NAME` in the user's configuration directory
/// where there is one.
pub(crate) fn machine_file(secrets: &dyn Secrets, variable: &str, name: &str) -> Option<PathBuf> {
    // An empty variable counts as not set.
    let value = |variable: &str| secrets.variable(variable).filter(|value| !value.expose_secret().is_empty());
    let path = |variable: &str| value(variable).map(|value| PathBuf::from(value.expose_secret()));
    let directory = || path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
    path(variable).or_else(|| Some(directory()?.join("promo").join(name)).filter(|file| Path::is_file(file)))
}

/// The same error about a file of the machine with who named it, where a variable did.
pub(crate) fn named_by(secrets: &dyn Secrets, variable: &str, error: ProviderError) -> ProviderError {
    match is_set(secrets, variable) {
        true => ProviderError { message: format!("{} ({variable} names this file)", error.message), ..error },
        false => error,
    }
}

/// The same error about a program of the machine with who named it, where a variable did.
pub(crate) fn program_named_by(secrets: &dyn Secrets, variable: &str, error: ProviderError) -> ProviderError {
    // Some say already where it is looked for.
    match is_set(secrets, variable) && !error.message.contains(variable) {
        true => ProviderError { message: format!("{} ({variable} names this program)", error.message), ..error },
        false => error,
    }
}

/// Whether a variable names anything.
pub(crate) fn is_set(secrets: &dyn Secrets, variable: &str) -> bool {
    secrets.variable(variable).is_some_and(|value| !value.expose_secret().is_empty())
}

/// Where a file cannot be read and why, on one line, without what could steer a terminal and without the line itself, in which a secret
/// may stand by mistake (S13.4).
pub(crate) fn told(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let (line, start) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |end| end + 1));
    let column = before[start..].chars().count() + 1;
    let key =
        text[start..].lines().next().and_then(|line| line.split_once('=')).map(|(key, _)| escape::line(key.trim()));
    let key = key.map(|key| format!(", `{key}`")).unwrap_or_default();
    format!("line {line}, column {column}{key}: {}", escape::line(error.message()))
}
