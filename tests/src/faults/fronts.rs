//! What stands in front of the real providers and the real ledger. What must not live here: an answer of its own, but for
//! the verdicts that a test sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ledger::{Draft, Record};
use promo_core::state::State;
use promo_ledger::{AppendError, Expect, Generation, Head, Lease, LeaseError, RawRecord, Side, Store, StoreError};
use promo_sdk::{
    Blobs, CheckRequest, CheckResult, Context, Description, DriftAnswer, DriftRequest, EffectClass, EnsureAnswer,
    EnsureRequest, Inputs, ObserveRequest, Preview, Provider, ProviderError, ResolveRequest, Resolved, Settled,
};
use tokio_util::sync::CancellationToken;

use super::broken::{self, Broken};
use super::{Entry, Faults};

pub(super) struct Watched {
    pub(super) inner: Arc<dyn Provider>,
    pub(super) faults: Faults,
}

#[async_trait]
impl Provider for Watched {
    fn describe(&self) -> Description {
        let mut description = self.inner.describe();
        if self.faults.is_opaque(&description.name) {
            description.effects = EffectClass::Opaque;
        }
        description
    }

    async fn resolve(&self, cx: &Context, request: &ResolveRequest) -> Result<Resolved, ProviderError> {
        let about = request.reference.rsplit('/').next().unwrap_or_default();
        self.faults.point("resolve", about).await?;
        self.inner.resolve(cx, request).await
    }

    async fn tags(&self, cx: &Context, repository: &str) -> Result<BTreeSet<String>, ProviderError> {
        self.inner.tags(cx, repository).await
    }

    async fn created(&self, cx: &Context, request: &ResolveRequest) -> Result<Option<Timestamp>, ProviderError> {
        self.inner.created(cx, request).await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        self.faults.point("observe", request.inputs.environment.as_str()).await?;
        let state = self.inner.observe(cx, request).await?;
        self.faults.note(Entry::Seen { place: place(&request.inputs), state });
        Ok(state)
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        self.faults.point("preview", request.inputs.environment.as_str()).await?;
        self.inner.preview(cx, request).await
    }

    async fn drift(&self, cx: &Context, request: &DriftRequest) -> Result<DriftAnswer, ProviderError> {
        self.inner.drift(cx, request).await
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        let (about, place) = (step(&request.token), place(&request.inputs));
        self.faults.point("ensure before", about).await?;
        let observe = ObserveRequest { inputs: request.inputs.clone() };
        let state = self.inner.observe(cx, &observe).await?;
        self.faults.note(Entry::Begun { token: request.token.clone(), place: place.clone(), state });
        let mut watched = cx.clone();
        watched.blobs = Arc::new(Counted {
            inner: cx.blobs.clone(),
            faults: self.faults.clone(),
            about: about.to_string(),
            read: AtomicUsize::new(0),
        });
        let mut answer = self.inner.ensure(&watched, request).await;
        if let Some(directory) = broken::directory(&request.inputs) {
            if self.faults.is_broken(Broken::ActsTwice) && broken::take_away(directory) {
                let state = self.inner.observe(cx, &observe).await?;
                self.faults.note(Entry::Begun { token: request.token.clone(), place: place.clone(), state });
                let again = EnsureRequest { expected: state, ..request.clone() };
                answer = self.inner.ensure(&watched, &again).await;
            }
            if self.faults.is_broken(Broken::WritesTheSecret) {
                let secret = std::env::var("PROMO_SECRET_TOKEN").unwrap_or_default();
                let _ = std::fs::write(directory.join("notes"), format!("signed in with {secret}"));
            }
        }
        let state = self.inner.observe(cx, &observe).await?;
        self.faults.note(Entry::Ended { token: request.token.clone(), place, state });
        self.faults.point("ensure after", about).await?;
        answer
    }

    async fn settle(&self, cx: &Context, request: &ObserveRequest) -> Result<Settled, ProviderError> {
        let about = request.inputs.environment.as_str();
        self.faults.fine_point("settle before", about).await?;
        let settled = self.inner.settle(cx, request).await?;
        self.faults.fine_point("settle after", about).await?;
        Ok(settled)
    }

    async fn lint(&self, cx: &Context, inputs: &Inputs) -> Result<Vec<String>, ProviderError> {
        self.inner.lint(cx, inputs).await
    }

    async fn programs(&self, cx: &Context, inputs: &Inputs) -> Result<BTreeMap<String, String>, ProviderError> {
        self.inner.programs(cx, inputs).await
    }

    async fn ready(&self, cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        self.inner.ready(cx, request).await
    }

    fn looks_at_targets(&self) -> bool {
        self.inner.looks_at_targets()
    }

    fn looks_during(&self) -> bool {
        self.inner.looks_during()
    }

