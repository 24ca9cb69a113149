//! The environments as one picture: levels from left to right, one box an environment, what runs there and how it stands
//! in words. The picture loads nothing and runs nothing; every text goes through [`escape::html()`].

use std::collections::BTreeMap;

use crate::escape;

/// One environment of the picture.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its name, which no other node has.
    pub(crate) name: String,
    /// Tier and start, in words.
    pub(crate) kind: String,
    /// The length of the longest way to it.
    pub(crate) level: usize,
    /// Nodes of lower levels from which releases come.
    pub(crate) after: Vec<String>,
    /// For a join: how many of them a release needs, in words.
    pub(crate) join: Option<String>,
    /// Whether promotions start only when somebody asks for them.
    pub(crate) manual: bool,
    /// What runs there, in words.
    pub(crate) release: String,
    /// How it stands, in words with a sign.
    pub(crate) state: Vec<(Standing, String)>,
}

/// How good something is: the class of its style, which never stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As it should be.
    Good,
    /// Waits for something.
    Waiting,
    /// Wrong.
    Bad,
    /// Neither.
    Plain,
}

impl Standing {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "wait",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// Pixels around the picture.
const MARGIN: usize = 24;
/// Pixels between two boxes of a level.
const GAP: usize = 20;
/// Pixels between two levels, where the edges run.
const CHANNEL: usize = 110;
/// Height of a slot in which an edge passes a level.
const PASSAGE: usize = 14;
/// Pixels of a line of text, and of one column of it.
const LINE: usize = 19;
const COLUMN: usize = 8;
/// The narrowest and the widest box, in columns of text.
const NARROW: usize = 22;
const WIDE: usize = 38;
/// How often the order within levels is improved: small graphs settle long before.
const SWEEPS: usize = 12;

const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1c2127; --dim: #57606a; --line: #8c959f; --box: #f5f7f9;
  --good: #116329; --wait: #7a4d00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e4e8ec; --dim: #9aa4af; --line: #6b7681;
  --box: #1c2126; --good: #6bd58a; --wait: #e5b567; --bad: #ff8e85; } }
text { font: 13px ui-monospace, 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: var(--text); }
.back { fill: var(--back); } .box { fill: var(--box); stroke: var(--line); }
.name { font-weight: 700; } .dim { fill: var(--dim); }
text.good { fill: var(--good); } text.wait { fill: var(--wait); } text.bad { fill: var(--bad); font-weight: 700; }
rect.good { fill: var(--good); } rect.wait { fill: var(--wait); } rect.bad { fill: var(--bad); }
rect.plain { fill: var(--line); }
.edge { fill: none; stroke: var(--line); stroke-width: 1.5; } .manual { stroke-dasharray: 5 4; }
.tip { fill: var(--line); } .join { fill: var(--back); stroke: var(--line); } .mark { font-size: 11px; }
";

/// What stands in a level: a box, or a slot in which an edge passes.
type Slot = usize;

/// The graph with every edge cut into pieces from one level to the next.
struct Layers {
    /// The slots of each level, top to bottom.
    levels: Vec<Vec<Slot>>,
    /// Pieces of edges: from a slot of one level to a slot of the next.
    pieces: Vec<(Slot, Slot)>,
    /// Every edge as the slots that it goes through, its ends among them.
    edges: Vec<Vec<Slot>>,
}

/// Draws the graph.
pub(crate) fn render(pipeline: &str, nodes: &[Node]) -> String {
    let texts =
        nodes.iter().flat_map(|n| [&n.name, &n.kind, &n.release].into_iter().chain(n.state.iter().map(|s| &s.1)));
    let columns = texts.map(|text| columns(text)).max().unwrap_or(0).clamp(NARROW, WIDE);
    let width = columns * COLUMN + 28;
    let mut layers = layers(nodes);
    untangle(&mut layers);
    let size = |slot: Slot| nodes.get(slot).map_or(PASSAGE, |node| (3 + node.state.len()) * LINE + 18);
    let tall = |level: &Vec<Slot>| level.iter().map(|s| size(*s) + GAP).sum::<usize>().saturating_sub(GAP);
    let tallest = layers.levels.iter().map(tall).max().unwrap_or(0);
    // The middle of the left side of every slot.
    let mut at: BTreeMap<Slot, (usize, usize)> = BTreeMap::new();
    for (n, level) in layers.levels.iter().enumerate() {
        let mut y = MARGIN + (tallest - tall(level)) / 2;
        for slot in level {
            at.insert(*slot, (MARGIN + n * (width + CHANNEL), y + size(*slot) / 2));
            y += size(*slot) + GAP;
        }
    }
    let depth = layers.levels.len();
    let (w, h) = (2 * MARGIN + (depth * (width + CHANNEL)).saturating_sub(CHANNEL), 2 * MARGIN + tallest);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" \
         aria-labelledby=\"title desc\">\n<title id=\"title\">Environments of {}</title>\n<desc id=\"desc\">{}</desc>\n\
         <style>{STYLE}</style>\n<rect class=\"back\" width=\"{w}\" height=\"{h}\"/>\n",
        html(pipeline),
        html(&nodes.iter().map(told).collect::<Vec<_>>().join(" ")),
    );
    for edge in &layers.edges {
        out.push_str(&path(edge, nodes, &at, width));
    }
    for (slot, node) in nodes.iter().enumerate() {
        out.push_str(&draw(node, at[&slot], (width, size(slot)), columns));
    }
    out + "</svg>\n"
}

