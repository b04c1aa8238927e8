//! What follows a matrix kernel while its block is hot: the kernel's own epilogue (scale, bias,
//! residual, clamp) where the group's code has that form, tile code for the rest.

use super::PANEL;
use super::blocks::{Open, by_rows};
use super::gemm::{GEMM, Product, cost};
use super::widening::Widening;
use crate::fuse::{Dest, Group};
use crate::lower::emit::Emitter;
use crate::lower::index::{row_major, view};
use nnc_ir::tile::{Access, Arg, Mem, Turns, arithmetic_type};
use nnc_ir::{DType, Dim, Graph, Node, ScalarOp, Sym, ValueId};

const ACCUMULATE: i64 = 1;
const BIAS: i64 = 2;
const RESIDUAL: i64 = 4;
const CLAMP: i64 = 8;

/// A rectangle of a result's buffer as a function from index to element.
pub(crate) struct DestLayout {
    shape: Vec<Dim>,
    offset: Vec<Dim>,
}

impl DestLayout {
    /// The layout of a destination.
    pub(crate) fn new(graph: &Graph, dest: &Dest) -> DestLayout {
        DestLayout { shape: graph.tensor_ty(dest.value).shape.clone(), offset: dest.offset.clone() }
    }

    /// The linear element of an index of the group's root.
    pub(crate) fn at(&self, idx: &[Dim]) -> Dim {
        let moved: Vec<Dim> = idx.iter().zip(&self.offset).map(|(i, o)| i.clone() + o.clone()).collect();
        row_major(&self.shape, &moved)
    }
}

/// The index of the anchor's result at a row and column.
pub(crate) type IndexOf<'b> = Box<dyn Fn(&Dim, &Dim) -> Vec<Dim> + 'b>;

/// A block of rows and columns of the anchor's result.
pub(crate) struct Block<'b> {
    /// First row.
    pub(crate) m0: Dim,
    /// Rows.
    pub(crate) m_len: Dim,
    /// First column.
    pub(crate) n0: Dim,
    /// Columns.
    pub(crate) n_len: Dim,
    /// Most rows; no locals.
    pub(crate) rows: Dim,
    /// Most columns; no locals.
    pub(crate) columns: Dim,
    /// Only a launch knows whether the rows are few.
    pub(crate) open: Option<Open>,
    /// Row and column to the index of the result.
    pub(crate) index: IndexOf<'b>,
}

/// The part of a group's code that the kernel does itself.
struct Fixed {
    bias: Option<(ValueId, Dim)>,
    residual: Option<ValueId>,
    clamp: Option<(f32, f32)>,
    /// The value that the kernel then holds.
    reached: ValueId,
}

/// Follows the group's code upward from the anchor as far as the kernel's epilogue goes.
fn peel(
    graph: &Graph,
    group: &Group,
    anchor: ValueId,
    bias: Option<ValueId>,
    block: &Block,
    residuals: bool,
) -> Fixed {
    let mut f = Fixed { bias: bias.map(|b| (b, Dim::ZERO)), residual: None, clamp: None, reached: anchor };
    while f.reached != group.root {
        let Some(node) = only_reader(graph, group, f.reached) else { break };
        let other = node.inputs.iter().copied().find(|v| *v != f.reached);
        let taken = match (node.op.scalar, other) {
            (Some(ScalarOp::Add), Some(x)) if f.clamp.is_none() => f.add(graph, group, x, block, residuals),
            (Some(ScalarOp::Max), Some(x)) => f.bound(graph, x, true),
            (Some(ScalarOp::Min), Some(x)) => f.bound(graph, x, false),
            _ => false,
        };
        if !taken {
            break;
        }
        f.reached = node.outputs[0];
    }
    f
}

/// The only node of a group that reads a value, if it reads it once.
pub(super) fn only_reader<'g>(graph: &'g Graph, group: &Group, v: ValueId) -> Option<&'g Node> {
    let mut readers =
        group.inside.iter().filter_map(|w| graph.def_node(*w)).filter(|n| n.inputs.contains(&v));
    let first = readers.next()?;
    let reads = first.inputs.iter().filter(|i| **i == v).count();
    (readers.next().is_none() && reads == 1).then_some(first)
}

