//! Following objects: the server tells when one changes (watch), so that nothing is asked again and again and the end is seen when it
//! comes. What must not live here: what is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::TryStreamExt as _;
use kube::api::{Api, DynamicObject, ListParams, ObjectList, WatchEvent, WatchParams};
use promo_sdk::{Context, ErrorKind, ProviderError};
use serde_json::Value;

use super::cluster::{Kind, Place};
use super::error::{refused, told};

/// How long one watch lasts before it is begun anew: the server ends it then, which is no error.
const WATCH_SECONDS: u32 = 290;
/// After this a server that did not answer is asked again.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
/// Objects that a server is asked for at once.
const PAGE: u32 = 500;

/// Objects by name.
pub(crate) type Seen = BTreeMap<String, Value>;

/// Which objects are looked at.
pub(crate) struct Looked<'a> {
    pub(crate) place: &'a Place,
    pub(crate) kind: &'a Kind,
    pub(crate) params: ListParams,
}

/// Who hears what becomes of objects, and ends it with an answer.
pub(super) trait Listener {
    /// What it is for.
    type Answer: Send;

    /// Whether it has an ear for the object of that name.
    fn wants(&self, _name: &str) -> bool {
        true
    }

    /// All that there are now, of one moment; what was heard before is over.
    fn all(&mut self, objects: Vec<(String, Value)>) -> Option<Self::Answer>;

    /// One is new, or another one than before.
    fn is(&mut self, name: String, object: Value) -> Option<Self::Answer>;

    /// One is there no more.
    fn gone(&mut self, name: &str) -> Option<Self::Answer>;
}

/// Waits until `judge` has an answer, for `timeout` at most; what there was in the end where it has none.
///
/// # Errors
/// [`ErrorKind::Cancelled`]; [`ErrorKind::Transient`] when the server stays away; what it refuses.
pub(crate) async fn until<T: Send>(
    cx: &Context,
    looked: &Looked<'_>,
    timeout: Duration,
    judge: impl FnMut(&Seen) -> Option<T> + Send,
) -> Result<Result<T, Seen>, ProviderError> {
    let mut together = Together { seen: None, away: None, judge };
    let work = async {
        loop {
            match follow(looked, &mut together).await {
                Err(error) if error.kind == ErrorKind::Transient => {
                    together.away = Some(error);
                    cx.clock.sleep(AGAIN).await;
                }
                ended => return ended,
            }
        }
    };
    let in_time = async {
        tokio::select! {
            biased;
            ended = work => ended.map(Some),
            () = cx.clock.sleep(timeout) => Ok(None),
        }
    };
    let ended = unless_cancelled(cx, in_time).await?;
    match (ended, together.away, together.seen) {
        (Some(found), ..) => Ok(Ok(found)),
        (None, Some(error), _) => Err(error),
        (None, None, Some(seen)) => Ok(Err(seen)),
        (None, None, None) => Err(ProviderError::new(ErrorKind::Transient, "the cluster did not answer in time")),
    }
}

/// Ends with the run, also in the middle of a request.
///
/// # Errors
/// [`ErrorKind::Cancelled`]; those of `work`.
pub(super) async fn unless_cancelled<T>(
    cx: &Context,
    work: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    tokio::select! {
        biased;
        ended = work => ended,
        () = cx.cancelled.cancelled() => {
            Err(ProviderError::new(ErrorKind::Cancelled, "the wait for the cluster was stopped"))
        }
    }
}

/// Everything that there is, judged together.
struct Together<F> {
    /// Nothing before the server has answered once.
    seen: Option<Seen>,
    /// Why it could not be asked, as long as that is so.
    away: Option<ProviderError>,
    judge: F,
}

impl<T: Send, F: FnMut(&Seen) -> Option<T>> Listener for Together<F> {
    type Answer = T;

