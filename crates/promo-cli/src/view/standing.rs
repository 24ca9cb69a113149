//! What the reading verbs tell beside gates, format 1: what holds an environment, which requested plans wait, and which runs
//! have not ended; each with the command that leads on. What must not live here: how it is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::Evaluation;
use promo_core::eligibility::{self, CheckStatus, Hold};
use promo_core::gate::{Gate, GateKind, Outcome, Reason, opens_at, overall};
use promo_core::ids::{CheckName, EnvironmentName, IdentityName, ReleaseId, RunId, TargetName};
use promo_core::ledger::View;
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::ledger::view::{Note, Promotion, Said, VerdictEntry};
use promo_core::plan::{Document, MAX_BYTES, Plan};
use promo_core::planner;
use promo_engine::{Left, OpenRun, Pending, PendingMove, Session, Sign};
use schemars::JsonSchema;
use serde::Serialize;

use super::run::signers;
use super::ways::{unfreeze, way_back, way_out};
use super::{GateView, ReleaseView, approving};
use crate::commands::approve::apply_words;
use crate::commands::plan::again;
use crate::error::{CliError, command_line};
use crate::input;
use crate::output::endings;

/// Something that keeps an environment as it is until a person does something about it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct HoldView {
    /// What it is: `failed`, `cancelled`, `frozen` or `paused`.
    pub(crate) kind: &'static str,
    /// Since when.
    pub(crate) since: Timestamp,
    /// Who froze it, or applied what failed: a claim.
    pub(crate) by: String,
    /// Of what failed: who signed that they applied it; nobody where no rule asks for that.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) signed_by: BTreeSet<IdentityName>,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
    /// Of a freeze or pause: whether it is one of every environment.
    pub(crate) everywhere: bool,
    /// The run that failed or was cancelled.
    pub(crate) run: Option<RunId>,
    /// What it moved.
    pub(crate) release: Option<ReleaseView>,
    /// Of another configuration of what ran there: the files in which it differs, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) configuration: Option<Vec<String>>,
    /// Whether it was on its way back.
    pub(crate) backward: bool,
    /// Of what failed: what was at fault, as far as the ledger tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    /// Of what failed or was cancelled: that its run had begun to go back, and did not get there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) went_back: Option<WentBack>,
    /// Of what failed or was cancelled: what it left on each target, where that is not what was deployed last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<LeftView>,
    /// Of what went back: that it is there, and not every check that promo runs has spoken of it since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unasked: bool,
    /// The command that leads to its end: of a freeze or a pause it ends it, and of what failed it plans what does so once it is
    /// applied, or adds a release that can.
    pub(crate) ends: String,
    /// Where that leads on to what was left half-way: the command that plans the way back instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) back: Option<String>,
}

/// A way back that was begun and did not end well.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct WentBack {
    /// What is there now; null where that is not known.
    pub(crate) there: Option<ReleaseView>,
}

/// What a promotion that did not end well left on a target.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LeftView {
    /// Which target.
    pub(crate) target: String,
    /// `release`, `nothing`, or `unknown`: a step was broken off, or failed.
    pub(crate) what: &'static str,
    /// Which release.
    pub(crate) release: Option<ReleaseView>,
}

impl LeftView {
    fn of(view: &View, target: &TargetName, left: &Left) -> Self {
        let (what, release) = match left {
            Left::Release(release) => ("release", Some(ReleaseView::of(&planner::reference(view, release)))),
            Left::Nothing => ("nothing", None),
            Left::Unknown => ("unknown", None),
        };
        Self { target: target.to_string(), what, release }
    }
}

/// What was at fault where a promotion failed and nothing went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// Deploying: something else runs there, or nothing.
    Deployment,
    /// A check that saw it fail.
    Check,
    /// Nobody knows: a check could not be run, has not spoken, or has to pass once more.
    Unjudged,
    /// Nothing any more: what runs there passed every check since.
    Over,
}

