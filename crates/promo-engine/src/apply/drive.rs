//! The order of a run: which environments move side by side, which wait for others, which never begin. What must not live
//! here: how one of them moves.

use std::collections::{BTreeMap, BTreeSet};
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
    let mut order = Order::new(moves);
    let mut fates: BTreeMap<EnvironmentName, Fate> = BTreeMap::new();
    let mut running: JoinSet<(usize, Result<Fate, EngineError>)> = JoinSet::new();
    let (mut failure, mut unsigned) = (None, None);
    loop {
        while let Some(place) = order.ready.pop_first() {
            let entry = &moves[place];
            let stopped = context.options.stop.is_cancelled() || failure.is_some();
            let Some(fate) = never(entry, &fates, &context, stopped) else {
                let context = context.clone();
                running.spawn(async move {
                    (place, promotion::promote(&context, &context.document.body.moves[place]).await)
                });
                continue;
            };
            if let Fate::NotStarted { why, gates } = &fate {
                let (environment, why, gates) = (entry.environment.clone(), why.clone(), gates.clone());
                context.say(Progress::NotStarted { environment, why, gates });
            }
            fates.insert(entry.environment.clone(), fate);
            order.decided(place);
        }
        let Some(ended) = running.join_next().await else { break };
        match ended {
            Ok((place, result)) => {
                let fate = result.unwrap_or_else(|error| {
                    match error {
                        // It waits for somebody who signs; everything else goes on.
                        EngineError::ApplyUnsigned { .. } => unsigned.get_or_insert(error),
                        error => failure.get_or_insert(error),
                    };
                    Fate::Interrupted
                });
                fates.insert(moves[place].environment.clone(), fate);
                order.decided(place);
            }
            Err(panicked) => {
                failure.get_or_insert(EngineError::Unexpected { run: context.run.clone(), source: panicked });
            }
        }
    }
    // Behind one that broke down there is nobody who decides.
    for entry in moves {
        fates.entry(entry.environment.clone()).or_insert(Fate::Interrupted);
    }
    let result = match failure {
        Some(error) => Err(error),
        None => finish::finish(&context, fates).and_then(|report| unsigned.map_or(Ok(report), Err)),
    };
    held.release().await;
    result
}

/// Which moves wait for how many others. Each is looked at once, when the last one that it waits for is decided.
struct Order {
    /// Whose turn it is, by their places in the plan.
    ready: BTreeSet<usize>,
    waits_for: Vec<usize>,
    behind: Vec<Vec<usize>>,
}

impl Order {
    fn new(moves: &[Move]) -> Self {
        let places: BTreeMap<_, _> =
            moves.iter().enumerate().map(|(place, entry)| (&entry.environment, place)).collect();
        let (mut waits_for, mut behind) = (vec![0; moves.len()], vec![Vec::new(); moves.len()]);
        for (place, entry) in moves.iter().enumerate() {
            for before in entry.after.iter().filter_map(|name| places.get(name)) {
                waits_for[place] += 1;
                behind[*before].push(place);
            }
        }
        let ready = (0..moves.len()).filter(|place| waits_for[*place] == 0).collect();
        Self { ready, waits_for, behind }
    }

    fn decided(&mut self, place: usize) {
        for next in std::mem::take(&mut self.behind[place]) {
            self.waits_for[next] -= 1;
            if self.waits_for[next] == 0 {
                self.ready.insert(next);
            }
        }
    }
}

/// Why a move whose turn it is does not begin.
fn never(entry: &Move, fates: &BTreeMap<EnvironmentName, Fate>, context: &RunContext, stopped: bool) -> Option<Fate> {
    let not_started = |why: String| Some(Fate::NotStarted { why, gates: Vec::new() });
    let verified = |fate: &Fate| matches!(fate, Fate::Ended { outcome: PromotionOutcome::Verified, .. });
    for before in &entry.after {
        match fates.get(before) {
            Some(fate) if verified(fate) => {}
            Some(Fate::Interrupted) => return Some(Fate::Interrupted),
            Some(Fate::Closed { .. }) => return not_started(format!("{before} waits before its next wave")),
            _ => return not_started(format!("{before} did not get there")),
        }
    }
    let failed = |fate: &Fate| matches!(fate, Fate::Ended { .. } | Fate::DrillFailed { .. }) && !verified(fate);
    if stopped {
        Some(Fate::Interrupted)
    } else if context.options.stop_all && fates.values().any(failed) {
        not_started("another environment failed".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Order;
    use promo_core::plan::{Document, Move};
    use std::collections::BTreeSet;

    #[test]
    fn a_move_has_its_turn_once_all_that_it_waits_for_are_decided() {
        let plan = include_bytes!("../../../../tests/compat/v1/plans/promote.json");
        let (plan, _) = Document::from_bytes(plan).unwrap();
        let one = plan.body.moves.first().unwrap();
        let named = |name: &str, after: &[&str]| Move {
            environment: name.parse().unwrap(),
            after: after.iter().map(|name| name.parse().unwrap()).collect(),
            ..one.clone()
        };
        let mut order = Order::new(&[named("b", &["a", "elsewhere"]), named("a", &[]), named("c", &["a", "b"])]);
        assert_eq!(std::mem::take(&mut order.ready), BTreeSet::from([1]));
        order.decided(1);
        assert_eq!(std::mem::take(&mut order.ready), BTreeSet::from([0]));
        order.decided(0);
        assert_eq!(order.ready, BTreeSet::from([2]));
    }
}
