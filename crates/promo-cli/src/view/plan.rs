//! A plan as a whole: where it comes from, what was asked for, and its environments. What must not live here: what is
//! said of one environment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::eligibility;
use promo_core::gate::{self, Gate, GateKind, Reason, overall};
use promo_core::ids::{EnvironmentName, RunId};
use promo_core::ledger::View;
use promo_core::model::Tier;
use promo_core::plan::{Document, Goal, Move, Next, Plan, Stay};
use promo_core::windows::Invoker;
use promo_engine::{EngineError, LeftOut, Session, SharedChange};
use schemars::JsonSchema;
use serde::Serialize;

use super::row::{DriftView, Note, Row, RowState, next_of};
use super::standing::{HoldView, OpenRunView, PendingView, Standing};
use super::summary::{NOTHING_TO_DO, NextCommand, Summary, few, moving_on, next, not_released, summary};
use super::ways;
use super::{AuthorityView, DrillView, FailedWithView};
use crate::commands::status::Rejected;
use crate::engine_error;
use crate::error::{CliError, command_line};
use crate::output::endings;
use crate::tags::{self, TagView};

/// Gates with their forecasts, by environment: shown, and no part of the plan (S8.2).
pub(crate) type Forecasts = BTreeMap<EnvironmentName, Vec<Gate>>;

/// A plan as it is shown.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PlanView {
    kind: &'static str,
    format: u32,
    /// The pipeline.
    pub(crate) pipeline: String,
    /// Digest of the plan: what is approved and applied.
    pub(crate) digest: Digest,
    /// Where it was saved.
    pub(crate) file: Option<String>,
    /// When it was made.
    pub(crate) planned_at: Timestamp,
    /// Until when it can be applied unless it is requested.
    pub(crate) expires: Timestamp,
    /// Whether there is no trust file (S0.1).
    pub(crate) local: bool,
    /// The policy.
    pub(crate) policy: Option<PolicyView>,
    /// The ledger that it was made from.
    pub(crate) ledger: LedgerView,
    /// What was asked for.
    pub(crate) request: RequestView,
    /// Who asked, as a claim.
    pub(crate) initiator: String,
    /// Which version made it.
    pub(crate) tool: String,
    /// With `plan --if-merged` only: the plan is a forecast, which is neither requested nor applied, and a release made
    /// from the files here would carry these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) if_merged: Option<Vec<SharedChange>>,
    /// Of a plan that moves nothing: files that several environments have, and that are not here as the newest release has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unreleased: Vec<SharedChange>,
    /// Every environment of the plan, lower tiers first.
    pub(crate) environments: Vec<Row>,
    /// The plan in short.
    pub(crate) summary: Summary,
    /// What became of it, where the ledger says something about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fate: Option<Fate>,
    /// Who asked for it and who said what about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authority: Option<AuthorityView>,
    /// Runs without an end that move its environments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) runs: Vec<OpenRunView>,
    /// Requested plans that move its environments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pending: Vec<PendingView>,
    /// Environments that are left out, because they cannot be looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<LeftOutView>,
    /// Whether what it asks for stands otherwise for the other kind of actor.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) differs: bool,
    /// The instant that times are told from.
    #[serde(skip)]
    pub(crate) now: Timestamp,
    /// The tags that its copies write, and what keeps them where they are, as this machine knows it. No part of the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<TagView>,
    /// Commands to go on with, the first one best; none where nothing is to be done.
    pub(crate) next: Vec<NextCommand>,
}

/// What became of a plan.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Fate {
    /// `requested`; or `superseded`, `used`, `over` or `stale` where it cannot be applied any more.
    pub(crate) state: &'static str,
    /// The run that used it.
    pub(crate) run: Option<RunId>,
    /// The plan that took its place.
    pub(crate) superseded_by: Option<Digest>,
    /// Until when it can be applied, by its request.
    pub(crate) until: Option<Timestamp>,
    /// Of a stale one: why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<String>,
}

/// An environment that a plan leaves out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LeftOutView {
    /// Which.
    pub(crate) environment: EnvironmentName,
    /// The code of why it cannot be looked at.
    pub(crate) code: &'static str,
    /// The same in words.
    pub(crate) why: String,
}

/// A policy by name and version.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PolicyView {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: u64,
    /// Digest of its bytes.
    pub(crate) digest: Digest,
}

