//! The `http` check: an address answers as expected, for as long as asked. No failure is tolerated meanwhile: whatever
//! needs time to start gets it before the check, not by looking away during it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::kinds::{KeySchema, KindSchema, Place, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use serde::Deserialize;
use url::Url;

use crate::escape;
use crate::settings::{self, key, required};

/// Bytes of an answer that are read.
const BODY: usize = 64 << 10;

/// Asks an address.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http;

/// What the check `http` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    let mut keys = Vec::from(keys());
    keys.extend([
        key("contains", ValueKind::Text, "A text that the first 64 KiB of every answer must contain"),
        key("for", ValueKind::Duration, "How long it must hold without one failure; once"),
        key("interval", ValueKind::Duration, "Time between two requests; 1s"),
        key("timeout", ValueKind::Duration, "How long one answer may take; 10s"),
    ]);
    KindSchema {
        place: Place::Check,
        kind: "http".to_owned(),
        about: "Passes when an address answers as expected for the whole of a period".to_owned(),
        keys,
        target_keys: Vec::new(),
    }
}

/// What every check of an address accepts: where it is, and what it answers.
pub(crate) fn keys() -> [KeySchema; 2] {
    [
        required("url", ValueKind::Text, "The address, `http://` or `https://`; redirects are not followed"),
        key("expect", ValueKind::Number, "The status that every answer must have; 200"),
    ]
}

/// Durations are in seconds, as [`ValueKind::Duration`] is lowered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
    #[serde(default = "ok")]
    expect: u16,
    #[serde(default)]
    contains: Option<String>,
    #[serde(default, rename = "for")]
    period: u64,
    #[serde(default = "second")]
    interval: u64,
    #[serde(default = "ten_seconds")]
    timeout: u64,
}

pub(crate) const fn ok() -> u16 {
    200
}

pub(crate) const fn second() -> u64 {
    1
}

const fn ten_seconds() -> u64 {
    10
}

#[async_trait]
impl Provider for Http {
    fn describe(&self) -> Description {
        Description {
            name: "http".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Observable,
            kinds: vec![schema()],
        }
    }

    /// The address is the same for every target of an environment.
    fn looks_at_targets(&self) -> bool {
        false
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        let settings: Settings = settings::read("http", &request.inputs)?;
        let url = address(&settings.url, settings.expect)?;
        if settings.interval == 0 || settings.timeout == 0 {
            let message = "`interval` and `timeout` must be at least one second";
            return Err(ProviderError::new(ErrorKind::Invalid, message));
        }
        let http = cx.http()?.shared();
        let shown = escape::line(url.as_str());
        let period = Duration::from_secs(settings.period);
        let interval = Duration::from_secs(settings.interval);
        let timeout = Duration::from_secs(settings.timeout);
        let asked = Ask { url: &url, expect: settings.expect, contains: settings.contains.as_deref(), timeout };
        let mut elapsed = Duration::ZERO;
        let mut last = cx.clock.now();
        let mut requests = 0_u64;
        let failure = loop {
            requests += 1;
            let answer = tokio::select! {
                biased;
                () = cx.cancelled.cancelled() => return Err(cancelled()),
                answer = asked.once(http) => answer,
            };
            if let Err(failure) = answer {
                break Some(failure);
            }
            elapsed += passed(cx, &mut last, Duration::ZERO, timeout);
            let left = period.saturating_sub(elapsed);
            if left.is_zero() {
                break None;
            }
            // The last request falls on the end of the period, so that all of it is covered.
            let pause = interval.min(left);
            tokio::select! {
                biased;
                () = cx.cancelled.cancelled() => return Err(cancelled()),
                () = cx.clock.sleep(pause) => {}
            }
            elapsed += passed(cx, &mut last, pause, timeout);
        };
        let mut evidence = BTreeMap::from([
            ("requests".to_owned(), requests.to_string()),
            ("seconds".to_owned(), elapsed.as_secs().to_string()),
        ]);
        let detail = match failure {
            None if period.is_zero() => format!("{} from {shown}", settings.expect),
            None => format!("{} from {shown} for {} s", settings.expect, period.as_secs()),
            Some(Failure { status, ref what }) => {
                if let Some(status) = status {
                    evidence.insert("status".to_owned(), status.to_string());
                }
                let place = match requests {
                    1 => "at the first request".to_owned(),
                    _ => format!("at request {requests}, after {} s", elapsed.as_secs()),
                };
                format!("{shown}: {what} ({place})")
            }
        };
        Ok(CheckResult { passed: failure.is_none(), detail, evidence })
    }
}

fn cancelled() -> ProviderError {
    ProviderError::new(ErrorKind::Cancelled, "the check was stopped")
}

/// How much time counts since `last`: at least what was slept, however the clock was set back, and not much more,
/// however it was set forward.
fn passed(cx: &Context, last: &mut Timestamp, slept: Duration, slack: Duration) -> Duration {
    let now = cx.clock.now();
    let shown = Duration::try_from(last.duration_until(now)).unwrap_or(Duration::ZERO);
    *last = now;
    shown.clamp(slept, slept.saturating_add(slack))
}

