//! Tests, coverage and numbers: what they must come to, by themselves and beside those of another release.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::piece::{Bound, bound, current, missed, untold};
use super::{Fault, Piece, Scope, Subject, Verdict, lesser};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::{Coverage, Finite, Kind, Ratio, Report, Totals};

/// What of a run of tests there may be too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Those that failed or erred.
    Failed,
    /// Those that did not run.
    Skipped,
    /// Those that failed first and passed when they were tried again.
    Flaky,
}

/// What has to be true of the tests of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRequirement {
    /// Suites that must have run, by the names under which they were brought; any when there are none.
    pub suites: BTreeSet<String>,
    /// How many percent of the tests that ran must have passed.
    pub pass_rate: Option<Finite>,
    /// How many may have failed or erred. Where neither this nor a rate is said, none may.
    pub failed: Option<u64>,
    /// How many may have been skipped.
    pub skipped: Option<u64>,
    /// How many may have passed only when they were tried again.
    pub flaky: Option<u64>,
}

impl TestRequirement {
    /// Judges the evidence for an artifact at an instant.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece], now: Timestamp) -> Verdict {
        let mut verdict = Verdict::default();
        let has = |report: &Report| report.tests.is_some();
        let all = bound(subject, pieces, has, could_be_tests, &mut verdict);
        for run in chosen((subject, pieces), &all, &self.suites, has, now, &mut verdict) {
            let document = run.piece.document;
            let Some(tests) = &run.report.tests else { continue };
            // A total that is worse than what is listed names failures that no test case shows.
            for (totals, name) in [(Some(tests.counted), "pass rate"), (tests.stated, "stated pass rate")] {
                let Some(totals) = totals else { continue };
                self.look(document, totals, name, &mut verdict);
            }
            if let Some(at_most) = self.flaky.filter(|at_most| tests.flaky > *at_most) {
                verdict.fault(Fault::Tests { document, what: Part::Flaky, found: tests.flaky, at_most });
            }
        }
        verdict
    }

    fn look(&self, document: crate::Digest, totals: Totals, name: &str, verdict: &mut Verdict) {
        let failed = totals.failures.saturating_add(totals.errors);
        let ran = totals.tests.saturating_sub(totals.skipped);
        if ran == 0 {
            verdict.fault(Fault::Empty { document, found: 0, least: 1 });
            return;
        }
        if totals
            .failures
            .checked_add(totals.errors)
            .and_then(|bad| bad.checked_add(totals.skipped))
            .is_none_or(|n| n > totals.tests)
        {
            let why = "it names more failures, errors and skipped tests than tests".to_string();
            verdict.fault(Fault::Unreadable { document, why });
            return;
        }
        let at_most = self.failed.or(self.pass_rate.is_none().then_some(0));
        if let Some(at_most) = at_most.filter(|at_most| failed > *at_most) {
            verdict.fault(Fault::Tests { document, what: Part::Failed, found: failed, at_most });
        }
        if let Some(at_most) = self.skipped.filter(|at_most| totals.skipped > *at_most) {
            verdict.fault(Fault::Tests { document, what: Part::Skipped, found: totals.skipped, at_most });
        }
        let rate = Ratio { covered: totals.passed(), total: ran }.percent();
        out_of_bounds(document, name, rate, (self.pass_rate, None), verdict);
    }
}

/// What has to be true of how much of the code the tests reached, in percent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageRequirement {
    /// Suites whose coverage is asked for; any when there are none.
    pub suites: BTreeSet<String>,
    /// Of lines, at least.
    pub lines: Option<Finite>,
    /// Of branches, at least.
    pub branches: Option<Finite>,
    /// Of functions, at least.
    pub functions: Option<Finite>,
}

impl CoverageRequirement {
    /// Judges the evidence for an artifact at an instant.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece], now: Timestamp) -> Verdict {
        let mut verdict = Verdict::default();
        let has = |report: &Report| report.coverage.is_some();
        let all = bound(subject, pieces, has, could_be_coverage, &mut verdict);
        for one in chosen((subject, pieces), &all, &self.suites, has, now, &mut verdict) {
            let document = one.piece.document;
            let Some(coverage) = &one.report.coverage else { continue };
            let asked = [("lines", self.lines), ("branches", self.branches), ("functions", self.functions)];
            for (name, least) in asked.into_iter().filter(|(_, least)| least.is_some()) {
                match percent(coverage, name) {
                    Some(found) => out_of_bounds(document, name, Some(found), (least, None), &mut verdict),
                    None => verdict.fault(Fault::NotMeasured { document, name: name.to_string() }),
                }
            }
        }
        verdict
    }
}

