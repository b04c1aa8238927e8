//! Softmax and its logarithm out of maximum, exponential and sum.

use super::pattern::Match;
use crate::fold::known::uniform;
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, Graph, OpError, Outcome, Rewriter, ValueId, attrs};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "raise-softmax",
    doc: "exp(x - max x) over its sum, or the logarithm of that, becomes `softmax`.",
    required: false,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, raise)
}

fn raise(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    if !matches!(node.old.op.name, "div" | "mul" | "sub") {
        return Ok(Outcome::NoMatch);
    }
    let mut m = Match::new(rw, node);
    let Some((x, axis, log)) = matched(&mut m, node) else { return Ok(Outcome::NoMatch) };
    if let Err(outcome) = m.closed(()) {
        return Ok(outcome);
    }
    let attrs = attrs! { axis: Attr::Int(axis as i64), log: Attr::Int(i64::from(log)) };
    Ok(Outcome::Applied(vec![rw.b.one("softmax", attrs, &[x])?]))
}

fn matched(m: &mut Match, node: &NodeView) -> Option<(ValueId, usize, bool)> {
    let (a, b) = (node.inputs[0], node.inputs[1]);
    match node.old.op.name {
        "div" => probabilities(m, a, b, false),
        "mul" => m.attempt(|m| probabilities(m, a, b, true)).or_else(|| probabilities(m, b, a, true)),
        _ => logarithm(m, a, b),
    }
}

/// `e` over its sum, which is `sum`, or one over it.
fn probabilities(m: &mut Match, e: ValueId, sum: ValueId, inverted: bool) -> Option<(ValueId, usize, bool)> {
    let shifted = m.def(e, "exp")?.inputs[0];
    let (x, axis) = shifted_by_max(m, shifted)?;
    let full = m.graph().tensor_ty(x).shape.clone();
    let mut sum = m.spread(sum, &full, &[axis]);
    if inverted {
        let quotient = m.def(sum, "div")?;
        let one = uniform(m.graph(), quotient.inputs[0]) == Some(1.0);
        sum = m.spread(quotient.inputs[1], &full, &[axis]);
        one.then_some(())?;
    }
    (m.reduced(sum, "sum")? == (e, vec![axis])).then_some((x, axis, false))
}

/// `shifted - log(sum(exp(shifted)))`.
fn logarithm(m: &mut Match, shifted: ValueId, log: ValueId) -> Option<(ValueId, usize, bool)> {
    let (x, axis) = shifted_by_max(m, shifted)?;
    let full = m.graph().tensor_ty(x).shape.clone();
    let log = m.spread(log, &full, &[axis]);
    let sum = m.def(log, "log")?.inputs[0];
    let sum = m.spread(sum, &full, &[axis]);
    let (e, axes) = m.reduced(sum, "sum")?;
    let again = m.def(e, "exp")?.inputs[0];
    (again == shifted && axes == [axis]).then_some((x, axis, true))
}

/// `x - max x` along one axis.
fn shifted_by_max(m: &mut Match, v: ValueId) -> Option<(ValueId, usize)> {
    let node = m.def(v, "sub")?;
    let x = node.inputs[0];
    let full = m.graph().tensor_ty(x).shape.clone();
    // The axis is not known before the reduction is found: try each.
    (0..full.len()).rev().find_map(|axis| {
        m.attempt(|m| {
            let max = m.spread(node.inputs[1], &full, &[axis]);
            (m.reduced(max, "max")? == (x, vec![axis])).then_some((x, axis))
        })
    })
}
