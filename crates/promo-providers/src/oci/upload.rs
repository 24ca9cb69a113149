//! Blobs on their way into a registry. What lives here: mounts, upload sessions, sending a blob in one request or in
//! chunks. What must not: which blobs are sent.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use promo_core::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::error::OciError;
use super::registry::{Registry, header, patience};
use super::resolve::BlobEntry;
use super::server::short;
use super::store::{BlobStream, Store, keep_error, verified};
use super::wire::{SHORT, status, what};

const BYTES: &str = "application/octet-stream";

/// An open upload.
#[derive(Debug)]
pub(super) struct Session {
    url: Url,
    /// Chunks of fewer bytes are not taken (`OCI-Chunk-Min-Length`).
    least: Option<u64>,
    /// The bytes go with a token of their own: they can be sent once only, and a shared token was refused.
    pub(super) own_token: bool,
}

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

impl Registry {
    /// POST without a body, which starts something that costs nothing when it is started twice.
    async fn post(&self, url: &Url, from: Option<&str>) -> Result<Response, OciError> {
        let scopes = from.iter().fold(self.push(), |scopes, from| scopes.and_pull(from));
        let build = |request: RequestBuilder| request.header(CONTENT_LENGTH, 0).timeout(SHORT);
        self.server.send(&Method::POST, url, &scopes, build).await
    }

