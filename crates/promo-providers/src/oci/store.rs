//! One face over registries and image layouts. What lives here: the operations that resolving and copying need, limits,
//! and the stream that verifies what passes through it. What must not: the protocol (`registry`), the files (`layout`).

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use promo_core::Digest;
use sha2::{Digest as _, Sha256};

use super::document::RawManifest;
use super::error::OciError;
use super::layout::Layout;
use super::reference::{Location, Reference};
use super::registry::Registry;
use super::server::Network;

/// Bytes of a blob as they come in; not verified before they went through a store's `put_blob`.
pub type BlobStream = BoxStream<'static, Result<Bytes, OciError>>;

/// What a store says about a manifest without sending it. Good for asking whether something changed, never as proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its digest.
    pub digest: Digest,
    /// Its media type, where the store says it.
    pub media_type: Option<String>,
    /// Its size in bytes, where the store says it.
    pub size: Option<u64>,
}

/// Limits on what is read before it is parsed (S13.2; registry.md 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one manifest; never more than 16 MiB, whatever stands here. 4 MiB is what the distribution
    /// specification says both sides should cope with.
    pub manifest_bytes: u64,
    /// Manifests in one tree, the subject included.
    pub manifests: usize,
    /// Bytes of all manifests in one tree, and of all manifests of what goes along with one artifact.
    pub tree_bytes: u64,
    /// Levels of indexes and manifests below the subject.
    pub depth: usize,
}

/// No setting raises the limit on one manifest above this many bytes.
pub const MANIFEST_HARD_LIMIT: u64 = 16 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self { manifest_bytes: 4 << 20, manifests: 1000, tree_bytes: 64 << 20, depth: 4 }
    }
}

impl Limits {
    pub(super) fn manifest(&self) -> u64 {
        self.manifest_bytes.min(MANIFEST_HARD_LIMIT)
    }
}

