//! The `rollout` check: the workloads of the environment's target have come to what was deployed, by the rules of kstatus.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use promo_core::kinds::{KindSchema, Place, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use serde::Deserialize;

use crate::escape;
use crate::kubernetes::cluster::{Clusters, Place as At};
use crate::kubernetes::settled;
use crate::kubernetes::workloads::{self, Question, Selection};
use crate::settings::{self, key};

/// Waits for workloads.
#[derive(Debug, Default)]
pub struct Rollout {
    clusters: Clusters,
}

/// What the check `rollout` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    let mut keys = Vec::from(workloads::keys());
    keys.push(key("timeout", ValueKind::Duration, "How long they may take; 5m"));
    KindSchema {
        place: Place::Check,
        kind: "rollout".to_owned(),
        about: "Passes when the workloads of the target run as they were deployed".to_owned(),
        keys,
        target_keys: Vec::new(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(flatten)]
    selection: Selection,
    #[serde(default = "five_minutes")]
    timeout: u64,
}

/// What is waited for.
struct Wait {
    selection: Selection,
    timeout: Duration,
}

const fn five_minutes() -> u64 {
    300
}

impl Settings {
    fn of(request: &CheckRequest) -> Result<Wait, ProviderError> {
        let Self { selection, timeout } = settings::read("rollout", &request.inputs)?;
        selection.check()?;
        if timeout == 0 {
            return Err(ProviderError::new(ErrorKind::Invalid, "`timeout` must be at least one second"));
        }
        Ok(Wait { selection, timeout: Duration::from_secs(timeout) })
    }
}

#[async_trait]
impl Provider for Rollout {
    fn describe(&self) -> Description {
        Description {
            name: "rollout".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Observable,
            kinds: vec![schema()],
        }
    }

    async fn ready(&self, _cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        Settings::of(request).map(drop)
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        self.clusters.asked(cx, &request.inputs, &Settings::of(request)?).await
    }
}

#[async_trait]
impl Question for Wait {
    async fn ask(&self, cx: &Context, place: &At) -> Result<CheckResult, ProviderError> {
        let ids = self.selection.find(place).await?;
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let names = escape::line(&names.join(", "));
        let evidence = BTreeMap::from([("objects".to_owned(), names.clone())]);
        match settled::wait(cx, place, &ids, self.timeout).await {
            Ok(()) => {
                let detail = match ids.len() {
                    1 => format!("{names} runs"),
                    many => escape::line(&format!("{many} workloads run: {names}")),
                };
                Ok(CheckResult { passed: true, detail, evidence })
            }
            Err(error) if error.kind == ErrorKind::Failed => {
                Ok(CheckResult { passed: false, detail: escape::line(&error.message), evidence })
            }
            Err(error) => Err(error),
        }
    }
}
