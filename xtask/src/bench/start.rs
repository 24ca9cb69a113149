//! Start-up, and the quickstart from beginning to end.

use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, remove};
use crate::Outcome;

/// What a verb that does next to nothing may cost.
const START: Bar = Bar { wall: Some(0.02), peak: Some(20.0), ..Bar::NONE };

/// `--version`, `--help`, and `status` of the ledger that the quickstart leaves.
pub(super) fn run(bench: &Bench) -> Outcome {
    let dir = bench.dir("start")?;
    let shop = dir.join("shop");
    bench.promo(&dir).args(["quickstart".as_ref(), shop.as_os_str()]).quiet()?;
    table::head("start-up", "");
    let nothing = || Measured::new(["true"], &dir, &bench.work);
    table::row(bench, "an empty process", vec![Contender::new("true", nothing)], bench.runs, Bar::NONE)?;
    let peer = super::graph::terraform();
    for (name, words, bar) in [
        ("--version", &["--version"][..], START),
        ("--help", &["--help"], START),
        ("status, small ledger", &["--policy", "policy.toml", "status"], START),
        ("plan, small ledger", &["--policy", "policy.toml", "plan"], Bar { peak: None, ..START }),
    ] {
        let ours = || {
            let line = [bench.promo.as_os_str()].into_iter().chain(words.iter().map(std::ffi::OsStr::new));
            Measured::new(line, &shop, &bench.work)
        };
        let mut contenders = vec![Contender::new("promo", ours)];
        if let (Some(peer), "--version") = (&peer, name) {
            let theirs = || Measured::new([peer.as_os_str(), "version".as_ref()], &dir, &bench.work);
            contenders.push(Contender::new("terraform version", theirs));
        }
        table::row(bench, name, contenders, bench.runs.max(15), bar)?;
    }
    Ok(())
}

/// The whole tour: two releases, five environments, one rollback.
pub(super) fn quickstart(bench: &Bench) -> Outcome {
    let dir = bench.dir("quickstart")?;
    let into = dir.join("shop");
    table::head("quickstart", "");
    let tour = || Measured::new([bench.promo.as_os_str(), "quickstart".as_ref(), into.as_os_str()], &dir, &bench.work);
    let contender = Contender::new("promo", tour).prepare(|| remove(&into));
    table::row(bench, "quickstart", vec![contender], bench.runs, Bar::NONE).map(drop)
}
