//! promo with faults: the very command line of the product, with every provider and the ledger behind
//! [`promo_tests::faults`]. For tests alone; CONTRIBUTING.md says how it is driven.

use std::process::ExitCode;
use std::sync::Arc;

use promo_cli::Wiring;
use promo_tests::faults::Faults;

fn main() -> ExitCode {
    let faults = Faults::from_environment();
    let providers = faults.providers(promo_providers::builtin());
    promo_cli::run(Wiring { providers, ledger: Some(Arc::new(move |store| faults.store(store))) })
}
