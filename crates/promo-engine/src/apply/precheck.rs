//! Everything that can be checked before the first mutation (S9.1).

use std::collections::BTreeMap;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::{Decision, Envelope, Evaluation, VerifiedApproval};
use promo_core::clock::{MAX_SKEW, Present};
use promo_core::eligibility::{self, ApprovalStatus, Assessor, Question};
use promo_core::gate::{Gate, GateKind, Instant, Outcome, overall};
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::ledger::View;
use promo_core::ledger::view::Spoken;
use promo_core::plan::{Document, Move, Plan, Request, StayReason};
use promo_core::planner::{self, Observations, PlanInput};
use promo_core::windows::Invoker;
use promo_ledger::tree::verify_consistency;

use super::wait;
use crate::appliers::Applier;
use crate::approvals::uncounted;
use crate::error::EngineError;
use crate::observe;
use crate::planning::{Previews, planned_programs};
use crate::session::{Session, TOOL};

/// What a plan is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// To ask for its approval: it takes the place of whatever was asked for before.
    Request,
    /// To move something.
    Apply,
}

impl Use {
    /// Who is about to apply a plan uses it so; without them it is asked for.
    fn by(applier: Option<&Applier>) -> Self {
        applier.map_or(Self::Request, |_| Self::Apply)
    }
}

/// That an input of a plan is another one now.
fn outdated(input: &str) -> String {
    format!("the plan is stale: since it was made, this changed: {input}")
}

fn alike(what: &'static str, planned: String, current: String) -> Result<(), EngineError> {
    if planned == current { Ok(()) } else { Err(EngineError::Elsewhere { what, planned, current }) }
}

/// What a plan that passed is applied with.
pub(crate) struct Checked {
    pub(crate) generations: BTreeMap<EnvironmentName, u64>,
    /// Digests of the approval statements that the run consumes.
    pub(crate) consumes: Vec<Digest>,
}

