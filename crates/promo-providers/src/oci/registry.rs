//! Repositories of registries that speak the OCI distribution protocol 1.1, without authentication. What lives here:
//! its requests and the meaning of its answers. What must not: retries and addresses (`transport`), the order of a copy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use promo_core::Digest;
use promo_sdk::Clock;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LINK};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::{Host, Url};

use super::document::{self, MANIFEST_TYPES, RawManifest};
use super::error::{OciError, tame};
use super::store::{BlobStream, Head, Limits, Selector, keep_error, verified};
use super::transport::{Retry, Transport, body, is_transient, status, what};

const DIGEST_HEADER: &str = "docker-content-digest";
const TAG_PAGES: usize = 1000;

/// The way to all registries of one run: connections, manners, and what was learnt on the way are shared.
#[derive(Debug, Clone)]
pub struct Network {
    transport: Arc<Transport>,
    plain_http: BTreeSet<String>,
    servers: Arc<Mutex<BTreeMap<String, Arc<Server>>>>,
}

impl Network {
    /// `client` must follow no redirects by itself and send no credentials by itself; `clock` is slept on between
    /// retries. Registries on loopback are spoken to in plain http, all others in https.
    #[must_use]
    pub fn new(client: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        let transport =
            Transport { client, clock, retry: Retry::default(), allowed: BTreeSet::new(), requests: AtomicU64::new(0) };
        Self { transport: Arc::new(transport), plain_http: BTreeSet::new(), servers: Arc::default() }
    }

    /// Other bounds on retries.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        self.with_transport(|transport| transport.retry = retry)
    }

    /// Addresses (`host` or `host:port`) that a registry may send us to although they are private (S13.5).
    #[must_use]
    pub fn with_allowed(self, allowed: BTreeSet<String>) -> Self {
        self.with_transport(|transport| transport.allowed = allowed)
    }

    /// Registries (host with port) that are spoken to in plain http although they are not on loopback.
    #[must_use]
    pub fn with_plain_http(mut self, hosts: BTreeSet<String>) -> Self {
        self.plain_http = hosts;
        self
    }

    fn with_transport(self, change: impl FnOnce(&mut Transport)) -> Self {
        let old = &*self.transport;
        let mut transport = Transport {
            client: old.client.clone(),
            clock: Arc::clone(&old.clock),
            retry: old.retry,
            allowed: old.allowed.clone(),
            requests: AtomicU64::new(0),
        };
        change(&mut transport);
        Self { transport: Arc::new(transport), plain_http: self.plain_http, servers: Arc::default() }
    }

    /// Requests sent through this network so far, repeated ones counted each.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.transport.requests.load(Ordering::Relaxed)
    }

    /// A repository. Nothing is sent yet.
    ///
    /// # Errors
    /// [`OciError::InvalidReference`] when `host` makes no address.
    pub fn repository(&self, host: &str, repository: &str) -> Result<Registry, OciError> {
        let mut servers = self.servers.lock().expect("invariant: no panic while the map is held");
        let server = match servers.get(host) {
            Some(server) => Arc::clone(server),
            None => {
                let server = Arc::new(Server {
                    base: self.base(host)?,
                    transport: Arc::clone(&self.transport),
                    blobs: Mutex::default(),
                });
                servers.insert(host.into(), Arc::clone(&server));
                server
            }
        };
        Ok(Registry { server, repository: repository.into(), name: format!("{host}/{repository}") })
    }

    fn base(&self, host: &str) -> Result<Url, OciError> {
        let invalid = || OciError::InvalidReference { text: tame(host), problem: "not a registry host".into() };
        let https = Url::parse(&format!("https://{host}/v2/")).map_err(|_| invalid())?;
        let loopback = match https.host().ok_or_else(invalid)? {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        if loopback || self.plain_http.contains(host) {
            return Url::parse(&format!("http://{host}/v2/")).map_err(|_| invalid());
        }
        Ok(https)
    }
}

/// One registry, and in which of its repositories blobs were seen in this run.
#[derive(Debug)]
struct Server {
    base: Url,
    transport: Arc<Transport>,
    blobs: Mutex<HashMap<Digest, String>>,
}

/// One repository of a registry.
#[derive(Debug, Clone)]
pub struct Registry {
    server: Arc<Server>,
    repository: String,
    name: String,
}

/// An open upload.
#[derive(Debug)]
pub(super) struct Session(Url);