    pub(super) async fn start_upload(&self) -> Result<Session, OciError> {
        let url = self.url("blobs/uploads/");
        let response = self.post(&url, None).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(status(what(&Method::POST, &url), response).await);
        }
        self.session(&url, &response)
    }

    fn session(&self, url: &Url, response: &Response) -> Result<Session, OciError> {
        let least = header(response.headers(), "oci-chunk-min-length").and_then(|n| n.parse().ok());
        let url = self.server.location(&what(&Method::POST, url), url, response.headers())?;
        Ok(Session { url, least, own_token: false })
    }

    pub(super) async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, OciError> {
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let response = match self.post(&url, Some(from)).await {
            // Who may write here need not be allowed to read there.
            Err(OciError::Unauthorized { .. }) => return Ok(Mount::Refused),
            answer => answer?,
        };
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

    /// Sends a blob that `source` has into an open session.
    pub(super) async fn upload_from(&self, source: &Store, session: Session, blob: &BlobEntry) -> Result<(), OciError> {
        match self.server.chunk(blob.size, session.least) {
            Some(chunk) => self.upload_chunks(source, session, blob, chunk).await,
            None => {
                let stream = source.get_blob(&blob.digest, blob.size).await?;
                self.upload(session, &blob.digest, blob.size, stream).await
            }
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
        let (stream, error) = keep_error(verified(format!("{digest} for {}", self.name()), *digest, size, stream));
        let (own, url, mut stream) = (session.own_token, finished(session.url, digest), Some(stream));
        let build = |request: RequestBuilder| {
            let request = request.header(CONTENT_TYPE, BYTES).header(CONTENT_LENGTH, size).timeout(patience(size));
            Some(request.body(reqwest::Body::wrap_stream(stream.take()?)))
        };
        let answer = self.server.send_once(&Method::PUT, &url, &self.push(), own, build).await;
        // A broken source looks like a broken connection from here: its own error says what really happened.
        if let Some(error) = error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        self.created(&url, answer?, digest).await
    }

    async fn created(&self, url: &Url, response: Response, digest: &Digest) -> Result<(), OciError> {
        if response.status() != StatusCode::CREATED {
            return Err(status(what(&Method::PUT, url), response).await);
        }
        self.remember(digest);
        Ok(())
    }

    /// Sends a blob in chunks. After a broken one the registry is asked how far it came, and sending goes on from there:
    /// what counts is what it says it has, and it never has more than was sent.
    async fn upload_chunks(
        &self,
        source: &Store,
        session: Session,
        blob: &BlobEntry,
        chunk: u64,
    ) -> Result<(), OciError> {
        let BlobEntry { digest, size } = blob;
        let mut url = session.url;
        let mut attempt = 1;
        let mut feed = Feed::open(source, blob, 0, Sha256::new()).await?;
        while feed.passed < *size {
            let (start, hash) = (feed.passed, feed.hash.clone());
            let length = chunk.min(size - start);
            match self.send_chunk(&url, session.own_token, feed, start, length).await {
                Ok((rest, next)) => (feed, url, attempt) = (rest, next, 1),
                Err(error) if error.is_transient() && attempt < self.attempts() => {
                    self.pause(attempt, error.retry_after()).await;
                    attempt += 1;
                    let (there, next) = self.progress(&url).await?;
                    if !(start..=start + length).contains(&there) {
                        let what = format!("{digest} for {}: bytes in the session", self.name());
                        return Err(OciError::integrity(what, format!("{start} to {}", start + length), there));
                    }
                    url = next;
                    feed = Feed::open(source, blob, start, hash).await?;
                    feed.pass(there - start).await?;
                }
                Err(error) => return Err(error),
            }
        }
        feed.finish(format!("{digest} for {}", self.name()), blob).await?;
        let url = finished(url, digest);
        let build = |request: RequestBuilder| {
            Some(request.header(CONTENT_TYPE, BYTES).header(CONTENT_LENGTH, 0).timeout(patience(*size)))
        };
        let answer = self.server.send_once(&Method::PUT, &url, &self.push(), session.own_token, build).await?;
        self.created(&url, answer, digest).await
    }

    /// One PATCH; gives back the rest of the source and where the next one goes.
    async fn send_chunk(
        &self,
        url: &Url,
        own: bool,
        feed: Feed,
        start: u64,
        length: u64,
    ) -> Result<(Feed, Url), OciError> {
        let end = start + length;
        let slot = Arc::new(Mutex::new(Some(feed)));
        let back = slot.clone();
        let parts = futures_util::stream::try_unfold(slot, move |slot| async move {
            let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(mut feed) = taken.filter(|feed| feed.passed < end) else { return Ok(None) };
            let part = feed.next(end - feed.passed).await?;
            let last = feed.passed >= end;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(feed);
            // The slot is let go of with the last part, so that the feed can be had back.
            Ok(Some((part, if last { Arc::default() } else { slot })))
        });
        let (stream, error) = keep_error(parts.boxed());
        let mut stream = Some(stream);
        let build = |request: RequestBuilder| {
            let request = request
                .header(CONTENT_TYPE, BYTES)
                .header(CONTENT_LENGTH, length)
                .header(CONTENT_RANGE, format!("{start}-{}", end - 1))
                .timeout(patience(length));
            Some(request.body(reqwest::Body::wrap_stream(stream.take()?)))
        };
        let answer = self.server.send_once(&Method::PATCH, url, &self.push(), own, build).await;
        if let Some(error) = error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let response = answer?;
        if !matches!(response.status().as_u16(), 202 | 204) {
            return Err(status(what(&Method::PATCH, url), response).await);
        }
        let next = self.server.location(&what(&Method::PATCH, url), url, response.headers())?;
        let feed = back.lock().unwrap_or_else(PoisonError::into_inner).take();
        match feed {
            Some(feed) if feed.passed == end => Ok((feed, next)),
            // Taken before everything was sent: the registry did not read what it accepted.
            _ => Err(OciError::malformed(what(&Method::PATCH, url), "the chunk was accepted before it was sent")),
        }
    }

    /// How many bytes an upload session has, and where it goes on.
    async fn progress(&self, url: &Url) -> Result<(u64, Url), OciError> {
        let response = self.server.send(&Method::GET, url, &self.push(), short(None)).await?;
        if response.status() != StatusCode::NO_CONTENT {
            return Err(status(what(&Method::GET, url), response).await);
        }
        // `0-N` with both ends included; nothing yet is `0-0` or no header (distribution specification, "Pushing a blob in chunks").
        let range = header(response.headers(), RANGE.as_str()).and_then(|range| range.split_once('-'));
        let there = match range.and_then(|(_, end)| end.parse::<u64>().ok()) {
            None | Some(0) => 0,
            Some(end) => end + 1,
        };
        let next =
            self.server.location(&what(&Method::GET, url), url, response.headers()).unwrap_or_else(|_| url.clone());
        Ok((there, next))
    }
}

/// The address that closes a session: its query is kept.
fn finished(mut url: Url, digest: &Digest) -> Url {
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    url
}

/// A blob while it passes, with the hash of what has passed.
struct Feed {
    stream: BlobStream,
    held: Bytes,
    hash: Sha256,
    passed: u64,
}

impl Feed {
    /// Opens the blob at byte `from`, when `hash` has taken in everything before.
    async fn open(source: &Store, blob: &BlobEntry, from: u64, hash: Sha256) -> Result<Self, OciError> {
        let stream = source.get_blob_from(&blob.digest, blob.size, from).await?;
        Ok(Self { stream, held: Bytes::new(), hash, passed: from })
    }

    /// The next bytes, at least one and at most `most`.
    async fn next(&mut self, most: u64) -> Result<Bytes, OciError> {
        while self.held.is_empty() {
            match self.stream.next().await {
                Some(chunk) => self.held = chunk?,
                None => {
                    return Err(OciError::integrity("blob: size", format!("more than {}", self.passed), self.passed));
                }
            }
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.held.len());
        let part = self.held.split_to(length);
        self.hash.update(&part);
        self.passed += part.len() as u64;
        Ok(part)
    }

    /// Lets `count` bytes pass that the other side has already.
    async fn pass(&mut self, count: u64) -> Result<(), OciError> {
        let end = self.passed + count;
        while self.passed < end {
            self.next(end - self.passed).await?;
        }
        Ok(())
    }

    /// Checks that the whole blob has passed, and nothing else.
    async fn finish(mut self, what: String, blob: &BlobEntry) -> Result<(), OciError> {
        let more = !self.held.is_empty() || self.stream.next().await.is_some();
        if more || self.passed != blob.size {
            let found = if more { format!("more than {}", self.passed) } else { self.passed.to_string() };
            return Err(OciError::integrity(format!("{what}: size"), blob.size, found));
        }
        let found = Digest::from_bytes(self.hash.finalize().into());
        if found == blob.digest { Ok(()) } else { Err(OciError::integrity(what, blob.digest, found)) }
    }
}
