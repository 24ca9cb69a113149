//! `promo ledger verify`: checks the whole ledger: bytes, chain, tree, counters, and that every record may follow the
//! ones before it.

use clap::{Args, Subcommand};
use promo_ledger::VerifyError;

use super::accept_clock;
use crate::cli::{Format, Global};
use crate::error::{CliError, who};
use crate::exit::{DONE, Exit};
use crate::project::{self, Access};
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check every byte, the chain, the tree and the order of records
    Verify,
    /// Take the ledger's clock as it is, although a record was written while it was ahead
    AcceptClock(accept_clock::Arguments),
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    if let Verb::AcceptClock(arguments) = &arguments.verb {
        return accept_clock::run(ui, global, arguments);
    }
    let project = project::open(ui, global, Access::Read)?;
    let store = project.session.store();
    let report = match promo_ledger::verify(store.as_ref()) {
        Ok(report) => report,
        Err(VerifyError::Findings(findings)) => {
            let lines = findings.iter().map(ToString::to_string);
            let message = format!("the ledger is damaged in {} places", findings.len());
            return Err(CliError::new("ledger-damaged", 30, message, "promo explain ledger-damaged")
                .who(who::OPERATOR)
                .details(lines));
        }
        Err(VerifyError::Store(error)) => return Err(promo_engine::EngineError::from(error).into()),
    };
    // Folding judges what chain and tree cannot: whether each record may follow the ones before it.
    project.session.view()?;
    let checkpoint = store.checkpoint().map_err(promo_engine::EngineError::from)?;
    if ui.format() == Format::Json {
        ui.json(&serde_json::json!({
            "kind": "promo.ledger.verified", "format": 1, "records": report.records, "root": checkpoint.root,
            "origin": checkpoint.origin,
        }));
    } else {
        ui.data(&format!("{} records, whole and in order\nroot {}\n", report.records, checkpoint.root));
    }
    Ok(DONE)
}
