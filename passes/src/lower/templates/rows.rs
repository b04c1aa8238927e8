//! Softmax and normalization over the innermost axis, row by row.

use crate::lower::emit::Emitter;
use nnc_ir::tile::{Access, Arg};
use nnc_ir::{Attrs, DType, Dim, Graph, Node, ValueId};

const SOFTMAX: (&str, u32) = ("f32_softmax", 1);
const NORM: (&str, u32) = ("f32_norm", 1);

/// True if a row kernel computes this operator on an operand; otherwise it has to be decomposed.
pub(crate) fn fits(graph: &Graph, op: &str, attrs: &Attrs, x: ValueId) -> bool {
    let ty = graph.tensor_ty(x);
    let innermost = op == "layer_norm" || attrs.index("axis") + 1 == ty.rank();
    ty.dtype == DType::F32 && innermost
}

/// Emits the kernel of such a node.
pub(crate) fn emit(e: &mut Emitter, node: &Node) {
    let shape = e.shape(node.inputs[0]);
    let split = if node.is("softmax") { shape.len() - 1 } else { node.attrs.index("axes_from") };
    let (rows, n) = (Dim::product(&shape[..split]), Dim::product(&shape[split..]));
    // About 4096 elements a grid point.
    let per_point = (4096 / n.as_const().unwrap_or(512).max(1)).clamp(1, 64);
    let (r0, r_len) = super::gemm::block_axis(e, &rows, super::gemm::BlockSize(per_point));
    let x = e.buffer(node.inputs[0], Access::Read);
    let y = e.buffer(node.outputs[0], Access::Write);
    let at = r0 * n.clone();
    let int = |v: i64| Arg::Int(Dim::int(v));
    let mut args = vec![Arg::Ptr(y, at.clone()), Arg::Ptr(x, at), Arg::Int(r_len), Arg::Int(n.clone())];
    args.extend([Arg::Int(n.clone()), Arg::Int(n.clone())]);
    e.cost = (Dim::int(per_point) * n.clone()).floor_div(&Dim::int(2)) + Dim::int(20);
    if node.is("softmax") {
        args.extend([int(node.attrs.int("log")), Arg::F32(1.0), Arg::Null, int(0), Arg::Int(n), int(0)]);
        return e.kb.call(SOFTMAX.0, SOFTMAX.1, args);
    }
    let gamma = e.buffer(node.inputs[1], Access::Read);
    let beta = e.buffer(node.inputs[2], Access::Read);
    args.extend([
        Arg::Ptr(gamma, Dim::ZERO),
        Arg::Ptr(beta, Dim::ZERO),
        Arg::F32(node.attrs.float("eps") as f32),
    ]);
    args.extend([int(node.attrs.int("rms")), Arg::Null, Arg::Null]);
    e.kb.call(NORM.0, NORM.1, args);
}
