//! The `endpoints` check: a Service of the environment's target has pods that are ready to be sent requests.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use kube::api::ListParams;
use kube::core::GroupVersionKind;
use promo_core::kinds::{KindSchema, Place, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use serde::Deserialize;
use serde_json::Value;

use crate::escape;
use crate::kubernetes::cluster::{Clusters, Place as At};
use crate::kubernetes::object::Id;
use crate::kubernetes::watching::{self, Looked, Seen};
use crate::kubernetes::workloads::Question;
use crate::settings::{self, key, required};

/// Waits for endpoints.
#[derive(Debug, Default)]
pub struct Endpoints {
    clusters: Clusters,
}

/// What the check `endpoints` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    KindSchema {
        place: Place::Check,
        kind: "endpoints".to_owned(),
        about: "Passes when a Service of the target has enough endpoints that are ready".to_owned(),
        keys: vec![
            required("service", ValueKind::Text, "The name of the Service"),
            key("min", ValueKind::Number, "How many addresses must be ready at least; 1"),
            key("timeout", ValueKind::Duration, "How long that may take; 1m"),
        ],
        target_keys: Vec::new(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    service: String,
    #[serde(default = "one")]
    min: usize,
    #[serde(default = "a_minute")]
    timeout: u64,
}

const fn one() -> usize {
    1
}

const fn a_minute() -> u64 {
    60
}

impl Settings {
    fn of(request: &CheckRequest) -> Result<Self, ProviderError> {
        let settings: Self = settings::read("endpoints", &request.inputs)?;
        let invalid = |why: &str| Err(ProviderError::new(ErrorKind::Invalid, why));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if settings.service.is_empty() || settings.service.len() > 63 || !settings.service.chars().all(fits) {
            return invalid("`service` is no name of a Service");
        }
        if settings.min == 0 || settings.timeout == 0 {
            return invalid("`min` and `timeout` must be at least 1: what asks for nothing always passes");
        }
        Ok(settings)
    }
}

#[async_trait]
impl Provider for Endpoints {
    fn describe(&self) -> Description {
        Description {
            name: "endpoints".to_owned(),
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
impl Question for Settings {
    async fn ask(&self, cx: &Context, place: &At) -> Result<CheckResult, ProviderError> {
        let Self { service, min, timeout } = self;
        let id = |kind: &str| Id { kind: GroupVersionKind::gvk("", "v1", kind), name: service.clone() };
        // Nobody makes endpoints for a Service that is not there, and nobody says so.
        if place.live(&id("Service")).await?.is_none() {
            let message = format!("namespace {} has no Service/{service}", place.namespace);
            return Err(ProviderError::new(ErrorKind::NotFound, message));
        }
        let kind = place.kind(&id("Endpoints")).await?;
        let params = ListParams::default().fields(&format!("metadata.name={service}"));
        let looked = Looked { place, kind: &kind, params };
        let enough = |seen: &Seen| Some(addresses(seen, service)).filter(|(ready, _)| ready.len() >= *min);
        let found = watching::until(cx, &looked, Duration::from_secs(*timeout), enough).await?;
        let passed = found.is_ok();
        let (ready, others) = found.unwrap_or_else(|seen| addresses(&seen, service));
        let (ready, others) = (ready.len(), others.len());
        let evidence = [("ready", ready), ("not_ready", others), ("min", *min)];
        let evidence = evidence.map(|(key, count)| (key.to_owned(), count.to_string())).into();
        let detail = match passed {
            true => format!("Service/{service} has {ready} ready endpoints"),
            false => format!(
                "Service/{service} has {ready} ready endpoints and {others} that are not, of at least {min}, after \
                 {timeout} s"
            ),
        };
        Ok(CheckResult { passed, detail: escape::line(&detail), evidence })
    }
}

/// Addresses behind a Service that are ready, and those that are not.
fn addresses(seen: &Seen, service: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let subsets = seen.get(service).and_then(|endpoints| endpoints.get("subsets")?.as_array());
    let of = |key: &str| -> BTreeSet<String> {
        let all = subsets.into_iter().flatten().filter_map(|subset| subset.get(key)?.as_array()).flatten();
        all.filter_map(|address| address.get("ip").and_then(Value::as_str)).map(String::from).collect()
    };
    let ready = of("addresses");
    // One is ready on some of its ports and not on others: it is not.
    let others = of("notReadyAddresses");
    (ready.difference(&others).cloned().collect(), others)
}
