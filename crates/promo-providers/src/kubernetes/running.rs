//! What the pods behind objects run (S2.5). What must not live here: whether that is what should.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use promo_core::Digest;
use promo_sdk::{ProviderError, RunningImage};
use serde_json::Value;

use super::cluster::Place;
use super::error::told;
use super::images;
use super::object::Object;

/// The images that the pods of these objects run, as the machines that run them say. Pods on their way out are none of them.
///
/// # Errors
/// What the server answers.
pub(crate) async fn images(place: &Place, objects: &[Object]) -> Result<Vec<RunningImage>, ProviderError> {
    let mut found = Vec::new();
    for object in objects {
        let declared = images::containers(&object.value);
        if declared.is_empty() {
            continue;
        }
        let Some(live) = place.live(&object.id).await? else { continue };
        for pod in pods(place, object, &live).await? {
            if pod.pointer("/metadata/deletionTimestamp").is_none() {
                found.extend(of_pod(&object.id.to_string(), &pod, &declared));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The pods that an object has made, or is.
async fn pods(place: &Place, object: &Object, live: &Value) -> Result<Vec<Value>, ProviderError> {
    if object.id.kind.kind == "Pod" {
        return Ok(vec![live.clone()]);
    }
    let Some(selector) = live.pointer("/spec/selector").and_then(selector) else { return Ok(Vec::new()) };
    let pods = place.typed::<Pod>().list(&ListParams::default().labels(&selector)).await;
    let pods = pods.map_err(|error| told(&format!("listing the pods of {}", object.id), &error))?;
    Ok(pods.items.iter().filter_map(|pod| serde_json::to_value(pod).ok()).collect())
}

/// A label selector as a request has it; nothing for one that selects by no label.
fn selector(selector: &Value) -> Option<String> {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let mut parts: Vec<String> =
        labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    for one in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = one.get("key")?.as_str()?;
        let values = one.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(",");
        parts.push(match one.get("operator")?.as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

fn of_pod(object: &str, pod: &Value, declared: &BTreeMap<String, String>) -> Vec<RunningImage> {
    let all = ["initContainerStatuses", "containerStatuses"].into_iter();
    let all = all.filter_map(|list| pod.pointer(&format!("/status/{list}"))?.as_array()).flatten();
    let one = |status: &Value| {
        let text = |key: &str| status.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let container = text("name")?;
        let running = text("imageID").or_else(|| text("image")).unwrap_or("an image that is not told");
        Some(RunningImage {
            place: crate::escape::line(&format!("{object} container {container}")),
            declared: declared.get(container).map(|image| crate::escape::line(image)),
            running: crate::escape::line(running),
            digest: text("imageID").and_then(digest),
        })
    };
    all.filter_map(one).collect()
}

/// The digest in the name that a container runtime gives an image: `repository@DIGEST`, with or without a scheme before it, or
/// the digest alone.
fn digest(image: &str) -> Option<Digest> {
    let text = image.rsplit_once('@').map_or(image, |(_, digest)| digest);
    text.rsplit_once("://").map_or(text, |(_, digest)| digest).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_written_as_requests_have_them() {
        let all = json!({ "matchLabels": { "app": "web" }, "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["a", "b"] }, { "key": "old", "operator": "DoesNotExist" },
        ] });
        assert_eq!(selector(&all).unwrap(), "app=web,tier in (a,b),!old");
        assert_eq!(selector(&json!({})), None, "which would be every pod there is");
    }

    #[test]
    fn s2_5_what_a_pod_runs_is_what_its_machine_says_with_what_others_put_into_it() {
        let found = Digest::of(b"x");
        let pod = json!({ "status": {
            "containerStatuses": [
                { "name": "api", "image": "shop/api:1", "imageID": format!("docker-pullable://shop/api@{found}") },
                { "name": "mesh", "image": "mesh:1", "imageID": format!("containerd://{found}") },
                { "name": "late", "image": "late:1", "imageID": "" },
            ],
        } });
        let declared = BTreeMap::from([("api".to_owned(), format!("shop/api@{found}"))]);
        let images = of_pod("Deployment/web", &pod, &declared);
        let told: Vec<_> = images.iter().map(|i| (i.declared.is_some(), i.running.as_str(), i.digest)).collect();
        let pullable = format!("docker-pullable://shop/api@{found}");
        let alone = format!("containerd://{found}");
        let expected = [(true, pullable.as_str(), Some(found)), (false, &alone, Some(found)), (false, "late:1", None)];
        assert_eq!(told, expected);
        assert_eq!(images[0].place, "Deployment/web container api");
    }
}
