//! A window that has been checked. What lives here: every refusal, each with the field it is about, and the schedule in
//! a form that can be computed with. What must not: the arithmetic of instants, which is `timeline`'s.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::civil::{self, DAY_MINUTES, Unreadable};
use super::spec::{Action, CivilText, Day, Effect, Invoker, Monthly, Nth, Once, Severity, WindowSpec, Yearly};
use super::timeline;
use super::zone::zone;

/// One thing that is wrong with a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct WindowError {
    /// Where, as a path below the window: `timezone`, `weekly.start`, `except[2]`. Empty for the window as a whole.
    pub field: String,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// A window whose fields have been checked, with its zone looked up.
#[derive(Debug, Clone)]
pub struct Window {
    id: String,
    spec: WindowSpec,
    zone: TimeZone,
    pub(super) schedule: Schedule,
    pub(super) valid: (Option<Date>, Option<Date>),
    pub(super) except: Vec<Date>,
}

/// When occurrences are, in naive local time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Schedule {
    /// One occurrence on each day that passes the filter.
    Days(Days, Hours),
    /// One occurrence a year over several days.
    YearSpan { from: (i8, i8), until: (i8, i8), hours: Hours },
    /// One occurrence: the date of its start, and its bounds in seconds of naive local time.
    Once { day: Date, start: i64, end: i64 },
}

/// Which days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    /// From Monday to Sunday.
    Week([bool; 7]),
    /// A day number of each month.
    MonthDay(i8),
    /// The nth such weekday (0 is Monday) of each month.
    Nth(i8, i8),
    /// The last such weekday of each month.
    Last(i8),
    /// Month and day, both bounds included, over the turn of the year when the second comes first.
    Year((i8, i8), (i8, i8)),
}

/// Minutes from midnight; `end` may lie on the next day, except in a span over several days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hours {
    pub(super) start: u16,
    pub(super) end: u16,
}

impl Hours {
    const WHOLE_DAY: Self = Self { start: 0, end: DAY_MINUTES };

    /// With an end at or before the start moved to the next day (S5.2).
    pub(super) fn within_days(self) -> Self {
        if self.end <= self.start { Self { end: self.end + DAY_MINUTES, ..self } } else { self }
    }
}

impl Days {
    pub(super) fn contain(&self, day: Date) -> bool {
        let weekday = day.weekday().to_monday_zero_offset();
        match *self {
            Self::Week(days) => usize::try_from(weekday).is_ok_and(|index| days[index]),
            Self::MonthDay(number) => day.day() == number,
            Self::Nth(nth, wanted) => weekday == wanted && (day.day() - 1) / 7 + 1 == nth,
            Self::Last(wanted) => weekday == wanted && day.day() + 7 > day.days_in_month(),
            Self::Year(from, until) => {
                let this = (day.month(), day.day());
                if from <= until { from <= this && this <= until } else { from <= this || this <= until }
            }
        }
    }
}

impl Window {
    /// Checks `spec` and looks up its zone.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the fields.
    pub fn new(id: impl Into<String>, spec: WindowSpec) -> Result<Self, Vec<WindowError>> {
        let mut check = Check::default();
        let found = match zone(&spec.timezone) {
            Ok(found) => Some(found),
            Err(error) => {
                check.refuse("timezone", error.to_string(), &error.help());
                None
            }
        };
        let schedule = check.schedule(&spec);
        let valid = check.valid(&spec);
        let except = check.except(&spec);
        check.scope(&spec);
        match (found, schedule) {
            (Some(zone), Some(schedule)) if check.errors.is_empty() => {
                Ok(Self { id: id.into(), spec, zone, schedule, valid, except })
            }
            _ => Err(check.errors),
        }
    }

    /// Its name in the file that declares it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As it was written.
    #[must_use]
    pub fn spec(&self) -> &WindowSpec {
        &self.spec
    }

