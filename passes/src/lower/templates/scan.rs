//! Cumulative sums and products: a serial loop along one axis, all others parallel.

use crate::lower::emit::Emitter;
use crate::lower::index::row_major;
use crate::lower::window::reduce_op;
use nnc_ir::tile::{Access, Turns, arithmetic_type};
use nnc_ir::{Dim, Node, ScalarOp};

/// Emits the kernel of a `cumulative` node.
pub(crate) fn emit(e: &mut Emitter, node: &Node) {
    let shape = e.shape(node.inputs[0]);
    let (axis, reverse) = (node.attrs.index("axis"), node.attrs.flag("reverse"));
    let mut at: Vec<Dim> = Vec::new();
    for (k, d) in shape.iter().enumerate() {
        at.push(if k == axis { Dim::ZERO } else { e.grid(d.clone()) });
    }
    let y = e.buffer(node.outputs[0], Access::Write);
    let dtype = arithmetic_type(e.dtype(node.outputs[0]));
    let op = reduce_op(node.attrs.str("kind"), dtype);
    let start = e.kb.constant(dtype, if op == ScalarOp::Mul { 1.0 } else { 0.0 });
    let open = e.begin(Turns::Serial, shape[axis].clone(), &[start]);
    let i = open.index();
    at[axis] = if reverse { shape[axis].clone() - Dim::ONE - i } else { i };
    let before = open.carried()[0];
    let x = e.value(node.inputs[0], &at);
    let after = e.kb.op(op, &[before, x]);
    e.kb.store(y, row_major(shape, &at), if node.attrs.flag("exclusive") { before } else { after });
    e.end(open, &[after], &[]);
    e.cost = shape[axis].clone();
}