impl Session {
    /// Gives what was observed, which [`Session::judge`] takes. Without an applier the plan is asked for.
    pub(crate) async fn precheck(
        &self,
        document: &Document,
        digest: &Digest,
        beside: &[Envelope],
        applier: Option<&Applier>,
    ) -> Result<Observations, EngineError> {
        let (plan, to) = (&document.body, Use::by(applier));
        self.admit_policy()?;
        let (view, now) = (self.view()?, self.present()?);
        let kept = self.as_written(plan, digest, &view, now)?;
        self.belongs_here(plan)?;
        // That somebody edited it is told first, whatever else has become of it; what the ledger keeps was judged before.
        let lapsed = match self.unspent(plan, digest, &view, now, to) {
            Err(lapsed) if kept => return Err(lapsed),
            result => result,
        };
        // S8.2: the same request, planned again from what is there now, must give the same steps from the same inputs.
        let chosen = |m: &Move| m.drilled().unwrap_or(&m.to.id).clone();
        let pinned = plan.moves.iter().map(|m| (m.environment.clone(), chosen(m))).collect();
        let invoker = self.counts_as(plan, digest, &view, beside);
        let request = Request { invoker, ..plan.request.clone() };
        let again = self.plan_with(&view, &request, Some(&pinned), now).await;
        let mut again = match (again, lapsed.is_ok()) {
            (Err(error), true) => return Err(error),
            (Err(_), false) => return lapsed.map(|()| Observations::default()),
            (Ok(again), _) => again,
        };
        // S8.3: everything else that was shown must have been true of the ledger that the plan is of.
        let observed = std::mem::take(&mut again.observations);
        let known = (observed.clone(), std::mem::take(&mut again.previews));
        let then = self.planned_then(plan, &view, known).await;
        let then = match then {
            Ok(then) if !kept => {
                unedited(&planner::edited(plan, &then))?;
                Ok(then)
            }
            // What could not be told is no sign of a plan that is as it was written, whatever else it waits for.
            Err(error) if !kept && lapsed.is_ok() => return Err(error),
            then => then,
        };
        lapsed?;
        applier.map_or(Ok(()), |applier| self.needs_signed_apply(&plan.moves, applier, None))?;
        if plan.moves.is_empty() {
            let what = if to == Use::Request { "request" } else { "apply" };
            return Err(EngineError::Invalid(format!("the plan moves nothing: there is nothing to {what}")));
        }
        // The run records what lies beside the plan: only what proves itself, and is about this plan.
        for envelope in beside {
            self.verified_for(digest, envelope)?;
        }
        // What the plan says of who asked is compared as it says it; what that counts for is settled.
        again.inputs.insert("invoker".into(), plan.request.invoker.as_str().into());
        for entry in &plan.moves {
            let refused = again.stays.iter().find(|s| s.environment == entry.environment);
            if let Some((stay, next)) = refused.and_then(|s| Some((s, s.next.as_ref()?))) {
                // Nobody waits for a gate of what is stale already.
                self.unmoved(plan, &view, &observed)?;
                let name = &entry.environment;
                let mut gates = next.gates.clone();
                if next.release.id == chosen(entry) {
                    // Planned anew it is without the approvals that this very plan has.
                    let standings = self.standings(document, digest, &view, beside, applier, now.at)?;
                    let approvals = standings.get(name).map(Evaluation::status);
                    let rules = self.governance.rules();
                    let assessor = Assessor::new(&rules, &view, observed.of_releases(), now);
                    let now = judged(&assessor, plan, entry, (&view, &observed), approvals.as_ref(), invoker);
                    gates.retain(|gate| gate.kind != GateKind::Approval);
                    gates.extend(now.into_iter().filter(|gate| gate.kind == GateKind::Approval));
                    gates.sort_by_key(|gate| gate.kind);
                }
                let mut why = self.reasons(&view, name, &next.release.id, &gates)?;
                why.extend(unproven(plan, invoker));
                if stay.why == StayReason::StartsByRequest {
                    why.insert(0, starts_by_request(name));
                }
                return Err(with_notes(why, closed(name, &next.release.id, gates)));
            }
        }
        // What does not move any more has no inputs now: those of the plan say why, each by itself.
        let gone = |entry: &&Move| !again.moves.iter().any(|now| now.environment == entry.environment);
        let gone: Vec<planner::Moved> = plan.moves.iter().filter(gone).map(no_longer).collect();
        if !gone.is_empty() {
            self.unmoved(plan, &view, &observed)?;
        }
        let mut moved = planner::stale(plan, &again.inputs, &again.moves);
        if !gone.is_empty() {
            moved.retain(|moved| moved.current.is_some());
            moved.extend(gone);
        }
        if moved.is_empty() {
            moved = planner::differences(plan, &then?);
        }
        if !moved.is_empty() {
            return Err(stale(&view, plan, &plan.moves, moved));
        }
        // Observing can take minutes: what people said meanwhile counts.
        self.judge(document, digest, beside, &observed, &*self.view()?, applier)?;
        Ok(observed)
    }

    /// Whether somebody has edited a plan since promo wrote it (S8.3), as far as can be told here: the ledger keeps it, or
    /// planning it again as of when it was made gives the same. Reads only.
    ///
    /// # Errors
    /// [`EngineError::Edited`] and [`EngineError::NotAnExtension`] when somebody has; any other when it cannot be told.
    pub async fn genuine(&self, document: &Document, digest: &Digest) -> Result<(), EngineError> {
        let plan = &document.body;
        let (view, now) = (self.view()?, self.present()?);
        if self.as_written(plan, digest, &view, now)? {
            return Ok(());
        }
        self.belongs_here(plan)?;
        let observations = observe::observe(self, &view).await?;
        let then = self.planned_then(plan, &view, (observations, Previews::new())).await?;
        unedited(&planner::edited(plan, &then))
    }

    /// Refuses a plan that could not be applied any more, as far as this can be told without asking anything outside: its
    /// rules, files and tools must be those that it was made with, and nobody may have moved its environments since. What is
    /// live is looked at where it is applied (S8.2). Reads only.
    ///
    /// # Errors
    /// [`EngineError::Stale`]; [`EngineError::Elsewhere`] and those of files where it cannot be told here.
    pub fn unchanged(&self, document: &Document) -> Result<(), EngineError> {
        self.belongs_here(&document.body)?;
        let view = self.view()?;
        self.unmoved(&document.body, &view, &observe::here(self, &view)?)
    }

