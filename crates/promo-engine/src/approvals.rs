//! Turns signed statements into facts about a plan: the only way from an envelope to an open approval gate.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::{
    self, ApprovalProblem, Decision, Envelope, Evaluation, Parties, Person, Rules, Subject, VerifiedApproval,
};
use promo_core::ids::{EnvironmentName, IdentityName, RoleName};
use promo_core::ledger::view::Request;
use promo_core::ledger::{ActorKind, View};
use promo_core::model::Party;
use promo_core::plan::{Document, Move, Plan};
use promo_core::windows::Invoker;

use crate::appliers::Applier;
use crate::apply::precheck::Use;
use crate::error::EngineError;
use crate::session::Session;
use crate::signature;

/// A signed statement that counts for a plan, and how the plan stands with it.
#[derive(Debug, Clone)]
pub struct Weighed {
    /// Who says what.
    pub fact: VerifiedApproval,
    /// How the rules of each environment stand that has any, this statement among the others.
    pub standings: BTreeMap<EnvironmentName, Evaluation>,
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

    /// Who approved a plan and did not take it back, as far as the ledger says.
    pub(crate) fn approvers(&self, view: &View, plan: &Digest) -> BTreeSet<IdentityName> {
        let (facts, _) = self.approval_facts(plan, view, &[]);
        let said = |decision| {
            let those = facts.iter().filter(move |f| f.statement().plan == *plan && f.statement().decision == decision);
            those.map(|fact| fact.identity().clone()).collect::<BTreeSet<_>>()
        };
        &said(Decision::Approve) - &said(Decision::Revoke)
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

    /// Evaluates the approval rules of every environment that a plan moves, for whoever applies it, or before anybody does.
    ///
    /// # Errors
    /// When rules are malformed, which the configuration refuses.
    pub fn standings(
        &self,
        document: &Document,
        digest: &Digest,
        view: &View,
        beside: &[Envelope],
        applier: Option<&Applier>,
        now: Timestamp,
    ) -> Result<BTreeMap<EnvironmentName, Evaluation>, EngineError> {
        let (facts, _) = self.approval_facts(digest, view, beside);
        self.evaluations(document, digest, view, &facts, applier, now)
    }

    /// Judges a signed statement before anything takes it, as apply would judge it. A yes that fills no slot because others
    /// do counts too: they may take theirs back. A revocation takes back a yes of the same signer, which the ledger has or
    /// lies beside the plan.
    ///
    /// # Errors
    /// When the signature, the key or the role does not hold, or it is about another plan; [`EngineError::RequestUnsigned`];
    /// [`EngineError::Spent`] and [`EngineError::Stale`] for a plan on which nobody decides any more, and
    /// [`EngineError::Uncounted`] for a yes or a no that would count nowhere.
    pub fn weigh(
        &self,
        view: &View,
        document: &Document,
        digest: &Digest,
        envelope: &Envelope,
        beside: &[Envelope],
    ) -> Result<Weighed, EngineError> {
        let fact = self.verified_for(digest, envelope)?;
        if fact.statement().decision == Decision::Approve {
            self.needs_signed_request(digest, document.body.moves.iter().map(|entry| &entry.environment))?;
        }
        let now = self.present()?;
        match self.unspent(&document.body, digest, view, now, Use::Apply) {
            // Whether time is up is judged again when it is applied.
            Ok(()) | Err(EngineError::Undated { .. }) => {}
            // What a run has not begun yet can still be stopped (S6.6).
            Err(EngineError::Spent { run: Some(run), .. })
                if fact.statement().decision != Decision::Approve
                    && view.runs.get(&run).is_some_and(|run| run.finished.is_none()) => {}
            Err(spent) => return Err(spent),
        }
        let (others, _) = self.approval_facts(digest, view, beside);
        let (who, decision) = (fact.identity(), fact.statement().decision);
        let yes = |other: &&VerifiedApproval| {
            let said = other.statement();
            other.identity() == who && said.plan == *digest && said.decision == Decision::Approve
        };
        if decision == Decision::Revoke && !others.iter().any(|other| yes(&other)) {
            let why = [
                format!("{who} gave no approval of this plan that could be taken back: neither the ledger has one, nor lies one beside the plan"),
                "put the file of one that was signed with --out beside the plan, or say no to the plan: --decision reject".into(),
            ];
            return Err(EngineError::Uncounted { who: who.clone(), decision, over: false, why: why.into() });
        }
        // What it does of itself: whoever said no or took something back still did, and nobody else said yes.
        let of_itself = others.iter().filter(|other| other.statement().decision != Decision::Approve);
        let of_itself: Vec<VerifiedApproval> = of_itself.chain([&fact]).cloned().collect();
        let alone = self.evaluations(document, digest, view, &of_itself, None, now.at)?;
        let all: Vec<VerifiedApproval> = others.into_iter().chain([fact.clone()]).collect();
        let standings = self.evaluations(document, digest, view, &all, None, now.at)?;
        let counts = |evaluation: &Evaluation| match fact.statement().decision {
            Decision::Approve => {
                let mut filled = evaluation.rules.iter().flat_map(|rule| &rule.filled);
                evaluation.rejections.is_empty() && filled.any(|slot| slot.identity == *who)
            }
            Decision::Reject => evaluation.rejections.iter().any(|rejection| rejection.identity == *who),
            Decision::Revoke | Decision::Breakglass => true,
        };
        // Where no rule asks, a yes still says that a person stands behind the plan (S9.1).
        if alone.values().any(counts) || (alone.is_empty() && decision != Decision::Reject) {
            return Ok(Weighed { fact, standings });
        }
        let why = alone.iter().flat_map(|(environment, evaluation)| {
            let no = evaluation.rejections.iter().map(|by| format!("{} rejected this plan, for good", by.identity));
            let no = no.filter(|_| decision == Decision::Approve);
            no.chain(uncounted(evaluation)).map(move |why| format!("{environment}: {why}"))
        });
        let mut why: Vec<String> = why.collect();
        why.extend(
            alone.values().flat_map(|evaluation| self.by_claim(document, view.requests.get(digest), evaluation)),
        );
        why.dedup();
        if alone.is_empty() {
            why.push("no rule of its environments asks for an approval, so none takes a rejection".into());
        }
        let lost = standings.iter().filter(|(_, standing)| standing.lost(&self.governance.roster));
        let lost: Vec<String> = lost.map(|(name, standing)| format!("{name}: {}", taken_back(standing))).collect();
        let over = !lost.is_empty() || alone.values().any(|evaluation| !evaluation.rejections.is_empty());
        why.extend(lost);
        if !over {
            why.extend(standings.iter().flat_map(|(name, standing)| self.missing(name, standing)));
        }
        Err(EngineError::Uncounted { who: who.clone(), decision, over, why })
    }

    /// What the rules of an environment still ask for, a line for each rule that has not everybody: how many of which role,
    /// and who of those whom policy knows could be it.
    #[must_use]
    pub fn missing(&self, environment: &EnvironmentName, standing: &Evaluation) -> Vec<String> {
        // Where somebody said no, or too few are left, it waits for nobody any more.
        if !standing.rejections.is_empty() {
            return Vec::new();
        }
        if standing.lost(&self.governance.roster) {
            return vec![format!("{environment}: {}", taken_back(standing))];
        }
        let open = standing.rules.iter().filter(|rule| rule.missing > 0);
        let said = open.map(|rule| {
            // What nobody can do before somebody has said who it was comes first.
            let unknown = |problem: &&ApprovalProblem| {
                use ApprovalProblem::{RequestUnsigned, UnmappedParty, UnnamedParty};
                matches!(problem, UnnamedParty { .. } | UnmappedParty { .. } | RequestUnsigned)
            };
            if let Some(problem) = rule.problems.iter().find(unknown) {
                return format!("{environment}: {}", in_words(problem));
            }
            let who: Vec<&str> =
                standing.could_fill(rule, &self.governance.roster).map(|who| who.name.as_str()).collect();
            let who = if who.is_empty() { "nobody whom policy knows could be it".into() } else { who.join(" or ") };
            let roles: Vec<&str> = rule.who_can.iter().map(RoleName::as_str).collect();
            format!("{environment} still needs {} of {}: {who}", rule.missing, roles.join(" or "))
        });
        said.collect()
    }

    /// Every rule of every environment that a plan moves, over facts.
    fn evaluations(
        &self,
        document: &Document,
        digest: &Digest,
        view: &View,
        facts: &[VerifiedApproval],
        applier: Option<&Applier>,
        now: Timestamp,
    ) -> Result<BTreeMap<EnvironmentName, Evaluation>, EngineError> {
        let mut out = BTreeMap::new();
        for entry in &document.body.moves {
            let evaluation = self.evaluation(document, digest, view, entry, facts, applier, now)?;
            out.extend(evaluation.map(|evaluation| (entry.environment.clone(), evaluation)));
        }
        Ok(out)
    }

    /// The rules of one environment that a plan moves, over facts; nothing where it has none.
    ///
    /// # Errors
    /// As [`Session::standings`].
    #[expect(clippy::too_many_arguments, reason = "everything that an approval depends on")]
    pub(crate) fn evaluation(
        &self,
        document: &Document,
        digest: &Digest,
        view: &View,
        entry: &Move,
        facts: &[VerifiedApproval],
        applier: Option<&Applier>,
        now: Timestamp,
    ) -> Result<Option<Evaluation>, EngineError> {
        let Some(rules) = self.governance.approval.get(&entry.environment).filter(|rules| !rules.is_empty()) else {
            return Ok(None);
        };
        let rules = Rules::new(rules.clone()).map_err(|errors| {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            EngineError::Invalid(text.join("; "))
        })?;
        let subject = self.subject(document, digest, entry);
        let initiators = self.initiators(document, view.requests.get(digest));
        let parties = self.parties(view, entry, &rules, initiators, applier)?;
        Ok(Some(approval::evaluate(&rules, facts, &parties, &subject, now)))
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

    /// Who of those that an evaluation keeps out as initiators is one by nothing but a name that was claimed, in words: it is
    /// neither their key nor their role.
    pub(crate) fn by_claim(
        &self,
        document: &Document,
        request: Option<&Request>,
        evaluation: &Evaluation,
    ) -> Vec<String> {
        let kept_out = evaluation.rules.iter().flat_map(|rule| &rule.problems).filter_map(|problem| match problem {
            ApprovalProblem::Excluded { identity, party: Party::Initiator } => Some(identity),
            _ => None,
        });
        let signed = |name: &IdentityName| request.is_some_and(|request| request.signers.contains(name));
        let planned = |name: &IdentityName| self.person(&document.body.initiator) == Person::Known(name.clone());
        let claimed: BTreeSet<&IdentityName> = kept_out.filter(|name| !signed(name)).collect();
        let told = claimed.into_iter().map(|name| {
            let did = if planned(name) { "planned" } else { "asked for" };
            format!(
                "{name} counts as the initiator only because the plan was {did} under that name ({CLAIM}): plan and request it anew \
                 under the name of whoever asks"
            )
        });
        told.collect()
    }

    /// Who applies, in the same way.
    fn appliers(&self, applier: &Applier) -> BTreeSet<Person> {
        let claimed = Some(self.person(&applier.claimed)).filter(|person| matches!(person, Person::Known(_)));
        claimed.into_iter().chain(applier.signed.iter().cloned().map(Person::Known)).collect()
    }

    /// Refuses appliers without whom these environments would be approved: they are among the approvers who are needed, and
    /// a rule excludes the applier.
    ///
    /// # Errors
    /// [`EngineError::Approval`], and as [`Session::standings`].
    pub(crate) fn keeps_apart<'e>(
        &self,
        with: &BTreeMap<EnvironmentName, Evaluation>,
        without: &BTreeMap<EnvironmentName, Evaluation>,
        applier: &Applier,
        environments: impl IntoIterator<Item = &'e EnvironmentName>,
    ) -> Result<(), EngineError> {
        type Standings = BTreeMap<EnvironmentName, Evaluation>;
        let satisfied = |of: &Standings, name: &EnvironmentName| of.get(name).is_some_and(Evaluation::satisfied);
        let apart =
            |name: &&EnvironmentName| self.excludes_applier(name) && satisfied(without, name) && !satisfied(with, name);
        let Some(name) = environments.into_iter().find(apart) else { return Ok(()) };
        let who = self.appliers(applier).into_iter().filter_map(|person| match person {
            Person::Known(name) => Some(name),
            Person::Unmapped(_) | Person::Unnamed(_) => None,
        });
        let (signed, claimed): (Vec<_>, Vec<_>) = who.partition(|name| applier.signed.contains(name));
        let claims = claimed.iter().map(|name| format!(", as {name} is named as the one who applies ({CLAIM})"));
        let claims: String = claims.collect();
        let who: Vec<&str> = signed.iter().chain(&claimed).map(IdentityName::as_str).collect();
        let who = who.join(" and ");
        Err(EngineError::Approval(format!(
            "the rule of {name} excludes the applier, and without {who} it has too few approvals{claims}: somebody else applies this"
        )))
    }

    fn parties(
        &self,
        view: &View,
        entry: &Move,
        rules: &Rules,
        (initiator, requested): (BTreeSet<Person>, bool),
        applier: Option<&Applier>,
    ) -> Result<Parties, EngineError> {
        let excluded: BTreeSet<Party> = rules.as_slice().iter().flat_map(|r| r.exclude.iter().copied()).collect();
        let mut authors = BTreeSet::new();
        if excluded.contains(&Party::Author) {
            // A release brings along what those between it and the running one changed (S6.4).
            for release in self.along(view, entry) {
                authors.extend(self.written(view, &release)?);
            }
        }
        let mut builder = None;
        if excluded.contains(&Party::Builder) {
            builder = self.built(view, &entry.to.id)?.or_else(|| Some(Person::Unnamed(entry.to.id.clone())));
        }
        Ok(Parties {
            initiator,
            requested,
            authors,
            builder,
            applier: applier.map(|who| self.appliers(who)).unwrap_or_default(),
            apply_unsigned: applier.is_some_and(|who| who.signed.is_empty()),
            allow_unmapped: false,
        })
    }

    /// The identity behind a claimed name or e-mail address.
    pub(crate) fn person(&self, claimed: &str) -> Person {
        let roster = &self.governance.roster;
        match claimed.parse::<IdentityName>() {
            Ok(name) if roster.identity(&name).is_some() => Person::Known(name),
            _ => roster.by_email(claimed),
        }
    }
}

/// What says who acts, without any proof.
const CLAIM: &str = "--as, PROMO_ACTOR or the name of the account";

/// That those who took their approval back leave too few who could approve, in words.
#[must_use]
pub fn taken_back(standing: &Evaluation) -> String {
    let who: Vec<&str> = standing.revoked.iter().map(IdentityName::as_str).collect();
    format!("{} took their approval back, for good: too few are left who could approve this plan", who.join(" and "))
}

/// Why statements that were found do not count, in words.
pub(crate) fn uncounted(evaluation: &Evaluation) -> Vec<String> {
    let problems = evaluation.rules.iter().flat_map(|rule| &rule.problems).chain(&evaluation.problems);
    let mut notes: Vec<String> = problems.map(in_words).collect();
    notes.dedup();
    notes
}

/// Why a statement does not count, with the way out where it is a command.
fn in_words(problem: &ApprovalProblem) -> String {
    match problem {
        ApprovalProblem::UnnamedParty { party: Party::Author, release } => {
            format!("{problem}: promo release authors {release} --author NAME --key KEY")
        }
        ApprovalProblem::UnnamedParty { party: Party::Builder, release } => format!(
            "{problem}: its build says so (`builder` of its images, or promo release add NAME=TAG --meta builder=NAME), which nobody \
             can say of {release} afterwards: a release with other content can say it"
        ),
        problem => problem.to_string(),
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
