//! How people name things on the command line.

use std::fmt::Display;
use std::str::FromStr;

use promo_core::ids::{ReleaseId, RunId};
use promo_core::ledger::View;

use crate::error::CliError;

/// A release by id, beginning of its id, `#number`, number or alias.
pub(crate) fn release(view: &View, text: &str) -> Result<ReleaseId, CliError> {
    let number = text.trim_start_matches('#').parse::<u64>().ok();
    let by_alias = view.releases.iter().find(|e| e.release.alias.as_deref() == Some(text));
    let by_number = || view.releases.iter().find(|e| Some(e.lineage) == number);
    let by_prefix = || {
        let mut found = view.releases.iter().filter(|e| text.len() >= 6 && e.release.id.as_str().starts_with(text));
        found.next().filter(|_| found.next().is_none())
    };
    match by_alias.or_else(by_number).or_else(by_prefix) {
        Some(entry) => Ok(entry.release.id.clone()),
        None => {
            let message = format!("there is no release `{text}`");
            let known = view.releases.iter().rev().take(5).map(|e| match &e.release.alias {
                Some(alias) => format!("{} (#{}, {alias})", e.release.id, e.lineage),
                None => format!("{} (#{})", e.release.id, e.lineage),
            });
            Err(CliError::new("nothing-selected", 65, message, "promo release list")
                .expected("its id, number or alias")
                .details(known))
        }
    }
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
