//! Log lines for whoever looks for a cause: on standard error, never in the way of data.

use tracing_subscriber::EnvFilter;

use crate::cli::{Global, LogFormat};

/// What is logged. What the client of clusters says of each request that fails is told by promo itself, as its answer: beside that it
/// is for whoever looks closer.
const fn wanted(verbose: u8) -> &'static str {
    match verbose {
        0 => "warn,kube_client=off",
        1 => "info",
        _ => "debug",
    }
}

/// Starts logging: warnings, more with `-v`, everything with `-vv`, or what `PROMO_LOG` asks for.
pub(crate) fn start(global: &Global) {
    let filter = EnvFilter::try_from_env("PROMO_LOG").unwrap_or_else(|_| EnvFilter::new(wanted(global.verbose)));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second start within one process, as in the quickstart, keeps the first.
    let _kept = match global.log_format {
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Text => lines.without_time().try_init(),
    };
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::{EnvFilter, wanted};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(verbose: u8) -> String {
        let (lines, filter) = (Lines::default(), EnvFilter::new(wanted(verbose)));
        let writer = lines.clone();
        let log =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(log.finish(), || {
            tracing::error!(target: "kube_client::client::builder", "failed with status 404");
            tracing::warn!(target: "promo_engine::observe", "cannot be observed");
        });
        let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn what_the_client_of_clusters_says_by_itself_is_for_whoever_looks_closer() {
        let (plain, closer) = (logged(0), logged(1));
        assert!(!plain.contains("404") && plain.contains("cannot be observed"), "{plain}");
        assert!(closer.contains("404"), "{closer}");
    }
}
