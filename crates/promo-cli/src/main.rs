//! The binary `promo`: the command line over the built-in providers.

use std::process::ExitCode;

use promo_cli::Wiring;

fn main() -> ExitCode {
    promo_cli::run(Wiring::default())
}
