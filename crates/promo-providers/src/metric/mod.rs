//! The `metric` check: a query of Prometheus gives numbers within bounds, now or for the whole of a period. What lives here:
//! settings, time, and the verdict in words. What must not: the server's language (`server`) and what numbers mean (`judge`).
//!
//! A period begins when the check is asked, which is after the deployment: what was measured before says nothing of it.
//! It goes by the server's own time, so that a clock of this machine that is wrong moves nothing.

mod judge;
mod server;
mod sources;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use promo_core::kinds::{KindSchema, Place, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use serde::Deserialize;

use crate::escape;
use crate::settings::{self, key, required};
use judge::{Bounds, Found};
use server::Server;

pub use sources::{Settings as Sources, SourceSettings};

/// Points of one series that are asked for at most; Prometheus gives 11,000.
const POINTS: u64 = 10_000;
/// How often the server's time is looked at after the period should be over.
const LATE: u32 = 10;

/// Asks Prometheus.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metric;

/// What the check `metric` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    KindSchema {
        place: Place::Check,
        kind: "metric".to_owned(),
        about: "Passes when every series of a query is within bounds, now or for the whole of a period".to_owned(),
        keys: vec![
            required("source", ValueKind::Source, "One of `[sources]`"),
            required("query", ValueKind::Text, "The query, in PromQL"),
            key("max", ValueKind::Decimal, "No value may be greater"),
            key("min", ValueKind::Decimal, "No value may be less"),
            key("for", ValueKind::Duration, "How long it must hold, counted from when it is asked; once"),
            key("every", ValueKind::Duration, "With `for`: time between two values; 30s"),
            key(
                "gap",
                ValueKind::Duration,
                "With `for`: longest stretch without a value that is no lack of data; none",
            ),
            key("no_data", ValueKind::Text, "`fail` or `pass`: what having no data means; fail"),
            key("timeout", ValueKind::Duration, "How long one answer may take; 30s"),
        ],
        target_keys: Vec::new(),
    }
}

/// Durations are in seconds, as [`ValueKind::Duration`] is lowered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    source: Source,
    query: String,
    #[serde(default)]
    max: Option<String>,
    #[serde(default)]
    min: Option<String>,
    #[serde(default, rename = "for")]
    period: u64,
    #[serde(default = "half_a_minute")]
    every: u64,
    #[serde(default)]
    gap: u64,
    #[serde(default)]
    no_data: NoData,
    #[serde(default = "half_a_minute")]
    timeout: u64,
}

/// A source, as [`ValueKind::Source`] is lowered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: String,
    prometheus: String,
}

/// What having no data means (S1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NoData {
    #[default]
    Fail,
    Pass,
}

const fn half_a_minute() -> u64 {
    30
}

impl Settings {
    fn of(request: &CheckRequest) -> Result<(Self, Bounds), ProviderError> {
        let settings: Self = settings::read("metric", &request.inputs)?;
        let bounds = Bounds::new(settings.min.as_deref(), settings.max.as_deref()).map_err(invalid)?;
        if settings.timeout == 0 || settings.every == 0 {
            return Err(invalid("`every` and `timeout` must be at least one second".to_owned()));
        }
        if settings.period > 0 && settings.every > settings.period {
            return Err(invalid("`every` is longer than `for`: nothing would be seen of the time between".to_owned()));
        }
        if settings.period / settings.every > POINTS {
            return Err(invalid(format!("`for` has more than {POINTS} times `every`: ask less often")));
        }
        if settings.gap > 0 && settings.gap >= settings.period {
            return Err(invalid("`gap` must be shorter than `for`: no data at all would be enough".to_owned()));
        }
        Ok((settings, bounds))
    }
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

#[async_trait]
impl Provider for Metric {
    fn describe(&self) -> Description {
        Description {
            name: "metric".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Observable,
            kinds: vec![schema()],
        }
    }

    /// The query is the same for every target of an environment.
    fn looks_at_targets(&self) -> bool {
        false
    }