/// A ledger and how long it was.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LedgerView {
    /// Which.
    pub(crate) origin: String,
    /// How many records.
    pub(crate) size: u64,
    /// Its tree hash.
    pub(crate) root: Digest,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RequestView {
    /// `promote` or `rollback`.
    pub(crate) goal: &'static str,
    /// Only these; empty means all.
    pub(crate) environments: Vec<String>,
    /// Only this release.
    pub(crate) release: Option<String>,
    /// As far as this environment.
    pub(crate) until: Option<String>,
    /// Of a rollback: whether it is only tried.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) drill: bool,
    /// `human` or `automation`.
    pub(crate) invoker: &'static str,
}

/// What the ledger says of a plan.
fn fate(digest: &Digest, plan: &Plan, view: &View, now: Timestamp) -> Option<Fate> {
    let none = Fate { state: "requested", run: None, superseded_by: None, until: None, stale: None };
    if let Some(run) = view.consumed.get(digest) {
        return Some(Fate { state: "used", run: Some(run.clone()), ..none });
    }
    let request = view.requests.get(digest);
    let moved = plan.moves.iter().map(|entry| &entry.environment);
    let superseded_by = view.superseding(digest, plan.ledger.size, moved).copied();
    let until = request.map(|request| request.expires);
    let state = match superseded_by {
        Some(_) => "superseded",
        None if now >= until.unwrap_or(plan.expires) => "over",
        None => request.map(|_| "requested")?,
    };
    let until = if state == "over" { until.or(Some(plan.expires)) } else { until };
    Some(Fate { state, superseded_by, until, ..none })
}

impl PlanView {
    /// The view of a plan.
    pub(crate) fn new(document: &Document, digest: Digest, file: Option<&str>, forecasts: &Forecasts) -> Self {
        let plan = &document.body;
        let none = Vec::new();
        let forecast = |name: &EnvironmentName| forecasts.get(name).unwrap_or(&none).as_slice();
        let stays = plan.stays.iter().map(|s| (s.tier, Row::of_stay(s, &plan.request, forecast(&s.environment))));
        let moves = plan.moves.iter().map(|m| (m.tier, Row::of_move(m, forecast(&m.environment))));
        let mut rows: Vec<(Tier, Row)> = stays.chain(moves).collect();
        // The plan does not carry the graph. Tiers come close to it, and within one the plan's own order stays.
        rows.sort_by_key(|(tier, _)| *tier);
        let mut environments: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        for row in &mut environments {
            let lost = plan.lost_evidence.get(row.environment.as_str());
            row.notes.extend(lost.into_iter().flatten().map(Note::lost_evidence));
            let entry = plan.moves.iter().find(|entry| entry.environment.as_str() == row.environment);
            row.notes.extend(entry.into_iter().flat_map(|entry| Note::judged_as_now(plan, entry)));
        }
        let request = RequestView {
            goal: match plan.request.goal {
                Goal::Promote => "promote",
                Goal::Rollback => "rollback",
            },
            environments: plan.request.environments.iter().map(ToString::to_string).collect(),
            release: plan.request.release.as_ref().map(ToString::to_string),
            until: plan.request.until.as_ref().map(ToString::to_string),
            drill: plan.request.drill,
            invoker: plan.request.invoker.as_str(),
        };
        let summary = summary(&environments, &plan.request);
        let next = next(plan.pipeline.as_str(), &environments, &request, file);
        Self {
            kind: "promo.plan.view",
            format: 1,
            pipeline: plan.pipeline.to_string(),
            digest,
            file: file.map(Into::into),
            planned_at: plan.planned_at,
            expires: plan.expires,
            local: plan.local,
            policy: plan.policy.as_ref().map(|p| PolicyView {
                name: p.name.clone(),
                version: p.version,
                digest: p.digest,
            }),
            ledger: LedgerView { origin: plan.ledger.origin.clone(), size: plan.ledger.size, root: plan.ledger.root },
            request,
            initiator: plan.initiator.clone(),
            tool: plan.tool.clone(),
            if_merged: None,
            unreleased: Vec::new(),
            environments,
            summary,
            fate: None,
            authority: None,
            runs: Vec::new(),
            pending: Vec::new(),
            left_out: Vec::new(),
            differs: false,
            now: plan.planned_at,
            tags: Vec::new(),
            next,
        }
    }

