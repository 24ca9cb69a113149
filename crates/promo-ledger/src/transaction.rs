//! What every store does in the same way: the checks and writes of an append, and leases. A store gives the rows, within
//! one transaction of its own; nothing here knows where they are.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use promo_core::ids::{EnvironmentName, PipelineName};
use promo_core::ledger::{Draft, Event, Record};
use promo_core::{Digest, canonical};

use crate::error::{AppendError, By, Generation, LeaseError, StoreError};
use crate::store::{Expect, Fence, GENERATION_KINDS, Head, Lease, MAX_RECORD_BYTES, RawRecord, Side, required};
use crate::tree::{Frontier, Node, leaf_hash};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The rows of a store inside one transaction that excludes every other writer.
pub(crate) trait Rows {
    fn now(&self) -> Result<Timestamp>;
    fn head(&self) -> Result<Head>;
    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>>;
    fn seq_of(&self, rid: &str) -> Result<Option<u64>>;
    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>>;
    fn sides(&self, seq: u64) -> Result<Vec<Side>>;
    fn generation(&self, pipeline: &PipelineName, environment: &EnvironmentName) -> Result<Option<Generation>>;
    fn generations(&self) -> Result<Vec<Generation>>;
    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>>;
    /// The lease row of a resource, whether or not it has expired; none when it is free.
    fn lease(&self, resource: &str) -> Result<Option<Lease>>;
    /// Every lease row that has not expired, by resource.
    fn leases(&self) -> Result<Vec<Lease>>;
    /// The highest epoch that was given out.
    fn epoch(&self) -> Result<u64>;
    fn salt(&self, rid: &str, field: &str) -> Result<[u8; 32]>;

    fn put_record(&mut self, raw: RawRecord) -> Result<()>;
    fn put_node(&mut self, node: Node) -> Result<()>;
    fn put_side(&mut self, seq: u64, side: Side) -> Result<()>;
    fn put_generation(&mut self, generation: Generation) -> Result<()>;
    fn put_consumed(&mut self, digest: Digest, seq: u64) -> Result<()>;
    fn put_head(&mut self, head: Head) -> Result<()>;
    /// Sets the lease row of one resource.
    fn put_lease(&mut self, resource: &str, holder: &str, epoch: u64, expires: Timestamp) -> Result<()>;
    fn free_lease(&mut self, resource: &str) -> Result<()>;
    /// Counts the ledger's epoch up and returns it.
    fn next_epoch(&mut self) -> Result<u64>;
}

fn one(rows: &dyn Rows, seq: u64) -> Result<Record> {
    match rows.raw(seq, 1)?.first() {
        Some(raw) if raw.seq == seq => raw.parse(),
        _ => Err(StoreError::damaged(format!("record {seq}"), "a record", "nothing")),
    }
}

fn by(rows: &dyn Rows, seq: u64) -> Result<By> {
    let record = one(rows, seq)?;
    Ok(By { seq, run: record.run, actor: record.actor.name })
}

