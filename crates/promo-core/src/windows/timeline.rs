//! Occurrences turned into instants. What lives here: naive bounds, stretches of constant offset, and how the two meet
//! for an allow and for a deny (S5.3, S16). What must not: scope and precedence.
//!
//! Everything is in whole seconds, of naive local time or of Unix time. That is exact: windows have whole minutes, and
//! the time zone database has no transitions inside a second.

use alloc::vec::Vec;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::civil::{DAY, midnight};
use super::spec::Effect;
use super::window::{Hours, Schedule, Window};

/// A stretch of Unix time, half-open.
pub(super) type Span = (i64, i64);

/// One occurrence in naive local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occurrence {
    /// The date that its day filter, valid range and exceptions were asked about.
    pub(super) day: Date,
    pub(super) start: i64,
    pub(super) end: i64,
}

/// A stretch of Unix time with one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: i64,
    until: i64,
    offset: i64,
}

/// How a zone's clock goes, exact from `lo` to `hi` of [`Clock::new`].
pub(super) struct Clock(Vec<Stretch>);

impl Clock {
    /// The clock of the window's zone from `lo` to `hi`, Unix seconds.
    pub(super) fn new(window: &Window, lo: i64, hi: i64) -> Self {
        let zone = window.zone();
        let first = timestamp(lo);
        let mut offset = i64::from(zone.to_offset(first).seconds());
        let mut from = i64::MIN;
        let mut stretches = Vec::new();
        for transition in zone.following(first).take_while(|transition| transition.timestamp().as_second() <= hi) {
            let (at, next) = (transition.timestamp().as_second(), i64::from(transition.offset().seconds()));
            if next != offset {
                stretches.push(Stretch { from, until: at, offset });
                (from, offset) = (at, next);
            }
        }
        stretches.push(Stretch { from, until: i64::MAX, offset });
        Self(stretches)
    }

    /// The instants at which the clock reads a time in `[start, end)`: none inside a skipped hour, two pieces where an
    /// hour is repeated.
    pub(super) fn membership(&self, occurrence: &Occurrence) -> Vec<Span> {
        let pieces = self.0.iter().filter_map(|stretch| {
            let from = stretch.from.max(occurrence.start - stretch.offset);
            let until = stretch.until.min(occurrence.end - stretch.offset);
            (from < until).then_some((from, until))
        });
        merged(pieces.collect())
    }

    /// The first instant at which the clock reads `naive` or more.
    pub(super) fn reached(&self, naive: i64) -> i64 {
        let found = self.0.iter().find_map(|stretch| {
            let at = stretch.from.max(naive - stretch.offset);
            (at < stretch.until).then_some(at)
        });
        // The last stretch has no end.
        found.unwrap_or(i64::MAX)
    }

    /// From the first instant at which the start is read to the last at which the end is read. A bound that is skipped
    /// counts as read at the jump, so that a window wholly inside a skipped hour is empty here too.
    pub(super) fn hull(&self, occurrence: &Occurrence) -> Option<Span> {
        let from = self.reached(occurrence.start);
        let until = self.0.iter().rev().find_map(|stretch| {
            let read = occurrence.end - stretch.offset;
            (read >= stretch.from).then_some(read.min(stretch.until))
        })?;
        (from < until).then_some((from, until))
    }
}

/// The occurrences of `window` that can be in force between two instants, Unix seconds; some more on either side.
pub(super) fn occurrences(window: &Window, lo: i64, hi: i64) -> Vec<Occurrence> {
    // No zone is more than 26 hours off, a jump over the date line skips a day, and an occurrence of the day kind takes
    // up to two days.
    let local = |second: i64| window.zone().to_datetime(timestamp(second)).date();
    let mut first = local(lo).saturating_sub(4.days());
    let mut last = local(hi).saturating_add(3.days());
    let mut found = Vec::new();
    let mut add = |day: Date, start: i64, end: i64| {
        if start < end && window.may_start_on(day) {
            found.push(Occurrence { day, start, end });
        }
    };
    match &window.schedule {
        Schedule::Days(days, hours) => {
            first = window.valid.0.map_or(first, |from| first.max(from));
            last = window.valid.1.map_or(last, |until| last.min(until));
            let mut day = first;
            let mut base = midnight(day);
            while day <= last {
                if days.contain(day) {
                    add(day, base + 60 * i64::from(hours.start), base + 60 * i64::from(hours.end));
                }
                let Ok(next) = day.tomorrow() else { break };
                (day, base) = (next, base + DAY);
            }
        }
        Schedule::YearSpan { from, until, hours } => {
            for year in first.year().saturating_sub(2)..=last.year() {
                if let Some((day, start, end)) = year_span(year, *from, *until, *hours) {
                    add(day, start, end);
                }
            }
        }
        Schedule::Once { day, start, end } => add(*day, *start, *end),
    }
    found
}

/// The span that starts in `year`. A bound on the 29th of February is the nearest day inside the span in other years.
fn year_span(year: i16, from: (i8, i8), until: (i8, i8), hours: Hours) -> Option<(Date, i64, i64)> {
    let first = Date::new(year, from.0, from.1).or_else(|_| Date::new(year, 3, 1)).ok()?;
    let last_year = if until < from { year.checked_add(1)? } else { year };
    let last = Date::new(last_year, until.0, until.1).or_else(|_| Date::new(last_year, 2, 28)).ok()?;
    if last < first {
        return None;
    }
    let hours = if first == last { hours.within_days() } else { hours };
    Some((first, midnight(first) + 60 * i64::from(hours.start), midnight(last) + 60 * i64::from(hours.end)))
}

/// When `window` is in force between two instants, Unix seconds: sorted, disjoint, not touching. Exact for every instant
/// in `[lo, hi)`; what lies outside may be missing or cut.
pub(super) fn in_force(window: &Window, lo: i64, hi: i64) -> Vec<Span> {
    let occurrences = occurrences(window, lo, hi);
    let (Some(first), Some(last)) =
        (occurrences.iter().map(|one| one.start).min(), occurrences.iter().map(|one| one.end).max())
    else {
        return Vec::new();
    };
    let clock = Clock::new(window, first - 3 * DAY, last + 3 * DAY);
    let mut spans = Vec::with_capacity(occurrences.len());
    for occurrence in &occurrences {
        match window.effect() {
            Effect::Allow => spans.extend(clock.membership(occurrence)),
            Effect::Deny => spans.extend(clock.hull(occurrence)),
        }
    }
    merged(spans)
}

/// Whether one of these sorted, disjoint spans contains `at`.
pub(super) fn covers(spans: &[Span], at: i64) -> bool {
    let after = spans.partition_point(|span| span.0 <= at);
    after > 0 && at < spans[after - 1].1
}

/// Unix seconds, rounded down: an instant is in a half-open span of whole seconds exactly when its second is.
pub(super) fn second(at: Timestamp) -> i64 {
    at.as_second() - i64::from(at.subsec_nanosecond() < 0)
}

/// The instant, or the nearest that there is.
pub(super) fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(if second < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match out.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => out.push(span),
        }
    }
    out
}
