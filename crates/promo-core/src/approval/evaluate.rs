//! Whether approvals satisfy rules (S6.4 to S6.6). A pure function: the same facts in any order give the same answer.
//! What must not live here: signatures, and whether an approval was consumed; the ledger says that.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;

use super::key::Fingerprint;
use super::matching;
use super::problem::ApprovalProblem;
use super::roster::{Identity, Person, Roster};
use super::rules::{Parties, Rules};
use super::statement::{Decision, MAX_LIFETIME, Move, Statement, Waivable};
use crate::Digest;
use crate::eligibility::ApprovalStatus;
use crate::ids::{IdentityName, PipelineName, RoleName};
use crate::model::{ApprovalRule, Party};

/// How many holders of the role must break the glass together (S11.1).
const BREAKGLASS_HOLDERS: usize = 2;

/// A statement whose signature has been checked, with what policy says about the signer. A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedApproval {
    statement: Statement,
    identity: IdentityName,
    roles: BTreeSet<RoleName>,
    human: bool,
}

impl VerifiedApproval {
    /// A fact out of a statement and the key that signed it.
    ///
    /// To be called only by the code that has just checked a signature by `signed_by` over the statement's bytes: this
    /// function cannot check it, and takes the signer's name and roles from nowhere but the roster.
    ///
    /// # Errors
    /// [`ApprovalProblem::OtherKey`] when the statement names another key, [`ApprovalProblem::UnknownKey`].
    pub fn after_signature_check(
        statement: Statement,
        signed_by: &Fingerprint,
        roster: &Roster,
    ) -> Result<Self, ApprovalProblem> {
        if statement.key != *signed_by {
            return Err(ApprovalProblem::OtherKey { named: statement.key, signed: signed_by.clone() });
        }
        let (who, _) = roster.by_key(signed_by).ok_or_else(|| ApprovalProblem::UnknownKey(signed_by.clone()))?;
        Ok(Self { statement, identity: who.name.clone(), roles: who.roles.clone(), human: who.human })
    }

    /// What was signed.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Who signed.
    #[must_use]
    pub const fn identity(&self) -> &IdentityName {
        &self.identity
    }

    /// The roles that policy gives to the signer.
    #[must_use]
    pub const fn roles(&self) -> &BTreeSet<RoleName> {
        &self.roles
    }

    /// Whether the signer is a person.
    #[must_use]
    pub const fn human(&self) -> bool {
        self.human
    }

    /// Whether the signer may speak in the role that the statement claims.
    fn speaker(&self) -> Result<(), ApprovalProblem> {
        let identity = self.identity.clone();
        if !self.human {
            return Err(ApprovalProblem::Bot { identity });
        }
        let role = &self.statement.role;
        if self.roles.contains(role) {
            Ok(())
        } else {
            Err(ApprovalProblem::RoleNotHeld { identity, role: role.clone() })
        }
    }
}

/// What has to be approved: one environment's part of one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The digest of the plan.
    pub plan: Digest,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The origin of the ledger.
    pub ledger_origin: String,
    /// The digest of the policy in force; none in local mode.
    pub policy: Option<Digest>,
    /// The environment and what happens to it.
    pub change: Move,
}

/// A rejection that blocks the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// Who rejected it.
    pub identity: IdentityName,
    /// In which role.
    pub role: RoleName,
}

/// A slot of a rule that somebody fills.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filled {
    /// Who.
    pub identity: IdentityName,
    /// In which role.
    pub role: RoleName,
}

/// How far one rule is satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOutcome {
    /// How many people it asks for.
    pub count: u32,
    /// Who counts towards it, sorted.
    pub filled: Vec<Filled>,
    /// How many are missing.
    pub missing: u32,
    /// The roles that can fill what is missing.
    pub who_can: BTreeSet<RoleName>,
    /// People whom the rule excludes, and for which part in the promotion; sorted.
    pub excluded: Vec<(IdentityName, Party)>,
    /// Why approvals that are good in themselves do not count here; sorted.
    pub problems: Vec<ApprovalProblem>,
}

/// What the approvals come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// One outcome for each rule, in order.
    pub rules: Vec<RuleOutcome>,
    /// Rejections by people who hold a role that a rule asks for; any of them blocks the plan, whatever is waived.
    pub rejections: Vec<Rejection>,
    /// Who took back what they said about this plan, or will ever say: they can approve it no more; sorted.
    pub revoked: Vec<IdentityName>,
    /// Why statements count nowhere; sorted.
    pub problems: Vec<ApprovalProblem>,
}

