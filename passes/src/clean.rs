//! Merges equal nodes and drops nodes that nobody reads.

use crate::pass::{Pass, Report, Target};
use nnc_ir::ops::Effects;
use nnc_ir::{Attrs, BlockId, Graph, NodeId, OpError, Outcome, Sym, ValueId};
use std::collections::{BTreeSet, HashMap};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "clean",
    doc: "Common subexpressions and dead code: afterwards no two pure nodes of a block are equal and every node is read.",
    required: true,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    let merged = merge(graph, report)?;
    drop_dead(&merged)
}

/// Equal operator, attributes and operands make equal values. Only nodes of one block are merged: a
/// value of one branch does not exist in the other.
fn merge(graph: &Graph, report: &mut Report) -> Result<Graph, OpError> {
    type Key = (BlockId, &'static str, Vec<ValueId>);
    let mut seen: HashMap<Key, Vec<(Attrs, Vec<ValueId>)>> = HashMap::new();
    report.apply(PASS.name, graph, |rw, node| {
        if node.old.effects() != Effects::Pure {
            return Ok(Outcome::NoMatch);
        }
        let known = seen.entry((rw.b.block, node.old.op.name, node.inputs.clone())).or_default();
        if let Some((_, values)) = known.iter().find(|(a, _)| a == node.attrs) {
            return Ok(Outcome::Applied(values.clone()));
        }
        let values = rw.copy(node)?;
        known.push((node.attrs.clone(), values.clone()));
        Ok(Outcome::Kept(values))
    })
}

/// Copies only what results, and nodes that bind symbols in use, depend on.
fn drop_dead(graph: &Graph) -> Result<Graph, OpError> {
    let mut live: BTreeSet<ValueId> = graph.block(graph.body()).results.iter().copied().collect();
    let mut order: Vec<NodeId> = Vec::new();
    graph.visit_nodes(graph.body(), &mut |n| order.push(n));
    let mut syms: BTreeSet<Sym> = BTreeSet::new();
    let mut keep: BTreeSet<NodeId> = BTreeSet::new();
    // Outer nodes come before those of their bodies, so that walking backward sees readers first;
    // a body is live as soon as its node is, hence the repetition until nothing changes.
    loop {
        let before = keep.len();
        for n in order.iter().rev() {
            let node = graph.node(*n);
            let read = node.outputs.iter().any(|v| live.contains(v));
            let binds =
                node.effects() == Effects::Binds && node.outputs.iter().any(|v| binds_any(graph, *v, &syms));
            if !(read || binds) || !keep.insert(*n) {
                continue;
            }
            live.extend(&node.inputs);
            for b in &node.blocks {
                live.extend(&graph.block(*b).results);
            }
            note_syms(graph, node, &mut syms);
        }
        if keep.len() == before {
            break;
        }
    }
    graph.retain(&keep)
}

fn binds_any(graph: &Graph, v: ValueId, syms: &BTreeSet<Sym>) -> bool {
    let content = graph.value(v).content.as_deref().unwrap_or_default();
    content.iter().any(|d| d.as_sym().is_some_and(|s| syms.contains(s)))
}

/// Symbols that a node's types and attributes mention.
fn note_syms(graph: &Graph, node: &nnc_ir::Node, syms: &mut BTreeSet<Sym>) {
    let mut note = |d: &nnc_ir::Dim| {
        d.visit_syms(&mut |s| {
            syms.insert(s.clone());
        })
    };
    node.inputs.iter().chain(&node.outputs).for_each(|v| graph.ty(*v).visit_dims(&mut note));
    for (_, a) in node.attrs.iter() {
        if let nnc_ir::Attr::Dims(ds) = a {
            ds.iter().for_each(&mut note);
        }
    }
}
