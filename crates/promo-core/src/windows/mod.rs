//! Windows and freezes: when something may be promoted.
//!
//! What lives here: the written form of a window ([`WindowSpec`]), the checked form ([`Window`]), the only place where a
//! time zone is looked up ([`zone`]), the evaluation of windows of several levels at an instant ([`evaluate`]) and the
//! warnings that `promo check` gives ([`warnings`]). What must not: reading a clock, the machine's zone or its zone
//! files, deciding about anything but time (the gates do that), and TOML positions (a [`WindowError`] names a field and
//! the configuration layer knows where that field stands).
//!
//! All comparisons are made on whole seconds of naive local time. A window is a set of *occurrences*, each a half-open
//! stretch of naive local time that belongs to the day on which it starts; `timeline` turns them into instants.

mod answer;
mod civil;
mod spec;
mod timeline;
mod warning;
mod window;
mod zone;

pub use answer::{Answer, ClosedLevel, DenyInForce, HORIZON_DAYS, Level, Query, State, bound, evaluate, over};
pub use spec::{
    Action, CivilText, Day, Effect, Invoker, Monthly, Nth, Once, Severity, Valid, Weekly, WindowSpec, Yearly,
};
pub use warning::{WARNING_DAYS, WarningKind, WindowWarning, warnings};
pub use window::{Window, WindowError};
pub use zone::{ZoneError, tzdb_version, zone};