impl Evaluation {
    /// Whether every rule has its people and nobody rejected the plan.
    #[must_use]
    pub fn satisfied(&self) -> bool {
        self.rejections.is_empty() && self.rules.iter().all(|rule| rule.missing == 0)
    }

    /// How many people are missing in all.
    #[must_use]
    pub fn missing(&self) -> u32 {
        self.rules.iter().map(|rule| rule.missing).sum()
    }

    /// The people of `roster` who could fill what a rule of this evaluation still misses: they hold one of its roles, are
    /// not excluded, and fill no slot yet. Nobody where the rule waits for something else first.
    pub fn could_fill<'a>(&'a self, rule: &'a RuleOutcome, roster: &'a Roster) -> impl Iterator<Item = &'a Identity> {
        let nobody = |problem: &ApprovalProblem| {
            use ApprovalProblem::{ApplyUnsigned, RequestUnsigned, UnmappedParty, UnnamedParty};
            matches!(problem, UnmappedParty { .. } | UnnamedParty { .. } | RequestUnsigned | ApplyUnsigned)
        };
        let open = rule.missing > 0 && !rule.problems.iter().any(nobody);
        roster.identities().filter(move |who| {
            let mut slots = self.rules.iter().flat_map(|rule| &rule.filled);
            open && who.human
                && !who.keys.is_empty()
                && !self.revoked.contains(&who.name)
                && who.roles.iter().any(|role| rule.who_can.contains(role))
                && !rule.excluded.iter().any(|(name, _)| *name == who.name)
                && !slots.any(|slot| slot.identity == who.name)
        })
    }

    /// Whether those who took their approval back leave too few of `roster` for the rules: this plan can get its approvals
    /// no more, and a new one could.
    #[must_use]
    pub fn lost(&self, roster: &Roster) -> bool {
        !self.revoked.is_empty() && !self.enough_without(roster, &self.revoked) && self.enough(roster)
    }

    /// Whether `roster` has the people that the rules ask for, each in one slot, whoever has spoken so far.
    #[must_use]
    pub fn enough(&self, roster: &Roster) -> bool {
        self.enough_without(roster, &[])
    }

    fn enough_without(&self, roster: &Roster, without: &[IdentityName]) -> bool {
        let able = |who: &&Identity| who.human && !who.keys.is_empty() && !without.contains(&who.name);
        let people: Vec<&Identity> = roster.identities().filter(able).collect();
        let slots: Vec<&RuleOutcome> = self.rules.iter().flat_map(|rule| (0..rule.count).map(move |_| rule)).collect();
        let could = |slot: usize, person: usize| {
            let (rule, who) = (slots[slot], people[person]);
            !rule.who_can.is_disjoint(&who.roles) && !rule.excluded.iter().any(|(name, _)| *name == who.name)
        };
        matching::fill(slots.len(), people.len(), &could).iter().all(Option::is_some)
    }

    /// What the one eligibility function asks of it (S1.1).
    #[must_use]
    pub fn status(&self) -> ApprovalStatus {
        let people = |rule: &RuleOutcome| rule.filled.iter().map(|slot| slot.identity.as_str().into()).collect();
        ApprovalStatus {
            filled: self.rules.iter().map(people).collect(),
            rejected_by: self.rejections.first().map(|rejection| rejection.identity.as_str().into()),
        }
    }
}

