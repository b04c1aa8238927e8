//! Evaluates nodes whose operands are constants.

use crate::pass::{Pass, Report, Target};
use nnc_ir::{Graph, OpError, Outcome, Tensor, Value, ValueId, eval_node_constant};
use nnc_tensor::movers;

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

/// Bytes of what may become of a constant of several elements a byte.
const MOST_UNPACKED: usize = 64 << 10;

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, |rw, node| {
        // A broadcast costs nothing where it is read; its result would cost memory.
        if node.is("broadcast") || !node.inputs.iter().any(|v| rw.b.graph.constant(*v).is_some()) {
            return Ok(Outcome::NoMatch);
        }
        let mut operands = Vec::with_capacity(node.inputs.len());
        for v in &node.inputs {
            match known(rw.b.graph, *v)? {
                Some(t) => operands.push(t),
                None => return Ok(Outcome::NoMatch),
            }
        }
        let made: usize = node.types.iter().filter_map(size_bytes).sum();
        let read: usize = node.inputs.iter().filter_map(|v| size_bytes(rw.b.graph.ty(*v))).sum();
        if made > read + GROWTH {
            return Ok(Outcome::Blocked("the result would grow the file by over 1 MiB"));
        }
        if node.is("cast") && operands[0].dtype().is_packed() && made > MOST_UNPACKED {
            return Ok(Outcome::Blocked("packed numbers stay packed"));
        }
        let mut probe = node.old.clone();
        probe.inputs = operands.into_iter().map(|t| rw.b.constant(t)).collect();
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

/// The elements of a constant, or of a constant broadcast to fixed sizes.
fn known(graph: &Graph, v: ValueId) -> Result<Option<Tensor>, OpError> {
    if let Some(t) = graph.constant(v) {
        return Ok(Some(t.clone()));
    }
    let Some(node) = graph.def_if(v, "broadcast") else { return Ok(None) };
    let shape = graph.tensor_ty(v).fixed_shape();
    match (graph.constant(node.inputs[0]), shape) {
        (Some(t), Some(shape)) => Ok(Some(movers::broadcast_to(t, &shape)?)),
        _ => Ok(None),
    }
}

fn size_bytes(ty: &nnc_ir::Type) -> Option<usize> {
    let t = ty.as_tensor()?;
    t.dtype.bytes_for(t.fixed_shape()?.iter().product())
}
