//! Values out of nothing but attributes and sizes.

use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::import::tensor;
use crate::model::AttrValue;
use crate::refusal::unsupported;
use nnc_ir::{DType, Dim, ScalarOp, Tensor, ValueId};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Constant", &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25], "a constant tensor", |cx| {
        let t = constant_value(cx)?;
        let v = cx.constant(t);
        cx.done(v)
    }),
    onnx(
        "ConstantOfShape",
        &[9, 20, 21, 23, 24, 25],
        "a tensor of a given shape, filled with one number",
        |cx| {
            let shape = cx.required(0)?;
            let shape = cx.dims_of(shape)?;
            let fill = match cx.attrs.tensor("value")? {
                Some(t) => tensor(t)?,
                None => Tensor::scalar(0f32),
            };
            if fill.len() != 1 {
                unsupported!("attribute \"value\" must hold one element, found {fill:?}");
            }
            let fill = cx.constant(fill.reshaped(Vec::new())?);
            let v = cx.broadcast(fill, &shape)?;
            cx.done(v)
        },
    ),
    onnx("EyeLike", &[9, 22], "ones on a diagonal, in the shape of a matrix", eye_like),
    onnx("OneHot", &[9, 11, 28], "on at the index along a new axis, off elsewhere", one_hot),
    onnx("Range", &[11, 27], "start, start + delta, … up to but not including limit", range),
];

fn constant_value(cx: &mut Cx) -> Lowered<Tensor> {
    let attrs = &cx.attrs;
    if let Some(t) = attrs.tensor("value")? {
        return tensor(t);
    }
    if let Some(t) = attrs.sparse_tensor("sparse_value")? {
        return crate::import::dense(t);
    }
    let found = ["value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"]
        .iter()
        .find_map(|name| attrs.get(name));
    Ok(match found {
        Some(AttrValue::Float(v)) => Tensor::scalar(*v),
        Some(AttrValue::Floats(v)) => Tensor::from_slice(&[v.len()], v)?,
        Some(AttrValue::Int(v)) => Tensor::scalar(*v),
        Some(AttrValue::Ints(v)) => Tensor::from_slice(&[v.len()], v)?,
        Some(AttrValue::String(v)) => Tensor::from_strings(&[], vec![v.clone()])?,
        Some(AttrValue::Strings(v)) => Tensor::from_strings(&[v.len()], v.clone())?,
        Some(other) => unsupported!("the value must not be {}", other.kind()),
        None => unsupported!("no attribute gives the value"),
    })
}

fn eye_like(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    cx.expect_rank("the input", x, 2)?;
    let to = cx.dtype_attr("dtype")?.unwrap_or(cx.dtype(x));
    let k = cx.attrs.int_or("k", 0)?;
    let shape = cx.shape(x);
    let (row, column) = (cx.iota(&shape, 0, DType::I64)?, cx.iota(&shape, 1, DType::I64)?);
    let k = cx.size_scalar(&Dim::int(k), DType::I64)?;
    let on = cx.binary(ScalarOp::Add, row, k)?;
    let hit = cx.binary(ScalarOp::Eq, on, column)?;
    let y = cx.cast(hit, to)?;
    cx.done(y)
}

fn one_hot(cx: &mut Cx) -> Lowered {
    let (indices, depth, values) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    let indices = cx.cast(indices, DType::I64)?;
    let depth = cx.cast(depth, DType::I64)?;
    let size = cx.dim_of(depth)?;
    let rank = cx.rank(indices) + 1;
    let axis = cx.axis("axis", -1, rank)?;
    let negative = cx.with_const(ScalarOp::Lt, indices, 0.0)?;
    let count = cx.size_scalar(&size, DType::I64)?;
    let from_end = cx.binary(ScalarOp::Add, indices, count)?;
    let indices = cx.select(negative, from_end, indices)?;
    let indices = cx.unsqueeze(indices, &[axis])?;
    let mut shape = cx.shape(indices);
    shape[axis] = size;
    let places = cx.iota(&shape, axis, DType::I64)?;
    let hit = cx.binary(ScalarOp::Eq, places, indices)?;
    let off = cx.slice_axis(values, 0, Dim::ZERO, Dim::ONE)?;
    let on = cx.slice_axis(values, 0, Dim::ONE, Dim::ONE)?;
    let (off, on) = (cx.reshape(off, &[])?, cx.reshape(on, &[])?);
    let y = cx.select(hit, on, off)?;
    cx.done(y)
}

fn range(cx: &mut Cx) -> Lowered {
    let operands = [cx.required(0)?, cx.required(1)?, cx.required(2)?];
    let [start, _, delta] = operands;
    let dtype = cx.dtype(start);
    let len = if dtype.is_int() { int_len(cx, operands)? } else { None };
    let len = match len {
        Some(len) => len,
        None => computed_len(cx, operands)?,
    };
    let y = cx.iota(&[len], 0, dtype)?;
    let is = |cx: &mut Cx, v, n: f64| cx.constant_of(v).is_some_and(|t| t.to_f64s() == [n]);
    let y = if is(cx, delta, 1.0) { y } else { scalar_binary(cx, ScalarOp::Mul, y, delta)? };
    let y = if is(cx, start, 0.0) { y } else { scalar_binary(cx, ScalarOp::Add, y, start)? };
    cx.done(y)
}

/// `op(x, s)` where s holds one element in any rank.
fn scalar_binary(cx: &mut Cx, op: ScalarOp, x: ValueId, s: ValueId) -> Lowered<ValueId> {
    let s = cx.reshape(s, &[])?;
    Ok(cx.binary(op, x, s)?)
}

/// The number of elements as an expression, where the step is a known integer.
fn int_len(cx: &mut Cx, [start, limit, delta]: [ValueId; 3]) -> Lowered<Option<Dim>> {
    let Some(step) = cx.content_of(delta).and_then(|d| d.first().and_then(Dim::as_const)) else {
        return Ok(None);
    };
    let (start, limit) = (cx.dim_of(start)?, cx.dim_of(limit)?);
    let len = match step {
        0 => unsupported!("the step of a range must not be 0"),
        1.. => (limit - start).ceil_div(&Dim::int(step)),
        _ => (start - limit).ceil_div(&Dim::int(step.saturating_neg())),
    };
    Ok(Some(cx.simplify(&len.max_with(&Dim::ZERO))))
}

/// The number of elements as a symbol bound at run time.
fn computed_len(cx: &mut Cx, operands: [ValueId; 3]) -> Lowered<Dim> {
    let mut wide = [operands[0]; 3];
    for (wide, v) in wide.iter_mut().zip(operands) {
        let v = cx.reshape(v, &[])?;
        *wide = cx.cast(v, DType::F64)?;
    }
    let [start, limit, delta] = wide;
    let span = cx.binary(ScalarOp::Sub, limit, start)?;
    let steps = cx.binary(ScalarOp::Div, span, delta)?;
    let steps = cx.unary(ScalarOp::Ceil, steps)?;
    let steps = cx.with_const(ScalarOp::Max, steps, 0.0)?;
    let len = cx.cast(steps, DType::I64)?;
    cx.dim_of(len)
}
