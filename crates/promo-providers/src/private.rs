//! Directories for what a tool is given: values and sources among which secrets may be, read by nobody but this user. They go away
//! with the value; what a process that was killed has left is taken away by the next one.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;

use tempfile::Builder;

/// With what the name of any of them begins.
const PREFIX: &str = "promo-given-";
/// A file that is locked as long as the process lives that made the directory.
const ALIVE: &str = "alive";
/// With what the name of one ends that is being taken away.
const GONE: &str = ".gone";

/// A directory of this process alone.
#[derive(Debug)]
pub(crate) struct Private {
    all: PathBuf,
    path: PathBuf,
    /// Held until the directory is gone: nobody else takes away what is still in use.
    _alive: File,
}

impl Drop for Private {
    fn drop(&mut self) {
        take_away(&self.all);
    }
}

impl Private {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A new one, for `tool`. The first one that a process makes takes away those whose processes are gone.
///
/// # Errors
/// When none can be made.
pub(crate) fn directory(tool: &str) -> io::Result<Private> {
    static SWEPT: Once = Once::new();
    let made = made(&std::env::temp_dir(), tool)?;
    SWEPT.call_once(|| sweep(&std::env::temp_dir(), &made));
    Ok(made)
}

fn made(below: &Path, tool: &str) -> io::Result<Private> {
    let prefix = format!("{PREFIX}{tool}-");
    let mut builder = Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o700));
    }
    let all = builder.tempdir_in(below)?;
    // Under its name only once it is locked: whoever sees one that is free knows that nobody holds it any more.
    let begun = all.path().join("begun");
    let alive = File::create_new(&begun)?;
    alive.lock()?;
    fs::rename(&begun, all.path().join(ALIVE))?;
    let path = all.path().join("given");
    fs::create_dir(&path)?;
    Ok(Private { all: all.keep(), path, _alive: alive })
}

/// Takes one away. It is called otherwise first: of whatever is left where this is broken off, everybody knows that it is nobody's.
fn take_away(all: &Path) {
    let mut gone = all.as_os_str().to_owned();
    gone.push(GONE);
    // Somebody else may have been faster.
    let renamed = fs::rename(all, &gone).and_then(|()| fs::remove_dir_all(&gone));
    // Elsewhere nothing is called otherwise in which a file is open.
    if cfg!(not(unix)) && renamed.is_err() {
        let _ = fs::remove_dir_all(all);
    }
}

/// Takes away those of the same user that nobody holds. What cannot be looked at or taken away stays: it is in nobody's way.
fn sweep(below: &Path, ours: &Private) {
    let Ok(own) = ours.path.symlink_metadata() else { return };
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let path = entry.path();
        let (name, of_user) = (entry.file_name(), |there: Metadata| there.is_dir() && same_user(&there, &own));
        let name = name.to_str().filter(|name| name.starts_with(PREFIX));
        let Some(name) = name.filter(|_| path.symlink_metadata().is_ok_and(of_user)) else { continue };
        if name.ends_with(GONE) {
            let _ = fs::remove_dir_all(&path);
            continue;
        }
        let Ok(alive) = File::options().read(true).write(true).open(path.join(ALIVE)) else { continue };
        if alive.try_lock().is_ok() {
            take_away(&path);
        }
    }
}

#[cfg(unix)]
fn same_user(there: &Metadata, own: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    there.uid() == own.uid() && there.mode() & 0o077 == 0
}

/// Elsewhere every user has a temporary directory of their own.
#[cfg(not(unix))]
fn same_user(_there: &Metadata, _own: &Metadata) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn s13_4_nobody_else_reads_what_a_tool_is_given() {
        let directory = directory("test").unwrap();
        let mode = directory.path().parent().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{mode:o}");
        let path = directory.path().to_owned();
        drop(directory);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn s13_4_what_a_killed_process_left_is_taken_away_and_nothing_that_is_held_or_somebody_else_s() {
        let below = tempfile::tempdir().unwrap();
        let make = |tool: &str| made(below.path(), tool).unwrap();
        let path = |private: &Private| private.path().parent().unwrap().to_owned();
        // As a process leaves it that is killed: its locks go with it.
        let left = |tool: &str| {
            let mut made = make(tool);
            fs::write(made.path.join("values.yaml"), "password: hunter2").unwrap();
            std::mem::take(&mut made.all)
        };
        let (killed, open, linked) = (left("helm"), left("helm"), left("kustomize"));
        // One that others could read is none of promo's, whatever its name.
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        // Nor is where a link leads.
        let elsewhere = below.path().join("elsewhere");
        fs::rename(&linked, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &linked).unwrap();
        // One that is just being made has no lock yet.
        let begun = below.path().join(format!("{PREFIX}helm-begun"));
        fs::create_dir(&begun).unwrap();
        fs::set_permissions(&begun, fs::Permissions::from_mode(0o700)).unwrap();
        // One whose removal was broken off, its lock gone first.
        let half = left("helm");
        fs::remove_file(half.join(ALIVE)).unwrap();
        let gone = half.with_extension("gone");
        fs::rename(&half, &gone).unwrap();
        let (held, ours) = (make("helm"), make("check"));
        sweep(below.path(), &ours);
        let there = [&killed, &open, &elsewhere, &begun, &path(&held), &path(&ours), &gone].map(|path| path.exists());
        assert_eq!(there, [false, true, true, true, true, true, false]);
    }

    #[test]
    fn s13_4_what_is_taken_away_bears_another_name_before_anything_of_it_goes() {
        use std::os::unix::fs::symlink;

        let below = tempfile::tempdir().unwrap();
        let private = made(below.path(), "helm").unwrap();
        let all = private.path().parent().unwrap().to_owned();
        // Where the other name is taken nothing of it is touched, and whoever comes next finds it whole.
        let gone = all.with_extension("gone");
        symlink("nowhere", &gone).unwrap();
        drop(private);
        assert!(all.join(ALIVE).is_file() && all.join("given").is_dir());
        fs::remove_file(gone).unwrap();
        sweep(below.path(), &made(below.path(), "check").unwrap());
        assert!(!all.exists());
    }
}