    /// The same about a plan of here, by these files.
    pub(crate) fn unmoved(&self, plan: &Plan, view: &View, observations: &Observations) -> Result<(), EngineError> {
        let (rules, request, now) = (self.governance.rules(), &plan.request, self.present()?);
        let mut inputs =
            planner::inputs_here(&PlanInput { rules, view, observations, request, pinned: None, now }, &plan.moves);
        inputs.extend(self.tools(&plan.moves)?);
        // For these the plan's own word is taken: nothing outside is asked here.
        inputs.extend(planned_programs(plan).map(|(name, version)| (name.clone(), version.clone())));
        inputs.extend(planner::told_of_judges(plan));
        match planner::stale(plan, &inputs, &plan.moves) {
            moved if moved.is_empty() => Ok(()),
            moved => Err(stale(view, plan, &plan.moves, moved)),
        }
    }

    /// The same without its files, where those cannot be read.
    pub(crate) fn rules_stand(&self, plan: &Plan, view: &View) -> Result<(), EngineError> {
        let rules = self.bound(&plan.moves)?.into_iter();
        let other = rules.filter(|(name, now)| plan.inputs.get(name) != Some(now)).map(|(input, now)| {
            let planned = plan.inputs.get(&input).cloned();
            planner::Moved { input, planned, current: Some(now) }
        });
        let moved = plan.moves.iter().filter_map(|entry| moved_generation(plan, entry, view));
        match other.chain(moved).collect::<Vec<_>>() {
            moved if moved.is_empty() => Ok(()),
            moved => Err(stale(view, plan, &plan.moves, moved)),
        }
    }

    /// Refuses a plan that was edited, as far as this can be told from itself and from the ledger that it names. Gives whether
    /// the ledger keeps this very plan as one that was used or that somebody signed for.
    fn as_written(&self, plan: &Plan, digest: &Digest, view: &View, now: Present) -> Result<bool, EngineError> {
        if plan.ledger.origin != self.store.origin() || plan.pipeline != self.governance.pipeline.name {
            return Ok(false);
        }
        self.extends(plan)?;
        // A request that nobody signed proves nothing (S12.3): whoever edits a plan can record one.
        let signed = view.requests.get(digest).is_some_and(|request| !request.signers.is_empty());
        if signed || view.consumed.contains_key(digest) {
            return Ok(true);
        }
        let used =
            view.consumed.iter().filter(|(_, run)| view.runs.get(*run).is_some_and(|r| r.started >= plan.planned_at));
        let asked = view.requests.iter().filter(|(_, request)| request.seq >= plan.ledger.size);
        let asked = asked.map(|(digest, request)| (digest, !request.signers.is_empty()));
        for (kept, proven) in used.map(|(digest, _)| (digest, true)).chain(asked) {
            let Some(bytes) = self.kept_where(proven, kept, "a plan that was requested or applied")? else { continue };
            let Ok((Document { body: original, .. }, _)) = Document::from_bytes(&bytes) else { continue };
            let of = |plan: &Plan| (plan.planned_at, plan.ledger.clone(), plan.request.clone());
            // What was asked for at one instant gave one plan, whoever says that they asked.
            if of(&original) != of(plan) {
                continue;
            }
            let found = planner::differences(plan, &Plan { initiator: plan.initiator.clone(), ..original });
            if !found.is_empty() {
                return Err(EngineError::Edited { findings: in_file(&found), original: Some(*kept) });
            }
        }
        consistent(plan)?;
        self.plausible_times(plan, now)?;
        unedited(&planner::misquoted(plan, &*self.view_at(plan.ledger.size, &plan.ledger.root)?))?;
        Ok(false)
    }

    /// What people said when they stopped what these gates keep out, a line each.
    fn reasons(
        &self,
        view: &View,
        environment: &EnvironmentName,
        release: &ReleaseId,
        gates: &[Gate],
    ) -> Result<Vec<String>, EngineError> {
        let mut out = Vec::new();
        for gate in gates.iter().filter(|gate| !gate.outcome.is_open()) {
            if let Some(said) = self.reason_behind(view, environment, release, &gate.reason)? {
                out.push(format!("{}: “{said}”", gate.reason));
            }
        }
        Ok(out)
    }

