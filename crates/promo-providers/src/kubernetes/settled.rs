//! Waiting until objects are what they are to become. The server says when something changes (watch), so that nothing is
//! asked again and again and the end is seen when it comes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, ObjectList, WatchEvent, WatchParams};
use promo_sdk::{Context, ErrorKind, ProviderError};
use serde_json::Value;

use super::cluster::{Kind, Place};
use super::error::{refused, told};
use super::object::Id;
use super::status::{self, Status};

/// How long one watch lasts before it is begun anew: the server ends it then, which is no error.
const WATCH_SECONDS: u32 = 290;
/// After this a server that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// After this an object that says of itself that it failed is asked once more.
const DOUBT: Duration = Duration::from_secs(2);
/// Up to this many objects of a kind are watched one by one.
const FEW: usize = 8;
/// Objects that a server is asked for at once.
const PAGE: u32 = 500;
/// Pods that are told of when something does not run.
const TOLD: usize = 3;

/// Waits until every one of `ids` is current, for `timeout` at most.
///
/// # Errors
/// [`ErrorKind::Failed`] naming each object that failed or has not got there in time, and why its pods do not run;
/// [`ErrorKind::Cancelled`]; [`ErrorKind::Transient`] when the server stays away.
pub(crate) async fn wait(cx: &Context, place: &Place, ids: &[Id], timeout: Duration) -> Result<(), ProviderError> {
    let mut by_kind: BTreeMap<String, (Kind, Vec<Id>)> = BTreeMap::new();
    for id in ids {
        let kind = place.served(id).await?;
        by_kind.entry(id.kind_in_words()).or_insert_with(|| (kind, Vec::new())).1.push(id.clone());
    }
    // Few of a kind are each watched alone: how many others there are in the namespace is no matter then.
    let groups = by_kind.values().flat_map(|(kind, ids)| {
        let size = if ids.len() > FEW { ids.len() } else { 1 };
        ids.chunks(size).map(move |ids| (kind, ids))
    });
    let groups: Vec<(&Kind, &[Id])> = groups.collect();
    let mut waits: FuturesUnordered<_> =
        groups.iter().map(|&(kind, ids)| async move { (ids, watched(cx, place, kind, ids).await) }).collect();
    let late = cx.clock.sleep(timeout);
    tokio::pin!(late);
    let mut waiting: Vec<&[Id]> = groups.iter().map(|(_, ids)| *ids).collect();
    loop {
        tokio::select! {
            biased;
            ended = waits.next() => match ended {
                None => return Ok(()),
                Some((ids, result)) => {
                    result?;
                    waiting.retain(|left| left.as_ptr() != ids.as_ptr());
                }
            },
            () = cx.cancelled.cancelled() => {
                return Err(ProviderError::new(ErrorKind::Cancelled, "the wait for the cluster was stopped"));
            }
            () = &mut late => break,
        }
    }
    drop(waits);
    let mut late = Vec::new();
    for id in waiting.into_iter().flatten() {
        let found = place.live(id).await?;
        match found.as_ref().map(status::of) {
            Some(Status::Current) => {}
            Some(Status::InProgress(why) | Status::Failed(why)) => {
                late.push(format!("{id}: {why}{}", pods(place, found.as_ref()).await));
            }
            None => late.push(format!("{id} is gone")),
        }
    }
    if late.is_empty() {
        return Ok(());
    }
    let message = format!("not settled within {} s: {}", timeout.as_secs(), late.join("; "));
    Err(ProviderError::new(ErrorKind::Failed, message))
}

/// Waits for objects of one kind, also for a server that is away for a while: until when is the caller's.
async fn watched(cx: &Context, place: &Place, kind: &Kind, ids: &[Id]) -> Result<(), ProviderError> {
    let mut failed = false;
    loop {
        match seen(place, kind, ids).await {
            Err(error) if error.kind == ErrorKind::Transient => cx.clock.sleep(AGAIN).await,
            // What an object says of itself may still be about what was there before.
            Err(error) if error.kind == ErrorKind::Failed && !failed => {
                failed = true;
                cx.clock.sleep(DOUBT).await;
            }
            ended => return ended,
        }
    }
}

