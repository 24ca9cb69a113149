//! The `logs` check: not more than so many lines of the workloads' logs match a pattern. What must not live here: which
//! workloads those are.
//!
//! All of the logs of the period are read, or nothing is said: a log that is longer than is read, a container whose log
//! cannot be read, and one that was started again so often that not all of its logs are kept, are no data (S1.3).

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use promo_core::counted::{counted, of};
use promo_core::kinds::{KindSchema, Place as At, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

use crate::escape;
use crate::kubernetes::cluster::{Clusters, Place};
use crate::kubernetes::error::told;
use crate::kubernetes::object::Id;
use crate::kubernetes::workloads::{self, Question, Selection};
use crate::settings::{self, key, required};

/// Bytes that are read of the log of one container, and of all together.
const EACH: i64 = 8 << 20;
const ALL: usize = 64 << 20;
/// Pods that are looked at.
const PODS: usize = 200;
/// As far may the clocks of this machine and of the nodes be apart where it matters when a container was started.
const AGREE: SignedDuration = SignedDuration::from_secs(60);
/// Bytes that a pattern may take compiled.
const PATTERN: usize = 1 << 20;

/// Reads logs.
#[derive(Debug, Default)]
pub struct Logs {
    clusters: Clusters,
}

/// What the check `logs` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    let mut keys = Vec::from(workloads::keys());
    keys.extend([
        required("pattern", ValueKind::Text, "A regular expression; a line in which it is found counts"),
        key("max", ValueKind::Number, "How many lines may match; 0"),
        key("for", ValueKind::Duration, "How long is waited first: only what is written from when it is asked counts"),
        key("since", ValueKind::Duration, "Without `for`: how far back is looked; 10m"),
    ]);
    KindSchema {
        place: At::Check,
        kind: "logs".to_owned(),
        about: "Passes when few enough lines of the workloads' logs match a pattern".to_owned(),
        keys,
        target_keys: Vec::new(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(flatten)]
    selection: Selection,
    pattern: String,
    #[serde(default)]
    max: u64,
    #[serde(default, rename = "for")]
    period: Option<u64>,
    #[serde(default)]
    since: Option<u64>,
}

/// What is looked for, where, and in which time.
struct Search {
    selection: Selection,
    pattern: Regex,
    max: u64,
    /// Seconds to wait first.
    wait: u64,
    /// Seconds to look back without a wait.
    back: u64,
}

impl Settings {
    fn of(request: &CheckRequest) -> Result<Search, ProviderError> {
        let Self { selection, pattern, max, period, since } = settings::read("logs", &request.inputs)?;
        let invalid = |why: String| Err(ProviderError::new(ErrorKind::Invalid, why));
        selection.check()?;
        let pattern = match RegexBuilder::new(&pattern).size_limit(PATTERN).build() {
            Ok(pattern) => pattern,
            Err(error) => {
                // Its last line says what is wrong; the others draw where.
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim();
                return invalid(format!("`pattern` is no regular expression: {}", escape::line(why)));
            }
        };
        match (period, since) {
            (Some(_), Some(_)) => invalid("`for` looks from now on and `since` back: give one of them".into()),
            (Some(0), _) | (_, Some(0)) => invalid("`for` and `since` must be at least one second".into()),
            (period, since) => {
                Ok(Search { selection, pattern, max, wait: period.unwrap_or(0), back: since.unwrap_or(600) })
            }
        }
    }
}

#[async_trait]
impl Provider for Logs {
    fn describe(&self) -> Description {
        Description {
            name: "logs".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Observable,
            kinds: vec![schema()],
        }
    }

    async fn ready(&self, _cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        Settings::of(request).map(drop)
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        let search = Settings::of(request)?;
        let begun = cx.clock.now();
        if search.wait > 0 {
            tokio::select! {
                biased;
                () = cx.cancelled.cancelled() => {
                    return Err(ProviderError::new(ErrorKind::Cancelled, "the check was stopped before its period was over"));
                }
                () = cx.clock.sleep(Duration::from_secs(search.wait)) => {}
            }
        }
        // Counted back from when it is read, so that clocks of this machine and of the nodes need not agree.
        let since = match search.wait {
            0 => search.back,
            wait => u64::try_from(cx.clock.now().duration_since(begun).as_secs()).unwrap_or_default().max(wait),
        };
        self.clusters.asked(cx, &request.inputs, &Read { search, since }).await
    }
}

/// A search of what was written in the last so many seconds.
struct Read {
    search: Search,
    since: u64,
}

/// What was found.
#[derive(Default)]
struct Found {
    containers: usize,
    lines: u64,
    matches: u64,
    bytes: usize,
    first: Option<String>,
}

#[async_trait]
impl Question for Read {
    async fn ask(&self, cx: &Context, place: &Place) -> Result<CheckResult, ProviderError> {
        let ids = self.search.selection.find(place).await?;
        let back = SignedDuration::from_secs(i64::try_from(self.since).unwrap_or(i64::MAX)).saturating_add(AGREE);
        let from = cx.clock.now().saturating_sub(back).unwrap_or(Timestamp::MIN);
        let mut found = Found::default();
        let mut lacks = None;
        for id in &ids {
            let pods = pods(place, id).await?;
            if pods.is_empty() {
                lacks.get_or_insert_with(|| format!("{id} has no pods"));
            }
            for pod in pods.iter().take(PODS) {
                if let Some(why) = self.pod(place, pod, from, &mut found).await? {
                    lacks.get_or_insert(why);
                }
            }
            if pods.len() > PODS {
                lacks.get_or_insert_with(|| format!("{id} has more than {PODS} pods"));
            }
        }
        let (max, since) = (self.search.max, self.since);
        let mut evidence: BTreeMap<String, String> = [
            ("matches", found.matches.to_string()),
            ("max", max.to_string()),
            ("lines", found.lines.to_string()),
            ("containers", found.containers.to_string()),
            ("seconds", since.to_string()),
            ("pattern", escape::line(self.search.pattern.as_str())),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        evidence.extend(found.first.clone().map(|first| ("first".to_owned(), first)));
        let (matches, lines) = (found.matches, found.lines);
        // What was found is found, whatever else there is.
        let (passed, detail) = match (matches > max, lacks) {
            (true, _) => {
                let first = found.first.unwrap_or_default();
                (false, format!("{} of {since} s match, at most {max} may: {first}", of(matches, lines, "line")))
            }
            (false, Some(lacks)) => (false, format!("no data, which is no pass: {lacks}")),
            (false, None) => (true, format!("{} of {since} s match", of(matches, lines, "line"))),
        };
        Ok(CheckResult { passed, detail: escape::line(&detail), evidence })
    }
}

impl Read {
    /// Reads the logs of a pod; why not all of them could be read.
    async fn pod(
        &self,
        place: &Place,
        pod: &Value,
        from: Timestamp,
        found: &mut Found,
    ) -> Result<Option<String>, ProviderError> {
        let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let mut lacks = None;
        for container in containers.filter_map(|container| container.get("name")?.as_str()) {
            if !started(pod, container) {
                lacks.get_or_insert_with(|| format!("{container} in pod {name} has not started"));
                continue;
            }
            let earlier = Earlier::of(pod, container, from);
            if let Some(lost) = earlier.lost {
                lacks.get_or_insert_with(|| format!("{container} in pod {name} {lost}"));
            }
            for previous in [false, true] {
                if previous && !earlier.kept {
                    continue;
                }
                let params = LogParams {
                    container: Some(container.to_owned()),
                    since_seconds: i64::try_from(self.since).ok(),
                    limit_bytes: Some(EACH),
                    previous,
                    ..LogParams::default()
                };
                let doing = format!("reading the log of {container} in pod {name}");
                let text = match place.typed::<Pod>().logs(name, &params).await.map_err(|error| told(&doing, &error)) {
                    Ok(text) => text,
                    Err(error) if previous && matches!(error.kind, ErrorKind::Invalid | ErrorKind::NotFound) => {
                        lacks.get_or_insert_with(|| {
                            format!("what {container} in pod {name} wrote before it was started again is not kept")
                        });
                        continue;
                    }
                    Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Transient) => return Err(error),
                    Err(error) => {
                        lacks.get_or_insert(error.message);
                        continue;
                    }
                };
                found.containers += usize::from(!previous);
                found.bytes += text.len();
                for line in text.lines() {
                    found.lines += 1;
                    if self.search.pattern.is_match(line) {
                        found.matches += 1;
                        found.first.get_or_insert_with(|| escape::line(&format!("{name}: {line}")));
                    }
                }
                if i64::try_from(text.len()).unwrap_or(i64::MAX) >= EACH || found.bytes > ALL {
                    lacks.get_or_insert_with(|| format!("the log of {container} in pod {name} is longer than is read"));
                    if found.bytes > ALL {
                        return Ok(lacks);
                    }
                }
            }
        }
        Ok(lacks)
    }
}

fn status<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    statuses.into_iter().flatten().find(|status| status["name"] == container)
}

