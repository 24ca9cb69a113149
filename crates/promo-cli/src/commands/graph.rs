//! `promo graph`: the environments in the order in which a release goes through them, and what runs where.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use promo_core::ids::{EnvironmentName, RunId};
use promo_core::model::{After, Pipeline, Start};
use schemars::JsonSchema;
use serde::Serialize;

use super::status;
use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::graph_svg::{self, Standing};
use crate::output::labels::{Label, label};
use crate::output::{endings, table};
use crate::project::{self, Access};
use crate::ui::Ui;
use crate::view::ReleaseView;
use crate::view::standing::OpenRunView;

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
    /// A picture
    Svg,
}

/// The graph, with what is where.
#[derive(Serialize, JsonSchema)]
pub(crate) struct View {
    /// What the document is.
    kind: &'static str,
    /// Its format.
    format: u32,
    /// The pipeline.
    pipeline: String,
    /// Every environment, in the order of the graph.
    environments: Vec<Node>,
}

/// An environment of the graph.
#[derive(Serialize, JsonSchema)]
struct Node {
    /// Its name.
    name: String,
    /// Its tier.
    tier: &'static str,
    /// How many environments the longest way to it has.
    level: usize,
    /// Its predecessors.
    after: Vec<String>,
    /// How many of them have to verify a release, where that is not all.
    at_least: Option<u32>,
    /// `auto` or `manual`.
    start: &'static str,
    /// What runs there.
    release: Option<ReleaseView>,
    /// Whether all its checks hold.
    verified: bool,
    /// The run that deploys again what runs there: until its checks have spoken, `verified` is of the earlier deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    redeploying: Option<RunId>,
    /// The run that moves it: until it has ended, `verified` is of what was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    moving: Option<RunId>,
    #[serde(skip)]
    state: Vec<(Standing, String)>,
}

impl Node {
    /// What runs there where there is room for no more than that, each line behind a break: a release that is deployed again, or
    /// replaced, is not taken for one that stands.
    fn runs(&self, line: &str) -> String {
        let again = match (&self.redeploying, &self.moving) {
            (Some(_), _) => format!("{line}{EARLIER}"),
            (None, Some(_)) => format!("{line}a run moves it"),
            (None, None) => String::new(),
        };
        self.release.as_ref().map(|release| format!("{line}{}{again}", release.id)).unwrap_or_default()
    }
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let session = &project.session;
    let governance = session.governance();
    let view = session.view()?;
    let stands = crate::view::Standing::of(session, &view)?;
    let rows = status::rows(session, &view, &stands)?;
    let nodes = nodes(&governance.pipeline, rows, &stands);
    if ui.format() == Format::Json {
        let pipeline = governance.pipeline.name.to_string();
        ui.json(&View { kind: "promo.graph", format: 1, pipeline, environments: nodes });
        return Ok(DONE);
    }
    let text = match (arguments.syntax, ui.format()) {
        (Syntax::Mermaid, Format::Markdown) => format!("```mermaid\n{}```\n", mermaid(&nodes)),
        (Syntax::Mermaid, _) => mermaid(&nodes),
        (Syntax::Svg, _) => svg(governance.pipeline.name.as_str(), &nodes),
        (Syntax::Dot, _) => dot(governance.pipeline.name.as_str(), &nodes),
        (Syntax::Levels, Format::Markdown) => format!("```mermaid\n{}```\n", mermaid(&nodes)),
        (Syntax::Levels, _) => levels(&nodes, ui.width()),
    };
    ui.data(&text);
    Ok(DONE)
}

/// Every environment with its level: the length of the longest way to it.
fn nodes(pipeline: &Pipeline, rows: Vec<status::Row>, stands: &crate::view::Standing) -> Vec<Node> {
    let mut levels: BTreeMap<&EnvironmentName, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for row in rows {
        let Some((name, environment)) = pipeline.environments.get_key_value(&row.environment) else { continue };
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
            state: state(&row, stands),
            release: row.release,
            verified: row.verified,
            redeploying: row.redeploying,
            moving: row.moving,
        });
    }
    out
}

/// What there is to say of a release that a run is deploying again: its verdict is still the old one (S16).
const EARLIER: &str = "verified by its earlier deployment";

