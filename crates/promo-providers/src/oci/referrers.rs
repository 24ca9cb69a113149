//! What refers to an artifact: signatures, attestations, SBOMs, scan reports (registry.md 1.5). What lives here: finding
//! them at the source by every way in which they are kept (the referrers API, the fallback tag, cosign's tags), and
//! keeping them findable at the destination. What must not: what they say.
//!
//! A refusal or a busy server is an error on every step, never "nothing refers to it": that would drop signatures.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use promo_core::{Digest, canonical};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use super::copy::{Work, manifest_of};
use super::document::{self, Body, Document, OCI_INDEX, RawManifest};
use super::error::{OciError, tame};
use super::registry::{Registry, header, next_page, tags};
use super::resolve::{Resolved, walk};
use super::store::{Limits, Selector, Store};
use super::wire::{body, status, what};

/// A signature of an attestation of a signature, and no more.
const DEPTH: usize = 3;
/// Manifests that are said to refer to one artifact, whether they do or not: each is looked at.
const MOST: usize = 1000;
/// Entries of one list, of which nothing but digests is kept.
const LISTED: usize = 10_000;
/// Pages of one list.
const PAGES: usize = 100;
/// Subjects that are asked about at once.
const PARALLEL: usize = 4;
/// Times that a list is written when another writer is in the way.
const TRIES: usize = 5;
/// Where cosign keeps signatures, attestations and SBOMs beside an image.
const SIDECARS: [&str; 3] = ["sig", "att", "sbom"];

/// A manifest that names another one as its subject.
#[derive(Debug)]
pub(super) struct Referrer {
    pub(super) subject: Digest,
    pub(super) resolved: Resolved,
    pub(super) artifact_type: Option<String>,
}

/// What a tag that is made from the digest of a manifest points at.
#[derive(Debug)]
pub(super) struct Sidecar {
    /// The manifest from whose digest the tag is made.
    pub(super) subject: Digest,
    pub(super) tag: String,
    pub(super) resolved: Resolved,
    layers: BTreeSet<Digest>,
}

/// What was added to the list of a subject: the descriptors of what refers to it.
pub(super) type Listed = (Digest, Vec<Value>);

/// Everything that goes along with an artifact.
#[derive(Debug, Default)]
pub(super) struct Companions {
    pub(super) referrers: Vec<Referrer>,
    pub(super) sidecars: Vec<Sidecar>,
}

/// The name under which registries without the API keep the list (distribution specification, "Referrers Tag Schema").
fn fallback(subject: &Digest) -> String {
    subject.to_string().replacen(':', "-", 1)
}

/// Whether a tag is such a list, or one of cosign's, of any subject.
pub(super) fn is_fallback(tag: &str) -> bool {
    let hex = tag.strip_prefix("sha256-").and_then(|rest| rest.get(..64));
    hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The tags of a repository, where they can be listed in one go: then many questions need not be asked.
struct Tags<'a> {
    store: &'a Store,
    all: Option<BTreeSet<String>>,
}

impl<'a> Tags<'a> {
    async fn of(store: &'a Store) -> Result<Self, OciError> {
        let all = match store {
            Store::Layout(_) => None,
            Store::Registry(registry) => registry.few_tags().await?,
        };
        Ok(Self { store, all })
    }

    async fn has(&self, tag: &str) -> Result<bool, OciError> {
        match &self.all {
            Some(all) => Ok(all.contains(tag)),
            None => Ok(self.store.head_tag(tag).await?.is_some()),
        }
    }
}

