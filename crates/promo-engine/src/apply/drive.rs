//! The order of a run: which environments move side by side, which wait for others, which never begin. What must not live
//! here: how one of them moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::PromotionOutcome;
use promo_core::plan::Move;
use tokio::task::JoinSet;

use super::lease::Held;
use super::{Fate, RunContext, RunReport, finish, promotion};
use crate::error::EngineError;
use crate::progress::Progress;

/// Moves everything, independent branches at once, and ends the run.
pub(super) async fn drive(context: RunContext, held: Held) -> Result<RunReport, EngineError> {
    let context = Arc::new(context);
    let moves = &context.document.body.moves;
    let names = moves.iter().map(|m| m.environment.clone()).collect();
    context.say(Progress::RunStarted { run: context.run.clone(), environments: names });
    let mut waiting: Vec<usize> = (0..moves.len()).collect();
    let mut fates: BTreeMap<EnvironmentName, Fate> = BTreeMap::new();
    let mut running: JoinSet<(EnvironmentName, Result<Fate, EngineError>)> = JoinSet::new();
    let (mut failure, mut unsigned) = (None, None);
    loop {
        let stopped = context.options.stop.is_cancelled() || failure.is_some();
        let mut left = Vec::new();
        for place in waiting {
            let entry = &moves[place];
            match readiness(entry, &fates, &context, stopped) {
                Readiness::Now => {
                    let context = context.clone();
                    running.spawn(async move {
                        let entry = &context.document.body.moves[place];
                        (entry.environment.clone(), promotion::promote(&context, entry).await)
                    });
                }
                Readiness::Later => left.push(place),
                Readiness::Never(fate) => {
                    if let Fate::NotStarted { why, gates } = &fate {
                        context.say(Progress::NotStarted {
                            environment: entry.environment.clone(),
                            why: why.clone(),
                            gates: gates.clone(),
                        });
                    }
                    fates.insert(entry.environment.clone(), fate);
                }
            }
        }
        waiting = left;
        match running.join_next().await {
            Some(Ok((name, Ok(fate)))) => {
                fates.insert(name, fate);
            }
            // It waits for somebody who signs; everything else goes on.
            Some(Ok((name, Err(error @ EngineError::ApplyUnsigned { .. })))) => {
                fates.insert(name, Fate::Interrupted);
                unsigned.get_or_insert(error);
            }
            Some(Ok((name, Err(error)))) => {
                fates.insert(name, Fate::Interrupted);
                failure.get_or_insert(error);
            }
            Some(Err(panicked)) => {
                failure.get_or_insert(EngineError::Unexpected { run: context.run.clone(), source: panicked });
            }
            None if waiting.is_empty() => break,
            None if stopped => {
                for place in waiting.drain(..) {
                    fates.insert(moves[place].environment.clone(), Fate::Interrupted);
                }
            }
            None => {}
        }
    }
    let result = match failure {
        Some(error) => Err(error),
        None => finish::finish(&context, fates).and_then(|report| unsigned.map_or(Ok(report), Err)),
    };
    held.release().await;
    result
}

enum Readiness {
    Now,
    Later,
    Never(Fate),
}

fn readiness(entry: &Move, fates: &BTreeMap<EnvironmentName, Fate>, context: &RunContext, stopped: bool) -> Readiness {
    let never = |why: String| Readiness::Never(Fate::NotStarted { why, gates: Vec::new() });
    for before in &entry.after {
        match fates.get(before) {
            None => return Readiness::Later,
            Some(Fate::Ended { outcome: PromotionOutcome::Verified, .. }) => {}
            Some(Fate::Interrupted) => return Readiness::Never(Fate::Interrupted),
            Some(_) => return never(format!("{before} did not get there")),
        }
    }
    let failed =
        fates.values().any(|f| matches!(f, Fate::Ended { outcome, .. } if *outcome != PromotionOutcome::Verified));
    if stopped {
        Readiness::Never(Fate::Interrupted)
    } else if context.options.stop_all && failed {
        never("another environment failed".into())
    } else {
        Readiness::Now
    }
}
