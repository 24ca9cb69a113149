//! Blobs on their way into a registry. What lives here: mounts, upload sessions, sending a blob in one request or in
//! chunks. What must not: which blobs are sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use promo_core::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::error::{OciError, tame};
use super::registry::{Registry, header, patience};
use super::resolve::BlobEntry;
use super::server::short;
use super::store::{BlobStream, Store, keep_error, verified};
use super::wire::{SHORT, status, what};

/// Bytes of a broken chunk that count as getting ahead, where it is no whole one.
const AHEAD: u64 = 1 << 20;
const BYTES: &str = "application/octet-stream";
/// How long a registry is listened to that is asked to forget an upload.
const FAREWELL: Duration = Duration::from_secs(5);

/// The uploads of one copy that are neither finished nor given up, and where each of them goes on.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<u64, Url>,
    last: u64,
    /// Blobs that were just asked for.
    asked: BTreeMap<Digest, Asked>,
}

/// An open upload.
#[derive(Debug)]
pub(super) struct Session {
    /// Its place in [`Sessions`].
    id: u64,
    url: Url,
    /// Chunks of fewer bytes are not taken (`OCI-Chunk-Min-Length`).
    least: Option<u64>,
    /// The bytes go with a token of their own: they can be sent once only, and a shared token was refused.
    pub(super) own_token: bool,
}

/// What came of sending a blob into a session.
#[derive(Debug)]
pub(super) enum Sent {
    /// It is there.
    Whole,
    /// The registry does not know the session any more, as this says: nothing is left of what was sent.
    Ended(OciError),
}

/// What came of sending a chunk.
enum Taken {
    /// It is there; with the rest of the source, and where the next one goes.
    All(Feed, Url),
    /// So many bytes of the blob are there.
    Part(u64, Url),
    /// As [`Sent::Ended`].
    Ended(OciError),
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

/// What came of asking whether a blob is here.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is.
    There,
    /// It is not; with an upload for it, where the registry has opened one.
    Absent(Option<Session>),
}

impl Registry {
    /// Asks for a blob. A mount of the blob from this very repository does that, too: a registry that has it says so, and one
    /// that has not opens the upload that is needed then, which saves the request for that. What is said to be there is
    /// looked at.
    pub(super) async fn ask(&self, blob: &BlobEntry) -> Result<Asked, OciError> {
        if self.server.asks_by_mount(blob.size) {
            match self.mount(&blob.digest, &self.repository).await? {
                Mount::Mounted => self.server.note_own_mounts(true),
                Mount::Session(open) => return Ok(Asked::Absent(Some(open))),
                Mount::Refused => self.server.note_own_mounts(false),
            }
        }
        self.look(blob).await
    }

    /// Asks for a blob, and changes nothing whatever the answer is.
    pub(super) async fn look(&self, blob: &BlobEntry) -> Result<Asked, OciError> {
        let there = self.blob_exists(&blob.digest, blob.size).await?;
        Ok(if there { Asked::There } else { Asked::Absent(None) })
    }

    /// What this copy was just told about the blob. Said once, so that whoever starts again asks again.
    pub(super) fn take_asked(&self, digest: &Digest) -> Option<Asked> {
        self.sessions().asked.remove(digest)
    }

    pub(super) fn note_asked(&self, digest: &Digest, asked: Asked) {
        self.sessions().asked.insert(*digest, asked);
    }

