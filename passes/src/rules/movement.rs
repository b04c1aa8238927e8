//! Movements that move nothing, and movements of movements.

use super::{Rule, Site, below, shape};
use crate::fold::known::uniform;
use nnc_ir::{Attr, Dim, OpError, Rewriter, ValueId, attrs};
use std::ops::Range;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "move-nothing",
        doc: "a reshape or broadcast to the same shape, a transpose in order, a slice of all, a pad by nothing, a \
              reversal of axes of size 1 and a reduction over no axes are their operand",
        ops: &["reshape", "broadcast", "transpose", "slice", "pad", "reverse", "reduce"],
        apply: |rw, s| Ok(moves_nothing(rw, s).then(|| s.x())),
    },
    Rule {
        name: "move-one-number",
        doc: "moving a number repeated everywhere is repeating it in the new shape",
        ops: &["reshape", "transpose", "slice", "reverse"],
        apply: |rw, s| {
            let Some(x) = below(rw, s.x(), "broadcast") else { return Ok(None) };
            if !shape(rw, x).iter().all(|d| d.is(1)) {
                return Ok(None);
            }
            let scalar = rw.b.reshape(x, &[])?;
            rw.b.broadcast(scalar, &s.ty.shape).map(Some)
        },
    },
    Rule {
        name: "reshape-twice",
        doc: "a reshape of a reshape is one reshape",
        ops: &["reshape"],
        apply: |rw, s| match below(rw, s.x(), "reshape") {
            Some(x) => rw.b.reshape(x, &s.ty.shape).map(Some),
            None => Ok(None),
        },
    },
    Rule {
        name: "transpose-twice",
        doc: "a transpose of a transpose is one transpose, or none",
        ops: &["transpose"],
        apply: |rw, s| {
            let Some(node) = rw.def(s.x(), "transpose") else { return Ok(None) };
            let (x, inner) = (node.inputs[0], node.attrs.indices("perm"));
            let perm: Vec<usize> = s.attrs.indices("perm").iter().map(|p| inner[*p]).collect();
            rw.b.transpose(x, &perm).map(Some)
        },
    },
    Rule {
        name: "transpose-of-merged-axes",
        doc: "axes that are merged, transposed and split again as they were are transposed as they are",
        ops: &["reshape"],
        apply: transpose_of_merged_axes,
    },
    Rule {
        name: "transpose-of-ones",
        doc: "a transpose that only moves axes of size 1 is a reshape",
        ops: &["transpose"],
        apply: |rw, s| {
            let from = shape(rw, s.x());
            let moved: Vec<usize> = s.attrs.indices("perm").into_iter().filter(|p| !from[*p].is(1)).collect();
            if !moved.is_sorted() {
                return Ok(None);
            }
            rw.b.reshape(s.x(), &s.ty.shape).map(Some)
        },
    },
    Rule {
        name: "broadcast-twice",
        doc: "a broadcast of a broadcast, or of a reshape that only adds leading axes, is one broadcast",
        ops: &["broadcast"],
        apply: |rw, s| {
            if let Some(x) = below(rw, s.x(), "broadcast") {
                return rw.b.broadcast(x, &s.ty.shape).map(Some);
            }
            let Some(x) = below(rw, s.x(), "reshape") else { return Ok(None) };
            let (from, to) = (shape(rw, x), shape(rw, s.x()));
            let added = to.len().checked_sub(from.len());
            let leading = added.is_some_and(|n| to[..n].iter().all(|d| d.is(1)) && to[n..] == from);
            if !leading {
                return Ok(None);
            }
            rw.b.broadcast(x, &s.ty.shape).map(Some)
        },
    },
    Rule {
        name: "broadcast-to-ones",
        doc: "a broadcast that only adds axes of size 1 is a reshape",
        ops: &["broadcast"],
        apply: |rw, s| {
            let from = shape(rw, s.x());
            let added = s.ty.shape.len() - from.len();
            if s.ty.shape[added..] != from || !s.ty.shape[..added].iter().all(|d| d.is(1)) {
                return Ok(None);
            }
            rw.b.reshape(s.x(), &s.ty.shape).map(Some)
        },
    },
    Rule {
        name: "slice-twice",
        doc: "a slice of a slice is one slice",
        ops: &["slice"],
        apply: |rw, s| {
            let Some(node) = rw.def(s.x(), "slice") else { return Ok(None) };
            let (x, inner) = (node.inputs[0], node.attrs.clone());
            let step = |i: usize| inner.ints("steps")[i];
            let rank = s.ty.rank();
            let starts = s.attrs.dims("starts").iter().enumerate();
            let starts = starts.map(|(i, d)| inner.dims("starts")[i].clone() + d.clone() * Dim::int(step(i)));
            let starts = starts.collect();
            let steps: Option<Vec<i64>> =
                (0..rank).map(|i| step(i).checked_mul(s.attrs.ints("steps")[i])).collect();
            let Some(steps) = steps else { return Ok(None) };
            rw.b.slice(x, starts, s.ty.shape.clone(), steps).map(Some)
        },
    },
    Rule {
        name: "pad-twice",
        doc: "padding what was padded with the same value is one padding",
        ops: &["pad"],
        apply: pad_twice,
    },
    Rule {
        name: "reverse-twice",
        doc: "a reversal of the same axes undoes a reversal",
        ops: &["reverse"],
        apply: |rw, s| {
            let Some(node) = rw.def(s.x(), "reverse") else { return Ok(None) };
            let sorted = |mut axes: Vec<usize>| {
                axes.sort_unstable();
                axes
            };
            let same = sorted(node.attrs.indices("axes")) == sorted(s.attrs.indices("axes"));
            Ok(same.then(|| node.inputs[0]))
        },
    },
    Rule {
        name: "reduce-ones",
        doc: "a reduction over axes of size 1 is a reshape",
        ops: &["reduce"],
        apply: |rw, s| {
            let from = shape(rw, s.x());
            if !s.attrs.indices("axes").iter().all(|a| from[*a].is(1)) {
                return Ok(None);
            }
            rw.b.reshape(s.x(), &s.ty.shape).map(Some)
        },
    },
];

