//! The frozen view of a plan, format 1: what `--format json` prints, and what the text and the Markdown are drawn from.
//! What must not live here: layout, and anything that the plan, its digest and the forecasts do not say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::gate::{Gate, GateKind, Outcome, Reason};
use promo_core::ids::EnvironmentName;
use promo_core::inputs::FileChange;
use promo_core::ledger::event::Movement;
use promo_core::model::{OnFailure, Tier};
use promo_core::plan::{Action, Document, Goal, Move, ReleaseRef, Stay, StayReason, Step};
use promo_core::windows::Invoker;
use serde::Serialize;

use crate::error::command_line;

/// Gates with their forecasts, by environment: shown, and no part of the plan (S8.2).
pub(crate) type Forecasts = BTreeMap<EnvironmentName, Vec<Gate>>;

/// A plan as it is shown.
#[derive(Debug, Clone, Serialize)]
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
    /// Every environment of the plan, lower tiers first.
    pub(crate) environments: Vec<Row>,
    /// The plan in short.
    pub(crate) summary: Summary,
    /// Commands to go on with, the first one best.
    pub(crate) next: Vec<NextCommand>,
}

/// A policy by name and version.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PolicyView {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: u64,
    /// Digest of its bytes.
    pub(crate) digest: Digest,
}

/// A ledger and how long it was.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LedgerView {
    /// Which.
    pub(crate) origin: String,
    /// How many records.
    pub(crate) size: u64,
    /// Its tree hash.
    pub(crate) root: Digest,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RequestView {
    /// `promote` or `rollback`.
    pub(crate) goal: &'static str,
    /// Only these; empty means all.
    pub(crate) environments: Vec<String>,
    /// Only this release.
    pub(crate) release: Option<String>,
    /// As far as this environment.
    pub(crate) until: Option<String>,
    /// `human` or `automation`.
    pub(crate) invoker: &'static str,
}

/// One environment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) environment: String,
    /// Its tier.
    pub(crate) tier: &'static str,
    /// What the plan says of it.
    pub(crate) state: RowState,
    /// The same in words.
    pub(crate) says: String,
    /// `promotion`, `reconfiguration` or `rollback` for what is in the plan.
    pub(crate) movement: Option<&'static str>,
    /// Whether it goes back to an older release.
    pub(crate) backward: bool,
    /// What runs there.
    pub(crate) from: Option<ReleaseView>,
    /// What would enter.
    pub(crate) to: Option<ReleaseView>,
    /// When the last closed gate opens by itself, where that is known.
    pub(crate) opens_at: Option<Timestamp>,
    /// How every gate stands.
    pub(crate) gates: Vec<GateView>,
    /// Environments of the plan that come first.
    pub(crate) after: Vec<String>,
    /// Artifacts that enter, and those that they replace.
    pub(crate) artifacts: Vec<ArtifactView>,
    /// Files of the deployment that differ from those of the release to go back to.
    pub(crate) files: Vec<String>,
    /// What would be done.
    pub(crate) steps: Vec<StepView>,
    /// What is checked afterwards.
    pub(crate) checks: Vec<String>,
    /// Checks that wait for a person: name and roles.
    pub(crate) verdicts: BTreeMap<String, Vec<String>>,
    /// `rollback` or `hold`, for what is in the plan.
    pub(crate) on_failure: Option<&'static str>,
    /// Releases to go back to, best first.
    pub(crate) rollback_targets: Vec<ReleaseView>,
    /// Where what is live is not what the ledger says.
    pub(crate) drift: Vec<DriftView>,
}

/// What a plan says of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RowState {
    /// Nothing to do.
    Unchanged,
    /// In the plan, every gate is open.
    CanStart,
    /// In the plan, behind an earlier move of it.
    Deferred,
    /// In the plan, and a gate has to open first.
    Waiting,
    /// Not in the plan, because a gate is closed.
    HeldBack,
    /// Not in the plan, because a gate refuses.
    Refused,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseView {
    /// Its id.
    pub(crate) id: String,
    /// Its lineage number.
    pub(crate) lineage: u64,
    /// Its name for people.
    pub(crate) alias: Option<String>,
}

