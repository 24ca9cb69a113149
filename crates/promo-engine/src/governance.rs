//! What people say: requests, signed statements, verdicts. Authority comes from the signatures inside, never from a
//! record being there (S12.3).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use promo_core::Digest;
use promo_core::approval::{
    Decision, Envelope, Fingerprint, LedgerRef, Nonce, PolicyRef, Statement, StatementKind, VerifiedApproval,
};
use promo_core::gate::{Outcome, overall};
use promo_core::ids::{CheckName, EnvironmentName, IdentityName, ReleaseId, RoleName};
use promo_core::ledger::Event;
use promo_core::model::Check;
use promo_core::plan::Document;
use promo_ledger::Expect;

use crate::approvals::signed_move;
use crate::error::EngineError;
use crate::session::Session;
use crate::signature;

/// How long a request, and its plan, are open (S6.5).
pub const REQUEST_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long a grant is valid (S6.5); the later close of the next window comes with the windows' own issue.
pub const GRANT_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

impl Session {
    /// Puts a plan up for approval: recorded, and older pending requests for the same environments are superseded.
    ///
    /// # Errors
    /// When the plan moves nothing, is refused, spent, or not for here.
    pub async fn request(&self, document: &Document, digest: Digest) -> Result<Timestamp, EngineError> {
        let plan = &document.body;
        if plan.moves.is_empty() {
            return Err(EngineError::Invalid("the plan moves nothing: there is nothing to request".into()));
        }
        if let Some(refused) = plan.moves.iter().find(|m| overall(&m.gates) >= Outcome::Expired) {
            return Err(EngineError::Denied {
                environment: refused.environment.clone(),
                release: refused.to.id.clone(),
                gates: refused.gates.clone(),
            });
        }
        // Everything but the gates that people and time open is checked now, so that nobody approves what cannot apply.
        match self.precheck(document, &digest, &[]).await {
            Ok(_) | Err(EngineError::Waiting { .. }) => {}
            Err(error) => return Err(error),
        }
        let expires = self.now()?.saturating_add(REQUEST_LIFETIME).unwrap_or(Timestamp::MAX);
        let environments: BTreeSet<EnvironmentName> = plan.moves.iter().map(|m| m.environment.clone()).collect();
        let initiator = self.actor.name.clone();
        let mut draft = self.draft(Event::PlanRequested { environments, expires, initiator });
        draft.plan = Some(digest);
        let bytes = document.to_bytes().map_err(promo_core::plan::PlanFileError::from)?;
        self.store.put_blob(&bytes)?;
        self.append(&Expect { unconsumed: vec![digest], ..Expect::default() }, &[draft])?;
        Ok(expires)
    }