/// The address that is asked, and a status that it may be expected to answer with.
pub(crate) fn address(url: &str, expect: u16) -> Result<Url, ProviderError> {
    let invalid = |message: String| Err(ProviderError::new(ErrorKind::Invalid, message));
    let url = match Url::parse(url) {
        Ok(url) => url,
        Err(e) => return invalid(format!("`url` is not an address: {e}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return invalid("`url` carries credentials: they must not stand in a pipeline file".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") {
        return invalid(format!("`url` has the scheme `{}`: expected `http` or `https`", url.scheme()));
    }
    if !(100..=599).contains(&expect) {
        return invalid(format!("`expect` is {expect}: expected a status from 100 to 599"));
    }
    Ok(url)
}

/// Why one request did not do.
pub(crate) struct Failure {
    status: Option<u16>,
    pub(crate) what: String,
}

/// One request, and what its answer must be.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    pub(crate) expect: u16,
    pub(crate) contains: Option<&'a str>,
    pub(crate) timeout: Duration,
}

impl Ask<'_> {
    /// Makes the request.
    pub(crate) async fn once(&self, http: &reqwest::Client) -> Result<(), Failure> {
        ask(http, self).await
    }
}

async fn ask(http: &reqwest::Client, asked: &Ask<'_>) -> Result<(), Failure> {
    let Ask { url, expect, contains: wanted, timeout } = *asked;
    let error = |status: Option<u16>, error: reqwest::Error| Failure { status, what: reason(error, timeout) };
    let response = http.get(url.clone()).timeout(timeout).send().await;
    let mut response = response.map_err(|e| error(None, e))?;
    let status = response.status().as_u16();
    if status != expect {
        let what = format!("expected status {expect}, found {status}");
        return Err(Failure { status: Some(status), what });
    }
    let Some(wanted) = wanted else { return Ok(()) };
    let mut body = Vec::new();
    while body.len() < BODY {
        match response.chunk().await.map_err(|e| error(Some(status), e))? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => break,
        }
    }
    body.truncate(BODY);
    if contains(&body, wanted.as_bytes()) {
        return Ok(());
    }
    let read = if body.len() == BODY { "the first 64 KiB of the answer" } else { "the answer" };
    let what = format!("{read} ({status}) did not contain `{}`", escape::line(wanted));
    Err(Failure { status: Some(status), what })
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}

