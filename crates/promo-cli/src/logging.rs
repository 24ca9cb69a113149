//! Log lines for whoever looks for a cause: on standard error, never in the way of data.

use tracing_subscriber::EnvFilter;

use crate::cli::{Global, LogFormat};

/// Starts logging: warnings, more with `-v`, everything with `-vv`, or what `PROMO_LOG` asks for.
pub(crate) fn start(global: &Global) {
    let level = match global.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("PROMO_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second start within one process, as in the quickstart, keeps the first.
    let _kept = match global.log_format {
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Text => lines.without_time().try_init(),
    };
}
