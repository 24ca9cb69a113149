//! What policy says can be touched (S0.2). What lives here: matching of targets and repositories against claims, on
//! whole path components only.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
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

    /// Whether the claim is about `target`.
    #[must_use]
    pub fn covers(&self, target: &Target) -> bool {
        let get = |key: &str| target.0.get(key).map(String::as_str);
        match &self.place {
            Place::Directory(path) => get("directory").is_some_and(|directory| under(path, directory)),
            Place::Cluster { cluster, namespace } => {
                get("cluster") == Some(cluster)
                    && namespace.as_deref().is_none_or(|namespace| get("namespace") == Some(namespace))
            }
            Place::Registry(_) => {
                [get("registry"), get("repository")].into_iter().flatten().any(|r| self.covers_repository(r))
            }
        }
    }

    /// Whether a deployment to `target` can change anything that is claimed: it is covered, or what is claimed lies
    /// inside the directory or prefix that the target is.
    #[must_use]
    pub fn touched_by(&self, target: &Target) -> bool {
        let get = |key: &str| target.0.get(key).map(String::as_str);
        let inside = match &self.place {
            Place::Directory(path) => get("directory").is_some_and(|directory| under(directory, path)),
            Place::Cluster { cluster, .. } => get("cluster") == Some(cluster) && get("namespace").is_none(),
            Place::Registry(_) => {
                [get("registry"), get("repository")].into_iter().flatten().any(|r| self.touched_by_repository(r))
            }
        };
        inside || self.covers(target)
    }

    /// As [`Claim::touched_by`], for a repository or a prefix of repositories.
    #[must_use]
    pub fn touched_by_repository(&self, repository: &str) -> bool {
        matches!(&self.place, Place::Registry(prefix) if under(prefix, repository) || under(repository, prefix))
    }

    /// Whether the claim is about a repository, `registry/repository` or `oci-layout:PATH`.
    #[must_use]
    pub fn covers_repository(&self, repository: &str) -> bool {
        matches!(&self.place, Place::Registry(prefix) if under(prefix, repository))
    }
}

/// Whether `path` is `prefix` or lies under it, component by component: `a/bc` is not under `a/b`.
fn under(prefix: &str, path: &str) -> bool {
    let (prefix, path) = (components(prefix), components(path));
    path.starts_with(&prefix)
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
    use super::under;

    #[test]
    fn places_match_by_whole_components_whatever_their_spelling() {
        for (prefix, path) in
            [("prod", "prod"), ("prod", "./prod//eu/"), ("prod", "dev/../prod/eu"), ("/srv", "/srv/x"), (".", "a")]
        {
            assert!(under(prefix, path), "{prefix} {path}");
        }
        for (prefix, path) in [("prod", "production"), ("prod", "prod/../dev"), ("/srv", "srv"), ("prod", "../prod")] {
            assert!(!under(prefix, path), "{prefix} {path}");
        }
    }
}
