//! What numbers say. A pure function of an answer: which series is the worst, and where data is lacking.

use super::server::Series;
use crate::escape;

/// What values must keep to.
pub(super) struct Bounds {
    min: Option<(f64, String)>,
    max: Option<(f64, String)>,
}

impl Bounds {
    /// Bounds of these decimals.
    pub(super) fn new(min: Option<&str>, max: Option<&str>) -> Result<Self, String> {
        let read = |name: &str, text: Option<&str>| {
            let number =
                text.map(|text| text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| (n, text.to_owned())));
            number.map(|n| n.ok_or_else(|| format!("`{name}` is no decimal number"))).transpose()
        };
        let bounds = Self { min: read("min", min)?, max: read("max", max)? };
        match (&bounds.min, &bounds.max) {
            (None, None) => Err("neither `min` nor `max` is given: every number would do".to_owned()),
            (Some((min, _)), Some((max, _))) if min > max => {
                Err("`min` is greater than `max`: no number would do".into())
            }
            _ => Ok(bounds),
        }
    }

    /// In words: `at most 0.25`.
    pub(super) fn told(&self) -> String {
        match (&self.min, &self.max) {
            (Some((_, min)), Some((_, max))) => format!("from {min} to {max}"),
            (Some((_, min)), None) => format!("at least {min}"),
            (_, Some((_, max))) => format!("at most {max}"),
            (None, None) => String::new(),
        }
    }

    /// How far a value is outside; not above 0 where it is within, and then the less the farther from a bound.
    fn outside(&self, value: f64) -> f64 {
        let below = self.min.as_ref().map(|(min, _)| min - value);
        let above = self.max.as_ref().map(|(max, _)| value - max);
        below.into_iter().chain(above).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// A period, in milliseconds of the server's time, and its steps in seconds.
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) every: u64,
    /// Seconds without a value that are no lack.
    pub(super) gap: u64,
}

/// What an answer says.
#[derive(Default)]
pub(super) struct Found {
    /// How many series there are.
    pub(super) series: usize,
    /// How many of them are outside.
    pub(super) outside: usize,
    /// How many values there are, all series together.
    pub(super) points: usize,
    /// The value that is farthest outside, or else nearest to it.
    pub(super) worst: Option<Worst>,
    /// Where data is lacking.
    pub(super) lacks: Option<String>,
}

/// One value.
pub(super) struct Worst {
    /// As the server writes it.
    pub(super) value: String,
    /// The labels of its series.
    pub(super) labels: String,
    pub(super) within: bool,
    /// When, in a period.
    pub(super) at: Option<String>,
    distance: f64,
}

/// Judges values of one instant.
pub(super) fn instant(bounds: &Bounds, series: &[Series]) -> Found {
    let mut found = Found { series: series.len(), ..Found::default() };
    if series.is_empty() {
        found.lacks = Some("the query gives no series".to_owned());
    }
    for one in series {
        if !values(bounds, one, false, &mut found) {
            found.lacks.get_or_insert_with(|| format!("{} has no number", one.labels()));
        }
    }
    found
}

/// Judges values of a period.
pub(super) fn range(bounds: &Bounds, series: &[Series], window: &Window) -> Found {
    let mut found = Found { series: series.len(), ..Found::default() };
    if series.is_empty() {
        found.lacks = Some("the query gives no series in the whole period".to_owned());
    }
    for one in series {
        values(bounds, one, true, &mut found);
        let longest = longest_gap(one, window);
        if longest > window.gap {
            let text = || format!("{} has no value for {longest} s of the period", one.labels());
            found.lacks.get_or_insert_with(text);
        }
    }
    found
}

/// Takes in the values of a series; whether there are any that are numbers.
fn values(bounds: &Bounds, series: &Series, timed: bool, found: &mut Found) -> bool {
    let (mut any, mut outside) = (false, false);
    for (at, text) in &series.values {
        let Some(value) = number(text) else { continue };
        any = true;
        found.points += 1;
        let distance = bounds.outside(value);
        outside |= distance > 0.0;
        if found.worst.as_ref().is_none_or(|worst| distance > worst.distance) {
            let at = timed.then(|| jiff::Timestamp::from_millisecond(*at).map(|at| at.to_string()).ok()).flatten();
            let (value, labels) = (escape::line(text), series.labels());
            found.worst = Some(Worst { value, labels, within: distance <= 0.0, at, distance });
        }
    }
    found.outside += usize::from(outside);
    any
}

