//! What only the SQLite store can do: its file, its format, and what an attacker with a SQL shell leaves behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use promo_core::Digest;
use promo_core::ledger::event::Event;
use promo_core::ledger::{Draft, Record};
use promo_ledger::conformance::{draft, moving, still};
use promo_ledger::{
    AppendError, Expect, Finding, SqliteStore, Store, StoreError, VerifyError, What, extends, verify, verify_against,
};
use rusqlite::{Connection, params};

struct Ledger {
    directory: tempfile::TempDir,
}

impl Ledger {
    /// A ledger of ten records with everything that a ledger can have.
    fn filled() -> Self {
        let ledger = Self { directory: tempfile::tempdir().unwrap() };
        let store = ledger.open();
        for turn in 0..3 {
            let mut drafts = [moving(&format!("a{turn}"), "dev"), started(turn), still(&format!("c{turn}"))];
            drafts[2].private = BTreeMap::from([("reason".to_owned(), format!("because of {turn}"))]);
            store.append_if_head(&Expect::default(), &drafts).unwrap();
        }
        let (one, other) = (["one".to_owned()], ["other".to_owned()]);
        store.acquire(&one, "a", Duration::from_secs(60)).unwrap();
        let held = store.acquire(&other, "b", Duration::from_secs(60)).unwrap();
        let last = Draft { epoch: Some(held.epoch), ..moving("d", "qa") };
        store.append_if_head(&Expect::default(), &[last]).unwrap();
        store.release(&held).unwrap();
        store.put_blob(b"values").unwrap();
        assert_eq!(verify(&store).unwrap().records, 10);
        ledger
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(".promo/ledger.db")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).unwrap()
    }

    /// Runs SQL as one who can write the file: without the triggers.
    fn attack(&self, sql: &str, params: impl rusqlite::Params) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        for name in names {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        assert!(connection.execute(sql, params).unwrap() > 0, "the attack changed something: {sql}");
        // What lies beside the ledger is as easily written.
        let _ = std::fs::remove_file(self.path().with_extension("db.origin"));
    }

    fn findings(&self) -> Vec<Finding> {
        findings(verify(&self.open()).map(drop))
    }
}

fn findings(result: Result<(), VerifyError>) -> Vec<Finding> {
    match result {
        Err(VerifyError::Findings(findings)) => findings,
        other => panic!("expected findings, found {other:?}"),
    }
}

fn started(turn: u8) -> Draft {
    let event = Event::RunStarted {
        environments: BTreeMap::new(),
        approvals: vec![Digest::of(&[turn, 1])],
        applier: "ana".to_owned(),
    };
    Draft { plan: Some(Digest::of(&[turn])), ..draft(&format!("b{turn}"), event) }
}