/// The innermost reason: the outer ones repeat the address.
fn reason(error: reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", timeout.as_secs());
    }
    let error = error.without_url();
    let mut inner: &dyn std::error::Error = &error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    escape::line(&format!("no answer: {inner}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use promo_sdk::Inputs;
    use promo_sdk::testing::{FakeClock, context};
    use serde_json::{Value, json};

    use super::*;

    /// A server that answers the n-th request (from 1) with what `answer` says; its address and the requests so far.
    async fn server(answer: fn(u64) -> (u16, String)) -> (String, Arc<AtomicU64>) {
        let seen = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&seen);
        let handler = move || async move {
            let (status, body) = answer(count.fetch_add(1, Ordering::SeqCst) + 1);
            (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")], body)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(get(handler))).await });
        (url, seen)
    }

    fn request(settings: Value) -> CheckRequest {
        CheckRequest {
            inputs: Inputs {
                environment: "dev".parse().unwrap(),
                release: "r-0123456789ab".parse().unwrap(),
                target: promo_core::model::Target([].into()),
                settings,
                artifacts: [].into(),
                files: [].into(),
            },
            check: "health".into(),
            token: String::new(),
        }
    }

    async fn check(settings: Value) -> CheckResult {
        Http.verify(&context("."), &request(settings)).await.unwrap()
    }

    #[tokio::test]
    async fn it_keeps_the_contract_of_checks() {
        let inputs = |settings: Value| request(settings).inputs;
        let (good, _) = server(|_| (200, "green".into())).await;
        let (bad, _) = server(|_| (503, "red".into())).await;
        let (loud, _) = server(|_| (200, "green ".repeat(1 << 20))).await;
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = (format!("http://{}/", silent.local_addr().unwrap()), silent);
        let cases = promo_sdk::conformance::CheckCases {
            passing: inputs(json!({"url": good, "contains": "green"})),
            failing: inputs(json!({"url": bad})),
            broken: &[
                ("no address", inputs(json!({"url": "nowhere"}))),
                ("another protocol", inputs(json!({"url": "ftp://x/"}))),
                ("no time", inputs(json!({"url": good, "timeout": 0}))),
            ],
            endless: inputs(json!({"url": silent.0, "timeout": 1})),
            loud: inputs(json!({"url": format!("{loud}?{}", "x".repeat(4000)), "contains": "r".repeat(4000)})),
        };
        assert_eq!(promo_sdk::conformance::checks(&Http, &context("."), &cases).await, Ok(()));
    }

    #[tokio::test]
    async fn the_expected_status_passes_and_another_fails() {
        let (url, _) = server(|_| (200, "ok".into())).await;
        let result = check(json!({"url": url})).await;
        assert_eq!((result.passed, result.detail), (true, format!("200 from {url}")));
        let (url, _) = server(|_| (500, "ok".into())).await;
        let result = check(json!({"url": url})).await;
        let expected = format!("{url}: expected status 200, found 500 (at the first request)");
        assert_eq!((result.passed, result.detail), (false, expected));
        assert_eq!(result.evidence["status"], "500");
        assert!(check(json!({"url": url, "expect": 500})).await.passed);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let (url, seen) = server(|n| (if n == 1 { 302 } else { 200 }, String::new())).await;
        assert!(!check(json!({"url": url})).await.passed);
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn it_must_hold_at_every_request_from_the_first_to_the_end_of_the_period() {
        let (url, seen) = server(|_| (200, String::new())).await;
        let clock = Arc::new(FakeClock::default());
        let mut cx = context(".");
        cx.clock = clock.clone();
        let result = Http.verify(&cx, &request(json!({"url": url, "for": 30, "interval": 7}))).await.unwrap();
        assert_eq!((result.passed, result.detail), (true, format!("200 from {url} for 30 s")));
        assert_eq!(clock.sleeps(), [7, 7, 7, 7, 2].map(Duration::from_secs));
        assert_eq!((seen.load(Ordering::SeqCst), result.evidence["requests"].as_str()), (6, "6"));
    }

    #[tokio::test]
    async fn one_failure_within_the_period_fails_the_check() {
        let (url, seen) = server(|n| (if n == 3 { 503 } else { 200 }, String::new())).await;
        let result = check(json!({"url": url, "for": 30, "interval": 5})).await;
        let expected = format!("{url}: expected status 200, found 503 (at request 3, after 10 s)");
        assert_eq!((result.passed, result.detail), (false, expected));
        assert_eq!(seen.load(Ordering::SeqCst), 3, "nothing is asked after a failure");
    }

    #[tokio::test]
    async fn a_text_is_looked_for_in_the_first_64_kib_of_every_answer() {
        let (url, _) = server(|_| (200, "status: green".into())).await;
        assert!(check(json!({"url": url, "contains": "green"})).await.passed);
        let result = check(json!({"url": url, "contains": "red"})).await;
        assert!(!result.passed && result.detail.contains("the answer (200) did not contain `red`"), "{result:?}");
        let (url, _) = server(|_| (200, format!("{}needle", "x".repeat(BODY - 3)))).await;
        let result = check(json!({"url": url, "contains": "needle"})).await;
        assert!(!result.passed && result.detail.contains("the first 64 KiB"), "{result:?}");
        let (url, _) = server(|_| (200, format!("{}needle", "x".repeat(BODY - 6)))).await;
        assert!(check(json!({"url": url, "contains": "needle"})).await.passed);
    }

    #[tokio::test]
    async fn no_answer_is_a_failure_and_never_a_pass_s1_3() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let silent = check(json!({"url": url, "timeout": 1})).await;
        assert_eq!(
            (silent.passed, silent.detail),
            (false, format!("{url}: no answer within 1 s (at the first request)"))
        );
        drop(listener);
        let refused = check(json!({"url": url})).await;
        assert!(!refused.passed && refused.detail.contains("no answer: "), "{refused:?}");
    }

    #[tokio::test]
    async fn a_clock_that_is_set_forward_does_not_shorten_the_period() {
        struct Jumping(FakeClock);
        #[async_trait]
        impl promo_sdk::Clock for Jumping {
            fn now(&self) -> Timestamp {
                self.0.now()
            }
            async fn sleep(&self, duration: Duration) {
                self.0.sleep(duration).await;
                self.0.advance(jiff::SignedDuration::from_hours(if self.0.sleeps().len() == 1 { 24 } else { -1 }));
            }
        }
        let (url, seen) = server(|_| (200, String::new())).await;
        let mut cx = context(".");
        cx.clock = Arc::new(Jumping(FakeClock::default()));
        let settings = json!({"url": url, "for": 60, "interval": 5, "timeout": 1});
        assert!(Http.verify(&cx, &request(settings)).await.unwrap().passed);
        assert!(seen.load(Ordering::SeqCst) >= 11, "a day forward once counted as one second more at most");
    }

    #[tokio::test]
    async fn settings_that_make_no_sense_are_refused_and_credentials_are_not_repeated() {
        for (settings, expected) in [
            (json!({"url": "ftp://x/"}), "scheme `ftp`"),
            (json!({"url": "nowhere"}), "not an address"),
            (json!({"url": "http://u:hunter2@x/"}), "carries credentials"),
            (json!({"url": "http://x/", "expect": 20}), "from 100 to 599"),
            (json!({"url": "http://x/", "interval": 0}), "at least one second"),
            (json!({"url": "http://x/", "retries": 3}), "unknown field `retries`"),
        ] {
            let error = Http.verify(&context("."), &request(settings)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains(expected) && !error.message.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_cancelled_check_has_no_result() {
        let (url, _) = server(|_| (200, String::new())).await;
        let cx = context(".");
        cx.cancelled.cancel();
        assert_eq!(Http.verify(&cx, &request(json!({"url": url}))).await.unwrap_err().kind, ErrorKind::Cancelled);
    }
}
