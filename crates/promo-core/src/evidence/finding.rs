//! Vulnerabilities as scanners report them. What must not live here: which of them matter.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Finite;

/// How bad a scanner says a vulnerability is, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Not a vulnerability by its score.
    None,
    /// Debian's and Ubuntu's word for what nobody will mend.
    Negligible,
    /// Low.
    Low,
    /// Medium, also called moderate.
    Medium,
    /// High, also called important.
    High,
    /// Critical.
    Critical,
}

impl Level {
    /// All of them, the mildest first.
    pub const ALL: [Self; 6] = [Self::None, Self::Negligible, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The level of a base score, by the scale of CVSS 3 and 4 (specification of CVSS 3.1, section 5). For CVSS 2 too, which has no
    /// scale of its own: the United States' database names low, medium and high alone.
    #[must_use]
    pub fn of_score(score: Finite) -> Self {
        let score = score.get();
        if score >= 9.0 {
            Self::Critical
        } else if score >= 7.0 {
            Self::High
        } else if score >= 4.0 {
            Self::Medium
        } else if score > 0.0 {
            Self::Low
        } else {
            Self::None
        }
    }

    /// Its name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a document says of how bad a finding is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A level that it names.
    Level(Level),
    /// It names none, or says that it does not know.
    NotSaid,
    /// It uses a word that promo does not know. Never taken for a mild one.
    Word(String),
}

impl Severity {
    /// Reads the word of a scanner, in any case of letters.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        let known: [(&str, Self); 14] = [
            ("critical", Self::Level(Level::Critical)),
            ("high", Self::Level(Level::High)),
            ("important", Self::Level(Level::High)),
            ("medium", Self::Level(Level::Medium)),
            ("moderate", Self::Level(Level::Medium)),
            ("low", Self::Level(Level::Low)),
            ("minor", Self::Level(Level::Low)),
            ("negligible", Self::Level(Level::Negligible)),
            ("unimportant", Self::Level(Level::Negligible)),
            ("none", Self::Level(Level::None)),
            ("info", Self::Level(Level::None)),
            ("informational", Self::Level(Level::None)),
            ("unknown", Self::NotSaid),
            ("", Self::NotSaid),
        ];
        let word = word.trim();
        known
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map_or_else(|| Self::Word(word.into()), |(_, severity)| severity)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => fmt::Display::fmt(level, f),
            Self::NotSaid => f.write_str("not said"),
            Self::Word(word) => write!(f, "`{word}`"),
        }
    }
}

/// A number that somebody gives a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// From 0 to 10 by CVSS; on the method's own scale by another one.
    pub value: Finite,
    /// By which method: `CVSS:3.1` and the like, or the document's own word for another one.
    pub method: String,
    /// Who gives it, where several do.
    pub source: Option<String>,
}

impl Score {
    /// Whether it says how bad a vulnerability is: by CVSS, of which alone everybody knows the scale, and above 0, which tools write where
    /// there is no score. How likely somebody uses it (EPSS) says nothing of that.
    fn tells(&self) -> bool {
        let of_cvss = self.method.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("cvss"));
        of_cvss && self.value.get() > 0.0
    }
}

/// What is known of a mended version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FixState {
    /// There is one.
    Fixed,
    /// There is none yet.
    NotFixed,
    /// There will be none.
    WontFix,
    /// Put off.
    Deferred,
    /// What it is in is not kept any more.
    EndOfLife,
    /// The package is said not to be affected.
    NotAffected,
    /// Somebody still looks at it.
    UnderInvestigation,
    /// Not said, or said to be unknown.
    NotSaid,
    /// A word that promo does not know.
    Word(String),
}

impl FixState {
    /// Its name, with dashes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Fixed => "fixed",
            Self::NotFixed => "not-fixed",
            Self::WontFix => "wont-fix",
            Self::Deferred => "deferred",
            Self::EndOfLife => "end-of-life",
            Self::NotAffected => "not-affected",
            Self::UnderInvestigation => "under-investigation",
            Self::NotSaid => "not-said",
            Self::Word(word) => word,
        }
    }
}