/// The same until the server breaks it off.
async fn seen(place: &Place, kind: &Kind, ids: &[Id]) -> Result<(), ProviderError> {
    let api = place.api(kind);
    let doing = format!("watching {}", kind.resource.plural);
    let only = match ids {
        [id] => Some(format!("metadata.name={}", id.name)),
        _ => None,
    };
    'anew: loop {
        let mut listed = listed(&api, only.as_deref(), None).await.map_err(|error| told(&doing, &error))?;
        // A page tells where the next one begins, and all of them are of one moment.
        while let Some(next) = listed.metadata.continue_.take().filter(|next| !next.is_empty()) {
            let page = self::listed(&api, only.as_deref(), Some(next)).await.map_err(|error| told(&doing, &error))?;
            listed.metadata = page.metadata;
            listed.items.extend(page.items.into_iter().filter(|item| wanted(ids, item)));
        }
        let mut left: BTreeMap<&str, &Id> = ids.iter().map(|id| (id.name.as_str(), id)).collect();
        let there = |id: &&Id| listed.items.iter().any(|item| item.metadata.name.as_deref() == Some(&id.name));
        if let Some(gone) = ids.iter().find(|id| !there(id)) {
            return Err(ProviderError::new(ErrorKind::Failed, format!("{gone} is gone")));
        }
        for object in &listed.items {
            settle(place, &mut left, object, kind).await?;
        }
        let mut version = listed.metadata.resource_version.unwrap_or_default();
        while !left.is_empty() {
            let began = version.clone();
            let mut params = WatchParams::default().timeout(WATCH_SECONDS);
            params.field_selector.clone_from(&only);
            let mut events = std::pin::pin!(api.watch(&params, &version).await.map_err(|error| told(&doing, &error))?);
            loop {
                // A watch that breaks off is begun anew from what was seen last.
                let Ok(Some(event)) = events.try_next().await else { break };
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        version = object.metadata.resource_version.clone().unwrap_or(version);
                        settle(place, &mut left, &object, kind).await?;
                    }
                    WatchEvent::Deleted(object) => {
                        if let Some(id) = object.metadata.name.as_deref().and_then(|name| left.get(name)) {
                            return Err(ProviderError::new(ErrorKind::Failed, format!("{id} was deleted meanwhile")));
                        }
                    }
                    WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                    // The server has forgotten what came after that version.
                    WatchEvent::Error(status) if status.code == 410 => continue 'anew,
                    WatchEvent::Error(status) => return Err(refused(&doing, &status)),
                }
                if left.is_empty() {
                    break;
                }
            }
            if version == began && !left.is_empty() {
                // It broke off before it said anything.
                return Err(ProviderError::new(ErrorKind::Transient, format!("{doing}: it broke off")));
            }
        }
        return Ok(());
    }
}

/// One page of the objects of a kind, or the one of that name.
async fn listed(
    api: &Api<DynamicObject>,
    only: Option<&str>,
    from: Option<String>,
) -> kube::Result<ObjectList<DynamicObject>> {
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector = only.map(String::from);
    params.continue_token = from;
    api.list(&params).await
}

fn wanted(ids: &[Id], item: &DynamicObject) -> bool {
    item.metadata.name.as_ref().is_some_and(|name| ids.iter().any(|id| id.name == *name))
}

/// Takes an object that is current out of those that are waited for.
async fn settle(
    place: &Place,
    left: &mut BTreeMap<&str, &Id>,
    object: &DynamicObject,
    kind: &Kind,
) -> Result<(), ProviderError> {
    let Some(id) = object.metadata.name.as_deref().and_then(|name| left.get(name).copied()) else { return Ok(()) };
    let mut value = serde_json::to_value(object)
        .map_err(|error| ProviderError::new(ErrorKind::Failed, format!("reading {id}: {error}")))?;
    // Items of a list do not say what they are.
    value["kind"] = Value::from(kind.resource.kind.clone());
    value["apiVersion"] = Value::from(kind.resource.api_version.clone());
    match status::of(&value) {
        Status::Current => {
            left.remove(id.name.as_str());
        }
        Status::InProgress(_) => {}
        Status::Failed(why) => {
            let message = format!("{id} failed: {why}{}", pods(place, Some(&value)).await);
            return Err(ProviderError::new(ErrorKind::Failed, message));
        }
    }
    Ok(())
}

/// Why the pods behind an object do not run, as far as they can be found and say it.
async fn pods(place: &Place, object: Option<&Value>) -> String {
    let labels = object.and_then(|object| object.pointer("/spec/selector/matchLabels")?.as_object());
    let Some(labels) = labels.filter(|labels| !labels.is_empty()) else { return String::new() };
    let selector: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let found = place.typed::<Pod>().list(&ListParams::default().labels(&selector.join(","))).await;
    // It only explains: where it cannot be had, what failed is told all the same.
    let Ok(found) = found else { return String::new() };
    let told = found.items.iter().filter_map(|pod| {
        let value = serde_json::to_value(pod).ok()?;
        let why = status::waiting(&value).into_iter().chain(status::waited_for(object?, &value).map(String::from));
        let why = why.collect::<Vec<_>>().join(": ");
        let name = pod.metadata.name.as_deref().filter(|_| !why.is_empty())?;
        Some(format!("; pod {name}: {}", crate::escape::line(&why)))
    });
    told.take(TOLD).collect()
}
