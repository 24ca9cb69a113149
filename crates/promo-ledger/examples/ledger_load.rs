//! Fills ledgers for the benchmarks: `cargo xtask bench ledger` starts this and measures the process.
//!
//! `ledger_load append FILE COUNT` appends as many records to a new ledger, one transaction each. `raw` writes as many
//! blocks of about the same size to a plain file and syncs after each: what the disk allows. `fill` appends many records
//! a transaction, for a ledger that is long. `latency` goes on appending to a ledger, one transaction each, and writes the
//! microseconds that 99 of 100 appends stayed under to `FILE.p99`.
#![expect(clippy::print_stderr, reason = "a tool of the benchmarks talks to whoever started it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::ReleaseId;
use promo_core::ledger::{Actor, ActorKind, Draft, Event};
use promo_core::release::{Release, ReleaseContent};
use promo_ledger::{Expect, SqliteStore, Store as _};

/// Records of one transaction of `fill`.
const BATCH: u64 = 1_000;

/// One record in this many adds a release; the others are verdicts on the newest one.
const PER_RELEASE: u64 = 100;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [verb, path, count] => match count.parse() {
            Ok(count) => load(verb, Path::new(path), count),
            Err(error) => Err(Box::from(format!("{count}: {error}"))),
        },
        _ => Err("usage: ledger_load append|fill|latency|raw FILE COUNT".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(verb: &str, path: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    match verb {
        "append" => append(path, count, 1).map(drop),
        "fill" => append(path, count, BATCH).map(drop),
        "latency" => latency(path, count),
        "raw" => raw(path, count),
        _ => Err(format!("`{verb}` is none of append, fill, latency, raw").into()),
    }
}

/// Appends so many records behind those that are there, and gives what each transaction took.
fn append(path: &Path, count: u64, batch: u64) -> Result<Vec<Duration>, Box<dyn Error>> {
    let store = SqliteStore::open(path)?;
    let mut release = ReleaseContent { components: BTreeMap::new(), files: BTreeMap::new() }.id();
    let mut took = Vec::new();
    // A batch begins with a release, so that what follows has one to speak about.
    let mut done = store.head()?.size.next_multiple_of(PER_RELEASE);
    let end = done + count;
    while done < end {
        let until = (done + batch).min(end);
        let drafts: Vec<Draft> = (done..until).map(|n| draft(n, &mut release)).collect();
        let begun = Instant::now();
        store.append_if_head(&Expect::default(), &drafts)?;
        took.push(begun.elapsed());
        done = until;
    }
    Ok(took)
}

fn latency(path: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    let mut took = append(path, count, 1)?;
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).ok_or("no append was measured")?;
    let place = path.with_added_extension("p99");
    Ok(std::fs::write(place, p99.as_micros().to_string())?)
}

fn draft(n: u64, newest: &mut ReleaseId) -> Draft {
    let event = if n.is_multiple_of(PER_RELEASE) {
        let artifact = "app".parse().expect("invariant: `app` is a name");
        let digest = Digest::of(&n.to_le_bytes());
        let content = ReleaseContent { components: [(artifact, digest)].into(), files: BTreeMap::new() };
        *newest = content.id();
        let release = Release { id: newest.clone(), content, sources: BTreeMap::new(), alias: None };
        Event::ReleaseAdded { release }
    } else {
        Event::VerdictRecorded {
            environment: "dev".parse().expect("invariant: `dev` is a name"),
            release: newest.clone(),
            check: "smoke".parse().expect("invariant: `smoke` is a name"),
            passed: true,
            unanswered: false,
            by: None,
            signed: None,
        }
    };
    Draft {
        rid: format!("bench-{n:012}"),
        pipeline: "bench".parse().expect("invariant: `bench` is a name"),
        environment: None,
        run: None,
        step: None,
        epoch: None,
        plan: None,
        policy: None,
        actor: Actor { name: "ci".into(), kind: ActorKind::Automation },
        claimed_at: Timestamp::UNIX_EPOCH,
        tool: "promo bench".into(),
        event,
        private: BTreeMap::new(),
    }
}

fn raw(path: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    // One page of the database: the least that a commit writes.
    let page = [7u8; 4096];
    let mut file = std::fs::File::create_new(path)?;
    for _ in 0..count {
        file.write_all(&page)?;
        file.sync_data()?;
    }
    Ok(())
}