/// That a finding is there but is not to count, in the eyes of who wrote the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// In the document's own word: `not_affected`, `ignored`, `accepted`.
    pub state: String,
    /// Why, where it is said.
    pub reason: Option<String>,
    /// What said so: a file of rules, a VEX document.
    pub source: Option<String>,
}

/// One vulnerability of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its id in the eyes of the scanner.
    pub id: String,
    /// Other ids of the same vulnerability, as they stand there.
    pub aliases: Vec<String>,
    /// The package's name.
    pub package: Option<String>,
    /// The package's purl, as it is written.
    pub purl: Option<String>,
    /// The version that is there.
    pub installed: Option<String>,
    /// Versions in which it is mended.
    pub fixed: Vec<String>,
    /// What is known of a mended version.
    pub fix_state: FixState,
    /// How bad it is, as the scanner chose.
    pub severity: Severity,
    /// The worst that any of the databases says that the scanner asked, where it tells what each says.
    pub worst: Option<Level>,
    /// The numbers that go with it.
    pub scores: Vec<Score>,
    /// Whose severity it is, where that is said.
    pub source: Option<String>,
    /// Set when it is not to count in the eyes of who wrote the document.
    pub suppressed: Option<Suppression>,
}

impl Finding {
    /// A finding of which only the id is known.
    #[must_use]
    pub const fn new(id: String) -> Self {
        Self {
            id,
            aliases: Vec::new(),
            package: None,
            purl: None,
            installed: None,
            fixed: Vec::new(),
            fix_state: FixState::NotSaid,
            severity: Severity::NotSaid,
            worst: None,
            scores: Vec::new(),
            source: None,
            suppressed: None,
        }
    }

    /// The highest of the scores by CVSS that are above 0; other numbers are on other scales.
    #[must_use]
    pub fn highest_score(&self) -> Option<Finite> {
        self.scores.iter().filter(|score| score.tells()).map(|score| score.value).max()
    }
}

/// What a scanner found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Each finding, in the order of the document.
    pub list: Vec<Finding>,
    /// In how many things the scanner looked for vulnerabilities, where the document says so. A scan that looked into nothing found
    /// nothing.
    pub looked_into: Option<u64>,
    /// Whether the document shows what was suppressed. `None`: nothing in it tells whether findings were left out.
    pub shows_suppressed: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_severity_are_read_in_any_case_and_unknown_ones_are_named() {
        assert_eq!(Severity::of_word("CRITICAL"), Severity::Level(Level::Critical));
        assert_eq!(Severity::of_word("Moderate"), Severity::Level(Level::Medium));
        assert_eq!(Severity::of_word(" UNKNOWN "), Severity::NotSaid);
        assert_eq!(Severity::of_word("spicy"), Severity::Word("spicy".into()));
    }

    #[test]
    fn only_cvss_above_zero_is_a_score_of_how_bad_something_is() {
        let of = |scores: &[(&str, f64)]| {
            let score = |(method, value): &(&str, f64)| Score {
                value: Finite::new(*value).unwrap(),
                method: (*method).into(),
                source: None,
            };
            let scores = scores.iter().map(score).collect();
            Finding { scores, ..Finding::new("CVE-1".into()) }.highest_score().map(Finite::get)
        };
        for method in ["CVSS:3.1", "CVSS:2.0", "cvss_score", "CVSSv31", "CVSS"] {
            assert_eq!(of(&[(method, 5.0), ("epss", 9.9), ("OWASP", 9.0)]), Some(5.0), "{method}");
            assert_eq!(of(&[(method, 0.0)]), None, "{method}");
        }
        for method in ["epss", "other", "OWASP", "SSVC", "nvd", "", "cvs", "\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(of(&[(method, 0.97)]), None, "{method}");
        }
    }

    #[test]
    fn levels_of_scores_meet_at_their_bounds() {
        let of = |score: f64| Level::of_score(Finite::new(score).unwrap());
        let found = [0.0, 0.1, 3.9, 4.0, 6.9, 7.0, 8.9, 9.0, 10.0].map(of);
        use Level::{Critical, High, Low, Medium};
        assert_eq!(found, [Level::None, Low, Low, Medium, Medium, High, High, Critical, Critical]);
    }
}
