//! Channels-last layout for spatial operators.
//!
//! One decision for the whole graph: every convolution, pool and group norm takes its channels
//! innermost. Transposes are put around each and then moved through what lies between two of them
//! until they meet and vanish; what remains sits at the rim of the spatial part.

use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, Dim, Graph, OpError, Outcome, Rewriter, Tensor, ValueId, ops};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "layout",
    doc: "Spatial operators take channels-last data; between two of them no transpose is left.",
    required: false,
    run,
};

fn run(graph: &Graph, target: &Target, report: &mut Report) -> Result<Graph, OpError> {
    if !target.channels_last {
        return Ok(graph.clone());
    }
    let mut graph = report.apply(PASS.name, graph, spatial)?;
    // Each walk moves transposes past every node it meets in order, so few walks suffice.
    for _ in 0..3 {
        let before = report.n_applied(PASS.name);
        graph = report.apply(PASS.name, &graph, sink)?;
        if report.n_applied(PASS.name) == before {
            break;
        }
    }
    Ok(graph)
}

/// Axis orders between channels-first and channels-last for a rank.
fn to_last(rank: usize) -> Vec<usize> {
    [vec![0], (2..rank).collect(), vec![1]].concat()
}

fn to_first(rank: usize) -> Vec<usize> {
    [vec![0, rank - 1], (1..rank - 1).collect()].concat()
}

/// Turns a channels-first spatial operator into channels-last between transposes.
fn spatial(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    if !matches!(node.old.op.name, "conv" | "conv_transpose" | "pool" | "group_norm")
        || node.attrs.flag("channels_last")
    {
        return Ok(Outcome::NoMatch);
    }
    let rank = rw.b.graph.tensor_ty(node.inputs[0]).rank();
    let mut inputs = node.inputs.clone();
    inputs[0] = rw.b.transpose(inputs[0], &to_last(rank))?;
    let mut attrs = node.attrs.clone();
    attrs.set("channels_last", Attr::Int(1));
    let y = rw.b.one(node.old.op.name, attrs, &inputs)?;
    Ok(Outcome::Applied(vec![rw.b.transpose(y, &to_first(rank))?]))
}

/// The permutation of a transpose that defines a value, and what it transposes.
fn transposed(rw: &Rewriter, v: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let node = rw.def(v, "transpose")?;
    Some((node.inputs[0], node.attrs.indices("perm")))
}

/// Moves a transpose from an operand to the result, where operators do not care about the order of axes.
fn sink(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let name = node.old.op.name;
    if name == "transpose" {
        return merge(rw, node);
    }
    if matches!(name, "pad" | "slice" | "reduce" | "softmax") {
        return sink_one(rw, node);
    }
    if !(ops::is_elementwise(node.old.op) || name == "concat") || node.inputs.is_empty() {
        return Ok(Outcome::NoMatch);
    }
    let Some((_, perm)) = node.inputs.iter().find_map(|v| transposed(rw, *v)) else {
        return Ok(Outcome::NoMatch);
    };
    let mut inputs = Vec::new();
    for v in &node.inputs {
        match transposed(rw, *v) {
            Some((x, p)) if p == perm => inputs.push(x),
            _ => match cheaply_permuted(rw, *v, &perm)? {
                Some(x) => inputs.push(x),
                None => return Ok(Outcome::NoMatch),
            },
        }
    }
    let mut attrs = node.attrs.clone();
    if name == "concat" {
        attrs.set("axis", Attr::Int(perm[node.attrs.index("axis")] as i64));
    }
    let y = rw.b.one(name, attrs, &inputs)?;
    Ok(Outcome::Applied(vec![rw.b.transpose(y, &perm)?]))
}