    /// The zone its times are read in, for showing instants in the same words.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Allow or deny.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.spec.effect
    }

    /// What it takes to override it, for a deny; `None` for an allow.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        (self.spec.effect == Effect::Deny).then(|| self.spec.severity.unwrap_or_default())
    }

    /// The actions it binds.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        self.spec.actions.as_deref().unwrap_or(&Action::DEFAULT)
    }

    /// Whether it binds this invoker.
    #[must_use]
    pub fn binds(&self, invoker: Invoker) -> bool {
        self.spec.invokers.as_ref().is_none_or(|named| named.contains(&invoker))
    }

    /// Whether it is about this environment and artifact. `None` is a question about no
    /// artifact: a window that names artifacts is not about it.
    #[must_use]
    pub fn is_about(&self, environment: &str, artifact: Option<&str>) -> bool {
        let named = |list: &Option<Vec<String>>, name: Option<&str>| {
            list.as_ref().is_none_or(|names| name.is_some_and(|name| names.iter().any(|known| known == name)))
        };
        named(&self.spec.environments, Some(environment)) && named(&self.spec.artifacts, artifact)
    }

    /// When it is in force from `from` to `until`, as half-open stretches in order: for an allow when it is open, for a
    /// deny when it denies. Scope and other windows are not considered. The cost grows with the number of days between.
    #[must_use]
    pub fn in_force(&self, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let (lo, hi) = (timeline::second(from), timeline::second(until));
        let spans = timeline::in_force(self, lo, hi).into_iter();
        spans
            .map(|span| (span.0.max(lo), span.1.min(hi)))
            .filter(|span| span.0 < span.1)
            .map(|span| (timeline::timestamp(span.0), timeline::timestamp(span.1)))
            .collect()
    }

    /// Whether an occurrence may start on this local date.
    pub(super) fn may_start_on(&self, day: Date) -> bool {
        let (from, until) = self.valid;
        from.is_none_or(|from| from <= day) && until.is_none_or(|until| day <= until) && !self.except.contains(&day)
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Check {
    errors: Vec<WindowError>,
}

impl Check {
    fn refuse(&mut self, field: &str, message: impl Into<String>, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_string());
        self.errors.push(WindowError { field: field.to_string(), message: message.into(), help });
    }

    fn take<T>(&mut self, field: &str, read: Result<T, Unreadable>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(Unreadable { message, help }) => {
                self.errors.push(WindowError { field: field.to_string(), message, help });
                None
            }
        }
    }

    fn schedule(&mut self, spec: &WindowSpec) -> Option<Schedule> {
        let given: Vec<&str> = [
            ("weekly", spec.weekly.is_some()),
            ("monthly", spec.monthly.is_some()),
            ("yearly", spec.yearly.is_some()),
            ("once", spec.once.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        match given.as_slice() {
            [] => {
                let help = "give one of `weekly`, `monthly`, `yearly` and `once`; `weekly = {}` is always";
                self.refuse("", "the window does not say when it is", help);
                return None;
            }
            [_] => {}
            [first, rest @ ..] => {
                for name in rest {
                    let message = format!("`{name}` stands beside `{first}`");
                    self.refuse(name, message, "a window has one schedule: write two windows");
                }
            }
        }
        if let Some(weekly) = &spec.weekly {
            let days = self.week(weekly.days.as_deref());
            let hours = self.hours("weekly", weekly.start.as_ref(), weekly.end.as_ref());
            return Some(Schedule::Days(days?, hours?.unwrap_or(Hours::WHOLE_DAY).within_days()));
        }
        if let Some(monthly) = &spec.monthly {
            let days = self.month(monthly);
            let hours = self.hours("monthly", monthly.start.as_ref(), monthly.end.as_ref());
            return Some(Schedule::Days(days?, hours?.unwrap_or(Hours::WHOLE_DAY).within_days()));
        }
        if let Some(yearly) = &spec.yearly {
            return self.year(yearly);
        }
        self.once(spec.once.as_ref()?)
    }

    /// `Some(None)` is a whole day.
    fn hours(&mut self, table: &str, start: Option<&CivilText>, end: Option<&CivilText>) -> Option<Option<Hours>> {
        let (start_field, end_field) = (format!("{table}.start"), format!("{table}.end"));
        let whole = "give both, or neither for whole days";
        match (start, end) {
            (None, None) => Some(None),
            (Some(_), None) => {
                self.refuse(&start_field, "there is a start without an end", whole);
                None
            }
            (None, Some(_)) => {
                self.refuse(&end_field, "there is an end without a start", whole);
                None
            }
            (Some(first), Some(last)) => {
                let start = self.take(&start_field, civil::time(first.as_str()));
                let end = self.take(&end_field, civil::time(last.as_str()));
                let hours = Hours { start: start?, end: end? };
                if hours.start == DAY_MINUTES {
                    self.refuse(&start_field, "24:00 is an end, not a start", "write \"00:00\" of the next day");
                    return None;
                }
                if hours.start == hours.end {
                    self.refuse(&end_field, "start and end are the same", "leave both out for whole days");
                    return None;
                }
                Some(Some(hours))
            }
        }
    }

    fn week(&mut self, days: Option<&[Day]>) -> Option<Days> {
        let Some(days) = days else { return Some(Days::Week([true; 7])) };
        if days.is_empty() {
            self.refuse("weekly.days", "the list of days is empty", "leave it out for every day");
            return None;
        }
        let mut chosen = [false; 7];
        for (index, day) in days.iter().enumerate() {
            let slot = &mut chosen[*day as usize];
            if *slot {
                self.refuse(&format!("weekly.days[{index}]"), "the day is named twice", "");
            }
            *slot = true;
        }
        Some(Days::Week(chosen))
    }

    fn month(&mut self, monthly: &Monthly) -> Option<Days> {
        const HELP: &str = "give `day = 15`, or `nth = 2` (or \"last\") with `weekday = \"tue\"`";
        match (monthly.day, &monthly.nth, monthly.weekday) {
            (Some(day), None, None) => match i8::try_from(day) {
                Ok(day @ 1..=31) => Some(Days::MonthDay(day)),
                _ => {
                    self.refuse("monthly.day", format!("no month has a day {day}"), "days are 1 to 31");
                    None
                }
            },
            (None, Some(nth), Some(weekday)) => {
                let weekday = weekday as i8;
                match nth {
                    Nth::Word(word) if word == "last" => Some(Days::Last(weekday)),
                    Nth::Word(word) => {
                        self.refuse("monthly.nth", format!("`{word}` is not a place in the month"), HELP);
                        None
                    }
                    Nth::Number(number) => match i8::try_from(*number) {
                        Ok(nth @ 1..=5) => Some(Days::Nth(nth, weekday)),
                        _ => {
                            let message = format!("no month has a weekday {number} times");
                            self.refuse("monthly.nth", message, "1 to 5, or \"last\"");
                            None
                        }
                    },
                }
            }
            (None, None, None) => {
                self.refuse("monthly", "it does not say which day of the month", HELP);
                None
            }
            (Some(_), _, _) => {
                self.refuse("monthly.day", "a day number stands beside `nth` or `weekday`", HELP);
                None
            }
            (None, Some(_), None) => {
                self.refuse("monthly.nth", "there is no `weekday` with it", HELP);
                None
            }
            (None, None, Some(_)) => {
                self.refuse("monthly.weekday", "there is no `nth` with it", HELP);
                None
            }
        }
    }

    fn year(&mut self, yearly: &Yearly) -> Option<Schedule> {
        let from = self.take("yearly.from", civil::month_day(yearly.from.as_str()));
        let until = self.take("yearly.until", civil::month_day(yearly.until.as_str()));
        let hours = self.hours("yearly", yearly.start.as_ref(), yearly.end.as_ref());
        let (from, until) = (from?, until?);
        Some(match hours? {
            None => Schedule::Days(Days::Year(from, until), Hours::WHOLE_DAY),
            Some(hours) => Schedule::YearSpan { from, until, hours },
        })
    }

    fn once(&mut self, once: &Once) -> Option<Schedule> {
        let start = self.take("once.start", civil::date_time(once.start.as_str()));
        let end = self.take("once.end", civil::date_time(once.end.as_str()));
        let ((day, start), (_, end)) = (start?, end?);
        if once.start.as_str().ends_with("24:00") {
            self.refuse("once.start", "24:00 is an end, not a start", "write \"00:00\" of the next day");
        } else if start == end {
            self.refuse("once.end", "start and end are the same", "");
        } else if end < start {
            self.refuse("once.end", "the end is before the start", "");
        }
        Some(Schedule::Once { day, start, end })
    }

    fn valid(&mut self, spec: &WindowSpec) -> (Option<Date>, Option<Date>) {
        let Some(valid) = &spec.valid else { return (None, None) };
        if valid.from.is_none() && valid.until.is_none() {
            self.refuse("valid", "the range has no bound", "give `from`, `until` or both, or leave it out");
        }
        let from = valid.from.as_ref().and_then(|text| self.take("valid.from", civil::full_date(text.as_str())));
        let until = valid.until.as_ref().and_then(|text| self.take("valid.until", civil::full_date(text.as_str())));
        if let (Some(from), Some(until)) = (from, until)
            && until < from
        {
            self.refuse("valid.until", "the range ends before it begins", "");
        }
        (from, until)
    }

    fn except(&mut self, spec: &WindowSpec) -> Vec<Date> {
        let dates = spec.except.iter().enumerate();
        dates
            .filter_map(|(index, text)| self.take(&format!("except[{index}]"), civil::full_date(text.as_str())))
            .collect()
    }

    fn scope(&mut self, spec: &WindowSpec) {
        let empty = [
            ("environments", spec.environments.as_ref().is_some_and(Vec::is_empty), "all"),
            ("artifacts", spec.artifacts.as_ref().is_some_and(Vec::is_empty), "all"),
            ("actions", spec.actions.as_ref().is_some_and(Vec::is_empty), "promote and resume"),
            ("invokers", spec.invokers.as_ref().is_some_and(Vec::is_empty), "both"),
        ];
        for (field, _, otherwise) in empty.into_iter().filter(|(_, empty, _)| *empty) {
            let message = format!("the list of {field} is empty, so the window is about nothing");
            self.refuse(field, message, &format!("leave it out for {otherwise}"));
        }
        if spec.effect == Effect::Allow && spec.severity.is_some() {
            self.refuse("severity", "an allow has no severity", "severity is for a deny");
        }
    }
}