/// Names a manifest within one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector<'a> {
    /// By tag: what it points at now.
    Tag(&'a str),
    /// By digest.
    Digest(&'a Digest),
}

/// A repository that can be read and written: an image layout, or a repository of a registry.
#[derive(Debug, Clone)]
pub enum Store {
    /// A directory.
    Layout(Layout),
    /// A repository of a registry.
    Registry(Registry),
}

impl Store {
    /// The store at `location`; paths of layouts are relative to `root`, the directory of the pipeline. Nothing is read
    /// or sent yet.
    ///
    /// # Errors
    /// [`OciError::InvalidReference`] when the registry's host makes no address.
    pub fn open(location: &Location, root: &Path, network: &Network) -> Result<Self, OciError> {
        Ok(match location {
            Location::Layout { path } => Self::Layout(Layout::new(root.join(path), location.to_string())),
            Location::Registry { host, repository } => Self::Registry(network.repository(host, repository)?),
        })
    }

    /// Its name in messages: the text of its [`Location`].
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Layout(layout) => layout.name(),
            Self::Registry(registry) => registry.name(),
        }
    }

    /// The same for one copy, ready to take blobs of `source` without moving their bytes where both are on one registry.
    pub(super) fn for_copy(&self, source: &Self) -> Self {
        match (self, source) {
            (Self::Registry(here), Self::Registry(there)) => Self::Registry(here.for_copy(Some(there))),
            (Self::Registry(here), Self::Layout(_)) => Self::Registry(here.for_copy(None)),
            (Self::Layout(_), _) => self.clone(),
        }
    }

    /// The manifest that `selector` names, with its digest computed from the bytes and compared with what was asked for
    /// and with what the store says it sent. `stated` is the media type that a parent's descriptor gives it.
    ///
    /// # Errors
    /// [`OciError::NotFound`], [`OciError::Integrity`], [`OciError::TooLarge`], [`OciError::Malformed`],
    /// [`OciError::Unsupported`], and what the transport says.
    pub async fn get_manifest(
        &self,
        selector: Selector<'_>,
        stated: Option<&str>,
        limits: &Limits,
    ) -> Result<RawManifest, OciError> {
        match (self, selector) {
            (Self::Registry(registry), _) => registry.get_manifest(selector, stated, limits).await,
            (Self::Layout(layout), Selector::Digest(digest)) => layout.get_manifest(digest, stated, limits),
            (Self::Layout(layout), Selector::Tag(tag)) => {
                let what = format!("{}:{tag}", layout.name());
                let head = layout.head_tag(tag)?.ok_or_else(|| OciError::NotFound { what: what.clone() })?;
                let manifest = layout.get_manifest(&head.digest, stated.or(head.media_type.as_deref()), limits)?;
                match head.size {
                    Some(size) if size != manifest.bytes.len() as u64 => {
                        Err(OciError::integrity(format!("{what}: size"), size, manifest.bytes.len()))
                    }
                    _ => Ok(manifest),
                }
            }
        }
    }

    /// What a tag points at now; none when there is no such tag.
    ///
    /// # Errors
    /// What the transport or the file system says. A refusal is never taken for an absent tag.
    pub async fn head_tag(&self, tag: &str) -> Result<Option<Head>, OciError> {
        match self {
            Self::Layout(layout) => layout.head_tag(tag),
            Self::Registry(registry) => registry.head(Selector::Tag(tag)).await,
        }
    }

    /// Whether a manifest is here, by digest.
    ///
    /// # Errors
    /// As [`Store::head_tag`].
    pub async fn head_digest(&self, digest: &Digest) -> Result<Option<Head>, OciError> {
        match self {
            Self::Layout(layout) => layout.head_digest(digest),
            Self::Registry(registry) => registry.head(Selector::Digest(digest)).await,
        }
    }

    /// Whether a blob is here. A layout reads it through, so that a rotten file does not count; a registry is believed.
    ///
    /// # Errors
    /// As [`Store::head_tag`].
    pub async fn blob_exists(&self, digest: &Digest, size: u64) -> Result<bool, OciError> {
        match self {
            Self::Layout(layout) => layout.blob_exists(digest, size).await,
            Self::Registry(registry) => registry.blob_exists(digest, size).await,
        }
    }

    /// The bytes of a blob, not yet verified.
    ///
    /// # Errors
    /// [`OciError::NotFound`]; [`OciError::Integrity`] when the announced size is another; what the transport says.
    pub async fn get_blob(&self, digest: &Digest, size: u64) -> Result<BlobStream, OciError> {
        match self {
            Self::Layout(layout) => layout.get_blob(digest, size).await,
            Self::Registry(registry) => registry.get_blob(digest, size, 0).await,
        }
    }

    /// The bytes of a blob from byte `from` on, not yet verified.
    ///
    /// # Errors
    /// As [`Store::get_blob`].
    pub(super) async fn get_blob_from(&self, digest: &Digest, size: u64, from: u64) -> Result<BlobStream, OciError> {
        match self {
            Self::Layout(layout) => Ok(skip(layout.get_blob(digest, size).await?, from)),
            Self::Registry(registry) => registry.get_blob(digest, size, from).await,
        }
    }

    /// A small blob, verified.
    ///
    /// # Errors
    /// As [`Store::get_blob`]; [`OciError::TooLarge`] when `size` is above `limit` bytes; [`OciError::Integrity`].
    pub async fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, OciError> {
        let what = format!("{}@{digest}", self.name());
        if size > limit {
            return Err(OciError::TooLarge { what: format!("{what}: bytes"), limit, found: size });
        }
        match self {
            Self::Registry(registry) => registry.whole(|| self.read_blob_once(digest, size, &what)).await,
            Self::Layout(_) => self.read_blob_once(digest, size, &what).await,
        }
    }

    async fn read_blob_once(&self, digest: &Digest, size: u64, what: &str) -> Result<Vec<u8>, OciError> {
        let mut stream = verified(what.into(), *digest, size, self.get_blob(digest, size).await?);
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    /// Stores a blob. It never comes to be under its digest unless size and digest of what passed are right.
    ///
    /// # Errors
    /// [`OciError::Integrity`] when they are not; what the stream, the transport or the file system says.
    pub async fn put_blob(&self, digest: &Digest, size: u64, stream: BlobStream) -> Result<(), OciError> {
        match self {
            Self::Layout(layout) => layout.put_blob(digest, size, stream).await,
            Self::Registry(registry) => {
                let session = registry.start_upload().await?;
                registry.upload(session, digest, size, stream).await
            }
        }
    }

    /// Stores a manifest under its digest, as the bytes that were received.
    ///
    /// # Errors
    /// What the transport or the file system says.
    pub async fn put_manifest(&self, manifest: &RawManifest) -> Result<(), OciError> {
        match self {
            Self::Layout(layout) => layout.put_manifest(manifest).await,
            Self::Registry(registry) => registry.put_manifest(manifest).await.map(drop),
        }
    }

    /// The same; says whether the store keeps the list of what refers to the manifest's subject by itself.
    pub(super) async fn put_manifest_with_subject(&self, manifest: &RawManifest) -> Result<bool, OciError> {
        match self {
            Self::Layout(layout) => layout.put_manifest(manifest).await.map(|()| false),
            Self::Registry(registry) => registry.put_manifest(manifest).await,
        }
    }

    /// Points a tag at a manifest that is here, and reads it back. `expected` is what the tag may hold beforehand:
    /// nothing, or the digest it is to be moved from. A layout compares and writes in one step; a registry cannot, so
    /// there the tag is looked at right before and after.
    ///
    /// # Errors
    /// [`OciError::TagConflict`] when the tag holds something else, [`OciError::TagKept`] when the registry says so first;
    /// [`OciError::TagRaced`] when it does so right after the write; what the transport or the file system says.
    pub async fn put_tag(&self, tag: &str, manifest: &RawManifest, expected: Option<&Digest>) -> Result<(), OciError> {
        self.point(tag, manifest, expected, false).await
    }

    /// The same for a list that is read, added to and written: also where there was none, a registry that can be told to
    /// is told to write only on what was read. Its refusal is [`OciError::TagConflict`] or [`OciError::TagRaced`].
    pub(super) async fn put_list(
        &self,
        tag: &str,
        manifest: &RawManifest,
        read: Option<&Digest>,
    ) -> Result<(), OciError> {
        self.point(tag, manifest, read, true).await
    }

    async fn point(
        &self,
        tag: &str,
        manifest: &RawManifest,
        expected: Option<&Digest>,
        add: bool,
    ) -> Result<(), OciError> {
        match self {
            Self::Layout(layout) => {
                // Waiting for another process's lock must not hold up the other transfers of this thread.
                let (layout, tag, manifest) = (layout.clone(), tag.to_string(), manifest.clone());
                let expected = expected.copied();
                let write = move || layout.put_tag(&tag, &manifest, expected.as_ref());
                tokio::task::spawn_blocking(write).await.expect("invariant: writing a tag does not panic")?;
            }
            Self::Registry(registry) => registry.put_tag(tag, manifest, expected, add).await?,
        }
        match self.head_tag(tag).await? {
            Some(head) if head.digest == manifest.digest => Ok(()),
            other => Err(OciError::TagRaced {
                reference: format!("{}:{tag}", self.name()),
                wrote: manifest.digest,
                found: other.map_or_else(|| "nothing".into(), |head| head.digest.to_string()),
            }),
        }
    }

    /// All tags, sorted.
    ///
    /// # Errors
    /// What the transport or the file system says.
    pub async fn list_tags(&self) -> Result<Vec<String>, OciError> {
        match self {
            Self::Layout(layout) => layout.list_tags(),
            Self::Registry(registry) => registry.list_tags().await,
        }
    }

    /// Refuses a tag that does not point at `expected` any more (R2).
    ///
    /// # Errors
    /// [`OciError::TagMoved`] with both digests; [`OciError::NotFound`] when the tag is gone.
    pub async fn require_tag(&self, tag: &str, expected: &Digest) -> Result<(), OciError> {
        let reference = format!("{}:{tag}", self.name());
        match self.head_tag(tag).await? {
            Some(head) if head.digest == *expected => Ok(()),
            Some(head) => Err(OciError::TagMoved { reference, expected: *expected, found: head.digest }),
            None => Err(OciError::NotFound { what: reference }),
        }
    }

    /// What a reference names within this store; with a tag and a digest both are checked.
    ///
    /// # Errors
    /// As [`Store::get_manifest`]; [`OciError::TagMoved`] when the tag names another digest.
    pub(super) async fn get_reference(&self, reference: &Reference, limits: &Limits) -> Result<RawManifest, OciError> {
        match (reference.tag(), reference.digest()) {
            (Some(tag), Some(digest)) => {
                self.require_tag(tag, &digest).await?;
                self.get_manifest(Selector::Digest(&digest), None, limits).await
            }
            (_, Some(digest)) => self.get_manifest(Selector::Digest(&digest), None, limits).await,
            (Some(tag), None) => self.get_manifest(Selector::Tag(tag), None, limits).await,
            (None, None) => unreachable!("invariant: a reference has a tag or a digest"),
        }
    }
}

