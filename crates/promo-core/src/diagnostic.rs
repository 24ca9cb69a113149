//! What is wrong with a file, and where. What lives here: the shape of a diagnostic, the one list of their codes, and
//! the arithmetic from bytes to lines. What must not: drawing (the command line does that) and judging files.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is done until it is put right.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
}

/// A stretch of the file and what it has to do with the matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Bytes of the text, on character boundaries and never beyond its end.
    pub span: Range<usize>,
    /// A few words that stand under the stretch; may be empty where the diagnostic's message says it all.
    pub message: String,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its stable code, one of [`CODES`].
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence: what was found and what was expected.
    pub message: String,
    /// Where: the first label is the place that editors jump to. Empty only where no text is at fault.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
    /// What was probably meant, where a name or a word is misspelt: the text to put at the first label.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    ///
    /// # Panics
    /// When `code` is not in [`CODES`]: a code without a page would leave a reader alone.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        assert!(about(code).is_some(), "invariant: every code is in the registry, and `{code}` is not");
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            help: None,
            suggestion: None,
        }
    }

    /// An error at a place.
    #[must_use]
    pub fn at(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(code, message).label(span, "")
    }

    /// With one more place.
    #[must_use]
    pub fn label(mut self, span: Range<usize>, message: impl Into<String>) -> Self {
        self.labels.push(Label { span, message: message.into() });
        self
    }

    /// With advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the nearest of `candidates` to `word`, when one is near enough to have been meant.
    #[must_use]
    pub fn nearest<'a>(mut self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        self.suggestion = nearest(word, candidates).map(Into::into);
        self
    }

    /// As a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether it stands in the way.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The candidate that `word` was probably meant to be: at most a third of its letters differ, case aside.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes time and space in the product of the lengths, and no candidate is this long.
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= allowed && *distance < c.chars().count())
        .min()
        .map(|(_, c)| c)
}

/// A text with a name, for turning bytes into lines.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// How people call it: a path relative to where they stand.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// A place as editors count: both numbers start at 1, columns are characters (Unicode scalar values).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

impl Source<'_> {
    /// The place of the byte at `offset`; offsets beyond the end mean the end.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// The place of a diagnostic's first label.
    #[must_use]
    pub fn place(&self, diagnostic: &Diagnostic) -> Option<Position> {
        diagnostic.labels.first().map(|label| self.position(label.span.start))
    }
}

/// What a code means, in one line.
#[must_use]
pub fn about(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, about)| *about)
}

