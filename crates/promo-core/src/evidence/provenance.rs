//! How an artifact was built: facts of SLSA provenance.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::Digest;

/// Something that the build took in and names by where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it lies, as the document has it: `git+https://github.com/acme/shop@refs/heads/main`.
    pub uri: String,
    /// The commit, in lower-case hexadecimal digits; none where it is no commit, or is not said.
    pub commit: Option<String>,
    /// The digest of its bytes, where that is said: of an image that of its manifest or index.
    pub digest: Option<Digest>,
}

/// What provenance says of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Who built it (`runDetails.builder.id`, in v0.2 `builder.id`).
    pub builder: String,
    /// By which procedure (`buildType`).
    pub build_type: String,
    /// What was built: the one that held the build's own configuration, else the first that the builder resolved.
    pub source: Option<Source>,
    /// What else went into it.
    pub others: Vec<Source>,
    /// Which run of the builder it was.
    pub run: Option<String>,
}

impl Source {
    /// Where it lies, without what only says how it was fetched and which state of it: `https://github.com/acme/shop`.
    #[must_use]
    pub fn place(&self) -> &str {
        let bare = self.uri.strip_prefix("git+").unwrap_or(&self.uri);
        // What stands behind an `@` in the path is a ref; one before the path is somebody's name.
        let path = bare.find("://").map_or(0, |at| at + 3);
        let path = path + bare[path..].find('/').unwrap_or(bare.len() - path);
        let end = bare[path..].find(['@', '?', '#']).map_or(bare.len(), |at| path + at);
        let place = bare[..end].trim_end_matches('/');
        place.strip_suffix(".git").unwrap_or(place)
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "built by {}", self.builder)?;
        let Some(source) = &self.source else { return Ok(()) };
        write!(f, " from {}", source.place())?;
        source.commit.as_ref().map_or(Ok(()), |commit| write!(f, " at {commit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_source_is_where_its_repository_lies() {
        for (uri, place) in [
            ("git+https://github.com/acme/shop@refs/heads/main", "https://github.com/acme/shop"),
            ("git+https://github.com/acme/shop.git", "https://github.com/acme/shop"),
            ("https://github.com/acme/shop/", "https://github.com/acme/shop"),
            ("git+ssh://git@example.org/acme/shop.git@v1", "ssh://git@example.org/acme/shop"),
            ("https://github.com/acme/shop.git#refs/heads/main", "https://github.com/acme/shop"),
            ("https://example.org", "https://example.org"),
            ("file", "file"),
        ] {
            assert_eq!(Source { uri: uri.into(), commit: None, digest: None }.place(), place, "{uri}");
        }
    }
}
