//! What a shell offers after TAB: environments, checks, releases and runs, read from the project and its ledger. It writes
//! nothing, and says nothing when something cannot be read: a shell has no place for it.

use std::ffi::OsStr;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use promo_core::ledger::View;
use promo_ledger::{SqliteStore, Store as _};

use crate::cli;
use crate::project::{self, Rules};
use crate::wiring::Wiring;

/// The command line with candidates for every argument that names something, wherever it stands.
pub(crate) fn attach(command: Command, wiring: &Wiring) -> Command {
    let command = command.mut_args(|argument| candidates_of(argument, wiring));
    command.mut_subcommands(|verb| attach(verb, wiring))
}

fn candidates_of(argument: Arg, wiring: &Wiring) -> Arg {
    let wiring = wiring.clone();
    let named = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match named.unwrap_or_else(|| argument.get_id().as_str().to_uppercase()).as_str() {
        "ENV" => argument.add(ArgValueCandidates::new(move || environments(&wiring))),
        "CHECK" => argument.add(ArgValueCandidates::new(move || checks(&wiring))),
        "RELEASE" => argument.add(ArgValueCandidates::new(move || releases(&wiring))),
        "RUN" => argument.add(ArgValueCandidates::new(move || runs(&wiring))),
        _ => argument,
    }
}

fn candidate(value: &str, help: String) -> CompletionCandidate {
    CompletionCandidate::new(OsStr::new(value)).help(Some(help.into()))
}

/// The project of the working directory, as the variables of the environment name its files.
fn rules(wiring: &Wiring) -> Option<Rules> {
    let mut parsed = cli::parse(&["promo".into(), "status".into()]).ok()?;
    parsed.global.wiring = wiring.clone();
    project::rules(&parsed.global).ok()
}

/// What the ledger says, where there is one.
fn view(wiring: &Wiring) -> Option<View> {
    let rules = rules(wiring)?;
    let store = SqliteStore::open_read_only(&rules.ledger).ok()?;
    if let Some(pinned) = &rules.checkpoint {
        promo_ledger::extends(&store, pinned).ok()?;
    }
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

fn environments(wiring: &Wiring) -> Vec<CompletionCandidate> {
    let Some(rules) = rules(wiring) else { return Vec::new() };
    let environments = rules.governed.pipeline.environments.iter();
    environments.map(|(name, environment)| candidate(name.as_str(), environment.tier.as_str().to_owned())).collect()
}

fn checks(wiring: &Wiring) -> Vec<CompletionCandidate> {
    let Some(rules) = rules(wiring) else { return Vec::new() };
    rules.governed.pipeline.checks.keys().map(|name| CompletionCandidate::new(name.as_str())).collect()
}

/// Releases by alias where they have one, newest first.
fn releases(wiring: &Wiring) -> Vec<CompletionCandidate> {
    let Some(view) = view(wiring) else { return Vec::new() };
    let named = view.releases.iter().rev().map(|entry| {
        let id = entry.release.id.as_str();
        candidate(entry.release.alias.as_deref().unwrap_or(id), format!("#{} {id}", entry.lineage))
    });
    named.collect()
}

/// Unfinished runs, newest first: the others cannot be resumed or cancelled.
fn runs(wiring: &Wiring) -> Vec<CompletionCandidate> {
    let Some(view) = view(wiring) else { return Vec::new() };
    let open = view.runs.iter().rev().filter(|(_, run)| run.finished.is_none());
    open.map(|(id, run)| candidate(id.as_str(), format!("by {}", run.applier))).collect()
}