/// Evaluates `rules` over `facts` at the instant `now`.
///
/// - A rejection takes effect whether or not its time has come or is over, and an excluded person's counts as well: an
///   exclusion takes away the yes, not the no. A new plan is the way on.
/// - A revocation by the same identity or key removes that signer's approvals of this plan for good, so that an old file
///   that turns up again cannot bring one back.
/// - One person fills one slot across all rules; people are assigned so that as many slots as possible are filled.
#[must_use]
pub fn evaluate(
    rules: &Rules,
    facts: &[VerifiedApproval],
    parties: &Parties,
    subject: &Subject,
    now: Timestamp,
) -> Evaluation {
    let asked: BTreeSet<&RoleName> = rules.as_slice().iter().flat_map(|rule| &rule.from).collect();
    let mut problems = BTreeSet::new();
    let mut rejections = BTreeSet::new();
    let mut revoked = BTreeSet::new();
    let mut voices: BTreeMap<&IdentityName, BTreeSet<&RoleName>> = BTreeMap::new();
    for fact in facts {
        let role = &fact.statement.role;
        match fact.statement.decision {
            Decision::Approve => match usable(fact, facts, subject, now) {
                Ok(()) => {
                    voices.entry(&fact.identity).or_default().insert(role);
                }
                Err(problem) => {
                    problems.insert(problem);
                }
            },
            Decision::Reject => match eligible_to_reject(fact, &asked, subject) {
                Ok(()) => {
                    rejections.insert(Rejection { identity: fact.identity.clone(), role: role.clone() });
                }
                Err(problem) => {
                    problems.insert(problem);
                }
            },
            Decision::Revoke if fact.statement.plan == subject.plan => {
                revoked.insert(fact.identity.clone());
            }
            Decision::Revoke | Decision::Breakglass => {}
        }
    }
    let excluded: Vec<_> = rules.as_slice().iter().map(|rule| exclusions(rule, parties)).collect();
    let people: Vec<(&IdentityName, &BTreeSet<&RoleName>)> = voices.iter().map(|(who, roles)| (*who, roles)).collect();
    // In which role, if any, a person may count towards a rule.
    let eligible = |rule: usize, person: usize| -> Option<&RoleName> {
        let ((who, roles), barred) = (people[person], &excluded[rule]);
        if !barred.nobody.is_empty() || barred.people.iter().any(|(name, _)| name == who) {
            return None;
        }
        roles.iter().copied().find(|role| rules.as_slice()[rule].from.contains(*role))
    };
    let slots = rules.slots();
    let filled = matching::fill(slots.len(), people.len(), &|slot, person| eligible(slots[slot], person).is_some());
    let outcomes = rules.as_slice().iter().enumerate().map(|(index, rule)| {
        let mine: BTreeSet<usize> =
            filled.iter().zip(&slots).filter(|(_, rule)| **rule == index).filter_map(|(person, _)| *person).collect();
        let missing = rule.count - u32::try_from(mine.len()).expect("invariant: no more people than the rule's slots");
        let barred = &excluded[index];
        let mut problems: BTreeSet<ApprovalProblem> = barred.nobody.iter().cloned().collect();
        for (person, (who, roles)) in people.iter().enumerate().filter(|(person, _)| !mine.contains(person)) {
            let identity = (*who).clone();
            if roles.iter().all(|role| !rule.from.contains(*role)) {
                for role in *roles {
                    let (identity, role) = (identity.clone(), (*role).clone());
                    problems.insert(ApprovalProblem::RoleNotAsked { identity, role });
                }
            } else if let Some((_, party)) = barred.people.iter().find(|(name, _)| name == *who) {
                problems.insert(ApprovalProblem::Excluded { identity, party: *party });
            } else if missing > 0 && eligible(index, person).is_some() {
                problems.insert(ApprovalProblem::Counted { identity });
            }
        }
        let filled = mine.iter().filter_map(|&person| {
            eligible(index, person).map(|role| Filled { identity: people[person].0.clone(), role: role.clone() })
        });
        RuleOutcome {
            count: rule.count,
            filled: filled.collect(),
            missing,
            who_can: rule.from.clone(),
            excluded: barred.people.iter().cloned().collect(),
            problems: problems.into_iter().collect(),
        }
    });
    Evaluation {
        rules: outcomes.collect(),
        rejections: rejections.into_iter().collect(),
        revoked: revoked.into_iter().collect(),
        problems: problems.into_iter().collect(),
    }
}

/// What break-glass statements come to (S11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The gates that two different holders of the role agree to bypass.
    pub waived: BTreeSet<Waivable>,
    /// Who broke the glass, sorted.
    pub holders: Vec<IdentityName>,
    /// Why statements do not count; sorted.
    pub problems: Vec<ApprovalProblem>,
}

/// Evaluates break-glass statements: each gate is waived when two holders of `role` name it for this plan (S11.1).
/// A rejection is not waived by it (S11.2): ask [`Evaluation::rejections`] too.
#[must_use]
pub fn overrides(role: &RoleName, facts: &[VerifiedApproval], subject: &Subject, now: Timestamp) -> Override {
    let mut problems = BTreeSet::new();
    let mut named: BTreeMap<Waivable, BTreeSet<&IdentityName>> = BTreeMap::new();
    for fact in facts {
        let Some(glass) = &fact.statement.breakglass else { continue };
        let asked = if fact.statement.role == *role {
            usable(fact, facts, subject, now)
        } else {
            let (identity, role) = (fact.identity.clone(), fact.statement.role.clone());
            Err(ApprovalProblem::RoleNotAsked { identity, role })
        };
        match asked {
            Ok(()) => {
                for gate in &glass.waives {
                    named.entry(*gate).or_default().insert(&fact.identity);
                }
            }
            Err(problem) => {
                problems.insert(problem);
            }
        }
    }
    let holders: BTreeSet<&IdentityName> = named.values().flatten().copied().collect();
    Override {
        waived: named.iter().filter(|(_, who)| who.len() >= BREAKGLASS_HOLDERS).map(|(gate, _)| *gate).collect(),
        holders: holders.into_iter().cloned().collect(),
        problems: problems.into_iter().collect(),
    }
}