/// A requested plan that is neither used, superseded nor over.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PendingView {
    /// Its digest.
    pub(crate) plan: Digest,
    /// When it was requested.
    pub(crate) requested: Timestamp,
    /// Until when the request, and with it the plan, is open.
    pub(crate) until: Timestamp,
    /// Who asked: whoever signed, else the names that were claimed.
    pub(crate) by: Vec<String>,
    /// Whether the request is signed.
    pub(crate) signed: bool,
    /// The file that holds the plan, where one lies in the working directory or its folder `promotions`.
    pub(crate) file: Option<String>,
    /// Environments that somebody has moved since the plan was made, and all of them where it is something else that changed: it
    /// cannot be applied any more.
    pub(crate) moved: Vec<EnvironmentName>,
    /// Why nobody can approve or apply it any more, where what it was made from is no longer so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<String>,
    /// Whether nothing is left to do of what it asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) moot: bool,
    /// How each of its moves stands.
    pub(crate) environments: Vec<PendingRow>,
    /// The command that leads on; empty where nothing is left to do.
    pub(crate) next: String,
    /// Whether nothing leads on from it any more but another plan.
    #[serde(skip)]
    pub(crate) over: bool,
    #[serde(skip)]
    document: Arc<Document>,
}

/// One move of a requested plan.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PendingRow {
    /// Where.
    pub(crate) environment: EnvironmentName,
    /// What ran there when it was planned.
    pub(crate) from: Option<ReleaseView>,
    /// What would enter.
    pub(crate) to: ReleaseView,
    /// What kind of move it is.
    pub(crate) movement: Movement,
    /// Of a drill: the release that it goes back to before what runs comes again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drill: Option<ReleaseView>,
    /// How its gates stand together.
    pub(crate) outcome: Outcome,
    /// How its approval rules stand, in their order.
    pub(crate) approvals: Vec<ApprovalView>,
    /// Who rejected it.
    pub(crate) rejected: Vec<RejectionView>,
    /// Those who took their approval back and leave too few who could approve: the plan can get its approvals no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost: Vec<String>,
    /// The other gates that are closed.
    pub(crate) closed: Vec<GateView>,
    /// Why statements that were made do not count.
    pub(crate) problems: Vec<String>,
    /// All of its gates, with the approvals that there are.
    #[serde(skip)]
    pub(crate) gates: Vec<Gate>,
}

/// How far one approval rule is satisfied.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ApprovalView {
    /// How many people it asks for.
    pub(crate) needed: u32,
    /// Who counts.
    pub(crate) by: Vec<String>,
    /// Of whom the others may be: roles.
    pub(crate) from: Vec<String>,
    /// Who may not, for the part that they took: name and part.
    pub(crate) not: BTreeMap<String, String>,
}

/// A rejection.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RejectionView {
    /// Who.
    pub(crate) by: String,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
}

/// A run without an end.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct OpenRunView {
    /// Which.
    pub(crate) run: RunId,
    /// Who applies: a claim.
    pub(crate) applier: String,
    /// Who signed that they apply it; nobody where no rule asks for that.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) signed_by: BTreeSet<IdentityName>,
    /// What it moves: environment to release.
    pub(crate) environments: BTreeMap<EnvironmentName, ReleaseId>,
    /// How many waves of its targets are done, for an environment that it is moving wave by wave.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) waves: BTreeMap<EnvironmentName, usize>,
    /// Where it only tries the way back: to which release, before it brings back what ran.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) drills: BTreeMap<EnvironmentName, ReleaseView>,
    /// Where it goes back: to which release.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) backs: BTreeMap<EnvironmentName, ReleaseView>,
    /// When it began.
    pub(crate) started: Timestamp,
    /// `alive` while somebody is at work on it; `gone` where its process is gone for certain, `silent` where nobody holds its
    /// lock any more, `interrupted` where it said that it stopped.
    pub(crate) state: &'static str,
    /// Where its process is or was, where that is known.
    pub(crate) place: Option<String>,
    /// Its last sign of life, where that is known.
    pub(crate) last: Option<Timestamp>,
    /// Until when it holds its lock unless it renews it.
    pub(crate) until: Option<Timestamp>,
    /// Why it goes no further, where the rules are no longer those that it was begun under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<String>,
    /// The command that leads on: `promo show` where it is alive, `promo cancel` where it goes no further, else `promo resume`.
    pub(crate) next: String,
}

