//! The ledger in one SQLite file (S12.4): how it is opened, and its transactions. What must not live here: what an append
//! checks, which is the same for every store.
//!
//! A write-ahead log that is synced at every commit, and no memory map of the file: a commit that returned survives a power
//! cut, and a fault in the file cannot become a fault in the process. Time is SQLite's own, so that all writers of a file share one clock.

mod open;
mod pages;
mod rows;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ledger::{Draft, Record};
use rusqlite::{Connection, TransactionBehavior, params};

use crate::error::{AppendError, Generation, LeaseError, StoreError};
use crate::store::{Expect, Head, Lease, RawRecord, Side, Store};
use crate::transaction::{self, Rows};

pub use open::{APPLICATION_ID, FORMAT};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// How long a statement waits for another process before it gives up with [`StoreError::Busy`].
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// A ledger in a SQLite file. Handles of several threads and processes may be open at once.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Mutex<Connection>,
    origin: String,
    access: Access,
}

/// What may be done with an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    /// Opened for reading.
    Read,
    /// The file has this newer format.
    Newer(u64),
}

impl SqliteStore {
    /// Opens the ledger at `path` for reading and writing. When there is none it is made, readable by its owner alone,
    /// with its directory and a random origin, which a file beside it keeps (`.origin` behind its name). A ledger of a newer
    /// format is opened, and refuses every write.
    ///
    /// # Errors
    /// [`StoreError::NetworkFilesystem`], [`StoreError::NotALedger`], [`StoreError::Lost`], or a failure of the file itself.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        open::open(path.as_ref())
    }

    /// Whether what a ledger leaves beside its file says that one was at `path` and is gone. Nothing is made.
    ///
    /// # Errors
    /// [`StoreError::Lost`] where one was.
    pub fn not_lost(path: impl AsRef<Path>) -> Result<()> {
        open::not_lost(path.as_ref())
    }

    /// Opens the ledger at `path` for reading and writing as [`Self::open`] does, and makes none: neither the file, nor a
    /// ledger in an empty one.
    ///
    /// # Errors
    /// As [`Self::open`]; a missing file is [`StoreError::Io`], an empty one [`StoreError::NotALedger`].
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self> {
        open::open_existing(path.as_ref())
    }

    /// Opens the ledger at `path` for reading; nothing is made or changed.
    ///
    /// # Errors
    /// As [`Self::open`]; a missing file is [`StoreError::Io`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        open::open_read_only(path.as_ref())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic drops the transaction, which rolls it back: the connection is good for use.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every question is one statement, which SQLite answers from one state of the file: no transaction around it, which
    /// would cost three times as much.
    fn read<T>(&self, read: impl FnOnce(&SqliteRows<'_>) -> Result<T>) -> Result<T> {
        read(&SqliteRows { sql: &self.connection() })
    }

    fn write<T, E: From<StoreError>>(&self, write: impl FnOnce(&mut SqliteRows<'_>) -> Result<T, E>) -> Result<T, E> {
        match self.access {
            Access::Write => {}
            Access::Read => return Err(StoreError::ReadOnly.into()),
            Access::Newer(found) => return Err(StoreError::NewerFormat { found, known: FORMAT }.into()),
        }
        let mut connection = self.connection();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql("starting to write"))?;
        // Another process may have migrated the file since it was opened.
        open::check_format(&transaction)?;
        let value = write(&mut SqliteRows { sql: &transaction })?;
        transaction.commit().map_err(sql("committing"))?;
        Ok(value)
    }
}

/// The rows as one transaction or one statement sees them.
struct SqliteRows<'a> {
    sql: &'a Connection,
}

fn busy() -> StoreError {
    StoreError::Busy { waited_ms: u64::try_from(BUSY_TIMEOUT.as_millis()).unwrap_or(u64::MAX) }
}

/// Turns an error of SQLite into one of the store.
fn sql(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => busy(),
        Some(rusqlite::ErrorCode::ReadOnly) => StoreError::ReadOnly,
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::damaged("the database file", "an SQLite database", error)
        }
        None if is_content(&error) => StoreError::damaged("a row", "its column's type", error),
        // What the disk has no room for, SQLite tells of its log as such and of the memory that it shares as an error of input
        // and output.
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Io { doing, source: Box::new(NoRoom(error)) },
        _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
            StoreError::Io { doing, source: Box::new(NoRoom(error)) }
        }
        _ => StoreError::Io { doing, source: Box::new(error) },
    }
}

