//! What a shell offers after TAB: environments, checks, releases and runs, read from the project and its ledger. It writes
//! nothing, and says nothing when something cannot be read: a shell has no place for it.

use std::ffi::OsStr;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use promo_core::ledger::View;
use promo_ledger::{SqliteStore, Store as _};

use crate::cli;
use crate::project::{self, Rules};

/// The command line with candidates for every argument that names something, wherever it stands.
pub(crate) fn attach(command: Command) -> Command {
    let command = command.mut_args(candidates_of);
    command.mut_subcommands(attach)
}

fn candidates_of(argument: Arg) -> Arg {
    let named = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match named.unwrap_or_else(|| argument.get_id().as_str().to_uppercase()).as_str() {
        "ENV" => argument.add(ArgValueCandidates::new(environments)),
        "CHECK" => argument.add(ArgValueCandidates::new(checks)),
        "RELEASE" => argument.add(ArgValueCandidates::new(releases)),
        "RUN" => argument.add(ArgValueCandidates::new(runs)),
        _ => argument,
    }
}

fn candidate(value: &str, help: String) -> CompletionCandidate {
    CompletionCandidate::new(OsStr::new(value)).help(Some(help.into()))
}

/// The project of the working directory, as the variables of the environment name its files.
fn rules() -> Option<Rules> {
    let parsed = cli::parse(&["promo".into(), "status".into()]).ok()?;
    project::rules(&parsed.global).ok()
}

/// What the ledger says, where there is one.
fn view() -> Option<View> {
    let rules = rules()?;
    let store = SqliteStore::open_read_only(&rules.ledger).ok()?;
    let size = store.head().ok()?.size;
    let mut view = View::default();
    for record in store.records(0, usize::try_from(size).ok()?).ok()? {
        if record.pipeline == rules.governed.pipeline.name {
            view.apply(&record).ok()?;
        }
        view.size = record.seq + 1;
    }
    Some(view)
}

fn environments() -> Vec<CompletionCandidate> {
    let Some(rules) = rules() else { return Vec::new() };
    let environments = rules.governed.pipeline.environments.iter();
    environments.map(|(name, environment)| candidate(name.as_str(), environment.tier.as_str().to_owned())).collect()
}

fn checks() -> Vec<CompletionCandidate> {
    let Some(rules) = rules() else { return Vec::new() };
    rules.governed.pipeline.checks.keys().map(|name| CompletionCandidate::new(name.as_str())).collect()
}

/// Releases by alias where they have one, newest first.
fn releases() -> Vec<CompletionCandidate> {
    let Some(view) = view() else { return Vec::new() };
    let named = view.releases.iter().rev().map(|entry| {
        let id = entry.release.id.as_str();
        candidate(entry.release.alias.as_deref().unwrap_or(id), format!("#{} {id}", entry.lineage))
    });
    named.collect()
}

/// Unfinished runs, newest first: the others cannot be resumed or cancelled.
fn runs() -> Vec<CompletionCandidate> {
    let Some(view) = view() else { return Vec::new() };
    let open = view.runs.iter().rev().filter(|(_, run)| run.finished.is_none());
    open.map(|(id, run)| candidate(id.as_str(), format!("by {}", run.applier))).collect()
}
