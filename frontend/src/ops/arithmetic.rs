//! Functions of several tensors, element by element, with broadcasting.

use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axis};
use crate::refusal::unsupported;
use nnc_ir::{DType, Dim, Kind, ScalarOp, ValueId};

macro_rules! binary_rows {
    ($($name:literal $since:expr, $op:ident, $doc:literal;)*) => {
        &[$(onnx($name, &$since, $doc, |cx| {
            let (a, b) = operands(cx)?;
            let y = cx.binary(ScalarOp::$op, a, b)?;
            cx.done(y)
        }),)* ]
    };
}

/// Operators that are one scalar function of two operands.
pub(super) const BINARY: &[OnnxOp] = binary_rows! {
    "Add" [1, 6, 7, 13, 14], Add, "sum";
    "And" [1, 7], And, "logical and";
    "BitwiseAnd" [18], And, "and of every bit";
    "BitwiseOr" [18], Or, "or of every bit";
    "BitwiseXor" [18], Xor, "exclusive or of every bit";
    "Div" [1, 6, 7, 13, 14], Div, "quotient; integers round toward zero";
    "Equal" [1, 7, 11, 13, 19], Eq, "whether both are equal";
    "Greater" [1, 7, 9, 13], Gt, "whether the first is greater";
    "GreaterOrEqual" [12, 16], Ge, "whether the first is greater or equal";
    "Less" [1, 7, 9, 13], Lt, "whether the first is less";
    "LessOrEqual" [12, 16], Le, "whether the first is less or equal";
    "Mul" [1, 6, 7, 13, 14], Mul, "product";
    "Or" [1, 7], Or, "logical or";
    "Sub" [1, 6, 7, 13, 14], Sub, "difference";
    "Xor" [1, 7], Xor, "logical exclusive or";
};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("BitShift", &[11, 28], "bits moved to higher or lower places", |cx| {
        let op = match cx.attrs.required("direction", cx.attrs.string("direction"))? {
            "LEFT" => ScalarOp::Shl,
            "RIGHT" => ScalarOp::Shr,
            other => unsupported!("attribute \"direction\" must be \"LEFT\" or \"RIGHT\", found \"{other}\""),
        };
        let (a, b) = (cx.required(0)?, cx.required(1)?);
        let y = cx.binary(op, a, b)?;
        cx.done(y)
    }),
    onnx("Clip", &[1, 6, 11, 12, 13], "limited to min and max; max wins where they cross", clip),
    onnx("Max", &[1, 6, 8, 12, 13], "largest of any number of tensors", |cx| fold(cx, ScalarOp::Max)),
    onnx("Mean", &[1, 6, 8, 13], "mean of any number of tensors", |cx| {
        let n = cx.n_inputs();
        let sum = folded(cx, ScalarOp::Add)?;
        let dtype = cx.dtype(sum);
        let n = cx.size_scalar(&Dim::len(n), dtype)?;
        let y = cx.binary(ScalarOp::Div, sum, n)?;
        cx.done(y)
    }),
    onnx("Min", &[1, 6, 8, 12, 13], "smallest of any number of tensors", |cx| fold(cx, ScalarOp::Min)),
    onnx("Mod", &[10, 13, 28], "remainder with the sign of the divisor, or of the dividend (fmod)", |cx| {
        let op = if cx.attrs.flag_or("fmod", false)? { ScalarOp::Rem } else { ScalarOp::Mod };
        let (a, b) = (cx.required(0)?, cx.required(1)?);
        let y = cx.binary(op, a, b)?;
        cx.done(y)
    }),
    onnx("PRelu", &[1, 6, 7, 9, 16], "x above zero, slope * x below; the slope is broadcast", prelu),
    onnx("Pow", &[1, 7, 12, 13, 15], "first to the power of the second, in the type of the first", pow),
    onnx("Sum", &[1, 6, 8, 13], "sum of any number of tensors", |cx| fold(cx, ScalarOp::Add)),
    onnx("Where", &[9, 16], "second where the condition holds, else third", |cx| {
        let (c, a, b) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
        let y = cx.select(c, a, b)?;
        cx.done(y)
    }),
];

