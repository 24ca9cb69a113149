//! What keeps a tag where it is, as far as it is known without asking a registry (registry.md 1.6). What lives here: levels,
//! and how each is known. What must not: a try to move a tag, and the interfaces of single vendors.

use std::fmt;

use super::reference::{Location, is_moving_tag};
use super::settings::Settings;

/// How sure it is that a tag goes on naming what it names, surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagLevel {
    /// The registry keeps it, as `registries.toml` says.
    Enforced,
    /// Its name is one that is given once; whoever may push can move it all the same.
    Declared,
    /// Its name is made to move. promo takes no artifact by such a name.
    Mutable,
}

impl TagLevel {
    /// One word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Declared => "declared",
            Self::Mutable => "mutable",
        }
    }
}

/// A level, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagStanding {
    /// How sure it is.
    pub level: TagLevel,
    /// How that is known, for a person.
    pub known: String,
}

impl fmt::Display for TagStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.level.as_str(), self.known)
    }
}

impl Settings {
    /// What keeps `tag` where it is in the repository at `location`; without a tag, any that promo would write there. None
    /// for an image layout: its tags are a file that whoever may write there can change.
    #[must_use]
    pub fn tag_standing(&self, location: &Location, tag: Option<&str>) -> Option<TagStanding> {
        let Location::Registry { host, repository } = location else { return None };
        let said = self.registries.get(host).map(|registry| registry.immutable_tags.as_slice()).unwrap_or_default();
        let (level, known) = match said.iter().find(|path| covers(path, repository)) {
            Some(path) => {
                (TagLevel::Enforced, format!("registries.toml says that {host} keeps the tags of {}", everything(path)))
            }
            None if tag.is_some_and(is_moving_tag) => (TagLevel::Mutable, "its name is made to move".into()),
            None => (TagLevel::Declared, "by its name alone; nothing says that the registry keeps it".into()),
        };
        Some(TagStanding { level, known })
    }
}

/// The path that stands for all repositories of a registry.
pub(super) const EVERYTHING: &str = "*";

fn everything(path: &str) -> &str {
    if path == EVERYTHING { "every repository" } else { path }
}

/// Whether a repository is at a path or below it.
fn covers(path: &str, repository: &str) -> bool {
    path == EVERYTHING || repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::settings::RegistrySettings;
    use super::*;

    fn level(said: &[&str], place: &str, tag: Option<&str>) -> Option<TagLevel> {
        let immutable_tags = said.iter().map(|path| (*path).to_string()).collect();
        let registry = RegistrySettings { immutable_tags, ..RegistrySettings::default() };
        let settings: Settings = [("r.example".to_string(), registry)].into_iter().collect();
        settings.tag_standing(&place.parse().unwrap(), tag).map(|standing| standing.level)
    }

    #[test]
    fn a_tag_is_enforced_where_the_settings_say_so_and_else_known_by_its_name_alone() {
        use TagLevel::{Declared, Enforced, Mutable};
        for (said, place, tag, expected) in [
            (&["prod"][..], "r.example/prod/app", Some("1.0.0"), Some(Enforced)),
            (&["prod"], "r.example/prod", None, Some(Enforced)),
            (&["other", "prod/app"], "r.example/prod/app", Some("1.0.0"), Some(Enforced)),
            (&["*"], "r.example/any/where", Some("1.0.0"), Some(Enforced)),
            // The registry that keeps its tags keeps these too.
            (&["*"], "r.example/any/where", Some("latest"), Some(Enforced)),
            (&["prod"], "r.example/production/app", Some("1.0.0"), Some(Declared)),
            (&["prod/app"], "r.example/prod", Some("1.0.0"), Some(Declared)),
            (&["prod"], "other.example/prod/app", Some("1.0.0"), Some(Declared)),
            (&[], "r.example/prod/app", None, Some(Declared)),
            (&[], "r.example/prod/app", Some("latest"), Some(Mutable)),
            (&[], "r.example/prod/app", Some("1.4"), Some(Mutable)),
            (&["*"], "oci-layout:prod/app", Some("1.0.0"), None),
        ] {
            assert_eq!(level(said, place, tag), expected, "{said:?} {place} {tag:?}");
        }
    }
}
