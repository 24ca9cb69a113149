//! Releases: what travels together, and how it is named (S0.4, S2.1).

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::canonical;
use crate::ids::{ArtifactName, ReleaseId};

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
