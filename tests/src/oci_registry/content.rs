//! What the registry holds. What lives here: repositories, upload sessions, and how an answer is put together. What must
//! not: faults and credentials.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use promo_core::Digest;
use promo_providers::oci::{OCI_INDEX, OCI_MANIFEST};
use serde_json::json;

/// A manifest as it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The `Content-Type` it was put with.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What one repository holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Blobs, by the digest they were put under.
    pub blobs: BTreeMap<Digest, Bytes>,
    /// Manifests, by the digest they were put under.
    pub manifests: BTreeMap<Digest, Stored>,
    /// Tags.
    pub tags: BTreeMap<String, Digest>,
}

impl Repository {
    /// Everything whose bytes are not what its digest says: blobs and manifests that no client should have published.
    #[must_use]
    pub fn wrong(&self) -> Vec<Digest> {
        let manifests = self.manifests.iter().map(|(digest, stored)| (digest, &stored.bytes));
        let all = self.blobs.iter().chain(manifests);
        all.filter(|(digest, bytes)| Digest::of(bytes) != **digest).map(|(digest, _)| *digest).collect()
    }

    /// Puts a manifest with one layer, `text`, there, past all rules. With a subject, an index of so many bytes, it is a
    /// signature of that, for all that a copy knows.
    pub fn put(&mut self, text: &str, subject: Option<(&Digest, u64)>) -> Digest {
        let descriptor = |media_type: &str, digest: Digest, size: u64| json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size });
        let blob = |media_type, bytes: &[u8]| descriptor(media_type, Digest::of(bytes), bytes.len() as u64);
        let mut document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.signature",
            "config": blob("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [blob("application/vnd.example.signature", text.as_bytes())],
        });
        if let Some((digest, size)) = subject {
            document["subject"] = descriptor(OCI_INDEX, *digest, size);
        }
        for blob in [b"{}", text.as_bytes()] {
            self.blobs.insert(Digest::of(blob), blob.to_vec().into());
        }
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        self.manifests.insert(digest, Stored { media_type: OCI_MANIFEST.into(), bytes: bytes.into() });
        digest
    }
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) repositories: BTreeMap<String, Repository>,
    /// By session: the repository and the bytes so far.
    pub(super) uploads: BTreeMap<String, (String, Vec<u8>)>,
    sessions: u64,
}

impl Content {
    /// Opens an upload session; its name has the form of a UUID.
    pub(super) fn open(&mut self, repository: &str) -> String {
        self.sessions += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", self.sessions);
        self.uploads.insert(id.clone(), (repository.into(), Vec::new()));
        id
    }

    /// The repository, made when it is not there: for something that is put into it.
    pub(super) fn at(&mut self, repository: &str) -> &mut Repository {
        self.repositories.entry(repository.into()).or_default()
    }

    pub(super) fn blob(&self, repository: &str, digest: &Digest) -> Option<&Bytes> {
        self.repositories.get(repository)?.blobs.get(digest)
    }
}

/// An answer before faults have happened to it.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Box<HeaderMap>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("invariant: statuses are written in this package");
        Self { status, headers: Box::default(), body: Bytes::new() }
    }

    pub(super) fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let name: HeaderName = name.parse().expect("invariant: header names are written in this package");
        let value = HeaderValue::from_bytes(value.as_ref().as_bytes()).expect("a value that fits a header");
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.with("content-type", media_type)
    }

    /// An error of the specification, "Error Codes".
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let text = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
        Self::new(status).body("application/json", text)
    }
}
