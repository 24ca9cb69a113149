//! Requests for approval (S6.7): recorded, signed by whoever asks, and verified again whenever the ledger is read. A
//! claimed name says nothing about who asked (S6.3); this is the only way from a signature to a plan's initiator. What
//! must not live here: whom a rule excludes.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use promo_core::Digest;
use promo_core::approval::{Fingerprint, Nonce};
use promo_core::format;
use promo_core::ids::{EnvironmentName, IdentityName, PipelineName};
use promo_core::ledger::view::Request;
use promo_core::ledger::{Event, Record};
use promo_core::model::Party;
use promo_core::plan::Document;
use serde::{Deserialize, Serialize};

use crate::apply::precheck::Use;
use crate::error::EngineError;
use crate::session::{Governance, Session};
use crate::signature;
use crate::verdicts::Signed;

/// SSHSIG namespace of a request.
pub const REQUEST_NAMESPACE: &str = "promo.request.v1";

/// How long a request, and its plan, are open (S6.5).
pub const REQUEST_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The format of a request's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RequestKind {
    /// The first format.
    #[default]
    #[serde(rename = "promo/request/v1")]
    V1,
}

/// What whoever asks for the approval of a plan signs: its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RequestStatement {
    /// The format.
    pub kind: RequestKind,
    /// The digest of the plan.
    pub plan: Digest,
    /// The origin of the ledger it is for.
    pub ledger: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The environments that the plan moves.
    pub environments: BTreeSet<EnvironmentName>,
    /// The key that signs.
    pub key: Fingerprint,
    /// When.
    pub at: Timestamp,
    /// Makes it one of its kind.
    pub nonce: Nonce,
}

/// A request that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Until when it is open.
    pub expires: Timestamp,
    /// Who signed it.
    pub by: Option<IdentityName>,
    /// Plans that waited, and whose place it took (S6.7).
    pub superseded: Vec<Superseded>,
}

/// A plan that waited until a newer one was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    /// The plan.
    pub plan: Digest,
    /// The environments that it would have moved.
    pub environments: BTreeSet<EnvironmentName>,
    /// Who had approved it: that is worth nothing now.
    pub approved_by: BTreeSet<IdentityName>,
}

impl RequestStatement {
    /// The bytes that are signed.
    ///
    /// # Errors
    /// Never for a statement: its fields are texts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        promo_core::canonical::to_vec(self).map_err(|e| EngineError::Approval(e.to_string()))
    }

    /// Reads a statement, and refuses every spelling but the one that [`RequestStatement::to_bytes`] gives.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        format::admit_statement(bytes, "the statement of a request", "promo/request/v", 1)
            .map_err(|e| e.to_string())?;
        let statement: Self = promo_core::canonical::from_slice(bytes).map_err(|e| e.to_string())?;
        match statement.to_bytes() {
            Ok(again) if again == bytes => Ok(statement),
            _ => Err("a statement has one spelling, and this is another".into()),
        }
    }
}

impl Session {
    /// The statement that whoever holds `key` would sign to ask for the approval of a plan.
    ///
    /// # Errors
    /// When the ledger cannot be read or no random bytes are to be had.
    pub fn request_statement(
        &self,
        document: &Document,
        digest: Digest,
        key: Fingerprint,
    ) -> Result<RequestStatement, EngineError> {
        Ok(RequestStatement {
            kind: RequestKind::V1,
            plan: digest,
            ledger: self.store.origin(),
            pipeline: self.governance.pipeline.name.clone(),
            environments: moved(document),
            key,
            at: self.now()?,
            nonce: signature::nonce().map_err(|e| EngineError::Approval(e.to_string()))?,
        })
    }

