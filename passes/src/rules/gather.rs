//! Gathers of consecutive elements are slices.

use super::{Rule, Site, shape};
use crate::fold::known::uniform;
use nnc_ir::{Dim, Graph, OpError, Rewriter, Sym, ValueId};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "gather-range",
    doc: "elements at a known index, or at indices that count up by one, are a slice",
    ops: &["gather"],
    apply: range,
}];

/// Elements of a constant of indices that are looked at.
const MOST_ELEMS: usize = 1 << 20;

/// Integers that count up by one from `first`, flat; all of them below `limit`.
struct Range {
    first: Dim,
    limit: Option<Dim>,
}

fn range(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let (x, axis) = (s.x(), s.attrs.index("axis"));
    let Some(range) = counted(rw.b.graph, s.inputs[1], 16) else { return Ok(None) };
    let (size, n) = (shape(rw, x)[axis].clone(), Dim::product(&shape(rw, s.inputs[1])));
    let mut first = range.first;
    let end = first.clone() + n.clone();
    if first.as_const().is_some_and(|f| f < 0) {
        // All or none count from the end.
        if end.as_const().is_none_or(|e| e > 0) {
            return Ok(None);
        }
        first = first + size.clone();
    }
    let low = |d: &Dim| d.at_least(0, &|s| length(rw.b.graph, s));
    let end = first.clone() + n.clone();
    let inside = low(&(size.clone() - end)) || range.limit.is_some_and(|l| low(&(size.clone() - l)));
    if !inside || !low(&first) {
        return Ok(None);
    }
    let y = rw.b.slice_axis(x, axis, first, n)?;
    rw.b.reshape(y, &s.ty.shape).map(Some)
}

/// What a symbol can be: not negative, if it is the size of an input.
fn length(graph: &Graph, sym: &Sym) -> nnc_tensor::Range {
    let mut is_size = false;
    for p in &graph.block(graph.body()).params {
        graph.ty(*p).visit_dims(&mut |d| is_size |= d.as_sym() == Some(sym));
    }
    if !is_size {
        return nnc_tensor::Range::default();
    }
    let (low, high) = graph.bounds.get(sym).map_or((0, None), |(l, h)| (*l, Some(*h)));
    nnc_tensor::Range { low: Some(low), high, top: None }
}

fn counted(graph: &Graph, v: ValueId, steps: usize) -> Option<Range> {
    if let Some(content) = graph.value(v).content.as_deref() {
        let (first, last) = (content.first()?, content.last()?.clone());
        let up = content.windows(2).all(|w| w[1] == w[0].clone() + Dim::ONE);
        return up.then(|| Range { first: first.clone(), limit: Some(last + Dim::ONE) });
    }
    let (node, steps) = (graph.def_node(v)?, steps.checked_sub(1)?);
    let shape = &graph.tensor_ty(v).shape;
    let (op, inputs) = (node.op.name, &node.inputs);
    match op {
        "constant" => counted_constant(node.attrs.tensor("value")),
        "iota" => {
            let axis = node.attrs.index("axis");
            let alone = (0..shape.len()).all(|a| a == axis || shape[a].is(1));
            alone.then(|| Range { first: Dim::ZERO, limit: Some(shape[axis].clone()) })
        }
        "reshape" => counted(graph, inputs[0], steps),
        "cast" if graph.tensor_ty(inputs[0]).dtype.is_int() => counted(graph, inputs[0], steps),
        "broadcast" => {
            let same = graph.tensor_ty(inputs[0]).elems() == graph.tensor_ty(v).elems();
            if same { counted(graph, inputs[0], steps) } else { None }
        }
        "slice" => {
            let from = &graph.tensor_ty(inputs[0]).shape;
            let axis = (0..from.len()).find(|a| !from[*a].is(1));
            let others = from.iter().enumerate().all(|(a, d)| d.is(1) || Some(a) == axis);
            let plain = node.attrs.ints("steps").iter().all(|s| *s == 1);
            let Range { first, limit } = counted(graph, inputs[0], steps).filter(|_| others && plain)?;
            let start = axis.map_or(Dim::ZERO, |a| node.attrs.dims("starts")[a].clone());
            Some(Range { first: first + start, limit })
        }
        "add" | "sub" => {
            let (by, base) = match (moved(graph, inputs[1]), op) {
                (Some(by), "add") => (by, inputs[0]),
                (Some(by), _) => (-by, inputs[0]),
                (None, "add") => (moved(graph, inputs[0])?, inputs[1]),
                _ => return None,
            };
            let Range { first, limit } = counted(graph, base, steps)?;
            Some(Range { first: first + by.clone(), limit: limit.map(|l| l + by) })
        }
        _ => None,
    }
}

fn counted_constant(t: &nnc_ir::Tensor) -> Option<Range> {
    if !t.dtype().is_int() || t.is_empty() || t.len() > MOST_ELEMS {
        return None;
    }
    let data = t.to_ints();
    let up = data.windows(2).all(|w| w[1] == w[0] + 1);
    let at = |i: usize| i64::try_from(data[i]).ok().map(Dim::int);
    Some(Range { first: at(0)?, limit: Some(at(data.len() - 1)? + Dim::ONE) }).filter(|_| up)
}

/// An integer, the same for every element, as an expression.
fn moved(graph: &Graph, v: ValueId) -> Option<Dim> {
    let mut v = v;
    while let Some(n) = graph.def_node(v).filter(|n| matches!(n.op.name, "broadcast" | "reshape" | "cast")) {
        if graph.value(v).content.is_some() {
            break;
        }
        v = n.inputs[0];
    }
    match graph.value(v).content.as_deref() {
        Some([first, rest @ ..]) if rest.iter().all(|d| d == first) => Some(first.clone()),
        _ => uniform(graph, v).filter(|u| u.fract() == 0.0 && u.abs() < 9e15).map(|u| Dim::int(u as i64)),
    }
}
