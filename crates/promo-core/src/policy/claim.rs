//! What policy says can be touched (S0.2). What lives here: matching of targets and repositories against claims, on
//! whole path components only.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crate::config::{Checker, Table, tier};
use crate::diagnostic::Diagnostic;
use crate::model::{Target, Tier};

/// A set of places and the least tier that may touch them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The places.
    pub place: Place,
    /// The least tier of an environment that touches them.
    pub tier: Tier,
}

/// A set of places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory and everything under it.
    Directory(String),
    /// A cluster, or one namespace of it.
    Cluster {
        /// The cluster's name.
        cluster: String,
        /// The namespace; all of them when there is none.
        namespace: Option<String>,
    },
    /// A registry path and everything under it.
    Registry(String),
}

impl Claim {
    /// Reads one; tells of a claim that names no place or several.
    pub(crate) fn read(table: &Table, span: &Range<usize>, checker: &mut Checker<'_>) -> Option<Self> {
        let text = |key: &str| table.text(key).filter(|t| !t.is_empty()).map(str::to_string);
        let given = ["directory", "cluster", "registry"].iter().filter(|key| table.entry(key).is_some()).count();
        if given != 1 {
            let message = format!("a claim names one of `directory`, `cluster` and `registry`, and this names {given}");
            checker.push(Diagnostic::at("policy-claim", span.clone(), message));
            return None;
        }
        if let Some(entry) = table.entry("namespace")
            && table.entry("cluster").is_none()
        {
            let message = "a namespace is claimed together with its `cluster`";
            checker.push(Diagnostic::at("policy-claim", entry.key_span.clone(), message));
            return None;
        }
        let place = if let Some(path) = text("directory") {
            Place::Directory(path)
        } else if let Some(prefix) = text("registry") {
            Place::Registry(prefix)
        } else {
            Place::Cluster { cluster: text("cluster")?, namespace: text("namespace") }
        };
        Some(Self { place, tier: tier(table.text("tier")?)? })
    }

    /// The cluster that it is about.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        match &self.place {
            Place::Cluster { cluster, .. } => Some(cluster),
            Place::Directory(_) | Place::Registry(_) => None,
        }
    }

    /// Whether the claim is about `target`.
    #[must_use]
    pub fn covers(&self, target: &Target) -> bool {
        let get = |key: &str| target.0.get(key).map(String::as_str);
        match &self.place {
            Place::Cluster { cluster, namespace } => {
                get("cluster") == Some(cluster)
                    && namespace.as_deref().is_none_or(|namespace| get("namespace") == Some(namespace))
            }
            Place::Directory(_) | Place::Registry(_) => places(target).iter().any(|place| self.holds(place)),
        }
    }

    /// Whether a deployment to `target` can change anything that is claimed: it is covered, or what is claimed lies
    /// inside the directory or prefix that the target is.
    #[must_use]
    pub fn touched_by(&self, target: &Target) -> bool {
        let get = |key: &str| target.0.get(key).map(String::as_str);
        let inside = match &self.place {
            Place::Cluster { cluster, .. } => get("cluster") == Some(cluster) && get("namespace").is_none(),
            Place::Directory(_) | Place::Registry(_) => places(target).iter().any(|place| self.lies_in(place)),
        };
        inside || self.covers(target)
    }

    /// As [`Claim::touched_by`], for a repository or a prefix of repositories.
    #[must_use]
    pub fn touched_by_repository(&self, repository: &str) -> bool {
        self.lies_in(&Settled::repository(repository)) || self.covers_repository(repository)
    }

    /// Whether the claim is about a repository, `registry/repository` or `oci-layout:PATH`. A layout is a directory, so a
    /// claim to the directory is about it too.
    #[must_use]
    pub fn covers_repository(&self, repository: &str) -> bool {
        self.holds(&Settled::repository(repository))
    }

    fn holds(&self, place: &Settled) -> bool {
        self.settled().is_some_and(|claimed| place.0.starts_with(&claimed.0))
    }

    fn lies_in(&self, place: &Settled) -> bool {
        self.settled().is_some_and(|claimed| claimed.0.starts_with(&place.0))
    }

    fn settled(&self) -> Option<Settled> {
        match &self.place {
            Place::Directory(path) => Some(Settled::directory(path)),
            Place::Registry(prefix) => Some(Settled::repository(prefix)),
            Place::Cluster { .. } => None,
        }
    }
}

