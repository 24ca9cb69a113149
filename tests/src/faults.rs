//! Deaths and errors at a chosen point of a run, and a journal of what providers really changed. What must not live here:
//! a provider or ledger of our own; these only stand in front of the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ledger::{Draft, Record};
use promo_core::state::State;
use promo_ledger::{AppendError, Expect, Generation, Head, Lease, LeaseError, RawRecord, Side, Store, StoreError};
use promo_sdk::{
    CheckRequest, CheckResult, Context, Description, EnsureAnswer, EnsureRequest, ErrorKind, ObserveRequest, Preview,
    Provider, ProviderError, ResolveRequest, Resolved,
};
use tokio::sync::Notify;

/// What happens at the chosen point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The process is gone: the call never returns, and whoever waits for [`Faults::died`] drops the rest.
    Die,
    /// The call panics.
    Panic,
    /// The call returns an error; from a ledger it is one of input and output whatever the kind.
    Fail(ErrorKind),
}

/// A point in a run, in the order in which they are passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// `ensure before`, `observe after`, `append before step.effect`.
    pub name: String,
    /// The step, check or environment that it is about.
    pub about: String,
}

/// A change that a provider really made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Run and step.
    pub token: String,
    /// What was there.
    pub before: State,
    /// What is there since.
    pub after: State,
}

/// Panics that are made here print nothing; all others do.
pub fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let made = info.payload_as_str().is_some_and(|text| text.starts_with("a fault at "));
            if !made {
                before(info);
            }
        }));
    });
}

#[derive(Default)]
struct Inner {
    armed: Option<(usize, Mode)>,
    passed: Vec<Point>,
    fired: Option<Point>,
    journal: Vec<Effect>,
    failing: BTreeSet<String>,
    checks: BTreeMap<String, usize>,
}

/// Faults and journal; clones are handles of the same.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
    dead: Arc<Notify>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on points are counted, and the `nth` of them (from 1) is where `mode` happens, once.
    pub fn arm(&self, nth: usize, mode: Mode) {
        let mut inner = self.lock();
        inner.armed = Some((nth, mode));
        inner.passed.clear();
        inner.fired = None;
    }

    /// Nothing happens any more.
    pub fn disarm(&self) {
        self.lock().armed = None;
    }

    /// The point at which it happened, if it did.
    #[must_use]
    pub fn fired(&self) -> Option<Point> {
        self.lock().fired.clone()
    }

    /// The points that were passed since [`Faults::arm`].
    #[must_use]
    pub fn passed(&self) -> Vec<Point> {
        self.lock().passed.clone()
    }

    /// What providers really changed so far.
    #[must_use]
    pub fn journal(&self) -> Vec<Effect> {
        self.lock().journal.clone()
    }

    /// Lets a check fail: `environment/check`, or `environment/check/release` for one release only.
    pub fn fail_check(&self, check: impl Into<String>) {
        self.lock().failing.insert(check.into());
    }

    /// Lets a check pass again.
    pub fn pass_check(&self, check: &str) {
        self.lock().failing.remove(check);
    }

    /// How often a check was asked: `environment/check/release`.
    #[must_use]
    pub fn asked(&self, check: &str) -> usize {
        self.lock().checks.get(check).copied().unwrap_or(0)
    }

    /// Returns when the process is to be gone.
    pub async fn died(&self) {
        self.dead.notified().await;
    }

    /// The providers with this in front. Checks are answered by [`Faults::fail_check`] and run nothing.
    #[must_use]
    pub fn providers(&self, providers: Vec<Arc<dyn Provider>>) -> Vec<Arc<dyn Provider>> {
        let before = |inner| Arc::new(Watched { inner, faults: self.clone() }) as Arc<dyn Provider>;
        providers.into_iter().map(before).collect()
    }

    /// The ledger with this in front.
    #[must_use]
    pub fn store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Guarded { inner: store, faults: self.clone() })
    }

    fn pass(&self, name: String, about: String) -> Option<Mode> {
        let mut inner = self.lock();
        let (nth, mode) = inner.armed?;
        let point = Point { name, about };
        inner.passed.push(point.clone());
        if inner.passed.len() != nth {
            return None;
        }
        inner.armed = None;
        inner.fired = Some(point);
        Some(mode)
    }

    async fn point(&self, name: &str, about: &str) -> Result<(), ProviderError> {
        match self.pass(name.to_string(), about.to_string()) {
            None => Ok(()),
            Some(Mode::Fail(kind)) => Err(ProviderError::new(kind, format!("a fault at {name} of {about}"))),
            Some(Mode::Panic) => panic!("a fault at {name} of {about}"),
            Some(Mode::Die) => {
                self.dead.notify_one();
                std::future::pending().await
            }
        }
    }

    /// Ledgers block, so nothing can be left hanging in one: death is a panic there.
    fn blocking_point(&self, name: String) -> Result<(), StoreError> {
        match self.pass(name.clone(), "ledger".to_string()) {
            None => Ok(()),
            Some(Mode::Fail(_)) => {
                Err(StoreError::Io { doing: "appending", source: format!("a fault at {name}").into() })
            }
            Some(Mode::Panic | Mode::Die) => panic!("a fault at {name}"),
        }
    }
}

