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

mod hooks;
mod kustomize;
mod references;
mod render;
mod secrets;
mod sources;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use promo_core::counted::counted;
use promo_core::kinds::{KeySchema, KindSchema, Place as At, ValueKind};
use promo_sdk::{
    Context, Description, DriftAnswer, DriftClass, DriftRequest, EffectClass, EnsureAnswer, EnsureRequest, ErrorKind,
    Inputs, ObjectDrift, ObserveRequest, Preview, Provider, ProviderError, Settled, State,
};
use serde_json::Value;

use self::hooks::When;
use self::kustomize::Builds;
use self::render::Declared;
use self::sources::For;
use self::work::Work;
use crate::kubernetes::adoption::{self, Adoption};
use crate::kubernetes::beside::{self, Beside};
use crate::kubernetes::cluster::{Clusters, MANAGER, Place};
use crate::kubernetes::declared;
use crate::kubernetes::drift;
use crate::kubernetes::error::unseen;
use crate::kubernetes::fingerprint;
use crate::kubernetes::inventory::{self, Entry, Found, Inventory, Kept, Phase};
use crate::kubernetes::mark;
use crate::kubernetes::object::{Id, Object};
use crate::kubernetes::projection;
use crate::kubernetes::tried::{AT_ONCE, Owner, There, tried};
use crate::kubernetes::typed;
use crate::kubernetes::{running, settled, shown};
use crate::settings::{files, key};

/// How long objects may take to settle, where nothing else is said.
const TIMEOUT: u64 = 300;

/// Deploys manifests into a namespace.
#[derive(Debug, Default)]
pub struct Kubectl {
    clusters: Clusters,
    builds: Builds,
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
            files("templates", "Paths and globs of minijinja templates that render to manifests"),
            key("values", ValueKind::TextTable, "Texts that templates read as `values.NAME`"),
            files("values_files", "Files of values in YAML, JSON or TOML; later ones go over earlier ones, `values` over all"),
            KeySchema {
                value: ValueKind::Text,
                ..files("kustomize", "The directory of an overlay, which `kubectl kustomize` builds")
            },
            files("files", "Paths and globs of what an overlay uses outside its own directory, its bases say"),
            key("images", ValueKind::TextTable, "Which image of the manifests is which artifact: `\"shop/api\" = \"api\"`"),
            key("image_keys", ValueKind::Texts, "Keys under which custom resources name images, beside `image` and its like"),
            key("name", ValueKind::Text, "What is applied under one name belongs together; `promo` when left out"),
            key("adopt", ValueKind::Flag, "Whether the first deployment takes over objects that are there already, as its plan names them"),
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

    async fn lint(&self, cx: &Context, inputs: &Inputs) -> Result<Vec<String>, ProviderError> {
        Ok(render::render(cx, inputs, &self.builds, For::Linting).await?.images())
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let name = render::name(&request.inputs)?;
        let kept = inventory::read(&place, &name).await?;
        // What was deployed before and is looked at again has no artifacts to be rendered with: its inventory is gone, and that is told.
        if kept.is_none() && render::settings(&request.inputs)?.adopt && !request.inputs.artifacts.is_empty() {
            let declared = render::render(cx, &request.inputs, &self.builds, For::Deploying).await?;
            return Ok(Adoption::of(&place, &name, &declared.objects).await?.state(&place));
        }
        Ok(seen(&place, kept.as_ref()).await?.state)
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        let declared = render::render(cx, &request.inputs, &self.builds, For::Deploying).await?;
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let name = render::name(&request.inputs)?;
        let kept = inventory::read(&place, &name).await?;
        let mut there = seen(&place, kept.as_ref()).await?;
        let adoption = adoption(&place, &request.inputs, kept.is_none(), &declared.objects).await?;
        there.state = adoption.as_ref().map_or(there.state, |adoption| adoption.state(&place));
        let takes = adoption.as_ref().map(|adoption| (adoption, adoption.managers()));
        let takes = takes.as_ref().map(|(adoption, managers)| (*adoption, managers));
        let (mut wanted, kept_beside) = wanted(&place, (&name, ""), &declared, &there, takes).await?;
        let desired = fingerprint::wanted(&place, &wanted);
        let changes = if there.state == desired {
            Vec::new()
        } else {
            let done = kept.iter().flat_map(|kept| kept.inventory.done());
            let ran = done.map(|hook| (hook.clone(), Some(as_declared(hook))));
            let mut known: Vec<_> = there.shown().into_iter().chain(ran).collect();
            known.extend(adoption.iter().flat_map(Adoption::drawn));
            for (object, value) in &mut wanted {
                *value = beside::drawn(&object.id, value.take(), &kept_beside);
            }
            let mut changes = shown::changes(&known, &wanted)?;
            changes.extend(beside::told(&kept_beside));
            changes.extend(adoption.as_ref().and_then(Adoption::shown));
            changes
        };
        Ok(Preview { current: there.state, desired, changes, images: declared.images() })
    }