    /// Whether a plan that passed its precheck may begin, as the ledger of `view` has it.
    pub(super) fn judge(
        &self,
        document: &Document,
        digest: &Digest,
        beside: &[Envelope],
        observed: &Observations,
        view: &View,
        applier: Option<&Applier>,
    ) -> Result<Checked, EngineError> {
        let (plan, now) = (&document.body, self.present()?);
        self.unspent(plan, digest, view, now, Use::by(applier))?;
        let standings = self.standings(document, digest, view, beside, applier, now.at)?;
        if let Some(applier) = applier {
            let without = self.standings(document, digest, view, beside, None, now.at)?;
            self.keeps_apart(&standings, &without, applier, standings.keys())?;
        }
        let (facts, unverified) = self.approval_facts(digest, view, beside);
        let approvals: BTreeMap<EnvironmentName, ApprovalStatus> =
            standings.iter().map(|(name, evaluation)| (name.clone(), evaluation.status())).collect();
        let invoker = self.counts_as(plan, digest, view, beside);
        let rules = self.governance.rules();
        let assessor = Assessor::new(&rules, view, observed.of_releases(), now);
        for entry in &plan.moves {
            let approvals = approvals.get(&entry.environment);
            let gates = judged(&assessor, plan, entry, (view, observed), approvals, invoker);
            // What comes later in the plan is judged again when it starts; its approvals must be there now (S6.9).
            let shut = |g: &promo_core::gate::Gate| match g.kind {
                GateKind::Approval => !g.outcome.is_open(),
                _ => entry.after.is_empty() && !g.outcome.is_open(),
            };
            if gates.iter().any(shut) {
                let standing = standings.get(&entry.environment);
                let mut why = self.reasons(view, &entry.environment, &entry.to.id, &gates)?;
                why.extend(standing.map(uncounted).unwrap_or_default());
                let claims = standing.map(|standing| self.by_claim(document, view.requests.get(digest), standing));
                why.extend(claims.unwrap_or_default());
                why.extend(standing.iter().flat_map(|standing| self.missing(&entry.environment, standing)));
                let request = view.uncounted.iter().filter(|u| u.about == Spoken::Request { plan: *digest });
                why.extend(request.map(|u| format!("the request in record {} counts as unsigned: {}", u.seq, u.why)));
                why.extend(unproven(plan, invoker));
                why.extend(unverified.iter().map(|why| format!("a statement does not count: {why}")));
                return Err(with_notes(why, closed(&entry.environment, &entry.to.id, gates)));
            }
        }
        // Whoever took theirs back let nothing in.
        let revoked = |fact: &VerifiedApproval| {
            let theirs = |other: &&VerifiedApproval| {
                other.identity() == fact.identity() || other.statement().key == fact.statement().key
            };
            facts.iter().filter(theirs).any(|other| other.statement().decision == Decision::Revoke)
        };
        let consumes = facts
            .iter()
            .filter(|f| f.statement().decision == Decision::Approve && !revoked(f))
            .filter_map(|f| f.statement().digest().ok())
            .collect();
        let generations = plan
            .moves
            .iter()
            .map(|m| (m.environment.clone(), view.environment(&m.environment).map_or(0, |e| e.generation)))
            .collect();
        Ok(Checked { generations, consumes })
    }

    /// Why nothing more of a plan may begin here: it was made under other rules than those of now (S8.2). Whoever resumes
    /// its run is told, and what has begun is finished as the plan says.
    pub(crate) async fn outlived(&self, plan: &Plan) -> Result<Option<String>, EngineError> {
        match self.other_rules(plan)? {
            None => Ok(self.other_program(plan).await.map(|name| outdated(&name))),
            other => Ok(other),
        }
    }

    /// The same without the programs of this machine.
    pub(super) fn other_rules(&self, plan: &Plan) -> Result<Option<String>, EngineError> {
        match self.belongs_here(plan) {
            Ok(()) => {}
            Err(elsewhere @ EngineError::Elsewhere { .. }) => return Ok(Some(elsewhere.to_string())),
            Err(error) => return Err(error),
        }
        let rules = self.bound(&plan.moves)?;
        let other = rules.into_iter().find(|(name, now)| plan.inputs.get(name) != Some(now));
        Ok(other.map(|(name, _)| outdated(&name)))
    }

    pub(crate) fn belongs_here(&self, plan: &Plan) -> Result<(), EngineError> {
        let mode = |local: bool| if local { "local mode" } else { "a trust file" }.to_string();
        alike("version of promo", plan.tool.clone(), TOOL.to_string())?;
        self.ruled_here(plan)?;
        alike("mode", mode(plan.local), mode(self.governance.local))
    }

