//! The contract of a store. What must not live here: how any store keeps its rows, and what records mean.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::canonical;
use promo_core::ids::{EnvironmentName, PipelineName};
use promo_core::ledger::record::FORMAT;
use promo_core::ledger::{Draft, Record};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{AppendError, Generation, LeaseError, StoreError};
use crate::tree;

/// The kinds that count into an environment's *generation*: what a plan for it must not find moved (S8.2). Verdicts,
/// health, freezes and requests leave it alone.
pub const GENERATION_KINDS: [&str; 3] = ["promotion.started", "environment.deployed", "promotion.finished"];

/// The largest record, in bytes of its canonical form.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Where a ledger ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many records there are.
    pub size: u64,
    /// The RFC 6962 tree hash over their canonical bytes.
    pub root: Digest,
    /// Digest of the last record's canonical bytes; of the origin's text when there is none.
    pub last: Digest,
}

/// A ledger at one moment, small enough to be kept by others: plans embed it, and later ledgers must extend it (S12.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Which ledger.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// Its tree hash then.
    pub root: Digest,
}

/// What must be true for an append to happen; the default expects nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expect {
    /// Generations that must be equal, of environments of the drafts' pipeline.
    pub generation: BTreeMap<EnvironmentName, u64>,
    /// Leases that must be held, with these very epochs, and not have expired in the store's time.
    pub fences: Vec<Fence>,
    /// Digests of plans and approvals that must not have been consumed.
    pub unconsumed: Vec<Digest>,
    /// Digests that this append consumes; they must not have been consumed either. What a `run.started` draft names, its
    /// plan and its approvals, is consumed whether or not it stands here.
    pub consume: Vec<Digest>,
    /// The size that the ledger must still have.
    pub head: Option<u64>,
}

/// Proof of a lease, checked within the transaction of an append (S9.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The resources that must be held.
    pub resources: Vec<String>,
    /// By whom.
    pub holder: String,
    /// Under which epoch.
    pub epoch: u64,
}

/// A lease on resources, taken together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is leased: environments and claimed targets, in the caller's spelling.
    pub resources: Vec<String>,
    /// Who holds it: names one activity of one process, because the same holder may take its own leases over.
    pub holder: String,
    /// Grows with every acquisition in this ledger, so that a later one always outranks an earlier one.
    pub epoch: u64,
    /// Until when it holds unless renewed, in the store's time.
    pub expires: Timestamp,
}

impl Lease {
    /// What an append under this lease has to expect.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { resources: self.resources.clone(), holder: self.holder.clone(), epoch: self.epoch }
    }
}

/// A record as it stands in the store, before anything is believed about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its position, as the store indexes it.
    pub seq: u64,
    /// Its id, as the store indexes it.
    pub rid: String,
    /// Its canonical bytes: what is hashed.
    pub bytes: Vec<u8>,
}

impl RawRecord {
    /// The record, if its bytes are canonical and of a format that this version knows.
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`], or [`StoreError::Integrity`] naming the record.
    pub fn parse(&self) -> Result<Record, StoreError> {
        let damaged =
            |expected: String, found: String| StoreError::damaged(format!("record {}", self.seq), expected, found);
        match canonical::from_slice::<Record>(&self.bytes) {
            Ok(record) if record.format == FORMAT => Ok(record),
            // Also one that looks like a record of this format: its number says that something in it means something else.
            Ok(record) if record.format > FORMAT => Err(newer(record.format.into())),
            Ok(record) => Err(damaged(format!("format {FORMAT}"), format!("format {}", record.format))),
            Err(error) => {
                #[derive(Deserialize)]
                struct Format {
                    format: u64,
                }
                match serde_json::from_slice::<Format>(&self.bytes) {
                    Ok(Format { format }) if format > u64::from(FORMAT) => Err(newer(format)),
                    _ => Err(damaged("a canonical record".into(), error.to_string())),
                }
            }
        }
    }
}

fn newer(found: u64) -> StoreError {
    StoreError::NewerFormat { found, known: FORMAT.into() }
}

/// A text that belongs to a record but stays out of its leaf (S12.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The field of [`Draft::private`] and of [`Record::commitments`].
    pub field: String,
    /// Random bytes that keep a short text from being guessed from its commitment.
    pub salt: [u8; 32],
    /// The text.
    pub text: String,
}

impl Side {
    /// The commitment that stands in the leaf: SHA-256 over salt and text.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(self.salt);
        hasher.update(self.text.as_bytes());
        Digest::from_bytes(hasher.finalize().into())
    }
}

/// A ledger. All methods block; all times are the store's own; every method is one transaction.
pub trait Store: Send + Sync {
    /// The text that names this ledger for good; the first record's `prev` is its digest.
    fn origin(&self) -> String;

    /// Where it ends.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn head(&self) -> Result<Head, StoreError>;

    /// The store's time, to the millisecond at least: the time that windows and soak go by (S12.6).
    ///
    /// # Errors
    /// When the store cannot be read.
    fn now(&self) -> Result<Timestamp, StoreError>;

    /// Appends all drafts if everything that is expected holds, and nothing otherwise: the only write of records (S12.3).
    ///
    /// Drafts whose ids stand in the ledger already, as a batch and with the same content, are returned as they stand and
    /// nothing is checked: this is how a commit whose reply was lost is repeated.
    ///
    /// # Errors
    /// See [`AppendError`]: which expectation failed, and against what.
    fn append_if_head(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError>;

    /// At most `limit` records from position `from` on, in order, as they stand.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError>;

    /// The position of the record with this id.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn seq_of(&self, rid: &str) -> Result<Option<u64>, StoreError>;

    /// A complete node of the tree (see [`tree`]), or none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>, StoreError>;

    /// The texts beside a record that were not erased.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn sides(&self, seq: u64) -> Result<Vec<Side>, StoreError>;

    /// Erases a text beside a record for good; the leaf and its proofs stay as they are (S12.5). Whether there was one.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn erase(&self, seq: u64, field: &str) -> Result<bool, StoreError>;

    /// Every generation counter that is not 0, by pipeline and environment.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn generations(&self) -> Result<Vec<Generation>, StoreError>;

    /// The record that consumed a plan or approval.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>, StoreError>;

    /// Keeps bytes under their digest (S2.4).
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError>;

    /// The bytes with this digest, if they are kept.
    ///
    /// # Errors
    /// [`StoreError::Integrity`] when what is kept has another digest.
    fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` digests of kept blobs above `after`, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError>;

