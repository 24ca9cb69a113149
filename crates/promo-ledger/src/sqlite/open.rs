//! Opening and making a ledger file: permissions, settings, format, and the file systems that are refused.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use promo_core::Digest;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::{Access, BUSY_TIMEOUT, Result, SqliteStore, sql, unsigned};
use crate::error::StoreError;
use crate::tree::empty_root;

/// The `application_id` of a ledger file: `prmo` in ASCII.
pub const APPLICATION_ID: i64 = 0x7072_6d6f;

/// The format of a ledger file that this version writes, kept as its `user_version`.
pub const FORMAT: u64 = 1;

/// What every SQLite database begins with: <https://www.sqlite.org/fileformat.html#magic_header_string>.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// How the file beside a ledger ends that holds its origin: what says that a ledger was made here when its file is gone.
const MARK: &str = ".origin";

const SCHEMA: &str = include_str!("schema.sql");

pub(super) fn open(path: &Path) -> Result<SqliteStore> {
    make_directory(directory_of(path))?;
    // Before the file is made, so that none is left on a file system that is refused.
    refuse_network(path)?;
    if !there(path)? {
        not_lost(path)?;
        make(path)?;
    }
    open_what_is_there(path)
}

pub(super) fn open_existing(path: &Path) -> Result<SqliteStore> {
    refuse_network(path)?;
    open_what_is_there(path)
}

/// Whether there is a file. An empty one was something once: a ledger is in place only when it is whole.
fn there(path: &Path) -> Result<bool> {
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() == 0 => Err(lost(path, StoreError::EMPTY)),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("looking for the ledger's file")(error)),
    }
}

/// Refuses a place where a ledger was, by what it leaves beside its file: to make a new one there would hide that it is gone.
pub(super) fn not_lost(path: &Path) -> Result<()> {
    let traces = [beside(path, MARK), beside(path, "-wal"), beside(path, "-journal")];
    let found = traces.iter().any(|trace| std::fs::symlink_metadata(trace).is_ok());
    // Traces appear after the file: whoever made it since has it in place by now.
    if found && !there(path)? { Err(lost(path, "no file")) } else { Ok(()) }
}

fn lost(path: &Path, found: &'static str) -> StoreError {
    let mark = beside(path, MARK).display().to_string();
    StoreError::Lost { path: path.display().to_string(), found, origin: marked(path), mark }
}

fn open_what_is_there(path: &Path) -> Result<SqliteStore> {
    // Before SQLite sees it: beside an empty database it removes the log, which then has the only copy of the last records.
    there(path)?;
    refuse_other_files(path)?;
    match open_to_write(path) {
        // On a medium that cannot be written, as an auditor has it, a ledger is still there to be read.
        Err(error @ (StoreError::Io { .. } | StoreError::ReadOnly)) => open_read_only(path).map_err(|_| error),
        result => result,
    }
}

fn open_to_write(path: &Path) -> Result<SqliteStore> {
    let connection = connect(path)?;
    identify(&connection, path)?;
    let access = match check_format(&connection) {
        Ok(()) => Access::Write,
        Err(StoreError::NewerFormat { found, .. }) => Access::Newer(found),
        Err(error) => return Err(error),
    };
    let store = store(connection, access)?;
    is_the_marked_one(path, &store)?;
    if !matches!(store.access, Access::Newer(_)) && marked(path).is_none() {
        mark(path, &store.origin)?;
    }
    Ok(store)
}

/// Refuses a ledger in the place of another one, by what that one left beside it: the other one's freezes and quarantines
/// would be gone.
fn is_the_marked_one(path: &Path, store: &SqliteStore) -> Result<()> {
    if marked(path).is_none_or(|origin| origin == store.origin) { Ok(()) } else { Err(lost(path, "another ledger")) }
}

/// The origin that a ledger left beside its place, if it did.
fn marked(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open(beside(path, MARK)).ok()?;
    file.take(1_024).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|origin| !origin.is_empty())
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql("opening the file"))?;
    configure(&connection)?;
    Ok(connection)
}

/// A write-ahead log, synced at every commit: one sync where a rollback journal takes three, and what returned survives a
/// power cut all the same. Readers and writers do not wait for each other. The mode is a property of the file.
fn write_ahead(connection: &Connection) -> Result<()> {
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sql("choosing the log"))?;
    if mode == "wal" { Ok(()) } else { Err(StoreError::damaged("the journal mode", "wal", mode)) }
}

pub(super) fn open_read_only(path: &Path) -> Result<SqliteStore> {
    refuse_network(path)?;
    there(path)?;
    refuse_other_files(path)?;
    let read = |file: &Path, more| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let connection = Connection::open_with_flags(file, flags).map_err(sql("opening the file"))?;
        configure(&connection)?;
        identify(&connection, path)?;
        let store = store(connection, Access::Read)?;
        is_the_marked_one(path, &store)?;
        Ok(store)
    };
    match read(path, OpenFlags::empty()) {
        // Without a log nobody writes, and where none can be made nobody will: then SQLite may do without one.
        Err(_) if !beside(path, "-wal").exists() => read(&immutable(path), OpenFlags::SQLITE_OPEN_URI),
        result => result,
    }
}