impl OpenRunView {
    fn of(session: &Session, view: &View, open: &OpenRun) -> Self {
        let (state, place, last, until) = match &open.sign {
            Sign::Alive { place, renewed, until } => ("alive", Some(place.clone()), *renewed, Some(*until)),
            Sign::Gone { place, last } => ("gone", Some(place.clone()), Some(*last), None),
            Sign::Silent { last } => ("silent", None, Some(*last), None),
            Sign::Interrupted { at } => ("interrupted", None, Some(*at), None),
        };
        let next = if state == "alive" {
            command_line(["promo", "show", open.id.as_str()])
        } else {
            leads_on(session, view, &open.id, open.run.environments.keys())
        };
        let moved = |name: &EnvironmentName| view.environment(name)?.active.as_ref().filter(|one| one.run == open.id);
        let of = |name: &EnvironmentName, id| (name.clone(), ReleaseView::of(&planner::reference(view, id)));
        let drill = |name: &EnvironmentName| Some(of(name, &moved(name)?.drill.as_ref()?.back));
        let back = |name: &EnvironmentName| {
            let active =
                moved(name).filter(|active| active.movement == Movement::Rollback && active.drill.is_none())?;
            Some(of(name, &active.to))
        };
        let stale = (state != "alive").then(|| session.goes_no_further(view, &open.id)).flatten();
        Self {
            run: open.id.clone(),
            applier: open.run.applier.clone(),
            signed_by: signers(view, &open.id, None),
            environments: open.run.environments.clone(),
            waves: open.run.environments.keys().filter_map(|name| waves_done(view, &open.id, name)).collect(),
            drills: open.run.environments.keys().filter_map(drill).collect(),
            backs: open.run.environments.keys().filter_map(back).collect(),
            started: open.run.started,
            state,
            place,
            last,
            until,
            stale,
            next,
        }
    }

    /// How it stands: its state, or `stale` where it said that it stopped and goes no further.
    pub(crate) fn stands(&self) -> &'static str {
        if self.stale.is_some() && self.state == "interrupted" { "stale" } else { self.state }
    }

    /// Whether somebody is at work on it.
    pub(crate) fn alive(&self) -> bool {
        self.state == "alive"
    }
}

/// An environment that a run is moving wave by wave, and how many waves of it are done.
fn waves_done(view: &View, run: &RunId, name: &EnvironmentName) -> Option<(EnvironmentName, usize)> {
    let active = view.environment(name)?.active.as_ref().filter(|active| active.run == *run)?;
    (!active.waves.is_empty()).then(|| (name.clone(), active.waves.len()))
}

/// The command that leads on from a run without an end that nobody is at work on, on every screen: what goes on with it, with a
/// key where a rule of one of its environments excludes the applier (S6.4), or what ends it where it goes no further.
pub(crate) fn leads_on<'e>(
    session: &Session,
    view: &View,
    run: &RunId,
    mut environments: impl Iterator<Item = &'e EnvironmentName>,
) -> String {
    if session.goes_no_further(view, run).is_some() {
        return command_line(["promo", "cancel", run.as_str()]);
    }
    let key = environments.any(|name| session.excludes_applier(name)).then_some(["--key", "KEY"]);
    command_line(["promo", "resume", run.as_str()].into_iter().chain(key.into_iter().flatten()))
}