    /// The same of all environments but these.
    pub(crate) fn without(mut self, left: &LeftOut) -> Self {
        let out = |(name, error): (&EnvironmentName, &EngineError)| LeftOutView {
            environment: name.clone(),
            code: error.code(),
            why: engine_error::reason(error),
        };
        self.left_out = left.iter().map(out).collect();
        if !self.left_out.is_empty() {
            let names: Vec<&str> = self.left_out.iter().map(|left| left.environment.as_str()).collect();
            // Of those nobody knows whether something would move.
            let of_the_others = match self.summary.text.strip_prefix(NOTHING_TO_DO) {
                Some(rest) => format!("Nothing would move of what could be looked at.{rest}"),
                None => std::mem::take(&mut self.summary.text),
            };
            self.summary.text = format!("{of_the_others} Left out: {}.", few(&names));
        }
        self
    }

    /// The same with the shared files here that are not those of the newest release: where nothing moves, they are what is left to do.
    pub(crate) fn with_unreleased(mut self, unreleased: Vec<SharedChange>, release: &str) -> Self {
        let idle = self.environments.iter().all(|row| row.movement.is_none());
        if unreleased.is_empty() || !idle {
            return self;
        }
        if let Some(rest) = self.summary.text.strip_prefix(NOTHING_TO_DO) {
            self.summary.text = format!("Nothing to do of what was released.{rest}");
        }
        let paths: Vec<&str> = unreleased.iter().map(|changed| changed.path.as_str()).collect();
        self.summary.text.push_str(&format!(" {}", not_released(&paths)));
        let why = "makes a release of the shared files as they are here".to_owned();
        self.next.push(NextCommand { command: release.to_owned(), why });
        self.unreleased = unreleased;
        self
    }

    /// The same with what keeps the tags that it writes where they are.
    pub(crate) fn with_tags(mut self, document: &Document) -> Self {
        self.tags = tags::of_plan(document);
        self
    }

