//! The frozen views of plans and runs, format 1: what `--format json` prints, and what text, Markdown and HTML are drawn from.
//! What must not live here: layout, and anything that the plan, its digest and the forecasts, or the ledger, do
//! not say.

pub(crate) mod adopt;
pub(crate) mod answers;
pub(crate) mod approving;
mod authority;
pub(crate) mod compare;
pub(crate) mod drift;
mod drill;
pub(crate) mod evidence;
mod failed_with;
pub(crate) mod forming;
pub(crate) mod gate;
mod gate_way;
pub(crate) mod judged;
pub(crate) mod passage;
mod places;
mod plan;
mod release;
pub(crate) mod row;
pub(crate) mod run;
pub(crate) mod source;
pub(crate) mod standing;
mod summary;
pub(crate) mod ways;

pub(crate) use answers::Answer;
pub(crate) use authority::{AskedView, AuthorityView, StatedView};
pub(crate) use drill::DrillView;
pub(crate) use failed_with::FailedWithView;
pub(crate) use gate::GateView;
pub(crate) use gate_way::leads_on;
pub(crate) use plan::{Forecasts, PlanView};
pub(crate) use release::ReleaseView;
pub(crate) use row::{ArtifactView, DriftView, Row, RowState, next_of};
pub(crate) use run::{RunRow, RunStep, RunView};
pub(crate) use standing::Standing;
pub(crate) use summary::{NextCommand, not_released};
