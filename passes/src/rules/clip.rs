//! Nests of minima and maxima with constants: one maximum inside of one minimum.

use super::Rule;
use crate::fold::known::uniform;
use nnc_ir::{OpError, Rewriter, ScalarOp, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "clip-nothing",
        doc: "max(x, lowest) and min(x, highest) are x, infinities for floats",
        ops: &["max", "min"],
        apply: |rw, s| {
            let Some((x, c)) = split(rw, s.op, &s.inputs) else { return Ok(None) };
            let sign = if s.op == "max" { -1.0 } else { 1.0 };
            let limit = match s.ty.dtype.int_range() {
                Some((low, high)) => (if s.op == "max" { low } else { high }) as f64,
                None => sign * f64::INFINITY,
            };
            Ok((c == limit).then_some(x))
        },
    },
    Rule {
        name: "clip-twice",
        doc: "max(max(x, a), b) is max(x, max(a, b)), and so with min",
        ops: &["max", "min"],
        apply: |rw, s| {
            let Some((x, c)) = split(rw, s.op, &s.inputs) else { return Ok(None) };
            match of(rw, s.op, x) {
                Some((inner, d)) => {
                    bounded(rw, s.op, inner, if s.op == "max" { c.max(d) } else { c.min(d) }).map(Some)
                }
                None => Ok(None),
            }
        },
    },
    Rule {
        name: "clip-order",
        doc: "max(min(x, h), l) with l ≤ h is min(max(x, l), h)",
        ops: &["max"],
        apply: |rw, s| {
            let Some((x, low)) = split(rw, "max", &s.inputs) else { return Ok(None) };
            let Some((inner, high)) = of(rw, "min", x).filter(|_| rw.n_uses(x) == 1) else { return Ok(None) };
            if low > high {
                return Ok(None);
            }
            let (inner, low) = match of(rw, "max", inner) {
                Some((x, l)) => (x, low.max(l)),
                None => (inner, low),
            };
            let raised = bounded(rw, "max", inner, low)?;
            bounded(rw, "min", raised, high).map(Some)
        },
    },
];

/// The operand that is not constant, and the number that the other is everywhere.
fn split(rw: &Rewriter, op: &str, inputs: &[ValueId]) -> Option<(ValueId, f64)> {
    debug_assert!(matches!(op, "max" | "min"));
    let number = |v: ValueId| uniform(rw.b.graph, v).filter(|c| !c.is_nan());
    match (number(inputs[0]), number(inputs[1])) {
        (None, Some(c)) => Some((inputs[0], c)),
        (Some(c), None) => Some((inputs[1], c)),
        _ => None,
    }
}

/// The parts of a maximum or minimum with a constant.
fn of(rw: &Rewriter, op: &str, v: ValueId) -> Option<(ValueId, f64)> {
    split(rw, op, &rw.def(v, op)?.inputs)
}

fn bounded(rw: &mut Rewriter, op: &str, x: ValueId, c: f64) -> Result<ValueId, OpError> {
    let t = rw.b.graph.tensor_ty(x).clone();
    let c = rw.b.splat(t.dtype, c, &t.shape)?;
    rw.b.binary(if op == "max" { ScalarOp::Max } else { ScalarOp::Min }, x, c)
}