/// Whether a statement that grants something counts for the subject at all.
fn usable(
    fact: &VerifiedApproval,
    facts: &[VerifiedApproval],
    subject: &Subject,
    now: Timestamp,
) -> Result<(), ApprovalProblem> {
    let statement = &fact.statement;
    let identity = fact.identity.clone();
    if statement.plan != subject.plan {
        return Err(ApprovalProblem::OtherPlan { identity, plan: statement.plan });
    }
    if statement.ledger.origin != subject.ledger_origin {
        return Err(ApprovalProblem::OtherLedger { identity, origin: statement.ledger.origin.clone() });
    }
    if statement.pipeline != subject.pipeline {
        return Err(ApprovalProblem::OtherPipeline { identity, pipeline: statement.pipeline.clone() });
    }
    if statement.policy.as_ref().map(|policy| policy.digest) != subject.policy {
        return Err(ApprovalProblem::OtherPolicy { identity });
    }
    let environment = subject.change.environment.clone();
    match statement.environments.iter().find(|change| change.environment == environment) {
        None => return Err(ApprovalProblem::OtherEnvironment { identity, environment }),
        Some(change) if *change != subject.change => {
            return Err(ApprovalProblem::OtherRelease { identity, environment });
        }
        Some(_) => {}
    }
    fact.speaker()?;
    let takes_back = |other: &VerifiedApproval| {
        other.statement.decision == Decision::Revoke
            && other.statement.plan == subject.plan
            && (other.identity == fact.identity || other.statement.key == statement.key)
    };
    if facts.iter().any(takes_back) {
        return Err(ApprovalProblem::Revoked { identity });
    }
    if now < statement.not_before {
        return Err(ApprovalProblem::NotYetValid { identity, at: statement.not_before });
    }
    // A statement that came some other way than through the reader is held to the longest grant as well (S6.5).
    let expires =
        statement.not_before.checked_add(MAX_LIFETIME).map_or(statement.expires, |t| t.min(statement.expires));
    if now >= expires {
        return Err(ApprovalProblem::Expired { identity, at: expires });
    }
    Ok(())
}

/// Whether a rejection blocks: it must be about this plan, by a person, in a role that they hold and that is asked.
fn eligible_to_reject(
    fact: &VerifiedApproval,
    asked: &BTreeSet<&RoleName>,
    subject: &Subject,
) -> Result<(), ApprovalProblem> {
    let identity = fact.identity.clone();
    if fact.statement.plan != subject.plan {
        return Err(ApprovalProblem::OtherPlan { identity, plan: fact.statement.plan });
    }
    fact.speaker()?;
    let role = &fact.statement.role;
    if asked.contains(role) { Ok(()) } else { Err(ApprovalProblem::RoleNotAsked { identity, role: role.clone() }) }
}

struct Exclusions {
    people: BTreeSet<(IdentityName, Party)>,
    /// Why nobody at all can satisfy the rule.
    nobody: BTreeSet<ApprovalProblem>,
}

fn exclusions(rule: &ApprovalRule, parties: &Parties) -> Exclusions {
    let mut out = Exclusions { people: BTreeSet::new(), nobody: BTreeSet::new() };
    if rule.exclude.contains(&Party::Initiator) && !parties.requested {
        out.nobody.insert(ApprovalProblem::RequestUnsigned);
    }
    if rule.exclude.contains(&Party::Applier) && parties.apply_unsigned {
        out.nobody.insert(ApprovalProblem::ApplyUnsigned);
    }
    for &party in &rule.exclude {
        for person in parties.of(party) {
            match person {
                Person::Known(name) => {
                    out.people.insert((name.clone(), party));
                }
                Person::Unmapped(_) | Person::Unnamed(_) if parties.allow_unmapped => {}
                Person::Unnamed(release) => {
                    out.nobody.insert(ApprovalProblem::UnnamedParty { party, release: release.clone() });
                }
                Person::Unmapped(name) => {
                    out.nobody.insert(ApprovalProblem::UnmappedParty { party, name: name.clone() });
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
