//! What a plan says of one environment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::gate::{self, Gate, GateKind, Outcome, Reason, overall};
use promo_core::ids::{ArtifactName, EnvironmentName, ReleaseId, RunId, TargetName};
use promo_core::inputs::FileChange;
use promo_core::ledger::View;
use promo_core::ledger::event::{Movement, PromotionOutcome};
use promo_core::model::{OnClose, OnFailure, Watch, Wave};
use promo_core::plan::{Action, Drift, Move, Next, Plan, ReleaseRef, Request, Stay, StayReason, Step};
use promo_core::planner;
use promo_core::state::State;
use promo_engine::{Elsewhere, Left, LeftBehind, Session};
use schemars::JsonSchema;
use serde::Serialize;

use super::standing::HoldView;
use super::{DrillView, FailedWithView, GateView, NextCommand, ReleaseView};
use crate::error::command_line;
use crate::output::{diff, standing as words};

/// One environment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) environment: String,
    /// Its tier.
    pub(crate) tier: &'static str,
    /// What the plan says of it.
    pub(crate) state: RowState,
    /// The same in words.
    pub(crate) says: String,
    /// `promotion`, `reconfiguration`, `rollback` or `drill` for what is in the plan.
    pub(crate) movement: Option<&'static str>,
    /// Of a drill: the release that it goes back to before what runs comes again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drill: Option<ReleaseView>,
    /// Whether it goes back to an older release.
    pub(crate) backward: bool,
    /// What runs there.
    pub(crate) from: Option<ReleaseView>,
    /// What would enter.
    pub(crate) to: Option<ReleaseView>,
    /// Whether it runs what it should run: nothing leads on from it.
    #[serde(skip)]
    pub(crate) settled: bool,
    /// Whether a run that moves it has not ended.
    #[serde(skip)]
    pub(crate) unfinished: bool,
    /// The run without an end that is moving there what would enter.
    #[serde(skip)]
    pub(crate) under_way: Option<RunId>,
    /// Whether a promotion failed there and a person has to look.
    #[serde(skip)]
    pub(crate) held: bool,
    /// What leads on where a check of what runs there does not hold, or it was rejected since, best first.
    #[serde(skip)]
    pub(crate) open_checks: Vec<NextCommand>,
    /// Whether what runs there was rejected since.
    #[serde(skip)]
    pub(crate) rejected: bool,
    /// When the last closed gate opens by itself, where that is known.
    pub(crate) opens_at: Option<Timestamp>,
    /// How every gate stands.
    pub(crate) gates: Vec<GateView>,
    /// Environments of the plan that come first.
    pub(crate) after: Vec<String>,
    /// Artifacts that enter, and those that they replace.
    pub(crate) artifacts: Vec<ArtifactView>,
    /// Files of the deployment that differ from those of what it replaces; where only the configuration changes and the settings are
    /// others, `the pipeline file` too.
    pub(crate) files: Vec<String>,
    /// Whether the configuration changes; absent where that is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) configuration: Option<bool>,
    /// What would be done.
    pub(crate) steps: Vec<StepView>,
    /// What is checked afterwards.
    pub(crate) checks: Vec<String>,
    /// Checks that wait for a person: name and roles.
    pub(crate) verdicts: BTreeMap<String, Vec<String>>,
    /// For how long the checks are asked again after they have passed, and how often, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watch: Option<Watch>,
    /// `rollback` or `hold`, for what is in the plan.
    pub(crate) on_failure: Option<&'static str>,
    /// The order of its targets; absent where they are deployed one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waves: Vec<Wave>,
    /// Whether no further wave begins while a window is closed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stops_at_wave: bool,
    /// Releases to go back to, best first.
    pub(crate) rollback_targets: Vec<ReleaseView>,
    /// Without any of them: the one that there would be, and what bars it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost_target: Option<LostTargetView>,
    /// Where what is live is not what the ledger says.
    pub(crate) drift: Vec<DriftView>,
    /// Whether somebody changed by hand what the plan moves there.
    #[serde(skip)]
    pub(crate) by_hand: bool,
    /// What else a reader must not miss: evidence that was lost, a newer release that cannot enter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<Note>,
    /// What keeps it as it is until a person does something about it, as far as no gate says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) holds: Vec<HoldView>,
}

