//! Verification: everything that a ledger says of itself, recomputed from the bytes of its records, in one pass and in
//! memory that does not grow with it. What must not live here: whether the events make sense together, and signatures.
//!
//! What verification can show has a limit: whoever can write the file can make a consistent ledger anew, or cut its end
//! off. That is found only against a [`Checkpoint`] that was kept elsewhere: [`verify_against`].

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use promo_core::clock::MAX_STEP_BACK;
use promo_core::ids::{EnvironmentName, PipelineName};
use promo_core::ledger::{Event, Record};
use promo_core::{Digest, canonical};
use serde_json::Value;

use crate::error::{Generation, StoreError};
use crate::store::{Checkpoint, Head, RawRecord, Store};
use crate::transaction::{consumed, moved};
use crate::tree::{self, Frontier, leaf_hash};

/// How many findings end a verification: more of them say nothing new.
pub const MAX_FINDINGS: usize = 100;

/// How many records are held in memory at once.
const BATCH: usize = 128;

/// What a green ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// How many records there are.
    pub records: u64,
    /// The tree hash over them, recomputed.
    pub root: Digest,
    /// Digest of the last record, recomputed.
    pub last: Digest,
    /// How many checkpoints it was compared with.
    pub checkpoints: usize,
    /// How many files are kept.
    pub blobs: u64,
    /// How many texts beside records are kept; the others were erased (S12.5).
    pub texts: u64,
    /// How many texts were erased.
    pub erased: u64,
    /// How many records have a newer format; their chain was verified, their content was not understood.
    pub newer: u64,
    /// How often the store's clock went back by more than [`MAX_STEP_BACK`]. A clock that was set is no forgery,
    /// since times are part of what is hashed, but it stops time gates (S12.6).
    pub clock_steps: u64,
    /// The first record after such a step.
    pub first_clock_step: Option<u64>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The record it is about, if it is about one.
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: What,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seq) = self.seq {
            write!(f, "record {seq}: ")?;
        }
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

/// What can be wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A record is missing.
    Missing,
    /// There are records beyond the end.
    Surplus,
    /// A record's bytes are not canonical, or not a record.
    Bytes,
    /// A record's own position is another than its place.
    Position,
    /// A record does not name its predecessor's digest.
    Previous,
    /// A record's id is another in the index, or stands twice.
    Rid,
    /// A record's body does not fit its kind.
    Body,
    /// A record's bytes do not have the hash that the tree has for them.
    Leaf,
    /// An inner node of the tree is not the hash of its children.
    Node,
    /// A text beside a record is not the one that the record is committed to.
    Commitment,
    /// A plan or approval that a run used does not count as used by it.
    Use,
    /// An environment's generation is not the number of records that moved it.
    Generation,
    /// The head does not say where the records end.
    Head,
    /// The highest epoch that was given out is below one that a record or a lease bears.
    Epoch,
    /// A kept file has another digest.
    Blob,
    /// The ledger does not extend a checkpoint.
    Checkpoint,
    /// A row cannot be read as what it should be.
    Row,
    /// The store keeps its rows in an order that is broken: a page, an index.
    Storage,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing record",
            Self::Surplus => "record beyond the end",
            Self::Bytes => "bytes",
            Self::Position => "position",
            Self::Previous => "previous digest",
            Self::Rid => "record id",
            Self::Body => "body",
            Self::Leaf => "leaf hash",
            Self::Node => "tree node",
            Self::Commitment => "text beside the record",
            Self::Use => "use of a plan or approval",
            Self::Generation => "generation",
            Self::Head => "head",
            Self::Epoch => "epoch",
            Self::Blob => "kept file",
            Self::Checkpoint => "checkpoint",
            Self::Row => "row",
            Self::Storage => "storage",
        })
    }
}

/// Why a ledger is not green.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not what it says it is. At most [`MAX_FINDINGS`], in the order of the records, never empty.
    #[error("the ledger does not verify: {}", first(.0))]
    Findings(Vec<Finding>),
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn first(findings: &[Finding]) -> String {
    match findings {
        [] => String::new(),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one} (and {} more)", rest.len()),
    }
}

