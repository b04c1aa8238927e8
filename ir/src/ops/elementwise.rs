//! Elementwise operators: every scalar function, select and casts. Operands have one shape;
//! broadcasting is explicit.

use super::{Content, Effects, EvalCx, InferCx, OpRow, spec};
use crate::{DType, Dim, Kind, OpError, ScalarOp, Tensor, Type, Value, refuse};

macro_rules! rows {
    ($($op:ident)*) => {
        pub(super) const ROWS: &[OpRow] = &[
            $(OpRow {
                name: ScalarOp::$op.name(),
                doc: ScalarOp::$op.doc(),
                attrs: &[],
                effects: Effects::Pure,
                infer: |cx| infer(cx, ScalarOp::$op),
                content: content_of(ScalarOp::$op),
                eval: |cx| eval(cx, ScalarOp::$op),
                scalar: Some(ScalarOp::$op),
                decompose: None,
            },)*
            SELECT, CAST, BITCAST,
        ];
    };
}

rows! {
    Neg Abs Sign Not Ceil Floor Round Trunc Sqrt Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh
    Atanh Sigmoid Softplus Erf Gelu GeluTanh Silu Mish Add Sub Mul Div Rem Mod Pow Max Min Atan2 And Or Xor Shl
    Shr Eq Ne Lt Le Gt Ge IsNan IsInf
}

/// Choice by a condition.
const SELECT: OpRow = OpRow {
    name: "select",
    doc: "`c ? a : b`, element by element; c is boolean, all of one shape",
    attrs: &[],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(3)?;
        let (c, a, b) = (cx.tensor(0)?, cx.tensor(1)?, cx.tensor(2)?);
        if c.dtype != DType::Bool || a != b || c.shape != a.shape {
            refuse!("select takes bool, T, T of one shape, found {c}, {a}, {b}");
        }
        Ok(vec![a.clone().into()])
    },
    content: None,
    eval: |cx| {
        let (c, a, b) = (cx.tensor(0)?, cx.tensor(1)?, cx.tensor(2)?);
        if a.dtype() == DType::Str {
            let pick = |i: usize| if c.bytes()[i] != 0 { &a.strings()[i] } else { &b.strings()[i] }.clone();
            return Ok(vec![Tensor::from_strings(a.shape(), (0..a.len()).map(pick).collect())?.into()]);
        }
        if a.dtype().kind() == Kind::Float {
            let (x, y) = (a.to_f64s(), b.to_f64s());
            let z: Vec<f64> = (0..a.len()).map(|i| if c.bytes()[i] != 0 { x[i] } else { y[i] }).collect();
            return Ok(vec![Tensor::from_f64s(a.dtype(), a.shape(), &z)?.into()]);
        }
        let (x, y) = (a.to_ints(), b.to_ints());
        let z: Vec<i128> = (0..a.len()).map(|i| if c.bytes()[i] != 0 { x[i] } else { y[i] }).collect();
        Ok(vec![Tensor::from_ints(a.dtype(), a.shape(), &z)?.into()])
    },
    scalar: None,
    decompose: None,
};

/// Conversion between data types.
const CAST: OpRow = OpRow {
    name: "cast",
    doc: "the same numbers in type `to`, as ONNX's Cast: to integers toward zero, to float8 saturating if `saturate`",
    attrs: &[spec::int("saturate"), spec::dtype("to")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        Ok(vec![Type::tensor(cx.attrs.dtype("to"), cx.tensor(0)?.shape.clone())])
    },
    content: Some(|cx| {
        let range = cx.attrs.dtype("to").int_range()?;
        let content = cx.content(0)?;
        // Sizes that are symbols are lengths; they fit 32 bits and more.
        let fits = |d: &Dim| match d.as_const() {
            Some(v) => (range.0..=range.1).contains(&i128::from(v)),
            None => range.1 >= i128::from(i32::MAX),
        };
        content.iter().all(fits).then(|| content.to_vec())
    }),
    eval: |cx| {
        let t = nnc_tensor::cast(cx.tensor(0)?, cx.attrs.dtype("to"), cx.attrs.flag("saturate"))?;
        Ok(vec![t.into()])
    },
    scalar: None,
    decompose: None,
};

/// The same bits under another type.
const BITCAST: OpRow = OpRow {
    name: "bitcast",
    doc: "the same bits as type `to` of equal width",
    attrs: &[spec::dtype("to")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let (x, to) = (cx.tensor(0)?, cx.attrs.dtype("to"));
        if x.dtype.bits() != to.bits() || to == DType::Str || x.dtype == DType::Str {
            refuse!("bitcast from {} to {to} changes the width", x.dtype);
        }
        Ok(vec![Type::tensor(to, x.shape.clone())])
    },
    content: None,
    eval: |cx| {
        let (x, to) = (cx.tensor(0)?, cx.attrs.dtype("to"));
        Ok(vec![Tensor::from_bytes(to, x.shape().to_vec(), x.bytes())?.into()])
    },
    scalar: None,
    decompose: None,
};

