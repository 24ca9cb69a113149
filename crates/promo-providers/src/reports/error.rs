//! Why a document is not read. What must not live here: any of its content but names of versions and places; a report may quote
//! secrets that a scanner found.

use std::fmt;

/// Where in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A value, by its JSON pointer (RFC 6901). The whole document when it is empty.
    Pointer(String),
    /// A line, from 1.
    Line(u64),
    /// A line and a column in it, both from 1.
    Column(u64, u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(pointer) if pointer.is_empty() => f.write_str("the document"),
            Self::Pointer(pointer) => write!(f, "`{pointer}`"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Column(line, column) => write!(f, "line {line}, column {column}"),
        }
    }
}

/// Why a document gives no facts. The three are different things: nobody knows what it is; promo knows what it is and does not know
/// this version of it; it is not what it says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// No format that promo reads.
    #[error("no report that promo knows: {0}")]
    NotKnown(String),
    /// A format that promo reads, in a version that it does not.
    #[error("{format} in version {found}, and promo reads {known}")]
    UnknownVersion {
        /// The format.
        format: &'static str,
        /// The version that the document has.
        found: String,
        /// The versions that promo reads.
        known: &'static str,
    },
    /// A format and version that promo reads, and something in it is not as the format has it.
    #[error("{format} is broken at {at}: {expected} was expected")]
    Broken {
        /// The format.
        format: &'static str,
        /// Where.
        at: Place,
        /// What should be there.
        expected: String,
    },
    /// More than promo reads of one document.
    #[error("too large to be read: more than {0}")]
    TooLarge(String),
}

/// Text of a document that may be shown: a version or a word, when it looks like one.
pub(super) fn word(text: &str) -> String {
    let is_plain = |ch: char| ch.is_ascii_alphanumeric() || "._-+:/".contains(ch);
    if text.is_empty() {
        "none".to_owned()
    } else if text.len() <= 80 && text.chars().all(is_plain) {
        format!("`{text}`")
    } else {
        "something that is no version".to_owned()
    }
}
