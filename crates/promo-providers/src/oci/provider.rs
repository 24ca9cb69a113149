//! The OCI store as a provider. What lives here: the words of `promo_sdk` on one side, those of this module on the other.
//! What must not: anything about registries or layouts that the rest of the module does not offer.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::Digest;
use promo_sdk::{
    ArtifactInput, Attached, AttachedRequest, Context, Description, EffectClass, EnsureAnswer, EnsureRequest,
    ErrorKind, FileChange, Inputs, ObserveRequest, Preview, Provider, ProviderError, ResolveRequest, Resolved, State,
};

use super::copy::{companions, copy_to_free};
use super::error::tame;
use super::layout::Layout;
use super::recent::{Beside, Recent};
use super::referrers::Companions;
use super::said;
use super::{
    Copy, Limits, Location, Network, OciError, Reference, Store, attached, created, referrers, resolve, resolve_digest,
    verify,
};

/// Resolves artifacts, and copies them between registries and image layouts. The state of a place is the digest under
/// the artifact's tag there, or of the artifact itself where it carries no tag.
///
/// One value serves one run: what it learns about a registry (where blobs lie already) is kept for the next artifact, and
/// what it saw a moment ago is not asked again, unless something is written on it.
#[derive(Debug, Default)]
pub struct Oci {
    network: OnceLock<Network>,
    limits: Limits,
    recent: Recent,
}

