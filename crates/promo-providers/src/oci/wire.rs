//! Sending requests to one registry and to the addresses that it names. What lives here: the pace, retries and waiting, and
//! through which client an address is reached. What must not: credentials, and the meaning of an answer.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use promo_sdk::Clock;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::address::{is_allowed, shown};
use super::clients::Clients;
use super::error::{OciError, tame};
use super::rate::Bucket;

/// How often and how long to wait for a server (S13.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Upper bound of the first wait; doubled with each one. The wait itself is drawn evenly from below it.
    pub base: Duration,
    /// Upper bound of any wait, `Retry-After` included.
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, base: Duration::from_millis(250), cap: Duration::from_secs(120) }
    }
}

impl Retry {
    /// How long to wait after attempt number `attempt` (from 1).
    fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let bound = self.base.saturating_mul(1 << (attempt - 1).min(16)).min(self.cap);
        // Full jitter, so that many clients do not come back together. std's hasher seeds are the randomness: nothing
        // but a waiting time depends on them.
        let random = std::hash::RandomState::new().build_hasher().finish();
        let jitter = bound.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
        asked.map_or(jitter, |asked| asked.saturating_add(jitter)).min(self.cap)
    }
}

/// Short requests end after this, whatever the client's own limits are. Transfers of blobs have no such limit.
pub(super) const SHORT: Duration = Duration::from_secs(60);

/// The line to one registry.
pub(super) struct Wire {
    /// Where the protocol starts: `https://host/v2/`.
    pub(super) base: Url,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: Retry,
    /// `host` or `host:port` that the registry may name although it is a private address.
    pub(super) allowed: BTreeSet<String>,
    pub(super) clients: Arc<Clients>,
    pub(super) bucket: Bucket,
    /// Requests sent so far, to all registries of the run.
    pub(super) requests: Arc<AtomicU64>,
}

/// Method and address for a message: without query, which may hold a signature.
pub(super) fn what(method: &Method, url: &Url) -> String {
    format!("{method} {}", shown(url))
}

impl Wire {
    /// The client that reaches `url`: the registry's own host and what is allowed may be private, nothing else may.
    pub(super) fn client(&self, url: &Url) -> Result<reqwest::Client, OciError> {
        let host = url.host_str().unwrap_or_default();
        let place = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let trusted = url.host() == self.base.host() || is_allowed(url, &self.allowed);
        self.clients.get(&place, !trusted)
    }

    /// Sends a request that may be repeated, and repeats it while the answer is a transient one.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, OciError> {
        let client = self.client(url)?;
        let mut attempt = 1;
        loop {
            let request = build(client.request(method.clone(), url.clone()));
            let result = self.once(what(&method, url), attempt, request).await;
            match self.retried(attempt, &result) {
                Some(asked) => self.pause(attempt, asked).await,
                None => return result,
            }
            attempt += 1;
        }
    }

    /// Whether a request that may be repeated is to be repeated after this, and how long the server asks to wait.
    #[expect(clippy::option_option, reason = "no repetition, or one after a wait that may have been asked for")]
    pub(super) fn retried(&self, attempt: u32, result: &Result<Response, OciError>) -> Option<Option<Duration>> {
        if attempt >= self.retry.attempts.max(1) {
            return None;
        }
        match result {
            Ok(response) if is_transient(response.status()) => Some(retry_after(response.headers())),
            Err(OciError::Transport { .. }) => Some(None),
            _ => None,
        }
    }

    /// Sends a request exactly once, when it is its turn.
    pub(super) async fn once(
        &self,
        what: String,
        attempts: u32,
        request: RequestBuilder,
    ) -> Result<Response, OciError> {
        self.bucket.take().await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        // The address is in `what` already, and its query may hold a signature.
        let result = request.send().await.map_err(|error| broken(what, attempts, error));
        if result.as_ref().is_ok_and(|response| response.status() == StatusCode::TOO_MANY_REQUESTS) {
            self.bucket.slow_down();
        }
        result
    }

    /// Waits before the next attempt.
    pub(super) async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        self.clock.sleep(self.retry.wait(attempt, asked)).await;
    }
}

/// What servers say about the certificate of whoever asks (RFC 8446, 6.2), as rustls names it.
const REFUSALS: [&str; 8] = [
    "CertificateRequired",
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
];

/// A failed request as an error: a certificate that is not trusted, on either side, gets no better by asking again.
fn broken(what: String, attempts: u32, error: reqwest::Error) -> OciError {
    let error = error.without_url();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        if text.contains("invalid peer certificate") {
            return OciError::Certificate { what, problem: tame(&text) };
        }
        let said = text.split_once("received fatal alert: ").map(|(_, alert)| alert);
        if said.is_some_and(|alert| REFUSALS.iter().any(|refusal| alert.starts_with(refusal))) {
            return OciError::ClientCertificate { what, problem: tame(&text) };
        }
        cause = source.source();
    }
    OciError::Transport { what, attempts, source: Box::new(error) }
}

pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After` in seconds, or as a date against the server's own `Date` (RFC 9110, 10.2.3): our clock may be off.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().as_second());
    let now = date(headers.get(reqwest::header::DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(u64::try_from(date(text)? - now).unwrap_or(0)))
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn body(what: &str, response: Response, limit: u64) -> Result<Vec<u8>, OciError> {
    let too_large = |found: u64| OciError::TooLarge { what: format!("{what}: bytes"), limit, found };
    if let Some(announced) = response.content_length().filter(|n| *n > limit) {
        return Err(too_large(announced));
    }
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| OciError::Transport {
            what: what.into(),
            attempts: 1,
            source: Box::new(error.without_url()),
        })?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(too_large(bytes.len() as u64));
        }
    }
    Ok(bytes)
}

/// The error for an answer whose status was not expected, with what the server says about it.
pub(super) async fn status(what: String, response: Response) -> OciError {
    let code = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let detail = error_detail(response).await;
    let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
    OciError::Status { what, code, detail, retry_after }
}

/// What the registry says in its error, made fit for a message (distribution specification, "Error Codes").
pub(super) async fn error_detail(response: Response) -> String {
    let Ok(bytes) = body("error", response, 64 << 10).await else { return String::new() };
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let first = &json["errors"][0];
    let text = [&first["code"], &first["message"]].map(|v| v.as_str().unwrap_or_default()).join(" ");
    tame(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s13_6_waits_are_bounded_and_the_server_is_heard() {
        let retry = Retry::default();
        for attempt in 1..40 {
            assert!(retry.wait(attempt, None) <= retry.cap);
            assert!(retry.wait(attempt, Some(Duration::from_secs(9999))) <= retry.cap);
            assert!(retry.wait(attempt, Some(Duration::from_secs(3))) >= Duration::from_secs(3));
        }
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Sat, 21 Nov 2026 10:00:30 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None, "no `Date` to compare with");
        headers.insert(reqwest::header::DATE, "Sat, 21 Nov 2026 10:00:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(30)));
    }
}
