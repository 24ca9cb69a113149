//! `promo unfreeze [ENV…]`: lifts a freeze, or the pause after a rollback.

use clap::Args;
use promo_core::ids::EnvironmentName;

use crate::cli::Global;
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::project::{self, Access};
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which; the freeze of all when none is named
    #[arg(value_name = "ENV")]
    environments: Vec<EnvironmentName>,
    /// Why
    #[arg(long)]
    reason: String,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Write)?;
    project.session.unfreeze(arguments.environments.iter().cloned().collect(), &arguments.reason)?;
    super::freeze::told(ui, "promo.unfrozen", "no longer frozen", &arguments.environments);
    Ok(DONE)
}