fn moves_nothing(rw: &Rewriter, s: &Site) -> bool {
    let same = rw.b.graph.tensor_ty(s.x()).shape == s.ty.shape;
    let zero = |name: &str| s.attrs.dims(name).iter().all(|d| d.is(0));
    same && match s.op {
        "transpose" => s.attrs.ints("perm").is_sorted(),
        "slice" => zero("starts") && s.attrs.ints("steps").iter().all(|n| *n == 1),
        "pad" => zero("low") && zero("high"),
        "reverse" => s.attrs.indices("axes").iter().all(|a| s.ty.shape[*a].is(1)),
        "reduce" => s.attrs.ints("axes").is_empty(),
        _ => true,
    }
}

fn transpose_of_merged_axes(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let Some(transpose) = rw.def(s.x(), "transpose") else { return Ok(None) };
    let (merged, perm) = (transpose.inputs[0], transpose.attrs.indices("perm"));
    let Some(x) = below(rw, merged, "reshape") else { return Ok(None) };
    let from = shape(rw, x);
    let Some(groups) = merged_axes(&from, &shape(rw, merged)) else { return Ok(None) };
    let axes: Vec<usize> = perm.iter().flat_map(|p| groups[*p].clone()).collect();
    if !axes.iter().map(|a| &from[*a]).eq(&s.ty.shape) {
        return Ok(None);
    }
    rw.b.transpose(x, &axes).map(Some)
}

/// The neighboring axes of `from` that make each axis of `to`, if a reshape only merges.
fn merged_axes(from: &[Dim], to: &[Dim]) -> Option<Vec<Range<usize>>> {
    let (mut groups, mut at) = (Vec::with_capacity(to.len()), 0);
    for size in to {
        let (first, mut product) = (at, from.get(at)?.clone());
        at += 1;
        while product != *size {
            product = product * from.get(at)?.clone();
            at += 1;
        }
        groups.push(first..at);
    }
    (at == from.len()).then_some(groups)
}

fn pad_twice(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let Some(node) = rw.def(s.x(), "pad") else { return Ok(None) };
    let (x, value, inner) = (node.inputs[0], node.inputs[1], node.attrs.clone());
    let number = |v: ValueId| uniform(rw.b.graph, v).map(f64::to_bits);
    let equal = value == s.inputs[1] || number(value).is_some() && number(value) == number(s.inputs[1]);
    let constant = [&inner, &s.attrs].iter().all(|a| a.str("mode") == "constant");
    let grows =
        ["low", "high"].iter().all(|n| inner.dims(n).iter().all(|d| d.as_const().is_some_and(|v| v >= 0)));
    if !(equal && constant && grows) {
        return Ok(None);
    }
    let sum = |name: &str| {
        let both = inner.dims(name).iter().zip(s.attrs.dims(name));
        Attr::Dims(both.map(|(a, b)| a.clone() + b.clone()).collect())
    };
    let attrs = attrs! { mode: Attr::Str("constant".into()), low: sum("low"), high: sum("high") };
    rw.b.one("pad", attrs, &[x, value]).map(Some)
}
