//! The face: promo's command line over the providers that a binary is wired with ([`Wiring`]), and the only crate that
//! prints. The binary `promo` is [`run`] with the built-in providers. What must not live here: decisions. What a verb does
//! is in `commands`, how things look is in `output`.

mod candidates;
mod cli;
mod codes;
mod commands;
mod engine_error;
mod error;
mod escape;
mod examples;
mod exit;
mod input;
mod logging;
mod output;
mod project;
#[cfg(test)]
mod reference;
mod runtime;
mod save;
mod schemas;
mod select;
mod tags;
mod ui;
mod view;
mod wiring;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use promo_engine::process;

pub use crate::wiring::Wiring;

use crate::ui::Ui;

/// Runs the command line of this process to its end. To be called once, and first of all: it reads arguments and
/// environment, answers shells that ask for completions, and becomes the supervisor of a child process when it is started
/// as one.
#[must_use]
pub fn run(wiring: Wiring) -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    // Not a verb: promo starts itself like this, once for every program that it runs (S9.3).
    #[cfg(unix)]
    if words.get(1).is_some_and(|word| word == process::SUPERVISE) {
        return ExitCode::from(process::supervise(words.into_iter().skip(2)));
    }
    // A shell that asks what may follow is answered here, and the process ends.
    clap_complete::CompleteEnv::with_factory(|| candidates::attach(cli::command(), &wiring))
        .var(commands::completions::VARIABLE)
        .complete();
    if let Some(executable) = own_executable() {
        process::supervise_with(executable);
    }
    let mut parsed = match cli::parse(&words) {
        Ok(parsed) => parsed,
        Err(stopped) => return stopped.report().into(),
    };
    parsed.global.wiring = wiring;
    let ui = Ui::new(&parsed.global);
    logging::start(&parsed.global);
    commands::run(&ui, &parsed).into()
}

/// The command line as a value, with every verb, flag and help text: for whoever checks a line without running it, or makes
/// pages of it. [`run`] parses with this very one.
#[must_use]
pub fn command() -> clap::Command {
    cli::command()
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
