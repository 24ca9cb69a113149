//! The HTTP API of Prometheus, as far as it is asked: a query now, over a period, and what time it is there. What must not live
//! here: what values mean.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use promo_sdk::{Context, ErrorKind, ProviderError};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use super::sources::Login;
use crate::escape;

/// Bytes of an answer that are read.
const BODY: usize = 8 << 20;
/// How often a question is asked that a server cannot answer just now.
const TRIES: u32 = 4;
/// Longest that a server is given to come back because it asks for that.
const LONGEST_AGAIN: Duration = Duration::from_secs(120);

/// One series of an answer.
pub(super) struct Series {
    pub(super) metric: BTreeMap<String, String>,
    /// Milliseconds, and values as the server writes them.
    pub(super) values: Vec<(i64, String)>,
}

impl Series {
    /// Its labels in one line, as a query would select it.
    pub(super) fn labels(&self) -> String {
        let name = self.metric.get("__name__").map(String::as_str).unwrap_or_default();
        let labels = self.metric.iter().filter(|(key, _)| *key != "__name__");
        let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value:?}")).collect();
        escape::line(&format!("{name}{{{}}}", labels.join(", ")))
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) series: Vec<Series>,
    pub(super) warnings: Vec<String>,
}

/// A server, as this machine asks it.
pub(super) struct Server<'a> {
    cx: &'a Context,
    login: Login,
    client: reqwest::Client,
    timeout: Duration,
}

/// The envelope of every answer.
#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    kind: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<Point>,
    #[serde(default)]
    values: Vec<Point>,
}

/// Seconds, with a fraction, and the value.
#[derive(Deserialize)]
struct Point(f64, String);

impl Point {
    fn milliseconds(self) -> (i64, String) {
        #[expect(clippy::cast_possible_truncation, reason = "instants of servers are far from where that is inexact")]
        let at = (self.0 * 1000.0).round() as i64;
        (at, self.1)
    }
}

impl<'a> Server<'a> {
    pub(super) fn new(cx: &'a Context, login: Login, timeout: Duration) -> Result<Self, ProviderError> {
        let http = cx.http()?;
        let client = if login.authorities.is_empty() {
            http.shared().clone()
        } else {
            let made = http.client(|builder| builder.tls_certs_merge(login.authorities.clone()));
            made.map_err(|error| ProviderError::new(ErrorKind::Invalid, format!("source `{}`: {error}", login.name)))?
        };
        Ok(Self { cx, login, client, timeout })
    }

    /// What time it is there, in milliseconds.
    pub(super) async fn time(&self) -> Result<i64, ProviderError> {
        let answer = self.ask("query", &[("query", "time()".to_owned())]).await?;
        let value = answer.series.first().and_then(|one| one.values.first());
        value.map(|(at, _)| *at).ok_or_else(|| self.failed(ErrorKind::Failed, "it does not say what time it is there"))
    }

    /// The values of a query now.
    pub(super) async fn instant(&self, query: &str) -> Result<Answer, ProviderError> {
        self.ask("query", &[("query", query.to_owned())]).await
    }

    /// The values of a query over a period, from and to instants in milliseconds.
    pub(super) async fn range(&self, query: &str, start: i64, end: i64, every: u64) -> Result<Answer, ProviderError> {
        let seconds = |at: i64| format!("{}.{:03}", at.div_euclid(1000), at.rem_euclid(1000));
        let (start, end) = (seconds(start), seconds(end));
        let words = [("query", query.to_owned()), ("start", start), ("end", end), ("step", every.to_string())];
        self.ask("query_range", &words).await
    }

    async fn ask(&self, endpoint: &str, words: &[(&str, String)]) -> Result<Answer, ProviderError> {
        let mut tries = 1;
        loop {
            let answer = tokio::select! {
                biased;
                () = self.cx.cancelled.cancelled() => return Err(stopped()),
                answer = self.once(endpoint, words) => answer,
            };
            let (error, again) = match answer {
                Ok(answer) => return Ok(answer),
                Err((error, _)) if error.kind != ErrorKind::Transient || tries == TRIES => return Err(error),
                Err(failed) => failed,
            };
            if again.is_some_and(|again| again > LONGEST_AGAIN) {
                return Err(error);
            }
            // Full jitter over what doubles.
            let random = RandomState::new().build_hasher().finish();
            let pause = again.unwrap_or_else(|| Duration::from_millis(random % (500 << tries)));
            tokio::select! {
                biased;
                () = self.cx.cancelled.cancelled() => return Err(stopped()),
                () = self.cx.clock.sleep(pause) => {}
            }
            tries += 1;
        }
    }

