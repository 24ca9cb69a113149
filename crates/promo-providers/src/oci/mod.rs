//! Artifacts in OCI registries and image layouts: finding what a reference means, checking every digest behind it, and
//! copying it byte for byte. The identity of an artifact is the digest and media type of the raw bytes of its top-level
//! manifest; registry, repository and tag are only where it lies and what it is called there.
//!
//! What must not live here: any decision about which artifact goes where.

mod address;
mod attached;
#[cfg(feature = "reports")]
mod attest;
mod auth;
#[cfg(test)]
mod auth_tests;
pub mod build;
mod chart;
mod clients;
mod copy;
mod created;
mod document;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod keeping;
mod layout;
mod nature;
mod provider;
#[cfg(test)]
mod provider_tests;
mod rate;
mod recent;
mod reference;
mod referrers;
mod registry;
mod resolve;
mod said;
mod server;
#[cfg(test)]
mod server_tests;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod upload;
#[cfg(test)]
mod upload_tests;
mod wire;

#[cfg(feature = "reports")]
pub use attest::{Attest, signing_key};
pub use copy::{Copy, CopyReport, copy, verify};
pub use document::{DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, RawManifest};
pub use error::OciError;
pub use keeping::{TagLevel, TagStanding};
pub use layout::{Layout, REF_NAME};
pub use provider::Oci;
pub use reference::{Location, Reference, is_moving_tag, is_tag};
pub use registry::Registry;
pub use resolve::{BlobEntry, ManifestEntry, PlatformImage, Resolved, resolve, resolve_digest};
pub use server::Network;
pub use settings::{RegistrySettings, Settings};
pub use store::{BlobStream, Head, Limits, MANIFEST_HARD_LIMIT, Selector, Store};
pub use wire::Retry;
