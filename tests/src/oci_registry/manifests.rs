//! Manifests, tags and referrers (distribution specification 1.1, "Pulling manifests", "Pushing Manifests", "Content
//! Discovery", "Deleting Manifests"). What must not live here: blobs.

use axum::http::{HeaderMap, Method};
use promo_core::Digest;
use serde_json::{Value, json};

use super::behaviour::{Behaviour, Tags};
use super::content::{Answer, Content, Stored};
use super::door::{pairs, value};
use super::uploads::{digest, with_digest};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn unknown() -> Answer {
    Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown to registry")
}

fn invalid(problem: &str) -> Answer {
    Answer::error(400, "MANIFEST_INVALID", problem)
}

/// What a reference in a path names.
enum Reference<'a> {
    Tag(&'a str),
    Digest(Digest),
}

fn reference(text: &str) -> Result<Reference<'_>, Answer> {
    if text.contains(':') {
        return Ok(Reference::Digest(digest(text)?));
    }
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let rest = chars.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if first && rest && text.len() <= 128 { Ok(Reference::Tag(text)) } else { Err(invalid("not a tag")) }
}

/// GET, HEAD, PUT and DELETE of a manifest or a tag.
pub(super) fn manifest(
    content: &mut Content,
    behaviour: &Behaviour,
    method: &Method,
    repository: &str,
    text: &str,
    (headers, body): (&HeaderMap, &[u8]),
) -> Answer {
    let reference = match reference(text) {
        Ok(reference) => reference,
        // What cannot be a manifest cannot be found either.
        Err(_) if matches!(*method, Method::GET | Method::HEAD) => return unknown(),
        Err(answer) => return answer,
    };
    match method.as_str() {
        "GET" | "HEAD" => {
            let Some(there) = content.repositories.get(repository) else { return unknown() };
            let digest = match reference {
                Reference::Tag(tag) => there.tags.get(tag).copied(),
                Reference::Digest(digest) => Some(digest),
            };
            let Some((digest, stored)) = digest.and_then(|digest| Some((digest, there.manifests.get(&digest)?))) else {
                return unknown();
            };
            let mut answer = Answer::new(200).body(&stored.media_type, stored.bytes.clone());
            if behaviour.validators {
                answer = answer.with("etag", validator(&digest));
            }
            with_digest(answer, behaviour, &digest)
        }
        "PUT" => put(content, behaviour, repository, &reference, headers, body),
        "DELETE" if behaviour.deletes => {
            let Some(there) = content.repositories.get_mut(repository) else { return unknown() };
            let found = match reference {
                Reference::Tag(tag) => there.tags.remove(tag).is_some(),
                Reference::Digest(digest) => {
                    there.tags.retain(|_, held| *held != digest);
                    there.manifests.remove(&digest).is_some()
                }
            };
            if found { Answer::new(202) } else { unknown() }
        }
        _ => Answer::error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

fn put(
    content: &mut Content,
    behaviour: &Behaviour,
    repository: &str,
    reference: &Reference<'_>,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    if body.len() as u64 > behaviour.largest_manifest {
        return Answer::error(413, "SIZE_INVALID", "the manifest is too large");
    }
    let media_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return invalid("not JSON") };
    if document["schemaVersion"] != 2 {
        return invalid("not of schema version 2");
    }
    if document["mediaType"].as_str().is_some_and(|stated| stated != media_type) {
        return invalid("the content type is not the media type");
    }
    let found = Digest::of(body);
    let digest = match reference {
        Reference::Digest(wanted) if *wanted != found && !behaviour.credulous => {
            return Answer::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        Reference::Digest(wanted) => *wanted,
        Reference::Tag(_) => found,
    };
    if !behaviour.credulous
        && let Some(missing) = missing(content, repository, &document)
    {
        return Answer::error(400, "MANIFEST_BLOB_UNKNOWN", &format!("{missing} is unknown to registry"));
    }
    let there = content.at(repository);
    if let Reference::Tag(tag) = reference
        && let Some(held) = there.tags.get(*tag)
        && let Some(refused) = refused(behaviour.tags, tag, *held == digest)
    {
        return refused;
    }
    let condition = headers.get("if-match").filter(|_| behaviour.validators);
    if let (Reference::Tag(tag), Some(condition)) = (reference, condition)
        && there.tags.get(*tag).is_none_or(|held| condition.as_bytes() != validator(held).as_bytes())
    {
        return Answer::error(412, "PRECONDITION", "the tag holds something else");
    }
    if let Reference::Tag(tag) = reference
        && behaviour.validators
        && headers.get("if-none-match").is_some_and(|condition| condition == "*")
        && there.tags.get(*tag).is_some_and(|held| there.manifests.contains_key(held))
    {
        return Answer::error(412, "PRECONDITION", "the tag holds something");
    }
    there.manifests.insert(digest, Stored { media_type, bytes: body.to_vec().into() });
    if let Reference::Tag(tag) = reference
        && !(behaviour.tags == Tags::Silent && there.tags.contains_key(*tag))
    {
        there.tags.insert((*tag).to_owned(), digest);
    }
    let answer = Answer::new(201).with("location", format!("/v2/{repository}/manifests/{digest}"));
    let answer = with_digest(answer, behaviour, &digest);
    match document["subject"]["digest"].as_str().filter(|_| behaviour.referrers) {
        Some(subject) => answer.with("oci-subject", subject),
        None => answer,
    }
}

/// The first part of a manifest that the repository does not have; what lies elsewhere need not be here.
fn missing(content: &Content, repository: &str, document: &Value) -> Option<String> {
    let there = content.repositories.get(repository);
    let has = |descriptor: &Value, manifest: bool| {
        let Some(digest) = descriptor["digest"].as_str().and_then(|text| text.parse::<Digest>().ok()) else {
            return false;
        };
        let is_foreign = descriptor["urls"].as_array().is_some_and(|urls| !urls.is_empty());
        is_foreign
            || there.is_some_and(|there| match manifest {
                true => there.manifests.contains_key(&digest),
                false => there.blobs.contains_key(&digest),
            })
    };
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let config = document.get("config").into_iter().cloned();
    let blobs = config.chain(list("layers")).filter(|descriptor| !has(descriptor, false));
    let manifests = list("manifests").into_iter().filter(|descriptor| !has(descriptor, true));
    blobs.chain(manifests).map(|descriptor| descriptor["digest"].to_string()).next()
}

fn validator(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

fn refused(tags: Tags, tag: &str, same: bool) -> Option<Answer> {
    let message = format!("the tag '{tag}' exists already and cannot be overwritten because it is immutable");
    match tags {
        Tags::BadRequest => Some(Answer::error(400, "TAG_INVALID", &message)),
        _ if same => None,
        Tags::Movable | Tags::Silent => None,
        Tags::Precondition => Some(Answer::error(412, "PRECONDITION", &message)),
        Tags::Conflict => Some(Answer::error(409, "CONFLICT", &message)),
        Tags::Forbidden => Some(Answer::error(403, "DENIED", &message)),
        Tags::NotAllowed => Some(Answer::error(405, "UNSUPPORTED", &message)),
    }
}

/// GET of the list of tags.
pub(super) fn tags(content: &Content, behaviour: &Behaviour, repository: &str, query: &str) -> Answer {
    let Some(there) = content.repositories.get(repository) else {
        return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let pairs = pairs(query);
    let asked = match value(&pairs, "n").map(str::parse::<usize>) {
        Some(Err(_)) => return Answer::error(400, "PAGINATION_NUMBER_INVALID", "not a number"),
        Some(Ok(n)) => Some(n),
        None => None,
    };
    let last = value(&pairs, "last");
    let is_after = |tag: &&String| match last {
        Some(last) if behaviour.repeats_last => tag.as_str() >= last,
        Some(last) => tag.as_str() > last,
        None => true,
    };
    let all: Vec<&String> = there.tags.keys().filter(is_after).collect();
    let page = asked.unwrap_or(usize::MAX).min(behaviour.page.unwrap_or(usize::MAX)).min(all.len());
    let body = json!({ "name": repository, "tags": all[..page] }).to_string();
    let answer = Answer::new(200).body("application/json", body);
    match all[..page].last() {
        Some(last) if page < all.len() => {
            let n = asked.unwrap_or(page);
            answer.with("link", format!("</v2/{repository}/tags/list?last={last}&n={n}>; rel=\"next\""))
        }
        _ => answer,
    }
}

/// GET of the referrers of a digest.
pub(super) fn referrers(content: &Content, behaviour: &Behaviour, repository: &str, text: &str, query: &str) -> Answer {
    if !behaviour.referrers {
        return Answer::new(404).body("text/plain", "404 page not found");
    }
    let subject = match digest(text) {
        Ok(subject) => subject,
        Err(answer) => return answer,
    };
    let pairs = pairs(query);
    let wanted = value(&pairs, "artifactType");
    let mut all = Vec::new();

    for (digest, stored) in content.repositories.get(repository).iter().flat_map(|there| &there.manifests) {
        let Ok(document) = serde_json::from_slice::<Value>(&stored.bytes) else { continue };
        if document["subject"]["digest"].as_str() != Some(&subject.to_string()) {
            continue;
        }
        let mut found =
            json!({ "mediaType": stored.media_type, "digest": digest.to_string(), "size": stored.bytes.len() });
        let stated = document["artifactType"].as_str().filter(|text| !text.is_empty());
        if let Some(artifact_type) = stated.or_else(|| document["config"]["mediaType"].as_str()) {
            found["artifactType"] = artifact_type.into();
        }
        if let Some(annotations) = document.get("annotations") {
            found["annotations"] = annotations.clone();
        }
        if wanted.is_none_or(|wanted| found["artifactType"] == wanted) {
            all.push(found);
        }
    }
    let from = value(&pairs, "from").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0).min(all.len());
    let to = behaviour.referrers_page.map_or(all.len(), |page| (from + page).min(all.len()));
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all[from..to] }).to_string();
    let mut answer = Answer::new(200).body(INDEX, body);
    if wanted.is_some() {
        answer = answer.with("oci-filters-applied", "artifactType");
    }
    if to < all.len() {
        let filter = wanted.map_or_else(String::new, |wanted| {
            let wanted: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
            format!("&artifactType={wanted}")
        });
        answer = answer.with("link", format!("</v2/{repository}/referrers/{subject}?from={to}{filter}>; rel=\"next\""));
    }
    answer
}
