//! Scattered updates: a copy of the data, then the updates one after the other in the order of the
//! indices, as the standard's reference does.

use crate::lower::emit::Emitter;
use crate::lower::index::row_major;
use nnc_ir::tile::{Access, Mem, Turns};
use nnc_ir::{Dim, Node, ScalarOp};

/// Emits the copy of the data.
pub(crate) fn emit_copy(e: &mut Emitter, node: &Node) {
    let shape = [e.graph.tensor_ty(node.outputs[0]).elems()];
    let y = e.buffer(node.outputs[0], Access::Write);
    let x = e.buffer(node.inputs[0], Access::Read);
    let chunk = e.schedule.chunk;
    let (first, len) = super::blocks::block_axis(e, &shape[0], super::blocks::BlockSize(chunk));
    let lanes = e.begin(Turns::Lanes, len, &[]);
    let at = first + lanes.index();
    let value = e.kb.load(x, at.clone());
    e.kb.store(y, at, value);
    e.end(lanes, &[], &[]);
    e.cost = Dim::int(1000);
}

/// Emits the updates.
pub(crate) fn emit_updates(e: &mut Emitter, node: &Node) {
    let (data, indices, updates) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    let shape = e.shape(data);
    let y = e.buffer(node.outputs[0], Access::ReadWrite);
    let over: Vec<Dim> = match node.is("scatter_elements") {
        true => e.shape(indices).to_vec(),
        false => e.shape(updates).to_vec(),
    };
    let loops: Vec<_> = over.iter().map(|d| e.begin(Turns::Serial, d.clone(), &[])).collect();
    let idx: Vec<Dim> = loops.iter().map(|l| l.index()).collect();
    let at = if node.is("scatter_elements") {
        let axis = node.attrs.index("axis");
        let mut at = idx.clone();
        at[axis] = e.loaded_index(indices, &idx, &shape[axis]);
        at
    } else {
        let rank = e.shape(indices).len();
        let depth = e.shape(indices)[rank - 1].as_len().expect("inference asks for a fixed index depth");
        let mut at: Vec<Dim> = (0..depth)
            .map(|k| {
                let from = [&idx[..rank - 1], &[Dim::len(k)]].concat();
                e.loaded_index(indices, &from, &shape[k])
            })
            .collect();
        at.extend_from_slice(&idx[rank - 1..]);
        at
    };
    let value = e.value(updates, &idx);
    store(e, y, row_major(shape, &at), value, node.attrs.str("reduction"));
    for l in loops.into_iter().rev() {
        e.end(l, &[], &[]);
    }
    e.cost = Dim::product(&over);
}

fn store(e: &mut Emitter, y: Mem, at: Dim, value: nnc_ir::tile::Local, reduction: &str) {
    let op = match reduction {
        "add" => ScalarOp::Add,
        "mul" => ScalarOp::Mul,
        "min" => ScalarOp::Min,
        "max" => ScalarOp::Max,
        _ => return e.kb.store(y, at, value),
    };
    let old = e.kb.load(y, at.clone());
    let new = e.kb.op(op, &[old, value]);
    e.kb.store(y, at, new);
}