pub(crate) fn append(rows: &mut dyn Rows, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError> {
    check_drafts(expect, drafts)?;
    if let Some(standing) = standing(rows, drafts)? {
        return Ok(standing);
    }
    let head = rows.head()?;
    let now = rows.now()?;
    let consume = check(rows, expect, drafts, &head, now)?;

    // Everything that can be refused has been by now: a store without rollback stays whole.
    let first = head.size;
    let mut prepared = Vec::with_capacity(drafts.len());
    let mut prev = head.last;
    for (seq, draft) in (first..).zip(drafts) {
        let (record, bytes, sides) = prepare(rows, draft, seq, prev, now)?;
        prev = Digest::of(&bytes);
        prepared.push((record, bytes, sides));
    }
    let mut frontier = Frontier::load(head.size, |level, index| required(rows.node(level, index)?, level, index))?;
    if frontier.root() != head.root {
        return Err(StoreError::damaged("the tree", head.root, frontier.root()).into());
    }
    let mut records = Vec::with_capacity(prepared.len());
    for (record, bytes, sides) in prepared {
        for node in frontier.push(leaf_hash(&bytes)) {
            rows.put_node(node)?;
        }
        rows.put_record(RawRecord { seq: record.seq, rid: record.rid.clone(), bytes })?;
        for side in sides {
            rows.put_side(record.seq, side)?;
        }
        if let Some(environment) = moved(&record) {
            let before = rows.generation(&record.pipeline, environment)?.map_or(0, |g| g.value);
            rows.put_generation(Generation {
                pipeline: record.pipeline.clone(),
                environment: environment.clone(),
                value: before + 1,
                seq: record.seq,
            })?;
        }
        records.push(record);
    }
    for (digest, offset) in consume {
        rows.put_consumed(digest, first + offset)?;
    }
    rows.put_head(Head { size: frontier.size(), root: frontier.root(), last: prev })?;
    Ok(records)
}

/// The environment whose generation a record counts up.
pub(crate) fn moved(record: &Record) -> Option<&EnvironmentName> {
    record.environment.as_ref().filter(|_| GENERATION_KINDS.contains(&record.kind.as_str()))
}

fn check_drafts(expect: &Expect, drafts: &[Draft]) -> Result<(), AppendError> {
    let invalid = |rid: &str, why: &str| Err(AppendError::InvalidDraft { rid: rid.into(), why: why.into() });
    let Some(first) = drafts.first() else {
        return if expect.consume.is_empty() && expect.generation.is_empty() {
            Ok(())
        } else {
            invalid("", "an append without records can neither consume nor name generations")
        };
    };
    let mut rids = BTreeSet::new();
    for draft in drafts {
        if draft.rid.is_empty() || draft.rid.len() > 128 {
            return invalid(&draft.rid, "its id must have 1 to 128 bytes");
        }
        if !rids.insert(&draft.rid) {
            return invalid(&draft.rid, "its id stands twice in one append");
        }
        if draft.pipeline != first.pipeline {
            return invalid(&draft.rid, "one append writes to one pipeline");
        }
        if matches!(draft.event, Event::Unknown) {
            return invalid(&draft.rid, "an unknown kind may be read, never written");
        }
    }
    Ok(())
}

/// The records of these drafts, if they were appended before.
fn standing(rows: &dyn Rows, drafts: &[Draft]) -> Result<Option<Vec<Record>>, AppendError> {
    let mut records = Vec::new();
    let mut missing = false;
    for draft in drafts {
        let Some(seq) = rows.seq_of(&draft.rid)? else {
            missing = true;
            continue;
        };
        let record = one(rows, seq)?;
        let taken = |differs: &str| AppendError::RidTaken { rid: draft.rid.clone(), seq, differs: differs.into() };
        if let Some(field) = difference(&record, draft, &rows.sides(seq)?) {
            return Err(taken(field));
        }
        if missing || records.last().is_some_and(|last: &Record| last.seq + 1 != seq) {
            return Err(taken("batch"));
        }
        records.push(record);
    }
    match records.last() {
        None => Ok(None),
        Some(last) if missing => {
            Err(AppendError::RidTaken { rid: last.rid.clone(), seq: last.seq, differs: "batch".into() })
        }
        Some(_) => Ok(Some(records)),
    }
}

fn difference(record: &Record, draft: &Draft, sides: &[Side]) -> Option<&'static str> {
    let (kind, body) = draft.event.to_parts();
    let same = [
        ("pipeline", record.pipeline == draft.pipeline),
        ("kind", record.kind == kind),
        ("body", record.body == body),
        ("environment", record.environment == draft.environment),
        ("run", record.run == draft.run),
        ("step", record.step == draft.step),
        ("epoch", record.epoch == draft.epoch),
        ("plan", record.plan == draft.plan),
        ("policy", record.policy == draft.policy),
        ("actor", record.actor == draft.actor),
        ("claimed_at", record.claimed_at == draft.claimed_at),
        ("tool", record.tool == draft.tool),
        ("private", record.commitments.keys().eq(draft.private.keys())),
        ("private", sides.iter().all(|side| draft.private.get(&side.field) == Some(&side.text))),
    ];
    same.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

/// Checks every expectation, and returns what is consumed with the offset of the consuming draft.
fn check(
    rows: &dyn Rows,
    expect: &Expect,
    drafts: &[Draft],
    head: &Head,
    now: Timestamp,
) -> Result<Vec<(Digest, u64)>, AppendError> {
    for fence in &expect.fences {
        if let Some((resource, found)) = lost(rows, fence, now)? {
            return Err(AppendError::EpochLost { resource, epoch: fence.epoch, found });
        }
    }
    let mut consume: Vec<(Digest, u64)> = Vec::new();
    let named = (0..).zip(drafts).flat_map(|(offset, draft)| consumes(draft).into_iter().map(move |d| (d, offset)));
    for (digest, offset) in named.chain(expect.consume.iter().map(|digest| (*digest, 0))) {
        if !consume.iter().any(|(known, _)| *known == digest) {
            consume.push((digest, offset));
        }
    }
    for digest in expect.unconsumed.iter().chain(consume.iter().map(|(digest, _)| digest)) {
        if let Some(seq) = rows.consumed_by(digest)? {
            return Err(AppendError::AlreadyConsumed { digest: *digest, by: by(rows, seq)? });
        }
    }
    for (environment, &expected) in &expect.generation {
        let pipeline = &drafts.first().expect("invariant: generations come with drafts").pipeline;
        let found = rows.generation(pipeline, environment)?;
        let value = found.as_ref().map_or(0, |g| g.value);
        if value != expected {
            let by = found.map(|g| by(rows, g.seq)).transpose()?;
            return Err(AppendError::GenerationMoved { environment: environment.clone(), expected, found: value, by });
        }
    }
    match expect.head {
        Some(expected) if expected != head.size => Err(AppendError::HeadMoved { expected, found: head.size }),
        _ => Ok(consume),
    }
}

/// What a draft consumes by being written: the plan and the approvals of a run that starts.
fn consumes(draft: &Draft) -> Vec<Digest> {
    match &draft.event {
        Event::RunStarted { approvals, .. } => draft.plan.iter().chain(approvals).copied().collect(),
        _ => Vec::new(),
    }
}

/// The same, of a record.
pub(crate) fn consumed(record: &Record, event: &Event) -> Vec<Digest> {
    match event {
        Event::RunStarted { approvals, .. } => record.plan.iter().chain(approvals).copied().collect(),
        _ => Vec::new(),
    }
}

fn prepare(
    rows: &dyn Rows,
    draft: &Draft,
    seq: u64,
    prev: Digest,
    now: Timestamp,
) -> Result<(Record, Vec<u8>, Vec<Side>), AppendError> {
    let mut sides = Vec::new();
    for (field, text) in &draft.private {
        let salt = rows.salt(&draft.rid, field)?;
        sides.push(Side { field: field.clone(), salt, text: text.clone() });
    }
    let commitments = sides.iter().map(|side| (side.field.clone(), side.commitment())).collect();
    let record = draft.record(seq, prev, now, commitments);
    let invalid = |why: String| AppendError::InvalidDraft { rid: draft.rid.clone(), why };
    let bytes = canonical::to_vec(&record).map_err(|error| invalid(error.to_string()))?;
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(invalid(format!("it has {} bytes, at most {MAX_RECORD_BYTES} are allowed", bytes.len())));
    }
    let texts: usize = sides.iter().map(|side| side.text.len()).sum();
    if texts > MAX_RECORD_BYTES {
        return Err(invalid(format!("the texts beside it have {texts} bytes, at most {MAX_RECORD_BYTES} are allowed")));
    }
    Ok((record, bytes, sides))
}