fn bytes(path: &Path, seq: i64) -> Vec<u8> {
    let connection = Connection::open(path).unwrap();
    connection.query_row("SELECT bytes FROM records WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
}

#[test]
fn any_byte_of_any_record_that_is_edited_is_found_and_named() {
    let ledger = Ledger::filled();
    for seq in [0, 4, 9] {
        let original = bytes(&ledger.path(), seq);
        for at in 0..original.len() {
            let mut edited = original.clone();
            edited[at] ^= 1;
            ledger.attack("UPDATE records SET bytes = ?1 WHERE seq = ?2", params![edited, seq]);
            let findings = ledger.findings();
            let named: Vec<_> = findings.iter().filter_map(|finding| finding.seq).collect();
            assert!(!named.is_empty() && named.iter().all(|&named| named == seq as u64), "byte {at}: {findings:?}");
        }
        ledger.attack("UPDATE records SET bytes = ?1 WHERE seq = ?2", params![original, seq]);
        verify(&ledger.open()).unwrap();
    }
}

#[test]
fn every_other_column_that_is_edited_is_found() {
    let node = Digest::of(b"other");
    let seq = |seq: u64| Some(seq);
    for (sql, what, named) in [
        ("UPDATE records SET rid = 'other' WHERE seq = 4", What::Rid, seq(4)),
        ("UPDATE records SET rid = CAST(x'ff' AS TEXT) WHERE seq = 4", What::Row, seq(4)),
        ("UPDATE records SET seq = 400 WHERE seq = 4", What::Missing, seq(4)),
        ("UPDATE records SET seq = -4 WHERE seq = 4", What::Missing, seq(4)),
        ("UPDATE records SET seq = 400 WHERE seq = 9", What::Missing, seq(9)),
        ("UPDATE nodes SET hash = ?1 WHERE level = 0 AND idx = 4", What::Leaf, seq(4)),
        ("UPDATE nodes SET hash = ?1 WHERE level = 1 AND idx = 2", What::Node, seq(5)),
        ("UPDATE nodes SET idx = 70 WHERE level = 3", What::Node, seq(7)),
        ("UPDATE nodes SET level = 30 WHERE level = 3", What::Node, seq(7)),
        ("DELETE FROM nodes WHERE level = 2 AND idx = 1", What::Node, seq(7)),
        ("UPDATE sides SET text = 'because of me' WHERE seq = 5", What::Commitment, seq(5)),
        ("UPDATE sides SET salt = ?1 WHERE seq = 5", What::Commitment, seq(5)),
        ("UPDATE sides SET field = 'name' WHERE seq = 5", What::Commitment, seq(5)),
        ("UPDATE sides SET seq = 4 WHERE seq = 5", What::Commitment, seq(4)),
        ("UPDATE consumed SET seq = 7 WHERE seq = 4", What::Use, seq(4)),
        (
            "UPDATE consumed SET digest = ?1 WHERE seq = 1 AND digest IN (SELECT max(digest) FROM consumed WHERE seq = 1)",
            What::Use,
            seq(1),
        ),
        ("DELETE FROM consumed WHERE seq = 4", What::Use, seq(4)),
        ("UPDATE generations SET value = 2 WHERE environment = 'dev'", What::Generation, None),
        ("UPDATE generations SET seq = 2 WHERE environment = 'dev'", What::Generation, None),
        ("UPDATE generations SET environment = 'perf' WHERE environment = 'dev'", What::Generation, None),
        ("UPDATE generations SET environment = 'No Name' WHERE environment = 'dev'", What::Row, None),
        ("UPDATE generations SET pipeline = 'other' WHERE environment = 'dev'", What::Generation, None),
        ("DELETE FROM generations", What::Generation, None),
        ("UPDATE ledger SET root = ?1", What::Head, None),
        ("UPDATE ledger SET last = ?1", What::Head, None),
        ("UPDATE ledger SET size = 11", What::Missing, seq(10)),
        ("UPDATE ledger SET size = 9", What::Surplus, seq(9)),
        ("UPDATE ledger SET size = -1", What::Row, None),
        ("UPDATE ledger SET origin = 'promo.local/ledger/other'", What::Previous, seq(0)),
        // Two locks were taken, and nobody has one now: what they left is in the records.
        ("UPDATE ledger SET epoch = 1", What::Epoch, seq(9)),
        ("UPDATE ledger SET epoch = 0", What::Epoch, seq(9)),
        ("UPDATE ledger SET epoch = -1", What::Row, None),
        ("DELETE FROM records WHERE seq = 0", What::Missing, seq(0)),
        ("DELETE FROM records WHERE seq = 4", What::Missing, seq(4)),
        ("DELETE FROM records WHERE seq = 9", What::Missing, seq(9)),
        ("DELETE FROM records", What::Missing, seq(0)),
        ("INSERT INTO records SELECT 10, 'new', bytes FROM records WHERE seq = 9", What::Surplus, seq(10)),
        ("UPDATE blobs SET bytes = x'00'", What::Blob, None),
        ("UPDATE blobs SET digest = ?1", What::Blob, None),
    ] {
        let ledger = Ledger::filled();
        if sql.contains("?1") {
            ledger.attack(sql, [node.as_bytes()]);
        } else {
            ledger.attack(sql, []);
        }
        let findings = ledger.findings();
        let first = findings.first().unwrap();
        assert_eq!((first.what, first.seq), (what, named), "{sql}: {findings:?}");
    }
}

#[test]
fn an_epoch_below_that_of_a_lock_in_force_is_found_and_one_that_is_too_high_does_no_harm() {
    let ledger = Ledger { directory: tempfile::tempdir().unwrap() };
    let store = ledger.open();
    let lock = store.acquire(&["dev".to_owned()], "a", Duration::from_secs(600)).unwrap();
    ledger.attack("UPDATE ledger SET epoch = 0", []);
    let finding = ledger.findings().remove(0);
    assert_eq!((finding.what, finding.seq), (What::Epoch, None));
    assert!(finding.expected.contains("dev") && finding.found == "0", "{finding}");
    ledger.attack("UPDATE ledger SET epoch = 40", []);
    verify(&store).expect("a lock may be taken and left without a record");
    assert_eq!(store.acquire(&["qa".to_owned()], "b", Duration::from_secs(600)).unwrap().epoch, 41);
    store.renew(&lock, Duration::from_secs(600)).unwrap();
}

type Look = fn(&Path) -> Result<SqliteStore, StoreError>;

/// Every way to open a ledger.
const LOOKS: [Look; 3] =
    [|path| SqliteStore::open(path), |path| SqliteStore::open_existing(path), |path| SqliteStore::open_read_only(path)];

/// SQLite removes the log of an empty database, and the log may have the only copy of the newest records.
#[test]
fn looking_at_a_ledger_that_was_emptied_leaves_its_log_alone() {
    let ledger = Ledger::filled();
    let path = ledger.path();
    let log = path.with_extension("db-wal");
    std::fs::write(&path, "").unwrap();
    std::fs::write(&log, "the last records").unwrap();
    for look in LOOKS {
        assert!(matches!(look(&path), Err(StoreError::Lost { found: "an empty file", .. })));
        assert_eq!(std::fs::read(&log).unwrap(), b"the last records");
    }
}

/// The freezes and quarantines of the one that was here would be gone.
#[test]
fn another_ledger_in_the_place_of_one_that_left_word_is_refused_s0_1() {
    let (ours, other) = (Ledger::filled(), Ledger::filled());
    let mark = ours.path().with_extension("db.origin");
    let origin = ours.open().origin();
    std::fs::copy(other.path(), ours.path()).unwrap();
    for look in LOOKS {
        match look(&ours.path()).map(drop).unwrap_err() {
            StoreError::Lost { found: "another ledger", origin: was, .. } => assert_eq!(was, Some(origin.clone())),
            error => panic!("{error:?}"),
        }
    }
    // Whoever means it removes the word, and the next one who writes leaves their own.
    std::fs::remove_file(&mark).unwrap();
    SqliteStore::open_read_only(ours.path()).unwrap();
    assert!(!mark.exists(), "looking leaves nothing");
    let store = SqliteStore::open_existing(ours.path()).unwrap();
    assert_eq!(std::fs::read_to_string(&mark).unwrap().trim(), store.origin());
}

/// S12.5: not in the rows, not in a free page and not in the log.
#[test]
fn an_erased_text_is_nowhere_in_the_files_s12_5() {
    let ledger = Ledger { directory: tempfile::tempdir().unwrap() };
    let store = ledger.open();
    let mut draft = still("a");
    draft.private = [("reason".to_owned(), "Kirsten asked for it".to_owned())].into();
    store.append_if_head(&Expect::default(), &[draft]).unwrap();
    let has = || {
        let files = std::fs::read_dir(ledger.path().parent().unwrap()).unwrap().map(|file| file.unwrap().path());
        let bytes = files.map(|file| std::fs::read(file).unwrap());
        bytes.into_iter().filter(|bytes| bytes.windows(7).any(|window| window == b"Kirsten")).count()
    };
    assert!(has() > 0);
    assert!(store.erase(0, "reason").unwrap());
    assert_eq!(has(), 0);
    assert_eq!((verify(&store).unwrap().texts, verify(&store).unwrap().erased), (0, 1));
    // Whoever reads keeps the log: that is said, and asking again once they are gone empties it.
    let mut draft = still("b");
    draft.private = [("reason".to_owned(), "Kirsten asked again".to_owned())].into();
    store.append_if_head(&Expect::default(), &[draft]).unwrap();
    let reader = Connection::open(ledger.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    let rows: i64 = reader.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
    assert!(matches!(store.erase(1, "reason"), Err(StoreError::Busy { .. })));
    reader.execute_batch("COMMIT").unwrap();
    assert!(!store.erase(1, "reason").unwrap(), "it is erased already");
    assert_eq!(has(), 0);
    assert_eq!(store.texts(0).unwrap(), [("reason".to_owned(), None)].into());
}

/// Changes one byte of the file as a disk does, and takes it back.
fn with_byte<T>(path: &Path, at: usize, mask: u8, look: impl FnOnce() -> T) -> T {
    let whole = std::fs::read(path).unwrap();
    let mut damaged = whole.clone();
    damaged[at] ^= mask;
    std::fs::write(path, damaged).unwrap();
    let seen = look();
    std::fs::write(path, whole).unwrap();
    seen
}

/// What is found wrong with a file, whether or not it can still be opened.
fn damage(path: &Path) -> Vec<String> {
    let damaged = |error: StoreError| match error {
        StoreError::Integrity { place, found, .. } => vec![format!("{place}: {found}")],
        other => panic!("{other:?}"),
    };
    match SqliteStore::open_read_only(path).map_err(VerifyError::Store).and_then(|store| verify(&store)) {
        Ok(_) => Vec::new(),
        Err(VerifyError::Findings(findings)) => findings.iter().map(ToString::to_string).collect(),
        Err(VerifyError::Store(error)) => damaged(error),
    }
}

#[test]
fn a_byte_of_the_header_of_any_page_that_is_flipped_is_found() {
    let ledger = Ledger::filled();
    let path = ledger.path();
    let (size, page) = (std::fs::metadata(&path).unwrap().len() as usize, 4096);
    assert!(size >= 9 * page && size.is_multiple_of(page), "{size}");
    for number in 0..size / page {
        let header = number * page + if number == 0 { 100 } else { 0 };
        for at in header..header + 8 {
            let found = with_byte(&path, at, 0x41, || damage(&path));
            assert!(!found.is_empty(), "byte {} of page {}", at - header, number + 1);
        }
    }
    assert_eq!(damage(&path), [""; 0]);
}

/// S12: no statement of a verification reads these pages.
#[test]
fn a_page_that_no_row_shows_is_checked_and_named() {
    let ledger = Ledger::filled();
    let connection = Connection::open(ledger.path()).unwrap();
    connection
        .execute_batch("CREATE TABLE gone (x); INSERT INTO gone SELECT hex(zeroblob(9000)); DROP TABLE gone")
        .unwrap();
    let root = |table: &str| -> usize {
        let select = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        connection.query_row(select, [table], |row| row.get::<_, i64>(0)).unwrap() as usize
    };
    let (leases, index) = (root("leases"), root("sqlite_autoindex_records_1"));
    drop(connection);
    let path = ledger.path();
    let file = std::fs::read(&path).unwrap();
    // The header of the file says where the free pages begin: <https://www.sqlite.org/fileformat.html#the_freelist>.
    let free = u32::from_be_bytes(file[32..36].try_into().unwrap()) as usize;
    assert!(free > 0);
    let start = |page: usize| (page - 1) * 4096;
    for (place, at, named) in [
        ("the locks", start(leases), "in the table leases"),
        ("the list of free pages", start(free) + 3, "Freelist"),
        ("how many free pages a page lists", start(free) + 7, "Freelist"),
        ("how many free pages there are", 39, "Freelist"),
        ("how the ids are ordered", start(index) + 1, "in the table records"),
    ] {
        let found = with_byte(&path, at, 0x41, || damage(&path));
        assert!(found.iter().any(|line| line.starts_with("storage: ") && line.contains(named)), "{place}: {found:?}");
    }
    assert_eq!(damage(&path), [""; 0]);
}

#[test]
fn a_swapped_or_wholly_rewritten_record_is_found() {
    let ledger = Ledger::filled();
    let (a, b) = (bytes(&ledger.path(), 3), bytes(&ledger.path(), 6));
    ledger.attack("UPDATE records SET bytes = ?1 WHERE seq = 3", params![b]);
    ledger.attack("UPDATE records SET bytes = ?1 WHERE seq = 6", params![a]);
    let named: Vec<_> = ledger.findings().iter().filter(|f| f.what == What::Position).map(|f| f.seq).collect();
    assert_eq!(named, [Some(3), Some(6)]);

    // A canonical record, with its own leaf set right as well: the next record and the inner nodes tell.
    let ledger = Ledger::filled();
    let mut record: Record = serde_json::from_slice(&bytes(&ledger.path(), 4)).unwrap();
    record.actor.name = "eve".to_owned();
    let forged = promo_core::canonical::to_vec(&record).unwrap();
    ledger.attack("UPDATE records SET bytes = ?1 WHERE seq = 4", params![forged]);
    let leaf = promo_ledger::tree::leaf_hash(&forged);
    ledger.attack("UPDATE nodes SET hash = ?1 WHERE level = 0 AND idx = 4", [leaf.as_bytes()]);
    let findings = ledger.findings();
    assert!(findings.iter().any(|f| (f.what, f.seq) == (What::Previous, Some(5))), "{findings:?}");
    assert!(findings.iter().any(|f| (f.what, f.seq) == (What::Node, Some(5))), "{findings:?}");
}

/// The rows of a consistent ledger that ends early or goes another way, as an attacker with all the code can make it.
fn forge(store: &dyn Store, path: &Path, keep: usize, last: &str) {
    let connection = Connection::open(path).unwrap();
    for name in ["records_follow", "records_remain", "nodes_remain", "consumed_remain"] {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    let raw = store.raw(0, keep).unwrap();
    connection
        .execute_batch(
            "DELETE FROM records; DELETE FROM nodes; DELETE FROM generations; DELETE FROM consumed; DELETE FROM sides;",
        )
        .unwrap();
    let mut frontier = promo_ledger::tree::Frontier::new();
    let mut prev = Digest::of(store.origin().as_bytes());
    let mut generation = 0;
    for (seq, raw) in (0i64..).zip(&raw) {
        let mut record = raw.parse().unwrap();
        if seq as usize + 1 == keep && !last.is_empty() {
            record.actor.name = last.to_owned();
        }
        let bytes = promo_core::canonical::to_vec(&record).unwrap();
        connection.execute("INSERT INTO records VALUES (?1, ?2, ?3)", params![seq, raw.rid, bytes]).unwrap();
        for node in frontier.push(promo_ledger::tree::leaf_hash(&bytes)) {
            let insert = "INSERT INTO nodes VALUES (?1, ?2, ?3)";
            connection.execute(insert, params![node.level, node.index as i64, node.hash.as_bytes()]).unwrap();
        }
        prev = Digest::of(&bytes);
        generation += i64::from(record.environment.is_some());
        if record.environment.is_some() {
            let insert = "INSERT OR REPLACE INTO generations VALUES ('shop', 'dev', ?1, ?2)";
            connection.execute(insert, params![generation, seq]).unwrap();
        }
    }
    let update = "UPDATE ledger SET size = ?1, root = ?2, last = ?3";
    connection.execute(update, params![keep as i64, frontier.root().as_bytes(), prev.as_bytes()]).unwrap();
}

fn moved_ten_times() -> Ledger {
    let ledger = Ledger { directory: tempfile::tempdir().unwrap() };
    let drafts: Vec<_> = (0..10).map(|turn| moving(&format!("r{turn}"), "dev")).collect();
    ledger.open().append_if_head(&Expect::default(), &drafts).unwrap();
    ledger
}

#[test]
fn a_tail_cut_off_consistently_is_found_only_against_a_checkpoint() {
    let ledger = moved_ten_times();
    let store = ledger.open();
    let (full, early) =
        (store.checkpoint().unwrap(), promo_ledger::Checkpoint { size: 0, ..store.checkpoint().unwrap() });
    forge(&store, &ledger.path(), 7, "");
    verify(&store).expect("by itself the shorter ledger is sound: this is what checkpoints are for");
    for result in [verify_against(&store, std::slice::from_ref(&full)).map(drop), extends(&store, &full)] {
        let findings = findings(result);
        assert_eq!(findings[0].what, What::Checkpoint, "{findings:?}");
        assert!(findings[0].expected.contains("at least 10"), "{findings:?}");
    }
    assert_eq!(findings(extends(&store, &early))[0].what, What::Checkpoint, "an empty ledger has one root only");
}

#[test]
fn another_history_of_the_same_length_does_not_extend_a_checkpoint() {
    let ledger = moved_ten_times();
    let store = ledger.open();
    let full = store.checkpoint().unwrap();
    store.append_if_head(&Expect::default(), &[moving("more", "dev")]).unwrap();
    extends(&store, &full).expect("the honest ledger extends it");
    assert_eq!(verify_against(&store, std::slice::from_ref(&full)).unwrap().checkpoints, 1);

    forge(&store, &ledger.path(), 10, "eve");
    verify(&store).expect("by itself the other history is sound");
    let findings_full = findings(verify_against(&store, std::slice::from_ref(&full)).map(drop));
    assert_eq!((findings_full[0].what, findings_full[0].seq), (What::Checkpoint, Some(9)));
    assert_eq!(findings(extends(&store, &full))[0].what, What::Checkpoint);
    store.append_if_head(&Expect::default(), &[moving("again", "dev")]).unwrap();
    assert_eq!(findings(extends(&store, &full))[0].what, What::Checkpoint, "a longer one of the other history either");

    let elsewhere = promo_ledger::Checkpoint { origin: "elsewhere".to_owned(), ..full };
    assert_eq!(findings(extends(&store, &elsewhere))[0].expected, "elsewhere");
}

#[test]
fn records_can_neither_be_changed_nor_deleted_nor_replaced_by_mistake() {
    let ledger = Ledger::filled();
    let connection = Connection::open(ledger.path()).unwrap();
    for sql in [
        "UPDATE records SET bytes = x'00' WHERE seq = 1",
        "DELETE FROM records WHERE seq = 1",
        "INSERT OR REPLACE INTO records VALUES (1, 'x', x'00')",
        "UPDATE nodes SET idx = idx",
        "DELETE FROM nodes",
        "UPDATE sides SET text = ''",
        "UPDATE consumed SET seq = 0",
        "DELETE FROM consumed",
        "UPDATE blobs SET bytes = x''",
        "DELETE FROM blobs",
    ] {
        let error = connection.execute(sql, []).expect_err(sql);
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{sql}: {error}");
    }
    verify(&ledger.open()).unwrap();
}

#[test]
fn the_file_says_what_it_is_and_how_it_is_written() {
    let ledger = Ledger::filled();
    let connection = Connection::open(ledger.path()).unwrap();
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("application_id"), pragma("user_version")), (0x7072_6d6f, 1));
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let version: String = connection.query_row("SELECT sqlite_version()", [], |row| row.get(0)).unwrap();
    let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(parts >= vec![3, 51, 3], "S12.4 asks for 3.51.3 at least: {version}");
    let loose: i64 = connection
        .query_row(
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%' AND strict = 0",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(loose, 0, "every table is strict");
    assert!(ledger.open().origin().starts_with("promo.local/ledger/"));
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let ledger = Ledger::filled();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&ledger.path()), 0o600);
    assert_eq!(mode(ledger.path().parent().unwrap()), 0o700);
}