/// How many fields are named before the rest is only counted; the differences show them all.
const NAMED: usize = 8;

/// What a step would change, field by field.
fn in_words(changes: &[FileChange]) -> String {
    let mut all = Vec::new();
    for change in changes {
        let fields = promo_providers::fields_of(change);
        match (&change.before, &change.after) {
            (None, _) => all.push(format!("{} is put back", change.path)),
            (_, None) => all.push(format!("{} is taken away", change.path)),
            _ if fields.is_empty() => all.push(format!("{} ({})", change.path, diff::summary(change))),
            _ => all.extend(fields.into_iter().map(|(field, before, after)| {
                let text = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
                format!("{} {field} {} → {}", change.path, text(before), text(after))
            })),
        }
    }
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    if all.is_empty() { "what differs is not shown".to_owned() } else { all.join("; ") }
}

/// What a run left on a target, where that is what is there: nobody changed it by hand.
fn left_by(view: &View, entry: &Move, target: &TargetName, step: &Step, behind: &LeftBehind) -> Option<String> {
    let run = behind.run.as_ref()?;
    match behind.targets.get(target)? {
        (Left::Release(there), state) if *state == step.expected => {
            let text = ReleaseView::of(&planner::reference(view, there)).text();
            Some(match *there == entry.to.id {
                true => format!("{target} runs {text} already: run {run} left it so"),
                false => format!("{target} runs {text}, which run {run} left there: the changes below begin at that"),
            })
        }
        (Left::Nothing, state) if *state == step.expected => Some(format!("run {run} left nothing on {target}")),
        // What was removed since is told as that.
        (Left::Unknown, _) if step.expected != State::Absent => Some(format!(
            "run {run} was broken off or failed on {target}: the changes below begin at what is there now"
        )),
        _ => None,
    }
}

/// Something that a reader must not miss.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Note {
    /// The code of the reason.
    pub(crate) code: &'static str,
    /// The same in words.
    pub(crate) text: String,
}

impl Note {
    /// What somebody changed by hand, or a run left behind, and the plan takes back: nothing once it was applied. Beside it whether
    /// somebody did. Of another place than before nothing of that can be said, and so it is told that it is one.
    pub(crate) fn taken_back(
        plan: &Plan,
        entry: &Move,
        view: &View,
        (behind, elsewhere): (&LeftBehind, &Elsewhere),
    ) -> (Vec<Self>, bool) {
        // A drill is made only of what is as it was deployed.
        if entry.drill {
            return (Vec::new(), false);
        }
        let name = &entry.environment;
        let generation = view.environment(name).map_or(0, |environment| environment.generation).to_string();
        let untouched = plan.inputs.get(&format!("generation of {name}")) == Some(&generation);
        let Some(current) = view.current(name).filter(|_| untouched) else { return (Vec::new(), false) };
        let again = entry.from.as_ref().is_some_and(|from| from.id == entry.to.id);
        // Then what changes is not what somebody did alone, and what somebody did may be what is declared by now.
        let configured = entry.files != current.files || entry.settings != current.settings;
        let mut by_hand = false;
        let drifted = entry.steps.iter().filter(|step| step.action == Action::Deploy).filter_map(|step| {
            let target = step.target.as_ref().filter(|target| !elsewhere.targets.contains(*target))?;
            let recorded = current.targets.get(target)?;
            (*recorded != step.expected).then_some((target, step))
        });
        let note = |(target, step): (&TargetName, &Step)| {
            let left = left_by(view, entry, target, step, behind);
            by_hand |= left.is_none();
            let text = if let Some(text) = left {
                text
            } else if step.expected == step.desired {
                format!("keeps what was changed by hand on {target}: it is declared so now, and nothing there changes")
            } else if step.expected == State::Absent {
                format!("what was deployed to {target} was removed, and is put there again")
            } else if again && configured {
                format!(
                    "what is on {target} was changed by hand since it was deployed, and its configuration here is another one: the changes \
                     below are what is there now against what is declared here now, and what was changed by hand and is not among them stays \
                     (`{}` tells what that was)",
                    command_line(["promo", "drift", name.as_str()])
                )
            } else if again {
                format!("takes back what was changed by hand on {target}: {}", in_words(&step.changes))
            } else {
                format!(
                    "what is on {target} was changed by hand since it was deployed: the changes below take that back too"
                )
            };
            Self { code: "deployed-again", text }
        };
        let notes = drifted.map(note).chain(Self::left(name, elsewhere)).collect();
        (notes, by_hand)
    }