    /// The statement that an approver would sign about a plan.
    ///
    /// # Errors
    /// When the ledger cannot be read or no random bytes are to be had.
    pub fn statement(
        &self,
        document: &Document,
        digest: Digest,
        decision: Decision,
        role: RoleName,
        key: Fingerprint,
    ) -> Result<Statement, EngineError> {
        let now = self.now()?;
        let head = self.store.head()?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|e| EngineError::Approval(format!("no random bytes: {e}")))?;
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
            expires: at(now.saturating_add(GRANT_LIFETIME).unwrap_or(Timestamp::MAX)),
            nonce: Nonce::from_bytes(nonce),
            key,
            breakglass: None,
        })
    }

    /// Takes a signed statement into the ledger after verifying it.
    ///
    /// # Errors
    /// When the signature, the key or the role does not hold, or it is about another plan.
    pub fn record_approval(&self, digest: &Digest, envelope: &Envelope) -> Result<VerifiedApproval, EngineError> {
        let fact =
            signature::verify(envelope, &self.governance.roster).map_err(|e| EngineError::Approval(e.to_string()))?;
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
        let envelope = serde_json::to_value(envelope).map_err(|e| EngineError::Approval(e.to_string()))?;
        let mut draft = self.draft(Event::ApprovalRecorded { envelope });
        draft.plan = Some(*digest);
        self.append(&Expect::default(), &[draft])?;
        Ok(fact)
    }

    /// Records a person's verdict on a manual check, signed over [`verdict_bytes`].
    ///
    /// # Errors
    /// When the check is not a manual one of that environment, the release was never there, the signature does not
    /// verify, or the signer holds none of the check's roles.
    pub fn record_verdict(&self, verdict: &VerdictStatement, signature: &str) -> Result<IdentityName, EngineError> {
        let VerdictStatement { environment, release, check, decision, .. } = verdict;
        self.known(release, Some(environment))?;
        let declared = &self.governance.pipeline;
        let required = declared.environments[environment].verify.contains(check);
        let from = match declared.checks.get(check) {
            Some(Check::Manual { from }) if required => from,
            Some(_) if required && *decision == VerdictDecision::Withdraw => &BTreeSet::new(),
            Some(_) if required => {
                return Err(EngineError::Invalid(format!("{check} is not a manual check: promo verify runs it")));
            }
            _ => return Err(EngineError::Invalid(format!("{environment} has no check `{check}`"))),
        };
        if *decision == VerdictDecision::Withdraw && verdict.reason.as_ref().is_none_or(|r| r.trim().is_empty()) {
            return Err(EngineError::Invalid("a verdict is withdrawn with a reason: give --reason".into()));
        }
        let bytes = verdict_bytes(verdict)?;
        let signer = signature::verify_bytes(&bytes, signature, VERDICT_NAMESPACE, &self.governance.roster)
            .map_err(|e| EngineError::Approval(e.to_string()))?;
        let identity = signer.identity.clone();
        let allowed = from.is_empty() || identity.roles.iter().any(|role| from.contains(role));
        if !allowed || !identity.human {
            let roles: Vec<&str> = from.iter().map(RoleName::as_str).collect();
            let who = &identity.name;
            return Err(EngineError::Approval(format!("{who} holds none of the roles {}", roles.join(", "))));
        }
        let signed = serde_json::json!({
            "statement": String::from_utf8_lossy(&bytes),
            "signature": signature,
        });
        let by = Some(identity.name.clone());
        let (environment, release, check) = (environment.clone(), release.clone(), check.clone());
        let event = match decision {
            VerdictDecision::Withdraw => Event::VerdictWithdrawn { environment, release, check, by },
            _ => Event::VerdictRecorded {
                environment,
                release,
                check,
                passed: *decision == VerdictDecision::Pass,
                evidence: BTreeMap::new(),
                by,
                signed: Some(signed),
            },
        };
        let mut draft = self.draft(event);
        draft.environment = Some(verdict.environment.clone());
        if let Some(reason) = &verdict.reason {
            draft.private.insert("reason".into(), reason.clone());
        }
        self.append(&Expect::default(), &[draft])?;
        Ok(identity.name)
    }
}

/// SSHSIG namespace of a verdict.
pub const VERDICT_NAMESPACE: &str = "promo.verdict.v1";

/// What a person says about a check (S6.10).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct VerdictStatement {
    /// Where.
    pub environment: EnvironmentName,
    /// About which release.
    pub release: ReleaseId,
    /// Which check.
    pub check: CheckName,
    /// What they say.
    pub decision: VerdictDecision,
    /// The origin of the ledger it is for.
    pub ledger: String,
    /// The pipeline.
    pub pipeline: String,
    /// When.
    pub at: Timestamp,
    /// Why; kept beside the leaf and not signed as text.
    #[serde(skip)]
    pub reason: Option<String>,
}

/// What a person says about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictDecision {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// The verdict before no longer stands.
    Withdraw,
}

/// The canonical bytes of a verdict, which are what is signed.
///
/// # Errors
/// Never for a verdict: its fields are texts.
pub fn verdict_bytes(verdict: &VerdictStatement) -> Result<Vec<u8>, EngineError> {
    promo_core::canonical::to_vec(verdict).map_err(|e| EngineError::Approval(e.to_string()))
}
