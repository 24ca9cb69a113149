//! When an artifact says that it was created. What must not live here: what follows from it.

use jiff::Timestamp;
use serde::Deserialize;

use super::document::{self, Body, Document, Link};
use super::error::OciError;
use super::nature;
use super::reference::Reference;
use super::store::{Limits, Selector, Store};

/// When it was created (image specification, "Pre-Defined Annotation Keys").
const ANNOTATION: &str = "org.opencontainers.image.created";
/// A configuration is read for one value; larger ones are refused.
const CONFIG_LIMIT: u64 = 4 << 20;

/// What the annotation of the manifest says, or the configuration of its first image (image specification, "Image Configuration").
/// The beginning of 1970 is what builds say that are to be the same whenever they are made, and says nothing.
///
/// # Errors
/// As [`super::resolve()`]; what says a time and can't be read as one (RFC 3339) is malformed.
pub(super) async fn created(
    store: &Store,
    reference: &Reference,
    limits: &Limits,
) -> Result<Option<Timestamp>, OciError> {
    let raw = store.get_reference(reference, limits).await?;
    let mut what = format!("{}@{}", store.name(), raw.digest);
    let mut document = document::parse(&what, &raw)?;
    for _ in 0..=limits.depth {
        if let Some(text) = document.annotations.get(ANNOTATION) {
            return read(&what, text);
        }
        let child = match &document.body {
            Body::Manifest { config, .. } => return of_config(store, config).await,
            Body::Index { children } => children.iter().find(|child| !child.attestation),
        };
        let Some(child) = child else { return Ok(None) };
        (what, document) = manifest(store, child, limits).await?;
    }
    let limit = limits.depth as u64;
    Err(OciError::TooLarge { what: format!("{what}: levels of manifests"), limit, found: limit + 1 })
}

async fn manifest(store: &Store, link: &Link, limits: &Limits) -> Result<(String, Document), OciError> {
    let raw = store.get_manifest(Selector::Digest(&link.digest), Some(&link.media_type), limits).await?;
    let what = format!("{}@{}", store.name(), raw.digest);
    let document = document::parse(&what, &raw)?;
    Ok((what, document))
}

async fn of_config(store: &Store, config: &Link) -> Result<Option<Timestamp>, OciError> {
    #[derive(Deserialize)]
    struct Config {
        created: Option<String>,
    }
    if !nature::IMAGE_CONFIGS.contains(&config.media_type.as_str()) {
        return Ok(None);
    }
    let what = format!("{}@{}", store.name(), config.digest);
    let bytes = store.read_blob(&config.digest, config.size, CONFIG_LIMIT).await?;
    let config: Config = serde_json::from_slice(&bytes)
        .map_err(|error| OciError::malformed(&what, format!("not an image configuration: {error}")))?;
    config.created.map_or(Ok(None), |text| read(&what, &text))
}

fn read(what: &str, text: &str) -> Result<Option<Timestamp>, OciError> {
    let at: Timestamp = text.parse().map_err(|_| {
        let told = super::error::tame(text);
        OciError::malformed(what, format!("`created` is {told}, expected a time as RFC 3339 writes it"))
    })?;
    Ok((at != Timestamp::UNIX_EPOCH).then_some(at))
}
