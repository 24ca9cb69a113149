//! The `kubectl` deployment: manifests, applied server-side under promo's own field manager. What must not live here: what a
//! cluster is and when its objects have settled; `crate::kubernetes` has that.
//!
//! What was applied is kept beside it, in a Secret of the namespace (`inventory`): the very manifests, so that what is no
//! longer declared can be taken away and nothing else ever is, and so that a later look needs no rendering. The state of a
//! place is a digest over those manifests' fields as the live objects have them (`kubernetes::projection`), keyed with the
//! id of the namespace: a plan in which it stands lets nobody guess at the Secrets among them.
//!
//! Effects are *fenced* (S9.3): the inventory is written before anything else and after everything else, each time over the
//! very version that was read, so that of two writers one is refused.

mod inventory;
mod render;
mod shown;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use promo_core::kinds::{KindSchema, Place as At, ValueKind};
use promo_sdk::{
    Context, Description, EffectClass, EnsureAnswer, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Preview,
    Provider, ProviderError, State,
};
use serde_json::Value;

use self::inventory::{Entry, Inventory, Kept, Phase};
use crate::kubernetes::cluster::{Clusters, Place};
use crate::kubernetes::object::{Id, Object};
use crate::kubernetes::projection;
use crate::kubernetes::settled;
use crate::settings::{files, key};

/// How many requests to a cluster are under way at once.
const AT_ONCE: usize = 16;
/// How long objects may take to settle, where nothing else is said.
const TIMEOUT: u64 = 300;

/// Deploys manifests into a namespace.
#[derive(Debug, Default)]
pub struct Kubectl {
    clusters: Clusters,
}

/// What `deploy.kubectl` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    KindSchema {
        place: At::Deploy,
        kind: "kubectl".to_owned(),
        about: "Applies manifests to a namespace of a cluster, waits until they run, and takes away what is no longer declared"
            .to_owned(),
        keys: vec![
            files("manifests", "Paths and globs of manifests in YAML"),
            key("images", ValueKind::TextTable, "Which image of the manifests is which artifact: `\"shop/api\" = \"api\"`"),
            key("name", ValueKind::Text, "What is applied under one name belongs together; `promo` when left out"),
            key("timeout", ValueKind::Duration, "How long objects may take until they run; `5m` when left out"),
        ],
        target_keys: vec!["cluster".to_owned(), "namespace".to_owned()],
    }
}

#[async_trait]
impl Provider for Kubectl {
    fn describe(&self) -> Description {
        Description {
            name: "kubectl".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Fenced,
            kinds: vec![schema()],
        }
    }

    async fn lint(&self, cx: &Context, inputs: &Inputs) -> Result<(), ProviderError> {
        render::render(cx, inputs).map(drop)
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let kept = inventory::read(&place, &render::name(&request.inputs)?).await?;
        Ok(seen(&place, kept.as_ref()).await?.state)
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        let objects = render::render(cx, &request.inputs)?;
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let kept = inventory::read(&place, &render::name(&request.inputs)?).await?;
        let there = seen(&place, kept.as_ref()).await?;
        let before = kept.map(|kept| kept.inventory.all()).unwrap_or_default();
        let wanted = tried(&place, &objects, &before).await?;
        let desired = inventory::state(&place, &wanted);
        let changes = if there.state == desired { Vec::new() } else { shown::changes(&there.objects, &wanted)? };
        Ok(Preview { current: there.state, desired, changes })
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        let objects = render::render(cx, &request.inputs)?;
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let kept = inventory::read(&place, &render::name(&request.inputs)?).await?;
        let there = seen(&place, kept.as_ref()).await?;
        if there.state == request.desired {
            return Ok(EnsureAnswer { changed: false, detail: "nothing to change".into() });
        }
        if there.state != request.expected {
            let message = format!("{} holds something else than the plan found", request.inputs.target.address());
            return Err(ProviderError::new(ErrorKind::Conflict, message).differs(request.expected, there.state));
        }
        let before = kept.as_ref().map(|kept| kept.inventory.all()).unwrap_or_default();
        let wanted = tried(&place, &objects, &before).await?;
        let found = inventory::state(&place, &wanted);
        if found != request.desired {
            let message = "the cluster would make something else of these manifests now than when the plan was made";
            return Err(ProviderError::new(ErrorKind::Conflict, message).differs(request.desired, found));
        }
        let mut inventory = Inventory {
            release: request.inputs.release.to_string(),
            token: request.token.clone(),
            epoch: request.epoch,
            phase: Phase::Applying { from: there.state, to: request.desired, before: before.clone() },
            entries: wanted.iter().map(|(object, value)| Entry::new(&place, object, value)).collect(),
        };
        let written = inventory::write(&place, &render::name(&request.inputs)?, kept.as_ref(), &inventory).await?;
        let applied = apply(cx, &place, &objects, &before).await?;
        let pruned = prune(&place, &before, &objects).await?;
        inventory.phase = Phase::Applied;
        inventory::write(&place, &render::name(&request.inputs)?, Some(&written), &inventory).await?;
        let detail = match pruned {
            0 => format!("{applied} objects applied"),
            pruned => format!("{applied} objects applied, {pruned} taken away"),
        };
        Ok(EnsureAnswer { changed: true, detail })
    }

