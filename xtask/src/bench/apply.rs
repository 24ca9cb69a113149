//! What an apply costs beside the work itself: a reviewed plan of many moves that do nothing, with every record written, next to
//! `terraform apply` of as many resources that do nothing.

use super::graph::{Shape, fixture, name, resources, terraform};
use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, copy_files, remove, write};
use crate::Outcome;
use crate::process::Run;
use std::fs;
use std::path::{Path, PathBuf};

/// A peer that applies more than this takes minutes, so it runs only when asked for.
const PEER_UP_TO: usize = 100;

fn bar(nodes: usize) -> Bar {
    match nodes {
        1_000 => Bar { cpu: Some(5.0), ..Bar::NONE },
        _ => Bar::NONE,
    }
}

/// Both shapes in every size, and what it costs to look at them afterwards.
pub(super) fn run(bench: &Bench) -> Outcome {
    let peer = terraform();
    if peer.is_none() {
        eprintln!("no terraform on PATH and no PROMO_PEER_TERRAFORM: the rows of `apply` have no peer");
    }
    for shape in [Shape::Chain, Shape::Layers] {
        table::head(&format!("apply, {shape:?}"), "KiB written");
        let (mut before, mut applied) = (None, Vec::new());
        for nodes in [100, 1_000] {
            let dir = bench.dir(&format!("apply-{shape:?}-{nodes}"))?;
            fixture(bench, &dir, shape, nodes)?;
            let plan =
                ["--policy", "policy.toml", "plan", "--until", &name(nodes - 1), "--out", "plan.json", "--as", "ci"];
            bench.promo(&dir).args(plan).quiet()?;
            let (ledger, kept) = (dir.join(".promo"), dir.join("kept"));
            copy_files(&ledger, &kept)?;
            let ours = || {
                let words = ["--policy", "policy.toml", "--events", "events", "apply", "plan.json", "--as", "ci"];
                let line = [bench.promo.as_os_str()].into_iter().chain(words.map(AsRef::as_ref));
                Measured::new(line, &dir, &bench.work)
            };
            let again = || {
                remove(&ledger)?;
                copy_files(&kept, &ledger)
            };
            let written = || Ok(Some(kib(&ledger.join("ledger.db"))? + kib(&dir.join("events"))?));
            let theirs = dir.join("terraform");
            let state = theirs.join("terraform.tfstate");
            let mut contenders = vec![Contender::new("promo", ours).prepare(again).note(written)];
            if let Some(peer) = peer.as_ref().filter(|_| nodes <= PEER_UP_TO || bench.full) {
                write(&theirs.join("main.tf"), resources(shape, nodes))?;
                Run::new(peer).args(["init", "-input=false"]).dir(&theirs).quiet()?;
                let start = || {
                    let words = ["apply", "-input=false", "-auto-approve"].map(AsRef::as_ref);
                    Measured::new([peer.as_os_str()].into_iter().chain(words), &theirs, &bench.work)
                };
                let again = || match fs::remove_file(&state) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
                    _ => Ok(()),
                };
                let written = || kib(&state).map(Some);
                let terraform = Contender::new("terraform", start).prepare(again).note(written);
                contenders.push(terraform.at_most(if nodes < 1_000 { u32::MAX } else { 1 }));
            }
            let cpu = table::row(bench, &format!("{nodes}"), contenders, bench.runs, bar(nodes))?;
            table::growth(bench, &mut before, nodes, cpu, 1.1);
            applied.push((nodes, dir));
        }
        afterwards(bench, shape, &applied)?;
    }
    Ok(())
}

/// What it costs to look at environments that all stand where they should: nothing moves, and everything is looked at.
fn afterwards(bench: &Bench, shape: Shape, applied: &[(usize, PathBuf)]) -> Outcome {
    for verb in ["status", "plan"] {
        table::head(&format!("{verb} after that, {shape:?}"), "");
        let mut before = None;
        for (nodes, dir) in applied {
            let ours = || {
                let words = ["--policy", "policy.toml", verb];
                let line = [bench.promo.as_os_str()].into_iter().chain(words.map(AsRef::as_ref));
                Measured::new(line, dir, &bench.work)
            };
            let contenders = vec![Contender::new("promo", ours)];
            let cpu = table::row(bench, &format!("{nodes}"), contenders, bench.runs, Bar::NONE)?;
            table::growth(bench, &mut before, *nodes, cpu, 1.2);
        }
    }
    Ok(())
}

/// What a file holds, in KiB.
fn kib(path: &Path) -> Outcome<f64> {
    let size = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    Ok(f64::from(u32::try_from(size >> 10).unwrap_or(u32::MAX)))
}
