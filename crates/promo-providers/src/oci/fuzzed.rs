//! What must hold for anything that a registry says, for the fuzz targets: built with them (`--cfg fuzzing`) and with the
//! tests only. What must not live here: anything that the product calls.

use std::collections::BTreeSet;

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde_json::Value;
use url::{Host, Url};

use super::address;
use super::auth::{Challenge, challenges};
use super::document::{self, Body, DOCKER_LIST, Document, Link, MANIFEST_TYPES, OCI_INDEX, RawManifest};
use super::error::tame;

/// Values of `WWW-Authenticate`, one a line.
///
/// # Panics
/// When what was read cannot be written and read again, or a token server may be asked that must not be: the finding.
pub fn challenge(bytes: &[u8]) {
    let read = |values: &[Vec<u8>]| {
        let mut headers = HeaderMap::new();
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()).take(64) {
            headers.append(WWW_AUTHENTICATE, value);
        }
        challenges(&headers)
    };
    let lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let all = read(&lines);
    let written: Vec<Vec<u8>> = all.iter().map(|challenge| write(challenge).into_bytes()).collect();
    assert_eq!(read(&written), all, "what was read says the same when it is written");
    for challenge in &all {
        let lower = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_ascii_uppercase());
        assert!(lower(&challenge.scheme) && challenge.parameters().all(|(name, _)| lower(name)), "{challenge:?}");
        let base = Url::parse("https://registry.example/v2/").expect("an address");
        let asked = address::realm(&base, challenge.get("realm").unwrap_or_default(), &BTreeSet::new());
        assert!(asked.as_ref().is_ok_and(is_public) || asked.is_err(), "{asked:?}");
    }
}

fn write(challenge: &Challenge) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let parameters: Vec<String> =
        challenge.parameters().map(|(name, text)| format!("{name}=\"{}\"", quoted(text))).collect();
    format!("{} {}", challenge.scheme, parameters.join(", "))
}

/// By what the standard library knows, as a second opinion.
fn is_public(url: &Url) -> bool {
    let host = match url.host() {
        Some(Host::Ipv4(ip)) => !ip.is_private() && !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => {
            let wrapped =
                ip.to_ipv4_mapped().is_some_and(|ip| ip.is_private() || ip.is_loopback() || ip.is_link_local());
            !wrapped
                && !ip.is_loopback()
                && !ip.is_unspecified()
                && !ip.is_unique_local()
                && !ip.is_unicast_link_local()
        }
        Some(Host::Domain(name)) => name != "localhost",
        None => false,
    };
    host && url.scheme() == "https" && url.username().is_empty() && url.password().is_none()
}

/// A media type, a line feed, and a document that is served as it; without a media type when the line is empty.
///
/// # Panics
/// When a document that is taken says something else than a plain reading of it: the finding.
pub fn manifest(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (served, body) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let Ok(served) = std::str::from_utf8(served) else { return };
    let served = Some(served).filter(|served| !served.is_empty());
    let media_type = match document::media_type("there", served, body) {
        Ok(media_type) => media_type,
        Err(error) => return says_something_tame(&error.to_string()),
    };
    assert!(MANIFEST_TYPES.contains(&media_type.as_str()), "{media_type}");
    let raw = RawManifest { digest: promo_core::Digest::of(body), media_type, bytes: body.to_vec() };
    match document::parse("there", &raw) {
        Ok(document) => agrees(&document, &raw),
        Err(error) => says_something_tame(&error.to_string()),
    }
}

fn says_something_tame(text: &str) {
    assert!(!text.is_empty() && text.split(": ").all(|part| tame(part).len() <= 604));
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn agrees(document: &Document, raw: &RawManifest) {
    let plain: Value = serde_json::from_slice(&raw.bytes).expect("what was read is JSON");
    let is_index = matches!(raw.media_type.as_str(), OCI_INDEX | DOCKER_LIST);
    let has = |field: &str| !plain[field].is_null();
    assert_eq!((has("manifests"), has("layers")), (is_index, !is_index), "{plain}");
    let all = |links: &[Link], plain: &Value| {
        assert_eq!(links.len(), plain.as_array().map_or(0, Vec::len));
        for (at, found) in links.iter().enumerate() {
            agree(found, &plain[at]);
        }
    };
    match &document.body {
        Body::Index { children } => all(children, &plain["manifests"]),
        Body::Manifest { config, layers } => {
            agree(config, &plain["config"]);
            all(layers, &plain["layers"]);
        }
    }
    let subject = document.subject.map(|digest| digest.to_string());
    assert_eq!(subject.as_deref(), plain["subject"]["digest"].as_str());
}

fn agree(found: &Link, plain: &Value) {
    assert_eq!(Some(found.digest.to_string().as_str()), plain["digest"].as_str());
    assert_eq!(Some(found.size), plain["size"].as_u64());
    assert!(!found.media_type.is_empty() || plain["mediaType"].as_str() == Some(""));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each seed as it is, and with each byte left out, doubled, or made another one.
    fn all(target: &str, hold: fn(&[u8])) {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut tried = 0;
        for seed in std::fs::read_dir(corpus).unwrap() {
            let seed = std::fs::read(seed.unwrap().path()).unwrap();
            hold(&seed);
            for at in 0..seed.len() {
                for other in [&b""[..], &[seed[at], seed[at]], b"\"", b"\\", b",", b"=", b"9", b"-", b"\x1b", b"\xff"] {
                    hold(&[&seed[..at], other, &seed[at + 1..]].concat());
                    tried += 1;
                }
            }
        }
        assert!(tried > 1000, "{tried}");
    }

    #[test]
    fn what_is_asked_for_reads_the_same_when_it_is_written() {
        all("challenge", challenge);
    }

    #[test]
    fn manifests_say_what_a_plain_reading_says() {
        all("manifest", manifest);
    }
}