/// The file beside a database whose name ends with this. Of SQLite's own: `-wal`, the write-ahead log, and `-journal`
/// (<https://www.sqlite.org/tempfiles.html>).
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The name of a file that nothing changes: <https://www.sqlite.org/uri.html#uriimmutable>.
fn immutable(path: &Path) -> PathBuf {
    let plain = path.as_os_str().to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{plain}?immutable=1").into()
}

fn store(connection: Connection, access: Access) -> Result<SqliteStore> {
    let origin = connection
        .query_row("SELECT origin FROM ledger", [], |row| row.get(0))
        .map_err(sql("reading the ledger's origin"))?;
    Ok(SqliteStore { connection: Mutex::new(connection), origin, access })
}

fn configure(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sql("setting the timeout"))?;
    // What the file itself brings along (views, triggers, functions in its schema) is not trusted.
    for (config, value) in
        [(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true), (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)]
    {
        connection.set_db_config(config, value).map_err(sql("setting the connection up"))?;
    }
    connection
        .execute_batch("PRAGMA synchronous = EXTRA; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA recursive_triggers = ON; PRAGMA secure_delete = ON;")
        .map_err(sql("setting the connection up"))
}

fn pragma(connection: &Connection, name: &str) -> Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(sql("reading the file's format"))
}

/// Refuses a file that was never an SQLite database: that is a wrong name, and no sign of damage. A file that ends within
/// the first bytes, or has the right ones, is a database, whatever became of the rest.
fn refuse_other_files(path: &Path) -> Result<()> {
    let failed = StoreError::io("reading the file's first bytes");
    let kind = std::fs::metadata(path).map_err(&failed)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        // Opening a pipe would wait for whoever writes to it.
        return Err(StoreError::NoDatabase { path: path.display().to_string() });
    }
    let mut first = Vec::new();
    let file = std::fs::File::open(path).map_err(&failed)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut first).map_err(&failed)?;
    if MAGIC.starts_with(&first) { Ok(()) } else { Err(StoreError::NoDatabase { path: path.display().to_string() }) }
}

/// Refuses a file that is some other application's.
fn identify(connection: &Connection, path: &Path) -> Result<()> {
    let found = pragma(connection, "application_id")?;
    if found == APPLICATION_ID {
        return Ok(());
    }
    Err(StoreError::NotALedger { path: path.display().to_string(), expected: APPLICATION_ID, found })
}

/// Refuses a format that this version may not write.
pub(super) fn check_format(connection: &Connection) -> Result<()> {
    let found = unsigned("the file's format", pragma(connection, "user_version")?)?;
    match found {
        FORMAT => Ok(()),
        newer if newer > FORMAT => Err(StoreError::NewerFormat { found, known: FORMAT }),
        older => Err(StoreError::damaged("the file's format", FORMAT, older)),
    }
}

/// Makes a whole ledger beside its place and then puts it there, so that nobody ever sees a part of one: what is cut short
/// leaves a file of another name. Of several processes the first one wins.
fn make(path: &Path) -> Result<()> {
    let id = random()?;
    let draft = beside(path, &format!(".{}.new", &id[..16]));
    let origin = format!("promo.local/ledger/{id}");
    let done = make_file(&draft).and_then(|()| initialize(&draft, &origin)).and_then(|()| {
        match std::fs::hard_link(&draft, path) {
            // Cut short here, the next one who opens it to write leaves the mark.
            Ok(()) => mark(path, &origin).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            // Where a file could just be made in the directory it is not its rights: EPERM of link(2).
            Err(source) if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                Err(StoreError::NoHardLinks { path: path.display().to_string(), source })
            }
            Err(error) => Err(StoreError::io("putting the ledger's file in place")(error)),
        }
    });
    let removed = std::fs::remove_file(&draft).map_err(StoreError::io("removing the draft of the ledger's file"));
    // SQLite's own, where it was cut short.
    for suffix in ["-journal", "-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(&draft, suffix));
    }
    if done? {
        removed?;
        // A name survives a power cut when its directory was synced.
        let directory = std::fs::File::open(directory_of(path)).and_then(|directory| directory.sync_all());
        directory.map_err(StoreError::io("syncing the ledger's directory"))?;
    }
    Ok(())
}

/// 32 random hexadecimal digits.
fn random() -> Result<String> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|source| StoreError::Io { doing: "drawing a random origin", source: Box::new(source) })?;
    Ok(Digest::of(&id).hex()[..32].to_owned())
}

