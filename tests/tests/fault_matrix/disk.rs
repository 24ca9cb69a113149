//! The disk beneath the ledger fails or is full: at its Nth call, N rising until what was to be done succeeds. SQLite itself
//! meets the error, as the kernel gives it ([`promo_tests::failing_disk`]). What must not live here: any other fault.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use nix::errno::Errno;
use promo_ledger::Store as _;
use promo_tests::cells::{Cells, End, Host, Scenario};
use promo_tests::failing_disk::{self, Calls, Failure, Traced};

use crate::PROGRAM;
use crate::judge::{Clean, over, settled, sound, told};

fn run(cells: &Cells, failure: Failure, words: &[&str], ends: &mut Vec<(String, End)>) -> Traced {
    let ledger = cells.path("world/shared/ledger.db");
    let traced = failing_disk::run(PROGRAM, words, &ledger, Some(failure), |it| cells.dressed(it, Host::One));
    ends.push((format!("promo-faults {} # {failure:?}: {:?}", words.join(" "), traced.failed), traced.end.clone()));
    traced
}

/// How a command ends that the ledger's disk stops at its first failing call.
fn refused(end: &End, first: &str) {
    let error = end.error.as_deref().unwrap();
    let code = match error {
        // SQLite takes a page that the disk cannot give back for one that is broken.
        "ledger-damaged" if first == "pread64 ledger" || first == "pread64 ledger.new" => 30,
        "ledger-unusable" | "run-began" => 74,
        _ => panic!("{error} where {first} fails: {}", end.said),
    };
    assert_eq!(end.code, Some(code), "{}", end.said);
    assert!(end.said.contains("Next: promo "), "{}", end.said);
}

/// One apply while the disk fails, and one resume after that; where no run had begun, one apply. The calls that failed.
fn cell(cells: &Cells, clean: &Clean, failure: Failure, ends: &mut Vec<(String, End)>) -> Vec<String> {
    cells.reset();
    let Traced { end, failed, counted } = run(cells, failure, &["apply", "plan.json"], ends);
    let begun = told(cells);
    let Some(first) = failed.first() else {
        // The sweep is over because it succeeded with fewer calls than that; how many they are depends on what waits for what.
        assert_eq!((end.code, end.error.as_deref()), (Some(0), None), "{}", end.said);
        assert!(counted < failure.from, "{counted} calls were counted, and none of them failed");
        return failed;
    };
    match end.error.as_deref() {
        // What is only tidied up at the end may fail: the run is over, and says so.
        None => assert_eq!((end.code, begun.outcome), (Some(0), Some(clean.outcome)), "{}", end.said),
        Some(_) => refused(&end, first),
    }
    let words = match &begun.run {
        Some(run) => vec!["resume", run],
        None => {
            // A lock without a run is nobody's to resume: it runs out.
            if !cells.ledger().leases().unwrap().is_empty() {
                cells.wait_for_locks();
            }
            vec!["apply", "plan.json"]
        }
    };
    let end = cells.run(Host::Two, None, &words);
    ends.push((format!("promo-faults {}", words.join(" ")), end.clone()));
    assert_eq!((end.code, end.error.as_deref()), (Some(0), None), "{}", end.said);
    let told = over(cells, Host::Two, &end, ends);
    sound(cells, &told);
    settled(cells, &told);
    assert_eq!((told.outcome, &told.ends), (Some(clean.outcome), &clean.ends));
    assert_eq!(cells.contents().into_keys().collect::<BTreeSet<_>>(), clean.paths, "files are missing or left over");
    if !cells.ledger().leases().unwrap().is_empty() {
        cells.wait_for_locks();
        assert_eq!(cells.ledger().leases().unwrap(), [], "a lock was left behind");
    }
    failed
}

