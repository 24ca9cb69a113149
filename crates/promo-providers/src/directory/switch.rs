//! Makes a place be as wanted: writes a whole tree beside the live one and moves one symbolic link.
//!
//! Layout: `current` is a link to `releases/NAME`; NAME is the tree's fingerprint in hexadecimal, with `-N` behind it
//! when that name is taken by a tree that somebody changed. A crash leaves the old or the new tree behind the link,
//! never a half one: names under `releases/` appear by rename, after everything in them has reached the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use promo_core::Digest;
use promo_core::counted::of;
use promo_core::ids::ReleaseId;
use promo_sdk::{EnsureAnswer, ErrorKind, ProviderError, State};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::place::io_error;
use super::render::Tree;
use super::tree::{CURRENT, Live, Manifest, RELEASES, fingerprint, manifest};

/// How many trees are kept, the live one included.
const KEPT: usize = 3;
/// Who holds the lock may write; the file itself stays, since removing it would let two hold it.
const LOCK: &str = ".promo.lock";
const MARKER: &str = ".promo.json";
const MARKER_NEW: &str = ".promo.json.new";
const CURRENT_NEW: &str = ".promo-current.new";
/// A tree being written. One fixed name, since only the holder of the lock writes; a leftover is what a crash left.
const INCOMING: &str = ".incoming";
/// How long to wait for another writer: so often, so long.
const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What is to be done, and by whom.
pub(super) struct Order<'a> {
    pub(super) expected: State,
    pub(super) desired: Digest,
    pub(super) release: &'a ReleaseId,
    pub(super) token: &'a str,
    pub(super) epoch: u64,
    pub(super) cancelled: &'a CancellationToken,
}

/// `.promo.json`: who touched the place last, written before the link moves. It is for people and for pruning; whether
/// the switch happened is read from the link alone.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    /// 1.
    format: u32,
    /// `run/step`.
    token: String,
    /// The lease epoch.
    epoch: u64,
    /// The release that was to enter.
    release: ReleaseId,
    /// The fingerprint that was to be there.
    fingerprint: Digest,
    /// Directories below `releases/`, newest first.
    kept: Vec<String>,
}

/// Makes `place` hold `tree`. Compares and switches under a lock, so that of two writers one sees what the other did.
pub(super) fn switch(place: &Path, tree: &Tree, order: &Order<'_>) -> Result<EnsureAnswer, ProviderError> {
    // Without the lock first: a place that is left as it is gets no lock file either.
    if decide(place, &Live::read(place)?, order)? == Decision::Done {
        return Ok(unchanged());
    }
    create_directories(place)?;
    let _lock = lock(place, order.cancelled)?;
    let live = Live::read(place)?;
    if decide(place, &live, order)? == Decision::Done {
        return Ok(unchanged());
    }

    let releases = place.join(RELEASES);
    create_releases(&releases)?;
    let name = install(&releases, tree, order)?;
    if order.cancelled.is_cancelled() {
        return Err(cancelled());
    }
    let (previous, before) = match live {
        Live::Tree { name, manifest } => (Some(name), manifest),
        Live::Absent | Live::Foreign(_) => (None, Manifest::new()),
    };
    let kept = mark(place, &name, previous, order)?;
    point(place, &name)?;
    let mut detail = summary(&before, &tree.manifest());
    if let Err(error) = prune(&releases, &kept) {
        // The place is as desired; what could not be removed is tried again next time.
        detail.push_str(&format!("; {error}"));
    }
    Ok(EnsureAnswer { changed: true, detail })
}

#[derive(PartialEq, Eq)]
enum Decision {
    Done,
    Write,
}

fn decide(place: &Path, live: &Live, order: &Order<'_>) -> Result<Decision, ProviderError> {
    let found = live.state();
    if found == State::Present(order.desired) {
        return Ok(Decision::Done);
    }
    let why = match live {
        Live::Foreign(what) => format!("{what}; restore it or move it away, then plan again"),
        Live::Absent | Live::Tree { .. } if found == order.expected => return Ok(Decision::Write),
        Live::Absent | Live::Tree { .. } => "it is neither what the plan found nor what it wants".to_owned(),
    };
    let message = format!("{} was changed by somebody else: {why}", place.display());
    Err(ProviderError::new(ErrorKind::Conflict, message).differs(order.expected, found))
}

fn unchanged() -> EnsureAnswer {
    EnsureAnswer { changed: false, detail: "already as desired".to_owned() }
}

fn cancelled() -> ProviderError {
    ProviderError::new(ErrorKind::Cancelled, "stopped before the switch: the place is as it was")
}

fn summary(before: &Manifest, after: &Manifest) -> String {
    let written = after.iter().filter(|(path, digest)| before.get(*path) != Some(digest)).count();
    let removed = before.keys().filter(|path| !after.contains_key(*path)).count();
    format!("{} changed, {removed} removed", of(written, after.len(), "file"))
}