/// An environment in a sentence, for those who do not see the picture.
fn told(node: &Node) -> String {
    let after = match (node.after.as_slice(), &node.join) {
        ([], _) => String::new(),
        (after, Some(join)) => format!(", after {join} of {}", after.join(", ")),
        (after, None) => format!(", after {}", after.join(", ")),
    };
    let state: Vec<&str> = node.state.iter().map(|(_, s)| s.as_str()).collect();
    format!("{} ({}){after}: {}, {}.", node.name, node.kind, node.release, state.join(", "))
}

fn layers(nodes: &[Node]) -> Layers {
    let index: BTreeMap<&str, Slot> = nodes.iter().enumerate().map(|(n, node)| (node.name.as_str(), n)).collect();
    let deepest = nodes.iter().map(|n| n.level).max().unwrap_or(0);
    let mut levels = vec![Vec::new(); deepest + 1];
    for (slot, node) in nodes.iter().enumerate() {
        levels[node.level].push(slot);
    }
    let (mut pieces, mut edges, mut next) = (Vec::new(), Vec::new(), nodes.len());
    for (to, node) in nodes.iter().enumerate() {
        for from in node.after.iter().filter_map(|name| index.get(name.as_str())) {
            let mut way = vec![*from];
            for level in &mut levels[nodes[*from].level + 1..node.level] {
                level.push(next);
                way.push(next);
                next += 1;
            }
            way.push(to);
            pieces.extend(way.windows(2).map(|two| (two[0], two[1])));
            edges.push(way);
        }
    }
    Layers { levels, pieces, edges }
}

/// Orders every level by where its neighbours stand, to and fro, and keeps the order with the fewest crossings.
fn untangle(layers: &mut Layers) {
    let mut best = (crossings(layers), layers.levels.clone());
    for sweep in 0..SWEEPS {
        let count = layers.levels.len();
        let forward = sweep % 2 == 0;
        for step in 1..count {
            let (this, other) = if forward { (step, step - 1) } else { (count - 1 - step, count - step) };
            let place = places(&layers.levels[other]);
            let mean = |slot: Slot| {
                let near = layers.pieces.iter().filter_map(|(a, b)| match forward {
                    true => (*b == slot).then(|| place.get(a)).flatten(),
                    false => (*a == slot).then(|| place.get(b)).flatten(),
                });
                let near: Vec<usize> = near.copied().collect();
                // In thousandths, so that the order is the same on every machine.
                (!near.is_empty()).then(|| near.iter().sum::<usize>() * 1_000 / near.len())
            };
            let own = places(&layers.levels[this]);
            let mut order: Vec<(usize, Slot)> =
                layers.levels[this].iter().map(|s| (mean(*s).unwrap_or(own[s] * 1_000), *s)).collect();
            order.sort_by_key(|(mean, slot)| (*mean, own[slot]));
            layers.levels[this] = order.into_iter().map(|(_, slot)| slot).collect();
        }
        let now = crossings(layers);
        if now < best.0 {
            best = (now, layers.levels.clone());
        }
    }
    layers.levels = best.1;
}

