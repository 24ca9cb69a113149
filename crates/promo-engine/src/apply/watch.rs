//! Asking again after the checks of a promotion have passed, for as long as its environment is watched. What must not live
//! here: the first time that checks are asked, and what follows from a failure.
//!
//! The time counts from the record of the last check that let it begin, so that whoever resumes the run waits for what is
//! left. Passes write nothing: the verdict stands already. A failure is a verdict like any other, and takes the same way.

use std::time::Duration;

use jiff::Timestamp;
use promo_core::ledger::view::Said;
use promo_core::plan::{Move, PlannedCheck};
use promo_sdk::ErrorKind;

use super::RunContext;
use super::promotion::End;
use super::step::elapsed;
use crate::checks::{self, Verdict};
use crate::error::EngineError;
use crate::progress::Progress;

/// Asks the automatic checks again and again until the time is over, and once more at its end.
pub(super) async fn watch(context: &RunContext, entry: &Move) -> Result<End, EngineError> {
    let Some(watch) = entry.watch else { return Ok(End::Good) };
    let seconds = i64::try_from(watch.seconds).unwrap_or(i64::MAX);
    let end = began(context, entry)?.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    let every = Duration::from_secs(watch.every.max(1));
    let mut asked = 0;
    loop {
        let left = context.left_until(end)?;
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        context.say(Progress::Watching { environment: entry.environment.clone(), seconds, asked });
        tokio::select! {
            biased;
            () = context.options.stop.cancelled() => return Ok(End::Interrupted),
            () = context.session.context.cancelled.cancelled() => return Ok(End::Interrupted),
            () = context.session.context.clock.sleep(every.min(left)) => {}
        }
        let last = context.left_until(end)?.is_zero();
        let mut failures = Vec::new();
        for group in checks::by_check(&entry.checks) {
            if context.session.looks_during(&group[0])? {
                continue;
            }
            if context.options.stop.is_cancelled() {
                return Ok(End::Interrupted);
            }
            match once(context, entry, group, last).await? {
                Once::Passed => {}
                Once::Failed(why) => failures.push(why),
                Once::Left => return Ok(End::Interrupted),
            }
        }
        if !failures.is_empty() {
            return Ok(End::Failed(failures.join("; ")));
        }
        if last {
            return Ok(End::Good);
        }
        asked += 1;
    }
}

/// How a check answered within the time.
enum Once {
    Passed,
    Failed(String),
    /// It gave no answer where one is needed: the run is left to be resumed.
    Left,
}

async fn once(context: &RunContext, entry: &Move, group: &[PlannedCheck], last: bool) -> Result<Once, EngineError> {
    let (environment, begun) = (&entry.environment, context.session.context.clock.now());
    // What was begun for an earlier question, and that nobody came back for, has seen nothing of the time since.
    let token = if last { format!("{}/last", context.run) } else { context.run.to_string() };
    let verdict = match context.session.ask(&token, group).await? {
        Ok(verdict) => verdict,
        Err(error) if error.kind == ErrorKind::Cancelled => return Ok(Once::Left),
        // One that cannot look for a moment is asked again in time; at the end its answer is needed (S1.3).
        Err(error) => {
            let again = if last { "promo resume asks again" } else { "it is asked again" };
            let (environment, check) = (environment.clone(), group[0].name.clone());
            context.say(Progress::CheckUnanswered { environment, check, why: format!("{error}; {again}") });
            return Ok(if last { Once::Left } else { Once::Passed });
        }
    };
    if verdict.passed {
        return Ok(Once::Passed);
    }
    context.append_drafts(environment, None, vec![verdict.draft(&context.session, environment, &entry.to.id)])?;
    let Verdict { check, detail, .. } = verdict;
    let why = format!("{check} failed while it was watched: {detail}");
    let milliseconds = elapsed(context, begun);
    context.say(Progress::CheckDone { environment: environment.clone(), check, passed: false, detail, milliseconds });
    Ok(Once::Failed(why))
}

/// When the last check passed that let it begin; where this run has asked none, when the release came.
fn began(context: &RunContext, entry: &Move) -> Result<Timestamp, EngineError> {
    let found = context.session.with_view(|view| {
        let known = view.environment(&entry.environment)?;
        let verdicts = known.verdicts.get(&entry.to.id);
        let mine = verdicts.into_iter().flat_map(|checks| checks.values()).flatten();
        let mine = mine.filter(|v| v.run.as_ref() == Some(&context.run) && v.said == Said::Passed && v.by.is_none());
        mine.map(|verdict| verdict.at).max().or_else(|| known.residences.last().map(|residence| residence.since))
    })?;
    found.map_or_else(|| Ok(context.session.present()?.at), Ok)
}
