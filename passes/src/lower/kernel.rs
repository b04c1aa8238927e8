//! One kernel for one group or template: choice of axes and lanes, then emission.

use super::emit::{Emitter, Source};
use super::index::unravel;
use super::templates::{attention, blocks, conv, epilogue::DestLayout, gemm, recurrent, rows, scan, scatter};
use super::window;
use crate::fuse::Group;
use crate::pass::Schedule;
use nnc_ir::tile::{Access, Kernel, Stmt, Turns, arithmetic_type};
use nnc_ir::{DType, Dim, Graph, Node, ScalarOp, ValueId};
use nnc_tensor::dim::Atom;
use std::collections::BTreeSet;

/// A kernel and the buffers behind its parameters.
pub(crate) struct Lowered {
    pub(crate) kernel: Kernel,
    pub(crate) params: Vec<Source>,
}

fn finish(e: Emitter) -> Lowered {
    let Emitter { kb, params, cost, .. } = e;
    Lowered { kernel: kb.finish(cost), params }
}

/// What the kernel of a group computes, for people.
fn name_of(graph: &Graph, group: &Group) -> String {
    let mut names: Vec<&str> = Vec::new();
    for v in &group.inside {
        let Some(n) = graph.def_node(*v) else { continue };
        if !names.contains(&n.op.name) && !matches!(n.op.name, "broadcast" | "reshape" | "constant") {
            names.push(n.op.name);
        }
    }
    if names.is_empty() { "copy".into() } else { names.join("+") }
}

/// What the kernel of a group is made from.
struct Nest<'g> {
    graph: &'g Graph,
    group: &'g Group,
    name: &'g str,
    schedule: Schedule,
}

impl<'g> Nest<'g> {
    fn emitter(&self) -> Emitter<'g> {
        Emitter::new(self.graph, self.name, &self.group.inside, self.schedule)
    }
}

/// The kernel of a group.
pub(crate) fn group(graph: &Graph, group: &Group, schedule: Schedule) -> Lowered {
    let name = name_of(graph, group);
    let nest = Nest { graph, group, name: &name, schedule };
    if let Some(anchor) = group.anchor.map(|n| graph.node(n))
        && crate::fuse::role(graph, anchor) == crate::fuse::Role::Matmul
        && (schedule.depthwise_kernel || !conv::is_depthwise(graph, anchor))
    {
        let mut e = nest.emitter();
        match anchor.op.name {
            "contract" => gemm::emit(&mut e, group, anchor),
            _ => conv::emit(&mut e, group, anchor),
        }
        return finish(e);
    }
    if graph.tensor_ty(group.dest.value).dtype.is_packed() {
        return packed(&nest);
    }
    let rank = graph.tensor_ty(group.root).rank();
    // Join axes from the innermost outward as long as no index needs a division for it.
    let mut runs: Vec<usize> = vec![1; rank];
    let mut best = mapped(&nest, &runs);
    let mut least = divisions(&best.kernel);
    if rank > 1 {
        let whole = mapped(&nest, &[rank]);
        if divisions(&whole.kernel) <= least {
            return whole;
        }
    }
    let mut k = rank;
    while k > 1 {
        let mut tried = runs.clone();
        let joined = tried.remove(k - 2);
        tried[k - 2] += joined;
        let with = mapped(&nest, &tried);
        if divisions(&with.kernel) <= least {
            (best, runs) = (with, tried);
            least = divisions(&best.kernel);
        }
        k -= 1;
        k = k.min(runs.len());
    }
    best
}

