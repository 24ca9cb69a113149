//! A way back that was tried, as the ledger tells it, format 1: of which release, how it ended and how long it took.

use jiff::Timestamp;
use promo_core::ids::{EnvironmentName, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::PromotionOutcome;
use promo_core::ledger::view::Promotion;
use promo_core::planner;
use promo_engine::Session;
use schemars::JsonSchema;
use serde::Serialize;

use super::ReleaseView;
use crate::error::CliError;
use crate::escape::line;
use crate::output::labels::{Label, label};
use crate::output::{standing as words, time};

/// A way back that was tried, or is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DrillView {
    /// The run that did it.
    pub(crate) run: RunId,
    /// The release that it went back to.
    pub(crate) back: ReleaseView,
    /// `under-way`; `passed` where the way back worked and what ran came again; `failed` where the way back did not work, and
    /// what ran came again; `broken-off` where that did not come again, or nothing was changed.
    pub(crate) state: &'static str,
    /// When the way back ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turned: Option<Timestamp>,
    /// How long the way back took until it was verified, from its first intent, by the ledger's clock, in milliseconds; absent
    /// where it was not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) milliseconds: Option<u64>,
    /// Whether its run was interrupted on the way back: then how long it took says nothing of a rollback.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) interrupted: bool,
    /// Why the way back failed; absent where that is not on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    #[serde(skip)]
    told: Option<u64>,
}

impl DrillView {
    /// What a promotion of this ledger tried; none where it was no drill.
    pub(crate) fn new(view: &View, promotion: &Promotion) -> Option<Self> {
        let drill = promotion.drill.as_ref()?;
        let turned = drill.turned.as_ref();
        let passed = turned.is_some_and(|turned| turned.passed);
        let state = match (promotion.finished, turned) {
            (None, _) => "under-way",
            (Some((_, PromotionOutcome::Verified)), Some(_)) if passed => "passed",
            (Some((_, PromotionOutcome::Verified)), Some(_)) => "failed",
            _ => "broken-off",
        };
        Some(Self {
            run: promotion.run.clone(),
            back: ReleaseView::of(&planner::reference(view, &drill.back)),
            state,
            turned: turned.map(|turned| turned.at),
            milliseconds: drill.took().filter(|_| passed).and_then(|took| u64::try_from(took.as_millis()).ok()),
            interrupted: turned.is_some_and(|turned| turned.resumed),
            why: None,
            told: turned.and_then(|turned| turned.told),
        })
    }

    /// The same with why it failed, which stands beside its record.
    pub(crate) fn of(session: &Session, view: &View, promotion: &Promotion) -> Result<Option<Self>, CliError> {
        let Some(known) = Self::new(view, promotion) else { return Ok(None) };
        known.seen(|seq| session.detail_seen(seq)).map(Some).map_err(Into::into)
    }

    /// The last one that ended of the way back from what runs in an environment.
    pub(crate) fn last(session: &Session, view: &View, name: &EnvironmentName) -> Result<Option<Self>, CliError> {
        let current = view.current(name).map(|residence| &residence.release);
        let last = current.and_then(|current| view.environment(name)?.last_drill(current));
        last.map(|promotion| Self::of(session, view, promotion)).transpose().map(Option::flatten)
    }

    pub(super) fn seen<E>(mut self, detail: impl Fn(u64) -> Result<Option<String>, E>) -> Result<Self, E> {
        self.why = self.told.map(detail).transpose()?.flatten();
        Ok(self)
    }

    /// `42 s`, and that it was interrupted; nothing where the way back was not verified.
    pub(crate) fn took(&self) -> Option<String> {
        let interrupted = if self.interrupted { ", interrupted on the way" } else { "" };
        self.milliseconds.map(|milliseconds| format!("{}{interrupted}", time::took(milliseconds)))
    }

    /// One line about one that ended, with its sign.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        let back = line(&self.back.text());
        let ago = self.turned.map(|at| format!(" {} ago", time::ago(at, now))).unwrap_or_default();
        let took = self.took().map(|took| format!(": {took}")).unwrap_or_default();
        match self.state {
            "passed" => label(Label::Good, &format!("✓ a rollback to {back} was drilled{ago}{took}")),
            "failed" => {
                let why = self.why.as_deref().map(|why| format!(": {}", words::reason(why, &self.run)));
                let why = why.unwrap_or_default();
                label(Label::Bad, &format!("✗ the drill of a rollback to {back} failed{ago}{why}"))
            }
            _ => label(Label::Waiting, &format!("… a drill of a rollback to {back} was broken off (run {})", self.run)),
        }
    }
}
