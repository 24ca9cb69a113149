//! Repositories of registries that speak the OCI distribution protocol 1.1. What lives here: reading, manifests and tags,
//! and the meaning of the answers. What must not: how a request is sent (`server`), blobs on their way in (`upload`), the
//! order of a copy.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use promo_core::Digest;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH, LINK, RANGE,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::auth::Scopes;
use super::document::{self, MANIFEST_TYPES, RawManifest};
use super::error::{OciError, tame};
use super::server::{Server, short};
use super::store::{BlobStream, Head, Limits, Selector, skip};
use super::upload::Sessions;
use super::wire::{SHORT, body, status, what};

const DIGEST_HEADER: &str = "docker-content-digest";
const TAG_PAGES: usize = 1000;
/// Bytes in a second below which a transfer counts as stuck.
const SLOWEST: u64 = 64 << 10;

/// One repository of a registry.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(super) server: Arc<Server>,
    pub(super) repository: String,
    name: String,
    /// Another repository of the same registry that blobs are mounted from: tokens for writing allow reading it too.
    mounts_from: Option<String>,
    pub(super) sessions: Arc<Mutex<Sessions>>,
}

/// What a registry is asked to hold a write to (RFC 9110, 13.1): one that knows no such thing writes as it always does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Only {
    /// Nothing.
    Always,
    /// There is nothing yet.
    OnNothing,
    /// What is there has this strong validator.
    On(String),
}

/// The tags on a page of their list (distribution specification, "Listing Tags").
///
/// # Errors
/// When the page is no such list. Some write an empty one as `null`; a page without any says nothing, least of all that
/// there are no tags.
pub(super) fn tags(name: &str, page: &[u8]) -> Result<Vec<String>, OciError> {
    let bad = |problem: String| OciError::malformed(name, problem);
    let page: Value = serde_json::from_slice(page).map_err(|error| bad(error.to_string()))?;
    let tag = |tag: &Value| tag.as_str().map(String::from).ok_or_else(|| bad("a tag that is no text".into()));
    match page.get("tags") {
        Some(Value::Array(tags)) => tags.iter().map(tag).collect(),
        Some(Value::Null) => Ok(Vec::new()),
        _ => Err(bad("a list without `tags`".into())),
    }
}

impl Registry {
    pub(super) fn new(server: Arc<Server>, host: &str, repository: &str) -> Self {
        Self {
            server,
            repository: repository.into(),
            name: format!("{host}/{repository}"),
            mounts_from: None,
            sessions: Arc::default(),
        }
    }

    /// The same for one copy: with uploads of its own, and with tokens that let it take blobs of a `source` on the same
    /// registry.
    pub(super) fn for_copy(&self, source: Option<&Self>) -> Self {
        let mounts_from = source.and_then(|source| self.sibling(source)).map(String::from);
        Self { mounts_from, sessions: Arc::default(), ..self.clone() }
    }