/// How an environment stands, in words with signs.
fn state(row: &status::Row, stands: &crate::view::Standing) -> Vec<(Standing, String)> {
    let mut out = match (&row.release, row.verified) {
        (None, _) => Vec::new(),
        (Some(_), true) if row.redeploying.is_some() => vec![(Standing::Waiting, format!("… {EARLIER}"))],
        // As `promo status` says it: what is there now is being replaced, or was left half-way.
        (Some(_), true) if row.moving.is_some() || row.ended => {
            vec![(Standing::Waiting, "… was verified".to_owned())]
        }
        (Some(_), true) => vec![(Standing::Good, "✓ verified".to_owned())],
        (Some(_), false) => vec![(Standing::Waiting, "… not verified".to_owned())],
    };
    out.extend(row.moving.iter().map(|moving| {
        let open = stands.runs.iter().find(|open| open.run == *moving);
        let (words, kind) = endings::open(open.map(OpenRunView::stands));
        if kind == Label::Bad {
            (Standing::Bad, format!("✗ a run {words}"))
        } else {
            (Standing::Waiting, format!("… a run {words}"))
        }
    }));
    // Why, and by whom, stands in `promo status`.
    out.extend(row.rejected.iter().map(|_| (Standing::Bad, "✗ quarantined".to_owned())));
    out.extend(row.frozen.map(|frozen| (Standing::Waiting, format!("… {frozen}"))));
    // The release that failed stands in `promo status`; here there is room for how it ended.
    let ended = |last: &String| last.split_once(' ').map_or_else(|| last.clone(), |(_, words)| words.to_owned());
    out.extend(row.last.iter().map(|last| (Standing::Bad, format!("✗ last: {}", ended(last)))));
    out
}

fn svg(pipeline: &str, nodes: &[Node]) -> String {
    let node = |node: &Node| graph_svg::Node {
        name: node.name.clone(),
        kind: format!("{} · {} start", node.tier, node.start),
        level: node.level,
        after: node.after.clone(),
        join: match (node.after.len(), node.at_least) {
            (0 | 1, _) => None,
            (count, Some(least)) => Some(format!("{least} of {count}")),
            (_, None) => Some("all".to_owned()),
        },
        manual: node.start == "manual",
        release: node.release.as_ref().map_or_else(|| "nothing yet".to_owned(), ReleaseView::text),
        state: node.state.clone(),
    };
    graph_svg::render(pipeline, &nodes.iter().map(node).collect::<Vec<_>>())
}

fn levels(nodes: &[Node], width: Option<usize>) -> String {
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
            let release = node.release.as_ref().map_or_else(|| "nothing yet".to_owned(), |r| r.id.clone());
            let state = node.state.iter().map(|(standing, text)| label(style(*standing), &escape::line(text)));
            let state: Vec<String> = state.collect();
            rows.push(vec![
                label(Label::Strong, &name),
                node.tier.to_owned(),
                node.start.to_owned(),
                after,
                release,
                state.join(" · "),
            ]);
        }
    }
    table::columns(&rows, "", width)
}

const fn style(standing: Standing) -> Label {
    match standing {
        Standing::Good => Label::Good,
        Standing::Waiting => Label::Waiting,
        Standing::Bad => Label::Bad,
        Standing::Plain => Label::Dim,
    }
}

/// Names are RFC 1123 labels, so only hyphens have to be kept out of identifiers.
fn mermaid(nodes: &[Node]) -> String {
    let id = |name: &str| name.replace('-', "_");
    let mut out = "flowchart LR\n".to_owned();
    for node in nodes {
        let release = node.runs("<br/>");
        out.push_str(&format!("  {}[\"{}<br/>{}{release}\"]\n", id(&node.name), node.name, node.tier));
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
        let release = node.runs("\\n");
        out.push_str(&format!("  \"{}\" [label=\"{}\\n{}{release}\"];\n", node.name, node.name, node.tier));
    }
    for node in nodes {
        let style = if node.start == "manual" { " [style=dashed, label=\"manual\"]" } else { "" };
        for before in &node.after {
            out.push_str(&format!("  \"{before}\" -> \"{}\"{style};\n", node.name));
        }
    }
    out + "}\n"
}
