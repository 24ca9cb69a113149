//! What a deployment or a copy is made from, and what it changes: the part of a plan's step that a provider is given.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::ids::{ArtifactName, EnvironmentName, ReleaseId};
use crate::model::Target;

/// Everything that a deployment or a copy is made from. Nothing else may influence what `ensure` leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The environment.
    pub environment: EnvironmentName,
    /// The release that enters it.
    pub release: ReleaseId,
    /// The place; empty for a copy, whose place is the artifact's repository.
    pub target: Target,
    /// The provider's settings, checked against its schema, `{environment}` replaced.
    pub settings: Value,
    /// The components of the release; exactly one for a copy.
    pub artifacts: BTreeMap<ArtifactName, ArtifactInput>,
    /// The files: path relative to the pipeline file, to digest of its content.
    pub files: BTreeMap<String, Digest>,
}

/// One component as a deployment sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ArtifactInput {
    /// Where this environment takes it from, after mirroring: `registry/repository` or `oci-layout:PATH`.
    pub repository: String,
    /// The digest of its top-level manifest.
    pub digest: Digest,
    /// The tag it carries, for people; never resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// For a copy: the repository it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// For a deployment: the digests of the other manifests of its tree, of which a machine that runs it may name one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tree: Vec<Digest>,
}

impl ArtifactInput {
    /// Whether a repository is that of the artifact: where it is taken from here, or where it was copied from.
    #[must_use]
    pub fn is_in(&self, repository: &str) -> bool {
        self.repository == repository || self.source.as_deref() == Some(repository)
    }
}

/// One file or object that would change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    /// Its path or `Kind/name`.
    pub path: String,
    /// What is there now; none when it would be new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What would be there; none when it would be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
