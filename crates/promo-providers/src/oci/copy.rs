//! Copying an artifact from one repository to another. What lives here: the order (blobs, children, subject, tags last:
//! registry.md 1.4), so that whoever sees a tag sees a whole artifact, and that doing it again writes nothing. What must
//! not: the decision what goes where.

use futures_util::{StreamExt as _, TryStreamExt as _};
use promo_core::Digest;
use serde::{Deserialize, Serialize};

use super::error::OciError;
use super::registry::Registry;
use super::resolve::{BlobEntry, ManifestEntry, Resolved};
use super::store::{Limits, Selector, Store};
use super::upload::Mount;

/// Blobs that are under way at once.
const PARALLEL: usize = 4;

/// What is copied, from where to where.
#[derive(Debug, Clone, Copy)]
pub struct Copy<'a> {
    /// Where it comes from.
    pub source: &'a Store,
    /// The tag it had when it was resolved. When it points at something else now, nothing is written (R2).
    pub source_tag: Option<&'a str>,
    /// Where it goes.
    pub destination: &'a Store,
    /// What it is: as [`super::resolve()`] found it.
    pub resolved: &'a Resolved,
    /// Tags that it gets at the destination. Each must be free, or point at it already.
    pub tags: &'a [&'a str],
    /// Limits on what is read.
    pub limits: Limits,
}

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Blobs that were transferred.
    pub blobs_copied: u64,
    /// Blobs that the registry took from another of its repositories.
    pub blobs_mounted: u64,
    /// Blobs that were there already.
    pub blobs_skipped: u64,
    /// Bytes of the blobs that were transferred.
    pub bytes: u64,
    /// Manifests that were written under their digest.
    pub manifests: u64,
    /// Tags that were set.
    pub tags: u64,
}

impl CopyReport {
    /// Whether anything was written.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.blobs_copied + self.blobs_mounted + self.manifests + self.tags > 0
    }
}

enum Moved {
    Copied,
    Mounted,
    Skipped,
}

/// Copies an artifact and tags it. Everything that can be checked is checked before the first write; a second copy of
/// the same writes nothing. Memory does not grow with the size of the blobs.
///
/// # Errors
/// [`OciError::TagConflict`] when a destination tag holds something else and [`OciError::TagMoved`] when the source tag
/// does, both before any write; [`OciError::TagRaced`]; [`OciError::Integrity`] for bytes that are not the promised ones,
/// which are never published; [`OciError::Unsupported`] for foreign layers; transport and file errors.
pub async fn copy(request: Copy<'_>) -> Result<CopyReport, OciError> {
    let Copy { source, source_tag, destination, resolved, tags, limits } = request;
    let destination = &destination.mounting_from(source);
    let mut report = CopyReport::default();
    let mut missing = Vec::new();
    for &tag in tags {
        let reference = format!("{}:{tag}", destination.name());
        if !super::reference::is_tag(tag) {
            return Err(OciError::InvalidReference { text: reference, problem: "not a tag".into() });
        }
        match destination.head_tag(tag).await? {
            Some(head) if head.digest == resolved.digest => {}
            Some(head) => {
                return Err(OciError::TagConflict { reference, wanted: resolved.digest, found: head.digest });
            }
            None => missing.push(tag),
        }
    }
    if !tags.is_empty() && missing.is_empty() {
        return Ok(report);
    }
    if let Some(tag) = source_tag {
        source.require_tag(tag, &resolved.digest).await?;
    }
    let same_place = source.name() == destination.name();
    if !same_place && !is_there(destination, resolved).await? {
        if let Some(foreign) = resolved.foreign.first() {
            return Err(OciError::Unsupported {
                what: format!("{}@{}", source.name(), resolved.digest),
                problem: format!("layer {foreign} is kept elsewhere or must not be distributed"),
            });
        }
        copy_blobs(source, destination, &resolved.blobs, &mut report).await?;
        for entry in &resolved.tree {
            put_manifest(source, destination, entry, resolved.digest, &limits, &mut report).await?;
        }
    }
    if missing.is_empty() {
        return Ok(report);
    }
    let subject = read_manifest(source, &resolved.tree_entry(), &limits).await?;
    for tag in missing {
        // A transfer takes time: the look at the tag from before it is too old to write on.
        destination.put_tag(tag, &subject, None, report.changed()).await?;
        report.tags += 1;
    }
    Ok(report)
}

