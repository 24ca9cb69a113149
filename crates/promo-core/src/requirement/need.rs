//! What a build can say of itself that promo knows: the key of each, the form that it has, and when two places say the same of it (registry
//! rules, 5.1). What must not live here: which of it is demanded, and where it is read.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::evidence::{Provenance, Source};

/// Where the source lies: the URL of a repository (OCI image specification, "Pre-Defined Annotation Keys", as all of these).
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The commit: the whole hash of one of a clean tree.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// When it was built, as RFC 3339 writes it.
pub const CREATED: &str = "org.opencontainers.image.created";
/// The version of what is in it; of a chart its `version`.
pub const VERSION: &str = "org.opencontainers.image.version";
/// Its licence: an expression of SPDX.
pub const LICENCES: &str = "org.opencontainers.image.licenses";
/// The digest of the image that it is built upon.
pub const BASE: &str = "org.opencontainers.image.base.digest";
/// The version of what a chart installs (Helm, `Chart.yaml`): another thing than the version of the chart.
pub const APP_VERSION: &str = "appVersion";
/// Of which run of a pipeline it is. OCI has no key for it: any of several says it.
pub const RUN: &str = "run-id";
/// Those, where a gate names no others.
pub const RUN_IDS: [&str; 3] = ["io.promo.run-id", "ci.run-id", "com.github.actions.run_id"];

/// Whether something is known of a key.
#[must_use]
pub fn is_known(key: &str) -> bool {
    [SOURCE, REVISION, CREATED, VERSION, LICENCES, BASE, APP_VERSION, RUN].contains(&key) || RUN_IDS.contains(&key)
}

/// What is known of the form of a value, and it does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is a part of what it should be.
    Incomplete(&'static str),
    /// It is something else: what it should be.
    Malformed(&'static str),
}

/// What a value lacks of the form that its key demands; nothing where it has it, or nothing is known of its form.
#[must_use]
pub fn wrong(key: &str, value: &str) -> Option<Wrong> {
    let expected = match key {
        SOURCE if !is_repository(value) => {
            "the URL of a repository, such as `https://git.example/acme/shop`, without a password"
        }
        REVISION if is_short_commit(value) => {
            return Some(Wrong::Incomplete("the whole hash of a commit, 40 or 64 hexadecimal digits"));
        }
        REVISION if !is_commit(value) => "the whole hash of a commit, 40 or 64 hexadecimal digits, of a clean tree",
        CREATED if instant(value).is_none() => "when it was built, as RFC 3339 writes it",
        VERSION | APP_VERSION if !is_version(value) => {
            "a version: letters, digits and `.`, `_`, `+`, `~`, `-`, and a digit among them"
        }
        LICENCES if !is_expression(value) => "an expression of SPDX, such as `Apache-2.0 OR MIT`",
        BASE if !is_digest(value) => "a digest, such as `sha256:` with 64 hexadecimal digits",
        _ => return None,
    };
    Some(Wrong::Malformed(expected))
}

/// Whether it is the whole hash of a commit, SHA-1 or SHA-256.
#[must_use]
pub fn is_commit(text: &str) -> bool {
    is_hex(text) && matches!(text.len(), 40 | 64)
}

/// As git shortens one: it could be of several.
fn is_short_commit(text: &str) -> bool {
    is_hex(text) && (4..40).contains(&text.len())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The instant of a text as RFC 3339 writes it ("Date and Time on the Internet", 5.6), and nothing that is only like it.
#[must_use]
pub fn instant(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, expected): (&u8, &u8)| match expected {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't'),
        other => byte == other,
    };
    if bytes.len() <= shape.len() || !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    let rest = &text[shape.len()..];
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return None;
            }
            zone
        }
        None => rest,
    };
    let is_offset = |zone: &[u8]| match zone {
        [b'+' | b'-', h, i, b':', m, n] => [h, i, m, n].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    };
    if !matches!(zone, "Z" | "z") && !is_offset(zone.as_bytes()) {
        return None;
    }
    text.parse().ok()
}

fn is_repository(text: &str) -> bool {
    let bare = text.strip_prefix("git+").unwrap_or(text);
    let Some((scheme, rest)) = bare.split_once("://") else { return false };
    let Some((host, path)) = rest.split_once('/') else { return false };
    let known = ["https", "http", "ssh", "git"].iter().any(|one| scheme.eq_ignore_ascii_case(one));
    let printed = text.bytes().all(|byte| byte.is_ascii_graphic());
    let secret = host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    known && printed && !secret && !host.is_empty() && !host.ends_with('@') && !path.trim_matches('/').is_empty()
}