/// The worst of what a document says in percent.
fn percent(coverage: &Coverage, name: &str) -> Option<Finite> {
    let of = |measured: &crate::evidence::Measured| match name {
        "lines" => measured.lines,
        "branches" => measured.branches,
        _ => measured.functions,
    };
    let rate = match name {
        "lines" => coverage.line_rate,
        "branches" => coverage.branch_rate,
        _ => None,
    };
    let ratios = [of(&coverage.counted), of(&coverage.stated)];
    // Some writers call all of nothing the whole of it.
    let rate = rate.filter(|_| !ratios.iter().flatten().any(|ratio| ratio.total == 0));
    // A part of nothing is no measurement; nor is more than all.
    let said = ratios.into_iter().flatten().filter(|ratio| ratio.covered <= ratio.total).filter_map(Ratio::percent);
    said.chain(rate.and_then(|rate| Finite::new(rate.get() * 100.0).ok())).min()
}

/// How far a number may be from that of another release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// It may be higher by so many percent.
    HigherBy(Finite),
    /// It may be lower by so many percent.
    LowerBy(Finite),
}

/// What has to be true of a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRequirement {
    /// Its name: of a metric and its value (`http_req_duration.p(95)`), or a JSON pointer.
    pub name: String,
    /// Under which names documents with it were brought; any when there are none.
    pub suites: BTreeSet<String>,
    /// What it must be at least.
    pub least: Option<Finite>,
    /// What it may be at most.
    pub most: Option<Finite>,
    /// How far it may be from that of the release to compare with.
    pub baseline: Option<Baseline>,
}

/// That with which a number is compared.
#[derive(Debug, Clone, Copy)]
pub enum Compared<'a> {
    /// With nothing: it is the first of its artifact there. Its own bounds hold, and the number has to be there.
    First,
    /// With the evidence for this artifact.
    With(&'a Subject, &'a [Piece]),
    /// With something of which nobody knows anything.
    Unknown,
}

impl NumberRequirement {
    /// Judges the evidence for an artifact at an instant, beside that for what it is compared with.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece], before: Compared<'_>, now: Timestamp) -> Verdict {
        let mut verdict = Verdict::default();
        let found = match before {
            Compared::With(subject, pieces) => self.of_baseline(subject, pieces, now),
            Compared::First | Compared::Unknown => None,
        };
        let bounds = match (self.baseline, found) {
            (Some(far), Some((lowest, highest))) => bounds(far, lowest, highest),
            (Some(_), None) if !matches!(before, Compared::First) => {
                verdict.fault(Fault::NoBaseline { name: self.name.clone() });
                (None, None)
            }
            _ => (None, None),
        };
        let (least, most) = (self.least.max(bounds.0), lesser(self.most, bounds.1));
        let all = with_numbers(subject, pieces, &mut verdict);
        let runs = self.runs((subject, pieces), &all, now, &mut verdict);
        let measured = |run: &&Bound<'_>| run.report.numbers.as_ref().is_some_and(|all| all.get(&self.name).is_some());
        let elsewhere = self.suites.is_empty() && runs.iter().any(measured);
        for run in runs {
            let document = run.piece.document;
            let Some(numbers) = &run.report.numbers else { continue };
            for threshold in numbers.thresholds.iter().filter(|threshold| !threshold.kept) {
                let bound = alloc::format!("{}: {}", threshold.metric, threshold.bound);
                verdict.fault(Fault::Threshold { document, bound });
            }
            match numbers.get(&self.name) {
                Some(number) => out_of_bounds(document, &self.name, Some(number.value), (least, most), &mut verdict),
                // Of several documents without a name one has it; where this one should have it too is nothing, and that is told.
                None if elsewhere && !numbers.unmeasured.contains(&self.name) => {}
                None => verdict.fault(Fault::NotMeasured { document, name: self.name.clone() }),
            }
        }
        verdict
    }

    /// Those of the documents with numbers that count; `all` are those there are.
    fn runs<'a, 'b>(
        &self,
        (subject, pieces): (&Subject, &[Piece]),
        all: &'b [Bound<'a>],
        now: Timestamp,
        verdict: &mut Verdict,
    ) -> Vec<&'b Bound<'a>> {
        chosen((subject, pieces), all, &self.suites, numbered, now, verdict)
    }

    /// The lowest and the highest of the number there.
    fn of_baseline(&self, subject: &Subject, pieces: &[Piece], now: Timestamp) -> Option<(Finite, Finite)> {
        let all = with_numbers(subject, pieces, &mut Verdict::default());
        let runs = self.runs((subject, pieces), &all, now, &mut Verdict::default());
        let found = || runs.iter().filter_map(|run| Some(run.report.numbers.as_ref()?.get(&self.name)?.value));
        Some((found().min()?, found().max()?))
    }
}