#[test]
fn a_newer_format_is_read_and_never_written_s12_1() {
    let ledger = Ledger::filled();
    let open_before = ledger.open();
    Connection::open(ledger.path()).unwrap().pragma_update(None, "user_version", 2).unwrap();
    for store in [ledger.open(), open_before] {
        assert_eq!(store.records(0, 100).unwrap().len(), 10);
        let error = store.append_if_head(&Expect::default(), &[still("new")]).unwrap_err();
        assert!(matches!(error, AppendError::Store(StoreError::NewerFormat { found: 2, known: 1 })), "{error:?}");
        assert!(matches!(store.put_blob(b"x"), Err(StoreError::NewerFormat { .. })));
        assert!(matches!(store.erase(2, "reason"), Err(StoreError::NewerFormat { .. })));
        assert_eq!(store.head().unwrap().size, 10);
    }
}

#[test]
fn a_ledger_opened_for_reading_refuses_every_write() {
    let ledger = Ledger::filled();
    let store = SqliteStore::open_read_only(ledger.path()).unwrap();
    assert_eq!(verify(&store).unwrap().records, 10);
    let error = store.append_if_head(&Expect::default(), &[still("new")]).unwrap_err();
    assert!(matches!(error, AppendError::Store(StoreError::ReadOnly)), "{error:?}");
    assert!(matches!(store.put_blob(b"x"), Err(StoreError::ReadOnly)));
    assert!(store.acquire(&["dev".to_owned()], "one", std::time::Duration::from_secs(1)).is_err());
}

