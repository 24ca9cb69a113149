//! `cargo xtask races`: many races between real processes on one ledger. What must not be here: the races and their judge;
//! they are in `tests/`.

use crate::process::Run;
use crate::{Outcome, workspace};
use std::path::PathBuf;

/// The variable that tells the races where promo is as it is shipped.
pub(crate) const PRODUCT: &str = "PROMO_RACE_PRODUCT";

/// `cargo xtask races …`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many races of each kind.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: u64,
    /// How many processes apply one plan.
    #[arg(long, value_name = "M", default_value_t = 64)]
    processes: usize,
    /// The seed of the first round; each round has the next one.
    #[arg(long, value_name = "SEED", default_value_t = 1_000)]
    seed: u64,
}

/// Builds both programs, and lets them race.
pub(crate) fn run(args: &Args) -> Outcome {
    Run::cargo().args(["build", "--locked", "-p", "promo-cli", "-p", "promo-tests", "--bins"]).pass_through()?;
    let test = ["test", "--locked", "-p", "promo-cli", "-p", "promo-tests", "--test", "process_races"];
    Run::cargo()
        .args(test)
        .args(["--", "--ignored", "--exact", "--nocapture", "many"])
        .env(PRODUCT, product())
        .env("PROMO_RACE_ROUNDS", args.rounds.to_string())
        .env("PROMO_RACE_PROCESSES", args.processes.to_string())
        .env("PROMO_RACE_SEED", args.seed.to_string())
        .pass_through()
}

/// Where a build in the development profile puts promo.
pub(crate) fn product() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace::root().join(target).join("debug").join("promo")
}
