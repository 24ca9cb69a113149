//! The `probe` check: an address answers while a deployment is under way. It asks from before the first step until after
//! the last one runs, and counts. What must not live here: when a deployment begins and ends.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use promo_core::counted::of;
use promo_core::kinds::{KindSchema, Place, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::escape;
use crate::http::{self, Ask};
use crate::settings::{self, key};

/// Failures that are told apart.
const KINDS: usize = 5;

/// Asks an address again and again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Probe;

/// What the check `probe` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    let mut keys = Vec::from(http::keys());
    keys.extend([
        key("every", ValueKind::Duration, "Time from one request to the next; 1s"),
        key("timeout", ValueKind::Duration, "How long one answer may take; 5s"),
        key("max_failed", ValueKind::Number, "How many requests may fail; 0"),
    ]);
    KindSchema {
        place: Place::Check,
        kind: "probe".to_owned(),
        about: "Passes when an address went on answering while the deployment was under way".to_owned(),
        keys,
        target_keys: Vec::new(),
    }
}

/// Durations are in seconds, as [`ValueKind::Duration`] is lowered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
    #[serde(default = "http::ok")]
    expect: u16,
    #[serde(default = "http::second")]
    every: u64,
    #[serde(default = "five_seconds")]
    timeout: u64,
    #[serde(default)]
    max_failed: u64,
}

const fn five_seconds() -> u64 {
    5
}

impl Settings {
    fn of(request: &CheckRequest) -> Result<(Self, Url), ProviderError> {
        let settings: Self = settings::read("probe", &request.inputs)?;
        let url = http::address(&settings.url, settings.expect)?;
        if settings.every == 0 || settings.timeout == 0 {
            let message = "`every` and `timeout` must be at least one second";
            return Err(ProviderError::new(ErrorKind::Invalid, message));
        }
        Ok((settings, url))
    }
}

#[async_trait]
impl Provider for Probe {
    fn describe(&self) -> Description {
        Description {
            name: "probe".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Observable,
            kinds: vec![schema()],
        }
    }

    /// The address is the same for every target of an environment.
    fn looks_at_targets(&self) -> bool {
        false
    }

    fn looks_during(&self) -> bool {
        true
    }

    async fn ready(&self, _cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        Settings::of(request).map(drop)
    }

    async fn during(
        &self,
        cx: &Context,
        request: &CheckRequest,
        over: &CancellationToken,
    ) -> Result<CheckResult, ProviderError> {
        let (settings, url) = Settings::of(request)?;
        let client = cx.http()?.shared();
        let every = Duration::from_secs(settings.every);
        let ask =
            Ask { url: &url, expect: settings.expect, contains: None, timeout: Duration::from_secs(settings.timeout) };
        let (mut requests, mut failed) = (0_u64, 0_u64);
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        let begun = cx.clock.now();
        loop {
            // The last request is made when all is over: what is there then is seen as well.
            let last = over.is_cancelled();
            let asked = cx.clock.now();
            let answer = tokio::select! {
                biased;
                () = cx.cancelled.cancelled() => return Err(stopped()),
                answer = ask.once(client) => answer,
            };
            requests += 1;
            if let Err(failure) = answer {
                failed += 1;
                if kinds.len() < KINDS || kinds.contains_key(&failure.what) {
                    *kinds.entry(failure.what).or_default() += 1;
                }
            }
            if last {
                break;
            }
            let took = Duration::try_from(cx.clock.now().duration_since(asked)).unwrap_or_default();
            tokio::select! {
                biased;
                () = cx.cancelled.cancelled() => return Err(stopped()),
                () = over.cancelled() => {}
                () = cx.clock.sleep(every.saturating_sub(took)) => {}
            }
        }
        let seconds = cx.clock.now().duration_since(begun).as_secs().max(0);
        let passed = failed <= settings.max_failed;
        let shown = escape::line(url.as_str());
        let mut evidence: BTreeMap<String, String> = [
            ("requests", requests.to_string()),
            ("failed", failed.to_string()),
            ("max_failed", settings.max_failed.to_string()),
            ("seconds", seconds.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let most = kinds.iter().max_by_key(|(_, count)| **count).map(|(what, _)| format!(", such as: {what}"));
        evidence.extend(kinds.iter().map(|(what, count)| (format!("failure {what}"), count.to_string())));
        let detail =
            format!("{} to {shown} failed in {seconds} s{}", of(failed, requests, "request"), most.unwrap_or_default());
        Ok(CheckResult { passed, detail: escape::line(&detail), evidence })
    }
}

fn stopped() -> ProviderError {
    ProviderError::new(ErrorKind::Cancelled, "the probe was stopped")
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

    /// A server that fails the requests whose numbers (from 1) `fails` takes, and says when `until` of them have come.
    async fn server(fails: fn(u64) -> bool, until: u64) -> (String, Arc<AtomicU64>, CancellationToken) {
        let (seen, over) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let (count, end) = (Arc::clone(&seen), over.clone());
        let handler = move || async move {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            if number == until {
                end.cancel();
            }
            if fails(number) { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(get(handler))).await });
        (url, seen, over)
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
            check: "downtime".into(),
            token: "run".into(),
        }
    }

    async fn during(settings: Value, over: &CancellationToken) -> Result<CheckResult, ProviderError> {
        let mut cx = context(".");
        cx.clock = Arc::new(FakeClock::default());
        Probe.during(&cx, &request(settings), over).await
    }

    #[tokio::test]
    async fn it_asks_until_all_is_over_and_counts_what_failed() {
        let (url, seen, over) = server(|_| false, 5).await;
        let result = during(json!({"url": url}), &over).await.unwrap();
        assert!(result.passed, "{result:?}");
        let asked = seen.load(Ordering::SeqCst);
        assert!(asked >= 6, "one more when all was over: {asked}");
        assert_eq!((result.evidence["requests"].clone(), result.evidence["failed"].as_str()), (asked.to_string(), "0"));
        for (max, passed) in [(1, false), (2, true)] {
            let (url, _, over) = server(|n| n == 2 || n == 4, 5).await;
            let result = during(json!({"url": url, "max_failed": max}), &over).await.unwrap();
            assert_eq!((result.passed, result.evidence["failed"].as_str()), (passed, "2"), "{result:?}");
            assert!(result.detail.contains("expected status 200, found 502"), "{result:?}");
        }
    }

    #[tokio::test]
    async fn s1_3_it_asks_at_least_once_however_short_it_was_and_nobody_there_is_a_failure() {
        let (url, seen, over) = server(|_| false, 0).await;
        over.cancel();
        assert!(during(json!({"url": url}), &over).await.unwrap().passed);
        assert_eq!(seen.load(Ordering::SeqCst), 1);
        let result = during(json!({"url": "http://127.0.0.1:9/"}), &over).await.unwrap();
        assert_eq!((result.passed, result.evidence["requests"].as_str()), (false, "1"), "{result:?}");
    }

    #[tokio::test]
    async fn settings_that_make_no_sense_are_refused_and_a_stopped_run_has_no_verdict() {
        let cx = context(".");
        for settings in [json!({"url": "nowhere"}), json!({"url": "http://a", "every": 0})] {
            assert_eq!(Probe.ready(&cx, &request(settings)).await.unwrap_err().kind, ErrorKind::Invalid);
        }
        cx.cancelled.cancel();
        let over = CancellationToken::new();
        let error = Probe.during(&cx, &request(json!({"url": "http://127.0.0.1:9/"})), &over).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
}
