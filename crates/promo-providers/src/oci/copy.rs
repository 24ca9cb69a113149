//! Copying an artifact from one repository to another. What lives here: the order (blobs, children, subject, what refers
//! to it, tags last: registry.md 1.4), so that whoever sees a tag sees a whole artifact, and that doing it again writes nothing. What must
//! not: the decision what goes where.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _};
use promo_core::Digest;
use serde::{Deserialize, Serialize};

use super::document::{self, RawManifest};
use super::error::OciError;
use super::referrers::{self, Companions, Listed};
use super::registry::Registry;
use super::resolve::{BlobEntry, ManifestEntry, Resolved};
use super::store::{Limits, Selector, Store};
use super::upload::{Asked, Mount, Sent};

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
    /// Signatures, attestations and other things that refer to the artifact and that were not there.
    pub referrers: u64,
    /// Tags that were set.
    pub tags: u64,
}

impl CopyReport {
    /// Whether anything was written.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.blobs_copied + self.blobs_mounted + self.manifests + self.referrers + self.tags > 0
    }
}

enum Moved {
    Copied,
    Mounted,
    Skipped,
}

/// Copies an artifact with everything that refers to it, and tags it. Everything that can be checked is checked before
/// the first write; a second copy of the same writes nothing. Memory does not grow with the size of the blobs.
///
/// # Errors
/// [`OciError::TagConflict`] when a destination tag holds something else and [`OciError::TagMoved`] when the source tag
/// does, both before any write; [`OciError::TagKept`]; [`OciError::TagRaced`]; [`OciError::Integrity`] for bytes that are not the promised ones,
/// which are never published; [`OciError::Unsupported`] for foreign layers; transport and file errors.
pub async fn copy(request: Copy<'_>) -> Result<CopyReport, OciError> {
    let Copy { source, source_tag, destination, resolved, tags, .. } = request;
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
        return Ok(CopyReport::default());
    }
    if let Some(tag) = source_tag {
        source.require_tag(tag, &resolved.digest).await?;
    }
    let companions = companions(source, destination, resolved, &request.limits).await?;
    copy_to_free(Copy { tags: &missing, ..request }, &companions).await
}

/// What goes along with an artifact to a place, once it is seen that all of it may be copied there: whatever is refused is
/// refused here, so that a plan shows it.
///
/// # Errors
/// [`OciError::Unsupported`] for foreign layers; [`OciError::TagConflict`] for a sidecar that is another one there; what
/// the stores say.
pub(super) async fn companions(
    source: &Store,
    destination: &Store,
    resolved: &Resolved,
    limits: &Limits,
) -> Result<Companions, OciError> {
    if source.name() == destination.name() {
        return Ok(Companions::default());
    }
    let companions = referrers::gather(source, resolved, limits).await?;
    let referrers = companions.referrers.iter().map(|referrer| &referrer.resolved);
    let sidecars = companions.sidecars.iter().map(|sidecar| &sidecar.resolved);
    for part in std::iter::once(resolved).chain(referrers).chain(sidecars) {
        if let Some(foreign) = part.foreign.first() {
            return Err(OciError::Unsupported {
                what: format!("{}@{}", source.name(), part.digest),
                problem: format!("layer {foreign} is kept elsewhere or must not be distributed"),
            });
        }
    }
    referrers::sidecars_to_copy(source, destination, &companions, limits).await?;
    Ok(companions)
}

/// The same for a caller that has just seen that all tags are free at the destination, and what [`companions`] gives.
pub(super) async fn copy_to_free(request: Copy<'_>, companions: &Companions) -> Result<CopyReport, OciError> {
    let destination = &request.destination.for_copy(request.source);
    let done = copy_parts(Copy { destination, ..request }, companions).await;
    // What another part's failure has cut off would stay open until the registry tidies up.
    if let (Err(_), Store::Registry(registry)) = (&done, destination) {
        registry.abandon().await;
    }
    done
}

