//! Puts documents beside an image in a registry of a test's own, as clients of a registry without the API for referrers do. What must not live
//! here: what a document says, and whether promo finds it.

use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{
    Limits, Network, OCI_INDEX, OCI_MANIFEST, OciError, RawManifest, Resolved, Selector, Store, resolve_digest,
};
use promo_sdk::{Context, Digest};
use serde_json::{Value, json};

use crate::registry::Registry;

/// A repository with an image in it.
pub struct Place {
    /// The repository.
    pub store: Store,
    /// The index of the image.
    pub subject: RawManifest,
    /// The image as promo reads it.
    pub what: Resolved,
    /// What a provider needs.
    pub cx: Context,
    _directory: tempfile::TempDir,
}

impl Place {
    /// Pushes an image under a tag.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn of(registry: &Registry, repository: &str, tag: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cx = promo_sdk::testing::context(directory.path());
        let network = Network::of(&cx).expect("a network");
        let store = Store::Registry(network.repository(registry.address(), repository).expect("a repository"));
        let limits = Limits::default();
        let digest = build::image(&store, tag, &Image::new([], vec![b"layer".to_vec()])).await.expect("pushed");
        let what = resolve_digest(&store, &digest, &limits).await.expect("it is there");
        let subject = store.get_manifest(Selector::Digest(&digest), None, &limits).await.expect("it is there");
        Self { store, subject, what, cx, _directory: directory }
    }

    async fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let part = Ok::<_, OciError>(bytes.to_vec().into());
        self.store.put_blob(&digest, size, Box::pin(futures_util::stream::iter([part]))).await.expect("pushed");
        json!({ "digest": digest.to_string(), "mediaType": media_type, "size": size })
    }

    /// Pushes a manifest with one layer of a type, about a subject where there is one.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn put(
        &self,
        media_type: &str,
        bytes: &[u8],
        annotations: Value,
        subject: Option<Digest>,
    ) -> RawManifest {
        let config = self.blob(b"{}", "application/vnd.oci.empty.v1+json").await;
        let mut layer = self.blob(bytes, media_type).await;
        layer["annotations"] = annotations;
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": media_type, "config": config, "layers": [layer],
        });
        if let Some(subject) = subject {
            let about = self.what.tree.iter().find(|entry| entry.digest == subject).expect("a part of the image");
            manifest["subject"] =
                json!({ "digest": subject.to_string(), "mediaType": about.media_type, "size": about.size });
        }
        self.raw(&manifest, OCI_MANIFEST).await
    }

    /// Pushes a manifest as it is.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn raw(&self, manifest: &Value, media_type: &str) -> RawManifest {
        let bytes = manifest.to_string().into_bytes();
        let raw = RawManifest { digest: Digest::of(&bytes), media_type: media_type.into(), bytes };
        self.store.put_manifest(&raw).await.expect("pushed");
        raw
    }

    /// Lists what is beside a subject under its tag, and nothing else (OCI distribution-spec 1.1, "Referrers Tag Schema").
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn list(&self, subject: Digest, referrers: &[&RawManifest]) {
        let one = |raw: &&RawManifest| {
            let manifest: Value = serde_json::from_slice(&raw.bytes).expect("JSON");
            json!({ "digest": raw.digest.to_string(), "mediaType": raw.media_type, "size": raw.bytes.len(),
                "artifactType": manifest["artifactType"] })
        };
        let all: Vec<Value> = referrers.iter().map(one).collect();
        let raw = self.raw(&json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all }), OCI_INDEX).await;
        let before = self.store.head_tag(&tag(subject)).await.expect("it is there or not").map(|head| head.digest);
        self.store.put_tag(&tag(subject), &raw, before.as_ref()).await.expect("pushed");
    }

    /// Puts a document beside a subject, and takes what was there off the list.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn attach(&self, media_type: &str, bytes: &[u8], subject: Digest) {
        let raw = self.put(media_type, bytes, json!({}), Some(subject)).await;
        self.list(subject, &[&raw]).await;
    }
}

/// The tag under which what is beside a digest is listed; cosign's begin so too.
#[must_use]
pub fn tag(subject: Digest) -> String {
    subject.to_string().replace(':', "-")
}

/// A statement of in-toto on a digest that says nothing more.
#[must_use]
pub fn statement(subject: Digest, kind: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": kind, "predicate": {},
        "subject": [{ "name": "app", "digest": { "sha256": subject.hex() } }],
    })
}
