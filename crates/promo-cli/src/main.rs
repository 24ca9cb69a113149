//! The binary `promo`: the face. It wires the built-in providers into the engine, and is the only crate that prints.
//! What must not live here: decisions. What a verb does is in `commands`, how things look is in `output`.

mod candidates;
mod cli;
mod codes;
mod commands;
mod engine_error;
mod error;
mod escape;
mod exit;
mod input;
mod logging;
mod output;
mod project;
mod select;
mod ui;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use promo_engine::process;

use crate::ui::Ui;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    // Not a verb: promo starts itself like this, once for every program that it runs (S9.3).
    #[cfg(unix)]
    if words.get(1).is_some_and(|word| word == process::SUPERVISE) {
        return ExitCode::from(process::supervise(words.into_iter().skip(2)));
    }
    // A shell that asks what may follow is answered here, and the process ends.
    clap_complete::CompleteEnv::with_factory(|| candidates::attach(cli::command()))
        .var(commands::completions::VARIABLE)
        .complete();
    if let Some(executable) = own_executable() {
        process::supervise_with(executable);
    }
    let parsed = match cli::parse(&words) {
        Ok(parsed) => parsed,
        Err(stopped) => return stopped.report().into(),
    };
    let ui = Ui::new(&parsed.global);
    logging::start(&parsed.global);
    commands::run(&ui, &parsed).into()
}

/// What to start to start this very program once more.
fn own_executable() -> Option<PathBuf> {
    // Linux opens the running program itself there, also after its file was replaced by another version.
    let running = Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() {
        return Some(running.to_owned());
    }
    std::env::current_exe().ok()
}