    /// The same with what the ledger says now: reasons that people gave, what holds an environment, which runs have not
    /// ended, which plans were requested, what is replaced, and what became of this very plan; `stale` says why nobody can use it
    /// any more, where that was looked for and is so.
    pub(crate) fn with_standing(
        mut self,
        session: &Session,
        view: &View,
        document: &Document,
        now: Timestamp,
        stale: Option<String>,
    ) -> Result<Self, CliError> {
        let (standing, plan) = (Standing::of(session, view)?, &document.body);
        let moves: BTreeMap<&str, &Move> = plan.moves.iter().map(|m| (m.environment.as_str(), m)).collect();
        let stays: BTreeMap<&str, &Stay> = plan.stays.iter().map(|s| (s.environment.as_str(), s)).collect();
        let held: BTreeMap<&str, &Next> =
            plan.stays.iter().filter_map(|s| Some((s.environment.as_str(), next_of(s)?))).collect();
        let requested = standing.pending.iter().filter(|pending| pending.plan == self.digest);
        let requested: BTreeMap<&str, &Vec<Gate>> =
            requested.flat_map(|one| &one.environments).map(|row| (row.environment.as_str(), &row.gates)).collect();
        for row in &mut self.environments {
            let Ok(name) = row.environment.parse::<EnvironmentName>() else { continue };
            let entry = moves.get(name.as_str()).copied();
            let next = held.get(name.as_str()).copied();
            if let Some(stay) = stays.get(name.as_str()) {
                row.drift = DriftView::seen(session, view, stay);
            }
            let release = entry.map(|m| &m.to.id).or(next.map(|next| &next.release.id));
            let theirs = requested.get(name.as_str()).copied();
            if let (Some(gates), Some(release)) = (theirs, release) {
                row.restate(gates, (&name, release));
            }
            let told = next.map(|next| gate::told(next.gates.clone(), &next.release.id));
            let gates = theirs.or(entry.map(|m| &m.gates)).or(told.as_ref());
            for (gate, known) in row.gates.iter_mut().zip(gates.into_iter().flatten()) {
                if let Some(release) = release {
                    gate.remark = session.reason_behind(view, &name, release, &known.reason)?;
                }
                standing.correct(known, gate);
                if known.reason == Reason::DeployedAgain
                    && standing.left_in(&name).is_some_and(|hold| !hold.left.is_empty())
                {
                    "was deployed here last, and is deployed again because it was asked for by name"
                        .clone_into(&mut gate.text);
                }
                if let (GateKind::Window, true, Some(entry)) = (known.kind, known.outcome.is_open(), entry) {
                    gate.closes = session.window_closes(&name, entry.movement, plan.request.invoker, now);
                    gate.routine &= gate.closes.is_none();
                }
            }
            let earlier = release.zip(gates).map(|(release, gates)| standing.earlier_verdicts(gates, release));
            row.notes.extend(earlier.into_iter().flatten().map(|text| Note { code: "verified", text }));
            let told = |kind| row.gates.iter().any(|gate| gate.kind == kind && !gate.outcome.is_open());
            let (frozen, held) = (told(GateKind::Freeze), told(GateKind::Lock));
            let untold = |hold: &&HoldView| if hold.run.is_some() { !held } else { !frozen };
            row.holds = standing.holds_of(&name).iter().filter(untold).cloned().collect();
            if let Some(entry) = entry {
                row.replaces(entry, view);
                if let Some(failed) =
                    DrillView::last(session, view, &name)?.filter(|_| row.movement == Some("rollback"))
                {
                    row.notes.extend(Note::disproved(entry, &failed));
                }
                let there = (&session.left_behind(view, &name), &session.elsewhere(view, entry)?);
                let (notes, by_hand) = Note::taken_back(plan, entry, view, there);
                row.notes.extend(notes);
                if let Some(note) = Note::back_already(view, entry) {
                    row.notes.insert(0, note);
                }
                let failed = session.failed_with(view, entry)?.map(|failed| FailedWithView::of(view, failed));
                row.notes.extend(failed.as_ref().map(Note::failed_with));
                row.by_hand = by_hand;
            }
            row.held = standing.holds_of(&name).iter().any(|hold| hold.run.is_some());
            if row.held && row.state == RowState::Unchanged {
                "held: nothing is planned by itself".clone_into(&mut row.says);
            }
            let verified = view.current(&name).is_some_and(|current| {
                let environment = &session.governance().pipeline.environments.get(&name);
                environment.is_some_and(|environment| {
                    eligibility::verification(view, &name, environment, &current.release).holds_since.is_some()
                })
            });
            row.unfinished = standing.run_in(&row.environment).is_some();
            if let Some(run) = &row.under_way {
                row.says = standing.halfway(run).to_owned();
            }
            row.settled &= verified && !row.unfinished && standing.holds_of(&name).is_empty();
            if !row.unfinished && !row.held && row.state == RowState::Unchanged {
                // This plan has looked.
                row.open_checks = ways::open_checks(session, view, &name, true);
            }
            let rejected = match view.current(&name).filter(|_| row.movement.is_none()) {
                Some(current) => Rejected::of(session, view, &current.release, &name)?,
                None => None,
            };
            if let Some(rejected) = rejected {
                row.notes.push(Note::rejected(rejected.untimed()));
                if row.says == "up to date" {
                    "stays, and must not run".clone_into(&mut row.says);
                }
                (row.rejected, row.settled) = (true, false);
                if !row.unfinished && !row.held && row.open_checks.is_empty() {
                    row.open_checks = rejected.ways;
                }
            }
        }
        let names: BTreeSet<String> = self.environments.iter().map(|row| row.environment.clone()).collect();
        let mine = |moved: &EnvironmentName| names.contains(moved.as_str());
        self.summary = summary(&self.environments, &plan.request);
        self.now = now;
        self.fate = fate(&self.digest, plan, view, now);
        self.authority = AuthorityView::of(session, view, [self.digest])?.pop();
        let Standing { runs, pending, .. } = &standing;
        self.runs = runs.iter().filter(|run| run.environments.keys().any(mine)).cloned().collect();
        if let Some(run) = self.fate.as_ref().and_then(|fate| fate.run.clone()) {
            self.used_by(session, &run, plan, view);
        }
        let usable = self.fate.as_ref().is_none_or(|fate| fate.state == "requested");
        let moot =
            if let Some(why) = stale.filter(|_| usable) { self.is_stale(why, session.moot(document)?) } else { false };
        let about = |one: &&PendingView| one.environments.iter().any(|row| mine(&row.environment));
        self.pending = pending.iter().filter(about).cloned().collect();
        for one in &mut self.pending {
            one.over |= one.outdated_by(plan);
        }
        let other = match plan.request.invoker {
            Invoker::Human => Invoker::Automation,
            Invoker::Automation => Invoker::Human,
        };
        // Only what is the same question otherwise: what a plan does not move is not asked about.
        let stays = plan.stays.iter().filter_map(|s| Some((&s.environment, &s.next.as_ref()?.release.id)));
        let (questions, named): (Vec<_>, bool) = (stays.collect(), plan.request.by_name());
        self.differs = session
            .gates_of(questions.clone(), (plan.request.invoker, named))?
            .iter()
            .zip(session.gates_of(questions, (other, named))?.iter())
            .any(|(one, other)| overall(one) != overall(other));
        if self.if_merged.is_none() {
            self.next = next(&self.pipeline, &self.environments, &self.request, self.file.as_deref());
            // Planned again it would move nothing.
            self.next = if moot { Vec::new() } else { self.lead_on() };
        }
        Ok(self)
    }