/// The directories and repositories that a target names.
fn places(target: &Target) -> Vec<Settled> {
    let get = |key: &str| target.0.get(key);
    let repositories = [get("registry"), get("repository")].into_iter().flatten().map(|r| Settled::repository(r));
    get("directory").map(|directory| Settled::directory(directory)).into_iter().chain(repositories).collect()
}

/// A directory or a repository in one spelling, as what it is and its components: everything that a provider takes for the
/// same place is equal here, and `a/bc` is not under `a/b`.
#[derive(Debug, PartialEq, Eq)]
struct Settled(Vec<String>);

impl Settled {
    fn directory(path: &str) -> Self {
        Self(["directory"].into_iter().chain(components(path)).map(str::to_string).collect())
    }

    /// The scheme may be left out, a host is the same in capitals, as whatever number it is written, and with the port that it
    /// has anyway, and a layout is a directory.
    fn repository(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("oci-layout:") {
            return Self::directory(path);
        }
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let host = host.to_ascii_lowercase();
        // A port is a number, however many zeros stand before it.
        let (name, port) = match host.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
            Some((name, Ok(443 | 80))) => (name, String::new()),
            Some((name, Ok(port))) => (name, format!(":{port}")),
            _ => (host.as_str(), String::new()),
        };
        let name = match name {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            name => name,
        };
        let name = address(name).unwrap_or_else(|| name.to_string()) + &port;
        let name = name.as_str();
        Self(["registry", name].into_iter().chain(components(path)).map(str::to_string).collect())
    }
}

/// A host that is an address as one number written in one way: `127.1`, `0x7f000001`, `2130706433` and
/// `[::ffff:127.0.0.1]` are where `127.0.0.1` is, for whoever connects. None for a name.
fn address(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let v6: Ipv6Addr = inner.parse().ok()?;
        return Some(v6.to_ipv4_mapped().map_or_else(|| format!("[{v6}]"), |v4| v4.to_string()));
    }
    Some(number(host.strip_suffix('.').unwrap_or(host))?.to_string())
}

/// An IPv4 address as `inet_aton` and the URL standard read it (<https://url.spec.whatwg.org/#concept-ipv4-parser>): up to four
/// numbers, decimal, `0x` hexadecimal or `0` octal, of which the last one fills what is left.
fn number(name: &str) -> Option<Ipv4Addr> {
    let one = |part: &str| match part.as_bytes() {
        [b'0', b'x'] => Some(0),
        [b'0', b'x', ..] => u32::from_str_radix(&part[2..], 16).ok(),
        [b'0', _, ..] => u32::from_str_radix(part, 8).ok(),
        [b'0'..=b'9', ..] => part.parse().ok(),
        _ => None,
    };
    let parts = name.split('.').map(one).collect::<Option<Vec<u32>>>()?;
    let (last, first) = parts.split_last()?;
    let left = 4_usize.checked_sub(first.len()).filter(|left| *left > 0)?;
    let fits = u64::from(*last) < 1_u64 << (8 * left) && first.iter().all(|byte| *byte < 256);
    let above = first.iter().enumerate().fold(0, |sum, (at, byte)| sum | byte << (24 - 8 * at));
    fits.then(|| Ipv4Addr::from(above | *last))
}