impl ReleaseView {
    /// A release of a plan.
    pub(crate) fn of(release: &ReleaseRef) -> Self {
        Self { id: release.id.to_string(), lineage: release.lineage, alias: release.alias.clone() }
    }

    /// `r-7a3f9c2e41b0 (#57)`, with the alias where there is one.
    pub(crate) fn text(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{} (#{} {alias})", self.id, self.lineage),
            None => format!("{} (#{})", self.id, self.lineage),
        }
    }
}

/// A gate.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GateView {
    /// Which.
    pub(crate) kind: GateKind,
    /// How it stands.
    pub(crate) outcome: Outcome,
    /// The code of the reason.
    pub(crate) code: &'static str,
    /// The reason in words.
    pub(crate) text: String,
    /// Since when, where the reason says so.
    pub(crate) since: Option<Timestamp>,
    /// When it opens by itself, as far as that is known.
    pub(crate) until: Option<Timestamp>,
    /// Whether it stands as nearly always: left out of short views.
    pub(crate) routine: bool,
}

impl GateView {
    /// A gate, with the forecast of the same gate where there is one.
    pub(crate) fn of(gate: &Gate, forecasts: &[Gate]) -> Self {
        let forecast = forecasts.iter().find(|f| f.kind == gate.kind && f.reason == gate.reason).and_then(|f| f.until);
        let since = match &gate.reason {
            Reason::Verified { since, .. }
            | Reason::SoakMet { since, .. }
            | Reason::Frozen { since, .. }
            | Reason::Paused { since } => Some(*since),
            _ => None,
        };
        let routine = gate.outcome.is_open()
            && matches!(
                gate.reason,
                Reason::ArtifactsAsRecorded
                    | Reason::Ahead
                    | Reason::NotQuarantined
                    | Reason::NotFrozen
                    | Reason::NoSoakDisturbed
                    | Reason::NoApprovalNeeded
                    | Reason::WindowOpen
                    | Reason::Idle
            );
        Self {
            kind: gate.kind,
            outcome: gate.outcome,
            code: gate.reason.code(),
            text: gate.reason.to_string(),
            since,
            until: gate.until.or(forecast),
            routine,
        }
    }
}

/// One component of a release.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ArtifactView {
    /// Its name.
    pub(crate) name: String,
    /// The repository that the environment takes it from.
    pub(crate) repository: String,
    /// Its tag, for people.
    pub(crate) tag: Option<String>,
    /// The digest that enters.
    pub(crate) to: Digest,
    /// The digest that it replaces, where the plan says so.
    pub(crate) from: Option<Digest>,
    /// Whether it is copied first.
    pub(crate) copied: bool,
}

/// One act of a provider.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StepView {
    /// Its id.
    pub(crate) id: String,
    /// `copy` or `deploy`.
    pub(crate) action: &'static str,
    /// Which provider.
    pub(crate) provider: String,
    /// Which place.
    pub(crate) place: String,
    /// What it expects to find.
    pub(crate) expected: String,
    /// What it leaves.
    pub(crate) desired: String,
    /// What would change, as far as it can be shown.
    pub(crate) changes: Vec<FileChange>,
}

/// A place that has been changed by someone else.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DriftView {
    /// Which target.
    pub(crate) target: String,
    /// What the ledger says.
    pub(crate) recorded: String,
    /// What is there.
    pub(crate) live: String,
}

/// The plan in short.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Summary {
    /// One or two sentences.
    pub(crate) text: String,
    /// What can start.
    pub(crate) can_start: Vec<String>,
    /// What is in the plan and waits.
    pub(crate) waiting: Vec<String>,
    /// What is held back.
    pub(crate) held_back: Vec<String>,
    /// What is refused.
    pub(crate) refused: Vec<String>,
    /// What goes back.
    pub(crate) backward: Vec<String>,
    /// Where there is drift.
    pub(crate) drift: Vec<String>,
    /// How many environments stay as they are.
    pub(crate) unchanged: usize,
}

/// A command to go on with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NextCommand {
    /// The command.
    pub(crate) command: String,
    /// What it is for.
    pub(crate) why: String,
}

