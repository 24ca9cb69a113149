//! Manifests and indexes as typed views over the received bytes. What lives here: the checks that need one document and
//! nothing else (registry.md 1.2, point 3). What must not: serialization; the bytes that came in are the bytes that go out.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use promo_core::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::error::{OciError, tame};

/// OCI image index (image specification, "Image Index").
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest (image specification, "Image Manifest").
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's manifest list (distribution, "Image Manifest V 2, Schema 2").
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image manifest (distribution, "Image Manifest V 2, Schema 2").
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The four media types of top-level manifests that promo copies; what it sends as `Accept`.
pub const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

const ATTESTATION: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");

/// A manifest as it came in: its bytes, and what they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// SHA-256 of `bytes`, computed here.
    pub digest: Digest,
    /// The media type under which it was served: one of [`MANIFEST_TYPES`].
    pub media_type: String,
    /// The bytes as received. Never serialize them anew.
    pub bytes: Vec<u8>,
}

/// A pointer to other content, as a document states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
    /// Fetched from elsewhere, or not to be distributed (registry.md 1.2, point 6).
    pub(super) foreign: bool,
    /// An in-index attestation of BuildKit: copied like any child, but no platform of the artifact.
    pub(super) attestation: bool,
    /// `os/architecture[/variant]`, where the descriptor states it.
    pub(super) platform: Option<String>,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Index { children: Vec<Link> },
    Manifest { config: Link, layers: Vec<Link> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) body: Body,
    pub(super) annotations: BTreeMap<String, String>,
    /// What the document is about, where it is a referrer.
    pub(super) subject: Option<Digest>,
    /// `artifactType`, or the media type of the configuration where that is missing.
    pub(super) artifact_type: Option<String>,
}

impl Document {
    /// What a registry must hold before it takes this document.
    pub(super) fn parts(&self) -> Vec<Digest> {
        match &self.body {
            Body::Index { children } => children.iter().map(|child| child.digest).collect(),
            Body::Manifest { config, layers } => std::iter::once(config).chain(layers).map(|l| l.digest).collect(),
        }
    }
}

/// The fields whose presence says what a document is. As a struct it also refuses a field that is given twice, on which
/// two readers could disagree.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Read whole first: what is passed over is not looked at, and a manifest with bytes that are no UTF-8 (RFC 8259, section
/// 8.1), half a surrogate pair or a number out of range would be taken here and refused by whoever reads all of it.
fn shape(what: &str, bytes: &[u8]) -> Result<Shape, OciError> {
    let problem = |error| OciError::malformed(what, format!("not a manifest: {error}"));
    serde_json::from_slice::<Value>(bytes).map_err(problem)?;
    serde_json::from_slice(bytes).map_err(problem)
}

/// The media type of a manifest that was served as `content_type`, or that a parent calls `content_type`.
pub(super) fn media_type(what: &str, content_type: Option<&str>, bytes: &[u8]) -> Result<String, OciError> {
    let shape = shape(what, bytes)?;
    let is_index = shape.manifests.is_some();
    if shape.schema_version == Some(1) || shape.fs_layers.is_some() {
        return Err(OciError::Unsupported { what: what.into(), problem: "manifest of schema version 1".into() });
    }
    if shape.schema_version != Some(2) {
        return Err(OciError::malformed(what, "`schemaVersion` is not 2"));
    }
    if is_index && (shape.layers.is_some() || shape.config.is_some()) {
        return Err(OciError::malformed(what, "claims to be an index and a manifest at once"));
    }
    let served = content_type.map(|t| t.split(';').next().unwrap_or_default().trim());
    let found = match (served, shape.media_type.as_deref()) {
        (Some(served), Some(stated)) if served != stated => {
            return Err(OciError::Integrity {
                what: format!("{what}: media type"),
                expected: tame(stated),
                found: tame(served),
            });
        }
        (_, Some(stated)) => stated,
        (Some(served), None) => served,
        (None, None) if is_index => OCI_INDEX,
        (None, None) => OCI_MANIFEST,
    };
    if !MANIFEST_TYPES.contains(&found) {
        return Err(OciError::Unsupported {
            what: what.into(),
            problem: format!("media type `{}` is neither an image index nor an image manifest", tame(found)),
        });
    }
    if is_index != matches!(found, OCI_INDEX | DOCKER_LIST) {
        return Err(OciError::malformed(what, format!("the content is not what its media type `{found}` says")));
    }
    Ok(found.into())
}