    /// Takes a lease on all the resources, or on none. A holder that has exactly these, unexpired, keeps its epoch and
    /// gets a new expiry; any other acquisition gets a higher epoch, which fences off what went before.
    ///
    /// # Errors
    /// [`LeaseError::Held`] naming the first resource that someone else holds.
    fn acquire(&self, resources: &[String], holder: &str, ttl: Duration) -> Result<Lease, LeaseError>;

    /// Moves the expiry of a lease to `ttl` from now.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when it has expired or is another's.
    fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError>;

    /// Gives a lease back. What of it was lost meanwhile is left alone, so this can be repeated.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn release(&self, lease: &Lease) -> Result<(), LeaseError>;

    /// The highest epoch that was given to a lease so far; 0 before the first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn epoch(&self) -> Result<u64, StoreError>;

    /// Every resource that is held now, each as a lease of its own, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// What is wrong with how the rows are kept, whatever they say: in words, each with its place, at most `limit` of them.
    /// Reads all that is stored.
    ///
    /// # Errors
    /// [`StoreError::Integrity`] when the damage keeps it from looking further, and what hinders reading.
    fn damage(&self, limit: usize) -> Result<Vec<String>, StoreError>;

    /// At most `limit` records from position `from` on, in order.
    ///
    /// # Errors
    /// [`StoreError::Integrity`] or [`StoreError::NewerFormat`] for one that cannot be understood.
    fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.raw(from, limit)?.iter().map(RawRecord::parse).collect()
    }

    /// The texts beside a record by field; none for one that was erased. The chain covers none of them, so that they can be
    /// erased: what the record commits to says which text it was.
    ///
    /// # Errors
    /// When the store cannot be read, and [`StoreError::Integrity`] for a text that the record does not commit to.
    fn texts(&self, seq: u64) -> Result<BTreeMap<String, Option<String>>, StoreError> {
        let sides = self.sides(seq)?;
        let committed = self.records(seq, 1)?.pop().filter(|record| record.seq == seq);
        let committed = committed.map(|record| record.commitments).unwrap_or_default();
        for side in &sides {
            let (expected, found) = (committed.get(&side.field), side.commitment());
            if expected != Some(&found) {
                return Err(StoreError::Integrity {
                    place: format!("the {} beside record {seq}", side.field),
                    expected: expected.map_or_else(|| "none".to_owned(), |digest| format!("commitment {digest}")),
                    found: format!("commitment {found}"),
                });
            }
        }
        let mut texts: BTreeMap<String, Option<String>> = committed.into_keys().map(|field| (field, None)).collect();
        texts.extend(sides.into_iter().map(|side| (side.field, Some(side.text))));
        Ok(texts)
    }

    /// The generation of an environment; 0 when nothing ever moved it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn generation(&self, pipeline: &PipelineName, environment: &EnvironmentName) -> Result<u64, StoreError> {
        let all = self.generations()?;
        Ok(all.iter().find(|g| g.pipeline == *pipeline && g.environment == *environment).map_or(0, |g| g.value))
    }

    /// The checkpoint of the ledger as it is now.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let head = self.head()?;
        Ok(Checkpoint { origin: self.origin(), size: head.size, root: head.root })
    }

    /// The proof that the ledger of `size` records extends that of its first `old`.
    ///
    /// # Errors
    /// [`StoreError::Integrity`] when a node is missing.
    fn consistency_proof(&self, old: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        tree::consistency_proof(old, size, |level, index| required(self.node(level, index)?, level, index))
    }

    /// The proof that record `seq` is in the ledger of `size` records.
    ///
    /// # Errors
    /// [`StoreError::Integrity`] when a node is missing.
    fn inclusion_proof(&self, seq: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        tree::inclusion_proof(seq, size, |level, index| required(self.node(level, index)?, level, index))
    }
}

pub(crate) fn required(node: Option<Digest>, level: u32, index: u64) -> Result<Digest, StoreError> {
    node.ok_or_else(|| StoreError::damaged(format!("tree node {level}/{index}"), "a hash", "nothing"))
}