fn lock(place: &Path, stop: &CancellationToken) -> Result<File, ProviderError> {
    let path = place.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| io_error("open", &path, &e))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) if stop.is_cancelled() => return Err(cancelled()),
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if stop.is_cancelled() => return Err(cancelled()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &path, &e)),
        }
    }
    let seconds = (LOCK_PAUSE * LOCK_TRIES).as_secs();
    Err(ProviderError::new(
        ErrorKind::Transient,
        format!("{} is being written by another process and was not free for {seconds} s", place.display()),
    ))
}

/// Creates `path` and what is missing above it, and makes the new names durable.
fn create_directories(path: &Path) -> Result<(), ProviderError> {
    let missing: Vec<_> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    fs::create_dir_all(path).map_err(|e| io_error("create", path, &e))?;
    missing.into_iter().filter_map(Path::parent).try_for_each(sync)
}

fn create_releases(releases: &Path) -> Result<(), ProviderError> {
    match fs::create_dir(releases) {
        Ok(()) => sync(releases.parent().expect("it is below the place")),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let found = releases.symlink_metadata().map_err(|e| io_error("look at", releases, &e))?;
            if found.is_dir() {
                return Ok(());
            }
            // A link here could lead the writer anywhere.
            let message = format!("{} is no directory: move it away, then plan again", releases.display());
            Err(ProviderError::new(ErrorKind::Conflict, message))
        }
        Err(e) => Err(io_error("create", releases, &e)),
    }
}

/// Writes the tree under a name of its own, or finds it there; returns the name.
fn install(releases: &Path, tree: &Tree, order: &Order<'_>) -> Result<String, ProviderError> {
    let (name, present) = free_name(releases, &order.desired)?;
    if present {
        return Ok(name);
    }
    let incoming = releases.join(INCOMING);
    remove_tree(&incoming)?;
    fs::create_dir(&incoming).map_err(|e| io_error("create", &incoming, &e))?;
    let mut directories = vec![incoming.clone()];
    for (path, bytes) in &tree.0 {
        if order.cancelled.is_cancelled() {
            remove_tree(&incoming)?;
            return Err(cancelled());
        }
        let file = incoming.join(path);
        let parent = file.parent().expect("a file is below the tree");
        let new: Vec<_> = parent.ancestors().take_while(|p| !p.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(parent).map_err(|e| io_error("create", parent, &e))?;
        directories.extend(new);
        write(&file, bytes)?;
    }
    directories.iter().try_for_each(|directory| sync(directory))?;
    let target = releases.join(&name);
    rename(&incoming, &target)?;
    sync(releases)?;
    Ok(name)
}

/// The name that the tree with this fingerprint has, and whether it is there whole: a tree that somebody changed keeps
/// its name, because it may be the live one, and cannot be replaced at once.
fn free_name(releases: &Path, desired: &Digest) -> Result<(String, bool), ProviderError> {
    let mut n = 0_u32;
    loop {
        let name = if n == 0 { desired.hex() } else { format!("{}-{n}", desired.hex()) };
        let path = releases.join(&name);
        match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((name, false)),
            Err(e) => return Err(io_error("look at", &path, &e)),
            Ok(found) if found.is_dir() && fingerprint(&manifest(&path)?) == *desired => return Ok((name, true)),
            Ok(_) => n += 1,
        }
    }
}

fn mark(place: &Path, name: &str, previous: Option<String>, order: &Order<'_>) -> Result<Vec<String>, ProviderError> {
    let path = place.join(MARKER);
    // An unreadable marker costs older trees, nothing else.
    let old = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok());
    let mut kept = vec![name.to_owned()];
    for name in previous.into_iter().chain(old.into_iter().flat_map(|marker| marker.kept)) {
        if kept.len() < KEPT && !kept.contains(&name) {
            kept.push(name);
        }
    }
    let marker = Marker {
        format: 1,
        token: order.token.to_owned(),
        epoch: order.epoch,
        release: order.release.clone(),
        fingerprint: order.desired,
        kept,
    };
    let mut bytes = serde_json::to_vec_pretty(&marker).expect("a marker has no value that JSON cannot hold");
    bytes.push(b'\n');
    let new = place.join(MARKER_NEW);
    remove_file(&new)?;
    write(&new, &bytes)?;
    rename(&new, &path)?;
    Ok(marker.kept)
}

/// Moves the link, in one step.
fn point(place: &Path, name: &str) -> Result<(), ProviderError> {
    let new = place.join(CURRENT_NEW);
    remove_file(&new)?;
    symlink(&Path::new(RELEASES).join(name), &new).map_err(|e| io_error("link", &new, &e))?;
    let current = place.join(CURRENT);
    rename(&new, &current)?;
    sync(place)
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(not(unix))]
fn symlink(_to: &Path, _at: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no symbolic links that can be swapped by rename"))
}