pub(super) const fn could_be_tests(kind: Kind) -> bool {
    matches!(kind, Kind::Junit | Kind::InToto)
}

pub(super) const fn could_be_coverage(kind: Kind) -> bool {
    matches!(kind, Kind::Cobertura | Kind::Lcov | Kind::InToto)
}

pub(super) const fn could_be_numbers(kind: Kind) -> bool {
    matches!(kind, Kind::K6 | Kind::Numbers | Kind::InToto)
}

fn numbered(report: &Report) -> bool {
    report.numbers.is_some()
}

/// The documents that speak of an artifact and have numbers.
fn with_numbers<'a>(subject: &Subject, pieces: &'a [Piece], verdict: &mut Verdict) -> Vec<Bound<'a>> {
    bound(subject, pieces, numbered, could_be_numbers, verdict)
}

/// The bounds that a baseline gives, the strictest where it has several numbers. Percent of the distance from zero.
fn bounds(far: Baseline, lowest: Finite, highest: Finite) -> (Option<Finite>, Option<Finite>) {
    let part = |of: Finite, percent: Finite| of.get().abs() * percent.get() / 100.0;
    match far {
        Baseline::HigherBy(percent) => (None, Finite::new(lowest.get() + part(lowest, percent)).ok().or(Some(lowest))),
        Baseline::LowerBy(percent) => {
            (Finite::new(highest.get() - part(highest, percent)).ok().or(Some(highest)), None)
        }
    }
}

fn out_of_bounds(
    document: crate::Digest,
    name: &str,
    found: Option<Finite>,
    (least, most): (Option<Finite>, Option<Finite>),
    verdict: &mut Verdict,
) {
    let Some(found) = found else { return };
    if least.is_some_and(|least| found < least) || most.is_some_and(|most| found > most) {
        verdict.fault(Fault::OutOfBounds { document, name: name.to_string(), found, least, most });
    }
}

/// Of the documents on a matter those that count, of the suites that are asked for. A suite that is asked for and is not there is a fault, and
/// so is that there is nothing.
fn chosen<'a, 'b>(
    (subject, pieces): (&Subject, &[Piece]),
    all: &'b [Bound<'a>],
    suites: &BTreeSet<String>,
    matters: impl Fn(&Report) -> bool,
    now: Timestamp,
    verdict: &mut Verdict,
) -> Vec<&'b Bound<'a>> {
    let is = |name: Option<&String>, suite: &String| name == Some(suite);
    for suite in suites.iter().filter(|suite| !all.iter().any(|one| is(one.piece.name.as_ref(), suite))) {
        let could = |piece: &Piece| is(piece.name.as_ref(), suite) && piece.report().is_some_and(&matters);
        missed(subject, pieces, could, Fault::Nothing { from: Some(suite.clone()), platform: None }, verdict);
    }
    for platform in untold(subject, Scope::Any, all.iter()).into_iter().filter(|_| suites.is_empty()) {
        let could = |piece: &Piece| piece.report().is_some_and(&matters);
        missed(subject, pieces, could, Fault::Nothing { from: None, platform }, verdict);
    }
    let asked =
        |one: &&Bound<'a>| suites.is_empty() || one.piece.name.as_ref().is_some_and(|name| suites.contains(name));
    // What has no name is nobody's other run.
    let (named, nameless): (Vec<&Bound<'a>>, Vec<&Bound<'a>>) =
        all.iter().filter(asked).partition(|one| one.piece.name.is_some());
    let mut out = current(subject, named, now, verdict);
    for one in nameless {
        out.extend(current(subject, [one], now, verdict));
    }
    out
}