impl Oci {
    /// With default limits; https everywhere but on loopback.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Other limits on manifests and trees.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Through this network, and not through one that is made from the context of the first call.
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        Self { network: network.into(), ..self }
    }

    pub(super) fn open(&self, cx: &Context, location: &Location) -> Result<Store, ProviderError> {
        if let Location::Layout { path } = location {
            // It is asked for no client: a layout can be read where no server may be reached.
            return Ok(Store::Layout(Layout::new(cx.root.join(path), location.to_string())));
        }
        let network = match self.network.get() {
            Some(network) => network,
            None => {
                let network = Network::of(cx)?;
                self.network.get_or_init(|| network)
            }
        };
        Ok(Store::open(location, &cx.root, network)?)
    }

    /// The place of the one artifact of a copy: its store and the name of the place for a person.
    fn place(&self, cx: &Context, inputs: &Inputs) -> Result<(Store, ArtifactInput), ProviderError> {
        let mut artifacts = inputs.artifacts.values();
        let (Some(artifact), None) = (artifacts.next(), artifacts.next()) else {
            let message = format!("a copy has exactly one artifact, found {}", inputs.artifacts.len());
            return Err(ProviderError::new(ErrorKind::Invalid, message));
        };
        let store = self.open(cx, &artifact.repository.parse::<Location>()?)?;
        Ok((store, artifact.clone()))
    }

    async fn state(&self, store: &Store, artifact: &ArtifactInput) -> Result<State, OciError> {
        let found = match &artifact.tag {
            Some(tag) => store.head_tag(tag).await?.map(|head| head.digest),
            None => store.head_digest(&artifact.digest).await?.map(|head| head.digest),
        };
        let Some(digest) = found else { return Ok(State::Absent) };
        // A registry takes no manifest without its parts. Files can be lost one by one, so there the parts are read.
        if matches!(store, Store::Layout(_)) {
            match verify(store, &digest, &self.limits).await {
                Ok(_) => {}
                Err(OciError::NotFound { .. }) if artifact.tag.is_none() => return Ok(State::Absent),
                Err(OciError::NotFound { what }) => {
                    let expected = "every part of what the tag points at";
                    return Err(OciError::integrity(what, expected, "nothing, or a damaged file"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(State::Present(digest))
    }

    /// The same for a copy. Its source is read by another way, so that whoever reads of damage knows on which side it is.
    async fn destination(&self, store: &Store, artifact: &ArtifactInput) -> Result<State, ProviderError> {
        self.state(store, artifact).await.map_err(|error| {
            let damaged = matches!(error, OciError::Integrity { .. });
            let mut error = ProviderError::from(error);
            if damaged {
                error.message = format!("the copy at the destination is damaged, not its source: {}", error.message);
            }
            error
        })
    }

    /// The state for a step, which looks before it acts and after: once for the step and the action that follows, and not
    /// at all where it was just seen to be settled.
    async fn observed(&self, cx: &Context, store: &Store, artifact: &ArtifactInput) -> Result<State, ProviderError> {
        if matches!(store, Store::Layout(_)) {
            return self.destination(store, artifact).await;
        }
        let place = name(store, artifact);
        if let Some(settled) = self.recent.settled.take(cx.clock.now(), &place) {
            return Ok(settled);
        }
        let state = self.destination(store, artifact).await?;
        self.recent.before.note(cx.clock.now(), place, state);
        Ok(state)
    }

    /// Notes that a place of a registry holds what it should.
    fn settled(&self, cx: &Context, store: &Store, artifact: &ArtifactInput) {
        if matches!(store, Store::Registry(_)) {
            let state = State::Present(artifact.digest);
            self.recent.settled.note(cx.clock.now(), name(store, artifact), state);
        }
    }

    /// The source of a copy, whole and still under the same tag.
    async fn source(&self, cx: &Context, artifact: &ArtifactInput) -> Result<(Store, super::Resolved), ProviderError> {
        let Some(source) = &artifact.source else {
            return Err(ProviderError::new(ErrorKind::Invalid, "a copy needs a source, and this artifact has none"));
        };
        let store = self.open(cx, &source.parse::<Location>()?)?;
        self.require_unmoved(cx, &store, artifact).await?;
        let place = at_digest(&store, &artifact.digest);
        if let Some(resolved) = self.recent.trees.get(cx.clock.now(), &place) {
            return Ok((store, resolved));
        }
        let resolved = resolve_digest(&store, &artifact.digest, &self.limits).await?;
        self.saw_tree(cx, &store, &resolved);
        Ok((store, resolved))
    }

    /// An artifact, and what goes along with it. Releases have artifacts in common: what was gathered a moment ago is not gathered again.
    async fn beside(&self, cx: &Context, store: &Store, digest: &Digest) -> Result<Arc<Beside>, OciError> {
        let place = at_digest(store, digest);
        if let Some(known) = self.recent.beside.get(cx.clock.now(), &place) {
            return Ok(known);
        }
        let resolved = match self.recent.trees.get(cx.clock.now(), &place) {
            Some(resolved) => resolved,
            None => resolve_digest(store, digest, &self.limits).await?,
        };
        let companions = referrers::gather(store, &resolved, &self.limits).await?;
        let found = Arc::new((resolved, companions));
        if matches!(store, Store::Registry(_)) {
            self.recent.beside.note(cx.clock.now(), place, found.clone());
        }
        Ok(found)
    }

    /// That something was written beside a digest: what was seen there is the past.
    pub(super) fn wrote_beside(&self, cx: &Context, store: &Store, digest: &Digest) {
        self.recent.beside.take(cx.clock.now(), &at_digest(store, digest));
    }

    fn saw_tree(&self, cx: &Context, store: &Store, resolved: &super::Resolved) {
        if matches!(store, Store::Registry(_)) {
            let place = at_digest(store, &resolved.digest);
            self.recent.trees.note(cx.clock.now(), place, resolved.clone());
        }
    }

    fn saw_tag(&self, cx: &Context, store: &Store, tag: &str, digest: Digest) {
        if matches!(store, Store::Registry(_)) {
            self.recent.source_tags.note(cx.clock.now(), format!("{}:{tag}", store.name()), digest);
        }
    }

    /// The tag at the source may have been tidied away, since the digest is the identity; it may not name another one.
    async fn require_unmoved(&self, cx: &Context, source: &Store, artifact: &ArtifactInput) -> Result<(), OciError> {
        let Some(tag) = &artifact.tag else { return Ok(()) };
        let reference = format!("{}:{tag}", source.name());
        if self.recent.source_tags.get(cx.clock.now(), &reference) == Some(artifact.digest) {
            return Ok(());
        }
        match source.head_tag(tag).await? {
            Some(head) if head.digest != artifact.digest => {
                Err(OciError::TagMoved { reference, expected: artifact.digest, found: head.digest })
            }
            Some(head) => {
                self.saw_tag(cx, source, tag, head.digest);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn name(store: &Store, artifact: &ArtifactInput) -> String {
    match &artifact.tag {
        Some(tag) => format!("{}:{tag}", store.name()),
        None => at_digest(store, &artifact.digest),
    }
}

fn at_digest(store: &Store, digest: &Digest) -> String {
    format!("{}@{digest}", store.name())
}

fn conflict(store: &Store, artifact: &ArtifactInput, wanted: Digest, found: Digest) -> OciError {
    OciError::TagConflict { reference: name(store, artifact), wanted, found }
}

/// What a copy changes at its destination: the artifact, and what goes along with it.
fn changes(store: &Store, artifact: &ArtifactInput, companions: &Companions) -> Vec<FileChange> {
    let new = |path, digest: Digest| FileChange { path, before: None, after: Some(digest.to_string()) };
    let mut changes = vec![new(name(store, artifact), artifact.digest)];
    for referrer in &companions.referrers {
        let kind = referrer.artifact_type.as_deref().map_or("unknown type".into(), tame);
        let path = format!("{}@{} ({kind})", store.name(), referrer.resolved.digest);
        changes.push(new(path, referrer.resolved.digest));
    }
    for sidecar in &companions.sidecars {
        changes.push(new(format!("{}:{}", store.name(), sidecar.tag), sidecar.resolved.digest));
    }
    changes[1..].sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

/// Holds what would be copied now to what the plan shows: a signature that vanished meanwhile is an error, and nothing goes
/// along that nobody has seen (registry.md 1.3). Where the plan shows no changes, as on a way back, it holds to none.
fn require_planned(source: &Store, planned: &[FileChange], now: &[FileChange]) -> Result<(), ProviderError> {
    let missing = |these: &[FileChange], those: &[FileChange]| {
        these.iter().find(|change| !those.contains(change)).map(|change| change.path.clone())
    };
    let message = match (missing(planned, now), missing(now, planned)) {
        _ if planned.is_empty() => return Ok(()),
        (Some(gone), _) => format!("{gone} was to go along, and is not at {} any more", source.name()),
        (None, Some(new)) => format!("{new} would go along, and came to {} after the plan was made", source.name()),
        (None, None) => return Ok(()),
    };
    Err(ProviderError::new(ErrorKind::Conflict, message))
}

pub(super) async fn until_cancelled<T>(
    cx: &Context,
    work: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    tokio::select! {
        biased;
        () = cx.cancelled.cancelled() => Err(ProviderError::new(ErrorKind::Cancelled, "stopped")),
        done = work => done,
    }
}

#[async_trait]
impl Provider for Oci {
    fn describe(&self) -> Description {
        Description {
            name: "oci".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            effects: EffectClass::Observable,
            kinds: Vec::new(),
        }
    }

    async fn resolve(&self, cx: &Context, request: &ResolveRequest) -> Result<Resolved, ProviderError> {
        until_cancelled(cx, async {
            let reference: Reference = request.reference.parse()?;
            reference.require_fixed()?;
            let store = self.open(cx, reference.location())?;
            let found = resolve(&store, &reference, &self.limits).await?;
            self.saw_tree(cx, &store, &found);
            if let Some(tag) = reference.tag() {
                self.saw_tag(cx, &store, tag, found.digest);
            }
            Ok(Resolved {
                digest: found.digest,
                media_type: found.media_type.clone(),
                size: found.total_size(),
                tree: found.tree.iter().map(|manifest| manifest.digest).collect(),
                platforms: found.images.iter().map(|image| (image.digest, Some(image.config))).collect(),
                nature: Some(found.nature),
                metadata: said::metadata(&found),
                said_where: said::places(&found),
                contradicted: said::contradicted(&found),
            })
        })
        .await
    }

    async fn tags(&self, cx: &Context, repository: &str) -> Result<BTreeSet<String>, ProviderError> {
        until_cancelled(cx, async {
            let store = self.open(cx, &repository.parse::<Location>()?)?;
            let all = store.list_tags().await?.into_iter();
            Ok(all.filter(|tag| !super::is_moving_tag(tag) && !referrers::is_fallback(tag)).collect())
        })
        .await
    }

    async fn created(&self, cx: &Context, request: &ResolveRequest) -> Result<Option<Timestamp>, ProviderError> {
        until_cancelled(cx, async {
            let reference: Reference = request.reference.parse()?;
            let store = self.open(cx, reference.location())?;
            Ok(created::created(&store, &reference, &self.limits).await?)
        })
        .await
    }

    async fn attached(&self, cx: &Context, request: &AttachedRequest) -> Result<Vec<Attached>, ProviderError> {
        until_cancelled(cx, async {
            let reference: Reference = request.reference.parse()?;
            let Some(digest) = reference.digest() else {
                let message = format!("{}: what is attached is asked of a digest", request.reference);
                return Err(ProviderError::new(ErrorKind::Invalid, message));
            };
            let store = self.open(cx, reference.location())?;
            let companions = self.beside(cx, &store, &digest).await?;
            let (resolved, companions) = companions.as_ref();
            Ok(attached::read(&store, resolved, companions, &request.known, &self.limits).await?)
        })
        .await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        until_cancelled(cx, async {
            let (store, artifact) = self.place(cx, &request.inputs)?;
            self.observed(cx, &store, &artifact).await
        })
        .await
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        until_cancelled(cx, async {
            let (store, artifact) = self.place(cx, &request.inputs)?;
            let desired = State::Present(artifact.digest);
            // What was seen before says nothing beside what is seen now.
            self.recent.settled.take(cx.clock.now(), &name(&store, &artifact));
            let current = self.destination(&store, &artifact).await?;
            if current == desired {
                self.settled(cx, &store, &artifact);
                return Ok(Preview { current, desired, changes: Vec::new(), images: Vec::new() });
            }
            if let State::Present(found) = current {
                return Err(conflict(&store, &artifact, artifact.digest, found).into());
            }
            let (source, resolved) = self.source(cx, &artifact).await?;
            // What goes along is a part of what is approved: `ensure` copies nothing else.
            let companions = companions(&source, &store, &resolved, &self.limits).await?;
            let changes = changes(&store, &artifact, &companions);
            if matches!((&source, &store), (Store::Registry(_), Store::Registry(_))) {
                self.recent.along.note(cx.clock.now(), name(&store, &artifact), companions);
            }
            Ok(Preview { current, desired, changes, images: Vec::new() })
        })
        .await
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        until_cancelled(cx, async {
            let (store, artifact) = self.place(cx, &request.inputs)?;
            let State::Present(wanted) = request.desired else {
                let message = format!("a copy cannot leave behind {}", request.desired);
                return Err(ProviderError::new(ErrorKind::Invalid, message));
            };
            if wanted != artifact.digest {
                let message = "the state that is wanted is not the artifact that is named";
                return Err(ProviderError::new(ErrorKind::Invalid, message).differs(artifact.digest, wanted));
            }
            let place = name(&store, &artifact);
            let current = match self.recent.before.take(cx.clock.now(), &place) {
                Some(seen) => seen,
                None => self.destination(&store, &artifact).await?,
            };
            if current == request.desired {
                return Ok(EnsureAnswer { changed: false, detail: "there already".into() });
            }
            if let State::Present(found) = current {
                return Err(conflict(&store, &artifact, wanted, found).into());
            }
            if current != request.expected {
                let message = format!("{place}: expected {}, found {current}", request.expected);
                return Err(ProviderError::new(ErrorKind::Conflict, message).differs(request.expected, current));
            }
            let (source, resolved) = self.source(cx, &artifact).await?;
            let companions = match self.recent.along.take(cx.clock.now(), &place) {
                Some(seen) => seen,
                None => companions(&source, &store, &resolved, &self.limits).await?,
            };
            require_planned(&source, &request.changes, &changes(&store, &artifact, &companions))?;
            let tags: Vec<&str> = artifact.tag.as_deref().into_iter().collect();
            let (limits, source_tag) = (self.limits, None);
            let what =
                Copy { source: &source, source_tag, destination: &store, resolved: &resolved, tags: &tags, limits };
            // The state was read a moment ago: what is free was seen to be.
            let report = copy_to_free(what, &companions).await?;
            // A tag that was written was read back.
            if !tags.is_empty() {
                self.settled(cx, &store, &artifact);
            }
            let detail = format!(
                "{} manifests, {} blobs copied ({} bytes), {} mounted, {} there already, {} referrers",
                report.manifests,
                report.blobs_copied,
                report.bytes,
                report.blobs_mounted,
                report.blobs_skipped,
                report.referrers
            );
            Ok(EnsureAnswer { changed: report.changed(), detail })
        })
        .await
    }
}

impl From<OciError> for ProviderError {
    fn from(error: OciError) -> Self {
        let kind = match &error {
            OciError::InvalidReference { .. } => ErrorKind::Reference,
            OciError::MovingTag { .. } => ErrorKind::MovingTag,
            OciError::Unsupported { .. } | OciError::Settings { .. } | OciError::TooLarge { .. } => ErrorKind::Invalid,
            OciError::NewerSettings { .. } => ErrorKind::Newer,
            OciError::TagMoved { .. } => ErrorKind::Moved,
            OciError::TagConflict { .. } | OciError::TagKept { .. } | OciError::TagRaced { .. } => ErrorKind::Conflict,
            OciError::Integrity { .. } => ErrorKind::Integrity,
            OciError::NotFound { .. } => ErrorKind::NotFound,
            OciError::Status { code: 401 | 403, .. }
            | OciError::Unauthorized { .. }
            | OciError::Credentials { .. }
            | OciError::Certificate { .. }
            | OciError::ClientCertificate { .. }
            | OciError::ForeignAddress { .. } => ErrorKind::Denied,
            OciError::Cancelled => ErrorKind::Cancelled,
            other if other.is_transient() => ErrorKind::Transient,
            _ => ErrorKind::Failed,
        };
        // The sentence is all that crosses to the engine, so the causes go into it.
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            message.push_str(&format!(": {source}"));
            cause = source.source();
        }
        let answer = Self::new(kind, message);
        match error {
            OciError::TagMoved { expected, found, .. }
            | OciError::TagConflict { wanted: expected, found, .. }
            | OciError::TagKept { wanted: expected, found, .. } => answer.differs(expected, found),
            OciError::TagRaced { wrote, found, .. } => answer.differs(wrote, found),
            OciError::NewerSettings { found, known, .. } => {
                answer.differs(format!("format {known}"), format!("format {found}"))
            }
            OciError::Integrity { expected, found, .. } => answer.differs(expected, found),
            // A file of this machine, which no release brought.
            OciError::Settings { path, .. } => {
                let expected = match path.extension().is_some_and(|extension| extension == "toml") {
                    true => "`format = 1`, and for each registry that needs a word [registry.\"HOST\"] with its keys",
                    false => "certificates, or a private key, in PEM",
                };
                Self { expected: Some(expected.to_owned()), ..answer }
            }
            _ => answer,
        }
    }
}
