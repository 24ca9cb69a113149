//! What people say about plans: signed statements. Authority comes from the signatures inside, never from a
//! record being there (S12.3).

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::{
    Decision, Envelope, Fingerprint, LedgerRef, MAX_LIFETIME, PolicyRef, Statement, StatementError, StatementKind,
    VerifiedApproval, grant_until,
};
use promo_core::clock::MAX_SKEW;
use promo_core::ids::{ArtifactName, RoleName};
use promo_core::ledger::Event;
use promo_core::ledger::event::Movement;
use promo_core::ledger::record::REASON;
use promo_core::plan::Document;
use promo_core::windows::{Action, Query};

use crate::apply::precheck::Use;
use crate::approvals::{Weighed, signed_move};
use crate::error::EngineError;
use crate::session::{Governance, Session};
use crate::signature::{self, SignatureError};

impl Session {
    /// The statement that an approver would sign about a plan.
    ///
    /// # Errors
    /// When the ledger cannot be read or no random bytes are to be had; [`EngineError::Elsewhere`], [`EngineError::Spent`] and
    /// [`EngineError::Stale`] for a yes to a plan on which nobody decides here, or any more, or of which an input has changed
    /// ([`Session::unchanged`]); [`EngineError::RequestUnsigned`] for one that would not count because nobody signed a request.
    pub fn statement(
        &self,
        document: &Document,
        digest: Digest,
        decision: Decision,
        role: RoleName,
        key: Fingerprint,
    ) -> Result<Statement, EngineError> {
        if document.body.moves.is_empty() {
            return Err(EngineError::Invalid("the plan moves nothing: there is nothing to approve".into()));
        }
        if decision == Decision::Approve {
            self.ruled_here(&document.body)?;
            let (view, now) = (self.view()?, self.present()?);
            match self.unspent(&document.body, &digest, &view, now, Use::Apply) {
                // Whether time is up is judged again when it is applied.
                Ok(()) | Err(EngineError::Undated { .. }) => {}
                Err(spent) => return Err(spent),
            }
            // What cannot be read here is judged where the plan is applied.
            if let Err(stale @ EngineError::Stale { .. }) = self.unchanged(document) {
                return Err(stale);
            }
            self.needs_signed_request(&digest, document.body.moves.iter().map(|m| &m.environment))?;
        }
        let now = self.now()?;
        let head = self.store.head()?;
        // Whole seconds: that is what the signed text carries.
        let at = |t: Timestamp| Timestamp::from_second(t.as_second()).unwrap_or(t);
        Ok(Statement {
            kind: StatementKind::V1,
            decision,
            ledger: LedgerRef { origin: self.store.origin(), checkpoint_size: head.size, checkpoint_root: head.root },
            plan: digest,
            pipeline: self.governance.pipeline.name.clone(),
            environments: document.body.moves.iter().map(signed_move).collect(),
            policy: self.governance.policy.as_ref().map(|p| PolicyRef {
                name: p.name.clone(),
                version: p.version,
                digest: p.digest,
            }),
            role,
            not_before: at(now),
            expires: at(self.grant_until(document, now)),
            nonce: signature::nonce().map_err(|e| EngineError::Approval(e.to_string()))?,
            key,
            breakglass: None,
        })
    }

    /// Until when a grant of this plan is valid (S6.5): as long as the environment that allows least lets it.
    fn grant_until(&self, document: &Document, now: Timestamp) -> Timestamp {
        let Governance { pipeline, windows, .. } = &*self.governance;
        let artifacts: Vec<&str> = pipeline.artifacts.keys().map(ArtifactName::as_str).collect();
        let until = document.body.moves.iter().map(|entry| {
            let levels = windows.get(&entry.environment).map_or(&[][..], Vec::as_slice);
            let action = match entry.movement {
                Movement::Promotion | Movement::Reconfiguration => Action::Promote,
                Movement::Rollback => Action::Rollback,
            };
            let (environment, invoker) = (entry.environment.as_str(), document.body.request.invoker);
            grant_until(levels, &Query { environment, artifacts: &artifacts, action, invoker }, now)
        });
        until.min().unwrap_or(now)
    }

    /// Takes a signed statement into the ledger, judged by [`Session::weigh`] over the very records that it is appended to.
    /// The reason that was given is kept beside the record: no signature covers it.
    ///
    /// # Errors
    /// As [`Session::weigh`], and what the ledger says.
    pub fn record_approval(
        &self,
        document: &Document,
        digest: &Digest,
        envelope: &Envelope,
        beside: &[Envelope],
        reason: Option<&str>,
    ) -> Result<Weighed, EngineError> {
        let value = serde_json::to_value(envelope).map_err(|e| EngineError::Approval(e.to_string()))?;
        let mut draft = self.draft(Event::ApprovalRecorded { envelope: value });
        draft.plan = Some(*digest);
        draft.private.extend(reason.map(|reason| (REASON.to_owned(), reason.to_owned())));
        self.append_judged(draft, |view| self.weigh(view, document, digest, envelope, beside))
    }

    /// A statement that may be recorded about this plan: its signature holds, it is for this plan and ledger, in a role
    /// of its signer's, and grants nothing beyond the longest time from now (S6.5).
    pub(crate) fn verified_for(&self, digest: &Digest, envelope: &Envelope) -> Result<VerifiedApproval, EngineError> {
        let fact = signature::verify(envelope, &self.governance.roster).map_err(|error| match error {
            SignatureError::Statement(StatementError::Newer(newer)) => EngineError::Newer(newer),
            error => EngineError::Approval(error.to_string()),
        })?;
        let statement = fact.statement();
        if statement.plan != *digest {
            return Err(EngineError::Approval(format!("it is about {}: expected {digest}", statement.plan)));
        }
        if statement.ledger.origin != self.store.origin() {
            return Err(EngineError::Approval(format!("it is for the ledger {}", statement.ledger.origin)));
        }
        if !fact.roles().contains(&statement.role) {
            let (who, role) = (fact.identity(), &statement.role);
            return Err(EngineError::Approval(format!("{who} does not hold the role {role}")));
        }
        let latest = self.now()?.saturating_add(MAX_LIFETIME.saturating_add(MAX_SKEW)).unwrap_or(Timestamp::MAX);
        if statement.expires > latest {
            return Err(EngineError::Approval(format!(
                "it expires at {}: expected {latest} at most",
                statement.expires
            )));
        }
        Ok(fact)
    }
}
