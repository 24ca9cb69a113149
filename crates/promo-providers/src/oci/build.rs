//! Small images for examples and tests. What lives here: making an image index in a layout from bytes that are given.
//! What must not: anything that a build tool does; nobody ships what this makes.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt as _;
use promo_core::{Digest, canonical};
use serde_json::{Value, json};

use super::document::{OCI_INDEX, OCI_MANIFEST, RawManifest};
use super::error::OciError;
use super::store::Store;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `os/architecture`, one image each.
    pub platforms: Vec<String>,
    /// Labels of every configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// Layers of every image, as uncompressed tar archives (any bytes do for tests).
    pub layers: Vec<Vec<u8>>,
}

impl Image {
    /// An image for `linux/amd64` and `linux/arm64`.
    pub fn new<const N: usize>(labels: [(&str, &str); N], layers: Vec<Vec<u8>>) -> Self {
        Self {
            platforms: vec!["linux/amd64".into(), "linux/arm64".into()],
            labels: labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            annotations: BTreeMap::new(),
            layers,
        }
    }
}

/// Puts the image into `store` and tags it. The same input gives the same bytes, wherever and whenever it is built.
/// Returns the digest of the index.
///
/// # Errors
/// What the store says; [`OciError::TagConflict`] when the tag holds another image.
pub async fn image(store: &Store, tag: &str, image: &Image) -> Result<Digest, OciError> {
    let mut layers = Vec::new();
    for bytes in &image.layers {
        layers.push(blob(store, LAYER, bytes.clone()).await?);
    }
    let diff_ids: Vec<Value> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    let mut children = Vec::new();
    for platform in &image.platforms {
        let (os, architecture) = platform.split_once('/').unwrap_or(("linux", platform));
        let config = json!({
            "architecture": architecture,
            "config": { "Labels": image.labels },
            "os": os,
            "rootfs": { "diff_ids": diff_ids, "type": "layers" },
        });
        let config = blob(store, CONFIG, bytes_of(&config)).await?;
        let manifest = raw(
            OCI_MANIFEST,
            &json!({ "config": config, "layers": layers, "mediaType": OCI_MANIFEST, "schemaVersion": 2 }),
        );
        store.put_manifest(&manifest).await?;
        let mut child = descriptor(OCI_MANIFEST, &manifest.bytes);
        child["platform"] = json!({ "architecture": architecture, "os": os });
        children.push(child);
    }
    let mut index = json!({ "manifests": children, "mediaType": OCI_INDEX, "schemaVersion": 2 });
    if !image.annotations.is_empty() {
        index["annotations"] = json!(image.annotations);
    }
    let index = raw(OCI_INDEX, &index);
    store.put_manifest(&index).await?;
    store.put_tag(tag, &index, None).await?;
    Ok(index.digest)
}

fn bytes_of(value: &Value) -> Vec<u8> {
    canonical::to_vec(value).expect("invariant: texts and small numbers have a canonical form")
}

fn raw(media_type: &str, value: &Value) -> RawManifest {
    let bytes = bytes_of(value);
    RawManifest { digest: Digest::of(&bytes), media_type: media_type.into(), bytes }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "digest": Digest::of(bytes).to_string(), "mediaType": media_type, "size": bytes.len() })
}

async fn blob(store: &Store, media_type: &str, bytes: Vec<u8>) -> Result<Value, OciError> {
    let descriptor = descriptor(media_type, &bytes);
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    if !store.blob_exists(&digest, size).await? {
        let stream = futures_util::stream::once(async move { Ok(Bytes::from(bytes)) }).boxed();
        store.put_blob(&digest, size, stream).await?;
    }
    Ok(descriptor)
}
