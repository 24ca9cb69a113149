//! How long a grant is valid (S6.5). What must not live here: whether a window is open now; the gates say that.

use jiff::{SignedDuration, Timestamp};

use super::statement::MAX_LIFETIME;
use crate::windows::{Level, Query, evaluate};

/// How long a grant is valid at least.
const AT_LEAST: SignedDuration = SignedDuration::from_hours(24);

/// Until when a grant given at `now` is valid: the later of 24 hours and the close of the next window to open, at most 7
/// days. A window that is open now is not one to open.
#[must_use]
pub fn grant_until(levels: &[Level], query: &Query<'_>, now: Timestamp) -> Timestamp {
    let after = |lifetime| now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
    let (least, most) = (after(AT_LEAST), after(MAX_LIFETIME));
    let next = |from: Timestamp| evaluate(levels, query, from).next_change;
    let opens = if evaluate(levels, query, now).is_open() { next(now).and_then(next) } else { next(now) };
    opens.and_then(next).map_or(least, |closes| closes.clamp(least, most))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::windows::{Action, Effect, Invoker, Window, WindowSpec};

    fn until(weekly: Option<&str>, now: &str) -> alloc::string::String {
        let windows = weekly.map(|weekly| {
            let mut spec = WindowSpec::new(Effect::Allow, "UTC");
            spec.weekly = Some(serde_json::from_str(weekly).unwrap());
            Window::new("w", spec).unwrap()
        });
        let levels = vec![Level { name: "production".into(), windows: windows.into_iter().collect() }];
        let query =
            Query { environment: "production", artifacts: &["app"], action: Action::Promote, invoker: Invoker::Human };
        let at = grant_until(&levels, &query, now.parse().unwrap());
        alloc::string::ToString::to_string(&at)
    }

    #[test]
    fn a_grant_lasts_until_the_next_window_closes_and_24_h_to_7_days_s6_5() {
        let office = r#"{"days": ["mon", "tue", "wed", "thu"], "start": "09:00", "end": "16:00"}"#;
        let tuesday = r#"{"days": ["tue"], "start": "09:00", "end": "16:00"}"#;
        for (weekly, now, expected) in [
            // 2026-03-23 is a Monday.
            (None, "2026-03-23T10:00:00Z", "2026-03-24T10:00:00Z"),
            (Some(office), "2026-03-23T10:00:00Z", "2026-03-24T16:00:00Z"),
            (Some(office), "2026-03-23T08:00:00Z", "2026-03-24T08:00:00Z"),
            (Some(office), "2026-03-26T17:00:00Z", "2026-03-30T16:00:00Z"),
            (Some(tuesday), "2026-03-25T10:00:00Z", "2026-03-31T16:00:00Z"),
            (Some(tuesday), "2026-03-24T10:00:00Z", "2026-03-31T10:00:00Z"),
        ] {
            assert_eq!(until(weekly, now), expected, "{weekly:?} at {now}");
        }
    }
}