    /// Refuses a plan of another pipeline, under another policy or of another ledger: nobody can apply it here.
    pub(crate) fn ruled_here(&self, plan: &Plan) -> Result<(), EngineError> {
        let here = &self.governance;
        let policy = |p: &Option<promo_core::plan::PolicyRef>| {
            p.as_ref().map_or_else(|| "none".into(), |p| format!("{} v{} {}", p.name, p.version, p.digest))
        };
        alike("pipeline", plan.pipeline.to_string(), here.pipeline.name.to_string())?;
        alike("policy", policy(&plan.policy), policy(&here.policy))?;
        alike("ledger", plan.ledger.origin.clone(), self.store.origin())
    }

    /// A plan must not be of a later time than the record that came after it, or than now, and must not live longer than
    /// any plan may: an edited expiry is found where no approval would find it. One of an earlier time than it was made
    /// only ends earlier, and is what a clock that went back makes.
    fn plausible_times(&self, plan: &Plan, now: Present) -> Result<(), EngineError> {
        let after = self.store.records(plan.ledger.size, 1)?;
        let (at, lifetime) = (plan.planned_at, plan.expires.duration_since(plan.planned_at));
        let earliest = at.saturating_sub(MAX_SKEW).unwrap_or(Timestamp::MIN);
        let later = after.iter().any(|r| r.recorded_at < earliest) || now.reached(earliest) == Some(false);
        let mut findings = Vec::new();
        if later {
            findings
                .push(format!("it says that it was made at {}, which is later than what came after it", Instant(at)));
        }
        if lifetime > crate::PLAN_LIFETIME {
            let (at, end) = (Instant(at), Instant(plan.expires));
            findings.push(format!("it says that it may be applied from {at} to {end}, longer than any plan"));
        }
        if findings.is_empty() { Ok(()) } else { Err(EngineError::Edited { findings, original: None }) }
    }

    /// Whether a plan may still be used: nobody has (S8.4), and it has not lapsed.
    pub(crate) fn unspent(
        &self,
        plan: &Plan,
        digest: &Digest,
        view: &View,
        now: Present,
        to: Use,
    ) -> Result<(), EngineError> {
        match self.used(digest)? {
            Some(used) => Err(used),
            None => lapsed(plan, digest, &plan.moves, view, now, to),
        }
    }

    /// The error that names the run which has used a plan: whose it is, and when it ended or where it is at work.
    pub(crate) fn used(&self, plan: &Digest) -> Result<Option<EngineError>, EngineError> {
        let Some(id) = self.with_view(|view| view.consumed.get(plan).cloned())? else { return Ok(None) };
        // The lock first: whoever gave it back had ended the run.
        let place = wait::place(self, &id)?;
        let Some(run) = self.with_view(|view| view.runs.get(&id).cloned())? else { return Ok(None) };
        let by = format!("run {id} of {}", run.applier);
        let why = match (run.finished, place) {
            (Some((at, _)), _) => format!("was used by {by}, which ended at {}", Instant(at)),
            (None, Some(place)) => format!("is being applied by {by}, {place}"),
            (None, None) => format!("was used by {by}, which has not ended, and nobody is at work on it"),
        };
        Ok(Some(EngineError::Spent { why, run: Some(id) }))
    }

    /// The ledger must be a consistent extension of the checkpoint that the plan carries (S12.2).
    pub(crate) fn extends(&self, plan: &Plan) -> Result<(), EngineError> {
        let (size, root) = (plan.ledger.size, plan.ledger.root);
        let rewritten = || EngineError::NotAnExtension { size, root };
        let head = self.store.head()?;
        if size > head.size {
            return Err(rewritten());
        }
        let proof = self.store.consistency_proof(size, head.size)?;
        if verify_consistency(size, &root, head.size, &head.root, &proof) { Ok(()) } else { Err(rewritten()) }
    }
}

/// Refuses a plan that no planner of this version makes, whoever asked for it: somebody edited it (S8.3). It needs no
/// ledger. Of plans of other versions it says nothing.
///
/// # Errors
/// [`EngineError::Edited`].
pub fn consistent(plan: &Plan) -> Result<(), EngineError> {
    let broken = if plan.tool == TOOL { promo_core::lint::plan(plan) } else { Vec::new() };
    if broken.is_empty() { Ok(()) } else { Err(EngineError::Edited { findings: broken, original: None }) }
}

/// Refuses a plan that is not what promo wrote.
fn unedited(found: &[planner::Moved]) -> Result<(), EngineError> {
    if found.is_empty() { Ok(()) } else { Err(EngineError::Edited { findings: in_file(found), original: None }) }
}