/// The longest stretch of the period, in seconds, for which a series has no value: two values that follow each other within
/// a step leave none.
fn longest_gap(series: &Series, window: &Window) -> u64 {
    let step = i64::try_from(window.every).unwrap_or(i64::MAX).saturating_mul(1000);
    let mut longest = 0;
    // The step before the first and the one after the last that there could be.
    let mut last = window.start.saturating_sub(step);
    let count = (window.end - window.start) / step;
    let after = window.start + (count + 1) * step;
    for at in series.values.iter().filter(|(_, text)| number(text).is_some()).map(|(at, _)| *at).chain([after]) {
        longest = longest.max(at.saturating_sub(last).saturating_sub(step));
        last = at;
    }
    // A step that a rounding of milliseconds moved is none that is missing.
    u64::try_from((longest + 500) / 1000).unwrap_or(0)
}

/// A number, which NaN is not: it says that there is nothing to say.
fn number(text: &str) -> Option<f64> {
    let value = match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().ok()?,
    };
    (!value.is_nan()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[(i64, &str)]) -> Series {
        let values = values.iter().map(|(at, text)| (at * 1000, (*text).to_owned())).collect();
        Series { metric: [("job".to_owned(), "web".to_owned())].into(), values }
    }

    fn bounds() -> Bounds {
        Bounds::new(Some("1"), Some("2.5")).unwrap()
    }

    #[test]
    fn the_worst_value_is_the_one_farthest_outside() {
        let all = [series(&[(0, "2")]), series(&[(0, "2.75")]), series(&[(0, "0.5")]), series(&[(0, "2.6")])];
        let found = instant(&bounds(), &all);
        let worst = found.worst.unwrap();
        assert_eq!((worst.value.as_str(), worst.within, found.outside, found.series), ("0.5", false, 3, 4));
        for (text, within) in [("2.5", true), ("1", true), ("+Inf", false), ("-Inf", false), ("2.5000001", false)] {
            assert_eq!(instant(&bounds(), &[series(&[(0, text)])]).worst.unwrap().within, within, "{text}");
        }
    }

    #[test]
    fn s1_3_nothing_and_nan_are_a_lack_of_data_and_no_number() {
        let nothing = instant(&bounds(), &[]);
        assert!(nothing.worst.is_none() && nothing.lacks.unwrap().contains("no series"));
        let found = instant(&bounds(), &[series(&[(0, "2")]), series(&[(0, "NaN")])]);
        assert!(found.worst.unwrap().within && found.lacks.unwrap().contains("no number"));
        assert!(Bounds::new(None, None).is_err() && Bounds::new(Some("2"), Some("1")).is_err());
        assert!(Bounds::new(Some("NaN"), None).is_err());
    }

    #[test]
    fn s1_3_a_stretch_without_values_is_found_wherever_it_is() {
        let window = |gap| Window { start: 0, end: 60_000, every: 10, gap };
        let whole: Vec<(i64, &str)> = (0..=6).map(|n| (n * 10, "2")).collect();
        let without = |range: std::ops::Range<usize>| {
            let mut values = whole.clone();
            values.drain(range);
            series(&values)
        };
        assert_eq!(range(&bounds(), &[series(&whole)], &window(0)).lacks, None);
        for (gone, seconds) in [(0..2, 20), (3..4, 10), (2..5, 30), (6..7, 10), (0..7, 70)] {
            let lacks = range(&bounds(), &[without(gone.clone())], &window(0)).lacks.unwrap();
            assert!(lacks.contains(&format!("for {seconds} s")), "{gone:?}: {lacks}");
            let found = range(&bounds(), &[without(gone.clone())], &window(seconds));
            assert!(found.lacks.is_none() && found.outside == 0, "{gone:?} is let be");
        }
        let mut values = whole.clone();
        values[3].1 = "NaN";
        assert!(range(&bounds(), &[series(&values)], &window(0)).lacks.unwrap().contains("for 10 s"));
        values[3].1 = "3";
        let worst = range(&bounds(), &[series(&values)], &window(0)).worst.unwrap();
        assert_eq!((worst.within, worst.at.as_deref()), (false, Some("1970-01-01T00:00:30Z")));
    }
}