    /// That this way back was tried, and did not work.
    pub(super) fn disproved(entry: &Move, drill: &DrillView) -> Option<Self> {
        if drill.state != "failed" || drill.back.id != entry.to.id.as_str() {
            return None;
        }
        let why = drill.why.as_deref().map(|why| format!(": {}", words::first(why).0)).unwrap_or_default();
        let text = format!("going back to {} was tried in run {}, and failed{why}", drill.back.text(), drill.run);
        Some(Self { code: "drill-failed", text })
    }

    /// What runs has lost evidence upstream (S3, S16).
    pub(crate) fn lost_evidence(reason: &Reason) -> Self {
        Self { code: reason.code(), text: format!("stands on lost evidence: {reason}") }
    }

    /// What runs there was rejected, or quarantined after a rollback, since: it stays, and enters nowhere.
    pub(super) fn rejected(told: String) -> Self {
        Self { code: "quarantined", text: format!("what runs here was {told}") }
    }

    /// A way back from what the environment has just gone back to: that is not what failed.
    pub(super) fn back_already(view: &View, entry: &Move) -> Option<Self> {
        let name = (entry.movement == Movement::Rollback && !entry.drill).then_some(&entry.environment)?;
        let last = view.environment(name)?.last_effective()?;
        let (from, failed) = (entry.from.as_ref()?, &last.to);
        let back = matches!(last.finished, Some((_, PromotionOutcome::RolledBack)));
        if !back || last.movement == Movement::Rollback || *failed == from.id || entry.to.id == from.id {
            return None;
        }
        let failed = ReleaseView::of(&planner::reference(view, failed)).text();
        let show = command_line(["promo", "show", last.run.as_str()]);
        let here = ReleaseView::of(from).text();
        let text = format!(
            "{name} is back on {here} already, since {failed} failed (`{show}`): this leaves {here} too, as though it had failed"
        );
        Some(Self { code: "back-already", text })
    }

    /// Another release failed here with the configuration that would come again.
    pub(super) fn failed_with(failed: &FailedWithView) -> Self {
        Self { code: "configuration-failed", text: failed.untimed() }
    }

    /// A release that comes back, and of which nobody can tell with which files it was judged before (S2.4).
    pub(super) fn judged_as_now(plan: &Plan, entry: &Move) -> Vec<Self> {
        let back = entry.rollback.iter().map(|back| &back.to).chain([&entry.to]);
        let unread = back.filter(|to| plan.inputs.contains_key(&planner::judges_of(&entry.environment, &to.id)));
        let note = |to| {
            let to = ReleaseView::of(to).text();
            let text = format!(
                "{to} would be judged with the check files that are here now: the plan that brought it here before cannot be read \
                 by this version of promo"
            );
            Self { code: "judged-as-now", text }
        };
        unread.map(note).collect()
    }

    /// What going back does beside going back, once it is verified (S10.4).
    fn left_behind(entry: &Move) -> Option<Self> {
        let name = (entry.movement == Movement::Rollback).then_some(&entry.environment)?;
        let paused = format!("automatic promotion into {name} is paused, until `promo unfreeze {name} --reason '…'`");
        let one = |left: &ReleaseRef| {
            let (text, id) = (ReleaseView::of(left).text(), &left.id);
            format!(
                "{text} is quarantined for {name} and downstream, until \
                 `promo release lift {id} --environment {name} --reason '…'`"
            )
        };
        let left: Vec<String> = entry.quarantines().map(one).collect();
        if left.is_empty() {
            return Some(Self { code: "paused", text: format!("afterwards {paused}; nothing is quarantined") });
        }
        Some(Self { code: "quarantined", text: format!("afterwards {}, and {paused}", left.join("; ")) })
    }