/// Reads a manifest whose media type [`media_type`] has settled.
pub(super) fn parse(what: &str, manifest: &RawManifest) -> Result<Document, OciError> {
    let problem = |error: serde_json::Error| OciError::malformed(what, format!("not a manifest: {error}"));
    if matches!(manifest.media_type.as_str(), OCI_INDEX | DOCKER_LIST) {
        let index: ImageIndex = serde_json::from_slice(&manifest.bytes).map_err(problem)?;
        let children = index.manifests().iter().map(|d| link(what, d)).collect::<Result<_, _>>()?;
        let annotations = index.annotations().clone().unwrap_or_default().into_iter().collect();
        let subject = index.subject().as_ref().map(|d| link(what, d)).transpose()?.map(|link| link.digest);
        let artifact_type = index.artifact_type().as_ref().map(ToString::to_string);
        Ok(Document { body: Body::Index { children }, annotations, subject, artifact_type })
    } else {
        let image: ImageManifest = serde_json::from_slice(&manifest.bytes).map_err(problem)?;
        let config = link(what, image.config())?;
        let layers = image.layers().iter().map(|d| link(what, d)).collect::<Result<_, _>>()?;
        let annotations = image.annotations().clone().unwrap_or_default().into_iter().collect();
        let subject = image.subject().as_ref().map(|d| link(what, d)).transpose()?.map(|link| link.digest);
        let artifact_type = image.artifact_type().as_ref().map(ToString::to_string);
        let artifact_type = artifact_type.or_else(|| Some(config.media_type.clone()));
        Ok(Document { body: Body::Manifest { config, layers }, annotations, subject, artifact_type })
    }
}

