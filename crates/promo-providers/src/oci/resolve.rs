//! What a reference means now: the whole tree behind it, every byte of every manifest checked (registry.md 1.2). What
//! lives here: the walk. What must not: writing, and reading of layers.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use promo_core::Digest;
use promo_core::requirement::{Nature, need};
use serde::{Deserialize, Serialize};

use super::chart;
use super::document::{self, Body, Document, Link, RawManifest};
use super::error::OciError;
use super::nature;
use super::reference::Reference;
use super::store::{Limits, Selector, Store};

/// Manifests that are fetched at once.
const PARALLEL: usize = 4;
/// Bytes of manifests that are kept to be written elsewhere, together: what is behind one reference seldom has more.
const KEPT: usize = 64 << 10;
/// A configuration is read for its labels; larger ones are refused.
const CONFIG_LIMIT: u64 = 4 << 20;

/// A manifest of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A configuration or layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobEntry {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// One image of the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformImage {
    /// The digest of its manifest.
    pub digest: Digest,
    /// `os/architecture[/variant]`, where the index states it.
    pub platform: Option<String>,
    /// The digest of its configuration.
    pub config: Digest,
    /// The labels of its configuration; of a chart, what that says under the keys that annotations have.
    pub labels: BTreeMap<String, String>,
}

/// What a reference means: everything that a copy needs, and nothing that depends on where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The digest of the top-level manifest: with the media type it is the identity of the artifact.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// All manifests, each once, children before the index that names them; the last one is the subject itself.
    pub tree: Vec<ManifestEntry>,
    /// All configurations and layers, each once, ordered by digest.
    pub blobs: Vec<BlobEntry>,
    /// Layers that are fetched from elsewhere or must not be distributed; [`super::copy()`] refuses them.
    pub foreign: Vec<Digest>,
    /// Annotations of the top-level manifest.
    pub annotations: BTreeMap<String, String>,
    /// The images of the artifact, one for each platform, attestations left out, in the order of the index.
    pub images: Vec<PlatformImage>,
    /// What the artifact is, by what these have in them.
    pub nature: Nature,
    /// Manifests as they were received, as long as they are small: a digest stands for the same bytes wherever and whenever
    /// they are read.
    #[serde(skip)]
    pub(super) received: Vec<RawManifest>,
}

impl Resolved {
    /// Bytes of all manifests and blobs together.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        let manifests: u64 = self.tree.iter().map(|m| m.size).sum();
        manifests + self.blobs.iter().map(|b| b.size).sum::<u64>()
    }

    /// The labels that all images of the artifact give alike, as the first of them spells them.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let Some((first, others)) = self.images.split_first() else { return BTreeMap::new() };
        let same = |key: &str, value: &str, other: Option<&String>| other.is_some_and(|o| need::same(key, value, o));
        let agreed =
            |(key, value): &(&String, &String)| others.iter().all(|i| same(key, value, i.labels.get(key.as_str())));
        first.labels.iter().filter(agreed).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// Finds what `reference` means in `store` now, and checks every manifest below it.
///
/// # Errors
/// [`OciError::NotFound`]; [`OciError::TagMoved`] when a tag and a digest are given and differ; [`OciError::Integrity`]
/// when a body, size or media type is not the promised one; [`OciError::TooLarge`] for a tree above the limits;
/// [`OciError::Malformed`] and [`OciError::Unsupported`] for what is no image, index or artifact; transport errors.
pub async fn resolve(store: &Store, reference: &Reference, limits: &Limits) -> Result<Resolved, OciError> {
    let subject = store.get_reference(reference, limits).await?;
    walk(store, subject, limits).await
}

/// The same for a digest in a store that is open already.
///
/// # Errors
/// As [`resolve`].
pub async fn resolve_digest(store: &Store, digest: &Digest, limits: &Limits) -> Result<Resolved, OciError> {
    let subject = store.get_manifest(Selector::Digest(digest), None, limits).await?;
    walk(store, subject, limits).await
}

struct Node {
    manifest: ManifestEntry,
    document: Document,
    /// As the first parent describes it.
    platform: Option<String>,
    attestation: bool,
}

