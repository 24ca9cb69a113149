//! Statements that promo signs and keeps beside an artifact, as a provider: a bundle of Sigstore in a manifest whose subject is the artifact.
//! What must not live here: what is stated ([`promo_core::attestation`]), and how a signature is made (`signatures`).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use promo_core::attestation::{Attestation, PROVIDER};
use promo_core::{Digest, canonical};
use promo_sdk::{
    ArtifactInput, Context, Description, EffectClass, EnsureAnswer, EnsureRequest, ErrorKind, Inputs, ObserveRequest,
    Provider, ProviderError, State,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::Location;
use super::attached::layers;
use super::document::{self, OCI_MANIFEST, RawManifest};
use super::error::OciError;
use super::provider::{Oci, until_cancelled};
use super::referrers;
use super::store::{Limits, Selector, Store};
use crate::signatures;
use crate::signatures::signing::{BUNDLE, SigningKey};

/// The configuration of a manifest that has none (image specification, "Guidelines for Artifact Usage").
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What cosign writes on a manifest with a bundle: what is in the bundle, and which predicate.
const CONTENT: &str = "dev.sigstore.bundle.content";
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// When a manifest was made (image specification, "Annotations").
const CREATED: &str = "org.opencontainers.image.created";
/// The longest bundle that could be one of promo's, in bytes.
const LONGEST: u64 = 1 << 20;

/// Writes statements beside artifacts. The state of one is the digest of what it says; where none says so that is signed by the key
/// of the step there is nothing, whatever else lies there.
#[derive(Debug)]
pub struct Attest {
    oci: Arc<Oci>,
    limits: Limits,
}

impl Attest {
    /// Through the network of another provider, so that what bounds the requests to a registry bounds those of both together.
    #[must_use]
    pub fn beside(oci: &Arc<Oci>) -> Self {
        Self { oci: oci.clone(), limits: Limits::default() }
    }
}

/// A step: what is said of what, where, and with which key.
struct Asked {
    said: Attestation,
    artifact: ArtifactInput,
    store: Store,
    key: SigningKey,
}

impl Attest {
    fn asked(&self, cx: &Context, inputs: &Inputs) -> Result<Asked, ProviderError> {
        let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
        let said: Attestation = serde_json::from_value(inputs.settings.clone())
            .map_err(|error| invalid(format!("no statement: {error}")))?;
        let mut artifacts = inputs.artifacts.values();
        let (Some(artifact), None) = (artifacts.next(), artifacts.next()) else {
            return Err(invalid(format!("a statement is on exactly one artifact, found {}", inputs.artifacts.len())));
        };
        let key = signing_key(cx, &said.key)?;
        let store = self.oci.open(cx, &artifact.repository.parse::<Location>()?)?;
        Ok(Asked { said, artifact: artifact.clone(), store, key })
    }

    /// Whether it is said already, by this key.
    async fn is_said(&self, asked: &Asked) -> Result<bool, OciError> {
        let subject = asked.artifact.digest;
        for digest in referrers::of_subject(&asked.store, &subject, &self.limits).await? {
            match self.says(asked, &digest).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // What somebody else has left there, and is no document, keeps nobody from saying something.
                Err(
                    OciError::NotFound { .. }
                    | OciError::Malformed { .. }
                    | OciError::Unsupported { .. }
                    | OciError::TooLarge { .. }
                    | OciError::Integrity { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Whether a manifest has the statement, signed by the key.
    async fn says(&self, asked: &Asked, digest: &Digest) -> Result<bool, OciError> {
        let Asked { said, artifact, store, key } = asked;
        let manifest = store.get_manifest(Selector::Digest(digest), None, &self.limits).await?;
        let document = document::parse(&format!("{}@{digest}", store.name()), &manifest)?;
        let other = document.annotations.get(PREDICATE).is_some_and(|kind| *kind != said.predicate_type);
        if document.subject != Some(artifact.digest) || document.artifact_type.as_deref() != Some(BUNDLE) || other {
            return Ok(false);
        }
        // promo writes one: whatever has many of them is no manifest of its own.
        let layers = layers(store, &manifest)?;
        for layer in layers.iter().take(1).filter(|layer| layer.media_type == BUNDLE && layer.size <= LONGEST) {
            let bytes = store.read_blob(&layer.digest, layer.size, LONGEST).await?;
            let statement = signatures::statement(&bytes, key.public());
            let statement = statement.and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
            if statement.is_some_and(|statement| said.is_said_by(&statement, &artifact.digest)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Signs it and puts it there.
    async fn attach(&self, asked: &Asked, now: Timestamp) -> Result<(), ProviderError> {
        let Asked { said, artifact, store, key } = asked;
        let subject = store.get_manifest(Selector::Digest(&artifact.digest), None, &self.limits).await?;
        // To the second, as the formats have it.
        let moment = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
        let canonical = |value: &Value| canonical::to_vec(value).expect("invariant: nothing in it has a fraction");
        let bundle = key
            .bundle(&canonical(&said.statement(artifact, &moment)))
            .map_err(|error| ProviderError::new(ErrorKind::Failed, error.to_string()))?;
        let annotations: BTreeMap<&str, &str> =
            [(CONTENT, "dsse-envelope"), (PREDICATE, &said.predicate_type), (CREATED, &moment)].into();
        let manifest = canonical(&json!({
            "annotations": annotations,
            "artifactType": BUNDLE,
            "config": self.put(store, EMPTY, b"{}".to_vec()).await?,
            "layers": [self.put(store, BUNDLE, bundle).await?],
            "mediaType": OCI_MANIFEST,
            "schemaVersion": 2,
            "subject": {
                "digest": subject.digest.to_string(), "mediaType": subject.media_type, "size": subject.bytes.len(),
            },
        }));
        let described = json!({
            "annotations": annotations, "artifactType": BUNDLE, "digest": Digest::of(&manifest).to_string(),
            "mediaType": OCI_MANIFEST, "size": manifest.len(),
        });
        let manifest = RawManifest { digest: Digest::of(&manifest), media_type: OCI_MANIFEST.into(), bytes: manifest };
        referrers::attach(store, &artifact.digest, &manifest, described, &self.limits).await?;
        Ok(())
    }

    /// Puts a small blob, and gives its descriptor.
    async fn put(&self, store: &Store, media_type: &str, bytes: Vec<u8>) -> Result<Value, OciError> {
        let (digest, size, bytes) = (Digest::of(&bytes), bytes.len() as u64, Bytes::from(bytes));
        let mut attempt = 1;
        // Whether an attempt that broke has come to something is looked at before the next one (S9.2).
        while !store.blob_exists(&digest, size).await? {
            let part = Ok::<_, OciError>(bytes.clone());
            match (store.put_blob(&digest, size, Box::pin(stream::iter([part]))).await, store) {
                (Ok(()), _) => break,
                (Err(error), Store::Registry(registry)) if error.is_transient() && attempt < registry.attempts() => {
                    registry.pause(attempt, error.retry_after()).await;
                    attempt += 1;
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(json!({ "digest": digest.to_string(), "mediaType": media_type, "size": size }))
    }
}

/// The private key of that name: a secret of promo's that is one, or says where one lies.
///
/// # Errors
/// [`ErrorKind::Invalid`] where there is none; it says nothing of what the secret holds.
pub fn signing_key(cx: &Context, name: &str) -> Result<SigningKey, ProviderError> {
    let variable = format!("PROMO_SECRET_{}", name.to_uppercase().replace('-', "_"));
    let bad = |why: &dyn std::fmt::Display| {
        ProviderError::new(ErrorKind::Invalid, format!("the key `{name}` ({variable}) cannot be used: {why}"))
    };
    let held =
        cx.secrets.get(name).ok_or_else(|| bad(&"it is not set; it is to hold a private key in PEM, or its path"))?;
    if held.expose_secret().trim_start().starts_with("-----BEGIN") {
        return SigningKey::of_pem(held.expose_secret()).map_err(|why| bad(&why));
    }
    let read = std::fs::read_to_string(cx.path(held.expose_secret().trim()));
    let text = read.map(SecretString::from).map_err(|error| bad(&format!("the file that it names: {error}")))?;
    SigningKey::of_pem(text.expose_secret()).map_err(|why| bad(&why))
}

#[async_trait]
impl Provider for Attest {
    fn describe(&self) -> Description {
        Description {
            name: PROVIDER.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            effects: EffectClass::Observable,
            kinds: Vec::new(),
        }
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        until_cancelled(cx, async {
            let asked = self.asked(cx, &request.inputs)?;
            let said = self.is_said(&asked).await?;
            Ok(if said { State::Present(asked.said.says(&asked.artifact.digest)) } else { State::Absent })
        })
        .await
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        until_cancelled(cx, async {
            let asked = self.asked(cx, &request.inputs)?;
            let wanted = State::Present(asked.said.says(&asked.artifact.digest));
            if request.desired != wanted {
                let message = "the state that is wanted is not that of the statement that is named";
                return Err(ProviderError::new(ErrorKind::Invalid, message).differs(wanted, request.desired));
            }
            if self.is_said(&asked).await? {
                return Ok(EnsureAnswer { changed: false, detail: "there already".into() });
            }
            if request.expected != State::Absent {
                let message = format!("{}: expected {}, found nothing", asked.store.name(), request.expected);
                return Err(ProviderError::new(ErrorKind::Conflict, message).differs(request.expected, State::Absent));
            }
            let attached = self.attach(&asked, cx.clock.now()).await;
            self.oci.wrote_beside(cx, &asked.store, &asked.artifact.digest);
            attached?;
            let key = Digest::of(&asked.key.public().der());
            Ok(EnsureAnswer { changed: true, detail: format!("signed by the key SHA256:{}", key.hex()) })
        })
        .await
    }
}
