//! What happens while a plan is applied, as a stream for people and machines. It is talk, not evidence: the ledger is.

use std::sync::Arc;

use jiff::Timestamp;
use promo_core::gate::Gate;
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::event::PromotionOutcome;
use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Progress {
    /// Nothing can be begun yet, and it is tried again until it can. Nothing is locked meanwhile.
    Waiting {
        /// Where, when it is a gate that is closed.
        environment: Option<EnvironmentName>,
        /// Why, as the code of an error.
        code: String,
        /// Why, in words.
        why: String,
        /// The gates that are closed.
        gates: Vec<Gate>,
    },
    /// A dead process holds the lock of a run that is to go on: it is waited for, and Ctrl-C ends the waiting.
    WaitingForLock {
        /// What is locked.
        resource: String,
        /// Who holds it: run, and the process at work.
        holder: String,
        /// When it lapses, unless its holder lives.
        until: Timestamp,
    },
    /// A run began or goes on.
    RunStarted {
        /// Which.
        run: RunId,
        /// What it moves.
        environments: Vec<EnvironmentName>,
    },
    /// A promotion began.
    PromotionStarted {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseId,
        /// How many steps and checks it has.
        total: usize,
        /// Where that release runs there already, and another configuration of it enters: the files in which that differs, as far
        /// as they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        configuration: Option<Vec<String>>,
    },
    /// A drill began, or goes on: it goes back to another release, and brings back what runs.
    DrillStarted {
        /// Where.
        environment: EnvironmentName,
        /// What runs, and comes back.
        release: ReleaseId,
        /// The release that it goes back to.
        back: ReleaseId,
        /// How many steps and checks it has, both ways together.
        total: usize,
    },
    /// The way back of a drill has ended, and what ran before comes back.
    DrillTurned {
        /// Where.
        environment: EnvironmentName,
        /// The release that it went back to.
        back: ReleaseId,
        /// Whether that ran there, and every check passed.
        passed: bool,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// How long the way back took, from its first intent, by the ledger's clock, in milliseconds.
        milliseconds: u64,
    },
    /// A promotion did not begin.
    NotStarted {
        /// Where.
        environment: EnvironmentName,
        /// Why, in words.
        why: String,
        /// The gates that are closed.
        gates: Vec<Gate>,
    },
    /// A step is about to act.
    StepStarted {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        step: String,
    },
    /// A step is done: what it wanted was observed.
    StepDone {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        step: String,
        /// Whether it changed anything.
        changed: bool,
        /// What it did, in words.
        detail: String,
        /// How long it took, in milliseconds.
        milliseconds: u64,
    },
    /// A step failed.
    StepFailed {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        step: String,
        /// Why.
        why: String,
    },
    /// A wave of targets is done, and the next one begins after a pause. Ctrl-C ends the waiting.
    Pausing {
        /// Where.
        environment: EnvironmentName,
        /// Which wave begins then, from 1.
        wave: usize,
        /// When.
        until: Timestamp,
        /// How many seconds that is from now.
        seconds: u64,
    },
    /// The next wave of targets may not begin now: the run stops, and goes on with `promo resume`.
    WaveClosed {
        /// Where.
        environment: EnvironmentName,
        /// Why, in words.
        why: String,
        /// The gates that are closed.
        gates: Vec<Gate>,
    },
    /// A check is about to run.
    CheckStarted {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        check: CheckName,
    },
    /// A check spoke.
    CheckDone {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        check: CheckName,
        /// Whether it passed.
        passed: bool,
        /// What it saw, in words.
        detail: String,
        /// How long it took, in milliseconds.
        milliseconds: u64,
    },
    /// A check could not look: it has no verdict, and is asked again when the run is resumed.
    CheckUnanswered {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        check: CheckName,
        /// Why.
        why: String,
    },
    /// The checks have passed, and are asked again for a while.
    Watching {
        /// Where.
        environment: EnvironmentName,
        /// For how many seconds yet.
        seconds: u64,
        /// How often all of them have passed again.
        asked: u64,
    },
    /// A failed promotion goes back.
    RollingBack {
        /// Where.
        environment: EnvironmentName,
        /// To which release.
        to: ReleaseId,
        /// Why.
        why: String,
        /// Where another configuration of it failed: the files in which that differs, as far as they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        configuration: Option<Vec<String>>,
    },
    /// A promotion ended.
    PromotionFinished {
        /// Where.
        environment: EnvironmentName,
        /// Which release.
        release: ReleaseId,
        /// How.
        outcome: PromotionOutcome,
        /// Checks that people answer, and that have not passed: it is not verified before.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        open: Vec<CheckName>,
        /// Of another configuration of what ran there: the files in which it differs, as far as they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        configuration: Option<Vec<String>>,
    },
}

/// Where progress goes.
pub type Sink = Arc<dyn Fn(Progress) + Send + Sync>;

/// A sink that drops everything.
#[must_use]
pub fn silent() -> Sink {
    Arc::new(|_| {})
}
