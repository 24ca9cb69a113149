//! Errors of an API server and of the way to it, in the words of a provider.

use kube::core::Status;
use promo_sdk::{ErrorKind, ProviderError};

use crate::escape;

/// What the engine does about an error of a cluster while `doing` something.
pub(crate) fn told(doing: &str, error: &kube::Error) -> ProviderError {
    match error {
        kube::Error::Api(status) => refused(doing, status),
        // The server could not be asked, or did not answer to the end.
        kube::Error::Service(source) => transient(doing, &innermost(source.as_ref())),
        kube::Error::HyperError(source) => transient(doing, &innermost(source)),
        kube::Error::ReadEvents(source) => transient(doing, &source.to_string()),
        other => ProviderError::new(ErrorKind::Failed, format!("{doing}: {}", escape::line(&other.to_string()))),
    }
}

/// What is told where somebody who was only to look may not: who has seen nothing has seen nothing go wrong, so that nothing has
/// failed, and it is asked again.
pub(crate) fn unseen(error: ProviderError) -> ProviderError {
    match error.kind {
        ErrorKind::Denied => ProviderError { kind: ErrorKind::Transient, ..error },
        _ => error,
    }
}

/// What an API server answered instead of doing it.
pub(crate) fn refused(doing: &str, status: &Status) -> ProviderError {
    // A field that no schema declares is answered with 500, and stays wrong: kubernetes/kubernetes#122480.
    let typed = status.message.starts_with("failed to create typed");
    let kind = match status.code {
        500 if typed => ErrorKind::Invalid,
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        400 | 405 | 406 | 413 | 415 | 422 => ErrorKind::Invalid,
        // 410: what the server was asked to go on from it has forgotten.
        408 | 410 | 425 | 429 | 500..=599 => ErrorKind::Transient,
        _ => ErrorKind::Failed,
    };
    // Of an object that is applied and is not there, a server does not say that it is the right to create it that is missing.
    let why = match status.message.trim_end().strip_suffix("is forbidden:") {
        Some(_) if kind == ErrorKind::Denied => " it is not there, and who applies it may not `create` it",
        _ => "",
    };
    ProviderError::new(kind, format!("{doing}: {}{why}", escape::line(status.message.trim_end())))
}

fn transient(doing: &str, why: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Transient, format!("{doing}: {}", escape::line(why)))
}

/// The cause behind all others: the outer ones say only that a request failed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error).to_string()
}