    async fn drift(&self, cx: &Context, request: &DriftRequest) -> Result<DriftAnswer, ProviderError> {
        let name = render::name(&request.inputs)?;
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let kept = inventory::read(&place, &name).await?;
        let there = seen(&place, kept.as_ref()).await?;
        let entries = match kept.as_ref().map(|kept| &kept.inventory) {
            Some(Inventory { phase: Phase::Applying { .. }, .. }) => {
                let note = "a deployment was begun there and has not ended: what differs can be told when it has";
                return Ok(DriftAnswer { note: Some(note.into()), ..DriftAnswer::state(there.state) });
            }
            Some(inventory) => inventory.entries.as_slice(),
            None => &[],
        };
        let declared = render::render(cx, &request.inputs, &self.builds, For::Deploying).await?.objects;
        let mut objects = Vec::with_capacity(declared.len());
        for object in declared {
            let live = match there.objects.iter().find(|(known, _)| known.id.same(&object.id)) {
                Some((_, live)) => live.clone(),
                None => place.live(&object.id).await?,
            };
            objects.push((object, live));
        }
        let unchanged = there.state == request.recorded;
        let same = |object: &Object, live: &Value| {
            let entry = entries.iter().find(|entry| entry.object == *object);
            unchanged || entry.is_some_and(|entry| entry.is(&place, live))
        };
        let kubectl = typed::kubectl(cx, &request.inputs.target)?;
        let (mut differing, fields) = drift::objects(&place, &objects, same, MANAGER, &kubectl).await?;
        let (files, taken) = declared::kept(&render::manifests(cx, &request.inputs)?, &fields);
        let taken: Vec<String> = taken.into_iter().map(|(id, field)| drift::named(&id.to_string(), field)).collect();
        let undeclared = drift::undeclared(&differing, &taken);
        // What stands in the inventory and was not deployed by the run that the ledger has.
        let other = there
            .objects
            .iter()
            .filter(|(known, live)| live.is_some() && !objects.iter().any(|(object, _)| object.id.same(&known.id)));
        differing.extend(other.map(|(known, _)| ObjectDrift::whole(known.id.to_string(), DriftClass::Added)));
        let mut run = None;
        let note = match &kept {
            _ if unchanged => None,
            None => Some(format!("Secret/promo.{name}, in which promo keeps what it has applied there, is gone")),
            Some(Kept { inventory, .. }) if inventory.release != request.inputs.release.to_string() => {
                let by = inventory.token.split('/').next().unwrap_or_default().to_owned();
                Some(format!("{} was applied there since, by run {}", inventory.release, run.insert(by)))
            }
            Some(_) => None,
        };
        Ok(DriftAnswer { objects: differing, note, run, files, undeclared, ..DriftAnswer::state(there.state) })
    }