/// Verifies a ledger against itself.
///
/// # Errors
/// [`VerifyError::Findings`] with what is wrong, [`VerifyError::Store`] when it cannot be read.
pub fn verify(store: &dyn Store) -> Result<VerifyReport, VerifyError> {
    verify_against(store, &[])
}

/// Verifies a ledger against itself and against checkpoints of it that were kept elsewhere.
///
/// # Errors
/// As [`verify`].
pub fn verify_against(store: &dyn Store, checkpoints: &[Checkpoint]) -> Result<VerifyReport, VerifyError> {
    verify_each(store, checkpoints, &mut |_| {})
}

/// A record in which nothing was found wrong.
#[derive(Debug)]
pub struct Sound<'a> {
    /// The record.
    pub record: &'a Record,
    /// Its event.
    pub event: Event,
    /// Digest of its canonical bytes.
    pub digest: Digest,
    /// Their hash as a leaf of the tree.
    pub leaf: Digest,
}

/// The same, and gives each sound record to `each`, in order: whoever wants to know what they say need not read them again.
/// Only when all is verified is any of them to be believed.
///
/// # Errors
/// As [`verify`].
pub fn verify_each(
    store: &dyn Store,
    checkpoints: &[Checkpoint],
    each: &mut dyn FnMut(Sound<'_>),
) -> Result<VerifyReport, VerifyError> {
    let origin = store.origin();
    let mut pass = Pass {
        store,
        checkpoints,
        each,
        frontier: Frontier::new(),
        previous: Some(Digest::of(origin.as_bytes())),
        time: None,
        generations: BTreeMap::new(),
        epoch: None,
        findings: Vec::new(),
        report: VerifyReport {
            records: 0,
            root: tree::empty_root(),
            last: Digest::of(origin.as_bytes()),
            checkpoints: checkpoints.len(),
            blobs: 0,
            texts: 0,
            erased: 0,
            newer: 0,
            clock_steps: 0,
            first_clock_step: None,
        },
    };
    for checkpoint in checkpoints.iter().filter(|checkpoint| checkpoint.origin != origin) {
        pass.find(None, What::Checkpoint, &checkpoint.origin, &origin);
    }
    pass.run()?;
    pass.storage()?;
    if pass.findings.is_empty() {
        return Ok(pass.report);
    }
    Err(VerifyError::Findings(pass.findings))
}

/// Whether the ledger, as its head stands, is an extension of `checkpoint`: a consistency proof is made and verified, and
/// no record is read (S8.2). It trusts the head; [`verify_against`] trusts nothing.
///
/// # Errors
/// As [`verify`].
pub fn extends(store: &dyn Store, checkpoint: &Checkpoint) -> Result<(), VerifyError> {
    let current = store.checkpoint()?;
    let refused = |expected: String, found: String| {
        Err(VerifyError::Findings(vec![Finding { seq: None, what: What::Checkpoint, expected, found }]))
    };
    if checkpoint.origin != current.origin {
        return refused(checkpoint.origin.clone(), current.origin);
    }
    if checkpoint.size > current.size {
        return refused(format!("at least {} records", checkpoint.size), current.size.to_string());
    }
    let proof = store.consistency_proof(checkpoint.size, current.size)?;
    if tree::verify_consistency(checkpoint.size, &checkpoint.root, current.size, &current.root, &proof) {
        return Ok(());
    }
    refused(format!("an extension of {} records with root {}", checkpoint.size, checkpoint.root), "another".to_owned())
}

struct Pass<'a> {
    store: &'a dyn Store,
    checkpoints: &'a [Checkpoint],
    each: &'a mut dyn FnMut(Sound<'_>),
    frontier: Frontier,
    /// Digest of the record before; none when that record is itself in doubt.
    previous: Option<Digest>,
    time: Option<Timestamp>,
    generations: BTreeMap<(PipelineName, EnvironmentName), (u64, u64)>,
    /// The highest epoch that a record bears, and the first that bears it.
    epoch: Option<(u64, u64)>,
    findings: Vec<Finding>,
    report: VerifyReport,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        self.compare_checkpoints();
        // Others may append meanwhile: what is counted is compared once it was read between two equal heads.
        loop {
            let Some(head) = self.soft(None, self.store.head())? else { return Ok(()) };
            if !self.records(head.size)? {
                return Ok(());
            }
            let generations = self.soft(None, self.store.generations())?;
            let surplus = self.soft(None, self.store.raw(head.size, 1))?;
            if self.soft(None, self.store.head())?.as_ref() != Some(&head) && self.findings.is_empty() {
                continue;
            }
            if let Some(raw) = surplus.iter().flatten().next() {
                self.find(Some(raw.seq), What::Surplus, format!("{} records", head.size), "another one");
            }
            self.head(&head);
            if let Some(generations) = generations {
                self.compare_generations(&generations);
            }
            self.compare_epoch()?;
            break;
        }
        let records = self.report.records;
        for checkpoint in self.checkpoints.iter().filter(|checkpoint| checkpoint.size > records) {
            self.find(None, What::Checkpoint, format!("at least {} records", checkpoint.size), records);
        }
        self.blobs()
    }

    /// What no row shows: a lock table that cannot be written, a free page that will be handed out twice.
    fn storage(&mut self) -> Result<(), StoreError> {
        if self.full() {
            return Ok(());
        }
        let damage = self.soft(None, self.store.damage(MAX_FINDINGS))?;
        for line in damage.into_iter().flatten() {
            self.find(None, What::Storage, "every page and index in order", line);
        }
        Ok(())
    }

    fn find(&mut self, seq: Option<u64>, what: What, expected: impl ToString, found: impl ToString) {
        if !self.full() {
            let (expected, found) = (expected.to_string(), found.to_string());
            self.findings.push(Finding { seq, what, expected, found });
        }
    }

    fn full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    /// Damage is a finding; only what hinders reading ends the verification.
    fn soft<T>(&mut self, seq: Option<u64>, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Integrity { place, expected, found }) => {
                self.find(seq, What::Row, expected, format!("{found} ({place})"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Verifies the records up to `size`, and says whether the end was reached.
    fn records(&mut self, size: u64) -> Result<bool, StoreError> {
        while self.report.records < size {
            if self.full() {
                return Ok(false);
            }
            let next = self.report.records;
            let limit = usize::try_from(size - next).unwrap_or(BATCH).min(BATCH);
            let batch = match self.store.raw(next, limit) {
                // One row that cannot be read hides its neighbours: find it alone.
                Err(StoreError::Integrity { .. }) => match self.soft(Some(next), self.store.raw(next, 1))? {
                    Some(one) => one,
                    None => {
                        self.skip(next)?;
                        continue;
                    }
                },
                batch => batch?,
            };
            if batch.is_empty() {
                self.find(Some(next), What::Missing, format!("{size} records"), format!("the end after {next}"));
                return Ok(false);
            }
            for raw in batch {
                while self.report.records < raw.seq.min(size) && !self.full() {
                    let missing = self.report.records;
                    self.find(Some(missing), What::Missing, format!("record {missing}"), format!("record {}", raw.seq));
                    self.skip(missing)?;
                }
                if raw.seq >= size || self.full() {
                    break;
                }
                self.record(&raw)?;
            }
        }
        Ok(true)
    }

    /// Goes past a record that cannot be read, with the hash that the tree has for it, so that the rest can be judged.
    fn skip(&mut self, seq: u64) -> Result<(), StoreError> {
        let leaf = self.soft(Some(seq), self.store.node(0, seq))?.flatten();
        self.frontier.push(leaf.unwrap_or_else(tree::empty_root));
        self.previous = None;
        self.report.records = seq + 1;
        self.compare_checkpoints();
        Ok(())
    }

    fn record(&mut self, raw: &RawRecord) -> Result<(), StoreError> {
        let (seq, before) = (raw.seq, self.findings.len());
        let mut read = None;
        match raw.parse() {
            Ok(record) => {
                let event = self.content(raw, &record)?;
                read = event.map(|event| (record, event));
            }
            Err(StoreError::NewerFormat { .. }) => {
                self.report.newer += 1;
                match canonical::from_slice::<Value>(&raw.bytes) {
                    Ok(value) => {
                        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
                        let position = value.get("seq").and_then(Value::as_u64);
                        self.place(raw, position, text("rid"), text("prev"))?;
                    }
                    Err(error) => self.find(Some(seq), What::Bytes, "canonical JSON", error),
                }
            }
            Err(StoreError::Integrity { expected, found, .. }) => {
                self.find(Some(seq), What::Bytes, expected, found);
            }
            Err(error) => return Err(error),
        }
        let (digest, leaf) = (Digest::of(&raw.bytes), leaf_hash(&raw.bytes));
        self.nodes(seq, leaf)?;
        self.report.last = digest;
        let sound = self.findings.len() == before;
        // A record in doubt says nothing about the next one.
        self.previous = sound.then_some(digest);
        self.report.records = seq + 1;
        if let Some((record, event)) = read.filter(|_| sound) {
            (self.each)(Sound { record: &record, event, digest, leaf });
        }
        self.compare_checkpoints();
        Ok(())
    }

    fn place(&mut self, raw: &RawRecord, seq: Option<u64>, rid: &str, prev: &str) -> Result<(), StoreError> {
        let place = Some(raw.seq);
        if seq != place {
            self.find(place, What::Position, raw.seq, seq.map_or("none".to_owned(), |seq| seq.to_string()));
        }
        if let Some(expected) = self.previous.filter(|expected| expected.to_string() != prev) {
            self.find(place, What::Previous, expected, prev);
        }
        if rid != raw.rid {
            self.find(place, What::Rid, rid, &raw.rid);
        } else if let Some(indexed) = self.soft(place, self.store.seq_of(rid))?
            && indexed != place
        {
            self.find(place, What::Rid, raw.seq, indexed.map_or("nothing".to_owned(), |seq| format!("record {seq}")));
        }
        Ok(())
    }

    /// Judges a record by what it says, and gives its event.
    fn content(&mut self, raw: &RawRecord, record: &Record) -> Result<Option<Event>, StoreError> {
        let seq = Some(raw.seq);
        self.place(raw, Some(record.seq), &record.rid, &record.prev.to_string())?;
        let event = match Event::from_parts(&record.kind, &record.body) {
            Ok(event) => {
                for digest in consumed(record, &event) {
                    let used = self.soft(seq, self.store.consumed_by(&digest))?;
                    if used.is_some_and(|used| used != seq) {
                        let found = used.flatten().map_or("nothing".to_owned(), |seq| format!("record {seq}"));
                        self.find(seq, What::Use, format!("{digest} used by record {}", raw.seq), found);
                    }
                }
                Some(event)
            }
            Err(error) => {
                self.find(seq, What::Body, format!("the body of {}", record.kind), error);
                None
            }
        };
        if let Some(environment) = moved(record) {
            let counter = self.generations.entry((record.pipeline.clone(), environment.clone())).or_default();
            *counter = (counter.0 + 1, raw.seq);
        }
        if let Some(sides) = self.soft(seq, self.store.sides(raw.seq))? {
            self.report.texts += sides.len() as u64;
            self.report.erased +=
                record.commitments.keys().filter(|field| !sides.iter().any(|s| s.field == **field)).count() as u64;
            for side in sides {
                match record.commitments.get(&side.field) {
                    Some(commitment) if *commitment == side.commitment() => {}
                    Some(commitment) => {
                        let expected = format!("{} with commitment {commitment}", side.field);
                        self.find(seq, What::Commitment, expected, side.commitment());
                    }
                    None => self.find(seq, What::Commitment, format!("no text for {}", side.field), "one"),
                }
            }
        }
        if let Some(epoch) = record.epoch.filter(|epoch| self.epoch.is_none_or(|(highest, _)| *epoch > highest)) {
            self.epoch = Some((epoch, raw.seq));
        }
        if self.time.is_some_and(|time| time.duration_since(record.recorded_at) > MAX_STEP_BACK) {
            self.report.clock_steps += 1;
            self.report.first_clock_step.get_or_insert(raw.seq);
        }
        self.time = Some(record.recorded_at);
        Ok(event)
    }

    /// Adds a leaf to the recomputed tree and compares the nodes that this completes with those of the store.
    fn nodes(&mut self, seq: u64, leaf: Digest) -> Result<(), StoreError> {
        for node in self.frontier.push(leaf) {
            let found = self.soft(Some(seq), self.store.node(node.level, node.index))?;
            let Some(found) = found.filter(|found| *found != Some(node.hash)) else { continue };
            // A node above something that is known to be wrong is wrong too, and that is no news.
            let covered = node.index << node.level..(node.index + 1) << node.level;
            let known = self.findings.iter().any(|finding| {
                matches!(finding.what, What::Leaf | What::Node | What::Missing)
                    && finding.seq.is_some_and(|seq| covered.contains(&seq))
            });
            if !known {
                let what = if node.level == 0 { What::Leaf } else { What::Node };
                self.find(Some(seq), what, node.hash, found.map_or("nothing".to_owned(), |hash| hash.to_string()));
            }
        }
        Ok(())
    }

    fn compare_checkpoints(&mut self) {
        let size = self.frontier.size();
        for checkpoint in self.checkpoints.iter().filter(|checkpoint| checkpoint.size == size) {
            let root = self.frontier.root();
            if checkpoint.root != root {
                let expected = format!("root {} of {size} records", checkpoint.root);
                self.find(size.checked_sub(1), What::Checkpoint, expected, root);
            }
        }
    }

    fn head(&mut self, head: &Head) {
        self.report.root = self.frontier.root();
        let last = (self.report.records == 0 || self.previous.is_some()).then_some(self.report.last);
        if head.root != self.report.root && !self.findings.iter().any(|finding| finding.seq.is_some()) {
            self.find(None, What::Head, format!("root {}", self.report.root), head.root);
        }
        if let Some(last) = last.filter(|last| *last != head.last) {
            self.find(None, What::Head, format!("last record {last}"), head.last);
        }
    }

    fn compare_generations(&mut self, stored: &[Generation]) {
        let stored: BTreeMap<_, _> =
            stored.iter().map(|g| ((g.pipeline.clone(), g.environment.clone()), (g.value, g.seq))).collect();
        let counted = std::mem::take(&mut self.generations);
        let say = |counter: Option<&(u64, u64)>| {
            counter.map_or("0".to_owned(), |(value, seq)| format!("{value}, moved last by record {seq}"))
        };
        for key @ (pipeline, environment) in
            counted.keys().chain(stored.keys().filter(|key| !counted.contains_key(*key)))
        {
            let (expected, found) = (counted.get(key), stored.get(key));
            if expected != found {
                let expected = format!("{environment} of {pipeline} at {}", say(expected));
                self.find(None, What::Generation, expected, say(found));
            }
        }
    }

    /// Whoever takes a lock gets the next epoch, which fences off who had it before: one that was given out already must not
    /// be given again. That it is too high is not seen and does no harm, since a lock may be taken without a record.
    fn compare_epoch(&mut self) -> Result<(), StoreError> {
        // In this order: an epoch that is given out meanwhile is above all that was seen before.
        let Some(leases) = self.soft(None, self.store.leases())? else { return Ok(()) };
        let Some(given) = self.soft(None, self.store.epoch())? else { return Ok(()) };
        if let Some((epoch, seq)) = self.epoch.filter(|(epoch, _)| *epoch > given) {
            self.find(Some(seq), What::Epoch, format!("{epoch} or more were given out"), given);
        }
        for lease in leases.iter().filter(|lease| lease.epoch > given) {
            let expected = format!("{} or more, that of the lock on {}", lease.epoch, lease.resources.join(", "));
            self.find(None, What::Epoch, expected, given);
        }
        Ok(())
    }

    fn blobs(&mut self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let Some(digests) = self.soft(None, self.store.blob_digests(after.as_ref(), BATCH))? else { return Ok(()) };
            let Some(last) = digests.last() else { return Ok(()) };
            after = Some(*last);
            for digest in &digests {
                match self.store.get_blob(digest) {
                    Err(StoreError::Integrity { expected, found, .. }) => {
                        self.find(None, What::Blob, expected, found);
                    }
                    other => drop(other?),
                }
                self.report.blobs += 1;
            }
            if self.full() {
                return Ok(());
            }
        }
    }
}