/// Writes the schema into an empty file.
fn initialize(path: &Path, origin: &str) -> Result<()> {
    let mut connection = connect(path)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql("starting to make the ledger"))?;
    let insert = "INSERT INTO ledger (id, origin, size, root, last, epoch) VALUES (1, ?1, 0, ?2, ?3, 0)";
    let make = || {
        transaction.execute_batch(SCHEMA)?;
        transaction
            .execute(insert, params![origin, empty_root().as_bytes(), Digest::of(origin.as_bytes()).as_bytes()])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", super::int(FORMAT))
    };
    make().map_err(sql("making the ledger"))?;
    transaction.commit().map_err(sql("making the ledger"))?;
    // Only now, when all is in the file: closing a connection does not tell when it could not empty the log, and what is put in
    // place is one file.
    write_ahead(&connection)?;
    connection.close().map_err(|(_, error)| sql("making the ledger")(error))
}

/// Leaves word beside a ledger that it is there, once it is.
fn mark(path: &Path, origin: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(beside(path, MARK))?;
        file.write_all(format!("{origin}\n").as_bytes())?;
        file.sync_all()
    };
    write().map_err(StoreError::io("marking the ledger's place"))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make_directory(path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(StoreError::io("making the ledger's directory"))
}

fn make_file(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ()).map_err(StoreError::io("making the ledger's file"))
}

/// On systems without mountinfo nothing is known, and nothing is refused.
fn refuse_network(path: &Path) -> Result<()> {
    let Some(mounts) = mounts() else { return Ok(()) };
    // The file itself may be a link to elsewhere.
    let place = path
        .canonicalize()
        .or_else(|_| directory_of(path).canonicalize())
        .map_err(StoreError::io("finding the file"))?;
    match filesystem_of(&mounts, &place) {
        Some(filesystem) if is_network(&filesystem) => {
            Err(StoreError::NetworkFilesystem { path: path.display().to_string(), filesystem })
        }
        _ => Ok(()),
    }
}

fn mounts() -> Option<String> {
    // No test can mount a share.
    #[cfg(test)]
    if let Some(invented) = tests::INVENTED.with_borrow(Clone::clone) {
        return Some(invented);
    }
    std::fs::read_to_string("/proc/self/mountinfo").ok()
}

fn is_network(filesystem: &str) -> bool {
    const NETWORK: [&str; 23] = [
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "fuse.ceph",
        "fuse.sshfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.juicefs",
        "glusterfs",
        "fuse.glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "gfs2",
        "ocfs2",
    ];
    NETWORK.contains(&filesystem)
}

/// The type of the file system that holds `path`, from the text of `/proc/self/mountinfo` (proc(5)): of the mounts whose
/// mount point is above the path the deepest, of equally deep ones the last, which hides the others.
fn filesystem_of(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else { continue };
        let point = PathBuf::from(unescape(point));
        let depth = point.components().count();
        if path.starts_with(&point) && best.is_none_or(|(known, _)| depth >= known) {
            best = Some((depth, kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (escaped, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(escaped, plain);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        /// What this thread takes for the mounts of the machine.
        pub(super) static INVENTED: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    #[test]
    fn every_way_to_open_a_ledger_refuses_a_share_and_leaves_nothing_there_s12_4() {
        let directory = tempfile::tempdir().unwrap();
        let (made, absent) = (directory.path().join("made.sqlite"), directory.path().join("absent.sqlite"));
        drop(open(&made).unwrap());
        let here = directory.path().canonicalize().unwrap();
        for (filesystem, refused) in [("nfs4", true), ("lustre", true), ("ext4", false)] {
            let mount = format!("21 1 8:1 / {} rw - {filesystem} server:/share rw", here.display());
            INVENTED.set(Some(mount));
            for open in [open, open_existing, open_read_only] {
                let found = open(&made).err();
                let named = matches!(&found, Some(StoreError::NetworkFilesystem { filesystem: kind, .. }) if kind == filesystem);
                assert_eq!((named, found.is_some()), (refused, refused), "{filesystem}: {found:?}");
            }
            if refused {
                assert!(open(&absent).is_err() && !absent.exists());
            }
        }
    }

    const MOUNTS: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:30 / /shared rw shared:2 - nfs4 server:/shared rw
31 30 8:2 / /shared/local rw - xfs /dev/sdb rw
32 21 0:31 / /mnt/a\\040b rw master:3 propagate_from:2 - fuse.sshfs host: rw
33 21 0:32 / /over rw - ext4 /dev/sdc rw
34 33 0:33 / /over rw - 9p share rw";

    #[test]
    fn the_deepest_and_last_mount_above_a_path_says_its_file_system() {
        for (path, kind) in [
            ("/srv/ledger", "ext4"),
            ("/shared/me/.promo", "nfs4"),
            ("/shared/local/x", "xfs"),
            ("/shareds", "ext4"),
            ("/mnt/a b/c", "fuse.sshfs"),
            ("/over/x", "9p"),
        ] {
            assert_eq!(filesystem_of(MOUNTS, Path::new(path)).as_deref(), Some(kind), "{path}");
        }
    }

    #[test]
    fn network_file_systems_are_refused_and_local_ones_are_not_s12_4() {
        for network in ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"] {
            assert!(is_network(network), "{network}");
        }
        for local in ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "apfs", "fuseblk"] {
            assert!(!is_network(local), "{local}");
        }
    }
}