    /// A newer release cannot enter beside what is done here (S0.4).
    fn newer(next: &Next) -> Option<Self> {
        let told = gate::told(next.gates.clone(), &next.release.id);
        let closed: Vec<&Reason> = told.iter().filter(|g| !g.outcome.is_open()).map(|g| &g.reason).collect();
        let why: Vec<String> = closed.iter().map(ToString::to_string).collect();
        let release = ReleaseView::of(&next.release).text();
        Some(Self { code: closed.first()?.code(), text: format!("{release} cannot enter now: {}", why.join("; ")) })
    }
}

/// What a plan says of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
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

/// One component of a release.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
    /// Images that it would run and that the release does not name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) other_images: Vec<String>,
}

/// A release that cannot be gone back to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LostTargetView {
    /// Which.
    pub(crate) release: ReleaseView,
    /// The code of what bars it.
    pub(crate) code: &'static str,
    /// The same in words.
    pub(crate) text: String,
}

/// A place that has been changed by someone else.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DriftView {
    /// Which target.
    pub(crate) target: String,
    /// What the ledger says.
    pub(crate) recorded: String,
    /// What is there.
    pub(crate) live: String,
    /// Whether nothing is there: what was deployed was removed.
    #[serde(skip)]
    pub(crate) missing: bool,
    /// Where nobody can say what is there, the command that says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) look: Option<String>,
    /// And why it could not be looked at, where the plan has just been made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The command of the place's own tool that shows what keeps it from being looked at.
    #[serde(skip)]
    pub(crate) shown_by: Option<String>,
    /// The command that plans to put back what is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repair: Option<String>,
}

impl DriftView {
    fn of(stay: &Stay, target: &TargetName, drift: &Drift) -> Self {
        let unknown = drift.live == State::Unknown;
        // What was asked for, and is kept back, is no way to mend it.
        let refused = |release: &ReleaseId| {
            let same = stay.next.as_ref().is_some_and(|next| next.release.id == *release);
            same && matches!(stay.why, StayReason::Refused | StayReason::HeldBack)
        };
        // What runs there and has drifted is deployed again by name (S3.3).
        let repair = stay.current.as_ref().filter(|current| !refused(&current.id)).map(|current| {
            let words = ["promo", "plan", stay.environment.as_str(), "--release", current.id.as_str()];
            // A file of its own: whoever types the repairs of several places keeps every plan.
            let file = format!("{}.plan.json", stay.environment);
            command_line(words.into_iter().chain(["--out", file.as_str()]))
        });
        Self {
            target: target.to_string(),
            recorded: drift.recorded.to_string(),
            live: drift.live.to_string(),
            missing: drift.live == State::Absent,
            look: unknown.then(|| command_line(["promo", "drift", stay.environment.as_str()])),
            why: None,
            shown_by: None,
            repair,
        }
    }

    /// The same of every place of an environment that stays, where this very process has looked. What differs where a run has
    /// begun is its doing, and nobody puts that back before it has ended.
    pub(crate) fn seen(session: &Session, view: &View, stay: &Stay) -> Vec<Self> {
        if view.environment(&stay.environment).is_some_and(|known| known.active.is_some()) {
            return Vec::new();
        }
        let all = stay.drift.iter().map(|(target, drift)| {
            let why = session.unseen(&stay.environment, target).filter(|_| drift.live == State::Unknown);
            let place = Self::of(stay, target, drift);
            // What is recorded is not put back over what nobody has seen.
            let repair = place.repair.clone().filter(|_| why.is_none());
            let shown_by = why.as_ref().and_then(|why| why.shown_by().map(str::to_owned));
            Self { why: why.map(|why| why.to_string()), shown_by, repair, ..place }
        });
        all.collect()
    }
}