/// The first resource of a fence that is no longer held, and who has it now.
fn lost(rows: &dyn Rows, fence: &Fence, now: Timestamp) -> Result<Option<(String, Option<Lease>)>> {
    for resource in &fence.resources {
        let found = rows.lease(resource)?.filter(|lease| lease.expires > now);
        if found.as_ref().is_none_or(|lease| lease.epoch != fence.epoch || lease.holder != fence.holder) {
            return Ok(Some((resource.clone(), found)));
        }
    }
    Ok(None)
}

pub(crate) fn acquire(
    rows: &mut dyn Rows,
    resources: &[String],
    holder: &str,
    ttl: Duration,
) -> Result<Lease, LeaseError> {
    let now = rows.now()?;
    let mut kept = BTreeSet::new();
    for resource in resources {
        match rows.lease(resource)?.filter(|lease| lease.expires > now) {
            Some(lease) if lease.holder != holder => {
                return Err(LeaseError::Held {
                    resource: resource.clone(),
                    holder: lease.holder,
                    expires: lease.expires,
                });
            }
            Some(lease) => kept.insert(Some(lease.epoch)),
            None => kept.insert(None),
        };
    }
    let epoch = match kept.first() {
        Some(&Some(epoch)) if kept.len() == 1 => epoch,
        _ => rows.next_epoch()?,
    };
    write_lease(rows, resources, holder, epoch, now, ttl).map_err(LeaseError::from)
}

pub(crate) fn renew(rows: &mut dyn Rows, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
    let now = rows.now()?;
    match lost(rows, &lease.fence(), now)? {
        Some((resource, found)) => Err(LeaseError::Lost { resource, epoch: lease.epoch, found }),
        None => Ok(write_lease(rows, &lease.resources, &lease.holder, lease.epoch, now, ttl)?),
    }
}

pub(crate) fn release(rows: &mut dyn Rows, lease: &Lease) -> Result<(), LeaseError> {
    for resource in &lease.resources {
        let found = rows.lease(resource)?;
        if found.is_some_and(|found| found.epoch == lease.epoch && found.holder == lease.holder) {
            rows.free_lease(resource)?;
        }
    }
    Ok(())
}

fn write_lease(
    rows: &mut dyn Rows,
    resources: &[String],
    holder: &str,
    epoch: u64,
    now: Timestamp,
    ttl: Duration,
) -> Result<Lease> {
    // Milliseconds, because that is what stores keep: a lease reads back as it was given.
    let ttl = SignedDuration::from_millis(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let expires = now.saturating_add(ttl).expect("invariant: adding an absolute duration saturates");
    for resource in resources {
        rows.put_lease(resource, holder, epoch, expires)?;
    }
    Ok(Lease { resources: resources.to_vec(), holder: holder.to_owned(), epoch, expires })
}
