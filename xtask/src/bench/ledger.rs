//! The ledger: appends that are safe on disk next to the disk's own rate, and the verification of a long one.

use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, write};
use crate::Outcome;
use crate::process::Run;
use std::fs;
use std::path::Path;

/// How many records are appended, one transaction each.
const APPENDS: &str = "1000";
/// Appends against the disk's own rate.
const RAW: Bar = Bar { against: Some(1.3), ..Bar::NONE };
/// The slowest hundredth of the appends to a long ledger against that of an empty one.
const LATENCY: Bar = Bar { noted_against: Some(1.2), ..Bar::NONE };

/// All rows.
pub(super) fn run(bench: &Bench) -> Outcome {
    let load = bench.ledger_load.as_ref().ok_or("ledger_load was not built")?;
    let dir = bench.dir("ledger")?;
    let (ledger, raw, full) = (dir.join("append.db"), dir.join("raw"), dir.join("long.db"));
    table::head("ledger", "");
    let start = |verb: &'static str, path: &Path| {
        let words = [load.as_os_str(), verb.as_ref(), path.as_os_str(), APPENDS.as_ref()];
        Measured::new(words, &dir, &bench.work)
    };
    let contenders = vec![
        Contender::new("promo-ledger", || start("append", &ledger)).prepare(|| gone(&ledger)),
        Contender::new("write and fsync, once a record", || start("raw", &raw)).prepare(|| gone(&raw)),
    ];
    table::row(bench, &format!("{APPENDS} appends"), contenders, bench.runs, RAW)?;

    latency(bench, load, &dir)?;

    write(&dir.join("promo.toml"), PIPELINE)?;
    let sizes: &[(&str, Bar)] = &[
        ("100000", Bar { wall: Some(3.0), peak: Some(256.0), ..Bar::NONE }),
        ("1000000", Bar { wall: Some(30.0), peak: Some(256.0), ..Bar::NONE }),
    ];
    for (records, bar) in sizes.iter().take(if bench.full { 2 } else { 1 }) {
        gone(&full)?;
        Run::new(load).args(["fill".as_ref(), full.as_os_str(), records.as_ref()]).quiet()?;
        let verify = || {
            let words = ["--ledger".as_ref(), full.as_os_str(), "ledger".as_ref(), "verify".as_ref()];
            Measured::new([bench.promo.as_os_str()].into_iter().chain(words), &dir, &bench.work)
        };
        let runs = bench.runs.min(3);
        table::row(bench, &format!("verify {records} records"), vec![Contender::new("promo", verify)], runs, *bar)?;
    }
    Ok(())
}

/// Removes a ledger, with what says beside it that one was made here.
fn gone(path: &Path) -> Outcome {
    for file in [path.to_owned(), path.with_added_extension("origin")] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What 99 of 100 appends stay under, in an empty ledger and behind many records.
fn latency(bench: &Bench, load: &Path, dir: &Path) -> Outcome {
    let records = if bench.full { "1000000" } else { "100000" };
    let (long, kept, short) = (dir.join("long.db"), dir.join("kept.db"), dir.join("short.db"));
    gone(&kept)?;
    Run::new(load).args(["fill".as_ref(), kept.as_os_str(), records.as_ref()]).quiet()?;
    let start = |path: &Path| {
        let words = [load.as_os_str(), "latency".as_ref(), path.as_os_str(), APPENDS.as_ref()];
        Measured::new(words, dir, &bench.work)
    };
    let p99 = |path: &Path| -> Outcome<Option<f64>> {
        let place = path.with_added_extension("p99");
        let text = fs::read_to_string(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        text.parse().map(Some).map_err(|error| format!("{text}: {error}"))
    };
    let again = || {
        gone(&long)?;
        fs::copy(&kept, &long).map(drop).map_err(|error| format!("{}: {error}", kept.display()))
    };
    let contenders = vec![
        Contender::new(format!("behind {records}"), || start(&long)).prepare(again).note(|| p99(&long)),
        Contender::new("empty", || start(&short)).prepare(|| gone(&short)).note(|| p99(&short)),
    ];
    table::head("ledger, latency", "p99 µs of an append");
    table::row(bench, &format!("{APPENDS} appends"), contenders, bench.runs, LATENCY)?;
    gone(&long)
}

const PIPELINE: &str = "format = 1\n[pipeline]\nname = \"bench\"\n[artifacts.app]\nimage = \"oci-layout:registry/app\"\n\
                        [environments.dev]\ntier = \"development\"\ndeploy = \"none\"\n";
