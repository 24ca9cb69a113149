//! Names and identifiers, each a type of its own, so that an environment can never be passed where a check is meant.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A text that is not a name: names follow RFC 1123 labels, because they end up in DNS names, tags and paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name for {what}: expected 1 to 63 lower-case letters, digits and inner hyphens")]
pub struct InvalidName {
    /// What the name was for.
    pub what: &'static str,
    /// The text, cut to 100 characters.
    pub text: String,
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|&b| inner(b) || b == b'-')
        && inner(bytes[0])
        && inner(bytes[bytes.len() - 1])
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.to_string().try_into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                if is_label(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { what: $what, text: text.chars().take(100).collect() })
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )+};
}

names! {
    /// The name of a pipeline.
    PipelineName = "a pipeline";
    /// The name of an environment, a node of the graph.
    EnvironmentName = "an environment";
    /// The name under which a release carries one artifact.
    ArtifactName = "an artifact";
    /// The name of a check.
    CheckName = "a check";
    /// The name of a gate over evidence.
    GateName = "a gate";
    /// The name under which a document of evidence is brought, such as that of a suite of tests.
    SuiteName = "a suite";
    /// The name under which a file states whose signatures it takes.
    SignerName = "a signer";
    /// The name of a window or freeze.
    WindowName = "a window";
    /// The name of one place that an environment deploys to.
    TargetName = "a target";
    /// The name of a role that policy gives to identities.
    RoleName = "a role";
    /// The name of a person or machine that policy knows.
    IdentityName = "an identity";
    /// The id of one application of one plan.
    RunId = "a run";
}

/// The content-addressed id of a release (S2.1): `r-` and the first 12 hexadecimal digits of its digest.
///
/// 48 bits are enough to name a release within one ledger: adding a second release with the same id and another
/// content is refused when it enters the ledger.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ReleaseId(String);

impl ReleaseId {
    /// The id that belongs to the digest of a release's content.
    #[must_use]
    pub fn from_digest(digest: &crate::Digest) -> Self {
        Self(alloc::format!("r-{}", digest.short()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReleaseId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("r-") {
            Some(hex) if hex.len() == 12 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidName {
                what: "a release (`r-` and 12 hexadecimal digits)",
                text: text.chars().take(100).collect(),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for ReleaseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_names() {
        for good in ["a", "prod-eu-1", "9"] {
            assert!(good.parse::<EnvironmentName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Prod", "a_b", "ä", "a.b", &"a".repeat(64)] {
            assert!(bad.parse::<EnvironmentName>().is_err(), "{bad}");
        }
        assert!("r-0123456789ab".parse::<ReleaseId>().is_ok());
        assert!("r-0123456789AB".parse::<ReleaseId>().is_err());
    }
}