/// The disk fails at each call in turn, until the apply needs none that would fail. The calls that failed.
fn sweep(failure: Failure) -> Vec<String> {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    let clean = Clean::new(&cells);
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for from in 1.. {
        let failure = Failure { from, ..failure };
        let mut ends = Vec::new();
        match catch_unwind(AssertUnwindSafe(|| cell(&cells, &clean, failure, &mut ends))) {
            Ok(failed) if failed.is_empty() => break,
            Ok(failed) => all.extend(failed.into_iter().next()),
            Err(panic) => {
                let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let kept = cells.bundle(&format!("disk {:?} {} {from}", failure.calls, failure.error), &ends);
                wrong.push(format!("{failure:?}: {why}\n  kept in {}\n", kept.display()));
                assert!(wrong.len() < 10 && from < 10_000, "{}", wrong.join("\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), all.len() + wrong.len(), wrong.join("\n"));
    all
}

#[test]
fn wherever_the_disk_beneath_the_ledger_fails_once_one_resume_ends_it_as_if_nothing_had_been() {
    let failed = sweep(Failure { calls: Calls::All, from: 1, lasting: false, error: Errno::EIO });
    let kinds: BTreeSet<&str> = failed.iter().map(String::as_str).collect();
    for kind in ["openat ledger", "pread64 ledger", "pwrite64 ledger-wal", "fsync ledger-wal", "pwrite64 ledger"] {
        assert!(kinds.contains(kind), "{kind} never fails: {kinds:?}");
    }
    assert!(failed.len() > 100, "{failed:?}");
}

#[test]
fn however_full_the_disk_is_beneath_the_ledger_one_resume_ends_it_once_there_is_space() {
    let failed = sweep(Failure { calls: Calls::Growing, from: 1, lasting: true, error: Errno::ENOSPC });
    assert!(failed.len() > 50, "{failed:?}");
}

/// The first verb that writes, where there is no ledger yet.
const FREEZE: [&str; 4] = ["freeze", "stage", "--reason", "the fair is on"];

/// All that a ledger leaves: where some of it is, it is lost and not made anew.
fn files(cells: &Cells) -> Vec<PathBuf> {
    let all = std::fs::read_dir(cells.path("world/shared")).unwrap().map(|file| file.unwrap().path());
    all.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger.db"))).collect()
}

/// Removes the ledger.
fn unmake(cells: &Cells) {
    cells.reset();
    for path in files(cells) {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn where_there_are_no_hard_links_no_ledger_is_made_nothing_is_left_and_it_is_said_where_and_what_to_do() {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    for error in [Errno::EPERM, Errno::EOPNOTSUPP] {
        unmake(&cells);
        let failure = Failure { calls: Calls::Linking, from: 1, lasting: true, error };
        let Traced { end, failed, .. } = run(&cells, failure, &FREEZE, &mut Vec::new());
        assert_eq!(failed, ["linkat ledger.new"], "{error}: {}", end.said);
        refused(&end, &failed[0]);
        for told in ["shared/ledger.db: its file system has no hard links", "`--ledger`"] {
            assert!(end.said.contains(told), "{error}, {told}: {}", end.said);
        }
        assert_eq!(files(&cells), Vec::<PathBuf>::new(), "{error}");
        assert_eq!(cells.run(Host::Two, None, &FREEZE).code, Some(0), "{error}");
    }
}

#[test]
fn a_ledger_that_could_not_be_made_is_made_by_the_next_command() {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    let (freeze, nothing) = (FREEZE, || unmake(&cells));
    nothing();
    let [once, twice] = [(); 2].map(|()| {
        assert_eq!(cells.run(Host::Two, None, &freeze).code, Some(0));
        cells.ledger().head().unwrap().size
    });
    assert!(0 < once && once < twice, "{once} and {twice} records");
    for (calls, error, lasting) in [(Calls::All, Errno::EIO, false), (Calls::Growing, Errno::ENOSPC, true)] {
        let mut times = 0;
        for from in 1.. {
            nothing();
            let failure = Failure { calls, from, lasting, error };
            let Traced { end, failed, .. } = run(&cells, failure, &freeze, &mut Vec::new());
            let at = format!("{failure:?} {failed:?}: {}", end.said);
            let was_told = end.error.is_none();
            if was_told {
                assert_eq!(end.code, Some(0), "{at}");
            } else {
                refused(&end, &failed[0]);
            }
            let again = cells.run(Host::Two, None, &freeze);
            assert_eq!(again.code, Some(0), "{at}: {}", again.said);
            let ledger = cells.ledger();
            promo_ledger::verify(&ledger).unwrap();
            // What was said to be recorded is; of the rest nobody knows before looking.
            let size = ledger.head().unwrap().size;
            assert!(size == twice || (size == once && !was_told), "{size} records: {at}");
            if failed.is_empty() {
                break;
            }
            times += 1;
        }
        assert!(times > 15, "{error} at {times} calls");
    }
}
