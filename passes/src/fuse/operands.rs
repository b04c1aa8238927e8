//! Which operands of a template have to lie in memory, and whether a template fits at all.

use crate::lower::templates;
use nnc_ir::{Graph, Node, ValueId};

/// True if a microkernel nest computes this contraction or convolution.
pub(crate) fn has_template(graph: &Graph, node: &Node) -> bool {
    match node.op.name {
        "contract" => templates::gemm::plan(graph, node).is_some(),
        "conv" => templates::conv::plan(graph, node).is_some(),
        _ => false,
    }
}

/// The values that a template reads from memory. Movements between them and the node are absorbed, and
/// so are zero points.
pub(crate) fn in_memory(graph: &Graph, node: &Node) -> Vec<ValueId> {
    match node.op.name {
        "contract" => templates::gemm::plan(graph, node).map_or_else(
            || node.inputs.clone(),
            |p| {
                let right = p.nibbles.map_or_else(|| vec![p.b.base], |w| w.values());
                let zero = p.bytes.and_then(|(a, _)| a.zero.read());
                [p.a.base].into_iter().chain(right).chain(zero).collect()
            },
        ),
        "conv" => templates::conv::bytes(graph, node).map_or_else(
            || node.inputs.clone(),
            |(x, w)| [x.value, w.value, node.inputs[2]].into_iter().chain(x.zero.read()).collect(),
        ),
        "attention" => templates::attention::plan(graph, &node.attrs, &node.inputs)
            .map_or_else(|| node.inputs.clone(), |p| p.bases()),
        _ => node.inputs.clone(),
    }
}