    fn all(&mut self, objects: Vec<(String, Value)>) -> Option<T> {
        self.away = None;
        (self.judge)(self.seen.insert(objects.into_iter().collect()))
    }

    fn is(&mut self, name: String, object: Value) -> Option<T> {
        let seen = self.seen.get_or_insert_default();
        seen.insert(name, object);
        (self.judge)(seen)
    }

    fn gone(&mut self, name: &str) -> Option<T> {
        let seen = self.seen.get_or_insert_default();
        seen.remove(name);
        (self.judge)(seen)
    }
}

/// Tells a listener what there is and what becomes of it, until it has an answer or the server breaks it off.
///
/// # Errors
/// [`ErrorKind::Transient`] where the server breaks it off; what it refuses.
pub(super) async fn follow<L: Listener>(looked: &Looked<'_>, listener: &mut L) -> Result<L::Answer, ProviderError> {
    let (api, kind) = (looked.place.api(looked.kind), looked.kind);
    let doing = format!("watching {}", kind.resource.plural);
    'anew: loop {
        let (all, mut version) = whole(&api, looked, &doing, listener).await?;
        if let Some(found) = listener.all(all) {
            return Ok(found);
        }
        loop {
            let mut params = WatchParams::default().timeout(WATCH_SECONDS);
            params.field_selector.clone_from(&looked.params.field_selector);
            params.label_selector.clone_from(&looked.params.label_selector);
            let began = version.clone();
            let mut events = std::pin::pin!(api.watch(&params, &version).await.map_err(|error| told(&doing, &error))?);
            // A watch that breaks off is begun anew from what was seen last.
            while let Ok(Some(event)) = events.try_next().await {
                let heard = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        version = object.metadata.resource_version.clone().unwrap_or(version);
                        named(kind, &object, listener).and_then(|(name, object)| listener.is(name, object))
                    }
                    WatchEvent::Deleted(object) => {
                        version = object.metadata.resource_version.clone().unwrap_or(version);
                        object.metadata.name.as_deref().and_then(|name| listener.gone(name))
                    }
                    WatchEvent::Bookmark(bookmark) => {
                        version = bookmark.metadata.resource_version;
                        None
                    }
                    // The server has forgotten what came after that version.
                    WatchEvent::Error(status) if status.code == 410 => continue 'anew,
                    WatchEvent::Error(status) => return Err(refused(&doing, &status)),
                };
                if let Some(found) = heard {
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

/// All objects that a listener has an ear for, and the version from which on they are followed.
async fn whole<L: Listener>(
    api: &Api<DynamicObject>,
    looked: &Looked<'_>,
    doing: &str,
    listener: &L,
) -> Result<(Vec<(String, Value)>, String), ProviderError> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let ObjectList { metadata, items, .. } =
            page(api, &looked.params, from).await.map_err(|error| told(doing, &error))?;
        all.extend(items.iter().filter_map(|object| named(looked.kind, object, listener)));
        // A page tells where the next one begins, and all of them are of one moment.
        from = metadata.continue_.filter(|next| !next.is_empty());
        if from.is_none() {
            return Ok((all, metadata.resource_version.unwrap_or_default()));
        }
    }
}

async fn page(
    api: &Api<DynamicObject>,
    params: &ListParams,
    from: Option<String>,
) -> kube::Result<ObjectList<DynamicObject>> {
    let mut params = params.clone().limit(PAGE);
    params.continue_token = from;
    api.list(&params).await
}

/// An object that a listener has an ear for, under its name.
fn named<L: Listener>(kind: &Kind, object: &DynamicObject, listener: &L) -> Option<(String, Value)> {
    let name = object.metadata.name.clone().filter(|name| listener.wants(name))?;
    let mut value = serde_json::to_value(object).ok()?;
    // Items of a list do not say what they are.
    value["kind"] = Value::from(kind.resource.kind.clone());
    value["apiVersion"] = Value::from(kind.resource.api_version.clone());
    Some((name, value))
}