    /// Puts a plan up for approval: recorded, and older pending requests for the same environments are superseded. Takes
    /// the signed statement and its signature.
    ///
    /// # Errors
    /// When the plan moves nothing, is refused, spent, or not for here; when the signature does not hold;
    /// [`EngineError::RequestUnsigned`] without one where a rule excludes the initiator.
    pub async fn request(
        &self,
        document: &Document,
        digest: Digest,
        signed: Option<(&RequestStatement, &str)>,
    ) -> Result<Requested, EngineError> {
        let plan = &document.body;
        // Everything but the gates that people and time open is checked now, so that nobody approves what cannot apply.
        match self.precheck(document, &digest, &[], None).await {
            Ok(_) | Err(EngineError::Waiting { .. }) => {}
            Err(error) => return Err(error),
        }
        let expires = self.now()?.saturating_add(REQUEST_LIFETIME).unwrap_or(Timestamp::MAX);
        let environments = moved(document);
        let (by, signed) = match signed {
            Some((statement, signature)) => {
                let bytes = statement.to_bytes()?;
                let by = requester(&self.governance, &self.store.origin(), digest, &environments, &bytes, signature)
                    .map_err(EngineError::Approval)?;
                let signed = Signed::new(&bytes, signature).to_value()?;
                (Some(by), Some(signed))
            }
            None => {
                self.needs_signed_request(&digest, &environments)?;
                (None, None)
            }
        };
        let initiator = self.actor.name.clone();
        let event = Event::PlanRequested { environments, expires, initiator, by: by.clone(), signed };
        let mut draft = self.draft(event);
        draft.plan = Some(digest);
        let bytes = document.to_bytes().map_err(promo_core::plan::PlanFileError::from)?;
        self.store.put_blob(&bytes)?;
        // A request that came meanwhile takes this one's place, and nobody is told that it is open.
        let superseded = self.append_judged(draft, |view| {
            let now = self.present()?;
            self.unspent(plan, &digest, view, now, Use::Request)?;
            let mine = |request: &Request| plan.moves.iter().any(|m| request.environments.contains(&m.environment));
            let theirs = view.pending(now.at).filter(|(other, request)| **other != digest && mine(request));
            let told = theirs.map(|(other, request)| Superseded {
                plan: *other,
                environments: request.environments.clone(),
                approved_by: self.approvers(view, other),
            });
            Ok(told.collect())
        })?;
        Ok(Requested { expires, by, superseded })
    }

    /// Refuses a yes to a plan that nobody could give: a rule of one of the environments excludes the initiator, and no
    /// signature says who that is.
    ///
    /// # Errors
    /// [`EngineError::RequestUnsigned`], or when the ledger cannot be read.
    pub fn needs_signed_request<'e>(
        &self,
        plan: &Digest,
        environments: impl IntoIterator<Item = &'e EnvironmentName>,
    ) -> Result<(), EngineError> {
        let excludes = |name: &&EnvironmentName| {
            let rules = self.governance.approval.get(*name).into_iter().flatten();
            rules.into_iter().any(|rule| rule.exclude.contains(&Party::Initiator))
        };
        let Some(environment) = environments.into_iter().find(excludes) else { return Ok(()) };
        if self.with_view(|view| view.requests.get(plan).is_some_and(|r| !r.signers.is_empty()))? {
            return Ok(());
        }
        Err(EngineError::RequestUnsigned { environment: environment.clone() })
    }
}

pub(crate) fn moved(document: &Document) -> BTreeSet<EnvironmentName> {
    document.body.moves.iter().map(|m| m.environment.clone()).collect()
}

/// Whether what a request says of who signed it holds. One that nobody signed says nothing.
///
/// # Errors
/// Why it does not, in words.
pub(crate) fn judge(governance: &Governance, origin: &str, record: &Record, event: &Event) -> Result<(), String> {
    let Event::PlanRequested { environments, by, signed, .. } = event else { return Ok(()) };
    if by.is_none() && signed.is_none() {
        return Ok(());
    }
    // A record without a plan is the fold's to refuse.
    let Some(plan) = record.plan else { return Ok(()) };
    let signed = signed.as_ref().ok_or("nobody signed it")?;
    let Signed { statement, signature } = Signed::deserialize(signed).map_err(|e| e.to_string())?;
    let who = requester(governance, origin, plan, environments, statement.as_bytes(), &signature)?;
    if by.as_ref() == Some(&who) { Ok(()) } else { Err(format!("{who} signed it, and the record names somebody else")) }
}

/// Who signed a request for this plan.
fn requester(
    governance: &Governance,
    origin: &str,
    plan: Digest,
    environments: &BTreeSet<EnvironmentName>,
    bytes: &[u8],
    signature: &str,
) -> Result<IdentityName, String> {
    let statement = RequestStatement::from_bytes(bytes)?;
    let signer = signature::verify_bytes(bytes, signature, REQUEST_NAMESPACE, &governance.roster)
        .map_err(|error| error.to_string())?;
    let same = statement.plan == plan
        && statement.environments == *environments
        && statement.ledger == origin
        && statement.pipeline == governance.pipeline.name
        && statement.key == *signer.key.fingerprint();
    if same { Ok(signer.identity.name.clone()) } else { Err("what was signed is another statement".into()) }
}
