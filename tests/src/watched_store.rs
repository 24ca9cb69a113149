//! A ledger in front of which a test can stop every call: to look, to wait, or to fail. What must not live here: what
//! happens at a call.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ledger::{Draft, Record};
use promo_ledger::{AppendError, Expect, Generation, Head, Lease, LeaseError, RawRecord, Side, Store, StoreError};

/// What happens before a call; it is given the name of the method.
pub type Before = Box<dyn Fn(&'static str) + Send + Sync>;

/// What becomes of the bytes of a kept file on their way to whoever reads it.
pub type Read = Box<dyn Fn(&Digest, Vec<u8>) -> Option<Vec<u8>> + Send + Sync>;

/// A ledger with something in front of every call.
pub struct WatchedStore {
    /// The ledger.
    pub inner: Arc<dyn Store>,
    /// What happens before each of its calls.
    pub before: Before,
    /// What is read of kept files instead, where it is not what they are.
    pub read: Option<Read>,
}

impl WatchedStore {
    fn inner(&self, call: &'static str) -> &dyn Store {
        (self.before)(call);
        self.inner.as_ref()
    }
}

impl Store for WatchedStore {
    fn origin(&self) -> String {
        self.inner("origin").origin()
    }

    fn head(&self) -> Result<Head, StoreError> {
        self.inner("head").head()
    }

    fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner("now").now()
    }

    fn append_if_head(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError> {
        self.inner("append_if_head").append_if_head(expect, drafts)
    }

    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError> {
        self.inner("raw").raw(from, limit)
    }

    fn seq_of(&self, rid: &str) -> Result<Option<u64>, StoreError> {
        self.inner("seq_of").seq_of(rid)
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>, StoreError> {
        self.inner("node").node(level, index)
    }

    fn sides(&self, seq: u64) -> Result<Vec<Side>, StoreError> {
        self.inner("sides").sides(seq)
    }

    fn erase(&self, seq: u64, field: &str) -> Result<bool, StoreError> {
        self.inner("erase").erase(seq, field)
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.inner("generations").generations()
    }

    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.inner("consumed_by").consumed_by(digest)
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.inner("put_blob").put_blob(bytes)
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let kept = self.inner("get_blob").get_blob(digest)?;
        Ok(match &self.read {
            Some(read) => kept.and_then(|bytes| read(digest, bytes)),
            None => kept,
        })
    }

    fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError> {
        self.inner("blob_digests").blob_digests(after, limit)
    }

    fn acquire(&self, resources: &[String], holder: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        self.inner("acquire").acquire(resources, holder, ttl)
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        self.inner("renew").renew(lease, ttl)
    }

    fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.inner("release").release(lease)
    }

    fn epoch(&self) -> Result<u64, StoreError> {
        self.inner("epoch").epoch()
    }

    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.inner("leases").leases()
    }

    fn damage(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner("damage").damage(limit)
    }
}