#[test]
fn a_ledger_where_no_log_can_be_made_is_still_read_whole() {
    let ledger = Ledger::filled();
    let log = |suffix: &str| PathBuf::from(format!("{}{suffix}", ledger.path().display()));
    assert!(!log("-wal").exists(), "the last one to close the file leaves no log behind");
    // Where SQLite wants to put its shared memory there is something else, as on a medium that cannot be written.
    std::fs::create_dir(log("-shm")).unwrap();
    for store in [SqliteStore::open(ledger.path()).unwrap(), SqliteStore::open_read_only(ledger.path()).unwrap()] {
        verify(&store).unwrap();
        assert!(store.head().unwrap().size > 0);
        let refused = store.append_if_head(&Expect::default(), &[started(9)]).unwrap_err();
        assert!(matches!(refused, AppendError::Store(StoreError::ReadOnly)), "{refused}");
    }
}

#[test]
fn a_ledger_that_must_be_there_is_written_and_never_made_s0_1() {
    let ledger = Ledger::filled();
    let store = SqliteStore::open_existing(ledger.path()).unwrap();
    store.append_if_head(&Expect::default(), &[still("new")]).unwrap();
    assert_eq!(verify(&ledger.open()).unwrap().records, 11);

    let missing = ledger.directory.path().join("missing/ledger.db");
    assert!(matches!(SqliteStore::open_existing(&missing), Err(StoreError::Io { .. })));
    assert!(!missing.parent().unwrap().exists());
    let empty = ledger.directory.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(SqliteStore::open_existing(&empty), Err(StoreError::Lost { found: "an empty file", .. })));
    assert_eq!(std::fs::read(&empty).unwrap(), b"", "an empty file stays one");
}