impl Fixed {
    fn add(&mut self, graph: &Graph, group: &Group, x: ValueId, block: &Block, residuals: bool) -> bool {
        let (row, column) = (Sym::Local(u32::MAX - 1), Sym::Local(u32::MAX - 2));
        let idx = (block.index)(&Dim::sym(row), &Dim::sym(column.clone()));
        let seen = view(graph, x, &idx, &Dim::clone);
        let by_column = seen.at.linear_in(&column).is_some_and(|(c, rest)| c.is(1) && rest.is(0));
        if by_column && self.bias.is_none() && self.residual.is_none() && !group.inside.contains(&seen.base) {
            self.bias = Some((seen.base, Dim::ZERO));
            return true;
        }
        if residuals && self.residual.is_none() && !group.inside.contains(&x) && graph.constant(x).is_none() {
            self.residual = Some(x);
            return true;
        }
        false
    }

    fn bound(&mut self, graph: &Graph, x: ValueId, low: bool) -> bool {
        let Some(v) = bound_of(graph, x) else { return false };
        let (lo, hi) = self.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        if (low && v > hi) || (!low && v < lo) {
            return false;
        }
        self.clamp = Some(if low { (lo.max(v), hi) } else { (lo, hi.min(v)) });
        true
    }
}

/// The number that every element of a value is, unless it is NaN.
pub(super) fn bound_of(graph: &Graph, x: ValueId) -> Option<f32> {
    let seen = view(graph, x, &vec![Dim::ZERO; graph.tensor_ty(x).rank()], &Dim::clone);
    let t = graph.constant(seen.base).filter(|t| t.len() == 1)?;
    Some(t.to_f64s()[0] as f32).filter(|v| !v.is_nan())
}

/// Where a kernel's result is held while the rest of the group's code is done on it.
pub(super) struct Held {
    /// The value.
    reached: ValueId,
    /// The result's buffer or a scratch object.
    pub(super) mem: Mem,
    /// Its first element.
    pub(super) at: Dim,
    /// Distance of its rows in elements.
    pub(super) row_stride: Dim,
    /// The result's buffer, if that is not all of it.
    rest: Option<Mem>,
}

/// What a microkernel's call is made of once the epilogue is known.
#[derive(Clone)]
pub(crate) struct Call {
    /// Where its result begins.
    pub(crate) out: Arg,
    /// Distance of its rows in elements.
    pub(crate) row_stride: Dim,
    /// Rows.
    pub(crate) rows: Dim,
    /// Columns.
    pub(crate) columns: Dim,
    /// Which parts of the epilogue apply: bits as in `f32_gemm`.
    pub(crate) flags: i64,
    /// Bias of the first column.
    pub(crate) bias: Arg,
    /// Residual of the first element.
    pub(crate) residual: Arg,
    /// Distance of the residual's rows in elements.
    pub(crate) residual_stride: Dim,
    /// Bounds of the clamp.
    pub(crate) clamp: (f32, f32),
}

/// Calls the matrix kernel for a block and does the rest of the group's code on it.
pub(crate) fn call_and_finish(
    e: &mut Emitter,
    group: &Group,
    anchor: ValueId,
    bias: Option<ValueId>,
    block: Block,
    product: Product,
) {
    let (left, zeros) = (product.left.clone(), product.zeros.clone());
    let k = match (&left[4], &left[5]) {
        (Arg::Int(taps), Arg::Int(kc)) => taps.clone() * kc.clone(),
        _ => Dim::ONE,
    };
    e.cost = cost(&block.rows, &block.columns, &k);
    let fixed = peel(e.graph, group, anchor, bias, &block, true);
    let operands = (&left, &product.right);
    let widening = Widening::new(e, operands, &block.m_len, (&block.n_len, &block.columns));
    let (contract, operands) = product.operands();
    let parts = parts(&operands, &block.columns, e.schedule.runs);
    let accumulates = parts.len() > 1 || widening.is_some();
    let open = block.open.clone();
    finish(e, group, fixed, block, accumulates, |e, c| match widening {
        None => by_rows(e, (&c.rows, &c.columns), open.as_ref(), &mut |e, (rows, columns)| {
            let c = c.of_size(rows, columns);
            for (i, part) in parts.iter().enumerate() {
                let flags =
                    if i + 1 == parts.len() { c.flags } else { 0 } | if i == 0 { 0 } else { ACCUMULATE };
                c.write(e, contract, (part.clone(), Dim::int(flags)), &zeros);
            }
        }),
        Some(widening) => widening.each(e, &left, |e, part, words| {
            let flags = part.is_last * Dim::int(c.flags) + part.accumulates * Dim::int(ACCUMULATE);
            c.beginning_at(part.column, part.columns).write(e, GEMM, (words, flags), &zeros);
        }),
    });
}