async fn copy_parts(request: Copy<'_>, companions: &Companions) -> Result<CopyReport, OciError> {
    let Copy { source, destination, resolved, tags, limits, .. } = request;
    let mut work = Work {
        source,
        destination,
        limits,
        report: CopyReport::default(),
        brought: BTreeSet::new(),
        listed: Vec::new(),
    };
    if source.name() != destination.name() {
        let sidecars = referrers::sidecars_to_copy(source, destination, companions, &limits).await?;
        work.bring(resolved, tags.is_empty() || !companions.referrers.is_empty()).await?;
        referrers::copy(&mut work, &companions.referrers).await?;
        for (sidecar, replaces) in &sidecars {
            work.bring(&sidecar.resolved, false).await?;
            let subject = manifest_of(source, &sidecar.resolved, &sidecar.resolved.tree_entry(), &limits).await?;
            destination.put_tag(&sidecar.tag, &subject, replaces.as_ref()).await?;
            work.report.referrers += 1;
        }
        referrers::look_again(destination, &work.listed, &limits).await?;
    }
    if tags.is_empty() {
        return Ok(work.report);
    }
    let subject = manifest_of(source, resolved, &resolved.tree_entry(), &limits).await?;
    for tag in tags {
        destination.put_tag(tag, &subject, None).await?;
        work.report.tags += 1;
    }
    Ok(work.report)
}

/// A copy that is under way.
pub(super) struct Work<'a> {
    pub(super) source: &'a Store,
    pub(super) destination: &'a Store,
    pub(super) limits: Limits,
    pub(super) report: CopyReport,
    /// What was not at the destination before: nothing that has it as a part can have been there.
    brought: BTreeSet<Digest>,
    /// What was added to lists under fallback tags.
    pub(super) listed: Vec<Listed>,
}

impl Work<'_> {
    /// Brings the blobs and the manifests of an artifact; its top-level manifest only with `top`, since writing a tag
    /// writes it too.
    pub(super) async fn bring(&mut self, resolved: &Resolved, top: bool) -> Result<(), OciError> {
        if self.is_there(resolved).await? {
            return Ok(());
        }
        self.blobs(&resolved.blobs).await?;
        for entry in &resolved.tree {
            if top || entry.digest != resolved.digest || matches!(self.destination, Store::Layout(_)) {
                self.manifest(resolved, entry).await?;
            }
        }
        Ok(())
    }

    /// Whether the whole artifact lies at the destination already. A registry takes no manifest whose parts it does not
    /// have, so there its top-level manifest speaks for all; that is asked for only when the smallest blob is there, which
    /// costs nothing when it is not. The files of a layout are looked through, which also mends what has rotted.
    async fn is_there(&self, resolved: &Resolved) -> Result<bool, OciError> {
        let (Store::Registry(registry), Some(smallest)) =
            (self.destination, resolved.blobs.iter().min_by_key(|blob| (blob.size, blob.digest)))
        else {
            return Ok(false);
        };
        // Where blobs can be mounted from elsewhere, a mount is the question and the answer.
        let mountable = matches!(self.source, Store::Registry(source) if registry.sibling(source).is_some())
            || registry.server.known_elsewhere(&smallest.digest, &registry.repository).is_some();
        if mountable {
            return Ok(false);
        }
        if !registry.is_known(&smallest.digest)
            && let absent @ Asked::Absent(_) = registry.ask(smallest).await?
        {
            registry.note_asked(&smallest.digest, absent);
            return Ok(false);
        }
        Ok(self.destination.head_digest(&resolved.digest).await?.is_some())
    }

    async fn blobs(&mut self, blobs: &[BlobEntry]) -> Result<(), OciError> {
        let (source, destination) = (self.source, self.destination);
        let mut moves = futures_util::stream::iter(blobs.to_vec())
            .map(|blob| async move { Ok::<_, OciError>((move_blob(source, destination, &blob).await?, blob)) })
            .buffer_unordered(PARALLEL);
        while let Some((moved, blob)) = moves.try_next().await? {
            match moved {
                Moved::Copied => {
                    self.report.blobs_copied += 1;
                    self.report.bytes += blob.size;
                    self.brought.insert(blob.digest);
                }
                Moved::Mounted => self.report.blobs_mounted += 1,
                Moved::Skipped => self.report.blobs_skipped += 1,
            }
        }
        Ok(())
    }

    /// Puts a manifest under its digest, unless it is there.
    async fn manifest(&mut self, resolved: &Resolved, entry: &ManifestEntry) -> Result<(), OciError> {
        let manifest = manifest_of(self.source, resolved, entry, &self.limits).await?;
        let document = document::parse(self.source.name(), &manifest)?;
        let new = document.parts().iter().any(|part| self.brought.contains(part));
        let there = match self.destination {
            Store::Registry(_) => !new && self.destination.head_digest(&entry.digest).await?.is_some(),
            Store::Layout(_) => self.destination.blob_exists(&entry.digest, entry.size).await?,
        };
        if !there {
            self.destination.put_manifest(&manifest).await?;
            self.brought.insert(entry.digest);
            self.report.manifests += 1;
        }
        Ok(())
    }
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
    pub(super) fn tree_entry(&self) -> ManifestEntry {
        ManifestEntry { digest: self.digest, media_type: self.media_type.clone(), size: self.size }
    }
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
    let (mut attempt, mut refused, mut ended, mut shrunk) = (1, false, false, false);
    let mut again = false;
    loop {
        // Starting again looks first whether the blob has come to be there (S9.2); it is content-addressed.
        let tried = try_move(source, registry, blob, refused, again).await;
        again = true;
        match tried {
            Err(error) if error.is_transient() && attempt < registry.attempts() => {
                registry.pause(attempt, error.retry_after()).await;
                attempt += 1;
            }
            // A token that ended while the blob was on its way; the next one is new.
            Err(OciError::Unauthorized { .. }) if !refused => refused = true,
            // Others may have found it out at the same time: each blob tries once more.
            Err(OciError::Status { code: 413, .. }) if !shrunk => {
                registry.server.shrink();
                shrunk = true;
            }
            // A registry may have lost a session, or hold none for as long as the transfer takes; one more shows which.
            Ok(Tried::Ended(_)) if !ended => ended = true,
            Ok(Tried::Ended(error)) => return Err(error),
            Ok(Tried::Moved(moved)) => return Ok(moved),
            Err(error) => return Err(error),
        }
    }
}