impl Row {
    /// What the plan moves.
    pub(super) fn of_move(entry: &Move, forecasts: &[Gate]) -> Self {
        let gates = gates(&entry.gates, (&entry.environment, &entry.to.id), forecasts);
        let (state, says) = stands(entry.outcome());
        let backward = entry.movement == Movement::Rollback
            || entry.from.as_ref().is_some_and(|from| from.lineage > entry.to.lineage);
        let back = entry.rollback.as_ref();
        Self {
            environment: entry.environment.to_string(),
            tier: entry.tier.as_str(),
            state,
            says: says.to_owned(),
            movement: Some(match entry.movement {
                _ if entry.drill => "drill",
                Movement::Promotion => "promotion",
                Movement::Reconfiguration => "reconfiguration",
                Movement::Rollback => "rollback",
            }),
            drill: back.filter(|_| entry.drill).map(|back| ReleaseView::of(&back.to)),
            backward,
            settled: false,
            unfinished: false,
            under_way: None,
            held: false,
            open_checks: Vec::new(),
            rejected: false,
            from: entry.from.as_ref().map(ReleaseView::of),
            to: Some(ReleaseView::of(&entry.to)),
            opens_at: opens_at(&gates),
            gates,
            after: entry.after.iter().map(ToString::to_string).collect(),
            artifacts: artifacts(entry),
            files: changed_files(entry),
            steps: in_order(entry).map(step).collect(),
            checks: entry.checks.chunk_by(|a, b| a.name == b.name).map(|c| c[0].name.to_string()).collect(),
            verdicts: entry
                .verdicts
                .iter()
                .map(|(check, roles)| (check.to_string(), roles.iter().map(ToString::to_string).collect()))
                .collect(),
            watch: entry.watch,
            // What a drill leaves is what was there, whatever becomes of it.
            on_failure: (!entry.drill).then_some(match entry.on_failure {
                OnFailure::Rollback => "rollback",
                OnFailure::Hold => "hold",
            }),
            waves: entry.waves.clone(),
            stops_at_wave: entry.on_close == OnClose::StopAtWave,
            rollback_targets: back
                .filter(|_| !entry.drill)
                .map(|r| &r.to)
                .into_iter()
                .chain(&entry.further_targets)
                .map(ReleaseView::of)
                .collect(),
            lost_target: entry.lost_target.as_ref().map(|lost| LostTargetView {
                release: ReleaseView::of(&lost.release),
                code: lost.reason.code(),
                text: lost.reason.to_string(),
            }),
            drift: Vec::new(),
            notes: Note::left_behind(entry).into_iter().chain(entry.newer.as_ref().and_then(Note::newer)).collect(),
            configuration: None,
            by_hand: false,
            holds: Vec::new(),
        }
    }

    /// Whether something is there that is no release of promo's: what runs already and is taken over.
    pub(crate) fn takes_over(&self) -> bool {
        let there = |step: &StepView| step.changes.iter().any(|change| change.before.is_some());
        self.from.is_none() && self.movement.is_some() && self.steps.iter().any(there)
    }

    /// The same with its gates as they are now, with the approvals that there are.
    pub(super) fn restate(&mut self, now: &[Gate], about: (&EnvironmentName, &ReleaseId)) {
        let (state, says) = stands(overall(now));
        self.gates = gates(now, about, now);
        (self.state, self.says, self.opens_at) = (state, says.to_owned(), opens_at(&self.gates));
    }

    /// The same of a plan that nobody can use any more: nothing of it can start.
    pub(super) fn stale(&mut self) {
        (self.state, self.opens_at) = (RowState::Unchanged, None);
        "stale".clone_into(&mut self.says);
    }

    /// The same once a run has used the plan: how it ended there, and whose approvals the run began with.
    pub(super) fn used(&mut self, entry: &Move, ended: &str, let_in: &[String]) {
        for (gate, planned) in self.gates.iter_mut().zip(&entry.gates) {
            // A run begins only with every approval that its plan needs (S6.9).
            if let Reason::Approvals { needed, .. } = &planned.reason
                && !let_in.is_empty()
            {
                gate.outcome = Outcome::Satisfied;
                gate.text = format!("approval {needed} of {needed} by {}", let_in.join(" and "));
            }
        }
        self.says = ended.to_owned();
        (self.state, self.opens_at) = (RowState::Unchanged, None);
    }