/// The value `x` with `transpose(x, perm) = v`, where that costs nothing: constants and broadcasts of
/// values with few axes of their own.
fn cheaply_permuted(rw: &mut Rewriter, v: ValueId, perm: &[usize]) -> Result<Option<ValueId>, OpError> {
    let rank = perm.len();
    let mut inverse = vec![0; rank];
    perm.iter().enumerate().for_each(|(i, p)| inverse[*p] = i);
    if let Some(t) = rw.b.graph.constant(v) {
        let moved: Tensor = nnc_tensor::movers::transpose(t, &inverse)?;
        return Ok(Some(rw.b.constant(moved)));
    }
    let Some(node) = rw.def(v, "broadcast") else { return Ok(None) };
    let (x, shape) = (node.inputs[0], node.attrs.dims("shape").to_vec());
    let from = rw.b.graph.tensor_ty(x).shape.clone();
    let own = from.iter().filter(|d| !d.is(1)).count();
    if own > 1 && transposed(rw, x).is_none() {
        return Ok(None);
    }
    // Right-align, then permute; with one axis of its own this is a reshape.
    let full: Vec<Dim> = std::iter::repeat_n(Dim::ONE, rank - from.len()).chain(from).collect();
    let moved: Vec<Dim> = inverse.iter().map(|i| full[*i].clone()).collect();
    let target: Vec<Dim> = inverse.iter().map(|i| shape[*i].clone()).collect();
    let x = if own <= 1 {
        rw.b.reshape(x, &moved)?
    } else {
        let (inner, p) = transposed(rw, x).expect("checked above");
        if p != perm {
            return Ok(None);
        }
        inner
    };
    Ok(Some(rw.b.broadcast(x, &target)?))
}

/// Operators with per-axis attributes and one data operand.
fn sink_one(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let Some((x, perm)) = transposed(rw, node.inputs[0]) else { return Ok(Outcome::NoMatch) };
    let mut inverse = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(i, p)| inverse[*p] = i);
    let mut attrs = node.attrs.clone();
    let permuted = |dims: &[Dim]| Attr::Dims(inverse.iter().map(|i| dims[*i].clone()).collect());
    let mut inputs = node.inputs.clone();
    inputs[0] = x;
    match node.old.op.name {
        "pad" => {
            attrs.set("low", permuted(node.attrs.dims("low")));
            attrs.set("high", permuted(node.attrs.dims("high")));
        }
        "slice" => {
            attrs.set("starts", permuted(node.attrs.dims("starts")));
            attrs.set("sizes", permuted(node.attrs.dims("sizes")));
            let steps = node.attrs.ints("steps");
            attrs.set("steps", Attr::Ints(inverse.iter().map(|i| steps[*i]).collect()));
        }
        "softmax" => attrs.set("axis", Attr::Int(perm[node.attrs.index("axis")] as i64)),
        _ => {
            let axes = node.attrs.indices("axes");
            let mut moved: Vec<i64> = axes.iter().map(|a| perm[*a] as i64).collect();
            moved.sort_unstable();
            attrs.set("axes", Attr::Ints(moved.clone()));
            let y = rw.b.one("reduce", attrs, &inputs)?;
            // The order of the axes that are left.
            let kept: Vec<usize> = (0..perm.len()).filter(|i| !moved.contains(&(*i as i64))).collect();
            let wanted = (0..perm.len()).filter(|i| !axes.contains(i)).map(|i| perm[i]);
            let order: Vec<usize> =
                wanted.map(|p| kept.iter().position(|k| *k == p).expect("an axis that is kept")).collect();
            return Ok(Outcome::Applied(vec![rw.b.transpose(y, &order)?]));
        }
    }
    let y = rw.b.one(node.old.op.name, attrs, &inputs)?;
    Ok(Outcome::Applied(vec![rw.b.transpose(y, &perm)?]))
}

/// Two transposes in a row are one or none; one that only moves axes of size 1 is a reshape.
fn merge(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let outer = node.attrs.indices("perm");
    if let Some((x, inner)) = transposed(rw, node.inputs[0]) {
        let both: Vec<usize> = outer.iter().map(|o| inner[*o]).collect();
        return Ok(Outcome::Applied(vec![rw.b.transpose(x, &both)?]));
    }
    let shape = &rw.b.graph.tensor_ty(node.inputs[0]).shape;
    let moved: Vec<usize> = outer.iter().copied().filter(|o| !shape[*o].is(1)).collect();
    if moved.is_sorted() {
        let to = node.types[0].as_tensor().expect("a transpose gives a tensor").shape.clone();
        return Ok(Outcome::Applied(vec![rw.b.reshape(node.inputs[0], &to)?]));
    }
    Ok(Outcome::NoMatch)
}
