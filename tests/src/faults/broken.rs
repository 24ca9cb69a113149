//! Ways in which promo is broken on purpose. Each breaks one promise of S9 or S13, and none is noticed by promo itself: what
//! the judge of the fault matrix does not find here it would not find in the product either. What must not live here: the
//! judge.

use std::path::Path;

use promo_core::ledger::{Draft, Event};
use promo_sdk::Inputs;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A step acts, takes back what it did, and acts again (S9.3).
    ActsTwice,
    /// Something is changed by a check, which only looks (S9.2).
    ActsUntold,
    /// The record of an effect is written twice (S9.3).
    RecordsTwice,
    /// A record is written with the epoch of a lock that was lost (S9.4).
    StaleEpoch,
    /// A run uses up no approval (S6.6).
    ForgetsApprovals,
    /// The lock is not given back (S9.4).
    KeepsTheLock,
    /// A secret is written into a file (S13.4).
    WritesTheSecret,
    /// A resume that has nothing to do leaves something behind (S9.5).
    ResumesAgain,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ActsTwice,
        Self::ActsUntold,
        Self::RecordsTwice,
        Self::StaleEpoch,
        Self::ForgetsApprovals,
        Self::KeepsTheLock,
        Self::WritesTheSecret,
        Self::ResumesAgain,
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|how| how.to_string() == name)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// The directory that a step deploys to, where it does.
pub(super) fn directory(inputs: &Inputs) -> Option<&Path> {
    inputs.target.0.get("directory").map(Path::new)
}

/// Takes away what is deployed in a directory. Whether there was anything.
pub(super) fn take_away(directory: &Path) -> bool {
    std::fs::remove_file(directory.join("current")).is_ok()
}

/// Writes a file that nobody asked for beside the ledger's world.
pub(super) fn leave_something() {
    let _ = std::fs::write(
        format!("../shared/live/resumed-{}", std::process::id()),
        "once more
",
    );
}

/// Drafts as somebody writes them who does not keep to the rules.
pub(super) fn drafts(drafts: &[Draft], how: impl Fn(Broken) -> bool) -> Vec<Draft> {
    let mut out = Vec::new();
    for draft in drafts {
        let mut draft = draft.clone();
        let is_effect = matches!(draft.event, Event::StepEffect { .. });
        if let (Event::RunStarted { approvals, .. }, true) = (&mut draft.event, how(Broken::ForgetsApprovals)) {
            approvals.clear();
        }
        if is_effect && how(Broken::StaleEpoch) {
            draft.epoch = Some(1);
        }
        if is_effect && how(Broken::RecordsTwice) {
            let rid = format!("{}-again", draft.rid);
            out.push(Draft { rid, ..draft.clone() });
        }
        out.push(draft);
    }
    out
}