/// All of it, for one pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// What holds each environment that is held, what has to be ended first before the others.
    pub(crate) holds: BTreeMap<EnvironmentName, Vec<HoldView>>,
    /// Requested plans, the oldest request first.
    pub(crate) pending: Vec<PendingView>,
    /// Runs without an end, oldest first.
    pub(crate) runs: Vec<OpenRunView>,
    /// Where a run brings back a release whose verdict of before still counts: which one, and the run.
    returns: BTreeMap<EnvironmentName, (ReleaseId, RunId)>,
}

impl Standing {
    /// How a pipeline stands.
    pub(crate) fn of(session: &Session, view: &View) -> Result<Self, CliError> {
        let runs: Vec<OpenRunView> =
            session.unfinished(view)?.iter().map(|open| OpenRunView::of(session, view, open)).collect();
        let (mut holds, mut returns) = (BTreeMap::new(), BTreeMap::new());
        let rules = session.governance().rules();
        for name in session.governance().pipeline.environments.keys() {
            let active = view.environment(name).and_then(|known| known.active.as_ref());
            let back = active.and_then(|active| eligibility::coming_back(&rules, view, name, &active.to));
            returns.extend(back.map(|back| (name.clone(), (back.to.clone(), back.run.clone()))));
            let found = eligibility::holds(view, name);
            let here = found.iter().map(|hold| hold_view(session, view, name, hold));
            let mut here = here.collect::<Result<Vec<_>, CliError>>()?;
            // A freeze stops what ends another hold too, unless that is to go back (S5.4): what has to be ended first goes first.
            here.sort_by_key(|hold| match hold.kind {
                "frozen" => 1,
                "paused" => 3,
                _ if hold.ends.starts_with("promo rollback") => 0,
                _ => 2,
            });
            if !here.is_empty() {
                holds.insert(name.clone(), here);
            }
        }
        let mut out = Self { holds, pending: Vec::new(), runs, returns };
        for pending in session.pending(view)? {
            let view = pending_view(&out, session, view, pending);
            out.pending.push(view?);
        }
        Ok(out)
    }

    /// The run that is in the way of an environment.
    pub(crate) fn run_in(&self, name: &str) -> Option<&OpenRunView> {
        self.runs.iter().find(|run| run.environments.contains_key(name))
    }

    /// The requested plan that moves an environment.
    pub(crate) fn pending_in(&self, name: &str) -> Option<&PendingView> {
        self.pending.iter().rev().find(|pending| pending.row(name).is_some())
    }

    /// The run that brings a release back to an environment where the verdict of its earlier deployment still counts.
    pub(crate) fn returns(&self, name: &EnvironmentName, release: &ReleaseId) -> Option<&RunId> {
        self.returns.get(name).filter(|(to, _)| to == release).map(|(_, run)| run)
    }

    /// The same in words, for whoever goes by that verdict.
    pub(crate) fn earlier_verdict(&self, name: &EnvironmentName, release: &ReleaseId) -> Option<String> {
        let run = self.returns(name, release)?;
        let alive = self.runs.iter().find(|open| open.run == *run).is_none_or(OpenRunView::alive);
        let does =
            if alive { "is deploying it there again now" } else { "stopped while it was deploying it there again" };
        Some(format!("the verdict of {name} is that of the earlier deployment: run {run} {does}"))
    }

    /// Which of the environments that these gates call verified go by the verdict of an earlier deployment, in words.
    pub(crate) fn earlier_verdicts(&self, gates: &[Gate], release: &ReleaseId) -> Vec<String> {
        let verified = gates.iter().filter_map(|gate| match &gate.reason {
            Reason::Verified { environment, .. } => Some(environment),
            _ => None,
        });
        verified.filter_map(|name| self.earlier_verdict(name, release)).collect()
    }

