//! What can go wrong with a store. Every variant says what was expected and found, so that the caller can act on it
//! without reading the store again.

use std::error::Error;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::gate::Instant;
use promo_core::ids::{EnvironmentName, PipelineName, RunId};

/// Any error below the store: SQLite's, or the operating system's.
pub type Cause = Box<dyn Error + Send + Sync>;

/// A store cannot be read or written at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed. After a write it is not known whether it happened: repeat it with the same `rid`.
    #[error("the ledger could not be accessed while {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The error beneath.
        source: Cause,
    },
    /// Others held the store for as long as we were ready to wait. Nothing was written.
    #[error("the ledger is busy: another process kept it locked for more than {waited_ms} ms")]
    Busy {
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// What stands in the store cannot be what was once written to it.
    #[error("the ledger is damaged at {place}: expected {expected}, found {found}")]
    Integrity {
        /// Which record or row.
        place: String,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// There was a ledger, and its file is gone, empty or another's. No new one is made in its place (S0.1).
    #[error("the ledger is lost: one was made at {path}, and there is {found} now")]
    Lost {
        /// Where it was.
        path: String,
        /// What is there.
        found: &'static str,
        /// Its origin, where it left word.
        origin: Option<String>,
        /// The file in which it left word, whether that is there or not.
        mark: String,
    },
    /// The store has a newer format than this version knows: it may be read, never written (S12.1).
    #[error("the ledger has format {found}, this version of promo writes only format {known}")]
    NewerFormat {
        /// Format of the store or of a record in it.
        found: u64,
        /// The newest that this version knows.
        known: u64,
    },
    /// The store was opened for reading.
    #[error("the ledger was opened for reading only")]
    ReadOnly,
    /// The file is no ledger of promo.
    #[error("{path} is not a promo ledger: expected application id {expected:#x}, found {found:#x}")]
    NotALedger {
        /// The file.
        path: String,
        /// Promo's SQLite application id.
        expected: i64,
        /// The one in the file.
        found: i64,
    },
    /// The file is no database at all.
    #[error("{path} is not a promo ledger: expected an SQLite database")]
    NoDatabase {
        /// The file.
        path: String,
    },
    /// SQLite's locks cannot be trusted on network file systems, so two hosts could both win (S12.4).
    #[error("{path} is on a network file system ({filesystem}), where file locks cannot be trusted")]
    NetworkFilesystem {
        /// The file.
        path: String,
        /// Its type, as the kernel names it.
        filesystem: String,
    },
    /// A ledger is made beside its place and put there by a hard link, which no other process can come before and which is
    /// never half done. There are none on FAT, and on some file systems of FUSE.
    #[error(
        "no ledger can be made at {path}: its file system has no hard links. Choose a place on another one (`--ledger`, or \
         the trust file)"
    )]
    NoHardLinks {
        /// Where it was to be.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StoreError {
    /// What there is in the place of a ledger that was emptied.
    pub const EMPTY: &'static str = "an empty file";

    pub(crate) fn io(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { doing, source: Box::new(source) }
    }

    pub(crate) fn damaged(
        place: impl Into<String>,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Integrity { place: place.into(), expected: expected.to_string(), found: found.to_string() }
    }
}

/// Who wrote the record that got in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Position of the record.
    pub seq: u64,
    /// The run that it belongs to.
    pub run: Option<RunId>,
    /// The claimed name of its writer.
    pub actor: String,
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.run {
            Some(run) => write!(f, "run {run} of {} (record {})", self.actor, self.seq),
            None => write!(f, "{} (record {})", self.actor, self.seq),
        }
    }
}

/// Nothing was appended, and why. Only [`StoreError::Io`] leaves it open whether something was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The ledger has grown since it was read.
    #[error("the ledger has moved: expected {expected} records, found {found}")]
    HeadMoved {
        /// Size that the caller had seen.
        expected: u64,
        /// Size now.
        found: u64,
    },
    /// Something else moved an environment since the plan was made.
    #[error("{environment} has moved: expected generation {expected}, found {found}{}", mover(.by.as_ref()))]
    GenerationMoved {
        /// Which environment.
        environment: EnvironmentName,
        /// Generation that the caller had seen.
        expected: u64,
        /// Generation now.
        found: u64,
        /// The last record that moved it; none if none ever did.
        by: Option<By>,
    },
    /// The lease under which the writer acts has expired or is another's.
    #[error("the lease on {resource} with epoch {epoch} is lost: {}", lost(.found.as_ref()))]
    EpochLost {
        /// Which lease.
        resource: String,
        /// Epoch that the caller had.
        epoch: u64,
        /// Who has it now; none if nobody has.
        found: Option<crate::store::Lease>,
    },
    /// A plan or an approval was used before; it is good for one run (S6.6, S8.4).
    #[error("{digest} has been used already, by {by}")]
    AlreadyConsumed {
        /// Digest of the plan or approval.
        digest: Digest,
        /// Which record used it.
        by: By,
    },
    /// The `rid` of a draft belongs to a record with another content.
    #[error("the record id {rid} belongs to record {seq}, which has another {differs}")]
    RidTaken {
        /// The id.
        rid: String,
        /// The record that has it.
        seq: u64,
        /// The first field that differs.
        differs: String,
    },
    /// A draft that can never become a record.
    #[error("the record {rid} cannot be written: {why}")]
    InvalidDraft {
        /// Its id, as far as it has one.
        rid: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn mover(by: Option<&By>) -> String {
    by.map(|by| format!(", moved by {by}")).unwrap_or_default()
}

fn lost(found: Option<&crate::store::Lease>) -> String {
    found.map_or_else(
        || "it has expired or was released".to_owned(),
        |lease| format!("{} has it with epoch {} until {}", lease.holder, lease.epoch, Instant(lease.expires)),
    )
}

/// A lease was not given, or is no longer held.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Someone else holds one of the resources; none of them was taken.
    #[error("{resource} is held by {holder} until {expires}")]
    Held {
        /// Which resource.
        resource: String,
        /// Who holds it.
        holder: String,
        /// Until when, if it is not renewed, in the store's time.
        expires: Timestamp,
    },
    /// The lease to renew has expired or is another's: stop, and acquire again.
    #[error("the lease on {resource} with epoch {epoch} is lost: {}", lost(.found.as_ref()))]
    Lost {
        /// Which resource.
        resource: String,
        /// Epoch of the lost lease.
        epoch: u64,
        /// Who has it now; none if nobody has.
        found: Option<crate::store::Lease>,
    },
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A generation counter: how often an environment of a pipeline was moved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The environment.
    pub environment: EnvironmentName,
    /// How often it was moved.
    pub value: u64,
    /// The record that moved it last.
    pub seq: u64,
}
