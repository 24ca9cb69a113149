//! What tests and measurements gave. What must not live here: what would be good enough.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number that is neither infinite nor "not a number", so that it can be compared.
#[derive(Debug, Clone, Copy)]
pub struct Finite(f64);

/// The number is infinite, or not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a finite number")]
pub struct NotFinite;

impl Finite {
    /// Takes a number.
    ///
    /// # Errors
    /// [`NotFinite`].
    pub fn new(value: f64) -> Result<Self, NotFinite> {
        // One zero: -0 and 0 are the same measurement.
        if value.is_finite() { Ok(Self(if value == 0.0 { 0.0 } else { value })) } else { Err(NotFinite) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Finite {}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// As a decimal number in a text: no value of a plan or a record is a fraction of binary digits.
impl Serialize for Finite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl FromStr for Finite {
    type Err = NotFinite;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse().map_err(|_| NotFinite)?)
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How many tests ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// All of them, those that were skipped among them.
    pub tests: u64,
    /// An assertion did not hold.
    pub failures: u64,
    /// Something else went wrong.
    pub errors: u64,
    /// Did not run.
    pub skipped: u64,
}

impl Totals {
    /// Those that ran and did not fail.
    #[must_use]
    pub const fn passed(&self) -> u64 {
        self.tests.saturating_sub(self.failures).saturating_sub(self.errors).saturating_sub(self.skipped)
    }
}

/// A run of tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestRun {
    /// What the test cases of the document add up to.
    pub counted: Totals,
    /// What the outermost suites state; `None` where one of them states nothing. Tools differ in what they call a test, so this may be
    /// another number, and it matters most where it names failures that no test case shows.
    pub stated: Option<Totals>,
    /// Tests that failed and passed when they were tried again.
    pub flaky: u64,
    /// Names of the tests that failed or erred, in the order of the document, the first [`TestRun::NAMES`].
    pub failed: Vec<String>,
}

impl TestRun {
    /// How many names of failed tests are kept.
    pub const NAMES: usize = 100;
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ratio {
    /// The part.
    pub covered: u64,
    /// The whole.
    pub total: u64,
}

impl Ratio {
    /// The part in percent; none of nothing, which is neither all nor nothing.
    #[must_use]
    pub fn percent(self) -> Option<Finite> {
        #[expect(clippy::cast_precision_loss, reason = "numbers of lines are far below 2^52")]
        let percent = (self.total > 0).then(|| self.covered as f64 * 100.0 / self.total as f64);
        percent.and_then(|percent| Finite::new(percent).ok())
    }
}

/// What was reached, by one way to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    /// Lines.
    pub lines: Option<Ratio>,
    /// Branches.
    pub branches: Option<Ratio>,
    /// Functions.
    pub functions: Option<Ratio>,
}

/// What tests reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// What the lines, branches and functions that the document lists add up to.
    pub counted: Measured,
    /// The totals that it states.
    pub stated: Measured,
    /// The share of lines that it states, from 0 to 1, where that is all it states (old writers of Cobertura).
    pub line_rate: Option<Finite>,
    /// The same of branches.
    pub branch_rate: Option<Finite>,
}

/// A measured number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// Its name: that of the metric, and behind a dot that of the value of it (`http_req_duration.p(95)`).
    pub name: String,
    /// The number.
    pub value: Finite,
    /// Its unit, where it is known: `ms`, `bytes`.
    pub unit: Option<String>,
}

/// A bound that the tool itself was told to hold a metric to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// The metric.
    pub metric: String,
    /// The bound, as it is written.
    pub bound: String,
    /// Whether the metric kept it.
    pub kept: bool,
}

/// Numbers of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Each, in ascending order of its name.
    pub list: Vec<Number>,
    /// Bounds that the tool looked at itself, in the same order.
    pub thresholds: Vec<Threshold>,
    /// What it has a place for in which there is no number: `null`, or a text.
    pub unmeasured: BTreeSet<String>,
}

impl Numbers {
    /// The number of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Number> {
        self.list.iter().find(|number| number.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_compared_are_refused() {
        assert!(Finite::new(f64::NAN).is_err() && Finite::new(f64::INFINITY).is_err());
        assert_eq!(Finite::new(-0.0), Finite::new(0.0));
        assert!(Finite::new(-1.5).unwrap() < Finite::new(0.25).unwrap());
    }

    #[test]
    fn a_part_of_nothing_has_no_percentage() {
        assert_eq!(Ratio { covered: 0, total: 0 }.percent(), None);
        assert_eq!(Ratio { covered: 3, total: 4 }.percent(), Finite::new(75.0).ok());
    }

    #[test]
    fn what_passed_is_never_below_nothing() {
        assert_eq!(Totals { tests: 5, failures: 1, errors: 1, skipped: 1 }.passed(), 2);
        assert_eq!(Totals { tests: 1, failures: 2, errors: 0, skipped: 0 }.passed(), 0);
    }
}
