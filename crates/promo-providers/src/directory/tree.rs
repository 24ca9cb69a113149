//! What is there: a tree of files as a manifest of digests, and the fingerprint over it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path};

use promo_core::{Digest, canonical};
use promo_sdk::{ErrorKind, ProviderError, State};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::place::io_error;

/// The link that readers of a deployment follow.
pub(super) const CURRENT: &str = "current";
/// The directory of the trees that the link may point to.
pub(super) const RELEASES: &str = "releases";
/// Most entries in one tree (S13.2).
pub(super) const ENTRIES: usize = 10_000;

/// Path below the tree to what is there: a digest for a file, `link:TARGET` for a symbolic link, `other` for the rest.
/// Directories count only by what they hold, and modes and owners do not count.
pub(super) type Manifest = BTreeMap<String, String>;

/// What the link `current` leads to.
#[derive(Debug)]
pub(super) enum Live {
    /// There is no link.
    Absent,
    /// A tree below `releases/`.
    Tree {
        /// Its directory below `releases/`.
        name: String,
        /// What it holds, read from the disk now.
        manifest: Manifest,
    },
    /// Something that promo did not make; the text says what.
    Foreign(String),
}

impl Live {
    /// Reads what is below `place` now.
    pub(super) fn read(place: &Path) -> Result<Self, ProviderError> {
        // A deployment that ends meanwhile may prune the tree being read: then the link has moved too.
        let mut link = link(place)?;
        loop {
            let read = Self::follow(place, &link);
            let now = self::link(place)?;
            if now == link {
                return read;
            }
            link = now;
        }
    }

    fn follow(place: &Path, link: &Link) -> Result<Self, ProviderError> {
        let name = match link {
            Link::Absent => return Ok(Self::Absent),
            Link::Foreign(what) => return Ok(Self::Foreign(what.clone())),
            Link::To(name) => name,
        };
        for directory in [place.join(RELEASES), place.join(RELEASES).join(name)] {
            match directory.symlink_metadata() {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Ok(Self::Foreign(format!("`{}` is no directory", directory.display()))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::Foreign(format!("`{CURRENT}` points to nothing: `{RELEASES}/{name}` is gone")));
                }
                Err(e) => return Err(io_error("look at", &directory, &e)),
            }
        }
        Ok(Self::Tree { name: name.clone(), manifest: manifest(&place.join(RELEASES).join(name))? })
    }

    /// The state of the place.
    pub(super) fn state(&self) -> State {
        match self {
            Self::Absent => State::Absent,
            Self::Tree { manifest, .. } => State::Present(fingerprint(manifest)),
            Self::Foreign(_) => State::Unknown,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Link {
    Absent,
    To(String),
    Foreign(String),
}

fn link(place: &Path) -> Result<Link, ProviderError> {
    let path = place.join(CURRENT);
    match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => {}
        Ok(_) => return Ok(Link::Foreign(format!("`{CURRENT}` is not the symbolic link that promo makes"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Link::Absent),
        Err(e) => return Err(io_error("look at", &path, &e)),
    }
    let to = match path.read_link() {
        Ok(to) => to,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Link::Absent),
        Err(e) => return Err(io_error("read the link", &path, &e)),
    };
    let mut parts = to.components();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Component::Normal(first)), Some(Component::Normal(name)), None) if first == RELEASES => {
            match name.to_str() {
                Some(name) => Ok(Link::To(name.to_owned())),
                None => Ok(Link::Foreign(format!("`{CURRENT}` points to a name that is not UTF-8"))),
            }
        }
        _ => Ok(Link::Foreign(format!("`{CURRENT}` points to `{}`, outside `{RELEASES}/`", to.display()))),
    }
}

/// The manifest of the tree at `directory`, read from the disk; links are not followed.
pub(super) fn manifest(directory: &Path) -> Result<Manifest, ProviderError> {
    let mut out = Manifest::new();
    for entry in WalkDir::new(directory).min_depth(1).follow_links(false) {
        let entry = entry.map_err(|e| {
            let path = e.path().unwrap_or(directory).to_owned();
            io_error("list", &path, &e.into_io_error().unwrap_or_else(|| io::Error::other("the tree has a loop")))
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        if out.len() == ENTRIES {
            let place = directory.display();
            return Err(ProviderError::new(ErrorKind::Failed, format!("more than {ENTRIES} files below {place}")));
        }
        let path = entry.path();
        let what = if entry.file_type().is_file() {
            hash(path).map_err(|e| io_error("read", path, &e))?.to_string()
        } else if entry.file_type().is_symlink() {
            let to = path.read_link().map_err(|e| io_error("read the link", path, &e))?;
            format!("link:{}", name_of(&to))
        } else {
            "other".to_owned()
        };
        out.insert(name_of(path.strip_prefix(directory).expect("the walk stays below its start")), what);
    }
    Ok(out)
}

/// A path as text. One that is not UTF-8 gets its bytes appended behind a NUL, which no path has: two never look alike.
fn name_of(path: &Path) -> String {
    path.to_str().map_or_else(
        || format!("{}\0{:02x?}", path.to_string_lossy(), path.as_os_str().as_encoded_bytes()),
        |text| text.replace(std::path::MAIN_SEPARATOR, "/"),
    )
}

fn hash(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The digest of the canonical JSON of `{path: digest}` (RFC 8785).
pub(super) fn fingerprint(manifest: &Manifest) -> Digest {
    canonical::digest(manifest).expect("a map of texts has a canonical form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_digest_of_the_canonical_manifest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("b/empty")).unwrap();
        std::fs::write(dir.path().join("b/c"), "x").unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let text = format!(r#"{{"a":"{}","b/c":"{}"}}"#, Digest::of(b""), Digest::of(b"x"));
        assert_eq!(fingerprint(&manifest(dir.path()).unwrap()), Digest::of(text.as_bytes()));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_a_tree_counts_as_a_link_and_is_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).unwrap();
        assert_eq!(manifest(dir.path()).unwrap(), [("etc".to_owned(), "link:/etc".to_owned())].into());
    }

    #[cfg(unix)]
    #[test]
    fn what_promo_did_not_make_is_unknown_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join(CURRENT);
        assert_eq!(Live::read(dir.path()).unwrap().state(), State::Absent);
        for to in ["/etc", "../elsewhere", "releases", "releases/../x", "releases/gone"] {
            std::os::unix::fs::symlink(to, &current).unwrap();
            assert_eq!(Live::read(dir.path()).unwrap().state(), State::Unknown, "{to}");
            std::fs::remove_file(&current).unwrap();
        }
        std::fs::create_dir(&current).unwrap();
        assert_eq!(Live::read(dir.path()).unwrap().state(), State::Unknown);
    }
}