    /// Says what a move replaces, as the ledger has it, where what runs there now is what was planned from.
    pub(super) fn replaces(&mut self, entry: &Move, view: &View) {
        let Some(from) = entry.from.as_ref().and_then(|from| view.release(&from.id)) else { return };
        for artifact in self.artifacts.iter_mut().filter(|artifact| artifact.from.is_none()) {
            let name = artifact.name.parse().ok();
            artifact.from = name.and_then(|name: ArtifactName| from.release.content.components.get(&name).copied());
        }
        let Some(current) = view.current(&entry.environment).filter(|r| r.release == from.release.id) else { return };
        // Of a drill, that which it goes back to.
        let (files, settings) = match entry.rollback.as_ref().filter(|_| entry.drill) {
            Some(back) => (&back.files, back.settings),
            None => (&entry.files, entry.settings),
        };
        let paths: std::collections::BTreeSet<&String> = files.keys().chain(current.files.keys()).collect();
        let changed = paths.into_iter().filter(|path| files.get(*path) != current.files.get(*path));
        self.files = changed.cloned().collect();
        self.configuration = Some(!self.files.is_empty() || settings != current.settings);
        // Whoever is told that a configuration changes is told where.
        if settings != current.settings && entry.movement == Movement::Reconfiguration && !entry.drill {
            self.files.push(promo_engine::SETTINGS.to_owned());
        }
    }

    /// What the plan leaves as it is.
    pub(super) fn of_stay(stay: &Stay, request: &Request, forecasts: &[Gate]) -> Self {
        let next = next_of(stay);
        let told = next.map(|next| gate::told(next.gates.clone(), &next.release.id)).unwrap_or_default();
        // What a run is moving there is not refused for being moved.
        let moved = next.and_then(|next| gate::moved_by(&told, &next.release.id));
        let under_way = moved.filter(|_| overall(&told) < Outcome::Expired).cloned();
        let newer = stay.newer.as_ref().filter(|_| under_way.is_none());
        let about = next.map(|next| (&stay.environment, &next.release.id));
        let gates = about.map(|about| gates(&told, about, forecasts)).unwrap_or_default();
        let (state, says) = match stay.why {
            _ if under_way.is_some() => (RowState::HeldBack, "under way"),
            StayReason::UpToDate if stay.drift.is_empty() => (RowState::Unchanged, "up to date"),
            StayReason::UpToDate if stay.drift.values().all(|drift| drift.live == State::Unknown) => {
                (RowState::Unchanged, "what is there is not known")
            }
            StayReason::UpToDate => (RowState::Unchanged, "not as it is recorded"),
            StayReason::NoReleases => (RowState::Unchanged, "nothing was ever released"),
            StayReason::NothingArrived => (RowState::Unchanged, "no release has come as far as this"),
            StayReason::HeldBack => (RowState::HeldBack, "held back"),
            StayReason::Refused => (RowState::Refused, "refused"),
            StayReason::StartsByRequest => (RowState::HeldBack, "ready, and starts only when somebody asks for it"),
            StayReason::ApprovalBehindDeferred => {
                (RowState::HeldBack, "not in this plan: its approvers shall see what happened before it")
            }
            StayReason::NoRollbackTarget if request.release.is_some() => (
                RowState::Refused,
                "the release that was named is no lower one that was verified good here and is not quarantined",
            ),
            StayReason::NoRollbackTarget => (RowState::Refused, "there is no release that it could go back to"),
        };
        Self {
            environment: stay.environment.to_string(),
            tier: stay.tier.as_str(),
            state,
            says: says.to_owned(),
            movement: None,
            drill: stay.next.as_ref().filter(|_| request.drill).map(|next| ReleaseView::of(&next.release)),
            backward: false,
            unfinished: false,
            under_way,
            held: false,
            open_checks: Vec::new(),
            rejected: false,
            settled: stay.why == StayReason::UpToDate && stay.drift.is_empty(),
            from: stay.current.as_ref().map(ReleaseView::of),
            to: next.map(|next| ReleaseView::of(&next.release)),
            opens_at: opens_at(&gates),
            gates,
            after: Vec::new(),
            artifacts: Vec::new(),
            files: Vec::new(),
            steps: Vec::new(),
            checks: Vec::new(),
            verdicts: BTreeMap::new(),
            watch: None,
            on_failure: None,
            waves: Vec::new(),
            stops_at_wave: false,
            rollback_targets: Vec::new(),
            lost_target: None,
            notes: newer.and_then(Note::newer).into_iter().collect(),
            configuration: None,
            by_hand: false,
            holds: Vec::new(),
            drift: stay.drift.iter().map(|(target, drift)| DriftView::of(stay, target, drift)).collect(),
        }
    }
}