    async fn during(
        &self,
        cx: &Context,
        request: &CheckRequest,
        over: &CancellationToken,
    ) -> Result<CheckResult, ProviderError> {
        let about = format!("{}/{}", request.inputs.environment, request.check);
        self.faults.fine_point("during before", &about).await?;
        let result = self.inner.during(cx, request, over).await?;
        self.faults.fine_point("during after", &about).await?;
        Ok(result)
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        let (environment, check) = (&request.inputs.environment, &request.check);
        let (short, long) =
            (format!("{environment}/{check}"), format!("{environment}/{check}/{}", request.inputs.release));
        self.faults.point("verify", &short).await?;
        let result = match self.faults.verdict(&short, &long) {
            Some(verdict) => {
                let passed = verdict?;
                let detail = if passed { "as it should be" } else { "not as it should be" }.to_string();
                CheckResult { passed, detail, evidence: BTreeMap::new() }
            }
            None => self.inner.verify(cx, request).await?,
        };
        if let (true, Some(directory)) = (self.faults.is_broken(Broken::ActsUntold), broken::directory(&request.inputs))
        {
            let _ = std::fs::write(directory.join("current/service"), "what nobody asked for\n");
        }
        self.faults.fine_point("verify after", &short).await?;
        Ok(result)
    }
}

/// A step by its name alone: the same in every run.
fn step(token: &str) -> &str {
    token.split_once('/').map_or(token, |(_, step)| step)
}

/// What the state of such inputs is a state of.
fn place(inputs: &Inputs) -> String {
    let address = inputs.target.address();
    if !address.is_empty() {
        return address;
    }
    let copies = inputs.artifacts.values().map(|artifact| format!("{}@{}", artifact.repository, artifact.digest));
    copies.collect::<Vec<_>>().join(" ")
}

/// Files that a provider reads while it acts.
struct Counted {
    inner: Arc<dyn Blobs>,
    faults: Faults,
    about: String,
    read: AtomicUsize,
}

impl Blobs for Counted {
    fn get(&self, digest: &Digest) -> Result<Vec<u8>, ProviderError> {
        let nth = self.read.fetch_add(1, Ordering::Relaxed) + 1;
        self.faults.blocking_call(&format!("ensure file {nth}"), &self.about)?;
        self.inner.get(digest)
    }
}

pub(super) struct Guarded {
    pub(super) inner: Arc<dyn Store>,
    pub(super) faults: Faults,
}

impl Store for Guarded {
    fn append_if_head(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError> {
        let kinds: Vec<String> = drafts.iter().map(|d| d.event.to_parts().0).collect();
        let kinds = kinds.join("+");
        let last = drafts.last();
        let about = last.map_or_else(String::new, |draft| match (&draft.step, &draft.environment) {
            (Some(step), _) => step.clone(),
            (None, Some(environment)) => environment.to_string(),
            (None, None) => String::new(),
        });
        self.faults.blocking_point(&format!("append before {kinds}"), &about)?;
        let broken = broken::drafts(drafts, |how| self.faults.is_broken(how));
        let mut records = self.inner.append_if_head(expect, &broken)?;
        // Whoever wrote is told of as many as it gave.
        let more = records.len() - drafts.len();
        records.drain(..more);
        self.faults.blocking_point(&format!("append after {kinds}"), &about)?;
        Ok(records)
    }

    fn origin(&self) -> String {
        self.inner.origin()
    }

    fn head(&self) -> Result<Head, StoreError> {
        self.inner.head()
    }

    fn now(&self) -> Result<Timestamp, StoreError> {
        self.faults.fine_blocking_point("clock")?;
        self.inner.now()
    }

    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError> {
        self.inner.raw(from, limit)
    }

    fn seq_of(&self, rid: &str) -> Result<Option<u64>, StoreError> {
        self.inner.seq_of(rid)
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>, StoreError> {
        self.inner.node(level, index)
    }

    fn sides(&self, seq: u64) -> Result<Vec<Side>, StoreError> {
        self.inner.sides(seq)
    }

    fn erase(&self, seq: u64, field: &str) -> Result<bool, StoreError> {
        self.inner.erase(seq, field)
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.inner.generations()
    }

    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.inner.consumed_by(digest)
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.faults.fine_blocking_point("keep before")?;
        let digest = self.inner.put_blob(bytes)?;
        self.faults.fine_blocking_point("keep after")?;
        Ok(digest)
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get_blob(digest)
    }

    fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError> {
        self.inner.blob_digests(after, limit)
    }

    fn acquire(&self, resources: &[String], holder: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        self.faults.fine_blocking_point("acquire before")?;
        let answer = self.inner.acquire(resources, holder, ttl)?;
        self.faults.fine_blocking_point("acquire after")?;
        Ok(answer)
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        self.faults.fine_blocking_point("renew before")?;
        let answer = self.inner.renew(lease, ttl)?;
        self.faults.fine_blocking_point("renew after")?;
        Ok(answer)
    }

    fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.faults.fine_blocking_point("release before")?;
        if !self.faults.is_broken(Broken::KeepsTheLock) {
            self.inner.release(lease)?;
        }
        self.faults.fine_blocking_point("release after")?;
        Ok(())
    }

    fn epoch(&self) -> Result<u64, StoreError> {
        self.inner.epoch()
    }

    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.inner.leases()
    }

    fn damage(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.damage(limit)
    }
}
