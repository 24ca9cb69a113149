//! Glue between the pure core and the outside world: observes, plans, applies reviewed plans and records what happened.

pub mod appliers;
pub mod apply;
pub mod approvals;
mod ask;
mod authority;
pub mod authors;
mod blocking;
mod checks;
pub mod clock;
mod contract;
pub mod error;
pub mod governance;
pub mod lifts;
mod looks;
mod metadata;
mod observe;
mod planning;
pub mod process;
pub mod progress;
mod readiness;
pub mod releases;
pub mod requests;
pub mod session;
pub mod signature;
pub mod verdicts;

pub use apply::{ApplyOptions, Fate, Holder, RunReport, Sign, consistent};
pub use ask::Unfinished;
pub use authority::{Asked, Authority, Stated};
pub use error::{EngineError, exit};
pub use looks::{ERASED, OpenRun, Pending, PendingMove};
pub use observe::readable;
pub use planning::PLAN_LIFETIME;
pub use progress::{Progress, Sink};
pub use readiness::{readiness, unsound};
pub use releases::{NewRelease, SharedChange};
pub use session::{Governance, Providers, Session, TOOL, outside};