fn is_version(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'~' | b'-');
    text.len() <= 128 && text.bytes().all(known) && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Longer ones nobody reads, and the reader calls itself once a bracket.
const LONGEST_EXPRESSION: usize = 1000;

fn is_expression(text: &str) -> bool {
    text.len() <= LONGEST_EXPRESSION && spdx::Expression::parse(text).is_ok()
}

/// A digest of an algorithm that is registered (OCI image specification, "Digests"): of any other nobody could tell it from a tag.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" | "blake3" => 64,
        "sha512" => 128,
        _ => return false,
    };
    is_hex(encoded) && encoded.len() == length
}

/// Whether two values of a key say the same: in the one spelling that each has, where it can be written in several.
#[must_use]
pub fn same(key: &str, one: &str, other: &str) -> bool {
    match key {
        _ if one == other => true,
        // A hash that was cut short is one of those that begin so.
        REVISION => {
            let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
            is_short_commit(short) && short.len() >= 7 && long.starts_with(short) && is_commit(long)
                || normal(key, one) == normal(key, other)
        }
        // GitHub's provenance has the address of the run, and its label the number in it.
        RUN => is_part(one, other) || is_part(other, one),
        _ => normal(key, one) == normal(key, other),
    }
}

/// Whether an id is a part of the path of an address.
fn is_part(id: &str, address: &str) -> bool {
    let Some((_, rest)) = address.split_once("://") else { return false };
    !id.is_empty() && rest.split(['/', '?', '#']).skip(1).any(|part| part == id)
}

/// A value as every spelling of it is compared.
#[must_use]
pub fn normal(key: &str, value: &str) -> String {
    let value = value.trim();
    match key {
        SOURCE => repository(value),
        REVISION | BASE => value.to_ascii_lowercase(),
        CREATED => instant(value).map_or_else(|| value.into(), |at| at.to_string()),
        LICENCES => {
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            words.join(" ").to_ascii_lowercase()
        }
        VERSION | APP_VERSION => match value.strip_prefix('v') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest.into(),
            _ => value.into(),
        },
        _ => value.into(),
    }
}

/// Host and path of a repository: by which way it is fetched, as whom and in which state says nothing of which it is.
fn repository(value: &str) -> String {
    // As ssh has it: `git@git.example:acme/shop.git`.
    let copied = value.split_once(':').filter(|(host, path)| host.contains('@') && !path.starts_with("//"));
    let uri = match copied.filter(|_| !value.contains("://")) {
        Some((host, path)) => format!("ssh://{host}/{}", path.trim_start_matches('/')),
        None => value.to_string(),
    };
    let source = Source { uri, commit: None, digest: None };
    let place = source.place();
    let Some((_, rest)) = place.split_once("://") else { return place.into() };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_ascii_lowercase();
    let host = [":443", ":80", ":22"].iter().find_map(|port| host.strip_suffix(port)).unwrap_or(&host);
    format!("{host}/{path}")
}

/// Whether something that a build took in is an image, and not where its source lies.
fn is_image(source: &Source) -> bool {
    let begins = ["pkg:docker/", "pkg:oci/", "docker://", "oci://", "docker-image://"];
    begins.iter().any(|one| source.uri.starts_with(one))
}

/// What provenance says of a key, in all the ways in which it can: several images may have gone in.
#[must_use]
pub fn of_provenance(key: &str, provenance: &Provenance, made: Option<Timestamp>) -> Vec<String> {
    let source = || provenance.source.as_ref().filter(|source| !is_image(source));
    let one: Option<String> = match key {
        SOURCE => source().map(|source| source.place().into()),
        REVISION => source().and_then(|source| source.commit.clone()),
        CREATED => made.map(|made| made.to_string()),
        RUN => provenance.run.clone().filter(|run| !run.is_empty()),
        BASE => {
            let all = provenance.source.iter().chain(&provenance.others).filter(|one| is_image(one));
            return all.filter_map(|one| one.digest.map(|digest| digest.to_string())).collect();
        }
        _ => None,
    };
    one.into_iter().collect()
}