/// The components of a path in one spelling. `..` takes the component before it away, so that `dev/../prod` is `prod`;
/// where there is none it stays, because such a path is under nothing that is claimed without it.
fn components(path: &str) -> Vec<&str> {
    let mut out = Vec::new();
    if path.starts_with('/') {
        out.push("/");
    }
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, out.last()) {
            ("..", Some(last)) if *last != ".." && *last != "/" => {
                out.pop();
            }
            _ => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(place: Place) -> Claim {
        Claim { place, tier: Tier::Production }
    }

    #[test]
    fn places_match_by_whole_components_whatever_their_spelling() {
        let under = |prefix: &str, path: &str| {
            let target = Target([("directory".to_string(), path.to_string())].into());
            claim(Place::Directory(prefix.into())).covers(&target)
        };
        for (prefix, path) in
            [("prod", "prod"), ("prod", "./prod//eu/"), ("prod", "dev/../prod/eu"), ("/srv", "/srv/x"), (".", "a")]
        {
            assert!(under(prefix, path), "{prefix} {path}");
        }
        for (prefix, path) in [("prod", "production"), ("prod", "prod/../dev"), ("/srv", "srv"), ("prod", "../prod")] {
            assert!(!under(prefix, path), "{prefix} {path}");
        }
    }

    #[test]
    fn s0_2_repositories_match_whatever_their_spelling_and_layouts_as_the_directories_that_they_are() {
        for (prefix, repository) in [
            ("r.example", "R.Example/shop"),
            ("R.example/shop", "oci://r.example:443/shop/api"),
            ("oci://r.example:80/shop", "r.example/shop"),
            ("oci-layout:prod", "oci-layout:./dev/../prod//api"),
            ("oci-layout:/srv/prod", "oci-layout:/srv/./prod"),
            ("oci-layout:.", "oci-layout:prod"),
            ("127.0.0.1:5000/prod", "127.1:5000/prod"),
            ("127.0.0.1:5000", "2130706433:5000/prod"),
            ("0x7f.1:5000", "0177.0.0.01:5000/prod"),
            ("127.0.0.1:5000", "[::ffff:127.0.0.1]:5000/prod"),
            ("[::1]:5000", "[0:0:0:0:0:0:0:1]:5000/prod"),
            ("10.0.0.1", "167772161:443/prod"),
            ("127.0.0.1:5000", "127.0x.1:05000/prod"),
            ("r.example:5000", "r.example:05000/prod"),
            ("r.example", "r.example:0443/prod"),
            ("[::1]:5000", "[0:0::1]:05000/prod"),
            ("docker.io/acme", "registry-1.docker.io/acme/prod"),
            ("index.docker.io/acme", "docker.io/acme/prod"),
        ] {
            let claim = claim(Place::Registry(prefix.into()));
            assert!(claim.covers_repository(repository) && claim.touched_by_repository(repository), "{repository}");
        }
        for (prefix, repository) in [
            ("r.example", "r.example.org/shop"),
            ("r.example/shop", "r.example/shopping"),
            ("r.example", "r.example:8443/shop"),
            ("127.0.0.1:5000", "127.0.0.2:5000/prod"),
            ("127.0.0.1:5000", "127.0.0.1:5001/prod"),
            ("1.2.3.4", "1.2.3.4.5/prod"),
            ("1.2.3.4", "1.2.3.256/prod"),
            ("oci-layout:prod", "oci-layout:prod-eu"),
            ("oci-layout:prod", "oci-layout:/prod"),
        ] {
            assert!(!claim(Place::Registry(prefix.into())).touched_by_repository(repository), "{repository}");
        }
        let around = claim(Place::Registry("oci-layout:registry/prod".into()));
        assert!(around.touched_by_repository("oci-layout:.") && !around.covers_repository("oci-layout:."));
        let target = Target([("directory".to_string(), "registry/prod".to_string())].into());
        assert!(around.covers(&target), "a deployment into the directory of a layout");
        assert!(claim(Place::Directory("registry".into())).covers_repository("oci-layout:registry/prod"));
    }
}
