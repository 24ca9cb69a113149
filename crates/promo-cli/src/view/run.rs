//! A run as the ledger tells it. What must not live here: why something did not begin, which no record says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::{EnvironmentName, IdentityName, ReleaseId, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::ledger::view::{Promotion, Run, Said};
use promo_core::planner;
use schemars::JsonSchema;
use serde::Serialize;

use super::standing::OpenRunView;
use super::{AuthorityView, DrillView, ReleaseView};
use crate::error::command_line;

/// The frozen view of a run, format 1.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RunView {
    kind: &'static str,
    format: u32,
    /// Which.
    pub(crate) run: RunId,
    /// The plan that it applied.
    pub(crate) plan: Digest,
    /// Who applied it: a claim.
    pub(crate) applier: String,
    /// Who signed that they applied it; nobody where no rule asks for that.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) signed_by: BTreeSet<IdentityName>,
    /// When it began.
    pub(crate) started: Timestamp,
    /// When it ended.
    pub(crate) finished: Option<Timestamp>,
    /// How it ended; none while it is unfinished.
    pub(crate) outcome: Option<RunOutcome>,
    /// Whether it stopped and waits to be resumed.
    pub(crate) interrupted: bool,
    /// While it has no end: whether somebody is at work on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<OpenRunView>,
    /// The instant that times are told from.
    #[serde(skip)]
    pub(crate) now: Timestamp,
    /// Who asked for its plan and who let it in; absent where nobody said anything about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authority: Option<AuthorityView>,
    /// Every environment of its plan: those that began in the order in which they did, then the rest.
    pub(crate) environments: Vec<RunRow>,
    /// The command to go on with; empty while somebody is at work on it.
    pub(crate) next: String,
}

/// What became of one environment of a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RunRow {
    /// Its name.
    pub(crate) environment: EnvironmentName,
    /// What ran there before.
    pub(crate) from: Option<ReleaseView>,
    /// What was to enter.
    pub(crate) release: ReleaseView,
    /// What kind of move it was; none when it did not begin.
    pub(crate) movement: Option<Movement>,
    /// Of a drill: what it went back to, and how that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drill: Option<DrillView>,
    /// Of another configuration of what ran there: the files in which it differs, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) configuration: Option<Vec<String>>,
    /// When it began.
    pub(crate) started: Option<Timestamp>,
    /// When it ended.
    pub(crate) finished: Option<Timestamp>,
    /// How it ended.
    pub(crate) outcome: Option<PromotionOutcome>,
    /// Why it did not go well, in the words of the provider or the check; absent where that is not on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    #[serde(skip)]
    told: Option<u64>,
    /// Whether checks that people answer have not passed.
    #[serde(skip)]
    pub(crate) open: bool,
    /// Its steps, by name.
    pub(crate) steps: Vec<RunStep>,
    /// What its checks said, in the order of the ledger; those of the way back among them.
    pub(crate) checks: Vec<RunCheck>,
}

/// How far a step got.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RunStep {
    /// Its id.
    pub(crate) id: String,
    /// What it found.
    pub(crate) expected: String,
    /// What it wanted to leave.
    pub(crate) desired: String,
    /// What was there afterwards; none when that was never seen.
    pub(crate) observed: Option<String>,
    /// Why it failed, in the words of its provider; absent where that is not on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    #[serde(skip)]
    told: Option<u64>,
}

impl RunStep {
    /// Whether it left what it wanted; none when that is not known.
    pub(crate) fn done(&self) -> Option<bool> {
        self.observed.as_ref().map(|observed| *observed == self.desired)
    }
}

/// What a check said.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RunCheck {
    /// Its name.
    pub(crate) check: String,
    /// Of which release.
    pub(crate) release: ReleaseId,
    /// When.
    pub(crate) at: Timestamp,
    /// Whether it passed.
    pub(crate) passed: bool,
    /// What it saw.
    pub(crate) detail: Option<String>,
    #[serde(skip)]
    seq: u64,
}

impl RunView {
    /// The view of a run of this ledger.
    pub(crate) fn new(view: &View, id: &RunId, run: &Run) -> Self {
        let mut environments: Vec<RunRow> =
            run.environments.iter().map(|(name, release)| row(view, id, run, name, release)).collect();
        environments.sort_by_key(|row| (row.started.is_none(), row.started));
        let bad = environments.iter().find(|row| row.outcome != Some(PromotionOutcome::Verified));
        let next = match (run.finished, bad) {
            (None, _) => command_line(["promo", "resume", id.as_str()]),
            (_, Some(row)) => command_line(["promo", "why", row.environment.as_str(), &row.release.id]),
            (_, None) => "promo status".to_owned(),
        };
        Self {
            kind: "promo.run.view",
            format: 1,
            run: id.clone(),
            plan: run.plan,
            applier: run.applier.clone(),
            signed_by: signers(view, id, None),
            started: run.started,
            finished: run.finished.map(|f| f.0),
            outcome: run.finished.map(|f| f.1),
            interrupted: run.interrupted,
            open: None,
            now: run.seen,
            authority: None,
            environments,
            next,
        }
    }

