//! The graph of environments: order, reachability and paths. Nothing here knows releases.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

use crate::ids::EnvironmentName;
use crate::model::Pipeline;

/// The environments of a pipeline and who comes after whom.
#[derive(Debug, Clone)]
pub struct Graph {
    graph: DiGraph<EnvironmentName, ()>,
    nodes: BTreeMap<EnvironmentName, NodeIndex>,
    order: Vec<EnvironmentName>,
}

impl Graph {
    /// The graph of a pipeline. Names of predecessors that do not exist are passed over, environments on a cycle come
    /// last: the configuration has said so already.
    #[must_use]
    pub fn new(pipeline: &Pipeline) -> Self {
        let mut graph = DiGraph::new();
        let nodes: BTreeMap<_, _> =
            pipeline.environments.keys().map(|name| (name.clone(), graph.add_node(name.clone()))).collect();
        for (name, environment) in &pipeline.environments {
            for before in environment.after.environments() {
                if let Some(&from) = nodes.get(before) {
                    graph.add_edge(from, nodes[name], ());
                }
            }
        }
        let order = order(&graph);
        Self { graph, nodes, order }
    }

    /// Predecessors before successors, and by name where the graph leaves it open.
    #[must_use]
    pub fn topological(&self) -> &[EnvironmentName] {
        &self.order
    }

    /// The environments that come directly before this one, by name.
    #[must_use]
    pub fn predecessors(&self, name: &EnvironmentName) -> BTreeSet<EnvironmentName> {
        self.neighbours(name, Direction::Incoming)
    }

    /// The environments that come directly after this one, by name.
    #[must_use]
    pub fn successors(&self, name: &EnvironmentName) -> BTreeSet<EnvironmentName> {
        self.neighbours(name, Direction::Outgoing)
    }

    /// Every environment from which this one can be reached, without itself.
    #[must_use]
    pub fn ancestors(&self, name: &EnvironmentName) -> BTreeSet<EnvironmentName> {
        let Some(&start) = self.nodes.get(name) else { return BTreeSet::new() };
        let reversed = Reversed(&self.graph);
        let mut dfs = Dfs::new(reversed, start);
        let mut found = BTreeSet::new();
        while let Some(node) = dfs.next(reversed) {
            found.insert(self.graph[node].clone());
        }
        found.remove(name);
        found
    }

    /// Every environment that can be reached from this one, without itself.
    #[must_use]
    pub fn descendants(&self, name: &EnvironmentName) -> BTreeSet<EnvironmentName> {
        let Some(&start) = self.nodes.get(name) else { return BTreeSet::new() };
        let mut dfs = Dfs::new(&self.graph, start);
        let mut found = BTreeSet::new();
        while let Some(node) = dfs.next(&self.graph) {
            found.insert(self.graph[node].clone());
        }
        found.remove(name);
        found
    }

    /// Whether `to` can be reached from `from` by at least one step.
    #[must_use]
    pub fn reaches(&self, from: &EnvironmentName, to: &EnvironmentName) -> bool {
        from != to
            && match (self.nodes.get(from), self.nodes.get(to)) {
                (Some(&from), Some(&to)) => petgraph::algo::has_path_connecting(&self.graph, from, to, None),
                _ => false,
            }
    }

    /// The environments that take releases as they are added.
    #[must_use]
    pub fn roots(&self) -> Vec<&EnvironmentName> {
        self.graph.externals(Direction::Incoming).map(|node| &self.graph[node]).collect()
    }

    fn neighbours(&self, name: &EnvironmentName, direction: Direction) -> BTreeSet<EnvironmentName> {
        self.nodes
            .get(name)
            .map(|&node| self.graph.neighbors_directed(node, direction).map(|n| self.graph[n].clone()).collect())
            .unwrap_or_default()
    }
}

/// Kahn's algorithm with a set of the ready nodes ordered by name, so that the order never depends on how the file is
/// written; linear but for the set.
fn order(graph: &DiGraph<EnvironmentName, ()>) -> Vec<EnvironmentName> {
    let mut waiting: Vec<usize> =
        graph.node_indices().map(|n| graph.edges_directed(n, Direction::Incoming).count()).collect();
    let mut ready: BTreeSet<(&EnvironmentName, NodeIndex)> =
        graph.node_indices().filter(|n| waiting[n.index()] == 0).map(|n| (&graph[n], n)).collect();
    let mut order = Vec::with_capacity(graph.node_count());
    while let Some((name, node)) = ready.pop_first() {
        order.push(name.clone());
        for next in graph.neighbors(node) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.insert((&graph[next], next));
            }
        }
    }
    let mut cyclic: Vec<_> =
        graph.node_indices().filter(|n| waiting[n.index()] > 0).map(|n| graph[n].clone()).collect();
    cyclic.sort();
    order.append(&mut cyclic);
    order
}
