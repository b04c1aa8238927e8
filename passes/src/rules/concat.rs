//! Joining and cutting: what is cut out of joined parts, and what is joined from cut parts.

use super::{Rule, Site, shape};
use nnc_ir::{Attrs, Dim, OpError, Rewriter, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "concat-parts",
        doc: "joined parts that are joined themselves are joined at once; empty ones go; one part is itself",
        ops: &["concat"],
        apply: flatten,
    },
    Rule {
        name: "concat-of-slices",
        doc: "slices of one tensor that follow each other, joined, are one slice",
        ops: &["concat"],
        apply: joined_slices,
    },
    Rule {
        name: "slice-of-concat",
        doc: "a slice that lies in one of the joined parts is a slice of that part",
        ops: &["slice"],
        apply: slice_of_part,
    },
];

fn flatten(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let axis = s.attrs.index("axis");
    let mut parts = Vec::new();
    for v in &s.inputs {
        match rw.sole(*v, "concat") {
            Some(n) if n.attrs.index("axis") == axis => parts.extend(n.inputs.clone()),
            _ => parts.push(*v),
        }
    }
    let all = parts.len();
    parts.retain(|v| !rw.b.graph.tensor_ty(*v).shape[axis].is(0));
    if parts.is_empty() {
        parts.push(s.inputs[0]);
    }
    if all == s.inputs.len() && parts.len() == all && all > 1 {
        return Ok(None);
    }
    rw.b.concat(&parts, axis).map(Some)
}

/// `x`, starts and sizes of a slice with steps of 1.
fn plain_slice(rw: &Rewriter, v: ValueId) -> Option<(ValueId, Vec<Dim>, Vec<Dim>)> {
    let node = rw.def(v, "slice")?;
    let plain = node.attrs.ints("steps").iter().all(|s| *s == 1);
    plain.then(|| (node.inputs[0], node.attrs.dims("starts").to_vec(), node.attrs.dims("sizes").to_vec()))
}

fn joined_slices(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let axis = s.attrs.index("axis");
    let mut parts: Vec<ValueId> = Vec::new();
    for v in &s.inputs {
        let merged = match parts.last().map(|last| (plain_slice(rw, *last), plain_slice(rw, *v))) {
            Some((Some(a), Some(b))) => follows(&a, &b, axis),
            _ => None,
        };
        match merged {
            Some((x, starts, sizes)) => {
                let steps = vec![1; sizes.len()];
                *parts.last_mut().expect("it has a last one") = rw.b.slice(x, starts, sizes, steps)?;
            }
            None => parts.push(*v),
        }
    }
    if parts.len() == s.inputs.len() {
        return Ok(None);
    }
    rw.b.concat(&parts, axis).map(Some)
}

type Cut = (ValueId, Vec<Dim>, Vec<Dim>);

/// Both cuts as one, if the second begins where the first ends and they agree along other axes.
fn follows(a: &Cut, b: &Cut, axis: usize) -> Option<Cut> {
    let agree = |i: usize| i == axis || (&a.1[i], &a.2[i]) == (&b.1[i], &b.2[i]);
    let next = a.1[axis].clone() + a.2[axis].clone() == b.1[axis];
    if a.0 != b.0 || !next || !(0..a.1.len()).all(agree) {
        return None;
    }
    let mut sizes = a.2.clone();
    sizes[axis] = sizes[axis].clone() + b.2[axis].clone();
    Some((a.0, a.1.clone(), sizes))
}

fn slice_of_part(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let Some(node) = rw.def(s.x(), "concat") else { return Ok(None) };
    let (axis, parts) = (node.attrs.index("axis"), node.inputs.clone());
    let (start, step) = (&s.attrs.dims("starts")[axis], s.attrs.ints("steps")[axis]);
    if step < 1 {
        return Ok(None);
    }
    let end = start.clone() + (s.ty.shape[axis].clone() - Dim::ONE) * Dim::int(step) + Dim::ONE;
    let not_negative = |d: Dim| d.as_const().is_some_and(|v| v >= 0);
    let mut offset = Dim::ZERO;
    for part in parts {
        let next = offset.clone() + shape(rw, part)[axis].clone();
        if not_negative(start.clone() - offset.clone()) && not_negative(next.clone() - end.clone()) {
            return cut(rw, part, &s.attrs, axis, offset, &s.ty.shape).map(Some);
        }
        offset = next;
    }
    Ok(None)
}

fn cut(
    rw: &mut Rewriter,
    part: ValueId,
    attrs: &Attrs,
    axis: usize,
    offset: Dim,
    sizes: &[Dim],
) -> Result<ValueId, OpError> {
    let mut starts = attrs.dims("starts").to_vec();
    starts[axis] = starts[axis].clone() - offset;
    rw.b.slice(part, starts, sizes.to_vec(), attrs.ints("steps").to_vec())
}
