//! Functions of one tensor, element by element, activations included.

use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Kind, ScalarOp, ValueId};

macro_rules! scalar_rows {
    ($($name:literal $since:expr, $op:ident, $doc:literal;)*) => {
        &[$(onnx($name, &$since, $doc, |cx| {
            let x = cx.required(0)?;
            let y = cx.unary(ScalarOp::$op, x)?;
            cx.done(y)
        }),)* ]
    };
}

/// Operators that are one scalar function.
pub(super) const SCALAR: &[OnnxOp] = scalar_rows! {
    "Abs" [1, 6, 13], Abs, "`|x|`";
    "Acos" [7, 22], Acos, "inverse cosine";
    "Acosh" [9, 22], Acosh, "inverse hyperbolic cosine";
    "Asin" [7, 22], Asin, "inverse sine";
    "Asinh" [9, 22], Asinh, "inverse hyperbolic sine";
    "Atan" [7, 22], Atan, "inverse tangent";
    "Atanh" [9, 22], Atanh, "inverse hyperbolic tangent";
    "BitwiseNot" [18], Not, "complement of every bit";
    "Ceil" [1, 6, 13], Ceil, "smallest integer not below";
    "Cos" [7, 22], Cos, "cosine";
    "Cosh" [9, 22], Cosh, "hyperbolic cosine";
    "Erf" [9, 13], Erf, "error function";
    "Exp" [1, 6, 13], Exp, "e to the power x";
    "Floor" [1, 6, 13], Floor, "largest integer not above";
    "IsNaN" [9, 13, 20], IsNan, "whether x is not a number";
    "Log" [1, 6, 13], Log, "natural logarithm";
    "Mish" [18, 22], Mish, "`x * tanh(softplus(x))`";
    "Neg" [1, 6, 13], Neg, "`-x`";
    "Not" [1], Not, "logical complement";
    "Round" [11, 22], Round, "nearest integer, ties to even";
    "Sigmoid" [1, 6, 13], Sigmoid, "`1 / (1 + exp(-x))`";
    "Sign" [9, 13], Sign, "-1, 0 or 1";
    "Sin" [7, 22], Sin, "sine";
    "Sinh" [9, 22], Sinh, "hyperbolic sine";
    "Softplus" [1, 22], Softplus, "`ln(1 + exp(x))`";
    "Sqrt" [1, 6, 13], Sqrt, "square root";
    "Tan" [7, 22], Tan, "tangent";
    "Tanh" [1, 6, 13], Tanh, "hyperbolic tangent";
};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Celu", &[12, 28], "`max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`", celu),
    onnx("Elu", &[1, 6, 22], "x above zero, `alpha * (exp(x) - 1)` below", elu),
    onnx("Gelu", &[20], "Gaussian error linear unit, exact or with tanh", gelu),
    onnx("HardSigmoid", &[1, 6, 22], "`max(0, min(1, alpha * x + beta))`", |cx| {
        let (alpha, beta) = (cx.number("alpha", 0.2)?, cx.number("beta", 0.5)?);
        let x = cx.required(0)?;
        let y = hard_sigmoid(cx, x, alpha, beta)?;
        cx.done(y)
    }),
    onnx("HardSwish", &[14, 22], "`x * max(0, min(1, x / 6 + 1/2))`", |cx| {
        let x = cx.required(0)?;
        let gate = hard_sigmoid(cx, x, 1.0 / 6.0, 0.5)?;
        let y = cx.binary(ScalarOp::Mul, x, gate)?;
        cx.done(y)
    }),
    onnx("IsInf", &[10, 20], "whether x is infinite, of either or of one sign", is_inf),
    onnx("LeakyRelu", &[1, 6, 16], "x above zero, `alpha * x` below", |cx| {
        let alpha = cx.number("alpha", 0.01)?;
        let x = cx.required(0)?;
        let low = cx.with_const(ScalarOp::Mul, x, alpha)?;
        let y = where_negative(cx, x, low, x)?;
        cx.done(y)
    }),
    onnx("Reciprocal", &[1, 6, 13], "`1 / x`", |cx| {
        let x = cx.required(0)?;
        let dtype = cx.dtype(x);
        let one = cx.scalar(dtype, 1.0)?;
        let y = cx.binary(ScalarOp::Div, one, x)?;
        cx.done(y)
    }),
    onnx("Relu", &[1, 6, 13, 14], "`max(0, x)`", |cx| {
        let x = cx.required(0)?;
        let y = cx.with_const(ScalarOp::Max, x, 0.0)?;
        cx.done(y)
    }),
    onnx("Selu", &[1, 6, 22], "`gamma * x` above zero, `gamma * alpha * (exp(x) - 1)` below", selu),
    onnx("Shrink", &[9], "x - bias above lambd, x + bias below -lambd, 0 between", shrink),
    onnx("Softsign", &[1, 22], "`x / (1 + |x|)`", |cx| {
        let x = cx.required(0)?;
        let magnitude = cx.unary(ScalarOp::Abs, x)?;
        let below = cx.with_const(ScalarOp::Add, magnitude, 1.0)?;
        let y = cx.binary(ScalarOp::Div, x, below)?;
        cx.done(y)
    }),
    onnx("Swish", &[24], "`x * sigmoid(alpha * x)`", |cx| {
        let alpha = cx.number("alpha", 1.0)?;
        let x = cx.required(0)?;
        let y = swish(cx, x, alpha)?;
        cx.done(y)
    }),
    onnx("ThresholdedRelu", &[10, 22], "x above alpha, else 0", |cx| {
        let alpha = cx.number("alpha", 1.0)?;
        let x = cx.required(0)?;
        let above = cx.with_const(ScalarOp::Gt, x, alpha)?;
        let dtype = cx.dtype(x);
        let zero = cx.scalar(dtype, 0.0)?;
        let y = cx.select(above, x, zero)?;
        cx.done(y)
    }),
];