/// The disk is full.
#[derive(Debug, thiserror::Error)]
#[error("there is no room left on its disk")]
struct NoRoom(#[source] rusqlite::Error);

/// Whether what was read is at fault, rather than reading.
fn is_content(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, InvalidColumnType, Utf8Error};
    matches!(error, FromSqlConversionFailure(..) | InvalidColumnType(..) | Utf8Error(..))
}

/// SQLite's integers are signed; everything stored here is a count or a time and fits.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(what: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| StoreError::damaged(what, "no negative number", value))
}

fn digest(what: &str, bytes: &[u8]) -> Result<Digest> {
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| StoreError::damaged(what, "32 bytes", bytes.len()))?;
    Ok(Digest::from_bytes(bytes))
}

fn timestamp(what: &str, milliseconds: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds)
        .map_err(|_| StoreError::damaged(what, "milliseconds since 1970", milliseconds))
}

impl Store for SqliteStore {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn head(&self) -> Result<Head> {
        self.read(|rows| rows.head())
    }

    fn now(&self) -> Result<Timestamp> {
        self.read(|rows| rows.now())
    }

    fn append_if_head(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, AppendError> {
        self.write(|rows| transaction::append(rows, expect, drafts))
    }

    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>> {
        self.read(|rows| rows.raw(from, limit))
    }

    fn seq_of(&self, rid: &str) -> Result<Option<u64>> {
        self.read(|rows| rows.seq_of(rid))
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>> {
        self.read(|rows| rows.node(level, index))
    }

    fn sides(&self, seq: u64) -> Result<Vec<Side>> {
        self.read(|rows| rows.sides(seq))
    }

    fn erase(&self, seq: u64, field: &str) -> Result<bool> {
        let erased = self.write(|rows| {
            let erased = rows.sql.execute("DELETE FROM sides WHERE seq = ?1 AND field = ?2", params![int(seq), field]);
            Ok::<_, StoreError>(erased.map_err(sql("erasing a text"))? == 1)
        })?;
        // The log still has it, for as long as somebody reads: asking again then empties it.
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        let kept: i64 = self.connection().query_row(truncate, [], |row| row.get(0)).map_err(sql("emptying the log"))?;
        if kept == 0 { Ok(erased) } else { Err(busy()) }
    }

    fn generations(&self) -> Result<Vec<Generation>> {
        self.read(|rows| rows.generations())
    }

    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>> {
        self.read(|rows| rows.consumed_by(digest))
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.write(|rows| {
            let insert = "INSERT INTO blobs (digest, bytes) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING";
            rows.sql.execute(insert, params![digest.as_bytes(), bytes]).map_err(sql("storing a file"))?;
            Ok(digest)
        })
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let select = "SELECT bytes FROM blobs WHERE digest = ?1";
        let bytes = self.read(|rows| rows.optional(select, [digest.as_bytes()], |row| row.get::<_, Vec<u8>>(0)))?;
        match bytes {
            Some(bytes) if Digest::of(&bytes) != *digest => {
                Err(StoreError::damaged(format!("file {digest}"), digest, Digest::of(&bytes)))
            }
            bytes => Ok(bytes),
        }
    }

    fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>> {
        self.read(|rows| rows.blob_digests(after, limit))
    }

    fn acquire(&self, resources: &[String], holder: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        self.write(|rows| transaction::acquire(rows, resources, holder, ttl))
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        self.write(|rows| transaction::renew(rows, lease, ttl))
    }

    fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.write(|rows| transaction::release(rows, lease))
    }

    fn leases(&self) -> Result<Vec<Lease>> {
        self.read(|rows| rows.leases())
    }

    fn epoch(&self) -> Result<u64> {
        self.read(|rows| rows.epoch())
    }

    fn damage(&self, limit: usize) -> Result<Vec<String>> {
        self.read(|rows| pages::damage(rows.sql, limit))
    }
}
