//! Two registries, an image in one of them, and what is asked after a copy. What must not live here: tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use promo_core::Digest;
use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{Limits, Network, Oci, OciError, Resolved, Settings, Store, resolve_digest};
use promo_sdk::testing::FakeClock;
use promo_sdk::{ArtifactInput, EnsureAnswer, EnsureRequest, ErrorKind, Inputs, Provider as _, ProviderError, State};
use promo_tests::oci_registry::{Behaviour, Entry, OciRegistry, writes_after};
use serde_json::Value;

pub(crate) const SOURCE: &str = "team/app";
pub(crate) const DESTINATION: &str = "prod/app";
pub(crate) const TAG: &str = "1.0.0";

pub(crate) struct World {
    pub(crate) source: OciRegistry,
    pub(crate) destination: OciRegistry,
    /// What the tag points at in the source.
    pub(crate) what: Resolved,
    /// The manifest of a signature of it.
    pub(crate) signature: Digest,
    pub(crate) clock: Arc<FakeClock>,
    /// Requests that had come to the destination when the last copy ended.
    ended: AtomicUsize,
    http: reqwest::Client,
}

/// What the provider says that a step did.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) changed: bool,
    pub(crate) referrers: u64,
}

pub(crate) fn image(mark: &str) -> Image {
    let layer = |size: usize| (0..size).map(|i| (i * 31 + size + i / 251) as u8).collect();
    Image::new([("org.opencontainers.image.version", mark)], vec![layer(20_000), layer(3_000), layer(7)])
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(&image("1")).await
    }

    pub(crate) async fn with(image: &Image) -> Self {
        let source = OciRegistry::start(Behaviour::default()).await;
        let destination = OciRegistry::start(Behaviour::default()).await;
        let http = promo_sdk::http_clients().no_proxy().build().unwrap();
        let clock = source.clock();
        let network = Network::new(http.clone(), clock.clone());
        let there = Store::Registry(network.repository(source.address(), SOURCE).unwrap());
        let digest = build::image(&there, TAG, image).await.unwrap();
        let what = resolve_digest(&there, &digest, &Limits::default()).await.unwrap();
        let signature = sign(&source, &what, "a signature, for all that a copy knows");
        source.behave(Behaviour::default());
        Self { source, destination, what, signature, clock, ended: AtomicUsize::new(0), http }
    }

    /// A network that has learnt nothing yet.
    pub(crate) fn network(&self) -> Network {
        Network::new(self.http.clone(), self.clock.clone())
    }

    /// The same, which may be sent to private addresses.
    pub(crate) fn allowing(&self, addresses: &[&str]) -> Network {
        let allow: std::collections::BTreeSet<String> = addresses.iter().map(|a| (*a).to_string()).collect();
        let settings = promo_providers::oci::RegistrySettings { allow, ..Default::default() };
        let both = [&self.source, &self.destination].map(|r| (r.address().to_string(), settings.clone()));
        self.network().with_settings(both.into_iter().collect::<Settings>())
    }

    pub(crate) fn from(&self, network: &Network) -> Store {
        Store::Registry(network.repository(self.source.address(), SOURCE).unwrap())
    }

    /// What plan does: everything is read and checked.
    pub(crate) async fn resolve(&self, network: &Network) -> Result<Resolved, OciError> {
        resolve_digest(&self.from(network), &self.what.digest, &Limits::default()).await
    }

    /// What a step of apply does with what plan has found.
    pub(crate) async fn copy(&self, network: &Network) -> Result<Copied, ProviderError> {
        let mut cx = promo_sdk::testing::context("/nowhere");
        cx.clock = self.clock.clone();
        let (expected, desired, changes) = (State::Absent, State::Present(self.what.digest), Vec::new());
        let request = EnsureRequest {
            inputs: self.inputs(),
            expected,
            desired,
            changes,
            token: "run/1".into(),
            epoch: 1,
            ledger: String::new(),
        };
        let result = Oci::new().with_network(network.clone()).ensure(&cx, &request).await;
        self.ended.store(self.destination.journal().len(), Ordering::SeqCst);
        // What was given up may still arrive: it belongs into the journal of this copy, and not of the next one.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let EnsureAnswer { changed, detail } = result?;
        let referrers = detail.strip_suffix(" referrers").and_then(|text| text.rsplit(' ').next()?.parse().ok());
        Ok(Copied { changed, referrers: referrers.unwrap_or_default() })
    }

    /// Both, one after the other.
    pub(crate) async fn promote(&self, network: &Network) -> Result<Copied, ProviderError> {
        self.resolve(network).await?;
        self.copy(network).await
    }

    /// An empty destination, and both behave like this.
    pub(crate) fn again(&self, source: Behaviour, destination: Behaviour) {
        self.ended.store(0, Ordering::SeqCst);
        self.source.behave(source);
        self.destination.empty();
        self.destination.behave(destination);
    }

    /// Everything that the source has arrived, byte for byte, under the tag.
    pub(crate) fn assert_whole(&self, context: &str) {
        let (from, to) = (self.source.repository(SOURCE), self.destination.repository(DESTINATION));
        assert_eq!(to.tags.get(TAG), Some(&self.what.digest), "{context}");
        for entry in &self.what.tree {
            assert_eq!(to.manifests.get(&entry.digest), from.manifests.get(&entry.digest), "{context}");
        }
        for blob in &self.what.blobs {
            assert_eq!(to.blobs.get(&blob.digest), from.blobs.get(&blob.digest), "{context}");
        }
        assert!(to.manifests.contains_key(&self.signature), "{context}: the signature goes along");
        assert_eq!(to.wrong(), [], "{context}");
        // Of one whose opening was not heard of nobody can tell the registry.
        if !self.destination.journal().iter().any(|entry| entry.faulty && entry.method == "POST") {
            self.assert_no_upload_is_left(context);
        }
    }

    /// No tag, nothing under a digest that it does not have, no manifest after the first lie was told, and no byte of a blob
    /// once the copy was said to have failed.
    pub(crate) fn assert_nothing_published(&self, context: &str) {
        let there = self.destination.repository(DESTINATION);
        assert!(there.tags.is_empty(), "{context}: {:?}", there.tags);
        assert_eq!(there.wrong(), [], "{context}");
        let all = self.destination.journal();
        let journals = [self.source.journal(), all.clone()];
        let lie = journals.iter().flatten().filter(|e| e.faulty).filter_map(|e| e.answered).min().expect(context);
        let late: Vec<String> =
            writes_after(&all, lie).into_iter().filter(|e| e.is_manifest()).map(Entry::line).collect();
        assert_eq!(late, Vec::<String>::new(), "{context}");
        let failed = self.ended.load(Ordering::SeqCst);
        let after = all[failed..].iter().filter(|e| e.writes() && e.method != "DELETE");
        let (opened, sent): (Vec<&Entry>, Vec<&Entry>) = after.partition(|e| e.method == "POST");
        let lines = |entries: Vec<&Entry>| entries.into_iter().map(Entry::line).collect::<Vec<_>>();
        assert_eq!(lines(sent), Vec::<String>::new(), "{context}: after it has failed");
        // What was under way beside it, of four at once, may arrive when nobody waits for it any more.
        assert!(opened.len() <= 3, "{context}: after it has failed: {:?}", lines(opened));
    }

    /// Every upload is finished or given up, and none is given up that was finished.
    pub(crate) fn assert_no_upload_is_left(&self, context: &str) {
        assert_eq!(self.destination.open_uploads(), 0, "{context}: an upload is left open");
        let all = self.destination.journal();
        for given_up in all.iter().filter(|entry| entry.method == "DELETE") {
            let finished = |e: &Entry| e.method == "PUT" && e.status == 201 && e.path == given_up.path;
            assert!(!all[..given_up.number - 1].iter().any(finished), "{context}: {} is finished", given_up.line());
        }
    }

    /// What the engine asks the provider about.
    pub(crate) fn inputs(&self) -> Inputs {
        let artifact = ArtifactInput {
            repository: format!("{}/{DESTINATION}", self.destination.address()),
            digest: self.what.digest,
            tag: Some(TAG.into()),
            source: Some(format!("{}/{SOURCE}", self.source.address())),
            tree: Vec::new(),
        };
        Inputs {
            environment: "production".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target(BTreeMap::new()),
            settings: Value::Null,
            artifacts: BTreeMap::from([("app".parse().unwrap(), artifact)]),
            files: BTreeMap::new(),
        }
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        self.destination.journal().iter().filter(|entry| entry.writes()).map(Entry::line).collect()
    }
}

/// What the engine is told.
pub(crate) fn kind(error: impl Into<ProviderError>) -> ErrorKind {
    error.into().kind
}

/// A signature of the artifact, put beside it past all rules.
pub(crate) fn sign(source: &OciRegistry, what: &Resolved, text: &str) -> Digest {
    let mut digest = None;
    source.edit(SOURCE, |there| digest = Some(there.put(text, Some((&what.digest, what.size)))));
    digest.unwrap()
}

/// A manifest of the source as JSON.
pub(crate) fn document(world: &World, digest: &Digest) -> Value {
    serde_json::from_slice(&world.source.repository(SOURCE).manifests[digest].bytes).unwrap()
}
