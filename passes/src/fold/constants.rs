//! Evaluates nodes whose operands are constants.

use crate::pass::{Pass, Report, Target};
use nnc_ir::{Graph, OpError, Outcome, Value, eval_node_constant};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "fold-constants",
    doc: "Evaluates nodes whose operands are constants, within limits of time and of growth of the file.",
    required: false,
    run,
};

/// Scalar operations that folding one node may take.
const BUDGET: u64 = 16 << 20;
/// Bytes by which one folded node may grow the file.
const GROWTH: usize = 1 << 20;

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, |rw, node| {
        if node.inputs.is_empty() || !node.inputs.iter().all(|v| rw.b.graph.constant(*v).is_some()) {
            return Ok(Outcome::NoMatch);
        }
        let made: usize = node.types.iter().filter_map(size_bytes).sum();
        let read: usize = node.inputs.iter().filter_map(|v| size_bytes(rw.b.graph.ty(*v))).sum();
        if made > read + GROWTH {
            return Ok(Outcome::Blocked("the result would grow the file by over 1 MiB"));
        }
        let mut probe = node.old.clone();
        probe.inputs.clone_from(&node.inputs);
        let Some(values) = eval_node_constant(rw.b.graph, &probe, &node.types, BUDGET) else {
            return Ok(Outcome::Blocked("it would take too long, or its sizes are not fixed"));
        };
        let tensors = values.into_iter().map(|v| match v {
            Value::Tensor(t) => Ok(rw.b.constant(t)),
            _ => Err(OpError("a pure operator on tensors gave something else".into())),
        });
        Ok(Outcome::Applied(tensors.collect::<Result<_, _>>()?))
    })
}

fn size_bytes(ty: &nnc_ir::Type) -> Option<usize> {
    let t = ty.as_tensor()?;
    t.dtype.bytes_for(t.fixed_shape()?.iter().product())
}
