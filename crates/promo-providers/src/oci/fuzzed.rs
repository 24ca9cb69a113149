//! What must hold for anything that a registry says, for the fuzz targets: built with them (`--cfg fuzzing`) and with the
//! tests only. What must not live here: anything that the product calls.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde_json::Value;
use url::{Host, Url};

use super::auth::{AuthFile, Challenge, Entry, challenges};
use super::document::{self, Body, DOCKER_LIST, Document, Link, MANIFEST_TYPES, OCI_INDEX, RawManifest};
use super::error::tame;
use super::reference::Location;
use super::settings::Settings;
use super::{address, referrers, registry, upload, wire};

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

/// Header lines `name: value` of an answer to an upload: where it goes on, how much is there, where the next page is, how long
/// to wait.
///
/// # Panics
/// When an address is followed that must not be, or a number says something else than a plain reading: the finding.
pub fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    let base = Url::parse("https://registry.example/v2/").expect("an address");
    let current = Url::parse("https://registry.example/v2/app/blobs/uploads/1?state=a").expect("an address");
    match address::location(&base, &current, &headers, &BTreeSet::new()) {
        Ok(url) => assert!(is_public(&url), "{url}"),
        Err((instead, why)) => says_something_tame(&format!("{instead}: {why}")),
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match upload::reached(&headers) {
        Some(Ok(there)) => {
            // Nothing yet is written as the first byte would be.
            let last = there.saturating_sub(1).to_string();
            let end = text("range").rsplit('-').next().unwrap_or_default().trim_start_matches(['+', '0']);
            assert_eq!(end, last.trim_start_matches('0'), "{headers:?}");
        }
        Some(Err(instead)) => assert_eq!(instead, text("range")),
        None => assert_eq!(text("range"), ""),
    }
    if let Some(next) = registry::next_page(&current, &headers) {
        assert!(text("link").contains("next") && !next.as_str().is_empty(), "{headers:?}");
    }
    if let Some(asked) = wire::retry_after(&headers) {
        let seconds = text("retry-after").trim().trim_start_matches('+');
        assert!(seconds.parse() == Ok(asked.as_secs()) || headers.contains_key("date"), "{headers:?}");
    }
}

/// A page of the referrers API, or of a list of tags.
///
/// # Panics
/// When it says something else than a plain reading of it: the finding.
pub fn list(bytes: &[u8]) {
    let plain: Value = serde_json::from_slice(bytes).unwrap_or_default();
    match referrers::listed("there", bytes) {
        Ok(all) => {
            let written: Vec<String> = all.iter().map(ToString::to_string).collect();
            let read: Vec<&str> =
                plain["manifests"].as_array().expect("a list").iter().filter_map(|d| d["digest"].as_str()).collect();
            assert_eq!(written, read);
        }
        Err(error) => says_something_tame(&error.to_string()),
    }
    match registry::tags("there", bytes) {
        Ok(all) => assert_eq!(all.len(), plain["tags"].as_array().map_or(0, Vec::len), "{plain}"),
        Err(error) => says_something_tame(&error.to_string()),
    }
}

/// `host/repository`, a line feed, and an auth file.
///
/// # Panics
/// When a secret goes to another registry than the one that it is for, or anything of the file is quoted: the finding.
pub fn authfile(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (place, text) = text.split_once('\n').unwrap_or((text, ""));
    // Only places that promo could ask about: what a reference may name.
    let Ok(place) = place.parse::<Location>() else { return };
    let Location::Registry { host, repository } = &place else { return };
    let file = match AuthFile::parse(text, "auth.json".into()) {
        Ok(file) => file,
        Err(error) => {
            let said = error.to_string();
            let numbers = said.strip_prefix("credentials of auth.json: not an auth file: line ");
            assert!(numbers.is_some_and(|n| n.replace(", column ", "").bytes().all(|b| b.is_ascii_digit())), "{said}");
            return;
        }
    };
    let plain: Value = serde_json::from_str(text).unwrap_or_default();
    let keys = |of: &str| plain[of].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    match file.find(host, repository) {
        Ok(Some(Entry::Here(_, key))) => {
            assert!(keys("auths").contains(&key) && is_for(&key, host), "{key} for {host}/{repository}");
        }
        Ok(Some(Entry::Helper { name, server })) => {
            let own = keys("credHelpers").contains(&server) && is_for(&server, host);
            let store = plain["credsStore"].as_str() == Some(&name) && (server == *host || is_for(&server, host));
            assert!(own || store, "{name} is asked about {server} for {host}/{repository}");
        }
        Ok(None) => {}
        Err(error) => {
            let said = error.to_string();
            let may = |key: &String| {
                said == format!("credentials of auth.json: `auth` of {} is not USER:PASSWORD in base64", tame(key))
            };
            assert!(keys("auths").iter().any(may), "{said}");
        }
    }
}

/// A `registries.toml`.
///
/// # Panics
/// When it is taken and says something else than a plain reading of it: the finding.
pub fn registries(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let settings = match Settings::parse(text, Path::new("/etc/promo/registries.toml")) {
        Ok(settings) => settings,
        Err(error) => return says_something_tame(&error.to_string()),
    };
    let plain: toml::Table = toml::from_str(text).expect("what was read is TOML");
    assert_eq!(plain.get("format").and_then(toml::Value::as_integer), Some(1));
    let registries = plain.get("registry").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    assert!(registries.keys().eq(settings.registries.keys()), "{registries:?}");
    for (host, registry) in &settings.registries {
        let number = |key: &str| registries[host].get(key).and_then(toml::Value::as_integer);
        assert_eq!(registry.rate.map(i64::from), number("rate"));
        assert_eq!(registry.chunk.and_then(|chunk| i64::try_from(chunk).ok()), number("chunk"));
        assert!(registry.rate != Some(0) && registry.ca.as_deref().is_none_or(Path::is_absolute), "{registry:?}");
        assert!(registry.user.is_none() || registry.secret.is_some(), "{registry:?}");
    }
}

/// Whether a key of an auth file is of this registry, by a plain look: its host is what stands between a scheme and a path.
fn is_for(key: &str, host: &str) -> bool {
    let docker = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let key = key.rsplit_once("://").map_or(key, |(_, rest)| rest).to_ascii_lowercase();
    let of = key.split('/').next().unwrap_or_default();
    of == host || (docker.contains(&of) && docker.contains(&host))
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
    fn headers_lead_nowhere_that_they_must_not() {
        all("headers", headers);
    }

    #[test]
    fn lists_say_what_a_plain_reading_says() {
        all("list", list);
    }

    #[test]
    fn secrets_go_to_the_registry_that_they_are_for() {
        all("authfile", authfile);
    }

    #[test]
    fn settings_say_what_a_plain_reading_says() {
        all("registries", registries);
    }

    #[test]
    fn manifests_say_what_a_plain_reading_says() {
        all("manifest", manifest);
    }
}
