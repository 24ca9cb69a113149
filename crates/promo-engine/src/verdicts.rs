//! What people say about checks (S6.10, S3.1): signed verdicts and withdrawals, recorded and, whenever the ledger is read,
//! verified again. Authority comes from the signatures inside, never from a record being there (S12.3). What must not live
//! here: what a verdict means for eligibility.

use std::collections::BTreeSet;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::Identity;
use promo_core::format;
use promo_core::ids::{CheckName, EnvironmentName, IdentityName, ReleaseId, RoleName};
use promo_core::ledger::record::REASON;
use promo_core::ledger::{Event, Record, View};
use promo_core::model::Check;
use promo_ledger::Expect;
use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::session::{Governance, Session};
use crate::signature;
use crate::{appliers, authors, lifts, requests};

/// SSHSIG namespace of a verdict.
pub const VERDICT_NAMESPACE: &str = "promo.verdict.v1";

/// The format of a verdict's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum VerdictKind {
    /// The first format.
    #[default]
    #[serde(rename = "promo/verdict/v1")]
    V1,
}

/// What a person says about a check (S6.10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VerdictStatement {
    /// The format.
    pub kind: VerdictKind,
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

impl VerdictStatement {
    /// Reads a statement, and refuses every spelling but the one that [`verdict_bytes`] gives.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        format::admit_statement(bytes, "the statement of a verdict", "promo/verdict/v", 1)
            .map_err(|e| e.to_string())?;
        promo_core::canonical::from_slice(bytes).map_err(|e| e.to_string())
    }
}

/// What a person says about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum VerdictDecision {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// The verdict before no longer stands.
    Withdraw,
}

/// A statement and its signature, as records carry them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    /// The signed bytes, which are text.
    pub(crate) statement: String,
    /// The armored SSHSIG over them.
    pub(crate) signature: String,
}

impl Signed {
    /// Puts both together.
    pub(crate) fn new(bytes: &[u8], signature: &str) -> Self {
        Self { statement: String::from_utf8_lossy(bytes).into_owned(), signature: signature.into() }
    }

    /// As a record's field.
    pub(crate) fn to_value(&self) -> Result<serde_json::Value, EngineError> {
        serde_json::to_value(self).map_err(|e| EngineError::Approval(e.to_string()))
    }
}

/// The canonical bytes of a verdict, which are what is signed.
///
/// # Errors
/// Never for a verdict: its fields are texts.
pub fn verdict_bytes(verdict: &VerdictStatement) -> Result<Vec<u8>, EngineError> {
    promo_core::canonical::to_vec(verdict).map_err(|e| EngineError::Approval(e.to_string()))
}

impl Session {
    /// Records a person's verdict on a manual check, or the withdrawal of any check's, signed over [`verdict_bytes`].
    ///
    /// # Errors
    /// When the check is not one of that environment or a verdict on it is not a person's to give, the signature does not
    /// verify, the signer holds none of the roles that may say this, or the very statement was recorded before.
    pub fn record_verdict(&self, verdict: &VerdictStatement, signature: &str) -> Result<IdentityName, EngineError> {
        let VerdictStatement { environment, release, check, decision, .. } = verdict;
        self.known(release, Some(environment))?;
        let declared = &self.governance.pipeline;
        match declared.checks.get(check).filter(|_| declared.environments[environment].verify.contains(check)) {
            None => return Err(EngineError::Invalid(format!("{environment} has no check `{check}`"))),
            Some(Check::Manual { .. }) => {}
            Some(_) if *decision == VerdictDecision::Withdraw => {}
            Some(_) => {
                return Err(EngineError::Invalid(format!("{check} is not a manual check: promo verify runs it")));
            }
        }
        if *decision == VerdictDecision::Withdraw && verdict.reason.as_ref().is_none_or(|r| r.trim().is_empty()) {
            return Err(EngineError::Invalid("a verdict is withdrawn with a reason: give --reason".into()));
        }
        let bytes = verdict_bytes(verdict)?;
        let identity = speaker(&self.governance, verdict, &bytes, signature).map_err(EngineError::Approval)?;
        if self.has_spoken(&Digest::of(&bytes))? {
            return Err(EngineError::Approval("this very statement is in the ledger already".into()));
        }
        let (by, signed) = (Some(identity.name.clone()), Some(Signed::new(&bytes, signature).to_value()?));
        let (environment, release, check) = (environment.clone(), release.clone(), check.clone());
        let event = match decision {
            VerdictDecision::Withdraw => Event::VerdictWithdrawn { environment, release, check, by, signed },
            _ => Event::VerdictRecorded {
                environment,
                release,
                check,
                passed: *decision == VerdictDecision::Pass,
                unanswered: false,
                by,
                signed,
            },
        };
        let mut draft = self.draft(event);
        draft.environment = Some(verdict.environment.clone());
        if let Some(reason) = &verdict.reason {
            draft.private.insert(REASON.into(), reason.clone());
        }
        self.append(&Expect::default(), &[draft])?;
        Ok(identity.name.clone())
    }
}

