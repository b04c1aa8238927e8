//! Graphviz text of a graph.

use crate::{BlockId, Graph, NodeId, ValueId};
use petgraph::dot::Dot;
use petgraph::graph::{DiGraph, EdgeReference, NodeIndex};
use std::collections::HashMap;

/// The graph for Graphviz: inputs, nodes of all blocks and outputs, with types on the edges.
pub fn dot(graph: &Graph) -> String {
    let mut picture = Picture { graph, flow: DiGraph::new(), of_value: HashMap::new() };
    picture.block(graph.body(), None);
    let body = graph.block(graph.body());
    for (i, v) in body.results.iter().enumerate() {
        let end = picture.flow.add_node((label(graph, "output", *v, i), "ellipse"));
        picture.edge(*v, end);
    }
    let outlines: Vec<&str> = picture.flow.node_weights().map(|(_, outline)| *outline).collect();
    let texts = picture.flow.map(|_, (text, _)| text.clone(), |_, ty| ty.clone());
    let node = |_: &_, (i, _): (NodeIndex, &String)| format!("shape = {}", outlines[i.index()]);
    let edge = |_: &_, _: EdgeReference<String>| String::new();
    Dot::with_attr_getters(&texts, &[], &edge, &node).to_string()
}

fn label(graph: &Graph, kind: &str, v: ValueId, i: usize) -> String {
    match &graph.value(v).name {
        Some(name) => format!("{kind} {name}"),
        None => format!("{kind} {i}"),
    }
}

struct Picture<'a> {
    graph: &'a Graph,
    /// Label and outline of each box; types on the arrows.
    flow: DiGraph<(String, &'static str), String>,
    of_value: HashMap<ValueId, NodeIndex>,
}

impl Picture<'_> {
    fn block(&mut self, b: BlockId, owner: Option<NodeIndex>) {
        let block = self.graph.block(b);
        for (i, v) in block.params.iter().enumerate() {
            let kind = if owner.is_some() { "parameter" } else { "input" };
            let at = self.flow.add_node((label(self.graph, kind, *v, i), "ellipse"));
            self.of_value.insert(*v, at);
        }
        block.nodes.iter().for_each(|n| self.node(*n));
        for v in &block.results {
            if let Some(owner) = owner {
                self.edge(*v, owner);
            }
        }
    }

    fn node(&mut self, n: NodeId) {
        let node = self.graph.node(n);
        // Constants would be half of the picture.
        if node.is("constant") {
            return;
        }
        let origin = if node.origin.is_empty() { String::new() } else { format!("\n{}", node.origin) };
        let at = self.flow.add_node((format!("{}{origin}", node.op.name), "box"));
        self.of_value.extend(node.outputs.iter().map(|v| (*v, at)));
        node.inputs.iter().for_each(|v| self.edge(*v, at));
        node.blocks.iter().for_each(|b| self.block(*b, Some(at)));
    }

    fn edge(&mut self, v: ValueId, to: NodeIndex) {
        if let Some(from) = self.of_value.get(&v) {
            self.flow.add_edge(*from, to, self.graph.ty(v).to_string());
        }
    }
}
