//! What may enter which environment: a thousand pipelines of six environments with fifty releases each.

use super::Bench;
use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use crate::Outcome;
use std::fs;

/// How many pipelines promo is asked about, and how many the slow reference.
const PIPELINES: [&str; 2] = ["1000", "10"];

/// The noted milliseconds are of the asking alone, on one core; the processes make up and fold the histories first.
const BAR: Bar = Bar { note: Some(1_000.0), ..Bar::NONE };

/// Both questions, and the slow reference of the tests beside the first.
pub(super) fn run(bench: &Bench) -> Outcome {
    let load = bench.eligibility_load.as_ref().ok_or("eligibility_load was not built")?;
    let dir = bench.dir("eligibility")?;
    let took = dir.join("took");
    let start = |who: &'static str, count: &'static str| {
        let words = [load.as_os_str(), who.as_ref(), count.as_ref(), took.as_os_str()];
        Measured::new(words, &dir, &bench.work)
    };
    let asking = || -> Outcome<Option<f64>> {
        let text = fs::read_to_string(&took).map_err(|error| format!("{}: {error}", took.display()))?;
        text.parse().map(Some).map_err(|error| format!("{text}: {error}"))
    };
    let [all, few] = PIPELINES;
    table::head(&format!("eligibility, {all} pipelines of 6 environments with 50 releases"), "ms of asking");
    let sets = vec![
        Contender::new("promo", || start("sets", all)).note(asking),
        Contender::new(format!("slow reference, {few} pipelines"), || start("reference", few)).note(asking).at_most(3),
    ];
    table::row(bench, "what may enter", sets, bench.runs, BAR)?;
    let gates = vec![Contender::new("promo", || start("gates", all)).note(asking)];
    table::row(bench, "every gate of every release", gates, bench.runs, Bar::NONE).map(drop)
}