    /// The same once what it was made from is so no longer: nobody can approve or apply it. Gives whether nothing is left to do of
    /// it.
    fn is_stale(&mut self, why: String, moot: bool) -> bool {
        let left = if moot { ", and nothing is left to do of what it asked for" } else { "" };
        let text = format!("Nobody can approve or apply this plan any more{left}: {why}.");
        self.environments.iter_mut().filter(|row| row.movement.is_some()).for_each(Row::stale);
        self.summary = Summary { text, ..Summary::default() };
        let none = Fate { state: "stale", run: None, superseded_by: None, until: None, stale: None };
        self.fate = Some(Fate { stale: Some(why), ..none });
        moot
    }

    /// The same plan once a run has used it: its moves as that run left them, with the approvals that it began with.
    fn used_by(&mut self, session: &Session, run: &RunId, plan: &Plan, view: &View) {
        let let_in = self.authority.as_ref().map(AuthorityView::let_in).unwrap_or_default();
        for entry in &plan.moves {
            let known = view.environment(&entry.environment);
            let promotion = known.and_then(|known| known.history.iter().chain(&known.active).find(|p| p.run == *run));
            let ended = match promotion.map(|promotion| (promotion, promotion.finished)) {
                None => "was not started".into(),
                Some((promotion, Some((_, outcome)))) => {
                    endings::told(session, view, &entry.environment, promotion, outcome).0
                }
                Some(_) => {
                    endings::open(self.runs.iter().find(|open| open.run == *run).map(OpenRunView::stands)).0.into()
                }
            };
            let row = self.environments.iter_mut().find(|row| row.environment == entry.environment.as_str());
            row.into_iter().for_each(|row| row.used(entry, &ended, &let_in));
        }
        self.summary = Summary { text: format!("Run {run} has used this plan."), ..Summary::default() };
    }

