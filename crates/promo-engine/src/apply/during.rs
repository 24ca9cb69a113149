//! Checks that look while a deployment is under way. They begin before its first step and end when its last one runs. What
//! must not live here: taking steps, and checks that are asked afterwards.
//!
//! Nobody looks while nobody is at work: whoever resumes a run in the middle of a deployment begins to look then, and the
//! evidence says that the part before was not seen. Where all steps were taken before, nothing was seen, and that is no pass.

use std::collections::BTreeMap;

use promo_core::ids::ReleaseId;
use promo_core::plan::{Move, PlannedCheck, Step};
use promo_sdk::{CheckRequest, CheckResult, ErrorKind, ProviderError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::RunContext;
use super::promotion::End;
use super::step::elapsed;
use crate::checks::{self, Verdict};
use crate::contract::cut;
use crate::error::EngineError;
use crate::progress::Progress;

/// Checks that look at a deployment under way. Dropped, they are stopped, and nothing is recorded.
pub(super) struct During {
    over: CancellationToken,
    looks: Vec<Look>,
    /// How many of the steps had been taken before somebody looked.
    before: usize,
    /// How many of them had begun.
    under_way: usize,
    steps: usize,
    begun: jiff::Timestamp,
}

struct Look {
    check: PlannedCheck,
    task: JoinHandle<Result<CheckResult, ProviderError>>,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl During {
    /// Begins to look, where checks of the promotion look so and have not spoken in this run, from the record `since` on.
    pub(super) fn begin(
        context: &RunContext,
        entry: &Move,
        steps: &[Step],
        checks: &[PlannedCheck],
        release: &ReleaseId,
        since: u64,
    ) -> Result<Self, EngineError> {
        let (over, mut looks) = (CancellationToken::new(), Vec::new());
        let session = &context.session;
        for group in checks::by_check(checks) {
            let (check, provider) = (&group[0], session.providers.get(&group[0].provider)?);
            if !provider.looks_during() {
                continue;
            }
            if session.with_view(|view| spoken(view, context, entry, release, check, since))? {
                continue;
            }
            let environment = entry.environment.clone();
            context.say(Progress::CheckStarted { environment, check: check.name.clone() });
            let token = context.run.to_string();
            let request = CheckRequest { inputs: check.inputs.clone(), check: check.name.to_string(), token };
            let (provider, cx, over) = (provider.clone(), session.context.clone(), over.clone());
            let task = tokio::spawn(async move { provider.during(&cx, &request, &over).await });
            looks.push(Look { check: check.clone(), task });
        }
        let (before, under_way) = session.with_view(|view| {
            let known = view.runs.get(&context.run).map(|run| &run.steps);
            let known = || steps.iter().filter_map(|step| known?.get(&step.id));
            let taken = known().filter(|step| step.observed.is_some()).count();
            (taken, known().count() - taken)
        })?;
        let begun = session.context.clock.now();
        Ok(Self { over, looks, before, under_way, steps: steps.len(), begun })
    }

    /// Ends the looking, since all runs, and records what was seen.
    pub(super) async fn end(self, context: &RunContext, entry: &Move, release: &ReleaseId) -> Result<End, EngineError> {
        self.over.cancel();
        let environment = &entry.environment;
        for mut look in self.looks {
            let name = look.check.name.clone();
            let (mut result, unanswered) = match (&mut look.task).await {
                Ok(Ok(result)) => (result, false),
                Ok(Err(error)) if error.kind == ErrorKind::Cancelled => return Ok(End::Interrupted),
                // What was not seen cannot be looked at later: there is no second time.
                Ok(Err(error)) => {
                    (CheckResult { passed: false, detail: error.to_string(), evidence: BTreeMap::new() }, true)
                }
                Err(source) => return Err(EngineError::Unexpected { run: context.run.clone(), source }),
            };
            if self.before + self.under_way > 0 {
                let (before, under_way) = (self.before, self.under_way);
                let missed = format!("of {} steps {before} had been taken and {under_way} begun, unseen", self.steps);
                result.detail = cut(format!("{}; the run was resumed: {missed}", result.detail));
                result.evidence.insert("unseen".to_owned(), missed);
                result.passed &= self.before < self.steps;
            }
            let verdict = Verdict::of(name.clone(), result, unanswered);
            context.append_drafts(environment, None, vec![verdict.draft(&context.session, environment, release)])?;
            let (passed, detail) = (verdict.passed, verdict.detail);
            let (environment, milliseconds) = (environment.clone(), elapsed(context, self.begun));
            context.say(Progress::CheckDone { environment, check: name, passed, detail, milliseconds });
        }
        Ok(End::Good)
    }
}

fn spoken(
    view: &promo_core::ledger::View,
    context: &RunContext,
    entry: &Move,
    release: &ReleaseId,
    check: &PlannedCheck,
    since: u64,
) -> bool {
    let verdicts = view.environment(&entry.environment).and_then(|known| known.verdicts.get(release)?.get(&check.name));
    verdicts.into_iter().flatten().any(|verdict| verdict.run.as_ref() == Some(&context.run) && verdict.seq >= since)
}
