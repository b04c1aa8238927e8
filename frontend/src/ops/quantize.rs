//! Linear quantization: numbers as integers with a scale and a zero point.

use super::conv::{along, centered_value, conv};
use super::linalg::{centered_factors, matmul};
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axis};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, Kind, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx(
        "DequantizeLinear",
        &[10, 13, 19, 21, 23, 24, 25, 28],
        "`(x - zero_point) * scale` for the tensor, an axis or blocks",
        dequantize_linear,
    ),
    onnx("DynamicQuantizeLinear", &[11], "uint8 with a scale and zero point taken from the numbers", dynamic),
    onnx("QLinearConv", &[10], "convolution of quantized numbers, quantized again", qlinear_conv),
    onnx("QLinearMatMul", &[10, 21], "numpy's matmul of quantized numbers, quantized again", |cx| {
        let [a, b] = [cx.required(0)?, cx.required(3)?];
        let (za, zb) = (cx.input(2)?, cx.input(5)?);
        let (a, b) = centered_factors(cx, (a, za), (b, zb))?;
        let product = matmul(cx, a, b)?;
        let rank = cx.rank(product);
        let (scale_a, scale_b) = (cx.required(1)?, cx.required(4)?);
        let scale_a = placed(cx, scale_a, rank.saturating_sub(2), rank)?;
        let scale_b = placed(cx, scale_b, rank.saturating_sub(1), rank)?;
        let factor = cx.binary(ScalarOp::Mul, scale_a, scale_b)?;
        let (scale, zero) = (cx.required(6)?, cx.required(7)?);
        let y = requantized(cx, product, factor, scale, Some(zero))?;
        cx.done(y)
    }),
    onnx(
        "QuantizeLinear",
        &[10, 13, 19, 21, 23, 24, 25, 28],
        "`saturate(round(x / scale) + zero_point)` for the tensor, an axis or blocks",
        quantize_linear,
    ),
];

/// A scale or zero point along an axis of a tensor of some rank; higher ranks are placed already.
pub(super) fn placed(cx: &mut Cx, v: ValueId, axis: usize, rank: usize) -> Lowered<ValueId> {
    if cx.rank(v) > 1 || (cx.rank(v) == 1 && rank == 1) {
        return Ok(v);
    }
    along(cx, v, axis, rank)
}

/// A scale or zero point as a tensor that can be broadcast against `x`: of all, of an axis, of blocks.
fn spread(cx: &mut Cx, v: ValueId, x: ValueId) -> Lowered<ValueId> {
    let rank = cx.rank(x);
    let block = cx.attrs.int_or("block_size", 0)?;
    let axis = cx.attrs.int_or("axis", 1)?;
    if cx.graph.tensor_ty(v).elems().is(1) && block == 0 {
        return Ok(cx.reshape(v, &[])?);
    }
    // The axis of a vector is the one it has.
    let axis = if rank == 1 { 0 } else { normal_axis(axis, rank)? };
    if cx.rank(v) == 1 && block == 0 {
        return along(cx, v, axis, rank);
    }
    if block < 1 || cx.rank(v) != rank {
        unsupported!("scales of shape {} do not fit {}", cx.graph.ty(v), cx.graph.ty(x));
    }
    blocks(cx, v, axis, block, &cx.dim(x, axis))
}

/// Each element repeated `block` times along an axis, cut to `size`.
pub(super) fn blocks(cx: &mut Cx, v: ValueId, axis: usize, block: i64, size: &Dim) -> Lowered<ValueId> {
    let mut shape = cx.shape(v);
    let column = cx.unsqueeze(v, &[axis + 1])?;
    let mut wide = cx.shape(column);
    wide[axis + 1] = Dim::int(block);
    let wide = cx.broadcast(column, &wide)?;
    shape[axis] = shape[axis].clone() * Dim::int(block);
    let joined = cx.reshape(wide, &shape)?;
    Ok(cx.slice_axis(joined, axis, Dim::ZERO, size.clone())?)
}

fn dequantize_linear(cx: &mut Cx) -> Lowered {
    let (x, scale, zero) = (cx.required(0)?, cx.required(1)?, cx.input(2)?);
    let to = cx.dtype_attr("output_dtype")?.unwrap_or(cx.dtype(scale));
    let scale = spread(cx, scale, x)?;
    let zero = zero.map(|z| spread(cx, z, x)).transpose()?;
    let y = dequantized(cx, x, scale, zero)?;
    let y = cx.cast(y, to)?;
    cx.done(y)
}

/// `(x - zero) * scale` in the type of the scale, or at least 32 bits.
pub(super) fn dequantized(
    cx: &mut Cx,
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
) -> Lowered<ValueId> {
    let dtype = cx.dtype(scale);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut y = x;
    if let Some(zero) = zero {
        // 32-bit integers are subtracted exactly; narrower ones are exact as floats.
        let exact = if cx.dtype(x) == DType::I32 { DType::I32 } else { wide };
        let (a, b) = (cx.cast(x, exact)?, cx.cast(zero, exact)?);
        y = cx.binary(ScalarOp::Sub, a, b)?;
    }
    let y = cx.cast(y, wide)?;
    let scale = cx.cast(scale, wide)?;
    let y = cx.binary(ScalarOp::Mul, y, scale)?;
    Ok(cx.cast(y, dtype)?)
}