fn restarts(pod: &Value, container: &str) -> i64 {
    status(pod, container).and_then(|status| status.get("restartCount")?.as_i64()).unwrap_or(0)
}

/// What ran in a container before what runs there now, within the period.
#[derive(Debug, PartialEq, Eq)]
struct Earlier {
    /// Whether the log of the last one is to be read as well.
    kept: bool,
    /// Why there is more than that, of which no log is kept.
    lost: Option<String>,
}

impl Earlier {
    /// Since `from`. A machine keeps one log beside that of what runs; while nothing does, it gives that one for both.
    fn of(pod: &Value, container: &str, from: Timestamp) -> Self {
        let restarts = restarts(pod, container);
        let Some(status) = status(pod, container).filter(|_| restarts > 0) else {
            return Self { kept: false, lost: None };
        };
        let last = &status["lastState"]["terminated"];
        // One of which it is not told when it was may have been within the period.
        let within = |key: &str| {
            let at = last[key].as_str().and_then(|at| at.parse::<Timestamp>().ok());
            at.is_none_or(|at| at >= from)
        };
        let runs = status["state"].get("waiting").is_none();
        let more = if runs { restarts > 1 } else { true };
        let lost = more && within("startedAt");
        Self {
            kept: runs && within("finishedAt"),
            lost: lost
                .then(|| format!("was started again {}, and only the last log is kept", counted(restarts, "time"))),
        }
    }
}