    async fn programs(&self, cx: &Context, inputs: &Inputs) -> Result<BTreeMap<String, String>, ProviderError> {
        // Everything else promo does by itself.
        if render::settings(inputs)?.kustomize.is_none() {
            return Ok(BTreeMap::new());
        }
        Ok([("kubectl".to_owned(), self.builds.version(cx).await?)].into())
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        let declared = render::render(cx, &request.inputs, &self.builds, For::Deploying).await?;
        let name = render::name(&request.inputs)?;
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let kept = inventory::read(&place, &name).await?;
        let mut there = seen(&place, kept.as_ref()).await?;
        // From nobody but those whom the plan names; one that was broken off is gone on with.
        let managers = adoption::named(&request.changes);
        let begun = kept.as_ref().is_some_and(|kept| {
            matches!(&kept.inventory.phase, Phase::Applying { to, .. } if *to == request.desired && !managers.is_empty())
        });
        let adoption = adoption(&place, &request.inputs, kept.is_none() || begun, &declared.objects).await?;
        if let (None, Some(adoption)) = (&kept, &adoption) {
            there.state = adoption.state(&place);
        }
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
        let takes = adoption.as_ref().map(|adoption| (adoption, &managers));
        let wanted = match wanted(&place, (&name, &request.token), &declared, &there, takes).await {
            Ok((wanted, _)) => wanted,
            Err(error) => {
                // What another run has made since the place was looked at is refused as nobody's; that run is the reason.
                inventory::still(&place, &name, kept.as_ref()).await?;
                return Err(error);
            }
        };
        let found = fingerprint::wanted(&place, &wanted);
        if found != request.desired {
            let message = "the cluster would make something else of these manifests now than when the plan was made";
            return Err(ProviderError::new(ErrorKind::Conflict, message).differs(request.desired, found));
        }
        let phase = match kept.as_ref().map(|kept| &kept.inventory.phase) {
            // The same way, gone on with: where it began is where it began.
            Some(begun @ Phase::Applying { to, .. }) if *to == request.desired => begun.clone(),
            _ => Phase::Applying {
                from: there.state,
                to: request.desired,
                found: match &adoption {
                    Some(adoption) => {
                        let found = |object| Found::new(&place, object, adoption.live(&object.id));
                        declared.objects.iter().map(found).collect()
                    }
                    None => there.found(&place, &declared.objects),
                },
            },
        };
        let mut inventory = Inventory {
            release: request.inputs.release.to_string(),
            token: request.token.clone(),
            epoch: request.epoch,
            ledger: request.ledger.clone(),
            phase,
            entries: wanted[..declared.objects.len()]
                .iter()
                .map(|(object, value)| Entry::new(&place, object, value))
                .collect(),
            hooks: declared.hooks.iter().map(|hook| hook.object.clone()).collect(),
            jobs: kept.iter().flat_map(|kept| kept.inventory.jobs.clone()).collect(),
            ran: kept.iter().flat_map(|kept| kept.inventory.ran.clone()).collect(),
            revision: None,
        };
        let jobs: Vec<String> =
            declared.hooks.iter().map(|hook| hook.job(&place, &name, &request.token).id.name).collect();
        let new: Vec<String> = jobs.iter().filter(|job| !inventory.jobs.contains(job)).cloned().collect();
        inventory.jobs.extend(new);
        let written = inventory::write(&place, &name, kept.as_ref(), &inventory).await?;
        let timeout = timeout(&request.inputs)?;
        let mut work = Work { cx, place: &place, name: &name, written, there: &there, timeout, takes };
        work.sweep(&mut inventory, &jobs).await?;
        let mut ran = work.run(&declared.hooks, When::Before, &mut inventory).await?;
        work.apply(&declared.objects).await?;
        if declared.hooks.iter().any(|hook| hook.when == When::After) {
            let ids: Vec<Id> = declared.objects.iter().map(|object| object.id.clone()).collect();
            settled::wait(cx, &place, &ids, timeout).await.map_err(unseen)?;
            ran += work.run(&declared.hooks, When::After, &mut inventory).await?;
        }
        let pruned = work.prune(&declared.objects).await?;
        inventory.phase = Phase::Applied;
        work.write(&inventory).await?;
        let mut detail = format!("{} applied", counted(declared.objects.len(), "object"));
        if pruned > 0 {
            detail.push_str(&format!(", {pruned} taken away"));
        }
        if ran > 0 {
            detail.push_str(&format!(", {} run", counted(ran, "hook")));
        }
        Ok(EnsureAnswer { changed: true, detail })
    }

    async fn settle(&self, cx: &Context, request: &ObserveRequest) -> Result<Settled, ProviderError> {
        self.clusters.looked(|| self.settled(cx, &request.inputs)).await
    }
}