struct Watched {
    inner: Arc<dyn Provider>,
    faults: Faults,
}

#[async_trait]
impl Provider for Watched {
    fn describe(&self) -> Description {
        self.inner.describe()
    }

    async fn resolve(&self, cx: &Context, request: &ResolveRequest) -> Result<Resolved, ProviderError> {
        self.faults.point("resolve", &request.reference).await?;
        self.inner.resolve(cx, request).await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        self.faults.point("observe", request.inputs.environment.as_str()).await?;
        self.inner.observe(cx, request).await
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        self.faults.point("preview", request.inputs.environment.as_str()).await?;
        self.inner.preview(cx, request).await
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        self.faults.point("ensure before", &request.token).await?;
        let observe = ObserveRequest { inputs: request.inputs.clone() };
        let before = self.inner.observe(cx, &observe).await?;
        let answer = self.inner.ensure(cx, request).await;
        let after = self.inner.observe(cx, &observe).await?;
        if before != after {
            self.faults.lock().journal.push(Effect { token: request.token.clone(), before, after });
        }
        self.faults.point("ensure after", &request.token).await?;
        answer
    }

    async fn verify(&self, _cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        let (environment, check) = (&request.inputs.environment, &request.check);
        self.faults.point("verify", &format!("{environment}/{check}")).await?;
        let (short, long) =
            (format!("{environment}/{check}"), format!("{environment}/{check}/{}", request.inputs.release));
        let passed = {
            let mut inner = self.faults.lock();
            *inner.checks.entry(long.clone()).or_default() += 1;
            !inner.failing.contains(&short) && !inner.failing.contains(&long)
        };
        let detail = if passed { "as it should be" } else { "not as it should be" }.to_string();
        Ok(CheckResult { passed, detail, evidence: BTreeMap::new() })
    }
}

struct Guarded {
    inner: Arc<dyn Store>,
    faults: Faults,
}

impl Store for Guarded {
    fn append_if_head(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError> {
        let kinds: Vec<String> = drafts.iter().map(|d| d.event.to_parts().0).collect();
        let kinds = kinds.join("+");
        self.faults.blocking_point(format!("append before {kinds}"))?;
        let records = self.inner.append_if_head(expect, drafts)?;
        self.faults.blocking_point(format!("append after {kinds}"))?;
        Ok(records)
    }

    fn origin(&self) -> String {
        self.inner.origin()
    }

    fn head(&self) -> Result<Head, StoreError> {
        self.inner.head()
    }

    fn now(&self) -> Result<Timestamp, StoreError> {
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
        self.inner.put_blob(bytes)
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get_blob(digest)
    }

    fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError> {
        self.inner.blob_digests(after, limit)
    }

    fn acquire(&self, resources: &[String], holder: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        self.inner.acquire(resources, holder, ttl)
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        self.inner.renew(lease, ttl)
    }

    fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.inner.release(lease)
    }

    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.inner.leases()
    }
}