/// The most findings of one plan that are told.
const MANY: usize = 8;

/// The most characters of a text that are told.
const LONG: usize = 100;

/// What differs between a file and what promo wrote, a line each.
fn in_file(found: &[planner::Moved]) -> Vec<String> {
    let said = |text: &Option<String>| match text {
        None => "nothing".to_owned(),
        Some(text) if text.chars().count() > LONG => format!("`{}…`", text.chars().take(LONG).collect::<String>()),
        Some(text) => format!("`{text}`"),
    };
    let line = |m: &planner::Moved| {
        format!("{}: {} in the file, {} as promo wrote it", m.input, said(&m.planned), said(&m.current))
    };
    let more = found.len().saturating_sub(MANY);
    let more = (more > 0).then(|| format!("and {more} more"));
    found.iter().take(MANY).map(line).chain(more).collect()
}

/// The gates of one move before anything of its plan has begun.
fn judged(
    assessor: &Assessor<'_>,
    plan: &Plan,
    entry: &Move,
    (view, observed): (&View, &Observations),
    approvals: Option<&ApprovalStatus>,
    invoker: Invoker,
) -> Vec<Gate> {
    let nothing = std::collections::BTreeSet::new();
    let question = Question {
        environment: &entry.environment,
        release: &entry.to.id,
        movement: entry.movement,
        drill: entry.drilled(),
        named: plan.request.by_name(),
        drifted: !planner::drift(view, observed, &entry.environment).is_empty(),
        tried: eligibility::configuration_failed(
            view,
            &entry.environment,
            &entry.to.id,
            (&entry.files, &entry.settings),
        ),
        invoker,
        moved_before: if entry.after.is_empty() { &nothing } else { &entry.after },
        approvals,
        run: None,
    };
    assessor.assess(&question)
}

/// Why an environment with `start = "manual"` does not begin.
pub(super) fn starts_by_request(name: &EnvironmentName) -> String {
    format!("{name} starts only when a person asks for it, or when it is planned by its name")
}

/// That a plan says more of who asked for it than is proven, and what to do about it.
pub(super) fn unproven(plan: &Plan, counts_as: Invoker) -> Option<String> {
    (plan.request.invoker != counts_as).then(|| {
        "the plan says that a person asked for it, which nothing proves, so it counts as asked for by automation: \
         apply it as a person (--actor-kind human), or let one sign a request for it (promo request FILE --key KEY)"
            .to_owned()
    })
}

fn with_notes(mut why: Vec<String>, error: EngineError) -> EngineError {
    // What is told with its environment is not told without it too.
    let all = why.clone();
    let again =
        |note: &String| all.iter().any(|other| other.strip_suffix(note.as_str()).is_some_and(|to| to.ends_with(": ")));
    why.retain(|note| !again(note));
    match error {
        EngineError::Waiting { environment, release, gates, .. } => {
            EngineError::Waiting { environment, release, gates, notes: why }
        }
        EngineError::Denied { environment, release, gates, .. } => {
            EngineError::Denied { environment, release, gates, notes: why }
        }
        other => other,
    }
}

/// Why these moves of a plan may no longer begin, whatever the gates say: a newer request for one of their environments has
/// taken its place, it is too old (S8.4), or somebody else has moved one of them since it was made (S8.2). Where the clocks
/// disagree about its age, it waits until they agree.
pub(super) fn lapsed(
    plan: &Plan,
    digest: &Digest,
    moves: &[Move],
    view: &View,
    now: Present,
    to: Use,
) -> Result<(), EngineError> {
    let request = view.requests.get(digest);
    let unrequested = if to == Use::Request { view.size } else { plan.ledger.size };
    if let Some(newer) = view.superseding(digest, unrequested, moves.iter().map(|m| &m.environment)) {
        return Err(EngineError::Spent { why: format!("was superseded by the request for {newer}"), run: None });
    }
    let moved: Vec<_> = moves.iter().filter_map(|m| moved_generation(plan, m, view)).collect();
    if !moved.is_empty() {
        return Err(stale(view, plan, moves, moved));
    }
    let expires = request.map_or(plan.expires, |own| own.expires);
    match (now.reached(expires), now.doubt) {
        (Some(false), _) => Ok(()),
        (None, Some(doubt)) => Err(EngineError::Undated { doubt }),
        _ => Err(EngineError::Spent { why: format!("expired at {}: plan again", Instant(expires)), run: None }),
    }
}