/// Finds everything that goes along with an artifact.
///
/// # Errors
/// What the store says; [`OciError::TooLarge`], since what is not read is not known to be nothing.
pub(super) async fn gather(store: &Store, resolved: &Resolved, limits: &Limits) -> Result<Companions, OciError> {
    let tags = Tags::of(store).await?;
    let tree: Vec<Digest> = resolved.tree.iter().map(|manifest| manifest.digest).collect();
    let mut out = Companions::default();
    let mut seen: BTreeSet<Digest> = tree.iter().copied().collect();
    let (mut level, mut looked, mut taken) = (tree.clone(), 0, 0_u64);
    let mut bound = |manifests: u64| {
        taken = taken.saturating_add(manifests);
        let what = format!("{}@{}: bytes of manifests that go along", store.name(), resolved.digest);
        let (limit, found) = (limits.tree_bytes, taken);
        if taken > limit { Err(OciError::TooLarge { what, limit, found }) } else { Ok(()) }
    };
    for depth in 0..=DEPTH {
        let asked = level.iter().map(|subject| list(store, &tags, *subject, limits)).collect::<Vec<_>>();
        let found: Vec<BTreeSet<Digest>> = futures_util::stream::iter(asked).buffered(PARALLEL).try_collect().await?;
        let pairs: Vec<(Digest, Digest)> =
            level.iter().zip(found).flat_map(|(s, all)| all.into_iter().map(move |d| (*s, d))).collect();
        level = Vec::new();
        for (subject, digest) in pairs {
            if !seen.insert(digest) {
                continue;
            }
            looked += 1;
            if looked > MOST {
                return Err(too_many(store, &resolved.digest));
            }
            let manifest = store.get_manifest(Selector::Digest(&digest), None, limits).await?;
            let document = document::parse(&format!("{}@{digest}", store.name()), &manifest)?;
            // A list says what its writer likes; what counts is what the manifest itself says.
            if document.subject != Some(subject) {
                bound(manifest.bytes.len() as u64)?;
                tracing::warn!(%digest, %subject, "is listed as a referrer and does not refer to it: left out");
                continue;
            }
            // What is left behind would be missing without a word.
            if depth == DEPTH {
                let what = format!("{}@{}: levels of referrers, with {digest}", store.name(), resolved.digest);
                return Err(OciError::TooLarge { what, limit: DEPTH as u64, found: DEPTH as u64 + 1 });
            }
            let artifact_type = document.artifact_type;
            let resolved = walk(store, manifest, limits).await?;
            bound(resolved.tree.iter().map(|manifest| manifest.size).sum())?;
            level.push(digest);
            out.referrers.push(Referrer { subject, resolved, artifact_type });
        }
    }
    for digest in &tree {
        for kind in SIDECARS {
            let tag = format!("{}.{kind}", fallback(digest));
            if !tags.has(&tag).await? {
                continue;
            }
            let manifest = store.get_manifest(Selector::Tag(&tag), None, limits).await?;
            let layers = layers(store, &manifest)?;
            let resolved = walk(store, manifest, limits).await?;
            bound(resolved.tree.iter().map(|manifest| manifest.size).sum())?;
            out.sidecars.push(Sidecar { subject: *digest, tag, resolved, layers });
        }
    }
    Ok(out)
}

fn too_many(store: &Store, subject: &Digest) -> OciError {
    let what = format!("{}@{subject}: manifests that are said to refer to it", store.name());
    OciError::TooLarge { what, limit: MOST as u64, found: MOST as u64 + 1 }
}

fn layers(store: &Store, manifest: &RawManifest) -> Result<BTreeSet<Digest>, OciError> {
    let document = document::parse(&format!("{}@{}", store.name(), manifest.digest), manifest)?;
    Ok(match document.body {
        Body::Manifest { layers, .. } => layers.into_iter().map(|layer| layer.digest).collect(),
        Body::Index { children } => children.into_iter().map(|child| child.digest).collect(),
    })
}

/// The digests of what refers to `subject`.
async fn list(store: &Store, tags: &Tags<'_>, subject: Digest, limits: &Limits) -> Result<BTreeSet<Digest>, OciError> {
    let mut out = BTreeSet::new();
    if let Store::Registry(registry) = store {
        out.extend(registry.referrers(&subject, limits).await?.unwrap_or_default());
    }
    // Also beside the API: the repository may be older than the API there.
    let tag = fallback(&subject);
    if tags.has(&tag).await? {
        let name = format!("{}:{tag}", store.name());
        let (_, document) = fallback_index(store, &tag, limits).await?.ok_or_else(|| lost(&name))?;
        if let Body::Index { children } = document.body {
            out.extend(children.into_iter().map(|child| child.digest));
        }
    }
    match out.len() {
        0..=LISTED => Ok(out),
        found => Err(too_long(&format!("{}: referrers of {subject}", store.name()), found)),
    }
}

