//! `plan --until LAST` over graphs of many environments, next to `terraform plan` over as many resources.

use super::image::Image;
use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, write};
use crate::Outcome;
use crate::process::Run;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How the environments hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One after the other.
    Chain,
    /// Layers of ten, each after all ten of the layer before it.
    Layers,
    /// All side by side, and one last that joins them.
    Flat,
    /// A chain whose environments deploy into directories, with a file that all share and a check.
    Directories,
}

/// Width of a layer.
const WIDTH: usize = 10;

/// A peer that needs this many nodes takes minutes, so it runs only when asked for.
const PEER_UP_TO: usize = 1_000;

/// The last nodes that a shape is measured with, and what promo may cost there.
fn bar(nodes: usize) -> Bar {
    match nodes {
        1_000 => Bar { cpu: Some(0.15), peak: Some(60.0), ..Bar::default() },
        10_000 => Bar { cpu: Some(1.5), peak: Some(250.0), ..Bar::default() },
        _ => Bar::default(),
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
        let mut before: Option<(f64, f64)> = None;
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
            let cpu = table::row(&format!("{nodes}"), contenders, bench.runs, bar(nodes))?;
            let size = (f64::from(u32::try_from(nodes).unwrap_or(u32::MAX)), cpu);
            if let Some(before) = before.replace(size) {
                println!(
                    "| growth to {nodes} | promo | | | exponent {:.2} | | | | at most 1.2 |",
                    table::exponent(before, size)
                );
            }
        }
    }
    Ok(())
}

/// The peer that plans: named by PROMO_PEER_TERRAFORM, or on PATH.
pub(super) fn terraform() -> Option<PathBuf> {
    let named = std::env::var_os("PROMO_PEER_TERRAFORM").map(PathBuf::from).filter(|path| path.is_file());
    named.or_else(|| which::which("terraform").ok())
}

/// A pipeline of that shape, a policy that lets it be that large, and a ledger with one release.
fn fixture(bench: &Bench, dir: &Path, shape: Shape, nodes: usize) -> Outcome {
    write(&dir.join("promo.toml"), pipeline(shape, nodes))?;
    write(&dir.join("policy.toml"), POLICY)?;
    write(&dir.join("common.env"), "A=1\n")?;
    Image::new(1, 1_000).layout(&dir.join("registry/app"), "1.0.0")?;
    bench.promo(dir).args(["--policy", "policy.toml", "release", "add", "app=1.0.0", "--as", "ci"]).quiet()
}

const POLICY: &str = "format = 1\n[policy]\nname = \"bench\"\nversion = 1\n\
                      [limits]\nenvironments = 100000\nbytes = 67108864\n";

fn pipeline(shape: Shape, nodes: usize) -> String {
    let mut text = String::from(
        "format = 1\n[pipeline]\nname = \"bench\"\n[artifacts.app]\nimage = \"oci-layout:registry/app\"\n",
    );
    if shape == Shape::Directories {
        text.push_str(
            "[defaults.deploy.directory]\nfiles = [\"common.env\"]\n[checks.smoke]\ncommand = { run = [\"true\"] }\n",
        );
    }
    for node in 0..nodes {
        let kind = match shape {
            Shape::Directories => format!("target = {{ directory = \"out/{}\" }}\nverify = [\"smoke\"]", name(node)),
            _ => "deploy = \"none\"".to_owned(),
        };
        let before: Vec<String> = before(shape, nodes, node).map(|n| format!("\"{}\"", name(n))).collect();
        let after = if before.is_empty() { String::new() } else { format!("after = [{}]\n", before.join(", ")) };
        writeln!(text, "[environments.{}]\ntier = \"development\"\n{kind}\n{after}", name(node))
            .expect("writing to a String cannot fail");
    }
    text
}

fn resources(shape: Shape, nodes: usize) -> String {
    let mut text = String::new();
    for node in 0..nodes {
        let before: Vec<String> = before(shape, nodes, node).map(|n| format!("terraform_data.{}", name(n))).collect();
        writeln!(
            text,
            "resource \"terraform_data\" \"{}\" {{\n  input = \"1.0.0\"\n  depends_on = [{}]\n}}",
            name(node),
            before.join(", ")
        )
        .expect("writing to a String cannot fail");
    }
    text
}

fn name(node: usize) -> String {
    format!("e{node:05}")
}

/// The nodes directly before one.
fn before(shape: Shape, nodes: usize, node: usize) -> std::ops::Range<usize> {
    match shape {
        Shape::Chain | Shape::Directories => node.saturating_sub(1)..node,
        Shape::Layers if node < WIDTH => 0..0,
        Shape::Layers => {
            let layer = node / WIDTH;
            (layer - 1) * WIDTH..layer * WIDTH
        }
        Shape::Flat if node + 1 == nodes => 0..node,
        Shape::Flat => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, before};

    #[test]
    fn the_last_environment_is_reached_by_the_whole_shape() {
        assert_eq!(before(Shape::Chain, 5, 0).len(), 0);
        assert_eq!(before(Shape::Chain, 5, 4), 3..4);
        assert_eq!(before(Shape::Layers, 100, 9).len(), 0);
        assert_eq!(before(Shape::Layers, 100, 99), 80..90);
        assert_eq!(before(Shape::Flat, 100, 98).len(), 0);
        assert_eq!(before(Shape::Flat, 100, 99), 0..99);
    }
}
