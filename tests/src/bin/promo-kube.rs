//! Owns a control plane of Kubernetes for tests; [`promo_tests::kubernetes`] says how long.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    promo_tests::kubernetes::server::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