    /// How something stands that a run is moving.
    pub(crate) fn halfway(&self, run: &RunId) -> &'static str {
        let dead = self.runs.iter().any(|open| open.run == *run && !open.alive());
        if dead { "stopped half-way" } else { "under way" }
    }

    /// A gate in words: a run with nobody at work on it moves nothing.
    pub(crate) fn gate(&self, gate: &Gate, about: (&EnvironmentName, &ReleaseId)) -> GateView {
        let mut shown = GateView::of(gate, about, None);
        self.correct(gate, &mut shown);
        shown
    }

    /// Says of a gate that is closed because of a run whether that run is alive, and what it failed with.
    pub(crate) fn correct(&self, gate: &Gate, shown: &mut GateView) {
        match &gate.reason {
            Reason::Busy { run, release } if self.runs.iter().any(|open| open.run == *run && !open.alive()) => {
                shown.text = format!("run {run} stopped while it was moving {release} here");
            }
            Reason::Held { run, release } => {
                let mut holds = self.holds.values().flatten().filter(|hold| hold.run.as_ref() == Some(run));
                if let Some(files) = holds.find_map(|hold| hold.configuration.as_ref()) {
                    let another = endings::another(files);
                    shown.text = format!("run {run} failed with {another} of {release} and is held for a person");
                }
            }
            _ => {}
        }
    }

    /// The hold of an environment that is not as it was deployed last, because a promotion left something else there, or where
    /// what it went back to was not asked since.
    pub(crate) fn left_in(&self, name: &EnvironmentName) -> Option<&HoldView> {
        self.holds_of(name).iter().find(|hold| !hold.left.is_empty() || hold.unasked)
    }

    /// What holds an environment.
    pub(crate) fn holds_of(&self, name: &EnvironmentName) -> &[HoldView] {
        self.holds.get(name).map_or(&[], Vec::as_slice)
    }
}

impl PendingView {
    /// Whether a plan of the same moves that was made since shows that this one is stale (S8.2).
    pub(crate) fn outdated_by(&self, newer: &Plan) -> bool {
        let moved = |plan: &Plan| plan.moves.iter().map(|entry| entry.environment.clone()).collect::<BTreeSet<_>>();
        let old = &self.document.body;
        // Who asked is no part of what is so.
        let inputs = newer.inputs.iter().map(|(name, now)| (name.clone(), now.clone()));
        let asked = old.inputs.get("invoker").map(|invoker| ("invoker".to_owned(), invoker.clone()));
        newer.planned_at > old.planned_at
            && moved(newer) == moved(old)
            && !planner::stale(old, &inputs.chain(asked).collect(), &newer.moves).is_empty()
    }

    /// What it would do to an environment.
    pub(crate) fn row(&self, name: &str) -> Option<&PendingRow> {
        self.environments.iter().find(|row| row.environment.as_str() == name)
    }
}