/// Leaves out the first `count` bytes of a stream.
pub(super) fn skip(stream: BlobStream, count: u64) -> BlobStream {
    if count == 0 {
        return stream;
    }
    let mut left = count;
    stream
        .map(move |chunk| {
            chunk.map(|mut chunk| {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
                left -= here as u64;
                chunk.split_off(here)
            })
        })
        .boxed()
}

/// Passes a stream on, and ends in an error unless exactly `size` bytes with `digest` have passed. The last bytes are
/// held back until that is known, so whoever counts bytes on the other side never sees a complete wrong blob.
pub(super) fn verified(what: String, digest: Digest, size: u64, stream: BlobStream) -> BlobStream {
    struct Check {
        stream: Option<BlobStream>,
        hash: Sha256,
        passed: u64,
        held: Option<Bytes>,
        what: String,
    }
    let check = Check { stream: Some(stream), hash: Sha256::new(), passed: 0, held: None, what };
    futures_util::stream::try_unfold(check, move |mut check| async move {
        let Some(mut stream) = check.stream.take() else { return Ok(None) };
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            if chunk.is_empty() {
                continue;
            }
            check.passed += chunk.len() as u64;
            if check.passed > size {
                return Err(OciError::integrity(
                    format!("{}: size", check.what),
                    size,
                    format!("at least {}", check.passed),
                ));
            }
            check.hash.update(&chunk);
            if let Some(earlier) = check.held.replace(chunk) {
                check.stream = Some(stream);
                return Ok(Some((earlier, check)));
            }
        }
        if check.passed != size {
            return Err(OciError::integrity(format!("{}: size", check.what), size, check.passed));
        }
        let found = Digest::from_bytes(std::mem::take(&mut check.hash).finalize().into());
        if found != digest {
            return Err(OciError::integrity(check.what, digest, found));
        }
        Ok(check.held.take().map(|last| (last, check)))
    })
    .boxed()
}

