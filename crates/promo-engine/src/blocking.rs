//! Where work that blocks a thread is handed over, so that a slow disk or a busy ledger holds up nobody else: no other
//! branch of a run, and not the renewal of its lock. What must not live here: what the work is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ledger::{Draft, Record};
use promo_ledger::{AppendError, Expect, Generation, Head, Lease, LeaseError, RawRecord, Side, Store, StoreError};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` here and now, while other tasks of this runtime go on elsewhere. It stays synchronous: nobody can drop it
/// half-way and be left in doubt about what was written. A runtime of one thread has no elsewhere, and waits.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// A ledger every call of which is handed over.
pub(crate) struct HandedOver(pub(crate) Arc<dyn Store>);

impl Store for HandedOver {
    fn origin(&self) -> String {
        blocking(|| self.0.origin())
    }

    fn head(&self) -> Result<Head, StoreError> {
        blocking(|| self.0.head())
    }

    fn now(&self) -> Result<Timestamp, StoreError> {
        blocking(|| self.0.now())
    }

    fn append_if_head(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError> {
        blocking(|| self.0.append_if_head(expect, drafts))
    }

    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError> {
        blocking(|| self.0.raw(from, limit))
    }

    fn seq_of(&self, rid: &str) -> Result<Option<u64>, StoreError> {
        blocking(|| self.0.seq_of(rid))
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>, StoreError> {
        blocking(|| self.0.node(level, index))
    }

    fn sides(&self, seq: u64) -> Result<Vec<Side>, StoreError> {
        blocking(|| self.0.sides(seq))
    }

    fn erase(&self, seq: u64, field: &str) -> Result<bool, StoreError> {
        blocking(|| self.0.erase(seq, field))
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        blocking(|| self.0.generations())
    }

    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        blocking(|| self.0.consumed_by(digest))
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        blocking(|| self.0.put_blob(bytes))
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        blocking(|| self.0.get_blob(digest))
    }

    fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError> {
        blocking(|| self.0.blob_digests(after, limit))
    }

    fn acquire(&self, resources: &[String], holder: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        blocking(|| self.0.acquire(resources, holder, ttl))
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        blocking(|| self.0.renew(lease, ttl))
    }

    fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        blocking(|| self.0.release(lease))
    }

    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        blocking(|| self.0.leases())
    }

    fn epoch(&self) -> Result<u64, StoreError> {
        blocking(|| self.0.epoch())
    }

    fn damage(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        blocking(|| self.0.damage(limit))
    }
}
