//! The `kubectl` deployment: manifests, applied server-side under promo's own field manager. What must not live here: what a
//! cluster is and when its objects have settled; `crate::kubernetes` has that.
//!
//! What was applied is kept beside it, in a Secret of the namespace (`inventory`): the very manifests, so that what is no
//! longer declared can be taken away and nothing else ever is, and so that a later look needs no rendering. The state of a
//! place is a digest over those manifests' fields as the live objects have them (`kubernetes::projection`), keyed with the
//! id of the namespace: a plan in which it stands lets nobody guess at the Secrets among them.
//!
//! Effects are *observable* (S9.3). The inventory is written before anything else and after everything else, each time over the
//! very version that was read, and looked at again before each few objects: of two writers the later one goes on, and the
//! other stops at the next object. One of an older epoch than the inventory's does not begin.

mod render;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use promo_core::kinds::{KindSchema, Place as At, ValueKind};
use promo_sdk::{
    Context, Description, EffectClass, EnsureAnswer, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Preview,
    Provider, ProviderError, State,
};
use serde_json::Value;

use crate::kubernetes::cluster::{Clusters, MANAGER, Place};
use crate::kubernetes::fingerprint;
use crate::kubernetes::inventory::{self, Entry, Inventory, Kept, Phase};
use crate::kubernetes::object::{DEFINITION, Id, Object};
use crate::kubernetes::tried::{AT_ONCE, Owner, There, tried};
use crate::kubernetes::{settled, shown};
use crate::settings::{files, key};

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
            effects: EffectClass::Observable,
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
        let wanted = tried(&place, &objects, &[], Owner::Promo(&there)).await?;
        let desired = fingerprint::wanted(&place, &wanted);
        let changes = if there.state == desired { Vec::new() } else { shown::changes(&there.shown(), &wanted)? };
        Ok(Preview { current: there.state, desired, changes })
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        let (objects, name) = (render::render(cx, &request.inputs)?, render::name(&request.inputs)?);
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let kept = inventory::read(&place, &name).await?;
        let there = seen(&place, kept.as_ref()).await?;
        if there.state == request.desired {
            return Ok(EnsureAnswer { changed: false, detail: "nothing to change".into() });
        }
        if there.state != request.expected {
            let message = format!("{} holds something else than the plan found", request.inputs.target.address());
            return Err(ProviderError::new(ErrorKind::Conflict, message).differs(request.expected, there.state));
        }
        if let Some(kept) = &kept {
            kept.inventory.admits(request)?;
        }
        let wanted = tried(&place, &objects, &[], Owner::Promo(&there)).await?;
        let found = fingerprint::wanted(&place, &wanted);
        if found != request.desired {
            let message = "the cluster would make something else of these manifests now than when the plan was made";
            return Err(ProviderError::new(ErrorKind::Conflict, message).differs(request.desired, found));
        }
        let phase = match kept.as_ref().map(|kept| &kept.inventory.phase) {
            // The same way, gone on with: where it began is where it began.
            Some(begun @ Phase::Applying { to, .. }) if *to == request.desired => begun.clone(),
            _ => Phase::Applying { from: there.state, to: request.desired, found: there.found(&place, &objects) },
        };
        let mut inventory = Inventory {
            release: request.inputs.release.to_string(),
            token: request.token.clone(),
            epoch: request.epoch,
            ledger: request.ledger.clone(),
            phase,
            entries: wanted.iter().map(|(object, value)| Entry::new(&place, object, value)).collect(),
        };
        let written = inventory::write(&place, &name, kept.as_ref(), &inventory).await?;
        let work = Work { cx, place: &place, name: &name, written: &written, there: &there };
        work.apply(&objects).await?;
        let pruned = work.prune(&objects).await?;
        inventory.phase = Phase::Applied;
        inventory::write(&place, &name, Some(&written), &inventory).await?;
        let detail = match pruned {
            0 => format!("{} objects applied", objects.len()),
            pruned => format!("{} objects applied, {pruned} taken away", objects.len()),
        };
        Ok(EnsureAnswer { changed: true, detail })
    }

    async fn settle(&self, cx: &Context, request: &ObserveRequest) -> Result<(), ProviderError> {
        let mut ended = self.settled(cx, &request.inputs).await;
        // A wait can outlive the credentials that it began with.
        if matches!(&ended, Err(error) if error.kind == ErrorKind::Denied) {
            self.clusters.forget();
            ended = self.settled(cx, &request.inputs).await;
        }
        // Whoever may not look has seen nothing go wrong.
        ended.map_err(|error| match error.kind {
            ErrorKind::Denied => ProviderError { kind: ErrorKind::Transient, ..error },
            _ => error,
        })
    }
}

