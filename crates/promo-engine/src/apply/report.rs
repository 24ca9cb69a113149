//! What became of a run, and the exit code that says so. What must not live here: deciding how a run ends.

use promo_core::gate::Gate;
use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::{PromotionOutcome, RunOutcome};

use super::finish;
use crate::error::exit;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// Which.
    pub run: RunId,
    /// How it ended; none when it was interrupted and can be resumed.
    pub outcome: Option<RunOutcome>,
    /// Every environment of the plan, in the plan's order.
    pub environments: Vec<(EnvironmentName, ReleaseId, Fate)>,
}

/// What became of one environment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its promotion ended.
    Ended {
        /// How.
        outcome: PromotionOutcome,
        /// Why, where it did not go well.
        why: Option<String>,
    },
    /// A drill failed, and what ran before is there again and verified.
    DrillFailed {
        /// Why, where that is on record.
        why: Option<String>,
    },
    /// It did not begin.
    NotStarted {
        /// Why.
        why: String,
        /// The closed gates.
        gates: Vec<Gate>,
    },
    /// It was interrupted, and goes on with `promo resume`.
    Interrupted,
    /// The next wave of its targets may not begin now; it goes on with `promo resume` once the gates are open.
    Closed {
        /// Why.
        why: String,
        /// The closed gates; none where the rules are no longer those of the plan.
        gates: Vec<Gate>,
    },
}

impl RunReport {
    /// The exit code (S14).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let fates = || self.environments.iter().map(|(_, _, fate)| fate);
        // A wave that waits for its window, and one that its rules no longer let begin.
        let wave = fates().filter_map(|fate| match fate {
            Fate::Closed { gates, .. } if gates.is_empty() => Some(RunOutcome::Cancelled),
            Fate::Closed { .. } => Some(RunOutcome::Waiting),
            _ => None,
        });
        // Beside one that waits, which can take long, what has ended badly is told at once; one that was interrupted can go on.
        let interrupted = fates().any(|fate| matches!(fate, Fate::Interrupted));
        let open = wave.reduce(finish::worse).filter(|_| !interrupted);
        let open = open.map(|wave| finish::worse(wave, finish::worst(fates())));
        match self.outcome.or(open) {
            Some(RunOutcome::Done) => exit::DONE,
            Some(RunOutcome::Waiting) => exit::WAITING,
            Some(RunOutcome::RolledBack) => exit::ROLLED_BACK,
            Some(RunOutcome::Held) => exit::HELD,
            Some(RunOutcome::Stuck) => exit::STUCK,
            Some(RunOutcome::Cancelled) => exit::STALE,
            None => exit::TRANSIENT,
        }
    }

    /// The report of a run that has ended, from its records.
    pub(super) fn recorded(run: &RunId, view: &View, outcome: RunOutcome) -> Self {
        let moved = view.runs.get(run).map(|r| r.environments.clone()).unwrap_or_default();
        let environments = moved
            .into_iter()
            .map(|(name, release)| {
                let ended = view.environment(&name).and_then(|e| e.history.iter().rev().find(|p| p.run == *run));
                let failed = ended.and_then(|promotion| promotion.disproved()).is_some();
                let fate = match ended.and_then(|promotion| promotion.finished) {
                    Some(_) if failed => Fate::DrillFailed { why: None },
                    Some((_, outcome)) => Fate::Ended { outcome, why: None },
                    None => Fate::NotStarted { why: "the run ended without it".into(), gates: Vec::new() },
                };
                (name, release, fate)
            })
            .collect();
        Self { run: run.clone(), outcome: Some(outcome), environments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_one_that_was_interrupted_is_told_before_one_that_waits_for_its_wave() {
        let closed = |gates: Vec<Gate>| Fate::Closed { why: "it is night".into(), gates };
        let gate = || {
            let gate = include_str!("../../../../tests/compat/v1/gates/reason-frozen.json");
            vec![serde_json::from_str::<Gate>(gate).unwrap()]
        };
        let (held, behind) = (
            Fate::Ended { outcome: PromotionOutcome::Held, why: None },
            Fate::NotStarted { why: "a waits".into(), gates: Vec::new() },
        );
        for (fates, code) in [
            (vec![closed(gate()), Fate::Interrupted], exit::TRANSIENT),
            (vec![closed(gate()), Fate::Interrupted, held.clone()], exit::TRANSIENT),
            (vec![closed(Vec::new()), Fate::Interrupted], exit::TRANSIENT),
            (vec![closed(gate()), behind.clone()], exit::WAITING),
            (vec![closed(Vec::new()), behind], exit::STALE),
            (vec![closed(gate()), held], exit::HELD),
        ] {
            let run = "a".repeat(32).parse().unwrap();
            let release: ReleaseId = "r-111111111111".parse().unwrap();
            let named = fates.into_iter().enumerate();
            let environments =
                named.map(|(at, fate)| (format!("e{at}").parse().unwrap(), release.clone(), fate)).collect();
            let report = RunReport { run, outcome: None, environments };
            assert_eq!(report.exit_code(), code, "{report:?}");
        }
    }
}
