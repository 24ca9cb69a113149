//! What the ledger says, read record by record and believed only where its bytes add up. What must not be here: a question to
//! it, and anything that is written.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ledger::event::{CLOCK_ACCEPTED, POLICY_ADOPTED};
use promo_core::ledger::view::{IllegalRecord, event_of};
use promo_core::ledger::{Event, Record, View};
use promo_ledger::tree::{Frontier, leaf_hash};
use promo_ledger::{Checkpoint, Store, StoreError};

use super::Governance;
use crate::error::EngineError;
use crate::verdicts;

/// The records read so far, folded and checked: nothing is decided from a ledger whose bytes do not add up.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) view: Arc<View>,
    last: Option<Digest>,
    /// Digests of the signed statements about checks, and about who applies, that counted: each counts once.
    pub(super) spoken: BTreeSet<Digest>,
    tree: Frontier,
    /// The root at the size that the trust file pins, once there were so many records.
    pinned: Option<Digest>,
    /// The latest time that this process saw the ledger's clock read since a record took it as it is.
    pub(super) seen: Option<Timestamp>,
}

impl Folded {
    /// Reads on to the present head: every record must follow the one before it, and all of them must give the root. They
    /// must extend the pinned checkpoint, at every reading: one that went wrong changes nothing for the next.
    pub(super) fn extend(&mut self, store: &dyn Store, governance: &Governance) -> Result<(), EngineError> {
        let head = store.head()?;
        let Some(pinned) = &governance.checkpoint else { return self.read(store, governance, head.size, &head.root) };
        let other = |size, root| {
            let found = Checkpoint { origin: store.origin(), size, root };
            EngineError::OtherLedger { expected: Box::new(pinned.clone()), found: Some(Box::new(found)) }
        };
        if store.origin() != pinned.origin || head.size < pinned.size {
            return Err(other(head.size, head.root));
        }
        self.read(store, governance, head.size, &head.root)?;
        match self.pinned {
            Some(root) if root == pinned.root => Ok(()),
            root => Err(other(pinned.size, root.unwrap_or(head.root))),
        }
    }

    /// Reads on until there are `size` records, which must give `root`.
    pub(super) fn read(
        &mut self,
        store: &dyn Store,
        governance: &Governance,
        size: u64,
        root: &Digest,
    ) -> Result<(), EngineError> {
        let origin = store.origin();
        while self.view.size < size {
            let limit = usize::try_from(size - self.view.size).unwrap_or(usize::MAX).min(1_000);
            let records = store.raw(self.view.size, limit)?;
            if records.is_empty() {
                return Err(damaged(size, &"a record", &"nothing").into());
            }
            for raw in records {
                let (record, digest, leaf) = (raw.parse()?, Digest::of(&raw.bytes), leaf_hash(&raw.bytes));
                self.take(&origin, governance, &record, (digest, leaf), || event_of(&record))?;
            }
        }
        if self.view.size != size || self.tree.root() != *root {
            return Err(damaged(size, root, &self.tree.root()).into());
        }
        Ok(())
    }

    /// Takes the next record in, with the digest of its bytes and their hash as a leaf. One that cannot follow changes nothing.
    pub(super) fn take(
        &mut self,
        origin: &str,
        governance: &Governance,
        record: &Record,
        (digest, leaf): (Digest, Digest),
        event: impl FnOnce() -> Result<Event, IllegalRecord>,
    ) -> Result<(), EngineError> {
        let last = self.last.unwrap_or_else(|| Digest::of(origin.as_bytes()));
        if record.seq != self.view.size || record.prev != last {
            let expected = format!("record {} after {last}", self.view.size);
            return Err(damaged(self.view.size, &expected, &format!("{} after {}", record.seq, record.prev)).into());
        }
        let everywhere = [POLICY_ADOPTED, CLOCK_ACCEPTED].contains(&record.kind.as_str());
        if record.pipeline == governance.pipeline.name || everywhere {
            let event = event()?;
            match verdicts::judge(governance, origin, &self.view, &self.spoken, record, &event) {
                Ok(statement) => {
                    Arc::make_mut(&mut self.view).apply_event(record, event)?;
                    self.spoken.extend(statement);
                    self.seen = self.seen.filter(|_| record.kind != CLOCK_ACCEPTED);
                }
                Err(why) => Arc::make_mut(&mut self.view).disregard(record, event, why)?,
            }
        } else {
            Arc::make_mut(&mut self.view).pass(record);
        }
        self.last = Some(digest);
        self.tree.push(leaf);
        if governance.checkpoint.as_ref().is_some_and(|pinned| pinned.size == self.view.size) {
            self.pinned = Some(self.tree.root());
        }
        Ok(())
    }
}

fn damaged(size: u64, expected: &dyn Display, found: &dyn Display) -> StoreError {
    let place = format!("the ledger of {size} records");
    StoreError::Integrity { place, expected: expected.to_string(), found: found.to_string() }
}