impl Kubectl {
    async fn settled(&self, cx: &Context, inputs: &Inputs) -> Result<(), ProviderError> {
        let place = self.clusters.place(cx, &inputs.target).await?;
        let Some(kept) = inventory::read(&place, &render::name(inputs)?).await? else { return Ok(()) };
        let ids: Vec<Id> = kept.inventory.all().into_iter().map(|object| object.id).collect();
        settled::wait(cx, &place, &ids, timeout(inputs)?).await
    }
}

fn timeout(inputs: &Inputs) -> Result<Duration, ProviderError> {
    Ok(Duration::from_secs(render::settings(inputs)?.timeout.unwrap_or(TIMEOUT)))
}

/// Looks at everything that the inventory names.
async fn seen(place: &Place, kept: Option<&Kept>) -> Result<There, ProviderError> {
    let Some(kept) = kept else { return Ok(There { state: State::Absent, objects: Vec::new() }) };
    let all = kept.inventory.all();
    // Collected first: a stream over borrowed objects would keep whoever asks from being spawned.
    let looks: Vec<_> = all.iter().map(|object| place.live(&object.id)).collect();
    let live: Vec<Option<Value>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let objects: Vec<(Object, Option<Value>)> = all.into_iter().zip(live).collect();
    let state = match &kept.inventory.phase {
        Phase::Applied => fingerprint::found(place, objects.iter().map(|(object, live)| (object, live.as_ref()))),
        Phase::Applying { from, to, found } => {
            let known = |(object, live): &(Object, Option<Value>)| {
                kept.inventory.knows(place, found, &object.id, live.as_ref())
            };
            if objects.iter().all(known) { State::between(from, to) } else { State::Unknown }
        }
    };
    Ok(There { state, objects })
}

/// A change under way.
struct Work<'a> {
    cx: &'a Context,
    place: &'a Place,
    name: &'a str,
    /// The inventory that says so.
    written: &'a Kept,
    there: &'a There,
}

impl Work<'_> {
    /// Whether it is to go on: nobody has asked to stop, and nobody else has begun.
    async fn goes_on(&self) -> Result<(), ProviderError> {
        if self.cx.cancelled.is_cancelled() {
            return Err(ProviderError::new(ErrorKind::Cancelled, "stopped between two objects"));
        }
        inventory::still(self.place, self.name, self.written).await
    }

    /// Applies objects in order: kinds one after the other, definitions before what they define can be.
    async fn apply(&self, objects: &[Object]) -> Result<(), ProviderError> {
        for group in objects.chunk_by(|a, b| a.id.kind == b.id.kind) {
            for some in group.chunks(AT_ONCE) {
                self.goes_on().await?;
                let calls =
                    some.iter().map(|object| self.place.apply(MANAGER, object, self.there.has(&object.id), false));
                futures_util::future::try_join_all(calls).await?;
            }
            if group.first().is_some_and(|object| object.id.kind.kind == DEFINITION) {
                let ids: Vec<Id> = group.iter().map(|object| object.id.clone()).collect();
                settled::wait(self.cx, self.place, &ids, Duration::from_secs(TIMEOUT)).await?;
            }
        }
        Ok(())
    }

    /// Takes away what was applied before and is no longer declared, last things first. Definitions stay: with them all that
    /// they define would go, in every namespace.
    async fn prune(&self, objects: &[Object]) -> Result<usize, ProviderError> {
        let mut pruned = 0;
        for (object, _) in self.there.objects.iter().rev() {
            let id = &object.id;
            if id.kind.kind == DEFINITION || objects.iter().any(|object| object.id.same(id)) {
                continue;
            }
            self.goes_on().await?;
            let Some(live) = self.place.live(id).await? else { continue };
            let Some(uid) = live.pointer("/metadata/uid").and_then(Value::as_str) else { continue };
            // One of the same name that somebody else has made since is theirs.
            if !applied_here(&live) {
                continue;
            }
            self.place.delete(id, uid).await?;
            pruned += 1;
        }
        Ok(pruned)
    }
}

/// Whether promo has applied this very object.
fn applied_here(live: &Value) -> bool {
    let managers = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(String::from);
    managers.into_iter().flatten().any(|entry| {
        text(entry, "manager").as_deref() == Some(MANAGER) && text(entry, "operation").as_deref() == Some("Apply")
    })
}
