//! Evidence: what reports say of an artifact, as typed facts.
//!
//! What lives here: facts ([`Report`]) that the gates of vulnerabilities, licences, SBOMs, tests, coverage and numbers need, whatever
//! format they came in, and what a document says of itself ([`About`]). What must not: reading a format (promo-providers does), and
//! judgement, which a gate makes from facts, a policy and an instant. A fact that a document does not state is `None`, or a variant
//! that says so; it is never filled with what would be convenient.

mod about;
mod bill;
mod finding;
mod licence;
mod measure;
mod provenance;
mod seen;
mod vex;

pub use about::{About, Binding, Form, Kind, Link, Tool};
pub use bill::{Bill, Component};
pub use finding::{Finding, Findings, FixState, Level, Score, Severity, Suppression};
pub use licence::{Expression, Stated, Term, TooDeep};
pub use measure::{Coverage, Finite, Measured, NotFinite, Number, Numbers, Ratio, TestRun, Threshold, Totals};
pub use provenance::{Provenance, Source};
pub use seen::{Seen, TIPS_TOLD, Tip};
pub use vex::{Product, Statement, Status};

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What one document says. A part that is `None` is one of which the document does not speak: a report without findings and one that
/// does not look for any are two things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the document says of itself.
    pub about: About,
    /// Vulnerabilities that were found.
    pub findings: Option<Findings>,
    /// What the artifact is made of.
    pub bill: Option<Bill>,
    /// Statements on exploitability (VEX).
    pub statements: Option<Vec<Statement>>,
    /// Tests that ran.
    pub tests: Option<TestRun>,
    /// What tests reached.
    pub coverage: Option<Coverage>,
    /// Metrics.
    pub numbers: Option<Numbers>,
    /// How the artifact was built.
    pub provenance: Option<Provenance>,
    /// What was seen in a repository of source. No document that comes from outside says it: promo looks for itself.
    pub seen: Option<Seen>,
}

impl Report {
    /// What it says, in a few words, part by part.
    #[must_use]
    pub fn summary(&self) -> String {
        let findings = self.findings.as_ref().map(|findings| match findings.list.len() {
            0 => "no findings".to_string(),
            1 => "1 finding".to_string(),
            number => format!("{number} findings"),
        });
        let parts = [
            findings,
            self.bill.as_ref().map(|bill| format!("{} components", bill.count)),
            self.statements.as_ref().map(|all| format!("{} statements on exploitability", all.len())),
            self.tests
                .as_ref()
                .map(|tests| format!("{} of {} tests passed", tests.counted.passed(), tests.counted.tests)),
            self.coverage.as_ref().map(|_| "coverage".to_string()),
            self.numbers.as_ref().map(|numbers| format!("{} numbers", numbers.list.len())),
            self.provenance.as_ref().map(ToString::to_string),
            self.seen.as_ref().map(ToString::to_string),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// A report that says nothing yet.
    #[must_use]
    pub const fn new(about: About) -> Self {
        Self {
            about,
            findings: None,
            bill: None,
            statements: None,
            tests: None,
            coverage: None,
            numbers: None,
            provenance: None,
            seen: None,
        }
    }
}