    async fn settle(&self, cx: &Context, request: &ObserveRequest) -> Result<(), ProviderError> {
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let Some(kept) = inventory::read(&place, &render::name(&request.inputs)?).await? else { return Ok(()) };
        let ids: Vec<Id> = kept.inventory.entries.iter().map(|entry| entry.object.id.clone()).collect();
        settled::wait(cx, &place, &ids, timeout(&request.inputs)?).await
    }
}

fn timeout(inputs: &Inputs) -> Result<Duration, ProviderError> {
    Ok(Duration::from_secs(render::settings(inputs)?.timeout.unwrap_or(TIMEOUT)))
}

/// What a place holds.
struct There {
    state: State,
    /// What was applied there, as it is now; nothing for what is gone.
    objects: Vec<(Object, Option<Value>)>,
}

/// Looks at everything that the inventory names.
async fn seen(place: &Place, kept: Option<&Kept>) -> Result<There, ProviderError> {
    let Some(kept) = kept else { return Ok(There { state: State::Absent, objects: Vec::new() }) };
    let inventory = &kept.inventory;
    let entries = inventory.all();
    // Collected first: a stream over borrowed entries would keep whoever asks from being spawned.
    let looks: Vec<_> = entries.iter().map(|entry| place.live(&entry.object.id)).collect();
    let live: Vec<Option<Value>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let found: Vec<(&Entry, Option<Value>)> = entries.iter().zip(live).collect();
    let state = match &inventory.phase {
        Phase::Applied => inventory::state_of(place, found.iter().map(|(entry, live)| (&entry.object, live.as_ref()))),
        Phase::Applying { from, to, before } => {
            let known = |(entry, live): &(&Entry, Option<Value>)| {
                inventory.knows(place, before, &entry.object.id, live.as_ref())
            };
            match found.iter().all(known) {
                true => State::between(from, to),
                false => State::Unknown,
            }
        }
    };
    let objects = found
        .into_iter()
        .map(|(entry, live)| {
            let shown = live.map(|live| projection::object(&entry.object.value, &live));
            (entry.object.clone(), shown)
        })
        .collect();
    Ok(There { state, objects })
}

/// What the server would make of objects, without making it; a kind that it does not know yet is taken as declared, as its
/// definition may be among them.
async fn tried(place: &Place, objects: &[Object], before: &[Entry]) -> Result<Vec<(Object, Value)>, ProviderError> {
    let defines = |id: &Id| objects.iter().any(|object| render::defines(object, id));
    let one = async |object: &Object| {
        let wanted = match place.apply(object, ours(before, object), true).await {
            Ok(would_be) => would_be,
            Err(error) if error.kind == ErrorKind::NotFound && defines(&object.id) => object.value.clone(),
            Err(error) => return Err(error),
        };
        Ok((object.clone(), projection::object(&object.value, &wanted)))
    };
    let mut out = Vec::with_capacity(objects.len());
    // In their own order, sixteen at once.
    for group in objects.chunks(AT_ONCE) {
        let together: Vec<_> = group.iter().map(&one).collect();
        out.extend(futures_util::future::try_join_all(together).await?);
    }
    Ok(out)
}

/// Applies objects in order: kinds one after the other, definitions before what they define can be.
async fn apply(cx: &Context, place: &Place, objects: &[Object], before: &[Entry]) -> Result<usize, ProviderError> {
    for group in objects.chunk_by(|a, b| a.id.kind == b.id.kind) {
        for some in group.chunks(AT_ONCE) {
            if cx.cancelled.is_cancelled() {
                return Err(ProviderError::new(ErrorKind::Cancelled, "stopped between two objects"));
            }
            let calls = some.iter().map(|object| place.apply(object, ours(before, object), false));
            futures_util::future::try_join_all(calls).await?;
        }
        if group.first().is_some_and(|object| object.id.kind.kind == "CustomResourceDefinition") {
            let ids: Vec<Id> = group.iter().map(|object| object.id.clone()).collect();
            settled::wait(cx, place, &ids, Duration::from_secs(TIMEOUT)).await?;
        }
    }
    Ok(objects.len())
}

/// Whether promo has applied an object here before.
fn ours(before: &[Entry], object: &Object) -> bool {
    before.iter().any(|entry| entry.object.id.same(&object.id))
}

/// Takes away what was applied before and is no longer declared, last things first.
async fn prune(place: &Place, before: &[Entry], objects: &[Object]) -> Result<usize, ProviderError> {
    let mut pruned = 0;
    for entry in before.iter().rev() {
        if objects.iter().any(|object| object.id.same(&entry.object.id)) {
            continue;
        }
        let Some(live) = place.live(&entry.object.id).await? else { continue };
        let Some(uid) = live.pointer("/metadata/uid").and_then(Value::as_str) else { continue };
        place.delete(&entry.object.id, uid).await?;
        pruned += 1;
    }
    Ok(pruned)
}
