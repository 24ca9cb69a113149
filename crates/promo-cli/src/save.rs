//! Files that promo writes: whole or not at all. A full disk or a process that is killed leaves what was there before. What
//! must not live here: what is in them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::CliError;
use crate::input;

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
    let mut file = temporary(&real, bytes).map_err(failed)?;
    if let (true, Ok(found)) = (keep_rights, std::fs::metadata(&real)) {
        file.as_file_mut().set_permissions(found.permissions()).map_err(failed)?;
    }
    file.persist(&real).map_err(|error| failed(error.error))?;
    Ok(())
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
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        // A half of it would look like the whole the next time.
        let _gone = std::fs::remove_file(path);
        failed(error)
    })
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

fn temporary(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
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
