//! `promo freeze [ENV…]`: stops the line, with a reason.

use clap::Args;
use promo_core::ids::EnvironmentName;

use crate::cli::Global;
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::project::{self, Access};
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which; all when none is named
    #[arg(value_name = "ENV")]
    environments: Vec<EnvironmentName>,
    /// Why
    #[arg(long)]
    reason: String,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Write)?;
    project.session.freeze(arguments.environments.iter().cloned().collect(), &arguments.reason)?;
    ui.data(&format!("frozen: {}\n", names(&arguments.environments)));
    Ok(DONE)
}

/// The environments in words.
pub(crate) fn names(environments: &[EnvironmentName]) -> String {
    if environments.is_empty() {
        return "every environment".into();
    }
    environments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
