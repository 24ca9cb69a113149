//! Container images for fixtures, written where an OCI layout or a registry keeps them: faster than a push, and without
//! a tool whose speed would be in question itself.

use super::write;
use crate::Outcome;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::Path;

/// The media types of the image specification.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image: its manifest, and every blob of it, the manifest too.
pub(super) struct Image {
    manifest: String,
    manifest_bytes: usize,
    blobs: Vec<(String, Vec<u8>)>,
}

impl Image {
    /// `layers` layers of `bytes` bytes each that do not compress.
    pub(super) fn new(layers: usize, bytes: usize) -> Self {
        Self::of(0..layers, bytes)
    }

    /// One layer for each seed; images have in common the layers whose seeds they share.
    pub(super) fn of(seeds: impl IntoIterator<Item = usize>, bytes: usize) -> Self {
        let mut blobs: Vec<(String, Vec<u8>)> = seeds.into_iter().map(|seed| named(noise(seed, bytes))).collect();
        let descriptor = |kind: &str, (digest, blob): &(String, Vec<u8>)| {
            format!(r#"{{"mediaType":"{kind}","digest":"sha256:{digest}","size":{}}}"#, blob.len())
        };
        let list: Vec<String> = blobs.iter().map(|blob| descriptor(LAYER, blob)).collect();
        let ids: Vec<String> = blobs.iter().map(|(digest, _)| format!(r#""sha256:{digest}""#)).collect();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            ids.join(",")
        );
        let config = named(config.into_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, &config),
            list.join(",")
        );
        let manifest_bytes = manifest.len();
        let manifest = named(manifest.into_bytes());
        let digest = manifest.0.clone();
        blobs.extend([config, manifest]);
        Self { manifest: digest, manifest_bytes, blobs }
    }

    /// The hexadecimal digits of the digest of its manifest.
    pub(super) fn digest(&self) -> &str {
        &self.manifest
    }

    /// Writes an OCI image layout with one tag.
    pub(super) fn layout(&self, dir: &Path, tag: &str) -> Outcome {
        write(&dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        for (digest, blob) in &self.blobs {
            write(&dir.join("blobs/sha256").join(digest), blob)?;
        }
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"sha256:{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}}}]}}"#,
            self.manifest, self.manifest_bytes
        );
        write(&dir.join("index.json"), index)
    }

    /// Writes one repository with one tag into the storage of a CNCF distribution registry, while it is not running.
    pub(super) fn registry(&self, storage: &Path, repository: &str, tag: &str) -> Outcome {
        let v2 = storage.join("docker/registry/v2");
        let home = v2.join("repositories").join(repository);
        for (digest, blob) in &self.blobs {
            write(&v2.join("blobs/sha256").join(&digest[..2]).join(digest).join("data"), blob)?;
            if *digest != self.manifest {
                write(&home.join("_layers/sha256").join(digest).join("link"), format!("sha256:{digest}"))?;
            }
        }
        let (tags, link) = (home.join("_manifests/tags").join(tag), format!("sha256:{}", self.manifest));
        write(&home.join("_manifests/revisions/sha256").join(&self.manifest).join("link"), &link)?;
        write(&tags.join("current/link"), &link)?;
        write(&tags.join("index/sha256").join(&self.manifest).join("link"), &link)
    }
}

fn named(bytes: Vec<u8>) -> (String, Vec<u8>) {
    let name = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    });
    (name, bytes)
}

/// Bytes that look random and are the same every time: a counter through Weyl steps and xorshift.
fn noise(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed as u64 + 1) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn an_image_is_the_same_every_time_and_its_layers_differ() {
        let (one, two) = (Image::new(2, 1000), Image::new(2, 1000));
        assert_eq!(one.manifest, two.manifest);
        assert_ne!(one.blobs[0].0, one.blobs[1].0);
        assert_eq!(one.blobs[0].1.len(), 1000);
    }
}