fn hold_view(session: &Session, view: &View, name: &EnvironmentName, hold: &Hold<'_>) -> Result<HoldView, CliError> {
    let stop = |kind, note: &Note, everywhere: bool| -> Result<HoldView, CliError> {
        Ok(HoldView {
            kind,
            since: note.at,
            by: note.by.name.clone(),
            signed_by: BTreeSet::new(),
            reason: session.reason_given(note.seq)?,
            everywhere,
            run: None,
            release: None,
            configuration: None,
            backward: false,
            cause: None,
            went_back: None,
            left: Vec::new(),
            unasked: false,
            ends: unfreeze(session, (!everywhere).then_some(name)),
            back: None,
        })
    };
    match hold {
        Hold::Frozen { note, everywhere } => stop("frozen", note, *everywhere),
        Hold::Paused { note, everywhere } => stop("paused", note, *everywhere),
        Hold::Failed(promotion) => {
            let run = view.runs.get(&promotion.run);
            let cancelled = matches!(run.and_then(|run| run.finished), Some((_, RunOutcome::Cancelled)))
                && !matches!(promotion.finished, Some((_, PromotionOutcome::Stuck)));
            // A drill begins with going back; what is left of it is what did not come again.
            let went_back = promotion.drill.is_none() && run.is_some_and(|run| endings::went_back(run, name));
            let cause = cause(session, view, name, promotion, went_back);
            let behind = session.left_behind(view, name);
            let left: Vec<LeftView> =
                behind.targets.iter().map(|(target, (left, _))| LeftView::of(view, target, left)).collect();
            let there = || match left.split_first() {
                None => view.current(name).map(|r| ReleaseView::of(&planner::reference(view, &r.release))),
                Some((one, others)) => one.release.clone().filter(|_| others.iter().all(|o| o.release == one.release)),
            };
            let ends = way_out(session, view, name, promotion, (cancelled, cause, went_back))?;
            let forward = !left.is_empty() && !ends.starts_with("promo rollback ");
            Ok(HoldView {
                kind: if cancelled { "cancelled" } else { "failed" },
                since: promotion.finished.map_or(promotion.started, |(at, _)| at),
                by: run.map_or_else(|| promotion.by.name.clone(), |run| run.applier.clone()),
                signed_by: signers(view, &promotion.run, Some(name)),
                reason: None,
                everywhere: false,
                run: Some(promotion.run.clone()),
                release: Some(ReleaseView::of(&planner::reference(view, &promotion.to))),
                configuration: promo_engine::other_configuration(view, name, promotion),
                backward: promotion.movement == Movement::Rollback,
                cause: (!cancelled).then_some(cause),
                went_back: went_back.then(|| WentBack { there: there() }),
                left: left.clone(),
                unasked: behind.unasked,
                back: forward.then(|| way_back(session, view, name)).flatten(),
                ends,
            })
        }
    }
}

/// What was at fault where a promotion failed.
fn cause(session: &Session, view: &View, name: &EnvironmentName, promotion: &Promotion, went_back: bool) -> Cause {
    // What was left is not what is there: only what this run saw of it tells.
    if went_back {
        let verdicts = view.environment(name).and_then(|known| known.verdicts.get(&promotion.to));
        let failed = |said: &VerdictEntry| said.run.as_ref() == Some(&promotion.run) && said.said == Said::Failed;
        let seen = verdicts.into_iter().flat_map(|checks| checks.values().flatten()).any(failed);
        return if seen { Cause::Check } else { Cause::Deployment };
    }
    // Of another configuration the release was there before, and its checks have spoken of that.
    if !promotion.deployed || view.current(name).is_none_or(|current| current.release != promotion.to) {
        return Cause::Deployment;
    }
    let Some(environment) = session.governance().pipeline.environments.get(name) else { return Cause::Over };
    let verified = eligibility::verification(view, name, environment, &promotion.to);
    let failed =
        || verified.checks.iter().filter(|(_, status)| **status == CheckStatus::Failed).map(|(check, _)| check);
    let unseen = |check: &CheckName| {
        let latest = view.environment(name).and_then(|known| known.verdicts.get(&promotion.to)?.get(check)?.last());
        latest.is_some_and(|verdict| verdict.unanswered)
    };
    match failed().next() {
        None if verified.holds_since.is_some() => Cause::Over,
        None => Cause::Unjudged,
        Some(_) if failed().all(unseen) => Cause::Unjudged,
        Some(_) => Cause::Check,
    }
}

