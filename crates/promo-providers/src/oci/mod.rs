//! Artifacts in OCI registries and image layouts: finding what a reference means, checking every digest behind it, and
//! copying it byte for byte. The identity of an artifact is the digest and media type of the raw bytes of its top-level
//! manifest; registry, repository and tag are only where it lies and what it is called there.
//!
//! What must not live here: authentication towards registries, referrers (signatures, attestations), and chunked
//! uploads, which have their own modules to come; and any decision about which artifact goes where.

pub mod build;
mod copy;
mod document;
mod error;
mod layout;
mod provider;
#[cfg(test)]
mod provider_tests;
mod reference;
mod registry;
mod resolve;
#[cfg(test)]
mod server_tests;
mod store;
#[cfg(test)]
mod tests;
mod transport;

pub use copy::{Copy, CopyReport, copy, verify};
pub use document::{DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, RawManifest};
pub use error::OciError;
pub use layout::{Layout, REF_NAME};
pub use provider::Oci;
pub use reference::{Location, Reference, is_moving_tag, is_tag};
pub use registry::{Network, Registry};
pub use resolve::{BlobEntry, ManifestEntry, PlatformImage, Resolved, resolve, resolve_digest};
pub use store::{BlobStream, Head, Limits, MANIFEST_HARD_LIMIT, Selector, Store};
pub use transport::Retry;
