//! `promo schema`: JSON schemas of the files that people write, for editors, and of the plan, for programs.

use clap::{Args, ValueEnum};
use promo_core::config;

use crate::cli::Global;
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::plan_schema;
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Of which file
    #[arg(value_name = "FILE", value_enum)]
    file: File,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// promo.toml
    Pipeline,
    /// policy.toml
    Policy,
    /// trust.toml
    Trust,
    /// A saved plan
    Plan,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    ui.json(&match arguments.file {
        File::Pipeline => config::schema(&global.wiring.kinds()),
        File::Policy => config::policy_schema(),
        File::Trust => config::trust_schema(),
        File::Plan => plan_schema::schema(),
    });
    Ok(DONE)
}
