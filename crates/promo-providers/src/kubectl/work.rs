//! A change under way: objects are applied and taken away, and hooks are run. What must not live here: what is to be there.

use std::time::Duration;

use kube::api::ListParams;
use promo_core::Digest;
use promo_sdk::{Context, ErrorKind, ProviderError};
use serde_json::Value;

use super::Takes;
use super::hooks::{self, Hook, When};
use crate::kubernetes::cluster::{MANAGER, Place};
use crate::kubernetes::error::unseen;
use crate::kubernetes::inventory::{self, Inventory, Kept};
use crate::kubernetes::mark::{self, Owner};
use crate::kubernetes::object::{DEFINITION, Id, Object};
use crate::kubernetes::status::{self, Status};
use crate::kubernetes::tried::{AT_ONCE, There};
use crate::kubernetes::watching::{self, Looked, Seen};
use crate::kubernetes::{running, settled};

/// How long a definition may take until it can be used, and a Job until it is gone with its pods.
const SOON: Duration = Duration::from_secs(300);
/// After this a Job that is to be gone is looked for again.
const AGAIN: Duration = Duration::from_millis(200);
/// Hooks of which is kept that they have run.
const KEPT: usize = 256;

/// A change under way.
pub(super) struct Work<'a> {
    pub(super) cx: &'a Context,
    pub(super) place: &'a Place,
    pub(super) name: &'a str,
    /// The inventory that says so.
    pub(super) written: Kept,
    pub(super) there: &'a There,
    /// How long objects may take until they run, and a hook until it has ended.
    pub(super) timeout: Duration,
    /// What is taken over, and from whom.
    pub(super) takes: Takes<'a>,
}

