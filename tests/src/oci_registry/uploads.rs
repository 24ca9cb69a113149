//! Blobs. What lives here: reading them, whole or a range; upload sessions, mounts and deletion (distribution
//! specification 1.1, "Pulling blobs", "Pushing blobs", "Deleting Blobs"). What must not: manifests.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use promo_core::Digest;

use super::behaviour::{Behaviour, Mounting};
use super::content::{Answer, Content};
use super::door::{pairs, value};

/// The part of a request that blobs are made of.
pub(super) struct Sent<'a> {
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether the whole body came in.
    pub(super) whole: bool,
}

fn unknown() -> Answer {
    Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry")
}

/// A digest that is kept here: `sha256` only.
pub(super) fn digest(text: &str) -> Result<Digest, Answer> {
    text.parse().map_err(|_| Answer::error(400, "DIGEST_INVALID", "not a digest that is taken here"))
}

pub(super) fn with_digest(answer: Answer, behaviour: &Behaviour, digest: &Digest) -> Answer {
    if behaviour.digest_header { answer.with("docker-content-digest", digest.to_string()) } else { answer }
}

/// GET, HEAD and DELETE of a blob.
pub(super) fn blob(
    content: &mut Content,
    behaviour: &Behaviour,
    method: &Method,
    repository: &str,
    reference: &str,
    headers: &HeaderMap,
) -> Answer {
    let digest = match digest(reference) {
        Ok(digest) => digest,
        Err(answer) => return answer,
    };
    let Some(bytes) = content.blob(repository, &digest).cloned() else { return unknown() };
    match method.as_str() {
        "GET" | "HEAD" => {
            let answer = match headers.get("range").and_then(|value| value.to_str().ok()) {
                Some(range) => part(&bytes, range),
                None => Answer::new(200).body("application/octet-stream", bytes),
            };
            with_digest(answer.with("accept-ranges", "bytes"), behaviour, &digest)
        }
        "DELETE" if behaviour.deletes => {
            content.at(repository).blobs.remove(&digest);
            Answer::new(202)
        }
        _ => Answer::error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

/// One range of bytes (RFC 9110, 14.1.2); what cannot be read is ignored.
fn part(bytes: &Bytes, range: &str) -> Answer {
    let whole = || Answer::new(200).body("application/octet-stream", bytes.clone());
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return whole();
    };
    let size = bytes.len();
    let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(start), Ok(last)) if start <= last => (start, size.min(last + 1)),
        (Ok(start), Err(_)) if last.is_empty() => (start, size),
        (Err(_), Ok(count)) if first.is_empty() => (size.saturating_sub(count), size),
        _ => return whole(),
    };
    if start >= size {
        return Answer::new(416).with("content-range", format!("bytes */{size}"));
    }
    let answer = Answer::new(206).body("application/octet-stream", bytes.slice(start..end));
    answer.with("content-range", format!("bytes {start}-{}/{size}", end - 1))
}

fn session(status: u16, behaviour: &Behaviour, repository: &str, id: &str, size: usize) -> Answer {
    let answer = Answer::new(status)
        .with("location", format!("/v2/{repository}/blobs/uploads/{id}?state={size}"))
        .with("docker-upload-uuid", id)
        // Both ends included; nothing yet is said as `0-0`, as real registries do.
        .with("range", format!("0-{}", size.saturating_sub(1)));
    match behaviour.least_chunk {
        Some(least) => answer.with("oci-chunk-min-length", least.to_string()),
        None => answer,
    }
}

fn stored(behaviour: &Behaviour, repository: &str, digest: &Digest) -> Answer {
    let answer = Answer::new(201).with("location", format!("/v2/{repository}/blobs/{digest}"));
    with_digest(answer, behaviour, digest)
}

fn store(content: &mut Content, behaviour: &Behaviour, repository: &str, text: &str, bytes: Vec<u8>) -> Answer {
    let digest = match digest(text) {
        Ok(digest) => digest,
        Err(answer) => return answer,
    };
    if !behaviour.credulous && Digest::of(&bytes) != digest {
        return Answer::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    content.at(repository).blobs.insert(digest, bytes.into());
    stored(behaviour, repository, &digest)
}

/// POST: a mount, a blob in one request, or a new session.
pub(super) fn start(content: &mut Content, behaviour: &Behaviour, repository: &str, sent: Sent<'_>) -> Answer {
    let pairs = pairs(sent.query);
    if let Some(mount) = value(&pairs, "mount") {
        let digest = match digest(mount) {
            Ok(digest) => digest,
            Err(answer) => return answer,
        };
        match behaviour.mount {
            Mounting::Honour => {
                let found = match value(&pairs, "from") {
                    Some(from) => content.blob(from, &digest).cloned(),
                    None => content.repositories.values().find_map(|there| there.blobs.get(&digest)).cloned(),
                };
                if let Some(bytes) = found {
                    content.at(repository).blobs.insert(digest, bytes);
                    return stored(behaviour, repository, &digest);
                }
            }
            Mounting::Session => {}
            Mounting::Refuse(status) => return Answer::error(status, "UNSUPPORTED", "mounts are not supported"),
        }
    } else if let Some(text) = value(&pairs, "digest")
        && behaviour.single_post
        && sent.whole
    {
        return store(content, behaviour, repository, text, sent.body);
    }
    let id = content.open(repository);
    session(202, behaviour, repository, &id, 0)
}

/// `first-last` of a `Content-Range`, both ends included.
fn content_range(headers: &HeaderMap) -> Option<(usize, usize)> {
    let (first, last) = headers.get("content-range")?.to_str().ok()?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// GET, PATCH, PUT and DELETE of a session.
pub(super) fn go_on(
    content: &mut Content,
    behaviour: &Behaviour,
    method: &Method,
    repository: &str,
    id: &str,
    sent: Sent<'_>,
) -> Answer {
    let gone = || Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    let Some((_, bytes)) = content.uploads.get_mut(id).filter(|(owner, _)| owner == repository) else { return gone() };
    let size = bytes.len();
    if matches!(*method, Method::PATCH | Method::PUT)
        && let Some((first, last)) = content_range(sent.headers)
    {
        if first != size || last < first {
            return session(416, behaviour, repository, id, size);
        }
        if sent.whole && last - first + 1 != sent.body.len() {
            return Answer::error(400, "SIZE_INVALID", "provided length did not match content length");
        }
    }
    match method.as_str() {
        "GET" => session(204, behaviour, repository, id, size),
        "DELETE" => {
            content.uploads.remove(id);
            Answer::new(204)
        }
        "PATCH" => {
            bytes.extend_from_slice(&sent.body);
            let size = bytes.len();
            session(202, behaviour, repository, id, size)
        }
        "PUT" if sent.whole => {
            let pairs = pairs(sent.query);
            let Some(text) = value(&pairs, "digest") else {
                return Answer::error(400, "DIGEST_INVALID", "no digest was given");
            };
            let mut all = bytes.clone();
            all.extend_from_slice(&sent.body);
            let answer = store(content, behaviour, repository, text, all);
            if answer.status == 201 {
                content.uploads.remove(id);
            }
            answer
        }
        // What came of a closing request that broke off is of no use to anybody.
        _ => Answer::error(400, "BLOB_UPLOAD_INVALID", "blob upload invalid"),
    }
}