/// A kernel for a result of several elements a byte: one lane a byte, so that nobody shares one.
fn packed(nest: &Nest) -> Lowered {
    let (graph, group, chunk) = (nest.graph, nest.group, nest.schedule.chunk);
    let mut e = nest.emitter();
    let ty = graph.tensor_ty(group.dest.value);
    let (bits, total) = (ty.dtype.bits() as i64, ty.elems());
    let out = e.bytes_of(group.dest.value);
    let n_bytes = total.ceil_div(&Dim::int(8 / bits));
    let (first, len) = blocks::block_axis(&mut e, &n_bytes, blocks::BlockSize(chunk));
    let open = e.begin(Turns::Lanes, len, &[]);
    let byte = first + open.index();
    let mut word = e.kb.int(DType::U8, 0);
    for i in 0..8 / bits {
        // Beyond the last element the byte holds it once more; nobody reads that.
        let at = (byte.clone() * Dim::int(8 / bits) + Dim::int(i)).min_with(&(total.clone() - Dim::ONE));
        let value = e.value(group.root, &unravel(&ty.shape, &at));
        let code = e.code_of(ty.dtype, value);
        let (mask, shift) = (e.kb.int(DType::U8, (1 << bits) - 1), e.kb.int(DType::U8, i * bits));
        let low = e.kb.op(ScalarOp::And, &[code, mask]);
        let placed = e.kb.op(ScalarOp::Shl, &[low, shift]);
        word = e.kb.op(ScalarOp::Or, &[word, placed]);
    }
    e.kb.store(out, byte, word);
    e.end(open, &[], &[]);
    e.cost = Dim::int(chunk);
    finish(e)
}

/// Least average number of turns of the parts of a loop.
const MIN_PART: i64 = 8;

/// A kernel over the root's axes, joined to runs of the given lengths (outermost first). Where operands
/// are concatenated along the lanes, each has a loop of its own.
fn mapped(nest: &Nest, runs: &[usize]) -> Lowered {
    let (whole, seams) = in_parts(nest, runs, &BTreeSet::new());
    // A loop of few turns is slower than a select.
    let turns = seams.last().map_or(0, |last| *last) / MIN_PART;
    if seams.is_empty() || turns < seams.len() as i64 {
        return whole;
    }
    in_parts(nest, runs, &seams).0
}

/// The kernel with the lanes loop cut at `seams`, and the seams that it found.
fn in_parts(nest: &Nest, runs: &[usize], seams: &BTreeSet<i64>) -> (Lowered, BTreeSet<i64>) {
    let (graph, group, chunk) = (nest.graph, nest.group, nest.schedule.chunk);
    let mut e = nest.emitter();
    let shape = e.shape(group.root);
    let out = e.buffer(group.dest.value, Access::Write);
    let dest = DestLayout::new(graph, &group.dest);
    let store = |e: &mut Emitter, idx: &[Dim]| {
        let value = e.value(group.root, idx);
        let value = e.kb.cast(value, arithmetic_type(e.dtype(group.dest.value)));
        let place = e.simplify(&dest.at(idx));
        e.kb.store(out, place, value);
    };
    let anchor = group.anchor.map(|n| graph.node(n));
    let inner_reduce = anchor.is_some_and(|n| window::reduces_last_axis(&e, n));
    let (inner, outer) = runs.split_last().map_or((0, runs), |(last, rest)| (*last, rest));
    let mut idx = Vec::new();
    for run in outer {
        let part = &shape[idx.len()..idx.len() + run];
        let axis = e.grid(Dim::product(part));
        idx.extend(unravel(part, &axis));
    }
    let part = &shape[shape.len() - inner..];
    let extent = Dim::product(part);
    if runs.is_empty() {
        store(&mut e, &[]);
    } else if inner_reduce {
        let summed = anchor.and_then(|n| e.shape(n.inputs[0]).last()).cloned().unwrap_or(Dim::ONE);
        rows::each(&mut e, extent.clone(), &summed, |e, row| store(e, &[idx, unravel(part, &row)].concat()));
    } else {
        let (first, len) = blocks::block_axis(&mut e, &extent, blocks::BlockSize(chunk));
        for (from, len) in cut(&len, seams) {
            let open = e.begin(Turns::Lanes, len, &[]);
            let axis = first.clone() + from + open.index();
            store(&mut e, &[idx.clone(), unravel(part, &axis)].concat());
            e.end(open, &[], &[]);
        }
    }
    e.cost = if inner_reduce { Dim::ONE } else { extent.min_with(&Dim::int(chunk)) } * weight(graph, group);
    let seams = std::mem::take(&mut e.seams);
    (finish(e), seams)
}

