//! What a token is asked to allow. What lives here: scopes of the token protocol (distribution, "Token Scope
//! Documentation"). What must not: getting a token.

use std::collections::BTreeMap;
use std::fmt;

/// Repositories and whether each is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(in crate::oci) struct Scopes(BTreeMap<String, bool>);

impl Scopes {
    /// Nothing in particular: whether the registry knows us at all.
    pub(in crate::oci) fn none() -> Self {
        Self::default()
    }

    /// Reading one repository.
    pub(in crate::oci) fn pull(repository: &str) -> Self {
        Self([(repository.to_owned(), false)].into())
    }

    /// Reading and writing one repository.
    pub(in crate::oci) fn push(repository: &str) -> Self {
        Self([(repository.to_owned(), true)].into())
    }

    /// The same, and reading another repository: what a mount needs in one token.
    pub(in crate::oci) fn and_pull(mut self, repository: &str) -> Self {
        self.0.entry(repository.to_owned()).or_insert(false);
        self
    }

    /// Whether a token for these scopes allows what `wanted` asks for.
    pub(in crate::oci) fn cover(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(repository, write)| self.0.get(repository).is_some_and(|w| *w || !*write))
    }

    /// The repository that the first scope is about, for which the credentials are chosen.
    pub(in crate::oci) fn repository(&self) -> &str {
        // The one that is written; where nothing is, the only one.
        let written = self.0.iter().find(|(_, write)| **write).or_else(|| self.0.iter().next());
        written.map_or("", |(repository, _)| repository)
    }

    /// One text for each repository.
    pub(in crate::oci) fn texts(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(repository, write)| format!("repository:{repository}:{}", if *write { "pull,push" } else { "pull" }))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_asks_for_both_repositories_in_one_token() {
        let mount = Scopes::push("prod/app").and_pull("dev/app");
        assert_eq!(mount.to_string(), "repository:dev/app:pull repository:prod/app:pull,push");
        assert_eq!(mount.repository(), "prod/app");
        assert_eq!(Scopes::push("app").and_pull("app"), Scopes::push("app"));
    }

    #[test]
    fn a_token_that_allows_more_is_good_for_less_and_not_the_other_way() {
        let mount = Scopes::push("prod").and_pull("dev");
        for less in [Scopes::none(), Scopes::pull("prod"), Scopes::push("prod"), Scopes::pull("dev"), mount.clone()] {
            assert!(mount.cover(&less), "{less}");
        }
        for more in [Scopes::push("dev"), Scopes::pull("other"), Scopes::push("prod").and_pull("other")] {
            assert!(!mount.cover(&more), "{more}");
        }
        assert!(!Scopes::pull("prod").cover(&Scopes::push("prod")));
    }
}
