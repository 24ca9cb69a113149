//! Findings that somebody answers for, for a time. What must not live here: who may.

use alloc::string::String;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::Finding;

/// A finding that is known, that somebody owns, and that is taken until an instant. An exception without an end is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The vulnerability, by any of its ids.
    pub id: String,
    /// In which packages: a purl without version and qualifiers, in which a `*` stands for anything; in all when there is none.
    pub package: Option<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why it is taken.
    pub reason: String,
    /// When it ends.
    pub expires: Timestamp,
}

impl Exception {
    /// Whether it is about this finding, whatever the time.
    pub(super) fn is_about(&self, finding: &Finding) -> bool {
        let named = |id: &String| id.eq_ignore_ascii_case(&self.id);
        if !(named(&finding.id) || finding.aliases.iter().any(named)) {
            return false;
        }
        let Some(pattern) = &self.package else { return true };
        finding.purl.as_deref().is_some_and(|purl| matches(pattern, plain(purl)))
    }
}

/// A purl without version, qualifiers and subpath (package-url specification, "purl").
pub(super) fn plain(purl: &str) -> &str {
    let purl = purl.split(['?', '#']).next().unwrap_or(purl);
    // An `@` before the last slash belongs to a namespace, such as that of a package of npm.
    match purl.rfind('@') {
        Some(at) if purl.rfind('/').is_none_or(|slash| slash < at) => &purl[..at],
        _ => purl,
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: alloc::vec::Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purl_loses_its_version_and_keeps_its_namespace() {
        for (purl, expected) in [
            ("pkg:deb/debian/openssl@3.0.1-1?arch=amd64", "pkg:deb/debian/openssl"),
            ("pkg:npm/%40angular/core@12.3.1#src", "pkg:npm/%40angular/core"),
            ("pkg:npm/@angular/core", "pkg:npm/@angular/core"),
            ("pkg:npm/@angular/core@1", "pkg:npm/@angular/core"),
            ("pkg:golang/x", "pkg:golang/x"),
        ] {
            assert_eq!(plain(purl), expected);
        }
    }

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_does() {
        for (pattern, text, fits) in [
            ("GPL-*", "GPL-3.0-only", true),
            ("GPL-*", "LGPL-3.0-only", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*ba", "aba", false),
            ("MIT", "MIT-0", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
