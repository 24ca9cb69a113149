//! `promo ledger`: checks the whole ledger: bytes, chain, tree, counters, and that every record may follow the ones before
//! it; and writes its checkpoint down for a trust file.

use clap::{Args, Subcommand};
use promo_core::counted::counted;
use promo_engine::EngineError;
use promo_ledger::{Checkpoint, VerifyError};

use super::accept_clock;
use crate::cli::{Format, Global};
use crate::error::{CliError, who};
use crate::escape::line;
use crate::exit::{DONE, Exit};
use crate::project::{self, Access, Project};
use crate::ui::Ui;
use crate::view::answers::{LedgerCheckpoint, LedgerVerified};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check every byte, the chain, the tree and the order of records
    Verify,
    /// Check the same, and print the lines that pin this state of the ledger in a trust file
    Checkpoint,
    /// Take the ledger's clock as it is, although a record was written while it was ahead
    AcceptClock(accept_clock::Arguments),
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    // What was found is not found any better by verifying once more.
    let elsewhere = |error: CliError| {
        let page = ["promo", "explain", error.problem().code];
        if error.problem().next == VERIFY { error.go_on_with(&page) } else { error }
    };
    match &arguments.verb {
        Verb::Verify => verify(ui, global).map_err(elsewhere),
        Verb::Checkpoint => checkpoint(ui, global).map_err(elsewhere),
        Verb::AcceptClock(arguments) => accept_clock::run(ui, global, arguments),
    }
}

/// Where errors lead that speak of damage.
const VERIFY: &str = "promo ledger verify";

fn verify(ui: &Ui, global: &Global) -> Result<Exit, CliError> {
    let project = project::open_unread(ui, global, Access::Read)?;
    let Checkpoint { origin, size, root } = verified(&project)?;
    let next = match project.session.governance().checkpoint {
        None if size > 0 => "promo ledger checkpoint",
        _ => "promo status",
    };
    if ui.format() == Format::Json {
        ui.answer(&LedgerVerified { records: size, root, origin, next: ui.to_paste(next) });
    } else {
        let records = counted(size, "record");
        ui.data(&format!("{records}, whole and in order\nroot {root}\n{}", ui.next(next)));
    }
    Ok(DONE)
}

fn checkpoint(ui: &Ui, global: &Global) -> Result<Exit, CliError> {
    let project = project::open_unread(ui, global, Access::Read)?;
    let Checkpoint { origin, size, root } = verified(&project)?;
    if size == 0 {
        // Nothing of what such a ledger is could be held to: any other one begins like it.
        let message = "nothing has been recorded yet, so there is nothing to pin";
        let next = crate::view::ways::new_release(&project.session);
        return Err(CliError::new("request-invalid", 65, message, next));
    }
    if ui.format() == Format::Json {
        ui.answer(&LedgerCheckpoint { origin, size, root });
        return Ok(DONE);
    }
    ui.talk(match project.session.governance().checkpoint {
        None => "For the end of the trust file:",
        Some(_) => "In place of the checkpoint that the trust file has:",
    });
    // A table of its own: a key would belong to whatever table the file ends with.
    let origin = line(&toml_edit::Value::from(origin).to_string());
    ui.data(&format!("[checkpoint]\norigin = {origin}\nsize = {size}\nroot = \"{root}\"\n"));
    Ok(DONE)
}

/// What the ledger is, once everything that it says of itself was recomputed.
fn verified(project: &Project) -> Result<Checkpoint, CliError> {
    let store = project.session.store();
    let report = match project.session.verify() {
        Ok(report) => report,
        Err(VerifyError::Findings(findings)) => {
            let lines = findings.iter().map(ToString::to_string);
            let message = format!("the ledger is damaged in {} places", findings.len());
            return Err(CliError::new("ledger-damaged", 30, message, "promo explain ledger-damaged")
                .who(who::OPERATOR)
                .details(lines));
        }
        Err(VerifyError::Store(error)) => return Err(EngineError::from(error).into()),
    };
    // Folding judges what chain and tree cannot: whether each record may follow the ones before it.
    project.admit()?;
    project.session.view()?;
    Ok(Checkpoint { origin: store.origin(), size: report.records, root: report.root })
}
