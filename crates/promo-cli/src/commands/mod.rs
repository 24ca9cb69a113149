//! The verbs, one file each: its flags, and a short body that calls the engine and prints a view. What must not live here:
//! rules, which the core has, and layout, which `output` has.

pub(crate) mod accept_clock;
pub(crate) mod adopt;
pub(crate) mod advance;
pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod evidence;
pub(crate) mod explain;
pub(crate) mod fmt;
pub(crate) mod freeze;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod ledger;
mod newest;
pub(crate) mod plan;
pub(crate) mod quickstart;
pub(crate) mod release;
pub(crate) mod request;
pub(crate) mod resume;
pub(crate) mod rollback;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod unfreeze;
pub(crate) mod verdict;
pub(crate) mod verify;
pub(crate) mod why;

use promo_engine::exit;

use crate::cli::{Cli, Command, Format};
use crate::error::CliError;
use crate::exit::Exit;
use crate::ui::Ui;

/// Runs what was asked for, says what went wrong, and ends the stream of events.
pub(crate) fn run(ui: &Ui, cli: &Cli) -> Exit {
    let ui = match prepare(ui, cli) {
        Ok(ui) => ui,
        Err(error) => return error.of_verb(&cli.verb).report(ui),
    };
    let decided = decided(&ui, cli).map_err(|error| error.of_verb(&cli.verb));
    let mut exit = decided.as_ref().map_or_else(|error| error.report(&ui), |exit| *exit);
    // What was asked for is done, but whoever reads the answer must not take a part of it for the whole.
    if let (Some(lost), 0 | exit::CHANGES) = (ui.lost(decided.as_ref().err()), exit.0) {
        exit = Exit(lost);
    }
    ui.end(exit.0);
    exit
}

fn prepare(ui: &Ui, cli: &Cli) -> Result<Ui, CliError> {
    if let Some(directory) = &cli.global.directory {
        std::env::set_current_dir(directory).map_err(|error| CliError::file("entered", directory, &error))?;
    }
    let draws_pages = matches!(cli.command, Command::Plan(_) | Command::Rollback(_) | Command::Show(_));
    if ui.format() == Format::Html && !draws_pages {
        let why = "only plans are drawn as pages: by `promo plan`, `promo rollback` and `promo show`";
        return Err(CliError::invalid_value("--format html", &why, None));
    }
    ui.with_events(&cli.global)
}

fn decided(ui: &Ui, cli: &Cli) -> Result<Exit, CliError> {
    if cli.global.offline && cli.command.acts_outside() {
        let message = "this command acts on what is outside, and `--offline` says that no server may be reached";
        return Err(CliError::new("offline", 64, message, "promo plan --offline"));
    }
    cli.command.run(ui, &cli.global)
}