fn places(level: &[Slot]) -> BTreeMap<Slot, usize> {
    level.iter().enumerate().map(|(n, slot)| (*slot, n)).collect()
}

fn crossings(layers: &Layers) -> usize {
    let all: BTreeMap<Slot, usize> = layers.levels.iter().flat_map(|level| places(level)).collect();
    let level = |slot: Slot| layers.levels.iter().position(|l| l.contains(&slot));
    let ends: Vec<_> = layers.pieces.iter().map(|(a, b)| (level(*a), all[a], all[b])).collect();
    let pairs = ends.iter().enumerate().flat_map(|(n, one)| ends[n + 1..].iter().map(move |two| (one, two)));
    pairs.filter(|(a, b)| a.0 == b.0 && ((a.1 < b.1 && a.2 > b.2) || (a.1 > b.1 && a.2 < b.2))).count()
}

/// An edge as a line through its slots, with a tip.
fn path(edge: &[Slot], nodes: &[Node], at: &BTreeMap<Slot, (usize, usize)>, width: usize) -> String {
    let target = edge.last().map_or(0, |slot| *slot);
    let (x, y) = at[&edge[0]];
    let mut line = format!("M{} {y}", x + width);
    let mut from = (x + width, y);
    for slot in &edge[1..] {
        let (x, y) = at[slot];
        let x = if *slot == target { x - tip_from(&nodes[target]) } else { x };
        let middle = usize::midpoint(from.0, x);
        line.push_str(&format!(" C{middle} {} {middle} {y} {x} {y}", from.1));
        if *slot != target {
            line.push_str(&format!(" H{}", x + width));
        }
        from = (x + width, y);
    }
    let (x, y) = (at[&target].0 - tip_from(&nodes[target]), at[&target].1);
    let manual = if nodes[target].manual { " manual" } else { "" };
    let tip = format!("M{x} {} L{} {y} L{x} {} Z", y - 5, x + 8, y + 5);
    format!("<path class=\"edge{manual}\" d=\"{line}\"/>\n<path class=\"tip\" d=\"{tip}\"/>\n")
}

/// How far left of a box the tips of its edges begin: those of a join end at its mark.
fn tip_from(node: &Node) -> usize {
    8 + node.join.as_ref().map_or(0, |mark| mark_width(mark))
}

fn mark_width(mark: &str) -> usize {
    columns(mark) * 7 + 12
}

fn draw(node: &Node, (x, middle): (usize, usize), (width, height): (usize, usize), columns: usize) -> String {
    let top = middle - height / 2;
    let worst = |class| node.state.iter().any(|(standing, _)| *standing == class);
    let bar = [Standing::Bad, Standing::Waiting, Standing::Good].into_iter().find(|s| worst(*s));
    let bar = bar.unwrap_or(Standing::Plain).class();
    let mut out = format!(
        "<g><title>{}</title>\n<rect class=\"box\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
         rx=\"5\"/>\n<rect class=\"{bar}\" x=\"{x}\" y=\"{top}\" width=\"5\" height=\"{height}\" rx=\"2\"/>\n",
        html(&told(node))
    );
    let fixed = [("name", node.name.as_str()), ("dim", &node.kind), ("", &node.release)];
    let state = node.state.iter().map(|(standing, text)| (standing.class(), text.as_str()));
    let left = x + 16;
    for (n, (class, text)) in fixed.into_iter().chain(state).enumerate() {
        let y = top + 24 + n * LINE;
        out.push_str(&format!("<text class=\"{class}\" x=\"{left}\" y=\"{y}\">{}</text>\n", html(&cut(text, columns))));
    }
    if let Some(mark) = &node.join {
        let wide = mark_width(mark);
        let (left, top) = (x - wide, middle - 9);
        out.push_str(&format!(
            "<rect class=\"join\" x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"18\" rx=\"9\"/>\n\
             <text class=\"mark\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            x - wide / 2,
            middle + 4,
            html(mark)
        ));
    }
    out + "</g>\n"
}

/// How many columns a text takes at most: what is not ASCII may take two.
fn columns(text: &str) -> usize {
    escape::line(text).chars().map(|c| if c.is_ascii() || "✓…✗·".contains(c) { 1 } else { 2 }).sum()
}

