//! Attention: scores of a block of queries stay in cache between the two products.
//!
//! A grid point takes one key head and some hundred queries. It packs the head's keys and values once;
//! then, a few dozen queries at a time: scores by the matrix kernel, softmax with mask and causal limit
//! by the row kernel, the sum of values by the matrix kernel again. The scores of a whole head are never
//! in memory (Dao et al. 2022, "FlashAttention", arXiv 2205.14135; rows here fit the second-level cache
//! and need no running maximum). Where the schedule packs nothing, a grid point takes the queries of one
//! block and reads keys and values where they lie; where it has no row kernel, the softmax is loops.

use super::PANEL;
use super::blocks::{BlockSize, Open, block_axis, by_rows};
use super::gemm::{PACK, Product, Right, cost};
use super::rows::Row;
use crate::lower::emit::Emitter;
use crate::lower::index::{View, views};
use nnc_ir::tile::{Access, Arg, Mem, Turns};
use nnc_ir::{Attrs, DType, Dim, Graph, Node, ScalarOp, Sym, ValueId};
use nnc_tensor::Range;

const SOFTMAX: (&str, u32) = ("f32_softmax", 1);
/// Mode of `f32_softmax`: rows without any score above −∞ become zeros.
const EMPTY_ROWS: i64 = 2;
/// Elements of scores that are held at a time.
const SCORES: i64 = 64 * 1024;
/// Blocks of queries for which keys and values are packed once.
const BLOCKS: i64 = 8;

/// Placeholders of the indices: batch, head (of queries or of keys), row (query or key), feature.
fn placeholder(i: u32) -> Sym {
    Sym::Local(u32::MAX - i)
}

const BATCH: u32 = 1;
const HEAD: u32 = 2;
const ROW: u32 = 3;
const FEATURE: u32 = 4;

/// How an attention maps onto the kernels.
#[derive(Debug)]
pub(crate) struct Plan {
    q: View,
    k: View,
    v: View,
    /// `None` where the mask adds nothing.
    mask: Option<View>,
}

impl Plan {
    /// Values that have to lie in memory.
    pub(crate) fn bases(&self) -> Vec<ValueId> {
        [Some(&self.q), Some(&self.k), Some(&self.v), self.mask.as_ref()]
            .into_iter()
            .flatten()
            .map(|v| v.base)
            .collect()
    }
}

/// The mapping, if there is one.
pub(crate) fn plan(graph: &Graph, attrs: &Attrs, inputs: &[ValueId]) -> Option<Plan> {
    let [q, k, v, mask] = [inputs[0], inputs[1], inputs[2], inputs[3]];
    let shape = |v: ValueId| &graph.tensor_ty(v).shape;
    let f32s = inputs.iter().all(|v| graph.tensor_ty(*v).dtype == DType::F32);
    let heads = (shape(q)[1].as_const()?, shape(k)[1].as_const()?);
    let fixed = shape(q)[3].as_const().is_some() && shape(v)[3].as_const().is_some();
    if !f32s || !fixed || heads.1 == 0 || heads.0 % heads.1 != 0 || attrs.float("softcap") != 0.0 {
        return None;
    }
    Some(Plan {
        q: straight(graph, q, true)?,
        k: straight(graph, k, false)?,
        v: straight(graph, v, false)?,
        mask: added(graph, mask, [&shape(q)[0], &shape(q)[1], &shape(q)[2], &shape(k)[2]])?,
    })
}

/// A view of `[B, H, S, D]` in which rows and features are straight lines; `unit`: features are neighbors.
fn straight(graph: &Graph, v: ValueId, unit: bool) -> Option<View> {
    let idx: Vec<Dim> = [BATCH, HEAD, ROW, FEATURE].map(|i| Dim::sym(placeholder(i))).to_vec();
    let stride = |view: &View, i: u32| view.at.linear_in(&placeholder(i)).map(|(c, _)| c);
    look_through(graph, v, &idx)
        .into_iter()
        .rfind(|view| stride(view, ROW).is_some() && stride(view, FEATURE).is_some_and(|s| !unit || s.is(1)))
}

