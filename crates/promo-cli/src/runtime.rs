//! Waiting for work of which no session is asked: what a tool says of its version, a server that may answer, time to pass.
//! What must not live here: the runtime of a session, which `project` makes.

use promo_engine::exit;

use crate::error::CliError;

/// Waits for `work` on this thread.
///
/// # Errors
/// When the system gives no runtime.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |e: std::io::Error| {
        CliError::new("unexpected", exit::FAILURE, "the runtime cannot be started", "promo doctor --help").because(&e)
    };
    Ok(runtime.map_err(failed)?.block_on(work))
}
