//! Which of the tags of a repository is the newest. What must not live here: where tags come from.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use semver::{BuildMetadata, Version};
use serde::{Deserialize, Serialize};

/// How the newest of several tags is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Newest {
    /// By the version that the tag names ([`version`]).
    #[default]
    Version,
    /// By when what the tag points at was created.
    Created,
}

impl Newest {
    /// As it is written in files; none for another word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "version" => Some(Self::Version),
            "created" => Some(Self::Created),
            _ => None,
        }
    }

    /// Whether a file that says nothing says this.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The version that a tag names, to be compared by the precedence of Semantic Versioning 2.0.0 (section 11): what follows the letters
/// and signs in front of its first digit, with one to three numbers. So `v1.4.2`, `build-17`, `2026.01.05` and `1.4.2-rc.1` name one, and
/// `sha-3f9c2b1` and `latest` do not. What follows `+`, for which a tag has `_`, says nothing (section 10).
#[must_use]
pub fn version(tag: &str) -> Option<Version> {
    let text = &tag[tag.find(|c: char| c.is_ascii_digit())?..];
    let text = text.split(['_', '+']).next().unwrap_or_default();
    let (numbers, after) = match text.split_once('-') {
        Some((numbers, after)) => (numbers, format!("-{after}")),
        None => (text, String::new()),
    };
    let mut parts: Vec<u64> = Vec::new();
    for part in numbers.split('.') {
        // A sign in front is read as a number elsewhere, and is none here.
        parts.push(part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()?);
    }
    let [major, minor, patch] = match *parts.as_slice() {
        [major] => [major, 0, 0],
        [major, minor] => [major, minor, 0],
        [major, minor, patch] => [major, minor, patch],
        _ => return None,
    };
    let mut version = Version::parse(&format!("{major}.{minor}.{patch}{after}")).ok()?;
    version.build = BuildMetadata::EMPTY;
    Some(version)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_names_a_version_or_none() {
        for (tag, expected) in [
            ("1.4.2", "1.4.2"),
            ("v1.4", "1.4.0"),
            ("build-17", "17.0.0"),
            ("2026.01.05", "2026.1.5"),
            ("20261123-12", "20261123.0.0-12"),
            ("release-1.4.2-rc.1", "1.4.2-rc.1"),
            ("1.4.2_3f9c2b1", "1.4.2"),
        ] {
            assert_eq!(version(tag).map(|v| v.to_string()).as_deref(), Some(expected), "{tag}");
        }
        for tag in ["latest", "sha-3f9c2b1", "1.2.3.4", "1..2", "1.4.2-", "99999999999999999999", "", "v"] {
            assert_eq!(version(tag), None, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn whole_versions_are_ordered_as_the_specification_orders_them(
            one in "(0|[1-9][0-9]{0,3})\\.(0|[1-9])\\.(0|[1-9])(-(rc|beta)(\\.[1-9])?)?",
            other in "(0|[1-9][0-9]{0,3})\\.(0|[1-9])\\.(0|[1-9])(-(rc|beta)(\\.[1-9])?)?",
        ) {
            let precedence = Version::parse(&one).unwrap().cmp_precedence(&Version::parse(&other).unwrap());
            let (v_one, v_other) = (version(&format!("v{one}_7")).unwrap(), version(&other).unwrap());
            prop_assert_eq!(v_one.cmp(&v_other), precedence);
        }
    }
}