/// A mask as a view of which a row is contiguous: `Some(None)` if it is zero, `None` if it has no such form.
#[allow(clippy::option_option)]
fn added(graph: &Graph, mask: ValueId, full: [&Dim; 4]) -> Option<Option<View>> {
    let shape = &graph.tensor_ty(mask).shape;
    let index = |(i, (have, want)): (u32, (&Dim, &Dim))| match have {
        d if d.is(1) && i != FEATURE => Some(Dim::ZERO),
        d if d == want => Some(Dim::sym(placeholder(i))),
        _ => None,
    };
    let idx: Vec<Dim> = (BATCH..).zip(shape.iter().zip(full)).map(index).collect::<Option<_>>()?;
    let found = look_through(graph, mask, &idx);
    let base = found.last().expect("the value itself is a view").base;
    if graph.constant(base).is_some_and(|t| t.len() == 1 && t.to_f64s()[0] == 0.0) {
        return Some(None);
    }
    let row = |view: &View| view.at.linear_in(&placeholder(FEATURE)).is_some_and(|(c, _)| c.is(1));
    let even = |view: &View| view.at.linear_in(&placeholder(ROW)).is_some();
    Some(Some(found.into_iter().rfind(|view| row(view) && even(view))?))
}

/// Every view of a value of shape `[B, H, S, D]` at the placeholders.
fn look_through(graph: &Graph, v: ValueId, idx: &[Dim]) -> Vec<View> {
    let shape = graph.tensor_ty(v).shape.clone();
    let range = |s: &Sym| {
        let axis = (0..4u32).find(|i| *s == placeholder(i + 1));
        axis.map_or_else(Range::length, |i| {
            let extent = &shape[i as usize];
            Range {
                low: Some(0),
                high: extent.as_const().map(|e| e - 1),
                top: Some(extent.clone() - Dim::ONE),
            }
        })
    };
    views(graph, v, idx, &|d| d.simplify(&range))
}

/// Where a view begins at a batch, head and row, and the strides of rows and features.
fn place(view: &View, batch: &Dim, head: &Dim, row: &Dim) -> (Dim, Dim, Dim) {
    let stride = |i| view.at.linear_in(&placeholder(i)).map_or(Dim::ZERO, |(c, _)| c);
    let at = view.at.substitute(&|s| {
        let values = [(BATCH, batch), (HEAD, head), (ROW, row), (FEATURE, &Dim::ZERO)];
        values.into_iter().find(|(i, _)| *s == placeholder(*i)).map(|(_, d)| d.clone())
    });
    (at, stride(ROW), stride(FEATURE))
}

/// Sizes of one attention.
struct Sizes {
    /// Query heads that share a key head.
    group: i64,
    queries: Dim,
    keys: Dim,
    /// Features of keys and of values.
    d: Dim,
    dv: Dim,
    /// Queries of a block.
    rows: i64,
}

/// Emits the kernel of an attention.
pub(crate) fn emit(e: &mut Emitter, node: &Node) -> Option<()> {
    let plan = plan(e.graph, &node.attrs, &node.inputs)?;
    let (qs, ks) = (e.shape(node.inputs[0]), e.shape(node.inputs[1]));
    let keys = ks[2].clone();
    let s = Sizes {
        group: qs[1].as_const()? / ks[1].as_const()?,
        queries: qs[2].clone(),
        d: qs[3].clone(),
        dv: e.shape(node.inputs[2])[3].clone(),
        rows: match e.schedule.block {
            Some((rows, _)) => rows,
            None => (SCORES / keys.as_const().unwrap_or(1024).max(1)).clamp(12, 96) / 6 * 6,
        },
        keys,
    };
    let blocks_of_point = if e.schedule.packs { BLOCKS } else { 1 };
    let (batch, head) = (e.grid(qs[0].clone()), e.grid(ks[1].clone()));
    let (r0, r_len) = block_axis(e, &s.queries, BlockSize(s.rows * blocks_of_point));
    let k = right(e, &plan.k, (&batch, &head), (&s.d, &s.keys), true);
    let v = right(e, &plan.v, (&batch, &head), (&s.keys, &s.dv), false);
    let scores = e.kb.scratch(DType::F32, Dim::int(s.rows) * s.keys.clone());
    let member = (s.group > 1).then(|| e.begin(Turns::Serial, Dim::int(s.group), &[]));
    let of_group = member.as_ref().map_or(Dim::ZERO, |m| m.index());
    let head = head * Dim::int(s.group) + of_group;
    let blocks = e.begin(Turns::Serial, r_len.ceil_div(&Dim::int(s.rows)), &[]);
    let first = blocks.index() * Dim::int(s.rows);
    let len = (r_len.clone() - first.clone()).min_with(&Dim::int(s.rows));
    let row = r0 + first;

    let q = e.buffer(plan.q.base, Access::Read);
    let (q_at, q_stride, _) = place(&plan.q, &batch, &head, &row);
    let held = Rows { mem: scores, at: Dim::ZERO, stride: s.keys.clone() };
    product(e, &held, (&len, &s.keys, &s.d), (q, q_at, q_stride), k);
    match e.schedule.row_kernels {
        true => weigh(e, node, &plan, &s, &held, (&batch, &head, &row, &len)),
        false => weigh_by_loops(e, node, &plan, &s, &held, (&batch, &head, &row, &len)),
    }
    let out = result(e, node, (&batch, &head, &row));
    product(e, &out, (&len, &s.dv, &s.keys), (scores, Dim::ZERO, s.keys.clone()), v);

    e.end(blocks, &[], &[]);
    if let Some(member) = member {
        e.end(member, &[], &[]);
    }
    let width = s.d.clone() + s.dv.clone() + Dim::int(8);
    let queries = s.queries.min_with(&Dim::int(s.rows * blocks_of_point)) * Dim::int(s.group);
    e.cost = cost(&queries, &s.keys, &width);
    Some(())
}