/// What there would be after a step of the deployment of that name: the objects as the server would have them, and the hooks as they are declared, since it is their having
/// run that is to be there. That their Jobs could be made is tried as well. With them comes what stays beside them.
async fn wanted(
    place: &Place,
    (name, token): (&str, &str),
    declared: &Declared,
    there: &There,
    takes: Takes<'_>,
) -> Result<(Vec<(Object, Value)>, Vec<Beside>), ProviderError> {
    let (mut wanted, beside) = match takes {
        Some((adoption, managers)) => taken_over(place, name, &declared.objects, adoption, managers).await?,
        None => (tried(place, &declared.objects, &[], Owner::Promo(there, name)).await?, Vec::new()),
    };
    for hook in &declared.hooks {
        place.apply(MANAGER, &hook.job(place, name, token), true, true).await?;
        wanted.push((hook.object.clone(), as_declared(&hook.object)));
    }
    Ok((wanted, beside))
}

fn as_declared(object: &Object) -> Value {
    projection::object(&object.value, &object.value)
}

impl Kubectl {
    async fn settled(&self, cx: &Context, inputs: &Inputs) -> Result<Settled, ProviderError> {
        let place = self.clusters.place(cx, &inputs.target).await?;
        let Some(kept) = inventory::read(&place, &render::name(inputs)?).await? else { return Ok(Settled::default()) };
        running::settled(cx, &place, &kept.inventory.all(), timeout(inputs)?).await
    }
}

fn timeout(inputs: &Inputs) -> Result<Duration, ProviderError> {
    Ok(Duration::from_secs(render::settings(inputs)?.timeout.unwrap_or(TIMEOUT)))
}

/// What a first deployment takes over, where it may: once promo has an inventory there, what it has not made is somebody
/// else's, as ever.
async fn adoption(
    place: &Place,
    inputs: &Inputs,
    first: bool,
    objects: &[Object],
) -> Result<Option<Adoption>, ProviderError> {
    if !first || !render::settings(inputs)?.adopt {
        return Ok(None);
    }
    let adoption = Adoption::of(place, &render::name(inputs)?, objects).await?;
    adoption.check()?;
    Ok(Some(adoption))
}

/// What the server would make of objects, some of which are taken over from these managers, and what of others' would stay in them.
async fn taken_over(
    place: &Place,
    name: &str,
    objects: &[Object],
    adoption: &Adoption,
    managers: &BTreeSet<String>,
) -> Result<(Vec<(Object, Value)>, Vec<Beside>), ProviderError> {
    let nothing = There { state: State::Absent, objects: Vec::new() };
    let new: Vec<Object> = objects.iter().filter(|object| adoption.live(&object.id).is_none()).cloned().collect();
    let new = tried(place, &new, objects, Owner::Promo(&nothing, name)).await?;
    let (mut out, mut beside) = (Vec::with_capacity(objects.len()), Vec::new());
    for object in objects {
        let known = new.iter().find(|(other, _)| other.id.same(&object.id));
        let value = match known {
            Some((_, value)) => value.clone(),
            None => {
                let would_be = place.take_over(&mark::marked(object, name), managers, true).await?;
                beside.extend(beside::of(object, &would_be));
                projection::object(&object.value, &would_be)
            }
        };
        out.push((object.clone(), value));
    }
    Ok((out, beside))
}

/// What is taken over, and from whom.
pub(super) type Takes<'a> = Option<(&'a Adoption, &'a BTreeSet<String>)>;

/// Looks at everything that the inventory names.
async fn seen(place: &Place, kept: Option<&Kept>) -> Result<There, ProviderError> {
    let Some(kept) = kept else { return Ok(There { state: State::Absent, objects: Vec::new() }) };
    let all = kept.inventory.all();
    // Collected first: a stream over borrowed objects would keep whoever asks from being spawned.
    let looks: Vec<_> = all.iter().map(|object| place.live(&object.id)).collect();
    let live: Vec<Option<Value>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let objects: Vec<(Object, Option<Value>)> = all.into_iter().zip(live).collect();
    let state = match &kept.inventory.phase {
        Phase::Applied => {
            let live = objects.iter().map(|(object, live)| (object, live.as_ref()));
            let hooks = kept.inventory.hooks.iter().map(|hook| (hook, Some(&hook.value)));
            fingerprint::found(place, live.chain(hooks))
        }
        Phase::Applying { from, to, found } => {
            let known = |(object, live): &(Object, Option<Value>)| {
                kept.inventory.knows(place, found, &object.id, live.as_ref())
            };
            if objects.iter().all(known) { State::between(from, to) } else { State::Unknown }
        }
    };
    Ok(There { state, objects })
}