fn infer(cx: &InferCx, op: ScalarOp) -> Result<Vec<Type>, OpError> {
    cx.n_inputs(op.n_operands())?;
    let x = cx.tensor(0)?;
    if op.n_operands() == 2 && cx.tensor(1)? != x {
        refuse!("{} takes operands of one type and shape, found {x} and {}", op.name(), cx.tensor(1)?);
    }
    let known = match x.dtype.kind() {
        Kind::Float => op.on_floats().is_some(),
        Kind::Complex => matches!(op, ScalarOp::Add | ScalarOp::Sub | ScalarOp::Mul | ScalarOp::Neg),
        Kind::Str => matches!(op, ScalarOp::Eq | ScalarOp::Ne),
        Kind::Bool | Kind::Int | Kind::Uint => op.on_ints().is_some(),
    };
    if !known {
        refuse!("{} has no meaning on {}", op.name(), x.dtype);
    }
    let dtype = if op.is_predicate() { DType::Bool } else { x.dtype };
    Ok(vec![Type::tensor(dtype, x.shape.clone())])
}

/// Arithmetic on sizes, for the functions that have a counterpart in expressions.
const fn content_of(op: ScalarOp) -> Option<Content> {
    match op {
        ScalarOp::Add => Some(|cx| zip(cx, |a, b| Some(a.clone() + b.clone()))),
        ScalarOp::Sub => Some(|cx| zip(cx, |a, b| Some(a.clone() - b.clone()))),
        ScalarOp::Mul => Some(|cx| zip(cx, |a, b| Some(a.clone() * b.clone()))),
        ScalarOp::Div => Some(|cx| zip(cx, divide)),
        ScalarOp::Mod => Some(|cx| zip(cx, |a, b| (b.as_const()? > 0).then(|| a.modulo(b)))),
        ScalarOp::Max => Some(|cx| zip(cx, |a, b| Some(a.max_with(b)))),
        ScalarOp::Min => Some(|cx| zip(cx, |a, b| Some(a.min_with(b)))),
        ScalarOp::Neg => Some(|cx| Some(cx.content(0)?.iter().map(|d| -d.clone()).collect())),
        _ => None,
    }
}

/// Integer division rounds toward zero; expressions have floors. They agree where nothing is negative.
fn divide(a: &Dim, b: &Dim) -> Option<Dim> {
    let length = |d: &Dim| d.at_least(0, &|_| nnc_tensor::Range::length());
    match (a.as_const(), b.as_const()) {
        (Some(x), Some(y)) => x.checked_div(y).map(Dim::int),
        (_, Some(y)) if y > 0 && length(a) => Some(a.floor_div(b)),
        (_, None) if length(a) && length(b) => Some(a.floor_div(b)),
        _ => None,
    }
}

fn zip(cx: &InferCx, f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> Option<Vec<Dim>> {
    cx.content(0)?.iter().zip(cx.content(1)?).map(|(a, b)| f(a, b)).collect()
}

fn eval(cx: &EvalCx, op: ScalarOp) -> Result<Vec<Value>, OpError> {
    let x = cx.tensor(0)?;
    let y = if op.n_operands() == 2 { cx.tensor(1)? } else { x };
    if x.shape() != y.shape() {
        refuse!("operands differ in shape: {:?} and {:?}", x.shape(), y.shape());
    }
    let dtype = if op.is_predicate() { DType::Bool } else { x.dtype() };
    let t = match x.dtype().kind() {
        Kind::Float => {
            let Some(f) = op.on_floats() else { refuse!("{} has no meaning on floats", op.name()) };
            let z: Vec<f64> = x.to_f64s().into_iter().zip(y.to_f64s()).map(|(a, b)| f(a, b)).collect();
            Tensor::from_f64s(dtype, x.shape(), &z)?
        }
        Kind::Complex => {
            let (a, b) = (x.to_f64s(), y.to_f64s());
            let z: Vec<f64> = a.chunks(2).zip(b.chunks(2)).flat_map(|(a, b)| complex(op, a, b)).collect();
            Tensor::from_f64s(dtype, x.shape(), &z)?
        }
        Kind::Str => {
            let equal = x.strings().iter().zip(y.strings()).map(|(a, b)| (a == b) == (op == ScalarOp::Eq));
            Tensor::from_bools(x.shape(), &equal.collect::<Vec<_>>())?
        }
        Kind::Bool | Kind::Int | Kind::Uint => {
            let Some(f) = op.on_ints() else { refuse!("{} has no meaning on integers", op.name()) };
            let bits = if x.dtype() == DType::Bool { 1 } else { x.dtype().bits() as u32 };
            let z: Vec<i128> = x.to_ints().into_iter().zip(y.to_ints()).map(|(a, b)| f(a, b, bits)).collect();
            Tensor::from_ints(dtype, x.shape(), &z)?
        }
    };
    Ok(vec![t.into()])
}

fn complex(op: ScalarOp, a: &[f64], b: &[f64]) -> [f64; 2] {
    match op {
        ScalarOp::Add => [a[0] + b[0], a[1] + b[1]],
        ScalarOp::Sub => [a[0] - b[0], a[1] - b[1]],
        ScalarOp::Mul => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]],
        _ => [-a[0], -a[1]],
    }
}

/// `true` where an operator's only use of its operands is element by element.
pub fn is_elementwise(row: &OpRow) -> bool {
    row.scalar.is_some() || matches!(row.name, "select" | "cast" | "bitcast")
}
