//! The tamper-evident record of promotions: a hash chain of canonical records, the RFC 6962 tree over them, the stores that
//! keep them, and their verification. What must not live here: what the records mean, which is promo-core's fold, and
//! signatures, which give records their authority.

pub mod conformance;
pub mod error;
pub mod memory;
pub mod sqlite;
pub mod store;
mod transaction;
pub mod tree;
pub mod verify;

pub use error::{AppendError, By, Generation, LeaseError, StoreError};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
pub use store::{Checkpoint, Expect, Fence, GENERATION_KINDS, Head, Lease, RawRecord, Side, Store};
pub use verify::{Finding, Sound, VerifyError, VerifyReport, What, extends, verify, verify_against, verify_each};