    /// The same with what the checks saw and why steps failed, which stands beside their records.
    pub(crate) fn seen<E>(mut self, detail: impl Fn(u64) -> Result<Option<String>, E>) -> Result<Self, E> {
        for row in &mut self.environments {
            row.why = row.told.map(&detail).transpose()?.flatten();
            row.drill = row.drill.take().map(|drill| drill.seen(&detail)).transpose()?;
            for step in &mut row.steps {
                step.why = step.told.map(&detail).transpose()?.flatten();
            }
        }
        for check in self.environments.iter_mut().flat_map(|row| &mut row.checks) {
            check.detail = detail(check.seq)?;
        }
        Ok(self)
    }

    /// The same with the files in which another configuration differs.
    pub(crate) fn configured(mut self, files: impl Fn(&EnvironmentName) -> Option<Vec<String>>) -> Self {
        for row in &mut self.environments {
            row.configuration = files(&row.environment);
        }
        self
    }

    /// The same with what people have not said yet.
    pub(crate) fn unspoken(mut self, open: impl Fn(&EnvironmentName, &ReleaseId) -> bool) -> Self {
        for row in &mut self.environments {
            row.open = row.release.id.parse().is_ok_and(|release| open(&row.environment, &release));
        }
        self
    }

    /// The same with whether somebody is at work on it: then there is nothing to do but to wait.
    pub(crate) fn open(mut self, open: Option<OpenRunView>, now: Timestamp) -> Self {
        // One that is told as unfinished and is not open has ended since the ledger was read.
        if self.finished.is_none() && open.as_ref().is_none_or(OpenRunView::alive) {
            self.next = String::new();
        } else if let Some(open) = &open {
            self.next.clone_from(&open.next);
        }
        Self { open, now, ..self }
    }
}

/// Who signed that they apply a run, of one environment where it is named. Whoever began it only claimed a name (S6.3).
pub(crate) fn signers(view: &View, run: &RunId, environment: Option<&EnvironmentName>) -> BTreeSet<IdentityName> {
    let all = view.appliers.get(run).into_iter().flatten();
    let theirs = all.filter(|applier| environment.is_none_or(|name| applier.environments.contains(name)));
    theirs.map(|applier| applier.by.clone()).collect()
}

/// What why a promotion failed says beside what its steps and checks said, which stands with them. What it says of the way back stays
/// whole: that failed for a reason of its own, also where it is the same.
pub(crate) fn more(why: &str, told: &[String]) -> Option<String> {
    let mut rest = why;
    let mut left: Vec<&String> = told.iter().filter(|one| !one.is_empty()).collect();
    while let Some(at) = left.iter().position(|one| rest.starts_with(one.as_str())) {
        rest = rest[left.remove(at).len()..].trim_start_matches([';', ' ']);
    }
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn row(view: &View, id: &RunId, run: &Run, name: &EnvironmentName, release: &ReleaseId) -> RunRow {
    let known = view.environment(name);
    let mine = |promotion: &&Promotion| promotion.run == *id;
    let promotion = known.and_then(|e| e.history.iter().chain(&e.active).find(mine));
    let shown = |release: &ReleaseId| ReleaseView::of(&planner::reference(view, release));
    let prefix = format!("{name}/");
    let steps = run.steps.iter().filter(|(step, _)| step.starts_with(&prefix)).map(|(step, s)| RunStep {
        id: step.clone(),
        expected: s.expected.to_string(),
        desired: s.desired.to_string(),
        observed: s.observed.as_ref().map(ToString::to_string),
        why: None,
        told: s.told,
    });
    let mut checks = Vec::new();
    for (release, by_check) in known.iter().flat_map(|e| &e.verdicts) {
        for (check, entries) in by_check {
            checks.extend(entries.iter().filter(|e| e.run.as_ref() == Some(id)).map(|entry| RunCheck {
                check: check.to_string(),
                release: release.clone(),
                at: entry.at,
                passed: entry.said == Said::Passed,
                detail: None,
                seq: entry.seq,
            }));
        }
    }
    checks.sort_by_key(|check| check.seq);
    RunRow {
        environment: name.clone(),
        from: promotion.and_then(|p| p.from.as_ref()).map(shown),
        release: shown(release),
        movement: promotion.map(|p| p.movement),
        drill: promotion.and_then(|promotion| DrillView::new(view, promotion)),
        configuration: None,
        started: promotion.map(|p| p.started),
        finished: promotion.and_then(|p| p.finished).map(|f| f.0),
        outcome: promotion.and_then(|p| p.finished).map(|f| f.1),
        why: None,
        told: promotion.and_then(|p| p.told),
        open: false,
        steps: steps.collect(),
        checks,
    }
}
