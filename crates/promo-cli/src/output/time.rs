//! Instants as people read them, in the zone that was asked for.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::gate::Seconds;

/// `Fri 2026-11-20 14:02 UTC`.
pub(crate) fn long(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// `2026-11-20 14:02 UTC`.
pub(crate) fn short(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// As short as it can be said on the day of `now`: `14:02` on the same day, `Mon 23 Nov 09:00 UTC` else.
pub(crate) fn near(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let format = match (at.date() == now.date(), at.year() == now.year()) {
        (true, _) => "%H:%M",
        (false, true) => "%a %d %b %H:%M %Z",
        (false, false) => "%a %d %b %Y %H:%M %Z",
    };
    at.strftime(format).to_string()
}

/// How long from `now` until `at`: `3 h 12 min`; a minute that has begun counts.
pub(crate) fn left(at: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(at.duration_since(now).as_secs()).unwrap_or(0);
    let seconds = if seconds > 120 { seconds.div_ceil(60) * 60 } else { seconds };
    Seconds(seconds).to_string()
}

/// How long ago `at` was: `3 h 12 min`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
    Seconds(if seconds > 120 { seconds / 60 * 60 } else { seconds }).to_string()
}

/// How long something took, to the nearest second from one on: `420 ms`, `42 s`, `3 min 10 s`.
pub(crate) fn took(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        Seconds(milliseconds.saturating_add(500) / 1000).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_short_as_they_can_be_said() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let berlin = promo_core::windows::zone("Europe/Berlin").unwrap();
        let now = at("2026-11-20T13:02:00Z");
        assert_eq!(long(now, &berlin), "Fri 2026-11-20 14:02 CET");
        assert_eq!(near(at("2026-11-20T15:00:00Z"), now, &berlin), "16:00");
        assert_eq!(near(at("2026-11-23T08:00:00Z"), now, &berlin), "Mon 23 Nov 09:00 CET");
        assert_eq!(near(at("2027-01-04T08:00:00Z"), now, &TimeZone::UTC), "Mon 04 Jan 2027 08:00 UTC");
        assert_eq!(left(at("2026-11-20T16:13:59Z"), now), "3 h 12 min");
        assert_eq!([420, 2930, 42_100].map(took), ["420 ms", "3 s", "42 s"]);
        assert_eq!(left(at("2026-11-20T13:02:30Z"), now), "30 s");
        assert_eq!(ago(at("2026-11-20T12:00:01Z"), now), "1 h 1 min");
    }
}
