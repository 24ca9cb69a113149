//! Releases: what travels together, and how it is named (S0.4, S2.1).

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::canonical;
use crate::ids::{ArtifactName, ReleaseId};
use crate::print;

/// What a release is made of: its id is the digest of exactly this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseContent {
    /// Component to digest of its top-level manifest.
    pub components: BTreeMap<ArtifactName, Digest>,
    /// Files that more than one environment uses: path relative to the pipeline file, to digest.
    pub files: BTreeMap<String, Digest>,
}

impl ReleaseContent {
    /// SHA-256 over the canonical JSON of the content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        canonical::digest(self).expect("invariant: texts and digests always have a canonical form")
    }

    /// The id that people see.
    #[must_use]
    pub fn id(&self) -> ReleaseId {
        ReleaseId::from_digest(&self.digest())
    }
}

/// A release as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its content-addressed id.
    pub id: ReleaseId,
    /// What it is made of.
    pub content: ReleaseContent,
    /// Where each component was found: the reference that was given, `repository:tag@digest`.
    pub sources: BTreeMap<ArtifactName, String>,
    /// A name for people, such as `1.4.2`; unique among the releases of a pipeline. What the build said of itself stands beside
    /// the record ([`crate::ledger::record::METADATA`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// A text that cannot be the alias of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an alias {0}")]
pub struct InvalidAlias(&'static str);

/// A name that people give a release. Whoever types it means nothing else: it is neither of the form of a release's id nor a
/// number, since a release could be named by the id or the number of another one.
///
/// Only what is added is held to this. Records keep the alias as text, so that what an older ledger holds is read as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias(String);

impl Alias {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Alias {
    type Err = InvalidAlias;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix('#').unwrap_or(text);
        let of_id = |hex: &str| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if text.is_empty() {
            Err(InvalidAlias("must not be empty"))
        } else if text.chars().any(print::is_unsafe) {
            Err(InvalidAlias("has no line breaks and nothing else that moves a cursor or cannot be seen"))
        } else if text.trim() != text {
            Err(InvalidAlias("neither begins nor ends with a space"))
        } else if number.bytes().all(|b| b.is_ascii_digit()) {
            Err(InvalidAlias("is not a number alone, which names a release by its place in the ledger: `v7` is one"))
        } else if text.strip_prefix("r-").is_some_and(of_id) {
            Err(InvalidAlias("does not look like the id of a release, `r-` and hexadecimal digits"))
        } else {
            Ok(Self(text.to_string()))
        }
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_cannot_be_taken_for_an_id_or_a_number() {
        for good in ["1.4.2", "v7", "winter", "r-next", "#winter", "2026-11", "spring and summer", "r-", "7a"] {
            assert_eq!(good.parse::<Alias>().map(|alias| alias.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "7",
            "#7",
            "#",
            "007",
            "r-05469a5afcdd",
            "r-0546",
            "r-A",
            " a",
            "a ",
            "a\nb",
            "\u{1b}[2J",
            "1.4.2\u{200b}",
            "1.4.2\u{202e}",
            "\u{a0}a",
        ] {
            assert!(bad.parse::<Alias>().is_err(), "{bad:?}");
        }
    }
}
