//! The verbs, one file each: its flags, and a short body that calls the engine and prints a view. What must not live here:
//! rules, which the core has, and layout, which `output` has.

pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod show;

use crate::cli::Cli;
use crate::error::CliError;
use crate::exit::Exit;
use crate::ui::Ui;

/// Runs what was asked for.
pub(crate) fn run(ui: &Ui, cli: &Cli) -> Result<Exit, CliError> {
    if let Some(directory) = &cli.global.directory {
        std::env::set_current_dir(directory).map_err(|error| CliError::file("entered", directory, &error))?;
    }
    cli.command.run(ui, &cli.global)
}
