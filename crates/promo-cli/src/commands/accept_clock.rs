//! `promo ledger accept-clock`: the way out when a record was written while the clock was ahead (S12.6).

use clap::Args;
use promo_engine::lifts::Lift;

use super::unfreeze::{Signing, lift};
use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::time;
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::answers::ClockAccepted;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What was wrong with the clock
    #[arg(long, value_parser = crate::select::reason)]
    reason: String,
    #[command(flatten)]
    signing: Signing,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open_unread(ui, global, Access::Write)?;
    project.admit_by_the_clock()?;
    let ahead = project.session.record_ahead()?;
    let words = vec!["ledger", "accept-clock"];
    lift(&project, Lift::Clock { ahead }, &arguments.signing, &arguments.reason, words)?;
    if ui.format() == Format::Json {
        ui.answer(&ClockAccepted { ahead });
    } else {
        let ahead = time::short(ahead, &ui::zone(global)?);
        ui.data(&format!("the clock counts again, although the ledger has a record of {ahead}\n"));
    }
    Ok(DONE)
}