    async fn ready(&self, cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        let (settings, _) = Settings::of(request)?;
        sources::Login::of(cx, &settings.source.name, &settings.source.prometheus).map(drop)
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        let (settings, bounds) = Settings::of(request)?;
        let login = sources::Login::of(cx, &settings.source.name, &settings.source.prometheus)?;
        let server = Server::new(cx, login, Duration::from_secs(settings.timeout))?;
        // Asked at once in any case: what is wrong with a query is not told only after the period.
        let now = server.instant(&settings.query).await?;
        let (found, warnings) = if settings.period == 0 {
            (judge::instant(&bounds, &now.series), now.warnings)
        } else {
            let start = server.time().await?;
            let end = start + i64::try_from(settings.period).unwrap_or(i64::MAX) * 1000;
            wait(cx, &server, end).await?;
            let over = server.range(&settings.query, start, end, settings.every).await?;
            let window = judge::Window { start, end, every: settings.every, gap: settings.gap };
            (judge::range(&bounds, &over.series, &window), over.warnings)
        };
        Ok(told(&settings, &bounds, found, &warnings))
    }
}

/// Waits until the server's time, in milliseconds, is `end`.
async fn wait(cx: &Context, server: &Server<'_>, end: i64) -> Result<(), ProviderError> {
    for _ in 0..LATE {
        let left = end - server.time().await?;
        let Ok(left @ 1..) = u64::try_from(left) else { return Ok(()) };
        tokio::select! {
            biased;
            () = cx.cancelled.cancelled() => {
                return Err(ProviderError::new(ErrorKind::Cancelled, "the check was stopped before its period was over"));
            }
            () = cx.clock.sleep(Duration::from_millis(left)) => {}
        }
    }
    Err(ProviderError::new(ErrorKind::Transient, "the time of the source does not go on as it does here"))
}

/// The verdict.
fn told(settings: &Settings, bounds: &Bounds, found: Found, warnings: &[String]) -> CheckResult {
    let name = &settings.source.name;
    let over = if settings.period == 0 { String::new() } else { format!(" for {} s", settings.period) };
    let mut evidence = BTreeMap::from([
        ("query".to_owned(), escape::line(&settings.query)),
        ("source".to_owned(), escape::line(&settings.source.prometheus)),
        ("series".to_owned(), found.series.to_string()),
        ("points".to_owned(), found.points.to_string()),
    ]);
    evidence.extend(settings.max.iter().map(|max| ("max".to_owned(), max.clone())));
    evidence.extend(settings.min.iter().map(|min| ("min".to_owned(), min.clone())));
    if settings.period > 0 {
        evidence.insert("seconds".to_owned(), settings.period.to_string());
    }
    let mut lacks = found.lacks;
    if let Some(worst) = &found.worst {
        evidence.insert("value".to_owned(), worst.value.clone());
        evidence.insert("labels".to_owned(), worst.labels.clone());
        if !worst.within {
            let bound = bounds.told();
            let many = match found.outside {
                0 | 1 => String::new(),
                n => format!(", and {} more of {} series", n - 1, found.series),
            };
            let at = worst.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            let detail = format!("{} is not {bound}{at} ({}{many})", worst.value, worst.labels);
            return CheckResult { passed: false, detail: escape::line(&detail), evidence };
        }
    }
    if let Some(first) = warnings.first() {
        let more = if warnings.len() > 1 { format!(", and {} more", warnings.len() - 1) } else { String::new() };
        let first = escape::line(first);
        evidence.insert("warnings".to_owned(), format!("{first}{more}"));
        // A part of what was asked for may be missing.
        lacks = lacks.or_else(|| Some(format!("{name} warns: {first}{more}")));
    }
    let (passed, detail) = match (lacks, &found.worst, settings.no_data) {
        (Some(lacks), _, NoData::Fail) => (false, format!("no data, which is no pass: {lacks}")),
        (Some(lacks), None, NoData::Pass) => (true, format!("no data, which passes here: {lacks}")),
        (Some(lacks), Some(worst), NoData::Pass) => {
            (true, format!("{} is {}{over}, as far as there is data: {lacks}", worst.value, bounds.told()))
        }
        (None, Some(worst), _) => (true, format!("{} is {}{over} ({})", worst.value, bounds.told(), worst.labels)),
        (None, None, _) => (false, "no data, which is no pass: the answer is empty".to_owned()),
    };
    CheckResult { passed, detail: escape::line(&detail), evidence }
}

#[cfg(test)]
mod tests;
