//! What the pods behind objects run (S2.5). What must not live here: whether that is what should.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::ListParams;
use kube::core::GroupVersionKind;
use kube::core::discovery::ApiResource;
use promo_core::Digest;
use promo_sdk::{Context, ProviderError, RunningImage, Settled};
use serde_json::Value;

use super::cluster::{Kind, Place};
use super::images;
use super::object::{Id, Object};
use super::settled;
use super::watching::{self, Looked, Seen};

/// How long pods are looked at where nothing is left of the time of the step: to ask takes a moment, however late it is.
const LEAST: Duration = Duration::from_secs(10);

/// Kinds whose pods come to an end: what those ran is what the object ran.
const ENDING: [&str; 2] = ["Pod", "Job"];

/// Waits until these objects are what they are to become, for `within` at most, and tells what their pods run then.
///
/// # Errors
/// As [`settled::wait`].
pub(crate) async fn settled(
    cx: &Context,
    place: &Place,
    objects: &[Object],
    within: Duration,
) -> Result<Settled, ProviderError> {
    let begun = cx.clock.now();
    let ids: Vec<Id> = objects.iter().map(|object| object.id.clone()).collect();
    settled::wait(cx, place, &ids, within).await?;
    let passed = Duration::try_from(cx.clock.now().duration_since(begun)).unwrap_or_default();
    Ok(Settled { images: images(cx, place, objects, within.saturating_sub(passed)).await? })
}

/// The images that the pods of these objects run, as the machines that run them say. Pods on their way out are none of them, nor
/// are those that came to their end, unless that is what they are for: one that was evicted may be of any release before. A pod of
/// which a declared container has not started yet is waited for, for `within` at most, or for a moment where nothing is left of
/// that; one that has not then is told without a digest.
///
/// # Errors
/// What the server answers; [`promo_sdk::ErrorKind::Cancelled`].
async fn images(
    cx: &Context,
    place: &Place,
    objects: &[Object],
    within: Duration,
) -> Result<Vec<RunningImage>, ProviderError> {
    let (mut found, begun) = (Vec::new(), cx.clock.now());
    for object in objects {
        let declared = images::containers(&object.value);
        if declared.is_empty() {
            continue;
        }
        let Some(live) = place.live(&object.id).await? else { continue };
        let ends = ENDING.contains(&object.id.kind.kind.as_str());
        let passed = Duration::try_from(cx.clock.now().duration_since(begun)).unwrap_or_default();
        for pod in pods(cx, place, (object, &live, &declared), within.saturating_sub(passed)).await? {
            if counts(&pod, ends) {
                found.extend(of_pod(&object.id.to_string(), &pod, &declared));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The pods that an object has made, or is, once all that count have started, or `within` is over.
async fn pods(
    cx: &Context,
    place: &Place,
    (object, live, declared): (&Object, &Value, &BTreeMap<String, String>),
    within: Duration,
) -> Result<Vec<Value>, ProviderError> {
    let ends = ENDING.contains(&object.id.kind.kind.as_str());
    let params = if object.id.kind.kind == "Pod" {
        ListParams::default().fields(&format!("metadata.name={}", object.id.name))
    } else {
        let Some(selector) = live.pointer("/spec/selector").and_then(selector) else { return Ok(Vec::new()) };
        ListParams::default().labels(&selector)
    };
    let kind = kind();
    let looked = Looked { place, kind: &kind, params };
    let started = |seen: &Seen| {
        let all = seen.values().filter(|pod| counts(pod, ends)).all(|pod| started(pod, declared));
        all.then(|| seen.clone())
    };
    let seen = watching::until(cx, &looked, within.max(LEAST), started).await?.unwrap_or_else(|late| late);
    Ok(seen.into_values().collect())
}

/// What a server calls pods.
pub(crate) fn kind() -> Kind {
    Kind { resource: ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod")), namespaced: true }
}

/// Whether a pod came to its end.
pub(crate) fn ended(pod: &Value) -> bool {
    matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
}

/// Whether what a pod runs is what its object runs.
fn counts(pod: &Value, ends: bool) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_none() && (ends || !ended(pod))
}

/// Whether the machine has said of the declared containers what they run: a selector also finds pods of others. One that came
/// to its end says nothing more.
fn started(pod: &Value, declared: &BTreeMap<String, String>) -> bool {
    let mut ours = containers(pod).filter(|(_, name)| declared.contains_key(*name));
    ended(pod) || ours.all(|(list, name)| status(pod, list, name).and_then(image_id).is_some())
}

/// The containers of a pod, each with where its status stands.
fn containers(pod: &Value) -> impl Iterator<Item = (&'static str, &str)> {
    let lists = [("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")];
    lists.into_iter().flat_map(|(declared, statuses)| {
        let all = pod.pointer(&format!("/spec/{declared}")).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(move |container| Some((statuses, container.get("name")?.as_str()?)))
    })
}

fn status<'a>(pod: &'a Value, list: &str, container: &str) -> Option<&'a Value> {
    let statuses = pod.pointer(&format!("/status/{list}"))?.as_array()?;
    statuses.iter().find(|status| status.get("name").and_then(Value::as_str) == Some(container))
}

fn image_id(status: &Value) -> Option<&str> {
    status.get("imageID").and_then(Value::as_str).filter(|id| !id.is_empty())
}

/// A label selector as a request has it; nothing for one that selects by no label.
pub(crate) fn selector(selector: &Value) -> Option<String> {
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
    let one = |(list, container): (&str, &str)| {
        let id = status(pod, list, container).and_then(image_id);
        // One of a pod that came to its end before it began has run nothing.
        if id.is_none() && ended(pod) {
            return None;
        }
        let image = || status(pod, list, container)?.get("image")?.as_str().filter(|image| !image.is_empty());
        Some(RunningImage {
            place: crate::escape::line(&format!("{object} container {container}")),
            declared: declared.get(container).map(|image| crate::escape::line(image)),
            running: crate::escape::line(id.or_else(image).unwrap_or("an image that is not told")),
            digest: id.and_then(digest),
        })
    };
    containers(pod).filter_map(one).collect()
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
        let named = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
        let mut pod = json!({ "spec": { "containers": named(&["api", "mesh", "late"]) }, "status": {
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
        assert!(started(&pod, &declared), "what has not is somebody else's");
        let late = BTreeMap::from([("late".to_owned(), "late:1".to_owned())]);
        assert!(!started(&pod, &late));
        pod["status"]["phase"] = "Failed".into();
        assert_eq!(of_pod("Deployment/web", &pod, &declared).len(), 2, "what never began has run nothing");
        assert_eq!([counts(&pod, true), counts(&pod, false)], [true, false], "a Job's is what it is for");
        // Of which nothing is said yet.
        assert!(!started(&json!({ "spec": { "containers": named(&["api"]) } }), &declared));
        assert_eq!(images[0].place, "Deployment/web container api");
    }
}