/// What came of one try.
enum Tried {
    Moved(Moved),
    /// The session ended before the blob was there.
    Ended(OciError),
}

async fn try_move(
    source: &Store,
    registry: &Registry,
    blob: &BlobEntry,
    own_token: bool,
    again: bool,
) -> Result<Tried, OciError> {
    let digest = &blob.digest;
    let turn = registry.server.turn(digest);
    let _turn = turn.lock().await;
    let asked = registry.take_asked(digest);
    if registry.is_known(digest) {
        // Another copy was faster: nothing goes into an upload that was opened for it.
        if let Some(Asked::Absent(Some(session))) = asked {
            registry.give_up(&session).await;
        }
        return Ok(Tried::Moved(Moved::Skipped));
    }
    let sibling = match source {
        Store::Registry(source) => registry.sibling(source).map(String::from),
        Store::Layout(_) => None,
    };
    // Either a mount or a question, never both: a mount that is not possible is answered with an open upload.
    let asked = match (asked, sibling.or_else(|| registry.server.known_elsewhere(digest, &registry.repository))) {
        (Some(asked), _) => asked,
        (None, Some(from)) => match registry.mount(digest, &from).await? {
            Mount::Mounted => return Ok(Tried::Moved(Moved::Mounted)),
            Mount::Session(open) => Asked::Absent(Some(open)),
            Mount::Refused => registry.look(blob).await?,
        },
        (None, None) if again => registry.look(blob).await?,
        (None, None) => registry.ask(blob).await?,
    };
    let mut session = match asked {
        Asked::There => return Ok(Tried::Moved(Moved::Skipped)),
        Asked::Absent(Some(open)) => open,
        Asked::Absent(None) => registry.start_upload().await?,
    };
    session.own_token = own_token;
    Ok(match registry.upload_from(source, session, blob).await? {
        Sent::Whole => Tried::Moved(Moved::Copied),
        Sent::Ended(error) => Tried::Ended(error),
    })
}

/// A manifest of an artifact: as a registry has sent it, else as it is read now. Image layouts are files, and always read.
pub(super) async fn manifest_of(
    store: &Store,
    resolved: &Resolved,
    entry: &ManifestEntry,
    limits: &Limits,
) -> Result<RawManifest, OciError> {
    let received = resolved.received.iter().find(|raw| raw.digest == entry.digest);
    if let (Store::Registry(_), Some(received)) = (store, received) {
        return Ok(received.clone());
    }
    let manifest = store.get_manifest(Selector::Digest(&entry.digest), Some(&entry.media_type), limits).await?;
    if manifest.bytes.len() as u64 != entry.size {
        let what = format!("{}@{}: size", store.name(), entry.digest);
        return Err(OciError::integrity(what, entry.size, manifest.bytes.len()));
    }
    Ok(manifest)
}