/// Checks that an artifact is whole at a place: every manifest is read and hashed; every blob is there with its size
/// (and, in a layout, with its bytes).
///
/// # Errors
/// [`OciError::NotFound`] names the first piece that is missing; [`OciError::Integrity`] the first that is wrong.
pub async fn verify(store: &Store, digest: &Digest, limits: &Limits) -> Result<Resolved, OciError> {
    let resolved = super::resolve::resolve_digest(store, digest, limits).await?;
    futures_util::stream::iter(resolved.blobs.clone())
        .map(|blob| async move {
            if store.blob_exists(&blob.digest, blob.size).await? {
                return Ok(());
            }
            Err(OciError::NotFound {
                what: format!("{}@{} (whole and {} bytes)", store.name(), blob.digest, blob.size),
            })
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    Ok(resolved)
}

impl Resolved {
    fn tree_entry(&self) -> ManifestEntry {
        ManifestEntry { digest: self.digest, media_type: self.media_type.clone(), size: self.size }
    }
}

/// Whether the subject lies at the destination already. A registry takes no manifest whose parts it does not have, so
/// there nothing is left to do; the files of a layout are looked through, which also mends what has rotted.
async fn is_there(destination: &Store, resolved: &Resolved) -> Result<bool, OciError> {
    match destination {
        Store::Registry(_) => Ok(destination.head_digest(&resolved.digest).await?.is_some()),
        Store::Layout(_) => Ok(false),
    }
}

async fn copy_blobs(
    source: &Store,
    destination: &Store,
    blobs: &[BlobEntry],
    report: &mut CopyReport,
) -> Result<(), OciError> {
    let mut moves = futures_util::stream::iter(blobs.to_vec())
        .map(|blob| async move { Ok::<_, OciError>((move_blob(source, destination, &blob).await?, blob.size)) })
        .buffer_unordered(PARALLEL);
    while let Some((moved, size)) = moves.try_next().await? {
        match moved {
            Moved::Copied => {
                report.blobs_copied += 1;
                report.bytes += size;
            }
            Moved::Mounted => report.blobs_mounted += 1,
            Moved::Skipped => report.blobs_skipped += 1,
        }
    }
    Ok(())
}

async fn move_blob(source: &Store, destination: &Store, blob: &BlobEntry) -> Result<Moved, OciError> {
    let BlobEntry { digest, size } = blob;
    let Store::Registry(registry) = destination else {
        if destination.blob_exists(digest, *size).await? {
            return Ok(Moved::Skipped);
        }
        destination.put_blob(digest, *size, source.get_blob(digest, *size).await?).await?;
        return Ok(Moved::Copied);
    };
    let (mut attempt, mut refused) = (1, false);
    loop {
        match try_move(source, registry, blob).await {
            // Starting again looks first whether the blob has come to be there (S9.2); it is content-addressed.
            Err(error) if error.is_transient() && attempt < registry.attempts() => {
                registry.pause(attempt, error.retry_after()).await;
                attempt += 1;
            }
            // A token that ended while the blob was on its way; the next one is new.
            Err(OciError::Unauthorized { .. }) if !refused => refused = true,
            Err(OciError::Status { code: 413, .. }) if registry.server.shrink() => {}
            done => return done,
        }
    }
}

async fn try_move(source: &Store, registry: &Registry, blob: &BlobEntry) -> Result<Moved, OciError> {
    let BlobEntry { digest, size } = blob;
    let turn = registry.server.turn(digest);
    let _turn = turn.lock().await;
    if registry.is_known(digest) {
        return Ok(Moved::Skipped);
    }
    let sibling = match source {
        Store::Registry(source) => registry.sibling(source).map(String::from),
        Store::Layout(_) => None,
    };
    // Either a mount or a question, never both: a mount that is not possible is answered with an open upload.
    let mut session = None;
    let mut asked = false;
    if let Some(from) = sibling.or_else(|| registry.server.known_elsewhere(digest, &registry.repository)) {
        match registry.mount(digest, &from).await? {
            Mount::Mounted => return Ok(Moved::Mounted),
            Mount::Session(open) => (session, asked) = (Some(open), true),
            Mount::Refused => {}
        }
    }
    if !asked && registry.blob_exists(digest, *size).await? {
        return Ok(Moved::Skipped);
    }
    let session = match session {
        Some(open) => open,
        None => registry.start_upload().await?,
    };
    registry.upload_from(source, session, blob).await?;
    Ok(Moved::Copied)
}

async fn read_manifest(
    store: &Store,
    entry: &ManifestEntry,
    limits: &Limits,
) -> Result<super::document::RawManifest, OciError> {
    let manifest = store.get_manifest(Selector::Digest(&entry.digest), Some(&entry.media_type), limits).await?;
    if manifest.bytes.len() as u64 != entry.size {
        let what = format!("{}@{}: size", store.name(), entry.digest);
        return Err(OciError::integrity(what, entry.size, manifest.bytes.len()));
    }
    Ok(manifest)
}

async fn put_manifest(
    source: &Store,
    destination: &Store,
    entry: &ManifestEntry,
    subject: Digest,
    limits: &Limits,
    report: &mut CopyReport,
) -> Result<(), OciError> {
    let there = match destination {
        // The subject was asked for before anything else.
        Store::Registry(_) if entry.digest == subject => false,
        Store::Registry(_) => destination.head_digest(&entry.digest).await?.is_some(),
        Store::Layout(_) => destination.blob_exists(&entry.digest, entry.size).await?,
    };
    if !there {
        let manifest = read_manifest(source, entry, limits).await?;
        destination.put_manifest(&manifest).await?;
        report.manifests += 1;
    }
    Ok(())
}
