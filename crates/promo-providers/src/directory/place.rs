//! Where a directory deployment goes: the path in the target, held inside the pipeline's root.

use std::io;
use std::path::{Component, Path, PathBuf};

use promo_core::model::Target;
use promo_sdk::{ErrorKind, ProviderError};

/// The directory that `target` names: below `root`, or where an absolute path says.
///
/// # Errors
/// [`ErrorKind::Invalid`] when there is no path, it has `..`, it is the root itself, or a symbolic link on the way leads
/// out of the root.
pub(super) fn resolve(root: &Path, target: &Target) -> Result<PathBuf, ProviderError> {
    let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
    let text = target.0.get("directory").ok_or_else(|| invalid("the target has no key `directory`".into()))?;
    let path = Path::new(text);
    let parents = path.components().any(|c| matches!(c, Component::ParentDir));
    if parents || !path.components().any(|c| matches!(c, Component::Normal(_))) {
        return Err(invalid(format!(
            "the target directory `{text}` is not a path below the pipeline file: expected one without `..`"
        )));
    }
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let root = root.canonicalize().map_err(|e| io_error("find", root, &e))?;
    let wanted: PathBuf = root.join(path.components().filter(|c| *c != Component::CurDir).collect::<PathBuf>());
    // The deepest part that is there decides; what is not there yet cannot be a link.
    for existing in wanted.ancestors() {
        match existing.symlink_metadata() {
            Ok(_) => {
                let real = existing.canonicalize().map_err(|e| io_error("follow", existing, &e))?;
                if !real.starts_with(&root) {
                    return Err(invalid(format!(
                        "the target directory `{text}` leaves the directory of the pipeline file through a symbolic link"
                    ))
                    .differs(root.display(), real.display()));
                }
                let rest = wanted.strip_prefix(existing).expect("an ancestor is a prefix");
                return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error("look at", existing, &e)),
        }
    }
    unreachable!("the root was found above")
}

/// An error of the file system in the words of a provider.
pub(super) fn io_error(doing: &str, path: &Path, error: &io::Error) -> ProviderError {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => ErrorKind::Invalid,
        io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::StorageFull => ErrorKind::Transient,
        _ => ErrorKind::Failed,
    };
    ProviderError::new(kind, format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        Target([("directory".to_owned(), path.to_owned())].into())
    }

    #[test]
    fn a_target_is_below_the_root_or_plainly_absolute() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        assert_eq!(resolve(root.path(), &target("env/dev")).unwrap(), real.join("env/dev"));
        assert_eq!(resolve(root.path(), &target("./env/dev/")).unwrap(), real.join("env/dev"));
        assert_eq!(resolve(root.path(), &target("/srv/shop")).unwrap(), Path::new("/srv/shop"));
        for bad in ["", ".", "/", "..", "env/../..", "/srv/../etc"] {
            assert_eq!(resolve(root.path(), &target(bad)).unwrap_err().kind, ErrorKind::Invalid, "{bad}");
        }
        assert!(resolve(root.path(), &Target([].into())).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_out_of_the_root_is_refused_and_one_inside_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("out")).unwrap();
        for path in ["out", "out/deep/er"] {
            let error = resolve(root.path(), &target(path)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains("symbolic link"), "{error}");
        }
        std::fs::create_dir(root.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.path().join("in")).unwrap();
        let real = root.path().canonicalize().unwrap();
        assert_eq!(resolve(root.path(), &target("in/dev")).unwrap(), real.join("real/dev"));
        std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
        assert!(resolve(root.path(), &target("dangling/dev")).is_err());
    }
}