    /// Asks once. With an error comes how long the server wants to be left alone.
    async fn once(
        &self,
        endpoint: &str,
        words: &[(&str, String)],
    ) -> Result<Answer, (ProviderError, Option<Duration>)> {
        let mut url = self.login.address.clone();
        url.set_path(&format!("{}/api/v1/{endpoint}", url.path().trim_end_matches('/')));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(words).finish();
        let mut request = self.client.post(url).timeout(self.timeout);
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        request = match (&self.login.user, &self.login.secret) {
            (Some(user), Some(secret)) => request.basic_auth(user, Some(secret.expose_secret())),
            (None, Some(secret)) => request.bearer_auth(secret.expose_secret()),
            (_, None) => request,
        };
        let lost = |error: reqwest::Error| (self.failed(ErrorKind::Transient, &reason(error, self.timeout)), None);
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let again = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > BODY {
                let why = format!("its answer has more than {} MiB: let the query give fewer series", BODY >> 20);
                return Err((self.failed(ErrorKind::Failed, &why), None));
            }
        }
        let envelope = serde_json::from_slice::<Envelope>(&bytes).ok();
        let said = match &envelope {
            Some(envelope) if !envelope.error.is_empty() => {
                format!(": {}: {}", escape::line(&envelope.kind), escape::line(&envelope.error))
            }
            _ => String::new(),
        };
        let failed = |kind, why: String| Err((self.failed(kind, &why), again.map(Duration::from_secs)));
        match status {
            200..=299 => {}
            408 | 429 | 500..=599 => {
                return failed(ErrorKind::Transient, format!("it answers {status} just now{said}"));
            }
            401 | 403 => return failed(ErrorKind::Denied, format!("it answers {status}{said}")),
            300..=399 => {
                return failed(ErrorKind::Failed, format!("it answers {status} and leads elsewhere: name where"));
            }
            _ if said.is_empty() => {
                return failed(ErrorKind::Failed, format!("it answers {status}, and not as Prometheus does"));
            }
            _ => return failed(ErrorKind::Failed, format!("it takes no such query ({status}{said})")),
        }
        let Some(envelope) = envelope.filter(|envelope| envelope.status == "success") else {
            return failed(ErrorKind::Failed, format!("its answer is not one of Prometheus{said}"));
        };
        let Some(data) = envelope.data else {
            return failed(ErrorKind::Failed, "its answer holds nothing".to_owned());
        };
        let series = match read(data) {
            Ok(series) => series,
            Err(why) => return failed(ErrorKind::Failed, why),
        };
        Ok(Answer { series, warnings: envelope.warnings })
    }

    fn failed(&self, kind: ErrorKind, why: &str) -> ProviderError {
        let at = escape::line(self.login.address.as_str());
        ProviderError::new(kind, format!("source `{}` ({at}): {why}", self.login.name))
    }
}

/// The series of an answer of any kind.
fn read(data: Data) -> Result<Vec<Series>, String> {
    let not =
        |error: serde_json::Error| format!("its answer is not one of Prometheus: {}", escape::line(&error.to_string()));
    let one = |metric, point: Point| Series { metric, values: vec![point.milliseconds()] };
    match data.kind.as_str() {
        "scalar" => Ok(vec![one(BTreeMap::new(), serde_json::from_value(data.result).map_err(not)?)]),
        "vector" | "matrix" => {
            let items: Vec<Item> = serde_json::from_value(data.result).map_err(not)?;
            let series = items.into_iter().map(|item| {
                let points = item.values.into_iter().chain(item.value);
                Series { metric: item.metric, values: points.map(Point::milliseconds).collect() }
            });
            Ok(series.collect())
        }
        other => Err(format!("the query gives a {}, and no numbers", escape::line(other))),
    }
}

fn stopped() -> ProviderError {
    ProviderError::new(ErrorKind::Cancelled, "the check was stopped")
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
