//! The ledger: appends that are safe on disk next to the disk's own rate, and the verification of a long one.

use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, write};
use crate::Outcome;
use crate::process::Run;
use std::fs;

/// How many records are appended, one transaction each.
const APPENDS: &str = "1000";

/// Both rows.
pub(super) fn run(bench: &Bench) -> Outcome {
    let load = bench.ledger_load.as_ref().ok_or("ledger_load was not built")?;
    let dir = bench.dir("ledger")?;
    let (ledger, raw, full) = (dir.join("append.db"), dir.join("raw"), dir.join("long.db"));
    table::head("ledger", "");
    let gone = |path: &std::path::Path| -> Outcome {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
            _ => Ok(()),
        }
    };
    let start = |verb: &'static str, path: &std::path::Path| {
        let words = [load.as_os_str(), verb.as_ref(), path.as_os_str(), APPENDS.as_ref()];
        Measured::new(words, &dir, &bench.work)
    };
    let contenders = vec![
        Contender::new("promo-ledger", || start("append", &ledger)).prepare(|| gone(&ledger)),
        Contender::new("write and fsync, once a record", || start("raw", &raw)).prepare(|| gone(&raw)),
    ];
    table::row(&format!("{APPENDS} appends"), contenders, bench.runs, Bar::default())?;

    write(&dir.join("promo.toml"), PIPELINE)?;
    let sizes: &[(&str, Bar)] = &[
        ("100000", Bar { wall: Some(3.0), peak: Some(256.0), ..Bar::default() }),
        ("1000000", Bar { wall: Some(30.0), peak: Some(256.0), ..Bar::default() }),
    ];
    for (records, bar) in sizes.iter().take(if bench.full { 2 } else { 1 }) {
        gone(&full)?;
        Run::new(load).args(["fill".as_ref(), full.as_os_str(), records.as_ref()]).quiet()?;
        let verify = || {
            let words = ["--ledger".as_ref(), full.as_os_str(), "ledger".as_ref(), "verify".as_ref()];
            Measured::new([bench.promo.as_os_str()].into_iter().chain(words), &dir, &bench.work)
        };
        let runs = bench.runs.min(3);
        table::row(&format!("verify {records} records"), vec![Contender::new("promo", verify)], runs, *bar)?;
    }
    Ok(())
}

const PIPELINE: &str = "format = 1\n[pipeline]\nname = \"bench\"\n[artifacts.app]\nimage = \"oci-layout:registry/app\"\n\
                        [environments.dev]\ntier = \"development\"\ndeploy = \"none\"\n";
