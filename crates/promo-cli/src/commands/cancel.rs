//! `promo cancel RUN`: ends an interrupted run; what it left half-way is held for a person.

use clap::Args;
use promo_core::ids::RunId;

use crate::cli::Global;
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::run_report;
use crate::project::{self, Access};
use crate::select;
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    #[command(flatten)]
    lock: project::Lock,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut project = project::open(ui, global, Access::Write)?;
    project.session = project.session.with_lease_ttl(arguments.lock.ttl()?);
    project.session.with_view(|view| select::run(view, &arguments.run))??;
    let report = project.runtime.block_on(project.session.cancel(&arguments.run))?;
    run_report::print(ui, &project.session, &report, false);
    Ok(DONE)
}