/// Both operands, the second placed as the first operator sets ask.
fn operands(cx: &mut Cx) -> Lowered<(ValueId, ValueId)> {
    let (a, b) = (cx.required(0)?, cx.required(1)?);
    if cx.version >= 7 {
        return Ok((a, b));
    }
    let placed = cx.attrs.flag_or("broadcast", false)?;
    let axis = cx.attrs.int("axis")?;
    let (Some(axis), true) = (axis, placed) else { return Ok((a, b)) };
    let (ra, rb) = (cx.rank(a), cx.rank(b));
    let axis = if rb == 0 { ra } else { normal_axis(axis, ra)? };
    if axis + rb > ra {
        unsupported!("attribute \"axis\" places rank {rb} outside rank {ra}");
    }
    let mut shape = cx.shape(b);
    shape.resize(ra - axis, Dim::ONE);
    Ok((a, cx.reshape(b, &shape)?))
}

fn folded(cx: &mut Cx, op: ScalarOp) -> Lowered<ValueId> {
    let xs = cx.variadic()?;
    let Some((first, rest)) = xs.split_first() else { unsupported!("at least one input is needed") };
    rest.iter().try_fold(*first, |acc, x| Ok(cx.binary(op, acc, *x)?))
}

fn fold(cx: &mut Cx, op: ScalarOp) -> Lowered {
    let y = folded(cx, op)?;
    cx.done(y)
}

fn clip(cx: &mut Cx) -> Lowered {
    let mut y = cx.required(0)?;
    if cx.version < 11 {
        let (lo, hi) = (cx.attrs.float("min")?, cx.attrs.float("max")?);
        if let Some(lo) = lo {
            y = cx.with_const(ScalarOp::Max, y, f64::from(lo))?;
        }
        if let Some(hi) = hi {
            y = cx.with_const(ScalarOp::Min, y, f64::from(hi))?;
        }
        return cx.done(y);
    }
    for (i, op) in [(1, ScalarOp::Max), (2, ScalarOp::Min)] {
        if let Some(bound) = cx.input(i)? {
            // The result keeps the shape of x: bounds are scalars, some exporters write [1].
            let bound = if cx.rank(bound) > 0 { cx.reshape(bound, &[])? } else { bound };
            y = cx.binary(op, y, bound)?;
        }
    }
    cx.done(y)
}

fn prelu(cx: &mut Cx) -> Lowered {
    let (x, mut slope) = (cx.required(0)?, cx.required(1)?);
    // Before version 7 a slope holds one number per channel.
    if cx.version < 7 && cx.rank(slope) == 1 && cx.rank(x) > 2 {
        let mut shape = cx.shape(slope);
        shape.resize(cx.rank(x) - 1, Dim::ONE);
        slope = cx.reshape(slope, &shape)?;
    }
    let low = cx.binary(ScalarOp::Mul, x, slope)?;
    let negative = cx.with_const(ScalarOp::Lt, x, 0.0)?;
    let y = cx.select(negative, low, x)?;
    cx.done(y)
}

fn pow(cx: &mut Cx) -> Lowered {
    let (x, e) = if cx.version < 7 { operands(cx)? } else { (cx.required(0)?, cx.required(1)?) };
    let (base, exponent) = (cx.dtype(x), cx.dtype(e));
    if base == exponent || (base.kind() != Kind::Float && exponent.is_int()) {
        let e = cx.cast(e, base)?;
        let y = cx.binary(ScalarOp::Pow, x, e)?;
        return cx.done(y);
    }
    // An integer to a fractional power is computed in the wider float type and cut.
    let wide = match (base.kind(), exponent) {
        (Kind::Float, _) => base,
        (_, DType::F64) => DType::F64,
        _ => DType::F32,
    };
    let (wide_x, wide_e) = (cx.cast(x, wide)?, cx.cast(e, wide)?);
    let y = cx.binary(ScalarOp::Pow, wide_x, wide_e)?;
    let y = cx.cast(y, base)?;
    cx.done(y)
}