/// Whether provenance can say anything of a key.
#[must_use]
pub fn provenance_says(key: &str) -> bool {
    matches!(key, SOURCE | REVISION | CREATED | RUN | BASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "1f2e3d4c5b6a79880716253443526170f0e1d2c3";

    #[test]
    fn s5_1_each_need_has_a_form_and_what_has_another_is_told() {
        let digest = |length| format!("sha256:{}", "a".repeat(length));
        let (good, short, sha512) = (digest(64), digest(63), format!("sha512:{}", "0".repeat(128)));
        for (key, value, right) in [
            (SOURCE, "https://git.example/acme/shop", true),
            (SOURCE, "git+https://git.example/acme/shop.git", true),
            (SOURCE, "ssh://git@git.example/acme/shop", true),
            (SOURCE, "https://git.example/", false),
            (SOURCE, "https:///acme/shop", false),
            (SOURCE, "acme/shop", false),
            (SOURCE, "git@git.example:acme/shop", false),
            (SOURCE, "https://ci:token@git.example/acme/shop", false),
            (SOURCE, "https://git.example/acme shop", false),
            (SOURCE, "javascript://git.example/acme", false),
            (REVISION, COMMIT, true),
            (REVISION, &"0".repeat(64), true),
            (REVISION, &COMMIT.to_uppercase(), false),
            (CREATED, "2026-11-20T14:02:07Z", true),
            (CREATED, "2026-11-20t14:02:07.5+01:00", true),
            (CREATED, "2026-11-20 14:02:07Z", false),
            (CREATED, "2026-11-20T14:02:07", false),
            (CREATED, "2026-11-20T14:02:07.Z", false),
            (CREATED, "2026-11-20T14:02Z", false),
            (CREATED, "2026-11-20T14:02:07Z[Europe/Berlin]", false),
            (CREATED, "2026-11-20T14:02:07+0100", false),
            (CREATED, "2026-13-20T14:02:07Z", false),
            (CREATED, "2026-11-20T14:02:0ä", false),
            (CREATED, "yesterday", false),
            (VERSION, "1.4.2", true),
            (VERSION, "v2.0.0-rc.1+build.5", true),
            (VERSION, "latest", false),
            (VERSION, "1.4.2 (beta)", false),
            (LICENCES, "Apache-2.0 OR MIT", true),
            (LICENCES, "LicenseRef-acme", true),
            (LICENCES, "GPL", false),
            (LICENCES, "Apache 2", false),
            (BASE, &good, true),
            (BASE, &sha512, true),
            (BASE, "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", false),
            (BASE, &short, false),
            (BASE, "sha256:", false),
            (BASE, "debian:12", false),
            (BASE, "debian", false),
            ("team", "anything at all", true),
        ] {
            assert_eq!(wrong(key, value).is_none(), right, "{key} {value}");
        }
        let dirty = format!("{COMMIT}-dirty");
        assert!(matches!(wrong(REVISION, &COMMIT[..12]), Some(Wrong::Incomplete(_))), "short");
        for bad in [dirty.as_str(), "main", "1f2"] {
            assert!(matches!(wrong(REVISION, bad), Some(Wrong::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn s5_1_what_is_spelt_otherwise_is_the_same_and_what_is_another_is_not() {
        let run = "https://github.com/acme/shop/actions/runs/42/attempts/1";
        for (key, one, other, alike) in [
            (SOURCE, "https://git.example/acme/shop", "git+https://git.example/acme/shop.git", true),
            (SOURCE, "https://git.example/acme/shop", "git+https://Git.Example/acme/shop@refs/heads/main", true),
            (SOURCE, "https://git.example/acme/shop/", "ssh://git@git.example:22/acme/shop.git", true),
            (SOURCE, "git@git.example:acme/shop.git", "https://git.example/acme/shop", true),
            (SOURCE, "https://git.example/acme/shop", "https://git.example/acme/other", false),
            (SOURCE, "https://git.example/acme/shop", "https://git.evil/acme/shop", false),
            (SOURCE, "https://git.example/acme/shop", "https://git.example:8443/acme/shop", false),
            (REVISION, COMMIT, &COMMIT[..12], true),
            (REVISION, COMMIT, &COMMIT[..6], false),
            (REVISION, COMMIT, "2f2e3d4c5b6a", false),
            (REVISION, COMMIT, &format!("{COMMIT}-dirty"), false),
            (CREATED, "2026-11-20T14:02:07Z", "2026-11-20T15:02:07+01:00", true),
            (CREATED, "2026-11-20T14:02:07Z", "2026-11-20T14:02:08Z", false),
            (VERSION, "v1.4.2", "1.4.2", true),
            (VERSION, "1.4.2", "1.4.3", false),
            (VERSION, "vnext", "next", false),
            (LICENCES, "MIT  OR Apache-2.0", "mit or apache-2.0", true),
            (LICENCES, "MIT", "Apache-2.0", false),
            (BASE, "sha256:AA", "sha256:aa", true),
            (RUN, "42", run, true),
            (RUN, run, "42", true),
            (RUN, "4", run, false),
            (RUN, "42", "43", false),
            ("team", "a", "A", false),
        ] {
            assert_eq!(same(key, one, other), alike, "{key} {one} {other}");
            assert_eq!(same(key, other, one), alike, "{key} {other} {one}");
        }
    }
}