/// Whether a container runs or has run: one that never did has written nothing, which says nothing.
fn started(pod: &Value, container: &str) -> bool {
    let ran = |status: &Value| ["running", "terminated"].iter().any(|state| status["state"].get(state).is_some());
    status(pod, container).is_some_and(ran) || restarts(pod, container) > 0
}

/// The pods behind a workload.
async fn pods(place: &Place, id: &Id) -> Result<Vec<Value>, ProviderError> {
    let gone = || ProviderError::new(ErrorKind::NotFound, format!("namespace {} has no {id}", place.namespace));
    let live = place.live(id).await?.ok_or_else(gone)?;
    if id.kind.kind == "Pod" && id.kind.group.is_empty() {
        return Ok(vec![live]);
    }
    let labels = live.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let selector: Vec<String> =
        labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    if selector.is_empty() {
        let message = format!("{id} does not say which pods are its own");
        return Err(ProviderError::new(ErrorKind::Invalid, message));
    }
    let found = place.typed::<Pod>().list(&ListParams::default().labels(&selector.join(","))).await;
    let found = found.map_err(|error| told(&format!("looking at the pods of {id}"), &error))?;
    // One that goes away takes its log with it, and its successor is there already.
    let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    Ok(found.items.iter().filter(stays).filter_map(|pod| serde_json::to_value(pod).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn s1_3_what_a_container_wrote_before_it_was_started_again_is_read_or_told_to_be_missing() {
        let (from, long_ago) = ("2026-11-22T10:00:00Z", "2026-11-22T09:00:00Z");
        let within = "2026-11-22T10:30:00Z";
        let of = |restarts: u8, state: Value, started: &str, finished: &str| {
            let last = json!({ "terminated": { "startedAt": started, "finishedAt": finished } });
            let status = json!({ "name": "web", "restartCount": restarts, "state": state, "lastState": last });
            let pod = json!({ "status": { "containerStatuses": [status] } });
            let Earlier { kept, lost } = Earlier::of(&pod, "web", from.parse().unwrap());
            (kept, lost.is_some())
        };
        let (runs, waits) = (json!({ "running": {} }), json!({ "waiting": { "reason": "CrashLoopBackOff" } }));
        assert_eq!(of(0, runs.clone(), "", ""), (false, false));
        assert_eq!(of(1, runs.clone(), long_ago, long_ago), (false, false), "of before the period");
        assert_eq!(of(1, runs.clone(), within, within), (true, false));
        assert_eq!(of(7, runs.clone(), long_ago, within), (true, false), "and all others were before it");
        assert_eq!(of(2, runs.clone(), within, within), (true, true));
        assert_eq!(of(2, runs, "", ""), (true, true), "when is not told");
        // What is given while nothing runs is the log of the last one.
        assert_eq!(of(1, waits.clone(), within, within), (false, true));
        assert_eq!(of(9, waits, long_ago, within), (false, false));
    }
}
