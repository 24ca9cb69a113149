//! Files that promo writes: whole or not at all. A full disk or a process that is killed leaves what was there before. What
//! must not live here: what is in them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::CliError;
use crate::input;

/// What a verb writes into a file that the command line names. Such a name may be that of anything, by mistake: of the
/// ledger, of a private key, of what the same verb is about to read.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What it is.
    pub(crate) what: &'static str,
    /// How many bytes say whether a file is one.
    pub(crate) bytes: usize,
    /// Whether these are of one: the first `bytes`, and one more of a larger file.
    pub(crate) is: fn(&[u8]) -> bool,
}

impl Kind {
    /// Refuses a place at which something of another kind is. Asked before anything is done.
    ///
    /// # Errors
    /// `exists-already`; `file-unreadable`, when what is there cannot be read or is no regular file.
    pub(crate) fn may_be_at(&self, path: &Path) -> Result<(), CliError> {
        let failed = |error: io::Error| CliError::file("written", path, &error);
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(failed)?,
        };
        let bytes = input::at_most(path, self.bytes).map_err(failed)?;
        if bytes.is_empty() || (self.is)(&bytes) {
            return Ok(());
        }
        let message = format!("{} is there already, and is not replaced", path.display());
        let expected = format!("no file, an empty one, or {} to replace", self.what);
        Err(CliError::new("exists-already", 65, message, "promo --help")
            .in_file(path)
            .differs(expected, described(&bytes)))
    }
}

/// What a file is, as far as that can be said without showing what is in it.
fn described(bytes: &[u8]) -> String {
    let first = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>().next();
    let kind = first.and_then(|value| Some(value.ok()?.get("kind")?.as_str()?.to_owned()));
    match kind {
        Some(kind) => format!("a file of the kind `{}`", kind.chars().take(60).collect::<String>()),
        None if bytes.starts_with(b"SQLite format 3\0") => "a database".to_owned(),
        None if bytes.starts_with(b"-----BEGIN ") => "a key".to_owned(),
        None => "a file of another kind".to_owned(),
    }
}

/// Puts a file that only its owner may read in place of what is there: temporary file, fsync, rename. A link keeps leading
/// to its file.
///
/// # Errors
/// When it cannot be written, or something is there that is no regular file: a rename would take the place of a device.
pub(crate) fn private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    rename(path, bytes, false)
}

/// Puts a file in place of what is there, with the rights of that; or makes it, with the rights that a new one usually has.
///
/// # Errors
/// As [`private`].
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    if std::fs::symlink_metadata(path).is_ok() { rename(path, bytes, true) } else { create(path, bytes) }
}

fn rename(path: &Path, bytes: &[u8], keep_rights: bool) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::file("written", path, &error);
    let real = resolve(path).map_err(failed)?;
    let mut file = temporary(&mut tempfile::Builder::new(), &real, bytes).map_err(failed)?;
    if let (true, Ok(found)) = (keep_rights, std::fs::metadata(&real)) {
        file.as_file_mut().set_permissions(found.permissions()).map_err(failed)?;
    }
    file.persist(&real).map_err(|error| failed(error.error))?;
    sync_directory(&real).map_err(failed)
}

/// Makes a file that is not there yet, with the rights that a new file usually has; of two at once, one.
///
/// # Errors
/// `exists-already`, when something is there; when it cannot be written.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => CliError::file("written", path, &error),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // A half of it would look like the whole the next time.
    let file = temporary(&mut builder, path, bytes).map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    sync_directory(path).map_err(failed)
}

/// Something is there that promo does not overwrite.
pub(crate) fn exists(path: &Path) -> CliError {
    let message = format!("{} is there already", path.display());
    CliError::new("exists-already", 65, message, "promo check").in_file(path)
}

/// The file that is meant: what a link leads to.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
        Ok(_) => {
            input::regular(path)?;
            path.canonicalize()
        }
    }
}

/// Where a file lies.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new name lasts when the directory that has it does. Elsewhere than on unix a directory cannot be opened.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { std::fs::File::open(directory(path))?.sync_all() } else { Ok(()) }
}

fn temporary(builder: &mut tempfile::Builder<'_, '_>, path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = builder.tempfile_in(directory(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{create, private, put};

    #[test]
    fn a_file_keeps_its_rights_a_link_its_file_and_a_device_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mode = |name: &str| std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        private(&at("new"), b"1").unwrap();
        assert_eq!(mode("new"), 0o600);
        std::fs::set_permissions(at("new"), std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("new", at("link")).unwrap();
        put(&at("link"), b"2").unwrap();
        assert_eq!((std::fs::read(at("new")).unwrap(), mode("new")), (b"2".to_vec(), 0o640));
        private(&at("link"), b"3").unwrap();
        assert_eq!((std::fs::read(at("new")).unwrap(), mode("new")), (b"3".to_vec(), 0o600));
        assert!(std::fs::symlink_metadata(at("link")).unwrap().is_symlink());
        std::os::unix::fs::symlink("/dev/null", at("device")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        for name in ["device", "dangling", "."] {
            for save in [private, put] {
                assert_eq!(save(&at(name), b"4").unwrap_err().problem().code, "file-unreadable", "{name}");
            }
        }
        assert_eq!(create(&at("new"), b"4").unwrap_err().problem().code, "exists-already");
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }
}