fn too_long(name: &str, found: usize) -> OciError {
    OciError::TooLarge { what: format!("{name}: entries"), limit: LISTED as u64, found: found as u64 }
}

/// A tag whose manifest is not there: what it listed is not known to be nothing.
fn lost(name: &str) -> OciError {
    OciError::integrity(name, "the list of referrers that the tag names", "nothing")
}

async fn fallback_index(
    store: &Store,
    tag: &str,
    limits: &Limits,
) -> Result<Option<(RawManifest, Document)>, OciError> {
    match store.get_manifest(Selector::Tag(tag), None, limits).await {
        Ok(manifest) => {
            let document = document::parse(&format!("{}:{tag}", store.name()), &manifest)?;
            Ok(Some((manifest, document)))
        }
        Err(OciError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The sidecars that are missing at the destination, or less there than at the source, and what their tags hold there.
///
/// # Errors
/// [`OciError::TagConflict`] when each side has something that the other has not: before any write.
pub(super) async fn sidecars_to_copy<'a>(
    source: &Store,
    destination: &Store,
    companions: &'a Companions,
    limits: &Limits,
) -> Result<Vec<(&'a Sidecar, Option<Digest>)>, OciError> {
    let mut out = Vec::new();
    for sidecar in &companions.sidecars {
        let wanted = sidecar.resolved.digest;
        match destination.head_tag(&sidecar.tag).await? {
            None => out.push((sidecar, None)),
            Some(head) if head.digest == wanted => {}
            Some(head) => {
                let there = destination.get_manifest(Selector::Digest(&head.digest), None, limits).await?;
                let there = layers(destination, &there)?;
                if there.is_subset(&sidecar.layers) {
                    out.push((sidecar, Some(head.digest)));
                } else if !sidecar.layers.is_subset(&there) {
                    let reference = format!("{}:{} (from {})", destination.name(), sidecar.tag, source.name());
                    return Err(OciError::TagConflict { reference, wanted, found: head.digest });
                }
            }
        }
    }
    Ok(out)
}

/// What refers to a manifest, as every list has it.
///
/// # Errors
/// As [`gather`].
pub(super) async fn of_subject(store: &Store, subject: &Digest, limits: &Limits) -> Result<BTreeSet<Digest>, OciError> {
    let listed = list(store, &Tags { store, all: None }, *subject, limits).await?;
    if listed.len() > MOST { Err(too_many(store, subject)) } else { Ok(listed) }
}

/// Puts a manifest with a subject, and keeps it findable: by the registry itself, or in the list under the fallback tag.
pub(super) async fn attach(
    store: &Store,
    subject: &Digest,
    manifest: &RawManifest,
    described: Value,
    limits: &Limits,
) -> Result<(), OciError> {
    if store.put_manifest_with_subject(manifest).await? {
        return Ok(());
    }
    let _turn = turn(store, subject).await;
    enlist(store, subject, &[described], limits).await
}

/// The turn for reading, adding to and writing the list of a subject's referrers, among the copies of this process. A layout
/// compares and writes in one step.
async fn turn(destination: &Store, subject: &Digest) -> Option<OwnedMutexGuard<()>> {
    match destination {
        Store::Registry(registry) => Some(registry.server.turn_of_subject(subject).lock_owned().await),
        Store::Layout(_) => None,
    }
}

/// Copies referrers and keeps them findable: by the registry itself, or in the list under the fallback tag.
pub(super) async fn copy(work: &mut Work<'_>, referrers: &[Referrer]) -> Result<(), OciError> {
    let mut by_subject: BTreeMap<usize, (Digest, Vec<&Referrer>)> = BTreeMap::new();
    for (at, referrer) in referrers.iter().enumerate() {
        let known = by_subject.values_mut().find(|(subject, _)| *subject == referrer.subject);
        match known {
            Some((_, all)) => all.push(referrer),
            None => drop(by_subject.insert(at, (referrer.subject, vec![referrer]))),
        }
    }
    for (subject, all) in by_subject.into_values() {
        let _turn = turn(work.destination, &subject).await;
        let (destination, limits) = (work.destination, work.limits);
        let tags = Tags { store: destination, all: None };
        let there = list(destination, &tags, subject, &limits).await?;
        let mut unlisted = Vec::new();
        for referrer in all.into_iter().filter(|referrer| !there.contains(&referrer.resolved.digest)) {
            work.bring(&referrer.resolved, false).await?;
            let resolved = &referrer.resolved;
            let manifest = manifest_of(work.source, resolved, &resolved.tree_entry(), &limits).await?;
            if !destination.put_manifest_with_subject(&manifest).await? {
                unlisted.push(descriptor(referrer));
            }
            work.report.referrers += 1;
        }
        if !unlisted.is_empty() {
            enlist(destination, &subject, &unlisted, &limits).await?;
            work.listed.push((subject, unlisted));
        }
    }
    Ok(())
}

/// Adds once more what another writer's list has left out since. A registry cannot be told to write only on what was read,
/// unless it gives an `ETag`: of two that read the same list and write it, the second one takes away what the first one
/// added, and only a later look shows that.
pub(super) async fn look_again(destination: &Store, listed: &[Listed], limits: &Limits) -> Result<(), OciError> {
    for (subject, all) in listed {
        let _turn = turn(destination, subject).await;
        enlist(destination, subject, all, limits).await?;
    }
    Ok(())
}

fn descriptor(referrer: &Referrer) -> Value {
    let resolved = &referrer.resolved;
    let mut out = json!({
        "digest": resolved.digest.to_string(),
        "mediaType": resolved.media_type,
        "size": resolved.size,
    });
    if let Some(artifact_type) = &referrer.artifact_type {
        out["artifactType"] = json!(artifact_type);
    }
    if !resolved.annotations.is_empty() {
        out["annotations"] = json!(resolved.annotations);
    }
    out
}

/// Adds descriptors to the list under the fallback tag, in the subject's [`turn`]. What others wrote there stays.
async fn enlist(store: &Store, subject: &Digest, new: &[Value], limits: &Limits) -> Result<(), OciError> {
    let tag = fallback(subject);
    let name = format!("{}:{tag}", store.name());
    let mut last = None;
    for _ in 0..TRIES {
        let current = fallback_index(store, &tag, limits).await?;
        let mut index = match &current {
            Some((manifest, Document { body: Body::Index { .. }, .. })) => serde_json::from_slice(&manifest.bytes)
                .map_err(|error| OciError::malformed(&name, error.to_string()))?,
            Some(_) => return Err(OciError::malformed(name, "the list of referrers is no index")),
            None => json!({ "manifests": [], "mediaType": OCI_INDEX, "schemaVersion": 2 }),
        };
        let Some(all) = index["manifests"].as_array_mut() else {
            return Err(OciError::malformed(name, "the list of referrers is no index"));
        };
        let before = all.len();
        for descriptor in new {
            if !all.iter().any(|known| known["digest"] == descriptor["digest"]) {
                all.push(descriptor.clone());
            }
        }
        if all.len() == before {
            return Ok(());
        }
        let bytes = canonical::to_vec(&index).map_err(|error| OciError::malformed(&name, error.to_string()))?;
        let manifest = RawManifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.into(), bytes };
        if let Store::Layout(_) = store {
            store.put_manifest(&manifest).await?;
        }
        let held = current.map(|(manifest, _)| manifest.digest);
        match store.put_list(&tag, &manifest, held.as_ref()).await {
            // Somebody else wrote: their list is read, and ours is added to it.
            Err(error @ (OciError::TagRaced { .. } | OciError::TagConflict { .. })) => last = Some(error),
            done => return done,
        }
    }
    Err(last.expect("invariant: every try but a race returns"))
}

/// What a page of the referrers API lists (distribution specification, "Listing Referrers").
///
/// # Errors
/// When the page is no such list: an index without it says nothing, least of all that nothing refers to the subject.
pub(super) fn listed(name: &str, page: &[u8]) -> Result<Vec<Digest>, OciError> {
    let bad = |problem: String| OciError::malformed(name, problem);
    let index: Value = serde_json::from_slice(page).map_err(|error| bad(error.to_string()))?;
    let descriptors = index["manifests"].as_array().ok_or_else(|| bad("an index without `manifests`".into()))?;
    let digest = |descriptor: &Value| {
        let text = descriptor["digest"].as_str().unwrap_or_default();
        text.parse().map_err(|_| bad(format!("`{}` is not a digest that promo knows", tame(text))))
    };
    descriptors.iter().map(digest).collect()
}

impl Registry {
    /// The referrers API; none when the registry does not know it.
    async fn referrers(&self, subject: &Digest, limits: &Limits) -> Result<Option<BTreeSet<Digest>>, OciError> {
        self.whole(|| self.referrers_once(subject, limits)).await
    }

    async fn referrers_once(&self, subject: &Digest, limits: &Limits) -> Result<Option<BTreeSet<Digest>>, OciError> {
        if self.server.has_no_referrers(&self.repository) {
            return Ok(None);
        }
        let mut url = self.url(&format!("referrers/{subject}"));
        let name = format!("{}: referrers of {subject}", self.name());
        let mut out = BTreeSet::new();
        for _ in 0..PAGES {
            let response = self.read(&Method::GET, &url, Some(OCI_INDEX)).await?;
            let is_index = header(response.headers(), "content-type").is_some_and(|t| t.starts_with(OCI_INDEX));
            match response.status() {
                StatusCode::OK if is_index => {}
                // Pages of proxies for what they do not know come as 200, too.
                StatusCode::OK
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED => {
                    self.server.saw_no_referrers(&self.repository);
                    return Ok(None);
                }
                _ => return Err(status(what(&Method::GET, &url), response).await),
            }
            let next = next_page(&url, response.headers());
            let bytes = body(&name, response, limits.manifest()).await?;
            let before = out.len();
            out.extend(listed(&name, &bytes)?);
            if out.len() > LISTED {
                return Err(too_long(&name, out.len()));
            }
            match next {
                Some(next) if out.len() > before && next.origin() == url.origin() => url = next,
                _ => return Ok(Some(out)),
            }
        }
        Err(OciError::TooLarge { what: format!("{name}: pages"), limit: PAGES as u64, found: PAGES as u64 + 1 })
    }

    /// All tags, when they fit on one page and may be listed.
    async fn few_tags(&self) -> Result<Option<BTreeSet<String>>, OciError> {
        self.whole(|| self.few_tags_once()).await
    }

    async fn few_tags_once(&self) -> Result<Option<BTreeSet<String>>, OciError> {
        let mut url = self.url("tags/list");
        url.query_pairs_mut().append_pair("n", "1000");
        let response = match self.read(&Method::GET, &url, None).await {
            // Reading one tag may be allowed where listing all is not.
            Err(OciError::Unauthorized { .. }) => return Ok(None),
            response => response?,
        };
        match response.status().as_u16() {
            200 if next_page(&url, response.headers()).is_none() => {}
            // Some answer 404 where they know no such list, and have tags all the same.
            200 | 400 | 401 | 403 | 404 | 405 => return Ok(None),
            _ => return Err(status(what(&Method::GET, &url), response).await),
        }
        let name = format!("{}: list of tags", self.name());
        let bytes = body(&name, response, Limits::default().manifest()).await?;
        Ok(Some(tags(&name, &bytes)?.into_iter().collect()))
    }
}
