//! Arithmetic and logic with constants, and functions that undo each other.

use super::{Rule, Site, below};
use crate::fold::known::{not_negative, uniform};
use nnc_ir::{Attrs, DType, Dim, OpError, Rewriter, ScalarOp, Tensor, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "dims-constant",
        doc: "sizes that are all numbers are a constant",
        ops: &["dims"],
        apply: |rw, s| {
            let values: Option<Vec<i64>> = s.attrs.dims("values").iter().map(Dim::as_const).collect();
            let (Some(values), Some(shape)) = (values, s.ty.fixed_shape()) else { return Ok(None) };
            Ok(Some(rw.b.constant(Tensor::from_slice(&shape, &values)?)))
        },
    },
    Rule {
        name: "add-zero",
        doc: "x + 0 and 0 + x are x; the sign of a zero is not kept",
        ops: &["add"],
        apply: |rw, s| Ok(other_than(rw, s, 0.0)),
    },
    Rule {
        name: "mul-one",
        doc: "x · 1 and 1 · x are x",
        ops: &["mul"],
        apply: |rw, s| Ok(other_than(rw, s, 1.0)),
    },
    Rule {
        name: "sub-zero",
        doc: "x - 0 is x",
        ops: &["sub"],
        apply: |rw, s| Ok(is(rw, s.inputs[1], 0.0).then(|| s.x())),
    },
    Rule {
        name: "div-one",
        doc: "x / 1 is x",
        ops: &["div"],
        apply: |rw, s| Ok(is(rw, s.inputs[1], 1.0).then(|| s.x())),
    },
    Rule {
        name: "div-power-of-two",
        doc: "x / 2^k is x · 2^-k, which is the same number and faster",
        ops: &["div"],
        apply: |rw, s| {
            let c = uniform(rw.b.graph, s.inputs[1]).filter(|c| is_small_power_of_two(*c));
            let Some(c) = c.filter(|_| s.ty.dtype.is_float()) else { return Ok(None) };
            let factor = rw.b.splat(s.ty.dtype, 1.0 / c, &s.ty.shape)?;
            rw.b.binary(ScalarOp::Mul, s.x(), factor).map(Some)
        },
    },
    Rule {
        name: "pow-constant",
        doc: "x^1 is x, x^2 is x·x, x^3 is x·x·x, x^-1 is 1/x, x^0.5 is sqrt(x) where x is never negative",
        ops: &["pow"],
        apply: power,
    },
    Rule {
        name: "twice-undone",
        doc: "-(-x) and !(!x) are x",
        ops: &["neg", "not"],
        apply: |rw, s| Ok(below(rw, s.x(), s.op)),
    },
    Rule {
        name: "abs-of-sign",
        doc: "|-x| and ||x|| are |x|",
        ops: &["abs"],
        apply: |rw, s| {
            let inner = below(rw, s.x(), "neg").or_else(|| below(rw, s.x(), "abs"));
            inner.map(|x| rw.b.unary(ScalarOp::Abs, x)).transpose()
        },
    },
    Rule {
        name: "rounded-twice",
        doc: "rounding a number that is rounded already changes nothing",
        ops: &["floor", "ceil", "round", "trunc"],
        apply: |rw, s| {
            let whole = ["floor", "ceil", "round", "trunc"].iter().any(|op| rw.def(s.x(), op).is_some());
            Ok(whole.then(|| s.x()))
        },
    },
    Rule {
        name: "add-negative",
        doc: "x + (-y) is x - y, x - (-y) is x + y",
        ops: &["add", "sub"],
        apply: |rw, s| {
            let to = if s.op == "add" { ScalarOp::Sub } else { ScalarOp::Add };
            if let Some(y) = below(rw, s.inputs[1], "neg") {
                return rw.b.binary(to, s.x(), y).map(Some);
            }
            match below(rw, s.x(), "neg") {
                Some(x) if s.op == "add" => rw.b.binary(to, s.inputs[1], x).map(Some),
                _ => Ok(None),
            }
        },
    },
    Rule {
        name: "logic-constant",
        doc: "x and true, x or false are x; x and false is false, x or true is true (booleans)",
        ops: &["and", "or"],
        apply: |rw, s| {
            if s.ty.dtype != DType::Bool {
                return Ok(None);
            }
            let neutral = f64::from(u8::from(s.op == "and"));
            let other = other_than(rw, s, neutral);
            Ok(other.or_else(|| s.inputs.iter().copied().find(|v| is(rw, *v, 1.0 - neutral))))
        },
    },
    Rule {
        name: "not-of-comparison",
        doc: "!(a = b) is a ≠ b and so on; orders of floats are left alone for the sake of NaN",
        ops: &["not"],
        apply: opposite,
    },
    Rule {
        name: "select-known",
        doc: "a choice whose condition is constant, or between equal values, is that value; !c swaps them",
        ops: &["select"],
        apply: |rw, s| {
            let [c, a, b] = s.inputs[..] else { return Ok(None) };
            if let Some(v) = uniform(rw.b.graph, c) {
                return Ok(Some(if v != 0.0 { a } else { b }));
            }
            if a == b {
                return Ok(Some(a));
            }
            match below(rw, c, "not") {
                Some(c) => rw.b.select(c, b, a).map(Some),
                None => Ok(None),
            }
        },
    },
];

