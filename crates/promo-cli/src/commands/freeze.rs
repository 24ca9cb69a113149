//! `promo freeze [ENV…]`: stops the line, with a reason.

use clap::Args;
use promo_core::ids::EnvironmentName;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::project::{self, Access};
use crate::ui::Ui;
use crate::view::Answer;
use crate::view::answers::Frozen;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which; all when none is named
    #[arg(value_name = "ENV")]
    environments: Vec<EnvironmentName>,
    /// Why
    #[arg(long, value_parser = crate::select::reason)]
    reason: String,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    crate::select::own_words(&arguments.reason)?;
    let project = project::open(ui, global, Access::Write)?;
    project.session.freeze(arguments.environments.iter().cloned().collect(), &arguments.reason)?;
    let environments = arguments.environments.clone();
    let next = "promo status";
    told(ui, &Frozen { environments, next: ui.to_paste(next) }, "frozen", &arguments.environments, next);
    Ok(DONE)
}

/// What was done to these environments; none means all.
pub(crate) fn told(ui: &Ui, answer: &impl Answer, words: &str, environments: &[EnvironmentName], next: &str) {
    if ui.format() == Format::Json {
        ui.answer(answer);
        return;
    }
    let names: Vec<&str> = environments.iter().map(EnvironmentName::as_str).collect();
    let names = if names.is_empty() { "every environment".to_owned() } else { names.join(", ") };
    ui.data(&format!("{words}: {names}\n{}", ui.next(next)));
}
