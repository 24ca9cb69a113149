//! A ledger in memory, for tests and for simulations over an injected clock: the same appends give the same bytes, its
//! salts included. It therefore hides nothing and survives nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::{EnvironmentName, PipelineName};
use promo_core::ledger::{Draft, Record};

use crate::error::{AppendError, Generation, LeaseError, StoreError};
use crate::store::{Expect, Head, Lease, RawRecord, Side, Store};
use crate::transaction::{self, Rows};
use crate::tree::{Node, empty_root};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Where a memory store takes its time from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A ledger in memory. Clones are handles of the same ledger.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

struct State {
    origin: String,
    clock: Clock,
    head: Head,
    epoch: u64,
    records: Vec<RawRecord>,
    rids: HashMap<String, u64>,
    nodes: HashMap<(u32, u64), Digest>,
    sides: BTreeMap<(u64, String), Side>,
    generations: BTreeMap<(PipelineName, EnvironmentName), Generation>,
    consumed: BTreeMap<Digest, u64>,
    leases: BTreeMap<String, Lease>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

impl MemoryStore {
    /// An empty ledger named `origin`, whose time is what `clock` says.
    #[must_use]
    pub fn new(origin: impl Into<String>, clock: Clock) -> Self {
        let origin = origin.into();
        let head = Head { size: 0, root: empty_root(), last: Digest::of(origin.as_bytes()) };
        Self {
            state: Arc::new(Mutex::new(State {
                origin,
                clock,
                head,
                epoch: 0,
                records: Vec::new(),
                rids: HashMap::new(),
                nodes: HashMap::new(),
                sides: BTreeMap::new(),
                generations: BTreeMap::new(),
                consumed: BTreeMap::new(),
                leases: BTreeMap::new(),
                blobs: BTreeMap::new(),
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Everything that can fail or panic happens before the first write, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryStore").field("origin", &state.origin).field("head", &state.head).finish_non_exhaustive()
    }
}

impl Rows for State {
    fn now(&self) -> Result<Timestamp> {
        Ok((self.clock)())
    }

    fn head(&self) -> Result<Head> {
        Ok(self.head.clone())
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>> {
        Ok(self.nodes.get(&(level, index)).copied())
    }

    fn seq_of(&self, rid: &str) -> Result<Option<u64>> {
        Ok(self.rids.get(rid).copied())
    }

    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(self.records.iter().skip(from).take(limit).cloned().collect())
    }

    fn sides(&self, seq: u64) -> Result<Vec<Side>> {
        let range = (seq, String::new())..(seq + 1, String::new());
        Ok(self.sides.range(range).map(|(_, side)| side.clone()).collect())
    }

    fn generation(&self, pipeline: &PipelineName, environment: &EnvironmentName) -> Result<Option<Generation>> {
        Ok(self.generations.get(&(pipeline.clone(), environment.clone())).cloned())
    }

    fn generations(&self) -> Result<Vec<Generation>> {
        Ok(self.generations.values().cloned().collect())
    }

    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.consumed.get(digest).copied())
    }

    fn lease(&self, resource: &str) -> Result<Option<Lease>> {
        Ok(self.leases.get(resource).cloned())
    }

    fn leases(&self) -> Result<Vec<Lease>> {
        let now = Rows::now(self)?;
        Ok(self.leases.values().filter(|lease| lease.expires > now).cloned().collect())
    }

    fn epoch(&self) -> Result<u64> {
        Ok(self.epoch)
    }

    fn salt(&self, rid: &str, field: &str) -> Result<[u8; 32]> {
        Ok(*Digest::of(format!("{}\0{rid}\0{field}", self.origin).as_bytes()).as_bytes())
    }

    fn put_record(&mut self, raw: RawRecord) -> Result<()> {
        self.rids.insert(raw.rid.clone(), raw.seq);
        self.records.push(raw);
        Ok(())
    }

    fn put_node(&mut self, node: Node) -> Result<()> {
        self.nodes.insert((node.level, node.index), node.hash);
        Ok(())
    }

    fn put_side(&mut self, seq: u64, side: Side) -> Result<()> {
        self.sides.insert((seq, side.field.clone()), side);
        Ok(())
    }

    fn put_generation(&mut self, generation: Generation) -> Result<()> {
        self.generations.insert((generation.pipeline.clone(), generation.environment.clone()), generation);
        Ok(())
    }

    fn put_consumed(&mut self, digest: Digest, seq: u64) -> Result<()> {
        self.consumed.insert(digest, seq);
        Ok(())
    }

    fn put_head(&mut self, head: Head) -> Result<()> {
        self.head = head;
        Ok(())
    }

    fn put_lease(&mut self, resource: &str, holder: &str, epoch: u64, expires: Timestamp) -> Result<()> {
        let lease = Lease { resources: vec![resource.to_owned()], holder: holder.to_owned(), epoch, expires };
        self.leases.insert(resource.to_owned(), lease);
        Ok(())
    }

    fn free_lease(&mut self, resource: &str) -> Result<()> {
        self.leases.remove(resource);
        Ok(())
    }

    fn next_epoch(&mut self) -> Result<u64> {
        self.epoch += 1;
        Ok(self.epoch)
    }
}

impl Store for MemoryStore {
    fn origin(&self) -> String {
        self.state().origin.clone()
    }

    fn head(&self) -> Result<Head> {
        Rows::head(&*self.state())
    }

    fn now(&self) -> Result<Timestamp> {
        Rows::now(&*self.state())
    }

    fn append_if_head(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError> {
        transaction::append(&mut *self.state(), expect, drafts)
    }

    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>> {
        Rows::raw(&*self.state(), from, limit)
    }

    fn seq_of(&self, rid: &str) -> Result<Option<u64>> {
        Rows::seq_of(&*self.state(), rid)
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>> {
        Rows::node(&*self.state(), level, index)
    }

    fn sides(&self, seq: u64) -> Result<Vec<Side>> {
        Rows::sides(&*self.state(), seq)
    }

    fn erase(&self, seq: u64, field: &str) -> Result<bool> {
        Ok(self.state().sides.remove(&(seq, field.to_owned())).is_some())
    }

    fn generations(&self) -> Result<Vec<Generation>> {
        Rows::generations(&*self.state())
    }

    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>> {
        Rows::consumed_by(&*self.state(), digest)
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.state().blobs.entry(digest).or_insert_with(|| bytes.to_vec());
        Ok(digest)
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        Ok(self.state().blobs.get(digest).cloned())
    }

    fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>> {
        let state = self.state();
        Ok(state.blobs.keys().filter(|digest| after.is_none_or(|after| *digest > after)).take(limit).copied().collect())
    }

    fn acquire(&self, resources: &[String], holder: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        transaction::acquire(&mut *self.state(), resources, holder, ttl)
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        transaction::renew(&mut *self.state(), lease, ttl)
    }

    fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        transaction::release(&mut *self.state(), lease)
    }

    fn leases(&self) -> Result<Vec<Lease>> {
        Rows::leases(&*self.state())
    }

    fn epoch(&self) -> Result<u64> {
        Rows::epoch(&*self.state())
    }

    fn damage(&self, _limit: usize) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
