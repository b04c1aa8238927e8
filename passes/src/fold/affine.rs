//! Factors and summands of output channels, folded into the weights that made the channels.
//!
//! A chain of such operators is followed from its product: the weights are always computed from the
//! original ones in f64 and rounded once, however long the chain is.

use super::known::{Line, line};
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Dim, Graph, OpError, Outcome, Rewriter, ScalarOp, Tensor, ValueId};
use std::collections::HashMap;

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "fold-affine",
    doc: "Multiplies constant factors of output channels into the weights of the convolution or contraction before \
          them and adds constant summands to its bias; inference-time batch normalization is of this form.",
    required: false,
    run,
};

/// Bytes of a weight that may be stored twice when its other readers need the original.
const MOST_COPIED: usize = 1 << 20;

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    let mut chains = HashMap::new();
    report.apply(PASS.name, graph, |rw, node| fold(rw, node, &mut chains))
}

/// One operator `y = x·factor + summand` by constants.
struct Step {
    x: ValueId,
    factor: Vec<f64>,
    summand: Vec<f64>,
    axis: Option<usize>,
}

/// A product followed by steps: `y = product·scale + shift` along `axis`.
#[derive(Clone)]
struct Chain {
    product: ValueId,
    axis: Option<usize>,
    scale: Vec<f64>,
    shift: Vec<f64>,
    /// The weight times the scale.
    weight: ValueId,
}

fn fold(
    rw: &mut Rewriter,
    node: &NodeView,
    chains: &mut HashMap<ValueId, Chain>,
) -> Result<Outcome, OpError> {
    let Some(step) = step(rw, node) else { return Ok(Outcome::NoMatch) };
    let Some(chain) = chains.get(&step.x).cloned().or_else(|| start(rw, step.x)) else {
        return Ok(Outcome::NoMatch);
    };
    if rw.n_uses(step.x) != 1 {
        return Ok(Outcome::Blocked("the product has other readers"));
    }
    let Some(next) = extended(&chain, &step) else {
        return Ok(Outcome::Blocked("the constants vary along different axes"));
    };
    if !next.scale.iter().chain(&next.shift).all(|v| v.is_finite()) {
        return Ok(Outcome::Blocked("a factor or summand is not finite"));
    }
    let op = rw.b.graph.def_node(next.product).expect("a chain starts at a node").op.name;
    if op == "contract" && next.scale.iter().all(|s| *s == 1.0) && chain.shift.iter().all(|s| *s == 0.0) {
        // A contraction has no bias: its first summand stays where it is.
        let values = rw.copy(node)?;
        chains.insert(values[0], next);
        return Ok(Outcome::Kept(values));
    }
    let built =
        if op == "contract" { contraction(rw, &chain, next)? } else { convolution(rw, &chain, next)? };
    Ok(match built {
        Ok((y, next)) => {
            chains.insert(y, next);
            Outcome::Applied(vec![y])
        }
        Err(why) => Outcome::Blocked(why),
    })
}

/// Reads a node as a step.
fn step(rw: &Rewriter, node: &NodeView) -> Option<Step> {
    if !node.types[0].as_tensor()?.dtype.is_float() {
        return None;
    }
    let one = |v: f64| Line { axis: None, values: vec![v] };
    let graph = &rw.b.graph;
    let name = node.old.op.name;
    if name == "neg" {
        return Some(Step { x: node.inputs[0], factor: vec![-1.0], summand: vec![0.0], axis: None });
    }
    if !matches!(name, "mul" | "add" | "sub" | "div") {
        return None;
    }
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let (x, c, swapped) = match line(graph, b) {
        Some(c) => (a, c, false),
        None if name != "div" => (b, line(graph, a)?, true),
        None => return None,
    };
    let map = |f: fn(f64) -> f64| Line { axis: c.axis, values: c.values.iter().map(|v| f(*v)).collect() };
    let (factor, summand) = match (name, swapped) {
        ("mul", _) => (c.clone(), one(0.0)),
        ("div", _) => (map(|v| 1.0 / v), one(0.0)),
        ("add", _) => (one(1.0), c.clone()),
        (_, false) => (one(1.0), map(|v| -v)),
        (_, true) => (one(-1.0), c.clone()),
    };
    Some(Step { x, factor: factor.values, summand: summand.values, axis: c.axis })
}

/// A chain without steps, if the value is a product with constant weights.
fn start(rw: &Rewriter, product: ValueId) -> Option<Chain> {
    let node = rw.b.graph.def_node(product)?;
    let (weight, axis) = match node.op.name {
        "conv" | "conv_transpose" => {
            let rank = rw.b.graph.tensor_ty(product).rank();
            (node.inputs[1], Some(if node.attrs.flag("channels_last") { rank - 1 } else { 1 }))
        }
        "contract" => {
            let weight = *node.inputs.iter().find(|v| rw.b.graph.constant(**v).is_some())?;
            (weight, None)
        }
        _ => return None,
    };
    Some(Chain { product, axis, scale: vec![1.0], shift: vec![0.0], weight })
}

/// The chain with one more step; `None` if their axes differ.
fn extended(chain: &Chain, step: &Step) -> Option<Chain> {
    let axis = match (chain.axis, step.axis) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => a.or(b),
    };
    let scale = zip(&chain.scale, &step.factor, |s, f| s * f);
    let moved = zip(&chain.shift, &step.factor, |s, f| s * f);
    let shift = zip(&moved, &step.summand, |s, t| s + t);
    Some(Chain { axis, scale, shift, ..chain.clone() })
}

/// Element by element; one element stands for as many as the other has.
fn zip(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let n = a.len().max(b.len());
    (0..n).map(|i| f(a[i % a.len()], b[i % b.len()])).collect()
}

