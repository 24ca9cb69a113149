//! `promo completions SHELL`: a script that completes verbs and flags.

use clap::Args;
use clap_complete::Shell;

use crate::cli::{self, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::ui::Ui;

#[derive(Debug, Args)]
#[command(after_help = "For bash: promo completions bash > ~/.local/share/bash-completion/completions/promo")]
pub(crate) struct Arguments {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

pub(crate) fn run(ui: &Ui, _global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut cli::command(), "promo", &mut script);
    ui.data(&String::from_utf8_lossy(&script));
    Ok(DONE)
}
