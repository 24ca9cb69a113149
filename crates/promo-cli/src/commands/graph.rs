//! `promo graph`: the environments in the order in which a release goes through them.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use promo_core::graph::Graph;
use promo_core::ids::EnvironmentName;
use promo_core::model::{After, Pipeline, Start};
use serde::Serialize;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::table;
use crate::project;
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How to draw it
    #[arg(long, value_enum, default_value_t)]
    syntax: Syntax,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Syntax {
    /// Levels, for a terminal
    #[default]
    Levels,
    /// Mermaid, which forges draw
    Mermaid,
    /// Graphviz
    Dot,
}

#[derive(Serialize)]
struct View {
    kind: &'static str,
    format: u32,
    pipeline: String,
    environments: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    name: String,
    tier: &'static str,
    level: usize,
    after: Vec<String>,
    at_least: Option<u32>,
    start: &'static str,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let governance = project::rules(global)?.governed;
    let nodes = nodes(&governance.pipeline, &Graph::new(&governance.pipeline));
    if ui.format() == Format::Json {
        let pipeline = governance.pipeline.name.to_string();
        ui.json(&View { kind: "promo.graph", format: 1, pipeline, environments: nodes });
        return Ok(DONE);
    }
    let text = match (arguments.syntax, ui.format()) {
        (Syntax::Mermaid, Format::Markdown) => format!("```mermaid\n{}```\n", mermaid(&nodes)),
        (Syntax::Mermaid, _) => mermaid(&nodes),
        (Syntax::Dot, _) => dot(governance.pipeline.name.as_str(), &nodes),
        (Syntax::Levels, Format::Markdown) => format!("```mermaid\n{}```\n", mermaid(&nodes)),
        (Syntax::Levels, _) => levels(&nodes),
    };
    ui.data(&text);
    Ok(DONE)
}

/// Every environment with its level: the length of the longest way to it.
fn nodes(pipeline: &Pipeline, graph: &Graph) -> Vec<Node> {
    let mut levels: BTreeMap<&EnvironmentName, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for name in graph.topological() {
        let environment = &pipeline.environments[name];
        let before = environment.after.environments();
        let level = before.iter().filter_map(|b| levels.get(*b)).max().map_or(0, |l| l + 1);
        levels.insert(name, level);
        out.push(Node {
            name: name.to_string(),
            tier: environment.tier.as_str(),
            level,
            after: before.iter().map(ToString::to_string).collect(),
            at_least: match &environment.after {
                After::AtLeast { at_least, .. } => Some(*at_least),
                After::Root | After::All(_) => None,
            },
            start: match environment.start {
                Start::Auto => "auto",
                Start::Manual => "manual",
            },
        });
    }
    out
}

fn levels(nodes: &[Node]) -> String {
    let deepest = nodes.iter().map(|n| n.level).max().unwrap_or(0);
    let mut rows = Vec::new();
    for level in 0..=deepest {
        for node in nodes.iter().filter(|n| n.level == level) {
            let after = match (node.after.as_slice(), node.at_least) {
                ([], _) => "takes releases as they are added".to_owned(),
                (after, Some(count)) => format!("after {count} of {}", after.join(", ")),
                (after, None) => format!("after {}", after.join(" and ")),
            };
            let name = format!("{}{}", "  ".repeat(level), node.name);
            rows.push(vec![label(Label::Strong, &name), node.tier.to_owned(), node.start.to_owned(), after]);
        }
    }
    table::columns(&rows, "")
}

/// Names are RFC 1123 labels, so only hyphens have to be kept out of identifiers.
fn mermaid(nodes: &[Node]) -> String {
    let id = |name: &str| name.replace('-', "_");
    let mut out = "flowchart LR\n".to_owned();
    for node in nodes {
        out.push_str(&format!("  {}[\"{}<br/>{}\"]\n", id(&node.name), node.name, node.tier));
    }
    for node in nodes {
        let arrow = if node.start == "manual" { "-. manual .->" } else { "-->" };
        for before in &node.after {
            out.push_str(&format!("  {} {arrow} {}\n", id(before), id(&node.name)));
        }
    }
    out
}

fn dot(pipeline: &str, nodes: &[Node]) -> String {
    let mut out = format!("digraph \"{pipeline}\" {{\n  rankdir=LR;\n  node [shape=box];\n");
    for node in nodes {
        out.push_str(&format!("  \"{}\" [label=\"{}\\n{}\"];\n", node.name, node.name, node.tier));
    }
    for node in nodes {
        let style = if node.start == "manual" { " [style=dashed, label=\"manual\"]" } else { "" };
        for before in &node.after {
            out.push_str(&format!("  \"{before}\" -> \"{}\"{style};\n", node.name));
        }
    }
    out + "}\n"
}
