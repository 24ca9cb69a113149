//! The `endpoints` check: a Service of the environment's target has pods that are ready to be sent requests.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use kube::api::ListParams;
use kube::core::GroupVersionKind;
use promo_core::counted::{counted, is};
use promo_core::kinds::{KindSchema, Place, ValueKind};
use promo_sdk::{CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Provider, ProviderError};
use serde::Deserialize;
use serde_json::Value;

use crate::escape;
use crate::kubernetes::cluster::{Clusters, Kind, Place as At};
use crate::kubernetes::object::Id;
use crate::kubernetes::watching::{self, Looked, Seen};
use crate::kubernetes::workloads::Question;
use crate::settings::{self, key, required};

/// The label of a slice that says behind which Service it is.
const SERVICE: &str = "kubernetes.io/service-name";

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
        let looked = looked(place, service).await?;
        let enough = |seen: &Seen| Some(addresses(seen)).filter(|(ready, _)| ready.len() >= *min);
        let found = watching::until(cx, &looked.of(place), Duration::from_secs(*timeout), enough).await?;
        let passed = found.is_ok();
        let (ready, others) = found.unwrap_or_else(|seen| addresses(&seen));
        let (ready, others) = (ready.len(), others.len());
        let evidence = [("ready", ready), ("not_ready", others), ("min", *min)];
        let evidence = evidence.map(|(key, count)| (key.to_owned(), count.to_string())).into();
        let detail = match passed {
            true => format!("Service/{service} has {}", counted(ready, "ready endpoint")),
            false => format!(
                "Service/{service} has {} and {others} that {} not, of at least {min}, after {timeout} s",
                counted(ready, "ready endpoint"),
                is(others)
            ),
        };
        Ok(CheckResult { passed, detail: escape::line(&detail), evidence })
    }
}

/// Where a server keeps what is behind a Service.
struct Behind {
    kind: Kind,
    params: ListParams,
}

impl Behind {
    fn of<'a>(&'a self, place: &'a At) -> Looked<'a> {
        Looked { place, kind: &self.kind, params: self.params.clone() }
    }
}

/// Slices, in whatever version the server has them; where it has none, the one object in which it kept all before there were any.
async fn looked(place: &At, service: &str) -> Result<Behind, ProviderError> {
    let id = |group: &str, kind: &str| Id { kind: GroupVersionKind::gvk(group, "v1", kind), name: service.to_owned() };
    match place.served(&id("discovery.k8s.io", "EndpointSlice")).await {
        Ok(kind) => Ok(Behind { kind, params: ListParams::default().labels(&format!("{SERVICE}={service}")) }),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Behind {
            kind: place.kind(&id("", "Endpoints")).await?,
            params: ListParams::default().fields(&format!("metadata.name={service}")),
        }),
        Err(error) => Err(error),
    }
}

/// What is behind a Service and ready, and what is not. One pod has an address of each family, and is one.
fn addresses(seen: &Seen) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut ready, mut others) = (BTreeSet::new(), BTreeSet::new());
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    for object in seen.values() {
        for endpoint in list(object, "endpoints") {
            // What is not said counts as ready: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ready
            let is_ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
            let pod = endpoint.pointer("/targetRef/uid").and_then(Value::as_str).map(String::from);
            let address = || list(&endpoint, "addresses").first().and_then(Value::as_str).map(String::from);
            if let Some(name) = pod.or_else(address) {
                if is_ready {
                    ready.insert(name)
                } else {
                    others.insert(name)
                };
            }
        }
        for subset in list(object, "subsets") {
            let ips =
                |key: &str| list(&subset, key).into_iter().filter_map(|one| Some(one.get("ip")?.as_str()?.to_owned()));
            ready.extend(ips("addresses").collect::<Vec<_>>());
            others.extend(ips("notReadyAddresses").collect::<Vec<_>>());
        }
    }
    // One is ready in some places, as on some of its ports, and not in others: it is not.
    (ready.difference(&others).cloned().collect(), others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_counts_once_whatever_says_so_and_only_where_all_say_that_it_is_ready() {
        let counts = |objects: &[Value]| {
            let seen = objects.iter().enumerate().map(|(at, object)| (at.to_string(), object.clone())).collect();
            let (ready, others) = addresses(&seen);
            (ready.len(), others.len())
        };
        let endpoint = |uid: &str, address: &str, ready: Value| json!({ "addresses": [address], "conditions": { "ready": ready }, "targetRef": { "uid": uid } });
        let four = json!({ "addressType": "IPv4", "endpoints": [
            endpoint("a", "10.0.0.1", true.into()), endpoint("b", "10.0.0.2", false.into()), endpoint("c", "10.0.0.3", Value::Null),
        ] });
        let six = json!({ "addressType": "IPv6", "endpoints": [endpoint("a", "fd00::1", true.into())] });
        assert_eq!(counts(&[four.clone(), six]), (2, 1));
        let other_port = json!({ "endpoints": [endpoint("a", "10.0.0.1", false.into())] });
        assert_eq!(counts(&[four, other_port]), (1, 2));
        assert_eq!(counts(&[json!({ "endpoints": [{ "addresses": ["192.0.2.1"] }] })]), (1, 0), "one without a pod");
        assert_eq!(counts(&[json!({ "endpoints": null })]), (0, 0));
        // As it was kept before there were slices.
        let old = json!({ "subsets": [
            { "addresses": [{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }], "notReadyAddresses": [{ "ip": "10.0.0.3" }] },
            { "addresses": [{ "ip": "10.0.0.1" }], "notReadyAddresses": [{ "ip": "10.0.0.2" }] },
        ] });
        assert_eq!(counts(&[old]), (1, 2));
    }
}
