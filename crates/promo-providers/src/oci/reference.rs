//! References to artifacts. What lives here: the grammar of `registry/repository[:tag][@digest]` and
//! `oci-layout:PATH[:tag][@digest]` (registry.md 1.1). What must not: anything that reaches for a network or a disk.

use std::fmt;
use std::str::FromStr;

use promo_core::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::{OciError, tame};

const LAYOUT: &str = "oci-layout:";

/// A repository: the place where artifacts lie, without saying which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// A repository of a registry that speaks the OCI distribution protocol.
    Registry {
        /// Host, with the port where one was given, lower case.
        host: String,
        /// Repository path as in the distribution specification.
        repository: String,
    },
    /// An OCI image layout, which is one repository in a directory.
    Layout {
        /// Its path; a relative one is relative to the directory of the pipeline.
        path: String,
    },
}

/// One artifact: a repository and a tag, a digest, or both. There is no default tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    location: Location,
    tag: Option<String>,
    digest: Option<Digest>,
}

fn invalid(text: &str, problem: impl Into<String>) -> OciError {
    OciError::InvalidReference { text: tame(text), problem: problem.into() }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution specification, "Pulling manifests").
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !matches!(bytes[0], b'.' | b'-')
}

/// Whether a tag is on the deny list of registry.md 1.6: names that are meant to move (`latest`, `stable`, `main`, …)
/// and bare major or minor versions (`1`, `1.4`, `v1.4`). Numbers of four or more digits are run numbers or dates, and
/// are not taken for major versions.
#[must_use]
pub fn is_moving_tag(tag: &str) -> bool {
    const NAMES: [&str; 8] = ["latest", "stable", "main", "master", "dev", "edge", "nightly", "canary"];
    if NAMES.iter().any(|name| tag.eq_ignore_ascii_case(name)) {
        return true;
    }
    let version = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let parts: Vec<&str> = version.split('.').collect();
    parts.len() <= 2 && parts.iter().all(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, port)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("", port.strip_prefix(':').map_or(port, |p| p))
            }
            _ => return false,
        },
        None => host.split_once(':').unwrap_or((host, "")),
    };
    if host.ends_with(':') || (!port.is_empty() && port.parse::<u16>().is_err()) {
        return false;
    }
    host.starts_with('[')
        || (name.len() <= 253
            && name.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            }))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*`, at most 255 characters (distribution specification, "Pulling manifests").
fn is_repository(name: &str) -> bool {
    name.len() <= 255
        && name.split('/').all(|part| {
            let separators =
                part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|s| !s.is_empty());
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
        })
}

impl Location {
    /// Whether the two are on the same registry, so that one can ask it to mount a blob of the other.
    #[must_use]
    pub fn same_registry(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Registry { host: a, .. }, Self::Registry { host: b, .. }) if a == b)
    }

    /// This location with a tag, a digest, or both.
    ///
    /// # Errors
    /// [`OciError::InvalidReference`] when both are missing or the tag is not one.
    pub fn reference(&self, tag: Option<&str>, digest: Option<Digest>) -> Result<Reference, OciError> {
        if tag.is_none() && digest.is_none() {
            return Err(invalid(&self.to_string(), "neither a tag nor a digest; there is no default tag"));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(invalid(&self.to_string(), format!("`{}` is not a tag", tame(tag))));
        }
        Ok(Reference { location: self.clone(), tag: tag.map(Into::into), digest })
    }
}

impl FromStr for Location {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix(LAYOUT) {
            if path.is_empty() || path.chars().any(char::is_control) {
                return Err(invalid(text, "the path of the layout is empty or not printable"));
            }
            return Ok(Self::Layout { path: path.into() });
        }
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (host, repository) =
            text.split_once('/').ok_or_else(|| invalid(text, "expected REGISTRY/REPOSITORY or oci-layout:PATH"))?;
        if !(host.contains(['.', ':', '[']) || host.eq_ignore_ascii_case("localhost")) || !is_host(host) {
            return Err(invalid(
                text,
                format!("`{}` is not a registry host; there is no default registry", tame(host)),
            ));
        }
        // Written again it would be read as a layout: hosts are kept in lower case.
        if host.get(..LAYOUT.len()).is_some_and(|start| start.eq_ignore_ascii_case(LAYOUT)) {
            return Err(invalid(text, "a layout is written `oci-layout:PATH`, in lower case and without `oci://`"));
        }
        if !is_repository(repository) {
            return Err(invalid(text, format!("`{}` is not a repository name", tame(repository))));
        }
        Ok(Self::Registry { host: host.to_ascii_lowercase(), repository: repository.into() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { host, repository } => write!(f, "{host}/{repository}"),
            Self::Layout { path } => write!(f, "{LAYOUT}{path}"),
        }
    }
}