/// What is lost is not made anew by mistake, and what was never there is made whole or not at all.
#[test]
fn a_ledger_that_was_there_is_not_made_anew_where_it_left_something_behind_s0_1() {
    let lost = |path: &std::path::Path, found: &str, origin: Option<&str>| match SqliteStore::open(path).unwrap_err() {
        StoreError::Lost { found: now, origin: was, .. } => {
            assert_eq!((now, was.as_deref()), (found, origin));
        }
        other => panic!("{other:?}"),
    };
    let ledger = Ledger::filled();
    let (path, origin) = (ledger.path(), ledger.open().origin());
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    std::fs::remove_file(&path).unwrap();
    lost(&path, "no file", Some(&origin));
    std::fs::write(&path, "").unwrap();
    lost(&path, "an empty file", Some(&origin));
    std::fs::remove_file(beside(".origin")).unwrap();
    lost(&path, "an empty file", None);
    std::fs::remove_file(&path).unwrap();
    for log in ["-wal", "-journal"] {
        std::fs::write(beside(log), "x").unwrap();
        lost(&path, "no file", None);
        assert!(matches!(SqliteStore::not_lost(&path), Err(StoreError::Lost { .. })));
        std::fs::remove_file(beside(log)).unwrap();
    }
    SqliteStore::not_lost(&path).unwrap();
    assert!(!path.exists());
    let made = SqliteStore::open(&path).unwrap();
    assert_ne!(made.origin(), origin);
    assert_eq!(std::fs::read_to_string(beside(".origin")).unwrap().trim(), made.origin());
    drop(made);
    let mut left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["ledger.db", "ledger.db.origin"], "nothing of its making is left");
}