fn pending_view(
    standing: &Standing,
    session: &Session,
    view: &View,
    pending: Pending,
) -> Result<PendingView, CliError> {
    let request = &pending.request;
    let signers: Vec<String> = request.signers.iter().map(ToString::to_string).collect();
    let evaluated = |one: &PendingMove| Some((one.environment.clone(), one.evaluation.clone()?));
    let standings: BTreeMap<EnvironmentName, Evaluation> = pending.moves.iter().filter_map(evaluated).collect();
    let mut rows = Vec::new();
    for (one, entry) in pending.moves.iter().zip(&pending.document.body.moves) {
        let mut closed = Vec::new();
        for gate in one.gates.iter().filter(|g| g.kind != GateKind::Approval && !g.outcome.is_open()) {
            let remark = session.reason_behind(view, &one.environment, &entry.to.id, &gate.reason)?;
            closed.push(GateView { remark, ..standing.gate(gate, (&one.environment, &entry.to.id)) });
        }
        rows.push(PendingRow {
            environment: one.environment.clone(),
            from: entry.from.as_ref().map(ReleaseView::of),
            to: ReleaseView::of(&entry.to),
            movement: entry.movement,
            drill: entry.rollback.as_ref().filter(|_| entry.drill).map(|back| ReleaseView::of(&back.to)),
            outcome: overall(&one.gates),
            approvals: approvals(one),
            rejected: one
                .rejected
                .iter()
                .map(|(who, reason)| RejectionView { by: who.to_string(), reason: reason.clone() })
                .collect(),
            lost: lost(session, one),
            closed,
            problems: problems(session, one),
            gates: one.gates.clone(),
        });
    }
    let mut out = PendingView {
        plan: pending.plan,
        requested: request.at,
        until: request.expires,
        signed: !signers.is_empty(),
        by: if signers.is_empty() { request.initiators.iter().cloned().collect() } else { signers },
        file: find(&pending.plan),
        moved: pending.moved,
        stale: pending.stale,
        moot: pending.moot,
        environments: rows,
        next: String::new(),
        over: false,
        document: Arc::new(pending.document),
    };
    let refused = out.environments.iter().any(|row| row.outcome >= Outcome::Expired || !row.lost.is_empty());
    out.over = refused || out.stale.is_some();
    out.next = lead_on(standing, session, view, &out, &standings)?;
    Ok(out)
}

fn approvals(one: &PendingMove) -> Vec<ApprovalView> {
    let rules = one.evaluation.iter().flat_map(|evaluation| &evaluation.rules);
    let rule = |rule: &promo_core::approval::RuleOutcome| ApprovalView {
        needed: rule.count,
        by: rule.filled.iter().map(|slot| slot.identity.to_string()).collect(),
        from: rule.who_can.iter().map(ToString::to_string).collect(),
        not: rule.excluded.iter().map(|(who, party)| (who.to_string(), party.as_str().to_owned())).collect(),
    };
    rules.map(rule).collect()
}

/// Who took back what nobody else can give.
fn lost(session: &Session, one: &PendingMove) -> Vec<String> {
    let lost = one.evaluation.iter().filter(|evaluation| evaluation.lost(&session.governance().roster));
    lost.flat_map(|evaluation| &evaluation.revoked).map(ToString::to_string).collect()
}

/// Why what was said does not count; who is kept out of a rule stands there already.
fn problems(session: &Session, one: &PendingMove) -> Vec<String> {
    let evaluation = one.evaluation.iter();
    let all = evaluation.flat_map(|e| e.rules.iter().flat_map(|rule| &rule.problems).chain(&e.problems));
    let mut out: Vec<String> = all.map(ToString::to_string).collect();
    out.sort();
    out.dedup();
    let short = one.evaluation.iter().filter(|e| !e.satisfied() && e.rejections.is_empty());
    let nobody = short.filter_map(|e| approving::nobody(e, &session.governance().roster));
    out.extend(nobody.map(|why| format!("nobody can approve this: {why}")));
    out
}