impl Governance {
    /// The roles of which a person has one who gives or withdraws a verdict: those of a manual check, and for the withdrawal of
    /// an automatic check's verdict those that policy names for the environment's tier.
    #[must_use]
    pub fn may_speak(&self, environment: &EnvironmentName, check: &CheckName) -> Option<&BTreeSet<RoleName>> {
        match self.pipeline.checks.get(check) {
            Some(Check::Manual { from }) => Some(from),
            _ => self.withdraw.get(environment),
        }
    }
}

/// Whether a record counts after those of `view`: every record does but a verdict on a manual check, a withdrawal, a signed
/// request, who applies, whose authors somebody names, or a lift under a policy, that no signature bears out. `spoken` holds
/// the statements that counted before, because each counts once: an old pass that is recorded again takes nothing back. What
/// the machine found about an automatic check is unsigned. Gives the statement about a check, or about who applies, that has
/// spoken once the record is taken, which the fold may still refuse.
///
/// # Errors
/// Why it counts for nothing, in words.
pub(crate) fn judge(
    governance: &Governance,
    origin: &str,
    view: &View,
    spoken: &BTreeSet<Digest>,
    record: &Record,
    event: &Event,
) -> Result<Option<Digest>, String> {
    let (environment, release, check, by, signed, decision) = match event {
        Event::VerdictRecorded { environment, release, check, passed, by, signed, .. } => {
            let decision = if *passed { VerdictDecision::Pass } else { VerdictDecision::Fail };
            (environment, release, check, by, signed, decision)
        }
        Event::VerdictWithdrawn { environment, release, check, by, signed } => {
            (environment, release, check, by, signed, VerdictDecision::Withdraw)
        }
        event => {
            requests::judge(governance, origin, record, event)?;
            authors::judge(governance, origin, view, event)?;
            if let Some(statement) = appliers::judge(governance, origin, record, event)? {
                let repeated = spoken.contains(&statement);
                return if repeated { Err(appliers::REPEATED.into()) } else { Ok(Some(statement)) };
            }
            return lifts::judge(governance, origin, view, event).map(|()| None);
        }
    };
    let manual = matches!(governance.pipeline.checks.get(check), Some(Check::Manual { .. }));
    if !manual && signed.is_none() && by.is_none() && decision != VerdictDecision::Withdraw {
        return Ok(None);
    }
    if !manual && decision != VerdictDecision::Withdraw {
        return Err(format!("{check} is no manual check, and a person speaks"));
    }
    let signed = signed.as_ref().ok_or("nobody signed it")?;
    let Signed { statement, signature } = Signed::deserialize(signed).map_err(|e| e.to_string())?;
    let bytes = statement.as_bytes();
    let verdict = VerdictStatement::from_bytes(bytes)?;
    let same = verdict.environment == *environment
        && verdict.release == *release
        && verdict.check == *check
        && verdict.decision == decision
        && verdict.ledger == origin
        && verdict.pipeline == governance.pipeline.name.as_str();
    if !same {
        return Err("what was signed is another statement".into());
    }
    let identity = speaker(governance, &verdict, bytes, &signature)?;
    if by.as_ref() != Some(&identity.name) {
        return Err(format!("{} signed it, and the record names somebody else", identity.name));
    }
    let statement = Digest::of(bytes);
    if spoken.contains(&statement) {
        Err("it was recorded before, and counts once".into())
    } else {
        Ok(Some(statement))
    }
}

/// Who signed a statement about a check, if policy knows them as a person who may say this: for a manual check one of its
/// roles, for the withdrawal of an automatic check's verdict a role that policy names for the environment's tier.
fn speaker<'g>(
    governance: &'g Governance,
    verdict: &VerdictStatement,
    bytes: &[u8],
    signature: &str,
) -> Result<&'g Identity, String> {
    let signer = signature::verify_bytes(bytes, signature, VERDICT_NAMESPACE, &governance.roster)
        .map_err(|error| error.to_string())?;
    let identity = signer.identity;
    let from = governance.may_speak(&verdict.environment, &verdict.check);
    let who = &identity.name;
    let Some(from) = from.filter(|from| !from.is_empty()) else {
        let tier = governance.pipeline.environments.get(&verdict.environment).map_or("its tier", |e| e.tier.as_str());
        return Err(format!("policy lets nobody withdraw this: `withdraw` of `tiers.{tier}` names no role"));
    };
    if !identity.human {
        return Err(format!("{who} is not a person"));
    }
    if identity.roles.is_disjoint(from) {
        let roles: Vec<&str> = from.iter().map(RoleName::as_str).collect();
        return Err(format!("{who} holds none of the roles {}", roles.join(", ")));
    }
    Ok(identity)
}