/// Removes the trees that promo made and that are no longer kept; what it did not make stays.
fn prune(releases: &Path, kept: &[String]) -> Result<(), ProviderError> {
    for entry in fs::read_dir(releases).map_err(|e| io_error("list", releases, &e))? {
        let entry = entry.map_err(|e| io_error("list", releases, &e))?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name == INCOMING || is_tree_name(name));
        if ours && !kept.iter().any(|k| name == k.as_str()) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn is_tree_name(name: &str) -> bool {
    let (hex, number) = name.split_once('-').unwrap_or((name, "1"));
    hex.len() == 64
        && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

fn remove_tree(path: &Path) -> Result<(), ProviderError> {
    crash::point()?;
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => remove_file(path),
        result => result.map_err(|e| io_error("remove", path, &e)),
    }
}

fn remove_file(path: &Path) -> Result<(), ProviderError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|e| io_error("remove", path, &e)),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), ProviderError> {
    crash::point()?;
    fs::rename(from, to).map_err(|e| io_error("rename to", to, &e))?;
    crash::point()
}

/// Writes a new file and waits until it is on the disk.
fn write(path: &PathBuf, bytes: &[u8]) -> Result<(), ProviderError> {
    let mut file = File::create_new(path).map_err(|e| io_error("create", path, &e))?;
    crash::point()?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| io_error("write", path, &e))
}

/// Makes the names in a directory durable.
fn sync(directory: &Path) -> Result<(), ProviderError> {
    crash::point()?;
    // Only Unix lets a directory be opened and synced.
    if cfg!(unix) {
        File::open(directory).and_then(|d| d.sync_all()).map_err(|e| io_error("sync", directory, &e))?;
    }
    Ok(())
}

/// Places at which a test lets the writer die. Nothing is cleaned up on an error, so an error here leaves what a crash
/// would leave.
mod crash {
    use promo_sdk::ProviderError;

    #[cfg(test)]
    thread_local! {
        /// How many points are passed before the writer dies.
        pub(super) static AFTER: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
    }

    #[cfg(test)]
    pub(super) fn point() -> Result<(), ProviderError> {
        match AFTER.get() {
            Some(0) => Err(ProviderError::new(promo_sdk::ErrorKind::Failed, "crashed")),
            left => {
                AFTER.set(left.map(|n| n - 1));
                Ok(())
            }
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
    pub(super) const fn point() -> Result<(), ProviderError> {
        Ok(())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
    }

    fn state(tree: &Tree) -> Digest {
        fingerprint(&tree.manifest())
    }

    fn ensure(place: &Path, expected: State, tree: &Tree) -> Result<EnsureAnswer, ProviderError> {
        let (release, cancelled) = ("r-0123456789ab".parse().unwrap(), CancellationToken::new());
        let (desired, token) = (state(tree), "run-1/1");
        switch(place, tree, &Order { expected, desired, release: &release, token, epoch: 1, cancelled: &cancelled })
    }

    #[test]
    fn a_crash_at_any_point_leaves_the_old_or_the_new_tree_and_the_next_run_finishes() {
        let trees = [
            tree(&[("a", "1"), ("b/c", "1")]),
            tree(&[("a", "2"), ("d/e/f", "2")]),
            tree(&[("a", "3")]),
            tree(&[("a", "4"), ("b", "4")]),
        ];
        let mut died = 0;
        // From nothing to the first tree, and from the third to the fourth, where the first is pruned.
        for (prepared, old, new) in [(0, None, &trees[0]), (3, Some(&trees[2]), &trees[3])] {
            let mut outcomes = std::collections::BTreeSet::new();
            for after in 0.. {
                let root = tempfile::tempdir().unwrap();
                let place = root.path().join("env/dev");
                let mut before = State::Absent;
                for tree in &trees[..prepared] {
                    ensure(&place, before, tree).unwrap();
                    before = State::Present(state(tree));
                }
                crash::AFTER.set(Some(after));
                let result = ensure(&place, before, new);
                crash::AFTER.set(None);

                let found = Live::read(&place).unwrap().state();
                let (was, will) = (old.map_or(State::Absent, |tree| State::Present(state(tree))), state(new));
                assert!(found == was || found == State::Present(will), "after {after} points: {found}");
                outcomes.insert(found);
                // Doubt is settled by observing, then the same request goes on from there (S9.2).
                ensure(&place, found, new).unwrap();
                assert_eq!(Live::read(&place).unwrap().state(), State::Present(will));
                assert!(!place.join(RELEASES).join(INCOMING).exists());
                match result {
                    Ok(answer) if !answer.detail.contains("crashed") => break,
                    _ => died += 1,
                }
            }
            assert_eq!(outcomes.len(), 2, "points before and after the switch were tried");
        }
        assert!(died > 25, "only {died} points were tried");
    }
}