/// Keeps the first error of a stream for the one who started the transfer: an HTTP client only says that the body broke.
pub(super) fn keep_error(stream: BlobStream) -> (BlobStream, Arc<Mutex<Option<OciError>>>) {
    let slot = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&slot);
    let stream = stream
        .map(move |item| {
            item.map_err(|error| {
                let short = OciError::malformed("source", error.to_string());
                kept.lock().expect("invariant: no panic while the slot is held").get_or_insert(error);
                short
            })
        })
        .boxed();
    (stream, slot)
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    fn chunks(parts: &[&'static [u8]]) -> BlobStream {
        let parts: Vec<_> = parts.iter().map(|p| Ok(Bytes::from_static(p))).collect();
        futures_util::stream::iter(parts).boxed()
    }

    async fn run(digest: Digest, size: u64, parts: &[&'static [u8]]) -> (Vec<u8>, Result<(), OciError>) {
        let mut stream = verified("blob".into(), digest, size, chunks(parts));
        let mut out = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(chunk)) => out.extend_from_slice(&chunk),
                Ok(None) => return (out, Ok(())),
                Err(error) => return (out, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn only_the_promised_bytes_come_through_whole() {
        let digest = Digest::of(b"abcdef");
        let (out, end) = run(digest, 6, &[b"ab", b"", b"cd", b"ef"]).await;
        assert!(end.is_ok());
        assert_eq!(out, b"abcdef");
        let (out, end) = run(Digest::of(b""), 0, &[]).await;
        assert!(end.is_ok() && out.is_empty());
        for parts in [&[b"ab".as_slice(), b"cX", b"ef"][..], &[b"abcde"], &[b"ab", b"cdef", b"g"], &[], &[b"abcdeX"]] {
            let (out, end) = run(digest, 6, parts).await;
            assert!(matches!(end, Err(OciError::Integrity { .. })), "{parts:?}");
            assert!(out.len() < 6, "a wrong blob never comes through complete: {parts:?}");
        }
    }
}