/// Every code that a diagnostic can carry and one line about it, in the order of the reference.
pub const CODES: &[(&str, &str)] = &[
    ("toml-syntax", "the text is not TOML"),
    ("toml-encoding", "the file is not UTF-8"),
    ("limit-file-size", "the file is larger than promo reads"),
    ("limit-depth", "tables or lists are nested deeper than promo reads"),
    ("limit-text", "a text is longer than promo reads"),
    ("limit-environments", "a pipeline has more environments than promo takes unless told"),
    ("config-format", "the file is of a format that this version does not read"),
    ("config-unknown-key", "a key that means nothing here"),
    ("config-missing-key", "a key that must be given is not there"),
    ("config-wrong-type", "a value of another type than the key takes"),
    ("config-wrong-value", "a value that the key does not take"),
    ("config-empty", "a list or table that must not be empty is empty (S1.4)"),
    ("config-duplicate", "the same entry stands twice in a list"),
    ("config-name", "a name that is no name: 1 to 63 lower-case letters, digits and inner hyphens"),
    ("config-duration", "a text that is no duration"),
    ("config-unsupported", "a key or kind that this version does not support"),
    ("config-unknown-name", "a name that nothing in the file has"),
    ("config-unknown-kind", "a kind that no provider has"),
    ("config-one-kind", "there must be exactly one kind, and there is none or more than one"),
    ("config-path", "a path that leaves the pipeline's directory"),
    ("config-placeholder", "a placeholder in braces that is not replaced"),
    ("config-no-environment", "a pipeline without environments"),
    ("artifact-reference", "a text that names no repository, or no artifact in one"),
    ("artifact-moving-tag", "a tag that moves, or a tag pattern that lets in such tags"),
    ("target-keys", "a target that its provider cannot deploy to"),
    ("target-duplicate", "two environments deploy to the same place"),
    ("waves-no-targets", "waves of an environment that has no `targets`"),
    ("waves-target-left-out", "a target that is in no wave"),
    ("waves-last-pause", "a pause after the last wave, where nothing waits for it"),
    ("environment-no-target", "an environment deploys, but names no place"),
    ("environment-no-deploy", "an environment has a target, but nothing that deploys there"),
    ("environment-no-verify", "an environment deploys and verifies nothing (S1.4)"),
    ("environment-control-only", "an environment deploys nothing, though the defaults name a provider"),
    ("environment-auto-production", "a production-tier environment starts by itself (S0.3)"),
    ("graph-after-empty", "`after` names nothing; a root simply has none (S1.4)"),
    ("graph-at-least", "`at_least` is not between 1 and the number of environments it counts"),
    ("graph-always", "`always` names an environment that `of` does not (S3.4)"),
    ("graph-self", "an environment comes after itself"),
    ("graph-cycle", "environments come after each other in a circle"),
    ("soak-not-predecessor", "a soak for an environment that does not come before this one"),
    ("window-invalid", "a window that makes no sense"),
    ("gate-empty", "a gate that requires nothing and would let everything pass (S1.4)"),
    ("gate-exception", "an exception whose last day is no date"),
    ("gate-licence", "a licence of a gate that SPDX does not have"),
    ("gate-signers", "a gate that needs more signatures than there are keys that could make them"),
    ("gate-source", "a gate over the source whose repository or refs cannot be meant"),
    ("gate-unused", "a gate that nothing names, so that it binds nothing"),
    ("signer-key", "a signer of whom nobody can say who it is"),
    ("trusted-root", "a trusted root of Sigstore that is none"),
    ("trust-differs", "the pipeline names another ledger or policy than the trust file (S0.1)"),
    ("trust-digest", "a digest that is none"),
    ("trust-policy", "the policy file is not the one that the trust file pins (S7.1)"),
    ("trust-remote-production", "a production-tier environment with remote targets without a trust file (S0.1)"),
    ("policy-missing", "a production-tier environment and no policy to name the people who approve (S0.3)"),
    ("policy-required", "the trust file names a policy, and none was given (S0.1)"),
    ("policy-unused-window", "a window of policy that no tier names, so that it binds nothing"),
    ("policy-always", "`windows = \"always\"` without a reason, or a reason without it (S0.3)"),
    ("policy-expires", "a text that is no date"),
    ("policy-identity", "an identity that cannot be told from another, or an address that is none (S6.3)"),
    ("policy-key", "a text that is no public key, or none that may sign (S6.2)"),
    ("policy-no-key", "an approval rule that asks for more people than have a key"),
    ("policy-claim", "a claim that does not say what it claims"),
    ("policy-unknown-role", "a role that no human identity holds"),
    ("policy-unclaimed-target", "a target that policy does not know (S0.2)"),
    ("policy-tier-too-low", "an environment declares a lower tier than policy claims for its target (S0.2)"),
    ("policy-provider", "a provider that policy does not allow for the tier (S7.2)"),
    ("policy-check-missing", "policy demands a check that the environment does not name (S7.2)"),
    ("policy-artifact-missing", "a gate of policy names an artifact that the pipeline does not have (S7.2)"),
    ("floor-approval", "a production-tier environment that no person approves (S0.3)"),
    ("floor-verification", "a production-tier environment that verifies nothing (S0.3)"),
    ("floor-window", "a production-tier environment without an allow window (S0.3)"),
    ("floor-staging", "a way into production that avoids staging (S0.3)"),
    ("floor-start", "a production-tier environment that starts by itself (S0.3)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_spelt_as_file_names() {
        for (i, (code, about)) in CODES.iter().enumerate() {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
            assert!(!about.is_empty() && CODES[..i].iter().all(|(other, _)| other != code), "{code}");
        }
    }

    #[test]
    fn lines_and_columns_count_characters() {
        let source = Source { name: "a", text: "ä = 1\nüb = 2" };
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(3), Position { line: 1, column: 3 });
        assert_eq!(source.position(1), Position { line: 1, column: 1 }, "inside a character is its start");
        assert_eq!(source.position(7 + 3), Position { line: 2, column: 3 });
        assert_eq!(source.position(999), Position { line: 2, column: 7 });
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["staging", "production", "dev"];
        assert_eq!(nearest("stagign", names), Some("staging"));
        assert_eq!(nearest("Dev", names), Some("dev"));
        assert_eq!(nearest("perf", names), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
