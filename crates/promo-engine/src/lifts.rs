//! Lifting what stops promotions: quarantines, freezes, the pauses after a rollback (S10.4), and documents of evidence. Anybody may stop; only a
//! person lifts, and under a policy one who signs, which is verified again whenever the ledger is read (S12.3). What must
//! not live here: what a quarantine or a freeze stops.

use std::collections::BTreeSet;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::{Identity, Person};
use promo_core::gate::Instant;
use promo_core::ids::{EnvironmentName, IdentityName, PipelineName, ReleaseId, RoleName};
use promo_core::ledger::record::REASON;
use promo_core::ledger::{ActorKind, Event, View};
use promo_core::model::{ApprovalRule, Party};
use promo_ledger::{AppendError, Expect};
use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::session::{Governance, Session};
use crate::signature;
use crate::verdicts::Signed;

/// SSHSIG namespace of a lift.
pub const LIFT_NAMESPACE: &str = "promo.lift.v1";
/// SSHSIG namespace of the withdrawal of a document.
pub const WITHDRAWAL_NAMESPACE: &str = "promo.withdrawal.v1";

/// SSHSIG namespace of the end of a recall.
pub const RECALL_LIFT_NAMESPACE: &str = "promo.recall-lift.v1";

/// What is lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Lift {
    /// A quarantine of exactly this scope.
    Quarantine {
        /// Of which release.
        release: ReleaseId,
        /// The environment that it was rejected for; none means everywhere.
        scope: Option<EnvironmentName>,
    },
    /// What a document of evidence says, good or bad: it is withdrawn. Its statement is a [`WithdrawalStatement`].
    #[serde(skip)]
    Evidence {
        /// The document.
        document: Digest,
    },
    /// The recall of a digest, and no quarantine that came of it. Its statement is a [`RecallLiftStatement`].
    #[serde(skip)]
    Recall {
        /// The digest.
        artifact: Digest,
    },
    /// What a record that was written while the clock was ahead shuts: everything that goes by time.
    Clock {
        /// The time that it bears.
        ahead: Timestamp,
    },
    /// The freezes or pauses of exactly these environments.
    Freeze {
        /// Which; empty means the freeze of all.
        environments: BTreeSet<EnvironmentName>,
    },
}

/// The format of a lift's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LiftKind {
    /// The first format.
    #[default]
    #[serde(rename = "promo/lift/v1")]
    V1,
}

/// What a person who lifts signs: its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LiftStatement {
    /// The format.
    pub kind: LiftKind,
    /// What is lifted.
    pub lift: Lift,
    /// Positions of the records that stopped it: what stops it later is not lifted, nor is anything twice.
    pub records: BTreeSet<u64>,
    /// The origin of the ledger it is for.
    pub ledger: String,
    /// The pipeline.
    pub pipeline: PipelineName,
}

/// The format of a withdrawal's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum WithdrawalKind {
    /// The first format.
    #[default]
    #[serde(rename = "promo/withdrawal/v1")]
    V1,
}

/// What a person who withdraws a document signs: its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WithdrawalStatement {
    /// The format.
    pub kind: WithdrawalKind,
    /// The document.
    pub document: Digest,
    /// Positions of the records that brought it: what is brought of it later is not withdrawn.
    pub records: BTreeSet<u64>,
    /// The origin of the ledger it is for.
    pub ledger: String,
    /// The pipeline.
    pub pipeline: PipelineName,
}

impl WithdrawalStatement {
    /// Reads a statement, and refuses every spelling but the one that [`WithdrawalStatement::to_bytes`] gives.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        promo_core::format::admit_statement(bytes, "the statement of a withdrawal", "promo/withdrawal/v", 1)
            .map_err(|e| e.to_string())?;
        promo_core::canonical::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// Never for a statement: its fields are texts and counts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        promo_core::canonical::to_vec(self).map_err(|e| EngineError::Lift(e.to_string()))
    }
}

/// The format of the statement of the end of a recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RecallLiftKind {
    /// The first format.
    #[default]
    #[serde(rename = "promo/recall-lift/v1")]
    V1,
}

/// What a person who ends the recall of a digest signs: its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RecallLiftStatement {
    /// The format.
    pub kind: RecallLiftKind,
    /// The digest.
    pub artifact: Digest,
    /// The position of the record that recalled it last: a later recall is not ended.
    pub records: BTreeSet<u64>,
    /// The origin of the ledger it is for.
    pub ledger: String,
    /// The pipeline.
    pub pipeline: PipelineName,
}

impl RecallLiftStatement {
    /// Reads a statement, and refuses every spelling but the one that [`RecallLiftStatement::to_bytes`] gives.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        promo_core::format::admit_statement(bytes, "the statement of the end of a recall", "promo/recall-lift/v", 1)
            .map_err(|e| e.to_string())?;
        promo_core::canonical::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// Never for a statement: its fields are texts and counts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        promo_core::canonical::to_vec(self).map_err(|e| EngineError::Lift(e.to_string()))
    }
}