/// What came of asking the registry to take a blob from another of its repositories.
#[derive(Debug)]
pub(super) enum Mount {
    /// It is there.
    Mounted,
    /// The registry would rather have it uploaded, and has opened a session for it.
    Session(Session),
    /// The registry does not do that.
    Refused,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Its name in messages: `host/repository`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn url(&self, path: &str) -> Url {
        self.server
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

    async fn read(&self, method: Method, url: Url, accept: Option<&str>, short: bool) -> Result<Response, OciError> {
        self.server.transport.read(&self.server.base, method, url, accept, short).await
    }

    pub(super) async fn get_manifest(
        &self,
        selector: Selector<'_>,
        stated: Option<&str>,
        limits: &Limits,
    ) -> Result<RawManifest, OciError> {
        let (name, url) = (self.what(selector), self.manifest_url(selector));
        let response = self.read(Method::GET, url.clone(), Some(&MANIFEST_TYPES.join(", ")), true).await?;
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
        let url = self.manifest_url(selector);
        let response = self.read(Method::HEAD, url.clone(), Some(&MANIFEST_TYPES.join(", ")), true).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(status(what(&Method::HEAD, &url), response).await),
        }
        let headers = response.headers();
        match (header(headers, DIGEST_HEADER).and_then(|text| text.parse::<Digest>().ok()), selector) {
            (Some(found), Selector::Digest(wanted)) if found != *wanted => {
                Err(OciError::integrity(self.what(selector), wanted, found))
            }
            (Some(digest), _) => Ok(Some(Head {
                digest,
                media_type: header(headers, CONTENT_TYPE.as_str()).map(String::from),
                size: header(headers, CONTENT_LENGTH.as_str()).and_then(|n| n.parse().ok()),
            })),
            // The header is optional in the specification: then the manifest itself has to be looked at.
            (None, _) => match self.get_manifest(selector, None, &Limits::default()).await {
                Ok(m) => Ok(Some(Head {
                    digest: m.digest,
                    size: Some(m.bytes.len() as u64),
                    media_type: Some(m.media_type),
                })),
                Err(OciError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    pub(super) async fn blob_exists(&self, digest: &Digest, size: u64) -> Result<bool, OciError> {
        let url = self.url(&format!("blobs/{digest}"));
        let response = self.read(Method::HEAD, url.clone(), None, true).await?;
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

    pub(super) async fn get_blob(&self, digest: &Digest, size: u64) -> Result<BlobStream, OciError> {
        let url = self.url(&format!("blobs/{digest}"));
        let name = format!("{}@{digest}", self.name);
        let response = self.read(Method::GET, url.clone(), None, false).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(OciError::NotFound { what: name }),
            _ => return Err(status(what(&Method::GET, &url), response).await),
        }
        if let Some(found) = response.content_length().filter(|found| *found != size) {
            return Err(OciError::integrity(format!("{name}: size"), size, found));
        }
        let stream = response.bytes_stream().map(move |chunk| {
            chunk.map_err(|error| OciError::Transport {
                what: name.clone(),
                attempts: 1,
                source: Box::new(error.without_url()),
            })
        });
        Ok(stream.boxed())
    }

    pub(super) async fn start_upload(&self) -> Result<Session, OciError> {
        let url = self.url("blobs/uploads/");
        let response = self.server.transport.post(&url).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(status(what(&Method::POST, &url), response).await);
        }
        self.session(&url, &response)
    }

    fn session(&self, url: &Url, response: &Response) -> Result<Session, OciError> {
        let what = what(&Method::POST, url);
        self.server.transport.location(&self.server.base, &what, url, response.headers()).map(Session)
    }

    /// Where on this registry the blob is known to be, other than here.
    pub(super) fn known_elsewhere(&self, digest: &Digest) -> Option<String> {
        let blobs = self.server.blobs.lock().expect("invariant: no panic while the map is held");
        blobs.get(digest).filter(|repository| **repository != self.repository).cloned()
    }

    /// Whether the blob was seen or put here in this run.
    pub(super) fn is_known(&self, digest: &Digest) -> bool {
        let blobs = self.server.blobs.lock().expect("invariant: no panic while the map is held");
        blobs.get(digest).is_some_and(|repository| *repository == self.repository)
    }

    pub(super) fn remember(&self, digest: &Digest) {
        let mut blobs = self.server.blobs.lock().expect("invariant: no panic while the map is held");
        blobs.insert(*digest, self.repository.clone());
    }

    /// The repository path of `other`, when it is another repository of the same registry.
    pub(super) fn sibling<'a>(&self, other: &'a Self) -> Option<&'a str> {
        (self.server.base == other.server.base && self.repository != other.repository).then_some(&*other.repository)
    }

    pub(super) async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, OciError> {
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let response = self.server.transport.post(&url).await?;
        match response.status().as_u16() {
            201 => {
                self.remember(digest);
                Ok(Mount::Mounted)
            }
            202 => Ok(Mount::Session(self.session(&url, &response)?)),
            403..=405 => Ok(Mount::Refused),
            _ => Err(status(what(&Method::POST, &url), response).await),
        }
    }

    /// Sends a blob in one request, exactly once. The request is broken off before its last byte when size or digest of
    /// what passed are not the promised ones.
    pub(super) async fn upload(
        &self,
        session: Session,
        digest: &Digest,
        size: u64,
        stream: BlobStream,
    ) -> Result<(), OciError> {
        let Session(mut url) = session;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let what = what(&Method::PUT, &url);
        let (stream, error) = keep_error(verified(format!("{digest} for {}", self.name), *digest, size, stream));
        let transport = &self.server.transport;
        let request = transport
            .client
            .put(url)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size)
            .body(reqwest::Body::wrap_stream(stream));
        let answer = transport.once(what.clone(), 1, request).await;
        // A broken source looks like a broken connection from here: its own error says what really happened.
        if let Some(error) = error.lock().expect("invariant: no panic while the slot is held").take() {
            return Err(error);
        }
        let response = answer?;
        if response.status() != StatusCode::CREATED {
            return Err(status(what, response).await);
        }
        self.remember(digest);
        Ok(())
    }