impl PlanView {
    /// The view of a plan.
    pub(crate) fn new(document: &Document, digest: Digest, file: Option<&str>, forecasts: &Forecasts) -> Self {
        let plan = &document.body;
        let none = Vec::new();
        let forecast = |name: &EnvironmentName| forecasts.get(name).unwrap_or(&none).as_slice();
        let stays = plan.stays.iter().map(|s| (s.tier, stay_row(s, forecast(&s.environment))));
        let moves = plan.moves.iter().map(|m| (m.tier, move_row(m, forecast(&m.environment))));
        let mut rows: Vec<(Tier, Row)> = stays.chain(moves).collect();
        // The plan does not carry the graph. Tiers come close to it, and within one the plan's own order stays.
        rows.sort_by_key(|(tier, _)| *tier);
        let environments: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        let request = RequestView {
            goal: match plan.request.goal {
                Goal::Promote => "promote",
                Goal::Rollback => "rollback",
            },
            environments: plan.request.environments.iter().map(ToString::to_string).collect(),
            release: plan.request.release.as_ref().map(ToString::to_string),
            until: plan.request.until.as_ref().map(ToString::to_string),
            invoker: match plan.request.invoker {
                Invoker::Human => "human",
                Invoker::Automation => "automation",
            },
        };
        let summary = summary(&environments, plan.request.goal);
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
            environments,
            summary,
            next,
        }
    }
}

fn gates(gates: &[Gate], forecasts: &[Gate]) -> Vec<GateView> {
    gates.iter().map(|gate| GateView::of(gate, forecasts)).collect()
}

