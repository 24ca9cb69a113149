//! The versions that documents bear, and the refusal of newer ones. A document says what it is before it says anything
//! else, so its version is read before the rest is understood: a newer one is refused as that, and never as damage. What
//! may change within a version is told in `docs/reference/compatibility.md`.

use alloc::string::String;

use serde::Deserialize;

/// A document of a newer format than this version knows. Nothing in it is guessed at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} has format {found}, and this version of promo knows format {known}")]
pub struct Newer {
    /// What it is, in words: `the plan`.
    pub what: &'static str,
    /// The format that it bears.
    pub found: u64,
    /// The newest that this version knows.
    pub known: u64,
}

/// What every document of promo bears: other fields are none of this module's business.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    format: u64,
}

/// Refuses a document of this `kind` whose `format` is newer than `known`. Anything else passes, damaged or not: saying
/// what is wrong with it is its reader's.
///
/// # Errors
/// [`Newer`].
pub fn admit(bytes: &[u8], what: &'static str, kind: &str, known: u32) -> Result<(), Newer> {
    match serde_json::from_slice::<Header>(bytes) {
        Ok(header) if header.kind == kind => compare(what, header.format, known.into()),
        _ => Ok(()),
    }
}

/// The same for a signed statement, whose kind ends in its format: `promo/approval/v1`, of which `prefix` is
/// `promo/approval/v`.
///
/// # Errors
/// [`Newer`].
pub fn admit_statement(bytes: &[u8], what: &'static str, prefix: &str, known: u32) -> Result<(), Newer> {
    let found = serde_json::from_slice::<Header>(bytes).ok().and_then(|header| {
        let digits = header.kind.strip_prefix(prefix)?;
        digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
    });
    found.map_or(Ok(()), |found| compare(what, found, known.into()))
}

fn compare(what: &'static str, found: u64, known: u64) -> Result<(), Newer> {
    if found > known { Err(Newer { what, found, known }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_format_of_the_same_kind_is_refused_here() {
        let newer = |found| Err(Newer { what: "the plan", found, known: 1 });
        for (text, expected) in [
            (r#"{"kind":"promo.plan","format":2,"body":{"new":1.5}}"#, newer(2)),
            (r#" {"format": 18446744073709551615, "kind": "promo.plan"}"#, newer(u64::MAX)),
            (r#"{"kind":"promo.plan","format":1}"#, Ok(())),
            (r#"{"kind":"promo.plan","format":0}"#, Ok(())),
            (r#"{"kind":"promo.plan","format":"2"}"#, Ok(())),
            (r#"{"kind":"promo.run","format":2}"#, Ok(())),
            (r#"{"kind":"promo.plan","format":2"#, Ok(())),
        ] {
            assert_eq!(admit(text.as_bytes(), "the plan", "promo.plan", 1), expected, "{text}");
        }
    }

    #[test]
    fn a_statement_bears_its_format_at_the_end_of_its_kind() {
        let newer = Err(Newer { what: "the statement", found: 12, known: 1 });
        for (kind, expected) in [
            ("promo/approval/v12", newer),
            ("promo/approval/v1", Ok(())),
            ("promo/approval/v+2", Ok(())),
            ("promo/approval/v", Ok(())),
            ("promo/verdict/v12", Ok(())),
        ] {
            let text = alloc::format!(r#"{{"kind":"{kind}","more":[]}}"#);
            assert_eq!(admit_statement(text.as_bytes(), "the statement", "promo/approval/v", 1), expected, "{kind}");
        }
    }
}
