//! Pipelines of many environments, and as many resources of the peer: what `plan` and `apply` are measured with.

use super::image::Image;
use super::{Bench, write};
use crate::Outcome;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// How the environments hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
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

/// The peer that plans: named by PROMO_PEER_TERRAFORM, or on PATH.
pub(super) fn terraform() -> Option<PathBuf> {
    let named = std::env::var_os("PROMO_PEER_TERRAFORM").map(PathBuf::from).filter(|path| path.is_file());
    named.or_else(|| which::which("terraform").ok())
}

/// A pipeline of that shape, a policy that lets it be that large, a ledger with one release, and the plan by which the release
/// goes through all of it.
pub(super) fn fixture(bench: &Bench, dir: &Path, shape: Shape, nodes: usize) -> Outcome {
    write(&dir.join("promo.toml"), pipeline(shape, nodes))?;
    write(&dir.join("policy.toml"), POLICY)?;
    write(&dir.join("common.env"), "A=1\n")?;
    Image::new(1, 1_000).layout(&dir.join("registry/app"), "1.0.0")?;
    bench.promo(dir).args(["--policy", "policy.toml", "release", "add", "app=1.0.0", "--as", "ci"]).quiet()?;
    let plan = ["--policy", "policy.toml", "plan", "--until", &name(nodes - 1), "--out", PLAN, "--as", "ci"];
    bench.promo(dir).args(plan).quiet()?;
    // A plan that holds everything back is quick, and not what is to be measured.
    let plan = fs::read_to_string(dir.join(PLAN)).map_err(|error| format!("{PLAN}: {error}"))?;
    match (plan.matches(r#""movement":"#).count(), reached(shape, nodes)) {
        (moves, expected) if moves == expected => Ok(()),
        (moves, expected) => Err(format!("the plan of {} moves {moves} environments, not {expected}", dir.display())),
    }
}

/// How many environments the way to the last one leads through.
fn reached(shape: Shape, nodes: usize) -> usize {
    match shape {
        Shape::Layers => nodes - WIDTH + 1,
        _ => nodes,
    }
}

/// The plan of a fixture.
pub(super) const PLAN: &str = "plan.json";

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
        writeln!(text, "[environments.{}]\ntier = \"development\"\nstart = \"auto\"\n{kind}\n{after}", name(node))
            .expect("writing to a String cannot fail");
    }
    text
}

pub(super) fn resources(shape: Shape, nodes: usize) -> String {
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

pub(super) fn name(node: usize) -> String {
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
