//! Turns signed statements into facts about a plan: the only way from an envelope to an open approval gate.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::{self, Decision, Envelope, Evaluation, Parties, Person, Rules, Subject, VerifiedApproval};
use promo_core::ids::{EnvironmentName, IdentityName};
use promo_core::ledger::view::Request;
use promo_core::ledger::{ActorKind, View};
use promo_core::model::Party;
use promo_core::plan::{Document, Move, Plan};
use promo_core::windows::Invoker;

use crate::error::EngineError;
use crate::metadata::{AUTHORS, BUILDER, names};
use crate::session::Session;
use crate::signature;

/// How the approval rules of one environment of a plan stand.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Where.
    pub environment: EnvironmentName,
    /// Rule by rule.
    pub evaluation: Evaluation,
}

impl Session {
    /// Verifies signed statements about a plan: those of the ledger and those that lie beside it. What cannot be
    /// verified is no fact; the second list says why.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn approval_facts(
        &self,
        plan: &Digest,
        view: &View,
        beside: &[Envelope],
    ) -> (Vec<VerifiedApproval>, Vec<String>) {
        let mut facts = Vec::new();
        let mut problems = Vec::new();
        let recorded = view.approvals.iter().filter(|a| a.plan == Some(*plan));
        let envelopes = recorded
            .map(|a| serde_json::from_value::<Envelope>(a.envelope.clone()).map_err(|e| e.to_string()))
            .chain(beside.iter().cloned().map(Ok));
        for envelope in envelopes {
            let fact = envelope
                .and_then(|envelope| signature::verify(&envelope, &self.governance.roster).map_err(|e| e.to_string()));
            match fact {
                Ok(fact) if facts.contains(&fact) => {}
                Ok(fact) => facts.push(fact),
                Err(problem) => problems.push(problem),
            }
        }
        (facts, problems)
    }

    /// As what whoever asked for a plan counts. That it was a person is the plan's own word, and anybody can write it: it
    /// counts where a person applies the plan, and where one whom policy knows signed for this very plan, a request or an
    /// approval that they did not take back.
    pub(crate) fn counts_as(&self, plan: &Plan, digest: &Digest, view: &View, beside: &[Envelope]) -> Invoker {
        let roster = &self.governance.roster;
        let asked = || {
            let signers = view.requests.get(digest).into_iter().flat_map(|request| &request.signers);
            signers.filter_map(|name| roster.identity(name)).any(|who| who.human)
        };
        let approved = || {
            let (facts, _) = self.approval_facts(digest, view, beside);
            let said = |who: &IdentityName, decision| {
                let mut theirs = facts.iter().filter(|f| f.human() && f.identity() == who);
                theirs.any(|f| f.statement().plan == *digest && f.statement().decision == decision)
            };
            let mut people = facts.iter().map(VerifiedApproval::identity);
            people.any(|who| said(who, Decision::Approve) && !said(who, Decision::Revoke))
        };
        if self.actor.kind == ActorKind::Human || asked() || approved() {
            plan.request.invoker
        } else {
            Invoker::Automation
        }
    }

    /// Evaluates the approval rules of every environment that a plan moves.
    ///
    /// # Errors
    /// When rules are malformed, which the configuration refuses.
    pub fn standings(
        &self,
        document: &Document,
        digest: &Digest,
        view: &View,
        beside: &[Envelope],
        applier: Option<&str>,
        now: Timestamp,
    ) -> Result<BTreeMap<EnvironmentName, Evaluation>, EngineError> {
        let (facts, _) = self.approval_facts(digest, view, beside);
        let mut out = BTreeMap::new();
        for entry in &document.body.moves {
            let rules = self.governance.approval.get(&entry.environment).cloned().unwrap_or_default();
            if rules.is_empty() {
                continue;
            }
            let rules = Rules::new(rules).map_err(|errors| {
                let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
                EngineError::Invalid(text.join("; "))
            })?;
            let subject = self.subject(document, digest, entry);
            let initiators = self.initiators(document, view.requests.get(digest));
            let parties = self.parties(view, entry, &rules, initiators, applier);
            out.insert(entry.environment.clone(), approval::evaluate(&rules, &facts, &parties, &subject, now));
        }
        Ok(out)
    }

    fn subject(&self, document: &Document, digest: &Digest, entry: &Move) -> Subject {
        Subject {
            plan: *digest,
            pipeline: self.governance.pipeline.name.clone(),
            ledger_origin: document.body.ledger.origin.clone(),
            policy: self.governance.policy.as_ref().map(|p| p.digest),
            change: signed_move(entry),
        }
    }

    /// Who asked, and whether a signature says so. A claimed name that policy knows is taken in as well: a claim may
    /// exclude somebody more, and never somebody less (S6.3).
    fn initiators(&self, document: &Document, request: Option<&Request>) -> (BTreeSet<Person>, bool) {
        let claimed = request.into_iter().flat_map(|r| &r.initiators).chain([&document.body.initiator]);
        let known = claimed.map(|name| self.person(name)).filter(|person| matches!(person, Person::Known(_)));
        let signers = request.into_iter().flat_map(|r| &r.signers).cloned().map(Person::Known);
        (known.chain(signers).collect(), request.is_some_and(|r| !r.signers.is_empty()))
    }

    fn parties(
        &self,
        view: &View,
        entry: &Move,
        rules: &Rules,
        (initiator, requested): (BTreeSet<Person>, bool),
        applier: Option<&str>,
    ) -> Parties {
        let excluded: BTreeSet<Party> = rules.as_slice().iter().flat_map(|r| r.exclude.iter().copied()).collect();
        let metadata = |id| view.release(id).map(|r| &r.release.metadata);
        // Nobody said who wrote it, or built it: that is not the same as nobody having done so.
        let unknown = || Person::Unmapped("unknown".into());
        let written = |id| -> BTreeSet<Person> {
            let list = metadata(id).and_then(|m| m.get(AUTHORS)).map(String::as_str);
            let named: BTreeSet<Person> = names(list).into_iter().map(|name| self.person(name)).collect();
            if named.is_empty() && excluded.contains(&Party::Author) { [unknown()].into() } else { named }
        };
        // A release brings along what those between it and the running one changed (S6.4).
        let running = entry.from.as_ref().map_or(0, |from| view.lineage(&from.id));
        let between = running + 1..view.lineage(&entry.to.id);
        let along = view.releases.iter().filter(|r| between.contains(&r.lineage)).map(|r| &r.release.id);
        let authors = along.chain([&entry.to.id]).flat_map(written).collect();
        let builder = match metadata(&entry.to.id).and_then(|m| m.get(BUILDER)) {
            Some(name) => Some(self.person(name)),
            None => excluded.contains(&Party::Builder).then(unknown),
        };
        Parties {
            initiator,
            requested,
            authors,
            builder,
            applier: applier.map(|name| self.person(name)),
            allow_unmapped: false,
        }
    }

    /// The identity behind a claimed name or e-mail address.
    fn person(&self, claimed: &str) -> Person {
        let roster = &self.governance.roster;
        match claimed.parse::<IdentityName>() {
            Ok(name) if roster.identity(&name).is_some() => Person::Known(name),
            _ => roster.by_email(claimed),
        }
    }
}

/// A move in the words of a signed statement.
#[must_use]
pub fn signed_move(entry: &Move) -> approval::Move {
    approval::Move {
        environment: entry.environment.clone(),
        from: entry.from.as_ref().map(|r| r.id.clone()),
        to: entry.to.id.clone(),
    }
}