fn quantize_linear(cx: &mut Cx) -> Lowered {
    let (x, scale, zero) = (cx.required(0)?, cx.required(1)?, cx.input(2)?);
    let saturate = cx.attrs.flag_or("saturate", true)?;
    let precision = cx.dtype_attr_or_none("precision")?;
    let stated = cx.dtype_attr_or_none("output_dtype")?;
    let to = match (zero, stated) {
        (Some(z), _) => cx.dtype(z),
        (None, Some(to)) => to,
        (None, None) => DType::U8,
    };
    let scale = spread(cx, scale, x)?;
    let zero = zero.map(|z| spread(cx, z, x)).transpose()?;
    let precision = precision.unwrap_or(match cx.dtype(scale) {
        // A scale that is a power of two divides without rounding in any type.
        DType::F8E8M0 => DType::F32,
        other => other,
    });
    let (x, scale) = (cx.cast(x, precision)?, cx.cast(scale, precision)?);
    let ratio = cx.binary(ScalarOp::Div, x, scale)?;
    let y = quantized(cx, ratio, zero, to, saturate)?;
    cx.done(y)
}

/// A ratio as an integer: rounded, moved by the zero point, cut to the type's range.
pub(super) fn quantized(
    cx: &mut Cx,
    ratio: ValueId,
    zero: Option<ValueId>,
    to: DType,
    saturate: bool,
) -> Lowered<ValueId> {
    let wide = if cx.dtype(ratio) == DType::F64 { DType::F64 } else { DType::F32 };
    if to.kind() == Kind::Float {
        let moved = match zero {
            Some(zero) => {
                let (ratio, zero) = (cx.cast(ratio, wide)?, cx.cast(zero, wide)?);
                cx.binary(ScalarOp::Add, ratio, zero)?
            }
            None => ratio,
        };
        let attrs = attrs! { to: Attr::DType(to), saturate: Attr::Int(i64::from(saturate)) };
        return Ok(cx.one("cast", attrs, &[moved])?);
    }
    let Some((lo, hi)) = to.int_range() else { unsupported!("quantization to {to} is not supported") };
    let ratio = cx.cast(ratio, wide)?;
    let mut y = cx.unary(ScalarOp::Round, ratio)?;
    if let Some(zero) = zero {
        let zero = cx.cast(zero, wide)?;
        y = cx.binary(ScalarOp::Add, y, zero)?;
    }
    let y = cx.clamp(y, lo as f64, hi as f64)?;
    Ok(cx.cast(y, to)?)
}

/// 32-bit sums of products, scaled and quantized again.
pub(super) fn requantized(
    cx: &mut Cx,
    sums: ValueId,
    factor: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
) -> Lowered<ValueId> {
    let to = zero.map_or(DType::U8, |z| cx.dtype(z));
    let dtype = cx.dtype(factor);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let (factor, scale) = (cx.cast(factor, wide)?, cx.cast(scale, wide)?);
    let rank = cx.rank(sums);
    let scale = if cx.rank(scale) == 1 { placed(cx, scale, rank.saturating_sub(2), rank)? } else { scale };
    let zero = match zero {
        Some(z) if cx.rank(z) == 1 => Some(placed(cx, z, rank.saturating_sub(2), rank)?),
        other => other,
    };
    let ratio = cx.binary(ScalarOp::Div, factor, scale)?;
    let sums = cx.cast(sums, wide)?;
    let scaled = cx.binary(ScalarOp::Mul, sums, ratio)?;
    quantized(cx, scaled, zero, to, true)
}

fn qlinear_conv(cx: &mut Cx) -> Lowered {
    let (x, w) = (cx.required(0)?, cx.required(3)?);
    let (zx, zw) = (cx.input(2)?, cx.input(5)?);
    let x = centered_value(cx, x, zx, None)?;
    let w = centered_value(cx, w, zw, Some(0))?;
    let bias = cx.input(8)?;
    let sums = conv(cx, x, w, bias)?;
    let (scale_x, scale_w) = (cx.required(1)?, cx.required(4)?);
    let rank = cx.rank(sums);
    let scale_x = cx.reshape(scale_x, &[])?;
    let scale_w = along(cx, scale_w, 1, rank)?;
    let factor = cx.binary(ScalarOp::Mul, scale_x, scale_w)?;
    let (scale, zero) = (cx.required(6)?, cx.required(7)?);
    let (scale, zero) = (cx.reshape(scale, &[])?, cx.reshape(zero, &[])?);
    let y = requantized(cx, sums, factor, scale, Some(zero))?;
    cx.done(y)
}

fn dynamic(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    let (most, least) = (cx.reduce("max", x, &axes)?, cx.reduce("min", x, &axes)?);
    let most = cx.with_const(ScalarOp::Max, most, 0.0)?;
    let least = cx.with_const(ScalarOp::Min, least, 0.0)?;
    let span = cx.binary(ScalarOp::Sub, most, least)?;
    let scale = cx.with_const(ScalarOp::Div, span, 255.0)?;
    let negative = cx.unary(ScalarOp::Neg, least)?;
    let zero = cx.binary(ScalarOp::Div, negative, scale)?;
    let zero = cx.clamp(zero, 0.0, 255.0)?;
    let zero = cx.unary(ScalarOp::Round, zero)?;
    let zero = cx.cast(zero, DType::U8)?;
    let ratio = cx.binary(ScalarOp::Div, x, scale)?;
    let y = quantized(cx, ratio, Some(zero), DType::U8, true)?;
    cx.output(0, y);
    cx.output(1, scale);
    cx.output(2, zero);
    Ok(())
}
