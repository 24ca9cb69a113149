//! The `job` check: a Job of the repository runs in the environment's target as a smoke test. What lives here: its name, its
//! one life, and what its end says.
//!
//! Its name is made of the run and the check: whoever resumes a run finds the same Job again instead of starting a second one.
//! It is deleted before its verdict is given, so that a later question in the same run starts one anew.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams, LogParams, PostParams};
use promo_core::Digest;
use promo_core::kinds::{KindSchema, Place as At, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::escape;
use crate::kubernetes::cluster::{Clusters, MANAGER, Place};
use crate::kubernetes::error::told;
use crate::kubernetes::images;
use crate::kubernetes::object::{self, Object};
use crate::kubernetes::status;
use crate::kubernetes::watching::{self, Looked, Seen};
use crate::kubernetes::workloads::Question;
use crate::settings::{self, key};

/// What says which question a Job answers.
const ASKED: &str = "promo.dev/check";
/// A Job that nobody came back for goes away by itself.
const FORGOTTEN: u64 = 24 * 3600;
/// How long one of the same name may take to go away.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Pods that are told of.
const PODS: usize = 3;
/// Last lines of a pod's log, and bytes of it that are read.
const LINES: i64 = 20;
const BYTES: i64 = 16 << 10;

/// Runs Jobs.
#[derive(Debug, Default)]
pub struct Job {
    clusters: Clusters,
}

/// What the check `job` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    let manifest = promo_core::kinds::KeySchema {
        required: true,
        value: ValueKind::Text,
        ..settings::files("manifest", "The file with the Job, in YAML")
    };
    KindSchema {
        place: At::Check,
        kind: "job".to_owned(),
        about: "Passes when a Job in the target's namespace completes".to_owned(),
        keys: vec![
            manifest,
            key(
                "images",
                ValueKind::TextTable,
                "Which image of the manifest is which artifact: `\"shop/api\" = \"api\"`",
            ),
            key("timeout", ValueKind::Duration, "How long it may take; 10m"),
        ],
        target_keys: Vec::new(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    manifest: String,
    #[serde(default)]
    images: BTreeMap<String, String>,
    #[serde(default = "ten_minutes")]
    timeout: u64,
}

const fn ten_minutes() -> u64 {
    600
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

impl Settings {
    fn of(request: &CheckRequest) -> Result<Self, ProviderError> {
        let settings: Self = settings::read("job", &request.inputs)?;
        if settings.timeout == 0 {
            return Err(invalid("`timeout` must be at least one second".into()));
        }
        Ok(settings)
    }

    /// The Job of the file.
    fn read(&self, cx: &Context, request: &CheckRequest) -> Result<Object, ProviderError> {
        let path = &self.manifest;
        let digest = request.inputs.files.get(path);
        let digest = digest.ok_or_else(|| invalid(format!("`manifest` is {path}: there is no such file")))?;
        let bytes = cx.blobs.get(digest)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid(format!("{path} is no text in UTF-8")))?;
        let mut objects = object::read(path, text)?;
        let (Some(job), None) = (objects.pop(), objects.pop()) else {
            return Err(invalid(format!("{path} must declare one Job, and nothing else")));
        };
        if job.id.kind.group != "batch" || job.id.kind.kind != "Job" {
            return Err(invalid(format!("{path} must declare a Job, and this is {}", job.id)));
        }
        if job.value.pointer("/spec/manualSelector").and_then(Value::as_bool) == Some(true) {
            return Err(invalid(format!("{}: `manualSelector` would let it take pods that are not its own", job.id)));
        }
        Ok(job)
    }

    /// The Job as it is created.
    fn render(&self, cx: &Context, request: &CheckRequest) -> Result<Object, ProviderError> {
        let mut job = self.read(cx, request)?;
        let inputs = &request.inputs;
        let namespace = inputs.target.0.get("namespace").map(String::as_str);
        let own = job.value.pointer("/metadata/namespace").and_then(Value::as_str);
        if let Some(own) = own.filter(|own| Some(*own) != namespace) {
            let there = namespace.unwrap_or_default();
            return Err(invalid(format!("{} is declared in namespace {own}: the target is {there}", job.id)));
        }
        images::pin(&job.id, &mut job.value, &self.images, &[], &inputs.artifacts)?;
        images::fixed(&job)?;
        let asked = format!("{} {} {}", request.token, inputs.release, request.check);
        let name: String = request.check.chars().take(36).collect();
        let hex = Digest::of(asked.as_bytes()).to_string();
        let hex = hex.rsplit(':').next().unwrap_or_default();
        job.id.name = format!("promo-{}-{}", name.trim_end_matches('-'), &hex[..16]);
        let metadata = &mut job.value["metadata"];
        metadata["name"] = job.id.name.as_str().into();
        metadata["labels"]["app.kubernetes.io/managed-by"] = MANAGER.into();
        metadata["annotations"][ASKED] = asked.into();
        let spec = &mut job.value["spec"];
        if spec.get("ttlSecondsAfterFinished").is_none() {
            spec["ttlSecondsAfterFinished"] = FORGOTTEN.into();
        }
        Ok(job)
    }
}

#[async_trait]
impl Provider for Job {
    fn describe(&self) -> Description {
        Description {
            name: "job".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Observable,
            kinds: vec![schema()],
        }
    }

    async fn ready(&self, cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        Settings::of(request)?.read(cx, request).map(drop)
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        let settings = Settings::of(request)?;
        let run = Run { job: settings.render(cx, request)?, timeout: Duration::from_secs(settings.timeout) };
        self.clusters.asked(cx, &request.inputs, &run).await
    }
}

/// A Job, and how long it may take.
struct Run {
    job: Object,
    timeout: Duration,
}

#[async_trait]
impl Question for Run {
    async fn ask(&self, cx: &Context, place: &Place) -> Result<CheckResult, ProviderError> {
        run(cx, place, &self.job, self.timeout).await
    }
}

/// Runs a Job to its end, or finds it where it runs already, and takes it away.
async fn run(cx: &Context, place: &Place, job: &Object, timeout: Duration) -> Result<CheckResult, ProviderError> {
    let kind = place.kind(&job.id).await?;
    let params = ListParams::default().fields(&format!("metadata.name={}", job.id.name));
    let looked = Looked { place, kind: &kind, params };
    let uid = started(cx, place, job, &looked).await?;
    let ended = |seen: &Seen| match seen.get(&job.id.name).filter(|there| own_uid(there) == Some(&uid)) {
        None => Some(None),
        Some(there) => end(there).map(Some),
    };
    let end = match watching::until(cx, &looked, timeout, ended).await? {
        Ok(Some(end)) => end,
        Ok(None) => {
            let message = format!("{} was deleted while it ran", job.id);
            return Ok(CheckResult { passed: false, detail: message, evidence: BTreeMap::new() });
        }
        Err(_) => End { passed: false, why: format!("did not end within {} s", timeout.as_secs()) },
    };
    let mut evidence = BTreeMap::from([("job".to_owned(), job.id.name.clone())]);
    let pods = pods(place, &job.id.name, !end.passed, &mut evidence).await?;
    // Before the verdict: one that stayed would answer the next question as well.
    place.delete(&job.id, &uid).await?;
    let detail = match end.passed {
        true => format!("{} completed{pods}", job.id),
        false => format!("{} {}{pods}", job.id, end.why),
    };
    Ok(CheckResult { passed: end.passed, detail: escape::line(&detail), evidence })
}

/// The id of the Job that answers this question: the one that is there, or a new one.
async fn started(cx: &Context, place: &Place, job: &Object, looked: &Looked<'_>) -> Result<String, ProviderError> {
    let name = &job.id.name;
    // One of before may still be going away.
    let there = |seen: &Seen| match seen.get(name) {
        None => Some(None),
        Some(found) if found.pointer("/metadata/deletionTimestamp").is_none() => Some(Some(found.clone())),
        Some(_) => None,
    };
    let found = watching::until(cx, looked, GONE_WITHIN, there).await?;
    let found = found.map_err(|_| {
        let message = format!("{}, which was here before, does not go away", job.id);
        ProviderError::new(ErrorKind::Transient, message)
    })?;
    let found = match found {
        Some(found) => found,
        None => {
            let doing = format!("creating {}", job.id);
            let object: DynamicObject = serde_json::from_value(job.value.clone())
                .map_err(|error| invalid(format!("{}: {}", job.id, escape::line(&error.to_string()))))?;
            let params = PostParams { field_manager: Some(MANAGER.into()), dry_run: false };
            match place.api(looked.kind).create(&params, &object).await {
                Ok(made) => json!({ "metadata": made.metadata }),
                // The answer to an earlier try was lost.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    place.live(&job.id).await?.ok_or_else(|| told(&doing, &kube::Error::Api(status)))?
                }
                Err(error) => return Err(told(&doing, &error)),
            }
        }
    };
    let annotation = |value: &Value| value["metadata"]["annotations"][ASKED].as_str().map(String::from);
    if annotation(&found) != annotation(&job.value) {
        let message = format!("{} is there already, and promo has not made it", job.id);
        return Err(ProviderError::new(ErrorKind::Conflict, message));
    }
    own_uid(&found).map(String::from).ok_or_else(|| ProviderError::new(ErrorKind::Failed, "a Job without an id"))
}

