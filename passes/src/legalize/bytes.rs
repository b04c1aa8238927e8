//! Products of bytes in the form that templates take.

use crate::fold::known::uniform;
use crate::lower::templates::int8;
use crate::pass::NodeView;
use nnc_ir::{DType, Dim, Node, OpError, Rewriter, ScalarOp, ValueId};

/// Products of a byte by a byte, zero points taken off, whose sum is exact in f32 in any order.
const EXACT_IN_F32: i64 = (1 << 24) / (255 * 255);

/// A transpose of centered bytes, read by a product, becomes the centered transpose: then bytes are what
/// lies in memory.
pub(super) fn transposed(rw: &mut Rewriter, node: &NodeView) -> Result<Option<Vec<ValueId>>, OpError> {
    if !is_integer_product(node) {
        return Ok(None);
    }
    let Some(outer) = rw.def(node.inputs[0], "transpose").cloned() else { return Ok(None) };
    let Some(x) = moved(rw, &outer, outer.inputs[0])? else { return Ok(None) };
    let mut inputs = node.inputs.clone();
    inputs[0] = x;
    Ok(Some(rw.b.add(node.old.op.name, node.attrs.clone(), &inputs)?))
}

fn is_integer_product(node: &NodeView) -> bool {
    matches!(node.old.op.name, "conv" | "contract")
        && node.types[0].as_tensor().is_some_and(|t| t.dtype == DType::I32)
}

/// The centered bytes of a value, moved by `outer` before they are widened.
fn moved(rw: &mut Rewriter, outer: &Node, v: ValueId) -> Result<Option<ValueId>, OpError> {
    let (x, zero) = match rw.def(v, "sub") {
        Some(node) => (node.inputs[0], Some(node.inputs[1])),
        None => (v, None),
    };
    let zero = zero.map(|z| uniform(rw.b.graph, z));
    let Some(byte) = rw.def(x, "cast").map(|n| n.inputs[0]) else { return Ok(None) };
    if !matches!(rw.b.graph.tensor_ty(byte).dtype, DType::U8 | DType::I8) || zero == Some(None) {
        return Ok(None);
    }
    let byte = rw.b.transpose(byte, &outer.attrs.indices("perm"))?;
    let x = rw.b.cast(byte, DType::I32)?;
    Ok(Some(match zero.flatten() {
        Some(zero) => rw.b.binary_const(ScalarOp::Sub, x, zero)?,
        None => x,
    }))
}

/// A depthwise convolution of bytes has too few products for the matrix kernel: its sums fit f32 exactly,
/// for which there is a kernel.
pub(super) fn depthwise(rw: &mut Rewriter, node: &NodeView) -> Result<Option<Vec<ValueId>>, OpError> {
    if !node.is("conv") || !is_integer_product(node) || !node.attrs.flag("channels_last") {
        return Ok(None);
    }
    let [x, w, bias] = node.inputs[..] else { return Ok(None) };
    let Some(shape) = rw.b.graph.tensor_ty(w).fixed_shape() else { return Ok(None) };
    let taps: usize = shape[2..].iter().product();
    let is_depthwise = shape[1] == 1 && shape[0] > 1 && node.attrs.index("groups") == shape[0];
    let graph = &*rw.b.graph;
    let bytes = int8::activations(graph, x).is_some() && int8::weights(graph, w, Some(0)).is_some();
    if !is_depthwise || !bytes || taps as i64 > EXACT_IN_F32 {
        return Ok(None);
    }
    let zero_bias = uniform(graph, bias) == Some(0.0);
    let (x, w) = (rw.b.cast(x, DType::F32)?, rw.b.cast(w, DType::F32)?);
    let none = nnc_ir::Tensor::zeros(DType::F32, &shape[..1])?;
    let none = rw.b.constant(none);
    let sums = rw.b.one("conv", node.attrs.clone(), &[x, w, none])?;
    let rank = rw.b.graph.tensor_ty(sums).rank();
    let sums = rw.b.cast(sums, DType::I32)?;
    if zero_bias {
        return Ok(Some(vec![sums]));
    }
    let mut along = vec![Dim::ONE; rank];
    along[rank - 1] = Dim::len(shape[0]);
    let bias = rw.b.reshape(bias, &along)?;
    Ok(Some(vec![rw.b.binary(ScalarOp::Add, sums, bias)?]))
}
