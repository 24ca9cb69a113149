//! Every store of this crate runs the one suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use promo_ledger::conformance::{self, Opener};
use promo_ledger::{MemoryStore, SqliteStore, Store};

#[test]
fn the_memory_store_conforms() {
    conformance::run(|| {
        let time = Arc::new(AtomicI64::new(1_700_000_000_000));
        let clock = move || Timestamp::from_millisecond(time.fetch_add(1, Ordering::Relaxed)).unwrap();
        let store = MemoryStore::new("promo.test/memory", Arc::new(clock));
        Box::new(move || Box::new(store.clone()) as Box<dyn Store>) as Opener
    });
}

#[test]
fn the_sqlite_store_conforms() {
    conformance::run(|| {
        let directory = tempfile::tempdir().unwrap();
        Box::new(move || {
            let path = directory.path().join(".promo/ledger.db");
            Box::new(SqliteStore::open(path).unwrap()) as Box<dyn Store>
        }) as Opener
    });
}
