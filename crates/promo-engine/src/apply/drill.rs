//! A drill: a way back that is tried, and what ran before brought back at once. What must not live here: how steps are taken and
//! checks asked, which is as in any other move.
//!
//! One record divides it, [`Event::DrillTurned`]. Whoever resumes the run before it goes on with the way back, and after it
//! only with what ran before, whatever became of the way back. So it ends on what ran when it began, or held for a person.

use promo_core::ledger::Event;
use promo_core::ledger::event::PromotionOutcome;
use promo_core::ledger::record::DETAIL;
use promo_core::ledger::view::{Drill, Turned};
use promo_core::plan::{Move, Rollback};

use super::deploy::{Way, deploy};
use super::during::During;
use super::promotion::{Asking, End, elsewhere, end_promotion, no_way, stays_away, untouched, verify};
use super::step::FAILED_BEFORE;
use super::{Fate, RunContext};
use crate::checks;
use crate::contract::cut;
use crate::error::EngineError;
use crate::progress::Progress;

/// Goes back and comes again, or goes on where an earlier process stopped.
pub(super) async fn drill(context: &RunContext, entry: &Move, back: &Rollback) -> Result<Fate, EngineError> {
    let checks = [&entry.checks, &back.checks].map(|checks| checks::by_check(checks).count());
    context.say(Progress::DrillStarted {
        environment: entry.environment.clone(),
        release: entry.to.id.clone(),
        back: back.to.id.clone(),
        total: entry.steps.len() + back.steps.len() + checks.into_iter().sum::<usize>(),
    });
    let failed = match turned(context, entry)? {
        Some(turned) => why(context, &turned)?,
        None => match go(context, entry, back).await? {
            End::Good => turn(context, entry, back, None)?,
            // What it has not touched it need not bring back, whatever somebody else has made of it.
            End::Failed(why) if untouched(context, &back.steps)? => {
                return end_promotion(context, entry, PromotionOutcome::Cancelled, Some(why));
            }
            End::Failed(why) => turn(context, entry, back, Some(why))?,
            End::Stuck(why) => return end_promotion(context, entry, PromotionOutcome::Stuck, Some(why)),
            // No gate is asked on either way.
            End::Interrupted | End::Closed { .. } => return Ok(Fate::Interrupted),
        },
    };
    let also = |how: &str, why: String| {
        let before = failed.as_ref().map(|failed| format!("the drill failed: {failed}; ")).unwrap_or_default();
        Some(format!("{before}bringing back {} {how}: {why}", entry.to.id))
    };
    match come_back(context, entry).await? {
        End::Good => {
            let ended = end_promotion(context, entry, PromotionOutcome::Verified, None)?;
            Ok(if failed.is_some() { Fate::DrillFailed { why: failed } } else { ended })
        }
        End::Interrupted | End::Closed { .. } => Ok(Fate::Interrupted),
        End::Stuck(why) => end_promotion(context, entry, PromotionOutcome::Stuck, also("is stuck", why)),
        End::Failed(why) => end_promotion(context, entry, PromotionOutcome::Held, also("failed", why)),
    }
}

/// The way back, with its checks.
async fn go(context: &RunContext, entry: &Move, back: &Rollback) -> Result<End, EngineError> {
    let to = &back.to.id;
    if let Some(reason) = elsewhere(context, entry, &back.settings)? {
        return Ok(End::Failed(no_way(to, &reason)));
    }
    // What could not come again is not left, whatever the pipeline has become since the plan.
    if untouched(context, &back.steps)?
        && let Some(reason) = elsewhere(context, entry, &entry.settings)?
    {
        return Ok(End::Failed(stays_away(&entry.to.id, &reason)));
    }
    let during = During::begin(context, entry, &back.steps, &back.checks, to, 0)?;
    match deploy(context, entry, &Way::back(entry, back)).await? {
        End::Good => {}
        other => return Ok(other),
    }
    match during.end(context, entry, to).await? {
        End::Good => verify(context, entry, &back.checks, to, Asking::Once).await,
        other => Ok(other),
    }
}

/// What ran before, with its checks.
async fn come_back(context: &RunContext, entry: &Move) -> Result<End, EngineError> {
    let to = &entry.to.id;
    // One that has begun is gone to its end.
    if untouched(context, &entry.steps)?
        && let Some(reason) = elsewhere(context, entry, &entry.settings)?
    {
        return Ok(End::Failed(stays_away(to, &reason)));
    }
    let during = During::begin(context, entry, &entry.steps, &entry.checks, to, 0)?;
    match deploy(context, entry, &Way::there(entry)).await? {
        End::Good => {}
        other => return Ok(other),
    }
    match during.end(context, entry, to).await? {
        End::Good => verify(context, entry, &entry.checks, to, Asking::Once).await,
        other => Ok(other),
    }
}

/// The drill that is under way, as the ledger has it.
fn known(context: &RunContext, entry: &Move) -> Result<Option<Drill>, EngineError> {
    context.session.with_view(|view| view.environment(&entry.environment)?.active.as_ref()?.drill.clone())
}

fn turned(context: &RunContext, entry: &Move) -> Result<Option<Turned>, EngineError> {
    Ok(known(context, entry)?.and_then(|drill| drill.turned))
}

/// Why the way back failed, if it did.
fn why(context: &RunContext, turned: &Turned) -> Result<Option<String>, EngineError> {
    if turned.passed {
        return Ok(None);
    }
    let told = turned.told.map(|seq| context.session.detail_seen(seq)).transpose()?.flatten();
    Ok(Some(told.unwrap_or_else(|| FAILED_BEFORE.to_owned())))
}

/// Writes how the way back ended, and gives why it failed. From here on there is only the way to what ran before.
fn turn(
    context: &RunContext,
    entry: &Move,
    back: &Rollback,
    failed: Option<String>,
) -> Result<Option<String>, EngineError> {
    let (environment, to, passed) = (&entry.environment, &back.to.id, failed.is_none());
    let event = Event::DrillTurned { environment: environment.clone(), back: to.clone(), passed };
    let mut draft = context.session.draft(event);
    // What a provider or a check said stands beside the leaf (S12.5).
    draft.private.extend(failed.iter().map(|why| (DETAIL.to_owned(), cut(why.clone()))));
    context.append_drafts(environment, None, vec![draft])?;
    let took = known(context, entry)?.and_then(|drill| drill.took()).unwrap_or_default();
    context.say(Progress::DrillTurned {
        environment: environment.clone(),
        back: to.clone(),
        passed,
        why: failed.clone(),
        milliseconds: u64::try_from(took.as_millis()).unwrap_or_default(),
    });
    Ok(failed)
}