impl From<RecallLiftStatement> for LiftStatement {
    fn from(statement: RecallLiftStatement) -> Self {
        let RecallLiftStatement { kind: RecallLiftKind::V1, artifact, records, ledger, pipeline } = statement;
        Self { kind: LiftKind::V1, lift: Lift::Recall { artifact }, records, ledger, pipeline }
    }
}

impl From<WithdrawalStatement> for LiftStatement {
    fn from(statement: WithdrawalStatement) -> Self {
        let WithdrawalStatement { kind: WithdrawalKind::V1, document, records, ledger, pipeline } = statement;
        Self { kind: LiftKind::V1, lift: Lift::Evidence { document }, records, ledger, pipeline }
    }
}

impl Lift {
    /// The SSHSIG namespace of its statement.
    #[must_use]
    pub const fn namespace(&self) -> &'static str {
        match self {
            Self::Evidence { .. } => WITHDRAWAL_NAMESPACE,
            Self::Recall { .. } => RECALL_LIFT_NAMESPACE,
            Self::Quarantine { .. } | Self::Freeze { .. } | Self::Clock { .. } => LIFT_NAMESPACE,
        }
    }
}

impl LiftStatement {
    /// Reads a statement, and refuses every spelling but the one that [`LiftStatement::to_bytes`] gives.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        promo_core::format::admit_statement(bytes, "the statement of a lift", "promo/lift/v", 1)
            .map_err(|e| e.to_string())?;
        promo_core::canonical::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// Never for a statement: its fields are texts and counts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        if let Lift::Evidence { document } = self.lift {
            let Self { records, ledger, pipeline, .. } = self.clone();
            return WithdrawalStatement { kind: WithdrawalKind::V1, document, records, ledger, pipeline }.to_bytes();
        }
        if let Lift::Recall { artifact } = self.lift {
            let Self { records, ledger, pipeline, .. } = self.clone();
            return RecallLiftStatement { kind: RecallLiftKind::V1, artifact, records, ledger, pipeline }.to_bytes();
        }
        promo_core::canonical::to_vec(self).map_err(|e| EngineError::Lift(e.to_string()))
    }
}

impl Session {
    /// The statement about lifting what is in force now, which whoever lifts it signs under a policy.
    ///
    /// # Errors
    /// When there is nothing of that to lift, or the ledger cannot be read.
    pub fn lift_statement(&self, lift: Lift) -> Result<LiftStatement, EngineError> {
        self.admit_policy()?;
        match &lift {
            Lift::Quarantine { release, scope } => self.known(release, scope.as_ref())?,
            Lift::Freeze { environments } => self.known_environments(environments)?,
            Lift::Clock { .. } | Lift::Evidence { .. } | Lift::Recall { .. } => {}
        }
        let records = self.with_view(|view| in_force(view, &lift))?.map_err(EngineError::Invalid)?;
        let pipeline = self.governance.pipeline.name.clone();
        Ok(LiftStatement { kind: LiftKind::V1, lift, records, ledger: self.store.origin(), pipeline })
    }

