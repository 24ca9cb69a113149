//! What every provider must do, as code: run it from a provider's own tests against a real place.
//!
//! [`deployment`] tries what deploys into a place, [`copies`] what copies artifacts, [`checks`] what judges. Each decides by
//! what the provider answers and by what the caller sees without the provider, so one that lies is found too. What must not
//! live here: knowledge of any provider.

mod checks;
mod copies;
mod deployment;

use std::future::poll_fn;
use std::task::Poll;

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::ProviderError;
use crate::provider::{Description, MAX_DETAIL, Provider};

pub use checks::{CheckCases, SECRET, checks};
pub use copies::{CopyCases, copies};
pub use deployment::{DeploymentCases, deployment};

/// A provider does not do what the contract says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider breaks the contract: {rule}; {found}")]
pub struct Violation {
    /// What the contract says.
    pub rule: &'static str,
    /// What happened instead.
    pub found: String,
}

fn must(holds: bool, rule: &'static str, found: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, found: found() }) }
}

fn failed(rule: &'static str) -> impl FnOnce(ProviderError) -> Violation {
    move |error| Violation { rule, found: format!("{:?}: {error}", error.kind) }
}

/// The provider's description, which must be complete and constant.
fn described(provider: &dyn Provider) -> Result<Description, Violation> {
    let description = provider.describe();
    must(description == provider.describe(), "`describe` is constant", || "two answers differ".to_owned())?;
    let named = !description.name.is_empty() && !description.version.is_empty();
    must(named, "a provider has a name and a version", || format!("{description:?}"))?;
    Ok(description)
}

/// A sentence for a person: there, on one line, not too long.
fn line(text: &str, rule: &'static str) -> Result<(), Violation> {
    let fine = !text.is_empty() && !text.contains('\n') && text.len() <= MAX_DETAIL;
    must(fine, rule, || format!("{} bytes: {text:.80?}", text.len()))
}

/// The same context, and what cancels it.
fn cancellable(cx: &Context) -> (Context, CancellationToken) {
    let token = CancellationToken::new();
    (Context { cancelled: token.clone(), ..cx.clone() }, token)
}

/// Lets `work` be polled `turns` times at least before it is cancelled; its answer, and whether it was cancelled before it
/// answered.
async fn cancelled_after<T>(token: CancellationToken, turns: usize, work: impl Future<Output = T>) -> (T, bool) {
    let mut left = turns;
    let cancel = poll_fn(|cx| {
        if left == 0 {
            token.cancel();
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    tokio::pin!(work);
    tokio::select! {
        biased;
        answer = &mut work => return (answer, false),
        () = cancel => {}
    }
    (work.await, true)
}
