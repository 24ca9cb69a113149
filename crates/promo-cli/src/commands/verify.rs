//! `promo verify ENV`: runs the automatic checks again on what runs there, and records their verdicts.

use clap::Args;
use promo_core::ids::{CheckName, EnvironmentName};
use promo_engine::exit;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::project::{self, Access};
use crate::ui::Ui;
use crate::view::answers::{VerdictLine, Verdicts};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Write)?;
    let verdicts = project.runtime.block_on(project.session.verify_again(&arguments.environment))?;
    if ui.format() == Format::Json {
        let line = |(check, passed, detail): &(CheckName, bool, String)| VerdictLine {
            check: check.clone(),
            passed: *passed,
            detail: detail.clone(),
        };
        ui.answer(&Verdicts { verdicts: verdicts.iter().map(line).collect() });
    } else {
        for (check, passed, detail) in &verdicts {
            let sign = if *passed { label(Label::Good, "✓") } else { label(Label::Bad, "✗") };
            ui.data(&format!("{sign} {check}: {}\n", escape::line(detail)));
        }
    }
    let all = verdicts.iter().all(|(_, passed, _)| *passed);
    Ok(if all { DONE } else { Exit(exit::DENIED) })
}