impl Work<'_> {
    /// Whether it is to go on: nobody has asked to stop, and nobody else has begun.
    async fn goes_on(&self) -> Result<(), ProviderError> {
        if self.cx.cancelled.is_cancelled() {
            return Err(ProviderError::new(ErrorKind::Cancelled, "stopped between two objects"));
        }
        inventory::still(self.place, self.name, Some(&self.written)).await
    }

    /// Writes the inventory as it is now.
    pub(super) async fn write(&mut self, inventory: &Inventory) -> Result<(), ProviderError> {
        self.written = inventory::write(self.place, self.name, Some(&self.written), inventory).await?;
        Ok(())
    }

    async fn one(&self, object: &Object) -> Result<Value, ProviderError> {
        let marked = mark::marked(object, self.name);
        match self.takes {
            Some((adoption, managers)) if adoption.live(&object.id).is_some() => {
                self.place.take_over(&marked, managers, false).await
            }
            _ => self.place.apply(MANAGER, &marked, self.there.has(&object.id), false).await,
        }
    }

    /// Applies objects in order: kinds one after the other, definitions before what they define can be.
    pub(super) async fn apply(&self, objects: &[Object]) -> Result<(), ProviderError> {
        for group in objects.chunk_by(|a, b| a.id.kind == b.id.kind) {
            for some in group.chunks(AT_ONCE) {
                self.goes_on().await?;
                let calls = some.iter().map(|object| self.one(object));
                futures_util::future::try_join_all(calls).await?;
            }
            if group.first().is_some_and(|object| object.id.kind.kind == DEFINITION) {
                let ids: Vec<Id> = group.iter().map(|object| object.id.clone()).collect();
                settled::wait(self.cx, self.place, &ids, SOON).await?;
            }
        }
        Ok(())
    }

    /// Takes away what was applied before and is no longer declared, last things first. Definitions stay: with them all that
    /// they define would go, in every namespace.
    pub(super) async fn prune(&self, objects: &[Object]) -> Result<usize, ProviderError> {
        let mut pruned = 0;
        for (object, _) in self.there.objects.iter().rev() {
            let id = &object.id;
            if id.kind.kind == DEFINITION || objects.iter().any(|object| object.id.same(id)) {
                continue;
            }
            pruned += usize::from(self.take_away(id, false).await?);
        }
        Ok(pruned)
    }

    /// Takes an object away that this deployment has applied; gives whether there was one. One of the same name that somebody else has
    /// made since is theirs, and so is one that another deployment has taken over. What belongs to it goes after it, or before it where the `whole` of it is to be gone.
    async fn take_away(&self, id: &Id, whole: bool) -> Result<bool, ProviderError> {
        self.goes_on().await?;
        let Some(live) = self.place.live(id).await? else { return Ok(false) };
        let Some(uid) = live.pointer("/metadata/uid").and_then(Value::as_str) else { return Ok(false) };
        if !Owner::of(&live).may_be(self.name) {
            return Ok(false);
        }
        match whole {
            true => self.place.delete_whole(id, uid).await?,
            false => self.place.delete(id, uid).await?,
        }
        Ok(true)
    }

    /// Takes a Job away. One that has not succeeded may still run, and its pods take their time to end: it is gone with them.
    async fn take_away_job(&self, id: &Id) -> Result<(), ProviderError> {
        let Some(live) = self.place.live(id).await? else { return Ok(()) };
        let whole = status::of(&live) != Status::Current;
        if !self.take_away(id, whole).await? || !whole {
            return Ok(());
        }
        let kind = self.place.kind(id).await?;
        let params = ListParams::default().fields(&format!("metadata.name={}", id.name));
        let uid = live.pointer("/metadata/uid");
        let gone = |seen: &Seen| {
            let there = seen.get(&id.name).is_some_and(|job| job.pointer("/metadata/uid") == uid);
            (!there).then_some(())
        };
        let looked = Looked { place: self.place, kind: &kind, params };
        let ended = watching::until(self.cx, &looked, SOON, gone).await?;
        ended.map_err(|_| self.goes_on_and_on(id))
    }

    /// Waits until no pod of a Job that has failed runs any more, of which some may have been told to end.
    async fn quiet(&self, id: &Id, job: &Value) -> Result<(), ProviderError> {
        let selector = job.pointer("/spec/selector").and_then(running::selector);
        let Some(selector) = selector else { return Ok(()) };
        let (kind, params) = (running::kind(), ListParams::default().labels(&selector));
        let looked = Looked { place: self.place, kind: &kind, params };
        let ended = |seen: &Seen| seen.values().all(running::ended).then_some(());
        watching::until(self.cx, &looked, SOON, ended).await?.map_err(|_| self.goes_on_and_on(id))
    }

    /// Nothing is decided beside work that goes on: whoever resumes ends it.
    fn goes_on_and_on(&self, id: &Id) -> ProviderError {
        let (namespace, seconds) = (&self.place.namespace, SOON.as_secs());
        let message =
            format!("pods of {id} in namespace {namespace} have not ended {seconds} s after they were told to");
        ProviderError::new(ErrorKind::Transient, message)
    }

    /// Runs the hooks of one time to their end, in their order; gives how many have run. What has run is kept in the inventory at
    /// once: whoever goes on from here does not run it again.
    pub(super) async fn run(
        &mut self,
        hooks: &[Hook],
        when: When,
        inventory: &mut Inventory,
    ) -> Result<usize, ProviderError> {
        let token = inventory.token.clone();
        let mut some: Vec<&Hook> = hooks.iter().filter(|hook| hook.when == when).collect();
        some.sort_by_key(|hook| hook.order);
        let mut ran = 0;
        for group in some.chunk_by(|a, b| a.order == b.order) {
            let left: Vec<(&Hook, Object, Digest)> = group
                .iter()
                .map(|hook| {
                    (*hook, hook.job(self.place, self.name, &token), hook.digest(self.place, self.name, &token))
                })
                .filter(|(_, _, digest)| !inventory.ran.contains(digest))
                .collect();
            if left.is_empty() {
                continue;
            }
            for (_, job, _) in &left {
                self.begin(job, &token).await?;
            }
            let ids: Vec<Id> = left.iter().map(|(_, job, _)| job.id.clone()).collect();
            if let Err(error) = settled::wait(self.cx, self.place, &ids, self.timeout).await {
                return Err(self.ended(&ids, when, error).await);
            }
            ran += left.len();
            inventory.ran.extend(left.iter().map(|(.., digest)| *digest));
            let more = inventory.ran.len().saturating_sub(KEPT);
            inventory.ran.drain(..more);
            self.write(inventory).await?;
            for (_, job, _) in left.iter().filter(|(hook, ..)| hook.delete) {
                self.take_away_job(&job.id).await?;
            }
        }
        Ok(ran)
    }

    /// Makes a Job, unless it was made for this step already. One of an earlier step that has failed is made anew; one that runs
    /// or has succeeded is the very same work.
    async fn begin(&self, job: &Object, token: &str) -> Result<(), ProviderError> {
        let mut waited = Duration::ZERO;
        loop {
            self.goes_on().await?;
            let Some(live) = self.place.live(&job.id).await? else { break };
            if !Owner::of(&live).may_be(self.name) {
                let why = "is there already, and promo has not made it: take it away";
                return Err(ProviderError::new(ErrorKind::Conflict, format!("{} {why}", job.id)));
            }
            let going = live.pointer("/metadata/deletionTimestamp").is_some();
            if !going {
                if hooks::is_of(&live, token) || !matches!(status::of(&live), Status::Failed(_)) {
                    return Ok(());
                }
                self.take_away_job(&job.id).await?;
                continue;
            }
            if waited > SOON {
                return Err(self.goes_on_and_on(&job.id));
            }
            self.cx.clock.sleep(AGAIN).await;
            waited += AGAIN;
        }
        self.place.apply(MANAGER, job, false, false).await.map(drop)
    }

    /// What is told of hooks that did not come to a good end. One that still runs is ended: nothing may go on beside the way
    /// back. One that has failed stays, for whoever wants to read what it wrote; its pods have to come to their end as well. Where one
    /// goes on all the same, so does nothing else: it is named, and a resume ends it.
    async fn ended(&self, ids: &[Id], when: When, error: ProviderError) -> ProviderError {
        if error.kind != ErrorKind::Failed {
            return unseen(error);
        }
        let (namespace, mut logs, mut going) = (&self.place.namespace, String::new(), String::new());
        for id in ids {
            match self.end(id).await {
                Ok(true) => logs = format!("; `kubectl -n {namespace} logs job/{}` has what it wrote", id.name),
                Ok(false) => {}
                Err(why) => going = format!("{going}; {id} could not be ended and may still run: {}", why.message),
            }
        }
        let message = format!("a hook that runs {when} the rest: {}{logs}{going}", error.message);
        let kind = if going.is_empty() { error.kind } else { ErrorKind::Transient };
        ProviderError { message, kind, ..error }
    }

    /// Sees to it that nothing of a hook's Job runs any more; gives whether it is still there, having failed.
    async fn end(&self, id: &Id) -> Result<bool, ProviderError> {
        let Some(live) = self.place.live(id).await? else { return Ok(false) };
        match status::of(&live) {
            Status::Current => Ok(false),
            Status::Failed(_) => self.quiet(id, &live).await.map(|()| true),
            Status::InProgress(_) => self.take_away_job(id).await.map(|()| false),
        }
    }

    /// Takes Jobs of hooks away that are none of this deployment's, before it does anything: one that a run which was broken off has
    /// left behind may still run, and nothing goes on beside it.
    pub(super) async fn sweep(&self, inventory: &mut Inventory, now: &[String]) -> Result<(), ProviderError> {
        for id in inventory.jobs.iter().filter(|name| !now.contains(name)).map(|name| hooks::id(name)) {
            self.take_away_job(&id).await?;
        }
        inventory.jobs.retain(|name| now.contains(name));
        Ok(())
    }
}