/// What a provider would change in one place, or in several in the same way.
pub(crate) struct Difference<'a> {
    /// The provider.
    pub(crate) provider: &'a str,
    /// The places, in words.
    pub(crate) places: Vec<&'a str>,
    /// What would change in each of them.
    pub(crate) changes: &'a [FileChange],
}

impl Row {
    /// What would change, of places where it is the same once.
    pub(crate) fn differences(&self) -> Vec<Difference<'_>> {
        let mut out: Vec<Difference<'_>> = Vec::new();
        for step in self.steps.iter().filter(|step| !step.changes.is_empty()) {
            let same = |one: &&mut Difference<'_>| one.provider == step.provider && *one.changes == *step.changes;
            match out.iter_mut().find(same) {
                Some(one) => one.places.push(&step.place),
                None => {
                    let (provider, places) = (step.provider.as_str(), vec![step.place.as_str()]);
                    out.push(Difference { provider, places, changes: &step.changes });
                }
            }
        }
        out
    }

    /// What keeps it out, each reason once. Approval rules that read alike are several all the same.
    pub(crate) fn closed(&self) -> Vec<&GateView> {
        let mut out: Vec<&GateView> = Vec::new();
        for gate in self.gates.iter().filter(|gate| !gate.outcome.is_open()) {
            if gate.kind == GateKind::Approval || !out.iter().any(|told| told.text == gate.text) {
                out.push(gate);
            }
        }
        out
    }
}

/// What would enter an environment that stays: what a run is moving there already, before its own files of now, which wait for that.
pub(crate) fn next_of(stay: &Stay) -> Option<&Next> {
    let moved = |next: &&Next| gate::moved_by(&next.gates, &next.release.id).is_some();
    stay.newer.as_ref().filter(moved).or(stay.next.as_ref())
}

/// How a move stands by its gates.
const fn stands(outcome: Outcome) -> (RowState, &'static str) {
    match outcome {
        Outcome::Satisfied | Outcome::Overridden => (RowState::CanStart, "can start now"),
        Outcome::Deferred => (RowState::Deferred, "starts when what comes before it is verified"),
        Outcome::Waiting => (RowState::Waiting, "waiting"),
        Outcome::Expired | Outcome::Refused => (RowState::Refused, "refused"),
    }
}

fn gates(gates: &[Gate], about: (&EnvironmentName, &ReleaseId), forecasts: &[Gate]) -> Vec<GateView> {
    // A join may have as many gates as there are environments.
    let opens: BTreeMap<(GateKind, &Reason), Timestamp> =
        forecasts.iter().filter_map(|gate| Some(((gate.kind, &gate.reason), gate.until?))).collect();
    gates.iter().map(|gate| GateView::of(gate, about, opens.get(&(gate.kind, &gate.reason)).copied())).collect()
}

fn opens_at(gates: &[GateView]) -> Option<Timestamp> {
    gates.iter().filter(|g| !g.outcome.is_open()).map(|g| g.until).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// What enters, beside what it replaces: the way back of the plan says what that was, when it leads to what runs now.
fn artifacts(entry: &Move) -> Vec<ArtifactView> {
    let replaced = entry
        .rollback
        .as_ref()
        .filter(|back| entry.from.as_ref().is_some_and(|from| from.id == back.to.id))
        .map(|back| &back.steps);
    let mut out: BTreeMap<String, ArtifactView> = BTreeMap::new();
    let replaced = if entry.drill { Some(&entry.steps) } else { replaced };
    for one in entry.first_steps() {
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

/// The steps in the order in which they are done: of a drill both ways.
fn in_order(entry: &Move) -> impl Iterator<Item = &Step> {
    let again = entry.drill.then_some(&entry.steps);
    entry.first_steps().iter().chain(again.into_iter().flatten()).chain(&entry.attest)
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
        Action::Copy | Action::Attest => step.inputs.artifacts.values().map(|a| a.repository.clone()).collect(),
    };
    StepView {
        id: step.id.clone(),
        action: match step.action {
            Action::Copy => "copy",
            Action::Deploy => "deploy",
            Action::Attest => "attest",
        },
        provider: step.provider.clone(),
        place,
        expected: step.expected.to_string(),
        desired: step.desired.to_string(),
        changes: step.changes.clone(),
        other_images: step.other_images.clone(),
    }
}