    /// What can be done with it, by what the ledger says of it and of others.
    fn lead_on(&self) -> Vec<NextCommand> {
        let say = |command: &str, why: &str| NextCommand { command: command.to_owned(), why: why.to_owned() };
        let moves = |row: &Row| row.movement.is_some();
        let in_the_way = |row: &&Row| moves(row) || matches!(row.state, RowState::Refused | RowState::HeldBack);
        if let Some(run) = self.fate.as_ref().and_then(|fate| fate.run.as_ref()) {
            return vec![say(&command_line(["promo", "show", run.as_str()]), "shows the run that used it")];
        }
        let mut out = Vec::new();
        let blocks = |run: &OpenRunView| {
            let mine = |row: &&Row| run.environments.contains_key(row.environment.as_str());
            let idle = !self.environments.iter().any(moves);
            !run.alive() || idle || self.environments.iter().filter(in_the_way).any(|row| mine(&row))
        };
        out.extend(self.runs.iter().filter(|run| blocks(run)).map(|run| {
            let why = if run.alive() { "shows the run that is under way" } else { "goes on with the run that stopped" };
            say(&run.next, why)
        }));
        // Whoever goes back is not sent forward alone.
        let over = |run: &&OpenRunView| !run.alive() && blocks(run) && self.request.goal == "rollback";
        out.extend(self.runs.iter().filter(over).map(|run| {
            let cancel = command_line(["promo", "cancel", run.run.as_str()]);
            say(&cancel, "ends the run where it is, so that the way back can be planned")
        }));
        // Another plan that was requested for the same is gone on with; a request for this one would take its place.
        let same = |one: &&PendingView| {
            one.plan == self.digest
                || self.environments.iter().filter(|row| moves(row)).any(|row| {
                    let theirs = one.row(&row.environment);
                    theirs.is_some_and(|theirs| row.to.as_ref().is_some_and(|to| *to == theirs.to))
                })
        };
        // One from which only another plan leads on has it in this one.
        let leads_on = |one: &&PendingView| same(one) && (one.plan == self.digest || !one.over) && !one.next.is_empty();
        let requested = self.pending.iter().filter(leads_on);
        // Who sees this plan is not sent to see it.
        let shows_itself = |one: &PendingView| {
            let shown = one.file.as_deref().map(|file| command_line(["promo", "show", file]));
            one.plan == self.digest && shown.as_ref() == Some(&one.next)
        };
        out.extend(
            requested
                .clone()
                .filter(|one| !shows_itself(one))
                .map(|one| say(&one.next, "goes on with the requested plan")),
        );
        if let Some(until) = self.pending.iter().find(|one| shows_itself(one)).map(|one| one.until) {
            let why = format!("plans again after {until}, when the request is over; its last gate opens only later");
            let plan = moving_on(&self.pipeline, &self.environments, &self.request, None);
            out.extend(plan.into_iter().map(|next| NextCommand { why: why.clone(), ..next }));
        }
        let over = matches!(self.fate.as_ref().map(|fate| fate.state), Some("superseded" | "over" | "stale"));
        let requested_itself = self.pending.iter().any(|one| one.plan == self.digest);
        if over {
            let plan = moving_on(&self.pipeline, &self.environments, &self.request, None);
            out.extend(plan.into_iter().map(|next| NextCommand { why: "plans again".into(), ..next }));
        } else if !requested_itself {
            let instead = self.instead();
            out.extend(self.next.iter().map(|next| match &instead {
                Some(instead) if next.command.starts_with("promo request") => {
                    NextCommand { why: format!("{} {instead}", next.why), ..next.clone() }
                }
                _ => next.clone(),
            }));
        }
        let mut seen = BTreeSet::new();
        out.retain(|next| seen.insert(next.command.clone()));
        out
    }

    /// What a request for this plan would take the place of (S6.7), with the approvals that are lost by it.
    fn instead(&self) -> Option<String> {
        let moved = |one: &&PendingView| {
            let mut mine = self.environments.iter().filter(|row| row.movement.is_some());
            one.plan != self.digest && mine.any(|row| one.row(&row.environment).is_some())
        };
        let replaced: Vec<&PendingView> = self.pending.iter().filter(moved).collect();
        let rules = replaced.iter().flat_map(|one| &one.environments).flat_map(|row| &row.approvals);
        let approved: std::collections::BTreeSet<&str> = rules.flat_map(|rule| &rule.by).map(String::as_str).collect();
        let approved = Vec::from_iter(approved).join(" and ");
        let lost = if approved.is_empty() { String::new() } else { format!(", which {approved} approved") };
        (!replaced.is_empty()).then(|| format!("instead of the requested plan{lost}"))
    }

    /// The same as a forecast: nobody can go on with it, so that no command asks for more than to look.
    pub(crate) fn forecast_of_merge(mut self, shared: Vec<SharedChange>) -> Self {
        self.if_merged = Some(shared);
        let why = "what is where now".to_owned();
        self.next = vec![NextCommand { command: "promo status".to_owned(), why }];
        self
    }

    /// What a forecast says of the shared files, a sentence and one line each.
    pub(crate) fn merged_release(&self) -> Option<(&'static str, Vec<String>)> {
        let shared = self.if_merged.as_ref()?;
        if shared.is_empty() {
            return Some((
                "A release made from these files would carry the shared files of the newest one.",
                Vec::new(),
            ));
        }
        let lines = shared.iter().map(|s| format!("{} {}", s.change, s.path)).collect();
        Some(("A release made from these files would differ from the newest one by:", lines))
    }
}
