//! A second reader of time zone data, so that windows are not tested against the library they are built on: TZif version
//! 2 and its footer, a POSIX `TZ` string (RFC 9636, sections 3 and 3.3.1). Slow and plain.

/// Days from 1970-01-01 to a date of the Gregorian calendar, counted year by year and month by month.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = |year: i64| year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let months: i64 = (1..month).map(|month| month_length(year, month)).sum();
    before(year - 1) - before(1969) + months + day - 1
}

pub(crate) fn month_length(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a day number.
pub(crate) fn civil(day: i64) -> (i64, i64, i64) {
    let mut year = 1970 + day.div_euclid(366);
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut rest = day - days(year, 1, 1);
    let mut month = 1;
    while rest >= month_length(year, month) {
        rest -= month_length(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

/// 0 is Monday.
pub(crate) fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

/// The offsets of a zone.
pub(crate) struct Zone {
    first: i64,
    transitions: Vec<(i64, i64)>,
    rule: Option<Rule>,
}

struct Rule {
    standard: i64,
    /// Offset, and when it begins and ends.
    summer: Option<(i64, Change, Change)>,
}

enum Change {
    /// `Mm.w.d/time`
    Weekday { month: i64, week: i64, weekday: i64, second: i64 },
    /// `Jn/time`, without the 29th of February
    Julian { day: i64, second: i64 },
    /// `n/time`
    Ordinal { day: i64, second: i64 },
}

impl Zone {
    pub(crate) fn read(data: &[u8]) -> Self {
        let be = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().expect("four bytes")) as usize;
        assert_eq!(&data[..4], b"TZif");
        assert!(data[4] >= b'2', "there is a 64-bit part");
        // Six counts after 20 bytes: isut, isstd, leap, time, type, char.
        let counts = |at: usize| [0, 4, 8, 12, 16, 20].map(|field| be(at + 20 + field));
        let [isut, isstd, leap, time, kind, letters] = counts(0);
        let second = 44 + time * 5 + kind * 6 + letters + leap * 8 + isstd + isut;
        let [isut, isstd, leap, time, kind, letters] = counts(second);
        let times = second + 44;
        let (which, kinds) = (times + time * 8, times + time * 9);
        let offset =
            |index: usize| i64::from(i32::from_be_bytes(data[kinds + index * 6..][..4].try_into().expect("four")));
        let transitions = (0..time)
            .map(|index| {
                let at = i64::from_be_bytes(data[times + index * 8..][..8].try_into().expect("eight bytes"));
                (at, offset(usize::from(data[which + index])))
            })
            .collect();
        let footer = kinds + kind * 6 + letters + leap * 12 + isstd + isut;
        let footer = std::str::from_utf8(&data[footer..]).expect("the footer is text").trim_matches('\n');
        Self { first: offset(0), transitions, rule: (!footer.is_empty()).then(|| Rule::read(footer)) }
    }

    /// Seconds to add to Unix time for local time.
    pub(crate) fn offset(&self, at: i64) -> i64 {
        match self.transitions.last() {
            Some((last, _)) if at < *last => {
                let after = self.transitions.partition_point(|(begin, _)| *begin <= at);
                if after == 0 { self.first } else { self.transitions[after - 1].1 }
            }
            last => match &self.rule {
                Some(rule) => rule.offset(at),
                None => last.map_or(self.first, |(_, offset)| *offset),
            },
        }
    }

    /// The seconds after `from` and before `until` at which the offset changes: among those that the data lists, the two
    /// that its rule has in each year, and the turns of the years in which the rule is read.
    pub(crate) fn changes(&self, from: i64, until: i64) -> Vec<i64> {
        let year = |second: i64| civil(second.div_euclid(86_400)).0;
        let years = year(from) - 1..=year(until) + 1;
        let mut all: Vec<i64> = self.transitions.iter().map(|(at, _)| *at).collect();
        if let Some(Rule { standard, summer: Some((summer, begin, end)) }) = &self.rule {
            all.extend(years.flat_map(|year| {
                [begin.second(year) - standard, end.second(year) - summer, days(year, 1, 1) * 86_400 - standard]
            }));
        }
        all.retain(|at| from < *at && *at < until && self.offset(at - 1) != self.offset(*at));
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Rule {
    fn read(text: &str) -> Self {
        let mut rest = name(text);
        // POSIX counts west of Greenwich as positive.
        let standard = -clock(&mut rest);
        if rest.is_empty() {
            return Self { standard, summer: None };
        }
        rest = name(rest);
        let summer = if rest.starts_with(',') { standard + 3600 } else { -clock(&mut rest) };
        let mut changes = rest.strip_prefix(',').expect("the rules follow").split(',').map(Change::read);
        let (begin, end) = (changes.next().expect("a begin"), changes.next().expect("an end"));
        Self { standard, summer: Some((summer, begin, end)) }
    }

    fn offset(&self, at: i64) -> i64 {
        let Some((summer, begin, end)) = &self.summer else { return self.standard };
        let (year, ..) = civil((at + self.standard).div_euclid(86_400));
        let (begin, end) = (begin.second(year) - self.standard, end.second(year) - summer);
        let in_summer = if begin < end { begin <= at && at < end } else { !(end <= at && at < begin) };
        if in_summer { *summer } else { self.standard }
    }
}

impl Change {
    fn read(text: &str) -> Self {
        let (date, time) = text.split_once('/').unwrap_or((text, "2"));
        let second = clock(&mut &*time);
        let number = |text: &str| text.parse::<i64>().expect("a number");
        if let Some(parts) = date.strip_prefix('M') {
            let parts: Vec<i64> = parts.split('.').map(number).collect();
            return Self::Weekday { month: parts[0], week: parts[1], weekday: (parts[2] + 6) % 7, second };
        }
        match date.strip_prefix('J') {
            Some(day) => Self::Julian { day: number(day), second },
            None => Self::Ordinal { day: number(date), second },
        }
    }

    /// Seconds of naive local time.
    fn second(&self, year: i64) -> i64 {
        let (day, second) = match *self {
            Self::Weekday { month, week, weekday: wanted, second } => {
                let first = days(year, month, 1);
                let found = first + (wanted - weekday(first)).rem_euclid(7) + 7 * (week - 1);
                let past = found >= first + month_length(year, month);
                (if past { found - 7 } else { found }, second)
            }
            Self::Julian { day, second } => {
                let shift = i64::from(day >= 60 && month_length(year, 2) == 29);
                (days(year, 1, 1) + day - 1 + shift, second)
            }
            Self::Ordinal { day, second } => (days(year, 1, 1) + day, second),
        };
        day * 86_400 + second
    }
}

/// What follows a zone's abbreviation.
fn name(text: &str) -> &str {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').expect("a closing bracket").1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    }
}

/// `[+-]h[:mm[:ss]]` in seconds, taken from the front.
fn clock(text: &mut &str) -> i64 {
    let end = text.find(',').unwrap_or(text.len());
    let end = text[1..end].find(|c: char| !c.is_ascii_digit() && c != ':').map_or(end, |at| at + 1);
    let (mine, rest) = text.split_at(end);
    *text = rest;
    let (sign, digits) = match mine.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, mine.trim_start_matches('+')),
    };
    let units = [3600, 60, 1];
    sign * digits.split(':').zip(units).map(|(part, unit)| part.parse::<i64>().expect("digits") * unit).sum::<i64>()
}