    /// Gives up an upload that is not needed.
    pub(super) async fn give_up(&self, session: &Session) {
        let url = self.sessions().open.remove(&session.id);
        if let Some(url) = url {
            self.forget(&url).await;
        }
    }

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
        let mut sessions = self.sessions();
        sessions.last += 1;
        let id = sessions.last;
        sessions.open.insert(id, url.clone());
        Ok(Session { id, url, least, own_token: false })
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self, session: &mut Session, to: Url) {
        self.sessions().open.insert(session.id, to.clone());
        session.url = to;
    }

    /// Asks the registry to forget the uploads of this copy that came to nothing, so that none is left open there. It is
    /// asked once and for [`FAREWELL`] only: what it makes of that changes nothing about the copy.
    pub(super) async fn abandon(&self) {
        let open = std::mem::take(&mut self.sessions().open);
        let asked = open.into_values().map(|url| async move { self.forget(&url).await });
        futures_util::future::join_all(asked).await;
    }

    async fn forget(&self, url: &Url) {
        let build = |request: RequestBuilder| Some(request.timeout(FAREWELL));
        if let Err(error) = self.server.send_once(&Method::DELETE, url, &self.push(), false, build).await {
            tracing::debug!(%error, "an upload that came to nothing stays open until the registry tidies up");
        }
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

    /// Sends a blob that `source` has into an open session. A session that came to nothing is given up at the registry.
    ///
    /// # Errors
    /// What the source or the registry says.
    pub(super) async fn upload_from(
        &self,
        source: &Store,
        mut session: Session,
        blob: &BlobEntry,
    ) -> Result<Sent, OciError> {
        let sent = match self.server.chunk(blob.size, session.least) {
            Some(chunk) => self.upload_chunks(source, &mut session, blob, chunk).await,
            None => match source.get_blob(&blob.digest, blob.size).await {
                Ok(stream) => self.send_whole(&session, &blob.digest, blob.size, stream).await,
                Err(error) => Err(error),
            },
        };
        self.close(&session, sent).await
    }

    /// Sends a blob in one request, exactly once.
    ///
    /// # Errors
    /// As [`Registry::upload_from`].
    pub(super) async fn upload(
        &self,
        session: Session,
        digest: &Digest,
        size: u64,
        stream: BlobStream,
    ) -> Result<(), OciError> {
        let sent = self.send_whole(&session, digest, size, stream).await;
        match self.close(&session, sent).await? {
            Sent::Whole => Ok(()),
            Sent::Ended(error) => Err(error),
        }
    }

    async fn close(&self, session: &Session, sent: Result<Sent, OciError>) -> Result<Sent, OciError> {
        if sent.is_err() {
            self.give_up(session).await;
        } else {
            self.sessions().open.remove(&session.id);
        }
        sent
    }

    /// The request is broken off before its last byte when size or digest of what passed are not the promised ones.
    async fn send_whole(
        &self,
        session: &Session,
        digest: &Digest,
        size: u64,
        stream: BlobStream,
    ) -> Result<Sent, OciError> {
        let (stream, error) = keep_error(verified(format!("{digest} for {}", self.name()), *digest, size, stream));
        let (url, mut stream) = (finished(session.url.clone(), digest), Some(stream));
        let build = |request: RequestBuilder| {
            let request = request.header(CONTENT_TYPE, BYTES).header(CONTENT_LENGTH, size).timeout(patience(size));
            Some(request.body(reqwest::Body::wrap_stream(stream.take()?)))
        };
        let answer = self.server.send_once(&Method::PUT, &url, &self.push(), session.own_token, build).await;
        // A broken source looks like a broken connection from here: its own error says what really happened.
        if let Some(error) = error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        self.created(&url, answer?, digest).await
    }

    async fn created(&self, url: &Url, response: Response, digest: &Digest) -> Result<Sent, OciError> {
        let code = response.status();
        if code != StatusCode::CREATED {
            let error = status(what(&Method::PUT, url), response).await;
            return if is_end(code) { Ok(Sent::Ended(error)) } else { Err(error) };
        }
        self.remember(digest);
        Ok(Sent::Whole)
    }

    /// Sends a blob in chunks. After a broken one, and where the registry says that it stands elsewhere (416), it is asked
    /// how far it came, and sending goes on from there: what counts is what it says it has, and it never has more than was
    /// sent.
    async fn upload_chunks(
        &self,
        source: &Store,
        session: &mut Session,
        blob: &BlobEntry,
        chunk: u64,
    ) -> Result<Sent, OciError> {
        let BlobEntry { digest, size } = blob;
        let mut attempt = 1;
        let mut feed = Feed::open(source, blob, 0, Sha256::new()).await?;
        while feed.passed < *size {
            let (start, hash) = (feed.passed, feed.hash.clone());
            let end = start + chunk.min(size - start);
            let again = attempt < self.attempts();
            let (there, next) = match self.send_chunk(session, feed, start, end).await {
                Ok(Taken::All(rest, next)) => {
                    self.moved(session, next);
                    (feed, attempt) = (rest, 1);
                    continue;
                }
                Ok(Taken::Part(there, next)) => (there, next),
                Ok(Taken::Ended(error)) => return Ok(Sent::Ended(error)),
                Err(error)
                    if again && (error.is_transient() || matches!(error, OciError::Status { code: 416, .. })) =>
                {
                    self.pause(attempt, error.retry_after()).await;
                    match self.progress(&session.url).await? {
                        Ok(progress) => progress,
                        Err(error) => return Ok(Sent::Ended(error)),
                    }
                }
                Err(error) => return Err(error),
            };
            // Whoever gets ahead has its attempts anew: only standing still uses them up, and a crawl that has no end.
            let ahead = there == end || there.saturating_sub(start) >= AHEAD;
            attempt = if ahead { 1 } else { attempt + 1 };
            let what = || format!("{digest} for {}: bytes in the session", self.name());
            if !(start..=end).contains(&there) {
                return Err(OciError::integrity(what(), format!("{start} to {end}"), there));
            }
            if !(ahead || again) {
                return Err(OciError::malformed(what(), format!("{there}, and hardly more with each chunk")));
            }
            self.moved(session, next);
            feed = Feed::open(source, blob, start, hash).await?;
            feed.pass(there - start).await?;
        }
        feed.finish(format!("{digest} for {}", self.name()), blob).await?;
        let url = finished(session.url.clone(), digest);
        let build = |request: RequestBuilder| {
            Some(request.header(CONTENT_TYPE, BYTES).header(CONTENT_LENGTH, 0).timeout(patience(*size)))
        };
        let answer = self.server.send_once(&Method::PUT, &url, &self.push(), session.own_token, build).await?;
        self.created(&url, answer, digest).await
    }

    /// One PATCH with the bytes from `start` to before `end`.
    async fn send_chunk(&self, session: &Session, feed: Feed, start: u64, end: u64) -> Result<Taken, OciError> {
        let url = &session.url;
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
                .header(CONTENT_LENGTH, end - start)
                .header(CONTENT_RANGE, format!("{start}-{}", end - 1))
                .timeout(patience(end - start));
            Some(request.body(reqwest::Body::wrap_stream(stream.take()?)))
        };
        let answer = self.server.send_once(&Method::PATCH, url, &self.push(), session.own_token, build).await;
        if let Some(error) = error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let response = answer?;
        let code = response.status();
        if !matches!(code.as_u16(), 202 | 204) {
            let error = status(what(&Method::PATCH, url), response).await;
            return if is_end(code) { Ok(Taken::Ended(error)) } else { Err(error) };
        }
        let next = self.server.location(&what(&Method::PATCH, url), url, response.headers())?;
        // The status says that the chunk was taken, and some count the bytes wrongly (from one, or those of the chunk): only
        // a place within the chunk says that a part of it was. `0-0` is said for nothing, and by some for anything. Whether all
        // arrived the closing request decides, which the registry takes only with the digest of what it has.
        match reached(response.headers()) {
            Some(Ok(there)) if there != 0 && (start..end).contains(&there) => return Ok(Taken::Part(there, next)),
            _ => {}
        }
        let feed = back.lock().unwrap_or_else(PoisonError::into_inner).take();
        match feed {
            Some(feed) if feed.passed == end => Ok(Taken::All(feed, next)),
            // Taken before everything was sent: the registry did not read what it accepted.
            _ => Err(OciError::malformed(what(&Method::PATCH, url), "the chunk was accepted before it was sent")),
        }
    }

    /// How many bytes an upload session has, and where it goes on; or that there is no such session any more.
    async fn progress(&self, url: &Url) -> Result<Result<(u64, Url), OciError>, OciError> {
        let response = self.server.send(&Method::GET, url, &self.push(), short(None)).await?;
        let what = what(&Method::GET, url);
        let code = response.status();
        if code != StatusCode::NO_CONTENT {
            let error = status(what, response).await;
            return if is_end(code) { Ok(Err(error)) } else { Err(error) };
        }
        let there = match reached(response.headers()) {
            None => 0,
            Some(Ok(there)) => there,
            Some(Err(range)) => {
                return Err(OciError::malformed(what, format!("`{}` does not say how much is there", tame(range))));
            }
        };
        let next = match response.headers().contains_key(LOCATION) {
            true => self.server.location(&what, url, response.headers())?,
            false => url.clone(),
        };
        Ok(Ok((there, next)))
    }
}

/// Whether an answer says that there is no such session any more.
fn is_end(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// Up to where a session has bytes, if the answer says so; else what it says instead. `0-N` has both ends included, and
/// nothing yet is `0-0` (distribution specification, "Pushing a blob in chunks").
pub(super) fn reached(headers: &HeaderMap) -> Option<Result<u64, &str>> {
    let range = header(headers, RANGE.as_str())?;
    let end = range.split_once('-').and_then(|(_, end)| end.parse::<u64>().ok());
    Some(match end {
        Some(0) => Ok(0),
        Some(end) => end.checked_add(1).ok_or(range),
        None => Err(range),
    })
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