impl Call {
    /// The call for so many rows and columns.
    fn of_size(&self, rows: &Dim, columns: &Dim) -> Call {
        Call { rows: rows.clone(), columns: columns.clone(), ..self.clone() }
    }

    /// The call for at most so many columns from one of them on.
    fn beginning_at(&self, column: Dim, most: Dim) -> Call {
        let moved = |arg: &Arg| match arg {
            Arg::Ptr(mem, at) => Arg::Ptr(*mem, at.clone() + column.clone()),
            other => other.clone(),
        };
        Call {
            out: moved(&self.out),
            columns: most.min_with(&(self.columns.clone() - column.clone())),
            bias: moved(&self.bias),
            residual: moved(&self.residual),
            ..self.clone()
        }
    }

    /// Writes the call for a product's words and flags.
    fn write(
        &self,
        e: &mut Emitter,
        contract: (&'static str, u32),
        (words, flags): (Vec<Arg>, Dim),
        zeros: &Arg,
    ) {
        let mut args = vec![self.out.clone(), Arg::Int(self.row_stride.clone())];
        args.extend([Arg::Int(self.rows.clone()), Arg::Int(self.columns.clone())]);
        args.extend(words);
        args.extend([Arg::Int(flags), self.bias.clone(), Arg::Null, self.residual.clone()]);
        args.extend([Arg::Int(self.residual_stride.clone()), Arg::F32(self.clamp.0), Arg::F32(self.clamp.1)]);
        args.push(zeros.clone());
        e.kb.call(contract.0, contract.1, args);
    }
}

/// The operand words of one call for each part of the sum; `runs` are the most products of one call, for
/// results of more than one panel of columns and for the others.
fn parts(operands: &[Arg], columns: &Dim, runs: Option<(i64, i64)>) -> Vec<Vec<Arg>> {
    let narrow = columns.as_const().is_some_and(|n| n <= PANEL);
    let whole = || vec![operands.to_vec()];
    let Some((wide_run, narrow_run)) = runs else { return whole() };
    let run = if narrow { narrow_run } else { wide_run };
    let [table, Arg::Int(stride), a, _, Arg::Int(taps), Arg::Int(kc), Arg::Ptr(b, b_at), _] = operands else {
        return whole();
    };
    let (Some(n_taps), Some(k)) = (taps.as_const(), kc.as_const()) else { return whole() };
    let (total, unit) = if n_taps > 1 { (n_taps, k) } else { (k, 1) };
    let n_parts = ((n_taps * k + run - 1) / run).min(total);
    if n_parts <= 1 || (n_taps == 1 && matches!(table, Arg::Ptr(..))) {
        return whole();
    }
    let each = (total + n_parts - 1) / n_parts;
    let part = |first: i64| {
        let len = each.min(total - first);
        let mut words = operands.to_vec();
        match (table, a) {
            (Arg::Ptr(m, at), _) => words[0] = Arg::Ptr(*m, at.clone() + stride.clone() * Dim::int(first)),
            (_, Arg::Ptr(m, at)) => words[2] = Arg::Ptr(*m, at.clone() + Dim::int(first)),
            _ => {}
        }
        words[if n_taps > 1 { 4 } else { 5 }] = Arg::Int(Dim::int(len));
        words[6] = Arg::Ptr(*b, b_at.clone() + Dim::int(first * unit * PANEL));
        words
    };
    (0..total).step_by(each as usize).map(part).collect()
}

/// The same for a kernel without residual; `call` writes its call.
pub(crate) fn finish_without_residual(
    e: &mut Emitter,
    group: &Group,
    anchor: ValueId,
    bias: Option<ValueId>,
    block: Block,
    call: impl FnOnce(&mut Emitter, Call),
) {
    let fixed = peel(e.graph, group, anchor, bias, &block, false);
    finish(e, group, fixed, block, false, call);
}

/// The distance of the rows of a tensor on which `at` places an index.
fn row_stride(e: &Emitter, block: &Block, at: &dyn Fn(&[Dim]) -> Dim) -> Dim {
    let (m, n) = (Sym::Local(u32::MAX - 1), Sym::Local(u32::MAX - 2));
    let placed = e.simplify(&at(&(block.index)(&Dim::sym(m.clone()), &Dim::sym(n))));
    placed.linear_in(&m).expect("rows of a dense tensor are evenly spaced").0
}

/// Where a value of the group is to be held: in the result's buffer, if the types agree.
pub(super) fn place(
    e: &mut Emitter,
    group: &Group,
    block: &Block,
    (reached, dtype): (ValueId, DType),
    accumulates: bool,
) -> Held {
    let dest = DestLayout::new(e.graph, &group.dest);
    let in_place = e.dtype(group.dest.value) == dtype;
    let whole = reached == group.root && in_place;
    let access = if reached == group.root && !accumulates { Access::Write } else { Access::ReadWrite };
    let out = e.buffer(group.dest.value, access);
    let rest = (!whole).then_some(out);
    if !in_place {
        let mem = e.kb.scratch(dtype, block.rows.clone() * block.columns.clone());
        return Held { reached, mem, at: Dim::ZERO, row_stride: block.n_len.clone(), rest };
    }
    let at = e.simplify(&dest.at(&(block.index)(&block.m0, &block.n0)));
    Held { reached, mem: out, at, row_stride: row_stride(e, block, &|i| dest.at(i)), rest }
}

/// The rest of the group's code, if there is any.
pub(super) fn rest(e: &mut Emitter, group: &Group, block: &Block, held: Held) {
    if let Some(out) = held.rest {
        let dest = DestLayout::new(e.graph, &group.dest);
        tile_code(e, group, block, held, (out, &dest));
    }
}

fn finish(
    e: &mut Emitter,
    group: &Group,
    fixed: Fixed,
    block: Block,
    accumulates: bool,
    call: impl FnOnce(&mut Emitter, Call),
) {
    let held = place(e, group, &block, (fixed.reached, DType::F32), accumulates);
    let mut made = Call {
        out: Arg::Ptr(held.mem, held.at.clone()),
        row_stride: held.row_stride.clone(),
        rows: block.m_len.clone(),
        columns: block.n_len.clone(),
        flags: if fixed.clamp.is_some() { CLAMP } else { 0 },
        bias: Arg::Null,
        residual: Arg::Null,
        residual_stride: Dim::ZERO,
        clamp: fixed.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)),
    };
    if let Some((b, at)) = &fixed.bias {
        made.flags |= BIAS;
        made.bias = Arg::Ptr(e.buffer(*b, Access::Read), at.clone() + block.n0.clone());
    }
    if let Some(r) = fixed.residual {
        made.flags |= RESIDUAL;
        let shape = e.shape(r);
        made.residual_stride = row_stride(e, &block, &|i| row_major(shape, i));
        let at = e.simplify(&row_major(shape, &(block.index)(&block.m0, &block.n0)));
        made.residual = Arg::Ptr(e.buffer(r, Access::Read), at);
    }
    call(e, made);
    rest(e, group, &block, held);
}

/// The rest of the group's code, row by row over the block.
fn tile_code(e: &mut Emitter, group: &Group, block: &Block, held: Held, to: (Mem, &DestLayout)) {
    let rows = e.begin(Turns::Serial, block.m_len.clone(), &[]);
    let columns = e.begin(Turns::Lanes, block.n_len.clone(), &[]);
    let (r, j) = (rows.index(), columns.index());
    let idx = (block.index)(&(block.m0.clone() + r.clone()), &(block.n0.clone() + j.clone()));
    let at = held.at + r * held.row_stride + j;
    e.set_anchor(held.reached, held.mem, Box::new(move |_| at.clone()));
    let value = e.value(group.root, &idx);
    let value = e.kb.cast(value, arithmetic_type(e.dtype(group.root)));
    let place = e.simplify(&to.1.at(&idx));
    e.kb.store(to.0, place, value);
    e.end(columns, &[], &[]);
    e.end(rows, &[], &[]);
}