    /// One PUT of a manifest, by digest or by tag.
    async fn put_once(&self, selector: Selector<'_>, manifest: &RawManifest) -> Result<(), OciError> {
        let url = self.manifest_url(selector);
        let what = what(&Method::PUT, &url);
        let transport = &self.server.transport;
        let request = transport
            .client
            .put(url)
            .header(CONTENT_TYPE, &manifest.media_type)
            .timeout(std::time::Duration::from_secs(60))
            .body(manifest.bytes.clone());
        let response = transport.once(what.clone(), 1, request).await?;
        if !matches!(response.status().as_u16(), 200..=202) {
            return Err(status(what, response).await);
        }
        match header(response.headers(), DIGEST_HEADER).and_then(|text| text.parse::<Digest>().ok()) {
            Some(found) if found != manifest.digest => {
                Err(OciError::integrity(self.what(selector), manifest.digest, found))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn put_manifest(&self, manifest: &RawManifest) -> Result<(), OciError> {
        let selector = Selector::Digest(&manifest.digest);
        let mut attempt = 1;
        loop {
            match self.put_once(selector, manifest).await {
                Err(error) if error.is_transient() => {
                    // After a doubt the next act is a look, never a repetition (S9.2).
                    self.server.transport.pause(attempt, None).await;
                    if self.head(selector).await?.is_some() {
                        return Ok(());
                    }
                    if attempt >= self.server.transport.retry.attempts {
                        return Err(error);
                    }
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    pub(super) async fn put_tag(
        &self,
        tag: &str,
        manifest: &RawManifest,
        expected: Option<&Digest>,
        look_first: bool,
    ) -> Result<(), OciError> {
        let conflict =
            |found| OciError::TagConflict { reference: format!("{}:{tag}", self.name), wanted: manifest.digest, found };
        let selector = Selector::Tag(tag);
        let mut attempt = 1;
        if look_first {
            match self.head(selector).await? {
                Some(head) if head.digest == manifest.digest => return Ok(()),
                Some(head) if expected != Some(&head.digest) => return Err(conflict(head.digest)),
                _ => {}
            }
        }
        loop {
            let Err(error) = self.put_once(selector, manifest).await else { return Ok(()) };
            // Registries with immutable tags say 400, 409 or 412, some even to the very same bytes (registry.md 1.6).
            let refused = matches!(error, OciError::Status { code: 400 | 409 | 412, .. });
            if !refused && !error.is_transient() {
                return Err(error);
            }
            if !refused {
                self.server.transport.pause(attempt, None).await;
            }
            match self.head(selector).await? {
                Some(head) if head.digest == manifest.digest => return Ok(()),
                Some(head) if refused || expected != Some(&head.digest) => return Err(conflict(head.digest)),
                _ if refused || attempt >= self.server.transport.retry.attempts => return Err(error),
                _ => attempt += 1,
            }
        }
    }

    pub(super) async fn list_tags(&self) -> Result<Vec<String>, OciError> {
        let mut url = self.url("tags/list");
        url.query_pairs_mut().append_pair("n", "1000");
        let mut all = BTreeSet::new();
        for _ in 0..TAG_PAGES {
            let response = self.read(Method::GET, url.clone(), None, true).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => break,
                _ => return Err(status(what(&Method::GET, &url), response).await),
            }
            let next = next_page(&url, response.headers());
            let what = format!("{}: list of tags", self.name);
            let bytes = body(&what, response, Limits::default().manifest()).await?;
            let page: Tags = serde_json::from_slice(&bytes).map_err(|e| OciError::malformed(&what, e.to_string()))?;
            let before = all.len();
            all.extend(page.tags.unwrap_or_default().into_iter().filter(|tag| super::reference::is_tag(tag)));
            // Some servers repeat the last tag for ever: a page without anything new is the end.
            match next {
                Some(next) if all.len() > before && next.origin() == url.origin() => url = next,
                _ => break,
            }
        }
        Ok(all.into_iter().collect())
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// The `rel="next"` target of a `Link` header (RFC 8288; distribution specification, "Listing Tags").
fn next_page(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let link = header(headers, LINK.as_str())?;
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
    is_next.then(|| url.join(target).ok()).flatten()
}

/// Whether an answer of this status is worth another try; for the copy, which restarts a blob as a whole.
pub(super) fn may_restart(error: &OciError) -> bool {
    match error {
        OciError::Status { code, .. } => StatusCode::from_u16(*code).is_ok_and(is_transient),
        other => other.is_transient(),
    }
}

impl Registry {
    pub(super) async fn pause(&self, attempt: u32) {
        self.server.transport.pause(attempt, None).await;
    }

    pub(super) fn attempts(&self) -> u32 {
        self.server.transport.retry.attempts.max(1)
    }
}