/// What brings a requested plan further.
fn lead_on(
    standing: &Standing,
    session: &Session,
    view: &View,
    pending: &PendingView,
    standings: &BTreeMap<EnvironmentName, Evaluation>,
) -> Result<String, CliError> {
    let (rows, document, now) = (&pending.environments, &pending.document, session.now()?);
    if let Some(run) = rows.iter().find_map(|row| standing.run_in(row.environment.as_str())) {
        return Ok(run.next.clone());
    }
    if pending.over {
        // Planned again it would move nothing, or nothing before the freeze is lifted, which does not stop what goes back (S5.4).
        if pending.moot {
            return Ok(String::new());
        }
        if rows.iter().flat_map(|row| &row.gates).any(Gate::never_opens) {
            return Ok("promo check".to_owned());
        }
        let stopped = rows.iter().filter(|row| row.movement != Movement::Rollback);
        let mut holds = stopped.flat_map(|row| standing.holds_of(&row.environment));
        if let Some(frozen) = holds.find(|hold| hold.kind == "frozen") {
            return Ok(frozen.ends.clone());
        }
        let file = format!("{}.plan.json", session.governance().pipeline.name);
        return Ok(command_line(again(&document.body.request, &file).iter().map(String::as_str)));
    }
    let name = format!("{}.plan.json", session.governance().pipeline.name);
    let digest = pending.plan.to_string();
    let Some(file) = &pending.file else {
        return Ok(command_line(["promo", "show", &digest, "--out", &name]));
    };
    if let Some(way) = approving::lead_on(session, view, (document, &pending.plan), standings, (file, &[]))? {
        return Ok(way.next);
    }
    let frozen = rows.iter().find_map(|row| {
        let stops = row.closed.iter().any(|gate| gate.kind == GateKind::Freeze);
        standing.holds_of(&row.environment).iter().find(|hold| stops && matches!(hold.kind, "frozen" | "paused"))
    });
    Ok(match frozen {
        Some(hold) => hold.ends.clone(),
        None => {
            let shut: Vec<Gate> =
                rows.iter().flat_map(|row| &row.gates).filter(|g| !g.outcome.is_open()).cloned().collect();
            let wait = match opens_at(&shut) {
                _ if shut.is_empty() => None,
                // The request is over by then: what it shows says both.
                Some(at) if at >= pending.until => return Ok(command_line(["promo", "show", file])),
                Some(at) => Some(reaching(at, now)),
                // Nothing says when, as of a lock: a while, and then it is tried once more.
                None => Some(format!("{SOME_HOURS}h")),
            };
            let waits = wait.iter().flat_map(|wait| ["--wait", wait.as_str()]);
            command_line(apply_words(session, document, file).into_iter().chain(waits))
        }
    })
}

/// How long a wait is that is suggested where nothing asks for a longer one.
const SOME_HOURS: i64 = 2;

/// A wait, in whole hours, that reaches an instant.
fn reaching(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs().max(0);
    format!("{}h", (seconds / 3_600 + 1).max(SOME_HOURS))
}

/// The file in the working directory, or in its folder of requested plans, that holds a plan.
fn find(plan: &Digest) -> Option<String> {
    /// More files than that in one folder are not looked through.
    const FILES: usize = 256;
    let folders = [PathBuf::new(), PathBuf::from("promotions")];
    let files = folders.iter().flat_map(|folder| {
        let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = std::fs::read_dir(place).into_iter().flatten().filter_map(Result::ok).take(FILES);
        // A name that begins like an option could not be pasted.
        let names = entries.map(|entry| entry.file_name()).filter(|name| !name.to_string_lossy().starts_with('-'));
        let mut names: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        names.sort();
        names
    });
    let plans = files.filter(|path| path.extension().is_some_and(|ext| ext == "json"));
    let holds = |path: &PathBuf| {
        let bytes = input::at_most(path, MAX_BYTES).unwrap_or_default();
        Digest::of(bytes.strip_suffix(b"\n").unwrap_or(&bytes)) == *plan
    };
    plans.into_iter().find(holds).map(|path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_suggested_reaches_the_instant_at_which_the_last_gate_opens() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-20T13:02:00Z");
        for (opens, wait) in
            [("2026-11-20T13:30:00Z", "2h"), ("2026-11-20T15:02:00Z", "3h"), ("2026-11-21T15:01:59Z", "26h")]
        {
            assert_eq!(reaching(at(opens), now), wait);
        }
        assert_eq!(reaching(at("2026-11-20T12:00:00Z"), now), "2h");
    }
}