/// As much of a text as fits, with a sign where something is missing; its whole is in the title of the box.
fn cut(text: &str, limit: usize) -> String {
    if columns(text) <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    for ch in escape::line(text).chars() {
        if columns(&kept) + 2 >= limit {
            break;
        }
        kept.push(ch);
    }
    kept + "…"
}

fn html(text: &str) -> String {
    escape::html(&escape::line(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes from `name level after,after`.
    fn nodes(lines: &[&str]) -> Vec<Node> {
        let node = |line: &&str| {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap_or_default();
            let (name, level, after) = (word().to_owned(), word().parse().unwrap(), word());
            let after: Vec<String> = after.split(',').filter(|a| !a.is_empty()).map(Into::into).collect();
            Node {
                kind: "testing".into(),
                level,
                join: (after.len() > 1).then(|| "all".to_owned()),
                manual: name == "production",
                release: "r-7a3f9c2e41b0 (#57)".into(),
                state: vec![(Standing::Good, "✓ verified".into())],
                name,
                after,
            }
        };
        lines.iter().map(node).collect()
    }

    #[test]
    fn a_graph_with_joins_is_drawn_from_left_to_right() {
        let mut graph = nodes(&["dev 0", "qa 1 dev", "perf 1 dev", "staging 2 qa,perf", "production 3 staging,dev"]);
        graph[3].state = vec![(Standing::Waiting, "… not verified".into())];
        graph[4].state.push((Standing::Bad, "✗ last: failed and was rolled back".into()));
        let picture = render("shop", &graph);
        insta::assert_snapshot!("graph.svg", picture);
    }

    #[test]
    fn boxes_do_not_lie_on_each_other_and_edges_go_to_the_right() {
        let graph =
            nodes(&["a 0", "b 0", "c 1 b", "d 1 a", "e 2 c,d", "f 1 a", "g 3 e,f,a", "h 4 g", "i 4 g", "j 5 h,i,b"]);
        let mut layers = layers(&graph);
        let before = crossings(&layers);
        untangle(&mut layers);
        assert!(crossings(&layers) < before, "{before} crossings became {}", crossings(&layers));
        let picture = render("shop", &graph);
        let number = |line: &str, name: &str| -> usize {
            let rest = line.split_once(&format!(" {name}=\"")).unwrap().1;
            rest.split_once('"').unwrap().0.parse().unwrap()
        };
        let boxes: Vec<[usize; 4]> = picture
            .lines()
            .filter(|l| l.contains("class=\"box\""))
            .map(|l| [number(l, "x"), number(l, "y"), number(l, "width"), number(l, "height")])
            .collect();
        assert_eq!(boxes.len(), graph.len());
        for (n, a) in boxes.iter().enumerate() {
            for b in &boxes[n + 1..] {
                let apart = a[0] + a[2] <= b[0] || b[0] + b[2] <= a[0] || a[1] + a[3] <= b[1] || b[1] + b[3] <= a[1];
                assert!(apart, "{a:?} {b:?}");
            }
        }
        for (to, node) in graph.iter().enumerate() {
            for from in &node.after {
                let from = graph.iter().position(|g| g.name == *from).unwrap();
                assert!(boxes[from][0] + boxes[from][2] < boxes[to][0], "{} comes from the left", node.name);
            }
        }
    }

    #[test]
    fn nothing_from_outside_becomes_markup_s13_3() {
        let hostile = "</text><script>alert(1)</script>\u{202e}\u{1b}[2J\"'&";
        let mut graph = nodes(&["dev 0"]);
        graph[0].release = hostile.into();
        graph[0].state = vec![(Standing::Bad, hostile.into())];
        let picture = render(hostile, &graph);
        assert!(!picture.contains("<script") && picture.contains("&lt;script&gt;"), "{picture}");
        assert!(!picture.contains('\u{202e}') && !picture.contains('\u{1b}'));
        assert_eq!(picture.matches("</text>").count(), picture.matches("<text ").count());
        for outside in ["href", "url(", "@import", "onload"] {
            assert!(!picture.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_long_name_is_cut_in_its_box_and_whole_in_its_title() {
        let long = "a".repeat(63);
        let picture = render("shop", &nodes(&[&format!("{long} 0")]));
        assert!(picture.contains(&format!("<title>{long} (testing)")) && !picture.contains(&format!(">{long}<")));
    }
}
