//! The binary `promo`: the face. It wires the built-in providers into the engine, and is the only crate that prints.
//! What must not live here: decisions. What a verb does is in `commands`, how things look is in `output`.

mod cli;
mod codes;
mod commands;
mod engine_error;
mod error;
mod escape;
mod exit;
mod logging;
mod output;
mod project;
mod select;
mod ui;
mod view;

use std::process::ExitCode;

use crate::ui::Ui;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let parsed = match cli::parse(&words) {
        Ok(parsed) => parsed,
        Err(stopped) => return stopped.report().into(),
    };
    let ui = Ui::new(&parsed.global);
    logging::start(&parsed.global);
    match commands::run(&ui, &parsed) {
        Ok(exit) => exit.into(),
        Err(error) => error.report(&ui).into(),
    }
}