    /// Its name in messages: `host/repository`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn url(&self, path: &str) -> Url {
        self.server
            .wire
            .base
            .join(&format!("{}/{path}", self.repository))
            .expect("invariant: repository names and digests are safe in a path")
    }

    fn manifest_url(&self, selector: Selector<'_>) -> Url {
        match selector {
            Selector::Tag(tag) => self.url(&format!("manifests/{tag}")),
            Selector::Digest(digest) => self.url(&format!("manifests/{digest}")),
        }
    }

    fn what(&self, selector: Selector<'_>) -> String {
        match selector {
            Selector::Tag(tag) => format!("{}:{tag}", self.name),
            Selector::Digest(digest) => format!("{}@{digest}", self.name),
        }
    }

    pub(super) fn pull(&self) -> Scopes {
        Scopes::pull(&self.repository)
    }

    pub(super) fn push(&self) -> Scopes {
        let push = Scopes::push(&self.repository);
        self.mounts_from.iter().fold(push, |scopes, from| scopes.and_pull(from))
    }

    pub(super) async fn read(&self, method: &Method, url: &Url, accept: Option<&str>) -> Result<Response, OciError> {
        self.server.read(method, url.clone(), &self.pull(), short(accept)).await
    }

    /// Reads once more what broke off after the answer had begun; what broke before had its attempts on the wire.
    pub(super) async fn whole<T, F>(&self, read: impl Fn() -> F) -> Result<T, OciError>
    where
        F: Future<Output = Result<T, OciError>>,
    {
        let mut attempt = 1;
        loop {
            match read().await {
                Err(OciError::Transport { attempts: 1, .. }) if attempt < self.attempts() => {
                    self.pause(attempt, None).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    pub(super) async fn get_manifest(
        &self,
        selector: Selector<'_>,
        stated: Option<&str>,
        limits: &Limits,
    ) -> Result<RawManifest, OciError> {
        self.whole(|| self.get_manifest_once(selector, stated, limits)).await
    }

    async fn get_manifest_once(
        &self,
        selector: Selector<'_>,
        stated: Option<&str>,
        limits: &Limits,
    ) -> Result<RawManifest, OciError> {
        let (name, url) = (self.what(selector), self.manifest_url(selector));
        let response = self.read(&Method::GET, &url, Some(&MANIFEST_TYPES.join(", "))).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(OciError::NotFound { what: name }),
            _ => return Err(status(what(&Method::GET, &url), response).await),
        }
        let headers = response.headers().clone();
        let bytes = body(&name, response, limits.manifest()).await?;
        let digest = Digest::of(&bytes);
        if let Selector::Digest(wanted) = selector
            && *wanted != digest
        {
            return Err(OciError::integrity(name, wanted, digest));
        }
        // A header of another algorithm says nothing about this digest; everything else must be it.
        if let Some(said) = header(&headers, DIGEST_HEADER).filter(|said| !said.starts_with("sha512:"))
            && said != digest.to_string()
        {
            return Err(OciError::integrity(format!("{name}: the registry's digest header"), digest, tame(said)));
        }
        let served = header(&headers, CONTENT_TYPE.as_str());
        let media_type = document::media_type(&name, served.or(stated), &bytes)?;
        if let Some(stated) = stated.filter(|stated| *stated != media_type) {
            return Err(OciError::integrity(format!("{name}: media type"), tame(stated), media_type));
        }
        Ok(RawManifest { digest, media_type, bytes })
    }

    pub(super) async fn head(&self, selector: Selector<'_>) -> Result<Option<Head>, OciError> {
        Ok(self.validated(selector).await?.map(|(head, _)| head))
    }

    /// What is there, and the strong validator (RFC 9110, 8.8.3) by which a write can be tied to it, if the registry gives one.
    async fn validated(&self, selector: Selector<'_>) -> Result<Option<(Head, Option<String>)>, OciError> {
        let url = self.manifest_url(selector);
        let response = self.read(&Method::HEAD, &url, Some(&MANIFEST_TYPES.join(", "))).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(status(what(&Method::HEAD, &url), response).await),
        }
        let headers = response.headers();
        let validator = header(headers, ETAG.as_str()).filter(|text| text.starts_with('"')).map(String::from);
        match (header(headers, DIGEST_HEADER).and_then(|text| text.parse::<Digest>().ok()), selector) {
            (Some(found), Selector::Digest(wanted)) if found != *wanted => {
                Err(OciError::integrity(self.what(selector), wanted, found))
            }
            (Some(digest), _) => {
                let media_type = header(headers, CONTENT_TYPE.as_str()).map(String::from);
                let size = header(headers, CONTENT_LENGTH.as_str()).and_then(|n| n.parse().ok());
                Ok(Some((Head { digest, media_type, size }, validator)))
            }
            // The header is optional in the specification: then the manifest itself has to be looked at.
            (None, _) => match self.get_manifest(selector, None, &Limits::default()).await {
                Ok(RawManifest { digest, media_type, bytes }) => {
                    let (size, media_type) = (Some(bytes.len() as u64), Some(media_type));
                    Ok(Some((Head { digest, media_type, size }, None)))
                }
                Err(OciError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    pub(super) async fn blob_exists(&self, digest: &Digest, size: u64) -> Result<bool, OciError> {
        let url = self.url(&format!("blobs/{digest}"));
        let response = self.read(&Method::HEAD, &url, None).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(false),
            _ => return Err(status(what(&Method::HEAD, &url), response).await),
        }
        match header(response.headers(), CONTENT_LENGTH.as_str()).and_then(|n| n.parse::<u64>().ok()) {
            Some(found) if found != size => {
                Err(OciError::integrity(format!("{}@{digest}: size", self.name), size, found))
            }
            _ => {
                self.remember(digest);
                Ok(true)
            }
        }
    }

    /// The bytes of a blob from byte `from` on.
    pub(super) async fn get_blob(&self, digest: &Digest, size: u64, from: u64) -> Result<BlobStream, OciError> {
        let url = self.url(&format!("blobs/{digest}"));
        let name = format!("{}@{digest}", self.name);
        let request = |request: reqwest::RequestBuilder| match from {
            0 => request.timeout(patience(size)),
            _ => request.timeout(patience(size)).header(RANGE, format!("bytes={from}-")),
        };
        let response = self.server.read(&Method::GET, url.clone(), &self.pull(), request).await?;
        let start = match response.status() {
            StatusCode::OK => 0,
            // A server that answers with another part than the one that was asked for is not followed.
            StatusCode::PARTIAL_CONTENT
                if header(response.headers(), CONTENT_RANGE.as_str())
                    .is_some_and(|range| range.starts_with(&format!("bytes {from}-"))) =>
            {
                from
            }
            StatusCode::NOT_FOUND => return Err(OciError::NotFound { what: name }),
            _ => return Err(status(what(&Method::GET, &url), response).await),
        };
        if let Some(found) = response.content_length().filter(|found| *found != size - start) {
            return Err(OciError::integrity(format!("{name}: size"), size - start, found));
        }
        let stream = response.bytes_stream().map(move |chunk| {
            chunk.map_err(|error| OciError::Transport {
                what: name.clone(),
                attempts: 1,
                source: Box::new(error.without_url()),
            })
        });
        Ok(skip(stream.boxed(), from - start))
    }

    /// Whether the blob was seen or put here in this run.
    pub(super) fn is_known(&self, digest: &Digest) -> bool {
        self.server.is_known(digest, &self.repository)
    }

    pub(super) fn remember(&self, digest: &Digest) {
        self.server.remember(digest, &self.repository);
    }

    /// The repository path of `other`, when it is another repository of the same registry.
    pub(super) fn sibling<'a>(&self, other: &'a Self) -> Option<&'a str> {
        let same = self.server.wire.base == other.server.wire.base;
        (same && self.repository != other.repository).then_some(&*other.repository)
    }

    /// One PUT of a manifest, by digest or by tag. Says whether the registry took notice of its subject.
    async fn put_once(&self, selector: Selector<'_>, manifest: &RawManifest, only: &Only) -> Result<bool, OciError> {
        let url = self.manifest_url(selector);
        let what = what(&Method::PUT, &url);
        let build = |request: reqwest::RequestBuilder| {
            let request = request.header(CONTENT_TYPE, &manifest.media_type).timeout(SHORT);
            let request = match only {
                Only::Always => request,
                Only::OnNothing => request.header(IF_NONE_MATCH, "*"),
                Only::On(validator) => request.header(IF_MATCH, validator),
            };
            Some(request.body(manifest.bytes.clone()))
        };
        let response = self.server.send_once(&Method::PUT, &url, &self.push(), false, build).await?;
        if !matches!(response.status().as_u16(), 200..=202) {
            return Err(status(what, response).await);
        }
        match header(response.headers(), DIGEST_HEADER).and_then(|text| text.parse::<Digest>().ok()) {
            Some(found) if found != manifest.digest => {
                Err(OciError::integrity(self.what(selector), manifest.digest, found))
            }
            _ => Ok(response.headers().contains_key("oci-subject")),
        }
    }

    /// Puts a manifest under its digest; says whether the registry took notice of its subject.
    pub(super) async fn put_manifest(&self, manifest: &RawManifest) -> Result<bool, OciError> {
        let selector = Selector::Digest(&manifest.digest);
        let mut attempt = 1;
        loop {
            match self.put_once(selector, manifest, &Only::Always).await {
                Err(error) if error.is_transient() => {
                    // After a doubt the next act is a look, never a repetition (S9.2).
                    self.server.wire.pause(attempt, error.retry_after()).await;
                    if self.head(selector).await?.is_some() {
                        return Ok(false);
                    }
                    if attempt >= self.attempts() {
                        return Err(error);
                    }
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Writes a tag that holds `expected`, or nothing. With `add`, what is written is made from what was read: where there is
    /// nothing yet, the registry is asked to write only on that.
    pub(super) async fn put_tag(
        &self,
        tag: &str,
        manifest: &RawManifest,
        expected: Option<&Digest>,
        add: bool,
    ) -> Result<(), OciError> {
        let reference = || format!("{}:{tag}", self.name);
        let conflict = |found| OciError::TagConflict { reference: reference(), wanted: manifest.digest, found };
        let selector = Selector::Tag(tag);
        let (mut attempt, mut doubted) = (1, false);
        // Any look from before is too old to write on: right before is all that a registry allows.
        let mut only = match self.validated(selector).await? {
            Some((head, _)) if head.digest == manifest.digest => return Ok(()),
            Some((head, _)) if expected != Some(&head.digest) => return Err(conflict(head.digest)),
            Some((_, validator)) => validator.map_or(Only::Always, Only::On),
            None if add => Only::OnNothing,
            None => Only::Always,
        };
        loop {
            let Err(error) = self.put_once(selector, manifest, &only).await else { return Ok(()) };
            // Registries with immutable tags say one of these, some even to the very same bytes (registry.md 1.6).
            let refused = match error {
                OciError::Status { code: code @ (400 | 403 | 405 | 409 | 412), .. } => Some(code),
                _ if error.is_transient() => None,
                error => return Err(error),
            };
            let unmet = refused == Some(412) && only != Only::Always;
            // Of what was not met, too, the look may come from a cache that lags behind.
            if refused.is_none() || unmet {
                self.server.wire.pause(attempt, error.retry_after()).await;
            }
            match (self.validated(selector).await?, refused) {
                (Some((head, _)), _) if head.digest == manifest.digest => return Ok(()),
                (Some((head, validator)), _) if unmet => match &only {
                    Only::On(held) if expected == Some(&head.digest) && attempt < self.attempts() => {
                        // Refused twice on the very thing that it is said to be, it is none for writing.
                        let next = validator.unwrap_or_else(|| held.clone());
                        let same = next == *held;
                        only = if same && doubted { Only::Always } else { Only::On(next) };
                        doubted = same;
                        attempt += 1;
                    }
                    _ => return Err(conflict(head.digest)),
                },
                // It was there and is gone, or the other way round.
                (None, _) if unmet => {
                    let (wrote, found) = (manifest.digest, "nothing".into());
                    return Err(OciError::TagRaced { reference: reference(), wrote, found });
                }
                (Some((Head { digest: found, .. }, _)), Some(code)) => {
                    return Err(OciError::TagKept { reference: reference(), wanted: manifest.digest, found, code });
                }
                (Some((head, _)), None) if expected != Some(&head.digest) => return Err(conflict(head.digest)),
                (_, refused) if refused.is_some() || attempt >= self.attempts() => return Err(error),
                _ => attempt += 1,
            }
        }
    }

    pub(super) async fn list_tags(&self) -> Result<Vec<String>, OciError> {
        self.whole(|| self.list_tags_once()).await
    }

    async fn list_tags_once(&self) -> Result<Vec<String>, OciError> {
        let mut url = self.url("tags/list");
        url.query_pairs_mut().append_pair("n", "1000");
        let mut all = BTreeSet::new();
        for _ in 0..TAG_PAGES {
            let response = self.read(&Method::GET, &url, None).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(all.into_iter().collect()),
                _ => return Err(status(what(&Method::GET, &url), response).await),
            }
            let next = next_page(&url, response.headers());
            let what = format!("{}: list of tags", self.name);
            let bytes = body(&what, response, Limits::default().manifest()).await?;
            let before = all.len();
            all.extend(tags(&what, &bytes)?.into_iter().filter(|tag| super::reference::is_tag(tag)));
            // Some servers repeat the last tag for ever: a page without anything new is the end.
            match next {
                Some(next) if all.len() > before && next.origin() == url.origin() => url = next,
                _ => return Ok(all.into_iter().collect()),
            }
        }
        // Of a list that is cut off nobody can say which is the newest.
        let found = (TAG_PAGES as u64).saturating_add(1);
        Err(OciError::TooLarge { what: format!("{}: pages of tags", self.name), limit: TAG_PAGES as u64, found })
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// The `rel="next"` target of a `Link` header (RFC 8288; distribution specification, "Listing Tags").
pub(super) fn next_page(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let link = header(headers, LINK.as_str())?;
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
    is_next.then(|| url.join(target).ok()).flatten()
}

impl Registry {
    pub(super) async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        self.server.wire.pause(attempt, asked).await;
    }

    pub(super) fn attempts(&self) -> u32 {
        self.server.wire.retry.attempts.max(1)
    }
}

/// How long a transfer of `size` bytes may take before the other side counts as gone.
pub(super) fn patience(size: u64) -> Duration {
    SHORT.saturating_add(Duration::from_secs(size / SLOWEST))
}
