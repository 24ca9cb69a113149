//! `promo schema`: JSON schemas of the files that people write, for editors, and of everything that programs read.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::cli::Global;
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::schemas::SCHEMAS;
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Of what
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,
}

fn names() -> PossibleValuesParser {
    SCHEMAS.iter().map(|schema| PossibleValue::new(schema.name).help(schema.about)).collect::<Vec<_>>().into()
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let schema = SCHEMAS.iter().find(|schema| schema.name == arguments.name);
    ui.json(&schema.expect("invariant: one of these names").schema(&global.wiring.kinds()));
    Ok(DONE)
}