impl Reference {
    /// Where it lies.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The tag, where one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one was given.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Refuses a reference with a tag that moves ([`is_moving_tag`]; R2), also beside a digest: the tag goes along to the
    /// places that the artifact is copied to.
    ///
    /// # Errors
    /// [`OciError::MovingTag`].
    pub fn require_fixed(&self) -> Result<(), OciError> {
        match &self.tag {
            Some(tag) if is_moving_tag(tag) => {
                Err(OciError::MovingTag { reference: self.to_string(), tag: tag.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 4096 {
            return Err(invalid(text, "longer than 4096 bytes"));
        }
        // A layout's path may hold `@`; only what follows the last one and looks like a digest is one.
        let (name, digest) = match text.rsplit_once('@') {
            Some((name, digest)) if !digest.contains('/') || !text.starts_with(LAYOUT) => {
                (name, Some(digest.parse().map_err(|error| invalid(text, format!("{error}")))?))
            }
            _ => (text, None),
        };
        let start = if name.starts_with(LAYOUT) { LAYOUT.len() } else { 0 };
        let segment = name.rfind('/').map_or(start, |slash| slash + 1).max(start);
        // `host:5000` without a repository has its colon in the last segment too; Location refuses it without the tag.
        let (place, tag) = match name[segment..].rfind(':') {
            Some(colon) => (&name[..segment + colon], Some(&name[segment + colon + 1..])),
            None => (name, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(invalid(text, format!("`{}` is not a tag", tame(tag))));
        }
        if tag.is_none() && digest.is_none() {
            return Err(invalid(text, "neither a tag nor a digest; there is no default tag"));
        }
        Ok(Self { location: place.parse()?, tag: tag.map(Into::into), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.location, f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

serde_as_text!(Location);
serde_as_text!(Reference);

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";

    #[test]
    fn every_form_of_a_reference_round_trips() {
        for text in [
            "registry.example/app:1.0.0".to_string(),
            "localhost:5000/team/app:1.0.0".into(),
            "127.0.0.1:5000/a/b/c-d__e.f:x".into(),
            "[::1]:5000/app:1".into(),
            format!("registry.example/app@{D}"),
            format!("registry.example/app:1.0.0@{D}"),
            "oci-layout:images:1.0.0".into(),
            "oci-layout:../some@dir/images:1.0.0".into(),
            format!("oci-layout:/abs/images@{D}"),
            format!("oci-layout:images:1.0.0@{D}"),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(reference.to_string(), text);
        }
        let both: Reference = format!("Registry.Example:443/app:1.0.0@{D}").parse().unwrap();
        assert_eq!(both.location().to_string(), "registry.example:443/app");
        assert_eq!((both.tag(), both.digest()), (Some("1.0.0"), Some(D.parse().unwrap())));
    }

    #[test]
    fn what_names_no_artifact_or_more_than_one_is_refused() {
        for text in [
            "",
            "app",
            "app:1",
            "library/app:1",
            "registry.example/app",
            "oci-layout:images",
            "oci-layout::1",
            "localhost:5000",
            "registry.example/App:1",
            "registry.example/a//b:1",
            "registry.example/../b:1",
            "registry.example/a___b:1",
            "registry.example/a._b:1",
            "registry.example/-a:1",
            "registry.example/a:",
            "registry.example/a:.x",
            "registry.example/a:x y",
            "registry.example:99999/a:1",
            "registry.example:/a:1",
            "user:secret@registry.example/a:1",
            "https://registry.example/a:1",
            "-registry.example/a:1",
            "[::1/a:1",
            "[zz]/a:1",
            // In lower case, as hosts are kept, these would be layouts.
            "oci-lAyout:77/h:1",
            "oci://oci-layout:77/h:1",
        ] {
            let result = text.parse::<Reference>();
            assert!(matches!(result, Err(OciError::InvalidReference { .. })), "{text}: {result:?}");
        }
        assert!(format!("registry.example/a:{}", "x".repeat(129)).parse::<Reference>().is_err());
    }

    #[test]
    fn a_digest_of_the_wrong_form_is_refused_before_anything_is_asked() {
        let hex = &D[7..];
        for digest in [
            "sha256:",
            "sha256:00",
            &format!("sha256:{}", hex.to_uppercase()),
            &format!("sha256:{hex}0"),
            hex,
            &format!("md5:{hex}"),
            &format!("sha512:{hex}{hex}"),
            "latest",
        ] {
            for text in [format!("registry.example/a@{digest}"), format!("oci-layout:images:1.0.0@{digest}")] {
                let result = text.parse::<Reference>();
                assert!(matches!(result, Err(OciError::InvalidReference { .. })), "{text}: {result:?}");
            }
        }
    }

    #[test]
    fn r2_moving_tags_are_known_and_fixed_ones_are_not_taken_for_them() {
        for tag in [
            "latest", "Latest", "stable", "main", "master", "dev", "edge", "nightly", "canary", "1", "1.4", "v1",
            "v12.4",
        ] {
            assert!(is_moving_tag(tag), "{tag}");
        }
        for tag in
            ["1.4.2", "v1.4.2", "20261121", "4711", "20261121.7", "main-4711", "9fceb02", "1.4-rc1", "v", "1.", "devel"]
        {
            assert!(!is_moving_tag(tag), "{tag}");
        }
        let moving: Reference = "registry.example/a:latest".parse().unwrap();
        assert!(matches!(moving.require_fixed(), Err(OciError::MovingTag { .. })));
        let pinned: Reference = format!("registry.example/a:latest@{D}").parse().unwrap();
        assert!(matches!(pinned.require_fixed(), Err(OciError::MovingTag { .. })));
        let fixed: Reference = format!("registry.example/a:1.4.2@{D}").parse().unwrap();
        assert!(fixed.require_fixed().is_ok());
    }
}