fn own_uid(object: &Value) -> Option<&str> {
    object.pointer("/metadata/uid").and_then(Value::as_str)
}

/// How a Job ended.
struct End {
    passed: bool,
    why: String,
}

fn end(job: &Value) -> Option<End> {
    match status::of(job) {
        status::Status::Failed(why) => Some(End { passed: false, why: format!("failed: {}", escape::line(&why)) }),
        // One that is suspended is no more than there.
        status::Status::Current => {
            let suspended = job.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
            (!suspended).then(|| End { passed: true, why: String::new() })
        }
        status::Status::InProgress(_) => None,
    }
}

/// What the pods of a Job say: why they do not run, with what they ended, and where it failed their last lines.
async fn pods(
    place: &Place,
    job: &str,
    failed: bool,
    evidence: &mut BTreeMap<String, String>,
) -> Result<String, ProviderError> {
    let api = place.typed::<Pod>();
    let found = api.list(&ListParams::default().labels(&format!("job-name={job}"))).await;
    let found = found.map_err(|error| told(&format!("looking at the pods of Job/{job}"), &error))?;
    let mut said = String::new();
    evidence.insert("pods".to_owned(), found.items.len().to_string());
    // The last one is the one after which the Job gave up.
    let mut items: Vec<_> = found.items.iter().collect();
    items.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
    for pod in items.into_iter().rev().take(PODS) {
        let (Some(name), Ok(value)) = (pod.metadata.name.as_deref(), serde_json::to_value(pod)) else { continue };
        let codes = exits(&value);
        for (container, code) in &codes {
            evidence.insert(format!("exit {name} {container}"), code.to_string());
        }
        if !failed {
            continue;
        }
        let ended: Vec<String> =
            codes.iter().map(|(container, code)| format!("{container} exited with {code}")).collect();
        let why = match (status::waiting(&value), ended.is_empty()) {
            (_, false) => ended.join(", "),
            (Some(why), true) => why,
            (None, true) => continue,
        };
        said.push_str(&format!("; pod {name}: {}", escape::line(&why)));
        for (container, _) in &codes {
            let params = LogParams {
                container: Some(container.clone()),
                tail_lines: Some(LINES),
                limit_bytes: Some(BYTES),
                ..LogParams::default()
            };
            // It only explains: where it cannot be had, what failed is told all the same.
            let lines = match api.logs(name, &params).await {
                Ok(text) => escape::tail(&text, usize::try_from(LINES).unwrap_or_default()),
                Err(error) => vec![told("reading its log", &error).message],
            };
            if let Some(last) = lines.last() {
                said.push_str(&format!(": {last}"));
            }
            evidence.insert(format!("log {name} {container}"), lines.join("\n"));
        }
    }
    Ok(said)
}

/// Containers that have ended, and with what.
fn exits(pod: &Value) -> Vec<(String, i64)> {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let one = |container: &Value| {
        let ended = container.pointer("/state/terminated").or_else(|| container.pointer("/lastState/terminated"))?;
        Some((container.get("name")?.as_str()?.to_owned(), ended.get("exitCode")?.as_i64()?))
    };
    statuses.into_iter().flatten().filter_map(one).collect()
}