/// Keys (transposed: features are summed, keys are columns) or values of one head as a right operand,
/// packed if the schedule says so.
fn right(
    e: &mut Emitter,
    view: &View,
    (batch, head): (&Dim, &Dim),
    (depth, columns): (&Dim, &Dim),
    transposed: bool,
) -> Right {
    let (at, row, feature) = place(view, batch, head, &Dim::ZERO);
    let from = e.buffer(view.base, Access::Read);
    let at = e.simplify(&at);
    let (k_stride, n_stride) = if transposed { (feature, row) } else { (row, feature) };
    if !e.schedule.packs {
        return Right::Strided(from, at, k_stride, n_stride);
    }
    let panel = depth.clone() * Dim::int(PANEL);
    let to = e.kb.scratch(DType::F32, panel.clone() * columns.ceil_div(&Dim::int(PANEL)));
    let (k, n) = (Arg::Int(depth.clone()), Arg::Int(columns.clone()));
    let strides = [Arg::Int(k_stride), Arg::Int(n_stride), Arg::Int(panel.clone())];
    let ends = [Arg::Ptr(to, Dim::ZERO), Arg::Ptr(from, at), k, n];
    e.kb.call(PACK.0, PACK.1, ends.into_iter().chain(strides).collect());
    Right::Panels(to, Dim::ZERO, panel)
}

/// Rows of a matrix in memory.
struct Rows {
    mem: Mem,
    at: Dim,
    stride: Dim,
}

/// `to = a · b`.
fn product(e: &mut Emitter, to: &Rows, (m, n, k): (&Dim, &Dim, &Dim), a: (Mem, Dim, Dim), right: Right) {
    let int = |v: i64| Arg::Int(Dim::int(v));
    let a_at = e.simplify(&a.1);
    let left = [Arg::Null, int(0), Arg::Ptr(a.0, a_at), Arg::Int(a.2), int(1), Arg::Int(k.clone())];
    let (contract, operands) = Product { left, right, zeros: Arg::Null }.operands();
    let open = mentions_size(m).then(|| Open { m: m.clone(), columns: n.clone() });
    by_rows(e, (m, n), open.as_ref(), &mut |e, (m, n)| {
        let sizes = [&to.stride, m, n].map(|d| Arg::Int(d.clone()));
        let mut args = vec![Arg::Ptr(to.mem, to.at.clone())];
        args.extend(sizes.into_iter().chain(operands.clone()));
        args.extend([
            int(0),
            Arg::Null,
            Arg::Null,
            Arg::Null,
            int(0),
            Arg::F32(0.0),
            Arg::F32(0.0),
            Arg::Null,
        ]);
        e.kb.call(contract.0, contract.1, args);
    });
}

/// True if a size that only a launch knows occurs in an expression.
fn mentions_size(d: &Dim) -> bool {
    let mut found = false;
    d.visit_syms(&mut |s| found |= matches!(s, Sym::Name(_)));
    found
}

