//! `promo request FILE`: asks for approval of a saved plan.

use std::path::PathBuf;

use clap::Args;

use super::show;
use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::time;
use crate::project::{self, Access};
use crate::ui::{self, Ui};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The saved plan
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let (document, digest) = show::read(&arguments.file)?;
    let project = project::open(ui, global, Access::Write)?;
    let expires = project.runtime.block_on(project.session.request(&document, digest))?;
    let file = arguments.file.to_string_lossy();
    let next = global.suggest(&["approve", &file, "--key", "KEY"]);
    if ui.format() == Format::Json {
        ui.json(&serde_json::json!({
            "kind": "promo.request", "format": 1, "plan": digest, "expires": expires, "next": next,
        }));
        return Ok(DONE);
    }
    let zone = ui::zone(global)?;
    let names: Vec<&str> = document.body.moves.iter().map(|m| m.environment.as_str()).collect();
    ui.data(&format!("requested {}\n  {digest}\n  open until {}\n", names.join(", "), time::long(expires, &zone)));
    for entry in &document.body.moves {
        for gate in entry.gates.iter().filter(|g| !g.outcome.is_open()) {
            ui.data(&format!("  {} waits: {}\n", entry.environment, gate.reason));
        }
    }
    ui.talk(&format!("Next: {next}"));
    Ok(DONE)
}
