//! Evaluation of single nodes whose operands are constants.

use crate::ops::{EvalCx, OpError};
use crate::{Graph, Node, Tensor, Type, Value, ops::Effects};

/// Scalar operations that evaluating a node takes, where its sizes are fixed.
pub fn cost(graph: &Graph, node: &Node, types: &[Type]) -> Option<u64> {
    let elems = |ty: &Type| {
        let sizes = ty.as_tensor()?.fixed_shape()?;
        sizes.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64))
    };
    let total = |tys: &[&Type]| tys.iter().try_fold(0u64, |n, t| n.checked_add(elems(t)?));
    let shape = |i: usize| graph.ty(node.inputs[i]).as_tensor()?.fixed_shape();
    let product = |sizes: &[usize]| sizes.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
    let outputs = total(&types.iter().collect::<Vec<_>>())?;
    let depth: u64 = match node.op.name {
        "contract" => {
            let (lhs, out) = (node.attrs.str("lhs"), node.attrs.str("out"));
            let summed = lhs.chars().zip(shape(0)?).filter(|(l, _)| !out.contains(*l));
            product(&summed.map(|(_, n)| n).collect::<Vec<_>>())?
        }
        "conv" => product(&shape(1)?[1..])?,
        "conv_transpose" => product(&shape(1)?)?,
        "pool" | "max_pool_indices" => product(&node.attrs.indices("kernel"))?,
        "attention" => product(&shape(1)?[2..])?,
        "recurrent" => shape(1)?.iter().chain(&shape(2)?).map(|n| *n as u64).sum(),
        _ => 1,
    };
    outputs
        .checked_mul(depth.max(1))?
        .checked_add(total(&node.inputs.iter().map(|v| graph.ty(*v)).collect::<Vec<_>>())?)
}

/// The results, of the given types, of a node whose operands are all constants, if that takes at most
/// `budget` scalar operations.
///
/// `None` also where a size is not fixed, where the node has bodies or effects, and where evaluation
/// fails: a run will then fail with the message.
pub fn eval_node_constant(graph: &Graph, node: &Node, types: &[Type], budget: u64) -> Option<Vec<Value>> {
    if node.effects() != Effects::Pure || !node.blocks.is_empty() || node.is("constant") {
        return None;
    }
    let inputs: Vec<Value> =
        node.inputs.iter().map(|v| graph.constant(*v).cloned().map(Value::Tensor)).collect::<Option<_>>()?;
    if cost(graph, node, types)? > budget {
        return None;
    }
    let cx = EvalCx {
        attrs: &node.attrs,
        inputs: &inputs,
        outputs: types,
        syms: &|_| None,
        run_block: &|_, _| Err(OpError("a node with bodies is not folded".into())),
    };
    let results = (node.op.eval)(&cx).ok()?;
    let fits = |(ty, v): (&Type, &Value)| match (ty.as_tensor(), v.tensor()) {
        (Some(ty), Some(t)) => is_of_type(t, ty),
        _ => false,
    };
    (results.len() == types.len() && types.iter().zip(&results).all(fits)).then_some(results)
}

fn is_of_type(t: &Tensor, ty: &crate::TensorType) -> bool {
    t.dtype() == ty.dtype && ty.fixed_shape().as_deref() == Some(t.shape())
}