/// Scores to weights, in place, row by row.
fn weigh_by_loops(
    e: &mut Emitter,
    node: &Node,
    plan: &Plan,
    s: &Sizes,
    scores: &Rows,
    (batch, head, row, len): (&Dim, &Dim, &Dim, &Dim),
) {
    let scale = e.kb.float(DType::F32, node.attrs.float("scale"));
    let turns = if e.schedule.short_rows.is_some() { Turns::Rows } else { Turns::Serial };
    let rows = e.begin(turns, len.clone(), &[]);
    let r = rows.index();
    let seen = if node.attrs.flag("causal") {
        let seen = node.attrs.dims("past")[0].clone() + row.clone() + Dim::ONE + r.clone();
        seen.max_with(&Dim::ZERO).min_with(&s.keys)
    } else {
        s.keys.clone()
    };
    let first = scores.at.clone() + r.clone() * scores.stride.clone();
    let line = Row { x: scores.mem, y: scores.mem, first: first.clone(), n: seen.clone() };
    let mask = plan.mask.as_ref().map(|view| {
        let (at, ..) = place(view, batch, head, &(row.clone() + r));
        (e.buffer(view.base, Access::Read), e.simplify(&at))
    });
    line.map(e, |e, x, key| {
        let scaled = e.kb.op(ScalarOp::Mul, &[x, scale]);
        let Some((mem, at)) = &mask else { return scaled };
        let added = e.kb.load(*mem, at.clone() + key.clone());
        e.kb.op(ScalarOp::Add, &[scaled, added])
    });
    let greatest = line.fold(e, ScalarOp::Max, f64::NEG_INFINITY, |_, x| x);
    line.map(e, |e, x, _| {
        let d = e.kb.op(ScalarOp::Sub, &[x, greatest]);
        e.kb.op(ScalarOp::Exp, &[d])
    });
    let sum = line.fold(e, ScalarOp::Add, 0.0, |_, x| x);
    // Rows without any score above −∞ become zeros.
    let (lowest, zero) = (e.kb.float(DType::F32, f64::NEG_INFINITY), e.kb.float(DType::F32, 0.0));
    let empty = e.kb.op(ScalarOp::Eq, &[greatest, lowest]);
    line.map(e, |e, x, _| {
        let weight = e.kb.op(ScalarOp::Div, &[x, sum]);
        e.kb.select(empty, zero, weight)
    });
    let unseen = e.begin(Turns::Lanes, s.keys.clone() - seen.clone(), &[]);
    e.kb.store(scores.mem, first + seen + unseen.index(), zero);
    e.end(unseen, &[], &[]);
    e.end(rows, &[], &[]);
}

/// Scores to weights, in place.
fn weigh(
    e: &mut Emitter,
    node: &Node,
    plan: &Plan,
    s: &Sizes,
    scores: &Rows,
    (batch, head, row, len): (&Dim, &Dim, &Dim, &Dim),
) {
    let (mask, mask_stride) = match &plan.mask {
        None => (Arg::Null, Dim::ZERO),
        Some(view) => {
            let (at, stride, _) = place(view, batch, head, row);
            let at = e.simplify(&at);
            (Arg::Ptr(e.buffer(view.base, Access::Read), at), stride)
        }
    };
    let (seen, step) = if node.attrs.flag("causal") {
        (node.attrs.dims("past")[0].clone() + row.clone() + Dim::ONE, 1)
    } else {
        (s.keys.clone(), 0)
    };
    let here = Arg::Ptr(scores.mem, scores.at.clone());
    let args = vec![
        here.clone(),
        here,
        Arg::Int(len.clone()),
        Arg::Int(s.keys.clone()),
        Arg::Int(scores.stride.clone()),
        Arg::Int(scores.stride.clone()),
        Arg::Int(Dim::int(EMPTY_ROWS)),
        Arg::F32(node.attrs.float("scale") as f32),
        mask,
        Arg::Int(mask_stride),
        Arg::Int(seen),
        Arg::Int(Dim::int(step)),
    ];
    e.kb.call(SOFTMAX.0, SOFTMAX.1, args);
}

/// The rows of the result that belong to a batch and head.
fn result(e: &mut Emitter, node: &Node, (batch, head, row): (&Dim, &Dim, &Dim)) -> Rows {
    let y = node.outputs[0];
    let mem = e.buffer(y, Access::Write);
    let shape = e.shape(y);
    let inner = shape[2].clone() * shape[3].clone();
    let per_batch = batch.clone() * shape[1].clone() * inner.clone();
    let (at, stride) = if node.attrs.flag("heads_last") {
        (per_batch + row.clone() * inner.clone() + head.clone() * shape[3].clone(), inner)
    } else {
        (per_batch + head.clone() * inner + row.clone() * shape[3].clone(), shape[3].clone())
    };
    Rows { mem, at: e.simplify(&at), stride }
}