fn link(what: &str, descriptor: &Descriptor) -> Result<Link, OciError> {
    let text = descriptor.digest().as_ref();
    let digest = text.parse().map_err(|_| {
        if text.starts_with("sha512:") {
            OciError::Unsupported { what: what.into(), problem: format!("digest `{}`", tame(text)) }
        } else {
            OciError::malformed(what, format!("`{}` is not a digest", tame(text)))
        }
    })?;
    let media_type = descriptor.media_type().to_string();
    let note = |key: &str| descriptor.annotations().as_ref().and_then(|a| a.get(key));
    let platform = descriptor.platform().as_ref().map(|p| {
        let variant = p.variant().as_ref().map(|v| format!("/{v}")).unwrap_or_default();
        tame(&format!("{}/{}{variant}", p.os(), p.architecture()))
    });
    Ok(Link {
        digest,
        size: descriptor.size(),
        foreign: descriptor.urls().as_ref().is_some_and(|urls| !urls.is_empty())
            || matches!(
                descriptor.media_type(),
                MediaType::ImageLayerNonDistributable
                    | MediaType::ImageLayerNonDistributableGzip
                    | MediaType::ImageLayerNonDistributableZstd
            )
            || media_type.contains(".foreign."),
        // One that names a platform is picked by it and runs, whatever else it says of itself.
        attestation: note(ATTESTATION.0).is_some_and(|v| v == ATTESTATION.1)
            && platform.as_deref().is_none_or(|platform| platform.starts_with("unknown/")),
        media_type,
        platform,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(content_type: Option<&str>, json: &str) -> Result<String, OciError> {
        media_type("there", content_type, json.as_bytes())
    }

    #[test]
    fn a_child_that_names_a_platform_runs_whatever_it_calls_itself() {
        let called = [("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned())];
        for (platform, attestation) in
            [(None, true), (Some(("unknown", "unknown")), true), (Some(("linux", "arm64")), false)]
        {
            let mut child = serde_json::json!({
                "mediaType": OCI_MANIFEST, "size": 1, "digest": Digest::of(b"child").to_string(),
                "annotations": std::collections::HashMap::from(called.clone()),
            });
            if let Some((os, architecture)) = platform {
                child["platform"] = serde_json::json!({ "os": os, "architecture": architecture });
            }
            let bytes = serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] });
            let bytes = bytes.to_string().into_bytes();
            let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.into(), bytes };
            let Body::Index { children } = parse("there", &raw).unwrap().body else { panic!("an index") };
            assert_eq!(children[0].attestation, attestation, "{platform:?}");
        }
    }

    #[test]
    fn a_document_that_is_an_index_and_a_manifest_is_refused() {
        for json in
            [r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, r#"{"schemaVersion":2,"manifests":[],"config":{}}"#]
        {
            assert!(matches!(typed(None, json), Err(OciError::Malformed { .. })), "{json}");
        }
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let json =
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","mediaType":"{OCI_MANIFEST}","layers":[]}}"#);
        assert!(matches!(typed(None, &json), Err(OciError::Malformed { .. })));
        let json = r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
        assert!(matches!(typed(None, json), Err(OciError::Malformed { .. })));
    }

    #[test]
    fn the_content_type_must_be_the_stated_media_type() {
        let json = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        assert_eq!(typed(Some(&format!("{OCI_INDEX}; charset=utf-8")), &json).unwrap(), OCI_INDEX);
        assert_eq!(typed(None, &json).unwrap(), OCI_INDEX);
        for other in [OCI_MANIFEST, DOCKER_LIST, "application/json", ""] {
            assert!(matches!(typed(Some(other), &json), Err(OciError::Integrity { .. })), "{other}");
        }
    }

    #[test]
    fn the_content_must_have_the_shape_of_its_type() {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(typed(None, index).unwrap(), OCI_INDEX);
        assert_eq!(typed(Some(DOCKER_LIST), index).unwrap(), DOCKER_LIST);
        assert!(matches!(typed(Some(OCI_MANIFEST), index), Err(OciError::Malformed { .. })));
        assert!(matches!(typed(Some("text/html"), index), Err(OciError::Unsupported { .. })));
        let image = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        assert!(matches!(typed(Some(OCI_INDEX), image), Err(OciError::Malformed { .. })));
        assert_eq!(typed(Some(DOCKER_MANIFEST), image).unwrap(), DOCKER_MANIFEST);
    }

    #[test]
    fn what_another_reader_would_refuse_is_refused_in_fields_that_are_passed_over_too() {
        let with = |other: &[u8]| [&br#"{"schemaVersion":2,"manifests":[],"other":"#[..], other, b"}"].concat();
        assert!(media_type("there", None, &with(b"\"\xc3\xa9 \\ud83d\\ude00 1e9\"")).is_ok());
        for other in [&b"\"\xff\""[..], b"\"\xed\xa0\x80\"", b"\"\\ud800\"", b"1e999"] {
            let read = media_type("there", None, &with(other));
            assert!(matches!(read, Err(OciError::Malformed { .. })), "{other:x?}");
        }
    }

    #[test]
    fn other_schema_versions_are_refused() {
        for json in [r#"{"schemaVersion":1,"fsLayers":[]}"#, r#"{"schemaVersion":2,"fsLayers":[]}"#] {
            assert!(matches!(typed(None, json), Err(OciError::Unsupported { .. })), "{json}");
        }
        for json in [r#"{"schemaVersion":3,"manifests":[]}"#, r#"{"manifests":[]}"#, "[]", "{", "\"x\""] {
            assert!(matches!(typed(None, json), Err(OciError::Malformed { .. })), "{json}");
        }
    }
}
