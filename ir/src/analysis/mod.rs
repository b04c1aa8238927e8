//! Questions about a block as a directed graph: what depends on what, and a picture of it.
//!
//! A node with bodies depends on everything that its bodies read of the blocks around them.

mod dot;

pub use dot::dot;

use crate::{BlockId, Def, Graph, NodeId, ValueId};
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::collections::{BTreeSet, HashMap};

/// The nodes of one block and, on edges from definition to use, the values between them.
pub struct Dataflow {
    /// The graph for petgraph's algorithms.
    pub graph: DiGraph<NodeId, ValueId>,
    index: HashMap<NodeId, NodeIndex>,
}

/// All values that a node reads: its operands, and what its bodies take from the blocks around them.
pub fn reads(graph: &Graph, n: NodeId) -> BTreeSet<ValueId> {
    let node = graph.node(n);
    let mut found: BTreeSet<ValueId> = node.inputs.iter().copied().collect();
    for b in &node.blocks {
        found.extend(captures(graph, *b));
    }
    found
}

/// What a body reads of the blocks around it.
pub fn captures(graph: &Graph, block: BlockId) -> BTreeSet<ValueId> {
    let body = graph.block(block);
    let mut found: BTreeSet<ValueId> = body.results.iter().copied().collect();
    let mut own: BTreeSet<ValueId> = body.params.iter().copied().collect();
    for n in &body.nodes {
        found.extend(reads(graph, *n));
        own.extend(&graph.node(*n).outputs);
    }
    found.difference(&own).copied().collect()
}

impl Dataflow {
    /// Of one block.
    pub fn new(graph: &Graph, block: BlockId) -> Dataflow {
        let (mut flow, mut index) = (DiGraph::new(), HashMap::new());
        let nodes = &graph.block(block).nodes;
        for n in nodes {
            index.insert(*n, flow.add_node(*n));
        }
        for n in nodes {
            for v in reads(graph, *n) {
                if let Def::Node(from, _) = graph.value(v).def
                    && let Some(from) = index.get(&from)
                {
                    flow.add_edge(*from, index[n], v);
                }
            }
        }
        Dataflow { graph: flow, index }
    }

    /// The nodes in an order in which definitions come before uses; `None` if there is a cycle.
    pub fn order(&self) -> Option<Vec<NodeId>> {
        let order = toposort(&self.graph, None).ok()?;
        Some(order.into_iter().map(|i| self.graph[i]).collect())
    }

    /// Which nodes depend on which, however far apart.
    pub fn reachability(&self) -> Reachability {
        let n = self.graph.node_count();
        let words = n.div_ceil(64);
        let mut rows = vec![0u64; n * words];
        // Uses before definitions, so that a node's row is the union of finished ones.
        for i in toposort(&self.graph, None).unwrap_or_default().into_iter().rev() {
            for edge in self.graph.edges(i) {
                let (from, to) = (i.index() * words, edge.target().index());
                rows[from + to / 64] |= 1 << (to % 64);
                for w in 0..words {
                    rows[from + w] |= rows[to * words + w];
                }
            }
        }
        Reachability { index: self.index.clone(), words, rows }
    }
}

/// The transitive closure of a block's dependencies, a bit a pair.
pub struct Reachability {
    index: HashMap<NodeId, NodeIndex>,
    words: usize,
    rows: Vec<u64>,
}

impl Reachability {
    /// `to` needs a result of `from`, directly or by way of others. Nodes of other blocks reach nothing.
    pub fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        let (Some(from), Some(to)) = (self.index.get(&from), self.index.get(&to)) else { return false };
        self.rows[from.index() * self.words + to.index() / 64] >> (to.index() % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests;
