//! Waiting for something that objects say together. The server tells when one changes (watch), so that nothing is asked again
//! and again. What must not live here: what is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::TryStreamExt as _;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use promo_sdk::{Context, ErrorKind, ProviderError};
use serde_json::Value;

use super::cluster::{Kind, Place};
use super::error::{refused, told};

/// How long one watch lasts before it is begun anew: the server ends it then, which is no error.
const WATCH_SECONDS: u32 = 290;
/// After this a server that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Objects by name.
pub(crate) type Seen = BTreeMap<String, Value>;

/// Which objects are looked at.
pub(crate) struct Looked<'a> {
    pub(crate) place: &'a Place,
    pub(crate) kind: &'a Kind,
    pub(crate) params: ListParams,
}

/// Waits until `judge` has an answer, for `timeout` at most; what there was in the end where it has none.
///
/// # Errors
/// [`ErrorKind::Cancelled`]; [`ErrorKind::Transient`] when the server stays away; what it refuses.
pub(crate) async fn until<T>(
    cx: &Context,
    looked: &Looked<'_>,
    timeout: Duration,
    mut judge: impl FnMut(&Seen) -> Option<T>,
) -> Result<Result<T, Seen>, ProviderError> {
    let mut seen = None;
    let mut away = None;
    let ended = {
        let work = async {
            loop {
                match follow(looked, &mut seen, &mut away, &mut judge).await {
                    Err(error) if error.kind == ErrorKind::Transient => {
                        away = Some(error);
                        cx.clock.sleep(AGAIN).await;
                    }
                    ended => return ended,
                }
            }
        };
        tokio::select! {
            biased;
            ended = work => Some(ended?),
            () = cx.cancelled.cancelled() => {
                return Err(ProviderError::new(ErrorKind::Cancelled, "the wait for the cluster was stopped"));
            }
            () = cx.clock.sleep(timeout) => None,
        }
    };
    match (ended, away, seen) {
        (Some(found), ..) => Ok(Ok(found)),
        (None, Some(error), _) => Err(error),
        (None, None, Some(seen)) => Ok(Err(seen)),
        (None, None, None) => Err(ProviderError::new(ErrorKind::Transient, "the cluster did not answer in time")),
    }
}

/// The same until the server breaks it off. `away` is why it could not be asked, as long as that is so.
async fn follow<T>(
    looked: &Looked<'_>,
    seen: &mut Option<Seen>,
    away: &mut Option<ProviderError>,
    judge: &mut impl FnMut(&Seen) -> Option<T>,
) -> Result<T, ProviderError> {
    let (api, kind) = (looked.place.api(looked.kind), looked.kind);
    let doing = format!("watching {}", kind.resource.plural);
    'anew: loop {
        let listed = api.list(&looked.params).await.map_err(|error| told(&doing, &error))?;
        let all = seen.insert(Seen::new());
        for object in &listed.items {
            take(all, kind, object);
        }
        *away = None;
        if let Some(found) = judge(all) {
            return Ok(found);
        }
        let mut version = listed.metadata.resource_version.unwrap_or_default();
        loop {
            let mut params = WatchParams::default().timeout(WATCH_SECONDS);
            params.field_selector.clone_from(&looked.params.field_selector);
            params.label_selector.clone_from(&looked.params.label_selector);
            let began = version.clone();
            let mut events = std::pin::pin!(api.watch(&params, &version).await.map_err(|error| told(&doing, &error))?);
            // A watch that breaks off is begun anew from what was seen last.
            while let Ok(Some(event)) = events.try_next().await {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        version = object.metadata.resource_version.clone().unwrap_or(version);
                        take(all, kind, &object);
                    }
                    WatchEvent::Deleted(object) => {
                        version = object.metadata.resource_version.clone().unwrap_or(version);
                        all.remove(object.metadata.name.as_deref().unwrap_or_default());
                    }
                    WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                    // The server has forgotten what came after that version.
                    WatchEvent::Error(status) if status.code == 410 => continue 'anew,
                    WatchEvent::Error(status) => return Err(refused(&doing, &status)),
                }
                if let Some(found) = judge(all) {
                    return Ok(found);
                }
            }
            if version == began {
                // It broke off before it said anything.
                return Err(ProviderError::new(ErrorKind::Transient, format!("{doing}: it broke off")));
            }
        }
    }
}

fn take(seen: &mut Seen, kind: &Kind, object: &DynamicObject) {
    let (Some(name), Ok(mut value)) = (object.metadata.name.clone(), serde_json::to_value(object)) else { return };
    // Items of a list do not say what they are.
    value["kind"] = Value::from(kind.resource.kind.clone());
    value["apiVersion"] = Value::from(kind.resource.api_version.clone());
    seen.insert(name, value);
}