pub(super) async fn walk(store: &Store, subject: RawManifest, limits: &Limits) -> Result<Resolved, OciError> {
    let top = subject.digest;
    let mut nodes: BTreeMap<Digest, Node> = BTreeMap::new();
    let mut bytes = subject.bytes.len() as u64;
    let mut level: Vec<(RawManifest, Option<String>, bool)> = vec![(subject, None, false)];
    let mut depth = 0;
    let mut received: Vec<RawManifest> = Vec::new();
    // Level by level: each digest is fetched once, so neither a cycle nor a crowd of repetitions costs anything.
    loop {
        let mut wanted: BTreeMap<Digest, Link> = BTreeMap::new();
        let mut order = Vec::new();
        let here: BTreeSet<Digest> = level.iter().map(|(raw, ..)| raw.digest).collect();
        for (raw, platform, attestation) in level {
            let what = format!("{}@{}", store.name(), raw.digest);
            let document = document::parse(&what, &raw)?;
            let manifest =
                ManifestEntry { digest: raw.digest, media_type: raw.media_type.clone(), size: raw.bytes.len() as u64 };
            if let Body::Index { children } = &document.body {
                for child in children {
                    if let Some(earlier) = wanted.get(&child.digest) {
                        agree(&what, child, earlier.size, &earlier.media_type)?;
                    } else if !nodes.contains_key(&child.digest) && !here.contains(&child.digest) {
                        order.push((raw.digest, child.digest));
                        bytes = bytes.saturating_add(child.size);
                        wanted.insert(child.digest, child.clone());
                    }
                }
            }
            nodes.insert(raw.digest, Node { manifest, document, platform, attestation });
            if received.iter().map(|kept| kept.bytes.len()).sum::<usize>() + raw.bytes.len() <= KEPT {
                received.push(raw);
            }
        }
        if order.is_empty() {
            break;
        }
        depth += 1;
        if depth > limits.depth {
            return Err(too_large(store, &top, "levels of manifests", limits.depth, depth));
        }
        let total = nodes.len() + order.len();
        if total > limits.manifests {
            return Err(too_large(store, &top, "manifests", limits.manifests, total));
        }
        if bytes > limits.tree_bytes {
            let what = format!("{}@{top}: bytes of manifests", store.name());
            return Err(OciError::TooLarge { what, limit: limits.tree_bytes, found: bytes });
        }
        level = futures_util::stream::iter(order.into_iter().map(|(parent, digest)| (parent, wanted[&digest].clone())))
            .map(|(parent, link)| async move {
                let raw = store.get_manifest(Selector::Digest(&link.digest), Some(&link.media_type), limits).await?;
                // What was counted is what is read.
                agree(&format!("{}@{parent}", store.name()), &link, raw.bytes.len() as u64, &raw.media_type)?;
                Ok::<_, OciError>((raw, link.platform, link.attestation))
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
    }
    // Every descriptor must agree with what it points at, not only the one that was followed.
    for node in nodes.values() {
        let what = format!("{}@{}", store.name(), node.manifest.digest);
        if let Body::Index { children } = &node.document.body {
            for child in children {
                let found = &nodes[&child.digest].manifest;
                agree(&what, child, found.size, &found.media_type)?;
            }
        }
    }
    finish(store, &top, &nodes, received).await
}

fn agree(what: &str, child: &Link, size: u64, media_type: &str) -> Result<(), OciError> {
    if child.size != size {
        return Err(OciError::integrity(format!("{what}: size of {}", child.digest), child.size, size));
    }
    if child.media_type != media_type {
        return Err(OciError::integrity(
            format!("{what}: media type of {}", child.digest),
            &child.media_type,
            media_type,
        ));
    }
    Ok(())
}

fn too_large(store: &Store, top: &Digest, unit: &str, limit: usize, found: usize) -> OciError {
    OciError::TooLarge { what: format!("{}@{top}: {unit}", store.name()), limit: limit as u64, found: found as u64 }
}

async fn finish(
    store: &Store,
    top: &Digest,
    nodes: &BTreeMap<Digest, Node>,
    received: Vec<RawManifest>,
) -> Result<Resolved, OciError> {
    let mut tree = Vec::new();
    let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut foreign = BTreeSet::new();
    let (mut images, mut natures) = (Vec::new(), Vec::new());
    for digest in children_first(top, nodes) {
        let node = &nodes[&digest];
        tree.push(node.manifest.clone());
        let Body::Manifest { config, layers } = &node.document.body else { continue };
        for blob in std::iter::once(config).chain(layers) {
            if blob.foreign {
                foreign.insert(blob.digest);
            }
            if *sizes.entry(blob.digest).or_insert(blob.size) != blob.size {
                let what = format!("{}@{digest}: size of {}", store.name(), blob.digest);
                return Err(OciError::integrity(what, sizes[&blob.digest], blob.size));
            }
        }
        // What has layers of an image can be run, also where one of the places that name it calls it an attestation.
        if !node.attestation || layers.iter().any(nature::is_image_layer) {
            natures.push(nature::of_manifest(config, layers));
            images.push((digest, node.platform.clone(), config.clone()));
        }
    }
    let images = futures_util::stream::iter(images)
        .map(|(digest, platform, config)| async move {
            let labels = read_labels(store, &config).await?;
            Ok::<_, OciError>(PlatformImage { digest, platform, config: config.digest, labels })
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let subject = &nodes[top];
    Ok(Resolved {
        digest: *top,
        media_type: subject.manifest.media_type.clone(),
        size: subject.manifest.size,
        tree,
        blobs: sizes.into_iter().map(|(digest, size)| BlobEntry { digest, size }).collect(),
        foreign: foreign.into_iter().collect(),
        annotations: subject.document.annotations.clone(),
        images,
        nature: nature::of_all(natures),
        received,
    })
}

/// The manifests in the order in which they can be written: none before its children. A cycle (which would need broken
/// hashes) does not loop.
fn children_first(top: &Digest, nodes: &BTreeMap<Digest, Node>) -> Vec<Digest> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::from([*top]);
    let mut stack = vec![(*top, 0)];
    while let Some((digest, next)) = stack.pop() {
        let child = match &nodes[&digest].document.body {
            Body::Index { children } => children.get(next),
            Body::Manifest { .. } => None,
        };
        match child {
            Some(child) => {
                stack.push((digest, next + 1));
                if seen.insert(child.digest) {
                    stack.push((child.digest, 0));
                }
            }
            None => out.push(digest),
        }
    }
    out
}

/// What the configuration of a chart, its `Chart.yaml` in JSON, says that an annotation has a key for: its version. That of what it installs
/// is another, and has its own name.
async fn of_chart(store: &Store, config: &Link) -> Result<BTreeMap<String, String>, OciError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Chart {
        version: Option<String>,
        app_version: Option<String>,
    }
    let what = || format!("{}@{}", store.name(), config.digest);
    let bytes = store.read_blob(&config.digest, config.size, CONFIG_LIMIT).await?;
    let chart: Chart = serde_json::from_slice(&bytes)
        .map_err(|error| OciError::malformed(what(), format!("not the configuration of a chart: {error}")))?;
    let said = [(need::VERSION, chart.version), (need::APP_VERSION, chart.app_version)];
    Ok(said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

/// `config.Labels` of an image configuration (image specification, "Image Configuration"), what a chart says of itself; nothing for other
/// artifacts.
async fn read_labels(store: &Store, config: &Link) -> Result<BTreeMap<String, String>, OciError> {
    #[derive(Deserialize)]
    struct Config {
        config: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, String>>,
    }
    if config.media_type == chart::CONFIG {
        return of_chart(store, config).await;
    }
    if !nature::IMAGE_CONFIGS.contains(&config.media_type.as_str()) {
        return Ok(BTreeMap::new());
    }
    let bytes = store.read_blob(&config.digest, config.size, CONFIG_LIMIT).await?;
    let config: Config = serde_json::from_slice(&bytes).map_err(|error| {
        OciError::malformed(
            format!("{}@{}", store.name(), config.digest),
            format!("not an image configuration: {error}"),
        )
    })?;
    Ok(config.config.and_then(|c| c.labels).unwrap_or_default())
}
