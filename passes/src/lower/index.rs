//! Index maps: which element of its operand a movement operator takes.

use nnc_ir::{Dim, Graph, Node, ValueId};

/// The linear index of an element of a dense row-major tensor.
pub(crate) fn row_major(shape: &[Dim], idx: &[Dim]) -> Dim {
    let mut stride = Dim::ONE;
    let mut sum = Dim::ZERO;
    for (d, i) in shape.iter().zip(idx).rev() {
        sum = sum + i.clone() * stride.clone();
        stride = stride * d.clone();
    }
    sum
}

/// The index of a linear position in a shape.
pub(crate) fn unravel(shape: &[Dim], linear: &Dim) -> Vec<Dim> {
    let mut rest = linear.clone();
    let mut idx = vec![Dim::ZERO; shape.len()];
    let Some(first) = shape.iter().position(|d| !d.is(1)) else { return idx };
    for k in (first + 1..shape.len()).rev().filter(|k| !shape[*k].is(1)) {
        idx[k] = rest.modulo(&shape[k]);
        rest = rest.floor_div(&shape[k]);
    }
    idx[first] = rest;
    idx
}

/// Mirrored at both borders without repeating them: numpy's `reflect`, one reflection.
pub(crate) fn reflect(i: &Dim, n: &Dim) -> Dim {
    let last = n.clone() - Dim::ONE;
    let positive = i.max_with(&-i.clone());
    positive.min_with(&(last.clone() + last - positive.clone())).max_with(&Dim::ZERO)
}

/// The element of operand 0 that a pure movement takes for output index `idx`; `None` for other operators.
pub(crate) fn source(graph: &Graph, node: &Node, idx: &[Dim]) -> Option<Vec<Dim>> {
    if !matches!(node.op.name, "broadcast" | "reshape" | "transpose" | "slice" | "reverse") {
        return None;
    }
    let from = &graph.tensor_ty(*node.inputs.first()?).shape;
    Some(match node.op.name {
        "broadcast" => {
            let to = node.attrs.dims("shape");
            let skip = to.len() - from.len();
            from.iter()
                .enumerate()
                .map(|(k, d)| match idx[skip + k].clone() {
                    _ if d.is(1) => Dim::ZERO,
                    i if *d == to[skip + k] => i,
                    // Equal or 1, known at run time only.
                    i => i.min_with(&(d.clone() - Dim::ONE)),
                })
                .collect()
        }
        "reshape" => reshaped(from, node.attrs.dims("shape"), idx),
        "transpose" => {
            let mut at = vec![Dim::ZERO; idx.len()];
            for (i, p) in idx.iter().zip(node.attrs.indices("perm")) {
                at[p] = i.clone();
            }
            at
        }
        "slice" => {
            let (starts, steps) = (node.attrs.dims("starts"), node.attrs.ints("steps"));
            idx.iter()
                .zip(starts)
                .zip(steps)
                .map(|((i, s), t)| i.clone() * Dim::int(*t) + s.clone())
                .collect()
        }
        "reverse" => {
            let axes = node.attrs.indices("axes");
            let flip = |(k, i): (usize, &Dim)| {
                if axes.contains(&k) { from[k].clone() - Dim::ONE - i.clone() } else { i.clone() }
            };
            idx.iter().enumerate().map(flip).collect()
        }
        _ => return None,
    })
}

/// Maps an index of shape `to` to shape `from` of as many elements, factor by factor: axes are matched
/// from the front as long as their products agree, so that untouched axes stay untouched.
fn reshaped(from: &[Dim], to: &[Dim], idx: &[Dim]) -> Vec<Dim> {
    let mut out = Vec::with_capacity(from.len());
    let (mut f, mut t) = (0, 0);
    while f < from.len() || t < to.len() {
        let (f0, t0) = (f, t);
        let (mut pf, mut pt) = (Dim::ONE, Dim::ONE);
        loop {
            if f > f0 && t > t0 && pf == pt {
                break;
            }
            let smaller_from = match (pf.as_const(), pt.as_const()) {
                (Some(a), Some(b)) => a <= b,
                _ => f - f0 <= t - t0,
            };
            if f < from.len() && (t == to.len() || f == f0 || (t > t0 && smaller_from)) {
                pf = pf * from[f].clone();
                f += 1;
            } else if t < to.len() {
                pt = pt * to[t].clone();
                t += 1;
            } else {
                break;
            }
        }
        let linear = row_major(&to[t0..t], &idx[t0..t]);
        out.extend(unravel(&from[f0..f], &linear));
    }
    out
}

/// A value seen through movements as elements of a value in memory.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The value in memory.
    pub(crate) base: ValueId,
    /// The linear element index.
    pub(crate) at: Dim,
}

/// Follows movements from `v` at `idx` down to the first value that is none.
pub(crate) fn view(graph: &Graph, v: ValueId, idx: &[Dim], simplify: &dyn Fn(&Dim) -> Dim) -> View {
    views(graph, v, idx, simplify).pop().expect("the value itself is a view")
}

/// Every view of `v` at `idx`: as itself, through one movement, through two, …
pub(crate) fn views(graph: &Graph, v: ValueId, idx: &[Dim], simplify: &dyn Fn(&Dim) -> Dim) -> Vec<View> {
    let mut v = v;
    let mut idx = idx.to_vec();
    let mut found = Vec::new();
    loop {
        found.push(View { base: v, at: simplify(&row_major(&graph.tensor_ty(v).shape, &idx)) });
        let Some(node) = graph.def_node(v) else { return found };
        let Some(moved) = source(graph, node, &idx) else { return found };
        idx = moved.iter().map(simplify).collect();
        v = node.inputs[0];
    }
}