/// `max(0, min(1, alpha * x + beta))`
pub(super) fn hard_sigmoid(cx: &mut Cx, x: ValueId, alpha: f64, beta: f64) -> Lowered<ValueId> {
    let line = cx.affine(x, alpha, beta)?;
    cx.clamp(line, 0.0, 1.0)
}

/// `x * sigmoid(alpha * x)`
pub(super) fn swish(cx: &mut Cx, x: ValueId, alpha: f64) -> Lowered<ValueId> {
    if alpha == 1.0 {
        return Ok(cx.unary(ScalarOp::Silu, x)?);
    }
    let scaled = cx.with_const(ScalarOp::Mul, x, alpha)?;
    let gate = cx.unary(ScalarOp::Sigmoid, scaled)?;
    Ok(cx.binary(ScalarOp::Mul, x, gate)?)
}

/// `x < 0 ? a : b`
fn where_negative(cx: &mut Cx, x: ValueId, a: ValueId, b: ValueId) -> Lowered<ValueId> {
    let negative = cx.with_const(ScalarOp::Lt, x, 0.0)?;
    Ok(cx.select(negative, a, b)?)
}

/// `alpha * (exp(x) - 1)`
fn exp_line(cx: &mut Cx, x: ValueId, alpha: f64) -> Lowered<ValueId> {
    let e = cx.unary(ScalarOp::Exp, x)?;
    let e = cx.with_const(ScalarOp::Sub, e, 1.0)?;
    cx.with_const(ScalarOp::Mul, e, alpha)
}

fn elu(cx: &mut Cx) -> Lowered {
    let alpha = cx.number("alpha", 1.0)?;
    let x = cx.required(0)?;
    let low = exp_line(cx, x, alpha)?;
    let y = where_negative(cx, x, low, x)?;
    cx.done(y)
}

fn selu(cx: &mut Cx) -> Lowered {
    let first = cx.version == 1;
    let alpha = cx.number("alpha", if first { 1.6732 } else { 1.673_263_2 })?;
    let gamma = cx.number("gamma", if first { 1.0507 } else { 1.050_701 })?;
    let x = cx.required(0)?;
    let low = exp_line(cx, x, alpha)?;
    let y = where_negative(cx, x, low, x)?;
    let y = cx.with_const(ScalarOp::Mul, y, gamma)?;
    cx.done(y)
}

fn celu(cx: &mut Cx) -> Lowered {
    let alpha = cx.number("alpha", 1.0)?;
    let x = cx.required(0)?;
    let scaled = cx.with_const(ScalarOp::Div, x, alpha)?;
    let low = exp_line(cx, scaled, alpha)?;
    let low = cx.with_const(ScalarOp::Min, low, 0.0)?;
    let high = cx.with_const(ScalarOp::Max, x, 0.0)?;
    let y = cx.binary(ScalarOp::Add, high, low)?;
    cx.done(y)
}

fn gelu(cx: &mut Cx) -> Lowered {
    let op = match cx.attrs.string_or("approximate", "none")? {
        "none" => ScalarOp::Gelu,
        "tanh" => ScalarOp::GeluTanh,
        other => unsupported!("attribute \"approximate\" must be \"none\" or \"tanh\", found \"{other}\""),
    };
    let x = cx.required(0)?;
    let y = cx.unary(op, x)?;
    cx.done(y)
}

fn is_inf(cx: &mut Cx) -> Lowered {
    let negative = cx.attrs.flag_or("detect_negative", true)?;
    let positive = cx.attrs.flag_or("detect_positive", true)?;
    let x = cx.required(0)?;
    let infinite = cx.unary(ScalarOp::IsInf, x)?;
    let y = match (negative, positive) {
        (true, true) => infinite,
        (false, false) => cx.binary(ScalarOp::Ne, infinite, infinite)?,
        (true, false) | (false, true) => {
            let sided = cx.with_const(if negative { ScalarOp::Lt } else { ScalarOp::Gt }, x, 0.0)?;
            cx.binary(ScalarOp::And, infinite, sided)?
        }
    };
    cx.done(y)
}

fn shrink(cx: &mut Cx) -> Lowered {
    let (bias, lambd) = (cx.number("bias", 0.0)?, cx.number("lambd", 0.5)?);
    let x = cx.required(0)?;
    let dtype = cx.dtype(x);
    if dtype.kind() == Kind::Uint || (dtype.is_int() && (bias.fract() != 0.0 || lambd.fract() != 0.0)) {
        // Whole numbers are compared and shifted as floats, then cut.
        let wide = cx.cast(x, nnc_ir::DType::F32)?;
        let y = shrink_floats(cx, wide, bias, lambd)?;
        let y = cx.cast(y, dtype)?;
        return cx.done(y);
    }
    let y = shrink_floats(cx, x, bias, lambd)?;
    cx.done(y)
}

fn shrink_floats(cx: &mut Cx, x: ValueId, bias: f64, lambd: f64) -> Lowered<ValueId> {
    let dtype = cx.dtype(x);
    let (above, below) = (cx.with_const(ScalarOp::Gt, x, lambd)?, cx.with_const(ScalarOp::Lt, x, -lambd)?);
    let (low, high) = (cx.with_const(ScalarOp::Add, x, bias)?, cx.with_const(ScalarOp::Sub, x, bias)?);
    let zero = cx.scalar(dtype, 0.0)?;
    let y = cx.select(below, low, zero)?;
    Ok(cx.select(above, high, y)?)
}