    /// Lifts what a statement says, and gives who signed it. Without a policy there is nobody who could, and a person's
    /// word is enough.
    ///
    /// # Errors
    /// [`EngineError::Lift`] when automation asks; under a policy also when nobody signed, the signature does not hold, or
    /// the signer may not lift this. When something else stops it meanwhile, or it was lifted.
    pub fn lift(
        &self,
        statement: &LiftStatement,
        signature: Option<&str>,
        reason: &str,
    ) -> Result<Option<IdentityName>, EngineError> {
        if self.actor.kind != ActorKind::Human {
            return Err(EngineError::Lift(
                "only a person lifts, and automation acts here: a person says so with --actor-kind human".into(),
            ));
        }
        let signed = match (&self.governance.policy, signature) {
            (None, _) => None,
            (Some(_), None) => {
                let why = "a policy is in force, and a name is only a claim: sign with --key KEY";
                return Err(EngineError::Lift(why.into()));
            }
            (Some(_), Some(signature)) => Some(Signed::new(&statement.to_bytes()?, signature)),
        };
        loop {
            let (size, who) = self.with_view(|view| {
                let who =
                    signed.as_ref().map(|s| signer(&self.governance, &statement.ledger, view, &statement.lift, s));
                (view.size, who.transpose().and_then(|who| in_force(view, &statement.lift).map(|_| who)))
            })?;
            let by = who.map_err(EngineError::Lift)?;
            by.as_ref().map_or(Ok(()), |by| self.took_no_part(by, &statement.lift))?;
            let signed = signed.as_ref().map(Signed::to_value).transpose()?;
            let event = match statement.lift.clone() {
                Lift::Quarantine { release, scope } => Event::ReleaseLifted { release, scope, by: by.clone(), signed },
                Lift::Freeze { environments } => Event::Unfrozen { environments, by: by.clone(), signed },
                Lift::Evidence { document } => Event::EvidenceWithdrawn { document, by: by.clone(), signed },
                Lift::Recall { artifact } => Event::RecallLifted { artifact, by: by.clone(), signed },
                Lift::Clock { ahead } => Event::ClockAccepted { ahead, by: by.clone(), signed },
            };
            let mut draft = self.draft(event);
            draft.private.insert(REASON.into(), reason.into());
            // Judged on this very head: what is frozen again meanwhile is another record.
            match self.append(&Expect { head: Some(size), ..Expect::default() }, &[draft]) {
                Ok(_) => return Ok(by),
                Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Session {
    /// Refuses whom every rule under which they could approve keeps out, as an author or the builder of the release; where it
    /// cannot be told who that is, everybody (S6.4). It is asked where somebody lifts, and of no record: names of builds can be
    /// erased (S12.5).
    fn took_no_part(&self, who: &IdentityName, lift: &Lift) -> Result<(), EngineError> {
        let view = self.view()?;
        let releases: Vec<&ReleaseId> = match lift {
            Lift::Quarantine { release, .. } => vec![release],
            Lift::Evidence { document } => self.let_in_without(&view, document)?,
            // What is there and has it in it stays quarantined, and is lifted by itself.
            Lift::Freeze { .. } | Lift::Clock { .. } | Lift::Recall { .. } => return Ok(()),
        };
        releases.into_iter().try_for_each(|release| self.took_no_part_in(&view, who, lift, release))
    }

    fn took_no_part_in(
        &self,
        view: &View,
        who: &IdentityName,
        lift: &Lift,
        release: &ReleaseId,
    ) -> Result<(), EngineError> {
        let Some(identity) = self.governance.roster.identity(who) else { return Ok(()) };
        let (me, built) = (Person::Known(who.clone()), self.built(view, release)?);
        let is_me = |person: &Person| *person == me || !matches!(person, Person::Known(_));
        let wrote = self.written(view, release)?.iter().any(is_me);
        let part = |party: &Party| match party {
            Party::Author => wrote,
            Party::Builder => built.as_ref().is_none_or(is_me),
            Party::Initiator | Party::Applier => false,
        };
        for (environment, rules) in rules_about(&self.governance, lift) {
            let rules: Vec<&ApprovalRule> = theirs(rules, identity).collect();
            let parties: Vec<&Party> =
                rules.iter().filter_map(|rule| rule.exclude.iter().find(|party| part(party))).collect();
            if let (Some(party), true) = (parties.first(), parties.len() == rules.len()) {
                return Err(EngineError::Lift(format!(
                    "the rule of {environment} excludes the {0} of the release, and {who} is that, or it cannot be told who is: \
                     `promo release show {release}` has its {0}",
                    party.as_str()
                )));
            }
        }
        Ok(())
    }
}

/// Positions of the records that are to be lifted, or what there is none of, in words.
fn in_force(view: &View, lift: &Lift) -> Result<BTreeSet<u64>, String> {
    match lift {
        Lift::Quarantine { release, scope } => {
            let note = view.quarantines.get(&(release.clone(), scope.clone())).ok_or_else(|| {
                let place = scope.as_ref().map_or_else(|| "everywhere".into(), |scope| format!("for {scope}"));
                format!("{release} is not quarantined {place}")
            })?;
            Ok([note.seq].into())
        }
        Lift::Evidence { document } => {
            let standing: BTreeSet<u64> = view.standing(document).map(|entry| entry.seq).collect();
            match (standing.is_empty(), view.evidence.iter().find(|entry| entry.document == *document)) {
                (false, _) => Ok(standing),
                (true, Some(_)) => Err(format!("{document} is withdrawn already")),
                (true, None) => Err(format!("the ledger has no evidence {document}: `promo release show` names it")),
            }
        }
        Lift::Recall { artifact } => view
            .recalled
            .get(artifact)
            .map(|note| [note.seq].into())
            .ok_or_else(|| format!("{artifact} is not recalled")),
        Lift::Clock { ahead } => match view.latest {
            Some((latest, seq)) if latest == *ahead => Ok([seq].into()),
            _ => Err(format!("{} is not the latest time of a record", Instant(*ahead))),
        },
        Lift::Freeze { environments } => {
            let all = environments.is_empty().then_some(None);
            let scopes = environments.iter().cloned().map(Some).chain(all);
            let freeze = |scope: Option<EnvironmentName>| match view.lifted_next(&scope) {
                Some(freeze) => Ok(freeze.note.seq),
                None => Err(format!(
                    "{} is neither frozen nor paused",
                    scope.map_or("the pipeline".into(), |name| name.to_string())
                )),
            };
            scopes.map(freeze).collect()
        }
    }
}

/// Whether a lift counts. Before the ledger works under a policy each does: whoever writes later cannot write before.
///
/// # Errors
/// Why it counts for nothing, in words.
pub(crate) fn judge(governance: &Governance, origin: &str, view: &View, event: &Event) -> Result<(), String> {
    let (lift, by, signed) = match event {
        Event::ReleaseLifted { release, scope, by, signed } => {
            (Lift::Quarantine { release: release.clone(), scope: scope.clone() }, by, signed)
        }
        Event::Unfrozen { environments, by, signed } => {
            (Lift::Freeze { environments: environments.clone() }, by, signed)
        }
        Event::EvidenceWithdrawn { document, by, signed } => (Lift::Evidence { document: *document }, by, signed),
        Event::RecallLifted { artifact, by, signed } => (Lift::Recall { artifact: *artifact }, by, signed),
        Event::ClockAccepted { ahead, by, signed } => (Lift::Clock { ahead: *ahead }, by, signed),
        _ => return Ok(()),
    };
    if view.policy_in_force().is_none() {
        return Ok(());
    }
    let signed = Signed::deserialize(signed.as_ref().ok_or("nobody signed it")?).map_err(|e| e.to_string())?;
    let who = signer(governance, origin, view, &lift, &signed)?;
    if by.as_ref() == Some(&who) { Ok(()) } else { Err(format!("{who} signed it, and the record names somebody else")) }
}

/// Who signed that this is lifted as it is in force in `view`, if policy knows them as a person who may.
fn signer(
    governance: &Governance,
    origin: &str,
    view: &View,
    lift: &Lift,
    Signed { statement, signature }: &Signed,
) -> Result<IdentityName, String> {
    let bytes = statement.as_bytes();
    let statement = match lift {
        Lift::Evidence { .. } => WithdrawalStatement::from_bytes(bytes)?.into(),
        Lift::Recall { .. } => RecallLiftStatement::from_bytes(bytes)?.into(),
        Lift::Quarantine { .. } | Lift::Freeze { .. } | Lift::Clock { .. } => LiftStatement::from_bytes(bytes)?,
    };
    let signer = signature::verify_bytes(bytes, signature, lift.namespace(), &governance.roster)
        .map_err(|error| error.to_string())?;
    // The clock is that of the ledger: one pipeline speaks for all in which the signer may.
    let here = statement.pipeline == governance.pipeline.name || matches!(lift, Lift::Clock { .. });
    if statement.lift != *lift || statement.ledger != origin || !here {
        return Err("what was signed is another statement".into());
    }
    if statement.records != in_force(view, lift)? {
        return Err("what was signed is about something that is no longer in force".into());
    }
    may_lift(governance, signer.identity, lift)?;
    Ok(signer.identity.name.clone())
}

/// A person lifts who holds a role that approves for every environment that this lets something into again; where nobody approves,
/// any person whom policy knows.
fn may_lift(governance: &Governance, identity: &Identity, lift: &Lift) -> Result<(), String> {
    let who = &identity.name;
    if !identity.human {
        return Err(format!("{who} is not a person"));
    }
    for (environment, rules) in rules_about(governance, lift) {
        if theirs(rules, identity).next().is_none() && !rules.is_empty() {
            let roles: BTreeSet<&str> = rules.iter().flat_map(|rule| &rule.from).map(RoleName::as_str).collect();
            let roles = Vec::from_iter(roles).join(", ");
            return Err(format!("{who} holds none of the roles that approve for {environment}: {roles}"));
        }
    }
    Ok(())
}

/// The rules of the environments that a lift lets something into again. A quarantine of one scope bars everything reachable from
/// there too (S10.4), and so lifting it is about all of that.
fn rules_about<'g>(
    governance: &'g Governance,
    lift: &Lift,
) -> impl Iterator<Item = (&'g EnvironmentName, &'g Vec<ApprovalRule>)> {
    let about = |name: &EnvironmentName| match lift {
        Lift::Quarantine { scope: Some(scope), .. } => name == scope || governance.graph.reaches(scope, name),
        Lift::Freeze { environments } => environments.is_empty() || environments.contains(name),
        Lift::Evidence { .. } => governance.gates.contains_key(name),
        Lift::Quarantine { scope: None, .. } | Lift::Clock { .. } | Lift::Recall { .. } => true,
    };
    governance.lifting.iter().filter(move |(name, _)| about(name))
}

/// The rules under which somebody approves.
fn theirs<'r>(rules: &'r [ApprovalRule], identity: &Identity) -> impl Iterator<Item = &'r ApprovalRule> {
    rules.iter().filter(|rule| rule.from.iter().any(|role| identity.roles.contains(role)))
}