fn opens_at(gates: &[GateView]) -> Option<Timestamp> {
    gates.iter().filter(|g| !g.outcome.is_open()).map(|g| g.until).collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn move_row(entry: &Move, forecasts: &[Gate]) -> Row {
    let gates = gates(&entry.gates, forecasts);
    let (state, says) = match entry.outcome() {
        Outcome::Satisfied | Outcome::Overridden => (RowState::CanStart, "can start now"),
        Outcome::Deferred => (RowState::Deferred, "starts when what comes before it is verified"),
        Outcome::Waiting => (RowState::Waiting, "waiting"),
        Outcome::Expired | Outcome::Refused => (RowState::Refused, "refused"),
    };
    let backward =
        entry.movement == Movement::Rollback || entry.from.as_ref().is_some_and(|from| from.lineage > entry.to.lineage);
    let back = entry.rollback.as_ref();
    Row {
        environment: entry.environment.to_string(),
        tier: entry.tier.as_str(),
        state,
        says: says.to_owned(),
        movement: Some(match entry.movement {
            Movement::Promotion => "promotion",
            Movement::Reconfiguration => "reconfiguration",
            Movement::Rollback => "rollback",
        }),
        backward,
        from: entry.from.as_ref().map(ReleaseView::of),
        to: Some(ReleaseView::of(&entry.to)),
        opens_at: opens_at(&gates),
        gates,
        after: entry.after.iter().map(ToString::to_string).collect(),
        artifacts: artifacts(entry),
        files: changed_files(entry),
        steps: entry.steps.iter().map(step).collect(),
        checks: entry.checks.iter().map(|c| c.name.to_string()).collect(),
        verdicts: entry
            .verdicts
            .iter()
            .map(|(check, roles)| (check.to_string(), roles.iter().map(ToString::to_string).collect()))
            .collect(),
        on_failure: Some(match entry.on_failure {
            OnFailure::Rollback => "rollback",
            OnFailure::Hold => "hold",
        }),
        rollback_targets: back.map(|r| &r.to).into_iter().chain(&entry.further_targets).map(ReleaseView::of).collect(),
        drift: Vec::new(),
    }
}

/// What enters, beside what it replaces: the way back of the plan says what that was, when it leads to what runs now.
fn artifacts(entry: &Move) -> Vec<ArtifactView> {
    let replaced = entry
        .rollback
        .as_ref()
        .filter(|back| entry.from.as_ref().is_some_and(|from| from.id == back.to.id))
        .map(|back| &back.steps);
    let mut out: BTreeMap<String, ArtifactView> = BTreeMap::new();
    for one in &entry.steps {
        for (name, input) in &one.inputs.artifacts {
            let copied = one.action == Action::Copy;
            let from = replaced
                .into_iter()
                .flatten()
                .find_map(|step| step.inputs.artifacts.get(name))
                .map(|artifact| artifact.digest);
            let view = out.entry(name.to_string()).or_insert_with(|| ArtifactView {
                name: name.to_string(),
                repository: input.repository.clone(),
                tag: input.tag.clone(),
                to: input.digest,
                from,
                copied,
            });
            view.copied |= copied;
        }
    }
    out.into_values().collect()
}

fn changed_files(entry: &Move) -> Vec<String> {
    let Some(back) = &entry.rollback else { return Vec::new() };
    if entry.from.as_ref().is_none_or(|from| from.id != back.to.id) {
        return Vec::new();
    }
    let paths: std::collections::BTreeSet<&String> = entry.files.keys().chain(back.files.keys()).collect();
    paths.into_iter().filter(|path| entry.files.get(*path) != back.files.get(*path)).cloned().collect()
}

fn step(step: &Step) -> StepView {
    let place = match step.action {
        Action::Deploy => step.inputs.target.address(),
        Action::Copy => step.inputs.artifacts.values().map(|a| a.repository.clone()).collect(),
    };
    StepView {
        id: step.id.clone(),
        action: match step.action {
            Action::Copy => "copy",
            Action::Deploy => "deploy",
        },
        provider: step.provider.clone(),
        place,
        expected: step.expected.to_string(),
        desired: step.desired.to_string(),
        changes: step.changes.clone(),
    }
}

fn stay_row(stay: &Stay, forecasts: &[Gate]) -> Row {
    let gates = stay.next.as_ref().map(|next| gates(&next.gates, forecasts)).unwrap_or_default();
    let (state, says) = match stay.why {
        StayReason::UpToDate => (RowState::Unchanged, "up to date"),
        StayReason::NoReleases => (RowState::Unchanged, "nothing was ever released"),
        StayReason::NothingArrived => (RowState::Unchanged, "no release has come as far as this"),
        StayReason::HeldBack => (RowState::HeldBack, "held back"),
        StayReason::Refused => (RowState::Refused, "refused"),
        StayReason::StartsByRequest => (RowState::HeldBack, "ready, and starts only when somebody asks for it"),
        StayReason::ApprovalBehindDeferred => {
            (RowState::HeldBack, "not in this plan: its approvers shall see what happened before it")
        }
        StayReason::NoRollbackTarget => (RowState::Refused, "there is no release that it could go back to"),
    };
    Row {
        environment: stay.environment.to_string(),
        tier: stay.tier.as_str(),
        state,
        says: says.to_owned(),
        movement: None,
        backward: false,
        from: stay.current.as_ref().map(ReleaseView::of),
        to: stay.next.as_ref().map(|next| ReleaseView::of(&next.release)),
        opens_at: opens_at(&gates),
        gates,
        after: Vec::new(),
        artifacts: Vec::new(),
        files: Vec::new(),
        steps: Vec::new(),
        checks: Vec::new(),
        verdicts: BTreeMap::new(),
        on_failure: None,
        rollback_targets: Vec::new(),
        drift: stay
            .drift
            .iter()
            .map(|(target, drift)| DriftView {
                target: target.to_string(),
                recorded: drift.recorded.to_string(),
                live: drift.live.to_string(),
            })
            .collect(),
    }
}

fn summary(rows: &[Row], goal: Goal) -> Summary {
    let mut out = Summary::default();
    for row in rows {
        let name = row.environment.clone();
        if row.backward {
            out.backward.push(name.clone());
        }
        if !row.drift.is_empty() {
            out.drift.push(name.clone());
        }
        match row.state {
            RowState::Unchanged => out.unchanged += 1,
            RowState::CanStart => out.can_start.push(name),
            RowState::Deferred | RowState::Waiting => out.waiting.push(name),
            RowState::HeldBack => out.held_back.push(name),
            RowState::Refused => out.refused.push(name),
        }
    }
    let what = match goal {
        Goal::Promote => "promotion",
        Goal::Rollback => "rollback",
    };
    let mut parts = Vec::new();
    let mut say = |names: &[String], one: &str, many: &str, noun: bool| {
        if names.is_empty() {
            return;
        }
        let count = names.len();
        let noun = match (noun, count) {
            (false, _) => String::new(),
            (true, 1) => format!(" {what}"),
            (true, _) => format!(" {what}s"),
        };
        parts.push(format!("{count}{noun} {} ({})", if count == 1 { one } else { many }, names.join(", ")));
    };
    say(&out.can_start, "can start", "can start", true);
    say(&out.waiting, "waits", "wait", out.can_start.is_empty());
    say(&out.held_back, "is held back", "are held back", false);
    let mut text = if parts.is_empty() { "Nothing to do".to_owned() } else { parts.join(", ") };
    text.push_str(". ");
    text.push_str(&match out.refused.len() {
        0 => "Nothing is refused.".to_owned(),
        count => format!("{count} refused ({}).", out.refused.join(", ")),
    });
    if !out.backward.is_empty() {
        text.push_str(&format!(" Goes BACK: {}.", out.backward.join(", ")));
    }
    if !out.drift.is_empty() {
        text.push_str(&format!(" Drift: {}.", out.drift.join(", ")));
    }
    out.text = text;
    out
}

fn next(pipeline: &str, rows: &[Row], request: &RequestView, file: Option<&str>) -> Vec<NextCommand> {
    let in_plan: Vec<&Row> = rows.iter().filter(|r| r.movement.is_some()).collect();
    let names = |rows: &[&Row]| rows.iter().map(|r| r.environment.as_str()).collect::<Vec<_>>().join(", ");
    if in_plan.is_empty() {
        let closed = rows.iter().find(|r| matches!(r.state, RowState::Refused | RowState::HeldBack));
        return vec![match closed {
            Some(row) => NextCommand {
                command: command_line(["promo", "why", &row.environment]),
                why: format!("says why {} goes no further", row.environment),
            },
            None => NextCommand { command: "promo status".into(), why: "shows what is where".into() },
        }];
    }
    let Some(file) = file else {
        let out = format!("{pipeline}.plan.json");
        let mut words = match request.goal {
            "rollback" => vec!["promo", "rollback"],
            _ => vec!["promo", "plan"],
        };
        words.extend(request.environments.iter().map(String::as_str));
        if let Some(release) = &request.release {
            words.extend([if request.goal == "rollback" { "--to" } else { "--release" }, release.as_str()]);
        }
        if let Some(until) = &request.until {
            words.extend(["--until", until.as_str()]);
        }
        words.extend(["--out", out.as_str()]);
        return vec![NextCommand { command: command_line(words), why: "saves the plan".into() }];
    };
    let approval: Vec<&Row> = in_plan
        .iter()
        .copied()
        .filter(|r| r.gates.iter().any(|g| g.code == "approvals" && !g.outcome.is_open()))
        .collect();
    if approval.is_empty() {
        let command = command_line(["promo", "apply", file]);
        return vec![NextCommand { command, why: format!("moves {}", names(&in_plan)) }];
    }
    let mut out = vec![NextCommand {
        command: command_line(["promo", "request", file]),
        why: format!("asks for the approval of {}", names(&approval)),
    }];
    // A plan is applied as a whole: what need not wait gets a plan of its own.
    let free: Vec<&Row> =
        in_plan.iter().copied().filter(|r| r.state == RowState::CanStart && r.after.is_empty()).collect();
    if !free.is_empty() && request.until.is_none() {
        let alone = format!("{pipeline}.now.plan.json");
        let words = ["promo", "plan"].into_iter().chain(free.iter().map(|r| r.environment.as_str()));
        out.push(NextCommand {
            command: command_line(words.chain(["--out", alone.as_str()])),
            why: format!("plans {} alone, which need not wait", names(&free)),
        });
    }
    out
}
