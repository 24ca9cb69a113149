//! Who applies a plan (S6.4): signed by whoever does, recorded before the run begins, and verified again whenever the
//! ledger is read. A claimed name says nothing about who applies (S6.3); this is the only way from a signature to a plan's
//! applier. What must not live here: which approvals count beside them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use promo_core::Digest;
use promo_core::approval::{Fingerprint, Nonce};
use promo_core::clock::MAX_SKEW;
use promo_core::format;
use promo_core::gate::Instant;
use promo_core::ids::{EnvironmentName, IdentityName, PipelineName, RunId};
use promo_core::ledger::{Draft, Event, Record, View};
use promo_core::model::Party;
use promo_core::plan::{Document, Move};
use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::requests::moved;
use crate::session::{Governance, Session};
use crate::signature::{self, Key, SignatureError};
use crate::verdicts::Signed;

/// SSHSIG namespace of what is signed by whoever applies a plan.
pub const APPLY_NAMESPACE: &str = "promo.apply.v1";

/// How long such a statement can be used. Between signing and the record that it stands in lie a last look at everything and
/// the lock; what is begun later under the same lock asks for no other.
pub const APPLY_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// The format of an applier's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ApplyKind {
    /// The first format.
    #[default]
    #[serde(rename = "promo/apply/v1")]
    V1,
}

/// What whoever applies a plan signs: its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApplyStatement {
    /// The format.
    pub kind: ApplyKind,
    /// The digest of the plan.
    pub plan: Digest,
    /// The origin of the ledger it is for.
    pub ledger: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The environments that the plan moves.
    pub environments: BTreeSet<EnvironmentName>,
    /// The run that is begun or resumed, and no other.
    pub run: RunId,
    /// The key that signs.
    pub key: Fingerprint,
    /// From when on it can be used.
    pub not_before: Timestamp,
    /// When it can no longer be used: an hour later at most.
    pub expires: Timestamp,
    /// Makes it one of its kind.
    pub nonce: Nonce,
}

impl ApplyStatement {
    /// The bytes that are signed.
    ///
    /// # Errors
    /// Never for a statement: its fields are texts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        promo_core::canonical::to_vec(self).map_err(|e| EngineError::Approval(e.to_string()))
    }

    /// Reads a statement, and refuses every spelling but the one that [`ApplyStatement::to_bytes`] gives.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        format::admit_statement(bytes, "the statement of an applier", "promo/apply/v", 1).map_err(|e| e.to_string())?;
        let statement: Self = promo_core::canonical::from_slice(bytes).map_err(|e| e.to_string())?;
        match statement.to_bytes() {
            Ok(again) if again == bytes => Ok(statement),
            _ => Err("a statement has one spelling, and this is another".into()),
        }
    }
}

/// Who applies a plan, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applier {
    /// The name that they go by: a claim, which keeps somebody out and never lets anybody in.
    pub claimed: String,
    /// Those who signed, or whose key will: evidence. Nobody where nobody has to.
    pub signed: BTreeSet<IdentityName>,
}

/// A signed statement about the run that is to begin, and who signed it.
pub(crate) struct Proof {
    pub(crate) by: IdentityName,
    environments: BTreeSet<EnvironmentName>,
    signed: Signed,
}

impl Proof {
    /// As what the ledger keeps.
    pub(crate) fn event(&self) -> Result<Event, EngineError> {
        let (environments, by) = (self.environments.clone(), self.by.clone());
        Ok(Event::RunSigned { environments, by, signed: self.signed.to_value()? })
    }
}

impl Session {
    /// Whether a rule of an environment excludes the applier, so that nothing begins there before somebody signed.
    #[must_use]
    pub fn excludes_applier(&self, environment: &EnvironmentName) -> bool {
        let rules = self.governance.approval.get(environment).into_iter().flatten();
        rules.into_iter().any(|rule| rule.exclude.contains(&Party::Applier))
    }

    /// Who would apply these moves with this key. It is asked for nothing where no rule excludes the applier.
    ///
    /// # Errors
    /// [`EngineError::Approval`] for a key that cannot be used, or that policy does not know.
    pub(crate) fn applier(&self, moves: &[Move], key: Option<&Key>) -> Result<Applier, EngineError> {
        let claimed = self.actor.name.clone();
        let guarded = moves.iter().any(|m| self.excludes_applier(&m.environment));
        let Some(key) = key.filter(|_| guarded) else { return Ok(Applier { claimed, signed: BTreeSet::new() }) };
        let fingerprint = key.fingerprint().map_err(refused)?;
        match self.governance.roster.by_key(&fingerprint) {
            Some((who, _)) => Ok(Applier { claimed, signed: [who.name.clone()].into() }),
            None => Err(refused(SignatureError::UnknownKey(fingerprint))),
        }
    }

    /// Refuses whoever would begin one of these moves unsigned where a rule excludes the applier.
    ///
    /// # Errors
    /// [`EngineError::ApplyUnsigned`], about the run that is to go on, where there is one.
    pub(crate) fn needs_signed_apply(
        &self,
        moves: &[Move],
        applier: &Applier,
        run: Option<&RunId>,
    ) -> Result<(), EngineError> {
        match moves.iter().map(|m| &m.environment).find(|name| self.excludes_applier(name)) {
            Some(name) if applier.signed.is_empty() => {
                Err(EngineError::ApplyUnsigned { environment: name.clone(), run: run.cloned() })
            }
            _ => Ok(()),
        }
    }

