//! `plan --until LAST` over graphs of many environments, next to `terraform plan` over as many resources.

use super::graph::{Shape, fixture, name, resources, terraform};
use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, write};
use crate::Outcome;
use crate::process::Run;

/// A peer that needs this many nodes takes minutes, so it runs only when asked for.
const PEER_UP_TO: usize = 1_000;

/// What promo may cost with so many nodes. Directories have no peer, and each of them is deployed to, checked and gone back
/// from: their memory is held to what was reached.
fn bar(shape: Shape, nodes: usize) -> Bar {
    match (nodes, shape) {
        (1_000, _) => Bar { cpu: Some(0.15), peak: Some(60.0), ..Bar::NONE },
        (10_000, Shape::Directories) => Bar { cpu: Some(1.5), peak: Some(330.0), ..Bar::NONE },
        (10_000, _) => Bar { cpu: Some(1.5), peak: Some(250.0), ..Bar::NONE },
        _ => Bar::NONE,
    }
}

/// Every shape in every size.
pub(super) fn run(bench: &Bench) -> Outcome {
    let peer = terraform();
    if peer.is_none() {
        eprintln!("no terraform on PATH and no PROMO_PEER_TERRAFORM: the rows of `plan` have no peer");
    }
    for shape in [Shape::Chain, Shape::Layers, Shape::Flat, Shape::Directories] {
        table::head(&format!("plan --until LAST, {shape:?}"), "");
        let mut before = None;
        for nodes in [100, 1_000, 10_000] {
            let dir = bench.dir(&format!("plan-{shape:?}-{nodes}"))?;
            fixture(bench, &dir, shape, nodes)?;
            let ours = || {
                let words = ["--policy", "policy.toml", "plan", "--until", &name(nodes - 1)].map(String::from);
                let line = std::iter::once(bench.promo.clone().into_os_string()).chain(words.map(Into::into));
                Measured::new(line, &dir, &bench.work)
            };
            let theirs = dir.join("terraform");
            let mut contenders = vec![Contender::new("promo", ours)];
            let compared = shape != Shape::Directories && (nodes <= PEER_UP_TO || bench.full);
            if let Some(peer) = peer.as_ref().filter(|_| compared) {
                write(&theirs.join("main.tf"), resources(shape, nodes))?;
                Run::new(peer).args(["init", "-input=false"]).dir(&theirs).quiet()?;
                let start = || {
                    Measured::new([peer.as_os_str(), "plan".as_ref(), "-input=false".as_ref()], &theirs, &bench.work)
                };
                contenders.push(Contender::new("terraform", start).at_most(if nodes < 1_000 { u32::MAX } else { 3 }));
            }
            let cpu = table::row(bench, &format!("{nodes}"), contenders, bench.runs, bar(shape, nodes))?;
            table::growth(bench, &mut before, nodes, cpu, 1.2);
        }
    }
    Ok(())
}
