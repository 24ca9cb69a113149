//! That a configuration came somewhere with another release that failed there. What must not live here: how that is found.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::ids::RunId;
use promo_core::ledger::View;
use promo_core::planner;
use promo_engine::FailedWith;
use schemars::JsonSchema;
use serde::Serialize;

use super::ReleaseView;
use crate::error::command_line;
use crate::escape;
use crate::output::time;

/// What of an environment's own configuration came with another release that failed there. It bars nothing, since nobody can tell
/// which of the two was at fault.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct FailedWithView {
    /// The run that failed.
    pub(crate) run: RunId,
    /// The release that it brought.
    pub(crate) release: ReleaseView,
    /// When it ended.
    pub(crate) at: Timestamp,
    /// The files that would come again as they were then, and `the pipeline file` where that is its settings.
    pub(crate) files: Vec<String>,
}

impl FailedWithView {
    /// The view of what was found.
    pub(crate) fn of(view: &View, found: FailedWith) -> Self {
        let release = ReleaseView::of(&planner::reference(view, &found.release));
        Self { run: found.run, release, at: found.at, files: found.files }
    }

    /// The same in words.
    pub(crate) fn words(&self, now: Timestamp, zone: &TimeZone) -> String {
        self.told(&format!(", {}", time::near(self.at, now, zone)))
    }

    /// The same where no times are told but those of a plan.
    pub(crate) fn untimed(&self) -> String {
        self.told("")
    }

    fn told(&self, at: &str) -> String {
        let files: Vec<String> = self.files.iter().map(|file| escape::line(file)).collect();
        let show = command_line(["promo", "show", self.run.as_str()]);
        format!(
            "with the configuration ({}) that failed here with {}{at} (`{show}`): which of the two was at fault is not known",
            files.join(", "),
            escape::line(&self.release.text())
        )
    }
}