#[test]
fn what_is_no_ledger_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.db");
    assert!(SqliteStore::open_read_only(&missing).is_err());
    assert!(!missing.exists(), "reading makes no file");

    let other = directory.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x); PRAGMA application_id = 7;").unwrap();
    let before = std::fs::read(&other).unwrap();
    for error in [SqliteStore::open(&other).unwrap_err(), SqliteStore::open_read_only(&other).unwrap_err()] {
        assert!(matches!(error, StoreError::NotALedger { found: 7, .. }), "{error:?}");
    }
    assert_eq!(std::fs::read(&other).unwrap(), before);

    let text = directory.path().join("text");
    std::fs::write(&text, "this is a text and no database at all, however long it may be").unwrap();
    assert!(matches!(SqliteStore::open(&text), Err(StoreError::NoDatabase { .. })));
    assert!(matches!(SqliteStore::open_read_only(&text), Err(StoreError::NoDatabase { .. })));
    // What begins as a database and is none was one.
    std::fs::write(&text, b"SQLite format 3\0 and then a text").unwrap();
    assert!(matches!(SqliteStore::open(&text), Err(StoreError::Integrity { .. })));
}

#[test]
fn threads_that_open_a_new_ledger_at_once_open_the_same_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/ledger.db");
    let origins: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| SqliteStore::open(&path).unwrap().origin())).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    assert_eq!(origins.len(), 1);
}

