//! Softmax and normalization over the innermost axis, row by row: by microkernels, or as loops along the
//! row where the schedule has none.

use super::blocks::{BlockSize, block_axis};
use crate::lower::emit::Emitter;
use nnc_ir::tile::{Access, Arg, Local, Mem, Turns};
use nnc_ir::{Attrs, DType, Dim, Graph, Node, ScalarOp, ValueId};

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
    if !e.schedule.row_kernels {
        return by_loops(e, node, rows, n);
    }
    // About 4096 elements a grid point.
    let per_point = (4096 / n.as_const().unwrap_or(512).max(1)).clamp(1, 64);
    let (r0, r_len) = block_axis(e, &rows, BlockSize(per_point));
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

/// A row in memory.
pub(crate) struct Row {
    /// Where it is read.
    pub(crate) x: Mem,
    /// Where it is written.
    pub(crate) y: Mem,
    /// Its first element.
    pub(crate) first: Dim,
    /// Elements.
    pub(crate) n: Dim,
}

impl Row {
    /// Folds `of` each element.
    pub(crate) fn fold(
        &self,
        e: &mut Emitter,
        op: ScalarOp,
        start: f64,
        of: impl Fn(&mut Emitter, Local) -> Local,
    ) -> Local {
        let start = e.kb.float(DType::F32, start);
        let open = e.begin(Turns::Lanes, self.n.clone(), &[]);
        let x = e.kb.load(self.x, self.first.clone() + open.index());
        let value = of(e, x);
        e.end(open, &[], &[(op, start, value)]).1[0]
    }

    /// Writes `of` each element and its column.
    pub(crate) fn map(&self, e: &mut Emitter, of: impl Fn(&mut Emitter, Local, &Dim) -> Local) {
        let open = e.begin(Turns::Lanes, self.n.clone(), &[]);
        let at = self.first.clone() + open.index();
        let x = e.kb.load(self.x, at.clone());
        let value = of(e, x, &open.index());
        e.kb.store(self.y, at, value);
        e.end(open, &[], &[]);
    }

    /// A sum over the row divided by its length.
    fn mean(&self, e: &mut Emitter, of: impl Fn(&mut Emitter, Local) -> Local) -> Local {
        let sum = self.fold(e, ScalarOp::Add, 0.0, of);
        let n = e.kb.def(DType::I64, nnc_ir::tile::Expr::Index(self.n.clone()));
        let n = e.kb.cast(n, DType::F32);
        e.kb.op(ScalarOp::Div, &[sum, n])
    }
}

/// Emits the kernel as loops: a grid point a row, or some short rows side by side.
fn by_loops(e: &mut Emitter, node: &Node, rows: Dim, n: Dim) {
    e.cost = n.clone() + Dim::int(20);
    each(e, rows, &n.clone(), |e, r| {
        let x = e.buffer(node.inputs[0], Access::Read);
        let y = e.buffer(node.outputs[0], Access::Write);
        let row = Row { x, y, first: r * n.clone(), n };
        if node.is("softmax") { softmax(e, node, &row) } else { norm(e, node, &row) }
    });
}

/// Emits `row` for each of some rows of `n` elements, as the schedule deals them out.
pub(crate) fn each(e: &mut Emitter, rows: Dim, n: &Dim, row: impl FnOnce(&mut Emitter, Dim)) {
    let Some(at_once) = e.schedule.rows_at_once(n) else {
        let r = e.grid(rows);
        return row(e, r);
    };
    let (first, len) = block_axis(e, &rows, BlockSize(at_once));
    let open = e.begin(Turns::Rows, len, &[]);
    let r = first + open.index();
    e.note_local(&r, rows - Dim::ONE);
    row(e, r);
    e.end(open, &[], &[]);
    e.cost = e.cost.clone() * Dim::int(at_once);
}

fn softmax(e: &mut Emitter, node: &Node, row: &Row) {
    let greatest = row.fold(e, ScalarOp::Max, f64::NEG_INFINITY, |_, x| x);
    let shifted = |e: &mut Emitter, x: Local| e.kb.op(ScalarOp::Sub, &[x, greatest]);
    let power = |e: &mut Emitter, x: Local| {
        let d = shifted(e, x);
        e.kb.op(ScalarOp::Exp, &[d])
    };
    let sum = row.fold(e, ScalarOp::Add, 0.0, power);
    if node.attrs.flag("log") {
        let log = e.kb.op(ScalarOp::Log, &[sum]);
        return row.map(e, |e, x, _| {
            let d = shifted(e, x);
            e.kb.op(ScalarOp::Sub, &[d, log])
        });
    }
    row.map(e, |e, x, _| {
        let p = power(e, x);
        e.kb.op(ScalarOp::Div, &[p, sum])
    });
}

fn norm(e: &mut Emitter, node: &Node, row: &Row) {
    let (gamma, beta) = (e.buffer(node.inputs[1], Access::Read), e.buffer(node.inputs[2], Access::Read));
    let mean = (!node.attrs.flag("rms")).then(|| row.mean(e, |_, x| x));
    let centered = |e: &mut Emitter, x: Local| match mean {
        Some(m) => e.kb.op(ScalarOp::Sub, &[x, m]),
        None => x,
    };
    let variance = row.mean(e, |e, x| {
        let d = centered(e, x);
        e.kb.op(ScalarOp::Mul, &[d, d])
    });
    let eps = e.kb.float(DType::F32, node.attrs.float("eps"));
    let sum = e.kb.op(ScalarOp::Add, &[variance, eps]);
    let root = e.kb.op(ScalarOp::Sqrt, &[sum]);
    row.map(e, |e, x, column| {
        let d = centered(e, x);
        let unit = e.kb.op(ScalarOp::Div, &[d, root]);
        let (g, b) = (e.kb.load(gamma, column.clone()), e.kb.load(beta, column.clone()));
        let scaled = e.kb.op(ScalarOp::Mul, &[unit, g]);
        e.kb.op(ScalarOp::Add, &[scaled, b])
    });
}
