//! `promo completions SHELL`: the script by which a shell asks promo itself what may follow.

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::ui::Ui;
use crate::view::answers::Completions;

/// The variable by which a shell asks.
pub(crate) const VARIABLE: &str = "PROMO_COMPLETE";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

pub(crate) fn run(ui: &Ui, _global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let shell: &dyn EnvCompleter = match arguments.shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
        Shell::Zsh => &Zsh,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "promo", "promo", "promo", &mut script).map_err(|error| {
        CliError::new("unexpected", 1, "the script cannot be written", "promo completions --help").because(&error)
    })?;
    let script = String::from_utf8_lossy(&script);
    if ui.format() == Format::Json {
        ui.answer(&Completions { script: script.into_owned() });
    } else {
        ui.data(&script);
    }
    Ok(DONE)
}