#[test]
fn verification_holds_while_others_append() {
    let ledger = moved_ten_times();
    let reports = std::thread::scope(|scope| {
        scope.spawn(|| {
            let store = ledger.open();
            for turn in 0..30 {
                store.append_if_head(&Expect::default(), &[moving(&format!("w{turn}"), "dev")]).unwrap();
            }
        });
        let store = ledger.open();
        (0..10).map(|_| verify(&store).unwrap().records).collect::<Vec<_>>()
    });
    assert!(reports.is_sorted() && reports[0] >= 10, "{reports:?}");
}

/// The part of a second process: run by the test below, and nothing by itself.
#[test]
fn another_process_appends() {
    let Ok(path) = std::env::var("PROMO_TEST_LEDGER") else { return };
    let store = SqliteStore::open(path).unwrap();
    let id = std::process::id();
    for turn in 0..10 {
        store.append_if_head(&Expect::default(), &[moving(&format!("p{id}-{turn}"), "dev")]).unwrap();
    }
    let once = Expect { consume: vec![Digest::of(b"plan")], ..Expect::default() };
    match store.append_if_head(&once, &[still(&format!("w{id}"))]) {
        Ok(_) | Err(AppendError::AlreadyConsumed { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the test needs a second process, and the runner of promo-engine is above"
)]
fn processes_that_write_one_file_lose_nothing_and_use_a_plan_once() {
    let ledger = moved_ten_times();
    let spawn = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "another_process_appends"])
            .env("PROMO_TEST_LEDGER", ledger.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| spawn()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = ledger.open();
    assert_eq!(verify(&store).unwrap().records, 10 + 4 * 10 + 1, "one process alone used the plan");
    assert!(store.consumed_by(&Digest::of(b"plan")).unwrap().is_some());
}
