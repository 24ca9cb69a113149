//! JUnit's XML as Ant began it and as everybody writes it since: `testsuites`, `testsuite`, `testcase`. There is no specification;
//! what is read is what test cases show, and beside it what suites state.

use std::collections::BTreeSet;

use promo_core::evidence::{About, Kind, Report, TestRun, Totals};

use super::xml::{Element, Fault, Step, walk};

pub(super) fn is(root: &Element) -> bool {
    matches!(root.name.as_str(), "testsuites" | "testsuite")
}

/// A test case that is being read.
#[derive(Default)]
struct Case {
    name: String,
    failed: bool,
    erred: bool,
    skipped: bool,
    flaky: bool,
}

#[derive(Default)]
struct State {
    run: TestRun,
    /// What the outermost element states, when it is `testsuites`.
    whole: Option<Totals>,
    /// What the suites right below it state, as long as each of them states something.
    suites: Option<Totals>,
    one_is_silent: bool,
    case: Option<Case>,
    depth: usize,
    suite_depth: usize,
    made: Option<jiff::Timestamp>,
    /// What the outermost suites are called, and all of them together.
    names: BTreeSet<String>,
}

pub(super) fn read(text: &str) -> Result<Report, Fault> {
    let mut state = State::default();
    walk(text, &mut |step| {
        match step {
            Step::Open(element) => {
                state.depth += 1;
                state.open(&element)?;
            }
            Step::Close(name) => {
                state.depth -= 1;
                state.close(name);
            }
        }
        Ok(true)
    })?;
    let mut about = About::new(Kind::Junit);
    about.made = state.made;
    about.suites = state.names;
    state.run.stated = state.whole.or(state.suites.filter(|_| !state.one_is_silent));
    let mut report = Report::new(about);
    report.tests = Some(state.run);
    Ok(report)
}

impl State {
    fn open(&mut self, element: &Element) -> Result<(), Fault> {
        match element.name.as_str() {
            "testsuites" if self.depth == 1 => {
                self.whole = totals(element)?;
                self.names.extend(called(element));
            }
            "testsuite" => {
                if self.suite_depth == 0 {
                    self.names.extend(called(element));
                    match totals(element)? {
                        Some(totals) => self.suites = Some(sum(self.suites.unwrap_or_default(), totals)),
                        None => self.one_is_silent = true,
                    }
                }
                self.suite_depth += 1;
                // Most writers give a local time of an unknown zone, which is no instant.
                if let Some(at) = element.get("timestamp").and_then(|text| text.parse::<jiff::Timestamp>().ok()) {
                    self.made = Some(self.made.map_or(at, |made| made.min(at)));
                }
            }
            "testcase" => {
                if self.case.is_some() {
                    return element.broken("no test case in another");
                }
                self.case = Some(case(element));
            }
            outcome => self.outcome(outcome),
        }
        Ok(())
    }

    fn outcome(&mut self, name: &str) {
        let Some(case) = &mut self.case else {
            // A suite that itself goes wrong, in its preparation say, is a test that erred.
            if matches!(name, "failure" | "error") {
                self.run.counted.tests += 1;
                self.run.counted.errors += 1;
                self.name("(a suite)".to_owned());
            }
            return;
        };
        match name {
            "failure" => case.failed = true,
            "error" => case.erred = true,
            "skipped" => case.skipped = true,
            // Maven Surefire's, for what failed first and then passed.
            "flakyFailure" | "flakyError" => case.flaky = true,
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "testsuite" => self.suite_depth -= 1,
            "testcase" => {
                let Some(case) = self.case.take() else { return };
                self.run.counted.tests += 1;
                self.run.flaky += u64::from(case.flaky);
                // One outcome for each, the worst that it shows.
                let counted = &mut self.run.counted;
                if case.erred {
                    counted.errors += 1;
                } else if case.failed {
                    counted.failures += 1;
                } else if case.skipped {
                    counted.skipped += 1;
                }
                if case.erred || case.failed {
                    self.name(case.name);
                }
            }
            _ => {}
        }
    }

    fn name(&mut self, name: String) {
        if self.run.failed.len() < TestRun::NAMES {
            self.run.failed.push(name);
        }
    }
}

fn called(element: &Element) -> Option<String> {
    element.get("name").filter(|name| !name.trim().is_empty()).map(|name| name.trim().to_owned())
}

fn case(element: &Element) -> Case {
    let name = element.get("name").unwrap_or_default();
    let name = match element.get("classname").filter(|class| !class.is_empty()) {
        Some(class) => format!("{class}: {name}"),
        None => name.to_owned(),
    };
    let says = |words: &[&str]| {
        ["status", "result"]
            .iter()
            .filter_map(|key| element.get(key))
            .any(|status| words.iter().any(|word| status.eq_ignore_ascii_case(word)))
    };
    Case {
        name,
        failed: says(&["failed", "failure"]),
        erred: says(&["error", "errored"]),
        // GoogleTest's and others', for what did not run.
        skipped: says(&["notrun", "skipped", "suppressed", "disabled"]),
        flaky: false,
    }
}

fn totals(element: &Element) -> Result<Option<Totals>, Fault> {
    let Some(tests) = element.count("tests")? else { return Ok(None) };
    let or_nothing = |name| element.count(name).map(Option::unwrap_or_default);
    let skipped = match element.count("skipped")? {
        Some(skipped) => skipped,
        None => or_nothing("disabled")?.saturating_add(or_nothing("skip")?),
    };
    Ok(Some(Totals { tests, failures: or_nothing("failures")?, errors: or_nothing("errors")?, skipped }))
}

const fn sum(one: Totals, two: Totals) -> Totals {
    Totals {
        tests: one.tests.saturating_add(two.tests),
        failures: one.failures.saturating_add(two.failures),
        errors: one.errors.saturating_add(two.errors),
        skipped: one.skipped.saturating_add(two.skipped),
    }
}
