//! How people name things on the command line.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use promo_core::Digest;
use promo_core::ids::{ReleaseId, RunId};
use promo_core::ledger::View;
use promo_core::ledger::view::ReleaseEntry;

use crate::error::CliError;

/// A release by id, `#number`, number, beginning of its id or alias, in this order: nobody takes the id or the number of another
/// one by an alias, also in a ledger that was written when an alias could look like one.
pub(crate) fn release(view: &View, text: &str) -> Result<ReleaseId, CliError> {
    let all = || view.releases.iter();
    let number = |digits: &str| digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let numbered = |number: u64| all().find(|e| e.lineage == number);
    let by_alias = || all().find(|e| e.release.alias.as_deref() == Some(text));
    let by_prefix = || {
        let mut found = all().filter(|e| text.len() >= 6 && e.release.id.as_str().starts_with(text));
        found.next().filter(|_| found.next().is_none())
    };
    let found = match (text.parse::<ReleaseId>(), text.strip_prefix('#').and_then(number)) {
        (Ok(id), _) => view.release(&id),
        (_, Some(number)) => numbered(number),
        _ => match (number(text).and_then(numbered), by_alias()) {
            (Some(number), Some(alias)) if number.release.id != alias.release.id => {
                return Err(ambiguous(text, number, alias));
            }
            (Some(entry), _) => Some(entry),
            (None, alias) => by_prefix().or(alias),
        },
    };
    match found {
        Some(entry) => Ok(entry.release.id.clone()),
        None => {
            let message = format!("there is no release `{text}`");
            let known = view.releases.iter().rev().take(5).map(named);
            Err(CliError::new("nothing-selected", 65, message, "promo release list")
                .expected("its id, number or alias")
                .details(known))
        }
    }
}

/// A digest, or the one that begins like this among those that releases have in them: artifacts, manifests and configurations.
pub(crate) fn artifact(view: &View, text: &str) -> Result<Digest, CliError> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    let artifacts = view.releases.iter().flat_map(|entry| entry.release.content.components.values());
    let parts = view.described.values().flat_map(|known| &known.platforms);
    let parts = parts.flat_map(|(manifest, config)| [Some(manifest), config.as_ref()].into_iter().flatten());
    let like = |digest: &&Digest| bare.len() >= 7 && digest.to_string().trim_start_matches("sha256:").starts_with(bare);
    let found: BTreeSet<&Digest> = artifacts.chain(parts).filter(like).collect();
    match found.iter().collect::<Vec<_>>()[..] {
        [digest] => Ok(**digest),
        _ => {
            let message = match found.is_empty() {
                true => format!("no release has a digest `{text}` in it"),
                false => format!("several digests begin with `{text}`"),
            };
            let next = if found.is_empty() { "promo release show RELEASE" } else { "promo release list" };
            Err(CliError::new("nothing-selected", 65, message, next)
                .expected("`sha256:` and 64 digits, or the first 7 of one that a release has in it")
                .details(found.iter().map(ToString::to_string)))
        }
    }
}

/// A recalled digest, or the one of them that begins like this.
pub(crate) fn recalled(view: &View, text: &str) -> Result<Digest, CliError> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let like = |digest: &&Digest| text.len() >= "sha256:".len() + 7 && digest.to_string().starts_with(text);
    match view.recalled.keys().filter(like).collect::<Vec<_>>()[..] {
        [digest] => Ok(*digest),
        _ => {
            let message = format!("no recalled digest, or more than one, begins with `{text}`");
            Err(CliError::new("nothing-selected", 65, message, "promo history")
                .expected("`sha256:` and 64 digits, or the first 7 of one that is recalled")
                .details(view.recalled.keys().map(ToString::to_string)))
        }
    }
}

/// A release with all that it goes by.
fn named(entry: &ReleaseEntry) -> String {
    match &entry.release.alias {
        Some(alias) => format!("{} (#{}, {alias})", entry.release.id, entry.lineage),
        None => format!("{} (#{})", entry.release.id, entry.lineage),
    }
}

/// A number that is also the alias of another release: whoever typed it may mean either.
fn ambiguous(text: &str, number: &ReleaseEntry, alias: &ReleaseEntry) -> CliError {
    let message = format!("`{text}` is the number of one release and the alias of another");
    CliError::new("request-invalid", 65, message, "promo release list")
        .expected("the id, or `#` and the number")
        .details([format!("the number of {}", named(number)), format!("the alias of {}", named(alias))])
}

/// Refuses what is the id of no run.
pub(crate) fn run(view: &View, id: &RunId) -> Result<(), CliError> {
    if view.runs.contains_key(id) {
        return Ok(());
    }
    let known = view.runs.keys().rev().take(5).map(ToString::to_string);
    Err(CliError::new("nothing-selected", 65, format!("there is no run `{id}`"), "promo runs").details(known))
}

/// A reason: the ledger keeps it for whoever asks later, so it says something.
pub(crate) fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("a reason says something") } else { Ok(text.to_owned()) }
}

/// Refuses what only stands in suggested commands for a reason: those parse, and are pasted as they are.
pub(crate) fn own_words(reason: &str) -> Result<(), CliError> {
    let bare = reason.trim();
    if bare.chars().any(char::is_alphanumeric) && bare != "REASON" {
        return Ok(());
    }
    let why = format!("`{bare}` stands for your own words: the ledger keeps them for whoever asks why");
    Err(CliError::invalid_value("--reason", &why, None))
}

/// A name of the command line.
pub(crate) fn parse<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, CliError> {
    text.parse().map_err(|e| CliError::invalid_value(what, &e, None))
}
