//! What `promo check` says about windows that are right in form and surprising in effect. What lives here: the search
//! for them. What must not: refusals, which are `window`'s.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use jiff::civil::Date;

use super::civil::{DAY, midnight};
use super::spec::Effect;
use super::timeline::{self, Clock};
use super::window::{Schedule, Window};

/// How many days ahead `promo check` looks (S5.3).
pub const WARNING_DAYS: u32 = 400;

/// The longest that a recurring window can be without an occurrence: the 29th of February, over a century that is not a
/// leap year, and some months.
const LONGEST_PAUSE: i64 = (8 * 366 + 100) * DAY;

/// What is surprising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// The clock skips the whole of an occurrence.
    Empty {
        /// The local date on which it would start.
        day: Date,
    },
    /// The clock is set back and the occurrence comes twice.
    Doubled {
        /// The local date on which it starts.
        day: Date,
        /// When the clock reads a time of the window, half-open.
        pieces: Vec<(Timestamp, Timestamp)>,
    },
    /// An allow that does not open any more, and still closes its level.
    OverForGood,
}

/// A warning about one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowWarning {
    /// The window's id.
    pub window: String,
    /// What it is.
    pub kind: WarningKind,
    /// The same for people, one sentence without a full stop.
    pub message: String,
}

/// The occurrences of `window` within `horizon_days` days after `from` that will be empty or doubled because a clock
/// changes, and whether it is an allow that is over for good.
#[must_use]
pub fn warnings(window: &Window, from: Timestamp, horizon_days: u32) -> Vec<WindowWarning> {
    let lo = timeline::second(from);
    let hi = lo + i64::from(horizon_days) * DAY;
    let id = window.id();
    let warn = |kind: WarningKind, message: String| WindowWarning { window: id.to_string(), kind, message };
    let zone = &window.spec().timezone;
    let mut found = Vec::new();
    for occurrence in timeline::occurrences(window, lo, hi) {
        let clock = Clock::new(window, occurrence.start - 3 * DAY, occurrence.end + 3 * DAY);
        let pieces = clock.membership(&occurrence);
        let day = occurrence.day;
        let Some((first, last)) = pieces.first().zip(pieces.last()) else {
            // It has no instants of its own, so its place among them is that of the jump.
            let at = clock.reached(occurrence.start);
            if (lo..hi).contains(&at) {
                let message = format!("`{id}` is empty on {day}: the clock of {zone} skips these hours");
                found.push(warn(WarningKind::Empty { day }, message));
            }
            continue;
        };
        if last.1 <= lo || first.0 >= hi {
            continue;
        }
        let total: i64 = pieces.iter().map(|piece| piece.1 - piece.0).sum();
        if pieces.len() > 1 || total >= 2 * (occurrence.end - occurrence.start) {
            let effect = match window.effect() {
                Effect::Allow => "it is open in both passes",
                Effect::Deny => "it is in force from the first to the second",
            };
            let message = format!("`{id}` comes twice on {day}: the clock of {zone} is set back, {effect}");
            let pieces =
                pieces.iter().map(|piece| (timeline::timestamp(piece.0), timeline::timestamp(piece.1))).collect();
            found.push(warn(WarningKind::Doubled { day, pieces }, message));
        }
    }
    if window.effect() == Effect::Allow && is_over(window, lo) {
        let message = format!("`{id}` does not open any more, and still closes what it is about");
        found.push(warn(WarningKind::OverForGood, message));
    }
    found
}

/// Whether `window` is in force at no instant from `lo` on.
pub(super) fn is_over(window: &Window, lo: i64) -> bool {
    let open_after = |from: i64, until: i64| {
        timeline::in_force(window, from, until.max(from) + 3 * DAY).last().is_some_and(|last| last.1 > lo)
    };
    if let Schedule::Once { end, .. } = &window.schedule {
        return *end + 3 * DAY < lo || !open_after(lo, *end);
    }
    // A recurring window comes back within the longest pause once its valid range has begun, and excepted dates can only
    // delay that: so it is enough to look at the time from now, and at that after the last of these dates.
    let last_date = window.valid.0.into_iter().chain(window.except.iter().copied()).map(midnight).fold(lo, i64::max);
    ![(lo, lo + 14 * DAY), (lo, lo + LONGEST_PAUSE), (last_date, last_date + LONGEST_PAUSE)]
        .into_iter()
        .any(|(from, until)| open_after(from, until))
}
