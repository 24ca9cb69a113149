//! Dates and times of day as text, and as seconds of naive local time. What lives here: the strict readers of the forms
//! that a window may use. What must not: zones.

use alloc::format;
use alloc::string::{String, ToString};

use jiff::civil::{Date, date};

/// Seconds of a day that has 24 hours.
pub(super) const DAY: i64 = 86_400;

/// Minutes of such a day.
pub(super) const DAY_MINUTES: u16 = 1_440;

/// Years that a date may name. Wide enough for any window, and far enough from the ends of jiff's range that no
/// occurrence can leave it.
const YEARS: core::ops::RangeInclusive<i16> = 1970..=9000;

/// Why a text was not read, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Unreadable {
    pub(super) fn new(message: String, help: &str) -> Self {
        Self { message, help: (!help.is_empty()).then(|| help.to_string()) }
    }
}

/// Seconds of naive local time from 1970-01-01T00:00 to the start of `day`.
pub(super) fn midnight(day: Date) -> i64 {
    day.duration_since(date(1970, 1, 1)).as_secs()
}

/// Minutes since midnight; `24:00` is 1440.
pub(super) fn time(text: &str) -> Result<u16, Unreadable> {
    let wrong = |message: String, help: &str| Err(Unreadable::new(message, help));
    let parts: alloc::vec::Vec<&str> = text.split(':').collect();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [hour, minute] if digits(hour) && digits(minute) && hour.len() <= 2 && minute.len() == 2 => {
            let (hour, minute) = (hour.parse::<u16>().unwrap_or(99), minute.parse::<u16>().unwrap_or(99));
            if minute > 59 || hour > 24 || (hour == 24 && minute > 0) {
                return wrong(format!("there is no time of day `{text}`"), "");
            }
            if text.len() < 5 {
                return wrong(
                    format!("`{text}` lacks a digit"),
                    &format!("write two digits: \"{hour:02}:{minute:02}\""),
                );
            }
            Ok(hour * 60 + minute)
        }
        [hour, minute, second]
            if digits(hour) && digits(minute) && second.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            if second.contains(['Z', 'z', '+', '-']) {
                return wrong(format!("`{text}` carries an offset"), "the zone is that of `timezone`");
            }
            wrong(format!("`{text}` carries seconds"), &format!("windows have whole minutes: \"{hour}:{minute}\""))
        }
        _ => wrong(format!("`{text}` is not a time of day"), "write \"HH:MM\", for instance \"09:00\""),
    }
}

/// A date `YYYY-MM-DD`.
pub(super) fn full_date(text: &str) -> Result<Date, Unreadable> {
    const HELP: &str = "write \"YYYY-MM-DD\", for instance \"2026-12-24\"";
    let Some([year, month, day]) = numbers::<3>(text, [4, 2, 2]) else {
        return Err(Unreadable::new(format!("`{text}` is not a date"), HELP));
    };
    let read = Date::new(year, month.try_into().unwrap_or(0), day.try_into().unwrap_or(0))
        .map_err(|_| Unreadable::new(format!("there is no day `{text}`"), ""))?;
    if YEARS.contains(&read.year()) {
        Ok(read)
    } else {
        let (first, last) = (YEARS.start(), YEARS.end());
        Err(Unreadable::new(format!("the year of `{text}` is not between {first} and {last}"), ""))
    }
}

/// Month and day `MM-DD`; the 29th of February is one.
pub(super) fn month_day(text: &str) -> Result<(i8, i8), Unreadable> {
    const HELP: &str = "write \"MM-DD\", for instance \"12-24\"";
    let Some([month, day]) = numbers::<2>(text, [2, 2]) else {
        return Err(Unreadable::new(format!("`{text}` is not a month and a day"), HELP));
    };
    // 2024 is a leap year, so it has every day that any year has.
    Date::new(2024, month.try_into().unwrap_or(0), day.try_into().unwrap_or(0))
        .map(|read| (read.month(), read.day()))
        .map_err(|_| Unreadable::new(format!("no year has a day `{text}`"), HELP))
}

/// A date and a time of day, `YYYY-MM-DDTHH:MM` (a space does for the `T`): the date, and seconds of naive local time.
pub(super) fn date_time(text: &str) -> Result<(Date, i64), Unreadable> {
    let Some((day, clock)) = text.split_once(['T', 't', ' ']) else {
        return Err(Unreadable::new(
            format!("`{text}` is not a date and a time of day"),
            "write \"YYYY-MM-DDTHH:MM\", for instance \"2026-12-24T18:00\"",
        ));
    };
    let day = full_date(day)?;
    if clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']) {
        return Err(Unreadable::new(format!("`{text}` carries an offset"), "the zone is that of `timezone`"));
    }
    Ok((day, midnight(day) + 60 * i64::from(time(clock)?)))
}

/// Numbers of exactly these widths with a hyphen between them.
fn numbers<const N: usize>(text: &str, widths: [usize; N]) -> Option<[i16; N]> {
    let mut read = [0; N];
    let mut parts = text.split('-');
    for (slot, width) in read.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_2_times_have_hours_and_minutes_and_24_00_is_one() {
        assert_eq!(time("00:00"), Ok(0));
        assert_eq!(time("09:30"), Ok(570));
        assert_eq!(time("24:00"), Ok(1440));
        for text in
            ["9:00", "24:01", "25:00", "12:60", "12:0", "1200", "", "ab:cd", "-1:00", "12:00 ", "+9:00", "99:99"]
        {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(time("9:00").unwrap_err().help.unwrap(), "write two digits: \"09:00\"");
    }

    #[test]
    fn s16_seconds_are_refused() {
        assert!(time("09:00:30").unwrap_err().message.contains("seconds"));
        assert!(time("09:00:00").unwrap_err().message.contains("seconds"));
        assert!(time("09:00:00Z").unwrap_err().message.contains("offset"));
    }

    #[test]
    fn dates_are_read_strictly() {
        assert_eq!(full_date("2028-02-29"), Ok(date(2028, 2, 29)));
        for text in ["2026-02-29", "2026-2-03", "26-02-03", "2026-02-03-04", "2026/02/03", "1969-12-31", "9001-01-01"] {
            assert!(full_date(text).is_err(), "{text}");
        }
        assert_eq!(month_day("02-29"), Ok((2, 29)));
        assert!(month_day("02-30").is_err() && month_day("2-3").is_err() && month_day("13-01").is_err());
        assert_eq!(date_time("1970-01-02T00:01"), Ok((date(1970, 1, 2), 86_460)));
        assert_eq!(date_time("1970-01-01 24:00"), Ok((date(1970, 1, 1), 86_400)));
        assert!(date_time("2026-01-01T10:00Z").unwrap_err().message.contains("offset"));
        assert!(date_time("2026-01-01T10:00+01:00").unwrap_err().message.contains("offset"));
        assert!(date_time("2026-01-01").is_err());
    }

    #[test]
    fn naive_seconds_count_days_of_24_hours() {
        assert_eq!(midnight(date(1970, 1, 1)), 0);
        assert_eq!(midnight(date(1969, 12, 31)), -DAY);
        assert_eq!(midnight(date(2000, 3, 1)), 11_017 * DAY);
    }
}