/// That nothing would be moved any more in an environment of a plan.
fn no_longer(entry: &Move) -> planner::Moved {
    let input = format!("what would be moved in {}", entry.environment);
    planner::Moved { input, planned: Some(entry.to.to_string()), current: None }
}

/// Environments of the plan that somebody has moved since it was made.
pub(crate) fn moved_since(plan: &Plan, view: &View) -> Vec<EnvironmentName> {
    let moved = plan.moves.iter().filter(|m| moved_generation(plan, m, view).is_some());
    moved.map(|m| m.environment.clone()).collect()
}

/// That somebody has moved the environment of a move since the plan was made.
fn moved_generation(plan: &Plan, entry: &Move, view: &View) -> Option<planner::Moved> {
    let input = format!("generation of {}", entry.environment);
    let current = Some(view.environment(&entry.environment).map_or(0, |e| e.generation).to_string());
    let planned = plan.inputs.get(&input).cloned();
    (planned != current).then_some(planner::Moved { input, planned, current })
}

fn closed(
    environment: &EnvironmentName,
    release: &promo_core::ids::ReleaseId,
    gates: Vec<promo_core::gate::Gate>,
) -> EngineError {
    let (environment, release) = (environment.clone(), release.clone());
    if overall(&gates) >= Outcome::Expired {
        EngineError::Denied { environment, release, gates, notes: Vec::new() }
    } else {
        EngineError::Waiting { environment, release, gates, notes: Vec::new() }
    }
}

/// That these inputs of a plan have moved, in words.
fn stale(view: &View, plan: &Plan, moves: &[Move], moved: Vec<planner::Moved>) -> EngineError {
    EngineError::Stale { by: last_change(view, plan, moves), moved: in_words(view, plan, moved) }
}

/// The same for people: an environment that was moved by what runs there, not by how often it was moved.
fn in_words(view: &View, plan: &Plan, moved: Vec<planner::Moved>) -> Vec<planner::Moved> {
    let shown = |id: &ReleaseId, number: u64, alias: Option<&String>| {
        let alias = alias.map(|alias| format!(" {alias}")).unwrap_or_default();
        format!("{id} (#{number}{alias})")
    };
    let words = |moved: planner::Moved| {
        let entry = plan.moves.iter().find(|m| moved.input == format!("generation of {}", m.environment));
        let Some(entry) = entry else { return moved };
        let planned = entry.from.as_ref().map(|r| shown(&r.id, r.lineage, r.alias.as_ref()));
        let current = view.current(&entry.environment).and_then(|r| view.release(&r.release));
        let current = current.map(|e| shown(&e.release.id, e.lineage, e.release.alias.as_ref()));
        // What counts is that it was moved, also where the same release runs: that has begun only, or came to nothing.
        let known = view.environment(&entry.environment).filter(|_| planned == current);
        let last = known.and_then(|known| known.active.as_ref().or(known.history.last()));
        let since = last.map(|last| {
            let (to, run) = (&last.to, &last.run);
            let here = view.current(&entry.environment).is_some_and(|here| here.release == *to);
            match last.finished {
                None => format!("with run {run} moving it to {to}"),
                Some(_) if here => "deployed again".to_owned(),
                Some(_) => format!("after run {run} tried {to} there"),
            }
        });
        let current = match since {
            Some(since) => Some(format!("{}, {since}", current.as_deref().unwrap_or("nothing"))),
            None => current,
        };
        planner::Moved { input: format!("what runs in {}", entry.environment), planned, current }
    };
    moved.into_iter().map(words).collect()
}

/// Who changed the environment of one of these moves last, in words.
fn last_change(view: &View, plan: &Plan, moves: &[Move]) -> Option<String> {
    let moved = moves.iter().filter_map(|m| view.environment(&m.environment).map(|e| (&m.environment, e)));
    let promotions = moved.flat_map(|(name, e)| e.history.iter().chain(&e.active).map(move |p| (name, p)));
    let latest = promotions.filter(|(_, p)| p.started >= plan.planned_at).max_by_key(|(_, p)| p.started)?;
    let (name, promotion) = latest;
    Some(format!("{} moved {name} to {} in run {}", promotion.by.name, promotion.to, promotion.run))
}
