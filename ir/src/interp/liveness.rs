//! When a value is read for the last time.

use crate::{BlockId, Graph, ValueId};
use std::collections::BTreeSet;

/// For each node, the values of its own block that nothing reads afterwards; indexed by `NodeId::index`.
pub(super) fn last_uses(graph: &Graph) -> Vec<Vec<ValueId>> {
    let mut dying = vec![Vec::new(); graph.n_nodes()];
    walk(graph, graph.body(), &mut dying);
    dying
}

/// Fills in one block and answers what it reads of the blocks around it.
fn walk(graph: &Graph, block: BlockId, dying: &mut [Vec<ValueId>]) -> BTreeSet<ValueId> {
    let body = graph.block(block);
    let outputs = body.nodes.iter().flat_map(|n| &graph.node(*n).outputs);
    let own: BTreeSet<ValueId> = outputs.chain(&body.params).copied().collect();
    let mut live: BTreeSet<ValueId> = body.results.iter().copied().collect();
    for n in body.nodes.iter().rev() {
        let node = graph.node(*n);
        let captured = node.blocks.iter().flat_map(|b| walk(graph, *b, dying));
        let reads: BTreeSet<ValueId> = node.inputs.iter().copied().chain(captured).collect();
        let unread = node.outputs.iter().filter(|v| !live.contains(v));
        // A value of an outer block lives on: that block decides.
        let last = reads.iter().filter(|v| !live.contains(v) && own.contains(v));
        dying[n.index()] = unread.chain(last).copied().collect();
        live.extend(reads);
    }
    live.difference(&own).copied().collect()
}
