//! Padding folded into the window operator after it.

use super::known::{not_negative, uniform};
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, Attrs, Dim, Graph, OpError, Outcome, Rewriter, ValueId};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "fold-pads",
    doc: "Constant padding of spatial axes becomes padding of the convolution or pool that reads it, where that \
          means the same.",
    required: false,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, fold)
}

/// A constant padding of the spatial axes.
struct Padding {
    x: ValueId,
    value: f64,
    low: Vec<Dim>,
    high: Vec<Dim>,
}

fn fold(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    if !matches!(node.old.op.name, "conv" | "pool") {
        return Ok(Outcome::NoMatch);
    }
    let Some(found) = padding(rw, node) else { return Ok(Outcome::NoMatch) };
    let p = match found {
        Ok(p) => p,
        Err(why) => return Ok(Outcome::Blocked(why)),
    };
    let attrs = match node.old.op.name {
        "conv" => (p.value == 0.0).then(|| added(node.attrs, &p, &["pads_low", "pads_high"])),
        _ => pooled(rw, node.attrs, &p),
    };
    let Some(attrs) = attrs else { return Ok(Outcome::Blocked("the window treats padding otherwise")) };
    let inputs = [&[p.x], &node.inputs[1..]].concat();
    Ok(Outcome::Applied(vec![rw.b.one(node.old.op.name, attrs, &inputs)?]))
}

/// The padding that makes the first operand.
fn padding(rw: &Rewriter, node: &NodeView) -> Option<Result<Padding, &'static str>> {
    let pad = rw.def(node.inputs[0], "pad").filter(|n| n.attrs.str("mode") == "constant")?;
    let value = uniform(rw.b.graph, pad.inputs[1])?;
    let (low, high) = (pad.attrs.dims("low"), pad.attrs.dims("high"));
    let rank = low.len();
    let spatial = if node.attrs.flag("channels_last") { 1..rank - 1 } else { 2..rank };
    let others = (0..rank).filter(|a| !spatial.contains(a));
    if others.into_iter().any(|a| !low[a].is(0) || !high[a].is(0)) {
        return Some(Err("batch or channels are padded too"));
    }
    let (low, high) = (low[spatial.clone()].to_vec(), high[spatial].to_vec());
    let grows = |d: &Dim| d.at_least(0, &|_| nnc_tensor::Range::length());
    if !low.iter().chain(&high).all(grows) {
        return Some(Err("elements are cut off"));
    }
    Some(Ok(Padding { x: pad.inputs[0], value, low, high }))
}

/// The attributes with more padding.
fn added(attrs: &Attrs, p: &Padding, names: &[&'static str]) -> Attrs {
    let mut attrs = attrs.clone();
    for (name, more) in names.iter().zip([&p.low, &p.high]) {
        let sum = attrs.dims(name).iter().zip(more).map(|(a, b)| a.clone() + b.clone()).collect();
        attrs.set(name, Attr::Dims(sum));
    }
    attrs
}

fn pooled(rw: &Rewriter, attrs: &Attrs, p: &Padding) -> Option<Attrs> {
    let both: &[&'static str] = &["pads_low", "pads_high"];
    let names = if attrs.get("pads_high").is_some() { both } else { &both[..1] };
    match attrs.str("kind") {
        "sum" if p.value == 0.0 => Some(added(attrs, p, names)),
        "average" if p.value == 0.0 && attrs.flag("include_pad") => Some(added(attrs, p, names)),
        // What was an element of the input counts as padding now.
        "average" if p.value == 0.0 && attrs.dims("pads_low").iter().all(|d| d.is(0)) => {
            let mut attrs = attrs.clone();
            attrs.set("include_pad", Attr::Int(1));
            attrs.set("pads_low", Attr::Dims(p.low.clone()));
            attrs.set("pads_high", Attr::Dims(p.high.clone()));
            Some(attrs)
        }
        "max" if p.value == f64::NEG_INFINITY => Some(added(attrs, p, names)),
        "max" if p.value == 0.0 && not_below_zero(rw, p.x) && overlaps(attrs, p) => {
            Some(added(attrs, p, names))
        }
        _ => None,
    }
}

/// Every window holds at least one element that is no padding, provided that each axis has one.
fn overlaps(attrs: &Attrs, p: &Padding) -> bool {
    let fits = |(k, d): (&i64, &Dim)| d.as_const().is_some_and(|d| d < *k);
    let near = |pads: &[Dim]| attrs.ints("kernel").iter().zip(pads).all(fits);
    let own = attrs.dims("pads_low").iter().all(|d| d.is(0));
    own && attrs.ints("dilations").iter().all(|d| *d == 1) && near(&p.low) && near(&p.high)
}

/// No element is below zero; the sign of zeros does not matter.
fn not_below_zero(rw: &Rewriter, v: ValueId) -> bool {
    let graph = &rw.b.graph;
    let (mut v, number) = (v, |v: ValueId| uniform(graph, v));
    loop {
        let Some(node) = graph.def_node(v) else { return false };
        match node.op.name {
            "max" => return node.inputs.iter().any(|i| number(*i).is_some_and(|c| c >= 0.0)),
            "min" => match node.inputs.iter().position(|i| number(*i).is_some_and(|c| c >= 0.0)) {
                Some(i) => v = node.inputs[1 - i],
                None => return false,
            },
            _ => return not_negative(graph, v),
        }
    }
}