    /// Has the key sign that its holder applies a plan in this run.
    ///
    /// # Errors
    /// [`EngineError::Approval`] when there is no signature, or it does not hold.
    pub(crate) async fn prove(
        &self,
        document: &Document,
        plan: Digest,
        run: &RunId,
        key: &Key,
    ) -> Result<Proof, EngineError> {
        let now = self.now()?;
        // Whole seconds: that is what people read before they sign.
        let not_before = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let statement = ApplyStatement {
            kind: ApplyKind::V1,
            plan,
            ledger: self.store.origin(),
            pipeline: self.governance.pipeline.name.clone(),
            environments: moved(document),
            run: run.clone(),
            key: key.fingerprint().map_err(refused)?,
            not_before,
            expires: not_before.saturating_add(APPLY_LIFETIME).unwrap_or(Timestamp::MAX),
            nonce: signature::nonce().map_err(refused)?,
        };
        let bytes = statement.to_bytes()?;
        let signature = key.sign(&bytes, APPLY_NAMESPACE).await.map_err(refused)?;
        let (environments, signed) = (statement.environments, Signed::new(&bytes, &signature));
        let about = About { run, plan, environments: &environments, at: self.now()? };
        let by = signer(&self.governance, &self.store.origin(), &about, &signed).map_err(EngineError::Approval)?;
        Ok(Proof { by, environments, signed })
    }

    /// Whether these drafts may be appended behind `view`, as far as it is about who applies: the one place that no way into
    /// the ledger avoids. What is signed must hold and be new, and nothing begins unsigned where a rule excludes the applier.
    ///
    /// # Errors
    /// [`EngineError::Approval`], [`EngineError::ApplyUnsigned`].
    pub(crate) fn admit_applier(&self, view: &View, draft: &Draft, record: &Record) -> Result<(), EngineError> {
        let begins: Vec<&EnvironmentName> = match &draft.event {
            Event::RunSigned { signed, .. } => {
                let statement = judge(&self.governance, &self.store.origin(), record, &draft.event);
                let statement = statement.map_err(EngineError::Approval)?;
                debug_assert!(statement.is_some(), "{signed}");
                return match statement {
                    Some(statement) if self.has_spoken(&statement)? => Err(EngineError::Approval(REPEATED.into())),
                    _ => Ok(()),
                };
            }
            Event::RunStarted { environments, .. } => environments.keys().collect(),
            Event::PromotionStarted { environment, .. } => vec![environment],
            _ => return Ok(()),
        };
        let signed = |name: &EnvironmentName| {
            draft.run.as_ref().zip(draft.epoch).is_some_and(|(run, epoch)| view.signed_for(run, epoch, name))
        };
        match begins.into_iter().find(|name| self.excludes_applier(name) && !signed(name)) {
            Some(name) => Err(EngineError::ApplyUnsigned { environment: name.clone(), run: draft.run.clone() }),
            None => Ok(()),
        }
    }
}

/// Why a statement that is good in itself does not count a second time.
pub(crate) const REPEATED: &str = "this very statement was used before, and counts once";

fn refused(error: SignatureError) -> EngineError {
    if error.is_of_this_machine() { EngineError::Signing(error) } else { EngineError::Approval(error.to_string()) }
}

/// Whether what a record says of who applies holds; the digest of the statement, where it is such a record.
///
/// # Errors
/// Why it does not, in words.
pub(crate) fn judge(
    governance: &Governance,
    origin: &str,
    record: &Record,
    event: &Event,
) -> Result<Option<Digest>, String> {
    let Event::RunSigned { environments, by, signed } = event else { return Ok(None) };
    // A record without a run or a plan is the fold's to refuse.
    let (Some(run), Some(plan)) = (&record.run, record.plan) else { return Ok(None) };
    let signed: Signed = serde_json::from_value(signed.clone()).map_err(|e| e.to_string())?;
    let about = About { run, plan, environments, at: record.recorded_at };
    let who = signer(governance, origin, &about, &signed)?;
    if *by == who {
        Ok(Some(Digest::of(signed.statement.as_bytes())))
    } else {
        Err(format!("{who} signed it, and the record names somebody else"))
    }
}

/// What a statement has to be about, and when it is used.
struct About<'a> {
    run: &'a RunId,
    plan: Digest,
    environments: &'a BTreeSet<EnvironmentName>,
    at: Timestamp,
}

/// Who signed that they apply this plan in this run.
fn signer(governance: &Governance, origin: &str, about: &About<'_>, signed: &Signed) -> Result<IdentityName, String> {
    let bytes = signed.statement.as_bytes();
    let statement = ApplyStatement::from_bytes(bytes)?;
    let signer = signature::verify_bytes(bytes, &signed.signature, APPLY_NAMESPACE, &governance.roster)
        .map_err(|error| error.to_string())?;
    let same = statement.plan == about.plan
        && statement.run == *about.run
        && statement.environments == *about.environments
        && statement.ledger == origin
        && statement.pipeline == governance.pipeline.name
        && statement.key == *signer.key.fingerprint();
    if !same {
        return Err("what was signed is another statement".into());
    }
    let ApplyStatement { not_before, expires, .. } = statement;
    if expires.duration_since(not_before) > APPLY_LIFETIME {
        return Err("it would be good for longer than an hour".into());
    }
    // The store's clock may have gone back a little since it was read.
    if about.at.saturating_add(MAX_SKEW).is_ok_and(|at| at < not_before) {
        return Err(format!("it cannot be used before {}", Instant(not_before)));
    }
    if about.at >= expires {
        return Err(format!("it expired at {}", Instant(expires)));
    }
    Ok(signer.identity.name.clone())
}
