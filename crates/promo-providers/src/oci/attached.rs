//! Documents that are attached to an artifact: what referrers, cosign's tags and attestations within an index have in them (registry.md
//! 1.5, 5.2, 5.5). What must not live here: finding them (`referrers`), and what they say.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use promo_core::Digest;
use promo_sdk::Attached;
use serde::Deserialize;
use serde_json::json;

use super::copy::manifest_of;
use super::document::RawManifest;
use super::error::OciError;
use super::referrers::Companions;
use super::resolve::Resolved;
use super::store::{Limits, Store};

/// The longest document that is read, in bytes: what readers of reports take.
const LONGEST: u64 = 64 << 20;
/// How much is read of all that is not known yet, in bytes.
const MOST: u64 = 256 << 20;
/// How many documents are looked at that are not known yet.
const DOCUMENTS: u64 = 1000;
/// What cosign signs of an image, with the signature beside it.
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What notation signs where it does not sign in JSON (Notary Project, "COSE signature envelope").
const COSE: &str = "application/cose";
/// The name of the file that a layer was (image specification, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";
/// Where the signature stands.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Where there is what it was signed with in place of a key, and under which names `cosign download signature` has it.
const WITHOUT_KEY: [(&str, &str); 3] = [
    ("dev.sigstore.cosign/certificate", "Cert"),
    ("dev.sigstore.cosign/chain", "Chain"),
    ("dev.sigstore.cosign/bundle", "Bundle"),
];

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Option<Vec<Layer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Whether a layer could be a document at all: text of a kind that readers know. LCOV has no media type of its own: it is pushed as plain
/// text, or known by the name of its file.
fn is_document(layer: &Layer) -> bool {
    let bare = layer.media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let title = layer.annotations.as_ref().and_then(|all| all.get(TITLE)).map(String::as_str).unwrap_or_default();
    ["json", "xml"].iter().any(|kind| bare.ends_with(kind))
        || bare == "text/plain"
        || bare.contains("lcov")
        || [".info", ".lcov"].iter().any(|end| title.ends_with(end))
}

/// Reads what is attached to an artifact, but what is known.
///
/// # Errors
/// What the store says, also where only one of them cannot be read; [`OciError::TooLarge`].
pub(super) async fn read(
    store: &Store,
    resolved: &Resolved,
    companions: &Companions,
    known: &BTreeSet<(Digest, Digest)>,
    limits: &Limits,
) -> Result<Vec<Attached>, OciError> {
    let images: BTreeSet<Digest> = resolved.images.iter().map(|image| image.digest).collect();
    // Attestations within an index name in their statements for which platform they are.
    let inside = resolved.tree.iter().filter(|entry| !images.contains(&entry.digest));
    let inside = inside.filter(|entry| entry.digest != resolved.digest);
    let inside = inside.map(|entry| (resolved.digest, resolved, entry.clone()));
    let attached = companions.referrers.iter().map(|referrer| (referrer.subject, &referrer.resolved));
    let sidecars = companions.sidecars.iter().map(|sidecar| (sidecar.subject, &sidecar.resolved));
    let beside = attached.chain(sidecars).map(|(subject, resolved)| (subject, resolved, resolved.tree_entry()));
    let (mut out, mut seen, mut taken, mut looked) = (Vec::new(), BTreeSet::new(), 0_u64, 0_u64);
    let too_large = |what: &str, limit, found| {
        let what = format!("{}@{}: {what}", store.name(), resolved.digest);
        OciError::TooLarge { what, limit, found }
    };
    for (subject, within, entry) in inside.chain(beside) {
        let digest = entry.digest;
        if !seen.insert((subject, digest)) {
            continue;
        }
        // Whoever gathered them has read them.
        let manifest = manifest_of(store, within, &entry, limits).await?;
        let mut wanted = Vec::new();
        for layer in layers(store, &manifest)? {
            if layer.media_type == COSE {
                let unread =
                    Some("a signature of notation in COSE: promo does not verify the form of notation".to_owned());
                let media_type = layer.media_type;
                out.push(Attached { subject, manifest: digest, media_type, bytes: Vec::new(), unread });
                continue;
            }
            if !is_document(&layer) || known.contains(&(subject, layer.digest)) {
                continue;
            }
            looked += 1;
            if layer.size > LONGEST {
                let unread = Some(format!("it says that it has {} bytes, and {LONGEST} are read at most", layer.size));
                out.push(Attached {
                    subject,
                    manifest: digest,
                    media_type: layer.media_type,
                    bytes: Vec::new(),
                    unread,
                });
                continue;
            }
            taken = taken.saturating_add(layer.size);
            wanted.push(layer);
        }
        if looked > DOCUMENTS {
            return Err(too_large("documents that are attached", DOCUMENTS, looked));
        }
        if taken > MOST {
            return Err(too_large("bytes of documents that are attached", MOST, taken));
        }
        for layer in wanted {
            let bytes = store.read_blob(&layer.digest, layer.size, LONGEST).await?;
            let bytes = if layer.media_type == SIMPLE { signature(&bytes, &layer) } else { bytes };
            out.push(Attached { subject, manifest: digest, media_type: layer.media_type, bytes, unread: None });
        }
    }
    Ok(out)
}

/// An index among them has no layers of its own.
pub(super) fn layers(store: &Store, manifest: &RawManifest) -> Result<Vec<Layer>, OciError> {
    let what = || format!("{}@{}", store.name(), manifest.digest);
    let read: Result<Manifest, _> = serde_json::from_slice(&manifest.bytes);
    read.map(|manifest| manifest.layers.unwrap_or_default())
        .map_err(|error| OciError::malformed(what(), error.to_string()))
}

/// What was signed, and the signature that lies beside it. Without one it is a signature that cannot be read, and says nothing.
fn signature(payload: &[u8], layer: &Layer) -> Vec<u8> {
    let at = |key: &str| layer.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let mut out = json!({ "Base64Signature": at(SIGNATURE).unwrap_or(""), "Payload": STANDARD.encode(payload) });
    for (key, name) in WITHOUT_KEY {
        if let Some(text) = at(key) {
            out[name] = text.into();
        }
    }
    out.to_string().into_bytes()
}