/// Parts of a loop between seams: first turn and number of turns.
fn cut(len: &Dim, seams: &BTreeSet<i64>) -> Vec<(Dim, Dim)> {
    let Some(end) = len.as_const() else { return vec![(Dim::ZERO, len.clone())] };
    let inner = seams.iter().copied().filter(|s| (1..end).contains(s));
    let borders: Vec<i64> = std::iter::once(0).chain(inner).chain([end]).collect();
    borders.windows(2).map(|w| (Dim::int(w[0]), Dim::int(w[1] - w[0]))).collect()
}

/// Nanoseconds an element, roughly: one a node and what the anchor loops over.
fn weight(graph: &Graph, group: &Group) -> Dim {
    let looped = group.anchor.map_or(Dim::ONE, |n| {
        let node = graph.node(n);
        let read = graph.tensor_ty(node.inputs[0]).elems();
        let made = graph.tensor_ty(node.outputs[0]).elems();
        match node.op.name {
            "pool" | "conv" | "conv_transpose" | "contract" => Dim::int(64),
            _ => read.floor_div(&made.max_with(&Dim::ONE)),
        }
    });
    Dim::len(group.inside.len()).ceil_div(&Dim::int(4)).max_with(&Dim::ONE) * looped
}

/// Divisions in the indices of a kernel: what joining axes must not add.
fn divisions(kernel: &Kernel) -> usize {
    fn in_dim(d: &Dim) -> usize {
        d.terms()
            .iter()
            .flat_map(|t| &t.factors)
            .map(|a| match a {
                Atom::Sym(_) => 0,
                Atom::FloorDiv(x, y) => 1 + in_dim(x) + in_dim(y),
                Atom::Min(x, y) | Atom::Max(x, y) => in_dim(x) + in_dim(y),
            })
            .sum()
    }
    fn in_body(body: &[Stmt]) -> usize {
        body.iter()
            .map(|s| match s {
                Stmt::Let { expr: nnc_ir::tile::Expr::Load(_, d) | nnc_ir::tile::Expr::Index(d), .. } => {
                    in_dim(d)
                }
                Stmt::Store { index, .. } => in_dim(index),
                Stmt::For(l) => in_body(&l.body),
                Stmt::If { then, otherwise, .. } => in_body(then) + in_body(otherwise),
                _ => 0,
            })
            .sum()
    }
    in_body(&kernel.body)
}

/// The kernels of a template that is no group's anchor, in order.
pub(crate) fn template(
    graph: &Graph,
    node: &Node,
    inside: &BTreeSet<ValueId>,
    schedule: Schedule,
) -> Option<Vec<Lowered>> {
    let new = |suffix: &str| Emitter::new(graph, &format!("{}{suffix}", node.op.name), inside, schedule);
    let mut e = new("");
    match node.op.name {
        "softmax" | "layer_norm" if rows::fits(graph, node.op.name, &node.attrs, node.inputs[0]) => {
            rows::emit(&mut e, node)
        }
        "attention" => attention::emit(&mut e, node)?,
        "cumulative" => scan::emit(&mut e, node),
        "recurrent" => return recurrent::kernels(graph, node, inside, schedule),
        "scatter_elements" | "scatter_nd" => {
            scatter::emit_copy(&mut e, node);
            let mut updates = new(" updates");
            scatter::emit_updates(&mut updates, node);
            return Some(vec![finish(e), finish(updates)]);
        }
        _ => return None,
    }
    Some(vec![finish(e)])
}

/// A finished emitter as a kernel, for templates that make several.
pub(crate) fn finished(e: Emitter) -> Lowered {
    finish(e)
}