type Built = Result<(ValueId, Chain), &'static str>;

fn convolution(rw: &mut Rewriter, before: &Chain, mut next: Chain) -> Result<Built, OpError> {
    let node = rw.b.graph.def_node(next.product).expect("a chain starts at a node").clone();
    let [x, w, bias] = node.inputs[..] else { return Ok(Err("the convolution has no bias")) };
    let Some(bias) = line(rw.b.graph, bias).map(|l| l.values) else {
        return Ok(Err("the bias is not constant"));
    };
    let n = rw.b.graph.tensor_ty(node.inputs[2]).shape[0].as_len();
    let (Some(weight), Some(n)) = (rw.b.graph.constant(w).cloned(), n) else {
        return Ok(Err("the weight is not constant"));
    };
    if next.scale != before.scale {
        if rw.n_uses(w) != 1 && weight.bytes().len() > MOST_COPIED {
            return Ok(Err("the weight has other readers"));
        }
        let groups = node.attrs.index("groups");
        let scaled = if node.is("conv") {
            scaled(&weight, 0, &next.scale)?
        } else {
            // [C, O/g, K…] as [g, C/g, O/g, K…]: the channel of the result is the first with the third.
            scaled_by_group(&weight, groups, &next.scale)?
        };
        let Some(scaled) = scaled else { return Ok(Err("the folded weight would overflow")) };
        next.weight = rw.b.constant(scaled);
    }
    let bias = zip(&bias, &next.scale, |b, s| b * s);
    let mut bias = zip(&bias, &next.shift, |b, t| b + t);
    bias.resize(n, bias[0]);
    let Some(bias) = rounded(&weight, &[n], &bias)? else { return Ok(Err("the folded bias would overflow")) };
    let bias = rw.b.constant(bias);
    let y = rw.b.one(node.op.name, node.attrs, &[x, next.weight, bias])?;
    Ok(Ok((y, next)))
}

fn contraction(rw: &mut Rewriter, before: &Chain, mut next: Chain) -> Result<Built, OpError> {
    let node = rw.b.graph.def_node(next.product).expect("a chain starts at a node").clone();
    let old = start(rw, next.product).expect("the chain started so").weight;
    let right = node.inputs[1] == old;
    let Some(weight) = rw.b.graph.constant(old).cloned() else {
        return Ok(Err("the weight is not constant"));
    };
    if next.scale != before.scale {
        if rw.n_uses(old) != 1 && weight.bytes().len() > MOST_COPIED {
            return Ok(Err("the weight has other readers"));
        }
        let letters = node.attrs.str(if right { "rhs" } else { "lhs" });
        let letter = next.axis.and_then(|a| node.attrs.str("out").chars().nth(a));
        let axis = match (next.scale.len(), letter.map(|l| letters.find(l))) {
            (1, _) | (_, None) => 0,
            (_, Some(Some(axis))) => axis,
            (_, Some(None)) => return Ok(Err("the weight lacks the axis of the factor")),
        };
        let Some(scaled) = scaled(&weight, axis, &next.scale)? else {
            return Ok(Err("the folded weight would overflow"));
        };
        next.weight = rw.b.constant(scaled);
    }
    let inputs = if right { [node.inputs[0], next.weight] } else { [next.weight, node.inputs[1]] };
    let mut y = rw.b.one("contract", node.attrs, &inputs)?;
    if next.shift.iter().any(|s| *s != 0.0) {
        let n = next.shift.len();
        let Some(shift) = rounded(&weight, &[n], &next.shift)? else {
            return Ok(Err("the folded summand would overflow"));
        };
        let rank = rw.b.graph.tensor_ty(y).rank();
        let mut shape = vec![Dim::ONE; rank - next.axis.unwrap_or(rank - 1)];
        shape[0] = Dim::len(n);
        let shift = rw.b.constant(shift);
        let shift = rw.b.reshape(shift, &shape)?;
        y = rw.b.binary(ScalarOp::Add, y, shift)?;
    }
    Ok(Ok((y, next)))
}

/// The weight times one factor per index of an axis, rounded once; `None` if that overflows.
fn scaled(weight: &Tensor, axis: usize, scale: &[f64]) -> Result<Option<Tensor>, OpError> {
    let inner: usize = weight.shape().iter().skip(axis + 1).product();
    let mut data = weight.to_f64s();
    data.iter_mut().enumerate().for_each(|(i, w)| *w *= scale[i / inner.max(1) % scale.len()]);
    rounded(weight, weight.shape(), &data)
}

fn scaled_by_group(weight: &Tensor, groups: usize, scale: &[f64]) -> Result<Option<Tensor>, OpError> {
    let [c, per_group] = [weight.shape()[0], weight.shape()[1]];
    let inner: usize = weight.shape()[2..].iter().product();
    let depth = (c / groups.max(1)).max(1);
    let mut data = weight.to_f64s();
    for (row, values) in data.chunks_mut(inner.max(1)).enumerate() {
        let (channel, of_group) = (row / per_group.max(1), row % per_group.max(1));
        let s = scale[(channel / depth * per_group + of_group) % scale.len()];
        values.iter_mut().for_each(|w| *w *= s);
    }
    rounded(weight, weight.shape(), &data)
}

/// Numbers in the type of another tensor; `None` if finite ones become infinite.
fn rounded(like: &Tensor, shape: &[usize], data: &[f64]) -> Result<Option<Tensor>, OpError> {
    let t = Tensor::from_f64s(like.dtype(), shape, data)?;
    let fits = t.to_f64s().iter().zip(data).all(|(r, d)| r.is_finite() || !d.is_finite());
    Ok(fits.then_some(t))
}