fn is(rw: &Rewriter, v: ValueId, number: f64) -> bool {
    uniform(rw.b.graph, v) == Some(number)
}

/// The operand beside one that is a certain number everywhere.
fn other_than(rw: &Rewriter, s: &Site, number: f64) -> Option<ValueId> {
    (0..2).find(|i| is(rw, s.inputs[*i], number)).map(|i| s.inputs[1 - i])
}

/// Within the normal numbers of every float type of 16 bits and more, as is its reciprocal.
fn is_small_power_of_two(c: f64) -> bool {
    let exponent = c.abs().log2();
    c != 1.0
        && exponent.abs() <= 14.0
        && exponent == exponent.trunc()
        && 2f64.powi(exponent as i32) == c.abs()
}

fn power(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let (x, Some(e)) = (s.x(), uniform(rw.b.graph, s.inputs[1])) else { return Ok(None) };
    let float = s.ty.dtype.is_float();
    Ok(Some(if e == 1.0 {
        x
    } else if e == 2.0 {
        rw.b.binary(ScalarOp::Mul, x, x)?
    } else if e == 3.0 {
        let square = rw.b.binary(ScalarOp::Mul, x, x)?;
        rw.b.binary(ScalarOp::Mul, square, x)?
    } else if e == -1.0 && float {
        let one = rw.b.splat(s.ty.dtype, 1.0, &s.ty.shape)?;
        rw.b.binary(ScalarOp::Div, one, x)?
    } else if e == 0.5 && float && not_negative(rw.b.graph, x) {
        rw.b.unary(ScalarOp::Sqrt, x)?
    } else {
        return Ok(None);
    }))
}

fn opposite(rw: &mut Rewriter, s: &Site) -> Result<Option<ValueId>, OpError> {
    let Some(node) = rw.b.graph.def_node(s.x()) else { return Ok(None) };
    let ordered = node.op.scalar.is_some_and(|o| o.n_operands() == 2)
        && rw.b.graph.tensor_ty(node.inputs[0]).dtype.is_int();
    let to = match node.op.name {
        "eq" => "ne",
        "ne" => "eq",
        "lt" if ordered => "ge",
        "ge" if ordered => "lt",
        "gt" if ordered => "le",
        "le" if ordered => "gt",
        _ => return Ok(None),
    };
    let inputs = node.inputs.clone();
    rw.b.one(to, Attrs::new(), &inputs).map(Some)
}
