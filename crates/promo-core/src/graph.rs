//! The graph of environments: order, reachability and paths. Nothing here knows releases.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

use crate::ids::EnvironmentName;
use crate::model::{Environment, Pipeline};

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

    /// Every circle of the graph, one for each knot of environments that can all reach each other: a shortest one through
    /// the first of the knot by name, in the order of promotion. An environment that comes after itself is not told
    /// here: [`crate::config`] tells it at its place.
    #[must_use]
    pub fn cycles(&self) -> Vec<Vec<EnvironmentName>> {
        let mut cycles: Vec<Vec<EnvironmentName>> = petgraph::algo::tarjan_scc(&self.graph)
            .into_iter()
            .filter(|knot| knot.len() > 1)
            .map(|knot| {
                let first =
                    knot.iter().copied().min_by_key(|n| &self.graph[*n]).expect("invariant: a knot has members");
                self.shortest(first, |n| n == first, |n| knot.contains(&n))
            })
            .collect();
        cycles.sort();
        cycles
    }

    /// For each production-tier environment that can be reached without passing one that
    /// [proves staging](crate::model::Environment::proves_staging): a shortest such path, from a root to it (S0.3, R11).
    /// Empty when the floor holds.
    #[must_use]
    pub fn paths_without_staging(&self, pipeline: &Pipeline) -> Vec<Vec<EnvironmentName>> {
        let environment = |n: NodeIndex| pipeline.environments.get(&self.graph[n]);
        let production = |n: NodeIndex| environment(n).is_some_and(Environment::is_production);
        let staging = |n: NodeIndex| environment(n).is_some_and(Environment::proves_staging);
        let mut paths = Vec::new();
        for (name, &goal) in self.nodes.iter().filter(|(_, n)| production(**n)) {
            let backward = self.shortest_backward(goal, |n| !staging(n));
            if let Some(path) = backward {
                debug_assert!(path.last() == Some(name));
                paths.push(path);
            }
        }
        paths
    }

    /// The nodes of a shortest walk of at least one step from `from` to the first node that is a `goal`, within
    /// `allowed`, without the goal itself; by name where there are several. Empty when there is none.
    fn shortest(
        &self,
        from: NodeIndex,
        goal: impl Fn(NodeIndex) -> bool,
        allowed: impl Fn(NodeIndex) -> bool,
    ) -> Vec<EnvironmentName> {
        let mut came: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for next in self.sorted(node, Direction::Outgoing) {
                if goal(next) {
                    let mut path = alloc::vec![self.graph[node].clone()];
                    let mut at = node;
                    while at != from {
                        at = came[&at];
                        path.push(self.graph[at].clone());
                    }
                    path.reverse();
                    return path;
                }
                if allowed(next) && next != from && !came.contains_key(&next) {
                    came.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        Vec::new()
    }

    /// A shortest path from any root to `goal` on which every node is `allowed`.
    fn shortest_backward(&self, goal: NodeIndex, allowed: impl Fn(NodeIndex) -> bool) -> Option<Vec<EnvironmentName>> {
        let mut came: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::from([(goal, goal)]);
        let mut queue = VecDeque::from([goal]);
        while let Some(node) = queue.pop_front() {
            let before = self.sorted(node, Direction::Incoming);
            if before.is_empty() {
                let mut path = alloc::vec![self.graph[node].clone()];
                let mut at = node;
                while at != goal {
                    at = came[&at];
                    path.push(self.graph[at].clone());
                }
                return Some(path);
            }
            for next in before {
                if allowed(next) && !came.contains_key(&next) {
                    came.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn sorted(&self, node: NodeIndex, direction: Direction) -> Vec<NodeIndex> {
        let mut nodes: Vec<NodeIndex> = self.graph.neighbors_directed(node, direction).collect();
        nodes.sort_by_key(|n| &self.graph[*n]);
        nodes
    }

    fn neighbours(&self, name: &EnvironmentName, direction: Direction) -> BTreeSet<EnvironmentName> {
        self.nodes
            .get(name)
            .map(|&node| self.graph.neighbors_directed(node, direction).map(|n| self.graph[n].clone()).collect())
            .unwrap_or_default()
    }
}

/// For each production-tier environment that a release can reach without staging: a shortest way there (S0.3, R11).
#[must_use]
pub fn paths_into_production_without_staging(pipeline: &Pipeline) -> Vec<Vec<EnvironmentName>> {
    Graph::new(pipeline).paths_without_staging(pipeline)
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
