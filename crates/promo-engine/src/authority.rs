//! Who let a plan in: the requests and the signed statements about it that the ledger holds, with their keys, as an auditor asks
//! for them. What must not live here: what they are worth; a plan that is not used yet is judged in `approvals`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::{Decision, Envelope, Fingerprint, NAMESPACE, Statement};
use promo_core::ids::{EnvironmentName, IdentityName, RoleName, RunId};
use promo_core::ledger::view::ApprovalEntry;
use promo_core::ledger::{Event, View};

use crate::error::EngineError;
use crate::requests::RequestStatement;
use crate::session::Session;
use crate::signature;
use crate::verdicts::Signed;

/// What people said about one plan, in ledger order.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The plan.
    pub plan: Digest,
    /// The run that used it.
    pub run: Option<RunId>,
    /// The environments that it moves.
    pub environments: BTreeSet<EnvironmentName>,
    /// Who asked for it.
    pub requests: Vec<Asked>,
    /// Who said yes or no, or took something back.
    pub statements: Vec<Stated>,
}

/// A record that asks for the approval of a plan.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When it was recorded.
    pub at: Timestamp,
    /// The name that whoever asked went by: a claim.
    pub name: String,
    /// Who signed it, as policy knows the key now, and with which key; none where nobody did, or the signature does not hold.
    pub signer: Option<(IdentityName, Fingerprint)>,
}

/// A record that carries a signed statement about a plan.
#[derive(Debug, Clone)]
pub struct Stated {
    /// When it was recorded.
    pub at: Timestamp,
    /// What was said.
    pub decision: Decision,
    /// In which role.
    pub role: RoleName,
    /// Until when it counts.
    pub until: Timestamp,
    /// The key that signed.
    pub key: Fingerprint,
    /// Whose key that is by the policy of now; none where policy knows it no longer, or it may not sign.
    pub identity: Option<IdentityName>,
    /// The reason that was given, which is not signed.
    pub reason: Option<String>,
    /// Whether the run that used the plan began with it (S6.6).
    pub used: bool,
}

impl Session {
    /// What people said about these plans. A statement that no signature bears out is nobody's, and left out: its record is
    /// named where it would have to count.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn authorities(
        &self,
        view: &View,
        plans: impl IntoIterator<Item = Digest>,
    ) -> Result<Vec<Authority>, EngineError> {
        let mut about: BTreeMap<Digest, Vec<&ApprovalEntry>> = BTreeMap::new();
        for entry in &view.approvals {
            entry.plan.into_iter().for_each(|plan| about.entry(plan).or_default().push(entry));
        }
        let told = plans.into_iter().map(|plan| {
            let run = view.consumed.get(&plan);
            let began = run.and_then(|run| view.runs.get(run));
            let request = view.requests.get(&plan);
            let used = began.map_or(&[][..], |run| &run.approvals);
            let mut statements = Vec::new();
            for entry in about.get(&plan).into_iter().flatten() {
                statements.extend(self.stated(&plan, entry, used)?);
            }
            let mut requests = Vec::new();
            for seq in request.into_iter().flat_map(|request| &request.records) {
                requests.extend(self.asked(view, *seq)?);
            }
            let moved = began.into_iter().flat_map(|run| run.environments.keys());
            let asked = request.into_iter().flat_map(|request| &request.environments);
            let environments = moved.chain(asked).cloned().collect();
            Ok(Authority { plan, run: run.cloned(), environments, requests, statements })
        });
        told.collect()
    }

    /// What a record says about this plan, if its signature holds.
    fn stated(&self, plan: &Digest, entry: &ApprovalEntry, used: &[Digest]) -> Result<Option<Stated>, EngineError> {
        let Ok(envelope) = serde_json::from_value::<Envelope>(entry.envelope.clone()) else { return Ok(None) };
        let bytes = envelope.statement.as_bytes();
        let (Ok(key), Ok(statement)) =
            (signature::signed_by(bytes, &envelope.signature, NAMESPACE), Statement::from_bytes(bytes))
        else {
            return Ok(None);
        };
        if statement.plan != *plan || statement.key != key || statement.ledger.origin != self.store.origin() {
            return Ok(None);
        }
        Ok(Some(Stated {
            at: entry.at,
            decision: statement.decision,
            role: statement.role,
            until: statement.expires,
            identity: self.governance.roster.by_key(&key).map(|(who, _)| who.name.clone()),
            key,
            reason: self.reason_given(entry.seq)?,
            used: used.contains(&Digest::of(bytes)),
        }))
    }

    /// Who asked by a record. Whether its signature holds was judged when the ledger was read.
    fn asked(&self, view: &View, seq: u64) -> Result<Option<Asked>, EngineError> {
        let Some(record) = self.store.records(seq, 1)?.pop() else { return Ok(None) };
        let Ok(Event::PlanRequested { initiator, by, signed, .. }) = Event::from_parts(&record.kind, &record.body)
        else {
            return Ok(None);
        };
        let holds = !view.uncounted.iter().any(|uncounted| uncounted.seq == seq);
        let signed = signed.filter(|_| holds).and_then(|signed| serde_json::from_value::<Signed>(signed).ok());
        let key = signed.and_then(|signed| RequestStatement::from_bytes(signed.statement.as_bytes()).ok());
        let signer = by.zip(key.map(|statement| statement.key));
        Ok(Some(Asked { at: record.recorded_at, name: initiator, signer }))
    }
}
