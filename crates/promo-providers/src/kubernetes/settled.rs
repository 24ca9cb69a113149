//! Waiting until objects are what they are to become. What must not live here: how the server is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use promo_sdk::{Context, ErrorKind, ProviderError};
use serde_json::Value;

use super::cluster::{Kind, Place};
use super::object::Id;
use super::status::{self, Status};
use super::watching::{AGAIN, Listener, Looked, follow, unless_cancelled};

/// After this an object that says of itself that it failed is asked once more.
const DOUBT: Duration = Duration::from_secs(2);
/// Up to this many objects of a kind are watched one by one.
const FEW: usize = 8;
/// Pods that are told of when something does not run.
const TOLD: usize = 3;

/// Waits until every one of `ids` is current, for `timeout` at most.
///
/// # Errors
/// [`ErrorKind::Failed`] naming each object that failed or has not got there in time, and why its pods do not run;
/// [`ErrorKind::Cancelled`]; [`ErrorKind::Transient`] when the server stays away.
pub(crate) async fn wait(cx: &Context, place: &Place, ids: &[Id], timeout: Duration) -> Result<(), ProviderError> {
    unless_cancelled(cx, waited(cx, place, ids, timeout)).await
}

async fn waited(cx: &Context, place: &Place, ids: &[Id], timeout: Duration) -> Result<(), ProviderError> {
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
                late.push(format!("{id}: {}", causes(place, found.as_ref(), why).await));
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
    let params = match ids {
        [id] => ListParams::default().fields(&format!("metadata.name={}", id.name)),
        _ => ListParams::default(),
    };
    let looked = Looked { place, kind, params };
    let lazy = Lazy::of(place, kind).await;
    let mut failed = false;
    loop {
        let named = ids.iter().map(|id| (id.name.as_str(), id)).collect();
        let mut each = Each { ids: named, left: BTreeSet::new(), lazy: &lazy };
        match follow(&looked, &mut each).await {
            Ok(Ok(())) => return Ok(()),
            // What an object says of itself may still be about what was there before.
            Ok(Err(_)) if !failed => {
                failed = true;
                cx.clock.sleep(DOUBT).await;
            }
            Ok(Err(Failed { what, why, object })) => {
                let message = format!("{what}{}", causes(place, object.as_ref(), why).await);
                return Err(ProviderError::new(ErrorKind::Failed, message));
            }
            Err(error) if error.kind == ErrorKind::Transient => cx.clock.sleep(AGAIN).await,
            Err(error) if error.kind == ErrorKind::Failed && !failed => {
                failed = true;
                cx.clock.sleep(DOUBT).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Objects of one kind, each of which is waited for by itself.
struct Each<'a> {
    ids: BTreeMap<&'a str, &'a Id>,
    /// Those that are not there yet.
    left: BTreeSet<&'a str>,
    lazy: &'a Lazy,
}

/// The classes of storage whose volumes are made once a pod that mounts a claim has its node.
struct Lazy(BTreeSet<String>);

impl Lazy {
    /// Those of a cluster, where claims are waited for. Whoever may not see them waits for every claim, as for one that nobody binds.
    async fn of(place: &Place, kind: &Kind) -> Self {
        if kind.resource.kind != "PersistentVolumeClaim" || !kind.resource.group.is_empty() {
            return Self(BTreeSet::new());
        }
        let classes = place.everywhere::<StorageClass>().list(&ListParams::default()).await;
        let classes = classes.map(|found| found.items).unwrap_or_default().into_iter();
        let lazy = classes.filter(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
        Self(lazy.filter_map(|class| class.metadata.name).collect())
    }

    /// How an object stands, when a claim that nobody mounts yet is there: it is not declared to be bound, and whatever mounts it is
    /// waited for by itself.
    fn stands(&self, object: &Value) -> Status {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let class = text("/spec/storageClassName").is_some_and(|class| self.0.contains(class));
        let mounted = text("/metadata/annotations/volume.kubernetes.io~1selected-node").is_some();
        let going = object.pointer("/metadata/deletionTimestamp").is_some();
        match status::of(object) {
            Status::InProgress(_) if class && !mounted && !going && text("/status/phase") == Some("Pending") => {
                Status::Current
            }
            status => status,
        }
    }
}

/// One that will not get there.
struct Failed {
    /// What, as far as it is no reason.
    what: String,
    /// Why, as the object says.
    why: String,
    object: Option<Value>,
}

impl Each<'_> {
    /// Takes an object that is current out of those that are waited for.
    fn settle(&mut self, name: &str, object: Value) -> Option<Result<(), Failed>> {
        let id = self.ids.get(name).filter(|_| self.left.contains(name))?;
        match self.lazy.stands(&object) {
            Status::Current => {
                self.left.remove(name);
                self.left.is_empty().then_some(Ok(()))
            }
            Status::InProgress(_) => None,
            Status::Failed(why) => Some(Err(Failed { what: format!("{id} failed: "), why, object: Some(object) })),
        }
    }
}

impl Listener for Each<'_> {
    type Answer = Result<(), Failed>;

    fn wants(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    fn all(&mut self, objects: Vec<(String, Value)>) -> Option<Self::Answer> {
        self.left = self.ids.keys().copied().collect();
        let there: BTreeSet<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
        if let Some((_, gone)) = self.ids.iter().find(|(name, _)| !there.contains(**name)) {
            return Some(Err(Failed { what: format!("{gone} "), why: "is gone".into(), object: None }));
        }
        objects.into_iter().find_map(|(name, object)| self.settle(&name, object))
    }

    fn is(&mut self, name: String, object: Value) -> Option<Self::Answer> {
        self.settle(&name, object)
    }

    fn gone(&mut self, name: &str) -> Option<Self::Answer> {
        let id = self.ids.get(name).filter(|_| self.left.contains(name))?;
        Some(Err(Failed { what: format!("{id} "), why: "was deleted meanwhile".into(), object: None }))
    }
}

/// Why an object does not get there, the cause first, since what is told in one line is cut at its end: that pods of before are still
/// there follows from what those that come do not do. Where none can even be made, that is the cause.
async fn causes(place: &Place, object: Option<&Value>, why: String) -> String {
    in_order(why, object.is_some_and(status::makes_no_pods), pods(place, object).await)
}

/// The same of what is known of its pods, each with whether it goes.
fn in_order(why: String, no_pods: bool, mut pods: Vec<(bool, String)>) -> String {
    pods.sort_by_key(|(goes, _)| *goes);
    pods.truncate(TOLD);
    let come = if no_pods { 0 } else { pods.iter().filter(|(goes, _)| !goes).count() };
    let mut told: Vec<String> = pods.into_iter().map(|(_, text)| text).collect();
    told.insert(come, why);
    told.join("; ")
}

/// Why the pods behind an object do not run, as far as they can be found and say it: those of the version that comes, and those
/// that it replaces, which say so.
async fn pods(place: &Place, object: Option<&Value>) -> Vec<(bool, String)> {
    let labels = object.and_then(|object| object.pointer("/spec/selector/matchLabels")?.as_object());
    let Some(labels) = labels.filter(|labels| !labels.is_empty()) else { return Vec::new() };
    let selector: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let found = place.typed::<Pod>().list(&ListParams::default().labels(&selector.join(","))).await;
    // It only explains: where it cannot be had, what failed is told all the same.
    let Ok(found) = found else { return Vec::new() };
    let pods = found.items.iter().filter_map(|pod| {
        let value = serde_json::to_value(pod).ok()?;
        let goes = status::is_replaced(object?, &value);
        let waited = status::waited_for(object?, &value);
        let why = status::waiting(&value).into_iter().chain(waited.map(String::from));
        let why = why.collect::<Vec<_>>().join(": ");
        let name = pod.metadata.name.as_deref().filter(|_| !why.is_empty())?;
        let version = if goes && waited.is_none() { ", to be replaced" } else { "" };
        Some((goes, format!("pod {name}{version}: {}", crate::escape::line(&why))))
    });
    pods.collect()
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn the_cause_comes_before_what_follows_from_it() {
        let why = || "1 pod of before is still there".to_owned();
        let old = (true, "pod b, to be replaced: waits".to_owned());
        let new = (false, "pod a: CrashLoopBackOff".to_owned());
        let told = in_order(why(), false, vec![old.clone(), new.clone()]);
        assert_eq!(told, "pod a: CrashLoopBackOff; 1 pod of before is still there; pod b, to be replaced: waits");
        let told = in_order("FailedCreate: exceeded quota".into(), true, vec![new]);
        assert_eq!(told, "FailedCreate: exceeded quota; pod a: CrashLoopBackOff");
        assert_eq!(in_order(why(), false, vec![old]), "1 pod of before is still there; pod b, to be replaced: waits");
        assert_eq!(in_order(why(), false, Vec::new()), why());
    }
}
